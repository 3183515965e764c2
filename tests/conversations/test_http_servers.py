"""The guard behind real HTTP servers, against hostile clients on raw sockets (W02, W03, W04, W16)."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pytest

APPLICATION = textwrap.dedent(
    """
    from lightwell.gateways.http.asgi import answer
    from lightwell.gateways.http.guard import DoorLimits, Guard

    async def inner(scope, receive, send):
        if scope["type"] != "http":
            return
        if scope["path"] == "/deny":
            await answer(send, 403, b"no", "text/plain")
            return
        size, more = 0, scope["method"] == "POST"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        await answer(send, 200, b"%d" % size, "text/plain")

    LIMITS = DoorLimits(body=64 << 20, idle=1.0, grace=1.0, rate=10_000, drain=32 << 20)
    app = Guard(inner, LIMITS)
    """
)
SERVERS = {
    "granian": ["-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--no-ws"],
    "uvicorn": ["-m", "uvicorn", "--host", "127.0.0.1", "--log-level", "warning"],
}
ATTEMPTS = 100


@dataclass
class Server:
    name: str
    port: int
    pid: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def alive(self) -> bool:
        return self.ask(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")[0] == 200

    def ask(self, raw: bytes) -> tuple[int, bytes]:
        """Send bytes, read until the server closes: status (0 for none) and everything received."""
        with closing(self.connect()) as peer:
            peer.sendall(raw)
            return read_all(peer)


def read_all(peer: socket.socket) -> tuple[int, bytes]:
    got = b""
    try:
        while piece := peer.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    status = int(got.split(b" ", 2)[1]) if got.startswith(b"HTTP/1.") else 0
    return status, got


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def running(name: str, folder: str) -> Iterator[Server]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, *SERVERS[name], "--port", str(port), "guarded_app:app"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([folder, *sys.path])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = Server(name, port, process.pid)
    try:
        for _ in range(ATTEMPTS):
            try:
                if server.alive():
                    break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail(f"{name} did not start")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module", params=sorted(SERVERS))
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("app")
    (folder / "guarded_app.py").write_text(APPLICATION)
    with running(request.param, str(folder)) as started:
        yield started


HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\n"


RIDE = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 99999999999999999999\r\n\r\n",
        HEAD + b"Content-Length : 5\r\n\r\nhello",
        b"GET /x%00y HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["two-cl", "negative", "overflow", "blank-before-colon", "nul", "slash"],
)
def test_w16_ambiguous_requests_are_refused_and_closed(server: Server, raw: bytes) -> None:
    status, got = server.ask(raw + RIDE)
    assert status in (0, 400)
    assert got.count(b"HTTP/1.1 ") <= 1
    assert server.alive()


@pytest.mark.parametrize("order", ["cl-te", "te-cl"])
def test_w16_two_lengths_are_never_two_requests(server: Server, order: str) -> None:
    """uvicorn answers 400. granian (2.8.7) takes the Content-Length away before we see it, reads the
    chunks, and closes the connection, as RFC 9112 6.3 allows: the riding request stays unanswered."""
    fields = [b"Content-Length: 5", b"Transfer-Encoding: chunked"]
    both = b"\r\n".join(fields if order == "cl-te" else fields[::-1])
    status, got = server.ask(HEAD + both + b"\r\n\r\n0\r\n\r\n" + RIDE)
    assert status == (200 if server.name == "granian" else 400)
    assert got.count(b"HTTP/1.1 ") == 1
    assert server.alive()


def test_large_headers_are_refused(server: Server) -> None:
    status, _ = server.ask(b"GET /x HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40_000 + b"\r\n\r\n")
    assert status in (0, 400, 431)
    assert server.alive()


def test_w02_a_body_announced_too_large_is_413_at_once(server: Server) -> None:
    # Nothing of it is sent: an answer other than a deadline's (408) judges the announcement.
    status, _ = server.ask(HEAD + b"Content-Length: 3000000000\r\nConnection: close\r\n\r\n")
    assert status == 413


def test_w02_a_chunked_body_that_grows_too_large_is_413(server: Server) -> None:
    with closing(server.connect()) as peer:
        peer.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"%x\r\n" % (1 << 20) + bytes(1 << 20) + b"\r\n"
        try:
            for _ in range(200):
                peer.sendall(chunk)
        except OSError:
            pass  # closed under us: the answer may be lost with it, the memory must not
        status, _ = read_all(peer)
    assert status in (0, 413)
    assert server.alive()


def test_w02_a_lying_length_is_not_answered_as_whole(server: Server) -> None:
    with closing(server.connect()) as peer:
        peer.sendall(HEAD + b"Content-Length: 1000\r\n\r\nonly this")
        status, got = read_all(peer)
    assert status in (0, 408)
    assert b"HTTP/1.1 200" not in got
    assert server.alive()


def test_w04_a_drip_is_cut(server: Server) -> None:
    cut = False
    with closing(server.connect()) as peer:
        peer.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
        peer.settimeout(0.2)
        status, got = 0, b""
        for _ in range(300):  # a minute; the server allows about a second
            try:
                peer.sendall(b"x")
                got += peer.recv(4096)
                cut = True  # an answer, or the end
                break
            except TimeoutError:
                continue
            except OSError:
                cut = True
                break
    status = int(got.split(b" ", 2)[1]) if got else 0
    assert status in (0, 408)
    assert cut


def test_w04_others_are_served_meanwhile(server: Server) -> None:
    slow = [server.connect() for _ in range(100)]
    try:
        for peer in slow:
            peer.sendall(HEAD + b"Content-Length: 100000\r\n\r\nx")
        meanwhile = 0
        for _ in range(20):
            assert server.alive()
            told, _, _ = select.select(slow, [], [], 0)
            meanwhile += len(told) < len(slow)
        assert meanwhile, "nobody was served before the slow ones were cut off"
    finally:
        for peer in slow:
            peer.close()


def test_an_early_refusal_of_an_upload_is_read_by_the_client(server: Server) -> None:
    with closing(server.connect()) as peer:
        peer.sendall(
            b"POST /deny HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 20000000\r\n\r\n"
        )
        peer.sendall(bytes(20_000_000))
        status, got = read_all(peer)
    assert status == 403
    assert got.endswith(b"no")


def test_an_honest_upload_is_whole(server: Server) -> None:
    with closing(server.connect()) as peer:
        peer.sendall(HEAD + b"Connection: close\r\nContent-Length: 5000000\r\n\r\n")
        for _ in range(5):
            peer.sendall(bytes(1_000_000))
        status, got = read_all(peer)
    assert (status, got.rpartition(b"\n")[2]) == (200, b"5000000")
