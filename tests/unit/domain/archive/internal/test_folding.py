"""Folded names, words and sounds: what is stored beside a patient and looked for in a search."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.domain.archive.internal.folding import (
    FOLD_LIMIT,
    WORD_LIMIT,
    WORDS_LIMIT,
    fold,
    fold_text,
    sound,
    words,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DOE^JANE^^^", "doe^jane"),
        ("Müller^Jürgen", "muller^jurgen"),
        ("Straße^Eva", "strasse^eva"),
        ("Łukasz^Đorđe", "lukasz^dorde"),
        ("İnci^Işık", "inci^isik"),
        ("Doe ^ Jane  Mary", "doe^jane mary"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "yamada^tarou=山田^太郎=やまだ^たろう"),
        ("ﾔﾏﾀﾞ^ﾀﾛｳ", "ヤマダ^タロウ"),
        ("ガ", "ガ"),
        ("홍^길동", "홍^길동"),
        ("Νίκος", "νικοσ"),
        ("Doe＾Jane＝X", "doe jane x"),
        ("=山田", "=山田"),
        ("", ""),
        ("^^^", ""),
        ("a=b=c=d", "a=b=c"),
    ],
)
def test_fold(name: str, expected: str) -> None:
    assert fold(name) == expected


@given(st.text(max_size=40))
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold_text(fold_text(text)) == fold_text(text)
    assert len(fold(text * 40)) <= FOLD_LIMIT


def test_words() -> None:
    rows = words("O'Brien-Smith^Mary Ann=山田^太郎")
    assert [word for kind, word in rows if kind == 1] == [
        "o", "brien", "smith", "mary", "ann", "山田", "太郎",
    ]  # fmt: skip
    assert (2, sound("smith")) in rows
    assert [word for kind, word in rows if kind == 3] == ["山田^太郎"]
    assert len(rows) == len(set(rows))


def test_words_are_bounded() -> None:
    rows = words(" ".join(f"{'x' * 500}{n}" for n in range(500)) + "=" + "y" * 5000)
    assert len(rows) <= 2 * WORDS_LIMIT + 2
    assert all(len(word) <= (WORD_LIMIT if kind < 3 else FOLD_LIMIT) for kind, word in rows)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("meyer", "maier"), ("meier", "mayer"), ("mueller", "muller"), ("schmidt", "schmitt"),
        ("smith", "smyth"), ("philip", "filip"), ("catherine", "katharina"), ("stephen", "stefan"),
        ("jon", "john"), ("fischer", "fisher"), ("weber", "veber"), ("becker", "beker"),
    ],
)  # fmt: skip
def test_what_sounds_alike_has_one_code(one: str, other: str) -> None:
    assert sound(one)[:3] == sound(other)[:3]
    assert sound(one)


@pytest.mark.parametrize(
    ("one", "other"), [("smith", "baker"), ("lee", "roe"), ("doe", "moe"), ("hall", "ball")]
)
def test_what_sounds_otherwise_has_another(one: str, other: str) -> None:
    assert sound(one) != sound(other)


def test_other_scripts_have_no_sound() -> None:
    assert [sound(word) for word in ("山田", "a", "", "νικοσ", "12345")] == [""] * 5
