"""One suite for everybody who erases tenants: memory and PostgreSQL. Nothing here knows which it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lightwell.access.commit import Committer
from lightwell.access.context import (
    Actor,
    ActorKind,
    Context,
    Tenant,
    operator_context,
    system_context,
)
from lightwell.access.roles import Role
from lightwell.backends.blobs.erasing import StoredObjects
from lightwell.backends.blobs.journal import BlobJournal
from lightwell.backends.blobs.memory import MemoryStore
from lightwell.backends.database.erasing import PostgresErasures
from lightwell.backends.identity.hashing import Argon2Hasher
from lightwell.backends.memory.committer import MemoryCommitter
from lightwell.backends.memory.directories import MemoryTenants
from lightwell.backends.memory.erasing import MemoryErasures
from lightwell.backends.memory.people import MemoryPeople, MemoryPolicy
from lightwell.backends.memory.tables import MemoryDatabase
from lightwell.domain.archive.ports import BlobStore
from lightwell.domain.people.api import People
from lightwell.domain.people.tokens import digest
from lightwell.domain.tenants.api import Tenants
from lightwell.domain.tenants.erase_api import Erasing
from lightwell.domain.tenants.erasing import ENTRY, Erasure, Figures
from lightwell.domain.tenants.ports import ErasureBook
from lightwell.kernel.clock import SystemClock
from lightwell.kernel.errors import Busy, Conflict, Invalid, Missing, Refused
from lightwell.workflows.erase_tenant import TenantErasure

WHY = "the contract has ended"


@dataclass
class Runs:
    """What an engine keeps: numbers that were forgotten."""

    forgotten: list[int] = field(default_factory=list)

    async def forget(self, number: int) -> int:
        self.forgotten.append(number)
        return 0


@dataclass
class Place:
    """The rooms over one backend."""

    tenants: Tenants
    people: People
    book: ErasureBook
    erasing: Erasing
    hands: TenantErasure
    blobs: BlobStore
    runs: Runs
    first: Tenant
    fresh_book: Callable[[], ErasureBook]

    @property
    def operator(self) -> Context:
        return operator_context(self.first, "ada")

    @property
    def ours(self) -> Context:
        return system_context(self.first, "erase")

    def put(self, *keys: str) -> None:
        for key in keys:
            self.blobs.put(key, b"x")

    def kept(self, name: str) -> list[str]:
        return sorted(info.key for info in self.blobs.list(f"local/{name}"))

    async def names(self) -> list[str]:
        """The tenants there are, as another process would see them."""
        if hasattr(
            self.tenants._directory, "_read_at"
        ):  # it remembers for a tenth of a second at least
            self.tenants._directory._read_at = float("-inf")
        return [tenant.name for tenant in await self.tenants.everyone()]

    async def entries(self) -> list[tuple[str, bool]]:
        """Of the installation's journal: name, and whether it says that it is done."""
        found = self.hands.journal.entries(self.first)
        return [
            (e.body["name"], e.body["finished"] is not None) async for e in found if e.kind == ENTRY
        ]

    async def suspended(self, name: str = "clinic") -> Tenant:
        """A tenant with somebody and something in it that nobody is served any more."""
        made = await self.tenants.create(self.operator, name, aet=name.upper())
        theirs = operator_context(made, "test")
        await self.people.add(theirs, "bea", name="Bea", roles=[Role.RADIOLOGIST])
        await self.people.new_key(
            theirs, "crawler", roles=[Role.INTEGRATION], scopes=[], life=timedelta(days=1)
        )
        self.put(
            f"local/{name}/landed/aa/bb/1",
            f"local/{name}/pack/aa/bb/2",
            f"local/{name}/derived/a/b/3",
        )
        return await self.tenants.suspend(self.operator, name, WHY)

    async def begun(self, name: str = "clinic") -> Erasure:
        await self.suspended(name)
        return await self.erasing.begin(self.operator, name, name, WHY)


def place_of(
    directory: Any,
    people: Any,
    new_book: Callable[[], ErasureBook],
    policy: Any,
    committer: Committer,
    blobs: BlobStore,
    first: Tenant,
) -> Place:
    clock, book, runs = SystemClock(), new_book(), Runs()
    journal = BlobJournal(blobs, clock)
    tenants = Tenants(directory, journal, policy, committer, clock)
    return Place(
        tenants,
        People(people, Argon2Hasher(memory_kib=64, passes=1), policy, committer, clock),
        book,
        Erasing(tenants, book, policy, committer, clock),
        TenantErasure(book, StoredObjects(blobs), runs, journal, policy, committer, clock),
        blobs,
        runs,
        first,
        new_book,
    )


