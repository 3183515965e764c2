"""Explicit to Implicit VR Little Endian, for peers that take nothing else (PS3.5 section A.1).

Streams: the header is gathered within the scanner's limits, the pixel data pass through. Values stay
equal; the VRs of private elements are lost, which is why no other way leads here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lightwell.dicom.encode import framed, item_header, sequence_end
from lightwell.dicom.errors import DicomError, LimitExceeded, Truncated
from lightwell.dicom.header import DataSet, Element, Header
from lightwell.dicom.limits import DEFAULT, Limits
from lightwell.dicom.scanner import NeedMore, scan, scan_tail
from lightwell.dicom.uids import ExplicitVRLittleEndian
from lightwell.dicom.vrs import IMPLICIT_LE, UNDEFINED, element_header
from lightwell.wire.dimse.association import Buffer


def implicit_le_chunks(chunks: Iterable[Buffer], limits: Limits = DEFAULT) -> Iterator[bytes]:
    """A native Explicit VR Little Endian data set as Implicit VR Little Endian, in pieces.

    Raises DicomError for what cannot be scanned, and for encapsulated pixel data, which Implicit VR
    cannot hold (PS3.5 section A.4).
    """
    source = iter(chunks)
    head, header = _read_header(source, limits)
    if header.encapsulated:
        raise DicomError("Encapsulated pixel data cannot be sent in Implicit VR.")
    yield b"".join(_elements(header))
    value = _value_at_end(header)
    if value is None:
        return
    tag, offset, length = value
    yield element_header(tag, "OW", length, IMPLICIT_LE)
    rest = _behind(bytes(memoryview(head)[offset:]), source)
    tail = bytearray()
    left = length
    for piece in rest:
        if left:
            yield piece[:left]
        tail += piece[left:]
        left = max(left - len(piece), 0)
        if len(tail) > limits.header:
            raise LimitExceeded(f"More than {limits.header} bytes after the pixel data.")
    if left:
        raise Truncated("The data set ends inside its pixel data.")
    if tail:
        found = scan_tail(bytes(tail), header, limits=limits)
        if isinstance(found, Header):
            yield b"".join(_elements(found))


def _read_header(source: Iterator[Buffer], limits: Limits) -> tuple[bytearray, Header]:
    head = bytearray()
    wanted = 1
    while True:
        ended = False
        while len(head) < wanted and not ended:
            piece = next(source, None)
            if piece is None:
                ended = True
            else:
                head += piece
        found = scan(head, ExplicitVRLittleEndian, limits=limits, complete=ended)
        if not isinstance(found, NeedMore):
            return head, found
        wanted = max(found.minimum, 2 * len(head))


def _value_at_end(header: Header) -> tuple[int, int, int] | None:
    """Tag, offset and length of the long value that ended the header, if one did."""
    if header.bulk is not None:
        tag, _vr, _start, offset, length = header.bulk
        return tag, offset, length
    if header.pixel_tag is None or header.pixel_offset is None or header.pixel_length is None:
        return None
    return header.pixel_tag, header.pixel_offset, header.pixel_length


def _behind(first: bytes, source: Iterator[Buffer]) -> Iterator[bytes]:
    if first:
        yield first
    for piece in source:
        yield bytes(piece)


def _elements(data_set: DataSet) -> Iterator[bytes]:
    """The elements of one level; group lengths, which would be wrong now, are left out."""
    for element in data_set.elements:
        if element.tag & 0xFFFF:
            yield _implicit(element)


def _implicit(element: Element) -> bytes:
    items = element.items
    if items or (element.vr == "SQ" and not element.length):
        body = bytearray()
        for item in items:
            content = b"".join(_elements(item))
            body += item_header(len(content)) + content
        return element_header(element.tag, "SQ", len(body), IMPLICIT_LE) + bytes(body)
    if element.undefined:  # fragments within an icon: kept as they are framed
        head = element_header(element.tag, "OB", UNDEFINED, IMPLICIT_LE)
        return head + element.raw + sequence_end()
    return framed(element.tag, element.vr, element.raw, IMPLICIT_LE)
