"""Values and rules of the archive: pure, no clock, no I/O.

`Staged` is what arrived, `Known` what the archive knows of it, `Decision` what follows
(`internal/admission.py` decides), and the row types are what a ChangeSet carries.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from lightwell.access.commit import Stored
from lightwell.domain.patients.model import PatientFacts

JSONElement = dict[str, Any]  # {"vr": "LO", "Value": [...]} as in PS3.18 F.2
Attributes = dict[str, JSONElement]  # "00100010" -> element
Edits = Mapping[str, JSONElement | None]  # None removes the attribute

INLINE_LIMIT = 40 * 1024  # objects up to this size first lie in the database (ADR 0013)


class Level(StrEnum):
    """The four levels of the query/retrieve information model (PS3.4 C.6)."""

    PATIENT = "patient"
    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


class Outcome(StrEnum):
    """What became of an arrival. The first five are acknowledged with success."""

    STORED = "stored"
    DUPLICATE = "duplicate"  # same data set as one we keep
    CANDIDATE = "candidate"  # same pixels, other header: kept, the first stays current
    HELD = "held"  # kept, in no clinical list until a person decides
    STILL_REJECTED = "still-rejected"  # a rejected object sent again: kept, stays hidden
    CONFLICT = "conflict"  # same UID, other content: kept aside, not acknowledged
    REJECTED = "rejected"  # rejected for patient safety or wrong worklist entry: A771
    UNREADABLE = "unreadable"  # bytes kept in quarantine, not acknowledged
    MISMATCH = "mismatch"  # the data set is not what the command said it is: A900


SUCCESSES = frozenset(
    {Outcome.STORED, Outcome.DUPLICATE, Outcome.CANDIDATE, Outcome.HELD, Outcome.STILL_REJECTED}
)


@dataclass(frozen=True, slots=True)
class Announced:
    """What a door knows before the first byte of a data set."""

    sop_class: str | None  # as the command or the media said; None when nothing was said
    sop_uid: str | None
    syntax: str  # transfer syntax UID of the bytes that follow
    source: str  # who sent it: 'CT1', 'stow', 'import'
    called: str = ""  # AE title we were called by
    study_uid: str | None = None  # STOW to /studies/{uid}: must agree
    issuer: str | None = None  # issuer for objects that name none (import batch, peer, site)
    outside: bool = False  # came on a CD or from another house
    received: datetime | None = None  # a re-index keeps the first arrival time
    by_file: bool = (
        False  # `sop_uid` is what a file's meta says: where it errs, the data set decides
    )


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """The technical part of an object: what the index needs to find and to cut it."""

    sop_class: str
    sop_uid: str
    study_uid: str
    series_uid: str
    syntax: str
    number: int | None = None
    rows: int | None = None
    columns: int | None = None
    bits: int | None = None
    frames: int | None = None
    pixel_offset: int | None = None  # of the value, from the start of the data set
    pixel_length: int | None = None  # None with pixel_offset set: undefined length
    pixel_tag: int | None = None
    frame_index: bytes | None = None
    defects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Described:
    """What the header said, by level: DICOM JSON for the index, and what admission compares."""

    patient: PatientFacts
    instance: InstanceFacts
    patient_attributes: Attributes
    study_attributes: Attributes
    series_attributes: Attributes
    digest: bytes  # of the identity, study and series attributes: equal digests need no new look


@dataclass(frozen=True, slots=True)
class KeptInstead:
    """Of a pixel-exact settled instance: its row describes a native data set with the pixel values of the one
    received, which does not come back. `sha256` is its digest, `arrived` the transfer syntax received."""

    sha256: bytes
    arrived: str


@dataclass(frozen=True, slots=True)
class Landed:
    """Where the bytes lie: a Part 10 object within a blob."""

    blob_id: uuid.UUID
    key: str
    offset: int
    length: int  # of the Part 10 object
    data_offset: int  # of the data set within it
    sha256: bytes  # of the data set as received
    crc32c: int  # of the data set
    inline: bytes | None = None
    # Of an instance in a pack: what its row keeps of a coded entry (internal/packing/rows.py). None: the
    # data set lies there as received.
    coded: bytes | None = None
    blob_length: int | None = None  # of the blob, where it holds more than this object
    form: str | None = None  # a re-index found it in a pack: as in `Settled`
    kept: KeptInstead | None = None

    @property
    def digest(self) -> bytes:
        """SHA-256 of the data set that comes out."""
        return self.sha256 if self.kept is None else self.kept.sha256

    @property
    def blob_end(self) -> int:
        """Length of the blob it lies in."""
        return self.offset + self.length if self.blob_length is None else self.blob_length


@dataclass(frozen=True, slots=True)
class Staged:
    """One object received whole: its bytes, its header, how it came."""

    announced: Announced
    landed: Landed
    received: datetime
    described: Described | None  # None: unreadable
    failure: str = ""  # why unreadable, or how it contradicts its announcement


# --- what the archive knows -----------------------------------------------------------------------


AMBIGUOUS = "identity-given-twice"
"""Defect of an object that says two things of whose it is, or of what."""


@dataclass(frozen=True, slots=True)
class KnownInstance:
    """An object with the same SOP Instance UID that is kept already (visible or as a QC item)."""

    study_uid: str
    series_uid: str
    sha256: bytes
    key: str
    offset: int
    length: int
    data_offset: int
    inline: bool
    state: str  # 'current', 'held', 'candidate', 'conflict'
    blob_length: int  # of the blob it lies in
    rejected: str | None = None
    sop_class: str = ""
    syntax: str = ""
    coded: bytes | None = None  # as in `Landed`
    received: datetime | None = None  # when it first came
    kept_sha256: bytes | None = None  # of `KeptInstead`; `syntax` then is the one kept

    @property
    def digest(self) -> bytes:
        """SHA-256 of the data set that comes out."""
        return self.kept_sha256 or self.sha256


@dataclass(frozen=True, slots=True)
class Known:
    """Facts a decision is made on."""

    patient: PatientFacts | None = None  # the patient of that issuer and ID, as first received
    patient_now: PatientFacts | None = None  # the same, with corrections
    study_patient: tuple[str, str] | None = None  # whose the study said it was: (issuer, ID)
    instances: tuple[KnownInstance, ...] = ()
    same_pixels: bool | None = None  # looked at only when a UID is taken by another data set
    native_whole: bool = True  # False: what is kept in the place of an original is found damaged


@dataclass(frozen=True, slots=True)
class Decision:
    """What admission decided, and why, as a code an operator can look up."""

    outcome: Outcome
    reason: str = ""
    flags: tuple[str, ...] = ()
    known: KnownInstance | None = None  # the object it duplicates or contradicts


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a door. `stored` is there exactly when the outcome may be acknowledged."""

    outcome: Outcome
    sop_class: str
    sop_uid: str
    study_uid: str = ""
    series_uid: str = ""
    reason: str = ""
    stored: Stored | None = None
    defects: tuple[str, ...] = ()


