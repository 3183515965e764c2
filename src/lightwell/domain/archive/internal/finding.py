"""How a query is answered: an index hands over candidates in order, this decides which match.

The index (`Candidates`) may narrow with whatever it has; it must hand over every entity that could
match, in the query's order, visible ones only. Matching, paging, offsets and cursors are decided here
alone, so that the memory index, PostgreSQL and whatever comes later give the same answer.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from lightwell.domain.archive.internal.entries import (
    COMPUTED,
    INSTANCE_COLUMNS,
    MODALITIES,
    MODALITY,
    PATIENT_INSTANCES,
    PATIENT_SERIES,
    PATIENT_STUDIES,
    SOP_CLASSES,
    InstanceEntry,
    PatientEntry,
    SeriesEntry,
    StudyEntry,
    found_instance,
    found_patient,
    found_series,
    found_study,
    instance_attributes,
    patient_attributes,
    series_attributes,
    study_attributes,
)
from lightwell.domain.archive.internal.matching import (
    criterion,
    matches_all,
    matches_range,
    matches_text,
)
from lightwell.domain.archive.levels import level_of
from lightwell.domain.archive.model import Attributes, Level
from lightwell.domain.archive.query import Criterion, DateTimeRange, Found, Match, Query
from lightwell.kernel.errors import Busy, Invalid
from lightwell.kernel.pages import Page, decode_cursor, encode_cursor

HEADERS_LIMIT = 2000  # headers one query may read: attributes that the index does not keep
HEADERS_AT_ONCE = 100
SECONDS_LIMIT = 10.0  # of one query, all its statements together (reliability 3.11)
CHUNK_LIMIT = 2000  # candidates taken from the index at once

ORDERS = ("-StudyDate", "StudyDate", "PatientName", "-PatientName")
_DEPTH = {Level.PATIENT: 0, Level.STUDY: 1, Level.SERIES: 2, Level.INSTANCE: 3}
_AVAILABILITY = 0x00080056  # computed at every level below the patient
_COUNTS = frozenset({PATIENT_STUDIES, PATIENT_SERIES, PATIENT_INSTANCES})

Position = list[str | int | None]


# --- what is asked, by level ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stage:
    """What one level decides."""

    keys: tuple[Criterion, ...] = ()
    combined: tuple[DateTimeRange, ...] = ()
    text: str = ""

    def accepts(self, attributes: Attributes) -> bool:
        return (
            matches_all(self.keys, attributes)
            and all(matches_range(key, attributes) for key in self.combined)
            and (not self.text or matches_text(self.text, attributes))
        )

    @property
    def is_open(self) -> bool:
        return not self.keys and not self.combined and not self.text.strip()


@dataclass(frozen=True, slots=True)
class Plan:
    """A query taken apart: which keys each level decides, and what must be looked up for it."""

    query: Query
    stages: dict[Level, Stage]
    header: Stage  # decided by an instance's own header, which the index does not keep
    impossible: bool  # a key asks for an attribute that this level cannot have: nothing matches
    wants_headers: bool  # the answer shows attributes that only headers have
    wants_counts: bool
    wants_classes: bool

    @property
    def is_open(self) -> bool:
        """Nothing to decide: whatever is visible matches."""
        return self.header.is_open and all(stage.is_open for stage in self.stages.values())


def plan(query: Query) -> Plan:
    """Take a query apart. A key is decided at its attribute's level, or at the query's if that is higher.

    Raises Invalid for an unknown order.
    """
    if query.order not in ORDERS:
        raise Invalid(
            f"Results cannot be sorted by {query.order[:40]!r}.",
            remedy=f"Sort by one of {', '.join(ORDERS)}.",
        )
    wanted = _wanted_keys(query)
    in_header = [k for k in wanted if _only_in_header(k.tag)]
    header_ranges = [r for r in query.combined if _only_in_header(r.date_tag)]
    below = query.level is Level.INSTANCE
    stages = {
        level: Stage(
            tuple(k for k in wanted if k not in in_header and _home(k.tag, query.level) is level),
            tuple(
                r
                for r in query.combined
                if r not in header_ranges and _home(r.date_tag, query.level) is level
            ),
            query.text if level is min(Level.STUDY, query.level, key=_DEPTH.__getitem__) else "",
        )
        for level in Level
    }
    asked = query.include | {key.tag for key in query.criteria}
    return Plan(
        query=query,
        stages=stages,
        header=Stage(tuple(in_header), tuple(header_ranges)) if below else Stage(),
        impossible=any(_is_out_of_reach(key, query.level) for key in wanted)
        or (bool(header_ranges) and not below),
        wants_headers=below
        and (query.include_all or any(_only_in_header(tag) for tag in query.include)),
        wants_counts=bool(asked & _COUNTS) or query.include_all,
        wants_classes=SOP_CLASSES in asked,
    )


def _wanted_keys(query: Query) -> list[Criterion]:
    keys = [_at_level(key, query.level) for key in query.criteria if key.kind is not Match.EXISTS]
    if query.modality:
        below = query.level in (Level.SERIES, Level.INSTANCE)
        keys.append(criterion(MODALITY if below else MODALITIES, "CS", query.modality))
    return keys


def _at_level(key: Criterion, level: Level) -> Criterion:
    """Many clients ask for studies by Modality: what they mean is Modalities in Study."""
    if key.tag == MODALITY and level is Level.STUDY:
        return replace(key, tag=MODALITIES)
    return key


def _home(tag: int, level: Level) -> Level:
    """The level that decides a key of a query at `level`."""
    home = COMPUTED.get(tag) or level_of(tag)
    return home if _DEPTH[home] <= _DEPTH[level] else level


def _only_in_header(tag: int) -> bool:
    return tag not in COMPUTED and tag not in INSTANCE_COLUMNS and level_of(tag) is Level.INSTANCE


def _is_out_of_reach(key: Criterion, level: Level) -> bool:
    """Does the key ask for a value of a level below? It would be absent everywhere."""
    home = COMPUTED.get(key.tag) or level_of(key.tag)
    if key.tag == _AVAILABILITY or _DEPTH[home] <= _DEPTH[level]:
        return False
    return key.kind is not Match.EMPTY and not any(k.kind is Match.EMPTY for k in key.items)


# --- candidates -----------------------------------------------------------------------------------


class Candidates(Protocol):
    """What an index must be able to hand over for one query of one tenant."""

    async def patients(self, after: Position | None, want: int) -> list[PatientEntry]:
        """Visible patients beyond the position [name_key, patient_key]; fewer than `want` = the end."""

    async def studies(
        self, after: Position | None, want: int, *, inclusive: bool, skip: int, below: bool
    ) -> list[StudyEntry]:
        """Visible studies beyond (or from) the position; fewer than `want` = the end.

        `skip` leaves out that many first; `below` asks for series attributes too.
        """

    async def instances(
        self, series: Sequence[SeriesEntry], after: Position | None, want: int
    ) -> list[InstanceEntry]:
        """Visible instances of these series in reading order, beyond [number, sop_uid] in the first."""

    async def count_patients(self, patients: Sequence[PatientEntry]) -> None:
        """Fill `counts`."""

    async def list_classes(self, studies: Sequence[StudyEntry]) -> None:
        """Fill `sop_classes`."""

    async def headers(self, instances: Sequence[InstanceEntry]) -> list[Attributes]:
        """The original attributes of each instance, read from its object."""


@dataclass(slots=True)
class _Budget:
    """What one query may cost."""

    ends: float
    headers: int = HEADERS_LIMIT

    def check(self) -> None:
        if time.monotonic() > self.ends:
            raise Busy(
                "The query took longer than 10 seconds and was stopped.",
                remedy="Narrow it: a date range, a patient ID or an accession number.",
            )

    def take_headers(self, count: int) -> None:
        self.headers -= count
        if self.headers < 0:
            raise Busy(
                f"The query would have to read more than {HEADERS_LIMIT} image headers, because it "
                "asks for attributes that are not indexed.",
                remedy="Name the study or the series, or leave the unindexed keys out.",
            )


# --- the search -----------------------------------------------------------------------------------


async def find(query: Query, candidates: Candidates) -> Page[Found]:
    """Answer one query. Raises Invalid (cursor, order), Busy (too much work for one query)."""
    asked = plan(query)
    if asked.impossible:
        return Page(())
    after = _decoded(query)
    skip = 0 if query.cursor else query.offset
    limit = query.limit
    if asked.wants_headers or not asked.header.is_open:
        limit = min(limit, HEADERS_LIMIT - HEADERS_AT_ONCE)
    search = _Search(asked, candidates, _Budget(time.monotonic() + SECONDS_LIMIT), limit + 1)
    if asked.is_open and query.level is Level.STUDY:
        matched = search.studies(after, skip)
        skip = 0
    else:
        matched = search.walk(after)
    found: list[Found] = []
    last: Position | None = None
    async for position, answer in matched:
        if skip:
            skip -= 1
            continue
        if len(found) == limit:
            return Page(tuple(found), encode_cursor(last or []))
        found.append(answer)
        last = position
    return Page(tuple(found))


def _decoded(query: Query) -> Position | None:
    """The query's cursor, each part of its type: it came from outside and goes into statements."""
    if not query.cursor:
        return None
    kinds = _CURSOR_KINDS[query.level]
    if query.level is not Level.PATIENT and "PatientName" in query.order:
        kinds = _CURSOR_KINDS[Level.PATIENT] + kinds
    position = decode_cursor(query.cursor, len(kinds))
    if not all(_KINDS[kind](part) for kind, part in zip(kinds, position, strict=True)):
        raise Invalid(
            "The page cursor belongs to another query.", remedy="Start again from the first page."
        )
    return position


