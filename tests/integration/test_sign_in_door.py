"""The HTTP door with people behind it: who gets in, as whom, and what everybody else is told.

In process, on a real database, with the route table and the framework application of the product.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from lightwell.access.context import Context, Tenant
from lightwell.app.http import http_application
from lightwell.app.wiring import House
from lightwell.domain.people import totp
from lightwell.gateways.http.guard import DoorLimits

HOST = "http://pacs.test"
OURS = {"origin": HOST}
PASSWORD = "seven green bottles hang"


async def nothing_missing() -> dict[str, str]:
    return {}


def door(house: House) -> httpx.AsyncClient:
    application = http_application(
        archive=house.archive,
        tenants=house.tenants,
        jobs=house.jobs,
        pool=house.codecs,
        ready=nothing_missing,
        metrics=lambda: b"x 1\n",
        limits=DoorLimits(local=False),
        sign_in=house.sign_in,
    )
    transport = httpx.ASGITransport(application)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url=HOST.replace("http", "https"))


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with door(house) as opened:
        yield opened


@pytest.fixture
async def clinic(house: House, context: Context) -> Tenant:
    return await house.tenants.create(context, "clinic", aet="CLINIC")


async def bearer(house: House, *roles: str, tenant: Tenant | None = None) -> dict[str, str]:
    owner = house.operator(tenant or await house.tenants.named())
    made = await house.people.new_key(owner, "test", roles=roles)
    return {"authorization": f"Bearer {made.secret}"}


async def test_without_identity_nothing_answers_but_the_probes_and_the_sign_in(
    client: httpx.AsyncClient, house: House
) -> None:
    """Every address of the OpenAPI, and such as are none."""
    described = await client.get("/openapi.json", headers=await bearer(house, "admin"))
    addresses = [
        (method.upper(), re.sub(r"\{[^}]*\}", "1.2.3", path))
        for path, methods in described.json()["paths"].items()
        for method in methods
    ]
    assert len(addresses) > 30
    answers: dict[str, set[int]] = {}
    for method, path in [*addresses, ("GET", "/api/v1/nothing"), ("DELETE", "/dicomweb/studies")]:
        for prefix in ("", "/t/default", "/t/nowhere"):
            answer = await client.request(method, prefix + path)
            kind = "public" if path.startswith(("/livez", "/readyz", "/api/v1/sign-")) else "shut"
            answers.setdefault(f"{kind} {path}", set()).add(answer.status_code)
            assert "x-lightwell" not in answer.headers
    for name, statuses in answers.items():
        if name.startswith("shut"):
            assert statuses == {401}, name
    assert answers["public /livez"] == answers["public /readyz"] == {200}


async def test_a01_what_is_presented_and_is_nothing_is_nobody(client: httpx.AsyncClient) -> None:
    bodies = set()
    for value in (
        "Bearer lws_" + "a" * 43,
        "Bearer lwk_" + "a" * 43,
        "Bearer eyJhbGciOiJub25lIn0.eyJyb2xlIjoiYWRtaW4ifQ.",
        "Basic YWRtaW46YWRtaW4=",
        "Bearer",
    ):
        answer = await client.get("/api/v1/studies", headers={"authorization": value})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="Lightwell"'
        bodies.add(answer.content)
    assert len(bodies) == 1


async def test_a_key_of_a_role_does_what_the_role_may(
    client: httpx.AsyncClient, house: House
) -> None:
    reader, auditor = await bearer(house, "radiologist"), await bearer(house, "auditor")
    for path in ("/api/v1/studies", "/dicomweb/studies"):
        assert (await client.get(path, headers=reader)).status_code in (200, 204)
    instance = "/dicomweb/studies/1.2.3/series/1.2.4/instances/1.2.5"
    assert (await client.get(instance, headers=reader)).status_code == 404
    assert (await client.get(instance, headers=auditor)).status_code == 403
    researcher, patient = await bearer(house, "researcher"), await bearer(house, "patient")
    assert (await client.get("/api/v1/studies", headers=researcher)).status_code == 403
    # A key is nobody's patient: it sees what there is in an empty archive.
    assert (await client.get("/api/v1/studies", headers=patient)).json()["items"] == []
    assert (await client.get(instance, headers=patient)).status_code == 404
    me = (await client.get("/api/v1/me", headers=auditor)).json()
    assert (me["kind"], me["roles"], me["tenant"]) == ("program", ["auditor"], "default")


async def test_r02_another_tenant_answers_like_none(
    client: httpx.AsyncClient, house: House, clinic: Tenant
) -> None:
    theirs = await bearer(house, "admin", tenant=clinic)
    said = {
        (answer.status_code, answer.content, tuple(sorted(answer.headers)))
        for name in ("default", "nowhere", "")
        for path in ("/api/v1/studies", "/dicomweb/studies", "/api/v1/me")
        if (answer := await client.get(f"/t/{name}{path}", headers=theirs))
    }
    assert len(said) == 1
    assert next(iter(said))[0] == 404
    own = await client.get("/api/v1/me", headers=theirs)
    assert own.json()["tenant"] == "clinic", "an address without a tenant means one's own"
    listed = await client.get("/api/v1/tenants", headers=theirs)
    assert [tenant["name"] for tenant in listed.json()] == ["clinic"]
    chief = await bearer(house, "admin")
    listed = await client.get("/api/v1/tenants", headers=chief)
    assert [tenant["name"] for tenant in listed.json()] == ["default", "clinic"]
    assert (await client.get("/t/clinic/api/v1/me", headers=chief)).status_code == 200
    assert (await client.get("/t/clinic/api/v1/studies", headers=chief)).status_code == 403


def code_of(uri: str, house: House) -> str:
    text = parse_qs(urlsplit(uri).query)["secret"][0]
    secret = base64.b32decode(text + "=" * (-len(text) % 8))
    return totp.code_at(secret, int(house.archive.clock.now().timestamp()) // 30)


async def first_admin(client: httpx.AsyncClient, house: House) -> httpx.Response:
    made = await house.people.first_administrator(house.operator(await house.tenants.named()))
    assert made is not None
    asked = {"token": made.secret, "login": "grace"}
    offer = (await client.post("/api/v1/sign-in/enrolment", json=asked)).json()
    assert offer["first"]
    assert offer["totp_qr"].startswith("<svg")
    return await client.post(
        "/api/v1/sign-in/enrol",
        json={
            **asked,
            "ticket": offer["ticket"],
            "name": "Grace",
            "password": PASSWORD,
            "code": code_of(offer["totp_uri"], house),
        },
    )


async def test_first_boot_a_cookie_and_out_again(client: httpx.AsyncClient, house: House) -> None:
    made = await first_admin(client, house)
    assert made.status_code == 200, made.text
    assert len(made.json()["recovery_codes"]) == 10
    cookie = made.headers["set-cookie"]
    assert re.fullmatch(
        r"__Host-lightwell=lws_[\w-]{43}; Path=/; HttpOnly; SameSite=Lax; Secure", cookie
    )
    assert made.headers["cache-control"] == "no-store"
    me = (await client.get("/api/v1/me")).json()
    assert (me["kind"], me["name"], me["roles"]) == ("person", "grace", ["admin"])
    # A recovery code instead of the authenticator: another session, another token (A09).
    again = await client.post(
        "/api/v1/sign-in/password",
        json={"login": "Grace", "password": PASSWORD, "code": made.json()["recovery_codes"][0]},
    )
    assert again.status_code == 200
    assert again.headers["set-cookie"] != cookie
    out = await client.post("/api/v1/sign-out", json={})
    assert out.status_code == 204
    assert out.headers["set-cookie"].endswith("Max-Age=0")
    assert (await client.get("/api/v1/me")).status_code == 401


async def test_a10_a_change_under_the_cookie_comes_from_our_own_page(
    client: httpx.AsyncClient, house: House
) -> None:
    await first_admin(client, house)
    url = "/api/v1/jobs/none/retry"
    for headers, status in (
        ({}, 403),
        ({"origin": "https://evil.test"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 404),
        ({"origin": "https://pacs.test"}, 404),
    ):
        answer = await client.post(url, json={}, headers=headers)
        assert answer.status_code == status, headers
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ):
        answer = await client.post(
            "/api/v1/sign-in/link", content=b'{"token":"x"}', headers={"content-type": kind}
        )
        assert answer.status_code == 400, kind


async def test_a06_equal_answers_whoever_one_says_to_be_and_wherever(
    client: httpx.AsyncClient, house: House
) -> None:
    await first_admin(client, house)
    client.cookies.clear()
    said = set()
    for prefix, login, code in (
        ("", "grace", "000000"),
        ("", "nobody", "000000"),
        ("/t/nowhere", "grace", "000000"),
        ("/t/default", "grace", ""),
    ):
        body = {"login": login, "password": PASSWORD, "code": code}
        answer = await client.post(f"{prefix}/api/v1/sign-in/password", json=body)
        said.add((answer.status_code, answer.content))
    assert len(said) == 1
    assert next(iter(said))[0] == 401
    for _ in range(6):
        answer = await client.post(
            "/api/v1/sign-in/password", json={"login": "grace", "password": "x", "code": ""}
        )
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    "body",
    [
        {"login": "grace", "password": "x", "code": "1", "role": "platform_admin"},
        {"login": ["grace"], "password": "x"},
        {"login": "x" * 201, "password": "x"},
        {"login": "grace"},
        [],
        None,
    ],
)
async def test_r08_fields_nobody_asked_for_are_refused_and_never_echoed(
    client: httpx.AsyncClient, body: Any
) -> None:
    answer = await client.post("/api/v1/sign-in/password", json=body)
    assert answer.status_code == 400
    assert "platform_admin" not in answer.text


async def test_nobody_and_a_wrong_token_are_told_the_same(client: httpx.AsyncClient) -> None:
    wrong = {"authorization": "Bearer lwk_" + "a" * 43}
    said = [await client.get("/api/v1/studies", headers=headers) for headers in ({}, wrong)]
    assert [answer.status_code for answer in said] == [401, 401]
    assert said[0].content == said[1].content
