"""The DICOM upper layer state machine: PS3.8 section 9.2, Table 9-10, as one table (edition 2026b).

Theory
------
One association is one TCP connection. Both ends run the same machine; they differ only in how they
enter it: the requestor by Evt1 (its user asks) and Evt2 (TCP connected), the acceptor by Evt5 (TCP
connection arrived).

Three things drive it: the local user (Evt1, 7, 8, 9, 11, 14, 15), the peer's PDUs (Evt3, 4, 6, 10,
12, 13, 16 and Evt19 for whatever is not a PDU), and the transport or the clock (Evt2, 5, 17, 18).
The standard names each reaction (AE = establish, DT = data, AR = release, AA = abort) and says what
it does to the ARTIM timer and to the transport; both are recorded here on the :class:`Action`, so
that the engine needs no second list of exceptions.

An association ends in two ways that are easily confused. In **Sta1** we close the transport
ourselves. In **Sta13** we have said our last word and wait for the *peer* to close, no longer than
ARTIM allows, ignoring what it still says.

Cells that are empty in Table 9-10 hold :data:`IMPOSSIBLE` here, so the table is total: an empty cell
reached from the local side is our own bug and must raise, never be ignored.
"""

# ruff: noqa: E501 (the table is as wide as the standard's, and wrapped it cannot be read)
from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final


class State(IntEnum):
    """Sta1 to Sta13 (PS3.8 Tables 9-1 to 9-5)."""

    Sta1 = 1  # Idle
    Sta2 = 2  # Transport connection open, awaiting A-ASSOCIATE-RQ
    Sta3 = 3  # Awaiting the local user's answer to A-ASSOCIATE-RQ
    Sta4 = 4  # Awaiting transport connection opening
    Sta5 = 5  # Awaiting A-ASSOCIATE-AC or -RJ
    Sta6 = 6  # Association established, ready for data transfer
    Sta7 = 7  # Awaiting A-RELEASE-RP
    Sta8 = 8  # Awaiting the local user's A-RELEASE response
    Sta9 = 9  # Release collision, requestor: awaiting the local user's A-RELEASE response
    Sta10 = 10  # Release collision, acceptor: awaiting A-RELEASE-RP
    Sta11 = 11  # Release collision, requestor: awaiting A-RELEASE-RP
    Sta12 = 12  # Release collision, acceptor: awaiting the local user's A-RELEASE response
    Sta13 = 13  # Awaiting transport connection close: the association no longer exists


class Evt(IntEnum):
    """Evt1 to Evt19 (first column of PS3.8 Table 9-10)."""

    AssociateRequest = 1
    TransportConfirmed = 2
    AssociateACReceived = 3
    AssociateRJReceived = 4
    TransportIndicated = 5
    AssociateRQReceived = 6
    AssociateAccept = 7
    AssociateReject = 8
    DataRequest = 9
    DataReceived = 10
    ReleaseRequest = 11
    ReleaseRQReceived = 12
    ReleaseRPReceived = 13
    ReleaseResponse = 14
    AbortRequest = 15
    AbortReceived = 16
    TransportClosed = 17
    ArtimExpired = 18
    InvalidPDU = 19


class Artim(Enum):
    """What an action does to the Association Request/Reject/Release timer."""

    LEAVE = "leave"
    START = "start"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Action:
    """One action of PS3.8 Tables 9-6 to 9-9: its name, and its effect on timer and transport."""

    name: str
    meaning: str
    artim: Artim = Artim.LEAVE
    closes: bool = False  # the action itself ends with closing the transport connection


@dataclass(frozen=True, slots=True)
class Transition:
    """A cell: the action and the state after it.

    ``then`` has two members only where the standard leaves the choice to the action: AE-6 (Sta3 if
    the request is acceptable to the service provider, else Sta13) and AR-8 (Sta9 for the requestor
    of the association, Sta10 for its acceptor).
    """

    action: Action
    then: tuple[State, ...]


_START, _STOP = Artim.START, Artim.STOP

AE1: Final = Action("AE-1", "issue TRANSPORT CONNECT request")
AE2: Final = Action("AE-2", "send A-ASSOCIATE-RQ")
AE3: Final = Action("AE-3", "issue A-ASSOCIATE confirmation (accept)")
AE4: Final = Action("AE-4", "issue A-ASSOCIATE confirmation (reject)", closes=True)
AE5: Final = Action("AE-5", "issue TRANSPORT CONNECTION response", _START)
AE6: Final = Action("AE-6", "issue A-ASSOCIATE indication, or send A-ASSOCIATE-RJ", _STOP)
AE7: Final = Action("AE-7", "send A-ASSOCIATE-AC")
AE8: Final = Action("AE-8", "send A-ASSOCIATE-RJ", _START)
DT1: Final = Action("DT-1", "send P-DATA-TF")
DT2: Final = Action("DT-2", "issue P-DATA indication")
AR1: Final = Action("AR-1", "send A-RELEASE-RQ")
AR2: Final = Action("AR-2", "issue A-RELEASE indication")
AR3: Final = Action("AR-3", "issue A-RELEASE confirmation", closes=True)
AR4: Final = Action("AR-4", "send A-RELEASE-RP", _START)
AR5: Final = Action("AR-5", "note the end of the transport", _STOP)
AR6: Final = Action("AR-6", "issue P-DATA indication")
AR7: Final = Action("AR-7", "send P-DATA-TF")
AR8: Final = Action("AR-8", "issue A-RELEASE indication (release collision)")
AR9: Final = Action("AR-9", "send A-RELEASE-RP")
AR10: Final = Action("AR-10", "issue A-RELEASE confirmation")
AA1: Final = Action("AA-1", "send A-ABORT (service-user source)", _START)
AA2: Final = Action("AA-2", "close the transport", _STOP, closes=True)
AA3: Final = Action("AA-3", "issue A-ABORT or A-P-ABORT indication", closes=True)
AA4: Final = Action("AA-4", "issue A-P-ABORT indication")
AA5: Final = Action("AA-5", "note the end of the transport", _STOP)
AA6: Final = Action("AA-6", "ignore the PDU")
AA7: Final = Action("AA-7", "send A-ABORT")
AA8: Final = Action(
    "AA-8", "send A-ABORT (service-provider source), issue A-P-ABORT indication", _START
)

