"""Machines, disk and database of one history, and what can go wrong with each of them.

The database and the store outlive their processes. A process that was killed reaches neither any more;
what it had written without a sync stays until the power goes, as in a page cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from lightwell.access.commit import ChangeSet, CommitCounters, Committed
from lightwell.access.context import Actor, ActorKind, Context, Tenant
from lightwell.access.policy import SHIPPED_RULES, Rules
from lightwell.access.ports import JournalEntry
from lightwell.access.sight import NOBODY, Standing
from lightwell.backends.blobs.memory import MemorySink, MemoryStore
from lightwell.backends.memory.committer import MemoryCommitter
from lightwell.backends.memory.index import MemoryIndex
from lightwell.backends.memory.tables import MemoryDatabase, TenantTables
from lightwell.domain.archive.api import Archive
from lightwell.domain.archive.model import ArrivalRow, Known
from lightwell.domain.archive.ports import (
    BlobInfo,
    Buffer,
    FreeSpace,
    StoreBroken,
    StoreFull,
    StoreUnavailable,
)
from lightwell.domain.patients.model import PatientFacts
from lightwell.kernel.errors import LightwellError, Unavailable
from lightwell.testing.sim.loop import NotYet, SimulatedLoop

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
TENANT = Tenant(key=1, name="default", label="Simulated", aet="LIGHTWELL")


class Killed(BaseException):
    """This process is no more. Not an Exception: nobody may handle it."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How often what goes wrong, as probabilities of one step."""

    store: float = 0.0  # begin, write, patch, confirm and read fail
    sync: float = 0.0  # EIO: the bytes are lost
    commit: float = 0.0  # refused, nothing is written
    lost_answer: float = 0.0  # committed, but the process is told that the database is gone
    hang_up: float = 0.0  # a sender goes away between two pieces

    @property
    def any(self) -> bool:
        return any((self.store, self.sync, self.commit, self.lost_answer, self.hang_up))


class World:
    """What all processes of one history share."""

    def __init__(self, loop: SimulatedLoop, random: Random, faults: Faults) -> None:
        self.loop = loop
        self.random = random
        self.faults = faults
        self.calm = False
        """Whether faults are over: recovery and the last round happen in good weather."""
        self.injected = 0
        self.unhandled: list[str] = []
        self.trace: list[str] = []
        self.database = MemoryDatabase()
        self.store = MemoryStore(hook=self._store_fault, now=self.now)
        self.journal: list[JournalEntry] = []
        self.written_twice: set[str] = set()
        """UIDs whose commit was tried again because its answer was lost: duplicates of themselves."""
        self.writing: dict[str, Process] = {}
        """Keys of objects whose writer still holds its lock."""
        self.transaction = asyncio.Lock()
        self.processes: list[Process] = []

    def on_unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """asyncio's last resort: what nobody awaited. The dead may leave such things, the living not."""
        error = context.get("exception")
        of_the_dead = isinstance(error, Killed) or (
            isinstance(error, LightwellError) and len(self.alive()) < len(self.processes)
        )
        if not of_the_dead:
            self.unhandled.append(f"{context.get('message')}: {error!r}")

    @property
    def tables(self) -> TenantTables:
        """The rows of the one tenant."""
        return self.database.of(TENANT.key)

    def now(self) -> datetime:
        """See `kernel.clock.Clock`."""
        return NOON + timedelta(seconds=self.loop.time())

    def monotonic(self) -> float:
        """See `kernel.clock.Clock`."""
        return self.loop.time()

    def say(self, what: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.loop.time():9.4f} {what}")

    def strikes(self, probability: float) -> bool:
        """Whether a fault of this probability happens now."""
        if self.calm or self.random.random() >= probability:
            return False
        self.injected += 1
        return True

    def start(self, name: str) -> Process:
        """Start a process."""
        process = Process(name, self)
        self.processes.append(process)
        return process

    def alive(self) -> list[Process]:
        """The processes that answer."""
        return [process for process in self.processes if process.alive]

    def kill(self, process: Process) -> None:
        """Signal 9: its locks and connections go, what it wrote stays in the page cache."""
        self.say(f"{process.name} is killed")
        self.injected += 1
        process.alive = False
        self.writing = {k: owner for k, owner in self.writing.items() if owner is not process}

    def lose_power(self) -> None:
        """Everything dies at once; bytes without a sync vanish, tear, or happen to be there."""
        self.say("the power goes")
        self.injected += 1
        for process in self.alive():
            process.alive = False
            process.powerless = True
        self.writing.clear()
        self.store.crash(self.random)

    def _store_fault(self, operation: str, key: str) -> None:
        if operation in ("delete", "list", "length", "put"):
            return
        if operation == "seal":
            if self.strikes(self.faults.sync):
                self.say("a sync fails")
                raise StoreBroken("Input/output error.")
        elif self.strikes(self.faults.store):
            self.say(f"a {operation} fails")
            errors = (StoreFull("full"), StoreUnavailable("late"), StoreBroken("broken"))
            raise self.random.choice(errors)


