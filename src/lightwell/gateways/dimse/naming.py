"""Who a peer says it speaks for: User Identity Negotiation (PS3.7 Annex D.3.3.7).

A program proves itself with its name and its key (type 2), a person with what their identity provider signed
(type 5, JWT). A name alone (type 1) proves nothing, Kerberos and SAML (3, 4) are not served: each ends the
association before it begins. What was said is never passed over, so nobody works under a wrong name.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Final

from lightwell.access.audit import clean
from lightwell.access.context import Context
from lightwell.domain.people.errors import NotSignedIn
from lightwell.domain.people.machine_api import Named
from lightwell.domain.people.opening import Visitor
from lightwell.gateways.dimse.exchange import Rooms
from lightwell.kernel.errors import LightwellError
from lightwell.wire.dimse.items import UserIdentity
from lightwell.wire.dimse.pdu import AssociateRJ, Rejection

log = logging.getLogger("lightwell.dimse")

USER_NAME: Final = 1
USER_NAME_AND_PASSCODE: Final = 2
JWT: Final = 5

NAME_BYTES: Final = 256
PASSCODE_BYTES: Final = 1024
JWT_BYTES: Final = 32 << 10

NOT_PROVED: Final = "who it speaks for was not proved"


@dataclass(frozen=True, slots=True)
class Turned:
    """An association that is turned away: the answer, and why in words."""

    answer: AssociateRJ
    why: str


def speak(rooms: Rooms, machine: Context, identity: UserIdentity) -> tuple[Context, Named] | Turned:
    """The context of whoever a machine speaks for, bounded by the machine; or why the association is none."""
    refused = Turned(Rejection.NO_REASON, NOT_PROVED)
    try:
        named = _proved(rooms, machine, identity)
    except NotSignedIn:
        return refused
    except LightwellError as error:  # throttled, or whoever vouches for them is away
        log.warning("nobody can be named now: %s", type(error).__name__)
        return Turned(Rejection.TEMPORARY_CONGESTION, error.message)
    if named is None:
        log.warning(
            "user identity of type %d by %s is not taken", identity.kind, clean(machine.actor.name)
        )
        return refused
    return replace(machine, actor=replace(named.actor, via=machine.actor)), named


def _proved(rooms: Rooms, machine: Context, identity: UserIdentity) -> Named | None:
    """Who it is; None for what is not taken. Raises NotSignedIn, TooManyTries, ProviderAway, Unavailable."""
    machines, seconds = rooms.machines, rooms.limits.request
    if machines is None:
        return None
    who = Visitor(machine.tenant, machine.origin, channel=machine.channel)
    if identity.kind == USER_NAME_AND_PASSCODE:
        name = _text(identity.primary, NAME_BYTES)
        secret = _text(identity.secondary, PASSCODE_BYTES)
        return rooms.ask(machines.by_key(who, name, secret), seconds)
    if identity.kind == JWT:
        token = _text(identity.primary, JWT_BYTES)
        return rooms.ask(machines.by_signed_token(who, token), seconds)
    return None


def _text(raw: bytes, limit: int) -> str:
    """A field as text (UTF-8); nothing for one that is too long or none, which then proves nothing."""
    try:
        return raw.decode() if len(raw) <= limit else ""
    except UnicodeDecodeError:
        return ""
