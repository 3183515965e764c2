"""`GET …/series/{series}/preview`: metadata, lead image and coarse frames of a series in one answer.

Our own resource beside PS3.18, for viewers that decode HTJ2K by resolution. Documented in
docs/conformance/dicomweb.md; the layout is made by the archive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from lightwell.gateways.dicomweb.ranges import ACCEPTED, ranged
from lightwell.gateways.dicomweb.resources import Opened, Shelf, chosen
from lightwell.gateways.http.asgi import Header
from lightwell.gateways.http.exchange import Exchange
from lightwell.kernel.errors import Invalid
from lightwell.kernel.remembering import Remembered
from lightwell.wire.mediatypes import Answer, ResourceCategory, negotiate

LEVELS: Final = range(2, 6)
LEVEL: Final = 4
LEADS: Final = range(64, 1025)
LEAD: Final = 128
REMEMBERED_BYTES: Final = 64 * 1024 * 1024  # of answers kept in a process


def number_asked(x: Exchange, name: str, allowed: range, default: int) -> int:
    """A whole number from the query. Raises Invalid outside of its bounds."""
    values = x.asked(name)
    if not values:
        return default
    text = values[-1].strip()
    if text.isascii() and text.isdigit() and len(text) <= 6 and int(text) in allowed:
        return int(text)
    raise Invalid(f"`{name}` is a whole number from {allowed[0]} to {allowed[-1]}.")


class Preview:
    """Handler of `…/series/{series}/preview`."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._answers: Remembered[bytes] = Remembered(REMEMBERED_BYTES)

    async def retrieve(self, x: Exchange) -> None:
        """Stream the answer; a range of it is cut from the whole."""
        opened = await self._shelf.open(x)
        answer: Answer = chosen(negotiate(ResourceCategory.PREVIEW, x.accept, x.asked("accept")))
        level = number_asked(x, "level", LEVELS, LEVEL)
        lead = number_asked(x, "lead", LEADS, LEAD)
        # The packs are in it: the same images in another generation are other bytes.
        packs = (f"{pack.generation}:{pack.blob_id}" for pack in opened.lease.packs)
        etag = opened.etag("preview", str(level), str(lead), *packs)
        headers = opened.headers(etag)
        if x.has(etag):
            await x.not_modified(headers)
            return
        whole = self._answers.get(etag)
        if whole is None and x.method == "GET" and not x.header("range"):
            whole = await self._stream(
                x, answer.media_type, headers, self._make(opened, level, lead)
            )
            self._answers.keep(etag, whole, len(whole))
            sent = len(whole)
        else:
            if whole is None:
                pieces = self._make(opened, level, lead)
                whole = await asyncio.to_thread(b"".join, pieces)
                self._answers.keep(etag, whole, len(whole))
            sent = await ranged(x, whole, answer.media_type, headers, etag)
        self._shelf.used(opened, len(opened.instances), sent)

    def _make(self, opened: Opened, level: int, lead: int) -> Iterator[bytes]:
        return self._shelf.archive.preview(
            opened.lease,
            opened.instances,
            level=level,
            lead=lead,
            bulk_root=lambda located: f"{opened.url(located)}/bulkdata",
        )

    async def _stream(
        self, x: Exchange, kind: str, headers: list[Header], pieces: Iterator[bytes]
    ) -> bytes:
        """Send each piece as it is made; returns the whole. Damage after the first cuts the connection."""
        made: list[bytes] = []
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            if not x.started:
                await x.start(200, kind, [*headers, ACCEPTED])
            await x.write(piece)
            made.append(piece)
        await x.end()
        return b"".join(made)
