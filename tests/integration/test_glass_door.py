"""Break-glass, its review and proving again over HTTP, on a real database: as a browser does it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from lightwell.access.context import Context, Tenant
from lightwell.access.policy import circumstances_of
from lightwell.app.http import http_application
from lightwell.app.wiring import House
from lightwell.backends.database.chores import glass_queue
from lightwell.backends.database.pool import connect
from lightwell.backends.database.roles import Role
from lightwell.domain.archive.model import Announced
from lightwell.domain.people import totp
from lightwell.domain.people.glass import REVIEW_WITHIN
from lightwell.domain.people.opening import Visitor
from lightwell.domain.people.sign_in_api import REMEMBER_SECONDS, SignIn
from lightwell.gateways.http.guard import DoorLimits
from lightwell.gateways.http.problems import PROVE_AGAIN
from lightwell.testing.builders import a_study
from tests.ports.test_people import secret_of

PASSWORD = "seven green bottles hang"
ORIGIN = {"origin": "https://pacs.test"}
WHY = "Stroke, no other physician here"
WANTED = {"patient_id": "4711", "issuer": "HOSPITAL", "reason": WHY}


async def nothing_missing() -> dict[str, str]:
    return {}


class Browser:
    """Somebody with an account and a cookie. `forget` is what two seconds do to a door's memory."""

    def __init__(self, house: House, login: str, secret: bytes, tenant: Tenant) -> None:
        self.house, self.login, self.secret, self.tenant = house, login, secret, tenant
        application = http_application(
            archive=house.archive,
            tenants=house.tenants,
            jobs=house.jobs,
            pool=house.codecs,
            ready=nothing_missing,
            metrics=lambda: b"x 1\n",
            limits=DoorLimits(local=False),
            sign_in=house.sign_in,
            glass=house.glass,
        )
        transport = httpx.ASGITransport(application, client=("10.1.2.3", 1))  # type: ignore[arg-type]
        self.http = httpx.AsyncClient(
            transport=transport, base_url="https://pacs.test", headers=ORIGIN
        )
        self._steps = iter(range(1, 10_000))

    def forget(self) -> None:
        self.house.sign_in._known.clear()

    @property
    def token(self) -> str:
        return str(self.http.cookies["__Host-lightwell"])

    def code(self) -> str:
        """A code that was not used yet: this step, then the next one (one step of skew is allowed)."""
        step = int(self.house.archive.clock.now().timestamp()) // 30
        return totp.code_at(self.secret, step + next(self._steps) - 1)

    async def post(self, path: str, body: Any = None) -> httpx.Response:
        return await self.http.post(f"/api/v1{path}", json={} if body is None else body)

    async def get(self, path: str) -> httpx.Response:
        return await self.http.get(f"/api/v1{path}")

    async def grow_old(self) -> None:
        """Ten minutes after the last proof."""
        async with self.house.work.session() as connection:
            await connection.execute("UPDATE session SET proved = proved - interval '10 minutes'")
        self.forget()


async def signed_in(house: House, login: str, *roles: str, tenant: Tenant | None = None) -> Browser:
    """An account, enrolled and signed in through the addresses."""
    home = tenant or await house.tenants.named()
    made = await house.people.add(house.operator(home), login, roles=roles)
    place = "" if home.name == "default" else f"/t/{home.name}"
    browser = Browser(house, login, b"", home)
    offer = await browser.http.post(
        f"{place}/api/v1/sign-in/enrolment", json={"token": made.secret}
    )
    secret = secret_of(offer.json()["totp_uri"])
    browser.secret = secret
    # The step before this one, so that this one and the next are there to prove with.
    step = int(house.archive.clock.now().timestamp()) // 30 - 1
    done = await browser.http.post(
        f"{place}/api/v1/sign-in/enrol",
        json={
            "token": made.secret,
            "ticket": offer.json()["ticket"],
            "password": PASSWORD,
            "code": totp.code_at(secret, step),
        },
    )
    assert done.status_code == 200, done.text
    return browser


@pytest.fixture
async def ada(house: House) -> AsyncIterator[Browser]:
    browser = await signed_in(house, "ada", "radiologist")
    yield browser
    await browser.http.aclose()


