"""What may be kept by an engine: small JSON values, and failures as one of the eight kinds. Pure."""

from __future__ import annotations

import json
import re

from lightwell.kernel import errors
from lightwell.kernel.errors import Broken, Invalid, Kind, LightwellError
from lightwell.workflows.ports import Arguments, Json

ARGUMENT_BYTES = 2048
RESULT_BYTES = 64 * 1024
ERROR_LIMIT = 500
_RUN_ID = re.compile(r"[A-Za-z0-9._:/@-]{1,200}")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,60}")

_KINDS: dict[Kind, type[LightwellError]] = {
    Kind.INVALID: errors.Invalid,
    Kind.REFUSED: errors.Refused,
    Kind.MISSING: errors.Missing,
    Kind.GONE: errors.Gone,
    Kind.CONFLICT: errors.Conflict,
    Kind.BUSY: errors.Busy,
    Kind.UNAVAILABLE: errors.Unavailable,
    Kind.BROKEN: errors.Broken,
}


def checked_run_id(run_id: str) -> str:
    """The id, or Invalid: letters, digits and ._:/@- only, so that it can stand in a log and a path."""
    if not _RUN_ID.fullmatch(run_id):
        raise Invalid("The id of a run is 1 to 200 letters, digits and ._:/@-.")
    return run_id


def checked_workflow(name: str) -> str:
    """The name of a workflow, or Invalid."""
    if not _NAME.fullmatch(name):
        raise Invalid(
            "The name of a workflow is a small letter, then small letters, digits, _ and -."
        )
    return name


def encoded(value: Json, limit: int, what: str) -> str:
    """The value as JSON text of at most `limit` bytes. Raises Invalid."""
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"{what} is not a JSON value.") from error
    if "\\u0000" in text:
        raise Invalid(f"{what} holds a null character.")  # PostgreSQL keeps none
    if size > limit:
        raise Invalid(f"{what} is longer than {limit} bytes: give an id, not the thing.")
    return text


def checked_arguments(arguments: Arguments) -> str:
    """A run's arguments as JSON text. Raises Invalid."""
    return encoded(dict(arguments), ARGUMENT_BYTES, "The arguments of a run")


def settled(result: Json) -> Json:
    """A step's result as every replay will see it. Raises Invalid."""
    return json.loads(encoded(result, RESULT_BYTES, "The result of a step"))


def failure(error: Exception) -> LightwellError:
    """A step's failure as every replay will see it: kind and text. Foreign texts may hold anything."""
    if isinstance(error, LightwellError):
        return _KINDS[error.kind](error.message[:ERROR_LIMIT], remedy=error.remedy)
    return Broken(f"{type(error).__name__} in {_place(error)}.")


def failure_to_json(error: LightwellError) -> dict[str, Json]:
    """For an engine's records."""
    return {"kind": error.kind.value, "message": error.message, "remedy": error.remedy}


def failure_from_json(body: dict[str, Json]) -> LightwellError:
    """The same failure again."""
    return _KINDS[Kind(body["kind"])](str(body["message"]), remedy=body["remedy"])


def told(error: Exception) -> str:
    """A failure as the status shows it."""
    return f"{failure(error)!s}"[:ERROR_LIMIT]


def _place(error: Exception) -> str:
    """Where it was raised: module and line, nothing of its data."""
    trace = error.__traceback__
    if trace is None:
        return "an unknown place"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
