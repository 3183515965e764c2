"""Signing out: parse, end the session here, say where else there is one to end. Answers to anybody.

The session here ends first, whatever becomes of the rest: a provider that is away keeps nobody signed in.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from lightwell.domain.people.errors import NotLetIn, ProviderAway
from lightwell.domain.people.model import Bearer
from lightwell.domain.people.provider_sign_in_api import ProviderSignIn
from lightwell.domain.people.sign_in_api import SignIn
from lightwell.gateways.console.provider_sign_in import public_root, signed_out_path
from lightwell.gateways.console.sign_in import SIGN_OUT
from lightwell.gateways.http.identity import Identity, no_cookie, presented
from lightwell.kernel.errors import LightwellError


class SignedOutView(BaseModel):
    """The session here is over. `address`: where the browser ends the one with its identity provider; null:
    the provider does not answer, and that one may live on."""

    address: str | None


def add_sign_out(
    app: FastAPI,
    sign_in: SignIn,
    providers: ProviderSignIn | None,
    identity: Identity,
    public_url: str | None,
    deliberate: Callable[[Request], None],
) -> None:
    """Put the address on the application. Without `providers` nobody came through one."""

    async def elsewhere(request: Request, over: Bearer) -> SignedOutView | None:
        """What is left to do; None for nothing."""
        home = await identity.home(over)
        if providers is None or home is None:
            return None
        try:
            root = public_root(request, public_url, secure=identity.secure(request.scope))
            back = root + signed_out_path(home.name)
        except NotLetIn:  # we do not know our own address: the provider keeps the browser
            back = ""
        try:
            address = await providers.way_out(over, home, back)
        except ProviderAway:
            return SignedOutView(address=None)
        return SignedOutView(address=address) if address else None

    @app.post(
        SIGN_OUT,
        summary="End this session",
        description="204; 200 with an address where the identity provider has a session to be ended, too.",
        status_code=204,
        responses={200: {"model": SignedOutView}},
        dependencies=[Depends(deliberate)],
    )
    async def sign_out(request: Request) -> Response:
        secure = identity.secure(request.scope)
        given = presented(request.scope, secure=secure)
        over = await sign_in.sign_out(given.token) if given is not None else None
        headers = {"set-cookie": no_cookie(secure=secure), "clear-site-data": '"cache", "storage"'}
        try:
            left = await elsewhere(request, over) if over is not None else None
        except LightwellError:  # signed out is signed out
            left = None
        if left is None:
            return Response(status_code=204, headers=headers)
        return JSONResponse(left.model_dump(), headers=headers)
