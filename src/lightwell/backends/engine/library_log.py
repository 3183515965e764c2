"""What the library says goes to our log, from warnings upwards, one short line each."""

from __future__ import annotations

import logging

LIMIT = 300


class _OneLine(logging.Filter):
    """Database errors come with statements, values and tracebacks: what and where is enough."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = (record.getMessage().splitlines() or [""])[0][:LIMIT]
        if record.exc_info and record.exc_info[0] is not None:
            text = f"{text} {record.exc_info[0].__name__}"
        record.msg, record.args = text, None
        record.exc_info = record.exc_text = None
        return True


def route_logging() -> None:
    """Call before the library is used: it makes a console handler of its own when it finds none."""
    logger = logging.getLogger("dbos")
    logger.handlers[:] = [logging.NullHandler()]
    if not any(isinstance(each, _OneLine) for each in logger.filters):
        logger.addFilter(_OneLine())
    logger.propagate = True
    logger.setLevel(logging.WARNING)
