"""`lightwell fsck` finds each kind of damage when it is planted, and nothing when it is not."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from lightwell.access.context import Context
from lightwell.app.heartbeat import Heart
from lightwell.app.settling import settling_of
from lightwell.app.upkeep import check_installation, upkeep_of
from lightwell.app.wiring import House
from lightwell.backends.database.chores import flush_inline, roll_up_deltas
from lightwell.backends.database.pool import connect
from lightwell.backends.database.roles import Role
from lightwell.backends.database.sequencer import step
from lightwell.domain.archive.invariants import TEXTS, Checked, State, whole
from lightwell.domain.archive.keys import DERIVED, LANDED, MANIFEST, PACK, blob_key, kind_prefix
from lightwell.domain.archive.model import INLINE_LIMIT, Announced, Level, Outcome, Target
from lightwell.testing.builders import BuiltInstance, a_study

if TYPE_CHECKING:
    from tests.conftest import Installation

BIG = {"rows": 256, "columns": 256}  # beyond what is kept in the row


async def keep(house: House, context: Context, built: BuiltInstance) -> Outcome:
    announced = Announced(built.sop_class, built.sop_uid, built.syntax, "CT1")
    writer = house.archive.stage(context, announced)
    writer.write(built.dataset)
    return (await house.archive.store(context, writer)).outcome


@dataclass
class Planted:
    """An archive with something of everything, and the ways to harm it."""

    house: House
    context: Context
    owner: asyncpg.Connection[asyncpg.Record]
    big: BuiltInstance

    async def check(self, *, deep: bool = False) -> Checked:
        return await check_installation(self.house, self.context, deep=deep)

    async def broken(self, *, deep: bool = False) -> list[str]:
        invariants = (await self.check(deep=deep)).invariants()
        assert [line.name for line in invariants] == list(TEXTS)
        return [line.name for line in invariants if line.state is State.BROKEN]

    async def key(self, built: BuiltInstance) -> str:
        blob = await self.owner.fetchval(
            "SELECT blob_id FROM instance WHERE sop_uid = $1", built.sop_uid
        )
        tenant = self.context.tenant
        return blob_key(tenant.region, tenant.name, LANDED, blob)

    async def rewrite(self, built: BuiltInstance, change: Callable[[bytes], bytes]) -> None:
        key = await self.key(built)
        data = self.house.blobs.read(key)
        self.house.blobs.delete(key)
        self.house.blobs.put(key, change(data))

    async def settle(self) -> None:
        """What the `work` process does within a second."""
        tenants = {self.context.tenant.key: self.context.tenant}
        await flush_inline(self.house.work, self.house.blobs, tenants)
        await roll_up_deltas(self.house.work)
        worker = await connect(self.house.info, Role.WORK)
        try:
            await step(worker)
        finally:
            await worker.close()


@pytest.fixture
async def planted(house: House, context: Context):  # type: ignore[no-untyped-def]
    owner = await asyncpg.connect(house.info.url(Role.OWNER), timeout=10)
    study = a_study("P1", "HOSP").with_series("CT", instances=3, **BIG)
    objects = study.objects()
    assert len(objects[0].dataset) > INLINE_LIMIT
    for built in objects:
        assert await keep(house, context, built) is Outcome.STORED
    small = a_study("P2", "HOSP").with_series("MR").only()
    assert await keep(house, context, small) is Outcome.STORED
    assert await keep(house, context, study.other_pixels().objects()[0]) is Outcome.CONFLICT
    target = Target(Level.STUDY, study_uid=study.study_uid)
    edit = {"00081030": {"vr": "LO", "Value": ["Right"]}}
    await house.archive.correct(context, target, edit, "wrong")
    one = Target(
        Level.INSTANCE,
        study_uid=study.study_uid,
        series_uid=study.series_uid(),
        sop_uid=study.sop_uid(0, 1),
    )
    await house.archive.reject(context, one, "113001", "moved")
    try:
        yield Planted(house, context, owner, objects[0])
    finally:
        await owner.close()


async def test_a_sound_archive_holds_before_and_after_background_work(planted: Planted) -> None:
    assert await planted.broken() == []
    await planted.settle()
    assert await planted.broken(deep=True) == []
    checked = await planted.check()
    found = {line.name: line.found.checked for line in checked.invariants()}
    assert (found["I1"], found["I2"], found["I5"]) == (5, 5, 4)
    assert found["I6"] >= 4
    assert checked.orphans.count == 0


# --- the store ------------------------------------------------------------------------------------


async def test_i1_a_flipped_bit_among_the_newest(planted: Planted) -> None:
    await planted.rewrite(planted.big, lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    assert await planted.broken() == ["I1"]


async def test_i1_a_flipped_bit_of_an_old_object_is_found_by_a_deep_check_only(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightwell.domain.archive.upkeep_api.NEWEST", 1)
    await planted.rewrite(planted.big, lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    assert await planted.broken() == []
    assert await planted.broken(deep=True) == ["I1"]


async def test_i1_a_truncated_object(planted: Planted) -> None:
    await planted.rewrite(planted.big, lambda data: data[:-100])
    checked = await planted.check()
    finding = checked.found["I1"].findings[0]
    assert planted.big.sop_uid in finding
    assert checked.found["I1"].damaged == 1


async def test_i1_a_small_object_damaged_in_its_row(planted: Planted) -> None:
    done = await planted.owner.execute(
        "UPDATE blob SET inline = set_byte(inline, length(inline) - 3,"
        " get_byte(inline, length(inline) - 3) # 1) WHERE inline IS NOT NULL"
    )
    assert done == "UPDATE 1"
    assert await planted.broken() == ["I1"]


async def test_i2_a_missing_object_and_a_missing_blob_row(planted: Planted) -> None:
    planted.house.blobs.delete(await planted.key(planted.big))
    assert await planted.broken() == ["I2"]
    await planted.owner.execute("DELETE FROM blob WHERE inline IS NOT NULL")
    checked = await planted.check()
    assert checked.found["I2"].damaged == 2


async def test_i3_orphans_are_reported_and_are_no_damage(planted: Planted) -> None:
    tenant = planted.context.tenant
    key = blob_key(tenant.region, tenant.name, LANDED, uuid.uuid4())
    planted.house.blobs.put(key, b"left by a crash")
    checked = await planted.check()
    assert (checked.orphans.young, checked.orphans.count) == (1, 0)
    upkeep = upkeep_of(planted.house)
    upkeep.clock = type("Later", (), {"now": lambda _s: datetime.now(UTC) + timedelta(days=8)})()
    later = await upkeep.check(planted.context, served=False)
    assert (later.orphans.count, later.orphans.keys) == (1, (key,))
    assert later.found["I3"].damaged == 0


async def test_i3_a_blob_row_nobody_refers_to(planted: Planted) -> None:
    await planted.owner.execute(
        "INSERT INTO blob (tenant, blob_id, kind, length, crc32c) VALUES ($1, $2, 1, 1, 1)",
        planted.context.tenant.key,
        uuid.uuid4(),
    )
    assert await planted.broken() == ["I3"]


# --- the rows -------------------------------------------------------------------------------------

ROWS = {
    "I4 study": "UPDATE study SET n_instances = n_instances + 1",
    "I4 bytes": "UPDATE study SET n_bytes = n_bytes - 1",
    "I4 series": "UPDATE series SET n_rejected = n_rejected + 1",
    "I5 twice": "INSERT INTO instance (tenant, study_key, series_key, sop_uid, version, sop_class,"
    " syntax, blob_id, off, length, data_off, sha256) SELECT tenant, study_key, series_key, sop_uid,"
    " 2, sop_class, syntax, blob_id, off, 0, data_off, sha256 FROM instance LIMIT 1",
    "I5 parent": "UPDATE instance SET study_key = (SELECT max(study_key) FROM study)"
    " WHERE study_key = (SELECT min(study_key) FROM study)",
    "I6 record": "DELETE FROM audit WHERE audit_id ="
    " (SELECT min(audit_id) FROM audit WHERE action = 'archive:instance:store')",
    "I6 changed": "UPDATE audit SET actor = 'operator:nobody'"
    " WHERE audit_id = (SELECT min(audit_id) FROM audit WHERE action = 'archive:instance:store')",
    "I6 head": "UPDATE audit_batch SET head = sha256(head) WHERE first_seq = 1",
    "I6 batch": "DELETE FROM audit_batch WHERE first_seq = 1",
    "I8 readable": "UPDATE qc_item q SET blob_id = i.blob_id FROM"
    " (SELECT blob_id FROM instance LIMIT 1) i",
}


@pytest.mark.parametrize("name", sorted(ROWS))
async def test_rows_that_contradict_each_other(planted: Planted, name: str) -> None:
    await planted.settle()
    assert await planted.broken() == []
    assert not (await planted.owner.execute(ROWS[name])).endswith(" 0")
    assert name.split()[0] in await planted.broken()


async def test_i11_what_is_overdue_is_damage_only_while_a_server_runs(planted: Planted) -> None:
    await planted.house.archive.locate(planted.context, planted.big.study_uid)
    await planted.owner.execute("UPDATE lease SET expires = now() - interval '1 hour'")
    assert await planted.broken() == []
    heart = Heart(planted.house, "work", "work", dict)
    await heart.start()
    try:
        assert await planted.broken() == ["I11"]
    finally:
        await heart.stop()


async def test_i12_what_a_dead_process_left_in_staging(planted: Planted) -> None:
    left = planted.house.settings.staging / "upload-1"
    left.write_bytes(b"x")
    assert await planted.broken() == []
    day = time.time() - 25 * 3600
    os.utime(left, (day, day))
    assert await planted.broken() == ["I12"]


# --- settled series -------------------------------------------------------------------------------


@pytest.fixture
async def packed(planted: Planted) -> Planted:
    """The same with its large series settled."""
    study = a_study("P1", "HOSP").with_series("CT", instances=3, **BIG)
    await planted.settle()
    done = await settling_of(planted.house).settle(
        planted.context, study.study_uid, study.series_uid()
    )
    assert done.instances == 3
    await planted.settle()
    assert await planted.broken(deep=True) == []
    return planted


def packed_keys(planted: Planted, kind: str) -> list[str]:
    prefix = kind_prefix(planted.context.tenant.region, planted.context.tenant.name, kind)
    return [info.key for info in planted.house.blobs.list(prefix)]


async def test_i2_and_i7_look_at_what_belongs_to_packs(packed: Planted) -> None:
    found = (await packed.check(deep=True)).found
    assert (found["I2"].checked, found["I7"].checked) == (5 + 4, 1)


@pytest.mark.parametrize("kind", [MANIFEST, DERIVED])
async def test_i2_what_belongs_to_a_pack_is_lost_or_cut_off(packed: Planted, kind: str) -> None:
    (key, *_) = packed_keys(packed, kind)
    data = packed.house.blobs.read(key)
    packed.house.blobs.delete(key)
    assert await packed.broken() == ["I2"]
    packed.house.blobs.put(key, data[:-1])
    assert await packed.broken() == ["I2"]


@pytest.mark.parametrize("kind", [MANIFEST, DERIVED])
async def test_i2_a_flipped_bit_in_it_is_found_by_a_deep_check(packed: Planted, kind: str) -> None:
    for key in packed_keys(packed, kind):
        data = bytearray(packed.house.blobs.read(key))
        data[len(data) // 2] ^= 1
        packed.house.blobs.delete(key)
        packed.house.blobs.put(key, bytes(data))
    assert await packed.broken() == []
    checked = await packed.check(deep=True)
    assert checked.found["I2"].damaged == (1 if kind == MANIFEST else 2)
    assert "CRC32C" in checked.found["I2"].findings[0]


async def test_i2_a_flipped_bit_in_the_index_of_a_pack(packed: Planted) -> None:
    (key,) = packed_keys(packed, PACK)
    data = bytearray(packed.house.blobs.read(key))
    data[-2100] ^= 1  # the index lies before its locator
    packed.house.blobs.delete(key)
    packed.house.blobs.put(key, bytes(data))
    assert await packed.broken(deep=True) == ["I2"]


async def test_i3_orphans_of_every_kind_of_a_settled_series_are_counted(packed: Planted) -> None:
    tenant = packed.context.tenant
    for kind in (PACK, DERIVED, MANIFEST):
        packed.house.blobs.put(
            blob_key(tenant.region, tenant.name, kind, uuid.uuid4()), b"left by a crash"
        )
    checked = await packed.check(deep=True)
    assert (checked.orphans.young, checked.orphans.count) == (3, 0)
    assert whole(checked.invariants())


PACK_ROWS = {
    "I2 pack row": "UPDATE series_pack SET manifest = gen_random_uuid()",
    "I3 unused": "INSERT INTO series_pack (tenant, series_key, generation, pack, manifest, metadata,"
    " entries, raw) SELECT tenant, series_key, 2, manifest, metadata, preview, 1, 1 FROM series_pack",
    "I7 claimed twice": "INSERT INTO series_pack (tenant, series_key, generation, pack, manifest,"
    " metadata, entries, raw) SELECT tenant, series_key, 2, pack, manifest, metadata, 1, 1"
    " FROM series_pack",
    "I7 other series": "UPDATE series_pack SET series_key = (SELECT max(series_key) FROM series)",
    "I7 event": "INSERT INTO work_run (tenant, run_id, workflow, key, arguments, state)"
    " SELECT 1, 'settle_series:k' || n || ':7', 'settle_series', 'k' || n, '{}', 'done'"
    " FROM generate_series(1, 2) n",
}


@pytest.mark.parametrize("name", sorted(PACK_ROWS))
async def test_rows_of_settled_series_that_contradict_each_other(
    packed: Planted, name: str
) -> None:
    assert not (await packed.owner.execute(PACK_ROWS[name])).endswith(" 0")
    assert name.split()[0] in await packed.broken()


async def test_i7_runs_of_different_events_are_no_repetition(packed: Planted) -> None:
    await packed.owner.execute(
        "INSERT INTO work_run (tenant, run_id, workflow, key, arguments, state) VALUES"
        " (1, 'settle_series:a:7', 'settle_series', 'a', '{}', 'done'),"
        " (1, 'settle_series:a:8', 'settle_series', 'a', '{}', 'done'),"
        " (1, 'other:b:7', 'other', 'b', '{}', 'done'),"
        " (1, 'settle_series:b:7', 'settle_series', 'b', '{}', 'failed'),"
        " (1, 'started-by-a-door:7', 'settle_series', '', '{}', 'done')"
    )
    assert await packed.broken() == []


# --- the command ----------------------------------------------------------------------------------


async def test_exit_codes(
    installation: Installation, planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = installation.run("fsck", "--json")
    report = json.loads(sound.stdout)
    assert (sound.returncode, report["ok"], report["deep"]) == (0, True, False)
    states = {line["id"]: line["state"] for line in report["invariants"]}
    assert {name for name, state in states.items() if state == "not built yet"} == {"I9", "I10"}
    planted.house.blobs.delete(await planted.key(planted.big))
    damaged = installation.run("fsck", "--json", "--deep")
    assert (damaged.returncode, json.loads(damaged.stdout)["ok"]) == (1, False)
    for role in ("", "_APP", "_WORK"):
        nowhere = "postgresql://a:b@127.0.0.1:1/lightwell"
        monkeypatch.setitem(
            installation.environment,
            f"LIGHTWELL_DATABASE{role}_URL",
            nowhere,  # type: ignore[arg-type]
        )
    assert installation.run("fsck", "--json").returncode == 2


def test_a_report_is_whole_unless_something_is_broken() -> None:
    nothing = Checked({name: found for name in TEXTS if (found := _nothing()) is not None})
    assert whole(nothing.invariants())


def _nothing():  # type: ignore[no-untyped-def]
    from lightwell.domain.archive.invariants import Found

    return Found()
