"""What is remembered stays within its bounds, the latest used longest."""

from __future__ import annotations

from lightwell.kernel.remembering import Remembered


def test_the_longest_unused_goes_first() -> None:
    kept: Remembered[str] = Remembered(80)
    for name in "abcdefgh":
        kept.keep(name, name.upper(), 10)
    assert kept.get("a") == "A"
    kept.keep("i", "I", 10)
    assert (kept.get("a"), kept.get("b"), kept.get("i"), kept.size) == ("A", None, "I", 80)


def test_what_is_too_large_is_not_kept_and_nothing_twice() -> None:
    kept: Remembered[str] = Remembered(80)
    kept.keep("large", "x", 11)
    kept.keep("a", "first", 5)
    kept.keep("a", "second", 5)
    assert (kept.get("large"), kept.get("a"), kept.size) == (None, "first", 5)


def test_made_once() -> None:
    kept: Remembered[str] = Remembered(80)
    made: list[int] = []

    def make() -> tuple[str, int]:
        made.append(1)
        return "x", 1

    assert [kept.of("k", make), kept.of("k", make), len(made)] == ["x", "x", 1]
