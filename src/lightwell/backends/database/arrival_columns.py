"""Arrivals as the column arrays that `ingest` (migration 0002) takes. Pure.

The order of the arrays is the order of the function's parameters; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from lightwell.access.commit import ChangeSet
from lightwell.access.context import Tenant
from lightwell.domain.archive.columns import (
    PatientColumns,
    patient_columns,
    series_columns,
    study_columns,
)
from lightwell.domain.archive.model import ArrivalRow, Attributes

Arrays = list[list[Any]]
Arrival = tuple[ChangeSet, ArrivalRow]

PATIENT_WIDTH, WORD_WIDTH, STUDY_WIDTH, SERIES_WIDTH, INSTANCE_WIDTH = 8, 4, 12, 7, 35


def parents_wanted(group: Iterable[Arrival]) -> bool:
    """Whether any arrival of the group brings parents this process has not written yet."""
    return any(not row.known_parents for _, row in group)


def grouped_arrays(tenant: Tenant, group: list[Arrival], *, with_parents: bool) -> Arrays:
    """All parameters of `ingest` (or of `ingest_instances`) after the tenant."""
    instances = _turned(
        sorted((_instance(tenant, c, r) for c, r in group), key=lambda values: values[4]),
        INSTANCE_WIDTH,
    )
    if not with_parents:
        return instances
    new = [row for _, row in group if not row.known_parents]
    patients = {row.patient.key: row for row in new}
    studies = {row.described.instance.study_uid: row for row in new}
    series = {
        (row.described.instance.study_uid, row.described.instance.series_uid): row for row in new
    }
    searched = [
        (patients[key], patient_columns(patients[key].described.patient_attributes))
        for key in sorted(patients)
    ]
    return [
        *_turned([_patient(row, found) for row, found in searched], PATIENT_WIDTH),
        *_turned([word for row, found in searched for word in _words(row, found)], WORD_WIDTH),
        *_turned([_study(studies[key]) for key in sorted(studies)], STUDY_WIDTH),
        *_turned([_series(series[key]) for key in sorted(series)], SERIES_WIDTH),
        *instances,
    ]


def _turned(rows: list[tuple[Any, ...]], width: int) -> Arrays:
    """Rows as columns; `width` empty columns for no rows."""
    return (
        [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
    )


def as_json(attributes: Attributes) -> str:
    """DICOM JSON for a jsonb column; NUL, which jsonb cannot hold, becomes U+FFFD."""
    return orjson.dumps(attributes).decode().replace("\\u0000", "\ufffd")


def as_text(text: str) -> str:
    """Text for a text column, which cannot hold NUL (nor an unpaired surrogate)."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _patient(row: ArrivalRow, found: PatientColumns) -> tuple[Any, ...]:
    facts, attributes = row.patient, row.described.patient_attributes
    return (
        as_text(facts.issuer),
        as_text(facts.pid),
        as_text(facts.name),
        as_text(facts.birth),
        as_text(facts.sex),
        as_text(found.name_key),
        as_json(attributes),
        " ".join(row.flags),
    )


def _words(row: ArrivalRow, found: PatientColumns) -> list[tuple[Any, ...]]:
    issuer, pid = as_text(row.patient.issuer), as_text(row.patient.pid)
    return [(issuer, pid, kind, as_text(word)) for kind, word in sorted(set(found.words))]


def _study(row: ArrivalRow) -> tuple[Any, ...]:
    attributes = row.described.study_attributes
    columns = study_columns(attributes)
    return (
        as_text(row.patient.issuer),
        as_text(row.patient.pid),
        row.described.instance.study_uid,
        as_text(columns.date),
        as_text(columns.time),
        as_text(columns.accession),
        as_text(columns.study_id),
        as_text(columns.description),
        as_text(columns.referring_key),
        as_text(columns.institution),
        row.outside,
        as_json(attributes),
    )


def _series(row: ArrivalRow) -> tuple[Any, ...]:
    attributes = row.described.series_attributes
    columns = series_columns(attributes)
    return (
        row.described.instance.study_uid,
        row.described.instance.series_uid,
        as_text(columns.modality),
        columns.number,
        as_text(columns.description),
        as_text(columns.body_part),
        as_json(attributes),
    )


def _instance(tenant: Tenant, change: ChangeSet, row: ArrivalRow) -> tuple[Any, ...]:
    facts, landed, entry = row.described.instance, row.landed, change.audit[0]
    return (
        as_text(row.patient.issuer),
        as_text(row.patient.pid),
        facts.study_uid,
        facts.series_uid,
        facts.sop_uid,
        facts.sop_class,
        facts.syntax,
        facts.number,
        facts.rows,
        facts.columns,
        facts.bits,
        facts.frames,
        landed.blob_id,
        landed.offset,
        landed.length,
        landed.data_offset,
        facts.pixel_offset,
        facts.pixel_length,
        facts.pixel_tag,
        facts.frame_index,
        landed.sha256,
        landed.crc32c,
        landed.inline,
        " ".join(facts.defects),
        as_text(row.source),
        row.received,
        entry.at,
        entry.actor,
        entry.action,
        entry.channel,
        entry.origin,
        entry.purpose,
        entry.trace,
        entry.detail,
        entry.leaf(tenant.key),
    )
