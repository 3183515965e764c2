"""What the `work` role does to rows: inline objects into the store, counters rolled up, leases ended.

Each chore is a function that does one bounded step and says how much it did, so that a loop, a test and
the simulator can drive it alike. All are idempotent.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

from lightwell.access.context import Tenant
from lightwell.backends.database.pool import Database
from lightwell.domain.archive.keys import KIND_NUMBERS, LANDED, blob_key
from lightwell.domain.archive.ports import BlobExists, BlobStore
from lightwell.kernel.crashpoints import reach

INLINE_BATCH = 64
GONE_BATCH = 256
AT_ONCE = 8  # requests to a store that is not local
DELTA_BATCH = 20_000


async def flush_inline(
    work: Database, blobs: BlobStore, tenants: dict[int, Tenant], *, limit: int = INLINE_BATCH
) -> int:
    """Move small objects of these tenants from their rows into the store: put durably first, then empty the
    row. Each region is a step of its own, so that none waits for the store of another."""
    async with work.session() as connection:
        rows = await connection.fetch(
            "SELECT tenant, blob_id, inline FROM blob WHERE inline IS NOT NULL"
            " AND tenant = ANY($2::int[]) ORDER BY created LIMIT $1",
            limit,
            list(tenants),
        )
    moved, steps = [], []
    for row in rows:
        tenant = tenants[row["tenant"]]
        blob_id: uuid.UUID = row["blob_id"]
        key = blob_key(tenant.region, tenant.name, LANDED, blob_id)
        steps.append(partial(_put_once, blobs, key, row["inline"]))
        moved.append(row)
    await _carry_out(steps, 1 if blobs.quick else AT_ONCE)
    if moved:
        async with work.session() as connection:
            await connection.execute(
                "UPDATE blob SET inline = NULL FROM unnest($1::int[], $2::uuid[]) u(tenant, blob_id)"
                " WHERE blob.tenant = u.tenant AND blob.blob_id = u.blob_id",
                [r["tenant"] for r in moved],
                [r["blob_id"] for r in moved],
            )
    return len(moved)


def _put_once(blobs: BlobStore, key: str, data: bytes) -> None:
    """A step that was killed between put and update finds its object there: whole, or it is replaced."""
    try:
        blobs.put(key, data)
    except BlobExists:
        if blobs.itself().read(key) != data:
            blobs.put(key, data, replace=True)
        else:
            blobs.confirm(key, len(data))


_GONE = """
SELECT g.tenant, g.blob_id, b.kind FROM blob_going g
JOIN blob b ON b.tenant = g.tenant AND b.blob_id = g.blob_id
WHERE g.after <= now() AND g.tenant = ANY($2::int[])
AND NOT EXISTS (SELECT 1 FROM instance i WHERE i.tenant = g.tenant AND i.blob_id = g.blob_id)
AND NOT EXISTS (SELECT 1 FROM qc_item q
                WHERE q.tenant = g.tenant AND q.blob_id = g.blob_id AND q.resolved IS NULL)
AND NOT EXISTS (SELECT 1 FROM study s JOIN lease l ON l.tenant = g.tenant AND l.study_uid = s.study_uid
                WHERE s.tenant = g.tenant AND s.study_key = g.study_key
                AND (l.closed IS NULL OR l.expires > now()) AND l.granted < g.since)