@pytest.fixture
async def rev(house: House) -> AsyncIterator[Browser]:
    browser = await signed_in(house, "rev", "auditor")
    yield browser
    await browser.http.aclose()


async def keep(house: House, context: Context, pid: str = "4711") -> str:
    """One stored image of a patient of the issuer HOSPITAL; its study UID."""
    study = a_study(pid, IssuerOfPatientID="HOSPITAL").with_series("CT", instances=1)
    for built in study.each():
        announced = Announced(built.sop_class, built.sop_uid, built.syntax, "TEST")
        writer = house.archive.stage(context, announced)
        writer.write(built.dataset)
        await house.archive.store(context, writer)
    return study.study_uid


async def audited(house: House, action: str) -> list[dict[str, Any]]:
    tenant = await house.tenants.named()
    async with house.database.transaction(tenant) as connection:
        rows = await connection.fetch(
            "SELECT * FROM audit WHERE action = $1 ORDER BY audit_id", action
        )
    return [dict(row) for row in rows]


async def test_r05_glass_is_broken_ended_and_judged(
    house: House, context: Context, ada: Browser, rev: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    await keep(house, context)
    with caplog.at_level(logging.WARNING, "lightwell.glass"):
        broken = await ada.post("/glass", WANTED)
    assert broken.status_code == 201, broken.text
    opening = broken.json()
    assert (opening["state"], opening["patient_id"], opening["own"]) == ("open", "4711", True)
    assert opening["id"] in caplog.text
    assert "4711" not in caplog.text
    assert WHY not in caplog.text
    ada.forget()
    bearer = await house.sign_in.recognise(ada.token)
    assert bearer is not None
    seen = house.sign_in.context(bearer, ada.tenant, ada.tenant, "dicomweb", "")
    assert seen.opened == {("HOSPITAL", "4711")}
    standing = (await ada.get("/glass")).json()
    assert standing["open"]["id"] == opening["id"]
    assert (standing["may_break"], standing["counts"]) == (True, None)

    queue = (await rev.get("/glass/openings?which=unreviewed")).json()
    assert [each["id"] for each in queue["items"]] == [opening["id"]]
    assert queue["counts"] == {"unreviewed": 1, "overdue": 0, "open": 1}
    one = f"/glass/openings/{opening['id']}"
    assert (await rev.post(f"{one}/review", {"verdict": "justified"})).status_code == 409
    ended = await rev.post(f"{one}/end")
    assert (ended.json()["state"], ended.json()["ended_by"]) == ("unreviewed", "person:rev")
    ada.forget()
    bearer = await house.sign_in.recognise(ada.token)
    assert bearer is not None
    assert not house.sign_in.context(bearer, ada.tenant, ada.tenant, "dicomweb", "").opened
    assert (await ada.get("/glass")).json()["open"] is None

    judged = await rev.post(f"{one}/review", {"verdict": "justified", "remark": "It was one."})
    assert (judged.json()["verdict"], judged.json()["reviewer"]) == ("justified", "person:rev")
    assert (await rev.post(f"{one}/review", {"verdict": "justified"})).status_code == 409
    queue = (await rev.get("/glass/openings?which=unreviewed")).json()
    assert (queue["items"], queue["counts"]["unreviewed"]) == ([], 0)

    (record,) = await audited(house, "people:glass:break")
    assert (record["outcome"], record["subject"]) == ("done", opening["id"])
    assert "4711" not in str(record)
    assert WHY not in str(record)
    async with house.database.transaction(ada.tenant) as connection:
        kinds = [row["kind"] for row in await connection.fetch("SELECT kind FROM event")]
        subjects = str(await connection.fetch("SELECT subject FROM event WHERE kind LIKE 'Glass%'"))
    assert {"GlassBroken", "GlassEnded", "GlassReviewed"} <= set(kinds)
    assert "4711" not in subjects


async def test_r05_a_lease_that_was_granted_while_it_was_open_ends_with_it(
    house: House, context: Context, ada: Browser
) -> None:
    study_uid = await keep(house, context)
    opening = (await ada.post("/glass", WANTED)).json()
    ada.forget()

    async def actor_now() -> Any:
        bearer = await house.sign_in.recognise(ada.token)
        assert bearer is not None
        return house.sign_in.context(bearer, ada.tenant, ada.tenant, "dicomweb", "")

    during = await actor_now()
    lease = await house.archive.locate(during, study_uid)
    (instance,) = lease.instances.values()

    def held(who: Any) -> Any:
        return house.archive.held(
            ada.tenant,
            who.actor,
            "dicomweb",
            study_uid,
            instance.series_uid,
            instance.sop_uid,
            circumstances_of(who),
        )

    series = await house.archive.locate(during, study_uid, instance.series_uid)
    one = (study_uid, instance.series_uid, instance.sop_uid)
    assert await house.archive.locate(during, *one) in (lease, series)
    await ada.post(f"/glass/openings/{opening['id']}/end")
    ada.forget()
    after = await actor_now()
    assert held(during) is None  # what finds a lease without a context finds none of an emergency
    assert held(after) is None
    assert await house.archive.locate(after, *one) not in (lease, series)


async def test_r05_what_is_wrong_breaks_nothing(house: House, ada: Browser, rev: Browser) -> None:
    for wrong, status in (
        ({**WANTED, "reason": "because"}, 400),
        ({**WANTED, "reason": "x" * 501}, 400),
        ({**WANTED, "patient_id": ""}, 400),
        ({**WANTED, "patient_id": "*"}, 400),
        ({**WANTED, "patient_id": ["4711", "4712"]}, 400),
        ({**WANTED, "tenant": "clinic"}, 400),
        ({**WANTED, "until": "2099-01-01T00:00:00Z"}, 400),
        ({"patient_id": "4711"}, 400),
        ([], 400),
    ):
        answer = await ada.post("/glass", wrong)
        assert answer.status_code == status, wrong
    assert (await rev.post("/glass", WANTED)).status_code == 403
    key = await house.people.new_key(
        house.operator(ada.tenant), "k", roles=["radiologist", "admin"]
    )
    by_key = await ada.http.post(
        "/api/v1/glass", json=WANTED, headers={"authorization": f"Bearer {key.secret}"}
    )
    assert by_key.status_code == 403
    foreign = await ada.http.post(
        "/api/v1/glass", json=WANTED, headers={"origin": "https://evil.test"}
    )
    assert foreign.status_code == 403
    form = await ada.http.post(
        "/api/v1/glass", content=b"{}", headers={"content-type": "text/plain"}
    )
    assert form.status_code == 400
    assert (await rev.get("/glass/openings")).json()["items"] == []


async def test_r05_known_and_unknown_patients_answer_alike(
    house: House, context: Context, ada: Browser
) -> None:
    await keep(house, context)
    answers = []
    for patient_id in ("4711", "0815"):
        answer = await ada.post("/glass", {**WANTED, "patient_id": patient_id})
        body = answer.json()
        await ada.post(f"/glass/openings/{body['id']}/end")
        for varies in ("id", "patient_id", "since", "until"):
            assert body.pop(varies)
        answers.append((answer.status_code, body, sorted(answer.headers)))
    assert answers[0] == answers[1]


async def test_r02_openings_of_others_are_not_there(
    house: House, context: Context, ada: Browser
) -> None:
    clinic = await house.tenants.create(context, "clinic", aet="CLINIC")
    bob = await signed_in(house, "bob", "radiologist")
    theirs = await signed_in(house, "ada", "auditor", "radiologist", tenant=clinic)
    opening = (await ada.post("/glass", WANTED)).json()
    said: dict[str, set[tuple[int, bytes]]] = {}
    for browser in (bob, theirs):
        for opening_id in (opening["id"], str(uuid.uuid4())):
            for act, body in (("end", {}), ("review", {"verdict": "justified"})):
                answer = await browser.post(f"/glass/openings/{opening_id}/{act}", body)
                said.setdefault(f"{browser.tenant.name} {act}", set()).add(
                    (answer.status_code, answer.content)
                )
    assert all(len(answers) == 1 for answers in said.values()), said
    assert {status for answers in said.values() for status, _ in answers} <= {403, 404}
    assert (await theirs.get("/glass/openings")).json()["items"] == []
    assert (await bob.get("/glass/openings")).status_code == 403
    for browser in (bob, theirs):
        await browser.http.aclose()


# --- proving again -----------------------------------------------------------------------------------------


async def test_a09_a_powerful_act_waits_for_a_proof_which_renews_the_cookie(
    house: House, ada: Browser
) -> None:
    await ada.grow_old()
    old = ada.token
    refused = await ada.post("/glass", WANTED)
    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == PROVE_AGAIN
    ways = (await ada.get("/prove")).json()
    assert ways == {
        "password": True, "code": True, "passkey": False, "provider": None, "good_for": 300,
    }  # fmt: skip
    wrong = await ada.post("/prove/password", {"password": PASSWORD, "code": "000000"})
    assert (wrong.status_code, "type" in wrong.json()) == (403, False)
    assert ada.token == old
    right = await ada.post("/prove/password", {"password": PASSWORD, "code": ada.code()})
    assert right.status_code == 200, right.text
    assert re.fullmatch(
        r"__Host-lightwell=lws_[\w-]{43}; Path=/; HttpOnly; SameSite=Lax; Secure",
        right.headers["set-cookie"],
    )
    assert right.headers["cache-control"] == "no-store"
    assert ada.token != old
    assert old not in right.text
    ada.forget()
    by_old = await ada.http.get(
        "/api/v1/me", headers={"authorization": f"Bearer {old}", "cookie": ""}
    )
    assert by_old.status_code == 401
    assert (await ada.post("/glass", WANTED)).status_code == 201
    done = [record["outcome"] for record in await audited(house, "people:session:prove")]
    assert done == ["failed", "done"]


async def test_a06_a_stolen_cookie_does_not_guess_its_way_up(house: House, ada: Browser) -> None:
    await ada.grow_old()
    guesses = (
        ada.post("/prove/password", {"password": f"guess {n}", "code": "000000"}) for n in range(20)
    )
    answers = await asyncio.gather(*guesses)
    heard = [answer for answer in answers if answer.status_code == 403]
    turned_away = [answer for answer in answers if answer.status_code == 429]
    assert len(heard) + len(turned_away) == 20
    assert turned_away
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in turned_away)
    assert len({answer.content for answer in heard}) == 1


