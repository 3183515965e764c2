"""Waiting rooms that cannot be filled by one source, slots that always come back."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.gateways.dimse.limits import DimseLimits
from lightwell.gateways.dimse.places import NoSlot, Slots, WaitingRoom

LIMITS = DimseLimits(
    waiting_per_source=3,
    waiting=7,
    associations=6,
    associations_per_tenant=4,
    associations_per_peer=2,
)


def test_the_oldest_of_a_crowded_source_goes() -> None:
    room, out = WaitingRoom(LIMITS), list[int]()
    assert not room.enter("other", "b", lambda: out.append(99))
    for who in range(5):
        crowded = room.enter(who, "a", lambda who=who: out.append(who))  # type: ignore[misc]
        assert crowded is (who >= 3)
    assert out == [0, 1]
    assert len(room) == 4


def test_the_oldest_of_all_goes_when_the_room_is_full() -> None:
    room, out = WaitingRoom(LIMITS), list[str]()
    for source in "abcdefgh":
        room.enter(source, source, lambda source=source: out.append(source))  # type: ignore[misc]
    assert out == ["a"]


def test_leaving_twice_is_harmless() -> None:
    room = WaitingRoom(LIMITS)
    room.enter("who", "a", lambda: None)
    room.leave("who")
    room.leave("who")
    assert len(room) == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.sampled_from("abc"))))
def test_no_sequence_of_steps_passes_a_limit(steps: list[tuple[bool, int, str]]) -> None:
    room = WaitingRoom(LIMITS)
    inside: dict[int, str] = {}
    for enters, who, source in steps:
        if not enters:
            room.leave(who)
            inside.pop(who, None)
        elif who not in inside:
            inside[who] = source
            room.enter(who, source, functools.partial(inside.__delitem__, who))
        assert len(room) == len(inside) <= LIMITS.waiting
        for name in "abc":
            assert list(inside.values()).count(name) <= LIMITS.waiting_per_source


def test_slots_of_peer_tenant_and_process() -> None:
    slots = Slots(LIMITS)
    with slots.taken(1, "A"), slots.taken(1, "A"):
        with pytest.raises(NoSlot), slots.taken(1, "A"):
            pass
        with slots.taken(1, "B"), slots.taken(1, "C"):
            with pytest.raises(NoSlot), slots.taken(1, "D"):  # the tenant has four
                pass
            with slots.taken(2, "A"), slots.taken(2, "A"):
                with pytest.raises(NoSlot), slots.taken(3, "A"):  # the process has six
                    pass
                assert slots.in_use == 6
    assert slots.in_use == 0


def test_a_slot_comes_back_after_a_failure() -> None:
    slots = Slots(LIMITS)
    with pytest.raises(ZeroDivisionError), slots.taken(1, "A"):
        raise ZeroDivisionError
    assert slots.in_use == 0
