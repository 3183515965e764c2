"""One suite for every keeper of people, with an identity provider that is played: memory and PostgreSQL.

`Providers` and `ProviderSignIn` run on top. What a provider's own words are worth is tested elsewhere
(`tests/unit/backends/identity`, `tests/integration/test_openid.py`); here it is believed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lightwell.access.context import Actor, ActorKind, Context, Tenant, operator_context
from lightwell.access.operation import ProofWanted
from lightwell.access.policy import Rules
from lightwell.backends.database.people import PostgresPeople, PostgresTries
from lightwell.backends.identity.hashing import Argon2Hasher
from lightwell.backends.identity.sealing import AesSealer
from lightwell.backends.memory.committer import MemoryCommitter
from lightwell.backends.memory.people import MemoryPeople, MemoryTries
from lightwell.backends.memory.tables import MemoryDatabase
from lightwell.domain.people.api import People
from lightwell.domain.people.errors import (
    NotLetIn,
    NotProved,
    NotSignedIn,
    ProviderAway,
    Step,
    TooManyTries,
    Unproved,
    Why,
)
from lightwell.domain.people.opening import SignedIn, Visitor
from lightwell.domain.people.ports import Farewell, Finding, Inbound, Outbound
from lightwell.domain.people.provider_api import Providers
from lightwell.domain.people.provider_sign_in_api import (
    Arrival,
    Departure,
    ProviderAnswer,
    ProviderSignIn,
)
from lightwell.domain.people.providers import IdentityProvider, Proven
from lightwell.domain.people.sign_in_api import SignIn
from lightwell.kernel.errors import Broken, Conflict, Invalid, Missing, Refused

CALLBACK = "https://pacs.example/api/v1/sign-in/provider/hospital/callback"
ISSUER = "https://id.example"
MAP = {"readers": ["radiologist"], "it": ["admin"]}
ADA = Proven(ISSUER, "s-1", "Ada", "Ada L.", frozenset({"readers"}))


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


class Played:
    """A provider that says whoever a test puts there, and keeps what it was asked."""

    def __init__(self) -> None:
        self.says: Proven | Exception = ADA
        self.outbound: list[Outbound] = []
        self.inbound: list[tuple[str | None, Inbound]] = []
        self.farewells: list[Farewell] = []
        self.away = False

    async def address(self, provider: IdentityProvider, outbound: Outbound) -> str:
        if self.away:
            raise ProviderAway(Step.CONNECTION, "nothing answers.")
        self.outbound.append(outbound)
        return f"{provider.issuer}/auth?state={outbound.state}"

    async def proven(
        self, provider: IdentityProvider, secret: str | None, inbound: Inbound
    ) -> Proven:
        self.inbound.append((secret, inbound))
        if isinstance(self.says, Exception):
            raise self.says
        return replace(self.says, issuer=provider.issuer)

    async def way_out(self, provider: IdentityProvider, farewell: Farewell) -> str | None:
        if self.away:
            raise ProviderAway(Step.CONNECTION, "nothing answers.")
        self.farewells.append(farewell)
        return f"{provider.issuer}/end"

    async def examine(self, provider: IdentityProvider, secret: str | None) -> tuple[Finding, ...]:
        return (Finding(Step.ADDRESS, True, "there"), Finding(Step.TLS, False, f"not for {secret}"))


class AllRules:
    async def in_force(self, tenant: Tenant) -> Rules:
        return Rules()


@dataclass
class Place:
    """The front doors over one backend, for two tenants."""

    tenant: Tenant
    other: Tenant
    providers: Providers
    sign_in: ProviderSignIn
    local: SignIn
    people: People
    openid: Played
    clock: Hands
    book: Any
    sealer: AesSealer

    @property
    def operator(self) -> Context:
        return operator_context(self.tenant, "test")

    @property
    def elsewhere(self) -> Context:
        return operator_context(self.other, "test")

    def visitor(self, origin: str = "192.0.2.1", tenant: Tenant | None = None) -> Visitor:
        return Visitor(tenant or self.tenant, origin, "Test/1.0")

    async def trust(self, context: Context | None = None, **changes: Any) -> IdentityProvider:
        """Trust the provider `hospital`."""
        right: dict[str, Any] = {
            "name": "hospital", "issuer": ISSUER, "client_id": "pacs", "roles": MAP, "secret": "s3cret",
        }  # fmt: skip
        right |= changes
        return await self.providers.add(context or self.operator, right.pop("name"), **right)

    async def begin(self, **changes: Any) -> tuple[Departure, ProviderAnswer]:
        """Leave for the provider; what a browser brings back from there."""
        right = {
            "who": self.visitor(),
            "name": "hospital",
            "callback": CALLBACK,
            "to": "",
            **changes,
        }
        departure = await self.sign_in.begin(
            right["who"], right["name"], right["callback"], right["to"]
        )
        return departure, ProviderAnswer(self.openid.outbound[-1].state, "code-1")

    async def arrive(self, **changes: Any) -> Arrival:
        """All the way there and back."""
        departure, answer = await self.begin(**changes)
        who = changes.get("who", self.visitor())
        return await self.sign_in.arrive(who, "hospital", answer, departure.browser)

    async def turned(self, **changes: Any) -> Why:
        """All the way there and back, to be turned away; why."""
        with pytest.raises(NotLetIn) as refused:
            await self.arrive(**changes)
        return refused.value.why


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
        book, tries = PostgresPeople(house.database), PostgresTries(house.database)
        yield doors(book, tries, house.committer, tmp_path, (first, clinic))
    finally:
        await house.close()


def doors(
    book: Any, tries: Any, committer: Any, folder: Path, tenants: tuple[Tenant, Tenant]
) -> Place:
    clock, rules, openid = Hands(), AllRules(), Played()
    hasher = Argon2Hasher(memory_kib=64, passes=1)
    sealer = AesSealer(folder / "sealing.key")
    return Place(
        *tenants,
        providers=Providers(book, openid, sealer, rules, committer, clock),
        sign_in=ProviderSignIn(book, tries, openid, sealer, rules, committer, clock),
        local=SignIn(book, tries, hasher, sealer, Any, rules, committer, clock),  # type: ignore[arg-type]
        people=People(book, hasher, rules, committer, clock),
        openid=openid,
        clock=clock,
        book=book,
        sealer=sealer,
    )


# --- which are trusted --------------------------------------------------------------------------------


async def test_a_provider_is_kept_as_it_was_said(place: Place) -> None:
    made = await place.trust(label="St. Elsewhere", groups_claim="realm.roles", scopes=["groups"])
    (kept,) = await place.providers.list(place.operator)
    assert kept == made
    assert (kept.name, kept.label, kept.issuer) == ("hospital", "St. Elsewhere", ISSUER)
    assert kept.scopes == ("openid", "groups")
    assert kept.roles == {"readers": {"radiologist"}, "it": {"admin"}}
    assert kept.secret is not None
    assert b"s3cret" not in kept.secret
    assert "s3cret" not in repr(kept)
    public = await place.trust(name="public", issuer="https://other.example", secret=None)
    assert public.secret is None
    assert [p.name for p in await place.providers.list(place.operator)] == ["hospital", "public"]


async def test_two_providers_have_two_names_and_two_issuers(place: Place) -> None:
    await place.trust()
    for change in ({"issuer": "https://other.example"}, {"name": "other"}):
        with pytest.raises(Conflict):
            await place.trust(**change)
    await place.trust(place.elsewhere)  # another tenant learns nothing of it
    await place.providers.remove(place.operator, "hospital")
    await place.trust(issuer="https://other.example")
    assert [p.issuer for p in await place.providers.list(place.elsewhere)] == [ISSUER]


async def test_providers_are_listed_to_the_last(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightwell.backends.database.people.LISTED", 2)
    names = ["a", "b", "c", "d", "e"]
    for name in names:
        await place.trust(name=name, issuer=f"https://{name}.example")
    assert [p.name for p in await place.providers.list(place.operator)] == names
    await place.providers.remove(place.operator, "e")
    assert [p.name for p in await place.sign_in.offered(place.visitor())] == names[:-1]


async def test_two_that_are_made_at_once_are_one(place: Place) -> None:
    made = await asyncio.gather(*(place.trust() for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(one, IdentityProvider) for one in made) == 1
    assert all(isinstance(one, IdentityProvider | Conflict) for one in made)


@pytest.mark.parametrize(
    "change",
    [{"name": "../x"}, {"issuer": "http://id.example"}, {"client_id": ""}, {"roles": {}},
     {"roles": {"it": ["root"]}}, {"roles": {"*": ["admin"]}}, {"label": "a\nb"}, {"label": "x" * 61},
     {"scopes": ["a b"]}, {"groups_claim": ""}, {"login_claim": "a b"}, {"secret": ""},
     {"secret": "x\n"}],
)  # fmt: skip
async def test_what_cannot_be_a_provider(place: Place, change: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        await place.trust(**change)
    assert await place.providers.list(place.operator) == ()


async def test_a_sealed_secret_is_of_one_tenant_and_one_provider(place: Place) -> None:
    made = await place.trust()
    assert made.secret is not None
    for tenant, name, issuer in (
        (2, "hospital", ISSUER),
        (1, "x", ISSUER),
        (1, "hospital", "https://x"),
    ):
        with pytest.raises(Broken):
            place.sealer.unseal(made.secret, f"provider:{tenant}:{name}:{issuer}")


async def test_who_may_trust_whom(place: Place) -> None:
    chief = Actor(ActorKind.PERSON, "grace", home="default", roles=frozenset({"admin"}))
    reader = Actor(ActorKind.PERSON, "ada", home="default", roles=frozenset({"radiologist"}))
    clinics = Actor(ActorKind.PERSON, "carl", home="clinic", roles=frozenset({"admin"}))
    with pytest.raises(Refused):
        await place.trust(replace(place.operator, actor=reader))
    with pytest.raises(ProofWanted):
        await place.trust(replace(place.operator, actor=chief))
    await place.trust(replace(place.operator, actor=chief, stepped_up=True))
    await place.trust(replace(place.elsewhere, actor=clinics, stepped_up=True))
    # Its administrator does not have this machine speak to its own doors.
    local = {"name": "local", "issuer": "http://127.0.0.1:9000"}
    with pytest.raises(Refused, match="Only an operator") as refused:
        await place.trust(replace(place.elsewhere, actor=clinics, stepped_up=True), **local)
    assert "`lightwell provider add local ISSUER" in refused.value.remedy
    await place.trust(place.elsewhere, **local)


async def test_the_connection_is_looked_at_with_the_secret(place: Place) -> None:
    await place.trust()
    found = await place.providers.test(place.operator, "hospital")
    assert [(f.step, f.good) for f in found] == [(Step.ADDRESS, True), (Step.TLS, False)]
    assert found[1].text == "not for s3cret"
    for attempt in (place.providers.test, place.providers.remove):
        with pytest.raises(Missing):
            await attempt(place.elsewhere, "hospital")
    with pytest.raises(Missing):
        await place.providers.change(place.elsewhere, "hospital", enabled=False)


async def test_what_is_changed_is_changed_and_the_rest_stays(place: Place) -> None:
    made = await place.trust()
    await place.trust(place.elsewhere)
    changes: dict[str, Any] = {
        "label": "St. Elsewhere", "client_id": "other", "roles": {"it": {"auditor"}},
        "scopes": ("openid", "groups"), "groups_claim": "realm.roles", "login_claim": "email",
        "enabled": False, "end_session": True,
    }  # fmt: skip
    for part, value in changes.items():
        (old,) = await place.providers.list(place.operator)
        changed = await place.providers.change(place.operator, "hospital", **{part: value})
        assert changed == replace(old, **{part: value})
        assert (changed,) == await place.providers.list(place.operator)
    (last,) = await place.providers.list(place.operator)
    assert (last.name, last.issuer, last.created) == (made.name, made.issuer, made.created)
    assert last.secret == made.secret
    (theirs,) = await place.providers.list(place.elsewhere)
    assert theirs.client_id == "pacs", "another tenant's is another one"


async def test_a_secret_is_exchanged_and_opens(place: Place) -> None:
    made = await place.trust()
    await place.providers.change(place.operator, "hospital", secret="n3w")
    (kept,) = await place.providers.list(place.operator)
    assert kept.secret not in (None, made.secret)
    found = await place.providers.test(place.operator, "hospital")
    assert found[-1].text == "not for n3w"


@pytest.mark.parametrize(
    "change",
    [{"client_id": ""}, {"roles": {}}, {"roles": {"it": ["root"]}}, {"roles": {"*": ["admin"]}},
     {"label": ""}, {"scopes": ["a b"]}, {"groups_claim": ""}, {"login_claim": "a b"},
     {"secret": ""}, {"secret": "x\n"}],
)  # fmt: skip
async def test_what_a_provider_cannot_be_changed_to(place: Place, change: dict[str, Any]) -> None:
    made = await place.trust()
    with pytest.raises(Invalid):
        await place.providers.change(place.operator, "hospital", **change)
    assert await place.providers.list(place.operator) == (made,)


async def test_who_may_change_what_a_group_is(place: Place) -> None:
    """A policy of the tenant's own may let others change providers: not into administrators of it all."""
    await place.trust()
    chief = Actor(ActorKind.PERSON, "grace", home="default", roles=frozenset({"admin"}))
    proved = replace(place.operator, actor=chief, stepped_up=True)
    with pytest.raises(ProofWanted):
        await place.providers.change(replace(proved, stepped_up=False), "hospital", enabled=False)
    await place.providers.change(proved, "hospital", roles={"it": ["admin"]})
    clinics = replace(chief, name="carl", home="clinic")
    with pytest.raises(Refused):
        await place.providers.change(replace(proved, actor=clinics), "hospital", enabled=False)


