"""Specific Character Set: every defined term, with and without code extensions (PS3.3 C.12.1.1.2,
PS3.5 6.1 and 6.2.1.2).

Decoding never raises. What a declared set cannot hold becomes U+FFFD, and `decode` says so. Texts
with bytes above 7F under the default repertoire are an everyday mistake: they are read as UTF-8 when
they are UTF-8, else as Latin-1, and flagged as well. The bytes as received stay in the archive.

A code extension text is cut at its escape sequences; in each piece G0 decodes bytes below 80 and G1
those above. Both return to the first term's sets at CR, LF, FF and TAB, at `\\` where values are
separated, and at `^` and `=` in person names. A 5C inside a two-byte G0 character is no backslash, which
is why values are separated after decoding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

UTF8 = "ISO_IR 192"
DEFAULT = "ISO_IR 6"

#: defined terms of one set without code extensions -> Python codec
_SINGLE = {
    "ISO_IR 6": "ascii",
    "ISO_IR 100": "latin-1",
    "ISO_IR 101": "iso8859-2",
    "ISO_IR 109": "iso8859-3",
    "ISO_IR 110": "iso8859-4",
    "ISO_IR 144": "iso8859-5",
    "ISO_IR 127": "iso8859-6",
    "ISO_IR 126": "iso8859-7",
    "ISO_IR 138": "iso8859-8",
    "ISO_IR 148": "iso8859-9",
    "ISO_IR 203": "iso8859-15",
    "ISO_IR 166": "iso8859-11",
    "ISO_IR 13": "shift_jis",  # its single-byte half is JIS X 0201; see _jis_x_0201
    "ISO_IR 192": "utf-8",
    "GB18030": "gb18030",
    "GBK": "gbk",
}

#: sets that stand alone: their bytes are never cut at escape sequences (PS3.3 C.12.1.1.2)
_WHOLE = frozenset([UTF8, "GB18030", "GBK"])


class _Set(NamedTuple):
    """One designation: which half it fills, its kind of bytes, its escape sequence after ESC."""

    half: int  # 0 = G0 (bytes below 80), 1 = G1
    codec: str
    width: int
    escape: bytes


# PS3.3 Tables C.12-3 and C.12-4. Terms of ISO-8859 parts designate only their right half to G1.
_EXTENSION: dict[str, tuple[_Set, ...]] = {
    "6": (_Set(0, "ascii", 1, b"(B"),),
    "100": (_Set(1, "latin-1", 1, b"-A"),),
    "101": (_Set(1, "iso8859-2", 1, b"-B"),),
    "109": (_Set(1, "iso8859-3", 1, b"-C"),),
    "110": (_Set(1, "iso8859-4", 1, b"-D"),),
    "144": (_Set(1, "iso8859-5", 1, b"-L"),),
    "127": (_Set(1, "iso8859-6", 1, b"-G"),),
    "126": (_Set(1, "iso8859-7", 1, b"-F"),),
    "138": (_Set(1, "iso8859-8", 1, b"-H"),),
    "148": (_Set(1, "iso8859-9", 1, b"-M"),),
    "203": (_Set(1, "iso8859-15", 1, b"-b"),),
    "166": (_Set(1, "iso8859-11", 1, b"-T"),),
    "13": (_Set(0, "jis-roman", 1, b"(J"), _Set(1, "jis-kana", 1, b")I")),
    "87": (_Set(0, "jisx0208", 2, b"$B"),),
    "159": (_Set(0, "jisx0212", 2, b"$(D"),),
    "149": (_Set(1, "euc_kr", 2, b"$)C"),),
    "58": (_Set(1, "gb2312", 2, b"$)A"),),
}
_BY_ESCAPE = {s.escape: s for group in _EXTENSION.values() for s in group}
_ASCII = _EXTENSION["6"][0]
_ESCAPES = re.compile(rb"\x1b(" + b"|".join(re.escape(e) for e in _BY_ESCAPE) + rb")")

_TERM = re.compile(r"ISO[ _-]?(2022)?[ _-]*IR[ _-]*([0-9]{1,3})")
_ALIASES = {
    "": DEFAULT,
    "UTF8": UTF8,
    "UTF-8": UTF8,
    "ISO_IR192": UTF8,
    "GB2312": "GBK",  # GBK holds GB 2312 at the same code points
    "LATIN1": "ISO_IR 100",
    "ASCII": DEFAULT,
}


class Decoded(NamedTuple):
    """A decoded text, and whether every byte was what the declared sets allow."""

    text: str
    clean: bool


@lru_cache(maxsize=512)
def normal_term(term: str) -> str | None:
    """The standard's spelling of a defined term; None when it is not one, even with good will."""
    bare = term.strip(" \0").upper()
    if bare in _ALIASES:
        return _ALIASES[bare]
    if bare in _SINGLE:
        return bare
    match = _TERM.fullmatch(bare)
    if match is None:
        return None
    if match[1] or match[2] in ("87", "159", "149", "58"):
        return f"ISO 2022 IR {match[2]}" if match[2] in _EXTENSION else None
    name = f"ISO_IR {match[2]}"
    return name if name in _SINGLE else None


