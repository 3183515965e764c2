"""DICOM JSON: strictness, bulk data, and the way back. pydicom's known mistakes have a name here."""

from __future__ import annotations

import base64
import io
import json
import math
import struct
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.dicom import tags
from lightwell.dicom.errors import DicomError, LimitExceeded
from lightwell.dicom.header import Header
from lightwell.dicom.json_model import (
    dumps,
    find_bulk,
    header_to_json,
    json_to_dataset_bytes,
)
from lightwell.dicom.scanner import scan
from lightwell.dicom.uids import ExplicitVRBigEndian, ExplicitVRLittleEndian, TransferSyntax
from lightwell.dicom.vrs import element_header


def el(tag: int, vr: str, value: bytes, syntax: TransferSyntax = ExplicitVRLittleEndian) -> bytes:
    return element_header(tag, vr, len(value), syntax.encoding) + value


def scanned(data: bytes, syntax: TransferSyntax = ExplicitVRLittleEndian) -> Header:
    found = scan(data, syntax, complete=True)
    assert isinstance(found, Header)
    return found


def model_of(data: bytes, **options: Any) -> dict[str, Any]:
    model = header_to_json(scanned(data), **options)
    json.loads(dumps(model), parse_constant=pytest.fail)
    return model


def theirs(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data), force=True)


@pytest.mark.parametrize(
    ("tag", "vr", "raw", "value"),
    [
        (0x00100010, "PN", b"A^B=\xe5\xb1\xb1", [{"Alphabetic": "A^B", "Ideographic": "山"}]),
        (0x00101001, "PN", b"A^B\\\\C", [{"Alphabetic": "A^B"}, None, {"Alphabetic": "C"}]),
        (0x00080008, "CS", b"A\\\\C ", ["A", None, "C"]),
        (0x00280030, "DS", b"0.50\\1e3\\7 ", [0.5, 1000, 7]),
        (0x00280030, "DS", b"NaN\\1,5\\1e999", ["NaN", "1,5", "1e999"]),
        (0x00200013, "IS", b"12\\x1\\99999999999999999999", [12, "x1", "99999999999999999999"]),
        (0x00280009, "AT", b"\x18\0\x63\x10", ["00181063"]),
        (0x00189087, "FD", struct.pack("<3d", math.nan, math.inf, 1.5), ["NaN", "Infinity", 1.5]),
        (0x00080301, "SV", struct.pack("<2q", 2**53, -(2**53) - 1), [2**53, "-9007199254740993"]),
        (0x00080302, "UV", struct.pack("<Q", 2**64 - 1), ["18446744073709551615"]),
        (0x00280010, "US", b"\0\2", [512]),
    ],
)
def test_values(tag: int, vr: str, raw: bytes, value: list[Any]) -> None:
    data = el(tags.SpecificCharacterSet, "CS", b"ISO_IR 192") + el(tag, vr, raw)
    if tag < tags.SpecificCharacterSet:
        data = el(tag, vr, raw)
    assert model_of(data)[f"{tag:08X}"] == {"vr": vr, "Value": value}


@pytest.mark.parametrize("vr", ["LO", "PN", "US", "OB", "SQ", "AT", "DS", "UN"])
def test_empty_elements_have_no_value(vr: str) -> None:
    assert model_of(el(0x00091001, vr, b""))["00091001"] == {"vr": vr}


def test_what_has_no_place_in_json_is_left_out() -> None:
    data = (
        el(0x00020010, "UI", b"1.2\0")
        + el(0x00080000, "UL", bytes(4))
        + el(tags.SpecificCharacterSet, "CS", b"ISO_IR 100")
        + el(0x00091001, "LO", b"ab")
        + el(tags.PatientName, "PN", "Müller ".encode("latin-1"))
        + el(tags.DataSetTrailingPadding, "OB", bytes(10))
    )
    assert model_of(data) == {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00091001": {"vr": "LO", "Value": ["ab"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller"}]},
    }
    assert "00091001" not in model_of(data, private=False)


