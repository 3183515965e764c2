"""R07: several regions, each with a store of its own: what is a tenant's lies in its region alone."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lightwell.access.context import Context, system_context
from lightwell.app.binding import check_bound, check_regions
from lightwell.app.cooling import CoolingDuty, check_cool, cooling_of
from lightwell.app.courier import deliver_commitments
from lightwell.app.generation import Generation
from lightwell.app.heartbeat import ANSWERS, STORES, Beat
from lightwell.app.readiness import Numbers, Readiness
from lightwell.app.recovery import recheck_recent
from lightwell.app.regions import read_regions
from lightwell.app.reindex import reindex
from lightwell.app.settling import settling_of
from lightwell.app.stores import hot_store, open_stores
from lightwell.app.supervisor import prepare
from lightwell.app.upkeep import check_installation, leftovers
from lightwell.app.wiring import House
from lightwell.app.work_process import _clear, _flush, _look
from lightwell.backends.database.chores import roll_up_deltas
from lightwell.backends.database.clearing import clear
from lightwell.domain.archive.invariants import State
from lightwell.domain.archive.keys import JOURNAL, LANDED, PACK, STORE_ID, is_packed, region_of
from lightwell.domain.archive.model import Level, Outcome, Target
from lightwell.domain.archive.ports import StoreBroken, StoreUnavailable, WrongRegion
from lightwell.kernel.errors import Conflict, Invalid, Unavailable
from lightwell.testing.builders import StudyBuilder, a_study
from lightwell.testing.s3_proxy import Proxy
from lightwell.testing.seaweed import SeaweedFS
from tests.integration.test_settle import BIG, keep, keep_all, located, served, settle

if TYPE_CHECKING:
    from tests.conftest import DatabaseServer, Installation

in_a_bucket = pytest.mark.parametrize(
    "geneva", ["bucket"], indirect=True
)  # reached through a proxy
SMALL: dict[str, Any] = {"rows": 16, "columns": 16}  # lies in the database first
FILE = """
default = "local"

[regions.local]
store = "{local}"
jurisdiction = "CH"
cool_store = "{cool}"

[regions.geneva]
store = "{geneva}"
jurisdiction = "CH"

[regions.berlin]
store = "{berlin}"
jurisdiction = "EU"
"""


@dataclass
class Two:
    """An installation of two regions (and one under another law), a tenant in each."""

    house: House
    default: Context
    clinic: Context

    @property
    def contexts(self) -> dict[str, Context]:
        return {"local": self.default, "geneva": self.clinic}


@pytest.fixture(params=["folder", "bucket"])
def geneva(request: pytest.FixtureRequest, session_folder: Path) -> Iterator[tuple[str, Any]]:
    """Where the second region's store is, and the proxy before it, if it is a bucket."""
    if request.param == "folder":
        folder = session_folder / f"g{secrets.token_hex(6)}"
        yield str(folder), None
        shutil.rmtree(folder, ignore_errors=True)
        return
    server: SeaweedFS = request.getfixturevalue("seaweed")
    proxy = Proxy(server.ports["s3"])
    endpoint = f"http://127.0.0.1:{proxy.port}"
    yield server.store_url(prefix=f"g{secrets.token_hex(6)}", endpoint=endpoint), proxy
    proxy.close()


@pytest.fixture
def proxy(geneva: tuple[str, Any]) -> Proxy:
    found: Proxy = geneva[1]
    return found


@pytest.fixture
def installation(installation: Installation, geneva: tuple[str, Any]) -> Installation:
    data = installation.settings.data
    file = data / "regions.toml"
    file.write_text(
        FILE.format(
            local=installation.settings.store_url or data / "blobs",
            cool=data / "cool",
            geneva=geneva[0],
            berlin=data / "berlin",
        )
    )
    settings = replace(
        installation.settings, store_url=None, named_regions=read_regions(file, data)
    )
    environment = {**installation.environment, "LIGHTWELL_REGIONS": str(file)}
    environment.pop("LIGHTWELL_STORE_URL", None)
    return replace(installation, settings=settings, environment=environment)


