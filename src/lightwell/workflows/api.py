"""The front door of durable work: what runs there are, how they are, and two things a person may ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lightwell.access.actions import Action
from lightwell.access.commit import Committer
from lightwell.access.operation import Act, operation
from lightwell.access.ports import PolicySource
from lightwell.kernel.clock import Clock
from lightwell.workflows.ports import Engine, RunStatus, State


@dataclass(frozen=True, slots=True)
class Overview:
    """Some jobs, and how many wait, run and have failed in all (`Engine.counts`)."""

    jobs: Sequence[RunStatus]
    counts: Mapping[State, int]


class Jobs:
    """Runs of the caller's tenant. A person calls a run a job."""

    def __init__(
        self, engine: Engine, policy: PolicySource, committer: Committer, clock: Clock
    ) -> None:
        self._engine = engine
        self.policy = policy
        self.committer = committer
        self.clock = clock

    @operation(Action.WORK_JOB_LIST)
    async def list(
        self,
        act: Act,
        *,
        states: Sequence[State] = (),
        limit: int = 100,
        before: str | None = None,
    ) -> list[RunStatus]:
        """Jobs, newest first; the next page begins after the job with the id `before`. Raises Missing."""
        return [*await self._page(act, states, limit, before)]

    @operation(Action.WORK_JOB_LIST)
    async def overview(
        self,
        act: Act,
        *,
        states: Sequence[State] = (),
        limit: int = 100,
        before: str | None = None,
    ) -> Overview:
        """What `list` says and what `counts` says, as one act: for who looks again and again."""
        jobs = await self._page(act, states, limit, before)
        return Overview(jobs, await self._engine.counts(act.context.tenant))

    @operation(Action.WORK_JOB_LIST)
    async def counts(self, act: Act) -> dict[State, int]:
        """How many jobs wait, run and have failed."""
        return await self._engine.counts(act.context.tenant)

    async def _page(
        self, act: Act, states: Sequence[State], limit: int, before: str | None
    ) -> Sequence[RunStatus]:
        tenant = act.context.tenant
        last = await self._engine.status(tenant, before) if before else None
        return await self._engine.runs(tenant, states=states, limit=limit, before=last)

    @operation(Action.WORK_JOB_LIST)
    async def show(self, act: Act, job: str) -> RunStatus:
        """One job. Raises Missing."""
        act.about(subject=job)
        return await self._engine.status(act.context.tenant, job)

    @operation(Action.WORK_JOB_RETRY)
    async def retry(self, act: Act, job: str) -> RunStatus:
        """Have a failed or cancelled job carried on; it is so within a second or two of a worker's time.
        Raises Missing, Conflict."""
        act.about(subject=job)
        await self._engine.retry(act.context.tenant, job)
        return await self._engine.status(act.context.tenant, job)

    @operation(Action.WORK_JOB_CANCEL)
    async def cancel(self, act: Act, job: str) -> RunStatus:
        """Have a job end before its time. Raises Missing, Conflict."""
        act.about(subject=job)
        await self._engine.cancel(act.context.tenant, job)
        return await self._engine.status(act.context.tenant, job)
