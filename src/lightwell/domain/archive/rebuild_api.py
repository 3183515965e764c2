"""The archive's third front door: making the index anew from what lies in the store.

History is played again: landed objects and entries of packs in order of arrival through the same admission,
and between them, at their time, the corrections and rejections of the journal. No byte of the store is
written. What arrives by the same rules in the same order gives the same rows. At the end each pack gets the
row of its generation, and what a generation has replaced is to go as it was before.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from lightwell.access.actions import Action
from lightwell.access.commit import Committer, FactsChanged
from lightwell.access.context import Context, Tenant
from lightwell.access.operation import Act, operation
from lightwell.access.ports import Journal, JournalEntry, PolicySource
from lightwell.domain.archive import events
from lightwell.domain.archive.api import Archive
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal import checking, correcting, replaying, returning
from lightwell.domain.archive.internal.correcting import Hold
from lightwell.domain.archive.internal.describing import Describer
from lightwell.domain.archive.internal.replaying import Arrival, NotIndexed
from lightwell.domain.archive.internal.shelves import Shelves, survey
from lightwell.domain.archive.internal.stock import Stock
from lightwell.domain.archive.invariants import SHOWN
from lightwell.domain.archive.model import (
    Level,
    Outcome,
    OverlayRow,
    SensitiveRow,
    Staged,
    Verdict,
)
from lightwell.domain.archive.ports import BlobMissing, BlobStore, FrameCoder, Index
from lightwell.domain.archive.settle_api import GRACE
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Broken, Missing

AHEAD = 8  # objects that are read while earlier ones are committed
TOGETHER = 64  # siblings that are committed at the same time

Heard = Callable[[int], None]


@dataclass(slots=True)
class Rebuilt:
    """What a re-index of one tenant came to."""

    found: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    replayed: int = 0  # corrections, rejections and their undoing
    damaged: int = 0  # objects not indexed and entries not replayed
    findings: list[str] = field(default_factory=list)  # bounded

    def fail(self, what: str, why: str) -> None:
        """Note one thing that did not come back."""
        self.damaged += 1
        if len(self.findings) < SHOWN:
            self.findings.append(f"{what}: {why}")


@dataclass(frozen=True, slots=True)
class _Judged:
    """One object read again, and what was decided about it if it was kept aside."""

    staged: Staged
    held: tuple[Outcome, str] | None
    taken: Arrival  # where its bytes were taken from


class Rebuild:
    """One a process, beside `Archive`; nothing else may write to the tenant meanwhile."""

    def __init__(
        self,
        *,
        archive: Archive,
        blobs: BlobStore,
        index: Index,
        journal: Journal,
        committer: Committer,
        policy: PolicySource,
        clock: Clock,
        coder: FrameCoder | None = None,
        grace: timedelta = GRACE,
    ) -> None:
        self.policy = policy
        self.committer = committer
        self.clock = clock
        self._archive = archive
        self._blobs = blobs.itself()
        self._stock = Stock(self._blobs, coder)
        self._grace = grace
        self._index = index
        self._journal = journal
        self._describer = Describer()

    @operation(Action.ARCHIVE_INDEX_REBUILD)
    async def run(self, act: Act, heard: Heard = lambda _n: None) -> Rebuilt:
        """Index everything of one tenant whose rows are empty. Raises Unavailable, Broken (journal).

        An object or an entry that cannot be believed is reported and passed over.
        """
        tenant, report = act.context.tenant, Rebuilt()
        decisions: list[JournalEntry] = []
        holds: dict[str, Hold] = {}
        repairs: dict[bytes, datetime] = {}
        async for entry in self._journal.entries(tenant):
            if entry.kind == "hold":
                self._hold(entry, holds, report)
            elif entry.kind == "repair":
                self._repair(entry, repairs, report)
            elif entry.kind in _DECISIONS:
                decisions.append(entry)
        shelves, arrivals = await asyncio.to_thread(self._found, tenant, holds, repairs, report)
        playing = _Playing(self._archive, act.context, report, heard)
        async for step in self._in_order(arrivals, decisions, shelves, report):
            if isinstance(step, _Judged):
                await playing.arrive(step)
                continue
            await playing.settle()
            await self._decide(act.context, step, report)
        await playing.settle()
        await self._restore_packs(act.context, shelves, playing.back, report)
        act.about(detail=f"{report.found} objects, {report.damaged} damaged")
        return report

    def _found(
        self,
        tenant: Tenant,
        holds: dict[str, Hold],
        repairs: dict[bytes, datetime],
        report: Rebuilt,
    ) -> tuple[Shelves, list[Arrival]]:
        """Everything that came once, by its time. Blocking."""
        listing = checking.listed(self._blobs, tenant)
        landed = replaying.arrivals(self._blobs, listing, holds, report.fail)
        unreadable = report.damaged
        shelves = survey(self._blobs, tenant, report.fail)
        arrivals = replaying.with_packs(landed, shelves, report.fail)
        arrivals = replaying.as_first_received(arrivals, repairs)
        report.found = len(arrivals) + unreadable
        return shelves, arrivals

    async def _restore_packs(
        self, context: Context, shelves: Shelves, back: dict[bytes, Arrival], report: Rebuilt
    ) -> None:
        """Rows of the generations that instances came back from; what they replaced is to go."""
        going = returning.replaced(shelves, back)
        for leftover in shelves.leftovers:
            missing = sum(digest not in back for digest in leftover.digests)
            if missing:
                report.fail(leftover.key, f"its pack is lost, and with it {missing} objects")
        clear_after = self.clock.now() + self._grace
        for shelf in shelves.packs:
            taken = {
                number for number, (digest, _) in enumerate(shelf.arrived)
                if (at := back.get(digest)) is not None and (at.shelf, at.number) == (shelf, number)
            }  # fmt: skip
            if not taken:
                continue
            if shelf.manifest is None:
                report.fail(shelf.key, "its manifest is lost; settling its series makes a new one")
                continue
            try:
                contents = await asyncio.to_thread(shelves.contents, shelf)
                row = returning.pack_row(
                    shelf, contents, taken, going.pop(shelf.key, ()), clear_after
                )
                act = Act(self._archive, context, Action.ARCHIVE_INDEX_REBUILD)
                act.about(study_uid=shelf.study_uid, subject=shelf.series_uid, detail="settled")
                await act.commit((row,))
            except (BlobMissing, Broken, FactsChanged) as error:
                report.fail(shelf.key, error.message)

    def _hold(self, entry: JournalEntry, holds: dict[str, Hold], report: Rebuilt) -> None:
        try:
            key, hold = correcting.hold_from_json(entry.body, entry.at)
        except (KeyError, TypeError, ValueError) as error:
            report.fail(f"journal entry of {entry.at:%F %T}", f"cannot be read: {error!r}")
        else:
            holds.setdefault(key, hold)

    def _repair(self, entry: JournalEntry, repairs: dict[bytes, datetime], report: Rebuilt) -> None:
        try:
            digest, received = correcting.repair_from_json(entry.body)
        except (KeyError, TypeError, ValueError) as error:
            report.fail(f"journal entry of {entry.at:%F %T}", f"cannot be read: {error!r}")
        else:
            repairs[digest] = min(received, repairs.get(digest, received))

    async def _in_order(
        self,
        arrivals: list[Arrival],
        decisions: list[JournalEntry],
        shelves: Shelves,
        report: Rebuilt,
    ) -> AsyncIterator[_Judged | JournalEntry]:
        """Objects and decisions by their time; objects are read some way ahead."""
        steps = _merged(arrivals, decisions)
        ahead: deque[tuple[str, asyncio.Future[_Judged] | JournalEntry]] = deque()
        try:
            while True:
                while len(ahead) < AHEAD and (step := next(steps, None)) is not None:
                    ahead.append(self._begun(step, shelves, report))
                if not ahead:
                    return
                name, begun = ahead.popleft()
                if isinstance(begun, JournalEntry):
                    yield begun
                    continue
                try:
                    arrived = await begun
                except (NotIndexed, BlobMissing, Broken) as error:
                    report.fail(name, str(error))
                    continue
                yield arrived
        finally:
            for _, begun in ahead:
                if isinstance(begun, asyncio.Future):
                    begun.cancel()

    def _begun(
        self, step: Arrival | JournalEntry, shelves: Shelves, report: Rebuilt
    ) -> tuple[str, asyncio.Future[_Judged] | JournalEntry]:
        if isinstance(step, JournalEntry):
            return "", step
        return step.key, asyncio.ensure_future(self._read(step, shelves, report))

    async def _read(self, arrival: Arrival, shelves: Shelves, report: Rebuilt) -> _Judged:
        """It from the best place where it is sound. Raises as `replaying.staged_again`."""
        hold = arrival.hold
        for at in arrival.everywhere():
            try:
                staged = await asyncio.to_thread(
                    replaying.staged_again, self._stock, self._describer, shelves, at
                )
            except (NotIndexed, BlobMissing, Broken) as error:
                if at.instead is None:
                    raise
                report.fail(at.key, f"{error}; taken from {at.instead.key}")
                continue
            return _Judged(staged, None if hold is None else (hold.outcome, hold.reason), at)
        raise NotIndexed("it lies nowhere")

    async def _decide(self, context: Context, entry: JournalEntry, report: Rebuilt) -> None:
        """Replay one correction, rejection or mark, with its own id, author and time."""
        try:
            if entry.kind == "overlay":
                await self._overlay(context, correcting.overlay_from_json(entry.body))
            elif entry.kind == "sensitivity":
                await self._sensitivity(context, correcting.sensitivity_from_json(entry.body))
            else:
                await self._rejection(context, entry)
        except (KeyError, TypeError, ValueError) as error:
            report.fail(f"journal entry of {entry.at:%F %T}", f"cannot be read: {error!r}")
        except (Missing, FactsChanged) as error:
            report.fail(f"{entry.kind} of {entry.at:%F %T}", error.message)
        else:
            report.replayed += 1

    async def _overlay(self, context: Context, row: OverlayRow) -> None:
        tenant = context.tenant
        in_force = await self._index.overlays(tenant, row.target)
        if row.undoes is None:
            in_force = [*in_force, row]
        else:
            in_force = [edit for edit in in_force if edit.edit_id != row.undoes]
        row = await self._with_effect(tenant, row, in_force)
        act = Act(self._archive, context, Action.ARCHIVE_INDEX_REBUILD)
        act.about(study_uid=row.target.study_uid, subject=str(row.edit_id), detail="replayed")
        event = events.corrected(row.target, str(row.edit_id), undone=row.undoes is not None)
        await act.commit((row,), (event,))

    async def _with_effect(
        self, tenant: Tenant, row: OverlayRow, in_force: list[OverlayRow]
    ) -> OverlayRow:
        """What follows for the index, worked out anew. Raises Missing when the target did not come back."""
        merged = correcting.merged(in_force)
        if row.target.level is Level.INSTANCE:
            return replace(row, edits_after=merged)
        original = await self._index.original(tenant, row.target)
        if original is None:
            raise Missing("What it corrects is not in the store.")
        return replace(row, effective=correcting.effective(original, merged))

    async def _sensitivity(self, context: Context, row: SensitiveRow) -> None:
        act = Act(self._archive, context, Action.ARCHIVE_INDEX_REBUILD)
        act.about(study_uid=row.study_uid, subject="sensitivity", detail="replayed")
        await act.commit((row,))

    async def _rejection(self, context: Context, entry: JournalEntry) -> None:
        row = correcting.rejection_from_json(entry.body)
        act = Act(self._archive, context, Action.ARCHIVE_INDEX_REBUILD)
        act.about(study_uid=row.target.study_uid, subject=str(row.reject_id), detail="replayed")
        event = events.rejected(
            row.target, str(row.reject_id), row.code, restored=row.restores is not None
        )
        await act.commit((row,), (event,))


_DECISIONS = frozenset({"overlay", "rejection", "sensitivity"})
_Step = tuple[datetime, int, int, Arrival | JournalEntry]


def _merged(
    arrivals: list[Arrival], decisions: list[JournalEntry]
) -> Iterator[Arrival | JournalEntry]:
    """Both by time; at one instant the object comes first, because a decision is about what is there."""
    objects: Iterator[_Step] = ((a.at, 0, n, a) for n, a in enumerate(arrivals))
    entries: Iterator[_Step] = ((entry.at, 1, n, entry) for n, entry in enumerate(decisions))
    for *_, step in heapq.merge(objects, entries, key=lambda step: step[:3]):
        yield step


class _Playing:
    """Objects on their way through admission: siblings together, everything else one by one.

    Siblings say the same of patient, study and series, so their order changes nothing; whatever brings
    something new waits for all before it.
    """

    def __init__(self, archive: Archive, context: Context, report: Rebuilt, heard: Heard) -> None:
        self._archive = archive
        self._context = context
        self._report = report
        self._heard = heard
        self._known: set[bytes] = set()
        self._under_way: dict[str, asyncio.Task[Verdict | None]] = {}  # by SOP Instance UID
        self.back: dict[
            bytes, Arrival
        ] = {}  # what is visible, by digest, and where it was taken from

    async def arrive(self, arrived: _Judged) -> None:
        """Begin to judge one object."""
        described = arrived.staged.described
        uid = described.instance.sop_uid if described else ""
        sibling = described is not None and described.digest in self._known
        if not sibling or uid in self._under_way or len(self._under_way) >= TOGETHER:
            await self.settle()
        self._under_way[uid] = asyncio.create_task(self._adopt(arrived))
        if not sibling:
            stored = any(verdict.outcome is Outcome.STORED for verdict in await self.settle())
            if described is not None and stored:
                self._known.add(described.digest)

    async def _adopt(self, arrived: _Judged) -> Verdict | None:
        """None when it cannot be what it was; then that is reported."""
        try:
            verdict = await self._archive.adopt(self._context, arrived.staged, arrived.held)
        except Damaged as error:
            self._report.fail(arrived.taken.key, error.message)
            return None
        if verdict.outcome is Outcome.STORED:
            self.back[arrived.taken.digest] = arrived.taken
        return verdict

    async def settle(self) -> list[Verdict]:
        """Wait for all that are under way. Raises what any of them raised."""
        under_way, self._under_way = self._under_way, {}
        judged = await asyncio.gather(*under_way.values())
        verdicts = [verdict for verdict in judged if verdict is not None]
        self._report.outcomes.update(verdict.outcome for verdict in verdicts)
        if verdicts:
            self._heard(len(verdicts))
        return verdicts
