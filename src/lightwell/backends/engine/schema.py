"""The engine's own schema, made and migrated by the owner role, in a process that ends.

`work` runs with rights on the schema's rows and none to change its shape. Which version of the library
made it stands in `work_engine`, so that a start that finds nothing to do loads nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys
from importlib.metadata import version

from lightwell.backends.database.pool import connect, wrapped
from lightwell.backends.database.roles import ConnectionInfo, DatabaseUnfit, Role

SCHEMA = "dbos"
VARIABLE = "LIGHTWELL_ENGINE_OWNER_URL"
SECONDS = 300.0


async def migrate_engine(info: ConnectionInfo) -> bool:
    """Bring the schema to this library's version; False when it was there. Raises DatabaseUnfit."""
    wanted = version("dbos")
    connection = await connect(info, Role.OWNER)
    try:
        with wrapped():
            found = await connection.fetchval("SELECT version FROM work_engine")
            if found == wanted:
                return False
            await _run_apart(info.url(Role.OWNER))
            await connection.execute(
                "INSERT INTO work_engine VALUES (true, $1)"
                " ON CONFLICT (only_one) DO UPDATE SET version = excluded.version",
                wanted,
            )
    finally:
        await connection.close(timeout=5)
    return True


async def _run_apart(url: str) -> None:
    """The address travels in the environment: arguments can be read by everybody."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        env={**os.environ, VARIABLE: url},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS):
            _, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        said = f"not ready after {SECONDS:.0f} s".encode()
    if process.returncode != 0:
        last = (said.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise DatabaseUnfit(
            f"The schema {SCHEMA} of the work engine could not be made: {last[:300]}",
            remedy=f"{Role.OWNER} needs CREATE on the database.",
        )


def main() -> None:
    """Make or migrate the schema at the address in the environment."""
    from dbos import DBOS

    DBOS.migrate(os.environ[VARIABLE], schema=SCHEMA, application_role=Role.WORK.value)


if __name__ == "__main__":
    main()
