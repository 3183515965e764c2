"""What it costs to know who asks for a frame: asked by a key, and by somebody who is known already.

    script/bench identity

In one process without a server around it, so that the share is larger than what a client could measure.
Blocks of requests alternate; processor time of the whole process, median of the blocks.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench import peers
from bench.objects import ct_slices
from lightwell.app.database_access import database
from lightwell.app.http import http_application
from lightwell.app.settings import Endpoint, Settings
from lightwell.app.wiring import House, open_house
from lightwell.gateways.http.asgi import Application, Message, Scope
from lightwell.gateways.http.identity import Caller, Identity

SLICES, BLOCKS, TURNS = 60, 30, 4
ACCEPT = b"multipart/related; type=application/octet-stream; transfer-syntax=*"


class Known(Identity):
    """Looks at the first request, and takes every other one for the same caller's."""

    _first: Caller | None = None

    async def caller(self, scope: Scope) -> Caller:
        if self._first is None:
            self._first = await super().caller(scope)
        return self._first


async def _nothing_missing() -> dict[str, str]:
    return {}


def _application(house: House) -> Application:
    return http_application(
        archive=house.archive,
        tenants=house.tenants,
        jobs=house.jobs,
        pool=house.codecs,
        ready=_nothing_missing,
        metrics=lambda: b"",
        sign_in=house.sign_in,
    )


async def _fetch(application: Application, path: str, bearer: str) -> int:
    got = 0

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal got
        if message["type"] == "http.response.start" and message["status"] != 200:
            raise SystemExit(f"{message['status']} for {path}")
        got += len(message.get("body", b""))

    headers = [
        (b"host", b"127.0.0.1"),
        (b"accept", ACCEPT),
        (b"authorization", f"Bearer {bearer}".encode()),
    ]
    scope: Scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await application(scope, receive, send)
    return got


async def _compare(house: House, paths: list[str], bearer: str) -> dict[str, Any]:
    asked = _application(house)
    with patch("lightwell.app.http.Identity", Known):
        known = _application(house)
    spent: dict[str, list[float]] = {"asked": [], "known": []}
    lanes = [("asked", asked), ("known", known)]
    for application in (asked, known):
        for path in paths:
            await _fetch(application, path, bearer)
    for number in range(BLOCKS):
        for name, application in lanes if number % 2 == 0 else lanes[::-1]:
            began = time.process_time()
            for _ in range(TURNS):
                for path in paths:
                    await _fetch(application, path, bearer)
            spent[name].append((time.process_time() - began) / (TURNS * len(paths)))
    ours, theirs = (statistics.median(spent[name]) * 1e6 for name in ("asked", "known"))
    return {
        "us_a_frame": round(ours, 1),
        "us_a_frame_known": round(theirs, 1),
        "share": round((ours - theirs) / ours, 4),
    }


def measure_identity(folder: Path) -> dict[str, Any]:
    """Both lanes over one stored series of 512 kB slices."""
    from bench.run import a_study_of, get_json, send

    with peers.ours(folder, environment={"LIGHTWELL_SETTLE_AFTER": "86400"}) as peer:
        send(peer, ct_slices(folder / "fr", SLICES, 77), 4)
        study = a_study_of(peer)
        root = f"/dicomweb/studies/{study}"
        found = get_json(f"http://127.0.0.1:{peer.http}{root}/instances?limit={SLICES}")
        paths = [
            f"{root}/series/{i['0020000E']['Value'][0]}/instances/{i['00080018']['Value'][0]}/frames/1"
            for i in found
        ]
        nowhere = Endpoint("127.0.0.1", 0)
        settings = Settings(data=peer.data, http=nowhere, dimse=nowhere)

        async def work() -> dict[str, Any]:
            with database(settings) as info:
                house = open_house(settings, info, examine=False)
                try:
                    return await _compare(house, paths, peers.BEARERS[peer.http])
                finally:
                    await house.close()

        return asyncio.run(work())
