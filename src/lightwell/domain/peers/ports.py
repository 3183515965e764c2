"""What the room of peers needs from outside."""

from __future__ import annotations

from typing import Protocol

from lightwell.access.context import Tenant
from lightwell.domain.peers.model import Peer


class PeerBook(Protocol):
    """The registered peers, read anew at each question: a change acts on the next association."""

    async def peer(self, tenant: Tenant, aet: str) -> Peer | None:
        """The peer of that title."""

    async def peers(self, tenant: Tenant) -> tuple[Peer, ...]:
        """All peers of the tenant, by title."""

    async def site_issuer(self, tenant: Tenant, site: str) -> str | None:
        """The issuer a site gives to IDs that name none."""


class Resolver(Protocol):
    """Names to addresses."""

    async def addresses(self, host: str) -> frozenset[str]:
        """Every address the name has now; empty when it has none. Answers within 2 s."""
