"""Rules about identity providers: what may be one, whose groups mean what, where a browser may be sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from lightwell.domain.people.errors import Unproved
from lightwell.domain.people.providers import (
    EVERYONE,
    GROUPS_LIMIT,
    IdentityProvider,
    checked_claim,
    checked_client_id,
    checked_issuer,
    checked_name,
    checked_role_map,
    checked_scopes,
    claim_at,
    groups_in,
    local_path,
    loopback_host,
    proven,
    safe_url,
)
from lightwell.kernel.errors import Invalid


def a_provider(**changes: Any) -> IdentityProvider:
    right: dict[str, Any] = {
        "name": "hospital",
        "label": "Hospital",
        "issuer": "https://id.example",
        "client_id": "pacs",
        "roles": {"readers": frozenset({"radiologist"}), "it": frozenset({"admin", "pacs-admin"})},
        "made_by": "operator:test",
        "created": datetime.now(UTC),
    }
    return IdentityProvider(**{**right, **changes})


def test_r08_groups_become_roles_and_nothing_else_does() -> None:
    provider = a_provider()
    assert provider.roles_of(frozenset({"readers", "choir"})) == {"radiologist"}
    assert provider.roles_of(frozenset({"readers", "it"})) == {"radiologist", "admin", "pacs-admin"}
    # A group is not a role because it is called like one (R08), and case counts.
    for stranger in ("admin", "Readers", "readers ", ""):
        assert provider.roles_of(frozenset({stranger})) == frozenset()


def test_everyone_is_whoever_the_provider_lets_through() -> None:
    provider = a_provider(roles={EVERYONE: frozenset({"referrer"}), "it": frozenset({"admin"})})
    assert provider.roles_of(frozenset()) == {"referrer"}
    assert provider.roles_of(frozenset({"it"})) == {"referrer", "admin"}


@pytest.mark.parametrize("role", ["admin", "pacs-admin", "support"])
def test_everyone_is_no_administrator(role: str) -> None:
    with pytest.raises(Invalid, match="gives nobody"):
        checked_role_map({EVERYONE: frozenset({role})})
    assert checked_role_map({"it": frozenset({role})})


@pytest.mark.parametrize(
    "given",
    [{}, {"": frozenset({"auditor"})}, {"x": frozenset()}, {"x": frozenset({"root"})},
     {"a\nb": frozenset({"auditor"})}, {"x" * 257: frozenset({"auditor"})},
     {f"g{n}": frozenset({"auditor"}) for n in range(201)}],
)  # fmt: skip
def test_what_is_no_map(given: Any) -> None:
    with pytest.raises(Invalid):
        checked_role_map(given)


@pytest.mark.parametrize(
    "issuer",
    ["", "id.example", "http://id.example", "https://", "https://id.example?x=1", "https://id.example?",
     "https://id.example#x", "https://user@id.example", "https://id.example/a b", "ftp://id.example",
     "https://id.example:0", "https://id.example:99999", "https://id.example\\@evil", "javascript:1",
     "https://ïd.example", "https://id.example/" + "x" * 300, "http://127.0.0.1.evil.example"],
)  # fmt: skip
def test_what_is_no_issuer(issuer: str) -> None:
    with pytest.raises(Invalid):
        checked_issuer(issuer)


@pytest.mark.parametrize(
    "issuer",
    ["https://id.example", "https://id.example/", "https://id.example:8443/realms/one",
     "http://localhost:8080/realm", "http://127.0.0.1:3000", "http://[::1]:3000"],
)  # fmt: skip
def test_an_issuer_stays_as_it_is_to_the_letter(issuer: str) -> None:
    assert checked_issuer(issuer) == issuer


def test_a_description_makes_us_knock_at_no_plain_door_inside() -> None:
    outside, inside = "https://id.example", "http://127.0.0.1:3000"
    assert safe_url("https://tokens.example/x", issuer=outside)
    for url in (
        "http://127.0.0.1/x",
        "http://localhost/x",
        "http://169.254.169.254/",
        "file:///etc/passwd",
        "",
    ):
        assert not safe_url(url, issuer=outside)
    assert safe_url("http://127.0.0.1:3000/x", issuer=inside)
    assert not safe_url("http://10.0.0.1/x", issuer=inside)


@pytest.mark.parametrize(
    ("host", "is_it"),
    [("localhost", True), ("a.localhost", True), ("127.0.0.9", True), ("::1", True),
     ("localhost.evil", False), ("10.0.0.1", False), ("0.0.0.0", False), ("127.1", False), ("", False),
     (None, False)],
)  # fmt: skip
def test_which_hosts_are_this_machine(host: str | None, is_it: bool) -> None:
    assert loopback_host(host) is is_it


def test_names_scopes_claims_clients() -> None:
    assert checked_scopes(("profile", "openid", "groups")) == ("openid", "profile", "groups")
    for bad in (("a b",), ("é",), ('"',), tuple(f"s{n}" for n in range(30))):
        with pytest.raises(Invalid):
            checked_scopes(bad)
    for name in ("", "A", "a/b", "-a", "a" * 33, "a.b", "a\n"):
        with pytest.raises(Invalid):
            checked_name(name)
    for claim in ("", "a b", "x" * 201, "a\n"):
        with pytest.raises(Invalid):
            checked_claim(claim, "--groups-claim")
    for client in ("", "x" * 256, "é", "a\n"):
        with pytest.raises(Invalid):
            checked_client_id(client)


# --- what a provider sends ---------------------------------------------------------------------------------


def test_a_claim_is_found_by_name_then_by_path() -> None:
    claims = {
        "realm_access": {"roles": ["a"]},
        "https://x.example/groups": ["b"],
        "a.b": 1,
        "a": {"b": 2},
    }
    assert claim_at(claims, "realm_access.roles") == ["a"]
    assert claim_at(claims, "https://x.example/groups") == ["b"]
    assert claim_at(claims, "a.b") == 1
    assert claim_at(claims, "realm_access.roles.0") is None
    assert claim_at(claims, "nothing") is None


def test_groups_are_texts_and_not_too_many() -> None:
    assert groups_in({"groups": ["a", 7, None, ["b"], "c", "x" * 300]}, "groups") == {"a", "c"}
    assert groups_in({"groups": "a"}, "groups") == {"a"}
    for nothing in ({}, {"groups": None}, {"groups": {"a": 1}}, {"groups": 7}):
        assert groups_in(nothing, "groups") == frozenset()
    # A group that is called like the sign for everybody gives nothing more than everybody has.
    assert groups_in({"groups": [EVERYONE]}, "groups") == frozenset()
    with pytest.raises(Unproved):
        groups_in({"groups": ["a"] * (GROUPS_LIMIT + 1)}, "groups")


def test_r08_claims_that_nobody_asked_for_change_nothing() -> None:
    claims = {
        "sub": "1",
        "roles": ["admin"],
        "role": "admin",
        "tenant": "other",
        "login": "root",
        "groups": [],
    }
    somebody = proven(a_provider(), claims)
    assert (somebody.login, somebody.groups) == ("", frozenset())
    assert (somebody.issuer, somebody.subject) == ("https://id.example", "1")


@pytest.mark.parametrize("subject", [None, "", 7, "x" * 256, "é", "a\nb", ["1"]])
def test_nobody_without_a_subject(subject: Any) -> None:
    with pytest.raises(Unproved):
        proven(a_provider(), {"sub": subject})


def test_texts_are_one_line_or_nothing() -> None:
    somebody = proven(a_provider(), {"sub": "1", "preferred_username": "a\nb", "name": "x" * 600})
    assert (somebody.login, somebody.name) == ("", "")


# --- the way back ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/", "/viewer/1.2.3", "/t/clinic/jobs", "/viewer/1.2.3?series=1.2&x=a%20b", "/x?next=//y"],
)
def test_a_path_of_ours_is_kept(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "path",
    ["", "x", "//evil.example", "///evil.example", "/\\evil.example", "\\/evil.example", "https://evil.example",
     "/\t/evil.example", "/\n/evil.example", "/x\r\nSet-Cookie: a=b", "javascript:alert(1)",
     "/x//evil.example",
     "/./evil", "/../evil", "/a/%2e%2e/b", "/.%2E/b", "/ x", "/é", "/x#y", "http:/x", "/" + "x" * 2000,
     "/api/v1/me", "/t/clinic/api/v1/me", "/dicomweb/studies", "/api"],
)  # fmt: skip
def test_a12_nothing_leads_elsewhere(path: str) -> None:
    assert local_path(path) == ""
