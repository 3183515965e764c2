"""`lightwell serve`: one command, several processes, no half-alive server.

The supervisor owns the data folder's lock, the database, the listening DIMSE sockets and the children.
Children are started before the database, so that they load their code while it comes up; they open
nothing until they are told their generation, which is after every check of this start.
A child that dies is started again while `/readyz` says so; one that keeps dying takes the whole server
down. When the supervisor itself dies, the lifeline ends and every child leaves at once; the database
shuts down through its own keeper.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from lightwell.app.binding import awaiting, check_bound, check_regions
from lightwell.app.certificates import with_certificates
from lightwell.app.cooling import check_cool
from lightwell.app.data_folder import held_by_server, make_data_folder
from lightwell.app.database_access import DatabaseHold
from lightwell.app.first_boot import offer_first_administrator
from lightwell.app.generation import Generation
from lightwell.app.heartbeat import forget_beats
from lightwell.app.logs import log_to_file
from lightwell.app.recovery import recheck_recent
from lightwell.app.settings import Endpoint, Settings
from lightwell.app.wiring import furnish, open_house
from lightwell.backends.database.roles import ConnectionInfo
from lightwell.backends.engine.schema import migrate_engine
from lightwell.kernel.clock import SystemClock
from lightwell.kernel.errors import Invalid, LightwellError

log = logging.getLogger("lightwell.supervisor")

TICK_SECONDS = 0.2
GRACE_SECONDS = 60.0  # reliability 3.9: finish or hand back within 60 s
CRASHES = 5
CRASH_WINDOW_SECONDS = 60.0
BACKLOG = 256
DEMO_MODULE = "lightwell.testing.demo"  # run, never imported: it stands above this package

Say = Callable[[str], None]


@dataclass(slots=True)
class Child:
    """One supervised process and its recent deaths."""

    name: str
    module: str
    process: subprocess.Popen[bytes] | None = None
    deaths: deque[float] = field(default_factory=deque)

    def died_too_often(self, now: float) -> bool:
        """Count a death; True when it is the fifth within a minute."""
        self.deaths.append(now)
        while self.deaths and now - self.deaths[0] > CRASH_WINDOW_SECONDS:
            self.deaths.popleft()
        return len(self.deaths) >= CRASHES


@contextlib.contextmanager
def lifeline() -> Iterator[int]:
    """A pipe's read end, for the children to inherit; it ends with this process."""
    read, held = os.pipe()
    os.set_inheritable(read, True)
    try:
        yield read
    finally:
        os.close(read)
        os.close(held)


def _tell(child: Child, generation: Generation) -> None:
    """Let a launched child begin. One that has died meanwhile is found by the next look."""
    assert child.process is not None
    assert child.process.stdin is not None
    with contextlib.suppress(BrokenPipeError), child.process.stdin as line:
        line.write(replace(generation, name=child.name).to_text().encode())


