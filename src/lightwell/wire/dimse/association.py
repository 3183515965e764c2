"""One DICOM association, without its socket: bytes in, events out, bytes to send out.

How to drive it
---------------
Give every received byte to :meth:`Association.receive_data` and act on the events it returns; send
what :meth:`Association.data_to_send` holds after each call; tell it when the transport ends
(:meth:`connection_closed`). ``artim_running`` says when the caller must have a deadline armed, and
:meth:`artim_expired` what to call then; ``wants_close`` says when to close the socket after sending.

How bytes become PDUs and messages again, and what little of them is held, is in ``incoming``; here
is what both ends may do when, and what follows from it.

Where it deviates from PS3.8 on purpose
---------------------------------------
* After an invalid PDU the framing is lost. We abort once, then discard everything unread (Table
  9-10 would answer each further PDU in Sta13 with AA-7, another abort; guessing where PDUs start in
  a hostile stream helps nobody). The same holds after our own abort: nothing that follows matters.
* In a release collision the local user has nothing to decide: the engine issues the A-RELEASE
  response itself, and the user sees only :class:`Released`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final

from lightwell.wire.dimse import pdu as pdus
from lightwell.wire.dimse.commands import Command, CommandError
from lightwell.wire.dimse.contexts import (
    AcceptedContext,
    LocalProtocolError,
    agree,
    check_answers,
)
from lightwell.wire.dimse.events import (
    Aborted,
    AssociateAccepted,
    AssociateRefused,
    AssociateRejected,
    AssociateRequested,
    ConnectionLost,
    Event,
    ProtocolError,
    Released,
    ReleaseRequested,
)
from lightwell.wire.dimse.framing import (
    Buffer,
    fragment_size,
    frame_command,
    frame_data,
)
from lightwell.wire.dimse.incoming import Reader, Violation
from lightwell.wire.dimse.items import (
    APPLICATION_CONTEXT,
    DEFAULT_MAX_PDU,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    ExtendedNegotiation,
    RoleSelection,
    UserInformation,
)
from lightwell.wire.dimse.pdu import (
    PDU,
    Abort,
    AbortReason,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    ContextAnswer,
    Limits,
    PDUError,
    Rejection,
    ReleaseRP,
    ReleaseRQ,
)
from lightwell.wire.dimse.states import (
    AA1,
    AA6,
    AA7,
    AA8,
    IMPOSSIBLE,
    Artim,
    Evt,
    State,
    transition,
)

__all__ = [
    "AcceptedContext",
    "Association",
    "Buffer",
    "Limits",
    "LocalProtocolError",
    "Rejection",
    "Role",
]

SERVICE_USER: Final = 0
SERVICE_PROVIDER: Final = 2


_EVENT_OF_TYPE: Final = {
    pdus.TYPE_ASSOCIATE_RQ: Evt.AssociateRQReceived,
    pdus.TYPE_ASSOCIATE_AC: Evt.AssociateACReceived,
    pdus.TYPE_ASSOCIATE_RJ: Evt.AssociateRJReceived,
    pdus.TYPE_P_DATA_TF: Evt.DataReceived,
    pdus.TYPE_RELEASE_RQ: Evt.ReleaseRQReceived,
    pdus.TYPE_RELEASE_RP: Evt.ReleaseRPReceived,
    pdus.TYPE_ABORT: Evt.AbortReceived,
}


class Role(Enum):
    """Which end of the association this is."""

    ACCEPTOR = "acceptor"
    REQUESTOR = "requestor"


class Association:
    """The engine for one association, as acceptor or requestor.

    An acceptor starts in Sta2: its transport connection has just arrived. A requestor starts in
    Sta1 and is given its connection, open, with :meth:`request`. Not thread safe.
    """

    def __init__(
        self,
        role: Role,
        *,
        limits: Limits | None = None,
        max_pdu: int = DEFAULT_MAX_PDU,
    ) -> None:
        self.role: Final = role
        self.limits: Final = limits or Limits()
        self.state = State.Sta1
        self.max_pdu = max_pdu
        """The P-DATA-TF length we announce and hold the peer to, in bytes."""
        self.peer_max_pdu = 0
        """What the peer announced; 0 is no limit."""
        self.request_received: AssociateRQ | None = None
        """The peer's request (acceptor)."""
        self.request_sent: AssociateRQ | None = None
        """Our request (requestor)."""
        self.contexts: dict[int, AcceptedContext] = {}
        """The contexts in use, by id; filled when the association is established."""
        self.artim_running = False
        """Whether the ARTIM timer should run; the caller owns the clock."""
        self.wants_close = False
        """Whether to close the transport once everything in ``data_to_send`` is out."""
        self._outgoing = bytearray()
        self._reader = Reader(self, self.limits)
        self._sending_data = False
        if role is Role.ACCEPTOR:
            self._step(Evt.TransportIndicated)

    def find_context(
        self, abstract_syntax: str, transfer_syntax: str | None = None
    ) -> AcceptedContext | None:
        """The first context in use for this abstract syntax and, if given, this transfer syntax."""
        for context in self.contexts.values():
            if context.abstract_syntax == abstract_syntax and transfer_syntax in (
                None,
                context.transfer_syntax,
            ):
                return context
        return None

    # ---- what the local user does -------------------------------------------------------------

    def request(self, request: AssociateRQ) -> None:
        """Ask for an association over a transport connection that is already open (Evt1, Evt2).

        The announced maximum length becomes ``max_pdu``.
        """
        raw = pdus.encode(request)
        self._step(Evt.AssociateRequest)
        self._step(Evt.TransportConfirmed)
        self.request_sent = request
        self.max_pdu = request.user_information.max_length
        self._outgoing += raw

    def accept(
        self,
        contexts: Iterable[ContextAnswer],
        *,
        max_pdu: int | None = None,
        roles: Iterable[RoleSelection] = (),
        extended: Iterable[ExtendedNegotiation] = (),
        async_operations: tuple[int, int] | None = None,
        user_identity_response: bytes | None = None,
        implementation_class_uid: str = IMPLEMENTATION_CLASS_UID,
        implementation_version_name: str = IMPLEMENTATION_VERSION_NAME,
    ) -> None:
        """Accept the request with these answers (see ``negotiation.negotiate``).

        There must be one answer for each proposed context, and accepted ones must name a transfer
        syntax that was offered.
        """
        request = self.request_received
        if request is None:
            raise LocalProtocolError("there is no association request to accept")
        answers, granted = tuple(contexts), tuple(roles)
        check_answers(request.contexts, answers)
        self._step(Evt.AssociateAccept)
        if max_pdu is not None:
            self.max_pdu = max_pdu
        information = UserInformation(
            max_length=self.max_pdu,
            implementation_class_uid=implementation_class_uid,
            implementation_version_name=implementation_version_name,
            async_operations=async_operations,
            roles=granted,
            extended=tuple(extended),
            user_identity_response=user_identity_response,
        )
        self.contexts = agree(request, answers, granted)
        self._queue(AssociateAC(request.called_ae, request.calling_ae, answers, information))

    def reject(self, rejection: AssociateRJ = Rejection.NO_REASON) -> None:
        """Reject the request; the peer should close then, ARTIM guards that it does."""
        self._step(Evt.AssociateReject)
        self._queue(rejection)

    def release(self) -> None:
        """Ask to end the association in order; :class:`Released` will follow."""
        self._must_not_be_sending()
        self._step(Evt.ReleaseRequest)
        self._queue(ReleaseRQ())

    def confirm_release(self) -> None:
        """Answer :class:`ReleaseRequested`; the peer should close then, ARTIM guards that it does."""
        self._must_not_be_sending()
        self._step(Evt.ReleaseResponse)
        self._queue(ReleaseRP())

    def abort(self) -> None:
        """End the association at once (A-ABORT, source service user).

        Allowed in every state: where there is nothing to abort, only ``wants_close`` is set. Nothing
        is read any more after it.
        """
        self._reader.stop()
        if transition(self.state, Evt.AbortRequest) is IMPOSSIBLE:
            self.wants_close = True
            return
        self._step(Evt.AbortRequest)
        self._queue(Abort(SERVICE_USER, AbortReason.NOT_SPECIFIED))

    def artim_expired(self) -> None:
        """The deadline armed for ``artim_running`` has passed (Evt18): close the transport."""
        if self.artim_running:
            self._step(Evt.ArtimExpired)

    def connection_closed(self) -> list[Event]:
        """The transport was closed by the peer or lost (Evt17)."""
        if self.state is State.Sta1:
            return []
        had_association = self.state not in (State.Sta2, State.Sta13)
        self._step(Evt.TransportClosed)
        return [ConnectionLost()] if had_association else []

    def data_to_send(self) -> bytes:
        """Take the bytes that wait to be sent, in order; empty when there are none."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def send_command(self, context_id: int, command: Command) -> None:
        """Queue *command* on an accepted context; its data set, if any, follows by ``send_data``."""
        self._must_not_be_sending()
        self._may_send_on(context_id)
        self._outgoing += frame_command(context_id, command.encode(), self._fragment_size())

    def send_data(self, context_id: int, chunks: Iterable[Buffer]) -> Iterator[list[Buffer]]:
        """Frame a data set; yields lists of buffers, each to be sent whole before the next is asked.

        What waits in ``data_to_send`` goes first, so a command and the start of its data set leave
        together. No list has much more than 1 MiB, or as many buffers as IOV_MAX. The chunks may have any
        size and are not copied: each must be memory of its own that stays unchanged until it is
        sent. PDUs honour the peer's maximum. Between the lists no other message may be sent; giving
        up half way is only possible by ``abort``.
        """
        self._must_not_be_sending()
        self._may_send_on(context_id)
        self._sending_data = True
        batches = frame_data(context_id, chunks, self._fragment_size())
        return self._sending(context_id, batches)

    def _sending(self, context_id: int, batches: Iterator[list[Buffer]]) -> Iterator[list[Buffer]]:
        """Pass the batches on, holding back everything else until the last one was asked for."""
        for batch in batches:
            self._may_send_on(context_id)
            if self._outgoing:
                batch.insert(0, self.data_to_send())
            yield batch
        self._sending_data = False

    # ---- what the peer does -------------------------------------------------------------------

    def receive_data(self, data: Buffer) -> list[Event]:
        """The events in *data*, in order. Views in them are valid until the next call.

        Never raises for anything a peer can send: a violation comes back as :class:`ProtocolError`.
        A driver that aborts while it works through the list drops the rest of it.
        """
        events: list[Event] = []
        if self.state is State.Sta1:
            return events
        try:
            self._reader.read(memoryview(data), events)
        except (Violation, PDUError) as violation:
            self._violated(str(violation), SERVICE_PROVIDER, violation.reason, events)
        except CommandError as error:
            # A fault in the message, not in the upper layer: the service user's abort.
            self._violated(str(error), SERVICE_USER, AbortReason.NOT_SPECIFIED, events)
        return events

    def due(self, kind: int, length: int) -> bool:
        """Judge a control PDU by its header: gather it, ignore it (Sta13), or raise Violation.

        For the reader, as is :meth:`received`.
        """
        event = _EVENT_OF_TYPE.get(kind)
        if event is None:
            raise Violation(f"unrecognized PDU type {kind:02X}H", AbortReason.UNRECOGNIZED_PDU)
        action = transition(self.state, event).action
        if action is AA6:
            return False
        if action in (AA1, AA7, AA8):
            raise Violation(f"{event.name} in {self.state.name}", AbortReason.UNEXPECTED_PDU)
        if kind == pdus.TYPE_RELEASE_RQ and self._reader.inside_message:
            # Between messages only: so an incomplete object can never look like an orderly end.
            raise Violation("a release inside a message", AbortReason.UNEXPECTED_PDU)
        longest = pdus.longest_body(kind, self.limits)
        if not 4 <= length <= longest:
            raise Violation(
                f"a PDU of type {kind:02X}H and {length} bytes, at most {longest} are taken",
                AbortReason.INVALID_PDU_PARAMETER,
            )
        return True

    def received(self, pdu: PDU, events: list[Event]) -> None:
        """Act on a whole control PDU that is due in this state."""
        match pdu:
            case AssociateRQ():
                self._requested(pdu, events)
            case AssociateAC():
                self._accepted(pdu, events)
            case AssociateRJ():
                self._step(Evt.AssociateRJReceived)
                events.append(AssociateRejected(pdu))
            case ReleaseRQ():
                self._release_requested(events)
            case ReleaseRP():
                self._step(Evt.ReleaseRPReceived)
                if self.state is State.Sta12:
                    self._step(Evt.ReleaseResponse)
                    self._queue(ReleaseRP())
                events.append(Released())
            case Abort(source, reason):
                had_association = self.state not in (State.Sta2, State.Sta13)
                self._step(Evt.AbortReceived)
                if had_association:
                    events.append(Aborted(source, reason))

    def _requested(self, request: AssociateRQ, events: list[Event]) -> None:
        rejection = None
        if not request.protocol_version & 1:  # PS3.8 section 9.3.2: bit 0 is version 1
            rejection = Rejection.PROTOCOL_VERSION_NOT_SUPPORTED
        elif request.application_context != APPLICATION_CONTEXT:
            rejection = Rejection.APPLICATION_CONTEXT_NOT_SUPPORTED
        self.request_received = request
        if rejection is not None:
            self._step(Evt.AssociateRQReceived, choice=1)
            self.artim_running = True  # AE-6: a rejection by the provider starts ARTIM again
            self._queue(rejection)
            events.append(AssociateRefused(request, rejection))
            return
        self._set_peer_max_pdu(request.user_information.max_length)
        self._step(Evt.AssociateRQReceived)
        events.append(AssociateRequested(request))

    def _accepted(self, answer: AssociateAC, events: list[Event]) -> None:
        assert self.request_sent is not None, "Sta5 is entered by request() only"
        self._set_peer_max_pdu(answer.user_information.max_length)
        self._step(Evt.AssociateACReceived)
        self.contexts = agree(self.request_sent, answer.contexts, answer.user_information.roles)
        events.append(AssociateAccepted(answer))

    def _release_requested(self, events: list[Event]) -> None:
        if self.state is not State.Sta7:
            self._step(Evt.ReleaseRQReceived)
            events.append(ReleaseRequested())
        elif self.role is Role.REQUESTOR:
            self._step(Evt.ReleaseRQReceived)
            self._step(Evt.ReleaseResponse)
            self._queue(ReleaseRP())
        else:
            self._step(Evt.ReleaseRQReceived, choice=1)

    def _set_peer_max_pdu(self, announced: int) -> None:
        if 0 < announced < self.limits.min_peer_pdu:
            raise Violation(
                f"a maximum length of {announced} bytes, below {self.limits.min_peer_pdu}",
                AbortReason.INVALID_PDU_PARAMETER,
            )
        self.peer_max_pdu = announced

    def _violated(self, message: str, source: int, reason: int, events: list[Event]) -> None:
        """Abort once, whatever the state, and read no further."""
        if transition(self.state, Evt.InvalidPDU).action is AA1:
            source, reason = SERVICE_USER, AbortReason.NOT_SPECIFIED
        self._step(Evt.InvalidPDU)
        self._queue(Abort(source, reason))
        self._reader.stop()
        events.append(ProtocolError(message, source, reason))

    # ---- the machine --------------------------------------------------------------------------

    def _step(self, event: Evt, choice: int = 0) -> None:
        """Move by the state table, and apply the action's effect on timer and transport."""
        cell = transition(self.state, event)
        if cell is IMPOSSIBLE:
            raise LocalProtocolError(f"{event.name} is not possible in {self.state.name}")
        self.state = cell.then[choice]
        if cell.action.artim is not Artim.LEAVE:
            self.artim_running = cell.action.artim is Artim.START
        if cell.action.closes:
            self.wants_close = True
        if self.state is State.Sta1:
            self._reader.stop()  # nothing that still arrives belongs to an association

    def _queue(self, pdu: PDU) -> None:
        self._outgoing += pdus.encode(pdu)

    def _must_not_be_sending(self) -> None:
        if self._sending_data:
            raise LocalProtocolError("a data set is only half sent: finish it, or abort")

    def _may_send_on(self, context_id: int) -> None:
        self._step(Evt.DataRequest)
        if context_id not in self.contexts:
            raise LocalProtocolError(f"context {context_id} was not accepted")

    def _fragment_size(self) -> int:
        return fragment_size(self.peer_max_pdu)
