"""One suite for every keeper of tenants: memory and PostgreSQL. Nothing here knows which it is.

The rooms of tenants and people run on top: what suspending promises is promised by both backends.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lightwell.access.actions import Action
from lightwell.access.commit import ChangeSet, Committer
from lightwell.access.context import Actor, ActorKind, Context, Tenant, operator_context
from lightwell.access.operation import permit
from lightwell.access.ports import PolicySource
from lightwell.access.roles import Role
from lightwell.backends.database.people import PostgresPeople
from lightwell.backends.identity.hashing import Argon2Hasher
from lightwell.backends.memory.committer import MemoryCommitter
from lightwell.backends.memory.directories import MemoryTenants
from lightwell.backends.memory.people import MemoryPeople, MemoryPolicy
from lightwell.backends.memory.tables import MemoryDatabase
from lightwell.domain.people.api import People
from lightwell.domain.people.model import How, Session, SessionRow
from lightwell.domain.people.ports import PeopleBook
from lightwell.domain.people.tokens import digest
from lightwell.domain.tenants.api import Tenants
from lightwell.domain.tenants.branding import Branding
from lightwell.kernel.clock import SystemClock
from lightwell.kernel.errors import Conflict, Invalid, Missing, Refused

WHY = "the contract has ended"


@dataclass
class Entries:
    """A journal that a test may read."""

    kept: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    async def append(self, tenant: Tenant, kind: str, body: dict[str, Any]) -> None:
        self.kept.append((tenant.name, kind, body))


@dataclass
class Place:
    """The rooms over one backend."""

    tenants: Tenants
    people: People
    book: PeopleBook
    policy: PolicySource
    committer: Committer
    journal: Entries
    first: Tenant

    @property
    def operator(self) -> Context:
        return operator_context(self.first, "test")


def place_of(directory: Any, book: Any, policy: Any, committer: Any, first: Tenant) -> Place:
    clock, journal = SystemClock(), Entries()
    return Place(
        Tenants(directory, journal, policy, committer, clock),  # type: ignore[arg-type]
        People(book, Argon2Hasher(memory_kib=64, passes=1), policy, committer, clock),
        book,
        policy,
        committer,
        journal,
        first,
    )


@pytest.fixture(params=["memory", "database"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if request.param == "memory":
        database, first = MemoryDatabase(), Tenant(1, "default", "Default", "LIGHTWELL")
        yield place_of(
            MemoryTenants(database, (first,)),
            MemoryPeople(database),
            MemoryPolicy(database),
            MemoryCommitter(database),
            first,
        )
        return
    house = request.getfixturevalue("installation").open()
    try:
        first = await house.tenants.named()
        yield place_of(
            house.tenants._directory,
            PostgresPeople(house.database),
            house.policy,
            house.committer,
            first,
        )
    finally:
        await house.close()


async def a_session(place: Place, tenant: Tenant) -> bytes:
    """Somebody is signed in there; the digest by which they are found."""
    now, token = datetime.now(UTC), digest(f"lws_{uuid.uuid4().hex}")
    session = Session(
        session_id=uuid.uuid4(),
        person_id=None,
        name="link",
        roles=frozenset({Role.ADMIN}),
        how=How.LINK,
        origin="192.0.2.1",
        agent="",
        created=now,
        seen=now,
        expires=now + timedelta(hours=1),
        idle=timedelta(minutes=30),
        proved=now,
    )
    await place.committer.commit(ChangeSet(tenant, (SessionRow(session, token),)))
    return token


async def test_a_suspended_tenant_is_found_by_nobody_but_who_can_resume_it(place: Place) -> None:
    clinic = await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    with pytest.raises(Missing) as unknown:
        await place.tenants.named("nowhere")
    await place.tenants.suspend(place.operator, "clinic", f" {WHY} ")
    with pytest.raises(Missing) as gone:
        await place.tenants.named("clinic")
    assert str(gone.value) == str(unknown.value)
    assert not await place.tenants.serves(clinic)
    known = await place.tenants.known("clinic")
    assert (known.suspended, known.suspension) == (True, WHY)
    called = await place.tenants.called("CLINIC")
    assert called is not None
    assert called.suspended
    assert known in await place.tenants.list(place.operator)
    someone = Actor(
        ActorKind.PERSON, "ada", home=place.first.name, roles=frozenset({Role.RADIOLOGIST})
    )
    seen = await place.tenants.list(Context(place.first, someone, channel="console"))
    assert [tenant.name for tenant in seen] == ["default"]
    resumed = await place.tenants.resume(place.operator, "clinic")
    assert await place.tenants.named("clinic") == resumed == clinic
    assert await place.tenants.serves(clinic)


async def test_a03_its_sessions_are_over_and_stay_so_and_its_keys_are_good_again(
    place: Place,
) -> None:
    clinic = await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    theirs, ours = await a_session(place, clinic), await a_session(place, place.first)
    key = await place.people.new_key(
        operator_context(clinic, "test"),
        "crawler",
        roles=[Role.INTEGRATION],
        scopes=[],
        life=timedelta(days=1),
    )
    await place.tenants.suspend(place.operator, "clinic", WHY)
    for _ in range(2):  # suspended, and resumed
        bearer = await place.book.bearer(theirs)
        assert bearer is not None
        assert bearer.ended is not None
        mine = await place.book.bearer(ours)
        assert mine is not None
        assert mine.ended is None
        await place.tenants.resume(place.operator, "clinic")
    program = await place.book.bearer(digest(key.secret))
    assert program is not None
    assert program.ended is None


async def test_a03_a_context_of_before_may_nothing_any_more(place: Place) -> None:
    """A long association or a run under way has the tenant as it was when it began."""
    clinic = await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    peer = Actor(ActorKind.PEER, "CT1", grants=frozenset({"store"}))
    old = Context(clinic, peer, channel="dimse")
    await permit(place.people, old, Action.ARCHIVE_INSTANCE_STORE)
    await place.tenants.suspend(place.operator, "clinic", WHY)
    if hasattr(place.policy, "forget"):  # what a process does when it hears of it
        place.policy.forget()
    with pytest.raises(Refused, match="suspended"):
        await permit(place.people, old, Action.ARCHIVE_INSTANCE_STORE)
    # Whoever checks the installation checks all of it.
    keeper = operator_context(clinic, "test")
    await permit(place.people, keeper, Action.ARCHIVE_STORE_CHECK)
    with pytest.raises(Refused, match="suspended"):
        await permit(place.people, keeper, Action.ARCHIVE_INSTANCE_RETRIEVE)


async def test_what_cannot_be_suspended(place: Place) -> None:
    await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    with pytest.raises(Conflict, match="installation"):
        await place.tenants.suspend(place.operator, "default", WHY)
    for reason in ("", "  ", "two\nlines", "x" * 201):
        with pytest.raises(Invalid, match="reason"):
            await place.tenants.suspend(place.operator, "clinic", reason)
    with pytest.raises(Missing):
        await place.tenants.suspend(place.operator, "nowhere", WHY)
    with pytest.raises(Missing):
        await place.tenants.resume(place.operator, "nowhere")
    assert not (await place.tenants.known("clinic")).suspended


async def test_b07_it_is_in_the_journal_by_itself(place: Place) -> None:
    """So that a change of the label at the same time takes nothing of it back."""
    await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    await place.tenants.suspend(place.operator, "clinic", WHY)
    await place.tenants.resume(place.operator, "clinic")
    assert place.journal.kept[1:] == [
        ("clinic", "tenant", {"name": "clinic", "suspension": WHY}),
        ("clinic", "tenant", {"name": "clinic", "suspension": None}),
    ]


@pytest.mark.parametrize(
    ("roles", "home", "may"),
    [
        ({Role.ADMIN}, "default", True),
        ({Role.ADMIN}, "clinic", False),
        ({Role.PACS_ADMIN}, "default", False),
        ({Role.AUDITOR, Role.SUPPORT}, "default", False),
    ],
)
async def test_r01_who_may_suspend(place: Place, roles: set[Role], home: str, may: bool) -> None:
    clinic = await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    somebody = Actor(ActorKind.PERSON, "ada", home=home, roles=frozenset(roles))
    where = place.first if home == "default" else clinic
    asking = Context(where, somebody, channel="console", stepped_up=True)
    if may:
        await place.tenants.suspend(asking, "clinic", WHY)
    else:
        with pytest.raises(Refused):
            await place.tenants.suspend(asking, "clinic", WHY)
    assert (await place.tenants.known("clinic")).suspended is may


# --- by what a tenant is called ------------------------------------------------------------------------


async def test_further_titles_and_hosts_belong_to_one_tenant(place: Place) -> None:
    await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    await place.tenants.create(place.operator, "north", aet="NORTH")
    named = await place.tenants.name(
        place.operator,
        "clinic",
        titles=["WARD", "CLINIC", " MR ROOM "],
        hosts=["PACS.clinic.example."],
    )
    assert (named.titles, named.hosts) == (("MR ROOM", "WARD"), ("pacs.clinic.example",))
    for title in ("CLINIC", "WARD", "MR ROOM"):
        assert await place.tenants.called(title) == named
    for header in ("pacs.clinic.example", "Pacs.Clinic.Example:8443", "pacs.clinic.example."):
        assert await place.tenants.at(header) == named, header
    for header in ("", "clinic.example", "[::1]:8042", "127.0.0.1", "pacs.clinic.example.evil"):
        assert await place.tenants.at(header) is None, header
    for taken in (
        {"titles": ["WARD"], "hosts": []},
        {"titles": ["CLINIC"], "hosts": ["new.example"]},
        {"titles": ["LIGHTWELL"], "hosts": []},
        {"titles": [], "hosts": ["pacs.clinic.example"]},
    ):
        with pytest.raises(Conflict, match="another tenant"):
            await place.tenants.name(place.operator, "north", **taken)
    with pytest.raises(Conflict, match="another tenant"):
        await place.tenants.create(place.operator, "south", aet="WARD")
    assert [t.name for t in await place.tenants.everyone()] == ["default", "clinic", "north"]
    assert await place.tenants.known("north") == (await place.tenants.called("NORTH"))
    await place.tenants.name(place.operator, "clinic", titles=[], hosts=[])
    freed = await place.tenants.name(
        place.operator, "north", titles=["WARD"], hosts=["pacs.clinic.example"]
    )
    assert await place.tenants.called("WARD") == freed
    assert await place.tenants.at("pacs.clinic.example") == freed
    assert await place.tenants.called("CLINIC") is not None  # its own stays


async def test_a_host_of_a_suspended_tenant_leads_nowhere_else(place: Place) -> None:
    await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    await place.tenants.name(place.operator, "clinic", titles=[], hosts=["clinic.example"])
    await place.tenants.suspend(place.operator, "clinic", WHY)
    with pytest.raises(Missing, match="no such tenant"):
        await place.tenants.at("clinic.example")


@pytest.mark.parametrize(
    ("titles", "hosts"),
    [
        ([""], []),
        (["SEVENTEEN LETTERS"], []),
        (["A\\B"], []),
        ([], [""]),
        ([], ["localhost"]),
        ([], ["a.localhost"]),
        ([], ["127.0.0.1"]),
        ([], ["::1"]),
        ([], ["https://clinic.example"]),
        ([], ["clinic.example:8443"]),
        ([], ["-a.example"]),
        ([], ["a..example"]),
        ([], ["x" * 64 + ".example"]),
        ([], [f"h{n}.example" for n in range(33)]),
    ],
)
async def test_d12_what_is_no_title_and_no_host(
    place: Place, titles: list[str], hosts: list[str]
) -> None:
    await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    with pytest.raises(Invalid):
        await place.tenants.name(place.operator, "clinic", titles=titles, hosts=hosts)
    assert (await place.tenants.known("clinic")).hosts == ()


async def test_r01_who_may_name(place: Place) -> None:
    clinic = await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    for home, where, may in (("clinic", clinic, False), ("default", place.first, True)):
        admin = Actor(ActorKind.PERSON, "ada", home=home, roles=frozenset({Role.ADMIN}))
        asking = Context(where, admin, channel="console")
        if may:
            await place.tenants.name(asking, "clinic", titles=["WARD"], hosts=[])
        else:
            with pytest.raises(Refused):
                await place.tenants.name(asking, "clinic", titles=["WARD"], hosts=[])


# --- how much it may keep ------------------------------------------------------------------------------


async def test_a_quota_is_kept_and_taken_away(place: Place) -> None:
    await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    for studies, size in ((5, 10**12), (0, None), (None, 0), (None, None)):
        said = await place.tenants.limit(place.operator, "clinic", studies=studies, size=size)
        assert await place.tenants.known("clinic") == said
        assert (said.quota_studies, said.quota_bytes) == (studies, size)
    for wrong in ({"studies": -1, "size": None}, {"studies": None, "size": 1 << 61}):
        with pytest.raises(Invalid):
            await place.tenants.limit(place.operator, "clinic", **wrong)
    used = await place.tenants.usage(place.operator)
    assert [(use.studies, use.bytes) for use in used.values()] == [(0, 0), (0, 0)]


# --- how it looks --------------------------------------------------------------------------------------


async def test_branding_is_kept_and_taken_away_a_part_at_a_time(place: Place) -> None:
    clinic = await place.tenants.create(place.operator, "clinic", aet="CLINIC", label="The Clinic")
    here = operator_context(clinic, "test")
    assert await place.tenants.branding("clinic") == Branding("The Clinic")
    for said, kept in (
        ({"accent": "#FFB74D"}, ("#ffb74d", "", "")),
        ({"notice": " For staff only. "}, ("#ffb74d", "For staff only.", "")),
        ({"zone": "Europe/Berlin"}, ("#ffb74d", "For staff only.", "Europe/Berlin")),
        ({"label": "Clinic"}, ("#ffb74d", "For staff only.", "Europe/Berlin")),
        ({"accent": ""}, ("", "For staff only.", "Europe/Berlin")),
        ({"notice": "", "zone": ""}, ("", "", "")),
    ):
        changed = await place.tenants.configure(here, **said)
        assert (changed.accent, changed.notice, changed.zone) == kept, said
        assert await place.tenants.known("clinic") == changed
        shown = Branding(changed.label, changed.accent, changed.notice)
        assert await place.tenants.branding("clinic") == shown
        here = operator_context(changed, "test")
    first = await place.tenants.named()
    assert (first.accent, first.notice, first.zone) == ("", "", "")


async def test_b07_branding_is_in_the_journal_in_entries_of_its_own(place: Place) -> None:
    clinic = await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    here = operator_context(clinic, "test")
    await place.tenants.configure(here, accent="#ffb74d", notice="For staff only.")
    await place.tenants.configure(here, zone="Europe/Berlin")
    assert place.journal.kept[1:] == [
        (
            "clinic",
            "tenant",
            {"name": "clinic", "accent": "#ffb74d", "notice": "For staff only."},
        ),
        ("clinic", "tenant", {"name": "clinic", "zone": "Europe/Berlin"}),
    ]


async def test_w10_who_is_not_there_or_suspended_looks_as_who_has_chosen_nothing(
    place: Place,
) -> None:
    clinic = await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    await place.tenants.configure(
        operator_context(clinic, "test"), accent="#ffb74d", notice="For staff only."
    )
    await place.tenants.suspend(place.operator, "clinic", WHY)
    for name in ("clinic", "nowhere"):
        assert await place.tenants.branding(name) == Branding(name)
    await place.tenants.resume(place.operator, "clinic")
    assert (await place.tenants.branding("clinic")).accent == "#ffb74d"


@pytest.mark.parametrize(
    "wrong",
    [
        {"accent": "#000080"},
        {"accent": "blue"},
        {"notice": "x" * 501},
        {"notice": "two\nlines"},
        {"zone": "Europe/Atlantis"},
        {"accent": "#ffb74d", "notice": "\0"},
    ],
)
async def test_d12_what_is_refused_changes_nothing(place: Place, wrong: dict[str, str]) -> None:
    clinic = await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    with pytest.raises(Invalid):
        await place.tenants.configure(operator_context(clinic, "test"), **wrong)
    assert await place.tenants.known("clinic") == clinic
    assert len(place.journal.kept) == 1


@pytest.mark.parametrize(
    ("role", "home", "may"),
    [
        (Role.ADMIN, "clinic", True),
        (Role.ADMIN, "default", True),
        (Role.ADMIN, "north", False),
        (Role.PACS_ADMIN, "clinic", False),
        (Role.RADIOLOGIST, "clinic", False),
        (Role.SUPPORT, "clinic", False),
    ],
)
async def test_r01_who_may_brand(place: Place, role: Role, home: str, may: bool) -> None:
    clinic = await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    somebody = Actor(ActorKind.PERSON, "ada", home=home, roles=frozenset({role}))
    asking = Context(clinic, somebody, channel="console")
    if may:
        await place.tenants.configure(asking, accent="#ffb74d")
    else:
        with pytest.raises(Refused):
            await place.tenants.configure(asking, accent="#ffb74d")
    assert bool((await place.tenants.known("clinic")).accent) is may
