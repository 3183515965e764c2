"""Addresses and password verifiers, without a server."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from lightwell.backends.database.roles import (
    ConnectionInfo,
    DatabaseUnfit,
    Role,
    _as_role,
    _quoted,
    _with_database,
    derived_passwords,
    prepare_external,
    scram_verifier,
)


def test_the_verifier_is_the_one_of_rfc_7677() -> None:
    """The RFC's example exchange (password `pencil`), whose keys follow from its salt and rounds."""
    import base64
    import hashlib
    import hmac

    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    verifier = scram_verifier("pencil", salt=salt)
    scheme, rounds_and_salt, keys = verifier.split("$")
    assert scheme == "SCRAM-SHA-256"
    assert rounds_and_salt == "4096:W22ZaJ0SNY7soEsUEjb6gQ=="
    stored_key, server_key = (base64.b64decode(key) for key in keys.split(":"))
    message = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    signature = base64.b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert hmac.digest(server_key, message, "sha256") == signature
    client_key = bytes(
        a ^ b for a, b in zip(proof, hmac.digest(stored_key, message, "sha256"), strict=True)
    )
    assert hashlib.sha256(client_key).digest() == stored_key


def test_two_verifiers_of_one_password_differ() -> None:
    assert scram_verifier("x") != scram_verifier("x")


def test_derived_passwords_depend_on_secret_database_and_role() -> None:
    one = derived_passwords("secret", "a")
    assert one == derived_passwords("secret", "a")
    everything = [
        *one.values(),
        *derived_passwords("Secret", "a").values(),
        *derived_passwords("secret", "b").values(),
    ]
    assert len(set(everything)) == 9


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@h:1/x", "postgresql://u:p@h:1/a%20b"),
        ("postgresql://h?sslmode=require", "postgresql://h/a%20b?sslmode=require"),
        ("postgresql:///x?host=/run/pg", "postgresql:///a%20b?host=/run/pg"),
    ],
)
def test_naming_a_database_changes_nothing_else(url: str, expected: str) -> None:
    assert _with_database(url, "a b") == expected


def test_naming_a_role_replaces_user_and_password_only() -> None:
    made = _as_role("postgresql://u:p%40@h:5433/x?sslmode=require", Role.APP, "n/w", "x")
    parts = urlsplit(made)
    assert (parts.username, parts.password) == ("lightwell_app", "n%2Fw")
    assert (parts.hostname, parts.port, parts.path) == ("h", 5433, "/x")
    assert parts.query == "sslmode=require"


def test_identifiers_cannot_break_out() -> None:
    assert _quoted('a"; DROP TABLE x; --') == '"a""; DROP TABLE x; --"'


async def test_another_kind_of_address_is_refused_with_an_example() -> None:
    with pytest.raises(DatabaseUnfit, match="postgresql://"):
        await prepare_external("mysql://u:secret@h/x")


def test_passwords_do_not_show_in_a_repr() -> None:
    info = ConnectionInfo({role: f"postgresql://{role}:word@h/x" for role in Role})
    assert "word" not in repr(info)