@pytest.fixture
async def two(installation: Installation, house: House, context: Context) -> Two:
    assert await check_bound(house) == {}
    clinic = await house.tenants.create(context, "clinic", aet="CLINIC", region="geneva")
    assert (clinic.region, context.tenant.region) == ("geneva", "local")
    return Two(house, context, house.operator(clinic, "test"))


@asynccontextmanager
async def opened(installation: Installation, **changed: Any) -> AsyncIterator[House]:
    """Rooms of another process, which was told something else."""
    house = replace(installation, settings=replace(installation.settings, **changed)).open()
    try:
        yield house
    finally:
        await house.close()


async def work_through(two: Two, context: Context, name: str, seed: int) -> StudyBuilder:
    """What a tenant does in a day: store large and small, correct, reject, pack, replace, read."""
    house = two.house
    study = a_study(f"Zz{name}", "HOSP", name=f"Zz{name}^Jane", seed=seed)
    study = study.with_series("CT", instances=3, **BIG).with_series("MR", instances=2, **SMALL)
    objects = {built.sop_uid: built for built in await keep_all(house, context, study)}
    assert await keep(house, context, study.objects()[0]) is Outcome.DUPLICATE
    assert await keep(house, context, study.other_pixels().objects()[1]) is Outcome.CONFLICT
    edit = {"00081030": {"vr": "LO", "Value": [f"Zz{name} head"]}}
    target = Target(Level.STUDY, study_uid=study.study_uid)
    await house.archive.correct(context, target, edit, "typing error")
    while await _flush(house, context.tenant.region):
        pass
    for series in range(2):
        await settle(house, context, study, series)
    async with house.work.session() as connection:
        await connection.execute("UPDATE blob_going SET after = now()")
    assert await _clear(house, context.tenant.region) > 0
    for at in await located(house, context, study):
        assert is_packed(at.landed.key)
        arrived = await asyncio.to_thread(lambda: b"".join(house.archive.original(at)))  # noqa: B023
        assert arrived.endswith(objects[at.sop_uid].dataset)
    return study


def listed(house: House, region: str) -> set[str]:
    """What the store itself says lies in it, whatever that is."""
    return {info.key for info in hot_store(house.stores[region]).bare.list("")}


def contents(house: House, region: str) -> bytes:
    """Every byte of a region: its store, and what belongs to it on this machine."""
    bare = hot_store(house.stores[region]).bare
    (place,) = [each for each in house.settings.regions if each.name == region]
    files = [path for folder in place.folders for path in folder.rglob("*") if path.is_file()]
    objects = [bare.read(info.key) for info in bare.list("")]
    return b"\n".join([*objects, *(path.read_bytes() for path in files)])


async def broken(house: House, context: Context) -> list[str]:
    while await roll_up_deltas(house.work):
        pass
    checked = await check_installation(house, context, deep=True)
    assert checked.away == {}
    assert checked.orphans.count == 0
    return [f"{i.name} {i.found.findings}" for i in checked.invariants() if i.state is State.BROKEN]


async def test_r07_what_is_a_tenant_s_lies_in_its_region_alone(
    installation: Installation, two: Two
) -> None:
    house = two.house
    studies = {
        region: await work_through(two, context, region, seed)
        for seed, (region, context) in enumerate(two.contexts.items())
    }
    for region, context in two.contexts.items():
        keys = listed(house, region)
        assert {region_of(key) for key in keys} == {region, STORE_ID}
        kinds = {key.split("/")[2] for key in keys if key.startswith(f"{region}/")}
        assert {LANDED, PACK, JOURNAL} <= kinds, "a conflict, packs, decisions"
        mine = f"/{context.tenant.name}/"
        assert all(mine in key for key in keys if key != STORE_ID)
    assert listed(house, "berlin") == {STORE_ID}
    marks = {hot_store(store).bare.read(STORE_ID) for store in house.stores.values()}
    assert len(marks) == 3
    for region, other in (("local", "geneva"), ("geneva", "local")):
        everything = contents(house, other)
        for word in (studies[region].study_uid, f"Zz{region}"):
            assert word.encode() in contents(house, region), "the search finds what is there"
            assert word.encode() not in everything
    assert await broken(house, two.default) == []

    before = {r: await house.archive.totals(c) for r, c in two.contexts.items()}
    await clear(installation.info)
    report = await reindex(installation.settings, installation.info, may_clear=False)
    assert report.damaged == 0
    while await roll_up_deltas(house.work):
        pass
    house.archive.forget(two.default, "")
    house.archive.forget(two.clinic, "")
    for region, context in two.contexts.items():
        found = await house.archive.totals(context)
        assert (found.studies, found.instances) == (before[region].studies, 5)
        for at in await located(house, context, studies[region]):
            assert region_of(at.landed.key) == region
            assert await served(house, at)
    assert await broken(house, two.default) == []


