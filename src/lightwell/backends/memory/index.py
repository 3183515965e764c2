"""`ports.Index` in memory: hands everything to the matching engine and narrows nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import total_ordering
from typing import Any

from lightwell.access.context import Tenant
from lightwell.access.sight import EVERYTHING, Fact, Facts, Sight, Standing
from lightwell.backends.memory.tables import (
    InstanceRecord,
    MemoryDatabase,
    OverlayRecord,
    PatientRecord,
    QCRecord,
    SeriesRecord,
    StudyRecord,
    TenantTables,
)
from lightwell.domain.archive import finding
from lightwell.domain.archive.columns import (
    first,
    patient_columns,
    referrer,
    series_columns,
    study_columns,
)
from lightwell.domain.archive.finding import (
    InstanceEntry,
    PatientEntry,
    Position,
    SeriesEntry,
    StudyEntry,
    layered,
    visible_series,
)
from lightwell.domain.archive.keys import is_packed
from lightwell.domain.archive.model import (
    Allowance,
    AsideItem,
    Attributes,
    CommitmentRow,
    JSONElement,
    Known,
    KnownInstance,
    Level,
    Located,
    OverlayRow,
    RejectionRow,
    SeriesContents,
    SeriesPack,
    Target,
    Totals,
)
from lightwell.domain.archive.query import Found, Query
from lightwell.domain.patients.model import PatientFacts
from lightwell.domain.people.model import RelationKind
from lightwell.kernel.errors import Invalid
from lightwell.kernel.pages import Page

ReadAttributes = Callable[[Located], Attributes]


class MemoryIndex:
    """Reads of a `MemoryDatabase`."""

    def __init__(
        self, database: MemoryDatabase, read_attributes: ReadAttributes | None = None
    ) -> None:
        self._database = database
        self._read_attributes = read_attributes

    async def find(self, tenant: Tenant, query: Query, sight: Sight = EVERYTHING) -> Page[Found]:
        view = _View(self._database.of(tenant.key), sight)
        return await finding.find(query, _Candidates(view, query.order, self._read_attributes))

    async def known(
        self, tenant: Tenant, patient: PatientFacts, study_uid: str, sop_uid: str
    ) -> Known:
        tables = self._database.of(tenant.key)
        record = tables.patients.get(patient.key)
        study = tables.studies.get(study_uid)
        return Known(
            patient=record.facts if record else None,
            patient_now=_facts_now(record) if record else None,
            study_patient=study.patient if study else None,
            instances=tuple(_kept(tables, sop_uid)),
        )

    async def keeps(self, tenant: Tenant, sop_uids: list[str]) -> dict[str, list[KnownInstance]]:
        tables = self._database.of(tenant.key)
        found = {uid: _kept(tables, uid) for uid in sop_uids}
        return {uid: kept for uid, kept in found.items() if kept}

    async def inline(self, tenant: Tenant, blob_id: uuid.UUID) -> bytes | None:
        tables = self._database.of(tenant.key)
        landed = [r.landed for r in tables.instances.values()]
        landed += [r.row.landed for r in tables.qc.values()]
        return next((one.inline for one in landed if one.blob_id == blob_id), None)

    async def facts(self, tenant: Tenant, study_uid: str, standing: Standing) -> Facts | None:
        tables = self._database.of(tenant.key)
        study = tables.studies.get(study_uid)
        return _facts(tables, study, standing) if study else None

    async def sees(self, tenant: Tenant, target: Target, sight: Sight) -> bool:
        view = _View(self._database.of(tenant.key), sight)
        if target.level is Level.PATIENT:
            return any(study.patient == (target.issuer, target.pid) for study in view.seen())
        uid = target.study_uid
        if target.level is Level.INSTANCE:
            record = view.tables.instances.get(target.sop_uid)
            uid = record.facts.study_uid if record else ""
        return any(study.uid == uid for study in view.seen())

    async def locate(
        self,
        tenant: Tenant,
        study_uid: str,
        series_uid: str | None,
        sop_uid: str | None,
        sight: Sight = EVERYTHING,
    ) -> tuple[list[Located], str]:
        view = _View(self._database.of(tenant.key), sight)
        study = view.tables.studies.get(study_uid)
        if study is None or study not in view.seen():
            return [], ""
        found: list[Located] = []
        edits, versions, newest = 0, 0, 0
        for entry in view.series_of(study, shown_only=False):
            if series_uid not in (None, entry.uid):
                continue
            records = [r for r in view.instances_of(entry) if sop_uid in (None, r.facts.sop_uid)]
            found += [view.located(record, study, entry) for record in records]
            edits += sum(record.edit_version for record in records)
            versions += entry.version if records else 0
            newest = max(newest, *(record.key for record in records), 0)
        if not found:
            return [], ""
        return found, f"{view.version(study)}.{versions}.{edits}.{len(found)}.{newest}"

    async def contents(self, tenant: Tenant, study_uid: str, series_uid: str) -> SeriesContents:
        view = _View(self._database.of(tenant.key))
        study = view.tables.studies.get(study_uid)
        series = list(view.series_of(study, shown_only=False)) if study else []
        found = tuple(
            replace(view.located(record, study, entry), edits={}, version="")
            for entry in series
            if entry.uid == series_uid and study is not None
            for record in view.instances_of(entry, rejected=True)
        )
        packs = {one.landed.blob_id for one in found if is_packed(one.landed.key)}
        generations = [pack.generation for pack in view.tables.packs_of(study_uid, series_uid)]
        return SeriesContents(max(generations, default=0), len(packs), found)

    async def packs(
        self, tenant: Tenant, study_uid: str, series_uid: str | None
    ) -> list[SeriesPack]:
        return self._database.of(tenant.key).packs_of(study_uid, series_uid)

    async def version(self, tenant: Tenant, study_uid: str, series_uid: str | None) -> str:
        return (await self.locate(tenant, study_uid, series_uid, None))[1]

    async def overlays(self, tenant: Tenant, target: Target) -> list[OverlayRow]:
        return [edit for edit in await self.overlay_history(tenant, target) if not edit.undoes]

    async def overlay_history(self, tenant: Tenant, target: Target) -> list[OverlayRow]:
        records = _overlays_of(self._database.of(tenant.key), target.level, target.name)
        return [_overlay_row(record) for record in records]

    async def overlay(self, tenant: Tenant, edit_id: uuid.UUID) -> OverlayRow | None:
        record = self._database.of(tenant.key).overlays.get(edit_id)
        return _overlay_row(record) if record else None

    async def original(self, tenant: Tenant, target: Target) -> Attributes | None:
        record = self._record(tenant, target)
        return dict(record.original) if record else None

    async def effective(self, tenant: Tenant, target: Target) -> Attributes | None:
        record = self._record(tenant, target)
        return dict(record.attributes) if record else None

    def _record(
        self, tenant: Tenant, target: Target
    ) -> PatientRecord | StudyRecord | SeriesRecord | None:
        tables = self._database.of(tenant.key)
        if target.level is Level.PATIENT:
            return tables.patients.get((target.issuer, target.pid))
        if target.level is Level.STUDY:
            return tables.studies.get(target.study_uid)
        return tables.series.get((target.study_uid, target.series_uid))

    async def rejections(self, tenant: Tenant, study_uid: str) -> list[RejectionRow]:
        rows = [r.row for r in self._database.of(tenant.key).rejections.values() if not r.undone]
        mine = [row for row in rows if row.target.study_uid == study_uid]
        return sorted(mine, key=lambda row: (row.at, row.reject_id))

    async def aside(self, tenant: Tenant, limit: int, sight: Sight = EVERYTHING) -> list[AsideItem]:
        rows = [record.row for record in _View(self._database.of(tenant.key), sight).aside()]
        return [
            AsideItem(
                kind=row.kind,
                reason=row.reason,
                study_uid=row.instance.study_uid if row.instance else "",
                sop_uid=row.sop_uid,
                pid=row.patient.pid if row.patient else "",
                patient_name=row.patient.name if row.patient else "",
                source=row.source,
                first_seen=row.received,
                seen=1,
            )
            for row in rows[::-1][:limit]
        ]

    async def totals(self, tenant: Tenant, sight: Sight = EVERYTHING) -> Totals:
        tables = self._database.of(tenant.key)
        view = _View(tables, sight)
        seen = {study.uid: study for study in view.seen()}
        kinds = [record.row.kind for record in view.aside()]
        series = [entry for entry in tables.series.values() if entry.study_uid in seen]
        modalities = [series_columns(entry.attributes).modality for entry in series]
        instances = [r for r in tables.instances.values() if r.facts.study_uid in seen]
        patients = tables.patients if sight.everything else {s.patient for s in seen.values()}
        return Totals(
            patients=len(patients),
            studies=len(seen),
            series=len(series),
            instances=len(instances),
            bytes=sum(record.landed.length for record in instances),
            held=kinds.count("held"),
            candidates=kinds.count("candidate"),
            conflicts=kinds.count("conflict"),
            quarantined=kinds.count("quarantined"),
            rejected=sum(record.rejected is not None for record in instances),
            by_modality={name: modalities.count(name) for name in sorted(set(modalities))},
        )

    async def allowance(self, tenant: Tenant) -> Allowance:
        return allowance_of(self._database, tenant.key)

    async def due_commitments(self, tenant: Tenant, limit: int) -> list[CommitmentRow]:
        return self._database.of(tenant.key).commitments.values()[:limit]


def allowance_of(database: MemoryDatabase, tenant: int) -> Allowance:
    """What a tenant keeps and may."""
    tables = database.of(tenant)
    studies, size = database.quotas.get(tenant, (None, None))
    kept = [record.landed.length for record in tables.instances.values()]
    kept += [record.row.landed.length for record in tables.qc.values()]
    return Allowance(len(tables.studies), sum(kept), studies, size)


def _facts_now(record: PatientRecord) -> PatientFacts:
    columns = patient_columns(record.attributes)
    return replace(record.facts, name=columns.name, birth=columns.birth, sex=columns.sex)


def _kept(tables: TenantTables, sop_uid: str) -> list[KnownInstance]:
    found: list[KnownInstance] = []
    current = tables.instances.get(sop_uid)
    if current is not None:
        found.append(_known(current.facts, current.landed, "current", current.rejected))
    for record in tables.qc.values():
        row = record.row
        if row.sop_uid == sop_uid and row.kind != "quarantined":
            found.append(_known(row.instance, row.landed, row.kind, None))
    return found


def _known(facts: Any, landed: Any, state: str, rejected: str | None) -> KnownInstance:
    return KnownInstance(
        study_uid=facts.study_uid if facts else "",
        series_uid=facts.series_uid if facts else "",
        sha256=landed.sha256,
        key=landed.key,
        offset=landed.offset,
        length=landed.length,
        data_offset=landed.data_offset,
        inline=landed.inline is not None,
        state=state,
        rejected=rejected,
        sop_class=facts.sop_class if facts else "",
        blob_length=landed.blob_end,
        syntax=facts.syntax if facts else "",
        coded=landed.coded,
        kept_sha256=landed.kept.sha256 if landed.kept else None,
    )


def _overlays_of(tables: TenantTables, level: Level, name: str) -> list[OverlayRecord]:
    records = [
        record
        for record in tables.overlays.values()
        if (record.row.target.level, record.row.target.name) == (level, name)
    ]
    return sorted(records, key=lambda record: record.row.version)


def _overlay_row(record: OverlayRecord) -> OverlayRow:
    """As a database gives it back: what followed for the index is not kept with the edit."""
    row = replace(record.row, effective=None, edits_after=None)
    return replace(row, undoes=row.edit_id) if record.undone else row


def _facts(tables: TenantTables, study: StudyRecord, standing: Standing) -> Facts:
    """What is so of a study and somebody: the definitions that `backends/database/sighting.py` has as SQL."""
    relations = tables.relations_of(standing.person) if standing.person else []
    mine = {(relation.kind, relation.issuer, relation.name) for relation in relations}

    def by_itself(one: StudyRecord) -> bool:
        scheme, _, code = referrer(one.attributes).partition("\\")
        return (RelationKind.TREATS_STUDY, "", one.uid) in mine or (
            bool(scheme) and (RelationKind.REFERS_AS, scheme, code) in mine
        )

    series = [entry for entry in tables.series.values() if entry.study_uid == study.uid]
    modalities = {series_columns(entry.attributes).modality for entry in series}
    departments = {first(entry.attributes, "00081040") for entry in series}
    site = study_columns(study.attributes).institution
    is_so = {
        Fact.OWN: (RelationKind.IS, *study.patient) in mine,
        Fact.TREATED: (RelationKind.TREATS, *study.patient) in mine or by_itself(study),
        Fact.PRIOR: any(
            by_itself(other) for other in tables.studies.values() if other.patient == study.patient
        ),
        Fact.OPENED: study.patient in standing.opened,
        Fact.SENSITIVE: tables.sensitive.get(study.uid) is not None,
        Fact.IN_SITES: not standing.sites or site in standing.sites,
        Fact.IN_DEPARTMENTS: not standing.departments or bool(departments & standing.departments),
        Fact.IN_MODALITIES: not standing.modalities or bool(modalities & standing.modalities),
        Fact.IN_WINDOW: standing.since is None or study.received >= standing.since,
    }
    return frozenset(fact for fact in Fact if is_so[fact])


class _View:
    """The tables as entries, of the studies within a sight."""

    def __init__(self, tables: TenantTables, sight: Sight = EVERYTHING) -> None:
        self.tables = tables
        self._sight = sight
        self._by_series: dict[tuple[str, str], list[InstanceRecord]] = {}
        for record in tables.instances.values():
            place = (record.facts.study_uid, record.facts.series_uid)
            self._by_series.setdefault(place, []).append(record)
        self._places: dict[int, tuple[str, str]] = {}

    def seen(self) -> list[StudyRecord]:
        """The studies within the sight, oldest first."""
        studies = self.tables.studies.values()
        if self._sight.everything:
            return studies
        return [
            study
            for study in studies
            if all(p.shows(_facts(self.tables, study, p.standing)) for p in self._sight.parts)
        ]

    def aside(self) -> list[QCRecord]:
        """What is kept aside, oldest first: of the studies within the sight, or all."""
        records = self.tables.qc.values()
        if self._sight.everything:
            return records
        uids = {study.uid for study in self.seen()}
        return [r for r in records if r.row.instance and r.row.instance.study_uid in uids]

    def patient(self, record: PatientRecord) -> PatientEntry:
        return PatientEntry(
            key=record.key,
            issuer=record.facts.issuer,
            pid=record.facts.pid,
            name_key=patient_columns(record.attributes).name_key,
            attributes=dict(record.attributes),
            flags=record.flags,
            version=record.version,
        )

    def study(self, record: StudyRecord) -> StudyEntry:
        columns = study_columns(record.attributes)
        series = self.series_of(record, shown_only=False)
        shown = visible_series(series)
        held = sum(
            1
            for qc in self.tables.qc.values()
            if qc.row.kind == "held" and qc.row.instance and qc.row.instance.study_uid == record.uid
        )
        owner = self.tables.patients.get(record.patient)
        assert owner is not None  # the committer never writes a study without its patient
        return StudyEntry(
            key=record.key,
            uid=record.uid,
            date=columns.date,
            time=columns.time,
            patient=self.patient(owner),
            attributes=dict(record.attributes),
            series=shown,
            visible=sum(entry.visible for entry in shown),
            rejected=sum(entry.rejected for entry in series),
            held=held,
            outside=record.outside,
            version=record.version,
        )

    def series_of(self, study: StudyRecord, *, shown_only: bool) -> list[SeriesEntry]:
        found = []
        for record in self.tables.series.values():
            if record.study_uid != study.uid:
                continue
            place = (record.study_uid, record.uid)
            columns = series_columns(record.attributes)
            instances = self._by_series.get(place, [])
            rejected = sum(instance.rejected is not None for instance in instances)
            self._places[record.key] = place
            found.append(
                SeriesEntry(
                    key=record.key,
                    uid=record.uid,
                    modality=columns.modality,
                    number=columns.number,
                    visible=len(instances) - rejected,
                    rejected=rejected,
                    attributes=dict(record.attributes),
                    version=record.version,
                    cool=any(pack.cool for pack in self.tables.packs_of(*place)),
                )
            )
        if shown_only:
            return visible_series(found)
        return sorted(found, key=lambda entry: entry.order)

    def instances_of(self, series: SeriesEntry, *, rejected: bool = False) -> list[InstanceRecord]:
        """Visible ones in reading order, or all."""
        records = self._by_series.get(self._places[series.key], [])
        shown = [record for record in records if rejected or record.rejected is None]
        return sorted(
            shown,
            key=lambda r: (r.facts.number is None, r.facts.number or 0, r.facts.sop_uid),
        )

    def instance(self, record: InstanceRecord, series: SeriesEntry) -> InstanceEntry:
        facts = record.facts
        study = self.tables.studies.get(facts.study_uid)
        assert study is not None  # as above
        return InstanceEntry(
            series=series,
            sop_uid=facts.sop_uid,
            sop_class=facts.sop_class,
            syntax=facts.syntax,
            number=facts.number,
            rows=facts.rows,
            columns=facts.columns,
            bits=facts.bits,
            frames=facts.frames,
            edits=record.edits or {},
            edit_version=record.edit_version,
            located=lambda: self.located(record, study, series),
        )

    def version(self, study: StudyRecord) -> str:
        owner = self.tables.patients.get(study.patient)
        return f"{owner.version if owner else 0}.{study.version}"

    def located(self, record: InstanceRecord, study: StudyRecord, series: SeriesEntry) -> Located:
        facts = record.facts
        return Located(
            study_uid=study.uid,
            series_uid=series.uid,
            sop_uid=facts.sop_uid,
            sop_class=facts.sop_class,
            syntax=facts.syntax,
            number=facts.number,
            rows=facts.rows,
            columns=facts.columns,
            frames=facts.frames,
            landed=record.landed,
            pixel_offset=facts.pixel_offset,
            pixel_length=facts.pixel_length,
            pixel_tag=facts.pixel_tag,
            frame_index=facts.frame_index,
            edits=self._edits(record, study, series),
            version=f"{self.version(study)}.{series.version}.{record.edit_version}",
            modality=series.modality,
        )

    def _edits(
        self, record: InstanceRecord, study: StudyRecord, series: SeriesEntry
    ) -> dict[str, JSONElement | None]:
        """The overlays in force from patient to instance; the nearer level wins."""
        names = (
            (Level.PATIENT, "\\".join(study.patient)),
            (Level.STUDY, study.uid),
            (Level.SERIES, f"{study.uid}\\{series.uid}"),
        )
        above = [
            overlay.row.edits
            for level, name in names
            for overlay in _overlays_of(self.tables, level, name)
            if not overlay.undone
        ]
        return layered(*above, record.edits or {})


@total_ordering
class _Down:
    """A text that sorts the other way round."""

    def __init__(self, text: str | int | None) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Down) and self.text == other.text

    def __lt__(self, other: Any) -> bool:
        return bool(other.text < self.text)


def _place(position: Position, order: str) -> tuple[Any, ...]:
    """A position as a key that sorts in the query's order."""
    *name, date, time, uid = position
    if order == "StudyDate":
        return (date, time, _Down(uid))
    down = order.startswith("-")
    whose = [_Down(part) for part in name] if down else name
    return (*whose, _Down(date), _Down(time), uid)


