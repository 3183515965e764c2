"""One association's engine on its transport: events with deadlines, messages in both directions.

Three clocks hold a peer to its promises, each for the time it applies to (reliability 3.11): a total
one for an association request, an idle one between messages, and within a message both a longest
silence and a least rate. Whatever ends the association early is raised as :class:`Ended`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from enum import StrEnum
from typing import NoReturn

from lightwell.gateways.dimse.counters import Counters
from lightwell.gateways.dimse.limits import DimseLimits
from lightwell.gateways.dimse.transport import PeerSilent, Transport, TransportFailed
from lightwell.wire.dimse.association import Association, Buffer
from lightwell.wire.dimse.commands import Command, CommandField
from lightwell.wire.dimse.events import (
    Aborted,
    CommandReceived,
    ConnectionLost,
    DataFragment,
    Event,
    ProtocolError,
    Released,
    ReleaseRequested,
)


class Ending(StrEnum):
    """How an association ended before its time; the values are names of counters."""

    ABORTED = "aborted_by_peer"
    LOST = "connection_lost"
    PROTOCOL = "protocol_errors"
    STALLED = "stalled"
    TIMED_OUT = "timed_out"
    CUT = "cut"


class Ended(Exception):
    """The association is over; nothing can be sent or received any more."""

    def __init__(self, ending: Ending, detail: str = "") -> None:
        super().__init__(f"{ending}: {detail}" if detail else str(ending))
        self.ending = ending


class _Pace:
    """The least rate of a peer within a message, over windows of time spent waiting for it."""

    def __init__(self, window: float, rate: int) -> None:
        self._window = window
        self._least = window * rate
        self._since = 0.0
        self._count = 0

    def restart(self, waited: float) -> None:
        self._since, self._count = waited, 0

    def too_slow(self, count: int, waited: float) -> bool:
        """Count bytes; whether a whole window of waiting has passed with fewer than the least."""
        self._count += count
        if waited - self._since < self._window:
            return False
        slow = self._count < self._least
        self.restart(waited)
        return slow


class Connection:
    """Used by the one thread of its association; ``cut`` and ``drain`` may be called from others."""

    def __init__(
        self,
        transport: Transport,
        association: Association,
        limits: DimseLimits,
        counters: Counters,
        buffer_bytes: int,
    ) -> None:
        self.association = association
        self.limits = limits
        self.counters = counters
        self.cancelled: set[int] = set()
        """Message ids of operations that the peer has asked to cancel."""
        self.in_data_set = False
        """Whether the data set of the last command has not been received to its end."""
        self.while_waiting: Callable[[], None] | None = None
        """Runs about once a second while a response is waited for."""
        self._transport = transport
        transport.on_tick = self._tick
        self._buffer = bytearray(buffer_bytes)
        self._window = memoryview(self._buffer)
        self._pending: deque[Event] = deque()
        self._pace = _Pace(limits.stall_window, limits.stall_rate)
        self._taking = _Pace(limits.stall_window, limits.stall_rate)
        self._between_messages = True
        self._cut = False
        self._draining = False

    def enlarge_buffer(self, size: int) -> None:
        """Receive into *size* bytes from now on. Only between events."""
        self._buffer = bytearray(size)
        self._window = memoryview(self._buffer)

    # ---- what other threads may do -------------------------------------------------------------

    def cut(self) -> None:
        """End the association with an A-ABORT, within about a second."""
        self._cut = True

    def drain(self) -> None:
        """End the association when its peer next pauses between messages."""
        self._draining = True

    def shut(self) -> None:
        """Close the socket under the association at once."""
        self._transport.shut()

    def _tick(self) -> None:
        if self._cut or (self._draining and self._between_messages):
            raise Ended(Ending.CUT, "the server is stopping")
        if self.while_waiting is not None:
            self.while_waiting()

    # ---- receiving -----------------------------------------------------------------------------

    def event_by(self, deadline: float) -> Event:
        """The next event; all of it must have come by *deadline* (monotonic seconds)."""
        while not self._pending:
            self._receive(deadline, Ending.TIMED_OUT)
        return self._next()

    def _next(self) -> Event:
        event = self._pending.popleft()
        if isinstance(event, DataFragment):
            self.in_data_set = not event.last
        elif isinstance(event, CommandReceived):
            self.in_data_set = event.command.has_data_set
        return event

    def next_command(self) -> CommandReceived | None:
        """The next request of the peer, or None when it asked for release (and got it)."""
        self._between_messages = True
        event = self.event_by(time.monotonic() + self.limits.idle)
        self._between_messages = False
        if isinstance(event, ReleaseRequested):
            self.association.confirm_release()
            self.flush()
            return None
        if not isinstance(event, CommandReceived):
            self._fail(event)
        return event

    def fragments(self) -> Iterator[memoryview]:
        """What is left of the last command's data set, in views valid until the next is asked for."""
        self._pace.restart(self._transport.waited)
        while self.in_data_set:
            while not self._pending:
                self._receive_in_message()
            event = self._next()
            if not isinstance(event, DataFragment):
                self._fail(event)
            if event.view:
                yield event.view

    def skip_data_set(self) -> None:
        """Receive what is left of the last command's data set and forget it."""
        for _view in self.fragments():
            pass

    def response_to(self, message_id: int, seconds: float) -> Command:
        """The response to our request; cancellations that come before it are noted."""
        deadline = time.monotonic() + seconds
        while True:
            event = self.event_by(deadline)
            if not isinstance(event, CommandReceived):
                self._fail(event)
            command = event.command
            self.skip_data_set()
            if command.CommandField is CommandField.C_CANCEL_RQ:
                self.cancelled.add(command.message_id)
            elif command.is_response and command.message_id == message_id:
                return command
            else:
                self._violated(f"{command.CommandField.name} where a response was due")

    def is_cancelled(self, message_id: int) -> bool:
        """Whether the peer has asked to cancel this operation; looks, and does not wait.

        Raises Ended when the peer has gone, so that nothing is worked on for nobody.
        """
        while self._pending or self._transport.readable():
            if not self._pending:
                self._receive(time.monotonic() + self.limits.silence, Ending.TIMED_OUT)
                continue
            event = self._next()
            if not isinstance(event, CommandReceived):
                self._fail(event)
            if event.command.CommandField is not CommandField.C_CANCEL_RQ:
                # An operations window of one was agreed (PS3.7 Annex D.3.3.3).
                self._violated(f"{event.command.CommandField.name} inside an operation")
            self.skip_data_set()
            self.cancelled.add(event.command.message_id)
        return message_id in self.cancelled

    def _receive_in_message(self) -> None:
        count = self._receive(time.monotonic() + self.limits.silence, Ending.STALLED)
        if self._pace.too_slow(count, self._transport.waited):
            raise Ended(Ending.STALLED, "the peer sends too slowly")

    def _receive(self, deadline: float, when_late: Ending) -> int:
        try:
            count = self._transport.receive_into(self._buffer, deadline)
        except PeerSilent:
            raise Ended(when_late, "the peer kept silent") from None
        except TransportFailed as error:
            raise Ended(Ending.LOST, str(error)) from error
        if count:
            self._pending.extend(self.association.receive_data(self._window[:count]))
        else:
            self._pending.extend(self.association.connection_closed() or (ConnectionLost(),))
        return count

    def _violated(self, what: str) -> NoReturn:
        self.association.abort()
        self._last_flush()
        raise Ended(Ending.PROTOCOL, what)

    def _fail(self, event: Event) -> NoReturn:
        """Raise for an event that ends the association, or that has no place here."""
        match event:
            case Aborted(source, reason):
                raise Ended(Ending.ABORTED, f"source {source}, reason {reason}")
            case ConnectionLost():
                raise Ended(Ending.LOST)
            case ProtocolError(message, _source, _reason):
                self._last_flush()
                raise Ended(Ending.PROTOCOL, message)
            case _:
                self._violated(f"{type(event).__name__} has no place here")

    # ---- sending -------------------------------------------------------------------------------

    def send(self, context_id: int, command: Command, chunks: Iterable[Buffer] = ()) -> None:
        """Send a command, and *chunks* as its data set if it has one.

        What *chunks* raises passes through; the message is then half sent, and only ``abort`` is left.
        """
        self.association.send_command(context_id, command)
        if not command.has_data_set:
            self.flush()
            return
        for buffers in self.association.send_data(context_id, chunks):
            self._send(buffers)
            if self.while_waiting is not None:
                self.while_waiting()

    def flush(self) -> None:
        """Send what the engine has queued."""
        data = self.association.data_to_send()
        if data:
            self._send([data])

    def _send(self, buffers: list[Buffer]) -> None:
        try:
            self._taking.restart(self._transport.waited)
            self._transport.send(buffers, self.limits.silence, self._moved)
        except PeerSilent:
            raise Ended(Ending.STALLED, "the peer takes nothing") from None
        except TransportFailed as error:
            raise Ended(Ending.LOST, str(error)) from error

    def _moved(self, count: int) -> None:
        if self._taking.too_slow(count, self._transport.waited):
            raise Ended(Ending.STALLED, "the peer takes too slowly")

    def _last_flush(self) -> None:
        with suppress(Ended):
            self.flush()

    # ---- the end -------------------------------------------------------------------------------

    def release(self, seconds: float) -> None:
        """Ask for release and wait for the answer. Raises Ended."""
        self.association.release()
        self.flush()
        event = self.event_by(time.monotonic() + seconds)
        if not isinstance(event, Released):
            self._fail(event)

    def abort(self) -> None:
        """Say that it is over, as well as still possible, and close."""
        self.association.abort()
        self._last_flush()
        self._transport.close_after_last_word()

    def close(self, *, wait_for_peer: bool = True) -> None:
        """Close; after a release or rejection the peer may do so first, guarded by ARTIM."""
        self._between_messages = True
        if wait_for_peer and self.association.artim_running:
            deadline = time.monotonic() + self.limits.artim
            with suppress(Ended):
                while self.association.artim_running:
                    self._receive(deadline, Ending.TIMED_OUT)
                    self._pending.clear()
        self._transport.close_after_last_word()
