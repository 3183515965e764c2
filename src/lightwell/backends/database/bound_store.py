"""The object stores that a database is the index of, one a region, as the database remembers them."""

from __future__ import annotations

import uuid

from lightwell.backends.database.pool import connect, wrapped
from lightwell.backends.database.roles import ConnectionInfo, Role


async def bound_stores(info: ConnectionInfo) -> dict[str, uuid.UUID]:
    """The ids of its stores, by region; none for a database that has not been used with any."""
    connection = await connect(info, Role.OWNER)
    try:
        with wrapped():
            rows = await connection.fetch("SELECT region, store_id FROM bound_store")
            return {row["region"]: uuid.UUID(bytes=row["store_id"].bytes) for row in rows}
    finally:
        await connection.close(timeout=5)


async def bind_store(info: ConnectionInfo, region: str, store_id: uuid.UUID) -> None:
    """Remember the store of a region, in place of any other."""
    connection = await connect(info, Role.OWNER)
    try:
        with wrapped():
            await connection.execute(
                "INSERT INTO bound_store (region, store_id) VALUES ($1, $2) ON CONFLICT (region)"
                " DO UPDATE SET store_id = excluded.store_id, since = now()",
                region,
                store_id,
            )
    finally:
        await connection.close(timeout=5)
