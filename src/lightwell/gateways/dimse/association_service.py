"""One association as acceptor: who is calling, what is agreed, and each request to its service."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from lightwell.access.audit import clean
from lightwell.access.context import Context
from lightwell.domain.peers.model import Stranger
from lightwell.domain.people.machine_api import Named
from lightwell.gateways.dimse import commitment, query, retrieval, storage, verification
from lightwell.gateways.dimse.connection import Connection, Ended, Ending
from lightwell.gateways.dimse.counters import Counters
from lightwell.gateways.dimse.exchange import Exchange, Rooms, Session
from lightwell.gateways.dimse.naming import Turned, speak
from lightwell.gateways.dimse.places import NoSlot, Slots
from lightwell.gateways.dimse.query_pace import QueryPace
from lightwell.kernel.crashpoints import reach
from lightwell.kernel.errors import LightwellError
from lightwell.wire.dimse.commands import CommandField
from lightwell.wire.dimse.events import (
    Aborted,
    AssociateRefused,
    AssociateRequested,
    CommandReceived,
    ConnectionLost,
    ProtocolError,
)
from lightwell.wire.dimse.items import ExtendedNegotiation
from lightwell.wire.dimse.negotiation import Policy, negotiate
from lightwell.wire.dimse.pdu import AssociateRQ, Rejection
from lightwell.wire.dimse.status import UNRECOGNIZED_OPERATION

log = logging.getLogger("lightwell.dimse")

VERIFICATION: Final = "1.2.840.10008.1.1"

SERVICES: Final[Mapping[CommandField, Callable[[Exchange], None]]] = MappingProxyType(
    {
        CommandField.C_ECHO_RQ: verification.serve,
        CommandField.C_STORE_RQ: storage.serve,
        CommandField.C_FIND_RQ: query.serve,
        CommandField.C_MOVE_RQ: retrieval.serve_move,
        CommandField.C_GET_RQ: retrieval.serve_get,
        CommandField.N_ACTION_RQ: commitment.serve,
    }
)


def _extended(asked: ExtendedNegotiation) -> bytes | None:
    """What we do of what was asked for by SOP Class Extended Negotiation."""
    return query.extended(asked) or retrieval.extended(asked)


POLICY: Final = Policy(
    services=frozenset(
        {VERIFICATION, commitment.PUSH_MODEL, *query.MODELS, *retrieval.MOVE, *retrieval.GET}
    ),
    extended=_extended,
)
"""What every peer may negotiate. What it may *do* is policy's answer to each request (0124H)."""


