"""How an arrival is kept: judged, its row committed while its bytes become durable, and both settled.

Row and bytes go their ways at the same time, and each may fail alone. Only when both are durable is
there a `Stored`; a row whose bytes were lost is withdrawn.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Any, Protocol

from lightwell.access.actions import Action
from lightwell.access.commit import ChangeSet, Committed, FactsChanged, Sealed, Stored, committed
from lightwell.access.context import Context
from lightwell.access.operation import Act, Room, permit
from lightwell.access.ports import Journal
from lightwell.domain.archive import events
from lightwell.domain.archive.errors import Damaged, QuotaReached, Withdrawn
from lightwell.domain.archive.internal import correcting, vouching
from lightwell.domain.archive.internal.admission import UNCOMPARED, admit
from lightwell.domain.archive.internal.allowing import Allowances, checked_room
from lightwell.domain.archive.internal.asking_loop import ask
from lightwell.domain.archive.internal.staging import StagingWriter
from lightwell.domain.archive.internal.stock import Stock
from lightwell.domain.archive.keys import blob_of_key
from lightwell.domain.archive.model import (
    Allowance,
    Announced,
    ArrivalRow,
    Decision,
    Described,
    Known,
    KnownInstance,
    Landed,
    Outcome,
    QCRow,
    RepairRow,
    SeenAgainRow,
    Staged,
    Verdict,
    WithdrawRow,
)
from lightwell.domain.archive.ports import BlobMissing, Index, StoreBroken
from lightwell.domain.patients.model import completed
from lightwell.kernel.crashpoints import reach
from lightwell.kernel.errors import LightwellError, Unavailable

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

    `done`: its row is committed. `final`: nothing of it is kept. Neither: it takes the place of the
    damaged one it `repairs`, or is kept aside, which is done once the bytes are durable.
    """

    verdict: Verdict
    done: Committed | None = None
    final: bool = False
    repairs: KnownInstance | None = None
    digest: bytes | None = None  # of its parents, when the row is committed


class Droppable(Protocol):
    """Staged bytes that can be taken back."""

    def drop(self) -> None:
        """No row will point to them."""


class _Untouched:
    """What a re-index judges is kept, whatever the judgement."""

    def drop(self) -> None:
        """Leaves them where they are."""


