"""`lightwell aside`: what is kept and shown to nobody, and why."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from lightwell.access.context import Context
from lightwell.app.commands.options import (
    DataOption,
    JsonOption,
    TenantOption,
    console,
    with_house,
)
from lightwell.app.wiring import House
from lightwell.domain.archive.model import AsideItem
from lightwell.domain.archive.reasons import sentence
from lightwell.domain.tenants.model import DEFAULT

LIMIT = 100


def aside(
    data: DataOption,
    tenant: TenantOption = DEFAULT,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, help="The newest so many.")
    ] = LIMIT,
    as_json: JsonOption = False,
) -> None:
    """List what is held, in conflict, a second copy or unreadable: kept, and in no clinical list."""

    async def work(house: House, context: Context) -> list[AsideItem]:
        return await house.archive.aside(context, limit)

    found = with_house(data, work, tenant=tenant)
    if as_json:
        print(json.dumps([_row(item) for item in found]))
        return
    for item in found:
        console.print(f"{item.kind}: {sentence(item.kind, item.reason)}", style="bold")
        who = " · ".join(part for part in (item.patient_name, item.pid) if part)
        console.print(
            f"  patient {who or '-'}, from {item.source or '-'}, {item.first_seen:%Y-%m-%d %H:%M}"
        )
        console.print(
            f"  study {item.study_uid or '-'}", f"  object {item.sop_uid or '-'}", sep="\n"
        )
    console.print(f"{len(found)} kept aside." if len(found) < limit else f"The newest {limit}.")


def _row(item: AsideItem) -> dict[str, object]:
    return {
        "kind": item.kind,
        "reason": item.reason,
        "text": sentence(item.kind, item.reason),
        "patient_id": item.pid,
        "patient_name": item.patient_name,
        "study": item.study_uid,
        "sop": item.sop_uid,
        "source": item.source,
        "first_seen": item.first_seen.isoformat(),
        "seen": item.seen,
    }
