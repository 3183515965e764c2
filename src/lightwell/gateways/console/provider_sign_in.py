"""Signing in through an identity provider: addresses that a browser is sent to, not asked for by a script.

Whatever happens ends on a page of ours: the one somebody wanted, or the sign-in page with one word of our
own list about what went wrong. Nothing that a provider or an address says is ever shown or followed.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from lightwell.domain.people.errors import (
    NotLetIn,
    NotSignedIn,
    ProviderAway,
    TooManyTries,
    Why,
)
from lightwell.domain.people.provider_sign_in_api import ProviderAnswer, ProviderSignIn
from lightwell.domain.people.providers import loopback_host, split_url
from lightwell.domain.tenants.model import DEFAULT
from lightwell.gateways.console.sign_in import PUBLIC, Guest, Who
from lightwell.gateways.http.door import PREFIX_SCOPE
from lightwell.gateways.http.identity import Identity, cookies, session_cookie
from lightwell.kernel.errors import Busy, Conflict, LightwellError

COOKIE_SECONDS: Final = 600  # as long as what it opens is kept
_SECURE_COOKIE: Final = "__Host-lightwell-provider"
_PLAIN_COOKIE: Final = "lightwell-provider"


class ProviderView(BaseModel):
    """A way to sign in."""

    name: str
    label: str


def callback_path(tenant: str, name: str) -> str:
    """Where a provider sends a browser back to: one address a provider, so that none can answer for another
    (RFC 9700 4.4.2)."""
    place = "" if tenant == DEFAULT else f"/t/{tenant}"
    return f"{place}{PUBLIC}/provider/{name}/callback"


def signed_out_path(tenant: str) -> str:
    """Where a provider sends a browser back to whose session it has ended: the sign-in page."""
    return f"{'' if tenant == DEFAULT else f'/t/{tenant}'}/sign-in"


def public_root(request: Request, configured: str | None, *, secure: bool) -> str:
    """Our own address as browsers know it: what is configured, or loopback. Raises NotLetIn.

    Never the Host header of a stranger: the provider would be told to send people there.
    """
    if configured is not None:
        return configured
    root = f"{'https' if secure else 'http'}://{request.headers.get('host', '')}"
    parts = split_url(root)
    if parts is None or parts.path or parts.query or not loopback_host(parts.hostname):
        raise NotLetIn(Why.NO_ADDRESS)
    return root


def browser_cookie(value: str, *, secure: bool) -> str:
    """The Set-Cookie value by which a browser is known again; '' takes it away."""
    name = _SECURE_COOKIE if secure else _PLAIN_COOKIE
    life = COOKIE_SECONDS if value else 0
    lax = "HttpOnly; SameSite=Lax"  # Strict would not come along when the provider sends it back
    return f"{name}={value}; Path=/; {lax}; Max-Age={life}{'; Secure' if secure else ''}"


def browser_in(request: Request, *, secure: bool) -> str:
    """What a browser is known again by; '' for none, and for two: one of them somebody else has put there."""
    found = cookies(request.scope, _SECURE_COOKIE if secure else _PLAIN_COOKIE)
    return found[0] if len(found) == 1 else ""


def answer_in(request: Request) -> ProviderAnswer | None:
    """What came back; None where a parameter came twice (RFC 6749 3.1)."""
    given = request.query_params.multi_items()
    said = dict(given)
    if len(said) != len(given):
        return None
    return ProviderAnswer(
        said.get("state", ""), said.get("code", ""), said.get("error", ""), said.get("iss")
    )


def why(error: LightwellError) -> Why | None:
    """What the sign-in page says about an error; None where it is no matter of signing in."""
    match error:
        case NotLetIn():
            return error.why
        case ProviderAway():
            return Why.AWAY
        case TooManyTries() | Busy():
            return Why.TOO_MANY
        case NotSignedIn() | Conflict():
            return Why.AGAIN
    return None


def add_provider_sign_in(
    app: FastAPI, sign_in: ProviderSignIn, identity: Identity, public_url: str | None
) -> None:
    """Put the addresses on the application."""

    def sent(place: str, *set_cookies: str) -> Response:
        response = Response(status_code=303, headers={"location": place})
        response.headers["cache-control"] = "no-store"
        response.headers["referrer-policy"] = "no-referrer"  # the address we come from holds a code
        for each in set_cookies:
            response.headers.append("set-cookie", each)
        return response

    def back(request: Request, error: LightwellError, *set_cookies: str) -> Response:
        word = why(error)
        if word is None:
            raise error
        at = f"&at={error.step}" if isinstance(error, ProviderAway) else ""
        return sent(f"{request.scope[PREFIX_SCOPE]}/sign-in?problem={word}{at}", *set_cookies)

    @app.get(f"{PUBLIC}/providers", summary="Whom one can sign in through")
    async def offered(guest: Who, response: Response) -> list[ProviderView]:
        response.headers["cache-control"] = "no-store"
        if not guest.known:
            return []
        there = await sign_in.offered(guest.visitor)
        return [ProviderView(name=each.name, label=each.label) for each in there]

    @app.get(f"{PUBLIC}/provider/{{name}}", summary="Go to an identity provider", status_code=303)
    async def begin(
        guest: Who, request: Request, name: str, to: Annotated[str, Query()] = ""
    ) -> Response:
        secure = identity.secure(request.scope)
        try:
            root = public_root(request, public_url, secure=secure)
            callback = root + callback_path(guest.visitor.tenant.name, name)
            departure = await sign_in.begin(guest.visitor, _known(guest, name), callback, to)
        except LightwellError as error:
            return back(request, error)
        return sent(departure.address, browser_cookie(departure.browser, secure=secure))

    @app.get(
        f"{PUBLIC}/provider/{{name}}/callback",
        summary="Come back from an identity provider",
        status_code=303,
    )
    async def arrive(guest: Who, request: Request, name: str) -> Response:
        secure = identity.secure(request.scope)
        gone = browser_cookie("", secure=secure)
        answer, browser = answer_in(request), browser_in(request, secure=secure)
        try:
            if answer is None:
                raise NotLetIn(Why.AGAIN)
            arrival = await sign_in.arrive(guest.visitor, _known(guest, name), answer, browser)
        except LightwellError as error:
            # An answer to nothing that was asked may be anybody's link: what was begun goes on.
            stray = isinstance(error, NotLetIn) and error.why is Why.AGAIN
            return back(request, error, *(() if stray else (gone,)))
        begun = session_cookie(arrival.signed_in.token, secure=secure)
        return sent(arrival.to or f"{request.scope[PREFIX_SCOPE]}/", begun, gone)


def _known(guest: Guest, name: str) -> str:
    """A provider's name as far as it can be one of this tenant."""
    return name if guest.known else ""
