"""The front door for signing in through an identity provider, before there is a context.

Nothing here but proving again is an operation, as in `sign_in_api`. Two steps: `begin` sends a browser away
with a state that only its own cookie opens again (login CSRF); `arrive` takes what comes back, once. Who
somebody is, is (tenant, issuer, subject), never a name or an address: an account that is there already is not
taken over by whoever a provider calls alike. Who proves again who they are has to be the same.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import uuid
from dataclasses import astuple, dataclass, field, replace
from typing import Final, cast

from lightwell.access.actions import Action
from lightwell.access.audit import AuditRecord, Outcome
from lightwell.access.commit import ChangeSet, Committer, Event, FactsChanged
from lightwell.access.context import Tenant
from lightwell.access.operation import Act, operation
from lightwell.access.ports import PolicySource
from lightwell.domain.people.errors import NotLetIn, NotSignedIn, ProviderAway, Unproved, Why
from lightwell.domain.people.model import (
    NAME_LIMIT,
    Bearer,
    How,
    Person,
    PersonChangedRow,
    PersonRow,
    Session,
    SessionProvedRow,
    SessionsEndedRow,
    checked_login,
)
from lightwell.domain.people.opening import Opening, SignedIn, Visitor
from lightwell.domain.people.ports import (
    Farewell,
    Inbound,
    OpenId,
    Outbound,
    PeopleBook,
    Sealer,
    TryCounter,
)
from lightwell.domain.people.provider_secrets import opened
from lightwell.domain.people.providers import IdentityProvider, Proven, local_path
from lightwell.domain.people.tokens import TokenKind, digest, new_token
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Conflict, Invalid, Missing

KIND: Final = "openid"
SIGNED_OUT: Final = "signed-out"  # comes back as `state`, by which the sign-in page says so
CODE_LIMIT: Final = 4096


@dataclass(frozen=True, slots=True)
class Departure:
    """Where a browser goes, and what it has to bring back in a cookie to be known again."""

    address: str
    browser: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """What a browser brings back, as it came: texts of whoever made the address (RFC 6749 4.1.2, RFC 9207).

    `error` is looked at and never shown.
    """

    state: str = field(repr=False)
    code: str = field(default="", repr=False)
    error: str = ""
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody is signed in; `to` is where they wanted to go, '' for nowhere in particular."""

    signed_in: SignedIn
    to: str


@dataclass(frozen=True, slots=True)
class _Sent:
    """What is remembered of a browser while it is away."""

    provider: str
    callback: str
    nonce: str
    verifier: str
    to: str
    browser: str  # digest of the cookie, in hex
    session: str = ""  # of whoever proves again who they are; '' for who signs in
    token: str = ""  # digest of its token, in hex
    at: str = ""  # when they were sent, in seconds since 1970


@dataclass(frozen=True, slots=True)
class _Account:
    """Somebody's account, and what is written of it with their session, where it is new or changed."""

    person: Person
    rows: tuple[object, ...] = ()
    events: tuple[Event, ...] = ()
    records: tuple[AuditRecord, ...] = ()


