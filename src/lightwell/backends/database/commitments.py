"""The queue of storage commitment answers: what was tried, and when to try again."""

from __future__ import annotations

from datetime import timedelta

import orjson

from lightwell.access.context import Tenant
from lightwell.backends.database.pool import Database
from lightwell.domain.archive.model import CommitmentRow, Vouched

FIRST_PAUSE = 10  # seconds; doubled at each try, at most an hour

_SETTLE = """
UPDATE commitment SET
  attempts = attempts + 1,
  result = $4::jsonb,
  state = CASE WHEN $5 THEN 'delivered' WHEN requested + $6 < now() THEN 'given_up' ELSE 'waiting' END,
  finished = CASE WHEN $5 OR requested + $6 < now() THEN now() END,
  next_try = now() + least(interval '1 hour', make_interval(secs => $7 * 2 ^ least(attempts, 12)))
WHERE tenant = $1 AND peer = $2 AND transaction_uid = $3
"""


class CommitmentQueue:
    """Writes how a delivery went. Reading what is due belongs to the index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def settle(
        self,
        tenant: Tenant,
        request: CommitmentRow,
        answers: list[Vouched],
        *,
        delivered: bool,
        give_up: timedelta,
    ) -> None:
        """Note one try: delivered, to be tried again, or given up."""
        result = [[a.sop_class, a.sop_uid, a.failure] for a in answers]
        async with self._database.transaction(tenant) as connection:
            await connection.execute(
                _SETTLE,
                tenant.key,
                request.peer,
                request.transaction_uid,
                orjson.dumps(result).decode(),
                delivered,
                give_up,
                float(FIRST_PAUSE),
            )
