"""Hostile bytes: only `DicomError` escapes, in bounded time, and cutting never changes an answer."""

from __future__ import annotations

import struct
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from lightwell.dicom import frames, json_model, part10, rewrite, tags
from lightwell.dicom.errors import DicomError
from lightwell.dicom.header import Header
from lightwell.dicom.scanner import NeedMore, scan, scan_tail
from lightwell.dicom.uids import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline,
    TransferSyntax,
)
from lightwell.dicom.vrs import KNOWN, UNDEFINED, element_header

SYNTAXES = st.sampled_from(
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, JPEGBaseline]
)

TAGS = st.sampled_from(
    [
        *tags.NAMED.values(),
        0x00090010,
        0x00091001,
        0x00080000,
        0,
        0xFFFEE000,
        0xFFFEE00D,
        0xFFFEE0DD,
    ]
)
LENGTHS = st.one_of(st.none(), st.sampled_from([0, 1, 2, 8, 1000, 0xFFFE, 0xFFFFFFFE, UNDEFINED]))


@st.composite
def pieces(draw: st.DrawFn, depth: int = 3) -> bytes:
    """An element, right or wrong in any way, sometimes a sequence of such."""
    syntax = draw(SYNTAXES)
    vr = draw(st.sampled_from(sorted(KNOWN)))
    order = "<" if syntax.little_endian else ">"
    if depth and draw(st.booleans()):
        content = b"".join(draw(st.lists(pieces(depth - 1), max_size=3)))
        size = UNDEFINED if draw(st.booleans()) else len(content)
        body = struct.pack(f"{order}HHI", 0xFFFE, 0xE000, size) + content
        if draw(st.booleans()):
            body += struct.pack(f"{order}HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
        vr = draw(st.sampled_from(["SQ", "UN", "OB"]))
    else:
        body = draw(st.binary(max_size=24))
    length = draw(LENGTHS)
    try:
        head = element_header(
            draw(TAGS), vr, len(body) if length is None else length, syntax.encoding
        )
    except ValueError:
        head = b""
    return head + body


DATA = st.lists(pieces(), max_size=8).map(b"".join)


def everything(data: bytes, syntax: TransferSyntax) -> None:
    """Whatever the archive does with a data set."""
    header = scan(data, syntax, complete=True)
    assert isinstance(header, Header)
    assert len(header.defects) < 500
    for tag in tags.NAMED.values():
        header.text(tag), header.int(tag), header.float(tag), header.pn(tag), header.tags(tag)
        header.sequence(tag)
    json_model.dumps(json_model.header_to_json(header, bulk=lambda path: path))
    for row in header.node.rows:
        json_model.find_bulk(header, f"{row[0]:08X}/1/00080100")
    if header.pixel_tag is not None:
        index = frames.locate_frames(data, header, syntax)
        assert frames.FrameIndex.from_bytes(index.to_bytes()) == index
        index.present(1), index.present(2)
    if header.tail_offset is not None and header.tail_offset <= len(data):
        scan_tail(data[header.tail_offset :], header)
    _rewritten(data, header, syntax)


def _rewritten(data: bytes, header: Header, syntax: TransferSyntax) -> None:
    try:
        out = b"".join(rewrite.explicit_le_chunks([data], syntax))
        if out:
            scan(out, ExplicitVRLittleEndian, complete=True)
    except DicomError:
        pass
    edits = {
        tags.PatientID: {"vr": "LO", "Value": ["NEW"]},
        tags.PatientName: {"vr": "PN", "Value": [{"Alphabetic": "山"}]},
    }
    edited = scan(rewrite.apply_edits(data[: header.end], syntax, edits), syntax, complete=True)
    assert isinstance(edited, Header)


@settings(max_examples=400)
@given(DATA | st.binary(max_size=200), SYNTAXES)
def test_only_dicom_errors_escape(data: bytes, syntax: TransferSyntax) -> None:
    with suppress(DicomError):
        everything(data, syntax)


@settings(max_examples=300)
@given(DATA, SYNTAXES)
def test_a_prefix_never_gives_another_answer(data: bytes, syntax: TransferSyntax) -> None:
    try:
        whole = scan(data, syntax, complete=True)
    except DicomError:
        return
    assert isinstance(whole, Header)
    for length in range(0, len(data), 3):
        try:
            found = scan(data[:length], syntax, complete=False)
        except DicomError as error:
            raise AssertionError("a prefix was refused, the whole was not") from error
        if isinstance(found, NeedMore):
            assert found.minimum > length
        else:
            assert found.node.rows == whole.node.rows
            assert found.pixel_offset == whole.pixel_offset


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_files_of_any_bytes(data: bytes) -> None:
    try:
        meta, offset = part10.read_meta(data)
        everything(data[offset:], meta.syntax)
    except DicomError:
        pass
