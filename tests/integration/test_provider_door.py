"""Signing in through an identity provider at the HTTP door: redirects, cookies, and what is never reflected.

In process, on a real database, with a provider on loopback that a test may bend.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from lightwell.access.context import Context, Tenant
from lightwell.app.http import http_application
from lightwell.app.wiring import House
from lightwell.gateways.http.guard import DoorLimits
from lightwell.testing.openid import CLIENT_ID, SECRET, ScriptedProvider

PUBLIC_URL = "https://pacs.test"
BEGIN = "/api/v1/sign-in/provider/hospital"
BACK = f"{BEGIN}/callback"
HOSTILE = "<script>alert(1)</script>"


async def nothing_missing() -> dict[str, str]:
    return {}


def door(
    house: House, *, public_url: str | None = PUBLIC_URL, local: bool = False, at: str = PUBLIC_URL
) -> httpx.AsyncClient:
    application = http_application(
        archive=house.archive,
        tenants=house.tenants,
        jobs=house.jobs,
        pool=house.codecs,
        ready=nothing_missing,
        metrics=lambda: b"x 1\n",
        limits=DoorLimits(local=local),
        sign_in=house.sign_in,
        provider_sign_in=house.provider_sign_in,
        public_url=public_url,
    )
    transport = httpx.ASGITransport(application)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url=at)


@pytest.fixture
def there() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as provider:
        yield provider


@pytest.fixture
async def client(
    house: House, context: Context, there: ScriptedProvider
) -> AsyncIterator[httpx.AsyncClient]:
    await trust(house, context, there)
    async with door(house) as opened:
        yield opened


@pytest.fixture
async def clinic(house: House, context: Context) -> Tenant:
    return await house.tenants.create(context, "clinic", aet="CLINIC")


async def trust(house: House, context: Context, there: ScriptedProvider, **more: Any) -> None:
    await house.providers.add(
        context, "hospital", issuer=there.issuer, client_id=CLIENT_ID, secret=SECRET,
        roles={"readers": ["radiologist"]}, label="St. Elsewhere", **more,
    )  # fmt: skip


def problem(answer: httpx.Response) -> str:
    """What the sign-in page is told."""
    assert answer.status_code == 303
    match = re.fullmatch(
        r"(/t/[a-z]+)?/sign-in\?problem=([a-z-]+)(&at=[a-z]+)?", answer.headers["location"]
    )
    assert match, answer.headers["location"]
    return match[2]


async def leave(
    client: httpx.AsyncClient, there: ScriptedProvider, place: str = BEGIN, **query: str
) -> dict[str, str]:
    """Go to the provider; what its answer will carry."""
    answer = await client.get(place, params=query)
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith(f"{there.issuer}/auth?")
    sent = {k: v[0] for k, v in parse_qs(urlsplit(answer.headers["location"]).query).items()}
    there.nonce = sent["nonce"]
    return sent


# --- there and back -----------------------------------------------------------------------------------


async def test_there_and_back_with_a_cookie_and_a_session(
    client: httpx.AsyncClient, there: ScriptedProvider
) -> None:
    listed = await client.get("/api/v1/sign-in/providers")
    assert listed.json() == [{"name": "hospital", "label": "St. Elsewhere"}], (
        "names and labels only"
    )
    left = await client.get(BEGIN, params={"to": "/viewer/1.2.3?x=1"})
    assert re.fullmatch(
        r"__Host-lightwell-provider=lwc_[\w-]{43}; Path=/; HttpOnly; SameSite=Lax; Max-Age=600; Secure",
        left.headers["set-cookie"],
    )
    assert left.headers["cache-control"] == "no-store"
    sent = {k: v[0] for k, v in parse_qs(urlsplit(left.headers["location"]).query).items()}
    assert sent["redirect_uri"] == f"{PUBLIC_URL}{BACK}"
    there.nonce = sent["nonce"]
    back = await client.get(BACK, params={"state": sent["state"], "code": "c-1"})
    assert (back.status_code, back.headers["location"]) == (303, "/viewer/1.2.3?x=1")
    assert back.headers["referrer-policy"] == "no-referrer"
    session, gone = back.headers.get_list("set-cookie")
    assert re.fullmatch(
        r"__Host-lightwell=lws_[\w-]{43}; Path=/; HttpOnly; SameSite=Lax; Secure", session
    )
    assert gone.startswith("__Host-lightwell-provider=; ")
    assert "Max-Age=0" in gone
    me = (await client.get("/api/v1/me")).json()
    assert (me["kind"], me["name"], me["roles"]) == ("person", "ada", ["radiologist"])


async def test_a_tenant_has_its_own_address(
    house: House, client: httpx.AsyncClient, there: ScriptedProvider, clinic: Tenant
) -> None:
    await trust(house, house.operator(clinic), there)
    sent = await leave(client, there, f"/t/clinic{BEGIN}")
    assert sent["redirect_uri"] == f"{PUBLIC_URL}/t/clinic{BACK}"
    query = {"state": sent["state"], "code": "c-1"}
    assert problem(await client.get(BACK, params=query)) == "again", "the other tenant's"
    sent = await leave(client, there, f"/t/clinic{BEGIN}")
    back = await client.get(f"/t/clinic{BACK}", params={"state": sent["state"], "code": "c-1"})
    assert back.headers["location"] == "/t/clinic/"
    assert (await client.get("/api/v1/me")).json()["tenant"] == "clinic"


async def test_a_session_lives_on_when_the_provider_is_gone(
    client: httpx.AsyncClient, there: ScriptedProvider
) -> None:
    sent = await leave(client, there)
    await client.get(BACK, params={"state": sent["state"], "code": "c-1"})
    sent = await leave(client, there)
    there.stop()
    back = await client.get(BACK, params={"state": sent["state"], "code": "c"})
    assert problem(back) == "away"
    assert back.headers["location"].endswith("&at=connection"), "which part does not answer"
    assert (await client.get("/api/v1/studies")).status_code == 200
    wrong = {"login": "grace", "password": "wrong wrong wrong"}
    local = await client.post("/api/v1/sign-in/password", json=wrong)
    assert local.status_code == 401, "local accounts are heard"


# --- attacks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "to",
    ["//evil.test", "https://evil.test", "/\\evil.test", "/%0d%0aSet-Cookie:x=y", "javascript:alert(1)",
     "/x\r\nLocation: https://evil.test", "/api/v1/me", HOSTILE],
)  # fmt: skip
async def test_a12_nobody_is_sent_elsewhere(
    client: httpx.AsyncClient, there: ScriptedProvider, to: str
) -> None:
    sent = await leave(client, there, to=to)
    back = await client.get(BACK, params={"state": sent["state"], "code": "c-1"})
    place = back.headers["location"]
    assert place == "/" or place.startswith("/%0d%0aSet-Cookie:x=y")
    assert [c.partition("=")[0] for c in back.headers.get_list("set-cookie")] == [
        "__Host-lightwell", "__Host-lightwell-provider",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "host", ["evil.test", "evil.test:443", "localhost.evil.test", "localhost@evil.test"]
)
async def test_a12_the_host_header_does_not_say_where_people_come_back_to(
    house: House, client: httpx.AsyncClient, host: str
) -> None:
    answer = await client.get(BEGIN, headers={"host": host})
    sent = parse_qs(urlsplit(answer.headers["location"]).query)
    assert sent["redirect_uri"] == [f"{PUBLIC_URL}{BACK}"]
    async with door(house, public_url=None) as unnamed:
        assert problem(await unnamed.get(BEGIN, headers={"host": host})) == "no-address"


@pytest.mark.parametrize("at", ["http://localhost:8042", "http://127.0.0.1:9", "http://[::1]:9"])
async def test_on_loopback_the_browser_names_the_address(
    house: House, client: httpx.AsyncClient, there: ScriptedProvider, at: str
) -> None:
    async with door(house, public_url=None, local=True, at=at) as local:
        left = await local.get(BEGIN)
        sent = {k: v[0] for k, v in parse_qs(urlsplit(left.headers["location"]).query).items()}
        assert sent["redirect_uri"] == f"{at}{BACK}"
        assert left.headers["set-cookie"].startswith("lightwell-provider=lwc_")
        assert "Secure" not in left.headers["set-cookie"]
        there.nonce = sent["nonce"]
        cookie = left.headers["set-cookie"].partition(";")[0]
        query = {"state": sent["state"], "code": "c-1"}
        back = await local.get(BACK, params=query, headers={"cookie": cookie})
        assert back.headers["location"] == "/"


async def test_a12_without_the_cookie_or_with_two(
    client: httpx.AsyncClient, there: ScriptedProvider
) -> None:
    """Login CSRF; and a cookie that a neighbour put beside ours."""
    for cookie in (
        "",
        "__Host-lightwell-provider=lwc_" + "a" * 43,
        "lightwell-provider={own}",
        "{both}",
    ):
        sent = await leave(client, there)
        own = client.cookies["__Host-lightwell-provider"]
        client.cookies.clear()
        name = "__Host-lightwell-provider"
        said = cookie.format(own=own, both=f"{name}={own}; {name}={own}")
        query = {"state": sent["state"], "code": "c-1"}
        back = await client.get(BACK, params=query, headers={"cookie": said})
        assert problem(back) == "again"
    assert "/token" not in there.paths()


async def test_a12_parameters_come_once(client: httpx.AsyncClient, there: ScriptedProvider) -> None:
    sent = await leave(client, there)
    for twice in ("code=c-1&code=c-2", "code=c-1&state=x", "code=c-1&iss=a&iss=b"):
        back = await client.get(f"{BACK}?state={sent['state']}&{twice}")
        assert problem(back) == "again"
    assert "/token" not in there.paths()
    back = await client.get(f"{BACK}?state={sent['state']}&code=c-1")
    assert back.headers["location"] == "/", "nothing of it was used up"


async def test_a12_mix_up(client: httpx.AsyncClient, there: ScriptedProvider) -> None:
    sent = await leave(client, there)
    query = {"state": sent["state"], "code": "c-1", "iss": "https://evil.test"}
    assert problem(await client.get(BACK, params=query)) == "unproved"
    assert "/token" not in there.paths()


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"error": "access_denied", "error_description": HOSTILE}, "cancelled"),
        ({"error": HOSTILE, "error_uri": "https://evil.test"}, "declined"),
        ({"error": "server_error\r\nSet-Cookie: a=b"}, "declined"),
        ({"code": HOSTILE, "iss": HOSTILE}, "unproved"),
        ({}, "declined"),
    ],
)
async def test_what_a_provider_says_is_never_reflected(
    client: httpx.AsyncClient, there: ScriptedProvider, said: dict[str, str], word: str
) -> None:
    sent = await leave(client, there)
    back = await client.get(BACK, params={"state": sent["state"], **said})
    assert problem(back) == word
    whole = str(back.headers) + back.text
    assert "script" not in whole
    assert "evil" not in whole
    assert [c.partition("=")[0] for c in back.headers.get_list("set-cookie")] == [
        "__Host-lightwell-provider"
    ]


@pytest.mark.parametrize(
    ("claims", "word"),
    [
        ({"groups": ["choir"]}, "no-role"),
        ({"preferred_username": "a b"}, "no-login"),
        ({"aud": "somebody"}, "unproved"),
        ({"nonce": "another"}, "unproved"),
    ],
)
async def test_who_is_not_let_in_learns_why(
    client: httpx.AsyncClient, there: ScriptedProvider, claims: dict[str, Any], word: str
) -> None:
    there.claims = claims
    sent = await leave(client, there)
    assert problem(await client.get(BACK, params={"state": sent["state"], "code": "c"})) == word
    assert (await client.get("/api/v1/me")).status_code == 401


async def test_r02_a_tenant_that_is_none_answers_like_one_without_providers(
    client: httpx.AsyncClient, clinic: Tenant
) -> None:
    for path in ("/api/v1/sign-in/providers", BEGIN, BACK, f"{BACK}?state=x&code=y", f"{BEGIN}x"):
        answers = [await client.get(f"/t/{name}{path}") for name in ("clinic", "nowhere")]
        said = {
            (
                a.status_code,
                a.content,
                re.sub("clinic|nowhere", "T", str(sorted(a.headers.items()))),
            )
            for a in answers
        }
        assert len(said) == 1, path


@pytest.mark.parametrize(
    "name", ["", "nothing", "..", "%2e%2e", "hospital%00", "hospital/x", HOSTILE]
)
async def test_a_provider_that_is_none(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/api/v1/sign-in/provider/{name}")
    assert answer.status_code in (303, 400, 404)
    if answer.status_code == 303:
        assert problem(answer) == "no-provider"
    assert "script" not in answer.text


async def test_only_get_does_anything_there(client: httpx.AsyncClient) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert (await client.request(method, BEGIN, json={})).status_code == 405


async def test_a09_a_session_that_was_there_is_not_the_one_that_begins(
    client: httpx.AsyncClient, there: ScriptedProvider
) -> None:
    """Fixation: whatever cookie a browser came with, it leaves with a token of its own."""
    fixed = "lws_" + "a" * 43
    client.cookies.set("__Host-lightwell", fixed, domain="pacs.test")
    sent = await leave(client, there)
    back = await client.get(BACK, params={"state": sent["state"], "code": "c-1"})
    session = back.headers.get_list("set-cookie")[0]
    assert session.startswith("__Host-lightwell=lws_")
    assert fixed not in session


# --- out again ----------------------------------------------------------------------------------------

OUT = "/api/v1/sign-out"


async def inside(client: httpx.AsyncClient, there: ScriptedProvider, place: str = "") -> None:
    """Sign in through the provider."""
    sent = await leave(client, there, f"{place}{BEGIN}")
    back = await client.get(f"{place}{BACK}", params={"state": sent["state"], "code": "c-1"})
    assert back.status_code == 303
    assert "problem" not in back.headers["location"]


async def test_signing_out_ends_the_session_here_and_says_where_the_other_is(
    house: House, context: Context, client: httpx.AsyncClient, there: ScriptedProvider
) -> None:
    there.description["end_session_endpoint"] = f"{there.issuer}/end"
    await inside(client, there)
    local = await client.post(OUT, json={})
    assert (local.status_code, local.content) == (204, b""), "here only, unless it is set up so"
    await house.providers.change(context, "hospital", end_session=True)
    await inside(client, there)
    out = await client.post(OUT, json={})
    assert out.status_code == 200
    assert out.headers["set-cookie"].endswith("Max-Age=0")
    assert "storage" in out.headers["clear-site-data"]
    assert out.headers["cache-control"] == "no-store"
    place = urlsplit(out.json()["address"])
    said = {name: value[0] for name, value in parse_qs(place.query).items()}
    assert said == {
        "client_id": CLIENT_ID,
        "logout_hint": "s-1",
        "post_logout_redirect_uri": f"{PUBLIC_URL}/sign-in",
        "state": "signed-out",
    }
    assert (await client.get("/api/v1/me")).status_code == 401
    assert (await client.post(OUT, json={})).status_code == 204, "nobody is led there twice"


async def test_of_a_tenant_with_a_name_the_way_back_has_it(
    house: House, client: httpx.AsyncClient, there: ScriptedProvider, clinic: Tenant
) -> None:
    """Whichever address the session is ended at: it is its own tenant's way back that is registered."""
    there.description["end_session_endpoint"] = f"{there.issuer}/end"
    await trust(house, house.operator(clinic), there, end_session=True)
    for at in ("/t/clinic", "", "/t/nowhere"):
        await inside(client, there, "/t/clinic")
        out = await client.post(f"{at}{OUT}", json={})
        query = parse_qs(urlsplit(out.json()["address"]).query)
        assert query["post_logout_redirect_uri"] == [f"{PUBLIC_URL}/t/clinic/sign-in"], at


async def test_a12_no_strangers_host_becomes_a_way_back(
    house: House, context: Context, there: ScriptedProvider
) -> None:
    there.description["end_session_endpoint"] = f"{there.issuer}/end"
    await trust(house, context, there, end_session=True)
    async with door(house, public_url=None, at="http://localhost") as client:
        await inside(client, there)
        cookies = {"origin": "http://evil.test", "host": "evil.test"}
        out = await client.post(OUT, json={}, headers=cookies)
        assert "post_logout_redirect_uri" not in out.json()["address"]
        assert "evil" not in out.text


async def test_a_provider_that_is_away_is_said_to_be_and_the_session_here_is_over(
    house: House, context: Context, client: httpx.AsyncClient, there: ScriptedProvider
) -> None:
    await house.providers.change(context, "hospital", end_session=True)
    await inside(client, there)
    token = next(cookie.value for cookie in client.cookies.jar if cookie.name.endswith("lightwell"))
    there.stop()
    house.openid._known.clear()  # as after the five seconds that a description is fresh
    out = await client.post(OUT, json={})
    assert (out.status_code, out.json()) == (200, {"address": None})
    bearer = {"authorization": f"Bearer {token}"}
    assert (await client.get("/api/v1/me", headers=bearer)).status_code == 401
