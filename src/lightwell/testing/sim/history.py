"""One seed, one history: senders at work, crashes and recoveries between, judgement at the end."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from random import Random

from lightwell.access.actions import Action
from lightwell.access.operation import Act
from lightwell.domain.archive import events
from lightwell.domain.archive.model import WithdrawRow
from lightwell.testing.sim.checker import check, check_acknowledged, is_whole
from lightwell.testing.sim.loop import SimulatedLoop
from lightwell.testing.sim.senders import Diary, Sender, some_of_the_cast
from lightwell.testing.sim.world import Faults, Killed, Process, World, some_weather

STORM_SECONDS = 3.0  # of virtual time with faults and crashes
LONGEST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class History:
    """What came of one seed. `violations` is empty when every promise was kept."""

    seed: int
    violations: tuple[str, ...]
    trace: tuple[str, ...]
    acknowledged: int
    failures: int
    crashes: int
    withdrawn: int
    steps: int

    @property
    def digest(self) -> str:
        """Of the trace: the same seed gives the same history."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


def play(
    seed: int, faults: Faults | None = None, crashes: int | None = None, *, cut_at: int = 0
) -> History:
    """Play one history; weather and the number of crashes are drawn unless given.

    `cut_at`: the power goes before this round of the loop, besides the other crashes.
    """
    random = Random(seed)
    loop = SimulatedLoop(random)
    drawn = some_weather(random) if faults is None else faults
    world = World(loop, random, drawn)
    loop.set_exception_handler(world.on_unhandled)
    if crashes is None:
        crashes = random.choice((0, 1, 1, 2, 3))
    try:
        return loop.run_until_complete(_play(seed, world, crashes, cut_at))
    finally:
        loop.close()


async def _play(seed: int, world: World, crashes: int, cut_at: int) -> History:
    diary = Diary()
    for name in ("one", "two"):
        world.start(name)
    senders = [
        Sender(f"CT{number}", some_of_the_cast(world.random), world, diary)
        for number in range(1, world.random.randint(2, 4) + 1)
    ]
    violations: list[str] = []
    operator = asyncio.create_task(_operate(world, diary, crashes, violations))
    cut = asyncio.Event()
    if cut_at:
        world.loop.at_step(cut_at, lambda: _cut(world, cut))
        rescuer = asyncio.create_task(_rescue(world, diary, cut, violations))
    withdrawn = 0
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            await asyncio.gather(*(sender.run() for sender in senders))
            withdrawn = await operator
            if cut_at:
                cut.set()  # for a history that ended before that round
                withdrawn += await rescuer
    except TimeoutError:
        violations.append(f"somebody still waits after {LONGEST_SECONDS:g} s")
    steps = world.loop.steps
    violations += await check(world, diary, crashes)
    return History(
        seed=seed,
        violations=tuple(dict.fromkeys(violations)),
        trace=tuple(world.trace),
        acknowledged=len(diary.acknowledged()),
        failures=len(diary.failures),
        crashes=crashes,
        withdrawn=withdrawn,
        steps=steps,
    )


async def _operate(world: World, diary: Diary, crashes: int, violations: list[str]) -> int:
    """Crash at drawn moments and bring the house back; end the storm with one last restart."""
    withdrawn = 0
    moments = sorted(world.random.uniform(0.0, STORM_SECONDS) for _ in range(crashes))
    for number, moment in enumerate(moments):
        await asyncio.sleep(max(0.0, moment - world.loop.time()))
        if world.random.random() < 0.5 and len(world.alive()) > 1:
            world.kill(world.random.choice(world.alive()))
            await asyncio.sleep(world.loop.delay())
            world.start(f"again-{number}")
            continue
        withdrawn += await _power_cut(world, diary, violations, f"after-{number}")
    await asyncio.sleep(max(0.0, STORM_SECONDS - world.loop.time()))
    world.calm = True
    world.say("calm")
    # An operator restarts a server that reported damage; the check of what came last repairs it.
    return withdrawn + await _power_cut(world, diary, violations, "last")


async def _power_cut(world: World, diary: Diary, violations: list[str], name: str) -> int:
    world.lose_power()
    return await _come_back(world, diary, violations, name)


def _cut(world: World, cut: asyncio.Event) -> None:
    world.lose_power()
    cut.set()


async def _rescue(world: World, diary: Diary, cut: asyncio.Event, violations: list[str]) -> int:
    await cut.wait()
    return 0 if world.alive() else await _come_back(world, diary, violations, "rescued")


async def _come_back(world: World, diary: Diary, violations: list[str], name: str) -> int:
    """What a start after an unclean stop does; the doors open after it."""
    violations += check_acknowledged(world, diary)  # before anything repairs anything
    await asyncio.sleep(world.loop.delay())
    was_calm, world.calm = world.calm, True
    try:
        withdrawn = await recheck(world, world.start(f"{name}-recovery"))
    except Killed:
        withdrawn = 0  # the power went again meanwhile; whoever comes back next looks again
    world.calm = was_calm
    world.start(f"{name}-second")
    violations += check_acknowledged(world, diary)
    return withdrawn


async def recheck(world: World, process: Process) -> int:
    """`app.recovery.recheck_recent` on memory tables: withdraw rows whose bytes are not whole."""
    withdrawn = 0
    for record in world.tables.instances.values():
        if record.landed.inline is None and not is_whole(world, record.landed):
            uid = record.facts.sop_uid
            world.say(f"{uid[-6:]} is withdrawn: its bytes are not whole")
            act = Act(process.archive, process.context("recovery"), Action.ARCHIVE_INSTANCE_STORE)
            act.about(subject=uid, detail="withdrawn after an unclean stop")
            row = WithdrawRow(uid, record.landed.blob_id)
            await act.commit((row,), (events.withdrawn(uid),))
            withdrawn += 1
    return withdrawn
