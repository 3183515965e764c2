"""Dates, times and date-times as query keys and as recorded values (PS3.5 6.2, PS3.4 C.2.2.2.5).

Values are compared as recorded, never moved to another zone, except that two date-times which both
name their offset are compared in UTC. All functions are pure; bad text gives None, the caller says
what is wrong.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

_DATE = re.compile(r"(\d{4})(?:(\d{2})(\d{2})|\.(\d{2})\.(\d{2}))", re.ASCII)
_TIME = re.compile(
    r"(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6}))?)?|:(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?)?",
    re.ASCII,
)
_DATE_TIME = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6}))?)?)?)?)?)?"
    r"([+-]\d{4})?",
    re.ASCII,
)
_TEXT_LIMIT = 64  # longer than any key of two date-times


class Span(NamedTuple):
    """The first and last instant a value of limited precision stands for, as sortable digits."""

    low: str
    high: str


class Moment(NamedTuple):
    """A date-time: its span as 'YYYYMMDDHHMMSSFFFFFF', and minutes east of UTC when named."""

    span: Span
    offset: int | None


def date(text: str) -> str | None:
    """'YYYYMMDD' from a DA value, the old form 'YYYY.MM.DD' included; None when it is no date.

    A day up to 31 is taken in every month: clients ask for '20260201-20260231', and comparing digits
    gives them what they mean.
    """
    found = _DATE.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day = found[1], found[2] or found[4], found[3] or found[5]
    return f"{year}{month}{day}" if "01" <= month <= "12" and "01" <= day <= "31" else None


@lru_cache(maxsize=4096)
def time(text: str) -> Span | None:
    """The span of a TM value of any precision: '10' is 100000.000000 to 105959.999999."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        return None
    hour, minute, second = found[1], found[2] or found[5], found[3] or found[6]
    part = found[4] or found[7]
    if hour > "23" or (minute or "00") > "59" or (second or "00") > "60":
        return None  # second 60 is a leap second
    return Span(
        f"{hour}{minute or '00'}{second or '00'}.{(part or '').ljust(6, '0')}",
        f"{hour}{minute or '59'}{second or '59'}.{(part or '').ljust(6, '9')}",
    )


@lru_cache(maxsize=4096)
def moment(text: str) -> Moment | None:
    """A DT value of any precision, with or without an offset from UTC."""
    found = _DATE_TIME.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second, part, zone = found.groups()
    checks = ((month, "01", "12"), (day, "01", "31"), (hour, "00", "23"), (minute, "00", "59"))
    if any(field and not low <= field <= high for field, low, high in checks):
        return None
    if second and second > "60":
        return None
    offset = None
    if zone is not None:
        if not _is_offset(zone):
            return None
        offset = (int(zone[1:3]) * 60 + int(zone[3:])) * (-1 if zone[0] == "-" else 1)
    fields = (month, day, hour, minute, second)
    low = year + "".join(
        f or d for f, d in zip(fields, ("01", "01", "00", "00", "00"), strict=True)
    )
    high = year + "".join(
        f or d for f, d in zip(fields, ("12", "31", "23", "59", "59"), strict=True)
    )
    span = Span(low + (part or "").ljust(6, "0"), high + (part or "").ljust(6, "9"))
    return Moment(span, offset)


def _is_offset(zone: str) -> bool:
    """PS3.5 6.2 DT: from -1200 to +1400."""
    return zone[3:] <= "59" and zone[1:3] <= ("12" if zone[0] == "-" else "14")


def split_range(text: str) -> tuple[str, str] | None:
    """The ends of a DA or TM range key; None when it is no range. Either end may be ''."""
    if text.count("-") != 1:
        return None
    low, _, high = text.partition("-")
    return low.strip(), high.strip()


def split_moments(text: str) -> tuple[str, str] | None:
    """The ends of a DT range key; None for a single value. Either end may be ''.

    A hyphen with four digits that can be an offset is one: '20260101-0500' is five hours west of
    UTC, '2019-2020' two years (PS3.5 6.2, DT).
    """
    text = text.strip()
    if len(text) > _TEXT_LIMIT or moment(text) is not None:
        return None
    for place in (i for i, c in enumerate(text) if c == "-"):
        low, high = text[:place].strip(), text[place + 1 :].strip()
        if (low or high) and all(not end or moment(end) is not None for end in (low, high)):
            return low, high
    return None


def in_utc(digits: str, offset: int) -> str:
    """'YYYYMMDDHHMMSSFFFFFF' moved from an offset in minutes to UTC; as it is when no such day is."""
    if not offset:
        return digits
    try:
        local = datetime.strptime(digits[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        return (local - timedelta(minutes=offset)).strftime("%Y%m%d%H%M%S") + digits[14:]
    except (ValueError, OverflowError):
        return digits


def begins_by_end(first: Moment, last: Moment) -> bool:
    """Does `first` begin no later than `last` ends? Offsets count only where both name one."""
    a, b = _offsets(first, last)
    return in_utc(first.span.low, a) <= in_utc(last.span.high, b)


def covers(low: str, high: str, value: str) -> bool:
    """Does a DT key (ends may be '') cover a recorded DT, which counts by its first instant?"""
    recorded = moment(value)
    if recorded is None:
        return False
    first, last = moment(low), moment(high)
    if (low and first is None) or (high and last is None):
        return False
    return (first is None or _begins_with(first, recorded)) and (
        last is None or begins_by_end(recorded, last)
    )


def _begins_with(first: Moment, recorded: Moment) -> bool:
    a, b = _offsets(first, recorded)
    return in_utc(first.span.low, a) <= in_utc(recorded.span.low, b)


def _offsets(one: Moment, other: Moment) -> tuple[int, int]:
    if one.offset is None or other.offset is None:
        return 0, 0
    return one.offset, other.offset
