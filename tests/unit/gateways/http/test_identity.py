"""Credentials of a request, read from its headers: malformed or ambiguous is nobody."""

from __future__ import annotations

from typing import Any

import pytest

from lightwell.gateways.http.identity import (
    Presented,
    no_cookie,
    presented,
    same_origin,
    session_cookie,
)
from lightwell.gateways.http.problems import HttpProblem

TOKEN = "lws_" + "a" * 43


def scope(*headers: tuple[str, str], method: str = "POST") -> dict[str, Any]:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {"type": "http", "method": method, "headers": raw, "scheme": "http"}


def test_a_bearer_token() -> None:
    for value in (f"Bearer {TOKEN}", f"bearer  {TOKEN}"):
        assert presented(scope(("authorization", value)), secure=False) == Presented(TOKEN, False)
    assert presented(scope(), secure=False) is None


@pytest.mark.parametrize(
    "values",
    [
        ["Bearer"],
        ["Bearer "],
        ["Basic YTpi"],
        [f"Bearer {TOKEN} x"],
        [f"Bearer {TOKEN}, Bearer {TOKEN}"],
        [f"Bearer {TOKEN}", f"Bearer {TOKEN}"],
        ["Bearer " + "x" * 5000],
        ["Bearer \xe9"],
        [TOKEN],
        [""],
    ],
)
def test_a01_what_is_no_bearer_token_is_nobody(values: list[str]) -> None:
    with pytest.raises(HttpProblem) as refused:
        presented(scope(*(("authorization", value) for value in values)), secure=False)
    assert refused.value.status == 401
    assert dict(refused.value.headers)[b"www-authenticate"] == b'Bearer realm="Lightwell"'


def test_the_cookie_has_a_prefix_that_only_this_host_can_set_under_tls() -> None:
    both = scope(("cookie", f"x=1; lightwell=plain; __Host-lightwell={TOKEN}"))
    assert presented(both, secure=True) == Presented(TOKEN, True)
    assert presented(both, secure=False) == Presented("plain", True)
    assert presented(scope(("cookie", "lightwell=plain")), secure=True) is None
    assert presented(scope(("cookie", "lightwell=")), secure=False) is None


def test_a09_a_cookie_given_twice_is_nobody() -> None:
    for twice in (
        scope(("cookie", "lightwell=a; lightwell=b")),
        scope(("cookie", "lightwell=a"), ("cookie", "lightwell=b")),
    ):
        with pytest.raises(HttpProblem):
            presented(twice, secure=False)


def test_a09_flags_of_the_cookie() -> None:
    assert session_cookie(TOKEN, secure=True) == (
        f"__Host-lightwell={TOKEN}; Path=/; HttpOnly; SameSite=Lax; Secure"
    )
    assert (
        session_cookie(TOKEN, secure=False) == f"lightwell={TOKEN}; Path=/; HttpOnly; SameSite=Lax"
    )
    assert no_cookie(secure=True).endswith("; Secure; Max-Age=0")


def test_a_header_comes_before_the_cookie() -> None:
    both = scope(("authorization", f"Bearer {TOKEN}"), ("cookie", "lightwell=x"))
    assert presented(both, secure=False) == Presented(TOKEN, False)


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ([("sec-fetch-site", "same-origin")], True),
        ([("sec-fetch-site", "same-site")], False),
        (
            [
                ("sec-fetch-site", "cross-site"),
                ("origin", "http://pacs.test"),
                ("host", "pacs.test"),
            ],
            False,
        ),
        ([("sec-fetch-site", "none")], False),
        ([("origin", "http://pacs.test"), ("host", "pacs.test")], True),
        ([("origin", "http://evil.test"), ("host", "pacs.test")], False),
        ([("origin", "null"), ("host", "pacs.test")], False),
        ([("origin", "null"), ("host", "")], False),
        ([("host", "pacs.test")], False),
        ([], False),
    ],
)
def test_a10_a_change_under_the_cookie_says_where_it_is_from(
    headers: list[tuple[str, str]], ours: bool
) -> None:
    assert same_origin(scope(*headers)) is ours
