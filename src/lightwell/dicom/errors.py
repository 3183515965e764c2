"""Failures of the `dicom` floor. Every one says that the *input* is wrong, never that we are.

Hostile or damaged bytes may only ever raise a `DicomError`; anything else escaping from this package
is a bug. Texts name tags, offsets and counts, never values: a value may be patient data.
"""

from __future__ import annotations

from lightwell.kernel.errors import Kind, LightwellError


class DicomError(LightwellError):
    """The bytes cannot be read as what they claim to be."""

    kind = Kind.INVALID


class NotDicom(DicomError):
    """Neither a Part 10 file nor a plausible data set."""


class Truncated(DicomError):
    """The input ends before the part that was asked for.

    `needed` is the smallest total length in bytes that could be enough, when that is known.
    """

    def __init__(
        self, message: str, *, needed: int | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.needed = needed


class LimitExceeded(DicomError):
    """A bound of `Limits` was reached: size, depth, count or inflation ratio."""


class FrameMissing(DicomError):
    """There is no such frame in the object (or its bytes never arrived)."""

    kind = Kind.MISSING


class FramesUnknown(DicomError):
    """Encapsulated pixel data whose fragments cannot be told apart into frames."""
