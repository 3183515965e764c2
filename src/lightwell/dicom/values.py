"""Raw element values to Python values, by VR (PS3.5 6.2).

Texts are stripped of what the standard calls insignificant: trailing spaces and NULs always, leading
spaces except in LT, ST, UT and UC. DS and IS stay the strings that were sent; `decimal` and `integer`
make numbers of them without ever raising.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from typing import NamedTuple

from lightwell.dicom import charsets as cs
from lightwell.dicom.vrs import NUMBER, SINGLE_VALUED, TEXT, WORD

Number = int | float

#: No longer text is a number: DS has 16 characters, IS 12; real files exceed both, but not by much.
_LONGEST_NUMBER = 64
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)

KEEPS_LEADING_SPACE = frozenset(["LT", "ST", "UT", "UC"])


class PersonName(NamedTuple):
    """The component groups of a person name (PS3.5 6.2.1), each as sent, "" when absent."""

    alphabetic: str = ""
    ideographic: str = ""
    phonetic: str = ""

    @classmethod
    def parse(cls, text: str) -> PersonName:
        """Split at `=`; a fourth group, which the standard does not know, is left out."""
        groups = [group.strip(" \0") for group in text.split("=")][:3]
        return cls(*groups)

    @property
    def family(self) -> str:
        """The family name complex of the alphabetic group."""
        return self.alphabetic.partition("^")[0].strip()

    @property
    def given(self) -> str:
        """The given name complex of the alphabetic group."""
        return self.alphabetic.partition("^")[2].partition("^")[0].strip()

    def __str__(self) -> str:
        return "=".join(self).rstrip("=")


def integer(text: str) -> int | None:
    """The number an IS (or DS) text means, None when it is none. "2.0" counts as 2, as senders mean."""
    if len(text) <= _LONGEST_NUMBER and _INTEGER.fullmatch(text):
        return int(text)
    number = decimal(text)
    return int(number) if number is not None and abs(number) < 2**53 and number % 1 == 0 else None


def decimal(text: str) -> float | None:
    """The finite number a DS (or IS) text means, None when it is none."""
    if len(text) > _LONGEST_NUMBER or not _DECIMAL.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def strip_text(text: str, vr: str) -> str:
    """Without padding and what else is insignificant at the ends of one value."""
    text = text.rstrip(" \0")
    return text if vr in KEEPS_LEADING_SPACE else text.lstrip(" \0")


def decode_strings(raw: bytes, vr: str, charsets: Sequence[str] = ()) -> list[str]:
    """The values of any textual VR, empty ones included; [] for an empty element."""
    if not raw:
        return []
    if raw.isascii() and b"\x1b" not in raw and b"~" not in raw:
        text = raw.decode("ascii")  # the same in every character set, and the everyday case
    else:
        # Outside the text VRs only the default repertoire is allowed; other bytes stay visible.
        text = cs.decode_text(raw, charsets, vr) if vr in TEXT else raw.decode("latin-1")
    text = text.rstrip(" \0")
    if not text:
        return []
    if vr in SINGLE_VALUED or "\\" not in text:
        return [text if vr in KEEPS_LEADING_SPACE else text.lstrip(" \0")]
    return [strip_text(part, vr) for part in text.split("\\")]


def decode_numbers(raw: bytes, vr: str, *, little: bool = True) -> list[Number]:
    """The values of a numeric VR; surplus bytes at the end are left out."""
    code = NUMBER[vr]
    count = len(raw) // WORD[vr] if vr in WORD else 0
    return list(struct.unpack_from(f"{'<' if little else '>'}{count}{code}", raw))


def decode_tags(raw: bytes, *, little: bool = True) -> list[int]:
    """The values of an AT."""
    words = struct.unpack_from(f"{'<' if little else '>'}{len(raw) // 4 * 2}H", raw)
    return [words[i] << 16 | words[i + 1] for i in range(0, len(words), 2)]


def decode_value(
    raw: bytes, vr: str, *, little: bool = True, charsets: Sequence[str] = ()
) -> list[str] | list[Number] | list[int] | list[PersonName] | bytes:
    """A raw value as Python values: bytes for the binary VRs, a list for every other. Never raises."""
    if vr in NUMBER:
        return decode_numbers(raw, vr, little=little)
    if vr == "AT":
        return decode_tags(raw, little=little)
    if vr == "PN":
        return [PersonName.parse(text) for text in decode_strings(raw, vr, charsets)]
    if vr in WORD or vr in ("OB", "UN", "SQ"):
        return raw
    return decode_strings(raw, vr, charsets)


def swap_words(raw: bytes, size: int) -> bytes:
    """Reverse the bytes of every word of `size` bytes; a remainder at the end stays as it is."""
    whole = len(raw) // size * size
    swapped = bytearray(raw)
    for i in range(size):
        swapped[i:whole:size] = raw[size - 1 - i : whole : size]
    return bytes(swapped)
