"""Limits on the cost of work that hold on any machine: they are stretched by how slow this one is."""

from __future__ import annotations

import time

_REFERENCE = 0.020  # processor seconds of the yardstick on the machine on which limits were set


def slowness() -> float:
    """How many times more processor time the same work takes here and now; at least 1.

    For `assert spent < 2 * slowness()`, with `spent` in processor time: waiting for a turn is no cost.
    """
    return max(1.0, *(_yardstick() / _REFERENCE for _ in range(3)))


def _yardstick() -> float:
    """Processor seconds of a fixed piece of work of the kind that parsers do."""
    started = time.process_time()
    seen: dict[int, bytes] = {}
    data = bytes(range(256)) * 4
    for number in range(180_000):
        start = number % 1000
        seen[number & 1023] = data[start : start + 8]
    return time.process_time() - started
