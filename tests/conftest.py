"""Whole houses for tests: a real database, a real object store, all rooms, on the test's event loop.

    LIGHTWELL_TEST_DATABASE=embedded|external   (default embedded; external: Debian's PostgreSQL)
    LIGHTWELL_TEST_STORE=local|s3               (default local; s3: a SeaweedFS process)

One server of each kind a session, one database and one store a test. What is not on this machine is
skipped with the reason.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import hypothesis
import pytest

from lightwell.access.context import Context
from lightwell.app.data_folder import make_data_folder
from lightwell.app.settings import Endpoint, Settings
from lightwell.app.wiring import House, furnish, open_house
from lightwell.backends.database.embedded import ADMIN, EmbeddedPostgres
from lightwell.backends.database.roles import DATABASE, ConnectionInfo, Role, prepare_external
from lightwell.testing.foreign_postgres import SUPERUSER, SYSTEM_PROGRAMS, foreign_postgres
from lightwell.testing.openid import NodeProvider, node_program, running
from lightwell.testing.seaweed import SeaweedFS, require_seaweed

T = TypeVar("T")

# How long one example takes says something of the machine, and nothing of the code.
hypothesis.settings.register_profile(
    "lightwell",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("lightwell")

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("LIGHTWELL_SHARED", REPOSITORY.parent / "shared"))
START_SECONDS = 60.0
COMMAND_SECONDS = 300.0


def aside(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end on a thread of its own: this one may have a loop already."""
    with ThreadPoolExecutor(1) as other:
        return other.submit(lambda: asyncio.run(work())).result(120)


# --- what lies beside the repository --------------------------------------------------------------


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of test objects and hostile kits."""
    if not SHARED.is_dir():
        pytest.skip(f"no test objects: {SHARED} is not there (set LIGHTWELL_SHARED)")
    return SHARED


@pytest.fixture(scope="session")
def shared_data(shared: Path) -> Path:
    """The corpus of DICOM files with its INDEX.csv."""
    if not (shared / "data" / "INDEX.csv").is_file():
        pytest.skip(f"no test objects: {shared / 'data'} is not there")
    return shared / "data"


@pytest.fixture(scope="session")
def evil_files(shared: Path, session_folder: Path) -> Path:
    """A folder of hostile files and archives, made by the kit, with its index.json."""
    maker = shared / "kit" / "evil_files.py"
    if not maker.is_file():
        pytest.skip(f"no hostile files: {maker} is not there")
    folder = session_folder / "evil"
    subprocess.run(
        [sys.executable, "-W", "ignore", str(maker), str(folder)],
        check=True,
        capture_output=True,
        timeout=START_SECONDS,
    )
    return folder


@pytest.fixture(scope="session")
def session_folder() -> Iterator[Path]:
    """A folder that the database's own user may pass through, which pytest's are not."""
    folder = Path(tempfile.mkdtemp(prefix="lightwell-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


# --- the servers of a session ---------------------------------------------------------------------


@dataclass(frozen=True)
class DatabaseServer:
    """A running PostgreSQL whose database `lightwell` is the furnished template of all others."""

    template: ConnectionInfo
    admin: str  # URL of somebody who may make databases

    def fresh(self) -> ConnectionInfo:
        """A new furnished database."""
        name = f"lw_{secrets.token_hex(6)}"
        aside(lambda: self._run(f'CREATE DATABASE "{name}" TEMPLATE "{DATABASE}"'
                                f" OWNER {Role.OWNER}"))  # fmt: skip
        urls = {role: with_database(self.template.url(role), name) for role in Role}
        return ConnectionInfo(urls, embedded=self.template.embedded, adopted=True)

    def drop(self, info: ConnectionInfo) -> None:
        """Remove a database of `fresh`, whoever is still connected."""
        name = urlsplit(info.url(Role.OWNER)).path.lstrip("/")
        aside(lambda: self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))

    async def _run(self, statement: str) -> None:
        connection = await asyncpg.connect(self.admin, timeout=10, command_timeout=60)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def with_database(url: str, name: str) -> str:
    """The same server and user, another database."""
    parts = urlsplit(url)
    made = urlunsplit(parts._replace(path=f"/{quote(name, safe='')}"))
    return made if "//" in made else made.replace(":/", ":///", 1)


@pytest.fixture(scope="session")
def database_server(session_folder: Path) -> Iterator[DatabaseServer]:
    """The PostgreSQL that LIGHTWELL_TEST_DATABASE names."""
    kind = os.environ.get("LIGHTWELL_TEST_DATABASE", "embedded")
    if kind == "embedded":
        yield from _embedded(session_folder)
    elif kind == "external":
        yield from _external(session_folder)
    else:
        pytest.fail(f"LIGHTWELL_TEST_DATABASE is {kind!r}, not embedded or external")


def _embedded(folder: Path) -> Iterator[DatabaseServer]:
    server = EmbeddedPostgres(folder / "database")
    info = server.start()
    try:
        passwords = json.loads((folder / "database/postgres/secrets.json").read_text())
        owner = info.url(Role.OWNER)
        admin = owner.replace(
            f"{Role.OWNER}:{passwords[Role.OWNER]}", f"{ADMIN}:{passwords[ADMIN]}"
        )
        yield _furnished(folder, info, with_database(admin, "postgres"))
    finally:
        server.stop()


def _external(folder: Path) -> Iterator[DatabaseServer]:
    if not (SYSTEM_PROGRAMS / "initdb").exists():
        pytest.skip("no PostgreSQL of the system: install the package postgresql")
    password, place = secrets.token_hex(12), folder / "external"
    place.mkdir(mode=0o700)
    with foreign_postgres(SYSTEM_PROGRAMS, place, password, "max_connections=200") as port:
        url = f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/{DATABASE}"
        info = aside(lambda: prepare_external(url))
        yield _furnished(folder, info, with_database(url, "postgres"))


def _furnished(folder: Path, info: ConnectionInfo, admin: str) -> DatabaseServer:
    """Schema and default tenant, made once. Its journal entry is made again in each test's store."""
    settings = settings_for(folder / "template")
    aside(lambda: furnish(settings, info))
    return DatabaseServer(info, admin)


