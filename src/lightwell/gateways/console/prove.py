"""Proving again who one is, by the web app: parse, one call, render.

A page asks here when it was told `urn:lightwell:prove-again`, and then asks once more for what it wanted. A
proof that fails is 403, never 401: the session goes on as it was.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from lightwell.access.context import Context
from lightwell.domain.people.errors import NotLetIn
from lightwell.domain.people.model import PROVED
from lightwell.domain.people.opening import SignedIn
from lightwell.domain.people.ports import Site
from lightwell.domain.people.provider_sign_in_api import ProviderSignIn
from lightwell.domain.people.providers import IdentityProvider
from lightwell.domain.people.sign_in_api import SignIn
from lightwell.gateways.console.api import PREFIX
from lightwell.gateways.console.callers import deliberate
from lightwell.gateways.console.provider_sign_in import (
    ProviderView,
    browser_cookie,
    callback_path,
    public_root,
)
from lightwell.gateways.console.sign_in import PasskeyAsked, site_of, site_read, small
from lightwell.gateways.http.door import CALLER_SCOPE
from lightwell.gateways.http.identity import Caller, Identity, not_recognised, session_cookie
from lightwell.kernel.errors import Invalid


class _Asked(BaseModel):
    """What is asked for; anything that is not named here is refused (R08)."""

    model_config = ConfigDict(extra="forbid")


class PasswordProof(_Asked):
    password: str = Field(max_length=2000, repr=False)
    code: str = Field(default="", max_length=100, repr=False)


class PasskeyProof(_Asked):
    ticket: str = Field(max_length=100, repr=False)
    answer: dict[str, Any] = Field(repr=False)


class ProviderProof(_Asked):
    """Where to sign in once more, and where to go afterwards: a path of this site."""

    name: str = Field(max_length=100)
    to: str = Field(default="", max_length=2000)


class WaysView(BaseModel):
    """With what the caller can prove again who they are; and for how long that is good, in seconds."""

    password: bool
    code: bool
    passkey: bool
    provider: ProviderView | None
    good_for: int


class DepartureView(BaseModel):
    """Where the browser goes, with the cookie it got beside this."""

    address: str = Field(repr=False)


class ProvedView(BaseModel):
    """Who has proved it. The session goes on under another cookie."""

    name: str


def caller_of(request: Request) -> Caller:
    """Who asks; nobody in particular has nothing to prove. Raises HttpProblem 401."""
    caller: Caller | None = request.scope[CALLER_SCOPE]
    if caller is None:
        raise not_recognised()
    return caller


def _provider_view(provider: IdentityProvider | None) -> ProviderView | None:
    if provider is None:
        return None
    return ProviderView(name=provider.name, label=provider.label)


Who = Annotated[Caller, Depends(caller_of)]


def at_home(who: Caller, request: Request) -> Context:
    """The caller's context where their account is, whichever tenant's page they are on."""
    origin = request.client.host if request.client else ""
    return who.context(who.home, "console", origin)


def site_named(request: Request) -> Site:
    """The web site by its name. Raises Invalid at an address, where no passkey can be."""
    site = site_of(request)
    if site is None:
        raise Invalid("Passkeys need a name in the address, not a number.", remedy="Use localhost.")
    return site


def add_prove(app: FastAPI, sign_in: SignIn, identity: Identity) -> None:
    """Put the addresses on the application."""
    guards = [Depends(deliberate), Depends(small)]

    def proved(request: Request, response: Response, done: SignedIn) -> ProvedView:
        secure = identity.secure(request.scope)
        response.headers["set-cookie"] = session_cookie(done.token, secure=secure)
        response.headers["cache-control"] = "no-store"
        return ProvedView(name=done.session.name)

    @app.get(f"{PREFIX}/prove", summary="With what to prove again who one is")
    async def ways(who: Who, request: Request) -> WaysView:
        found = await sign_in.ways(at_home(who, request))
        return WaysView(
            password=found.password,
            code=found.code,
            passkey=found.passkey and site_read(request) is not None,
            provider=_provider_view(found.provider),
            good_for=int(PROVED.total_seconds()),
        )

    @app.post(
        f"{PREFIX}/prove/password",
        summary="Prove again who one is with password and code",
        dependencies=guards,
    )
    async def by_password(
        who: Who, request: Request, response: Response, asked: PasswordProof
    ) -> ProvedView:
        done = await sign_in.prove_by_password(
            at_home(who, request), who.token, asked.password, asked.code
        )
        return proved(request, response, done)

    @app.post(
        f"{PREFIX}/prove/passkey-options",
        summary="What to ask a passkey of this account",
        dependencies=guards,
    )
    async def passkey_options(who: Who, request: Request) -> PasskeyAsked:
        ticket, options = await sign_in.prove_request(at_home(who, request), site_named(request))
        return PasskeyAsked(ticket=ticket, options=options)

    @app.post(
        f"{PREFIX}/prove/passkey",
        summary="Prove again who one is with a passkey",
        dependencies=guards,
    )
    async def by_passkey(
        who: Who, request: Request, response: Response, asked: PasskeyProof
    ) -> ProvedView:
        done = await sign_in.prove_by_passkey(
            at_home(who, request), who.token, site_named(request), asked.ticket, asked.answer
        )
        return proved(request, response, done)


def add_prove_at_provider(
    app: FastAPI, sign_in: ProviderSignIn, identity: Identity, public_url: str | None
) -> None:
    """Put the address on the application that sends somebody to their provider once more."""

    @app.post(
        f"{PREFIX}/prove/provider",
        summary="Prove again who one is by signing in at one's identity provider",
        dependencies=[Depends(deliberate), Depends(small)],
    )
    async def begin(
        who: Who, request: Request, response: Response, asked: ProviderProof
    ) -> DepartureView:
        secure = identity.secure(request.scope)
        here = at_home(who, request)
        try:
            root = public_root(request, public_url, secure=secure)
        except NotLetIn:
            raise Invalid(
                "This server does not know its own address.",
                remedy="Whoever runs it sets LIGHTWELL_PUBLIC_URL.",
            ) from None
        callback = root + callback_path(here.tenant.name, asked.name)
        departure = await sign_in.begin_proof(here, who.token, asked.name, callback, asked.to)
        response.headers["set-cookie"] = browser_cookie(departure.browser, secure=secure)
        response.headers["cache-control"] = "no-store"
        return DepartureView(address=departure.address)
