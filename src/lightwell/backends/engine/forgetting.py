"""What the engine keeps of a tenant's runs, removed: for whoever erases the tenant."""

from __future__ import annotations

import asyncio

from lightwell.backends.database.pool import Database
from lightwell.backends.database.roles import ConnectionInfo
from lightwell.backends.engine.schema import SCHEMA


class EngineRuns:
    """`workflows.erase_tenant.TenantRuns`."""

    def __init__(self, info: ConnectionInfo, work: Database) -> None:
        self._info = info
        self._work = work

    async def forget(self, number: int) -> int:
        """See the port. Where no worker has ever run, the engine keeps nothing."""
        async with self._work.session() as connection:
            there = await connection.fetchval(
                "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE n.nspname = $1)",
                SCHEMA,
            )
        return await asyncio.to_thread(self._forget, number) if there else 0

    def _forget(self, number: int) -> int:
        # Here: the engine's library takes half a second to load, and where it never ran it is not wanted.
        from lightwell.backends.engine.desk import Desk

        desk = Desk(self._info)
        try:
            return desk.forget_tenant(number)
        finally:
            desk.close()