async def test_a_program_and_nobody_have_nothing_to_prove(house: House, ada: Browser) -> None:
    key = await house.people.new_key(house.operator(ada.tenant), "k", roles=["admin"])
    as_key = {"authorization": f"Bearer {key.secret}"}
    body = {"password": PASSWORD, "code": ""}
    answer = await ada.http.post("/api/v1/prove/password", json=body, headers=as_key)
    assert answer.status_code == 404
    ada.http.cookies.clear()
    assert (await ada.post("/prove/password", body)).status_code == 401
    assert (await ada.get("/prove")).status_code == 401
    extra = await ada.http.post(
        "/api/v1/prove/password", json={**body, "session": str(uuid.uuid4())}, headers=as_key
    )
    assert extra.status_code == 400


# --- with nothing else running ---------------------------------------------------------------------------


async def test_r05_a_sealed_account_works_alone_and_the_queue_shows_it(
    house: House, context: Context, ada: Browser, rev: Browser
) -> None:
    """No identity provider, no second factor: an envelope. A session of before lives on beside it."""
    await keep(house, context)
    made = await house.people.seal(context, "night", roles=["radiologist"])
    night = Browser(house, "night", b"", ada.tenant)
    body = {"login": "night", "password": made.secret, "code": ""}
    assert (await night.post("/sign-in/password", body)).status_code == 200
    assert (await night.get("/glass")).json()["sealed"]
    await night.grow_old()
    assert (await night.post("/glass", WANTED)).json()["type"] == PROVE_AGAIN
    assert (await night.get("/prove")).json()["code"] is False
    assert (await night.post("/prove/password", {"password": made.secret})).status_code == 200
    assert (await night.post("/glass", WANTED)).status_code == 201
    night.forget()
    bearer = await house.sign_in.recognise(night.token)
    assert bearer is not None
    inside = house.sign_in.context(bearer, ada.tenant, ada.tenant, "dicomweb", "")
    assert inside.opened == {("HOSPITAL", "4711")}
    assert inside.purpose == "emergency"
    assert (await ada.get("/me")).status_code == 200
    queue = (await rev.get("/glass/openings")).json()
    assert [each["kind"] for each in queue["items"]] == ["patient", "seal"]
    assert queue["counts"] == {"unreviewed": 2, "overdue": 0, "open": 2}
    assert (await glass_queue(house.work, REVIEW_WITHIN)) == {
        "glass_unreviewed": 2,
        "glass_overdue": 0,
    }
    await night.http.aclose()


