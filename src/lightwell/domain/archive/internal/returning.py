"""Rows of generations that a re-index found, and what they have replaced. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from lightwell.domain.archive.internal.replaying import Arrival
from lightwell.domain.archive.internal.settling import settled_of
from lightwell.domain.archive.internal.shelves import Contents, Shelf, Shelves
from lightwell.domain.archive.keys import LANDED, blob_of_key
from lightwell.domain.archive.model import NewBlob, PackRow


def pack_row(
    shelf: Shelf,
    contents: Contents,
    taken: Collection[int],
    replaced: Iterable[NewBlob],
    clear_after: datetime,
) -> PackRow:
    """The generation of a whole pack; `taken`: its entries that instances point to, by number."""
    if shelf.manifest is None or shelf.blobs is None:
        raise ValueError("a pack of no whole generation has no row")
    return PackRow(
        study_uid=shelf.study_uid,
        series_uid=shelf.series_uid,
        generation=shelf.generation,
        pack=shelf.blobs.pack,
        manifest=shelf.manifest,
        metadata=shelf.blobs.metadata,
        preview=shelf.blobs.preview,
        instances=tuple(
            settled_of(contents.entries[number], shelf.blob_id) for number in sorted(taken)
        ),
        raw=sum(entry.size for entry in contents.entries),
        clear_after=clear_after,
        replaced=tuple(replaced),
    )


def replaced(shelves: Shelves, back: Mapping[bytes, Arrival]) -> dict[str, list[NewBlob]]:
    """What is to go, by the key of the pack that took its place.

    Landed copies; generations that nothing points to, when all that they held came back from elsewhere.
    Nothing is said of what a series without a whole generation left: the orphan sweeper looks at that.
    """
    going: dict[str, list[NewBlob]] = defaultdict(list)
    of_series: dict[tuple[str, str], str] = {}
    pointed_to: set[str] = set()
    for arrival in back.values():
        if arrival.shelf is None or arrival.shelf.manifest is None:
            continue
        pointed_to.add(arrival.key)
        of_series[arrival.shelf.study_uid, arrival.shelf.series_uid] = arrival.key
        for other in arrival.everywhere():
            blob_id = blob_of_key(other.key)
            if other.shelf is None and blob_id is not None:
                going[arrival.key].append(NewBlob(blob_id, LANDED, other.length, 0))
    emptied = [
        (shelf.study_uid, shelf.series_uid, [digest for digest, _ in shelf.arrived], shelf.objects)
        for shelf in shelves.packs
        if shelf.key not in pointed_to and shelf.manifest is not None
    ]
    emptied += [
        (one.study_uid, one.series_uid, [*one.digests], one.objects) for one in shelves.leftovers
    ]
    for study_uid, series_uid, digests, objects in emptied:
        heir = of_series.get((study_uid, series_uid))
        if heir is not None and all(digest in back for digest in digests):
            going[heir] += objects
    return going
