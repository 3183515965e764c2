"""`lightwell database`: for operators with their own tools."""

from __future__ import annotations

from typing import Annotated

import typer

from lightwell.app.commands.options import DataOption, check_installed, notes, settings_from
from lightwell.app.data_folder import make_data_folder
from lightwell.app.database_access import database
from lightwell.backends.database.roles import Role

app = typer.Typer(no_args_is_help=True, help="The database below.")


@app.command()
def url(
    data: DataOption,
    role: Annotated[str, typer.Option(help="owner, app or work.")] = "owner",
) -> None:
    """Print the URL of the running server's database (it holds a password)."""
    chosen = {"owner": Role.OWNER, "app": Role.APP, "work": Role.WORK}.get(role)
    if chosen is None:
        raise typer.BadParameter("owner, app or work")
    settings = settings_from(data)
    check_installed(settings)
    make_data_folder(settings.data)
    with database(settings) as info:
        print(info.url(chosen))
        if info.embedded and not info.adopted:
            notes.print("No server runs on this data folder: the database stops with this command.")
