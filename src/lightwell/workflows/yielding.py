"""Work yields to the doors: the busier they are, the longer work pauses after what it did.

The signal is the share of this machine's processor time that the door processes used lately, out of
their heartbeats: cheap, the same on every machine, and honest for DICOM, DICOMweb and web app alike. It
does not see a slow disk or a database that waits; the operating system's priority (`work` runs at a lower
one) does the rest. Work never stops: under full load it keeps a tenth of its time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

LEAST_SHARE = 0.1  # of the time, for work, however busy the doors are
LONGEST_SECONDS = 10.0  # of one pause
FREE_LOAD = 0.1  # below it the doors are idle: a list is being looked at


def pause_after(worked: float, load: float) -> float:
    """Seconds to pause after having worked that many seconds, at a load of the doors from 0 to 1.

    So that work has `1 - load` of the time: nothing at rest, as long again at half load.
    """
    if load <= FREE_LOAD:
        return 0.0
    share = max(LEAST_SHARE, 1.0 - min(load, 1.0))
    return min(LONGEST_SECONDS, max(0.0, worked) * (1.0 - share) / share)


class Yielding:
    """The gate of one worker. `load` says how busy the doors are, from 0 to 1."""

    def __init__(
        self,
        load: Callable[[], float],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._load = load
        self._monotonic = monotonic
        self._sleep = sleep
        self._owed = 0.0  # seconds worked and not paused for yet
        self._since: WeakKeyDictionary[asyncio.Task[Any], float] = WeakKeyDictionary()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Around a step: pauses for the steps before it, and counts this one."""
        task = asyncio.current_task()
        assert task is not None
        await self._pay()
        self._since[task] = self._monotonic()
        try:
            yield
        finally:
            self._owed += self._monotonic() - self._since.pop(task)

    async def pressure(self) -> None:
        """Await this within a long step, every second or so: pauses for what it has worked since."""
        task = asyncio.current_task()
        assert task is not None
        now = self._monotonic()
        self._owed += now - self._since.get(task, now)
        await self._pay()
        if task in self._since:
            self._since[task] = self._monotonic()

    async def _pay(self) -> None:
        owed, self._owed = self._owed, 0.0
        pause = pause_after(owed, self._load())
        if pause > 0:
            await self._sleep(pause)
