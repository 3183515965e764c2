"""Logging: one rotated file a process under `logs/`, lines without patient data.

Messages carry UIDs, AE titles and codes; names, birth dates and IDs of patients never reach a logger.
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
from pathlib import Path

LIMIT = 16 * 1024 * 1024
KEPT = 4
FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"


def log_to_file(folder: Path, name: str) -> None:
    """Send this process's log to `logs/{name}.log`."""
    handler = logging.handlers.RotatingFileHandler(
        folder / f"{name}.log", maxBytes=LIMIT, backupCount=KEPT, encoding="utf-8"
    )
    _install(handler)


def log_to_terminal(level: int = logging.WARNING) -> None:
    """For commands: warnings and worse on standard error."""
    _install(logging.StreamHandler(sys.stderr), level)


def _install(handler: logging.Handler, level: int = logging.INFO) -> None:
    handler.setFormatter(logging.Formatter(FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
