"""Erasing tenants, put together: for the `work` process, and for the command that does it at once."""

from __future__ import annotations

import asyncio
import logging
import time
from itertools import islice

from lightwell.access.context import system_context
from lightwell.app.wiring import House
from lightwell.backends.blobs.erasing import StoredObjects
from lightwell.backends.database.erasing import PostgresErasures
from lightwell.backends.engine.forgetting import EngineRuns
from lightwell.domain.archive.invariants import SHOWN, Found
from lightwell.domain.archive.keys import tenant_prefix
from lightwell.domain.archive.ports import StoreUnavailable
from lightwell.domain.tenants.erasing import Erasure
from lightwell.kernel.clock import SystemClock
from lightwell.kernel.errors import Busy
from lightwell.workflows.erase_tenant import Heard, TenantErasure

log = logging.getLogger("lightwell.work")

CHANNEL = "erase"
TIDY_SECONDS = 600.0
WAIT_SECONDS = 1.0


def erasure_of(house: House) -> TenantErasure:
    """The hands of an erasure, on the rooms of this process."""
    return TenantErasure(
        book=PostgresErasures(house.info, house.work),
        objects=StoredObjects(house.blobs),
        runs=EngineRuns(house.info, house.work),
        journal=house.journal,
        policy=house.policy,
        committer=house.committer,
        clock=SystemClock(),
    )


async def erase_to_its_end(house: House, name: str, heard: Heard) -> Erasure:
    """Carry out what was decided, or wait for who does. Raises Missing, Unavailable."""
    hands = erasure_of(house)
    context = system_context(await house.tenants.named(), CHANNEL)
    while True:
        try:
            return await hands.carry_out(context, name, heard)
        except Busy:  # the worker has it
            await asyncio.sleep(WAIT_SECONDS)


class ErasingDuty:
    """What the `work` process does for tenants that are erased: go on with it, and look again afterwards."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._hands = erasure_of(house)
        self._tidied = float("-inf")

    async def step(self) -> int:
        """Go on with each that is not finished; nothing is left to be done at once."""
        unfinished = [e for e in await self._house.erasing.erasures() if e.finished is None]
        if unfinished:
            context = system_context(await self._house.tenants.named(), CHANNEL)
        for erasure in unfinished:
            try:
                await self._hands.carry_out(context, erasure.name)
            except Busy:  # a command does it, or an export has not ended
                continue
            except StoreUnavailable as error:  # its region's; those of others go on
                log.warning("the tenant %s is not erased yet: %s", erasure.name, error.message)
        if time.monotonic() - self._tidied > TIDY_SECONDS:
            await self._hands.tidy()
            self._tidied = time.monotonic()
        return 0


async def left_of_erased(house: House, away: dict[str, StoreUnavailable]) -> Found:
    """Objects that lie in the store under the name of a tenant that was erased: I3. The worker removes what
    came late for a day; whoever asks for the erasure again, at any time.

    `away`: regions whose stores do not answer, and are not asked again; others are added.
    """
    left: list[str] = []
    finished = [e for e in await house.erasing.erasures() if e.finished is not None]
    for erasure in finished:
        if erasure.region in away:
            continue
        try:
            left += await asyncio.to_thread(_keys, house, erasure)
        except StoreUnavailable as error:
            away[erasure.region] = error
    findings = [f"{key} is of a tenant that was erased" for key in left]
    return Found(len(findings), tuple(findings[:SHOWN]), len(finished))


def _keys(house: House, erasure: Erasure) -> list[str]:
    """Blocking; at most so many as a report names."""
    listing = house.blobs.itself().list(tenant_prefix(erasure.region, erasure.name))
    return [info.key for info in islice(listing, SHOWN)]
