"""The contract of durable work (`workflows.ports`), held by the memory engine and by DBOS alike."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import pytest

from lightwell.access.context import Tenant
from lightwell.app.durable import Durable
from lightwell.app.wiring import House
from lightwell.backends.database.roles import Role
from lightwell.backends.engine.schema import migrate_engine
from lightwell.backends.memory.engine import MemoryEngine
from lightwell.kernel.clock import SystemClock
from lightwell.kernel.errors import Conflict, Invalid, Missing
from lightwell.testing.durable import Notes, workflows
from lightwell.workflows.ports import FINISHED, Engine, RunStatus, State

DEADLINE_SECONDS = 60.0


class Rig(Protocol):
    """An engine with a worker that can be sent away and come back."""

    engine: Engine
    tenant: Tenant
    other: Tenant
    notes: Notes
    broken: bool

    async def leave(self) -> None:
        """The worker goes, wherever it stands."""

    async def come(self) -> None:
        """A worker is there again."""

    async def tick(self) -> None:
        """Give schedules their chance."""


async def until(rig: Rig, run_id: str, *states: State) -> RunStatus:
    """Wait until a run is in one of these states (default: any finished one)."""
    return await seen(rig, run_id, lambda s: s.state in (states or FINISHED))


async def seen(rig: Rig, run_id: str, wanted: Callable[[RunStatus], bool]) -> RunStatus:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        status = await rig.engine.status(rig.tenant, run_id)
        if wanted(status):
            return status
        assert time.monotonic() < deadline, status
        await asyncio.sleep(0.05)


async def noted(notes: Notes, line: str, times: int = 1) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while notes.count(line) < times:
        assert time.monotonic() < deadline, notes.lines()
        await asyncio.sleep(0.05)


class MemoryRig:
    def __init__(self, folder: Path) -> None:
        self.notes = Notes(folder / "notes")
        self.broken = False
        self.tenant, self.other = Tenant(1, "a", "A", "A"), Tenant(2, "b", "B", "B")
        self.engine = MemoryEngine(workflows(self.notes, lambda: self.broken), SystemClock())

    async def leave(self) -> None:
        await self.engine.close()

    async def come(self) -> None:
        self.engine.recover()

    async def tick(self) -> None:
        await self.engine.start_due()


class DbosRig:
    def __init__(self, house: House, tenant: Tenant, other: Tenant, folder: Path) -> None:
        self.notes = Notes(folder / "notes")
        self.broken = False
        self.house, self.tenant, self.other = house, tenant, other
        self.engine = house.engine
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._durable: Durable | None = None

    async def come(self) -> None:
        self._stop = asyncio.Event()
        self._durable = Durable(
            self.house, workflows=workflows(self.notes, lambda: self.broken), rules=()
        )
        self._tasks = [asyncio.create_task(task) for task in self._durable.tasks(self._stop)]
        await asyncio.wait_for(self._durable.worker.launched.wait(), DEADLINE_SECONDS)

    async def leave(self) -> None:
        if self._durable is not None:
            self._stop.set()
            await asyncio.gather(*self._tasks)
            await self._durable.close()
            self._durable = None

    async def tick(self) -> None:
        """The foreman looks by itself."""


@pytest.fixture(scope="session")
def engine_schema(database_server: Any) -> None:
    """The engine's schema in the database that every test's own is copied from."""
    with ThreadPoolExecutor(1) as other:  # this thread may have a loop already
        other.submit(lambda: asyncio.run(migrate_engine(database_server.template))).result(120)


@pytest.fixture
def engine_house(engine_schema: None, house: House) -> House:
    """A house whose database has the engine's schema."""
    return house


@pytest.fixture
async def memory_rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = MemoryRig(tmp_path)
    yield made
    await made.leave()


