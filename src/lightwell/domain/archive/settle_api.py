"""The archive's fourth front door: a quiet series becomes a pack, is proved, and takes its place.

Idempotent and safe to be killed anywhere: until the one commit that switches the rows nothing points to
what was written (garbage for the sweeper), and after it nothing points to what was there before. Two
workers on one series: the second finds that the facts have changed, and its pack goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from lightwell.access.actions import Action
from lightwell.access.commit import Committer, FactsChanged
from lightwell.access.context import Tenant
from lightwell.access.operation import Act, operation
from lightwell.access.ports import PolicySource
from lightwell.domain.archive import events
from lightwell.domain.archive.coding import Reason
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing.checks import crc32c
from lightwell.domain.archive.internal.packing.manifest import Named, naming
from lightwell.domain.archive.internal.packing.native import native_of
from lightwell.domain.archive.internal.packing.proving import pack_proved
from lightwell.domain.archive.internal.packing.sources import Source
from lightwell.domain.archive.internal.packing.writing import Packed, SeriesFacts
from lightwell.domain.archive.internal.settling import (
    arrivals_of,
    in_order,
    settled_of,
    source_of,
)
from lightwell.domain.archive.internal.stock import Stock
from lightwell.domain.archive.keys import DERIVED, MANIFEST, PACK, BlobIds, blob_key, is_packed
from lightwell.domain.archive.model import Located, NewBlob, PackRow, SeriesContents
from lightwell.domain.archive.ports import BlobStore, Folders, FrameCoder, Index, no_folder
from lightwell.kernel.clock import Clock
from lightwell.kernel.crashpoints import reach
from lightwell.kernel.errors import LightwellError

MERGE_AT = 4  # packs of a series from which a new generation takes all of them in
GRACE = timedelta(hours=24)
AHEAD = 8  # landed objects read at a time from a store that is not local, at most 2 MiB each
PUTS = 3  # objects put together there
DECOMPRESSED = 2  # of a pixel-exact tenant's, decompressed at a time
AS_RECEIVED, PIXEL_EXACT = "as-received", "pixel-exact"  # a tenant's choice (`Tenant.settling`)

Heard = Callable[[int, int], None]  # so many instances done, of so many


@dataclass(frozen=True, slots=True)
class SettledSeries:
    """What settling one series came to; `instances` is 0 when there was nothing to do."""

    generation: int = 0
    instances: int = 0
    coded: int = 0
    exact: int = 0  # of the coded: their pixel values come back, the bytes that arrived do not
    raw: int = 0  # bytes of the data sets as received
    stored: int = 0  # bytes of the pack
    reasons: Mapping[str, int] | None = None  # why the others lie there as received


@dataclass(frozen=True, slots=True)
class _Made:
    """Proved blobs that no row points to yet."""

    packed: Packed
    pack: NewBlob
    manifest: NewBlob
    metadata: NewBlob
    preview: NewBlob | None


class Settling:
    """One a `work` process, on the same store and rows as `Archive`."""

    def __init__(
        self,
        *,
        blobs: BlobStore,
        coder: FrameCoder,
        index: Index,
        committer: Committer,
        policy: PolicySource,
        clock: Clock,
        grace: timedelta = GRACE,
        folders: Folders = no_folder,
    ) -> None:
        self.policy = policy
        self.committer = committer
        self.clock = clock
        self._stock = Stock(blobs, coder)
        self._index = index
        self._grace = grace
        self._folders = folders
        self._ids = BlobIds()

    @operation(Action.ARCHIVE_SERIES_SETTLE)
    async def settle(
        self, act: Act, study_uid: str, series_uid: str, heard: Heard | None = None
    ) -> SettledSeries:
        """Pack what is not packed yet, prove it from the store, switch the rows.

        `heard` is told, on a thread of its own, how many of how many instances are done. Raises FactsChanged
        (the series changed meanwhile: settle it again), Damaged (a landed object is not what arrived:
        nothing was changed), Unavailable.
        """
        tenant = act.context.tenant
        act.about(study_uid=study_uid, subject=series_uid)
        contents = await self._index.contents(tenant, study_uid, series_uid)
        chosen = chosen_of(contents)
        if not chosen:
            return SettledSeries()
        facts = SeriesFacts(study_uid, series_uid, contents.generation + 1, self.clock.now())
        made = await asyncio.to_thread(self._make, tenant, contents, chosen, facts, heard)
        row = _row(facts, chosen, made, facts.packed + self._grace)
        result = _result(facts.generation, made)
        detail = f"{result.instances} instances, {result.coded} coded"
        if result.exact:
            detail += f", {result.exact} of them pixel-exact: their original bytes are not kept"
        act.about(detail=detail)
        reach("s4")
        try:
            await act.commit(
                (row,), (events.series_settled(study_uid, series_uid, row.generation),)
            )
        except FactsChanged:
            # Only here is it certain that no row points to them.
            await asyncio.to_thread(self._drop, tenant, row)
            raise
        reach("s5")
        return result

    def _make(
        self,
        tenant: Tenant,
        contents: SeriesContents,
        chosen: tuple[Located, ...],
        facts: SeriesFacts,
        heard: Heard | None,
    ) -> _Made:
        """Write and prove everything. Blocking; leaves nothing behind when it fails."""
        blobs = self._stock.blobs
        arrivals = arrivals_of(blobs, tenant, chosen)
        folder = self._folders(tenant.region)  # where coded frames of a large object wait
        exact = tenant.settling == PIXEL_EXACT
        where = {one.sop_uid: one for one in chosen}

        def source(one: Located) -> Source:
            found = source_of(self._stock, one, arrivals, folder)
            return native_of(found, self._stock.coder, folder) if exact else found

        def sources() -> Iterator[Source]:
            at_once = DECOMPRESSED if exact else 1
            return in_order(
                (partial(source, one) for one in chosen), at_once if blobs.quick else AHEAD
            )

        def again(sop_uid: str) -> bytes:
            return source(where[sop_uid]).sha256

        def count(done: int) -> None:
            if heard is not None:
                heard(done, len(chosen))

        def new_key() -> str:
            return blob_key(tenant.region, tenant.name, PACK, self._ids.next())

        reach("s1")
        refuse = None
        if tenant.settling == AS_RECEIVED:
            refuse = {one.sop_uid: Reason.POLICY for one in chosen}
        key, packed = pack_proved(
            sources,
            self._stock.coder,
            blobs,
            new_key,
            facts,
            refuse=refuse,
            folder=folder,
            heard=count,
            again=again,
        )
        reach("s2")
        pack = NewBlob(_id_of(key), PACK, packed.length, packed.crc32c)
        metadata = self._new(DERIVED, packed.metadata)
        preview = self._new(DERIVED, packed.preview) if packed.preview else None
        # Last, because it names the others: where it lies, a generation is whole.
        named = naming(packed.manifest, Named(pack, metadata, preview))
        manifest = self._new(MANIFEST, named)
        keys = {blob: self._key(tenant, blob) for blob in (metadata, preview, manifest) if blob}
        puts = [partial(self._put, keys[metadata], packed.metadata)]
        if preview is not None:
            puts.append(partial(self._put, keys[preview], packed.preview))
        try:
            for _ in in_order(puts, 1 if blobs.quick else PUTS):
                pass
            self._put(keys[manifest], named)
        except BaseException:
            for name in (key, *keys.values()):  # also one whose answer was lost
                self._delete(name)
            raise
        reach("s3")
        return _Made(packed, pack, manifest, metadata, preview)

    def _new(self, kind: str, data: bytes) -> NewBlob:
        return NewBlob(self._ids.next(), kind, len(data), crc32c(data))

    def _put(self, key: str, data: bytes) -> None:
        """Raises Damaged when the store says yes and keeps something else, or nothing."""
        self._stock.blobs.put(key, data)
        if self._stock.blobs.itself().read(key) != data:
            raise Damaged("What belongs to a pack is not in the store as it was written.")

    def _key(self, tenant: Tenant, blob: NewBlob) -> str:
        return blob_key(tenant.region, tenant.name, blob.kind, blob.blob_id)

    def _drop(self, tenant: Tenant, row: PackRow) -> None:
        for blob in row.blobs:
            self._delete(self._key(tenant, blob))

    def _delete(self, key: str) -> None:
        """What cannot be removed now is an orphan like any other."""
        with contextlib.suppress(LightwellError, OSError):
            self._stock.blobs.delete(key)


def chosen_of(contents: SeriesContents) -> tuple[Located, ...]:
    """What the next generation takes in: what is not packed yet, or, once packs have become many, all.

    All, too, when a pack has no row: a re-index did not find its manifest or what was derived from it.
    """
    fresh = tuple(one for one in contents.instances if not is_packed(one.landed.key))
    if contents.rowless or (fresh and contents.packs >= MERGE_AT):
        return contents.instances
    return fresh


def _row(
    facts: SeriesFacts, chosen: tuple[Located, ...], made: _Made, clear_after: datetime
) -> PackRow:
    was = {one.sop_uid: one.landed.blob_id for one in chosen}
    return PackRow(
        study_uid=facts.study_uid,
        series_uid=facts.series_uid,
        generation=facts.generation,
        pack=made.pack,
        manifest=made.manifest,
        metadata=made.metadata,
        preview=made.preview,
        instances=tuple(settled_of(entry, was[entry.sop_uid]) for entry in made.packed.entries),
        raw=made.packed.raw,
        clear_after=clear_after,
    )


def _result(generation: int, made: _Made) -> SettledSeries:
    entries = made.packed.entries
    reasons: dict[str, int] = {}
    for entry in entries:
        if entry.reason is not None:
            reasons[entry.reason.value] = reasons.get(entry.reason.value, 0) + 1
    return SettledSeries(
        generation=generation,
        instances=len(entries),
        coded=sum(entry.coded for entry in entries),
        exact=sum(entry.coded and entry.kept is not None for entry in entries),
        raw=made.packed.raw,
        stored=made.packed.length,
        reasons=reasons,
    )


def _id_of(key: str) -> uuid.UUID:
    return uuid.UUID(hex=key.rsplit("/", 1)[1])
