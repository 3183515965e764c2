"""`lightwell reindex` of settled series: from packs, manifests and journal everything comes back."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from lightwell.access.context import Context
from lightwell.app.reindex import reindex
from lightwell.app.settling import settling_of
from lightwell.app.upkeep import check_installation
from lightwell.app.wiring import House, open_house
from lightwell.backends.database.chores import clear_gone, flush_inline, roll_up_deltas
from lightwell.domain.archive.internal.packing.manifest import Manifest, read_manifest
from lightwell.domain.archive.invariants import whole
from lightwell.domain.archive.keys import LANDED, MANIFEST, PACK, blob_key, kind_prefix
from lightwell.domain.archive.model import Located, Outcome
from lightwell.domain.archive.rebuild_api import Rebuilt
from lightwell.domain.archive.settle_api import MERGE_AT
from lightwell.kernel.errors import Missing
from lightwell.testing.builders import StudyBuilder, a_study
from tests.integration.test_reindex import BIG, CT1, History, answers, keep

# What reading a settled series needs. Sums of landed blobs that are to go are not known any more.
ROWS = {
    "instances": "SELECT sop_uid, blob_id, off, length, data_off, coded, settled FROM instance ORDER BY 1",
    "packs": "SELECT e.series_uid, p.generation, p.pack, p.manifest, p.metadata, p.preview, p.entries, p.raw"
    " FROM series_pack p JOIN series e USING (series_key) ORDER BY 1, 2",
    "blobs": "SELECT blob_id, kind, length, region, CASE WHEN kind = 1 THEN 0 ELSE crc32c END FROM blob"
    " WHERE inline IS NULL ORDER BY 1",
    "going": "SELECT blob_id FROM blob_going ORDER BY 1",
}


async def settle_all(house: House, context: Context) -> int:
    """Every series; how many instances were packed."""
    async with house.database.transaction(context.tenant) as connection:
        series = await connection.fetch(
            "SELECT study_uid, series_uid FROM series JOIN study USING (study_key)"
        )
    settling = settling_of(house)
    done = [await settling.settle(context, row["study_uid"], row["series_uid"]) for row in series]
    return sum(one.instances for one in done)


async def chores(house: House, context: Context) -> None:
    tenants = {context.tenant.key: context.tenant}
    while await flush_inline(house.work, house.blobs, tenants):
        pass
    while await roll_up_deltas(house.work):
        pass


async def everything(house: House, context: Context) -> dict[str, Any]:
    seen = await answers(house, context)
    del seen["blobs"]
    async with house.database.transaction(context.tenant) as connection:
        for name, statement in ROWS.items():
            seen[f"packed {name}"] = [tuple(row) for row in await connection.fetch(statement)]
    return seen


@asynccontextmanager
async def again(house: House) -> AsyncIterator[tuple[House, Rebuilt]]:
    """The installation with its database made anew."""
    report = await reindex(house.settings, house.info, may_clear=True)
    fresh = open_house(house.settings, house.info)
    try:
        yield fresh, report.tenants["default"]
    finally:
        await fresh.close()


async def sound(house: House, context: Context) -> None:
    checked = await check_installation(house, context, deep=True)
    assert whole(checked.invariants()), checked


async def keep_all(house: House, context: Context, study: StudyBuilder) -> None:
    for built in study.objects():
        assert await keep(house, context, built) is Outcome.STORED


def keys(house: House, context: Context, kind: str) -> list[str]:
    prefix = kind_prefix(context.tenant.region, context.tenant.name, kind)
    return sorted(info.key for info in house.blobs.list(prefix))


async def places(house: House, context: Context, study: StudyBuilder) -> list[Located]:
    house.archive.forget(context, study.study_uid)
    return list((await house.archive.locate(context, study.study_uid)).instances.values())


async def served(house: House, at: Located) -> bytes:
    return await asyncio.to_thread(lambda: b"".join(house.archive.data_set(at, at.syntax)))


@pytest.mark.parametrize("landed", [True, False], ids=["within the grace", "after it"])
async def test_b07_every_answer_is_equal_once_series_are_settled(
    house: House, context: Context, landed: bool
) -> None:
    house.settings = replace(house.settings, landed_grace=86_400.0 if landed else 0.0)
    study = await History(house, context).live()
    await chores(house, context)
    assert await settle_all(house, context) == 7
    # Life goes on: a late image, a rival of a settled one, a repeat, a study that never settled.
    sender = Context(context.tenant, CT1, channel="dimse")
    late = a_study("P1", None, name="Doe^Jane").with_series("CT", instances=5, **BIG)
    assert await keep(house, sender, late.objects()[4]) is Outcome.STORED
    changed = study.with_attributes(ImageComments="other").objects()[2]
    assert await keep(house, sender, changed) is Outcome.CANDIDATE
    assert await keep(house, sender, study.objects()[1]) is Outcome.DUPLICATE
    await settle_all(house, context)
    await keep_all(house, context, a_study("P7", "HOSP").with_series("CT", instances=2, **BIG))
    await chores(house, context)
    if not landed:
        async with house.work.session() as connection:
            await connection.execute("UPDATE lease SET closed = now(), expires = now()")
        while await clear_gone(house.work, house.blobs, {context.tenant.key: context.tenant}):
            pass
    before = await everything(house, context)
    assert bool(before["packed going"]) is landed
    assert len(before["packed packs"]) >= 4

    async with again(house) as (fresh, report):
        after = await everything(fresh, context)
        assert before.keys() == after.keys()
        for name, answer in before.items():
            assert after[name] == answer, name
        assert (report.damaged, report.findings) == (0, [])
        assert report.found == 7 + 1 + 2 + 5  # instances, and what was kept aside
        await sound(fresh, context)
    async with again(house) as (fresh, _):
        assert await everything(fresh, context) == before


async def test_the_highest_generation_is_taken_and_what_it_replaced_goes(
    house: House, context: Context
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=MERGE_AT + 1, **BIG)
    objects = study.objects()
    for built in objects:
        assert await keep(house, context, built) is Outcome.STORED
        await settle_all(house, context)
    before = await everything(house, context)
    assert [row[1] for row in before["packed packs"]] == [MERGE_AT + 1]
    async with again(house) as (fresh, report):
        assert (report.found, report.damaged) == (len(objects), 0)
        after = await everything(fresh, context)
        assert after == before  # old generations with all that belongs to them are to go
        assert len(after["packed going"]) == len(objects) + 4 * MERGE_AT
        await sound(fresh, context)
        async with fresh.work.session() as connection:
            await connection.execute("UPDATE blob_going SET after = now()")
            await connection.execute("UPDATE lease SET closed = now(), expires = now()")
        while await clear_gone(fresh.work, fresh.blobs, {context.tenant.key: context.tenant}):
            pass
        assert (len(keys(fresh, context, PACK)), keys(fresh, context, LANDED)) == (1, [])
        for at, built in zip(await places(fresh, context, study), objects, strict=True):
            assert await served(fresh, at) == built.dataset
        await sound(fresh, context)


class Killed(BaseException):
    """Nothing of the product catches it."""


@pytest.mark.parametrize("settled_after", [False, True])
async def test_a_generation_that_was_never_switched_to(
    house: House, context: Context, monkeypatch: pytest.MonkeyPatch, settled_after: bool
) -> None:
    """Killed between manifest and commit: it is whole, and is taken unless there is a later one."""
    study = a_study("P1", "HOSP").with_series("CT", instances=3, **BIG)
    await keep_all(house, context, study)

    def killed_at_s4(point: str) -> None:
        if point == "s4":
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("lightwell.domain.archive.settle_api.reach", killed_at_s4)
        with pytest.raises(Killed):
            await settle_all(house, context)
    left = keys(house, context, PACK)
    await sound(house, context)  # an orphan, no damage
    if settled_after:
        assert await settle_all(house, context) == 3
    taken = set(keys(house, context, PACK)) - set(left) if settled_after else set(left)
    async with again(house) as (fresh, report):
        assert (report.found, report.damaged) == (3, 0)
        assert {at.landed.key for at in await places(fresh, context, study)} == taken
        await sound(fresh, context)
        async with fresh.work.session() as connection:
            await connection.execute("UPDATE blob_going SET after = now()")
            await connection.execute("UPDATE lease SET closed = now(), expires = now()")
        await clear_gone(fresh.work, fresh.blobs, {context.tenant.key: context.tenant})
        assert set(keys(fresh, context, PACK)) == taken
        assert not keys(fresh, context, LANDED)
        assert len(keys(fresh, context, MANIFEST)) == 1


Harm = Callable[[House, Context], Awaitable[None]]


async def _truncate(house: House, context: Context) -> None:
    (key,) = keys(house, context, PACK)[:1]
    data = house.blobs.read(key)
    house.blobs.delete(key)
    house.blobs.put(key, data[: len(data) // 2])


async def _flip(house: House, context: Context) -> None:
    (key,) = keys(house, context, PACK)[:1]
    data = bytearray(house.blobs.read(key))
    data[2048] ^= 0x10  # in the first entry
    house.blobs.delete(key)
    house.blobs.put(key, bytes(data))


async def _lose(house: House, context: Context) -> None:
    house.blobs.delete(keys(house, context, PACK)[0])


@pytest.mark.parametrize(
    ("harm", "lost", "words"),
    [(_truncate, 2, "bytes, not"), (_flip, 1, "checksum"), (_lose, 2, "its pack is lost")],
)
async def test_a_damaged_pack_is_named_and_the_rest_comes_back(
    house: House, context: Context, harm: Harm, lost: int, words: str
) -> None:
    house.settings = replace(house.settings, landed_grace=0.0)
    studies = [
        a_study(f"P{n}", "HOSP", seed=n).with_series("CT", instances=2, **BIG) for n in range(3)
    ]
    for study in studies:
        await keep_all(house, context, study)
    assert await settle_all(house, context) == 6
    while await clear_gone(house.work, house.blobs, {context.tenant.key: context.tenant}):
        pass
    await harm(house, context)
    async with again(house) as (fresh, report):
        assert report.damaged
        assert any(words in finding for finding in report.findings), report.findings
        assert (await fresh.archive.totals(context)).instances == 6 - lost
        remaining = [at for study in studies for at in await _if_any(fresh, context, study)]
        for at in remaining:
            assert await served(fresh, at)
        assert len(remaining) == 6 - lost


async def _if_any(house: House, context: Context, study: StudyBuilder) -> list[Located]:
    try:
        return await places(house, context, study)
    except Missing:
        return []


async def test_what_a_damaged_pack_held_is_taken_from_where_it_landed(
    house: House, context: Context
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=3, **BIG)
    await keep_all(house, context, study)
    await settle_all(house, context)
    await _flip(house, context)
    async with again(house) as (fresh, report):
        assert report.damaged == 1
        assert "taken from" in report.findings[0]
        found = await places(fresh, context, study)
        assert [at.landed.coded is None for at in found].count(True) == 1
        for at, built in zip(found, study.objects(), strict=True):
            assert await served(fresh, at) == built.dataset
        await sound(fresh, context)
        assert await settle_all(fresh, context) == 1
        await sound(fresh, context)


async def _lose_manifest(house: House, context: Context) -> None:
    for key in keys(house, context, MANIFEST):
        house.blobs.delete(key)


async def _lose_metadata(house: House, context: Context) -> None:
    for key in keys(house, context, MANIFEST):
        blobs = _named(house, key).blobs
        assert blobs is not None
        tenant = context.tenant
        house.blobs.delete(blob_key(tenant.region, tenant.name, "derived", blobs.metadata.blob_id))


def _named(house: House, key: str) -> Manifest:
    return read_manifest(house.blobs.read(key))


@pytest.mark.parametrize("harm", [_lose_manifest, _lose_metadata])
async def test_a_pack_that_lost_what_belongs_to_it_is_read_and_settled_anew(
    house: House, context: Context, harm: Harm
) -> None:
    house.settings = replace(house.settings, landed_grace=0.0)
    study = a_study("P1", "HOSP").with_series("CT", instances=3, **BIG)
    await keep_all(house, context, study)
    await settle_all(house, context)
    tenants = {context.tenant.key: context.tenant}
    while await clear_gone(house.work, house.blobs, tenants):
        pass
    before = await answers(house, context)
    await harm(house, context)
    async with again(house) as (fresh, report):
        assert report.damaged
        after = await answers(fresh, context)
        for built in study.objects():
            assert after[built.sop_uid] == before[built.sop_uid]
        assert await settle_all(fresh, context) == 3
        async with fresh.work.session() as connection:
            await connection.execute("UPDATE lease SET closed = now(), expires = now()")
        while await clear_gone(fresh.work, fresh.blobs, tenants):
            pass
        assert len(keys(fresh, context, PACK)) == 1
        for at, built in zip(await places(fresh, context, study), study.objects(), strict=True):
            assert await served(fresh, at) == built.dataset
        await sound(fresh, context)
    async with again(house) as (fresh, report):
        assert report.damaged == 0
        await sound(fresh, context)


async def test_a_pack_that_was_being_written_is_an_orphan_and_no_damage(
    house: House, context: Context
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=2, **BIG)
    await keep_all(house, context, study)
    before = await answers(house, context)
    tenant = context.tenant
    house.blobs.put(blob_key(tenant.region, tenant.name, PACK, uuid.uuid4()), b"\0" * 4096)
    async with again(house) as (fresh, report):
        assert (report.found, report.damaged) == (2, 0)
        assert await answers(fresh, context) == before
        await sound(fresh, context)
