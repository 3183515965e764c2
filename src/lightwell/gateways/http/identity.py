"""Who makes a request: a bearer token or the session cookie, and what a browser may do with the latter.

Pure reading of headers (`presented`, `same_origin`, cookies), and `Identity`, which asks the room of people
once a request. Every malformed or ambiguous credential is nobody (401), never somebody else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lightwell.access.context import Actor, Context, Tenant
from lightwell.domain.people.model import Bearer
from lightwell.domain.people.sign_in_api import SignIn
from lightwell.domain.tenants.api import Tenants
from lightwell.gateways.http.asgi import Header, Scope
from lightwell.gateways.http.forwarded import CERTIFICATE
from lightwell.gateways.http.problems import HttpProblem

SECURE_COOKIE: Final = "__Host-lightwell"  # RFC 6265bis 4.1.3.2: Secure, Path=/, no Domain
PLAIN_COOKIE: Final = "lightwell"  # without TLS no browser takes the other one
HARMLESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_CREDENTIALS: Final = re.compile(r"[Bb]earer +([A-Za-z0-9._~+/-]{1,200}=*)\Z")  # RFC 6750 2.1
_CHALLENGE: Final[Header] = (b"www-authenticate", b'Bearer realm="Lightwell"')


def not_recognised() -> HttpProblem:
    """Nobody is recognised: the same whether nothing, nonsense or something old was presented."""
    return HttpProblem(
        401,
        "Sign in first.",
        remedy="Sign in with the browser, or send the header Authorization: Bearer with a key.",
        headers=[_CHALLENGE, (b"cache-control", b"no-store")],
    )


@dataclass(frozen=True, slots=True)
class Presented:
    """A credential as it came. `cookie`: a browser sent it by itself."""

    token: str
    cookie: bool


def is_secure(scope: Scope) -> bool:
    """Whether the browser's side of the connection is TLS; a proxy's word is in the scope already."""
    return scope.get("scheme") == "https"


def cookie_name(*, secure: bool) -> str:
    """The session cookie's name."""
    return SECURE_COOKIE if secure else PLAIN_COOKIE


def session_cookie(token: str, *, secure: bool) -> str:
    """The Set-Cookie value of a session. It ends with the browser; the server ends it before that."""
    name = cookie_name(secure=secure)
    return f"{name}={token}; Path=/; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"


def no_cookie(*, secure: bool) -> str:
    """The Set-Cookie value that takes the session away."""
    return session_cookie("", secure=secure) + "; Max-Age=0"


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


def cookies(scope: Scope, name: str) -> list[str]:
    """All values of a cookie, as they came: more than one is a sign that somebody else put one there."""
    return [
        value.strip()
        for line in _values(scope["headers"], b"cookie")
        for key, _, value in (pair.partition("=") for pair in line.split(";"))
        if key.strip() == name
    ]


def presented(scope: Scope, *, secure: bool) -> Presented | None:
    """The credential of a request. Raises HttpProblem 401 for one that is malformed or given twice."""
    said = _values(scope["headers"], b"authorization")
    if said:
        match = _CREDENTIALS.match(said[0]) if len(said) == 1 else None
        if match is None:
            raise not_recognised()
        return Presented(match[1], cookie=False)
    found = cookies(scope, cookie_name(secure=secure))
    if len(found) > 1:  # one of them was put there by somebody else
        raise not_recognised()
    return Presented(found[0], cookie=True) if found and found[0] else None


def same_origin(scope: Scope) -> bool:
    """Whether a browser says that this site's own page makes the request (Fetch Metadata, RFC 6454).

    Silence is no proof: a cookie comes along by itself, so a change under it must say where it is from.
    """
    site = _values(scope["headers"], b"sec-fetch-site")
    if site:
        return site == ["same-origin"]
    origin, host = _values(scope["headers"], b"origin"), _values(scope["headers"], b"host")
    return len(origin) == len(host) == 1 and origin[0].partition("://")[2] == host[0] != ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody recognised, and the tenant they belong to."""

    bearer: Bearer
    home: Tenant
    token: str
    sign_in: SignIn

    def actor(self, tenant: Tenant) -> Actor:
        """What they are called there. Raises Missing where the tenant is not theirs."""
        return self.sign_in.actor(self.bearer, self.home, tenant)

    @property
    def stepped_up(self) -> bool:
        """Whether the person has just proved again who they are."""
        return self.sign_in.stepped_up(self.bearer)

    def context(self, tenant: Tenant, channel: str, origin: str) -> Context:
        """Their context. Raises Missing where the tenant is not theirs."""
        return self.sign_in.context(self.bearer, self.home, tenant, channel, origin)

    @property
    def in_emergency(self) -> bool:
        """Whether something is open by break-glass, or a sealed account is used."""
        return bool(self.bearer.opened)

    async def stays(self) -> bool:
        """Whether they may still read what they began to: asked while a long answer goes out."""
        return await self.sign_in.unchanged(self.bearer)


class Identity:
    """Recognises whoever makes a request.

    `https`: browsers come over TLS, whatever the connection of the proxy to us says.
    """

    def __init__(self, sign_in: SignIn, tenants: Tenants, *, https: bool = False) -> None:
        self._https = https
        self._sign_in = sign_in
        self._tenants = tenants

    def secure(self, scope: Scope) -> bool:
        """Whether the browser's side of the connection is TLS."""
        return self._https or is_secure(scope)

    async def caller(self, scope: Scope) -> Caller:
        """Who makes the request. Raises HttpProblem 401, 403."""
        given = presented(scope, secure=self.secure(scope))
        if given is None and CERTIFICATE in scope:
            return await self._certified(scope[CERTIFICATE])
        if given is None:
            raise not_recognised()
        bearer = await self._sign_in.recognise(given.token)
        home = await self.home(bearer) if bearer is not None else None
        if bearer is None or home is None:
            raise not_recognised()
        if given.cookie and scope["method"] not in HARMLESS and not same_origin(scope):
            raise HttpProblem(403, "A page of another site asked for this.")
        return Caller(bearer, home, given.token, self._sign_in)

    async def _certified(self, fingerprint: str) -> Caller:
        """The program whose certificate a proxy has verified. Raises HttpProblem 401."""
        bearer = await self._sign_in.recognise_certificate(fingerprint) if fingerprint else None
        home = await self.home(bearer) if bearer is not None else None
        if bearer is None or home is None:
            raise not_recognised()
        return Caller(bearer, home, "", self._sign_in)

    async def home(self, bearer: Bearer) -> Tenant | None:
        """Where they belong; None while that is suspended."""
        tenants = await self._tenants.everyone()
        return next((t for t in tenants if t.key == bearer.tenant and not t.suspended), None)
