"""What an index hands to the matching engine, and how entries become DICOM JSON answers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lightwell.domain.archive.internal.presenting import present
from lightwell.domain.archive.model import Attributes, JSONElement, Level, Located
from lightwell.domain.archive.query import Found

STUDY_UID, SERIES_UID, SOP_UID, SOP_CLASS = 0x0020000D, 0x0020000E, 0x00080018, 0x00080016
MODALITY, MODALITIES, SOP_CLASSES = 0x00080060, 0x00080061, 0x00080062
AVAILABILITY = "00080056"
PATIENT_STUDIES, PATIENT_SERIES, PATIENT_INSTANCES = 0x00201200, 0x00201202, 0x00201204

# Attributes that we compute, by the level they describe (PS3.4 C.3.4, PS3.18 tables 10.6.3-3 to -5).
COMPUTED: Mapping[int, Level] = {
    MODALITIES: Level.STUDY,
    SOP_CLASSES: Level.STUDY,
    PATIENT_STUDIES: Level.PATIENT,
    PATIENT_SERIES: Level.PATIENT,
    PATIENT_INSTANCES: Level.PATIENT,
    0x00201206: Level.STUDY,
    0x00201208: Level.STUDY,
    0x00201209: Level.SERIES,
}
# What an instance row knows without its header, (0008,0056) and (0008,3002) computed.
INSTANCE_COLUMNS = frozenset(
    {
        SOP_CLASS, SOP_UID, 0x00080056, 0x00083002, 0x00200013, 0x00280008, 0x00280010,
        0x00280011, 0x00280100,
    }
)  # fmt: skip


@dataclass(slots=True)
class PatientEntry:
    """A patient with its effective attributes. `counts` is (studies, series, instances) if asked for."""

    key: int
    issuer: str
    pid: str
    name_key: str
    attributes: Attributes
    flags: tuple[str, ...] = ()
    version: int = 0
    counts: tuple[int, int, int] | None = None


@dataclass(slots=True)
class SeriesEntry:
    """A series; `visible` and `rejected` count its instances."""

    key: int
    uid: str
    modality: str
    number: int | None
    visible: int
    rejected: int = 0
    attributes: Attributes = field(default_factory=dict)
    version: int = 0
    cool: bool = False  # a pack of it lies in the cool store

    @property
    def order(self) -> tuple[bool, int, str]:
        """Reading order: by number, unnumbered last, then by UID."""
        return (self.number is None, self.number or 0, self.uid)


@dataclass(slots=True)
class StudyEntry:
    """A study of one patient with its visible series (attributes of these only below study level)."""

    key: int
    uid: str
    date: str
    time: str
    patient: PatientEntry
    attributes: Attributes
    series: Sequence[SeriesEntry]
    visible: int
    rejected: int = 0
    held: int = 0
    outside: bool = False
    version: int = 0
    sop_classes: tuple[str, ...] | None = None


@dataclass(slots=True)
class InstanceEntry:
    """An instance: what its row knows, what is laid over it, and where its header can be read."""

    series: SeriesEntry
    sop_uid: str
    sop_class: str
    syntax: str
    number: int | None
    rows: int | None
    columns: int | None
    bits: int | None
    frames: int | None
    edits: Mapping[str, JSONElement | None]
    edit_version: int
    located: Callable[[], Located]

    @property
    def order(self) -> tuple[bool, int, str]:
        """Reading order within the series."""
        return (self.number is None, self.number or 0, self.sop_uid)


def _element(vr: str, *values: str | int) -> JSONElement:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def _availability(cool: bool) -> JSONElement:
    """Instance Availability (PS3.3 C.4.23.1.1): at once, or with some delay."""
    return _element("CS", "NEARLINE" if cool else "ONLINE")


def patient_attributes(patient: PatientEntry) -> Attributes:
    """Effective patient attributes, with counts where they were asked for."""
    computed: Attributes = {}
    if patient.counts is not None:
        for tag, count in zip(
            (PATIENT_STUDIES, PATIENT_SERIES, PATIENT_INSTANCES), patient.counts, strict=True
        ):
            computed[f"{tag:08X}"] = _element("IS", count)
    return {**patient.attributes, **computed}


def study_attributes(study: StudyEntry) -> Attributes:
    """Effective patient and study attributes, with what is computed from the visible series."""
    modalities = sorted({entry.modality for entry in study.series if entry.modality})
    computed: Attributes = {
        "0020000D": _element("UI", study.uid),
        AVAILABILITY: _availability(any(entry.cool for entry in study.series)),
        "00080061": _element("CS", *modalities),
        "00201206": _element("IS", len(study.series)),
        "00201208": _element("IS", study.visible),
    }
    if study.sop_classes is not None:
        computed["00080062"] = _element("UI", *study.sop_classes)
    return {**patient_attributes(study.patient), **study.attributes, **computed}


def series_attributes(above: Attributes, series: SeriesEntry) -> Attributes:
    """`above` (patient and study) with the series' own."""
    return {
        **above,
        **series.attributes,
        AVAILABILITY: _availability(series.cool),
        "0020000E": _element("UI", series.uid),
        "00201209": _element("IS", series.visible),
    }


