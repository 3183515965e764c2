"""Placeholder replaced by the archive commands."""

from __future__ import annotations

import typer


def add_to(app: typer.Typer) -> None:
    """Registers the commands about what is kept."""
