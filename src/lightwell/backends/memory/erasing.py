"""Erasing a tenant in memory: its tables go, its name and number stay taken."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime

from lightwell.access.context import Tenant
from lightwell.backends.memory.directories import MemoryTenants
from lightwell.backends.memory.index import allowance_of
from lightwell.backends.memory.tables import MemoryDatabase
from lightwell.domain.tenants.erasing import ERASED, Erasure, Figures
from lightwell.domain.tenants.model import no_such_tenant
from lightwell.kernel.errors import Conflict


class MemoryErasures:
    """`domain.tenants.ports.ErasureBook`."""

    def __init__(self, database: MemoryDatabase, directory: MemoryTenants) -> None:
        self._database = database
        self._directory = directory
        self._alone: set[int | None] = set()
        self._exports: list[int] = []

    async def keeps(self, tenant: Tenant) -> Figures:
        """See the port."""
        tables, kept = self._database.of(tenant.key), allowance_of(self._database, tenant.key)
        return Figures(kept.studies, len(tables.instances) + len(tables.qc), kept.bytes)

    async def begin(self, tenant: Tenant, erasure: Erasure) -> Erasure:
        """See the port."""
        if erasure.name not in self._database.erasures:
            if tenant.key not in self._database.suspended:
                raise Conflict(
                    f"The tenant {tenant.name} has been resumed meanwhile.",
                    remedy="Suspend it, and ask again.",
                )
            self._database.erasures[erasure.name] = erasure
            self._directory.mark_erasing(tenant.name)
        return self._database.erasures[erasure.name]

    async def erasures(self) -> tuple[Erasure, ...]:
        """See the port."""
        found = self._database.erasures.values()
        return tuple(sorted(found, key=lambda erasure: (erasure.begun, erasure.name)))

    async def rows(self, erasure: Erasure) -> AsyncIterator[int]:
        """See the port."""
        if erasure.number is None:
            return
        tables = self._database.tenants.pop(erasure.number, None)
        if tables is not None and (count := tables.count()):
            yield count

    async def note(self, erasure: Erasure, gone: int) -> None:
        """See the port."""
        known = self._database.erasures[erasure.name]
        self._database.erasures[erasure.name] = replace(known, gone=known.gone + gone)

    async def bury(self, erasure: Erasure) -> None:
        """See the port."""
        async for _ in self.rows(erasure):
            pass
        self._directory.remove(erasure.name)

    async def finish(self, erasure: Erasure, at: datetime) -> Erasure:
        """See the port."""
        known = self._database.erasures.get(erasure.name)
        if known is None:
            raise no_such_tenant()
        done = replace(known, finished=known.finished or at)
        self._database.erasures[erasure.name] = done
        return done

    async def restore(self, erasure: Erasure) -> None:
        """See the port."""
        if erasure.name in self._database.erasures:
            return
        tenants = await self._directory.tenants()
        there = next((tenant for tenant in tenants if tenant.name == erasure.name), None)
        taken = {tenant.key for tenant in tenants}
        taken |= {known.number for known in self._database.erasures.values() if known.number}
        number = None if erasure.number in taken else erasure.number
        restored = replace(erasure, number=number)
        if there is not None:
            restored = replace(erasure, number=there.key, finished=None)
            if not there.suspended:
                await self._directory.suspend(there, ERASED)
        self._database.erasures[erasure.name] = restored
        self._directory.mark_erasing(erasure.name)

    @contextlib.asynccontextmanager
    async def alone(self, erasure: Erasure) -> AsyncIterator[bool]:
        """See the port."""
        number = erasure.number
        if number in self._alone or number in self._exports:
            yield False
            return
        self._alone.add(number)
        try:
            yield True
        finally:
            self._alone.discard(number)

    @contextlib.asynccontextmanager
    async def exporting(self, tenant: Tenant) -> AsyncIterator[bool]:
        """See the port."""
        if tenant.key in self._alone:
            yield False
            return
        self._exports.append(tenant.key)
        try:
            yield True
        finally:
            self._exports.remove(tenant.key)

    async def is_exported(self, tenant: Tenant) -> bool:
        """See the port."""
        return tenant.key in self._exports
