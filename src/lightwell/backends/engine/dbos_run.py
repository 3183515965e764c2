"""`Run` over DBOS: what a body does becomes a recorded operation of the library's.

The library may fail where the body cannot: its database is away, it is being shut down. Then this
execution ends without a trace, whatever the body catches, and the run is given to somebody again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from dbos import DBOS
from dbos import error as dbos_error

from lightwell.backends.database.run_book import Key, NotMine, Progress
from lightwell.kernel.errors import Broken, LightwellError
from lightwell.workflows.ports import Json

T = TypeVar("T")

# The body's own fault: it does other things than those that were recorded.
_OTHER_WAY = (dbos_error.DBOSUnexpectedStepError, dbos_error.DBOSStepNondeterminismError)


class Performer(Protocol):
    """What a run needs of its worker."""

    async def perform(
        self,
        key: Key,
        number: int,
        name: str,
        function: Callable[..., object],
        args: tuple[object, ...],
    ) -> Json:
        """Carry a step out on the process's own loop. Raises NotMine."""

    def note(self, key: Key, progress: Progress) -> None:
        """Keep how far a run is, for the next report. From any thread."""


class DbosRun:
    """Lives on the library's loop for one execution of a body."""

    def __init__(self, worker: Performer, key: Key) -> None:
        self._worker = worker
        self._key = key
        self._steps = 0
        self.let_down = False
        """The library failed: the run has not ended, and must be given to somebody again."""

    @property
    def tenant(self) -> int:
        return self._key[0]

    @property
    def id(self) -> str:
        return self._key[1]

    async def step(self, name: str, function: Callable[..., object], *args: object) -> Json:
        self._steps += 1
        number = self._steps

        async def act() -> Json:
            try:
                return await self._worker.perform(self._key, number, name, function, args)
            except NotMine:
                # Not a failure of the step: this execution ends here and nothing of it is recorded.
                raise asyncio.CancelledError from None

        # Preemptible: a run that is cancelled has its step cancelled within about a second.
        return await self._asked(DBOS.run_step_async({"name": name, "preemptible": True}, act))

    async def sleep(self, seconds: float) -> None:
        await self._asked(DBOS.sleep_async(seconds))

    async def receive(self, topic: str, timeout: float) -> Json | None:
        return await self._asked(DBOS.recv_async(topic, timeout_seconds=timeout))

    async def now(self) -> datetime:
        text = await self._asked(DBOS.run_step_async({"name": "now"}, _instant))
        return datetime.fromisoformat(text)

    def progress(self, done: int, total: int = 0, what: str = "") -> None:
        self._worker.note(self._key, Progress(done, total, what))

    async def _asked(self, operation: Coroutine[Any, Any, T]) -> T:
        """The operation's result or recorded failure. What else goes wrong is the library's trouble."""
        try:
            return await operation
        except LightwellError:
            raise
        except _OTHER_WAY:
            raise Broken(
                "The body takes another way than before.",
                remedy="A body whose runs are under way must not change its steps; "
                "give it a new name.",
            ) from None
        except Exception as error:
            self.let_down = True
            raise asyncio.CancelledError from error


async def _instant() -> str:
    return datetime.now(UTC).isoformat()
