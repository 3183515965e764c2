"""What may be a password (NIST SP 800-63B-4 3.1.1, OWASP ASVS 5.0 6.2). Pure.

Length counts, not classes of characters; what an attacker would try early (leaked passwords, words, runs
on the keyboard, dates, the login) is refused: how early, zxcvbn estimates.
"""

from __future__ import annotations

import secrets
import unicodedata
from typing import Final

LEAST: Final = 12  # characters; beside a second factor
MOST: Final = 1024
_LOOKED_AT: Final = 72  # the estimate's own limit; a good beginning stays good
_GUESSES: Final = 3  # zxcvbn's score: 10^8 guesses and more
_OWN: Final = ("lightwell", "password", "radiology", "hospital")  # what this place suggests
_ALPHABET: Final = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def normalised(password: str) -> str:
    """The one form that is hashed: the same keys on another machine may give other code points."""
    return unicodedata.normalize("NFKC", password)


def objection(password: str, *, login: str = "") -> str | None:
    """Why this may be no password; None when it may."""
    from zxcvbn import zxcvbn  # its word lists take a fifth of a second; few processes ever ask

    text = normalised(password)
    if len(text) < LEAST:
        return f"A password has at least {LEAST} characters; a few words are easy to remember."
    if len(text) > MOST:
        return f"A password has at most {MOST} characters."
    known = [*_OWN, login.casefold()] if login else [*_OWN]
    if zxcvbn(text[:_LOOKED_AT], user_inputs=known)["score"] < _GUESSES:
        return "That password would be guessed early: take a few words that do not belong together."
    return None


def new_password() -> str:
    """Twenty random signs (116 bits), for accounts that nobody has to remember."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(20))
