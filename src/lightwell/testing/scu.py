"""A small blocking service class user for tests and benchmarks, on our own engine.

One :class:`Scu` is one association over one socket, driven by one thread. It sends data sets as the
bytes it is given and hands received ones on as bytes, so that a test can compare digests. Every wait
has a deadline. What goes wrong raises :class:`ChannelError`, which says what the peer did.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from lightwell.testing.channel import Channel, ChannelError, Message
from lightwell.wire.dimse import commands
from lightwell.wire.dimse.association import AcceptedContext, Association, Buffer, Role
from lightwell.wire.dimse.commands import Command, CommandField
from lightwell.wire.dimse.events import (
    AssociateAccepted,
    AssociateRejected,
    CommandReceived,
    Released,
)
from lightwell.wire.dimse.items import (
    DEFAULT_MAX_PDU,
    ExtendedNegotiation,
    RoleSelection,
    UserIdentity,
    UserInformation,
)
from lightwell.wire.dimse.pdu import AssociateRJ, AssociateRQ, PresentationContext
from lightwell.wire.dimse.status import Category, category

VERIFICATION: Final = "1.2.840.10008.1.1"
STORAGE_COMMITMENT: Final = "1.2.840.10008.1.20.1"
STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"


class Rejected(ChannelError):
    """The peer rejected the association."""

    def __init__(self, rejection: AssociateRJ) -> None:
        super().__init__(f"association rejected: {rejection}")
        self.rejection = rejection


Store = Callable[[Message], int]
"""Answers a C-STORE we receive (C-GET) with a status."""


def accept_all(_message: Message) -> int:
    """A :data:`Store` that takes everything."""
    return 0


class Scu:
    """An association as requestor; a context manager that releases, or aborts after an error.

    ``timeout`` is the longest silence of the peer while we wait for it, in seconds.
    """

    def __init__(
        self,
        host: str,
        port: int,
        contexts: Sequence[PresentationContext],
        *,
        called_ae: str = "LIGHTWELL",
        calling_ae: str = "LW_SENDER",
        roles: Iterable[RoleSelection] = (),
        extended: Iterable[ExtendedNegotiation] = (),
        user_identity: UserIdentity | None = None,
        max_pdu: int = DEFAULT_MAX_PDU,
        timeout: float = 30.0,
        tls: ssl.SSLContext | None = None,
        source_address: tuple[str, int] | None = None,
    ) -> None:
        self._message_id = 0
        self._association = Association(Role.REQUESTOR)
        information = UserInformation(
            max_length=max_pdu,
            roles=tuple(roles),
            extended=tuple(extended),
            user_identity=user_identity,
        )
        request = AssociateRQ(called_ae, calling_ae, tuple(contexts), information)
        try:
            raw = socket.create_connection((host, port), timeout, source_address)
        except OSError as error:
            raise ChannelError(f"no connection to {host}:{port}: {error}") from error
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = raw
        try:
            if tls is not None:
                connection = tls.wrap_socket(raw, server_hostname=host)  # takes the descriptor over
            self._channel = Channel(connection, self._association, timeout)
            self._associate(request)
        except BaseException:
            connection.close()
            raise

    @property
    def contexts(self) -> dict[int, AcceptedContext]:
        """The accepted presentation contexts, by id."""
        return self._association.contexts

    def context_for(self, sop_class: str, transfer_syntax: str | None = None) -> AcceptedContext:
        """An accepted context for this class (and syntax); raises ChannelError if there is none."""
        context = self._association.find_context(sop_class, transfer_syntax)
        if context is None:
            raise ChannelError(f"no accepted context for {sop_class} in {transfer_syntax or 'any'}")
        return context

    def takes(self, sop_class: str, transfer_syntax: str) -> bool:
        """Whether the peer accepted this class in this syntax."""
        return self._association.find_context(sop_class, transfer_syntax) is not None

    # ---- services -----------------------------------------------------------------------------

    def echo(self) -> int:
        """C-ECHO; returns the status."""
        context = self.context_for(VERIFICATION)
        self._channel.send(context, commands.c_echo_rq(self._next_id()))
        return self._response().command.status

    def store(
        self,
        sop_class: str,
        sop_instance: str,
        transfer_syntax: str,
        chunks: Iterable[Buffer],
    ) -> Command:
        """C-STORE the data set in *chunks*, unchanged, in exactly this syntax; the response."""
        context = self.context_for(sop_class, transfer_syntax)
        request = commands.c_store_rq(self._next_id(), sop_class, sop_instance)
        self._channel.send(context, request, chunks)
        return self._response().command

    def find(self, sop_class: str, identifier: Callable[[str], bytes]) -> Iterator[Message]:
        """C-FIND: each pending answer, then the final response.

        *identifier* gives the encoded data set for the transfer syntax that was negotiated.
        """
        context = self.context_for(sop_class)
        request = commands.c_find_rq(self._next_id(), sop_class)
        self._channel.send(context, request, (identifier(context.transfer_syntax),))
        yield from self._responses(accept_all)

    def move(
        self, sop_class: str, destination: str, identifier: Callable[[str], bytes]
    ) -> Iterator[Message]:
        """C-MOVE: each response, the final one last."""
        context = self.context_for(sop_class)
        request = commands.c_move_rq(self._next_id(), sop_class, destination)
        self._channel.send(context, request, (identifier(context.transfer_syntax),))
        yield from self._responses(accept_all)

    def get(
        self, sop_class: str, identifier: Callable[[str], bytes], store: Store = accept_all
    ) -> Iterator[Message]:
        """C-GET: each response, the final one last; objects that come between go to *store*.

        Propose the storage classes with the SCP role (``RoleSelection(uid, False, True)``).
        """
        context = self.context_for(sop_class)
        request = commands.c_get_rq(self._next_id(), sop_class)
        self._channel.send(context, request, (identifier(context.transfer_syntax),))
        yield from self._responses(store)

    def cancel(self) -> None:
        """C-CANCEL the last request; its final response then says FE00H (or that it was done)."""
        context = next(iter(self.contexts.values()))
        self._channel.send(context, commands.c_cancel_rq(self._message_id))

    def action(
        self,
        sop_class: str,
        sop_instance: str,
        action_type: int,
        information: Callable[[str], bytes] | None = None,
    ) -> Message:
        """N-ACTION; the response."""
        context = self.context_for(sop_class)
        request = commands.n_action_rq(
            self._next_id(),
            sop_class,
            sop_instance,
            action_type,
            has_data_set=information is not None,
        )
        chunks = () if information is None else (information(context.transfer_syntax),)
        self._channel.send(context, request, chunks)
        return self._response()

    def next_message(self) -> Message:
        """The next message of the peer, whole (for tests that play a service class provider)."""
        event = self._channel.next_event()
        if not isinstance(event, CommandReceived):
            self._channel.fail_on(event)
        return self._channel.whole(event)

    def respond(self, message: Message, status: int) -> None:
        """Answer a request the peer sent us."""
        self._channel.send(message.context, commands.response(message.command, status))

    # ---- the end ------------------------------------------------------------------------------

    def release(self) -> None:
        """End in order and close. Raises ChannelError if the peer does not answer."""
        try:
            self._association.release()
            self._channel.flush()
            event = self._channel.next_event()
            if not isinstance(event, Released):
                self._channel.fail_on(event)
        finally:
            self.close()

    def abort(self) -> None:
        """Send A-ABORT, as far as the peer still listens, and close."""
        self._association.abort()
        with suppress(ChannelError):  # a peer that is gone already needs no abort
            self._channel.flush()
        self.close()

    def close(self) -> None:
        """Close the socket without another word."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._channel.closed:
            return
        if kind is None:
            self.release()
        else:
            self.abort()

    # ---- the plumbing -------------------------------------------------------------------------

    def _associate(self, request: AssociateRQ) -> None:
        self._association.request(request)
        self._channel.flush()
        event = self._channel.next_event()
        if isinstance(event, AssociateRejected):
            raise Rejected(event.rejection)
        if not isinstance(event, AssociateAccepted):
            self._channel.fail_on(event)
        self.answer = event.answer

    def _next_id(self) -> int:
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def _response(self) -> Message:
        """The response to the last request; anything else that comes instead is a failure."""
        message = self.next_message()
        self._check_response(message)
        return message

    def _responses(self, store: Store) -> Iterator[Message]:
        while True:
            message = self.next_message()
            if message.command.CommandField is CommandField.C_STORE_RQ:
                self.respond(message, store(message))
                continue
            self._check_response(message)
            yield message
            if category(message.command.status) is not Category.PENDING:
                return

    def _check_response(self, message: Message) -> None:
        command = message.command
        if not command.is_response or command.message_id != self._message_id:
            raise ChannelError(
                f"{command.CommandField.name} {command.message_id} came instead of the response "
                f"to {self._message_id}"
            )
