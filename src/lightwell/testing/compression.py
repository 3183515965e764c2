"""Encode frames of test objects in the compressed transfer syntaxes (PS3.5 annex A.4).

Only what the builders need: single images of 8 or 16 bits, one or three samples. RLE follows
PS3.5 annex G and is written here; the other codestreams come from imagecodecs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from lightwell.testing import encoding as enc

Frame = NDArray[np.generic]


def rle_frame(frame: Frame) -> bytes:
    """One RLE frame: byte planes, most significant first, packed row by row (PS3.5 G.3)."""
    planes = frame.reshape(frame.shape[0], frame.shape[1], -1)
    segments: list[bytes] = []
    for sample in range(planes.shape[2]):
        plane = np.ascontiguousarray(planes[:, :, sample])
        size = plane.dtype.itemsize
        octets = plane.view(np.uint8).reshape(plane.shape[0], plane.shape[1], size)
        for byte in reversed(range(size)):
            packed = b"".join(_pack_row(row.tobytes()) for row in octets[:, :, byte])
            segments.append(packed + b"\0" * (len(packed) % 2))
    starts = np.cumsum([64, *(len(s) for s in segments[:-1])]).tolist()
    header = struct.pack("<16I", len(segments), *starts, *([0] * (15 - len(starts))))
    return header + b"".join(segments)


def _pack_row(row: bytes) -> bytes:
    """PackBits of one row; a run never crosses rows, as PS3.5 G.3.1 demands."""
    out = bytearray()
    at = 0
    while at < len(row):
        run = 1
        while run < 128 and at + run < len(row) and row[at + run] == row[at]:
            run += 1
        if run > 2:
            out += bytes((257 - run, row[at]))
            at += run
            continue
        start = at
        while at < len(row) and at - start < 128:
            if row[at : at + 3] == row[at : at + 1] * 3:
                break
            at += 1
        out.append(at - start - 1)
        out += row[start:at]
    return bytes(out)


def _jpeg_lossless(frame: Frame) -> bytes:
    # Without `bitspersample` the stream of 16-bit samples would say that it has 12.
    bits = 8 * frame.dtype.itemsize
    return bytes(imagecodecs.jpeg8_encode(frame, lossless=True, predictor=1, bitspersample=bits))


def _jpeg_baseline(frame: Frame) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(frame, level=90))


def _jpeg_ls(frame: Frame) -> bytes:
    return bytes(imagecodecs.jpegls_encode(frame))


def _jpeg_2000(frame: Frame) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(frame, codecformat="j2k", reversible=True, level=0))


def _htj2k(frame: Frame) -> bytes:
    # `resolutions` counts decompositions and 0 silently means 5: small frames get one.
    levels = 1 if min(frame.shape[:2]) < 64 else 5
    return bytes(
        imagecodecs.htj2k_encode(
            frame, reversible=True, resolutions=levels, rgb=frame.ndim == 3, planar=False
        )
    )


def _jpeg_xl(frame: Frame) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(frame, lossless=True))


_ENCODERS: dict[str, Callable[[Frame], bytes]] = {
    enc.RLE: rle_frame,
    enc.JPEG_BASELINE: _jpeg_baseline,
    enc.JPEG_LOSSLESS: _jpeg_lossless,
    enc.JPEG_LS: _jpeg_ls,
    enc.JPEG_2000: _jpeg_2000,
    enc.HTJ2K: _htj2k,
    enc.HTJ2K_RPCL: _htj2k,
    enc.JPEG_XL: _jpeg_xl,
    enc.ENCAPSULATED_UNCOMPRESSED: lambda frame: frame.tobytes(),
}

#: Codestreams that carry the sign of their samples.
_SIGNED = frozenset({enc.JPEG_2000, enc.HTJ2K, enc.HTJ2K_RPCL, enc.ENCAPSULATED_UNCOMPRESSED})
#: Every compressed syntax the builders can write.
COMPRESSED = frozenset(_ENCODERS)


def compress(frame: Frame, syntax: str) -> bytes:
    """One codestream; where the codec knows no sign, signed samples go in as unsigned words."""
    try:
        encoder = _ENCODERS[syntax]
    except KeyError:
        raise ValueError(f"the builders cannot write {syntax}") from None
    if frame.dtype.kind == "i" and syntax not in _SIGNED:
        frame = frame.view(f"u{frame.dtype.itemsize}")
    return encoder(np.ascontiguousarray(frame))


def photometric_after(syntax: str, photometric: str) -> str:
    """Photometric Interpretation that the encoded frame has (PS3.5 8.2)."""
    if photometric != "RGB":
        return photometric
    if syntax == enc.JPEG_BASELINE:
        return "YBR_FULL_422"
    if syntax in {enc.JPEG_2000, enc.HTJ2K, enc.HTJ2K_RPCL}:
        return "YBR_RCT"
    return photometric
