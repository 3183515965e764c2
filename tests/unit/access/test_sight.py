"""Which studies somebody sees: the filter of a search says of every study what Cedar says of it."""

from __future__ import annotations

import itertools
import re
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.access.actions import Action
from lightwell.access.cedar import ABOUT_STUDIES, SCHEMA_TEXT, SHIPPED, checked_policies
from lightwell.access.commit import ChangeSet, CommitCounters, Committed
from lightwell.access.context import Actor, ActorKind, Context, Tenant
from lightwell.access.operation import Act, operation
from lightwell.access.policy import Denial, Rules, decide, look
from lightwell.access.roles import Role
from lightwell.access.sight import (
    EVERYTHING,
    LIMITS,
    NOBODY,
    NOTHING,
    ORDINARY,
    RELATIONS,
    Fact,
    Facts,
    Kind,
    Sight,
    Standing,
    combinations,
    summed_up,
)
from lightwell.kernel.clock import SystemClock
from lightwell.kernel.errors import Invalid, Refused

CLINIC = Tenant(2, "clinic", "Clinic", "CLINIC")
SEE, SEARCH = Action.ARCHIVE_INSTANCE_RETRIEVE, Action.ARCHIVE_STUDY_QUERY
PATIENT = ("HOSP", "P1")


def person(*roles: str, kind: ActorKind = ActorKind.PERSON) -> Actor:
    return Actor(kind, "ada", home="clinic", roles=frozenset(roles))


def context(actor: Actor, opened: frozenset[tuple[str, str]] = frozenset()) -> Context:
    return Context(CLINIC, actor, channel="console", trace="t", opened=opened)


# --- the shipped policies as a table ---------------------------------------------------------------

OWN, TREATED, PRIOR = {Fact.OWN}, {Fact.TREATED}, {Fact.PRIOR}
OPENED, SENSITIVE = {Fact.OPENED}, {Fact.SENSITIVE}
# Of a study within the limits with these facts: what may be done with it, s(earch) and r(etrieve).
TABLE: dict[str, tuple[str, ...]] = {
    #                 none  own  treated prior opened sensitive treated+s. prior+s. opened+s.
    Role.ADMIN:       ("sr", "sr", "sr", "sr", "sr", "sr", "sr", "sr", "sr"),
    Role.PACS_ADMIN:  ("sr", "sr", "sr", "sr", "sr", "", "sr", "", "sr"),
    Role.RADIOLOGIST: ("sr", "sr", "sr", "sr", "sr", "", "sr", "", "sr"),
    Role.TECHNOLOGIST: ("sr", "sr", "sr", "sr", "sr", "", "sr", "", "sr"),
    Role.REFERRER:    ("", "", "sr", "sr", "sr", "", "sr", "", "sr"),
    Role.PATIENT:     ("", "sr", "", "", "", "", "", "", ""),
    Role.RESEARCHER:  ("", "", "", "", "", "", "", "", ""),
    Role.AUDITOR:     ("s", "s", "s", "s", "s", "", "s", "", "s"),
    Role.INTEGRATION: ("sr", "sr", "sr", "sr", "sr", "", "sr", "", "sr"),
    Role.SUPPORT:     ("", "", "", "", "", "", "", "", ""),
}  # fmt: skip
COLUMNS: tuple[set[Fact], ...] = (
    set(), OWN, TREATED, PRIOR, OPENED, SENSITIVE, TREATED | SENSITIVE, PRIOR | SENSITIVE,
    OPENED | SENSITIVE,
)  # fmt: skip


@pytest.mark.parametrize("role", Role)
def test_what_a_role_may_with_which_study(role: Role) -> None:
    for column, expected in zip(COLUMNS, TABLE[role], strict=True):
        may = "".join(
            letter
            for letter, action in (("s", SEARCH), ("r", SEE))
            if decide(context(person(role)), action, study=frozenset(column) | LIMITS).allowed
        )
        assert may == expected, column


@pytest.mark.parametrize("role", Role)
def test_beyond_a_limit_there_is_only_what_one_has_to_do_with(role: Role) -> None:
    for limit in LIMITS:
        for relation in (frozenset(), *(frozenset({fact}) for fact in sorted(RELATIONS))):
            facts = (LIMITS - {limit}) | relation
            within = decide(context(person(role)), SEARCH, study=LIMITS | relation).allowed
            beyond = decide(context(person(role)), SEARCH, study=facts).allowed
            assert beyond == (within and bool(relation - PRIOR)), (limit, relation)


def test_a_program_and_a_machine_are_not_asked_for_what_is_sensitive() -> None:
    facts = ORDINARY | SENSITIVE
    program = person(Role.INTEGRATION, kind=ActorKind.PROGRAM)
    peer = Actor(ActorKind.PEER, "WS1", grants=frozenset({"find", "get"}))
    for actor in (program, peer, Actor(ActorKind.SYSTEM, "work")):
        assert decide(context(actor), SEARCH, study=facts).allowed, actor


# --- from the table to a filter --------------------------------------------------------------------

