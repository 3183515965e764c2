"""Landed objects and journal entries read back, for a re-index.

A landed object says by itself how it came (its arrival facts, `internal/staging.py`) and what it should
be (its digest). One that does not say so, or is not so, is reported and not indexed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
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
from lightwell.domain.archive.internal.reading_header import HeaderReader
from lightwell.domain.archive.internal.staging import PRIVATE_CREATOR, read_arrival_facts
from lightwell.domain.archive.keys import blob_of_key
from lightwell.domain.archive.model import Announced, Described, Landed, Staged
from lightwell.domain.archive.ports import BlobInfo, BlobMissing, BlobStore
from lightwell.kernel.errors import Broken

HEAD = 64 * 1024  # our own file meta is far shorter
CHUNK = 1024 * 1024
AT_ONCE = 8
PAGE = 500


class NotIndexed(Exception):
    """A landed object that cannot be believed; the text says why."""


@dataclass(frozen=True, slots=True, order=True)
class Arrival:
    """One landed object in the order in which objects were judged: by time, then by key.

    `at` is when it came, or, for one that was kept aside, when that was decided: of two rivals that
    came together, the one that was judged first comes first again.
    """

    at: datetime
    key: str
    received: datetime = field(compare=False)
    length: int = field(compare=False)
    hold: Hold | None = field(compare=False)


def arrivals(
    blobs: BlobStore,
    listing: Iterator[BlobInfo],
    holds: Mapping[str, Hold],
    failed: Callable[[str, str], None],
) -> list[Arrival]:
    """Every landed object in order; `failed` hears of those that are none. Blocking.

    `holds`: what was decided about objects that were kept aside, by key.

    Memory: about 200 bytes an object.
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


def _arrival(blobs: BlobStore, info: BlobInfo, holds: Mapping[str, Hold]) -> Arrival:
    if blob_of_key(info.key) is None:
        raise NotIndexed("its key is not one of ours")
    _, _, facts = _head(blobs, info.key, info.length)
    received = _received(facts)
    hold = holds.get(info.key)
    at = received if hold is None else max(received, hold.at)
    return Arrival(at, info.key, received, info.length, hold)


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


def _received(facts: dict[str, object]) -> datetime:
    try:
        received = datetime.fromisoformat(str(facts.get("received")))
    except ValueError as error:
        raise NotIndexed("its arrival facts name no time") from error
    if received.tzinfo is None:
        raise NotIndexed("its arrival facts name a time without a zone")
    return received


def staged_again(blobs: BlobStore, describer: Describer, arrival: Arrival) -> Staged:
    """The object as it was staged when it came, its bytes read and compared with its digest. Blocking.

    Raises NotIndexed, BlobMissing, StoreBroken, StoreUnavailable.
    """
    blob_id = blob_of_key(arrival.key)
    meta, offset, facts = _head(blobs, arrival.key, arrival.length)
    assert blob_id is not None  # `arrivals` lists no other
    announced = _announced(meta, facts)
    reader, failure = HeaderReader(announced.syntax), ""
    digest, crc, position = hashlib.sha256(), 0, offset
    while position < arrival.length:
        piece = blobs.read(arrival.key, position, min(CHUNK, arrival.length - position))
        position += len(piece)
        digest.update(piece)
        crc = google_crc32c.extend(crc, piece)
        if not failure:
            failure = _fed(reader, piece)
    if digest.hexdigest() != facts.get("sha256"):
        raise NotIndexed("its data set does not have the SHA-256 of its arrival")
    described: Described | None = None
    if not failure:
        try:
            described = describer.describe(reader.finish(), announced)
            # What was announced was judged when it came; from here on the data set speaks.
            announced = replace(announced, sop_class=None, sop_uid=None)
        except (DicomError, Unreadable) as error:
            failure = str(error)
    landed = Landed(
        blob_id=blob_id,
        key=arrival.key,
        offset=0,
        length=arrival.length,
        data_offset=offset,
        sha256=digest.digest(),
        crc32c=crc,
    )
    return Staged(announced, landed, arrival.received, described, failure)


def _fed(reader: HeaderReader, piece: bytes) -> str:
    """Why the header cannot be read; empty while it can."""
    try:
        reader.feed(piece)
    except DicomError as error:
        return str(error)
    return ""


def _announced(meta: FileMeta, facts: dict[str, object]) -> Announced:
    issuer = facts.get("issuer")
    return Announced(
        sop_class=meta.sop_class or None,
        sop_uid=meta.sop_instance or None,
        syntax=meta.syntax.uid,
        source=str(facts.get("source", "")),
        called=str(facts.get("called", "")),
        issuer=None if issuer is None else str(issuer),
        outside=facts.get("outside") is True,
        received=_received(facts),
    )
