"""What an engine keeps: small JSON, and failures without data."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lightwell.kernel.errors import Broken, Busy, Kind, LightwellError, Missing, Unavailable
from lightwell.workflows import values
from lightwell.workflows.steps import PAUSES, carry_out
from lightwell.workflows.values import (
    failure,
    failure_from_json,
    failure_to_json,
    settled,
    told,
)


def test_there_is_a_failure_for_every_kind() -> None:
    assert set(values._KINDS) == set(Kind)
    for kind, made in values._KINDS.items():
        assert made.kind is kind


def test_a_failure_survives_its_record() -> None:
    class NoSuchSeries(Missing):
        """A room's own error."""

    before = failure(NoSuchSeries("Gone.", remedy="Look."))
    after = failure_from_json(failure_to_json(before))
    assert (type(before), str(before)) == (type(after), str(after)) == (Missing, "Gone. Look.")


def test_a_foreign_failure_names_its_type_and_place_only() -> None:
    try:
        {}["SMITH^JOHN"]
    except KeyError as error:
        text = told(error)
    assert text.startswith("KeyError in ")
    assert "SMITH" not in text
    assert told(ValueError("SMITH")) == "ValueError in an unknown place."


def test_results_are_given_as_a_replay_would() -> None:
    assert settled((1, {"a": (2,)})) == [1, {"a": [2]}]
    for odd in (object(), b"x", {"a": {1}}, float("inf"), "\ud800", "a\0"):
        with pytest.raises(LightwellError):
            settled(odd)


async def test_a_temporary_failure_is_tried_for_ten_minutes_and_then_told() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def down() -> None:
        raise Unavailable("The store does not answer.")

    with pytest.raises(Unavailable):
        await carry_out(down, (), sleep=sleep)
    assert slept == list(PAUSES)
    assert 600 <= sum(slept) <= 900


async def test_other_failures_are_told_at_once() -> None:
    calls: list[int] = []

    def broken(value: int) -> None:
        calls.append(value)
        raise RuntimeError("x")

    with pytest.raises(Broken):
        await carry_out(broken, (7,))
    assert calls == [7]


async def test_a_cancelled_step_is_no_failure() -> None:
    async def long() -> None:
        await asyncio.sleep(60)

    task = asyncio.create_task(carry_out(long, ()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_the_turn_raises_passes() -> None:
    class Fenced(Exception):
        """Not the step's business."""

    class Turn:
        async def __aenter__(self) -> None:
            raise Fenced

        async def __aexit__(self, *_: Any) -> None:
            raise AssertionError

    with pytest.raises(Fenced):
        await carry_out(lambda: 1, (), turn=Turn)


async def test_busy_then_well() -> None:
    answers = iter([Busy("Later."), 5])

    def act() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(_seconds: float) -> None:
        return

    assert await carry_out(act, (), sleep=sleep) == 5
