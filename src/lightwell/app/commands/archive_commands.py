"""The commands about what is kept: each in its own module, registered here."""

from __future__ import annotations

import typer

from lightwell.app.commands import (
    aside_commands,
    cooling_commands,
    fsck_commands,
    import_commands,
    reindex_commands,
    settle_commands,
    stats_commands,
)


def add_to(app: typer.Typer) -> None:
    """Register the commands about what is kept."""
    app.command("import")(import_commands.import_)
    app.command("fsck")(fsck_commands.fsck)
    app.command("reindex")(reindex_commands.reindex_)
    app.command("settle")(settle_commands.settle)
    app.command("unpack")(settle_commands.unpack)
    app.command("cool")(cooling_commands.cool)
    app.command("recall")(cooling_commands.recall)
    app.command("stats")(stats_commands.stats)
    app.command("aside")(aside_commands.aside)
