"""Storage classes: packs that nobody opens go to the cool store, say NEARLINE, and come back when read."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lightwell.access.context import Context
from lightwell.app.cooling import CoolingDuty, check_cool, cooling_of
from lightwell.app.reindex import reindex
from lightwell.app.wiring import House
from lightwell.backends.blobs.tiered import TieredStore
from lightwell.backends.database.clearing import clear
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.finding import build_query
from lightwell.domain.archive.keys import is_packed
from lightwell.domain.archive.model import Level
from lightwell.kernel.errors import Conflict
from lightwell.testing.builders import StudyBuilder, a_study
from lightwell.testing.seaweed import SeaweedFS
from tests.integration.test_settle import BIG, broken, keep, keep_all, located, served, settle

if TYPE_CHECKING:
    from tests.conftest import Installation

AVAILABILITY = "00080056"


@pytest.fixture
def installation(request: pytest.FixtureRequest, installation: Installation) -> Installation:
    """With a cool store: a folder of its own, or a prefix beside that of the hot one."""
    cool = str(installation.settings.data / "cool")
    if installation.settings.store_url is not None:
        server: SeaweedFS = request.getfixturevalue("seaweed")
        cool = server.store_url(prefix=f"cool{secrets.token_hex(6)}")
    settings = replace(installation.settings, cool_store_url=cool)
    environment = {**installation.environment, "LIGHTWELL_COOL_STORE_URL": cool}
    return replace(installation, settings=settings, environment=environment)


@pytest.fixture
async def house(installation: Installation, house: House) -> House:
    assert isinstance(house.blobs, TieredStore)
    return house


def lying(house: House) -> tuple[int, int]:
    """How many packs lie in the hot store, and in the cool one."""
    assert isinstance(house.blobs, TieredStore)
    stores = (house.blobs.hot, house.blobs.cool)
    hot, cool = (sum(is_packed(info.key) for info in store.list("")) for store in stores)
    return hot, cool


async def availability(house: House, context: Context, study: StudyBuilder) -> dict[Level, str]:
    found = {}
    for level in (Level.STUDY, Level.SERIES, Level.INSTANCE):
        query = build_query(level, [], study_uids=[study.study_uid])
        page = await house.archive.find(context, query)
        (said,) = {one.attributes[AVAILABILITY]["Value"][0] for one in page.items}
        found[level] = said
    return found


async def age(house: House, days: float) -> None:
    """Everything happened so many days earlier."""
    async with house.work.session() as connection:
        for column in ("series_pack.packed", "series_pack.cooled", "lease.granted"):
            table, name = column.split(".")
            await connection.execute(
                f"UPDATE {table} SET {name} = {name} - make_interval(secs => $1)", days * 86400
            )


async def read(house: House, context: Context, study: StudyBuilder, size: int) -> None:
    """Be given a lease, and so many bytes under it."""
    lease = await house.archive.locate(context, study.study_uid)
    house.archive.used(context, lease, 1, size)
    house.archive.forget(context, study.study_uid)
    await noted(house)


async def noted(house: House) -> None:
    """Until what nobody waits for is written."""
    while house.committer._noting is not None and not house.committer._noting.done():
        await asyncio.sleep(0.02)


async def test_a_cool_series_is_nearline_and_read_as_before(house: House, context: Context) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=3, **BIG)
    objects = {built.sop_uid: built for built in await keep_all(house, context, study)}
    await settle(house, context, study)
    assert set((await availability(house, context, study)).values()) == {"ONLINE"}
    open_before = await located(house, context, study)

    assert await cooling_of(house).cool(context, study.study_uid) == 1

    assert lying(house) == (0, 1)
    assert set((await availability(house, context, study)).values()) == {"NEARLINE"}
    for at in (*open_before, *await located(house, context, study)):
        assert await served(house, at) == objects[at.sop_uid].dataset
    assert await broken(house, context) == []
    assert await cooling_of(house).cool(context, study.study_uid) == 0

    assert await cooling_of(house).recall(context, study.study_uid) == 1
    assert lying(house) == (1, 0)
    assert set((await availability(house, context, study)).values()) == {"ONLINE"}
    for at in open_before:
        assert await served(house, at) == objects[at.sop_uid].dataset


async def test_the_rule_moves_what_nobody_opened_and_brings_back_what_is_read(
    house: House, context: Context
) -> None:
    old = a_study("P1", "HOSP", seed=1).with_series("CT", instances=2, **BIG)
    opened = a_study("P2", "HOSP", seed=2).with_series("MR", instances=2, **BIG)
    for study in (old, opened):
        await keep_all(house, context, study)
        await settle(house, context, study)
    duty = CoolingDuty(house, context.tenant.region)
    assert await duty.step() == 0, "neither is old"
    await age(house, 200)
    await located(house, context, opened)
    await noted(house)
    assert await duty.step() == 1
    assert await duty.step() == 0
    assert (await availability(house, context, old))[Level.STUDY] == "NEARLINE"
    assert (await availability(house, context, opened))[Level.STUDY] == "ONLINE"

    await age(house, 1)
    await read(house, context, old, 100)  # a thumbnail
    assert await duty.step() == 0
    await read(house, context, old, 200_000)
    assert await duty.step() == 1
    assert (await availability(house, context, old))[Level.STUDY] == "ONLINE"
    assert await broken(house, context) == []


async def test_late_images_of_a_cool_series_and_what_is_merged(
    house: House, context: Context
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=4, **BIG)
    made = study.objects()
    objects = {built.sop_uid: built for built in made}
    for built in made[:2]:
        await keep(house, context, built)
    await settle(house, context, study)
    await cooling_of(house).cool(context, study.study_uid)
    for built in made[2:]:
        await keep(house, context, built)
    await settle(house, context, study)
    assert lying(house) == (1, 1)
    assert (await availability(house, context, study))[Level.SERIES] == "NEARLINE"
    for at in await located(house, context, study):
        assert await served(house, at) == objects[at.sop_uid].dataset
    assert await cooling_of(house).recall(context, study.study_uid) == 1
    assert lying(house) == (2, 0)
    assert await broken(house, context) == []


async def test_a_damaged_pack_stays_and_is_not_tried_every_minute(
    house: House, context: Context
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=2, **BIG)
    await keep_all(house, context, study)
    await settle(house, context, study)
    (key,) = [info.key for info in house.blobs.list("") if is_packed(info.key)]
    data = bytearray(house.blobs.read(key))
    data[len(data) // 2] ^= 4
    house.blobs.put(key, bytes(data), replace=True)
    await age(house, 200)
    duty = CoolingDuty(house, context.tenant.region)
    with pytest.raises(Damaged, match="not moved"):
        await duty.step()
    assert lying(house) == (1, 0)
    assert await duty.step() == 0
    assert (await availability(house, context, study))[Level.STUDY] == "ONLINE"


async def test_a_reindex_finds_what_lies_in_the_cool_store(
    installation: Installation, house: House, context: Context
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=3, **BIG)
    objects = {built.sop_uid: built for built in await keep_all(house, context, study)}
    await settle(house, context, study)
    await cooling_of(house).cool(context, study.study_uid)
    await clear(installation.info)
    await reindex(installation.settings, installation.info, may_clear=False)
    assert (await availability(house, context, study))[Level.STUDY] == "NEARLINE"
    for at in await located(house, context, study):
        assert await served(house, at) == objects[at.sop_uid].dataset
    assert await broken(house, context) == []


async def test_commands_move_and_a_forgotten_cool_store_is_refused(
    installation: Installation, house: House, context: Context
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=2, **BIG)
    await keep_all(house, context, study)
    await settle(house, context, study)
    done = await asyncio.to_thread(installation.run, "cool", study.study_uid, "--json", check=True)
    assert json.loads(done.stdout) == {"packs": 1, "damaged": []}
    assert lying(house) == (0, 1)
    without = replace(
        installation, settings=replace(installation.settings, cool_store_url=None)
    ).open()
    try:
        with pytest.raises(Conflict, match="none is named"):
            await check_cool(without)
    finally:
        await without.close()
    await check_cool(house)
    done = await asyncio.to_thread(
        installation.run, "recall", study.study_uid, "--json", check=True
    )
    assert json.loads(done.stdout)["packs"] == 1
    assert lying(house) == (1, 0)
    missing = await asyncio.to_thread(installation.run, "cool", "1.2.3")
    assert missing.returncode == 2, missing.stderr
    assert "There is no such study" in missing.stderr
