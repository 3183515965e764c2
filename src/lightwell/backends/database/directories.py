"""Tenants, peers and policy rules as the rooms ask for them."""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import asyncpg

from lightwell.access.cedar import SHIPPED, PolicySet
from lightwell.access.context import Actor, Tenant
from lightwell.access.policy import Denial, Rules
from lightwell.access.sight import NOBODY, Standing
from lightwell.backends.database.pool import Database
from lightwell.backends.database.staleness import tell_stale
from lightwell.domain.peers.model import Peer, PeerType
from lightwell.domain.people.standing import standing_of
from lightwell.domain.tenants.model import (
    SUSPENSION,
    Usage,
    being_erased,
    erased_name,
    no_such_tenant,
)
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Conflict

log = logging.getLogger("lightwell.policies")

CACHE_SECONDS = 1.0
FRESH_SECONDS = 0.1
RESOLVE_SECONDS = 2.0
ERASED = "LW002"  # what migration 0020 raises of a tenant that is being erased, or was
STANDINGS = 4096  # people whose standing a process remembers

_DIRECTORY = """
SELECT d.*, l.accent, l.notice, l.zone, d.tenant IN (SELECT tenants_erasing()) AS erasing
FROM tenant_directory() d JOIN tenant_looks() l USING (tenant) ORDER BY tenant
"""

# What is recorded of a person: of a session whose it is, else of a login. A link's session is nobody's.
_STANDING = """
WITH who AS MATERIALIZED (
  SELECT CASE WHEN $3::uuid IS NULL
    THEN (SELECT p.person_id FROM person p WHERE p.tenant = $1 AND p.login = $2)
    ELSE (SELECT s.person_id FROM session s WHERE s.tenant = $1 AND s.session_id = $3) END AS id)
SELECT who.id,
  ARRAY(SELECT DISTINCT r.kind FROM relation r WHERE r.tenant = $1 AND r.person_id = who.id) AS kinds,
  ARRAY(SELECT ARRAY[l.kind, l.value] FROM person_limit l
        WHERE l.tenant = $1 AND l.person_id = who.id) AS limits
FROM who
"""

_END_OPENINGS = """
UPDATE opening SET ended = least(until, now()), ended_by = CASE WHEN until <= now() THEN 'time' ELSE $2 END
WHERE tenant = $1 AND ended IS NULL
"""
_END_SESSIONS = """
UPDATE session SET ended = now(), ended_by = $2 WHERE tenant = $1 AND ended IS NULL
"""

_USAGE = """
SELECT tenant, sum(studies) AS studies, sum(bytes) AS bytes FROM (
  SELECT tenant, studies, bytes FROM tenant_usage UNION ALL SELECT tenant, studies, bytes FROM usage_delta) u
GROUP BY tenant
"""


