"""The seven PDUs of the DICOM upper layer, as values and as bytes (PS3.8 section 9.3, 2026b).

``encode`` and ``decode`` are inverse for all PDUs but P-DATA-TF, which has no value form: its
contents stream through :mod:`~lightwell.wire.dimse.association` without being gathered. Decoding
checks every length, every count against :class:`Limits`, and every identifier; what breaks a rule
raises :class:`PDUError`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from lightwell.wire.dimse.items import (
    APPLICATION_CONTEXT,
    PDUError,
    UserInformation,
    decode_user_information,
    encode_user_information,
    item,
    uid,
    walk,
)

__all__ = [
    "PDU",
    "Abort",
    "AssociateAC",
    "AssociateRJ",
    "AssociateRQ",
    "ContextAnswer",
    "Limits",
    "PDUError",
    "PresentationContext",
    "ReleaseRP",
    "ReleaseRQ",
    "decode",
    "encode",
]

TYPE_ASSOCIATE_RQ: Final = 0x01
TYPE_ASSOCIATE_AC: Final = 0x02
TYPE_ASSOCIATE_RJ: Final = 0x03
TYPE_P_DATA_TF: Final = 0x04
TYPE_RELEASE_RQ: Final = 0x05
TYPE_RELEASE_RP: Final = 0x06
TYPE_ABORT: Final = 0x07

_PDU = Struct(">BxL")
_ASSOCIATE = Struct(">HH16s16s32s")
_LAST_THREE = Struct(">xBBB")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may make us hold or work through (reliability 3.11). Sizes in bytes.

    ``min_peer_pdu`` guards the other direction: a peer that announces a maximum of a few bytes would
    turn each object it asks for into hundreds of thousands of PDUs.
    """

    associate_bytes: int = 1 << 20
    contexts: int = 128
    syntaxes_per_context: int = 64
    command_bytes: int = 64 << 10
    min_peer_pdu: int = 128


@dataclass(frozen=True, slots=True)
class PresentationContext:
    """One proposed context: an odd id of 1..255, an abstract syntax, the syntaxes it may use."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContextAnswer:
    """The answer to one proposed context (PS3.8 Table 9-18).

    ``result``: 0 acceptance, 1 user rejection, 2 no reason (provider rejection), 3 abstract syntax
    not supported, 4 transfer syntaxes not supported. ``transfer_syntax`` has meaning only for 0.
    """

    context_id: int
    result: int
    transfer_syntax: str = ""


@dataclass(frozen=True, slots=True)
class AssociateRQ:
    """A-ASSOCIATE-RQ (PS3.8 Table 9-11). AE titles come without their padding."""

    called_ae: str
    calling_ae: str
    contexts: tuple[PresentationContext, ...]
    user_information: UserInformation = field(default_factory=UserInformation)
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateAC:
    """A-ASSOCIATE-AC (PS3.8 Table 9-17). Its AE titles only echo the request: never test them."""

    called_ae: str
    calling_ae: str
    contexts: tuple[ContextAnswer, ...]
    user_information: UserInformation = field(default_factory=UserInformation)
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateRJ:
    """A-ASSOCIATE-RJ (PS3.8 Table 9-21): result 1 permanent, 2 transient; source and reason."""

    result: int
    source: int
    reason: int


@dataclass(frozen=True, slots=True)
class ReleaseRQ:
    """A-RELEASE-RQ (PS3.8 Table 9-24)."""


@dataclass(frozen=True, slots=True)
class ReleaseRP:
    """A-RELEASE-RP (PS3.8 Table 9-25)."""


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT (PS3.8 Table 9-26): source 0 service user, 2 service provider; reason for source 2."""

    source: int
    reason: int


PDU = AssociateRQ | AssociateAC | AssociateRJ | ReleaseRQ | ReleaseRP | Abort


class Rejection:
    """The A-ASSOCIATE-RJ answers we give (PS3.8 Table 9-21), by what they mean."""

    NO_REASON = AssociateRJ(1, 1, 1)
    APPLICATION_CONTEXT_NOT_SUPPORTED = AssociateRJ(1, 1, 2)
    CALLING_AE_NOT_RECOGNIZED = AssociateRJ(1, 1, 3)
    CALLED_AE_NOT_RECOGNIZED = AssociateRJ(1, 1, 7)
    PROTOCOL_VERSION_NOT_SUPPORTED = AssociateRJ(1, 2, 2)
    TEMPORARY_CONGESTION = AssociateRJ(2, 3, 1)
    LOCAL_LIMIT_EXCEEDED = AssociateRJ(2, 3, 2)


