"""The invariants of the archive (reliability contract 3.3) and what a check found. Pure values."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from lightwell.domain.archive.keys import LANDED

SHOWN = 100  # findings and orphans named in a report; all are counted


class State(StrEnum):
    """How it stands with one invariant."""

    HELD = "held"
    BROKEN = "broken"
    NOT_BUILT = "not built yet"


TEXTS = {
    "I1": "every kept object is readable and its SHA-256 is that of its arrival",
    "I2": "every index row has its blob",
    "I3": "every blob is referenced, or young, or in the orphan report",
    "I4": "counters equal a recount",
    "I5": "no instance is visible twice, none belongs to two parents or tenants",
    "I6": "every stored instance has its audit record in the same transaction; the record's chain holds",
    "I7": "each event has at most one completed effect of a name",
    "I8": "nothing readable that could not be parsed or was kept aside",
    "I9": "no plaintext of a blob outside a child's memory",
    "I10": "what is safe-kept has two verified copies",
    "I11": "no lease and no job runs past its end",
    "I12": "nothing is left in staging by a dead process",
}
NOT_BUILT = {
    "I9": "there is no encryption at rest yet",
    "I10": "there are no second copies yet",
}


@dataclass(frozen=True, slots=True)
class Found:
    """What one question to the database or the store came to."""

    damaged: int = 0
    findings: tuple[str, ...] = ()  # bounded by SHOWN
    checked: int = 0

    def __add__(self, other: Found) -> Found:
        return Found(
            self.damaged + other.damaged,
            (self.findings + other.findings)[:SHOWN],
            self.checked + other.checked,
        )


@dataclass(frozen=True, slots=True)
class Invariant:
    """One line of the report."""

    name: str
    state: State
    found: Found = Found()
    note: str = ""

    @property
    def text(self) -> str:
        """What it says."""
        return TEXTS[self.name]


@dataclass(frozen=True, slots=True)
class KeptObject:
    """One object a row points to: what the row and its blob row say of it."""

    key: int  # of its row, within its table
    aside: bool  # False: an instance row; True: a QC item
    sop_uid: str
    blob_id: uuid.UUID
    offset: int
    length: int
    data_offset: int
    sha256: bytes
    blob_length: int | None  # None: there is no blob row
    inline: bytes | None
    kind: str = LANDED  # of its blob
    sop_class: str = ""
    syntax: str = ""
    coded: bytes | None = None  # see `model.Landed`
    kept_sha256: bytes | None = None  # see `model.KeptInstead`

    @property
    def digest(self) -> bytes:
        """SHA-256 of the data set that must come out."""
        return self.kept_sha256 or self.sha256

    @property
    def end(self) -> int:
        """Where the object ends within its blob."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Part:
    """One object of a generation, and what its blob row says; `length` is None when there is no row."""

    role: str  # 'pack', 'manifest', 'metadata', 'preview'
    blob_id: uuid.UUID
    kind: str
    length: int | None
    crc32c: int | None


@dataclass(frozen=True, slots=True)
class Generation:
    """A settled series' row: the objects that it names."""

    series: int  # key of its row
    series_uid: str
    number: int
    parts: tuple[Part, ...]

    @property
    def place(self) -> tuple[int, int]:
        """What it is found by."""
        return self.series, self.number


@dataclass(frozen=True, slots=True)
class Orphans:
    """Objects of the store that no row refers to: no damage, and removed by nobody but the sweeper."""

    count: int = 0  # older than the grace
    young: int = 0  # may still get their row
    keys: tuple[str, ...] = ()  # bounded by SHOWN

    def __add__(self, other: Orphans) -> Orphans:
        return Orphans(
            self.count + other.count,
            self.young + other.young,
            (self.keys + other.keys)[:SHOWN],
        )


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found, by invariant."""

    found: dict[str, Found] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    orphans: Orphans = Orphans()
    away: dict[str, str] = field(default_factory=dict)  # regions not looked at, and why

    def __add__(self, other: Checked) -> Checked:
        names = self.found.keys() | other.found.keys()
        nothing = Found()
        return Checked(
            {n: self.found.get(n, nothing) + other.found.get(n, nothing) for n in names},
            {**self.notes, **other.notes},
            self.orphans + other.orphans,
            {**self.away, **other.away},
        )

    def invariants(self) -> list[Invariant]:
        """All twelve, in order. One that is built but was not looked at is a mistake of ours."""
        return [self._invariant(name) for name in TEXTS]

    def _invariant(self, name: str) -> Invariant:
        if name in NOT_BUILT:
            return Invariant(name, State.NOT_BUILT, note=NOT_BUILT[name])
        found = self.found[name]
        state = State.BROKEN if found.damaged else State.HELD
        return Invariant(name, state, found, self.notes.get(name, ""))


def whole(invariants: Iterable[Invariant]) -> bool:
    """Whether every built invariant holds."""
    return all(invariant.state is not State.BROKEN for invariant in invariants)


def to_json(
    invariants: list[Invariant],
    orphans: Orphans,
    *,
    deep: bool,
    away: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, object]:
    """The report for machines. With a region `away` it is not whole, whatever was found elsewhere."""
    return {
        "ok": whole(invariants) and not away,
        "deep": deep,
        "invariants": [
            {
                "id": invariant.name,
                "text": invariant.text,
                "state": invariant.state.value,
                "checked": invariant.found.checked,
                "damaged": invariant.found.damaged,
                "findings": list(invariant.found.findings),
                "note": invariant.note,
            }
            for invariant in invariants
        ],
        "orphans": {
            "count": orphans.count,
            "younger_than_grace": orphans.young,
            "keys": list(orphans.keys),
        },
        "regions_not_checked": dict(away),
    }
