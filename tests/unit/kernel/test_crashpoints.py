"""The hook of the crash tests: dead silent unless armed, deadly exactly once when it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import lightwell
from lightwell.kernel.crashpoints import POINTS, VARIABLE, armed, reach

SOURCE = Path(lightwell.__file__).parents[1]


@pytest.mark.parametrize("text", [None, ""])
def test_without_the_variable_there_is_no_trap(text: str | None) -> None:
    assert armed(text) is None


@pytest.mark.parametrize("point", POINTS)
def test_a_point_may_name_its_passing(point: str) -> None:
    first, third = armed(point), armed(f"{point}:3")
    assert first is not None
    assert third is not None
    assert (first.point, first.left, third.left) == (point, 1, 3)


@pytest.mark.parametrize("text", ["k9", "k4:0", "k4:-1", "k4:x", "k4 ", ":2", "K4"])
def test_a_misspelt_variable_is_not_taken_for_a_passed_test(text: str) -> None:
    with pytest.raises(ValueError, match=VARIABLE):
        armed(text)


def test_reaching_an_unarmed_point_is_nothing() -> None:
    for point in POINTS:
        reach(point)


def test_an_armed_process_dies_at_its_passing_and_not_before() -> None:
    program = (
        "from lightwell.kernel.crashpoints import reach\n"
        "reach('k4'); reach('k5'); print('one', flush=True); reach('k4'); print('two', flush=True)"
    )
    environment = {**os.environ, VARIABLE: "k4:2", "PYTHONPATH": str(SOURCE)}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, timeout=30
    )
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == b"one\n"
