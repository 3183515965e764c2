"""The front door for administration: accounts, keys, links and sessions of a tenant."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from lightwell.access.actions import Action
from lightwell.access.commit import Committer, Event
from lightwell.access.context import ActorKind, Context
from lightwell.access.operation import Act, operation
from lightwell.access.ports import PolicySource
from lightwell.access.roles import Role, checked_roles
from lightwell.domain.people.glass import DEFAULT_PLACES, Seal, SealRow, checked_places
from lightwell.domain.people.model import (
    ENROL_LIFE,
    KEY_LIFE,
    LINK_LIFE,
    CertificateGoneRow,
    CertificateRow,
    Credentials,
    CredentialsRow,
    Link,
    LinkKind,
    LinkRow,
    Person,
    PersonChangedRow,
    PersonRow,
    Program,
    ProgramRevokedRow,
    ProgramRow,
    Session,
    SessionsEndedRow,
    checked_fingerprint,
    checked_label,
    checked_life,
    checked_login,
    checked_scopes,
    folded_login,
)
from lightwell.domain.people.passwords import new_password, normalised
from lightwell.domain.people.ports import Hasher, PeopleBook
from lightwell.domain.people.tokens import TokenKind, certificate_digest, digest, new_token
from lightwell.domain.tenants.model import DEFAULT
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Conflict, Invalid, Missing, Refused


@dataclass(frozen=True, slots=True)
class Made:
    """Something new and its secret, which is shown once."""

    id: uuid.UUID
    secret: str

    def __repr__(self) -> str:
        return f"Made({self.id})"


class People:
    """Who there is, what they are, who is signed in."""

    def __init__(
        self,
        book: PeopleBook,
        hasher: Hasher,
        policy: PolicySource,
        committer: Committer,
        clock: Clock,
    ) -> None:
        self._book = book
        self._hasher = hasher
        self.policy = policy
        self.committer = committer
        self.clock = clock

    # --- accounts ----------------------------------------------------------------------------------

    @operation(Action.PEOPLE_PERSON_LIST)
    async def list(self, act: Act) -> tuple[Person, ...]:
        """All accounts of the tenant, by login."""
        return await self._book.people(act.context.tenant)

    @operation(Action.PEOPLE_PERSON_ADD)
    async def add(self, act: Act, login: str, *, name: str = "", roles: Iterable[str]) -> Made:
        """Make an account. The secret is a link with which its owner chooses what they sign in with.

        Raises Conflict when the tenant has that login, Invalid, Refused for a role one cannot give.
        """
        person = self._new_person(act.context, login, name, frozenset(roles))
        act.about(subject=person.login, detail=" ".join(sorted(person.roles)))
        await self._must_be_free(act.context, person.login)
        token, link = self._link(
            act.context, LinkKind.ENROL, ENROL_LIFE, person_id=person.person_id
        )
        await act.commit(
            (PersonRow(person), LinkRow(link)), (Event("PersonAdded", {"login": person.login}),)
        )
        return Made(person.person_id, token)

    @operation(Action.PEOPLE_PERSON_ADD)
    async def add_demonstrator(self, act: Act, login: str, *, roles: Iterable[str]) -> Made:
        """Make an account of a demonstration tenant. The secret is its random password: that opens it
        alone, without a second factor. Made again, it gets another password."""
        tenant = act.context.tenant
        if not tenant.demo:
            raise Refused("Only a demonstration tenant has accounts without a second factor.")
        person = self._new_person(act.context, login, login, frozenset(roles))
        act.about(subject=person.login, detail=" ".join(sorted(person.roles)))
        password = new_password()
        credentials = Credentials(password=await self._hasher.hashed(normalised(password)))
        known = await self._book.person(tenant, person.login)
        if known is not None:
            person = known[0]
        rows: tuple[object, ...] = (CredentialsRow(person.person_id, credentials),)
        await act.commit(rows if known else (PersonRow(person), *rows))
        return Made(person.person_id, password)

    @operation(Action.PEOPLE_PERSON_CHANGE)
    async def change(
        self,
        act: Act,
        login: str,
        *,
        roles: Iterable[str] | None = None,
        disabled: bool | None = None,
    ) -> Person:
        """Give other roles, shut or open an account. Its sessions follow within seconds."""
        person = await self._named(act.context, login)
        given = None if roles is None else checked_roles(frozenset(roles))
        changes = [*(sorted(given) if given else ()), *(["disabled"] if disabled else ())]
        act.about(subject=person.login, detail=" ".join(changes))
        if given is not None:
            may_give(act.context, given | person.roles)
        if act.context.actor.name == person.login and act.context.actor.kind is ActorKind.PERSON:
            raise Refused("Nobody changes their own roles.", remedy="Ask another administrator.")
        rows: tuple[object, ...] = (PersonChangedRow(person.person_id, given, disabled),)
        if disabled:
            rows += (
                SessionsEndedRow(self.clock.now(), str(act.context.actor), None, person.person_id),
            )
        await act.commit(rows, (Event("PersonChanged", {"login": person.login}),))
        return await self._named(act.context, login)

    @operation(Action.PEOPLE_LINK_CREATE)
    async def new_enrolment(self, act: Act, login: str) -> Made:
        """A link with which the owner of an account chooses anew what they sign in with."""
        person = await self._named(act.context, login)
        may_give(act.context, person.roles)
        act.about(subject=person.login, detail="enrol")
        if person.issuer:
            raise Conflict(
                "This account signs in through an identity provider.",
                remedy="Add a local account beside it, under another login.",
            )
        if person.seal is not None:
            raise Conflict(
                f"{person.login!r} is a sealed account: only its envelope opens it.",
                remedy="`lightwell user seal` gives it a new password.",
            )
        token, link = self._link(
            act.context, LinkKind.ENROL, ENROL_LIFE, person_id=person.person_id
        )
        await act.commit((LinkRow(link),))
        return Made(person.person_id, token)

    @operation(Action.PEOPLE_SEAL_CHANGE)
    async def seal(
        self,
        act: Act,
        login: str,
        *,
        name: str = "",
        roles: Iterable[str] = (),
        places: Iterable[str] = DEFAULT_PLACES,
    ) -> Made:
        """Seal an emergency account, which is made when it is not there. The secret is its new password, for
        an envelope: it opens the account alone, from these network places. What it had before is over, its
        sessions too.

        Raises Conflict for somebody's own account, Invalid for roles given to one that has some.
        """
        context, given = act.context, frozenset(roles)
        at = checked_places(places)
        known = await self._book.person(context.tenant, folded_login(login))
        if known is None:
            person = self._new_person(context, login, name, given)
        else:
            person = known[0]
            if given and given != person.roles:
                raise Invalid(
                    f"{person.login!r} has roles already.",
                    remedy="`lightwell user change` changes them.",
                )
            may_give(context, person.roles)
            await self._nobodys(context, *known)
        act.about(
            subject=person.login, detail=f"{' '.join(sorted(person.roles))} from {' '.join(at)}"
        )
        password, now = new_password(), self.clock.now()
        hashed = await self._hasher.hashed(normalised(password))
        rows: tuple[object, ...] = (
            SealRow(person.person_id, Seal(now, at), hashed),
            SessionsEndedRow(now, str(context.actor), None, person.person_id),
        )
        made = () if known else (PersonRow(person),)
        await act.commit((*made, *rows), (Event("AccountSealed", {"login": person.login}),))
        return Made(person.person_id, password)

    # --- links -------------------------------------------------------------------------------------

    @operation(Action.PEOPLE_LINK_CREATE)
    async def new_link(self, act: Act, roles: Iterable[str]) -> Made:
        """A one-time link that signs a browser in with roles and without an account."""
        given = checked_roles(frozenset(roles))
        may_give(act.context, given)
        act.about(detail=" ".join(sorted(given)))
        token, link = self._link(act.context, LinkKind.SESSION, LINK_LIFE, roles=given)
        await act.commit((LinkRow(link),))
        return Made(uuid.UUID(bytes=link.digest[:16]), token)

    @operation(Action.PEOPLE_LINK_CREATE)
    async def first_administrator(self, act: Act) -> Made | None:
        """The link that makes the first administrator; None when the tenant has a local one already."""
        if act.context.actor.kind not in (ActorKind.OPERATOR, ActorKind.SYSTEM):
            raise Refused("Only the server itself makes the first administrator's link.")
        # One who comes through a provider does not count: it may be away when somebody has to get in.
        if await self._book.has_administrator(act.context.tenant):
            return None
        act.about(detail=LinkKind.FIRST_ADMIN)
        token, link = self._link(act.context, LinkKind.FIRST_ADMIN, ENROL_LIFE)
        await act.commit((LinkRow(link),))
        return Made(uuid.UUID(bytes=link.digest[:16]), token)

    # --- keys of programs ----------------------------------------------------------------------------

    @operation(Action.PEOPLE_KEY_LIST)
    async def keys(self, act: Act) -> tuple[Program, ...]:
        """All keys of the tenant, newest first."""
        return await self._book.programs(act.context.tenant)

    @operation(Action.PEOPLE_KEY_CREATE)
    async def new_key(
        self,
        act: Act,
        name: str,
        *,
        roles: Iterable[str],
        scopes: Iterable[str] = (),
        life: timedelta = KEY_LIFE,
    ) -> Made:
        """Give a program a key. The secret is the bearer token."""
        given = checked_roles(frozenset(roles))
        may_give(act.context, given)
        label = checked_label(name, "The name of a key")
        if not label:
            raise Invalid("A key has a name.", remedy="Say which program it is for.")
        act.about(subject=label, detail=" ".join(sorted(given)))
        now = self.clock.now()
        program = Program(
            uuid.uuid4(),
            label,
            given,
            checked_scopes(frozenset(scopes)),
            str(act.context.actor),
            now,
            now + checked_life(life),
        )
        token = new_token(TokenKind.KEY)
        await act.commit((ProgramRow(program, digest(token)),))
        return Made(program.program_id, token)

    @operation(Action.PEOPLE_KEY_REVOKE)
    async def revoke_key(self, act: Act, program_id: uuid.UUID) -> None:
        """Take a key away: within seconds it opens nothing."""
        program = await self._program(act.context, program_id)
        act.about(subject=program.name)
        await act.commit((ProgramRevokedRow(program_id, self.clock.now()),))

    @operation(Action.PEOPLE_KEY_LIST)
    async def certificates(self, act: Act) -> tuple[tuple[uuid.UUID, str], ...]:
        """(key, SHA-256 fingerprint) of every certificate that a program of the tenant comes with."""
        return await self._book.certificates(act.context.tenant)

    @operation(Action.PEOPLE_KEY_CREATE)
    async def bind_certificate(self, act: Act, program_id: uuid.UUID, fingerprint: str) -> Program:
        """Let a program come with a certificate, besides its key; it ends with the key.

        Raises Missing for a key that is not there or no good any more, Conflict, Invalid.
        """
        program = await self._program(act.context, program_id)
        may_give(act.context, program.roles)
        named = checked_fingerprint(fingerprint)
        now = self.clock.now()
        if program.revoked is not None or now >= program.expires:
            raise Missing("That key opens nothing any more.", remedy="Make a new one first.")
        act.about(subject=program.name, detail=f"certificate {named[:16]}")
        by = str(act.context.actor)
        row = CertificateRow(certificate_digest(named), named, program_id, by, now)
        await act.commit((row,))
        return program

    @operation(Action.PEOPLE_KEY_REVOKE)
    async def release_certificate(self, act: Act, fingerprint: str) -> None:
        """No program comes with that certificate any more. Raises Missing, Invalid."""
        named = checked_fingerprint(fingerprint)
        key = certificate_digest(named)
        if not await self._book.has_certificate(act.context.tenant, key):
            raise Missing("No program comes with that certificate.")
        act.about(detail=f"certificate {named[:16]}")
        await act.commit((CertificateGoneRow(key),))

    async def _program(self, context: Context, program_id: uuid.UUID) -> Program:
        program = await self._book.program(context.tenant, program_id)
        if program is None:
            raise Missing("There is no such key.", remedy="`lightwell token list` names them.")
        return program

    # --- sessions ------------------------------------------------------------------------------------

    @operation(Action.PEOPLE_SESSION_LIST)
    async def sessions(self, act: Act) -> tuple[Session, ...]:
        """Who is signed in, newest first."""
        now = self.clock.now()
        there = await self._book.sessions(act.context.tenant)
        return tuple(s for s in there if now < s.expires and now - s.seen < s.idle)

    @operation(Action.PEOPLE_SESSION_REVOKE)
    async def revoke_session(self, act: Act, session_id: uuid.UUID) -> None:
        """End somebody's session: within seconds every door is shut to it."""
        session = await self._book.session(act.context.tenant, session_id)
        if session is None or session.ended is not None:
            raise Missing(
                "There is no such session.", remedy="`lightwell sessions list` shows them."
            )
        act.about(subject=session.name, detail=str(session_id))
        row = SessionsEndedRow(self.clock.now(), str(act.context.actor), session_id)
        await act.commit((row,), (Event("SessionEnded", {"session": str(session_id)}),))

    @operation(Action.PEOPLE_SESSION_REVOKE)
    async def end_sessions(self, act: Act, name: str | None = None) -> int:
        """End all sessions of somebody; None: of everybody but the one who asks. How many there were."""
        return await self._end(act, name, _session_of(act.context) if name is None else None)

    async def _end(self, act: Act, name: str | None, but: uuid.UUID | None) -> int:
        """End all of a name, or of everybody, whether or not they can be listed; how many there were."""
        count = await self._book.count_sessions(act.context.tenant, name, but)
        act.about(subject=name or "", detail=f"{count} sessions")
        row = SessionsEndedRow(
            self.clock.now(), str(act.context.actor), name=name, everybody=name is None, but=but
        )
        events = (Event("SessionsEnded", {"of": name or ""}),) if count else ()
        await act.commit((row,), events)
        return count

    # --- oneself ---------------------------------------------------------------------------------------

    @operation(Action.PEOPLE_SELF_READ)
    async def own_sessions(self, act: Act) -> tuple[Session, ...]:
        """One's own sessions, newest first; of a link, the one."""
        return await self._own(act.context)

    @operation(Action.PEOPLE_SELF_CHANGE)
    async def end_other_sessions(self, act: Act) -> int:
        """End one's own sessions but this one; how many there were."""
        return await self._end(act, _own_name(act.context), _session_of(act.context))

    async def _own(self, context: Context) -> tuple[Session, ...]:
        there = await self._book.sessions(context.tenant, _own_name(context))
        now = self.clock.now()
        return tuple(s for s in there if now < s.expires and now - s.seen < s.idle)

    # --- what several of them do -----------------------------------------------------------------------

    def _new_person(self, context: Context, login: str, name: str, roles: frozenset[str]) -> Person:
        given = checked_roles(roles)
        may_give(context, given)
        label = checked_label(name, "A name")
        return Person(uuid.uuid4(), checked_login(login), label, given, self.clock.now())

    async def _must_be_free(self, context: Context, login: str) -> None:
        if await self._book.person(context.tenant, login) is not None:
            raise Conflict(f"There is an account {login!r}.", remedy="Choose another login.")

    async def _nobodys(self, context: Context, person: Person, known: Credentials) -> None:
        """Sealing takes over whatever an account had: never somebody's own, nor one that a provider opens.
        Raises Conflict."""
        if person.seal is not None:
            return
        keys = await self._book.passkeys(context.tenant, person.person_id)
        if person.issuer or known.password is not None or keys:
            raise Conflict(
                f"{person.login!r} is somebody's own account.",
                remedy="Seal one that nobody signs in with from day to day.",
            )

    async def _named(self, context: Context, login: str) -> Person:
        found = await self._book.person(context.tenant, login.strip().casefold())
        if found is None:
            raise Missing("There is no such account.", remedy="`lightwell user list` names them.")
        return found[0]

    def _link(
        self,
        context: Context,
        kind: LinkKind,
        life: timedelta,
        *,
        person_id: uuid.UUID | None = None,
        roles: frozenset[str] = frozenset(),
    ) -> tuple[str, Link]:
        token = new_token(TokenKind.LINK)
        expires = self.clock.now() + life
        return token, Link(
            digest(token), kind, str(context.actor), expires, person_id=person_id, roles=roles
        )


def _own_name(context: Context) -> str:
    """By what a person's sessions are named, at home. Raises Missing."""
    actor = context.actor
    if actor.kind is not ActorKind.PERSON or actor.home != context.tenant.name:
        raise Missing("There is no such account.")
    return actor.name


def _session_of(context: Context) -> uuid.UUID | None:
    """The session that asks; None for who has none."""
    return uuid.UUID(context.actor.session) if context.actor.session else None


def may_give(context: Context, roles: frozenset[str]) -> None:
    """In the installation's own tenant `admin` reaches every tenant: only such a one gives it.

    Raises Refused.
    """
    actor = context.actor
    if actor.kind in (ActorKind.OPERATOR, ActorKind.SYSTEM):
        return
    chief = Role.ADMIN in actor.roles and actor.home == DEFAULT
    if Role.ADMIN in roles and not chief and context.tenant.name == DEFAULT:
        raise Refused("Only an administrator of the installation makes another one.")
