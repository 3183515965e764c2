"""What a child process is told by its supervisor, and how it dies with it.

The configuration comes through the child's standard input (never in arguments, which everybody can
read), when the database is there: until then the child has loaded its code. For children of its own it
stands in one environment variable from then on.
A child holds the read end of the supervisor's lifeline pipe: when the supervisor is gone, however it
went, the pipe ends and the child leaves at once. Where the kernel offers it (Linux), the parent-death
signal says the same without a thread, also to children that inherit no descriptor.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from lightwell.app.regions import region_from_json
from lightwell.app.settings import Settings, TlsFiles, TlsPair, parse_endpoint
from lightwell.backends.database.roles import ConnectionInfo, Role

VARIABLE = "LIGHTWELL_GENERATION"
_PR_SET_PDEATHSIG = 1
FILES = 65_536
_BY_HAND = "This process is started by `lightwell serve`, not by hand."


@dataclass(frozen=True, slots=True)
class Generation:
    """One start of the server, as each of its processes knows it."""

    settings: Settings
    info: ConnectionInfo
    name: str  # 'dimse-1', 'http', 'work'
    lifeline: int = -1
    dimse_socket: int = -1
    tls_socket: int = -1

    def to_environment(self) -> dict[str, str]:
        """The variable of a child that is started with its generation."""
        return {VARIABLE: self.to_text()}

    def to_text(self) -> str:
        """As JSON, in one line."""
        s = self.settings
        body = {
            "data": str(s.data),
            "http": str(s.http),
            "dimse": str(s.dimse),
            "dimse_tls": str(s.dimse_tls) if s.dimse_tls else None,
            "tls": {k: str(v) for k, v in asdict(s.tls).items()} if s.tls else None,
            "aet": s.aet,
            "workers": s.workers,
            "work_at_once": s.work_at_once,
            "settle_after": s.settle_after,
            "landed_grace": s.landed_grace,
            "store_url": s.store_url,
            "cool_store_url": s.cool_store_url,
            "cool_after": s.cool_after,
            "cache_bytes": s.cache_bytes,
            "http_tls": {k: str(v) for k, v in asdict(s.http_tls).items()} if s.http_tls else None,
            "proxies": s.proxies,
            "public_url": s.public_url,
            "regions": [region.to_json() for region in s.named_regions],
            "jurisdiction": s.jurisdiction,
            # Never the owner: a door must not be able to step around row-level security.
            "urls": {role.value: self.info.url(role) for role in (Role.APP, Role.WORK)},
            "name": self.name,
            "lifeline": self.lifeline,
            "dimse_socket": self.dimse_socket,
            "tls_socket": self.tls_socket,
        }
        return json.dumps(body)


def await_generation() -> Generation:
    """The child's side: wait until the supervisor says that it may begin.

    A start that was refused, or a supervisor that died over it, ends the wait and this process.
    """
    if sys.stdin.isatty():
        raise SystemExit(_BY_HAND)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal is the supervisor's
    said = sys.stdin.buffer.read()
    if not said:
        os._exit(1)
    os.environ[VARIABLE] = said.decode()
    return read_generation()


def read_generation() -> Generation:
    """What the environment says. Only a supervisor starts children: without it this is a mistake."""
    raw = os.environ.get(VARIABLE)
    if raw is None:
        raise SystemExit(_BY_HAND)
    body = json.loads(raw)
    tls, web = body["tls"], body["http_tls"]
    settings = Settings(
        data=Path(body["data"]),
        http=parse_endpoint(body["http"]),
        dimse=parse_endpoint(body["dimse"]),
        dimse_tls=parse_endpoint(body["dimse_tls"]) if body["dimse_tls"] else None,
        tls=TlsFiles(**{k: Path(v) for k, v in tls.items()}) if tls else None,
        aet=body["aet"],
        workers=body["workers"],
        work_at_once=body["work_at_once"],
        settle_after=body["settle_after"],
        landed_grace=body["landed_grace"],
        store_url=body["store_url"],
        cool_store_url=body["cool_store_url"],
        cool_after=body["cool_after"],
        cache_bytes=body["cache_bytes"],
        http_tls=TlsPair(**{k: Path(v) for k, v in web.items()}) if web else None,
        proxies=body["proxies"],
        public_url=body["public_url"],
        named_regions=tuple(region_from_json(region) for region in body["regions"]),
        jurisdiction=body["jurisdiction"],
    )
    urls = {Role(role): url for role, url in body["urls"].items()}
    return Generation(
        settings=settings,
        info=ConnectionInfo(urls),
        name=body["name"],
        lifeline=body["lifeline"],
        dimse_socket=body["dimse_socket"],
        tls_socket=body["tls_socket"],
    )


def die_with_parent(lifeline: int = -1) -> None:
    """Leave at once when the parent is gone. Call from the main thread, before anything is served."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent or (parent == 1 and lifeline >= 0):
            os._exit(1)
    if lifeline >= 0:
        threading.Thread(target=_hold_lifeline, args=(lifeline,), daemon=True).start()


def allow_many_files() -> None:
    """As many open files as the machine lets us: connections, objects and the database take theirs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _hold_lifeline(descriptor: int) -> None:
    """Nobody ever writes to the pipe: a read returns when its last writer is gone."""
    os.read(descriptor, 1)
    os._exit(1)
