"""Time as something handed in, so that a test or the simulator can own it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall clock for records, monotonic clock for leases and deadlines."""

    def now(self) -> datetime:
        """The instant in UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back; meaningful only as a difference."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()
