"""Many files at once into the archive: some are read while others are committed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lightwell.access.context import Context
from lightwell.domain.archive.api import Archive
from lightwell.gateways.media import archives, folders
from lightwell.gateways.media.archives import DEFAULT, ArchiveLimits
from lightwell.gateways.media.folders import Entry
from lightwell.gateways.media.intake import NESTED, IsArchive, Labels, Staged, stage_file
from lightwell.gateways.media.report import (
    FileReport,
    ImportReport,
    Refusal,
    failed,
    judged,
    refused,
)
from lightwell.kernel.errors import LightwellError, Refused

AT_ONCE = 4

Heard = Callable[[FileReport], None]


@dataclass(slots=True)
class Importer:
    """One import: same context, same labels, one report."""

    archive: Archive
    context: Context
    labels: Labels
    heard: Heard = lambda _line: None  # told of each file, on the event loop
    limits: ArchiveLimits = DEFAULT
    report: ImportReport = field(default_factory=ImportReport)
    _packed: deque[Entry] = field(default_factory=deque)  # archives found among the files

    async def run(self, paths: Sequence[Path]) -> ImportReport:
        """Import everything below these paths. Raises Refused when this actor may not store at all.

        An archive is opened after the folder it was found in is done; one inside it is reported.
        """
        await self.archive.may_store(self.context)
        self.report.issuer = self.labels.issuer or ""
        for path in paths:
            await self._all(folders.entries(path))
            while self._packed:
                await self._unpack(self._packed.popleft())
        return self.report

    async def _unpack(self, entry: Entry) -> None:
        assert entry.path is not None  # only such entries are put aside
        try:
            with archives.opened(entry.path, entry.name, self.limits) as opened:
                await self._all(opened.entries())
        except Refusal as refusal:
            self._add(refused(entry.name, refusal.reason, refusal.detail))

    async def _all(self, entries: Iterator[Entry]) -> None:
        turn = asyncio.Lock()
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._take_turns(entries, turn))

    async def _take_turns(self, entries: Iterator[Entry], turn: asyncio.Lock) -> None:
        while True:
            async with turn:
                entry = await asyncio.to_thread(next, entries, None)
            if entry is None:
                return
            line = await self._one(entry)
            if line is not None:
                self._add(line)

    async def _one(self, entry: Entry) -> FileReport | None:
        """What became of one file; None for an archive that was put aside to be opened."""
        try:
            staged = await asyncio.to_thread(self._stage, entry)
            return judged(entry.name, await staged.store())
        except IsArchive:
            if entry.path is None:
                return refused(entry.name, NESTED, "archives are opened one level deep")
            self._packed.append(entry)
            return None
        except Refusal as refusal:
            return refused(entry.name, refusal.reason, refusal.detail)
        except Refused:
            raise
        except LightwellError as error:
            return failed(entry.name, error)

    def _stage(self, entry: Entry) -> Staged:
        try:
            with entry.open() as stream:
                return stage_file(self.archive, self.context, self.labels, stream)
        except OSError as error:
            raise Refusal("cannot be read", error.strerror or type(error).__name__) from error

    def _add(self, line: FileReport) -> None:
        self.report.add(line)
        self.heard(line)
