"""What the room of tenants needs from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from lightwell.access.context import Tenant
from lightwell.domain.tenants.erasing import Erasure, Figures
from lightwell.domain.tenants.model import Usage


class TenantDirectory(Protocol):
    """The list of tenants: small, read before a tenant is known, cached no longer than a second."""

    async def tenants(self, *, fresh: bool = False) -> tuple[Tenant, ...]:
        """All tenants, oldest first; `fresh` when a cached answer missed one. Raises Unavailable."""

    async def create(self, name: str, label: str, aet: str, *, region: str, demo: bool) -> Tenant:
        """Add one, or return the existing one of that name. Raises Conflict when the AE title is taken, or
        the name was that of a tenant that is erased."""

    async def relabel(self, tenant: Tenant, label: str) -> None:
        """Keep another name shown to people."""

    async def brand(self, tenant: Tenant, accent: str, notice: str) -> None:
        """Keep another accent and another notice of the sign-in page; '' for none."""

    async def place(self, tenant: Tenant, zone: str) -> None:
        """Keep which time zone a tenant is in; '' for that of the machine."""

    async def suspend(self, tenant: Tenant, reason: str | None) -> None:
        """Serve it no longer and end its sessions and what is open by break-glass; None: serve it again.

        Every process hears of it at once, as of changed policies. Raises Conflict when one that is being
        erased is to be served again, Missing when it is gone.
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


class ErasureBook(Protocol):
    """Which tenants are erased, and their rows going. Raises Unavailable."""

    async def keeps(self, tenant: Tenant) -> Figures:
        """What it keeps now."""

    async def begin(self, tenant: Tenant, erasure: Erasure) -> Erasure:
        """Remember that it is being erased; every process hears of it. One that was begun before stays as it
        is, and is returned. Raises Conflict unless it is suspended at this moment."""

    async def erasures(self) -> tuple[Erasure, ...]:
        """All that were ever begun, oldest first."""

    def rows(self, erasure: Erasure) -> AsyncIterator[int]:
        """Delete its rows, what refers to others first, some thousands at a time; how many each time."""

    async def note(self, erasure: Erasure, gone: int) -> None:
        """So many more objects of the store are deleted."""

    async def bury(self, erasure: Erasure) -> None:
        """Delete the tenant itself, with rows that came meanwhile: all or nothing. Name and number stay
        taken. Raises Busy where rows keep coming. Repeatable."""

    async def finish(self, erasure: Erasure, at: datetime) -> Erasure:
        """Nothing of it is left."""

    async def restore(self, erasure: Erasure) -> None:
        """Remember what the journal says, in a database made anew. One that has a tenant of that name all the
        same is not finished, and the tenant is suspended. What is known already stays."""

    def alone(self, erasure: Erasure) -> AbstractAsyncContextManager[bool]:
        """Whether nobody else erases it or writes it out, for as long as the block lasts. Ends with the
        process."""

    def exporting(self, tenant: Tenant) -> AbstractAsyncContextManager[bool]:
        """Say for the length of the block that it is being written out; False when it is being erased by
        somebody. Several may. Ends with the process."""

    async def is_exported(self, tenant: Tenant) -> bool:
        """Whether somebody is writing it out now."""
