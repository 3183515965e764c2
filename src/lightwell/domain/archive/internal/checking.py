"""Looking at kept objects in the store: are they there, whole, and what arrived?"""

from __future__ import annotations

import hashlib
import itertools
import uuid
from collections.abc import Iterator
from datetime import datetime

from lightwell.access.context import Tenant
from lightwell.domain.archive.internal.packing import reading as packed
from lightwell.domain.archive.internal.packing.checks import extended
from lightwell.domain.archive.internal.packing.index import read_index
from lightwell.domain.archive.internal.packing.rows import entry_of
from lightwell.domain.archive.internal.stock import Stock
from lightwell.domain.archive.invariants import Found, Generation, KeptObject, Part
from lightwell.domain.archive.keys import (
    KIND_NUMBERS,
    LANDED,
    PACK,
    blob_key,
    blob_of_key,
    kind_prefix,
)
from lightwell.domain.archive.ports import BlobInfo, BlobMissing, BlobStore, Buffer
from lightwell.kernel.errors import Broken

CHUNK = 1024 * 1024
READABLE, PRESENT = "I1", "I2"  # the invariants an object can break

Fault = tuple[str, str]  # invariant, finding


def fault(stock: Stock, tenant: Tenant, kept: KeptObject, *, digest: bool) -> Fault | None:
    """What is wrong with one object; None when it is whole. Blocking.

    Raises StoreUnavailable: then nothing is known about it.
    """
    if kept.blob_length is None:
        return PRESENT, f"{_called(kept)} has no blob row"
    if kept.end > kept.blob_length:
        return READABLE, f"{_called(kept)} ends beyond its blob"
    if kept.inline is not None:
        return _inline_fault(kept)
    key = blob_key(tenant.region, tenant.name, kept.kind, kept.blob_id)
    try:
        length = stock.blobs.length(key)
        if length != kept.blob_length:
            wanted = kept.blob_length
            return READABLE, f"{_called(kept)} has {length} bytes in {key}, not {wanted}"
        if digest and _digest(stock, key, kept) != kept.digest:
            return READABLE, f"{_called(kept)} has another SHA-256 in {key}"
    except BlobMissing:
        return PRESENT, f"{_called(kept)} is not in the store: {key}"
    except Broken as error:
        return READABLE, f"{_called(kept)} cannot be read: {error.message}"
    return None


def generation_faults(
    stock: Stock, tenant: Tenant, generation: Generation, *, digest: bool
) -> list[Fault]:
    """What is wrong with the objects of a generation beside its instances. Blocking.

    With `digest` also their bytes: of a pack its index, whose entries are looked at with their instances.
    """
    found = [(_part_fault(stock, tenant, part, digest=digest), part) for part in generation.parts]
    whose = f"of generation {generation.number} of series {generation.series_uid}"
    return [(fault[0], f"the {part.role} {whose} {fault[1]}") for fault, part in found if fault]


def _part_fault(stock: Stock, tenant: Tenant, part: Part, *, digest: bool) -> Fault | None:
    if part.length is None:
        return PRESENT, "has no blob row"
    key = blob_key(tenant.region, tenant.name, part.kind, part.blob_id)
    try:
        length = stock.blobs.length(key)
        if length != part.length:
            return PRESENT, f"has {length} bytes in {key}, not {part.length}"
        if digest and part.kind == PACK:
            read_index(stock.reader(key), length)
        elif digest and _sum(stock, key, length) != part.crc32c:
            return PRESENT, f"has another CRC32C in {key}"
    except BlobMissing:
        return PRESENT, f"is not in the store: {key}"
    except Broken as error:
        return PRESENT, f"cannot be read: {error.message}"
    return None


def _sum(stock: Stock, key: str, length: int) -> int:
    found, position = 0, 0
    while position < length:
        piece = stock.blobs.read(key, position, min(CHUNK, length - position))
        found = extended(found, piece)
        position += len(piece)
    return found


def _called(kept: KeptObject) -> str:
    return f"{'QC item' if kept.aside else 'instance'} {kept.sop_uid or kept.key}"


def _inline_fault(kept: KeptObject) -> Fault | None:
    data = kept.inline or b""
    if len(data) != kept.blob_length:
        return READABLE, f"{_called(kept)} has {len(data)} bytes in its row"
    start = kept.offset + kept.data_offset
    if hashlib.sha256(data[start : kept.end]).digest() != kept.sha256:
        return READABLE, f"{_called(kept)} has another SHA-256 in its row"
    return None


def data_set(stock: Stock, tenant: Tenant, kept: KeptObject) -> Iterator[Buffer]:
    """The data set of a kept object, wherever it lies; whoever takes it compares the digest. Blocking."""
    if kept.inline is not None:
        yield kept.inline[kept.offset + kept.data_offset : kept.end]
        return
    yield from _pieces(stock, blob_key(tenant.region, tenant.name, kept.kind, kept.blob_id), kept)


def _digest(stock: Stock, key: str, kept: KeptObject) -> bytes:
    digest = hashlib.sha256()
    for piece in _pieces(stock, key, kept):
        digest.update(piece)
    return digest.digest()


def _pieces(stock: Stock, key: str, kept: KeptObject) -> Iterator[Buffer]:
    if kept.coded is not None:
        entry = entry_of(
            kept.coded,
            offset=kept.offset,
            length=kept.length,
            meta=kept.data_offset,
            sha256=kept.digest,
            sop_uid=kept.sop_uid,
            sop_class=kept.sop_class,
            received_syntax=kept.syntax,
        )
        yield from packed.data_set(stock.reader(key), entry, stock.coder)
        return
    position = kept.offset + kept.data_offset
    while position < kept.end:
        piece = stock.blobs.read(key, position, min(CHUNK, kept.end - position))
        yield piece
        position += len(piece)


def by_invariant(faults: list[Fault], checked: int, shown: int) -> dict[str, Found]:
    """Faults as counted findings; both invariants were looked at for every object."""
    return {
        name: Found(
            sum(1 for which, _ in faults if which == name),
            tuple(text for which, text in faults if which == name)[:shown],
            checked,
        )
        for name in (READABLE, PRESENT)
    }


def listed(blobs: BlobStore, tenant: Tenant) -> Iterator[BlobInfo]:
    """Every landed object of a tenant. Blocking."""
    return blobs.list(kind_prefix(tenant.region, tenant.name, LANDED))


def listed_with_rows(blobs: BlobStore, tenant: Tenant) -> Iterator[BlobInfo]:
    """Every object of a tenant that has, or should have, a blob row. Blocking."""
    for kind in KIND_NUMBERS.values():
        yield from blobs.list(kind_prefix(tenant.region, tenant.name, kind))


def batch(found: Iterator[BlobInfo], size: int) -> list[BlobInfo]:
    """The next objects of a listing; empty at its end. Blocking."""
    return list(itertools.islice(found, size))


def ids(found: list[BlobInfo]) -> list[uuid.UUID]:
    """Blob ids of those objects whose keys are of our making."""
    return [blob_id for info in found if (blob_id := blob_of_key(info.key)) is not None]


def unknown(
    found: list[BlobInfo], known: set[uuid.UUID], young_since: datetime
) -> tuple[list[str], int]:
    """Keys of old objects without a row, and how many young ones have none."""
    without = [info for info in found if blob_of_key(info.key) not in known]
    old = [info.key for info in without if info.modified < young_since]
    return old, len(without) - len(old)