def parse_charsets(raw: bytes) -> tuple[str, ...]:
    """The terms of a raw (0008,0005) as sent, stripped; () when it is empty or absent. More than 16 have
    no meaning that anybody defined, and are left out."""
    text = raw[:1024].decode("latin-1").strip(" \0")
    return tuple(part.strip(" \0") for part in text.split("\\")[:16]) if text else ()


def unknown_terms(charsets: Sequence[str]) -> list[str]:
    """Those of the terms that no edition defines."""
    return [term for term in charsets if normal_term(term) is None]


def python_codec(term: str) -> str:
    """The Python codec nearest to one term, for texts without escape sequences."""
    name = normal_term(term) or DEFAULT
    number = name.removeprefix("ISO 2022 IR ")
    if number == name:
        return _SINGLE[name]
    return {"87": "euc_jp", "159": "euc_jp", "149": "euc_kr", "58": "gb2312"}.get(
        number, _SINGLE.get(f"ISO_IR {number}", "ascii")
    )


@lru_cache(maxsize=512)
def _initial(charsets: tuple[str, ...]) -> tuple[_Set, _Set | None]:
    """G0 and G1 at the start of a value: what the first term designates."""
    number = (normal_term(charsets[0]) or DEFAULT).rpartition(" ")[2] if charsets else "6"
    g0, g1 = _ASCII, None
    for one in _EXTENSION.get(number, ()):
        if one.half == 1:
            g1 = one
        elif one.width == 1:
            g0 = one
    return g0, g1


def decode(raw: bytes, charsets: Sequence[str] = (), vr: str = "LO") -> Decoded:
    """Decode one element value (all values at once, separators included). Never raises."""
    terms = tuple(charsets)
    first = (normal_term(terms[0]) if terms else DEFAULT) or DEFAULT
    if first in _WHOLE:
        return _strictly(raw, _SINGLE[first])
    if b"\x1b" in raw and (len(terms) > 1 or first.startswith("ISO 2022")):
        return _decode_extended(raw, terms, vr)
    if raw.isascii():
        if first not in ("ISO_IR 13", "ISO 2022 IR 13") or b"~" not in raw:
            return Decoded(raw.decode("ascii"), True)
        return _jis_x_0201(raw)
    if first == DEFAULT or first == "ISO 2022 IR 6":
        return _undeclared(raw)
    if first in ("ISO_IR 13", "ISO 2022 IR 13"):
        return _jis_x_0201(raw)
    return _strictly(raw, python_codec(first))


def decode_text(raw: bytes, charsets: Sequence[str] = (), vr: str = "LO") -> str:
    """`decode` without the verdict."""
    return decode(raw, charsets, vr).text


def _strictly(raw: bytes, codec: str) -> Decoded:
    try:
        return Decoded(raw.decode(codec), True)
    except UnicodeDecodeError:
        return Decoded(raw.decode(codec, "replace"), False)


def _undeclared(raw: bytes) -> Decoded:
    try:
        return Decoded(raw.decode("utf-8"), False)
    except UnicodeDecodeError:
        return Decoded(raw.decode("latin-1"), False)


def _jis_x_0201(raw: bytes) -> Decoded:
    """One byte, one character: Roman letters (7E is an overline; 5C stays DICOM's separator) and
    half-width katakana."""
    characters = []
    clean = True
    for byte in raw:
        if byte == 0x7E:
            characters.append("‾")
        elif byte < 0x80:
            characters.append(chr(byte))
        elif 0xA1 <= byte <= 0xDF:
            characters.append(chr(0xFF61 + byte - 0xA1))
        else:
            characters.append("�")
            clean = False
    return Decoded("".join(characters), clean)


def _delimiters(vr: str) -> bytes:
    """Bytes at which designations return to the initial ones (PS3.5 6.1.2.5.3)."""
    if vr == "PN":
        return b"\\^=\r\n\f\t"
    return b"\r\n\f\t" if vr in ("LT", "ST", "UT") else b"\\\r\n\f\t"


def _decode_extended(raw: bytes, terms: tuple[str, ...], vr: str) -> Decoded:
    """The state machine of ISO 2022: G0 and G1, changed by escapes, reset by delimiters."""
    g0, g1 = initial = _initial(terms)
    delimiters = _delimiters(vr)
    parts: list[Decoded] = []
    at = 0
    while at < len(raw):
        byte = raw[at]
        escape = _ESCAPES.match(raw, at) if byte == 0x1B else None
        if escape is not None:
            designated = _BY_ESCAPE[escape[1]]
            g0, g1 = (designated, g1) if designated.half == 0 else (g0, designated)
            at = escape.end()
            continue
        if byte >= 0x80:
            run = _run(_HIGH, raw, at)
            parts.append(_right_half(run, g1))
        elif byte in delimiters and (g0.width == 1 or byte < 0x21):
            run = raw[at : at + 1]
            parts.append(Decoded(chr(byte), True))
            g0, g1 = initial
        elif g0.width == 2 and byte > 0x20:
            run = raw[at : at + 2]
            parts.append(_pair(run, g0))
        elif byte == 0x1B:
            run = raw[at : at + 1]
            parts.append(Decoded("\ufffd", False))  # an escape sequence that DICOM does not define
        else:
            run = raw[at : at + 1] if g0.width == 2 else _run(_LOW, raw, at, delimiters)
            text = run.decode("ascii")
            parts.append(
                Decoded(text.replace("~", "\u203e") if g0.codec == "jis-roman" else text, True)
            )
        at += len(run)
    return Decoded("".join(part.text for part in parts), all(part.clean for part in parts))


