"""Durable work on a real database: fences, hand-over, what is put right again, the command, the server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from lightwell.access.context import Context, Tenant
from lightwell.app.durable import Durable
from lightwell.app.wiring import House
from lightwell.backends.database.executors import Executors
from lightwell.backends.database.foreman import Duty, Foreman
from lightwell.backends.database.run_book import DEATHS, NotMine, Progress, RunBook
from lightwell.backends.engine.desk import Desk, engine_id
from lightwell.backends.engine.handover import Handover
from lightwell.backends.engine.schema import migrate_engine
from lightwell.kernel.errors import Refused
from lightwell.testing.durable import Notes, workflows
from lightwell.testing.served import serving
from lightwell.workflows.ports import State

DEADLINE_SECONDS = 60.0


async def eventually(ask: Any, what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (answer := await ask()):
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)
    return answer


@pytest.fixture
async def tenant(house: House) -> Tenant:
    return await house.tenants.named()


async def begun(house: House, tenant: Tenant, run_id: str) -> tuple[RunBook, tuple[int, str]]:
    """A run that a worker of this test has begun, with the engine knowing nothing of it."""
    await house.engine.start(tenant, "three", run_id, {"n": 1})
    name = f"w-{uuid4().hex[:6]}"
    incarnation = await Executors(house.work).register(name)
    book, key = RunBook(house.work, name, incarnation), (tenant.key, run_id)
    assert await book.begin(key) == 0
    return book, key


async def test_a_run_is_its_last_workers_only(house: House, tenant: Tenant) -> None:
    old, key = await begun(house, tenant, "f:1")
    await old.step(key, "first", 1)
    name = f"w-{uuid4().hex[:6]}"
    new = RunBook(house.work, name, await Executors(house.work).register(name))
    assert await new.begin(key) == 1
    for write in (old.step(key, "second", 2), old.end(key, State.DONE)):
        with pytest.raises(NotMine):
            await write
    await old.progress({key: Progress(9, 9, "lies")})
    await new.progress({key: Progress(1, 2, "frames")})
    status = await house.engine.status(tenant, "f:1")
    assert (status.done, status.total, status.attempts) == (1, 2, 2)
    await new.end(key, State.DONE)
    assert await new.begin(key) is None


async def test_who_was_declared_dead_begins_nothing(house: House, tenant: Tenant) -> None:
    executors = Executors(house.work)
    incarnation = await executors.register("x")
    async with house.work.session() as connection:
        await connection.execute("UPDATE work_executor SET at = now() - interval '1 minute'")
    assert await executors.declare_dead() == ["x"]
    assert await executors.declare_dead() == []
    assert await executors.living() == set()
    assert not await executors.beat("x", incarnation)
    await house.engine.start(tenant, "three", "d:1", {"n": 1})
    with pytest.raises(NotMine):
        await RunBook(house.work, "x", incarnation).begin((tenant.key, "d:1"))
    again = await executors.register("x")
    assert await executors.beat("x", again)
    assert not await executors.beat("x", incarnation), "the old incarnation stays out"


async def test_deaths_count_at_one_step_only(house: House, tenant: Tenant) -> None:
    book, key = await begun(house, tenant, "p:1")
    await book.step(key, "first", 1)
    assert [await book.begin(key) for _ in range(3)] == [1, 2, 3]
    await book.step(key, "first", 1)
    assert await book.begin(key) == 4
    await book.step(key, "second", 2)
    assert await book.begin(key) == 1
    await book.end(key, State.FAILED, "x")


async def test_doors_ask_and_do_not_say(house: House, tenant: Tenant) -> None:
    await house.engine.start(tenant, "three", "r:1", {"n": 1})
    for statement in (
        "UPDATE work_run SET state = 'done'",
        "DELETE FROM work_run",
        "INSERT INTO work_run (tenant, run_id, workflow, arguments, state)"
        " VALUES (1, 'x', 'x', '{}', 'done')",
        "SELECT * FROM work_executor",
        "SELECT * FROM feed_position",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with house.database.transaction(tenant) as connection:
                await connection.execute(statement)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with house.database.session() as connection:
            await connection.fetch("SELECT * FROM work_run")


async def test_policy_denies_a_retry(house: House, context: Context) -> None:
    async with house.database.transaction(context.tenant) as connection:
        await connection.execute(
            "INSERT INTO policy_rule (tenant, action, reason)"
            " VALUES ($1, 'work:job:*', 'closed for today')",
            context.tenant.key,
        )

    async def denied() -> bool:
        try:
            await house.jobs.list(context)
        except Refused:
            return True
        return False

    await eventually(denied, "rules may be a second old")
    with pytest.raises(Refused, match="closed for today"):
        await house.jobs.retry(context, "any")


async def test_a_foreman_whose_session_ends_is_replaced(house: House) -> None:
    done: list[str] = []

    def duty(name: str) -> Duty:
        async def act(_connection: Any) -> int:
            done.append(name)
            return 0

        return Duty(name, 0.05, act)

    stop, lock = asyncio.Event(), 4711
    one = asyncio.create_task(Foreman(house.info, [duty("one")], lock=lock).run(stop))
    await eventually(lambda: _soon("one" in done), "the first one works")
    two = asyncio.create_task(Foreman(house.info, [duty("two")], lock=lock).run(stop))
    await asyncio.sleep(0.5)
    assert "two" not in done
    one.cancel()
    await eventually(lambda: _soon("two" in done), "the second one takes over")
    stop.set()
    await asyncio.gather(one, two, return_exceptions=True)


async def _soon(answer: bool) -> bool:
    return answer


# --- with the engine ------------------------------------------------------------------------------


@pytest.fixture
async def desk(house: House) -> AsyncIterator[Desk]:
    await migrate_engine(house.info)
    made = Desk(house.info)
    yield made
    await asyncio.to_thread(made.close)


@pytest.fixture
async def running(house: House, desk: Desk, tmp_path: Path) -> AsyncIterator[Notes]:
    """A worker with the suite's workflows; its notes."""
    notes, stop = Notes(tmp_path / "notes"), asyncio.Event()
    durable = Durable(house, workflows=workflows(notes), rules=())
    tasks = [asyncio.create_task(task) for task in durable.tasks(stop)]
    await asyncio.wait_for(durable.worker.launched.wait(), DEADLINE_SECONDS)
    yield notes
    stop.set()
    await asyncio.gather(*tasks)
    await durable.close()


