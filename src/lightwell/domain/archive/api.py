"""The front door of the archive: stage, store, find, locate, read, correct, reject, vouch."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol

from lightwell.access.actions import Action
from lightwell.access.audit import Outcome as Ended
from lightwell.access.audit import record
from lightwell.access.commit import (
    ChangeSet,
    Committed,
    Committer,
    FactsChanged,
    Sealed,
    Stored,
    committed,
)
from lightwell.access.context import Context
from lightwell.access.operation import Act, operation, permit
from lightwell.access.ports import Journal, PolicySource
from lightwell.dicom.uids import syntax_of
from lightwell.domain.archive import events
from lightwell.domain.archive.errors import Damaged, Withdrawn
from lightwell.domain.archive.internal import correcting, reading, vouching
from lightwell.domain.archive.internal.admission import UNCOMPARED, admit
from lightwell.domain.archive.internal.asking_loop import ask
from lightwell.domain.archive.internal.describing import Describer
from lightwell.domain.archive.internal.leases import LEASE_SECONDS, LeaseDesk, Scope
from lightwell.domain.archive.internal.staging import StagingWriter
from lightwell.domain.archive.keys import BlobIds, blob_of_key
from lightwell.domain.archive.model import (
    Announced,
    ArrivalRow,
    Attributes,
    CommitmentRow,
    Decision,
    Described,
    Edits,
    Known,
    KnownInstance,
    Landed,
    Lease,
    LeaseRow,
    LeaseUseRow,
    Located,
    Outcome,
    OverlayRow,
    QCRow,
    RejectionRow,
    RepairRow,
    SeenAgainRow,
    Staged,
    Target,
    Totals,
    Verdict,
    Vouched,
    WithdrawRow,
)
from lightwell.domain.archive.ports import BlobMissing, BlobStore, Index, StoreBroken
from lightwell.domain.archive.query import Found, Query
from lightwell.kernel.clock import Clock
from lightwell.kernel.crashpoints import reach
from lightwell.kernel.errors import Busy, LightwellError, Missing, Unavailable
from lightwell.kernel.pages import Page

log = logging.getLogger("lightwell.archive")

DECIDE_AGAIN = 8  # times an arrival is judged anew when a rival was faster
SEEN_LIMIT = 50_000
COMMIT_SECONDS = 60.0

_ASIDE = {
    Outcome.HELD: "held",
    Outcome.CANDIDATE: "candidate",
    Outcome.CONFLICT: "conflict",
}


@dataclass(frozen=True, slots=True)
class Placed:
    """How far an arrival has come when its bytes may still be on their way to the disk.

    `done`: its row is committed. `final`: nothing of it is kept. Neither: it is kept aside, which is
    done once the bytes are durable.
    """

    verdict: Verdict
    done: Committed | None = None
    final: bool = False
    digest: bytes | None = None  # of its parents, when the row is committed


class Droppable(Protocol):
    """Staged bytes that can be taken back."""

    def drop(self) -> None:
        """No row will point to them."""


class _Untouched:
    """What a re-index judges is kept, whatever the judgement."""

    def drop(self) -> None:
        """Leaves them where they are."""


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
    ) -> None:
        self.policy = policy
        self.committer = committer
        self.clock = clock
        self._blobs = blobs
        self._index = index
        self._journal = journal
        self._describer = Describer()
        self._desk = LeaseDesk()
        self._ids = BlobIds()
        self._seen: set[tuple[int, bytes]] = set()

    # --- storing ---------------------------------------------------------------------------------

    async def may_store(self, context: Context) -> None:
        """Ask policy once before a door receives bytes. Raises Refused."""
        await permit(self, context, Action.ARCHIVE_INSTANCE_STORE)

    def stage(self, context: Context, announced: Announced) -> StagingWriter:
        """Begin to receive one object. Blocking; the writer belongs to one thread at a time."""
        if announced.issuer is None and context.actor.issuer is not None:
            announced = replace(announced, issuer=context.actor.issuer)
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
        return await asyncio.shield(asyncio.ensure_future(self._store(context, writer)))

    async def _store(self, context: Context, writer: StagingWriter) -> Verdict:
        try:
            staged = await asyncio.to_thread(writer.finish)
            sealing = asyncio.get_running_loop().run_in_executor(None, writer.seal)
            placing = asyncio.ensure_future(self._place(context, staged))
            # Both run to their end, whatever the other does: neither may outlive the answer.
            await asyncio.wait((sealing, placing))
            return await self._settle(context, staged, writer, _ended(placing), _ended(sealing))
        except BaseException:
            writer.discard()  # leaves what is durable: its row may be there, whatever we were told
            raise

    def store_from_thread(
        self, context: Context, writer: StagingWriter, loop: asyncio.AbstractEventLoop
    ) -> Verdict:
        """The same from a receiving thread: it syncs the file itself while the loop commits."""
        try:
            staged = writer.finish()
            placing = ask(loop, self._place(context, staged))
            proof: Sealed | Exception
            try:
                proof = writer.seal()
            except Exception as error:  # noqa: BLE001 - judged in `_settle`
                proof = error
            placed = placing.wait(COMMIT_SECONDS)
            if isinstance(placed, Placed) and placed.done is not None and isinstance(proof, Sealed):
                return self._stored(context, placed, proof)  # the usual case, without another hop
            settling = self._settle(context, staged, writer, placed, proof)
            verdict = ask(loop, settling).wait(COMMIT_SECONDS)
            if isinstance(verdict, Exception):
                raise verdict
            return verdict
        except BaseException:
            writer.discard()  # leaves what is durable: its row may be there, whatever we were told
            raise

    def _stored(self, context: Context, placed: Placed, proof: Sealed) -> Verdict:
        """Row and bytes are durable: this is what may be acknowledged."""
        assert placed.done is not None
        if placed.digest is not None:
            if len(self._seen) >= SEEN_LIMIT:
                self._seen.clear()
            self._seen.add((context.tenant.key, placed.digest))
        return replace(placed.verdict, stored=Stored(placed.done, proof))

    async def adopt(
        self, context: Context, staged: Staged, held: tuple[Outcome, str] | None = None
    ) -> Verdict:
        """Judge an object that lies in the store already: a re-index. Its bytes stay as they are.

        `held`: outcome and reason when it was kept aside on its arrival; that stands. Raises
        BlobMissing, StoreBroken (other length), Unavailable.
        """
        await permit(self, context, Action.ARCHIVE_INDEX_REBUILD)
        landed = staged.landed
        await asyncio.to_thread(self._blobs.confirm, landed.key, landed.offset + landed.length)
        proof = vouching.sealed_before(landed.key)
        if held is not None and staged.described is not None:
            placed = Placed(_verdict(held[0], staged.described, held[1]))
        else:
            placed = await self._place(context, staged)
        return await self._settle(context, staged, _Untouched(), placed, proof)

    async def _settle(
        self,
        context: Context,
        staged: Staged,
        writer: Droppable,
        placed: Placed | Exception,
        proof: Sealed | Exception,
    ) -> Verdict:
        """Put together how the row fared and how the bytes fared."""
        if isinstance(placed, Exception):
            raise placed
        if placed.final:
            writer.drop()  # nothing of it is kept: a duplicate, or something refused
            return placed.verdict
        if isinstance(proof, Exception):
            if placed.done is not None:
                await self._withdraw(context, placed.verdict.sop_uid, staged.landed)
            if not isinstance(proof, LightwellError | OSError):
                raise proof
            raise Withdrawn(
                "The object could not be made durable; it was not stored.", remedy="Send it again."
            ) from proof
        if placed.done is not None:
            return self._stored(context, placed, proof)
        if staged.described is None:
            return await self._quarantine(context, staged)
        if not isinstance(writer, _Untouched):  # a re-index reads these entries
            await self._journal.append(
                context.tenant, "hold", correcting.hold_to_json(staged.landed, placed.verdict)
            )
        return await self._aside(context, staged, staged.described, placed, proof)

    async def _place(self, context: Context, staged: Staged) -> Placed:
        """Judge, and commit the row of what is to be visible; runs beside the sync of its bytes."""
        await permit(self, context, Action.ARCHIVE_INSTANCE_STORE)
        described = staged.described
        if described is None:
            announced = staged.announced
            uid, sop_class = announced.sop_uid or "", announced.sop_class or ""
            return Placed(Verdict(Outcome.UNREADABLE, sop_class, uid, reason=staged.failure))
        mismatch = _mismatch(staged.announced, described)
        if mismatch:
            return Placed(_verdict(Outcome.MISMATCH, described, mismatch), final=True)
        parents_known = (context.tenant.key, described.digest) in self._seen
        # Nearly every arrival is new and contradicts nothing. So the row is tried on the empty facts
        # first: the committer refuses it (FactsChanged) when anything is known of its UID, when its
        # patient is known by another identity, or when its study is another patient's. Only then are
        # the facts asked for; `admit` decides in both cases.
        facts = Known()
        for _ in range(DECIDE_AGAIN):
            try:
                return await self._decide(context, staged, described, facts, parents_known)
            except FactsChanged:
                parents_known = False
                facts = await self._facts(context, staged, described)
        raise Unavailable("Too many objects of one study arrive at once.", remedy="Send it again.")

    async def _decide(
        self,
        context: Context,
        staged: Staged,
        described: Described,
        facts: Known,
        parents_known: bool,
    ) -> Placed:
        """One try on these facts. Raises FactsChanged when they are not so (any more)."""
        decision = admit(described, staged.landed.sha256, facts)
        if decision.outcome is Outcome.STORED:
            return await self._visible(context, staged, described, facts, decision, parents_known)
        known = decision.known
        if known is not None and known.key == staged.landed.key:
            # Our own row: the answer to an earlier try was lost on the way. It is stored, not repeated.
            verdict = _verdict(Outcome.STORED, described)
            return Placed(verdict, committed(False), digest=described.digest)
        if decision.outcome in (Outcome.DUPLICATE, Outcome.STILL_REJECTED) and known is not None:
            return await self._duplicate(context, staged, described, decision, known)
        verdict = _verdict(decision.outcome, described, decision.reason)
        if decision.outcome is Outcome.REJECTED or decision.reason == "conflict-again":
            if known is not None:
                self._seen_again(context, described, known)
            return Placed(verdict, final=True)
        return Placed(verdict)

    async def _facts(self, context: Context, staged: Staged, described: Described) -> Known:
        instance = described.instance
        known = await self._index.known(
            context.tenant, described.patient, instance.study_uid, instance.sop_uid
        )
        rival = next(
            (k for k in known.instances if k.state == "current"),
            known.instances[0] if known.instances else None,
        )
        if rival is None or rival.sha256 == staged.landed.sha256:
            return known
        blob_id = blob_of_key(rival.key) if rival.inline else None
        inline = await self._index.inline(context.tenant, blob_id) if blob_id else None
        same = await asyncio.to_thread(vouching.same_pixels, self._blobs, rival, inline, staged)
        return replace(known, same_pixels=same)

    async def _visible(
        self,
        context: Context,
        staged: Staged,
        described: Described,
        facts: Known,
        decision: Decision,
        parents_known: bool,
    ) -> Placed:
        instance = described.instance
        row = ArrivalRow(
            patient=facts.patient or described.patient,
            described=described,
            landed=staged.landed,
            received=staged.received,
            source=staged.announced.source,
            outside=staged.announced.outside,
            flags=decision.flags,
            known_parents=parents_known,
        )
        act = Act(self, context, Action.ARCHIVE_INSTANCE_STORE)
        act.about(study_uid=instance.study_uid, subject=instance.sop_uid)
        reach("k3")
        done = await act.commit((row,))
        return Placed(_verdict(Outcome.STORED, described), done, digest=described.digest)

    async def _withdraw(self, context: Context, sop_uid: str, landed: Landed) -> None:
        act = Act(self, context, Action.ARCHIVE_INSTANCE_STORE)
        act.about(subject=sop_uid, detail="withdrawn: the bytes could not be made durable")
        await act.commit((WithdrawRow(sop_uid, landed.blob_id),), (events.withdrawn(sop_uid),))

    async def _duplicate(
        self,
        context: Context,
        staged: Staged,
        described: Described,
        decision: Decision,
        known: KnownInstance,
    ) -> Placed:
        """Acknowledge a repeat only after the first copy was proved whole and durable.

        When it is not (its sync failed, or it was damaged since), this copy of the same data set takes
        its place.
        """
        if not known.inline:
            try:
                await asyncio.to_thread(self._blobs.confirm, known.key, known.offset + known.length)
            except (BlobMissing, StoreBroken) as error:
                return await self._repair(context, staged, described, known, error)
        self._seen_again(context, described, known)
        proof = Stored(committed(False), vouching.sealed_before(known.key))
        verdict = _verdict(decision.outcome, described, decision.reason, stored=proof)
        return Placed(verdict, final=True)

    async def _repair(
        self,
        context: Context,
        staged: Staged,
        described: Described,
        known: KnownInstance,
        why: LightwellError,
    ) -> Placed:
        lost = blob_of_key(known.key)
        if known.state != "current" or lost is None:
            raise Damaged(
                "We keep this object aside, but its bytes are not whole; it was not acknowledged.",
                remedy="Run `lightwell fsck`.",
            ) from why
        log.error("bytes of %s are not whole; a repeat takes their place", known.key)
        sop_uid = described.instance.sop_uid
        act = Act(self, context, Action.ARCHIVE_INSTANCE_STORE)
        act.about(study_uid=known.study_uid, subject=sop_uid, detail="repaired by a repeat")
        row = RepairRow(sop_uid, lost, staged.landed)
        done = await act.commit((row,), (events.repaired(sop_uid),))
        return Placed(_verdict(Outcome.DUPLICATE, described, "repaired"), done)

    def _seen_again(self, context: Context, described: Described, known: KnownInstance) -> None:
        row = SeenAgainRow(described.instance.sop_uid, known.state, known.sha256)
        self.committer.note(ChangeSet(context.tenant, (row,)))

    async def _aside(
        self,
        context: Context,
        staged: Staged,
        described: Described,
        placed: Placed,
        proof: Sealed,
    ) -> Verdict:
        """Held, candidate, conflict: durable by now; its row keeps it out of every clinical list."""
        verdict, instance = placed.verdict, described.instance
        if verdict.reason == UNCOMPARED:
            # A bucket gives an object's bytes back only once it is sealed: now they can be compared.
            facts = await self._facts(context, staged, described)
            decision = admit(described, staged.landed.sha256, facts)
            if decision.outcome in (Outcome.CANDIDATE, Outcome.CONFLICT):
                verdict = _verdict(decision.outcome, described, decision.reason)
        kind = _ASIDE[verdict.outcome]
        row = QCRow(
            kind=kind,
            reason=verdict.reason,
            landed=staged.landed,
            received=staged.received,
            source=staged.announced.source,
            patient=described.patient,
            instance=instance,
            sop_uid=instance.sop_uid,
            sop_class=instance.sop_class,
            syntax=instance.syntax,
        )
        act = Act(self, context, Action.ARCHIVE_INSTANCE_STORE)
        act.about(study_uid=instance.study_uid, subject=instance.sop_uid, detail=verdict.reason)
        event = events.kept_aside(kind, instance.study_uid, instance.sop_uid, verdict.reason)
        done = await act.commit((row,), (event,))
        if verdict.outcome is Outcome.CONFLICT:
            return verdict
        if not done.inserted:
            # A twin was faster: it is that copy which is kept, so it is that copy which is proved.
            facts = await self._facts(context, staged, described)
            return (await self._decide(context, staged, described, facts, False)).verdict
        return replace(verdict, stored=Stored(done, proof))

    async def _quarantine(self, context: Context, staged: Staged) -> Verdict:
        """Unreadable bytes are kept for whoever has to find out, and answered with a failure."""
        announced = staged.announced
        sop_uid, sop_class = announced.sop_uid or "", announced.sop_class or ""
        row = QCRow(
            kind="quarantined",
            reason=staged.failure[:200],
            landed=staged.landed,
            received=staged.received,
            source=announced.source,
            sop_uid=sop_uid,
            sop_class=sop_class,
            syntax=announced.syntax,
        )
        act = Act(self, context, Action.ARCHIVE_INSTANCE_STORE)
        act.about(subject=sop_uid, detail="unreadable")
        await act.commit((row,), (events.kept_aside("quarantined", "", sop_uid, "unreadable"),))
        return Verdict(Outcome.UNREADABLE, sop_class, sop_uid, reason=staged.failure)

    # --- finding ---------------------------------------------------------------------------------

    @operation(Action.ARCHIVE_STUDY_QUERY)
    async def find(self, act: Act, query: Query) -> Page[Found]:
        """Search; visible objects of this tenant only. Raises Invalid, Busy, Unavailable."""
        act.about(detail=query.level.value)
        return await self._index.find(act.context.tenant, query)

    @operation(Action.ARCHIVE_STATISTICS_READ)
    async def totals(self, act: Act) -> Totals:
        """What the tenant keeps."""
        return await self._index.totals(act.context.tenant)

    # --- reading ---------------------------------------------------------------------------------

    @property
    def reads_quickly(self) -> bool:
        """True when a read takes microseconds and may be made on the event loop."""
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
            found, version = await self._index.locate(tenant, study_uid, series_uid, None)
            instances = {located.sop_uid: located for located in found}
            if not instances or (sop_uid is not None and sop_uid not in instances):
                raise Missing("There is no such study, series or instance.")
            now = self.clock.now()
            lease = Lease(
                lease_id=lease_id,
                study_uid=study_uid,
                series_uid=series_uid,
                expires=self.clock.monotonic() + LEASE_SECONDS,
                instances=instances,
                version=version,
            )
            if not recorded:
                ends = now + timedelta(seconds=LEASE_SECONDS)
                await act.commit((LeaseRow(lease_id, study_uid, series_uid, now, ends),))
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
        return reading.effective_json(self._blobs, located, bulk_root)

    def frame(self, located: Located, number: int) -> bytes:
        """One frame's bytes as stored, 1-based. Raises NoSuchFrame. Blocking."""
        return reading.frame(self._blobs, located, number)

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

    def data_set(self, located: Located, syntax_uid: str) -> Iterator[bytes]:
        """The effective data set in its own syntax or as Explicit VR LE, in pieces. Blocking.

        Raises Damaged before the last piece when the stored bytes are not those that arrived.
        """
        if syntax_uid == located.syntax:
            return reading.presented_chunks(self._blobs, located)
        return reading.as_explicit_le(self._blobs, located)

    def file_meta(self, located: Located, syntax_uid: str) -> bytes:
        """Preamble (zero), DICM and file meta group of an exit."""
        return reading.file_meta(located, syntax_uid)

    def bulk(self, located: Located, path: str) -> bytes:
        """One bulk value by the path of its BulkDataURI. Raises Missing. Blocking."""
        return vouching.bulk_value(self._blobs, located, path)

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
            raise Missing("There is no such patient, study or series.")
        return replace(row, effective=correcting.effective(original, merged))

    @operation(Action.ARCHIVE_STUDY_UNDO)
    async def undo(self, act: Act, edit_id: uuid.UUID, reason: str) -> OverlayRow:
        """End one edit: what it laid over shows again. Raises Missing, Conflict (undone already)."""
        return await self._retried(lambda: self._undo(act, edit_id, reason))

    async def _undo(self, act: Act, edit_id: uuid.UUID, reason: str) -> OverlayRow:
        tenant = act.context.tenant
        old = await self._index.overlay(tenant, edit_id)
        if old is None:
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
        await permit(self, context, Action.ARCHIVE_STUDY_QUERY)
        return await self._index.overlay_history(context.tenant, target)

    @operation(Action.ARCHIVE_STUDY_REJECT)
    async def reject(self, act: Act, target: Target, code: str, reason: str) -> RejectionRow:
        """Take a study, series or instance out of every clinical list (IOCM, PS3.16 CID 7011)."""
        correcting.check_rejection(target, code, reason)
        tenant = act.context.tenant
        act.about(study_uid=target.study_uid, subject=target.name, detail=f"{code} {reason}")
        found, _ = await self._index.locate(
            tenant, target.study_uid, target.series_uid or None, target.sop_uid or None
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
        if old is None:
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
        await permit(self, context, Action.ARCHIVE_STUDY_QUERY)
        return await self._index.rejections(context.tenant, study_uid)

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
        peer = act.context.actor.name
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
                vouching.vouch, self._blobs, sop_class, sop_uid, kept.get(sop_uid, [])
            )
            answers.append(answer)
        return answers


