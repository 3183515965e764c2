"""The attacks of the catalogue (reliability 4.3, 4.4) at the real HTTP door over a real database, by id.

Most of a line is often tested where it belongs, close to the code; here stand the whole ways: what an
attacker would do with a browser, a script or a second account, and what is left afterwards.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
import time
import uuid
from collections import Counter
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.jwk import RSAKey

from lightwell.access.context import Context, Tenant
from lightwell.app.http import http_application
from lightwell.app.offices import offices_of
from lightwell.app.wiring import House, start_listening
from lightwell.backends.database.pool import connect
from lightwell.backends.database.roles import Role
from lightwell.domain.archive.model import Announced
from lightwell.domain.people import totp
from lightwell.domain.people.model import Limit
from lightwell.gateways.http.guard import DoorLimits
from lightwell.testing.builders import a_study
from lightwell.testing.sign_in import signed_in
from lightwell.testing.two_tenants import BODIES
from tests.ports.test_people import secret_of
from tests.unit.backends.identity.test_identity import Authenticator

HOST = "https://pacs.example"
PASSWORD = "seven green bottles hang"


async def nothing_missing() -> dict[str, str]:
    return {}


def door(house: House, client: str = "192.0.2.1", token: str = "") -> httpx.AsyncClient:
    """The whole door, for somebody at an address."""
    application = http_application(
        archive=house.archive,
        tenants=house.tenants,
        jobs=house.jobs,
        pool=house.codecs,
        ready=nothing_missing,
        metrics=lambda: b"x 1\n",
        limits=DoorLimits(local=False),
        sign_in=house.sign_in,
        provider_sign_in=house.provider_sign_in,
        glass=house.glass,
        offices=offices_of(house),
        public_url=HOST,
    )
    transport = httpx.ASGITransport(application, client=(client, 1))  # type: ignore[arg-type]
    headers = {"origin": HOST, **({"authorization": f"Bearer {token}"} if token else {})}
    return httpx.AsyncClient(transport=transport, base_url=HOST, headers=headers)


@pytest.fixture
async def clinic(house: House, context: Context) -> Tenant:
    return await house.tenants.create(context, "clinic", aet="CLINIC")


async def keep(house: House, context: Context, patient: str) -> tuple[str, str]:
    """One stored image of a patient; its study UID and the address of its instance."""
    study = a_study(patient).with_series("CT", instances=1)
    for built in study.each():
        announced = Announced(built.sop_class, built.sop_uid, built.syntax, "TEST")
        writer = house.archive.stage(context, announced)
        writer.write(built.dataset)
        await house.archive.store(context, writer)
    place = f"/dicomweb/studies/{study.study_uid}/series/{study.series_uid()}"
    return study.study_uid, f"{place}/instances/{study.sop_uid()}"


# --- A01, A02: JSON Web Tokens at the bearer door ----------------------------------------------------


async def test_a01_a02_no_json_web_token_is_a_bearer_token_here_whoever_signed_it(
    house: House,
) -> None:
    """Bearers are reference tokens: a JWT is nobody's, forged or genuine; nothing that it names is asked."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    asked: list[bytes] = []

    async def heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(100))
        writer.close()

    listener = await asyncio.start_server(heard, "127.0.0.1", 0)
    place = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/keys"
    key = RSAKey.import_key(private)
    now = int(time.time())
    claims = {
        "iss": HOST,
        "sub": "admin",
        "aud": HOST,
        "exp": now + 600,
        "iat": now,
        "role": "admin",
    }

    def plain(header: dict[str, Any], signature: str = "") -> str:
        parts = (json.dumps(header).encode(), json.dumps(claims).encode())
        head = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
        return f"{head}.{signature}"

    good = jwt.encode({"alg": "RS256"}, claims, key)
    signed = plain({"alg": "HS256"}).rpartition(".")[0]
    mac = base64.urlsafe_b64encode(hmac.digest(public, signed.encode(), "sha256")).decode()
    as_secret = f"{signed}.{mac.rstrip('=')}"
    attacks = {
        "none": plain({"alg": "none"}),
        "None": plain({"alg": "NoNe"}),
        "public key as secret": as_secret,
        "its own key": jwt.encode({"alg": "RS256", "jwk": key.as_dict(private=False)}, claims, key),
        "a place for keys": jwt.encode({"alg": "RS256", "jku": place}, claims, key),
        "a chain of certificates": plain({"alg": "RS256", "x5u": place}, "AAAA"),
        "a path for a key": jwt.encode({"alg": "RS256", "kid": "../../dev/null"}, claims, key),
        "unknown critical header": plain({"alg": "RS256", "crit": ["x"], "x": 1}, "AAAA"),
        "no signature": good.rpartition(".")[0] + ".",
        "expired": jwt.encode({"alg": "RS256"}, {**claims, "exp": now - 60}, key),
        "of the future": jwt.encode({"alg": "RS256"}, {**claims, "nbf": now + 3600}, key),
        "for somebody else": jwt.encode({"alg": "RS256"}, {**claims, "aud": "evil"}, key),
        "of another issuer": jwt.encode({"alg": "RS256"}, {**claims, "iss": "https://evil"}, key),
        "good": good,
    }
    said = {}
    async with door(house) as client:
        for name, token in attacks.items():
            for headers in (
                {"authorization": f"Bearer {token}"},
                {"cookie": f"__Host-lightwell={token}"},
            ):
                answer = await client.get("/dicomweb/studies", headers=headers)
                assert answer.status_code == 401, name
                said[answer.content] = name
    listener.close()
    await listener.wait_closed()
    await asyncio.sleep(0)  # its socket is closed by the loop
    assert len(said) == 1, "the reason is nobody's business"
    assert asked == []


