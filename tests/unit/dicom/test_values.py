"""Values by VR."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.dicom.values import (
    PersonName,
    decimal,
    decode_numbers,
    decode_strings,
    decode_tags,
    decode_value,
    integer,
    swap_words,
)
from lightwell.dicom.vrs import KNOWN, NUMBER


@pytest.mark.parametrize(
    ("vr", "raw", "values"),
    [
        ("CS", b"ORIGINAL\\PRIMARY \\ AXIAL\0", ["ORIGINAL", "PRIMARY", "AXIAL"]),
        ("UI", b"1.2.3\0", ["1.2.3"]),
        ("LO", b"a\\\\b", ["a", "", "b"]),
        ("LO", b"  ", []),
        ("LT", b"  two \\ lines\r\n ", ["  two \\ lines\r\n"]),
        ("UT", b"\\", ["\\"]),
        ("UC", b" a\\b ", [" a", "b"]),
        ("DS", b"1.10 \\-2E3", ["1.10", "-2E3"]),
        ("DA", b"", []),
    ],
)
def test_texts_lose_padding_only(vr: str, raw: bytes, values: list[str]) -> None:
    assert decode_strings(raw, vr) == values


@pytest.mark.parametrize("vr", sorted(NUMBER))
@pytest.mark.parametrize("little", [True, False])
def test_numbers_in_both_byte_orders(vr: str, little: bool) -> None:
    raw = struct.pack(f"{'<' if little else '>'}3{NUMBER[vr]}", 1, 2, 100)
    assert decode_numbers(raw, vr, little=little) == [1, 2, 100]
    assert decode_numbers(raw + b"\0", vr, little=little) == [1, 2, 100]


def test_tags_in_both_byte_orders() -> None:
    assert decode_tags(b"\x28\0\x10\0\x54\0\x20\0") == [0x00280010, 0x00540020]
    assert decode_tags(b"\0\x28\0\x10\0", little=False) == [0x00280010]


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("+1", 1), ("-0", 0), ("1.10", 1.1), (".5", 0.5), ("5.", 5), ("1e-3", 0.001)],
)
def test_decimals(text: str, number: float) -> None:
    assert decimal(text) == number


@pytest.mark.parametrize(
    "text", ["", "NaN", "inf", "1_0", "1,5", "0x10", "1e999", "--1", "1 2", "９", "1" * 65, "."]
)
def test_what_is_no_decimal(text: str) -> None:
    assert decimal(text) is None
    assert integer(text) is None


def test_integers_as_senders_mean_them() -> None:
    assert integer("12") == 12
    assert integer("2.0") == 2
    assert integer("2.5") is None
    assert integer("1e300") is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_in_decimal_notation_is_read_back(number: float) -> None:
    assert decimal(repr(number)) == number


def test_person_names() -> None:
    name = PersonName.parse("Yamada^Tarou=山田^太郎=やまだ^たろう")
    assert (name.family, name.given) == ("Yamada", "Tarou")
    assert name.ideographic == "山田^太郎"
    assert str(name) == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert str(PersonName.parse("A=B=C=D")) == "A=B=C"
    assert str(PersonName.parse("=洪^吉洞")) == "=洪^吉洞"


def test_values_by_vr() -> None:
    assert decode_value(b"A^B", "PN") == [PersonName("A^B")]
    assert decode_value(b"\1\2", "OB") == b"\1\2"
    assert decode_value(b"\1\2", "OW") == b"\1\2"
    [value] = decode_value(struct.pack("<d", math.nan), "FD")
    assert isinstance(value, float)
    assert math.isnan(value)


@given(st.binary(max_size=64), st.sampled_from(sorted(KNOWN)), st.booleans())
def test_decoding_never_raises(raw: bytes, vr: str, little: bool) -> None:
    decode_value(raw, vr, little=little, charsets=("ISO_IR 192",))


@given(st.binary(max_size=64), st.sampled_from([1, 2, 4, 8]))
def test_swapping_twice_gives_the_same_bytes(raw: bytes, size: int) -> None:
    assert swap_words(swap_words(raw, size), size) == raw
    if len(raw) >= size:
        assert swap_words(raw, size)[:size] == raw[:size][::-1]