def listen(endpoint: Endpoint) -> socket.socket:
    """A listening TCP socket, inherited by the acceptor processes. Raises Invalid."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((endpoint.host, endpoint.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Invalid(
            f"Cannot listen on {endpoint}: {error.strerror}.",
            remedy="Another program may use the port; choose another.",
        ) from error
    listener.set_inheritable(True)
    return listener


def check_free(endpoint: Endpoint) -> None:
    """Whether the HTTP port can be had; the HTTP server binds it itself. Raises Invalid."""
    listen(endpoint).close()


class Supervisor:
    """One run of the server, from the lock to the last child's end."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self._settings = settings
        self._say = say
        self._hold = DatabaseHold(settings, say)
        self._children: list[Child] = []
        self._demo: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def run(self) -> int:
        """Serve until told to stop. The exit code: 0 stopped, 1 a process kept dying."""
        make_data_folder(self._settings.data)
        with held_by_server(self._settings.data) as lock:
            log_to_file(self._settings.logs, "supervisor")
            self._settings = with_certificates(self._settings, SystemClock().now())
            check_free(self._settings.http)
            # The lifeline outlasts the children's grace: its end would end them at once.
            with self._sockets() as (dimse, tls), lifeline() as line:
                passed = [lock, line, dimse.fileno(), *([tls.fileno()] if tls else [])]
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, self._asked_to_stop)
                try:
                    self._launch_children(passed)
                    info = self._hold.start()
                    self._settings = asyncio.run(prepare(self._settings, info, self._say))
                    generation = Generation(
                        settings=_settled(self._settings, dimse),
                        info=info,
                        name="",
                        lifeline=line,
                        dimse_socket=dimse.fileno(),
                        tls_socket=tls.fileno() if tls else -1,
                    )
                    return self._serve(generation, passed)
                finally:
                    self._end_children()
                    self._hold.stop()

    def _asked_to_stop(self, number: int, _frame: object) -> None:
        log.info("asked to stop by signal %d", number)
        self._stopping = True

    @contextlib.contextmanager
    def _sockets(self) -> Iterator[tuple[socket.socket, socket.socket | None]]:
        with contextlib.ExitStack() as stack:
            dimse = stack.enter_context(listen(self._settings.dimse))
            tls = None
            if self._settings.dimse_tls is not None:
                tls = stack.enter_context(listen(self._settings.dimse_tls))
            yield dimse, tls

    def _launch_children(self, passed: list[int]) -> None:
        self._children = [
            *(Child(f"dimse-{n}", "dimse_process") for n in range(1, self._settings.workers + 1)),
            Child("work", "work_process"),
            Child("http", "http_process"),
        ]
        for child in self._children:
            self._launch(child, passed)

    def _serve(self, generation: Generation, passed: list[int]) -> int:
        for child in self._children:
            _tell(child, generation)
        self._say(banner(generation.settings))
        if self._settings.demo:
            self._start_demo(generation, passed)
        return self._watch(generation, passed)

    def _launch(self, child: Child, passed: list[int]) -> None:
        """Start a process that holds what was passed on, and waits to be told its generation."""
        command = [sys.executable, "-m", f"lightwell.app.{child.module}"]
        child.process = subprocess.Popen(command, pass_fds=passed, stdin=subprocess.PIPE)
        log.info("started %s as %d", child.name, child.process.pid)

    def _start_demo(self, generation: Generation, passed: list[int]) -> None:
        """Demo studies are made by a child of their own that ends when they are there."""
        command = [sys.executable, "-m", DEMO_MODULE]
        environment = {**os.environ, **replace(generation, name="demo").to_environment()}
        self._demo = subprocess.Popen(
            command, env=environment, pass_fds=passed, stdin=subprocess.DEVNULL
        )

    def _look_at_demo(self) -> None:
        """Say how making the demo studies ended; the server runs on either way."""
        if self._demo is None or self._demo.poll() is None:
            return
        code, self._demo = self._demo.returncode, None
        if code != 0:
            log.error("the demo studies could not be made: exit code %d", code)
            self._say("The demo studies could not be made; the lines before this one say why.")

    def _watch(self, generation: Generation, passed: list[int]) -> int:
        while not self._stopping:
            time.sleep(TICK_SECONDS)
            self._look_at_demo()
            if not self._hold.alive():
                log.error("the database is gone; starting it again")
                self._revive_database()
            for child in self._children:
                if child.process is None or child.process.poll() is None:
                    continue
                log.error("%s ended with %s", child.name, child.process.returncode)
                if child.died_too_often(time.monotonic()):
                    self._say(f"{child.name} keeps dying: see {self._settings.logs}. Stopping.")
                    return 1
                self._launch(child, passed)
                _tell(child, generation)
        return 0

    def _revive_database(self) -> None:
        try:
            self._hold.start()
        except LightwellError as error:
            log.error("the database does not start: %s", error)

    def _end_children(self) -> None:
        """TERM, the grace, then KILL: nobody is left answering."""
        if self._demo is not None:  # it may end anywhere: a next run goes on
            self._demo.kill()
            self._demo.wait()
        running = [c for c in self._children if c.process is not None and c.process.poll() is None]
        for child in running:
            assert child.process is not None
            child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        for child in running:
            assert child.process is not None
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("%s did not end within %g s; killed", child.name, GRACE_SECONDS)
                child.process.kill()
                child.process.wait()


async def prepare(settings: Settings, info: ConnectionInfo, say: Say) -> Settings:
    """Everything between a running database and open doors; what the doors are to know of it."""
    await furnish(settings, info)
    await migrate_engine(info)
    house = open_house(settings, info)
    try:
        await check_regions(house)
        away = await check_bound(house)
        for region in away:
            say(
                f"The store of region {region} does not answer. Its tenants wait; the others do not."
            )
        await check_cool(house)
        await forget_beats(house)
        await offer_first_administrator(house, say)
        if info.recovered:
            say("The last stop was not clean: looking at what was stored last.")
            await recheck_recent(house, away)
    finally:
        await house.close()
    return awaiting(settings, away)


def _settled(settings: Settings, dimse: socket.socket) -> Settings:
    """Port 0 means any: what the system chose is what the others must know."""
    return replace(settings, dimse=Endpoint(settings.dimse.host, dimse.getsockname()[1]))


def banner(settings: Settings) -> str:
    """What an operator sees when the server is up."""
    lines = [
        f"Lightwell serves {settings.data}",
        f"  web app and DICOMweb  {settings.web_url}/",
        *([f"  demonstration         {settings.web_url}/t/demo/"] if settings.demo else []),
        f"  DICOM (DIMSE)         {settings.aet} at {settings.dimse}",
    ]
    if settings.dimse_tls is not None:
        lines.append(f"  DICOM over TLS        {settings.aet} at {settings.dimse_tls}")
    if settings.tls_folder in {one.parent for one in _given(settings)}:
        lines.append(f"  certificate of        {settings.tls_folder / 'authority.crt'}")
    lines.append("  Not a cleared medical device. Stop with Ctrl+C.")
    return "\n".join(lines)


def _given(settings: Settings) -> Iterator[Path]:
    """The certificates in use."""
    if settings.http_tls is not None:
        yield settings.http_tls.certificate
    if settings.tls is not None:
        yield settings.tls.certificate
