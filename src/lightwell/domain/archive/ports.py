"""What the archive needs from outside, each method a contract.

The blob store is synchronous and may block: front doors call it from worker threads (or on the event
loop when `BlobStore.quick` says that a read is a matter of microseconds). The index is asynchronous;
every method takes the tenant, and its rows are filtered by it twice: in the query and by the database.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from lightwell.access.context import Tenant
from lightwell.access.sight import EVERYTHING, Facts, Sight, Standing
from lightwell.domain.archive.coding import (
    CodedFrame,
    CompressedFrame,
    NativeFrame,
    NotCoded,
    PixelForm,
)
from lightwell.domain.archive.model import (
    Allowance,
    AsideItem,
    Attributes,
    CommitmentRow,
    Known,
    KnownInstance,
    Located,
    OverlayRow,
    RejectionRow,
    SeriesContents,
    SeriesPack,
    Target,
    Totals,
)
from lightwell.domain.archive.query import Found, Query
from lightwell.domain.patients.model import PatientFacts
from lightwell.kernel.errors import Broken, Conflict, Missing, Unavailable
from lightwell.kernel.pages import Page

Buffer = bytes | bytearray | memoryview

Folders = Callable[[str], str | None]
"""Where large objects of a region wait while they are looked at; None: the system's own place."""


def no_folder(_region: str) -> str | None:
    """The system's own place, for every region."""
    return None


class StoreUnavailable(Unavailable):
    """The object store did not answer in time or answered with a temporary failure."""


class StoreFull(Unavailable):
    """No room: nothing was kept. Works again by itself once room is made."""


class StoreBroken(Broken):
    """A permanent failure: wrong credentials, a failed sync, a refused request. Retrying is useless."""


class WrongRegion(StoreBroken):
    """An object of one region was asked of the store of another: nothing was read, written or removed."""


class BlobMissing(Missing):
    """No object under that key."""


class BlobExists(Conflict):
    """There is an object under that key already, and keys are never reused."""


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """One listed object: its key, length in bytes, and when the store last saw it written (UTC)."""

    key: str
    length: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """Room on the store's volume in bytes; a bucket without a quota reports none."""

    total: int
    free: int


class BlobSink(Protocol):
    """One object while it is written. Used by one thread at a time; never shared.

    Nothing is promised before `seal` has returned. A sink that was neither sealed nor discarded (a
    killed process) leaves garbage that `BlobStore.sweep` or the orphan sweeper removes.
    """

    key: str
    length: int  # bytes written so far

    def write(self, chunk: Buffer) -> None:
        """Append. The buffer may be reused by the caller as soon as this returns.

        Raises StoreFull, StoreUnavailable, StoreBroken; the sink is then dead: call `discard`.
        """

    def patch(self, offset: int, data: bytes) -> None:
        """Overwrite bytes already written (the digest field of the file meta header)."""

    def seal(self) -> None:
        """Make it durable: when this returns, the bytes survive power loss under their key.

        After any error the object must be taken as lost: it is removed, and its file is never synced
        a second time (a second fsync reports success for pages the kernel has dropped).
        """

    def discard(self) -> None:
        """Give up; removes what was written. May be called twice, and after `seal` failed. Never raises."""


class BlobStore(Protocol):
    """Immutable objects under random keys `{region}/{tenant}/{kind}/aa/bb/{random}`.

    Thread-safe. Keys are made by the archive only, of segments `[a-z0-9._-]+`; anything else raises
    ValueError. Who retries: the implementation, within its own deadline of 5 s; the caller never does.
    """

    quick: bool  # True when a read is local and may be made on an event loop

    def begin(self, key: str) -> BlobSink:
        """Open a new object for writing. Raises BlobExists, StoreFull, StoreUnavailable."""

    def put(self, key: str, data: Buffer, *, replace: bool = False) -> None:
        """Write a small object durably in one call; `replace` only for the few named objects."""

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes `[offset, offset+length)`, to the end when `length` is None.

        Raises BlobMissing; StoreBroken when the object is shorter than asked for.
        """

    def read_into(self, key: str, offset: int, target: memoryview) -> None:
        """Fill `target` exactly from `offset`, without an intermediate copy where that is possible."""

    def length(self, key: str) -> int:
        """Length in bytes. Raises BlobMissing."""

    def confirm(self, key: str, length: int) -> None:
        """Prove that the object is whole and durable now: exists, has this length, is synced.

        Needed before a duplicate is acknowledged: the first copy may not have been sealed yet.
        Raises BlobMissing, StoreBroken (other length), StoreUnavailable.
        """

    def delete(self, key: str) -> None:
        """Remove; absent is fine."""

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Every object below the prefix, in no promised order, in bounded memory."""

    def probe(self) -> None:
        """A real put, get and delete of a probe object; raises what a caller would meet."""

    def sweep(self, older_than_seconds: float) -> int:
        """Remove what dead processes left in staging; returns how many. I12 of the contract."""

    def free(self) -> FreeSpace | None:
        """Room left, or None where the store cannot say."""

    def itself(self) -> BlobStore:
        """The store with nothing kept in between: for whoever proves what it holds."""

    def numbers(self) -> Mapping[str, int]:
        """Totals since the start of the process, for the metrics page; names are `[a-z_]+`."""

    def close(self) -> None:
        """Give back files, threads and connections."""


