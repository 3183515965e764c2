"""Byte ranges (RFC 9110 14): one range is honoured, everything else is answered whole.

A list of many ranges is legal and ruinous (CVE-2025-62727): the whole is always a correct answer.
"""

from __future__ import annotations

import re
from typing import Final

from lightwell.gateways.http.asgi import Header
from lightwell.gateways.http.exchange import Exchange
from lightwell.gateways.http.problems import HttpProblem

_ONE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
ACCEPTED: Final[Header] = (b"accept-ranges", b"bytes")


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


def wanted_range(x: Exchange, length: int, etag: str) -> range | None:
    """The bytes a request wants of an answer of `length`; None for the whole. Raises HttpProblem 416.

    `If-Range` with another entity tag, or with a date, means the whole (RFC 9110 13.1.5).
    """
    header = x.header("range")
    if not header or x.method not in ("GET", "HEAD"):
        return None
    only_if = x.header("if-range")
    if only_if and only_if.strip() != etag:
        return None
    part = parse_range(header, length)
    if part is not None and part.start >= length:
        raise HttpProblem(
            416,
            "The range lies beyond the end.",
            headers=[(b"content-range", b"bytes */%d" % length)],
        )
    return part


def span_header(part: range, length: int) -> Header:
    """`Content-Range` of an answer with this part."""
    return (b"content-range", b"bytes %d-%d/%d" % (part.start, part.stop - 1, length))


async def ranged(x: Exchange, data: bytes, kind: str, headers: list[Header], etag: str) -> int:
    """A single-part answer that honours `Range`; returns how many bytes were sent. HttpProblem 416."""
    part = wanted_range(x, len(data), etag)
    headers = [*headers, ACCEPTED]
    if part is None:
        await x.reply(200, data, kind, headers)
        return len(data)
    headers.append(span_header(part, len(data)))
    await x.reply(206, data[part.start : part.stop], kind, headers)
    return len(part)
