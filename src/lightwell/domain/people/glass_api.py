"""The front door for emergencies: break the glass, end it, judge it afterwards."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, replace
from datetime import datetime

from lightwell.access.actions import Action
from lightwell.access.commit import Committer, Event, FactsChanged
from lightwell.access.context import ActorKind, Context
from lightwell.access.operation import Act, operation, permit
from lightwell.access.policy import decide
from lightwell.access.ports import PolicySource
from lightwell.domain.people.glass import (
    LIFE,
    Opening,
    OpeningEndedRow,
    OpeningKind,
    OpeningReviewedRow,
    OpeningRow,
    QueueCounts,
    Review,
    Verdict,
    Which,
    checked_patient,
    checked_reason,
    checked_remark,
)
from lightwell.domain.people.model import How, SessionsEndedRow
from lightwell.domain.people.ports import GlassBook, PeopleBook
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Conflict, Missing, Refused

log = logging.getLogger("lightwell.glass")


@dataclass(frozen=True, slots=True)
class Standing:
    """How one stands oneself. `counts` only for those who may judge."""

    now: datetime
    open: Opening | None
    sealed: bool
    may_break: bool
    counts: QueueCounts | None


class Glass:
    """What is opened in emergencies. `broken` counts what this process saw opened."""

    def __init__(
        self,
        people: PeopleBook,
        book: GlassBook,
        policy: PolicySource,
        committer: Committer,
        clock: Clock,
    ) -> None:
        self._people = people
        self._book = book
        self.policy = policy
        self.committer = committer
        self.clock = clock
        self.broken = 0

    async def standing(self, context: Context) -> Standing:
        """What one has open, and what one may do. Asked by every page twice a minute: no record."""
        await permit(self, context, Action.PEOPLE_SELF_READ)
        now = self.clock.now()
        mine: tuple[Opening, ...] = ()
        session = _own_session(context)
        if session is not None:
            there = await self._book.of_session(context.tenant, session)
            mine = tuple(opening for opening in there if opening.open(now))
        patient = next((o for o in mine if o.kind is OpeningKind.PATIENT), None)
        counts = None
        if await self._may(context, Action.PEOPLE_GLASS_LIST):
            counts = await self._book.counts(context.tenant, now)
        proved = replace(context, stepped_up=True)
        return Standing(
            now=now,
            open=patient,
            sealed=any(opening.kind is OpeningKind.SEAL for opening in mine),
            may_break=session is not None and await self._may(proved, Action.PEOPLE_GLASS_BREAK),
            counts=counts,
        )

    @operation(Action.PEOPLE_GLASS_BREAK)
    async def break_glass(self, act: Act, *, issuer: str, patient_id: str, reason: str) -> Opening:
        """Open one patient for an hour. Whether there is such a patient changes nothing here.

        Raises Invalid, Refused for a session without an account, Conflict while another is open.
        """
        named, why = checked_patient(issuer, patient_id), checked_reason(reason)
        context = act.context
        session_id = _own_session(context)
        session = None
        if session_id is not None:
            session = await self._people.session(context.tenant, session_id)
        if session is None or session.person_id is None or session.ended is not None:
            raise Refused(
                "Only somebody with an account breaks the glass.", remedy="Sign in with yours."
            )
        now = self.clock.now()
        opening = Opening(
            opening_id=uuid.uuid4(),
            kind=OpeningKind.PATIENT,
            session_id=session.session_id,
            login=context.actor.name,
            origin=context.origin,
            since=now,
            until=min(now + LIFE, session.expires),
            issuer=named[0],
            patient_id=named[1],
            reason=why,
        )
        act.about(subject=str(opening.opening_id), detail=opening.kind)
        try:
            await act.commit((OpeningRow(opening),), (broken_event(opening),))
        except FactsChanged:
            raise Conflict(
                "A patient is open already.",
                remedy="End that one first; the next needs its own reason.",
            ) from None
        self.broken += 1
        alarm(opening, context.tenant.name)
        return opening

    @operation(Action.PEOPLE_GLASS_END)
    async def end(self, act: Act, opening_id: uuid.UUID) -> Opening:
        """End one's own, or as a reviewer anybody's; of a sealed account the session with it. Over at every
        door within seconds. Raises Missing, Conflict."""
        context = act.context
        opening = await self._entry(context, opening_id)
        own = _own_session(context) is not None and opening.login == context.actor.name
        if not own and not await self._may(context, Action.PEOPLE_GLASS_REVIEW):
            raise _missing()
        act.about(subject=str(opening_id), detail="own" if own else "reviewer")
        now, by = self.clock.now(), str(context.actor)
        row: object = OpeningEndedRow(opening_id, now, by)
        if opening.kind is OpeningKind.SEAL:
            row = SessionsEndedRow(now, by, opening.session_id)
        if not opening.open(now):
            raise _over()
        try:
            await act.commit((row,), (Event("GlassEnded", {"opening": str(opening_id)}),))
        except FactsChanged:
            raise _over() from None
        return await self._entry(context, opening_id)

    @operation(Action.PEOPLE_GLASS_LIST)
    async def entries(
        self,
        act: Act,
        *,
        which: Which = Which.ALL,
        limit: int = 50,
        before: uuid.UUID | None = None,
    ) -> tuple[Opening, ...]:
        """What was opened, newest first; `before`: older than that entry."""
        act.about(detail=which)
        return await self._book.openings(act.context.tenant, which, limit, before)

    @operation(Action.PEOPLE_GLASS_LIST)
    async def counts(self, act: Act) -> QueueCounts:
        """How many wait for a verdict, and how many for too long."""
        return await self._book.counts(act.context.tenant, self.clock.now())

    @operation(Action.PEOPLE_GLASS_REVIEW)
    async def review(
        self, act: Act, opening_id: uuid.UUID, verdict: Verdict, remark: str = ""
    ) -> Opening:
        """Judge what is over; once, and never one's own. Raises Missing, Refused, Conflict, Invalid."""
        context = act.context
        opening = await self._entry(context, opening_id)
        act.about(subject=str(opening_id), detail=verdict)
        await self._somebody_else(context, opening)
        said = checked_remark(remark, verdict)
        now = self.clock.now()
        if opening.open(now):
            raise Conflict("It is still open.", remedy="End it first.")
        row = OpeningReviewedRow(opening_id, Review(now, str(context.actor), verdict, said))
        try:
            await act.commit((row,), (Event("GlassReviewed", {"opening": str(opening_id)}),))
        except FactsChanged:
            raise Conflict("It was judged already.", remedy="Read the list again.") from None
        return await self._entry(context, opening_id)

    async def _somebody_else(self, context: Context, opening: Opening) -> None:
        """Whoever opened it may hold a link, a key or an envelope, too, which do not say who it is: only
        somebody with an account of the tenant judges, or the operator of the machine. Raises Refused."""
        if context.actor.kind is ActorKind.OPERATOR:
            return
        session_id, session = _own_session(context), None
        if session_id is not None:
            session = await self._people.session(context.tenant, session_id)
        if session is None or session.person_id is None or session.how is How.SEALED:
            raise Refused(
                "Only somebody with an account here judges what was opened.",
                remedy="Sign in with yours, or use `lightwell glass review`.",
            )
        if opening.login == session.name:
            raise Refused("Nobody judges their own.", remedy="Ask another reviewer.")

    async def _entry(self, context: Context, opening_id: uuid.UUID) -> Opening:
        opening = await self._book.opening(context.tenant, opening_id)
        if opening is None:
            raise _missing()
        return opening

    async def _may(self, context: Context, action: Action) -> bool:
        rules = await self.policy.in_force(context.tenant)
        return decide(context, action, rules, now=self.clock.now()).allowed


def _own_session(context: Context) -> uuid.UUID | None:
    """The session of a person who is at home; elsewhere nothing of theirs is open."""
    actor = context.actor
    at_home = actor.kind is ActorKind.PERSON and actor.home == context.tenant.name
    return uuid.UUID(actor.session) if at_home and actor.session else None


def _missing() -> Missing:
    return Missing("There is no such opening.", remedy="`lightwell glass list` shows them.")


def _over() -> Conflict:
    return Conflict("It is over already.")


def broken_event(opening: Opening) -> Event:
    """What the change feed says, without a patient: alerts hang on it."""
    subject = {"opening": str(opening.opening_id), "kind": opening.kind, "by": opening.login}
    return Event("GlassBroken", subject)


def alarm(opening: Opening, tenant: str) -> None:
    """The line that a log watcher waits for. Neither patient nor reason: both are typed by people."""
    what = "a patient" if opening.kind is OpeningKind.PATIENT else "a sealed account"
    log.warning(
        "break-glass: %s opened in tenant %s, entry %s; it waits for review",
        what,
        tenant,
        opening.opening_id,
    )
