"""What can go wrong between stored bytes and a picture. Both kinds are the object's fault (422)."""

from __future__ import annotations

from lightwell.kernel.errors import Invalid


class DecodeFailed(Invalid):
    """The pixel data is damaged, contradicts its header, or broke the decoder on the way."""


class DecodeRefused(Invalid):
    """The pixel data asks for more than the limits allow, or for a form we do not decode."""
