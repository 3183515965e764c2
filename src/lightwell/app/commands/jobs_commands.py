"""`lightwell jobs`: what goes on in the background, what failed and why; retry or cancel it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from lightwell.access.context import Context
from lightwell.app.commands.options import (
    DataOption,
    JsonOption,
    TenantOption,
    console,
    with_house,
)
from lightwell.app.wiring import House
from lightwell.domain.tenants.model import DEFAULT
from lightwell.workflows.ports import RunStatus, State

app = typer.Typer(no_args_is_help=True, help="Background work: progress, failures, retry.")

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Its id, from `jobs list`.")]


def job_to_json(job: RunStatus) -> dict[str, Any]:
    """A job for machines."""
    return {
        "id": job.id,
        "workflow": job.workflow,
        "state": job.state.value,
        "step": job.step,
        "done": job.done,
        "total": job.total,
        "what": job.what,
        "attempts": job.attempts,
        "error": job.error,
        "asked": job.asked,
        "created": job.created.isoformat() if job.created else None,
        "updated": job.updated.isoformat() if job.updated else None,
    }


def progress_text(job: RunStatus) -> str:
    """How far it is: `12/300 frames`, `12 frames`, or nothing."""
    if not job.done and not job.total:
        return ""
    count = f"{job.done}/{job.total}" if job.total else str(job.done)
    return f"{count} {job.what}".strip()


def _show(job: RunStatus, as_json: bool) -> None:
    if as_json:
        console.print_json(json.dumps(job_to_json(job)))
        return
    for name, value in job_to_json(job).items():
        if value not in ("", None):
            console.print(f"{name:9} {value}", highlight=False, markup=False)


@app.command("list")
def list_(
    data: DataOption,
    state: Annotated[
        list[State] | None, typer.Option("--state", help="Only these; may be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Show the tenant's jobs, newest first."""

    async def work(house: House, context: Context) -> None:
        jobs = await house.jobs.list(context, states=state or (), limit=limit)
        if as_json:
            console.print_json(json.dumps([job_to_json(job) for job in jobs]))
            return
        # The id is what `show`, `retry` and `cancel` want: folded where it is long, never cut.
        table = Table(
            Column("Job", overflow="fold", min_width=24), "State", "Progress", "Begun", "Error"
        )
        for job in jobs:
            table.add_row(
                job.id,
                job.state.value,
                progress_text(job),
                f"{job.created:%m-%d %H:%M}" if job.created else "",
                job.error,
            )
        console.print(table)

    with_house(data, work, tenant=tenant)


@app.command()
def show(
    job: JobArgument, data: DataOption, tenant: TenantOption = DEFAULT, as_json: JsonOption = False
) -> None:
    """Show one job."""

    async def work(house: House, context: Context) -> None:
        _show(await house.jobs.show(context, job), as_json)

    with_house(data, work, tenant=tenant)


@app.command()
def retry(
    job: JobArgument, data: DataOption, tenant: TenantOption = DEFAULT, as_json: JsonOption = False
) -> None:
    """Carry on with a failed or cancelled job: when the server runs, at once."""

    async def work(house: House, context: Context) -> None:
        _show(await house.jobs.retry(context, job), as_json)

    with_house(data, work, tenant=tenant)


@app.command()
def cancel(
    job: JobArgument, data: DataOption, tenant: TenantOption = DEFAULT, as_json: JsonOption = False
) -> None:
    """End a job before its time; what it has done stays done."""

    async def work(house: House, context: Context) -> None:
        _show(await house.jobs.cancel(context, job), as_json)

    with_house(data, work, tenant=tenant)
