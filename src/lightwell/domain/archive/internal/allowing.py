"""How much a tenant may still keep: asked before a new object gets its row.

Far from its limits a tenant is asked for once a second; near them with every arrival. Objects whose rows are
committed at the same moment do not see each other: a tenant may end beyond its limit by what was in flight,
which is one object an association and sixteen an upload.
"""

from __future__ import annotations

from lightwell.access.context import Tenant
from lightwell.domain.archive.errors import QuotaReached
from lightwell.domain.archive.model import Allowance
from lightwell.domain.archive.ports import Index
from lightwell.kernel.clock import Clock

REMEMBER_SECONDS = 1.0
FAR_BYTES = 8 << 30  # more than a second of arrivals at any speed we have seen
FAR_STUDIES = 1000


class Allowances:
    """What each tenant may keep, as this process last read it. Used on the process's loop."""

    def __init__(self, index: Index, clock: Clock) -> None:
        self._index = index
        self._clock = clock
        self._known: dict[int, tuple[float, Allowance]] = {}

    async def of(self, tenant: Tenant) -> Allowance:
        """What is kept and may be kept. Raises Unavailable."""
        now = self._clock.monotonic()
        known = self._known.get(tenant.key)
        if known is not None and now - known[0] < REMEMBER_SECONDS:
            return known[1]
        found = await self._index.allowance(tenant)
        if found.leaves(FAR_BYTES, FAR_STUDIES):
            self._known[tenant.key] = (now, found)
        else:
            self._known.pop(tenant.key, None)
        return found


def checked_room(allowance: Allowance, size: int, studies: int) -> None:
    """Raises QuotaReached when so many bytes and studies more are too much."""
    if not allowance.leaves(size, studies):
        raise QuotaReached(
            "The quota of this archive is reached; the object was not stored.",
            remedy="Ask the PACS administrator for room, then send it again.",
        )
