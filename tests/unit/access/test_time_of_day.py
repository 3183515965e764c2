"""Policies that look at the time of day: whose hour it is, how long an answer is good, what others pay."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest

from lightwell.access import policy
from lightwell.access.actions import Action
from lightwell.access.cedar import SHIPPED, Answer, PolicySet, Question
from lightwell.access.context import Actor, ActorKind, Context, Purpose, Tenant
from lightwell.access.local_time import TIMES, instant_said, moment_ends, moment_of
from lightwell.access.policy import Rules, decide, holds_until, look, question_of, weigh
from lightwell.access.roles import Role
from lightwell.kernel.errors import Invalid

BERLIN, NEW_YORK, KOLKATA, AUCKLAND = (
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Pacific/Auckland",
)
SEARCH, SEE = Action.ARCHIVE_STUDY_QUERY, Action.ARCHIVE_INSTANCE_RETRIEVE

# As in docs/operate/policies.md.
BY_DAY = """
@id("technologists-by-day") @reason("technologists work here from 6 to 20 on weekdays")
forbid (
  principal in Role::"technologist",
  action in [Action::"see", Action::"search", Action::"ingest", Action::"correct"],
  resource
)
unless {
  (context.weekday <= 5 && context.hour >= 6 && context.hour < 20) || context.purpose == "emergency"
};
"""
TO_THE_MINUTE = """
@id("lunch") @reason("nobody searches from 12:30 to 13:15")
forbid (principal is Person, action in Action::"search", resource)
when { context.minuteOfDay >= 12 * 60 + 30 && context.minuteOfDay < 13 * 60 + 15 };
"""


def rules(*texts: str) -> Rules:
    return Rules(policies=SHIPPED.with_texts(texts))


def who(*roles: str, zone: str = BERLIN, purpose: Purpose = Purpose.TREATMENT) -> Context:
    actor = Actor(ActorKind.PERSON, "ada", home="clinic", roles=frozenset(roles))
    tenant = Tenant(2, "clinic", "Clinic", "CLINIC", zone=zone)
    return Context(tenant, actor, channel="console", origin="10.0.0.7", purpose=purpose, trace="t")


def at(text: str) -> datetime:
    """An instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- what time it is -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instant", "zone", "weekday", "hour", "minute"),
    [
        ("2026-01-05T05:59:59", BERLIN, 1, 6, 59),
        ("2026-07-06T05:59", BERLIN, 1, 7, 59),  # summer
        ("2026-01-04T23:00", BERLIN, 1, 0, 0),  # Monday there, Sunday in UTC
        ("2026-01-04T22:59", BERLIN, 7, 23, 59),
        ("2026-01-05T03:00", NEW_YORK, 7, 22, 0),
        ("2026-01-05T03:00", KOLKATA, 1, 8, 30),
        ("2026-01-09T11:30", AUCKLAND, 6, 0, 30),
        ("2026-02-28T23:30", "UTC", 6, 23, 30),
        # Clocks go from 02:00 to 03:00 …
        ("2026-03-29T00:59:59", BERLIN, 7, 1, 59),
        ("2026-03-29T01:00", BERLIN, 7, 3, 0),
        # … and from 03:00 back to 02:00: this hour comes twice.
        ("2026-10-25T00:30", BERLIN, 7, 2, 30),
        ("2026-10-25T01:30", BERLIN, 7, 2, 30),
        ("2026-10-25T02:00", BERLIN, 7, 3, 0),
        # By half an hour (Lord Howe Island).
        ("2026-04-04T14:59", "Australia/Lord_Howe", 7, 1, 59),
        ("2026-04-04T15:00", "Australia/Lord_Howe", 7, 1, 30),
    ],
)
def test_the_time_of_day_where_a_tenant_is(
    instant: str, zone: str, weekday: int, hour: int, minute: int
) -> None:
    found = dict(moment_of(at(instant), zone))
    assert found == {"weekday": weekday, "hour": hour, "minuteOfDay": hour * 60 + minute}


def test_only_what_is_asked_for_is_told() -> None:
    now = at("2026-01-05T05:59")
    assert moment_of(now, BERLIN, {"hour"}) == (("hour", 6),)
    assert moment_of(now, BERLIN, ()) == ()
    assert moment_of(now, "Europe/Atlantis") == ()


def test_without_a_zone_it_is_the_machines() -> None:
    local = at("2026-01-05T05:59").astimezone()
    assert dict(moment_of(at("2026-01-05T05:59"), ""))["hour"] == local.hour


