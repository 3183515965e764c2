"""The sequencer: dense positions for the change feed, and the chain over the audit records.

Events and audit records are inserted without a position (a sequence taken inside the transaction would
make a tenant's writers queue, and a bigserial is not commit order). One sequencer a database, under an
advisory lock, gives all rows below the oldest running transaction their place, every 100 ms:
`seq = first_seq + rank of (xid, id)` within its batch. Nothing is updated, only batches are inserted.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging

import asyncpg

from lightwell.backends.database.pool import connect, wrapped
from lightwell.backends.database.roles import ConnectionInfo, Role
from lightwell.kernel.errors import LightwellError

log = logging.getLogger("lightwell.sequencer")

PERIOD_SECONDS = 0.1
TAKEOVER_SECONDS = 1.0
LOCK = 0x5345515545
GENESIS = bytes(32)

_EVENTS = """
INSERT INTO feed_batch (tenant, first_seq, n, w_from, w_to)
SELECT e.tenant,
       coalesce((SELECT f.first_seq + f.n FROM feed_batch f WHERE f.tenant = e.tenant
                 ORDER BY f.first_seq DESC LIMIT 1), 1),
       e.n, $1::text::xid8, $2::text::xid8
FROM (SELECT tenant, count(*)::int AS n FROM event
      WHERE xid >= $1::text::xid8 AND xid < $2::text::xid8 GROUP BY tenant) e
"""
_LEAVES = """
SELECT tenant, leaf FROM audit WHERE xid >= $1::text::xid8 AND xid < $2::text::xid8
ORDER BY tenant, xid, audit_id
"""
_HEAD = """
SELECT first_seq + n AS next, head FROM audit_batch WHERE tenant = $1
ORDER BY first_seq DESC LIMIT 1
"""


class Sequencer:
    """Run by the `work` role; another one waits for the lock and takes over when this one dies."""

    def __init__(self, info: ConnectionInfo) -> None:
        self._info = info
        self.steps = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop. A lost connection is made again."""
        while not stop.is_set():
            try:
                connection = await connect(self._info, Role.WORK)
            except LightwellError:
                await _pause(stop, TAKEOVER_SECONDS)
                continue
            try:
                await self._hold(connection, stop)
            except (
                LightwellError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                OSError,
                TimeoutError,
            ) as error:
                log.warning("sequencer lost its connection: %s", type(error).__name__)
                await _pause(stop, TAKEOVER_SECONDS)
            finally:
                connection.terminate()

    async def _hold(
        self, connection: asyncpg.Connection[asyncpg.Record], stop: asyncio.Event
    ) -> None:
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
            await _pause(stop, TAKEOVER_SECONDS)
            if stop.is_set():
                return
        while not stop.is_set():
            await step(connection)
            self.steps += 1
            await _pause(stop, PERIOD_SECONDS)
        await step(connection)


async def step(connection: asyncpg.Connection[asyncpg.Record]) -> int:
    """One batch; returns how many events and audit records got their place."""
    with wrapped():
        async with connection.transaction(isolation="repeatable_read"):
            marks = await connection.fetchrow(
                "SELECT watermark::text AS a, pg_snapshot_xmin(pg_current_snapshot())::text AS b"
                " FROM sequencer"
            )
            if marks is None or int(marks["a"]) >= int(marks["b"]):
                return 0
            a, b = marks["a"], marks["b"]
            placed = int((await connection.execute(_EVENTS, a, b)).split()[-1])
            placed += await _chain(connection, a, b)
            if placed:
                await connection.execute("UPDATE sequencer SET watermark = $1::text::xid8", b)
            return placed


async def _chain(connection: asyncpg.Connection[asyncpg.Record], a: str, b: str) -> int:
    """Hash the new leaves onto each tenant's chain, in the order of their places."""
    leaves: dict[int, list[bytes]] = {}
    for row in await connection.fetch(_LEAVES, a, b):
        leaves.setdefault(row["tenant"], []).append(row["leaf"])
    for tenant, chain in leaves.items():
        last = await connection.fetchrow(_HEAD, tenant)
        first, head = (last["next"], last["head"]) if last else (1, GENESIS)
        await connection.execute(
            "INSERT INTO audit_batch (tenant, first_seq, n, w_from, w_to, head)"
            " VALUES ($1, $2, $3, $4::text::xid8, $5::text::xid8, $6)",
            tenant,
            first,
            len(chain),
            a,
            b,
            chained(head, chain),
        )
    return sum(len(chain) for chain in leaves.values())


def chained(head: bytes, leaves: list[bytes]) -> bytes:
    """The head after these leaves: SHA-256(0x01 | head | leaf), one after the other."""
    for leaf in leaves:
        head = hashlib.sha256(b"\x01" + head + leaf).digest()
    return head


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
