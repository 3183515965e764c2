"""What `work` reads and writes between the table of runs and the engine: each a statement, repeatable."""

from __future__ import annotations

from dataclasses import dataclass

from lightwell.backends.database.pool import Database

BATCH = 200
RETENTION_DAYS = 30

# A schedule that was missed several times is made up for once, at the time that was due first.
_SCHEDULED = """
WITH late AS (
  SELECT * FROM work_schedule w WHERE due <= now()
    AND NOT EXISTS (SELECT FROM tenant t WHERE t.tenant = w.tenant AND t.suspended)
  ORDER BY due LIMIT $1 FOR UPDATE SKIP LOCKED
), moved AS (
  UPDATE work_schedule s
  SET due = l.due + l.every * (1 + floor(extract(epoch FROM now() - l.due) / extract(epoch FROM l.every)))
  FROM late l WHERE s.tenant = l.tenant AND s.name = l.name
)
INSERT INTO work_run (tenant, run_id, workflow, arguments)
SELECT tenant, name || ':' || extract(epoch FROM due)::bigint, workflow, arguments FROM late
ON CONFLICT (tenant, run_id) DO NOTHING
"""
_NEW = """
SELECT tenant, run_id, workflow, arguments::text AS arguments FROM work_run r
WHERE state = 'waiting' AND NOT handed AND asked IS NULL
  AND NOT EXISTS (SELECT FROM tenant t WHERE t.tenant = r.tenant AND t.suspended) ORDER BY created LIMIT $1
"""
_ASKED = """
SELECT tenant, run_id, asked, state, handed FROM work_run WHERE asked IS NOT NULL ORDER BY updated LIMIT $1
"""
_SIGNALS = """
SELECT s.tenant, s.signal_id::text AS signal_id, s.run_id, s.topic, s.message::text AS message,
       r.state IN ('waiting', 'running') AS wanted
FROM work_signal s JOIN work_run r USING (tenant, run_id)
WHERE r.handed OR r.state NOT IN ('waiting', 'running') ORDER BY s.created, s.signal_id LIMIT $1
"""
_AGAIN = """
UPDATE work_run SET state = 'waiting', asked = NULL, deaths = 0, error = '', handed = $3, updated = now()
WHERE tenant = $1 AND run_id = $2 AND state IN ('failed', 'cancelled')
"""
_STALE = """
SELECT tenant, run_id, state, coalesce(executor, '') AS executor,
  compared > '-infinity' AND updated >= now() - make_interval(secs => $1) OR state = 'running' AND EXISTS (
    SELECT FROM work_executor e
    WHERE e.executor = r.executor AND e.incarnation = r.incarnation AND NOT e.dead) AS held
FROM work_run r
WHERE handed AND state IN ('waiting', 'running') AND compared < now() - make_interval(secs => $1)
ORDER BY compared LIMIT $2
"""
_OLD = """
SELECT tenant, run_id FROM work_run
WHERE state IN ('done', 'failed', 'cancelled') AND updated < now() - make_interval(days => $1) LIMIT $2
"""

Key = tuple[int, str]


