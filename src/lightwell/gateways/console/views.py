"""What the web app's lists show: one flat row a study or series, made from a match. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from lightwell.access.context import Context, Tenant
from lightwell.dicom.uids import acceptable_uid
from lightwell.domain.archive.model import Attributes
from lightwell.domain.archive.query import Found
from lightwell.domain.patients.model import public_issuer
from lightwell.workflows.ports import COUNTED, RunStatus, State


class TenantView(BaseModel):
    """A tenant that the page can switch to."""

    name: str
    label: str
    demo: bool = False


class Me(BaseModel):
    """Who is signed in. `kind`: 'person' or 'program'; `label` and `accent`: how the tenant looks to its
    people; `may`: the actions that policy allows them here, so that a page offers nothing else."""

    kind: str
    name: str
    home: str
    roles: list[str]
    tenant: str
    label: str
    accent: str
    may: list[str]


def me_view(context: Context, may: Iterable[str]) -> Me:
    """The caller as the page knows them."""
    actor, tenant = context.actor, context.tenant
    return Me(
        kind=actor.kind.value,
        name=actor.name,
        home=actor.home,
        roles=sorted(actor.roles),
        tenant=tenant.name,
        label=tenant.label,
        accent=tenant.accent,
        may=sorted(may),
    )


class StudyFacts(BaseModel):
    """A study as lists show it. Dates and times as recorded; names with their groups joined by `=`."""

    study_uid: str
    patient_name: str
    patient_id: str
    issuer: str
    birth_date: str
    sex: str
    study_date: str
    study_time: str
    accession: str
    description: str
    modalities: list[str]
    instances: int
    held: int
    rejected: int
    outside: bool
    patient_changed: bool
    institution: str
    thumbnail: str


class SeriesHint(BaseModel):
    """What the page must know of a series to fetch it before the study is opened."""

    series_uid: str
    modality: str
    number: int | None
    instances: int


class StudyRow(StudyFacts):
    """A row of the study list. `hints`: its series, when they are few."""

    series: int
    hints: list[SeriesHint] = []


class SeriesRow(BaseModel):
    """A series in the strip of the viewer."""

    series_uid: str
    modality: str
    number: int | None
    description: str
    body_part: str
    instances: int
    frames: int | None
    thumbnail: str


class StudyDetail(StudyFacts):
    """A study with its series in reading order."""

    series: list[SeriesRow]


class StudyPage(BaseModel):
    """Some rows, and where the next ones begin."""

    items: list[StudyRow]
    next_cursor: str | None
    total: int | None = None


class Stats(BaseModel):
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
    by_modality: dict[str, int]


class JobSubject(BaseModel):
    """The series a job is about, without anything of the patient."""

    study_uid: str
    series_uid: str
    modality: str
    description: str
    study_description: str
    images: int


class JobView(BaseModel):
    """A piece of background work. `total` 0: not said; times in UTC; `asked`: 'retry' or 'cancel' until
    that has come to pass; `series_uid`: the series it works on, '' when it works on none."""

    id: str
    workflow: str
    state: str
    step: str
    done: int
    total: int
    what: str
    attempts: int
    error: str
    asked: str
    study_uid: str
    series_uid: str
    created: datetime | None
    updated: datetime | None


class JobCounts(BaseModel):
    """How many jobs there are in the states that somebody may have to do something about; 1000: or more."""

    waiting: int
    running: int
    failed: int


class JobPage(BaseModel):
    """Some jobs, newest first, and the `before` of the next page. `subjects`: the series they are about,
    by UID, as far as they were asked for and can be named. `now`: this server's clock, for ages."""

    items: list[JobView]
    next_before: str | None
    counts: JobCounts
    subjects: dict[str, JobSubject]
    now: datetime


def values_of(attributes: Attributes, tag: str) -> list[Any]:
    """The values of an attribute; none when it is absent or empty."""
    return list((attributes.get(tag) or {}).get("Value") or [])


