"""A peer and the rules about who may call as what. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from lightwell.access.context import Actor, ActorKind
from lightwell.kernel.errors import Invalid


class PeerType(StrEnum):
    """What kind of machine it is; the default grants follow from it."""

    MODALITY = "modality"
    WORKSTATION = "workstation"
    ARCHIVE = "archive"
    AI = "ai"


_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}(/[0-9]{1,3})?\Z")  # a name, an address, or a network

_UID = re.compile(r"[0-9.]{1,64}\Z")
TEXT_LIMIT: Final = 64  # characters, as of VR LO (PS3.5 6.2)
SYNTAXES_LIMIT: Final = 64
_FINGERPRINT = re.compile(r"[0-9a-f]{64}\Z")

GRANTABLE = ("echo", "store", "find", "move", "get")
TYPE_GRANTS = {
    PeerType.MODALITY: frozenset({"echo", "store"}),
    PeerType.WORKSTATION: frozenset({"echo", "store", "find", "move", "get"}),
    PeerType.ARCHIVE: frozenset({"echo"}),
    PeerType.AI: frozenset({"echo"}),
}
PLAIN_DAYS: Final = (
    365  # how far back a machine without a certificate sees, unless it is said otherwise
)
MOST_DAYS: Final = 36_500


@dataclass(frozen=True, slots=True)
class Peer:
    """One registered application entity. `host` is where it calls from and where we call it.

    `identity`: each association names who it speaks for (PS3.7 D.3.3.7), or is turned away. `days`: it sees
    what was received within so many days, 0 is however long ago; None is by how it calls (`window`).
    """

    aet: str
    host: str
    port: int
    type: PeerType = PeerType.MODALITY
    allow: frozenset[str] = frozenset()
    site: str | None = None
    issuer: str | None = None
    charset: str | None = None
    zone: str | None = None
    syntaxes: tuple[
        str, ...
    ] = ()  # transfer syntax UIDs it wants, best first; empty: Explicit VR LE
    certificate: str | None = None  # SHA-256 of its client certificate, hex
    revoked: bool = False
    identity: bool = False
    days: int | None = None

    @property
    def grants(self) -> frozenset[str]:
        """What it may do: what was said, else what its type may."""
        return self.allow | {"echo"} if self.allow else TYPE_GRANTS[self.type]

    @property
    def callable(self) -> bool:
        """Whether it has an address that can be called: a port, and one machine instead of a network."""
        return self.port > 0 and "/" not in self.host and not self.revoked

    @property
    def sends_to_itself_only(self) -> bool:
        """A workstation without grants of its own; an explicit `move` opens other destinations."""
        return self.type is PeerType.WORKSTATION and not self.allow

    @property
    def certified(self) -> bool:
        """Whether it calls with a certificate of its own: `judge` lets it in with no other."""
        return self.certificate is not None

    @property
    def window(self) -> int:
        """Days back that it sees: without a certificate a year, unless it is said otherwise; 0: all."""
        if self.days is not None:
            return self.days
        return 0 if self.certified else PLAIN_DAYS

    def actor(self, site_issuer: str | None) -> Actor:
        """The peer as an actor of the access floor. Without a certificate it is confined to its site."""
        return Actor(
            ActorKind.PEER,
            self.aet,
            grants=self.grants,
            site=self.site,
            issuer=self.issuer or site_issuer,
            confined=self.site is not None and not self.certified,
            days=self.window,
        )


@dataclass(frozen=True, slots=True)
class PeerRow:
    """A peer to be written."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class PeerGoneRow:
    """A peer to be removed."""

    aet: str


class Stranger(StrEnum):
    """Why a caller is not let in; each door has its own words for it."""

    UNKNOWN_CALLED = "called AE title not recognised"
    UNKNOWN_CALLING = "calling AE title not recognised"
    WRONG_ADDRESS = "calling AE title from another address"
    WRONG_CERTIFICATE = "calling AE title with another certificate"
    REVOKED = "peer revoked"
    NO_IDENTITY = "peer did not say who it speaks for"
    SUSPENDED = "the called tenant is suspended"


def checked_host(host: str) -> str:
    """Where a peer calls from: a host name, an address or a network. Raises Invalid."""
    if not _HOST.match(host):
        raise Invalid(
            "A peer has a host name, an address or a network.", remedy="For example 192.0.2.17."
        )
    return host


def checked_grants(words: frozenset[str]) -> frozenset[str]:
    """Only grants that exist. Raises Invalid."""
    unknown = sorted(words - set(GRANTABLE))
    if unknown:
        raise Invalid(f"Unknown grant {', '.join(unknown)}.", remedy=f"Use {', '.join(GRANTABLE)}.")
    return words


