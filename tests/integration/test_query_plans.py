"""Searches touch few rows, as lightwell_app, with row-level security on, at 50,000 studies.

Every statement a search sends is explained and run: none may read a table in sequence, and all
together may touch only a bounded number of rows, wherever in the archive the matches lie.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from lightwell.access.context import Tenant
from lightwell.access.sight import EVERYTHING, Fact, Kind, Sight, Standing
from lightwell.backends.database import index_read
from lightwell.backends.database.embedded import EmbeddedPostgres
from lightwell.backends.database.index_find import PLANNING, PostgresCandidates
from lightwell.backends.database.migrate import migrate
from lightwell.backends.database.pool import Database
from lightwell.backends.database.roles import ConnectionInfo, Role
from lightwell.domain.archive import finding
from lightwell.domain.archive.finding import build_query
from lightwell.domain.archive.model import Level
from lightwell.domain.archive.query import Found, Query
from lightwell.kernel.pages import Page

STUDIES = 50_000
NAME, PID, DATE, ACCESSION, MODALITIES, UID = (
    0x00100010,
    0x00100020,
    0x00080020,
    0x00080050,
    0x00080061,
    0x0020000D,
)
_PN = "jsonb_build_object('00100010', jsonb_build_object('vr', 'PN', 'Value',"
# Two tenants with the same contents. Everyone is called Common^, but for three in the oldest studies.
FILL = (
    "INSERT INTO patient (tenant, issuer, pid, name, name_key, attributes)"
    " SELECT $1, 'H', 'P' || g, n.name, lower(n.name),"
    f" {_PN} jsonb_build_array(jsonb_build_object('Alphabetic', n.name))),"
    "  '00100020', jsonb_build_object('vr', 'LO', 'Value', jsonb_build_array('P' || g)))"
    " FROM generate_series(1, $2::int) g CROSS JOIN LATERAL (SELECT CASE WHEN g <= 3 THEN 'Rare'"
    "  ELSE 'Common' || g % 1000 END || '^Given' || g AS name) n",
    "INSERT INTO patient_word (tenant, kind, word, patient_key)"
    " SELECT DISTINCT $1::int, 1, split_part(name_key, '^', n), patient_key"
    " FROM patient, generate_series(1, least($2::int, 2)) n WHERE tenant = $1",
    # Every tenth study is of the North, nine are of the Far East.
    "INSERT INTO study (tenant, patient_key, origin_patient_key, study_uid, study_date, study_time,"
    "  accession, n_instances, institution, attributes)"
    " SELECT $1, patient_key, patient_key, '1.2.' || substr(pid, 2), d.date, '120000',"
    "  'A' || substr(pid, 2), 10, CASE WHEN substr(pid, 2)::int % 10 = 0 THEN 'North'"
    "   WHEN substr(pid, 2)::int <= 9 THEN 'Far East' ELSE 'South' END,"
    "  jsonb_build_object('00080050', jsonb_build_object('vr', 'SH', 'Value',"
    "   jsonb_build_array('A' || substr(pid, 2))),"
    "  '00080020', jsonb_build_object('vr', 'DA', 'Value', jsonb_build_array(d.date)))"
    " FROM patient CROSS JOIN LATERAL (SELECT CASE WHEN name_key >= 'r' THEN '19990101'"
    "  ELSE to_char(date '2016-01-01' + substr(pid, 2)::int % 3650, 'YYYYMMDD') END AS date) d"
    " WHERE tenant = $1 AND $2::int > 0",
    "INSERT INTO series (tenant, study_key, series_uid, modality, n_instances)"
    " SELECT $1, study_key, study_uid || '.1', CASE WHEN study_key % 5000 = 0 THEN 'NM' ELSE 'CT' END,"
    "  10 FROM study WHERE tenant = $1 AND $2::int > 0",
    "INSERT INTO sensitive_study (tenant, study_uid, reason, author, at)"
    " SELECT $1, '1.2.' || g, 'r', 'a', now() FROM generate_series(1000, 1009) g WHERE $2::int > 0",
    # Person 1 is one patient; 2 treats forty; 3 treats six thousand, which is too many to drive a search.
    "INSERT INTO person (tenant, person_id, login)"
    " SELECT $1, ('00000000-0000-0000-0000-00000000000' || g)::uuid, 'p' || g"
    " FROM generate_series(1, 3) g WHERE $2::int > 0",
    "INSERT INTO relation (tenant, person_id, kind, issuer, name, author, at)"
    " SELECT $1, ('00000000-0000-0000-0000-00000000000' || w.who)::uuid, w.kind, 'H', 'P' || g, 'a', now()"
    " FROM (VALUES (1, 'is', 777, 1), (2, 'treats', 5, 1000), (3, 'treats', 1, 8)) w(who, kind, first, step)"
    " CROSS JOIN LATERAL generate_series(w.first, least($2::int, 48000), w.step) g"
    " WHERE w.who <> 1 OR g = 777",
)


async def filled(info: ConnectionInfo) -> Tenant:
    await migrate(info)
    owner = await asyncpg.connect(info.url(Role.OWNER), timeout=10, command_timeout=240)
    try:
        for label in ("one", "two"):
            key = await owner.fetchval(
                "INSERT INTO tenant (name, label, aet) VALUES ($1, $1, $1) RETURNING tenant", label
            )
            for statement in FILL:
                await owner.execute(statement, key, STUDIES)
        await owner.execute("ANALYZE")
    finally:
        await owner.close(timeout=10)
    return Tenant(key, label, label, label)


@pytest.fixture(scope="module")
def database() -> Iterator[tuple[ConnectionInfo, Tenant]]:
    folder = Path(tempfile.mkdtemp(prefix="lw-qp-"))
    folder.chmod(0o711)
    server = EmbeddedPostgres(folder / "data")
    try:
        info = server.start()
        with ThreadPoolExecutor(1) as aside:
            tenant = aside.submit(lambda: asyncio.run(filled(info))).result(300)
        yield info, tenant
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Explained:
    """A connection that keeps the executed plan of everything it fetches."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.plans: list[dict[str, Any]] = []

    async def fetchrow(self, statement: str, *values: Any) -> Any:
        return (await self.fetch(statement, *values))[0]

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
        answer = await self._connection.fetchval(explain, *values)
        self.plans.append(json.loads(answer)[0]["Plan"])
        rows: list[Any] = await self._connection.fetch(statement, *values)
        return rows


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def touched(plan: dict[str, Any]) -> int:
    """Rows read from tables and indexes, those thrown away by a filter included."""
    scans = [node for node in nodes(plan) if "Relation Name" in node]
    return sum(
        round(node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)))
        for node in scans
    )


