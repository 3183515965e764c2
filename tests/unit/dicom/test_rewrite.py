"""Re-encoding and edits."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.dicom import rewrite, tags
from lightwell.dicom.errors import DicomError, LimitExceeded, Truncated
from lightwell.dicom.header import Header
from lightwell.dicom.json_model import header_to_json
from lightwell.dicom.scanner import scan, scan_tail
from lightwell.dicom.uids import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    TransferSyntax,
)
from lightwell.dicom.vrs import UNDEFINED, element_header

EVL, IVL, EVB = ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian
ALL = pytest.mark.parametrize("syntax", [EVL, IVL, EVB], ids=lambda s: s.name)


def el(tag: int, vr: str, value: bytes, syntax: TransferSyntax) -> bytes:
    return element_header(tag, vr, len(value), syntax.encoding) + value


def sample(syntax: TransferSyntax, charset: bytes = b"ISO_IR 100") -> bytes:
    """A header with a sequence of each kind of length, a private block and texts."""
    order = "<" if syntax.little_endian else ">"
    name = el(tags.CodeMeaning, "LO", "é".encode("latin-1") + b" ", syntax)
    item = struct.pack(f"{order}HHI", 0xFFFE, 0xE000, len(name)) + name
    open_item = struct.pack(f"{order}HHI", 0xFFFE, 0xE000, UNDEFINED) + name
    ends = struct.pack(f"{order}HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    return b"".join(
        [
            el(0x00080000, "UL", struct.pack(f"{order}I", 99), syntax),
            el(tags.SpecificCharacterSet, "CS", charset, syntax),
            el(tags.StudyDate, "DA", b"20260101", syntax),
            el(tags.AnatomicRegionSequence, "SQ", item, syntax),
            el(tags.PatientName, "PN", "Müller^J ".encode("latin-1"), syntax),
            el(tags.PatientID, "LO", b"A1", syntax),
            el(0x00189087, "FD", struct.pack(f"{order}d", 1.5), syntax),
            el(tags.FrameIncrementPointer, "AT", struct.pack(f"{order}2H", 0x18, 0x1063), syntax),
            el(tags.Rows, "US", struct.pack(f"{order}H", 512), syntax),
            el(tags.RescaleSlope, "DS", b"1 ", syntax),
            element_header(tags.ViewCodeSequence, "SQ", UNDEFINED, syntax.encoding),
            open_item + ends,
        ]
    )


def scanned(data: bytes, syntax: TransferSyntax) -> Header:
    found = scan(data, syntax, complete=True)
    assert isinstance(found, Header)
    return found


@ALL
def test_values_are_equal_in_explicit_little_endian(syntax: TransferSyntax) -> None:
    data = sample(syntax)
    out = rewrite.to_explicit_le(data, syntax)
    again = scanned(out, EVL)
    assert header_to_json(again) == header_to_json(scanned(data, syntax))
    assert again.int(tags.Rows) == 512
    assert (0x00080000 in again) == (syntax is EVL)


@ALL
@pytest.mark.parametrize("step", [1, 7, 1000, 1 << 20])
def test_pixels_and_what_follows_them_stream_through(syntax: TransferSyntax, step: int) -> None:
    order = "<" if syntax.little_endian else ">"
    words = random.Random(1).choices(range(65536), k=3001)
    pixels = el(tags.PixelData, "OW", struct.pack(f"{order}3001H", *words), syntax)
    tail = el(tags.DataSetTrailingPadding, "OB", bytes(6), syntax)
    data = sample(syntax) + pixels + tail
    pieces = (data[i : i + step] for i in range(0, len(data), step))
    out = b"".join(rewrite.explicit_le_chunks(pieces, syntax))
    again = scanned(out, EVL)
    assert again.pixel_length == 6002
    start = again.pixel_offset or 0
    assert list(struct.unpack_from("<3001H", out, start)) == words
    rest = scan_tail(out[again.tail_offset :], again)
    assert isinstance(rest, Header)
    assert rest.raw(tags.DataSetTrailingPadding) == bytes(6)


def test_deflated_comes_out_inflated() -> None:
    data = sample(EVL) + el(tags.PixelData, "OW", bytes(100), EVL)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = packer.compress(data) + packer.flush()
    assert b"".join(rewrite.explicit_le_chunks([raw], DeflatedExplicitVRLittleEndian)) == data


def test_big_pixel_data_never_lie_in_memory() -> None:
    import tracemalloc

    size = 200 << 20
    head = sample(IVL) + element_header(tags.PixelData, "OW", size, IVL.encoding)

    def chunks() -> Iterator[bytes]:
        yield head
        block = bytes(1 << 20)
        for _ in range(200):
            yield block

    tracemalloc.start()
    written = sum(map(len, rewrite.explicit_le_chunks(chunks(), IVL)))
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()
    assert written > size


def test_pixel_data_that_end_early_are_an_error_not_a_short_answer() -> None:
    data = sample(IVL) + element_header(tags.PixelData, "OW", 1000, IVL.encoding) + bytes(10)
    with pytest.raises(Truncated):
        list(rewrite.explicit_le_chunks([data], IVL))


# edits


@ALL
def test_no_edit_no_change(syntax: TransferSyntax) -> None:
    data = sample(syntax)
    assert rewrite.apply_edits(data, syntax, {}) == data


@ALL
def test_an_edit_replaces_inserts_and_removes_and_touches_nothing_else(
    syntax: TransferSyntax,
) -> None:
    data = sample(syntax)
    edits = {
        tags.PatientID: {"vr": "LO", "Value": ["B22"]},
        tags.AccessionNumber: {"vr": "SH", "Value": ["ACC1"]},
        tags.StudyDate: None,
    }
    out = rewrite.apply_edits(data, syntax, edits)
    expected = (
        data.replace(
            el(tags.PatientID, "LO", b"A1", syntax), el(tags.PatientID, "LO", b"B22 ", syntax)
        )
        .replace(
            el(tags.StudyDate, "DA", b"20260101", syntax),
            el(tags.AccessionNumber, "SH", b"ACC1", syntax),
        )
        .removeprefix(data[:12])
    )
    assert out == expected


def test_group_lengths_of_other_groups_stay() -> None:
    out = rewrite.apply_edits(sample(EVL), EVL, {tags.PatientID: {"vr": "LO", "Value": ["B2"]}})
    assert 0x00080000 in scanned(out, EVL)


@ALL
def test_a_text_that_fits_keeps_the_character_set(syntax: TransferSyntax) -> None:
    edit = {tags.PatientName: {"vr": "PN", "Value": [{"Alphabetic": "Åström^Ö"}]}}
    out = scanned(rewrite.apply_edits(sample(syntax), syntax, edit), syntax)
    assert out.charsets == ("ISO_IR 100",)
    assert str(out.pn(tags.PatientName)) == "Åström^Ö"
    assert out.sequence(tags.ViewCodeSequence)[0].text(tags.CodeMeaning) == "é"


@ALL
def test_a_text_that_does_not_fit_turns_the_whole_header_to_utf_8(syntax: TransferSyntax) -> None:
    data = sample(syntax)
    edit = {tags.PatientID: {"vr": "LO", "Value": ["山田"]}}
    out = scanned(rewrite.apply_edits(data, syntax, edit), syntax)
    assert out.charsets == ("ISO_IR 192",)
    assert out.text(tags.PatientID) == "山田"
    before, after = header_to_json(scanned(data, syntax)), header_to_json(out)
    del before["00100020"], after["00100020"]
    assert before == after
    assert out.defects == ()


def test_duplicates_go_with_their_tag() -> None:
    data = el(tags.PatientID, "LO", b"A1", EVL) + el(tags.PatientID, "LO", b"A2", EVL)
    out = rewrite.apply_edits(data, EVL, {tags.PatientID: {"vr": "LO", "Value": ["B"]}})
    assert out == el(tags.PatientID, "LO", b"B ", EVL)


def test_bytes_behind_the_header_are_passed_on() -> None:
    pixels = el(tags.PixelData, "OW", bytes(range(64)), EVL)
    out = rewrite.apply_edits(sample(EVL) + pixels, EVL, {tags.StudyDate: None})
    assert out.endswith(pixels)


@pytest.mark.parametrize("tag", [0x00020010, tags.PixelData, 0xFFFAFFFA, 0x00100000, 0x00080000])
def test_tags_outside_a_header_are_refused(tag: int) -> None:
    with pytest.raises(ValueError, match="cannot be edited"):
        rewrite.apply_edits(sample(EVL), EVL, {tag: None})


def test_values_that_do_not_fit_are_dicom_errors() -> None:
    with pytest.raises(DicomError):
        rewrite.apply_edits(sample(EVL), EVL, {tags.Rows: {"vr": "US", "Value": [99999]}})


def test_more_than_a_header_behind_the_pixels_is_refused() -> None:
    def chunks() -> Iterator[bytes]:
        yield sample(IVL) + el(tags.PixelData, "OW", bytes(2), IVL)
        for _ in range(80):
            yield bytes(1 << 20)

    with pytest.raises(LimitExceeded):
        list(rewrite.explicit_le_chunks(chunks(), IVL))


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12))
def test_any_name_survives_an_edit(name: str) -> None:
    edit = {tags.PatientComments: {"vr": "LT", "Value": [name]}}
    out = scanned(rewrite.apply_edits(sample(EVL), EVL, edit), EVL)
    assert (out.text(tags.PatientComments) or "") == name.rstrip(" ")
    assert str(out.pn(tags.PatientName)) == "Müller^J"
