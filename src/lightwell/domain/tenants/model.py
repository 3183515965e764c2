"""What may be a tenant's name and AE title. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from zoneinfo import ZoneInfo

from lightwell.access.context import Actor, ActorKind, Tenant
from lightwell.access.roles import Role
from lightwell.kernel.errors import Conflict, Invalid, Missing

DEFAULT = "default"
DEMO = "demo"
LABEL_LIMIT = 100
REASON_LIMIT = 200
SUSPENSION = "suspension"  # what ended the sessions and openings of a suspended tenant

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}\Z")
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,40}(?:/[A-Za-z0-9_+-]{1,40}){0,2}\Z")


def checked_name(name: str) -> str:
    """A tenant name fit for object keys and URLs. Raises Invalid."""
    if not _NAME.match(name):
        raise Invalid(
            "A tenant name has 1 to 40 characters a-z, 0-9 and '-', and begins with a letter or digit.",
            remedy="Choose another name.",
        )
    return name


_OF_A_TENANT = (ActorKind.PERSON, ActorKind.PROGRAM)


def knows_all(actor: Actor) -> bool:
    """Whether an actor may know which tenants there are: our own, and administrators of the installation."""
    if actor.kind in (ActorKind.OPERATOR, ActorKind.SYSTEM):
        return True
    return actor.kind in _OF_A_TENANT and Role.ADMIN in actor.roles and actor.home == DEFAULT


def visible_to(actor: Actor, tenants: tuple[Tenant, ...]) -> tuple[Tenant, ...]:
    """Those of the tenants that an actor may know of: a suspended one is there for who can resume it."""
    if knows_all(actor):
        return tenants
    bound = actor.kind in _OF_A_TENANT
    served = (tenant for tenant in tenants if not tenant.suspended)
    return tuple(tenant for tenant in served if not bound or tenant.name == actor.home)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tenant keeps: studies, and bytes as they lie in the store."""

    studies: int = 0
    bytes: int = 0


_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,3})?) ?([kMGTP]?i?)B?\Z")
_UNITS = {"": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5}
QUOTA_LIMIT = 1 << 60  # bytes; what a database column holds, and more than anybody has


def parsed_size(text: str) -> int:
    """A number of bytes: `2TB`, `500 GiB`, `1000`. Raises Invalid."""
    match = _SIZE.match(text.strip())
    if match is None or match[2] == "i":
        raise Invalid(f"{text!r} is no number of bytes.", remedy="For example 2TB, 500GiB or none.")
    unit = match[2]
    scale = (1024 if unit.endswith("i") else 1000) ** _UNITS[unit.removesuffix("i")]
    return checked_quota(int(Decimal(match[1]) * scale))


def checked_quota(limit: int) -> int:
    """A number of bytes or studies that a tenant may keep. Raises Invalid."""
    if not 0 <= limit <= QUOTA_LIMIT:
        raise Invalid(
            f"A quota is a number from 0 to {QUOTA_LIMIT}.", remedy="Leave it out for no limit."
        )
    return limit


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


def checked_zone(name: str) -> str:
    """The name of a time zone that this machine knows (IANA time zone database); '' for the machine's own.
    Raises Invalid."""
    trimmed = name.strip()
    if not trimmed:
        return ""
    try:
        if not _ZONE.match(trimmed):
            raise ValueError
        ZoneInfo(trimmed)
    except (
        ValueError,
        OSError,
        KeyError,
    ):  # a name of none is a KeyError, that of a folder an OSError
        raise Invalid(
            f"{trimmed[:100]!r} is no time zone that this machine knows.",
            remedy="Give a name like Europe/Berlin; '' is the machine's own.",
        ) from None
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


NAMES_LIMIT = 32  # titles, and hosts, of one tenant
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")  # RFC 1123 2.1
_ADDRESS = re.compile(r"[0-9.]+\Z")


def checked_host(text: str) -> str:
    """A host name of web addresses, folded. Raises Invalid, also for addresses and this machine's own name:
    by them the installation itself is reached."""
    name = text.strip().lower().removesuffix(".")
    ours = name == "localhost" or name.endswith(".localhost") or _ADDRESS.match(name)
    if len(name) > 253 or not _HOST.match(name) or ours:
        raise Invalid(
            f"{text[:100]!r} is no host name that a tenant can have.",
            remedy="Give a name like pacs.clinic.example, without scheme and port.",
        )
    return name


def host_of(header: str) -> str:
    """The name in a Host header (RFC 9110 7.2), folded; whatever else comes gives what no tenant has."""
    return header.strip().lower().partition(":")[0].removesuffix(".")


def checked_names(texts: Iterable[str], check: Callable[[str], str]) -> tuple[str, ...]:
    """Several names, each once, in order. Raises Invalid."""
    names = tuple(sorted({check(text) for text in texts}))
    if len(names) > NAMES_LIMIT:
        raise Invalid(f"A tenant has at most {NAMES_LIMIT} of them.")
    return names


def checked_reason(text: str) -> str:
    """Why a tenant is suspended, or erased: one printable line. Raises Invalid."""
    trimmed = text.strip()
    if not 1 <= len(trimmed) <= REASON_LIMIT or not trimmed.isprintable():
        raise Invalid(
            f"The reason is one line of 1 to {REASON_LIMIT} characters.",
            remedy="Say why, for whoever looks at it later.",
        )
    return trimmed


def no_such_tenant() -> Missing:
    """The same of a tenant that is not there, that is suspended, and that is not the caller's."""
    return Missing("There is no such tenant.", remedy="`lightwell tenant list` names them.")


def being_erased(name: str) -> Conflict:
    """Of a tenant that is not served again whatever is asked."""
    return Conflict(
        f"The tenant {name} is being erased.",
        remedy="That cannot be taken back; it goes on by itself.",
    )


def erased_name(name: str) -> Conflict:
    """Of a name that is given out never again."""
    return Conflict(
        f"There was a tenant {name!r}, and it was erased.",
        remedy="Choose another name: old backups and records go by this one.",
    )
