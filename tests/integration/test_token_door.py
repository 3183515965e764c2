"""Tokens for programs at the HTTP door (RFC 6749 4.4): who gets one, what it opens, when it ends.

In process, on a real database. A04, A12 where they touch it: nothing is refreshed, nothing is redirected.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote_plus

import httpx
import pytest

from lightwell.access.context import Context
from lightwell.app.http import http_application
from lightwell.app.wiring import House
from lightwell.domain.people.api import Made
from lightwell.domain.people.sign_in_api import REMEMBER_SECONDS
from lightwell.gateways.http.forwarded import parse_proxies
from lightwell.gateways.http.guard import DoorLimits
from lightwell.kernel.errors import Conflict, Missing

PROXY = "127.0.0.1"
GRANT = {"grant_type": "client_credentials"}


async def nothing_missing() -> dict[str, str]:
    return {}


def door(house: House, client: str = "192.0.2.9") -> httpx.AsyncClient:
    application = http_application(
        archive=house.archive,
        tenants=house.tenants,
        jobs=house.jobs,
        pool=house.codecs,
        ready=nothing_missing,
        metrics=lambda: b"x 1\n",
        limits=DoorLimits(local=False),
        sign_in=house.sign_in,
        proxies=parse_proxies(PROXY),
        machines=house.machines,
    )
    transport = httpx.ASGITransport(application, client=(client, 4000))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="https://pacs.test")


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with door(house) as opened:
        yield opened


@pytest.fixture
async def key(house: House, context: Context) -> Made:
    return await house.people.new_key(
        context, "router & co", roles=["integration"], scopes=["archive:study:*", "tenants:*"]
    )


def basic(name: str, secret: str) -> dict[str, str]:
    pair = f"{quote_plus(name)}:{quote_plus(secret)}".encode()
    return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_a_key_gets_a_token_and_the_token_opens_what_the_key_opens(
    client: httpx.AsyncClient, key: Made
) -> None:
    form = {**GRANT, "client_id": "router & co", "client_secret": key.secret}
    for more in (
        {"data": GRANT, "headers": basic("router & co", key.secret)},
        {"data": GRANT, "headers": basic(str(key.id), key.secret)},
        {"data": form},
    ):
        for place in ("/api/v1/token", "/t/default/api/v1/token"):
            answer = await client.post(place, **more)
            assert answer.status_code == 200, answer.text
            assert answer.headers["cache-control"] == "no-store"
            said = answer.json()
            assert said["token_type"] == "Bearer"
            assert 895 <= said["expires_in"] <= 900
            assert said["scope"] == "archive:study:* tenants:*"
            assert said["access_token"].startswith("lwt_")
            assert key.secret not in answer.text
    token = said["access_token"]
    assert (await client.get("/api/v1/studies", headers=bearer(token))).status_code == 200
    refused = await client.get("/api/v1/stats", headers=bearer(token))
    assert refused.status_code == 403  # beyond the key's scopes


async def test_a_narrower_token_opens_less_and_a_wider_one_is_not_given(
    client: httpx.AsyncClient, key: Made
) -> None:
    headers = basic(str(key.id), key.secret)
    asked = {**GRANT, "scope": "archive:study:query"}
    said = (await client.post("/api/v1/token", data=asked, headers=headers)).json()
    assert said["scope"] == "archive:study:query"
    less = bearer(said["access_token"])
    assert (await client.get("/api/v1/studies", headers=less)).status_code == 200
    assert (await client.get("/api/v1/tenants", headers=less)).status_code == 403
    for scope in ("archive:*", "*", "archive:instance:store", "archive:study:query people:*", "-"):
        wide = await client.post("/api/v1/token", data={**GRANT, "scope": scope}, headers=headers)
        assert (wide.status_code, wide.json()["error"]) == (400, "invalid_scope"), scope


async def test_unknown_and_wrong_answer_the_same(
    client: httpx.AsyncClient, key: Made, house: House, context: Context
) -> None:
    clinic = await house.tenants.create(context, "clinic", aet="CLINIC")
    theirs = await house.people.new_key(house.operator(clinic), "theirs", roles=["integration"])
    gone = await house.people.new_key(context, "gone", roles=["integration"])
    await house.people.revoke_key(context, gone.id)
    token = (
        await client.post("/api/v1/token", data=GRANT, headers=basic(str(key.id), key.secret))
    ).json()["access_token"]
    tries = [
        ("/api/v1/token", "router & co", "lwk_" + "A" * 43),
        ("/api/v1/token", "nobody", "lwk_" + "A" * 43),
        ("/api/v1/token", "nobody2", "x"),
        ("/api/v1/token", "another", key.secret),
        ("/api/v1/token", "theirs", theirs.secret),
        ("/api/v1/token", "gone", gone.secret),
        ("/api/v1/token", str(key.id), token),  # A04: a token is not renewed by itself
        ("/t/clinic/api/v1/token", str(key.id), key.secret),
        ("/t/nowhere/api/v1/token", "other", key.secret),
    ]
    answers = set()
    for place, name, secret in tries:
        answer = await client.post(place, data=GRANT, headers=basic(name, secret))
        answers.add((answer.status_code, answer.text, answer.headers["www-authenticate"]))
    assert len(answers) == 1
    status, body, _ = answers.pop()
    assert status == 401
    assert '"invalid_client"' in body


@pytest.mark.parametrize(
    ("form", "headers", "error"),
    [
        ({}, {}, "invalid_request"),
        ({"grant_type": "password"}, {}, "invalid_client"),
        ({**GRANT, "client_id": "x"}, {}, "invalid_client"),
        (GRANT, {"authorization": "Basic !"}, "invalid_client"),
        (GRANT, {"authorization": "Bearer lwk_" + "A" * 43}, "invalid_client"),
        ({"grant_type": "authorization_code"}, basic("a", "b"), "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, basic("a", "b"), "unsupported_grant_type"),
        ({**GRANT, "client_id": "a", "client_secret": "b"}, basic("a", "b"), "invalid_request"),
        ({**GRANT, "client_id": "c"}, basic("a", "b"), "invalid_request"),
        ({**GRANT, "scope": ["a", "b"]}, basic("a", "b"), "invalid_request"),
        ({**GRANT, "scope": "x" * 3000}, basic("a", "b"), "invalid_request"),
        ({f"f{number}": "1" for number in range(30)}, basic("a", "b"), "invalid_request"),
    ],
)
async def test_a12_what_is_no_request_for_a_token(
    client: httpx.AsyncClient, form: dict[str, Any], headers: dict[str, str], error: str
) -> None:
    answer = await client.post("/api/v1/token", data=form, headers=headers)
    assert answer.json()["error"] == error
    assert answer.status_code == (401 if error == "invalid_client" else 400)
    assert answer.headers["cache-control"] == "no-store"


async def test_a_secret_in_the_address_or_as_json_is_not_heard(
    client: httpx.AsyncClient, key: Made
) -> None:
    form = {**GRANT, "client_id": str(key.id), "client_secret": key.secret}
    assert (await client.post("/api/v1/token", params=form, data={"x": "1"})).status_code == 401
    assert (await client.post("/api/v1/token", json=form)).json()["error"] == "invalid_request"
    assert (await client.get("/api/v1/token", params=form)).status_code == 405


async def test_a06_tries_are_throttled(client: httpx.AsyncClient, key: Made) -> None:
    """By name and place; the program itself, from elsewhere, is served meanwhile."""
    statuses = []
    for _ in range(7):
        answer = await client.post("/api/v1/token", data=GRANT, headers=basic(str(key.id), "x"))
        statuses.append(answer.status_code)
    assert statuses == [401] * 5 + [429] * 2
    assert int(answer.headers["retry-after"]) >= 1
    right = basic(str(key.id), key.secret)
    assert (await client.post("/api/v1/token", data=GRANT, headers=right)).status_code == 429


async def test_a_revoked_key_takes_its_tokens_with_it(
    client: httpx.AsyncClient, key: Made, house: House, context: Context, monkeypatch: Any
) -> None:
    headers = basic(str(key.id), key.secret)
    said = (await client.post("/api/v1/token", data=GRANT, headers=headers)).json()
    token = bearer(said["access_token"])
    assert (await client.get("/api/v1/studies", headers=token)).status_code == 200
    await house.people.revoke_key(context, key.id)
    before = house.sign_in.clock.monotonic()
    monkeypatch.setattr(house.sign_in.clock, "monotonic", lambda: before + REMEMBER_SECONDS)
    assert (await client.get("/api/v1/studies", headers=token)).status_code == 401
    assert (await client.get("/api/v1/studies", headers=bearer(key.secret))).status_code == 401
    assert (await client.post("/api/v1/token", data=GRANT, headers=headers)).status_code == 401


# --- certificates that a proxy hands on -----------------------------------------------------------------

DER = b"the DER of a client certificate"
FINGERPRINT = hashlib.sha256(DER).hexdigest()
HANDED_ON = {"client-cert": f":{base64.b64encode(DER).decode()}:"}


async def test_a_program_comes_with_its_certificate_through_the_proxy_alone(
    house: House, key: Made, context: Context
) -> None:
    await house.people.bind_certificate(context, key.id, FINGERPRINT.upper())
    async with door(house, PROXY) as proxied, door(house, "192.0.2.9") as direct:
        assert (await proxied.get("/api/v1/studies", headers=HANDED_ON)).status_code == 200
        assert (await proxied.get("/api/v1/stats", headers=HANDED_ON)).status_code == 403
        assert (await direct.get("/api/v1/studies", headers=HANDED_ON)).status_code == 401
        for wrong in (
            {},
            {"client-cert": "::"},
            {"client-cert": ":YWJj:"},
            {"client-cert": FINGERPRINT},
            {**HANDED_ON, "authorization": "Bearer lwk_" + "A" * 43},  # who says a key, means it
        ):
            assert (await proxied.get("/api/v1/studies", headers=wrong)).status_code == 401, wrong


async def test_a_certificate_is_one_program_s_and_ends_with_its_key(
    house: House, key: Made, context: Context
) -> None:
    other = await house.people.new_key(context, "other", roles=["integration"])
    await house.people.bind_certificate(context, key.id, FINGERPRINT)
    with pytest.raises(Conflict):
        await house.people.bind_certificate(context, other.id, FINGERPRINT)
    assert await house.people.certificates(context) == ((key.id, FINGERPRINT),)
    assert await house.sign_in.recognise_certificate(FINGERPRINT) is not None
    house.sign_in._known.clear()
    await house.people.release_certificate(context, FINGERPRINT)
    assert await house.sign_in.recognise_certificate(FINGERPRINT) is None
    with pytest.raises(Missing):
        await house.people.release_certificate(context, FINGERPRINT)
    await house.people.bind_certificate(context, other.id, FINGERPRINT)
    await house.people.revoke_key(context, other.id)
    house.sign_in._known.clear()
    assert await house.sign_in.recognise_certificate(FINGERPRINT) is None
    with pytest.raises(Missing):
        await house.people.bind_certificate(context, other.id, FINGERPRINT)
