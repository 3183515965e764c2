"""WADO-RS: frames, pixel data and other bulk data (PS3.18 10.4.1.1.4 to 10.4.1.1.6)."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from lightwell.domain.archive.errors import NoSuchFrame
from lightwell.domain.archive.model import FrameRun, Located
from lightwell.gateways.dicomweb.pixels import frame_bytes, native_frames, stored_run
from lightwell.gateways.dicomweb.ranges import ACCEPTED, ranged, span_header, wanted_range
from lightwell.gateways.dicomweb.resources import CHANNEL, Opened, Shelf, boundary_of, chosen
from lightwell.gateways.http.asgi import Header
from lightwell.gateways.http.exchange import Exchange
from lightwell.kernel.errors import Invalid
from lightwell.wire import multipart
from lightwell.wire.mediatypes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    OCTETS,
    Answer,
    PartAnswers,
    ResourceCategory,
    negotiate,
    negotiate_parts,
)

FRAMES_LIMIT: Final = 10_000  # frames of one request
PLANS: Final = 10_000  # requests under one lease whose answer is known but for the bytes
LEASES: Final = 32  # that such requests are remembered of
LONGEST: Final = 1024  # characters of such a request
PIXEL_PATHS: Final = frozenset({"7FE00010", "7FE00008", "7FE00009"})


def frame_numbers(text: str) -> list[int]:
    """`1,5,2` as numbers in the order asked, doubles left out.

    Raises Invalid for anything else, 0 included (PS3.18 10.4.1.1.5: frames are counted from 1).
    """
    pieces = text.split(",")
    if len(pieces) > FRAMES_LIMIT:
        raise Invalid(f"More than {FRAMES_LIMIT} frames.", remedy="Ask for less at once.")
    numbers: dict[int, None] = {}
    for piece in pieces:
        trimmed = piece.strip()
        if not (trimmed.isascii() and trimmed.isdigit()) or len(trimmed) > 10 or int(trimmed) < 1:
            raise Invalid("The frame list is not numbers from 1 on, separated by commas.")
        numbers[int(trimmed)] = None
    return list(numbers)


@dataclass(frozen=True, slots=True)
class _Plan:
    """All that a request for frames comes down to; the next equal one under the same lease needs no more
    thought. What is asked for again and again are frames."""

    opened: Opened
    answer: Answer
    numbers: tuple[int, ...]
    etag: str
    headers: tuple[Header, ...]
    coded: bool  # as it lies in its pack
    run: FrameRun | None  # where the only frame lies, if it is sent as it is stored
    kind: str  # media type of the answer
    around: tuple[
        bytes, bytes
    ]  # what a multipart answer has before its first frame and after its last

    @property
    def located(self) -> Located:
        return self.opened.instances[0]

    @property
    def syntax(self) -> str:
        return self.answer.transfer_syntax or EXPLICIT_VR_LITTLE_ENDIAN


class Frames:
    """Handler of `GET …/instances/{instance}/frames/{frames}`: the hot path of every viewer."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._plans: OrderedDict[uuid.UUID, dict[Hashable, _Plan]] = OrderedDict()

    async def retrieve(self, x: Exchange) -> None:
        """Send frames, a part each, or one frame as a single part."""
        plan = await self._planned(x)
        headers = [*plan.headers]
        if x.has(plan.etag):
            await x.not_modified(headers)
            return
        if plan.coded and not plan.answer.multipart:
            sent = await self._stored(x, plan, headers)
            self._shelf.used(plan.opened, 1, sent)
            return
        first = await self._first(plan)
        if not plan.answer.multipart:
            await ranged(x, first, plan.kind, headers, plan.etag)
        else:
            await self._parts(x, plan, first, headers)
        self._shelf.used(plan.opened, 1, len(first))

    async def _first(self, plan: _Plan) -> bytes:
        if plan.run is not None:
            return await self._shelf.read_stored(self._shelf.archive.run_bytes, plan.run)
        return await frame_bytes(
            self._shelf, plan.opened, plan.located, plan.numbers[0], plan.syntax
        )

    async def _planned(self, x: Exchange) -> _Plan:
        """What a request comes down to: remembered from an equal one while its lease is held."""
        names = x.names
        asked = (*x.address, x.accept, x.header("host"))
        lease = self._shelf.archive.held(
            x.tenant,
            x.actor,
            CHANNEL,
            names["study"],
            names["series"],
            names["instance"],
            x.circumstances,
        )
        if lease is not None:
            plan = self._plans.get(lease.lease_id, {}).get(asked)
            if plan is not None:
                return plan
        plan = await self._plan(x)
        if sum(map(len, (*x.address, *x.accept, x.header("host")))) <= LONGEST:
            self._keep(asked, plan)
        return plan

    def _keep(self, asked: Hashable, plan: _Plan) -> None:
        """Remember a plan with its lease: a lease that ended must not live on in plans."""
        lease_id = plan.opened.lease.lease_id
        mine = self._plans.setdefault(lease_id, {})
        if len(mine) >= PLANS:
            mine.clear()
        mine[asked] = plan
        self._plans.move_to_end(lease_id)
        while len(self._plans) > LEASES or (
            len(self._plans) > 1 and sum(map(len, self._plans.values())) > PLANS
        ):
            self._plans.popitem(last=False)

    async def _plan(self, x: Exchange) -> _Plan:
        numbers = tuple(frame_numbers(x.names["frames"]))
        opened = await self._shelf.open(x)
        located = opened.instances[0]
        answer: Answer = chosen(
            negotiate(
                ResourceCategory.FRAMES,
                x.accept,
                x.asked("accept"),
                stored_syntax=located.syntax,
                can_transcode=self._shelf.can_give(located),
                single_item=len(numbers) == 1,
            )
        )
        coded = self._shelf.is_coded(located, answer.transfer_syntax or "")
        # What lies coded may be other bytes in another pack.
        place = str(located.landed.blob_id) if coded else ""
        form = (answer.content_type, str(answer.multipart), place)
        etag = opened.etag("frames", *form, *map(str, numbers))
        count = self._shelf.archive.frame_count(located)
        if max(numbers) > count:
            raise NoSuchFrame(f"There is no frame {max(numbers)}: the object has {count}.")
        headers = tuple(opened.headers(etag))
        syntax = answer.transfer_syntax or EXPLICIT_VR_LITTLE_ENDIAN
        run = stored_run(self._shelf, located, numbers[0], syntax) if len(numbers) == 1 else None
        kind, around = answer.content_type, (b"", b"")
        if answer.multipart:
            boundary = boundary_of(etag)
            kind = multipart.content_type(boundary, answer.media_type)
            around = (_head(opened, answer, boundary, numbers[0]), multipart.closing(boundary))
        return _Plan(opened, answer, numbers, etag, headers, coded, run, kind, around)

    async def _stored(self, x: Exchange, plan: _Plan, headers: list[Header]) -> int:
        """A coded frame, or bytes of it, as it is stored; of a range no more is read than the tile-parts
        it touches. Returns how many bytes were sent."""
        shelf, archive = self._shelf, self._shelf.archive
        located, number, part = plan.located, plan.numbers[0], None
        if x.header("range"):
            length = await shelf.read_stored(archive.stored_length, located, number)
            part = wanted_range(x, length, plan.etag)
        data = await shelf.read_stored(archive.stored_frame, located, number, part)
        headers.append(ACCEPTED)
        if part is not None:
            headers.append(span_header(part, length))
        await x.reply(200 if part is None else 206, data, plan.kind, headers)
        return len(data)

    async def _parts(self, x: Exchange, plan: _Plan, first: bytes, headers: list[Header]) -> None:
        before, after = plan.around
        if len(plan.numbers) == 1:
            # Three messages rather than one joined buffer: half a megabyte is not copied again.
            await x.pieces(200, (before, first, after), plan.kind, headers)
            return
        await x.start(200, plan.kind, headers)
        await x.write(before)
        await x.write(first)
        opened, boundary = plan.opened, boundary_of(plan.etag)
        for number in plan.numbers[1:]:
            data = await frame_bytes(self._shelf, opened, plan.located, number, plan.syntax)
            await x.write(multipart.PART_END + _head(opened, plan.answer, boundary, number))
            await x.write(data)
        await x.end(after)


