"""Character sets: the examples of PS3.5 Annexes H to K, round trips, and never an exception."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.dicom import charsets as cs

EXAMPLES = [
    # PS3.5 H.3.1
    (
        ("", "ISO 2022 IR 87"),
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    # PS3.5 H.3.2
    (
        ("ISO 2022 IR 13", "ISO 2022 IR 87"),
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J="
        b"\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    # PS3.5 I.2
    (
        ("", "ISO 2022 IR 149"),
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7="
        b"\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    # PS3.5 K.2
    (
        ("", "ISO 2022 IR 58"),
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
        "Zhang^XiaoDong=张^小东=",
    ),
    # PS3.5 J.3, J.4
    (
        ("ISO_IR 192",),
        b"Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe6\x9d\xb1=",
        "Wang^XiaoDong=王^小東=",
    ),
    (("GB18030",), b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),
    # one set a term
    (("ISO_IR 100",), b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
    (("ISO_IR 101",), b"W\xb1\xbfek", "Wążek"),
    (("ISO_IR 144",), b"\xbb\xee\xda\xe1\xd5\xdc\xd1\xe3\xe0\xd3", "Люксембург"),
    (("ISO_IR 127",), b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", "قباني^لنزار"),
    (("ISO_IR 126",), b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
    (("ISO_IR 138",), b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה"),
    (("ISO_IR 166",), b"\xca\xc1\xaa\xd2\xc2", "สมชาย"),
    (("ISO_IR 203",), b"\xa4", "€"),
    (("ISO_IR 13",), b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3~", "ﾔﾏﾀﾞ^ﾀﾛｳ‾"),
    # code extensions between single-byte sets
    (
        ("ISO 2022 IR 100", "ISO 2022 IR 144"),
        b"Gr\xfc\xdfe \x1b-L\xbb\xee\xda\xe1",
        "Grüße Люкс",
    ),
]


@pytest.mark.parametrize(("terms", "raw", "text"), EXAMPLES)
def test_known_texts_are_decoded(terms: tuple[str, ...], raw: bytes, text: str) -> None:
    assert cs.decode(raw, terms, "PN") == cs.Decoded(text, True)


@pytest.mark.parametrize(("terms", "raw", "text"), EXAMPLES)
def test_and_encoded_again_under_the_same_terms(
    terms: tuple[str, ...], raw: bytes, text: str
) -> None:
    encoded = cs.encode_text(text, terms, "PN")
    assert encoded.charsets == terms
    assert cs.decode_text(encoded.raw, terms, "PN") == text


def test_a_delimiter_ends_the_designation() -> None:
    terms = ("", "ISO 2022 IR 149")
    one = b"\x1b$)C\xb1\xe8"
    assert cs.decode(one + b"^" + one, terms, "PN") == cs.Decoded("김^김", True)
    broken = cs.decode(one + b"^\xb1\xe8", terms, "PN")
    assert broken == cs.Decoded("김^\ufffd\ufffd", False)
    # in other VRs `^` is no delimiter, the backslash is
    assert cs.decode(one + b"^\xb1\xe8", terms, "LO") == cs.Decoded("김^김", True)
    assert not cs.decode(one + b"\\\xb1\xe8", terms, "LO").clean
    assert cs.decode(one + b"\\\xb1\xe8", terms, "LT") == cs.Decoded("김\\김", True)


@pytest.mark.parametrize("control", [b"\r", b"\n", b"\f", b"\t"])
def test_control_characters_end_it_too(control: bytes) -> None:
    raw = b"\x1b$)C\xb1\xe8" + control + b"\xb1\xe8"
    assert not cs.decode(raw, ("", "ISO 2022 IR 149"), "LT").clean


def test_a_backslash_byte_inside_a_character_is_no_separator() -> None:
    # JIS X 0208 row 25 cell 5C; GB 18030 second byte 5C
    assert cs.decode_text(b"\x1b$B%\\\x1b(B", ("", "ISO 2022 IR 87"), "LO") == "ボ"
    assert "\\" not in cs.decode_text("誠".encode("gbk"), ("GBK",), "LO")
    assert "誠".encode("gbk").endswith(b"\\")


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("ISO_IR 100", "ISO_IR 100"),
        ("ISO-IR 100", "ISO_IR 100"),
        ("iso_ir 192", "ISO_IR 192"),
        ("ISO IR 192", "ISO_IR 192"),
        ("ISO 2022 IR 87", "ISO 2022 IR 87"),
        ("ISO_2022_IR_149", "ISO 2022 IR 149"),
        ("ISO_IR 87", "ISO 2022 IR 87"),
        ("UTF-8", "ISO_IR 192"),
        ("", "ISO_IR 6"),
        ("ISO_IR 999", None),
        ("KOI8", None),
    ],
)
def test_terms_are_understood_with_good_will(sent: str, meant: str | None) -> None:
    assert cs.normal_term(sent) == meant


def test_undeclared_bytes_are_read_as_utf_8_else_latin_1_and_flagged() -> None:
    assert cs.decode("Müller".encode()) == cs.Decoded("Müller", False)
    assert cs.decode("Müller".encode("latin-1")) == cs.Decoded("Müller", False)
    assert cs.decode(b"Mueller") == cs.Decoded("Mueller", True)


def test_what_does_not_fit_is_encoded_as_utf_8() -> None:
    encoded = cs.encode_text("王^小東", ("ISO_IR 100",), "PN")
    assert encoded == cs.Encoded("王^小東".encode(), ("ISO_IR 192",))
    assert cs.encode_text("Müller", (), "PN").charsets == ("ISO_IR 192",)
    assert cs.encode_text("Mueller", (), "PN") == cs.Encoded(b"Mueller", ())


def test_parsing_the_attribute() -> None:
    assert cs.parse_charsets(b"") == ()
    assert cs.parse_charsets(b"ISO_IR 100") == ("ISO_IR 100",)
    assert cs.parse_charsets(b"\\ISO 2022 IR 87 ") == ("", "ISO 2022 IR 87")
    assert len(cs.parse_charsets(b"\\" * 60_000)) == 16
    assert cs.unknown_terms(("ISO_IR 100", "KOI8")) == ["KOI8"]


TERMS = st.lists(
    st.sampled_from(
        [*cs._SINGLE, *(f"ISO 2022 IR {number}" for number in cs._EXTENSION), "", "KOI8"]
    ),
    max_size=4,
).map(tuple)
VRS = st.sampled_from(["PN", "LO", "SH", "LT", "ST", "UT", "UC"])


@given(st.binary(max_size=60), TERMS, VRS)
def test_decoding_never_raises(raw: bytes, terms: tuple[str, ...], vr: str) -> None:
    decoded = cs.decode(raw, terms, vr)
    decoded.text.encode()  # no lone surrogates


@given(
    st.lists(
        st.sampled_from([b"\x1b" + escape for escape in cs._BY_ESCAPE] + [b"^", b"=", b"\\", b"\n"])
        | st.binary(max_size=5),
        max_size=12,
    ).map(b"".join),
    TERMS,
    VRS,
)
def test_nor_with_escape_sequences_anywhere(raw: bytes, terms: tuple[str, ...], vr: str) -> None:
    cs.decode(raw, terms, vr).text.encode()


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x1b"), max_size=20), TERMS, VRS)
def test_what_is_encoded_decodes_to_itself(text: str, terms: tuple[str, ...], vr: str) -> None:
    encoded = cs.encode_text(text, terms, vr)
    assert cs.decode_text(encoded.raw, encoded.charsets, vr) == text
