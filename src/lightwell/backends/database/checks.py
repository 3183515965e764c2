"""The rows as an auditor reads them: `domain.archive.upkeep_ports.Ledger` in SQL.

Runs as lightwell_app, so what it sees is what the doors see. Each question is one statement, hence one
snapshot: commits beside it cannot make it contradict itself.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, cast

from lightwell.access.actions import Action
from lightwell.access.audit import AuditRecord, Outcome
from lightwell.access.context import Tenant
from lightwell.backends.database.pool import Database
from lightwell.backends.database.sequencer import GENESIS, chained
from lightwell.domain.archive.invariants import SHOWN, Found, Generation, KeptObject, Part
from lightwell.domain.archive.keys import DERIVED, KIND_NUMBERS, LANDED, MANIFEST, PACK

if TYPE_CHECKING:
    import asyncpg

    from lightwell.backends.database.pool import Connection

SECONDS = 1800  # a recount of a large archive is no query of a user

_COLUMNS = (
    "t.sop_uid, t.sop_class, t.syntax, t.blob_id, t.off, t.length, t.data_off, t.sha256,"
    " b.kind, b.length AS blob_length, b.inline"
)
_CODED = {
    False: "t.coded, t.kept_sha256",
    True: "NULL::bytea AS coded, NULL::bytea AS kept_sha256",
}
_TABLES = {False: ("instance", "instance_key"), True: ("qc_item", "item_id")}


def _kept_statement(aside: bool, rest: str) -> str:
    table, key = _TABLES[aside]
    return (
        f"SELECT t.{key} AS key, {_COLUMNS}, {_CODED[aside]} FROM {table} t"
        " LEFT JOIN blob b ON b.tenant = $1 AND b.blob_id = t.blob_id"
        f" WHERE t.tenant = $1 AND {rest.format(key='t.' + key)}"
    )


# A QC item that somebody has decided on may have given its bytes to an instance, or lost them.
_OPEN = {False: "", True: " AND t.resolved IS NULL"}
_PAGE = {
    aside: _kept_statement(aside, f"{{key}} > $2{_OPEN[aside]} ORDER BY {{key}} LIMIT $3")
    for aside in (False, True)
}
_AGAIN = {
    aside: _kept_statement(aside, f"{{key}} = ANY($2::bigint[]){_OPEN[aside]}")
    for aside in (False, True)
}
_NEWEST = _kept_statement(False, "true ORDER BY {key} DESC LIMIT $2")

_UNREFERENCED = """
SELECT b.blob_id::text AS finding FROM blob b WHERE b.tenant = $1
AND NOT EXISTS (SELECT 1 FROM instance i WHERE i.tenant = $1 AND i.blob_id = b.blob_id)
AND NOT EXISTS (SELECT 1 FROM qc_item q WHERE q.tenant = $1 AND q.blob_id = b.blob_id)
AND NOT EXISTS (SELECT 1 FROM (SELECT unnest(ARRAY[p.pack, p.manifest, p.metadata, p.preview]) AS blob_id
                               FROM series_pack p WHERE p.tenant = $1) u WHERE u.blob_id = b.blob_id)
AND NOT EXISTS (SELECT 1 FROM blob_going g WHERE g.tenant = $1 AND g.blob_id = b.blob_id)
"""
# A pack that its generation names and nothing else does: settling takes such a row along with the pack.
_UNUSED = """
SELECT format('pack %s of generation %s of series %s', p.pack, p.generation, e.series_uid) AS finding
FROM series_pack p LEFT JOIN series e ON e.tenant = $1 AND e.series_key = p.series_key
WHERE p.tenant = $1 AND NOT EXISTS (SELECT 1 FROM instance i WHERE i.tenant = $1 AND i.blob_id = p.pack)
"""
# The id of a run that an event led to ends with the place of the event.
_REPEATED = """
SELECT format('event %s led to %s finished runs of %s', seq, count(*), workflow) AS finding
FROM (SELECT workflow, substring(run_id FROM ':([0-9]+)$') AS seq FROM work_run
      WHERE tenant = $1 AND state = 'done' AND starts_with(run_id, workflow || ':' || key || ':')) r