# --- A04: what stands where refresh tokens would -----------------------------------------------------


async def enrolled(house: House, login: str, *roles: str) -> tuple[httpx.AsyncClient, bytes]:
    """A browser that is signed in as a new account, and the secret of its authenticator."""
    owner = house.operator(await house.tenants.named())
    made = await house.people.add(owner, login, roles=roles)
    browser = door(house)
    offer = await browser.post("/api/v1/sign-in/enrolment", json={"token": made.secret})
    secret = secret_of(offer.json()["totp_uri"])
    step = int(house.archive.clock.now().timestamp()) // 30 - 1
    done = await browser.post(
        "/api/v1/sign-in/enrol",
        json={
            "token": made.secret,
            "ticket": offer.json()["ticket"],
            "password": PASSWORD,
            "code": totp.code_at(secret, step),
        },
    )
    assert done.status_code == 200, done.text
    return browser, secret


def code_of(house: House, secret: bytes, ahead: int = 0) -> str:
    return totp.code_at(secret, int(house.archive.clock.now().timestamp()) // 30 + ahead)


async def test_a04_a_token_that_was_renewed_is_dead_and_harms_nobody(house: House) -> None:
    """There are no refresh tokens: a session has one token at a time, and a proof gives it another."""
    browser, secret = await enrolled(house, "ada", "radiologist")
    name = "__Host-lightwell"
    first = browser.cookies[name]
    proof = {"password": PASSWORD, "code": code_of(house, secret)}
    assert (await browser.post("/api/v1/prove/password", json=proof)).status_code == 200
    second = browser.cookies[name]
    async with door(house) as thief:
        for path in ("/api/v1/me", "/dicomweb/studies", "/api/v1/prove"):
            answer = await thief.get(path, headers={"cookie": f"{name}={first}"})
            assert answer.status_code == 401, path
    assert (await browser.get("/api/v1/me")).status_code == 200, "the owner stays signed in"
    assert (await browser.post("/api/v1/sign-out", json={})).status_code == 204
    async with door(house) as thief:
        for token in (first, second):
            answer = await thief.get("/api/v1/me", headers={"cookie": f"{name}={token}"})
            assert answer.status_code == 401
    await browser.aclose()


# --- A06: guessing -----------------------------------------------------------------------------------


async def wrong(client: httpx.AsyncClient, login: str) -> httpx.Response:
    body = {"login": login, "password": "a wrong one of good length", "code": "000000"}
    return await client.post("/api/v1/sign-in/password", json=body)


async def test_a06_two_hundred_guesses_at_one_account_and_its_owner_gets_in(house: House) -> None:
    browser, secret = await enrolled(house, "ada", "radiologist")
    await browser.aclose()
    async with door(house, "198.51.100.7") as thief:
        answers = await asyncio.gather(*(wrong(thief, "ada") for _ in range(200)))
    heard = Counter(answer.status_code for answer in answers)
    assert set(heard) == {401, 429}
    assert heard[401] <= 10  # five, and one more after one, two, four seconds
    assert all(int(a.headers["retry-after"]) >= 1 for a in answers if a.status_code == 429)
    right = {"login": "ada", "password": PASSWORD, "code": code_of(house, secret)}
    async with door(house, "203.0.113.9") as owner:
        entered = await owner.post("/api/v1/sign-in/password", json=right)
    assert entered.status_code == 200, entered.text


async def test_a06_one_guess_at_each_of_five_hundred_accounts_is_many_from_one_place(
    house: House,
) -> None:
    async with door(house, "198.51.100.8") as thief:
        answers = []
        for first in range(0, 60, 2):  # as many passwords as are hashed at a time
            answers += await asyncio.gather(*(wrong(thief, f"user{first + n}") for n in range(2)))
        rest = await asyncio.gather(*(wrong(thief, f"user{n}") for n in range(60, 500)))
    heard = Counter(answer.status_code for answer in (*answers, *rest))
    assert set(heard) == {401, 429}
    assert heard[401] <= 50
    assert {answer.status_code for answer in rest} == {429}


async def test_a06_known_and_unknown_accounts_answer_alike_to_the_byte(house: House) -> None:
    browser, _ = await enrolled(house, "ada", "radiologist")
    await browser.aclose()
    owner = house.operator(await house.tenants.named())
    await house.people.add(owner, "shut", roles=["radiologist"])
    await house.people.change(owner, "shut", disabled=True)
    said = set()
    for number, login in enumerate(("ada", "shut", "nobody", "nobody@else", "ADA ")):
        async with door(house, f"198.51.100.{20 + number}") as client:
            for answer in await asyncio.gather(*(wrong(client, login) for _ in range(8))):
                head = sorted(set(answer.headers) - {"date"})
                said.add((answer.status_code, answer.json()["title"], tuple(head)))
    assert len(said) == 2, said  # refused, then throttled: in the same words for all
    assert {status for status, _, _ in said} == {401, 429}


async def test_a06_a_tenant_that_is_not_there_answers_guesses_as_one_that_is(house: House) -> None:
    owner = house.operator(await house.tenants.named())
    await house.tenants.create(owner, "clinic", aet="CLINIC")
    said: dict[str, list[int]] = {}
    for number, name in enumerate(("clinic", "nowhere")):
        async with door(house, f"198.51.100.{40 + number}") as client:

            async def guess(login: str, name: str = name, client: Any = client) -> int:
                body = {"login": login, "password": "a wrong one of good length", "code": ""}
                answer = await client.post(f"/t/{name}/api/v1/sign-in/password", json=body)
                return int(answer.status_code)

            said[name] = [await guess("ada") for _ in range(7)]
            said[name] += [await guess(odd) for odd in ("a\0b", "x" * 150, "")]
            said[name] += [await guess(f"user{n}") for n in range(45)]
    assert said["clinic"] == said["nowhere"]
    assert said["clinic"][:4] == [401] * 4
    assert 429 in said["clinic"][:7]
    assert said["clinic"][-1] == 429


# --- A08: somebody else's passkey --------------------------------------------------------------------


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def with_passkey(house: House, login: str) -> Authenticator:
    """An account that signs in with a passkey, made through the addresses as a browser would."""
    owner = house.operator(await house.tenants.named())
    made = await house.people.add(owner, login, roles=["radiologist"])
    authenticator = Authenticator("pacs.example")
    async with door(house) as browser:
        asked = await browser.post("/api/v1/sign-in/enrolment", json={"token": made.secret})
        offer = asked.json()
        answer = authenticator.create(unb64(offer["passkey"]["challenge"]), HOST)
        body = {"token": made.secret, "ticket": offer["ticket"], "passkey": answer}
        done = await browser.post("/api/v1/sign-in/enrol", json=body)
        assert done.status_code == 200, done.text
    return authenticator


async def test_a08_a_passkey_signs_for_its_own_account_site_and_question_only(house: House) -> None:
    ada, eve = await with_passkey(house, "ada"), await with_passkey(house, "eve")

    async def sign(make: Any, *, origin: str = HOST, again: bool = False) -> list[int]:
        async with door(house) as browser:
            asked = (await browser.post("/api/v1/sign-in/passkey-options", json={})).json()
            body = {"ticket": asked["ticket"], "answer": make(unb64(asked["options"]["challenge"]))}
            statuses = []
            for _ in range(2 if again else 1):
                done = await browser.post(
                    "/api/v1/sign-in/passkey", json=body, headers={"origin": origin}
                )
                statuses.append(done.status_code)
            return statuses

    def as_ada(challenge: bytes) -> dict[str, Any]:
        """Eve's authenticator says that it is Ada's."""
        own, eve.id = eve.id, ada.id
        try:
            return eve.get(challenge, HOST)
        finally:
            eve.id = own

    assert await sign(as_ada) == [401]
    assert await sign(lambda challenge: ada.get(challenge, "https://evil.example")) == [401]
    assert await sign(lambda challenge: ada.get(challenge, HOST, flags=0x01)) == [401]  # UV=0
    assert await sign(lambda challenge: ada.get(b"another challenge", HOST)) == [401]
    stolen = Authenticator("evil.example")
    stolen.id, stolen.key, stolen.count = ada.id, ada.key, ada.count + 5
    assert await sign(lambda challenge: stolen.get(challenge, HOST)) == [401]  # another rpId
    assert await sign(lambda challenge: ada.get(challenge, HOST), again=True) == [200, 401]


# --- A09: a token that was there before --------------------------------------------------------------


async def test_a09_a_session_that_somebody_planted_is_never_the_one_that_signs_in(
    house: House,
) -> None:
    planted = "lws_" + "A" * 43
    browser, secret = await enrolled(house, "ada", "radiologist")
    browser.cookies.clear()
    body = {"login": "ada", "password": PASSWORD, "code": code_of(house, secret)}
    for given in (planted, "", "x" * 60):
        headers = {"cookie": f"__Host-lightwell={given}"} if given else {}
        done = await browser.post("/api/v1/sign-in/password", json=body, headers=headers)
        if done.status_code == 200:
            cookie = done.headers["set-cookie"]
            assert given == "" or given not in cookie
            assert "__Host-lightwell=lws_" in cookie
            for flag in ("Path=/", "HttpOnly", "SameSite=Lax", "Secure"):
                assert flag in cookie.split("; ")
            assert "domain" not in cookie.lower()
            break
    else:
        pytest.fail("nobody could sign in")
    async with door(house) as thief:
        headers = {"cookie": f"__Host-lightwell={planted}"}
        assert (await thief.get("/api/v1/me", headers=headers)).status_code == 401
    await browser.aclose()


# --- A11: limits of a session at the door ------------------------------------------------------------


async def aged(house: House, statement: str, by: timedelta) -> None:
    async with house.work.session() as connection:
        await connection.execute(f"UPDATE session SET {statement}", by)
    house.sign_in._known.clear()


async def seen_again(house: House) -> bool:
    async with house.work.session() as connection:
        return bool(
            await connection.fetchval(
                "SELECT bool_and(seen > now() - interval '5 min') FROM session"
            )
        )


@pytest.mark.parametrize(
    ("roles", "idle", "absolute"),
    [
        (("radiologist",), 30, 12 * 60),
        (("admin",), 15, 8 * 60),
        (("admin", "radiologist"), 15, 480),
    ],
)
async def test_a11_a_session_ends_by_its_idle_and_by_its_absolute_limit_at_every_address(
    house: House, roles: tuple[str, ...], idle: int, absolute: int
) -> None:
    """Minutes. What a clock would do is done to the row: the door decides by its own clock."""
    paths = (
        "/api/v1/me",
        "/api/v1/me/sessions",
        "/dicomweb/studies",
        "/dicomweb/studies/1.2/metadata",
    )
    browser, secret = await enrolled(house, "ada", *roles)
    await aged(house, "seen = seen - $1::interval", timedelta(minutes=idle - 1))
    assert (await browser.get("/api/v1/me")).status_code == 200
    async with asyncio.timeout(10):  # that it was seen is written a moment later
        while not await seen_again(house):
            await asyncio.sleep(0.05)
    await aged(house, "seen = now() - $1::interval", timedelta(minutes=idle))
    for path in paths:
        assert (await browser.get(path)).status_code == 401, path
    body = {"login": "ada", "password": PASSWORD, "code": code_of(house, secret)}
    again = await browser.post("/api/v1/sign-in/password", json=body)
    assert again.status_code == 200, again.text
    life = timedelta(minutes=absolute)
    async with house.work.session() as connection:
        lives = await connection.fetch("SELECT expires - created AS life FROM session")
    assert {row["life"] for row in lives} == {life}
    assert (await browser.get("/api/v1/me")).status_code == 200
    await aged(
        house, "expires = now() - interval '1 second', seen = now() + $1::interval", timedelta(0)
    )
    for path in paths:
        assert (await browser.get(path)).status_code == 401, path
    await browser.aclose()


# --- R03: what could tell of others, indirectly ------------------------------------------------------


async def test_r03_counts_order_pages_and_errors_say_nothing_of_another_tenant(
    house: House, context: Context, clinic: Tenant
) -> None:
    """The same questions before and after the other tenant gets its images: the same answers to the byte.

    (But for how much each tenant keeps, which the administrator of the installation is told.)
    """
    await keep(house, context, "own-1")
    token = await signed_in(house, context, "ada", ["admin", "radiologist"])
    questions = (
        "/api/v1/studies", "/api/v1/studies?sort=PatientName", "/api/v1/studies?q=other",
        "/api/v1/studies?limit=1", "/api/v1/stats", "/api/v1/jobs", "/api/v1/jobs/counts",
        "/api/v1/peers/door", "/api/v1/explain?role=radiologist",
        "/dicomweb/studies", "/dicomweb/studies?PatientID=other-1", "/dicomweb/studies?PatientName=*",
        "/dicomweb/studies?limit=1&offset=1", "/dicomweb/series", "/dicomweb/instances?limit=5",
        "/dicomweb/studies?limit=0", "/dicomweb/studies?offset=-1", "/api/v1/studies?cursor=x",
    )  # fmt: skip
    async with door(house, token=token) as client:

        async def heard() -> dict[str, tuple[int, str]]:
            found = {}
            for path in questions:
                answer = await client.get(path)
                found[path] = answer.status_code, re.sub(r'"now":"[^"]*"', "", answer.text)
            return found

        before = await heard()
        other = house.operator(clinic, "test")
        for number in range(3):
            await keep(house, other, f"other-{number}")
        assert await heard() == before
        # A page's cursor of the other tenant leads nowhere here that it could not be led to otherwise.
        theirs = await signed_in(house, other, "eve", ["admin", "radiologist"])
        async with door(house, token=theirs) as elsewhere:
            page = (await elsewhere.get("/api/v1/studies?limit=1")).json()
        assert len(page["items"]) == 1
        cursor = page.get("next") or page.get("next_cursor") or page.get("cursor")
        assert cursor, page.keys()
        answer = await client.get("/api/v1/studies", params={"cursor": cursor})
        assert answer.status_code in (200, 400)
        assert "other-" not in answer.text


async def test_r03_no_cache_has_anything_after_somebody_has_left(
    house: House, context: Context
) -> None:
    study, instance = await keep(house, context, "own-1")
    browser, _ = await enrolled(house, "ada", "radiologist")
    for path in ("/api/v1/me", "/api/v1/studies", f"/api/v1/studies/{study}", "/api/v1/stats"):
        answer = await browser.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["cache-control"] == "no-store", path
        assert answer.headers["x-content-type-options"] == "nosniff", path
    for path in (f"/dicomweb/studies/{study}/metadata", instance, "/dicomweb/studies"):
        answer = await browser.get(path)
        kept = answer.headers["cache-control"]
        assert "private" in kept, (path, kept)
        assert "public" not in kept, (path, kept)
    out = await browser.post("/api/v1/sign-out", json={})
    assert out.headers["clear-site-data"] == '"cache", "storage"'
    for path in (f"/dicomweb/studies/{study}/metadata", instance, "/dicomweb/studies"):
        etag = {"if-none-match": "*"}
        assert (await browser.get(path, headers=etag)).status_code == 401, path
    await browser.aclose()


# --- R04: the database as the last wall --------------------------------------------------------------

# Tables without a tenant: what the installation knows of itself.
OF_THE_INSTALLATION = frozenset({"sequencer", "tenant"})


async def test_r04_without_a_tenant_no_table_shows_a_row(
    house: House, context: Context, clinic: Tenant
) -> None:
    """As the application's own role: every table that there is, also those of later migrations."""
    await keep(house, context, "own-1")
    await keep(house, house.operator(clinic, "test"), "other-1")
    await house.people.add(context, "ada", roles=["radiologist"])
    async with house.work.session() as connection:
        tables = await connection.fetch(
            "SELECT c.relname AS name, c.relrowsecurity AS secured, c.relforcerowsecurity AS forced,"
            " EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant'"
            " AND NOT a.attisdropped) AS of_tenants"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname = 'public' ORDER BY 1"
        )
    assert len(tables) > 30
    # `work.session()` is another role than the doors': these are looked at as the doors' own role.
    connection = await connect(house.info, Role.APP)
    closed, shown = 0, []
    try:
        for table in tables:
            if table["of_tenants"]:
                assert table["secured"], f"{table['name']} has no row-level security"
                assert table["forced"], f"{table['name']}: its owner would be let through"
            try:
                rows = await connection.fetch(f'SELECT * FROM "{table["name"]}" LIMIT 5')
            except asyncpg.PostgresError:
                closed += 1
                continue
            if rows:
                shown.append(table["name"])
    finally:
        await connection.close()
    assert set(shown) <= OF_THE_INSTALLATION, shown
    assert closed > 20


async def test_r04_two_hundred_requests_of_two_tenants_cross_nowhere(
    house: House, context: Context, clinic: Tenant
) -> None:
    """Fifty at a time through one pool of connections."""
    await keep(house, context, "own-1")
    other = house.operator(clinic, "test")
    await keep(house, other, "other-1")
    ours = await signed_in(house, context, "ada", ["radiologist"])
    theirs = await signed_in(house, other, "eve", ["radiologist"])
    turn = asyncio.Semaphore(50)
    async with door(house, token=ours) as one, door(house, token=theirs) as two:

        async def ask(number: int) -> set[str]:
            client = (one, two)[number % 2]
            path = ("/dicomweb/studies", "/api/v1/studies")[number // 2 % 2]
            async with turn:
                answer = await client.get(path)
            assert answer.status_code == 200
            return {name for name in ("own-1", "other-1") if name in answer.text}

        seen = await asyncio.gather(*(ask(number) for number in range(200)))
    assert seen[0::2] == [{"own-1"}] * 100
    assert seen[1::2] == [{"other-1"}] * 100


async def test_r04_a_connection_that_failed_in_one_tenant_knows_nothing_of_it_in_the_next(
    house: House, context: Context, clinic: Tenant
) -> None:
    await keep(house, context, "own-1")
    first = await house.tenants.named()

    async def failing() -> None:
        async with house.database.transaction(first) as connection:
            assert await connection.fetchval("SELECT count(*) FROM study") == 1
            await connection.execute("SELECT 1/0")

    for _ in range(40):
        with pytest.raises(asyncpg.PostgresError):
            await failing()
        async with house.database.transaction(clinic) as connection:
            assert await connection.fetchval("SELECT count(*) FROM study") == 0


# --- R06: less than a moment ago ---------------------------------------------------------------------


async def test_r06_a_role_that_was_taken_away_counts_at_the_next_frame(
    house: House, context: Context
) -> None:
    _, instance = await keep(house, context, "own-1")
    token = await signed_in(house, context, "ada", ["radiologist"])
    async with door(house, token=token) as reader:
        frame = f"{instance}/frames/1"
        assert (await reader.get(frame)).status_code == 200
        await house.people.change(context, "ada", roles=["auditor"])
        began = time.monotonic()
        while (answer := await reader.get(frame)).status_code == 200:
            assert time.monotonic() - began < 5.0, "images are still given"
            await asyncio.sleep(0.1)
        assert answer.status_code == 403
        await house.people.change(context, "ada", disabled=True)
        began = time.monotonic()
        while (answer := await reader.get("/api/v1/me")).status_code == 200:
            assert time.monotonic() - began < 5.0, "the account is still let in"
            await asyncio.sleep(0.1)
        assert answer.status_code == 401


async def test_r06_a_limit_to_another_institution_counts_at_the_next_frame(
    house: House, context: Context
) -> None:
    start_listening(house)  # as a serving process does: it hears of changes
    _, instance = await keep(house, context, "own-1")
    token = await signed_in(house, context, "ada", ["radiologist"])
    async with door(house, token=token) as reader:
        assert (await reader.get(f"{instance}/frames/1")).status_code == 200
        await house.relations.limit(context, "ada", Limit.SITE, ["Elsewhere"])
        began = time.monotonic()
        while (answer := await reader.get(f"{instance}/frames/1")).status_code == 200:
            assert time.monotonic() - began < 5.0, "images are still given"
            await asyncio.sleep(0.1)
        assert answer.status_code == 404


# --- R08: fields that nobody asked for ---------------------------------------------------------------

NAMES = {
    "login": "eve", "policy": "mine", "aet": "OTHER", "patient": "4711", "link": "lwl_" + "a" * 43,
    "study": "1.2.3", "opening_id": str(uuid.uuid4()), "tenant": "clinic",
}  # fmt: skip
TOO_MUCH: tuple[dict[str, Any], ...] = (
    {"role": "platform_admin"},
    {"roles_of": ["admin"]},
    {"tenant_id": 1},
    {"tenant": "default"},
    {"owner": "root"},
    {"home": "default"},
    {"is_admin": True},
    {"proved": "2099-01-01T00:00:00Z"},
    {"person_id": str(uuid.uuid4())},
    {"__proto__": {"admin": True}},
)


async def test_r08_every_address_that_takes_json_refuses_what_it_did_not_ask_for(
    house: House, context: Context
) -> None:
    token = await signed_in(house, context, "chief", ["admin", "radiologist"])
    async with door(house, token=token) as client:
        document = (await client.get("/openapi.json")).json()
        taking = [
            (method.upper(), path)
            for path, methods in document["paths"].items()
            for method, described in methods.items()
            if "application/json" in described.get("requestBody", {}).get("content", {})
        ]
        assert len(taking) > 20
        accounts = (await client.get("/api/v1/people")).json()
        for method, template in taking:
            body = {
                key: value.format_map(NAMES)
                if isinstance(value, str) and "@id" not in value
                else value
                for key, value in BODIES.get(f"{method} {template}", {}).items()
            }
            path = template
            for name, value in NAMES.items():
                path = path.replace("{" + name + "}", value)
            for more in TOO_MUCH:
                if set(more) & set(body):
                    continue
                answer = await client.request(method, path, json={**body, **more})
                assert answer.status_code == 400, (method, path, more, answer.text)
                assert "platform_admin" not in answer.text
        assert (await client.get("/api/v1/people")).json() == accounts, (
            "nothing was made or changed"
        )
        assert (await client.get("/api/v1/keys")).json() == []


async def test_r08_headers_and_queries_give_nobody_a_role_or_a_tenant(
    house: House, context: Context, clinic: Tenant
) -> None:
    token = await signed_in(house, house.operator(clinic, "test"), "eve", ["auditor"])
    async with door(house, token=token) as client:
        before = (await client.get("/api/v1/me")).json()
        for header in (
            "x-role",
            "x-roles",
            "x-tenant",
            "x-user",
            "x-remote-user",
            "x-forwarded-user",
        ):
            answer = await client.get("/api/v1/me", headers={header: "admin"})
            assert answer.json() == before, header
        for query in ("role=admin", "roles=admin", "tenant=default", "login=admin", "as=admin"):
            assert (await client.get(f"/api/v1/me?{query}")).json() == before, query


# --- R09: support ------------------------------------------------------------------------------------


async def test_r09_support_is_refused_until_the_tenant_lets_it_in_and_both_stand_in_every_record(
    house: House, context: Context, clinic: Tenant
) -> None:
    theirs = house.operator(clinic, "test")
    await keep(house, theirs, "other-1")
    chief = await signed_in(house, theirs, "grace", ["admin"])
    token = await signed_in(house, theirs, "vera", ["support"])
    paths = ("/api/v1/studies", "/dicomweb/studies", "/api/v1/jobs", "/api/v1/peers")
    async with door(house, token=token) as support, door(house, token=chief) as owner:
        for path in paths:
            answer = await support.get(path)
            assert answer.status_code == 403, path
            assert "has not let support in" in answer.text
        assert (await support.put("/api/v1/tenant/consent", json={"hours": 1})).status_code == 403
        let_in = await owner.put("/api/v1/tenant/consent", json={"hours": 2})
        assert let_in.status_code == 200, let_in.text
        await asyncio.sleep(1.1)  # what is in force may be remembered for a second
        for path in paths:
            assert (await support.get(path)).status_code in (200, 204), path
        # Records and totals, not images; nobody's account; and not a minute longer by its own hand.
        study = (await support.get("/api/v1/studies")).json()["items"][0]["study_uid"]
        assert (await support.get(f"/dicomweb/studies/{study}")).status_code == 403
        assert (await support.get("/api/v1/people")).status_code == 403
        assert (await support.put("/api/v1/tenant/consent", json={"hours": 99})).status_code == 403
        ended = await owner.put("/api/v1/tenant/consent", json={"hours": 0})
        assert ended.json() == {"until": None}
        await asyncio.sleep(1.1)
        for path in paths:
            assert (await support.get(path)).status_code == 403, path
    await house.committer.close()  # what was noted is written
    async with house.database.transaction(clinic) as connection:
        rows = await connection.fetch(
            "SELECT actor, action, outcome, detail FROM audit WHERE actor = 'person:vera'"
            " ORDER BY audit_id"
        )
        given = await connection.fetch(
            "SELECT actor, outcome FROM audit WHERE action = 'tenants:support:consent'"
            " AND outcome = 'done'"
        )
    done = [row for row in rows if row["outcome"] == "done"]
    assert len(done) >= len(paths)
    assert all("let in by person:grace" in row["detail"] for row in done), done
    assert {row["actor"] for row in given} == {"person:grace"}


async def test_r09_consent_ends_by_itself(house: House, context: Context, clinic: Tenant) -> None:
    theirs = house.operator(clinic, "test")
    token = await signed_in(house, theirs, "vera", ["support"])
    await house.policies.consent(theirs, timedelta(seconds=3))
    await asyncio.sleep(1.1)
    async with door(house, token=token) as support:
        assert (await support.get("/api/v1/studies")).status_code == 200
        began = time.monotonic()
        while (answer := await support.get("/api/v1/studies")).status_code == 200:
            assert time.monotonic() - began < 8.0, "support is still let in"
            await asyncio.sleep(0.2)
        assert answer.status_code == 403


async def test_r09_support_that_is_an_administrator_too_cannot_let_itself_in_or_stay(
    house: House, context: Context, clinic: Tenant
) -> None:
    theirs = house.operator(clinic, "test")
    token = await signed_in(house, theirs, "vera", ["support", "admin"])
    async with door(house, token=token) as support:
        assert (await support.put("/api/v1/tenant/consent", json={"hours": 1})).status_code == 403
        await house.policies.consent(theirs, timedelta(hours=1))
        await asyncio.sleep(1.1)
        assert (await support.get("/api/v1/studies")).status_code == 200
        answer = await support.put("/api/v1/tenant/consent", json={"hours": 99})
        assert answer.status_code == 403
        assert "cannot prolong" in answer.text
