"""The image a connection is tried with: a sound object by another reader, and nobody's."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pydicom

from lightwell.dicom.trial_image import SECONDARY_CAPTURE, SIDE, trial_image
from lightwell.dicom.uids import valid_uid

AT = datetime(2026, 11, 30, 14, 5, 9, tzinfo=UTC)


def read(data_set: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data_set), force=True)


def test_another_reader_reads_it() -> None:
    image = trial_image("LIGHTWELL", AT)
    head = b"\0" * 128 + b"DICM"
    meta = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
    ds = read(head + meta + image.data_set)
    assert (ds.SOPClassUID, ds.SOPInstanceUID) == (SECONDARY_CAPTURE, image.sop_uid)
    assert all(map(valid_uid, (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)))
    assert (ds.StudyDate, ds.StudyTime, ds.StationName) == ("20261130", "140509", "LIGHTWELL")
    assert "may be deleted" in ds.SeriesDescription
    assert ds.PatientID == "LIGHTWELL-TEST"
    assert (ds.Rows, ds.Columns, len(ds.PixelData)) == (SIDE, SIDE, SIDE * SIDE)
    pixels = ds.PixelData
    assert (pixels[0], pixels[SIDE - 1], pixels[-SIDE], pixels[-1]) == (0, 255, 0, 255)


def test_two_are_two() -> None:
    one, two = trial_image("A", AT), trial_image("A", AT)
    assert one.sop_uid != two.sop_uid
    assert read(one.data_set).StudyInstanceUID != read(two.data_set).StudyInstanceUID
