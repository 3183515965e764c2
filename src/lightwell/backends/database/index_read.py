"""Reads of single things: the facts admission needs, where instances lie, overlays, totals.

Each function is one statement or a few within one transaction that the caller opened for the tenant.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import orjson

from lightwell.access.context import Tenant
from lightwell.access.sight import EVERYTHING, Fact, Facts, Sight, Standing
from lightwell.backends.database import rows
from lightwell.backends.database.arrival_columns import as_text
from lightwell.backends.database.narrowing import shifted
from lightwell.backends.database.sighting import facts_of, seen_of
from lightwell.domain.archive.finding import SeriesEntry, layered, present
from lightwell.domain.archive.keys import is_packed
from lightwell.domain.archive.model import (
    Allowance,
    AsideItem,
    Attributes,
    CommitmentRow,
    Edits,
    JSONElement,
    Known,
    KnownInstance,
    Level,
    Located,
    OverlayRow,
    RejectionRow,
    SeriesContents,
    SeriesPack,
    Target,
    Totals,
)
from lightwell.domain.patients.model import PatientFacts

if TYPE_CHECKING:
    from lightwell.backends.database.pool import Connection

# Everything kept under SOP Instance UIDs ($2), visible first.
_KEPT = (
    "SELECT i.sop_uid, s.study_uid, e.series_uid, i.sha256, i.blob_id, i.off, i.length, i.data_off,"
    " b.kind, b.length AS blob_length, b.inline IS NOT NULL AS is_inline,"
    " 'current' AS state, i.rejected, i.sop_class, i.syntax, i.coded, i.received, i.kept_sha256"
    " FROM instance i JOIN series e ON e.tenant = $1 AND e.series_key = i.series_key"
    " JOIN study s ON s.tenant = $1 AND s.study_key = i.study_key"
    " JOIN blob b ON b.tenant = $1 AND b.blob_id = i.blob_id"
    " WHERE i.tenant = $1 AND i.sop_uid = ANY($2::text[])"
    " UNION ALL"
    " SELECT q.sop_uid, q.study_uid, q.series_uid, q.sha256, q.blob_id, q.off, q.length, q.data_off,"
    " b.kind, b.length, coalesce(b.inline IS NOT NULL, false),"
    " q.kind, NULL, q.sop_class, q.syntax, NULL::bytea, q.first_seen, NULL::bytea"
    " FROM qc_item q LEFT JOIN blob b ON b.tenant = $1 AND b.blob_id = q.blob_id"
    " WHERE q.tenant = $1 AND q.sop_uid = ANY($2::text[])"
    " AND q.kind <> 'quarantined' AND q.resolved IS NULL"
)
# The same with the patient and the study's owner beside it: one statement, so one snapshot.
_KNOWN = (
    "SELECT p.id_name, p.id_birth, p.id_sex, p.name, p.birth, p.sex,"
    " o.issuer AS o_issuer, o.pid AS o_pid, k.*"
    " FROM (SELECT 1) one"
    " LEFT JOIN patient p ON p.tenant = $1 AND p.issuer = $3 AND p.pid = $4"
    " LEFT JOIN study s ON s.tenant = $1 AND s.study_uid = $5"
    " LEFT JOIN patient o ON o.tenant = $1 AND o.patient_key = s.origin_patient_key"
    f" LEFT JOIN ({_KEPT}) k ON true"
)


async def known(
    connection: Connection, tenant: Tenant, patient: PatientFacts, study_uid: str, sop_uid: str
) -> Known:
    """See `ports.Index.known`."""
    issuer, pid = as_text(patient.issuer), as_text(patient.pid)
    found = await connection.fetch(
        _KNOWN, tenant.key, [as_text(sop_uid)], issuer, pid, as_text(study_uid)
    )
    row = found[0]
    before = now = None
    if row["id_name"] is not None:
        before = PatientFacts(
            patient.issuer, patient.pid, row["id_name"], row["id_birth"], row["id_sex"]
        )
        now = PatientFacts(patient.issuer, patient.pid, row["name"], row["birth"], row["sex"])
    return Known(
        patient=before,
        patient_now=now,
        study_patient=None if row["o_pid"] is None else (row["o_issuer"], row["o_pid"]),
        instances=tuple(
            rows.known_instance(kept, tenant) for kept in found if kept["sop_uid"] is not None
        ),
    )


async def keeps(
    connection: Connection, tenant: Tenant, sop_uids: list[str]
) -> dict[str, list[KnownInstance]]:
    """See `ports.Index.keeps`; a UID nothing is kept under has no entry."""
    found: dict[str, list[KnownInstance]] = {}
    for row in await connection.fetch(_KEPT, tenant.key, [as_text(uid) for uid in sop_uids]):
        found.setdefault(row["sop_uid"], []).append(rows.known_instance(row, tenant))
    return found


# --- where instances lie --------------------------------------------------------------------------


async def locate(
    connection: Connection,
    tenant: Tenant,
    study_uid: str,
    series_uid: str | None,
    sop_uid: str | None,
    sight: Sight = EVERYTHING,
) -> tuple[list[Located], str]:
    """See `ports.Index.locate`."""
    in_sight, values = _in_sight(sight, 1)
    study = await connection.fetchrow(
        "SELECT s.study_key, s.version, s.patient_key <> s.origin_patient_key AS moved,"
        " p.issuer, p.pid, p.version AS p_version, p.attributes AS now, o.original AS before"
        " FROM study s JOIN patient p ON p.tenant = $1 AND p.patient_key = s.patient_key"
        " JOIN patient o ON o.tenant = $1 AND o.patient_key = s.origin_patient_key"
        f" WHERE s.tenant = $1 AND s.study_uid = $2{in_sight}",
        tenant.key,
        as_text(study_uid),
        *values,
    )
    if study is None:
        return [], ""
    listed = await connection.fetch(
        f"SELECT {rows.INSTANCE_COLUMNS}, e.series_uid, e.modality, e.number AS e_number,"
        " e.version AS e_version"
        " FROM series e JOIN instance i ON i.tenant = $1 AND i.series_key = e.series_key"
        " JOIN blob b ON b.tenant = $1 AND b.blob_id = i.blob_id"
        " WHERE e.tenant = $1 AND e.study_key = $2 AND ($3::text IS NULL OR e.series_uid = $3)"
        " AND ($4::text IS NULL OR i.sop_uid = $4) AND i.rejected IS NULL"
        ' ORDER BY e.number NULLS LAST, e.series_uid COLLATE "C", i.number NULLS LAST,'
        ' i.sop_uid COLLATE "C"',
        tenant.key,
        study["study_key"],
        series_uid and as_text(series_uid),
        sop_uid and as_text(sop_uid),
    )
    if not listed:
        return [], ""
    upper = f"{study['p_version']}.{study['version']}"
    series = {row["series_key"]: _series_of(row) for row in listed}
    above = await _edits_above(connection, tenant, study_uid, study, series)
    found = [
        rows.located(
            row,
            tenant,
            study_uid,
            series[row["series_key"]],
            above[row["series_key"]],
            upper,
        )
        for row in listed
    ]
    edits = sum(row["edit_version"] for row in listed)
    newest = max(row["instance_key"] for row in listed)
    inner = sum(entry.version for entry in series.values())
    return found, f"{upper}.{inner}.{edits}.{len(listed)}.{newest}"


def _in_sight(sight: Sight, before: int) -> tuple[str, tuple[Any, ...]]:
    """A condition on a study `s` to append, behind `before` parameters besides the tenant; '' for all."""
    seen = seen_of(sight)
    return ("", ()) if seen is None else (f" AND {shifted(seen.condition, before)}", seen.values)


async def facts(
    connection: Connection, tenant: Tenant, study_uid: str, standing: Standing
) -> Facts | None:
    """See `ports.Index.facts`."""
    columns, values = facts_of(standing)
    row = await connection.fetchrow(
        f"SELECT {shifted(columns, 1)} FROM study s WHERE s.tenant = $1 AND s.study_uid = $2",
        tenant.key,
        as_text(study_uid),
        *values,
    )
    if row is None:
        return None
    return frozenset(fact for fact, is_so in zip(Fact, row.values(), strict=True) if is_so)


async def sees(connection: Connection, tenant: Tenant, target: Target, sight: Sight) -> bool:
    """See `ports.Index.sees`."""
    named: tuple[str, ...]
    if target.level is Level.PATIENT:
        named = (target.issuer, target.pid)
        where = (
            "patient i JOIN study s ON s.tenant = $1 AND s.patient_key = i.patient_key"
            " WHERE i.tenant = $1 AND i.issuer = $2 AND i.pid = $3"
        )
    elif target.level is Level.INSTANCE:
        named = (target.sop_uid,)
        where = (
            "instance i JOIN study s ON s.tenant = $1 AND s.study_key = i.study_key"
            " WHERE i.tenant = $1 AND i.sop_uid = $2"
        )
    else:
        named = (target.study_uid,)
        where = "study s WHERE s.tenant = $1 AND s.study_uid = $2"
    in_sight, values = _in_sight(sight, len(named))
    found: bool = await connection.fetchval(
        f"SELECT EXISTS (SELECT 1 FROM {where}{in_sight})",
        tenant.key,
        *map(as_text, named),
        *values,
    )
    return found


async def contents(
    connection: Connection, tenant: Tenant, study_uid: str, series_uid: str
) -> SeriesContents:
    """See `ports.Index.contents`."""
    listed = await connection.fetch(
        f"SELECT {rows.INSTANCE_COLUMNS}, e.series_uid, e.modality, e.number AS e_number,"
        " e.version AS e_version, (SELECT coalesce(max(generation), 0) FROM series_pack"
        "  WHERE tenant = $1 AND series_key = e.series_key) AS generation,"
        " EXISTS (SELECT 1 FROM series_pack p WHERE p.tenant = $1 AND p.series_key = e.series_key"
        "  AND p.pack = i.blob_id) AS of_generation"
        " FROM study s JOIN series e ON e.tenant = $1 AND e.study_key = s.study_key"
        " JOIN instance i ON i.tenant = $1 AND i.series_key = e.series_key"
        " JOIN blob b ON b.tenant = $1 AND b.blob_id = i.blob_id"
        " WHERE s.tenant = $1 AND s.study_uid = $2 AND e.series_uid = $3"
        ' ORDER BY i.number NULLS LAST, i.sop_uid COLLATE "C"',
        tenant.key,
        as_text(study_uid),
        as_text(series_uid),
    )
    found = tuple(rows.located(row, tenant, study_uid, _series_of(row), {}, "") for row in listed)
    packed = [is_packed(one.landed.key) for one in found]
    packs = {one.landed.blob_id for one, inside in zip(found, packed, strict=True) if inside}
    return SeriesContents(
        generation=listed[0]["generation"] if listed else 0,
        packs=len(packs),
        instances=found,
        rowless=any(
            inside and not row["of_generation"] for row, inside in zip(listed, packed, strict=True)
        ),
    )


_PACKS = (
    "SELECT e.series_uid, g.generation, g.pack, g.cooled IS NOT NULL AS cool,"
    " k.length AS k_length, k.crc32c AS k_crc,"
    " m.blob_id AS m_id, m.length AS m_length, m.crc32c AS m_crc,"
    " v.blob_id AS v_id, v.length AS v_length, v.crc32c AS v_crc"
    " FROM study s JOIN series e ON e.tenant = $1 AND e.study_key = s.study_key"
    " JOIN series_pack g ON g.tenant = $1 AND g.series_key = e.series_key"
    " JOIN blob k ON k.tenant = $1 AND k.blob_id = g.pack"
    " JOIN blob m ON m.tenant = $1 AND m.blob_id = g.metadata"
    " LEFT JOIN blob v ON v.tenant = $1 AND v.blob_id = g.preview"
    " WHERE s.tenant = $1 AND s.study_uid = $2 AND ($3::text IS NULL OR e.series_uid = $3)"
    ' ORDER BY e.series_uid COLLATE "C", g.generation'
)


async def packs(
    connection: Connection, tenant: Tenant, study_uid: str, series_uid: str | None
) -> list[SeriesPack]:
    """See `ports.Index.packs`."""
    listed = await connection.fetch(
        _PACKS, tenant.key, as_text(study_uid), series_uid and as_text(series_uid)
    )
    return [rows.series_pack(row, tenant) for row in listed]


_VERSION = """
WITH i AS MATERIALIZED (
  SELECT i.series_key, i.edit_version, i.instance_key
  FROM study s JOIN series e ON e.tenant = $1 AND e.study_key = s.study_key
  JOIN instance i ON i.tenant = $1 AND i.series_key = e.series_key
  WHERE s.tenant = $1 AND s.study_uid = $2 AND ($3::text IS NULL OR e.series_uid = $3)
    AND i.rejected IS NULL
)
SELECT p.version AS p_version, s.version,
  (SELECT coalesce(sum(e.version), 0) FROM series e
   WHERE e.tenant = $1 AND e.series_key IN (SELECT series_key FROM i)) AS inner_version,
  (SELECT coalesce(sum(edit_version), 0) FROM i) AS edits,
  (SELECT count(*) FROM i) AS n, (SELECT max(instance_key) FROM i) AS newest
