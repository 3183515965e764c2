"""Tokens for programs: the client credentials grant of OAuth 2.0 (RFC 6749 4.4). Answers to anybody.

The client id is the name or id of a key, the client secret the key itself: by HTTP Basic or in the form,
never both, never in the address. Errors are those of RFC 6749 5.2, the same for a client that is not there.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl, unquote_plus

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response

from lightwell.domain.people.errors import NotSignedIn, ScopeTooWide
from lightwell.domain.people.machine_api import MachineSignIn
from lightwell.domain.people.model import checked_scopes
from lightwell.gateways.console.sign_in import Guest, guest_of, small
from lightwell.kernel.errors import Invalid

TOKEN: Final = "/api/v1/token"
_FORM: Final = "application/x-www-form-urlencoded"
_FIELDS: Final = 20
_VALUE: Final = 2000
_BASIC: Final = re.compile(r"[Bb]asic +([A-Za-z0-9+/]{1,4000}=*)\Z")
_UNSAID: Final = {"cache-control": "no-store", "pragma": "no-cache"}

Error = Literal["invalid_request", "invalid_client", "unsupported_grant_type", "invalid_scope"]


class _Wrong(Exception):
    """What RFC 6749 5.2 calls it, and in words."""

    def __init__(self, error: Error, words: str) -> None:
        super().__init__(words)
        self.error: Error = error
        self.words = words


def form_of(kind: str, body: bytes) -> Mapping[str, str]:
    """The parameters of a request. One that is given twice is none that could be meant (RFC 6749 3.2)."""
    if kind.partition(";")[0].strip().lower() != _FORM:
        raise _Wrong("invalid_request", f"Parameters come as {_FORM}.")
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=_FIELDS, errors="strict"
        )
    except ValueError:
        raise _Wrong("invalid_request", "The parameters cannot be read.") from None
    form = dict(pairs)
    if len(form) != len(pairs) or any(len(value) > _VALUE for value in form.values()):
        raise _Wrong("invalid_request", "A parameter is given twice, or is too long.")
    return form


def client_of(said: list[str], form: Mapping[str, str]) -> tuple[str, str]:
    """Client id and secret (RFC 6749 2.3.1): in one place."""
    in_form = "client_secret" in form
    if not said:
        if "client_id" not in form or not in_form:
            raise _Wrong("invalid_client", "Say which client asks, and its secret.")
        return form["client_id"], form["client_secret"]
    if in_form or len(said) > 1:
        raise _Wrong("invalid_request", "The client says who it is in more than one way.")
    match = _BASIC.match(said[0])
    try:
        name, colon, secret = base64.b64decode(match[1] if match else "").decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise _Wrong("invalid_client", "The Authorization header is not HTTP Basic.")
    if form.get("client_id", unquote_plus(name)) != unquote_plus(name):
        raise _Wrong("invalid_request", "The client says who it is in more than one way.")
    return unquote_plus(name), unquote_plus(secret)


def scopes_of(form: Mapping[str, str]) -> frozenset[str]:
    """The scopes that are asked for; none: all of the key."""
    try:
        return checked_scopes(frozenset(form.get("scope", "").split()))
    except Invalid as error:
        raise _Wrong("invalid_scope", error.message) from None


def add_token(app: FastAPI, machines: MachineSignIn) -> None:
    """Put the address on the application."""

    @app.post(
        TOKEN,
        summary="A token for a program's key",
        dependencies=[Depends(small)],
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    _FORM: {
                        "schema": {
                            "type": "object",
                            "required": ["grant_type"],
                            "properties": {
                                "grant_type": {"type": "string", "enum": ["client_credentials"]},
                                "scope": {"type": "string"},
                                "client_id": {"type": "string"},
                                "client_secret": {"type": "string"},
                            },
                        }
                    }
                },
            }
        },
    )
    async def token(guest: Annotated[Guest, Depends(guest_of)], request: Request) -> Response:
        said = request.headers.getlist("authorization")
        try:
            return JSONResponse(await _issued(machines, guest, request, said), headers=_UNSAID)
        except _Wrong as wrong:
            error, words = wrong.error, wrong.words
        except NotSignedIn:
            error, words = "invalid_client", "The client or its secret is not right."
        except ScopeTooWide as refused:
            error, words = "invalid_scope", refused.message
        headers = dict(_UNSAID)
        if error == "invalid_client" and said:
            headers["www-authenticate"] = 'Basic realm="Lightwell", charset="UTF-8"'
        status = 401 if error == "invalid_client" else 400
        return JSONResponse({"error": error, "error_description": words}, status, headers)


async def _issued(
    machines: MachineSignIn, guest: Guest, request: Request, said: list[str]
) -> dict[str, Any]:
    form = form_of(request.headers.get("content-type", ""), await request.body())
    name, secret = client_of(said, form)
    if form.get("grant_type") != "client_credentials":
        raise _Wrong("unsupported_grant_type", "Only client_credentials is served.")
    issued = await machines.token(guest.visitor, name, guest.token(secret), scopes_of(form))
    answer: dict[str, Any] = {
        "access_token": issued.token,
        "token_type": "Bearer",
        "expires_in": issued.seconds,
    }
    # Without scopes it may do all that the key's roles may: there is no name for that.
    return {**answer, "scope": " ".join(sorted(issued.scopes))} if issued.scopes else answer
