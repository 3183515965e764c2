"""`settle_series`: a series that has been quiet for a while becomes a pack.

One run a series and quiet time, never one an instance. Its one step looks at the rows when it begins and
switches them in one commit, so it may be repeated, taken over or run twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from lightwell.workflows.dispatcher import Quiet, fields
from lightwell.workflows.ports import Arguments, Body, Run

NAME = "settle_series"
LONGEST_FACTOR = 15  # a series that never rests is settled after so many quiet times

Heard = Callable[[int, int], None]
"""(images done, of how many); from any thread."""

Settle = Callable[[int, str, str, Heard], Awaitable[dict[str, Any]]]
"""(tenant key, study UID, series UID, whom to tell) -> what it came to, as small JSON."""


def settle_series(settle: Settle) -> Body:
    """The body; `settle` is the archive's front door with a context of the tenant's own work."""

    async def body(run: Run, arguments: Arguments) -> None:
        def heard(done: int, total: int) -> None:
            run.progress(done, total, "images")

        study, series = arguments["study"], arguments["series"]
        made = await run.step("settle", settle, run.tenant, study, series, heard)
        heard(made["instances"], made["instances"])

    return body


def rule(after: float) -> Quiet:
    """Start it `after` seconds after the last image of a series came, or came again for a lost one."""
    return Quiet(
        kinds=frozenset({"InstanceStored", "InstanceRepaired"}),
        key=fields("study", "series"),
        workflow=NAME,
        after=after,
        longest=LONGEST_FACTOR * after,
    )
