"""One suite for what somebody sees, in memory and on PostgreSQL. Nothing here knows which it is.

Studies of every sort and people of every sort, drawn with a seed; what each of them sees is worked out from
the table of what was made, by the words of `access/sight.py`, and compared with what the index says.
"""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from lightwell.access.actions import Action
from lightwell.access.audit import AuditRecord, Outcome
from lightwell.access.commit import ChangeSet, Committer
from lightwell.access.context import Actor, ActorKind, Context, Tenant, operator_context
from lightwell.access.operation import permit
from lightwell.access.policy import decide, look
from lightwell.access.ports import PolicySource
from lightwell.access.roles import Role
from lightwell.access.sight import (
    EVERYTHING,
    NOBODY,
    NOTHING,
    Fact,
    Facts,
    Kind,
    Sight,
    Standing,
)
from lightwell.backends.database.people import PostgresPeople
from lightwell.backends.identity.hashing import Argon2Hasher
from lightwell.backends.memory.committer import MemoryCommitter
from lightwell.backends.memory.index import MemoryIndex
from lightwell.backends.memory.people import MemoryPeople, MemoryPolicy
from lightwell.backends.memory.tables import MemoryDatabase
from lightwell.domain.archive.finding import build_query
from lightwell.domain.archive.keys import blob_key
from lightwell.domain.archive.model import (
    ArrivalRow,
    Described,
    InstanceFacts,
    Landed,
    Level,
    QCRow,
    SensitiveRow,
    Target,
)
from lightwell.domain.archive.ports import Index
from lightwell.domain.patients.model import PatientFacts
from lightwell.domain.people.api import People
from lightwell.domain.people.model import Limit, RelationKind
from lightwell.domain.people.relations_api import Relations
from lightwell.kernel.clock import SystemClock
from lightwell.kernel.errors import Invalid, Missing, Refused

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SEARCH, SEE = Action.ARCHIVE_STUDY_QUERY, Action.ARCHIVE_INSTANCE_RETRIEVE
CODES = ("D1", "D2")
SITES, DEPARTMENTS, MODALITIES = ("North", "South", ""), ("Heart", "Eye", ""), ("CT", "MR", "US")
CT = "1.2.840.10008.5.1.4.1.1.2"


RECORD = AuditRecord(
    at=NOON,
    actor="system:test",
    action=Action.ARCHIVE_INSTANCE_STORE,
    outcome=Outcome.DONE,
    channel="test",
    origin="",
    purpose="operations",
    trace="0",
)


