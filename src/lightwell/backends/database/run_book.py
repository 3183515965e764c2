"""What a worker writes about the runs it carries out, and how it learns that one is no longer its own.

Each row names its present executor and incarnation. Every write here asks for both: a worker that was
taken for dead, and whose run somebody else has begun, changes nothing and is told so (`NotMine`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from lightwell.backends.database.pool import Database
from lightwell.workflows.ports import State

# A run that dies with its worker at one and the same step this often is not begun again.
DEATHS = 5
WHAT = 60  # characters of what is counted

_BEGIN = """
UPDATE work_run SET state = 'running', attempts = attempts + 1, executor = $3, incarnation = $4,
  deaths = CASE WHEN state = 'running' THEN deaths + 1 ELSE deaths END, error = '', updated = now()
WHERE tenant = $1 AND run_id = $2 AND state IN ('waiting', 'running')
  AND EXISTS (SELECT FROM work_executor e WHERE e.executor = $3 AND e.incarnation = $4 AND NOT e.dead)
RETURNING deaths
"""
_UNFINISHED = """
SELECT true FROM work_run WHERE tenant = $1 AND run_id = $2 AND state IN ('waiting', 'running')
"""
_STEP = """
UPDATE work_run SET step = $5, done = 0, total = 0, what = '', updated = now(), step_number = $6,
  deaths = CASE WHEN step_number = $6 THEN deaths ELSE 0 END
WHERE tenant = $1 AND run_id = $2 AND executor = $3 AND incarnation = $4 AND state = 'running'
"""
_END = """
UPDATE work_run SET state = $5, error = $6, updated = now(), asked = NULL, executor = NULL,
  incarnation = NULL, done = coalesce($7, done), total = coalesce($8, total), what = coalesce($9, what)
WHERE tenant = $1 AND run_id = $2 AND executor = $3 AND incarnation = $4 AND state = 'running'
"""
_HAND_BACK = """
UPDATE work_run SET state = 'waiting', executor = NULL, incarnation = NULL,
  updated = now(), compared = '-infinity'
WHERE tenant = $1 AND run_id = $2 AND executor = $3 AND incarnation = $4 AND state = 'running'
"""
_PROGRESS = """
UPDATE work_run r SET done = u.done, total = u.total, what = u.what, updated = now()
FROM unnest($3::int[], $4::text[], $5::bigint[], $6::bigint[], $7::text[])
  u(tenant, run_id, done, total, what)
WHERE r.tenant = u.tenant AND r.run_id = u.run_id AND r.executor = $1 AND r.incarnation = $2
  AND r.state = 'running'
"""
_RELEASE = """
UPDATE work_run SET state = 'waiting', updated = now()
WHERE executor = $1 AND incarnation = $2 AND handed AND state = 'running'
"""

Key = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: `done` of `total` `what`."""

    done: int
    total: int
    what: str


class NotMine(Exception):
    """The run was given to another worker, cancelled, or ended: stop, and record nothing."""


class RunBook:
    """One worker's writing, for one incarnation of its executor."""

    def __init__(self, work: Database, executor: str, incarnation: UUID) -> None:
        self._work = work
        self._executor = executor
        self._incarnation = incarnation

    async def begin(self, key: Key) -> int | None:
        """Take a run over; how often a worker has died in its present step, None when it is finished.

        Raises NotMine when this incarnation was declared dead.
        """
        async with self._work.session() as connection:
            deaths: int | None = await connection.fetchval(
                _BEGIN, *key, self._executor, self._incarnation
            )
            if deaths is None and await connection.fetchval(_UNFINISHED, *key):
                raise NotMine
        return deaths

    async def step(self, key: Key, name: str, number: int) -> None:
        """Note which step is begun. Raises NotMine: then it must not be begun."""
        await self._mine(_STEP, key, name[:100], number)

    async def end(
        self, key: Key, state: State, error: str = "", last: Progress | None = None
    ) -> None:
        """Note how it ended, and how far it had come if that was not noted yet. Raises NotMine."""
        far = (None, None, None) if last is None else (last.done, last.total, last.what[:WHAT])
        await self._mine(_END, key, state.value, error, *far)

    async def hand_back(self, key: Key) -> None:
        """This execution ended and the run did not: have it given to somebody soon. Raises NotMine."""
        await self._mine(_HAND_BACK, key)

    async def _mine(self, statement: str, key: Key, *values: object) -> None:
        async with self._work.session() as connection:
            status = await connection.execute(
                statement, *key, self._executor, self._incarnation, *values
            )
        if not status.endswith(" 1"):
            raise NotMine

    async def progress(self, news: Mapping[Key, Progress]) -> None:
        """Note how far several runs are; those that are another's now are passed over."""
        async with self._work.session() as connection:
            await connection.execute(
                _PROGRESS,
                self._executor,
                self._incarnation,
                [key[0] for key in news],
                [key[1] for key in news],
                [p.done for p in news.values()],
                [p.total for p in news.values()],
                [p.what[:WHAT] for p in news.values()],
            )

    async def release(self) -> None:
        """An orderly stop: what was under way waits again, and nobody has died of it."""
        async with self._work.session() as connection:
            await connection.execute(_RELEASE, self._executor, self._incarnation)
