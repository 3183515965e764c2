"""The archive's rows in memory: frozen values in tables, changed by transactions that can be dropped.

A transaction writes beside the tables and is published in one step, so a simulated crash loses
exactly what was not committed. Deterministic: no clock, no randomness, no threads.
"""

from __future__ import annotations

import uuid
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from lightwell.access.audit import AuditRecord
from lightwell.access.commit import Event
from lightwell.domain.archive.model import (
    Attributes,
    CommitmentRow,
    Edits,
    InstanceFacts,
    Landed,
    LeaseRow,
    LeaseUseRow,
    OverlayRow,
    QCRow,
    RejectionRow,
    SensitiveRow,
    SeriesPack,
)
from lightwell.domain.patients.model import PatientFacts
from lightwell.domain.people.glass import Opening
from lightwell.domain.people.model import (
    Challenge,
    ConsentRow,
    Credentials,
    Limit,
    Link,
    Passkey,
    Person,
    PolicyRow,
    Program,
    Relation,
    Session,
)
from lightwell.domain.people.providers import IdentityProvider
from lightwell.domain.tenants.erasing import Erasure

PatientId = tuple[str, str]  # (issuer, ID)
SeriesId = tuple[str, str]  # (study UID, series UID)
PackId = tuple[str, str, int]  # the same and the generation


@dataclass(frozen=True, slots=True)
class PatientRecord:
    """A patient: `facts` as first received, `original` supplemented, `attributes` effective."""

    key: int
    facts: PatientFacts
    original: Attributes
    attributes: Attributes
    flags: tuple[str, ...] = ()
    version: int = 0


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study of the patient its first object named."""

    key: int
    uid: str
    patient: PatientId
    original: Attributes
    attributes: Attributes
    outside: bool
    received: datetime
    version: int = 0


@dataclass(frozen=True, slots=True)
class SeriesRecord:
    """A series."""

    key: int
    study_uid: str
    uid: str
    original: Attributes
    attributes: Attributes
    version: int = 0


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """A visible or rejected instance."""

    key: int
    facts: InstanceFacts
    landed: Landed
    received: datetime
    source: str
    rejected: str | None = None
    seen: int = 1
    edits: Edits | None = None
    edit_version: int = 0


@dataclass(frozen=True, slots=True)
class QCRecord:
    """An object kept aside."""

    row: QCRow
    seen: int = 1


@dataclass(frozen=True, slots=True)
class OverlayRecord:
    """An edit, in force until undone."""

    row: OverlayRow
    undone: bool = False


@dataclass(frozen=True, slots=True)
class RejectionRecord:
    """A rejection, in force until undone."""

    row: RejectionRow
    undone: bool = False


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A lease and what was read under it."""

    row: LeaseRow
    use: LeaseUseRow | None = None
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class PersonRecord:
    """An account and what it signs in with."""

    person: Person
    credentials: Credentials = field(default_factory=Credentials)


@dataclass(frozen=True, slots=True)
class PasskeyRecord:
    """A passkey and whose it is."""

    person_id: uuid.UUID
    passkey: Passkey


