"""Database rows as the archive's values. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Protocol

import orjson

from lightwell.access.context import Tenant
from lightwell.domain.archive.finding import (
    InstanceEntry,
    PatientEntry,
    SeriesEntry,
    StudyEntry,
    layered,
    visible_series,
)
from lightwell.domain.archive.keys import DERIVED, KIND_NUMBERS, LANDED, PACK, blob_key
from lightwell.domain.archive.model import (
    Attributes,
    Derived,
    Edits,
    JSONElement,
    KeptInstead,
    KnownInstance,
    Landed,
    Level,
    Located,
    OverlayRow,
    RejectionRow,
    SeriesPack,
    Target,
)
from lightwell.kernel.remembering import Remembered

_DECODED_BYTES = 16 << 20  # of decoded columns kept in a process: some thousand studies
_IN_MEMORY = 10  # bytes in memory for each of the text, about
_decoded: Remembered[Attributes] = Remembered(_DECODED_BYTES)


class Row(Protocol):
    """A record of the driver, or a mapping in a test."""

    def __getitem__(self, name: str, /) -> Any: ...


# What every statement on instances selects: `i` instance, `b` its blob.
INSTANCE_COLUMNS = (
    "i.instance_key, i.series_key, i.sop_uid, i.sop_class, i.syntax, i.number, i.rows_, i.cols,"
    " i.bits, i.frames, i.blob_id, i.off, i.length, i.data_off, i.pixel_off, i.pixel_len,"
    " i.pixel_tag, i.frame_index, i.sha256, i.coded, i.arrived_syntax, i.kept_sha256,"
    " i.edits, i.edit_version,"
    " b.kind, b.length AS blob_length, b.crc32c, b.inline"
)


def attributes_of(value: str | None) -> Attributes:
    """A jsonb column as DICOM JSON."""
    return orjson.loads(value) if value else {}


def entry_attributes(value: str | None) -> Attributes:
    """The same for an entry of a search. Do not change it: the latest ones are remembered, for a study list
    that is looked at is asked for again and again, and mostly says what it said before."""
    if not value:
        return {}
    return _decoded.of(value, lambda: (orjson.loads(value), _IN_MEMORY * len(value)))


def edits_of(value: str | None) -> dict[str, JSONElement | None]:
    """A jsonb column of edits; None removes."""
    return orjson.loads(value) if value else {}


def patient_entry(row: Row) -> PatientEntry:
    """From p_key, issuer, pid, name_key, p_attributes, flags, p_version."""
    return PatientEntry(
        key=row["p_key"],
        issuer=row["issuer"],
        pid=row["pid"],
        name_key=row["name_key"],
        attributes=entry_attributes(row["p_attributes"]),
        flags=tuple(row["flags"]),
        version=row["p_version"],
    )


def series_entry(row: Row, added: int = 0, rejected: int = 0) -> SeriesEntry:
    """From the series columns and the sums of its deltas; attributes only where selected."""
    return SeriesEntry(
        key=row["series_key"],
        uid=row["series_uid"],
        modality=row["modality"],
        number=row["number"],
        visible=row["n_instances"] + added,
        rejected=row["n_rejected"] + rejected,
        cool=row["cool"],
        attributes=entry_attributes(row["attributes"]),
        version=row["version"],
    )


def study_entry(row: Row, patient: PatientEntry, series: list[SeriesEntry]) -> StudyEntry:
    """A study with all its series, of which the visible ones are kept."""
    shown = visible_series(series)
    return StudyEntry(
        key=row["study_key"],
        uid=row["study_uid"],
        date=row["study_date"],
        time=row["study_time"],
        patient=patient,
        attributes=entry_attributes(row["attributes"]),
        series=shown,
        visible=sum(entry.visible for entry in shown),
        rejected=sum(entry.rejected for entry in series),
        held=row["held"],
        outside=row["outside"],
        version=row["version"],
    )


def _key(tenant: Tenant, kind: str, blob_id: uuid.UUID) -> str:
    """The key of a tenant's blob: what is a tenant's lies in its region, whatever a row said of that."""
    return blob_key(tenant.region, tenant.name, kind, blob_id)


def landed(row: Row, tenant: Tenant) -> Landed:
    """Where an instance's bytes lie."""
    return Landed(
        blob_id=row["blob_id"],
        key=_key(tenant, KIND_NUMBERS[row["kind"]], row["blob_id"]),
        offset=row["off"],
        length=row["length"],
        data_offset=row["data_off"],
        sha256=row["sha256"],
        crc32c=row["crc32c"],
        inline=row["inline"],
        coded=row["coded"],
        blob_length=row["blob_length"] if KIND_NUMBERS[row["kind"]] != LANDED else None,
        kept=_kept(row["kept_sha256"], row["arrived_syntax"]),
    )


