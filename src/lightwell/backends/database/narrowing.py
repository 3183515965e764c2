"""From criteria to SQL that narrows: never to less than what matches, often to exactly that. Pure.

Row-level security lets only leakproof operators into index conditions: `=`, `>=`, `<` on columns with
COLLATE "C" are, LIKE and JSON operators are not (they run after the tenant's rows were chosen, as
plain filters). What SQL cannot narrow is left to `matches`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lightwell.backends.database.arrival_columns import as_text
from lightwell.domain.archive.columns import TEXT_LIMIT
from lightwell.domain.archive.finding import (
    FOLD_LIMIT,
    KIND_GROUP,
    KIND_SOUND,
    KIND_WORD,
    Plan,
    fold_group,
    sound,
    text_tokens,
    words_of,
)
from lightwell.domain.archive.model import Level
from lightwell.domain.archive.query import Criterion, DateTimeRange, Match

_LAST = "\U0010ffff"  # greater than every text that begins with the same characters
_C = 'COLLATE "C"'
SERIES_UID, SOP_UID, STUDY_UID = 0x0020000E, 0x00080018, 0x0020000D
PATIENT_NAME, PATIENT_ID, STUDY_DATE = 0x00100010, 0x00100020, 0x00080020

# Columns that hold the first value of an attribute as recorded.
STUDY_TEXT = {0x00080050: "accession", 0x00200010: "study_id", 0x00081030: "description"}
SERIES_TEXT = {0x00080060: "modality", 0x0008103E: "description", 0x00180015: "body_part"}
REFERRING, MODALITIES, SERIES_NUMBER = 0x00080090, 0x00080061, 0x00200011


@dataclass(slots=True)
class Sql:
    """Parameters of one statement; `$1` is always the tenant."""

    values: list[Any] = field(default_factory=list)

    def arg(self, value: Any) -> str:
        """The placeholder of a parameter."""
        self.values.append(as_text(value) if isinstance(value, str) else value)
        return f"${len(self.values) + 1}"


@dataclass(frozen=True, slots=True)
class Span:
    """Texts from `low` on, before `high`."""

    low: str
    high: str

    def sql(self, column: str, sql: Sql) -> str:
        return f"({column} {_C} >= {sql.arg(self.low)} AND {column} {_C} < {sql.arg(self.high)})"


def beginning(prefix: str) -> Span:
    """All texts that begin so; the prefix is cut to what a column can hold."""
    cut = as_text(prefix[:TEXT_LIMIT])
    return Span(cut, cut + _LAST)


def literal(pattern: str) -> str:
    """The part of a wildcard key before its first wildcard."""
    places = [place for place in (pattern.find("*"), pattern.find("?")) if place >= 0]
    return pattern[: min(places)] if places else pattern


def like(pattern: str) -> str:
    """A LIKE pattern for a wildcard key, open at both ends."""
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return "%" + escaped.replace("*", "%").replace("?", "_").strip("%") + "%"


def text_filter(column: str, key: Criterion, sql: Sql) -> str | None:
    """A condition on a text column that every match meets; None when SQL cannot say."""
    if key.kind is Match.EMPTY:
        return f"{column} {_C} = ''"
    if key.kind is Match.VALUE_LIST:
        parts = [text_filter(column, alternative, sql) for alternative in key.items]
        return None if None in parts else f"({' OR '.join(p for p in parts if p)})"
    if key.kind is Match.SINGLE:
        value = key.values[0]
        if len(value) >= TEXT_LIMIT:
            return beginning(value).sql(column, sql)
        return f"{column} {_C} = {sql.arg(value)}"
    if key.kind is Match.WILDCARD:
        prefix = literal(key.values[0])
        if prefix:
            return beginning(prefix).sql(column, sql)
        return f"{column} LIKE {sql.arg(like(key.values[0]))}"
    return None


def date_filter(column: str, key: Criterion | DateTimeRange, sql: Sql) -> str | None:
    """A condition on a date column (YYYYMMDD); None for keys that are no dates."""
    if isinstance(key, DateTimeRange):
        low, high = key.low[:8], key.high[:8]
    elif key.kind is Match.SINGLE:
        low = high = key.values[0]
    elif key.kind is Match.RANGE:
        low, high = key.values
    else:
        return text_filter(column, key, sql) if key.kind is Match.EMPTY else None
    parts = [f"{column} {_C} >= {sql.arg(low)}"] if low else [f"{column} {_C} > ''"]
    if high:
        parts.append(f"{column} {_C} <= {sql.arg(high)}")
    return f"({' AND '.join(parts)})"


# --- names ----------------------------------------------------------------------------------------


def _name_conditions(
    column: str, pattern: str, wild: bool, sql: Sql, *, groups_follow: bool
) -> list[str]:
    """Where the folded names of one group lie that a key group can match; [] when it cannot be said.

    A family name typed to its end ('doe^*') is narrower than its letters ('doe*'): the name may end
    there, go on with '^', or another group may follow after '='.
    """
    text = literal(pattern) if wild else pattern
    prefix = fold_group(text).rstrip("^ ")[:FOLD_LIMIT]
    if not prefix:
        return []
    complete = not wild or text.rstrip().endswith("^")
    if not complete or len(prefix) + 1 >= FOLD_LIMIT:
        return [beginning(prefix).sql(column, sql)]
    found = [f"{column} {_C} = {sql.arg(prefix)}"]
    if groups_follow:
        found.append(beginning(prefix + "=").sql(column, sql))
    if wild:
        found.append(beginning(prefix + "^").sql(column, sql))
    return found


@dataclass(frozen=True, slots=True)
class Probe:
    """A statement that lists the keys of candidates of one criterion, cheaply when they are few.

    `of` says what it lists. `sources` are SELECTs to be limited each; their union is the answer.
    `condition` is the same as a filter on `p` or `s`, for when there are too many to list.
    `scans` marks a probe that reads a whole table when there are few: asked last. `as_set`: too many
    to drive, its keys may still be worth listing, because the condition is costly to test row by row.
    """

    of: Level  # PATIENT: patient keys, STUDY: study keys
    sources: tuple[str, ...]
    values: tuple[Any, ...]
    condition: str  # placeholders as in `sources`, renumbered by `shifted`
    scans: bool = False
    as_set: bool = False


def name_probe(key: Criterion) -> Probe | None:
    """Patients whose name can match. VALUE_LIST and EMPTY are narrowed only where that is simple."""
    if key.kind is Match.FUZZY:
        return None  # see `word_probes`
    if key.kind is Match.EMPTY:
        return _patient_probe("p.name_key COLLATE \"C\" = ''", ())
    if key.kind not in (Match.SINGLE, Match.WILDCARD):
        return None
    wild = key.kind is Match.WILDCARD
    groups = key.values[0].split("=")[:3]
    alphabetic, others = groups[0], groups[1:] or [groups[0]]
    sql = Sql()
    names = _name_conditions("p.name_key", alphabetic, wild, sql, groups_follow=True)
    wholes: list[str] = []
    if not names or len(groups) == 1:
        wholes = _name_conditions("w.word", max(others, key=len), wild, sql, groups_follow=False)
    insides = [f"w.kind = {KIND_GROUP} AND {whole}" for whole in wholes]
    if names or insides:
        sources = [*map(_from_patient, names), *map(_from_words, insides)]
        conditions = [*names, *map(_in_words, insides)]
        return Probe(
            Level.PATIENT,
            tuple(sources),
            tuple(sql.values),
            f"({' OR '.join(conditions)})",
            as_set=True,
        )
    pattern = fold_group(max(groups, key=len)).lstrip("^ ").rstrip("^*? ")
    condition = f"(p.name_key LIKE {sql.arg(like(pattern))} OR length(p.name_key) >= {FOLD_LIMIT})"
    return _patient_probe(condition, sql.values, scans=True)


def word_probes(text: str) -> list[Probe]:
    """For fuzzy matching: patients with a word that begins or sounds like each word of the key."""
    probes = []
    for word in words_of(text):
        prefix = literal(word)
        if not prefix:
            continue
        sql = Sql()
        insides = [f"w.kind = {KIND_WORD} AND {beginning(prefix).sql('w.word', sql)}"]
        code = sound(word)
        if code:
            insides.append(f"w.kind = {KIND_SOUND} AND w.word = {sql.arg(code)}")
        probes.append(
            Probe(
                Level.PATIENT,
                tuple(_from_words(inside) for inside in insides),
                tuple(sql.values),
                f"({' OR '.join(_in_words(inside) for inside in insides)})",
                as_set=True,
            )
        )
    return probes


def _from_patient(condition: str) -> str:
    return f"SELECT p.patient_key AS k FROM patient p WHERE p.tenant = $1 AND {condition}"


def _from_words(inside: str) -> str:
    return f"SELECT w.patient_key AS k FROM patient_word w WHERE w.tenant = $1 AND {inside}"


def _in_words(inside: str) -> str:
    return (
        "EXISTS (SELECT 1 FROM patient_word w WHERE w.tenant = $1"
        f" AND w.patient_key = p.patient_key AND {inside})"
    )


def _patient_probe(condition: str, values: Sequence[Any], *, scans: bool = False) -> Probe:
    return Probe(Level.PATIENT, (_from_patient(condition),), tuple(values), condition, scans)


def _study_probe(condition: str, values: Sequence[Any], *, scans: bool = False) -> Probe:
    source = f"SELECT s.study_key AS k FROM study s WHERE s.tenant = $1 AND {condition}"
    return Probe(Level.STUDY, (source,), tuple(values), condition, scans)


def _series_probe(
    condition: str, values: Sequence[Any], *, scans: bool = False, once: bool = False
) -> Probe:
    """`once` lists each study once, where the index gives them in order: else that would be a sort."""
    distinct = "DISTINCT " if once else ""
    source = f"SELECT {distinct}e.study_key AS k FROM series e WHERE e.tenant = $1 AND {condition}"
    inside = f"EXISTS ({_INSIDE_SERIES} AND {condition})"
    return Probe(Level.STUDY, (source,), tuple(values), inside, scans)


_INSIDE_SERIES = (
    "SELECT 1 FROM series e WHERE e.tenant = $1 AND e.study_key = s.study_key"  # of one study
)


# --- a whole query --------------------------------------------------------------------------------


def probes(asked: Plan) -> list[Probe]:
    """A probe for each criterion that SQL can say something about; the most selective kinds first."""
    found: list[Probe] = []
    for level in (Level.INSTANCE, Level.SERIES, Level.STUDY, Level.PATIENT):
        for key in asked.stages[level].keys:
            found += _probes_of(key, level)
    return sorted(found, key=lambda probe: probe.scans)


def _probes_of(key: Criterion, level: Level) -> list[Probe]:
    sql = Sql()
    if key.tag == PATIENT_NAME and level is Level.PATIENT:
        if key.kind is Match.FUZZY:
            return word_probes(key.values[0])
        probe = name_probe(key)
        return [probe] if probe else []
    if key.kind is Match.UID_LIST:
        return _uid_probes(key)
    if key.tag == PATIENT_ID:
        condition = text_filter("p.pid", key, sql)
        return [_patient_probe(condition, sql.values, scans=_scans(key))] if condition else []
    if key.tag in STUDY_TEXT:
        condition = text_filter(f"s.{STUDY_TEXT[key.tag]}", key, sql)
        return [_study_probe(condition, sql.values, scans=_scans(key))] if condition else []
    if key.tag == REFERRING:
        return _referring_probes(key)
    column = "modality" if key.tag == MODALITIES else SERIES_TEXT.get(key.tag)
    if column and key.kind is not Match.EMPTY:
        condition = text_filter(f"e.{column}", key, sql)
        scans = _scans(key) or column != "modality"
        once = column == "modality" and key.kind is Match.SINGLE
        return [_series_probe(condition, sql.values, scans=scans, once=once)] if condition else []
    return []


def _scans(key: Criterion) -> bool:
    return key.kind is Match.WILDCARD and not literal(key.values[0])


def _uid_probes(key: Criterion) -> list[Probe]:
    uids = list(key.values)
    if key.tag == STUDY_UID:
        return [_study_probe("s.study_uid = ANY($2::text[])", (uids,))]
    if key.tag == SERIES_UID:
        return [_series_probe('e.series_uid COLLATE "C" = ANY($2::text[])', (uids,))]
    if key.tag == SOP_UID:
        source = "SELECT i.study_key AS k FROM instance i WHERE i.tenant = $1"
        inside = "i.sop_uid = ANY($2::text[])"
        condition = f"s.study_key IN ({source} AND {inside})"
        return [Probe(Level.STUDY, (f"{source} AND {inside}",), (uids,), condition)]
    return []


def _referring_probes(key: Criterion) -> list[Probe]:
    """`referring_key` begins with the alphabetic group, so only keys of that group narrow."""
    if key.kind not in (Match.SINGLE, Match.WILDCARD):
        return []
    group = key.values[0].split("=")[0]
    prefix = fold_group(literal(group)).rstrip("^ ")
    if not prefix or not prefix.isascii():
        return []
    sql = Sql()
    # A name may have this text in its second or third group: those lie after a '='.
    span = beginning(prefix).sql("s.referring_key", sql)
    other = f"strpos(s.referring_key, {sql.arg('=' + prefix)}) > 0"
    if "=" in key.values[0]:
        return [_study_probe(span, sql.values[:2])]
    source = "SELECT s.study_key AS k FROM study s WHERE s.tenant = $1 AND "
    both = f"({span} OR {other})"
    return [Probe(Level.STUDY, (source + both,), tuple(sql.values), both, scans=True)]


def shifted(text: str, by: int) -> str:
    """Placeholders $2, $3, … moved behind `by` parameters that come before them; $1 stays."""
    parts = text.split("$")
    moved = [parts[0]]
    for part in parts[1:]:
        digits = 0
        while digits < len(part) and part[digits].isdigit():
            digits += 1
        number = int(part[:digits])
        moved.append(f"{number if number == 1 else number + by}{part[digits:]}")
    return "$".join(moved)


def date_filters(asked: Plan, sql: Sql) -> list[str]:
    """Conditions on the study date, which is the order of the newest-first index itself."""
    stage = asked.stages[Level.STUDY]
    keys: list[Criterion | DateTimeRange] = [k for k in stage.keys if k.tag == STUDY_DATE]
    keys += [r for r in stage.combined if r.date_tag == STUDY_DATE]
    conditions = (date_filter("s.study_date", key, sql) for key in keys)
    return [condition for condition in conditions if condition]


def text_probes_of(asked: Plan) -> list[str]:
    """The words of the search box that are looked up."""
    stage = asked.stages[Level.STUDY]
    return text_tokens(stage.text)[:8]
