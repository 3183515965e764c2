"""Leases held by this process: the grant, what it opens, what was read under it.

A lease is asked for once, recorded before the first byte, and then serves without database work. It
ends after `LEASE_SECONDS`, or at once when somebody corrects or rejects what it opens (`drop`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from lightwell.access.context import Actor
from lightwell.access.policy import Circumstances
from lightwell.domain.archive.model import Lease

LEASE_SECONDS = 15 * 60.0
HELD = 512  # leases a process remembers; located instances are the memory this costs

Opened = frozenset[tuple[str, str]]
NOT_OPENED: Opened = frozenset()
Scope = tuple[int, Actor, str, str, str | None, Opened, Circumstances]
"""Tenant, actor, channel, study, series, the patients that the actor's session has opened in an emergency
(when one is shut, what it opened is not found any more), and what policies know of where and when it is
asked: a lease granted inside the house opens nothing outside."""


@dataclass(slots=True)
class Use:
    """What was read under one lease."""

    lease: Lease
    instances: int = 0
    bytes: int = 0
    reported: tuple[int, int] = (0, 0)


class LeaseDesk:
    """Thread-safe: DIMSE threads and the event loop both read here."""

    def __init__(self) -> None:
        self._held: OrderedDict[Scope, Use] = OrderedDict()
        self._lock = threading.Lock()
        self._drops = 0

    @property
    def drops(self) -> int:
        """How often something was forgotten; see `hold`."""
        return self._drops

    def find(self, scope: Scope, now: float) -> Lease | None:
        """A lease for exactly this scope, or for the whole study, that has not ended."""
        series_uid = scope[4]
        with self._lock:
            for key in (scope, (*scope[:4], None, *scope[5:])):
                use = self._held.get(key)
                if use is None or use.lease.expires <= now:
                    continue
                if series_uid is None and key[4] is not None:
                    continue
                self._held.move_to_end(key)
                return use.lease
        return None

    def hold(self, scope: Scope, lease: Lease, drops: int) -> list[Use] | None:
        """Keep a new lease; returns what it displaces, to be closed.

        `drops` is as it was before its instances were located. None when something was forgotten since:
        a correction or rejection may have come in between, so they must be located again.
        """
        displaced = []
        with self._lock:
            if drops != self._drops:
                return None
            old = self._held.pop(scope, None)
            if old is not None:
                displaced.append(old)
            self._held[scope] = Use(lease)
            while len(self._held) > HELD:
                displaced.append(self._held.popitem(last=False)[1])
        return displaced

    def count(self, lease: Lease, scope: Scope, instances: int, size: int) -> None:
        """Note what was served."""
        use = self._held.get(scope)
        if use is not None and use.lease.lease_id == lease.lease_id:
            use.instances += instances
            use.bytes += size

    def drop(self, tenant: int, study_uid: str) -> list[Use]:
        """Forget what was located in a study ('' = every study of the tenant)."""
        with self._lock:
            self._drops += 1
            gone = [
                scope for scope in self._held if scope[0] == tenant and study_uid in ("", scope[3])
            ]
            return [self._held.pop(scope) for scope in gone]

    def expire(self, now: float) -> list[tuple[int, Use, bool]]:
        """(tenant, use, closed) of leases that ended or whose use has grown since the last report."""
        due = []
        with self._lock:
            for scope, use in list(self._held.items()):
                ended = use.lease.expires <= now
                if ended:
                    del self._held[scope]
                if ended or (use.instances, use.bytes) != use.reported:
                    use.reported = (use.instances, use.bytes)
                    due.append((scope[0], use, ended))
        return due
