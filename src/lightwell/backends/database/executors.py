"""Who carries out runs, who is alive, who is declared dead. All times are the database's.

An executor touches its row every three seconds. Nine seconds after the last touch that succeeded it
stops its steps by itself; after twelve it is declared dead and its runs are given to others. It can so
be that nobody works on a run for three seconds, and that two do only while the first one's steps ignore
that they are cancelled.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID, uuid4

from lightwell.backends.database.pool import Database

BEAT_SECONDS = 3.0
LEASE_SECONDS = 9.0
DEAD_SECONDS = 12.0
FORGET_SECONDS = 24 * 3600.0

_REGISTER = """
INSERT INTO work_executor (executor, incarnation, host, pid) VALUES ($1, $2, $3, $4)
ON CONFLICT (executor) DO UPDATE SET incarnation = excluded.incarnation, host = excluded.host,
  pid = excluded.pid, started = now(), at = now(), dead = false
"""
_BEAT = """
UPDATE work_executor SET at = now() WHERE executor = $1 AND incarnation = $2 AND NOT dead
"""
_DECLARE = """
UPDATE work_executor SET dead = true
WHERE NOT dead AND at < now() - make_interval(secs => $1) RETURNING executor
"""


@dataclass(slots=True)
class Lease:
    """The right to carry out runs, as the holder's own monotonic clock sees it."""

    monotonic: Callable[[], float]
    until: float = float("-inf")
    taken: bool = False

    def renew(self, asked_at: float) -> None:
        """The row was touched by a question asked at that time."""
        self.until = asked_at + LEASE_SECONDS

    def lose(self) -> None:
        """The row says that we are dead, or somebody else is us."""
        self.taken = True

    @property
    def held(self) -> bool:
        """Whether steps may run."""
        return not self.taken and self.monotonic() < self.until


class Executors:
    """The table of executors, for one of them and for who watches over all."""

    def __init__(self, work: Database) -> None:
        self._work = work

    async def register(self, executor: str) -> UUID:
        """Begin a new incarnation; one that still runs under this name is fenced off from now on."""
        incarnation = uuid4()
        async with self._work.session() as connection:
            await connection.execute(
                _REGISTER, executor, incarnation, socket.gethostname(), os.getpid()
            )
        return incarnation

    async def beat(self, executor: str, incarnation: UUID) -> bool:
        """Say that it lives; False when it was declared dead or replaced: it must stop."""
        async with self._work.session() as connection:
            status = await connection.execute(_BEAT, executor, incarnation)
        return status.endswith(" 1")

    async def leave(self, executor: str, incarnation: UUID) -> None:
        """An orderly end: its runs are anybody's at once."""
        async with self._work.session() as connection:
            await connection.execute(
                "DELETE FROM work_executor WHERE executor = $1 AND incarnation = $2",
                executor,
                incarnation,
            )

    async def declare_dead(self) -> list[str]:
        """Declare those dead who were silent for too long; their names. Old names are forgotten."""
        async with self._work.session() as connection:
            rows = await connection.fetch(_DECLARE, DEAD_SECONDS)
            await connection.execute(
                "DELETE FROM work_executor WHERE dead AND at < now() - make_interval(secs => $1)",
                FORGET_SECONDS,
            )
        return [row["executor"] for row in rows]

    async def living(self) -> set[str]:
        """Names of all that are not declared dead."""
        async with self._work.session() as connection:
            rows = await connection.fetch("SELECT executor FROM work_executor WHERE NOT dead")
        return {row["executor"] for row in rows}
