"""How a session begins, whichever way somebody has shown who they are: the part that every way shares.

Counts tries, asks a browser something and knows it again, opens the session in one transaction with what was
used up, writes down what failed. It proves nothing itself: only the front doors of this room may hold one.
The use of a sealed account is an entry of the queue of emergencies, in the same transaction.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lightwell.access.actions import Action
from lightwell.access.audit import AuditRecord, Outcome, record
from lightwell.access.commit import ChangeSet, Committer, Event, FactsChanged
from lightwell.access.context import Actor, ActorKind, Context, Tenant
from lightwell.domain.people import glass
from lightwell.domain.people.errors import NotSignedIn, TooManyTries
from lightwell.domain.people.glass_api import alarm, broken_event
from lightwell.domain.people.model import (
    CHALLENGE_LIFE,
    PROVED,
    Challenge,
    ChallengeRow,
    ChallengeUsedRow,
    How,
    Person,
    Session,
    SessionRow,
    limits,
)
from lightwell.domain.people.ports import PeopleBook, TryCounter
from lightwell.domain.people.throttling import (
    ADDRESS_DELAYS,
    PAIR_DELAYS,
    START_DELAYS,
    TOKEN_DELAYS,
    WINDOW_SECONDS,
    address_key,
    pair_key,
    start_key,
    token_key,
)
from lightwell.domain.people.tokens import TokenKind, digest, is_token, new_token
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Missing

AGENT_LIMIT: Final = 200


@dataclass(frozen=True, slots=True)
class Visitor:
    """Where somebody stands who has not said yet who they are.

    `beside`: the name in their address, where there is no tenant of that name and `tenant` stands in for it:
    tries there are counted by themselves, as those of each tenant are (W10).
    """

    tenant: Tenant
    origin: str
    agent: str = ""
    channel: str = "console"
    beside: str = ""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session that has begun. `token` is told to nobody but its bearer."""

    token: str
    session: Session
    recovery_codes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"SignedIn({self.session.name})"


