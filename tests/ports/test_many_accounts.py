"""More sessions, keys, relations and accounts than one page of a list: whoever is beyond it is still reached.

In memory and on PostgreSQL. A page is made of two rows, so that five are enough.
"""

from __future__ import annotations

import uuid

import pytest

from lightwell.access.context import operator_context
from lightwell.domain.people.model import RelationKind
from lightwell.domain.people.relations_api import Relations
from lightwell.kernel.errors import Missing
from tests.ports.test_glass import PATIENT, glass_over, somebody
from tests.ports.test_people import PASSWORD, AllRules, Place, place

__all__ = ["place"]  # the fixture

OTHERS = 4


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightwell.backends.database.people.LISTED", 2)


async def newer_sessions(place: Place) -> list[str]:
    """Tokens of as many that have signed in since."""
    tokens = []
    for _ in range(OTHERS):
        link = await place.people.new_link(place.operator, ["auditor"])
        tokens.append((await place.sign_in.by_link(place.visitor(), link.secret)).token)
    return tokens


async def knows(place: Place, token: str) -> bool:
    return await place.fresh_sign_in().recognise(token) is not None


async def test_a03_the_oldest_of_many_sessions_is_listed_and_ended(place: Place) -> None:
    mallory = await somebody(place, "mallory")
    newer = await newer_sessions(place)
    listed = await place.people.sessions(place.operator)
    assert len({session.session_id for session in listed}) == OTHERS + 1
    await place.people.revoke_session(place.operator, mallory.session.session_id)
    assert not await knows(place, mallory.token)
    assert all([await knows(place, token) for token in newer])
    with pytest.raises(Missing):
        await place.people.revoke_session(place.operator, mallory.session.session_id)
    with pytest.raises(Missing):
        await place.people.revoke_session(place.operator, uuid.uuid4())


async def test_a03_all_sessions_of_a_name_end_however_many_are_newer(place: Place) -> None:
    mallory = await somebody(place, "mallory")
    glass = glass_over(place)
    opening = await glass.break_glass(await mallory.context(), **PATIENT)
    newer = await newer_sessions(place)
    assert await place.people.end_sessions(place.operator, "mallory") == 1
    assert not await knows(place, mallory.token)
    assert all([await knows(place, token) for token in newer])
    (over,) = await glass.entries(place.operator)
    assert over.opening_id == opening.opening_id
    assert (over.ended, over.ended_by) == (place.clock.now(), str(place.operator.actor))


async def test_a03_everybodys_sessions_end_but_that_of_who_asks(place: Place) -> None:
    mallory = await somebody(place, "mallory")
    glass = glass_over(place)
    await glass.break_glass(await mallory.context(), **PATIENT)
    newer = await newer_sessions(place)
    admin = await somebody(place, "ada", "admin", "radiologist")
    await glass.break_glass(await admin.context(), **PATIENT)
    assert await place.people.end_sessions(await admin.context()) == OTHERS + 1
    assert not any([await knows(place, token) for token in (mallory.token, *newer)])
    assert await knows(place, admin.token)
    open_now = {e.login: e.open(place.clock.now()) for e in await glass.entries(place.operator)}
    assert open_now == {"mallory": False, "ada": True}
    assert await place.people.end_sessions(place.operator) == 1
    assert await place.people.end_sessions(place.operator) == 0


async def test_r02_sessions_of_another_tenant_go_on(place: Place) -> None:
    mallory = await somebody(place, "mallory")
    theirs = glass_over(place)
    await theirs.break_glass(await mallory.context(), **PATIENT)
    elsewhere = operator_context(place.other, "test")
    assert await place.people.end_sessions(elsewhere, "mallory") == 0
    assert await place.people.end_sessions(elsewhere) == 0
    assert await knows(place, mallory.token)
    (entry,) = await theirs.entries(place.operator)
    assert entry.open(place.clock.now())


async def test_ones_own_other_sessions_end_and_nobody_elses(place: Place) -> None:
    ada = await somebody(place, "ada")
    old = [ada.token]
    for _ in range(3):
        place.clock.pass_(seconds=60)
        code = place.code(ada.secret)
        signed_in = await place.sign_in.by_password(place.visitor(), "ada", PASSWORD, code)
        old.append(signed_in.token)
    newer = await newer_sessions(place)
    context = await ada.context()
    assert len(await place.people.own_sessions(context)) == 4
    assert await place.people.end_other_sessions(context) == 3
    assert [await knows(place, token) for token in old] == [True, False, False, False]
    assert all([await knows(place, token) for token in newer])


async def test_a03_the_oldest_of_many_keys_is_revoked(place: Place) -> None:
    leaked = await place.people.new_key(place.operator, "leaked", roles=["integration"])
    for number in range(OTHERS):
        place.clock.pass_(seconds=1)
        made = await place.people.new_key(place.operator, f"k{number}", roles=["integration"])
        await place.people.revoke_key(place.operator, made.id)
    listed = await place.people.keys(place.operator)
    assert [key.name for key in listed][-1] == "leaked"
    assert len({key.program_id for key in listed}) == OTHERS + 1
    await place.people.revoke_key(place.operator, leaked.id)
    assert not await knows(place, leaked.secret)


async def test_the_newest_of_many_certificates_is_released(place: Place) -> None:
    key = await place.people.new_key(place.operator, "router", roles=["integration"])
    prints = [f"{number:064x}" for number in range(OTHERS + 1)]
    for one in prints:
        await place.people.bind_certificate(place.operator, key.id, one)
    listed = await place.people.certificates(place.operator)
    assert sorted(listed) == [(key.id, one) for one in prints]
    await place.people.release_certificate(place.operator, prints[-1])
    with pytest.raises(Missing):
        await place.people.release_certificate(place.operator, prints[-1])
    left = await place.people.certificates(place.operator)
    assert sorted(left) == [(key.id, one) for one in prints[:-1]]


async def test_r04_the_last_of_many_relations_is_taken_back(place: Place) -> None:
    await place.people.add(place.operator, "ada", roles=["referrer"])
    door = Relations(place.book, AllRules(), place.committer, place.clock)
    names = [f"P{number}" for number in range(OTHERS + 1)]
    for name in names:
        await door.relate(place.operator, "ada", RelationKind.TREATS, name, "HOSP")
    assert [r.name for r in (await door.of(place.operator, "ada")).relations] == names
    await door.unrelate(place.operator, "ada", RelationKind.TREATS, names[-1], "HOSP")
    assert [r.name for r in (await door.of(place.operator, "ada")).relations] == names[:-1]
    for kind, name, issuer in (
        (RelationKind.TREATS, names[-1], "HOSP"),  # it is gone
        (RelationKind.TREATS, names[0], "OTHER"),
        (RelationKind.IS, names[0], "HOSP"),
    ):
        with pytest.raises(Missing):
            await door.unrelate(place.operator, "ada", kind, name, issuer)


async def test_an_administrator_after_many_other_accounts_is_found(place: Place) -> None:
    """Else each start would print a link that makes another one."""
    for number in range(OTHERS):
        await place.people.add(place.operator, f"a{number}", roles=["radiologist"])
    first = await place.people.first_administrator(place.operator)
    assert first is not None
    await place.enrolled(first, login="zoe", name="Zoe")
    assert await place.people.first_administrator(place.operator) is None
    people = await place.people.list(place.operator)
    assert [person.login for person in people] == ["a0", "a1", "a2", "a3", "zoe"]
    await place.people.change(place.operator, "zoe", disabled=True)
    assert await place.people.first_administrator(place.operator) is not None
