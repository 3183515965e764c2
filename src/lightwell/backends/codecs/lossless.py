"""Compressed frames whose every byte is accounted for, and which cannot have lost anything.

Who keeps only what a decoder gives must know that nothing was left over: decoders skip what they do not
know, stop when the picture is full, and fill what is missing. So each frame is walked from its first byte
to its last: ISO 10918-1 (T.81) and 14495-1 (T.87) by their markers, 15444-1 and -15 by markers and
tile-parts, RLE (PS3.5 annex G) by its runs. Whatever is not plainly foreseen is refused. What lies inside the
packets of JPEG 2000 is not looked at: whether some were left out no marker says.
"""

from __future__ import annotations

import itertools
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from lightwell.backends.codecs import pixels as px
from lightwell.backends.codecs.errors import DecodeFailed

_SOF3, _SOF55, _DHT, _EOI, _SOS, _LSE = 0xC3, 0xF7, 0xC4, 0xD9, 0xDA, 0xF8
_NOTES = frozenset({*range(0xE0, 0xF0), 0xFE})  # APPn and COM
_CODED = 0  # no marker: the entropy-coded data of a scan
_PADS = (b"", b"\0")  # what may follow a frame, to an even length (PS3.5 A.4)
#: Where entropy-coded data end: T.81 B.1.1.5 puts 00 behind each FF in it, T.87 A.1 a bit 0.
_ENDS = {_SOF3: re.compile(rb"\xff[^\0]"), _SOF55: re.compile(rb"\xff[\x80-\xff]")}

_SIZ, _COD, _COC, _SOT, _SOD = 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93
#: What may stand in headers besides: CAP, TLM, PRF, PLM, PLT, CPF, QCD, QCC, RGN, POC, PPM, PPT, COM. Part 2
#: has others, which change samples and which decoders of Part 1 do not know.
_FORESEEN = frozenset({*range(0xFF55, 0xFF5A), 0xFF50, *range(0xFF5C, 0xFF62), 0xFF64, _COD, _COC})


def check_codestream(syntax: str, data: bytes) -> None:
    """One whole, reversible codestream of this syntax and nothing else. Raises DecodeFailed."""
    try:
        if syntax in px.JPEG_LS:
            _check_jpeg_ls(data)
        elif syntax in px.JPEG_LOSSLESS:
            process_14(data)
        elif syntax in px.JPEG_2000 or syntax in px.HTJ2K:
            _check_jpeg_2000(data)
        else:
            raise DecodeFailed("Nothing in this syntax proves that nothing was lost.")
    except (struct.error, IndexError):
        raise DecodeFailed("The compressed frame ends inside its markers.") from None


def check_length(data: bytes, length: int) -> None:
    """A frame as it is, and at most its pad byte. Raises DecodeFailed."""
    if len(data) < length or data[length:] not in _PADS:
        raise DecodeFailed(f"A frame of {len(data)} bytes where {length} are declared.")


