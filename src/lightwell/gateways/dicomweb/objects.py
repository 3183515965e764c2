"""WADO-RS: whole objects of a study, a series or an instance (PS3.18 10.4), streamed one by one."""

from __future__ import annotations

from collections.abc import AsyncIterator

from lightwell.dicom.uids import syntax_of
from lightwell.domain.archive.model import Located
from lightwell.gateways.dicomweb.frames import pixel_data
from lightwell.gateways.dicomweb.pixels import uncompressed
from lightwell.gateways.dicomweb.resources import Opened, Shelf, boundary_of, chosen
from lightwell.gateways.http.asgi import Header
from lightwell.gateways.http.exchange import Exchange
from lightwell.wire import multipart
from lightwell.wire.mediatypes import (
    DICOM,
    EXPLICIT_VR_LITTLE_ENDIAN,
    Answer,
    PartAnswers,
    ResourceCategory,
    negotiate,
    negotiate_parts,
)


def _content_type(answer: Answer, etag: str) -> str:
    if answer.multipart:
        return multipart.content_type(boundary_of(etag), answer.media_type)
    return answer.content_type


class Objects:
    """Handlers of `GET …/studies/{study}[/series/{series}[/instances/{instance}]]`."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def retrieve(self, x: Exchange) -> None:
        """Send the objects, each in the transfer syntax negotiated for it."""
        opened = await self._shelf.open(x)
        answers = self._negotiate(x, opened)
        some = next(iter(answers.answers.values()))
        if some.resource is ResourceCategory.BULKDATA:
            await pixel_data(self._shelf, x, opened)
            return
        wanted = [each for each in opened.instances if self._sent(each) in answers.answers]
        kinds = sorted(f"{key}>{a.transfer_syntax}" for key, a in answers.answers.items())
        if self._shelf.is_coded(wanted[0], some.transfer_syntax or ""):
            kinds.append(str(wanted[0].landed.blob_id))
        etag = opened.etag(DICOM, str(some.multipart), *kinds)
        headers = opened.headers(etag)
        if x.has(etag):
            await x.not_modified(headers)
        elif x.method == "HEAD":
            await x.start(200, _content_type(some, etag), headers)
            await x.end()
        elif some.multipart:
            await self._stream(x, opened, wanted, answers, boundary_of(etag), headers)
        else:
            await self._single(x, opened, wanted[0], some, headers)

    def _sent(self, located: Located) -> str:
        """What the archive gives for an object: its stored syntax, unless that may not be sent."""
        return self._shelf.archive.sent_syntax(located, web=True)

    def _negotiate(self, x: Exchange, opened: Opened) -> PartAnswers:
        target, accept, query = opened.target, x.accept, x.asked("accept")
        if target.sop_uid is not None:
            stored = self._sent(opened.instances[0])
            answer: Answer = chosen(
                negotiate(
                    ResourceCategory.INSTANCE,
                    accept,
                    query,
                    stored_syntax=stored,
                    can_transcode=self._shelf.can_give(opened.instances[0]),
                )
            )
            return PartAnswers({stored: answer}, frozenset())
        category = ResourceCategory.SERIES if target.series_uid else ResourceCategory.STUDY
        return chosen(
            negotiate_parts(
                category,
                accept,
                query,
                stored_syntaxes=[self._sent(each) for each in opened.instances],
                can_transcode=self._shelf.can_transcode,
            )
        )

    def _pieces(self, opened: Opened, located: Located, syntax: str) -> AsyncIterator[bytes]:
        """A data set in the transfer syntax of the answer."""
        if syntax == EXPLICIT_VR_LITTLE_ENDIAN and syntax_of(located.syntax).encapsulated:
            if located.pixel_offset is not None:
                return uncompressed(self._shelf, opened, located)
            # Without pixel data an encapsulated syntax is Explicit VR Little Endian (PS3.5 A.4).
            syntax = located.syntax
        return self._stored(located, syntax)

    async def _stored(self, located: Located, syntax: str) -> AsyncIterator[bytes]:
        source = self._shelf.archive.data_set(located, syntax)
        while (piece := await self._shelf.next_piece(located, source)) is not None:
            yield piece

    async def _single(
        self, x: Exchange, opened: Opened, located: Located, answer: Answer, headers: list[Header]
    ) -> None:
        """One object, one part."""
        syntax = answer.transfer_syntax or EXPLICIT_VR_LITTLE_ENDIAN
        meta = self._shelf.archive.file_meta(located, syntax)
        pieces = self._pieces(opened, located, syntax)
        # The first piece is read before the status is sent: most damage shows by then.
        first = await anext(pieces, b"")
        await x.start(200, answer.content_type, headers)
        await x.write(meta + first)
        size = len(meta) + len(first)
        async for piece in pieces:
            size += len(piece)
            await x.write(piece)
        await x.end()
        self._shelf.used(opened, 1, size)

    async def _stream(
        self,
        x: Exchange,
        opened: Opened,
        wanted: list[Located],
        answers: PartAnswers,
        boundary: str,
        headers: list[Header],
    ) -> None:
        """Many objects, a part each. Trouble after the first byte cuts the connection."""
        # 206: what cannot be sent in an accepted syntax is left out (PS3.18 Table 10.4.3-1).
        status = 206 if answers.refused else 200
        lead = b""
        for located in wanted:
            answer = answers.answers[self._sent(located)]
            syntax = answer.transfer_syntax or EXPLICIT_VR_LITTLE_ENDIAN
            head = lead + multipart.part_head(
                boundary, answer.content_type, content_location=opened.url(located)
            )
            pieces = self._pieces(opened, located, syntax)
            first = await anext(pieces, b"")
            if not x.started:
                await x.start(status, multipart.content_type(boundary, DICOM), headers)
            meta = self._shelf.archive.file_meta(located, syntax)
            await x.write(head + meta + first)
            size = len(meta) + len(first)
            async for piece in pieces:
                size += len(piece)
                await x.write(piece)
            self._shelf.used(opened, 1, size)
            lead = multipart.PART_END
        await x.end(multipart.closing(boundary))