WHERE seq IS NOT NULL GROUP BY workflow, seq HAVING count(*) > 1
UNION ALL
SELECT format('object %s belongs to %s generations', blob_id, count(*))
FROM series_pack p CROSS JOIN LATERAL unnest(ARRAY[p.pack, p.manifest, p.metadata, p.preview]) blob_id
WHERE p.tenant = $1 AND blob_id IS NOT NULL GROUP BY blob_id HAVING count(*) > 1
UNION ALL
SELECT format('instance %s lies in a pack of another series', i.sop_uid)
FROM series_pack p JOIN instance i ON i.tenant = $1 AND i.blob_id = p.pack
WHERE p.tenant = $1 AND i.series_key <> p.series_key
"""
_GENERATIONS = """
SELECT p.series_key, p.generation, e.series_uid, p.pack, p.manifest, p.metadata, p.preview,
  ARRAY(SELECT b.blob_id FROM blob b WHERE b.tenant = $1
        AND b.blob_id IN (p.pack, p.manifest, p.metadata, p.preview) ORDER BY b.blob_id) AS ids,
  ARRAY(SELECT b.length FROM blob b WHERE b.tenant = $1
        AND b.blob_id IN (p.pack, p.manifest, p.metadata, p.preview) ORDER BY b.blob_id) AS lengths,
  ARRAY(SELECT b.crc32c FROM blob b WHERE b.tenant = $1
        AND b.blob_id IN (p.pack, p.manifest, p.metadata, p.preview) ORDER BY b.blob_id) AS sums
FROM series_pack p LEFT JOIN series e ON e.tenant = $1 AND e.series_key = p.series_key
WHERE p.tenant = $1 AND {which} ORDER BY p.series_key, p.generation
"""
_GENERATIONS_PAGE = (
    _GENERATIONS.format(which="(p.series_key, p.generation) > ($2::bigint, $3::int)") + " LIMIT $4"
)
_GENERATIONS_AGAIN = _GENERATIONS.format(
    which="(p.series_key, p.generation) IN (SELECT * FROM unnest($2::bigint[], $3::int[]))"
)
_ROLES = (("pack", PACK), ("manifest", MANIFEST), ("metadata", DERIVED), ("preview", DERIVED))
_STUDIES_MISCOUNTED = """
WITH d AS (SELECT study_key, sum(n) AS n, sum(bytes) AS bytes, sum(rejected) AS rejected
           FROM study_delta WHERE tenant = $1 GROUP BY 1),
     c AS (SELECT study_key, count(*) FILTER (WHERE rejected IS NULL) AS n, sum(length) AS bytes,
                  count(*) FILTER (WHERE rejected IS NOT NULL) AS rejected
           FROM instance WHERE tenant = $1 GROUP BY 1),
     x AS (SELECT s.study_uid,
             s.n_instances + coalesce(d.n, 0) AS n, coalesce(c.n, 0) AS n_true,
             s.n_bytes + coalesce(d.bytes, 0) AS bytes, coalesce(c.bytes, 0) AS bytes_true,
             s.n_rejected + coalesce(d.rejected, 0) AS r, coalesce(c.rejected, 0) AS r_true
           FROM study s LEFT JOIN d USING (study_key) LEFT JOIN c USING (study_key) WHERE s.tenant = $1)
SELECT format('study %s: %s images, %s bytes, %s rejected counted; there are %s, %s, %s',
              study_uid, n, bytes, r, n_true, bytes_true, r_true) AS finding
FROM x WHERE (n, bytes, r) IS DISTINCT FROM (n_true, bytes_true, r_true)
"""
_USAGE_MISCOUNTED = """
SELECT format('tenant: %s studies and %s bytes counted for its quota; there are %s, %s',
              u.studies, u.bytes, c.studies, c.bytes) AS finding
FROM (SELECT coalesce(sum(studies), 0) AS studies, coalesce(sum(bytes), 0) AS bytes FROM (
        SELECT studies, bytes FROM tenant_usage WHERE tenant = $1
        UNION ALL SELECT studies, bytes FROM usage_delta WHERE tenant = $1) a) u,
     (SELECT (SELECT count(*) FROM study WHERE tenant = $1) AS studies,
        coalesce((SELECT sum(length) FROM instance WHERE tenant = $1), 0)
        + coalesce((SELECT sum(length) FROM qc_item WHERE tenant = $1 AND resolved IS NULL), 0) AS bytes) c
