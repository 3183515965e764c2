"""System calls of the embedded PostgreSQL, each with one job: locks, signals, private files."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from lightwell.backends.database.embedded_account import Account, SetupNeeded
from lightwell.backends.database.roles import DatabaseUnavailable

PORT = 5432  # only part of the socket's name; nothing listens on TCP
SOCKET_PATH_LIMIT = 107  # sun_path holds 108 bytes, one of them a NUL

T = TypeVar("T")


def open_lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    give_to_owner_of_folder(descriptor, path.parent)
    return descriptor


def give_to_owner_of_folder(descriptor: int, folder: Path) -> None:
    """What root adds to an ordinary user's folder must not lock that user out later."""
    owner = folder.stat()
    if os.geteuid() == 0 and os.fstat(descriptor).st_uid != owner.st_uid:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_within(descriptor: int, kind: int, seconds: float, path: Path) -> None:
    deadline = time.monotonic() + seconds
    while not try_lock(descriptor, kind):
        if time.monotonic() > deadline:
            raise DatabaseUnavailable(
                f"Another lightwell command has been starting or stopping PostgreSQL for "
                f"{seconds:.0f} s.",
                remedy=f"Find it with `fuser {path}`.",
            )
        time.sleep(0.02)  # flock has no timeout of its own


@contextlib.contextmanager
def exclusive(path: Path, seconds: float) -> Iterator[None]:
    descriptor = open_lock(path)
    try:
        lock_within(descriptor, fcntl.LOCK_EX, seconds, path)
        yield
    finally:
        os.close(descriptor)


def runs_in(pid: int, cluster: Path) -> bool:
    """Whether the process lives and is this cluster's postmaster, not a later bearer of its number.

    PostgreSQL's working directory is its cluster. Without /proc (macOS) the number has to do, as it
    does for PostgreSQL itself.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, under another user
    if not Path("/proc/self/cwd").exists():
        return True
    try:
        return Path(f"/proc/{pid}/cwd").samefile(cluster)
    except FileNotFoundError:  # ended meanwhile, or a zombie
        return False
    except PermissionError:
        return True


def signal_and_wait(pid: int, number: int, seconds: float) -> None:
    """Send a signal (0: none) and wait until the process has ended, or the time is up."""
    with contextlib.suppress(ProcessLookupError):
        if not hasattr(os, "pidfd_open"):
            poll_until_gone(pid, number, seconds)
            return
        descriptor = os.pidfd_open(pid)
        try:
            if number:
                signal.pidfd_send_signal(descriptor, number)
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll(int(seconds * 1000))
        finally:
            os.close(descriptor)


def poll_until_gone(pid: int, number: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    os.kill(pid, number)
    while time.monotonic() < deadline:
        os.kill(pid, 0)
        time.sleep(0.02)


def hand_over(path: Path, account: Account) -> None:
    """Give a file or folder that we have just made to the account."""
    if account.is_other:
        os.chown(path, account.uid, account.gid)


def is_private(folder: Path, uid: int) -> bool:
    """A real folder, of this user, closed to everybody else."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == uid
        and not stat.S_IMODE(found.st_mode) & 0o77
    )


def fits_socket(folder: Path) -> bool:
    return len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_LIMIT


def write_private(path: Path, text: str, account: Account | None) -> None:
    """A new 0600 file, whole and durable or not there; handed to the account, or the folder's owner."""
    descriptor, name = tempfile.mkstemp(prefix=".", dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        if account is None:
            give_to_owner_of_folder(descriptor, path.parent)
        os.fsync(descriptor)
    if account is not None:
        hand_over(Path(name), account)
    Path(name).replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def bare_environment() -> dict[str, str]:
    """Nothing of ours: not the credentials of the object store, no PG… variables."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def run_as(account: Account, command: list[str]) -> None:
    identity: dict[str, Any] = {}
    if account.is_other:
        identity = {"user": account.uid, "group": account.gid, "extra_groups": []}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        cwd="/",
        env=bare_environment(),
        timeout=300,
        check=False,
        **identity,
    )
    if done.returncode != 0:
        raise SetupNeeded(
            f"{Path(command[0]).name} failed ({done.returncode}): {done.stderr.strip()[-500:]}",
            remedy="Mostly the disk is full or the file system forbids what PostgreSQL needs; "
            "try another --data folder.",
        )


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end in a thread of its own, so that callers inside an event loop may start too."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()
