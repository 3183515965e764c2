"""Each process says every two seconds that it is there, and how it is doing.

The rows carry its counters too, so that any process can answer /metrics and /readyz for all of them:
no shared files, no shared memory, and a cluster of machines looks like one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from lightwell.app.wiring import House
from lightwell.backends.database.doors import FACTS
from lightwell.backends.database.pool import FAILURES
from lightwell.kernel.errors import LightwellError

log = logging.getLogger("lightwell.heartbeat")

PERIOD_SECONDS = 2.0
STALE_SECONDS = 7.0
ANSWERS = "answers"  # a fact of `work`: by region, whether its store does; where there are several
STORES = (
    "stores"  # a fact of each process: by region, the numbers of its store; where there are several
)
USAGE = "usage"  # a fact of `work`: by tenant, studies and bytes kept, and how many may be
WEB = "web"  # a fact of each HTTP worker: the URL by which people reach it
CPU = "cpu_seconds"  # in every beat: processor time of the process since its start

Numbers = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Beat:
    """One process as the others see it."""

    name: str
    role: str
    pid: int
    age: float  # seconds since it was last heard of
    detail: dict[str, float]
    facts: dict[str, Any] = field(default_factory=dict)  # what is no number


class Heart:
    """Beats for one process; `numbers`, and `facts` that are none, are asked for at each beat."""

    def __init__(
        self,
        house: House,
        name: str,
        role: str,
        numbers: Callable[[], Numbers],
        facts: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._house = house
        self._name = name
        self._role = role
        self._numbers = numbers
        self._facts = facts
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """The first beat is made before this returns: a started process is a heard one.

        A database that is away is waited for: it would be away for the next process too.
        """
        while True:
            try:
                await self._beat()
                break
            except (LightwellError, *FAILURES) as error:
                log.warning("waiting for the database: %s", type(error).__name__)
                await asyncio.sleep(PERIOD_SECONDS / 4)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Take the row away: this process serves no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            async with self._house.database.session() as connection:
                await connection.execute("DELETE FROM heartbeat WHERE name = $1", self._name)
        except (LightwellError, *FAILURES) as error:
            log.info("the heartbeat row stays until it is stale: %s", type(error).__name__)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            try:
                await self._beat()
            except (LightwellError, *FAILURES) as error:
                log.warning("no heartbeat: %s", type(error).__name__)

    async def _beat(self) -> None:
        numbers = {name: store.numbers() for name, store in self._house.stores.items()}
        alone = len(numbers) == 1
        async with self._house.database.session() as connection:
            await connection.execute(
                "INSERT INTO heartbeat (name, role, pid, at, detail)"
                " VALUES ($1, $2, $3, now(), $4::jsonb) ON CONFLICT (name) DO UPDATE"
                " SET role = excluded.role, pid = excluded.pid, at = excluded.at, detail = excluded.detail",
                self._name,
                self._role,
                os.getpid(),
                orjson.dumps(
                    {
                        **self._numbers(),
                        **(self._house.blobs.numbers() if alone else {}),
                        CPU: time.process_time(),
                        FACTS: {**self._facts(), **({} if alone else {STORES: numbers})},
                    }
                ).decode(),
            )


async def beats(house: House) -> list[Beat]:
    """Every process that was heard of, stale ones too."""
    async with house.database.session() as connection:
        rows = await connection.fetch(
            "SELECT name, role, pid, extract(epoch FROM now() - at)::float8 AS age, detail::text AS detail"
            " FROM heartbeat ORDER BY name"
        )
    found = []
    for r in rows:
        detail = orjson.loads(r["detail"])
        facts = detail.pop(FACTS, {})
        found.append(Beat(r["name"], r["role"], r["pid"], r["age"], detail, facts))
    return found


async def web_address(house: House) -> str | None:
    """The URL of the running server's web app; None when none was heard of lately."""
    for beat in await beats(house):
        if WEB in beat.facts and beat.age <= STALE_SECONDS:
            return str(beat.facts[WEB])
    return None


async def forget_beats(house: House) -> None:
    """At the start of a generation: rows of an older one say nothing."""
    async with house.database.session() as connection:
        await connection.execute("DELETE FROM heartbeat")
