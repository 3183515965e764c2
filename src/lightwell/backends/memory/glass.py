"""What was opened in emergencies, in memory: its book, and how its rows are written."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from lightwell.access.commit import FactsChanged
from lightwell.access.context import Tenant
from lightwell.backends.memory.tables import MemoryDatabase, OpeningRecord, TenantTables
from lightwell.domain.people import glass as g
from lightwell.domain.people.model import Credentials, Session, SessionsEndedRow


class MemoryGlass:
    """`domain.people.ports.GlassBook`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    def _openings(self, tenant: Tenant) -> list[g.Opening]:
        return [record.opening for record in self._database.of(tenant.key).openings.values()]

    async def of_session(self, tenant: Tenant, session_id: uuid.UUID) -> tuple[g.Opening, ...]:
        """See the port."""
        there = self._openings(tenant)
        return tuple(o for o in there if o.session_id == session_id and o.ended is None)

    async def opening(self, tenant: Tenant, opening_id: uuid.UUID) -> g.Opening | None:
        """See the port."""
        record = self._database.of(tenant.key).openings.get(opening_id)
        return record.opening if record else None

    async def openings(
        self, tenant: Tenant, which: g.Which, limit: int, before: uuid.UUID | None
    ) -> tuple[g.Opening, ...]:
        """See the port."""
        chosen = sorted(self._openings(tenant), key=_age, reverse=True)
        if before is not None:
            mark = await self.opening(tenant, before)
            chosen = [o for o in chosen if mark is not None and _age(o) < _age(mark)]
        if which is not g.Which.ALL:
            chosen = [o for o in chosen if (o.review is None) == (which is g.Which.UNREVIEWED)]
        return tuple(chosen[:limit])

    async def counts(self, tenant: Tenant, now: datetime) -> g.QueueCounts:
        """See the port."""
        there = self._openings(tenant)
        return g.QueueCounts(
            sum(o.review is None for o in there),
            sum(o.overdue(now) for o in there),
            sum(o.open(now) for o in there),
        )


def _age(opening: g.Opening) -> tuple[datetime, int]:
    return opening.since, opening.opening_id.int


def opened_by(tables: TenantTables, session_id: uuid.UUID) -> tuple[g.Opened, ...]:
    """What a session has open, with the keys of the patients it means."""
    return tuple(
        g.Opened(
            record.opening.opening_id,
            record.opening.kind,
            record.opening.until,
            frozenset(key for key, _ in tables.patients.items() if _means(record.opening, key)),
        )
        for record in tables.openings.values()
        if record.opening.session_id == session_id and record.opening.ended is None
    )


def _means(opening: g.Opening, key: tuple[str, str]) -> bool:
    return (
        opening.kind is g.OpeningKind.PATIENT
        and key[1] == opening.patient_id
        and g.keyed(opening.issuer, key[0])
    )


# --- writing -----------------------------------------------------------------------------------------


def _must_be_first(first: bool) -> None:
    if not first:
        raise FactsChanged("it is so already")


def _opened(_database: MemoryDatabase, tables: TenantTables, row: g.OpeningRow) -> bool:
    new = row.opening
    session = tables.sessions.draft(new.session_id)
    if session is None or session.session.ended or session.session.person_id is None:
        raise FactsChanged("the session is over, or nobody's")
    for key, record in tables.openings.drafts():
        old = record.opening
        if old.session_id != new.session_id or old.ended is not None:
            continue
        if old.until <= new.since:
            over = replace(old, ended=old.until, ended_by="time")
            tables.openings.put(key, replace(record, opening=over))
        else:
            _must_be_first(not old.kind == new.kind == g.OpeningKind.PATIENT)
    tables.openings.put(new.opening_id, OpeningRecord(new, session.session.person_id))
    return True


def _ended(_database: MemoryDatabase, tables: TenantTables, row: g.OpeningEndedRow) -> bool:
    record = tables.openings.draft(row.opening_id)
    _must_be_first(record is not None and record.opening.open(row.at))
    if record is not None:
        over = replace(record.opening, ended=row.at, ended_by=row.by)
        tables.openings.put(row.opening_id, replace(record, opening=over))
    return True


def meant(session: Session, row: SessionsEndedRow) -> bool:
    """Whether a session ends by this row."""
    of_person = row.person_id is not None and session.person_id == row.person_id
    named = session.session_id == row.session_id or session.name == row.name
    open_one = session.ended is None and session.session_id != row.but
    return open_one and (of_person or named or row.everybody)


def end_openings(tables: TenantTables, row: SessionsEndedRow) -> None:
    """What sessions had opened ends with them, so it goes before; what was over by its time ended then."""
    ending = {key for key, record in tables.sessions.drafts() if meant(record.session, row)}
    for key, record in tables.openings.drafts():
        old = record.opening
        theirs = old.session_id == row.session_id or (
            row.person_id is not None and record.person_id == row.person_id
        )
        if (theirs or old.session_id in ending) and old.session_id != row.but and old.ended is None:
            by = "time" if old.until <= row.at else row.by
            over = replace(old, ended=min(old.until, row.at), ended_by=by)
            tables.openings.put(key, replace(record, opening=over))


def _reviewed(_database: MemoryDatabase, tables: TenantTables, row: g.OpeningReviewedRow) -> bool:
    record = tables.openings.draft(row.opening_id)
    _must_be_first(record is not None and record.opening.review is None)
    if record is not None:
        judged = replace(record.opening, review=row.review)
        tables.openings.put(row.opening_id, replace(record, opening=judged))
    return True


def _sealed(_database: MemoryDatabase, tables: TenantTables, row: g.SealRow) -> bool:
    record = tables.people.draft(row.person_id)
    if record is None:
        return False
    person = replace(record.person, seal=row.seal)
    tables.people.put(
        row.person_id, replace(record, person=person, credentials=Credentials(row.password))
    )
    for credential_id, key in tables.passkeys.drafts():
        if key.person_id == row.person_id:
            tables.passkeys.remove(credential_id)
    for digest, link in tables.links.drafts():
        if link.person_id == row.person_id:
            tables.links.remove(digest)
    return True


def _seal_broken(_database: MemoryDatabase, tables: TenantTables, row: g.SealBrokenRow) -> bool:
    record = tables.people.draft(row.person_id)
    if record is None or record.person.seal is None:
        return False
    seal = replace(record.person.seal, broken=record.person.seal.broken or row.at)
    tables.people.put(row.person_id, replace(record, person=replace(record.person, seal=seal)))
    return True


GLASS_WRITERS: dict[type, Callable[[MemoryDatabase, TenantTables, Any], bool]] = {
    g.OpeningRow: _opened,
    g.OpeningEndedRow: _ended,
    g.OpeningReviewedRow: _reviewed,
    g.SealRow: _sealed,
    g.SealBrokenRow: _seal_broken,
}