@pytest.fixture(scope="session")
def seaweed() -> Iterator[SeaweedFS]:
    """A real S3 server; its credentials are in the environment while it runs."""
    require_seaweed()
    with SeaweedFS.running() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        yield server


def settings_for(data: Path, **more: Any) -> Settings:
    """Settings of a house on this data folder, which is made."""
    made = Settings(
        data=data, http=Endpoint("127.0.0.1", 0), dimse=Endpoint("127.0.0.1", 0), **more
    )
    make_data_folder(data)
    return made


# --- a house a test -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Installation:
    """A data folder with a database and a store of its own: what `--data` names, for one test."""

    settings: Settings
    info: ConnectionInfo
    environment: Mapping[str, str] = field(repr=False)  # for child processes; holds passwords

    def open(self) -> House:
        """Another set of rooms on it, as another process would have. Close it."""
        return open_house(self.settings, self.info)

    def run(
        self, *arguments: str, seconds: float = COMMAND_SECONDS, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """`lightwell ARGUMENTS --data …` as a child process."""
        return subprocess.run(
            [sys.executable, "-m", "lightwell.app.main", *arguments,
             "--data", str(self.settings.data)],
            env={**os.environ, **self.environment},
            capture_output=True, text=True, timeout=seconds, check=check,
        )  # fmt: skip


@pytest.fixture
def installation(
    request: pytest.FixtureRequest, database_server: DatabaseServer, session_folder: Path
) -> Iterator[Installation]:
    """An empty, furnished installation (tenant `default`); everything of it goes with the test."""
    kind = os.environ.get("LIGHTWELL_TEST_STORE", "local")
    store_url = None
    if kind == "s3":
        server: SeaweedFS = request.getfixturevalue("seaweed")
        store_url = server.store_url(prefix=f"t{secrets.token_hex(6)}")
    elif kind != "local":
        pytest.fail(f"LIGHTWELL_TEST_STORE is {kind!r}, not local or s3")
    info = database_server.fresh()
    settings = settings_for(
        session_folder / f"d{secrets.token_hex(6)}",
        store_url=store_url,
        database_url=info.url(Role.OWNER),
    )
    environment = {
        "LIGHTWELL_DATABASE_URL": info.url(Role.OWNER),
        "LIGHTWELL_DATABASE_APP_URL": info.url(Role.APP),
        "LIGHTWELL_DATABASE_WORK_URL": info.url(Role.WORK),
        **({"LIGHTWELL_STORE_URL": store_url} if store_url else {}),
    }
    try:
        yield Installation(settings, info, environment)
    finally:
        database_server.drop(info)
        shutil.rmtree(settings.data, ignore_errors=True)


@pytest.fixture
async def house(installation: Installation) -> AsyncIterator[House]:
    """All rooms of one process, on this test's loop. Background chores run only when a test runs them."""
    opened = installation.open()
    try:
        tenant = await opened.tenants.named()
        await opened.journal.append(
            tenant,
            "tenant",
            {"name": tenant.name, "label": tenant.label, "aet": tenant.aet, "demo": tenant.demo},
        )  # as `furnish` does: the database is a copy, the store is new
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def context(house: House) -> Context:
    """An operator of the tenant `default`."""
    return house.operator(await house.tenants.named(), "test")


# --- an identity provider -------------------------------------------------------------------------


@pytest.fixture
def openid_provider() -> Iterator[Callable[..., NodeProvider]]:
    """Starts npm's oidc-provider with the options of `NodeProvider`; killed when the test ends."""
    node, modules = node_program(), REPOSITORY / ".tools" / "provider" / "node_modules"
    if node is None or not (modules / "oidc-provider").is_dir():
        pytest.skip("no OpenID provider: script/setup.py test installs it")
    folder = REPOSITORY / "tests" / "conversations" / "provider"
    with ExitStack() as stack:

        def start(**options: Any) -> NodeProvider:
            return stack.enter_context(running(NodeProvider(node, folder, modules, **options)))

        yield start
