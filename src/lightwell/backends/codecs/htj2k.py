"""HTJ2K lossless RPCL (transfer syntax .202): one frame in, the same frame out, bit for bit.

Runs only in limited child processes (`worker`). OpenJPH is never taken at its word: a caller compares
checksums before decoding and a digest after rebuilding. Two traps of the binding: `resolutions=0`
silently means 5, and three components without `planar=False` come back turned round.
"""

from __future__ import annotations

import zlib
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from lightwell.backends.codecs.codestreams import Codestream, inspect
from lightwell.backends.codecs.errors import DecodeFailed
from lightwell.backends.codecs.loud import loud
from lightwell.backends.codecs.words import (
    bit_plane,
    canonical_words,
    frame_of,
    split,
    value_type,
    word_type,
    words_of,
)
from lightwell.domain.archive.coding import CodedFrame, PixelForm

_SIDE_LEVEL = 6
_RESOLUTION_PARTS = 1  # imagecodecs.HTJ2K.TILEPART.RESOLUTIONS
_SIZ_DEPTH = 42  # Ssiz of component 0 in a codestream (ISO 15444-1 A.5.1); 3 bytes a component


def encode_frame(form: PixelForm, data: bytes | bytearray | memoryview) -> CodedFrame:
    """Code one native frame. Raises DecodeFailed when the codec fails or `data` has another length."""
    if len(data) != form.frame_bytes:
        raise DecodeFailed(f"A frame of {len(data)} bytes where {form.frame_bytes} are planned.")
    words = words_of(form, data)
    values, zero, strays = split(form, words)
    with loud():
        stream = imagecodecs.htj2k_encode(
            np.ascontiguousarray(values),
            reversible=True,
            resolutions=form.levels,
            rgb=form.samples == 3,
            planar=False,
            tlm=True,
            tilepart=_RESOLUTION_PARTS,
        )
    side = b"" if strays is None else zlib.compress(strays.tobytes(), _SIDE_LEVEL)
    planes = tuple(bit_plane(words, position) for position in form.overlays)
    return CodedFrame(bytes(stream), zero, side, planes)


def decode_frame(form: PixelForm, coded: CodedFrame) -> memoryview:
    """The native frame as received. Raises DecodeFailed for damage that shows."""
    _check(form, inspect(coded.stream))
    with loud():
        values = np.asarray(imagecodecs.htj2k_decode(coded.stream, planar=False))
    shape = (form.rows, form.columns) if form.samples == 1 else (form.rows, form.columns, 3)
    wanted = value_type(form)
    if values.shape != shape or values.dtype.str.lstrip("<|=") != wanted.str.lstrip("<|="):
        raise DecodeFailed(f"The codec gave {values.shape} {values.dtype} instead of {shape}.")
    words = canonical_words(form, values, zero=coded.zero)
    if coded.side:
        words = words ^ _strays(form, coded.side, shape)
    return frame_of(form, words)


def _strays(form: PixelForm, side: bytes, shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        raw = zlib.decompressobj().decompress(side, form.frame_bytes + 1)
    except zlib.error as error:
        raise DecodeFailed("The stray bits of a frame cannot be inflated.") from error
    if len(raw) != form.frame_bytes:
        raise DecodeFailed("The stray bits of a frame have another size than the frame.")
    return np.frombuffer(raw, word_type(form)).reshape(shape)


def _check(form: PixelForm, stream: Codestream) -> None:
    """The codec allocates what the codestream says: it must be what the form says."""
    said = (stream.rows, stream.columns, stream.components, stream.precision, stream.signed)
    wanted = (form.rows, form.columns, form.samples, form.bits_allocated, form.signed)
    if said != wanted:
        raise DecodeFailed("The codestream is not of the form its recipe says.")


def decode_coarse(prefix: bytes, levels: int, reduction: int) -> NDArray[Any]:
    """A picture of 1/2^reduction of the size from a codestream prefix whose last tile-part completes it.

    (rows, columns) or (rows, columns, 3) of the stored sign and depth. The inverse wavelet over- and
    undershoots at low resolution, and OpenJPH lets that wrap around to specks: so SIZ is made to say
    signed and twice as deep, and the result is clamped, as viewers do. Raises DecodeFailed.
    """
    stream = inspect(prefix)
    if stream.precision not in (8, 16) or not 0 <= reduction <= levels:
        raise DecodeFailed("There is no such picture in this codestream.")
    deep = bytearray(prefix)
    for component in range(stream.components):
        deep[_SIZ_DEPTH + 3 * component] = 0x80 | (2 * stream.precision - 1)
    with loud():
        raw = imagecodecs.htj2k_decode(bytes(deep), planar=False, skipres=reduction)
    wide = np.asarray(raw).astype(np.int64)
    rows, columns = (-(-n // (1 << reduction)) for n in (stream.rows, stream.columns))
    shape = (rows, columns) if stream.components == 1 else (rows, columns, stream.components)
    if wide.shape != shape:
        raise DecodeFailed(f"The codec gave {wide.shape} instead of {shape}.")
    half = 1 << (stream.precision - 1)
    low, high = (-half, half - 1) if stream.signed else (0, 2 * half - 1)
    if not stream.signed:
        wide += half  # the level shift that a signed component does not get (15444-1 G.1)
    kind = f"<{'i' if stream.signed else 'u'}{stream.precision // 8}"
    clamped: NDArray[Any] = np.clip(wide, low, high).astype(kind)
    return clamped
