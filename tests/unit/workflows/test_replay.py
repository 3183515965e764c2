"""The memory engine under crashes at every point, on a clock that jumps."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from lightwell.access.context import Tenant
from lightwell.backends.memory.engine import MemoryEngine
from lightwell.testing.sim.loop import SimulatedLoop
from lightwell.workflows.ports import FINISHED, Arguments, Run, State

TENANT = Tenant(1, "a", "A", "A")
EPOCH = datetime(2026, 11, 24, tzinfo=UTC)


class LoopClock:
    """Wall clock and monotonic clock of a simulated loop."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()


class World:
    """Counts what steps did to it, and what the body saw."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.seen: list[tuple[Any, ...]] = []

    async def body(self, run: Run, arguments: Arguments) -> None:
        numbers = [await run.step(f"add {n}", self._act, f"add {n}", n) for n in range(3)]
        first = await run.now()
        await run.sleep(100)
        second = await run.now()
        word = await run.receive("word", 50)
        await run.step("end", self._act, "end", word)
        self.seen.append((numbers, first, second, word))

    async def _act(self, name: str, value: Any) -> Any:
        self.done.append(name)
        await asyncio.sleep(1)
        return value


def history(seed: int) -> World:
    """One run under crashes drawn from the seed."""
    random, world = Random(seed), World()
    loop = SimulatedLoop(random)

    async def live() -> None:
        engine = MemoryEngine({"body": world.body}, LoopClock(loop))
        await engine.start(TENANT, "body", "r", {})
        await engine.signal(TENANT, "r", "word", seed)
        crashes = random.randrange(6)
        while (await engine.status(TENANT, "r")).state not in FINISHED:
            await asyncio.sleep(random.random() * 60)
            if crashes:
                crashes -= 1
                engine.crash()
                await asyncio.sleep(random.random() * 5)
                engine.recover()
        status = await engine.status(TENANT, "r")
        assert (status.state, status.error) == (State.DONE, ""), seed

    try:
        loop.run_until_complete(live())
    finally:
        loop.close()
    return world


@pytest.mark.parametrize("seed", range(60))
def test_a_body_sees_the_same_however_often_its_worker_crashes(seed: int) -> None:
    world = history(seed)
    ((numbers, first, second, word),) = world.seen
    assert numbers == [0, 1, 2]
    assert second - first > timedelta(seconds=99.9)  # clocks round
    assert word == seed
    assert set(world.done) == {"add 0", "add 1", "add 2", "end"}


def test_a_recorded_step_is_not_done_again() -> None:
    """Without a crash in mid-step each is done once; one crash repeats one step at most."""
    for seed in range(60):
        done = history(seed).done
        assert len(done) <= 4 + 5, seed
        assert done == sorted(done, key=["add 0", "add 1", "add 2", "end"].index), seed
