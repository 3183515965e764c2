"""Compressed objects as Explicit VR Little Endian, for peers that cannot take the stored syntax.

The header is the effective one with the Image Pixel attributes that the decoder names; frames are
decoded one at a time outside of this process. The stored bytes are checked against their arrival
digest before the first frame leaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lightwell.dicom import tags
from lightwell.dicom.dictionary import vr_of
from lightwell.dicom.header import Header
from lightwell.dicom.rewrite import apply_edits
from lightwell.dicom.scanner import NeedMore, scan
from lightwell.dicom.uids import ExplicitVRLittleEndian, TransferSyntax, syntax_of
from lightwell.dicom.vrs import element_header
from lightwell.domain.archive.model import Attributes, Located
from lightwell.gateways.dimse.exchange import Rooms
from lightwell.gateways.dimse.ports import NativeFrame, Transcoder
from lightwell.kernel.errors import Invalid

_LONGEST_VALUE: Final = 0xFFFFFFFE
_PLANAR_CONFIGURATION: Final = "PlanarConfiguration"
_ONE_BIT: Final = 1


def can_decode(rooms: Rooms, located: Located) -> bool:
    """Whether it is worth trying: there are frames, and a decoder for a still picture."""
    syntax = syntax_of(located.syntax)
    return (
        rooms.transcoder is not None
        and syntax.renderable
        and not syntax.video
        and not syntax.by_reference
        and located.frame_index is not None
    )


def native_chunks(rooms: Rooms, located: Located) -> Iterator[bytes]:
    """The effective data set, decoded. Raises LightwellError."""
    transcoder = rooms.transcoder
    if transcoder is None:
        raise Invalid("Compressed pixel data cannot be decoded here.")
    head = _checked_header(rooms, located)
    count = rooms.archive.frame_count(located)
    attributes = rooms.archive.attributes(located, "")
    first = _frame(rooms, transcoder, located, attributes, 1)
    bits = int(first.attributes.get("BitsAllocated", 0))
    length = len(first.data) * count
    if length > _LONGEST_VALUE or (bits == _ONE_BIT and count > 1):
        raise Invalid("The decoded pixel data do not fit one value.")
    yield _native_header(head, syntax_of(located.syntax), first.attributes)
    vr = "OB" if bits <= 8 else "OW"
    yield element_header(tags.PixelData, vr, length + length % 2)
    yield first.data
    for number in range(2, count + 1):
        frame = _frame(rooms, transcoder, located, attributes, number).data
        if len(frame) != len(first.data):
            raise Invalid("The frames of the object do not have one size.")
        yield frame
    if length % 2:
        yield b"\0"


def _frame(
    rooms: Rooms, transcoder: Transcoder, located: Located, attributes: Attributes, number: int
) -> NativeFrame:
    raw = rooms.archive.frame(located, number)
    return rooms.ask(transcoder.native_frame(attributes, located.syntax, raw))


def _checked_header(rooms: Rooms, located: Located) -> bytes:
    """The effective header in the stored syntax; the whole object was read and is undamaged."""
    syntax = syntax_of(located.syntax)
    head = bytearray()
    header: Header | NeedMore = NeedMore(1)
    for piece in rooms.archive.data_set(located, located.syntax):
        if isinstance(header, NeedMore):
            head += piece
            if len(head) >= header.minimum:
                header = scan(head, syntax, complete=False)
    if isinstance(header, NeedMore):
        header = _scanned(head, syntax)
    return bytes(head[: header.end])


def _scanned(data: bytes | bytearray, syntax: TransferSyntax) -> Header:
    found = scan(data, syntax, complete=True)
    if isinstance(found, NeedMore):
        raise Invalid("The stored header cannot be read to its end.")
    return found


def _native_header(
    head: bytes, syntax: TransferSyntax, attributes: Mapping[str, int | str]
) -> bytes:
    """The header with the decoder's attributes, without the tables of the encapsulation."""
    edits: dict[int, dict[str, Any] | None] = {tags.tag_of(_PLANAR_CONFIGURATION): None}
    for keyword, value in attributes.items():
        tag = tags.tag_of(keyword)
        edits[tag] = {"vr": vr_of(tag), "Value": [value]}
    edited = apply_edits(head, syntax, edits)
    header = _scanned(edited, ExplicitVRLittleEndian)
    # Extended Offset Table (7FE0,0001) and its lengths: they speak of fragments that are gone.
    for row in header.node.rows:
        if row[0] >> 16 == tags.PixelData >> 16:
            return edited[: row[2]]
    return edited
