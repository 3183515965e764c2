"""The `work` process: what nobody waits for. Sequencer, inline objects, counters, commitments, sweeps,
durable work."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import uvloop

from lightwell.access.context import Tenant
from lightwell.app.cooling import CoolingDuty
from lightwell.app.courier import deliver_commitments
from lightwell.app.generation import Generation, await_generation, die_with_parent
from lightwell.app.heartbeat import ANSWERS, USAGE, Heart
from lightwell.app.logs import log_to_file
from lightwell.app.memory import keep_memory
from lightwell.app.wiring import House, open_house, start_listening
from lightwell.backends.database.chores import (
    DELTA_BATCH,
    GONE_BATCH,
    INLINE_BATCH,
    clear_gone,
    close_leases,
    flush_inline,
    forget_sign_ins,
    glass_queue,
    refresh_statistics,
    roll_up_deltas,
    roll_up_usage,
)
from lightwell.backends.database.pool import FAILURES
from lightwell.backends.database.sequencer import Sequencer
from lightwell.domain.people.glass import REVIEW_WITHIN
from lightwell.kernel.errors import LightwellError

log = logging.getLogger("lightwell.work")

STAGING_AGE_SECONDS = 24 * 3600.0
LEAVE_SECONDS = 20.0

Chore = Coroutine[Any, Any, None]
NICE = 5  # the doors come first: nobody waits for this process


async def every(
    seconds: float,
    name: str,
    chore: Callable[[], Awaitable[int]],
    stop: asyncio.Event,
    *,
    full: int = 1,
) -> None:
    """Run a chore until told to stop; at once again when it found as much as it takes at a time.

    With less it waits: while images arrive there is always one more, and a turn for each costs the
    doors more than a turn for all that came meanwhile.
    """
    while not stop.is_set():
        done = 0
        try:
            done = await chore()
        except (LightwellError, *FAILURES) as error:
            log.warning("%s: %s", name, type(error).__name__)
        if done >= full:
            await asyncio.sleep(0)
            continue
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
        except TimeoutError:
            continue


async def _tenants_of(house: House, region: str) -> dict[int, Tenant]:
    found = await house.tenants.everyone()
    return {tenant.key: tenant for tenant in found if tenant.region == region}


async def _flush(house: House, region: str) -> int:
    return await flush_inline(house.work, house.stores[region], await _tenants_of(house, region))


async def _clear(house: House, region: str) -> int:
    return await clear_gone(house.work, house.stores[region], await _tenants_of(house, region))


async def _look(house: House, region: str, answers: dict[str, bool]) -> int:
    """Whether the store of a region answers, for alerts."""
    try:
        await asyncio.to_thread(house.stores[region].probe)
    except LightwellError as error:
        answers[region] = False
        log.warning("the store of region %s: %s", region, error.message)
    else:
        answers[region] = True
    return 0


def _of_regions(house: House, answers: dict[str, bool], stop: asyncio.Event) -> list[Chore]:
    """What is done in each region by itself: a store that is away holds up its own tenants only."""
    chores: list[Chore] = []
    for region in house.stores:
        flush, clear = partial(_flush, house, region), partial(_clear, house, region)
        of = "" if len(house.stores) == 1 else f" of {region}"
        chores += [
            every(0.5, f"inline objects{of}", flush, stop, full=INLINE_BATCH),
            every(5.0, f"what was packed{of}", clear, stop, full=GONE_BATCH),
            every(60.0, f"cool store{of}", CoolingDuty(house, region).step, stop),
        ]
        if of:
            chores.append(every(15.0, f"store{of}", partial(_look, house, region, answers), stop))
    return chores


async def _analyse(house: House) -> int:
    await refresh_statistics(house.work)
    return 0


async def _count_queue(house: House, queue: dict[str, int]) -> int:
    queue.update(await glass_queue(house.work, REVIEW_WITHIN))
    return 0


async def _count_usage(house: House, usage: dict[str, list[int | None]]) -> int:
    """What each tenant keeps and may, for alerts."""
    used = await house.tenants.everyones_usage()
    found = {
        tenant.name: [kept.studies, kept.bytes, tenant.quota_studies, tenant.quota_bytes]
        for tenant in await house.tenants.everyone()
        if (kept := used.get(tenant.key)) is not None
    }
    usage.clear()
    usage.update(found)
    return 0


async def _sweep(house: House) -> int:
    await asyncio.to_thread(house.blobs.sweep, STAGING_AGE_SECONDS)
    return 0


def leave_within(seconds: float) -> None:
    """End this process by then, whatever a thread or a task of a library thinks of it.

    The supervisor starts another one only when this one is gone.
    """
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()


async def run(generation: Generation) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    house = open_house(generation.settings, generation.info, examine=False)
    sequencer = Sequencer(generation.info)
    queue: dict[str, int] = {}  # of what was opened in emergencies; kept fresh by a chore
    usage: dict[str, list[int | None]] = {}  # of tenants; kept fresh by a chore
    answers: dict[str, bool] = {}  # which regions' stores do, where there are several; by a chore
    heart = Heart(
        house,
        generation.name,
        "work",
        lambda: {"sequencer_steps": sequencer.steps, **queue},
        lambda: {USAGE: usage, ANSWERS: answers},
    )
    start_listening(house)
    await heart.start()
    # After the first beat: the engine's library takes half a second to load, and no door waits for it.
    from lightwell.app.durable import Durable
    from lightwell.app.erasing import ErasingDuty

    durable = Durable(house)
    chores = [
        sequencer.run(stop),
        every(5.0, "counters", lambda: roll_up_deltas(house.work), stop, full=DELTA_BATCH),
        every(5.0, "quotas", lambda: roll_up_usage(house.work), stop, full=DELTA_BATCH),
        every(1.0, "statistics", lambda: _analyse(house), stop),
        every(30.0, "leases", lambda: close_leases(house.work), stop),
        every(5.0, "tenants that are erased", ErasingDuty(house).step, stop),
        every(1.0, "commitments", lambda: deliver_commitments(house), stop),
        every(60.0, "tries to sign in", lambda: forget_sign_ins(house.work), stop),
        every(15.0, "use of quotas", lambda: _count_usage(house, usage), stop),
        every(15.0, "review queue", lambda: _count_queue(house, queue), stop),
        every(3600.0, "staging", lambda: _sweep(house), stop),
        *_of_regions(house, answers, stop),
        *durable.tasks(stop),
    ]
    try:
        await asyncio.gather(*chores)
    except Exception as error:
        log.critical("background work ends, and is started again", exc_info=error)
        leave_within(LEAVE_SECONDS)
        raise
    finally:
        await heart.stop()
        await durable.close()
        await house.close()


def main() -> None:
    """Entry point of the process."""
    generation = await_generation()
    die_with_parent(generation.lifeline)
    os.nice(NICE)
    keep_memory()
    log_to_file(generation.settings.logs, generation.name)
    uvloop.run(run(generation))


if __name__ == "__main__":
    main()
