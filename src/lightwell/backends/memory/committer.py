"""`access.commit.Committer` in memory: the same rules as the database's, in readable form."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from lightwell.access.commit import (
    ChangeSet,
    CommitCounters,
    Committed,
    FactsChanged,
    committed,
)
from lightwell.backends.memory.people import PEOPLE_WRITERS
from lightwell.backends.memory.tables import (
    InstanceRecord,
    LeaseRecord,
    MemoryDatabase,
    OverlayRecord,
    PatientRecord,
    QCRecord,
    RejectionRecord,
    SeriesRecord,
    StudyRecord,
    TenantTables,
)
from lightwell.domain.archive.finding import present
from lightwell.domain.archive.keys import DERIVED, PACK, blob_key
from lightwell.domain.archive.model import (
    ArrivalRow,
    Attributes,
    CommitmentRow,
    Derived,
    LeaseRow,
    LeaseUseRow,
    Level,
    OverlayRow,
    PackClassRow,
    PackRow,
    QCRow,
    RejectionRow,
    RepairRow,
    SeenAgainRow,
    SensitiveRow,
    SeriesPack,
    Target,
    WithdrawRow,
)
from lightwell.domain.patients.model import completed

Durable = Callable[[ChangeSet], Awaitable[None]]


async def _at_once(change: ChangeSet) -> None:
    """The default: memory is as durable as it gets."""


class MemoryCommitter:
    """One "process" on a `MemoryDatabase`. Dropped by a simulated crash; the database stays.

    `durable` is awaited between writing and publishing, where a real database waits for its log: a
    simulator may wait, fail or crash there, and the change is then lost whole. Any exception it raises
    rolls back and goes to the caller.
    """

    def __init__(self, database: MemoryDatabase, *, durable: Durable = _at_once) -> None:
        self.counters = CommitCounters()
        self.database = database
        self._durable = durable
        self._writing = asyncio.Lock()

    async def commit(self, change: ChangeSet) -> Committed:
        """See `access.commit.Committer`."""
        async with self._writing:
            tables = self.database.of(change.tenant.key)
            try:
                inserted = self._write(tables, change)
                await self._durable(change)
            except BaseException:
                tables.drop()
                raise
            tables.publish()
        self.counters.changes += 1
        self.counters.groups += 1
        return committed(inserted)

    def note(self, change: ChangeSet) -> None:
        """Written at once when no commit is under way, else with the next one."""
        tables = self.database.of(change.tenant.key)
        self._write(tables, change)
        if not self._writing.locked():
            tables.publish()

    def _write(self, tables: TenantTables, change: ChangeSet) -> bool:
        inserted = False
        for row in change.rows:
            writer = _WRITERS.get(type(row), _other)
            inserted = writer(self.database, tables, row) or inserted
        for event in change.events:
            tables.events.put(self.database.next_key(), event)
        for record in change.audit:
            tables.audit.put(self.database.next_key(), record)
        return inserted or not change.rows


# --- arrivals -------------------------------------------------------------------------------------


def _arrival(database: MemoryDatabase, tables: TenantTables, row: ArrivalRow) -> bool:
    facts = row.described.instance
    if not row.known_parents:
        _put_patient(database, tables, row)
        _put_study(database, tables, row)
        _put_series(database, tables, row)
    study = tables.studies.draft(facts.study_uid)
    if study is None or study.patient != row.patient.key:
        raise FactsChanged("the study is another patient's by now")
    if tables.series.draft((facts.study_uid, facts.series_uid)) is None:
        raise FactsChanged("the series is gone")
    if tables.instances.draft(facts.sop_uid) is not None:
        raise FactsChanged("the index knows more by now")
    record = InstanceRecord(
        database.next_key(), facts, row.landed, received=row.received, source=row.source
    )
    tables.instances.put(facts.sop_uid, record)
    return True


def _put_patient(database: MemoryDatabase, tables: TenantTables, row: ArrivalRow) -> None:
    arrived = row.described.patient_attributes
    old = tables.patients.draft(row.patient.key)
    if old is None:
        record = PatientRecord(database.next_key(), row.patient, arrived, arrived, row.flags)
        tables.patients.put(row.patient.key, record)
        return
    facts = completed(old.facts, row.patient)
    if facts != row.patient:
        raise FactsChanged("the patient is known otherwise by now")
    told = {tag for tag, element in old.original.items() if element.get("Value")}
    said = {
        tag: element
        for tag, element in arrived.items()
        if tag not in old.original or (tag not in told and element.get("Value"))
    }
    original = {**old.original, **said}
    target = Target(Level.PATIENT, issuer=row.patient.issuer, pid=row.patient.pid)
    tables.patients.put(
        row.patient.key,
        replace(
            old,
            facts=facts,
            original=original,
            attributes=_effective(tables, target, original),
            flags=tuple(sorted({*old.flags, *row.flags})),
        ),
    )


def _put_study(database: MemoryDatabase, tables: TenantTables, row: ArrivalRow) -> None:
    uid, arrived = row.described.instance.study_uid, row.described.study_attributes
    old = tables.studies.draft(uid)
    if old is None:
        record = StudyRecord(
            database.next_key(), uid, row.patient.key, arrived, arrived, row.outside, row.received
        )
    else:
        original = {**arrived, **old.original}
        effective = _effective(tables, Target(Level.STUDY, study_uid=uid), original)
        record = replace(old, original=original, attributes=effective)
    tables.studies.put(uid, record)


def _put_series(database: MemoryDatabase, tables: TenantTables, row: ArrivalRow) -> None:
    facts, arrived = row.described.instance, row.described.series_attributes
    place = (facts.study_uid, facts.series_uid)
    old = tables.series.draft(place)
    if old is None:
        record = SeriesRecord(database.next_key(), *place, arrived, arrived)
    else:
        original = {**arrived, **old.original}
        target = Target(Level.SERIES, study_uid=place[0], series_uid=place[1])
        record = replace(old, original=original, attributes=_effective(tables, target, original))
    tables.series.put(place, record)


def _effective(tables: TenantTables, target: Target, original: Attributes) -> Attributes:
    """`original` with every edit in force on the target, lowest version first."""
    edits = [
        o.row
        for _, o in tables.overlays.drafts()
        if not o.undone and (o.row.target.level, o.row.target.name) == (target.level, target.name)
    ]
    effective = dict(original)
    for edit in sorted(edits, key=lambda row: row.version):
        effective = present(effective, edit.edits)
    return effective


# --- kept aside -----------------------------------------------------------------------------------


def _qc(database: MemoryDatabase, tables: TenantTables, row: QCRow) -> bool:
    study_uid = row.instance.study_uid if row.instance else ""
    key = (row.kind, row.sop_uid, study_uid, row.landed.sha256)
    old = tables.qc.draft(key)
    tables.qc.put(key, QCRecord(row) if old is None else replace(old, seen=old.seen + 1))
    return old is None


def _seen_again(database: MemoryDatabase, tables: TenantTables, row: SeenAgainRow) -> bool:
    if row.state == "current":
        old = tables.instances.draft(row.sop_uid)
        if old is not None and old.landed.sha256 == row.sha256:
            tables.instances.put(row.sop_uid, replace(old, seen=old.seen + 1))
        return False
    for key, record in tables.qc.drafts():
        if (key[1], key[3]) == (row.sop_uid, row.sha256):
            tables.qc.put(key, replace(record, seen=record.seen + 1))
    return False


def _withdraw(database: MemoryDatabase, tables: TenantTables, row: WithdrawRow) -> bool:
    old = tables.instances.draft(row.sop_uid)
    if old is None or old.landed.blob_id != row.blob_id:
        return False
    tables.instances.remove(row.sop_uid)
    return True


def _repair(database: MemoryDatabase, tables: TenantTables, row: RepairRow) -> bool:
    old = tables.instances.draft(row.sop_uid)
    if old is None or old.landed.blob_id != row.lost:
        raise FactsChanged("the row points elsewhere by now")
    facts = replace(
        old.facts,
        syntax=row.instance.syntax,
        pixel_offset=row.instance.pixel_offset,
        pixel_length=row.instance.pixel_length,
        frame_index=row.instance.frame_index,
    )
    tables.instances.put(row.sop_uid, replace(old, landed=row.landed, facts=facts))
    return True


def _pack(database: MemoryDatabase, tables: TenantTables, row: PackRow) -> bool:
    place = (row.study_uid, row.series_uid)
    if any(key[:2] == place and key[2] >= row.generation for key, _pack in tables.packs.drafts()):
        raise FactsChanged("another worker settled the series")
    region = tenant = ""
    for one in row.instances:
        old = tables.instances.draft(one.sop_uid)
        if old is None or old.landed.blob_id != one.was:
            raise FactsChanged("an instance of the series points elsewhere by now")
        region, tenant, *_ = old.landed.key.split("/")
        landed = replace(
            old.landed,
            blob_id=row.pack.blob_id,
            key=blob_key(region, tenant, PACK, row.pack.blob_id),
            offset=one.offset,
            length=one.length,
            data_offset=one.data_offset,
            inline=None,
            coded=one.coded,
            blob_length=row.pack.length,
            kept=one.kept,
        )
        facts = old.facts
        if (native := one.native) is not None:
            facts = replace(
                facts,
                syntax=native.syntax,
                pixel_offset=native.pixel_offset,
                pixel_length=native.pixel_length,
                frame_index=native.frame_index,
            )
        tables.instances.put(one.sop_uid, replace(old, landed=landed, facts=facts))
    metadata, preview = (
        Derived(blob_key(region, tenant, DERIVED, blob.blob_id), blob.length, blob.crc32c)
        if blob is not None
        else None
        for blob in (row.metadata, row.preview)
    )
    assert metadata is not None  # a pack has one always
    itself = Derived(
        blob_key(region, tenant, PACK, row.pack.blob_id), row.pack.length, row.pack.crc32c
    )
    pack = SeriesPack(row.series_uid, row.generation, row.pack.blob_id, metadata, preview, itself)
    tables.packs.put((*place, row.generation), pack)
    return True


def _pack_class(database: MemoryDatabase, tables: TenantTables, row: PackClassRow) -> bool:
    found = False
    for series_uid, generation in row.packs:
        place = (row.study_uid, series_uid, generation)
        pack = tables.packs.draft(place)
        if pack is not None:
            tables.packs.put(place, replace(pack, cool=row.cool))
            found = True
    return found


# --- corrections ----------------------------------------------------------------------------------


def _overlay(database: MemoryDatabase, tables: TenantTables, row: OverlayRow) -> bool:
    if row.undoes is not None:
        old = tables.overlays.draft(row.undoes)
        if old is None or old.undone:
            raise FactsChanged("the edit is undone already")
        tables.overlays.put(row.undoes, replace(old, undone=True))
    else:
        taken = {(o.row.target.name, o.row.version) for _, o in tables.overlays.drafts()}
        if (row.target.name, row.version) in taken:
            raise FactsChanged("another edit has this version")
        tables.overlays.put(row.edit_id, OverlayRecord(row))
    _show(tables, row)
    return True


def _show(tables: TenantTables, row: OverlayRow) -> None:
    """Bring the target's effective values to what follows from the edit."""
    target, effective = row.target, row.effective or {}
    if target.level is Level.PATIENT:
        patient = tables.patients.draft((target.issuer, target.pid))
        _must_be(patient is not None)
        if patient is not None:
            record = replace(patient, attributes=effective, version=patient.version + 1)
            tables.patients.put(patient.facts.key, record)
    elif target.level is Level.STUDY:
        study = tables.studies.draft(target.study_uid)
        _must_be(study is not None)
        if study is not None:
            changed = replace(study, attributes=effective, version=study.version + 1)
            tables.studies.put(study.uid, changed)
    elif target.level is Level.SERIES:
        series = tables.series.draft((target.study_uid, target.series_uid))
        _must_be(series is not None)
        if series is not None:
            shown = replace(series, attributes=effective, version=series.version + 1)
            tables.series.put((series.study_uid, series.uid), shown)
    else:
        instance = tables.instances.draft(target.sop_uid)
        _must_be(instance is not None)
        if instance is not None:
            version = instance.edit_version + 1
            edited = replace(instance, edits=row.edits_after or None, edit_version=version)
            tables.instances.put(target.sop_uid, edited)


