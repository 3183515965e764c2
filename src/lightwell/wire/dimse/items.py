"""Items and user-information sub-items of association PDUs (PS3.8 section 9.3, PS3.7 Annex D.3.3).

Owns the one way to walk untrusted items: a declared length is believed only after it was compared
with what is really there, text is ASCII, UIDs are digits and dots, and the number of items is
bounded. Whatever breaks a rule raises :class:`PDUError`; unknown items are skipped, as PS3.8
section 9.3.1 asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from lightwell.dicom import part10

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
"""The only DICOM application context name (PS3.7 Annex A.2.1)."""

IMPLEMENTATION_CLASS_UID: Final = part10.IMPLEMENTATION_CLASS_UID
"""Our Implementation Class UID (PS3.7 Annex D.3.3.2): the same on the wire as in our files."""

IMPLEMENTATION_VERSION_NAME: Final = part10.IMPLEMENTATION_VERSION_NAME
"""Our Implementation Version Name: at most 16 characters, one value a release."""

DEFAULT_MAX_PDU: Final = 128 << 10
"""The P-DATA-TF length we announce unless told otherwise, in bytes (standards 1.2)."""

MAX_ITEMS: Final = 4096
"""Items allowed at one level. 128 contexts and 512 negotiations fit many times over."""

_MAX_UID: Final = 128  # the standard says 64; some real private UIDs are a little longer

_ITEM = Struct(">BBH")
_U16 = Struct(">H")
_U32 = Struct(">L")
_U16U16 = Struct(">HH")
_NOT_UID = re.compile(rb"[^0-9.]")


class PDUError(ValueError):
    """Bytes that are not the PDU they claim to be.

    ``reason`` is the A-ABORT reason of PS3.8 Table 9-26 that tells the peer so.
    """

    def __init__(self, message: str, reason: int = 6) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class RoleSelection:
    """SCP/SCU role selection (PS3.7 Annex D.3.3.4) for every context of one SOP class.

    In a request ``scu``/``scp`` are the roles the requestor proposes *for itself*; in an answer,
    those of them that are granted.
    """

    SOPClassUID: str
    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True)
class ExtendedNegotiation:
    """SOP Class Extended Negotiation (PS3.7 Annex D.3.3.5); the bytes are defined by PS3.4."""

    SOPClassUID: str
    information: bytes


@dataclass(frozen=True, slots=True)
class CommonExtendedNegotiation:
    """SOP Class Common Extended Negotiation (PS3.7 Annex D.3.3.6): requests only, never answered."""

    SOPClassUID: str
    ServiceClassUID: str
    related: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """User Identity Negotiation request (PS3.7 Annex D.3.3.7).

    ``kind``: 1 username, 2 username and passcode, 3 Kerberos, 4 SAML, 5 JWT. Both fields are
    secrets or name a person: they are left out of ``repr``.
    """

    kind: int
    response_requested: bool
    primary: bytes
    secondary: bytes = b""

    def __repr__(self) -> str:
        return f"UserIdentity(kind={self.kind}, response_requested={self.response_requested})"


@dataclass(frozen=True, slots=True)
class UserInformation:
    """The User Information item (PS3.8 section 9.3.2.3, PS3.7 Annex D.3.3).

    ``max_length`` is the longest P-DATA-TF variable field, in bytes, that its sender can receive;
    0 means any length. ``async_operations`` is (invoked, performed), 0 for unlimited; None when
    absent, which means (1, 1).
    """

    max_length: int = DEFAULT_MAX_PDU
    implementation_class_uid: str = IMPLEMENTATION_CLASS_UID
    implementation_version_name: str = IMPLEMENTATION_VERSION_NAME
    async_operations: tuple[int, int] | None = None
    roles: tuple[RoleSelection, ...] = ()
    extended: tuple[ExtendedNegotiation, ...] = ()
    common_extended: tuple[CommonExtendedNegotiation, ...] = ()
    user_identity: UserIdentity | None = None
    user_identity_response: bytes | None = None


def item(kind: int, body: bytes, second: int = 0) -> bytes:
    """One item: type, second byte (reserved, or a version), 16-bit length, body."""
    if len(body) > 0xFFFF:
        raise ValueError(f"item {kind:02X}H of {len(body)} bytes does not fit its 16-bit length")
    return _ITEM.pack(kind, second, len(body)) + body


def walk(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (type, second byte, body) of each item in *body*; raise PDUError on any bad length."""
    position, end, count = 0, len(body), 0
    while position < end:
        count += 1
        if count > MAX_ITEMS:
            raise PDUError(f"more than {MAX_ITEMS} items at one level")
        if end - position < 4:
            raise PDUError("an item header is cut short")
        kind, second, length = _ITEM.unpack_from(body, position)
        position += 4
        if length > end - position:
            raise PDUError(f"item {kind:02X}H claims {length} bytes, {end - position} are there")
        yield kind, second, body[position : position + length]
        position += length


def uid(raw: bytes) -> str:
    """A UID field: trailing NULs and spaces are padding, empty is allowed, all else is digits."""
    value = raw.rstrip(b"\0 ")
    if len(value) > _MAX_UID or _NOT_UID.search(value):
        raise PDUError("a UID holds other characters than digits and dots, or is too long")
    return value.decode("ascii")


def text(raw: bytes) -> str:
    """A short ISO 646 text field, without padding."""
    try:
        return raw.decode("ascii").strip("\0 ")
    except UnicodeDecodeError:
        raise PDUError("a text field holds bytes outside of ISO 646") from None


