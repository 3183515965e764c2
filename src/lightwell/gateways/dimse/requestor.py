"""Associations that we ask for: to send objects and reports."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

from lightwell.gateways.dimse.connection import Connection, Ended
from lightwell.gateways.dimse.counters import Counters
from lightwell.gateways.dimse.limits import DimseLimits
from lightwell.gateways.dimse.transport import Transport
from lightwell.wire.dimse.association import Association, Role
from lightwell.wire.dimse.events import AssociateAccepted, AssociateRejected
from lightwell.wire.dimse.items import RoleSelection, UserInformation
from lightwell.wire.dimse.pdu import AssociateRQ, PresentationContext


class Unreachable(Exception):
    """The peer could not be connected to, or did not accept the association."""


@dataclass(frozen=True, slots=True)
class Called:
    """Whom to call, where, and as whom."""

    host: str
    port: int
    called_ae: str
    calling_ae: str


def associate(
    called: Called,
    contexts: tuple[PresentationContext, ...],
    limits: DimseLimits,
    counters: Counters,
    roles: Iterable[RoleSelection] = (),
) -> Connection:
    """An established association. Raises Unreachable; every step has a deadline."""
    try:
        raw = socket.create_connection((called.host, called.port), limits.connect)
    except OSError as error:
        raise Unreachable(f"no connection: {type(error).__name__}") from error
    association = Association(Role.REQUESTOR, limits=limits.engine)
    connection = Connection(Transport(raw), association, limits, counters, limits.lobby_buffer)
    try:
        information = UserInformation(max_length=limits.max_pdu, roles=tuple(roles))
        association.request(AssociateRQ(called.called_ae, called.calling_ae, contexts, information))
        connection.flush()
        event = connection.event_by(time.monotonic() + limits.artim)
    except Ended as ended:
        connection.close(wait_for_peer=False)
        raise Unreachable(str(ended)) from ended
    if isinstance(event, AssociateAccepted):
        return connection
    connection.close(wait_for_peer=False)
    if isinstance(event, AssociateRejected):
        answer = event.rejection
        raise Unreachable(f"rejected ({answer.result}/{answer.source}/{answer.reason})")
    raise Unreachable(f"no association: {type(event).__name__}")
