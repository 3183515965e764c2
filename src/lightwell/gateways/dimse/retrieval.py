"""Retrieve SCP: C-MOVE and C-GET, Patient Root and Study Root (PS3.4 Annex C).

C-MOVE goes to registered peers of the same tenant only: the destination's title is looked up, never
taken as an address (reliability D08). Its association is opened before the first object is read.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from lightwell.access.audit import clean
from lightwell.domain.archive.model import Level, Located
from lightwell.domain.peers.model import Peer
from lightwell.gateways.dimse.connection import Connection, Ended, Ending
from lightwell.gateways.dimse.exchange import Exchange
from lightwell.gateways.dimse.identifiers import read_identifier
from lightwell.gateways.dimse.requestor import Called, Unreachable, associate
from lightwell.gateways.dimse.selection import Chosen, Selection, select
from lightwell.gateways.dimse.sending import (
    HalfSent,
    NotSendable,
    Originator,
    Sent,
    ahead_of,
    choose,
    offered,
    send_object,
)
from lightwell.gateways.dimse.status import Service
from lightwell.gateways.dimse.suboperations import RequestorGone, SubOperations
from lightwell.kernel.errors import LightwellError
from lightwell.wire.dimse.items import ExtendedNegotiation
from lightwell.wire.dimse.pdu import PresentationContext
from lightwell.wire.dimse.proposal import propose
from lightwell.wire.dimse.status import (
    MISSING_ATTRIBUTE,
    MOVE_DESTINATION_UNKNOWN,
    PROCESSING_FAILURE,
    SOP_CLASS_NOT_SUPPORTED,
    UNABLE_TO_PERFORM_SUBOPERATIONS,
)
from lightwell.wire.dimse.syntaxes import EXPLICIT_LE

log = logging.getLogger("lightwell.dimse")

_STUDY_LEVELS: Final = frozenset({Level.STUDY, Level.SERIES, Level.INSTANCE})
_PATIENT_LEVELS: Final = _STUDY_LEVELS | {Level.PATIENT}

MOVE: Final[Mapping[str, frozenset[Level]]] = MappingProxyType(
    {
        "1.2.840.10008.5.1.4.1.2.1.2": _PATIENT_LEVELS,
        "1.2.840.10008.5.1.4.1.2.2.2": _STUDY_LEVELS,
    }
)
GET: Final[Mapping[str, frozenset[Level]]] = MappingProxyType(
    {
        "1.2.840.10008.5.1.4.1.2.1.3": _PATIENT_LEVELS,
        "1.2.840.10008.5.1.4.1.2.2.3": _STUDY_LEVELS,
    }
)

_RELEASE_SECONDS: Final = 10.0
_NOT_NOW: Final = range(0xA700, 0xA800)
"""Out of resources (PS3.4 Table B.2-1): worth another try."""


def extended(asked: ExtendedNegotiation) -> bytes | None:
    """Relational retrieval is always done, conversion to enhanced multi-frame never (PS3.4 C.5.2)."""
    if asked.SOPClassUID not in MOVE and asked.SOPClassUID not in GET:
        return None
    return bytes((1, 0))[: max(len(asked.information), 1)]


def serve_get(exchange: Exchange) -> None:
    """Answer one C-GET-RQ: the objects go over the same association."""
    operations = _begin(exchange, GET)
    if operations is None:
        return
    courier = _SameAssociation(exchange)
    try:
        operations.run(courier)
    finally:
        courier.close()


def serve_move(exchange: Exchange) -> None:
    """Answer one C-MOVE-RQ: the objects go to a registered peer."""
    try:
        peer = exchange.rooms.ask(
            exchange.rooms.peers.destination(exchange.actor, exchange.command.MoveDestination)
        )
    except LightwellError as error:
        exchange.fail(error, Service.RETRIEVE)
        return
    if peer is None:
        log.warning(
            "C-MOVE by %s to %s refused: no such destination",
            exchange.actor.actor.machine.name,
            clean(exchange.command.MoveDestination),
        )
        exchange.answer(MOVE_DESTINATION_UNKNOWN)
        return
    operations = _begin(exchange, MOVE)
    if operations is None:
        return
    destination = _Destination(exchange, peer, operations)
    try:
        if operations.chosen:
            destination.open_first()
        operations.run(destination)
    except Unreachable as error:
        log.warning("C-MOVE to %s failed: %s", peer.aet, error)
        operations.fail_all(UNABLE_TO_PERFORM_SUBOPERATIONS, f"destination: {error}")
    except RequestorGone as gone:
        raise gone.ended from gone
    finally:
        destination.close()
        destination.forget()


def _begin(exchange: Exchange, models: Mapping[str, frozenset[Level]]) -> SubOperations | None:
    """Read the request and select its instances; None when it has been answered already."""
    command, model = exchange.command, exchange.context.abstract_syntax
    if missing := command.missing():
        exchange.answer(MISSING_ATTRIBUTE, ErrorComment=f"{missing[0]} is missing")
        return None
    if model not in models or command.AffectedSOPClassUID != model:
        exchange.answer(SOP_CLASS_NOT_SUPPORTED)
        return None
    exchange.session.counters.add(retrievals=1)
    try:
        raw = exchange.data_set(exchange.connection.limits.identifier)
        identifier = read_identifier(raw, exchange.context.transfer_syntax, models[model])
        return SubOperations(exchange, select(exchange.rooms, exchange.actor, identifier))
    except LightwellError as error:
        exchange.fail(error, Service.RETRIEVE)
        return None


def _message_ids() -> itertools.cycle[int]:
    return itertools.cycle(range(1, 0x10000))


class _SameAssociation:
    """C-GET: a courier over the association of the request, in contexts it offered as SCP."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._ids = _message_ids()
        self._ahead = ahead_of(exchange.rooms)
        self._contexts = [
            context
            for context in exchange.connection.association.contexts.values()
            if context.requestor_scp
        ]

    def prepare(self, upcoming: Sequence[Chosen]) -> None:
        self._ahead.want([one.located for one in upcoming])

    def close(self) -> None:
        """Give threads back."""
        self._ahead.close()

    def deliver(self, selection: Selection, one: Chosen) -> int:
        rooms = self._exchange.rooms
        try:
            located = selection.still(one)
            if located is None:
                return PROCESSING_FAILURE
            context = choose(rooms, located, self._contexts)
            if context is None:
                return SOP_CLASS_NOT_SUPPORTED
            sent = send_object(
                self._exchange.connection,
                rooms,
                located,
                context,
                next(self._ids),
                Originator(),
                self._ahead,
            )
        except LightwellError as error:
            log.error("C-GET: an object could not be sent: %s", type(error).__name__)
            return PROCESSING_FAILURE
        except HalfSent as error:
            # The peer must not take the part it has for an object.
            log.error("C-GET aborted within an object: %s", error)
            raise Ended(Ending.CUT, "an object could not be read to its end") from error
        selection.served(one, sent.bytes)
        return sent.response.status