async def test_r04_openings_are_behind_row_level_security_and_what_was_opened_is_written_once(
    house: House, context: Context, ada: Browser
) -> None:
    await ada.post("/glass", WANTED)
    connection = await connect(house.info, Role.APP)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM opening")
    finally:
        await connection.close()
    other = await house.tenants.create(context, "clinic", aet="CLINIC")
    async with house.database.transaction(other) as theirs:
        assert await theirs.fetchval("SELECT count(*) FROM opening") == 0
    for change in ("patient_id = '0815'", "reason = 'another'", "until = now()", "login = 'bob'"):
        with pytest.raises(Exception, match="permission denied"):
            await _change(house, ada.tenant, f"UPDATE opening SET {change}")
    with pytest.raises(Exception, match="permission denied"):
        await _change(house, ada.tenant, "DELETE FROM opening")


async def _change(house: House, tenant: Tenant, statement: str) -> None:
    async with house.database.transaction(tenant) as connection:
        await connection.execute(statement)


async def test_r05_another_process_knows_within_the_memory_of_a_door(
    installation: Any, house: House, context: Context, ada: Browser
) -> None:
    """Two sets of rooms on one database, real clocks: opened, and over, at most two seconds later."""
    await keep(house, context)
    opening = (await ada.post("/glass", WANTED)).json()
    other = installation.open()
    try:
        door: SignIn = other.sign_in

        async def opened() -> bool:
            bearer = await door.recognise(ada.token)
            assert bearer is not None
            return bool(door.context(bearer, ada.tenant, ada.tenant, "dicomweb", "").opened)

        assert await opened()
        await ada.post(f"/glass/openings/{opening['id']}/end")
        await asyncio.sleep(REMEMBER_SECONDS)
        assert not await opened()
    finally:
        await other.close()


