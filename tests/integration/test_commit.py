"""The group commit, row-level security, the feed and the audit chain on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from typing import TYPE_CHECKING

import asyncpg
import pytest

from lightwell.access.context import Context, Tenant
from lightwell.app.wiring import House
from lightwell.backends.database import arrival_columns as columns
from lightwell.backends.database.chores import flush_inline, roll_up_deltas
from lightwell.backends.database.migrate import FOLDER, migrations
from lightwell.backends.database.pool import connect
from lightwell.backends.database.roles import Role
from lightwell.backends.database.sequencer import GENESIS, chained, step
from lightwell.domain.archive.model import Announced, Level, Outcome, Target, Verdict
from lightwell.domain.archive.query_building import build_query
from lightwell.domain.archive.reasons import sentence
from lightwell.kernel.errors import Conflict, Invalid, Missing, Refused
from lightwell.testing.builders import BuiltInstance, a_study

if TYPE_CHECKING:
    from tests.conftest import Installation

RLS = [
    *("tenant", "site", "peer", "policy_rule", "patient", "patient_word", "study", "series"),
    *("blob", "instance", "qc_item", "overlay", "rejection", "study_delta", "lease"),
    *("commitment", "event", "audit", "feed_batch", "audit_batch"),
]


async def put(house: House, context: Context, built: BuiltInstance, **more: object) -> Verdict:
    announced = Announced(built.sop_class, built.sop_uid, built.syntax, "TEST", **more)  # type: ignore[arg-type]
    writer = house.archive.stage(context, announced)
    writer.write(built.dataset)
    return await house.archive.store(context, writer)


async def count(house: House, tenant: Tenant, table: str) -> int:
    async with house.database.transaction(tenant) as connection:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))


def test_the_arrays_are_in_the_order_of_the_function() -> None:
    sql = (FOLDER / "0002_ingest.sql").read_text()
    body = sql[sql.index("CREATE FUNCTION ingest(") :]
    head = re.sub(r"--[^\n]*", "", body[: body.index(") RETURNS")])
    prefixes = [name[0] for name in re.findall(r"\b([aswe it])_\w+ \w", head)]
    widths = {letter: prefixes.count(letter) for letter in "aswei"}
    assert widths["a"] == columns.PATIENT_WIDTH
    assert widths["w"] == columns.WORD_WIDTH
    assert widths["s"] == columns.STUDY_WIDTH
    assert widths["e"] == columns.SERIES_WIDTH
    assert widths["i"] + prefixes.count("t") == columns.INSTANCE_WIDTH


def test_migrations_are_numbered_without_gap() -> None:
    numbers = [step.number for step in migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


# --- row-level security ------------------------------------------------------------------------------


@pytest.mark.parametrize("table", RLS)
async def test_r04_without_a_tenant_a_query_raises(house: House, table: str) -> None:
    connection = await connect(house.info, Role.APP)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(f"SELECT * FROM {table}")
        await connection.execute("SELECT set_config('app.tenant', '', false)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(f"SELECT * FROM {table}")
    finally:
        await connection.close()


async def test_r04_rows_of_another_tenant_are_not_there(house: House, context: Context) -> None:
    other = await house.tenants.create(context, "other", aet="OTHER")
    (built,) = a_study().with_series("CT", instances=1).objects()
    await put(house, context, built)
    assert await count(house, context.tenant, "instance") == 1
    assert await count(house, other, "instance") == 0
    elsewhere = house.operator(other)
    with pytest.raises(Missing):
        await house.archive.locate(elsewhere, built.study_uid)
    # The same object there is independent, and neither learns of the other.
    assert (await put(house, elsewhere, built)).outcome is Outcome.STORED
    async with house.database.transaction(other) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                "INSERT INTO site (tenant, name) VALUES ($1, 'x')", context.tenant.key
            )


async def test_the_app_role_owns_nothing_and_bypasses_nothing(house: House) -> None:
    async with house.database.session() as connection:
        row = await connection.fetchrow(
            "SELECT rolsuper OR rolbypassrls AS free,"
            " (SELECT count(*) FROM pg_class WHERE relowner = r.oid) AS owned"
            " FROM pg_roles r WHERE rolname = current_user"
        )
    assert (row["free"], row["owned"]) == (False, 0)


# --- one patient, one row ----------------------------------------------------------------------------


async def test_32_senders_of_one_new_patient_make_one_row(house: House, context: Context) -> None:
    studies = [a_study(patient="NEW", seed=n).with_series("CT", instances=2) for n in range(32)]
    verdicts = await asyncio.gather(
        *(put(house, context, built) for study in studies for built in study.objects())
    )
    assert {v.outcome for v in verdicts} == {Outcome.STORED}
    assert await count(house, context.tenant, "patient") == 1
    assert await count(house, context.tenant, "study") == 32
    assert await count(house, context.tenant, "instance") == 64


async def test_32_senders_who_disagree_about_a_new_patient(house: House, context: Context) -> None:
    """One wins; the others are judged on what it left: held, because name and birth date differ."""
    studies = [
        a_study(patient="NEW", name=f"Family{n}^X", seed=n, PatientBirthDate=f"19{n + 10}0101")
        for n in range(32)
    ]
    verdicts = await asyncio.gather(
        *(put(house, context, s.with_series("CT", instances=1).only()) for s in studies)
    )
    outcomes = [v.outcome for v in verdicts]
    assert outcomes.count(Outcome.STORED) == 1
    assert outcomes.count(Outcome.HELD) == 31
    assert all(v.stored is not None for v in verdicts)
    assert await count(house, context.tenant, "patient") == 1
    assert (await house.archive.totals(context)).held == 31


async def test_b04_fifty_parallel_stores_into_one_study(house: House, context: Context) -> None:
    objects = a_study().with_series("CT", instances=50).objects()
    verdicts = await asyncio.gather(*(put(house, context, b) for b in objects))
    assert {v.outcome for v in verdicts} == {Outcome.STORED}
    while await roll_up_deltas(house.work):
        pass
    async with house.database.transaction(context.tenant) as connection:
        assert await connection.fetchval("SELECT n_instances FROM study") == 50
        assert await connection.fetchval("SELECT n_instances FROM series") == 50
        assert await connection.fetchval("SELECT count(*) FROM study_delta") == 0


async def test_d18_one_instance_from_eight_at_once_is_one(house: House, context: Context) -> None:
    built = a_study().with_series("CT", instances=1, rows=256, columns=256).only()
    verdicts = await asyncio.gather(*(put(house, context, built) for _ in range(8)))
    assert sorted(v.outcome for v in verdicts) == [Outcome.DUPLICATE] * 7 + [Outcome.STORED]
    assert all(v.stored is not None for v in verdicts)
    assert await count(house, context.tenant, "instance") == 1
    assert await count(house, context.tenant, "blob") == 1
    assert await count(house, context.tenant, "event") == 1


async def test_d19_same_uid_other_pixels_never_overwrites(house: House, context: Context) -> None:
    study = a_study().with_series("CT", instances=1, rows=64, columns=64)
    first, second = study.only(), study.other_pixels().only()
    assert (await put(house, context, first)).outcome is Outcome.STORED
    refused = await put(house, context, second)
    assert (refused.outcome, refused.stored) == (Outcome.CONFLICT, None)
    again = await put(house, context, second)
    assert again.outcome is Outcome.CONFLICT
    assert await count(house, context.tenant, "qc_item") == 1
    lease = await house.archive.locate(context, first.study_uid)
    located = lease.instances[first.sop_uid]
    assert b"".join(house.archive.data_set(located, located.syntax)) == first.dataset


async def test_same_pixels_other_header_is_a_candidate(house: House, context: Context) -> None:
    study = a_study().with_series("CT", instances=1, rows=64, columns=64)
    await put(house, context, study.only())
    verdict = await put(house, context, study.with_attributes(StudyDescription="Other").only())
    assert verdict.outcome is Outcome.CANDIDATE
    assert verdict.stored is not None
    assert (await house.archive.totals(context)).candidates == 1


async def test_a_repeat_of_what_rots_where_it_landed_takes_its_place(
    house: House, context: Context
) -> None:
    built = a_study().with_series("CT", instances=1, rows=256, columns=256).only()
    await put(house, context, built)
    key = (await house.archive.locate(context, built.study_uid)).instances[built.sop_uid].landed.key
    data = bytearray(house.blobs.read(key))
    data[-500] ^= 16
    house.blobs.put(key, bytes(data), replace=True)
    assert (await put(house, context, built)).reason == "repaired"
    house.archive.forget(context, "")
    again = (await house.archive.locate(context, built.study_uid)).instances[built.sop_uid]
    assert b"".join(house.archive.data_set(again, again.syntax)) == built.dataset


async def test_an_identity_given_twice_is_held(house: House, context: Context) -> None:
    """Each reader would take another of the two; what is said twice alike is only a defect."""
    for number, (second, outcome) in enumerate(
        ((b"OTHER1", Outcome.HELD), (b"PID001", Outcome.STORED))
    ):
        built = a_study(patient="PID001", seed=number).with_series("CT", instances=1).only()
        head = b"\x10\x00\x20\x00LO\x06\x00"
        at = built.dataset.index(head + b"PID001") + len(head) + 6
        twice = built.dataset[:at] + head + second + built.dataset[at:]
        announced = Announced(built.sop_class, built.sop_uid, built.syntax, "TEST")
        writer = house.archive.stage(context, announced)
        writer.write(twice)
        verdict = await house.archive.store(context, writer)
        assert verdict.outcome is outcome, (second, verdict)


async def test_what_the_first_object_left_out_is_taken_from_the_next(
    house: House, context: Context
) -> None:
    """H3, H10: a patient without a name is found by the one that came later, and can be contradicted."""

    def one(seed: int, name: str, birth: str) -> BuiltInstance:
        study = a_study(patient="BL1", name=name, seed=seed, PatientBirthDate=birth)
        return study.with_series("CT", instances=1).only()

    assert (await put(house, context, one(1, "", ""))).outcome is Outcome.STORED
    assert (await put(house, context, one(2, "Ant^A", ""))).outcome is Outcome.STORED
    assert (await put(house, context, one(3, "", "19700101"))).outcome is Outcome.STORED
    assert (await put(house, context, one(4, "Bee^B", "19800202"))).outcome is Outcome.HELD
    found = await house.archive.find(
        context, build_query(Level.STUDY, [((0x00100010,), None, "Ant*")])
    )
    assert len(found.items) == 3
    (shown,) = {str(one.attributes["00100010"]["Value"]) for one in found.items}
    assert "Ant^A" in shown
    assert {one.attributes["00100030"]["Value"][0] for one in found.items} == {"19700101"}


async def test_what_was_corrected_is_not_filled_in_by_a_later_object(
    house: House, context: Context
) -> None:
    first = a_study(patient="BL2", name="", seed=1).with_series("CT", instances=1).only()
    await put(house, context, first)
    page = await house.archive.find(context, build_query(Level.PATIENT, []))
    target = Target(Level.PATIENT, issuer=page.items[0].issuer, pid="BL2")
    corrected = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Right^One"}]}}
    await house.archive.correct(context, target, corrected, "known to the ward")
    second = a_study(patient="BL2", name="Wrong^One", seed=2).with_series("CT", instances=1).only()
    assert (await put(house, context, second)).outcome is Outcome.STORED
    page = await house.archive.find(context, build_query(Level.PATIENT, []))
    assert page.items[0].attributes["00100010"] == corrected["00100010"]


async def test_what_is_kept_aside_is_listed_with_its_reason(
    installation: Installation, house: House, context: Context
) -> None:
    mine = a_study(patient="A").with_series("CT", instances=1, rows=64, columns=64)
    await put(house, context, mine.only())
    await put(house, context, mine.other_pixels().only())
    foreign = a_study(patient="A", name="Else^X", seed=3, PatientBirthDate="19010101")
    await put(house, context, foreign.with_series("CT", instances=1).only())
    unreadable = house.archive.stage(
        context, Announced("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.840.10008.1.2.1", "T")
    )
    unreadable.write(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 192")  # and no UID
    await house.archive.store(context, unreadable)
    found = await house.archive.aside(context, 10)
    assert [item.kind for item in found] == ["quarantined", "held", "conflict"]
    held = found[1]
    assert (held.reason, held.pid, held.patient_name) == ("patient-contradicts-id", "A", "Else^X")
    assert all(sentence(item.kind, item.reason) != item.reason for item in found)
    assert [item.kind for item in await house.archive.aside(context, 1)] == ["quarantined"]
    told = await asyncio.to_thread(installation.run, "aside", check=True)
    assert "Birth date and family name are not those" in told.stdout
    assert "3 kept aside." in told.stdout
    listed = await asyncio.to_thread(
        installation.run, "aside", "--json", "--limit", "2", check=True
    )
    assert [item["kind"] for item in json.loads(listed.stdout)] == ["quarantined", "held"]


async def test_several_patient_ids_are_nobody_elses(house: House, context: Context) -> None:
    await put(house, context, a_study(patient="MV1").with_series("CT", instances=1).only())
    two = a_study(patient="X", seed=3).with_attributes(PatientID=["MV1", "MV2"])
    await put(house, context, two.with_series("CT", instances=1).only())
    assert await count(house, context.tenant, "patient") == 2


async def test_a_study_claimed_by_another_patient_is_held(house: House, context: Context) -> None:
    mine = a_study(patient="A").with_series("CT", instances=2)
    first, second = mine.objects()
    await put(house, context, first)
    foreign = mine.with_attributes(PatientID="B", PatientName="Other^Person").objects()[1]
    verdict = await put(house, context, foreign)
    assert (verdict.outcome, verdict.reason) == (Outcome.HELD, "study-of-other-patient")
    page = await house.archive.find(context, build_query(Level.STUDY, []))
    assert page.items[0].extra["held"] == 1
    lease = await house.archive.locate(context, first.study_uid)
    assert set(lease.instances) == {first.sop_uid}
    assert second.sop_uid == foreign.sop_uid


# --- feed and audit ----------------------------------------------------------------------------------


async def test_the_feed_is_dense_and_the_chain_is_what_the_leaves_give(
    house: House, context: Context
) -> None:
    objects = a_study().with_series("CT", instances=20).objects()
    work = await connect(house.info, Role.WORK)
    try:
        for start in (0, 7, 14):
            await asyncio.gather(*(put(house, context, b) for b in objects[start : start + 7]))
            await asyncio.sleep(0)
            await step(work)
        await asyncio.sleep(0.3)  # audit notes of the set-up are written within 100 ms
        await step(work)
        rows = await work.fetch(
            "SELECT leaf FROM audit WHERE tenant = $1 AND xid < (SELECT watermark FROM sequencer)"
            " ORDER BY xid, audit_id",
            context.tenant.key,
        )
        head = await work.fetchval(
            "SELECT head FROM audit_batch WHERE tenant = $1 ORDER BY first_seq DESC LIMIT 1",
            context.tenant.key,
        )
    finally:
        await work.close()
    changes = await house.feed.since(context.tenant, 1)
    stored = [c for c in changes if c.kind == "InstanceStored"]
    assert [c.seq for c in changes] == list(range(1, len(changes) + 1))
    assert {c.subject["sop"] for c in stored} == {b.sop_uid for b in objects}
    assert (await house.feed.since(context.tenant, changes[-1].seq))[0].seq == changes[-1].seq
    assert head == chained(GENESIS, [row["leaf"] for row in rows])


async def test_every_stored_instance_has_its_record_in_the_same_transaction(
    house: House, context: Context
) -> None:
    built = a_study().with_series("CT", instances=1).only()
    await put(house, context, built)
    async with house.database.transaction(context.tenant) as connection:
        records = await connection.fetch(
            "SELECT xid, action FROM audit WHERE subject = $1", built.sop_uid
        )
        event = await connection.fetchval(
            "SELECT xid FROM event WHERE subject->>'sop' = $1", built.sop_uid
        )
    assert [r["action"] for r in records] == ["archive:instance:store"]
    assert records[0]["xid"] == event


async def test_small_objects_lie_in_the_row_until_work_puts_them_into_the_store(
    house: House, context: Context
) -> None:
    built = a_study().with_series("CT", instances=1, rows=8, columns=8).only()
    await put(house, context, built)
    lease = await house.archive.locate(context, built.study_uid)
    located = lease.instances[built.sop_uid]
    assert located.landed.inline is not None
    tenants = {context.tenant.key: context.tenant}
    # A tenant made since the chore read them: its rows must not lose the only copy of their bytes.
    assert await flush_inline(house.work, house.blobs, {}) == 0
    async with house.work.session() as connection:
        assert await connection.fetchval("SELECT count(*) FROM blob WHERE inline IS NOT NULL") == 1
    assert await flush_inline(house.work, house.blobs, tenants) == 1
    assert await flush_inline(house.work, house.blobs, tenants) == 0
    kept = house.blobs.read(located.landed.key)
    assert hashlib.sha256(kept[located.landed.data_offset :]).hexdigest() == built.sha256
    house.archive.forget(context, "")
    again = (await house.archive.locate(context, built.study_uid)).instances[built.sop_uid]
    assert again.landed.inline is None
    assert b"".join(house.archive.data_set(again, again.syntax)) == built.dataset


async def test_b08_what_is_acknowledged_is_found_at_once(house: House, context: Context) -> None:
    for built in a_study().with_series("CT", instances=40).objects():
        await put(house, context, built)
        lease = await house.archive.locate(context, built.study_uid, sop_uid=built.sop_uid)
        assert built.sop_uid in lease.instances


# --- corrections and rejections ------------------------------------------------------------------------


async def test_a_correction_is_seen_everywhere_and_undone_exactly(
    house: House, context: Context
) -> None:
    built = a_study(name="Wrong^Name").with_series("CT", instances=1).only()
    await put(house, context, built)
    before = await house.archive.find(context, build_query(Level.STUDY, []))
    found = before.items[0]
    target = Target(Level.PATIENT, issuer=found.issuer, pid=found.pid)
    edit = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Right^Näme"}]}}
    row = await house.archive.correct(context, target, edit, "typing error")
    after = await house.archive.find(
        context, build_query(Level.STUDY, [((0x00100010,), None, "right^nam*")])
    )
    assert after.items[0].attributes["00100010"]["Value"] == [{"Alphabetic": "Right^Näme"}]
    located = (await house.archive.locate(context, built.study_uid)).instances[built.sop_uid]
    assert house.archive.attributes(located, "/b")["00100010"] == edit["00100010"]
    sent = b"".join(house.archive.data_set(located, located.syntax))
    assert "Right^Näme".encode() in sent
    assert b"Wrong^Name" not in sent
    await house.archive.undo(context, row.edit_id, "it was right")
    located = (await house.archive.locate(context, built.study_uid)).instances[built.sop_uid]
    assert b"".join(house.archive.data_set(located, located.syntax)) == built.dataset
    with pytest.raises(Conflict):
        await house.archive.undo(context, row.edit_id, "twice")
    later = await house.archive.find(context, build_query(Level.STUDY, []))
    assert later.items[0].attributes["00100010"] == found.attributes["00100010"]


@pytest.mark.parametrize(
    "tag", ["00080018", "0020000D", "00100020", "00280010", "00282110", "7FE00010"]
)
async def test_what_names_or_decodes_an_object_is_never_edited(
    house: House, context: Context, tag: str
) -> None:
    built = a_study().with_series("CT", instances=1).only()
    await put(house, context, built)
    target = Target(Level.STUDY, study_uid=built.study_uid)
    with pytest.raises(Invalid):
        await house.archive.correct(context, target, {tag: {"vr": "UI", "Value": ["1.2"]}}, "why")


async def test_a_rejection_hides_and_its_undo_shows(house: House, context: Context) -> None:
    objects = a_study().with_series("CT", instances=3).objects()
    for built in objects:
        await put(house, context, built)
    one = objects[0]
    target = Target(
        Level.INSTANCE, study_uid=one.study_uid, series_uid=one.series_uid, sop_uid=one.sop_uid
    )
    row = await house.archive.reject(context, target, "113037", "wrong patient in the room")
    lease = await house.archive.locate(context, one.study_uid)
    assert set(lease.instances) == {o.sop_uid for o in objects[1:]}
    found = (await house.archive.find(context, build_query(Level.STUDY, []))).items[0]
    assert found.attributes["00201208"]["Value"] == [2]
    refused = await put(house, context, one)
    assert (refused.outcome, refused.stored) == (Outcome.REJECTED, None)
    await house.archive.restore(context, one.study_uid, row.reject_id, "it was right")
    assert len((await house.archive.locate(context, one.study_uid)).instances) == 3
    while await roll_up_deltas(house.work):
        pass
    found = (await house.archive.find(context, build_query(Level.STUDY, []))).items[0]
    assert found.attributes["00201208"]["Value"] == [3]


async def test_a_denial_reaches_the_archive(house: House, context: Context) -> None:
    built = a_study().with_series("CT", instances=1).only()
    async with house.database.transaction(context.tenant) as connection:
        await connection.execute(
            "INSERT INTO policy_rule (tenant, action, reason) VALUES ($1, 'archive:*', 'closed')",
            context.tenant.key,
        )
    await asyncio.sleep(1.1)  # policy is read anew after a second
    with pytest.raises(Refused, match="closed"):
        await put(house, context, built)
    with pytest.raises(Refused, match="closed"):
        await house.archive.find(context, build_query(Level.STUDY, []))
    assert await count(house, context.tenant, "instance") == 0


async def test_an_outside_batch_never_joins_a_local_patient(house: House, context: Context) -> None:
    """Also when the CD names the same issuer: matching is a person's step (clinical.md 1)."""
    local = a_study(patient="77", issuer="HOSPITAL", seed=1).with_series("CT", instances=1).only()
    outside = a_study(patient="77", issuer="HOSPITAL", seed=2).with_series("CT", instances=1).only()
    await put(house, context, local)
    verdict = await put(house, context, outside, issuer="~batch:abc", outside=True)
    assert verdict.outcome is Outcome.STORED
    assert await count(house, context.tenant, "patient") == 2
    found = (await house.archive.find(context, build_query(Level.STUDY, []))).items
    assert sorted(bool(item.extra["outside"]) for item in found) == [False, True]


