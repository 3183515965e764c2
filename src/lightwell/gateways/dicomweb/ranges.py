"""Byte ranges (RFC 9110 14): one range is honoured, everything else is answered whole.

A list of many ranges is legal and ruinous (CVE-2025-62727): the whole is always a correct answer.
"""

from __future__ import annotations

import re
from typing import Final

_ONE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def parse_range(header: str, length: int) -> range | None:
    """The bytes wanted of `length`, or None for the whole.

    A range that begins beyond the end is returned as it is (`start >= length`): 416.
    """
    match = _ONE.fullmatch(header.replace(" ", "")) if len(header) <= 64 else None
    if match is None:
        return None
    first, last = match[1], match[2]
    if first:
        start = int(first)
        stop = min(int(last) + 1, length) if last else length
        if last and int(last) < start:
            return None
        return range(start, max(stop, start))
    if not last:
        return None
    wanted = int(last)  # the last so many bytes
    return range(length, length) if wanted == 0 else range(max(length - wanted, 0), length)
