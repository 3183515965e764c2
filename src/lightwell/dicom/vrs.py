"""Value representations: how an element of each is framed and padded (PS3.5 6.2, 7.1.2)."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

UNDEFINED = 0xFFFFFFFF

SHORT_FORM = frozenset(
    [
        "AE",
        "AS",
        "AT",
        "CS",
        "DA",
        "DS",
        "DT",
        "FL",
        "FD",
        "IS",
        "LO",
        "LT",
        "PN",
        "SH",
        "SL",
        "SS",
        "ST",
        "TM",
        "UI",
        "UL",
        "US",
    ]
)  # 16-bit length
LONG_FORM = frozenset(
    [
        "OB",
        "OD",
        "OF",
        "OL",
        "OV",
        "OW",
        "SQ",
        "SV",
        "UC",
        "UN",
        "UR",
        "UT",
        "UV",
    ]
)  # 32-bit length
KNOWN = SHORT_FORM | LONG_FORM

BINARY = frozenset(
    [
        "OB",
        "OD",
        "OF",
        "OL",
        "OV",
        "OW",
        "UN",
    ]
)
TEXT = frozenset(
    [
        "LO",
        "LT",
        "PN",
        "SH",
        "ST",
        "UC",
        "UT",
    ]
)  # governed by Specific Character Set
SINGLE_VALUED = frozenset(
    [
        "LT",
        "ST",
        "UR",
        "UT",
    ]
)  # a backslash is just a character

#: bytes of one number, for byte swapping and for counting values
WORD = {
    "AT": 2, "US": 2, "SS": 2, "OW": 2,
    "UL": 4, "SL": 4, "FL": 4, "OL": 4, "OF": 4,
    "FD": 8, "SV": 8, "UV": 8, "OD": 8, "OV": 8,
}  # fmt: skip

#: struct letters of the numeric VRs
NUMBER = {
    "US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "SV": "q", "UV": "Q",
}  # fmt: skip

#: everything whose value is text of some kind
STRINGS = KNOWN - BINARY - frozenset(NUMBER) - {"AT", "SQ"}

#: VR bytes on the wire -> name
SHORT_NAMES = {name.encode(): name for name in SHORT_FORM}
LONG_NAMES = {name.encode(): name for name in LONG_FORM}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How elements are framed: explicit or implicit VR, and the byte order."""

    implicit: bool
    little: bool

    @property
    def order(self) -> str:
        """The struct module's byte-order letter."""
        return "<" if self.little else ">"


EXPLICIT_LE = Encoding(implicit=False, little=True)
IMPLICIT_LE = Encoding(implicit=True, little=True)
EXPLICIT_BE = Encoding(implicit=False, little=False)

EXPLICIT_HEAD = {True: Struct("<HH2sH"), False: Struct(">HH2sH")}
IMPLICIT_HEAD = {True: Struct("<HHI"), False: Struct(">HHI")}
LENGTH32 = {True: Struct("<I"), False: Struct(">I")}

ITEM = 0xFFFEE000
ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD


def pad_byte(vr: str) -> bytes:
    """The byte that makes a value's length even (PS3.5 6.2): NUL for UIDs and binary, else space."""
    return b"\0" if vr == "UI" or vr in BINARY or vr in NUMBER or vr == "AT" else b" "


def element_header(tag: int, vr: str, length: int, encoding: Encoding = EXPLICIT_LE) -> bytes:
    """The 8 or 12 bytes in front of a value of `length` bytes (`UNDEFINED` allowed for long forms).

    Raises ValueError when a 16-bit length field cannot hold `length`; such a value must go as UN
    (PS3.5 6.2.2, note on UN).
    """
    group, element = tag >> 16, tag & 0xFFFF
    if encoding.implicit:
        return IMPLICIT_HEAD[encoding.little].pack(group, element, length)
    if vr in SHORT_FORM:
        if length > 0xFFFF:
            raise ValueError(f"a {vr} value of {length} bytes does not fit a 16-bit length")
        return EXPLICIT_HEAD[encoding.little].pack(group, element, vr.encode(), length)
    head = EXPLICIT_HEAD[encoding.little].pack(group, element, vr.encode(), 0)
    return head + LENGTH32[encoding.little].pack(length)
