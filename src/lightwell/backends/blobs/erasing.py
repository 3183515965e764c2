"""Every object of a tenant that is erased, deleted from the store and what is kept in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from lightwell.domain.archive.keys import tenant_prefix
from lightwell.domain.archive.ports import BlobInfo, BlobStore
from lightwell.kernel.crashpoints import reach

PAGE = 500  # objects listed and deleted together
AT_ONCE = 8  # requests to a store that is not local


class StoredObjects:
    """`workflows.erase_tenant.TenantObjects` over any blob store."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs  # with its caches: what is deleted through them is dropped there, too

    async def erase(self, region: str, name: str) -> AsyncIterator[int]:
        """See the port."""
        listing = self._blobs.list(tenant_prefix(region, name))
        while count := await asyncio.to_thread(self._page, listing):
            yield count

    def _page(self, listing: Iterator[BlobInfo]) -> int:
        """Blocking. Raises the first failure, when all that were begun have ended."""
        keys = [info.key for info in islice(listing, PAGE)]
        with ThreadPoolExecutor(1 if self._blobs.quick else AT_ONCE) as pool:
            for _ in pool.map(self._delete, keys):
                pass
        return len(keys)

    def _delete(self, key: str) -> None:
        reach("e3")
        self._blobs.delete(key)