facts_in = st.frozensets(st.sampled_from(Fact))


@given(st.data())
def test_a_summary_shows_what_it_was_made_of_and_nothing_else(data: Any) -> None:
    varying = data.draw(st.frozensets(st.sampled_from(Fact), max_size=5).map(sorted).map(tuple))
    every = list(combinations(varying))
    seen = data.draw(st.frozensets(st.sampled_from(every)))
    sight = Sight(summed_up(varying, seen))
    assert [facts for facts in every if sight.shows(facts)] == [f for f in every if f in seen]
    assert sight.everything == (len(seen) == len(every))
    assert sight.nothing == (not seen)


def test_a_summary_is_short() -> None:
    varying = (Fact.TREATED, Fact.PRIOR, Fact.SENSITIVE)
    seen = frozenset(f for f in combinations(varying) if Fact.TREATED in f or f == PRIOR)
    kinds = summed_up(varying, seen)
    assert set(kinds) == {
        Kind(frozenset(TREATED)),
        Kind(frozenset(PRIOR), frozenset(SENSITIVE)),
    }


standings = st.builds(
    Standing,
    person=st.just(uuid.UUID(int=7)),
    has=st.frozensets(st.sampled_from([Fact.OWN, Fact.TREATED, Fact.PRIOR])),
    sites=st.sampled_from([frozenset(), frozenset({"North"})]),
    departments=st.sampled_from([frozenset(), frozenset({"Heart"})]),
    modalities=st.sampled_from([frozenset(), frozenset({"CT", "MR"})]),
)
actors = st.one_of(
    st.frozensets(st.sampled_from(Role), min_size=1, max_size=2).map(lambda r: person(*r)),
    st.sampled_from(
        [
            person(Role.INTEGRATION, kind=ActorKind.PROGRAM),
            Actor(ActorKind.PEER, "WS1", grants=frozenset({"find"})),
            Actor(ActorKind.WEB, "unknown"),
            Actor(ActorKind.OPERATOR, "root"),
        ]
    ),
)
conditions = st.recursive(
    st.sampled_from(Fact).map(lambda fact: f"resource.{fact}")
    | st.sampled_from(['context.network == "unknown"', "resource.demo", "context.steppedUp"]),
    lambda inner: (
        inner.map(lambda one: f"!({one})")
        | st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(
            lambda three: f"({' '.join(three)})"
        )
    ),
    max_leaves=5,
)
own_policies = st.lists(
    st.tuples(
        st.sampled_from(["permit", "forbid"]),
        st.sampled_from(["principal", "principal is Person", 'principal in Role::"patient"']),
        st.sampled_from(["action", 'action in Action::"search"', 'action in [Action::"see"]']),
        conditions,
    ),
    max_size=3,
)


@given(
    actor=actors,
    standing=standings,
    action=st.sampled_from([SEE, SEARCH, Action.ARCHIVE_STATISTICS_READ]),
    policies=own_policies,
    sensitive=st.booleans(),
    opened=st.booleans(),
    drawn=st.lists(facts_in, min_size=1, max_size=8),
)
def test_a_sight_shows_exactly_the_studies_that_cedar_allows(
    actor: Actor,
    standing: Standing,
    action: Action,
    policies: list[tuple[str, str, str, str]],
    sensitive: bool,
    opened: bool,
    drawn: list[Facts],
) -> None:
    """One source: for any policies of a tenant, and any study there can be for somebody who stands so."""
    texts = [
        f'@id("p{n}") @reason("r") {effect} ({who}, {what}, resource is Study) when {{ {when} }};'
        for n, (effect, who, what, when) in enumerate(policies)
    ]
    for text in texts:
        checked_policies(text)
    rules = Rules(policies=SHIPPED.with_texts(texts), sensitive=sensitive)
    asked = context(actor, frozenset({PATIENT}) if opened else frozenset())
    decision, sight = look(asked, action, rules, standing)
    possible = set(sight.standing.varying(sensitive=sensitive))
    for facts in drawn:
        study = (facts & possible) | (LIMITS - possible)
        allowed = decide(asked, action, rules, study).allowed
        assert sight.shows(study) == allowed
        assert decision.allowed or not allowed


def test_whoever_sees_everything_is_asked_about_once_and_filtered_not_at_all() -> None:
    for actor in (
        person(Role.RADIOLOGIST),
        Actor(ActorKind.OPERATOR, "root"),
        Actor(ActorKind.SYSTEM, "w"),
    ):
        _, sight = look(context(actor), SEARCH)
        assert sight.everything
        assert sight.standing.varying(sensitive=False) == ()


def test_refused_is_whom_no_relation_would_help_and_nobody_else() -> None:
    for role, may in (
        (Role.PATIENT, True),
        (Role.REFERRER, True),
        (Role.RESEARCHER, False),
        (Role.SUPPORT, False),
    ):
        decision, sight = look(context(person(role)), SEARCH)
        assert (decision.allowed, sight.nothing) == (may, True), role
    decision, _ = look(context(person(Role.SUPPORT)), SEARCH)
    assert decision.reason == "the tenant has not let support in"
    denied = Rules((Denial("person:ada", "archive:*", "on leave"),))
    decision, sight = look(context(person(Role.ADMIN)), SEARCH, denied)
    assert (decision.reason, sight.nothing) == ("on leave", True)


