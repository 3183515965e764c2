"""Words and values: what of a stored word is coded, and what has to be kept beside it. Pure numpy.

A *word* of Bits Allocated holds a *value* of Bits Stored (PS3.5 8.1.1) and, in real files, other
things: overlay bits, zeros where sign bits belong, leftovers. The *canonical word* is the value at its
place with sign bits (or, flag `zero`, zeros) above the High Bit; *strays* are word XOR canonical word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightwell.domain.archive.coding import PixelForm

Words = NDArray[Any]
Values = NDArray[Any]


def word_type(form: PixelForm) -> np.dtype[Any]:
    """The little-endian unsigned word of one sample."""
    return np.dtype(f"<u{form.bits_allocated // 8}")


def value_type(form: PixelForm) -> np.dtype[Any]:
    """What is coded: words, signed when Pixel Representation says so."""
    return np.dtype(f"<{'i' if form.signed else 'u'}{form.bits_allocated // 8}")


def words_of(form: PixelForm, data: bytes | bytearray | memoryview) -> Words:
    """A native frame as (rows, columns) or (rows, columns, 3), contiguous. `data` has `frame_bytes`
    bytes."""
    flat = np.frombuffer(data, word_type(form))
    if form.samples == 1:
        return flat.reshape(form.rows, form.columns)
    if form.planar:
        planes = flat.reshape(3, form.rows, form.columns)
        return np.ascontiguousarray(planes.transpose(1, 2, 0))
    return flat.reshape(form.rows, form.columns, 3)


def frame_of(form: PixelForm, words: Words) -> memoryview:
    """Reverse of `words_of`: the bytes as received."""
    if form.planar:
        words = np.ascontiguousarray(words.transpose(2, 0, 1))
    return np.ascontiguousarray(words).data.cast("B")


def split(form: PixelForm, words: Words) -> tuple[Values, bool, Words | None]:
    """(values to code, whether zeros stand for sign bits, strays or None when there are none)."""
    plain: Values = words.view(value_type(form))
    if form.bits_stored == form.high_bit + 1 and _in_range(form, plain):
        return plain, False, None
    values = _values(form, words)
    canonical = canonical_words(form, values, zero=False)
    if np.array_equal(canonical, words):
        return values, False, None
    if form.signed:
        other = canonical_words(form, values, zero=True)
        if np.array_equal(other, words):
            return values, True, None
    return values, False, words ^ canonical


def _in_range(form: PixelForm, plain: Values) -> bool:
    """Whether the words are their own values: by far the most common, and told by their extremes."""
    if form.bits_stored == form.bits_allocated:
        return True
    low = -(1 << (form.bits_stored - 1)) if form.signed else 0
    return low <= int(plain.min()) and int(plain.max()) < low + (1 << form.bits_stored)


def _values(form: PixelForm, words: Words) -> Values:
    """The stored bits at the bottom of the word, sign-extended when signed."""
    above = form.bits_allocated - form.high_bit - 1
    shifted = words << above if above else words
    values: Values = shifted.view(value_type(form)) >> (form.bits_allocated - form.bits_stored)
    return values


def canonical_words(form: PixelForm, values: Values, *, zero: bool) -> Words:
    """The words that these values stand for."""
    low = form.high_bit + 1 - form.bits_stored
    words = values.view(word_type(form))
    if low:
        words = words << low
    if zero:
        words = words & word_type(form).type((1 << (form.high_bit + 1)) - 1)
    return words


def bit_plane(words: Words, position: int) -> bytes:
    """One bit of every word, packed as overlay data are: least significant bit first, even length
    (PS3.5 8.1.2)."""
    packed = np.packbits(((words >> position) & 1).astype(np.uint8).reshape(-1), bitorder="little")
    raw = packed.tobytes()
    return raw + b"\0" * (len(raw) % 2)
