"""Accepting connections: one thread a listening socket, one thread a connection.

The listening socket is handed in: several processes accept on it side by side. A TLS handshake runs
in the connection's own thread and counts against its deadline for the whole association request, so
a client that stays silent, or drips, delays nobody (reliability D03).
"""

from __future__ import annotations

import logging
import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from lightwell.gateways.dimse.association_service import AssociationService, log_bug
from lightwell.gateways.dimse.connection import Connection, Ended
from lightwell.gateways.dimse.counters import Counters
from lightwell.gateways.dimse.limits import DimseLimits
from lightwell.gateways.dimse.places import WaitingRoom
from lightwell.gateways.dimse.transport import PeerSilent, Transport, TransportFailed
from lightwell.wire.dimse.association import Association, Role

log = logging.getLogger("lightwell.dimse")

_FAILED_ACCEPT_SECONDS = 0.1
_COURTESY_SECONDS = 0.001
_COURTESY_LIMIT = 8


def _courtesy(connections: int) -> float:
    """How long to leave a newcomer to the other processes that wait at the same socket, in seconds.

    With few associations whoever has fewer should be the faster one, or one process serves them all
    while the others sleep. With many, chance shares them out, and a flood must not be held up.
    """
    return _COURTESY_SECONDS * connections if connections <= _COURTESY_LIMIT else 0.0


@dataclass(frozen=True, slots=True)
class Door:
    """A listening socket, and the TLS context of what comes in by it (None: plain)."""

    listener: socket.socket
    tls: ssl.SSLContext | None = None


class Listener:
    """Accepts on one door and serves what comes, until ``stop``."""

    def __init__(
        self,
        door: Door,
        service: AssociationService,
        waiting: WaitingRoom,
        limits: DimseLimits,
        counters: Counters,
    ) -> None:
        self._door = door
        self._service = service
        self._waiting = waiting
        self._limits = limits
        self._counters = counters
        self._wake, self._waker = socket.socketpair()
        self._changed = threading.Condition()
        self._connections: dict[threading.Thread, Connection] = {}
        self._draining = False
        self._thread = threading.Thread(target=self._accept_until_told, name="dimse-accept")

    def start(self) -> None:
        """Begin to accept."""
        self._door.listener.setblocking(False)
        self._thread.start()

    def stop(self) -> None:
        """Accept no more; connections go on. Returns when the accepting thread has ended."""
        with suppress(OSError):
            self._waker.send(b"\0")
        self._thread.join()
        self._wake.close()
        self._waker.close()

    def drain(self) -> None:
        """Ask every connection to end at its next pause, those that still come too."""
        self._draining = True
        for connection in self._living():
            connection.drain()

    def cut(self) -> None:
        """Ask every connection to end now."""
        for connection in self._living():
            connection.cut()

    def quiet_within(self, seconds: float) -> bool:
        """Wait until no connection is being served; False when one still is after *seconds*."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._connections, max(seconds, 0.0))

    def _living(self) -> list[Connection]:
        with self._changed:
            return list(self._connections.values())

    # ---- accepting ----------------------------------------------------------------------------

    def _accept_until_told(self) -> None:
        poll = select.poll()
        poll.register(self._door.listener.fileno(), select.POLLIN)
        poll.register(self._wake.fileno(), select.POLLIN)
        while True:
            for descriptor, _events in poll.poll():
                if descriptor == self._wake.fileno():
                    return
                time.sleep(_courtesy(len(self._connections)))
                self._accept()

    def _accept(self) -> None:
        try:
            connection, address = self._door.listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # another process was faster, or the peer has gone again
        except OSError as error:
            # Out of descriptors or memory: a busy loop would only make it worse.
            log.error("cannot accept: %s", error.strerror)
            time.sleep(_FAILED_ACCEPT_SECONDS)
            return
        self._counters.add(connections=1)
        deadline = time.monotonic() + self._limits.request
        try:
            self._hand_over(connection, str(address[0]), deadline)
        except RuntimeError:  # no more threads can be had
            log.error("cannot serve a connection: no thread")
            connection.close()

    def _hand_over(self, connection: socket.socket, source: str, deadline: float) -> None:
        transport = Transport(connection)
        link = Connection(
            transport,
            Association(Role.ACCEPTOR, limits=self._limits.engine, max_pdu=self._limits.max_pdu),
            self._limits,
            self._counters,
            self._limits.lobby_buffer,
        )
        thread = threading.Thread(
            target=self._serve, args=(link, transport, source, deadline), name="dimse", daemon=True
        )
        if self._waiting.enter(link, source, link.shut):
            self._counters.add(crowded_out=1)
        with self._changed:
            self._connections[thread] = link
        if self._draining:
            link.drain()
        try:
            thread.start()
        except RuntimeError:
            self._gone(thread, link)
            raise

    def _serve(self, link: Connection, transport: Transport, source: str, deadline: float) -> None:
        """The whole life of one connection."""
        try:
            if self._door.tls is not None:
                transport.start_tls(self._door.tls, deadline)
            self._service.serve(
                link,
                source,
                transport.certificate,
                deadline,
                on_accepted=lambda: self._waiting.leave(link),
                on_over=lambda: self._back_to_waiting(link, source),
            )
        except (PeerSilent, TransportFailed, Ended) as error:
            self._counters.add(failed_handshakes=1)
            log.info("no TLS with %s: %s", source, error or "silent")
        except Exception as error:  # noqa: BLE001 - a bug ends no more than its connection
            self._counters.add(broken=1)
            log_bug(error, "serving a connection")
        finally:
            transport.close()
            self._gone(threading.current_thread(), link)

    def _back_to_waiting(self, link: Connection, source: str) -> None:
        """Its association is over, but the peer may take until ARTIM to close."""
        if self._waiting.enter(link, source, link.shut):
            self._counters.add(crowded_out=1)

    def _gone(self, thread: threading.Thread, link: Connection) -> None:
        self._waiting.leave(link)
        with self._changed:
            self._connections.pop(thread, None)
            self._changed.notify_all()
