"""The database and the three roles, made alike on the embedded and on any other PostgreSQL.

`lightwell_owner` owns the schema and runs migrations; `lightwell_app` (the doors) and
`lightwell_work` (background work) own nothing, so forced row-level security binds both. None is a
superuser or may bypass row security: that is verified, not assumed, before any address is handed
out.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import SplitResult, quote, unquote, urlsplit

import asyncpg

from lightwell.kernel.errors import Invalid, Unavailable

DATABASE = "lightwell"
CONNECT_SECONDS = 10.0
STATEMENT_SECONDS = 60.0
_LOCK = 0x4C49474854574C  # any fixed number: two machines prepare one database in turn


class Role(StrEnum):
    """The database roles that lightwell connects as."""

    OWNER = "lightwell_owner"
    APP = "lightwell_app"
    WORK = "lightwell_work"


class DatabaseUnavailable(Unavailable):
    """PostgreSQL does not answer, or not in time."""


class DatabaseUnfit(Invalid):
    """PostgreSQL answers but cannot be used as it is; the remedy says what its owner must change."""


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """How each role reaches the one database.

    `recovered` is True when this start replayed the log after an unclean stop: rows of the last
    minutes may then point to blobs that were never synced, and deserve a check. `adopted` is True
    when the server was already running.
    """

    urls: Mapping[Role, str] = field(repr=False)  # they hold passwords
    embedded: bool = False
    recovered: bool = False
    adopted: bool = False

    def url(self, role: Role) -> str:
        """A libpq URI, understood by asyncpg, psql and every other client."""
        return self.urls[role]


def scram_verifier(password: str, *, salt: bytes | None = None, rounds: int = 4096) -> str:
    """What PostgreSQL keeps instead of a password (RFC 5803), made here.

    So the password itself never crosses the wire in a statement that a server may log.
    """
    salt = salt if salt is not None else os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    text = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${rounds}:{text[0]}${text[1]}:{text[2]}"


def derived_passwords(secret: str, database: str) -> dict[Role, str]:
    """Passwords of the three roles from the one that the operator gave us.

    Every machine of a cluster gets the same ones from the same URL, with nothing to hand round.
    scrypt (32 MiB, ~0.1 s) keeps a leaked role password from giving the operator's away.
    """
    key = hashlib.scrypt(
        secret.encode(), salt=f"lightwell:{database}".encode(), n=2**15, r=8, p=1, maxmem=2**26
    )
    return {role: hmac.digest(key, role.encode(), "sha256").hex() for role in Role}


async def prepare(admin_url: str, passwords: Mapping[Role, str], database: str = DATABASE) -> None:
    """Make the roles and the database, or bring them to the wanted state. Repeatable.

    `admin_url` may be any database of the server; its user needs CREATEROLE and CREATEDB. Raises
    DatabaseUnavailable, or DatabaseUnfit when rights are missing.
    """
    admin = await _connect(admin_url)
    try:
        await admin.execute(f"SELECT pg_advisory_lock({_LOCK})")
        for role in Role:
            await _make_role(admin, role, passwords[role])
        await _make_database(admin, database)
        await _verify_roles(admin)
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseUnfit(
            f"The user of LIGHTWELL_DATABASE_URL may not create roles or databases: {error}.",
            remedy="Give a URL of a user with CREATEROLE and CREATEDB, or create the roles "
            f"{', '.join(Role)} (LOGIN) and a database owned by {Role.OWNER}, and give the "
            "URL of each role.",
        ) from error
    except asyncpg.PostgresError as error:
        raise DatabaseUnfit(f"PostgreSQL refused to prepare its roles: {error}.") from error
    finally:
        await admin.close(timeout=CONNECT_SECONDS)
    inside = await _connect(_with_database(admin_url, database))
    try:
        await _open_schema(inside, database)
    except asyncpg.PostgresError as error:
        raise DatabaseUnfit(
            f"The database {database} could not be opened to the roles: {error}."
        ) from error
    finally:
        await inside.close(timeout=CONNECT_SECONDS)


async def prepare_external(
    url: str, *, app_url: str | None = None, work_url: str | None = None
) -> ConnectionInfo:
    """Use a PostgreSQL that somebody else runs. `url` names the database (`lightwell` if it has none).

    With `url` alone its user prepares roles and database (see `prepare`). With `app_url` and
    `work_url` too, nothing is created: `url` is then the owner's.
    """
    parts = _checked(url)
    if (app_url is None) != (work_url is None):
        raise DatabaseUnfit(
            "The URLs of the app role and of the work role belong together; only one is set.",
            remedy="Set both, or none to have the roles made.",
        )
    if app_url is not None and work_url is not None:
        given = ConnectionInfo(
            {Role.OWNER: url, Role.APP: app_url, Role.WORK: work_url}, adopted=True
        )
        await _verify_given(given)
        return given
    database = unquote(parts.path.lstrip("/")) or DATABASE
    passwords = derived_passwords(parts.password or "", database)
    maintenance = url if await _exists(url, database) else _with_database(url, "postgres")
    await prepare(maintenance, passwords, database)
    urls = {role: _as_role(url, role, passwords[role], database) for role in Role}
    return ConnectionInfo(urls, adopted=True)


async def _exists(url: str, database: str) -> bool:
    try:
        connection = await _connect(_with_database(url, database))
    except DatabaseUnfit:
        return False
    await connection.close(timeout=CONNECT_SECONDS)
    return True


async def _connect(url: str) -> asyncpg.Connection[asyncpg.Record]:
    """One connection with deadlines. The texts never hold the URL: it has a password in it."""
    try:
        return await asyncpg.connect(
            url, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS
        )
    except asyncpg.InvalidCatalogNameError as error:
        raise DatabaseUnfit(f"PostgreSQL has no such database: {error}.") from error
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise DatabaseUnfit(
            f"PostgreSQL refused the login: {error}.", remedy="Check user and password of the URL."
        ) from error
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise DatabaseUnavailable(
            f"PostgreSQL does not answer: {type(error).__name__}: {error}."
        ) from error


async def _make_role(admin: asyncpg.Connection[asyncpg.Record], role: Role, password: str) -> None:
    exists = await admin.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role.value)
    verb = "ALTER" if exists else "CREATE"
    await admin.execute(f"{verb} ROLE {role} LOGIN PASSWORD '{scram_verifier(password)}'")
    # The embedded server has these in its configuration; somebody else's server has not.
    await admin.execute(f"ALTER ROLE {role} SET idle_in_transaction_session_timeout = '60s'")
    await admin.execute(f"ALTER ROLE {role} SET jit = off")


async def _make_database(admin: asyncpg.Connection[asyncpg.Record], database: str) -> None:
    if await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
        return
    # One byte order everywhere, independent of the machine's locale library: an upgrade of the
    # operating system must not be able to corrupt an index.
    builtin = admin.get_server_version().major >= 17
    locale = (
        "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'" if builtin else "LOCALE 'C'"
    )
    name = _quoted(database)
    if not await admin.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        await admin.execute(f"GRANT {Role.OWNER} TO CURRENT_USER")
    await admin.execute(
        f"CREATE DATABASE {name} OWNER {Role.OWNER} TEMPLATE template0 ENCODING 'UTF8' {locale}"
    )


async def _open_schema(inside: asyncpg.Connection[asyncpg.Record], database: str) -> None:
    """The owner may create, the other two may connect, everybody else nothing."""
    name = _quoted(database)
    for statement in (
        f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {name} TO {Role.APP}, {Role.WORK}",
        f"GRANT ALL ON DATABASE {name} TO {Role.OWNER}",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        f"GRANT ALL ON SCHEMA public TO {Role.OWNER}",
        f"GRANT USAGE ON SCHEMA public TO {Role.APP}, {Role.WORK}",
    ):
        await inside.execute(statement)
    encoding = await inside.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise DatabaseUnfit(
            f"The database {database} has the encoding {encoding}; names need UTF8.",
            remedy="Create it anew with ENCODING 'UTF8', or name another database in the URL.",
        )


async def _verify_roles(admin: asyncpg.Connection[asyncpg.Record]) -> None:
    rows = await admin.fetch(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY($1) AND (rolsuper OR rolbypassrls)",
        [role.value for role in Role],
    )
    if rows:
        names = ", ".join(row["rolname"] for row in rows)
        raise DatabaseUnfit(
            f"These roles could read every tenant's rows: {names}.",
            remedy="As a superuser: ALTER ROLE … NOSUPERUSER NOBYPASSRLS.",
        )


async def _verify_given(info: ConnectionInfo) -> None:
    """Three URLs were given: each logs in, they are three users, and no row security is bypassed."""
    seen: set[str] = set()
    for role in Role:
        connection = await _connect(info.url(role))
        try:
            row = await connection.fetchrow(
                "SELECT current_user AS name, rolsuper OR rolbypassrls AS free"
                " FROM pg_roles WHERE rolname = current_user"
            )
        finally:
            await connection.close(timeout=CONNECT_SECONDS)
        if row is None or (row["free"] and role is not Role.OWNER) or row["name"] in seen:
            raise DatabaseUnfit(
                f"The URL given for {role} does not name a user of its own that is bound by "
                "row-level security.",
                remedy="Give each role its own user without SUPERUSER and BYPASSRLS.",
            )
        seen.add(row["name"])


def _checked(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise DatabaseUnfit(
            "LIGHTWELL_DATABASE_URL is not a PostgreSQL address.",
            remedy="It looks like postgresql://user:password@host:5432/lightwell.",
        )
    return parts


def _with_database(url: str, database: str) -> str:
    parts = _checked(url)
    return _joined(parts, parts.netloc, database)


def _joined(parts: SplitResult, netloc: str, database: str) -> str:
    # urlunsplit drops the two slashes of a socket address without host; libpq then reads a path.
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{netloc}/{quote(database, safe='')}{query}"


def _as_role(url: str, role: Role, password: str, database: str) -> str:
    parts = _checked(url)
    place = parts.netloc.rpartition("@")[2]
    return _joined(parts, f"{role}:{quote(password, safe='')}@{place}", database)


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
