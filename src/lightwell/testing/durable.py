"""Workflows for the engine's suite, and a worker process that a test may kill.

    python -m lightwell.testing.durable DATA EXECUTOR NOTES

carries out the workflows below for the installation at DATA (whose database addresses are in the
environment, as for a command) until it is told to stop. A step writes a line to the file NOTES when it
begins, so that a test sees which process did what, and how often.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from lightwell.kernel.errors import Conflict, Unavailable
from lightwell.workflows.ports import Arguments, Json, Run, Workflows


class Notes:
    """A file of lines, one a step begun. Appending is atomic for lines this short."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, line: str) -> None:
        """Write a line, whole."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)

    def lines(self) -> list[str]:
        """All lines so far."""
        return self.path.read_text().splitlines() if self.path.exists() else []

    def count(self, line: str) -> int:
        """How often a line stands there, whoever wrote it."""
        return sum(each.split(" by ")[0] == line for each in self.lines())


def workflows(notes: Notes, broken: Callable[[], bool] = lambda: False) -> Workflows:
    """Bodies that use each thing a run can do. `broken` says whether the step `fragile` fails."""

    def act(name: str) -> Callable[..., Json]:
        def note(*values: Json) -> Json:
            notes.add(f"{name} by {os.getpid()}")
            return list(values)

        return note

    async def three(run: Run, arguments: Arguments) -> None:
        first = await run.step("first", act("first"), arguments["n"], run.id)
        at = await run.now()
        second = await run.step("second", act("second"), first, at.isoformat())
        assert second == [[arguments["n"], run.id], at.isoformat()]
        run.progress(2, 3, "steps")
        await run.step("third", act("third"))

    async def fragile(run: Run, arguments: Arguments) -> None:
        def fragile() -> None:
            notes.add("fragile by x")
            if broken():
                raise Conflict("It is broken.", remedy="Mend it.")

        await run.step("before", act("before"))
        await run.step("fragile", fragile)
        await run.step("after", act("after"))

    async def forgiving(run: Run, arguments: Arguments) -> None:
        def fails() -> None:
            notes.add("fails by x")
            raise ValueError("SMITH^JOHN")

        try:
            await run.step("fails", fails)
        except Exception as error:  # noqa: BLE001 - what a body sees is what is tested
            notes.add(f"saw {error} by x")
        await run.sleep(0.5)
        await run.step("after", act("after"))

    async def stumbling(run: Run, arguments: Arguments) -> None:
        tries: list[int] = []

        def stumbles() -> int:
            tries.append(1)
            notes.add("stumbles by x")
            if len(tries) < 2:
                raise Unavailable("Not yet.")
            return len(tries)

        assert await run.step("stumbles", stumbles) == 2

    async def sleeper(run: Run, arguments: Arguments) -> None:
        await run.step("before", act("before"))
        begun = await run.now()
        await run.sleep(arguments["seconds"])
        ended = await run.now()
        slept = (ended - begun).total_seconds()
        await run.step(
            "after", act(f"slept {'enough' if slept >= arguments['seconds'] else slept}")
        )

    async def listener(run: Run, arguments: Arguments) -> None:
        while True:
            message = await run.receive("word", arguments["timeout"])
            await run.step("heard", act(f"heard {message}"))
            if message is None or message == "end":
                return

    async def slow(run: Run, arguments: Arguments) -> None:
        async def middle() -> str:
            notes.add(f"middle by {os.getpid()}")
            for number in range(int(arguments["seconds"] * 10)):
                run.progress(number, int(arguments["seconds"] * 10), "tenths")
                await asyncio.sleep(0.1)
            return "done"

        await run.step("first", act("first"))
        await run.step("middle", middle)
        await run.step("last", act("last"))

    async def quick(run: Run, arguments: Arguments) -> None:
        await run.step("only", act("only"))
        run.progress(7, 9, "images")
        if arguments["fails"]:
            raise Conflict("It is broken.")

    async def wavering(run: Run, arguments: Arguments) -> None:
        name = "left" if notes.count("left") == 0 else "right"
        await run.step(name, act(name))
        await run.receive("word", 60)

    async def too_much(run: Run, arguments: Arguments) -> None:
        await run.step("big", lambda: "x" * 100_000)

    return {
        "three": three,
        "fragile": fragile,
        "forgiving": forgiving,
        "stumbling": stumbling,
        "sleeper": sleeper,
        "listener": listener,
        "slow": slow,
        "quick": quick,
        "wavering": wavering,
        "too-much": too_much,
    }


async def work(data: Path, executor: str, notes: Notes) -> None:
    """What the `work` process does of durable work, for the workflows above."""
    from lightwell.app.commands.options import settings_from
    from lightwell.app.database_access import DatabaseHold
    from lightwell.app.durable import Durable
    from lightwell.app.wiring import open_house

    settings = settings_from(data)
    info = await asyncio.to_thread(DatabaseHold(settings).start)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    house = open_house(settings, info, examine=False)
    durable = Durable(house, workflows=workflows(notes), rules=(), executor=executor)
    try:
        await asyncio.gather(*durable.tasks(stop))
    finally:
        await durable.close()
        await house.close()


def main() -> None:
    """Entry point of the process."""
    from lightwell.app.logs import log_to_terminal

    log_to_terminal()
    data, executor, notes = sys.argv[1:]
    asyncio.run(work(Path(data), executor, Notes(Path(notes))))


if __name__ == "__main__":
    main()
