"""Addresses: templates, tenants, methods."""

from __future__ import annotations

import pytest

from lightwell.access.actions import Action
from lightwell.gateways.http.exchange import Exchange
from lightwell.gateways.http.routes import Matched, Route, RouteTable, split_tenant


async def nothing(_x: Exchange) -> None:
    raise AssertionError("never called")


def route(method: str, template: str) -> Route:
    return Route(method, template, nothing, Action.ARCHIVE_STUDY_QUERY, "x")


TABLE = RouteTable(
    [
        route("GET", "/a/{study}"),
        route("POST", "/a/{study}"),
        route("GET", "/a/{study}/b/{series}"),
        route("GET", "/a/{study}/bulk/{path*}"),
        route("GET", "/a"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "template", "names"),
    [
        ("GET", "/a", "/a", {}),
        ("GET", "/a/", "/a", {}),
        ("GET", "/a/1.2", "/a/{study}", {"study": "1.2"}),
        ("HEAD", "/a/1.2", "/a/{study}", {"study": "1.2"}),
        ("GET", "/a/1%2E2", "/a/{study}", {"study": "1.2"}),
        ("GET", "/a/1/b/2", "/a/{study}/b/{series}", {"study": "1", "series": "2"}),
        ("GET", "/a/1/bulk/x", "/a/{study}/bulk/{path*}", {"study": "1", "path": "x"}),
        ("GET", "/a/1/bulk/x/1/y", "/a/{study}/bulk/{path*}", {"study": "1", "path": "x/1/y"}),
    ],
)
def test_found(method: str, path: str, template: str, names: dict[str, str]) -> None:
    found = TABLE.find(method, path)
    assert isinstance(found, Matched)
    assert (found.route.template, dict(found.names)) == (template, names)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/a/1", ("GET", "POST")),
        ("POST", "/a", ("GET",)),
        ("GET", "/b", ()),
        ("GET", "/a/1/b", ()),
        ("GET", "/a/1/bulk/", ()),
        ("GET", "//a", ()),
    ],
)
def test_not_found(method: str, path: str, allowed: tuple[str, ...]) -> None:
    assert TABLE.find(method, path) == allowed


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/dicomweb/studies", ("", "/dicomweb/studies", None)),
        ("/t/demo/dicomweb/studies", ("/t/demo", "/dicomweb/studies", "demo")),
        ("/t/demo/", ("/t/demo", "/", "demo")),
        ("/t/demo", ("/t/demo", "", "demo")),
        ("/t/", ("/t/", "", "")),
        ("/tt/x", ("", "/tt/x", None)),
    ],
)
def test_tenants(path: str, parts: tuple[str, str, str | None]) -> None:
    assert split_tenant(path) == parts
