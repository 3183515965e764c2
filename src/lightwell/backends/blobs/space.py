"""When a volume counts as full (reliability page 3.8): before it is, so that the database can go on.

A full volume takes the database's log down with it. So writes stop at 98 %, bulk work at 95 %, and
once stopped they start again only below 93 %: without that gap every freed megabyte would let one
more object in and flip the answer for each sender.
"""

from __future__ import annotations

import errno
import os
from enum import IntEnum
from pathlib import Path

from lightwell.domain.archive.ports import FreeSpace

WARN_AT = 0.85
NO_BULK_AT = 0.95
NO_WRITES_AT = 0.98
AGAIN_BELOW = 0.93

FULL_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Error numbers that mean: no room, nothing else is wrong."""


class Room(IntEnum):
    """How much may still be written; a higher number means less."""

    PLENTY = 0
    WARN = 1
    NO_BULK = 2
    NONE = 3


def volume_space(folder: str | Path) -> FreeSpace:
    """Size of the folder's volume and what an ordinary user may still take of it. Raises OSError."""
    volume = os.statvfs(folder)
    return FreeSpace(volume.f_blocks * volume.f_frsize, volume.f_bavail * volume.f_frsize)


def used_fraction(space: FreeSpace) -> float:
    """0.0 empty to 1.0 full; a volume that reports no size counts as empty."""
    return (space.total - space.free) / space.total if space.total > 0 else 0.0


class Watermark:
    """The room on one volume, with the memory that keeps the answer from flipping."""

    def __init__(self, *, reserve: int = 0) -> None:
        """`reserve`: bytes that must stay free whatever the percentage (the database's log)."""
        self._reserve = reserve
        self._level = Room.PLENTY

    def level(self, space: FreeSpace) -> Room:
        """The room now. Threads may race here: each sees one of the two neighbouring answers."""
        used = used_fraction(space)
        now = _plain_level(used)
        if space.free < self._reserve:
            now = Room.NONE
        if now < self._level and self._level >= Room.NO_BULK and used >= AGAIN_BELOW:
            return self._level
        self._level = now
        return now


def _plain_level(used: float) -> Room:
    if used >= NO_WRITES_AT:
        return Room.NONE
    if used >= NO_BULK_AT:
        return Room.NO_BULK
    return Room.WARN if used >= WARN_AT else Room.PLENTY
