"""Work yields to the doors."""

from __future__ import annotations

import asyncio

import pytest

from lightwell.app.door_load import Reading, load_between, readings
from lightwell.app.heartbeat import CPU, Beat
from lightwell.workflows.yielding import LEAST_SHARE, LONGEST_SECONDS, Yielding, pause_after


@pytest.mark.parametrize(
    ("worked", "load", "pause"),
    [(2, 0.0, 0), (2, 0.05, 0), (2, 0.5, 2), (2, 0.75, 6), (1, 1.0, 9), (1, 7.0, 9), (100, 1, 10)],
)
def test_work_has_what_the_doors_leave(worked: float, load: float, pause: float) -> None:
    assert pause_after(worked, load) == pytest.approx(pause)


def test_work_never_stops() -> None:
    worked = 0.5
    pause = pause_after(worked, 1.0)
    assert worked / (worked + pause) >= LEAST_SHARE - 1e-9
    assert pause_after(1e9, 1.0) == LONGEST_SECONDS


class Time:
    def __init__(self) -> None:
        self.at = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.at += seconds


async def test_pauses_are_for_what_was_worked() -> None:
    time = Time()
    gate = Yielding(lambda: 0.5, lambda: time.at, time.sleep)
    async with gate.turn():
        assert time.slept == [], "nothing is owed yet"
        time.at += 1
        await gate.pressure()
        assert time.slept == [1]
        time.at += 2
    time.at += 1000  # nobody worked
    async with gate.turn():
        assert time.slept == [1, 2], "the last step's rest, not the time between"


async def test_two_steps_at_a_time_owe_both() -> None:
    time = Time()
    gate = Yielding(lambda: 0.5, lambda: time.at, time.sleep)
    go = asyncio.Event()

    async def one() -> None:
        async with gate.turn():
            await go.wait()

    tasks = [asyncio.create_task(one()) for _ in range(2)]
    await asyncio.sleep(0)
    time.at += 3
    go.set()
    await asyncio.gather(*tasks)
    await gate.pressure()
    assert time.slept == [6]


def test_the_load_is_the_doors_share_of_the_machine() -> None:
    before = {"http-1": Reading(0, 10), "dimse-1": Reading(0, 5)}
    after = {"http-1": Reading(2, 11), "dimse-1": Reading(2, 5.5), "http-2": Reading(2, 100)}
    assert load_between(before, after, cores=2) == pytest.approx(0.375)
    assert load_between(before, before, cores=2) == 0.0, "nobody has beaten again"
    assert load_between({"a": Reading(0, 50)}, {"a": Reading(2, 1)}, 2) == 0.0, "a new process"
    assert load_between({"a": Reading(0, 0)}, {"a": Reading(2, 99)}, 2) == 1.0


def test_only_doors_that_are_heard_count() -> None:
    heard = [
        Beat("http-1", "http", 1, 1.0, {CPU: 4.0}),
        Beat("dimse-1", "dimse", 2, 60.0, {CPU: 4.0}),
        Beat("work", "work", 3, 1.0, {CPU: 4.0}),
        Beat("dimse-2", "dimse", 4, 1.0, {}),
    ]
    assert readings(heard, 100.0) == {"http-1": Reading(99.0, 4.0)}
