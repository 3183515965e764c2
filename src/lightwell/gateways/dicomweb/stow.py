"""STOW-RS (PS3.18 10.5): uploads stream through parser, staging and group commit; one report a part.

Every whole part is stored as it comes; a body that breaks off later does not take back what was
acknowledged by the commit, and the answer (400 or 413 then) lists both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import orjson

from lightwell.access.context import Context
from lightwell.dicom.uids import acceptable_uid
from lightwell.domain.archive.api import Archive
from lightwell.domain.archive.model import Attributes, JSONElement
from lightwell.gateways.dicomweb.intake import SOURCE, Intake, NotAFile
from lightwell.gateways.dicomweb.status import (
    NOT_UNDERSTOOD,
    Report,
    report_of,
    report_of_error,
    status_of_all,
)
from lightwell.gateways.dicomweb.stow_json import (
    Bulk,
    assemble,
    instances_of,
    read_parts,
    read_single,
)
from lightwell.gateways.http.exchange import Exchange
from lightwell.gateways.http.problems import HttpProblem
from lightwell.kernel.crashpoints import reach
from lightwell.kernel.errors import LightwellError
from lightwell.wire.mediatypes import DICOM, DICOM_JSON, MULTIPART, OCTETS, parse_media_type
from lightwell.wire.multipart import (
    Event,
    LimitExceeded,
    MultipartError,
    MultipartParser,
    PartBegin,
    PartData,
    PartEnd,
    boundary_of,
)

IN_FLIGHT: Final = 16  # parts of one request that wait for their commit at the same time
T = TypeVar("T")


class Upload:
    """The parts of one request: staged one after the other, committed side by side."""

    def __init__(self, archive: Archive, context: Context, study_uid: str | None) -> None:
        self._archive = archive
        self._context = context
        self._study_uid = study_uid
        self._reports: list[Report | None] = []
        self._storing: set[asyncio.Task[None]] = set()
        self._current: Intake | None = None
        self._finished: list[Intake] = []

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Blocking work: on the loop where the store is local, else in a thread."""
        if self._archive.reads_quickly:
            return work(*arguments)
        return await asyncio.to_thread(work, *arguments)

    async def feed(self, parser: MultipartParser, piece: bytes) -> None:
        """Take the next bytes of a multipart body. Raises MultipartError."""
        await self.run(self._take, parser.feed, piece)
        await self._store_finished()

    async def close(self, parser: MultipartParser) -> None:
        """The multipart body has ended. Raises MultipartError."""
        await self.run(self._take, parser.close)
        await self._store_finished()

    def _take(self, source: Callable[..., list[Event]], *arguments: object) -> None:
        for event in source(*arguments):
            match event:
                case PartData(data):
                    self.write(data)
                case PartBegin():
                    self.begin(event)
                case PartEnd():
                    self.finish()

    def begin(self, part: PartBegin | None = None) -> None:
        """A file starts."""
        self._current = Intake(self._archive, self._context, self._study_uid)
        declared = part.content_type if part else None
        if declared is not None and declared.type not in (DICOM, OCTETS):
            self._current.fail(NotAFile("The part is not application/dicom."))

    def write(self, piece: bytes | memoryview) -> None:
        """Bytes of the current file."""
        if self._current is not None:
            self._current.write(piece)

    def finish(self) -> None:
        """The current file is whole."""
        if self._current is not None:
            self._current.end()
            self._finished.append(self._current)
            self._current = None

    async def add(self, instance: object, bulk: Bulk) -> None:
        """An instance described by metadata and values; committed like the others."""
        intake = Intake(self._archive, self._context, self._study_uid)
        try:
            made = assemble(instance, bulk, source=SOURCE, study_uid=self._study_uid)
        except LightwellError as error:
            intake.fail(error)
        else:
            await self.run(intake.take, made.announced, made.data_set)
        self._finished.append(intake)
        await self._store_finished()

    async def _store_finished(self) -> None:
        finished, self._finished = self._finished, []
        for intake in finished:
            place = len(self._reports)
            self._reports.append(intake.failure)
            if intake.failure is None:
                while len(self._storing) >= IN_FLIGHT:
                    await asyncio.wait(self._storing, return_when=asyncio.FIRST_COMPLETED)
                    self._reap()
                self._storing.add(asyncio.create_task(self._store(place, intake)))

    async def store_finished(self) -> None:
        """Commit what is whole; returns when all of it has its verdict."""
        await self._store_finished()
        await self.settle()

    async def _store(self, place: int, intake: Intake) -> None:
        try:
            verdict = await intake.store()
        except LightwellError as error:
            self._reports[place] = report_of_error(error, intake.sop_class, intake.sop_uid)
        else:
            self._reports[place] = report_of(verdict, self._study_uid)

    def _reap(self) -> None:
        for task in [task for task in self._storing if task.done()]:
            self._storing.discard(task)
            task.result()

    async def settle(self) -> None:
        """Wait for every commit under way. Raises what was not foreseen."""
        while self._storing:
            await asyncio.wait(self._storing)
            self._reap()

    async def abandon(self) -> None:
        """Drop what is not whole; let finish what is being committed."""
        if self._current is not None:
            self._current.discard()
            self._current = None
        for intake in self._finished:
            intake.discard()
        self._finished.clear()
        await asyncio.gather(*self._storing, return_exceptions=True)

    def reports(self) -> list[Report]:
        """One report a part, in order."""
        return [report for report in self._reports if report is not None]


