"""Break-glass, proving again and sealed accounts over both keepers of people: memory and PostgreSQL.

What one process opens, another knows within two seconds, and what is over is over there, too.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lightwell.access.context import Context, Purpose, Tenant, operator_context
from lightwell.access.operation import ProofWanted
from lightwell.backends.database.glass import PostgresGlass
from lightwell.backends.memory.glass import MemoryGlass
from lightwell.backends.memory.people import MemoryPeople
from lightwell.backends.memory.tables import PatientRecord
from lightwell.domain.patients.model import PatientFacts
from lightwell.domain.people.errors import NotProved, NotSignedIn, TooManyTries
from lightwell.domain.people.glass import Opening, OpeningKind, Verdict, Which
from lightwell.domain.people.glass_api import Glass
from lightwell.domain.people.model import Bearer
from lightwell.domain.people.sign_in_api import SignedIn, SignIn
from lightwell.kernel.errors import Conflict, Invalid, Missing, Refused
from tests.ports.test_people import PASSWORD, SITE, AllRules, Place, place, with_passkey

__all__ = ["place"]  # the fixture

WHY = "Stroke, no other physician here"
PATIENT = {"issuer": "HOSPITAL", "patient_id": "4711", "reason": WHY}


def glass_over(place: Place) -> Glass:
    """The front door as one more process has it."""
    database = place.book._database
    memory = isinstance(place.book, MemoryPeople)
    book: Any = MemoryGlass(database) if memory else PostgresGlass(database)
    return Glass(place.book, book, AllRules(), place.committer, place.clock)


@pytest.fixture
def glass(place: Place) -> Glass:
    return glass_over(place)


async def keep_patient(place: Place, issuer: str, pid: str, tenant: Tenant | None = None) -> None:
    """A patient as an arrival would leave it."""
    key = (tenant or place.tenant).key
    database = place.book._database
    if isinstance(place.book, MemoryPeople):
        tables = database.of(key)
        facts = PatientFacts(issuer, pid)
        tables.patients.put((issuer, pid), PatientRecord(1, facts, {}, {}))
        tables.publish()
        return
    async with database.transaction(tenant or place.tenant) as connection:
        await connection.execute(
            "INSERT INTO patient (tenant, issuer, pid) VALUES ($1, $2, $3)", key, issuer, pid
        )


class Somebody:
    """A person with an account, signed in, as a door sees them."""

    def __init__(self, place: Place, login: str, signed_in: SignedIn, secret: bytes) -> None:
        self.place = place
        self.login = login
        self.token = signed_in.token
        self.session = signed_in.session
        self.secret = secret

    async def bearer(self, sign_in: SignIn | None = None) -> Bearer:
        found = await (sign_in or self.place.sign_in).recognise(self.token)
        assert found is not None
        return found

    async def context(self, sign_in: SignIn | None = None, tenant: Tenant | None = None) -> Context:
        door = sign_in or self.place.fresh_sign_in()
        where = tenant or self.place.tenant
        bearer = await self.bearer(door)
        return door.context(bearer, self.place.tenant, where, "console", "192.0.2.1")

    async def prove(self, code: str | None = None, password: str = PASSWORD) -> SignedIn:
        context = await self.context()
        typed = self.place.code(self.secret) if code is None else code
        done = await self.place.sign_in.prove_by_password(context, self.token, password, typed)
        self.token = done.token
        return done


async def somebody(place: Place, login: str = "ada", *roles: str) -> Somebody:
    made = await place.people.add(place.operator, login, roles=roles or ("radiologist",))
    signed_in, secret = await place.enrolled(made)
    return Somebody(place, login, signed_in, secret)


# --- breaking the glass ------------------------------------------------------------------------------


async def test_r05_one_patient_is_open_for_an_hour_at_every_door(
    place: Place, glass: Glass
) -> None:
    await keep_patient(place, "HOSPITAL", "4711")
    await keep_patient(place, "HOSPITAL", "4712")
    ada, elsewhere = await somebody(place), place.fresh_sign_in()
    before = await ada.context(elsewhere)
    assert (before.opened, before.purpose) == (frozenset(), Purpose.TREATMENT)
    opening = await glass.break_glass(await ada.context(), **PATIENT)
    assert (opening.login, opening.reason) == ("ada", WHY)
    assert opening.until - opening.since == timedelta(hours=1)
    place.clock.pass_(seconds=2.1)
    during = await ada.context(elsewhere)
    assert during.opened == {("HOSPITAL", "4711")}
    assert during.purpose is Purpose.EMERGENCY
    assert during.actor != before.actor, "a lease of before, or after, is another's"
    for _ in range(2):
        place.clock.pass_(minutes=29)
        await ada.prove()  # the session is in use
    assert (await ada.context(elsewhere)).opened
    place.clock.pass_(minutes=2)
    after = await ada.context(elsewhere)
    assert (after.opened, after.actor) == (frozenset(), before.actor)
    (entry,) = await glass.entries(place.operator)
    assert not entry.open(place.clock.now())


async def test_r05_a_minute_before_the_end_it_is_open_and_at_the_end_it_is_not_without_asking_anybody(
    place: Place, glass: Glass
) -> None:
    """Also for a door that remembers the bearer: time needs no message."""
    await keep_patient(place, "HOSPITAL", "4711")
    ada, door = await somebody(place), place.fresh_sign_in()
    await glass.break_glass(await ada.context(), **PATIENT)
    for _ in range(2):
        place.clock.pass_(minutes=29)
        await ada.prove()
    place.clock.pass_(minutes=1, seconds=59)
    bearer = await ada.bearer(door)

    def opened() -> frozenset[tuple[str, str]]:
        return door.context(bearer, place.tenant, place.tenant, "dicomweb", "").opened

    assert opened() == {("HOSPITAL", "4711")}
    place.clock.pass_(seconds=1)
    assert opened() == frozenset()


async def test_r05_known_and_unknown_patients_answer_alike(place: Place, glass: Glass) -> None:
    await keep_patient(place, "HOSPITAL", "4711")
    said = []
    for number, patient_id in enumerate(("4711", "no-such-patient")):
        ada = await somebody(place, f"ada{number}")
        opening = await glass.break_glass(
            await ada.context(), issuer="HOSPITAL", patient_id=patient_id, reason=WHY
        )
        said.append(replace(opening, opening_id=uuid.UUID(int=0), session_id=uuid.UUID(int=0),
                            login="", patient_id=""))  # fmt: skip
    assert said[0] == said[1]


async def test_an_id_without_issuer_is_that_of_senders_who_stated_none(
    place: Place, glass: Glass
) -> None:
    for issuer in ("~CT1", "~study:1.2.3", "HOSPITAL", "\\~CT1"):
        await keep_patient(place, issuer, "4711")
    await keep_patient(place, "~CT1", "4712")
    for number, (issuer, keys) in enumerate(
        (("", {"~CT1"}), ("HOSPITAL", {"HOSPITAL"}), ("~CT1", {"\\~CT1"}), ("NOWHERE", set()))
    ):
        ada = await somebody(place, f"ada{number}")
        await glass.break_glass(await ada.context(), issuer=issuer, patient_id="4711", reason=WHY)
        place.clock.pass_(seconds=3)
        assert (await ada.context()).opened == {(key, "4711") for key in keys}


async def test_r05_a_patient_that_arrives_while_it_is_open_is_seen(
    place: Place, glass: Glass
) -> None:
    ada = await somebody(place)
    await glass.break_glass(await ada.context(), **PATIENT)
    assert (await ada.context()).opened == frozenset()
    await keep_patient(place, "HOSPITAL", "4711")
    assert (await ada.context()).opened == {("HOSPITAL", "4711")}


async def test_r05_a_second_patient_and_a_silent_renewal_are_refused(
    place: Place, glass: Glass
) -> None:
    ada = await somebody(place)
    context = await ada.context()
    first = await glass.break_glass(context, **PATIENT)
    for other in ("4711", "4712"):
        with pytest.raises(Conflict):
            await glass.break_glass(context, issuer="HOSPITAL", patient_id=other, reason=WHY)
    await glass.end(context, first.opening_id)
    second = await glass.break_glass(
        context, issuer="HOSPITAL", patient_id="4712", reason="The second casualty"
    )
    assert [o.opening_id for o in await glass.entries(place.operator)] in (
        [second.opening_id, first.opening_id],
        [first.opening_id, second.opening_id],  # of the same instant
    )


async def test_r05_ten_at_once_open_one(place: Place, glass: Glass) -> None:
    ada = await somebody(place)
    context = await ada.context()
    outcomes = await asyncio.gather(
        *(
            glass.break_glass(context, issuer="HOSPITAL", patient_id=str(n), reason=WHY)
            for n in range(10)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(one, Opening) for one in outcomes) == 1
    assert all(isinstance(one, Opening | Conflict) for one in outcomes)


async def test_after_an_hour_the_next_needs_a_proof_and_a_reason_again(
    place: Place, glass: Glass
) -> None:
    ada = await somebody(place)
    await glass.break_glass(await ada.context(), **PATIENT)
    for _ in range(2):
        place.clock.pass_(minutes=27)
        await ada.prove()
    place.clock.pass_(minutes=7)
    with pytest.raises(ProofWanted):
        await glass.break_glass(await ada.context(), **PATIENT)
    await ada.prove()
    await glass.break_glass(await ada.context(), **PATIENT)
    old, new = sorted(await glass.entries(place.operator), key=lambda o: o.since)
    assert (old.ended, old.ended_by) == (old.until, "time")
    assert new.ended is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"reason": ""},
        {"reason": "because"},
        {"reason": "x" * 501},
        {"patient_id": ""},
        {"patient_id": "*"},
        {"patient_id": "47?1"},
        {"issuer": "*"},
    ],
)
async def test_r05_without_a_reason_or_for_everybody_it_stays_whole(
    place: Place, glass: Glass, wrong: dict[str, str]
) -> None:
    ada = await somebody(place)
    with pytest.raises(Invalid):
        await glass.break_glass(await ada.context(), **{**PATIENT, **wrong})
    assert await glass.entries(place.operator) == ()


async def test_r05_without_a_proof_it_stays_whole(place: Place, glass: Glass) -> None:
    ada = await somebody(place)
    place.clock.pass_(minutes=5)
    with pytest.raises(ProofWanted):
        await glass.break_glass(await ada.context(), **PATIENT)
    await ada.prove()
    await glass.break_glass(await ada.context(), **PATIENT)


async def test_r05_a_key_a_link_and_another_tenant_break_nothing(
    place: Place, glass: Glass
) -> None:
    door = place.fresh_sign_in()
    key = await place.people.new_key(place.operator, "router", roles=["radiologist", "admin"])
    link = await place.people.new_link(place.operator, ["radiologist"])
    linked = await place.sign_in.by_link(place.visitor(), link.secret)
    for token in (key.secret, linked.token):
        bearer = await door.recognise(token)
        assert bearer is not None
        context = door.context(bearer, place.tenant, place.tenant, "console", "192.0.2.1")
        with pytest.raises(Refused):
            await glass.break_glass(context, **PATIENT)
    chief = await somebody(place, "chief", "admin", "radiologist")
    there = await chief.context(tenant=place.other)
    with pytest.raises(Refused):
        await glass.break_glass(there, **PATIENT)
    assert await glass.entries(place.operator) == ()


async def test_r02_nothing_of_an_opening_is_seen_in_another_tenant(
    place: Place, glass: Glass
) -> None:
    await keep_patient(place, "HOSPITAL", "4711")
    await keep_patient(place, "HOSPITAL", "4711", place.other)
    chief = await somebody(place, "chief", "admin", "radiologist")
    opening = await glass.break_glass(await chief.context(), **PATIENT)
    there = await chief.context(tenant=place.other)
    assert (there.opened, there.actor.glass) == (frozenset(), "")
    assert (await chief.context()).opened == {("HOSPITAL", "4711")}
    elsewhere = operator_context(place.other, "test")
    assert await glass.entries(elsewhere) == ()
    for opening_id in (opening.opening_id, uuid.uuid4()):
        with pytest.raises(Missing):
            await glass.end(elsewhere, opening_id)
        with pytest.raises(Missing):
            await glass.review(elsewhere, opening_id, Verdict.JUSTIFIED)


# --- the end ---------------------------------------------------------------------------------------------


async def by_oneself(place: Place, glass: Glass, ada: Somebody, opening: Opening) -> str:
    await glass.end(await ada.context(), opening.opening_id)
    return "person:ada"


async def by_a_reviewer(place: Place, glass: Glass, ada: Somebody, opening: Opening) -> str:
    rev = await somebody(place, "rev", "auditor")
    await glass.end(await rev.context(), opening.opening_id)
    return "person:rev"


async def with_the_session(place: Place, glass: Glass, ada: Somebody, opening: Opening) -> str:
    await place.people.revoke_session(place.operator, ada.session.session_id)
    return "operator:test"


async def by_signing_out(place: Place, glass: Glass, ada: Somebody, opening: Opening) -> str:
    await place.sign_in.sign_out(ada.token)
    return "person:ada"


async def with_the_account(place: Place, glass: Glass, ada: Somebody, opening: Opening) -> str:
    await place.people.change(place.operator, "ada", disabled=True)
    return "operator:test"


@pytest.mark.parametrize(
    "end", [by_oneself, by_a_reviewer, with_the_session, by_signing_out, with_the_account]
)
async def test_r05_it_ends_at_every_door_within_two_seconds(
    place: Place, glass: Glass, end: Callable[[Place, Glass, Somebody, Opening], Awaitable[str]]
) -> None:
    await keep_patient(place, "HOSPITAL", "4711")
    ada, door = await somebody(place), place.fresh_sign_in()
    opening = await glass.break_glass(await ada.context(), **PATIENT)
    bearer = await ada.bearer(door)
    assert door.context(bearer, place.tenant, place.tenant, "dicomweb", "").opened
    assert await door.unchanged(bearer)
    place.clock.pass_(seconds=1)
    by = await end(place, glass, ada, opening)
    place.clock.pass_(seconds=1.1)
    again = await door.recognise(ada.token)
    if again is not None:
        context = door.context(again, place.tenant, place.tenant, "dicomweb", "")
        assert (context.opened, context.actor.glass) == (frozenset(), "")
    assert not await door.unchanged(bearer), "an answer under way is cut"
    (entry,) = await glass.entries(place.operator)
    assert entry.ended is not None
    assert entry.ended_by == by
    with pytest.raises(Conflict):
        await glass.end(place.operator, opening.opening_id)


async def test_nobody_else_ends_it(place: Place, glass: Glass) -> None:
    ada, bob = await somebody(place), await somebody(place, "bob")
    opening = await glass.break_glass(await ada.context(), **PATIENT)
    said = set()
    for opening_id in (opening.opening_id, uuid.uuid4()):
        with pytest.raises(Missing) as missing:
            await glass.end(await bob.context(), opening_id)
        said.add(str(missing.value))
    assert len(said) == 1
    outcomes = await asyncio.gather(
        *(glass.end(place.operator, opening.opening_id) for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(one, Opening) for one in outcomes) == 1


async def test_what_was_over_before_an_answer_began_does_not_cut_it(
    place: Place, glass: Glass
) -> None:
    ada = await somebody(place)
    await glass.break_glass(await ada.context(), **PATIENT)
    for _ in range(3):
        place.clock.pass_(minutes=25)
        await ada.prove()
    door = place.fresh_sign_in()
    assert await door.unchanged(await ada.bearer(door))


async def test_r06_an_answer_under_way_is_cut_when_roles_change_and_not_by_a_proof(
    place: Place,
) -> None:
    ada, door = await somebody(place), place.fresh_sign_in()
    bearer = await ada.bearer(door)
    place.clock.pass_(seconds=60)
    await ada.prove()
    assert await door.unchanged(bearer)
    await place.people.change(place.operator, "ada", roles=["auditor"])
    assert not await door.unchanged(bearer)
    key = await place.people.new_key(place.operator, "router", roles=["integration"])
    program = await door.recognise(key.secret)
    assert program is not None
    assert await door.unchanged(program)
    await place.people.revoke_key(place.operator, key.id)
    assert not await door.unchanged(program)


# --- the queue ---------------------------------------------------------------------------------------------


async def test_the_queue_counts_and_is_judged_once_and_by_somebody_else(
    place: Place, glass: Glass
) -> None:
    ada = await somebody(place, "ada", "radiologist", "auditor")
    rev = await somebody(place, "rev", "auditor")
    opening = await glass.break_glass(await ada.context(), **PATIENT)
    counts = await glass.counts(place.operator)
    assert (counts.unreviewed, counts.overdue, counts.open) == (1, 0, 1)
    judge = await rev.context()
    with pytest.raises(Conflict):  # it is still open
        await glass.review(judge, opening.opening_id, Verdict.JUSTIFIED)
    await glass.end(judge, opening.opening_id)
    with pytest.raises(Refused):
        await glass.review(await ada.context(), opening.opening_id, Verdict.JUSTIFIED)
    with pytest.raises(Invalid):
        await glass.review(judge, opening.opening_id, Verdict.NOT_JUSTIFIED)
    outcomes = await asyncio.gather(
        *(
            glass.review(judge, opening.opening_id, Verdict.NOT_JUSTIFIED, "Talked to her.")
            for _ in range(4)
        ),
        return_exceptions=True,
    )
    (judged,) = [one for one in outcomes if isinstance(one, Opening)]
    assert all(isinstance(one, Opening | Conflict) for one in outcomes)
    assert judged.review is not None
    assert (judged.review.by, judged.review.remark) == ("person:rev", "Talked to her.")
    counts = await glass.counts(place.operator)
    assert (counts.unreviewed, counts.overdue, counts.open) == (0, 0, 0)
    assert await glass.entries(judge, which=Which.UNREVIEWED) == ()
    (same,) = await glass.entries(judge, which=Which.REVIEWED)
    assert same == judged


async def test_what_waits_for_more_than_three_days_is_counted_apart(
    place: Place, glass: Glass
) -> None:
    ada = await somebody(place)
    await glass.break_glass(await ada.context(), **PATIENT)
    place.clock.pass_(hours=71, minutes=59)
    assert (await glass.counts(place.operator)).overdue == 0
    place.clock.pass_(minutes=1)
    counts = await glass.counts(place.operator)
    assert (counts.unreviewed, counts.overdue, counts.open) == (1, 1, 0)


async def test_pages_of_the_queue_lose_and_repeat_nothing(place: Place, glass: Glass) -> None:
    ada = await somebody(place)
    context = await ada.context()
    made = []
    for number in range(7):
        place.clock.pass_(seconds=number % 2)  # some of the same instant
        opening = await glass.break_glass(context, issuer="", patient_id=f"P{number}", reason=WHY)
        await glass.end(context, opening.opening_id)
        made.append(opening.opening_id)
    seen: list[uuid.UUID] = []
    before = None
    while page := await glass.entries(place.operator, limit=3, before=before):
        seen += [opening.opening_id for opening in page]
        before = seen[-1]
    assert sorted(seen) == sorted(made)
    assert len(seen) == 7


async def test_how_one_stands_oneself(place: Place, glass: Glass) -> None:
    ada, rev = await somebody(place), await somebody(place, "rev", "auditor")
    place.clock.pass_(minutes=6)  # nobody has to prove anything to be told
    mine = await glass.standing(await ada.context())
    assert (mine.open, mine.sealed, mine.may_break, mine.counts) == (None, False, True, None)
    await ada.prove()
    opening = await glass.break_glass(await ada.context(), **PATIENT)
    mine = await glass.standing(await ada.context())
    assert mine.open is not None
    assert mine.open.opening_id == opening.opening_id
    theirs = await glass.standing(await rev.context())
    assert (theirs.open, theirs.may_break) == (None, False)
    assert theirs.counts is not None
    assert theirs.counts.open == 1


# --- proving again -----------------------------------------------------------------------------------------


async def test_a09_a_proof_renews_the_token_and_the_session_goes_on(place: Place) -> None:
    ada = await somebody(place)
    old, door = ada.token, place.fresh_sign_in()
    place.clock.pass_(minutes=6)
    assert not (await ada.context(door)).stepped_up
    done = await ada.prove()
    assert done.token != old
    assert done.session.session_id == ada.session.session_id
    assert (await ada.context()).stepped_up
    assert await place.sign_in.recognise(old) is None
    place.clock.pass_(seconds=2.1)
    assert await door.recognise(old) is None
    (session,) = await place.people.sessions(place.operator)
    assert session.session_id == ada.session.session_id
    place.clock.pass_(minutes=5)
    assert not (await ada.context()).stepped_up
    assert old not in repr(done)


async def test_a09_what_was_opened_stays_open_over_a_proof(place: Place, glass: Glass) -> None:
    await keep_patient(place, "HOSPITAL", "4711")
    ada = await somebody(place)
    await glass.break_glass(await ada.context(), **PATIENT)
    place.clock.pass_(minutes=1)
    await ada.prove()
    assert (await ada.context()).opened == {("HOSPITAL", "4711")}


async def test_a06_a_wrong_proof_says_nothing_ends_nothing_and_is_throttled(place: Place) -> None:
    ada = await somebody(place)
    place.clock.pass_(minutes=6)
    said = set()
    for password, code in (("wrong wrong wrong", None), (PASSWORD, "000000"), (PASSWORD, ""),
                           ("", ""), ("x" * 5000, None)):  # fmt: skip
        with pytest.raises(NotProved) as refused:
            await ada.prove(code, password)
        said.add(str(refused.value))
    assert len(said) == 1
    with pytest.raises(TooManyTries):
        await ada.prove()
    assert not (await ada.context()).stepped_up
    place.clock.pass_(seconds=30)
    await ada.prove()
    assert (await ada.context()).stepped_up


async def test_a_code_proves_once_also_for_ten_at_once(place: Place) -> None:
    ada = await somebody(place)
    place.clock.pass_(minutes=6)
    context, code = await ada.context(), place.code(ada.secret)
    outcomes = await asyncio.gather(
        *(place.sign_in.prove_by_password(context, ada.token, PASSWORD, code) for _ in range(4)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, SignedIn) for one in outcomes) == 1
    assert all(isinstance(one, SignedIn | NotProved) for one in outcomes)


async def test_a_proof_with_the_token_of_before_the_last_one_is_none(place: Place) -> None:
    ada = await somebody(place)
    old = ada.token
    place.clock.pass_(minutes=6)
    await ada.prove()
    place.clock.pass_(minutes=6)
    context = await ada.context()
    with pytest.raises(NotProved):
        await place.sign_in.prove_by_password(context, old, PASSWORD, place.code(ada.secret))


async def test_a_link_a_program_and_somebody_elsewhere_have_nothing_to_prove(place: Place) -> None:
    door = place.fresh_sign_in()
    link = await place.people.new_link(place.operator, ["radiologist"])
    linked = await place.sign_in.by_link(place.visitor(), link.secret)
    bearer = await door.recognise(linked.token)
    assert bearer is not None
    context = door.context(bearer, place.tenant, place.tenant, "console", "192.0.2.1")
    ways = await door.ways(context)
    assert (ways.password, ways.code, ways.passkey) == (False, False, False)
    with pytest.raises(NotProved):
        await door.prove_by_password(context, linked.token, PASSWORD, "000000")
    key = await place.people.new_key(place.operator, "router", roles=["admin"])
    program = await door.recognise(key.secret)
    assert program is not None
    context = door.context(program, place.tenant, place.tenant, "console", "192.0.2.1")
    with pytest.raises(Missing):
        await door.prove_by_password(context, key.secret, PASSWORD, "000000")
    chief = await somebody(place, "chief", "admin")
    with pytest.raises(Missing):
        await door.ways(await chief.context(tenant=place.other))


async def test_a08_a_passkey_proves_for_its_own_account_session_and_question(place: Place) -> None:
    await with_passkey(place)
    bob = await somebody(place, "bob")
    ticket, _ = await place.sign_in.passkey_request(place.visitor(), SITE)
    signed_in = await place.sign_in.by_passkey(place.visitor(), SITE, ticket, {"id": b"key1"})
    ada = Somebody(place, "ada", signed_in, b"")
    place.clock.pass_(minutes=6)
    context, theirs = await ada.context(), await bob.context()
    assert (await place.sign_in.ways(context)).passkey
    door = place.sign_in

    async def answer(who: Context, token: str, ticket: str, **more: Any) -> SignedIn:
        return await door.prove_by_passkey(who, token, SITE, ticket, {"id": b"key1", **more})

    forged, _ = await door.prove_request(context, SITE)
    with pytest.raises(NotProved):
        await answer(context, ada.token, forged, forged=True)
    others, _ = await door.prove_request(theirs, SITE)
    for who, token in ((theirs, bob.token), (context, ada.token)):
        with pytest.raises(NotProved):  # ada's passkey for bob; bob's question for ada
            await answer(who, token, others)
    to_sign_in, _ = await door.passkey_request(place.visitor(), SITE)
    with pytest.raises(NotProved):
        await answer(context, ada.token, to_sign_in)
    place.clock.pass_(seconds=30)
    mine, _ = await door.prove_request(context, SITE)
    done = await answer(context, ada.token, mine)
    with pytest.raises(NotProved):
        await answer(context, done.token, mine)
    again, _ = await door.prove_request(context, SITE)
    with pytest.raises(NotSignedIn):  # a proof's question signs nobody in
        await door.by_passkey(place.visitor(), SITE, again, {"id": b"key1"})


# --- sealed accounts ---------------------------------------------------------------------------------------


async def test_a_sealed_account_opens_with_its_envelope_alone_and_waits_for_review(
    place: Place, glass: Glass
) -> None:
    made = await place.people.seal(place.operator, "night", roles=["radiologist"])
    assert made.secret not in repr(made)
    (person,) = await place.people.list(place.operator)
    assert person.seal is not None
    assert person.seal.broken is None
    here = place.visitor("10.0.0.7")
    signed_in = await place.sign_in.by_password(here, "night", made.secret, "")
    assert signed_in.session.how == "sealed"
    (entry,) = await glass.entries(place.operator, which=Which.UNREVIEWED)
    assert (entry.kind, entry.login, entry.origin) == (OpeningKind.SEAL, "night", "10.0.0.7")
    assert entry.until == signed_in.session.expires
    night = Somebody(place, "night", signed_in, b"")
    context = await night.context()
    assert (context.purpose, context.opened) == (Purpose.EMERGENCY, frozenset())
    assert (await glass.standing(context)).sealed
    assert place.sign_in.seals_broken == 1
    (person,) = await place.people.list(place.operator)
    assert person.seal is not None
    assert person.seal.broken == signed_in.session.created
    # Used is unsealed, and still opens: the emergency may last. Each use is an entry of its own.
    place.clock.pass_(minutes=1)
    await place.sign_in.by_password(here, "night", made.secret, "")
    assert len(await glass.entries(place.operator)) == 2


async def test_a_sealed_account_breaks_the_glass_with_its_envelope_and_nothing_else_running(
    place: Place, glass: Glass
) -> None:
    await keep_patient(place, "HOSPITAL", "4711")
    made = await place.people.seal(place.operator, "night", roles=["radiologist"])
    here = place.visitor("127.0.0.1")
    signed_in = await place.sign_in.by_password(here, "night", made.secret, "")
    night = Somebody(place, "night", signed_in, b"")
    place.clock.pass_(minutes=6)
    door = place.fresh_sign_in()
    bearer = await night.bearer(door)
    context = door.context(bearer, place.tenant, place.tenant, "console", "8.8.8.8")
    with pytest.raises(NotProved):
        await door.prove_by_password(context, night.token, made.secret, "")
    context = door.context(bearer, place.tenant, place.tenant, "console", "127.0.0.1")
    night.token = (await door.prove_by_password(context, night.token, made.secret, "")).token
    await glass.break_glass(await night.context(), **PATIENT)
    assert (await night.context()).opened == {("HOSPITAL", "4711")}
    kinds = {entry.kind for entry in await glass.entries(place.operator)}
    assert kinds == {OpeningKind.SEAL, OpeningKind.PATIENT}


async def test_a06_from_elsewhere_the_envelope_answers_as_a_wrong_password(
    place: Place, glass: Glass
) -> None:
    made = await place.people.seal(
        place.operator, "night", roles=["radiologist"], places=["10.20.0.0/16"]
    )
    said = set()
    for origin, password in (
        ("127.0.0.1", made.secret),
        ("8.8.8.8", made.secret),
        ("10.21.0.1", made.secret),
        ("10.20.0.1", "wrong wrong wrong"),
    ):
        with pytest.raises(NotSignedIn) as refused:
            await place.sign_in.by_password(place.visitor(origin), "night", password, "")
        said.add(str(refused.value))
    assert len(said) == 1
    assert await glass.entries(place.operator) == ()
    await place.sign_in.by_password(place.visitor("10.20.0.1"), "night", made.secret, "")


async def test_sealed_again_it_has_another_password_and_its_sessions_end(
    place: Place, glass: Glass
) -> None:
    first = await place.people.seal(place.operator, "night", roles=["radiologist"])
    here = place.visitor("127.0.0.1")
    signed_in = await place.sign_in.by_password(here, "night", first.secret, "")
    second = await place.people.seal(place.operator, "NIGHT")
    assert second.id == first.id
    assert second.secret != first.secret
    place.clock.pass_(seconds=2.1)
    assert await place.sign_in.recognise(signed_in.token) is None
    (entry,) = await glass.entries(place.operator)
    assert (entry.ended_by, entry.ended is not None) == ("operator:test", True)
    with pytest.raises(NotSignedIn):
        await place.sign_in.by_password(here, "night", first.secret, "")
    (person,) = await place.people.list(place.operator)
    assert person.seal is not None
    assert person.seal.broken is None
    await place.sign_in.by_password(here, "night", second.secret, "")


async def test_somebodys_own_account_is_not_sealed_and_a_sealed_one_is_not_enrolled(
    place: Place,
) -> None:
    await somebody(place)
    await with_passkey_of(place, "kay")
    for login in ("ada", "kay"):
        with pytest.raises(Conflict):
            await place.people.seal(place.operator, login)
    fresh = await place.people.add(place.operator, "night", roles=["radiologist"])
    await place.people.seal(place.operator, "night")  # nobody has enrolled yet
    with pytest.raises(NotSignedIn):  # the link of before opens nothing
        await place.sign_in.enrolment(place.visitor(), None, fresh.secret)
    with pytest.raises(Conflict):
        await place.people.new_enrolment(place.operator, "night")
    with pytest.raises(Invalid):
        await place.people.seal(place.operator, "night", roles=["admin"])
    with pytest.raises(Invalid):
        await place.people.seal(place.operator, "other", roles=[])


async def with_passkey_of(place: Place, login: str) -> None:
    made = await place.people.add(place.operator, login, roles=["technologist"])
    who = place.visitor()
    offer = await place.sign_in.enrolment(who, SITE, made.secret)
    await place.sign_in.enrol(who, SITE, made.secret, offer.ticket, passkey={"id": login.encode()})


async def test_ending_the_use_of_a_sealed_account_ends_its_session(
    place: Place, glass: Glass
) -> None:
    made = await place.people.seal(place.operator, "night", roles=["radiologist"])
    signed_in = await place.sign_in.by_password(
        place.visitor("127.0.0.1"), "night", made.secret, ""
    )
    (entry,) = await glass.entries(place.operator)
    ended = await glass.end(place.operator, entry.opening_id)
    assert ended.ended_by == "operator:test"
    place.clock.pass_(seconds=2.1)
    assert await place.sign_in.recognise(signed_in.token) is None


async def test_r05_a_link_or_key_of_ones_own_judges_nothing(place: Place, glass: Glass) -> None:
    """Whoever is radiologist and administrator can make themselves both, and an envelope as well."""
    ada = await somebody(place, "ada", "radiologist", "admin")
    opening = await glass.break_glass(await ada.context(), **PATIENT)
    mine = await ada.context()
    link = await place.people.new_link(mine, ["auditor"])
    key = await place.people.new_key(mine, "judge", roles=["auditor"])
    sealed = await place.people.seal(mine, "night", roles=["auditor"])
    await glass.end(mine, opening.opening_id)
    by_link = await place.sign_in.by_link(place.visitor(), link.secret)
    here = place.visitor("10.0.0.7")
    by_envelope = await place.sign_in.by_password(here, "night", sealed.secret, "")
    door = place.fresh_sign_in()
    for token in (by_link.token, key.secret, by_envelope.token):
        bearer = await door.recognise(token)
        assert bearer is not None
        context = door.context(bearer, place.tenant, place.tenant, "console", "192.0.2.1")
        with pytest.raises(Refused, match="account"):
            await glass.review(context, opening.opening_id, Verdict.JUSTIFIED)
    with pytest.raises(Refused, match="their own"):
        await glass.review(mine, opening.opening_id, Verdict.JUSTIFIED)
    rev = await somebody(place, "rev", "auditor")
    judged = await glass.review(await rev.context(), opening.opening_id, Verdict.JUSTIFIED)
    assert judged.review is not None
    assert judged.review.by == "person:rev"


async def test_the_operator_judges_at_the_command_line(place: Place, glass: Glass) -> None:
    ada = await somebody(place)
    opening = await glass.break_glass(await ada.context(), **PATIENT)
    await glass.end(await ada.context(), opening.opening_id)
    judged = await glass.review(place.operator, opening.opening_id, Verdict.JUSTIFIED)
    assert judged.review is not None