async def explained(
    database: tuple[ConnectionInfo, Tenant], query: Query, sight: Sight = EVERYTHING
) -> tuple[Page[Found], list[dict[str, Any]]]:
    info, tenant = database
    pool = Database(info, size=1, role=Role.APP)
    try:
        async with pool.transaction(tenant) as connection:
            user = await connection.fetchval("SELECT current_user")
            assert user == "lightwell_app"
            await connection.execute(PLANNING)
            watched = Explained(connection)
            candidates = PostgresCandidates(watched, tenant, finding.plan(query), None, sight)  # type: ignore[arg-type]
            page = await finding.find(query, candidates)
    finally:
        await pool.close()
    return page, watched.plans


def studies(*keys: tuple[int, str], **options: Any) -> Query:
    return build_query(Level.STUDY, [((tag,), None, text) for tag, text in keys], **options)


@pytest.mark.parametrize(
    ("query", "rows", "most"),
    [
        pytest.param(studies(), 100, 1000, id="newest page"),
        pytest.param(studies(limit=10), 10, 100, id="newest ten"),
        pytest.param(studies((UID, "1.2.777")), 1, 10, id="study by UID"),
        pytest.param(studies((UID, "9.9")), 0, 10, id="study by unknown UID"),
        pytest.param(studies((ACCESSION, "A777")), 1, 10, id="accession"),
        pytest.param(studies((ACCESSION, "A4999*")), 11, 200, id="accession prefix"),
        pytest.param(studies((PID, "P777")), 1, 10, id="patient ID"),
        pytest.param(studies((NAME, "rare*")), 3, 40, id="rare name prefix in the oldest studies"),
        pytest.param(studies((NAME, "nobody*")), 0, 10, id="name prefix of nobody"),
        pytest.param(studies((NAME, "Rare^Given2")), 1, 20, id="whole name"),
        pytest.param(studies((NAME, "common77^*")), 50, 1000, id="middling name"),
        pytest.param(studies((NAME, "common*")), 100, 30_000, id="everybody's name"),
        pytest.param(studies((NAME, "rare given3"), fuzzy=True), 1, 100, id="fuzzy name"),
        pytest.param(studies((MODALITIES, "NM")), 10, 200, id="rare modality"),
        pytest.param(studies((DATE, "20200101")), 14, 200, id="one day"),
        pytest.param(
            studies((DATE, "20200101"), (MODALITIES, "CT")), 14, 4000, id="one day and modality"
        ),
        pytest.param(studies(text="rare"), 3, 200, id="search box"),
        pytest.param(studies(order="PatientName"), 100, 1000, id="sorted by name"),
        pytest.param(studies((NAME, "rare*"), order="-PatientName"), 3, 40, id="rare, by name"),
    ],
)
async def test_a_search_touches_few_rows(
    database: tuple[ConnectionInfo, Tenant], query: Query, rows: int, most: int
) -> None:
    page, plans = await explained(database, query)
    assert len(page.items) == rows
    kinds = {
        (node["Node Type"], node.get("Relation Name")) for plan in plans for node in nodes(plan)
    }
    assert not [kind for kind in kinds if kind[0] == "Seq Scan"]
    assert sum(map(touched, plans)) <= most


