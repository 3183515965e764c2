"""Accounts, keys, sessions and a tenant's policies as the room of people asks for them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson

from lightwell.access.context import Tenant
from lightwell.access.roles import Role
from lightwell.backends.database.pool import Database
from lightwell.domain.people.glass import Opened, OpeningKind, Seal
from lightwell.domain.people.model import (
    Bearer,
    BearerKind,
    Challenge,
    Credentials,
    How,
    Limit,
    Link,
    LinkKind,
    Passkey,
    Person,
    Program,
    Relation,
    RelationKind,
    Session,
    is_login,
)
from lightwell.domain.people.providers import IdentityProvider
from lightwell.domain.people.throttling import delay_after, until_after

if TYPE_CHECKING:
    from lightwell.backends.database.pool import Connection

LISTED = 1000  # rows of a page: lists are read to their end

_PERSON = (
    "SELECT p.*, ARRAY(SELECT r.role FROM person_role r WHERE r.tenant = p.tenant"
    " AND r.person_id = p.person_id) AS roles, p.password IS NOT NULL OR p.issuer IS NOT NULL OR EXISTS("
    "SELECT 1 FROM passkey k WHERE k.tenant = p.tenant AND k.person_id = p.person_id) AS enrolled"
    " FROM person p WHERE p.tenant = $1"
)


# What `bearer_of` says (migration 0016), of one session or program whose tenant and id are known.
_STANDING = {
    BearerKind.SESSION: (
        "SELECT 'session' AS kind, s.tenant, s.session_id AS id, coalesce(p.login, s.name) AS name,"
        " coalesce(s.roles, ARRAY(SELECT r.role FROM person_role r WHERE r.tenant = s.tenant"
        " AND r.person_id = s.person_id)) AS roles, '{}'::text[] AS scopes, s.created, s.seen, s.expires,"
        " s.idle, s.proved, coalesce(p.disabled, false) AS disabled, s.ended,"
        " opened_by(s.digest) AS opened"
        " FROM session s LEFT JOIN person p ON p.tenant = s.tenant AND p.person_id = s.person_id"
        " WHERE s.tenant = $1 AND s.session_id = $2"
    ),
    BearerKind.PROGRAM: (
        "SELECT 'program' AS kind, tenant, program_id AS id, name, roles, scopes, created, created AS seen,"
        " expires, NULL::interval AS idle, created AS proved, false AS disabled, revoked AS ended,"
        " '[]'::jsonb AS opened FROM program WHERE tenant = $1 AND program_id = $2"
    ),
}


class PostgresPeople:
    """`domain.people.ports.PeopleBook`: read at each question."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def people(self, tenant: Tenant) -> tuple[Person, ...]:
        """See the port."""
        rows = await self._whole(tenant, _PERSON, ("login",))
        return tuple(_person(row) for row in rows)

    async def has_administrator(self, tenant: Tenant) -> bool:
        """See the port."""
        rows = await self._rows(
            tenant,
            "SELECT 1 FROM person_role r JOIN person p ON p.tenant = r.tenant AND p.person_id = r.person_id"
            " WHERE r.tenant = $1 AND r.role = $2 AND NOT p.disabled AND p.issuer IS NULL LIMIT 1",
            Role.ADMIN,
        )
        return len(rows) > 0

    async def person(self, tenant: Tenant, login: str) -> tuple[Person, Credentials] | None:
        """See the port."""
        if not is_login(
            login
        ):  # as it was typed: nobody's, and perhaps no text that a database takes
            return None
        async with self._database.transaction(tenant) as connection:
            row = await connection.fetchrow(f"{_PERSON} AND p.login = $2", tenant.key, login)
            return await _with_credentials(connection, tenant, row)

    async def person_by_id(
        self, tenant: Tenant, person_id: uuid.UUID
    ) -> tuple[Person, Credentials] | None:
        """See the port."""
        async with self._database.transaction(tenant) as connection:
            row = await connection.fetchrow(
                f"{_PERSON} AND p.person_id = $2", tenant.key, person_id
            )
            return await _with_credentials(connection, tenant, row)

    async def person_of(
        self, tenant: Tenant, issuer: str, subject: str
    ) -> tuple[Person, Credentials] | None:
        """See the port."""
        async with self._database.transaction(tenant) as connection:
            row = await connection.fetchrow(
                f"{_PERSON} AND p.issuer = $2 AND p.subject = $3", tenant.key, issuer, subject
            )
            return await _with_credentials(connection, tenant, row)

    async def passkey(self, tenant: Tenant, credential_id: bytes) -> tuple[Person, Passkey] | None:
        """See the port."""
        async with self._database.transaction(tenant) as connection:
            key = await connection.fetchrow(
                "SELECT * FROM passkey WHERE tenant = $1 AND credential_id = $2",
                tenant.key,
                credential_id,
            )
            if key is None:
                return None
            row = await connection.fetchrow(
                f"{_PERSON} AND p.person_id = $2", tenant.key, key["person_id"]
            )
        return (_person(row), _passkey(key)) if row else None

    async def passkeys(self, tenant: Tenant, person_id: uuid.UUID) -> tuple[Passkey, ...]:
        """See the port."""
        rows = await self._rows(
            tenant,
            "SELECT * FROM passkey WHERE tenant = $1 AND person_id = $2 ORDER BY created",
            person_id,
        )
        return tuple(_passkey(row) for row in rows)

    async def programs(self, tenant: Tenant) -> tuple[Program, ...]:
        """See the port."""
        rows = await self._whole(
            tenant,
            "SELECT * FROM program WHERE tenant = $1",
            ("created", "program_id"),
            newest=True,
        )
        return tuple(_program(row) for row in rows)

    async def program(self, tenant: Tenant, program_id: uuid.UUID) -> Program | None:
        """See the port."""
        rows = await self._rows(
            tenant, "SELECT * FROM program WHERE tenant = $1 AND program_id = $2", program_id
        )
        return _program(rows[0]) if rows else None

    async def certificates(self, tenant: Tenant) -> tuple[tuple[uuid.UUID, str], ...]:
        """See the port."""
        rows = await self._whole(
            tenant,
            "SELECT program_id, fingerprint, created FROM program_certificate WHERE tenant = $1",
            ("created", "fingerprint"),
        )
        return tuple((row["program_id"], row["fingerprint"]) for row in rows)

    async def has_certificate(self, tenant: Tenant, digest: bytes) -> bool:
        """See the port."""
        rows = await self._rows(
            tenant, "SELECT 1 FROM program_certificate WHERE tenant = $1 AND digest = $2", digest
        )
        return len(rows) > 0

    async def sessions(self, tenant: Tenant, name: str | None = None) -> tuple[Session, ...]:
        """See the port."""
        rows = await self._whole(
            tenant,
            "SELECT * FROM session WHERE tenant = $1 AND ended IS NULL AND expires > now()"
            " AND ($2::text IS NULL OR name = $2)",
            ("created", "session_id"),
            name,
            newest=True,
        )
        return tuple(_session(row) for row in rows)

    async def count_sessions(self, tenant: Tenant, name: str | None, but: uuid.UUID | None) -> int:
        """See the port."""
        rows = await self._rows(
            tenant,
            "SELECT count(*) AS n FROM session WHERE tenant = $1 AND ended IS NULL AND expires > now()"
            " AND ($2::text IS NULL OR name = $2) AND session_id IS DISTINCT FROM $3",
            name,
            but,
        )
        return int(rows[0]["n"])

    async def session(self, tenant: Tenant, session_id: uuid.UUID) -> Session | None:
        """See the port."""
        rows = await self._rows(
            tenant, "SELECT * FROM session WHERE tenant = $1 AND session_id = $2", session_id
        )
        return _session(rows[0]) if rows else None

    async def link(self, tenant: Tenant, digest: bytes) -> Link | None:
        """See the port."""
        rows = await self._rows(
            tenant, "SELECT * FROM sign_in_link WHERE tenant = $1 AND digest = $2", digest
        )
        return _link(rows[0]) if rows else None

    async def challenge(self, tenant: Tenant, digest: bytes) -> Challenge | None:
        """See the port."""
        rows = await self._rows(
            tenant, "SELECT * FROM challenge WHERE tenant = $1 AND digest = $2", digest
        )
        if not rows:
            return None
        row = rows[0]
        return Challenge(row["digest"], row["kind"], row["body"], expires=row["expires"])

    async def providers(self, tenant: Tenant) -> tuple[IdentityProvider, ...]:
        """See the port."""
        rows = await self._whole(
            tenant, "SELECT * FROM identity_provider WHERE tenant = $1", ("name",)
        )
        return tuple(_provider(row) for row in rows)

    async def bearer(self, digest: bytes) -> Bearer | None:
        """See the port. Through the two functions that look into every tenant."""
        async with self._database.session() as connection:
            row = await connection.fetchrow(
                "SELECT b.*, opened_by($1) AS opened FROM bearer_of($1) b", digest
            )
        return _bearer(row) if row else None

    async def standing(self, bearer: Bearer) -> Bearer | None:
        """See the port."""
        where = Tenant(bearer.tenant, "", "", "")
        rows = await self._rows(where, _STANDING[bearer.kind], bearer.id)
        return _bearer(rows[0]) if rows else None

    async def own_policies(self, tenant: Tenant) -> tuple[tuple[str, str, str, datetime], ...]:
        """See the port."""
        rows = await self._rows(
            tenant,
            "SELECT name, body, author, at FROM tenant_policy WHERE tenant = $1 ORDER BY name",
        )
        return tuple((r["name"], r["body"], r["author"], r["at"]) for r in rows)

    async def relations(self, tenant: Tenant, person_id: uuid.UUID) -> tuple[Relation, ...]:
        """See the port."""
        rows = await self._whole(
            tenant,
            "SELECT kind, name, issuer FROM relation WHERE tenant = $1 AND person_id = $2",
            ("kind", "issuer", "name"),
            person_id,
        )
        return tuple(Relation(RelationKind(r["kind"]), r["name"], r["issuer"]) for r in rows)

    async def is_related(self, tenant: Tenant, person_id: uuid.UUID, relation: Relation) -> bool:
        """See the port."""
        rows = await self._rows(
            tenant,
            "SELECT 1 FROM relation WHERE tenant = $1 AND person_id = $2 AND kind = $3 AND issuer = $4"
            " AND name = $5",
            person_id,
            relation.kind,
            relation.issuer,
            relation.name,
        )
        return len(rows) > 0

    async def limits(self, tenant: Tenant, person_id: uuid.UUID) -> dict[Limit, frozenset[str]]:
        """See the port."""
        rows = await self._rows(
            tenant,
            "SELECT kind, array_agg(value) AS listed FROM person_limit"
            " WHERE tenant = $1 AND person_id = $2 GROUP BY kind",
            person_id,
        )
        return {Limit(row["kind"]): frozenset(row["listed"]) for row in rows}

    async def support_until(self, tenant: Tenant) -> datetime | None:
        """See the port."""
        rows = await self._rows(tenant, "SELECT until FROM support_consent WHERE tenant = $1")
        return rows[0]["until"] if rows else None

    async def _whole(
        self,
        tenant: Tenant,
        query: str,
        order: tuple[str, ...],
        *arguments: object,
        newest: bool = False,
    ) -> Sequence[asyncpg.Record]:
        """All rows, a page at a time: what is beyond a limit is still somebody who can sign in.
        `order`: columns that no two rows share; `newest`: from the last of them on."""
        beyond, falling = ("<", " DESC") if newest else (">", "")
        first = len(arguments) + 2
        places = ", ".join(f"${number}" for number in range(first, first + len(order)))
        sorting = ", ".join(f"{column}{falling}" for column in order)
        rows: list[asyncpg.Record] = []
        after: tuple[object, ...] = ()
        while True:
            where = f" AND ({', '.join(order)}) {beyond} ({places})" if after else ""
            page = await self._rows(
                tenant,
                f"{query}{where} ORDER BY {sorting} LIMIT {LISTED}",
                *arguments,
                *after,
            )
            rows.extend(page)
            if len(page) < LISTED:
                return rows
            after = tuple(page[-1][column] for column in order)

    async def _rows(
        self, tenant: Tenant, query: str, *arguments: object
    ) -> Sequence[asyncpg.Record]:
        async with self._database.transaction(tenant) as connection:
            return await connection.fetch(query, tenant.key, *arguments)


