"""A proxy before an S3 server that can be told to misbehave: slow, silent, refusing, cut off."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time


class Proxy:
    """Passes bytes between a client and the server, or misbehaves as `mode` says.

    `pass`; `STATUS` (a number: answers so itself); `lose` (the server acts, its answer never
    arrives); `cut` (only the first 300 bytes of an answer arrive, then a reset); `hang`. A mode
    other than `pass` holds for the next `times` requests whose head contains `about`. Each request
    comes by a connection of its own.
    """

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self._target = target
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._mode, self._times, self._about = "pass", 0, b""
        self.requests = 0
        self.pause = 0.0  # seconds that each request is held, as a store far away would
        self.heads: list[bytes] = []  # first lines
        self.peak = 0  # most requests under way at a time
        self._under_way = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def misbehave(self, mode: str, times: int = 1_000_000, about: bytes = b"") -> None:
        with self._lock:
            self._mode, self._times, self._about = mode, times, about

    def drop(self) -> None:
        """Close all connections."""
        with self._lock:
            sockets, self._open = self._open, []
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.drop()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _next_mode(self, head: bytes) -> str:
        with self._lock:
            self.requests += 1
            self.heads.append(head.partition(b"\r\n")[0])
            if self._times <= 0 or self._about not in head:
                return "pass"
            self._times -= 1
            return self._mode

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, contextlib.ExitStack() as encrypted:
            if self._tls is not None:
                client = encrypted.enter_context(self._tls.wrap_socket(client, server_side=True))
            first = b""
            while b"\r\n\r\n" not in first:
                if not (more := client.recv(65536)):
                    return
                first += more
            mode = self._next_mode(first.partition(b"\r\n\r\n")[0])
            first = first.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
            if mode.isdigit():
                body = b"<Error><Code>Injected</Code></Error>"
                head = f"HTTP/1.1 {mode} Injected\r\nContent-Length: {len(body)}\r\n"
                client.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
                return
            if mode == "hang":
                while client.recv(65536):
                    pass
                return
            with self._lock:
                self._under_way += 1
                self.peak = max(self.peak, self._under_way)
            try:
                time.sleep(self.pause)
                self._relay(client, first, mode)
            finally:
                with self._lock:
                    self._under_way -= 1

    def _relay(self, client: socket.socket, first: bytes, mode: str) -> None:
        with socket.create_connection(("127.0.0.1", self._target), timeout=30) as server:
            with self._lock:
                self._open.append(server)
            server.sendall(first)
            upward = threading.Thread(target=self._pump, args=(client, server), daemon=True)
            upward.start()
            passed = 0
            while data := server.recv(65536):
                if mode == "lose":
                    break
                if mode == "cut" and passed + len(data) > 300:
                    client.sendall(data[: 300 - passed])
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
                client.sendall(data)
                passed += len(data)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
