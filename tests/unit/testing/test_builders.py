"""The builders make what they say, judged by pydicom, which shares no code with them."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import get_frame

from lightwell.testing import encoding as enc
from lightwell.testing.bigfile import big_multiframe
from lightwell.testing.builders import a_study
from lightwell.testing.compression import COMPRESSED


def read(part10: bytes) -> Any:
    return pydicom.dcmread(io.BytesIO(part10))


STUDY = a_study("4711", "SITE", seed=3).with_series("CT", instances=3, rows=20, columns=31)


def test_series_and_instances_share_what_they_should() -> None:
    built = STUDY.with_series("MR", instances=2).objects()
    assert len(built) == 5
    datasets = [read(one.part10) for one in built]
    assert {d.PatientID for d in datasets} == {"4711"}
    assert {d.IssuerOfPatientID for d in datasets} == {"SITE"}
    assert {d.StudyInstanceUID for d in datasets} == {STUDY.study_uid}
    assert [d.Modality for d in datasets] == ["CT"] * 3 + ["MR"] * 2
    assert len({d.SeriesInstanceUID for d in datasets}) == 2
    assert len({d.SOPInstanceUID for d in datasets}) == 5
    assert [d.InstanceNumber for d in datasets] == [1, 2, 3, 1, 2]
    for one, dataset in zip(built, datasets, strict=True):
        assert one.sop_uid == dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
        assert one.sop_class == dataset.SOPClassUID
        assert one.series_uid == dataset.SeriesInstanceUID
        assert one.part10.endswith(one.dataset)
        assert dataset.pixel_array.std() > 0


def test_the_same_expression_builds_the_same_bytes_and_another_seed_others() -> None:
    assert STUDY.objects() == STUDY.objects()
    other = a_study("4711", "SITE", seed=4).with_series("CT", instances=3, rows=20, columns=31)
    assert other.study_uid != STUDY.study_uid


def test_header_changes_keep_uids_and_pixels_and_pixel_changes_keep_the_header() -> None:
    first, renamed, redrawn = (
        study.objects()[0]
        for study in (STUDY, STUDY.with_attributes(StudyDescription="X"), STUDY.other_pixels())
    )
    assert first.sop_uid == renamed.sop_uid == redrawn.sop_uid
    assert len({first.sha256, renamed.sha256, redrawn.sha256}) == 3
    assert read(first.part10).PixelData == read(renamed.part10).PixelData
    assert read(first.part10).PixelData != read(redrawn.part10).PixelData
    assert read(renamed.part10).StudyDescription == "X"
    changed = read(redrawn.part10)
    changed.PixelData = read(first.part10).PixelData
    assert changed == read(first.part10)


@pytest.mark.parametrize("syntax", sorted(enc.NATIVE | COMPRESSED))
@pytest.mark.parametrize("colour", [False, True])
def test_every_syntax_is_readable_and_lossless_ones_hold_the_same_picture(
    syntax: str, colour: bool
) -> None:
    study = a_study().with_series(
        "OT", frames=3, rows=24, columns=40, colour=colour, bits_allocated=8
    )
    plain, built = read(study.only().part10), read(study.in_syntax(syntax).only().part10)
    assert str(built.file_meta.TransferSyntaxUID) == syntax
    assert built.NumberOfFrames == 3
    if syntax in enc.NATIVE | {enc.RLE, enc.JPEG_2000}:
        assert np.array_equal(built.pixel_array, plain.pixel_array)
    else:
        assert len(get_frame(built.PixelData, 2, number_of_frames=3)) > 20


@pytest.mark.parametrize(
    ("name", "charset"),
    [("Müller^Jürgen", "ISO_IR 100"), ("山田^太郎", "ISO_IR 192"), ("王^小东", "GB18030")],
)
def test_names_in_their_character_sets(name: str, charset: str) -> None:
    dataset = read(a_study().named(name, charset).with_series("CT").only().part10)
    assert dataset.SpecificCharacterSet == charset
    assert str(dataset.PatientName) == name


def test_undefined_lengths_private_elements_and_absent_attributes() -> None:
    study = a_study(PatientBirthDate=None).with_elements({0x00091001: ("LO", "mine")})
    built = study.with_series(
        "CT", undefined_lengths=True, ReferencedImageSequence=[{"ReferencedSOPInstanceUID": "1.2"}]
    ).only()
    dataset = read(built.part10)
    assert "PatientBirthDate" not in dataset
    assert dataset[0x00091001].value == "mine"
    assert dataset["ReferencedImageSequence"].is_undefined_length
    assert dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2"


def test_uids_under_a_root_of_ones_own() -> None:
    built = STUDY.under_root("1.2.3").objects()
    assert all(one.sop_uid.startswith("1.2.3.") and len(one.sop_uid) <= 64 for one in built)


@pytest.mark.parametrize("value", [0.1, 1 / 3, -1234.56789012345678, 1e-12, 123456789.123456789])
def test_decimal_strings_fit_and_are_near(value: float) -> None:
    text = enc.decimal_string(value)
    assert len(text) <= 16
    assert float(text) == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize("syntax", [None, enc.ENCAPSULATED_UNCOMPRESSED])
def test_a_big_object_is_what_it_says(tmp_path: Path, syntax: str | None) -> None:
    big = big_multiframe(tmp_path / "big.dcm", 5 << 20, rows=512, columns=512, syntax=syntax)
    data = big.path.read_bytes()
    assert hashlib.sha256(data[-big.dataset_length :]).hexdigest() == big.dataset_sha256
    dataset = read(data)
    assert dataset.NumberOfFrames == big.frames == 10
    frame = 512 * 512 * 2
    for number in (1, 2, 10):
        if syntax is None:
            found = dataset.PixelData[(number - 1) * frame : number * frame]
        else:
            table = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
            found = get_frame(dataset.PixelData, number - 1, extended_offsets=table)
        assert found == big.frame(number)
    assert big.frame(1) != big.frame(2)


def test_a_native_object_of_four_gib_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="4 GiB"):
        big_multiframe(tmp_path / "no.dcm", 1 << 32, syntax=enc.EXPLICIT_LE)
    assert not (tmp_path / "no.dcm").exists()