def _head(opened: Opened, answer: Answer, boundary: str, number: int) -> bytes:
    """What stands before a frame of a multipart answer."""
    place = f"{opened.url(opened.instances[0])}/frames/{number}"
    return multipart.part_head(boundary, answer.content_type, content_location=place)


async def pixel_data(shelf: Shelf, x: Exchange, opened: Opened) -> None:
    """The pixel data of many objects: uncompressed ones whole, compressed ones a part a frame.

    Objects without pixel data are left out. Raises NoSuchFrame when none has any, HttpProblem 406.
    """
    answers: PartAnswers = chosen(
        negotiate_parts(
            ResourceCategory.PIXELDATA,
            x.accept,
            x.asked("accept"),
            stored_syntaxes=[each.syntax for each in opened.instances],
            can_transcode=shelf.can_transcode,
        )
    )
    wanted = [
        each
        for each in opened.instances
        if each.pixel_offset is not None and each.syntax in answers.answers
    ]
    if not wanted:
        raise NoSuchFrame("There are no pixel data here.")
    some = next(iter(answers.answers.values()))
    kinds = sorted(f"{key}>{a.content_type}" for key, a in answers.answers.items())
    etag = opened.etag("pixeldata", *kinds)
    headers = opened.headers(etag)
    boundary = boundary_of(etag)
    if x.has(etag):
        await x.not_modified(headers)
        return
    kind = multipart.content_type(boundary, some.media_type)
    lead = b""
    for located in wanted:
        answer = answers.answers[located.syntax]
        lead = await _pixel_parts(shelf, x, opened, located, answer, boundary, kind, headers, lead)
    await x.end(multipart.closing(boundary))


