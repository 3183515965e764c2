"""Candidates for the matching engine out of PostgreSQL, within one read transaction.

The trap this avoids: for `name*` sorted by date the planner cannot know whether ten or a hundred
thousand patients are called so; walking the newest studies is right for the many and takes seconds for
the few. So the key list of each criterion is probed first, with a limit: if it is short, it drives;
if not, matches are frequent and the walk soon finds a page. Either way the cost does not grow with the
archive. Plans are pinned to indexes (`PLANNING`), for the same reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lightwell.access.context import Tenant
from lightwell.access.sight import EVERYTHING, Sight
from lightwell.backends.database import rows
from lightwell.backends.database.narrowing import (
    Probe,
    Sql,
    beginning,
    date_filters,
    probes,
    shifted,
    text_probes_of,
)
from lightwell.backends.database.sighting import seen_of
from lightwell.domain.archive.finding import (
    InstanceEntry,
    PatientEntry,
    Plan,
    Position,
    SeriesEntry,
    StudyEntry,
    words_of,
)
from lightwell.domain.archive.model import Attributes, Level, Located
from lightwell.kernel.errors import Invalid

if TYPE_CHECKING:
    from lightwell.backends.database.pool import Connection

DRIVE_LIMIT = 2_000  # so many keys are looked up one by one; more are met by walking
SET_LIMIT = 12_000  # so many are still handed over as a set to walk with
DESCRIPTIONS_LIMIT = 3_000  # different study descriptions that the search box looks through

# Estimates of LIMIT and text ranges go wrong by orders of magnitude; index paths never do.
PLANNING = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;"
    " SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;"
    " SET LOCAL enable_hashagg = off;"
    " SET LOCAL plan_cache_mode = force_custom_plan"
)

ReadAttributes = Callable[[Located], Attributes]

_DATE, _TIME, _UID = (
    's.study_date COLLATE "C"',
    's.study_time COLLATE "C"',
    's.study_uid COLLATE "C"',
)
_NAME = 'p.name_key COLLATE "C"'
_VISIBLE = (
    "s.n_instances + coalesce((SELECT sum(d.n) FROM study_delta d"
    " WHERE d.tenant = $1 AND d.study_key = s.study_key), 0) > 0"
)
# Columns that the newest-first index does not hold.
_IN_ROWS = ("s.accession", "s.study_id", "s.description", "s.referring_key")
_ORDERS = {
    "-StudyDate": f"{_DATE} DESC, {_TIME} DESC, {_UID}",
    "StudyDate": f"{_DATE}, {_TIME}, {_UID} DESC",
    "PatientName": f"{_NAME}, p.patient_key, {_DATE} DESC, {_TIME} DESC, {_UID}",
    "-PatientName": f"{_NAME} DESC, p.patient_key DESC, {_DATE} DESC, {_TIME} DESC, {_UID}",
}
_PATIENT_COLUMNS = (
    "p.patient_key AS p_key, p.issuer, p.pid, p.name_key, p.attributes AS p_attributes, p.flags,"
    " p.version AS p_version"
)


@dataclass(slots=True)
class _Narrowed:
    """What the probes found: drive by these keys, and filter by these conditions."""

    nothing: bool = False
    by_sight: bool = False  # the keys are of what somebody sees
    patients: list[int] | None = None
    studies: list[int] | None = None
    conditions: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    @property
    def driven(self) -> bool:
        return self.patients is not None or self.studies is not None

    def drive(self, probe: Probe, keys: list[int]) -> None:
        if probe.of is Level.PATIENT:
            self.patients = keys
        else:
            self.studies = keys


class PostgresCandidates:
    """`domain.archive.finding.Candidates` for one query; used within one transaction, then dropped."""

    def __init__(
        self,
        connection: Connection,
        tenant: Tenant,
        asked: Plan,
        read_attributes: ReadAttributes | None,
        sight: Sight = EVERYTHING,
    ) -> None:
        self._connection = connection
        self._seen = seen_of(sight)
        self._tenant = tenant
        self._plan = asked
        self._read_attributes = read_attributes
        self._narrowed: _Narrowed | None = None
        self._study_uids: dict[int, str] = {}  # by series key, of what was handed over

    async def _fetch(self, statement: str, *values: Any) -> list[Any]:
        return await self._connection.fetch(statement, self._tenant.key, *values)

    # -- narrowing -------------------------------------------------------------------------------

    async def _narrow(self) -> _Narrowed:
        if self._narrowed is None:
            self._narrowed = await self._probe_all()
        return self._narrowed

    async def _probe_all(self) -> _Narrowed:
        found = _Narrowed()
        wanted = probes(self._plan)
        sight = self._seen.probe(self._plan.query.level) if self._seen else None
        if sight is not None:  # behind what names one thing, before what reads a whole table
            wanted.insert(sum(not probe.scans for probe in wanted), sight)
        for text in text_probes_of(self._plan):
            wanted.append(await self._text_probe(text))
        left: list[Probe] = []
        for probe in wanted:
            keys = None if found.driven else await self._list(probe, DRIVE_LIMIT)
            if keys is None:
                left.append(probe)
            elif not keys:
                return _Narrowed(nothing=True)
            else:
                found.drive(probe, keys)
                found.by_sight = probe is sight
        if not found.driven and self._plan.query.level is not Level.PATIENT:
            left = await self._take_set(found, left)
        # What a sight lists may be more than it shows: its condition is tested in any case (`_in_sight`).
        # Of the few studies that somebody sees, the engine decides what is costly to test row by row.
        found.conditions += [
            (probe.condition, probe.values)
            for probe in left
            if probe is not sight and not (found.by_sight and probe.as_set)
        ]
        return found

    def _in_sight(self, sql: Sql) -> str:
        """The condition on a study `s` that whoever asks sees it, ready to be appended; '' for everything."""
        if self._seen is None:
            return ""
        (condition,) = _placed([(self._seen.condition, self._seen.values)], sql)
        return f" AND {condition}"

    async def _take_set(self, found: _Narrowed, left: list[Probe]) -> list[Probe]:
        """Too many keys everywhere: list those of one probe still, if its condition is costly.

        Walking with a set reads the index alone, unless another condition needs the rows: then the
        set drives.
        """
        for place, probe in enumerate(left):
            keys = await self._list(probe, SET_LIMIT) if probe.as_set else None
            if keys is None:
                continue
            others = left[:place] + left[place + 1 :]
            if any(column in other.condition for other in others for column in _IN_ROWS):
                found.drive(probe, keys)
            else:
                column = "patient_key" if probe.of is Level.PATIENT else "study_key"
                found.conditions.append((f"s.{column} = ANY($2::bigint[])", (keys,)))
            return others
        return left

    async def _list(self, probe: Probe, limit: int) -> list[int] | None:
        """The probe's keys, each once, sorted; None when there are more than `limit`."""
        parts = " UNION ALL ".join(f"({source} LIMIT {limit + 1})" for source in probe.sources)
        listed = await self._fetch(f"SELECT array_agg(k) AS keys FROM ({parts}) u", *probe.values)
        keys: list[int] = listed[0]["keys"] or []
        if len(keys) > limit:
            return None
        return sorted(set(keys))

    async def _text_probe(self, token: str) -> Probe:
        """One word of the search box: in a name, an ID, an accession number or a description."""
        sql = Sql()
        sources, conditions = [], []
        for spelling in dict.fromkeys((token, token.upper(), token.lower())):
            pid = beginning(spelling).sql("q.pid", sql)
            sources.append(
                _studies_of(f"SELECT q.patient_key FROM patient q WHERE q.tenant = $1 AND {pid}")
            )
            conditions.append(pid.replace("q.pid", "p.pid"))
            accession = beginning(spelling).sql("s.accession", sql)
            sources.append(
                f"SELECT s.study_key AS k FROM study s WHERE s.tenant = $1 AND {accession}"
            )
            conditions.append(accession)
        parts = words_of(token)
        if parts:
            longest = max(parts, key=len)
            word = f"w.kind = 1 AND {beginning(longest).sql('w.word', sql)}"
            inside = f"SELECT w.patient_key FROM patient_word w WHERE w.tenant = $1 AND {word}"
            sources.append(_studies_of(inside))
            conditions.append(f"EXISTS ({inside} AND w.patient_key = p.patient_key)")
            described = await self._described(longest)
            if described is None:
                conditions.append("s.description <> ''")
                sources.append(
                    "SELECT s.study_key AS k FROM study s WHERE s.tenant = $1"
                    " AND s.description COLLATE \"C\" > ''"
                )
            elif described:
                equal = f's.description COLLATE "C" = ANY({sql.arg(described)}::text[])'
                sources.append(
                    f"SELECT s.study_key AS k FROM study s WHERE s.tenant = $1 AND {equal}"
                )
                conditions.append(equal)
        condition = f"({' OR '.join(conditions)})"
        return Probe(Level.STUDY, tuple(sources), tuple(sql.values), condition, as_set=True)

    async def _described(self, word: str) -> list[str] | None:
        """Study descriptions with a word that begins so; None when there are too many to look through.

        Descriptions repeat: the index is skipped from one to the next different one.
        """
        listed = await self._fetch(
            "WITH RECURSIVE d(text, n) AS ("
            " (SELECT s.description, 1 FROM study s WHERE s.tenant = $1"
            '  ORDER BY s.description COLLATE "C" LIMIT 1)'
            " UNION ALL"
            " SELECT (SELECT s.description FROM study s WHERE s.tenant = $1"
            '  AND s.description COLLATE "C" > d.text COLLATE "C"'
            '  ORDER BY s.description COLLATE "C" LIMIT 1), d.n + 1'
            f" FROM d WHERE d.text IS NOT NULL AND d.n <= {DESCRIPTIONS_LIMIT}"
            ") SELECT array_agg(text) AS texts FROM d WHERE text IS NOT NULL"
        )
        texts: list[str] = listed[0]["texts"] or []
        if len(texts) > DESCRIPTIONS_LIMIT:
            return None
        return [text for text in texts if any(w.startswith(word) for w in words_of(text))]

    # -- patients --------------------------------------------------------------------------------

    async def patients(self, after: Position | None, want: int) -> list[PatientEntry]:
        narrowed = await self._narrow()
        if narrowed.nothing:
            return []
        sql = Sql()
        source = "patient p"
        where = ["p.tenant = $1"]
        if narrowed.patients is not None:
            keys = sql.arg(narrowed.patients)
            source = f"unnest({keys}::bigint[]) k(key) JOIN patient p ON p.patient_key = k.key"
        where += _placed(narrowed.conditions, sql)
        down = self._plan.query.order == "-PatientName"
        if after is not None:
            name, key = sql.arg(after[0]), sql.arg(after[1])
            where.append(
                f"({_NAME}, p.patient_key) {'<' if down else '>'} ({name}::text, {key}::bigint)"
            )
        where.append(
            "EXISTS (SELECT 1 FROM study s WHERE s.tenant = $1 AND s.patient_key = p.patient_key"
            f" AND {_VISIBLE}{self._in_sight(sql)})"
        )
        way = " DESC" if down else ""
        listed = await self._fetch(
            f"SELECT {_PATIENT_COLUMNS} FROM {source} WHERE {' AND '.join(where)}"
            f" ORDER BY {_NAME}{way}, p.patient_key{way} LIMIT {int(want)}",
            *sql.values,
        )
        return [rows.patient_entry(row) for row in listed]

    async def count_patients(self, patients: Sequence[PatientEntry]) -> None:
        sql = Sql()
        keys = sql.arg(list({patient.key for patient in patients}))
        listed = await self._fetch(
            "SELECT c.patient_key, count(DISTINCT c.study_key) AS studies, count(*) AS series,"
            " sum(c.visible)::bigint AS instances FROM (SELECT s.patient_key, e.study_key, e.series_key,"
            "  e.n_instances + coalesce((SELECT sum(d.n) FROM study_delta d WHERE d.tenant = $1"
            "   AND d.study_key = s.study_key AND d.series_key = e.series_key), 0) AS visible"
            "  FROM study s JOIN series e ON e.tenant = $1 AND e.study_key = s.study_key"
            f"  WHERE s.tenant = $1 AND s.patient_key = ANY({keys}::bigint[]){self._in_sight(sql)}) c"
            " WHERE c.visible > 0 GROUP BY c.patient_key",
            *sql.values,
        )
        counts = {r["patient_key"]: (r["studies"], r["series"], r["instances"]) for r in listed}
        for patient in patients:
            patient.counts = counts.get(patient.key, (0, 0, 0))

    # -- studies ---------------------------------------------------------------------------------

    async def studies(
        self, after: Position | None, want: int, *, inclusive: bool, skip: int, below: bool
    ) -> list[StudyEntry]:
        found: list[StudyEntry] = []
        while len(found) < want:
            asked = want - len(found)
            keys = await self._study_keys(after, asked, inclusive, skip)
            entries = await self._entries([row["study_key"] for row in keys], below)
            found += [entry for entry in entries if entry.visible > 0]
            if len(keys) < asked:
                break
            last = keys[-1]
            after = [last["study_date"], last["study_time"], last["study_uid"]]
            if "PatientName" in self._plan.query.order:
                after = [last["name_key"], last["patient_key"], *after]
            inclusive, skip = False, 0
        return found

    async def _study_keys(
        self, after: Position | None, want: int, inclusive: bool, skip: int
    ) -> list[Any]:
        narrowed = await self._narrow()
        if narrowed.nothing:
            return []
        order = self._plan.query.order
        by_name = "PatientName" in order
        sql = Sql()
        source, where = "study s", ["s.tenant = $1"]
        if narrowed.studies is not None:
            keys = sql.arg(narrowed.studies)
            source = f"unnest({keys}::bigint[]) k(key) JOIN study s ON s.study_key = k.key"
        elif narrowed.patients is not None:
            keys = sql.arg(narrowed.patients)
            source = f"unnest({keys}::bigint[]) k(key) JOIN study s ON s.patient_key = k.key"
        where += _placed(narrowed.conditions, sql) + date_filters(self._plan, sql)
        if by_name or any("p." in condition for condition in where):
            join = "p.tenant = $1 AND p.patient_key = s.patient_key"
            source += f" JOIN patient p ON {join}"
        if after is not None:
            where.append(_beyond(after, order, inclusive, sql))
        if skip:
            where.append(_VISIBLE)
        in_sight = self._in_sight(sql)
        name = ", p.name_key" if by_name else ""
        return await self._fetch(
            f"SELECT s.study_key, s.study_date, s.study_time, s.study_uid, s.patient_key{name}"
            f" FROM {source} WHERE {' AND '.join(where)}{in_sight} ORDER BY {_ORDERS[order]}"
            f" LIMIT {int(want)} OFFSET {int(skip)}",
            *sql.values,
        )

    async def _entries(self, keys: list[int], below: bool) -> list[StudyEntry]:
        """Studies with patient, series and counts, in the order of the keys."""
        if not keys:
            return []
        listed = await self._fetch(
            f"SELECT s.study_key, s.study_uid, s.study_date, s.study_time, s.attributes, s.version,"
            f" s.outside, {_PATIENT_COLUMNS},"
            " (SELECT count(*) FROM qc_item q WHERE q.tenant = $1 AND q.study_uid = s.study_uid"
            "  AND q.kind = 'held' AND q.resolved IS NULL) AS held"
            " FROM study s JOIN patient p ON p.tenant = $1 AND p.patient_key = s.patient_key"
            " WHERE s.tenant = $1 AND s.study_key = ANY($2::bigint[])",
            keys,
        )
        series = await self._series(keys, below)
        patients: dict[int, PatientEntry] = {}
        entries: dict[int, StudyEntry] = {}
        for row in listed:
            patient = patients.get(row["p_key"]) or rows.patient_entry(row)
            patients[row["p_key"]] = patient
            own = series.get(row["study_key"], [])
            entries[row["study_key"]] = rows.study_entry(row, patient, own)
            self._study_uids.update((entry.key, row["study_uid"]) for entry in own)
        return [entries[key] for key in keys if key in entries]

    async def _series(self, study_keys: list[int], below: bool) -> dict[int, list[SeriesEntry]]:
        """All series of the studies with their counts: rolled up, plus what came since.

        One statement, so that a roll-up in between cannot count an instance twice or not at all.
        """
        attributes = "e.attributes" if below else "NULL::jsonb"
        listed = await self._fetch(
            "SELECT false AS is_delta, e.study_key, e.series_key, e.series_uid, e.modality, e.number,"
            f" e.version, e.cool, {attributes} AS attributes, e.n_instances, e.n_rejected"
            " FROM series e WHERE e.tenant = $1 AND e.study_key = ANY($2::bigint[])"
            " UNION ALL SELECT true, d.study_key, d.series_key, NULL, NULL, NULL, NULL, NULL, NULL,"
            " sum(d.n)::bigint, sum(d.rejected)::bigint"
            " FROM study_delta d WHERE d.tenant = $1 AND d.study_key = ANY($2::bigint[])"
            " GROUP BY d.study_key, d.series_key",
            study_keys,
        )
        deltas = {
            row["series_key"]: (row["n_instances"], row["n_rejected"])
            for row in listed
            if row["is_delta"]
        }
        found: dict[int, list[SeriesEntry]] = {}
        for row in listed:
            if not row["is_delta"]:
                entry = rows.series_entry(row, *deltas.get(row["series_key"], (0, 0)))
                found.setdefault(row["study_key"], []).append(entry)
        return found

    async def list_classes(self, studies: Sequence[StudyEntry]) -> None:
        listed = await self._fetch(
            "SELECT e.study_key, array_agg(DISTINCT i.sop_class) AS classes FROM series e"
            " JOIN instance i ON i.tenant = $1 AND i.series_key = e.series_key AND i.rejected IS NULL"
            " WHERE e.tenant = $1 AND e.study_key = ANY($2::bigint[]) GROUP BY e.study_key",
            [study.key for study in studies],
        )
        classes = {row["study_key"]: tuple(sorted(row["classes"])) for row in listed}
        for study in studies:
            study.sop_classes = classes.get(study.key, ())

    # -- instances -------------------------------------------------------------------------------

    async def instances(
        self, series: Sequence[SeriesEntry], after: Position | None, want: int
    ) -> list[InstanceEntry]:
        if not series:
            return []
        by_key = {entry.key: entry for entry in series}
        sql = Sql()
        keys = sql.arg(list(by_key))
        where = [f"i.series_key = ANY({keys}::bigint[])", "i.rejected IS NULL"]
        for key in self._plan.stages[Level.INSTANCE].keys:
            if key.tag == 0x00080018 and key.values:
                where.append(f"i.sop_uid = ANY({sql.arg(list(key.values))}::text[])")
        if after is not None:
            where.append(_beyond_instance(series[0].key, after, sql))
        listed = await self._fetch(
            f"SELECT {rows.INSTANCE_COLUMNS} FROM instance i"
            " JOIN blob b ON b.tenant = $1 AND b.blob_id = i.blob_id"
            f" WHERE i.tenant = $1 AND {' AND '.join(where)}"
            f" ORDER BY array_position({keys}::bigint[], i.series_key), i.number NULLS LAST,"
            f' i.sop_uid COLLATE "C" LIMIT {int(want)}',
            *sql.values,
        )
        return [
            rows.instance_entry(row, by_key[row["series_key"]], self._where(row, by_key))
            for row in listed
        ]

    def _where(self, row: rows.Row, series: dict[int, SeriesEntry]) -> Callable[[], Located]:
        key: int = row["series_key"]
        return lambda: rows.located(row, self._tenant, self._study_uids[key], series[key], {}, "")

    async def headers(self, instances: Sequence[InstanceEntry]) -> list[Attributes]:
        read = self._read_attributes
        if read is None:
            raise Invalid(
                "The query asks for attributes that are only in the image headers, and this index "
                "was given no way to read them.",
                remedy="Leave those attributes out.",
            )
        places = [instance.located() for instance in instances]
        return await asyncio.to_thread(lambda: [read(place) for place in places])


