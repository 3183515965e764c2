"""Errors as HTTP: one total table from kind to status, and the body that says what to do.

The body is the same for what does not exist and for what this caller may not know of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from lightwell.access.operation import ProofWanted
from lightwell.domain.archive.errors import QuotaReached, TooLarge
from lightwell.domain.archive.ports import StoreFull
from lightwell.domain.people.errors import NotSignedIn, TooManyTries
from lightwell.gateways.http.asgi import Header
from lightwell.kernel.errors import Kind, LightwellError

PROBLEM_JSON: Final = "application/problem+json"
RETRY_SECONDS: Final = 5
PROVE_AGAIN: Final = "urn:lightwell:prove-again"
"""Problem type (RFC 9457 3.1.1): prove again who you are, and ask for the same once more."""

STATUS_OF_KIND: Final[Mapping[Kind, int]] = MappingProxyType(
    {
        Kind.INVALID: 400,
        Kind.REFUSED: 403,
        Kind.MISSING: 404,
        Kind.GONE: 410,
        Kind.CONFLICT: 409,
        Kind.BUSY: 503,
        Kind.UNAVAILABLE: 503,
        Kind.BROKEN: 500,
    }
)


class HttpProblem(LightwellError):
    """A refusal that only HTTP knows: 405, 406, 413, 415, 416."""

    kind = Kind.INVALID

    def __init__(
        self,
        status: int,
        message: str,
        *,
        remedy: str | None = None,
        headers: list[Header] | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.headers = headers or []


def status_of(error: LightwellError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, HttpProblem):
        return error.status
    if isinstance(error, StoreFull | QuotaReached):
        return 507
    if isinstance(error, TooLarge):
        return 413
    if isinstance(error, NotSignedIn):
        return 401
    if isinstance(error, TooManyTries):
        return 429
    return STATUS_OF_KIND[error.kind]


def headers_of(error: LightwellError) -> list[Header]:
    """Headers that belong to an error: when to come back, what else is allowed."""
    if isinstance(error, HttpProblem):
        return error.headers
    if isinstance(error, TooManyTries):
        return [(b"retry-after", b"%d" % error.seconds)]
    if status_of(error) in (503, 507):
        return [(b"retry-after", b"%d" % RETRY_SECONDS)]
    return []


def type_of(error: LightwellError) -> str:
    """The problem type of an error that a program has to tell apart; '' where the status says enough."""
    return PROVE_AGAIN if isinstance(error, ProofWanted) else ""


def problem_body(
    status: int, detail: str, *, remedy: str | None = None, trace: str = "", kind: str = ""
) -> bytes:
    """Problem details (RFC 9457)."""
    body: dict[str, object] = {
        **({"type": kind} if kind else {}),
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if remedy:
        body["remedy"] = remedy
    if trace:
        body["trace"] = trace
    return json.dumps(body, ensure_ascii=False).encode()
