"""The front door for machines and programs before there is a context: keys, tokens for keys, signed tokens.

Nothing here is an operation, as in `sign_in_api`. A program proves who it is with its key, or with a token it
was given for it; a person at a machine with what their identity provider signed. Passwords are not heard
here: a machine has no second factor. Whatever was wrong costs and answers the same.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime

from lightwell.access.actions import Action
from lightwell.access.audit import AuditRecord, Outcome, record
from lightwell.access.commit import ChangeSet, Committer
from lightwell.access.context import Actor, ActorKind, Context, Tenant
from lightwell.access.ports import PolicySource
from lightwell.domain.people.errors import (
    NotSignedIn,
    ProviderAway,
    ScopeTooWide,
    Unproved,
)
from lightwell.domain.people.model import (
    ACCESS_LIFE,
    AccessTokenRow,
    Bearer,
    BearerKind,
    folded_login,
    judge,
    narrowed,
)
from lightwell.domain.people.opening import Opening, Visitor
from lightwell.domain.people.ports import OpenId, PeopleBook, TryCounter
from lightwell.domain.people.tokens import TokenKind, digest, is_token, new_token
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Named:
    """Who a machine speaks for, as it was proved. `until`: so long what proved it says so. `subject`: of a
    program its bearer, of a person the account."""

    actor: Actor
    until: datetime
    subject: Bearer | uuid.UUID = field(repr=False)


@dataclass(frozen=True, slots=True)
class Issued:
    """A token for a key. `seconds` it is good; `scopes`: none stands for all that the key's roles may."""

    token: str = field(repr=False)
    seconds: int
    scopes: frozenset[str]