async def test_r07_a_lost_database_comes_back_with_each_tenant_in_its_region(
    installation: Installation, two: Two, database_server: DatabaseServer
) -> None:
    study = await work_through(two, two.clinic, "clinic", 3)
    info = database_server.fresh()
    try:
        report = await reindex(installation.settings, info, may_clear=False)
        assert report.damaged == 0
        async with opened(replace(installation, info=info)) as house:
            clinic = await house.tenants.named("clinic")
            assert clinic.region == "geneva"
            assert len(await located(house, system_context(clinic), study)) == 5
            assert await check_bound(house) == {}
    finally:
        database_server.drop(info)


@pytest.mark.parametrize("size", [SMALL, BIG], ids=["in the row", "in the store"])
async def test_r07_nothing_is_kept_under_a_region_that_is_not_there(
    two: Two, size: dict[str, Any]
) -> None:
    before = {region: listed(two.house, region) for region in two.house.stores}
    lost = replace(two.clinic, tenant=replace(two.clinic.tenant, region="paris"))
    study = a_study("P1").with_series("CT", instances=1, **size)
    if size is BIG:
        with pytest.raises(WrongRegion):
            await keep(two.house, lost, study.only())
        assert (await two.house.archive.totals(two.clinic)).instances == 0
    else:
        with pytest.raises(WrongRegion):
            await two.house.journal.append(lost.tenant, "tenant", {})
    assert {region: listed(two.house, region) for region in two.house.stores} == before


async def test_r07_a_store_refuses_a_tenant_of_another_region(two: Two) -> None:
    """A room that was given the wrong store: nothing is written, read or deleted."""
    study = a_study("P1").with_series("CT", instances=1, **BIG)
    await keep_all(two.house, two.clinic, study)
    (at,) = await located(two.house, two.clinic, study)
    wrong = two.house.stores["local"]
    before = listed(two.house, "local")
    for ask in (
        lambda: wrong.begin(at.landed.key),
        lambda: wrong.put(at.landed.key, b"x"),
        lambda: wrong.read(at.landed.key),
        lambda: wrong.delete(at.landed.key),
    ):
        with pytest.raises(WrongRegion):
            ask()
    assert listed(two.house, "local") == before


async def test_where_a_tenant_can_be_made(two: Two, installation: Installation) -> None:
    create = two.house.tenants.create
    made = await create(two.default, "other", aet="OTHER")
    assert made.region == "local"
    with pytest.raises(Invalid, match="no region 'paris'") as unknown:
        await create(two.default, "third", aet="THIRD", region="paris")
    assert "berlin, geneva, local" in str(unknown.value.remedy)
    with pytest.raises(Conflict, match="under EU") as foreign:
        await create(two.default, "third", aet="THIRD", region="berlin")
    assert "installation of its own" in str(foreign.value.remedy)
    with pytest.raises(Conflict, match="lies in region geneva"):
        await create(two.default, "clinic", aet="CLINIC", region="local")
    places = await two.house.tenants.regions(two.default)
    assert [place.name for place in places] == ["local", "geneva"]