@pytest.fixture
async def dbos_rig(engine_house: House, tmp_path: Path) -> AsyncIterator[Rig]:
    context = engine_house.operator(await engine_house.tenants.named(), "test")
    other = await engine_house.tenants.create(context, "other", aet="OTHER")
    made = DbosRig(engine_house, context.tenant, other, tmp_path)
    await made.come()
    try:
        yield made
    finally:
        await made.leave()


@pytest.fixture(params=["memory", "dbos"])
def rig(request: pytest.FixtureRequest) -> Rig:
    made: Rig = request.getfixturevalue(f"{request.param}_rig")
    return made


async def test_a_run_is_carried_out_once_however_often_it_is_started(rig: Rig) -> None:
    begun = [await rig.engine.start(rig.tenant, "three", "t:1", {"n": 7}) for _ in range(3)]
    assert begun == [True, False, False]
    status = await until(rig, "t:1")
    assert (status.state, status.error, status.attempts) == (State.DONE, "", 1)
    assert [rig.notes.count(name) for name in ("first", "second", "third")] == [1, 1, 1]
    assert not await rig.engine.start(rig.tenant, "three", "t:1", {"n": 8})
    assert (await rig.engine.status(rig.tenant, "t:1")).state is State.DONE


async def test_every_body_replays_from_its_records(rig: Rig) -> None:
    """A worker goes and comes in the middle of each; what is recorded is not done again."""
    await rig.engine.start(rig.tenant, "listener", "l", {"timeout": 60})
    await rig.engine.start(rig.tenant, "sleeper", "s", {"seconds": 3})
    await rig.engine.start(rig.tenant, "slow", "m", {"seconds": 2})
    await rig.engine.start(rig.tenant, "forgiving", "f", {})
    await rig.engine.signal(rig.tenant, "l", "word", "one")
    await noted(rig.notes, "heard one")
    await noted(rig.notes, "before")
    await noted(rig.notes, "middle")
    await seen(rig, "m", lambda s: s.step == "middle")
    await rig.leave()
    await rig.engine.signal(rig.tenant, "l", "word", "two")
    await rig.engine.signal(rig.tenant, "l", "word", "end")
    await rig.come()
    for name in ("l", "s", "m", "f"):
        status = await until(rig, name)
        assert (status.state, status.error) == (State.DONE, ""), name
    assert [rig.notes.count(f"heard {word}") for word in ("one", "two", "end")] == [1, 1, 1]
    assert rig.notes.count("slept enough") == 1
    assert rig.notes.count("before") == 1
    assert rig.notes.count("first") == 1
    assert rig.notes.count("middle") == 2, "the interrupted step is done again"
    assert rig.notes.count("last") == 1


async def test_a_run_that_is_not_there_is_missing(rig: Rig) -> None:
    for ask in (rig.engine.status, rig.engine.cancel, rig.engine.retry):
        with pytest.raises(Missing):
            await ask(rig.tenant, "no:such")
    with pytest.raises(Missing):
        await rig.engine.signal(rig.tenant, "no:such", "word", 1)


