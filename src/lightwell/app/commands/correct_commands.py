"""`lightwell correct`: lay edits over what was received, reject and restore, undo. The bytes never change."""

from __future__ import annotations

import json
import uuid
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
from lightwell.dicom.dictionary import vr_of
from lightwell.dicom.tags import keyword_of, tag_of
from lightwell.domain.archive.model import JSONElement, Level, OverlayRow, Target
from lightwell.domain.archive.query_building import build_query
from lightwell.domain.tenants.model import DEFAULT
from lightwell.kernel.errors import Invalid

app = typer.Typer(
    no_args_is_help=True,
    help="Corrections are versioned layers over the original; each can be undone.",
)

ReasonOption = Annotated[str, typer.Option("--reason", help="Why: it stands in the record.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Attribute=value, e.g. PatientName=Doe^Jane. Repeatable."),
]
RemoveOption = Annotated[
    list[str] | None, typer.Option("--remove", help="Attribute to take away. Repeatable.")
]

PATIENT_ID = 0x00100020
NUMERIC = frozenset({"US", "SS", "UL", "SL", "FL", "FD", "SV", "UV"})


def element(tag: int, text: str) -> JSONElement:
    """A DICOM JSON element from what was typed; values separated by backslashes."""
    vr = vr_of(tag)
    if vr in ("SQ", "UN", "OB", "OW", "OF", "OD", "OL", "OV"):
        raise Invalid(f"Attribute {keyword_of(tag) or tag} cannot be given as text.")
    values: list[Any] = text.split("\\") if vr not in ("LT", "ST", "UT") else [text]
    if vr == "PN":
        values = [_name(value) for value in values]
    elif vr in NUMERIC or vr in ("IS", "DS"):
        values = [_number(value) for value in values]
    return {"vr": vr, "Value": values} if text else {"vr": vr}


def _name(text: str) -> dict[str, str]:
    groups = dict(zip(("Alphabetic", "Ideographic", "Phonetic"), text.split("="), strict=False))
    return {key: group for key, group in groups.items() if group}


def _number(text: str) -> int | float | str:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError as error:
            raise Invalid(f"{text!r} is not a number.") from error


def edits_from(
    settings: list[str] | None, removals: list[str] | None
) -> dict[str, JSONElement | None]:
    """What `--set` and `--remove` mean. Raises Invalid."""
    edits: dict[str, JSONElement | None] = {}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals:
            raise Invalid(f"{setting!r} is not Attribute=value.")
        tag = _tag(name)
        edits[f"{tag:08X}"] = element(tag, value)
    for name in removals or []:
        edits[f"{_tag(name):08X}"] = None
    return edits


def _tag(name: str) -> int:
    try:
        return tag_of(name)
    except ValueError as error:
        raise Invalid(
            f"{name!r} is no DICOM attribute.", remedy="Use a keyword or eight hex digits."
        ) from error


def _shown(row: OverlayRow) -> str:
    changed = ", ".join(keyword_of(int(tag, 16)) or tag for tag in row.edits)
    return f"Correction {row.edit_id} (version {row.version}): {changed}"