def standing(person: int, *facts: Fact, **limits: frozenset[str]) -> Standing:
    return Standing(uuid.UUID(int=person), frozenset(facts), **limits)


OWN = Sight((Kind(frozenset({Fact.OWN})),), standing(1, Fact.OWN))
TREATED = (Kind(frozenset({Fact.TREATED})), Kind(frozenset({Fact.PRIOR})))
FORTY = Sight(TREATED, standing(2, Fact.TREATED, Fact.PRIOR))
MANY = Sight(TREATED, standing(3, Fact.TREATED, Fact.PRIOR))
NOT_SENSITIVE = Sight((Kind(lacks=frozenset({Fact.SENSITIVE})),))


def limited_to(site: str) -> Sight:
    return Sight(
        (Kind(frozenset({Fact.IN_SITES}), frozenset({Fact.SENSITIVE})),),
        Standing(uuid.UUID(int=1), sites=frozenset({site})),
    )


@pytest.mark.parametrize(
    ("query", "sight", "rows", "most"),
    [
        pytest.param(studies(), OWN, 1, 20, id="patient"),
        pytest.param(studies((NAME, "common*")), OWN, 1, 2_100, id="patient, everybody's name"),
        pytest.param(studies((UID, "1.2.778")), OWN, 0, 20, id="patient, somebody else's study"),
        pytest.param(studies(text="common"), OWN, 1, 2_100, id="patient, search box"),
        pytest.param(studies(), FORTY, 48, 1_500, id="treats forty"),
        pytest.param(studies((UID, "1.2.5")), FORTY, 1, 50, id="treats forty, one of them"),
        pytest.param(studies((PID, "P6")), FORTY, 0, 50, id="treats forty, somebody else"),
        pytest.param(studies(order="PatientName"), FORTY, 48, 1_500, id="treats forty, by name"),
        pytest.param(studies(), MANY, 100, 60_000, id="treats six thousand"),
        pytest.param(studies((PID, "P9")), MANY, 1, 8_000, id="treats six thousand, one of them"),
        pytest.param(studies(), limited_to("North"), 100, 30_000, id="of a tenth"),
        pytest.param(studies(), limited_to("Far East"), 9, 200, id="of ten in a large archive"),
        pytest.param(studies(), limited_to("Nowhere"), 0, 20, id="of nothing"),
        pytest.param(studies(), NOT_SENSITIVE, 100, 1_500, id="all but what is sensitive"),
        pytest.param(studies((UID, "1.2.1005")), NOT_SENSITIVE, 0, 50, id="a sensitive study"),
    ],
)
async def test_a_search_within_a_sight_touches_few_rows(
    database: tuple[ConnectionInfo, Tenant], query: Query, sight: Sight, rows: int, most: int
) -> None:
    page, plans = await explained(database, query, sight)
    assert len(page.items) == rows
    kinds = {(n["Node Type"], n.get("Relation Name")) for plan in plans for n in nodes(plan)}
    assert not [kind for kind in kinds if kind[0] == "Seq Scan"]
    assert sum(map(touched, plans)) <= most


