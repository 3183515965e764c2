"""DIMSE command sets: PS3.7 section 9.3, section 10.3 and Annex E (edition 2026b).

A command set is Implicit VR Little Endian whatever the presentation context says, holds group 0000
only, and is small. One :class:`Command` value serves every message: which fields a message has is a
matter of the standard's tables, which :data:`MANDATORY` repeats and :meth:`Command.missing` checks.

Decoding is strict where the engine depends on it (lengths, command field, message ids, status) and
lenient elsewhere: unknown and retired elements are skipped, the group length is not believed, and a
UID is passed on as sent, so that the gateway can refuse it by status instead of cutting the
association.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct, unpack_from
from types import MappingProxyType
from typing import Any, Final

NO_DATA_SET: Final = 0x0101
"""CommandDataSetType when no data set follows (PS3.7 Annex E); any other value means one does."""

_DATA_SET: Final = 0x0001
_MAX_ELEMENTS: Final = 256

_ELEMENT = Struct("<HHL")
_U16 = Struct("<H")
_U32 = Struct("<L")


class CommandError(ValueError):
    """Bytes that are not a command set, or a command set without what every command needs."""


class CommandField(IntEnum):
    """Values of Command Field (0000,0100): PS3.7 Annex E. A response is its request plus 8000H."""

    C_STORE_RQ = 0x0001
    C_GET_RQ = 0x0010
    C_FIND_RQ = 0x0020
    C_MOVE_RQ = 0x0021
    C_ECHO_RQ = 0x0030
    N_EVENT_REPORT_RQ = 0x0100
    N_GET_RQ = 0x0110
    N_SET_RQ = 0x0120
    N_ACTION_RQ = 0x0130
    N_CREATE_RQ = 0x0140
    N_DELETE_RQ = 0x0150
    C_CANCEL_RQ = 0x0FFF
    C_STORE_RSP = 0x8001
    C_GET_RSP = 0x8010
    C_FIND_RSP = 0x8020
    C_MOVE_RSP = 0x8021
    C_ECHO_RSP = 0x8030
    N_EVENT_REPORT_RSP = 0x8100
    N_GET_RSP = 0x8110
    N_SET_RSP = 0x8120
    N_ACTION_RSP = 0x8130
    N_CREATE_RSP = 0x8140
    N_DELETE_RSP = 0x8150


class Priority(IntEnum):
    """Values of Priority (0000,0700)."""

    MEDIUM = 0
    HIGH = 1
    LOW = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One DIMSE command set.

    Absent text is ``""``, an absent number ``None``, an absent list ``()``. ``has_data_set`` stands
    for CommandDataSetType (0000,0800). After :meth:`decode`, ``MessageID`` (of a request) or
    ``MessageIDBeingRespondedTo`` and ``Status`` (of a response) are never None.
    """

    CommandField: CommandField
    has_data_set: bool = False
    MessageID: int | None = None
    MessageIDBeingRespondedTo: int | None = None
    AffectedSOPClassUID: str = ""
    RequestedSOPClassUID: str = ""
    AffectedSOPInstanceUID: str = ""
    RequestedSOPInstanceUID: str = ""
    Priority: int | None = None
    Status: int | None = None
    MoveDestination: str = ""
    MoveOriginatorApplicationEntityTitle: str = ""
    MoveOriginatorMessageID: int | None = None
    OffendingElement: tuple[int, ...] = ()
    ErrorComment: str = ""
    ErrorID: int | None = None
    EventTypeID: int | None = None
    AttributeIdentifierList: tuple[int, ...] = ()
    ActionTypeID: int | None = None
    NumberOfRemainingSuboperations: int | None = None
    NumberOfCompletedSuboperations: int | None = None
    NumberOfFailedSuboperations: int | None = None
    NumberOfWarningSuboperations: int | None = None

    @property
    def is_response(self) -> bool:
        """Whether this answers a request of ours."""
        return self.CommandField >= 0x8000

    @property
    def message_id(self) -> int:
        """The id of the exchange: of the request itself, or of the request this answers or cancels.

        Raises CommandError for a command that was built without one.
        """
        value = self.MessageID
        if _refers(self.CommandField):
            value = self.MessageIDBeingRespondedTo
        if value is None:
            raise CommandError(f"{self.CommandField.name} has no message id")
        return value

    @property
    def status(self) -> int:
        """The Status (0000,0900) of a response. Raises CommandError if there is none."""
        if self.Status is None:
            raise CommandError(f"{self.CommandField.name} has no status")
        return self.Status

    def missing(self) -> tuple[str, ...]:
        """The mandatory fields of this message that are absent or empty (PS3.7 sections 9.3, 10.3).

        A gateway answers a request with missing fields by status 0120H (missing attribute).
        """
        return tuple(name for name in MANDATORY[self.CommandField] if _absent(getattr(self, name)))

    def encode(self) -> bytes:
        """The command set as bytes, elements ascending, group length first. Raises CommandError."""
        parts = []
        for tag, name, vr in _ELEMENTS:
            if name == "CommandDataSetType":
                value: Any = _DATA_SET if self.has_data_set else NO_DATA_SET
            else:
                value = getattr(self, name)
            if _absent(value):
                continue
            parts.append(_encode_element(tag, vr, name, value))
        body = b"".join(parts)
        return _ELEMENT.pack(0, 0, 4) + _U32.pack(len(body)) + body

    @classmethod
    def decode(cls, raw: bytes | bytearray | memoryview) -> Command:
        """The command set in *raw* (its size is limited by the engine). Raises CommandError."""
        values: dict[str, Any] = {}
        position, end, count = 0, len(raw), 0
        while position < end:
            count += 1
            if count > _MAX_ELEMENTS:
                raise CommandError(f"more than {_MAX_ELEMENTS} elements in a command set")
            if end - position < 8:
                raise CommandError("an element of the command set is cut short")
            group, element, length = _ELEMENT.unpack_from(raw, position)
            position += 8
            if group != 0:
                raise CommandError(f"group {group:04X} in a command set")
            if length > end - position:
                raise CommandError(
                    f"(0000,{element:04X}) claims {length} bytes, {end - position} are there"
                )
            known = _BY_TAG.get(element)
            if known is not None and length:
                name, vr = known
                values[name] = _decode_value(vr, name, raw, position, length)
            position += length
        return _checked(cls, values)


