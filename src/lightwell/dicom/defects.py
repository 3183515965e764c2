"""What is wrong with an object that was readable all the same.

Real files carry overlong UIDs, lower-case code strings, odd lengths and lies about group lengths
(standards 1.4, "validity is not a gate"). They are kept, and the list of these is kept with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Flaw(StrEnum):
    """Kinds of defect; the value is stored and shown, so it never changes its meaning."""

    TRUNCATED = "truncated"  # the data set ends inside an element
    TRAILING = "trailing"  # bytes after the last element that are no element
    DUPLICATE = "duplicate-tag"  # the first occurrence counts
    UNSORTED = "unsorted"  # tags not ascending (PS3.5 7.1)
    ODD_LENGTH = "odd-length"  # PS3.5 7.1.1
    BAD_VR = "bad-vr"  # two bytes that are no VR of the standard
    MISSING_VR = "missing-vr"  # an implicit element inside an explicit data set
    WRONG_SYNTAX = "wrong-syntax"  # encoded otherwise than the transfer syntax says
    UNDEFINED_LENGTH = "undefined-length"  # where PS3.5 7.1.1 does not allow it
    BAD_SEQUENCE = "bad-sequence"  # items or delimiters that do not fit their lengths
    BAD_GROUP = "bad-group"  # command or file meta elements inside a data set
    BAD_UID = "bad-uid"  # PS3.5 9.1
    BAD_CHARSET = "bad-charset"  # unknown term in (0008,0005)
    BAD_TEXT = "bad-text"  # bytes that the declared character set does not hold
    BAD_VALUE = "bad-value"  # length or text that its VR does not allow
    BAD_META = "bad-meta"  # file meta information missing or wrong
    BAD_FRAMES = "bad-frames"  # offset tables or pixel data against the frame attributes


@dataclass(frozen=True, slots=True)
class Defect:
    """One defect: its kind, the tag it was met at (0 = none), and a text without values."""

    code: Flaw
    tag: int
    text: str
