"""`lightwell settle` and `lightwell unpack`: packs made now, and plain files made of them again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from lightwell.access.commit import FactsChanged
from lightwell.access.context import Context
from lightwell.app.commands.options import (
    DataOption,
    JsonOption,
    TenantOption,
    console,
    notes,
    with_house,
)
from lightwell.app.settling import settling_of
from lightwell.app.wiring import House
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.model import Level, Located
from lightwell.domain.archive.query import Query
from lightwell.domain.tenants.model import DEFAULT
from lightwell.kernel.errors import Conflict

PAGE = 200
TRIES = 5

StudyArgument = Annotated[
    list[str] | None, typer.Argument(help="Study Instance UIDs; all studies when none is given.")
]


async def _studies(house: House, context: Context, wanted: list[str] | None) -> list[str]:
    """The UIDs asked for, or those of every study of the tenant."""
    if wanted:
        return wanted
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await house.archive.find(context, Query(Level.STUDY, limit=PAGE, cursor=cursor))
        found += [one.study_uid for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found


def settle(
    data: DataOption,
    studies: StudyArgument = None,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Pack series now that would be packed once they are quiet. Exit code 1: something was damaged."""

    async def work(house: House, context: Context) -> int:
        settling = settling_of(house)
        total = {"series": 0, "instances": 0, "coded": 0, "exact": 0, "raw": 0, "stored": 0}
        damaged: list[str] = []
        uids = await _studies(house, context, studies)
        with Progress(console=notes, transient=True) as bar:
            task = bar.add_task("Packing studies", total=len(uids))
            for uid in uids:
                lease = await house.archive.locate(context, uid)
                for series_uid in dict.fromkeys(one.series_uid for one in lease.instances.values()):
                    for left in range(TRIES, 0, -1):
                        try:
                            done = await settling.settle(context, uid, series_uid)
                        except FactsChanged:
                            if left == 1:
                                raise
                            continue
                        except Damaged as error:
                            damaged.append(f"series {series_uid}: {error.message}")
                            break
                        total["series"] += bool(done.instances)
                        for name in ("instances", "coded", "exact", "raw", "stored"):
                            total[name] += getattr(done, name)
                        break
                bar.advance(task)
        if as_json:
            console.print_json(json.dumps({**total, "damaged": damaged}))
        else:
            for line in damaged:
                console.print(line)
            ratio = f", {total['raw'] / total['stored']:.2f} : 1" if total["stored"] else ""
            console.print(
                f"{total['series']} series packed: {total['instances']} instances,"
                f" {total['coded']} of them coded{ratio}."
            )
            if total["exact"]:
                console.print(
                    f"{total['exact']} are pixel-exact: every pixel value comes back, the bytes that"
                    " arrived do not."
                )
        return 1 if damaged else 0

    raise typer.Exit(with_house(data, work, tenant=tenant))


def unpack(
    to: Annotated[Path, typer.Option("--to", help="A new or empty folder for the files.")],
    data: DataOption,
    studies: StudyArgument = None,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Write instances as plain Part 10 files, each data set exactly as it arrived.

    Of pixel-exact settled instances, which no longer have that, the native data set that is kept instead.
    Corrections are not in them, and rejected instances are left out: `lightwell unpack` gives back what
    was stored. Exit code 1: something was damaged.
    """

    async def work(house: House, context: Context) -> int:
        if to.exists() and (not to.is_dir() or any(to.iterdir())):
            raise Conflict(f"{to} is not an empty folder.", remedy="Choose another --to.")
        to.mkdir(parents=True, exist_ok=True)
        uids = await _studies(house, context, studies)
        written, damaged = 0, list[str]()
        with Progress(console=notes, transient=True) as bar:
            task = bar.add_task("Writing files", total=len(uids))
            for uid in uids:
                lease = await house.archive.locate(context, uid)
                size = 0
                for located in lease.instances.values():
                    path = to / uid / located.series_uid / f"{located.sop_uid}.dcm"
                    try:
                        size += await asyncio.to_thread(_write, house, located, path)
                    except Damaged as error:
                        damaged.append(f"instance {located.sop_uid}: {error.message}")
                        continue
                    written += 1
                house.archive.used(context, lease, len(lease.instances), size)
                bar.advance(task)
        if as_json:
            console.print_json(json.dumps({"written": written, "damaged": damaged}))
        else:
            for line in damaged:
                console.print(line)
            console.print(f"{written} files written to {to}.")
        return 1 if damaged else 0

    raise typer.Exit(with_house(data, work, tenant=tenant))


def _write(house: House, located: Located, path: Path) -> int:
    """One file; it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    size = 0
    try:
        with part.open("xb") as file:
            for piece in house.archive.original(located):
                size += file.write(piece)
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return size
