"""How the cost of a search grows with the archive: the same questions at each size, as lightwell_app.

    python bench/query_growth.py [--sizes 10000,1000000] [--data DIR] [--repeat 40] > result.json

Makes patients, studies and series by INSERT … SELECT as the owner (no images), then asks through
`PostgresIndex`, the way the doors do: narrowing, fetching, matching and assembling DICOM JSON included,
HTTP excluded. Names follow a skewed distribution; a few rare ones are planted in the oldest studies,
where a search that walks the newest first takes longest. Prints one JSON object: per size and kind
p50 and p95 in milliseconds and rows found, and the ratio of p95 between the last and the first size.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from lightwell.access.context import Tenant
from lightwell.backends.database.embedded import EmbeddedPostgres
from lightwell.backends.database.index import PostgresIndex
from lightwell.backends.database.migrate import migrate
from lightwell.backends.database.pool import Database
from lightwell.backends.database.roles import ConnectionInfo, Role
from lightwell.domain.archive.finding import build_query, sound
from lightwell.domain.archive.model import Level
from lightwell.domain.archive.query import Query

FAMILIES, GIVENS = 20_000, 400
DESCRIPTIONS = [
    f"{modality} {part} {extra}".strip()
    for modality in ("CT", "MR", "XR", "US")
    for part in ("Thorax", "Abdomen", "Head", "Spine", "Knee", "Pelvis", "Neck", "Heart")
    for extra in ("", "native", "contrast", "follow-up", "screening", "angiography")
]
PAGES = "next pages by cursor"
RARE = 3  # studies with the planted name, dated first
NAME, PID, DATE, ACCESSION, MODALITIES, UID = (
    0x00100010,
    0x00100020,
    0x00080020,
    0x00080050,
    0x00080061,
    0x0020000D,
)


def syllables(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("bdfghklmnprstvz") + rng.choice("aeiou") for _ in range(count))


def families(rng: random.Random) -> list[str]:
    """Different family names, the first ones the frequent ones."""
    found = dict.fromkeys(["smith", "jones", "meyer"])
    while len(found) < FAMILIES:
        found[syllables(rng, rng.randint(2, 4))] = None
    return list(found)


FILL = """
INSERT INTO patient (tenant, issuer, pid, id_name, name, name_key, birth, sex, original, attributes)
SELECT $1, 'HOSP', 'P' || lpad(g::text, 9, '0'), n.name, n.name, lower(n.name), n.birth, 'F', j.j, j.j
FROM generate_series(1, $2::int) g
CROSS JOIN LATERAL (SELECT hashint4(g) & 2147483647 AS h, hashint4(g + 7777777) & 2147483647 AS h2) r
CROSS JOIN LATERAL (SELECT CASE WHEN g <= $3 THEN 'Quixotic'
    ELSE initcap(($4::text[])[1 + floor(power(r.h / 2147483648.0, 3) * array_length($4, 1))::int]) END
    || '^' || initcap(($5::text[])[1 + r.h2 % array_length($5, 1)]) AS name,
    to_char(date '1930-01-01' + r.h2 % 30000, 'YYYYMMDD') AS birth) n
CROSS JOIN LATERAL (SELECT jsonb_build_object(
    '00100010', jsonb_build_object('vr', 'PN', 'Value',
                                   jsonb_build_array(jsonb_build_object('Alphabetic', n.name))),
    '00100020', jsonb_build_object('vr', 'LO', 'Value', jsonb_build_array('P' || lpad(g::text, 9, '0'))),
    '00100030', jsonb_build_object('vr', 'DA', 'Value', jsonb_build_array(n.birth)),
    '00100040', jsonb_build_object('vr', 'CS', 'Value', jsonb_build_array('F'))) AS j) j
