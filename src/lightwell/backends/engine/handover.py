"""Between the table of runs and the engine: what was asked is done, what was lost is found again.

Done by one `work` process at a time. Each part can be repeated after a kill at any line: the engine takes
an id, a message and a cancellation once, and a row is changed after (for a retry: before) the engine.
"""

from __future__ import annotations

import asyncio
import logging

from lightwell.backends.database.executors import Executors
from lightwell.backends.database.handing import Asked, HandingTable
from lightwell.backends.database.pool import Database
from lightwell.backends.engine.desk import ENDED, Desk

log = logging.getLogger("lightwell.engine")

STALE_SECONDS = 60.0


class Handover:
    """The desk's clerk. Methods do one bounded round and say how much there was; raise Unavailable."""

    def __init__(self, work: Database, desk: Desk) -> None:
        self._table = HandingTable(work)
        self._executors = Executors(work)
        self._desk = desk

    async def step(self) -> int:
        """Schedules, new runs, wishes, messages."""
        done = await self._table.start_scheduled()
        if new := await self._table.new():
            refused = await asyncio.to_thread(self._desk.enqueue, new)
            await self._table.mark_handed([run.key for run in new])
            for key, why in refused.items():
                await self._table.lost(key, "failed", why)
        for asked in await self._table.asked():
            done += await (self._cancel if asked.what == "cancel" else self._retry)(asked)
        return done + len(new) + await self._deliver()

    async def _cancel(self, asked: Asked) -> int:
        if asked.handed:
            await asyncio.to_thread(self._desk.cancel, asked.key)
        await self._table.cancelled(asked.key)
        return 1

    async def _retry(self, asked: Asked) -> int:
        if asked.state not in ("failed", "cancelled"):
            await self._table.forget_asked(asked.key)
            return 1
        state = (await asyncio.to_thread(self._desk.states, [asked.key])).get(asked.key)
        if not asked.handed or state is None:
            await self._table.again(asked.key, handed=False)
            return 1
        if state not in ENDED:
            return 0  # its last worker is about to say so
        await self._table.again(asked.key, handed=True)
        await asyncio.to_thread(self._desk.again, asked.key)
        return 1

    async def _deliver(self) -> int:
        messages = await self._table.signals()
        for message in messages:
            if message.wanted:
                await asyncio.to_thread(self._desk.send, message)
            await self._table.forget_signal(message)
        return len(messages)

    async def reap(self) -> int:
        """Declare the silent dead, and give away what nobody living carries out; how many runs."""
        for name in await self._executors.declare_dead():
            log.warning("worker %s is silent; others take over its runs", name)
        under_way = await asyncio.to_thread(self._desk.under_way)
        living = await self._executors.living()
        orphans = [key for key, executor in under_way.items() if executor not in living]
        if orphans:
            log.warning("%d runs are taken over", len(orphans))
            await asyncio.to_thread(self._desk.resume, orphans)
        return len(orphans)

    async def reconcile(self, seconds: float = STALE_SECONDS) -> int:
        """Compare unfinished rows that were not compared for so long with what the engine says; how
        many were.

        They differ after a kill between two writes, and after a restore that brought back one side only.
        """
        table = self._table
        stale = await table.stale(seconds)
        keys = [row.key for row in stale]
        if not stale:
            return 0
        states = await asyncio.to_thread(self._desk.states, keys)
        under_way = await asyncio.to_thread(self._desk.under_way)
        for row in stale:
            theirs = states.get(row.key)
            if theirs is None:
                await table.unknown(row.key)
            elif theirs == "CANCELLED" and row.state == "running":
                await table.lost(row.key, "cancelled", "")
            elif theirs in ENDED and row.state == "running":
                await table.lost(row.key, "failed", f"The engine ended it: {theirs}.")
            elif theirs in ENDED:
                await asyncio.to_thread(self._desk.again, row.key)
            elif row.key in under_way and (not row.held or under_way[row.key] != row.executor):
                # The engine has given it to somebody who does not have it.
                await asyncio.to_thread(self._desk.resume, [row.key])
        await table.compared(keys)
        return len(stale)

    async def forget_old(self) -> int:
        """Remove runs that ended long ago, from the engine first."""
        keys = await self._table.old()
        if keys:
            await asyncio.to_thread(self._desk.forget, keys)
            await self._table.forget(keys)
        return len(keys)