# --- rows: what a ChangeSet of this room carries -------------------------------------------------


@dataclass(frozen=True, slots=True)
class ArrivalRow:
    """A visible instance with its parents: written by the group commit.

    `patient` is what the decision was made on: the patient as first received, or the arrival's own
    identity when there was none. The writer raises FactsChanged when the row says otherwise by now.
    """

    patient: PatientFacts
    described: Described
    landed: Landed
    received: datetime
    source: str
    outside: bool
    flags: tuple[str, ...] = ()
    known_parents: bool = False  # same digest seen before in this process: parents need no look


@dataclass(frozen=True, slots=True)
class QCRow:
    """An object kept aside."""

    kind: str  # 'held', 'candidate', 'conflict', 'quarantined'
    reason: str
    landed: Landed
    received: datetime
    source: str
    patient: PatientFacts | None = None
    instance: InstanceFacts | None = None
    sop_uid: str = ""
    sop_class: str = ""
    syntax: str = ""


@dataclass(frozen=True, slots=True)
class AsideItem:
    """An object kept aside, as told to people; `reason` is a code, or a reader's words."""

    kind: str  # as in `QCRow`
    reason: str
    study_uid: str
    sop_uid: str
    pid: str
    patient_name: str
    source: str
    first_seen: datetime
    seen: int  # times it came


@dataclass(frozen=True, slots=True)
class SeenAgainRow:
    """A duplicate: only counted."""

    sop_uid: str
    state: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class WithdrawRow:
    """The row of an object whose bytes could not be made durable goes; it was never acknowledged."""

    sop_uid: str
    blob_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class RepairRow:
    """The bytes a row points to are not whole; the same data set has come again: point to that."""

    sop_uid: str
    lost: uuid.UUID
    landed: Landed
    instance: InstanceFacts  # where its pixels lie: of a pixel-exact settled one, elsewhere than in the row