async def test_only_what_is_on_is_offered(place: Place) -> None:
    await place.trust(label="B")
    await place.trust(name="second", issuer="https://other.example", label="A")
    offered = await place.sign_in.offered(place.visitor())
    assert [p.label for p in offered] == ["A", "B"]
    await place.providers.change(place.operator, "hospital", enabled=False)
    assert [p.label for p in await place.sign_in.offered(place.visitor())] == ["A"]
    assert await place.sign_in.offered(place.visitor(tenant=place.other)) == ()
    with pytest.raises(NotLetIn) as refused:
        await place.begin()
    assert refused.value.why is Why.NO_PROVIDER
    await place.providers.change(place.operator, "hospital", enabled=True)
    assert await place.arrive()


# --- signing in ---------------------------------------------------------------------------------------


async def test_the_first_time_makes_an_account_with_the_roles_of_the_groups(place: Place) -> None:
    await place.trust()
    arrival = await place.arrive(to="/viewer/1.2.3")
    assert arrival.to == "/viewer/1.2.3"
    bearer = await place.local.recognise(arrival.signed_in.token)
    assert bearer is not None
    assert (bearer.name, bearer.roles) == ("ada", {"radiologist"})
    assert arrival.signed_in.session.how == "openid"
    (person,) = await place.people.list(place.operator)
    assert (person.login, person.name, person.issuer, person.subject) == (
        "ada",
        "Ada L.",
        ISSUER,
        "s-1",
    )
    secret, inbound = place.openid.inbound[0]
    assert secret == "s3cret"
    outbound = place.openid.outbound[0]
    assert (inbound.callback, inbound.nonce) == (CALLBACK, outbound.nonce)
    again = await place.arrive()
    assert again.signed_in.token != arrival.signed_in.token  # A09
    assert again.to == ""
    assert len(await place.people.list(place.operator)) == 1