_HIGH = re.compile(rb"[\x80-\xff]+")
_LOW = re.compile(rb"[\x00-\x1a\x1c-\x7f]+")


def _run(pattern: re.Pattern[bytes], raw: bytes, at: int, stops: bytes = b"") -> bytes:
    """The bytes from `at` that match, up to the first of `stops`; never empty."""
    match = pattern.match(raw, at)
    run = match[0] if match else raw[at : at + 1]
    end = min((run.find(stop) % (len(run) + 1) for stop in stops), default=len(run))
    return run[: max(end, 1)]


def _pair(pair: bytes, g0: _Set) -> Decoded:
    """One character of a two-byte G0 set, through its EUC form."""
    prefix = b"\x8f" if g0.codec == "jisx0212" else b""
    return _strictly(prefix + bytes(b | 0x80 for b in pair), "euc_jp")


def _right_half(run: bytes, g1: _Set | None) -> Decoded:
    """A run of bytes above 7F under G1."""
    if g1 is None:
        return Decoded("\ufffd" * len(run), False)
    return _jis_x_0201(run) if g1.codec == "jis-kana" else _strictly(run, g1.codec)


class Encoded(NamedTuple):
    """Encoded text and the terms it is encoded under; they differ from those asked for when those
    cannot hold it, and are then always ("ISO_IR 192",)."""

    raw: bytes
    charsets: tuple[str, ...]


def encode_text(text: str, charsets: Sequence[str] = (), vr: str = "LO") -> Encoded:
    """Encode under the given terms, unpadded; under ISO_IR 192 when they cannot hold the text.

    The result always decodes to `text` again: that is checked, not assumed.
    """
    terms = tuple(charsets)
    raw = _encode(text, terms, vr)
    if raw is not None and decode(raw, terms, vr) == Decoded(text, True):
        return Encoded(raw, terms)
    return Encoded(text.encode("utf-8", "replace"), (UTF8,))


def _encode(text: str, terms: tuple[str, ...], vr: str) -> bytes | None:
    if text.isascii():
        return text.encode("ascii")
    names = [normal_term(term) for term in terms] or [DEFAULT]
    if None in names:
        return None
    first = names[0] or DEFAULT
    if len(terms) <= 1 and not first.startswith("ISO 2022"):
        codec = _SINGLE[first]
        try:
            return text.encode(codec)
        except UnicodeEncodeError:
            return None
    sets = [s for name in names for s in _EXTENSION.get((name or "").rpartition(" ")[2], ())]
    return _encode_extended(text, terms, sets, vr)


def _encode_extended(text: str, terms: tuple[str, ...], sets: list[_Set], vr: str) -> bytes | None:
    """Character by character, staying in the designated sets as long as they serve (PS3.5 6.1.2.5)."""
    initial = _initial(terms)
    g0, g1 = initial
    delimiters = _delimiters(vr)
    out = bytearray()
    for character in text:
        plain = character.encode("ascii", "ignore")
        if plain:
            if g0.width == 2 and (plain > b" " or plain in delimiters):
                out += b"\x1b" + initial[0].escape
                g0 = initial[0]
            out += plain
            if plain in delimiters:
                g0, g1 = initial
            continue
        for one in (g0, g1, *sets):
            raw = None if one is None else _encode_character(character, one)
            if one is not None and raw is not None:
                break
        else:
            return None
        if one not in (g0, g1):
            out += b"\x1b" + one.escape
            g0, g1 = (one, g1) if one.half == 0 else (g0, one)
        out += raw
    if g0.width == 2:
        out += b"\x1b" + initial[0].escape  # a value ends in its initial G0 (PS3.5 6.1.2.5.3)
    return bytes(out)


def _encode_character(character: str, one: _Set) -> bytes | None:
    """One non-ASCII character in one set, None when the set does not have it."""
    if one.codec == "jis-kana":
        code = ord(character) - 0xFF61 + 0xA1
        return bytes([code]) if 0xA1 <= code <= 0xDF else None
    if one.codec == "jis-roman":
        return b"~" if character == "‾" else None
    if one.codec == "ascii":
        return None
    try:
        raw = character.encode("euc_jp" if one.codec.startswith("jisx") else one.codec)
    except UnicodeEncodeError:
        return None
    if one.codec == "jisx0208":
        return bytes(b & 0x7F for b in raw) if len(raw) == 2 and raw[0] != 0x8E else None
    if one.codec == "jisx0212":
        return bytes(b & 0x7F for b in raw[1:]) if len(raw) == 3 else None
    return raw if len(raw) == one.width and raw[0] >= 0x80 else None
