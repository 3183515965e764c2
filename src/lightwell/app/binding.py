"""A database and its object store belong together: each carries the other's mark.

A lost database must not come up as an empty archive: whoever looks would take the images for lost, and
senders would be told that nothing of theirs is here. Nor may a store that is not mounted be filled anew.
A store whose first objects were never acknowledged (the server died over them) is no such case.
"""

from __future__ import annotations

import asyncio
import uuid

from lightwell.app.wiring import House
from lightwell.backends.database.bound_store import bind_store, bound_store
from lightwell.backends.database.clearing import holds_objects
from lightwell.domain.archive.keys import STORE_ID, is_image
from lightwell.domain.archive.ports import BlobMissing, BlobStore
from lightwell.kernel.errors import Conflict


async def check_bound(house: House) -> None:
    """Bind a database and a store that are new to each other. Raises Conflict when they cannot be."""
    known = await bound_store(house.info)
    marked = await asyncio.to_thread(_mark_of, house.blobs)
    if known is not None and known == marked:
        return
    if known is not None and marked is not None:
        raise Conflict(
            "The object store is that of another database.",
            remedy="Look at the store's settings; `lightwell reindex` makes this database its own.",
        )
    holds = await holds_objects(house.info)
    images = await asyncio.to_thread(_has_images, house.blobs)
    if known is None and images and not holds:
        raise Conflict(
            "The store holds images, and the database knows of none: it is new, or another one's.",
            remedy="Run `lightwell reindex` with the same --data; it makes the database again.",
        )
    if known is not None and holds and not images:
        raise Conflict(
            "The database knows of objects, and the store is empty: it is new, or not mounted.",
            remedy="Look at the store's settings and at what is mounted.",
        )
    await _bind(house, known or marked or uuid.uuid4())


async def bind_anew(house: House) -> None:
    """After a re-index: the database is that of this store, whatever it was before."""
    marked = await asyncio.to_thread(_mark_of, house.blobs)
    await _bind(house, marked or uuid.uuid4())


async def _bind(house: House, store_id: uuid.UUID) -> None:
    # The store first: a mark that no database knows binds the next one, until there are images.
    await asyncio.to_thread(house.blobs.put, STORE_ID, store_id.hex.encode(), replace=True)
    await bind_store(house.info, store_id)


def _mark_of(blobs: BlobStore) -> uuid.UUID | None:
    try:
        return uuid.UUID(hex=blobs.itself().read(STORE_ID).decode("ascii"))
    except (BlobMissing, ValueError):
        return None


def _has_images(blobs: BlobStore) -> bool:
    return any(is_image(info.key) for info in blobs.list(""))