async def _pixel_parts(
    shelf: Shelf,
    x: Exchange,
    opened: Opened,
    located: Located,
    answer: Answer,
    boundary: str,
    kind: str,
    headers: list[Header],
    lead: bytes,
) -> bytes:
    """The parts of one object; returns what must come before the next part."""
    syntax = answer.transfer_syntax or EXPLICIT_VR_LITTLE_ENDIAN
    count = await shelf.read(shelf.archive.frame_count, located)
    together = answer.media_type == OCTETS and syntax == EXPLICIT_VR_LITTLE_ENDIAN
    url = opened.url(located)
    size = 0
    for number in range(1, count + 1):
        data = await frame_bytes(shelf, opened, located, number, syntax)
        if not x.started:
            await x.start(200, kind, headers)
        if number == 1 or not together:
            place = f"{url}/bulkdata/7FE00010" if together else f"{url}/frames/{number}"
            head = multipart.part_head(boundary, answer.content_type, content_location=place)
            await x.write(lead + head)
        await x.write(data)
        lead = multipart.PART_END
        size += len(data)
    shelf.used(opened, 1, size)
    return lead


class BulkData:
    """Handlers of `…/pixeldata` and `…/instances/{instance}/bulkdata/{path}`."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def pixeldata(self, x: Exchange) -> None:
        """Pixel data of a study, series or instance."""
        opened = await self._shelf.open(x)
        await pixel_data(self._shelf, x, opened)

    async def retrieve(self, x: Exchange) -> None:
        """One value, by the address its BulkDataURI gave."""
        opened = await self._shelf.open(x)
        located = opened.instances[0]
        path = x.names["path"].upper()
        if path in PIXEL_PATHS and located.pixel_offset is not None:
            index = native_frames(located)
            if index is None or index.frame_bits % 8 == 0:
                await pixel_data(self._shelf, x, opened)
                return
        answer: Answer = chosen(
            negotiate(ResourceCategory.BULKDATA, x.accept, x.asked("accept"), stored_syntax=None)
        )
        etag = opened.etag("bulkdata", path, str(answer.multipart))
        headers = opened.headers(etag)
        if x.has(etag):
            await x.not_modified(headers)
            return
        data = await self._shelf.read(self._shelf.archive.bulk, located, path)
        self._shelf.used(opened, 1, len(data))
        if answer.multipart:
            boundary = boundary_of(etag)
            place = f"{opened.url(located)}/bulkdata/{path}"
            head = multipart.part_head(boundary, answer.content_type, content_location=place)
            parts = (head, data, multipart.closing(boundary))
            await x.pieces(200, parts, multipart.content_type(boundary, OCTETS), headers)
            return
        # Never shown by a browser as what it may claim to be (PDF, HTML): W11.
        headers.append((b"content-disposition", b"attachment"))
        await ranged(x, data, answer.content_type, headers, etag)
