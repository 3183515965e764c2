"""The stores of an installation, by region: opened together, one that is away does not hold the others up."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from lightwell.app.regions import Region, is_remote
from lightwell.app.settings import Settings
from lightwell.backends.blobs import open_store
from lightwell.backends.blobs.regions import BoundStore, RegionalStore
from lightwell.backends.blobs.tiered import TieredStore
from lightwell.domain.archive.ports import BlobStore, StoreBroken, StoreUnavailable

log = logging.getLogger("lightwell.stores")

RegionStore = BoundStore | TieredStore
"""The store of one region; of two, where it has a cool one: then each of them is bound."""


def open_stores(settings: Settings, *, examine: bool) -> dict[str, RegionStore]:
    """The store of each region, by its name. With `examine`, buckets are asked whether they are of use.

    Where there are several, one that does not answer is opened later, when it is asked; without `examine`
    also one that fails otherwise. Raises what `open_store` raises: StoreUnavailable when none answers.
    """
    opened: dict[str, RegionStore] = {}
    away: list[StoreUnavailable] = []
    alone = len(settings.regions) == 1
    for region in settings.regions:
        store = opened[region.name] = _closed(settings, region)
        try:
            _open(settings, region, store, examine=examine)
        except StoreUnavailable as error:
            log.warning("the store of region %s does not answer: %s", region.name, error.message)
            away.append(error)
        except StoreBroken as error:
            if alone:
                raise
            if examine:
                text = f"Region {region.name}: {error.message}"
                raise StoreBroken(text, remedy=error.remedy) from error
            log.error("the store of region %s cannot be opened: %s", region.name, error.message)
    if len(away) == len(opened) and (alone or examine):
        raise away[0]
    return opened


def together(stores: dict[str, RegionStore]) -> BlobStore:
    """All of them as one."""
    return next(iter(stores.values())) if len(stores) == 1 else RegionalStore(dict(stores))


def hot_store(store: RegionStore) -> BoundStore:
    """The one of a region's stores that everything is written to and that bears its mark."""
    hot = store.hot if isinstance(store, TieredStore) else store
    assert isinstance(hot, BoundStore)
    return hot


def _closed(settings: Settings, region: Region) -> RegionStore:
    bound = [
        BoundStore(
            region.name,
            partial(_opening, settings, region, location, examine=False),
            quick=not is_remote(location),
            expects=region.expects if location == region.store else None,
        )
        for location in (region.store, region.cool_store)
        if location is not None
    ]
    return bound[0] if len(bound) == 1 else TieredStore(*bound)


def _open(settings: Settings, region: Region, store: RegionStore, *, examine: bool) -> None:
    parts = (store.hot, store.cool) if isinstance(store, TieredStore) else (store,)
    for location, part in zip((region.store, region.cool_store), parts, strict=False):
        assert isinstance(part, BoundStore)
        assert location is not None
        part.open_with(partial(_opening, settings, region, location, examine=examine))


def _opening(settings: Settings, region: Region, location: str, *, examine: bool) -> BlobStore:
    _make(region.staging)
    return open_store(
        location,
        region.staging,
        environment=region.credentials or None,
        cache=region.cache,
        cache_bytes=settings.cache_bytes,
        examine=examine,
    )


def _make(folder: Path) -> None:
    """What is missing of a folder, for us alone. Raises StoreBroken."""
    try:
        for part in (*reversed(folder.parents), folder):
            if not part.is_dir():
                part.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StoreBroken(
            f"The folder {folder} cannot be used: {error.strerror}.",
            remedy="Give it to this user, or name another one.",
        ) from error
