"""What a search costs that policies cut, in an archive that tenants share: 1 M studies of four tenants beside
10 k of one.

    script/bench tenants

The questions of `query_growth`, each asked by somebody who sees everything, somebody of one institution of
twenty, somebody who makes CT only, anybody where one study in a thousand is sensitive, and a referrer of 300
patients. Their sights come from the shipped policies. As the doors ask: through `PostgresIndex`, as
lightwell_app under row-level security.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from bench.query_growth import (
    GIVENS,
    PAGES,
    Ask,
    families,
    figures_of,
    fill_tenant,
    kinds,
    syllables,
)
from lightwell.access.actions import Action
from lightwell.access.cedar import SHIPPED
from lightwell.access.context import Actor, ActorKind, Context, Tenant
from lightwell.access.policy import Rules, look
from lightwell.access.roles import Role
from lightwell.access.sight import EVERYTHING, Fact, Sight, Standing
from lightwell.backends.database.embedded import EmbeddedPostgres
from lightwell.backends.database.index import PostgresIndex
from lightwell.backends.database.migrate import migrate
from lightwell.backends.database.pool import Database
from lightwell.backends.database.roles import ConnectionInfo
from lightwell.backends.database.roles import Role as DatabaseRole
from lightwell.domain.archive.finding import build_query
from lightwell.domain.archive.model import Level

SMALL, LARGE, TENANTS = 10_000, 1_000_000, 4
INSTITUTIONS, PATIENTS, SENSITIVE = 20, 300, 1000
PERSON = uuid.UUID(int=7)

RECORDED = """
INSERT INTO relation (tenant, person_id, kind, issuer, name, author, at)
SELECT $1, $2, 'treats', 'HOSP', p.pid, 'bench', now() FROM patient p
WHERE p.tenant = $1 ORDER BY hashint4(p.patient_key::int) LIMIT $3
"""
MARKED = """
INSERT INTO sensitive_study (tenant, study_uid, reason, author, at)
SELECT $1, s.study_uid, 'bench', 'bench', now() FROM study s
WHERE s.tenant = $1 AND s.study_key % $2 = 0
"""
OF_INSTITUTIONS = """
UPDATE study SET institution = 'Institution ' || hashint4(study_key::int) % $2 WHERE tenant = $1
"""


def sights() -> dict[str, Sight]:
    """Who asks, and what the shipped policies let them see."""

    def of(role: Role, standing: Standing, *, sensitive: bool = False) -> Sight:
        tenant = Tenant(1, "growth", "growth", "GROWTH")
        actor = Actor(ActorKind.PERSON, "bench", home="growth", roles=frozenset({role}))
        context = Context(tenant, actor, channel="dicomweb", origin="10.0.0.7", trace="bench")
        rules = Rules(policies=SHIPPED, sensitive=sensitive)
        decision, sight = look(context, Action.ARCHIVE_STUDY_QUERY, rules, standing)
        if not decision.allowed or sight.nothing:
            raise SystemExit(f"a {role} sees nothing: {decision}")
        return sight

    one = frozenset({"Institution 3"})
    found = {
        "everything": EVERYTHING,
        "one institution of twenty": of(Role.RADIOLOGIST, Standing(sites=one)),
        "CT only": of(Role.TECHNOLOGIST, Standing(modalities=frozenset({"CT"}))),
        "but sensitive ones": of(Role.RADIOLOGIST, Standing(), sensitive=True),
        "a referrer's": of(Role.REFERRER, Standing(PERSON, has=frozenset({Fact.TREATED}))),
    }
    for name, sight in found.items():
        if sight.everything != (name == "everything"):
            raise SystemExit(f"{name}: {sight}")
    return found


@dataclass
class Archive:
    """One size with its own server, so that sizes are asked in turn under the same load."""

    size: int  # of all tenants
    server: EmbeddedPostgres
    pool: Database
    tenants: list[Tenant]
    figures: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)


async def filled(info: ConnectionInfo, size: int, tenants: int) -> list[Tenant]:
    rng = random.Random(1)
    names, givens = families(rng), [syllables(rng, 3) for _ in range(GIVENS)]
    owner = await asyncpg.connect(info.url(DatabaseRole.OWNER), timeout=10, command_timeout=3600)
    made = []
    try:
        for number in range(tenants):
            name = f"growth-{number}"
            key = await owner.fetchval(
                "INSERT INTO tenant (name, label, aet) VALUES ($1, $1, upper($1)) RETURNING tenant",
                name,
            )
            await fill_tenant(owner, key, size // tenants, names, givens)
            await owner.execute(OF_INSTITUTIONS, key, INSTITUTIONS)
            await owner.execute(MARKED, key, SENSITIVE)
            await owner.execute(
                "INSERT INTO person (tenant, person_id, login, name) VALUES ($1, $2, 'bench', 'Bench')",
                key,
                PERSON,
            )
            await owner.execute(RECORDED, key, PERSON, PATIENTS)
            made.append(Tenant(key, name, name, name.upper()))
        for table in ("study", "sensitive_study", "relation"):
            await owner.execute(f"VACUUM ANALYZE {table}")
    finally:
        await owner.close(timeout=30)
    return made


async def opened(folder: Path, size: int, tenants: int) -> Archive:
    """A filled archive below its own folder."""
    folder.mkdir(parents=True)
    server = EmbeddedPostgres(folder)
    info = await asyncio.to_thread(server.start)
    await migrate(info)
    began = time.perf_counter()
    made = await filled(info, size, tenants)
    took = time.perf_counter() - began
    print(f"{size} studies of {tenants} tenants made in {took:.0f} s", file=sys.stderr, flush=True)
    return Archive(size, server, Database(info, size=1), made)


async def measure(
    archive: Archive, who: str, sight: Sight, kind: str, ask: Ask, repeat: int
) -> None:
    """One kind of question of one kind of person, in each tenant in turn."""
    index, rng = PostgresIndex(archive.pool), random.Random(kind)
    cursors: dict[int, str | None] = {}
    seconds, rows = [], []
    for turn in range(repeat + 2 * len(archive.tenants)):
        tenant = archive.tenants[turn % len(archive.tenants)]
        query = ask(rng)
        if kind == PAGES:
            query = build_query(Level.STUDY, [], cursor=cursors.get(tenant.key))
        began = time.perf_counter()
        page = await index.find(tenant, query, sight)
        if turn >= 2 * len(archive.tenants):  # the first ones read the catalogue
            seconds.append(time.perf_counter() - began)
            rows.append(len(page.items))
        cursors[tenant.key] = page.next_cursor
    archive.figures.setdefault(who, {})[kind] = figures_of(seconds, rows)


def summed_up(small: Archive, large: Archive) -> dict[str, dict[str, float]]:
    """For each who asks: sums over the kinds of p95 at both sizes and their ratio, and the slowest kind."""
    found = {}
    for who in large.figures:
        first, last = small.figures[who], large.figures[who]
        total = [sum(each["p95_ms"] for each in of.values()) for of in (first, last)]
        plain = sum(each["p95_ms"] for each in large.figures["everything"].values())
        slowest = max(last, key=lambda kind: last[kind]["p95_ms"])
        found[who] = {
            "p95_ratio": round(total[1] / total[0], 2),
            "of_everything": round(total[1] / plain, 2),
            "median_of_p50_ms": round(statistics.median(k["p50_ms"] for k in last.values()), 2),
            "slowest": slowest,
            "slowest_p95_ms": last[slowest]["p95_ms"],
        }
    return found


async def run(folder: Path, small: int, large: int, repeat: int) -> dict[str, Any]:
    names = families(random.Random(1))
    archives: list[Archive] = []
    try:
        archives.append(await opened(folder / "small", small, 1))
        archives.append(await opened(folder / "large", large, TENANTS))
        for who, sight in sights().items():
            for kind in kinds(1, names):
                for archive in archives:
                    ask = kinds(archive.size // len(archive.tenants), names)[kind]
                    await measure(archive, who, sight, kind, ask, repeat)
    finally:
        for archive in archives:
            await archive.pool.close()
            archive.server.stop()
    return {
        "summary": summed_up(*archives),
        "small": {"studies": small, "of": archives[0].figures},
        "large": {"studies": large, "tenants": TENANTS, "of": archives[1].figures},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", type=int, default=SMALL)
    parser.add_argument("--large", type=int, default=LARGE)
    parser.add_argument("--repeat", type=int, default=40)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="lightwell-tenant-search-", dir="/tmp"))
    folder.chmod(0o711)
    try:
        result = asyncio.run(run(folder, options.small, options.large, options.repeat))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