FROM study s JOIN patient p ON p.tenant = $1 AND p.patient_key = s.patient_key
WHERE s.tenant = $1 AND s.study_uid = $2
"""


async def version(
    connection: Connection, tenant: Tenant, study_uid: str, series_uid: str | None
) -> str:
    """See `ports.Index.version`: the same text as `locate` makes, from aggregates."""
    row = await connection.fetchrow(
        _VERSION, tenant.key, as_text(study_uid), series_uid and as_text(series_uid)
    )
    if row is None or not row["n"]:
        return ""
    upper = f"{row['p_version']}.{row['version']}"
    return f"{upper}.{row['inner_version']}.{row['edits']}.{row['n']}.{row['newest']}"


def _series_of(row: rows.Row) -> SeriesEntry:
    return SeriesEntry(
        key=row["series_key"],
        uid=row["series_uid"],
        modality=row["modality"],
        number=row["e_number"],
        visible=0,
        version=row["e_version"],
    )


async def _edits_above(
    connection: Connection,
    tenant: Tenant,
    study_uid: str,
    study: rows.Row,
    series: dict[int, SeriesEntry],
) -> dict[int, dict[str, JSONElement | None]]:
    """What patient, study and series lay over their instances, by series key; the nearer level wins."""
    listed = await connection.fetch(
        "SELECT level, target, edits FROM overlay WHERE tenant = $1 AND undone_at IS NULL"
        " AND ((level = 'patient' AND target = $2) OR (level = 'study' AND target = $3)"
        "  OR (level = 'series' AND target = ANY($4::text[]))) ORDER BY version",
        tenant.key,
        f"{study['issuer']}\\{study['pid']}",
        study_uid,
        [f"{study_uid}\\{entry.uid}" for entry in series.values()],
    )
    base: Edits = {}
    if study["moved"]:
        base = moved_edits(rows.attributes_of(study["before"]), rows.attributes_of(study["now"]))
    else:
        base = _layered_of(listed, Level.PATIENT, None)
    base = layered(base, _layered_of(listed, Level.STUDY, None))
    return {
        key: layered(base, _layered_of(listed, Level.SERIES, f"{study_uid}\\{entry.uid}"))
        for key, entry in series.items()
    }


def _layered_of(
    listed: list[Any], level: Level, target: str | None
) -> dict[str, JSONElement | None]:
    return layered(
        *(
            rows.edits_of(row["edits"])
            for row in listed
            if row["level"] == level.value and target in (None, row["target"])
        )
    )


def moved_edits(before: Attributes, now: Attributes) -> dict[str, JSONElement | None]:
    """A study that was given to another patient shows that patient, and nothing of the first."""
    return {**dict.fromkeys(before), **now}


# --- overlays and rejections ----------------------------------------------------------------------

# A series or instance edit is kept by its own UID: the study it lies in is looked up.
_OVERLAYS = (
    "SELECT o.*,"
    " CASE o.level WHEN 'series' THEN split_part(o.target, chr(92), 1)"
    "  WHEN 'instance' THEN (SELECT s.study_uid FROM instance i JOIN study s"
    "   ON s.tenant = $1 AND s.study_key = i.study_key"
    "   WHERE i.tenant = $1 AND i.sop_uid = o.target ORDER BY i.version LIMIT 1) END AS study_uid,"
    " CASE o.level WHEN 'instance' THEN (SELECT e.series_uid FROM instance i JOIN series e"
    "   ON e.tenant = $1 AND e.series_key = i.series_key"
    "   WHERE i.tenant = $1 AND i.sop_uid = o.target ORDER BY i.version LIMIT 1) END AS series_uid"
    " FROM overlay o WHERE o.tenant = $1"
)


async def overlay_history(
    connection: Connection, tenant: Tenant, target: Target
) -> list[OverlayRow]:
    """Every edit of one target by version; undone ones have `undoes` set to their own id."""
    listed = await connection.fetch(
        f"{_OVERLAYS} AND o.level = $2 AND o.target = $3 ORDER BY o.version",
        tenant.key,
        target.level.value,
        as_text(target.name),
    )
    return [rows.overlay_row(row) for row in listed]


async def overlay(connection: Connection, tenant: Tenant, edit_id: uuid.UUID) -> OverlayRow | None:
    """See `ports.Index.overlay`."""
    row = await connection.fetchrow(f"{_OVERLAYS} AND o.edit_id = $2", tenant.key, edit_id)
    return rows.overlay_row(row) if row else None


async def rejections(connection: Connection, tenant: Tenant, study_uid: str) -> list[RejectionRow]:
    """See `ports.Index.rejections`; oldest first."""
    listed = await connection.fetch(
        "SELECT * FROM rejection WHERE tenant = $1 AND study_uid = $2 AND undone_at IS NULL"
        " ORDER BY at, reject_id",
        tenant.key,
        as_text(study_uid),
    )
    return [rows.rejection_row(row) for row in listed]


_SHOWN = {
    Level.PATIENT: "patient t WHERE t.tenant = $1 AND t.issuer = $2 AND t.pid = $3",
    Level.STUDY: "study t WHERE t.tenant = $1 AND t.study_uid = $2",
    Level.SERIES: (
        "series t JOIN study s ON s.tenant = $1 AND s.study_key = t.study_key"
        ' WHERE t.tenant = $1 AND s.study_uid = $2 AND t.series_uid COLLATE "C" = $3'
    ),
}


async def described(
    connection: Connection, tenant: Tenant, target: Target, column: str
) -> Attributes | None:
    """One patient, study or series: `original` or `attributes`. None when there is no such thing."""
    if target.level is Level.INSTANCE:
        return await _instance_described(connection, tenant, target, column)
    names = {
        Level.PATIENT: (target.issuer, target.pid),
        Level.STUDY: (target.study_uid,),
        Level.SERIES: (target.study_uid, target.series_uid),
    }[target.level]
    row = await connection.fetchrow(
        f"SELECT t.{'original' if column == 'original' else 'attributes'} AS found"
        f" FROM {_SHOWN[target.level]}",
        tenant.key,
        *(as_text(name) for name in names),
    )
    return None if row is None else rows.attributes_of(row["found"])


async def _instance_described(
    connection: Connection, tenant: Tenant, target: Target, column: str
) -> Attributes | None:
    """What an instance row knows; its other attributes are in its header only."""
    row = await connection.fetchrow(
        "SELECT sop_class, sop_uid, number, edits FROM instance WHERE tenant = $1 AND sop_uid = $2",
        tenant.key,
        as_text(target.sop_uid),
    )
    if row is None:
        return None
    found: Attributes = {
        "00080016": {"vr": "UI", "Value": [row["sop_class"]]},
        "00080018": {"vr": "UI", "Value": [row["sop_uid"]]},
    }
    if row["number"] is not None:
        found["00200013"] = {"vr": "IS", "Value": [row["number"]]}
    return found if column == "original" else present(found, rows.edits_of(row["edits"]))


# --- sums and work --------------------------------------------------------------------------------


_ASIDE = (
    "SELECT q.kind, q.reason, q.study_uid, q.sop_uid, q.pid, q.patient_name, q.source, q.first_seen, q.seen"
    " FROM qc_item q WHERE q.tenant = $1 AND q.resolved IS NULL{seen} ORDER BY q.item_id DESC LIMIT $2"
)


async def aside(
    connection: Connection, tenant: Tenant, limit: int, sight: Sight = EVERYTHING
) -> list[AsideItem]:
    """See `ports.Index.aside`."""
    in_sight, values = _in_sight(sight, 1)
    seen = _OF_SEEN.format(in_sight=in_sight) if in_sight else ""
    listed = await connection.fetch(_ASIDE.format(seen=seen), tenant.key, limit, *values)
    return [AsideItem(*row) for row in listed]


# What is kept aside is shown with the study that it says it is of, to whoever sees that.
_OF_SEEN = (
    " AND EXISTS (SELECT 1 FROM study s"
    " WHERE s.tenant = $1 AND s.study_uid = q.study_uid{in_sight})"
)
_TOTALS = (
    "SELECT (SELECT count(*) FROM patient WHERE tenant = $1) AS patients,"
    " s.n AS studies, (SELECT count(*) FROM series WHERE tenant = $1) AS series,"
    " s.instances + d.instances AS instances, s.bytes + d.bytes AS bytes,"
    " s.rejected + d.rejected AS rejected"
    " FROM (SELECT count(*) AS n, coalesce(sum(n_instances), 0)::bigint AS instances,"
    "   coalesce(sum(n_bytes), 0)::bigint AS bytes, coalesce(sum(n_rejected), 0)::bigint AS rejected"
    "   FROM study WHERE tenant = $1) s,"
    "  (SELECT coalesce(sum(n), 0)::bigint AS instances, coalesce(sum(bytes), 0)::bigint AS bytes,"
    "   coalesce(sum(rejected), 0)::bigint AS rejected FROM study_delta WHERE tenant = $1) d"
)
_KINDS = "SELECT q.kind, count(*) AS n FROM qc_item q WHERE q.tenant = $1 AND q.resolved IS NULL"
_MODALITIES = (
    "SELECT modality, count(*) AS n FROM series WHERE tenant = $1 GROUP BY modality ORDER BY 1"
)
_ALLOWANCE = (
    "SELECT t.quota_studies, t.quota_bytes, coalesce(u.studies, 0) + d.studies AS studies,"
    " coalesce(u.bytes, 0) + d.bytes AS bytes"
    " FROM tenant t LEFT JOIN tenant_usage u ON u.tenant = t.tenant,"
    "  (SELECT coalesce(sum(studies), 0)::bigint AS studies, coalesce(sum(bytes), 0)::bigint AS bytes"
    "   FROM usage_delta WHERE tenant = $1) d"
    " WHERE t.tenant = $1"
)
# The same of the studies that somebody sees.
_SEEN = (
    "WITH seen AS MATERIALIZED (SELECT s.study_key, s.patient_key, s.n_instances, s.n_bytes, s.n_rejected"
    " FROM study s WHERE s.tenant = $1 AND {seen})"
)
_SEEN_TOTALS = (
    _SEEN + ", delta AS (SELECT d.n, d.bytes, d.rejected FROM seen JOIN study_delta d"
    "  ON d.tenant = $1 AND d.study_key = seen.study_key)"
    " SELECT (SELECT count(DISTINCT patient_key) FROM seen) AS patients,"
    " (SELECT count(*) FROM seen) AS studies,"
    " (SELECT count(*) FROM seen JOIN series e ON e.tenant = $1 AND e.study_key = seen.study_key) AS series,"
    " s.instances + d.instances AS instances, s.bytes + d.bytes AS bytes,"
    " s.rejected + d.rejected AS rejected"
    " FROM (SELECT coalesce(sum(n_instances), 0)::bigint AS instances,"
    "   coalesce(sum(n_bytes), 0)::bigint AS bytes, coalesce(sum(n_rejected), 0)::bigint AS rejected"
    "   FROM seen) s,"
    "  (SELECT coalesce(sum(n), 0)::bigint AS instances, coalesce(sum(bytes), 0)::bigint AS bytes,"
    "   coalesce(sum(rejected), 0)::bigint AS rejected FROM delta) d"
)
_SEEN_MODALITIES = (
    _SEEN + " SELECT e.modality, count(*) AS n FROM seen"
    " JOIN series e ON e.tenant = $1 AND e.study_key = seen.study_key GROUP BY e.modality ORDER BY 1"
)


async def allowance(connection: Connection, tenant: Tenant) -> Allowance:
    """See `ports.Index.allowance`."""
    row = await connection.fetchrow(_ALLOWANCE, tenant.key)
    if row is None:
        return Allowance(most_studies=0, most_bytes=0)  # the tenant is gone
    return Allowance(row["studies"], row["bytes"], row["quota_studies"], row["quota_bytes"])


async def totals(connection: Connection, tenant: Tenant, sight: Sight = EVERYTHING) -> Totals:
    """See `ports.Index.totals`. Instances and bytes include rejected ones: they are kept."""
    seen = seen_of(sight)
    sums, modalities = _TOTALS, _MODALITIES
    narrow: tuple[Any, ...] = ()
    if seen is not None:
        narrowed, narrow = seen.narrowed()
        sums = _SEEN_TOTALS.replace("{seen}", narrowed)
        modalities = _SEEN_MODALITIES.replace("{seen}", narrowed)
    in_sight, values = _in_sight(sight, 0)
    of_seen = _OF_SEEN.format(in_sight=in_sight) if in_sight else ""
    row = await connection.fetchrow(sums, tenant.key, *narrow)
    kinds = await connection.fetch(f"{_KINDS}{of_seen} GROUP BY q.kind", tenant.key, *values)
    by_modality = await connection.fetch(modalities, tenant.key, *narrow)
    aside = {entry["kind"]: entry["n"] for entry in kinds}
    assert row is not None  # an aggregate without GROUP BY gives exactly one row
    return Totals(
        patients=row["patients"],
        studies=row["studies"],
        series=row["series"],
        instances=row["instances"] + row["rejected"],
        bytes=row["bytes"],
        held=aside.get("held", 0),
        candidates=aside.get("candidate", 0),
        conflicts=aside.get("conflict", 0),
        quarantined=aside.get("quarantined", 0),
        rejected=row["rejected"],
        by_modality={entry["modality"]: entry["n"] for entry in by_modality},
    )


async def due_commitments(
    connection: Connection, tenant: Tenant, limit: int
) -> list[CommitmentRow]:
    """See `ports.Index.due_commitments`; the longest waiting first."""
    listed = await connection.fetch(
        "SELECT peer, called, transaction_uid, items, requested FROM commitment"
        " WHERE tenant = $1 AND state = 'waiting' AND next_try <= now()"
        " ORDER BY next_try LIMIT $2",
        tenant.key,
        limit,
    )
    return [
        CommitmentRow(
            peer=row["peer"],
            called=row["called"],
            transaction_uid=row["transaction_uid"],
            items=tuple((one, two) for one, two in orjson.loads(row["items"])),
            requested=row["requested"],
        )
        for row in listed
    ]
