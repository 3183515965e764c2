"""The administration addresses with people behind them: who may, who may not, and what comes of it.

In process, on a real database, with the route table and the framework application of the product.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lightwell.access import cedar
from lightwell.access.context import Context, Tenant
from lightwell.access.roles import Role
from lightwell.app.heartbeat import Heart
from lightwell.app.http import http_application
from lightwell.app.offices import offices_of
from lightwell.app.supervisor import prepare
from lightwell.app.wiring import House
from lightwell.backends.database.doors import DOOR
from lightwell.domain.people.opening import Visitor
from lightwell.gateways.dimse.counters import Counters
from lightwell.gateways.http.guard import DoorLimits
from lightwell.testing.dimse_house import dimse_house, memory_rooms
from lightwell.testing.served import free_port

if TYPE_CHECKING:
    from tests.conftest import Installation

HOST = "https://pacs.test"


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


async def signed_in(house: House, *roles: str, tenant: Tenant | None = None) -> dict[str, str]:
    """Headers of somebody who signed in by a link with these roles."""
    owner = tenant or await house.tenants.named()
    link = await house.people.new_link(house.operator(owner), roles)
    done = await house.sign_in.by_link(Visitor(owner, "192.0.2.7", "Firefox/140"), link.secret)
    return {"authorization": f"Bearer {done.token}"}


# --- who may -----------------------------------------------------------------------------------------

READS = {
    "/people": {"admin", "auditor"},
    "/keys": {"admin", "auditor"},
    "/sessions": {"admin", "auditor"},
    "/policies": {"admin", "pacs-admin", "auditor"},
    "/explain?role=radiologist": {"admin", "pacs-admin", "auditor"},
    "/peers": {"admin", "pacs-admin", "auditor"},
    "/peers/door": {"admin", "pacs-admin", "auditor"},
    "/tenant/consent": {"admin", "pacs-admin", "auditor"},
    "/people/ada/standing": {"admin"},
    "/providers": {"admin", "auditor"},
    "/tenants/details": set(Role),
    "/regions": set(Role),
    "/me/sessions": set(Role),
}
CHANGES: dict[tuple[str, str], tuple[Any, set[str]]] = {
    ("POST", "/people"): ({"login": "eve", "roles": ["radiologist"]}, {"admin"}),
    ("PATCH", "/people/nobody"): ({"disabled": True}, {"admin"}),
    ("POST", "/people/nobody/enrolment"): ({}, {"admin"}),
    ("POST", "/people/nobody/relations"): ({"kind": "treats", "name": "P1"}, {"admin"}),
    ("POST", "/people/nobody/relations/end"): ({"kind": "treats", "name": "P1"}, {"admin"}),
    ("PUT", "/people/nobody/limits/site"): ({"values": ["North"]}, {"admin"}),
    ("POST", "/people/bell/seal"): ({"roles": ["radiologist"]}, {"admin"}),
    ("POST", "/providers"): (
        {"name": "x", "issuer": "https://id.test", "client_id": "c", "roles": {"g": ["auditor"]}},
        {"admin"},
    ),
    ("PATCH", "/providers/none"): ({"enabled": False}, {"admin"}),
    ("DELETE", "/providers/none"): ({}, {"admin"}),
    ("POST", "/providers/none/test"): ({}, {"admin"}),
    ("POST", "/links"): ({"roles": ["auditor"]}, {"admin"}),
    ("POST", "/keys"): ({"name": "router", "roles": ["integration"]}, {"admin"}),
    ("DELETE", f"/keys/{uuid.uuid4()}"): ({}, {"admin"}),
    ("DELETE", f"/sessions/{uuid.uuid4()}"): ({}, {"admin"}),
    ("POST", "/sessions/end"): ({"of": "nobody"}, {"admin"}),
    ("PUT", "/policies"): ({"text": "permit"}, {"admin"}),
    ("DELETE", "/policies/none"): ({}, {"admin"}),
    ("POST", "/tenants"): ({"name": "other", "aet": "OTHER"}, {"admin"}),
    ("PATCH", "/tenant"): ({"label": "Hospital"}, {"admin"}),
    ("PUT", "/tenant/consent"): ({"hours": 0}, {"admin"}),
    ("PUT", "/peers"): ({"aet": "CT1", "host": "192.0.2.1", "port": 104}, {"admin", "pacs-admin"}),
    ("POST", "/peers/remove"): ({"aet": "NONE"}, {"admin", "pacs-admin"}),
    ("POST", "/peers/echo"): ({"aet": "NONE"}, {"admin", "pacs-admin"}),
    ("POST", "/peers/trial-image"): ({"aet": "NONE"}, {"admin", "pacs-admin"}),
    ("POST", "/me/sessions/end"): ({}, set(Role)),
}


@pytest.mark.parametrize("role", list(Role))
async def test_r01_each_role_reaches_what_it_may_and_nothing_else(
    client: httpx.AsyncClient, house: House, role: Role
) -> None:
    who = await signed_in(house, role)
    await house.people.add(house.operator(await house.tenants.named()), "ada", roles=["referrer"])
    for path, allowed in READS.items():
        answer = await client.get(f"/api/v1{path}", headers=who)
        assert answer.status_code == (200 if role in allowed else 403), (path, answer.text)
    for (method, path), (body, allowed) in CHANGES.items():
        answer = await client.request(method, f"/api/v1{path}", headers=who, json=body)
        if role in allowed:
            assert answer.status_code in (200, 201, 204, 400, 404), (method, path, answer.text)
        else:
            assert answer.status_code == 403, (method, path, answer.text)


async def test_nobody_administers_anything_and_learns_of_nothing(client: httpx.AsyncClient) -> None:
    for path in ("/me", "/studies", *READS):
        assert (await client.get(f"/api/v1{path}")).status_code == 401, path
    for (method, path), (body, _) in CHANGES.items():
        answer = await client.request(method, f"/api/v1{path}", json=body)
        assert answer.status_code == 401, path


async def test_what_one_may_is_told_for_the_tenant_one_is_at(
    client: httpx.AsyncClient, house: House, clinic: Tenant
) -> None:
    chief = await signed_in(house, "admin")
    here = set((await client.get("/api/v1/me", headers=chief)).json()["may"])
    there = set((await client.get("/t/clinic/api/v1/me", headers=chief)).json()["may"])
    assert {"people:person:add", "archive:study:query"} <= here
    assert "people:person:add" in there
    assert "archive:study:query" not in there, "patients' data of another tenant"
    theirs = await signed_in(house, "admin", tenant=clinic)
    may = set((await client.get("/api/v1/me", headers=theirs)).json()["may"])
    assert "people:person:add" in may
    assert "tenants:tenant:create" not in may
    async with house.work.session() as connection:
        await connection.execute("UPDATE session SET proved = proved - interval '10 minutes'")
    house.sign_in._known.clear()
    later = set((await client.get("/api/v1/me", headers=theirs)).json()["may"])
    assert later == may, "what a proof opens is offered, and asked for when it is done"
    referrer = await signed_in(house, "referrer")
    may = set((await client.get("/api/v1/me", headers=referrer)).json()["may"])
    assert "archive:study:query" in may
    assert "archive:study:correct" not in may


async def test_a_change_says_that_it_was_meant_and_has_a_size(
    client: httpx.AsyncClient, house: House
) -> None:
    who = await signed_in(house, "admin")
    body = b'{"login":"eve","roles":["admin"]}'
    form = {**who, "content-type": "text/plain"}
    assert (await client.post("/api/v1/people", content=body, headers=form)).status_code == 400
    great = {"login": "eve", "roles": ["admin"], "name": "x" * (70 * 1024)}
    answer = await client.post("/api/v1/people", json=great, headers=who)
    assert answer.status_code == 413

    async def chunks() -> AsyncIterator[bytes]:
        yield body

    unsaid = {**who, "content-type": "application/json"}
    answer = await client.post("/api/v1/people", content=chunks(), headers=unsaid)
    assert answer.status_code == 411
    for wrong in (
        {"login": "eve", "roles": ["admin"], "password": "x"},
        {"login": "eve", "roles": ["admin"] * 21},
        {"login": "eve"},
        [],
    ):
        answer = await client.post("/api/v1/people", json=wrong, headers=who)
        assert answer.status_code == 400, wrong
    assert (await client.get("/api/v1/people", headers=who)).json() == []


async def test_under_a_cookie_a_change_comes_from_our_own_page(
    client: httpx.AsyncClient, house: House
) -> None:
    who = await signed_in(house, "admin")
    cookie = {"cookie": f"__Host-lightwell={who['authorization'].removeprefix('Bearer ')}"}
    link = {"roles": ["auditor"]}
    for more, status in (
        ({}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 201),
    ):
        answer = await client.post("/api/v1/links", json=link, headers={**cookie, **more})
        assert answer.status_code == status


# --- people, keys, sessions --------------------------------------------------------------------------


async def test_an_account_from_its_making_to_its_end(
    client: httpx.AsyncClient, house: House
) -> None:
    who = await signed_in(house, "admin")
    body = {"login": "Ada", "name": "Ada L.", "roles": ["radiologist"]}
    made = await client.post("/api/v1/people", json=body, headers=who)
    assert made.status_code == 201
    assert made.json()["secret"].startswith("lwl_")
    assert (await client.post("/api/v1/people", json=body, headers=who)).status_code == 409
    (person,) = (await client.get("/api/v1/people", headers=who)).json()
    assert (person["login"], person["name"], person["roles"]) == ("ada", "Ada L.", ["radiologist"])
    change = {"roles": ["technologist", "auditor"], "disabled": True}
    changed = await client.patch("/api/v1/people/ada", json=change, headers=who)
    assert changed.json()["roles"] == ["auditor", "technologist"]
    assert changed.json()["disabled"] is True
    again = await client.post("/api/v1/people/ada/enrolment", json={}, headers=who)
    assert again.json()["secret"] != made.json()["secret"]
    king = await client.patch("/api/v1/people/ada", json={"roles": ["king"]}, headers=who)
    assert king.status_code == 400
    assert "king" in king.json()["detail"]


async def test_a_key_opens_until_it_is_revoked(client: httpx.AsyncClient, house: House) -> None:
    who = await signed_in(house, "admin")
    body = {"name": "router", "roles": ["integration"], "scopes": ["archive:study:*"], "days": 7}
    made = (await client.post("/api/v1/keys", json=body, headers=who)).json()
    key = {"authorization": f"Bearer {made['secret']}"}
    assert (await client.get("/api/v1/studies", headers=key)).status_code == 200
    assert (await client.get("/api/v1/stats", headers=key)).status_code == 403
    (listed,) = (await client.get("/api/v1/keys", headers=who)).json()
    assert (listed["id"], listed["scopes"], listed["revoked"]) == (
        made["id"],
        ["archive:study:*"],
        None,
    )
    assert made["secret"] not in str(listed)
    assert (await client.delete("/api/v1/keys/none", headers=_json(who))).status_code == 404
    gone = await client.delete(f"/api/v1/keys/{made['id']}", headers=_json(who))
    assert gone.status_code == 204
    (listed,) = (await client.get("/api/v1/keys", headers=who)).json()
    assert listed["revoked"] is not None


def _json(headers: dict[str, str]) -> dict[str, str]:
    return {**headers, "content-type": "application/json"}


async def test_sessions_are_seen_and_ended_one_by_one_and_all(
    client: httpx.AsyncClient, house: House
) -> None:
    who = await signed_in(house, "admin")
    for _ in range(3):
        await signed_in(house, "radiologist")
    there = (await client.get("/api/v1/sessions", headers=who)).json()
    assert len(there) == 4
    (mine,) = [each for each in there if each["mine"]]
    assert (mine["how"], mine["origin"], mine["agent"]) == ("link", "192.0.2.7", "Firefox/140")
    other = next(each for each in there if not each["mine"])
    path = f"/api/v1/sessions/{other['id']}"
    assert (await client.delete(path, headers=_json(who))).status_code == 204
    assert (await client.delete(path, headers=_json(who))).status_code == 404
    named = next(each for each in there if not each["mine"] and each["id"] != other["id"])
    ended = await client.post("/api/v1/sessions/end", json={"of": named["name"]}, headers=who)
    assert ended.json() == {"ended": 1}
    ended = await client.post("/api/v1/sessions/end", json={}, headers=who)
    assert ended.json() == {"ended": 1}
    left = (await client.get("/api/v1/sessions", headers=who)).json()
    assert [each["id"] for each in left] == [mine["id"]]
    own = (await client.get("/api/v1/me/sessions", headers=who)).json()
    assert [each["id"] for each in own] == [mine["id"]]


# --- whose patients are whose, limits, seals ---------------------------------------------------------


async def test_whose_patients_are_theirs_is_said_and_taken_back(
    client: httpx.AsyncClient, house: House
) -> None:
    who = await signed_in(house, "admin")
    await client.post("/api/v1/people", json={"login": "ada", "roles": ["referrer"]}, headers=who)
    url = "/api/v1/people/ada"
    nothing = {"relations": [], "limits": {"site": [], "department": [], "modality": []}}
    assert (await client.get(f"{url}/standing", headers=who)).json() == nothing
    treats = {"kind": "treats", "name": "P/1 2", "issuer": "NORTH"}
    code = {"kind": "refers-as", "name": "4711", "issuer": "99HOSPITAL"}
    for each in (treats, treats, code):
        done = await client.post(f"{url}/relations", json=each, headers=who)
        assert done.status_code == 204, done.text
    standing = (await client.get(f"{url}/standing", headers=who)).json()
    assert sorted(standing["relations"], key=lambda r: r["name"]) == [code, treats]
    for wrong in (
        {"kind": "owns", "name": "P1"},
        {"kind": "treats", "name": ""},
        {"kind": "treats", "name": "P" * 201},
        {"kind": "treats", "name": "a\\b"},
        {"kind": "refers-as", "name": "4711"},
        {"kind": "treats-study", "name": "1.2.3", "issuer": "NORTH"},
        {"kind": "treats", "name": "P1", "until": "2030"},
    ):
        answer = await client.post(f"{url}/relations", json=wrong, headers=who)
        assert answer.status_code == 400, wrong
    gone = await client.post(f"{url}/relations/end", json=treats, headers=who)
    assert gone.status_code == 204
    again = await client.post(f"{url}/relations/end", json=treats, headers=who)
    assert again.status_code == 404
    assert (await client.get(f"{url}/standing", headers=who)).json()["relations"] == [code]
    for path in ("nobody/standing", "bob/standing"):
        assert (await client.get(f"/api/v1/people/{path}", headers=who)).status_code == 404


async def test_limits_are_said_sort_by_sort_and_lifted(
    client: httpx.AsyncClient, house: House
) -> None:
    who = await signed_in(house, "admin")
    body = {"login": "ada", "roles": ["radiologist"]}
    await client.post("/api/v1/people", json=body, headers=who)
    url = "/api/v1/people/ada"
    for limit, values in (("modality", ["MR", "CT"]), ("site", ["Klinik Nord"])):
        path = f"{url}/limits/{limit}"
        answer = await client.put(path, json={"values": values}, headers=who)
        assert answer.status_code == 204
    limits = (await client.get(f"{url}/standing", headers=who)).json()["limits"]
    assert limits == {"site": ["Klinik Nord"], "department": [], "modality": ["CT", "MR"]}
    lifted = await client.put(f"{url}/limits/site", json={"values": []}, headers=who)
    assert lifted.status_code == 204
    limits = (await client.get(f"{url}/standing", headers=who)).json()["limits"]
    assert limits == {"site": [], "department": [], "modality": ["CT", "MR"]}
    for limit, values in (
        ("floor", ["1"]),
        ("site", [" "]),
        ("site", ["x" * 201]),
        ("site", [f"x{n}" for n in range(65)]),
    ):
        path = f"{url}/limits/{limit}"
        answer = await client.put(path, json={"values": values}, headers=who)
        assert answer.status_code == 400, (limit, values)


async def test_an_account_is_sealed_and_its_password_told_once(
    client: httpx.AsyncClient, house: House
) -> None:
    who = await signed_in(house, "admin")
    body = {"roles": ["radiologist"], "name": "Night", "places": ["private", "192.0.2.0/24"]}
    made = await client.post("/api/v1/people/night/seal", json=body, headers=who)
    assert made.status_code == 201
    (night,) = (await client.get("/api/v1/people", headers=who)).json()
    assert (night["sealed"], night["unsealed"], night["name"]) == (True, None, "Night")
    assert night["places"] == ["private", "192.0.2.0/24"]
    assert made.json()["secret"] not in str(night)
    again = await client.post("/api/v1/people/night/seal", json={}, headers=who)
    assert again.json()["secret"] != made.json()["secret"]
    for wrong in ({"places": ["the moon"]}, {"places": []}, {"roles": ["auditor"]}):
        answer = await client.post("/api/v1/people/night/seal", json=wrong, headers=who)
        assert answer.status_code == 400, wrong


# --- identity providers --------------------------------------------------------------------------------

PROVIDER = {
    "name": "hospital",
    "issuer": "https://id.invalid/realms/main",
    "client_id": "lightwell",
    "secret": "s3cret-of-the-client",
    "label": "St. Elsewhere",
    "roles": {"readers": ["radiologist"], "it": ["pacs-admin", "auditor"]},
}


async def test_a_provider_is_trusted_changed_looked_at_and_removed(
    client: httpx.AsyncClient, house: House
) -> None:
    who = await signed_in(house, "admin")
    url = "/api/v1/providers"
    made = await client.post(url, json=PROVIDER, headers=who)
    assert made.status_code == 201, made.text
    (listed,) = (await client.get(url, headers=who)).json()["items"]
    assert listed == made.json()
    assert (listed["public"], listed["enabled"]) == (False, True)
    assert listed["scopes"] == ["openid", "profile"]
    assert listed["roles"]["it"] == ["auditor", "pacs-admin"]
    assert (await client.post(url, json=PROVIDER, headers=who)).status_code == 409
    change = {"enabled": False, "roles": {"*": ["referrer"]}, "scopes": ["groups"]}
    changed = (await client.patch(f"{url}/hospital", json=change, headers=who)).json()
    assert changed == {
        **listed,
        "enabled": False,
        "roles": {"*": ["referrer"]},
        "scopes": ["openid", "groups"],
    }
    found = (await client.post(f"{url}/hospital/test", json={}, headers=who)).json()
    assert found["well"] is False
    assert [step["step"] for step in found["steps"]] == ["address"]
    assert found["steps"][0]["text"]
    assert (await client.delete(f"{url}/hospital", headers=_json(who))).status_code == 204
    assert (await client.delete(f"{url}/hospital", headers=_json(who))).status_code == 404
    assert (await client.get(url, headers=who)).json()["items"] == []


async def test_a_client_secret_goes_in_and_never_out(
    client: httpx.AsyncClient, house: House
) -> None:
    who = await signed_in(house, "admin")
    url, other = "/api/v1/providers", "another-s3cret-of-the-client"
    answers = [
        await client.post(url, json=PROVIDER, headers=who),
        await client.patch(f"{url}/hospital", json={"secret": other}, headers=who),
        await client.get(url, headers=who),
        await client.post(f"{url}/hospital/test", json={}, headers=who),
        # What is wrong with a body is said without it.
        await client.post(url, json={**PROVIDER, "more": 1}, headers=who),
        await client.patch(f"{url}/hospital", json={"secret": [other]}, headers=who),
    ]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 400, 400]
    for answer in answers:
        assert "s3cret" not in answer.text
    await house.committer.close()  # what was noted is written
    async with house.database.transaction(await house.tenants.named()) as connection:
        noted = await connection.fetch("SELECT * FROM audit WHERE action LIKE 'people:provider:%'")
        (kept,) = await connection.fetch("SELECT secret FROM identity_provider")
    assert {row["detail"] for row in noted if row["action"] == "people:provider:change"} == {
        "secret"
    }
    assert "s3cret" not in str([dict(row) for row in noted])
    assert b"s3cret" not in kept["secret"]


async def test_what_cannot_be_a_provider_is_said(client: httpx.AsyncClient, house: House) -> None:
    who = await signed_in(house, "admin")
    for wrong in (
        {"name": "../x"},
        {"issuer": "http://id.invalid"},
        {"issuer": "https://id.invalid/?x=1"},
        {"roles": {}},
        {"roles": {"it": ["king"]}},
        {"roles": {"*": ["admin"]}},
        {"roles": {"g" * 301: ["auditor"]}},
        {"client_id": ""},
        {"secret": "two\nlines"},
        {"scopes": ["a b"]},
        {"callback": "https://elsewhere.invalid/"},
    ):
        answer = await client.post("/api/v1/providers", json={**PROVIDER, **wrong}, headers=who)
        assert answer.status_code == 400, wrong
    # The machine's own doors are named by who is on it (SSRF).
    local = {**PROVIDER, "issuer": "http://127.0.0.1:5432"}
    answer = await client.post("/api/v1/providers", json=local, headers=who)
    assert answer.status_code == 403
    assert (await client.get("/api/v1/providers", headers=who)).json()["items"] == []


async def test_the_callback_is_told_where_the_server_knows_its_address(
    client: httpx.AsyncClient, house: House, clinic: Tenant
) -> None:
    """Never from the Host header of a stranger: a provider would be told to send people there."""
    who = await signed_in(house, "admin")
    assert (await client.get("/api/v1/providers", headers=who)).json()["callback"] is None
    here = {**who, "host": "localhost:8042"}
    page = (await client.get("/api/v1/providers", headers=here)).json()
    path = "/api/v1/sign-in/provider/NAME/callback"
    assert page["callback"] in (f"http://localhost:8042{path}", f"https://localhost:8042{path}")
    assert page["signed_out"] == page["callback"].removesuffix(path) + "/sign-in"
    theirs = {**await signed_in(house, "admin", tenant=clinic), "host": "localhost:8042"}
    page = (await client.get("/t/clinic/api/v1/providers", headers=theirs)).json()
    assert page["callback"].endswith(f"/t/clinic{path}")


async def test_another_tenants_providers_and_accounts_are_not_there(
    client: httpx.AsyncClient, house: House, clinic: Tenant
) -> None:
    who = await signed_in(house, "admin")
    await client.post("/api/v1/providers", json=PROVIDER, headers=who)
    await client.post("/api/v1/people", json={"login": "ada", "roles": ["referrer"]}, headers=who)
    theirs = await signed_in(house, "admin", tenant=clinic)
    assert (await client.get("/t/clinic/api/v1/providers", headers=theirs)).json()["items"] == []
    for method, path, body in (
        ("PATCH", "providers/hospital", {"enabled": False}),
        ("POST", "providers/hospital/test", {}),
        ("DELETE", "providers/hospital", {}),
        ("GET", "people/ada/standing", None),
        ("PUT", "people/ada/limits/site", {"values": ["North"]}),
        ("POST", "people/ada/relations", {"kind": "treats", "name": "P1"}),
    ):
        answer = await client.request(
            method, f"/t/clinic/api/v1/{path}", json=body, headers=_json(theirs)
        )
        assert answer.status_code == 404, path
    assert len((await client.get("/api/v1/providers", headers=who)).json()["items"]) == 1


# --- policies and why ----------------------------------------------------------------------------------

CLOSED = """@id("closed") @reason("stock-taking")
forbid (principal is Person, action in Action::"see", resource);"""


async def test_a_policy_is_written_explains_and_is_taken_back(
    client: httpx.AsyncClient, house: House
) -> None:
    who = await signed_in(house, "admin")
    shipped = (await client.get("/api/v1/policies", headers=who)).json()
    assert all(policy["shipped"] and policy["text"].startswith("@id(") for policy in shipped)
    answer = await client.put("/api/v1/policies", json={"text": CLOSED}, headers=who)
    assert answer.json() == {"name": "closed"}
    wrong = await client.put("/api/v1/policies", json={"text": "permit;"}, headers=who)
    assert wrong.status_code == 400
    asked = {"role": "radiologist", "action": "archive:instance:retrieve"}
    for _ in range(100):  # what is in force may be remembered for a second
        why = (await client.get("/api/v1/explain", params=asked, headers=who)).json()
        if not why["decisions"][0]["allowed"]:
            break
        await asyncio.sleep(0.1)
    assert why["decisions"] == [
        {
            "action": "archive:instance:retrieve",
            "allowed": False,
            "partly": False,
            "reason": "stock-taking",
            "policies": ["closed"],
        }
    ]
    assert [policy["text"] for policy in why["policies"]] == [CLOSED]
    gone = await client.delete("/api/v1/policies/closed", headers=_json(who))
    assert gone.status_code == 204
    assert len((await client.get("/api/v1/policies", headers=who)).json()) == len(shipped)


SHUT = """@id("shut") @reason("everything is shut")
forbid (principal, action, resource);"""


def of_conditions(number: int) -> str:
    terms = " || ".join(['context.network == "public"'] * number)
    return f'@id("many") @reason("r") forbid (principal, action, resource) when {{ {terms} }};'


async def store_policy(house: House, name: str, text: str) -> None:
    """As an earlier version has, or somebody with a database client."""
    tenant = await house.tenants.named()
    async with house.database.transaction(tenant) as connection:
        await connection.execute(
            "INSERT INTO tenant_policy (tenant, name, body, author, at) VALUES ($1, $2, $3, 'x', now())",
            tenant.key,
            name,
            text,
        )
    house.policy.forget()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (of_conditions(60), "at most 50 conditions"),
        (
            '@id("sum") @reason("r") forbid (principal, action, resource)'
            " when { 9223372036854775807 + context.weekday > 0 };",
            "could not be decided",
        ),
        ('@id("admin") @reason("r") forbid (principal, action, resource);', "ships with"),
    ],
)
async def test_a_policy_that_would_shut_the_tenant_by_a_failure_is_refused(
    client: httpx.AsyncClient, house: House, text: str, says: str
) -> None:
    who = await signed_in(house, "admin")
    answer = await client.put("/api/v1/policies", json={"text": text}, headers=who)
    assert answer.status_code in (400, 409)
    assert says in answer.text
    house.policy.forget()
    told = await client.get("/api/v1/policies", headers=who)
    assert told.status_code == 200
    assert all(policy["shipped"] for policy in told.json())


async def test_one_policy_more_than_the_limit_is_refused_and_shuts_nothing(
    client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = await signed_in(house, "admin")
    await store_policy(house, "many", of_conditions(3))
    await store_policy(house, "other", CLOSED.replace("closed", "other"))
    monkeypatch.setattr(cedar, "POLICIES_LIMIT", 1)
    answer = await client.put("/api/v1/policies", json={"text": CLOSED}, headers=who)
    assert answer.status_code == 400
    assert "at most 1 policies" in answer.text
    assert (await client.get("/api/v1/policies", headers=who)).status_code == 200


async def test_sixty_conditions_that_an_earlier_version_took_are_followed_and_go(
    client: httpx.AsyncClient, house: House
) -> None:
    who = await signed_in(house, "admin")
    await store_policy(house, "many", of_conditions(60))
    assert (await client.get("/api/v1/policies", headers=who)).status_code == 200
    gone = await client.delete("/api/v1/policies/many", headers=_json(who))
    assert gone.status_code == 204


async def test_what_cannot_be_read_refuses_the_tenant_until_the_operator_removes_it(
    client: httpx.AsyncClient, house: House, installation: Installation
) -> None:
    who = await signed_in(house, "admin")
    await store_policy(house, "lost", "permit (principal")
    for path in ("/api/v1/policies", "/api/v1/people", "/api/v1/peers"):
        answer = await client.get(path, headers=who)
        assert answer.status_code == 403, path
        assert "could not be evaluated" in answer.text
    assert "cannot be read" in " ".join(installation.run("policy", "list").stdout.split())
    file = installation.settings.data / "closed.cedar"
    file.write_text(CLOSED)
    refused = installation.run("policy", "put", str(file))
    assert refused.returncode == 2
    assert "lightwell policy remove lost" in " ".join(refused.stderr.split())
    assert installation.run("policy", "remove", "lost").returncode == 0
    house.policy.forget()
    assert (await client.get("/api/v1/policies", headers=who)).status_code == 200


async def test_who_has_shut_everybody_out_is_let_in_again_by_the_operator(
    client: httpx.AsyncClient, house: House, installation: Installation
) -> None:
    """In `default`, which is the installation's own: it starts, and the operator takes the policy back."""
    who = await signed_in(house, "admin")
    answer = await client.put("/api/v1/policies", json={"text": SHUT}, headers=who)
    assert answer.json() == {"name": "shut"}
    house.policy.forget()
    refused = await client.delete("/api/v1/policies/shut", headers=_json(who))
    assert refused.status_code == 403
    said: list[str] = []
    await prepare(installation.settings, installation.info, said.append)
    assert any("This link makes the first one" in line for line in said)
    assert installation.run("policy", "remove", "shut").returncode == 0
    house.policy.forget()
    assert (await client.get("/api/v1/policies", headers=who)).status_code == 200