async def standing(place: Place, token: str) -> Context:
    """Where whoever has a token stands now."""
    bearer = await place.local.recognise(token)
    assert bearer is not None
    return place.local.context(bearer, place.tenant, place.tenant, "console", "192.0.2.7")


async def test_a09_whoever_came_through_a_provider_proves_it_there_once_more(place: Place) -> None:
    await place.trust()
    first = (await place.arrive()).signed_in
    here = await standing(place, first.token)
    assert not here.stepped_up
    provider = (await place.local.ways(here)).provider
    assert provider is not None
    departure = await place.sign_in.begin_proof(
        here, first.token, provider.name, CALLBACK, "/break-glass"
    )
    outbound = place.openid.outbound[-1]
    assert outbound.again
    assert not place.openid.outbound[0].again, "who signs in is not asked what they have just said"
    asked = place.clock.now().timestamp()
    place.clock.pass_(minutes=2)
    answer = ProviderAnswer(outbound.state, "code-2")
    back = await place.sign_in.arrive(place.visitor(), "hospital", answer, departure.browser)
    assert back.to == "/break-glass"
    assert place.openid.inbound[-1][1].since == pytest.approx(asked)
    assert place.openid.inbound[0][1].since is None
    proved = back.signed_in
    assert proved.token != first.token
    assert proved.session.session_id == first.session.session_id, "what it has open stays open"
    assert (await standing(place, proved.token)).stepped_up
    place.clock.pass_(seconds=3)
    assert await place.local.recognise(first.token) is None
    with pytest.raises(NotLetIn):
        await place.sign_in.arrive(place.visitor(), "hospital", answer, departure.browser)


