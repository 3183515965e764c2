"""`/openapi.json`: one document of every address behind the door, built once at start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from lightwell.access.actions import Action
from lightwell.gateways.http.problems import PROBLEM_JSON
from lightwell.gateways.http.routes import Open, Route

Document = dict[str, Any]


def operation(route: Route) -> Document:
    """One route as an OpenAPI 3.1 operation, with the action that policy is asked."""
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in route.parameters
    ]
    parameters += [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": text,
            "schema": {"type": "string"},
        }
        for name, text in route.query.items()
    ]
    described: Document = {
        "summary": route.summary,
        "operationId": f"{route.method.lower()} {route.template}",
        "parameters": parameters,
        "responses": {
            str(status): _response(route, status) for status in sorted(set(route.statuses))
        },
    }
    if route.consumes:
        described["requestBody"] = {
            "required": True,
            "content": {media: {"schema": _BINARY} for media in route.consumes},
        }
    if route.action is not None:
        described["x-policy"] = route.action.value
    return described


_BINARY: Mapping[str, str] = {"type": "string", "format": "binary"}


def _response(route: Route, status: int) -> Document:
    response: Document = {"description": HTTPStatus(status).phrase}
    if status < 300:
        response["content"] = {media: {} for media in route.produces}
    elif status >= 400:
        response["content"] = {PROBLEM_JSON: {"schema": {"type": "object"}}}
        if status in (409, 413) and route.consumes:
            response["content"] |= {media: {} for media in route.produces}
    return response


def document(
    routes: Iterable[Route],
    inner: Mapping[str, Any],
    asked: Mapping[str, Action | Open] = MappingProxyType({}),
) -> Document:
    """The framework's own document with every route of the table added. `asked`: what policy is asked at the
    framework's addresses, by method and path."""
    whole: Document = {**inner, "paths": {**inner.get("paths", {})}}
    for path, methods in whole["paths"].items():
        for method, described in methods.items():
            action = asked.get(f"{method.upper()} {path}")
            if isinstance(action, Action):
                described["x-policy"] = action.value
    for route in routes:
        path = route.template.replace("*}", "}")
        whole["paths"].setdefault(path, {})[route.method.lower()] = operation(route)
    return whole
