"""What durable work asks of an engine, and what an engine gives to a body.

A *workflow* is a name and a body: an async function `body(run, arguments)`. A *run* is one execution of
it for one tenant, known by an id. What an engine promises, whichever it is:

* A run that was started is carried out, through kills of worker, server and database, until its body has
  returned or raised, or it is cancelled.
* A step whose result is recorded is never run again. A step may be run more than once before that, and,
  when a worker was wrongly taken for dead, for some seconds in two places at once: only the result of
  the run's present owner is recorded. **So every step is written to be repeated**, and what a run finally
  changes is one idempotent commit that looks at the rows it changes.
* A body is replayed from its beginning with the recorded results. It must take the same steps in the same
  order: no clock (`run.now()`), no random number, no reading but in a step.

Arguments, messages and results are small JSON values: ids and counts, never patient data.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from lightwell.access.context import Tenant

Json: TypeAlias = Any
Arguments: TypeAlias = Mapping[str, Json]


class State(StrEnum):
    """Where a run stands."""

    WAITING = "waiting"  # started by somebody, carried out by nobody yet
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # its body raised; `retry` takes it up at the step that failed
    CANCELLED = "cancelled"


FINISHED = frozenset({State.DONE, State.FAILED, State.CANCELLED})
COUNTED = (
    State.WAITING,
    State.RUNNING,
    State.FAILED,
)  # what somebody may have to do something about
COUNT_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run as an operator sees it."""

    tenant: int
    id: str
    workflow: str
    state: State
    step: str = ""  # the last one begun
    done: int = 0  # of `total` somethings; total 0: not said
    total: int = 0
    what: str = ""  # of what: 'frames', 'objects'
    attempts: int = 0  # how often its body was begun: start, takeovers, retries
    error: str = ""  # why it failed, without patient data
    created: datetime | None = None
    updated: datetime | None = None
    asked: str = ""  # 'retry' or 'cancel', until that has come to pass
    arguments: Arguments = field(default_factory=dict)


class Run(Protocol):
    """What a body may do. Every method but `progress` is recorded, and replayed from the record."""

    @property
    def tenant(self) -> int:
        """The key of the tenant it works for."""

    @property
    def id(self) -> str:
        """The id it was started with."""

    async def step(self, name: str, function: Callable[..., object], *args: object) -> Json:
        """Do something to the world, once as far as the record goes; see the module's text.

        `function(*args)` is called on the process's own event loop when it is a coroutine function,
        else on a thread. Its result is a JSON value of at most 64 KiB, and is given back as JSON
        gives it back (a tuple as a list). Busy and Unavailable are tried again with growing pauses,
        for about ten minutes. What it raises then is recorded, and raised as one of the eight kinds
        of `kernel.errors` without data (anything else as Broken that names the type).
        """

    async def sleep(self, seconds: float) -> None:
        """Wait; a restart does not begin the wait anew. For minutes: what waits for days belongs into
        a due row of the dispatcher, for a sleeping run keeps one of its worker's places."""

    async def receive(self, topic: str, timeout: float) -> Json | None:
        """The oldest message of that topic not received yet; None after `timeout` seconds."""

    async def now(self) -> datetime:
        """The instant (UTC) at which this line was first reached."""

    def progress(self, done: int, total: int = 0, what: str = "") -> None:
        """Say how far it is; costs nothing and is seen about a second later. Steps may call it, too."""


Body: TypeAlias = Callable[[Run, Arguments], Awaitable[None]]
Workflows: TypeAlias = Mapping[str, Body]


class Engine(Protocol):
    """Starts runs and says how they are. Every process has one; carrying out is another matter.

    All methods raise Unavailable when the records cannot be reached: then nothing is known to be asked.
    """

    async def start(self, tenant: Tenant, workflow: str, run_id: str, arguments: Arguments) -> bool:
        """Have a run carried out; durable when this returns. False when there is one of that id, which
        is left as it is, whatever its state. Raises Invalid when the arguments are not small JSON."""

    async def signal(self, tenant: Tenant, run_id: str, topic: str, message: Json) -> None:
        """Give a run a message; durable when this returns, received once, oldest first. Raises Missing;
        Conflict when the run has finished."""

    async def status(self, tenant: Tenant, run_id: str) -> RunStatus:
        """How it is. Raises Missing."""

    async def runs(
        self,
        tenant: Tenant,
        *,
        states: Sequence[State] = (),
        limit: int = 100,
        before: RunStatus | None = None,
    ) -> list[RunStatus]:
        """Runs, newest first, at most `limit` (1000); the next page begins after `before`."""

    async def counts(self, tenant: Tenant) -> dict[State, int]:
        """How many runs wait, run and have failed; no more than `COUNT_LIMIT` of each is counted."""

    async def cancel(self, tenant: Tenant, run_id: str) -> None:
        """Ask that a run ends before its time: between two steps, or within one, which is cancelled and
        not undone. Comes to pass within seconds while a worker lives. No effect on a cancelled one;
        raises Missing, or Conflict when it is done or failed."""

    async def retry(self, tenant: Tenant, run_id: str) -> None:
        """Ask that a failed run goes on at the step that failed, a cancelled one where it was. Messages
        that a failed run had not received are dropped. Raises Missing, or Conflict when it is neither."""

    async def schedule(
        self, tenant: Tenant, name: str, workflow: str, arguments: Arguments, *, every: float
    ) -> None:
        """Start a run every so many seconds (at least 1), the first after one such time; the run's id is
        `name:` and the due time. Times that nobody was there for are made up for once. Naming a
        schedule that exists changes it, and keeps its next time unless `every` changes."""
