"""The bytes of the archive: objects in a store, and the codec that gives coded frames back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from lightwell.domain.archive.errors import NoSuchFrame
from lightwell.domain.archive.internal.packing.index import Entry
from lightwell.domain.archive.internal.packing.reading import entry_front, frame_records
from lightwell.domain.archive.internal.packing.records import FrameRecord
from lightwell.domain.archive.internal.packing.rows import entry_of
from lightwell.domain.archive.keys import region_of
from lightwell.domain.archive.model import KnownInstance, Located
from lightwell.domain.archive.ports import BlobStore, Folders, FrameCoder, no_folder
from lightwell.kernel.errors import Unavailable
from lightwell.kernel.remembering import Remembered

RECORD_BYTES = 64 << 20  # of frame records kept in a process: some 100,000
DECODED_BYTES = 64 << 20  # of decoded frames kept in a process
RECORD_SIZE = 700  # bytes in memory, about
RECORDS_TOGETHER = 64  # neighbouring records of an object read in one go


@dataclass(frozen=True, slots=True)
class Stock:
    """What every reading function needs."""

    blobs: BlobStore
    frame_coder: FrameCoder | None = None
    folders: Folders = no_folder
    _records: Remembered[tuple[FrameRecord, ...]] = field(
        default_factory=lambda: Remembered(RECORD_BYTES), repr=False, compare=False
    )

    _decoded: Remembered[bytes] = field(
        default_factory=lambda: Remembered(DECODED_BYTES), repr=False, compare=False
    )

    def decoded(self, at: Located, number: int) -> bytes | None:
        """A frame of a coded instance that was decoded a while ago."""
        return self._decoded.get((at.landed.key, at.landed.offset, number))

    def keep_decoded(self, at: Located, number: int, frame: bytes) -> None:
        """Remember a decoded frame."""
        self._decoded.keep((at.landed.key, at.landed.offset, number), frame, len(frame))

    @property
    def coder(self) -> FrameCoder:
        """Raises Unavailable in a process that was given none."""
        if self.frame_coder is None:
            raise Unavailable("This process has no codec for settled images.")
        return self.frame_coder

    def record(self, at: Located, number: int) -> FrameRecord:
        """Where frame `number` (from 1) of a coded instance lies. Raises NoSuchFrame, Damaged."""
        first = (number - 1) // RECORDS_TOGETHER * RECORDS_TOGETHER + 1
        key = (at.landed.key, at.landed.offset, first)
        found = self._records.get(key)
        if found is None:
            entry = entry_at(at)
            count = entry.records.count if entry.records is not None else 0
            if not 1 <= number <= count:
                raise NoSuchFrame(f"There is no frame {number} in this object.")
            wanted = min(count - first + 1, RECORDS_TOGETHER)
            read = self.reader(at.landed.key)
            # Sums of frames lie beside the frames; that both are this object's, only its header says.
            entry_front(read, entry)
            found = tuple(frame_records(read, entry, first, wanted))
            self._records.keep(key, found, RECORD_SIZE * len(found))
        if not first <= number < first + len(found):
            raise NoSuchFrame(f"There is no frame {number} in this object.")
        return found[number - first]

    def itself(self) -> Stock:
        """The same without anything kept between us and the store: for answers about what it holds."""
        return Stock(self.blobs.itself(), self.frame_coder, self.folders)

    def folder_of(self, key: str) -> str | None:
        """Where what belongs to an object may wait: in its region."""
        return self.folders(region_of(key))

    def reader(self, key: str) -> Callable[[int, int], bytes]:
        """Ranges of one object."""
        return partial(self.blobs.read, key)


def entry_at(at: Located) -> Entry:
    """The pack entry of a coded instance. Raises Damaged."""
    landed = at.landed
    return entry_of(
        landed.coded or b"",
        offset=landed.offset,
        length=landed.length,
        meta=landed.data_offset,
        sha256=landed.digest,
        sop_uid=at.sop_uid,
        sop_class=at.sop_class,
        received_syntax=at.syntax,
    )


def entry_known(kept: KnownInstance, sop_uid: str) -> Entry:
    """The same of what admission and storage commitment know. Raises Damaged."""
    return entry_of(
        kept.coded or b"",
        offset=kept.offset,
        length=kept.length,
        meta=kept.data_offset,
        sha256=kept.digest,
        sop_uid=sop_uid,
        sop_class=kept.sop_class,
        received_syntax=kept.syntax,
    )
