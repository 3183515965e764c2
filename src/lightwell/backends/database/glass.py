"""What was opened in emergencies: read, written, and ended with its session."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import asyncpg

from lightwell.access.commit import ChangeSet, FactsChanged
from lightwell.access.context import Tenant
from lightwell.backends.database.pool import Database
from lightwell.domain.people.glass import (
    REVIEW_WITHIN,
    Opening,
    OpeningEndedRow,
    OpeningKind,
    OpeningReviewedRow,
    OpeningRow,
    QueueCounts,
    Review,
    SealBrokenRow,
    SealRow,
    Verdict,
    Which,
)
from lightwell.domain.people.model import SessionsEndedRow

if TYPE_CHECKING:
    from lightwell.backends.database.pool import Connection

Writer = Callable[["Connection", ChangeSet, Any], Awaitable[bool]]

_CHOSEN = {
    Which.ALL: "",
    Which.UNREVIEWED: " AND o.reviewed IS NULL",
    Which.REVIEWED: " AND o.reviewed IS NOT NULL",
}


class PostgresGlass:
    """`domain.people.ports.GlassBook`: read at each question."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_session(self, tenant: Tenant, session_id: uuid.UUID) -> tuple[Opening, ...]:
        """See the port."""
        async with self._database.transaction(tenant) as connection:
            rows = await connection.fetch(
                "SELECT * FROM opening WHERE tenant = $1 AND session_id = $2 AND ended IS NULL"
                " ORDER BY since",
                tenant.key,
                session_id,
            )
        return tuple(_opening(row) for row in rows)

    async def opening(self, tenant: Tenant, opening_id: uuid.UUID) -> Opening | None:
        """See the port."""
        async with self._database.transaction(tenant) as connection:
            row = await connection.fetchrow(
                "SELECT * FROM opening WHERE tenant = $1 AND opening_id = $2",
                tenant.key,
                opening_id,
            )
        return _opening(row) if row else None

    async def openings(
        self, tenant: Tenant, which: Which, limit: int, before: uuid.UUID | None
    ) -> tuple[Opening, ...]:
        """See the port."""
        async with self._database.transaction(tenant) as connection:
            rows = await connection.fetch(
                f"SELECT o.* FROM opening o WHERE o.tenant = $1{_CHOSEN[which]}"
                " AND ($3::uuid IS NULL OR (o.since, o.opening_id) < (SELECT b.since, b.opening_id"
                "  FROM opening b WHERE b.tenant = $1 AND b.opening_id = $3))"
                " ORDER BY o.since DESC, o.opening_id DESC LIMIT $2",
                tenant.key,
                limit,
                before,
            )
        return tuple(_opening(row) for row in rows)

    async def counts(self, tenant: Tenant, now: datetime) -> QueueCounts:
        """See the port."""
        async with self._database.transaction(tenant) as connection:
            row = await connection.fetchrow(
                "SELECT count(*) FILTER (WHERE reviewed IS NULL) AS unreviewed,"
                " count(*) FILTER (WHERE reviewed IS NULL AND since <= $3) AS overdue,"
                " count(*) FILTER (WHERE ended IS NULL AND until > $2) AS open"
                " FROM opening WHERE tenant = $1 AND (reviewed IS NULL OR ended IS NULL)",
                tenant.key,
                now,
                now - REVIEW_WITHIN,
            )
        assert row is not None  # a count has a row
        return QueueCounts(row["unreviewed"], row["overdue"], row["open"])


def _opening(row: asyncpg.Record) -> Opening:
    review = None
    if row["reviewed"] is not None:
        review = Review(row["reviewed"], row["reviewer"], Verdict(row["verdict"]), row["remark"])
    return Opening(
        opening_id=row["opening_id"],
        kind=OpeningKind(row["kind"]),
        session_id=row["session_id"],
        login=row["login"],
        origin=row["origin"],
        since=row["since"],
        until=row["until"],
        issuer=row["issuer"],
        patient_id=row["patient_id"],
        reason=row["reason"],
        ended=row["ended"],
        ended_by=row["ended_by"] or "",
        review=review,
    )


# --- writing -----------------------------------------------------------------------------------------


def _must_be_first(status: str) -> None:
    if status.endswith(" 0"):
        raise FactsChanged("it is so already")