def text_of(attributes: Attributes, tag: str) -> str:
    """The first value as text; a person name with its groups joined by `=` (PS3.5 6.2.1)."""
    values = values_of(attributes, tag)
    if not values or values[0] is None:
        return ""
    value = values[0]
    if isinstance(value, dict):
        groups = [value.get(name, "") for name in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return str(value)


def count_of(attributes: Attributes, tag: str) -> int | None:
    """The first value as a whole number; None when it is none."""
    try:
        return int(text_of(attributes, tag))
    except ValueError:
        return None


def uid_of(job: RunStatus, name: str) -> str:
    """A UID among the arguments of a run; '' when there is none of that name."""
    value = job.arguments.get(name)
    return value if isinstance(value, str) and acceptable_uid(value) else ""


def job_counts(counts: Mapping[State, int]) -> JobCounts:
    """How many, as the page knows it."""
    return JobCounts(**{state.value: counts.get(state, 0) for state in COUNTED})


def job_subject(found: Found) -> JobSubject:
    """A match at series level as what a job is about."""
    a = found.attributes
    return JobSubject(
        study_uid=found.study_uid,
        series_uid=found.series_uid,
        modality=text_of(a, "00080060"),
        description=text_of(a, "0008103E"),
        study_description=text_of(a, "00081030"),
        images=count_of(a, "00201209") or 0,
    )


def job_view(job: RunStatus) -> JobView:
    """A run as the page knows it."""
    return JobView(
        id=job.id,
        workflow=job.workflow,
        state=job.state.value,
        step=job.step,
        done=job.done,
        total=job.total,
        what=job.what,
        attempts=job.attempts,
        error=job.error,
        asked=job.asked,
        study_uid=uid_of(job, "study"),
        series_uid=uid_of(job, "series"),
        created=job.created,
        updated=job.updated,
    )


def tenant_view(tenant: Tenant) -> TenantView:
    """A tenant as the page knows it."""
    return TenantView(name=tenant.name, label=tenant.label, demo=tenant.demo)


def study_row(found: Found, prefix: str) -> StudyRow:
    """A match at study level as a row; links begin with `prefix` ('' or '/t/demo')."""
    a, extra = found.attributes, found.extra
    return StudyRow(
        study_uid=found.study_uid,
        patient_name=text_of(a, "00100010"),
        patient_id=text_of(a, "00100020"),
        issuer=public_issuer(found.issuer),
        birth_date=text_of(a, "00100030"),
        sex=text_of(a, "00100040"),
        study_date=text_of(a, "00080020"),
        study_time=text_of(a, "00080030"),
        accession=text_of(a, "00080050"),
        description=text_of(a, "00081030"),
        modalities=[str(value) for value in values_of(a, "00080061") if value],
        series=count_of(a, "00201206") or 0,
        instances=count_of(a, "00201208") or 0,
        held=int(extra.get("held", 0)),
        rejected=int(extra.get("rejected", 0)),
        outside=bool(extra.get("outside")),
        patient_changed=bool(extra.get("patient_changed")),
        institution=text_of(a, "00080080"),
        thumbnail=f"{prefix}/dicomweb/studies/{found.study_uid}/thumbnail",
    )


def hinted(rows: list[StudyRow], series: Iterable[Found]) -> list[StudyRow]:
    """The rows with what was found of their series."""
    hints: dict[str, list[SeriesHint]] = {}
    for found in series:
        a = found.attributes
        hint = SeriesHint(
            series_uid=found.series_uid,
            modality=text_of(a, "00080060"),
            number=count_of(a, "00200011"),
            instances=count_of(a, "00201209") or 0,
        )
        hints.setdefault(found.study_uid, []).append(hint)
    return [row.model_copy(update={"hints": hints.get(row.study_uid, [])}) for row in rows]


def series_row(found: Found, prefix: str) -> SeriesRow:
    """A match at series level."""
    a = found.attributes
    place = f"{prefix}/dicomweb/studies/{found.study_uid}/series/{found.series_uid}"
    return SeriesRow(
        series_uid=found.series_uid,
        modality=text_of(a, "00080060"),
        number=count_of(a, "00200011"),
        description=text_of(a, "0008103E"),
        body_part=text_of(a, "00180015"),
        instances=count_of(a, "00201209") or 0,
        frames=None,
        thumbnail=f"{place}/thumbnail?viewport=128,128",
    )


def study_detail(found: Found, series: list[SeriesRow], prefix: str) -> StudyDetail:
    """A study with its series."""
    row = study_row(found, prefix).model_dump(exclude={"series", "hints"})
    return StudyDetail(**row, series=series)
