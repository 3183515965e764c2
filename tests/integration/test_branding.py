"""How a tenant looks to its people: over the HTTP door, by the command, and after a lost database."""

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

HOST = "https://pacs.test"
PAGE = "/api/v1/sign-in/page"
CHOSEN = {"label": "St. Elsewhere", "accent": "#ffb74d", "notice": "For staff of the clinic only."}


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


async def test_a_tenants_page_looks_as_its_administrator_chose(
    client: httpx.AsyncClient, house: House, context: Context, clinic: Tenant
) -> None:
    who = await signed_in(house, "admin", clinic)
    changed = await client.patch("/api/v1/tenant", json=CHOSEN, headers=who)
    assert (changed.status_code, changed.json()["accent"]) == (200, "#ffb74d")
    await house.tenants.name(context, "clinic", titles=[], hosts=["clinic.example"])
    by_path = await client.get(f"/t/clinic{PAGE}")
    by_host = await client.get(PAGE, headers={"host": "clinic.example"})
    assert by_path.json() == by_host.json() == CHOSEN, "and nothing else is told"
    assert by_path.headers["cache-control"] == "no-store"
    assert (await client.get(PAGE)).json() == {"label": "Default", "accent": "", "notice": ""}
    me = (await client.get("/api/v1/me", headers=who)).json()
    assert (me["label"], me["accent"]) == ("St. Elsewhere", "#ffb74d")
    detail = (await client.get("/api/v1/tenants/details", headers=who)).json()[0]
    assert (detail["accent"], detail["notice"], detail["zone"]) == ("#ffb74d", CHOSEN["notice"], "")
    dark = await client.patch("/api/v1/tenant", json={"accent": "#000080"}, headers=who)
    assert dark.status_code == 400
    assert "contrast of 1." in dark.text
    none = await client.patch("/api/v1/tenant", json={"accent": "", "notice": ""}, headers=who)
    assert (none.json()["accent"], none.json()["notice"]) == ("", "")
    assert (await client.get(f"/t/clinic{PAGE}")).json()["notice"] == ""


async def test_w10_who_is_not_there_is_told_as_who_has_chosen_nothing(
    client: httpx.AsyncClient, house: House, context: Context, clinic: Tenant
) -> None:
    """Byte for byte, apart from the name that stands in the address."""
    await house.tenants.create(context, "gone", aet="GONE", label="Gone Clinic")
    await house.tenants.name(context, "gone", titles=[], hosts=["gone.example"])
    await house.tenants.suspend(context, "gone", "the contract has ended")
    said: list[tuple[Any, ...]] = []
    for name in ("clinic", "gone", "nowhere"):
        answer = await client.get(f"/t/{name}{PAGE}")
        body = answer.content.replace(name.encode(), b"NAME")
        headers = {k: v for k, v in answer.headers.items() if k != "content-length"}
        assert int(answer.headers["content-length"]) == len(answer.content)
        said.append((answer.status_code, body, headers))
    assert said[0] == said[1] == said[2]
    assert said[0][0] == 200
    at_host = await client.get(PAGE, headers={"host": "gone.example"})
    assert at_host.json() == {"label": "", "accent": "", "notice": ""}


@pytest.mark.parametrize("name", ["", "..%2e", "%22%3Cscript%3E", "x" * 500, "Clinic"])
async def test_w10_a_strange_name_is_told_back_as_data(
    client: httpx.AsyncClient, clinic: Tenant, name: str
) -> None:
    answer = await client.get(f"/t/{name}{PAGE}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["accent"] == answer.json()["notice"] == ""


async def test_b07_a_reindex_brings_the_looks_back(
    house: House, context: Context, clinic: Tenant
) -> None:
    await house.tenants.configure(house.operator(clinic), **CHOSEN, zone="Europe/Berlin")
    await house.tenants.suspend(context, "clinic", "the contract has ended")
    await house.tenants.resume(context, "clinic")
    owner = await connect(house.info, Role.OWNER)
    await owner.execute("TRUNCATE tenant CASCADE")
    await owner.close()
    await reindex(house.settings, house.info, may_clear=True)
    fresh = open_house(house.settings, house.info)
    try:
        found = await fresh.tenants.named("clinic")
        shown = {"label": found.label, "accent": found.accent, "notice": found.notice}
        assert (shown, found.zone) == (CHOSEN, "Europe/Berlin")
    finally:
        await fresh.close()


def test_the_command_says_and_takes_away(installation: Any) -> None:
    run = installation.run
    run("tenant", "create", "clinic", "--aet", "CLINIC", "--label", "Clinic", check=True)
    done = run(
        "tenant", "configure", "clinic", "--accent", "#FFB74D", "--notice", "Staff only.",
        "--zone", "Europe/Berlin", "--aet", "WARD", check=True,
    )  # fmt: skip
    assert "#ffb74d" in done.stdout
    run("tenant", "configure", "clinic", "--accent", "", check=True)
    listed = json.loads(run("tenant", "list", "--json", check=True).stdout)[1]
    told = {name: listed[name] for name in ("accent", "notice", "zone", "titles")}
    assert told == {
        "accent": "", "notice": "Staff only.", "zone": "Europe/Berlin", "titles": ["WARD"],
    }  # fmt: skip
    dark = run("tenant", "configure", "clinic", "--accent", "#000080")
    assert dark.returncode != 0
    assert "4.5 : 1" in " ".join(dark.stderr.split())