Receiver = Callable[[Exchange, Upload], Awaitable[None]]


class Stow:
    """Handlers of `POST …/studies` and `POST …/studies/{study}`."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def store(self, x: Exchange) -> None:
        """Receive instances; the answer lists each of them (PS3.18 10.5.3)."""
        context = x.context("dicomweb")
        study_uid = x.names.get("study")
        if study_uid is not None and not acceptable_uid(study_uid):
            raise HttpProblem(400, "The Study Instance UID of the address is none.")
        receive = self._receiver(x.header("content-type"))
        reach("k0")
        await self._archive.may_store(context)
        upload = Upload(self._archive, context, study_uid)
        broken: MultipartError | None = None
        try:
            await receive(x, upload)
        except MultipartError as error:
            broken = error
        finally:
            await upload.abandon()
        await upload.settle()
        reach("k7")
        await _answer(x, upload.reports(), broken)

    def _receiver(self, content_type: str) -> Receiver:
        """How a body of this type is read. Raises HttpProblem 400 or 415."""
        declared = parse_media_type(content_type)
        kind = declared.type if declared else ""
        inner = declared.get("type") if declared and kind == MULTIPART else None
        receivers: dict[tuple[str, str | None], Receiver] = {
            (DICOM, None): _receive_one,
            (MULTIPART, None): _receive_parts,
            (MULTIPART, DICOM): _receive_parts,
            (DICOM_JSON, None): _receive_metadata,
            (MULTIPART, DICOM_JSON): _receive_metadata,
        }
        found = receivers.get((kind, inner.lower() if inner else None))
        if found is None:
            raise HttpProblem(
                415,
                "Uploads of this type are not taken.",
                remedy=f'Send multipart/related; type="{DICOM}", or {DICOM} for a single object.',
            )
        return found


async def _receive_one(x: Exchange, upload: Upload) -> None:
    """A body that is one DICOM file."""
    upload.begin()
    async for piece in x.body():
        await upload.run(upload.write, piece)
    await upload.run(upload.finish)
    await upload.store_finished()


async def _receive_parts(x: Exchange, upload: Upload) -> None:
    """A multipart body of DICOM files."""
    parser = MultipartParser(boundary_of(x.header("content-type")))
    async for piece in x.body():
        await upload.feed(parser, piece)
    await upload.close(parser)
    await upload.settle()


async def _receive_metadata(x: Exchange, upload: Upload) -> None:
    """DICOM JSON, with its bulk data as further parts."""
    multipart = x.header("content-type").lower().lstrip().startswith(MULTIPART)
    parts = await (read_parts(x) if multipart else read_single(x))
    bulk = Bulk(parts, f"{x.root}{x.scope['path'].removeprefix(x.prefix)}")
    for instance in list(instances_of(parts)):
        await upload.add(instance, bulk)
    await upload.settle()


# --- the answer --------------------------------------------------------------------------------


async def _answer(x: Exchange, reports: Sequence[Report], broken: MultipartError | None) -> None:
    headers = []
    if broken is not None:
        status = 413 if isinstance(broken, LimitExceeded) else 400
        text = broken.message.replace('"', "'")
        headers.append((b"warning", f'299 lightwell "{text}"'.encode("latin-1", "replace")))
        reports = [*reports, Report(reason=NOT_UNDERSTOOD)]
    elif not reports:
        raise HttpProblem(400, "The request holds no part.", remedy="Send at least one object.")
    else:
        status = status_of_all(reports)
    body = orjson.dumps(response_module(reports, f"{x.root}/dicomweb"))
    await x.reply(status, body, DICOM_JSON, headers)


def _element(vr: str, *values: object) -> JSONElement:
    return {"vr": vr, "Value": list(values)}


def _reference(report: Report) -> Attributes:
    return {
        "00081150": _element("UI", report.sop_class),
        "00081155": _element("UI", report.sop_uid),
    }


def response_module(reports: Sequence[Report], root: str) -> Attributes:
    """Store Instances Response Module (PS3.18 I.2): an item for each part, under one of three lists."""
    stored: list[Attributes] = []
    failed: list[Attributes] = []
    others: list[Attributes] = []
    studies: set[str] = set()
    for report in reports:
        if report.reason is None:
            studies.add(report.study_uid)
            item = _reference(report)
            if report.shown:
                url = (
                    f"{root}/studies/{report.study_uid}/series/{report.series_uid}"
                    f"/instances/{report.sop_uid}"
                )
                item["00081190"] = _element("UR", url)
            stored.append(item)
        elif report.sop_uid and acceptable_uid(report.sop_uid):
            failed.append({**_reference(report), "00081197": _element("US", report.reason)})
        else:
            others.append({"00081197": _element("US", report.reason)})
    module: Attributes = {}
    if len(studies) == 1:
        module["00081190"] = _element("UR", f"{root}/studies/{studies.pop()}")
    for tag, items in (("00081198", failed), ("00081199", stored), ("0008119A", others)):
        if items:
            module[tag] = _element("SQ", *items)
    return module
