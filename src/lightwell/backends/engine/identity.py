"""The name under which this installation's worker carries out runs: the same after every restart."""

from __future__ import annotations

import secrets
from pathlib import Path

FILE = "executor-id"


def executor_id(folder: Path) -> str:
    """The name kept in the data folder; made at the first start. Raises OSError.

    A worker that comes back under its name takes up its own runs at once; a stranger's are taken over
    after the twelve seconds in which they might still be carried out.
    """
    path = folder / FILE
    try:
        found = path.read_text("ascii").strip()
    except FileNotFoundError:
        found = ""
    if found:
        return found
    made = f"work-{secrets.token_hex(8)}"
    partial = path.with_name(f"{FILE}.{secrets.token_hex(4)}")
    partial.write_text(made + "\n", "ascii")
    partial.replace(path)
    return made
