"""How often somebody may try to sign in. Pure: counts in, delays out.

Counted are the pair (login, address) and the address, never the login alone: whoever knows a login could
else shut its owner out. What went well does not count.
"""

from __future__ import annotations

import hashlib
import ipaddress
import uuid
from typing import Final

WINDOW_SECONDS: Final = 900.0  # after the first try: counted from the beginning

# Seconds after the n-th failed try until the next one is heard.
PAIR_DELAYS: Final = (*(0.0,) * 4, *(float(2**n) for n in range(10)), 900.0)
ADDRESS_DELAYS: Final = (*(0.0,) * 49, 900.0)
# Being sent to an identity provider, or asked for a passkey: a row, no guess.
START_DELAYS: Final = (*(0.0,) * 599, 60.0)

TOKEN_DELAYS: Final = (
    *(0.0,) * 599,
    60.0,
)  # tokens of one key: each is a row, and lasts for minutes

# Without a delay the next try may be one that began a little before: in another process, or waiting for the
# database. It is not to be turned away because its moment is the earlier one.
SAME_MOMENT_SECONDS: Final = 60.0


def until_after(seconds: float) -> float:
    """Seconds from a try until the next is heard, below zero where there is no delay."""
    return seconds or -SAME_MOMENT_SECONDS


def delay_after(tries: int, delays: tuple[float, ...]) -> float:
    """Seconds to wait after so many tries."""
    return delays[min(tries, len(delays)) - 1] if tries > 0 else 0.0


def place(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 that one subscriber has of IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def pair_key(login: str, address: str, beside: str = "") -> bytes:
    """Key of a login tried from an address; the table of tries names nobody. `beside`: of `Visitor`."""
    return _key("pair", login, place(address), beside)


def address_key(address: str, beside: str = "") -> bytes:
    """Key of an address."""
    return _key("address", place(address), beside)


def start_key(address: str, beside: str = "") -> bytes:
    """Key of an address from which somebody was sent to an identity provider, or
    asked for a passkey."""
    return _key("start", place(address), beside)


def token_key(program_id: uuid.UUID) -> bytes:
    """Key of a program that asks for tokens."""
    return _key("token", str(program_id))


def _key(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
