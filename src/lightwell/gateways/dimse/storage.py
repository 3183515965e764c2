"""Storage SCP: C-STORE (PS3.4 Annex B), from the receive buffer into the archive's staging.

The data set goes on as it comes, view by view, unchanged; nothing here reads it. 0000 is sent only
through the archive's acknowledgement, and never before the bytes and the row are durable. When the
archive cannot take an object, the rest of its data set is received and dropped, so that the peer gets
its status and the association stays.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from lightwell.dicom.uids import acceptable_uid
from lightwell.domain.archive.model import Announced, Verdict
from lightwell.gateways.dimse.exchange import Exchange
from lightwell.gateways.dimse.status import Service, of_verdict, out_of_time
from lightwell.kernel.crashpoints import reach
from lightwell.kernel.errors import LightwellError
from lightwell.wire.dimse.commands import Command
from lightwell.wire.dimse.status import (
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
    INVALID_OBJECT_INSTANCE,
    MISSING_ATTRIBUTE,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
)
from lightwell.wire.dimse.syntaxes import is_storage

PERMISSION_SECONDS = 1.0
"""How long a permission to store is taken as given. It is asked for again with every commit."""


@dataclass(frozen=True, slots=True)
class _Flawed:
    """A request that can be answered without its data set."""

    status: int
    why: str


def serve(exchange: Exchange) -> None:
    """Answer one C-STORE-RQ."""
    flaw = _flaw(exchange.command, exchange.context.abstract_syntax)
    counters = exchange.session.counters
    if flaw is not None:
        counters.add(store_failures=1)
        exchange.answer(flaw.status, ErrorComment=flaw.why)
        return
    try:
        verdict = _receive(exchange)
        status = of_verdict(verdict)
    except LightwellError as error:
        counters.add(store_failures=1)
        exchange.fail(error, Service.STORE)
    except TimeoutError:
        counters.add(store_failures=1)
        exchange.fail(out_of_time("Making the object durable"), Service.STORE)
    else:
        stored = status == SUCCESS
        counters.add(stored=int(stored), store_failures=int(not stored))
        if stored:
            reach("k7")
            exchange.answer(status)
        else:
            exchange.answer(status, ErrorComment=verdict.outcome.value)


def _flaw(command: Command, abstract_syntax: str) -> _Flawed | None:
    """What is wrong with the command itself."""
    if missing := command.missing():
        return _Flawed(MISSING_ATTRIBUTE, f"{missing[0]} is missing")
    if not is_storage(abstract_syntax):
        return _Flawed(SOP_CLASS_NOT_SUPPORTED, "not a storage class")
    if command.AffectedSOPClassUID != abstract_syntax:
        return _Flawed(DATA_SET_DOES_NOT_MATCH_SOP_CLASS, "not the SOP class of the context")
    if not acceptable_uid(command.AffectedSOPInstanceUID):
        return _Flawed(INVALID_OBJECT_INSTANCE, "the SOP Instance UID is none")
    return None


def _receive(exchange: Exchange) -> Verdict:
    """Stage the data set and have it kept. Raises LightwellError, TimeoutError, Ended."""
    _ask_permission(exchange)
    rooms, command = exchange.rooms, exchange.command
    request = exchange.session.request
    writer = rooms.archive.stage(
        exchange.actor,
        Announced(
            sop_class=command.AffectedSOPClassUID,
            sop_uid=command.AffectedSOPInstanceUID,
            syntax=exchange.context.transfer_syntax,
            source=request.calling_ae,
            called=request.called_ae,
        ),
    )
    try:
        for view in exchange.connection.fragments():
            writer.write(view)
        exchange.session.still_named()  # receiving may have taken long
    except BaseException:
        writer.discard()
        raise
    exchange.session.counters.add(bytes_received=writer.length)
    return rooms.archive.store_from_thread(exchange.actor, writer, rooms.loop)


def _ask_permission(exchange: Exchange) -> None:
    session = exchange.session
    now = time.monotonic()
    if now >= session.may_store_until:
        session.rooms.ask(session.rooms.archive.may_store(session.actor))
        session.may_store_until = now + PERMISSION_SECONDS
