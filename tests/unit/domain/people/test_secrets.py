"""Passwords, codes, tokens and delays: pure rules with their sources."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import pytest

from lightwell.domain.people import throttling, totp
from lightwell.domain.people.passwords import LEAST, MOST, new_password, normalised, objection
from lightwell.domain.people.tokens import (
    TokenKind,
    digest,
    is_token,
    new_recovery_codes,
    new_token,
    recovery_digest,
)

# --- A05: password rules -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "password",
    [
        "short",
        "a" * 40,
        "abababababababab",
        "123456789012",
        "qwertyuiopas",
        "abcdefghijklmnop",
        "password1234!",
        "lightwell2026",
        "adalovelace12",
        "letmeinletmein",
        "trustno1trustno1",
    ],
)
def test_a05_what_would_be_guessed_is_refused(password: str) -> None:
    assert objection(password, login="adalovelace") is not None


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "x7Kd-29vQ-pLm4",
        "Schöne grüne Äpfel 🍏",
        "z" * 3 + "word " * 30,
    ],
)
def test_a05_long_ones_and_other_alphabets_are_taken(password: str) -> None:
    assert objection(password, login="ada") is None


def test_a05_every_length_up_to_the_limit_and_none_beyond() -> None:
    phrase = "the quick brown fox jumps over the lazy dog " * 30
    assert objection(phrase[:LEAST]) is None
    assert objection(phrase[:MOST]) is None
    assert objection(phrase[: MOST + 1]) is not None


def test_a05_the_same_letters_in_another_form_are_the_same_password() -> None:
    composed = "Fünf grüne Äpfel"
    assert normalised(composed) == normalised(unicodedata.normalize("NFD", composed))


def test_random_passwords_pass_their_own_rules() -> None:
    assert all(objection(new_password()) is None for _ in range(200))


# --- TOTP --------------------------------------------------------------------------------------------

RFC_SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_the_vectors_of_rfc_6238_appendix_b(seconds: int, code: str) -> None:
    """The last six of its eight digits (SHA-1)."""
    assert totp.code_at(RFC_SECRET, seconds // 30) == code
    assert totp.matching_step(RFC_SECRET, code, seconds, 0) == seconds // 30


def test_a_code_is_used_once_and_one_step_of_skew_is_allowed() -> None:
    now = 1_700_000_000.0
    step = int(now) // 30
    for off, found in ((-2, None), (-1, step - 1), (0, step), (1, step + 1), (2, None)):
        assert totp.matching_step(RFC_SECRET, totp.code_at(RFC_SECRET, step + off), now, 0) == found
    code = totp.code_at(RFC_SECRET, step)
    assert totp.matching_step(RFC_SECRET, code, now, step) is None
    assert totp.matching_step(RFC_SECRET, f" {code[:3]} {code[3:]}", now, 0) == step


@pytest.mark.parametrize("code", ["", "1", "0" * 5000, "٣٤٥٦٧٨", "12345a"])
def test_what_is_no_code_matches_nothing(code: str) -> None:
    assert totp.matching_step(RFC_SECRET, code, 59, 0) is None


def test_the_address_for_authenticators() -> None:
    uri = totp.provisioning_uri(RFC_SECRET, login="ada", issuer="Lightwell St. Anna")
    assert uri == (
        "otpauth://totp/Lightwell%20St.%20Anna%3Aada"
        "?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Lightwell%20St.%20Anna"
    )


# --- tokens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TokenKind)
def test_tokens_say_what_they_are_and_are_never_alike(kind: TokenKind) -> None:
    made = {new_token(kind) for _ in range(100)}
    assert len(made) == 100
    for token in made:
        assert is_token(token, kind)
        assert not is_token(token, *(other for other in TokenKind if other is not kind))
        assert len(digest(token)) == 32


@pytest.mark.parametrize(
    "text", ["", "lws_", "lws_" + "a" * 42, "lws_" + "a" * 43 + "\n", "x" * 10_000]
)
def test_what_is_no_token(text: str) -> None:
    assert not is_token(text, *TokenKind)


def test_recovery_codes_are_read_as_people_type_them() -> None:
    codes = new_recovery_codes()
    assert len(set(codes)) == 10
    assert all(re.fullmatch(r"([a-z2-9]{4}-){3}[a-z2-9]{4}", code) for code in codes)
    assert recovery_digest(codes[0]) == recovery_digest(f" {codes[0].upper().replace('-', ' ')} ")
    assert recovery_digest(codes[0]) != recovery_digest(codes[1])


# --- throttling --------------------------------------------------------------------------------------


def test_delays_double_up_to_a_quarter_of_an_hour() -> None:
    delays = [throttling.delay_after(n, throttling.PAIR_DELAYS) for n in range(20)]
    assert delays[:6] == [0, 0, 0, 0, 0, 1]
    assert delays[6:15] == [2, 4, 8, 16, 32, 64, 128, 256, 512]
    assert set(delays[15:]) == {900}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("nonsense", "", True),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:
    keys: tuple[Callable[[str], bytes], ...] = (
        throttling.address_key,
        lambda address: throttling.pair_key("ada", address),
    )
    for key in keys:
        assert (key(one) == key(other)) is same
