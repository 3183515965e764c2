"""What may be a tenant's name and AE title. Pure."""

from __future__ import annotations

import re

from lightwell.access.context import Actor, ActorKind, Tenant
from lightwell.access.roles import Role
from lightwell.kernel.errors import Invalid, Missing

DEFAULT = "default"
DEMO = "demo"
LABEL_LIMIT = 100
REASON_LIMIT = 200
SUSPENSION = "suspension"  # what ended the sessions and openings of a suspended tenant

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}\Z")


def checked_name(name: str) -> str:
    """A tenant name fit for object keys and URLs. Raises Invalid."""
    if not _NAME.match(name):
        raise Invalid(
            "A tenant name has 1 to 40 characters a-z, 0-9 and '-', and begins with a letter or digit.",
            remedy="Choose another name.",
        )
    return name


def visible_to(actor: Actor, tenants: tuple[Tenant, ...]) -> tuple[Tenant, ...]:
    """Those of the tenants that an actor may know of: a suspended one is there for who can resume it."""
    bound = actor.kind in (ActorKind.PERSON, ActorKind.PROGRAM)
    ours = actor.kind in (ActorKind.OPERATOR, ActorKind.SYSTEM)
    if ours or (bound and Role.ADMIN in actor.roles and actor.home == DEFAULT):
        return tenants
    served = (tenant for tenant in tenants if not tenant.suspended)
    return tuple(tenant for tenant in served if not bound or tenant.name == actor.home)


SETTLE, AS_RECEIVED, PIXEL_EXACT = SETTLINGS = ("settle", "as-received", "pixel-exact")


def checked_settling(text: str) -> str:
    """How quiet series are packed: pixels coded where that can be undone bit for bit, all as received, or
    pixels coded where their values come back, though a compressed original does not. Raises Invalid."""
    if text not in SETTLINGS:
        raise Invalid(
            f"{text!r} is no way of settling.", remedy=f"Choose one of {', '.join(SETTLINGS)}."
        )
    return text


def checked_label(label: str) -> str:
    """A tenant's name as people read it: one printable line. Raises Invalid."""
    trimmed = label.strip()
    if not 1 <= len(trimmed) <= LABEL_LIMIT or not trimmed.isprintable():
        raise Invalid(f"The name shown to people is one line of 1 to {LABEL_LIMIT} characters.")
    return trimmed


def checked_aet(title: str) -> str:
    """An AE title (PS3.5 6.2, VR AE): 1 to 16 characters of ASCII without backslash and controls."""
    trimmed = title.strip(" ")
    if not 1 <= len(trimmed) <= 16 or not all(" " <= c <= "~" and c != "\\" for c in trimmed):
        raise Invalid(
            "An AE title has 1 to 16 printable ASCII characters, no backslash.",
            remedy="Choose another AE title.",
        )
    return trimmed


def checked_reason(text: str) -> str:
    """Why a tenant is suspended: one printable line. Raises Invalid."""
    trimmed = text.strip()
    if not 1 <= len(trimmed) <= REASON_LIMIT or not trimmed.isprintable():
        raise Invalid(
            f"The reason is one line of 1 to {REASON_LIMIT} characters.",
            remedy="Say why, for whoever resumes the tenant.",
        )
    return trimmed


def no_such_tenant() -> Missing:
    """The same of a tenant that is not there, that is suspended, and that is not the caller's."""
    return Missing("There is no such tenant.", remedy="`lightwell tenant list` names them.")
