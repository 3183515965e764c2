"""Frames as DICOMweb sends them: as stored, or decoded to Explicit VR Little Endian.

Owns: which stored frames need decoding, byte alignment of one-bit frames, and rebuilding a compressed
object uncompressed. Decoding itself is the renderer's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

from lightwell.dicom.errors import DicomError
from lightwell.dicom.frames import FrameIndex, NativeFrames
from lightwell.dicom.header import Header
from lightwell.dicom.rewrite import apply_edits
from lightwell.dicom.scanner import scan
from lightwell.dicom.uids import syntax_of
from lightwell.domain.archive.errors import NoSuchFrame
from lightwell.domain.archive.model import FrameRun, JSONElement, Located
from lightwell.gateways.dicomweb.ports import NativePixels, StoredFrame
from lightwell.gateways.dicomweb.resources import Opened, Shelf
from lightwell.gateways.http.problems import HttpProblem
from lightwell.kernel.errors import Invalid
from lightwell.wire.mediatypes import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN

LONGEST_VALUE: Final = 0xFFFFFFFE  # of a 32-bit length field that is not 'undefined'
_OFFSET_TABLES: Final = (0x7FE00001, 0x7FE00002)  # Extended Offset Table and its lengths
_LONG_HEAD: Final = 12  # bytes of tag, VR, reserved and length in Explicit VR
_NATIVE: Final = b"N"  # the first byte of such an index; the others may be large to read
_HEAD_LIMIT: Final = 64 * 1024 * 1024


def aligned(data: bytes, first_bit: int, bits: int) -> bytes:
    """One-bit pixels beginning at a byte (PS3.18 8.7.3.3.1 note; PS3.5 8.1.1: lowest bit first)."""
    if first_bit == 0 and bits % 8 == 0:
        return data
    whole = (int.from_bytes(data, "little") >> first_bit) & ((1 << bits) - 1)
    return whole.to_bytes(-(-bits // 8), "little")


def native_frames(located: Located) -> NativeFrames | None:
    """The frame index of uncompressed pixel data."""
    if located.frame_index is None or not located.frame_index.startswith(_NATIVE):
        return None
    try:
        index = FrameIndex.from_bytes(located.frame_index)
    except DicomError as error:
        raise NoSuchFrame("The frames of this object cannot be told apart.") from error
    return index if isinstance(index, NativeFrames) else None


async def received_frame(shelf: Shelf, located: Located, number: int) -> bytes:
    """A frame as received. Raises NoSuchFrame, Damaged."""
    kept = shelf.archive.frame_kept(located, number)
    if kept is not None:
        return kept
    return await shelf.read(shelf.archive.frame, located, number)


async def stored_frame(shelf: Shelf, opened: Opened, located: Located, number: int) -> StoredFrame:
    """A frame with all that its decoding needs. Raises NoSuchFrame."""
    data = await received_frame(shelf, located, number)
    index = native_frames(located)
    first_bit = index.bit_skew(number) if index is not None else 0
    attributes = await shelf.attributes(opened, located)
    return StoredFrame(attributes, located.syntax, number, data, first_bit)


def stored_run(shelf: Shelf, located: Located, number: int, syntax: str) -> FrameRun | None:
    """Where a frame in the negotiated transfer syntax lies in the store; None when it must be made of what
    does. Raises NoSuchFrame."""
    if not _as_received(located, syntax):
        return None
    index = native_frames(located)
    if index is not None and index.frame_bits % 8:
        return None
    return shelf.archive.frame_run(located, number)


def _as_received(located: Located, syntax: str) -> bool:
    """Whether frames in this syntax are those that arrived."""
    return located.syntax == syntax or (
        syntax == EXPLICIT_VR_LITTLE_ENDIAN
        and not syntax_of(located.syntax).encapsulated
        and located.syntax != EXPLICIT_VR_BIG_ENDIAN
    )


async def frame_bytes(
    shelf: Shelf, opened: Opened, located: Located, number: int, syntax: str
) -> bytes:
    """One frame in the negotiated transfer syntax. Raises NoSuchFrame, HttpProblem 422."""
    if shelf.is_coded(located, syntax):
        return await shelf.read_stored(shelf.archive.stored_frame, located, number)
    if _as_received(located, syntax):
        data = await received_frame(shelf, located, number)
        index = native_frames(located)
        if index is None or index.frame_bits % 8 == 0:
            return data
        return aligned(data, index.bit_skew(number), index.frame_bits)
    return (await _native(shelf, opened, located, number)).data


async def _native(shelf: Shelf, opened: Opened, located: Located, number: int) -> NativePixels:
    """One frame decoded; the latest ones are remembered. Raises NoSuchFrame, HttpProblem 422, Busy."""
    key = (located.landed.digest, located.version, number)
    found = shelf.decoded.get(key)
    if found is not None:
        return found
    frame = await stored_frame(shelf, opened, located, number)
    try:
        found = await shelf.renderer.native(frame)
    except Invalid as error:
        raise HttpProblem(422, error.message, remedy=error.remedy) from error
    shelf.decoded.keep(key, found, len(found.data))
    return found


async def uncompressed(shelf: Shelf, opened: Opened, located: Located) -> AsyncIterator[bytes]:
    """The effective data set of a compressed object as Explicit VR Little Endian, in pieces.

    The header is the stored one with what decoding changes; attributes behind the pixel data (padding,
    digital signatures) are left out, for they describe other bytes. Raises HttpProblem 406 when the
    pixels are too long for an uncompressed element, 422 when they cannot be decoded.
    """
    count = await shelf.read(shelf.archive.frame_count, located)
    first = await _native(shelf, opened, located, 1)
    length = len(first.data) * count
    padded = length + length % 2
    if padded > LONGEST_VALUE:
        raise HttpProblem(
            406,
            "The uncompressed pixel data would be longer than 4 GiB.",
            remedy="Ask for transfer-syntax=*, or for single frames.",
        )
    header = await shelf.read(
        _header_bytes, shelf.archive.data_set(located, located.syntax), located
    )
    edits: dict[int, JSONElement | None] = {
        int(tag, 16): element for tag, element in first.changes.items()
    }
    yield apply_edits(header, syntax_of(EXPLICIT_VR_LITTLE_ENDIAN), edits)
    yield b"\xe0\x7f\x10\x00OW\x00\x00" + padded.to_bytes(4, "little")
    yield first.data
    for number in range(2, count + 1):
        data = (await _native(shelf, opened, located, number)).data
        if len(data) != len(first.data):
            raise NoSuchFrame("The frames of this object differ in size.")
        yield data
    if length % 2:
        yield b"\0"


def _header_bytes(pieces: Iterator[bytes], located: Located) -> bytes:
    """The encoded header: the data set up to its pixel data and their offset tables."""
    syntax = syntax_of(located.syntax)
    head = bytearray()
    for piece in pieces:
        head += piece
        found = scan(head, syntax, complete=False)
        if isinstance(found, Header) and found.pixel_tag is not None:
            tables = (found.get(tag) for tag in _OFFSET_TABLES)
            starts = [table.offset - _LONG_HEAD for table in tables if table is not None]
            return bytes(head[: min([found.end, *starts])])
        if isinstance(found, Header) or len(head) > _HEAD_LIMIT:
            break  # a long value in front of the pixel data ended the scan
    raise NoSuchFrame("The header of this object cannot be read.")