@pytest.mark.parametrize("sight", [OWN, FORTY, limited_to("Far East")])
async def test_patients_and_totals_within_a_sight_read_no_table_in_sequence(
    database: tuple[ConnectionInfo, Tenant], sight: Sight
) -> None:
    listed = build_query(Level.PATIENT, (), include=(0x00201200,))
    page, plans = await explained(database, listed, sight)
    info, tenant = database
    pool = Database(info, size=1, role=Role.APP)
    try:
        async with pool.transaction(tenant) as connection:
            await connection.execute(PLANNING)
            watched = Explained(connection)
            totals = await index_read.totals(watched, tenant, sight)  # type: ignore[arg-type]
    finally:
        await pool.close()
    assert totals.studies == totals.patients == len(page.items) > 0
    assert totals.instances == 10 * totals.studies
    relations = {n["Relation Name"] for p in (*plans, *watched.plans) for n in nodes(p)
                 if n["Node Type"] == "Seq Scan"}  # fmt: skip
    assert relations == set()


async def test_whoever_sees_everything_asks_what_was_asked_before_there_were_sights(
    database: tuple[ConnectionInfo, Tenant],
) -> None:
    class Written:
        def __init__(self) -> None:
            self.statements: list[tuple[str, tuple[Any, ...]]] = []

        async def fetch(self, statement: str, *values: Any) -> list[Any]:
            self.statements.append((statement, values))
            return [{"keys": None, "texts": None}] if "array_agg" in statement else []

    said = []
    for options in ({}, {"sight": EVERYTHING}):
        written = Written()
        for query in (studies((NAME, "doe*"), text="x"), studies(), build_query(Level.PATIENT, ())):
            candidates = PostgresCandidates(
                written, database[1], finding.plan(query), None, **options
            )  # type: ignore[arg-type]
            await finding.find(query, candidates)
        said.append(written.statements)
    assert said[0] == said[1]
    assert not [text for text, _ in said[0] if "relation" in text or "sensitive" in text]


async def test_a_late_page_costs_what_the_first_costs(
    database: tuple[ConnectionInfo, Tenant],
) -> None:
    cursor = finding_cursor("20180601", "120000", "1.2.1")
    page, plans = await explained(database, studies(cursor=cursor))
    assert len(page.items) == 100
    assert sum(map(touched, plans)) <= 1000


def finding_cursor(date: str, time: str, uid: str) -> str:
    from lightwell.kernel.pages import encode_cursor

    return encode_cursor([date, time, uid])
