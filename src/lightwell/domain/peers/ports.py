"""What the room of peers needs from outside."""

from __future__ import annotations

from typing import Protocol

from lightwell.access.context import Tenant
from lightwell.domain.peers.model import DoorSeen, Peer, Probed


class PeerBook(Protocol):
    """The registered peers, read anew at each question: a change acts on the next association."""

    async def peer(self, tenant: Tenant, aet: str) -> Peer | None:
        """The peer of that title."""

    async def peers(self, tenant: Tenant) -> tuple[Peer, ...]:
        """All peers of the tenant, by title."""

    async def holders(self, certificate: str) -> frozenset[tuple[int, str]]:
        """(tenant, title) of each peer of any tenant that this certificate is, shut out or not: asked
        before a caller is believed."""

    async def site_issuer(self, tenant: Tenant, site: str) -> str | None:
        """The issuer a site gives to IDs that name none."""


class Resolver(Protocol):
    """Names to addresses."""

    async def addresses(self, host: str) -> frozenset[str]:
        """Every address the name has now; empty when it has none. Answers within 2 s."""


class Probe(Protocol):
    """Calls a peer under our own title. Never raises for what the peer or the network does."""

    async def echo(self, peer: Peer, calling: str) -> Probed:
        """C-ECHO (PS3.4 Annex A). Raises Busy when too many are under way."""

    async def store(self, peer: Peer, calling: str) -> Probed:
        """C-STORE of one small image that is no patient's (PS3.4 Annex B). Raises Busy, as `echo`."""


class DoorBook(Protocol):
    """What all doors count together."""

    async def seen(self) -> DoorSeen:
        """Since the start of the server, of the machines heard of last. Raises Unavailable."""