@dataclass(frozen=True, slots=True)
class ProgramRecord:
    """A key and the digest of its secret."""

    program: Program
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccessTokenRecord:
    """A token that a program was given for its key."""

    program_id: uuid.UUID
    scopes: frozenset[str]
    created: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class CertificateRecord:
    """A certificate that a program comes with."""

    program_id: uuid.UUID
    fingerprint: str


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session and the digest of its token."""

    session: Session
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpeningRecord:
    """Something opened in an emergency, and whose session it was."""

    opening: Opening
    person_id: uuid.UUID


K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Table(Generic[K, V]):
    """Committed rows, which readers see, and beside them those of the transaction that is open."""

    def __init__(self) -> None:
        self._committed: dict[K, V] = {}
        self._pending: dict[K, V | None] = {}

    def get(self, key: K) -> V | None:
        """A committed row."""
        return self._committed.get(key)

    def items(self) -> list[tuple[K, V]]:
        """All committed rows by their keys, oldest first."""
        return list(self._committed.items())

    def values(self) -> list[V]:
        """All committed rows, oldest first."""
        return list(self._committed.values())

    def __len__(self) -> int:
        return len(self._committed)

    def draft(self, key: K) -> V | None:
        """A row as the open transaction sees it."""
        return self._pending[key] if key in self._pending else self._committed.get(key)

    def drafts(self) -> list[tuple[K, V]]:
        """All rows as the open transaction sees them, oldest first."""
        keys = dict.fromkeys([*self._committed, *self._pending])
        return [(key, value) for key in keys if (value := self.draft(key)) is not None]

    def put(self, key: K, value: V) -> None:
        self._pending[key] = value

    def remove(self, key: K) -> None:
        self._pending[key] = None

    def publish(self) -> None:
        """Commit: what is pending takes the place of what was there."""
        for key, value in self._pending.items():
            if value is None:
                self._committed.pop(key, None)
            else:
                self._committed[key] = value
        self._pending.clear()

    def drop(self) -> None:
        """Roll back."""
        self._pending.clear()


@dataclass(slots=True)
class TenantTables:
    """Everything kept for one tenant."""

    patients: Table[PatientId, PatientRecord] = field(default_factory=Table)
    studies: Table[str, StudyRecord] = field(default_factory=Table)
    series: Table[SeriesId, SeriesRecord] = field(default_factory=Table)
    instances: Table[str, InstanceRecord] = field(default_factory=Table)
    qc: Table[tuple[str, str, str, bytes], QCRecord] = field(default_factory=Table)
    overlays: Table[uuid.UUID, OverlayRecord] = field(default_factory=Table)
    rejections: Table[uuid.UUID, RejectionRecord] = field(default_factory=Table)
    leases: Table[uuid.UUID, LeaseRecord] = field(default_factory=Table)
    commitments: Table[tuple[str, str], CommitmentRow] = field(default_factory=Table)
    packs: Table[PackId, SeriesPack] = field(default_factory=Table)
    people: Table[uuid.UUID, PersonRecord] = field(default_factory=Table)
    passkeys: Table[bytes, PasskeyRecord] = field(default_factory=Table)
    programs: Table[uuid.UUID, ProgramRecord] = field(default_factory=Table)
    access_tokens: Table[bytes, AccessTokenRecord] = field(default_factory=Table)
    certificates: Table[bytes, CertificateRecord] = field(default_factory=Table)
    sessions: Table[uuid.UUID, SessionRecord] = field(default_factory=Table)
    links: Table[bytes, Link] = field(default_factory=Table)
    challenges: Table[bytes, Challenge] = field(default_factory=Table)
    policies: Table[str, PolicyRow] = field(default_factory=Table)
    relations: Table[tuple[uuid.UUID, Relation], Relation] = field(default_factory=Table)
    limits: Table[tuple[uuid.UUID, Limit], frozenset[str]] = field(default_factory=Table)
    sensitive: Table[str, SensitiveRow] = field(default_factory=Table)
    providers: Table[str, IdentityProvider] = field(default_factory=Table)
    openings: Table[uuid.UUID, OpeningRecord] = field(default_factory=Table)
    consents: Table[str, ConsentRow] = field(default_factory=Table)  # under "", at most one
    events: Table[int, Event] = field(default_factory=Table)
    audit: Table[int, AuditRecord] = field(default_factory=Table)
    other: Table[int, object] = field(default_factory=Table)  # rows of other rooms, in order

    def packs_of(self, study_uid: str, series_uid: str | None) -> list[SeriesPack]:
        """The packs of a study's or one series' instances, oldest generation first."""
        mine = [
            pack
            for key, pack in self.packs.items()
            if key[0] == study_uid and series_uid in (None, key[1])
        ]
        return sorted(mine, key=lambda pack: (pack.series_uid, pack.generation))

    def relations_of(self, person_id: uuid.UUID) -> list[Relation]:
        """What somebody is to patients and studies."""
        return [relation for (whose, _), relation in self.relations.items() if whose == person_id]

    def limits_of(self, person_id: uuid.UUID) -> dict[Limit, frozenset[str]]:
        """What somebody is limited to."""
        return {sort: values for (whose, sort), values in self.limits.items() if whose == person_id}

    def _all(self) -> list[Table[Hashable, object]]:
        return [getattr(self, name) for name in self.__slots__]

    def count(self) -> int:
        """How many rows there are."""
        return sum(len(table) for table in self._all())

    def publish(self) -> None:
        """Commit the open transaction."""
        for table in self._all():
            table.publish()

    def drop(self) -> None:
        """Roll the open transaction back."""
        for table in self._all():
            table.drop()


@dataclass(slots=True)
class MemoryDatabase:
    """The tables of all tenants; outlives the processes (committers, indexes) that use it."""

    tenants: dict[int, TenantTables] = field(default_factory=dict)
    suspended: set[int] = field(default_factory=set)
    quotas: dict[int, tuple[int | None, int | None]] = field(default_factory=dict)  # studies, bytes
    erasures: dict[str, Erasure] = field(default_factory=dict)  # by the name of the tenant
    _last: int = 0

    def of(self, tenant: int) -> TenantTables:
        """The tables of one tenant."""
        return self.tenants.setdefault(tenant, TenantTables())

    def next_key(self) -> int:
        """Keys as a database gives them: rising, never given twice."""
        self._last += 1
        return self._last