def _counted(body: bytes, position: int, what: str) -> tuple[bytes, int]:
    """A field with a 16-bit length before it: the field, and where the next one starts."""
    if len(body) - position < 2:
        raise PDUError(f"the length of {what} is cut short")
    (length,) = _U16.unpack_from(body, position)
    start = position + 2
    if length > len(body) - start:
        raise PDUError(f"{what} claims {length} bytes, {len(body) - start} are there")
    return body[start : start + length], start + length


def _count(field: bytes) -> bytes:
    if len(field) > 0xFFFF:
        raise ValueError(f"a field of {len(field)} bytes does not fit its 16-bit length")
    return _U16.pack(len(field)) + field


def encode_user_information(info: UserInformation) -> bytes:
    """The body of the User Information item (50H), sub-items in order of their type."""
    parts = [item(0x51, _U32.pack(info.max_length))]
    parts.append(item(0x52, info.implementation_class_uid.encode("ascii")))
    if info.async_operations is not None:
        parts.append(item(0x53, _U16U16.pack(*info.async_operations)))
    parts += [
        item(0x54, _count(role.SOPClassUID.encode("ascii")) + bytes((role.scu, role.scp)))
        for role in info.roles
    ]
    if info.implementation_version_name:
        parts.append(item(0x55, info.implementation_version_name.encode("ascii")))
    parts += [
        item(0x56, _count(extended.SOPClassUID.encode("ascii")) + extended.information)
        for extended in info.extended
    ]
    parts += [item(0x57, _encode_common(common)) for common in info.common_extended]
    if info.user_identity is not None:
        parts.append(item(0x58, _encode_identity(info.user_identity)))
    if info.user_identity_response is not None:
        parts.append(item(0x59, _count(info.user_identity_response)))
    return b"".join(parts)


def _encode_common(common: CommonExtendedNegotiation) -> bytes:
    related = b"".join(_count(name.encode("ascii")) for name in common.related)
    names = (common.SOPClassUID.encode("ascii"), common.ServiceClassUID.encode("ascii"), related)
    return b"".join(_count(name) for name in names)


def _encode_identity(identity: UserIdentity) -> bytes:
    head = bytes((identity.kind, identity.response_requested))
    return head + _count(identity.primary) + _count(identity.secondary)


def decode_user_information(body: bytes) -> UserInformation:
    """Parse the body of item 50H.

    Of a sub-item that may come once, the last one counts; a second user identity is refused, for it would
    be open who is meant. A missing maximum length is read as 0
    (no limit), a missing implementation class as empty. Raises PDUError.
    """
    max_length, class_uid, version = 0, "", ""
    async_operations: tuple[int, int] | None = None
    roles: list[RoleSelection] = []
    extended: list[ExtendedNegotiation] = []
    common: list[CommonExtendedNegotiation] = []
    identity: UserIdentity | None = None
    identity_response: bytes | None = None
    for kind, _second, value in walk(body):
        if kind == 0x51:
            max_length = _U32.unpack(_exactly(value, 4, "maximum length"))[0]
        elif kind == 0x52:
            class_uid = uid(value)
        elif kind == 0x53:
            invoked, performed = _U16U16.unpack(_exactly(value, 4, "asynchronous operations"))
            async_operations = (invoked, performed)
        elif kind == 0x54:
            roles.append(_decode_role(value))
        elif kind == 0x55:
            version = text(value)
        elif kind == 0x56:
            name, start = _counted(value, 0, "SOP class")
            extended.append(ExtendedNegotiation(uid(name), value[start:]))
        elif kind == 0x57:
            common.append(_decode_common(value))
        elif kind == 0x58:
            if identity is not None:
                raise PDUError("a user identity is given twice")
            identity = _decode_identity(value)
        elif kind == 0x59:
            identity_response, _end = _counted(value, 0, "server response")
    return UserInformation(
        max_length=max_length,
        implementation_class_uid=class_uid,
        implementation_version_name=version,
        async_operations=async_operations,
        roles=tuple(roles),
        extended=tuple(extended),
        common_extended=tuple(common),
        user_identity=identity,
        user_identity_response=identity_response,
    )


def _exactly(value: bytes, size: int, what: str) -> bytes:
    if len(value) != size:
        raise PDUError(f"{what} has {len(value)} bytes where {size} are expected")
    return value


def _decode_role(value: bytes) -> RoleSelection:
    name, start = _counted(value, 0, "SOP class of a role selection")
    scu, scp = _exactly(value[start:], 2, "role selection")
    return RoleSelection(uid(name), bool(scu), bool(scp))


def _decode_common(value: bytes) -> CommonExtendedNegotiation:
    sop_class, position = _counted(value, 0, "SOP class")
    service_class, position = _counted(value, position, "service class")
    block, _end = _counted(value, position, "related general SOP classes")
    related: list[str] = []
    position = 0
    while position < len(block):
        name, position = _counted(block, position, "related general SOP class")
        related.append(uid(name))
    return CommonExtendedNegotiation(uid(sop_class), uid(service_class), tuple(related))


def _decode_identity(value: bytes) -> UserIdentity:
    if len(value) < 2:
        raise PDUError("a user identity is cut short")
    primary, position = _counted(value, 2, "primary field")
    secondary, end = _counted(value, position, "secondary field")
    if end != len(value):
        raise PDUError("a user identity has more than its two fields")
    return UserIdentity(value[0], bool(value[1]), primary, secondary)
