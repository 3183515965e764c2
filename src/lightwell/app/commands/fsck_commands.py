"""`lightwell fsck`: do the invariants hold?"""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from lightwell.access.context import Context
from lightwell.app.commands.options import DataOption, JsonOption, console, notes, with_house
from lightwell.app.upkeep import check_installation
from lightwell.app.wiring import House
from lightwell.domain.archive.invariants import (
    Checked,
    Invariant,
    Orphans,
    State,
    to_json,
    whole,
)
from lightwell.domain.archive.upkeep_api import NEWEST

_COLOURS = {State.HELD: "green", State.BROKEN: "red", State.NOT_BUILT: "dim"}
FINDINGS = 5  # named on the terminal; --json names up to a hundred


def fsck(
    data: DataOption,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every byte and compare it with its arrival digest.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check what is kept. Exit code 0: all invariants hold, 1: damage, 2: could not check, or not everywhere.

    Works beside a running server and changes nothing.
    """

    async def work(house: House, context: Context) -> Checked:
        columns = (SpinnerColumn(), TextColumn("{task.completed:.0f} objects"), TimeElapsedColumn())
        with Progress(*columns, console=notes, disable=as_json or not notes.is_terminal) as bar:
            task = bar.add_task("", total=None)
            return await check_installation(
                house, context, deep=deep, heard=lambda n: bar.update(task, advance=n)
            )

    checked = with_house(data, work)
    invariants = checked.invariants()
    if as_json:
        print(json.dumps(to_json(invariants, checked.orphans, deep=deep, away=checked.away)))
    else:
        _show(invariants, checked.orphans)
        if not deep:
            console.print(
                f"Bytes were read of the newest {NEWEST} instances of each tenant; of the others it was"
                " seen that they are there. --deep reads every byte."
            )
    for region, why in checked.away.items():
        notes.print(f"Region {region} was not checked, its store is away: {why}", highlight=False)
    if not whole(invariants):
        raise typer.Exit(1)
    if checked.away:
        raise typer.Exit(2)


def _show(invariants: list[Invariant], orphans: Orphans) -> None:
    table = Table("", "Invariant", "", "Checked", "Damaged")
    for line in invariants:
        state = Text(line.state.value, _COLOURS[line.state])
        built = line.state is not State.NOT_BUILT
        text = Text(line.text)
        if line.note:
            text.append(f"\n{line.note}", "dim")
        numbers = (str(line.found.checked), str(line.found.damaged)) if built else ("", "")
        table.add_row(line.name, text, state, *numbers)
    console.print(table)
    for line in invariants:
        for finding in line.found.findings[:FINDINGS]:
            console.print(f"{line.name}: {finding}", highlight=False, markup=False)
    if orphans.count:
        console.print(
            f"{orphans.count} objects of the store have no row; no damage. --json names them.",
            highlight=False,
        )
