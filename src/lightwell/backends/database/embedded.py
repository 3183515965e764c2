"""An own PostgreSQL below the data folder, for `lightwell serve` on one machine.

Layout of `DATA/postgres`, all of it made here:

    cluster/            PGDATA, owned by the account that runs PostgreSQL, 0700
    run/                the socket, 0700 (or a short private folder named in `socket-folder`)
    install-VERSION/    a copy of the programs, only if the account cannot reach the wheel
    secrets.json        random passwords, 0600
    start.lock          held while somebody starts or inspects
    users.lock          held shared by every process that uses the server (see embedded_keeper)

There is no TCP listener and no trusted login: scram passwords over a socket that only the owner of
the data folder (or root) can reach. Any number of commands may `start()` at once: the first one
starts the server, the others adopt it, the last one to `stop()` (or to be killed) ends it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from lightwell.backends.database import embedded_keeper
from lightwell.backends.database.embedded_account import (
    Account,
    Programs,
    SetupNeeded,
    choose_account,
    find_programs,
    require_reach,
)
from lightwell.backends.database.embedded_system import (
    PORT,
    bare_environment,
    exclusive,
    fits_socket,
    hand_over,
    is_private,
    lock_within,
    open_lock,
    run_as,
    run_async,
    runs_in,
    signal_and_wait,
    sync_folder,
    try_lock,
    write_private,
)
from lightwell.backends.database.roles import (
    DATABASE,
    ConnectionInfo,
    DatabaseUnavailable,
    Role,
    prepare,
)

ADMIN = "lightwell_admin"
FAST_SECONDS = embedded_keeper.FAST_SECONDS
LOG_LIMIT = 16 * 1024 * 1024

_LEFT_RUNNING: list[subprocess.Popen[bytes]] = []
"""Keepers that we started and that now serve others: children of ours until they end."""

Progress = Callable[[str], None]

# Written into postgresql.conf once, where an operator may tune them.
_DEFAULTS = {
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "max_connections": "200",
    "jit": "off",
    "idle_in_transaction_session_timeout": "60s",
    "log_startup_progress_interval": "2s",
}
# Given on the command line at every start, where no file can override them: what an acknowledgement
# stands on, and who may reach the server. The log settings keep patient data out of the log: the
# text and detail of a failed statement may quote a row, and go to the client that sent it.
_FIXED = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
}


@dataclass(frozen=True, slots=True)
class _Postmaster:
    """What `postmaster.pid` says (PostgreSQL's miscinit.h: one value a line)."""

    pid: int
    socket_folder: str
    ready: bool


class EmbeddedPostgres:
    """One user's hold on the PostgreSQL of a data folder. Not thread-safe; one a process is enough."""

    def __init__(
        self,
        data_dir: Path,
        *,
        progress: Progress | None = None,
        recovery_seconds: float = 3600.0,
    ) -> None:
        """`progress` hears a sentence at each long step; `recovery_seconds` bounds log replay."""
        self._data = data_dir.absolute()
        self._folder = self._data / "postgres"
        self._cluster = self._folder / "cluster"
        self._say = progress or (lambda _: None)
        self._recovery_seconds = recovery_seconds
        self._users: int | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._info: ConnectionInfo | None = None

    # -- the four things a caller does ---------------------------------------------------------

    def start(self) -> ConnectionInfo:
        """Start or adopt the server, wait until it answers, and prepare roles and database.

        Returns at once when this object already holds a live one; starts anew when it has died.
        Raises SetupNeeded (folder or machine unfit, with the remedy) or DatabaseUnavailable.
        """
        if self._info is not None and self.alive():
            return self._info
        self._make_folders()
        with exclusive(self._folder / "start.lock", self._recovery_seconds):
            self._hold()
            try:
                self._info = self._adopt() or self._start_anew()
            except BaseException:
                self.stop()
                raise
        return self._info

    def alive(self) -> bool:
        """Whether the postmaster runs; two cheap system calls, fit for a supervisor's loop."""
        if self._keeper is not None:
            self._keeper.poll()  # reaps it, so that a dead one is not mistaken for a live one
        return self._postmaster() is not None

    def stop(self) -> None:
        """Let go. The last user shuts the server down (fast, then immediate); others leave it."""
        self._info = None
        if self._users is None:
            return
        users, self._users = self._users, None
        try:
            if try_lock(users, fcntl.LOCK_EX):
                self._shut_down()
            elif not try_lock(users, fcntl.LOCK_SH):
                self._wait_until_gone()  # the keeper was faster: it is shutting down already
        finally:
            fcntl.flock(users, fcntl.LOCK_UN)  # by word: a forked child has the descriptor too
            os.close(users)
            self._part_from_keeper()

    def __enter__(self) -> ConnectionInfo:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _part_from_keeper(self) -> None:
        """Collect our keeper's exit, now or, while others still use its server, some other time."""
        for left in [keeper for keeper in _LEFT_RUNNING if keeper.poll() is not None]:
            _LEFT_RUNNING.remove(left)
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        if self._postmaster() is None:
            keeper.wait(timeout=FAST_SECONDS)
        else:
            _LEFT_RUNNING.append(keeper)

    # -- folders and locks ---------------------------------------------------------------------

    def _make_folders(self) -> None:
        """Make what is missing. Passage (never listing) for others only where root needs it."""
        passage = 0o711 if os.geteuid() == 0 else 0o700
        try:
            for folder in (self._data, self._folder):
                if not folder.exists():
                    folder.mkdir(parents=True, exist_ok=True)
                    folder.chmod(passage)  # ours from this moment: the umask must not decide
            (self._data / "logs").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise SetupNeeded(
                f"The data folder {self._data} cannot be used: {error.strerror}.",
                remedy="Give --data a folder that this user may write to.",
            ) from error

    def _hold(self) -> None:
        """Become a user; waits while a keeper is still shutting the last server down."""
        if self._users is not None:
            return
        path = self._folder / "users.lock"
        descriptor = open_lock(path)
        try:
            lock_within(descriptor, fcntl.LOCK_SH, 3 * FAST_SECONDS, path)
        except BaseException:
            os.close(descriptor)
            raise
        self._users = descriptor

    # -- adopting ------------------------------------------------------------------------------

    def _postmaster(self) -> _Postmaster | None:
        """The live postmaster of this cluster, or None; a stale pid file counts as none."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
            pid = int(lines[0])
        except (FileNotFoundError, NotADirectoryError, IndexError, ValueError):
            return None
        if not runs_in(pid, self._cluster):
            return None
        socket_folder = lines[4] if len(lines) > 4 else ""
        return _Postmaster(pid, socket_folder, len(lines) > 7 and lines[7].strip() == "ready")

    def _adopt(self) -> ConnectionInfo | None:
        if self._postmaster() is None:
            return None
        choose_account(self._cluster)  # refuses when it is somebody else's
        running = self._wait_until_ready("was started by another command and is not ready yet")
        return self._prepared(running, recovered=False, adopted=True)

    # -- starting ------------------------------------------------------------------------------

    def _start_anew(self) -> ConnectionInfo:
        self._part_from_keeper()  # of a server that has died
        account = choose_account(self._cluster)
        require_reach(account, self._folder)
        programs = find_programs(account, self._folder)
        self._make_cluster(account, programs)
        self._check_version(programs)
        unclean = (self._cluster / "postmaster.pid").exists()
        socket_folder = self._socket_folder(account)
        deadline = time.monotonic() + FAST_SECONDS
        while True:
            self._launch(account, programs, socket_folder)
            try:
                running = self._wait_until_ready("is replaying its log after an unclean stop")
                break
            except DatabaseUnavailable:
                # The children of a killed postmaster take a moment to notice, and the new one
                # refuses while they hold the shared memory.
                self._part_from_keeper()
                if not unclean or time.monotonic() > deadline:
                    raise
        return self._prepared(running, recovered=unclean, adopted=False)

    def _make_cluster(self, account: Account, programs: Programs) -> None:
        """initdb beside the place, then one rename: a killed start leaves no half cluster."""
        for leftover in self._folder.glob("new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if self._cluster.exists():
            return
        self._say("Making the database; this happens once.")
        passwords = self._passwords()
        fresh = Path(tempfile.mkdtemp(prefix="new-", dir=self._folder))
        hand_over(fresh, account)
        word = fresh / "word"
        write_private(word, passwords[ADMIN], account)
        cluster = fresh / "cluster"
        run_as(
            account,
            [
                str(programs.bin / "initdb"), "-D", str(cluster), "-U", ADMIN,
                "--pwfile", str(word), "--auth=scram-sha-256", "--data-checksums",
                "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8", "--no-instructions",
            ],
        )  # fmt: skip
        word.unlink()
        with (cluster / "postgresql.conf").open("a") as configuration:
            configuration.write("\n# Lightwell's defaults; yours to tune.\n")
            for name, value in _DEFAULTS.items():
                configuration.write(f"{name} = '{value}'\n")
            configuration.flush()
            os.fsync(configuration.fileno())
        cluster.rename(self._cluster)
        sync_folder(self._folder)
        fresh.rmdir()

    def _check_version(self, programs: Programs) -> None:
        found = (self._cluster / "PG_VERSION").read_text().strip()
        if found != programs.major:
            raise SetupNeeded(
                f"The database in {self._cluster} was made by PostgreSQL {found}; this lightwell "
                f"brings PostgreSQL {programs.version}.",
                remedy="Use the lightwell release that made it to write a backup, then restore "
                "it here; or move the postgres folder away and run `lightwell reindex`.",
            )

    def _socket_folder(self, account: Account) -> Path:
        """A private folder whose path is short enough for a socket's name."""
        for folder in (self._folder / "run", self._recorded_folder()):
            if folder is None or not fits_socket(folder):
                continue
            if folder.name == "run" and not folder.exists():
                folder.mkdir(mode=0o700)
                hand_over(folder, account)
            if is_private(folder, account.uid):
                return folder
        return self._short_folder(account)

    def _recorded_folder(self) -> Path | None:
        try:
            return Path((self._folder / "socket-folder").read_text().strip())
        except FileNotFoundError:
            return None

    def _short_folder(self, account: Account) -> Path:
        runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp")
        usable = not account.is_other and runtime.is_dir() and os.access(runtime, os.W_OK)
        folder = Path(tempfile.mkdtemp(prefix="lightwell-", dir=runtime if usable else "/tmp"))
        if not fits_socket(folder):
            folder.rmdir()
            folder = Path(tempfile.mkdtemp(prefix="lightwell-", dir="/tmp"))
        hand_over(folder, account)
        write_private(self._folder / "socket-folder", str(folder), None)
        return folder

    def _launch(self, account: Account, programs: Programs, socket_folder: Path) -> None:
        command = [str(programs.bin / "postgres"), "-D", str(self._cluster)]
        for name, value in {**_FIXED, "unix_socket_directories": str(socket_folder)}.items():
            command += ["-c", f"{name}={value}"]
        with self._open_log() as log:
            self._keeper = subprocess.Popen(
                [
                    sys.executable, "-I", "-S", embedded_keeper.__file__,
                    str(self._folder / "users.lock"), str(account.uid), str(account.gid), *command,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=bare_environment(),
                start_new_session=True,  # a Ctrl-C at the terminal must not reach it before the doors
            )  # fmt: skip

    @contextlib.contextmanager
    def _open_log(self) -> Iterator[int]:
        path = self._data / "logs" / "postgres.log"
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > LOG_LIMIT:
                path.replace(path.with_suffix(".log.1"))
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _wait_until_ready(self, why: str) -> _Postmaster:
        began = time.monotonic()
        said = 0
        while (passed := time.monotonic() - began) < self._recovery_seconds:
            running = self._postmaster()
            if running is not None and running.ready:
                return running
            ended = self._keeper.poll() if self._keeper is not None else None
            if ended is not None or (running is None and self._keeper is None):
                raise DatabaseUnavailable(
                    f"PostgreSQL ended while it was starting ({self._log_tail()}).",
                    remedy=f"See {self._data / 'logs' / 'postgres.log'}.",
                )
            if passed >= said + 1:
                said = int(passed)
                self._say(f"PostgreSQL {why} ({said} s).")
            time.sleep(0.02)  # the status is a word in a file; there is no event to wait for
        raise DatabaseUnavailable(f"PostgreSQL was not ready after {self._recovery_seconds:.0f} s.")

    def _log_tail(self) -> str:
        try:
            with (self._data / "logs" / "postgres.log").open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return "no log"
        return lines[-1][-300:] if lines else "nothing logged"

    # -- passwords and roles -------------------------------------------------------------------

    def _passwords(self) -> dict[str, str]:
        """The stored passwords; made, and durable, before they are first used."""
        path = self._folder / "secrets.json"
        try:
            stored: dict[str, str] = json.loads(path.read_text())
        except FileNotFoundError:
            if self._cluster.exists():
                raise SetupNeeded(
                    f"The passwords of the database are missing: {path}.",
                    remedy="Put the file back from your backup, or move the postgres folder away "
                    "and run `lightwell reindex`.",
                ) from None
            stored = {name: secrets.token_urlsafe(24) for name in (ADMIN, *Role)}
            write_private(path, json.dumps(stored), None)
        return stored

    def _prepared(self, running: _Postmaster, *, recovered: bool, adopted: bool) -> ConnectionInfo:
        passwords = self._passwords()
        place = f"host={quote(running.socket_folder, safe='')}&port={PORT}"
        urls = {role: f"postgresql://{role}:{passwords[role]}@/{DATABASE}?{place}" for role in Role}
        if not adopted:
            admin = f"postgresql://{ADMIN}:{passwords[ADMIN]}@/postgres?{place}"
            run_async(prepare(admin, {role: passwords[role] for role in Role}))
        return ConnectionInfo(urls, embedded=True, recovered=recovered, adopted=adopted)

    # -- stopping ------------------------------------------------------------------------------

    def _shut_down(self) -> None:
        """Fast (checkpoint, clients cut off), then immediate, then kill; each with a deadline."""
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            running = self._postmaster()
            if running is None:
                return
            signal_and_wait(running.pid, number, FAST_SECONDS)
        if self._postmaster() is not None:
            raise DatabaseUnavailable(f"PostgreSQL in {self._cluster} could not be stopped.")

    def _wait_until_gone(self) -> None:
        running = self._postmaster()
        if running is not None:
            signal_and_wait(running.pid, 0, 3 * FAST_SECONDS)