@pytest.mark.parametrize(
    ("instant", "zone", "asked", "ends"),
    [
        ("2026-01-05T05:59:12.5", BERLIN, {"hour"}, "2026-01-05T06:00"),
        ("2026-01-05T05:59:12.5", BERLIN, {"hour", "minuteOfDay"}, "2026-01-05T06:00"),
        ("2026-01-05T05:07:12.5", BERLIN, {"minuteOfDay"}, "2026-01-05T05:08"),
        ("2026-01-05T05:00", BERLIN, {"weekday"}, "2026-01-05T06:00"),
        ("2026-01-05T03:10", KOLKATA, {"hour"}, "2026-01-05T03:30"),
        ("2026-04-04T14:40", "Australia/Lord_Howe", {"hour"}, "2026-04-04T15:00"),
    ],
)
def test_how_long_it_stays(instant: str, zone: str, asked: set[str], ends: str) -> None:
    assert moment_ends(at(instant), zone, asked) == at(ends)


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, KOLKATA, AUCKLAND, "Australia/Lord_Howe"])
def test_until_then_nothing_of_it_is_another(zone: str) -> None:
    """Through a year, over every change of the clocks."""
    draw = random.Random(5)
    for _ in range(2000):
        now = at("2026-01-01T00:00") + timedelta(seconds=draw.randrange(365 * 86400))
        asked = set(draw.sample(sorted(TIMES), draw.randint(1, 3)))
        ends = moment_ends(now, zone, asked)
        last = ends - timedelta(microseconds=1)
        assert now < ends
        assert moment_of(last, zone, asked) == moment_of(now, zone, asked), (now, asked)


# --- who may, when ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instant", "zone", "allowed"),
    [
        ("2026-01-05T04:59:59", BERLIN, False),  # Monday, 05:59
        ("2026-01-05T05:00:00", BERLIN, True),
        ("2026-01-05T18:59:59", BERLIN, True),
        ("2026-01-05T19:00:00", BERLIN, False),
        ("2026-07-06T18:00:00", BERLIN, False),  # 20:00 in summer
        ("2026-01-09T18:59:59", BERLIN, True),  # Friday
        ("2026-01-10T09:00:00", BERLIN, False),  # Saturday
        ("2026-01-11T20:00:00", AUCKLAND, True),  # Monday morning there
        ("2026-01-11T20:00:00", BERLIN, False),
        ("2026-01-12T01:00:00", NEW_YORK, False),  # Sunday evening there
        ("2026-03-30T04:00:00", BERLIN, True),  # the first Monday of summer time
        ("2026-03-27T04:00:00", BERLIN, False),
    ],
)
def test_technologists_by_day_on_weekdays(instant: str, zone: str, allowed: bool) -> None:
    decision = decide(who(Role.TECHNOLOGIST, zone=zone), SEARCH, rules(BY_DAY), now=at(instant))
    assert decision.allowed is allowed
    if not allowed:
        assert decision.reason == "technologists work here from 6 to 20 on weekdays"
        assert decision.policies == ("technologists-by-day",)


def test_an_emergency_and_the_roles_beside_it_are_not_held_up() -> None:
    night, own = at("2026-01-10T02:00"), rules(BY_DAY)
    emergency = who(Role.TECHNOLOGIST, purpose=Purpose.EMERGENCY)
    assert decide(emergency, SEE, own, now=night).allowed
    assert decide(who(Role.RADIOLOGIST), SEE, own, now=night).allowed
    proved = Context(**{**_fields(who(Role.TECHNOLOGIST)), "stepped_up": True})
    assert decide(proved, Action.PEOPLE_GLASS_BREAK, own, now=night).allowed
    both = who(Role.TECHNOLOGIST, Role.RADIOLOGIST)
    assert not decide(both, SEE, own, now=night).allowed, "a denial always wins"


def _fields(context: Context) -> dict[str, object]:
    return {name: getattr(context, name) for name in Context.__dataclass_fields__}


def test_of_which_studies_is_asked_at_the_same_time() -> None:
    own = rules(BY_DAY)
    decision, sight = look(who(Role.TECHNOLOGIST), SEARCH, own, now=at("2026-01-05T12:00"))
    assert decision.allowed
    assert sight.everything
    decision, sight = look(who(Role.TECHNOLOGIST), SEARCH, own, now=at("2026-01-05T22:00"))
    assert not decision.allowed
    assert sight.nothing