# What the parts of a cursor are: [t]ext, row [k]ey, [n]umber of a series or instance or none.
_CURSOR_KINDS = {
    Level.PATIENT: "tk",
    Level.STUDY: "ttt",
    Level.SERIES: "tttnt",
    Level.INSTANCE: "tttntnt",
}
_KINDS: dict[str, Callable[[str | int | None], bool]] = {
    "t": lambda part: isinstance(part, str),
    "k": lambda part: type(part) is int and 0 <= part < 2**62,
    "n": lambda part: part is None or (type(part) is int and -(2**31) <= part < 2**31),
}


def study_position(study: StudyEntry, order: str) -> Position:
    """Where a study stands in an order."""
    place: Position = [study.date, study.time, study.uid]
    if "PatientName" in order:
        return [study.patient.name_key, study.patient.key, *place]
    return place


Matched = AsyncIterator[tuple[Position, Found]]


@dataclass(slots=True)
class _Search:
    plan: Plan
    candidates: Candidates
    budget: _Budget
    want: int

    def walk(self, after: Position | None) -> Matched:
        level = self.plan.query.level
        if level is Level.PATIENT:
            return self.patients(after)
        if level is Level.STUDY:
            return self.studies(after, 0)
        return self.series(after) if level is Level.SERIES else self.instances(after)

    async def patients(self, after: Position | None) -> Matched:
        want = self.want
        while True:
            chunk = await self.candidates.patients(after, want)
            if self.plan.wants_counts:
                await self.candidates.count_patients(chunk)
            for patient in chunk:
                if self._accepts(Level.PATIENT, patient_attributes(patient)):
                    yield [patient.name_key, patient.key], found_patient(patient)
            if len(chunk) < want:
                return
            after = [chunk[-1].name_key, chunk[-1].key]
            want = self._next(want)

    async def studies(self, after: Position | None, skip: int) -> Matched:
        async for study, attributes in self._studies(after, skip, inclusive=False):
            yield study_position(study, self.plan.query.order), found_study(study, attributes)

    async def series(self, after: Position | None) -> Matched:
        base, within = self._split(after, 2)
        async for study, above in self._studies(base, 0, inclusive=True):
            position = study_position(study, self.plan.query.order)
            beyond = _beyond(within) if position == base else None
            for series, attributes in self._series_of(study, above):
                if beyond is None or series.order > beyond:
                    place = [*position, series.number, series.uid]
                    yield place, found_series(study, series, attributes)

    async def instances(self, after: Position | None) -> Matched:
        base, within = self._split(after, 4)
        async for study, above in self._studies(base, 0, inclusive=True):
            position = study_position(study, self.plan.query.order)
            series = list(self._series_of(study, above))
            start: Position | None = None
            if position == base and within is not None:
                first = _beyond(within[:2])
                series = [(s, a) for s, a in series if first is None or s.order >= first]
                if series and series[0][0].order == first:
                    start = within[2:]
            async for instance, attributes in self._instances_of(series, start):
                owner = instance.series
                place = [*position, owner.number, owner.uid, instance.number, instance.sop_uid]
                yield place, found_instance(study, instance, attributes)

    # -- one level down --------------------------------------------------------------------------

    async def _studies(
        self, after: Position | None, skip: int, *, inclusive: bool
    ) -> AsyncIterator[tuple[StudyEntry, Attributes]]:
        """Studies that the patient and study keys accept."""
        level = self.plan.query.level
        below = level in (Level.SERIES, Level.INSTANCE)
        want = min(self.want, 50) if below else self.want
        while True:
            chunk = await self.candidates.studies(
                after, want, inclusive=inclusive, skip=skip, below=below
            )
            if self.plan.wants_classes:
                await self.candidates.list_classes(chunk)
            if self.plan.wants_counts:
                await self.candidates.count_patients([study.patient for study in chunk])
            for study in chunk:
                attributes = study_attributes(study)
                if self._accepts(Level.PATIENT, attributes) and self._accepts(
                    Level.STUDY, attributes
                ):
                    yield study, attributes
            if len(chunk) < want:
                return
            after = study_position(chunk[-1], self.plan.query.order)
            inclusive, skip, want = False, 0, self._next(want)

    def _series_of(
        self, study: StudyEntry, above: Attributes
    ) -> list[tuple[SeriesEntry, Attributes]]:
        pairs = [(series, series_attributes(above, series)) for series in study.series]
        return [pair for pair in pairs if self._accepts(Level.SERIES, pair[1])]

    async def _instances_of(
        self, series: list[tuple[SeriesEntry, Attributes]], after: Position | None
    ) -> AsyncIterator[tuple[InstanceEntry, Attributes]]:
        above = {entry.key: attributes for entry, attributes in series}
        for group in _grouped([entry for entry, _ in series], self.want):
            while True:
                self.budget.check()
                chunk = await self.candidates.instances(group, after, self.want)
                async for pair in self._matching(chunk, above):
                    yield pair
                if len(chunk) < self.want:
                    break
                last = chunk[-1]
                group = [entry for entry in group if entry.order >= last.series.order]
                after = [last.number, last.sop_uid]
            after = None

    async def _matching(
        self, chunk: list[InstanceEntry], above: dict[int, Attributes]
    ) -> AsyncIterator[tuple[InstanceEntry, Attributes]]:
        asked = self.plan
        kept = []
        for instance in chunk:
            attributes = instance_attributes(above[instance.series.key], instance)
            if self._accepts(Level.INSTANCE, attributes):
                kept.append((instance, attributes))
        if not kept or not (asked.wants_headers or not asked.header.is_open):
            for pair in kept:
                yield pair
            return
        for start in range(0, len(kept), HEADERS_AT_ONCE):  # whoever has a full page stops here
            async for pair in self._with_headers(kept[start : start + HEADERS_AT_ONCE], above):
                yield pair

    async def _with_headers(
        self, kept: list[tuple[InstanceEntry, Attributes]], above: dict[int, Attributes]
    ) -> AsyncIterator[tuple[InstanceEntry, Attributes]]:
        self.budget.check()
        self.budget.take_headers(len(kept))
        headers = await self.candidates.headers([instance for instance, _ in kept])
        for (instance, _), header in zip(kept, headers, strict=True):
            whole = instance_attributes(above[instance.series.key], instance, header)
            if self.plan.header.accepts(whole):
                yield instance, whole

    def _accepts(self, level: Level, attributes: Attributes) -> bool:
        return self.plan.stages[level].accepts(attributes)

    def _next(self, want: int) -> int:
        """Few matched so far: take larger steps, within the time there is."""
        self.budget.check()
        return min(want * 2, CHUNK_LIMIT) if want < CHUNK_LIMIT else want

    @staticmethod
    def _split(after: Position | None, tail: int) -> tuple[Position | None, Position | None]:
        return (None, None) if after is None else (after[:-tail], after[-tail:])


def _beyond(within: Position | None) -> tuple[bool, int, str] | None:
    """A cursor's [number, UID] as the order that entries are compared by."""
    if within is None:
        return None
    number, uid = within
    return (number is None, number if isinstance(number, int) else 0, str(uid))


def _grouped(series: list[SeriesEntry], want: int) -> list[list[SeriesEntry]]:
    """Neighbouring series together until they hold about a page: one-image series are many."""
    groups: list[list[SeriesEntry]] = []
    room = 0
    for entry in series:
        if room <= 0:
            groups.append([])
            room = want
        groups[-1].append(entry)
        room -= max(1, entry.visible)
    return groups
