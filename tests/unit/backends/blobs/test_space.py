"""The watermarks of section 3.8: 85, 95, 98 percent, and back below 93."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.backends.blobs.space import Room, Watermark, used_fraction
from lightwell.domain.archive.ports import FreeSpace


def percent_used(used: float) -> FreeSpace:
    return FreeSpace(total=10_000, free=round(10_000 - used * 100))


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        (0, Room.PLENTY),
        (84.9, Room.PLENTY),
        (85, Room.WARN),
        (94.9, Room.WARN),
        (95, Room.NO_BULK),
        (97.9, Room.NO_BULK),
        (98, Room.NONE),
        (100, Room.NONE),
    ],
)
def test_levels_of_a_volume_that_fills(used: float, expected: Room) -> None:
    assert Watermark().level(percent_used(used)) is expected


def test_once_stopped_it_goes_on_below_93() -> None:
    mark = Watermark()
    steps = [(98, Room.NONE), (97, Room.NONE), (93, Room.NONE), (92.9, Room.WARN), (94, Room.WARN)]
    for used, expected in steps:
        assert mark.level(percent_used(used)) is expected


def test_bulk_work_waits_alike() -> None:
    mark = Watermark()
    steps = [(95, Room.NO_BULK), (94, Room.NO_BULK), (98, Room.NONE), (80, Room.PLENTY)]
    for used, expected in steps:
        assert mark.level(percent_used(used)) is expected


def test_the_reserve_holds_on_an_empty_volume_too() -> None:
    assert Watermark(reserve=5_001).level(percent_used(50)) is Room.NONE
    assert Watermark(reserve=5_000).level(percent_used(50)) is Room.PLENTY


def test_a_volume_without_a_size_is_not_full() -> None:
    assert used_fraction(FreeSpace(0, 0)) == 0.0


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_at_98_percent_it_never_says_yes_and_below_85_never_no(course: list[float]) -> None:
    mark = Watermark()
    for used in course:
        level = mark.level(percent_used(used))
        exact = used_fraction(percent_used(used))
        if exact >= 0.98:
            assert level is Room.NONE
        if exact < 0.85:
            assert level is Room.PLENTY