def test_a_time_that_is_not_known_forbids() -> None:
    own = rules(BY_DAY)
    for context, now in (
        (who(Role.TECHNOLOGIST), None),
        (who(Role.TECHNOLOGIST, zone="Europe/Atlantis"), at("2026-01-05T12:00")),
    ):
        decision = weigh(context, SEARCH, own, now=now)[0]
        assert not decision.allowed
        assert decision.reason == "a policy could not be evaluated"
        assert decide(who(Role.RADIOLOGIST), SEARCH, own, now=now).allowed


@pytest.mark.parametrize("condition", ["context.time == 3", 'context.hour == "six"', "hour == 6"])
def test_d12_what_a_policy_cannot_say_of_time(condition: str) -> None:
    with pytest.raises(Invalid):
        rules(f'@id("x") @reason("x") forbid (principal, action, resource) when {{ {condition} }};')


# --- how long an answer is remembered --------------------------------------------------------------------


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[Question]:
    """Every question that Cedar itself was asked."""
    asked: list[Question] = []
    right = PolicySet.evaluate

    def counting(self: PolicySet, question: Question) -> Answer:
        asked.append(question)
        return right(self, question)

    monkeypatch.setattr(PolicySet, "evaluate", counting)
    return asked


def test_an_answer_is_remembered_for_its_minute_and_not_beyond(evaluated: list[Question]) -> None:
    own, ada = rules(TO_THE_MINUTE), who(Role.RADIOLOGIST)
    begins = at("2026-01-05T11:29:00")
    said = [decide(ada, SEARCH, own, now=begins + timedelta(seconds=n)).allowed for n in range(180)]
    assert said == [True] * 60 + [False] * 120  # 12:30 there
    assert len(evaluated) == 3
    assert len({question.moment for question in evaluated}) == 3


def test_an_answer_about_the_hour_is_remembered_for_the_hour(evaluated: list[Question]) -> None:
    own, grace = rules(BY_DAY), who(Role.TECHNOLOGIST)
    for minutes in range(18 * 60, 20 * 60):
        now = at("2026-01-05T00:00") + timedelta(minutes=minutes)
        assert decide(grace, SEARCH, own, now=now).allowed is (minutes < 19 * 60)
    assert [dict(question.moment) for question in evaluated] == [
        {"hour": 19, "weekday": 1},
        {"hour": 20, "weekday": 1},
    ]


def test_who_is_not_meant_is_asked_once_for_all_times(evaluated: list[Question]) -> None:
    own = rules(BY_DAY, TO_THE_MINUTE)
    for minutes in range(0, 1440, 7):
        now = at("2026-01-05T00:00") + timedelta(minutes=minutes)
        assert decide(who(Role.RADIOLOGIST), SEE, own, now=now).allowed
        assert decide(who(Role.TECHNOLOGIST), Action.WORK_JOB_LIST, own, now=now).allowed
    assert len(evaluated) == 2
    assert all(question.moment == () for question in evaluated)


def test_what_is_of_a_minute_pushes_out_nothing_that_is_for_ever(
    evaluated: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightwell.access.cedar.REMEMBERED", 20)
    own = rules(TO_THE_MINUTE)
    decide(who(Role.RADIOLOGIST), SEE, own, now=at("2026-01-05T00:00"))
    for minutes in range(100):
        now = at("2026-01-05T00:00") + timedelta(minutes=minutes)
        decide(who(Role.RADIOLOGIST), SEARCH, own, now=now)
    assert len(own.policies._timed_answers) <= 20
    before = len(evaluated)
    decide(who(Role.RADIOLOGIST), SEE, own, now=at("2026-01-05T03:00"))
    assert len(evaluated) == before


def test_where_no_policy_looks_at_the_time_nothing_is_asked_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object) -> object:
        raise AssertionError("the time was looked at")

    monkeypatch.setattr(policy, "moment_of", never)
    monkeypatch.setattr(policy, "moment_ends", never)
    monkeypatch.setattr(PolicySet, "times", never)
    quiet = rules('@id("x") @reason("the hour") forbid (principal is Web, action, resource);')
    now = at("2026-01-05T12:00")
    for each in (Rules(), quiet):
        assert not each.policies.timed
        first = question_of(who(Role.RADIOLOGIST), SEARCH, each, now=now)
        assert question_of(who(Role.RADIOLOGIST), SEARCH, each) is first
        assert weigh(who(Role.RADIOLOGIST), SEARCH, each, now=now)[0].allowed
        assert holds_until(who(Role.RADIOLOGIST), SEARCH, each, now) is None


