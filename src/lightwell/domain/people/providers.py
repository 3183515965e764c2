"""Identity providers of a tenant: who else may say who somebody is, and what their groups mean here. Pure.

What a provider sends is hostile until a signature and these rules have been through it: it names people,
but roles come from our map of its groups, and an account it did not make is never its to open.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from lightwell.access.roles import ADMINISTRATORS, checked_roles
from lightwell.domain.people.errors import Unproved
from lightwell.kernel.errors import Invalid

EVERYONE: Final = "*"  # in a map: whoever the provider lets through
DEFAULT_SCOPES: Final = ("openid", "profile")
DEFAULT_LOGIN_CLAIM: Final = "preferred_username"
DEFAULT_GROUPS_CLAIM: Final = "groups"

LABEL_LIMIT: Final = 60
URL_LIMIT: Final = 255
GROUPS_LIMIT: Final = 1000  # of one person; a provider that sends more is misconfigured
GROUP_LIMIT: Final = 256
MAP_LIMIT: Final = 200
SCOPES_LIMIT: Final = 20
SUBJECT_LIMIT: Final = 255  # OpenID Connect Core 1.0, 2: at most 255 ASCII characters
TEXT_LIMIT: Final = 500
PATH_LIMIT: Final = 1024

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}\Z")  # RFC 6749 3.3
_CLIENT_ID: Final = re.compile(r"[\x20-\x7e]{1,255}\Z")  # RFC 6749 A.1
_CLAIM: Final = re.compile(r"[\x21-\x7e]{1,200}\Z")
_LOCAL: Final = re.compile(r"/[A-Za-z0-9/_.~%?=&:,+@;!$'()*-]*\Z")


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """An OpenID provider that a tenant trusts, and how far.

    `roles`: what each of its groups is here; `EVERYONE` stands for whoever it lets through. `secret`: the
    client secret, sealed; None for a public client, which has PKCE alone. `end_session`: off, where people
    share a machine and its provider's session is the machine's.
    """

    name: str
    label: str
    issuer: str
    client_id: str
    roles: Mapping[str, frozenset[str]]
    made_by: str
    created: datetime
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    groups_claim: str = DEFAULT_GROUPS_CLAIM
    login_claim: str = DEFAULT_LOGIN_CLAIM
    secret: bytes | None = field(default=None, repr=False)
    enabled: bool = True
    end_session: bool = False  # signing out here leads to signing out there

    def roles_of(self, groups: frozenset[str]) -> frozenset[str]:
        """What somebody in these groups is here; nothing: they are not let in."""
        meant = (self.roles.get(group, frozenset[str]()) for group in (*groups, EVERYONE))
        return frozenset[str]().union(*meant)


@dataclass(frozen=True, slots=True)
class Proven:
    """Somebody, as a provider has proved and described them. `login` is '' where no claim can be one."""

    issuer: str
    subject: str = field(repr=False)
    login: str
    name: str
    groups: frozenset[str] = field(repr=False)


# --- what an administrator writes --------------------------------------------------------------------


def checked_name(text: str) -> str:
    """The name of a provider, which stands in addresses. Raises Invalid."""
    if not _NAME.match(text):
        raise Invalid(
            f"{text!r} cannot be the name of a provider.",
            remedy="It has 1 to 32 characters a-z, 0-9, '-', and stands in the address it redirects to.",
        )
    return text


def loopback_host(host: str | None) -> bool:
    """Whether a host is this machine and nothing else, without asking any name server (RFC 6761 6.3)."""
    if host is None:
        return False
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split_url(url: str) -> SplitResult | None:
    """The parts of an absolute address without user, password and fragment; None for anything else."""
    if len(url) > 2048 or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port  # raises for what is none
    except ValueError:
        return None
    plain = parts.scheme in ("https", "http") and parts.hostname and port != 0
    return parts if plain and "@" not in parts.netloc and not parts.fragment else None


def safe_url(url: str, *, issuer: str) -> bool:
    """Whether we may speak to an address for a provider: TLS, or this machine for a provider that is on it.

    A description may name any address; it must not make us knock at plain doors inside (SSRF).
    """
    parts = split_url(url)
    if parts is None:
        return False
    if parts.scheme == "https":
        return True
    return loopback_host(parts.hostname) and loopback_host(urlsplit(issuer).hostname)


def checked_issuer(text: str) -> str:
    """An issuer identifier (OpenID Connect Discovery 1.0, 2): https, without query. Raises Invalid."""
    parts = split_url(text)
    if parts is None or parts.query or "?" in text or len(text) > URL_LIMIT:
        raise Invalid(
            "An issuer is an https address without query.",
            remedy="It is what the provider calls `issuer`, to the letter; a slash at the end counts.",
        )
    if not safe_url(text, issuer=text):
        raise Invalid(
            "An issuer is reached by https.", remedy="Plain http is for a provider on this machine."
        )
    return text


def checked_scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """What is asked of the provider; `openid` is always. Raises Invalid."""
    asked = tuple(dict.fromkeys(("openid", *scopes)))
    bad = [scope for scope in asked if not _SCOPE.match(scope)]
    if bad or len(asked) > SCOPES_LIMIT:
        raise Invalid(
            f"{bad[0]!r} is no scope." if bad else f"At most {SCOPES_LIMIT} scopes are asked for."
        )
    return asked


def checked_claim(text: str, what: str) -> str:
    """The name of a claim, or a path to one: `realm_access.roles`. Raises Invalid."""
    if not _CLAIM.match(text):
        raise Invalid(f"{what} is the name of a claim.", remedy="For example groups.")
    return text


def checked_client_id(text: str) -> str:
    """What the provider calls us. Raises Invalid."""
    if not _CLIENT_ID.match(text):
        raise Invalid("A client id has 1 to 255 printable ASCII characters.")
    return text


def checked_role_map(given: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
    """What each group is here. `EVERYONE` makes nobody an administrator. Raises Invalid."""
    if not given or len(given) > MAP_LIMIT:
        raise Invalid(
            "A provider has a map of its groups to roles: without one nobody is let in."
            if not given
            else f"A map has at most {MAP_LIMIT} groups.",
            remedy="--map GROUP=radiologist, or --map '*=radiologist' for whoever it lets through.",
        )
    for group, roles in given.items():
        if not 0 < len(group) <= GROUP_LIMIT or not group.isprintable():
            raise Invalid(f"A group has 1 to {GROUP_LIMIT} printable characters.")
        checked_roles(roles)
    strong = sorted(given.get(EVERYONE, frozenset()) & ADMINISTRATORS)
    if strong:
        raise Invalid(
            f"'*' gives nobody the role {strong[0]}.", remedy="Name the group that is to have it."
        )
    return dict(given)


# --- what a provider sends ----------------------------------------------------------------------------


def claim_at(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name, or by a path of names. Names with dots in them (URLs) come first."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return found


def groups_in(claims: Mapping[str, Any], path: str) -> frozenset[str]:
    """The groups a claim names: a list of texts, or one. Raises Unproved for more than can be true."""
    said = claim_at(claims, path)
    listed = [said] if isinstance(said, str) else said
    if not isinstance(listed, list):
        return frozenset()
    if len(listed) > GROUPS_LIMIT:
        raise Unproved("too many groups")
    # What is mapped by '*' is everybody's already: a group of that name must not be more.
    return frozenset(
        group
        for group in listed
        if isinstance(group, str) and group != EVERYONE and len(group) <= GROUP_LIMIT
    )


def text_in(claims: Mapping[str, Any], path: str) -> str:
    """One printable line of a claim; '' for anything else."""
    said = claim_at(claims, path)
    good = isinstance(said, str) and len(said) <= TEXT_LIMIT and said.isprintable()
    return said.strip() if good else ""


def proven(provider: IdentityProvider, claims: Mapping[str, Any]) -> Proven:
    """Somebody from claims whose signature, issuer and audience were checked. Raises Unproved."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_LIMIT:
        raise Unproved("no subject")
    if not subject.isascii() or not subject.isprintable():
        raise Unproved("no subject")
    return Proven(
        provider.issuer,
        subject,
        text_in(claims, provider.login_claim),
        text_in(claims, "name"),
        groups_in(claims, provider.groups_claim),
    )


# --- the way back -------------------------------------------------------------------------------------


def local_path(text: str) -> str:
    """Where a browser goes afterwards: a path of this site. '' for anything that could lead elsewhere."""
    path = text.partition("?")[0]
    if len(text) > PATH_LIMIT or not _LOCAL.match(text) or "//" in path:
        return ""
    if any(part in (".", "..") for part in path.lower().replace("%2e", ".").split("/")):
        return ""
    return "" if re.match(r"/(t/[^/]*/)?(api|dicomweb)(/|\Z)", path) else text