class FrameCoder(Protocol):
    """Turns native frames into codestreams and back, in limited processes, many at a time.

    Thread-safe; results come in the order asked for. A frame that cannot be coded or decoded is
    `NotCoded` in its place, also when it killed the codec; the others are not touched by it. Nothing is
    promised of what comes back: whoever asks compares checksums before and digests after. A batch may
    hold frames of several objects; 1 to 8 MiB of native pixels are a good size.

    Futures raise Unavailable (closed), Busy (full: keep at most `depth` batches under way) or Broken.
    """

    @property
    def depth(self) -> int:
        """Batches worth keeping under way at the same time."""

    def encode(
        self, frames: Sequence[tuple[PixelForm, Buffer]]
    ) -> Future[list[CodedFrame | NotCoded]]:
        """HTJ2K lossless RPCL, one tile-part a resolution, for native frames of `frame_bytes` each."""

    def decode(
        self, frames: Sequence[tuple[PixelForm, CodedFrame]]
    ) -> Future[list[memoryview | NotCoded]]:
        """The native frames, `frame_bytes` each."""

    def decompress(
        self, frames: Sequence[tuple[PixelForm, CompressedFrame]]
    ) -> Future[list[NativeFrame | NotCoded]]:
        """Frames of other lossless syntaxes as Explicit VR Little Endian holds them, `frame_bytes` each.

        A codestream that is allowed to lose something, whatever its transfer syntax promises, is `NotCoded`.
        """

    def coarse(self, prefix: bytes, levels: int, reduction: int) -> Future[bytes]:
        """Samples at 1/2^reduction (rounded up) of the size, little endian words of Bits Allocated, pixel
        by pixel, from a codestream prefix that ends with the tile-part completing it, or a longer one.

        Equal to what a browser shows of that prefix. Raises Invalid for damage that shows.
        """


class Index(Protocol):
    """What is kept, as rows. Reads only: writing is the committer's. Raises Unavailable."""

    async def known(
        self, tenant: Tenant, patient: PatientFacts, study_uid: str, sop_uid: str
    ) -> Known:
        """The facts admission needs about one arrival, from one snapshot."""

    async def keeps(self, tenant: Tenant, sop_uids: list[str]) -> dict[str, list[KnownInstance]]:
        """Everything kept under these UIDs, visible or aside (storage commitment)."""

    async def inline(self, tenant: Tenant, blob_id: uuid.UUID) -> bytes | None:
        """The bytes of a small object that are in the index still; None once they are in the store."""

    async def find(self, tenant: Tenant, query: Query, sight: Sight = EVERYTHING) -> Page[Found]:
        """What matches, in the query's order, visible rows within the sight only, counts included.

        Raises Busy when it would take longer than the statement limit (10 s).
        """

    async def locate(
        self,
        tenant: Tenant,
        study_uid: str,
        series_uid: str | None,
        sop_uid: str | None,
        sight: Sight = EVERYTHING,
    ) -> tuple[list[Located], str]:
        """Visible instances below the scope in reading order, and the version of the study.

        An unknown scope, or a study beyond the sight, is an empty list: the caller answers alike.
        """

    async def facts(self, tenant: Tenant, study_uid: str, standing: Standing) -> Facts | None:
        """What is so of a study and somebody who stands so; None when there is no such study."""

    async def sees(self, tenant: Tenant, target: Target, sight: Sight) -> bool:
        """Whether a study, or the study of a series or instance, or one of a patient, is within the sight;
        False also for what is not there."""

    async def contents(self, tenant: Tenant, study_uid: str, series_uid: str) -> SeriesContents:
        """Every instance of a series with its place, rejected ones too; nothing for an unknown one."""

    async def packs(
        self, tenant: Tenant, study_uid: str, series_uid: str | None
    ) -> list[SeriesPack]:
        """The packs of a study's or one series' instances, oldest generation first."""

    async def version(self, tenant: Tenant, study_uid: str, series_uid: str | None) -> str:
        """What `locate` would say of the version now, without locating; '' for an unknown scope."""

    async def overlays(self, tenant: Tenant, target: Target) -> list[OverlayRow]:
        """The edits in force on one target, lowest version first."""

    async def overlay(self, tenant: Tenant, edit_id: uuid.UUID) -> OverlayRow | None:
        """One edit, also when undone already (then `undoes` equals its own id)."""

    async def overlay_history(self, tenant: Tenant, target: Target) -> list[OverlayRow]:
        """Every edit of one target, undone ones too (their `undoes` equals their own id), by version."""

    async def original(self, tenant: Tenant, target: Target) -> Attributes | None:
        """DICOM JSON of one patient, study or series as received; None when there is no such thing."""

    async def effective(self, tenant: Tenant, target: Target) -> Attributes | None:
        """The same as shown now."""

    async def rejections(self, tenant: Tenant, study_uid: str) -> list[RejectionRow]:
        """Rejections in force in one study."""

    async def aside(self, tenant: Tenant, limit: int, sight: Sight = EVERYTHING) -> list[AsideItem]:
        """What is kept aside and waits for a person, newest first: for a sight, of studies within it."""

    async def totals(self, tenant: Tenant, sight: Sight = EVERYTHING) -> Totals:
        """What a tenant keeps: for a sight, of studies within it."""

    async def allowance(self, tenant: Tenant) -> Allowance:
        """What the tenant keeps now and how much it may: cheap, asked with arrivals."""

    async def due_commitments(self, tenant: Tenant, limit: int) -> list[CommitmentRow]:
        """Storage commitment requests whose answer should be tried now."""
