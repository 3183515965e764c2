"""The archive's sixth front door: giving a tenant's objects away as plain files.

Each object is a Part 10 file whose data set is what arrived, compared with the digest of its arrival while it
is written; of a pixel-exact series it is the native form that is kept. Nothing is decided here: what is
shown, rejected and kept aside is given out, each in its own place.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from lightwell.access.actions import Action
from lightwell.access.commit import Committer
from lightwell.access.context import Tenant
from lightwell.access.operation import Act, operation
from lightwell.access.ports import PolicySource
from lightwell.dicom.part10 import write_meta
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal import checking
from lightwell.domain.archive.internal.stock import Stock
from lightwell.domain.archive.invariants import KeptObject
from lightwell.domain.archive.ports import BlobMissing, BlobStore, FrameCoder
from lightwell.domain.archive.upkeep_ports import Ledger
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Broken

PAGE = 500  # rows (with their inline bytes) at a time


@dataclass(frozen=True, slots=True)
class Parcel:
    """One object on its way out. `key`: of its row, unique among those kept aside or not."""

    kept: KeptObject
    tenant: Tenant
    stock: Stock

    @property
    def place(self) -> str:
        """Where it goes: by its row, which does not change; nothing from a data set."""
        folder = "aside" if self.kept.aside else "objects"
        return f"{folder}/{self.kept.key // 1000:06d}/{self.kept.key:09d}.dcm"

    def chunks(self) -> Iterator[bytes]:
        """The file. Raises Damaged before its end when it is not what arrived, or is not there. Blocking."""
        kept, digest = self.kept, hashlib.sha256()
        yield write_meta(kept.sop_class, kept.sop_uid, kept.syntax)
        try:
            for piece in checking.data_set(self.stock, self.tenant, kept):
                digest.update(piece)
                yield bytes(piece)
        except (BlobMissing, Broken) as error:
            raise Damaged(f"The object of row {kept.key} cannot be read.") from error
        if digest.digest() != kept.digest:
            raise Damaged(f"The object of row {kept.key} does not have the digest of its arrival.")


class Export:
    """One a process, beside `Archive`, on the same store and rows."""

    def __init__(
        self,
        *,
        blobs: BlobStore,
        ledger: Ledger,
        committer: Committer,
        policy: PolicySource,
        clock: Clock,
        coder: FrameCoder | None = None,
    ) -> None:
        self.policy = policy
        self.committer = committer
        self.clock = clock
        self._stock = Stock(blobs.itself(), coder)
        self._ledger = ledger

    @operation(Action.TENANTS_TENANT_EXPORT)
    async def begin(self, act: Act) -> AsyncIterator[Parcel]:
        """Every object of the tenant, by row; what comes while it is read may or may not be among them."""
        act.about(detail="its objects are written out")
        return self._parcels(act.context.tenant)

    async def _parcels(self, tenant: Tenant) -> AsyncIterator[Parcel]:
        for aside in (False, True):
            after = -1
            while page := await self._ledger.kept(tenant, aside=aside, after=after, limit=PAGE):
                after = page[-1].key
                for kept in page:
                    yield Parcel(kept, tenant, self._stock)
                await asyncio.sleep(0)
