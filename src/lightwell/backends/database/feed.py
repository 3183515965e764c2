"""The change feed as its readers see it: dense positions, oldest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from lightwell.access.context import Tenant
from lightwell.backends.database.pool import Database

PAGE = 1000

_SINCE = """
SELECT b.first_seq + e.rank - 1 AS seq, e.kind, e.subject::text AS subject, e.at
FROM feed_batch b CROSS JOIN LATERAL (
  SELECT kind, subject, at, row_number() OVER (ORDER BY xid, event_id) AS rank
  FROM event WHERE tenant = $1 AND xid >= b.w_from AND xid < b.w_to
) e
WHERE b.tenant = $1 AND b.first_seq + b.n > $2 AND b.first_seq + e.rank - 1 >= $2
ORDER BY seq LIMIT $3
"""


@dataclass(frozen=True, slots=True)
class Change:
    """One event with its place in its tenant's feed."""

    seq: int
    kind: str
    subject: dict[str, Any]
    at: datetime


class ChangeFeed:
    """Reads the feed of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def since(self, tenant: Tenant, seq: int, limit: int = PAGE) -> list[Change]:
        """Changes with a place of `seq` or later (the first is 1), at most `limit`."""
        async with self._database.transaction(tenant) as connection:
            rows = await connection.fetch(_SINCE, tenant.key, seq, min(limit, PAGE))
        return [Change(r["seq"], r["kind"], orjson.loads(r["subject"]), r["at"]) for r in rows]