class _Destination:
    """C-MOVE: a courier over associations of our own, one at a time.

    Needs that do not fit one association's 128 contexts go over several, one after the other. A lost
    association fails the object it carried; the next object tries a new one, and when that cannot be
    had, everything left fails.
    """

    def __init__(self, exchange: Exchange, peer: Peer, operations: SubOperations) -> None:
        self._exchange = exchange
        self._operations = operations
        self._called = Called(peer.host, peer.port, peer.aet, exchange.session.request.called_ae)
        self._originator = Originator(
            exchange.session.request.calling_ae, exchange.command.message_id
        )
        self._ids = _message_ids()
        self._proposals = _proposals(exchange, peer, operations)
        self._group_of = {
            context.abstract_syntax: group
            for group, contexts in reversed(list(enumerate(self._proposals)))
            for context in contexts
        }
        # Objects of one association together, else in reading order.
        operations.chosen.sort(key=lambda one: self._group_of[one.located.sop_class])
        self._ahead = ahead_of(exchange.rooms)
        self._connection: Connection | None = None
        self._group = 0
        self._unreachable = False

    def open_first(self) -> None:
        """The association for the first object. Raises Unreachable."""
        self._open(self._group_of[self._operations.chosen[0].located.sop_class])

    def prepare(self, upcoming: Sequence[Chosen]) -> None:
        self._ahead.want([one.located for one in upcoming])

    def deliver(self, selection: Selection, one: Chosen) -> int:
        try:
            located = selection.still(one)
            if located is None:
                return PROCESSING_FAILURE
            sent = self._send_with_patience(located)
        except (NotSendable, Unreachable) as error:
            log.info("C-MOVE to %s: not sent: %s", self._called.called_ae, error)
            return UNABLE_TO_PERFORM_SUBOPERATIONS
        except LightwellError as error:
            log.error("C-MOVE: an object could not be read: %s", type(error).__name__)
            return PROCESSING_FAILURE
        except RequestorGone:
            self._abandon()
            raise
        except (Ended, HalfSent) as error:
            log.warning("association with %s lost: %s", self._called.called_ae, error)
            self._abandon()
            return UNABLE_TO_PERFORM_SUBOPERATIONS
        selection.served(one, sent.bytes)
        return sent.response.status

    def _send_with_patience(self, located: Located) -> Sent:
        """Send; again, a little later, when the destination is out of resources."""
        for attempt in itertools.count():
            connection = self._ready(located)
            context = choose(
                self._exchange.rooms, located, connection.association.contexts.values()
            )
            if context is None:
                raise NotSendable(f"{located.sop_class} in {located.syntax} is not taken")
            sent = send_object(
                connection,
                self._exchange.rooms,
                located,
                context,
                next(self._ids),
                self._originator,
                self._ahead,
            )
            if sent.response.status not in _NOT_NOW:
                return sent
            if attempt == connection.limits.retries or self._requestor_cancelled():
                return sent
            time.sleep(connection.limits.retry_after * (attempt + 1))
        raise AssertionError("counting does not end")

    def _requestor_cancelled(self) -> bool:
        try:
            return self._exchange.is_cancelled()
        except Ended as ended:
            raise RequestorGone(ended) from ended

    def _ready(self, located: Located) -> Connection:
        """An association for this object. Raises Unreachable."""
        group = self._group_of[located.sop_class]
        if self._connection is not None and self._group == group:
            return self._connection
        if self._unreachable:
            raise Unreachable("given up")
        self.close()
        try:
            return self._open(group)
        except Unreachable:
            self._unreachable = True
            raise

    def _open(self, group: int) -> Connection:
        exchange = self._exchange
        connection = associate(
            self._called,
            self._proposals[group],
            exchange.connection.limits,
            exchange.session.counters,
        )
        connection.while_waiting = self._operations.tell_from_afar
        self._connection, self._group = connection, group
        return connection

    def _abandon(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.while_waiting = None
            connection.abort()

    def forget(self) -> None:
        """Give threads back."""
        self._ahead.close()

    def close(self) -> None:
        """End the association in order, or else by an abort."""
        connection = self._connection
        if connection is None:
            return
        connection.while_waiting = None
        try:
            connection.release(_RELEASE_SECONDS)
        except Ended:
            self._abandon()
        else:
            self._connection = None
            connection.close(wait_for_peer=False)


def _proposals(
    exchange: Exchange, peer: Peer, operations: SubOperations
) -> list[tuple[PresentationContext, ...]]:
    """What to ask the destination for: the stored syntaxes it may be offered, and uncompressed."""
    archive = exchange.rooms.archive
    needs: dict[tuple[str, str], None] = {}
    for one in operations.chosen:
        stored = archive.sent_syntax(one.located, web=False)
        syntax = stored if offered(stored, peer.syntaxes) else EXPLICIT_LE
        needs[one.located.sop_class, syntax] = None
    return propose(needs)
