"""Landed objects and entries of packs read back, for a re-index.

A landed object says by itself how it came (its arrival facts, `internal/staging.py`) and what it should
be (its digest); of an entry of a pack, the manifest does. One that does not say so, or is not so, is
reported and not indexed. The same data set may lie in several places: it came once, and is taken from the
best of them that is sound.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

import google_crc32c

from lightwell.dicom.errors import DicomError
from lightwell.dicom.part10 import FileMeta, read_meta
from lightwell.domain.archive.errors import Unreadable
from lightwell.domain.archive.internal.correcting import Hold
from lightwell.domain.archive.internal.describing import Describer
from lightwell.domain.archive.internal.packing.reading import data_set
from lightwell.domain.archive.internal.packing.rows import form_of, row_bytes
from lightwell.domain.archive.internal.reading_header import HeaderReader
from lightwell.domain.archive.internal.settling import kept_of
from lightwell.domain.archive.internal.shelves import Contents, Shelf, Shelves, arrival_time
from lightwell.domain.archive.internal.staging import PRIVATE_CREATOR, read_arrival_facts
from lightwell.domain.archive.internal.stock import Stock
from lightwell.domain.archive.keys import blob_of_key
from lightwell.domain.archive.model import Announced, Described, Landed, Staged
from lightwell.domain.archive.ports import BlobInfo, BlobMissing, BlobStore, Buffer
from lightwell.kernel.errors import Broken

HEAD = 64 * 1024  # our own file meta is far shorter
CHUNK = 1024 * 1024
AT_ONCE = 8
PAGE = 500


class NotIndexed(Exception):
    """An object that cannot be believed; the text says why."""


@dataclass(frozen=True, slots=True, order=True)
class Arrival:
    """One object in the order in which objects were judged: by time, then by key.

    `at` is when it came, or, for one that was kept aside, when that was decided: of two rivals that
    came together, the one that was judged first comes first again.
    """

    at: datetime
    key: str  # of the blob that it lies in
    number: int = field(default=0)  # of its entry, in a pack
    received: datetime = field(compare=False, kw_only=True)
    length: int = field(compare=False, kw_only=True)  # of the blob
    digest: bytes = field(compare=False, kw_only=True)
    hold: Hold | None = field(default=None, compare=False)
    shelf: Shelf | None = field(default=None, compare=False)
    instead: Arrival | None = field(default=None, compare=False)  # the same data set elsewhere

    def everywhere(self) -> Iterator[Arrival]:
        """It, and where else it lies, the best first."""
        at: Arrival | None = self
        while at is not None:
            yield at
            at = at.instead


def arrivals(
    blobs: BlobStore,
    listing: Iterator[BlobInfo],
    holds: Mapping[str, Hold],
    failed: Callable[[str, str], None],
) -> list[Arrival]:
    """Every landed object in order; `failed` hears of those that are none. Blocking.

    `holds`: what was decided about objects that were kept aside, by key.

    Memory: about 400 bytes an object.
    """
    found: list[Arrival] = []

    def one(info: BlobInfo) -> Arrival | str:
        try:
            return _arrival(blobs, info, holds)
        except (NotIndexed, BlobMissing, Broken) as error:
            return str(error)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        while page := list(islice(listing, PAGE)):
            for info, arrival in zip(page, pool.map(one, page), strict=True):
                if isinstance(arrival, Arrival):
                    found.append(arrival)
                else:
                    failed(info.key, arrival)
    found.sort()
    return found


def as_first_received(arrivals: list[Arrival], repairs: Mapping[bytes, datetime]) -> list[Arrival]:
    """The same in order, where a repeat took the place of a lost copy at the time of that copy."""
    return sorted(_as_first(arrival, repairs) for arrival in arrivals) if repairs else arrivals


def _as_first(arrival: Arrival, repairs: Mapping[bytes, datetime]) -> Arrival:
    first = repairs.get(arrival.digest)
    if first is None or arrival.hold is not None:
        return arrival
    return replace(
        arrival,
        at=min(arrival.at, first),
        received=min(arrival.received, first),
        instead=None if arrival.instead is None else _as_first(arrival.instead, repairs),
    )


def with_packs(
    landed: list[Arrival], shelves: Shelves, failed: Callable[[str, str], None]
) -> list[Arrival]:
    """Those and what lies in packs, in order, each data set once. Blocking.

    The pack of the highest generation comes first, then what landed, then packs of no whole generation.
    What was kept aside was never packed, whatever a pack holds.
    """
    best: dict[bytes, Arrival] = {}
    whole = [shelf for shelf in shelves.packs if shelf.manifest is not None]
    for shelf in shelves.packs:
        if shelf.manifest is None:
            _lay(best, shelf, failed)
    packed = best.keys() | {digest for shelf in whole for digest, _ in shelf.arrived}
    found = []
    for arrival in reversed(landed):
        if arrival.hold is not None or arrival.digest not in packed:
            found.append(arrival)
        else:
            best[arrival.digest] = replace(arrival, instead=best.get(arrival.digest))
    for shelf in whole:
        _lay(best, shelf, failed)
    return sorted([*found, *best.values()])


def _lay(best: dict[bytes, Arrival], shelf: Shelf, failed: Callable[[str, str], None]) -> None:
    """Put the entries of a pack before what was found of the same data sets."""
    for number, (digest, received) in enumerate(shelf.arrived):
        if received is None:
            failed(f"entry {number + 1} of {shelf.key}", "its arrival facts name no time")
            continue
        best[digest] = Arrival(
            received,
            shelf.key,
            number,
            received=received,
            length=shelf.length,
            digest=digest,
            shelf=shelf,
            instead=best.get(digest),
        )


def _arrival(blobs: BlobStore, info: BlobInfo, holds: Mapping[str, Hold]) -> Arrival:
    if blob_of_key(info.key) is None:
        raise NotIndexed("its key is not one of ours")
    _, _, facts = _head(blobs, info.key, info.length)
    received = _received(facts)
    hold = holds.get(info.key)
    at = received if hold is None else max(received, hold.at)
    try:
        digest = bytes.fromhex(str(facts.get("sha256")))
    except ValueError as error:
        raise NotIndexed("its arrival facts name no digest") from error
    return Arrival(at, info.key, received=received, length=info.length, digest=digest, hold=hold)


def _head(blobs: BlobStore, key: str, length: int) -> tuple[FileMeta, int, dict[str, object]]:
    """File meta, where the data set begins, and the arrival facts. Raises NotIndexed."""
    try:
        meta, offset = read_meta(blobs.read(key, 0, min(HEAD, length)))
    except DicomError as error:
        raise NotIndexed(f"its file meta cannot be read: {error}") from error
    facts = None
    if meta.private_creator_uid == PRIVATE_CREATOR:
        facts = read_arrival_facts(meta.private)
    if facts is None:
        raise NotIndexed("it carries no arrival facts of ours")
    return meta, offset, facts


def _received(facts: Mapping[str, object]) -> datetime:
    received = arrival_time(facts)
    if received is None:
        raise NotIndexed("its arrival facts name no time")
    return received


def staged_again(stock: Stock, describer: Describer, shelves: Shelves, arrival: Arrival) -> Staged:
    """The object as it was staged when it came, its bytes read and compared with its digest. Blocking.

    Raises NotIndexed, BlobMissing, Damaged, StoreBroken, StoreUnavailable.
    """
    if arrival.shelf is None:
        return _landed_again(stock.blobs, describer, arrival)
    return _packed_again(stock, describer, shelves.contents(arrival.shelf), arrival, arrival.shelf)


def _landed_again(blobs: BlobStore, describer: Describer, arrival: Arrival) -> Staged:
    blob_id = blob_of_key(arrival.key)
    meta, offset, facts = _head(blobs, arrival.key, arrival.length)
    assert blob_id is not None  # `arrivals` lists no other
    announced = _announced(meta.sop_class, meta.sop_instance, meta.syntax.uid, facts)

    def pieces() -> Iterator[bytes]:
        position = offset
        while position < arrival.length:
            piece = blobs.read(arrival.key, position, min(CHUNK, arrival.length - position))
            position += len(piece)
            yield piece

    looked = _looked_at(pieces(), describer, announced)
    if looked.digest.hex() != facts.get("sha256"):
        raise NotIndexed("its data set does not have the SHA-256 of its arrival")
    landed = Landed(
        blob_id=blob_id,
        key=arrival.key,
        offset=0,
        length=arrival.length,
        data_offset=offset,
        sha256=looked.digest,
        crc32c=looked.crc,
    )
    return Staged(looked.announced, landed, arrival.received, looked.described, looked.failure)


def _packed_again(
    stock: Stock, describer: Describer, contents: Contents, arrival: Arrival, shelf: Shelf
) -> Staged:
    """An entry of a pack, rebuilt; raises Damaged when its digest differs.

    Of a pixel-exact one what is kept is described; it is the object that arrived all the same, and judged by
    that one's digest.
    """
    entry, said = contents.entries[arrival.number], contents.said[arrival.number]
    if entry.kept != said.kept:
        raise NotIndexed("manifest and index do not say alike what is kept of it")
    announced = _announced(said.sop_class, said.sop_uid, entry.given_syntax, said.arrival)
    pieces = data_set(stock.reader(arrival.key), entry, stock.coder)
    looked = _looked_at(pieces, describer, announced)
    if looked.described is None:
        raise NotIndexed(f"its header cannot be read any more: {looked.failure}")
    landed = Landed(
        blob_id=shelf.blob_id,
        key=arrival.key,
        offset=entry.offset,
        length=entry.length,
        data_offset=entry.meta,
        sha256=entry.sha256,
        crc32c=looked.crc,
        coded=row_bytes(entry),
        blob_length=shelf.length,
        form=form_of(entry),
        kept=kept_of(entry),
    )
    return Staged(looked.announced, landed, arrival.received, looked.described)


@dataclass(frozen=True, slots=True)
class _LookedAt:
    """What the bytes of a data set say."""

    announced: Announced
    described: Described | None
    failure: str
    digest: bytes
    crc: int


def _looked_at(pieces: Iterable[Buffer], describer: Describer, announced: Announced) -> _LookedAt:
    """Read to the end: header, digest, checksum."""
    reader, failure = HeaderReader(announced.syntax), ""
    digest, crc = hashlib.sha256(), 0
    for each in pieces:
        piece = bytes(each)
        digest.update(piece)
        crc = google_crc32c.extend(crc, piece)
        if not failure:
            failure = _fed(reader, piece)
    described: Described | None = None
    if not failure:
        try:
            described = describer.describe(reader.finish(), announced)
            # What was announced was judged when it came; from here on the data set speaks.
            announced = replace(announced, sop_class=None, sop_uid=None)
        except (DicomError, Unreadable) as error:
            failure = str(error)
    return _LookedAt(announced, described, failure, digest.digest(), crc)


def _fed(reader: HeaderReader, piece: bytes) -> str:
    """Why the header cannot be read; empty while it can."""
    try:
        reader.feed(piece)
    except DicomError as error:
        return str(error)
    return ""


def _announced(sop_class: str, sop_uid: str, syntax: str, facts: Mapping[str, object]) -> Announced:
    issuer = facts.get("issuer")
    return Announced(
        sop_class=sop_class or None,
        sop_uid=sop_uid or None,
        syntax=syntax,
        source=str(facts.get("source", "")),
        called=str(facts.get("called", "")),
        issuer=None if issuer is None else str(issuer),
        outside=facts.get("outside") is True,
        received=_received(facts),
    )
