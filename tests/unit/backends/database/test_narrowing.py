"""SQL narrows to a superset: whatever `matches` accepts meets the condition."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.backends.database.narrowing import Sql, beginning, like, literal, shifted
from lightwell.domain.archive.internal.matching import glob

TEXT = st.text(alphabet="ab%_\\^", max_size=8)
PATTERN = st.text(alphabet="ab%_\\^*?", max_size=8)


def sql_like(pattern: str, text: str) -> bool:
    """LIKE with backslash as escape, as PostgreSQL has it."""
    translated, place = "", 0
    while place < len(pattern):
        sign = pattern[place]
        if sign == "\\":
            place += 1
            translated += f"[{pattern[place]}]" if pattern[place] in "*?[" else pattern[place]
        else:
            translated += {"%": "*", "_": "?"}.get(sign, sign)
        place += 1
    return fnmatch.fnmatchcase(text, translated)


@given(PATTERN, TEXT)
def test_like_and_prefix_accept_whatever_the_pattern_accepts(pattern: str, text: str) -> None:
    if glob(pattern, text):
        assert sql_like(like(pattern), text)
        span = beginning(literal(pattern))
        assert span.low <= text < span.high


@given(TEXT)
def test_a_pattern_without_wildcards_is_all_literal(text: str) -> None:
    assert literal(text) == text


@pytest.mark.parametrize(
    ("text", "by", "expected"),
    [
        ("a = $2 AND b = $3", 2, "a = $4 AND b = $5"),
        ("tenant = $1 AND a = $12", 5, "tenant = $1 AND a = $17"),
        ("no parameters", 3, "no parameters"),
        ("ANY($2::text[])", 1, "ANY($3::text[])"),
    ],
)
def test_parameters_move_behind_others(text: str, by: int, expected: str) -> None:
    assert shifted(text, by) == expected


def test_parameters_hold_nothing_a_text_column_cannot() -> None:
    sql = Sql()
    assert sql.arg("a\0b") == "$2"
    assert sql.arg("\ud800") == "$3"
    assert sql.values == ["a\ufffdb", "?"]
