"""Read the size that a compressed frame declares, without decoding it.

A decoder allocates what the codestream says, not what the DICOM header says. So both are compared
before a codec is called: `inspect` parses the few bytes at the front of JPEG (ISO 10918-1),
JPEG-LS (14495-1), JPEG 2000 and HTJ2K (15444-1, -15) and JPEG XL (18181-1) streams. Pure Python,
bounded, and never past the buffer.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lightwell.backends.codecs.errors import DecodeFailed

_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
#: Start of frame markers; F7 is JPEG-LS. C4, C8 and CC are other things.
_SOF = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_LOSSLESS_SOF = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_MAX_SEGMENTS = 10_000


@dataclass(frozen=True)
class Codestream:
    """What the codestream says of itself."""

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool = False
    lossless: bool = False
    #: JPEG: "RGB", "YBR" or "" when the stream does not say.
    colour: str = ""
    #: JPEG 2000: the multiple component transform gives RGB back.
    component_transform: bool = False


def inspect(data: bytes) -> Codestream:
    """Parse the header of a frame; raises DecodeFailed when it is none of the known streams."""
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:4] == b"\xff\x4f\xff\x51":
            return _jpeg_2000(data)
        if data[4:8] == b"jP  " or data[4:8] == b"jP\x1a\x1a":
            return _jpeg_2000(data[_box_start(data, b"jp2c") :])
        if data[:2] == b"\xff\x0a":
            return _jpeg_xl(data)
        if data[4:8] == b"JXL ":
            return _jpeg_xl(_jxl_codestream(data))
    except (struct.error, IndexError):
        raise DecodeFailed("The compressed frame ends inside its own header.") from None
    raise DecodeFailed("The compressed frame does not start as any known codestream.")


def _jpeg(data: bytes) -> Codestream:
    at = 2
    adobe: int | None = None
    jfif = False
    for _ in range(_MAX_SEGMENTS):
        while data[at] != 0xFF:
            at += 1  # dcmtk and libjpeg skip stray bytes between segments, too
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in _STANDALONE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        body = data[at + 2 : at + length]
        if marker == 0xE0 and body[:4] == b"JFIF":
            jfif = True
        elif marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        elif marker in _SOF:
            # libjpeg fills what is missing of a cut stream with grey and only mutters about it.
            if data.rfind(b"\xff\xd9") < at:
                raise DecodeFailed("The JPEG frame ends before its end marker.")
            return _jpeg_frame(marker, body, jfif, adobe)
        elif marker in {0xD9, 0xDA}:
            break
        at += length
    raise DecodeFailed("The JPEG frame has no start-of-frame segment.")


def _jpeg_frame(marker: int, body: bytes, jfif: bool, adobe: int | None) -> Codestream:
    precision, rows, columns, components = struct.unpack_from(">BHHB", body)
    identifiers = body[6 : 6 + 3 * components : 3]
    sampling = set(body[7 : 7 + 3 * components : 3])
    colour = ""
    if adobe is not None:
        colour = "RGB" if adobe == 0 else "YBR"
    elif len(sampling) > 1 or (jfif and components == 3):
        colour = "YBR"
    elif identifiers == b"RGB":
        colour = "RGB"
    lossless = marker in _LOSSLESS_SOF
    return Codestream(
        rows, columns, components, precision, lossless=lossless, colour=colour if components == 3
        else "",
    )  # fmt: skip


def _jpeg_2000(data: bytes) -> Codestream:
    (_, x1, y1, x0, y0, tile_w, tile_h, tile_x, tile_y, components) = struct.unpack_from(
        ">HIIIIIIIIH", data, 6
    )
    if x1 <= x0 or y1 <= y0 or not tile_w or not tile_h:
        raise DecodeFailed("The JPEG 2000 frame declares an empty image.")
    tiles = -(-(x1 - tile_x) // tile_w) * -(-(y1 - tile_y) // tile_h)
    if tiles > 65_535:
        raise DecodeFailed(f"The JPEG 2000 frame declares {tiles} tiles.")
    depth = data[42]
    return Codestream(
        rows=y1 - y0,
        columns=x1 - x0,
        components=components,
        precision=(depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        component_transform=_has_component_transform(data),
    )


def _has_component_transform(data: bytes) -> bool:
    """The MCT octet of the COD segment in the main header (15444-1 A.6.1).

    Walks on over the tile-parts, too: OpenJPEG takes a stream that was cut off for a whole one and
    shows what is missing as smooth areas.
    """
    at = 2
    transform: bool | None = None
    for _ in range(_MAX_SEGMENTS):
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == 0xFF52:
            transform = bool(data[at + 8])
        if marker == 0xFF90:
            break
        at += 2 + length
    if transform is None:
        raise DecodeFailed("The JPEG 2000 frame has no coding style segment.")
    _check_tile_parts(data, at)
    return transform


def _check_tile_parts(data: bytes, at: int) -> None:
    """Every tile-part must lie within the data (15444-1 A.4.2: Psot counts from its SOT)."""
    while data[at : at + 2] == b"\xff\x90":
        (length,) = struct.unpack_from(">I", data, at + 6)
        if length == 0:  # until the end of the codestream
            return
        at += max(length, 12)
        if at > len(data):
            raise DecodeFailed("The JPEG 2000 frame ends inside a tile.")


def _boxes(data: bytes) -> list[tuple[bytes, int, int]]:
    """Name, start and end of the payload of the first top-level boxes (ISO 14496-12 4.2)."""
    found: list[tuple[bytes, int, int]] = []
    at = 0
    while at + 8 <= len(data) and len(found) < _MAX_SEGMENTS:
        length, name = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        end = len(data) if length == 0 else at + length
        if end < at + head:
            break
        found.append((name, at + head, min(end, len(data))))
        at = end
    return found


def _box_start(data: bytes, wanted: bytes) -> int:
    for name, start, _ in _boxes(data):
        if name == wanted:
            return start
    raise DecodeFailed("The boxed frame holds no codestream.")


def _jxl_codestream(data: bytes) -> bytes:
    for name, start, end in _boxes(data):
        if name == b"jxlc":
            return data[start:end]
        if name == b"jxlp":
            return data[start + 4 : end]
    raise DecodeFailed("The JPEG XL frame holds no codestream.")


class _Bits:
    """Bits of a JPEG XL header, least significant first (18181-1 B.1)."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data[:64], "little")
        self._left = min(len(data), 64) * 8

    def take(self, count: int) -> int:
        if count > self._left:
            raise IndexError
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return taken

    def size(self) -> int:
        return self.take((9, 13, 18, 30)[self.take(2)]) + 1


#: Width : height of the ratios 1 to 7 of a JPEG XL size header.
_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def _jpeg_xl(data: bytes) -> Codestream:
    """Size header and bit depth of the image metadata (18181-1 D.2 and D.3)."""
    bits = _Bits(data[2:])
    small = bits.take(1)
    rows = (bits.take(5) + 1) * 8 if small else bits.size()
    ratio = bits.take(3)
    if ratio:
        wide, high = _JXL_RATIOS[ratio - 1]
        columns = rows * wide // high
    else:
        columns = (bits.take(5) + 1) * 8 if small else bits.size()
    # Depth and channels lie behind optional fields; the decoded array is checked instead.
    return Codestream(rows, columns, components=0, precision=0)
