"""How a tenant looks to its people, before they sign in and after: label, accent, notice. Pure.

An accent is text on the dark grounds of the web app, so it is taken only where everybody can read it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from lightwell.access.context import Tenant
from lightwell.kernel.errors import Invalid

NOTICE_LIMIT: Final = 500
LEAST_CONTRAST: Final = 4.5  # WCAG 2.2, success criterion 1.4.3 (AA), of text of ordinary size
GROUNDS: Final = ("#0c0f13", "#12161c", "#1a2028")
"""What the web app writes an accent upon (web/src/ui/tokens.css: ground, surface, raised)."""

_COLOUR: Final = re.compile(r"#[0-9a-f]{6}\Z")


@dataclass(frozen=True, slots=True)
class Branding:
    """What a tenant's sign-in page shows. '' where nothing was chosen."""

    label: str
    accent: str = ""
    notice: str = ""


def branding_of(tenant: Tenant) -> Branding:
    """What a tenant has chosen."""
    return Branding(tenant.label, tenant.accent, tenant.notice)


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`, 0 (black) to 1 (white) (WCAG 2.2, definitions)."""
    red, green, blue = (_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    """One component of sRGB without its gamma (IEC 61966-2-1)."""
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours `#rrggbb`, 1 to 21 (WCAG 2.2, definitions)."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def checked_accent(text: str) -> str:
    """An accent colour as it is kept, `#rrggbb` in small letters; '' for none. Raises Invalid, also for one
    that is too dark to be read."""
    colour = text.strip().lower()
    if not colour:
        return ""
    if not _COLOUR.match(colour):
        raise Invalid(
            "An accent is a colour like #5fb3ce.", remedy="Give '#' and six hexadecimal digits."
        )
    ratio = min(contrast(colour, ground) for ground in GROUNDS)
    if ratio < LEAST_CONTRAST:
        # Cut, not rounded: 4.499 is not enough, and must not be told as 4.5.
        raise Invalid(
            f"The accent {colour} has a contrast of {int(ratio * 100) / 100:.2f} : 1 with the dark pages;"
            f" text needs {LEAST_CONTRAST} : 1.",
            remedy="Choose a lighter one of the same hue.",
        )
    return colour


def checked_notice(text: str) -> str:
    """What the sign-in page tells whoever is about to sign in: plain text in one paragraph; '' for nothing.
    Raises Invalid."""
    trimmed = text.strip()
    if len(trimmed) > NOTICE_LIMIT or not trimmed.isprintable():
        raise Invalid(
            f"A notice is one paragraph of at most {NOTICE_LIMIT} characters, without control characters.",
            remedy="Shorten it, or take out line breaks and invisible characters.",
        )
    return trimmed
