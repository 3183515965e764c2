"""The page about ASVS names tests and files that are there, and each requirement once."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "security" / "asvs.md").read_text("utf-8")
ROW = re.compile(r"^\| (\d+\.\d+\.\d+) \| ([12]) \| (.+?) \| (.+?) \| (.*?) \|$", re.MULTILINE)
LEVELS = {"1": 70, "2": 183}  # of ASVS 5.0.0


def test_each_requirement_of_level_one_and_two_has_one_line() -> None:
    rows = ROW.findall(PAGE)
    numbers = [row[0] for row in rows]
    assert len(set(numbers)) == len(numbers)
    assert {level: sum(row[1] == level for row in rows) for level in LEVELS} == LEVELS
    order = [tuple(map(int, number.split("."))) for number in numbers]
    assert order == sorted(order)
    assert {row[3] for row in rows} == {"yes", "part", "no", "–"}
    assert [row[0] for row in rows if not row[4].strip()] == []


def test_every_test_and_file_that_is_named_is_there() -> None:
    tests = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text("utf-8"))
    }
    named = re.findall(r"`([^`]+)`", PAGE)
    claimed = [name for name in named if re.fullmatch(r"test_\w+", name)]
    assert len(claimed) > 80
    assert [name for name in claimed if name not in tests] == []
    paths = [name for name in named if "/" in name and not name.startswith("/")]
    assert len(paths) > 40
    assert [path for path in paths if not (ROOT / path).exists()] == []
