"""`lightwell user relate`, `relations`, `limit`, `lightwell study`: which studies somebody has to do with."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from lightwell.access.context import Context
from lightwell.app.commands.options import (
    DataOption,
    JsonOption,
    TenantOption,
    console,
    with_house,
)
from lightwell.app.commands.people_commands import users
from lightwell.app.wiring import House
from lightwell.domain.people.model import Limit, RelationKind
from lightwell.domain.tenants.model import DEFAULT
from lightwell.kernel.errors import Invalid

studies = typer.Typer(no_args_is_help=True, help="What is said of a study besides its images.")

WORDS = {
    RelationKind.IS: "is the patient",
    RelationKind.TREATS: "treats the patient",
    RelationKind.TREATS_STUDY: "treats the study",
    RelationKind.REFERS_AS: "orders studies as",
}


@users.command("relate")
def relate(
    login: str,
    data: DataOption,
    is_: Annotated[str, typer.Option("--is", help="Patient ID of the account's owner.")] = "",
    treats: Annotated[str, typer.Option(help="Patient ID of somebody they treat.")] = "",
    study: Annotated[str, typer.Option(help="Study Instance UID of a study they treat.")] = "",
    code: Annotated[
        str, typer.Option(help="The code that studies name them by as referring physician.")
    ] = "",
    issuer: Annotated[
        str, typer.Option(help="Issuer of the patient ID, or coding scheme of the code.")
    ] = "",
    end: Annotated[bool, typer.Option("--end", help="Take the relation back.")] = False,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Say what an account is to a patient or study. Policies say what follows from it."""
    given = {
        RelationKind.IS: is_,
        RelationKind.TREATS: treats,
        RelationKind.TREATS_STUDY: study,
        RelationKind.REFERS_AS: code,
    }
    named = [(kind, name) for kind, name in given.items() if name]
    if len(named) != 1:
        raise Invalid("One relation at a time.", remedy="Give --is, --treats, --study or --code.")
    ((kind, name),) = named

    async def work(house: House, context: Context) -> None:
        if end:
            await house.relations.unrelate(context, login, kind, name, issuer)
            console.print("The relation is ended.")
            return
        relation = await house.relations.relate(context, login, kind, name, issuer)
        console.print(f"{login} {WORDS[kind]} {relation.name}.", highlight=False)

    with_house(data, work, tenant=tenant)


@users.command("relations")
def relations(
    login: str, data: DataOption, tenant: TenantOption = DEFAULT, as_json: JsonOption = False
) -> None:
    """Show what an account is to patients and studies, and what it is limited to."""

    async def work(house: House, context: Context) -> None:
        stands = await house.relations.of(context, login)
        if as_json:
            rows = [{"kind": r.kind, "name": r.name, "issuer": r.issuer} for r in stands.relations]
            limits = {sort: sorted(values) for sort, values in stands.limits.items()}
            console.print_json(json.dumps({"relations": rows, "limits": limits}))
            return
        table = Table("", "Name", "Issuer")
        for each in stands.relations:
            table.add_row(WORDS[each.kind], each.name, each.issuer)
        for sort, values in stands.limits.items():
            table.add_row(f"limited to {sort}", ", ".join(sorted(values)), "")
        console.print(table)

    with_house(data, work, tenant=tenant)


@users.command("limit")
def limit(
    login: str,
    data: DataOption,
    site: Annotated[
        list[str] | None, typer.Option(help="Institution Name, as in the images; repeatable.")
    ] = None,
    department: Annotated[
        list[str] | None, typer.Option(help="Institutional Department Name; repeatable.")
    ] = None,
    modality: Annotated[list[str] | None, typer.Option(help="CT, MR, …; repeatable.")] = None,
    lift: Annotated[
        list[Limit] | None, typer.Option(help="site, department, modality: not limited any more.")
    ] = None,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Limit an account to studies of some institutions, departments or modalities."""
    wanted: dict[Limit, list[str]] = {sort: [] for sort in lift or ()}
    for sort, values in (
        (Limit.SITE, site),
        (Limit.DEPARTMENT, department),
        (Limit.MODALITY, modality),
    ):
        if values:
            wanted[sort] = values
    if not wanted:
        raise Invalid("Nothing is said.", remedy="Give --site, --department, --modality or --lift.")

    async def work(house: House, context: Context) -> None:
        for sort, values in wanted.items():
            await house.relations.limit(context, login, sort, values)
            console.print(f"{sort}: {', '.join(values) or 'all'}", highlight=False)

    with_house(data, work, tenant=tenant)


@studies.command("sensitive")
def sensitive(
    study: Annotated[str, typer.Argument(help="Study Instance UID.")],
    data: DataOption,
    reason: Annotated[str, typer.Option("--reason", help="Why: it stands in the record.")],
    end: Annotated[bool, typer.Option("--end", help="Take the mark away.")] = False,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Mark a study as sensitive: it is shown to those only who have to do with it."""

    async def work(house: House, context: Context) -> None:
        await house.archive.mark_sensitive(context, study, reason, sensitive=not end)
        console.print("The mark is taken away." if end else "The study is marked as sensitive.")

    with_house(data, work, tenant=tenant)


def add_to(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    app.add_typer(studies, name="study")
