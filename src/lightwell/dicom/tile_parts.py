"""The tile-parts of a JPEG 2000 codestream (ISO 15444-1 A.4.2, A.7.1): where a prefix may be cut.

With one tile-part a resolution in RPCL order (PS3.5 10.18, transfer syntax .202) the bytes up to the end
of a tile-part are a smaller picture. Nothing is decoded here; hostile streams cost at most `MOST_PARTS`
steps.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lightwell.dicom.errors import DicomError, Truncated

Buffer = bytes | bytearray | memoryview

SOC, SIZ, COD, TLM, SOT, EOC = 0xFF4F, 0xFF51, 0xFF52, 0xFF55, 0xFF90, 0xFFD9
MOST_PARTS = 33  # 32 decompositions are the most a COD segment can say
_MOST_SEGMENTS = 1_000
_RPCL = 2


@dataclass(frozen=True, slots=True)
class TileParts:
    """What the markers of a codestream say. `ends`: end of each tile-part from the first byte of the
    stream; the first one includes the main header, none the end marker."""

    rows: int
    columns: int
    components: int
    levels: int
    rpcl: bool
    component_transform: bool
    reversible: bool
    ends: tuple[int, ...]

    @property
    def length(self) -> int:
        """Bytes of the codestream with its end marker."""
        return self.ends[-1] + 2


def tile_parts(stream: Buffer) -> TileParts:
    """Read the markers of a one-tile codestream.

    Raises DicomError when it is none, when its TLM segment and its tile-parts disagree, or when the end
    marker is not where the last tile-part ends; Truncated when it ends before that.
    """
    view = memoryview(stream)
    try:
        return _read(view)
    except (struct.error, IndexError):
        raise Truncated("The codestream ends inside its markers.") from None


def _read(view: memoryview) -> TileParts:
    if struct.unpack_from(">HH", view, 0) != (SOC, SIZ):
        raise DicomError("Not a JPEG 2000 codestream.")
    _, x1, y1, x0, y0, tile_w, tile_h = struct.unpack_from(">H6I", view, 6)
    (components,) = struct.unpack_from(">H", view, 40)
    if x1 <= x0 or y1 <= y0 or tile_w < x1 or tile_h < y1:
        raise DicomError("The codestream is empty or has several tiles.")
    style: tuple[int, int, int, int] | None = None
    promised: list[int] = []
    at = 2
    for _ in range(_MOST_SEGMENTS):
        marker, length = struct.unpack_from(">HH", view, at)
        if marker == SOT:
            break
        if marker == COD:
            order, transform, levels = view[at + 5], view[at + 8], view[at + 9]
            style = order, transform, levels, view[at + 13]
        elif marker == TLM:
            promised += _lengths(view, at, length)
        at += 2 + length
    if style is None:
        raise DicomError("The codestream has no coding style segment.")
    ends = _walk(view, at)
    if promised and promised != [
        end - start for start, end in zip((at, *ends), ends, strict=False)
    ]:
        raise DicomError("The tile-part lengths do not fit the tile-parts.")
    if len(view) < ends[-1] + 2:
        raise Truncated("The codestream ends before its end marker.")
    if struct.unpack_from(">H", view, ends[-1])[0] != EOC:
        raise DicomError("There is no end marker behind the last tile-part.")
    return TileParts(
        rows=y1 - y0,
        columns=x1 - x0,
        components=components,
        levels=style[2],
        rpcl=style[0] == _RPCL,
        component_transform=bool(style[1]),
        reversible=style[3] == 1,
        ends=tuple(ends),
    )


def _lengths(view: memoryview, at: int, length: int) -> list[int]:
    """Ptlm of one TLM segment (15444-1 A.7.1)."""
    sizes = view[at + 5]
    index, wide = sizes >> 4 & 3, sizes >> 6 & 1
    step = index + (4 if wide else 2)
    count = (length - 4) // step
    if count > MOST_PARTS:
        raise DicomError(f"More than {MOST_PARTS} tile-parts.")
    entry = ">I" if wide else ">H"
    first = at + 6 + index
    return [struct.unpack_from(entry, view, first + n * step)[0] for n in range(count)]


def _walk(view: memoryview, at: int) -> list[int]:
    """Ends of the tile-parts that begin at `at`; Psot counts from the SOT marker (15444-1 A.4.2)."""
    ends: list[int] = []
    while struct.unpack_from(">H", view, at)[0] == SOT:
        (length,) = struct.unpack_from(">I", view, at + 6)
        if length < 14 or len(ends) == MOST_PARTS:
            raise DicomError("The codestream has a tile-part that makes no sense.")
        at += length
        ends.append(at)
        if at > len(view):
            raise Truncated("The codestream ends inside a tile-part.")
    if not ends:
        raise DicomError("The codestream has no tile-part.")
    return ends