WHERE (u.studies, u.bytes) IS DISTINCT FROM (c.studies, c.bytes)
"""
_SERIES_MISCOUNTED = """
WITH d AS (SELECT series_key, sum(n) AS n, sum(rejected) AS rejected
           FROM study_delta WHERE tenant = $1 GROUP BY 1),
     c AS (SELECT series_key, count(*) FILTER (WHERE rejected IS NULL) AS n,
                  count(*) FILTER (WHERE rejected IS NOT NULL) AS rejected
           FROM instance WHERE tenant = $1 GROUP BY 1),
     x AS (SELECT e.series_uid, e.n_instances + coalesce(d.n, 0) AS n, coalesce(c.n, 0) AS n_true,
             e.n_rejected + coalesce(d.rejected, 0) AS r, coalesce(c.rejected, 0) AS r_true
           FROM series e LEFT JOIN d USING (series_key) LEFT JOIN c USING (series_key)
           WHERE e.tenant = $1)
SELECT format('series %s: %s images, %s rejected counted; there are %s, %s',
              series_uid, n, r, n_true, r_true) AS finding
FROM x WHERE (n, r) IS DISTINCT FROM (n_true, r_true)
"""
_TWICE = """
SELECT format('instance %s is visible %s times', sop_uid, count(*)) AS finding
FROM instance WHERE tenant = $1 GROUP BY sop_uid HAVING count(*) > 1
UNION ALL
SELECT format('instance %s stands in another study than its series', i.sop_uid)
FROM instance i LEFT JOIN series e ON e.tenant = $1 AND e.series_key = i.series_key
WHERE i.tenant = $1 AND e.study_key IS DISTINCT FROM i.study_key
UNION ALL
SELECT format('study %s has no patient', s.study_uid)
FROM study s LEFT JOIN patient p ON p.tenant = $1 AND p.patient_key = s.patient_key
WHERE s.tenant = $1 AND p.patient_key IS NULL
UNION ALL
SELECT format('instance %s of another tenant is seen', i.sop_uid) FROM instance i WHERE i.tenant <> $1
"""
_UNRECORDED = """
SELECT i.sop_uid AS finding FROM instance i
LEFT JOIN (SELECT DISTINCT e.subject->>'sop' AS sop_uid FROM event e
           JOIN audit a ON a.tenant = $1 AND a.xid = e.xid AND a.subject = e.subject->>'sop'
             AND a.action = $2 AND a.outcome = 'done'
           WHERE e.tenant = $1 AND e.kind = 'InstanceStored') r USING (sop_uid)
