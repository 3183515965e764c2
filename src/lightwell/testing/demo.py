"""`lightwell demo`: a tenant of invented patients, stored through the archive's own front door.

A plugin of the command line (entry point group `lightwell.commands`), because the pictures come from
`lightwell.testing`, which the application may not import. `lightwell serve --demo` runs this module as
a child process once its doors are open. A second run stores nothing new.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import typer

from lightwell.access.context import Context, Purpose, Tenant
from lightwell.access.roles import Role
from lightwell.app.commands.options import (
    DataOption,
    console,
    refusals_said,
    with_house,
    with_house_of,
)
from lightwell.app.generation import VARIABLE, die_with_parent, read_generation
from lightwell.app.wiring import House
from lightwell.domain.archive.model import Level, Outcome, Verdict
from lightwell.domain.archive.query_building import build_query
from lightwell.domain.people.model import RelationKind
from lightwell.domain.tenants.model import DEMO
from lightwell.gateways.media.intake import Labels, stage_file

AET = "DEMO"
SEED = 0
DONE = "demo"  # journal entry: all studies of one seed are stored
AT_ONCE = 4
LABELS = Labels(source="demo")

Say = Callable[[str], None]


async def demo_tenant(house: House, context: Context) -> Tenant:
    """The demo tenant, made when it is not there."""
    for tenant in await house.tenants.everyone():
        if tenant.name == DEMO:
            return tenant
    return await house.tenants.create(context, DEMO, label="Demonstration", aet=AET, demo=True)


async def make_demo(house: House, context: Context, say: Say, *, seed: int = SEED) -> Counter[str]:
    """Store every demo study; outcomes counted. Pictures that are there already are not made again."""
    tenant = await demo_tenant(house, context)
    context = replace(context.for_tenant(tenant), purpose=Purpose.DEMONSTRATION, channel="import")
    counts: Counter[str] = Counter()
    made = await _made_before(house, context, seed)
    if made is not None:
        counts[Outcome.DUPLICATE] = made
        return counts
    # Here, so that a command line that only lists its commands does not load numpy.
    from lightwell.testing.phantoms import demo_studies

    for label, files in demo_studies(seed):
        outcomes = [verdict.outcome async for verdict in _store(house, context, files)]
        counts.update(outcomes)
        say(f"{label}: {len(outcomes)} images")
    await house.journal.append(tenant, DONE, {"seed": seed, "instances": counts.total()})
    return counts


async def make_users(house: House, context: Context, say: Say) -> None:
    """One account a role in the demo tenant, each with a new random password; no second factor there."""
    tenant = await demo_tenant(house, context)
    say("Sign in to the demonstration as one of these; the passwords are new at each start:")
    for role in Role:
        made = await house.people.add_demonstrator(context.for_tenant(tenant), role, roles=[role])
        say(f"  {role:<14} {made.secret}")


async def make_relations(house: House, context: Context) -> None:
    """Accounts that see only what is theirs have something to see: one is a patient, one treats one."""
    tenant = await demo_tenant(house, context)
    context = context.for_tenant(tenant)
    listed = await house.archive.find(context, build_query(Level.PATIENT, (), order="PatientName"))
    kinds = ((Role.PATIENT, RelationKind.IS), (Role.REFERRER, RelationKind.TREATS))
    for (login, kind), patient in zip(kinds, listed.items, strict=False):
        await house.relations.relate(context, login, kind, patient.pid, patient.issuer)


async def _made_before(house: House, context: Context, seed: int) -> int | None:
    """How many images an earlier run has stored, if it came to its end and all of them are there."""
    kept = (await house.archive.totals(context)).instances
    async for entry in house.journal.entries(context.tenant):
        if entry.kind == DONE and entry.body.get("seed") == seed:
            made = int(entry.body["instances"])
            return made if kept >= made else None
    return None


async def _store(house: House, context: Context, files: Iterator[bytes]) -> AsyncIterator[Verdict]:
    """A few at once, because a commit is mostly waiting."""
    waiting: set[asyncio.Task[Verdict]] = set()
    while (file := await asyncio.to_thread(next, files, None)) is not None:
        staged = await asyncio.to_thread(
            stage_file, house.archive, context, LABELS, io.BytesIO(file)
        )
        waiting.add(asyncio.ensure_future(staged.store()))
        while len(waiting) >= AT_ONCE:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    for verdict in await asyncio.gather(*waiting):
        yield verdict


async def fill(house: House, context: Context) -> None:
    """Everything that a demonstration has, and a word on each."""

    def say(line: str) -> None:
        console.print(line, highlight=False)

    await make_users(house, context, say)
    counts = await make_demo(house, context, say)
    await make_relations(house, context)
    new, before = counts[Outcome.STORED], counts[Outcome.DUPLICATE]
    say(f"Tenant {DEMO} (AE title {AET}): {new} images new, {before} there before.")


def demo(data: DataOption) -> None:
    """Make the demonstration tenant: six studies of five invented patients, DEMO on every image."""
    with_house(data, fill, founds=True)


def add_to(app: typer.Typer) -> None:
    """Called by the command line for each plugin of its entry point group."""
    app.command("demo")(demo)


def main() -> None:
    """`python -m lightwell.testing.demo`: what a server was told is what its child works with, and they end
    together."""
    with refusals_said():
        if VARIABLE not in os.environ:
            typer.run(demo)
            return
        generation = read_generation()
        die_with_parent(generation.lifeline)
        with_house_of(generation, fill)


if __name__ == "__main__":
    main()
