"""Verification SCP: C-ECHO (PS3.4 Annex A)."""

from __future__ import annotations

from lightwell.gateways.dimse.exchange import Exchange
from lightwell.gateways.dimse.status import Service
from lightwell.kernel.errors import LightwellError
from lightwell.wire.dimse.status import SUCCESS


def serve(exchange: Exchange) -> None:
    """Answer one C-ECHO-RQ; the room keeps the record."""
    try:
        exchange.rooms.ask(exchange.rooms.peers.echo(exchange.actor))
    except LightwellError as error:
        exchange.fail(error, Service.OTHER)
    else:
        exchange.session.counters.add(echoes=1)
        exchange.answer(SUCCESS)
