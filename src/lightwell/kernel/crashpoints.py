"""Where a test may end the process with signal 9: the crash points of one arrival.

`LIGHTWELL_CRASH_AT=k4` (or `k4:3`, at the third passing) arms one point of the path that every object
takes, for the whole life of the process and of its children. Unarmed, `reach` is one comparison.

k0  a connection or upload is accepted        k5   the bytes are durable
k1  the first bytes are staged                k6   the transaction is about to be sent
k2  the header is parsed                      k6c  the transaction is committed
k3  the object is admitted                    k7   the success is about to be sent
k4  the file is about to be synced

and of settling a series:

s1  its objects are known                     s4   the transaction is about to be sent
s2  the pack is written and proved            s5   the rows are switched
s3  manifest, metadata and preview are put    s6   what nobody refers to is about to be deleted

and of erasing a tenant:

e1  it is in the journal, nothing has gone    e4   the tenant is about to go
e2  some of its rows are gone                 e5   it is gone, and nobody has said so
e3  one of its objects is about to go         e6   it is said, and not noted as finished
"""

from __future__ import annotations

import os
import signal
import threading

VARIABLE = "LIGHTWELL_CRASH_AT"
POINTS = (
    *("k0", "k1", "k2", "k3", "k4", "k5", "k6", "k6c", "k7"),
    *("s1", "s2", "s3", "s4", "s5", "s6"),
    *("e1", "e2", "e3", "e4", "e5", "e6"),
)


class Trap:
    """Kills this process at the n-th passing of one point. Thread-safe."""

    def __init__(self, point: str, passing: int) -> None:
        self.point = point
        self.left = passing
        self._lock = threading.Lock()

    def passes(self, point: str) -> None:
        """Count a passing; the last one that is counted does not return."""
        if point != self.point:
            return
        with self._lock:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def armed(text: str | None) -> Trap | None:
    """The trap that *text* (`POINT[:N]`) describes; None without one. Raises ValueError."""
    if not text:
        return None
    point, _, passing = text.partition(":")
    if point not in POINTS or (passing and not (passing.isdecimal() and int(passing) > 0)):
        raise ValueError(f"{VARIABLE} is POINT[:N] with a point of {', '.join(POINTS)}: {text!r}")
    return Trap(point, int(passing or 1))


_trap = armed(os.environ.get(VARIABLE))


def reach(point: str) -> None:
    """Say that a crash point is being passed."""
    if _trap is not None:
        _trap.passes(point)
