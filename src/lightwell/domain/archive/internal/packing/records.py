"""Frame records: where a codestream lies in its pack, and the sums of its tile-parts.

Little endian: u64 offset, u32 length, u8 parts, u8 flags, u16 zero, u32 end of each part, u32 CRC32C of
each part, in sided entries u64 offset, u32 length and u32 CRC32C of the stray plane, at last u32 CRC32C
of all before.
All records of one entry have one size.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from lightwell.dicom.tile_parts import MOST_PARTS
from lightwell.domain.archive.coding import FrameFlag
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing.checks import crc32c

FRAMES_HEAD = b"LWFR\x01\0\0\0"
_FIRST = struct.Struct("<QIBBH")
_SIDE = struct.Struct("<QII")
_SUM = struct.Struct("<I")
_NONE = FrameFlag(0)


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One frame. `offset` counts from the first byte of the pack; `ends` from the codestream's."""

    offset: int
    length: int
    ends: tuple[int, ...]
    sums: tuple[int, ...]
    flags: FrameFlag = _NONE
    side: tuple[int, int, int] | None = None  # offset, length, CRC32C; in all of a sided entry

    @property
    def levels(self) -> int:
        """Decompositions."""
        return len(self.ends) - 1

    def parts(self, reduction: int) -> int | None:
        """Tile-parts of the prefix that completes 1/2^reduction; None for the whole codestream."""
        return len(self.ends) - reduction if reduction else None

    @property
    def zero(self) -> bool:
        """Zeros above the High Bit of signed words."""
        return FrameFlag.ZERO in self.flags

    def to_bytes(self) -> bytes:
        """The stored form."""
        parts = len(self.ends)
        body = _FIRST.pack(self.offset, self.length, parts, self.flags, 0)
        body += struct.pack(f"<{2 * parts}I", *self.ends, *self.sums)
        if self.side is not None:
            body += _SIDE.pack(*self.side)
        return body + _SUM.pack(crc32c(body))

    @staticmethod
    def from_bytes(raw: bytes, *, sided: bool) -> FrameRecord:
        """Raises Damaged when its sum is wrong or it contradicts itself."""
        if len(raw) < _FIRST.size + _SUM.size or _SUM.unpack(raw[-4:])[0] != crc32c(raw[:-4]):
            raise Damaged("A frame record is damaged.")
        offset, length, parts, flags, zero = _FIRST.unpack_from(raw)
        if len(raw) != record_size(parts, sided=sided) or zero or flags > 3:
            raise Damaged("A frame record has another form than its entry says.")
        numbers = struct.unpack_from(f"<{2 * parts}I", raw, _FIRST.size)
        ends, sums = numbers[:parts], numbers[parts:]
        if list(ends) != sorted(set(ends)) or ends[-1] + 2 != length:
            raise Damaged("The tile-parts of a frame record are out of order.")
        side = _SIDE.unpack_from(raw, len(raw) - 4 - _SIDE.size) if sided else None
        if (FrameFlag.SIDED in FrameFlag(flags)) != (side is not None and side[1] > 0):
            raise Damaged("A frame record contradicts itself about its stray plane.")
        return FrameRecord(offset, length, ends, sums, FrameFlag(flags), side)

    def check(self, stream: bytes, first: int = 0) -> None:
        """Compare the sums of the tile-parts that these bytes hold whole: all, or those from `first` (from
        0) up to the end of some part. Raises Damaged."""
        begin = start = self.ends[first - 1] if first else 0
        for end, wanted in zip(self.ends[first:], self.sums[first:], strict=True):
            if start - begin == len(stream):
                return
            part = stream[start - begin : end - begin]
            if len(part) != end - start or crc32c(part) != wanted:
                raise Damaged("A stored frame is damaged: a checksum differs. It was not decoded.")
            start = end
        if stream[start - begin :] not in (b"", b"\xff\xd9"):
            raise Damaged("A stored frame is damaged: its end marker is missing.")

    def covering(self, start: int, stop: int) -> tuple[int, int, int]:
        """(first part, its first byte, end) of the whole tile-parts that hold bytes `start` to `stop` of
        the codestream; the end marker belongs to the last."""
        first = min(bisect_right(self.ends, start), len(self.ends) - 1)
        last = bisect_left(self.ends, stop)
        begin = self.ends[first - 1] if first else 0
        return first, begin, self.length if last >= len(self.ends) else self.ends[last]


def reduced(rows: int, columns: int, reduction: int) -> tuple[int, int]:
    """Size at 1/2^reduction (ISO 15444-1 B.5: rounded up)."""
    return -(-rows // (1 << reduction)), -(-columns // (1 << reduction))


def reduction_for(levels: int, size: tuple[int, int], least: tuple[int, int]) -> int:
    """The greatest reduction of a frame of `size` (rows, columns) that is no smaller than `least` in
    either; 0 when only the whole frame is, or not even that."""
    for reduction in range(levels, 0, -1):
        rows, columns = reduced(*size, reduction)
        if rows >= least[0] and columns >= least[1]:
            return reduction
    return 0


def record_size(parts: int, *, sided: bool) -> int:
    """Bytes of a record. Raises Damaged for a number of parts that no codestream has."""
    if not 1 <= parts <= MOST_PARTS:
        raise Damaged("A frame record has no parts, or too many.")
    return _FIRST.size + 8 * parts + (_SIDE.size if sided else 0) + _SUM.size


def sums_of(stream: bytes, ends: tuple[int, ...]) -> tuple[int, ...]:
    """CRC32C of each tile-part."""
    starts = (0, *ends)
    return tuple(crc32c(stream[start:end]) for start, end in zip(starts, ends, strict=False))