def _ended(task: asyncio.Future[Any]) -> Any:
    """What a finished task gave, or the error it ended with."""
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, Exception):
        return error
    raise error


def attribute_reader(blobs: BlobStore) -> Callable[[Located], Attributes]:
    """For an index that must look at attributes it has no column for. The result blocks."""
    return lambda located: reading.effective_json(blobs, located, "")


def _scope(context: Context, study_uid: str, series_uid: str | None) -> Scope:
    return (context.tenant.key, str(context.actor), context.channel, study_uid, series_uid)


def _mismatch(announced: Announced, described: Described) -> str:
    """How the data set contradicts what was said before it (PS3.4 B.2.3: A900).

    A command names one object. The meta information of a file is often left as it was when somebody
    gave the object a new UID, so that it proves nothing about whose pixels these are.
    """
    instance = described.instance
    if not announced.by_file and announced.sop_uid not in (None, instance.sop_uid):
        return "the SOP Instance UID is not the announced one"
    if announced.sop_class is not None and announced.sop_class != instance.sop_class:
        return "the SOP Class UID is not the announced one"
    if announced.study_uid is not None and announced.study_uid != instance.study_uid:
        return "the Study Instance UID is not the one of the address"
    return ""


def _verdict(
    outcome: Outcome, described: Described, reason: str = "", *, stored: Stored | None = None
) -> Verdict:
    instance = described.instance
    return Verdict(
        outcome=outcome,
        sop_class=instance.sop_class,
        sop_uid=instance.sop_uid,
        study_uid=instance.study_uid,
        series_uid=instance.series_uid,
        reason=reason,
        stored=stored,
        defects=instance.defects,
    )
