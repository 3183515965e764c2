"""JPEG process 14 the other way round: do samples give the entropy-coded data that they came from?

Decoders of it (T.81 annex H) fill what is missing of cut data with whatever lay in memory and say nothing.
Predictor and Huffman tables leave one way only to code given samples; so they are coded again and compared
bit for bit. Of what arrived nothing may be left but the bits that fill the last byte (F.1.2.3).
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightwell.backends.codecs.errors import DecodeFailed
from lightwell.backends.codecs.lossless import Process14

Numbers = NDArray[np.int64]
Tables = dict[int, tuple[Numbers, Numbers]]

_AT_ONCE = 1 << 16  # samples
#: SSSS of every difference modulo 2^16 (T.81 table H.2): the bits of its magnitude; 32768 has 16.
_MAGNITUDES = np.abs(np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int64))
_CATEGORIES = np.frexp(_MAGNITUDES.astype(np.float64))[1].astype(np.int64)


def check_samples(said: Process14, samples: NDArray[Any]) -> None:
    """Raises DecodeFailed when the samples are not all that is in the data, or more than is in it."""
    image = samples.reshape(*samples.shape[:2], -1).astype(np.int64)
    image &= (1 << said.precision) - 1
    rows, columns, components = image.shape
    if components != len(said.tables) or not 2 <= said.precision <= 16:
        raise DecodeFailed("The JPEG frame has other components than samples.")
    tables = _tables(said.huffman)
    coded = np.frombuffer(said.coded.replace(b"\xff\0", b"\xff"), np.uint8)
    step = max(1, _AT_ONCE // (columns * components))
    at = 0
    left = np.zeros(0, np.uint8)
    for top in range(0, rows, step):
        differences = _differences(image, top, min(top + step, rows), said)
        bits = np.concatenate((left, _bits(differences, said.tables, tables)))
        whole = len(bits) // 8
        if not np.array_equal(np.packbits(bits[: whole * 8]), coded[at : at + whole]):
            raise DecodeFailed("The JPEG frame does not hold the samples that came out.")
        at, left = at + whole, bits[whole * 8 :]
    if len(coded) - at != bool(len(left)):
        raise DecodeFailed("The JPEG frame holds more than the samples that came out.")
    if len(left) and not np.array_equal(np.unpackbits(coded[at:])[: len(left)], left):
        raise DecodeFailed("The JPEG frame does not hold the samples that came out.")


def _differences(image: Numbers, top: int, bottom: int, said: Process14) -> Numbers:
    """Prediction errors of some rows, modulo 2^16 (T.81 H.1.2.1)."""
    here = image[top:bottom]
    above = image[max(top - 1, 0) : bottom - 1] if top else np.concatenate((here[:1], here[:-1]))
    a = np.concatenate((here[:, :1], here[:, :-1]), axis=1)
    c = np.concatenate((above[:, :1], above[:, :-1]), axis=1)
    predicted = _predicted(said.selection, a, above, c)
    predicted[:, 0] = above[:, 0]
    if not top:
        predicted[0] = a[0]
        predicted[0, 0] = 1 << (said.precision - 1)
    return np.asarray((here - predicted) & 0xFFFF, np.int64)


def _predicted(selection: int, a: Numbers, b: Numbers, c: Numbers) -> Numbers:
    """T.81 table H.1: a is to the left, b above, c above to the left."""
    if selection < 4:
        return (a, b, c)[selection - 1].copy()
    if selection == 4:
        return np.asarray(a + b - c, np.int64)
    if selection == 7:
        return np.asarray((a + b) >> 1, np.int64)
    first, second = (a, b) if selection == 5 else (b, a)
    return np.asarray(first + ((second - c) >> 1), np.int64)


def _bits(differences: Numbers, used: tuple[int, ...], tables: Tables) -> NDArray[np.uint8]:
    """Huffman code and additional bits of each difference, one bit a byte (T.81 H.1.2.2, F.1.2.1.1)."""
    try:
        codes = np.stack([tables[table][0] for table in used])
        lengths = np.stack([tables[table][1] for table in used])
    except KeyError:
        raise DecodeFailed("The JPEG frame lacks a Huffman table.") from None
    flat = differences.reshape(-1)
    component = np.arange(len(flat)) % len(used)
    category = _CATEGORIES[flat]
    length = lengths[component, category]
    if not length.all():
        raise DecodeFailed("The JPEG frame cannot code the samples that came out.")
    more = np.where(category == 16, 0, category)  # SSSS 16 has no additional bits
    mask = (1 << more) - 1
    # Of a negative one the low bits of itself less one.
    value = codes[component, category] << more | ((flat - (flat >> 15)) & mask)
    length = length + more
    ends = np.cumsum(length)
    shift = np.repeat(ends, length) - 1 - np.arange(ends[-1])
    return np.asarray(np.repeat(value, length) >> shift & 1, np.uint8)


def _tables(raw: bytes) -> Tables:
    """Code and length for each of the 17 categories, of each table (T.81 B.2.4.2, annex C)."""
    found: Tables = {}
    at = 0
    while at < len(raw):
        counts = struct.unpack_from("16B", raw, at + 1)
        symbols = raw[at + 17 : at + 17 + sum(counts)]
        if raw[at] > 3 or raw[at] in found or len(symbols) != sum(counts):
            raise DecodeFailed("The JPEG frame has Huffman tables that are not foreseen.")
        found[raw[at]] = _table(counts, symbols)
        at += 17 + len(symbols)
    return found


def _table(counts: tuple[int, ...], symbols: bytes) -> tuple[Numbers, Numbers]:
    codes, lengths = np.zeros(17, np.int64), np.zeros(17, np.int64)
    code = at = 0
    for length, count in enumerate(counts, 1):
        for symbol in symbols[at : at + count]:
            if symbol > 16 or lengths[symbol]:
                raise DecodeFailed("The JPEG frame has a Huffman table of something else.")
            codes[symbol], lengths[symbol] = code, length
            code += 1
        at += count
        code <<= 1
    return codes, lengths
