"""What the room of people needs from outside."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from lightwell.access.context import Tenant
from lightwell.access.sight import Facts, Standing
from lightwell.domain.people.errors import Step
from lightwell.domain.people.glass import Opening, QueueCounts, Which
from lightwell.domain.people.model import (
    Bearer,
    Challenge,
    Credentials,
    Limit,
    Link,
    Passkey,
    Person,
    Program,
    Relation,
    Session,
)
from lightwell.domain.people.providers import IdentityProvider, Proven


class PeopleBook(Protocol):
    """Accounts, keys and sessions as they are now. Raises Unavailable."""

    async def people(self, tenant: Tenant) -> tuple[Person, ...]:
        """All accounts, by login."""

    async def has_administrator(self, tenant: Tenant) -> bool:
        """Whether an account of the tenant's own, not of a provider and not shut, is an administrator."""

    async def person(self, tenant: Tenant, login: str) -> tuple[Person, Credentials] | None:
        """The account of a folded login."""

    async def person_by_id(
        self, tenant: Tenant, person_id: uuid.UUID
    ) -> tuple[Person, Credentials] | None:
        """The account of that id."""

    async def person_of(
        self, tenant: Tenant, issuer: str, subject: str
    ) -> tuple[Person, Credentials] | None:
        """The account that a provider calls by that subject."""

    async def passkey(self, tenant: Tenant, credential_id: bytes) -> tuple[Person, Passkey] | None:
        """The passkey of that id, and whose it is."""

    async def passkeys(self, tenant: Tenant, person_id: uuid.UUID) -> tuple[Passkey, ...]:
        """A person's passkeys, oldest first."""

    async def programs(self, tenant: Tenant) -> tuple[Program, ...]:
        """All keys, newest first; revoked ones too."""

    async def program(self, tenant: Tenant, program_id: uuid.UUID) -> Program | None:
        """The key of that id, revoked or not."""

    async def sessions(self, tenant: Tenant, name: str | None = None) -> tuple[Session, ...]:
        """Sessions that nobody has ended, newest first; also such as have expired by themselves. All, or all
        of a name."""

    async def count_sessions(self, tenant: Tenant, name: str | None, but: uuid.UUID | None) -> int:
        """How many those are, without that one."""

    async def session(self, tenant: Tenant, session_id: uuid.UUID) -> Session | None:
        """The session of that id, ended or not."""

    async def link(self, tenant: Tenant, digest: bytes) -> Link | None:
        """The link of that digest."""

    async def challenge(self, tenant: Tenant, digest: bytes) -> Challenge | None:
        """What was asked and not answered yet."""

    async def bearer(self, digest: bytes) -> Bearer | None:
        """What stands behind a token, of whichever tenant; with what it has opened."""

    async def certificates(self, tenant: Tenant) -> tuple[tuple[uuid.UUID, str], ...]:
        """(program, fingerprint) of every certificate that a program comes with."""

    async def has_certificate(self, tenant: Tenant, digest: bytes) -> bool:
        """Whether a program of the tenant comes with the certificate of that digest."""

    async def standing(self, bearer: Bearer) -> Bearer | None:
        """The same session or program as it is now, whatever its token is meanwhile."""

    async def providers(self, tenant: Tenant) -> tuple[IdentityProvider, ...]:
        """The tenant's identity providers, by name; those that are switched off, too."""

    async def own_policies(self, tenant: Tenant) -> tuple[tuple[str, str, str, datetime], ...]:
        """The tenant's policies: name, text, author, when."""

    async def relations(self, tenant: Tenant, person_id: uuid.UUID) -> tuple[Relation, ...]:
        """All that somebody is to patients and studies, by kind and name."""

    async def is_related(self, tenant: Tenant, person_id: uuid.UUID, relation: Relation) -> bool:
        """Whether somebody is that to a patient or study."""

    async def limits(self, tenant: Tenant, person_id: uuid.UUID) -> dict[Limit, frozenset[str]]:
        """What somebody is limited to; a sort without limit has no entry."""

    async def support_until(self, tenant: Tenant) -> datetime | None:
        """Until when support is let in, which may be over; None when it is not."""


class StudyFacts(Protocol):
    """What is so of a study and somebody: the archive knows."""

    async def facts(self, tenant: Tenant, study_uid: str, standing: Standing) -> Facts | None:
        """The facts that policies are told of; None when there is no such study."""


class GlassBook(Protocol):
    """What was opened in emergencies. Raises Unavailable."""

    async def of_session(self, tenant: Tenant, session_id: uuid.UUID) -> tuple[Opening, ...]:
        """What a session has opened and nobody has ended; also such as is over by its time."""

    async def opening(self, tenant: Tenant, opening_id: uuid.UUID) -> Opening | None:
        """The opening of that id."""

    async def openings(
        self, tenant: Tenant, which: Which, limit: int, before: uuid.UUID | None
    ) -> tuple[Opening, ...]:
        """Newest first; `before`: only what is older than that one."""

    async def counts(self, tenant: Tenant, now: datetime) -> QueueCounts:
        """How the queue is doing."""


