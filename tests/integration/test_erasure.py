"""A tenant erased from a real database and a real store: nothing of it is left, nothing else is touched."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from lightwell.access.context import Context, Tenant
from lightwell.access.roles import Role
from lightwell.app import export as export_module
from lightwell.app.erasing import ErasingDuty, erase_to_its_end, erasure_of
from lightwell.app.export import export_tenant
from lightwell.app.http import http_application
from lightwell.app.offices import offices_of
from lightwell.app.reindex import reindex
from lightwell.app.upkeep import check_installation
from lightwell.app.wiring import House, open_house
from lightwell.backends.database.chores import flush_inline
from lightwell.backends.database.handing import New
from lightwell.backends.database.pool import connect
from lightwell.backends.database.roles import Role as DatabaseRole
from lightwell.backends.database.sequencer import step as sequence
from lightwell.backends.engine.desk import Desk
from lightwell.backends.engine.schema import migrate_engine
from lightwell.domain.archive.invariants import whole
from lightwell.domain.archive.model import Outcome
from lightwell.domain.peers.model import Peer
from lightwell.domain.people.model import RelationKind
from lightwell.domain.people.opening import Visitor
from lightwell.gateways.http.guard import DoorLimits
from lightwell.kernel.errors import Conflict, Missing
from lightwell.testing.builders import a_study
from tests.integration.test_reindex import keep
from tests.integration.test_tenant_export import kept_in

WHY = "the contract has ended"
HOST = "https://pacs.test"


@pytest.fixture
async def clinic(house: House, context: Context) -> Tenant:
    """A tenant with something of everything, and a neighbour with the same patient."""
    made = await house.tenants.create(context, "clinic", aet="CLINIC")
    north = await house.tenants.create(context, "north", aet="NORTH")
    for tenant in (made, north):
        theirs = house.operator(tenant, "test")
        await kept_in(house, theirs)
        await house.people.add(theirs, "ada", name="Ada", roles=[Role.RADIOLOGIST])
        await house.relations.relate(theirs, "ada", RelationKind.TREATS, "P1")
        await house.peers.add(theirs, Peer("CT9", "10.0.0.0/8", 104))
        await house.policies.put(
            theirs, '@id("closed") @reason("r") forbid (principal is Web, action, resource);'
        )
        await house.engine.start(tenant, "settle_series", "settle_series:1", {})
    await house.tenants.name(context, "clinic", titles=["WARD"], hosts=["clinic.example"])
    return made


async def rows_of(house: House, number: int) -> dict[str, int]:
    """How many rows of a tenant each table has, of those that have any."""
    owner = await connect(house.info, DatabaseRole.OWNER)
    try:
        tables = await owner.fetch(
            "SELECT table_name FROM information_schema.columns c JOIN information_schema.tables t"
            " USING (table_schema, table_name) WHERE table_schema = 'public' AND column_name = 'tenant'"
            " AND table_type = 'BASE TABLE'"
        )
        assert len(tables) > 35
        found = {}
        for (table,) in tables:
            count = await owner.fetchval(
                f'SELECT count(*) FROM "{table}" WHERE tenant = $1', number
            )
            if count:
                found[table] = count
        return found
    finally:
        await owner.close()


async def sequenced(house: House) -> None:
    """What the background work does with what was written."""
    await asyncio.sleep(0.2)  # notes are written every tenth of a second
    connection = await connect(house.info, DatabaseRole.WORK)
    try:
        await sequence(connection)
    finally:
        await connection.close()


def keys_of(house: House, name: str) -> list[str]:
    return [info.key for info in house.blobs.list(f"local/{name}")]


async def erase(house: House, context: Context, name: str = "clinic") -> None:
    await house.tenants.suspend(context, name, WHY)
    await house.erasing.begin(context, name, name, WHY)
    await erase_to_its_end(house, name, lambda _rows, _objects: None)


async def records(house: House, context: Context) -> list[tuple[str, str, str]]:
    async with house.database.transaction(context.tenant) as connection:
        rows = await connection.fetch(
            "SELECT actor, outcome, detail FROM audit WHERE action = 'tenants:tenant:erase'"
            " ORDER BY xid, audit_id"
        )
    return [tuple(row) for row in rows]


async def test_nothing_of_it_is_left_and_nothing_else_is_touched(
    house: House, context: Context, clinic: Tenant
) -> None:
    north = await house.tenants.known("north")
    await sequenced(house)
    kinds = {key.split("/")[2] for key in keys_of(house, "clinic")}
    assert kinds == {"landed", "pack", "manifest", "derived", "journal"}
    theirs = await rows_of(house, clinic.key)
    for table in (
        *(
            "patient",
            "patient_word",
            "study",
            "series",
            "instance",
            "blob",
            "series_pack",
            "blob_going",
        ),
        *("person", "relation", "peer", "tenant_policy", "tenant_name", "work_run"),
        *("audit", "event", "feed_batch", "audit_batch"),
    ):
        assert theirs[table], table
    before = await rows_of(house, north.key), keys_of(house, "north")
    prospect = await house.erasing.prospect(context, "clinic")
    assert (prospect.keeps.studies, prospect.keeps.objects) == (3, 6)
    used = (await house.tenants.usage(context))[clinic.key]
    assert prospect.keeps.bytes == used.bytes > 0
    assert prospect.obstacle is not None
    await erase(house, context)
    assert await rows_of(house, clinic.key) == {}
    assert keys_of(house, "clinic") == []
    assert (await rows_of(house, north.key), keys_of(house, "north")) == before
    await sequenced(house)
    checked = await check_installation(house, context, deep=True)
    assert whole(checked.invariants()), [i for i in checked.invariants() if i.found.damaged]
    assert checked.orphans.count == checked.orphans.young == 0
    said = await records(house, context)
    assert [(actor, outcome) for actor, outcome, _ in said] == [
        ("operator:test", "done"),
        ("system:erase", "done"),
    ]
    for _, _, detail in said:
        assert f"3 studies, 6 objects, {used.bytes} bytes" in detail
        assert WHY in detail
    assert "operator:test" in said[1][2]
    with pytest.raises(Conflict, match="was erased"):
        await house.tenants.create(context, "clinic", aet="CLINIC")
    assert (await house.tenants.create(context, "ward", aet="WARD")).key > clinic.key


async def test_r04_the_database_deletes_nothing_of_a_tenant_that_is_not_being_erased(
    house: House, context: Context, clinic: Tenant
) -> None:
    before = await rows_of(house, clinic.key)
    work = await connect(house.info, DatabaseRole.WORK)
    app = await connect(house.info, DatabaseRole.APP)
    try:
        with pytest.raises(asyncpg.PostgresError, match="not being erased"):
            await work.execute("SELECT erase_rows($1, 'study', 100)", clinic.key)
        await house.tenants.suspend(context, "clinic", WHY)
        with pytest.raises(asyncpg.PostgresError, match="not being erased"):
            await work.execute("SELECT erase_rows($1, 'study', 100)", clinic.key)
        # A number that is another tenant's by now: the name on the record is not its.
        await work.execute(
            "INSERT INTO tenant_erasure (name, number, region, reason, author, begun, studies, objects,"
            " bytes) VALUES ('gone', $1, 'local', 'r', 'a', now(), 0, 0, 0)",
            clinic.key,
        )
        with pytest.raises(asyncpg.PostgresError, match="not being erased"):
            await work.execute("SELECT erase_rows($1, 'study', 100)", clinic.key)
        for statement in (
            "SELECT * FROM tenant_erasure",
            "SELECT erase_rows(1, 'study', 1)",
            "SELECT pass_tenant_number(100)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(statement)
        for statement in ("DELETE FROM tenant_erasure", "UPDATE tenant_erasure SET reason = 'x'"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await work.execute(statement)
        with pytest.raises(asyncpg.CheckViolationError):
            await work.execute(
                "INSERT INTO tenant_erasure (name, region, reason, author, begun, studies, objects, bytes)"
                " VALUES ('default', 'local', 'r', 'a', now(), 0, 0, 0)"
            )
    finally:
        await work.close()
        await app.close()
    after = await rows_of(house, clinic.key)
    assert {table: after[table] for table in ("study", "instance", "blob")} == {
        table: before[table] for table in ("study", "instance", "blob")
    }


async def test_a03_a_context_of_before_stores_nothing_after_it(
    house: House, context: Context, clinic: Tenant
) -> None:
    """An association that slept through all of it."""
    old = house.operator(clinic, "test")
    await erase(house, context)
    house.policy.forget()
    with pytest.raises(Exception, match="suspended"):
        await keep(house, old, a_study("P7").with_series("CT").only())
    assert await rows_of(house, clinic.key) in ({}, {"audit": 1})  # that it was refused
    await sequenced(house)
    await erasure_of(house).tidy()
    assert await rows_of(house, clinic.key) == {}
    assert keys_of(house, "clinic") == []


async def test_b07_a_reindex_does_not_bring_it_back(
    house: House, context: Context, clinic: Tenant
) -> None:
    await erase(house, context)
    stray = "local/clinic/landed/aa/bb/" + "0" * 32
    house.blobs.put(stray, b"x")  # of a process that was cut off: enough to be found as a tenant
    await lose_the_database(house)
    await reindex(house.settings, house.info, may_clear=True)
    fresh = open_house(house.settings, house.info)
    try:
        home = fresh.operator(await fresh.tenants.named(), "test")
        assert [t.name for t in await fresh.tenants.everyone()] == ["default", "north"]
        assert (
            await fresh.archive.totals(fresh.operator(await fresh.tenants.named("north")))
        ).studies == 3
        with pytest.raises(Conflict, match="was erased"):
            await fresh.tenants.create(home, "clinic", aet="CLINIC")
        checked = await check_installation(fresh, home, deep=False)
        assert [i.name for i in checked.invariants() if i.found.damaged] == ["I3"]
        await erase_to_its_end(fresh, "clinic", lambda _rows, _objects: None)
        assert keys_of(fresh, "clinic") == []
        checked = await check_installation(fresh, home, deep=True)
        assert whole(checked.invariants())
    finally:
        await fresh.close()


async def test_b07_a_reindex_in_the_midst_of_it_does_not_bring_it_back(
    house: House, context: Context, clinic: Tenant
) -> None:
    await house.tenants.suspend(context, "clinic", WHY)
    await house.erasing.begin(context, "clinic", "clinic", WHY)

    class Killed(BaseException):
        pass

    def heard(_rows: int, objects: int) -> None:
        if objects:
            raise Killed

    house.blobs.put("local/clinic/landed/aa/bb/" + "0" * 32, b"x")
    hands = erasure_of(house)
    one_by_one = hands.objects
    one_by_one._page = lambda listing: _one(house, listing)  # type: ignore[attr-defined]
    with pytest.raises(Killed):
        await hands.carry_out(house.operator(context.tenant), "clinic", heard)
    left = keys_of(house, "clinic")
    assert left
    look_again(house)
    checked = await check_installation(house, context, deep=False)  # rows are gone, objects are not
    assert whole(checked.invariants())
    assert "being erased" in checked.notes["I2"]
    for lost in (False, True):
        if lost:
            await lose_the_database(house)
        await reindex(house.settings, house.info, may_clear=True)
        fresh = open_house(house.settings, house.info)
        try:
            with pytest.raises(Missing):
                await fresh.tenants.named("clinic")
            assert [e.finished for e in await fresh.erasing.erasures()] == [None]
            assert keys_of(fresh, "clinic") == left
            if lost:
                await ErasingDuty(fresh).step()  # as the worker does
                assert keys_of(fresh, "clinic") == []
                assert [e.finished is None for e in await fresh.erasing.erasures()] == [False]
                home = fresh.operator(await fresh.tenants.named(), "test")
                assert whole((await check_installation(fresh, home, deep=True)).invariants())
        finally:
            await fresh.close()


def _one(house: House, listing: Any) -> int:
    info = next(listing, None)
    if info is not None:
        house.blobs.delete(info.key)
    return 0 if info is None else 1


def look_again(house: House) -> None:
    """At the tenants there are, which a process remembers for a second."""
    house.tenants._directory._read_at = float("-inf")  # type: ignore[attr-defined]


async def lose_the_database(house: House) -> None:
    tenants = {tenant.key: tenant for tenant in await house.tenants.everyone()}
    await flush_inline(house.work, house.blobs, tenants)
    owner = await connect(house.info, DatabaseRole.OWNER)
    try:
        await owner.execute("TRUNCATE tenant, tenant_erasure CASCADE")
    finally:
        await owner.close()


async def test_b07_an_old_copy_of_the_database_is_erased_again(
    house: House, context: Context, clinic: Tenant
) -> None:
    """Its rows are back and its objects are not; the journal knows better."""
    await house.tenants.suspend(context, "clinic", WHY)
    await house.erasing.begin(context, "clinic", "clinic", WHY)
    await erase_to_its_end(house, "clinic", lambda _rows, _objects: None)
    owner = await connect(house.info, DatabaseRole.OWNER)
    await owner.execute("TRUNCATE tenant_erasure")
    await owner.execute(
        "INSERT INTO tenant (name, label, aet) VALUES ('clinic', 'Clinic', 'CLINIC')"
    )
    await owner.close()
    await reindex(house.settings, house.info, may_clear=True)
    fresh = open_house(house.settings, house.info)
    try:
        with pytest.raises(Missing):
            await fresh.tenants.named("clinic")
        await ErasingDuty(fresh).step()
        look_again(fresh)
        assert [t.name for t in await fresh.tenants.everyone()] == ["default", "north"]
    finally:
        await fresh.close()


async def test_the_engine_forgets_its_runs_and_no_others(
    house: House, context: Context, clinic: Tenant
) -> None:
    north = await house.tenants.known("north")
    await migrate_engine(house.info)
    desk = Desk(house.info)
    try:
        runs = [
            New((tenant.key, f"settle_series:{n}"), "settle_series", "{}")
            for tenant in (clinic, north)
            for n in range(3)
        ]
        assert await asyncio.to_thread(desk.enqueue, runs) == {}
        await erase(house, context)
        known = await asyncio.to_thread(desk.states, [run.key for run in runs])
        assert {key[0] for key in known} == {north.key}
        assert len(known) == 3
    finally:
        await asyncio.to_thread(desk.close)


async def test_an_export_that_is_under_way_comes_first(
    house: House,
    context: Context,
    clinic: Tenant,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await house.tenants.suspend(context, "clinic", WHY)
    records_of = export_module._records

    async def after_the_objects(house: House, ours: Context) -> AsyncIterator[Any]:
        with pytest.raises(Conflict, match="written out"):
            await house.erasing.begin(context, "clinic", "clinic", WHY)
        async for each in records_of(house, ours):
            yield each

    monkeypatch.setattr(export_module, "_records", after_the_objects)
    await export_tenant(house, context, "clinic", tmp_path / "out")
    assert (tmp_path / "out" / "complete.json").exists()
    await house.erasing.begin(context, "clinic", "clinic", WHY)
    await asyncio.sleep(0.15)  # so long a process may not look again
    with pytest.raises(Conflict, match="being erased"):
        await export_tenant(house, context, "clinic", tmp_path / "again")
    await erase_to_its_end(house, "clinic", lambda _rows, _objects: None)
    await asyncio.sleep(0.15)
    with pytest.raises(Missing):
        await export_tenant(house, context, "clinic", tmp_path / "again")


# --- at the doors --------------------------------------------------------------------------------------


async def nothing_missing() -> dict[str, str]:
    return {}


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    application = http_application(
        archive=house.archive,
        tenants=house.tenants,
        jobs=house.jobs,
        pool=house.codecs,
        ready=nothing_missing,
        metrics=lambda: b"x 1\n",
        limits=DoorLimits(local=False),
        sign_in=house.sign_in,
        offices=offices_of(house),
    )
    transport = httpx.ASGITransport(application)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=HOST) as opened:
        yield opened


async def signed_in(house: House, role: str, tenant: Tenant) -> dict[str, str]:
    link = await house.people.new_link(house.operator(tenant), [role])
    done = await house.sign_in.by_link(Visitor(tenant, "192.0.2.7", "Firefox/140"), link.secret)
    return {"authorization": f"Bearer {done.token}"}


async def test_r01_r08_the_console_asks_for_the_name_and_the_right(
    client: httpx.AsyncClient, house: House, context: Context, clinic: Tenant
) -> None:
    chief = await signed_in(house, "admin", await house.tenants.named())
    theirs = await signed_in(house, "admin", await house.tenants.known("north"))
    url, asked = "/api/v1/tenants/clinic/erasure", {"name": "clinic", "reason": WHY}
    told = (await client.get(url, headers=chief)).json()
    assert (told["studies"], told["objects"], told["name"]) == (3, 6, "clinic")
    assert "suspend" in told["obstacle"]
    assert (await client.post(url, json=asked, headers=chief)).status_code == 409
    await house.tenants.suspend(context, "clinic", WHY)
    house.policy.forget()
    assert (await client.get(url, headers=chief)).json()["obstacle"] is None
    for who, place, status in ((theirs, "/t/north", 403), ({}, "", 401)):
        answer = await client.post(f"{place}{url}", json=asked, headers=who)
        assert answer.status_code == status
    hidden = await client.get(f"/t/north{url}", headers=theirs)
    unknown = await client.get("/t/north/api/v1/tenants/nowhere/erasure", headers=theirs)
    assert (hidden.status_code, hidden.content) == (unknown.status_code, unknown.content)
    assert hidden.status_code == 404
    for body in (
        {},
        {"name": "clinic"},
        {"reason": WHY},
        {**asked, "name": "Clinic"},
        {**asked, "reason": ""},
        {**asked, "force": True},
    ):
        assert (await client.post(url, json=body, headers=chief)).status_code == 400, body
    assert await house.erasing.erasures() == ()
    done = await client.post(url, json=asked, headers=chief)
    assert (done.status_code, done.json()["objects"], done.json()["finished"]) == (202, 6, None)
    await asyncio.sleep(0.15)  # so long a process may not look again
    details = {
        t["name"]: t for t in (await client.get("/api/v1/tenants/details", headers=chief)).json()
    }
    assert details["clinic"]["erasing"] is True
    back = await client.request(
        "DELETE", "/api/v1/tenants/clinic/suspension",
        headers=chief | {"content-type": "application/json"},
    )  # fmt: skip
    assert back.status_code == 409
    await ErasingDuty(house).step()
    await asyncio.sleep(0.15)
    details = {
        t["name"]: t for t in (await client.get("/api/v1/tenants/details", headers=chief)).json()
    }
    assert sorted(details) == ["default", "north"]
    for path in ("/t/{}/dicomweb/studies", "/t/{}/api/v1/me"):
        gone = await client.get(path.format("clinic"), headers=chief)
        unknown = await client.get(path.format("nowhere"), headers=chief)
        assert (gone.status_code, gone.content) == (unknown.status_code, unknown.content), path


def test_commands(installation: Any, tmp_path: Path) -> None:
    run = installation.run
    file = tmp_path / "one.dcm"
    file.write_bytes(a_study("P1").with_series("CT").only().part10)
    run("tenant", "create", "clinic", "--aet", "CLINIC", check=True)
    run("import", str(file), "--tenant", "clinic", check=True)
    asked = ("tenant", "erase", "clinic", "--confirm", "clinic", "--reason", WHY)
    early = run(*asked)
    assert early.returncode != 0
    assert "tenant suspend clinic" in early.stderr
    run("tenant", "suspend", "clinic", "--reason", WHY, check=True)
    wrong = run("tenant", "erase", "clinic", "--confirm", "clinics", "--reason", WHY)
    assert wrong.returncode != 0
    assert "Type the name" in wrong.stderr
    done = run(*asked, check=True)
    assert "1 studies, 1 objects" in done.stdout
    listed = json.loads(run("tenant", "list", "--json", check=True).stdout)
    assert [each["name"] for each in listed] == ["default"]
    assert "was erased" in run(*asked, check=True).stdout
    refused = run("tenant", "create", "clinic", "--aet", "CLINIC")
    assert refused.returncode != 0
    assert "was erased" in refused.stderr
    run("fsck", "--deep", check=True)
    run("reindex", "--yes", check=True)
    assert len(json.loads(run("tenant", "list", "--json", check=True).stdout)) == 1
    run("fsck", check=True)


async def test_a_neighbour_whose_name_begins_alike_keeps_everything(
    house: House, context: Context, clinic: Tenant
) -> None:
    other = await house.tenants.create(context, "clinic-2", aet="CLINIC2")
    theirs = house.operator(other)
    assert await keep(house, theirs, a_study("P1").with_series("CT").only()) is Outcome.STORED
    before = keys_of(house, "clinic-2")
    await erase(house, context)
    assert keys_of(house, "clinic-2") == before
    assert (await house.archive.totals(theirs)).studies == 1
