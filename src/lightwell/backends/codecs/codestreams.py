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


def loses_nothing(data: bytes) -> bool:
    """Whether a codestream says that it is reversible: JPEG process 14 without point transform (ISO 10918-1
    B.2.3: Al), JPEG-LS with NEAR 0 (14495-1 C.2.3), JPEG 2000 and HTJ2K by the 5-3 wavelet in every coding
    style (15444-1 table A.20). Raises struct.error or IndexError when it ends within its markers.
    """
    if data[:2] == b"\xff\xd8":
        return _jpeg_loses_nothing(data)
    if data[4:8] in (b"jP  ", b"jP\x1a\x1a"):
        data = data[_box_start(data, b"jp2c") :]
    return data[:4] == b"\xff\x4f\xff\x51" and _jpeg_2000_loses_nothing(data)


def _jpeg_loses_nothing(data: bytes) -> bool:
    at = 2
    kind = 0
    for _ in range(_MAX_SEGMENTS):
        while data[at] != 0xFF:
            at += 1
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in _STANDALONE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if marker in _SOF:
            kind = marker
        elif marker == 0xDA:
            return kind in (0xC3, 0xF7) and _scans_lose_nothing(data, at - 2, kind == 0xF7)
        elif marker == 0xD9:
            break
        at += length
    return False


def _scans_lose_nothing(data: bytes, at: int, near_lossless: bool) -> bool:
    """Of every scan from `at` on: within coded data FF is never followed by a marker's code."""
    while at >= 0:
        # One byte each: components, two for each of them, then Ss (or NEAR), Se (or ILV), Ah and Al.
        begin = at + 5 + 2 * data[at + 4]
        near, approximation = data[begin], data[begin + 2]
        if approximation & 15 or (near_lossless and near):
            return False
        at = data.find(b"\xff\xda", at + 2)
    return True


def _jpeg_2000_loses_nothing(data: bytes) -> bool:
    """Every COD and COC, of tiles, too; no region of interest is looked at (its shift loses nothing)."""
    at = 2
    found = False
    end = 0  # of the tile-part that is being read; 0: the main header
    for _ in range(_MAX_SEGMENTS):
        (marker,) = struct.unpack_from(">H", data, at)
        if marker == 0xFF90:  # SOT
            (length,) = struct.unpack_from(">I", data, at + 6)
            end = at + length if length else len(data)
        elif marker == 0xFF93:  # SOD
            at = end
            if at >= len(data) - 1 or data[at : at + 2] == b"\xff\xd9":
                return found
            continue
        (size,) = struct.unpack_from(">H", data, at + 2)
        if marker == 0xFF52:
            found = data[at + 13] == 1
        if marker == 0xFF53:  # the component has two bytes when there are more than 256
            wide = struct.unpack_from(">H", data, 40)[0] > 256
            found = data[at + 10 + wide] == 1
        if marker in (0xFF52, 0xFF53) and not found:
            return False
        at += 2 + size
    return False


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