def checked_days(days: int | None) -> int | None:
    """How far back a peer sees. Raises Invalid."""
    if days is not None and not 0 <= days <= MOST_DAYS:
        raise Invalid(f"A peer sees 1 to {MOST_DAYS} days back, or 0: however long ago.")
    return days


def checked_certificate(text: str | None) -> str | None:
    """A SHA-256 fingerprint in hex, small and without colons. Raises Invalid."""
    if text is None:
        return None
    plain = text.replace(":", "").lower()
    if not _FINGERPRINT.match(plain):
        raise Invalid(
            "A certificate is named by its SHA-256 fingerprint: 64 hexadecimal digits.",
            remedy="`lightwell certificate issue` prints it; so does openssl x509 -fingerprint -sha256.",
        )
    return plain


def checked_peer(peer: Peer) -> Peer:
    """A peer that can be kept: whoever writes one into a journal has asked here first. Raises Invalid."""
    checked_host(peer.host)
    checked_grants(peer.allow)
    checked_days(peer.days)
    if not 0 <= peer.port <= 65535:
        raise Invalid("A port is a number from 1 to 65535, or 0: it is never called.")
    for what, text in (
        ("site", peer.site),
        ("issuer", peer.issuer),
        ("character set", peer.charset),
        ("time zone", peer.zone),
    ):
        if text is not None and not (1 <= len(text) <= TEXT_LIMIT and text.isprintable()):
            raise Invalid(f"The {what} of a peer is one line of 1 to {TEXT_LIMIT} characters.")
    if len(peer.syntaxes) > SYNTAXES_LIMIT or not all(map(_UID.match, peer.syntaxes)):
        raise Invalid(
            "A transfer syntax is named by its UID.",
            remedy="For example 1.2.840.10008.1.2.1, Explicit VR Little Endian.",
        )
    return replace(peer, certificate=checked_certificate(peer.certificate))


def calls_from(peer: Peer, address: str, resolved: frozenset[str]) -> bool:
    """Whether the connection's address is the peer's: literally, by name, or within its network."""
    try:
        caller = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(caller, ipaddress.IPv6Address) and caller.ipv4_mapped:
        caller = caller.ipv4_mapped
    try:
        return caller in ipaddress.ip_network(peer.host, strict=False)
    except ValueError:
        return str(caller) in resolved


@dataclass(frozen=True, slots=True)
class Call:
    """An association that is asked for. `resolved`: what the peer's name means now. `holders`: whose
    certificate it came with, (tenant, title) of each. `named`: it says who it speaks for."""

    address: str
    resolved: frozenset[str] = frozenset()
    certificate: str | None = None
    holders: frozenset[tuple[int, str]] = frozenset()
    named: bool = False


def judge(peer: Peer | None, tenant: int, call: Call) -> Stranger | None:
    """Let in (None), or why not. A pinned certificate counts more than the address; one that is somebody
    else's, here or in another tenant, opens nothing."""
    if peer is None:
        return Stranger.UNKNOWN_CALLING
    if peer.revoked:
        return Stranger.REVOKED
    if call.holders and (tenant, peer.aet) not in call.holders:
        return Stranger.WRONG_CERTIFICATE
    if peer.certificate is not None and call.certificate != peer.certificate:
        return Stranger.WRONG_CERTIFICATE
    if peer.certificate is None and not calls_from(peer, call.address, call.resolved):
        return Stranger.WRONG_ADDRESS
    return Stranger.NO_IDENTITY if peer.identity and not call.named else None


# --- what the door has seen ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MachineSeen:
    """What a machine has done at our door since the server started. `stored`: objects we took from it;
    `suboperations`: objects that were sent because it asked; `denied`: requests it was not allowed."""

    called: str
    calling: str
    heard: datetime
    associations: int
    echoes: int
    stored: int
    store_failures: int
    bytes_received: int
    queries: int
    retrievals: int
    suboperations: int
    suboperation_failures: int
    denied: int


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """Associations that were turned away alike: who called whom from where, why, how often, when last."""

    called: str
    calling: str
    address: str
    why: str
    times: int
    at: datetime


@dataclass(frozen=True, slots=True)
class DoorSeen:
    """All doors together, the latest first."""

    machines: tuple[MachineSeen, ...] = ()
    refused: tuple[RefusedCall, ...] = ()

    def called(self, titles: Collection[str], *, nobody: bool) -> DoorSeen:
        """What came under one of our titles; `nobody`: also what called a title that is not ours."""
        return DoorSeen(
            tuple(machine for machine in self.machines if machine.called in titles),
            tuple(
                refused
                for refused in self.refused
                if (nobody if refused.why == Stranger.UNKNOWN_CALLED else refused.called in titles)
            ),
        )


@dataclass(frozen=True, slots=True)
class Probed:
    """How a call of ours went. `status`: the DIMSE status of the answer, None when there was none."""

    well: bool
    said: str
    status: int | None = None
