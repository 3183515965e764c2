"""`lightwell tenant`: make, list, write out, suspend, resume and erase tenants."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from lightwell.access.context import Context, Tenant
from lightwell.app.commands.options import (
    DataOption,
    JsonOption,
    TenantOption,
    console,
    notes,
    with_house,
)
from lightwell.app.erasing import erase_to_its_end
from lightwell.app.export import Exported, export_tenant
from lightwell.app.wiring import House
from lightwell.domain.tenants.erasing import Erasure, said
from lightwell.domain.tenants.model import DEFAULT, PIXEL_EXACT, host_of, parsed_size
from lightwell.kernel.errors import Invalid

NO_LIMIT = "none"
NOT_KEPT = (
    "Of lossless compressed originals the pixel values are kept and the bytes are not: from their grace on"
    " nobody gets them in the syntax in which they came."
)

app = typer.Typer(no_args_is_help=True, help="Tenants of this installation.")


@app.command()
def create(
    name: str,
    data: DataOption,
    aet: Annotated[str, typer.Option(help="AE title by which peers call the tenant.")],
    label: Annotated[str, typer.Option(help="Name shown to people.")] = "",
    region: Annotated[
        str | None, typer.Option(help="Where its images lie, for ever; none: the default region.")
    ] = None,
) -> None:
    """Make a tenant. One that is there stays as it is."""

    async def work(house: House, context: Context) -> None:
        there = {each.name for each in await house.tenants.everyone()}
        tenant = await house.tenants.create(context, name, label=label, aet=aet, region=region)
        if tenant.name in there:
            console.print(_there_already(tenant), highlight=False, soft_wrap=True)
            return
        where = f" Its images lie in region {tenant.region}." if len(house.stores) > 1 else ""
        console.print(f"Tenant {tenant.name} is called {tenant.aet}.{where}", highlight=False)

    with_house(data, work, founds=True)


@app.command()
def settling(
    how: Annotated[str, typer.Argument(help="settle, as-received or pixel-exact.")],
    data: DataOption,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Choose how quiet series are packed from now on.

    settle: pixels are coded where the original comes back bit for bit, everything else lies as received.
    as-received: nothing is coded. pixel-exact: lossless compressed originals are coded, too; every pixel
    value comes back, the original bytes do not.
    """

    async def work(house: House, context: Context) -> None:
        chosen = await house.tenants.configure(context, settling=how)
        console.print(f"Quiet series of {chosen.name} are packed: {chosen.settling}.")
        if chosen.settling == PIXEL_EXACT:
            console.print(NOT_KEPT)

    with_house(data, work, tenant=tenant)


@app.command()
def configure(
    name: str,
    data: DataOption,
    aet: Annotated[list[str], typer.Option(help="A further AE title by which peers call it.")] = [],  # noqa: B006
    without_aet: Annotated[list[str], typer.Option(help="One that is taken away.")] = [],  # noqa: B006
    host: Annotated[list[str], typer.Option(help="A host whose addresses are this tenant's.")] = [],  # noqa: B006
    without_host: Annotated[list[str], typer.Option(help="One that is taken away.")] = [],  # noqa: B006
    label: Annotated[str | None, typer.Option(help="Name shown to people.")] = None,
    accent: Annotated[
        str | None, typer.Option(help="Colour of its sign-in page and headers, #rrggbb; '': none.")
    ] = None,
    notice: Annotated[
        str | None, typer.Option(help="What its sign-in page tells people; '': nothing.")
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(help="Time zone its policies mean, Europe/Berlin; '': the machine's."),
    ] = None,
) -> None:
    """Say by which further AE titles and hosts a tenant is called, and how it looks to its people.

    What is not named stays; each option for a title or host may come again. A title or host belongs to one
    tenant. The AE title it was made with stays its own.
    """
    looks = {"label": label, "accent": accent, "notice": notice, "zone": zone}
    names = [*aet, *without_aet, *host, *without_host]

    async def work(house: House, context: Context) -> None:
        changed = before = await house.tenants.known(name)
        gone = {host_of(text) for text in without_host}
        if names:
            changed = await house.tenants.name(
                context,
                name,
                titles={*before.titles, *aet} - set(without_aet),
                hosts={*before.hosts, *host} - gone,
            )
        if any(value is not None for value in looks.values()):
            changed = await house.tenants.configure(context.for_tenant(changed), **looks)
        called = ", ".join((changed.aet, *changed.titles, *changed.hosts))
        console.print(f"Tenant {name} is called {called}.", highlight=False)
        console.print(_looks(changed), highlight=False)

    with_house(data, work)


def _there_already(tenant: Tenant) -> str:
    said = f"The tenant {tenant.name} was there already, called {tenant.aet}: nothing was changed."
    if tenant.suspended:
        said += f" It is suspended; `lightwell tenant resume {tenant.name}` serves it again."
    return said


def _looks(tenant: Tenant) -> str:
    accent, zone = tenant.accent or "no accent", tenant.zone or "the machine's time zone"
    notice = f"the notice {tenant.notice!r}" if tenant.notice else "no notice"
    return f"People see {tenant.label!r}, {accent}, {notice}; policies mean {zone}."