@dataclass(frozen=True, slots=True)
class Target:
    """What an edit or a rejection is about. Exactly the parts its level needs are set."""

    level: Level
    study_uid: str = ""
    series_uid: str = ""
    sop_uid: str = ""
    issuer: str = ""
    pid: str = ""

    @property
    def name(self) -> str:
        """The key the overlay row carries: the UID of its level, or issuer and ID."""
        if self.level is Level.PATIENT:
            return f"{self.issuer}\\{self.pid}"
        if self.level is Level.STUDY:
            return self.study_uid
        if self.level is Level.SERIES:  # two studies may have a series of one UID
            return f"{self.study_uid}\\{self.series_uid}"
        return self.sop_uid


@dataclass(frozen=True, slots=True)
class OverlayRow:
    """One version of an edit, and the effective values that follow for the index."""

    edit_id: uuid.UUID
    target: Target
    version: int
    edits: Edits
    reason: str
    author: str
    at: datetime
    # Attributes of the target as they are after this change; None at instance level, where
    # `edits_after` says what is laid over the object.
    effective: Attributes | None = None
    edits_after: Edits | None = None
    # For an undo: the edit that ends. `edits` is then empty and no new version is written.
    undoes: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class RejectionRow:
    """Takes everything under the target out of clinical lists, or puts it back."""

    reject_id: uuid.UUID
    target: Target
    code: str
    reason: str
    author: str
    at: datetime
    restores: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class SensitiveRow:
    """A study is marked as sensitive, or (`gone`) not any more."""

    study_uid: str
    reason: str
    author: str
    at: datetime
    gone: bool = False


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """The grant to read a study or series; committed before the first byte is served."""

    lease_id: uuid.UUID
    study_uid: str
    series_uid: str | None
    granted: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class LeaseUseRow:
    """What was read under a lease by now; closes it when `closed` is set."""

    lease_id: uuid.UUID
    instances: int
    bytes: int
    closed: datetime | None


@dataclass(frozen=True, slots=True)
class NewBlob:
    """An object of the store that gets its row with the rows that point to it."""

    blob_id: uuid.UUID
    kind: str  # `keys.PACK`, `keys.MANIFEST`, `keys.DERIVED`
    length: int
    crc32c: int


@dataclass(frozen=True, slots=True)
class NativePlace:
    """Where the pixels lie in a data set that is kept instead: as in `InstanceFacts`."""

    syntax: str
    pixel_offset: int
    pixel_length: int
    frame_index: bytes


@dataclass(frozen=True, slots=True)
class Settled:
    """One instance that moves into a pack."""

    sop_uid: str
    was: uuid.UUID  # the blob its row points to until now; another one means: judged anew meanwhile
    offset: int  # of the Part 10 entry in the pack
    length: int
    data_offset: int
    coded: bytes | None
    form: str  # 'coded', 'pixel-exact', or the reason code why it lies there as received
    kept: KeptInstead | None = None
    native: NativePlace | None = None  # of a coded one of these


@dataclass(frozen=True, slots=True)
class PackRow:
    """One generation of a settled series: its rows are switched to a proved pack, all or none.

    The writer raises FactsChanged when an instance points elsewhere than it did. Blobs that nobody
    refers to afterwards are to be deleted from `clear_after` on.
    """

    study_uid: str
    series_uid: str
    generation: int
    pack: NewBlob
    manifest: NewBlob
    metadata: NewBlob
    preview: NewBlob | None
    instances: tuple[Settled, ...]
    raw: int  # bytes of the data sets as received
    clear_after: datetime
    # A re-index: objects of the store that this generation has replaced, without a row until now.
    replaced: tuple[NewBlob, ...] = ()

    @property
    def blobs(self) -> tuple[NewBlob, ...]:
        """All of them."""
        three = (self.pack, self.manifest, self.metadata)
        return three if self.preview is None else (*three, self.preview)


@dataclass(frozen=True, slots=True)
class PackClassRow:
    """Packs of a study that have moved between the stores; `packs` are (series UID, generation)."""

    study_uid: str
    packs: tuple[tuple[str, int], ...]
    cool: bool


