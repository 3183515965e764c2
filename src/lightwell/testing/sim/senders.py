"""The other side of the door: modalities that repeat until they have an answer, and remember it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random

from lightwell.access.commit import acknowledge
from lightwell.domain.archive.model import SUCCESSES, Announced, Outcome, Verdict
from lightwell.kernel.errors import LightwellError
from lightwell.testing.builders import BuiltInstance, StudyBuilder, a_study
from lightwell.testing.sim.world import Killed, Process, World

FINAL = SUCCESSES | {Outcome.CONFLICT}
PATIENCE = 40  # tries in good weather before a sender gives an object up as refused for ever


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer that reached a sender: `acknowledged` when it was a success."""

    sender: str
    sop_uid: str
    sha256: str
    outcome: Outcome
    reason: str
    acknowledged: bool


@dataclass(slots=True)
class Diary:
    """What the senders of one history know."""

    sent: dict[str, set[str]] = field(default_factory=dict)  # SOP UID -> digests tried
    tries: dict[tuple[str, str], int] = field(default_factory=dict)  # of (UID, digest)
    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)  # class names of errors of the living
    given_up: list[str] = field(default_factory=list)

    def acknowledged(self) -> list[Answer]:
        """The successes."""
        return [answer for answer in self.answers if answer.acknowledged]


@cache
def cast() -> tuple[BuiltInstance, ...]:
    """Who comes: a patient, her copies with another header or picture, and rivals for her ID and study."""

    def with_series(study: StudyBuilder) -> StudyBuilder:
        large = study.with_series("CT", instances=2, rows=192, columns=192)  # beyond INLINE_LIMIT
        return large.with_series("MR", instances=2)  # small: lies in the database row

    jane = with_series(a_study("P1", name="Doe^Jane", PatientBirthDate="19700101"))
    rival = a_study("P1", name="Other^Person", seed=1, PatientBirthDate="19110101")
    thief = a_study("P2", name="Roe^Rita", seed=2, StudyInstanceUID=jane.study_uid)
    return (
        *jane.each(),
        *jane.with_attributes(StationName="OTHER").each(),
        *jane.other_pixels().each(),
        *with_series(rival).each(),
        *thief.with_series("CT", rows=96, columns=96).each(),
        *a_study("P3", name="Poe^Paul").with_series("CR", instances=2, rows=100, columns=90).each(),
    )


def some_of_the_cast(random: Random) -> list[BuiltInstance]:
    """What one sender has: mostly unlike objects, some of them twice."""
    chosen = random.sample(cast(), random.randint(2, 6))
    return [*chosen, *random.choices(chosen, k=random.randint(0, 2))]


class Sender:
    """Sends its objects one after the other, each until it has a final answer."""

    def __init__(
        self, name: str, objects: Sequence[BuiltInstance], world: World, diary: Diary
    ) -> None:
        self.name = name
        self._objects = objects
        self._world = world
        self._diary = diary

    async def run(self) -> None:
        """Until everything was answered, or given up in good weather."""
        for built in self._objects:
            await self._world.loop.pause()
            await self._insist(built)

    async def _insist(self, built: BuiltInstance) -> None:
        world, in_vain = self._world, 0
        while in_vain < PATIENCE:
            process = await self._someone_alive()
            if await self._try(process, built):
                return
            in_vain += world.calm
            await asyncio.sleep(0.05 + world.loop.delay())
        self._diary.given_up.append(built.sop_uid)
        world.say(f"{self.name} gives up {built.sop_uid[-6:]}")

    async def _someone_alive(self) -> Process:
        while not (alive := self._world.alive()):  # noqa: ASYNC110 - the time is virtual
            await asyncio.sleep(0.01)
        return self._world.random.choice(alive)

    async def _try(self, process: Process, built: BuiltInstance) -> bool:
        """Whether there was a final answer."""
        diary, key = self._diary, (built.sop_uid, built.sha256)
        diary.sent.setdefault(built.sop_uid, set()).add(built.sha256)
        diary.tries[key] = diary.tries.get(key, 0) + 1
        try:
            verdict = await self._send(process, built)
            await self._world.loop.pause()  # the answer travels
            process.must_live()
        except Killed:
            return False
        except LightwellError as error:
            diary.failures.append(type(error).__name__)
            self._tell(built, f"fails: {type(error).__name__}")
            return False
        if verdict is None:
            return False
        self._remember(built, verdict)
        return verdict.outcome in FINAL

    async def _send(self, process: Process, built: BuiltInstance) -> Verdict | None:
        """None when this sender hung up."""
        world, archive, context = self._world, process.archive, process.context(self.name)
        await archive.may_store(context)
        announced = Announced(built.sop_class, built.sop_uid, built.syntax, self.name)
        writer = archive.stage(context, announced)
        try:
            for piece in _pieces(built.dataset, world.random):
                process.must_live()
                writer.write(piece)
                await world.loop.pause()
                if world.strikes(world.faults.hang_up):
                    writer.discard()
                    return None
        except BaseException:
            writer.discard()
            raise
        process.must_live()
        return await archive.store(context, writer)

    def _remember(self, built: BuiltInstance, verdict: Verdict) -> None:
        success = verdict.outcome in SUCCESSES
        if success:
            assert verdict.stored is not None
            acknowledge(verdict.stored)
        self._tell(built, f"{verdict.outcome} {verdict.reason}")
        self._diary.answers.append(
            Answer(self.name, built.sop_uid, built.sha256, verdict.outcome, verdict.reason, success)
        )

    def _tell(self, built: BuiltInstance, what: str) -> None:
        self._world.say(f"{self.name} {built.sop_uid[-6:]}/{built.sha256[:4]} {what}")


def _pieces(data: bytes, random: Random) -> list[memoryview]:
    """The data set in one to three pieces, as fragments of the wire."""
    cuts = sorted(random.randint(1, len(data) - 1) for _ in range(random.randint(0, 2)))
    view = memoryview(data)
    starts, ends = [0, *cuts], [*cuts, len(data)]
    return [view[start:end] for start, end in zip(starts, ends, strict=True) if start < end]
