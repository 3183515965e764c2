"""Which packs go to the cool store, and which come back: the rule of `LIGHTWELL_COOL_AFTER`."""

from __future__ import annotations

import asyncio
import time
import uuid

from lightwell.access.context import Tenant, system_context
from lightwell.app.wiring import House
from lightwell.backends.blobs.tiered import TieredStore
from lightwell.backends.database.storage_classes import (
    cool_packs_opened,
    hot_packs_unopened,
    mark_cool,
)
from lightwell.domain.archive.cooling_api import Cooling
from lightwell.domain.archive.keys import PACK, blob_of_key, kind_prefix
from lightwell.domain.archive.ports import BlobStore
from lightwell.kernel.errors import Conflict, Invalid, LightwellError

DAY_SECONDS = 86_400.0
AGAIN_SECONDS = 3600.0  # before one that could not be moved is tried again
LOOK = 32  # candidates at a time


def cooling_of(house: House) -> Cooling:
    """The archive's fifth front door. Raises Invalid where there is no cool store."""
    blobs = house.blobs
    if not isinstance(blobs, TieredStore):
        raise Invalid(
            "This installation has no cool store.",
            remedy="Name one in LIGHTWELL_COOL_STORE_URL: a folder, or s3://…",
        )
    return Cooling(
        hot=blobs.hot,
        cool=blobs.cool,
        index=house.index,
        committer=house.committer,
        policy=house.policy,
        clock=house.archive.clock,
        folder=str(house.settings.staging),
    )


async def check_cool(house: House) -> None:
    """Raises Conflict when packs lie in a cool store that is not named any more."""
    if isinstance(house.blobs, TieredStore):
        return
    async with house.work.session() as connection:
        if await connection.fetchval(
            "SELECT EXISTS (SELECT 1 FROM series_pack WHERE cooled IS NOT NULL)"
        ):
            raise Conflict(
                "Packs of this installation lie in a cool store, and none is named.",
                remedy="Set LIGHTWELL_COOL_STORE_URL as it was.",
            )


async def find_cool(house: House) -> None:
    """After a re-index: what lies in the cool store is said to."""
    if not isinstance(house.blobs, TieredStore):
        return
    for tenant in await house.tenants.everyone():
        ids = await asyncio.to_thread(_packs_in, house.blobs.cool, tenant)
        await mark_cool(house.work, tenant.key, ids)


def _packs_in(store: BlobStore, tenant: Tenant) -> list[uuid.UUID]:
    keys = (info.key for info in store.list(kind_prefix(tenant.region, tenant.name, PACK)))
    return [blob_id for key in keys if (blob_id := blob_of_key(key)) is not None]


class CoolingDuty:
    """One series a step: first back what was read since it went, then away what nobody opens."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._later: dict[tuple[int, str, str], float] = {}

    async def step(self) -> int:
        """Move the packs of one series, if any is due; how many were moved."""
        house = self._house
        if not isinstance(house.blobs, TieredStore):
            return 0
        cooling = cooling_of(house)
        seconds = house.settings.cool_after * DAY_SECONDS
        for back, due in (
            (True, await cool_packs_opened(house.work, LOOK)),
            (False, await hot_packs_unopened(house.work, seconds, LOOK)),
        ):
            for key, study_uid, series_uid in due:
                place = (key, study_uid, series_uid)
                tenant = next((t for t in await house.tenants.everyone() if t.key == key), None)
                if (
                    tenant is None
                    or tenant.suspended
                    or self._later.get(place, 0.0) > time.monotonic()
                ):
                    continue
                act = cooling.recall if back else cooling.cool
                try:
                    return await act(system_context(tenant), study_uid, series_uid)
                except LightwellError:
                    self._later[place] = time.monotonic() + AGAIN_SECONDS
                    raise
        return 0