@dataclass(frozen=True, slots=True)
class CommitmentRow:
    """A storage commitment request (PS3.4 J.3) to be answered in a new association."""

    peer: str
    called: str
    transaction_uid: str
    items: tuple[tuple[str, str], ...]  # (SOP class UID, SOP instance UID)
    requested: datetime


# --- reading -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Located:
    """One instance a lease opens: where its bytes lie and what is laid over them."""

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    syntax: str
    number: int | None
    rows: int | None
    columns: int | None
    frames: int | None
    landed: Landed
    pixel_offset: int | None
    pixel_length: int | None
    pixel_tag: int | None
    frame_index: bytes | None
    edits: dict[str, JSONElement | None]  # effective overlay of all levels, for this instance
    version: str  # changes with every edit: part of each ETag
    modality: str = ""


@dataclass(frozen=True, slots=True)
class FrameRun:
    """A frame that lies in the store as it was received, in one piece: bytes of an object there."""

    key: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class CoarseFrame:
    """A settled frame at a fraction of its size: little endian words of `bits`, pixel by pixel, colours as
    RGB; clamped as viewers do."""

    rows: int
    columns: int
    samples: int
    bits: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SeriesContents:
    """Every instance of a series, rejected ones too, in reading order, as received (no edits)."""

    generation: int  # of its newest pack; 0 when it has none
    packs: int  # that instances point into
    instances: tuple[Located, ...]
    rowless: bool = False  # one of them is of no known generation


@dataclass(frozen=True, slots=True)
class Derived:
    """An object of the store that can be made again from a pack."""

    key: str
    length: int
    crc32c: int


@dataclass(frozen=True, slots=True)
class SeriesPack:
    """One generation of a settled series: the pack that instances point into, and what was made of it."""

    series_uid: str
    generation: int
    blob_id: uuid.UUID  # `Landed.blob_id` of its instances
    metadata: Derived
    preview: Derived | None
    pack: Derived  # itself
    cool: bool = False  # it lies in the cool store


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to read what lies under one study or series, for a while, revocable."""

    lease_id: uuid.UUID
    study_uid: str
    series_uid: str | None
    expires: float  # monotonic seconds
    instances: Mapping[str, Located]  # by SOP Instance UID, in series and instance order
    version: str  # of the study: an ETag for what is made of all instances
    packs: tuple[SeriesPack, ...] = ()  # that its instances lie in, oldest generation first

    def opens(self, series_uid: str | None, sop_uid: str | None) -> bool:
        """Whether what is asked for lies under this lease, as far as it knows."""
        if sop_uid is not None:
            located = self.instances.get(sop_uid)
            return located is not None and series_uid in (None, located.series_uid)
        if series_uid is None or series_uid == self.series_uid:
            return True
        return any(located.series_uid == series_uid for located in self.instances.values())

    def of_series(self, series_uid: str) -> list[Located]:
        return [i for i in self.instances.values() if i.series_uid == series_uid]


# Failure reasons of storage commitment (PS3.4 J.3.3)
PROCESSING_FAILURE = 0x0110
NO_SUCH_OBJECT = 0x0112
CLASS_CONFLICT = 0x0119


@dataclass(frozen=True, slots=True)
class Vouched:
    """The answer of storage commitment for one reference (PS3.4 J.3.3): None is 'committed'."""

    sop_class: str
    sop_uid: str
    failure: int | None  # failure reason (0008,1197), one of the three above


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a tenant keeps, and how much it may; None: no limit. Bytes as they lie in the store."""

    studies: int = 0
    bytes: int = 0
    most_studies: int | None = None
    most_bytes: int | None = None

    def leaves(self, size: int, studies: int) -> bool:
        """Whether so many bytes and studies more are allowed. A study that is there costs none."""
        fits = self.most_bytes is None or self.bytes + size <= self.most_bytes
        new = studies == 0 or self.most_studies is None
        return fits and (new or self.studies + studies <= (self.most_studies or 0))


@dataclass(frozen=True, slots=True)
class Totals:
    """What a tenant keeps."""

    patients: int
    studies: int
    series: int
    instances: int
    bytes: int
    held: int
    candidates: int
    conflicts: int
    quarantined: int
    rejected: int
    by_modality: dict[str, int] = field(default_factory=dict)
