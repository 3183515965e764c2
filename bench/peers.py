"""The programs that are compared, each in a folder of its own, all with TCP_NODELAY=1.

Orthanc runs with its defaults (file sync on; SQLite, or PostgreSQL), storescp forks and neither syncs
nor indexes, nginx serves files. Ours runs as an installation does: embedded PostgreSQL, two processes a
door, acknowledged only when durable.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext

from bench.machine import Running, free_port, running, wait_for_port
from lightwell.gateways.http.identity import PLAIN_COOKIE
from lightwell.testing.keyring import KeyRing

NODELAY = {**os.environ, "TCP_NODELAY": "1", "DCMDICTPATH": "/usr/share/libdcmtk17/dicom.dic"}
ORTHANC_PLUGINS = "/usr/share/orthanc/plugins"


@dataclass
class Peer:
    """A running program and its doors."""

    name: str
    run: Running
    dimse: int = 0
    http: int = 0
    aet: str = "ANY"
    data: Path = Path()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def roots(self) -> tuple[int, ...]:
        return self.run.roots


@contextlib.contextmanager
def ours(
    folder: Path,
    *,
    workers: int = 2,
    name: str = "lightwell",
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Peer]:
    """Lightwell with the sender registered as a peer; `environment` is added to ours."""
    surroundings = {**NODELAY, **(environment or {})}
    data, http, dimse = folder / "lightwell", free_port(), free_port()
    lightwell = [sys.executable, "-m", "lightwell.app.main"]
    command = [
        *lightwell, "serve", "--data", str(data), "--http", f"127.0.0.1:{http}",
        "--dimse", f"127.0.0.1:{dimse}", "--workers", str(workers), *options,
    ]  # fmt: skip
    with running(name, command, folder / "lightwell.log", env=surroundings) as run:
        wait_ready(http)
        subprocess.run(
            [*lightwell, "peer", "add", "LW_SENDER", "127.0.0.1:1", "--allow", "store,find,move,get",
             "--data", str(data)],
            check=True, stdout=subprocess.DEVNULL, env=surroundings,
        )  # fmt: skip
        keys = KeyRing(
            lambda *arguments: subprocess.run(
                [*lightwell, *arguments, "--data", str(data)],
                check=True, capture_output=True, text=True, env=surroundings,
            ).stdout
        )  # fmt: skip
        identify(http, keys.bearer())
        pid = int((data / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0])
        run.others = (pid,)
        yield Peer(name, run, dimse, http, "LIGHTWELL", data, surroundings)


BEARERS: dict[int, str] = {}
"""The key of each server of ours, by its port: where every measure gets its identity from."""


class _Identified(urllib.request.BaseHandler):
    """Says who we are to servers of ours, and nothing to others."""

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        bearer = BEARERS.get(urlsplit(request.full_url).port or 0)
        if bearer and not request.has_header("Authorization"):
            request.add_unredirected_header("Authorization", f"Bearer {bearer}")
        return request


def identify(http: int, bearer: str) -> None:
    """Use a key for every request to a port."""
    BEARERS[http] = bearer
    urllib.request.install_opener(urllib.request.build_opener(_Identified))


def sign_in(context: BrowserContext, url: str) -> None:
    """Have a browser signed in at a server of ours."""
    cookie = {"name": PLAIN_COOKIE, "value": BEARERS[urlsplit(url).port or 0], "url": url}
    context.add_cookies([{**cookie, "httpOnly": True}])  # type: ignore[list-item]


def wait_ready(http: int, seconds: float = 60) -> None:
    """Until /readyz says 200."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{http}/readyz", timeout=2) as answer:
                if answer.status == 200:
                    return
        time.sleep(0.1)
    raise SystemExit("lightwell is not ready")


@contextlib.contextmanager
def orthanc(folder: Path, *, postgres: str | None = None) -> Iterator[Peer]:
    """Orthanc with DICOMweb, its defaults otherwise; `postgres` names a URL for its index."""
    name = "orthanc-postgres" if postgres else "orthanc"
    http, dimse, home = free_port(), free_port(), folder / name
    home.mkdir()
    plugins = [f"{ORTHANC_PLUGINS}/libOrthancDicomWeb.so"]
    settings: dict[str, object] = {
        "Name": name,
        "StorageDirectory": str(home / "db"),
        "IndexDirectory": str(home / "db"),
        "Plugins": plugins,
        "HttpPort": http,
        "DicomPort": dimse,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True,
        "UnknownSopClassAccepted": True,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    if postgres:
        plugins.append(f"{ORTHANC_PLUGINS}/libOrthancPostgreSQLIndex.so")
        settings["PostgreSQL"] = {
            "EnableIndex": True, "EnableStorage": False, "ConnectionUri": postgres, "Lock": False,
        }  # fmt: skip
    config = home / "orthanc.json"
    config.write_text(json.dumps(settings))
    with running(name, ["Orthanc", str(config)], folder / f"{name}.log", env=NODELAY) as run:
        wait_for_port(dimse)
        wait_for_port(http)
        yield Peer(name, run, dimse, http, "ORTHANC")


@contextlib.contextmanager
def storescp(folder: Path) -> Iterator[Peer]:
    """DCMTK's receiver: a process an association, no sync, no index."""
    port, home = free_port(), folder / "storescp"
    home.mkdir()
    command = ["storescp", "--fork", "-od", str(home), "+xa", "-pdu", "131072", str(port)]
    with running("storescp", command, folder / "storescp.log", env=NODELAY) as run:
        wait_for_port(port)
        yield Peer("storescp", run, port, 0, "STORESCP")


@contextlib.contextmanager
def nginx(folder: Path, files: Path) -> Iterator[Peer]:
    """nginx with two workers over a folder of files."""
    port, config = free_port(), folder / "nginx.conf"
    config.write_text(
        f"""worker_processes 2; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
user root; events {{ worker_connections 512; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path {folder}/nb; proxy_temp_path {folder}/np; fastcgi_temp_path {folder}/nf;
  uwsgi_temp_path {folder}/nu; scgi_temp_path {folder}/ns;
  server {{ listen 127.0.0.1:{port}; root {files}; }} }}"""
    )
    with running("nginx", ["/usr/sbin/nginx", "-c", str(config)], folder / "nginx.log") as run:
        wait_for_port(port)
        yield Peer("nginx", run, 0, port)
