"""A `Sight` as SQL on a study `s`: the condition that its kinds are, and the statements that list them. Pure.

What is listed drives a search like any other criterion with few matches (`narrowing.Probe`); what cannot be
listed is tested study by study, while the search walks an index. `$1` is the tenant, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightwell.access.sight import LIMITS, Fact, Kind, Sight, Standing
from lightwell.backends.database.arrival_columns import as_text
from lightwell.backends.database.narrowing import Probe, Sql, shifted
from lightwell.domain.archive.model import Level

# A study `t` that somebody treats by itself: named, or ordered by them. The code is put together behind a
# fence: beyond it is a plain value, which row-level security lets an index be asked for.
_NAMED = (
    "relation r JOIN study t ON t.tenant = $1 AND t.study_uid = r.name"
    " WHERE r.tenant = $1 AND r.person_id = {person} AND r.kind = 'treats-study'"
)
_ORDERED = (
    "(SELECT r.issuer || '\\' || r.name AS code FROM relation r"
    "  WHERE r.tenant = $1 AND r.person_id = {person} AND r.kind = 'refers-as' OFFSET 0) c"
    " JOIN study t ON t.tenant = $1 AND t.referrer <> '' AND t.referrer COLLATE \"C\" = c.code"
    " WHERE true"
)
# A patient `q` that somebody is, or treats.
_PATIENT = (
    "relation r JOIN patient q ON q.tenant = $1 AND q.issuer = r.issuer AND q.pid = r.name"
    " WHERE r.tenant = $1 AND r.person_id = {person} AND r.kind = '{kind}'"
)
_OPENED = (
    "unnest({issuers}::text[], {pids}::text[]) o(issuer, pid)"
    " JOIN patient q ON q.tenant = $1 AND q.issuer = o.issuer AND q.pid = o.pid WHERE true"
)
# Of a person's relation to the study at hand, by its own columns: one look into the index of relations.
_IS_NAMED = (
    "EXISTS (SELECT 1 FROM relation r WHERE r.tenant = $1 AND r.person_id = {person}"
    " AND r.kind = 'treats-study' AND r.issuer = '' AND r.name = s.study_uid)"
)
_IS_ORDERED = (
    "EXISTS (SELECT 1 FROM relation r WHERE r.tenant = $1 AND r.person_id = {person}"
    " AND r.kind = 'refers-as' AND r.issuer || '\\' || r.name = s.referrer)"
)


@dataclass(slots=True)
class _Words:
    """Facts in SQL, their parameters appended to one statement's, each once."""

    standing: Standing
    sql: Sql
    _person: str = ""
    _opened: tuple[str, str] | None = None

    @property
    def person(self) -> str:
        if not self._person:
            self._person = f"{self.sql.arg(self.standing.person)}::uuid"
        return self._person

    @property
    def opened(self) -> str:
        if self._opened is None:
            pairs = sorted(self.standing.opened)
            issuers = self.sql.arg([as_text(issuer) for issuer, _ in pairs])
            self._opened = issuers, self.sql.arg([as_text(pid) for _, pid in pairs])
        return _OPENED.format(issuers=self._opened[0], pids=self._opened[1])

    def patients(self, kind: str) -> str:
        return _PATIENT.format(person=self.person, kind=kind)

    # -- conditions on `s` -------------------------------------------------------------------------

    def own(self) -> str:
        return _of_patient(self.patients("is"))

    def treated(self) -> str:
        person = self.person
        return (
            f"({_of_patient(self.patients('treats'))} OR {_IS_NAMED.format(person=person)}"
            f" OR {_IS_ORDERED.format(person=person)})"
        )

    def prior(self) -> str:
        person = self.person
        same = " AND t.patient_key = s.patient_key"
        return (
            f"(EXISTS (SELECT 1 FROM {_NAMED.format(person=person)}{same})"
            f" OR EXISTS (SELECT 1 FROM {_ORDERED.format(person=person)}{same}))"
        )

    def of_opened(self) -> str:
        return _of_patient(self.opened)

    def sensitive(self) -> str:
        return (
            "EXISTS (SELECT 1 FROM sensitive_study v"
            " WHERE v.tenant = $1 AND v.study_uid = s.study_uid)"
        )

    def in_sites(self) -> str:
        return self._limited(self.standing.sites, 's.institution COLLATE "C" = ANY({})')

    def in_departments(self) -> str:
        inside = 'e.department COLLATE "C" = ANY({})'
        return self._limited(self.standing.departments, _in_series(inside))

    def in_modalities(self) -> str:
        inside = 'e.modality COLLATE "C" = ANY({})'
        return self._limited(self.standing.modalities, _in_series(inside))

    def in_window(self) -> str:
        since = self.standing.since
        return "true" if since is None else f"s.received >= {self.sql.arg(since)}::timestamptz"

    def _limited(self, values: frozenset[str], condition: str) -> str:
        if not values:
            return "true"
        return condition.format(f"{self.sql.arg([as_text(v) for v in sorted(values)])}::text[]")

    def fact(self, fact: Fact) -> str:
        return _CONDITIONS[fact](self)

    def kind(self, kind: Kind) -> str:
        words = [self.fact(fact) for fact in Fact if fact in kind.has]
        words += [f"NOT {self.fact(fact)}" for fact in Fact if fact in kind.lacks]
        return " AND ".join(words) or "true"

    # -- statements that list ------------------------------------------------------------------------

    def listing(self, fact: Fact) -> tuple[str, ...]:
        """Statements that list the keys `k` of all studies of a fact, each from an index."""
        match fact:
            case Fact.OWN:
                return (_studies_of(self.patients("is")),)
            case Fact.TREATED:
                named, ordered = self._by_itself()
                return (
                    _studies_of(self.patients("treats")),
                    f"SELECT t.study_key AS k FROM {named}",
                    f"SELECT t.study_key AS k FROM {ordered}",
                )
            case Fact.PRIOR:
                return tuple(
                    "SELECT s.study_key AS k FROM"
                    f" (SELECT t.patient_key FROM {which} OFFSET 0) o"
                    " JOIN study s ON s.tenant = $1 AND s.patient_key = o.patient_key"
                    for which in self._by_itself()
                )
            case Fact.OPENED:
                return (_studies_of(self.opened),)
            case Fact.SENSITIVE:
                return (
                    "SELECT s.study_key AS k FROM sensitive_study v JOIN study s"
                    " ON s.tenant = $1 AND s.study_uid = v.study_uid WHERE v.tenant = $1",
                )
            case Fact.IN_SITES:
                return self._each(
                    self.standing.sites, "study s WHERE s.tenant = $1", "s.institution"
                )
            case Fact.IN_DEPARTMENTS:
                filled = "series s WHERE s.tenant = $1 AND s.department <> ''"
                return self._each(self.standing.departments, filled, "s.department")
            case Fact.IN_MODALITIES:
                return self._each(
                    self.standing.modalities, "series s WHERE s.tenant = $1", "s.modality"
                )

            case Fact.IN_WINDOW:
                raise ValueError("a window is most of an archive: it is tested, never listed")

    def _by_itself(self) -> tuple[str, str]:
        return _NAMED.format(person=self.person), _ORDERED.format(person=self.person)

    def _each(self, values: frozenset[str], source: str, column: str) -> tuple[str, ...]:
        """A statement a value: each study once, in the order of the index."""
        return tuple(
            f"SELECT DISTINCT s.study_key AS k FROM {source}"
            f' AND {column} COLLATE "C" = {self.sql.arg(value)}'
            for value in sorted(values)
        )