async def _with_credentials(
    connection: Connection, tenant: Tenant, row: asyncpg.Record | None
) -> tuple[Person, Credentials] | None:
    """With the recovery codes; the same two questions whether there is such a person or not."""
    codes = await connection.fetch(
        "SELECT digest FROM recovery_code WHERE tenant = $1 AND person_id = $2",
        tenant.key,
        row["person_id"] if row else uuid.UUID(int=0),
    )
    if row is None:
        return None
    return _person(row), Credentials(
        password=row["password"],
        totp=row["totp"],
        totp_step=row["totp_step"],
        recovery=frozenset(code["digest"] for code in codes),
    )


def _person(row: asyncpg.Record) -> Person:
    return Person(
        row["person_id"],
        row["login"],
        row["name"],
        frozenset(row["roles"]),
        row["created"],
        row["disabled"],
        issuer=row["issuer"] or "",
        subject=row["subject"] or "",
        seal=_seal(row),
        enrolled=row["enrolled"],
    )


def _seal(row: asyncpg.Record) -> Seal | None:
    if row["sealed"] is None:
        return None
    return Seal(row["sealed"], tuple(row["seal_places"]), row["seal_broken"])


def _passkey(row: asyncpg.Record) -> Passkey:
    return Passkey(row["credential_id"], row["public_key"], row["sign_count"], row["site"])