class ProviderSignIn:
    """Signing in through somebody else who knows who is there."""

    def __init__(
        self,
        book: PeopleBook,
        tries: TryCounter,
        openid: OpenId,
        sealer: Sealer,
        policy: PolicySource,
        committer: Committer,
        clock: Clock,
    ) -> None:
        self._book = book
        self._opening = Opening(book, tries, committer, clock)
        self._openid = openid
        self._sealer = sealer
        self.policy = policy
        self.committer = committer
        self.clock = clock

    async def offered(self, who: Visitor) -> tuple[IdentityProvider, ...]:
        """The providers one can sign in through, by label."""
        there = await self._book.providers(who.tenant)
        return tuple(sorted((p for p in there if p.enabled), key=lambda p: (p.label, p.name)))

    async def begin(self, who: Visitor, name: str, callback: str, to: str = "") -> Departure:
        """Send a browser to a provider. `callback`: our address that it comes back to.

        Raises NotLetIn, TooManyTries, ProviderAway.
        """
        provider = await self._enabled(who, name)
        return await self._depart(who, provider, callback, to)

    @operation(Action.PEOPLE_SESSION_PROVE)
    async def begin_proof(
        self, act: Act, token: str, name: str, callback: str, to: str
    ) -> Departure:
        """Send a browser to the provider of its account, to sign in there once more (step-up).

        `token`: of its session, which goes on under another one when it comes back. Raises Missing for
        who has no account there, TooManyTries, ProviderAway.
        """
        session = await self._opening.own_session(act.context)
        act.about(subject=session.name, detail=f"asked for at provider {name}")
        who = Visitor(act.context.tenant, act.context.origin)
        there = await self._book.providers(who.tenant)
        found = None
        if session.person_id is not None:
            found = await self._book.person_by_id(who.tenant, session.person_id)
        issuer = found[0].issuer if found else ""
        provider = next((p for p in there if p.enabled and p.name == name), None)
        if provider is None or provider.issuer != issuer:
            raise Missing("Your account does not come through such a provider.")
        return await self._depart(who, provider, callback, to, session, token)

    async def _depart(
        self,
        who: Visitor,
        provider: IdentityProvider,
        callback: str,
        to: str,
        session: Session | None = None,
        token: str = "",
    ) -> Departure:
        """`session`, with its token: of whoever has to sign in there once more."""
        await self._opening.started(who)
        verifier = secrets.token_urlsafe(48)  # RFC 7636 4.1: 43 to 128 characters
        nonce, browser = secrets.token_urlsafe(32), new_token(TokenKind.CHALLENGE)
        state = new_token(TokenKind.CHALLENGE)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        again = session is not None
        outbound = Outbound(callback, state, nonce, challenge.rstrip(b"=").decode(), again)
        address = await self._openid.address(provider, outbound)
        sent = _Sent(
            provider.name, callback, nonce, verifier, local_path(to), digest(browser).hex()
        )
        if session is not None:
            now = str(self.clock.now().timestamp())
            sent = replace(sent, session=str(session.session_id), token=digest(token).hex(), at=now)
        body = self._sealer.seal(_packed(sent), _place(who.tenant, state))
        await self._opening.ask(who, KIND, body, state)
        return Departure(address, browser)

    async def arrive(
        self, who: Visitor, name: str, answer: ProviderAnswer, browser: str
    ) -> Arrival:
        """Sign in, or prove again who one is, with what a browser brings back. It is heard once, whatever
        comes of it.

        `browser`: the cookie `begin` gave it. Raises NotLetIn, TooManyTries, ProviderAway.
        """
        # First whether we sent this browser away: an address that any page can name counts nobody out.
        sent = await self._remembered(who, name, answer.state, browser)
        await self._opening.heard(who, "")
        provider = await self._enabled(who, name)
        if answer.error or not 0 < len(answer.code) <= CODE_LIMIT:
            await self._opening.give_back(who)
            said_no = answer.error == "access_denied"  # RFC 6749 4.1.2.1
            raise self._turned(who, provider, Why.CANCELLED if said_no else Why.DECLINED)
        since = float(sent.at) if sent.at else None
        inbound = Inbound(
            sent.callback, answer.code, sent.verifier, sent.nonce, answer.issuer, since
        )
        secret = opened(self._sealer, who.tenant, provider)
        try:
            proven = await self._openid.proven(provider, secret, inbound)
        except Unproved as error:
            raise self._turned(who, provider, Why.UNPROVED, detail=error.reason) from None
        except ProviderAway:
            await self._opening.give_back(who)
            raise
        await self._opening.give_back(who)  # proved: whatever follows, it was no guess
        if sent.session:
            return Arrival(await self._proved_again(who, provider, proven, sent), sent.to)
        return Arrival(await self._let_in(who, provider, proven), sent.to)

    async def way_out(self, over: Bearer, home: Tenant, back: str) -> str | None:
        """Where a browser whose session here has ended goes, to end the one it has with its provider: None
        where it came another way, or where signing out here is all that its provider was set up for.

        `over`: the session, `home`: its tenant, `back`: our sign-in page. Raises ProviderAway: the session
        here has ended, the one there may live on.
        """
        session = await self._book.session(home, over.id)
        if session is None or session.how is not How.OPENID or session.person_id is None:
            return None
        found = await self._book.person_by_id(home, session.person_id)
        issuer = found[0].issuer if found else ""
        for provider in await self._book.providers(home):
            if found and provider.issuer == issuer and provider.enabled and provider.end_session:
                farewell = Farewell(found[0].subject, back, SIGNED_OUT)
                return await self._openid.way_out(provider, farewell)
        return None

    # --- the account ----------------------------------------------------------------------------------

    async def _let_in(self, who: Visitor, provider: IdentityProvider, proven: Proven) -> SignedIn:
        try:
            return await self._opened(who, provider, proven)
        except (
            Conflict
        ):  # signed in for the first time in two windows at once: there is an account now
            return await self._opened(who, provider, proven)

    async def _opened(self, who: Visitor, provider: IdentityProvider, proven: Proven) -> SignedIn:
        account = await self._account(who, provider, proven)
        return await self._opening.open(
            who,
            account.person,
            How.OPENID,
            account.rows,
            proved=False,  # a provider's session answers by itself, also at a desk nobody sits at
            counted=False,  # `arrive` has given it back
            detail=f"{How.OPENID} {provider.name}",
            events=account.events,
            records=account.records,
        )

    async def _proved_again(
        self, who: Visitor, provider: IdentityProvider, proven: Proven, sent: _Sent
    ) -> SignedIn:
        """The session goes on under a new token (A09), as whoever it was before. Raises NotLetIn."""
        now = self.clock.now()
        session = await self._book.session(who.tenant, uuid.UUID(sent.session))
        if session is None or session.ended is not None or now >= session.expires:
            raise self._turned(who, provider, Why.AGAIN)
        known = await self._book.person_of(who.tenant, proven.issuer, proven.subject)
        if known is None or known[0].person_id != session.person_id:
            raise self._turned(who, provider, Why.OTHER, session.name)
        account = await self._account(who, provider, proven)
        fresh, detail = new_token(TokenKind.SESSION), f"{How.OPENID} {provider.name}"
        row = SessionProvedRow(session.session_id, now, bytes.fromhex(sent.token), digest(fresh))
        entry = self._opening.entry(
            who, session.name, Action.PEOPLE_SESSION_PROVE, Outcome.DONE, now, detail
        )
        change = ChangeSet(
            who.tenant, (*account.rows, row), account.events, (*account.records, entry)
        )
        try:
            await self.committer.commit(change)
        except FactsChanged:  # it was ended or proved in another way meanwhile
            raise self._turned(who, provider, Why.AGAIN, session.name) from None
        return SignedIn(fresh, replace(session, proved=now))

    async def _account(self, who: Visitor, provider: IdentityProvider, proven: Proven) -> _Account:
        """The account of somebody proved, with the roles they have there now. Raises NotLetIn, and Conflict
        where it was made a moment ago."""
        roles = provider.roles_of(proven.groups)
        known = await self._book.person_of(who.tenant, proven.issuer, proven.subject)
        if not roles:
            if known is not None:
                await self._strip(who, provider, known[0])
            login = known[0].login if known else _login_of(proven)
            raise self._turned(who, provider, Why.NO_ROLE, login)
        if known is None:
            person = await self._new_person(who, provider, proven, roles)
            row: object = PersonRow(person)
            action, event = Action.PEOPLE_PERSON_ADD, "PersonAdded"
        else:
            if known[0].disabled:
                raise self._turned(who, provider, Why.SHUT, known[0].login)
            person = replace(known[0], roles=roles)
            if known[0].roles == roles:
                return _Account(person)
            row = PersonChangedRow(person.person_id, roles)
            action, event = Action.PEOPLE_PERSON_CHANGE, "PersonChanged"
        return _Account(
            person,
            (row,),
            (Event(event, {"login": person.login}),),
            self._recorded(who, provider, person, action),
        )

    async def _strip(self, who: Visitor, provider: IdentityProvider, person: Person) -> None:
        """Take the roles of somebody whose groups mean nothing here any more, and end their sessions."""
        none = replace(person, roles=frozenset[str]())
        by = f"provider {provider.name}"
        rows = (
            PersonChangedRow(person.person_id, none.roles),
            SessionsEndedRow(self.clock.now(), by, None, person.person_id),
        )
        records = self._recorded(who, provider, none, Action.PEOPLE_PERSON_CHANGE)
        events = (Event("PersonChanged", {"login": person.login}),)
        await self.committer.commit(ChangeSet(who.tenant, rows, events, records))

    async def _new_person(
        self, who: Visitor, provider: IdentityProvider, proven: Proven, roles: frozenset[str]
    ) -> Person:
        """Somebody who is here for the first time. Raises NotLetIn where the login is nobody's or taken,
        Conflict where it is theirs since a moment ago."""
        login = _login_of(proven)
        if not login:
            raise self._turned(who, provider, Why.NO_LOGIN)
        there = await self._book.person(who.tenant, login)
        if there is not None:
            if (there[0].issuer, there[0].subject) == (proven.issuer, proven.subject):
                raise Conflict("The account was made a moment ago.")
            raise self._turned(who, provider, Why.TAKEN, login)
        return Person(
            person_id=uuid.uuid4(),
            login=login,
            name=proven.name[:NAME_LIMIT],
            roles=roles,
            created=self.clock.now(),
            issuer=proven.issuer,
            subject=proven.subject,
        )

    def _recorded(
        self, who: Visitor, provider: IdentityProvider, person: Person, action: Action
    ) -> tuple[AuditRecord, ...]:
        """The record of what a provider's word changed about an account."""
        detail = f"provider {provider.name}: {' '.join(sorted(person.roles)) or 'no role'}"
        now = self.clock.now()
        return (self._opening.entry(who, person.login, action, Outcome.DONE, now, detail),)

    # --- the way there and back -------------------------------------------------------------------------

    async def _enabled(self, who: Visitor, name: str) -> IdentityProvider:
        there = await self._book.providers(who.tenant)
        found = next((each for each in there if each.name == name and each.enabled), None)
        if found is None:
            raise NotLetIn(Why.NO_PROVIDER)
        return found

    async def _remembered(self, who: Visitor, name: str, state: str, browser: str) -> _Sent:
        """What this browser was sent away with, used up. Raises NotLetIn."""
        asked = await self._opening.asked(who, state, KIND)
        if asked is not None:
            sent = _unpacked(self._sealer.unseal(asked.body, _place(who.tenant, state)))
            ours = hmac.compare_digest(digest(browser).hex(), sent.browser)
            if ours and sent.provider == name and await self._opening.use(who, asked):
                return sent
            self._opening.note_refused(who, "", f"provider {name}: {Why.AGAIN}")
        raise NotLetIn(Why.AGAIN)

    def _turned(
        self,
        who: Visitor,
        provider: IdentityProvider,
        why: Why,
        login: str = "",
        *,
        detail: str = "",
    ) -> NotSignedIn:
        """Record that nobody was let in. The login is written down: the provider has proved it."""
        said = f"provider {provider.name}: {why}{f' ({detail})' if detail else ''}"
        self._opening.note_refused(who, login, said)
        return NotLetIn(why)


def _login_of(proven: Proven) -> str:
    """The login of a new account; '' where the claim cannot be one."""
    try:
        return checked_login(proven.login)
    except Invalid:
        return ""


def _place(tenant: Tenant, state: str) -> str:
    return f"{KIND}:{tenant.key}:{digest(state).hex()}"


def _packed(sent: _Sent) -> bytes:
    return json.dumps(astuple(sent)).encode()


def _unpacked(body: bytes) -> _Sent:
    return _Sent(*cast("list[str]", json.loads(body)))
