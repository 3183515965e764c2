"""One suite for every keeper of people: memory and PostgreSQL. Nothing here knows which it is.

`SignIn` and `People` run on top with a cheap hasher, so that what is promised to a browser is promised by
both backends: once is once, also for two at the same time; another tenant's is nobody's.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lightwell.access.commit import ChangeSet, Committer
from lightwell.access.context import Context, Tenant, operator_context
from lightwell.access.policy import Rules
from lightwell.backends.database.people import PostgresPeople, PostgresTries
from lightwell.backends.identity.hashing import Argon2Hasher
from lightwell.backends.identity.sealing import AesSealer
from lightwell.backends.memory.committer import MemoryCommitter
from lightwell.backends.memory.people import MemoryPeople, MemoryTries
from lightwell.backends.memory.tables import MemoryDatabase
from lightwell.domain.people import totp
from lightwell.domain.people.api import Made, People
from lightwell.domain.people.errors import NotSignedIn, ScopeTooWide, TooManyTries, Unproved
from lightwell.domain.people.machine_api import MachineSignIn
from lightwell.domain.people.model import BearerKind, ConsentRow, Over, Passkey, Person, judge
from lightwell.domain.people.opening import SignedIn, Visitor
from lightwell.domain.people.ports import Site
from lightwell.domain.people.sign_in_api import SignIn
from lightwell.kernel.errors import Conflict, Invalid, Missing, Refused

PASSWORD = "seven green bottles hang"
SITE = Site("https://pacs.example", "pacs.example")


class Hands:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def pass_(self, **time: float) -> None:
        self.at += timedelta(**time)


class Scripted:
    """Passkeys that answer with their challenge: the library's own part is tested elsewhere."""

    def creation(
        self, site: Site, person: Person, tenant: Tenant, known: tuple[Passkey, ...]
    ) -> tuple[dict[str, Any], bytes]:
        return {"user": person.login}, b"create"

    def created(self, site: Site, challenge: bytes, answer: dict[str, Any]) -> Passkey:
        return Passkey(answer["id"], b"public", answer.get("count", 0), site.name)

    def request(self, site: Site) -> tuple[dict[str, Any], bytes]:
        return {}, b"get"

    def credential_id(self, answer: dict[str, Any]) -> bytes:
        return bytes(answer["id"])

    def signed(self, site: Site, challenge: bytes, answer: dict[str, Any], passkey: Passkey) -> int:
        if answer.get("forged"):
            raise Refused("no")
        return int(answer.get("count", 0))


class AllRules:
    async def in_force(self, tenant: Tenant) -> Rules:
        return Rules()


class Nobody:
    """No provider vouches for anybody: signed tokens are tried with real signatures elsewhere."""

    async def address(self, provider: Any, outbound: Any) -> str:
        raise Unproved("no provider")

    async def proven(self, provider: Any, secret: str | None, inbound: Any) -> Any:
        raise Unproved("no provider")

    async def vouched(self, providers: Any, token: str) -> Any:
        raise Unproved("no provider")

    async def examine(self, provider: Any, secret: str | None) -> Any:
        raise Unproved("no provider")


