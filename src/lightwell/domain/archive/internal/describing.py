"""From a header to what the index and admission need, by level.

Objects of one series repeat the same patient, study and series attributes: their raw values are the
key of a small cache, so that the second slice of a series costs a lookup and not a translation.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from lightwell.dicom import tags
from lightwell.dicom.defects import Flaw
from lightwell.dicom.header import Header
from lightwell.dicom.json_model import selected_to_json
from lightwell.dicom.uids import acceptable_uid
from lightwell.domain.archive.columns import every, first
from lightwell.domain.archive.errors import Unreadable
from lightwell.domain.archive.internal.reading_header import ReadHeader
from lightwell.domain.archive.levels import TAGS
from lightwell.domain.archive.model import (
    AMBIGUOUS,
    Announced,
    Attributes,
    Described,
    InstanceFacts,
    Level,
)
from lightwell.domain.patients.model import PRIVATE, PatientFacts, issuer_for

CACHE_SIZE = 1024
IDENTITY_LIMIT = 256  # characters of an ID or a name that may be a key

IDENTIFYING = frozenset(
    {
        tags.PatientID, tags.IssuerOfPatientID, tags.PatientName, tags.PatientBirthDate, tags.PatientSex,
        tags.StudyInstanceUID, tags.SeriesInstanceUID, tags.SOPInstanceUID, tags.SOPClassUID,
        tags.AccessionNumber, tags.SpecificCharacterSet,
    }
)  # fmt: skip

_KEY_TAGS = (tags.SpecificCharacterSet, *(t for level in TAGS.values() for t in level))


@dataclass(frozen=True, slots=True)
class _Parents:
    """What all objects of one series say alike."""

    patient: PatientFacts
    patient_attributes: Attributes
    study_attributes: Attributes
    series_attributes: Attributes
    study_uid: str
    series_uid: str
    digest: bytes


class Describer:
    """Thread-safe; one a process."""

    def __init__(self) -> None:
        self._cache: OrderedDict[tuple[object, ...], _Parents] = OrderedDict()
        self._lock = Lock()

    def describe(self, read: ReadHeader, announced: Announced) -> Described:
        """Raises Unreadable when a UID is missing or is none (PS3.5 9.1, read leniently)."""
        header = read.header
        sop_uid = _uid(header, tags.SOPInstanceUID, "SOP Instance UID")
        sop_class = _uid(header, tags.SOPClassUID, "SOP Class UID")
        parents = self._parents(header, announced)
        facts = InstanceFacts(
            sop_class=sop_class,
            sop_uid=sop_uid,
            study_uid=parents.study_uid,
            series_uid=parents.series_uid,
            syntax=announced.syntax,
            number=_small(header, tags.InstanceNumber),
            rows=_small(header, tags.Rows),
            columns=_small(header, tags.Columns),
            bits=_small(header, tags.BitsAllocated),
            frames=_small(header, tags.NumberOfFrames),
            pixel_offset=header.pixel_offset,
            pixel_length=header.pixel_length,
            pixel_tag=header.pixel_tag,
            frame_index=read.frame_index,
            defects=(
                *read.defects,
                *_short_pixels(read),
                *_misnamed(announced, sop_uid),
                *_ambiguous(header),
            ),
        )
        return Described(
            patient=parents.patient,
            instance=facts,
            patient_attributes=parents.patient_attributes,
            study_attributes=parents.study_attributes,
            series_attributes=parents.series_attributes,
            digest=parents.digest,
        )

    def _parents(self, header: Header, announced: Announced) -> _Parents:
        index, data = header.index, header.data
        key: tuple[object, ...] = (
            announced.issuer,
            announced.source,
            announced.outside,
            header.encoding,
            *(
                bytes(data[row[3] : row[3] + row[4]]) if (row := index.get(tag)) else None
                for tag in _KEY_TAGS
            ),
        )
        with self._lock:
            known = self._cache.get(key)
            if known is not None:
                self._cache.move_to_end(key)
                return known
        parents = _parents_of(header, announced, key)
        with self._lock:
            self._cache[key] = parents
            while len(self._cache) > CACHE_SIZE:
                self._cache.popitem(last=False)
        return parents


def _parents_of(header: Header, announced: Announced, key: tuple[object, ...]) -> _Parents:
    study_uid = _uid(header, tags.StudyInstanceUID, "Study Instance UID")
    series_uid = _uid(header, tags.SeriesInstanceUID, "Series Instance UID")
    patient_attributes = _level(header, Level.PATIENT)
    return _Parents(
        patient=_identity(patient_attributes, announced, study_uid),
        patient_attributes=patient_attributes,
        study_attributes=_level(header, Level.STUDY),
        series_attributes=_level(header, Level.SERIES),
        study_uid=study_uid,
        series_uid=series_uid,
        digest=hashlib.blake2b(repr(key).encode(), digest_size=16).digest(),
    )


def _identity(attributes: Attributes, announced: Announced, study_uid: str) -> PatientFacts:
    # Several values are no ID of anybody's (VM 1): together they are one that is nobody else's.
    pid = every(attributes, "00100020").strip()[:IDENTITY_LIMIT]
    stated = first(attributes, "00100021").strip()[:IDENTITY_LIMIT]
    # An outside batch keeps its IDs to itself, also those that name an issuer we know: whether that is
    # the same patient is for a person to say (clinical.md 1).
    private = announced.outside and (announced.issuer or "").startswith(PRIVATE)
    return PatientFacts(
        issuer=issuer_for(
            "" if private else stated,
            f"{announced.issuer}/{stated}" if private and stated else announced.issuer,
            source=announced.source,
            pid=pid,
            study_uid=study_uid,
        ),
        pid=pid,
        name=first(attributes, "00100010")[:IDENTITY_LIMIT],
        birth=first(attributes, "00100030"),
        sex=first(attributes, "00100040"),
    )


def _level(header: Header, level: Level) -> Attributes:
    """The attributes of one level that are present, as DICOM JSON."""
    return selected_to_json(header, TAGS[level])


def _uid(header: Header, tag: int, name: str) -> str:
    uid = header.text(tag)
    if not uid:
        raise Unreadable(f"The data set has no {name}.")
    if not acceptable_uid(uid):
        raise Unreadable(f"The {name} is not a UID.")
    return uid


def _small(header: Header, tag: int) -> int | None:
    """A whole number that fits a 32-bit column; None for anything else."""
    number = header.int(tag)
    return number if number is not None and -(2**31) <= number < 2**31 else None


def _misnamed(announced: Announced, sop_uid: str) -> tuple[str, ...]:
    """A file whose meta information names another instance (PS3.10 7.1) is kept, and says so."""
    wrong = announced.by_file and announced.sop_uid not in (None, sop_uid)
    return ("meta-names-another-instance",) if wrong else ()


def _ambiguous(header: Header) -> tuple[str, ...]:
    """An identifying attribute given twice, with two values: each reader would take another for it."""
    twice = {d.tag for d in header.structure if d.code is Flaw.DUPLICATE} & IDENTIFYING
    for tag in twice:
        rows = (row for row in header.node.rows if row[0] == tag)
        values = {bytes(header.data[row[3] : row[3] + row[4]]).rstrip(b"\0 ") for row in rows}
        if len(values) > 1:
            return (AMBIGUOUS,)
    return ()


def _short_pixels(read: ReadHeader) -> tuple[str, ...]:
    header = read.header
    if header.pixel_offset is None or header.pixel_length is None:
        return ()
    missing = header.pixel_offset + header.pixel_length > read.length
    return ("pixel-data-short",) if missing else ()
