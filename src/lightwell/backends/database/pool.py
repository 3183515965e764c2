"""Connections of one process, and the one way a tenant's rows are touched.

Every transaction names its tenant first (`set_config('app.tenant', …, true)`), in the same round trip
as BEGIN; without it the row-level security policies raise. Foreign exceptions are turned into ours
here, at the backend's edge.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import asyncpg

from lightwell.access.context import Tenant
from lightwell.backends.database.roles import ConnectionInfo, DatabaseUnavailable, Role
from lightwell.kernel.errors import Busy, Invalid, LightwellError

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]

CONNECT_SECONDS = 10.0
COMMAND_SECONDS = 30.0
STATEMENT_SECONDS = 10  # reliability 3.11: queries

# What the driver raises of a connection or a statement. InternalClientError: the server's last word
# ("terminating connection …") has come and the end of the connection has not, yet.
FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

_TEMPORARY = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
    ConnectionError,
    TimeoutError,
    OSError,
)


# Plans are made early, on small tables, and kept: they must be the ones that stay right. Every question
# here is answered by an index; a sequential scan is only ever chosen for want of statistics.
PLANNING = {"jit": "off", "enable_seqscan": "off"}
# What writes looks up by key and nothing else: a hash join reads a whole table for one row.
LOOKUPS = {**PLANNING, "enable_hashjoin": "off", "enable_mergejoin": "off"}


def translated(error: BaseException) -> LightwellError | None:
    """Our error for a driver's, or None when it is a bug that must show itself."""
    if isinstance(error, asyncpg.QueryCanceledError):
        return Busy(
            "The query took longer than 10 seconds and was stopped.",
            remedy="Narrow it: a date range, a patient ID or an accession number.",
        )
    if isinstance(error, asyncpg.CharacterNotInRepertoireError):
        return Invalid("A text holds a character that cannot be kept.", remedy="Leave it out.")
    if isinstance(error, _TEMPORARY):
        return DatabaseUnavailable(
            f"The database does not answer ({type(error).__name__}).",
            remedy="It is tried again with the next request.",
        )
    return None


@contextlib.contextmanager
def wrapped() -> Any:
    """Translate driver errors that leave the block."""
    try:
        yield
    except Exception as error:
        ours = translated(error)
        if ours is None:
            raise
        raise ours from error


async def connect(
    info: ConnectionInfo, role: Role, **settings: str
) -> asyncpg.Connection[asyncpg.Record]:
    """One connection of a role. Raises DatabaseUnavailable."""
    with wrapped():
        return await asyncpg.connect(
            info.url(role),
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            server_settings={**PLANNING, "application_name": "lightwell", **settings},
        )


async def _nothing_to_reset(connection: object) -> None:
    """Sessions change nothing beyond their transaction: no round trip to undo what was not done."""


class Database:
    """The read pool of one process; connections are made when first needed and after a failure."""

    def __init__(self, info: ConnectionInfo, *, size: int = 8, role: Role = Role.APP) -> None:
        self.info = info
        self._size = size
        self._role = role
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()

    async def _opened(self) -> Pool:
        if self._pool is None:
            async with self._opening:
                if self._pool is None:
                    with wrapped():
                        self._pool = await asyncpg.create_pool(
                            self.info.url(self._role),
                            min_size=1,
                            max_size=self._size,
                            timeout=CONNECT_SECONDS,
                            command_timeout=COMMAND_SECONDS,
                            reset=_nothing_to_reset,
                            server_settings={**LOOKUPS, "application_name": "lightwell"},
                        )
        return self._pool

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """A connection with no tenant: for functions that need none. RLS tables raise."""
        pool = await self._opened()
        with wrapped():
            async with pool.acquire(timeout=CONNECT_SECONDS) as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def transaction(
        self, tenant: Tenant, *, seconds: int = STATEMENT_SECONDS, settings: str = ""
    ) -> AsyncIterator[Connection]:
        """A transaction that sees one tenant's rows. Commits unless the block raises. `settings` are further
        `SET LOCAL` statements of ours, for the same round trip."""
        async with self.session() as connection:
            await connection.execute(
                f"BEGIN; SELECT set_config('app.tenant', '{int(tenant.key)}', true); "
                f"SET LOCAL statement_timeout = '{int(seconds)}s'; {settings}"
            )
            try:
                yield connection
            except BaseException:
                if not connection.is_closed():
                    with contextlib.suppress(*_TEMPORARY, asyncpg.PostgresError):
                        await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    async def close(self) -> None:
        """Give the connections back."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with contextlib.suppress(*_TEMPORARY):
                await asyncio.wait_for(pool.close(), 5)
