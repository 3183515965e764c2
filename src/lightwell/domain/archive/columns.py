"""Which attributes the index keeps as columns, taken from DICOM JSON. Pure.

One place for both ways in: an arrival's attributes and the effective attributes after a correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightwell.domain.archive.internal import moments
from lightwell.domain.archive.internal.matching import fold, words
from lightwell.domain.archive.model import Attributes

TEXT_LIMIT = 512  # characters of one column: longer values stay whole in the attributes


def first(attributes: Attributes, tag: str) -> str:
    """The first value as text; '' when absent. A PN gives its groups joined by '='."""
    element = attributes.get(tag)
    values = element.get("Value") if element else None
    if not values:
        return ""
    return plain(values[0])[:TEXT_LIMIT]


def every(attributes: Attributes, tag: str) -> str:
    """All values as text, joined by backslashes as in a data set; '' when absent."""
    element = attributes.get(tag)
    values = element.get("Value") if element else None
    return "\\".join(map(plain, values or ()))[:TEXT_LIMIT]


def plain(value: Any) -> str:
    """One DICOM JSON value as text (PS3.18 F.2.2)."""
    if value is None:
        return ""
    if isinstance(value, dict):
        groups = [value.get(g, "") for g in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return str(value)


def whole(attributes: Attributes, tag: str) -> int | None:
    """The first value as a 32-bit integer; None when absent or not one."""
    try:
        number = int(float(first(attributes, tag)))
    except (ValueError, OverflowError):
        return None
    return number if -(2**31) <= number < 2**31 else None


@dataclass(frozen=True, slots=True)
class PatientColumns:
    """What the patient row is searched by."""

    name: str
    name_key: str
    birth: str
    sex: str
    words: tuple[tuple[int, str], ...]


def patient_columns(attributes: Attributes) -> PatientColumns:
    """Columns of a patient row."""
    name = first(attributes, "00100010")
    return PatientColumns(
        name=name,
        name_key=fold(name),
        birth=first(attributes, "00100030"),
        sex=first(attributes, "00100040"),
        words=tuple(words(name)),
    )


@dataclass(frozen=True, slots=True)
class StudyColumns:
    """What the study row is searched and sorted by."""

    date: str
    time: str
    accession: str
    study_id: str
    description: str
    referring_key: str
    institution: str


def study_columns(attributes: Attributes) -> StudyColumns:
    """Columns of a study row."""
    return StudyColumns(
        # The old form 'YYYY.MM.DD' would not sort among the others; the attributes keep it.
        date=moments.date(day := first(attributes, "00080020")) or day,
        time=first(attributes, "00080030"),
        accession=first(attributes, "00080050"),
        study_id=first(attributes, "00200010"),
        description=first(attributes, "00081030"),
        referring_key=fold(first(attributes, "00080090")),
        institution=first(attributes, "00080080"),
    )


def referrer(attributes: Attributes) -> str:
    """Who ordered a study: coding scheme and code of the first item of Referring Physician Identification
    Sequence (PS3.3 C.7.2.1), joined by a backslash; '' when it does not say so."""
    item = _first_item(_first_item(attributes, "00080096"), "00401101")
    scheme, code = first(item, "00080102"), first(item, "00080100")
    return f"{scheme}\\{code}"[:TEXT_LIMIT] if scheme and code else ""


def _first_item(attributes: Attributes, tag: str) -> Attributes:
    element = attributes.get(tag)
    values = element.get("Value") if element else None
    item = values[0] if values else None
    return item if isinstance(item, dict) else {}


@dataclass(frozen=True, slots=True)
class SeriesColumns:
    """What the series row is searched and sorted by."""

    modality: str
    number: int | None
    description: str
    body_part: str


def series_columns(attributes: Attributes) -> SeriesColumns:
    """Columns of a series row."""
    return SeriesColumns(
        modality=first(attributes, "00080060"),
        number=whole(attributes, "00200011"),
        description=first(attributes, "0008103E"),
        body_part=first(attributes, "00180015"),
    )
