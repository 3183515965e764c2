"""What the engine tells its driver: the indications and confirmations of PS3.8 and DIMSE messages."""

from __future__ import annotations

from dataclasses import dataclass

from lightwell.wire.dimse.commands import Command
from lightwell.wire.dimse.pdu import AssociateAC, AssociateRJ, AssociateRQ


@dataclass(frozen=True, slots=True)
class AssociateRequested:
    """A peer asks for an association: answer with ``accept``, ``reject`` or ``abort``."""

    request: AssociateRQ


@dataclass(frozen=True, slots=True)
class AssociateRefused:
    """The engine itself rejected a request no AE can take; the rejection waits to be sent."""

    request: AssociateRQ
    rejection: AssociateRJ


@dataclass(frozen=True, slots=True)
class AssociateAccepted:
    """The peer accepted our request; see ``Association.contexts`` for what may be used."""

    answer: AssociateAC


@dataclass(frozen=True, slots=True)
class AssociateRejected:
    """The peer rejected our request."""

    rejection: AssociateRJ


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A whole command set. If it ``has_data_set``, its fragments follow, and nothing else before."""

    context_id: int
    command: Command


@dataclass(slots=True)
class DataFragment:
    """A piece of the data set of the last command.

    ``view`` is a window on the buffer given to ``receive_data`` and is valid until the next call;
    it may be empty only when ``last`` is true. (Not frozen: it is made once a network read, and
    freezing costs more than all else there.)
    """

    context_id: int
    view: memoryview
    last: bool


@dataclass(frozen=True, slots=True)
class ReleaseRequested:
    """The peer wants to end in order: finish, then ``confirm_release``."""


@dataclass(frozen=True, slots=True)
class Released:
    """The association ended in order."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """The peer aborted (PS3.8 Table 9-26: source 0 its user, 2 its provider)."""

    source: int
    reason: int


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """The transport closed while an association existed or was being made."""


@dataclass(frozen=True, slots=True)
class ProtocolError:
    """The peer broke the protocol; an A-ABORT with this source and reason waits to be sent.

    Everything it sends from here on is discarded unread.
    """

    message: str
    source: int
    reason: int


Event = (
    AssociateRequested
    | AssociateRefused
    | AssociateAccepted
    | AssociateRejected
    | CommandReceived
    | DataFragment
    | ReleaseRequested
    | Released
    | Aborted
    | ConnectionLost
    | ProtocolError
)