class AbortReason:
    """The reason field of A-ABORT when the service provider is its source (PS3.8 Table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PDU_PARAMETER = 4
    UNEXPECTED_PDU_PARAMETER = 5
    INVALID_PDU_PARAMETER = 6


def encode(pdu: PDU) -> bytes:
    """The bytes of *pdu*. Raises ValueError for values no PDU can carry."""
    match pdu:
        case AssociateRQ():
            return _frame(TYPE_ASSOCIATE_RQ, _encode_associate(pdu, _encode_proposals(pdu)))
        case AssociateAC():
            return _frame(TYPE_ASSOCIATE_AC, _encode_associate(pdu, _encode_answers(pdu)))
        case AssociateRJ(result, source, reason):
            return _frame(TYPE_ASSOCIATE_RJ, _LAST_THREE.pack(result, source, reason))
        case ReleaseRQ():
            return _frame(TYPE_RELEASE_RQ, bytes(4))
        case ReleaseRP():
            return _frame(TYPE_RELEASE_RP, bytes(4))
        case Abort(source, reason):
            return _frame(TYPE_ABORT, _LAST_THREE.pack(0, source, reason))


def decode(kind: int, body: bytes, limits: Limits) -> PDU:
    """The PDU of type *kind* whose variable field is *body*; raises PDUError."""
    if kind == TYPE_ASSOCIATE_RQ:
        return _decode_request(body, limits)
    if kind == TYPE_ASSOCIATE_AC:
        return _decode_accept(body, limits)
    if kind not in (TYPE_ASSOCIATE_RJ, TYPE_RELEASE_RQ, TYPE_RELEASE_RP, TYPE_ABORT):
        raise PDUError(f"unrecognized PDU type {kind:02X}H", AbortReason.UNRECOGNIZED_PDU)
    if len(body) != 4:
        raise PDUError(f"PDU type {kind:02X}H has {len(body)} bytes where 4 are expected")
    if kind == TYPE_RELEASE_RQ:
        return ReleaseRQ()
    if kind == TYPE_RELEASE_RP:
        return ReleaseRP()
    result, source, reason = _LAST_THREE.unpack(body)
    return AssociateRJ(result, source, reason) if kind == 3 else Abort(source, reason)


def longest_body(kind: int, limits: Limits) -> int:
    """The longest variable field a PDU of type *kind* (not P-DATA-TF) may have; -1 if unknown."""
    if kind in (TYPE_ASSOCIATE_RQ, TYPE_ASSOCIATE_AC):
        return limits.associate_bytes
    return 4 if kind in (TYPE_ASSOCIATE_RJ, TYPE_RELEASE_RQ, TYPE_RELEASE_RP, TYPE_ABORT) else -1


def _frame(kind: int, body: bytes) -> bytes:
    return _PDU.pack(kind, len(body)) + body


def _ae_field(title: str) -> bytes:
    raw = title.encode("latin-1")
    if len(raw) > 16:
        raise ValueError(f"the AE title {title!r} is longer than 16 characters")
    return raw.ljust(16)


def _ae_title(raw: bytes) -> str:
    # Not ASCII-checked: an odd title must reach the gateway to be refused by name, not by an abort.
    return raw.decode("latin-1").strip("\0 ")


def _encode_associate(pdu: AssociateRQ | AssociateAC, contexts: bytes) -> bytes:
    called, calling = _ae_field(pdu.called_ae), _ae_field(pdu.calling_ae)
    return b"".join(
        (
            _ASSOCIATE.pack(pdu.protocol_version, 0, called, calling, bytes(32)),
            item(0x10, pdu.application_context.encode("ascii")),
            contexts,
            item(0x50, encode_user_information(pdu.user_information)),
        )
    )


def _encode_proposals(pdu: AssociateRQ) -> bytes:
    return b"".join(
        item(
            0x20,
            bytes((context.context_id, 0, 0, 0))
            + item(0x30, context.abstract_syntax.encode("ascii"))
            + b"".join(item(0x40, name.encode("ascii")) for name in context.transfer_syntaxes),
        )
        for context in pdu.contexts
    )


def _encode_answers(pdu: AssociateAC) -> bytes:
    return b"".join(
        item(
            0x21,
            bytes((answer.context_id, 0, answer.result, 0))
            + item(0x40, answer.transfer_syntax.encode("ascii")),
        )
        for answer in pdu.contexts
    )


def _decode_request(body: bytes, limits: Limits) -> AssociateRQ:
    version, called, calling, items = _decode_associate(body)
    application_context, information = "", UserInformation(0, "", "")
    contexts: dict[int, PresentationContext] = {}
    for kind, _second, value in items:
        if kind == 0x10:
            application_context = uid(value)
        elif kind == 0x20:
            if len(contexts) == limits.contexts:
                raise PDUError(f"more than {limits.contexts} presentation contexts")
            context = _decode_proposal(value, limits)
            if context.context_id in contexts:
                raise PDUError(f"presentation context {context.context_id} is proposed twice")
            contexts[context.context_id] = context
        elif kind == 0x50:
            information = decode_user_information(value)
    if not contexts:
        raise PDUError("no presentation context is proposed")
    return AssociateRQ(
        called, calling, tuple(contexts.values()), information, application_context, version
    )


def _decode_accept(body: bytes, limits: Limits) -> AssociateAC:
    version, called, calling, items = _decode_associate(body)
    application_context, information = "", UserInformation(0, "", "")
    answers: list[ContextAnswer] = []
    for kind, _second, value in items:
        if kind == 0x10:
            application_context = uid(value)
        elif kind == 0x21:
            if len(answers) == limits.contexts:
                raise PDUError(f"more than {limits.contexts} presentation context answers")
            answers.append(_decode_answer(value))
        elif kind == 0x50:
            information = decode_user_information(value)
    return AssociateAC(called, calling, tuple(answers), information, application_context, version)


def _decode_associate(body: bytes) -> tuple[int, str, str, list[tuple[int, int, bytes]]]:
    if len(body) < _ASSOCIATE.size:
        raise PDUError(f"an association PDU of {len(body)} bytes is cut short")
    version, _reserved, called, calling, _also = _ASSOCIATE.unpack_from(body)
    items = list(walk(body[_ASSOCIATE.size :]))
    return version, _ae_title(called), _ae_title(calling), items


def _decode_proposal(value: bytes, limits: Limits) -> PresentationContext:
    if len(value) < 4:
        raise PDUError("a presentation context is cut short")
    context_id = value[0]
    if context_id % 2 == 0:
        raise PDUError(f"the presentation context id {context_id} is not odd")
    abstract_syntaxes: list[str] = []
    transfer_syntaxes: list[str] = []
    for kind, _second, name in walk(value[4:]):
        if kind == 0x30:
            abstract_syntaxes.append(_filled_uid(name))
        elif kind == 0x40:
            if len(transfer_syntaxes) == limits.syntaxes_per_context:
                raise PDUError(
                    f"more than {limits.syntaxes_per_context} transfer syntaxes in one context"
                )
            transfer_syntaxes.append(_filled_uid(name))
    if len(abstract_syntaxes) != 1 or not transfer_syntaxes:
        raise PDUError("a presentation context needs one abstract and some transfer syntaxes")
    return PresentationContext(context_id, abstract_syntaxes[0], tuple(transfer_syntaxes))


def _filled_uid(raw: bytes) -> str:
    """A UID that may not be empty."""
    value = uid(raw)
    if not value:
        raise PDUError("a UID is empty")
    return value


def _decode_answer(value: bytes) -> ContextAnswer:
    if len(value) < 4:
        raise PDUError("a presentation context answer is cut short")
    context_id, result = value[0], value[2]
    if result != 0:  # PS3.8 Table 9-18: the transfer syntax of a refused context is not significant
        return ContextAnswer(context_id, result)
    names = [uid(name) for kind, _second, name in walk(value[4:]) if kind == 0x40]
    if len(names) != 1 or not names[0]:
        raise PDUError(f"the accepted context {context_id} does not name one transfer syntax")
    return ContextAnswer(context_id, result, names[0])
