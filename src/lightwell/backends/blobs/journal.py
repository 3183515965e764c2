"""The journal: one small object an entry, under the tenant's `journal/` keys.

An entry's key begins with its time, so that listing a tenant's journal is reading it in order; the
random rest keeps two entries of one instant apart.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from lightwell.access.context import Tenant
from lightwell.access.ports import JournalEntry
from lightwell.domain.archive.keys import JOURNAL, kind_prefix
from lightwell.domain.archive.ports import BlobStore
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Broken


class BlobJournal:
    """`access.ports.Journal` over any blob store."""

    def __init__(self, blobs: BlobStore, clock: Clock) -> None:
        self._blobs = blobs
        self._clock = clock

    async def append(self, tenant: Tenant, kind: str, body: dict[str, Any]) -> None:
        """See the port."""
        at = self._clock.now()
        entry = {"v": 1, "at": at.isoformat(), "kind": kind, "body": body}
        raw = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
        stamp = at.strftime("%Y%m%d%H%M%S%f")
        prefix = kind_prefix(tenant.region, tenant.name, JOURNAL)
        key = f"{prefix}{stamp[:6]}/{stamp}-{secrets.token_hex(6)}"
        await asyncio.to_thread(self._blobs.put, key, raw)

    async def entries(self, tenant: Tenant) -> AsyncIterator[JournalEntry]:
        """See the port."""
        prefix = kind_prefix(tenant.region, tenant.name, JOURNAL)
        keys = await asyncio.to_thread(lambda: sorted(i.key for i in self._blobs.list(prefix)))
        for key in keys:
            raw = await asyncio.to_thread(self._blobs.read, key)
            yield _parsed(key, raw)


def _parsed(key: str, raw: bytes) -> JournalEntry:
    try:
        entry = json.loads(raw)
        return JournalEntry(
            at=datetime.fromisoformat(entry["at"]), kind=str(entry["kind"]), body=entry["body"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Broken(
            f"The journal entry {key} cannot be read.",
            remedy="Restore it from a copy of the store; nothing was changed.",
        ) from error
