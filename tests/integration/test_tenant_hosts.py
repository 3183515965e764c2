"""A host that is a tenant's: what comes by it without a path is of that tenant, and of no other."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from lightwell.access.context import Context, Tenant
from lightwell.app.http import http_application
from lightwell.app.offices import offices_of
from lightwell.app.reindex import reindex
from lightwell.app.wiring import House, open_house
from lightwell.backends.database.pool import connect
from lightwell.backends.database.roles import Role
from lightwell.domain.people.opening import Visitor
from lightwell.gateways.http.guard import DoorLimits
from lightwell.testing.builders import a_study
from tests.integration.test_reindex import keep

HOST = "https://pacs.test"
THEIRS = {"host": "clinic.example:8443"}


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


async def test_r02_a_host_is_its_tenants_for_whoever_asks(
    client: httpx.AsyncClient, house: House, context: Context, clinic: Tenant
) -> None:
    chief = await signed_in(house, "admin", context.tenant)
    theirs = await signed_in(house, "admin", clinic)
    ours = await signed_in(house, "radiologist", context.tenant)
    await keep(house, context, a_study("P1").with_series("CT").only())
    study = a_study("P2").with_series("CT").only()
    await keep(house, house.operator(clinic), study)
    names = {"titles": ["WARD"], "hosts": ["clinic.example"]}
    url = "/api/v1/tenants/clinic/names"
    assert (await client.put(url, json=names, headers=theirs)).status_code == 403
    said = await client.put(url, json=names, headers=chief)
    assert (said.json()["titles"], said.json()["hosts"]) == (["WARD"], ["clinic.example"])

    async def seen(headers: dict[str, str], path: str = "/dicomweb/studies") -> Any:
        answer = await client.get(path, headers=headers)
        return answer.json() if answer.status_code == 200 else answer.status_code

    assert await seen(THEIRS) == 401
    (mine,) = await seen({**THEIRS, **theirs})
    assert mine["0020000D"]["Value"] == [study.study_uid]
    assert mine["00081190"]["Value"][0].startswith("https://clinic.example:8443/dicomweb/")
    assert (await seen({**THEIRS, **theirs}, "/api/v1/me"))["tenant"] == "clinic"
    # Somebody of another tenant finds no tenant there; a path says more than a host.
    gone = await client.get("/dicomweb/studies", headers={**THEIRS, **ours})
    unknown = await client.get("/t/nowhere/dicomweb/studies", headers=ours)
    assert (gone.status_code, gone.content) == (unknown.status_code, unknown.content)
    (own,) = await seen({**THEIRS, **ours}, "/t/default/dicomweb/studies")
    assert own["0020000D"]["Value"] != [study.study_uid]
    assert len(await seen(ours)) == 1
    # By a name that is nobody's, everything is as without hosts.
    (same,) = await seen({"host": "other.example", **theirs})
    assert same["0020000D"] == mine["0020000D"]
    await house.tenants.suspend(context, "clinic", "the contract has ended")
    answer = await client.get("/dicomweb/studies", headers={**THEIRS, **chief})
    nowhere = await client.get("/t/nowhere/dicomweb/studies", headers=chief)
    assert (answer.status_code, answer.content) == (404, nowhere.content)
    assert (await client.get("/livez", headers=THEIRS)).status_code == 200


async def test_r03_sign_in_at_a_host_is_for_its_tenant(
    client: httpx.AsyncClient, house: House, context: Context, clinic: Tenant
) -> None:
    await house.tenants.name(context, "clinic", titles=[], hosts=["clinic.example"])
    for headers, status in ((THEIRS, 200), ({"host": "pacs.test"}, 401)):
        link = await house.people.new_link(house.operator(clinic), ["radiologist"])
        answer = await client.post(
            "/api/v1/sign-in/link", json={"token": link.secret}, headers=headers
        )
        assert answer.status_code == status, headers


async def test_b07_a_reindex_brings_the_names_back(
    house: House, context: Context, clinic: Tenant
) -> None:
    await house.tenants.name(context, "clinic", titles=["WARD"], hosts=["clinic.example"])
    owner = await connect(house.info, Role.OWNER)
    await owner.execute("TRUNCATE tenant CASCADE")
    await owner.close()
    await reindex(house.settings, house.info, may_clear=True)
    fresh = open_house(house.settings, house.info)
    try:
        found = await fresh.tenants.named("clinic")
        assert (found.titles, found.hosts) == (("WARD",), ("clinic.example",))
    finally:
        await fresh.close()


def test_commands_add_and_take_away(installation: Any) -> None:
    run = installation.run
    run("tenant", "create", "clinic", "--aet", "CLINIC", check=True)
    run(
        "tenant",
        "configure",
        "clinic",
        "--aet",
        "WARD",
        "--aet",
        "MR",
        "--host",
        "A.example",
        check=True,
    )
    run("tenant", "configure", "clinic", "--without-aet", "MR", "--host", "b.example", check=True)
    listed = json.loads(run("tenant", "list", "--json", check=True).stdout)
    assert (listed[1]["titles"], listed[1]["hosts"]) == (["WARD"], ["a.example", "b.example"])
    assert run("tenant", "configure", "default", "--aet", "WARD").returncode != 0