@pytest.mark.parametrize(
    ("workflow", "run_id", "arguments"),
    [
        ("three", "t", {"n": "x" * 3000}),
        ("three", "t", {"n": object()}),
        ("three", "t", {"n": float("nan")}),
        ("three", "t", {"n": "a\0b"}),
        ("three", "has a space", {"n": 1}),
        ("three", "", {"n": 1}),
        ("Three!", "t", {"n": 1}),
    ],
)
async def test_arguments_are_small_json_and_names_are_plain(
    rig: Rig, workflow: str, run_id: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(Invalid):
        await rig.engine.start(rig.tenant, workflow, run_id, arguments)


async def test_a_failed_run_goes_on_at_the_step_that_failed(rig: Rig) -> None:
    rig.broken = True
    await rig.engine.start(rig.tenant, "fragile", "f:1", {})
    failed = await until(rig, "f:1")
    assert failed.state is State.FAILED
    assert failed.error == "It is broken. Mend it."
    assert failed.step == "fragile"
    rig.broken = False
    await rig.engine.retry(rig.tenant, "f:1")
    done = await until(rig, "f:1", State.DONE)
    assert (done.error, done.attempts) == ("", 2)
    assert [rig.notes.count(name) for name in ("before", "fragile", "after")] == [1, 2, 1]
    with pytest.raises(Conflict):
        await rig.engine.retry(rig.tenant, "f:1")
    with pytest.raises(Conflict):
        await rig.engine.cancel(rig.tenant, "f:1")
    with pytest.raises(Conflict):
        await rig.engine.signal(rig.tenant, "f:1", "word", 1)


async def test_a_run_that_fails_twice_can_be_retried_twice(rig: Rig) -> None:
    rig.broken = True
    await rig.engine.start(rig.tenant, "fragile", "f:2", {})
    await until(rig, "f:2", State.FAILED)
    await rig.engine.retry(rig.tenant, "f:2")
    await noted(rig.notes, "fragile", 2)
    await seen(rig, "f:2", lambda s: s.state is State.FAILED and s.attempts == 2)
    rig.broken = False
    await rig.engine.retry(rig.tenant, "f:2")
    await until(rig, "f:2", State.DONE)
    assert rig.notes.count("before") == 1


async def test_a_failure_tells_no_data_and_a_body_may_catch_it(rig: Rig) -> None:
    await rig.engine.start(rig.tenant, "forgiving", "g", {})
    assert (await until(rig, "g")).state is State.DONE
    assert rig.notes.count("fails") == 1
    text = "\n".join(rig.notes.lines())
    assert "saw ValueError in lightwell.testing.durable:" in text
    assert "SMITH" not in text


async def test_what_may_pass_is_tried_again(rig: Rig) -> None:
    await rig.engine.start(rig.tenant, "stumbling", "st", {})
    status = await until(rig, "st")
    assert (status.state, status.error) == (State.DONE, "")
    assert rig.notes.count("stumbles") == 2


async def test_a_result_that_is_no_small_json_fails_its_run(rig: Rig) -> None:
    await rig.engine.start(rig.tenant, "too-much", "big", {})
    status = await until(rig, "big")
    assert status.state is State.FAILED
    assert "65536 bytes" in status.error


async def test_an_unknown_workflow_fails_and_says_so(rig: Rig) -> None:
    await rig.engine.start(rig.tenant, "nobody-knows", "u", {})
    status = await until(rig, "u")
    assert status.state is State.FAILED
    assert "nobody-knows" in status.error


async def test_a_cancelled_run_stops_within_its_step_and_can_go_on(rig: Rig) -> None:
    await rig.engine.start(rig.tenant, "slow", "c", {"seconds": 30})
    await seen(rig, "c", lambda s: s.step == "middle")
    await noted(rig.notes, "middle")
    await rig.engine.cancel(rig.tenant, "c")
    await until(rig, "c", State.CANCELLED)
    await rig.engine.cancel(rig.tenant, "c")
    assert rig.notes.count("last") == 0
    await rig.engine.retry(rig.tenant, "c")
    await noted(rig.notes, "middle", 2)
    assert rig.notes.count("first") == 1
    await rig.engine.cancel(rig.tenant, "c")
    await until(rig, "c", State.CANCELLED)


async def test_receive_gives_up_in_time(rig: Rig) -> None:
    await rig.engine.start(rig.tenant, "listener", "r", {"timeout": 0.3})
    assert (await until(rig, "r")).state is State.DONE
    assert rig.notes.count("heard None") == 1


async def test_the_last_progress_stays_with_a_finished_run(rig: Rig) -> None:
    """Said just before the body returns: no report comes in between."""
    for name, ending in (("well", State.DONE), ("badly", State.FAILED)):
        await rig.engine.start(rig.tenant, "quick", name, {"fails": ending is State.FAILED})
        status = await until(rig, name)
        assert status.state is ending
        assert (status.done, status.total, status.what) == (7, 9, "images")


async def test_unfinished_and_failed_runs_are_counted(rig: Rig) -> None:
    assert set((await rig.engine.counts(rig.tenant)).values()) == {0}
    await rig.engine.start(rig.tenant, "quick", "a", {"fails": True})
    await rig.engine.start(rig.tenant, "quick", "b", {"fails": False})
    await until(rig, "a")
    await until(rig, "b")
    counts = await rig.engine.counts(rig.tenant)
    assert counts == {State.WAITING: 0, State.RUNNING: 0, State.FAILED: 1}
    assert set((await rig.engine.counts(rig.other)).values()) == {0}
    status = await rig.engine.status(rig.tenant, "a")
    assert status.arguments == {"fails": True}
    assert status.asked == ""


async def test_progress_is_seen_while_a_step_runs(rig: Rig) -> None:
    await rig.engine.start(rig.tenant, "slow", "p", {"seconds": 30})
    status = await seen(rig, "p", lambda s: s.done > 2)
    assert (status.total, status.what, status.state) == (300, "tenths", State.RUNNING)
    await rig.engine.cancel(rig.tenant, "p")
    await until(rig, "p", State.CANCELLED)


async def test_a_body_that_takes_another_way_fails_instead_of_guessing(rig: Rig) -> None:
    await rig.engine.start(rig.tenant, "wavering", "w", {})
    await noted(rig.notes, "left")
    await seen(rig, "w", lambda s: s.step == "left")
    await asyncio.sleep(0.5)  # the step's record: nothing outside says when it is there
    await rig.leave()
    await rig.come()
    status = await until(rig, "w")
    assert status.state is State.FAILED
    assert rig.notes.count("right") == 0


async def test_a_tenant_sees_and_asks_only_its_own(rig: Rig) -> None:
    await rig.engine.start(rig.tenant, "three", "same", {"n": 1})
    assert await rig.engine.runs(rig.other) == []
    with pytest.raises(Missing):
        await rig.engine.cancel(rig.other, "same")
    assert await rig.engine.start(rig.other, "three", "same", {"n": 2})
    await until(rig, "same")
    assert len(await rig.engine.runs(rig.other)) == 1


async def test_runs_are_listed_newest_first_and_in_pages(rig: Rig) -> None:
    for number in range(5):
        await rig.engine.start(rig.tenant, "three", f"n:{number}", {"n": number})
    await rig.engine.start(rig.tenant, "nobody-knows", "n:bad", {})
    await until(rig, "n:bad")
    failed = await rig.engine.runs(rig.tenant, states=(State.FAILED,))
    assert [status.id for status in failed] == ["n:bad"]
    first = await rig.engine.runs(rig.tenant, limit=4)
    rest = await rig.engine.runs(rig.tenant, limit=4, before=first[-1])
    assert [s.id for s in first + rest] == ["n:bad", "n:4", "n:3", "n:2", "n:1", "n:0"]
    for number in range(5):
        await until(rig, f"n:{number}")


async def test_a_schedule_starts_runs_and_is_made_up_for_once(rig: Rig) -> None:
    await rig.engine.schedule(rig.tenant, "nightly", "three", {"n": 1}, every=1.0)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(found := await rig.engine.runs(rig.tenant)) < 2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
        await rig.tick()
    assert {status.workflow for status in found} == {"three"}
    assert all(status.id.startswith("nightly:") for status in found)
    await rig.engine.schedule(rig.tenant, "nightly", "three", {"n": 1}, every=3600.0)
    for status in await rig.engine.runs(rig.tenant):
        await until(rig, status.id)


# --- DBOS alone: processes that die ---------------------------------------------------------------


@contextlib.contextmanager
def worker(house: House, executor: str, notes: Notes) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "LIGHTWELL_DATABASE_URL": house.info.url(Role.OWNER),
        "LIGHTWELL_DATABASE_APP_URL": house.info.url(Role.APP),
        "LIGHTWELL_DATABASE_WORK_URL": house.info.url(Role.WORK),
    }
    with (notes.path.parent / f"{executor}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lightwell.testing.durable", str(house.settings.data),
             executor, str(notes.path)],
            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        process.wait(timeout=DEADLINE_SECONDS)