WHERE i.tenant = $1 AND r.sop_uid IS NULL
"""
_READABLE = """
SELECT format('%s item %s is visible as instance %s', q.kind, q.item_id, i.sop_uid) AS finding
FROM qc_item q JOIN instance i ON i.tenant = $1 AND i.blob_id = q.blob_id
WHERE q.tenant = $1 AND q.resolved IS NULL
"""
_OVERDUE = """
SELECT format('lease %s is open since it expired at %s', lease_id, expires) AS finding
FROM lease WHERE tenant = $1 AND closed IS NULL AND expires < $2
UNION ALL
SELECT format('commitment %s of %s waits since %s', transaction_uid, peer, requested)
FROM commitment WHERE tenant = $1 AND state = 'waiting' AND requested < $3
"""
_BATCHES = """
SELECT first_seq, n, w_from::text AS a, w_to::text AS b, head FROM audit_batch
WHERE tenant = $1 ORDER BY first_seq
"""
_RECORDS = """
SELECT at, actor, action, outcome, channel, origin, purpose, trace, study_uid, subject, detail, leaf
FROM audit WHERE tenant = $1 AND xid >= $2::text::xid8 AND xid < $3::text::xid8 ORDER BY xid, audit_id
"""
_UNPLACED = """
SELECT count(*) FROM audit a WHERE a.tenant = $1 AND a.xid < (SELECT watermark FROM sequencer)
AND NOT EXISTS (SELECT 1 FROM audit_batch b WHERE b.tenant = $1 AND a.xid >= b.w_from AND a.xid < b.w_to)
"""
_COUNTS = {
    "blobs": "SELECT count(*) FROM blob WHERE tenant = $1",
    "studies": "SELECT (SELECT count(*) FROM study WHERE tenant = $1)"
    " + (SELECT count(*) FROM series WHERE tenant = $1)",
    "instances": "SELECT count(*) FROM instance WHERE tenant = $1",
    "aside": "SELECT count(*) FROM qc_item WHERE tenant = $1 AND resolved IS NULL",
    "effects": "SELECT (SELECT count(*) FROM series_pack WHERE tenant = $1)"
    " + (SELECT count(*) FROM work_run WHERE tenant = $1 AND state = 'done')",
    "leases": "SELECT (SELECT count(*) FROM lease WHERE tenant = $1 AND closed IS NULL)"
    " + (SELECT count(*) FROM commitment WHERE tenant = $1 AND state = 'waiting')",
}


class PostgresLedger:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def kept(
        self, tenant: Tenant, *, aside: bool, after: int, limit: int
    ) -> list[KeptObject]:
        """See the port."""
        return await self._objects(tenant, aside, _PAGE[aside], after, limit)

    async def newest(self, tenant: Tenant, limit: int) -> list[KeptObject]:
        """See the port."""
        return await self._objects(tenant, False, _NEWEST, limit)

    async def kept_again(self, tenant: Tenant, objects: list[KeptObject]) -> list[KeptObject]:
        """See the port."""
        found = []
        for aside in (False, True):
            keys = [kept.key for kept in objects if kept.aside is aside]
            if keys:
                found += await self._objects(tenant, aside, _AGAIN[aside], keys)
        return found

    async def _objects(
        self, tenant: Tenant, aside: bool, statement: str, *arguments: object
    ) -> list[KeptObject]:
        async with self._database.transaction(tenant, seconds=SECONDS) as connection:
            rows = await connection.fetch(statement, tenant.key, *arguments, timeout=SECONDS)
        return [_kept(row, aside) for row in rows]

    async def known_blobs(self, tenant: Tenant, blobs: list[uuid.UUID]) -> set[uuid.UUID]:
        """See the port."""
        async with self._database.transaction(tenant, seconds=SECONDS) as connection:
            rows = await connection.fetch(
                "SELECT blob_id FROM blob WHERE tenant = $1 AND blob_id = ANY($2::uuid[])",
                tenant.key,
                blobs,
            )
        return {row["blob_id"] for row in rows}

    async def unreferenced(self, tenant: Tenant) -> Found:
        """See the port."""
        found = await self._ask(tenant, _UNREFERENCED, "blobs")
        texts = tuple(f"blob row {f}" for f in found.findings)
        unused = await self._ask(tenant, _UNUSED, None)
        return Found(found.damaged, texts, found.checked) + unused

    async def repeated(self, tenant: Tenant) -> Found:
        """See the port."""
        return await self._ask(tenant, _REPEATED, "effects")

    async def generations(
        self, tenant: Tenant, *, after: tuple[int, int], limit: int
    ) -> list[Generation]:
        """See the port."""
        async with self._database.transaction(tenant, seconds=SECONDS) as connection:
            rows = await connection.fetch(_GENERATIONS_PAGE, tenant.key, *after, limit)
        return [_generation(row) for row in rows]

    async def generations_again(
        self, tenant: Tenant, generations: list[Generation]
    ) -> list[Generation]:
        """See the port."""
        async with self._database.transaction(tenant, seconds=SECONDS) as connection:
            rows = await connection.fetch(
                _GENERATIONS_AGAIN,
                tenant.key,
                [one.series for one in generations],
                [one.number for one in generations],
            )
        return [_generation(row) for row in rows]

    async def miscounted(self, tenant: Tenant) -> Found:
        """See the port."""
        studies = await self._ask(tenant, _STUDIES_MISCOUNTED, "studies")
        series = await self._ask(tenant, _SERIES_MISCOUNTED, None)
        return studies + series + await self._ask(tenant, _USAGE_MISCOUNTED, None)

    async def seen_twice(self, tenant: Tenant) -> Found:
        """See the port."""
        return await self._ask(tenant, _TWICE, "instances")

    async def unrecorded(self, tenant: Tenant) -> Found:
        """See the port."""
        action = Action.ARCHIVE_INSTANCE_STORE.value
        found = await self._ask(tenant, _UNRECORDED, "instances", action)
        texts = tuple(f"instance {f} has no audit record" for f in found.findings)
        return Found(found.damaged, texts, found.checked)

    async def wrongly_readable(self, tenant: Tenant) -> Found:
        """See the port."""
        return await self._ask(tenant, _READABLE, "aside")

    async def overdue(self, tenant: Tenant, leases: datetime, commitments: datetime) -> Found:
        """See the port."""
        return await self._ask(tenant, _OVERDUE, "leases", leases, commitments)

    async def _ask(
        self, tenant: Tenant, statement: str, counted: str | None, *arguments: object
    ) -> Found:
        """Findings of one statement, some of them named, all of them counted."""
        async with self._database.transaction(tenant, seconds=SECONDS) as connection:
            rows = await connection.fetch(
                f"WITH found AS MATERIALIZED ({statement})"
                f" SELECT finding, count(*) OVER () AS n FROM found LIMIT {SHOWN}",
                tenant.key,
                *arguments,
                timeout=SECONDS,
            )
            checked = 0
            if counted is not None:
                checked = await connection.fetchval(_COUNTS[counted], tenant.key, timeout=SECONDS)
        return Found(rows[0]["n"] if rows else 0, tuple(row["finding"] for row in rows), checked)

    async def unchained(self, tenant: Tenant) -> Found:
        """See the port. Batches and the records below them never change, so no snapshot is needed."""
        async with self._database.transaction(tenant, seconds=SECONDS) as connection:
            batches = await connection.fetch(_BATCHES, tenant.key, timeout=SECONDS)
            found, head, expected = Found(), GENESIS, 1
            for batch in batches:
                found += await _batch(connection, tenant, batch, head, expected)
                head, expected = batch["head"], batch["first_seq"] + batch["n"]
            unplaced = await connection.fetchval(_UNPLACED, tenant.key, timeout=SECONDS)
        if unplaced:
            found += Found(unplaced, (f"{unplaced} audit records are on no chain",))
        return found


async def _batch(
    connection: Connection, tenant: Tenant, batch: asyncpg.Record, head: bytes, expected: int
) -> Found:
    """One batch of the chain: its place, its records, its head."""
    records = await connection.fetch(_RECORDS, tenant.key, batch["a"], batch["b"], timeout=SECONDS)
    place = f"audit batch {batch['first_seq']}"
    bad = []
    if batch["first_seq"] != expected:
        bad.append(f"{place} should begin at {expected}")
    if len(records) != batch["n"]:
        bad.append(f"{place} has {len(records)} records, not {batch['n']}")
    elif chained(head, [record["leaf"] for record in records]) != batch["head"]:
        bad.append(f"{place} does not lead to its head")
    changed = [r for r in records if _record(r).leaf(tenant.key) != r["leaf"]]
    bad += [f"an audit record of {r['at']:%F %T} in {place} was changed" for r in changed]
    return Found(len(bad), tuple(bad[:SHOWN]), len(records))


def _record(row: asyncpg.Record) -> AuditRecord:
    return AuditRecord(
        at=row["at"],
        actor=row["actor"],
        action=cast("Action", row["action"]),  # of any version: a leaf holds its text
        outcome=cast("Outcome", row["outcome"]),
        channel=row["channel"],
        origin=row["origin"],
        purpose=row["purpose"],
        trace=row["trace"],
        study_uid=row["study_uid"],
        subject=row["subject"],
        detail=row["detail"],
    )


def _generation(row: asyncpg.Record) -> Generation:
    known = {
        blob_id: (length, crc)
        for blob_id, length, crc in zip(row["ids"], row["lengths"], row["sums"], strict=True)
    }
    parts = tuple(
        Part(role, row[role], kind, *known.get(row[role], (None, None)))
        for role, kind in _ROLES
        if row[role] is not None
    )
    return Generation(row["series_key"], row["series_uid"] or "", row["generation"], parts)


def _kept(row: asyncpg.Record, aside: bool) -> KeptObject:
    return KeptObject(
        key=row["key"],
        aside=aside,
        sop_uid=row["sop_uid"],
        blob_id=row["blob_id"],
        offset=row["off"],
        length=row["length"],
        data_offset=row["data_off"],
        sha256=row["sha256"],
        blob_length=row["blob_length"],
        inline=row["inline"],
        kind=KIND_NUMBERS.get(row["kind"], LANDED),
        sop_class=row["sop_class"],
        syntax=row["syntax"],
        coded=row["coded"],
        kept_sha256=row["kept_sha256"],
    )
