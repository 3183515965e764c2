"""Answers by concatenation equal what `effective_json` and orjson give today, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import orjson
import pytest

from lightwell.dicom.header import Header
from lightwell.dicom.json_model import header_to_json
from lightwell.dicom.scanner import scan_data_set
from lightwell.dicom.uids import syntax_of
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing.metadata import (
    HEAD_AT,
    MetadataAnswers,
    head_length,
    read_head,
)
from lightwell.domain.archive.internal.packing.metadata_building import MetadataBuilder
from lightwell.domain.archive.internal.presenting import present
from lightwell.domain.archive.model import JSONElement
from lightwell.testing import encoding as enc
from lightwell.testing.raw_objects import Form, RawObject, raw_object

ROOT = "https://pacs.example/dicomweb/studies/1/series/2/instances/{}/bulkdata"
GREY = Form(rows=8, columns=8)
LUT = {"RedPaletteColorLookupTableData": bytes(2048), "ICCProfile": bytes(5000)}
OBJECTS = [
    raw_object(GREY, seed=0),
    raw_object(GREY, seed=1, syntax=enc.IMPLICIT_LE),
    raw_object(GREY, seed=2, extra={"PatientName": "Müller^Jörg", "SpecificCharacterSet": "ISO_IR 192"}),
    raw_object(GREY, seed=3, extra={"StudyDescription": None, "PatientID": None, **LUT}),
    raw_object(GREY, seed=4, extra={
        "ReferencedImageSequence": [{"ReferencedSOPInstanceUID": "1.2"}],
        0x00090010: ("LO", "ACME"), 0x00091010: ("OB", bytes(3000)),
    }),
    raw_object(GREY, seed=5, extra={"OtherPatientIDsSequence": [{"PatientID": "x\"y\\z"}]}),
    raw_object(Form(rows=8, columns=8, allocated=8, stored=8, high=7), seed=6, syntax=enc.EXPLICIT_BE),
]  # fmt: skip
EDITS: list[Mapping[str, JSONElement | None]] = [
    {},
    {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "New^Name"}]}},
    {"00100010": None, "00081030": None, "00080060": None, "00280010": {"vr": "US", "Value": [9]}},
    {"00080001": {"vr": "UL"}, "00104000": {"vr": "LT", "Value": ["é"]}, "7FE10010": {"vr": "LO"}},
    {"7FE00010": None, "00080005": None},
]


def _header(made: RawObject) -> Header:
    return scan_data_set(made.data_set, syntax_of(made.syntax))


def _today(made: RawObject, edits: Mapping[str, JSONElement | None]) -> bytes:
    root = ROOT.format(made.sop_uid)
    original = header_to_json(_header(made), bulk=lambda path: f"{root}/{path}")
    return orjson.dumps(present(original, edits))


def _answers(blob: bytes) -> MetadataAnswers:
    head = read_head(blob[: head_length(blob[:HEAD_AT])])
    return MetadataAnswers(head, lambda at, n: blob[at : at + n])


def _blob(objects: list[RawObject]) -> bytes:
    builder = MetadataBuilder()
    for made in objects:
        builder.add(made.sop_uid, _header(made))
    return builder.to_bytes()


@pytest.mark.parametrize("edits", EDITS)
def test_the_bytes_are_those_of_today(edits: Mapping[str, JSONElement | None]) -> None:
    answers = _answers(_blob(OBJECTS))
    for made in OBJECTS:
        root = ROOT.format(made.sop_uid)
        assert answers.answer(made.sop_uid, root, edits) == _today(made, edits)
        assert answers.answer(made.sop_uid, root, dict(edits)) == _today(made, edits)


def test_several_blocks_and_one_read_each() -> None:
    objects = [raw_object(GREY, seed=n) for n in range(70)]
    blob = _blob(objects)
    reads: list[int] = []
    head = read_head(blob)
    assert len(head.heads) == 1  # one patient and study, kept once
    answers = MetadataAnswers(head, lambda at, n: (reads.append(n), blob[at : at + n])[1])
    for made in objects:
        root = ROOT.format(made.sop_uid)
        assert answers.answer(made.sop_uid, root, {}) == _today(made, {})
    assert len(reads) == 3
    assert b"Pack^Test" not in b"".join(blob[b[0] : b[0] + b[1]] for b in head.blocks)


def test_what_the_blob_cannot_tell_is_none() -> None:
    builder = MetadataBuilder()
    builder.add("1.2", None)
    builder.add(OBJECTS[0].sop_uid, _header(OBJECTS[0]))
    answers = _answers(builder.to_bytes())
    assert answers.answer("1.2", "x", {}) is None
    assert answers.answer("9.9", "x", {}) is None
    assert answers.answer(OBJECTS[0].sop_uid, "x", {}) is not None


def test_the_pack_brings_its_metadata(pack) -> None:
    done = pack(*OBJECTS)
    answers = _answers(done.packed.metadata)
    for made in OBJECTS:
        assert answers.answer(made.sop_uid, ROOT.format(made.sop_uid), {}) == _today(made, {})


def test_damage_is_noticed() -> None:
    blob = _blob(OBJECTS)
    for at in range(0, len(blob), 37):
        flipped = bytearray(blob)
        flipped[at] ^= 0x10
        try:
            answers = _answers(bytes(flipped))
            found = [answers.answer(m.sop_uid, ROOT.format(m.sop_uid), {}) for m in OBJECTS]
        except Damaged:
            continue
        pytest.fail(f"a flipped bit at {at} was not noticed: {found!r:.80}")


def test_a_mark_in_the_data_set_is_only_text() -> None:
    builder = MetadataBuilder()
    mark = builder._elements.mark.decode()
    made = raw_object(GREY, extra={"ImageComments": "0" * 48, "StudyID": mark[:16]})
    builder.add(made.sop_uid, _header(made))
    answers = _answers(builder.to_bytes())
    assert answers.answer(made.sop_uid, ROOT.format(made.sop_uid), {}) == _today(made, {})


def test_the_context_of_an_element_counts() -> None:
    """The same bytes mean other things under another character set, sign or private creator."""
    private = {0x00091010: ("UN", b"12"), 0x00090010: ("LO", "SIEMENS CT VA1 DUMMY")}
    ge = {0x00091010: ("UN", b"12"), 0x00090010: ("LO", "GEMS_IDEN_01")}
    name = {0x00104000: ("LT", b"M\xfcller"), "SpecificCharacterSet": "ISO_IR 100"}
    greek = name | {"SpecificCharacterSet": "ISO_IR 126"}
    smallest = {0x00280106: ("US", b"\xff\xff")}
    objects = [
        raw_object(replace(GREY, signed=signed), seed=n, syntax=syntax, extra=extra)
        for n, (signed, syntax, extra) in enumerate(
            (signed, syntax, extra)
            for extra in (private, ge, name, greek, smallest)
            for syntax in (enc.EXPLICIT_LE, enc.IMPLICIT_LE)
            for signed in (False, True)
        )
    ]
    answers = _answers(_blob(objects))
    for made in objects:
        root = ROOT.format(made.sop_uid)
        assert answers.answer(made.sop_uid, root, {}) == _today(made, {})
