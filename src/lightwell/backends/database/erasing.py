"""Erasing a tenant: the record of it, and its rows, which go through `erase_rows` (migration 0020)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

import asyncpg

from lightwell.access.context import Tenant
from lightwell.backends.database.pool import Database, connect
from lightwell.backends.database.roles import ConnectionInfo, Role
from lightwell.backends.database.staleness import tell_stale
from lightwell.domain.tenants.erasing import ERASED, Erasure, Figures
from lightwell.domain.tenants.model import no_such_tenant
from lightwell.kernel.errors import Busy, Conflict

if TYPE_CHECKING:
    from lightwell.backends.database.pool import Connection

ROWS = 2000  # at a time: some hundred milliseconds
AGAIN = 20  # times that a tenant is buried before its rows are said to keep coming
_LOCK = 0x45524153  # with the tenant's number: shared by who writes it out, alone for who erases it
_NOBODY = 0  # the number where an erasure has none: all of these take turns

# Every table that has a tenant's rows, also such as a later migration makes, and what each refers to.
_TABLES = """
SELECT c.relname::text AS name,
  ARRAY(SELECT p.relname::text FROM pg_constraint k JOIN pg_class p ON p.oid = k.confrelid
        WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.confrelid <> c.oid) AS parents
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND EXISTS (SELECT FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped)
"""
_KEEPS = """
SELECT s.n AS studies, s.objects + d.objects + q.n AS objects, u.bytes AS bytes
FROM (SELECT count(*) AS n, coalesce(sum(n_instances + n_rejected), 0)::bigint AS objects
      FROM study WHERE tenant = $1) s,
  (SELECT coalesce(sum(n + rejected), 0)::bigint AS objects FROM study_delta WHERE tenant = $1) d,
  (SELECT count(*) AS n FROM qc_item WHERE tenant = $1 AND resolved IS NULL) q,
  (SELECT coalesce(sum(bytes), 0)::bigint AS bytes FROM
     (SELECT bytes FROM tenant_usage WHERE tenant = $1
      UNION ALL SELECT bytes FROM usage_delta WHERE tenant = $1) b) u
"""
_BEGIN = """
INSERT INTO tenant_erasure (name, number, region, reason, author, begun, studies, objects, bytes)
SELECT t.name, t.tenant, $2, $3, $4, $5, $6, $7, $8 FROM tenant t WHERE t.name = $1 AND t.suspended
ON CONFLICT (name) DO NOTHING
"""
# Its number here is that of its rows, if it has any. Another tenant's by now is nobody's of it.
_RESTORE = """
INSERT INTO tenant_erasure (name, number, region, reason, author, begun, studies, objects, bytes, finished)
SELECT $1,
  CASE WHEN t.tenant IS NOT NULL THEN t.tenant
       WHEN EXISTS (SELECT FROM tenant o WHERE o.tenant = $2) THEN NULL
       WHEN EXISTS (SELECT FROM tenant_erasure o WHERE o.number = $2) THEN NULL
       ELSE $2 END,
  $3, $4, $5, $6, $7, $8, $9, CASE WHEN t.tenant IS NULL THEN $10::timestamptz END
