"""An event loop whose clock jumps: no waiting, no threads, the same order for the same seed.

Work for the default executor (file syncs, reads) runs on the loop after a drawn delay and answers
after another one, so that syncs and commits overtake each other as they do on a disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

RETRY_SECONDS = 0.005


class NothingHappens(RuntimeError):
    """Every task waits for something that no task, timer or thread will ever do."""


class NotYet(Exception):
    """Raised by executor work that would block now: it is run again a little later."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """`asyncio` with drawn delays instead of time. Sockets and subprocesses are not to be had."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self._now = 0.0
        self._clock_resolution = 1e-9
        self._selector = _Jump(self._pass)
        self.steps = 0
        """Rounds of the loop so far: every point between two awaits lies in one of them."""
        self._at_step: tuple[int, Callable[[], None]] | None = None

    def time(self) -> float:
        """Seconds since the beginning of this history."""
        return self._now

    def delay(self) -> float:
        """How long a step takes: mostly a moment, sometimes long enough to be overtaken."""
        kind = self._random.random()
        longest = 0.001 if kind < 0.6 else 0.02 if kind < 0.9 else 0.3
        return self._random.random() * longest

    async def pause(self) -> None:
        """Let a drawn moment pass."""
        await asyncio.sleep(self.delay())

    def run_in_executor(
        self, executor: object, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run `func` later on this loop. Like a thread's work it cannot be cancelled, only ignored."""
        answer: asyncio.Future[T] = self.create_future()
        self.call_later(self.delay(), self._execute, answer, func, args)
        return answer

    def _execute(
        self, answer: asyncio.Future[T], func: Callable[..., T], args: tuple[Any, ...]
    ) -> None:
        try:
            result = func(*args)
        except NotYet:
            self.call_later(RETRY_SECONDS, self._execute, answer, func, args)
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            self.call_later(self.delay(), _fail, answer, error)
        else:
            self.call_later(self.delay(), _answer, answer, result)

    def at_step(self, number: int, act: Callable[[], None]) -> None:
        """Do something before round `number`."""
        self._at_step = (number, act)

    def _pass(self, seconds: float) -> None:
        self._now += seconds
        self.steps += 1
        if self._at_step is not None and self._at_step[0] == self.steps:
            self._at_step[1]()

    # What BaseEventLoop leaves to the loops that have sockets:

    def _process_events(self, event_list: list[object]) -> None:
        """There are no file descriptors."""

    def _write_to_self(self) -> None:
        """There are no threads to wake up for."""


class _Jump:
    """Stands where a selector would wait for descriptors: time passes at once."""

    def __init__(self, passes: Callable[[float], None]) -> None:
        self._passes = passes

    def select(self, timeout: float | None) -> list[object]:
        if timeout is None:
            raise NothingHappens("all tasks wait for each other")
        self._passes(max(timeout, 0.0))
        return []

    def close(self) -> None:
        """Nothing is open."""


def _answer(answer: asyncio.Future[T], result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: asyncio.Future[T], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
