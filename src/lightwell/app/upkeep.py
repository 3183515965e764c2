"""Checking one installation: every tenant's rows and objects, and what lies around outside of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lightwell.access.context import Context
from lightwell.app.erasing import left_of_erased
from lightwell.app.heartbeat import STALE_SECONDS, beats
from lightwell.app.regions import is_remote
from lightwell.app.settings import Settings
from lightwell.app.wiring import House
from lightwell.backends.database.checks import PostgresLedger
from lightwell.domain.archive.invariants import SHOWN, Checked, Found
from lightwell.domain.archive.ports import StoreUnavailable
from lightwell.domain.archive.upkeep_api import Upkeep

STAGING_AGE_SECONDS = 24 * 3600.0  # reliability contract 3.3: killed at k0 to k3


def upkeep_of(house: House) -> Upkeep:
    """The archive's second front door, on the rooms of this process."""
    return Upkeep(
        blobs=house.blobs,
        ledger=PostgresLedger(house.database),
        committer=house.committer,
        policy=house.policy,
        clock=house.archive.clock,
        coder=house.coder,
    )


async def check_installation(
    house: House, context: Context, *, deep: bool, heard: Callable[[int], None] = lambda _n: None
) -> Checked:
    """All tenants, then the machine. Raises Unavailable when something could not be asked; where there are
    several regions and the store of one is away, the others are checked and that one is named."""
    running = [beat for beat in await beats(house) if beat.age <= STALE_SECONDS]
    served = any(beat.role == "work" for beat in running)
    upkeep = upkeep_of(house)
    checked = Checked(found={"I12": leftovers(house.settings)})
    tenants = await house.tenants.everyone()
    away: dict[str, StoreUnavailable] = {}
    for tenant in tenants:
        if tenant.region in away:
            continue
        if tenant.erasing:  # half of its rows are gone, and what is left does not agree
            note = f"the tenant {tenant.name} is being erased, and was not looked at"
            checked += Checked(notes={"I2": note})
            continue
        try:
            checked += await upkeep.check(
                context.for_tenant(tenant), deep=deep, served=served, heard=heard
            )
        except StoreUnavailable as error:
            away[tenant.region] = error
    if away and away.keys() >= {tenant.region for tenant in tenants}:
        raise next(iter(away.values()))
    erased = await left_of_erased(house, away)
    checked += Checked(found={"I3": erased})
    return checked + Checked(away={region: error.message for region, error in away.items()})


def leftovers(settings: Settings) -> Found:
    """What nobody has written to for a day in the staging folders: I12."""
    oldest = time.time() - STAGING_AGE_SECONDS
    left = []
    checked = 0
    for folder in _staging(settings):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            checked += 1
            try:
                if path.lstat().st_mtime < oldest:
                    left.append(f"{path} is left by a process that died")
            except FileNotFoundError:  # it was in use, and is done
                continue
    return Found(len(left), tuple(left[:SHOWN]), checked)


def _staging(settings: Settings) -> Iterator[Path]:
    """Where things wait on their way, and the part of a local store where small named objects are made."""
    for region in settings.regions:
        yield region.staging
        if not is_remote(region.store):
            yield Path(region.store) / ".staging"