class Opening:
    """Begins sessions for the front doors that know who is there. `seals_broken`: of sealed accounts."""

    def __init__(
        self, book: PeopleBook, tries: TryCounter, committer: Committer, clock: Clock
    ) -> None:
        self._book = book
        self._tries = tries
        self._committer = committer
        self._clock = clock
        self.seals_broken = 0

    # --- tries --------------------------------------------------------------------------------------

    async def heard(self, who: Visitor, login: str) -> None:
        """Count the try before it is looked at: two hundred at once are two hundred. Raises TooManyTries."""
        counted: list[tuple[bytes, tuple[float, ...]]] = []
        if login:  # first: what is turned away here says nothing of the others at that address
            counted.append((pair_key(login, who.origin, who.beside), PAIR_DELAYS))
        counted.append((address_key(who.origin, who.beside), ADDRESS_DELAYS))
        await self._count(who, counted)

    async def started(self, who: Visitor) -> None:
        """Count that somebody is sent to a provider, or asked for a passkey; apart from tries, so that a
        provider that is away shuts nobody's password out. Raises TooManyTries."""
        await self._count(who, [(start_key(who.origin, who.beside), START_DELAYS)])

    async def issued(self, who: Visitor, program_id: uuid.UUID) -> None:
        """Count that a program is given a token: each is a row. Raises TooManyTries."""
        await self._count(who, [(token_key(program_id), TOKEN_DELAYS)])

    async def _count(self, who: Visitor, counted: list[tuple[bytes, tuple[float, ...]]]) -> None:
        now = self._clock.now()
        for key, delays in counted:
            until = await self._tries.attempt(who.tenant, key, now, delays, WINDOW_SECONDS)
            if until is not None:
                raise TooManyTries(until, now)

    async def give_back(self, who: Visitor) -> None:
        """What was counted of the address was no guess."""
        await self._tries.give_back(
            who.tenant, address_key(who.origin, who.beside), self._clock.now()
        )

    async def forget(self, who: Visitor, login: str) -> None:
        """It went well: the pair is counted from the beginning."""
        await self._tries.forget(who.tenant, pair_key(login, who.origin, who.beside))

    # --- what a browser is asked ----------------------------------------------------------------------

    async def ask(self, who: Visitor, kind: str, body: bytes, ticket: str = "") -> str:
        """Keep what a browser is asked, for ten minutes; the ticket it is known by."""
        ticket = ticket or new_token(TokenKind.CHALLENGE)
        expires = self._clock.now() + CHALLENGE_LIFE
        row = ChallengeRow(Challenge(digest(ticket), kind, body, expires=expires))
        await self._committer.commit(ChangeSet(who.tenant, (row,)))
        return ticket

    async def asked(self, who: Visitor, ticket: str, kind: str) -> Challenge | None:
        """What was asked under a ticket, if it is of this kind and not too old."""
        if not is_token(ticket, TokenKind.CHALLENGE):
            return None
        asked = await self._book.challenge(who.tenant, digest(ticket))
        good = asked is not None and asked.kind == kind and self._clock.now() < asked.expires
        return asked if good else None

    async def use(self, who: Visitor, asked: Challenge) -> bool:
        """Use a challenge up on its own; False when it was used a moment ago."""
        try:
            await self._committer.commit(ChangeSet(who.tenant, (ChallengeUsedRow(asked.digest),)))
        except FactsChanged:
            return False
        return True

    # --- the session ----------------------------------------------------------------------------------

    async def own_session(self, context: Context) -> Session:
        """The session of a person at home. Raises Missing: a program has none, nor has who is elsewhere."""
        actor = context.actor
        session = None
        if actor.kind is ActorKind.PERSON and actor.home == context.tenant.name and actor.session:
            session = await self._book.session(context.tenant, uuid.UUID(actor.session))
        if session is None or session.ended is not None:
            raise Missing("There is no such account.")
        return session

    async def open(
        self,
        who: Visitor,
        person: Person,
        how: How,
        rows: tuple[object, ...],
        codes: tuple[str, ...] = (),
        *,
        proved: bool = True,
        counted: bool = True,
        detail: str = "",
        events: tuple[Event, ...] = (),
        records: tuple[AuditRecord, ...] = (),
    ) -> SignedIn:
        """Begin the session of an account; as `begin`."""
        return await self.begin(
            who, person.login, person.person_id, person.roles, how, rows, codes,
            proved=proved, counted=counted, detail=detail, events=events, records=records,
        )  # fmt: skip

    async def begin(
        self,
        who: Visitor,
        name: str,
        person_id: uuid.UUID | None,
        roles: frozenset[str],
        how: How,
        rows: tuple[object, ...],
        codes: tuple[str, ...] = (),
        *,
        proved: bool = True,
        counted: bool = True,
        detail: str = "",
        events: tuple[Event, ...] = (),
        records: tuple[AuditRecord, ...] = (),
    ) -> SignedIn:
        """One transaction: what was used up, and the session. Always a new token (A09).

        `proved`: the person has shown here and now who they are, which step-up asks for. `counted`: the try
        still counts for the address, and is given back here; once only, or each sign-in would wear off a
        guess (A06). Raises NotSignedIn when what is used up was used already.
        """
        now = self._clock.now()
        absolute, idle = limits(roles)
        session = Session(
            session_id=uuid.uuid4(),
            person_id=person_id,
            name=name,
            how=how,
            origin=who.origin,
            agent=_printable(who.agent),
            created=now,
            seen=now,
            expires=now + absolute,
            idle=idle,
            proved=now if proved else now - PROVED,
            roles=roles if person_id is None else None,
        )
        token = new_token(TokenKind.SESSION)
        entry = self._entry(who, name, Outcome.DONE, now, detail or how)
        written: tuple[object, ...] = (*rows, SessionRow(session, digest(token)))
        seal = _seal_use(session) if how is How.SEALED else None
        if seal is not None:
            written += (glass.OpeningRow(seal),)
            events += (broken_event(seal),)
        change = ChangeSet(who.tenant, written, events, (*records, entry))
        try:
            await self._committer.commit(change)
        except FactsChanged:  # the same code, link or answer a moment ago: used is used
            raise self.refusal(who, name) from None
        if seal is not None:
            self.seals_broken += 1
            alarm(seal, who.tenant.name)
        if counted:
            await self.give_back(who)
        return SignedIn(token, session, codes)

    # --- the record -----------------------------------------------------------------------------------

    def _entry(
        self, who: Visitor, name: str, outcome: Outcome, now: datetime, detail: str
    ) -> AuditRecord:
        return self.entry(who, name, Action.PEOPLE_SESSION_OPEN, outcome, now, detail)

    def entry(
        self, who: Visitor, name: str, action: Action, outcome: Outcome, now: datetime, detail: str
    ) -> AuditRecord:
        """The record of something that came with signing in."""
        actor = Actor(ActorKind.PERSON if name else ActorKind.WEB, name or "unknown")
        context = Context(who.tenant, actor, channel=who.channel, origin=who.origin)
        return record(context, action, outcome, now, subject=name, detail=detail)

    def note_refused(self, who: Visitor, name: str, detail: str = "not signed in") -> None:
        """Record a try that failed. A login that does not exist is not written down: it may be a
        password in the wrong field."""
        entry = self._entry(who, name, Outcome.REFUSED, self._clock.now(), detail)
        self._committer.note(ChangeSet(who.tenant, (), (), (entry,)))

    def refusal(self, who: Visitor, name: str, message: str | None = None) -> NotSignedIn:
        """Record a try that failed; what to raise."""
        self.note_refused(who, name)
        return NotSignedIn(message) if message else NotSignedIn()


def _seal_use(session: Session) -> glass.Opening:
    """The use of a sealed account as an entry of the queue: open as long as its session."""
    return glass.Opening(
        opening_id=uuid.uuid4(),
        kind=glass.OpeningKind.SEAL,
        session_id=session.session_id,
        login=session.name,
        origin=session.origin,
        since=session.created,
        until=session.expires,
    )


def _printable(agent: str) -> str:
    return "".join(c for c in agent if c.isprintable())[:AGENT_LIMIT]
