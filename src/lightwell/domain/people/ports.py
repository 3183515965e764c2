"""What the room of people needs from outside."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from lightwell.access.context import Tenant
from lightwell.domain.people.model import (
    Bearer,
    Challenge,
    Credentials,
    Link,
    Passkey,
    Person,
    Program,
    Session,
)


class PeopleBook(Protocol):
    """Accounts, keys and sessions as they are now. Raises Unavailable."""

    async def people(self, tenant: Tenant) -> tuple[Person, ...]:
        """All accounts, by login."""

    async def person(self, tenant: Tenant, login: str) -> tuple[Person, Credentials] | None:
        """The account of a folded login."""

    async def person_by_id(
        self, tenant: Tenant, person_id: uuid.UUID
    ) -> tuple[Person, Credentials] | None:
        """The account of that id."""

    async def passkey(self, tenant: Tenant, credential_id: bytes) -> tuple[Person, Passkey] | None:
        """The passkey of that id, and whose it is."""

    async def passkeys(self, tenant: Tenant, person_id: uuid.UUID) -> tuple[Passkey, ...]:
        """A person's passkeys, oldest first."""

    async def programs(self, tenant: Tenant) -> tuple[Program, ...]:
        """All keys, newest first; revoked ones too."""

    async def sessions(self, tenant: Tenant) -> tuple[Session, ...]:
        """Sessions that nobody has ended, newest first; also such as have expired by themselves."""

    async def link(self, tenant: Tenant, digest: bytes) -> Link | None:
        """The link of that digest."""

    async def challenge(self, tenant: Tenant, digest: bytes) -> Challenge | None:
        """What was asked and not answered yet."""

    async def bearer(self, digest: bytes) -> Bearer | None:
        """What stands behind a token, of whichever tenant."""

    async def own_policies(self, tenant: Tenant) -> tuple[tuple[str, str, str, datetime], ...]:
        """The tenant's policies: name, text, author, when."""

    async def support_until(self, tenant: Tenant) -> datetime | None:
        """Until when support is let in, which may be over; None when it is not."""


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
