"""The front door of the archive: stage, store, find, locate, read, correct, reject, vouch."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from lightwell.access.actions import Action
from lightwell.access.audit import Outcome as Ended
from lightwell.access.audit import record
from lightwell.access.commit import ChangeSet, Committer, FactsChanged
from lightwell.access.context import Actor, Context, Tenant
from lightwell.access.operation import Act, operation, permit
from lightwell.access.policy import Circumstances, circumstances_of
from lightwell.access.ports import Journal, PolicySource
from lightwell.access.sight import EVERYTHING
from lightwell.dicom.uids import HTJ2KLosslessRPCL, syntax_of
from lightwell.domain.archive import events
from lightwell.domain.archive.internal import correcting, reading, vouching
from lightwell.domain.archive.internal.allowing import Allowances
from lightwell.domain.archive.internal.describing import Describer
from lightwell.domain.archive.internal.keeping import DECIDE_AGAIN, Keeper
from lightwell.domain.archive.internal.leases import (
    LEASE_SECONDS,
    NOT_OPENED,
    LeaseDesk,
    Scope,
)
from lightwell.domain.archive.internal.previewing import Previewer, PreviewWanted
from lightwell.domain.archive.internal.staging import StagingWriter
from lightwell.domain.archive.internal.stock import Stock
from lightwell.domain.archive.internal.telling import BulkRoot, Teller
from lightwell.domain.archive.keys import BlobIds, is_packed
from lightwell.domain.archive.model import (
    Announced,
    AsideItem,
    Attributes,
    CoarseFrame,
    CommitmentRow,
    Edits,
    FrameRun,
    Lease,
    LeaseRow,
    LeaseUseRow,
    Level,
    Located,
    Outcome,
    OverlayRow,
    RejectionRow,
    SensitiveRow,
    SeriesPack,
    Staged,
    Target,
    Totals,
    Verdict,
    Vouched,
)
from lightwell.domain.archive.ports import BlobStore, Folders, FrameCoder, Index, no_folder
from lightwell.domain.archive.query import Found, Query
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Busy, Missing, Unavailable
from lightwell.kernel.pages import Page


class Archive:
    """One a process. Asynchronous on the process's event loop; reading methods are blocking and are
    called from threads (or on the loop when `reads_quickly`)."""

    def __init__(
        self,
        *,
        blobs: BlobStore,
        index: Index,
        committer: Committer,
        policy: PolicySource,
        journal: Journal,
        clock: Clock,
        coder: FrameCoder | None = None,
        folders: Folders = no_folder,
    ) -> None:
        self.policy = policy
        self.committer = committer
        self.clock = clock
        self._blobs = blobs
        self._stock = Stock(blobs, coder, folders)
        self._teller = Teller(self._stock)
        self._previewer = Previewer(self._stock, self._teller)
        self._index = index
        self._journal = journal
        self._describer = Describer()
        self._desk = LeaseDesk()
        self._ids = BlobIds()
        self._keeper = Keeper(self, self._stock, index, journal, Allowances(index, clock))

    # --- storing ---------------------------------------------------------------------------------

    async def may_store(self, context: Context) -> None:
        """Ask policy once before a door receives bytes. Raises Refused."""
        await permit(self, context, Action.ARCHIVE_INSTANCE_STORE)

    def stage(self, context: Context, announced: Announced) -> StagingWriter:
        """Begin to receive one object. Blocking; the writer belongs to one thread at a time."""
        if announced.issuer is None and context.actor.machine.issuer is not None:
            announced = replace(announced, issuer=context.actor.machine.issuer)
        return StagingWriter(
            self._blobs,
            context.tenant,
            announced,
            self._describer,
            self.clock,
            blob_id=self._ids.next(),
        )

    async def store(self, context: Context, writer: StagingWriter) -> Verdict:
        """Finish, judge and keep what was staged; the bytes become durable beside the commit.

        Raises Refused, Unavailable (store or database), TooLarge; nothing is acknowledged then.
        """
        # Shielded: a client that goes away must not leave a row whose bytes were dropped half way.
        return await asyncio.shield(asyncio.ensure_future(self._keeper.keep(context, writer)))

    def store_from_thread(
        self, context: Context, writer: StagingWriter, loop: asyncio.AbstractEventLoop
    ) -> Verdict:
        """The same from a receiving thread: it syncs the file itself while the loop commits."""
        return self._keeper.keep_from_thread(context, writer, loop)

    async def adopt(
        self, context: Context, staged: Staged, held: tuple[Outcome, str] | None = None
    ) -> Verdict:
        """Judge an object that lies in the store already: a re-index. Its bytes stay as they are.

        `held`: outcome and reason when it was kept aside on its arrival; that stands. Raises
        BlobMissing, StoreBroken (other length), Unavailable.
        """
        await permit(self, context, Action.ARCHIVE_INDEX_REBUILD)
        return await self._keeper.adopt(context, staged, held)

    # --- finding ---------------------------------------------------------------------------------

    @operation(Action.ARCHIVE_STUDY_QUERY)
    async def find(self, act: Act, query: Query) -> Page[Found]:
        """Search; visible objects of this tenant only, and of studies that the actor may see. Raises Invalid,
        Busy, Unavailable."""
        act.about(detail=query.level.value)
        return await self._index.find(act.context.tenant, query, act.sight)

    @operation(Action.ARCHIVE_STATISTICS_READ)
    async def totals(self, act: Act) -> Totals:
        """What the tenant keeps, as far as the actor may see it."""
        return await self._index.totals(act.context.tenant, act.sight)

    @operation(Action.ARCHIVE_ASIDE_LIST)
    async def aside(self, act: Act, limit: int) -> list[AsideItem]:
        """What is kept and shown to nobody until a person decides, newest first: to somebody who may not see
        all, what is of a study that they may."""
        return await self._index.aside(act.context.tenant, limit, act.sight)

    # --- reading ---------------------------------------------------------------------------------

    @property
    def reads_quickly(self) -> bool:
        """True when a read takes microseconds and may be made on the event loop; what is coded never
        does (`Located.landed.coded`)."""
        return self._blobs.quick

    async def locate(
        self,
        context: Context,
        study_uid: str,
        series_uid: str | None = None,
        sop_uid: str | None = None,
    ) -> Lease:
        """A lease on a study or series. Raises Missing for what is not there (or not for this actor).

        A lease this process holds already for the same actor and scope serves again, unless it does
        not know the wanted instance yet. Who asks for a whole study or series gets all of it: what has
        come, or was corrected, since the lease was granted asks for a new one.
        """
        scope = _scope(context, study_uid, series_uid)
        lease = self._desk.find(scope, self.clock.monotonic())
        if lease is not None and lease.opens(series_uid, sop_uid):
            if sop_uid is not None:
                return lease
            now = await self._index.version(context.tenant, study_uid, lease.series_uid)
            if now == lease.version:
                return lease
        return await self._grant(context, study_uid, series_uid, sop_uid, scope=scope)

    def held(
        self,
        tenant: Tenant,
        actor: Actor,
        channel: str,
        study_uid: str,
        series_uid: str,
        sop_uid: str,
        circumstances: Circumstances,
    ) -> Lease | None:
        """The lease that `locate` would give for an instance, where this process holds it already. No act of
        its own, so it needs no context; for a session that has opened a patient there is none."""
        scope = (tenant.key, actor, channel, study_uid, series_uid, NOT_OPENED, circumstances)
        lease = self._desk.find(scope, self.clock.monotonic())
        return lease if lease is not None and lease.opens(series_uid, sop_uid) else None

    @operation(Action.ARCHIVE_INSTANCE_RETRIEVE)
    async def _grant(
        self,
        act: Act,
        study_uid: str,
        series_uid: str | None,
        sop_uid: str | None,
        *,
        scope: Scope,
    ) -> Lease:
        act.about(study_uid=study_uid, subject=series_uid or study_uid)
        tenant = act.context.tenant
        lease_id, recorded = uuid.uuid4(), False
        for _ in range(DECIDE_AGAIN):
            drops = self._desk.drops
            sight = await act.look_again()  # as it is now: what is forgotten later ends this lease
            found, version = await self._index.locate(tenant, study_uid, series_uid, None, sight)
            instances = {located.sop_uid: located for located in found}
            if not instances or (sop_uid is not None and sop_uid not in instances):
                raise Missing("There is no such study, series or instance.")
            packs: list[SeriesPack] = []
            if any(is_packed(located.landed.key) for located in found):
                packs = await self._index.packs(tenant, study_uid, series_uid)
            now = self.clock.now()
            life = _life(now, await act.holds_until(now))
            lease = Lease(
                lease_id=lease_id,
                study_uid=study_uid,
                series_uid=series_uid,
                expires=self.clock.monotonic() + life.total_seconds(),
                instances=instances,
                version=version,
                packs=tuple(packs),
            )
            if not recorded:
                row = LeaseRow(lease_id, study_uid, series_uid, now, now + life)
                await act.commit((row,))
                recorded = True
            displaced = self._desk.hold(scope, lease, drops)
            if displaced is None:
                continue  # corrected or rejected while we looked: what was located may be stale
            for use in displaced:
                self._close(act.context, use.lease, use.instances, use.bytes)
            return lease
        raise Busy("The study changes too fast to be read.", remedy="Try again.")

    def used(self, context: Context, lease: Lease, instances: int, size: int) -> None:
        """Count what was served under a lease (for its closing record)."""
        scope = _scope(context, lease.study_uid, lease.series_uid)
        self._desk.count(lease, scope, instances, size)

    def _close(self, context: Context, lease: Lease, instances: int, size: int) -> None:
        now = self.clock.now()
        entry = record(
            context,
            Action.ARCHIVE_INSTANCE_RETRIEVE,
            Ended.DONE,
            now,
            study_uid=lease.study_uid,
            subject=str(lease.lease_id),
            detail=f"lease closed: {instances} instances, {size} bytes",
        )
        row = LeaseUseRow(lease.lease_id, instances, size, now)
        self.committer.note(ChangeSet(context.tenant, (row,), (), (entry,)))

    def forget(self, context: Context, study_uid: str) -> None:
        """What was located in a study is out of date: leases on it end now."""
        for use in self._desk.drop(context.tenant.key, study_uid):
            self._close(context, use.lease, use.instances, use.bytes)

    def close_expired(self, contexts: dict[int, Context]) -> None:
        """Close the leases that ended; called every few seconds with a system context a tenant."""
        for tenant, use, ended in self._desk.expire(self.clock.monotonic()):
            context = contexts.get(tenant)
            if context is not None and ended:
                self._close(context, use.lease, use.instances, use.bytes)

    def attributes(self, located: Located, bulk_root: str) -> Attributes:
        """Effective DICOM JSON of one instance (PS3.18 F). Blocking."""
        return reading.effective_json(self._stock, located, bulk_root)

    def metadata(
        self, lease: Lease, instances: Sequence[Located], bulk_root: BulkRoot
    ) -> list[bytes]:
        """The same of many as encoded JSON objects, settled ones without reading a header. Blocking."""
        return self._teller.tell(instances, lease.packs, bulk_root)

    def preview(
        self,
        lease: Lease,
        instances: Sequence[Located],
        *,
        level: int,
        lead: int,
        bulk_root: BulkRoot,
    ) -> Iterator[bytes]:
        """What a viewer needs for the first images of a series: metadata, the lead image, coarse frames
        down to 1/2^level of their size, where the rest lies. Blocking; docs/conformance/dicomweb.md."""
        wanted = PreviewWanted(level, lead)
        return self._previewer.pieces(instances, lease.packs, wanted, bulk_root)

    def frame(self, located: Located, number: int) -> bytes:
        """One frame's bytes as stored, 1-based. Raises NoSuchFrame. Blocking."""
        return reading.frame(self._stock, located, number)

    def frame_run(self, located: Located, number: int) -> FrameRun | None:
        """Where a frame, 1-based, lies in one piece as stored; None when it must be made. Reads nothing, and
        serves as long as its lease. Raises NoSuchFrame."""
        return reading.frame_run(located, number)

    def run_bytes(self, run: FrameRun) -> bytes:
        """The bytes of such a frame. Blocking."""
        return self._blobs.read(run.key, run.offset, run.length)

    def frame_kept(self, located: Located, number: int) -> bytes | None:
        """The same of a settled frame that was decoded a while ago, in microseconds; else None."""
        return self._stock.decoded(located, number)

    def coarse_frame(
        self, located: Located, number: int, rows: int, columns: int
    ) -> CoarseFrame | None:
        """A settled frame, 1-based, at the smallest resolution that has so many rows and columns, read
        and decoded no further; None when only the whole frame has. Raises NoSuchFrame, Damaged. Blocking."""
        return reading.coarse_frame(self._stock, located, number, rows, columns)

    def stored_syntax(self, located: Located) -> str | None:
        """The transfer syntax in which a settled instance lies coded; None when it lies as received."""
        return HTJ2KLosslessRPCL.uid if located.landed.coded is not None else None

    def stored_length(self, located: Located, number: int) -> int:
        """Bytes of one coded frame as it is stored, 1-based. Raises NoSuchFrame, Damaged. Blocking."""
        return reading.stored_length(self._stock, located, number)

    def stored_frame(self, located: Located, number: int, part: range | None = None) -> bytes:
        """One coded frame as it is stored, or bytes of it, checked. Raises NoSuchFrame, Damaged. Blocking."""
        return reading.stored_frame(self._stock, located, number, part)

    def frame_count(self, located: Located) -> int:
        """How many frames can be had. Raises NoSuchFrame when they cannot be told apart."""
        return reading.frame_index(located).frames

    def sent_syntax(self, located: Located, *, web: bool) -> str:
        """The transfer syntax `data_set` gives: as stored, or Explicit VR LE where it must be.

        Over the web Implicit VR and Big Endian never leave (PS3.18 8.7.3); an edited deflated object
        leaves inflated.
        """
        syntax = syntax_of(located.syntax)
        if (web and syntax.web_banned) or (syntax.deflated and located.edits):
            return reading.EXPLICIT_LE
        return located.syntax

    def make_ready(self, located: Sequence[Located]) -> None:
        """These are read soon, from this process: settled frames are decoded together and remembered for a
        while. A hint: trouble shows when the object itself is read. Blocking."""
        reading.make_ready(self._stock, located)

    def length(self, located: Located) -> int:
        """Bytes of the data set as it was received."""
        return reading.data_set_length(located)

    def data_set(self, located: Located, syntax_uid: str) -> Iterator[bytes]:
        """The effective data set in its own syntax, as Explicit VR LE or as it lies coded, in pieces.
        Blocking.

        Raises Damaged before the last piece when the stored bytes are not those that arrived.
        """
        if syntax_uid == self.stored_syntax(located) != located.syntax:
            return reading.coded_chunks(self._stock, located)
        if syntax_uid == located.syntax:
            return reading.presented_chunks(self._stock, located)
        return reading.as_explicit_le(self._stock, located)

    def original(self, located: Located) -> Iterator[bytes]:
        """A Part 10 file with the data set exactly as it arrived, edits left out, in pieces. Blocking.

        Raises Damaged before the last piece when it is not what arrived.
        """
        yield reading.file_meta(located, located.syntax)
        yield from reading.verified_chunks(self._stock, located)

    def file_meta(self, located: Located, syntax_uid: str) -> bytes:
        """Preamble (zero), DICM and file meta group of an exit."""
        return reading.file_meta(located, syntax_uid)

    def bulk(self, located: Located, path: str) -> bytes:
        """One bulk value by the path of its BulkDataURI. Raises Missing. Blocking."""
        return vouching.bulk_value(self._stock, located, path)

    # --- correcting --------------------------------------------------------------------------------

    @operation(Action.ARCHIVE_STUDY_CORRECT)
    async def correct(self, act: Act, target: Target, edits: Edits, reason: str) -> OverlayRow:
        """Lay an edit over a patient, study, series or instance. Journalled, versioned, undoable.

        Raises Invalid (an attribute that may not be edited, or of another level), Missing.
        """
        correcting.check_edits(target, edits, reason)
        return await self._retried(lambda: self._correct(act, target, edits, reason))

    async def _correct(self, act: Act, target: Target, edits: Edits, reason: str) -> OverlayRow:
        tenant = act.context.tenant
        act.about(study_uid=target.study_uid, subject=target.level.value, detail=reason)
        if not await self._sees(act, target):
            raise no_such_target()
        in_force = await self._index.overlays(tenant, target)
        latest = await self._latest_version(act.context, target)
        row = OverlayRow(
            edit_id=uuid.uuid4(),
            target=target,
            version=latest + 1,
            edits=dict(edits),
            reason=reason,
            author=str(act.context.actor),
            at=self.clock.now(),
        )
        row = await self._with_effect(act.context, row, [*in_force, row])
        await self._journal.append(tenant, "overlay", correcting.overlay_to_json(row))
        event = events.corrected(target, str(row.edit_id), undone=False)
        await act.commit((row,), (event,))
        self.forget(act.context, target.study_uid)
        return row

    async def _latest_version(self, context: Context, target: Target) -> int:
        """Versions count undone edits too: they are never given twice."""
        history = await self._index.overlay_history(context.tenant, target)
        return max((edit.version for edit in history), default=0)

    async def _with_effect(
        self, context: Context, row: OverlayRow, in_force: list[OverlayRow]
    ) -> OverlayRow:
        """Fill in what follows for the index."""
        merged = correcting.merged(in_force)
        if row.target.level.value == "instance":
            return replace(row, edits_after=merged)
        original = await self._index.original(context.tenant, row.target)
        if original is None:
            raise no_such_target()
        return replace(row, effective=correcting.effective(original, merged))

    @operation(Action.ARCHIVE_STUDY_UNDO)
    async def undo(self, act: Act, edit_id: uuid.UUID, reason: str) -> OverlayRow:
        """End one edit: what it laid over shows again. Raises Missing, Conflict (undone already)."""
        return await self._retried(lambda: self._undo(act, edit_id, reason))

    async def _undo(self, act: Act, edit_id: uuid.UUID, reason: str) -> OverlayRow:
        tenant = act.context.tenant
        old = await self._index.overlay(tenant, edit_id)
        if old is None or not await self._sees(act, old.target):
            raise Missing(
                "There is no such correction.", remedy="`lightwell correct list` shows them."
            )
        correcting.check_undo(old)
        act.about(study_uid=old.target.study_uid, subject=str(edit_id), detail=reason)
        in_force = await self._index.overlays(tenant, old.target)
        row = OverlayRow(
            edit_id=uuid.uuid4(),
            target=old.target,
            version=old.version,
            edits={},
            reason=reason,
            author=str(act.context.actor),
            at=self.clock.now(),
            undoes=edit_id,
        )
        row = await self._with_effect(
            act.context, row, [edit for edit in in_force if edit.edit_id != edit_id]
        )
        await self._journal.append(tenant, "overlay", correcting.overlay_to_json(row))
        await act.commit((row,), (events.corrected(old.target, str(edit_id), undone=True),))
        self.forget(act.context, old.target.study_uid)
        return row

    async def corrections(self, context: Context, target: Target) -> list[OverlayRow]:
        """Every edit of one target, in force or undone, oldest first."""
        sight = await permit(self, context, Action.ARCHIVE_STUDY_QUERY)
        if not (sight.everything or await self._index.sees(context.tenant, target, sight)):
            return []
        return await self._index.overlay_history(context.tenant, target)

    @operation(Action.ARCHIVE_STUDY_REJECT)
    async def reject(self, act: Act, target: Target, code: str, reason: str) -> RejectionRow:
        """Take a study, series or instance out of every clinical list (IOCM, PS3.16 CID 7011)."""
        correcting.check_rejection(target, code, reason)
        tenant = act.context.tenant
        act.about(study_uid=target.study_uid, subject=target.name, detail=f"{code} {reason}")
        found, _ = await self._index.locate(
            tenant,
            target.study_uid,
            target.series_uid or None,
            target.sop_uid or None,
            act.sight,
        )
        if not found:
            raise Missing("There is nothing visible to reject there.")
        row = RejectionRow(
            reject_id=uuid.uuid4(),
            target=target,
            code=code,
            reason=reason,
            author=str(act.context.actor),
            at=self.clock.now(),
        )
        await self._journal.append(tenant, "rejection", correcting.rejection_to_json(row))
        event = events.rejected(target, str(row.reject_id), code, restored=False)
        await act.commit((row,), (event,))
        self.forget(act.context, target.study_uid)
        return row

    @operation(Action.ARCHIVE_STUDY_RESTORE)
    async def restore(self, act: Act, study_uid: str, reject_id: uuid.UUID, reason: str) -> None:
        """Undo one rejection. Raises Missing."""
        tenant = act.context.tenant
        act.about(study_uid=study_uid, subject=str(reject_id), detail=reason)
        old = next(
            (
                r
                for r in await self._index.rejections(tenant, study_uid)
                if r.reject_id == reject_id
            ),
            None,
        )
        if old is None or not await self._sees(act, old.target):
            raise Missing("There is no such rejection in force in that study.")
        row = replace(
            old,
            restores=old.reject_id,
            reason=reason,
            author=str(act.context.actor),
            at=self.clock.now(),
        )
        await self._journal.append(tenant, "rejection", correcting.rejection_to_json(row))
        event = events.rejected(old.target, str(reject_id), old.code, restored=True)
        await act.commit((row,), (event,))
        self.forget(act.context, study_uid)

    async def rejections(self, context: Context, study_uid: str) -> list[RejectionRow]:
        """Rejections in force in one study."""
        sight = await permit(self, context, Action.ARCHIVE_STUDY_QUERY)
        target = Target(Level.STUDY, study_uid)
        if not (sight.everything or await self._index.sees(context.tenant, target, sight)):
            return []
        return await self._index.rejections(context.tenant, study_uid)

    @operation(Action.ARCHIVE_STUDY_MARK)
    async def mark_sensitive(
        self, act: Act, study_uid: str, reason: str, *, sensitive: bool = True
    ) -> None:
        """Mark a study as sensitive, or take the mark away: what follows is policy's to say. Journalled.

        Raises Invalid (no reason), Missing.
        """
        correcting.check_reason(reason)
        tenant = act.context.tenant
        word = "sensitive" if sensitive else "not sensitive"
        act.about(study_uid=study_uid, subject=word, detail=reason)
        if not await self._index.sees(tenant, Target(Level.STUDY, study_uid), EVERYTHING):
            raise no_such_target()
        by = str(act.context.actor)
        row = SensitiveRow(study_uid, reason, by, self.clock.now(), gone=not sensitive)
        await self._journal.append(tenant, "sensitivity", correcting.sensitivity_to_json(row))
        await act.commit((row,))
        self.forget(act.context, "")

    async def _sees(self, act: Act, target: Target) -> bool:
        """Whether the act's own sight has what it is about; of everything, no question is asked."""
        sight = act.sight
        return sight.everything or await self._index.sees(act.context.tenant, target, sight)

    async def _retried(self, change: Callable[[], Awaitable[OverlayRow]]) -> OverlayRow:
        for _ in range(DECIDE_AGAIN):
            try:
                return await change()
            except FactsChanged:
                continue
        raise Unavailable("Too many changes of one thing at once.", remedy="Try again.")

    # --- storage commitment -------------------------------------------------------------------------

    @operation(Action.ARCHIVE_COMMITMENT_REQUEST)
    async def request_commitment(
        self, act: Act, transaction_uid: str, items: tuple[tuple[str, str], ...], called: str
    ) -> bool:
        """Remember a request (PS3.4 J.3.2); False when the transaction UID was used before."""
        peer = act.context.actor.machine.name
        act.about(subject=transaction_uid, detail=f"{len(items)} instances")
        row = CommitmentRow(peer, called, transaction_uid, items, self.clock.now())
        done = await act.commit((row,), (events.commitment_requested(peer, transaction_uid),))
        return done.inserted

    async def vouch(self, context: Context, items: Iterable[tuple[str, str]]) -> list[Vouched]:
        """Answer a commitment from re-hashed bytes: what is held, damaged or unknown is not safe."""
        wanted = list(items)
        kept = await self._index.keeps(context.tenant, [uid for _, uid in wanted])
        answers = []
        for sop_class, sop_uid in wanted:
            answer = await asyncio.to_thread(
                vouching.vouch, self._stock, sop_class, sop_uid, kept.get(sop_uid, [])
            )
            answers.append(answer)
        return answers


def no_such_target() -> Missing:
    """What is not there, and what is not for this actor."""
    return Missing("There is no such patient, study or series.")


def attribute_reader(
    blobs: BlobStore, coder: FrameCoder | None = None
) -> Callable[[Located], Attributes]:
    """For an index that must look at attributes it has no column for. The result blocks."""
    stock = Stock(blobs, coder)
    return lambda located: reading.effective_json(stock, located, "")


def _life(now: datetime, holds_until: datetime | None) -> timedelta:
    """How long a lease is good for: not beyond the moment at which policies may say something else."""
    life = timedelta(seconds=LEASE_SECONDS)
    return life if holds_until is None else min(life, holds_until - now)


def _scope(context: Context, study_uid: str, series_uid: str | None) -> Scope:
    return (
        context.tenant.key,
        context.actor,
        context.channel,
        study_uid,
        series_uid,
        context.opened,
        circumstances_of(context),
    )
