"""The second front door of the room of tenants: deciding that one is erased.

Deciding is a moment: from then on the tenant is served never again, whatever dies. Carrying it out takes
minutes, and is `workflows/erase_tenant.py`.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from lightwell.access.actions import Action
from lightwell.access.commit import Committer
from lightwell.access.context import Context, Tenant
from lightwell.access.operation import Act, operation
from lightwell.access.ports import PolicySource
from lightwell.domain.tenants.api import Tenants
from lightwell.domain.tenants.erasing import (
    Erasure,
    Figures,
    Obstacle,
    checked_confirmation,
    obstacle,
    said,
)
from lightwell.domain.tenants.model import DEFAULT, checked_reason, no_such_tenant, visible_to
from lightwell.domain.tenants.ports import ErasureBook
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Conflict


@dataclass(frozen=True, slots=True)
class Prospect:
    """What would go, and what forbids it."""

    tenant: Tenant
    keeps: Figures
    obstacle: Obstacle | None


class Erasing:
    """Look at what would go; decide."""

    def __init__(
        self,
        tenants: Tenants,
        book: ErasureBook,
        policy: PolicySource,
        committer: Committer,
        clock: Clock,
    ) -> None:
        self._tenants = tenants
        self._book = book
        self.policy = policy
        self.committer = committer
        self.clock = clock

    @operation(Action.TENANTS_TENANT_LIST)
    async def prospect(self, act: Act, name: str) -> Prospect:
        """What would go with a tenant, which may be suspended. Raises Missing, also for one that is not the
        caller's to see."""
        act.about(subject=name, detail="what erasing it would take")
        seen = visible_to(act.context.actor, await self._tenants.everyone())
        tenant = next((each for each in seen if each.name == name), None)
        if tenant is None:
            raise no_such_tenant()
        forbids = obstacle(tenant, exporting=await self._book.is_exported(tenant))
        return Prospect(tenant, await self._book.keeps(tenant), forbids)

    @operation(Action.TENANTS_TENANT_ERASE)
    async def begin(self, act: Act, name: str, typed: str, reason: str) -> Erasure:
        """Decide that a suspended tenant is erased: from here on there is no way back, and the rest is
        carried out by whoever comes first. Of one that is being erased, or was, what was decided is returned.

        `typed`: the name once more. Asked in the installation's own tenant, whose record keeps it. Raises
        Missing, Invalid, Conflict.

        The row decides, together with that the tenant is still suspended. Until the installation's journal
        says so, too, nothing goes.
        """
        act.about(subject=name)
        checked_confirmation(name, typed)
        reason = checked_reason(reason)
        self._check_home(act.context)
        for known in await self._book.erasures():
            if known.name == name:
                act.about(subject=name, detail="asked again")
                return known
        tenant = await self._tenants.known(name)
        forbids = obstacle(tenant, exporting=await self._book.is_exported(tenant))
        if forbids is not None:
            raise Conflict(forbids.what, remedy=forbids.remedy)
        keeps = await self._book.keeps(tenant)
        erasure = Erasure(
            name=tenant.name,
            number=tenant.key,
            region=tenant.region,
            reason=reason,
            author=str(act.context.actor),
            begun=self.clock.now(),
            kept=keeps,
        )
        act.about(subject=name, detail=f"begun, {said(keeps)}: {reason}")
        begun = await self._book.begin(tenant, erasure)
        await act.commit(())
        return begun

    async def erasures(self) -> tuple[Erasure, ...]:
        """All that were ever begun: for our own work, and operators of this machine."""
        return await self._book.erasures()

    def exporting(self, tenant: Tenant) -> AbstractAsyncContextManager[bool]:
        """See `ErasureBook.exporting`: for whoever writes a tenant out."""
        return self._book.exporting(tenant)

    def _check_home(self, context: Context) -> None:
        if context.tenant.name != DEFAULT:
            raise Conflict(
                "Tenants are erased from the installation's own tenant, whose record keeps it.",
                remedy=f"Go to /t/{DEFAULT} and ask there.",
            )