def _program(row: asyncpg.Record) -> Program:
    return Program(
        row["program_id"],
        row["name"],
        frozenset(row["roles"]),
        frozenset(row["scopes"]),
        row["made_by"],
        row["created"],
        row["expires"],
        row["revoked"],
    )


def _session(row: asyncpg.Record) -> Session:
    return Session(
        session_id=row["session_id"],
        person_id=row["person_id"],
        name=row["name"],
        how=How(row["how"]),
        origin=row["origin"],
        agent=row["agent"],
        created=row["created"],
        seen=row["seen"],
        expires=row["expires"],
        idle=row["idle"],
        proved=row["proved"],
        roles=frozenset(row["roles"]) if row["roles"] is not None else None,
        ended=row["ended"],
    )


def _provider(row: asyncpg.Record) -> IdentityProvider:
    roles = {group: frozenset(given) for group, given in json.loads(row["roles"]).items()}
    return IdentityProvider(
        name=row["name"],
        label=row["label"],
        issuer=row["issuer"],
        client_id=row["client_id"],
        roles=roles,
        made_by=row["made_by"],
        created=row["created"],
        scopes=tuple(row["scopes"]),
        groups_claim=row["groups_claim"],
        login_claim=row["login_claim"],
        secret=row["secret"],
        enabled=row["enabled"],
        end_session=row["end_session"],
    )