_CONDITIONS: dict[Fact, Callable[[_Words], str]] = {
    Fact.OWN: _Words.own,
    Fact.TREATED: _Words.treated,
    Fact.PRIOR: _Words.prior,
    Fact.OPENED: _Words.of_opened,
    Fact.SENSITIVE: _Words.sensitive,
    Fact.IN_SITES: _Words.in_sites,
    Fact.IN_DEPARTMENTS: _Words.in_departments,
    Fact.IN_MODALITIES: _Words.in_modalities,
    Fact.IN_WINDOW: _Words.in_window,
}


def _of_patient(patients: str) -> str:
    return f"EXISTS (SELECT 1 FROM {patients} AND q.patient_key = s.patient_key)"


def _in_series(inside: str) -> str:
    return f"EXISTS (SELECT 1 FROM series e WHERE e.tenant = $1 AND e.study_key = s.study_key AND {inside})"


def _studies_of(patients: str) -> str:
    return (
        f"SELECT s.study_key AS k FROM (SELECT q.patient_key FROM {patients} OFFSET 0) o"
        " JOIN study s ON s.tenant = $1 AND s.patient_key = o.patient_key"
    )


@dataclass(frozen=True, slots=True)
class Listing:
    """Statements that list study keys `k`, and their parameters from `$2` on. `few`: by somebody's relations,
    not by an institution, department or modality, which may be half the archive."""

    sources: tuple[str, ...]
    values: tuple[Any, ...]
    few: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What somebody sees, as SQL. `condition` on `s` is exact and takes `values` from `$2` on; `listing` has
    all that meet it and perhaps more, None when there are too many to list."""

    condition: str
    values: tuple[Any, ...]
    listing: Listing | None

    def probe(self, level: Level) -> Probe | None:
        """The listing as a probe of a query at this level. The condition is tested besides."""
        if self.listing is None:
            return None
        sources, values = self.listing.sources, self.listing.values
        if level is not Level.PATIENT:
            return Probe(Level.STUDY, sources, values, "true", as_set=True)
        patients = tuple(
            f"SELECT g.patient_key AS k FROM ({source}) l"
            " JOIN study g ON g.tenant = $1 AND g.study_key = l.k"
            for source in sources
        )
        return Probe(Level.PATIENT, patients, values, "true", as_set=True)

    def narrowed(self) -> tuple[str, tuple[Any, ...]]:
        """A condition on `s` that reads only what is listed, where that is few, and its parameters."""
        if self.listing is None or not self.listing.few:
            return self.condition, self.values
        union = " UNION ALL ".join(self.listing.sources)
        exact = shifted(self.condition, len(self.listing.values))
        return (
            f"s.study_key = ANY(ARRAY(SELECT u.k FROM ({union}) u)) AND {exact}",
            self.listing.values + self.values,
        )


def seen_of(sight: Sight) -> Seen | None:
    """A sight as SQL; None for everything, which needs none."""
    if sight.everything:
        return None
    sql = Sql()
    parts = " AND ".join(_condition(part, sql) for part in sight.parts)
    # What every part shows is among what any of them lists.
    listings = [_listing(part) for part in sight.parts]
    listing = next((one for one in listings if one is not None), None)
    return Seen(f"({parts})", tuple(sql.values), None if sight.nothing else listing)


def _condition(part: Sight, sql: Sql) -> str:
    words = _Words(part.standing, sql)
    return f"({' OR '.join(f'({words.kind(kind)})' for kind in part.kinds) or 'false'})"


# The rarest first: the first of these that all studies of a kind have lists the kind.
_RAREST = (
    Fact.OWN,
    Fact.OPENED,
    Fact.TREATED,
    Fact.PRIOR,
    Fact.SENSITIVE,
    Fact.IN_SITES,
    Fact.IN_DEPARTMENTS,
    Fact.IN_MODALITIES,
)


def _listing(sight: Sight) -> Listing | None:
    """None where a kind has no fact, only lacks some: that is most studies. None also for no kind."""
    if sight.nothing:
        return None
    words = _Words(sight.standing, Sql())
    sources: list[str] = []
    chosen: set[Fact] = set()
    for kind in sight.kinds:
        rarest = next((fact for fact in _RAREST if fact in kind.has), None)
        if rarest is None:
            return None
        if rarest not in chosen:
            sources += words.listing(rarest)
        chosen.add(rarest)
    return Listing(tuple(sources), tuple(words.sql.values), few=not chosen & LIMITS)


def facts_of(standing: Standing) -> tuple[str, tuple[Any, ...]]:
    """The facts of a study `s`, a truth each in the order of `Fact`, and their parameters."""
    words = _Words(standing, Sql())
    columns = ", ".join(f"{words.fact(fact)} AS f{place}" for place, fact in enumerate(Fact))
    return columns, tuple(words.sql.values)
