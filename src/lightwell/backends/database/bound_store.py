"""The object store that a database is the index of, as the database remembers it."""

from __future__ import annotations

import uuid

from lightwell.backends.database.pool import connect, wrapped
from lightwell.backends.database.roles import ConnectionInfo, Role


async def bound_store(info: ConnectionInfo) -> uuid.UUID | None:
    """The id of its store; None for a database that has not been used with any."""
    connection = await connect(info, Role.OWNER)
    try:
        with wrapped():
            found = await connection.fetchval("SELECT store_id FROM bound_store")
            return None if found is None else uuid.UUID(bytes=found.bytes)
    finally:
        await connection.close(timeout=5)


async def bind_store(info: ConnectionInfo, store_id: uuid.UUID) -> None:
    """Remember the store, in place of any other."""
    connection = await connect(info, Role.OWNER)
    try:
        with wrapped():
            await connection.execute(
                "INSERT INTO bound_store (store_id) VALUES ($1) ON CONFLICT (only_one)"
                " DO UPDATE SET store_id = excluded.store_id, since = now()",
                store_id,
            )
    finally:
        await connection.close(timeout=5)
