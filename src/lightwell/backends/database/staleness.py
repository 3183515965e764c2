"""How processes hear that what they located is out of date: LISTEN and NOTIFY."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightwell.backends.database.pool import Connection

CHANNEL = "lightwell_changes"  # payload: '{tenant}\x1f{study uid}'


async def tell_stale(connection: Connection, tenant: int, study_uid: str) -> None:
    """Tell every process that what it located in this study ('' = any) is out of date."""
    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, f"{tenant}\x1f{study_uid}")
