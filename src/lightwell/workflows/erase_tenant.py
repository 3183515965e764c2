"""Carrying out that a tenant is erased: rows, objects, background work, and then the tenant itself.

The order is what makes a kill between any two steps harmless:

1. It was decided (`domain.tenants.erase_api`): a row says so, and now the installation's journal, too, so
   that a re-index does not bring it back. The tenant is suspended, and can be resumed by nobody: nothing of
   it is served from before the first row goes.
2. Its rows go, what refers to others first. Only then
3. its objects, of every kind and wherever they lie: at no moment is there a row that could be served and
   points at an object that is gone. Its own journal is among them.
4. What the engine knows of its background work.
5. The tenant's row, with rows that came meanwhile. Its name and number stay taken.
6. The installation's journal and record say that it is done, and then the row of 1.

Each step looks at what is there, so all of it is begun again after a kill, by a worker or by whoever asks
again. Memory: one page of keys. What was under way in another process while the tenant was suspended may
still leave an object or a row behind: `tidy` looks again for a day.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from lightwell.access.actions import Action
from lightwell.access.commit import Committer
from lightwell.access.context import Context
from lightwell.access.operation import Act, permit
from lightwell.access.ports import Journal, PolicySource
from lightwell.domain.tenants.erasing import ENTRY, Erasure, erasure_to_json, said
from lightwell.domain.tenants.ports import ErasureBook
from lightwell.kernel.clock import Clock
from lightwell.kernel.crashpoints import reach
from lightwell.kernel.errors import Busy, Missing

TIDY_FOR = timedelta(days=1)  # a process that was cut off has ended by then

Heard = Callable[[int, int], None]
"""(rows, objects) that have gone since it was told last."""


class TenantObjects(Protocol):
    """The objects of a tenant in the store. Raises Unavailable."""

    def erase(self, region: str, name: str) -> AsyncIterator[int]:
        """Delete what lies under a tenant's keys, some hundreds at a time; how many each time. What a listing
        passes over while objects go is left: ask again until there is nothing."""


class TenantRuns(Protocol):
    """What the engine of durable work keeps of a tenant. Raises Unavailable."""

    async def forget(self, number: int) -> int:
        """End its runs and remove their records; how many there were."""


@dataclass(slots=True)
class TenantErasure:
    """The hands of an erasure, in any process that may load the engine."""

    book: ErasureBook
    objects: TenantObjects
    runs: TenantRuns
    journal: Journal
    policy: PolicySource
    committer: Committer
    clock: Clock

    async def carry_out(
        self, context: Context, name: str, heard: Heard = lambda _rows, _objects: None
    ) -> Erasure:
        """Erase what was decided, to its end; one that has ended is tidied. `context`: of the installation's
        own work. Raises Missing, Unavailable; Busy while somebody else does it, or writes the tenant out."""
        erasure = await self._of(name)
        async with self.book.alone(erasure) as alone:
            if not alone:
                raise Busy(
                    f"The tenant {name} is being erased by another process, or is being written out.",
                    remedy="It goes on when that has ended.",
                )
            erasure = await self._of(name)
            if erasure.finished is not None:
                await self._clear(erasure, heard)
                return erasure
            return await self._to_its_end(context, erasure, heard)

    async def tidy(self) -> int:
        """Delete what came late of tenants that were erased within a day; how much that was."""
        since, found = self.clock.now() - TIDY_FOR, 0
        for erasure in await self.book.erasures():
            if erasure.finished is None or erasure.finished < since:
                continue
            async with self.book.alone(erasure) as alone:
                if alone:
                    found += await self._clear(erasure, lambda _rows, _objects: None)
        return found

    async def _to_its_end(self, context: Context, erasure: Erasure, heard: Heard) -> Erasure:
        await permit(self, context, Action.TENANTS_TENANT_ERASE)
        await self.journal.append(context.tenant, ENTRY, erasure_to_json(erasure))
        reach("e1")
        await self._clear(erasure, heard)
        reach("e4")
        await self.book.bury(erasure)
        reach("e5")
        done = replace(erasure, finished=self.clock.now())
        assert done.finished is not None
        await self.journal.append(context.tenant, ENTRY, erasure_to_json(done))
        act = Act(self, context, Action.TENANTS_TENANT_ERASE)
        detail = f"done, {said(done.kept)}; asked by {done.author}: {done.reason}"
        act.about(subject=done.name, detail=detail)
        await act.commit(())
        reach("e6")
        return await self.book.finish(erasure, done.finished)

    async def _clear(self, erasure: Erasure, heard: Heard) -> int:
        """Rows, then objects, then runs: whatever there is."""
        found = 0
        async for rows in self.book.rows(erasure):
            found += rows
            heard(rows, 0)
            reach("e2")
        while count := await self._objects_once(erasure, heard):
            found += count
        if erasure.number is not None:
            found += await self.runs.forget(erasure.number)
        return found

    async def _objects_once(self, erasure: Erasure, heard: Heard) -> int:
        """One listing."""
        count = 0
        async for objects in self.objects.erase(erasure.region, erasure.name):
            count += objects
            await self.book.note(erasure, objects)
            heard(0, objects)
        return count

    async def _of(self, name: str) -> Erasure:
        for erasure in await self.book.erasures():
            if erasure.name == name:
                return erasure
        raise Missing(
            "No such tenant is being erased.", remedy="`lightwell tenant list` shows all."
        )
