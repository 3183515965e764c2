"""A suspended tenant at every door: nobody of it is recognised, and nobody learns that it is there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from lightwell.access.context import Context, Tenant
from lightwell.access.roles import Role
from lightwell.app.http import http_application
from lightwell.app.offices import offices_of
from lightwell.app.reindex import reindex
from lightwell.app.upkeep import check_installation
from lightwell.app.wiring import House, open_house
from lightwell.backends.database.dispatching import PostgresFeedStore
from lightwell.backends.database.handing import HandingTable
from lightwell.backends.database.pool import connect
from lightwell.backends.database.roles import Role as DatabaseRole
from lightwell.backends.database.sequencer import step as sequence
from lightwell.domain.archive.invariants import whole
from lightwell.domain.people.opening import Visitor
from lightwell.gateways.http.guard import DoorLimits
from lightwell.testing.builders import a_study

if TYPE_CHECKING:
    from tests.conftest import Installation

HOST = "https://pacs.test"
WHY = {"reason": "the contract has ended"}


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


@pytest.fixture
async def clinic(house: House, context: Context) -> Tenant:
    return await house.tenants.create(context, "clinic", aet="CLINIC")


async def signed_in(house: House, role: str, tenant: Tenant) -> dict[str, str]:
    link = await house.people.new_link(house.operator(tenant), [role])
    done = await house.sign_in.by_link(Visitor(tenant, "192.0.2.7", "Firefox/140"), link.secret)
    return {"authorization": f"Bearer {done.token}"}


async def key_of(house: House, tenant: Tenant) -> dict[str, str]:
    made = await house.people.new_key(
        house.operator(tenant), "crawler", roles=[Role.INTEGRATION], scopes=[],
        life=timedelta(days=1),
    )  # fmt: skip
    return {"authorization": f"Bearer {made.secret}"}


async def test_a03_r03_nobody_of_it_is_recognised_and_nobody_learns_of_it(
    client: httpx.AsyncClient, house: House, context: Context, clinic: Tenant
) -> None:
    chief = await signed_in(house, "admin", await house.tenants.named())
    theirs, key = await signed_in(house, "admin", clinic), await key_of(house, clinic)
    for who in (theirs, key):
        assert (await client.get("/dicomweb/studies", headers=who)).status_code == 200
    refused = await client.put("/api/v1/tenants/clinic/suspension", json=WHY, headers=theirs)
    assert refused.status_code == 403
    done = await client.put("/api/v1/tenants/clinic/suspension", json=WHY, headers=chief)
    assert (done.status_code, done.json()["suspended"]) == (200, True)
    deadline = asyncio.get_running_loop().time() + 5.0
    for who in (theirs, key):
        while (await client.get("/dicomweb/studies", headers=who)).status_code != 401:
            assert asyncio.get_running_loop().time() < deadline, "still recognised after 5 s"
            await asyncio.sleep(0.1)
    nonsense = {"authorization": "Bearer lws_" + "A" * 43}
    for path in ("/t/{}/dicomweb/studies", "/t/{}/api/v1/studies", "/t/{}/api/v1/me"):
        for who in ({}, chief, theirs, nonsense):
            gone = await client.get(path.format("clinic"), headers=who)
            unknown = await client.get(path.format("nowhere"), headers=who)
            assert (gone.status_code, gone.content) == (unknown.status_code, unknown.content), path
    tried = {"login": "ada", "password": "seven green bottles hang", "code": ""}
    said = [
        await client.post(
            f"/t/{name}/api/v1/sign-in/password", json=tried, headers={"origin": HOST}
        )
        for name in ("clinic", "nowhere")
    ]
    assert (said[0].status_code, said[0].content) == (said[1].status_code, said[1].content)
    shown = (await client.get("/api/v1/tenants", headers=chief)).json()
    assert [each["name"] for each in shown] == ["default"]
    details = (await client.get("/api/v1/tenants/details", headers=chief)).json()
    assert [(each["name"], each["suspension"]) for each in details] == [
        ("default", ""),
        ("clinic", WHY["reason"]),
    ]
    back = await client.request(
        "DELETE",
        "/api/v1/tenants/clinic/suspension",
        headers=chief | {"content-type": "application/json"},
    )
    assert (back.status_code, back.json()["suspended"]) == (200, False)
    for who, status in ((key, 200), (theirs, 401)):  # keys are good again; people sign in anew
        while (await client.get("/dicomweb/studies", headers=who)).status_code != status:
            assert asyncio.get_running_loop().time() < deadline + 5.0
            await asyncio.sleep(0.1)


async def test_r08_what_is_not_asked_for_is_refused(
    client: httpx.AsyncClient, house: House, clinic: Tenant
) -> None:
    chief = await signed_in(house, "admin", await house.tenants.named())
    url = "/api/v1/tenants/clinic/suspension"
    for body in ({}, {"reason": ""}, {**WHY, "name": "default"}, {**WHY, "suspended": False}):
        assert (await client.put(url, json=body, headers=chief)).status_code == 400, body
    own = await client.put("/api/v1/tenants/default/suspension", json=WHY, headers=chief)
    assert own.status_code == 409
    assert (await house.tenants.named("clinic")) == clinic


async def test_its_background_work_waits(house: House, context: Context, clinic: Tenant) -> None:
    connection = await connect(house.info, DatabaseRole.WORK)
    try:
        await sequence(connection)
        store = PostgresFeedStore(connection)
        await connection.execute(
            "INSERT INTO due_work (tenant, workflow, key, arguments, first_seq, first_seen, last_event,"
            " due, events) VALUES ($1, 'settle', 'k', '{}', 1, now(), now(), now(), 1)",
            clinic.key,
        )
        await house.engine.start(clinic, "settle", "settle:1", {})
        await house.engine.schedule(clinic, "night", "settle", {}, every=1)
        await connection.execute("UPDATE work_schedule SET due = now() - interval '1 minute'")
        await connection.execute(
            "INSERT INTO event (tenant, kind, subject) VALUES ($1, 'Stored', '{}')", clinic.key
        )
        await sequence(connection)
        await house.tenants.suspend(context, "clinic", WHY["reason"])
        handing = HandingTable(house.work)

        async def begins() -> tuple[bool, int, int, int]:
            news = clinic.key in [news.tenant for news in await store.news()]
            new = [new for new in await handing.new() if new.key[0] == clinic.key]
            return news, len(new), await handing.start_scheduled(), await store.start_due([])

        assert await begins() == (False, 0, 0, 0)
        await house.tenants.resume(context, "clinic")
        assert await begins() == (True, 1, 1, 1)
    finally:
        await connection.close()


async def test_b07_a_reindex_brings_it_back_suspended_and_fsck_looks_at_it(
    house: House, context: Context, clinic: Tenant
) -> None:
    from tests.integration.test_reindex import keep

    theirs = house.operator(clinic)
    await keep(house, theirs, a_study().with_series("CT").only())
    await house.tenants.suspend(context, "clinic", WHY["reason"])
    await house.tenants.configure(theirs, label="Clinic at the Lake")
    checked = await check_installation(house, context, deep=True)
    assert whole(checked.invariants())
    owner = await connect(house.info, DatabaseRole.OWNER)
    await owner.execute("TRUNCATE tenant CASCADE")
    await owner.close()
    await reindex(house.settings, house.info, may_clear=True)
    fresh = open_house(house.settings, house.info)
    try:
        known = await fresh.tenants.known("clinic")
        assert (known.suspended, known.suspension) == (True, WHY["reason"])
        assert (await fresh.tenants.known("default")).suspended is False
    finally:
        await fresh.close()


def test_commands_suspend_list_and_resume(installation: object) -> None:
    run = installation.run  # type: ignore[attr-defined]
    run("tenant", "create", "clinic", "--aet", "CLINIC", check=True)
    run("tenant", "suspend", "clinic", "--reason", WHY["reason"], check=True)
    listed = json.loads(run("tenant", "list", "--json", check=True).stdout)
    assert [(each["name"], each["suspended"], each["suspension"]) for each in listed] == [
        ("default", False, ""),
        ("clinic", True, WHY["reason"]),
    ]
    refused = run("user", "add", "ada", "--role", "radiologist", "--tenant", "clinic")
    assert refused.returncode != 0
    assert "resume" in refused.stderr
    run("tenant", "resume", "clinic", check=True)
    run("user", "add", "ada", "--role", "radiologist", "--tenant", "clinic", check=True)
    assert run("tenant", "suspend", "default", "--reason", "x").returncode != 0


async def test_a_tenant_that_is_made_again_stays_as_it_is_and_that_is_said(
    installation: Installation,
) -> None:
    made = ("tenant", "create", "ward", "--aet", "WARD")
    await asyncio.to_thread(installation.run, *made, check=True)
    await asyncio.to_thread(
        installation.run, "tenant", "suspend", "ward", "--reason", "unpaid", check=True
    )
    again = await asyncio.to_thread(installation.run, *made, check=True)
    assert "was there already, called WARD: nothing was changed." in again.stdout
    assert "It is suspended; `lightwell tenant resume ward`" in again.stdout
    listed = await asyncio.to_thread(installation.run, "tenant", "list", check=True)
    assert "suspended:" in listed.stdout
