"""`lightwell cool` and `lightwell recall`: packs moved to the cool store and back, now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from lightwell.access.context import Context
from lightwell.app.commands.options import (
    DataOption,
    JsonOption,
    TenantOption,
    console,
    notes,
    with_house,
)
from lightwell.app.cooling import cooling_of
from lightwell.app.wiring import House
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.tenants.model import DEFAULT

StudiesArgument = Annotated[list[str], typer.Argument(help="Study Instance UIDs.")]


def cool(
    data: DataOption,
    studies: StudiesArgument,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Move the packs of studies to the cool store. Exit code 1: something was damaged, and stays."""
    _move(data, studies, tenant, as_json, back=False)


def recall(
    data: DataOption,
    studies: StudiesArgument,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Move the packs of studies back from the cool store. Exit code 1: something was damaged."""
    _move(data, studies, tenant, as_json, back=True)


def _move(data: Path, studies: list[str], tenant: str, as_json: bool, *, back: bool) -> None:
    async def work(house: House, context: Context) -> int:
        cooling = cooling_of(house, context.tenant.region)
        act = cooling.recall if back else cooling.cool
        moved, damaged = 0, list[str]()
        with Progress(console=notes, transient=True) as bar:
            task = bar.add_task("Moving packs", total=len(studies))
            for uid in studies:
                await house.archive.locate(context, uid)  # Missing for a mistyped one
                try:
                    moved += await act(context, uid)
                except Damaged as error:
                    damaged.append(f"study {uid}: {error.message}")
                bar.advance(task)
        if as_json:
            console.print_json(json.dumps({"packs": moved, "damaged": damaged}))
        else:
            for line in damaged:
                console.print(line)
            console.print(f"{moved} packs moved {'back' if back else 'to the cool store'}.")
        return 1 if damaged else 0

    raise typer.Exit(with_house(data, work, tenant=tenant))
