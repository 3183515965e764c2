"""The route table: every address of the HTTP door as data.

One table serves requests, makes `/openapi.json` and the policy matrix. Templates are written as they
are documented, `/dicomweb/studies/{study}`; `{name}` is one segment, `{name*}` the rest of the path.
Each route also answers below `/t/{tenant}`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import unquote

from lightwell.access.actions import Action
from lightwell.gateways.http.exchange import Exchange

Handler = Callable[[Exchange], Awaitable[None]]

_PARAMETER: Final = re.compile(r"\{(\w+)(\*?)\}")


class Open(StrEnum):
    """Of an address at which policy is not asked: who gets an answer."""

    PUBLIC = "public"  # anybody: it says nothing of what is kept
    RECOGNISED = "recognised"  # whoever has said who they are


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one address. `action` is what policy is asked; None where nothing is protected."""

    method: str
    template: str
    handler: Handler
    action: Action | None
    summary: str
    query: Mapping[str, str] = field(default_factory=dict)  # parameter -> what it does
    consumes: tuple[str, ...] = ()
    produces: tuple[str, ...] = ()
    statuses: tuple[int, ...] = (200,)
    public: bool = False  # answers to anybody: says nothing of what is kept

    @property
    def asked(self) -> Action | Open:
        """What policy is asked, or who gets an answer without."""
        return self.action or (Open.PUBLIC if self.public else Open.RECOGNISED)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path parameters."""
        return tuple(match[1] for match in _PARAMETER.finditer(self.template))

    def pattern(self) -> re.Pattern[str]:
        """The template as a pattern over the raw path."""
        parts = []
        at = 0
        for match in _PARAMETER.finditer(self.template):
            parts.append(re.escape(self.template[at : match.start()]))
            parts.append(f"(?P<{match[1]}>{'.+' if match[2] else '[^/]+'})")
            at = match.end()
        parts.append(re.escape(self.template[at:]))
        return re.compile("".join(parts))


@dataclass(frozen=True, slots=True)
class Matched:
    """A route and the values of its path parameters."""

    route: Route
    names: Mapping[str, str]


def split_tenant(path: str) -> tuple[str, str, str | None]:
    """`/t/demo/dicomweb/x` -> ('/t/demo', '/dicomweb/x', 'demo'); without a tenant ('', path, None)."""
    if not path.startswith("/t/"):
        return "", path, None
    # An empty name is the name of no tenant, never the default one.
    name, slash, rest = path[3:].partition("/")
    return f"/t/{name}", slash + rest, name


class RouteTable:
    """Finds the route of a request. HEAD is served by GET."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        # By the number of slashes, so that a request is tried against a handful of patterns.
        self._by_depth: dict[int, list[tuple[re.Pattern[str], Route]]] = {}
        self._deep: list[tuple[re.Pattern[str], Route]] = []
        for route in self.routes:
            entry = (route.pattern(), route)
            if "*}" in route.template:
                self._deep.append(entry)
            else:
                self._by_depth.setdefault(route.template.count("/"), []).append(entry)

    def find(self, method: str, path: str) -> Matched | tuple[str, ...]:
        """The route, or the methods that the address allows (empty: no such address).

        `path` is the raw path without tenant prefix; a trailing slash does not matter.
        """
        if path.endswith("/") and len(path) > 1:
            path = path[:-1]
        wanted = "GET" if method == "HEAD" else method
        allowed: list[str] = []
        for candidates in (self._by_depth.get(path.count("/"), ()), self._deep):
            for pattern, route in candidates:
                match = pattern.fullmatch(path)
                if match is None:
                    continue
                if route.method == wanted:
                    names = match.groupdict()
                    if "%" in path:
                        names = {name: unquote(value) for name, value in names.items()}
                    return Matched(route, names)
                allowed.append(route.method)
        return tuple(allowed)