def _must_be(there: bool) -> None:
    if not there:
        raise FactsChanged("the target is gone")


def _rejection(database: MemoryDatabase, tables: TenantTables, row: RejectionRow) -> bool:
    if row.restores is not None:
        old = tables.rejections.draft(row.restores)
        if old is None or old.undone:
            raise FactsChanged("the rejection is undone already")
        tables.rejections.put(row.restores, replace(old, undone=True))
    else:
        tables.rejections.put(row.reject_id, RejectionRecord(row))
    _apply_rejections(tables, row.target.study_uid)
    return True


def _apply_rejections(tables: TenantTables, study_uid: str) -> None:
    """Bring every instance of the study to what is in force: the first rejection that covers it."""
    in_force = sorted(
        (r.row for _, r in tables.rejections.drafts() if not r.undone),
        key=lambda row: (row.at, row.reject_id),
    )
    for _, instance in tables.instances.drafts():
        if instance.facts.study_uid == study_uid:
            code = next((r.code for r in in_force if _covers(r.target, instance)), None)
            if code != instance.rejected:
                version = instance.edit_version + 1
                record = replace(instance, rejected=code, edit_version=version)
                tables.instances.put(instance.facts.sop_uid, record)


def _covers(target: Target, instance: InstanceRecord) -> bool:
    facts = instance.facts
    return (
        target.study_uid == facts.study_uid
        and target.series_uid in ("", facts.series_uid)
        and target.sop_uid in ("", facts.sop_uid)
    )


