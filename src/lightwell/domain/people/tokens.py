"""Tokens: 256 random bits that say what they are. Only their digests are kept. Pure but for the dice."""

from __future__ import annotations

import hashlib
import re
import secrets
from enum import StrEnum


class TokenKind(StrEnum):
    """What a token opens; its value begins the token, so that a scanner finds one that leaked."""

    SESSION = "lws_"
    KEY = "lwk_"
    LINK = "lwl_"
    CHALLENGE = "lwc_"
    ACCESS = "lwt_"  # what a program was given for its key, for some minutes


_TOKEN = re.compile(r"lw[sklct]_[A-Za-z0-9_-]{43}\Z")
_RECOVERY_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like something else
RECOVERY_CODES = 10
RECOVERY_LENGTH = 16  # of 31 signs: 79 bits


def new_token(kind: TokenKind) -> str:
    """A token nobody can guess."""
    return kind + secrets.token_urlsafe(32)


def is_token(text: str, *kinds: TokenKind) -> bool:
    """Whether a text has the form of one of our tokens of these kinds."""
    return _TOKEN.match(text) is not None and text[:4] in kinds


def digest(text: str) -> bytes:
    """What is kept of a token. It has 256 bits of its own: no salt, no slow hash is needed."""
    return hashlib.sha256(text.encode()).digest()


def certificate_digest(fingerprint: str) -> bytes:
    """What a certificate is found by, as a token is by its digest; no text is both."""
    return hashlib.sha256(f"certificate:{fingerprint}".encode()).digest()


def new_recovery_codes() -> tuple[str, ...]:
    """Ten codes to be written down, each for one sign-in without the second factor."""
    signs = [
        "".join(secrets.choice(_RECOVERY_ALPHABET) for _ in range(RECOVERY_LENGTH))
        for _ in range(RECOVERY_CODES)
    ]
    return tuple("-".join(s[n : n + 4] for n in range(0, RECOVERY_LENGTH, 4)) for s in signs)


def recovery_digest(code: str) -> bytes:
    """What is kept of a recovery code; spaces, dashes and case do not matter."""
    plain = "".join(c for c in code.lower() if c.isalnum())
    return hashlib.sha256(b"recovery:" + plain.encode()).digest()