class _Candidates:
    """`finding.Candidates` over a view."""

    def __init__(self, view: _View, order: str, read: ReadAttributes | None) -> None:
        self._view = view
        self._order = order
        self._read = read
        self._studies: list[StudyEntry] | None = None

    def _sorted(self) -> list[StudyEntry]:
        if self._studies is None:
            entries = [self._view.study(record) for record in self._view.seen()]
            shown = [entry for entry in entries if entry.visible > 0]
            self._studies = sorted(shown, key=lambda entry: _place(self._at(entry), self._order))
        return self._studies

    def _at(self, study: StudyEntry) -> Position:
        name: Position = [study.patient.name_key, study.patient.key]
        place: Position = [study.date, study.time, study.uid]
        return [*name, *place] if "PatientName" in self._order else place

    async def patients(self, after: Position | None, want: int) -> list[PatientEntry]:
        shown = {entry.patient.key: entry.patient for entry in self._sorted()}
        down = self._order == "-PatientName"
        ranked = sorted(shown.values(), key=lambda p: (p.name_key, p.key), reverse=down)
        if after is not None:
            place = (str(after[0]), int(after[1] or 0))
            ranked = [
                p
                for p in ranked
                if ((p.name_key, p.key) < place if down else (p.name_key, p.key) > place)
            ]
        return ranked[:want]

    async def studies(
        self, after: Position | None, want: int, *, inclusive: bool, skip: int, below: bool
    ) -> list[StudyEntry]:
        ranked = self._sorted()
        if after is not None:
            start = _place(after, self._order)
            ranked = [
                entry
                for entry in ranked
                if (place := _place(self._at(entry), self._order)) > start
                or (inclusive and place == start)
            ]
        return ranked[skip : skip + want]

    async def instances(
        self, series: Sequence[SeriesEntry], after: Position | None, want: int
    ) -> list[InstanceEntry]:
        found = [
            self._view.instance(record, entry)
            for entry in series
            for record in self._view.instances_of(entry)
        ]
        if after is not None:
            number, uid = after
            start = (number is None, int(number or 0), str(uid))
            found = [i for i in found if i.series is not series[0] or i.order > start]
        return found[:want]

    async def count_patients(self, patients: Sequence[PatientEntry]) -> None:
        for patient in patients:
            mine = [entry for entry in self._sorted() if entry.patient.key == patient.key]
            series = sum(len(entry.series) for entry in mine)
            patient.counts = (len(mine), series, sum(entry.visible for entry in mine))

    async def list_classes(self, studies: Sequence[StudyEntry]) -> None:
        for study in studies:
            records = [r for entry in study.series for r in self._view.instances_of(entry)]
            study.sop_classes = tuple(sorted({record.facts.sop_class for record in records}))

    async def headers(self, instances: Sequence[InstanceEntry]) -> list[Attributes]:
        if self._read is None:
            raise Invalid(
                "The query asks for attributes that are only in the image headers, and this index "
                "was given no way to read them.",
                remedy="Leave those attributes out.",
            )
        return [self._read(instance.located()) for instance in instances]