FROM (SELECT 1) one LEFT JOIN tenant t ON t.name = $1
ON CONFLICT (name) DO NOTHING
"""
# Looked at, not tried: a lock that is held for a moment would turn an export away.
_EXPORTED = """
SELECT EXISTS (SELECT FROM pg_locks
  WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted AND objsubid = 2
  AND classid::bigint = $1 AND objid::bigint = $2
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


class PostgresErasures:
    """`domain.tenants.ports.ErasureBook`."""

    def __init__(self, info: ConnectionInfo, work: Database) -> None:
        self._info = info
        self._work = work

    async def keeps(self, tenant: Tenant) -> Figures:
        """See the port. From counters: a million studies are counted within a second."""
        async with self._work.session() as connection:
            row = await connection.fetchrow(_KEEPS, tenant.key)
        assert row is not None  # sums are one row
        return Figures(row["studies"], row["objects"], row["bytes"])

    async def begin(self, tenant: Tenant, erasure: Erasure) -> Erasure:
        """See the port."""
        async with self._work.session() as connection, connection.transaction():
            await connection.fetchval(
                "SELECT tenant FROM tenant WHERE name = $1 FOR UPDATE", tenant.name
            )
            await connection.execute(
                _BEGIN,
                erasure.name,
                erasure.region,
                erasure.reason,
                erasure.author,
                erasure.begun,
                erasure.kept.studies,
                erasure.kept.objects,
                erasure.kept.bytes,
            )
            await tell_stale(connection, tenant.key, "")
        for begun in await self.erasures():
            if begun.name == erasure.name:
                return begun
        raise Conflict(
            f"The tenant {tenant.name} has been resumed meanwhile.",
            remedy="Suspend it, and ask again.",
        )

    async def erasures(self) -> tuple[Erasure, ...]:
        """See the port."""
        async with self._work.session() as connection:
            rows = await connection.fetch("SELECT * FROM tenant_erasure ORDER BY begun, name")
        return tuple(_erasure(row) for row in rows)

    async def rows(self, erasure: Erasure) -> AsyncIterator[int]:
        """See the port."""
        if erasure.number is None:
            return
        for table in await self._tables():
            while True:
                async with self._work.session() as connection:
                    count = await _erase(connection, erasure.number, table)
                if not count:
                    break
                yield count

    async def note(self, erasure: Erasure, gone: int) -> None:
        """See the port."""
        async with self._work.session() as connection:
            await connection.execute(
                "UPDATE tenant_erasure SET gone = gone + $2 WHERE name = $1", erasure.name, gone
            )

    async def bury(self, erasure: Erasure) -> None:
        """See the port."""
        if erasure.number is None:
            return
        for _ in range(AGAIN):
            try:
                await self._bury(erasure.number)
            except asyncpg.ForeignKeyViolationError:  # a row came between its table and the tenant
                continue
            return
        raise Busy(
            f"Something still writes for the tenant {erasure.name}.",
            remedy="It is tried again; end what runs with an older version of the program.",
        )

    async def _bury(self, number: int) -> None:
        tables = await self._tables()
        async with self._work.session() as connection, connection.transaction():
            for table in (*tables, "tenant"):
                while await _erase(connection, number, table):
                    pass
            await tell_stale(connection, number, "")

    async def finish(self, erasure: Erasure, at: datetime) -> Erasure:
        """See the port."""
        async with self._work.session() as connection:
            row = await connection.fetchrow(
                "UPDATE tenant_erasure SET finished = coalesce(finished, $2) WHERE name = $1 RETURNING *",
                erasure.name,
                at,
            )
        if row is None:
            raise no_such_tenant()
        return _erasure(row)

    async def restore(self, erasure: Erasure) -> None:
        """See the port."""
        async with self._work.session() as connection, connection.transaction():
            await connection.execute(
                "UPDATE tenant SET suspended = true, suspension = $2 WHERE name = $1 AND NOT suspended",
                erasure.name,
                ERASED,
            )
            await connection.execute(
                _RESTORE,
                erasure.name,
                erasure.number,
                erasure.region,
                erasure.reason,
                erasure.author,
                erasure.begun,
                erasure.kept.studies,
                erasure.kept.objects,
                erasure.kept.bytes,
                erasure.finished,
            )
            if erasure.number is not None:
                await connection.execute("SELECT pass_tenant_number($1)", erasure.number)

    @contextlib.asynccontextmanager
    async def alone(self, erasure: Erasure) -> AsyncIterator[bool]:
        """See the port."""
        async with self._locked("pg_try_advisory_lock", erasure.number or _NOBODY) as alone:
            yield alone

    @contextlib.asynccontextmanager
    async def exporting(self, tenant: Tenant) -> AsyncIterator[bool]:
        """See the port."""
        async with self._locked("pg_try_advisory_lock_shared", tenant.key) as shared:
            yield shared

    async def is_exported(self, tenant: Tenant) -> bool:
        """See the port."""
        async with self._work.session() as connection:
            found: bool = await connection.fetchval(_EXPORTED, _LOCK, tenant.key)
        return found

    @contextlib.asynccontextmanager
    async def _locked(self, function: str, number: int) -> AsyncIterator[bool]:
        """A lock on a connection of its own: it goes when the process dies, or the connection."""
        connection = await connect(self._info, Role.WORK)
        try:
            yield await connection.fetchval(f"SELECT {function}($1, $2)", _LOCK, number)
        finally:
            with contextlib.suppress(Exception):  # it may be gone, and the lock with it
                await connection.close(timeout=5)

    async def _tables(self) -> list[str]:
        """Tables with a tenant's rows, those that refer to others first."""
        async with self._work.session() as connection:
            found = await connection.fetch(_TABLES)
        parents = {row["name"]: row["parents"] for row in found}
        order = [name for name in TopologicalSorter(parents).static_order() if name in parents]
        return [name for name in reversed(order) if name != "tenant"]


async def _erase(connection: Connection, number: int, table: str) -> int:
    count: int = await connection.fetchval("SELECT erase_rows($1, $2, $3)", number, table, ROWS)
    return count


def _erasure(row: asyncpg.Record) -> Erasure:
    return Erasure(
        name=row["name"],
        number=row["number"],
        region=row["region"],
        reason=row["reason"],
        author=row["author"],
        begun=row["begun"],
        kept=Figures(row["studies"], row["objects"], row["bytes"]),
        gone=row["gone"],
        finished=row["finished"],
    )