"""
WORDS = """
INSERT INTO patient_word (tenant, kind, word, patient_key)
SELECT DISTINCT $1::int, w.kind, w.word, p.patient_key FROM patient p
CROSS JOIN LATERAL (SELECT split_part(p.name_key, '^', 1) AS f, split_part(p.name_key, '^', 2) AS g) s
LEFT JOIN unnest($2::text[], $3::text[]) c(word, code) ON c.word = s.f
CROSS JOIN LATERAL (VALUES (1::smallint, s.f), (1::smallint, s.g), (2::smallint, c.code)) w(kind, word)
WHERE p.tenant = $1 AND w.word <> ''
"""
STUDIES = """
INSERT INTO study (tenant, patient_key, origin_patient_key, study_uid, study_date, study_time, accession,
                   study_id, description, n_instances, n_bytes, original, attributes)
SELECT $1, p.patient_key, p.patient_key, '1.2.826.0.1.' || g, d.date, d.time, 'A' || lpad(g::text, 9, '0'),
       'S' || g, d.description, 120, 60000000, '{}', jsonb_build_object(
    '0020000D', jsonb_build_object('vr', 'UI', 'Value', jsonb_build_array('1.2.826.0.1.' || g)),
    '00080020', jsonb_build_object('vr', 'DA', 'Value', jsonb_build_array(d.date)),
    '00080030', jsonb_build_object('vr', 'TM', 'Value', jsonb_build_array(d.time)),
    '00080050', jsonb_build_object('vr', 'SH', 'Value', jsonb_build_array('A' || lpad(g::text, 9, '0'))),
    '00200010', jsonb_build_object('vr', 'SH', 'Value', jsonb_build_array('S' || g)),
    '00081030', jsonb_build_object('vr', 'LO', 'Value', jsonb_build_array(d.description)))
FROM generate_series(1, $2::int) g
JOIN patient p ON p.tenant = $1 AND p.pid = 'P' || lpad((1 + (g - 1) % $3::int)::text, 9, '0')
CROSS JOIN LATERAL (SELECT hashint4(g + 31) & 2147483647 AS h, hashint4(g + 77) & 2147483647 AS h2) r
CROSS JOIN LATERAL (SELECT
    CASE WHEN g <= $4 THEN '19990101' ELSE to_char(date '2016-01-01' + r.h % 3650, 'YYYYMMDD') END AS date,
    to_char(time '00:00' + make_interval(secs => r.h2 % 86400), 'HH24MISS') AS time,
    ($5::text[])[1 + r.h2 % array_length($5, 1)] AS description) d
"""
SERIES = """
INSERT INTO series (tenant, study_key, series_uid, modality, number, n_instances, original, attributes)
SELECT $1, s.study_key, s.study_uid || '.' || n, m.modality, n, 60, '{}', jsonb_build_object(
    '0020000E', jsonb_build_object('vr', 'UI', 'Value', jsonb_build_array(s.study_uid || '.' || n)),
    '00080060', jsonb_build_object('vr', 'CS', 'Value', jsonb_build_array(m.modality)))
FROM study s CROSS JOIN generate_series(1, 2) n
CROSS JOIN LATERAL (SELECT CASE WHEN s.study_key % 997 = 0 THEN 'NM'
    ELSE (ARRAY['CT','CT','MR','CR','US'])[1 + s.study_key % 5] END AS modality) m