def size_said(size: int) -> str:
    """A number of bytes as people read it: 47.8 kB."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 999.95:
            break
        value, unit = value / 1000, larger
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def _of(used: str, most: int | None, says: Callable[[int], str]) -> str:
    return used if most is None else f"{used} of {says(most)}"


@app.command()
def quota(
    name: str,
    data: DataOption,
    size: Annotated[str, typer.Option("--bytes", help="2TB, 500GiB, … or none.")] = "",
    studies: Annotated[str, typer.Option(help="A number, or none.")] = "",
) -> None:
    """Say how much a tenant may keep; what is not said stays.

    Beyond it new objects are refused (C-STORE A700, STOW-RS 507) and nothing of them is kept. What is there
    stays, and is acknowledged when it comes again.
    """
    most = None if size in ("", NO_LIMIT) else parsed_size(size)
    if studies not in ("", NO_LIMIT) and not studies.isdecimal():
        raise Invalid(
            f"{studies!r} is no number of studies.", remedy="For example 100000, or none."
        )
    many = int(studies) if studies.isdecimal() else None

    async def work(house: House, context: Context) -> None:
        before = await house.tenants.known(name)
        changed = await house.tenants.limit(
            context,
            name,
            studies=many if studies else before.quota_studies,
            size=most if size else before.quota_bytes,
        )
        limits = [
            "any number of studies"
            if changed.quota_studies is None
            else f"{changed.quota_studies} studies",
            "any number of bytes"
            if changed.quota_bytes is None
            else f"{changed.quota_bytes} bytes",
        ]
        console.print(f"Tenant {name} may keep {' and '.join(limits)}.", highlight=False)

    with_house(data, work)


@app.command()
def export(
    name: str, folder: Annotated[Path, typer.Argument(help="A new or empty one.")], data: DataOption
) -> None:
    """Write everything a tenant keeps into a folder: plain DICOM files, decisions, people without secrets.

    Interrupted, it goes on when it is asked for again. `lightwell import FOLDER/objects` takes them back.
    """

    async def work(house: House, context: Context) -> Exported:
        return await export_tenant(house, context, name, folder)

    done = with_house(data, work)
    notes.print(
        f"{done.objects} objects ({done.written} written now), {done.bytes} bytes.", highlight=False
    )
    for text in done.damaged:
        notes.print(text, highlight=False)
    if done.damaged:
        raise typer.Exit(1)


@app.command()
def suspend(
    name: str,
    data: DataOption,
    reason: Annotated[str, typer.Option(help="Why: shown to whoever may resume it.")],
) -> None:
    """Serve a tenant no longer: nobody of it is recognised, its machines are told to try again later.

    Nothing is deleted. Its sessions end within five seconds, its background work waits.
    """

    async def work(house: House, context: Context) -> None:
        tenant = await house.tenants.suspend(context, name, reason)
        console.print(f"Tenant {tenant.name} is suspended.", highlight=False)

    with_house(data, work)


@app.command()
def resume(name: str, data: DataOption) -> None:
    """Serve a suspended tenant again. Its people sign in anew."""

    async def work(house: House, context: Context) -> None:
        tenant = await house.tenants.resume(context, name)
        console.print(f"Tenant {tenant.name} is served again.", highlight=False)

    with_house(data, work)


@app.command()
def erase(
    name: str,
    data: DataOption,
    confirm: Annotated[str, typer.Option(help="The name once more.")],
    reason: Annotated[str, typer.Option(help="Why: it stays in the installation's record.")],
) -> None:
    """Erase a suspended tenant for good: images, people, decisions, records, background work.

    Nothing brings it back but a copy of yours; export it first. Its name is given out never again.
    Interrupted, it goes on when it is asked for again, or by itself while the server runs.
    """

    async def work(house: House, context: Context) -> tuple[Erasure, bool]:
        begun = await house.erasing.begin(context, name, confirm, reason)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=notes, disable=not notes.is_terminal) as bar:
            task, gone = bar.add_task(said(begun.kept)), [0, 0]

            def heard(rows: int, objects: int) -> None:
                gone[0] += rows
                gone[1] += objects
                bar.update(task, description=f"{gone[0]} rows, {gone[1]} objects are gone")

            return await erase_to_its_end(house, name, heard), begun.finished is None

    done, new = with_house(data, work)
    word = "is" if new else "was"
    console.print(f"Tenant {name} {word} erased: {said(done.kept)}.", highlight=False)


@app.command("list")
def list_(data: DataOption, as_json: JsonOption = False) -> None:
    """Show all tenants."""

    async def work(house: House, context: Context) -> None:
        tenants, used = await house.tenants.list(context), await house.tenants.usage(context)
        if as_json:
            rows = [
                {
                    "name": t.name,
                    "label": t.label,
                    "aet": t.aet,
                    "region": t.region,
                    "demo": t.demo,
                    "settling": t.settling,
                    "accent": t.accent,
                    "notice": t.notice,
                    "zone": t.zone,
                    "suspended": t.suspended,
                    "suspension": t.suspension,
                    "erasing": t.erasing,
                    "titles": t.titles,
                    "hosts": t.hosts,
                    "quota_bytes": t.quota_bytes,
                    "quota_studies": t.quota_studies,
                    "used_bytes": used[t.key].bytes,
                    "used_studies": used[t.key].studies,
                }
                for t in tenants
            ]
            console.print_json(json.dumps(rows))
            return
        several = len(house.stores) > 1
        where = ["Region"] if several else []
        table = Table("Name", "Label", "Called", *where, "Demo", "Studies", "Size")
        table.add_column("State", min_width=len("suspended:"), overflow="fold")
        for t in tenants:
            state = f"suspended: {t.suspension}" if t.suspended else ""
            state = "being erased" if t.erasing else state
            kept = used[t.key]
            studies = _of(str(kept.studies), t.quota_studies, str)
            size = _of(size_said(kept.bytes), t.quota_bytes, size_said)
            demo = "yes" if t.demo else ""
            called = ", ".join((t.aet, *t.titles, *t.hosts))
            place = [t.region] if several else []
            table.add_row(t.name, t.label, called, *place, demo, studies, size, state)
        console.print(table)

    with_house(data, work)
