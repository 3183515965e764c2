"""What a start prints when there is no administrator yet: a link that makes the first one."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import segno

from lightwell.app.commands.people_commands import link_url
from lightwell.app.wiring import House
from lightwell.domain.tenants.model import DEFAULT


async def offer_first_administrator(house: House, say: Callable[[str], None]) -> None:
    """Make and print the link, unless there is an administrator. An earlier link opens nothing any more."""
    made = await house.people.first_administrator(house.operator(await house.tenants.named()))
    if made is None:
        return
    url = link_url(house.settings.named_url, DEFAULT, made.secret)
    say("There is no administrator yet. This link makes the first one (once, within 24 hours):")
    say(f"  {url}")
    if sys.stdout.isatty():
        say(qr_text(url))


def qr_text(text: str) -> str:
    """A QR code in half blocks, for a terminal."""
    out = io.StringIO()
    segno.make(text, error="l").terminal(out, compact=True)
    return out.getvalue()