def _studies_of(patients: str) -> str:
    """The studies of patients that a statement lists."""
    return (
        f"SELECT s.study_key AS k FROM ({patients} OFFSET 0) o"
        " JOIN study s ON s.tenant = $1 AND s.patient_key = o.patient_key"
    )


def _placed(conditions: list[tuple[str, tuple[Any, ...]]], sql: Sql) -> list[str]:
    """Conditions with their parameters appended to the statement's."""
    placed = []
    for text, values in conditions:
        placed.append(shifted(text, len(sql.values)))
        sql.values.extend(values)
    return placed


def _beyond(after: Position, order: str, inclusive: bool, sql: Sql) -> str:
    """Keyset paging: a row comparison the index can start at, then the rest of the order exactly."""
    *name, date, time, uid = after
    up = order == "StudyDate"
    first, equal = (">", "<") if up else ("<", ">")
    if inclusive:
        equal += "="
    place = f"({sql.arg(date)}::text, {sql.arg(time)}::text)"
    row = f"({_DATE}, {_TIME})"
    exact = f"({row} {first} {place} OR ({row} = {place} AND {_UID} {equal} {sql.arg(uid)}))"
    if not name:
        return f"{row} {first}= {place} AND {exact}"
    first = "<" if order.startswith("-") else ">"
    whose = f"({sql.arg(name[0])}::text, {sql.arg(name[1])}::bigint)"
    row = f"({_NAME}, p.patient_key)"
    return f"{row} {first}= {whose} AND ({row} {first} {whose} OR {exact})"


def _beyond_instance(series_key: int, after: Position, sql: Sql) -> str:
    """Beyond [number, sop_uid] in the first series; all of the others."""
    number, uid = after
    other = f"i.series_key <> {sql.arg(series_key)}::bigint"
    later = f'i.sop_uid COLLATE "C" > {sql.arg(uid)}'
    if number is None:
        return f"({other} OR (i.number IS NULL AND {later}))"
    at = f"{sql.arg(number)}::int"
    return f"({other} OR i.number > {at} OR i.number IS NULL OR (i.number = {at} AND {later}))"
