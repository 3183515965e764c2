"""Refusals of this room that a door tells apart."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from lightwell.kernel.errors import Busy, Invalid, Kind, LightwellError, Refused, Unavailable


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


class ScopeTooWide(Invalid):
    """A token was asked for that would do what its key does not."""

    def __init__(self) -> None:
        super().__init__("The key was not given that scope.", remedy="Ask for less, or for none.")


class TooManyTries(Busy):
    """Too many tries to sign in from there; `until` says when one is heard again."""

    def __init__(self, until: datetime, now: datetime) -> None:
        self.seconds = max(1, int((until - now).total_seconds()) + 1)
        super().__init__(
            "Too many tries to sign in.", remedy=f"Wait {self.seconds} s before the next one."
        )


class Why(StrEnum):
    """Why a sign-in through an identity provider ended without a session: what the sign-in page explains."""

    AGAIN = "again"  # the answer is to nothing this browser was sent for, or too late
    AWAY = "away"  # the provider does not answer
    CANCELLED = "cancelled"  # the person, or the provider for them, said no
    DECLINED = "declined"  # the provider answered with an error
    NO_ADDRESS = "no-address"  # we do not know our own public address
    NO_LOGIN = "no-login"  # no claim can be a login here
    NO_PROVIDER = "no-provider"  # there is none of that name
    NO_ROLE = "no-role"  # none of the groups has a role here
    OTHER = "other"  # they are somebody else there than here
    SHUT = "shut"  # the account is shut
    TAKEN = "taken"  # somebody else's account has that login
    TOO_MANY = "too-many"  # too many tries from there
    UNPROVED = "unproved"  # what the provider sent proves nothing


class NotLetIn(NotSignedIn):
    """A provider's answer, or the way to it, opens no session."""

    def __init__(self, why: Why) -> None:
        super().__init__("Signing in through the identity provider did not work.")
        self.why = why


class Step(StrEnum):
    """The parts of a connection to an identity provider, in the order they are needed."""

    ADDRESS = "address"  # its name has an address
    CONNECTION = "connection"  # something answers there
    TLS = "tls"  # it has a certificate for that name
    DISCOVERY = "discovery"  # it describes itself
    ISSUER = "issuer"  # it calls itself what we call it
    CLOCK = "clock"  # its clock and ours agree
    KEYS = "keys"  # it shows keys to check its signatures with
    CLIENT = "client"  # it knows us
    TOKEN = "token"  # it gives a token for a code
    CLAIMS = "claims"  # it says more about somebody who signed in
    SIGN_OUT = "sign-out"  # it names where one signs out


class ProviderAway(Unavailable):
    """An identity provider does not answer as one; `step` says which part."""

    def __init__(self, step: Step, what: str) -> None:
        self.step = step
        self.what = what
        super().__init__(
            f"The identity provider fails at {step}: {what}",
            remedy="`lightwell provider test` looks at each part. Local accounts work without it.",
        )


class Unproved(Refused):
    """What a provider sent does not prove who somebody is; `reason` is ours, never a text of the provider."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The provider's answer proves nothing: {reason}.")