async def finished(house: House, tenant: Tenant, run_id: str, state: State) -> None:
    async def ask() -> bool:
        return (await house.engine.status(tenant, run_id)).state is state

    await eventually(ask, f"{run_id} is {state}")


async def test_every_part_of_the_hand_over_can_be_repeated(
    house: House, tenant: Tenant, desk: Desk
) -> None:
    """Killed after the engine was asked and before the row was changed: asked again."""
    handover = Handover(house.work, desk)
    await house.engine.start(tenant, "three", "h:1", {"n": 1})
    await house.engine.signal(tenant, "h:1", "word", "one")
    for _ in range(2):
        async with house.work.session() as connection:
            await connection.execute("UPDATE work_run SET handed = false")
        assert await handover.step() >= 1
    await house.engine.cancel(tenant, "h:1")
    assert await handover.step() == 1
    assert (await house.engine.status(tenant, "h:1")).state is State.CANCELLED
    async with house.work.session() as connection:
        await connection.execute("UPDATE work_run SET state = 'waiting', asked = 'cancel'")
    assert await handover.step() == 1
    assert await handover.step() == 0
    assert await asyncio.to_thread(desk.states, [(tenant.key, "h:1")]) == {
        (tenant.key, "h:1"): "CANCELLED"
    }


async def test_a_cancelled_run_that_nobody_had_begun_can_be_retried(
    house: House, tenant: Tenant, running: Notes
) -> None:
    async with house.work.session() as connection:
        await connection.execute(
            "INSERT INTO work_run (tenant, run_id, workflow, arguments, state)"
            " VALUES ($1, 'c:1', 'three', '{\"n\": 1}', 'cancelled')",
            tenant.key,
        )
    await house.engine.retry(tenant, "c:1")
    await finished(house, tenant, "c:1", State.DONE)


async def test_a_run_that_the_engine_has_forgotten_is_given_to_it_again(
    house: House, tenant: Tenant, desk: Desk, running: Notes
) -> None:
    """After a restore that brought our rows back and the engine's not."""
    async with house.work.session() as connection:
        await connection.execute(
            "INSERT INTO work_run (tenant, run_id, workflow, arguments, handed, compared)"
            " VALUES ($1, 'l:1', 'three', '{\"n\": 1}', true, now() - interval '1 hour')",
            tenant.key,
        )
    assert await Handover(house.work, desk).reconcile() == 1
    await finished(house, tenant, "l:1", State.DONE)


async def test_a_row_follows_what_the_engine_says(house: House, tenant: Tenant, desk: Desk) -> None:
    handover = Handover(house.work, desk)
    for name in ("e:cancelled", "e:waiting", "e:well"):
        await house.engine.start(tenant, "three", name, {"n": 1})
    await handover.step()
    await asyncio.to_thread(desk.cancel, (tenant.key, "e:cancelled"))
    await asyncio.to_thread(desk.cancel, (tenant.key, "e:waiting"))
    async with house.work.session() as connection:
        await connection.execute(
            "UPDATE work_run SET state = 'running' WHERE run_id = 'e:cancelled'"
        )
    assert await handover.reconcile(-1.0) == 3
    assert (await house.engine.status(tenant, "e:cancelled")).state is State.CANCELLED
    states = await asyncio.to_thread(desk.states, [(tenant.key, "e:waiting")])
    assert list(states.values()) == ["ENQUEUED"], "a retry that was cut short is finished"