# --- leases, commitment, other rooms --------------------------------------------------------------


def _lease(database: MemoryDatabase, tables: TenantTables, row: LeaseRow) -> bool:
    tables.leases.put(row.lease_id, LeaseRecord(row))
    return True


def _lease_use(database: MemoryDatabase, tables: TenantTables, row: LeaseUseRow) -> bool:
    old = tables.leases.draft(row.lease_id)
    if old is not None:
        tables.leases.put(row.lease_id, replace(old, use=row))
    return False


def _commitment(database: MemoryDatabase, tables: TenantTables, row: CommitmentRow) -> bool:
    key = (row.peer, row.transaction_uid)
    if tables.commitments.draft(key) is not None:
        return False
    tables.commitments.put(key, row)
    return True


def _sensitive(database: MemoryDatabase, tables: TenantTables, row: SensitiveRow) -> bool:
    if row.gone:
        tables.sensitive.remove(row.study_uid)
    else:
        tables.sensitive.put(row.study_uid, row)
    return True


def _other(database: MemoryDatabase, tables: TenantTables, row: object) -> bool:
    tables.other.put(database.next_key(), row)
    return True


_WRITERS: dict[type, Callable[[MemoryDatabase, TenantTables, Any], bool]] = {
    ArrivalRow: _arrival,
    QCRow: _qc,
    SeenAgainRow: _seen_again,
    WithdrawRow: _withdraw,
    RepairRow: _repair,
    PackRow: _pack,
    PackClassRow: _pack_class,
    OverlayRow: _overlay,
    RejectionRow: _rejection,
    LeaseRow: _lease,
    LeaseUseRow: _lease_use,
    CommitmentRow: _commitment,
    SensitiveRow: _sensitive,
    **PEOPLE_WRITERS,
}
