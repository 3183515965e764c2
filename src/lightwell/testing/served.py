"""A real `lightwell serve` as a child process, for tests that play its peers.

The data folder lies below `/tmp` in a folder that others may pass through, because the embedded
database runs as an account of its own when we are root. Nothing but this process tree is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from lightwell.app.database_access import database
from lightwell.app.settings import Endpoint, Settings
from lightwell.app.wiring import House, open_house
from lightwell.backends.database.directories import CACHE_SECONDS
from lightwell.domain.peers.model import Peer
from lightwell.domain.tenants.model import DEFAULT
from lightwell.testing.keyring import KeyRing

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
START_SECONDS = 120.0
STOP_SECONDS = 90.0
_TICK = 0.1


def free_port() -> int:
    """A loopback port nobody listens on at this moment."""
    with contextlib.closing(socket.create_server((LOOPBACK, 0))) as probe:
        return int(probe.getsockname()[1])


def wait_until(what: Callable[[], T], seconds: float, message: str) -> T:
    """Ask again and again until the answer is true; raises TimeoutError with *message*."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{message} within {seconds} s")
        time.sleep(_TICK)  # another process: there is nothing of ours to wait on
    return answer


class Served:
    """One installation and its server process; ports and data stay over a restart."""

    def __init__(
        self,
        folder: Path,
        *,
        aet: str = "LIGHTWELL",
        workers: int = 2,
        listen: str = LOOPBACK,
        arguments: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.aet = aet
        self.http_port = free_port()
        self.dimse_port = free_port()
        self._workers = workers
        self._listen = listen
        self._arguments = tuple(arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self.keys = KeyRing(self._said)

    @property
    def url(self) -> str:
        """The root of the web door, without a slash at the end."""
        scheme = "http" if self._listen == LOOPBACK else "https"
        return f"{scheme}://{LOOPBACK}:{self.http_port}"

    @property
    def authority(self) -> Path:
        """The certificate of its own authority, once it has one."""
        return self.data / "secrets" / "tls" / "authority.crt"

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        assert self._process is not None
        return self._process.pid

    def dicomweb(self, tenant: str = DEFAULT) -> str:
        """The DICOMweb root of a tenant."""
        return f"{self.url}/dicomweb" if tenant == DEFAULT else f"{self.url}/t/{tenant}/dicomweb"

    # ---- its life -----------------------------------------------------------------------------

    def start(self) -> None:
        """Start and wait until every door is open. Raises TimeoutError, RuntimeError."""
        command = [
            *(sys.executable, "-m", "lightwell.app.main", "serve", "--data", str(self.data)),
            *("--http", f"{self._listen}:{self.http_port}"),
            *("--dimse", f"{LOOPBACK}:{self.dimse_port}"),
            *("--aet", self.aet, "--workers", str(self._workers), *self._arguments),
        ]
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            wait_until(self._ready_or_dead, START_SECONDS, "lightwell serve was not ready")
        except BaseException:
            self.stop()
            raise

    def _ready_or_dead(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"lightwell serve ended:\n{self.output()[-4000:]}")
        return self.ready()

    def ready(self) -> bool:
        """Whether `/readyz` says so now."""
        try:
            trusted = None
            if self.url.startswith("https"):
                trusted = ssl.create_default_context(cafile=self.authority)
            address = f"{self.url}/readyz"
            with urllib.request.urlopen(address, timeout=5, context=trusted) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """Ask it to end; kill the process group if it does not."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def restart(self) -> None:
        """Stop in order, start again on the same ports and data."""
        self.stop()
        self.start()

    def output(self) -> str:
        """What the server said on its terminal."""
        return (self.folder / "output").read_text(errors="replace")

    # ---- its operator -------------------------------------------------------------------------

    def run(self, *arguments: str, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
        """`lightwell ARGUMENTS --data …` beside the server."""
        return subprocess.run(
            [sys.executable, "-m", "lightwell.app.main", *arguments, "--data", str(self.data)],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def _said(self, *arguments: str) -> str:
        done = self.run(*arguments)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return done.stdout

    def stats(self) -> Any:
        """What `lightwell stats --json` says."""
        done = self.run("stats", "--json")
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return json.loads(done.stdout)

    def register(
        self, peers: Iterable[Peer] = (), tenants: Mapping[str, Sequence[Peer]] | None = None
    ) -> None:
        """Let *peers* into the default tenant; make *tenants*, called by their name in capitals,
        each with its peers."""

        async def work(house: House) -> None:
            owner = house.operator(await house.tenants.named(), "test")
            for peer in peers:
                await house.peers.add(owner, peer)
            for name, guests in (tenants or {}).items():
                made = await house.tenants.create(owner, name, aet=name.upper())
                for peer in guests:
                    await house.peers.add(house.operator(made, "test"), peer)

        self.within(work)
        time.sleep(CACHE_SECONDS)  # so long a serving process may not have heard of a new tenant

    def stow(self, files: Iterable[bytes], tenant: str = DEFAULT) -> None:
        """Upload Part 10 files. Raises RuntimeError unless every one of them is stored."""
        body = b"".join(
            b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files
        )
        url = f"{self.dicomweb(tenant)}/studies"
        kind = 'multipart/related; type="application/dicom"; boundary=cut'
        request = urllib.request.Request(
            url, body + b"--cut--\r\n", {"Content-Type": kind, **self.keys.headers(url)}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, said = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, said = error.code, error.read()
        if status != 200:
            raise RuntimeError(f"not all was stored: {status} {said[:2000]!r}")

    def within(self, work: Callable[[House], Awaitable[T]]) -> T:
        """Run *work* with rooms of our own on the same installation, in a thread and loop aside."""
        nowhere = Endpoint(LOOPBACK, 0)
        settings = Settings(data=self.data, http=nowhere, dimse=nowhere)

        async def go() -> T:
            house = open_house(settings, info, examine=False)
            try:
                return await work(house)
            finally:
                await house.close()

        with database(settings) as info, ThreadPoolExecutor(1) as aside:
            return aside.submit(lambda: asyncio.run(go())).result(START_SECONDS)


@contextlib.contextmanager
def serving(**options: Any) -> Iterator[Served]:
    """A fresh installation, served for as long as the block runs; its folder goes afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="lightwell-conv-", dir="/tmp"))
    folder.chmod(0o755)
    server = Served(folder, **options)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
