"""What the room of tenants needs from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from lightwell.access.context import Tenant
from lightwell.domain.tenants.model import Usage


class TenantDirectory(Protocol):
    """The list of tenants: small, read before a tenant is known, cached no longer than a second."""

    async def tenants(self, *, fresh: bool = False) -> tuple[Tenant, ...]:
        """All tenants, oldest first; `fresh` when a cached answer missed one. Raises Unavailable."""

    async def create(self, name: str, label: str, aet: str, *, region: str, demo: bool) -> Tenant:
        """Add one, or return the existing one of that name. Raises Conflict when the AE title is taken."""

    async def relabel(self, tenant: Tenant, label: str) -> None:
        """Keep another name shown to people."""

    async def brand(self, tenant: Tenant, accent: str, notice: str) -> None:
        """Keep another accent and another notice of the sign-in page; '' for none."""

    async def place(self, tenant: Tenant, zone: str) -> None:
        """Keep which time zone a tenant is in; '' for that of the machine."""

    async def suspend(self, tenant: Tenant, reason: str | None) -> None:
        """Serve it no longer and end its sessions and what is open by break-glass; None: serve it again.

        Every process hears of it at once, as of changed policies.
        """

    async def name(self, tenant: Tenant, titles: Sequence[str], hosts: Sequence[str]) -> None:
        """Keep by what it is called besides its first title. Raises Conflict when one of them is another's;
        then nothing is changed."""

    async def limit(self, tenant: Tenant, studies: int | None, size: int | None) -> None:
        """Keep how many studies and bytes it may keep from now on; None: no limit."""

    async def usage(self) -> Mapping[int, Usage]:
        """What each tenant keeps, by its key."""

    async def choose_settling(self, tenant: Tenant, settling: str) -> None:
        """Keep how a tenant's quiet series are packed from now on."""