class PostgresTenants:
    """`domain.tenants.ports.TenantDirectory`; makes tenants as the work role."""

    def __init__(self, app: Database, work: Database, clock: Clock) -> None:
        self._app = app
        self._work = work
        self._clock = clock
        self._cached: tuple[Tenant, ...] = ()
        self._read_at = float("-inf")

    async def tenants(self, *, fresh: bool = False) -> tuple[Tenant, ...]:
        """See the port. Asked for what does not exist, it still reads ten times a second at most."""
        age = self._clock.monotonic() - self._read_at
        if age > (FRESH_SECONDS if fresh else CACHE_SECONDS):
            async with self._app.session() as connection:
                rows = await connection.fetch(_DIRECTORY)
            self._cached = tuple(
                Tenant(
                    key=r["tenant"],
                    name=r["name"],
                    label=r["label"],
                    aet=r["aet"],
                    region=r["region"],
                    demo=r["demo"],
                    suspended=r["suspended"],
                    suspension=r["suspension"],
                    erasing=r["erasing"],
                    titles=tuple(r["titles"]),
                    hosts=tuple(r["hosts"]),
                    quota_bytes=r["quota_bytes"],
                    quota_studies=r["quota_studies"],
                    settling=r["settling"],
                    accent=r["accent"],
                    notice=r["notice"],
                    zone=r["zone"],
                )
                for r in rows
            )
            self._read_at = self._clock.monotonic()
        return self._cached

    async def create(self, name: str, label: str, aet: str, *, region: str, demo: bool) -> Tenant:
        """See the port."""
        self._read_at = float("-inf")
        try:
            async with self._work.session() as connection:
                await connection.execute(
                    "INSERT INTO tenant (name, label, aet, region, demo) VALUES ($1, $2, $3, $4, $5)"
                    " ON CONFLICT (name) DO NOTHING",
                    name,
                    label,
                    aet,
                    region,
                    demo,
                )
        except asyncpg.UniqueViolationError as error:
            raise Conflict(
                f"The AE title {aet!r} belongs to another tenant.", remedy="Choose another."
            ) from error
        except asyncpg.PostgresError as error:
            if error.sqlstate == ERASED:
                raise erased_name(name) from error
            raise
        return next(t for t in await self.tenants() if t.name == name)

    async def relabel(self, tenant: Tenant, label: str) -> None:
        """See the port."""
        self._read_at = float("-inf")
        async with self._work.session() as connection:
            await connection.execute(
                "UPDATE tenant SET label = $2 WHERE tenant = $1", tenant.key, label
            )

    async def brand(self, tenant: Tenant, accent: str, notice: str) -> None:
        """See the port."""
        self._read_at = float("-inf")
        async with self._work.session() as connection:
            await connection.execute(
                "UPDATE tenant SET accent = $2, notice = $3 WHERE tenant = $1",
                tenant.key,
                accent,
                notice,
            )

    async def place(self, tenant: Tenant, zone: str) -> None:
        """See the port."""
        self._read_at = float("-inf")
        async with self._work.session() as connection:
            await connection.execute(
                "UPDATE tenant SET zone = $2 WHERE tenant = $1", tenant.key, zone
            )

    async def suspend(self, tenant: Tenant, reason: str | None) -> None:
        """See the port."""
        self._read_at = float("-inf")
        try:
            async with self._work.session() as connection, connection.transaction():
                done = await connection.execute(
                    "UPDATE tenant SET suspended = $2, suspension = $3 WHERE tenant = $1",
                    tenant.key,
                    reason is not None,
                    reason or "",
                )
                if done == "UPDATE 0":  # erased since it was read
                    raise no_such_tenant()
                if reason is not None:
                    for sql in (_END_OPENINGS, _END_SESSIONS):
                        await connection.execute(sql, tenant.key, SUSPENSION)
                await tell_stale(connection, tenant.key, "")
        except asyncpg.PostgresError as error:
            if error.sqlstate == ERASED:
                raise being_erased(tenant.name) from error
            raise

    async def name(self, tenant: Tenant, titles: Sequence[str], hosts: Sequence[str]) -> None:
        """See the port."""
        self._read_at = float("-inf")
        kinds = ["aet"] * len(titles) + ["host"] * len(hosts)
        try:
            async with self._work.session() as connection, connection.transaction():
                await connection.execute(
                    "DELETE FROM tenant_name WHERE tenant = $1 AND NOT (kind = 'aet' AND name = $2)",
                    tenant.key,
                    tenant.aet,
                )
                await connection.execute(
                    "INSERT INTO tenant_name (tenant, kind, name)"
                    " SELECT $1, u.kind, u.name FROM unnest($2::text[], $3::text[]) u(kind, name)",
                    tenant.key,
                    kinds,
                    [*titles, *hosts],
                )
        except asyncpg.UniqueViolationError as error:
            raise Conflict(
                "One of these AE titles and hosts belongs to another tenant.",
                remedy="Take it away there first.",
            ) from error

    async def limit(self, tenant: Tenant, studies: int | None, size: int | None) -> None:
        """See the port."""
        self._read_at = float("-inf")
        async with self._work.session() as connection:
            await connection.execute(
                "UPDATE tenant SET quota_studies = $2, quota_bytes = $3 WHERE tenant = $1",
                tenant.key,
                studies,
                size,
            )

    async def usage(self) -> Mapping[int, Usage]:
        """See the port."""
        async with self._work.session() as connection:
            rows = await connection.fetch(_USAGE)
        return {row["tenant"]: Usage(int(row["studies"]), int(row["bytes"])) for row in rows}

    async def choose_settling(self, tenant: Tenant, settling: str) -> None:
        """See the port."""
        self._read_at = float("-inf")
        async with self._work.session() as connection:
            await connection.execute(
                "UPDATE tenant SET settling = $2 WHERE tenant = $1", tenant.key, settling
            )


class PostgresPeers:
    """`domain.peers.ports.PeerBook`: read at each question."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def peer(self, tenant: Tenant, aet: str) -> Peer | None:
        """See the port."""
        async with self._database.transaction(tenant) as connection:
            row = await connection.fetchrow(
                "SELECT * FROM peer WHERE tenant = $1 AND aet = $2", tenant.key, aet
            )
        return _peer(row) if row else None

    async def peers(self, tenant: Tenant) -> tuple[Peer, ...]:
        """See the port."""
        async with self._database.transaction(tenant) as connection:
            rows = await connection.fetch(
                "SELECT * FROM peer WHERE tenant = $1 ORDER BY aet", tenant.key
            )
        return tuple(_peer(row) for row in rows)

    async def holders(self, certificate: str) -> frozenset[tuple[int, str]]:
        """See the port. Through the one function that looks into every tenant."""
        async with self._database.session() as connection:
            rows = await connection.fetch("SELECT * FROM peers_of_certificate($1)", certificate)
        return frozenset((row["tenant"], row["aet"]) for row in rows)

    async def site_issuer(self, tenant: Tenant, site: str) -> str | None:
        """See the port."""
        async with self._database.transaction(tenant) as connection:
            issuer: str | None = await connection.fetchval(
                "SELECT issuer FROM site WHERE tenant = $1 AND name = $2", tenant.key, site
            )
        return issuer


def _peer(row: asyncpg.Record) -> Peer:
    return Peer(
        aet=row["aet"],
        host=row["host"],
        port=row["port"],
        type=PeerType(row["type"]),
        allow=frozenset(row["allow"]),
        site=row["site"],
        issuer=row["issuer"],
        charset=row["charset"],
        zone=row["zone"],
        syntaxes=tuple(row["syntaxes"]),
        certificate=row["certificate"],
        revoked=row["revoked"],
        identity=row["identity"],
        days=row["days"],
    )


Stored = tuple[tuple[str, str], ...]
"""Names and texts of a tenant's own policies."""


