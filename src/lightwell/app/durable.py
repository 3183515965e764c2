"""Durable work put together: which workflows there are, what starts them, and who carries them out.

Run by the `work` process only: this module loads the engine's library.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import asyncpg

from lightwell.access.context import system_context
from lightwell.app.door_load import DoorLoad
from lightwell.app.settling import settling_of
from lightwell.app.wiring import House
from lightwell.backends.database.dispatching import PostgresFeedStore
from lightwell.backends.database.foreman import Duty, Foreman
from lightwell.backends.engine.dbos_engine import DbosWorker
from lightwell.backends.engine.desk import Desk
from lightwell.backends.engine.handover import Handover
from lightwell.backends.engine.identity import executor_id
from lightwell.kernel.clock import SystemClock
from lightwell.workflows import settle_series
from lightwell.workflows.dispatcher import Dispatcher, Rule
from lightwell.workflows.ports import Workflows
from lightwell.workflows.yielding import Yielding

HANDOVER_SECONDS = 0.5
DISPATCH_SECONDS = 0.5
REAP_SECONDS = 2.0
RECONCILE_SECONDS = 5.0
FORGET_SECONDS = 3600.0


def workflows_of(house: House, gate: Yielding) -> Workflows:
    """Every workflow of this version, by name. A name stays with its steps: runs may be under way."""
    settling = settling_of(house)

    async def settle(
        tenant: int, study_uid: str, series_uid: str, heard: settle_series.Heard
    ) -> dict[str, Any]:
        owner = next(t for t in await house.tenants.everyone() if t.key == tenant)
        done = await settling.settle(system_context(owner), study_uid, series_uid, heard)
        return {
            "generation": done.generation,
            "instances": done.instances,
            "coded": done.coded,
            "raw": done.raw,
            "stored": done.stored,
        }

    return {settle_series.NAME: settle_series.settle_series(settle)}


def rules_of(house: House) -> tuple[Rule, ...]:
    """What starts them."""
    return (settle_series.rule(house.settings.settle_after),)


class Durable:
    """The worker, the foreman and what they need, on the loop of the rooms."""

    def __init__(
        self,
        house: House,
        *,
        workflows: Workflows | None = None,
        rules: Sequence[Rule] | None = None,
        executor: str | None = None,
    ) -> None:
        self._desk = Desk(house.info)
        handover = Handover(house.work, self._desk)
        dispatcher = Dispatcher(rules_of(house) if rules is None else rules, SystemClock())
        self._doors = DoorLoad(house)
        self.gate = Yielding(lambda: self._doors.load, time.monotonic)
        self.worker = DbosWorker(
            house.info,
            house.work,
            workflows_of(house, self.gate) if workflows is None else workflows,
            executor=executor or executor_id(house.settings.data),
            at_once=house.settings.work_at_once,
            gate=self.gate.turn,
        )
        duties = [
            _duty("handover", HANDOVER_SECONDS, handover.step),
            _duty("takeover", REAP_SECONDS, handover.reap),
            _duty("reconciliation", RECONCILE_SECONDS, handover.reconcile),
            _duty("old jobs", FORGET_SECONDS, handover.forget_old),
        ]
        if dispatcher.rules:  # without rules the feed is left unread, for the first one that comes
            duties.append(Duty("dispatcher", DISPATCH_SECONDS, _dispatching(dispatcher)))
        self.foreman = Foreman(house.info, duties)

    def tasks(self, stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
        """What runs until told to stop."""
        return [self.worker.run(stop), self.foreman.run(stop), self._doors.listen(stop)]

    async def close(self) -> None:
        """After the tasks have ended."""
        await asyncio.to_thread(self._desk.close)


def _duty(name: str, seconds: float, act: Any) -> Duty:
    """A duty that needs the lock and not its session."""

    async def done(_connection: asyncpg.Connection[asyncpg.Record]) -> int:
        found: int = await act()
        return found

    return Duty(name, seconds, done)


def _dispatching(dispatcher: Dispatcher) -> Any:
    async def step(connection: asyncpg.Connection[asyncpg.Record]) -> int:
        return await dispatcher.step(PostgresFeedStore(connection))

    return step