def instance_attributes(
    above: Attributes, instance: InstanceEntry, header: Attributes | None = None
) -> Attributes:
    """`above` (patient, study, series) with the instance's row, or its whole header when read.

    Effective values of the upper levels win over what this object's header says of them.
    """
    row: Attributes = {
        AVAILABILITY: _availability(instance.series.cool),
        "00080016": _element("UI", instance.sop_class),
        "00080018": _element("UI", instance.sop_uid),
        "00083002": _element("UI", instance.syntax),
    }
    numbers = (
        ("00200013", "IS", instance.number),
        ("00280008", "IS", instance.frames),
        ("00280010", "US", instance.rows),
        ("00280011", "US", instance.columns),
        ("00280100", "US", instance.bits),
    )
    row |= {tag: _element(vr, number) for tag, vr, number in numbers if number is not None}
    return present({**(header or {}), **above, **row}, instance.edits)


# --- answers --------------------------------------------------------------------------------------


def found_patient(patient: PatientEntry) -> Found:
    """The answer for a patient."""
    return Found(
        level=Level.PATIENT,
        attributes=_sorted(patient_attributes(patient)),
        issuer=patient.issuer,
        pid=patient.pid,
        version=str(patient.version),
        extra=_patient_extra(patient),
    )


def found_study(study: StudyEntry, attributes: Attributes) -> Found:
    """The answer for a study."""
    return Found(
        level=Level.STUDY,
        attributes=_sorted(attributes),
        issuer=study.patient.issuer,
        pid=study.patient.pid,
        study_uid=study.uid,
        version=_version(study),
        extra=_study_extra(study),
    )


def found_series(study: StudyEntry, series: SeriesEntry, attributes: Attributes) -> Found:
    """The answer for a series."""
    return Found(
        level=Level.SERIES,
        attributes=_sorted(attributes),
        issuer=study.patient.issuer,
        pid=study.patient.pid,
        study_uid=study.uid,
        series_uid=series.uid,
        version=f"{_version(study)}.{series.version}",
        extra={**_study_extra(study), "rejected": series.rejected},
    )


def found_instance(study: StudyEntry, instance: InstanceEntry, attributes: Attributes) -> Found:
    """The answer for an instance."""
    series = instance.series
    return Found(
        level=Level.INSTANCE,
        attributes=attributes,
        issuer=study.patient.issuer,
        pid=study.patient.pid,
        study_uid=study.uid,
        series_uid=series.uid,
        sop_uid=instance.sop_uid,
        version=f"{_version(study)}.{series.version}.{instance.edit_version}",
        extra=_study_extra(study),
    )


def _sorted(attributes: Attributes) -> Attributes:
    return dict(sorted(attributes.items()))


def _version(study: StudyEntry) -> str:
    return f"{study.patient.version}.{study.version}"


def _patient_extra(patient: PatientEntry) -> dict[str, str | int | bool]:
    return {"patient_changed": patient.version > 0, "flags": " ".join(patient.flags)}


def _study_extra(study: StudyEntry) -> dict[str, str | int | bool]:
    return {
        **_patient_extra(study.patient),
        "held": study.held,
        "rejected": study.rejected,
        "outside": study.outside,
    }


def visible_series(entries: Iterable[SeriesEntry]) -> list[SeriesEntry]:
    """Those with at least one visible instance, in reading order."""
    return sorted((entry for entry in entries if entry.visible > 0), key=lambda e: e.order)
