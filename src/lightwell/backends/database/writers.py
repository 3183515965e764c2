"""How each kind of row is written, inside a transaction that has its tenant set.

One function a row type, found by type: a new row type without a writer is a KeyError in its first test.
Arrivals are not here: the group commit writes them.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import orjson

from lightwell.access.audit import AuditRecord
from lightwell.access.commit import ChangeSet, Event, FactsChanged
from lightwell.backends.database.arrival_columns import as_json, as_text
from lightwell.backends.database.pack_writer import write_pack, write_pack_class
from lightwell.backends.database.people_writers import PEOPLE_WRITERS
from lightwell.backends.database.staleness import tell_stale
from lightwell.domain.archive.columns import patient_columns, series_columns, study_columns
from lightwell.domain.archive.model import (
    CommitmentRow,
    LeaseRow,
    LeaseUseRow,
    Level,
    OverlayRow,
    PackClassRow,
    PackRow,
    QCRow,
    RejectionRow,
    RepairRow,
    SeenAgainRow,
    SensitiveRow,
    Target,
    WithdrawRow,
)
from lightwell.domain.peers.model import PeerGoneRow, PeerRow

if TYPE_CHECKING:
    from lightwell.backends.database.pool import Connection


async def write_change(connection: Connection, change: ChangeSet) -> bool:
    """Write every row, event and audit record; True when at least one row was new."""
    inserted = False
    for row in change.rows:
        if await _WRITERS[type(row)](connection, change, row):
            inserted = True
    await _events(connection, change)
    await _audit(connection, change.tenant.key, list(change.audit))
    return inserted or not change.rows


async def write_notes(connection: Connection, changes: list[ChangeSet]) -> None:
    """Audit records and counts nobody waits for, of one tenant."""
    for change in changes:
        for row in change.rows:
            await _WRITERS[type(row)](connection, change, row)
    await _audit(
        connection, changes[0].tenant.key, [entry for change in changes for entry in change.audit]
    )


async def _events(connection: Connection, change: ChangeSet) -> None:
    if change.events:
        await connection.executemany(
            "INSERT INTO event (tenant, kind, subject) VALUES ($1, $2, $3::jsonb)",
            [(change.tenant.key, e.kind, _subject(e)) for e in change.events],
        )


def _subject(event: Event) -> str:
    """UIDs as an object or a peer said them, fit for jsonb, which holds no NUL."""
    return orjson.dumps({key: as_text(value) for key, value in event.subject.items()}).decode()


async def _audit(connection: Connection, tenant: int, entries: list[AuditRecord]) -> None:
    if entries:
        await connection.executemany(
            "INSERT INTO audit (tenant, at, actor, action, outcome, channel, origin, purpose, trace,"
            " study_uid, subject, detail, leaf)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            [
                (
                    tenant,
                    e.at,
                    e.actor,
                    e.action,
                    e.outcome,
                    e.channel,
                    e.origin,
                    e.purpose,
                    e.trace,
                    as_text(e.study_uid),
                    as_text(e.subject),
                    as_text(e.detail),
                    e.leaf(tenant),
                )
                for e in entries
            ],
        )


async def _qc(connection: Connection, change: ChangeSet, row: QCRow) -> bool:
    tenant, landed, facts, patient = change.tenant.key, row.landed, row.instance, row.patient
    new = await connection.fetchval(
        "INSERT INTO qc_item (tenant, kind, reason, study_uid, series_uid, sop_uid, issuer, pid,"
        " patient_name, sop_class, syntax, source, blob_id, off, length, data_off, sha256,"
        " first_seen, last_seen)"
        " VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$18)"
        " ON CONFLICT (tenant, kind, sop_uid, study_uid, sha256) DO UPDATE"
        " SET seen = qc_item.seen + 1, last_seen = now() RETURNING seen = 1",
        tenant,
        row.kind,
        row.reason,
        as_text(facts.study_uid) if facts else "",
        as_text(facts.series_uid) if facts else "",
        as_text(row.sop_uid),
        as_text(patient.issuer) if patient else "",
        as_text(patient.pid) if patient else "",
        as_text(patient.name) if patient else "",
        as_text(row.sop_class),
        as_text(row.syntax),
        as_text(row.source),
        landed.blob_id,
        landed.offset,
        landed.length,
        landed.data_offset,
        landed.sha256,
        row.received,
    )
    if not new:
        return False
    await connection.execute(
        "INSERT INTO blob (tenant, blob_id, kind, length, crc32c, inline) VALUES ($1, $2, 1, $3, $4, $5)",
        tenant,
        landed.blob_id,
        landed.offset + landed.length,
        landed.crc32c,
        landed.inline,
    )
    if facts is not None:
        await tell_stale(connection, tenant, facts.study_uid)
    return True


async def _seen_again(connection: Connection, change: ChangeSet, row: SeenAgainRow) -> bool:
    table = "instance" if row.state == "current" else "qc_item"
    await connection.execute(
        f"UPDATE {table} SET seen = seen + 1 WHERE tenant = $1 AND sop_uid = $2 AND sha256 = $3",
        change.tenant.key,
        row.sop_uid,
        row.sha256,
    )
    return False


async def _withdraw(connection: Connection, change: ChangeSet, row: WithdrawRow) -> bool:
    tenant = change.tenant.key
    gone = await connection.fetchrow(
        "DELETE FROM instance WHERE tenant = $1 AND sop_uid = $2 AND blob_id = $3"
        " RETURNING study_key, series_key, length",
        tenant,
        row.sop_uid,
        row.blob_id,
    )
    await connection.execute(
        "DELETE FROM blob WHERE tenant = $1 AND blob_id = $2", tenant, row.blob_id
    )
    if gone is None:
        return False
    await connection.execute(
        "INSERT INTO study_delta (tenant, study_key, series_key, n, bytes) VALUES ($1, $2, $3, -1, $4)",
        tenant,
        gone["study_key"],
        gone["series_key"],
        -gone["length"],
    )
    await tell_stale(connection, tenant, "")
    return True


async def _repair(connection: Connection, change: ChangeSet, row: RepairRow) -> bool:
    tenant, landed = change.tenant.key, row.landed
    moved = await connection.fetchrow(
        "WITH before AS MATERIALIZED (SELECT instance_key, length FROM instance"
        "   WHERE tenant = $1 AND sop_uid = $2 AND blob_id = $3 FOR UPDATE)"
        " UPDATE instance i SET blob_id = $4, off = $5, length = $6, data_off = $7,"
        " coded = NULL, settled = NULL, arrived_syntax = NULL, kept_sha256 = NULL,"
        " syntax = $8, pixel_off = $9, pixel_len = $10, frame_index = $11 FROM before b"
        " WHERE i.tenant = $1 AND i.instance_key = b.instance_key"
        " RETURNING i.study_key, i.series_key, i.length - b.length AS bytes",
        tenant,
        row.sop_uid,
        row.lost,
        landed.blob_id,
        landed.offset,
        landed.length,
        landed.data_offset,
        as_text(row.instance.syntax),
        row.instance.pixel_offset,
        row.instance.pixel_length,
        row.instance.frame_index,
    )
    if moved is None:
        raise FactsChanged("the row points elsewhere by now")
    if moved["bytes"]:  # it lay coded in a pack
        await connection.execute(
            "INSERT INTO study_delta (tenant, study_key, series_key, n, bytes)"
            " VALUES ($1, $2, $3, 0, $4)",
            tenant,
            moved["study_key"],
            moved["series_key"],
            moved["bytes"],
        )
    # A pack holds others, too: it stays as long as any row points into it.
    await connection.execute(
        "DELETE FROM blob WHERE tenant = $1 AND blob_id = $2"
        " AND NOT EXISTS (SELECT 1 FROM instance WHERE tenant = $1 AND blob_id = $2)"
        " AND NOT EXISTS (SELECT 1 FROM series_pack WHERE tenant = $1 AND pack = $2)",
        tenant,
        row.lost,
    )
    await connection.execute(
        "INSERT INTO blob (tenant, blob_id, kind, length, crc32c, inline) VALUES ($1, $2, 1, $3, $4, $5)",
        tenant,
        landed.blob_id,
        landed.offset + landed.length,
        landed.crc32c,
        landed.inline,
    )
    await tell_stale(connection, tenant, "")
    return True


# --- overlays --------------------------------------------------------------------------------------


async def _ended(
    connection: Connection,
    table: str,
    key: str,
    tenant: int,
    decision: uuid.UUID,
    by: OverlayRow | RejectionRow,
) -> bool:
    """End a decision of a person; false when it was ended before."""
    ended = await connection.fetchval(
        f"UPDATE {table} SET undone_at = $3, undone_by = $4"
        f" WHERE tenant = $1 AND {key} = $2 AND undone_at IS NULL RETURNING true",
        tenant,
        decision,
        by.at,
        as_text(by.author),
    )
    return bool(ended)


async def _overlay(connection: Connection, change: ChangeSet, row: OverlayRow) -> bool:
    tenant = change.tenant.key
    if row.undoes is not None:
        if not await _ended(connection, "overlay", "edit_id", tenant, row.undoes, row):
            raise FactsChanged("the edit is undone already")
    else:
        await connection.execute(
            "INSERT INTO overlay (tenant, edit_id, level, target, version, edits, reason, author, at)"
            " VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7, $8, $9)",
            tenant,
            row.edit_id,
            row.target.level,
            as_text(row.target.name),
            row.version,
            orjson.dumps(dict(row.edits)).decode(),
            as_text(row.reason),
            as_text(row.author),
            row.at,
        )
    await _LEVEL_WRITERS[row.target.level](connection, tenant, row)
    await tell_stale(connection, tenant, row.target.study_uid)
    return True


async def _patient_effective(connection: Connection, tenant: int, row: OverlayRow) -> None:
    effective = row.effective or {}
    columns = patient_columns(effective)
    key = await connection.fetchval(
        "UPDATE patient SET attributes = $4::jsonb, name = $5, name_key = $6, birth = $7, sex = $8,"
        " version = version + 1 WHERE tenant = $1 AND issuer = $2 AND pid = $3 RETURNING patient_key",
        tenant,
        row.target.issuer,
        row.target.pid,
        as_json(effective),
        as_text(columns.name),
        as_text(columns.name_key),
        as_text(columns.birth),
        as_text(columns.sex),
    )
    if key is None:
        raise FactsChanged("the patient is gone")
    await connection.execute(
        "DELETE FROM patient_word WHERE tenant = $1 AND patient_key = $2", tenant, key
    )
    await connection.executemany(
        "INSERT INTO patient_word (tenant, kind, word, patient_key) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT DO NOTHING",
        [(tenant, kind, as_text(word), key) for kind, word in sorted(set(columns.words))],
    )


async def _study_effective(connection: Connection, tenant: int, row: OverlayRow) -> None:
    effective = row.effective or {}
    c = study_columns(effective)
    status = await connection.execute(
        "UPDATE study SET attributes = $3::jsonb, study_date = $4, study_time = $5, accession = $6,"
        " study_id = $7, description = $8, referring_key = $9, institution = $10,"
        " version = version + 1 WHERE tenant = $1 AND study_uid = $2",
        tenant,
        row.target.study_uid,
        as_json(effective),
        as_text(c.date),
        as_text(c.time),
        as_text(c.accession),
        as_text(c.study_id),
        as_text(c.description),
        as_text(c.referring_key),
        as_text(c.institution),
    )
    _must_be_one(status)


async def _series_effective(connection: Connection, tenant: int, row: OverlayRow) -> None:
    effective = row.effective or {}
    c = series_columns(effective)
    status = await connection.execute(
        "UPDATE series e SET attributes = $4::jsonb, modality = $5, number = $6, description = $7,"
        " body_part = $8, version = e.version + 1 FROM study s"
        " WHERE e.tenant = $1 AND s.tenant = $1 AND s.study_uid = $2 AND e.study_key = s.study_key"
        " AND e.series_uid = $3",
        tenant,
        row.target.study_uid,
        row.target.series_uid,
        as_json(effective),
        as_text(c.modality),
        c.number,
        as_text(c.description),
        as_text(c.body_part),
    )
    _must_be_one(status)


async def _instance_effective(connection: Connection, tenant: int, row: OverlayRow) -> None:
    edits = row.edits_after
    status = await connection.execute(
        "UPDATE instance SET edits = $3::jsonb, edit_version = edit_version + 1"
        " WHERE tenant = $1 AND sop_uid = $2",
        tenant,
        row.target.sop_uid,
        orjson.dumps(dict(edits)).decode() if edits else None,
    )
    _must_be_one(status)


def _must_be_one(status: str) -> None:
    if status != "UPDATE 1":
        raise FactsChanged("the target is gone")


_LEVEL_WRITERS: dict[Level, Callable[[Connection, int, OverlayRow], Awaitable[None]]] = {
    Level.PATIENT: _patient_effective,
    Level.STUDY: _study_effective,
    Level.SERIES: _series_effective,
    Level.INSTANCE: _instance_effective,
}


# --- rejection -------------------------------------------------------------------------------------

_UNDER = (
    " FROM instance i, study s, series e WHERE i.tenant = $1 AND s.tenant = $1 AND e.tenant = $1"
    " AND s.study_key = i.study_key AND e.series_key = i.series_key AND s.study_uid = $2"
    " AND ($3::text IS NULL OR e.series_uid = $3) AND ($4::text IS NULL OR i.sop_uid = $4)"
)
# What is in force on an instance: the first rejection that covers it and was not undone.
_IN_FORCE = (
    "(SELECT r.code FROM rejection r WHERE r.tenant = $1 AND r.study_uid = s.study_uid"
    " AND (r.series_uid IS NULL OR r.series_uid = e.series_uid)"
    " AND (r.sop_uid IS NULL OR r.sop_uid = i.sop_uid) AND r.undone_at IS NULL"
    " AND i.received <= r.at"  # what comes later was not meant
    " ORDER BY r.at, r.reject_id LIMIT 1)"
)


async def _rejection(connection: Connection, change: ChangeSet, row: RejectionRow) -> bool:
    tenant, target = change.tenant.key, row.target
    await connection.execute(
        "SELECT 1 FROM study WHERE tenant = $1 AND study_uid = $2 FOR NO KEY UPDATE",
        tenant,
        target.study_uid,
    )
    if row.restores is not None:
        if not await _ended(connection, "rejection", "reject_id", tenant, row.restores, row):
            raise FactsChanged("the rejection is undone already")
    else:
        await connection.execute(
            "INSERT INTO rejection (tenant, reject_id, study_uid, series_uid, sop_uid, code, reason,"
            " author, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            tenant,
            row.reject_id,
            target.study_uid,
            target.series_uid or None,
            target.sop_uid or None,
            row.code,
            as_text(row.reason),
            as_text(row.author),
            row.at,
        )
    await _apply_rejections(connection, tenant, target)
    await connection.execute(
        "UPDATE lease SET revoked = true, closed = now()"
        " WHERE tenant = $1 AND study_uid = $2 AND closed IS NULL",
        tenant,
        target.study_uid,
    )
    await tell_stale(connection, tenant, target.study_uid)
    return True


async def _apply_rejections(connection: Connection, tenant: int, target: Target) -> None:
    """Bring the instances under the target, and the counters, to what is in force now."""
    await connection.execute(
        "WITH was AS MATERIALIZED (SELECT i.instance_key, i.study_key, i.series_key, i.length,"
        f" i.rejected AS old, {_IN_FORCE} AS new{_UNDER}),"
        " u AS (UPDATE instance i SET rejected = was.new, edit_version = i.edit_version + 1 FROM was"
        "  WHERE i.tenant = $1 AND i.instance_key = was.instance_key AND was.old IS DISTINCT FROM was.new)"
        " INSERT INTO study_delta (tenant, study_key, series_key, n, bytes, rejected)"
        " SELECT $1, study_key, series_key,"
        "  count(*) FILTER (WHERE new IS NULL) - count(*) FILTER (WHERE old IS NULL),"
        "  0, count(*) FILTER (WHERE new IS NOT NULL) - count(*) FILTER (WHERE old IS NOT NULL)"
        " FROM was WHERE (old IS NULL) <> (new IS NULL) GROUP BY study_key, series_key",
        tenant,
        target.study_uid,
        target.series_uid or None,
        target.sop_uid or None,
    )
    await connection.execute(
        "UPDATE study SET version = version + 1 WHERE tenant = $1 AND study_uid = $2",
        tenant,
        target.study_uid,
    )


# --- leases, commitment, peers ----------------------------------------------------------------------


async def _lease(connection: Connection, change: ChangeSet, row: LeaseRow) -> bool:
    entry = change.audit[0]
    await connection.execute(
        "INSERT INTO lease (tenant, lease_id, actor, channel, purpose, study_uid, series_uid, granted,"
        " expires) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        change.tenant.key,
        row.lease_id,
        entry.actor,
        entry.channel,
        entry.purpose,
        row.study_uid,
        row.series_uid,
        row.granted,
        row.expires,
    )
    return True


async def _lease_use(connection: Connection, change: ChangeSet, row: LeaseUseRow) -> bool:
    await connection.execute(
        "UPDATE lease SET instances = $3, bytes = $4, closed = coalesce(closed, $5)"
        " WHERE tenant = $1 AND lease_id = $2",
        change.tenant.key,
        row.lease_id,
        row.instances,
        row.bytes,
        row.closed,
    )
    return True


async def _commitment(connection: Connection, change: ChangeSet, row: CommitmentRow) -> bool:
    new: Any = await connection.fetchval(
        "INSERT INTO commitment (tenant, peer, transaction_uid, called, items, requested, next_try)"
        " VALUES ($1, $2, $3, $4, $5::jsonb, $6, $6) ON CONFLICT DO NOTHING RETURNING true",
        change.tenant.key,
        as_text(row.peer),
        as_text(row.transaction_uid),
        as_text(row.called),
        orjson.dumps(row.items).decode(),
        row.requested,
    )
    return bool(new)


async def _sensitive(connection: Connection, change: ChangeSet, row: SensitiveRow) -> bool:
    tenant, study_uid = change.tenant.key, as_text(row.study_uid)
    if row.gone:
        await connection.execute(
            "DELETE FROM sensitive_study WHERE tenant = $1 AND study_uid = $2", tenant, study_uid
        )
    else:
        await connection.execute(
            "INSERT INTO sensitive_study (tenant, study_uid, reason, author, at)"
            " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant, study_uid) DO UPDATE"
            " SET reason = excluded.reason, author = excluded.author, at = excluded.at",
            tenant,
            study_uid,
            as_text(row.reason),
            as_text(row.author),
            row.at,
        )
    await tell_stale(connection, tenant, "")
    return True


async def _peer(connection: Connection, change: ChangeSet, row: PeerRow) -> bool:
    p = row.peer
    if p.site:
        await connection.execute(
            "INSERT INTO site (tenant, name) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            change.tenant.key,
            as_text(p.site),
        )
    await connection.execute(
        "INSERT INTO peer (tenant, aet, host, port, type, allow, site, issuer, charset, zone, syntaxes,"
        " certificate, revoked, identity, days, changed)"
        " VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16)"
        " ON CONFLICT (tenant, aet) DO UPDATE SET host = excluded.host, port = excluded.port,"
        " type = excluded.type, allow = excluded.allow, site = excluded.site, issuer = excluded.issuer,"
        " charset = excluded.charset, zone = excluded.zone, syntaxes = excluded.syntaxes,"
        " certificate = excluded.certificate, revoked = excluded.revoked,"
        " identity = excluded.identity, days = excluded.days, changed = excluded.changed",
        change.tenant.key,
        p.aet,
        p.host,
        p.port,
        p.type.value,
        sorted(p.allow),
        p.site,
        p.issuer,
        p.charset,
        p.zone,
        list(p.syntaxes),
        p.certificate,
        p.revoked,
        p.identity,
        p.days,
        datetime.datetime.now(datetime.UTC),
    )
    return True


async def _peer_gone(connection: Connection, change: ChangeSet, row: PeerGoneRow) -> bool:
    status = await connection.execute(
        "DELETE FROM peer WHERE tenant = $1 AND aet = $2", change.tenant.key, row.aet
    )
    return status == "DELETE 1"


_WRITERS: dict[type, Callable[[Connection, ChangeSet, Any], Awaitable[bool]]] = {
    QCRow: _qc,
    SeenAgainRow: _seen_again,
    WithdrawRow: _withdraw,
    RepairRow: _repair,
    PackRow: write_pack,
    PackClassRow: write_pack_class,
    OverlayRow: _overlay,
    RejectionRow: _rejection,
    LeaseRow: _lease,
    LeaseUseRow: _lease_use,
    CommitmentRow: _commitment,
    SensitiveRow: _sensitive,
    PeerRow: _peer,
    PeerGoneRow: _peer_gone,
    **PEOPLE_WRITERS,
}