def _kept(digest: bytes | None, arrived: str | None) -> KeptInstead | None:
    return None if digest is None or arrived is None else KeptInstead(digest, arrived)


def located(
    row: Row, tenant: Tenant, study_uid: str, series: SeriesEntry, above: Edits, version: str
) -> Located:
    """One instance of `series`; `above` are the edits in force on patient, study and series."""
    return Located(
        study_uid=study_uid,
        series_uid=series.uid,
        sop_uid=row["sop_uid"],
        sop_class=row["sop_class"],
        syntax=row["syntax"],
        number=row["number"],
        rows=row["rows_"],
        columns=row["cols"],
        frames=row["frames"],
        landed=landed(row, tenant),
        pixel_offset=row["pixel_off"],
        pixel_length=row["pixel_len"],
        pixel_tag=row["pixel_tag"],
        frame_index=row["frame_index"],
        edits=layered(above, edits_of(row["edits"])),
        version=f"{version}.{series.version}.{row['edit_version']}",
        modality=series.modality,
    )


def series_pack(row: Row, tenant: Tenant) -> SeriesPack:
    """One generation; `m_` columns are of its metadata blob, `v_` ones of its preview, NULL for none."""
    made: list[Derived | None] = []
    for kind in ("m", "v"):
        blob_id = row[f"{kind}_id"]
        if blob_id is None:
            made.append(None)
            continue
        key = _key(tenant, DERIVED, blob_id)
        made.append(Derived(key, row[f"{kind}_length"], row[f"{kind}_crc"]))
    metadata, preview = made
    assert metadata is not None  # NOT NULL, and joined
    key = _key(tenant, PACK, row["pack"])
    pack = Derived(key, row["k_length"], row["k_crc"])
    return SeriesPack(
        row["series_uid"], row["generation"], row["pack"], metadata, preview, pack, row["cool"]
    )


def instance_entry(row: Row, series: SeriesEntry, where: Callable[[], Located]) -> InstanceEntry:
    """An instance for the matching engine."""
    return InstanceEntry(
        series=series,
        sop_uid=row["sop_uid"],
        sop_class=row["sop_class"],
        syntax=row["syntax"],
        number=row["number"],
        rows=row["rows_"],
        columns=row["cols"],
        bits=row["bits"],
        frames=row["frames"],
        edits=edits_of(row["edits"]),
        edit_version=row["edit_version"],
        located=where,
    )


def known_instance(row: Row, tenant: Tenant) -> KnownInstance:
    """Something kept under a SOP Instance UID, visible or aside."""
    return KnownInstance(
        study_uid=row["study_uid"],
        series_uid=row["series_uid"],
        sha256=row["sha256"],
        key=_key(tenant, KIND_NUMBERS.get(row["kind"], LANDED), row["blob_id"]),
        offset=row["off"],
        length=row["length"],
        data_offset=row["data_off"],
        inline=row["is_inline"],
        state=row["state"],
        blob_length=row["blob_length"] or row["off"] + row["length"],
        syntax=row["syntax"],
        coded=row["coded"],
        kept_sha256=row["kept_sha256"],
        received=row["received"],
        rejected=row["rejected"],
        sop_class=row["sop_class"],
    )


def overlay_row(row: Row) -> OverlayRow:
    """One edit; `study_uid` and `series_uid` of the row say where a series or instance lies."""
    edit_id: uuid.UUID = row["edit_id"]
    return OverlayRow(
        edit_id=edit_id,
        target=_target(row),
        version=row["version"],
        edits=edits_of(row["edits"]),
        reason=row["reason"],
        author=row["author"],
        at=row["at"],
        undoes=edit_id if row["undone_at"] is not None else None,
    )


def _target(row: Row) -> Target:
    level, name = Level(row["level"]), row["target"]
    if level is Level.PATIENT:
        issuer, _, pid = name.partition("\\")
        return Target(level, issuer=issuer, pid=pid)
    if level is Level.STUDY:
        return Target(level, study_uid=name)
    study_uid = row["study_uid"] or ""
    if level is Level.SERIES:
        return Target(level, study_uid=study_uid, series_uid=name.partition("\\")[2])
    return Target(level, study_uid=study_uid, series_uid=row["series_uid"] or "", sop_uid=name)


def rejection_row(row: Row) -> RejectionRow:
    """One rejection in force."""
    level = Level.STUDY
    if row["series_uid"] is not None:
        level = Level.SERIES
    if row["sop_uid"] is not None:
        level = Level.INSTANCE
    return RejectionRow(
        reject_id=row["reject_id"],
        target=Target(
            level,
            study_uid=row["study_uid"],
            series_uid=row["series_uid"] or "",
            sop_uid=row["sop_uid"] or "",
        ),
        code=row["code"],
        reason=row["reason"],
        author=row["author"],
        at=row["at"],
    )
