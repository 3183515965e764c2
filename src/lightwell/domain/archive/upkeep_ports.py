"""What the upkeep of the archive asks of its rows, each method a contract.

All are reads of one tenant, may take minutes, and give bounded answers.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Protocol

from lightwell.access.context import Tenant
from lightwell.domain.archive.invariants import Found, Generation, KeptObject


class Ledger(Protocol):
    """The index as an auditor reads it. Raises Unavailable."""

    async def kept(
        self, tenant: Tenant, *, aside: bool, after: int, limit: int
    ) -> list[KeptObject]:
        """Kept objects with a greater key, by key; inline bytes included."""

    async def newest(self, tenant: Tenant, limit: int) -> list[KeptObject]:
        """The instances that were written last."""

    async def kept_again(self, tenant: Tenant, objects: list[KeptObject]) -> list[KeptObject]:
        """The same objects as they are now; those whose rows are gone are left out."""

    async def generations(
        self, tenant: Tenant, *, after: tuple[int, int], limit: int
    ) -> list[Generation]:
        """Generations of settled series behind this place, in order."""

    async def generations_again(
        self, tenant: Tenant, generations: list[Generation]
    ) -> list[Generation]:
        """The same as they are now; those whose rows are gone are left out."""

    async def known_blobs(self, tenant: Tenant, blobs: list[uuid.UUID]) -> set[uuid.UUID]:
        """Which of these have a blob row."""

    async def unreferenced(self, tenant: Tenant) -> Found:
        """Blob rows that no instance and no QC item refers to, packs of a generation that none does."""

    async def repeated(self, tenant: Tenant) -> Found:
        """Events that led to two finished runs of a name, objects that two generations claim, instances
        in a pack of another series."""

    async def miscounted(self, tenant: Tenant) -> Found:
        """Studies and series whose counters (deltas included) are not what their instances say."""

    async def seen_twice(self, tenant: Tenant) -> Found:
        """Instances visible under two rows, whose parents disagree, or of another tenant."""

    async def unrecorded(self, tenant: Tenant) -> Found:
        """Instances without an audit record in the transaction that stored them."""

    async def unchained(self, tenant: Tenant) -> Found:
        """Audit records that were changed, taken away or never put on the chain."""

    async def wrongly_readable(self, tenant: Tenant) -> Found:
        """Instances whose bytes are those of an item that is kept aside."""

    async def overdue(self, tenant: Tenant, leases: datetime, commitments: datetime) -> Found:
        """Open leases that expired, and commitments waiting since, before these instants."""
