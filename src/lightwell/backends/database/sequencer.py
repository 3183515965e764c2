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

from lightwell.backends.database.pool import FAILURES, connect, wrapped
from lightwell.backends.database.roles import ConnectionInfo, Role
from lightwell.kernel.errors import LightwellError

log = logging.getLogger("lightwell.sequencer")

PERIOD_SECONDS = 0.1
TAKEOVER_SECONDS = 1.0
LOCK = 0x5345515545
GENESIS = bytes(32)

# All transactions below the mark have ended: whatever is asked later, the rows between two marks are the
# same ones. So only the last statement changes anything, and no transaction is needed around the three.
_MARKS = """
SELECT m.a::text AS a, m.b::text AS b
FROM (SELECT watermark AS a, pg_snapshot_xmin(pg_current_snapshot()) AS b FROM sequencer) m
WHERE EXISTS (SELECT FROM event e WHERE e.xid >= m.a AND e.xid < m.b)
   OR EXISTS (SELECT FROM audit l WHERE l.xid >= m.a AND l.xid < m.b)
"""
_LEAVES = """
SELECT l.tenant, l.leaves, coalesce(h.next, 1) AS first, h.head
FROM (SELECT tenant, array_agg(leaf ORDER BY xid, audit_id) AS leaves FROM audit
      WHERE xid >= $1::text::xid8 AND xid < $2::text::xid8 GROUP BY tenant) l
LEFT JOIN LATERAL (SELECT first_seq + n AS next, head FROM audit_batch WHERE tenant = l.tenant
                   ORDER BY first_seq DESC LIMIT 1) h ON true
"""
# Nothing is placed unless the watermark is still the one that was read: two sequencers cannot both.
_PLACE = """
WITH mine AS (
  UPDATE sequencer SET watermark = $2::text::xid8 WHERE watermark = $1::text::xid8 RETURNING 1
), events AS (
  INSERT INTO feed_batch (tenant, first_seq, n, w_from, w_to)
  SELECT e.tenant,
         coalesce((SELECT f.first_seq + f.n FROM feed_batch f WHERE f.tenant = e.tenant
                   ORDER BY f.first_seq DESC LIMIT 1), 1),
         e.n, $1::text::xid8, $2::text::xid8
  FROM (SELECT tenant, count(*)::int AS n FROM event
        WHERE xid >= $1::text::xid8 AND xid < $2::text::xid8 GROUP BY tenant) e, mine
  RETURNING n
), chains AS (
  INSERT INTO audit_batch (tenant, first_seq, n, w_from, w_to, head)
  SELECT u.tenant, u.first_seq, u.n, $1::text::xid8, $2::text::xid8, u.head
  FROM unnest($3::int[], $4::bigint[], $5::int[], $6::bytea[]) u(tenant, first_seq, n, head), mine
  RETURNING n
)
SELECT coalesce((SELECT sum(n) FROM events), 0) + coalesce((SELECT sum(n) FROM chains), 0)
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
            except (LightwellError, *FAILURES) as error:
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
        marks = await connection.fetchrow(_MARKS)
        if marks is None:
            return 0
        a, b = marks["a"], marks["b"]
        chains = await connection.fetch(_LEAVES, a, b)
        placed: int = await connection.fetchval(
            _PLACE,
            a,
            b,
            [row["tenant"] for row in chains],
            [row["first"] for row in chains],
            [len(row["leaves"]) for row in chains],
            [chained(row["head"] or GENESIS, row["leaves"]) for row in chains],
        )
        return int(placed)


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