async def test_a09_a_proof_at_a_provider_is_of_the_same_person_and_session(place: Place) -> None:
    await place.trust()
    first = (await place.arrive()).signed_in
    here = await standing(place, first.token)

    async def answered(**changes: Any) -> Why:
        departure = await place.sign_in.begin_proof(here, first.token, "hospital", CALLBACK, "")
        answer = ProviderAnswer(place.openid.outbound[-1].state, "code-2")
        if changes.get("end"):
            await place.local.sign_out(first.token)
        with pytest.raises(NotLetIn) as refused:
            await place.sign_in.arrive(place.visitor(), "hospital", answer, departure.browser)
        return refused.value.why

    place.openid.says = replace(ADA, subject="s-2", login="grace")
    assert await answered() is Why.OTHER
    assert len(await place.people.list(place.operator)) == 1, "nobody is made on the way"
    place.openid.says = Unproved("they did not sign in there again")
    assert await answered() is Why.UNPROVED
    place.openid.says = ADA
    with pytest.raises(Missing):
        await place.sign_in.begin_proof(here, first.token, "other", CALLBACK, "")
    assert not (await standing(place, first.token)).stepped_up
    assert await answered(end=True) is Why.AGAIN
    place.openid.says = ADA
    again = (await place.arrive()).signed_in
    here, first = await standing(place, again.token), again
    await place.providers.change(place.operator, "hospital", enabled=False)
    with pytest.raises(Missing):
        await place.sign_in.begin_proof(here, first.token, "hospital", CALLBACK, "")
    assert (await place.local.ways(here)).provider is None