async def test_a_held_lease_does_not_hide_what_came_later(house: House, context: Context) -> None:
    first, second = a_study().with_series("CT", instances=2).objects()
    await put(house, context, first)
    held = await house.archive.locate(context, first.study_uid)
    assert await house.archive.locate(context, first.study_uid) is held
    await put(house, context, second)
    whole = await house.archive.locate(context, first.study_uid)
    assert set(whole.instances) == {first.sop_uid, second.sop_uid}
    assert await house.archive.locate(context, first.study_uid) is whole
    assert await house.archive.locate(context, first.study_uid, first.series_uid) is whole
    with pytest.raises(Missing):
        await house.archive.locate(context, first.study_uid, "1.2.3")


async def test_a_repeat_repairs_an_object_whose_bytes_are_gone(
    house: House, context: Context
) -> None:
    built = a_study().with_series("CT", instances=1, rows=256, columns=256).only()
    await put(house, context, built)
    located = (await house.archive.locate(context, built.study_uid)).instances[built.sop_uid]
    house.blobs.delete(located.landed.key)
    verdict = await put(house, context, built)
    assert (verdict.outcome, verdict.reason) == (Outcome.DUPLICATE, "repaired")
    assert verdict.stored is not None
    house.archive.forget(context, "")
    again = (await house.archive.locate(context, built.study_uid)).instances[built.sop_uid]
    assert b"".join(house.archive.data_set(again, again.syntax)) == built.dataset
    assert await count(house, context.tenant, "instance") == 1
    assert await count(house, context.tenant, "blob") == 1
