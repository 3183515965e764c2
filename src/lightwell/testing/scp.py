"""A scripted service class provider on a loopback socket: the other end for tests.

It keeps what it is sent in memory, answers from what the test put there, and serves each association
in a thread of its own. It is no archive: it matches nothing and acknowledges what it merely holds.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from lightwell.testing.channel import Channel, ChannelError, Message
from lightwell.testing.scu import (
    STORAGE_COMMITMENT,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
)
from lightwell.wire.dimse import commands
from lightwell.wire.dimse.association import Association, Role
from lightwell.wire.dimse.commands import Command, CommandField
from lightwell.wire.dimse.events import (
    AssociateRefused,
    AssociateRequested,
    CommandReceived,
    ReleaseRequested,
)
from lightwell.wire.dimse.negotiation import Policy, negotiate
from lightwell.wire.dimse.pdu import AssociateRJ, AssociateRQ
from lightwell.wire.dimse.status import SUCCESS

_SERVICES: Final = frozenset(
    {VERIFICATION, STORAGE_COMMITMENT, STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE}
)

Answers = Callable[[Message], Sequence[tuple[int, bytes]]]
"""What to answer a request with: (status, data set) each, an empty data set for none.

Raises ChannelError to hang up without an answer."""


@dataclass(frozen=True, slots=True)
class Held:
    """An object to send as a C-GET sub-operation."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    data: bytes


def _succeed(_message: Message) -> Sequence[tuple[int, bytes]]:
    return ((SUCCESS, b""),)


@dataclass
class ScriptedScp:
    """Listens on a free loopback port while it is entered; read ``received`` afterwards.

    ``answers`` scripts requests by command field; unscripted ones succeed, C-GET sends ``objects``.
    ``decide`` may return a rejection for an association request.
    """

    policy: Policy = field(default_factory=lambda: Policy(services=_SERVICES))
    answers: Mapping[CommandField, Answers] = field(default_factory=dict)
    objects: Sequence[Held] = ()
    decide: Callable[[AssociateRQ], AssociateRJ | None] = lambda _request: None
    max_pdu: int = 128 << 10
    timeout: float = 20.0
    received: list[Message] = field(default_factory=list)
    requests: list[AssociateRQ] = field(default_factory=list)
    endings: list[str] = field(default_factory=list)
    """How each association ended: ``released``, ``rejected``, or what went wrong."""

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, name="scripted-scp", daemon=True)
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A shutdown wakes the blocked accept; a mere close would not.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(self.timeout)
        self._listener.close()
        for thread in self._threads:
            thread.join(self.timeout)

    def _accept(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        association = Association(Role.ACCEPTOR, max_pdu=self.max_pdu)
        channel = Channel(connection, association, self.timeout)
        try:
            ending = self._converse(channel, association)
        except ChannelError as error:
            ending = str(error)
        finally:
            # Say the last word before the test may look: it waits for the ending.
            with suppress(ChannelError):
                channel.flush()
            channel.close()
        self.endings.append(ending)

    def _converse(self, channel: Channel, association: Association) -> str:
        event = channel.next_event()
        if isinstance(event, AssociateRefused):
            return "rejected"
        if not isinstance(event, AssociateRequested):
            channel.fail_on(event)
        self.requests.append(event.request)
        if (rejection := self.decide(event.request)) is not None:
            association.reject(rejection)
            return "rejected"
        answer = negotiate(event.request, self.policy)
        association.accept(
            answer.contexts,
            roles=answer.roles,
            extended=answer.extended,
            async_operations=answer.async_operations,
        )
        channel.flush()
        while True:
            event = channel.next_event()
            if isinstance(event, ReleaseRequested):
                association.confirm_release()
                return "released"
            if not isinstance(event, CommandReceived):
                channel.fail_on(event)
            message = channel.whole(event)
            self.received.append(message)
            self._answer(channel, message)

    def _answer(self, channel: Channel, message: Message) -> None:
        command = message.command
        if command.is_response or command.CommandField is CommandField.C_CANCEL_RQ:
            return
        for response, data in self._responses(channel, message):
            channel.send(message.context, response, (data,))

    def _responses(self, channel: Channel, message: Message) -> Iterator[tuple[Command, bytes]]:
        command = message.command
        script = self.answers.get(command.CommandField)
        if script is None and command.CommandField is CommandField.C_GET_RQ:
            yield self._send_objects(channel, message), b""
            return
        for status, data in (script or _succeed)(message):
            yield commands.response(command, status, has_data_set=bool(data)), data

    def _send_objects(self, channel: Channel, message: Message) -> Command:
        """C-GET: send every object the association has a context for; the final response."""
        completed = failed = 0
        for number, held in enumerate(self.objects, start=1):
            context = channel.association.find_context(held.sop_class, held.transfer_syntax)
            if context is None or not context.requestor_scp:
                failed += 1
                continue
            request = commands.c_store_rq(number, held.sop_class, held.sop_instance)
            channel.send(context, request, (held.data,))
            event = channel.next_event()
            if not isinstance(event, CommandReceived):
                channel.fail_on(event)
            answer = channel.whole(event).command
            completed += answer.status == SUCCESS
            failed += answer.status != SUCCESS
        return commands.response(
            message.command,
            SUCCESS,
            NumberOfCompletedSuboperations=completed,
            NumberOfFailedSuboperations=failed,
            NumberOfWarningSuboperations=0,
        )
