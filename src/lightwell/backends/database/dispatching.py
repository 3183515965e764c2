"""The dispatcher's side of the database: pages of the feed, its position, what waits and what starts.

Everything is done on the session that holds the foreman's lock: a dispatcher that has lost the lock has
lost its connection, and can write nothing any more.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

import asyncpg
import orjson

from lightwell.backends.database.feed import Change
from lightwell.backends.database.pool import wrapped
from lightwell.kernel.errors import Conflict
from lightwell.workflows.dispatcher import News, Plan
from lightwell.workflows.values import checked_arguments

BATCHES = 500
STARTS = 500

_NEWS = """
SELECT t.tenant, coalesce(p.seq, 0) AS seq
FROM tenant t
LEFT JOIN feed_position p ON p.tenant = t.tenant AND p.consumer = $1
CROSS JOIN LATERAL (
  SELECT first_seq + n - 1 AS last FROM feed_batch b WHERE b.tenant = t.tenant
  ORDER BY first_seq DESC LIMIT 1
) l
WHERE NOT t.suspended AND l.last > coalesce(p.seq, 0) ORDER BY t.tenant
"""
# Batches of a tenant follow each other without a gap, in places and in transaction ids. So a page is a
# stretch of transaction ids, and places are counted from its first batch on.
_BATCHES = """
SELECT first_seq, n, w_from::text AS w_from, w_to::text AS w_to FROM feed_batch
WHERE tenant = $1 AND first_seq >= coalesce(
  (SELECT first_seq FROM feed_batch WHERE tenant = $1 AND first_seq <= $2 ORDER BY first_seq DESC LIMIT 1), 0)
ORDER BY first_seq LIMIT $3
"""
_PAGE = """
SELECT kind, subject::text AS subject, at FROM event
WHERE tenant = $1 AND xid >= $2::text::xid8 AND xid < $3::text::xid8
ORDER BY xid, event_id OFFSET $4 LIMIT $5
"""
_POSITION = """
INSERT INTO feed_position (tenant, consumer, seq) VALUES ($1, $2, $4)
ON CONFLICT (tenant, consumer) DO UPDATE SET seq = excluded.seq WHERE feed_position.seq = $3
"""
_WAITS = """
INSERT INTO due_work AS d (tenant, workflow, key, arguments, first_seq, first_seen, last_event, due, events)
SELECT $1, u.workflow, u.key, u.arguments::jsonb, u.first_seq, u.first_seen, u.last_event, u.due, u.events
FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[], $7::timestamptz[],
            $8::timestamptz[], $9::bigint[])
  u(workflow, key, arguments, first_seq, first_seen, last_event, due, events)
ORDER BY u.workflow, u.key
ON CONFLICT (tenant, workflow, key) DO UPDATE SET
  arguments = excluded.arguments,
  last_event = greatest(d.last_event, excluded.last_event),
  due = greatest(d.due, excluded.due),
  events = d.events + excluded.events
"""
# `least` passes over NULL: a rule without an upper bound has none.
_BOUND = """
UPDATE due_work d SET due = least(d.due, d.first_seen + make_interval(secs => u.longest))
FROM unnest($2::text[], $3::text[], $4::float8[]) u(workflow, key, longest)
WHERE d.tenant = $1 AND d.workflow = u.workflow AND d.key = u.key AND u.longest IS NOT NULL
"""
_STARTS = """
INSERT INTO work_run (tenant, run_id, workflow, key, arguments)
SELECT $1, u.run_id, u.workflow, u.key, u.arguments::jsonb
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) u(run_id, workflow, key, arguments)
ON CONFLICT (tenant, run_id) DO NOTHING
"""
_TOLD = """
INSERT INTO work_signal (tenant, run_id, topic, message) SELECT $1, r.run_id, $3, $4::jsonb
FROM work_run r WHERE r.tenant = $1 AND r.run_id = $2 AND r.state IN ('waiting', 'running')
"""
_DUE = """
WITH ready AS (
  SELECT tenant, workflow, key, arguments, first_seq FROM due_work d
  WHERE due <= now() AND NOT tenant = ANY($1::int[])
    AND NOT EXISTS (SELECT FROM tenant t WHERE t.tenant = d.tenant AND t.suspended) AND NOT EXISTS (
    SELECT FROM work_run r WHERE r.tenant = d.tenant AND r.workflow = d.workflow AND r.key = d.key
      AND r.state IN ('waiting', 'running'))
  ORDER BY due LIMIT $2
), gone AS (
  DELETE FROM due_work d USING ready r
  WHERE d.tenant = r.tenant AND d.workflow = r.workflow AND d.key = r.key
)
INSERT INTO work_run (tenant, run_id, workflow, key, arguments)
SELECT tenant, workflow || ':' || key || ':' || first_seq, workflow, key, arguments FROM ready
ON CONFLICT (tenant, run_id) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class PostgresFeedStore:
    """See `FeedStore`. One consumer, on the foreman's session (role `lightwell_work`)."""

    connection: asyncpg.Connection[asyncpg.Record]
    consumer: str = "dispatcher"

    async def news(self) -> list[News]:
        with wrapped():
            rows = await self.connection.fetch(_NEWS, self.consumer)
        return [News(row["tenant"], row["seq"]) for row in rows]

    async def page(self, tenant: int, after: int, limit: int) -> list[Change]:
        with wrapped():
            batches = await self.connection.fetch(_BATCHES, tenant, after + 1, BATCHES)
            if not batches:
                return []
            skipped = after + 1 - batches[0]["first_seq"]
            count, last = -skipped, batches[0]
            for batch in batches:
                if count >= limit:
                    break
                count, last = count + batch["n"], batch
            rows = await self.connection.fetch(
                _PAGE, tenant, batches[0]["w_from"], last["w_to"], skipped, min(limit, count)
            )
        return [
            Change(after + number, row["kind"], orjson.loads(row["subject"]), row["at"])
            for number, row in enumerate(rows, 1)
        ]

    async def record(self, news: News, last: int, plan: Plan) -> None:
        with wrapped():
            async with self.connection.transaction():
                moved = await self.connection.execute(
                    _POSITION, news.tenant, self.consumer, news.seq, last
                )
                if not moved.endswith(" 1"):
                    raise Conflict("Another dispatcher has dealt with these changes.")
                await self._write(news.tenant, plan)

    async def _write(self, tenant: int, plan: Plan) -> None:
        if waits := plan.waits:
            names = [w.workflow for w in waits], [w.key for w in waits]
            await self.connection.execute(
                _WAITS,
                tenant,
                *names,
                [checked_arguments(w.arguments) for w in waits],
                [w.first_seq for w in waits],
                [w.first_seen for w in waits],
                [w.last_event for w in waits],
                [w.due for w in waits],
                [w.events for w in waits],
            )
            if any(w.longest is not None for w in waits):
                await self.connection.execute(_BOUND, tenant, *names, [w.longest for w in waits])
        if starts := plan.starts:
            await self.connection.execute(
                _STARTS,
                tenant,
                [s.run_id for s in starts],
                [s.workflow for s in starts],
                [s.key for s in starts],
                [checked_arguments(s.arguments) for s in starts],
            )
        for told in plan.told:
            await self.connection.execute(
                _TOLD, tenant, told.run_id, told.topic, json.dumps(told.message)
            )

    async def start_due(self, but: Collection[int]) -> int:
        with wrapped():
            async with self.connection.transaction():
                status = await self.connection.execute(_DUE, list(but), STARTS)
        return int(status.split()[-1])