MANDATORY: Final[Mapping[CommandField, tuple[str, ...]]] = MappingProxyType(
    {
        CommandField.C_STORE_RQ: (
            *("MessageID", "AffectedSOPClassUID", "AffectedSOPInstanceUID"),
            "has_data_set",
        ),
        CommandField.C_GET_RQ: ("MessageID", "AffectedSOPClassUID"),
        CommandField.C_FIND_RQ: ("MessageID", "AffectedSOPClassUID"),
        CommandField.C_MOVE_RQ: ("MessageID", "AffectedSOPClassUID", "MoveDestination"),
        CommandField.C_ECHO_RQ: ("MessageID", "AffectedSOPClassUID"),
        CommandField.N_EVENT_REPORT_RQ: (
            *("MessageID", "AffectedSOPClassUID", "AffectedSOPInstanceUID", "EventTypeID"),
        ),
        CommandField.N_GET_RQ: ("MessageID", "RequestedSOPClassUID", "RequestedSOPInstanceUID"),
        CommandField.N_SET_RQ: ("MessageID", "RequestedSOPClassUID", "RequestedSOPInstanceUID"),
        CommandField.N_ACTION_RQ: (
            *("MessageID", "RequestedSOPClassUID", "RequestedSOPInstanceUID", "ActionTypeID"),
        ),
        CommandField.N_CREATE_RQ: ("MessageID", "AffectedSOPClassUID"),
        CommandField.N_DELETE_RQ: ("MessageID", "RequestedSOPClassUID", "RequestedSOPInstanceUID"),
        CommandField.C_CANCEL_RQ: ("MessageIDBeingRespondedTo",),
        **{
            field: ("MessageIDBeingRespondedTo", "Status")
            for field in CommandField
            if field >= 0x8000
        },
    }
)
"""Per message, the fields that must be there whatever the service (PS3.7 Tables 9.3-1 to 10.3-11)."""