class Keeper:
    """The part of the archive that arrivals go through; `room` is the front door it acts for."""

    def __init__(
        self, room: Room, stock: Stock, index: Index, journal: Journal, allowances: Allowances
    ) -> None:
        self._room = room
        self._stock = stock
        self._blobs = stock.blobs
        self._index = index
        self._journal = journal
        self._allowances = allowances
        self._seen: set[tuple[int, bytes]] = set()  # tenant, digest of parents whose rows are there

    async def keep(self, context: Context, writer: StagingWriter) -> Verdict:
        """Finish, judge and keep what was staged. Not to be cancelled half way: see `Archive.store`."""
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

    def keep_from_thread(
        self, context: Context, writer: StagingWriter, loop: asyncio.AbstractEventLoop
    ) -> Verdict:
        """The same from a receiving thread, which syncs the file itself while the loop commits."""
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

    async def adopt(
        self, context: Context, staged: Staged, held: tuple[Outcome, str] | None
    ) -> Verdict:
        """Judge and keep what lies in the store already. Raises as `Archive.adopt`."""
        landed = staged.landed
        await asyncio.to_thread(self._blobs.confirm, landed.key, landed.blob_end)
        proof = vouching.sealed_before(landed.key)
        if held is not None and staged.described is not None:
            placed = Placed(_verdict(held[0], staged.described, held[1]))
        else:
            placed = await self._place(context, staged, limited=False)  # it is kept already
        return await self._settle(context, staged, _Untouched(), placed, proof)

    def _stored(self, context: Context, placed: Placed, proof: Sealed) -> Verdict:
        """Row and bytes are durable: this is what may be acknowledged."""
        assert placed.done is not None
        if placed.digest is not None:
            if len(self._seen) >= SEEN_LIMIT:
                self._seen.clear()
            self._seen.add((context.tenant.key, placed.digest))
        return replace(placed.verdict, stored=Stored(placed.done, proof))

    async def _settle(
        self,
        context: Context,
        staged: Staged,
        writer: Droppable,
        placed: Placed | Exception,
        proof: Sealed | Exception,
    ) -> Verdict:
        """Put together how the row fared and how the bytes fared."""
        if isinstance(placed, QuotaReached):
            writer.drop()  # refused before there was a row
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
        if placed.repairs is not None:
            try:
                return await self._repair(context, staged, placed.repairs, placed, proof)
            except FactsChanged as error:
                writer.drop()  # only here is it certain that no row points to it
                raise Unavailable(
                    "Another copy of this object is just taking its place.", remedy="Send it again."
                ) from error
        if staged.landed.form is not None:
            # Only what was visible is packed, and only an instance's row says how to rebuild it.
            raise Damaged("It was visible, and by what else came back it would be kept aside.")
        if staged.described is None:
            return await self._quarantine(context, staged)
        if not isinstance(writer, _Untouched):  # a re-index reads these entries
            await self._journal.append(
                context.tenant, "hold", correcting.hold_to_json(staged.landed, placed.verdict)
            )
        return await self._aside(context, staged, staged.described, placed, proof)

    async def _place(self, context: Context, staged: Staged, *, limited: bool = True) -> Placed:
        """Judge, and commit the row of what is to be visible; runs beside the sync of its bytes.

        `limited`: as far as the tenant's quota goes. What is there already is acknowledged at any time.
        """
        await permit(self._room, context, Action.ARCHIVE_INSTANCE_STORE)
        described, size = staged.described, staged.landed.length
        room = await self._allowances.of(context.tenant) if limited else Allowance()
        if described is None:
            checked_room(room, size, 0)
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
        if not room.leaves(size, 1):  # only what is known already, or a study that is, may come
            facts = await self._facts(context, staged, described)
        for _ in range(DECIDE_AGAIN):
            try:
                return await self._decide(context, staged, described, facts, parents_known, room)
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
        room: Allowance,
    ) -> Placed:
        """One try on these facts. Raises FactsChanged when they are not so (any more), QuotaReached."""
        decision = admit(described, staged.landed.sha256, facts)
        if decision.outcome is Outcome.STORED:
            if facts.study_patient is None:
                checked_room(room, staged.landed.length, 1)
            else:
                checked_room(room, staged.landed.length, 0)
            return await self._visible(context, staged, described, facts, decision, parents_known)
        known = decision.known
        if known is not None and known.key == staged.landed.key:
            # Our own row: the answer to an earlier try was lost on the way. It is stored, not repeated.
            verdict = _verdict(Outcome.STORED, described)
            return Placed(verdict, committed(False), digest=described.digest)
        if decision.outcome in (Outcome.DUPLICATE, Outcome.STILL_REJECTED) and known is not None:
            repeat = await self._duplicate(context, staged, described, decision, known)
            if repeat is not None:
                return repeat
            facts = await self._facts(context, staged, described, native_whole=False)
            return await self._decide(context, staged, described, facts, parents_known, room)
        verdict = _verdict(decision.outcome, described, decision.reason)
        if decision.outcome is Outcome.REJECTED or decision.reason == "conflict-again":
            if known is not None:
                self._seen_again(context, described, known)
            return Placed(verdict, final=True)
        checked_room(room, staged.landed.length, 0)
        return Placed(verdict)

    async def _facts(
        self, context: Context, staged: Staged, described: Described, *, native_whole: bool = True
    ) -> Known:
        instance = described.instance
        known = await self._index.known(
            context.tenant, described.patient, instance.study_uid, instance.sop_uid
        )
        known = replace(known, native_whole=native_whole)
        rival = next(
            (k for k in known.instances if k.state == "current"),
            known.instances[0] if known.instances else None,
        )
        if rival is None or rival.sha256 == staged.landed.sha256:
            return known
        if native_whole and rival.kept_sha256 == staged.landed.sha256:
            return known
        blob_id = blob_of_key(rival.key) if rival.inline else None
        inline = await self._index.inline(context.tenant, blob_id) if blob_id else None
        same = await asyncio.to_thread(vouching.same_pixels, self._stock, rival, inline, staged)
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
            patient=completed(facts.patient or described.patient, described.patient),
            described=described,
            landed=staged.landed,
            received=staged.received,
            source=staged.announced.source,
            outside=staged.announced.outside,
            flags=decision.flags,
            known_parents=parents_known,
        )
        act = Act(self._room, context, Action.ARCHIVE_INSTANCE_STORE)
        act.about(study_uid=instance.study_uid, subject=instance.sop_uid)
        reach("k3")
        done = await act.commit((row,))
        return Placed(_verdict(Outcome.STORED, described), done, digest=described.digest)

    async def _withdraw(self, context: Context, sop_uid: str, landed: Landed) -> None:
        act = Act(self._room, context, Action.ARCHIVE_INSTANCE_STORE)
        act.about(subject=sop_uid, detail="withdrawn: the bytes could not be made durable")
        await act.commit((WithdrawRow(sop_uid, landed.blob_id),), (events.withdrawn(sop_uid),))

    async def _duplicate(
        self,
        context: Context,
        staged: Staged,
        described: Described,
        decision: Decision,
        known: KnownInstance,
    ) -> Placed | None:
        """Acknowledge a repeat only after the first copy was proved whole and durable.

        When it is not (its sync failed, or it was damaged since), this copy of the same data set takes
        its place. None: not so when this is only what we gave out in the place of what arrived; then it is
        to be judged like any other data set.
        """
        if not known.inline:
            try:
                await asyncio.to_thread(self._prove, known, described.instance.sop_uid)
            except (BlobMissing, StoreBroken, Damaged) as error:
                if known.sha256 != staged.landed.sha256:
                    return None
                return _to_repair(described, known, error)
        self._seen_again(context, described, known)
        proof = Stored(committed(False), vouching.sealed_before(known.key))
        verdict = _verdict(decision.outcome, described, decision.reason, stored=proof)
        return Placed(verdict, final=True)

    def _prove(self, known: KnownInstance, sop_uid: str) -> None:
        """Durable, and bit for bit what arrived: a length proves nothing of a disk that rots.

        Raises BlobMissing, StoreBroken, Damaged. Blocking.
        """
        self._blobs.confirm(known.key, known.blob_length)
        if vouching.digest_of(self._stock, known, sop_uid) != known.digest:
            raise Damaged("The first copy of an object is damaged.")

    async def _repair(
        self, context: Context, staged: Staged, known: KnownInstance, placed: Placed, proof: Sealed
    ) -> Verdict:
        """Point the row to this copy, which is durable: until then the first one may be all there is.

        Raises FactsChanged when another repeat was faster.
        """
        lost = blob_of_key(known.key)
        assert lost is not None  # `_to_repair` has looked
        log.error("bytes of %s are not whole; a repeat takes their place", known.key)
        sop_uid = placed.verdict.sop_uid
        act = Act(self._room, context, Action.ARCHIVE_INSTANCE_STORE)
        act.about(study_uid=known.study_uid, subject=sop_uid, detail="repaired by a repeat")
        assert staged.described is not None  # else it would be no duplicate
        row = RepairRow(sop_uid, lost, staged.landed, staged.described.instance)
        if known.received is not None:
            # What lies in the store says when the repeat came. A rejection between the two is still one
            # of this image: a re-index must not take it for a later arrival.
            body = correcting.repair_to_json(known.sha256, known.received)
            await self._journal.append(context.tenant, "repair", body)
        done = await act.commit(
            (row,), (events.repaired(known.study_uid, known.series_uid, sop_uid),)
        )
        return replace(placed.verdict, stored=Stored(done, proof))

    def _seen_again(self, context: Context, described: Described, known: KnownInstance) -> None:
        row = SeenAgainRow(described.instance.sop_uid, known.state, known.sha256)
        self._room.committer.note(ChangeSet(context.tenant, (row,)))

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
        act = Act(self._room, context, Action.ARCHIVE_INSTANCE_STORE)
        act.about(study_uid=instance.study_uid, subject=instance.sop_uid, detail=verdict.reason)
        event = events.kept_aside(kind, instance.study_uid, instance.sop_uid, verdict.reason)
        done = await act.commit((row,), (event,))
        if verdict.outcome is Outcome.CONFLICT:
            return verdict
        if not done.inserted:
            # A twin was faster: it is that copy which is kept, so it is that copy which is proved.
            facts = await self._facts(context, staged, described)
            again = await self._decide(context, staged, described, facts, False, Allowance())
            return again.verdict
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
        act = Act(self._room, context, Action.ARCHIVE_INSTANCE_STORE)
        act.about(subject=sop_uid, detail="unreadable")
        await act.commit((row,), (events.kept_aside("quarantined", "", sop_uid, "unreadable"),))
        return Verdict(Outcome.UNREADABLE, sop_class, sop_uid, reason=staged.failure)


def _to_repair(described: Described, known: KnownInstance, why: LightwellError) -> Placed:
    """What becomes of a repeat whose first copy is not whole. Raises Damaged when that is kept aside."""
    if known.state != "current" or blob_of_key(known.key) is None:
        raise Damaged(
            "We keep this object aside, but its bytes are not whole; it was not acknowledged.",
            remedy="Run `lightwell fsck`.",
        ) from why
    return Placed(_verdict(Outcome.DUPLICATE, described, "repaired"), repairs=known)


def _ended(task: asyncio.Future[Any]) -> Any:
    """What a finished task gave, or the error it ended with."""
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, Exception):
        return error
    raise error


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
