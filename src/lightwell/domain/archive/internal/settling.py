"""Objects of a series as a packer reads them: where they landed, or in an older pack. Blocking."""

from __future__ import annotations

import tempfile
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import IO, TypeVar

from lightwell.access.context import Tenant
from lightwell.dicom.errors import DicomError
from lightwell.dicom.frames import NativeFrames
from lightwell.dicom.part10 import read_meta
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal import reading
from lightwell.domain.archive.internal.packing.index import MANIFEST_NAME, Entry, read_index
from lightwell.domain.archive.internal.packing.manifest import (
    MANIFEST_LIMIT,
    ManifestEntry,
    read_manifest,
)
from lightwell.domain.archive.internal.packing.recipe import Recipe
from lightwell.domain.archive.internal.packing.rows import form_of, row_bytes
from lightwell.domain.archive.internal.packing.sources import WHOLE, Arrived, Source
from lightwell.domain.archive.internal.packing.tar import BLOCK, Member, ReadRange, members
from lightwell.domain.archive.internal.staging import PRIVATE_CREATOR, read_arrival_facts
from lightwell.domain.archive.internal.stock import Stock
from lightwell.domain.archive.keys import is_packed
from lightwell.domain.archive.model import KeptInstead, Located, NativePlace, Settled
from lightwell.domain.archive.ports import BlobStore

SPOOL = 16 << 20  # of a rebuilt object, in memory; more goes to a temporary file

T = TypeVar("T")

Arrivals = Mapping[str, ManifestEntry]  # SOP Instance UID -> how it arrived


def arrivals_of(blobs: BlobStore, tenant: Tenant, chosen: Sequence[Located]) -> Arrivals:
    """What is said of those that lie in packs already: each pack has its manifest within.

    Raises Damaged when one is lost: then its objects stay where they are.
    """
    found: dict[str, ManifestEntry] = {}
    packs = {one.landed.key: one.landed.blob_end for one in chosen if is_packed(one.landed.key)}
    for key, length in packs.items():
        place = _manifest_place(partial(blobs.read, key), length)
        if place is None or place.size > MANIFEST_LIMIT:
            raise Damaged("A pack has lost its manifest.")
        manifest = read_manifest(blobs.read(key, place.offset, place.size))
        found |= {entry.sop_uid: entry for entry in manifest.entries}
    return found


def _manifest_place(read: ReadRange, length: int) -> Member | None:
    """The manifest's member: behind the frame records, or, where the index does not lead there, found by
    walking through the whole pack, which is a read for each entry."""
    try:
        start = read_index(read, length).frames[0] - BLOCK
        return next(m for m in members(read, length, start) if m.name == MANIFEST_NAME)
    except (Damaged, StopIteration):
        return next((m for m in members(read, length) if m.name == MANIFEST_NAME), None)


def in_order(tasks: Iterable[Callable[[], T]], at_once: int) -> Iterator[T]:
    """The tasks' results in their order, up to `at_once` tasks begun and not yet asked for. Raises what a
    task raises when its turn comes; nothing runs any more once the iterator has ended."""
    if at_once <= 1:
        for task in tasks:
            yield task()
        return
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(at_once, thread_name_prefix="ahead") as threads:
        try:
            for task in tasks:
                waiting.append(threads.submit(task))
                if len(waiting) >= at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()


def source_of(stock: Stock, at: Located, arrivals: Arrivals, folder: str | None = None) -> Source:
    """One object for the packer. Raises Damaged when it does not say how it arrived."""
    if is_packed(at.landed.key):
        reader: _Landed | _Rebuilt = _Rebuilt(stock, at, folder)
        said = arrivals.get(at.sop_uid)
        arrival = None if said is None else said.arrival
    else:
        reader, said = _Landed(stock, at), None
        arrival = reader.arrival()
    if arrival is None:
        raise Damaged("An object of a series does not say how it arrived.")
    return Source(
        sop_uid=at.sop_uid,
        sop_class=at.sop_class,
        syntax=at.syntax,
        size=reading.data_set_length(at),
        sha256=at.landed.digest,
        read=reader.read,
        arrival=arrival,
        arrived=_arrived(at, said),
    )


def _arrived(at: Located, said: ManifestEntry | None) -> Arrived | None:
    """Of one whose pack does not give what arrived: its manifest has the size, too. Raises Damaged."""
    if at.landed.kept is None:
        return None
    if said is None or said.kept is None or said.kept.sha256 != at.landed.digest:
        raise Damaged("An object of a pack is not the one that its manifest says is kept.")
    return Arrived(said.syntax, said.size, said.sha256)


@dataclass(slots=True)
class _Landed:
    """A landed object: a small one is read in one go, its file meta with it."""

    stock: Stock
    at: Located
    _whole: bytes | None = None

    def arrival(self) -> Mapping[str, object] | None:
        landed = self.at.landed
        if landed.inline is not None:
            raw = landed.inline
        elif landed.length - landed.data_offset <= WHOLE:
            raw = self._whole = self.stock.blobs.read(landed.key, landed.offset, landed.length)
        else:
            raw = self.stock.blobs.read(landed.key, landed.offset, landed.data_offset)
        try:
            meta, _ = read_meta(raw[: landed.data_offset], complete=True)
        except DicomError:
            return None
        return (
            read_arrival_facts(meta.private)
            if meta.private_creator_uid == PRIVATE_CREATOR
            else None
        )

    def read(self, offset: int, length: int) -> bytes:
        whole, self._whole = self._whole, None  # the packer keeps what it has read of a small one
        if whole is None:
            return reading.span(self.stock, self.at, offset, length)
        start = self.at.landed.data_offset + offset
        return whole[start : start + length]


@dataclass(slots=True)
class _Rebuilt:
    """An object of an older pack, rebuilt (as it arrived, or what is kept of it) when it is first read."""

    stock: Stock
    at: Located
    folder: str | None  # where a large one waits; None: the system\'s own
    _data: IO[bytes] | None = field(default=None, repr=False)

    def __del__(self) -> None:
        if self._data is not None:  # a large one, which the packer reads in pieces
            self._data.close()

    def read(self, offset: int, length: int) -> bytes:
        if self._data is None:
            self._data = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - see below
                max_size=SPOOL, dir=self.folder
            )
            for piece in reading.verified_chunks(self.stock, self.at):
                self._data.write(piece)
        self._data.seek(offset)
        found = self._data.read(length)
        if length >= reading.data_set_length(self.at):
            # A small object is read once and kept by the packer; a large one when it is collected.
            self._data.close()
            self._data = None
        return found


def settled_of(entry: Entry, was: uuid.UUID) -> Settled:
    """The row of one entry; `was` is the blob that it moves from."""
    return Settled(
        sop_uid=entry.sop_uid,
        was=was,
        offset=entry.offset,
        length=entry.length,
        data_offset=entry.meta,
        coded=row_bytes(entry),
        form=form_of(entry),
        kept=kept_of(entry),
        native=_native_place(entry) if entry.kept is not None and entry.coded else None,
    )


def kept_of(entry: Entry) -> KeptInstead | None:
    """What the row says of an entry that does not give what arrived."""
    if entry.kept is None:
        return None
    return KeptInstead(entry.kept.sha256, entry.received_syntax)


def _native_place(entry: Entry) -> NativePlace:
    recipe = Recipe.from_bytes(entry.recipe)
    form, offset = recipe.form, recipe.original_head
    length = form.frames * form.frame_bytes + len(recipe.pad)
    frames = NativeFrames(form.frames, offset, 8 * form.frame_bytes, length)
    return NativePlace(entry.given_syntax, offset, length, frames.to_bytes())