async def test_policies_are_read_beside_the_loop_and_once_for_all_who_ask(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await house.tenants.named()
    await store_policy(house, "many", of_conditions(50))
    threads: list[int] = []
    right = cedar.PolicySet.with_stored

    def noting(self: cedar.PolicySet, stored: Any) -> cedar.PolicySet:
        threads.append(threading.get_ident())
        return right(self, stored)

    monkeypatch.setattr(cedar.PolicySet, "with_stored", noting)
    rules = await asyncio.gather(*(house.policy.in_force(tenant) for _ in range(8)))
    assert len({id(each.policies) for each in rules}) == 1
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_why_of_an_account_is_told_for_every_action(
    client: httpx.AsyncClient, house: House
) -> None:
    who = await signed_in(house, "admin")
    owner = house.operator(await house.tenants.named())
    await house.people.add(owner, "ada", roles=["radiologist"])
    why = (await client.get("/api/v1/explain", params={"login": "Ada"}, headers=who)).json()
    allowed = {each["action"]: each["allowed"] for each in why["decisions"]}
    assert allowed["archive:study:query"] is True
    assert allowed["archive:study:correct"] is False
    assert {name for each in why["decisions"] for name in each["policies"]} == {
        policy["name"] for policy in why["policies"]
    }
    why = (await client.get("/api/v1/explain", params={"role": "referrer"}, headers=who)).json()
    of_referrers = {each["action"]: each for each in why["decisions"]}
    query, breaks = of_referrers["archive:study:query"], of_referrers["people:glass:break"]
    assert (query["allowed"], query["partly"]) == (True, True)
    assert (breaks["allowed"], breaks["partly"]) == (True, False)
    assert breaks["reason"].endswith("once proved again who one is")
    for wrong, status in (
        ({}, 400),
        ({"login": "ada", "role": "admin"}, 400),
        ({"login": "ada", "action": "archive:everything:delete"}, 400),
        ({"role": "king"}, 400),
        ({"role": "admin", "at": "noon"}, 400),
        ({"login": "nobody"}, 404),
    ):
        answer = await client.get("/api/v1/explain", params=wrong, headers=who)
        assert answer.status_code == status, wrong


# --- tenants -------------------------------------------------------------------------------------------


async def test_a_tenant_is_made_named_and_settled(client: httpx.AsyncClient, house: House) -> None:
    who = await signed_in(house, "admin")
    body = {"name": "north", "label": "Clinic North", "aet": "NORTH"}
    assert (await client.post("/api/v1/tenants", json=body, headers=who)).status_code == 201
    assert (await client.post("/api/v1/tenants", json=body, headers=who)).status_code == 409
    taken = {**body, "name": "south"}
    assert (await client.post("/api/v1/tenants", json=taken, headers=who)).status_code == 409
    change = {"label": "Klinik Nord", "settling": "as-received"}
    changed = await client.patch("/t/north/api/v1/tenant", json=change, headers=who)
    assert changed.json()["label"] == "Klinik Nord"
    listed = (await client.get("/api/v1/tenants/details", headers=who)).json()
    north = next(each for each in listed if each["name"] == "north")
    assert (north["label"], north["settling"], north["aet"]) == (
        "Klinik Nord",
        "as-received",
        "NORTH",
    )
    for wrong in ({"label": " "}, {"label": "a\nb"}, {"settling": "away"}):
        answer = await client.patch("/t/north/api/v1/tenant", json=wrong, headers=who)
        assert answer.status_code == 400, wrong


async def test_where_a_tenant_can_lie_is_for_who_knows_all_tenants(
    client: httpx.AsyncClient, house: House
) -> None:
    who, reader = await signed_in(house, "admin"), await signed_in(house, "radiologist")
    there = (await client.get("/api/v1/regions", headers=who)).json()
    assert there == [{"name": "local", "jurisdiction": ""}]
    assert (await client.get("/api/v1/regions", headers=reader)).json() == []
    north = await house.tenants.create(
        house.operator(await house.tenants.named(), "test"), "north", aet="NORTH"
    )
    own = await signed_in(house, "admin", tenant=north)
    assert (await client.get("/t/north/api/v1/regions", headers=own)).json() == []
    body = {"name": "south", "aet": "SOUTH", "region": "local"}
    made = await client.post("/api/v1/tenants", json=body, headers=who)
    assert (made.status_code, made.json()["region"]) == (201, "local")
    body = {"name": "west", "aet": "WEST", "region": "paris"}
    refused = await client.post("/api/v1/tenants", json=body, headers=who)
    assert (refused.status_code, "local" in refused.text) == (400, True)


async def test_r09_support_is_let_in_and_out(client: httpx.AsyncClient, house: House) -> None:
    who = await signed_in(house, "admin")
    url = "/api/v1/tenant/consent"
    assert (await client.get(url, headers=who)).json() == {"until": None}
    until = (await client.put(url, json={"hours": 2}, headers=who)).json()["until"]
    left = datetime.fromisoformat(until) - datetime.now(UTC)
    assert timedelta(hours=1) < left <= timedelta(hours=2)
    assert (await client.get(url, headers=who)).json()["until"] == until
    assert (await client.put(url, json={"hours": 169}, headers=who)).status_code == 400
    assert (await client.put(url, json={"hours": 0}, headers=who)).json() == {"until": None}
    assert (await client.get(url, headers=who)).json() == {"until": None}


# --- peers ---------------------------------------------------------------------------------------------


def peer(aet: str, port: int, **more: Any) -> dict[str, Any]:
    return {"aet": aet, "host": "127.0.0.1", "port": port, **more}


async def test_a_peer_is_let_in_changed_shut_out_and_removed(
    client: httpx.AsyncClient, house: House
) -> None:
    who = await signed_in(house, "pacs-admin")
    url = "/api/v1/peers"
    body = peer("A/B C", 104, type="workstation", site="north", certificate="ab" * 32)
    assert (await client.put(url, json=body, headers=who)).status_code == 200
    assert (await client.put(url, json=body, headers=who)).status_code == 409
    changed = {**body, "allow": ["echo", "find"], "revoked": True, "replace": True}
    assert (await client.put(url, json=changed, headers=who)).status_code == 200
    page = (await client.get(url, headers=who)).json()
    assert page["aet"] == "LIGHTWELL"
    assert page["types"]["modality"] == ["echo", "store"]
    (listed,) = page["items"]
    assert (listed["may"], listed["revoked"], listed["callable"]) == (["echo", "find"], True, False)
    assert (listed["site"], listed["certificate"]) == ("north", "ab" * 32)
    for wrong in (
        peer("", 104),
        peer("CT1", 70_000),
        {**peer("CT1", 104), "host": "a b"},
        {**peer("CT1", 104), "host": "x" * 300},
        peer("CT1", 104, allow=["delete"]),
        peer("CT1", 104, certificate="zz"),
        peer("CT1", 104, grants=["store"]),
        peer("CT\\1", 104),
    ):
        assert (await client.put(url, json=wrong, headers=who)).status_code == 400, wrong
    ours = await client.put(url, json=peer("LIGHTWELL", 104), headers=who)
    assert ours.status_code == 409
    gone = await client.post(f"{url}/remove", json={"aet": "A/B C"}, headers=who)
    assert gone.status_code == 204
    assert (await client.get(url, headers=who)).json()["items"] == []


@pytest.fixture
def other_archive(tmp_path: Path) -> Any:
    """Somebody else's DICOM door, with nobody registered."""
    with dimse_house(lambda: memory_rooms(tmp_path / "other")) as running:
        yield running


async def test_what_is_wrong_with_a_peer_is_said(
    client: httpx.AsyncClient, house: House, other_archive: Any
) -> None:
    who = await signed_in(house, "pacs-admin")
    # The other archive has that title, too, and knows nobody.
    await client.put("/api/v1/peers", json=peer("OTHER", other_archive.port), headers=who)
    await client.put("/api/v1/peers", json=peer("WRONG", other_archive.port), headers=who)
    await client.put("/api/v1/peers", json=peer("DEAF", free_port()), headers=who)
    network = {**peer("WARD", 104), "host": "192.0.2.0/24"}
    await client.put("/api/v1/peers", json=network, headers=who)
    ask = {"aet": "WRONG"}
    answer = (await client.post("/api/v1/peers/echo", json=ask, headers=who)).json()
    assert (answer["well"], answer["said"]) == (
        False,
        "It says that this AE title is not its own.",
    )
    answer = (await client.post("/api/v1/peers/echo", json={"aet": "OTHER"}, headers=who)).json()
    assert answer["said"] == "It does not know our AE title LIGHTWELL: register us there."
    answer = (await client.post("/api/v1/peers/echo", json={"aet": "DEAF"}, headers=who)).json()
    assert answer["said"].startswith("Nothing listens at its address and port: ")
    answer = await client.post("/api/v1/peers/echo", json={"aet": "WARD"}, headers=who)
    assert answer.status_code == 409


async def test_a_peer_answers_and_keeps_the_trial_image(
    client: httpx.AsyncClient, house: House, clinic: Tenant, other_archive: Any
) -> None:
    """Asked by the clinic, whose title the other archive is told of."""
    other_archive.add_peer("CLINIC", allow=frozenset({"store"}))
    who = await signed_in(house, "pacs-admin", tenant=clinic)
    await client.put("/api/v1/peers", json=peer("LIGHTWELL", other_archive.port), headers=who)
    ask = {"aet": "LIGHTWELL"}
    answer = await client.post("/api/v1/peers/echo", json=ask, headers=who)
    assert answer.json() == {"well": True, "said": "It answers.", "status": 0}
    answer = await client.post("/api/v1/peers/trial-image", json=ask, headers=who)
    assert answer.json() == {"well": True, "said": "It took the image.", "status": 0}
    assert other_archive.server.tally.stored == 1
    await house.committer.close()  # what was noted is written
    async with house.database.transaction(clinic) as connection:
        details = await connection.fetch(
            "SELECT subject, detail FROM audit WHERE action = 'peers:peer:probe' AND outcome = 'done'"
        )
    assert {(row["subject"], row["detail"]) for row in details} == {
        ("LIGHTWELL", "echo: It answers."),
        ("LIGHTWELL", "trial image: It took the image."),
    }


async def test_what_the_doors_have_seen_is_told_to_the_tenant_it_concerns(
    client: httpx.AsyncClient, house: House, clinic: Tenant
) -> None:
    """Two processes of one door: numbers are added, and each tenant sees its own title's calls."""
    counters = [Counters(), Counters()]
    for each in counters:
        each.of("LIGHTWELL", "CT1").add(associations=1, rows_found=9)
        each.of("LIGHTWELL", "CT1").add(stored=2, bytes_received=100)
        each.refuse("LIGHTWELL", "NOBODY", "192.0.2.9", "calling AE title not recognised")
    counters[0].of("CLINIC", "CT1").add(associations=1)
    counters[0].refuse("CLINIC", "NOBODY", "192.0.2.9", "peer revoked")
    counters[1].refuse("WHO", "NOBODY", "192.0.2.9", "called AE title not recognised")
    hearts = [
        Heart(house, f"dimse-{number}", "dimse", dict, lambda each=each: {DOOR: each.seen()})
        for number, each in enumerate(counters)
    ]
    for heart in hearts:
        await heart.start()
    try:
        chief = await signed_in(house, "admin")
        door = (await client.get("/api/v1/peers/door", headers=chief)).json()
        (machine,) = door["machines"]
        assert (machine["calling"], machine["associations"], machine["stored"]) == ("CT1", 2, 4)
        assert machine["bytes_received"] == 200
        assert {(r["called"], r["calling"], r["why"], r["times"]) for r in door["refused"]} == {
            ("LIGHTWELL", "NOBODY", "calling AE title not recognised", 2),
            ("WHO", "NOBODY", "called AE title not recognised", 1),
        }
        theirs = await signed_in(house, "pacs-admin", tenant=clinic)
        door = (await client.get("/api/v1/peers/door", headers=theirs)).json()
        assert [machine["associations"] for machine in door["machines"]] == [1]
        assert [refused["why"] for refused in door["refused"]] == ["peer revoked"]
    finally:
        for heart in hearts:
            await heart.stop()
    after = (await client.get("/api/v1/peers/door", headers=chief)).json()
    assert after == {"machines": [], "refused": []}
