"""The archive's second front door: looking after what is kept.

A check runs beside a working server: what a commit under way explains is looked at twice before it is
called damage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from lightwell.access.actions import Action
from lightwell.access.commit import Committer
from lightwell.access.context import Tenant
from lightwell.access.operation import Act, operation
from lightwell.access.ports import PolicySource
from lightwell.domain.archive.internal import checking
from lightwell.domain.archive.internal.checking import Fault
from lightwell.domain.archive.internal.stock import Stock
from lightwell.domain.archive.invariants import (
    SHOWN,
    Checked,
    Found,
    Generation,
    KeptObject,
    Orphans,
)
from lightwell.domain.archive.ports import BlobStore, FrameCoder
from lightwell.domain.archive.upkeep_ports import Ledger
from lightwell.kernel.clock import Clock

PAGE = 500  # rows (with their inline bytes) or listed objects at a time
AT_ONCE = 8  # objects looked at together
NEWEST = 256  # instances whose bytes a light check reads
RECHECK_SECONDS = 2.0  # longer than a commit and a sync that run beside each other
RECHECK_LIMIT = 1000
ORPHAN_GRACE = timedelta(days=7)  # reliability contract 3.6
LEASE_SLACK = timedelta(minutes=5)  # the holder closes at the end, `work` a minute later
COMMITMENT_END = timedelta(days=7, hours=2)  # given up after seven days, tried hourly

Heard = Callable[[int], None]


class Upkeep:
    """One a process, beside `Archive`, on the same store and rows."""

    def __init__(
        self,
        *,
        blobs: BlobStore,
        ledger: Ledger,
        committer: Committer,
        policy: PolicySource,
        clock: Clock,
        recheck_seconds: float = RECHECK_SECONDS,
        coder: FrameCoder | None = None,
    ) -> None:
        self.policy = policy
        self.committer = committer
        self.clock = clock
        self._blobs = blobs.itself()
        self._stock = Stock(self._blobs, coder)
        self._ledger = ledger
        self._recheck_seconds = recheck_seconds

    @operation(Action.ARCHIVE_STORE_CHECK)
    async def check(
        self, act: Act, *, deep: bool = False, served: bool = True, heard: Heard = lambda _n: None
    ) -> Checked:
        """Look at everything one tenant keeps; `deep` reads every byte. Changes nothing.

        `served`: whether background work runs, and what is overdue is therefore damage. `heard` is told
        of every so many objects. Raises Unavailable when database or store do not answer: then nothing
        is known.
        """
        tenant, ledger, now = act.context.tenant, self._ledger, self.clock.now()
        act.about(detail="deep" if deep else "light")
        found = await self._objects(tenant, deep=deep, heard=heard)
        found["I2"] += await self._generations(tenant, deep=deep)
        orphans = await self._orphans(tenant)
        overdue = Found()
        if served:
            overdue = await ledger.overdue(tenant, now - LEASE_SLACK, now - COMMITMENT_END)
        found |= {
            "I3": await ledger.unreferenced(tenant),
            "I4": await ledger.miscounted(tenant),
            "I5": await ledger.seen_twice(tenant),
            "I6": await ledger.unrecorded(tenant) + await ledger.unchained(tenant),
            "I7": await ledger.repeated(tenant),
            "I8": await ledger.wrongly_readable(tenant),
            "I11": overdue,
        }
        notes = {} if served else {"I11": "no server runs: its next start closes what is open"}
        return Checked(found, notes, orphans)

    async def _objects(self, tenant: Tenant, *, deep: bool, heard: Heard) -> dict[str, Found]:
        """I1 and I2: every object that a row points to."""
        bad: list[KeptObject] = []
        certain: list[Fault] = []
        checked = 0
        for aside in (False, True):
            after = -1
            while page := await self._ledger.kept(tenant, aside=aside, after=after, limit=PAGE):
                after = page[-1].key
                checked += len(page)
                for kept, fault in await self._faults(tenant, page, digest=deep):
                    if len(bad) < RECHECK_LIMIT:
                        bad.append(kept)
                    else:
                        certain.append(fault)
                heard(len(page))
        if not deep:
            newest = await self._ledger.newest(tenant, NEWEST)
            known = {(kept.aside, kept.key) for kept in bad}
            for kept, _ in await self._faults(tenant, newest, digest=True):
                if (kept.aside, kept.key) not in known:
                    bad.append(kept)
        if bad:
            certain = await self._still_faulty(tenant, bad) + certain
        return checking.by_invariant(certain, checked, SHOWN)

    async def _generations(self, tenant: Tenant, *, deep: bool) -> Found:
        """I2 of what belongs to packs: what is replaced meanwhile is looked at twice, too."""
        bad: list[Generation] = []
        checked, after = 0, (-1, -1)
        while page := await self._ledger.generations(tenant, after=after, limit=PAGE):
            after = page[-1].place
            checked += sum(len(one.parts) for one in page)
            faulty = {
                one.place for one, _ in await self._generation_faults(tenant, page, digest=deep)
            }
            bad += [one for one in page if one.place in faulty][: RECHECK_LIMIT - len(bad)]
        if not bad:
            return Found(checked=checked)
        await asyncio.sleep(self._recheck_seconds)
        again = await self._ledger.generations_again(tenant, bad)
        texts = [fault[1] for _, fault in await self._generation_faults(tenant, again, digest=deep)]
        return Found(len(texts), tuple(texts[:SHOWN]), checked)

    async def _generation_faults(
        self, tenant: Tenant, page: list[Generation], *, digest: bool
    ) -> list[tuple[Generation, Fault]]:
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(generation: Generation) -> list[tuple[Generation, Fault]]:
            async with turn:
                faults = await asyncio.to_thread(
                    checking.generation_faults, self._stock, tenant, generation, digest=digest
                )
            return [(generation, fault) for fault in faults]

        return [each for some in await asyncio.gather(*map(one, page)) for each in some]

    async def _still_faulty(self, tenant: Tenant, bad: list[KeptObject]) -> list[Fault]:
        """Look again: a row may be ahead of its bytes for a moment, or be withdrawn with them."""
        await asyncio.sleep(self._recheck_seconds)
        again = await self._ledger.kept_again(tenant, bad)
        return [fault for _, fault in await self._faults(tenant, again, digest=True)]

    async def _faults(
        self, tenant: Tenant, page: list[KeptObject], *, digest: bool
    ) -> list[tuple[KeptObject, Fault]]:
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(kept: KeptObject) -> tuple[KeptObject, Fault | None]:
            async with turn:
                return kept, await asyncio.to_thread(
                    checking.fault, self._stock, tenant, kept, digest=digest
                )

        judged = await asyncio.gather(*(one(kept) for kept in page))
        return [(kept, fault) for kept, fault in judged if fault is not None]

    async def _orphans(self, tenant: Tenant) -> Orphans:
        """Objects without a row; bounded memory however many there are."""
        young_since = self.clock.now() - ORPHAN_GRACE
        listing = checking.listed_with_rows(self._blobs, tenant)
        found = Orphans()
        while batch := await asyncio.to_thread(checking.batch, listing, PAGE):
            known = await self._ledger.known_blobs(tenant, checking.ids(batch))
            keys, young = checking.unknown(batch, known, young_since)
            found += Orphans(len(keys), young, tuple(keys[:SHOWN]))
        return found
