"""Refusals of the archive that carry data."""

from __future__ import annotations

from lightwell.kernel.errors import Broken, Invalid, Missing, Unavailable


class Unreadable(Invalid):
    """The bytes cannot be parsed as what they were announced to be."""


class TooLarge(Invalid):
    """A limit on an object's size, nesting or inflation was passed."""


class NoSuchFrame(Missing):
    """The object has no frame of that number, or its frames cannot be told apart."""


class Damaged(Broken):
    """What was read from the store is not what was put there; it was not served."""


class QuotaReached(Unavailable):
    """The tenant may not keep any more: nothing of the object was kept, nothing was acknowledged."""


class Withdrawn(Unavailable):
    """The object could not be made durable: its row was withdrawn, nothing was acknowledged."""