class MachineSignIn:
    """Which program, or which person at a machine, is there?"""

    def __init__(
        self,
        book: PeopleBook,
        tries: TryCounter,
        openid: OpenId,
        policy: PolicySource,
        committer: Committer,
        clock: Clock,
    ) -> None:
        self._book = book
        self._openid = openid
        self._opening = Opening(book, tries, committer, clock)
        self.policy = policy
        self.committer = committer
        self.clock = clock

    # --- programs -------------------------------------------------------------------------------------

    async def by_key(self, who: Visitor, name: str, secret: str) -> Named:
        """A program of the tenant by its name or id, and its key or a token for it.

        Raises NotSignedIn, TooManyTries.
        """
        bearer = await self._program(who, name, secret, TokenKind.KEY, TokenKind.ACCESS)
        actor = Actor(
            ActorKind.PROGRAM,
            bearer.name,
            home=who.tenant.name,
            roles=bearer.roles,
            scopes=bearer.scopes,
        )
        self._note(who, actor, Outcome.DONE, "key")
        return Named(actor, bearer.expires, bearer)

    async def token(
        self, who: Visitor, name: str, secret: str, scopes: frozenset[str] = frozenset()
    ) -> Issued:
        """A token for a key (RFC 6749 4.4): for a quarter of an hour, no longer and no wider than the key.

        Raises NotSignedIn, TooManyTries, ScopeTooWide.
        """
        key = await self._program(who, name, secret, TokenKind.KEY)
        actor = Actor(ActorKind.PROGRAM, key.name, home=who.tenant.name, roles=key.roles)
        given = narrowed(key.scopes, scopes)
        if given is None:
            self._note(who, actor, Outcome.REFUSED, "token: scope too wide")
            raise ScopeTooWide
        await self._opening.issued(who, key.id)
        now = self.clock.now()
        expires = min(now + ACCESS_LIFE, key.expires)
        token = new_token(TokenKind.ACCESS)
        row = AccessTokenRow(digest(token), key.id, given, now, expires)
        entry = self._entry(who, actor, Outcome.DONE, f"token {' '.join(sorted(given))}".strip())
        await self.committer.commit(ChangeSet(who.tenant, (row,), (), (entry,)))
        return Issued(token, int((expires - now).total_seconds()), given)

    async def _program(self, who: Visitor, name: str, secret: str, *kinds: TokenKind) -> Bearer:
        called = folded_login(name)[:64]
        await self._opening.heard(who, called)
        bearer = await self._book.bearer(digest(secret)) if is_token(secret, *kinds) else None
        if (
            bearer is None
            or bearer.kind is not BearerKind.PROGRAM
            or bearer.tenant != who.tenant.key
            or judge(bearer, self.clock.now()) is not None
            or called not in (folded_login(bearer.name)[:64], str(bearer.id))
        ):
            raise self._refusal(who, "key")
        await self._opening.forget(who, called)
        await self._opening.give_back(who)
        return bearer

    # --- people at a machine ----------------------------------------------------------------------------

    async def by_signed_token(self, who: Visitor, token: str) -> Named:
        """A person of the tenant by what one of its identity providers signed: (issuer, subject) of an
        account that is there. Its roles, as far as the groups in the token still mean them.

        Raises NotSignedIn, TooManyTries, ProviderAway.
        """
        await self._opening.heard(who, "")
        providers = await self._book.providers(who.tenant)
        trusted = tuple(provider for provider in providers if provider.enabled)
        try:
            vouched = await self._openid.vouched(trusted, token)
        except Unproved as error:
            raise self._refusal(who, f"signed token: {error.reason}") from None
        except ProviderAway:
            await self._opening.give_back(who)
            raise
        proven = vouched.proven
        found = await self._book.person_of(who.tenant, proven.issuer, proven.subject)
        if found is None or found[0].disabled:
            raise self._refusal(who, f"signed token of {vouched.provider.name}: no account")
        person = found[0]
        roles = person.roles & vouched.provider.roles_of(proven.groups)
        actor = Actor(ActorKind.PERSON, person.login, home=who.tenant.name, roles=roles)
        if not roles:
            self._note(who, actor, Outcome.REFUSED, "signed token: no role")
            raise NotSignedIn
        await self._opening.give_back(who)
        self._note(who, actor, Outcome.DONE, f"signed token of {vouched.provider.name}")
        return Named(actor, vouched.until, person.person_id)

    # --- afterwards -------------------------------------------------------------------------------------

    async def unchanged(self, tenant: Tenant, named: Named) -> bool:
        """Whether who was recognised a while ago still may what they might: asked again while they work."""
        try:
            if isinstance(named.subject, Bearer):
                bearer = await self._book.standing(named.subject)
                good = bearer is not None and judge(bearer, self.clock.now()) is None
                return good and bearer is not None and bearer.roles == named.actor.roles
            found = await self._book.person_by_id(tenant, named.subject)
        except Unavailable:
            return True  # what was begun is read to its end (reliability 3.8); nothing new is
        return found is not None and not found[0].disabled and named.actor.roles <= found[0].roles

    # --- the record -------------------------------------------------------------------------------------

    def _refusal(self, who: Visitor, detail: str) -> NotSignedIn:
        """Record a try that failed; what to raise. The name is not written down: it may be a secret in the
        wrong field."""
        nobody = Actor(ActorKind.PROGRAM, "unknown")
        self._note(who, nobody, Outcome.REFUSED, detail)
        return NotSignedIn("Who it is was not proved.")

    def _note(self, who: Visitor, actor: Actor, outcome: Outcome, detail: str) -> None:
        entry = self._entry(who, actor, outcome, detail)
        self.committer.note(ChangeSet(who.tenant, (), (), (entry,)))

    def _entry(self, who: Visitor, actor: Actor, outcome: Outcome, detail: str) -> AuditRecord:
        context = Context(who.tenant, actor, channel=who.channel, origin=who.origin)
        subject = "" if outcome is Outcome.REFUSED and actor.name == "unknown" else actor.name
        now = self.clock.now()
        return record(
            context, Action.PEOPLE_SESSION_OPEN, outcome, now, subject=subject, detail=detail
        )
