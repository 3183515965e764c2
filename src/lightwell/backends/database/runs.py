"""`Engine` over the table of runs: what any process may ask, without the engine's library.

Asking is writing a row; `work` hands it to the engine within half a second (`handover`). So a door, a
command and the dispatcher start runs alike, in a transaction of their own making, and with no server.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lightwell.access.context import Tenant
from lightwell.backends.database.arrival_columns import as_text
from lightwell.backends.database.pool import Database
from lightwell.kernel.errors import Conflict, Invalid, Missing
from lightwell.workflows.ports import COUNT_LIMIT, COUNTED, Arguments, Json, RunStatus, State
from lightwell.workflows.values import (
    RESULT_BYTES,
    checked_arguments,
    checked_run_id,
    checked_workflow,
    encoded,
)

if TYPE_CHECKING:
    import asyncpg

PAGE = 1000

START = """
INSERT INTO work_run (tenant, run_id, workflow, key, arguments) VALUES ($1, $2, $3, $4, $5::jsonb)
ON CONFLICT (tenant, run_id) DO NOTHING
"""
_COLUMNS = """tenant, run_id, workflow, state, step, done, total, what, attempts, error, created, updated,
asked, arguments"""
_RUNS = f"""
SELECT {_COLUMNS} FROM work_run
WHERE tenant = $1 AND ($2::text[] IS NULL OR state = ANY($2))
  AND ($3::timestamptz IS NULL OR (created, run_id COLLATE "C") < ($3, $4))
ORDER BY created DESC, run_id COLLATE "C" DESC LIMIT $5
"""
_COUNTS = """
SELECT s.state, (SELECT count(*) FROM (
  SELECT FROM work_run r WHERE r.tenant = $1 AND r.state = s.state LIMIT $3) x) AS n
FROM unnest($2::text[]) s(state)
"""
_ASK = """
UPDATE work_run SET asked = $3, updated = now() WHERE tenant = $1 AND run_id = $2 AND state = ANY($4)
"""
_SIGNAL = """
INSERT INTO work_signal (tenant, run_id, topic, message) SELECT $1, $2, $3, $4::jsonb
FROM work_run WHERE tenant = $1 AND run_id = $2 AND state IN ('waiting', 'running')
"""
_SCHEDULE = """
INSERT INTO work_schedule (tenant, name, workflow, arguments, every, due)
VALUES ($1, $2, $3, $4::jsonb, make_interval(secs => $5), now() + make_interval(secs => $5))
ON CONFLICT (tenant, name) DO UPDATE SET workflow = excluded.workflow, arguments = excluded.arguments,
  every = excluded.every,
  due = CASE WHEN work_schedule.every = excluded.every THEN work_schedule.due ELSE excluded.due END
"""


class PostgresEngine:
    """See `Engine`. `database` is the pool of any role: a tenant's rows are named in each transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(self, tenant: Tenant, workflow: str, run_id: str, arguments: Arguments) -> bool:
        checked_run_id(run_id)
        checked_workflow(workflow)
        text = checked_arguments(arguments)
        async with self._database.transaction(tenant) as connection:
            status = await connection.execute(START, tenant.key, run_id, workflow, "", text)
        return status.endswith(" 1")

    async def signal(self, tenant: Tenant, run_id: str, topic: str, message: Json) -> None:
        text = encoded(message, RESULT_BYTES, "A message")
        async with self._database.transaction(tenant) as connection:
            status = await connection.execute(_SIGNAL, tenant.key, run_id, topic, text)
        if not status.endswith(" 1"):
            found = await self.status(tenant, run_id)
            raise Conflict(f"The run is {found.state}: it receives nothing.")

    async def status(self, tenant: Tenant, run_id: str) -> RunStatus:
        async with self._database.transaction(tenant) as connection:
            row = await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM work_run WHERE tenant = $1 AND run_id = $2",
                tenant.key,
                as_text(run_id),
            )
        if row is None:
            raise Missing("There is no such run.", remedy="`lightwell jobs list` names them.")
        return status_of(row)

    async def runs(
        self,
        tenant: Tenant,
        *,
        states: Sequence[State] = (),
        limit: int = 100,
        before: RunStatus | None = None,
    ) -> list[RunStatus]:
        async with self._database.transaction(tenant) as connection:
            rows = await connection.fetch(
                _RUNS,
                tenant.key,
                [state.value for state in states] or None,
                before.created if before else None,
                before.id if before else None,
                min(limit, PAGE),
            )
        return [status_of(row) for row in rows]

    async def counts(self, tenant: Tenant) -> dict[State, int]:
        async with self._database.transaction(tenant) as connection:
            rows = await connection.fetch(
                _COUNTS, tenant.key, [state.value for state in COUNTED], COUNT_LIMIT
            )
        return {State(row["state"]): row["n"] for row in rows}

    async def cancel(self, tenant: Tenant, run_id: str) -> None:
        if not await self._ask(tenant, run_id, "cancel", (State.WAITING, State.RUNNING)):
            found = await self.status(tenant, run_id)
            if found.state is not State.CANCELLED:
                raise Conflict(f"The run is {found.state}: there is nothing to cancel.")

    async def retry(self, tenant: Tenant, run_id: str) -> None:
        if not await self._ask(tenant, run_id, "retry", (State.FAILED, State.CANCELLED)):
            found = await self.status(tenant, run_id)
            raise Conflict(f"The run is {found.state}: only a failed or cancelled one is retried.")

    async def _ask(self, tenant: Tenant, run_id: str, what: str, states: tuple[State, ...]) -> bool:
        """Note what is wanted of a run in one of these states; False when it is in none."""
        async with self._database.transaction(tenant) as connection:
            status = await connection.execute(
                _ASK, tenant.key, run_id, what, [state.value for state in states]
            )
        return status.endswith(" 1")

    async def schedule(
        self, tenant: Tenant, name: str, workflow: str, arguments: Arguments, *, every: float
    ) -> None:
        checked_run_id(name)
        checked_workflow(workflow)
        text = checked_arguments(arguments)
        if len(name) > 100 or not every >= 1:
            raise Invalid("A schedule has a name of at most 100 characters and at least a second.")
        async with self._database.transaction(tenant) as connection:
            await connection.execute(_SCHEDULE, tenant.key, name, workflow, text, float(every))


def status_of(row: asyncpg.Record | dict[str, Any]) -> RunStatus:
    """A row of `work_run` as its readers see it."""
    return RunStatus(
        tenant=row["tenant"],
        id=row["run_id"],
        workflow=row["workflow"],
        state=State(row["state"]),
        step=row["step"],
        done=row["done"],
        total=row["total"],
        what=row["what"],
        attempts=row["attempts"],
        error=row["error"],
        created=row["created"],
        updated=row["updated"],
        asked=row["asked"] or "",
        arguments=json.loads(row["arguments"]),
    )
