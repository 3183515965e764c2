"""What the DICOM doors know of single machines, out of the heartbeats of all `dimse` processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from lightwell.backends.database.pool import Database
from lightwell.domain.peers.model import DoorSeen, MachineSeen, RefusedCall

FACTS: Final = "facts"  # of a heartbeat: what is no number
DOOR: Final = "door"  # among the facts of a `dimse` process
SILENT_SECONDS: Final = 7.0  # a process that was not heard of for so long says nothing

_COUNTED: Final = tuple(
    name for name in MachineSeen.__dataclass_fields__ if name not in ("called", "calling", "heard")
)


class PostgresDoors:
    """`domain.peers.ports.DoorBook`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seen(self) -> DoorSeen:
        """See the port."""
        async with self._database.session() as connection:
            rows = await connection.fetch(
                "SELECT (detail -> $1::text -> $2::text)::text AS door FROM heartbeat"
                " WHERE role = 'dimse' AND at > now() - make_interval(secs => $3)",
                FACTS,
                DOOR,
                SILENT_SECONDS,
            )
        return together(orjson.loads(row["door"]) for row in rows if row["door"])


def together(doors: Iterable[Mapping[str, Any]]) -> DoorSeen:
    """The processes of one port as one door: numbers added, the latest first."""
    machines: dict[tuple[str, str], dict[str, Any]] = {}
    refusals: dict[tuple[str, str, str, str], tuple[int, float]] = {}
    for door in doors:
        for each in door["machines"]:
            sums = machines.setdefault((each["called"], each["calling"]), {"heard": 0.0})
            sums["heard"] = max(sums["heard"], each["heard"])
            for name in _COUNTED:
                sums[name] = sums.get(name, 0) + each[name]
        for each in door["refusals"]:
            key = (each["called"], each["calling"], each["address"], each["why"])
            times, at = refusals.get(key, (0, 0.0))
            refusals[key] = (times + each["times"], max(at, each["at"]))
    seen = [
        MachineSeen(
            called=called,
            calling=calling,
            heard=_instant(sums["heard"]),
            **{name: sums[name] for name in _COUNTED},
        )
        for (called, calling), sums in machines.items()
    ]
    turned = [RefusedCall(*key, times, _instant(at)) for key, (times, at) in refusals.items()]
    return DoorSeen(
        tuple(sorted(seen, key=lambda machine: machine.heard, reverse=True)),
        tuple(sorted(turned, key=lambda refused: refused.at, reverse=True)),
    )


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