class PostgresPolicy:
    """`access.ports.PolicySource`: rules and standings from their tables, at most a second old."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._cached: dict[int, tuple[float, Rules]] = {}
        self._sets: dict[int, tuple[Stored, PolicySet]] = {}
        self._reading = asyncio.Lock()
        self._standings: OrderedDict[tuple[int, str, str], tuple[float, Standing]] = OrderedDict()
        self._forgotten = 0

    def forget(self) -> None:
        """Something that decisions rest on has changed: read it again, also where reading has begun."""
        self._forgotten += 1
        self._cached.clear()
        self._standings.clear()

    async def in_force(self, tenant: Tenant) -> Rules:
        """See the port."""
        now, before = self._clock.monotonic(), self._forgotten
        cached = self._cached.get(tenant.key)
        if cached is not None and now - cached[0] < CACHE_SECONDS:
            return cached[1]
        async with self._database.transaction(tenant) as connection:
            rows = await connection.fetch(
                "SELECT actor, action, reason FROM policy_rule WHERE tenant = $1 ORDER BY rule_id",
                tenant.key,
            )
            own = await connection.fetch(
                "SELECT name, body FROM tenant_policy WHERE tenant = $1 ORDER BY name", tenant.key
            )
            states = await connection.fetchrow(
                "SELECT (SELECT author FROM support_consent WHERE tenant = $1 AND until > now())"
                " AS consent,"
                " EXISTS (SELECT 1 FROM sensitive_study WHERE tenant = $1) AS sensitive,"
                # One that is gone is suspended for good: somebody's context may still have it.
                " NOT EXISTS (SELECT 1 FROM tenant WHERE tenant = $1 AND NOT suspended) AS suspended",
                tenant.key,
            )
        assert states is not None  # a SELECT without FROM gives exactly one row
        rules = Rules(
            tuple(Denial(r["actor"], r["action"], r["reason"]) for r in rows),
            await self._with_own(tenant, tuple((row["name"], row["body"]) for row in own)),
            states["consent"] is not None,
            states["sensitive"],
            states["consent"] or "",
            states["suspended"],
        )
        if before == self._forgotten:
            self._cached[tenant.key] = (now, rules)
        return rules

    async def standing(self, tenant: Tenant, actor: Actor) -> Standing:
        """See the port."""
        key = (tenant.key, actor.name, actor.session)
        if actor.home != tenant.name:
            return NOBODY
        now, before = self._clock.monotonic(), self._forgotten
        cached = self._standings.get(key)
        if cached is not None and now - cached[0] < CACHE_SECONDS:
            return cached[1]
        session = uuid.UUID(actor.session) if actor.session else None
        async with self._database.transaction(tenant) as connection:
            row = await connection.fetchrow(_STANDING, tenant.key, actor.name, session)
        assert row is not None  # one row, whoever it is
        standing = standing_of(row["id"], row["kinds"], row["limits"])
        if before == self._forgotten:
            self._standings[key] = (now, standing)
            if len(self._standings) > STANDINGS:
                self._standings.popitem(last=False)
        return standing

    async def _with_own(self, tenant: Tenant, stored: Stored) -> PolicySet:
        """What ships and the tenant's own; the same object as long as nothing was written, because its
        remembered answers go with it. Read in a thread, once for all who ask: a thousand take a second."""
        known = self._sets.get(tenant.key)
        if known is not None and known[0] == stored:
            return known[1]
        if not stored:
            self._sets[tenant.key] = (stored, SHIPPED)
            return SHIPPED
        async with self._reading:
            known = self._sets.get(tenant.key)
            if known is not None and known[0] == stored:
                return known[1]
            made = await asyncio.to_thread(SHIPPED.with_stored, stored)
            if made.unreadable:
                log.error(
                    "tenant %s: everything is refused, because these policies cannot be read: %s;"
                    " `lightwell policy remove` takes them back",
                    tenant.name,
                    ", ".join(made.unreadable[:5]),
                )
            self._sets[tenant.key] = (stored, made)
            return made


class SystemResolver:
    """`domain.peers.ports.Resolver` over the machine's own name service."""

    async def addresses(self, host: str) -> frozenset[str]:
        """See the port. Literal addresses and networks need no question."""
        if host.replace(".", "").replace("/", "").isdigit() or ":" in host:
            return frozenset()
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await asyncio.get_running_loop().getaddrinfo(
                    host, None, type=socket.SOCK_STREAM
                )
        except (OSError, TimeoutError):
            return frozenset()
        return frozenset(str(entry[4][0]) for entry in found)