class Process:
    """One process with its own archive on the shared database and store."""

    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self.world = world
        self.alive = True
        self.powerless = False
        self.archive = Archive(
            blobs=ProcessStore(self),
            index=ProcessIndex(self),
            committer=ProcessCommitter(self),
            policy=_Everything(),
            journal=ProcessJournal(self),
            clock=world,
        )

    def must_live(self) -> None:
        """Raise Killed when this process is no more."""
        if not self.alive:
            raise Killed(self.name)

    def context(self, sender: str) -> Context:
        """What a door makes for a sender."""
        actor = Actor(ActorKind.PEER, sender, frozenset({"store", "get", "find"}), issuer="HOSP")
        return Context(TENANT, actor, channel="dimse", trace="simulated")


class _Everything:
    """`PolicySource`: nothing is denied."""

    async def standing(self, tenant: Tenant, actor: Actor) -> Standing:
        return NOBODY

    async def in_force(self, tenant: Tenant) -> Rules:
        return SHIPPED_RULES


class ProcessJournal:
    """The shared journal as one process appends to it: an append is durable, late, or refused."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def append(self, tenant: Tenant, kind: str, body: dict[str, Any]) -> None:
        world = self._process.world
        await world.loop.pause()
        self._process.must_live()
        if world.strikes(world.faults.store):
            raise StoreUnavailable("late")
        world.journal.append(JournalEntry(world.now(), kind, body))
        await world.loop.pause()
        self._process.must_live()

    async def entries(self, tenant: Tenant) -> AsyncIterator[JournalEntry]:
        for entry in list(self._process.world.journal):
            yield entry


class ProcessStore:
    """The shared `BlobStore` as one process reaches it."""

    quick = True

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world

    def _inner(self) -> MemoryStore:
        self._process.must_live()
        return self._world.store

    def begin(self, key: str) -> ProcessSink:
        sink = ProcessSink(self._inner().begin(key), self._process)
        self._world.writing[key] = self._process
        return sink

    def put(self, key: str, data: Buffer, *, replace: bool = False) -> None:
        self._inner().put(key, data, replace=replace)

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return self._inner().read(key, offset, length)

    def read_into(self, key: str, offset: int, target: memoryview) -> None:
        self._inner().read_into(key, offset, target)

    def length(self, key: str) -> int:
        return self._inner().length(key)

    def confirm(self, key: str, length: int) -> None:
        """Waits for the writer's lock, as the local folder does."""
        store = self._inner()
        if key in self._world.writing:
            raise NotYet
        store.confirm(key, length)

    def delete(self, key: str) -> None:
        self._inner().delete(key)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        return self._inner().list(prefix)

    def probe(self) -> None:
        self._inner().probe()

    def sweep(self, older_than_seconds: float) -> int:
        return self._inner().sweep(older_than_seconds)

    def free(self) -> FreeSpace | None:
        return self._inner().free()

    def itself(self) -> ProcessStore:
        return self

    def numbers(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        """The store outlives the process."""


class ProcessSink:
    """A `BlobSink` that its process holds a lock on until it is sealed or discarded."""

    def __init__(self, inner: MemorySink, process: Process) -> None:
        self.key = inner.key
        self.length = 0
        self._inner = inner
        self._process = process

    def write(self, chunk: Buffer) -> None:
        self._process.must_live()
        self._inner.write(chunk)
        self.length = self._inner.length

    def patch(self, offset: int, data: bytes) -> None:
        self._process.must_live()
        self._inner.patch(offset, data)

    def seal(self) -> None:
        self._process.must_live()
        try:
            self._inner.seal()
        finally:
            self._unlock()

    def discard(self) -> None:
        if self._process.alive:  # the dead clean nothing up
            self._inner.discard()
            self._unlock()

    def _unlock(self) -> None:
        if self._process.world.writing.get(self.key) is self._process:
            del self._process.world.writing[self.key]


class ProcessIndex(MemoryIndex):
    """Reads of the shared database, late and sometimes refused."""

    def __init__(self, process: Process) -> None:
        super().__init__(process.world.database)
        self._process = process

    async def known(
        self, tenant: Tenant, patient: PatientFacts, study_uid: str, sop_uid: str
    ) -> Known:
        world = self._process.world
        await world.loop.pause()
        self._process.must_live()
        if world.strikes(world.faults.commit):
            raise Unavailable("The database does not answer.")
        known = await super().known(tenant, patient, study_uid, sop_uid)
        await world.loop.pause()
        return known


class ProcessCommitter:
    """The shared database as one process writes to it: one transaction at a time, all or nothing."""

    def __init__(self, process: Process) -> None:
        self.counters = CommitCounters()
        self._process = process
        self._world = process.world
        self._inner = MemoryCommitter(process.world.database, durable=self._durable)

    async def commit(self, change: ChangeSet) -> Committed:
        world = self._world
        await world.loop.pause()
        async with world.transaction:
            self._process.must_live()
            if world.strikes(world.faults.commit):
                raise Unavailable("The database refused the change.")
            done = await self._inner.commit(change)
        await world.loop.pause()
        self._process.must_live()
        if world.strikes(world.faults.lost_answer):
            if isinstance(change.rows[0], ArrivalRow) and world.random.random() < 0.5:
                return await self._once_more(change)
            raise Unavailable("The database is gone; nobody knows what it did.")
        return done

    async def _once_more(self, change: ChangeSet) -> Committed:
        """The group commit tries each change of a failed group alone, not knowing that it is in."""
        row = change.rows[0]
        assert isinstance(row, ArrivalRow)
        self._world.written_twice.add(row.described.instance.sop_uid)
        async with self._world.transaction:
            self._process.must_live()
            return await self._inner.commit(change)

    def note(self, change: ChangeSet) -> None:
        """Notes of the dead are lost; the others wait for the transaction that is open."""
        self._world.loop.create_task(self._note(change))

    async def _note(self, change: ChangeSet) -> None:
        async with self._world.transaction:
            if self._process.alive:
                self._inner.note(change)

    async def _durable(self, change: ChangeSet) -> None:
        """While the database waits for its log. A transaction whose client dies may still commit."""
        await self._world.loop.pause()
        if self._process.powerless or (
            not self._process.alive and self._world.random.random() < 0.5
        ):
            raise Killed(self._process.name)


def some_weather(random: Random) -> Faults:
    """Fine in a quarter of the histories, else one to five kinds of fault, rare or frequent."""
    if random.random() < 0.25:
        return Faults()

    def rate() -> float:
        return random.choice((0.0, 0.02, 0.1, 0.3))

    return Faults(store=rate() / 3, sync=rate(), commit=rate(), lost_answer=rate(), hang_up=rate())