def test_what_was_opened_in_an_emergency_is_seen_and_says_so() -> None:
    referrer = context(person(Role.REFERRER), frozenset({PATIENT}))
    decision, sight = look(referrer, SEE)
    assert (decision.reason, sight.kinds) == (
        "opened in an emergency",
        (Kind(frozenset({Fact.OPENED})),),
    )
    assert sight.standing.opened == {PATIENT}
    patient = context(person(Role.PATIENT), frozenset({PATIENT}))
    assert look(patient, SEE)[1].nothing


# --- what a policy may say of a study --------------------------------------------------------------


def test_the_schema_knows_a_study_by_the_facts_and_its_tenant() -> None:
    inside = re.search(r"entity Study in \[Tenant\] \{(.*?)\n\}", SCHEMA_TEXT, re.DOTALL)
    assert inside is not None
    named = re.findall(r"(\w+): Bool", inside[1])
    assert named == ["demo", "suspended", "consent", *(str(fact) for fact in Fact)]


def test_the_actions_about_studies_are_those_of_the_archive_that_name_or_count_some() -> None:
    assert {
        Action.ARCHIVE_ASIDE_LIST,
        Action.ARCHIVE_INSTANCE_RETRIEVE,
        Action.ARCHIVE_STATISTICS_READ,
        Action.ARCHIVE_STUDY_CORRECT,
        Action.ARCHIVE_STUDY_QUERY,
        Action.ARCHIVE_STUDY_RECALL,
        Action.ARCHIVE_STUDY_REJECT,
        Action.ARCHIVE_STUDY_RESTORE,
        Action.ARCHIVE_STUDY_UNDO,
    } == ABOUT_STUDIES


@pytest.mark.parametrize(
    "condition",
    [
        'resource.site == "North"',
        'resource.modalities.contains("CT")',
        'resource.patient == "P1"',
        "resource.size > 5",
        'resource.description like "*heart*"',
    ],
)
def test_a_policy_that_cannot_be_a_filter_is_refused_when_it_is_written(condition: str) -> None:
    text = (
        '@id("x") @reason("r") forbid (principal, action in Action::"search", resource is Study)'
        f" when {{ {condition} }};"
    )
    with pytest.raises(Invalid, match=r"does not fit the schema.*attribute"):
        checked_policies(text)


# --- at the door of a room -------------------------------------------------------------------------


class Recorded:
    """A committer that keeps what it is told."""

    def __init__(self) -> None:
        self.counters = CommitCounters()
        self.noted: list[ChangeSet] = []

    async def commit(self, change: ChangeSet) -> Committed:
        raise AssertionError("nothing is written here")

    def note(self, change: ChangeSet) -> None:
        self.noted.append(change)


class Book:
    """A `PolicySource` of one person."""

    def __init__(self, standing: Standing = NOBODY) -> None:
        self.whose = standing
        self.asked = 0

    async def in_force(self, tenant: Tenant) -> Rules:
        return Rules()

    async def standing(self, tenant: Tenant, actor: Actor) -> Standing:
        self.asked += 1
        return self.whose


class Room:
    """Two ways to answer a search."""

    def __init__(self, book: Book) -> None:
        self.policy = book
        self.committer: Any = Recorded()
        self.clock = SystemClock()

    @operation(SEARCH)
    async def filtered(self, act: Act) -> Sight:
        return act.sight

    @operation(SEARCH)
    async def forgetful(self, act: Act) -> str:
        return "everybody's studies"


async def test_an_answer_without_its_filter_is_a_bug_and_goes_nowhere() -> None:
    room = Room(Book())
    assert await room.filtered(context(person(Role.REFERRER))) == NOTHING
    with pytest.raises(RuntimeError, match="without its filter"):
        await room.forgetful(context(person(Role.REFERRER)))
    assert await room.forgetful(context(person(Role.RADIOLOGIST))) == "everybody's studies"
    with pytest.raises(Refused):
        await room.filtered(context(person(Role.RESEARCHER)))


async def test_only_people_have_a_standing_that_is_read() -> None:
    book = Book(Standing(uuid.UUID(int=1), frozenset({Fact.OWN})))
    room = Room(book)
    for actor in (
        Actor(ActorKind.OPERATOR, "root"),
        person(Role.INTEGRATION, kind=ActorKind.PROGRAM),
    ):
        assert await room.filtered(context(actor)) == EVERYTHING
    assert book.asked == 0
    sight = await room.filtered(context(person(Role.PATIENT)))
    assert (sight.kinds, book.asked) == ((Kind(frozenset({Fact.OWN})),), 1)


def test_every_set_of_facts_comes_once() -> None:
    listed = list(combinations(sorted(RELATIONS)))
    assert len(listed) == len(set(listed)) == 16
    assert set(itertools.chain(*listed)) == RELATIONS
