"""`lightwell reindex`: the database anew from the object store."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from lightwell.app.commands.options import (
    DataOption,
    JsonOption,
    console,
    notes,
    raise_no_installation,
    settings_from,
)
from lightwell.app.data_folder import held_by_server, make_data_folder
from lightwell.app.database_access import database
from lightwell.app.logs import log_to_terminal
from lightwell.app.regions import is_remote
from lightwell.app.reindex import Reindexed, reindex

FINDINGS = 20


def reindex_(
    data: DataOption,
    yes: Annotated[
        bool, typer.Option("--yes", help="Empty a database that holds objects first.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make the database anew from the objects and the journal in the store. The server must not run.

    The audit record, leases and commitment requests come from a database backup. Exit code 1: something
    in the store could not be indexed; it is named.
    """
    settings = settings_from(data)
    stores = [region.store for region in settings.regions]
    if not any(is_remote(store) or Path(store).is_dir() for store in stores):
        raise_no_installation(settings)
    make_data_folder(settings.data)
    log_to_terminal()
    with held_by_server(settings.data), database(settings) as info:
        columns = (SpinnerColumn(), TextColumn("{task.completed:.0f} objects"), TimeElapsedColumn())
        with Progress(*columns, console=notes, disable=as_json or not notes.is_terminal) as bar:
            task = bar.add_task("", total=None)
            report = asyncio.run(
                reindex(settings, info, may_clear=yes, heard=lambda n: bar.update(task, advance=n))
            )
    if as_json:
        print(json.dumps(to_json(report)))
    else:
        _show(report)
    if report.damaged:
        raise typer.Exit(1)


def to_json(report: Reindexed) -> dict[str, object]:
    """For machines."""
    return {
        "peers": report.peers,
        "passed_over": report.passed_over,
        "damaged": report.damaged,
        "tenants": {
            name: {
                "found": rebuilt.found,
                "outcomes": {outcome.value: n for outcome, n in sorted(rebuilt.outcomes.items())},
                "replayed": rebuilt.replayed,
                "damaged": rebuilt.damaged,
                "findings": rebuilt.findings,
            }
            for name, rebuilt in report.tenants.items()
        },
    }


def _show(report: Reindexed) -> None:
    table = Table("Tenant", "Objects", "What became of them", "Decisions", "Damaged")
    for name, rebuilt in report.tenants.items():
        outcomes = ", ".join(
            f"{n} {outcome.value}" for outcome, n in sorted(rebuilt.outcomes.items())
        )
        row = (str(rebuilt.found), outcomes, str(rebuilt.replayed), str(rebuilt.damaged))
        table.add_row(name, *row)
    console.print(table)
    console.print(f"{report.peers} peers.", highlight=False)
    for each in report.passed_over[:FINDINGS]:
        console.print(each, highlight=False, markup=False)
    for rebuilt in report.tenants.values():
        for finding in rebuilt.findings[:FINDINGS]:
            console.print(finding, highlight=False, markup=False)
