"""Which packs are due to change their store: for the `work` role."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from lightwell.backends.database.pool import Database

Place = tuple[int, str, str]  # tenant key, study UID, series UID

_UNOPENED = """
SELECT p.tenant, s.study_uid, e.series_uid FROM series_pack p
JOIN series e ON e.tenant = p.tenant AND e.series_key = p.series_key
JOIN study s ON s.tenant = p.tenant AND s.study_key = e.study_key
WHERE p.tenant = ANY($3::int[]) AND p.cooled IS NULL AND p.packed < now() - make_interval(secs => $1)
AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.tenant = p.tenant AND l.study_uid = s.study_uid
                AND l.granted > now() - make_interval(secs => $1))
ORDER BY p.packed LIMIT $2
"""
# Read, not only listed: a thumbnail takes a small part of what was made of the pack.
_OPENED = """
SELECT p.tenant, s.study_uid, e.series_uid FROM series_pack p
JOIN blob b ON b.tenant = p.tenant AND b.blob_id = p.pack
JOIN series e ON e.tenant = p.tenant AND e.series_key = p.series_key
JOIN study s ON s.tenant = p.tenant AND s.study_key = e.study_key
WHERE p.tenant = ANY($2::int[]) AND p.cooled IS NOT NULL
AND EXISTS (SELECT 1 FROM lease l WHERE l.tenant = p.tenant AND l.study_uid = s.study_uid
            AND (l.series_uid IS NULL OR l.series_uid = e.series_uid)
            AND l.granted > p.cooled AND l.bytes > b.length / 10)
ORDER BY p.cooled LIMIT $1
"""
_MARK = """
WITH p AS (UPDATE series_pack SET cooled = now() WHERE tenant = $1 AND pack = ANY($2::uuid[])
           AND cooled IS NULL RETURNING tenant, series_key)
UPDATE series e SET cool = true FROM p WHERE e.tenant = p.tenant AND e.series_key = p.series_key
"""


async def hot_packs_unopened(
    work: Database, tenants: Iterable[int], seconds: float, limit: int
) -> list[Place]:
    """Series of these tenants with a pack as old as that, in a study that nobody had a lease on since."""
    async with work.session() as connection:
        rows = await connection.fetch(_UNOPENED, seconds, limit, list(tenants))
        return [tuple(row) for row in rows]


async def cool_packs_opened(work: Database, tenants: Iterable[int], limit: int) -> list[Place]:
    """Series of these tenants with a cool pack of which more than a tenth was read under one lease since it
    went."""
    async with work.session() as connection:
        return [tuple(row) for row in await connection.fetch(_OPENED, limit, list(tenants))]


async def mark_cool(work: Database, tenant: int, packs: Sequence[uuid.UUID]) -> None:
    """Say of these packs that they lie in the cool store."""
    async with work.session() as connection:
        await connection.execute(_MARK, tenant, list(packs))