WHERE s.tenant = $1
"""


async def fill(info: ConnectionInfo, size: int, names: list[str], givens: list[str]) -> Tenant:
    """A database with `size` studies of one tenant and nothing else."""
    owner = await asyncpg.connect(info.url(Role.OWNER), timeout=10, command_timeout=3600)
    try:
        await owner.execute(
            "TRUNCATE patient, patient_word, study, series, study_delta, tenant CASCADE"
        )
        label = f"growth-{size}"
        key = await owner.fetchval(
            "INSERT INTO tenant (name, label, aet) VALUES ($1, $1, upper($1)) RETURNING tenant",
            label,
        )
        await fill_tenant(owner, key, size, names, givens)
    finally:
        await owner.close(timeout=30)
    return Tenant(key, label, label, label.upper())


async def fill_tenant(
    owner: asyncpg.Connection[asyncpg.Record],
    key: int,
    size: int,
    names: list[str],
    givens: list[str],
) -> None:
    """`size` studies for one tenant, and statistics to match."""
    people = max(1, size * 6 // 10)
    await owner.execute(FILL, key, people, RARE, names, givens)
    await owner.execute("ANALYZE patient")
    await owner.execute(WORDS, key, [*names, "quixotic"], [sound(n) for n in [*names, "quixotic"]])
    await owner.execute(STUDIES, key, size, people, RARE, DESCRIPTIONS)
    await owner.execute("ANALYZE study")
    await owner.execute(SERIES, key)
    for table in ("patient", "patient_word", "study", "series", "study_delta", "qc_item"):
        await owner.execute(f"VACUUM ANALYZE {table}")


def fill_server(data: Path, size: int) -> None:
    """The same beside a running server, for its default tenant."""

    async def go(info: ConnectionInfo) -> None:
        rng = random.Random(1)
        owner = await asyncpg.connect(info.url(Role.OWNER), timeout=10, command_timeout=3600)
        try:
            key = await owner.fetchval("SELECT tenant FROM tenant WHERE name = 'default'")
            givens = [syllables(rng, rng.randint(1, 3)) for _ in range(GIVENS)]
            await fill_tenant(owner, key, size, families(rng), givens)
        finally:
            await owner.close(timeout=30)

    with EmbeddedPostgres(data) as info:
        asyncio.run(go(info))


Ask = Callable[[random.Random], Query]


def kinds(size: int, names: list[str]) -> dict[str, Ask]:
    """The questions, each made anew with other values every time."""

    def studies(*keys: tuple[int, str], **options: Any) -> Query:
        return build_query(Level.STUDY, [((tag,), None, text) for tag, text in keys], **options)

    def any_study(rng: random.Random) -> int:
        return rng.randint(RARE + 1, max(size, RARE + 1))

    def day(rng: random.Random) -> str:
        return time.strftime("%Y%m%d", time.gmtime(1451606400 + rng.randrange(3650) * 86400))

    def middling(rng: random.Random) -> str:
        return names[rng.randrange(3, 200)]

    def uncommon(rng: random.Random) -> str:
        return names[rng.randrange(FAMILIES // 2, FAMILIES)]

    return {
        "newest page": lambda rng: studies(),
        "study by UID": lambda rng: studies((UID, f"1.2.826.0.1.{any_study(rng)}")),
        "accession": lambda rng: studies((ACCESSION, f"A{any_study(rng):09d}")),
        "patient ID": lambda rng: studies((PID, f"P{1 + any_study(rng) * 6 // 11:09d}")),
        "name prefix, planted rare": lambda rng: studies((NAME, "quixot*")),
        "name prefix, nobody": lambda rng: studies((NAME, f"x{syllables(rng, 2)}*")),
        "name, uncommon family": lambda rng: studies((NAME, f"{uncommon(rng)}^*")),
        "name, middling family": lambda rng: studies((NAME, f"{middling(rng)}^*")),
        "name prefix, frequent": lambda rng: studies((NAME, "smith*")),
        "name prefix, two letters": lambda rng: studies((NAME, f"{syllables(rng, 1)}*")),
        "one day and modality": lambda rng: studies((DATE, day(rng)), (MODALITIES, "CT")),
        "rare modality": lambda rng: studies((MODALITIES, "NM")),
        "name fuzzy": lambda rng: studies((NAME, middling(rng)), fuzzy=True),
        "search box, a name": lambda rng: studies(text=middling(rng)),
        "search box, name and modality": lambda rng: studies(text=f"{middling(rng)} CT"),
        "sorted by name": lambda rng: studies(order="PatientName"),
        PAGES: lambda rng: studies(),
    }


@dataclass
class Archive:
    """One size: its own server, so that sizes can be asked in turn under the same load."""

    size: int
    server: EmbeddedPostgres
    tenant: Tenant
    pool: Database
    seconds_to_fill: float
    figures: dict[str, dict[str, float]]


async def opened(folder: Path, size: int, names: list[str], givens: list[str]) -> Archive:
    """A filled archive below its own folder."""
    folder.mkdir(parents=True, exist_ok=True)
    server = EmbeddedPostgres(folder)
    info = await asyncio.to_thread(server.start)
    await migrate(info)
    began = time.perf_counter()
    tenant = await fill(info, size, names, givens)
    took = round(time.perf_counter() - began, 1)
    print(f"{size} studies made in {took} s", file=sys.stderr, flush=True)
    return Archive(size, server, tenant, Database(info, size=1), took, {})


async def measure(archive: Archive, kind: str, ask: Ask, repeat: int) -> None:
    """One kind of question: another value each time; for the pages, the cursor of the last."""
    index, rng, cursor = PostgresIndex(archive.pool), random.Random(kind), None
    seconds, rows = [], []
    for turn in range(repeat + 5):
        query = ask(rng) if kind != PAGES else build_query(Level.STUDY, [], cursor=cursor)
        began = time.perf_counter()
        page = await index.find(archive.tenant, query)
        if turn >= 5:  # the first ones open connections and read the catalogue
            seconds.append(time.perf_counter() - began)
            rows.append(len(page.items))
        cursor = page.next_cursor
    archive.figures[kind] = figures_of(seconds, rows)


def figures_of(seconds: list[float], rows: list[int]) -> dict[str, float]:
    ranked = sorted(seconds)
    return {
        "p50_ms": round(statistics.median(ranked) * 1000, 2),
        "p95_ms": round(ranked[min(len(ranked) - 1, int(len(ranked) * 0.95))] * 1000, 2),
        "rows": round(statistics.mean(rows), 1),
    }


def ratios(small: Archive, large: Archive) -> Iterator[tuple[str, float]]:
    """p95 of the large archive over p95 of the small one, by kind and for all together.

    Kinds that find many more rows in the large one cost more for that alone: `alike` leaves them out.
    """
    first, last = small.figures, large.figures
    for kind in first:
        yield kind, round(last[kind]["p95_ms"] / first[kind]["p95_ms"], 2)
    alike = [k for k in first if last[k]["rows"] <= 1.2 * first[k]["rows"] + 0.1]
    for name, chosen in (("all kinds", list(first)), ("kinds with answers alike", alike)):
        total = [sum(figures[kind]["p95_ms"] for kind in chosen) for figures in (last, first)]
        yield name, round(total[0] / total[1], 2)


async def run(folder: Path, sizes: list[int], repeat: int) -> dict[str, Any]:
    rng = random.Random(1)
    names, givens = families(rng), [syllables(rng, 3) for _ in range(GIVENS)]
    archives: list[Archive] = []
    try:
        for size in sizes:
            archives.append(await opened(folder / str(size), size, names, givens))
        for kind in kinds(1, names):
            for archive in archives:
                await measure(archive, kind, kinds(archive.size, names)[kind], repeat)
    finally:
        for archive in archives:
            await archive.pool.close()
            archive.server.stop()
    return {
        "seconds_to_fill": {str(a.size): a.seconds_to_fill for a in archives},
        "sizes": {str(a.size): a.figures for a in archives},
        "p95_ratio": dict(ratios(archives[0], archives[-1])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", default="10000,1000000")
    parser.add_argument("--data", type=Path, help="keep the database here")
    parser.add_argument("--repeat", type=int, default=40)
    options = parser.parse_args()
    folder = options.data or Path(tempfile.mkdtemp(prefix="lw-growth-"))
    folder.mkdir(parents=True, exist_ok=True)
    if not options.data:
        folder.chmod(0o711)
    try:
        sizes = [int(size) for size in options.sizes.split(",")]
        result = asyncio.run(run(folder, sizes, options.repeat))
    finally:
        if not options.data:
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
