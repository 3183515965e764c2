"""How often a machine that comes without TLS may search (clinical 11): it bounds what can be carried away."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_MACHINES: Final = 1024


class QueryPace:
    """A bucket a machine: full at first, filled again at an even pace. Thread safe.

    `a_minute`: searches a minute, and how many at once after a pause.
    """

    def __init__(self, a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = float(a_minute)
        self._rate = a_minute / 60.0
        self._clock = clock
        self._lock = threading.Lock()
        self._left: OrderedDict[tuple[int, str], tuple[float, float]] = OrderedDict()

    def takes(self, tenant: int, machine: str) -> bool:
        """Count one search; False, and nothing counted, when it comes too soon."""
        now = self._clock()
        key = (tenant, machine)
        with self._lock:
            left, since = self._left.get(key, (self._most, now))
            left = min(self._most, left + (now - since) * self._rate)
            taken = left >= 1.0
            self._left[key] = (left - 1.0 if taken else left, now)
            self._left.move_to_end(key)
            if len(self._left) > _MACHINES:
                self._left.popitem(last=False)
        return taken
