"""Findings of several tenants add up to one report."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lightwell.domain.archive.invariants import (
    NOT_BUILT,
    SHOWN,
    TEXTS,
    Checked,
    Found,
    Orphans,
    State,
    to_json,
    whole,
)

founds = st.builds(
    Found, st.integers(0, 300), st.lists(st.text(), max_size=SHOWN).map(tuple), st.integers(0)
)
BUILT = sorted(TEXTS.keys() - NOT_BUILT.keys())


@given(founds, founds)
def test_sums_count_all_and_name_some(one: Found, two: Found) -> None:
    both = one + two
    assert both.damaged == one.damaged + two.damaged
    assert both.checked == one.checked + two.checked
    assert len(both.findings) <= SHOWN
    assert both.findings[: len(one.findings)] == one.findings


@given(st.sampled_from(BUILT), st.integers(1, 9))
def test_one_damage_of_one_tenant_breaks_the_whole(name: str, damaged: int) -> None:
    sound = Checked({built: Found(checked=1) for built in BUILT})
    assert whole(sound.invariants())
    both = sound + Checked({name: Found(damaged, ("x",), 1)})
    assert not whole(both.invariants())
    broken = [line.name for line in both.invariants() if line.state is State.BROKEN]
    assert broken == [name]


def test_what_is_not_built_is_said() -> None:
    lines = Checked({built: Found() for built in BUILT}).invariants()
    assert [line.name for line in lines] == [f"I{n}" for n in range(1, 13)]
    unbuilt = [line for line in lines if line.state is State.NOT_BUILT]
    assert {line.name for line in unbuilt} == set(NOT_BUILT)
    assert all("there " in line.note for line in unbuilt)


def test_orphans_are_reported_and_are_no_damage() -> None:
    lines = Checked({built: Found() for built in BUILT}).invariants()
    report = to_json(lines, Orphans(2, 1, ("a", "b")), deep=True)
    assert report["ok"] is True
    assert report["orphans"] == {"count": 2, "younger_than_grace": 1, "keys": ["a", "b"]}
