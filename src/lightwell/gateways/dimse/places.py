"""Who may be connected, and who may have an association: two counts that no peer can exhaust alone.

A connection without an association waits in the :class:`WaitingRoom`, where the oldest of a crowded
source makes room for the newest, so that silent sockets keep nobody out (reliability D02). An
association takes one of the :class:`Slots`; when there is none, the peer is told so and may come back.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lightwell.gateways.dimse.limits import DimseLimits


class WaitingRoom:
    """Connections without an association, oldest first. Thread safe."""

    def __init__(self, limits: DimseLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._inside: dict[object, tuple[str, Callable[[], None]]] = {}
        self._sources: Counter[str] = Counter()

    def enter(self, who: object, source: str, leave_now: Callable[[], None]) -> bool:
        """Come in from *source*; whether somebody had to go, who was told by his ``leave_now``."""
        with self._lock:
            out = self._crowded_out(source)
            if out is not None:
                _, push = self._remove(out)
            self._inside[who] = (source, leave_now)
            self._sources[source] += 1
        if out is None:
            return False
        push()
        return True

    def leave(self, who: object) -> None:
        """Go, to an association or for good; who was pushed out is gone already."""
        with self._lock:
            if who in self._inside:
                self._remove(who)

    def __len__(self) -> int:
        return len(self._inside)

    def _crowded_out(self, source: str) -> object | None:
        """The oldest of a source that has its share already, else of all when the room is full."""
        if self._sources[source] >= self._limits.waiting_per_source:
            return next(who for who, (from_, _) in self._inside.items() if from_ == source)
        if len(self._inside) >= self._limits.waiting:
            return next(iter(self._inside))
        return None

    def _remove(self, who: object) -> tuple[str, Callable[[], None]]:
        source, push = self._inside.pop(who)
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]
        return source, push


class NoSlot(Exception):
    """A limit on associations is reached."""


class Slots:
    """How many associations there may be: of a peer, of a tenant, of the process. Thread safe."""

    def __init__(self, limits: DimseLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._peers: Counter[tuple[int, str]] = Counter()
        self._tenants: Counter[int] = Counter()

    @contextmanager
    def taken(self, tenant: int, peer: str) -> Iterator[None]:
        """Hold a slot. Raises NoSlot."""
        self._take(tenant, peer)
        try:
            yield
        finally:
            with self._lock:
                self._tenants[tenant] -= 1
                self._peers[tenant, peer] -= 1
                if not self._peers[tenant, peer]:
                    del self._peers[tenant, peer]

    @property
    def in_use(self) -> int:
        """Associations now."""
        with self._lock:
            return self._tenants.total()

    def _take(self, tenant: int, peer: str) -> None:
        limits = self._limits
        with self._lock:
            if (
                self._peers[tenant, peer] >= limits.associations_per_peer
                or self._tenants[tenant] >= limits.associations_per_tenant
                or self._tenants.total() >= limits.associations
            ):
                raise NoSlot
            self._peers[tenant, peer] += 1
            self._tenants[tenant] += 1