async def test_the_commands_say_and_take_the_region(two: Two, installation: Installation) -> None:
    made = await asyncio.to_thread(
        installation.run, "tenant", "create", "ward", "--aet", "WARD", "--region", "geneva"
    )
    assert (made.returncode, "region geneva" in made.stdout) == (0, True), made.stderr
    told = await asyncio.to_thread(installation.run, "tenant", "list", "--json", check=True)
    regions = {row["name"]: row["region"] for row in json.loads(told.stdout)}
    assert regions == {"default": "local", "clinic": "geneva", "ward": "geneva"}
    wrong = await asyncio.to_thread(
        installation.run, "tenant", "create", "x", "--aet", "X", "--region", "paris"
    )
    assert wrong.returncode == 2
    assert "berlin, geneva, local" in wrong.stderr
    without = {k: v for k, v in installation.environment.items() if k != "LIGHTWELL_REGIONS"}
    forgotten = replace(installation, environment=without)
    refused = await asyncio.to_thread(forgotten.run, "tenant", "list")
    assert refused.returncode == 2
    assert "LIGHTWELL_REGIONS" in refused.stderr


async def test_stores_that_changed_places_are_refused(two: Two, installation: Installation) -> None:
    await keep_all(two.house, two.clinic, a_study("P1").with_series("CT", instances=1, **BIG))
    first, second, third = installation.settings.named_regions
    assert first.name == "local"
    swapped = (replace(first, store=second.store), replace(second, store=first.store), third)
    async with opened(installation, named_regions=swapped) as house:
        with pytest.raises(Conflict, match="region local is that of region geneva"):
            await check_bound(house)
        with pytest.raises(Conflict, match="images of region geneva, and none of its own"):
            await reindex(house.settings, installation.info, may_clear=True)
        assert (await two.house.archive.totals(two.clinic)).instances == 1
    same = (first, replace(second, store=first.store), third)
    async with opened(installation, named_regions=same) as house:
        with pytest.raises(Conflict, match="have the same store"):
            await check_bound(house)
    async with opened(installation) as house:
        assert await check_bound(house) == {}


async def test_a_tenant_whose_region_is_forgotten_stops_a_start(
    two: Two, installation: Installation
) -> None:
    regions = installation.settings.named_regions
    await check_regions(two.house)
    async with opened(
        installation, named_regions=tuple(r for r in regions if r.name != "geneva")
    ) as house:
        with pytest.raises(Conflict, match="clinic lie in region geneva, which is not named"):
            await check_regions(house)
    async with opened(installation, named_regions=()) as house:
        with pytest.raises(Conflict, match="not named"):
            await check_regions(house)
    async with opened(installation, jurisdiction="EU") as house:
        with pytest.raises(Conflict, match="its rows under EU"):
            await check_regions(house)


@in_a_bucket
async def test_a_region_that_is_away_does_not_stop_the_others(
    two: Two, installation: Installation, proxy: Proxy
) -> None:
    house = two.house
    kept = a_study("P0", seed=9).with_series("CT", instances=2, **BIG)
    small = a_study("P9", seed=8).with_series("CT", instances=1, **SMALL)
    await keep_all(house, two.clinic, kept)
    places = await located(house, two.clinic, kept)
    proxy.misbehave("503")
    await keep_all(house, two.clinic, small)  # in the row, as in an outage of the only store
    with pytest.raises(Unavailable):
        await keep(house, two.clinic, a_study("P1").with_series("CT", **BIG).only())
    with pytest.raises(StoreUnavailable):
        await served(house, places[0])

    study = a_study("P2", seed=2).with_series("CT", instances=2, **BIG)
    study = study.with_series("MR", instances=1, **SMALL)
    objects = {built.sop_uid: built for built in await keep_all(house, two.default, study)}
    with pytest.raises(StoreUnavailable):
        await _flush(house, "geneva")
    assert await _flush(house, "local") == 1
    await settle(house, two.default, study)
    with pytest.raises(StoreUnavailable):
        await settling_of(house).settle(two.clinic, kept.study_uid, kept.series_uid(0))
    for at in await located(house, two.default, study):
        assert await served(house, at) == objects[at.sop_uid].dataset
    readiness = Readiness(house)
    assert set(await readiness.away()) == {"store geneva"}
    assert "store geneva" not in await readiness.problems()
    answers: dict[str, bool] = {}
    for region in house.stores:
        await _look(house, region, answers)
    assert answers == {"local": True, "geneva": False, "berlin": True}

    checked = await check_installation(house, two.default, deep=False)
    assert set(checked.away) == {"geneva"}
    said = await asyncio.to_thread(installation.run, "fsck", "--json")
    assert said.returncode == 2, said.stderr
    told = json.loads(said.stdout)
    assert (told["ok"], set(told["regions_not_checked"])) == (False, {"geneva"})
    with pytest.raises(StoreUnavailable):
        await reindex(installation.settings, installation.info, may_clear=True)
    assert (await house.archive.totals(two.default)).instances == 3, "nothing was emptied"

    proxy.misbehave("pass")
    await until_back(house)
    assert await _flush(house, "geneva") == 1
    assert await settle(house, two.clinic, kept)
    for at in await located(house, two.clinic, kept):
        assert await served(house, at)
    assert await broken(house, two.default) == []


