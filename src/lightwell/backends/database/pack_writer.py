"""Switching a series to its pack, inside a transaction that has its tenant set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import asyncpg

from lightwell.access.commit import ChangeSet, FactsChanged
from lightwell.access.context import Tenant
from lightwell.backends.database.arrival_columns import as_text
from lightwell.backends.database.staleness import tell_stale
from lightwell.domain.archive.keys import KIND_NUMBERS, PACK
from lightwell.domain.archive.model import ArrivalRow, PackClassRow, PackRow

if TYPE_CHECKING:
    from lightwell.backends.database.pool import Connection

_NUMBERS = {kind: number for number, kind in KIND_NUMBERS.items()}

_SWITCH = """
WITH u AS (SELECT * FROM unnest($3::text[], $4::uuid[], $5::bigint[], $6::bigint[], $7::int[],
                                $8::bytea[], $9::text[], $11::text[], $12::bytea[], $13::text[],
                                $14::bigint[], $15::bigint[], $16::bytea[])
             u(sop_uid, was, off, length, data_off, coded, form, arrived, kept, syntax, pixel_off,
               pixel_len, frame_index)),
before AS MATERIALIZED (
  SELECT i.instance_key, i.length FROM instance i JOIN u USING (sop_uid)
  WHERE i.tenant = $1 AND i.series_key = $2 AND i.blob_id = u.was FOR UPDATE OF i),
after AS (
  UPDATE instance i SET blob_id = $10, off = u.off, length = u.length, data_off = u.data_off,
    coded = u.coded, settled = u.form, arrived_syntax = u.arrived, kept_sha256 = u.kept,
    syntax = coalesce(u.syntax, i.syntax), pixel_off = coalesce(u.pixel_off, i.pixel_off),
    pixel_len = coalesce(u.pixel_len, i.pixel_len), frame_index = coalesce(u.frame_index, i.frame_index)
  FROM u, before b WHERE i.tenant = $1 AND i.sop_uid = u.sop_uid AND i.instance_key = b.instance_key
  RETURNING i.instance_key, i.length, u.was)
SELECT count(*) AS n, coalesce(sum(a.length - b.length), 0)::bigint AS bytes, array_agg(DISTINCT a.was) AS was
FROM after a JOIN before b USING (instance_key)
"""
# What nobody refers to any more; pack, manifest and derived blobs of generations without instances, too.
_EMPTIED = """
WITH gone AS (
  DELETE FROM series_pack p WHERE p.tenant = $1 AND p.series_key = $2 AND p.generation < $3
  AND NOT EXISTS (SELECT 1 FROM instance i WHERE i.tenant = $1 AND i.blob_id = p.pack)
  RETURNING p.pack, p.manifest, p.metadata, p.preview)
SELECT array_remove(array_agg(b), NULL) FROM gone, unnest(ARRAY[pack, manifest, metadata, preview]) b
"""
_GOING = """
INSERT INTO blob_going (tenant, blob_id, study_key, after)
SELECT $1, b.blob_id, $3, $4 FROM blob b WHERE b.tenant = $1 AND b.blob_id = ANY($2::uuid[])
AND NOT EXISTS (SELECT 1 FROM instance i WHERE i.tenant = $1 AND i.blob_id = b.blob_id)
AND NOT EXISTS (SELECT 1 FROM qc_item q WHERE q.tenant = $1 AND q.blob_id = b.blob_id AND q.resolved IS NULL)
ON CONFLICT DO NOTHING
"""
_COOL = """
UPDATE series e SET cool = c.cool
FROM (SELECT k, EXISTS (SELECT 1 FROM series_pack p WHERE p.tenant = $1 AND p.series_key = k
                        AND p.cooled IS NOT NULL) AS cool
      FROM unnest($2::bigint[]) k) c
WHERE e.tenant = $1 AND e.series_key = c.k AND e.cool <> c.cool
"""
_CLASS = """
UPDATE series_pack p SET cooled = CASE WHEN $5 THEN now() END
FROM study s JOIN series e ON e.tenant = $1 AND e.study_key = s.study_key
JOIN unnest($3::text[], $4::int[]) u(series_uid, generation) ON u.series_uid = e.series_uid
WHERE s.tenant = $1 AND s.study_uid = $2
AND p.tenant = $1 AND p.series_key = e.series_key AND p.generation = u.generation
RETURNING p.series_key
"""
# Instances that a re-index has just written: they lie in packs, and a rival may be judged by them at once.
_FOUND = """
WITH u AS (SELECT * FROM unnest($2::text[], $3::uuid[], $4::bytea[], $5::text[], $6::bigint[], $8::text[],
                                $9::bytea[])
             u(sop_uid, blob_id, coded, form, blob_length, arrived, kept)),