async def test_commands_seal_list_end_and_judge(installation: Any, house: House) -> None:

    def run(*arguments: str) -> str:
        done = installation.run(*arguments)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    sealed = run("user", "seal", "night", "--role", "radiologist", "--from", "loopback")
    password = sealed.strip().splitlines()[-1]
    (person,) = json.loads(run("user", "list", "--json"))
    assert person["sealed"] == "sealed"
    tenant = await house.tenants.named()
    who = Visitor(tenant, "127.0.0.1")
    signed = await house.sign_in.by_password(who, "night", password, "")
    (entry,) = json.loads(run("glass", "list", "--json"))
    assert (entry["who"], entry["kind"], entry["state"]) == ("night", "seal", "open")
    (person,) = json.loads(run("user", "list", "--json"))
    assert person["sealed"].startswith("unsealed")
    run("glass", "end", entry["id"])
    house.sign_in._known.clear()
    assert await house.sign_in.recognise(signed.token) is None
    refused = installation.run("glass", "review", entry["id"], "not-justified")
    assert refused.returncode == 2
    assert "needs a remark" in " ".join(refused.stderr.split())
    run("glass", "review", entry["id"], "justified", "--remark", "The drill of November.")
    assert json.loads(run("glass", "list", "--json")) == []
    (entry,) = json.loads(run("glass", "list", "--all", "--json"))
    assert (entry["state"], entry["remark"]) == ("justified", "The drill of November.")
    for arguments, says in (
        (("glass", "end", "x"), "is no id"),
        (("glass", "end", str(uuid.uuid4())), "no such opening"),
        (("user", "seal", "other"), "No role is given"),
        (("user", "seal", "night", "--from", "anywhere"), "no network place"),
    ):
        done = installation.run(*arguments)
        assert done.returncode == 2, arguments
        assert says in " ".join(done.stderr.split())
