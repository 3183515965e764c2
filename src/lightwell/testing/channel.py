"""An association engine on a blocking socket, for the scripted peers of tests and benchmarks.

Every wait has a deadline, messages come whole, and whatever ends the association early is raised as
:class:`ChannelError`, which says what the peer did. The server's own driver streams instead.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

from lightwell.wire.dimse.association import AcceptedContext, Association, Buffer
from lightwell.wire.dimse.commands import Command
from lightwell.wire.dimse.events import (
    Aborted,
    CommandReceived,
    ConnectionLost,
    DataFragment,
    Event,
    ProtocolError,
    ReleaseRequested,
)

_RECEIVE_BYTES: Final = 256 << 10


class ChannelError(Exception):
    """The exchange failed: the peer is away, refused, aborted, broke the protocol or kept silent."""


@dataclass(frozen=True, slots=True)
class Message:
    """A received command with its whole data set (empty if it has none)."""

    context: AcceptedContext
    command: Command
    data: bytes = b""


class Channel:
    """One association and its socket. ``timeout``: the longest silence while we wait, in seconds."""

    def __init__(self, connection: socket.socket, association: Association, timeout: float) -> None:
        self.association = association
        self._socket = connection
        self._timeout = timeout
        self._buffer = bytearray(_RECEIVE_BYTES)
        self._window = memoryview(self._buffer)
        self._pending: deque[Event] = deque()
        connection.settimeout(timeout)

    @property
    def closed(self) -> bool:
        """Whether our end of the socket is closed."""
        return self._socket.fileno() < 0

    def close(self) -> None:
        """Close the socket without another word."""
        self._socket.close()

    def send(
        self, context: AcceptedContext, command: Command, chunks: Iterable[Buffer] = ()
    ) -> None:
        """Send a command, and *chunks* as its data set if it has one."""
        self.association.send_command(context.context_id, command)
        if not command.has_data_set:
            self.flush()
            return
        for buffers in self.association.send_data(context.context_id, chunks):
            self._send_buffers(buffers)

    def flush(self) -> None:
        """Send what the engine has queued."""
        data = self.association.data_to_send()
        if data:
            self._send_buffers([data])

    def next_event(self) -> Event:
        """The next event; its view, if any, is valid until the next call."""
        deadline = time.monotonic() + self._timeout
        while not self._pending:
            if time.monotonic() > deadline:
                raise ChannelError(f"no answer within {self._timeout} s")
            try:
                count = self._socket.recv_into(self._buffer)
            except OSError as error:
                raise ChannelError(f"receiving failed: {error}") from error
            if count:
                self._pending.extend(self.association.receive_data(self._window[:count]))
            else:
                self._pending.extend(self.association.connection_closed() or (ConnectionLost(),))
        return self._pending.popleft()

    def whole(self, event: CommandReceived) -> Message:
        """The message that begins with *event*, with its data set gathered."""
        data = bytearray()
        complete = not event.command.has_data_set
        while not complete:
            piece = self.next_event()
            if not isinstance(piece, DataFragment):
                self.fail_on(piece)
            data += piece.view
            complete = piece.last
        context = self.association.contexts[event.context_id]
        return Message(context, event.command, bytes(data))

    def fail_on(self, event: Event) -> NoReturn:
        """Raise for an event that ends the association, or that has no place here."""
        match event:
            case Aborted(source, reason):
                raise ChannelError(f"the peer aborted: source {source}, reason {reason}")
            case ConnectionLost():
                raise ChannelError("the peer closed the connection")
            case ReleaseRequested():
                raise ChannelError("the peer asked for release")
            case ProtocolError(message, _source, _reason):
                self.flush()
                raise ChannelError(f"the peer broke the protocol: {message}")
            case _:
                raise ChannelError(f"{type(event).__name__} has no place here")

    def _send_buffers(self, buffers: list[Buffer]) -> None:
        try:
            send_all(self._socket, buffers)
        except OSError as error:
            raise ChannelError(self._last_words() or f"sending failed: {error}") from error

    def _last_words(self) -> str:
        """Why the peer stopped reading, if it said so before it closed."""
        try:
            while not isinstance(event := self.next_event(), Aborted):
                if isinstance(event, ConnectionLost):
                    return ""
        except ChannelError:
            return ""
        return f"the peer aborted: source {event.source}, reason {event.reason}"


def send_all(connection: socket.socket, buffers: list[Buffer]) -> None:
    """Send every byte of *buffers* with as few system calls as the kernel allows."""
    if isinstance(connection, ssl.SSLSocket):
        connection.sendall(b"".join(buffers))
        return
    total = sum(len(buffer) for buffer in buffers)
    sent = connection.sendmsg(buffers)
    while sent < total:
        total -= sent
        buffers = _without(buffers, sent)
        sent = connection.sendmsg(buffers)


def _without(buffers: list[Buffer], sent: int) -> list[Buffer]:
    """What is left of *buffers* after their first *sent* bytes."""
    for index, buffer in enumerate(buffers):
        if sent < len(buffer):
            return [memoryview(buffer)[sent:], *buffers[index + 1 :]]
        sent -= len(buffer)
    return []