@pytest.fixture
async def parts(engine_house: House, tmp_path: Path) -> tuple[House, Tenant, Notes, Any]:
    tenant = await engine_house.tenants.named()
    rig = DbosRig(engine_house, tenant, tenant, tmp_path)
    return engine_house, tenant, rig.notes, rig


def who(notes: Notes, line: str) -> list[int]:
    """The processes that began this step."""
    return [int(each.split(" by ")[1]) for each in notes.lines() if each.split(" by ")[0] == line]


async def test_a_killed_workers_run_is_taken_over_by_another(parts: Any) -> None:
    house, tenant, notes, rig = parts
    with worker(house, "one", notes) as first:
        await house.engine.start(tenant, "slow", "k", {"seconds": 3})
        await noted(notes, "middle")
        with worker(house, "two", notes) as second:
            first.kill()
            killed = time.monotonic()
            await noted(notes, "middle", 2)
            print(
                f"taken over after {time.monotonic() - killed:.1f} s"
            )  # 12 s of silence and a round; an assertion would judge the machine
            status = await until(rig, "k")
            assert (status.state, status.error, status.attempts) == (State.DONE, "", 2)
            assert who(notes, "first") == [first.pid]
            assert who(notes, "middle") == [first.pid, second.pid]
            assert who(notes, "last") == [second.pid]


