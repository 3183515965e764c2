"""Storage Commitment Push Model: requests in, reports out (PS3.4 Annex J).

A request is only remembered here; the answer is worked out from re-hashed bytes later and delivered
over a new association, under the title that the peer called, so that nobody else can be mistaken for
the archive. A peer that we could not call back is told so at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from lightwell.dicom import tags
from lightwell.dicom.errors import DicomError
from lightwell.dicom.scanner import scan_data_set
from lightwell.dicom.uids import acceptable_uid, syntax_of
from lightwell.domain.archive.model import Vouched
from lightwell.domain.peers.model import Peer
from lightwell.gateways.dimse.connection import Connection, Ended, Ending
from lightwell.gateways.dimse.counters import Counters
from lightwell.gateways.dimse.exchange import Exchange
from lightwell.gateways.dimse.identifiers import write_identifier
from lightwell.gateways.dimse.limits import DimseLimits
from lightwell.gateways.dimse.requestor import Called, Unreachable, associate
from lightwell.gateways.dimse.status import Service
from lightwell.kernel.errors import Invalid, LightwellError
from lightwell.wire.dimse.commands import n_event_report_rq
from lightwell.wire.dimse.items import RoleSelection
from lightwell.wire.dimse.proposal import propose_service
from lightwell.wire.dimse.status import (
    DUPLICATE_TRANSACTION_UID,
    MISSING_ATTRIBUTE,
    NO_SUCH_ACTION_TYPE,
    NO_SUCH_SOP_CLASS,
    NO_SUCH_SOP_INSTANCE,
    PROCESSING_FAILURE,
    SUCCESS,
)

log = logging.getLogger("lightwell.dimse")

PUSH_MODEL: Final = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
"""The one well-known SOP instance of the class (PS3.4 section J.3.5)."""

REQUEST_COMMITMENT: Final = 1
"""Action type of N-ACTION (PS3.4 Table J.3-1)."""
ALL_COMMITTED: Final = 1
FAILURES_EXIST: Final = 2
"""Event types of N-EVENT-REPORT (PS3.4 Table J.3-3)."""

Reference = tuple[str, str]
"""SOP class UID and SOP instance UID."""


def serve(exchange: Exchange) -> None:
    """Answer one N-ACTION-RQ."""
    flaw = _flaw(exchange)
    if flaw is not None:
        exchange.answer(flaw)
        return
    try:
        raw = exchange.data_set(exchange.connection.limits.action_information)
        transaction, items = read_request(
            raw, exchange.context.transfer_syntax, exchange.connection.limits.commitment_references
        )
        rooms, actor = exchange.rooms, exchange.actor
        if rooms.ask(rooms.peers.destination(actor, actor.actor.machine.name)) is None:
            exchange.answer(PROCESSING_FAILURE, ErrorComment="no address to report back to")
            return
        called = exchange.session.request.called_ae
        fresh = rooms.ask(rooms.archive.request_commitment(actor, transaction, items, called))
    except LightwellError as error:
        exchange.fail(error, Service.ACTION)
        return
    if not fresh:
        exchange.answer(DUPLICATE_TRANSACTION_UID, ErrorComment="this transaction UID was used")
        return
    log.info("commitment of %d instances asked for by %s", len(items), actor.actor.machine.name)
    exchange.session.counters.add(commitments_requested=1)
    exchange.answer(SUCCESS)


def _flaw(exchange: Exchange) -> int | None:
    command = exchange.command
    if command.missing() or not command.has_data_set:
        return MISSING_ATTRIBUTE
    if command.RequestedSOPClassUID != PUSH_MODEL:
        return NO_SUCH_SOP_CLASS
    if exchange.context.abstract_syntax != PUSH_MODEL:
        return NO_SUCH_SOP_CLASS
    if command.RequestedSOPInstanceUID != PUSH_MODEL_INSTANCE:
        return NO_SUCH_SOP_INSTANCE
    if command.ActionTypeID != REQUEST_COMMITMENT:
        return NO_SUCH_ACTION_TYPE
    return None


def read_request(raw: bytes, transfer_syntax: str, most: int) -> tuple[str, tuple[Reference, ...]]:
    """Transaction UID and references of an action information (PS3.4 Table J.3-2).

    Raises Invalid when one is missing, is no UID, or there are more than *most*.
    """
    try:
        header = scan_data_set(raw, syntax_of(transfer_syntax))
        transaction = header.text(tags.TransactionUID) or ""
        items = tuple(
            (
                item.text(tags.ReferencedSOPClassUID) or "",
                item.text(tags.ReferencedSOPInstanceUID) or "",
            )
            for item in header.sequence(tags.ReferencedSOPSequence)[: most + 1]
        )
    except DicomError as error:
        raise Invalid("The action information cannot be read.") from error
    if len(items) > most:
        raise Invalid(f"More than {most} instances in one request.", remedy="Split it.")
    uids = (transaction, *(uid for reference in items for uid in reference))
    if not items or not all(map(acceptable_uid, uids)):
        raise Invalid("A UID of the request is missing or is none.")
    return transaction, items


def report(transaction: str, answers: Sequence[Vouched], retrieve_ae: str) -> dict[str, Any]:
    """The event information (PS3.4 Table J.3-4) as DICOM JSON."""
    kept = [_item(answer) for answer in answers if answer.failure is None]
    lost = [_item(answer) for answer in answers if answer.failure is not None]
    information = {
        _key(tags.RetrieveAETitle): _value("AE", retrieve_ae),
        _key(tags.TransactionUID): _value("UI", transaction),
    }
    if kept:
        information[_key(tags.ReferencedSOPSequence)] = {"vr": "SQ", "Value": kept}
    if lost:
        information[_key(tags.FailedSOPSequence)] = {"vr": "SQ", "Value": lost}
    return information


def _item(answer: Vouched) -> dict[str, Any]:
    item = {
        _key(tags.ReferencedSOPClassUID): _value("UI", answer.sop_class),
        _key(tags.ReferencedSOPInstanceUID): _value("UI", answer.sop_uid),
    }
    if answer.failure is not None:
        item[_key(tags.FailureReason)] = _value("US", answer.failure)
    return item


def _key(tag: int) -> str:
    return f"{tag:08X}"


def _value(vr: str, value: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


class CommitmentCourier:
    """Delivers commitment reports; the `work` role calls it for as long as it takes."""

    def __init__(self, limits: DimseLimits | None = None, counters: Counters | None = None) -> None:
        self._limits = limits or DimseLimits()
        self.counters = counters or Counters()

    async def deliver(
        self, peer: Peer, called_aet: str, transaction_uid: str, answers: Sequence[Vouched]
    ) -> bool:
        """Send one report to *peer*, from the title it called; whether it took it.

        Never raises for what the peer or the network does: False means try again later.
        """
        return await asyncio.to_thread(
            self._deliver, peer, called_aet, transaction_uid, tuple(answers)
        )

    def _deliver(
        self, peer: Peer, called_aet: str, transaction: str, answers: tuple[Vouched, ...]
    ) -> bool:
        try:
            connection = associate(
                Called(peer.host, peer.port, peer.aet, called_aet),
                propose_service(PUSH_MODEL),
                self._limits,
                self.counters,
                # In N-EVENT-REPORT the one who reports is the SCP (PS3.4 section J.3.3).
                roles=(RoleSelection(PUSH_MODEL, scu=False, scp=True),),
            )
        except Unreachable as error:
            log.warning("no commitment report to %s: %s", peer.aet, error)
            self.counters.add(reports_failed=1)
            return False
        try:
            status = self._report(connection, called_aet, transaction, answers)
        except Ended as ended:
            log.warning("no commitment report to %s: %s", peer.aet, ended)
            connection.abort()
            self.counters.add(reports_failed=1)
            return False
        taken = status == SUCCESS
        if not taken:
            log.warning("commitment report to %s answered with %04XH", peer.aet, status)
        self.counters.add(reports_delivered=int(taken), reports_failed=int(not taken))
        return taken

    def _report(
        self, connection: Connection, called_aet: str, transaction: str, answers: Sequence[Vouched]
    ) -> int:
        context = connection.association.find_context(PUSH_MODEL)
        if context is None:
            raise Ended(Ending.ABORTED, "storage commitment was not accepted")
        failed = any(answer.failure is not None for answer in answers)
        request = n_event_report_rq(
            1,
            PUSH_MODEL,
            PUSH_MODEL_INSTANCE,
            FAILURES_EXIST if failed else ALL_COMMITTED,
            has_data_set=True,
        )
        information = report(transaction, answers, called_aet)
        body = write_identifier(information, context.transfer_syntax)
        connection.send(context.context_id, request, (body,))
        status = connection.response_to(1, self._limits.response).status
        try:
            connection.release(self._limits.connect)
        except Ended as ended:  # the report has its answer already
            log.info("after a commitment report: %s", ended)
        connection.close(wait_for_peer=False)
        return status