@in_a_bucket
async def test_commitments_of_others_do_not_wait_for_a_region_that_is_away(
    two: Two, proxy: Proxy
) -> None:
    house = two.house
    made = await house.tenants.create(two.default, "later", aet="LATER", region="local")
    later = house.operator(made, "test")
    proxy.misbehave("503")
    for context in (two.clinic, later):
        study = a_study("P1").with_series("CT", instances=1, **SMALL)
        await keep_all(house, context, study)
        one = study.only()
        items = ((one.sop_class, one.sop_uid),)
        assert await house.archive.request_commitment(context, "1.2.3", items, "LIGHTWELL")
    assert await deliver_commitments(house) == 0, "nobody is registered to be told"
    tried = {}
    async with house.work.session() as connection:
        for row in await connection.fetch("SELECT tenant, attempts FROM commitment"):
            tried[row["tenant"]] = row["attempts"]
    assert tried == {two.clinic.tenant.key: 0, made.key: 1}


async def until_back(house: House) -> None:
    """A store that failed is left alone for some seconds."""
    for _ in range(100):
        answers: dict[str, bool] = {}
        await _look(house, "geneva", answers)
        if answers["geneva"]:
            return
        await asyncio.sleep(0.2)
    pytest.fail("the store did not come back")


@in_a_bucket
async def test_a_start_while_a_region_is_away_and_its_mark_is_looked_for_later(
    two: Two, installation: Installation, proxy: Proxy
) -> None:
    study = a_study("P0").with_series("CT", instances=1, **BIG)
    await keep_all(two.house, two.clinic, study)
    proxy.misbehave("503")
    said: list[str] = []
    settings = await prepare(installation.settings, installation.info, said.append)
    assert any("region geneva does not answer" in text for text in said)
    marks = {region.name: region.expects for region in settings.regions}
    assert (marks["local"], marks["geneva"] is None) == (None, False)
    generation = Generation(settings, installation.info, "work")
    assert json.loads(generation.to_text())["regions"], "children are told"
    async with opened(installation, named_regions=settings.named_regions) as house:
        assert await recheck_recent(house, {"geneva"}) == 0
        await keep_all(house, two.default, a_study("P3").with_series("CT", **BIG))
        with pytest.raises(StoreUnavailable):
            await keep(house, two.clinic, a_study("P4").with_series("CT", **BIG).only())
        proxy.misbehave("pass")
        await until_back(house)
        await keep_all(house, two.clinic, a_study("P4").with_series("CT", **BIG))
    # Meanwhile it was exchanged for another: what bears another mark is asked nothing.
    bare = hot_store(two.house.stores["geneva"]).bare
    mark = bare.read(STORE_ID)
    bare.put(STORE_ID, secrets.token_hex(16).encode(), replace=True)
    async with opened(installation, named_regions=settings.named_regions) as house:
        with pytest.raises(StoreBroken, match="not the one that the database knows"):
            await keep(house, two.clinic, a_study("P5").with_series("CT", **BIG).only())
        assert set(await Readiness(house).away()) == {"store geneva"}
    bare.put(STORE_ID, mark, replace=True)


