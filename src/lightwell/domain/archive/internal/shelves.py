"""Packs and manifests of a store, found again without a row: for a re-index.

A manifest object was written last and names the rest: with it a generation is whole, and its pack was
proved. A pack without one was being written when somebody was killed, or has lost it: what it holds is
taken from it only where it lies nowhere else. What is derived can be made again, and is not read here.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import islice

from lightwell.access.context import Tenant
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing.checks import crc32c
from lightwell.domain.archive.internal.packing.index import MANIFEST_NAME, Entry, read_index
from lightwell.domain.archive.internal.packing.manifest import (
    MANIFEST_LIMIT,
    Manifest,
    ManifestEntry,
    Named,
    read_manifest,
)
from lightwell.domain.archive.internal.packing.tar import members
from lightwell.domain.archive.keys import MANIFEST, PACK, blob_key, blob_of_key, kind_prefix
from lightwell.domain.archive.model import NewBlob
from lightwell.domain.archive.ports import BlobInfo, BlobMissing, BlobStore
from lightwell.kernel.errors import Broken

AT_ONCE = 8
OPEN = 32  # packs whose entries are kept at hand: objects of one series come close to each other

Failed = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Contents:
    """The entries of a pack, and beside each what its manifest says of it."""

    entries: tuple[Entry, ...]
    said: tuple[ManifestEntry, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """One readable pack; `manifest` and `blobs` are there when its generation is whole.

    `arrived`: of each entry, digest and time of arrival (None when its facts name none).
    """

    key: str
    blob_id: uuid.UUID
    length: int
    study_uid: str
    series_uid: str
    generation: int
    packed: datetime
    arrived: tuple[tuple[bytes, datetime | None], ...] = field(repr=False)
    manifest: NewBlob | None = None
    blobs: Named | None = None

    @property
    def rank(self) -> tuple[bool, int, datetime, str]:
        """Of two packs that hold one object, the greater one is believed."""
        return self.manifest is not None, self.generation, self.packed, self.key

    @property
    def objects(self) -> tuple[NewBlob, ...]:
        """All of a whole generation."""
        if self.manifest is None or self.blobs is None:
            return ()
        return (self.blobs.pack, self.manifest, *self.blobs.derived)


@dataclass(frozen=True, slots=True)
class Leftover:
    """A manifest without its pack, which was on its way out, or was lost."""

    key: str
    study_uid: str
    series_uid: str
    digests: tuple[bytes, ...]
    objects: tuple[NewBlob, ...]  # it, and what was derived


@dataclass(slots=True)
class Shelves:
    """What was found; the contents of packs are read when they are asked for."""

    blobs: BlobStore
    tenant: Tenant
    packs: list[Shelf] = field(default_factory=list)  # by rank
    leftovers: list[Leftover] = field(default_factory=list)
    _open: OrderedDict[str, Contents] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def contents(self, shelf: Shelf) -> Contents:
        """Raises Damaged and what the store raises. Thread-safe, blocking."""
        with self._lock:
            found = self._open.get(shelf.key)
            if found is None:
                read = partial(self.blobs.read, shelf.key)
                if shelf.manifest is None:
                    manifest = _inner(read, shelf.length)
                else:
                    manifest = read_manifest(self.blobs.read(_key(self.tenant, shelf.manifest)))
                found = self._open[shelf.key] = _contents(read, shelf.length, manifest)
                if len(self._open) > OPEN:
                    self._open.popitem(last=False)
            self._open.move_to_end(shelf.key)
            return found


@dataclass(slots=True)
class _Seen:
    """What looking at one object came to."""

    shelf: Shelf | None = None
    leftover: Leftover | None = None
    pack: uuid.UUID | None = None  # that it names
    findings: list[tuple[str, str]] = field(default_factory=list)


def survey(blobs: BlobStore, tenant: Tenant, failed: Failed) -> Shelves:
    """Every readable pack of a tenant; `failed` hears of what is damaged. Blocking."""
    packs: dict[uuid.UUID, BlobInfo] = {}
    for info in blobs.list(kind_prefix(tenant.region, tenant.name, PACK)):
        blob_id = blob_of_key(info.key)
        if blob_id is not None:
            packs[blob_id] = info
    found, unnamed = Shelves(blobs, tenant), dict(packs)
    manifests = blobs.list(kind_prefix(tenant.region, tenant.name, MANIFEST))
    for seen in _in_parallel(partial(_named, blobs, tenant, packs), manifests):
        if seen.pack is not None:
            unnamed.pop(seen.pack, None)
        _note(found, seen, failed)
    for seen in _in_parallel(partial(_unnamed, blobs), iter(unnamed.values())):
        _note(found, seen, failed)
    found.packs.sort(key=lambda shelf: shelf.rank)
    return found


def _note(found: Shelves, seen: _Seen, failed: Failed) -> None:
    if seen.shelf is not None:
        found.packs.append(seen.shelf)
    if seen.leftover is not None:
        found.leftovers.append(seen.leftover)
    for what, why in seen.findings:
        failed(what, why)


def _in_parallel(look: Callable[[BlobInfo], _Seen], listing: Iterator[BlobInfo]) -> Iterator[_Seen]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while page := list(islice(listing, 8 * AT_ONCE)):
            yield from pool.map(look, page)


def _named(
    blobs: BlobStore, tenant: Tenant, packs: dict[uuid.UUID, BlobInfo], info: BlobInfo
) -> _Seen:
    """A manifest object and what it names."""
    blob_id = blob_of_key(info.key)
    if blob_id is None:
        return _Seen(findings=[(info.key, "its key is not one of ours")])
    try:
        if info.length > MANIFEST_LIMIT:
            raise Damaged("A manifest is longer than any manifest may be.")
        raw = blobs.read(info.key)
        manifest = read_manifest(raw)
    except (BlobMissing, Broken) as error:
        return _Seen(findings=[(info.key, error.message)])
    if manifest.blobs is None:
        return _Seen(findings=[(info.key, "it does not name its pack")])
    own, named = NewBlob(blob_id, MANIFEST, info.length, crc32c(raw)), manifest.blobs
    seen, pack = _Seen(pack=named.pack.blob_id), packs.get(named.pack.blob_id)
    if pack is None:
        digests = tuple(entry.sha256 for entry in manifest.entries)
        objects = (own, *named.derived)
        uids = manifest.study_uid, manifest.series_uid
        seen.leftover = Leftover(info.key, *uids, digests, objects)
        return seen
    try:
        if pack.length != named.pack.length:
            raise Damaged(f"It has {pack.length} bytes, not {named.pack.length}.")
        read = partial(blobs.read, pack.key)
        _contents(read, pack.length, manifest)
        if replace(manifest, blobs=None) != _inner(read, pack.length):
            raise Damaged("The manifest is not the one that its pack holds.")
    except (BlobMissing, Broken) as error:
        # Whichever of the two is wrong: the pack's own copy is asked next.
        return _Seen(findings=[(pack.key, error.message)])
    seen.shelf = _shelf(pack, named.pack.blob_id, manifest)
    for blob in named.derived:
        key = _key(tenant, blob)
        if not _is_there(blobs, key, blob.length):
            seen.findings.append((key, "is lost; settling its series makes it again"))
            return seen
    seen.shelf = replace(seen.shelf, manifest=own, blobs=named)
    return seen


def _unnamed(blobs: BlobStore, info: BlobInfo) -> _Seen:
    """A pack without a manifest object: its own copy speaks. Unreadable, it was never finished."""
    blob_id = blob_of_key(info.key)
    assert blob_id is not None  # `survey` lists no other
    try:
        read = partial(blobs.read, info.key)
        manifest = _inner(read, info.length)
        _contents(read, info.length, manifest)
    except (BlobMissing, Broken):
        return _Seen()
    return _Seen(_shelf(info, blob_id, manifest))


def _shelf(info: BlobInfo, blob_id: uuid.UUID, manifest: Manifest) -> Shelf:
    return Shelf(
        key=info.key,
        blob_id=blob_id,
        length=info.length,
        study_uid=manifest.study_uid,
        series_uid=manifest.series_uid,
        generation=manifest.generation,
        packed=manifest.packed,
        arrived=tuple((one.sha256, arrival_time(one.arrival)) for one in manifest.entries),
    )


def arrival_time(facts: Mapping[str, object]) -> datetime | None:
    """When an object came, by its arrival facts; None when they name no instant."""
    try:
        received = datetime.fromisoformat(str(facts.get("received")))
    except ValueError:
        return None
    return received if received.tzinfo is not None else None


def _inner(read: Callable[[int, int], bytes], length: int) -> Manifest:
    """The manifest's copy within a pack. Raises Damaged."""
    place = next((m for m in members(read, length) if m.name == MANIFEST_NAME), None)
    if place is None or place.size > MANIFEST_LIMIT:
        raise Damaged("A pack has lost its manifest.")
    return read_manifest(read(place.offset, place.size))


def _contents(read: Callable[[int, int], bytes], length: int, manifest: Manifest) -> Contents:
    """The entries of a pack, which manifest and index must say alike. Raises Damaged."""
    entries = read_index(read, length).entries
    said = [(one.sop_uid, one.sha256, one.offset, one.length) for one in manifest.entries]
    if said != [(one.sop_uid, one.sha256, one.offset, one.length) for one in entries]:
        raise Damaged("The index of a pack is not what its manifest says.")
    return Contents(entries, manifest.entries)


def _is_there(blobs: BlobStore, key: str, length: int) -> bool:
    try:
        return blobs.length(key) == length
    except (BlobMissing, Broken):
        return False


def _key(tenant: Tenant, blob: NewBlob) -> str:
    return blob_key(tenant.region, tenant.name, blob.kind, blob.blob_id)