async def test_an_account_of_a_provider_has_no_password_to_prove_with_and_is_never_sealed(
    place: Place,
) -> None:
    await place.trust()
    arrival = await place.arrive()
    here = await standing(place, arrival.signed_in.token)
    assert not here.stepped_up
    ways = await place.local.ways(here)
    assert (ways.password, ways.code, ways.passkey) == (False, False, False)
    with pytest.raises(NotProved):
        await place.local.prove_by_password(here, arrival.signed_in.token, "", "")
    with pytest.raises(Conflict, match="somebody's own account"):
        await place.people.seal(place.operator, "ada")
    (person,) = await place.people.list(place.operator)
    assert person.seal is None


async def test_a12_pkce_is_s256_of_what_only_we_know(place: Place) -> None:
    import base64
    import hashlib

    await place.trust()
    await place.arrive()
    outbound, (_, inbound) = place.openid.outbound[0], place.openid.inbound[0]
    digest = hashlib.sha256(inbound.verifier.encode()).digest()
    assert outbound.challenge == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert 43 <= len(inbound.verifier) <= 128
    secrets = {outbound.state, outbound.nonce, outbound.challenge, inbound.verifier}
    assert len(secrets) == 4
    for text in (repr(outbound), repr(inbound)):
        assert not any(secret in text for secret in secrets)


async def test_roles_follow_the_groups_at_each_sign_in(place: Place) -> None:
    await place.trust()
    first = await place.arrive()
    place.openid.says = replace(ADA, groups=frozenset({"it"}), login="somebody else")
    second = await place.arrive()
    assert second.signed_in.session.name == "ada", (
        "the account is the subject's, whatever it is called"
    )
    place.clock.pass_(seconds=3)
    for token in (first.signed_in.token, second.signed_in.token):
        bearer = await place.local.recognise(token)
        assert bearer is not None
        assert bearer.roles == {"admin"}
    assert second.signed_in.session.idle == timedelta(minutes=15)  # an administrator's


async def test_who_has_no_group_here_is_told_so_and_nothing_is_made(place: Place) -> None:
    await place.trust()
    for groups in (frozenset[str](), frozenset({"choir", "admin"})):
        place.openid.says = replace(ADA, groups=groups)
        assert await place.turned() is Why.NO_ROLE
    assert await place.people.list(place.operator) == ()


async def test_who_loses_the_last_group_loses_roles_and_sessions(place: Place) -> None:
    await place.trust()
    before = await place.arrive()
    place.openid.says = replace(ADA, groups=frozenset())
    assert await place.turned() is Why.NO_ROLE
    place.clock.pass_(seconds=3)
    assert await place.local.recognise(before.signed_in.token) is None
    (person,) = await place.people.list(place.operator)
    assert person.roles == frozenset()


async def test_a_local_account_is_never_taken_over(place: Place) -> None:
    """Whoever controls a provider, or a name at one, calls themselves as they like."""
    await place.trust()
    made = await place.people.add(place.operator, "ada", roles=["admin"])
    place.openid.says = replace(ADA, groups=frozenset({"it"}))
    assert await place.turned() is Why.TAKEN
    (person,) = await place.people.list(place.operator)
    assert (person.person_id, person.issuer, person.roles) == (made.id, "", {"admin"})