def test_long_values_and_pixels_become_bulk_data_with_their_path() -> None:
    inner = el(0x00282000, "OB", bytes(2000))
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
    data = (
        el(0x00091002, "UN", bytes(1024))
        + el(0x00480105, "SQ", item)
        + el(tags.PixelData, "OW", bytes(8))
    )
    model = model_of(data, bulk=lambda path: f"../bulkdata/{path}")
    assert model["00091002"]["InlineBinary"] == base64.b64encode(bytes(1024)).decode()
    assert model["00480105"]["Value"][0]["00282000"] == {
        "vr": "OB",
        "BulkDataURI": "../bulkdata/00480105/1/00282000",
    }
    assert model["7FE00010"] == {"vr": "OW", "BulkDataURI": "../bulkdata/7FE00010"}
    header = scanned(data)
    place = find_bulk(header, "00480105/1/00282000")
    assert place is not None
    assert data[place.offset :][: place.length] == bytes(2000)
    pixels = find_bulk(header, "7FE00010")
    assert pixels is not None
    assert (pixels.offset, pixels.length) == (len(data) - 8, 8)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "7FE00010",
        "00480105/2/00282000",
        "00480105/0/00282000",
        "00480105/1",
        "0048010/1/0",
        "00480105/x/00282000",
        "../../etc/passwd",
        "/".join(["00480105/1"] * 500) + "/00282000",
    ],
)
def test_a_path_that_leads_nowhere_is_none(path: str) -> None:
    inner = el(0x00282000, "OB", bytes(20))
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
    assert find_bulk(scanned(el(0x00480105, "SQ", item)), path) is None


def test_big_endian_binary_goes_out_little_endian() -> None:
    big = ExplicitVRBigEndian
    data = el(0x00281201, "OW", b"\1\2\3\4", big) + el(0x00281202, "OW", bytes(4000), big)
    header = scanned(data, big)
    model = header_to_json(header, bulk=str)
    assert base64.b64decode(model["00281201"]["InlineBinary"]) == b"\2\1\4\3"
    place = find_bulk(header, "00281202")
    assert place is not None
    assert place.word == 2


def test_hostile_numbers_of_values_are_refused() -> None:
    from lightwell.dicom.uids import ImplicitVRLittleEndian

    data = el(tags.PixelSpacing, "DS", b"1\\" * 4_500_000, ImplicitVRLittleEndian)
    with pytest.raises(LimitExceeded):
        header_to_json(scanned(data, ImplicitVRLittleEndian))


# where pydicom is known to be wrong


def test_pydicom_takes_the_last_of_duplicate_tags_we_take_the_first() -> None:
    data = el(tags.PatientID, "LO", b"FIRST ") + el(tags.PatientID, "LO", b"SECOND")
    assert model_of(data)["00100020"]["Value"] == ["FIRST"]
    assert theirs(data).PatientID == "SECOND"


def test_pydicom_writes_bare_nan_which_is_no_json() -> None:
    data = el(0x00189087, "FD", struct.pack("<d", math.nan))
    constants: list[str] = []
    json.loads(theirs(data).to_json(), parse_constant=constants.append)
    assert constants == ["NaN"]
    assert model_of(data)["00189087"]["Value"] == ["NaN"]


# the way back