@dataclass(frozen=True, slots=True)
class New:
    """A run that the engine has not been given yet."""

    key: Key
    workflow: str
    arguments: str  # JSON


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody wants a run cancelled or retried."""

    key: Key
    what: str
    state: str
    handed: bool


@dataclass(frozen=True, slots=True)
class Message:
    """A signal on its way. `wanted`: its run has not finished."""

    key: Key
    signal_id: str
    topic: str
    message: str  # JSON
    wanted: bool


@dataclass(frozen=True, slots=True)
class Stale:
    """An unfinished run. `held`: a living worker has begun it, or its row was changed just now."""

    key: Key
    state: str
    executor: str
    held: bool


class HandingTable:
    """The rows, as the `work` role sees them: all tenants."""

    def __init__(self, work: Database) -> None:
        self._work = work

    async def start_scheduled(self) -> int:
        """Make rows of what the schedules say is due; how many."""
        return await self._execute(_SCHEDULED, BATCH)

    async def new(self) -> list[New]:
        """Runs to hand over, oldest first."""
        async with self._work.session() as connection:
            rows = await connection.fetch(_NEW, BATCH)
        return [New((r["tenant"], r["run_id"]), r["workflow"], r["arguments"]) for r in rows]

    async def mark_handed(self, keys: list[Key]) -> None:
        """The engine has them."""
        await self._execute(
            "UPDATE work_run r SET handed = true FROM unnest($1::int[], $2::text[]) u(tenant, run_id)"
            " WHERE r.tenant = u.tenant AND r.run_id = u.run_id",
            [key[0] for key in keys],
            [key[1] for key in keys],
        )

    async def asked(self) -> list[Asked]:
        """What people want, in the order they wanted it."""
        async with self._work.session() as connection:
            rows = await connection.fetch(_ASKED, BATCH)
        return [
            Asked((r["tenant"], r["run_id"]), r["asked"], r["state"], r["handed"]) for r in rows
        ]

    async def cancelled(self, key: Key) -> None:
        """It is cancelled; one that ended by itself meanwhile stays as it is."""
        await self._execute(
            "UPDATE work_run SET asked = NULL, updated = now(),"
            " state = CASE WHEN state IN ('waiting', 'running') THEN 'cancelled' ELSE state END"
            " WHERE tenant = $1 AND run_id = $2",
            *key,
        )

    async def again(self, key: Key, *, handed: bool) -> None:
        """A failed or cancelled run waits again; without `handed` it is given to the engine anew."""
        await self._execute(_AGAIN, *key, handed)

    async def forget_asked(self, key: Key) -> None:
        """What was asked no longer applies."""
        await self._execute(
            "UPDATE work_run SET asked = NULL WHERE tenant = $1 AND run_id = $2", *key
        )

    async def signals(self) -> list[Message]:
        """Messages, oldest first, whose runs the engine has, or that nobody will receive."""
        async with self._work.session() as connection:
            rows = await connection.fetch(_SIGNALS, BATCH)
        return [
            Message(
                (r["tenant"], r["run_id"]), r["signal_id"], r["topic"], r["message"], r["wanted"]
            )
            for r in rows
        ]

    async def forget_signal(self, message: Message) -> None:
        """The engine has it, or nobody wants it."""
        await self._execute(
            "DELETE FROM work_signal WHERE tenant = $1 AND signal_id = $2::uuid",
            message.key[0],
            message.signal_id,
        )

    async def stale(self, seconds: float) -> list[Stale]:
        """Unfinished runs the engine has that were not compared for so long."""
        async with self._work.session() as connection:
            rows = await connection.fetch(_STALE, seconds, BATCH)
        return [
            Stale((r["tenant"], r["run_id"]), r["state"], r["executor"], r["held"]) for r in rows
        ]

    async def lost(self, key: Key, state: str, error: str) -> None:
        """The engine says that an unfinished run has ended."""
        await self._execute(
            "UPDATE work_run SET state = $3, error = $4, asked = NULL, updated = now()"
            " WHERE tenant = $1 AND run_id = $2 AND state IN ('waiting', 'running')",
            *key,
            state,
            error,
        )

    async def unknown(self, key: Key) -> None:
        """The engine does not know a run it was given: its records were lost. It gets it again."""
        await self._execute(
            "UPDATE work_run SET handed = false, state = 'waiting', updated = now()"
            " WHERE tenant = $1 AND run_id = $2 AND state IN ('waiting', 'running')",
            *key,
        )

    async def compared(self, keys: list[Key]) -> None:
        """These were looked at: others are first now."""
        await self._execute(
            "UPDATE work_run r SET compared = now() FROM unnest($1::int[], $2::text[]) u(tenant, run_id)"
            " WHERE r.tenant = u.tenant AND r.run_id = u.run_id",
            [key[0] for key in keys],
            [key[1] for key in keys],
        )

    async def old(self) -> list[Key]:
        """Runs that ended so long ago that nobody asks for them."""
        async with self._work.session() as connection:
            rows = await connection.fetch(_OLD, RETENTION_DAYS, BATCH)
        return [(r["tenant"], r["run_id"]) for r in rows]

    async def forget(self, keys: list[Key]) -> None:
        """Remove rows of ended runs."""
        await self._execute(
            "DELETE FROM work_run r USING unnest($1::int[], $2::text[]) u(tenant, run_id)"
            " WHERE r.tenant = u.tenant AND r.run_id = u.run_id"
            " AND state IN ('done', 'failed', 'cancelled')",
            [key[0] for key in keys],
            [key[1] for key in keys],
        )

    async def _execute(self, statement: str, *values: object) -> int:
        async with self._work.session() as connection:
            status = await connection.execute(statement, *values)
        return int(status.split()[-1])