@pytest.fixture(params=["memory", "database"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if request.param == "memory":
        database, first = MemoryDatabase(), Tenant(1, "default", "Default", "LIGHTWELL")
        directory = MemoryTenants(database, (first,))
        yield place_of(
            directory,
            MemoryPeople(database),
            lambda: MemoryErasures(database, directory),
            MemoryPolicy(database),
            MemoryCommitter(database),
            MemoryStore(),
            first,
        )
        return
    house = request.getfixturevalue("installation").open()
    try:
        yield place_of(
            house.tenants._directory,
            house.people._book,
            lambda: PostgresErasures(house.info, house.work),
            house.policy,
            house.committer,
            house.blobs,
            await house.tenants.named(),
        )
    finally:
        await house.close()


# --- deciding ------------------------------------------------------------------------------------------


async def test_a_tenant_that_is_being_erased_stays_suspended_whatever_is_asked(
    place: Place,
) -> None:
    erasure = await place.begun()
    known = (await place.book.erasures())[0]
    assert known == erasure
    assert (known.name, known.reason, known.author, known.finished) == (
        "clinic", WHY, "operator:ada", None,
    )  # fmt: skip
    await place.names()
    shown = {t.name: t for t in await place.tenants.list(place.operator)}["clinic"]
    assert (shown.suspended, shown.erasing) == (True, True)
    operator = place.operator
    for asked in (
        place.tenants.resume(operator, "clinic"),
        place.tenants.suspend(operator, "clinic", WHY),
        place.tenants.limit(operator, "clinic", studies=1, size=None),
        place.tenants.name(operator, "clinic", titles=["WARD"], hosts=[]),
        place.tenants.export(operator, "clinic"),
    ):
        with pytest.raises(Conflict, match="being erased"):
            await asked
    directory = place.tenants._directory
    with pytest.raises(Conflict):  # also for who asks past the room
        await directory.suspend(shown, None)
    with pytest.raises(Missing):
        await place.tenants.named("clinic")
    with pytest.raises(Conflict, match="was erased"):
        await place.tenants.create(operator, "clinic", aet="OTHER")
    again = await place.erasing.begin(operator, "clinic", "clinic", "another reason")
    assert again == erasure


async def test_what_cannot_be_erased(place: Place) -> None:
    operator = place.operator
    served = await place.tenants.create(operator, "north", aet="NORTH")
    with pytest.raises(Conflict, match="served"):
        await place.erasing.begin(operator, "north", "north", WHY)
    with pytest.raises(Conflict, match="installation"):
        await place.erasing.begin(operator, "default", "default", WHY)
    with pytest.raises(Missing):
        await place.erasing.begin(operator, "nowhere", "nowhere", WHY)
    clinic = await place.suspended()
    for typed in ("", "CLINIC", "north"):
        with pytest.raises(Invalid, match="confirm"):
            await place.erasing.begin(operator, "clinic", typed, WHY)
    for reason in ("", "two\nlines", "x" * 201):
        with pytest.raises(Invalid, match="reason"):
            await place.erasing.begin(operator, "clinic", "clinic", reason)
    with pytest.raises(Conflict, match="own tenant"):  # its record would go with a tenant
        await place.erasing.begin(operator_context(served, "ada"), "clinic", "clinic", WHY)
    async with place.erasing.exporting(clinic) as free:
        assert free
        with pytest.raises(Conflict, match="written out"):
            await place.erasing.begin(operator, "clinic", "clinic", WHY)
        prospect = await place.erasing.prospect(operator, "clinic")
        assert prospect.obstacle is not None
    assert (await place.erasing.prospect(operator, "clinic")).obstacle is None
    assert await place.book.erasures() == ()
    assert await place.entries() == []
    resumed = replace(clinic, suspended=True)  # as somebody saw it who then was slow
    await place.tenants.resume(operator, "clinic")
    a_moment_ago = Erasure("clinic", clinic.key, "local", WHY, "x", datetime.now(UTC), Figures())
    with pytest.raises(Conflict, match="resumed"):
        await place.book.begin(resumed, a_moment_ago)
    assert await place.book.erasures() == ()


@pytest.mark.parametrize(
    ("roles", "home", "proved", "may"),
    [
        ({Role.ADMIN}, "default", True, True),
        ({Role.ADMIN}, "default", False, False),
        ({Role.ADMIN}, "north", True, False),
        ({Role.PACS_ADMIN}, "default", True, False),
        ({Role.AUDITOR, Role.SUPPORT, Role.RADIOLOGIST}, "default", True, False),
    ],
)
async def test_r01_who_may_erase(
    place: Place, roles: set[Role], home: str, proved: bool, may: bool
) -> None:
    await place.suspended()
    north = await place.tenants.create(place.operator, "north", aet="NORTH")
    somebody = Actor(ActorKind.PERSON, "eve", home=home, roles=frozenset(roles))
    where = place.first if home == "default" else north
    asking = Context(where, somebody, channel="console", stepped_up=proved)
    if may:
        await place.erasing.begin(asking, "clinic", "clinic", WHY)
    else:
        with pytest.raises(Refused):
            await place.erasing.begin(asking, "clinic", "clinic", WHY)
    assert bool(await place.book.erasures()) is may


async def test_r03_who_may_not_see_it_is_told_of_nothing(place: Place) -> None:
    await place.suspended()
    north = await place.tenants.create(place.operator, "north", aet="NORTH")
    for home, where in (("north", north), ("default", place.first)):
        reader = Actor(ActorKind.PERSON, "eve", home=home, roles=frozenset({Role.RADIOLOGIST}))
        said = []
        for name in ("clinic", "nowhere"):
            with pytest.raises(Missing) as gone:
                await place.erasing.prospect(Context(where, reader, channel="console"), name)
            said.append(str(gone.value))
        assert said[0] == said[1]


# --- carrying it out -----------------------------------------------------------------------------------


async def test_everything_of_it_goes_and_nothing_of_another(place: Place) -> None:
    neighbour = await place.tenants.create(place.operator, "clinic-2", aet="CLINIC2")
    await place.people.add(
        operator_context(neighbour, "t"), "cid", name="", roles=[Role.RADIOLOGIST]
    )
    place.put("local/clinic-2/landed/aa/bb/9")
    erasure = await place.begun()
    told = [0, 0]

    def heard(rows: int, objects: int) -> None:
        told[0] += rows
        told[1] += objects

    done = await place.hands.carry_out(place.ours, "clinic", heard)
    assert done.finished is not None
    assert done.gone == told[1] == 5  # two of them entries of its journal
    assert told[0] > 0
    assert place.kept("clinic") == []
    assert [key for key in place.kept("clinic-2") if "landed" in key] == [
        "local/clinic-2/landed/aa/bb/9"
    ]
    assert await place.names() == ["default", "clinic-2"]
    assert [p.login for p in await place.people.list(operator_context(neighbour, "t"))] == ["cid"]
    assert place.runs.forgotten == [erasure.number]
    assert await place.entries() == [("clinic", False), ("clinic", True)]
    with pytest.raises(Missing):
        await place.tenants.known("clinic")
    assert await place.tenants.called("CLINIC") is None
    with pytest.raises(Conflict, match="was erased"):
        await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    south = await place.tenants.create(place.operator, "south", aet="CLINIC")  # titles are free
    assert erasure.number is not None
    assert south.key > erasure.number
    again = await place.hands.carry_out(place.ours, "clinic")
    assert again.finished == done.finished
    assert len(await place.entries()) == 2
    with pytest.raises(Missing):
        await place.hands.carry_out(place.ours, "nowhere")


async def test_a03_its_keys_open_nothing(place: Place) -> None:
    made = await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    key = await place.people.new_key(
        operator_context(made, "t"),
        "k",
        roles=[Role.INTEGRATION],
        scopes=[],
        life=timedelta(days=1),
    )
    assert await place.people._book.bearer(digest(key.secret)) is not None
    await place.tenants.suspend(place.operator, "clinic", WHY)
    await place.erasing.begin(place.operator, "clinic", "clinic", WHY)
    await place.hands.carry_out(place.ours, "clinic")
    assert await place.people._book.bearer(digest(key.secret)) is None


class Killed(BaseException):
    """What no `except Exception` sees."""


@dataclass
class Faulty:
    """A port whose named method dies, once."""

    inner: Any
    method: str
    after: bool
    fired: bool = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if name != self.method:
            return found

        async def dies(*args: Any) -> Any:
            if self.fired:
                return await found(*args)
            self.fired = True
            if self.after:
                await found(*args)
            raise Killed

        async def dies_midway(*args: Any) -> AsyncIterator[Any]:
            async for each in found(*args):
                yield each
                if not self.fired:
                    self.fired = True
                    raise Killed

        return dies_midway if name in ("rows", "erase") else dies


@pytest.mark.parametrize(
    ("port", "method", "after"),
    [
        ("journal", "append", False),
        ("journal", "append", True),
        ("book", "rows", True),
        ("objects", "erase", True),
        ("book", "note", False),
        ("runs", "forget", False),
        ("book", "bury", False),
        ("book", "bury", True),
        ("book", "finish", False),
        ("book", "finish", True),
    ],
)
async def test_d15_killed_anywhere_it_goes_on(
    place: Place, port: str, method: str, after: bool
) -> None:
    await place.begun()
    faulty = Faulty(getattr(place.hands, port), method, after)
    hands = replace(place.hands, **{port: faulty})
    with pytest.raises(Killed):
        await hands.carry_out(place.ours, "clinic")
    assert faulty.fired
    with pytest.raises(Missing):
        await place.tenants.named("clinic")
    with pytest.raises((Conflict, Missing)):
        await place.tenants.resume(place.operator, "clinic")
    with pytest.raises(Conflict):
        await place.tenants.create(place.operator, "clinic", aet="CLINIC")
    done = await place.hands.carry_out(place.ours, "clinic")
    assert done.finished is not None
    assert place.kept("clinic") == []
    assert await place.names() == ["default"]
    assert (await place.entries())[-1] == ("clinic", True)


async def test_one_at_a_time_and_not_while_it_is_written_out(place: Place) -> None:
    clinic = await place.suspended()
    async with place.erasing.exporting(clinic), place.erasing.exporting(clinic) as second:
        assert second  # several may write it out
    erasure = await place.erasing.begin(place.operator, "clinic", "clinic", WHY)
    async with place.book.alone(erasure) as first:
        assert first
        with pytest.raises(Busy):
            await place.hands.carry_out(place.ours, "clinic")
        async with place.erasing.exporting(clinic) as free:
            assert not free
        assert not await place.book.is_exported(clinic)
    async with place.erasing.exporting(clinic):
        with pytest.raises(Busy):
            await place.hands.carry_out(place.ours, "clinic")
    assert place.kept("clinic") != []
    await place.hands.carry_out(place.ours, "clinic")
    assert place.kept("clinic") == []


async def test_what_comes_late_goes_too(place: Place) -> None:
    await place.begun()
    await place.hands.carry_out(place.ours, "clinic")
    assert await place.hands.tidy() == 0
    place.put("local/clinic/pack/aa/bb/7")  # a worker that was cut off
    assert await place.hands.tidy() == 1
    assert place.kept("clinic") == []
    place.put("local/clinic/pack/aa/bb/8")
    later = SystemClock()
    later.now = lambda: datetime.now(UTC) + timedelta(days=2)  # type: ignore[method-assign]
    assert await replace(place.hands, clock=later).tidy() == 0  # nobody looks for ever
    await place.hands.carry_out(place.ours, "clinic")  # but who asks again
    assert place.kept("clinic") == []


# --- after a lost database -----------------------------------------------------------------------------


async def test_b07_what_the_journal_says_is_known_again(place: Place) -> None:
    at = datetime(2026, 11, 30, 12, tzinfo=UTC)
    kept = Figures(3, 5, 900)
    gone = Erasure("old", 40, "local", WHY, "operator:x", at, kept, finished=at)
    north = await place.tenants.create(place.operator, "north", aet="NORTH")
    there = Erasure("north", 41, "local", WHY, "operator:x", at, kept, finished=at)
    taken = Erasure("older", place.first.key, "local", WHY, "operator:x", at, kept, finished=at)
    for each in (gone, there, taken):
        await place.book.restore(each)
        await place.book.restore(replace(each, reason="told twice"))
    known = {erasure.name: erasure for erasure in await place.fresh_book().erasures()}
    assert known["old"] == gone
    # It is there all the same, from an old copy of the database: it goes again, under its number here.
    assert known["north"] == replace(there, number=north.key, finished=None)
    await place.names()
    assert (await place.tenants.known("north")).suspended
    # The number is somebody else's by now: no row of theirs is ever looked at.
    assert known["older"] == replace(taken, number=None)
    for name in known:
        await place.hands.carry_out(place.ours, name)
    assert await place.names() == ["default"]
    south = await place.tenants.create(place.operator, "south", aet="SOUTH")
    assert south.key > 40