# PS3.7 Annex E.1, ascending. "AE" and "UI" are padded; "LO" is at most 64 characters.
_ELEMENTS: Final = (
    (0x0002, "AffectedSOPClassUID", "UI"),
    (0x0003, "RequestedSOPClassUID", "UI"),
    (0x0100, "CommandField", "US"),
    (0x0110, "MessageID", "US"),
    (0x0120, "MessageIDBeingRespondedTo", "US"),
    (0x0600, "MoveDestination", "AE"),
    (0x0700, "Priority", "US"),
    (0x0800, "CommandDataSetType", "US"),
    (0x0900, "Status", "US"),
    (0x0901, "OffendingElement", "AT"),
    (0x0902, "ErrorComment", "LO"),
    (0x0903, "ErrorID", "US"),
    (0x1000, "AffectedSOPInstanceUID", "UI"),
    (0x1001, "RequestedSOPInstanceUID", "UI"),
    (0x1002, "EventTypeID", "US"),
    (0x1005, "AttributeIdentifierList", "AT"),
    (0x1008, "ActionTypeID", "US"),
    (0x1020, "NumberOfRemainingSuboperations", "US"),
    (0x1021, "NumberOfCompletedSuboperations", "US"),
    (0x1022, "NumberOfFailedSuboperations", "US"),
    (0x1023, "NumberOfWarningSuboperations", "US"),
    (0x1030, "MoveOriginatorApplicationEntityTitle", "AE"),
    (0x1031, "MoveOriginatorMessageID", "US"),
)
_BY_TAG: Final = {tag: (name, vr) for tag, name, vr in _ELEMENTS}
_FIELDS: Final = {int(field): field for field in CommandField}


def _absent(value: object) -> bool:
    return value is None or value is False or value in ("", ())


def _refers(field: CommandField) -> bool:
    """Whether a command names another message's id instead of having its own."""
    return field >= 0x8000 or field is CommandField.C_CANCEL_RQ


def _encode_element(tag: int, vr: str, name: str, value: Any) -> bytes:
    if vr == "US":
        if not 0 <= value <= 0xFFFF:
            raise CommandError(f"{name} {value} does not fit 16 bits")
        raw = _U16.pack(value)
    elif vr == "AT":
        raw = b"".join(_U16.pack(tag >> 16) + _U16.pack(tag & 0xFFFF) for tag in value)
    elif vr == "LO":
        raw = value.encode("ascii", "replace")[:64]  # default repertoire: PS3.5 section 6.1.2.1
    else:
        raw = value.encode("latin-1", "replace")
    if len(raw) % 2:
        raw += b"\0" if vr == "UI" else b" "
    return _ELEMENT.pack(0, tag, len(raw)) + raw


def _decode_value(
    vr: str, name: str, raw: bytes | bytearray | memoryview, position: int, length: int
) -> Any:
    if vr == "US":
        if length != 2:
            raise CommandError(f"{name} has {length} bytes where 2 are expected")
        return _U16.unpack_from(raw, position)[0]
    if vr == "AT":
        if length % 4:
            raise CommandError(f"{name} has {length} bytes, not a multiple of 4")
        halves = unpack_from(f"<{length // 2}H", raw, position)
        return tuple(high << 16 | low for high, low in zip(halves[::2], halves[1::2], strict=True))
    text = bytes(raw[position : position + length]).decode("latin-1")
    return text.rstrip("\0 ") if vr == "UI" else text.strip("\0 ")


def _checked(cls: type[Command], values: dict[str, Any]) -> Command:
    """The command, if it has what the engine itself needs to route it."""
    number = values.pop("CommandField", None)
    field = _FIELDS.get(number)
    if field is None:
        shown = "no command field" if number is None else f"the command field {number:04X}H"
        raise CommandError(f"a command set with {shown}")
    kind = values.pop("CommandDataSetType", None)
    if kind is None:
        raise CommandError(f"{field.name} does not say whether a data set follows")
    own = "MessageIDBeingRespondedTo" if _refers(field) else "MessageID"
    if own not in values:
        raise CommandError(f"{field.name} has no {own}")
    if field >= 0x8000 and "Status" not in values:
        raise CommandError(f"{field.name} has no Status")
    return cls(CommandField=field, has_data_set=kind != NO_DATA_SET, **values)


