"""WADO-RS: metadata of a study, series or instance as DICOM JSON (PS3.18 10.4.1.1.2, Annex F)."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final, Protocol

from lightwell.domain.archive.model import Located
from lightwell.gateways.dicomweb.resources import Opened, Shelf, check_charset, chosen
from lightwell.gateways.http.exchange import Exchange
from lightwell.kernel.remembering import Remembered
from lightwell.wire.mediatypes import Answer, ResourceCategory, negotiate

BATCH: Final = 16  # instances read in one go
SETTLED_BATCH: Final = 256  # the same where most are told without reading
REMEMBERED_BYTES: Final = 64 * 1024 * 1024  # of answers kept in a process, as sent
LONGEST_REMEMBERED: Final = REMEMBERED_BYTES // 8
GZIP_LEVEL: Final = (
    3  # half of what level 1 leaves, in the same time; higher ones cost more than they save
)


class Squeeze(Protocol):
    """What `zlib.compressobj` gives."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def takes_gzip(accept_encoding: str) -> bool:
    """Whether the client takes gzip."""
    for entry in accept_encoding.lower().split(","):
        name, _, parameter = entry.partition(";")
        if name.strip() in ("gzip", "*"):
            return parameter.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _batches(items: Sequence[Located], size: int) -> Iterator[Sequence[Located]]:
    return (items[at : at + size] for at in range(0, len(items), size))


class Metadata:
    """Handlers of `…/metadata`."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._answers: Remembered[tuple[bytes, ...]] = Remembered(REMEMBERED_BYTES)

    async def retrieve(self, x: Exchange) -> None:
        """One array, an object for each instance, streamed."""
        check_charset(x)
        opened = await self._shelf.open(x)
        answer: Answer = chosen(negotiate(ResourceCategory.METADATA, x.accept, x.asked("accept")))
        gzip = takes_gzip(x.header("accept-encoding"))
        etag = opened.etag("metadata", answer.media_type, str(gzip))
        headers = opened.headers(etag)
        if x.has(etag):
            await x.not_modified(headers)
            return
        if gzip:
            headers.append((b"content-encoding", b"gzip"))
        kept = self._answers.get(etag)
        if kept is not None:
            await x.pieces(200, kept, answer.media_type, headers)
            self._shelf.used(opened, len(opened.instances), sum(map(len, kept)))
            return
        sent, size = [], 0
        async for piece in self._encoded(opened, gzip=gzip):
            if not x.started:
                # After the first batch was read: most trouble shows by then, and has a status.
                await x.start(200, answer.media_type, headers)
            size += len(piece)
            if size <= LONGEST_REMEMBERED:
                sent.append(piece)
            await x.write(piece)
        await x.end()
        if size <= LONGEST_REMEMBERED:
            self._answers.keep(etag, tuple(sent), size)
        self._shelf.used(opened, len(opened.instances), size)

    async def _encoded(self, opened: Opened, *, gzip: bool) -> AsyncIterator[bytes]:
        """The array in pieces, made in threads; the next one while the client takes this one."""
        squeeze = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31) if gzip else None
        size = SETTLED_BATCH if opened.lease.packs else BATCH
        batches = _batches(opened.instances, size)

        def made(some: Sequence[Located], lead: bytes) -> asyncio.Future[bytes]:
            return asyncio.ensure_future(
                asyncio.to_thread(self._piece, opened, some, lead, squeeze)
            )

        ahead = made(next(batches, ()), b"[")
        try:
            for some in batches:
                piece = await ahead
                ahead = made(some, b",")
                yield piece
            yield await ahead
        finally:
            ahead.cancel()
        yield squeeze.compress(b"]") + squeeze.flush() if squeeze else b"]"

    def _piece(
        self, opened: Opened, some: Sequence[Located], lead: bytes, squeeze: Squeeze | None
    ) -> bytes:
        piece = self._encode(opened, some, lead)
        return squeeze.compress(piece) if squeeze else piece

    def _encode(self, opened: Opened, some: Sequence[Located], lead: bytes) -> bytes:
        told = self._shelf.archive.metadata(
            opened.lease, some, lambda located: f"{opened.url(located)}/bulkdata"
        )
        return b",".join((lead + told[0], *told[1:])) if told else lead
