"""The one query model that C-FIND, QIDO-RS and the web app's list are translated into.

A `Query` is data. `internal/matching.py` says what a criterion means (PS3.4 C.2.2.2); an index may
use it to narrow in SQL, but whether an entity matches is decided there and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from lightwell.domain.archive.model import Attributes, Level


class Match(StrEnum):
    """Kinds of matching (PS3.4 C.2.2.2, PS3.18 8.3.4)."""

    EXISTS = "exists"  # universal: matches everything, asks for the value back
    SINGLE = "single"
    WILDCARD = "wildcard"
    UID_LIST = "uid-list"
    VALUE_LIST = "value-list"  # multiple value matching
    RANGE = "range"
    EMPTY = "empty"  # empty value matching: absent or zero length
    SEQUENCE = "sequence"
    FUZZY = "fuzzy"


@dataclass(frozen=True, slots=True)
class Criterion:
    """One key. For SEQUENCE, `items` holds the criteria that one item must meet together; for
    VALUE_LIST, the alternatives of which one must be met.

    RANGE values are (low, high), either may be '' (open). Text is Unicode, as recorded.
    """

    tag: int
    vr: str
    kind: Match
    values: tuple[str, ...] = ()
    items: tuple[Criterion, ...] = ()


@dataclass(frozen=True, slots=True)
class DateTimeRange:
    """StudyDate and StudyTime matched as one interval (combined date-time matching)."""

    date_tag: int
    time_tag: int
    low: str  # 'YYYYMMDDHHMMSS' and more digits, '' open
    high: str


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for. Parents and wanted objects are named by UID_LIST criteria like any other key."""

    level: Level
    criteria: tuple[Criterion, ...] = ()
    combined: tuple[DateTimeRange, ...] = ()
    include: frozenset[int] = frozenset()  # attributes wanted beyond those of the level
    include_all: bool = False
    limit: int = 100
    offset: int = 0
    cursor: str | None = None  # keyset paging: wins over offset
    order: str = "-StudyDate"  # '-StudyDate', 'StudyDate', 'PatientName', '-PatientName'
    text: str = ""  # the web app's one search box: words of name, ID, accession, description
    modality: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """One match: effective attributes of its level and those above, counts included."""

    level: Level
    attributes: Attributes
    issuer: str = ""
    pid: str = ""
    study_uid: str = ""
    series_uid: str = ""
    sop_uid: str = ""
    version: str = ""
    extra: dict[str, str | int | bool] = field(default_factory=dict)
    # extra: held, rejected, outside, patient_changed, flags: what lists show and DICOM has no tag for
