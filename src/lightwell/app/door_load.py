"""How busy the doors are: the processor time of their processes, out of the heartbeats."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lightwell.app.heartbeat import CPU, PERIOD_SECONDS, STALE_SECONDS, Beat, beats
from lightwell.app.wiring import House
from lightwell.kernel.errors import LightwellError

DOORS = frozenset({"dimse", "http"})


@dataclass(frozen=True, slots=True)
class Reading:
    """A door's processor seconds, and when it said so."""

    at: float
    cpu: float


def readings(heard: Iterable[Beat], now: float) -> dict[str, Reading]:
    """The doors that were heard of lately. `now` is on any clock that runs evenly."""
    return {
        beat.name: Reading(now - beat.age, beat.detail[CPU])
        for beat in heard
        if beat.role in DOORS and beat.age <= STALE_SECONDS and CPU in beat.detail
    }


def load_between(before: Mapping[str, Reading], after: Mapping[str, Reading], cores: int) -> float:
    """The share of the machine that the doors used, from 0 to 1. A process that was started anew, or
    has not beaten again, counts for nothing."""
    used = 0.0
    for name, last in after.items():
        first = before.get(name)
        if first is not None and last.cpu >= first.cpu and last.at - first.at > PERIOD_SECONDS / 4:
            used += (last.cpu - first.cpu) / (last.at - first.at)
    return min(1.0, used / max(1, cores))


class DoorLoad:
    """Reads the heartbeats every two seconds."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._before: dict[str, Reading] = {}
        self.load = 0.0

    async def listen(self, stop: asyncio.Event) -> None:
        """Until told to stop. Without an answer of the database the last load stands."""
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            try:
                after = readings(await beats(self._house), loop.time())
                self.load = load_between(self._before, after, os.cpu_count() or 1)
                self._before = after
            except LightwellError:
                self._before = {}
            try:
                async with asyncio.timeout(PERIOD_SECONDS):
                    await stop.wait()
            except TimeoutError:
                continue
