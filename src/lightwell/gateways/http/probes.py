"""What machines ask of a server: is it alive, is it ready, how is it doing, what can it do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from lightwell.access.context import Actor
from lightwell.access.roles import Role
from lightwell.gateways.http.exchange import Exchange
from lightwell.gateways.http.routes import Route

Ready = Callable[[], Awaitable[dict[str, str]]]
"""What is not ready and why; empty when every door is open and the store has answered."""

Metrics = Callable[[], bytes]
INSTALLATION = "default"  # the tenant that is the installation's own
RUNNERS = frozenset({Role.ADMIN, Role.PACS_ADMIN, Role.AUDITOR, Role.INTEGRATION})
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def _runs_it(actor: Actor) -> bool:
    return not actor.home or (actor.home == INSTALLATION and not RUNNERS.isdisjoint(actor.roles))


def probe_routes(
    ready: Ready,
    metrics: Metrics,
    describe: Callable[[], dict[str, Any]],
    tenant_metrics: Metrics | None = None,
    away: Ready | None = None,
) -> list[Route]:
    """`/livez`, `/readyz`, `/metrics`, `/openapi.json`. They name no patient and need no permission;
    the last two answer to whoever has an identity. `tenant_metrics` name tenants: they are for who is of
    none, or runs the installation or watches over it. `away`: what else does not answer, without which the
    others still work."""
    described: list[bytes] = []

    async def livez(x: Exchange) -> None:
        await x.reply(200, b"ok\n", "text/plain", [(b"cache-control", b"no-store")])

    async def readyz(x: Exchange) -> None:
        missing = await ready()
        said: dict[str, object] = {"ready": not missing, "waiting_for": missing}
        if away is not None and (without := await away()):
            said["away"] = without
        body = orjson.dumps(said)
        status = 503 if missing else 200
        await x.reply(status, body, "application/json", [(b"cache-control", b"no-store")])

    async def numbers(x: Exchange) -> None:
        text = metrics()
        if tenant_metrics is not None and _runs_it(x.actor):
            text += tenant_metrics()
        await x.reply(200, text, METRICS_TYPE)

    async def openapi(x: Exchange) -> None:
        if not described:
            described.append(orjson.dumps(describe()))
        await x.reply(200, described[0], "application/json")

    return [
        Route("GET", "/livez", livez, None, "Whether this process answers", public=True),
        Route(
            "GET",
            "/readyz",
            readyz,
            None,
            "Whether it can do its work",
            statuses=(200, 503),
            public=True,
        ),
        Route("GET", "/metrics", numbers, None, "Numbers for Prometheus"),
        Route("GET", "/openapi.json", openapi, None, "This document"),
    ]
