"""Refusals of this room that a door tells apart."""

from __future__ import annotations

from datetime import datetime

from lightwell.kernel.errors import Busy, Kind, LightwellError


class NotSignedIn(LightwellError):
    """Nobody is recognised. The words are the same whatever was wrong: login, password, code, or all."""

    kind = Kind.REFUSED

    def __init__(self, message: str = "Login, password or code is not right.") -> None:
        super().__init__(message, remedy="Try again, or ask whoever runs this archive.")


class NotProved(LightwellError):
    """Somebody signed in could not prove again who they are. The session stays as it is."""

    kind = Kind.REFUSED

    def __init__(self, message: str = "Password or code is not right.") -> None:
        super().__init__(message, remedy="Try again, or sign in anew.")


class TooManyTries(Busy):
    """Too many tries to sign in from there; `until` says when one is heard again."""

    def __init__(self, until: datetime, now: datetime) -> None:
        self.seconds = max(1, int((until - now).total_seconds()) + 1)
        super().__init__(
            "Too many tries to sign in.", remedy=f"Wait {self.seconds} s before the next one."
        )
