"""What a tenant's rows say beside its objects, for whoever writes it all out: page by page, in a fixed order.

Columns are named one by one: what somebody could sign in with is in none of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from lightwell.access.context import Tenant
from lightwell.backends.database.pool import Database

PAGE = 1000
SECONDS = 600  # a page is a walk along an index


@dataclass(frozen=True, slots=True)
class Record:
    """One sort of rows: `select` with its columns, `order` that no two rows share, as (expression, type)."""

    select: str
    order: tuple[tuple[str, str], ...]


_PEOPLE = """
SELECT p.person_id, p.login, p.name, p.disabled, p.created, p.issuer, p.subject,
  p.password IS NOT NULL AS has_password, p.totp IS NOT NULL AS has_totp,
  (SELECT count(*) FROM passkey k WHERE k.tenant = p.tenant AND k.person_id = p.person_id) AS passkeys,
  ARRAY(SELECT r.role FROM person_role r
        WHERE r.tenant = p.tenant AND r.person_id = p.person_id ORDER BY r.role) AS roles
FROM person p WHERE p.tenant = $1
"""
_SEALS = """
SELECT p.login, p.sealed, p.seal_places AS places, p.seal_broken AS broken
FROM person p WHERE p.tenant = $1 AND p.sealed IS NOT NULL
"""
_PROGRAMS = """
SELECT g.program_id, g.name, g.roles, g.scopes, g.made_by, g.created, g.expires, g.revoked,
  ARRAY(SELECT c.fingerprint FROM program_certificate c
        WHERE c.tenant = g.tenant AND c.program_id = g.program_id ORDER BY c.fingerprint) AS certificates
FROM program g WHERE g.tenant = $1
"""
_RELATIONS = """
SELECT p.login, r.kind, r.issuer, r.name, r.author, r.at
FROM relation r JOIN person p ON p.tenant = r.tenant AND p.person_id = r.person_id WHERE r.tenant = $1
"""
_LIMITS = """
SELECT p.login, l.kind, l.value
FROM person_limit l JOIN person p ON p.tenant = l.tenant AND p.person_id = l.person_id WHERE l.tenant = $1
"""
_OPENINGS = """
SELECT o.opening_id, o.kind, o.login, o.origin, o.since, o.until, o.issuer, o.patient_id, o.reason, o.ended,
  o.ended_by, o.reviewed, o.reviewer, o.verdict, o.remark
FROM opening o WHERE o.tenant = $1
"""
# In the order of the chain: `audit_chain` says which heads it leads to (`sequencer.chained`).
_AUDIT = """
SELECT a.at, a.actor, a.action, a.outcome, a.channel, a.origin, a.purpose, a.trace, a.study_uid, a.subject,
  a.detail, encode(a.leaf, 'hex') AS leaf
FROM audit a WHERE a.tenant = $1
"""
_CHAIN = """
SELECT b.first_seq, b.n, encode(b.head, 'hex') AS head FROM audit_batch b WHERE b.tenant = $1
"""

_WHO = ("p.login", "text")
RECORDS: Mapping[str, Record] = {
    "people": Record(_PEOPLE, (_WHO,)),
    "seals": Record(_SEALS, (_WHO,)),
    "programs": Record(_PROGRAMS, (("g.created", "timestamptz"), ("g.program_id", "uuid"))),
    "relations": Record(
        _RELATIONS, (_WHO, ("r.kind", "text"), ("r.issuer", "text"), ("r.name", "text"))
    ),
    "limits": Record(_LIMITS, (_WHO, ("l.kind", "text"), ("l.value", "text"))),
    "openings": Record(_OPENINGS, (("o.since", "timestamptz"), ("o.opening_id", "uuid"))),
    "sites": Record(
        "SELECT s.name, s.zone, s.issuer FROM site s WHERE s.tenant = $1", (("s.name", "text"),)
    ),
    "denials": Record(
        "SELECT d.actor, d.action, d.reason FROM policy_rule d WHERE d.tenant = $1",
        (("d.rule_id", "bigint"),),
    ),
    "audit": Record(_AUDIT, (("a.xid", "xid8"), ("a.audit_id", "bigint"))),
    "audit-chain": Record(_CHAIN, (("b.first_seq", "bigint"),)),
}


class PostgresRecords:
    """Reads one sort of a tenant's rows, as the doors' role: row-level security holds here, too."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pages(self, tenant: Tenant, sort: str) -> AsyncIterator[list[dict[str, Any]]]:
        """All rows of one of `RECORDS`, a page at a time. What comes meanwhile may be among them. Raises
        Unavailable."""
        record = RECORDS[sort]
        names = [f"_{number}" for number in range(len(record.order))]
        keys = ", ".join(
            f"({each})::text AS {name}" for (each, _), name in zip(record.order, names, strict=True)
        )
        columns = ", ".join(each for each, _ in record.order)
        select = record.select.strip().replace("SELECT ", f"SELECT {keys}, ", 1)
        after: list[str] = []
        while True:
            beyond = ", ".join(
                f"${number}::text::{kind}" for number, (_, kind) in enumerate(record.order, 2)
            )
            where = f" AND ({columns}) > ({beyond})" if after else ""
            async with self._database.transaction(tenant, seconds=SECONDS) as connection:
                rows = await connection.fetch(
                    f"{select}{where} ORDER BY {columns} LIMIT {PAGE}",
                    tenant.key,
                    *after,
                    timeout=SECONDS,
                )
            if not rows:
                return
            yield [
                {name: value for name, value in row.items() if name not in names} for row in rows
            ]
            after = [rows[-1][name] for name in names]
