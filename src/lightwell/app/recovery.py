"""After an unclean stop: look at what was stored last, before anybody relies on it.

File sync and commit overlap, so a power cut may leave a committed row whose bytes never reached the
disk. Such a row was never acknowledged (an acknowledgement needs both): it is withdrawn. Rows whose
bytes are whole stay: their sender repeats, and meets a duplicate.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Container

from lightwell.access.actions import Action
from lightwell.access.context import Tenant, system_context
from lightwell.access.operation import Act
from lightwell.app.wiring import House
from lightwell.domain.archive import events
from lightwell.domain.archive.keys import LANDED, blob_key
from lightwell.domain.archive.model import WithdrawRow
from lightwell.domain.archive.ports import BlobMissing
from lightwell.kernel.errors import Broken

log = logging.getLogger("lightwell.recovery")

RECENT = 512  # newest rows looked at: far more than arrivals can be between commit and sync
CHUNK = 1024 * 1024

_RECENT = """
SELECT i.sop_uid, i.blob_id, i.off, i.length, i.data_off, i.sha256 FROM instance i
JOIN blob b ON b.tenant = i.tenant AND b.blob_id = i.blob_id AND b.inline IS NULL AND b.kind = 1
WHERE i.tenant = $1 ORDER BY i.instance_key DESC LIMIT $2
"""


async def recheck_recent(house: House, away: Container[str] = ()) -> int:
    """Withdraw the newest rows whose bytes are not whole; returns how many there were.

    Runs before any door opens. Regions that are `away` are passed over: what was acknowledged there is whole,
    and whoever repeats the rest meets a duplicate, whose bytes are looked at before that is said.
    """
    withdrawn = 0
    for tenant in await house.tenants.everyone():
        if tenant.region in away:
            log.warning("the last objects of tenant %d cannot be looked at", tenant.key)
            continue
        async with house.database.transaction(tenant) as connection:
            rows = await connection.fetch(_RECENT, tenant.key, RECENT)
        for row in rows:
            key = blob_key(tenant.region, tenant.name, LANDED, row["blob_id"])
            start = row["off"] + row["data_off"]
            end = row["off"] + row["length"]
            whole = await asyncio.to_thread(_is_whole, house, key, start, end, row["sha256"])
            if not whole:
                await _withdraw(house, tenant, row["sop_uid"], row["blob_id"])
                withdrawn += 1
    if withdrawn:
        log.warning("%d objects of the last moments were not whole and were withdrawn", withdrawn)
    return withdrawn


def _is_whole(house: House, key: str, start: int, end: int, sha256: bytes) -> bool:
    digest = hashlib.sha256()
    try:
        while start < end:
            piece = house.blobs.itself().read(key, start, min(CHUNK, end - start))
            if not piece:
                return False
            digest.update(piece)
            start += len(piece)
    except (BlobMissing, Broken):
        return False
    return digest.digest() == sha256


async def _withdraw(house: House, tenant: Tenant, sop_uid: str, blob_id: uuid.UUID) -> None:
    act = Act(house.archive, system_context(tenant), Action.ARCHIVE_INSTANCE_STORE)
    act.about(subject=sop_uid, detail="withdrawn after an unclean stop: the bytes are not whole")
    await act.commit((WithdrawRow(sop_uid, blob_id),), (events.withdrawn(sop_uid),))