ORDER BY g.after LIMIT $1
"""


async def clear_gone(
    work: Database, blobs: BlobStore, tenants: dict[int, Tenant], *, limit: int = GONE_BATCH
) -> int:
    """Delete blobs of these tenants that no row refers to, once their grace is over and no lease of before is
    open.

    The object goes first, then its row: killed in between, the next step deletes what is absent.
    """
    async with work.session() as connection:
        rows = await connection.fetch(_GONE, limit, list(tenants))
    steps = []
    for row in rows:
        tenant = tenants[row["tenant"]]
        kind = KIND_NUMBERS[row["kind"]]
        key = blob_key(tenant.region, tenant.name, kind, row["blob_id"])
        steps.append(partial(_delete, blobs, key))
    await _carry_out(steps, 1 if blobs.quick else AT_ONCE)
    if rows:
        async with work.session() as connection:
            await connection.execute(
                "WITH u AS (SELECT * FROM unnest($1::int[], $2::uuid[]) u(tenant, blob_id)),"
                " g AS (DELETE FROM blob_going g USING u WHERE g.tenant = u.tenant AND g.blob_id = u.blob_id)"
                " DELETE FROM blob b USING u WHERE b.tenant = u.tenant AND b.blob_id = u.blob_id",
                [row["tenant"] for row in rows],
                [row["blob_id"] for row in rows],
            )
    return len(rows)


def _delete(blobs: BlobStore, key: str) -> None:
    reach("s6")
    blobs.delete(key)


async def _carry_out(steps: Sequence[Callable[[], None]], at_once: int) -> None:
    """Blocking steps in threads, so many at a time; all have ended when this raises the first failure.

    A thread takes one step after the other: handing each over alone costs as much as a small step.
    """
    waiting = iter(steps)
    taking = threading.Lock()

    def carry() -> None:
        while True:
            with taking:
                step = next(waiting, None)
            if step is None:
                return
            step()

    threads = (asyncio.to_thread(carry) for _ in range(min(at_once, len(steps))))
    done = await asyncio.gather(*threads, return_exceptions=True)
    for failure in done:
        if failure is not None:
            raise failure


async def roll_up_deltas(work: Database, *, limit: int = DELTA_BATCH) -> int:
    """Add finished deltas to their study and series rows, and remove them, in one transaction."""
    async with work.session() as connection:
        done: int = await connection.fetchval(
            """
            WITH gone AS (
              DELETE FROM study_delta WHERE (tenant, id) IN
                (SELECT tenant, id FROM study_delta ORDER BY tenant, id LIMIT $1 FOR UPDATE SKIP LOCKED)
              RETURNING tenant, study_key, series_key, n, bytes, rejected
            ), s AS (
              UPDATE study SET n_instances = study.n_instances + g.n, n_bytes = study.n_bytes + g.bytes,
                               n_rejected = study.n_rejected + g.rejected
              FROM (SELECT tenant, study_key, sum(n) AS n, sum(bytes) AS bytes, sum(rejected) AS rejected
                    FROM gone GROUP BY 1, 2 ORDER BY 1, 2) g
              WHERE study.tenant = g.tenant AND study.study_key = g.study_key
            ), e AS (
              UPDATE series SET n_instances = series.n_instances + g.n,
                                n_rejected = series.n_rejected + g.rejected
              FROM (SELECT tenant, series_key, sum(n) AS n, sum(rejected) AS rejected
                    FROM gone GROUP BY 1, 2 ORDER BY 1, 2) g
              WHERE series.tenant = g.tenant AND series.series_key = g.series_key
            )
            SELECT count(*) FROM gone
            """,
            limit,
        )
    return done


async def roll_up_usage(work: Database, *, limit: int = DELTA_BATCH) -> int:
    """Add finished counts to what each tenant keeps, and remove them, in one transaction."""
    async with work.session() as connection:
        done: int = await connection.fetchval(
            """
            WITH gone AS (
              DELETE FROM usage_delta WHERE (tenant, id) IN
                (SELECT tenant, id FROM usage_delta ORDER BY tenant, id LIMIT $1 FOR UPDATE SKIP LOCKED)
              RETURNING tenant, studies, bytes
            ), summed AS (
              INSERT INTO tenant_usage (tenant, studies, bytes)
              SELECT tenant, sum(studies), sum(bytes) FROM gone GROUP BY tenant ORDER BY tenant
              ON CONFLICT (tenant) DO UPDATE SET
                studies = tenant_usage.studies + excluded.studies, bytes = tenant_usage.bytes + excluded.bytes
            )
            SELECT count(*) FROM gone
            """,
            limit,
        )
    return done


async def close_leases(work: Database) -> int:
    """End the leases whose holders did not: a process that died leaves them open until they expire."""
    async with work.session() as connection:
        status = await connection.execute(
            "UPDATE lease SET closed = now() WHERE closed IS NULL AND expires < now() - interval '1 minute'"
        )
    return int(status.split()[-1])


async def forget_sign_ins(work: Database) -> int:
    """Drop questions to browsers that nobody answered, counts of tries that are over, and old tokens."""
    async with work.session() as connection:
        asked = await connection.execute("DELETE FROM challenge WHERE expires < now()")
        tried = await connection.execute(
            "DELETE FROM throttle WHERE since < now() - interval '1 day' AND until < now()"
        )
        given = await connection.execute("DELETE FROM program_token WHERE expires < now()")
    return sum(int(status.split()[-1]) for status in (asked, tried, given))


async def glass_queue(work: Database, overdue_after: timedelta) -> dict[str, int]:
    """How many openings of all tenants wait for a verdict, and how many for too long: numbers for alerts."""
    async with work.session() as connection:
        row = await connection.fetchrow(
            "SELECT count(*) AS unreviewed, count(*) FILTER (WHERE since <= now() - $1::interval) AS overdue"
            " FROM opening WHERE reviewed IS NULL",
            overdue_after,
        )
    return {"glass_unreviewed": row["unreviewed"], "glass_overdue": row["overdue"]} if row else {}


async def refresh_statistics(work: Database) -> int:
    """Have tables analysed that have grown since (migration 0004 says why); how many there were."""
    async with work.session() as connection:
        analysed: int = await connection.fetchval("SELECT refresh_statistics()")
    return analysed
