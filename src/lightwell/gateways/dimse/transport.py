"""A connected socket, plain or TLS, whose every wait ends.

The socket is non-blocking and waiting is done by ``poll``. A timeout of the socket itself would not
do: it counts anew at each received byte, so a peer that drips never meets it. Each call here gets
the moment at which it must have an answer.
"""

from __future__ import annotations

import hashlib
import select
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from lightwell.wire.dimse.association import Buffer

TICK: Final = 1.0
"""The longest sleep, in seconds: how late a thread hears that the server is stopping."""

_WANTS_TO_SEND: Final = select.POLLOUT
_WANTS_TO_RECEIVE: Final = select.POLLIN
_LINGER_BYTES: Final = 256 << 10
_LINGER_SECONDS: Final = 0.5


class PeerSilent(Exception):
    """The moment given came, and the peer had not moved."""


class TransportFailed(Exception):
    """The connection failed under us: reset, unreachable, or TLS that makes no sense."""


def _nothing() -> None:
    return None


class Transport:
    """One connection, used by one thread. ``shut`` alone may be called from another."""

    def __init__(self, connection: socket.socket, on_tick: Callable[[], None] = _nothing) -> None:
        """*on_tick* runs about once a second of waiting; what it raises ends the wait."""
        connection.setblocking(False)
        with suppress(OSError):  # a socket pair in a test has no such option
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket = connection
        self._tls: ssl.SSLSocket | None = None
        self._poll = select.poll()
        self._poll.register(connection.fileno(), 0)
        self.on_tick = on_tick
        self.waited = 0.0
        """Seconds spent waiting for the peer so far."""

    # ---- TLS ----------------------------------------------------------------------------------

    def start_tls(self, context: ssl.SSLContext, deadline: float) -> None:
        """Take the server's part of a handshake. Raises PeerSilent, TransportFailed."""
        try:
            self._tls = self._socket = context.wrap_socket(
                self._socket, server_side=True, do_handshake_on_connect=False
            )
        except (OSError, ValueError) as error:
            raise TransportFailed(type(error).__name__) from error
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._wait(_WANTS_TO_RECEIVE, deadline)
            except ssl.SSLWantWriteError:
                self._wait(_WANTS_TO_SEND, deadline)
            except (OSError, ValueError) as error:
                raise TransportFailed(f"TLS handshake: {type(error).__name__}") from error
            else:
                return

    @property
    def certificate(self) -> str | None:
        """SHA-256 of the peer's certificate, hex; None without TLS or without a certificate."""
        raw = self._tls.getpeercert(binary_form=True) if self._tls is not None else None
        return hashlib.sha256(raw).hexdigest() if raw else None

    # ---- bytes --------------------------------------------------------------------------------

    def receive_into(self, buffer: bytearray, deadline: float) -> int:
        """Receive some bytes; 0 when the peer has closed. Raises PeerSilent, TransportFailed."""
        while True:
            try:
                return self._socket.recv_into(buffer)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(_WANTS_TO_RECEIVE, deadline)
            except ssl.SSLWantWriteError:
                self._wait(_WANTS_TO_SEND, deadline)
            except OSError as error:
                raise TransportFailed(type(error).__name__) from error

    def readable(self) -> bool:
        """Whether a receive would not wait."""
        if self._tls is not None and self._tls.pending():
            return True
        self._poll.modify(self._socket.fileno(), _WANTS_TO_RECEIVE)
        return bool(self._poll.poll(0))

    def send(self, buffers: list[Buffer], silence: float, moved: Callable[[int], None]) -> None:
        """Send everything; at most *silence* seconds may pass without any progress.

        *moved* hears of each progress, in bytes; what it raises ends the sending.
        Raises PeerSilent, TransportFailed.
        """
        if self._tls is not None:
            self._send_tls(self._tls, memoryview(b"".join(buffers)), silence, moved)
            return
        while buffers:
            try:
                sent = self._socket.sendmsg(buffers)
            except BlockingIOError:
                self._wait(_WANTS_TO_SEND, time.monotonic() + silence)
            except OSError as error:
                raise TransportFailed(type(error).__name__) from error
            else:
                moved(sent)
                buffers = without(buffers, sent)

    def _send_tls(
        self,
        connection: ssl.SSLSocket,
        data: memoryview,
        silence: float,
        moved: Callable[[int], None],
    ) -> None:
        deadline = time.monotonic() + silence
        while data:
            try:
                sent = connection.send(data)
            except ssl.SSLWantWriteError:
                self._wait(_WANTS_TO_SEND, deadline)
            except ssl.SSLWantReadError:
                self._wait(_WANTS_TO_RECEIVE, deadline)
            except OSError as error:
                raise TransportFailed(type(error).__name__) from error
            else:
                moved(sent)
                data = data[sent:]
                deadline = time.monotonic() + silence

    def _wait(self, wanted: int, deadline: float) -> None:
        """Sleep until the socket is ready; raises PeerSilent at the deadline, and what a tick raises."""
        try:
            self._poll.modify(self._socket.fileno(), wanted)
        except (OSError, ValueError) as error:
            raise TransportFailed("closed") from error
        while True:
            started = time.monotonic()
            left = deadline - started
            if left <= 0:
                raise PeerSilent
            ready = self._poll.poll(min(left, TICK) * 1000)
            self.waited += time.monotonic() - started
            if ready:
                return
            self.on_tick()

    # ---- the end ------------------------------------------------------------------------------

    def shut(self) -> None:
        """Wake the thread that waits here: it will find the connection closed."""
        with suppress(OSError):
            # Not SSLSocket's own method: it takes the TLS state away from under the other thread.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close_after_last_word(self) -> None:
        """Close so that what was sent last arrives.

        A close with unread bytes in our receive queue resets the connection, and the reset may
        overtake what we sent. So say that no more will come, and read on for a moment.
        """
        with suppress(OSError, ValueError, PeerSilent, TransportFailed):
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
            deadline = time.monotonic() + _LINGER_SECONDS
            self.on_tick = _nothing
            left = _LINGER_BYTES
            scrap = bytearray(16 << 10)
            while left > 0 and (count := self.receive_into(scrap, deadline)):
                left -= count
        self.close()

    def close(self) -> None:
        """Close at once."""
        self._socket.close()


def without(buffers: list[Buffer], sent: int) -> list[Buffer]:
    """What is left of *buffers* after their first *sent* bytes."""
    for index, buffer in enumerate(buffers):
        if sent < len(buffer):
            return [memoryview(buffer)[sent:], *buffers[index + 1 :]] if sent else buffers[index:]
        sent -= len(buffer)
    return []
