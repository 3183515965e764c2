"""Retry and breaker on a clock of the test's own."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.backends.blobs.retrying import Breaker, Retry
from lightwell.domain.archive.ports import BlobMissing, StoreBroken, StoreUnavailable


class Clock:
    """Time that passes only when somebody sleeps or works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def a_retry(clock: Clock, breaker: Breaker | None = None, seed: int = 1) -> Retry:
    return Retry(
        breaker or Breaker(failures=1000, clock=clock),
        clock=clock,
        sleep=clock.sleep,
        rng=random.Random(seed),
    )


def failing(clock: Clock, seconds: float, calls: list[int]) -> Callable[[int], str]:
    def work(attempt: int) -> str:
        calls.append(attempt)
        clock.sleep(seconds)
        raise StoreUnavailable("no answer")

    return work


def test_a_success_is_passed_on() -> None:
    clock = Clock()
    assert a_retry(clock).call(lambda attempt: attempt) == 1
    assert clock.now == 0


def test_temporary_failures_are_tried_again() -> None:
    def work(attempt: int) -> int:
        if attempt < 4:
            raise StoreUnavailable("no answer")
        return attempt

    assert a_retry(Clock()).call(work) == 4


@pytest.mark.parametrize("error", [StoreBroken("no"), BlobMissing("no"), ValueError("bug")])
def test_everything_else_is_raised_at_once(error: Exception) -> None:
    calls = []

    def work(attempt: int) -> None:
        calls.append(attempt)
        raise error

    with pytest.raises(type(error)):
        a_retry(Clock()).call(work)
    assert calls == [1]


@given(seed=st.integers(0, 10_000), seconds=st.floats(0, 2.4))
def test_no_call_ends_after_the_deadline(seed: int, seconds: float) -> None:
    clock = Clock()
    calls: list[int] = []
    with pytest.raises(StoreUnavailable):
        a_retry(clock, seed=seed).call(failing(clock, seconds, calls))
    assert clock.now <= 5.0
    assert calls == list(range(1, len(calls) + 1))
    assert len(calls) >= 2 or seconds > 2.0


def test_waits_are_spread() -> None:
    ends = set()
    for seed in range(20):
        clock = Clock()
        with pytest.raises(StoreUnavailable):
            a_retry(clock, seed=seed).call(failing(clock, 0, []))
        ends.add(round(clock.now, 6))
    assert len(ends) == 20


def a_dead_breaker(clock: Clock) -> Breaker:
    breaker = Breaker(failures=3, first_pause=1.0, longest_pause=4.0, clock=clock)
    for _ in range(3):
        breaker.admit()
        breaker.failed()
    return breaker


def test_the_breaker_opens_after_a_row_of_failures_and_refuses_without_a_call() -> None:
    clock = Clock()
    breaker = a_dead_breaker(clock)
    assert breaker.is_open
    calls: list[int] = []
    with pytest.raises(StoreUnavailable, match="left alone"):
        a_retry(clock, breaker).call(failing(clock, 0, calls))
    assert calls == []


def test_one_call_passes_when_half_open_and_success_closes_it() -> None:
    clock = Clock()
    breaker = a_dead_breaker(clock)
    clock.sleep(1.0)
    assert not breaker.is_open
    breaker.admit()
    with pytest.raises(StoreUnavailable):
        breaker.admit()
    breaker.answered()
    breaker.admit()
    breaker.admit()


def test_each_failed_probe_doubles_the_pause_up_to_a_limit() -> None:
    clock = Clock()
    breaker = a_dead_breaker(clock)
    for pause in (1.0, 2.0, 4.0, 4.0):
        clock.sleep(pause - 0.01)
        with pytest.raises(StoreUnavailable):
            breaker.admit()
        clock.sleep(0.01)
        breaker.admit()
        breaker.failed()


def test_a_refusal_by_the_store_shows_that_it_is_there() -> None:
    clock = Clock()
    breaker = a_dead_breaker(clock)
    clock.sleep(1.0)

    def refused(attempt: int) -> None:
        raise BlobMissing("no such object")

    with pytest.raises(BlobMissing):
        a_retry(clock, breaker).call(refused)
    breaker.admit()


def test_a_probe_that_dies_of_a_bug_does_not_keep_the_breaker_shut_for_ever() -> None:
    clock = Clock()
    breaker = a_dead_breaker(clock)
    clock.sleep(1.0)

    def bug(attempt: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        a_retry(clock, breaker).call(bug)
    assert a_retry(clock, breaker).call(lambda attempt: "back") == "back"


def test_of_many_threads_one_probes() -> None:
    clock = Clock()
    breaker = a_dead_breaker(clock)
    clock.sleep(1.0)
    admitted = []
    start = threading.Barrier(16)

    def ask() -> None:
        start.wait(10)
        try:
            breaker.admit()
            admitted.append(1)
        except StoreUnavailable:
            return

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(admitted) == 1
