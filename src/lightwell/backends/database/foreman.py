"""Duties that one process does for all: whoever holds the lock does them, another takes over.

The lock is an advisory one of a session, so it ends with the session: at once when the process dies, after
some seconds when its machine does (the server asks whether the other end is still there). A process that
hangs keeps its session; so who waits for the lock looks at how long the holder has been silent, and has
the session of one that is stuck ended. What the holder still does without it must be fit to be done twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import asyncpg

from lightwell.backends.database.pool import FAILURES, connect, wrapped
from lightwell.backends.database.roles import ConnectionInfo, Role
from lightwell.kernel.errors import LightwellError

log = logging.getLogger("lightwell.foreman")

LOCK = 0x464F52454D414E
ROUND_SECONDS = 0.5
TAKEOVER_SECONDS = 1.0
PROOF_SECONDS = 5.0
SILENT_SECONDS = 10.0
# Roles may end sessions of their own. `state_change`: when it last began or ended a statement.
_END_SILENT = """
SELECT count(pg_terminate_backend(a.pid)) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND a.datname = current_database()
  AND l.database = a.datid AND ((l.classid::bigint << 32) | l.objid::bigint) = $1
  AND a.state_change < clock_timestamp() - make_interval(secs => $2)
"""
# Of the session that holds the lock: a machine that vanished is noticed after about ten seconds.
_KEEPALIVE = {
    "tcp_keepalives_idle": "4",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}


@dataclass(frozen=True, slots=True)
class Duty:
    """Something to do every so many seconds, at once again while it finds something to do."""

    name: str
    seconds: float
    act: Callable[[asyncpg.Connection[asyncpg.Record]], Awaitable[int]]


class Foreman:
    """Does the duties of one lock while it holds it. A duty that fails is done again at its next time."""

    def __init__(self, info: ConnectionInfo, duties: Sequence[Duty], *, lock: int = LOCK) -> None:
        self._info = info
        self._duties = duties
        self._lock = lock
        self.rounds = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop. A lost session gives the lock away; it is asked for again."""
        while not stop.is_set():
            try:
                connection = await connect(self._info, Role.WORK, **_KEEPALIVE)
            except LightwellError:
                await _pause(stop, TAKEOVER_SECONDS)
                continue
            try:
                await self._hold(connection, stop)
            except (LightwellError, *FAILURES) as error:
                log.warning("the foreman's session is lost: %s", type(error).__name__)
                await _pause(stop, TAKEOVER_SECONDS)
            finally:
                connection.terminate()

    async def _hold(
        self, connection: asyncpg.Connection[asyncpg.Record], stop: asyncio.Event
    ) -> None:
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", self._lock):
            if await connection.fetchval(_END_SILENT, self._lock, SILENT_SECONDS):
                log.warning("a foreman was silent for %.0f s: its session is ended", SILENT_SECONDS)
            await _pause(stop, TAKEOVER_SECONDS)
            if stop.is_set():
                return
        next_times = [0.0] * len(self._duties)
        while not stop.is_set():
            await connection.execute("SELECT 1", timeout=PROOF_SECONDS)  # still the holder
            for number, duty in enumerate(self._duties):
                if time.monotonic() >= next_times[number]:
                    found = await self._do(duty, connection)
                    next_times[number] = time.monotonic() + (0.0 if found else duty.seconds)
            self.rounds += 1
            await _pause(stop, ROUND_SECONDS)

    async def _do(self, duty: Duty, connection: asyncpg.Connection[asyncpg.Record]) -> int:
        try:
            with wrapped():
                return await duty.act(connection)
        except (LightwellError, *FAILURES) as error:
            if connection.is_closed():
                raise
            log.warning("%s: %s", duty.name, type(error).__name__)
            return 0


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
