"""Tenants in memory: the list, and what suspending one does to its sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lightwell.access.context import Tenant
from lightwell.backends.memory.index import allowance_of
from lightwell.backends.memory.tables import MemoryDatabase
from lightwell.domain.tenants.model import SUSPENSION, Usage, being_erased, erased_name
from lightwell.kernel.errors import Conflict


class MemoryTenants:
    """`domain.tenants.ports.TenantDirectory`, never old."""

    def __init__(self, database: MemoryDatabase, first: tuple[Tenant, ...] = ()) -> None:
        self._database = database
        self.tenant_list = first

    async def tenants(self, *, fresh: bool = False) -> tuple[Tenant, ...]:
        """See the port."""
        return self.tenant_list

    async def create(self, name: str, label: str, aet: str, *, region: str, demo: bool) -> Tenant:
        """See the port."""
        if name in self._database.erasures:
            raise erased_name(name)
        for tenant in self.tenant_list:
            if tenant.name == name:
                return tenant
        if any(aet in (tenant.aet, *tenant.titles) for tenant in self.tenant_list):
            raise Conflict(
                f"The AE title {aet!r} belongs to another tenant.", remedy="Choose another."
            )
        gone = [erasure.number or 0 for erasure in self._database.erasures.values()]
        last = max([*gone, *(tenant.key for tenant in self.tenant_list)], default=0)
        made = Tenant(last + 1, name, label, aet, region, demo)
        self.tenant_list += (made,)
        return made

    async def relabel(self, tenant: Tenant, label: str) -> None:
        """See the port."""
        self._change(tenant, label=label)

    async def brand(self, tenant: Tenant, accent: str, notice: str) -> None:
        """See the port."""
        self._change(tenant, accent=accent, notice=notice)

    async def place(self, tenant: Tenant, zone: str) -> None:
        """See the port."""
        self._change(tenant, zone=zone)

    async def choose_settling(self, tenant: Tenant, settling: str) -> None:
        """See the port."""
        self._change(tenant, settling=settling)

    async def suspend(self, tenant: Tenant, reason: str | None) -> None:
        """See the port."""
        if reason is None and tenant.name in self._database.erasures:
            raise being_erased(tenant.name)
        self._change(tenant, suspended=reason is not None, suspension=reason or "")
        if reason is None:
            self._database.suspended.discard(tenant.key)
            return
        self._database.suspended.add(tenant.key)
        now, tables = datetime.now(UTC), self._database.of(tenant.key)
        for key, record in tables.sessions.items():
            if record.session.ended is None:
                ended = replace(record.session, ended=now)
                tables.sessions.put(key, replace(record, session=ended))
        for opened, opening in tables.openings.items():
            if opening.opening.ended is None:
                over = min(opening.opening.until, now)
                by = "time" if opening.opening.until <= now else SUSPENSION
                shut = replace(opening.opening, ended=over, ended_by=by)
                tables.openings.put(opened, replace(opening, opening=shut))
        tables.publish()

    async def name(self, tenant: Tenant, titles: Sequence[str], hosts: Sequence[str]) -> None:
        """See the port."""
        for other in self.tenant_list:
            theirs = {other.aet, *other.titles}
            if other.key != tenant.key and (
                theirs.intersection(titles) or set(other.hosts).intersection(hosts)
            ):
                raise Conflict(
                    "One of these AE titles and hosts belongs to another tenant.",
                    remedy="Take it away there first.",
                )
        self._change(tenant, titles=tuple(titles), hosts=tuple(hosts))

    async def limit(self, tenant: Tenant, studies: int | None, size: int | None) -> None:
        """See the port."""
        self._database.quotas[tenant.key] = (studies, size)
        self._change(tenant, quota_studies=studies, quota_bytes=size)

    async def usage(self) -> Mapping[int, Usage]:
        """See the port."""
        found = {}
        for key in self._database.tenants:
            kept = allowance_of(self._database, key)
            found[key] = Usage(kept.studies, kept.bytes)
        return found

    def mark_erasing(self, name: str) -> None:
        """It is being erased, if it is there."""
        for tenant in self.tenant_list:
            if tenant.name == name:
                self._change(tenant, erasing=True)

    def remove(self, name: str) -> None:
        """Nothing of it is left."""
        self.tenant_list = tuple(tenant for tenant in self.tenant_list if tenant.name != name)

    def _change(self, tenant: Tenant, **changed: Any) -> None:
        self.tenant_list = tuple(
            replace(one, **changed) if one.key == tenant.key else one for one in self.tenant_list
        )
