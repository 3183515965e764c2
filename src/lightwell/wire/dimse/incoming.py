"""What the peer sends, put together again: PDUs from pieces, messages from PDVs (PS3.8 9.3, Annex E).

A P-DATA-TF PDU is never gathered: data set bytes go on as views of the caller's buffer in the call
that brought them. Held are only: a header cut in two (at most 6 bytes), one control PDU in the state
that expects it (its declared length is compared with :class:`Limits` before the first byte is kept),
and one command set. So a 4 GiB length costs six bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final, Protocol

from lightwell.wire.dimse import pdu as pdus
from lightwell.wire.dimse.commands import Command
from lightwell.wire.dimse.contexts import AcceptedContext
from lightwell.wire.dimse.events import CommandReceived, DataFragment, Event
from lightwell.wire.dimse.framing import IS_COMMAND, IS_LAST
from lightwell.wire.dimse.pdu import PDU, AbortReason, Limits
from lightwell.wire.dimse.states import State

_MAX_PDU_SLACK: Final = 6  # some senders count the PDU header into, or out of, the maximum
_HEADER: Final = 6  # of a PDU; the header of a PDV inside has the same length

_PDU_HEADER = Struct(">BxL")
_PDV_HEADER = Struct(">LBB")


class Violation(Exception):
    """The peer broke the protocol; the association turns it into an abort."""

    def __init__(self, message: str, reason: int) -> None:
        super().__init__(message)
        self.reason = reason


class Reading(Protocol):
    """The association that is read for."""

    state: State
    max_pdu: int
    contexts: dict[int, AcceptedContext]

    def due(self, kind: int, length: int) -> bool:
        """Whether to gather this control PDU, or to skip it. Raises Violation."""

    def received(self, pdu: PDU, events: list[Event]) -> None:
        """Act on a whole control PDU that was due."""


class Reader:
    """Reads for one association. It keeps the order of fragments and messages; when which PDU is due
    is for the association to say."""

    def __init__(self, of: Reading, limits: Limits) -> None:
        self._of = of
        self._limits = limits
        self._stopped = False
        self._read: Callable[[memoryview, int, int, list[Event]], int] = self._read_pdu_header
        self._held = bytearray()  # of a header cut in two
        self._body = bytearray()  # of a control PDU
        self._body_type = 0
        self._left = 0  # bytes missing to the body, or to the PDU being skipped
        self._pdu_left = 0  # bytes of the P-DATA-TF behind the current fragment
        self._fragment_left = 0
        self._fragment_is_last = False
        self._context_id = 0
        self._command = bytearray()
        self._command_context = 0  # of the command being gathered; 0 for none
        self._data_context = 0  # of the data set being received; 0 for none

    @property
    def inside_message(self) -> bool:
        """Whether a command or a data set has begun and not ended."""
        return bool(self._data_context or self._command_context)

    def stop(self) -> None:
        """Read nothing any more, not even the rest of what is being read now."""
        self._stopped = True
        self._body.clear()
        self._command.clear()

    def read(self, view: memoryview, events: list[Event]) -> None:
        """Append what is in *view* to *events*. Raises Violation, PDUError, CommandError."""
        position, end = 0, len(view)
        while position < end and not self._stopped:  # the hot loop
            position = self._read(view, position, end, events)

    # The readers: each consumes some of view[position:end], appends events, says where it stopped
    # and which reader is next. The three of P-DATA-TF are the hot path: one pass of each a PDV.

    def _read_pdu_header(
        self, view: memoryview, position: int, end: int, events: list[Event]
    ) -> int:
        if self._held or end - position < _HEADER:
            position = self._hold(view, position, end)
            if len(self._held) < _HEADER:
                return position
            kind, length = _PDU_HEADER.unpack(self._held)
            self._held.clear()
        else:
            kind, length = _PDU_HEADER.unpack_from(view, position)
            position += _HEADER
        if kind == pdus.TYPE_P_DATA_TF and self._of.state in (State.Sta6, State.Sta7):
            if self._of.max_pdu and length > self._of.max_pdu + _MAX_PDU_SLACK:
                raise Violation(
                    f"a P-DATA-TF of {length} bytes, {self._of.max_pdu} were announced",
                    AbortReason.INVALID_PDU_PARAMETER,
                )
            if length < _HEADER:
                raise Violation("an empty P-DATA-TF", AbortReason.INVALID_PDU_PARAMETER)
            self._pdu_left = length
            self._read = self._read_pdv_header
            return position
        self._left = length
        if self._of.due(kind, length):
            self._body_type = kind
            self._read = self._read_body
        else:
            self._read = self._skip
        return position

    def _read_pdv_header(
        self, view: memoryview, position: int, end: int, events: list[Event]
    ) -> int:
        if self._held or end - position < _HEADER:
            position = self._hold(view, position, end)
            if len(self._held) < _HEADER:
                return position
            length, context_id, control = _PDV_HEADER.unpack(self._held)
            self._held.clear()
        else:
            length, context_id, control = _PDV_HEADER.unpack_from(view, position)
            position += _HEADER
        rest = self._pdu_left - 4 - length
        if length < 2 or rest < 0 or 0 < rest < _HEADER:
            raise Violation(
                f"a presentation data value of {length} bytes in {self._pdu_left} left of its PDU",
                AbortReason.INVALID_PDU_PARAMETER,
            )
        self._pdu_left = rest
        self._fragment_left = length - 2
        self._fragment_is_last = bool(control & IS_LAST)
        self._context_id = context_id
        if control & IS_COMMAND:
            self._begin_command_fragment(context_id, length - 2)
            self._read = self._read_command
        elif context_id == self._data_context:
            self._read = self._read_data
        else:
            raise Violation(
                f"data on context {context_id} where none is due",
                AbortReason.UNEXPECTED_PDU_PARAMETER,
            )
        if length == 2:  # an empty fragment, allowed as the last one: no bytes will call its reader
            self._read(view, position, position, events)
        return position

    def _read_data(self, view: memoryview, position: int, end: int, events: list[Event]) -> int:
        stop = position + self._fragment_left
        if stop > end:
            self._fragment_left = stop - end
            events.append(DataFragment(self._context_id, view[position:end], last=False))
            return end
        last = self._fragment_is_last
        if last:
            self._data_context = 0
        if last or stop > position:
            events.append(DataFragment(self._context_id, view[position:stop], last))
        self._read = self._read_pdv_header if self._pdu_left else self._read_pdu_header
        return stop

    def _read_command(self, view: memoryview, position: int, end: int, events: list[Event]) -> int:
        stop = min(position + self._fragment_left, end)
        self._command += view[position:stop]
        self._fragment_left -= stop - position
        if self._fragment_left:
            return stop
        self._read = self._read_pdv_header if self._pdu_left else self._read_pdu_header
        if self._fragment_is_last:
            command = Command.decode(self._command)
            self._command.clear()
            self._command_context = 0
            self._data_context = self._context_id if command.has_data_set else 0
            events.append(CommandReceived(self._context_id, command))
        return stop

    def _read_body(self, view: memoryview, position: int, end: int, events: list[Event]) -> int:
        stop = min(position + self._left, end)
        self._body += view[position:stop]
        self._left -= stop - position
        if self._left == 0:
            self._read = self._read_pdu_header
            pdu = pdus.decode(self._body_type, bytes(self._body), self._limits)
            self._body.clear()
            self._of.received(pdu, events)
        return stop

    def _skip(self, _view: memoryview, position: int, end: int, _events: list[Event]) -> int:
        stop = min(position + self._left, end)
        self._left -= stop - position
        if self._left == 0:
            self._read = self._read_pdu_header
        return stop

    def _hold(self, view: memoryview, position: int, end: int) -> int:
        """Keep the part of a header that is there; returns where it ended."""
        stop = min(position + _HEADER - len(self._held), end)
        self._held += view[position:stop]
        return stop

    def _begin_command_fragment(self, context_id: int, length: int) -> None:
        if self._data_context:
            raise Violation(
                f"a command on context {context_id} inside the data set of {self._data_context}",
                AbortReason.UNEXPECTED_PDU_PARAMETER,
            )
        if context_id not in self._of.contexts:
            raise Violation(
                f"a command on context {context_id}, which was not accepted",
                AbortReason.INVALID_PDU_PARAMETER,
            )
        if self._command_context not in (0, context_id):
            raise Violation(
                f"commands on contexts {self._command_context} and {context_id} are mixed",
                AbortReason.UNEXPECTED_PDU_PARAMETER,
            )
        if len(self._command) + length > self._limits.command_bytes:
            raise Violation(
                f"a command set of more than {self._limits.command_bytes} bytes",
                AbortReason.INVALID_PDU_PARAMETER,
            )
        self._command_context = context_id
