"""The time of day as policies know it: in the time zone of a tenant, or of this machine where it has none.

Pure, but for the time zones, which are those of the machine (IANA time zone database). What a policy does not
look at is left out, so that an answer is good as long as it can be: for the hour, or for the minute.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from lightwell.kernel.errors import Invalid

HOUR: Final = "hour"  # 0 to 23
MINUTE: Final = "minuteOfDay"  # 0 to 1439
WEEKDAY: Final = "weekday"  # 1, Monday, to 7 (ISO 8601)
TIMES: Final = frozenset({HOUR, MINUTE, WEEKDAY})

Moment = tuple[tuple[str, int], ...]
"""Attributes of the time of day with their values, by name; empty where it is not known or not asked for."""

_TIME: Final = re.compile(r"\d{2}:\d{2}\Z")
_INSTANT: Final = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})?\Z")


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo | None:
    """A time zone; None for the machine's own. Raises KeyError."""
    return ZoneInfo(name) if name else None


def moment_of(now: datetime, zone: str, asked: Collection[str] = TIMES) -> Moment:
    """What is asked for of an instant, in a time zone; nothing where this machine does not know the zone: a
    policy that looks at it cannot be evaluated then, and forbids."""
    try:
        local = now.astimezone(_zone(zone))
    except (KeyError, ValueError, OSError):
        return ()
    values = (
        (HOUR, local.hour),
        (MINUTE, local.hour * 60 + local.minute),
        (WEEKDAY, local.isoweekday()),
    )
    return tuple(pair for pair in values if pair[0] in asked)


def moment_ends(now: datetime, zone: str, asked: Collection[str]) -> datetime:
    """When what is asked for of this instant is another: with the minute, or with the hour where minutes are
    not asked for. Clocks are set forward and back at the end of an hour."""
    try:
        local = now.astimezone(_zone(zone))
    except (KeyError, ValueError, OSError):
        return now
    gone = timedelta(seconds=local.second, microseconds=local.microsecond)
    if MINUTE in asked:
        return now + timedelta(minutes=1) - gone
    return now + timedelta(hours=1) - timedelta(minutes=local.minute) - gone


def instant_said(text: str, zone: str, now: datetime) -> datetime:
    """An instant as people say it, in UTC: `07:30` (today), `2026-03-29T07:30`, or with `Z` or an offset.

    Without an offset it is local time; of an hour that comes twice the first, of one that is left out what
    the clocks show then. Raises Invalid.
    """
    text = text.strip()
    try:
        if _TIME.match(text):
            text = f"{now.astimezone(_zone(zone)).date().isoformat()}T{text}"
        if not _INSTANT.match(text):
            raise ValueError
        said = datetime.fromisoformat(text)
        return (said if said.tzinfo else said.replace(tzinfo=_zone(zone))).astimezone(UTC)
    except (KeyError, ValueError, OSError, OverflowError):
        raise Invalid(
            f"{text[:40]!r} is no time.",
            remedy="For example 07:30, 2026-03-29T07:30 or 2026-03-29T05:30Z.",
        ) from None
