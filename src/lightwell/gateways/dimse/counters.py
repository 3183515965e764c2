"""How the door is doing: plain numbers for the metrics page, and the same by machine.

What is told of single machines is bounded: the ones heard of last, and the last refusals. It begins anew with
the process; what was refused stands in the audit record for good.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from typing import Any, Final

MACHINES: Final = 256
REFUSALS: Final = 50


@dataclass(slots=True)
class Tally:
    """Totals since the start of the process, but for ``waiting`` and ``active``, which are now."""

    connections: int = 0
    waiting: int = 0
    active: int = 0
    associations: int = 0
    rejected: int = 0
    crowded_out: int = 0
    released: int = 0
    aborted_by_peer: int = 0
    connection_lost: int = 0
    protocol_errors: int = 0
    stalled: int = 0
    timed_out: int = 0
    failed_handshakes: int = 0
    broken: int = 0
    denied: int = 0
    echoes: int = 0
    stored: int = 0
    store_failures: int = 0
    bytes_received: int = 0
    queries: int = 0
    rows_found: int = 0
    retrievals: int = 0
    suboperations: int = 0
    suboperation_failures: int = 0
    bytes_sent: int = 0
    commitments_requested: int = 0
    reports_delivered: int = 0
    reports_failed: int = 0


@dataclass(slots=True)
class MachineTally:
    """One machine under one of our titles, since the start of the process. ``heard``: Unix seconds."""

    associations: int = 0
    echoes: int = 0
    stored: int = 0
    store_failures: int = 0
    bytes_received: int = 0
    queries: int = 0
    retrievals: int = 0
    suboperations: int = 0
    suboperation_failures: int = 0
    denied: int = 0
    heard: float = 0.0


OF_A_MACHINE: Final = frozenset(MachineTally.__dataclass_fields__) - {"heard"}


@dataclass(slots=True)
class Refusal:
    """Associations turned away alike: how often, and when last (Unix seconds)."""

    times: int = 0
    at: float = 0.0


Called = tuple[str, str]
"""Called and calling AE title."""


@dataclass(slots=True)
class Counters:
    """A tally that many threads count in."""

    tally: Tally = field(default_factory=Tally)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _machines: OrderedDict[Called, MachineTally] = field(default_factory=OrderedDict)
    _refusals: OrderedDict[tuple[str, str, str, str], Refusal] = field(default_factory=OrderedDict)

    def add(self, **amounts: int) -> None:
        """Add to several numbers at once; a name that does not exist is an AttributeError."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self.tally, name, getattr(self.tally, name) + amount)

    def of(self, called: str, calling: str) -> MachineCounters:
        """Counts for the door and for a machine that was let in."""
        return MachineCounters(self, (called, calling))

    def add_of(self, machine: Called, amounts: dict[str, int]) -> None:
        """Add to a machine's numbers what there is of them."""
        with self._lock:
            tally = self._machines.setdefault(machine, MachineTally())
            self._machines.move_to_end(machine)
            if len(self._machines) > MACHINES:
                self._machines.popitem(last=False)
            tally.heard = time.time()
            for name in OF_A_MACHINE & amounts.keys():
                setattr(tally, name, getattr(tally, name) + amounts[name])

    def refuse(self, called: str, calling: str, address: str, why: str) -> None:
        """An association was turned away. The same again is counted, not listed."""
        with self._lock:
            self.tally.rejected += 1
            key = (called, calling, address, why)
            refusal = self._refusals.setdefault(key, Refusal())
            self._refusals.move_to_end(key)
            if len(self._refusals) > REFUSALS:
                self._refusals.popitem(last=False)
            refusal.times += 1
            refusal.at = time.time()

    def seen(self) -> dict[str, Any]:
        """What is known of single machines, as JSON: `machines` and `refusals`, the latest last."""
        with self._lock:
            return {
                "machines": [
                    {"called": called, "calling": calling, **asdict(tally)}
                    for (called, calling), tally in self._machines.items()
                ],
                "refusals": [
                    {
                        "called": called,
                        "calling": calling,
                        "address": address,
                        "why": why,
                        **asdict(refusal),
                    }
                    for (called, calling, address, why), refusal in self._refusals.items()
                ],
            }


class MachineCounters(Counters):
    """What one association counts: in the door's tally, and for its machine."""

    def __init__(self, door: Counters, machine: Called) -> None:
        super().__init__(tally=door.tally)
        self._door = door
        self._machine = machine

    def add(self, **amounts: int) -> None:
        """See `Counters`."""
        self._door.add(**amounts)
        if not OF_A_MACHINE.isdisjoint(amounts):
            self._door.add_of(self._machine, amounts)