async def _opened(connection: Connection, change: ChangeSet, row: OpeningRow) -> bool:
    """One patient a session at a time: the index `opening_one` holds two at once apart."""
    opening, tenant = row.opening, change.tenant.key
    await connection.execute(
        "UPDATE opening SET ended = until, ended_by = 'time'"
        " WHERE tenant = $1 AND session_id = $2 AND ended IS NULL AND until <= $3",
        tenant,
        opening.session_id,
        opening.since,
    )
    _must_be_first(
        await connection.execute(
            "INSERT INTO opening (tenant, opening_id, kind, session_id, person_id, login, origin, since,"
            " until, issuer, patient_id, reason)"
            " SELECT $1, $2, $3, s.session_id, s.person_id, $5, $6, $7, $8, $9, $10, $11 FROM session s"
            " WHERE s.tenant = $1 AND s.session_id = $4 AND s.ended IS NULL AND s.person_id IS NOT NULL"
            " ON CONFLICT (tenant, session_id) WHERE ended IS NULL AND kind = 'patient' DO NOTHING",
            tenant,
            opening.opening_id,
            opening.kind,
            opening.session_id,
            opening.login,
            opening.origin,
            opening.since,
            opening.until,
            opening.issuer,
            opening.patient_id,
            opening.reason,
        )
    )
    return True


async def _ended(connection: Connection, change: ChangeSet, row: OpeningEndedRow) -> bool:
    _must_be_first(
        await connection.execute(
            "UPDATE opening SET ended = $3, ended_by = $4"
            " WHERE tenant = $1 AND opening_id = $2 AND ended IS NULL AND until > $3",
            change.tenant.key,
            row.opening_id,
            row.at,
            row.by,
        )
    )
    return True


# Which sessions a `SessionsEndedRow` is about, of `meant`.
MEANT = (
    "tenant = $1 AND ended IS NULL AND (session_id = $4 OR person_id = $5 OR name = $6 OR $7)"
    " AND session_id IS DISTINCT FROM $8"
)


def meant(tenant: int, row: SessionsEndedRow) -> tuple[object, ...]:
    """Arguments $1 to $8: tenant, when, who by, and then which."""
    which = (row.session_id, row.person_id, row.name, row.everybody, row.but)
    return (tenant, row.at, row.by, *which)


async def end_openings(connection: Connection, tenant: int, row: SessionsEndedRow) -> None:
    """What sessions had opened ends with them, so it goes before; what was over by its time ended then."""
    await connection.execute(
        "UPDATE opening SET ended = least(until, $2),"
        " ended_by = CASE WHEN until <= $2 THEN 'time' ELSE $3 END"
        " WHERE tenant = $1 AND ended IS NULL AND (session_id = $4 OR person_id = $5"
        f"  OR session_id IN (SELECT session_id FROM session WHERE {MEANT}))"
        " AND session_id IS DISTINCT FROM $8",
        *meant(tenant, row),
    )


async def _reviewed(connection: Connection, change: ChangeSet, row: OpeningReviewedRow) -> bool:
    review = row.review
    _must_be_first(
        await connection.execute(
            "UPDATE opening SET reviewed = $3, reviewer = $4, verdict = $5, remark = $6"
            " WHERE tenant = $1 AND opening_id = $2 AND reviewed IS NULL",
            change.tenant.key,
            row.opening_id,
            review.at,
            review.by,
            review.verdict,
            review.remark,
        )
    )
    return True


async def _sealed(connection: Connection, change: ChangeSet, row: SealRow) -> bool:
    """Whatever opened the account before opens nothing: codes, passkeys, links under way."""
    tenant = change.tenant.key
    await connection.execute(
        "UPDATE person SET password = $3, totp = NULL, totp_step = 0, sealed = $4, seal_places = $5,"
        " seal_broken = NULL WHERE tenant = $1 AND person_id = $2",
        tenant,
        row.person_id,
        row.password,
        row.seal.at,
        list(row.seal.places),
    )
    for table in ("recovery_code", "passkey"):
        await connection.execute(
            f"DELETE FROM {table} WHERE tenant = $1 AND person_id = $2", tenant, row.person_id
        )
    await connection.execute(
        "UPDATE sign_in_link SET used = $3 WHERE tenant = $1 AND person_id = $2 AND used IS NULL",
        tenant,
        row.person_id,
        row.seal.at,
    )
    return True


async def _seal_broken(connection: Connection, change: ChangeSet, row: SealBrokenRow) -> bool:
    await connection.execute(
        "UPDATE person SET seal_broken = coalesce(seal_broken, $3)"
        " WHERE tenant = $1 AND person_id = $2 AND sealed IS NOT NULL",
        change.tenant.key,
        row.person_id,
        row.at,
    )
    return True


GLASS_WRITERS: dict[type, Writer] = {
    OpeningRow: _opened,
    OpeningEndedRow: _ended,
    OpeningReviewedRow: _reviewed,
    SealRow: _sealed,
    SealBrokenRow: _seal_broken,
}