def _link(row: asyncpg.Record) -> Link:
    return Link(
        row["digest"],
        LinkKind(row["kind"]),
        row["made_by"],
        row["expires"],
        row["person_id"],
        frozenset(row["roles"]),
        row["used"],
    )


def _bearer(row: asyncpg.Record) -> Bearer:
    return Bearer(
        kind=BearerKind(row["kind"]),
        tenant=row["tenant"],
        id=row["id"],
        name=row["name"],
        roles=frozenset(row["roles"]),
        scopes=frozenset(row["scopes"]),
        created=row["created"],
        seen=row["seen"],
        expires=row["expires"],
        idle=row["idle"],
        proved=row["proved"],
        disabled=row["disabled"],
        ended=row["ended"],
        opened=tuple(_opened(each) for each in orjson.loads(row["opened"])),
    )


def _opened(said: dict[str, Any]) -> Opened:
    return Opened(
        uuid.UUID(said["id"]),
        OpeningKind(said["kind"]),
        datetime.fromisoformat(said["until"]),
        frozenset((issuer, pid) for issuer, pid in said["keys"]),
    )


class PostgresTries:
    """`domain.people.ports.TryCounter`: one statement a try, so that two at once are two."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def attempt(
        self, tenant: Tenant, key: bytes, now: datetime, delays: tuple[float, ...], window: float
    ) -> datetime | None:
        """See the port."""
        async with self._database.transaction(tenant) as connection:
            counted = await connection.fetchval(
                "INSERT INTO throttle AS t (tenant, key, tries, since, until)"
                " VALUES ($1, $2, 1, $3, $3::timestamptz + make_interval(secs => $6))"
                " ON CONFLICT (tenant, key) DO UPDATE SET"
                "  tries = CASE WHEN t.since < $5 THEN 1 ELSE t.tries + 1 END,"
                "  since = CASE WHEN t.since < $5 THEN $3 ELSE t.since END,"
                "  until = $3::timestamptz + make_interval(secs =>"
                "   ($4::float8[])[least(CASE WHEN t.since < $5 THEN 1 ELSE t.tries + 1 END,"
                "    cardinality($4::float8[]))])"
                " WHERE t.until <= $3 RETURNING tries",
                tenant.key,
                key,
                now,
                [until_after(delay) for delay in delays],
                now - timedelta(seconds=window),
                until_after(delay_after(1, delays)),
            )
            if counted is not None:
                return None
            until: datetime | None = await connection.fetchval(
                "SELECT until FROM throttle WHERE tenant = $1 AND key = $2", tenant.key, key
            )
        return until

    async def give_back(self, tenant: Tenant, key: bytes, now: datetime) -> None:
        """See the port."""
        async with self._database.transaction(tenant) as connection:
            await connection.execute(
                "UPDATE throttle SET tries = greatest(tries - 1, 0), until = $3"
                " WHERE tenant = $1 AND key = $2",
                tenant.key,
                key,
                now + timedelta(seconds=until_after(0)),
            )

    async def forget(self, tenant: Tenant, key: bytes) -> None:
        """See the port."""
        async with self._database.transaction(tenant) as connection:
            await connection.execute(
                "DELETE FROM throttle WHERE tenant = $1 AND key = $2", tenant.key, key
            )