@dataclass
class Place:
    """Both front doors over one backend, for two tenants."""

    tenant: Tenant
    other: Tenant
    people: People
    sign_in: SignIn
    clock: Hands
    book: Any
    tries: Any
    committer: Committer
    machines: MachineSignIn
    fresh_sign_in: Any = field(repr=False)

    @property
    def operator(self) -> Context:
        return operator_context(self.tenant, "test")

    def visitor(self, origin: str = "192.0.2.1", tenant: Tenant | None = None) -> Visitor:
        return Visitor(tenant or self.tenant, origin, "Test/1.0")

    async def enrolled(
        self, made: Made, who: Visitor | None = None, **first: str
    ) -> tuple[SignedIn, bytes]:
        """Through the link as a browser would; the session and the TOTP secret."""
        who = who or self.visitor()
        offer = await self.sign_in.enrolment(who, None, made.secret, first.get("login", ""))
        secret = secret_of(offer.totp_uri)
        signed_in = await self.sign_in.enrol(
            who, None, made.secret, offer.ticket, password=PASSWORD, code=self.code(secret), **first
        )
        return signed_in, secret

    def code(self, secret: bytes) -> str:
        return totp.code_at(secret, int(self.clock.now().timestamp()) // 30)


def secret_of(uri: str) -> bytes:
    import base64
    from urllib.parse import parse_qs, urlsplit

    text = parse_qs(urlsplit(uri).query)["secret"][0]
    return base64.b32decode(text + "=" * (-len(text) % 8))


def doors(
    book: Any, tries: Any, committer: Committer, folder: Path, tenants: tuple[Tenant, Tenant]
) -> Place:
    clock, hasher, rules = Hands(), Argon2Hasher(memory_kib=64, passes=1), AllRules()

    def sign_in() -> SignIn:
        sealer = AesSealer(folder / "sealing.key")
        return SignIn(book, tries, hasher, sealer, Scripted(), rules, committer, clock)

    return Place(
        *tenants,
        people=People(book, hasher, rules, committer, clock),
        sign_in=sign_in(),
        clock=clock,
        book=book,
        tries=tries,
        committer=committer,
        machines=MachineSignIn(book, tries, Nobody(), rules, committer, clock),
        fresh_sign_in=sign_in,
    )


@pytest.fixture(params=["memory", "database"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    if request.param == "memory":
        database = MemoryDatabase()
        tenants = (
            Tenant(1, "default", "Default", "LIGHTWELL"),
            Tenant(2, "clinic", "Clinic", "CLINIC"),
        )
        yield doors(
            MemoryPeople(database), MemoryTries(), MemoryCommitter(database), tmp_path, tenants
        )
        return
    installation = request.getfixturevalue("installation")
    house = installation.open()
    try:
        first = await house.tenants.named()
        clinic = await house.tenants.create(house.operator(first), "clinic", aet="CLINIC")
        yield doors(
            PostgresPeople(house.database), PostgresTries(house.database), house.committer, tmp_path,
            (first, clinic),
        )  # fmt: skip
    finally:
        await house.close()


# --- administration ----------------------------------------------------------------------------------


async def test_r09_support_is_let_in_by_one_tenant_until_it_is_not(place: Place) -> None:
    until = place.clock.now() + timedelta(hours=2)
    assert await place.book.support_until(place.tenant) is None
    await place.committer.commit(ChangeSet(place.tenant, (ConsentRow(until, "test"),)))
    assert await place.book.support_until(place.tenant) == until
    assert await place.book.support_until(place.other) is None
    await place.committer.commit(ChangeSet(place.tenant, (ConsentRow(None, "test"),)))
    assert await place.book.support_until(place.tenant) is None


async def test_all_sessions_of_somebody_end_and_nobody_elses(place: Place) -> None:
    made = await place.people.add(place.operator, "ada", roles=["radiologist"])
    first, secret = await place.enrolled(made)
    place.clock.pass_(seconds=60)
    second = await place.sign_in.by_password(place.visitor(), "ada", PASSWORD, place.code(secret))
    link = await place.people.new_link(place.operator, ["auditor"])
    other = await place.sign_in.by_link(place.visitor(), link.secret)
    assert await place.people.end_sessions(place.operator, "ada") == 2
    left = await place.people.sessions(place.operator)
    assert [session.session_id for session in left] == [other.session.session_id]
    place.clock.pass_(seconds=5)
    for token in (first.token, second.token):
        assert await place.sign_in.recognise(token) is None
    assert await place.people.end_sessions(place.operator) == 1
    assert await place.people.end_sessions(place.operator) == 0


# --- accounts ----------------------------------------------------------------------------------------


async def test_an_account_is_made_enrolled_and_signs_in(place: Place) -> None:
    made = await place.people.add(place.operator, " Ada ", name="Ada L.", roles=["radiologist"])
    (person,) = await place.people.list(place.operator)
    assert (person.login, person.name, person.roles) == ("ada", "Ada L.", {"radiologist"})
    assert not person.enrolled  # nobody has used the link
    signed_in, secret = await place.enrolled(made)
    (person,) = await place.people.list(place.operator)
    assert person.enrolled
    with pytest.raises(NotSignedIn, match="used already"):
        await place.sign_in.enrolment(place.visitor(), None, made.secret)
    assert len(signed_in.recovery_codes) == 10
    place.clock.pass_(seconds=60)
    again = await place.sign_in.by_password(place.visitor(), "ADA", PASSWORD, place.code(secret))
    bearer = await place.sign_in.recognise(again.token)
    assert bearer is not None
    assert (bearer.kind, bearer.name, bearer.roles) == (BearerKind.SESSION, "ada", {"radiologist"})
    assert again.token not in repr(again)
    assert made.secret not in repr(made)


async def test_logins_are_of_one_tenant(place: Place) -> None:
    elsewhere = operator_context(place.other, "test")
    await place.people.add(place.operator, "ada", roles=["auditor"])
    await place.people.add(elsewhere, "ada", roles=["patient"])
    with pytest.raises(Conflict):
        await place.people.add(elsewhere, "ADA", roles=["patient"])
    ours, theirs = await place.people.list(place.operator), await place.people.list(elsewhere)
    assert ([p.roles for p in ours], [p.roles for p in theirs]) == ([{"auditor"}], [{"patient"}])


async def test_two_accounts_of_one_login_at_once_are_one(place: Place) -> None:
    made = await asyncio.gather(
        *(place.people.add(place.operator, "ada", roles=["auditor"]) for _ in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, Made) for one in made) == 1
    assert all(isinstance(one, Made | Conflict) for one in made)


@pytest.mark.parametrize("login", ["", "a b", "-x", "ä" * 3, "x" * 65, "a\nb", "../x"])
async def test_what_cannot_be_a_login(place: Place, login: str) -> None:
    with pytest.raises(Invalid):
        await place.people.add(place.operator, login, roles=["auditor"])


async def test_r08_roles_that_do_not_exist_are_given_to_nobody(place: Place) -> None:
    for roles in ([], ["platform_admin"], ["admin", "root"]):
        with pytest.raises(Invalid):
            await place.people.add(place.operator, "ada", roles=roles)
    assert await place.people.list(place.operator) == ()


# --- signing in --------------------------------------------------------------------------------------


async def test_a06_whatever_is_wrong_the_answer_is_the_same(place: Place) -> None:
    made = await place.people.add(place.operator, "ada", roles=["radiologist"])
    _, secret = await place.enrolled(made)
    place.clock.pass_(seconds=60)
    answers = set()
    for origin, login, password, code in (
        ("192.0.2.10", "nobody", PASSWORD, place.code(secret)),
        ("192.0.2.11", "ada", "wrong wrong wrong", place.code(secret)),
        ("192.0.2.12", "ada", PASSWORD, "000000"),
        ("192.0.2.13", "ada", PASSWORD, ""),
        ("192.0.2.14", "x" * 5000, "y" * 5000, "z" * 5000),
    ):
        with pytest.raises(NotSignedIn) as refused:
            await place.sign_in.by_password(place.visitor(origin), login, password, code)
        answers.add(str(refused.value))
    assert len(answers) == 1
    with pytest.raises(NotSignedIn):  # the account is of another tenant
        await place.sign_in.by_password(
            place.visitor(tenant=place.other), "ada", PASSWORD, place.code(secret)
        )


async def test_a06_two_hundred_tries_at_once_are_two_hundred(place: Place) -> None:
    made = await place.people.add(place.operator, "ada", roles=["radiologist"])
    _, secret = await place.enrolled(made)
    place.clock.pass_(seconds=60)
    tries = [
        place.sign_in.by_password(place.visitor("198.51.100.7"), "ada", f"guess {n}", "000000")
        for n in range(200)
    ]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    heard = sum(isinstance(one, NotSignedIn) for one in outcomes)
    assert (heard, sum(isinstance(one, TooManyTries) for one in outcomes)) == (5, 195)
    # Meanwhile, from another address, the owner gets in.
    await place.sign_in.by_password(place.visitor(), "ada", PASSWORD, place.code(secret))
    place.clock.pass_(seconds=2)
    with pytest.raises(NotSignedIn):
        await place.sign_in.by_password(place.visitor("198.51.100.7"), "ada", "guess", "000000")


async def test_a_try_that_began_a_moment_earlier_is_not_turned_away(place: Place) -> None:
    """Two people of one house sign in at once, and the later one is counted first."""
    now, key, free = place.clock.now(), b"k" * 32, (0.0, 0.0, 0.0, 0.0, 60.0)
    for back in (0, 1, 20, 0):
        at = now - timedelta(milliseconds=back)
        assert await place.tries.attempt(place.tenant, key, at, free, 900.0) is None
    await place.tries.give_back(place.tenant, key, now)
    earlier = now - timedelta(milliseconds=5)
    assert await place.tries.attempt(place.tenant, key, earlier, free, 900.0) is None
    assert await place.tries.attempt(place.tenant, key, now, free, 900.0) is None
    assert await place.tries.attempt(place.tenant, key, now, free, 900.0) is not None


async def test_a06_one_try_each_at_five_hundred_logins_is_many_from_one_address(
    place: Place,
) -> None:
    outcomes = []
    for n in range(60):
        try:
            await place.sign_in.by_password(place.visitor(), f"user{n}", "guess", "000000")
        except (NotSignedIn, TooManyTries) as error:
            outcomes.append(type(error))
    assert outcomes == [NotSignedIn] * 50 + [TooManyTries] * 10
    place.clock.pass_(seconds=901)
    with pytest.raises(NotSignedIn):
        await place.sign_in.by_password(place.visitor(), "user1", "guess", "000000")


async def test_a_code_opens_one_door(place: Place) -> None:
    made = await place.people.add(place.operator, "ada", roles=["radiologist"])
    _, secret = await place.enrolled(made)
    place.clock.pass_(seconds=60)
    code = place.code(secret)
    outcomes = await asyncio.gather(
        *(
            place.sign_in.by_password(place.visitor(f"192.0.2.{n}"), "ada", PASSWORD, code)
            for n in range(1, 5)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(one, SignedIn) for one in outcomes) == 1
    assert all(isinstance(one, SignedIn | NotSignedIn) for one in outcomes)


async def test_a_recovery_code_opens_one_door_without_the_authenticator(place: Place) -> None:
    made = await place.people.add(place.operator, "ada", roles=["radiologist"])
    signed_in, _ = await place.enrolled(made)
    code = signed_in.recovery_codes[3]
    again = await place.sign_in.by_password(place.visitor(), "ada", PASSWORD, code.upper())
    assert again.session.how == "password+recovery"
    with pytest.raises(NotSignedIn):
        await place.sign_in.by_password(place.visitor(), "ada", PASSWORD, code)


async def test_a03_a_shut_account_signs_nobody_in_and_its_sessions_end(place: Place) -> None:
    made = await place.people.add(place.operator, "ada", roles=["radiologist"])
    signed_in, secret = await place.enrolled(made)
    assert await place.sign_in.recognise(signed_in.token)
    await place.people.change(place.operator, "ada", disabled=True)
    place.clock.pass_(seconds=60)
    assert await place.sign_in.recognise(signed_in.token) is None
    with pytest.raises(NotSignedIn):
        await place.sign_in.by_password(place.visitor(), "ada", PASSWORD, place.code(secret))
    await place.people.change(place.operator, "ada", disabled=False)
    place.clock.pass_(seconds=5)
    assert await place.sign_in.recognise(signed_in.token) is None, "ended is ended"


async def test_a_demonstration_account_needs_no_second_factor_and_no_other_can_be_so(
    place: Place,
) -> None:
    with pytest.raises(Refused):
        await place.people.add_demonstrator(place.operator, "viewer", roles=["radiologist"])


async def test_what_goes_well_does_not_count_for_an_address(place: Place) -> None:
    made = await place.people.add(place.operator, "ada", roles=["radiologist"])
    _, secret = await place.enrolled(made)
    for _ in range(60):
        place.clock.pass_(seconds=30)
        code = place.code(secret)
        await place.sign_in.by_password(place.visitor(), "ada", PASSWORD, code)


# --- sessions ----------------------------------------------------------------------------------------


async def test_a03_roles_and_revocation_reach_a_door_that_remembers_within_two_seconds(
    place: Place,
) -> None:
    made = await place.people.add(place.operator, "ada", roles=["radiologist"])
    signed_in, _ = await place.enrolled(made)
    elsewhere = place.fresh_sign_in()  # another process
    assert await elsewhere.recognise(signed_in.token)
    await place.people.change(place.operator, "ada", roles=["auditor"])
    place.clock.pass_(seconds=2.1)
    bearer = await elsewhere.recognise(signed_in.token)
    assert bearer is not None
    assert bearer.roles == {"auditor"}
    (session,) = await place.people.sessions(place.operator)
    await place.people.revoke_session(place.operator, session.session_id)
    place.clock.pass_(seconds=2.1)
    assert await elsewhere.recognise(signed_in.token) is None
    assert await place.people.sessions(place.operator) == ()


async def test_a09_every_sign_in_is_a_new_token(place: Place) -> None:
    made = await place.people.add(place.operator, "ada", roles=["radiologist"])
    first, secret = await place.enrolled(made)
    place.clock.pass_(seconds=60)
    second = await place.sign_in.by_password(place.visitor(), "ada", PASSWORD, place.code(secret))
    assert first.token != second.token
    assert first.session.session_id != second.session.session_id


@pytest.mark.parametrize(
    ("roles", "idle", "absolute"), [(["radiologist"], 30, 12 * 60), (["admin"], 15, 8 * 60)]
)
async def test_a11_idle_and_absolute_limits(
    place: Place, roles: list[str], idle: int, absolute: int
) -> None:
    made = await place.people.add(place.operator, "ada", roles=roles)
    signed_in, _ = await place.enrolled(made)
    began = place.clock.now()
    while place.clock.now() - began < timedelta(minutes=absolute - idle):
        place.clock.pass_(minutes=idle - 1)
        assert await place.sign_in.recognise(signed_in.token), "used: it lives"
        await settled(place)
    place.clock.pass_(minutes=idle)
    assert await place.sign_in.recognise(signed_in.token) is None


async def test_a11_a_session_nobody_uses_is_over(place: Place) -> None:
    made = await place.people.add(place.operator, "ada", roles=["radiologist"])
    signed_in, _ = await place.enrolled(made)
    place.clock.pass_(minutes=31)
    assert await place.sign_in.recognise(signed_in.token) is None


async def test_a16_a_clock_that_is_set_back_revives_nothing(place: Place) -> None:
    made = await place.people.add(place.operator, "ada", roles=["radiologist"])
    signed_in, _ = await place.enrolled(made)
    place.clock.pass_(hours=13)
    assert await place.sign_in.recognise(signed_in.token) is None
    await settled(place)
    place.clock.pass_(hours=-12.9)
    assert await place.fresh_sign_in().recognise(signed_in.token) is None


async def settled(place: Place) -> None:
    """What was noted is written."""
    if hasattr(place.committer, "_noting") and place.committer._noting is not None:
        await place.committer._noting


async def test_signing_out_ends_one_session(place: Place) -> None:
    made = await place.people.add(place.operator, "ada", roles=["radiologist"])
    first, secret = await place.enrolled(made)
    place.clock.pass_(seconds=60)
    second = await place.sign_in.by_password(place.visitor(), "ada", PASSWORD, place.code(secret))
    await place.sign_in.sign_out(first.token)
    await place.sign_in.sign_out("nonsense")
    assert await place.sign_in.recognise(first.token) is None
    assert await place.sign_in.recognise(second.token)


@pytest.mark.parametrize("token", ["", "lws_x", "Bearer x", "lwl_" + "a" * 43, "lws_" + "a" * 43])
async def test_what_is_no_token_of_ours_is_nobody(place: Place, token: str) -> None:
    assert await place.sign_in.recognise(token) is None


# --- links -------------------------------------------------------------------------------------------


async def test_a_link_signs_in_once(place: Place) -> None:
    made = await place.people.new_link(place.operator, ["radiologist"])
    outcomes = await asyncio.gather(
        *(place.sign_in.by_link(place.visitor(), made.secret) for _ in range(4)),
        return_exceptions=True,
    )
    signed_in = [one for one in outcomes if isinstance(one, SignedIn)]
    assert len(signed_in) == 1
    bearer = await place.sign_in.recognise(signed_in[0].token)
    assert bearer is not None
    assert bearer.roles == {"radiologist"}
    assert bearer.name.startswith("link-")


async def test_a_link_is_of_one_tenant_and_one_kind_and_ends(place: Place) -> None:
    made = await place.people.new_link(place.operator, ["radiologist"])
    with pytest.raises(NotSignedIn):
        await place.sign_in.by_link(place.visitor(tenant=place.other), made.secret)
    with pytest.raises(NotSignedIn):
        await place.sign_in.enrolment(place.visitor(), None, made.secret)
    place.clock.pass_(minutes=31)
    with pytest.raises(NotSignedIn):
        await place.sign_in.by_link(place.visitor(), made.secret)


async def test_the_first_administrator_is_made_once(place: Place) -> None:
    earlier = await place.people.first_administrator(place.operator)
    made = await place.people.first_administrator(place.operator)
    assert earlier is not None
    assert made is not None
    with pytest.raises(NotSignedIn):  # a second start prints another link, the first opens nothing
        await place.enrolled(earlier, login="eve", name="Eve")
    signed_in, _ = await place.enrolled(made, login="Grace", name="Grace H.")
    bearer = await place.sign_in.recognise(signed_in.token)
    assert bearer is not None
    assert (bearer.name, bearer.roles) == ("grace", {"admin"})
    assert await place.people.first_administrator(place.operator) is None
    with pytest.raises(NotSignedIn):
        await place.enrolled(made, login="eve", name="Eve")


async def test_a_weak_password_or_a_wrong_code_leaves_the_link_good(place: Place) -> None:
    made = await place.people.add(place.operator, "ada", roles=["radiologist"])
    who = place.visitor()
    offer = await place.sign_in.enrolment(who, None, made.secret)
    code = place.code(secret_of(offer.totp_uri))
    for password, typed in (("short", code), (PASSWORD, "000000")):
        with pytest.raises(Invalid):
            await place.sign_in.enrol(
                who, None, made.secret, offer.ticket, password=password, code=typed
            )
    await place.sign_in.enrol(who, None, made.secret, offer.ticket, password=PASSWORD, code=code)


async def test_enrolling_anew_ends_what_was(place: Place) -> None:
    made = await place.people.add(place.operator, "ada", roles=["radiologist"])
    before, secret = await place.enrolled(made)
    anew = await place.people.new_enrolment(place.operator, "ada")
    place.clock.pass_(seconds=60)
    _, other = await place.enrolled(anew)
    place.clock.pass_(seconds=60)
    assert await place.sign_in.recognise(before.token) is None
    with pytest.raises(NotSignedIn):
        await place.sign_in.by_password(place.visitor(), "ada", PASSWORD, place.code(secret))
    await place.sign_in.by_password(place.visitor(), "ada", PASSWORD, place.code(other))


# --- passkeys ----------------------------------------------------------------------------------------


async def with_passkey(place: Place, **answer: Any) -> None:
    made = await place.people.add(place.operator, "ada", roles=["radiologist"])
    who = place.visitor()
    offer = await place.sign_in.enrolment(who, SITE, made.secret)
    assert offer.passkey_options == {"user": "ada"}
    await place.sign_in.enrol(
        who, SITE, made.secret, offer.ticket, passkey={"id": b"key1", **answer}
    )


async def test_a_passkey_signs_in_and_its_challenge_is_used_once(place: Place) -> None:
    await with_passkey(place)
    assert [person.enrolled for person in await place.people.list(place.operator)] == [True]
    ticket, _ = await place.sign_in.passkey_request(place.visitor(), SITE)
    signed_in = await place.sign_in.by_passkey(place.visitor(), SITE, ticket, {"id": b"key1"})
    assert (signed_in.session.name, signed_in.session.how) == ("ada", "passkey")
    with pytest.raises(NotSignedIn):
        await place.sign_in.by_passkey(place.visitor(), SITE, ticket, {"id": b"key1"})


async def test_a06_being_asked_for_a_passkey_is_counted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a row, for whoever asks; and none of them shuts a password out."""
    monkeypatch.setattr("lightwell.domain.people.opening.START_DELAYS", (0.0, 0.0, 60.0))
    for _ in range(3):
        await place.sign_in.passkey_request(place.visitor(), SITE)
    with pytest.raises(TooManyTries):
        await place.sign_in.passkey_request(place.visitor(), SITE)
    await place.sign_in.passkey_request(place.visitor("198.51.100.9"), SITE)
    with pytest.raises(NotSignedIn):
        await place.sign_in.by_password(place.visitor(), "ada", "wrong wrong wrong", "")


async def test_a08_a_passkey_of_nobody_a_forged_answer_an_old_challenge(place: Place) -> None:
    await with_passkey(place)
    for answer in ({"id": b"other"}, {"id": b"key1", "forged": True}):
        ticket, _ = await place.sign_in.passkey_request(place.visitor(), SITE)
        with pytest.raises(NotSignedIn):
            await place.sign_in.by_passkey(place.visitor(), SITE, ticket, answer)
    ticket, _ = await place.sign_in.passkey_request(place.visitor(), SITE)
    place.clock.pass_(minutes=11)
    with pytest.raises(NotSignedIn):
        await place.sign_in.by_passkey(place.visitor(), SITE, ticket, {"id": b"key1"})


async def test_a08_a_passkey_whose_counter_stands_still_was_copied(place: Place) -> None:
    await with_passkey(place, count=3)
    ticket, _ = await place.sign_in.passkey_request(place.visitor(), SITE)
    await place.sign_in.by_passkey(place.visitor(), SITE, ticket, {"id": b"key1", "count": 5})
    ticket, _ = await place.sign_in.passkey_request(place.visitor(), SITE)
    with pytest.raises(NotSignedIn):
        await place.sign_in.by_passkey(place.visitor(), SITE, ticket, {"id": b"key1", "count": 5})


# --- keys of programs --------------------------------------------------------------------------------


async def test_a_key_is_a_bearer_until_it_ends_or_is_revoked(place: Place) -> None:
    made = await place.people.new_key(
        place.operator,
        "router",
        roles=["integration"],
        scopes=["archive:instance:*"],
        life=timedelta(days=2),
    )
    bearer = await place.sign_in.recognise(made.secret)
    assert bearer is not None
    assert (bearer.kind, bearer.name) == (BearerKind.PROGRAM, "router")
    assert (bearer.roles, bearer.scopes) == ({"integration"}, {"archive:instance:*"})
    later = await place.people.new_key(place.operator, "other", roles=["integration"])
    await place.people.revoke_key(place.operator, later.id)
    assert await place.sign_in.recognise(later.secret) is None
    place.clock.pass_(days=2)
    assert await place.sign_in.recognise(made.secret) is None
    names = {key.name: key.revoked is not None for key in await place.people.keys(place.operator)}
    assert names == {"router": False, "other": True}


@pytest.mark.parametrize("scope", ["", "archive", "a:b:c:d", "archive:*:x y", "archive/*"])
async def test_what_cannot_be_a_scope(place: Place, scope: str) -> None:
    if scope == "archive":  # a room's name alone would cover nothing; it is allowed and harmless
        return
    with pytest.raises(Invalid):
        await place.people.new_key(place.operator, "x", roles=["integration"], scopes=[scope])


async def test_r02_what_is_another_tenants_is_not_there(place: Place) -> None:
    elsewhere = operator_context(place.other, "test")
    key = await place.people.new_key(place.operator, "router", roles=["integration"])
    made = await place.people.add(place.operator, "ada", roles=["radiologist"])
    signed_in, _ = await place.enrolled(made)
    absent = uuid.uuid4()
    said: dict[str, set[str]] = {}
    for what, attempt in {
        "key": lambda i: place.people.revoke_key(elsewhere, i),
        "session": lambda i: place.people.revoke_session(elsewhere, i),
    }.items():
        for one in (key.id if what == "key" else signed_in.session.session_id, absent):
            with pytest.raises(Missing) as missing:
                await attempt(one)
            said.setdefault(what, set()).add(str(missing.value))
    assert all(len(answers) == 1 for answers in said.values())
    with pytest.raises(Missing):
        await place.people.change(elsewhere, "ada", disabled=True)
    assert await place.sign_in.recognise(key.secret)
    assert await place.sign_in.recognise(signed_in.token)


async def test_who_goes_to_another_tenant(place: Place) -> None:
    ours = await place.people.new_key(place.operator, "chief", roles=["admin"])
    plain = await place.people.new_key(place.operator, "reader", roles=["radiologist"])
    theirs = await place.people.new_key(
        operator_context(place.other, "t"), "theirs", roles=["admin"]
    )
    for token, home, there, may in (
        (ours.secret, place.tenant, place.other, True),
        (plain.secret, place.tenant, place.other, False),
        (theirs.secret, place.other, place.tenant, False),
        (theirs.secret, place.other, place.other, True),
    ):
        bearer = await place.sign_in.recognise(token)
        assert bearer is not None
        if may:
            context = place.sign_in.context(bearer, home, there, "console", "192.0.2.1")
            assert (context.tenant, context.actor.home) == (there, home.name)
        else:
            with pytest.raises(Missing):
                place.sign_in.context(bearer, home, there, "console", "192.0.2.1")


async def test_every_end_has_its_word(place: Place) -> None:
    made = await place.people.add(place.operator, "ada", roles=["radiologist"])
    signed_in, _ = await place.enrolled(made)
    bearer = await place.sign_in.recognise(signed_in.token)
    assert bearer is not None
    now = place.clock.now()
    assert judge(bearer, now) is None
    assert judge(bearer, now + timedelta(minutes=30)) is Over.IDLE
    assert judge(bearer, now + timedelta(hours=12)) is Over.EXPIRED


# --- programs at the doors -----------------------------------------------------------------------------


async def test_a_token_is_its_key_s_for_a_quarter_of_an_hour(place: Place) -> None:
    scopes = frozenset({"archive:study:*"})
    key = await place.people.new_key(
        place.operator, "Router", roles=["integration"], scopes=scopes, life=timedelta(minutes=20)
    )
    who = place.visitor()
    issued = await place.machines.token(who, "router", key.secret)
    assert (issued.seconds, issued.scopes) == (900, scopes)
    less = await place.machines.token(
        who, str(key.id), key.secret, frozenset({"archive:study:query"})
    )
    with pytest.raises(ScopeTooWide):
        await place.machines.token(who, "router", key.secret, frozenset({"archive:*"}))
    bearer = await place.sign_in.recognise(issued.token)
    assert bearer is not None
    assert (bearer.kind, bearer.id, bearer.scopes) == (BearerKind.PROGRAM, key.id, scopes)
    narrow = await place.sign_in.recognise(less.token)
    assert narrow is not None
    assert narrow.scopes == {"archive:study:query"}
    assert await place.sign_in.unchanged(narrow)  # a long answer under it goes on
    place.clock.pass_(minutes=10)
    late = await place.machines.token(who, "router", key.secret)
    assert late.seconds == 600  # no longer than the key
    place.clock.pass_(minutes=5)
    assert await place.sign_in.recognise(issued.token) is None
    assert await place.sign_in.recognise(late.token) is not None
    await place.people.revoke_key(place.operator, key.id)
    place.clock.pass_(seconds=5)
    assert await place.sign_in.recognise(late.token) is None
    with pytest.raises(NotSignedIn):
        await place.machines.token(who, "router", key.secret)


async def test_d27_a_program_is_its_name_and_key_in_its_tenant(place: Place) -> None:
    key = await place.people.new_key(place.operator, "router", roles=["integration"])
    who = place.visitor()
    named = await place.machines.by_key(who, " ROUTER ", key.secret)
    assert (named.actor.name, named.actor.home) == ("router", place.tenant.name)
    token = (await place.machines.token(who, "router", key.secret)).token
    assert (await place.machines.by_key(who, "router", token)).actor.name == "router"
    for there, name, secret in (
        (who, "other", key.secret),
        (who, "router", key.secret[:-1]),
        (place.visitor(tenant=place.other), "router", key.secret),
    ):
        with pytest.raises(NotSignedIn):
            await place.machines.by_key(there, name, secret)
    with pytest.raises(NotSignedIn):  # what is good for minutes is not made longer by itself (A04)
        await place.machines.token(who, "router", token)
    with pytest.raises(NotSignedIn):
        await place.machines.by_signed_token(who, "a.b.c")
    assert await place.machines.unchanged(place.tenant, named)
    await place.people.revoke_key(place.operator, key.id)
    assert not await place.machines.unchanged(place.tenant, named)


async def test_a_certificate_is_one_program_s_of_one_tenant(place: Place) -> None:
    key = await place.people.new_key(place.operator, "router", roles=["integration"])
    theirs = operator_context(place.other, "test")
    other = await place.people.new_key(theirs, "other", roles=["integration"])
    fingerprint = "a1" * 32
    await place.people.bind_certificate(place.operator, key.id, ":".join(["A1"] * 32))
    with pytest.raises(Conflict):
        await place.people.bind_certificate(theirs, other.id, fingerprint)
    with pytest.raises(Missing):
        await place.people.release_certificate(theirs, fingerprint)
    with pytest.raises(Missing):
        await place.people.bind_certificate(theirs, key.id, "b2" * 32)
    with pytest.raises(Invalid):
        await place.people.bind_certificate(place.operator, key.id, "a1")
    assert await place.people.certificates(place.operator) == ((key.id, fingerprint),)
    assert await place.people.certificates(theirs) == ()
    bearer = await place.sign_in.recognise_certificate(fingerprint)
    assert bearer is not None
    assert (bearer.id, bearer.tenant) == (key.id, place.tenant.key)
    assert await place.sign_in.recognise_certificate("b2" * 32) is None
    await place.people.release_certificate(place.operator, fingerprint)
    place.clock.pass_(seconds=5)
    assert await place.sign_in.recognise_certificate(fingerprint) is None