@in_a_bucket
async def test_a_region_has_to_answer_once_before_it_may_be_away(
    two: Two, installation: Installation, proxy: Proxy
) -> None:
    first, second, third = installation.settings.named_regions
    fresh = replace(second, name="basel")
    proxy.misbehave("503")
    async with opened(installation, named_regions=(first, second, third, fresh)) as house:
        with pytest.raises(StoreUnavailable, match="has not been used yet"):
            await check_bound(house)
    with pytest.raises(StoreUnavailable):
        open_stores(replace(installation.settings, named_regions=(second,)), examine=True)


async def test_each_region_has_its_own_cool_store(two: Two) -> None:
    house = two.house
    for context in two.contexts.values():
        study = a_study("P1", seed=context.tenant.key).with_series("CT", instances=2, **BIG)
        await keep_all(house, context, study)
        await settle(house, context, study)
        if context.tenant.region == "local":
            assert await cooling_of(house, "local").cool(context, study.study_uid) == 1
            for at in await located(house, context, study):
                assert await served(house, at)
        else:
            with pytest.raises(Invalid, match="region geneva has no cool store"):
                cooling_of(house, "geneva")
    assert await CoolingDuty(house, "geneva").step() == 0
    await check_cool(house)
    assert not [key for key in listed(house, "geneva") if "/default/" in key]


async def test_a_cool_store_that_is_forgotten_is_missed(
    two: Two, installation: Installation
) -> None:
    study = a_study("P1").with_series("CT", instances=2, **BIG)
    await keep_all(two.house, two.default, study)
    await settle(two.house, two.default, study)
    await cooling_of(two.house, "local").cool(two.default, study.study_uid)
    first, *others = installation.settings.named_regions
    async with opened(
        installation, named_regions=(replace(first, cool_store=None), *others)
    ) as house:
        with pytest.raises(Conflict, match="Packs of region local"):
            await check_cool(house)


async def test_what_waits_lies_in_the_region(two: Two) -> None:
    settings = two.house.settings
    folders = {region.name: str(region.staging) for region in settings.regions}
    assert len(set(folders.values())) == 3
    assert {name: settings.folder_of(name) for name in folders} == folders
    assert settings.folder_of("paris") is None
    left = Path(folders["geneva"]) / "object-1"
    left.write_bytes(b"x")
    os.utime(left, (1, 1))
    assert [str(left) in text for text in leftovers(settings).findings] == [True]


async def test_metrics_name_the_region(house: House) -> None:
    numbers = Numbers(house)
    beats = [
        Beat("work", "work", 1, 0.1, {"x": 1.0}, {ANSWERS: {"geneva": False, "local": True}}),
        Beat("http-1", "http", 2, 0.1, {}, {STORES: {"geneva": {"store_puts": 3}, "local": {}}}),
    ]
    numbers._heard = beats
    text = numbers.text().decode()
    assert 'lightwell_region_store_answers{region="geneva"} 0.0' in text
    assert 'lightwell_store_puts{process="http-1",region="geneva"} 3.0' in text
    numbers._heard = [Beat("work", "work", 1, 0.1, {"store_puts": 2.0}, {})]
    text = numbers.text().decode()
    assert "region" not in text
    assert 'lightwell_store_puts{process="work"} 2.0' in text


async def test_a_tenant_that_lies_in_two_stores_is_not_indexed(
    two: Two, installation: Installation
) -> None:
    """Somebody moved objects by hand."""
    study = a_study("P1").with_series("CT", instances=1, **BIG)
    await keep_all(two.house, two.clinic, study)
    (at,) = await located(two.house, two.clinic, study)
    moved = at.landed.key.replace("geneva/", "local/", 1)
    two.house.blobs.put(moved, two.house.blobs.read(at.landed.key))
    with pytest.raises(Conflict, match="lie in the regions"):
        await reindex(installation.settings, installation.info, may_clear=True)
    assert (await two.house.archive.totals(two.clinic)).instances == 1
    two.house.blobs.delete(moved)
