"""Durable work in memory, for unit tests and the simulator: records live as long as the object.

A crash is `crash()`: every task is dropped where it stands. `recover()` is what another worker does:
bodies are replayed from the records. Time is the running loop's for waiting and the clock's for records,
so that a simulated loop needs no waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from lightwell.access.context import Tenant
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Broken, Conflict, LightwellError, Missing
from lightwell.workflows.ports import (
    COUNT_LIMIT,
    COUNTED,
    FINISHED,
    Arguments,
    Json,
    RunStatus,
    State,
    Workflows,
)
from lightwell.workflows.steps import Turn, carry_out
from lightwell.workflows.values import (
    RESULT_BYTES,
    checked_arguments,
    checked_run_id,
    checked_workflow,
    encoded,
    failure_from_json,
    failure_to_json,
    told,
)

Key = tuple[int, str]


@dataclass(slots=True)
class _Record:
    """One thing that was done, as JSON text: what a replay is given."""

    name: str
    text: str
    failed: bool = False


@dataclass(slots=True)
class _Kept:
    """A run as it survives a crash."""

    status: RunStatus
    arguments: str
    order: int
    records: list[_Record] = field(default_factory=list)
    messages: dict[str, deque[str]] = field(default_factory=dict)


@dataclass(slots=True)
class _Schedule:
    workflow: str
    arguments: Arguments
    every: float
    due: datetime
    tenant: Tenant


class MemoryEngine:
    """`Engine` and its worker in one. Runs are begun on the loop that `start` is called on."""

    def __init__(
        self,
        workflows: Workflows,
        clock: Clock,
        *,
        gate: Turn = contextlib.nullcontext,
    ) -> None:
        self._workflows = workflows
        self._clock = clock
        self._gate = gate
        self._kept: dict[Key, _Kept] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._heard: dict[Key, asyncio.Event] = {}
        self._schedules: dict[tuple[int, str], _Schedule] = {}
        self._down = False

    # -- what an Engine does ---------------------------------------------------------------------

    async def start(self, tenant: Tenant, workflow: str, run_id: str, arguments: Arguments) -> bool:
        key = (tenant.key, checked_run_id(run_id))
        checked_workflow(workflow)
        text = checked_arguments(arguments)
        if key in self._kept:
            return False
        now = self._clock.now()
        status = RunStatus(
            tenant.key,
            run_id,
            workflow,
            State.WAITING,
            created=now,
            updated=now,
            arguments=json.loads(text),
        )
        self._kept[key] = _Kept(status, text, len(self._kept))
        self._begin(key)
        return True

    async def signal(self, tenant: Tenant, run_id: str, topic: str, message: Json) -> None:
        kept = self._found(tenant, run_id)
        text = encoded(message, RESULT_BYTES, "A message")
        if kept.status.state in FINISHED:
            raise Conflict("The run has finished.")
        kept.messages.setdefault(topic, deque()).append(text)
        self._event((tenant.key, run_id)).set()

    async def status(self, tenant: Tenant, run_id: str) -> RunStatus:
        return self._found(tenant, run_id).status

    async def runs(
        self,
        tenant: Tenant,
        *,
        states: Sequence[State] = (),
        limit: int = 100,
        before: RunStatus | None = None,
    ) -> list[RunStatus]:
        mine = [k for key, k in self._kept.items() if key[0] == tenant.key]
        last = self._kept[(tenant.key, before.id)].order if before else len(self._kept)
        newest = sorted(mine, key=lambda kept: -kept.order)
        chosen = [k.status for k in newest if k.order < last]
        return [s for s in chosen if not states or s.state in states][:limit]

    async def counts(self, tenant: Tenant) -> dict[State, int]:
        states = [kept.status.state for key, kept in self._kept.items() if key[0] == tenant.key]
        return {state: min(states.count(state), COUNT_LIMIT) for state in COUNTED}

    async def cancel(self, tenant: Tenant, run_id: str) -> None:
        kept = self._found(tenant, run_id)
        if kept.status.state in (State.DONE, State.FAILED):
            raise Conflict("The run has finished.")
        self._change(kept, state=State.CANCELLED)
        task = self._tasks.pop((tenant.key, run_id), None)
        if task is not None:
            task.cancel()

    async def retry(self, tenant: Tenant, run_id: str) -> None:
        kept = self._found(tenant, run_id)
        if kept.status.state not in (State.FAILED, State.CANCELLED):
            raise Conflict("Only a failed or cancelled run can be retried.")
        if kept.status.state is State.FAILED:
            kept.messages.clear()
            if kept.records and kept.records[-1].failed:
                kept.records.pop()
        self._change(kept, state=State.WAITING, error="")
        self._begin((tenant.key, run_id))

    async def schedule(
        self, tenant: Tenant, name: str, workflow: str, arguments: Arguments, *, every: float
    ) -> None:
        checked_run_id(name)
        checked_workflow(workflow)
        checked_arguments(arguments)
        old = self._schedules.get((tenant.key, name))
        due = self._clock.now() + timedelta(seconds=every)
        if old is not None and old.every == every:
            due = old.due
        made = _Schedule(workflow, dict(arguments), every, due, tenant)
        self._schedules[(tenant.key, name)] = made

    # -- what a test or the simulator does -------------------------------------------------------

    async def start_due(self) -> int:
        """Start what the schedules say is due; how many runs that were."""
        now, started = self._clock.now(), 0
        for (_, name), schedule in list(self._schedules.items()):
            if schedule.due > now:
                continue
            run_id = f"{name}:{int(schedule.due.timestamp())}"
            started += await self.start(
                schedule.tenant, schedule.workflow, run_id, schedule.arguments
            )
            while schedule.due <= now:
                schedule.due += timedelta(seconds=schedule.every)
        return started

    def crash(self) -> None:
        """Drop every task where it stands: the worker is gone, the records are not."""
        self._down = True
        tasks, self._tasks = self._tasks, {}
        for task in tasks.values():
            task.cancel()

    def recover(self) -> None:
        """A worker is there again: carry on with all that has not finished."""
        self._down = False
        for key, kept in self._kept.items():
            if kept.status.state not in FINISHED and key not in self._tasks:
                self._begin(key)

    async def close(self) -> None:
        """Drop the tasks and wait until they are gone."""
        tasks = list(self._tasks.values())
        self.crash()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- inside ----------------------------------------------------------------------------------

    def _found(self, tenant: Tenant, run_id: str) -> _Kept:
        kept = self._kept.get((tenant.key, run_id))
        if kept is None:
            raise Missing("There is no such run.")
        return kept

    def _event(self, key: Key) -> asyncio.Event:
        return self._heard.setdefault(key, asyncio.Event())

    def _change(self, kept: _Kept, **what: Any) -> None:
        kept.status = replace(kept.status, updated=self._clock.now(), **what)

    def _begin(self, key: Key) -> None:
        if not self._down:
            self._tasks[key] = asyncio.get_running_loop().create_task(self._conduct(key))

    async def _conduct(self, key: Key) -> None:
        kept = self._kept[key]
        attempts = kept.status.attempts + 1
        self._change(kept, state=State.RUNNING, attempts=attempts)
        run = MemoryRun(self, key, kept, self._clock, self._gate)
        body = self._workflows.get(kept.status.workflow)
        try:
            if body is None:
                raise Broken(f"This version has no workflow {kept.status.workflow}.")
            await body(run, json.loads(kept.arguments))
        except Exception as error:  # noqa: BLE001 - whatever a body raises is how its run ended
            self._change(kept, state=State.FAILED, error=told(error))
        else:
            self._change(kept, state=State.DONE)
        self._tasks.pop(key, None)


class MemoryRun:
    """`Run` over a list of records: what is in it is given back, what is not is done and added."""

    def __init__(
        self,
        engine: MemoryEngine,
        key: Key,
        kept: _Kept,
        clock: Clock,
        gate: Turn,
    ) -> None:
        self._engine = engine
        self._key = key
        self._kept = kept
        self._clock = clock
        self._gate = gate
        self._next = 0

    @property
    def tenant(self) -> int:
        return self._key[0]

    @property
    def id(self) -> str:
        return self._key[1]

    async def step(self, name: str, function: Callable[..., object], *args: object) -> Json:
        async def act() -> Json:
            self._engine._change(self._kept, step=name, done=0, total=0, what="")
            return await carry_out(function, args, turn=self._gate)

        return await self._recorded(name, act)

    async def sleep(self, seconds: float) -> None:
        until = await self._recorded("sleep", self._instant(seconds))
        await asyncio.sleep(max(0.0, float(until) - self._clock.now().timestamp()))

    async def receive(self, topic: str, timeout: float) -> Json | None:
        until = await self._recorded("receive until", self._instant(timeout))

        async def act() -> Json:
            waiting = self._kept.messages.setdefault(topic, deque())
            heard = self._engine._event(self._key)
            while not waiting:
                left = float(until) - self._clock.now().timestamp()
                if left <= 0:
                    return None
                heard.clear()
                try:
                    async with asyncio.timeout(left):
                        await heard.wait()
                except TimeoutError:
                    continue
            return json.loads(waiting.popleft())

        return await self._recorded(f"receive {topic}", act)

    async def now(self) -> datetime:
        text: str = await self._recorded("now", self._text_of_now)
        return datetime.fromisoformat(text)

    def progress(self, done: int, total: int = 0, what: str = "") -> None:
        self._engine._change(self._kept, done=done, total=total, what=what)

    def _instant(self, seconds: float) -> Callable[[], Awaitable[Json]]:
        async def act() -> Json:
            return self._clock.now().timestamp() + seconds

        return act

    async def _text_of_now(self) -> Json:
        return self._clock.now().isoformat()

    async def _recorded(self, name: str, act: Callable[[], Awaitable[Json]]) -> Json:
        place, self._next = self._next, self._next + 1
        if place < len(self._kept.records):
            return _given_back(self._kept.records[place], name)
        try:
            result = await act()
        except LightwellError as error:
            self._kept.records.append(_Record(name, json.dumps(failure_to_json(error)), True))
            raise
        self._kept.records.append(_Record(name, json.dumps(result)))
        return result


def _given_back(record: _Record, name: str) -> Json:
    if record.name != name:
        raise Broken(
            f"The body takes another way than before: {name} where it had {record.name}.",
            remedy="A body whose runs are under way must not change its steps; give it a new name.",
        )
    value = json.loads(record.text)
    if record.failed:
        raise failure_from_json(value)
    return value