async def test_a02_the_same_subject_of_another_issuer_is_somebody_else(place: Place) -> None:
    await place.trust()
    await place.arrive()
    await place.providers.remove(place.operator, "hospital")
    await place.trust(issuer="https://evil.example", roles={"readers": ["admin"]})
    assert await place.turned() is Why.TAKEN  # by the name; by (issuer, subject) it is nobody
    place.openid.says = replace(ADA, login="eve")
    arrival = await place.arrive()
    assert arrival.signed_in.session.name == "eve"
    people = {p.login: p.roles for p in await place.people.list(place.operator)}
    assert people == {"ada": {"radiologist"}, "eve": {"admin"}}


async def test_a02_the_same_issuer_in_another_tenant_is_somebody_else(place: Place) -> None:
    await place.trust()
    await place.trust(place.elsewhere, roles={"readers": ["auditor"]})
    ours = await place.arrive()
    theirs = await place.arrive(who=place.visitor(tenant=place.other))
    mine = await place.local.recognise(ours.signed_in.token)
    other = await place.local.recognise(theirs.signed_in.token)
    assert mine is not None
    assert other is not None
    assert (mine.tenant, mine.roles) == (place.tenant.key, {"radiologist"})
    assert (other.tenant, other.roles) == (place.other.key, {"auditor"})


@pytest.mark.parametrize("login", ["", "a b", "-x", "äöü", "x" * 65])
async def test_who_is_called_nothing_that_can_be_a_login(place: Place, login: str) -> None:
    await place.trust()
    place.openid.says = replace(ADA, login=login)
    assert await place.turned() is Why.NO_LOGIN
    assert await place.people.list(place.operator) == ()


async def test_a_shut_account_stays_shut(place: Place) -> None:
    await place.trust()
    await place.arrive()
    await place.people.change(place.operator, "ada", disabled=True)
    assert await place.turned() is Why.SHUT


async def test_the_first_time_in_several_windows_makes_one_account(place: Place) -> None:
    await place.trust()
    left = [await place.begin() for _ in range(4)]
    outcomes = await asyncio.gather(
        *(
            place.sign_in.arrive(place.visitor(), "hospital", answer, departure.browser)
            for departure, answer in left
        ),
        return_exceptions=True,
    )
    assert all(isinstance(one, Arrival) for one in outcomes), outcomes
    assert len(await place.people.list(place.operator)) == 1


async def test_an_account_of_a_provider_has_no_other_way_in(place: Place) -> None:
    await place.trust()
    await place.arrive()
    with pytest.raises(Conflict, match="identity provider"):
        await place.people.new_enrolment(place.operator, "ada")
    with pytest.raises(NotSignedIn):
        await place.local.by_password(place.visitor(), "ada", "seven green bottles", "000000")
    await place.providers.remove(place.operator, "hospital")
    with pytest.raises(NotLetIn):
        await place.begin()


async def test_the_first_administrator_is_a_local_one(place: Place) -> None:
    """Somebody must get in when the provider is away."""
    await place.trust()
    place.openid.says = replace(ADA, groups=frozenset({"it"}))
    await place.arrive()
    assert await place.people.first_administrator(place.operator) is not None


# --- attacks on the way ---------------------------------------------------------------------------------


async def why(attempt: Any) -> Why:
    with pytest.raises(NotLetIn) as refused:
        await attempt
    return refused.value.why


async def test_a12_an_answer_is_heard_once(place: Place) -> None:
    await place.trust()
    departure, answer = await place.begin()
    tries = [
        place.sign_in.arrive(place.visitor(), "hospital", answer, departure.browser)
        for _ in range(4)
    ]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, Arrival) for one in outcomes) == 1
    assert all(isinstance(one, Arrival) or one.why is Why.AGAIN for one in outcomes)  # type: ignore[union-attr]
    assert len(place.openid.inbound) == 1, "the code was exchanged once"


async def test_a12_also_one_that_failed_is_heard_once(place: Place) -> None:
    await place.trust()
    departure, answer = await place.begin()
    place.openid.says = Unproved("no")
    assert await why(
        place.sign_in.arrive(place.visitor(), "hospital", answer, departure.browser)
    ) is (Why.UNPROVED)
    place.openid.says = ADA
    assert await why(
        place.sign_in.arrive(place.visitor(), "hospital", answer, departure.browser)
    ) is (Why.AGAIN)