@app.command()
def patient(
    patient_id: str,
    data: DataOption,
    reason: ReasonOption,
    issuer: Annotated[
        str, typer.Option(help="Issuer of the ID, when several patients have it.")
    ] = "",
    settings: SetOption = None,
    removals: RemoveOption = None,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Correct attributes of a patient, in all studies."""
    edits = edits_from(settings, removals)

    async def work(house: House, context: Context) -> None:
        target = await _patient(house, context, patient_id, issuer)
        row = await house.archive.correct(context, target, edits, reason)
        console.print(_shown(row), highlight=False)

    with_house(data, work, tenant=tenant)


async def _patient(house: House, context: Context, patient_id: str, issuer: str) -> Target:
    """The patient of that ID; the issuer may be left out when only one patient has the ID."""
    if not issuer:
        query = build_query(Level.PATIENT, [((PATIENT_ID,), None, patient_id)])
        found = (await house.archive.find(context, query)).items
        issuers = sorted({one.issuer for one in found if one.pid == patient_id})
        if len(issuers) > 1:
            raise Invalid(
                f"Several patients have this ID; their issuers are {', '.join(issuers)}.",
                remedy="Say which with --issuer.",
            )
        issuer = issuers[0] if issuers else ""
    return Target(Level.PATIENT, issuer=issuer, pid=patient_id)


@app.command()
def study(
    study_uid: str,
    data: DataOption,
    reason: ReasonOption,
    settings: SetOption = None,
    removals: RemoveOption = None,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Correct attributes of a study, in all its instances."""
    target = Target(Level.STUDY, study_uid=study_uid)
    _correct(data, tenant, target, settings, removals, reason)


@app.command()
def series(
    study_uid: str,
    series_uid: str,
    data: DataOption,
    reason: ReasonOption,
    settings: SetOption = None,
    removals: RemoveOption = None,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Correct attributes of a series."""
    target = Target(Level.SERIES, study_uid=study_uid, series_uid=series_uid)
    _correct(data, tenant, target, settings, removals, reason)


@app.command()
def instance(
    study_uid: str,
    series_uid: str,
    sop_uid: str,
    data: DataOption,
    reason: ReasonOption,
    settings: SetOption = None,
    removals: RemoveOption = None,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Correct attributes of one instance."""
    target = Target(Level.INSTANCE, study_uid=study_uid, series_uid=series_uid, sop_uid=sop_uid)
    _correct(data, tenant, target, settings, removals, reason)


def _correct(
    data: Any,
    tenant: str,
    target: Target,
    settings: list[str] | None,
    removals: list[str] | None,
    reason: str,
) -> None:
    edits = edits_from(settings, removals)

    async def work(house: House, context: Context) -> None:
        row = await house.archive.correct(context, target, edits, reason)
        console.print(_shown(row), highlight=False)

    with_house(data, work, tenant=tenant)


@app.command()
def undo(
    correction: uuid.UUID, data: DataOption, reason: ReasonOption, tenant: TenantOption = DEFAULT
) -> None:
    """Undo one correction: what it laid over shows again."""

    async def work(house: House, context: Context) -> None:
        await house.archive.undo(context, correction, reason)
        console.print(f"Correction {correction} is undone.", highlight=False)

    with_house(data, work, tenant=tenant)


@app.command()
def reject(
    study_uid: str,
    data: DataOption,
    reason: ReasonOption,
    series_uid: Annotated[str, typer.Option("--series")] = "",
    sop_uid: Annotated[str, typer.Option("--instance")] = "",
    code: Annotated[
        str,
        typer.Option(
            help="113001 quality, 113037 patient safety, 113038 wrong worklist entry, 113039 retention."
        ),
    ] = "113001",
    tenant: TenantOption = DEFAULT,
) -> None:
    """Take a study, series or instance out of every clinical list."""
    level = Level.INSTANCE if sop_uid else Level.SERIES if series_uid else Level.STUDY
    target = Target(level, study_uid=study_uid, series_uid=series_uid, sop_uid=sop_uid)

    async def work(house: House, context: Context) -> None:
        row = await house.archive.reject(context, target, code, reason)
        console.print(f"Rejection {row.reject_id}", highlight=False)

    with_house(data, work, tenant=tenant)


@app.command()
def restore(
    study_uid: str,
    rejection: uuid.UUID,
    data: DataOption,
    reason: ReasonOption,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Put rejected images back."""

    async def work(house: House, context: Context) -> None:
        await house.archive.restore(context, study_uid, rejection, reason)
        console.print("Restored.")

    with_house(data, work, tenant=tenant)


@app.command("list")
def list_(
    data: DataOption,
    study_uid: Annotated[str, typer.Option("--study")] = "",
    series_uid: Annotated[str, typer.Option("--series", help="With --study.")] = "",
    sop_uid: Annotated[str, typer.Option("--instance", help="With --study and --series.")] = "",
    patient_id: Annotated[str, typer.Option("--patient")] = "",
    issuer: Annotated[
        str, typer.Option(help="Issuer of the ID, when several patients have it.")
    ] = "",
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Show the corrections of a patient, study, series or instance, and a study's rejections."""
    if bool(study_uid) == bool(patient_id):
        raise typer.BadParameter("Give --study or --patient.")
    if (series_uid and not study_uid) or (sop_uid and not series_uid):
        raise typer.BadParameter("--series goes with --study, --instance with --series.")
    level = Level.INSTANCE if sop_uid else Level.SERIES if series_uid else Level.STUDY

    async def work(house: House, context: Context) -> None:
        target = Target(level, study_uid=study_uid, series_uid=series_uid, sop_uid=sop_uid)
        if patient_id:
            target = await _patient(house, context, patient_id, issuer)
        edits = await house.archive.corrections(context, target)
        rejections = await house.archive.rejections(context, study_uid) if study_uid else []
        if as_json:
            body = {
                "corrections": [
                    {
                        "id": str(e.edit_id),
                        "version": e.version,
                        "edits": dict(e.edits),
                        "reason": e.reason,
                        "author": e.author,
                        "at": e.at.isoformat(),
                        "undone": e.undoes is not None,
                    }
                    for e in edits
                ],
                "rejections": [
                    {"id": str(r.reject_id), "code": r.code, "reason": r.reason, "author": r.author}
                    for r in rejections
                ],
            }
            console.print_json(json.dumps(body))
            return
        table = Table(Column("Id", no_wrap=True, min_width=36), "What", "Reason", "By", "When", "")
        for e in edits:
            state = "undone" if e.undoes is not None else ""
            table.add_row(str(e.edit_id), _shown(e), e.reason, e.author, f"{e.at:%F %T}", state)
        for r in rejections:
            table.add_row(
                str(r.reject_id), f"rejected {r.code}", r.reason, r.author, f"{r.at:%F %T}", ""
            )
        console.print(table)

    with_house(data, work, tenant=tenant)
