"""A series becomes a pack: what every door serves afterwards is what arrived."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

import pytest

from lightwell.access.commit import FactsChanged
from lightwell.access.context import Context
from lightwell.app.settling import settling_of
from lightwell.app.upkeep import check_installation
from lightwell.app.wiring import House
from lightwell.backends.database.chores import clear_gone, flush_inline, roll_up_deltas
from lightwell.backends.memory.engine import MemoryEngine
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.invariants import State
from lightwell.domain.archive.keys import is_packed
from lightwell.domain.archive.model import Announced, Level, Located, Outcome, Target
from lightwell.domain.archive.ports import BlobMissing
from lightwell.domain.archive.settle_api import MERGE_AT, SettledSeries, Settling
from lightwell.kernel.clock import SystemClock
from lightwell.testing.builders import BuiltInstance, StudyBuilder, a_study
from lightwell.workflows.ports import FINISHED
from lightwell.workflows.ports import State as RunState
from lightwell.workflows.settle_series import NAME, Heard, settle_series

BIG = {"rows": 192, "columns": 160}  # beyond what is kept in the row


async def keep(house: House, context: Context, built: BuiltInstance) -> Outcome:
    announced = Announced(built.sop_class, built.sop_uid, built.syntax, "CT1")
    writer = house.archive.stage(context, announced)
    writer.write(built.dataset)
    return (await house.archive.store(context, writer)).outcome


async def keep_all(house: House, context: Context, study: StudyBuilder) -> list[BuiltInstance]:
    objects = study.objects()
    for built in objects:
        assert await keep(house, context, built) is Outcome.STORED
    return objects


async def settle(
    house: House, context: Context, study: StudyBuilder, series: int = 0
) -> SettledSeries:
    return await settling_of(house).settle(context, study.study_uid, study.series_uid(series))


async def located(house: House, context: Context, study: StudyBuilder) -> list[Located]:
    house.archive.forget(context, study.study_uid)  # as the database's notification does
    return list((await house.archive.locate(context, study.study_uid)).instances.values())


async def served(house: House, at: Located) -> bytes:
    return await asyncio.to_thread(lambda: b"".join(house.archive.data_set(at, at.syntax)))


async def broken(house: House, context: Context) -> list[str]:
    tenants = {context.tenant.key: context.tenant}
    while await flush_inline(house.work, house.blobs, tenants):
        pass
    while await roll_up_deltas(house.work):
        pass
    checked = await check_installation(house, context, deep=True)
    return [
        f"{line.name}: {line.found.findings}"
        for line in checked.invariants()
        if line.state is State.BROKEN
    ]


async def test_a_settled_series_gives_back_what_arrived(house: House, context: Context) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=4, **BIG)
    objects = {built.sop_uid: built for built in await keep_all(house, context, study)}
    before = {
        at.sop_uid: house.archive.attributes(at, "/x")
        for at in await located(house, context, study)
    }

    done = await settle(house, context, study)

    assert (done.generation, done.instances, done.coded) == (1, 4, 4)
    assert done.stored < done.raw
    places = await located(house, context, study)
    assert {is_packed(at.landed.key) for at in places} == {True}
    assert len({at.landed.key for at in places}) == 1
    for at in places:
        built = objects[at.sop_uid]
        assert at.syntax == built.syntax
        data = await served(house, at)
        assert hashlib.sha256(data).digest() == hashlib.sha256(built.dataset).digest()
        frame = await asyncio.to_thread(house.archive.frame, at, 1)
        assert frame in built.dataset
        assert house.archive.attributes(at, "/x") == before[at.sop_uid]
        assert b"".join(house.archive.original(at)).endswith(built.dataset)
    assert await broken(house, context) == []


async def test_settling_says_how_far_it_is(house: House, context: Context) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=4, **BIG)
    await keep_all(house, context, study)
    heard: list[tuple[int, int]] = []

    async def settled(_tenant: int, study_uid: str, series_uid: str, tell: Heard) -> dict[str, int]:
        def both(done: int, total: int) -> None:
            heard.append((done, total))
            tell(done, total)

        done = await settling_of(house).settle(context, study_uid, series_uid, both)
        return {"instances": done.instances}

    engine = MemoryEngine({NAME: settle_series(settled)}, SystemClock())
    arguments = {"study": study.study_uid, "series": study.series_uid()}
    await engine.start(context.tenant, NAME, "s:1", arguments)
    while (status := await engine.status(context.tenant, "s:1")).state not in FINISHED:
        await asyncio.sleep(0.01)
    assert status.state is RunState.DONE, status.error
    assert (status.done, status.total, status.what) == (4, 4, "images")
    assert {total for _, total in heard} == {4}
    assert [done for done, _ in heard] == [0, 1, 1, 2, 2, 3, 3, 4], "half by writing, half by proof"
    await engine.close()


async def test_settling_again_changes_nothing(house: House, context: Context) -> None:
    study = a_study("P1", "HOSP").with_series("MR", instances=2, **BIG)
    await keep_all(house, context, study)
    await settle(house, context, study)
    before = [at.landed for at in await located(house, context, study)]
    assert (await settle(house, context, study)).instances == 0
    assert [at.landed for at in await located(house, context, study)] == before


async def test_a_duplicate_and_a_rival_meet_the_pack(house: House, context: Context) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=2, **BIG)
    objects = await keep_all(house, context, study)
    await settle(house, context, study)
    assert await keep(house, context, objects[0]) is Outcome.DUPLICATE
    other = replace_header(study)
    assert await keep(house, context, other) is Outcome.CANDIDATE
    assert await keep(house, context, study.other_pixels().objects()[1]) is Outcome.CONFLICT
    vouched = await house.archive.vouch(
        context, [(built.sop_class, built.sop_uid) for built in objects]
    )
    assert [one.failure for one in vouched] == [None, None]
    assert await broken(house, context) == []


def replace_header(study: StudyBuilder) -> BuiltInstance:
    return study.with_attributes(ImageComments="another header").objects()[0]


async def test_a_pack_that_rots_is_noticed_by_every_door(house: House, context: Context) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=2, **BIG)
    await keep_all(house, context, study)
    await settle(house, context, study)
    place = (await located(house, context, study))[0]
    at = place.landed.offset + place.landed.length - 40  # within the last tile-part
    data = bytearray(house.blobs.read(place.landed.key))
    data[at] ^= 1
    house.blobs.delete(place.landed.key)
    house.blobs.put(place.landed.key, bytes(data))
    with pytest.raises(Damaged):
        await served(house, place)
    with pytest.raises(Damaged):
        await asyncio.to_thread(house.archive.frame, place, 1)
    vouched = await house.archive.vouch(context, [(place.sop_class, place.sop_uid)])
    assert vouched[0].failure is not None
    assert any(line.startswith("I1") for line in await broken(house, context))


async def test_late_images_make_new_generations_and_many_become_one(
    house: House, context: Context
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=MERGE_AT + 1, **BIG)
    objects = study.objects()
    for number, built in enumerate(objects):
        assert await keep(house, context, built) is Outcome.STORED
        done = await settle(house, context, study)
        assert done.generation == number + 1
        assert done.instances == (1 if number < MERGE_AT else len(objects))
    places = await located(house, context, study)
    assert len({at.landed.key for at in places}) == 1
    for at, built in zip(places, objects, strict=True):
        assert await served(house, at) == built.dataset
    assert await broken(house, context) == []


async def test_what_nobody_refers_to_goes_after_its_grace_and_not_under_a_lease(
    house: House, context: Context, no_grace: Settling
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=2, **BIG)
    await keep_all(house, context, study)
    lease = await house.archive.locate(context, study.study_uid)
    keys = [at.landed.key for at in lease.instances.values()]
    await no_grace.settle(context, study.study_uid, study.series_uid())
    tenants = {context.tenant.key: context.tenant}
    assert await clear_gone(house.work, house.blobs, tenants) == 0  # somebody reads there
    for at in lease.instances.values():
        assert await served(house, at)
    async with house.work.session() as connection:
        await connection.execute("UPDATE lease SET closed = now(), expires = now()")
    assert await clear_gone(house.work, house.blobs, tenants) == 2
    assert not [key for key in keys if exists(house, key)]
    assert await clear_gone(house.work, house.blobs, tenants) == 0
    for at in await located(house, context, study):
        assert await served(house, at)
    assert await broken(house, context) == []


def exists(house: House, key: str) -> bool:
    try:
        house.blobs.length(key)
    except BlobMissing:
        return False
    return True


@pytest.fixture
def no_grace(house: House) -> Settling:
    return settling_of(replace_settings(house))


def replace_settings(house: House) -> House:
    house.settings = replace(house.settings, landed_grace=0.0)
    return house


async def test_two_workers_on_one_series_make_one_pack(house: House, context: Context) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=3, **BIG)
    await keep_all(house, context, study)
    first, second = await asyncio.gather(
        settle(house, context, study), settle(house, context, study), return_exceptions=True
    )
    outcomes = [first, second]
    done = [one for one in outcomes if isinstance(one, SettledSeries) and one.instances]
    assert len(done) == 1
    assert all(isinstance(one, SettledSeries | FactsChanged) for one in outcomes)
    packs = [info for info in house.blobs.list("") if is_packed(info.key)]
    assert len(packs) == 1
    assert await broken(house, context) == []


async def test_a_damaged_landed_object_leaves_the_series_as_it_is(
    house: House, context: Context
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=2, **BIG)
    await keep_all(house, context, study)
    place = (await located(house, context, study))[0]
    data = bytearray(house.blobs.read(place.landed.key))
    data[-5] ^= 1
    house.blobs.delete(place.landed.key)
    house.blobs.put(place.landed.key, bytes(data))
    with pytest.raises(Damaged):
        await settle(house, context, study)
    assert not [info for info in house.blobs.list("") if is_packed(info.key)]
    assert not any(is_packed(at.landed.key) for at in await located(house, context, study))


async def test_a_tenant_may_choose_to_keep_everything_as_received(
    house: House, context: Context
) -> None:
    tenant = await house.tenants.configure(context, settling="as-received")
    chosen = replace(context, tenant=tenant)
    study = a_study("P1", "HOSP").with_series("CT", instances=2, **BIG)
    await keep_all(house, chosen, study)
    done = await settle(house, chosen, study)
    assert (done.instances, done.coded, done.reasons) == (2, 0, {"policy": 2})
    for at, built in zip(await located(house, chosen, study), study.objects(), strict=True):
        assert at.landed.coded is None
        assert await served(house, at) == built.dataset
    assert await broken(house, chosen) == []


async def test_rejected_and_corrected_images_settle_and_stay_so(
    house: House, context: Context
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=3, **BIG)
    objects = await keep_all(house, context, study)
    edit = {"00081030": {"vr": "LO", "Value": ["Corrected"]}}
    await house.archive.correct(
        context, Target(Level.STUDY, study_uid=study.study_uid), edit, "wrong"
    )
    one = Target(
        Level.INSTANCE,
        study_uid=study.study_uid,
        series_uid=study.series_uid(),
        sop_uid=objects[1].sop_uid,
    )
    rejection = await house.archive.reject(context, one, "113001", "moved")
    assert (await settle(house, context, study)).instances == 3
    places = await located(house, context, study)
    assert [at.sop_uid for at in places] == [objects[0].sop_uid, objects[2].sop_uid]
    assert b"Corrected" in await served(house, places[0])
    await house.archive.restore(context, study.study_uid, rejection.reject_id, "was right")
    assert len(await located(house, context, study)) == 3
    assert await broken(house, context) == []


async def test_a_lost_pack_is_mended_by_a_repeat_and_settled_again(
    house: House, context: Context
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=2, **BIG)
    objects = await keep_all(house, context, study)
    await settle(house, context, study)
    lost = (await located(house, context, study))[0].landed.key
    house.blobs.delete(lost)
    assert await keep(house, context, objects[0]) is Outcome.DUPLICATE
    places = await located(house, context, study)
    assert [is_packed(at.landed.key) for at in places] == [False, True]
    assert await served(house, places[0]) == objects[0].dataset
    assert await keep(house, context, objects[1]) is Outcome.DUPLICATE
    assert (await settle(house, context, study)).instances == 2
    for at, built in zip(await located(house, context, study), objects, strict=True):
        assert is_packed(at.landed.key)
        assert await served(house, at) == built.dataset
    assert await broken(house, context) == []


async def test_a_repeat_of_what_rots_in_a_pack_takes_its_place(
    house: House, context: Context
) -> None:
    """H18: the length of a pack says nothing of its bits, and a repeat that is acknowledged is kept."""
    study = a_study("P1", "HOSP").with_series("CT", instances=2, **BIG)
    objects = await keep_all(house, context, study)
    await settle(house, context, study)
    first = (await located(house, context, study))[0]
    data = bytearray(house.blobs.read(first.landed.key))
    data[first.landed.offset + first.landed.length - 2000] ^= 1
    house.blobs.put(first.landed.key, bytes(data), replace=True)
    with pytest.raises(Damaged):
        await served(house, first)
    assert await keep(house, context, objects[1]) is Outcome.DUPLICATE
    assert await keep(house, context, objects[0]) is Outcome.DUPLICATE
    places = await located(house, context, study)
    assert [is_packed(at.landed.key) for at in places] == [False, True]
    for at, built in zip(places, objects, strict=True):
        assert await served(house, at) == built.dataset


async def test_a_study_given_to_another_patient_says_so_from_the_blob(
    house: House, context: Context
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=3, **BIG)
    other = a_study("P2", "HOSP", name="Roe^Richard", seed=5).with_series("CT", **BIG)
    await keep_all(house, context, study)
    await keep_all(house, context, other)
    await settle(house, context, study)
    async with house.work.session() as connection:
        await connection.execute(
            "UPDATE study SET version = version + 1, patient_key = (SELECT patient_key FROM patient"
            " WHERE pid = 'P2') WHERE study_uid = $1",
            study.study_uid,
        )
    await located(house, context, study)
    lease = await house.archive.locate(context, study.study_uid)
    assert [pack.generation for pack in lease.packs] == [1]
    instances = list(lease.instances.values())

    def root(at: Located) -> str:
        return f"/x/{at.sop_uid}"

    told = house.archive.metadata(lease, instances, root)
    assert told == house.archive.metadata(replace(lease, packs=()), instances, root)
    assert all(b"Roe^Richard" in each for each in told)
