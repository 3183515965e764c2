"""Time-based one-time passwords (RFC 6238 over RFC 4226): SHA-1, six digits, thirty seconds. Pure."""

from __future__ import annotations

import base64
import hmac
import secrets
from urllib.parse import quote, urlencode

STEP_SECONDS = 30
DIGITS = 6
SKEW = 1  # steps each way: clocks differ, people are slow
SECRET_BYTES = 20  # RFC 4226 section 4, R6: at least 16, better 20


def new_secret() -> bytes:
    """The secret that we and the person's device share."""
    return secrets.token_bytes(SECRET_BYTES)


def code_at(secret: bytes, step: int) -> str:
    """The code of one step (RFC 4226 5.3, dynamic truncation)."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    at = digest[-1] & 0x0F
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFFFFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def matching_step(secret: bytes, code: str, now: float, last_used: int) -> int | None:
    """The step a code is of, newer than the last one used; None when it is wrong or was used.

    `now`: seconds since 1970. Every candidate is compared, so that the time says nothing.
    """
    typed = "".join(code.split())
    current = int(now) // STEP_SECONDS
    found = None
    for step in range(current - SKEW, current + SKEW + 1):
        equal = hmac.compare_digest(code_at(secret, step).encode(), typed.encode())
        if equal and step > last_used:
            found = step
    return found


def provisioning_uri(secret: bytes, *, login: str, issuer: str) -> str:
    """What authenticators read as a QR code (the Key URI format)."""
    label = quote(f"{issuer}:{login}", safe="")
    text = base64.b32encode(secret).decode().rstrip("=")
    query = urlencode({"secret": text, "issuer": issuer}, quote_via=quote)
    return f"otpauth://totp/{label}?{query}"
