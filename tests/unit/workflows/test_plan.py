"""What follows from some changes: pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lightwell.workflows.dispatcher import AtOnce, Quiet, Tell, fields, key_text, plan, run_id
from lightwell.workflows.values import checked_run_id

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Change:
    seq: int
    kind: str
    subject: dict[str, Any] = field(default_factory=dict)
    at: datetime = NOW


def stored(seq: int, series: str, ago: float = 0.0) -> Change:
    return Change(seq, "InstanceStored", {"series": series}, NOW - timedelta(seconds=ago))


QUIET = Quiet(frozenset({"InstanceStored"}), fields("series"), "settle", after=60.0)


def test_events_of_a_key_are_one_wait() -> None:
    made = plan([QUIET], [stored(4, "1"), stored(5, "2"), stored(6, "1")], NOW)
    assert [(w.key, w.first_seq, w.events) for w in made.waits] == [("1", 4, 2), ("2", 5, 1)]
    assert made.starts == made.told == ()


def test_quiet_counts_from_when_it_was_seen() -> None:
    """An event is dated by the beginning of its transaction, which may have taken long."""
    (wait,) = plan([QUIET], [stored(1, "1", ago=30)], NOW).waits
    assert wait.due == NOW + timedelta(seconds=60)


def test_what_is_long_past_does_not_wait_again() -> None:
    (wait,) = plan([QUIET], [stored(1, "1", ago=3600)], NOW).waits
    assert wait.due < NOW


def test_the_upper_bound_holds_within_a_page() -> None:
    rule = Quiet(QUIET.kinds, QUIET.key, "settle", after=60.0, longest=90.0)
    (wait,) = plan([rule], [stored(1, "1", ago=80), stored(2, "1")], NOW).waits
    assert wait.due == NOW + timedelta(seconds=10)


def test_kinds_without_a_rule_and_subjects_without_a_key_are_passed_over() -> None:
    odd = [Change(1, "Other", {"series": "1"}), Change(2, "InstanceStored"), stored(3, "")]
    made = plan([QUIET], odd, NOW)
    assert made.waits == ()


def test_two_rules_may_follow_from_one_event() -> None:
    tell = Tell(QUIET.kinds, lambda s: f"r:{s['series']}", "image", dict)
    once = AtOnce(QUIET.kinds, fields("series"), "index")
    made = plan([QUIET, tell, once], [stored(9, "1"), stored(10, "1")], NOW)
    assert len(made.waits) == 1
    assert [t.run_id for t in made.told] == ["r:1", "r:1"]
    assert [s.run_id for s in made.starts] == ["index:1:9"]


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=300), min_size=1, max_size=4))
def test_every_key_makes_an_id_that_may_be_one(arguments: dict[str, str]) -> None:
    assert checked_run_id(run_id("settle", key_text(arguments), 2**62))


@given(
    st.dictionaries(st.sampled_from("ab"), st.text(max_size=4), min_size=2),
    st.dictionaries(st.sampled_from("ab"), st.text(max_size=4), min_size=2),
)
def test_different_keys_are_not_taken_for_one(one: dict[str, str], two: dict[str, str]) -> None:
    one, two = dict(sorted(one.items())), dict(sorted(two.items()))
    assert (key_text(one) == key_text(two)) == (one == two)


@given(
    st.lists(st.tuples(st.sampled_from("123"), st.floats(0, 50)), max_size=30), st.integers(0, 30)
)
def test_pages_may_be_cut_anywhere(events: list[tuple[str, float]], cut: int) -> None:
    """First place, last event and count do not depend on where a page ends."""
    changes = [stored(n, series, ago) for n, (series, ago) in enumerate(events, 1)]
    whole = {w.key: w for w in plan([QUIET], changes, NOW).waits}
    parts = [plan([QUIET], part, NOW).waits for part in (changes[:cut], changes[cut:])]
    for key, wait in whole.items():
        mine = [w for part in parts for w in part if w.key == key]
        assert min(w.first_seq for w in mine) == wait.first_seq
        assert max(w.due for w in mine) == wait.due
        assert sum(w.events for w in mine) == wait.events
