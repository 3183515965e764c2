"""What a trusted proxy says of the browser's side of a connection. Pure.

`X-Forwarded-For` and `X-Forwarded-Proto` are what anybody can write: they count only when the connection
comes from an address that the operator named, and then only their last word that is no proxy of ours. From
anybody else they are taken off, so that nothing further in can believe them.

The same is true of `Client-Cert` (RFC 9440), in which a proxy that asks for client certificates hands on the
one it has verified. Whoever stands further in knows it by `CERTIFICATE` of the scope, never by a header.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from lightwell.gateways.http.asgi import Application, Receive, Scope, Send
from lightwell.kernel.errors import Invalid

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_FOR: Final = b"x-forwarded-for"
_PROTO: Final = b"x-forwarded-proto"
_CERTIFICATE: Final = b"client-cert"
_CERTIFICATE_LIMIT: Final = 32 * 1024
_BYTES: Final = re.compile(rb":([A-Za-z0-9+/]*={0,2}):\Z")  # a byte sequence of RFC 8941 3.3.5
_SAID_BY_PROXIES: Final = frozenset(
    {
        _CERTIFICATE,
        b"client-cert-chain",
        _FOR,
        _PROTO,
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-real-ip",
        b"forwarded",
    }
)


CERTIFICATE: Final = "lightwell.certificate"
"""In the scope: SHA-256 of the client's certificate, hex, as our proxy says; '' for one that is none."""


def parse_proxies(text: str) -> tuple[Network, ...]:
    """Addresses or networks, separated by commas. Raises Invalid."""
    try:
        return tuple(ipaddress.ip_network(one.strip()) for one in text.split(",") if one.strip())
    except ValueError as error:
        raise Invalid(
            f"{text!r} names no addresses.", remedy="For example 127.0.0.1 or 10.1.2.0/28."
        ) from error


@lru_cache(maxsize=1024)
def is_one_of(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address is in one of the networks."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in networks)


def _words(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """The words of all headers of a name; the nearest proxy's own is the last."""
    found: list[str] = []
    for key, value in headers:
        if key.lower() == name:
            found += [word.strip() for word in value.decode("latin-1").split(",")]
    return found


def _address(word: str) -> str:
    """The address in `1.2.3.4`, `1.2.3.4:567`, `::1` or `[::1]:567`; '' when it is none."""
    bare = word[1:].partition("]")[0] if word.startswith("[") else word
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return ""


def _client(words: list[str], proxies: tuple[Network, ...]) -> str:
    """Who stands before the outermost of our own proxies; '' when the word there is no address."""
    for word in reversed(words):
        address = _address(word)
        if not is_one_of(address, proxies):
            return address
    return ""


def _fingerprint(said: list[bytes]) -> str:
    """SHA-256 of the certificate (DER) in a header, hex; '' when it is none, or several."""
    match = _BYTES.match(said[0]) if len(said) == 1 and len(said[0]) <= _CERTIFICATE_LIMIT else None
    try:
        certificate = base64.b64decode(match[1], validate=True) if match else b""
    except binascii.Error:
        return ""
    return hashlib.sha256(certificate).hexdigest() if certificate else ""


def as_forwarded(scope: Scope, proxies: tuple[Network, ...]) -> Scope:
    """The scope as it is on the browser's side."""
    headers: list[tuple[bytes, bytes]] = list(scope["headers"])
    kept = [pair for pair in headers if pair[0].lower() not in _SAID_BY_PROXIES]
    client = scope.get("client")
    if client is None or not is_one_of(client[0], proxies):
        return scope if len(kept) == len(headers) else {**scope, "headers": kept}
    changed = {**scope, "headers": kept}
    scheme = _words(headers, _PROTO)[-1:]
    if scheme and scheme[0].lower() in ("http", "https"):
        changed["scheme"] = scheme[0].lower()
    # A proxy that does not say who asks must not lend them its own place: then nobody knows where they are.
    changed["client"] = (_client(_words(headers, _FOR), proxies), 0)
    said = [value for name, value in headers if name.lower() == _CERTIFICATE]
    if said and said != [b"::"]:  # what a proxy writes where the client came without one
        changed[CERTIFICATE] = _fingerprint(said)
    return changed


class Forwarded:
    """Stands before the rest of the house, after the guard."""

    def __init__(self, inner: Application, proxies: tuple[Network, ...] = ()) -> None:
        self._inner = inner
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            scope = as_forwarded(scope, self._proxies)
        await self._inner(scope, receive, send)