i AS (UPDATE instance i SET coded = u.coded, settled = u.form, arrived_syntax = u.arrived,
        kept_sha256 = u.kept FROM u
      WHERE i.tenant = $1 AND i.sop_uid = u.sop_uid AND i.blob_id = u.blob_id)
UPDATE blob b SET kind = $7::smallint, length = p.blob_length
FROM (SELECT DISTINCT blob_id, blob_length FROM u) p WHERE b.tenant = $1 AND b.blob_id = p.blob_id
AND (b.kind, b.length) IS DISTINCT FROM ($7::smallint, p.blob_length)
"""


async def write_found_in_packs(
    connection: Connection, tenant: Tenant, found: Sequence[ArrivalRow]
) -> None:
    """Say of instances of this transaction how they lie in their packs."""
    await connection.execute(
        _FOUND,
        tenant.key,
        [row.described.instance.sop_uid for row in found],
        [row.landed.blob_id for row in found],
        [row.landed.coded for row in found],
        [row.landed.form for row in found],
        [row.landed.blob_end for row in found],
        _NUMBERS[PACK],
        [row.landed.kept and row.landed.kept.arrived for row in found],
        [row.landed.kept and row.landed.kept.sha256 for row in found],
    )


async def write_pack(connection: Connection, change: ChangeSet, row: PackRow) -> bool:
    """Switch a series to its pack, all or none. Raises FactsChanged."""
    tenant = change.tenant.key
    place = await connection.fetchrow(
        "SELECT e.series_key, e.study_key FROM study s JOIN series e"
        " ON e.tenant = $1 AND e.study_key = s.study_key AND e.series_uid = $3"
        " WHERE s.tenant = $1 AND s.study_uid = $2 FOR UPDATE OF e",
        tenant,
        as_text(row.study_uid),
        as_text(row.series_uid),
    )
    if place is None:
        raise FactsChanged("the series is gone")
    series, study = place["series_key"], place["study_key"]
    await connection.executemany(
        # A re-index finds the pack's own blob row there already, written with its first instance.
        "INSERT INTO blob (tenant, blob_id, kind, length, crc32c) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (tenant, blob_id) DO UPDATE SET kind = excluded.kind, length = excluded.length,"
        " crc32c = excluded.crc32c",
        [
            (tenant, b.blob_id, _NUMBERS[b.kind], b.length, b.crc32c)
            for b in (*row.blobs, *row.replaced)
        ],
    )
    moved = await connection.fetchrow(
        _SWITCH,
        tenant,
        series,
        [as_text(one.sop_uid) for one in row.instances],
        [one.was for one in row.instances],
        [one.offset for one in row.instances],
        [one.length for one in row.instances],
        [one.data_offset for one in row.instances],
        [one.coded for one in row.instances],
        [one.form for one in row.instances],
        row.pack.blob_id,
        [one.kept and one.kept.arrived for one in row.instances],
        [one.kept and one.kept.sha256 for one in row.instances],
        [one.native and one.native.syntax for one in row.instances],
        [one.native and one.native.pixel_offset for one in row.instances],
        [one.native and one.native.pixel_length for one in row.instances],
        [one.native and one.native.frame_index for one in row.instances],
    )
    if moved is None or moved["n"] != len(row.instances):
        raise FactsChanged("an instance of the series points elsewhere by now")
    try:
        await connection.execute(
            "INSERT INTO series_pack (tenant, series_key, generation, pack, manifest, metadata, preview,"
            " entries, raw) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            tenant,
            series,
            row.generation,
            row.pack.blob_id,
            row.manifest.blob_id,
            row.metadata.blob_id,
            row.preview.blob_id if row.preview else None,
            len(row.instances),
            row.raw,
        )
    except asyncpg.UniqueViolationError as error:
        raise FactsChanged("another worker settled the series") from error
    await connection.execute(
        "INSERT INTO study_delta (tenant, study_key, series_key, n, bytes) VALUES ($1, $2, $3, 0, $4)",
        tenant,
        study,
        series,
        moved["bytes"],
    )
    emptied = await connection.fetchval(_EMPTIED, tenant, series, row.generation) or []
    await connection.execute(_COOL, tenant, [series])
    replaced = [blob.blob_id for blob in row.replaced]
    going = [*moved["was"], *emptied, *replaced]
    await connection.execute(_GOING, tenant, going, study, row.clear_after)
    await tell_stale(connection, tenant, row.study_uid)
    return True


async def write_pack_class(connection: Connection, change: ChangeSet, row: PackClassRow) -> bool:
    """Say where packs lie; one that was merged into another meanwhile needs no word."""
    tenant = change.tenant.key
    moved = await connection.fetch(
        _CLASS,
        tenant,
        as_text(row.study_uid),
        [as_text(uid) for uid, _ in row.packs],
        [generation for _, generation in row.packs],
        row.cool,
    )
    series = sorted({one["series_key"] for one in moved})
    await connection.execute(_COOL, tenant, series)
    return bool(moved)