class TryCounter(Protocol):
    """Counts tries to sign in, for all processes together."""

    async def attempt(
        self, tenant: Tenant, key: bytes, now: datetime, delays: tuple[float, ...], window: float
    ) -> datetime | None:
        """Count one try and say None; or, when it comes too early, count nothing and say until when.

        `delays[n - 1]`: seconds after the n-th try until the next; tries are counted anew when the
        first of them is `window` seconds old. One step, also for two at once.
        """

    async def give_back(self, tenant: Tenant, key: bytes, now: datetime) -> None:
        """The last try was none: a whole hospital signs in from one address."""

    async def forget(self, tenant: Tenant, key: bytes) -> None:
        """It went well: count from the beginning."""


class Hasher(Protocol):
    """Slow hashing of passwords, a few at a time."""

    async def hashed(self, password: str) -> str:
        """The encoded hash. Raises Busy when too many wait."""

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Whether it is the password. `None`: costs the same, and is not."""

    def outdated(self, encoded: str) -> bool:
        """Whether it was hashed at a lower cost than today's."""


class Sealer(Protocol):
    """Keeps small secrets that have to be read again. `place` binds a sealed one to where it belongs."""

    def seal(self, secret: bytes, place: str) -> bytes:
        """The secret, sealed."""

    def unseal(self, sealed: bytes, place: str) -> bytes:
        """The secret. Raises Broken when it was sealed elsewhere or for another place."""


@dataclass(frozen=True, slots=True)
class Site:
    """The web site a browser is at: what a passkey is bound to. `name` is a domain, never an address."""

    origin: str
    name: str


class PasskeyCeremonies(Protocol):
    """WebAuthn Level 3 as relying party: user verification required, no attestation asked for."""

    def creation(
        self, site: Site, person: Person, tenant: Tenant, known: tuple[Passkey, ...]
    ) -> tuple[dict[str, Any], bytes]:
        """Options for `navigator.credentials.create`, and the challenge in them."""

    def created(self, site: Site, challenge: bytes, answer: dict[str, Any]) -> Passkey:
        """The new passkey. Raises Refused for an answer that is not one to this challenge and site."""

    def request(self, site: Site) -> tuple[dict[str, Any], bytes]:
        """Options for `navigator.credentials.get`: whoever has a passkey here, without a login."""

    def credential_id(self, answer: dict[str, Any]) -> bytes:
        """Which passkey an answer claims to be of. Raises Refused."""

    def signed(self, site: Site, challenge: bytes, answer: dict[str, Any], passkey: Passkey) -> int:
        """The passkey's new counter. Raises Refused."""


@dataclass(frozen=True, slots=True)
class Outbound:
    """What a browser takes to a provider. `challenge`: of PKCE, S256 (RFC 7636 4.2). `again`: whoever is
    signed in there has to sign in once more (OpenID Connect Core 3.1.2.1, prompt and max_age)."""

    callback: str
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    challenge: str = field(repr=False)
    again: bool = False


@dataclass(frozen=True, slots=True)
class Inbound:
    """What came back, and what only we know of it. `issuer`: of RFC 9207, None where it was not sent.
    `since` (seconds since 1970): when somebody was asked to sign in there once more."""

    callback: str
    code: str = field(repr=False)
    verifier: str = field(repr=False)
    nonce: str = field(repr=False)
    issuer: str | None = None
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one part of a connection, in words of ours."""

    step: Step
    good: bool
    text: str


@dataclass(frozen=True, slots=True)
class Vouched:
    """Somebody of whom a token said who they are that came by itself, and until when it says so."""

    provider: IdentityProvider
    proven: Proven
    until: datetime


@dataclass(frozen=True, slots=True)
class Farewell:
    """What a browser takes to a provider to end its session there, too (OpenID Connect RP-Initiated Logout
    1.0, 2). No ID token: none is kept. `subject`: whom the provider knows, as a hint; `back`: where it sends
    them afterwards, with `state`; '' where we do not know our own address."""

    subject: str = field(repr=False)
    back: str
    state: str


class OpenId(Protocol):
    """OpenID Connect Core 1.0 as relying party: authorization code with PKCE.

    Every call has a deadline and a limit. Raises ProviderAway with the part that fails, Unproved for an
    answer that is not what the protocol demands.
    """

    async def address(self, provider: IdentityProvider, outbound: Outbound) -> str:
        """Where the browser goes: the provider's authorization endpoint with everything in it."""

    async def proven(
        self, provider: IdentityProvider, secret: str | None, inbound: Inbound
    ) -> Proven:
        """Who it is: the code exchanged, the ID token checked, what it leaves out asked for."""

    async def way_out(self, provider: IdentityProvider, farewell: Farewell) -> str | None:
        """Where a browser ends its session with the provider; None where it names no address for that which
        we may send anybody to. Raises ProviderAway within a few seconds: somebody waits to leave."""

    async def vouched(self, providers: tuple[IdentityProvider, ...], token: str) -> Vouched:
        """Who a signed token is of, that one of these providers gave for us to somebody else."""

    async def examine(self, provider: IdentityProvider, secret: str | None) -> tuple[Finding, ...]:
        """Look at each part of the connection in turn, until one fails. Never raises for what it finds."""
