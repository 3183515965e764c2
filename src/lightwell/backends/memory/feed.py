"""The dispatcher's store in memory, for unit tests and the simulator: a list of changes a tenant."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from lightwell.access.context import Tenant
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Conflict, Missing
from lightwell.workflows.dispatcher import Change, News, Plan, Wait, bounded, run_id
from lightwell.workflows.ports import Engine, State

OPEN = (State.WAITING, State.RUNNING)


@dataclass(frozen=True, slots=True)
class MemoryChange:
    """One event with its place."""

    seq: int
    kind: str
    subject: Mapping[str, Any]
    at: datetime


class MemoryFeedStore:
    """See `FeedStore`. Runs are started on an engine; `tenants` are those it may start them for."""

    def __init__(self, engine: Engine, tenants: Mapping[int, Tenant], clock: Clock) -> None:
        self._engine = engine
        self._tenants = tenants
        self._clock = clock
        self._changes: dict[int, list[MemoryChange]] = {}
        self._positions: dict[int, int] = {}
        self._keys: dict[tuple[int, str, str], str] = {}  # the last run of a key
        self.waits: dict[tuple[int, str, str], Wait] = {}

    def add(self, tenant: int, kind: str, subject: Mapping[str, Any]) -> None:
        """An event happened."""
        feed = self._changes.setdefault(tenant, [])
        feed.append(MemoryChange(len(feed) + 1, kind, dict(subject), self._clock.now()))

    async def news(self) -> list[News]:
        return [
            News(tenant, self._positions.get(tenant, 0))
            for tenant, feed in sorted(self._changes.items())
            if len(feed) > self._positions.get(tenant, 0)
        ]

    async def page(self, tenant: int, after: int, limit: int) -> Sequence[Change]:
        return self._changes[tenant][after : after + limit]

    async def record(self, news: News, last: int, plan: Plan) -> None:
        if self._positions.get(news.tenant, 0) != news.seq:
            raise Conflict("Another dispatcher has dealt with these changes.")
        self._positions[news.tenant] = last
        for wait in plan.waits:
            self._wait(news.tenant, wait)
        tenant = self._tenants[news.tenant]
        for start in plan.starts:
            await self._engine.start(tenant, start.workflow, start.run_id, start.arguments)
            self._keys[(news.tenant, start.workflow, start.key)] = start.run_id
        for told in plan.told:
            try:
                await self._engine.signal(tenant, told.run_id, told.topic, told.message)
            except (Missing, Conflict):
                continue

    def _wait(self, tenant: int, wait: Wait) -> None:
        place = (tenant, wait.workflow, wait.key)
        old = self.waits.get(place)
        if old is not None:
            wait = replace(
                old,
                last_event=max(old.last_event, wait.last_event),
                due=bounded(max(old.due, wait.due), old.first_seen, wait.longest),
                events=old.events + wait.events,
            )
        self.waits[place] = wait

    async def start_due(self, but: Collection[int]) -> int:
        started = 0
        for place, wait in sorted(self.waits.items(), key=lambda each: each[1].due):
            tenant = place[0]
            if tenant in but or wait.due > self._clock.now() or await self._under_way(place):
                continue
            del self.waits[place]
            made = run_id(wait.workflow, wait.key, wait.first_seq)
            self._keys[place] = made
            started += await self._engine.start(
                self._tenants[tenant], wait.workflow, made, wait.arguments
            )
        return started

    async def _under_way(self, place: tuple[int, str, str]) -> bool:
        last = self._keys.get(place)
        if last is None:
            return False
        return (await self._engine.status(self._tenants[place[0]], last)).state in OPEN
