"""The eight kinds of error that every door translates into its own language.

A kind says what the *caller* may conclude, not what went wrong inside: each gateway owns one total
table from kind to its protocol (DIMSE status, HTTP status, exit code). Refusals carry data; the text
says what happened and what to do, and never holds patient data.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a caller may conclude from a failure."""

    INVALID = "invalid"  # the request itself is wrong; repeating it unchanged is useless
    REFUSED = "refused"  # policy says no
    MISSING = "missing"  # no such thing, or not for this caller: both answer alike
    GONE = "gone"  # it was here and has been taken away on purpose
    CONFLICT = "conflict"  # it contradicts what is already kept
    BUSY = "busy"  # too much at once; try again later
    UNAVAILABLE = "unavailable"  # something we depend on does not answer; try again later
    BROKEN = "broken"  # our own fault, or damage found


class LightwellError(Exception):
    """Base of every error that crosses a room's front door."""

    kind: Kind = Kind.BROKEN

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message


class Invalid(LightwellError):
    """The input cannot be what it claims to be."""

    kind = Kind.INVALID


class Refused(LightwellError):
    """Policy denies the act to this actor."""

    kind = Kind.REFUSED


class Missing(LightwellError):
    """There is no such thing (or none this caller may know of)."""

    kind = Kind.MISSING


class Gone(LightwellError):
    """The thing was here and was taken away on purpose."""

    kind = Kind.GONE


class Conflict(LightwellError):
    """The request contradicts what is already kept."""

    kind = Kind.CONFLICT


class Busy(LightwellError):
    """A limit is reached; the same request may succeed later."""

    kind = Kind.BUSY


class Unavailable(LightwellError):
    """A store, database or peer does not answer; the same request may succeed later."""

    kind = Kind.UNAVAILABLE


class Broken(LightwellError):
    """Damage, or our own fault: an operator must look."""

    kind = Kind.BROKEN