def response(request: Command, status: int, *, has_data_set: bool = False, **more: Any) -> Command:
    """The response to *request*, echoing its ids and UIDs; *more* are fields of :class:`Command`.

    The affected UIDs of an N- service's response name what the request called requested (PS3.7
    section 10.3). Raises CommandError for a message that has no response.
    """
    field = _FIELDS.get(request.CommandField | 0x8000)
    if request.is_response or field is None:
        raise CommandError(f"{request.CommandField.name} is not answered")
    fields: dict[str, Any] = {
        "AffectedSOPClassUID": request.AffectedSOPClassUID or request.RequestedSOPClassUID,
        "AffectedSOPInstanceUID": (
            request.AffectedSOPInstanceUID or request.RequestedSOPInstanceUID
        ),
        "EventTypeID": request.EventTypeID,
        "ActionTypeID": request.ActionTypeID,
    }
    return Command(
        CommandField=field,
        MessageIDBeingRespondedTo=request.message_id,
        Status=status,
        has_data_set=has_data_set,
        **(fields | more),
    )


def c_echo_rq(message_id: int) -> Command:
    """C-ECHO-RQ for Verification (PS3.7 section 9.3.5.1)."""
    return Command(
        CommandField=CommandField.C_ECHO_RQ,
        MessageID=message_id,
        AffectedSOPClassUID="1.2.840.10008.1.1",
    )


def c_store_rq(
    message_id: int,
    sop_class: str,
    sop_instance: str,
    *,
    priority: int = Priority.MEDIUM,
    move_originator: str = "",
    move_originator_id: int | None = None,
) -> Command:
    """C-STORE-RQ (PS3.7 section 9.3.1.1); the originator fields are for C-MOVE sub-operations."""
    return Command(
        CommandField=CommandField.C_STORE_RQ,
        has_data_set=True,
        MessageID=message_id,
        AffectedSOPClassUID=sop_class,
        AffectedSOPInstanceUID=sop_instance,
        Priority=priority,
        MoveOriginatorApplicationEntityTitle=move_originator,
        MoveOriginatorMessageID=move_originator_id,
    )


def _with_identifier(
    field: CommandField, message_id: int, sop_class: str, priority: int, destination: str = ""
) -> Command:
    return Command(
        CommandField=field,
        has_data_set=True,
        MessageID=message_id,
        AffectedSOPClassUID=sop_class,
        MoveDestination=destination,
        Priority=priority,
    )


def c_find_rq(message_id: int, sop_class: str, *, priority: int = Priority.MEDIUM) -> Command:
    """C-FIND-RQ (PS3.7 section 9.3.2.1); the identifier follows as its data set."""
    return _with_identifier(CommandField.C_FIND_RQ, message_id, sop_class, priority)


def c_get_rq(message_id: int, sop_class: str, *, priority: int = Priority.MEDIUM) -> Command:
    """C-GET-RQ (PS3.7 section 9.3.3.1); the identifier follows as its data set."""
    return _with_identifier(CommandField.C_GET_RQ, message_id, sop_class, priority)


def c_move_rq(
    message_id: int, sop_class: str, destination: str, *, priority: int = Priority.MEDIUM
) -> Command:
    """C-MOVE-RQ (PS3.7 section 9.3.4.1); the identifier follows as its data set."""
    return _with_identifier(CommandField.C_MOVE_RQ, message_id, sop_class, priority, destination)


def c_cancel_rq(message_id: int) -> Command:
    """C-CANCEL-RQ for the C-FIND, C-GET or C-MOVE with that message id (PS3.7 section 9.3.2.3)."""
    return Command(CommandField=CommandField.C_CANCEL_RQ, MessageIDBeingRespondedTo=message_id)


def n_action_rq(
    message_id: int, sop_class: str, sop_instance: str, action_type: int, *, has_data_set: bool
) -> Command:
    """N-ACTION-RQ (PS3.7 section 10.3.4.1); the action information is its data set."""
    return Command(
        CommandField=CommandField.N_ACTION_RQ,
        has_data_set=has_data_set,
        MessageID=message_id,
        RequestedSOPClassUID=sop_class,
        RequestedSOPInstanceUID=sop_instance,
        ActionTypeID=action_type,
    )


def n_event_report_rq(
    message_id: int, sop_class: str, sop_instance: str, event_type: int, *, has_data_set: bool
) -> Command:
    """N-EVENT-REPORT-RQ (PS3.7 section 10.3.1.1); the event information is its data set."""
    return Command(
        CommandField=CommandField.N_EVENT_REPORT_RQ,
        has_data_set=has_data_set,
        MessageID=message_id,
        AffectedSOPClassUID=sop_class,
        AffectedSOPInstanceUID=sop_instance,
        EventTypeID=event_type,
    )
