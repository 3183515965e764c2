"""Whether a value conforms to its value representation (PS3.5 2025c, 6.2 and Table 6.2-1).

For what people type and programs ask us to write. What machines send is kept as it came, with its defects.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any, Final

from lightwell.dicom.uids import acceptable_uid

LONGEST: Final = {
    "AE": 16, "CS": 16, "DS": 16, "DT": 26, "IS": 12, "LO": 64, "LT": 10_240, "SH": 16, "ST": 1024,
    "UC": 2**32 - 2, "UR": 2**32 - 2, "UT": 2**32 - 2,
}  # fmt: skip
"""Characters of one value."""
_GROUP: Final = 64  # characters of a group of a person's name
_LINES: Final = frozenset({"LT", "ST", "UT"})  # in which lines may end
_RANGES: Final = {
    "US": (0, 2**16 - 1), "SS": (-(2**15), 2**15 - 1), "UL": (0, 2**32 - 1), "SL": (-(2**31), 2**31 - 1),
    "UV": (0, 2**64 - 1), "SV": (-(2**63), 2**63 - 1), "IS": (-(2**31), 2**31 - 1),
}  # fmt: skip
_FORMS: Final = {
    "AS": (re.compile(r"\d{3}[DWMY]"), "three digits and one of D, W, M, Y"),
    "CS": (re.compile(r"[A-Z0-9_ ]*"), "upper-case letters, digits, spaces and underscores"),
    "DT": (
        re.compile(r"\d{4}(\d\d){0,5}(\.\d{1,6})?([+-]\d{4})?"),
        "YYYYMMDDHHMMSS.FFFFFF&ZZXX, from the right left out what is not known",
    ),
    "TM": (
        re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d|60)?)?|([01]\d|2[0-3])[0-5]\d([0-5]\d|60)\.\d{1,6}"),
        "HHMMSS.FFFFFF, from the right left out what is not known",
    ),
}  # fmt: skip
_DATE: Final = re.compile(r"\d{8}")


def objection(vr: str, value: Any) -> str:
    """What is wrong with one value as DICOM JSON has it (PS3.18 F.2); '' when nothing is.

    A sentence's end: "is longer than 64 characters". Empty values conform. VRs of bytes and items are
    not looked into.
    """
    if value is None or value == "":
        return ""
    if vr == "PN":
        return _name(value)
    if isinstance(value, int | float):
        return _number(vr, value)
    if not isinstance(value, str):
        return ""
    return _text(vr, value)


def _name(value: Any) -> str:
    groups = value.values() if isinstance(value, dict) else [value]
    for group in map(str, groups):
        if len(group) > _GROUP:
            return f"has a group of more than {_GROUP} characters"
        if group.count("^") > 4:
            return "has more than five components"
        if trouble := _characters("PN", group):
            return trouble
    return ""


def _number(vr: str, value: int | float) -> str:
    if vr in _RANGES:
        low, high = _RANGES[vr]
        if isinstance(value, float) and not value.is_integer():
            return "is not a whole number"
        if not low <= value <= high:
            return f"is not between {low} and {high}"
    return ""


def _text(vr: str, value: str) -> str:
    if len(value) > LONGEST.get(vr, len(value)):
        return f"is longer than {LONGEST[vr]} characters"
    if trouble := _characters(vr, value):
        return trouble
    if vr == "UI":
        return "" if acceptable_uid(value) else "is not a UID"
    if vr == "DA":
        return "" if _is_date(value) else "is not a date as YYYYMMDD"
    if vr in ("IS", "DS"):
        try:
            return _number(vr, int(value) if vr == "IS" else float(value))
        except ValueError:
            return "is not a number"
    if vr in _FORMS and not _FORMS[vr][0].fullmatch(value.strip(" ")):
        return f"is not of the form: {_FORMS[vr][1]}"
    return ""


def _is_date(value: str) -> bool:
    if not (value.isascii() and _DATE.fullmatch(value)):
        return False
    try:
        date(int(value[:4]), int(value[4:6]), int(value[6:]))
    except ValueError:
        return False
    return True


def _characters(vr: str, value: str) -> str:
    allowed = "\t\n\f\r" if vr in _LINES else ""
    if any((ord(c) < 32 and c not in allowed) or ord(c) == 127 for c in value):
        return "has control characters"
    if "\\" in value and vr not in ("LT", "ST", "UT", "UR"):
        return "has a backslash, which separates values"
    return ""