async def test_a12_an_answer_that_another_browser_was_sent_for(place: Place) -> None:
    """Login CSRF: the attacker's state and code in the victim's browser, which has no cookie or its own."""
    await place.trust()
    await place.trust(name="second", issuer="https://other.example")
    _, attackers = await place.begin()
    victim, _ = await place.begin()
    for browser in ("", victim.browser, "lwc_" + "a" * 43):
        attempt = place.sign_in.arrive(place.visitor(), "hospital", attackers, browser)
        assert await why(attempt) is Why.AGAIN
    assert place.openid.inbound == []


async def test_a12_mix_up_an_answer_comes_to_the_address_of_its_provider(place: Place) -> None:
    await place.trust()
    await place.trust(name="second", issuer="https://other.example")
    departure, answer = await place.begin()
    attempt = place.sign_in.arrive(place.visitor(), "second", answer, departure.browser)
    assert await why(attempt) is Why.AGAIN
    assert place.openid.inbound == []


async def test_a12_an_answer_is_of_one_tenant_and_ten_minutes(place: Place) -> None:
    await place.trust()
    await place.trust(place.elsewhere)
    departure, answer = await place.begin()
    attempt = place.sign_in.arrive(
        place.visitor(tenant=place.other), "hospital", answer, departure.browser
    )
    assert await why(attempt) is Why.AGAIN
    place.clock.pass_(minutes=11)
    attempt = place.sign_in.arrive(place.visitor(), "hospital", answer, departure.browser)
    assert await why(attempt) is Why.AGAIN


@pytest.mark.parametrize(
    "state", ["", "x", "lwc_" + "a" * 43, "lwl_" + "a" * 43, "lwc_" + "a" * 5000]
)
async def test_a12_a_state_that_nobody_was_given(place: Place, state: str) -> None:
    await place.trust()
    departure, answer = await place.begin()
    forged = replace(answer, state=state)
    attempt = place.sign_in.arrive(place.visitor(), "hospital", forged, departure.browser)
    assert await why(attempt) is Why.AGAIN


async def test_a_provider_that_is_switched_off_meanwhile(place: Place) -> None:
    await place.trust()
    departure, answer = await place.begin()
    await place.providers.change(place.operator, "hospital", enabled=False)
    attempt = place.sign_in.arrive(place.visitor(), "hospital", answer, departure.browser)
    assert await why(attempt) is Why.NO_PROVIDER
    assert place.openid.inbound == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"code": "", "error": "access_denied"}, Why.CANCELLED),
        ({"code": "", "error": "server_error"}, Why.DECLINED),
        ({"code": "c", "error": "<script>alert(1)</script>"}, Why.DECLINED),
        ({"code": ""}, Why.DECLINED),
        ({"code": "x" * 5000}, Why.DECLINED),
    ],
)
async def test_a_provider_that_says_no(place: Place, answer: dict[str, str], expected: Why) -> None:
    await place.trust()
    departure, right = await place.begin()
    given = replace(right, **answer)  # type: ignore[arg-type]
    attempt = place.sign_in.arrive(place.visitor(), "hospital", given, departure.browser)
    assert await why(attempt) is expected
    assert place.openid.inbound == []


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/api/v1/sign-out", "x"])
async def test_a12_the_way_back_is_on_this_site(place: Place, to: str) -> None:
    await place.trust()
    assert (await place.arrive(to=to)).to == ""


# --- when it is away ----------------------------------------------------------------------------------------


async def test_a_session_lives_on_when_the_provider_is_away(place: Place) -> None:
    await place.trust()
    arrival = await place.arrive()
    place.openid.away = True
    with pytest.raises(ProviderAway) as away:
        await place.begin()
    assert away.value.step is Step.CONNECTION
    for _ in range(10):
        place.clock.pass_(minutes=20)
        assert await place.local.recognise(arrival.signed_in.token), "used: it lives"
        await settled(place)


async def settled(place: Place) -> None:
    """What was noted is written."""
    noting = getattr(place.sign_in.committer, "_noting", None)
    if noting is not None:
        await noting


