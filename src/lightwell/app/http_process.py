"""The `http` process: granian and its workers, each an event loop with its own rooms."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from granian import Granian
from granian.constants import Interfaces, Loops, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels

from lightwell.app.generation import (
    allow_many_files,
    await_generation,
    die_with_parent,
    read_generation,
)
from lightwell.app.heartbeat import WEB, Heart
from lightwell.app.http import http_application
from lightwell.app.logs import log_to_file
from lightwell.app.memory import keep_memory
from lightwell.app.offices import offices_of
from lightwell.app.readiness import Numbers, Readiness
from lightwell.app.wiring import House, open_house, start_listening, use_threads
from lightwell.backends.codecs.pool import DecoderPool
from lightwell.gateways.http.forwarded import parse_proxies
from lightwell.gateways.http.guard import DoorLimits

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HEADER_SECONDS = 10_000  # milliseconds for a request's header
KILL_SECONDS = 55
DECODERS = 1


class Worker:
    """One HTTP worker as an ASGI application: rooms are opened at startup and closed at shutdown."""

    def __init__(self) -> None:
        self._inner: Callable[[Scope, Receive, Send], Awaitable[None]] | None = None
        self._house: House | None = None
        self._pool: DecoderPool | None = None
        self._heart: Heart | None = None
        self._numbers: asyncio.Task[None] | None = None
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if self._inner is None:
            raise RuntimeError("the worker has not started")
        self._requests += 1
        await self._inner(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _open(self) -> None:
        generation = read_generation()
        use_threads()
        house = open_house(generation.settings, generation.info, examine=False)
        self._house = house
        self._pool = DecoderPool(DECODERS)
        readiness, numbers = Readiness(house), Numbers(house)
        self._inner = http_application(
            archive=house.archive,
            tenants=house.tenants,
            jobs=house.jobs,
            pool=self._pool,
            ready=readiness.problems,
            away=readiness.away,
            metrics=numbers.text,
            tenant_metrics=numbers.tenants_text,
            sign_in=house.sign_in,
            provider_sign_in=house.provider_sign_in,
            public_url=generation.settings.public_url,
            glass=house.glass,
            offices=offices_of(house),
            limits=DoorLimits(local=generation.settings.unnamed),
            proxies=parse_proxies(generation.settings.proxies),
            machines=house.machines,
        )
        start_listening(house)
        self._numbers = asyncio.get_running_loop().create_task(numbers.listen())
        self._heart = Heart(
            house,
            f"http-{os.getpid()}",
            "http",
            lambda: {
                "http_requests": self._requests,
                "glass_broken": house.glass.broken,
                "seals_broken": house.sign_in.seals_broken,
            },
            lambda: {WEB: generation.settings.named_url},
        )
        await self._heart.start()

    async def _close(self) -> None:
        if self._numbers is not None:
            self._numbers.cancel()
        if self._heart is not None:
            await self._heart.stop()
        if self._pool is not None:
            await self._pool.close()
        if self._house is not None:
            await self._house.close()


def application() -> Worker:
    """granian's factory, run once in each worker process."""
    generation = read_generation()
    die_with_parent()
    allow_many_files()
    keep_memory()
    log_to_file(generation.settings.logs, "http")
    return Worker()


def main() -> None:
    """Entry point of the process that owns the workers."""
    generation = await_generation()
    die_with_parent(generation.lifeline)
    settings, tls = generation.settings, generation.settings.http_tls
    log_to_file(settings.logs, "http-main")
    Granian(
        "lightwell.app.http_process:application",
        factory=True,
        address=settings.http.host,
        port=settings.http.port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        loop=Loops.uvloop,
        respawn_failed_workers=True,
        workers_kill_timeout=KILL_SECONDS,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS),
        log_level=LogLevels.warning,
        log_access=False,
        websockets=False,
        ssl_cert=tls.certificate if tls else None,
        ssl_key=tls.key if tls else None,
        ssl_protocol_min=SSLProtocols.tls12,  # RFC 9325 4.1; 1.3 is taken where both have it
    ).serve()


if __name__ == "__main__":
    main()
