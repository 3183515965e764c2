"""`lightwell glass`: what was opened in emergencies, for operators."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Annotated

import typer
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
from lightwell.domain.people.glass import Opening, OpeningKind, Verdict, Which
from lightwell.domain.tenants.model import DEFAULT
from lightwell.kernel.errors import Invalid

LISTED = 200

app = typer.Typer(no_args_is_help=True, help="Break-glass: what was opened in emergencies.")


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise Invalid(f"{text!r} is no id.", remedy="`lightwell glass list` shows them.") from None


def state_of(opening: Opening, now: datetime) -> str:
    """Open, waiting, waiting for too long, or the verdict."""
    if opening.review is not None:
        return opening.review.verdict
    if opening.open(now):
        return "open"
    return "overdue" if opening.overdue(now) else "unreviewed"


@app.command("list")
def list_openings(
    data: DataOption,
    every: Annotated[bool, typer.Option("--all", help="Also what is judged already.")] = False,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Show what was opened in emergencies and waits for review, newest first."""

    async def work(house: House, context: Context) -> None:
        which = Which.ALL if every else Which.UNREVIEWED
        openings = await house.glass.entries(context, which=which, limit=LISTED)
        now = house.glass.clock.now()
        if as_json:
            console.print_json(json.dumps([_as_data(each, now) for each in openings]))
            return
        counts = await house.glass.counts(context)
        table = Table("Id", "Who", "Opened", "Since", "State", "Reason")
        for each in openings:
            what = "sealed account" if each.kind is OpeningKind.SEAL else _patient(each)
            since = f"{each.since:%Y-%m-%d %H:%M}"
            table.add_row(
                str(each.opening_id), each.login, what, since, state_of(each, now), each.reason
            )
        console.print(table)
        notes.print(
            f"{counts.unreviewed} wait for review, {counts.overdue} for more than 72 hours.",
            highlight=False,
        )

    with_house(data, work, tenant=tenant)


def _patient(opening: Opening) -> str:
    return f"{opening.patient_id} ({opening.issuer})" if opening.issuer else opening.patient_id


def _as_data(opening: Opening, now: datetime) -> dict[str, object]:
    review = opening.review
    return {
        "id": str(opening.opening_id),
        "kind": opening.kind,
        "who": opening.login,
        "origin": opening.origin,
        "patient_id": opening.patient_id,
        "issuer": opening.issuer,
        "reason": opening.reason,
        "since": opening.since.isoformat(),
        "until": opening.until.isoformat(),
        "ended": opening.ended.isoformat() if opening.ended else None,
        "ended_by": opening.ended_by,
        "state": state_of(opening, now),
        "overdue": opening.overdue(now),
        "reviewer": review.by if review else None,
        "remark": review.remark if review else None,
    }


@app.command("review")
def review_opening(
    opening: str,
    verdict: Annotated[Verdict, typer.Argument(help="What was found.")],
    data: DataOption,
    remark: Annotated[str, typer.Option(help="Why; what was not justified needs one.")] = "",
    tenant: TenantOption = DEFAULT,
) -> None:
    """Judge an opening that is over; once."""

    async def work(house: House, context: Context) -> None:
        done = await house.glass.review(context, _id(opening), verdict, remark)
        console.print(f"{done.login}: {verdict}.", highlight=False)

    with_house(data, work, tenant=tenant)


@app.command("end")
def end_opening(opening: str, data: DataOption, tenant: TenantOption = DEFAULT) -> None:
    """End an opening now; of a sealed account its session too. Over at every door within seconds."""

    async def work(house: House, context: Context) -> None:
        done = await house.glass.end(context, _id(opening))
        console.print(f"What {done.login} had open is closed.", highlight=False)

    with_house(data, work, tenant=tenant)
