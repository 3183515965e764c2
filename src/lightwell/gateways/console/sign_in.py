"""Signing in by the web app: parse, one call, render. The addresses that answer to anybody.

An address of a tenant that does not exist answers as one where the login is wrong: who has no session cannot
find out which tenants there are.
"""

from __future__ import annotations

import io
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

import segno
from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from lightwell.access.context import Tenant
from lightwell.domain.people.opening import SignedIn, Visitor
from lightwell.domain.people.ports import Site
from lightwell.domain.people.sign_in_api import SignIn
from lightwell.domain.tenants.branding import Branding
from lightwell.gateways.http.door import PREFIX_SCOPE, TENANT_SCOPE
from lightwell.gateways.http.identity import Identity, session_cookie
from lightwell.kernel.errors import Invalid

PUBLIC = "/api/v1/sign-in"
SIGN_OUT = "/api/v1/sign-out"
BODY_LIMIT = 64 * 1024


class _Asked(BaseModel):
    """What is asked for; anything that is not named here is refused (R08)."""

    model_config = ConfigDict(extra="forbid")


class PasswordSignIn(_Asked):
    login: str = Field(max_length=200)
    password: str = Field(max_length=2000, repr=False)
    code: str = Field(default="", max_length=100, repr=False)


class LinkSignIn(_Asked):
    token: str = Field(max_length=100, repr=False)


class PasskeySignIn(_Asked):
    ticket: str = Field(max_length=100, repr=False)
    answer: dict[str, Any] = Field(repr=False)


class EnrolmentAsked(_Asked):
    token: str = Field(max_length=100, repr=False)
    login: str = Field(default="", max_length=200)


class Enrol(_Asked):
    token: str = Field(max_length=100, repr=False)
    ticket: str = Field(max_length=100, repr=False)
    login: str = Field(default="", max_length=200)
    name: str = Field(default="", max_length=200)
    password: str = Field(default="", max_length=2000, repr=False)
    code: str = Field(default="", max_length=100, repr=False)
    passkey: dict[str, Any] | None = Field(default=None, repr=False)


class PageView(BaseModel):
    """What the sign-in page shows of the tenant whose address it is, and all that it may learn."""

    label: str
    accent: str
    notice: str


class SignedInView(BaseModel):
    """Who has signed in. `recovery_codes` are shown once, after a password was chosen."""

    name: str
    recovery_codes: list[str] = []


class EnrolmentView(BaseModel):
    """What there is to choose from. `totp_qr`: an SVG picture of `totp_uri`."""

    ticket: str
    first: bool
    login: str
    totp_uri: str
    totp_qr: str
    passkey: dict[str, Any] | None


