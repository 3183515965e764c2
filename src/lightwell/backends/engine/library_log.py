"""What the library says goes to our log, from warnings upwards."""

from __future__ import annotations

import logging


def route_logging() -> None:
    """Call before the library is used: it makes a console handler of its own when it finds none."""
    logger = logging.getLogger("dbos")
    logger.handlers[:] = [logging.NullHandler()]
    logger.propagate = True
    logger.setLevel(logging.WARNING)
