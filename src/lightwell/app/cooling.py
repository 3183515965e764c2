"""Which packs go to the cool store, and which come back: the rule of `LIGHTWELL_COOL_AFTER`."""

from __future__ import annotations

import asyncio
import time
import uuid

from lightwell.access.context import Tenant, system_context
from lightwell.app.wiring import House
from lightwell.backends.blobs.regions import RegionalStore
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


def tiers(house: House) -> dict[str, TieredStore]:
    """Both stores of each region that has a cool one."""
    return {name: store for name, store in house.stores.items() if isinstance(store, TieredStore)}


def cooling_of(house: House, region: str | None = None) -> Cooling:
    """The archive's fifth front door. Raises Invalid where there is no cool store: in a region, or at all."""
    both = tiers(house)
    if not both or (region is not None and region not in both):
        where = "This installation" if len(house.stores) == 1 else f"The region {region}"
        raise Invalid(
            f"{where} has no cool store.",
            remedy="Name one in LIGHTWELL_COOL_STORE_URL, or as its cool_store in the file of regions.",
        )
    return Cooling(
        hot=RegionalStore({name: store.hot for name, store in both.items()}),
        cool=RegionalStore({name: store.cool for name, store in both.items()}),
        index=house.index,
        committer=house.committer,
        policy=house.policy,
        clock=house.archive.clock,
        folders=house.settings.folder_of,
    )


async def check_cool(house: House) -> None:
    """Raises Conflict when packs lie in the cool store of a region, and it is not named any more."""
    without = [name for name in house.stores if name not in tiers(house)]
    async with house.work.session() as connection:
        found = await connection.fetchval(
            "SELECT t.region FROM tenant t WHERE t.region = ANY($1::text[]) AND EXISTS"
            " (SELECT 1 FROM series_pack p WHERE p.tenant = t.tenant AND p.cooled IS NOT NULL) LIMIT 1",
            without,
        )
    if found is not None:
        raise Conflict(
            f"Packs of region {found} lie in a cool store, and none is named.",
            remedy="Set LIGHTWELL_COOL_STORE_URL, or cool_store in the file of regions, as it was.",
        )


async def find_cool(house: House) -> None:
    """After a re-index: what lies in the cool store is said to."""
    both = tiers(house)
    for tenant in await house.tenants.everyone():
        if (store := both.get(tenant.region)) is not None:
            ids = await asyncio.to_thread(_packs_in, store.cool, tenant)
            await mark_cool(house.work, tenant.key, ids)


def _packs_in(store: BlobStore, tenant: Tenant) -> list[uuid.UUID]:
    keys = (info.key for info in store.list(kind_prefix(tenant.region, tenant.name, PACK)))
    return [blob_id for key in keys if (blob_id := blob_of_key(key)) is not None]


class CoolingDuty:
    """One series of a region a step: first back what was read since it went, then away what nobody opens."""

    def __init__(self, house: House, region: str) -> None:
        self._house = house
        self._region = region
        self._later: dict[tuple[int, str, str], float] = {}

    async def step(self) -> int:
        """Move the packs of one series, if any is due; how many were moved."""
        house = self._house
        if self._region not in tiers(house):
            return 0
        cooling = cooling_of(house, self._region)
        seconds = house.settings.cool_after * DAY_SECONDS
        tenants = {
            tenant.key: tenant
            for tenant in await house.tenants.everyone()
            if tenant.region == self._region and not tenant.suspended
        }
        for back, due in (
            (True, await cool_packs_opened(house.work, tenants, LOOK)),
            (False, await hot_packs_unopened(house.work, tenants, seconds, LOOK)),
        ):
            for key, study_uid, series_uid in due:
                place, tenant = (key, study_uid, series_uid), tenants[key]
                if self._later.get(place, 0.0) > time.monotonic():
                    continue
                act = cooling.recall if back else cooling.cool
                try:
                    return await act(system_context(tenant), study_uid, series_uid)
                except LightwellError:
                    self._later[place] = time.monotonic() + AGAIN_SECONDS
                    raise
        return 0