class PasskeyAsked(BaseModel):
    ticket: str
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody at a sign-in address; `known` is false where there is no such tenant."""

    visitor: Visitor
    known: bool

    def token(self, text: str) -> str:
        """A token as far as it can be one of this tenant."""
        return text if self.known else ""

    def login(self, text: str) -> str:
        """A login as far as it can be one of this tenant; of one that is not there nobody's, counted as
        another would be (W10)."""
        return text if self.known else f"/{text}"


def tenant_named(request: Request) -> str:
    """The tenant's name that an address means, also where there is none of that name; '' at the host of one
    that is suspended."""
    tenant: Tenant | None = request.scope[TENANT_SCOPE]
    prefix: str = request.scope[PREFIX_SCOPE]
    return tenant.name if tenant is not None else prefix.removeprefix("/t/")


def site_of(request: Request) -> Site | None:
    """The web site as the browser names it; None at an address, where no passkey can be (WebAuthn 5.1.3)."""
    origin = request.headers.get("origin", "")
    if origin.partition("://")[2] != request.headers.get("host", ""):
        return None
    return _site_named(origin)


def site_read(request: Request) -> Site | None:
    """The same for a page that reads: a browser names no origin when it reads from its own site (Fetch 3.2),
    so the Host is taken then. Good for saying what can be done; what is asked of a passkey, and what it has
    signed, wants `site_of`.
    """
    if "origin" in request.headers:
        return site_of(request)
    return _site_named(f"{request.url.scheme}://{request.headers.get('host', '')}")


def _site_named(origin: str) -> Site | None:
    """A site of an origin that is a name."""
    try:
        host = urlsplit(origin).hostname
    except ValueError:  # brackets without an address in them
        return None
    if not host:
        return None
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return Site(origin, host)
    return None


def qr_picture(text: str) -> str:
    """A QR code as an SVG of its own, dark on light, with its quiet zone."""
    out = io.BytesIO()
    segno.make(text, error="m").save(
        out, kind="svg", scale=4, border=4, light="#fff", xmldecl=False, svgns=True
    )
    return out.getvalue().decode()


async def guest_of(request: Request) -> Guest:
    """Who is at the door: where they are, what they come with."""
    tenant: Tenant | None = request.scope[TENANT_SCOPE]
    origin = request.client.host if request.client else ""
    stands_in: Callable[[], Awaitable[Tenant]] = request.app.state.nowhere
    visitor = Visitor(
        tenant or await stands_in(),
        origin,
        request.headers.get("user-agent", ""),
        beside="" if tenant is not None else f"/{tenant_named(request)}",
    )
    return Guest(visitor, tenant is not None)


def small(request: Request) -> None:
    """Refuse a body of unknown or great length. Raises Invalid."""
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > BODY_LIMIT:
        raise Invalid(f"The request has a body of at most {BODY_LIMIT} bytes.")


Who = Annotated[Guest, Depends(guest_of)]


def add_sign_in(
    app: FastAPI,
    sign_in: SignIn,
    identity: Identity,
    nowhere: Callable[[], Awaitable[Tenant]],
    deliberate: Callable[[Request], None],
    branding: Callable[[str], Awaitable[Branding]],
) -> None:
    """Put the addresses on the application. `nowhere`: the tenant that stands in for one that is not;
    `branding`: how the tenant of a name looks."""

    app.state.nowhere = nowhere
    guards = [Depends(deliberate), Depends(small)]

    def begun(request: Request, response: Response, done: SignedIn) -> SignedInView:
        secure = identity.secure(request.scope)
        response.headers["set-cookie"] = session_cookie(done.token, secure=secure)
        response.headers["cache-control"] = "no-store"
        return SignedInView(name=done.session.name, recovery_codes=list(done.recovery_codes))

    @app.get(f"{PUBLIC}/page", summary="How the sign-in page looks")
    async def page(request: Request) -> PageView:
        shown = await branding(tenant_named(request))
        return PageView(label=shown.label, accent=shown.accent, notice=shown.notice)

    @app.post(f"{PUBLIC}/password", summary="Sign in with password and code", dependencies=guards)
    async def by_password(
        guest: Who, request: Request, response: Response, asked: PasswordSignIn
    ) -> SignedInView:
        done = await sign_in.by_password(
            guest.visitor, guest.login(asked.login), asked.password, asked.code
        )
        return begun(request, response, done)

    @app.post(f"{PUBLIC}/link", summary="Sign in with a one-time link", dependencies=guards)
    async def by_link(
        guest: Who, request: Request, response: Response, asked: LinkSignIn
    ) -> SignedInView:
        done = await sign_in.by_link(guest.visitor, guest.token(asked.token))
        return begun(request, response, done)

    @app.post(f"{PUBLIC}/passkey-options", summary="What to ask a passkey", dependencies=guards)
    async def passkey_options(guest: Who, request: Request) -> PasskeyAsked:
        site = site_of(request)
        if site is None:
            raise Invalid(
                "Passkeys need a name in the address, not a number.", remedy="Use localhost."
            )
        ticket, options = await sign_in.passkey_request(guest.visitor, site)
        return PasskeyAsked(ticket=ticket, options=options)

    @app.post(f"{PUBLIC}/passkey", summary="Sign in with a passkey", dependencies=guards)
    async def by_passkey(
        guest: Who, request: Request, response: Response, asked: PasskeySignIn
    ) -> SignedInView:
        site = site_of(request)
        if site is None:
            raise Invalid(
                "Passkeys need a name in the address, not a number.", remedy="Use localhost."
            )
        ticket = guest.token(asked.ticket)
        done = await sign_in.by_passkey(guest.visitor, site, ticket, asked.answer)
        return begun(request, response, done)

    @app.post(f"{PUBLIC}/enrolment", summary="What a link lets one choose", dependencies=guards)
    async def enrolment(guest: Who, request: Request, asked: EnrolmentAsked) -> EnrolmentView:
        offer = await sign_in.enrolment(
            guest.visitor, site_of(request), guest.token(asked.token), asked.login
        )
        return EnrolmentView(
            ticket=offer.ticket,
            first=offer.first,
            login=offer.login,
            totp_uri=offer.totp_uri,
            totp_qr=qr_picture(offer.totp_uri),
            passkey=offer.passkey_options,
        )

    @app.post(f"{PUBLIC}/enrol", summary="Choose what to sign in with", dependencies=guards)
    async def enrol(guest: Who, request: Request, response: Response, asked: Enrol) -> SignedInView:
        done = await sign_in.enrol(
            guest.visitor,
            site_of(request),
            guest.token(asked.token),
            asked.ticket,
            login=asked.login,
            name=asked.name,
            password=asked.password,
            code=asked.code,
            passkey=asked.passkey,
        )
        return begun(request, response, done)