async def test_a_worker_that_comes_back_under_its_name_goes_on(parts: Any) -> None:
    house, tenant, notes, rig = parts
    with worker(house, "one", notes) as first:
        await house.engine.start(tenant, "sleeper", "z", {"seconds": 6})
        await noted(notes, "before")
        await asyncio.sleep(1)
        first.kill()
    with worker(house, "one", notes):
        assert (await until(rig, "z")).state is State.DONE
    assert notes.count("before") == 1
    assert notes.count("slept enough") == 1


async def test_a_worker_that_was_taken_for_dead_stops_its_steps(parts: Any) -> None:
    """It is stopped by SIGSTOP in mid-step, another takes over, it wakes up: one result."""
    house, tenant, notes, rig = parts
    with worker(house, "one", notes) as first:
        await house.engine.start(tenant, "slow", "y", {"seconds": 6})
        await noted(notes, "middle")
        with worker(house, "two", notes) as second:
            first.send_signal(signal.SIGSTOP)
            await noted(notes, "middle", 2)
            first.send_signal(signal.SIGCONT)
            status = await until(rig, "y")
            assert (status.state, status.error) == (State.DONE, "")
            assert who(notes, "last") == [second.pid]
            # And it is of use again.
            second.kill()
            await house.engine.start(tenant, "three", "after", {"n": 1})
            assert (await until(rig, "after")).state is State.DONE
            assert who(notes, "third") == [first.pid]


async def test_the_work_role_cannot_change_the_engines_schema(engine_house: House) -> None:
    async with engine_house.work.session() as connection:
        owner = await connection.fetchval(
            "SELECT tableowner FROM pg_tables WHERE schemaname = 'dbos' LIMIT 1"
        )
        rights = await connection.fetchval("SELECT has_schema_privilege('dbos', 'CREATE')")
    async with engine_house.database.session() as connection:
        doors = await connection.fetchval("SELECT has_schema_privilege('dbos', 'USAGE')")
    assert owner == Role.OWNER
    assert not rights
    assert not doors
    assert not await migrate_engine(engine_house.info), "made once"