def el(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": [v for v in values if v]}


@dataclass(frozen=True)
class A:
    """One study to be, of one series with one image."""

    uid: str
    pid: str = "P1"
    issuer: str = "HOSP"
    site: str = "North"
    department: str = "Heart"
    modality: str = "CT"
    code: str = ""
    sensitive: bool = False
    date: str = "20260101"

    @property
    def sop(self) -> str:
        return f"{self.uid}.1.1"

    def _described(self) -> Described:
        study: dict[str, Any] = {
            "0020000D": el("UI", self.uid),
            "00080020": el("DA", self.date),
            "00080080": el("LO", self.site),
        }
        if self.code:
            named = {"00080100": el("SH", self.code), "00080102": el("SH", "99H")}
            study["00080096"] = el("SQ", {"00401101": el("SQ", named)})
        return Described(
            patient=PatientFacts(self.issuer, self.pid, f"Doe^{self.pid}", "19700101", "F"),
            instance=InstanceFacts(
                sop_class=CT,
                sop_uid=self.sop,
                study_uid=self.uid,
                series_uid=f"{self.uid}.1",
                syntax="1.2.840.10008.1.2.1",
                number=1,
            ),
            patient_attributes={
                "00100010": {"vr": "PN", "Value": [{"Alphabetic": f"Doe^{self.pid}"}]},
                "00100020": el("LO", self.pid),
            },
            study_attributes=study,
            series_attributes={
                "0020000E": el("UI", f"{self.uid}.1"),
                "00080060": el("CS", self.modality),
                "00081040": el("LO", self.department),
            },
            digest=hashlib.sha256(repr(self).encode()).digest()[:16],
        )

    def _landed(self, tenant: Tenant, salt: str = "") -> Landed:
        blob = uuid.uuid5(uuid.NAMESPACE_OID, f"{tenant.name}{self.sop}{salt}")
        return Landed(
            blob_id=blob,
            key=blob_key(tenant.region, tenant.name, "landed", blob),
            offset=0,
            length=1000,
            data_offset=400,
            sha256=hashlib.sha256((self.sop + salt).encode()).digest(),
            crc32c=7,
        )

    def row(self, tenant: Tenant) -> ArrivalRow:
        described = self._described()
        return ArrivalRow(
            described.patient, described, self._landed(tenant), NOON, "dimse:CT1", False
        )

    def held(self, tenant: Tenant) -> QCRow:
        """Another object that says it is of this study."""
        described = self._described()
        facts = replace(described.instance, sop_uid=f"{self.uid}.1.9")
        return QCRow(
            kind="held",
            reason="patient-contradicts",
            landed=self._landed(tenant, "held"),
            received=NOON,
            source="dimse:CT1",
            patient=described.patient,
            instance=facts,
            sop_uid=facts.sop_uid,
        )


@dataclass
class Place:
    """Rooms and ports over one backend."""

    tenant: Tenant
    other: Tenant
    index: Index
    committer: Committer
    people: People
    relations: Relations
    policy: PolicySource
    forget: Any
    studies: list[A] = field(default_factory=list)

    @property
    def operator(self) -> Context:
        return operator_context(self.tenant, "test")

    async def put(self, *studies: A) -> None:
        for study in studies:
            self.studies.append(study)
            rows: list[object] = [study.row(self.tenant)]
            if study.sensitive:
                rows.append(SensitiveRow(study.uid, "a celebrity", "test", NOON))
            for row in rows:
                await self.commit(row)
        self.forget()

    async def commit(self, row: object) -> None:
        await self.committer.commit(ChangeSet(self.tenant, (row,), (), (RECORD,)))

    def who(self, login: str, *roles: str) -> Context:
        actor = Actor(ActorKind.PERSON, login, home=self.tenant.name, roles=frozenset(roles))
        return Context(self.tenant, actor, channel="console", trace="t")

    async def sight(self, context: Context, action: Action = SEARCH) -> Sight:
        standing = await self.policy.standing(self.tenant, context.actor)
        return look(context, action, await self.policy.in_force(self.tenant), standing)[1]

    async def seen(self, sight: Sight, level: Level = Level.STUDY, **options: Any) -> list[Any]:
        found, cursor = [], None
        while True:
            query = build_query(level, (), limit=options.pop("limit", 7), cursor=cursor, **options)
            page = await self.index.find(self.tenant, query, sight)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    async def uids(self, sight: Sight) -> set[str]:
        return {found.study_uid for found in await self.seen(sight)}


@pytest.fixture(params=["memory", "database"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    clock, hasher = SystemClock(), Argon2Hasher(memory_kib=64, passes=1)
    if request.param == "memory":
        database = MemoryDatabase()
        one, two = Tenant(1, "default", "D", "D"), Tenant(2, "clinic", "C", "C")
        policy, book, committer = (
            MemoryPolicy(database), MemoryPeople(database), MemoryCommitter(database)
        )  # fmt: skip
        yield Place(
            one, two, MemoryIndex(database), committer,
            People(book, hasher, policy, committer, clock),
            Relations(book, policy, committer, clock), policy, lambda: None,
        )  # fmt: skip
        return
    house = request.getfixturevalue("installation").open()
    try:
        first = await house.tenants.named()
        other = await house.tenants.create(house.operator(first), "clinic", aet="CLINIC")
        yield Place(
            first, other, house.index, house.committer, house.people,
            Relations(PostgresPeople(house.database), house.policy, house.committer, clock),
            house.policy, house.policy.forget,
        )  # fmt: skip
    finally:
        await house.close()


# --- everybody and every study ---------------------------------------------------------------------


@dataclass
class Someone:
    """An account, as drawn."""

    login: str
    roles: frozenset[str]
    relations: set[tuple[RelationKind, str, str]]
    limits: dict[Limit, frozenset[str]]
    opened: frozenset[tuple[str, str]]

    def _by_itself(self, study: A) -> bool:
        return (RelationKind.TREATS_STUDY, study.uid, "") in self.relations or (
            (RelationKind.REFERS_AS, study.code, "99H") in self.relations
        )

    def _within(self, limit: Limit, value: str) -> bool:
        return value in self.limits.get(limit, {value})

    def facts(self, study: A, everyone: list[A]) -> Facts:
        """The definitions of `Fact`, word by word."""
        patient = (study.pid, study.issuer)
        siblings = [one for one in everyone if (one.pid, one.issuer) == patient]
        is_so = {
            Fact.OWN: (RelationKind.IS, *patient) in self.relations,
            Fact.TREATED: (RelationKind.TREATS, *patient) in self.relations
            or self._by_itself(study),
            Fact.PRIOR: any(map(self._by_itself, siblings)),
            Fact.OPENED: (study.issuer, study.pid) in self.opened,
            Fact.SENSITIVE: study.sensitive,
            Fact.IN_SITES: self._within(Limit.SITE, study.site),
            Fact.IN_DEPARTMENTS: self._within(Limit.DEPARTMENT, study.department),
            Fact.IN_MODALITIES: self._within(Limit.MODALITY, study.modality),
            Fact.IN_WINDOW: True,  # a limit of machines
        }
        return frozenset(fact for fact in Fact if is_so[fact])


def drawn_studies(dice: random.Random) -> list[A]:
    return [
        A(
            uid=f"1.2.{number}",
            pid=f"P{dice.randrange(4)}",
            issuer=dice.choice(["HOSP", "OTHER"]),
            site=dice.choice(SITES),
            department=dice.choice(DEPARTMENTS),
            modality=dice.choice(MODALITIES),
            code=dice.choice(["", "", *CODES]),
            sensitive=dice.random() < 0.15,
            date=f"202601{dice.randrange(1, 29):02}",
        )
        for number in range(1, 25)
    ]


def drawn_someone(dice: random.Random, number: int, studies: list[A]) -> Someone:
    relations: set[tuple[RelationKind, str, str]] = set()
    for kind in RelationKind:
        for _ in range(dice.choice([0, 0, 1, 2])):
            study = dice.choice(studies)
            named = {
                RelationKind.TREATS_STUDY: (study.uid, ""),
                RelationKind.REFERS_AS: (dice.choice(CODES), "99H"),
            }.get(kind, (study.pid, study.issuer))
            relations.add((kind, *named))
    limits: dict[Limit, frozenset[str]] = {}
    for limit, values in (
        (Limit.SITE, SITES), (Limit.DEPARTMENT, DEPARTMENTS), (Limit.MODALITY, MODALITIES)
    ):  # fmt: skip
        if dice.random() < 0.3:
            limits[limit] = frozenset(dice.sample([v for v in values if v], dice.choice([1, 2])))
    opened = frozenset(
        (s.issuer, s.pid) for s in dice.sample(studies, dice.choice([0, 0, 1]))
    )  # fmt: skip
    roles = frozenset(dice.sample(sorted(Role), dice.choice([1, 1, 2])))
    return Someone(f"someone{number}", roles, relations, limits, opened)


async def enter(place: Place, someone: Someone) -> None:
    await place.people.add(place.operator, someone.login, roles=someone.roles)
    for kind, name, issuer in someone.relations:
        await place.relations.relate(place.operator, someone.login, kind, name, issuer)
    for limit, values in someone.limits.items():
        await place.relations.limit(place.operator, someone.login, limit, values)


async def test_everybody_sees_exactly_what_cedar_allows_at_every_exit(place: Place) -> None:
    dice = random.Random(20260102)
    studies = drawn_studies(dice)
    await place.put(*studies)
    await keep_aside(place, studies)
    counts = []
    for number in range(40):
        someone = drawn_someone(dice, number, studies)
        await enter(place, someone)
        place.forget()
        context = replace(place.who(someone.login, *someone.roles), opened=someone.opened)
        standing = await place.policy.standing(place.tenant, context.actor)
        rules = await place.policy.in_force(place.tenant)
        sight = look(context, SEARCH, rules, standing)[1]
        told = replace(standing, opened=someone.opened)
        expected = set()
        for study in studies:
            facts = someone.facts(study, studies)
            assert await place.index.facts(place.tenant, study.uid, told) == facts, study
            if decide(context, SEARCH, rules, facts).allowed:
                expected.add(study.uid)
        counts.append(len(expected))
        await agrees_everywhere(place, sight, [s for s in studies if s.uid in expected])
    # The dice have drawn people of every sort.
    assert {0, len(studies)} < set(counts)
    assert len(set(counts)) > 8


@pytest.mark.parametrize("days", [0, 36_500])
async def test_a_plain_machine_sees_its_site_at_every_exit(place: Place, days: int) -> None:
    studies = drawn_studies(random.Random(11))
    await place.put(*studies)
    await keep_aside(place, studies)
    machine = Actor(
        ActorKind.PEER, "WS1", grants=frozenset({"find"}), site="North", confined=True, days=days
    )
    sight = await sight_of(place, machine)
    await agrees_everywhere(place, sight, [study for study in studies if study.site == "North"])


async def test_what_came_before_a_window_is_beyond_it(place: Place) -> None:
    studies = drawn_studies(random.Random(12))
    await place.put(*studies)
    await keep_aside(place, studies)
    to_come = Standing(since=datetime(2100, 1, 1, tzinfo=UTC))
    long_ago = Standing(since=datetime(2000, 1, 1, tzinfo=UTC))
    within = Kind(frozenset({Fact.IN_WINDOW}))
    await agrees_everywhere(place, Sight((within,), to_come), [])
    await agrees_everywhere(place, Sight((within,), long_ago), studies)


async def test_whoever_a_machine_speaks_for_sees_what_both_see(place: Place) -> None:
    """The limits of the machine do not give way to whose patients they are."""
    dice = random.Random(13)
    studies = drawn_studies(dice)
    await place.put(*studies)
    await keep_aside(place, studies)
    counts = []
    for number in range(20):
        someone = drawn_someone(dice, number, studies)
        await enter(place, someone)
        place.forget()
        site = dice.choice(["North", "South"])
        machine = Actor(
            ActorKind.PEER, "WS1", grants=frozenset({"find"}), site=site, confined=True, days=36_500
        )
        person = place.who(someone.login, *someone.roles).actor
        alone = await sight_of(place, person)
        theirs = await place.uids(alone)
        together = await sight_of(place, replace(person, via=machine))
        seen = [study for study in studies if study.uid in theirs and study.site == site]
        counts.append((len(theirs), len(seen)))
        if theirs:
            await agrees_everywhere(place, together, seen)
    assert len(set(counts)) > 5


async def keep_aside(place: Place, studies: list[A]) -> None:
    """Another object of each of the first six, which nobody has judged yet."""
    for study in studies[:6]:
        await place.commit(study.held(place.tenant))


async def sight_of(place: Place, actor: Actor) -> Sight:
    """As every front door gets it; nothing for whom policy refuses altogether."""
    room = _Door(place.policy, place.committer, SystemClock())
    try:
        return await permit(room, Context(place.tenant, actor, channel="dimse"), SEARCH)
    except Refused:
        return NOTHING


@dataclass
class _Door:
    policy: PolicySource
    committer: Committer
    clock: SystemClock


async def agrees_everywhere(place: Place, sight: Sight, seen: list[A]) -> None:
    """Lists at every level, places, counts, totals and what is kept aside are of these studies."""
    uids = {study.uid for study in seen}
    patients = {(study.issuer, study.pid) for study in seen}
    assert await place.uids(sight) == uids
    for level in (Level.SERIES, Level.INSTANCE):
        assert {found.study_uid for found in await place.seen(sight, level)} == uids
    listed = await place.seen(sight, Level.PATIENT, include=(0x00201200,), limit=3)
    assert {(found.issuer, found.pid) for found in listed} == patients
    for found in listed:  # Number of Patient Related Studies
        mine = [s for s in seen if (s.issuer, s.pid) == (found.issuer, found.pid)]
        assert found.attributes["00201200"]["Value"] == [len(mine)]
    for study in place.studies:
        found, version = await place.index.locate(place.tenant, study.uid, None, None, sight)
        assert (len(found), bool(version)) == ((1, True) if study.uid in uids else (0, False))
        for target in (
            Target(Level.STUDY, study.uid),
            Target(Level.SERIES, study.uid, f"{study.uid}.1"),
            Target(Level.INSTANCE, study.uid, f"{study.uid}.1", study.sop),
        ):
            assert await place.index.sees(place.tenant, target, sight) == (study.uid in uids)
        whose = Target(Level.PATIENT, issuer=study.issuer, pid=study.pid)
        expected = (study.issuer, study.pid) in patients
        assert await place.index.sees(place.tenant, whose, sight) == expected
    totals = await place.index.totals(place.tenant, sight)
    aside = await place.index.aside(place.tenant, 100, sight)
    held = {study.uid for study in place.studies[:6]} & uids
    assert {item.study_uid for item in aside} == held
    assert (totals.patients, totals.studies, totals.series, totals.instances, totals.held) == (
        len(patients), len(uids), len(uids), len(uids), len(held)
    )  # fmt: skip
    modalities = [study.modality for study in seen]
    assert totals.by_modality == {name: modalities.count(name) for name in set(modalities)}


async def test_a_search_within_a_sight_finds_by_every_key_and_in_every_order(place: Place) -> None:
    await place.put(
        A("1.2.1", "P1", date="20260101"),
        A("1.2.2", "P2", date="20260102"),
        A("1.2.3", "P1", date="20260103", modality="MR"),
    )
    await place.people.add(place.operator, "ada", roles=["referrer"])
    await place.relations.relate(place.operator, "ada", RelationKind.TREATS, "P1", "HOSP")
    place.forget()
    sight = await place.sight(place.who("ada", "referrer"))

    async def found(*keys: Any, **options: Any) -> list[str]:
        query = build_query(Level.STUDY, keys, **options)
        return [f.study_uid for f in (await place.index.find(place.tenant, query, sight)).items]

    assert await found() == ["1.2.3", "1.2.1"]
    assert await found(order="StudyDate") == ["1.2.1", "1.2.3"]
    assert await found(order="PatientName", limit=1) == ["1.2.3"]
    assert await found(offset=1) == ["1.2.1"]
    assert await found(((0x00100010,), None, "doe*")) == ["1.2.3", "1.2.1"]
    assert await found(((0x00100020,), None, "P2")) == []
    assert await found(((0x00080061,), None, "MR")) == ["1.2.3"]
    assert await found(study_uids=("1.2.2",)) == []
    assert await found(text="doe") == ["1.2.3", "1.2.1"]
    assert await found(text="p2") == []


# --- relations ---------------------------------------------------------------------------------------


async def test_relations_are_recorded_once_shown_and_taken_back(place: Place) -> None:
    await place.put(A("1.2.1", "P1"), A("1.2.2", "P2", code="D1"))
    await place.people.add(place.operator, "ada", roles=["referrer"])
    ada = place.who("ada", "referrer")
    assert await place.sight(ada) == replace(NOTHING, standing=(await place.sight(ada)).standing)
    for _ in range(2):
        await place.relations.relate(place.operator, "ada", RelationKind.TREATS_STUDY, "1.2.1")
    await place.relations.relate(place.operator, "ADA ", RelationKind.REFERS_AS, "D1", "99H")
    stands = await place.relations.of(place.operator, "ada")
    assert [(r.kind, r.name, r.issuer) for r in stands.relations] == [
        ("refers-as", "D1", "99H"),
        ("treats-study", "1.2.1", ""),
    ]
    place.forget()
    assert await place.uids(await place.sight(ada)) == {"1.2.1", "1.2.2"}
    await place.relations.unrelate(place.operator, "ada", RelationKind.REFERS_AS, "D1", "99H")
    place.forget()
    assert await place.uids(await place.sight(ada)) == {"1.2.1"}
    with pytest.raises(Missing):
        await place.relations.unrelate(place.operator, "ada", RelationKind.REFERS_AS, "D1", "99H")
    with pytest.raises(Missing):
        await place.relations.relate(place.operator, "nobody", RelationKind.TREATS, "P1", "HOSP")


async def test_limits_are_laid_on_and_lifted(place: Place) -> None:
    await place.put(A("1.2.1", site="North"), A("1.2.2", site="South", modality="MR"))
    await place.people.add(place.operator, "ada", roles=["radiologist"])
    ada = place.who("ada", "radiologist")
    assert (await place.sight(ada)).everything
    await place.relations.limit(place.operator, "ada", Limit.SITE, ["North", "West"])
    place.forget()
    assert await place.uids(await place.sight(ada)) == {"1.2.1"}
    await place.relations.limit(place.operator, "ada", Limit.MODALITY, ["MR"])
    place.forget()
    assert await place.uids(await place.sight(ada)) == set()
    await place.relations.limit(place.operator, "ada", Limit.SITE, [])
    stands = await place.relations.of(place.operator, "ada")
    assert stands.limits == {Limit.MODALITY: {"MR"}}
    place.forget()
    assert await place.uids(await place.sight(ada)) == {"1.2.2"}


async def test_a_mark_of_sensitivity_is_of_its_tenant_and_ends(place: Place) -> None:
    await place.put(A("1.2.1", sensitive=True), A("1.2.2"))
    reader = place.who("ada", "radiologist")
    assert await place.uids(await place.sight(reader)) == {"1.2.2"}
    assert not (await place.policy.in_force(place.other)).sensitive
    gone = SensitiveRow("1.2.1", "over", "test", NOON, gone=True)
    await place.commit(gone)
    place.forget()
    assert (await place.sight(reader)).everything


async def test_nobody_relates_themselves_or_what_cannot_be(place: Place) -> None:
    await place.people.add(place.operator, "boss", roles=["admin"])
    boss = replace(place.who("boss", "admin"), stepped_up=True)
    with pytest.raises(Refused, match="Nobody"):
        await place.relations.relate(boss, "boss", RelationKind.TREATS, "P1", "HOSP")
    with pytest.raises(Refused, match="Nobody"):
        await place.relations.limit(boss, "boss", Limit.SITE, [])
    for kind, name, issuer in (
        (RelationKind.TREATS, "", "HOSP"),
        (RelationKind.TREATS, "P\\1", "HOSP"),
        (RelationKind.TREATS, "P\n1", "HOSP"),
        (RelationKind.TREATS, "P" * 101, "HOSP"),
        (RelationKind.TREATS_STUDY, "1.2", "HOSP"),
        (RelationKind.REFERS_AS, "D1", ""),
    ):
        with pytest.raises(Invalid):
            await place.relations.relate(place.operator, "boss", kind, name, issuer)
    with pytest.raises(Invalid):
        await place.relations.limit(place.operator, "boss", Limit.SITE, ["a", " "])


async def test_r02_the_same_login_elsewhere_stands_nowhere(place: Place) -> None:
    await place.put(A("1.2.1"))
    await place.people.add(place.operator, "ada", roles=["referrer"])
    await place.relations.relate(place.operator, "ada", RelationKind.TREATS, "P1", "HOSP")
    place.forget()
    elsewhere = operator_context(place.other, "test")
    await place.people.add(elsewhere, "ada", roles=["referrer"])
    actor = Actor(ActorKind.PERSON, "ada", home=place.other.name, roles=frozenset({"referrer"}))
    assert await place.policy.standing(place.tenant, actor) == NOBODY
    assert not (await place.policy.standing(place.other, actor)).has
    link = Actor(
        ActorKind.PERSON, "ada", home=place.tenant.name, roles=frozenset({"referrer"}),
        session=str(uuid.uuid4()),
    )  # fmt: skip
    assert await place.policy.standing(place.tenant, link) == NOBODY, "a session that is nobody's"
    assert await place.index.facts(place.other, "1.2.1", NOBODY) is None
    assert await place.index.locate(place.other, "1.2.1", None, None, EVERYTHING) == ([], "")
