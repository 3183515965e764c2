"""What a query key means, and whether a recorded value meets it. Pure; the only place that decides.

`criterion` reads one key as C-FIND or QIDO-RS gives it, `matches` compares it with one DICOM JSON
element (PS3.4 C.2.2.2, PS3.18 8.3.4, edition 2026b). Choices where the standard leaves one:

* Person names are compared folded (case, accents, width), one component group at a time; a key of one
  group may meet any group of the value. Everything else is case-sensitive.
* A key with several values by backslash means any of them, negotiated or not: nobody sends it meaning
  something else. Single-value attributes with several values match if any value does.
* Keys that cannot be read (a date that is none) are refused, never ignored: an ignored key would show
  other people's images.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from lightwell.domain.archive.internal import moments
from lightwell.domain.archive.internal.folding import fold, fold_group, sound, words, words_of
from lightwell.domain.archive.model import Attributes, JSONElement
from lightwell.domain.archive.query import Criterion, DateTimeRange, Match
from lightwell.kernel.errors import Invalid

__all__ = [
    "EMPTY_KEY",
    "WILDCARD_VRS",
    "criterion",
    "fold",
    "matches",
    "matches_all",
    "matches_range",
    "matches_text",
    "pn_groups",
    "spellings",
    "text_tokens",
    "text_values",
    "words",
]

KEY_LIMIT = 1024  # characters of one key
LIST_LIMIT = 20_000  # values of one UID list: a whole study's instances may be asked for by name
EMPTY_KEY = '""'  # two QUOTATION MARKs: empty value matching (PS3.4 C.2.2.2.7)
ITEMS_LIMIT = 256  # keys within one sequence

# PS3.4 C.2.2.2.4: wildcards are wildcards in these, and ordinary characters in all others.
WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_ONE_VALUE_VRS = frozenset({"ST", "LT", "UT", "UR"})  # a backslash is text in these (PS3.5 6.2)
_KEEPS_LEADING_SPACE = frozenset({"ST", "LT", "UT", "UC"})
_RANGE_VRS = frozenset({"DA", "TM", "DT"})
_NUMBER_VRS = frozenset({"IS", "DS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"})
_BINARY_VRS = frozenset({"OB", "OW", "OD", "OF", "OL", "OV"})
_UID = re.compile(r"[0-9.]{1,128}", re.ASCII)
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_FULL_NAME = 4  # carets of a name with all five components


# --- keys -----------------------------------------------------------------------------------------


def criterion(
    tag: int,
    vr: str,
    raw_values: str | Sequence[str],
    *,
    fuzzy: bool = False,
    empty_value_matching: bool = False,
    multiple_value_matching: bool = False,
    items: Sequence[Criterion] = (),
    overnight: bool = False,
) -> Criterion:
    """One key as a criterion.

    `raw_values` is the key's text, or its values when the door has split them. With
    `empty_value_matching`, `""` asks for absent or empty values. With `multiple_value_matching` every
    value of a list is a key of its own kind (range, wildcard); without it too, see the module text.
    `items` are the keys within a sequence. `overnight` lets a time range end before it begins: its date
    key says on which day. Raises Invalid for text that the VR cannot hold.
    """
    if vr == "SQ":
        return _sequence(tag, raw_values, items, empty_value_matching)
    values = _split(vr, raw_values)
    if empty_value_matching and [v.strip() for v in values] == [EMPTY_KEY]:
        return Criterion(tag, vr, Match.EMPTY)
    wanted = [value for value in values if value.strip(" \0")]
    if not wanted or any(_is_universal(value) for value in wanted):
        return Criterion(tag, vr, Match.EXISTS)
    if len(wanted) > LIST_LIMIT:
        raise _refused(tag, f"it lists more than {LIST_LIMIT} values")
    if vr == "UI":
        return Criterion(tag, vr, Match.UID_LIST, tuple(_uid(tag, value) for value in wanted))
    if len(wanted) == 1:
        return _single(tag, vr, wanted[0], fuzzy, overnight)
    alternatives = tuple(
        Criterion(tag, vr, Match.EMPTY)
        if empty_value_matching and value.strip() == EMPTY_KEY
        else _single(tag, vr, value, fuzzy)
        for value in wanted
    )
    return Criterion(tag, vr, Match.VALUE_LIST, tuple(wanted), alternatives)


def _split(vr: str, raw_values: str | Sequence[str]) -> list[str]:
    given = [raw_values] if isinstance(raw_values, str) else list(raw_values)
    if vr in _ONE_VALUE_VRS:
        return given
    return [value for text in given for value in text.split("\\")]


def _is_universal(value: str) -> bool:
    return not value.strip(" \0*")


def _sequence(
    tag: int, raw_values: str | Sequence[str], items: Sequence[Criterion], empty: bool
) -> Criterion:
    text = raw_values if isinstance(raw_values, str) else "".join(raw_values)
    if empty and text.strip() == EMPTY_KEY:
        return Criterion(tag, "SQ", Match.EMPTY)
    if text.strip(" \0*"):
        raise _refused(tag, "a sequence is matched by the keys within it, not by text")
    if len(items) > ITEMS_LIMIT:
        raise _refused(tag, f"it holds more than {ITEMS_LIMIT} keys")
    if all(item.kind is Match.EXISTS for item in items):
        return Criterion(tag, "SQ", Match.EXISTS, items=tuple(items))
    return Criterion(tag, "SQ", Match.SEQUENCE, items=tuple(items))


def _single(tag: int, vr: str, value: str, fuzzy: bool, overnight: bool = False) -> Criterion:
    if len(value) > KEY_LIMIT:
        raise _refused(tag, f"it is longer than {KEY_LIMIT} characters")
    if vr in _RANGE_VRS:
        return _moment(tag, vr, value.strip(" \0"), overnight)
    if vr in _NUMBER_VRS:
        if _number(value) is None:
            raise _refused(tag, "it is not a number")
        return Criterion(tag, vr, Match.SINGLE, (value.strip(" \0"),))
    if vr in _BINARY_VRS:
        raise _refused(tag, "binary values cannot be searched")
    if vr == "PN" and fuzzy:
        return Criterion(tag, vr, Match.FUZZY, (value,))
    text = value.rstrip(" \0") if vr in _KEEPS_LEADING_SPACE else value.strip(" \0")
    wild = (vr in WILDCARD_VRS or vr == "UN") and ("*" in text or "?" in text)
    return Criterion(tag, vr, Match.WILDCARD if wild else Match.SINGLE, (text,))


def _moment(tag: int, vr: str, value: str, overnight: bool) -> Criterion:
    """DA, TM and DT keys: a single value of limited precision is a range too, but for DA."""
    ends = moments.split_moments(value) if vr == "DT" else moments.split_range(value)
    if ends is None:
        if vr == "DA":
            return Criterion(tag, vr, Match.SINGLE, (_date(tag, value),))
        if not (moments.time(value) if vr == "TM" else moments.moment(value)):
            raise _refused(tag, _EXPECTED[vr])
        return Criterion(tag, vr, Match.RANGE, (value, value))
    low, high = ends
    if not low and not high:
        raise _refused(tag, _EXPECTED[vr])
    if vr == "DA":
        low, high = low and _date(tag, low), high and _date(tag, high)
        in_order = not low or not high or low <= high
    elif vr == "TM":
        first, last = moments.time(low), moments.time(high)
        if (low and not first) or (high and not last):
            raise _refused(tag, _EXPECTED[vr])
        in_order = overnight or not first or not last or first.low <= last.high
    else:
        in_order = not low or not high or _in_order(low, high)
    if not in_order:
        raise _refused(tag, "its range ends before it begins")
    return Criterion(tag, vr, Match.RANGE, (low, high))


_EXPECTED = {
    "DA": "a date is YYYYMMDD, a range YYYYMMDD-YYYYMMDD with either end optional",
    "TM": "a time is HH, HHMM or HHMMSS[.FFFFFF], a range HHMM-HHMM with either end optional",
    "DT": "a date-time is YYYYMMDDHHMMSS[.FFFFFF][+ZZZZ] or a beginning of it, or a range",
}


def _in_order(low: str, high: str) -> bool:
    first, last = moments.moment(low), moments.moment(high)
    return first is not None and last is not None and moments.begins_by_end(first, last)


def _date(tag: int, value: str) -> str:
    found = moments.date(value)
    if found is None:
        raise _refused(tag, _EXPECTED["DA"])
    return found


def _uid(tag: int, value: str) -> str:
    text = value.strip(" \0")
    if _UID.fullmatch(text) is None:
        raise _refused(tag, "a UID has only digits and dots, and no wildcards")
    return text


def _refused(tag: int, why: str) -> Invalid:
    return Invalid(
        f"The search key ({tag >> 16:04X},{tag & 0xFFFF:04X}) cannot be used: {why}.",
        remedy="Correct the key or leave it out.",
    )


# --- matching -------------------------------------------------------------------------------------


def matches(key: Criterion, element: JSONElement | None) -> bool:
    """Does a recorded element (None: absent) meet the key? Never raises."""
    if key.kind is Match.EXISTS:
        return True
    values = _values(element)
    if key.kind is Match.EMPTY:
        return not values
    if key.kind is Match.VALUE_LIST:
        return any(matches(alternative, element) for alternative in key.items)
    if not values or element is None:
        return False
    if key.kind is Match.SEQUENCE:
        return any(isinstance(item, dict) and matches_all(key.items, item) for item in values)
    return _meets_any(key, str(element.get("vr", key.vr)), values)


def matches_all(keys: Sequence[Criterion], attributes: Attributes) -> bool:
    """Does one entity, or one item of a sequence, meet all keys together?"""
    return all(matches(key, attributes.get(f"{key.tag:08X}")) for key in keys)


def matches_range(key: DateTimeRange, attributes: Attributes) -> bool:
    """Combined date-time matching (PS3.4 C.2.2.2.5.4): date and time as one point in time.

    A recorded date without a time stands for its whole day.
    """
    dates = _values(attributes.get(f"{key.date_tag:08X}"))
    times = _values(attributes.get(f"{key.time_tag:08X}"))
    day = moments.date(str(dates[0])) if dates else None
    if day is None:
        return False
    clock = moments.time(str(times[0])) if times else None
    first = day + (clock.low if clock else "000000.000000").replace(".", "")
    last = first if clock else day + "235959999999"
    return (not key.low or last >= key.low.ljust(20, "0")) and (
        not key.high or first <= key.high.ljust(20, "9")
    )


def text_values(element: JSONElement | None) -> list[str]:
    """The values of an element as text; a PN has its groups joined by '='."""
    return [_text(value) for value in _values(element)]


def _values(element: JSONElement | None) -> list[Any]:
    found = element.get("Value") if element else None
    if not isinstance(found, list):
        return []
    return [value for value in found if value is not None and value not in ("", {})]


def _text(value: Any) -> str:
    return "=".join(pn_groups(value)).rstrip("=") if isinstance(value, dict) else str(value)


def pn_groups(value: Any) -> list[str]:
    """Alphabetic, ideographic and phonetic group of a DICOM JSON person name (PS3.18 F.2.2)."""
    if isinstance(value, dict):
        return [str(value.get(group) or "") for group in _GROUPS]
    return [*str(value).split("=")[:3], "", ""][:3]


def _meets_any(key: Criterion, recorded_vr: str, values: list[Any]) -> bool:
    vr = recorded_vr if key.vr == "UN" else key.vr
    if vr == "PN":
        return any(_meets_name(key, pn_groups(value)) for value in values)
    if vr == "UI":
        wanted = frozenset(key.values) if len(key.values) > 8 else key.values
        return any(str(value).strip(" \0") in wanted for value in values)
    if vr in _NUMBER_VRS:
        number = _number(key.values[0])
        return number is not None and any(_number(value) == number for value in values)
    texts = [str(value) for value in values if not isinstance(value, dict)]
    if vr in _RANGE_VRS:
        return any(_meets_moment(key, vr, text) for text in texts)
    keeps = vr in _KEEPS_LEADING_SPACE
    stripped = (text.rstrip(" \0") if keeps else text.strip(" \0") for text in texts)
    if key.kind is Match.WILDCARD and vr in WILDCARD_VRS:
        return any(glob(key.values[0], text) for text in stripped)
    return any(text == key.values[0] for text in stripped)


def _number(value: Any) -> Decimal | None:
    """A number of any VR; None for text that is none. Bounded: comparing never expands exponents."""
    text = str(value).strip(" \0")
    if len(text) > 64:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _meets_moment(key: Criterion, vr: str, text: str) -> bool:
    if key.vr == "UN":  # the key's text was never read as a date
        return text == key.values[0]
    low, high = (key.values * 2)[:2]
    if vr == "DA":
        day = moments.date(text)
        return day is not None and (not low or low <= day) and (not high or day <= high)
    if vr == "DT":
        return moments.covers(low, high, text)
    clock = moments.time(text)
    first, last = (moments.time(low) if low else None), (moments.time(high) if high else None)
    return (
        clock is not None
        and (first is None or first.low <= clock.low)
        and (last is None or clock.low <= last.high)
    )


# --- names ----------------------------------------------------------------------------------------


def _meets_name(key: Criterion, groups: list[str]) -> bool:
    if key.kind is Match.FUZZY:
        return _meets_fuzzily(key.values[0], groups)
    wild = key.kind is Match.WILDCARD
    wanted = [fold_group(group) for group in key.values[0].split("=")[:3]]
    if len(wanted) == 1:
        return any(_meets_group(wanted[0], group, wild) for group in groups if group)
    return all(
        _meets_group(pattern, group, wild)
        for pattern, group in zip(wanted, groups, strict=False)
        if pattern.strip("*")
    )


def _meets_group(pattern: str, group: str, wild: bool) -> bool:
    """One folded key group against one recorded group; the value may lack trailing components."""
    value = fold_group(group)
    if not wild:
        return value == pattern
    if glob(pattern, value):
        return True
    missing = _FULL_NAME - value.count("^")
    return "^" in pattern and missing > 0 and glob(pattern, value + "^" * missing)


def _meets_fuzzily(text: str, groups: list[str]) -> bool:
    """Every word of the key begins, or sounds like, some word of the name; order does not matter."""
    wanted = words_of(text)
    present = words_of(" ".join(groups))
    return bool(wanted) and all(any(_word_meets(w, p) for p in present) for w in wanted)


def _word_meets(wanted: str, present: str) -> bool:
    if "*" in wanted or "?" in wanted:
        return glob(wanted if wanted.endswith("*") else wanted + "*", present)
    if present.startswith(wanted):
        return True
    code = sound(wanted)
    return bool(code) and code == sound(present)


def glob(pattern: str, text: str) -> bool:
    """'*' is any run of characters, '?' any one. Linear in pieces, no backtracking over '*'.

    (A regular expression with a thousand stars takes for ever; this takes one pass.)
    """
    pieces = pattern.split("*")
    if len(pieces) == 1:
        return _at(pieces[0], text, 0) and len(text) == len(pieces[0])
    head, tail = pieces[0], pieces[-1]
    if len(text) < len(head) + len(tail) or not _at(head, text, 0):
        return False
    end = len(text) - len(tail)
    if not _at(tail, text, end):
        return False
    place = len(head)
    for piece in pieces[1:-1]:
        place = _find(piece, text, place, end)
        if place < 0:
            return False
        place += len(piece)
    return True


def _at(piece: str, text: str, place: int) -> bool:
    if "?" not in piece:
        return text.startswith(piece, place)
    part = text[place : place + len(piece)]
    return len(part) == len(piece) and all(p in ("?", c) for p, c in zip(piece, part, strict=True))


def _find(piece: str, text: str, place: int, end: int) -> int:
    if "?" not in piece:
        return text.find(piece, place, end)
    for start in range(place, end - len(piece) + 1):
        if _at(piece, text, start):
            return start
    return -1


# --- the search box -------------------------------------------------------------------------------


def matches_text(text: str, attributes: Attributes) -> bool:
    """The one search box: every word begins a word of name or description, an ID or an accession.

    IDs are compared as typed, in capitals and in small letters; names and descriptions folded.
    """
    phrases = [v for tag in ("00100010", "00081030") for v in text_values(attributes.get(tag))]
    present = [word for phrase in phrases for word in words_of(phrase)]
    ids = [v for tag in ("00100020", "00080050") for v in text_values(attributes.get(tag))]
    return all(
        any(one.strip().startswith(spellings(token)) for one in ids)
        or _begin_words(words_of(token), present)
        for token in text_tokens(text)
    )


def text_tokens(text: str) -> list[str]:
    """The search box's words; asterisks, which people type out of habit, mean nothing there."""
    return [token for token in (part.strip("*") for part in text.split()) if token]


def spellings(token: str) -> tuple[str, ...]:
    """The ways an ID may be written that a typed word stands for."""
    return tuple(dict.fromkeys((token, token.upper(), token.lower())))


def _begin_words(parts: list[str], present: list[str]) -> bool:
    """'Meyer-Schmidt' is met by a name with both words."""
    return bool(parts) and all(any(word.startswith(part) for word in present) for part in parts)