async def test_a_run_that_kills_its_workers_is_given_up(
    house: House, tenant: Tenant, running: Notes
) -> None:
    async with house.work.session() as connection:
        await connection.execute(
            "INSERT INTO work_run (tenant, run_id, workflow, arguments, state, deaths, step)"
            " VALUES ($1, 'k:1', 'three', '{\"n\": 1}', 'waiting', $2, 'first')",
            tenant.key,
            DEATHS + 1,
        )
    await finished(house, tenant, "k:1", State.FAILED)
    assert "died" in (await house.engine.status(tenant, "k:1")).error
    await house.engine.retry(tenant, "k:1")
    await finished(house, tenant, "k:1", State.DONE)


async def test_old_jobs_are_forgotten(
    house: House, tenant: Tenant, desk: Desk, running: Notes
) -> None:
    await house.engine.start(tenant, "three", "o:1", {"n": 1})
    await finished(house, tenant, "o:1", State.DONE)
    async with house.work.session() as connection:
        await connection.execute("UPDATE work_run SET updated = now() - interval '40 days'")
    assert await Handover(house.work, desk).forget_old() == 1
    assert await house.engine.runs(tenant) == []
    assert await asyncio.to_thread(desk.states, [(tenant.key, "o:1")]) == {}


async def test_a_worker_whose_database_goes_away_comes_back(
    house: House, tenant: Tenant, running: Notes
) -> None:
    """Every session of the role is ended, in mid-step; the run is done all the same."""
    await house.engine.start(tenant, "slow", "s:1", {"seconds": 2})
    await eventually(lambda: _soon(running.count("middle") == 1), "the step runs")
    async with house.work.session() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = current_user AND pid <> pg_backend_pid()"
            " AND datname = current_database()"
        )
    await finished(house, tenant, "s:1", State.DONE)
    assert running.count("last") == 1
    assert engine_id((1, "a")) == "1/a"


async def test_a_run_given_to_a_worker_that_does_not_have_it_is_given_again(
    house: House, tenant: Tenant, desk: Desk, running: Notes
) -> None:
    """The engine says that a living worker has it; its row names another, long gone."""
    await house.engine.start(tenant, "slow", "g:1", {"seconds": 4})
    await eventually(lambda: _soon(running.count("middle") == 1), "the step runs")
    async with house.work.session() as connection:
        await connection.execute("UPDATE work_run SET executor = 'gone', incarnation = NULL")
    assert await Handover(house.work, desk).reconcile(-1.0) == 1
    await finished(house, tenant, "g:1", State.DONE)
    assert running.count("last") == 1


# --- the command and the server -------------------------------------------------------------------


async def test_the_jobs_command(installation: Any, house: House, tenant: Tenant) -> None:
    await house.engine.start(tenant, "three", "j:1", {"n": 1})
    async with house.work.session() as connection:
        await connection.execute(
            "UPDATE work_run SET state = 'failed', error = 'No room.', step = 'pack', done = 3,"
            " total = 9, what = 'frames'"
        )

    async def run(*arguments: str) -> Any:
        return await asyncio.to_thread(installation.run, "jobs", *arguments)

    listed = json.loads((await run("list", "--json")).stdout)
    assert [(job["id"], job["state"], job["error"]) for job in listed] == [
        ("j:1", "failed", "No room.")
    ]
    assert json.loads((await run("list", "--json", "--state", "done")).stdout) == []
    table = (await run("list")).stdout
    assert "3/9" in table
    shown = (await run("show", "j:1")).stdout
    assert "No room." in shown
    assert (await run("retry", "j:1", "--json")).returncode == 0
    async with house.work.session() as connection:
        assert await connection.fetchval("SELECT asked FROM work_run") == "retry"
    refused = await run("cancel", "j:1")
    assert refused.returncode == 2
    assert "nothing to cancel" in refused.stderr
    missing = await run("show", "no:such")
    assert missing.returncode == 2


def test_the_server_carries_out_work() -> None:
    """No workflow is known by that name; that the run fails for it shows that it was taken up."""

    async def work(house: House) -> str:
        tenant = await house.tenants.named()
        await house.engine.start(tenant, "no-such-workflow", "x:1", {})
        await finished(house, tenant, "x:1", State.FAILED)
        return (await house.engine.status(tenant, "x:1")).error

    with serving(workers=1) as served:
        assert "no-such-workflow" in served.within(work)
        assert (served.data / "executor-id").read_text().startswith("work-")
        log = (served.data / "logs" / "work.log").read_text()
        assert "carries out runs" in log
        assert "Conductor" not in log
