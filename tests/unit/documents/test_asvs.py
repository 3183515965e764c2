"""The pages about ASVS and about attacks name tests and files that are there, and each line once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "security" / "asvs.md").read_text("utf-8")
ATTACKS = (ROOT / "docs" / "security" / "attacks.md").read_text("utf-8")
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


@pytest.mark.parametrize(("page", "least"), [(PAGE, 80), (ATTACKS, 60)], ids=["asvs", "attacks"])
def test_every_test_and_file_that_is_named_is_there(page: str, least: int) -> None:
    tests = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text("utf-8"))
    }
    named = re.findall(r"`([^`]+)`", page)
    claimed = [name for name in named if re.fullmatch(r"test_\w+", name)]
    assert len(claimed) >= least
    assert [name for name in claimed if name not in tests] == []
    paths = [name for name in named if "/" in name and not name.startswith("/")]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_each_line_of_the_catalogue_has_a_test_of_its_name() -> None:
    rows = re.findall(r"^\| ([ARW]\d\d(?:, [ARW]\d\d)*) \|.*?\| (.*) \|$", ATTACKS, re.MULTILINE)
    lines = [line for ids, _ in rows for line in ids.split(", ")]
    assert len(lines) == len(set(lines)) == 21
    for ids, said in rows:
        for line in ids.split(", "):
            assert re.search(rf"test_\w*{line.lower()}_", said), line