def inflated(data: bytes, length: int) -> bytes:
    """A deflated frame (PS3.5 A.4.13) that gives exactly so much. Raises DecodeFailed."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        made = engine.decompress(data, length + 2)
    except zlib.error as trouble:
        raise DecodeFailed(f"The deflated frame is damaged: {trouble}.") from trouble
    if not engine.eof or engine.unused_data not in _PADS:
        raise DecodeFailed("The deflated frame ends elsewhere than its stream.")
    check_length(made, length)
    return made


def check_rle(data: bytes, segments: int, area: int) -> None:
    """An RLE frame of so many byte planes, each made by all of its segment. Raises DecodeFailed."""
    if len(data) < 64:
        raise DecodeFailed("The RLE frame is shorter than its header.")
    count, *starts = struct.unpack_from("<16I", data)
    if count != segments or starts[0] != 64 or any(starts[count:]):
        raise DecodeFailed("The RLE frame has other segments than its header needs.")
    bounds = [*starts[:count], len(data)]
    for start, end in itertools.pairwise(bounds):
        used = start + _run_length(data[start:end], area)
        if data[used:end] not in _PADS:
            raise DecodeFailed("An RLE segment goes on behind its plane.")


def _run_length(segment: bytes, area: int) -> int:
    """Bytes of the packets (PS3.5 G.3.1) that give exactly `area` bytes. Raises DecodeFailed."""
    at = made = 0
    while made < area and at < len(segment):
        code = segment[at]
        if code < 128:
            at += code + 2
            made += code + 1
        elif code > 128:
            at += 2
            made += 257 - code
        else:
            at += 1
    if made != area or at > len(segment):
        raise DecodeFailed("An RLE segment is no whole plane.")
    return at


# --- JPEG and JPEG-LS ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Process14:
    """What one frame of JPEG process 14 says (T.81 annex H): a single scan of all components."""

    precision: int
    selection: int  # of the predictor, table H.1
    tables: tuple[int, ...]  # the Huffman table of each component
    huffman: bytes  # all DHT segments' parameters
    coded: bytes  # entropy-coded, as it lies there


def process_14(data: bytes) -> Process14:
    """Without subsampling, restarts, or point transform. Raises DecodeFailed, struct.error, IndexError."""
    parts = list(_parts(data, _SOF3))
    frame = _single(parts, _SOF3)
    scan = _single(parts, _SOS)
    _only(parts, {_SOF3, _SOS, _DHT})
    names = _components(frame)
    count = len(names)
    if scan[0] != count or scan[1 : 1 + 2 * count : 2] != names or len(scan) != 4 + 2 * count:
        raise DecodeFailed("The JPEG frame has more than one scan.")
    selection, spectral, approximation = scan[-3:]
    if not 1 <= selection <= 7 or spectral or approximation:
        raise DecodeFailed("The JPEG frame has a point transform or no predictor.")
    tables = tuple(scan[2 : 2 + 2 * count : 2])
    if any(table & 15 or table >> 4 > 3 for table in tables):
        raise DecodeFailed("The JPEG frame names tables that lossless coding has not.")
    huffman = b"".join(body for marker, body in parts if marker == _DHT)
    coded = _single(parts, _CODED)
    return Process14(frame[0], selection, tuple(t >> 4 for t in tables), huffman, coded)


def _check_jpeg_ls(data: bytes) -> None:
    """NEAR 0 and no point transform in any scan (T.87 C.2.3), each component in one."""
    parts = list(_parts(data, _SOF55))
    _only(parts, {_SOF55, _SOS, _LSE})
    names = _components(_single(parts, _SOF55))
    scanned = b""
    for marker, body in parts:
        if marker == _LSE and body[0] != 1:
            raise DecodeFailed("The JPEG-LS frame has mapping tables or another size.")
        if marker == 0xE8 and body[:4] == b"mrfx" and body[4:5] != b"\0":
            raise DecodeFailed("The JPEG-LS frame has a colour transform of its own.")
        if marker == _SOS:
            count = body[0]
            if len(body) != 4 + 2 * count or any(body[2 : 2 + 2 * count : 2]):
                raise DecodeFailed("The JPEG-LS frame has a scan with mapping tables.")
            if body[-3] or body[-1]:  # NEAR; point transform
                raise DecodeFailed("The JPEG-LS frame may have lost something.")
            scanned += body[1 : 1 + 2 * count : 2]
    if scanned != names:
        raise DecodeFailed("The JPEG-LS frame has other scans than components.")


def _parts(data: bytes, kind: int) -> Iterator[tuple[int, bytes]]:
    """Markers with their parameters from SOI to EOI, entropy-coded data between them (T.81 B.1.1)."""
    if data[:2] != b"\xff\xd8":
        raise DecodeFailed("The frame is no JPEG codestream.")
    at = 2
    while True:
        if data[at] != 0xFF:
            raise DecodeFailed("The JPEG frame has bytes that belong to no segment.")
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker == _EOI:
            break
        (length,) = struct.unpack_from(">H", data, at)
        if length < 2 or at + length > len(data):
            raise DecodeFailed("The JPEG frame ends inside a segment.")
        yield marker, data[at + 2 : at + length]
        at += length
        if marker == _SOS:
            end = _ENDS[kind].search(data, at)
            if end is None:
                raise DecodeFailed("The JPEG frame ends before its end marker.")
            yield _CODED, data[at : end.start()]
            at = end.start()
    if data[at:] not in _PADS:
        raise DecodeFailed("Something follows the JPEG codestream.")


def _single(parts: list[tuple[int, bytes]], wanted: int) -> bytes:
    bodies = [body for marker, body in parts if marker == wanted]
    if len(bodies) != 1:
        raise DecodeFailed(f"The JPEG frame has {len(bodies)} segments where one has to be.")
    return bodies[0]


def _only(parts: list[tuple[int, bytes]], allowed: set[int]) -> None:
    if any(marker not in allowed | _NOTES | {_CODED} for marker, _body in parts):
        raise DecodeFailed("The JPEG frame has segments that are not foreseen.")


def _components(frame: bytes) -> bytes:
    """The names of the components, none subsampled (T.81 B.2.2)."""
    count = frame[5]
    if len(frame) != 6 + 3 * count or frame[7 : 6 + 3 * count : 3] != b"\x11" * count:
        raise DecodeFailed("The JPEG frame has subsampled components.")
    names = frame[6 : 6 + 3 * count : 3]
    if len(set(names)) != count:
        raise DecodeFailed("The JPEG frame has two components of one name.")
    return names


# --- JPEG 2000 and HTJ2K ---------------------------------------------------------------------------


def _check_jpeg_2000(data: bytes) -> None:
    """A raw codestream: 5-3 wavelet in every COD and COC (15444-1 table A.20), of tiles, too; every
    tile-part there (A.4.2), EOC and nothing behind it."""
    if data[:4] != b"\xff\x4f\xff\x51":
        raise DecodeFailed("The frame is no raw JPEG 2000 codestream.")
    tiles = _check_size(data)
    seen: dict[int, tuple[int, int]] = {}  # tile: its parts, and how many it says there are
    transforms: set[int] = set()
    at = 2
    while True:
        (marker,) = struct.unpack_from(">H", data, at)
        if marker != _SOT:
            if seen:
                break
            at = _segment(data, at, marker, transforms)
            continue
        tile, length, part, parts = struct.unpack_from(">HIBB", data, at + 4)
        had, said = seen.get(tile, (0, 0))
        if tile >= tiles or part != had or (said and parts and said != parts):
            raise DecodeFailed("The JPEG 2000 frame has tile-parts out of order.")
        seen[tile] = had + 1, parts or said
        end = at + length if length else _last(data)
        at = _tile_header(data, at + 12, transforms)
        if at > end or end > len(data):
            raise DecodeFailed("The JPEG 2000 frame ends inside a tile.")
        at = end
    if data[at : at + 2] != b"\xff\xd9" or data[at + 2 :] not in _PADS:
        raise DecodeFailed("The JPEG 2000 frame goes on behind its tiles, or has no end.")
    if len(seen) != tiles or any(said and had != said for had, said in seen.values()):
        raise DecodeFailed("The JPEG 2000 frame has not all of its tiles.")
    if transforms not in ({0}, {1}):
        raise DecodeFailed("The JPEG 2000 frame has not one component transform.")


def _last(data: bytes) -> int:
    """Where the EOC of a last tile-part without a length has to lie."""
    return len(data) - (3 if data[-1:] == b"\0" else 2)


def _tile_header(data: bytes, at: int, transforms: set[int]) -> int:
    """The first byte behind SOD."""
    while True:
        (marker,) = struct.unpack_from(">H", data, at)
        if marker == _SOD:
            return at + 2
        at = _segment(data, at, marker, transforms)


def _segment(data: bytes, at: int, marker: int, transforms: set[int]) -> int:
    """The end of a marker segment that is foreseen and loses nothing."""
    (size,) = struct.unpack_from(">H", data, at + 2)
    if (marker not in _FORESEEN and (marker, at) != (_SIZ, 2)) or size < 2:
        raise DecodeFailed("The JPEG 2000 frame has segments that are not foreseen.")
    wide = struct.unpack_from(">H", data, 40)[0] > 256  # then COC names its component in two bytes
    if marker == _COD:
        transforms.add(data[at + 8])
    if (marker == _COD and data[at + 13] != 1) or (marker == _COC and data[at + 10 + wide] != 1):
        raise DecodeFailed("The JPEG 2000 frame may have lost something.")
    return at + 2 + int(size)


def _check_size(data: bytes) -> int:
    """The number of tiles; components of one depth, sign and grid only (15444-1 A.5.1)."""
    x1, y1, _x0, _y0, wide, high, left, top, count = struct.unpack_from(">IIIIIIIIH", data, 8)
    if not wide or not high or not count or struct.unpack_from(">H", data, 4)[0] != 38 + 3 * count:
        raise DecodeFailed("The JPEG 2000 frame declares an empty image.")
    sizes = data[42 : 42 + 3 * count]
    if sizes[1::3] + sizes[2::3] != b"\1" * (2 * count) or len(set(sizes[::3])) != 1:
        raise DecodeFailed("The JPEG 2000 frame has components of different kinds.")
    across, down = -(-(x1 - left) // wide), -(-(y1 - top) // high)
    return int(across * down)
