"""A database and the object stores of its regions belong together: each carries the other's mark.

A lost database must not come up as an empty archive: whoever looks would take the images for lost, and
senders would be told that nothing of theirs is here. Nor may a store that is not mounted be filled anew, nor
two stores change places. A store whose first objects were never acknowledged (the server died over them) is
no such case.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import replace

from lightwell.app.settings import Settings
from lightwell.app.stores import RegionStore, hot_store
from lightwell.app.wiring import House
from lightwell.backends.database.bound_store import bind_store, bound_stores
from lightwell.backends.database.clearing import holds_objects
from lightwell.domain.archive.keys import STORE_ID, is_image, region_of
from lightwell.domain.archive.ports import BlobMissing, StoreUnavailable
from lightwell.kernel.errors import Conflict

Marks = Mapping[str, uuid.UUID]
"""By region, the mark of its store as the database remembers it."""


async def check_bound(house: House) -> dict[str, uuid.UUID]:
    """Bind a database and the stores that are new to it. Raises Conflict when they cannot be.

    Where there are several stores, some may be away: their marks are returned, to be looked for before
    anything else. Raises StoreUnavailable when none answers, or one that was never bound does not.
    """
    known = await bound_stores(house.info)
    away: dict[str, uuid.UUID] = {}
    marked: dict[str, uuid.UUID | None] = {}
    for region, store in house.stores.items():
        try:
            marked[region] = await asyncio.to_thread(_mark_of, store)
        except StoreUnavailable as error:
            if len(house.stores) == 1:
                raise
            if region not in known:
                raise StoreUnavailable(
                    f"The store of region {region} has not been used yet, and does not answer:"
                    f" {error.message}",
                    remedy="It has to answer once before it may be away.",
                ) from error
            away[region] = known[region]
    if not marked:
        raise StoreUnavailable("The store of no region answers.", remedy="Look at the network.")
    _check_apart(marked)
    for region, mark in marked.items():
        if mark is None or mark != known.get(region):
            await _check_and_bind(house, region, known, mark)
    return away


def awaiting(settings: Settings, marks: Marks) -> Settings:
    """The settings of processes that look for these marks before they use the stores."""
    named = (replace(each, expects=marks.get(each.name)) for each in settings.named_regions)
    return replace(settings, named_regions=tuple(named))


async def check_regions(house: House) -> None:
    """Raises Conflict when a tenant lies where these settings do not reach, or may not."""
    tenants = await house.tenants.everyone()
    wrong = house.settings.places.misplaced({tenant.name: tenant.region for tenant in tenants})
    if wrong is not None:
        raise Conflict(
            f"{wrong}.", remedy="Set LIGHTWELL_REGIONS and LIGHTWELL_JURISDICTION as they were."
        )


async def bind_anew(house: House) -> None:
    """After a re-index: the database is that of these stores, whatever it was before."""
    for region, store in house.stores.items():
        marked = await asyncio.to_thread(_mark_of, store)
        await _bind(house, region, marked or uuid.uuid4())


async def check_contents(house: House) -> None:
    """Raises Conflict when the store of a region holds images, and only those of other regions."""
    marks = {each: await asyncio.to_thread(_mark_of, store) for each, store in house.stores.items()}
    _check_apart(marks)
    for region, store in house.stores.items():
        await asyncio.to_thread(_check_inside, region, store)


async def _check_and_bind(house: House, region: str, known: Marks, mark: uuid.UUID | None) -> None:
    store, of = house.stores[region], "" if len(house.stores) == 1 else f" of region {region}"
    bound = known.get(region)
    other = next((name for name, each in known.items() if each == mark and name != region), None)
    if other is not None:
        raise Conflict(
            f"The object store{of} is that of region {other}.",
            remedy="Look at what the file of regions says, and at what is mounted.",
        )
    if bound is not None and mark is not None:
        raise Conflict(
            f"The object store{of} is that of another database.",
            remedy="Look at the store's settings; `lightwell reindex` makes this database its own.",
        )
    holds = await holds_objects(house.info, region)
    images = await asyncio.to_thread(_check_inside, region, store)
    if bound is None and images and not holds:
        raise Conflict(
            f"The store{of} holds images, and the database knows of none: it is new, or another one's.",
            remedy="Run `lightwell reindex` with the same --data; it makes the database again.",
        )
    if bound is not None and holds and not images:
        raise Conflict(
            f"The database knows of objects, and the store{of} is empty: it is new, or not mounted.",
            remedy="Look at the store's settings and at what is mounted.",
        )
    await _bind(house, region, bound or mark or uuid.uuid4())


async def _bind(house: House, region: str, store_id: uuid.UUID) -> None:
    # The store first: a mark that no database knows binds the next one, until there are images.
    bare = hot_store(house.stores[region]).bare
    await asyncio.to_thread(bare.put, STORE_ID, store_id.hex.encode(), replace=True)
    await bind_store(house.info, region, store_id)


def _mark_of(store: RegionStore) -> uuid.UUID | None:
    try:
        return uuid.UUID(hex=hot_store(store).bare.itself().read(STORE_ID).decode("ascii"))
    except (BlobMissing, ValueError):
        return None


def _check_apart(marked: Mapping[str, uuid.UUID | None]) -> None:
    """Raises Conflict when two regions were given one store under two names."""
    seen: dict[uuid.UUID, str] = {}
    for region, mark in marked.items():
        if mark is not None and (first := seen.setdefault(mark, region)) != region:
            raise Conflict(
                f"The regions {first} and {region} have the same store.",
                remedy="Each region has one of its own: look at what the file of regions says.",
            )


def _check_inside(region: str, store: RegionStore) -> bool:
    """Whether there are images of the region. Raises Conflict when there are those of others only."""
    if any(is_image(info.key) for info in store.list("")):
        return True
    for info in hot_store(store).bare.list(""):
        if is_image(info.key):
            raise Conflict(
                f"The store of region {region} holds images of region {region_of(info.key)}, and none of"
                " its own.",
                remedy="Look at what the file of regions says, and at what is mounted.",
            )
    return False