def test_back_to_bytes_that_pydicom_reads() -> None:
    model = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jürgen", "Phonetic": "x"}]},
        "00080060": {"vr": "CS", "Value": ["CT"]},
        "00280030": {"vr": "DS", "Value": [0.1234567890123456789, "1.10"]},
        "00080301": {"vr": "SV", "Value": ["-9007199254740993"]},
        "00189087": {"vr": "FD", "Value": ["NaN", "-Infinity", 2]},
        "00280009": {"vr": "AT", "Value": ["00181063"]},
        "00082218": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["T"]}}, {}, None]},
        "00091001": {"vr": "UN", "InlineBinary": "AQI="},
        "7FE00010": {"vr": "OW", "BulkDataURI": "x"},
    }
    raw = json_to_dataset_bytes(model, lambda uri: uri.encode() * 3)
    found = theirs(raw)
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert str(found.PatientName) == "Müller^Jürgen==x"
    assert [str(v) for v in found.PixelSpacing] == ["0.12345678901235", "1.10"]
    assert found[0x00080301].value == -9007199254740993
    assert found[0x00189087].value[1:] == [-math.inf, 2]
    assert found.FrameIncrementPointer == 0x00181063
    assert [len(i) for i in found[0x00082218].value] == [1, 0, 0]
    assert found.PixelData == b"xxx\0"
    assert list(found.keys()) == sorted(found.keys())


@pytest.mark.parametrize(
    "model",
    [
        [],
        {"PatientID": {"vr": "LO"}},
        {"0010002O": {"vr": "LO"}},
        {"-0100020": {"vr": "LO"}},
        {"00100020": []},
        {"00100020": {"vr": "XX"}},
        {"00100020": {"vr": 5}},
        {"00100020": {"vr": []}},
        {"00100020": {"vr": "LO", "Value": "text"}},
        {"00100020": {"vr": "LO", "Value": [{}]}},
        {"00100020": {"vr": "LO", "Value": [True]}},
        {"00280010": {"vr": "US", "Value": [70000]}},
        {"00280010": {"vr": "US", "Value": ["x"]}},
        {"00280010": {"vr": "US", "Value": [1.5]}},
        {"00280010": {"vr": "US", "Value": [None]}},
        {"00189087": {"vr": "FD", "Value": ["x"]}},
        {"00280030": {"vr": "DS", "Value": [float("nan")]}},
        {"00280009": {"vr": "AT", "Value": ["x"]}},
        {"00091001": {"vr": "OB", "InlineBinary": "***"}},
        {"00091001": {"vr": "OB", "InlineBinary": 5}},
        {"00091001": {"vr": "OB", "Value": [1]}},
        {"00091001": {"vr": "OB", "BulkDataURI": "x"}},
        {"00082218": {"vr": "SQ", "Value": {}}},
        {"00082218": {"vr": "SQ", "Value": ["x"]}},
        {"00080060": {"vr": "CS", "Value": ["山"]}},
    ],
)
def test_impossible_models_are_dicom_errors(model: Any) -> None:
    with pytest.raises(DicomError):
        json_to_dataset_bytes(model)


def test_depth_is_limited_on_the_way_back() -> None:
    model: dict[str, Any] = {}
    for _ in range(40):
        model = {"00082218": {"vr": "SQ", "Value": [model]}}
    with pytest.raises(LimitExceeded):
        json_to_dataset_bytes(model)


def test_texts_too_long_for_their_length_field_go_as_un() -> None:
    raw = json_to_dataset_bytes({"00280030": {"vr": "DS", "Value": [0.5] * 30_000}})
    found = scanned(raw)
    element = found.get(tags.PixelSpacing)
    assert element is not None
    assert (element.wire_vr, element.vr) == ("UN", "DS")
    assert len(found.floats(tags.PixelSpacing)) == 30_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
ELEMENT = st.fixed_dictionaries(
    {},
    optional={
        "vr": st.sampled_from(["LO", "PN", "US", "FD", "DS", "IS", "AT", "SQ", "OB", "SV", "UN"]),
        "Value": st.lists(JSON, max_size=3) | JSON,
        "InlineBinary": JSON,
    },
)


@given(
    st.dictionaries(
        st.sampled_from(["00100020", "00100010", "00280010", "00091001", "x"]), ELEMENT, max_size=4
    )
)
def test_only_dicom_errors_escape_and_what_is_written_is_readable(model: dict[str, Any]) -> None:
    try:
        raw = json_to_dataset_bytes(model)
    except DicomError:
        return
    if raw:
        dumps(header_to_json(scanned(raw)))