async def test_a_provider_that_is_away_shuts_nobodys_password_out(place: Place) -> None:
    """A hospital behind one address tries it a hundred times; then somebody uses a local account."""
    await place.trust()
    for _ in range(100):
        departure, answer = await place.begin()
        place.openid.says = ProviderAway(Step.TOKEN, "no answer.")
        with pytest.raises(ProviderAway):
            await place.sign_in.arrive(place.visitor(), "hospital", answer, departure.browser)
    with pytest.raises(NotSignedIn) as refused:
        await place.local.by_password(place.visitor(), "ada", "wrong wrong wrong", "")
    assert not isinstance(refused.value, TooManyTries)


async def test_a06_signing_in_through_a_provider_wears_off_no_guess(place: Place) -> None:
    """What is given back is what was counted: who has an account there guesses no more often than others."""
    await place.trust()
    for number in range(50):
        with pytest.raises(NotSignedIn):
            await place.local.by_password(place.visitor(), f"user{number}", "guess", "000000")
        if number < 49:
            await place.arrive()
    with pytest.raises(TooManyTries):
        await place.local.by_password(place.visitor(), "ada", "guess", "000000")


async def test_being_sent_there_is_counted_too(place: Place) -> None:
    await place.trust()
    for _ in range(600):
        await place.begin()
    with pytest.raises(TooManyTries):
        await place.begin()
    await place.begin(who=place.visitor("198.51.100.9"))


async def test_forged_answers_count_nobody_out(place: Place) -> None:
    """Any page can name the address in a picture, from inside the hospital: nothing there can be guessed."""
    await place.trust()
    forged = ProviderAnswer("lwc_" + "a" * 43, "code")
    for _ in range(60):
        with pytest.raises(NotLetIn):
            await place.sign_in.arrive(place.visitor(), "hospital", forged, "")
    departure, answer = await place.begin()
    assert await place.sign_in.arrive(place.visitor(), "hospital", answer, departure.browser)


async def test_secrets_are_in_no_representation(place: Place) -> None:
    await place.trust()
    departure, answer = await place.begin()
    assert departure.browser not in repr(departure)
    assert answer.state not in repr(answer)
    arrival = await place.sign_in.arrive(place.visitor(), "hospital", answer, departure.browser)
    assert isinstance(arrival.signed_in, SignedIn)
    assert arrival.signed_in.token not in repr(arrival)


# --- out again ----------------------------------------------------------------------------------------

BACK = "https://pacs.example/sign-in"


async def signed_out(place: Place, token: str, tenant: Tenant | None = None) -> str | None:
    """End a session; where its browser goes to end the one there."""
    over = await place.local.sign_out(token)
    assert over is not None
    assert await place.local.recognise(token) is None, "the session here is over first"
    return await place.sign_in.way_out(over, tenant or place.tenant, BACK)


async def test_signing_out_leads_to_the_provider_only_where_it_was_set_up_so(place: Place) -> None:
    await place.trust()
    arrival = await place.arrive()
    assert await signed_out(place, arrival.signed_in.token) is None
    assert place.openid.farewells == [], "local only, unless somebody says so"
    await place.providers.change(place.operator, "hospital", end_session=True)
    token = (await place.arrive()).signed_in.token
    assert await signed_out(place, token) == f"{ISSUER}/end"
    assert place.openid.farewells == [Farewell("s-1", BACK, "signed-out")]
    assert await place.local.sign_out(token) is None, "and once"


async def test_who_is_not_led_there(place: Place) -> None:
    """Who came by a link; who came through a provider that is switched off since, or gone."""
    await place.trust(end_session=True)
    link = await place.people.new_link(place.operator, ["auditor"])
    token = (await place.local.by_link(place.visitor(), link.secret)).token
    assert await signed_out(place, token) is None
    first, second = [(await place.arrive()).signed_in.token for _ in range(2)]
    await place.providers.change(place.operator, "hospital", enabled=False)
    assert await signed_out(place, first) is None
    await place.providers.remove(place.operator, "hospital")
    assert await signed_out(place, second) is None
    assert place.openid.farewells == []


async def test_r04_a_session_is_looked_for_in_its_own_tenant(place: Place) -> None:
    await place.trust(end_session=True)
    await place.trust(place.elsewhere, end_session=True)
    token = (await place.arrive()).signed_in.token
    assert await signed_out(place, token, place.other) is None
    assert place.openid.farewells == []


async def test_a_provider_that_is_away_keeps_nobody_signed_in(place: Place) -> None:
    await place.trust(end_session=True)
    token = (await place.arrive()).signed_in.token
    place.openid.away = True
    with pytest.raises(ProviderAway):
        await signed_out(place, token)
    assert await place.local.recognise(token) is None
