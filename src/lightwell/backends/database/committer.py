"""The group commit: ChangeSets that wait at the same time become one transaction.

Durability is the cost of an acknowledgement, not Python: while one commit waits for the log to reach
the disk, the arrivals behind it gather, and the next transaction takes them all. There is no waiting
window. A group that fails is tried again one by one, so that one bad change cannot fail its
neighbours. `lightwell_app` runs it; every statement sees one tenant only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import asyncpg

from lightwell.access.commit import (
    ChangeSet,
    CommitCounters,
    Committed,
    FactsChanged,
    committed,
)
from lightwell.access.context import Tenant
from lightwell.backends.database.arrival_columns import grouped_arrays, parents_wanted
from lightwell.backends.database.pack_writer import write_found_in_packs
from lightwell.backends.database.pool import FAILURES, LOOKUPS, connect, translated
from lightwell.backends.database.roles import ConnectionInfo, DatabaseUnavailable, Role
from lightwell.backends.database.writers import write_change, write_notes
from lightwell.domain.archive.model import ArrivalRow
from lightwell.kernel.crashpoints import reach
from lightwell.kernel.errors import Busy, LightwellError

log = logging.getLogger("lightwell.commit")

GROUP_LIMIT = 256
QUEUE_LIMIT = 4096
NOTE_LIMIT = 20_000
CONNECTIONS = 4
NOTE_SECONDS = 0.1

_ALL = ", ".join(f"${n}" for n in range(1, 68))
_INSTANCES = ", ".join(f"${n}" for n in range(1, 37))
INGEST = f"SELECT * FROM ingest({_ALL})"
INGEST_INSTANCES = f"SELECT * FROM ingest_instances({_INSTANCES})"


@dataclass(slots=True, eq=False)
class _Waiting:
    change: ChangeSet
    row: ArrivalRow
    answer: asyncio.Future[Committed]


@dataclass(slots=True)
class _Queue:
    waiting: deque[_Waiting] = field(default_factory=deque)
    draining: bool = False


class GroupCommitter:
    """One a process, on its event loop."""

    def __init__(self, info: ConnectionInfo, *, connections: int = CONNECTIONS) -> None:
        self.counters = CommitCounters()
        self._info = info
        self._free: asyncio.LifoQueue[asyncpg.Connection[asyncpg.Record] | None] = (
            asyncio.LifoQueue()
        )
        for _ in range(connections):
            self._free.put_nowait(None)
        self._queues: dict[int, _Queue] = {}
        self._notes: deque[ChangeSet] = deque()
        self._noting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.notes_lost = 0

    # -- the port -------------------------------------------------------------------------------

    async def commit(self, change: ChangeSet) -> Committed:
        """See `access.commit.Committer`."""
        if len(change.rows) == 1 and isinstance(change.rows[0], ArrivalRow):
            return await self._gather(change, change.rows[0])
        return await self._alone(change)

    def note(self, change: ChangeSet) -> None:
        """Queue audit records (or counts) that nobody waits for; written every 100 ms."""
        if len(self._notes) >= NOTE_LIMIT:
            self.notes_lost += 1
            log.error("audit notes are not being written: %d lost", self.notes_lost)
            return
        self._notes.append(change)
        if self._noting is None or self._noting.done():
            self._noting = asyncio.get_running_loop().create_task(self._write_notes())

    async def close(self) -> None:
        """Write what is noted and give the connections back."""
        if self._noting is not None:
            await self._noting
        while not self._free.empty():
            connection = self._free.get_nowait()
            if connection is not None:
                with contextlib.suppress(Exception):
                    await connection.close(timeout=2)

    # -- arrivals -------------------------------------------------------------------------------

    async def _gather(self, change: ChangeSet, row: ArrivalRow) -> Committed:
        queue = self._queues.setdefault(change.tenant.key, _Queue())
        if len(queue.waiting) >= QUEUE_LIMIT:
            raise Busy("Too many objects wait to be indexed.", remedy="Send again later.")
        answer: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        queue.waiting.append(_Waiting(change, row, answer))
        if not queue.draining:
            queue.draining = True
            task = asyncio.get_running_loop().create_task(self._drain(change.tenant, queue))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answer

    async def _drain(self, tenant: Tenant, queue: _Queue) -> None:
        try:
            while queue.waiting:
                group = [
                    queue.waiting.popleft() for _ in range(min(GROUP_LIMIT, len(queue.waiting)))
                ]
                group = [w for w in group if not w.answer.cancelled()]
                if group:
                    await self._write_group(tenant, _without_rivals(group))
        finally:
            queue.draining = False

    async def _write_group(self, tenant: Tenant, group: list[_Waiting]) -> None:
        began = time.perf_counter()
        try:
            new = await self._ingest(tenant, [(w.change, w.row) for w in group])
        except Exception as error:  # noqa: BLE001 - each waiting arrival gets its answer below
            if len(group) == 1:
                _fail(group[0], error)
            else:
                self.counters.retried += 1
                for waiting in group:
                    await self._write_group(tenant, [waiting])
            return
        self.counters.groups += 1
        self.counters.changes += len(group)
        self.counters.seconds += time.perf_counter() - began
        for waiting in group:
            if waiting.answer.done():
                continue
            row = waiting.row
            if (row.described.instance.sop_uid, row.landed.blob_id) in new:
                waiting.answer.set_result(committed(True))
            else:
                waiting.answer.set_exception(FactsChanged("the index knows more by now"))

    async def _ingest(
        self, tenant: Tenant, group: list[tuple[ChangeSet, ArrivalRow]]
    ) -> set[object]:
        parents = parents_wanted(group)
        arrays = grouped_arrays(tenant, group, with_parents=parents)
        async with self._connection() as connection:
            reach("k6")
            statement = INGEST if parents else INGEST_INSTANCES
            in_packs = [row for _, row in group if row.landed.form is not None]
            if in_packs:  # a re-index
                async with connection.transaction():
                    rows = await connection.fetch(statement, tenant.key, *arrays)
                    await write_found_in_packs(connection, tenant, in_packs)
            else:
                rows = await connection.fetch(statement, tenant.key, *arrays)
            reach("k6c")
        return {(row["r_uid"], row["r_blob"]) for row in rows}

    # -- everything else --------------------------------------------------------------------------

    async def _alone(self, change: ChangeSet) -> Committed:
        try:
            async with self._connection() as connection, connection.transaction():
                await _for_tenant(connection, change.tenant)
                inserted = await write_change(connection, change)
        except Exception as error:
            raise _ours(error) from error
        self.counters.changes += 1
        self.counters.groups += 1
        return committed(inserted)

    async def _write_notes(self) -> None:
        while self._notes:
            await asyncio.sleep(NOTE_SECONDS)
            by_tenant: dict[int, list[ChangeSet]] = {}
            while self._notes:
                change = self._notes.popleft()
                by_tenant.setdefault(change.tenant.key, []).append(change)
            for changes in by_tenant.values():
                await self._write_notes_of(changes)

    async def _write_notes_of(self, changes: list[ChangeSet]) -> None:
        try:
            async with self._connection() as connection, connection.transaction():
                await _for_tenant(connection, changes[0].tenant)
                await write_notes(connection, changes)
        except (LightwellError, *FAILURES) as error:
            self.notes_lost += len(changes)
            log.error("%d audit notes could not be written: %s", len(changes), type(error).__name__)

    # -- connections ------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        connection = await self._free.get()
        try:
            if connection is None or connection.is_closed():
                connection = None
                connection = await self._connected()
            yield connection
        except (
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            asyncpg.PostgresConnectionError,
            OSError,
        ):
            if connection is not None:
                connection.terminate()
                connection = None
            raise
        finally:
            self._free.put_nowait(connection)

    async def _connected(self) -> asyncpg.Connection[asyncpg.Record]:
        """A connection whose plan is made before the first image, not by it."""
        connection = await connect(
            self._info,
            Role.APP,
            **LOOKUPS,
            plan_cache_mode="force_generic_plan",
            synchronous_commit="on",
        )
        await connection.prepare(INGEST)
        return connection


async def _for_tenant(connection: asyncpg.Connection[asyncpg.Record], tenant: Tenant) -> None:
    await connection.execute("SELECT set_config('app.tenant', $1, true)", str(tenant.key))


def _without_rivals(group: list[_Waiting]) -> list[_Waiting]:
    """Those that can be written together; the rest is told to decide again.

    Two arrivals of one UID, or two that disagree about who a new patient is, must be judged one after
    the other: the second on what the first left behind.
    """
    uids: set[str] = set()
    patients: dict[tuple[str, str], object] = {}
    together = []
    for waiting in group:
        row = waiting.row
        uid = row.described.instance.sop_uid
        if uid in uids or patients.setdefault(row.patient.key, row.patient) != row.patient:
            waiting.answer.set_exception(FactsChanged("a rival arrived at the same moment"))
            continue
        uids.add(uid)
        together.append(waiting)
    return together


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(_ours(error))


def _ours(error: Exception) -> Exception:
    """What the committer's port promises for a driver's error."""
    if isinstance(error, LightwellError):
        return error
    if isinstance(error, asyncpg.UniqueViolationError) or getattr(error, "sqlstate", "") == "LW001":
        return FactsChanged("the index knows more by now")
    ours = translated(error)
    if ours is not None:
        return ours
    log.error("commit failed: %s", type(error).__name__, exc_info=error)
    return DatabaseUnavailable(
        f"The database refused the change ({type(error).__name__}).",
        remedy="Nothing was stored; the log holds the details.",
    )
