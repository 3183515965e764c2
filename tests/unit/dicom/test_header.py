"""Typed access to a scanned header."""

from __future__ import annotations

import struct

from lightwell.dicom import tags
from lightwell.dicom.defects import Flaw
from lightwell.dicom.encode import Json
from lightwell.dicom.header import Header
from lightwell.dicom.json_model import json_to_dataset_bytes
from lightwell.dicom.scanner import scan
from lightwell.dicom.uids import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from lightwell.dicom.vrs import IMPLICIT_LE, element_header


def made(model: Json) -> Header:
    found = scan(json_to_dataset_bytes(model), ExplicitVRLittleEndian, complete=True)
    assert isinstance(found, Header)
    return found


def implicit(*elements: tuple[int, bytes]) -> Header:
    data = b"".join(element_header(t, "UN", len(v), IMPLICIT_LE) + v for t, v in elements)
    found = scan(data, ImplicitVRLittleEndian, complete=True)
    assert isinstance(found, Header)
    return found


def test_absent_and_empty_are_none_or_nothing() -> None:
    header = made({"00100020": {"vr": "LO"}})
    for tag in (tags.PatientID, tags.PatientName):
        assert header.text(tag) is None
        assert header.texts(tag) == header.strings(tag) == []
        assert header.int(tag) is header.float(tag) is header.pn(tag) is None
        assert header.sequence(tag) == header.tags(tag) == header.ints(tag) == []
    assert tags.PatientID in header
    assert tags.PatientName not in header
    assert header.raw(tags.PatientID) == b""
    assert header.raw(tags.PatientName) is None


def test_texts_numbers_and_tags() -> None:
    header = made(
        {
            "00080008": {"vr": "CS", "Value": ["ORIGINAL", None, "AXIAL"]},
            "00280009": {"vr": "AT", "Value": ["00181063"]},
            "00280030": {"vr": "DS", "Value": ["0.5", "0.25"]},
            "00280010": {"vr": "US", "Value": [512]},
            "00280008": {"vr": "IS", "Value": ["12"]},
        }
    )
    assert header.texts(tags.ImageType) == ["ORIGINAL", "", "AXIAL"]
    assert header.strings(tags.ImageType) == ["ORIGINAL", "AXIAL"]
    assert header.text(tags.ImageType) == "ORIGINAL"
    assert header.tags(tags.FrameIncrementPointer) == [tags.FrameTime]
    assert header.floats(tags.PixelSpacing) == [0.5, 0.25]
    assert (header.int(tags.Rows), header.text(tags.Rows)) == (512, "512")
    assert header.int(tags.NumberOfFrames) == 12
    assert header.ints(tags.ImageType) == []


def test_rows_sent_as_ul_or_text_are_still_rows() -> None:
    assert made({"00280010": {"vr": "UL", "Value": [65536]}}).int(tags.Rows) == 65536
    assert made({"00280010": {"vr": "IS", "Value": ["512"]}}).int(tags.Rows) == 512


def test_ambiguous_vrs_follow_pixel_representation_also_from_outside() -> None:
    minus = struct.pack("<h", -5)
    signed = implicit((tags.PixelRepresentation, b"\1\0"), (tags.SmallestImagePixelValue, minus))
    assert signed.int(tags.SmallestImagePixelValue) == -5
    unsigned = implicit((tags.PixelRepresentation, b"\0\0"), (tags.SmallestImagePixelValue, minus))
    assert unsigned.int(tags.SmallestImagePixelValue) == 65531
    element = element_header(tags.PixelPaddingValue, "US", 2, IMPLICIT_LE) + minus
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(element)) + element
    nested = implicit((tags.PixelRepresentation, b"\1\0"), (tags.ModalityLUTSequence, item))
    assert nested.sequence(tags.ModalityLUTSequence)[0].int(tags.PixelPaddingValue) == -5


def test_private_elements_take_their_vr_from_the_creators_dictionary() -> None:
    value = struct.pack("<i", -7)
    header = implicit((0x00090010, b"GEMS_IDEN_01"), (0x00091027, value))
    assert header.private_creator(0x00091027) == "GEMS_IDEN_01"
    assert header.int(0x00091027) == -7
    stranger = implicit((0x00090010, b"NOBODY"), (0x00091027, value))
    element = stranger.get(0x00091027)
    assert element is not None
    assert element.vr == "UN"


def test_items_inherit_the_character_set_or_have_their_own() -> None:
    def el(tag: int, vr: str, value: bytes) -> bytes:
        return element_header(tag, vr, len(value)) + value

    def item(content: bytes) -> bytes:
        return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content

    meaning = el(tags.CodeMeaning, "LO", "é".encode("latin-1") + b" ")
    own = el(tags.SpecificCharacterSet, "CS", b"ISO_IR 144") + meaning
    items = item(meaning) + item(own)
    data = el(tags.SpecificCharacterSet, "CS", b"ISO_IR 100") + el(0x00082218, "SQ", items)
    header = scan(data, ExplicitVRLittleEndian, complete=True)
    assert isinstance(header, Header)
    texts = [i.text(tags.CodeMeaning) for i in header.sequence(0x00082218)]
    assert texts == ["é", "щ"]


def test_values_that_break_their_vr_are_defects() -> None:
    def el(tag: int, vr: str, value: bytes) -> bytes:
        return element_header(tag, vr, len(value)) + value

    data = (
        el(tags.SpecificCharacterSet, "CS", b"KOI8")
        + el(tags.SOPInstanceUID, "UI", b"1.2.3/..")
        + el(tags.PatientName, "PN", b"M\xfcller")
        + el(0x00189087, "FD", bytes(6))
    )
    header = scan(data, ExplicitVRLittleEndian, complete=True)
    assert isinstance(header, Header)
    assert [(d.code, d.tag) for d in header.defects] == [
        (Flaw.BAD_CHARSET, tags.SpecificCharacterSet),
        (Flaw.BAD_UID, tags.SOPInstanceUID),
        (Flaw.BAD_TEXT, tags.PatientName),
        (Flaw.BAD_VALUE, 0x00189087),
    ]
    for defect in header.defects:
        assert "ller" not in defect.text  # no patient data in texts


def test_elements_know_where_they_are() -> None:
    header = made(
        {"00100020": {"vr": "LO", "Value": ["A1"]}, "00280010": {"vr": "US", "Value": [1]}}
    )
    first, second = header.elements
    assert (first.start, first.offset, first.length, first.value) == (0, 8, 2, b"A1")
    assert (second.start, second.raw) == (10, b"\1\0")
    assert repr(first) == "Element((0010,0020) LO at 8, 2 bytes)"
    assert len(header) == 2
