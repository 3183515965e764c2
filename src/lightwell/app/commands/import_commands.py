"""`lightwell import`: files from folders, media and zip archives."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from lightwell.access.context import Context
from lightwell.app.commands.options import (
    DataOption,
    JsonOption,
    TenantOption,
    console,
    notes,
    with_house,
)
from lightwell.app.wiring import House
from lightwell.domain.patients.model import PRIVATE
from lightwell.domain.tenants.model import DEFAULT
from lightwell.gateways.media.importer import Importer
from lightwell.gateways.media.intake import Labels
from lightwell.gateways.media.report import Fate, FileReport, ImportReport
from lightwell.kernel.errors import Invalid

SHOWN = 20  # refused files named on the terminal; --json names all


def import_(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH…", help="Files, folders, media or zip archives.")
    ],
    data: DataOption,
    issuer: Annotated[
        str | None, typer.Option(help="Who issued the patient IDs of objects that do not say.")
    ] = None,
    as_local: Annotated[
        bool, typer.Option("--as-local", help="These are our own images, not somebody else's.")
    ] = False,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Import DICOM files; found = stored + duplicate + held + refused.

    Without --issuer or --as-local the patient IDs of the batch are nobody else's, and its studies are
    marked OUTSIDE. Exit code 1: something was refused that is neither a directory nor foreign to DICOM.
    """
    labels = labels_for(issuer, as_local=as_local)
    missing = next((path for path in paths if not path.exists()), None)
    if missing is not None:
        raise Invalid(f"There is no {missing}.")

    async def work(house: House, context: Context) -> ImportReport:
        with _progress(quiet=as_json) as progress:
            task = progress.add_task("importing", total=None)

            def heard(_line: FileReport) -> None:
                progress.update(task, advance=1, description=_counted(importer.report))

            importer = Importer(house.archive, replace(context, channel="import"), labels, heard)
            return await importer.run(paths)

    report = with_house(data, work, tenant=tenant, founds=True)
    if as_json:
        print(json.dumps(report.to_json(), ensure_ascii=False))
    else:
        _show(report)
    if report.unexpected:
        raise typer.Exit(1)


def labels_for(issuer: str | None, *, as_local: bool) -> Labels:
    """Whose the patients are. Raises Invalid when both or an unfit name are given."""
    if issuer is not None and as_local:
        raise Invalid("--issuer and --as-local contradict each other.", remedy="Give one of them.")
    if as_local:
        return Labels()
    if issuer is None:
        return Labels(issuer=f"{PRIVATE}batch:{secrets.token_hex(6)}", outside=True)
    if not issuer.strip() or issuer.startswith(PRIVATE) or len(issuer) > 64 or "\\" in issuer:
        raise Invalid(
            f"An issuer has 1 to 64 characters, no backslash, and does not begin with {PRIVATE!r}.",
            remedy="Give the name of the house that issued the patient IDs.",
        )
    return Labels(issuer=issuer.strip(), outside=True)


def _progress(*, quiet: bool) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:.0f} files"),
        TimeElapsedColumn(),
        console=notes,
        disable=quiet or not notes.is_terminal,
    )


def _counted(report: ImportReport) -> str:
    return ", ".join(f"{report.counts[fate]} {fate}" for fate in Fate)


def _show(report: ImportReport) -> None:
    console.print(f"{report.found} files: {_counted(report)}.", highlight=False)
    if report.reasons:
        table = Table("", "Why", "Files")
        for (fate, reason), n in sorted(report.reasons.items()):
            table.add_row(fate.value, reason, str(n))
        console.print(table)
    named = [line for line in report.files if line.unexpected]
    for line in named[:SHOWN]:
        text = f"{line.name}: {line.reason}" + (f" ({line.detail})" if line.detail else "")
        console.print(text, highlight=False, markup=False)
    if len(named) > SHOWN:
        console.print(f"… and {len(named) - SHOWN} more; --json names all.", highlight=False)
