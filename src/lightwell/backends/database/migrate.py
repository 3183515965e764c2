"""Migrations: numbered SQL files, run once each by the owner role, in one transaction each.

Expand, migrate, contract (reliability contract 3.9): a file never changes once it has landed; its
SHA-256 is kept, and a changed one stops the start.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lightwell.backends.database.pool import connect, wrapped
from lightwell.backends.database.roles import ConnectionInfo, Role
from lightwell.kernel.errors import Broken

if TYPE_CHECKING:
    from lightwell.backends.database.pool import Connection

FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x4D494752  # two starts migrate in turn


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    number: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(folder: Path = FOLDER) -> list[Migration]:
    """All steps there are, in order."""
    found = []
    for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql")):
        found.append(Migration(int(path.name[:4]), path.stem, path.read_text("utf-8")))
    return found


async def migrate(info: ConnectionInfo) -> list[str]:
    """Bring the database to this version's schema; returns the names of the steps that were run."""
    connection = await connect(info, Role.OWNER)
    try:
        with wrapped():
            await connection.execute("SELECT pg_advisory_lock($1)".replace("$1", str(_LOCK)))
            return await _run_missing(connection)
    finally:
        await connection.close(timeout=5)


async def _run_missing(connection: Connection) -> list[str]:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS migration (number int PRIMARY KEY, name text NOT NULL,"
        " digest text NOT NULL, at timestamptz NOT NULL DEFAULT now())"
    )
    done = {r["number"]: r["digest"] for r in await connection.fetch("SELECT * FROM migration")}
    ran = []
    for step in migrations():
        if step.number in done:
            _check_unchanged(step, done[step.number])
            continue
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '2s'")
            await connection.execute(step.sql)
            await connection.execute(
                "INSERT INTO migration (number, name, digest) VALUES ($1, $2, $3)",
                step.number,
                step.name,
                step.digest,
            )
        ran.append(step.name)
    return ran


def _check_unchanged(step: Migration, digest: str) -> None:
    if step.digest != digest:
        raise Broken(
            f"Migration {step.name} was changed after it had been run on this database.",
            remedy="Install the release that wrote this database, or a later one.",
        )
