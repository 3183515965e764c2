"""Options that every command takes, and how a command gets its rooms."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from lightwell.access.context import Context
from lightwell.app.binding import check_bound, check_regions
from lightwell.app.data_folder import make_data_folder
from lightwell.app.database_access import database
from lightwell.app.generation import Generation
from lightwell.app.heartbeat import web_address
from lightwell.app.logs import log_to_terminal
from lightwell.app.regions import is_remote, read_regions
from lightwell.app.settings import (
    DEFAULT_DIMSE,
    DEFAULT_HTTP,
    GRACE_RULE,
    Settings,
    checked_grace,
    parse_endpoint,
)
from lightwell.app.wiring import House, furnish, open_house
from lightwell.domain.tenants.model import DEFAULT
from lightwell.domain.tenants.regions import checked_jurisdiction
from lightwell.kernel.errors import Conflict, Invalid, LightwellError, Missing

DataOption = Annotated[
    Path, typer.Option("--data", envvar="LIGHTWELL_DATA", help="The data folder.")
]
TenantOption = Annotated[str, typer.Option("--tenant", envvar="LIGHTWELL_TENANT", help="Whose.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For machines.")]

COOL_STORE = "LIGHTWELL_COOL_STORE_URL"

T = TypeVar("T")

# What is shown was typed by people or came with images: square brackets and colons mean themselves.
console = Console(markup=False, emoji=False)
notes = Console(stderr=True, markup=False, emoji=False)


@contextlib.contextmanager
def refusals_said() -> Iterator[None]:
    """Our errors are a sentence, what to do and exit code 2; bugs keep their traceback."""
    try:
        yield
    except LightwellError as error:
        notes.print(Text.assemble(("lightwell:", "red"), " ", error.message), soft_wrap=True)
        if error.remedy:
            notes.print(Text(error.remedy), soft_wrap=True)
        sys.exit(2)


def settings_from(data: Path, **given: Any) -> Settings:
    """Settings of a command: the data folder, and what the environment says of the backends."""
    given.setdefault("cache_bytes", _cache_bytes())
    basic = Settings(
        data=data.absolute(), http=parse_endpoint(DEFAULT_HTTP), dimse=parse_endpoint(DEFAULT_DIMSE)
    )
    given.setdefault("landed_grace", _landed_grace(basic.landed_grace))
    file = given.pop("regions", None) or os.environ.get("LIGHTWELL_REGIONS")
    stores = {name: os.environ.get(name) for name in ("LIGHTWELL_STORE_URL", COOL_STORE)}
    if file and any(stores.values()):
        raise Invalid(
            "There is a file of regions, and a store besides it.",
            remedy=f"Name stores in the file only: unset {' and '.join(stores)}.",
        )
    law = os.environ.get("LIGHTWELL_JURISDICTION")
    return replace(
        basic,
        database_url=os.environ.get("LIGHTWELL_DATABASE_URL"),
        store_url=stores["LIGHTWELL_STORE_URL"],
        cool_store_url=stores[COOL_STORE] or None,
        named_regions=read_regions(Path(file), basic.data) if file else (),
        jurisdiction=checked_jurisdiction(law) if law else "",
        **given,
    )


def _cache_bytes() -> int | None:
    text = os.environ.get("LIGHTWELL_CACHE_BYTES")
    if text and not text.isdecimal():
        raise Invalid("LIGHTWELL_CACHE_BYTES is a number of bytes.")
    return int(text) if text else None


def _landed_grace(otherwise: float) -> float:
    """What `serve` is told: a command that packs or re-indexes says when landed objects go, too."""
    text = os.environ.get("LIGHTWELL_LANDED_GRACE")
    try:
        return checked_grace(float(text)) if text else otherwise
    except ValueError as error:
        raise Invalid(GRACE_RULE) from error


def check_installed(settings: Settings) -> None:
    """Raises Missing unless the data folder was used before; a database elsewhere needs none."""
    if settings.database_url is None and not (settings.data / "postgres").is_dir():
        raise_no_installation(settings)


def raise_no_installation(settings: Settings) -> NoReturn:
    """Raises Missing, with what to do."""
    data = settings.data
    if data.exists() and not data.is_dir():
        raise Invalid(f"{data} is not a folder.", remedy="Choose another --data.")
    kinds = ("landed", "pack")
    stores = [Path(each.store) for each in settings.regions if not is_remote(each.store)]
    if any(next(store.glob(f"*/*/{kind}/*"), None) for store in stores for kind in kinds):
        raise Missing(
            f"The database of {data} is missing; its images are there.",
            remedy="`lightwell reindex` makes the database again from them.",
        )
    raise Missing(
        f"There is no Lightwell installation in {data}.",
        remedy="Give its folder with --data. `lightwell serve` makes a new one.",
    )


def user_name() -> str:
    """Who runs the command, for the record."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid-{os.getuid()}"


def with_house(
    data: Path,
    work: Callable[[House, Context], Awaitable[T]],
    *,
    tenant: str = DEFAULT,
    founds: bool = False,
) -> T:
    """Run one command's work beside a running server, or with a database of its own meanwhile.

    `founds`: it may be the first to use the folder. Else a mistyped --data raises Missing: an empty
    archive in its place would be found whole, and all its lists empty.
    """
    settings = settings_from(data)
    if not founds:
        check_installed(settings)
    make_data_folder(settings.data)
    log_to_terminal()

    async def go() -> T:
        house = open_house(settings, info)
        try:
            await check_regions(house)
            if founds:
                await check_bound(house)
            owner = await house.tenants.known(tenant)
            if owner.suspended:
                raise Conflict(
                    f"The tenant {tenant} is suspended.",
                    remedy=f"`lightwell tenant resume {tenant}` serves it again.",
                )
            return await work(house, house.operator(owner, user_name()))
        finally:
            await house.close()

    with database(settings, lambda text: notes.print(text, style="dim")) as info:
        asyncio.run(furnish(settings, info))
        return asyncio.run(go())


def with_house_of(
    generation: Generation, work: Callable[[House, Context], Awaitable[T]], *, tenant: str = DEFAULT
) -> T:
    """Run one command's work as a child of a server: on the database and the stores of its start, which its
    flags may have named, too."""
    log_to_terminal()

    async def go() -> T:
        house = open_house(generation.settings, generation.info, examine=False)
        try:
            owner = await house.tenants.known(tenant)
            return await work(house, house.operator(owner, user_name()))
        finally:
            await house.close()

    return asyncio.run(go())


async def web_root(house: House, said: str | None) -> str:
    """Where browsers find the web app: the URL that was said, else where the running server is, else what
    was said."""
    if said and "://" in said:
        return said
    running = await web_address(house)
    if running is not None:
        return running
    root = replace(house.settings, http=parse_endpoint(said or DEFAULT_HTTP)).named_url
    notes.print(
        f"No server runs on this data folder now: the address is that of one at {root}.",
        highlight=False,
    )
    return root
