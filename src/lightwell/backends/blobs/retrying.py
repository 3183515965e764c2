"""How long and how often a store over the network is asked before a caller hears "unavailable".

One `Retry` serves all threads of a store. Temporary failures are tried again with full jitter (a
random wait, so that a thousand waiting calls do not come back in one wave) until its deadline;
permanent ones are raised at once. A circuit breaker keeps a dead store from costing every caller the
whole deadline: after a row of failures calls are refused at once, and one call a while is let
through to see whether the store is back. No restart is needed (reliability page 3.8, S04).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from lightwell.domain.archive.ports import StoreUnavailable
from lightwell.kernel.errors import LightwellError

T = TypeVar("T")

DEADLINE_SECONDS = 5.0


class Breaker:
    """Closed (all calls pass), open (none), half-open (one passes, as the probe). Thread-safe."""

    def __init__(
        self,
        *,
        failures: int = 5,
        first_pause: float = 0.5,
        longest_pause: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open after `failures` in a row, for `first_pause` seconds, doubled at each failed probe."""
        self._limit = failures
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = 0
        self._pause = first_pause
        self._closed_again_at = 0.0
        self._probing = False

    def admit(self) -> None:
        """Raise StoreUnavailable unless a call may be made now."""
        with self._lock:
            if self._failed < self._limit:
                return
            wait = self._closed_again_at - self._clock()
            if wait > 0 or self._probing:
                raise StoreUnavailable(
                    f"The object store has failed {self._failed} times in a row and is left alone "
                    f"for {max(wait, 0.0):.1f} s more."
                )
            self._probing = True

    def answered(self) -> None:
        """The store answered, be it with a refusal: it is there."""
        with self._lock:
            self._failed = 0
            self._pause = self._first_pause
            self._probing = False

    def failed(self) -> None:
        """The store did not answer, or with a temporary failure."""
        with self._lock:
            self._failed += 1
            if self._probing:
                self._pause = min(self._pause * 2, self._longest_pause)
                self._probing = False
            if self._failed >= self._limit:
                self._closed_again_at = self._clock() + self._pause

    def let_go(self) -> None:
        """A call ended without saying anything about the store (a bug, Ctrl-C): free the probe."""
        with self._lock:
            self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether a call made now would be refused; for the status page."""
        with self._lock:
            return self._failed >= self._limit and self._clock() < self._closed_again_at


class Retry:
    """Calls an idempotent function until it succeeds, fails for good, or time is up."""

    def __init__(
        self,
        breaker: Breaker,
        *,
        deadline: float = DEADLINE_SECONDS,
        attempt: float = 2.4,
        first_wait: float = 0.05,
        longest_wait: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
    ) -> None:
        """`attempt`: the longest that one call can take by its own timeouts, in seconds.

        No call is begun that could end after `deadline`.
        """
        self._breaker = breaker
        self._last_begin = deadline - attempt
        self._first_wait = first_wait
        self._longest_wait = longest_wait
        self._clock = clock
        self._sleep = sleep
        self._random = rng or random.Random()

    def call(self, work: Callable[[int], T]) -> T:
        """Run `work(attempt)`, attempt counting from 1; the last StoreUnavailable if all fail."""
        began = self._clock()
        ceiling = self._first_wait
        attempt = 1
        while True:
            self._breaker.admit()
            try:
                result = work(attempt)
            except StoreUnavailable:
                self._breaker.failed()
                wait = self._random.uniform(0, ceiling)
                if self._clock() + wait - began > self._last_begin:
                    raise
            except LightwellError:
                self._breaker.answered()
                raise
            except BaseException:
                self._breaker.let_go()
                raise
            else:
                self._breaker.answered()
                return result
            self._sleep(wait)
            ceiling = min(ceiling * 2, self._longest_wait)
            attempt += 1
