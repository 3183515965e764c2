"""The explicit first argument of every front door: for which tenant, by whom, why, through what."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from enum import StrEnum

LIMIT = 200  # characters of any name that reached us from outside


class ActorKind(StrEnum):
    """What kind of thing acts."""

    PEER = "peer"  # a DICOM application entity known by title, address and (TLS) certificate
    WEB = "web"  # whoever is at the web door and has not been recognised
    PERSON = "person"  # somebody who has signed in
    PROGRAM = "program"  # a program with a key
    OPERATOR = "operator"  # whoever may run commands on the data folder
    SYSTEM = "system"  # our own background work


class Purpose(StrEnum):
    """Why it is done."""

    TREATMENT = "treatment"
    OPERATIONS = "operations"
    DEMONSTRATION = "demonstration"
    EMERGENCY = "emergency"  # while something is open by break-glass; reviewed afterwards


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer of this installation: key of every row, name of every object key."""

    key: int
    name: str
    label: str
    aet: str
    region: str = "local"
    demo: bool = False
    suspended: bool = False
    suspension: str = ""  # why it is suspended
    erasing: bool = False  # for good: it stays suspended until nothing of it is left
    quota_bytes: int | None = None  # that it may keep; None: no limit
    quota_studies: int | None = None
    titles: tuple[str, ...] = ()  # further AE titles by which peers call it
    hosts: tuple[str, ...] = ()  # web addresses that are this tenant's without a path
    settling: str = "settle"  # how its quiet series are packed: or 'as-received', or 'pixel-exact'
    accent: str = ""  # colour by which its people know it, #rrggbb; '': that of the house
    notice: str = ""  # what its sign-in page tells whoever is about to sign in
    zone: str = ""  # IANA name of the time zone that its policies mean; '': that of this machine


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. `grants` are the operations the actor was given ('store', 'find', 'move', 'get')."""

    kind: ActorKind
    name: str
    grants: frozenset[str] = frozenset()
    site: str | None = None
    issuer: str | None = None  # issuer of patient IDs for objects that name none
    home: str = ""  # tenant that a person or program belongs to
    roles: frozenset[str] = frozenset()  # given there
    scopes: frozenset[str] = (
        frozenset()
    )  # of a program: patterns of actions; none: all its roles may
    session: str = ""  # of a person: which sign-in this is
    glass: str = ""  # what this session has open by break-glass now: a lease is of exactly this
    confined: bool = False  # of a peer: to studies of its site
    days: int = 0  # of a peer: it sees what was received within so many days; 0: however long ago
    via: Actor | None = (
        None  # of somebody whom a machine has named: that machine, which bounds them
    )

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def machine(self) -> Actor:
        """Who is at the other end: of somebody whom a machine has named, that machine."""
        return self.via or self


@dataclass(frozen=True, slots=True)
class Context:
    """Built once by a gateway, the dispatcher or a test; frozen; passed explicitly."""

    tenant: Tenant
    actor: Actor
    channel: str  # 'dimse', 'dicomweb', 'console', 'import', 'work'
    origin: str = ""  # network address of the other end
    purpose: Purpose = Purpose.TREATMENT
    trace: str = field(default_factory=lambda: secrets.token_hex(8))
    stepped_up: bool = False  # the person has proved again, a moment ago, who they are
    # (issuer, patient ID) of patients that this session has opened by break-glass, and that are open now
    opened: frozenset[tuple[str, str]] = frozenset()

    def for_tenant(self, tenant: Tenant) -> Context:
        """The same act in another tenant: only for our own background work."""
        return replace(self, tenant=tenant)


def system_context(tenant: Tenant, channel: str = "work") -> Context:
    """The context of our own background work."""
    return Context(
        tenant, Actor(ActorKind.SYSTEM, channel), channel=channel, purpose=Purpose.OPERATIONS
    )


def operator_context(tenant: Tenant, name: str, channel: str = "command") -> Context:
    """The context of a command run on the data folder by an operator of this machine."""
    return Context(
        tenant,
        Actor(ActorKind.OPERATOR, name[:LIMIT]),
        channel=channel,
        purpose=Purpose.OPERATIONS,
    )