class AssociationService:
    """Serves associations; one for all threads of a process."""

    def __init__(self, rooms: Rooms, slots: Slots, counters: Counters) -> None:
        self._rooms = rooms
        self._slots = slots
        self._counters = counters
        self._pace = QueryPace(rooms.limits.plain_queries)
        self.closing = False
        """Whether new associations are turned away because the server stops."""

    def serve(
        self,
        connection: Connection,
        address: str,
        certificate: str | None,
        deadline: float,
        on_accepted: Callable[[], None],
        on_over: Callable[[], None],
    ) -> None:
        """All of one association; closes the connection.

        *deadline* is for the whole request; *on_accepted* and *on_over* tell when it holds a slot
        and when not any more.
        """
        try:
            request = self._await_request(connection, deadline)
            if request is None:
                connection.close()
                return
            actor = self._identify(request, address, certificate)
            named: Named | None = None
            identity = request.user_information.user_identity
            if identity is not None and not isinstance(actor, Turned):
                spoken = speak(self._rooms, actor, identity)
                if isinstance(spoken, Turned):
                    actor = spoken
                else:
                    actor, named = spoken
            if isinstance(actor, Turned):
                self._reject(connection, request, address, actor)
                return
            counters = self._counters.of(request.called_ae, request.calling_ae)
            try:
                with self._slots.taken(actor.tenant.key, actor.actor.machine.name):
                    on_accepted()
                    session = Session(
                        connection,
                        self._rooms,
                        actor,
                        request,
                        counters,
                        self._pace,
                        named=named,
                        plain=certificate is None,
                    )
                    try:
                        self._converse(session)
                    finally:
                        on_over()
            except NoSlot:
                turned = Turned(Rejection.LOCAL_LIMIT_EXCEEDED, "too many associations at once")
                self._reject(connection, request, address, turned)
                return
            connection.close()
        except Ended as ended:
            self._ended(connection, address, ended)

    def _await_request(self, connection: Connection, deadline: float) -> AssociateRQ | None:
        """The request; None when the engine has answered it itself, or nobody asked for anything."""
        event = connection.event_by(deadline)
        match event:
            case AssociateRequested(request):
                return request
            case AssociateRefused():
                self._counters.add(rejected=1)
                connection.flush()
                return None
            case ProtocolError(message, _source, _reason):
                connection.flush()
                raise Ended(Ending.PROTOCOL, message)
            case ConnectionLost() | Aborted():
                return None
            case _:
                raise Ended(Ending.PROTOCOL, type(event).__name__)

    def _identify(
        self, request: AssociateRQ, address: str, certificate: str | None
    ) -> Context | Turned:
        if self.closing:
            return Turned(Rejection.TEMPORARY_CONGESTION, "the server is stopping")
        try:
            caller = self._rooms.ask(
                self._rooms.peers.identify(
                    request.called_ae,
                    request.calling_ae,
                    address,
                    certificate,
                    named=request.user_information.user_identity is not None,
                ),
                self._rooms.limits.request,
            )
        except LightwellError as error:
            log.warning("nobody can be identified now: %s", type(error).__name__)
            return Turned(Rejection.TEMPORARY_CONGESTION, "the archive does not answer now")
        if isinstance(caller, Context):
            return caller
        if caller is Stranger.UNKNOWN_CALLED:
            return Turned(Rejection.CALLED_AE_NOT_RECOGNIZED, caller)
        if caller is Stranger.NO_IDENTITY:
            return Turned(Rejection.NO_REASON, caller)
        if caller is Stranger.SUSPENDED:  # machines keep what they have, and try again
            return Turned(Rejection.TEMPORARY_CONGESTION, caller)
        return Turned(Rejection.CALLING_AE_NOT_RECOGNIZED, caller)

    def _reject(
        self, connection: Connection, request: AssociateRQ, address: str, turned: Turned
    ) -> None:
        answer = turned.answer
        log.warning(
            "association rejected: %s calling %s from %s (%d/%d/%d)",
            clean(request.calling_ae),
            clean(request.called_ae),
            address,
            answer.result,
            answer.source,
            answer.reason,
        )
        called, calling = clean(request.called_ae), clean(request.calling_ae)
        self._counters.refuse(called, calling, address, turned.why)
        connection.association.reject(answer)
        connection.flush()
        connection.close()

    def _converse(self, session: Session) -> None:
        connection, request = session.connection, session.request
        answer = negotiate(request, POLICY)
        connection.association.accept(
            answer.contexts,
            roles=answer.roles,
            extended=answer.extended,
            async_operations=answer.async_operations,
            user_identity_response=_identity_response(request),
        )
        connection.flush()
        connection.enlarge_buffer(connection.limits.receive_buffer)
        reach("k0")
        session.counters.add(associations=1)
        log.info(
            "association: %s from %s%s",
            clean(request.calling_ae),
            session.actor.origin,
            f" for {clean(str(session.actor.actor))}" if session.named else "",
        )
        while (event := connection.next_command()) is not None:
            self._dispatch(session, event)
        self._counters.add(released=1)

    def _dispatch(self, session: Session, event: CommandReceived) -> None:
        connection, command = session.connection, event.command
        if command.is_response or command.CommandField is CommandField.C_CANCEL_RQ:
            # To an operation that is over: there is nothing to answer (PS3.7 section 9.3.2.3).
            connection.skip_data_set()
            return
        context = connection.association.contexts[event.context_id]
        exchange = Exchange(session, context, command)
        service = SERVICES.get(command.CommandField)
        if service is None:
            exchange.answer(UNRECOGNIZED_OPERATION)
            return
        try:
            session.still_named(new_request=True)
            service(exchange)
        except Ended:
            raise
        except Exception as error:  # a bug must not end more than its own association
            log_bug(error, f"serving {command.CommandField.name}")
            self._counters.add(broken=1)
            raise Ended(Ending.CUT, f"a bug: {type(error).__name__}") from error
        finally:
            connection.cancelled.discard(command.message_id)

    def _ended(self, connection: Connection, address: str, ended: Ended) -> None:
        log.info("association from %s ended: %s", address, ended)
        if ended.ending is not Ending.CUT:
            self._counters.add(**{ended.ending.value: 1})
        if ended.ending in (Ending.ABORTED, Ending.LOST, Ending.PROTOCOL):
            connection.close(wait_for_peer=False)
        else:
            connection.abort()


def _identity_response(request: AssociateRQ) -> bytes | None:
    """What to say to a user identity that was proved, where an answer was asked for: no more than that it
    was (PS3.7 D.3.3.7.2; a key or JWT has nothing to answer with)."""
    identity = request.user_information.user_identity
    return b"" if identity is not None and identity.response_requested else None


def log_bug(error: BaseException, doing: str) -> None:
    """Where a bug showed itself; not its message, which may hold a value of a data set."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s: %s\n%s", doing, type(error).__name__, frames)
