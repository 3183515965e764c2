"""How the door is doing: plain numbers for the metrics page."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


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
class Counters:
    """A tally that many threads count in."""

    tally: Tally = field(default_factory=Tally)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, **amounts: int) -> None:
        """Add to several numbers at once; a name that does not exist is an AttributeError."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self.tally, name, getattr(self.tally, name) + amount)