@pytest.mark.parametrize(
    ("condition", "times"),
    [
        ("context.hour < 6", {"hour"}),
        ("6 > context.hour || [1, 7].contains(context.weekday)", {"hour", "weekday"}),
        ("context has minuteOfDay && context.minuteOfDay == 7", {"minuteOfDay"}),
        ('context["hour"] == 3', {"hour"}),
        ("if context.weekday == 7 then true else false", {"weekday"}),
        ("{a: context.hour}.a == 3", {"hour"}),
        ('context.channel == "hour"', set()),
        ("context has channel && principal has login", set()),
        ("context == context", set(TIMES)),
        ("[context].contains(context)", set(TIMES)),
        ("{a: context}.a.hour == 3", set(TIMES)),
    ],
)
def test_what_a_condition_looks_at(condition: str, times: set[str]) -> None:
    """Through the circumstances as a whole everything can be looked at."""
    own = rules(
        f'@id("x") @reason("x") forbid (principal is Person, action, resource) when {{ {condition} }};'
    )
    question = question_of(who(Role.RADIOLOGIST), SEARCH, own)
    assert own.policies.times(question) == times
    assert own.policies.timed is bool(times)


def test_remembered_answers_are_those_that_would_be_given_anew() -> None:
    """Drawn people, actions and instants, against a set that remembers nothing."""
    draw = random.Random(11)
    own = rules(BY_DAY, TO_THE_MINUTE)
    actions = (SEARCH, SEE, Action.ARCHIVE_INSTANCE_STORE, Action.PEERS_PEER_LIST)
    for n, (role, action) in enumerate(itertools.product(Role, actions)):
        for _ in range(6):
            now = at("2026-03-28T00:00") + timedelta(minutes=draw.randrange(3 * 1440))
            context = who(role, zone=(BERLIN, KOLKATA)[n % 2])
            question = question_of(context, action, own, now=now)
            whole = Question(
                **{
                    **{f: getattr(question, f) for f in Question.__dataclass_fields__},
                    "moment": moment_of(now, context.tenant.zone),
                }
            )
            anew = rules(BY_DAY, TO_THE_MINUTE).policies.evaluate(whole) if n % 5 == 0 else None
            answer = own.policies.answer(question)
            assert answer == own.policies.evaluate(whole)
            assert anew in (None, answer)


@pytest.mark.parametrize(
    ("context", "action", "ends"),
    [
        (who(Role.TECHNOLOGIST), SEE, "2026-01-05T12:00"),
        (who(Role.TECHNOLOGIST), SEARCH, "2026-01-05T11:48"),
        (who(Role.RADIOLOGIST), SEARCH, "2026-01-05T11:48"),
        (who(Role.RADIOLOGIST), SEE, None),
    ],
)
def test_until_when_a_decision_holds(context: Context, action: Action, ends: str | None) -> None:
    until = holds_until(context, action, rules(BY_DAY, TO_THE_MINUTE), at("2026-01-05T11:47:30"))
    assert until == (at(ends) if ends else None)


# --- asked for by hand -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("07:30", "2026-01-05T06:30"),
        (" 00:00 ", "2026-01-04T23:00"),
        ("2026-07-01T07:30", "2026-07-01T05:30"),
        ("2026-07-01 07:30:59", "2026-07-01T05:30:59"),
        ("2026-07-01T07:30Z", "2026-07-01T07:30"),
        ("2026-07-01T07:30-04:00", "2026-07-01T11:30"),
        ("2026-10-25T02:30", "2026-10-25T00:30"),  # the first of two
        ("2026-03-29T02:30", "2026-03-29T01:30"),  # left out: the clocks show 03:30
    ],
)
def test_a_time_as_it_is_said(text: str, instant: str) -> None:
    assert instant_said(text, BERLIN, at("2026-01-05T10:00")) == at(instant)


@pytest.mark.parametrize(
    "text",
    ["", "7:30", "24:00", "07:60", "noon", "2026-13-01T07:30", "2026-07-01", "0001-01-01T00:00+14:00",
     "07:30\n08:00", "2026-07-01T07:30+99:00"],
)  # fmt: skip
def test_d12_what_is_no_time(text: str) -> None:
    with pytest.raises(Invalid, match="is no time"):
        instant_said(text, BERLIN, at("2026-01-05T10:00"))