IMPOSSIBLE: Final = Transition(Action("--", "empty cell of Table 9-10: cannot happen"), ())


def _row(cells: str) -> tuple[Transition, ...]:
    """One row of Table 9-10, Sta1 to Sta13: ``action>state`` or ``-`` for an empty cell."""
    row = []
    for cell in cells.split():
        if cell == "-":
            row.append(IMPOSSIBLE)
            continue
        name, _, states = ("AA-8>13" if cell == "8" else cell).partition(">")
        then = tuple(State(int(number)) for number in states.split("/"))
        row.append(Transition(_ACTIONS[name], then))
    return tuple(row)


_ACTIONS: Final = {
    action.name: action
    for action in (
        *(AE1, AE2, AE3, AE4, AE5, AE6, AE7, AE8, DT1, DT2),
        *(AR1, AR2, AR3, AR4, AR5, AR6, AR7, AR8, AR9, AR10),
        *(AA1, AA2, AA3, AA4, AA5, AA6, AA7, AA8),
    )
}

# fmt: off
# One line an event, one column a state. "8" below stands for the cell AA-8>13, the answer to every
# PDU that comes at the wrong moment; spelling it out seventy times would hide the cells that differ.
_TABLE: Final[dict[Evt, str]] = {
    #                             Sta1    Sta2      Sta3    Sta4    Sta5    Sta6    Sta7      Sta8    Sta9    Sta10    Sta11  Sta12   Sta13
    Evt.AssociateRequest:    "    AE-1>4  -         -       -       -       -       -         -       -       -        -      -       -       ",
    Evt.TransportConfirmed:  "    -       -         -       AE-2>5  -       -       -         -       -       -        -      -       -       ",
    Evt.AssociateACReceived: "    -       AA-1>13   8       -       AE-3>6  8       8         8       8       8        8      8       AA-6>13 ",
    Evt.AssociateRJReceived: "    -       AA-1>13   8       -       AE-4>1  8       8         8       8       8        8      8       AA-6>13 ",
    Evt.TransportIndicated:  "    AE-5>2  -         -       -       -       -       -         -       -       -        -      -       -       ",
    Evt.AssociateRQReceived: "    -       AE-6>3/13 8       -       8       8       8         8       8       8        8      8       AA-7>13 ",
    Evt.AssociateAccept:     "    -       -         AE-7>6  -       -       -       -         -       -       -        -      -       -       ",
    Evt.AssociateReject:     "    -       -         AE-8>13 -       -       -       -         -       -       -        -      -       -       ",
    Evt.DataRequest:         "    -       -         -       -       -       DT-1>6  -         AR-7>8  -       -        -      -       -       ",
    Evt.DataReceived:        "    -       AA-1>13   8       -       8       DT-2>6  AR-6>7    8       8       8        8      8       AA-6>13 ",
    Evt.ReleaseRequest:      "    -       -         -       -       -       AR-1>7  -         -       -       -        -      -       -       ",
    Evt.ReleaseRQReceived:   "    -       AA-1>13   8       -       8       AR-2>8  AR-8>9/10 8       8       8        8      8       AA-6>13 ",
    Evt.ReleaseRPReceived:   "    -       AA-1>13   8       -       8       8       AR-3>1    8       8       AR-10>12 AR-3>1 8       AA-6>13 ",
    Evt.ReleaseResponse:     "    -       -         -       -       -       -       -         AR-4>13 AR-9>11 -        -      AR-4>13 -       ",
    Evt.AbortRequest:        "    -       -         AA-1>13 AA-2>1  AA-1>13 AA-1>13 AA-1>13   AA-1>13 AA-1>13 AA-1>13  AA-1>13 AA-1>13 -      ",
    Evt.AbortReceived:       "    -       AA-2>1    AA-3>1  -       AA-3>1  AA-3>1  AA-3>1    AA-3>1  AA-3>1  AA-3>1   AA-3>1 AA-3>1  AA-2>1  ",
    Evt.TransportClosed:     "    -       AA-5>1    AA-4>1  AA-4>1  AA-4>1  AA-4>1  AA-4>1    AA-4>1  AA-4>1  AA-4>1   AA-4>1 AA-4>1  AR-5>1  ",
    Evt.ArtimExpired:        "    -       AA-2>1    -       -       -       -       -         -       -       -        -      -       AA-2>1  ",
    Evt.InvalidPDU:          "    -       AA-1>13   8       -       8       8       8         8       8       8        8      8       AA-7>13 ",
}
# fmt: on

TABLE: Final[dict[tuple[State, Evt], Transition]] = {
    (state, event): transition
    for event, cells in _TABLE.items()
    for state, transition in zip(State, _row(cells), strict=True)
}


def transition(state: State, event: Evt) -> Transition:
    """The cell for *event* in *state*; :data:`IMPOSSIBLE` where the standard leaves it empty."""
    return TABLE[state, event]
