"""`lightwell stats`: what each tenant keeps."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.table import Table

from lightwell.access.context import Context
from lightwell.app.commands.options import DataOption, JsonOption, console, with_house
from lightwell.app.wiring import House
from lightwell.domain.archive.model import Totals


def stats(data: DataOption, as_json: JsonOption = False) -> None:
    """Show how many patients, studies, images and bytes each tenant keeps."""

    async def work(house: House, context: Context) -> dict[str, Totals]:
        tenants = await house.tenants.list(context)
        return {t.name: await house.archive.totals(context.for_tenant(t)) for t in tenants}

    totals = with_house(data, work)
    if as_json:
        print(json.dumps({"tenants": {name: asdict(found) for name, found in totals.items()}}))
        return
    table = Table("Tenant", "Patients", "Studies", "Series", "Images", "MB", "Held", "Aside")
    for name, found in totals.items():
        table.add_row(
            name,
            *(str(n) for n in (found.patients, found.studies, found.series, found.instances)),
            f"{found.bytes / 1e6:.1f}",
            str(found.held),
            str(found.candidates + found.conflicts + found.quarantined),
        )
    console.print(table)
