"""What every HTTP request must pass before a handler sees it, and how long its body may take.

Owns the limits of the HTTP door (reliability 3.11): header size, ambiguous lengths (request smuggling),
hostile paths, body size, silent and slow bodies. Also the one place that reads the rest of an upload
before an early answer: granian closes the connection otherwise and the client never sees the status.

Refuses to know routes. A wrapper with the same interface as what it wraps (ASGI 3.0).
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from lightwell.gateways.http.asgi import (
    Answering,
    Application,
    Message,
    Receive,
    Scope,
    Send,
    answer,
)

KIB: Final = 1024
MIB: Final = 1024 * KIB


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """Bounds of one request; bytes and seconds."""

    header: int = 32 * KIB
    path: int = 8 * KIB
    body: int = 64 * 1024 * MIB  # a handler with a smaller limit enforces its own
    idle: float = 30.0  # longest silence within a body
    grace: float = 30.0  # a body may be slow for so long
    rate: float = 10_000.0  # bytes/s, measured from the start of the body once the grace is over
    drain: int = 64 * MIB  # what is read of a body nobody wanted, before its answer
    drain_seconds: float = 10.0
    local: bool = False  # answer to this machine's own names and to addresses only


class BodyTooSlow(Exception):
    """The client went silent or dripped: the request is given up (408)."""


class BodyTooLarge(Exception):
    """More than the door takes (413)."""


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a request is turned away before any handler sees it."""

    status: int
    text: str


@lru_cache(maxsize=256)  # the same few names come with every request
def names_this_machine(host: bytes) -> bool:
    """Whether a Host header is an address or a name of this machine's own loopback.

    DNS rebinding: a page from anywhere lets its own name point here, and is then at home in what the browser
    thinks is one site. Its name stands in Host.
    """
    name = host.decode("latin-1").strip().lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    name = name.removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):  # reserved for it: RFC 6761 6.3
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def objection(scope: Scope, limits: DoorLimits) -> Objection | None:
    """What is wrong with the head of a request, if anything.

    The server has parsed it; what is checked here is what servers let pass (RFC 9112 6.3, 11.2) and
    what our URLs can never contain.
    """
    headers: list[tuple[bytes, bytes]] = list(scope["headers"])
    size, chunked, forwarded = 0, False, False
    hosts: list[bytes] = []
    lengths: list[bytes] = []
    for name, value in headers:  # once: this is on the way of every request
        size += len(name) + len(value) + 4
        match name.lower():
            case b"host":
                hosts.append(value)
            case b"content-length":
                lengths.append(value)
            case b"transfer-encoding":
                chunked = True
            case b"x-forwarded-for" | b"x-forwarded-proto" | b"forwarded" | b"via":
                forwarded = True
    if size > limits.header:
        return Objection(431, f"The request header is larger than {limits.header} bytes.")
    if limits.local and (forwarded or not all(map(names_this_machine, hosts))):
        return Objection(
            421,
            "This server answers to localhost and to addresses only."
            " Behind a proxy, start it with --proxy and the proxy's address.",
        )
    if scope["method"] not in _HARMLESS and _from_another_site(headers, limits):
        return Objection(403, "A page of another site asked for this.")
    if len(lengths) > 1 or (lengths and chunked):
        return Objection(400, "The length of the request body is given more than once.")
    if lengths:
        # int() would take '+1', ' 1', '1_0': only digits are a length.
        if not lengths[0].isdigit() or len(lengths[0]) > 18:
            return Objection(400, "The Content-Length is no number.")
        if int(lengths[0]) > limits.body:
            return Objection(413, f"The request body is larger than {limits.body} bytes.")
    raw = bytes(scope.get("raw_path") or scope["path"].encode("utf-8", "replace"))
    if len(raw) + len(scope.get("query_string", b"")) > limits.path:
        return Objection(414, f"The URL is longer than {limits.path} bytes.")
    if b"\\" in raw or b"\0" in raw or (b"%" in raw and _ENCODED.search(raw)):
        return Objection(400, "The URL holds an encoded slash, a backslash or a null character.")
    return None


_ENCODED: Final = re.compile(rb"%(?:2f|5c|00)", re.IGNORECASE)
_HARMLESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def _from_another_site(headers: list[tuple[bytes, bytes]], limits: DoorLimits) -> bool:
    """Whether a browser says that a page from elsewhere makes this request (Fetch Metadata, RFC 6454).

    Programs say neither.
    """
    said = {name.lower(): value for name, value in headers}
    if said.get(b"sec-fetch-site") == b"cross-site":
        return True
    origin = said.get(b"origin")
    if origin is None or not limits.local:
        return False
    return not names_this_machine(origin.partition(b"://")[2])


class Body:
    """The request body under the limits of the door: stands in for `receive`."""

    def __init__(
        self, receive: Receive, limits: DoorLimits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._receive = receive
        self._limits = limits
        self._clock = clock
        self._started: float | None = None
        self.received = 0
        self.finished = False

    async def receive(self) -> Message:
        """The next message. Raises BodyTooSlow, BodyTooLarge.

        Once the body is whole, waits without a limit: only a disconnect can come.
        """
        if self.finished:
            return await self._receive()
        limits = self._limits
        if self._started is None:
            self._started = self._clock()
        try:
            async with asyncio.timeout(limits.idle):
                message = await self._receive()
        except TimeoutError:
            raise BodyTooSlow(f"Nothing came for {limits.idle:g} s.") from None
        if message["type"] == "http.disconnect":
            self.finished = True
            return message
        self.received += len(message.get("body", b""))
        self.finished = not message.get("more_body", False)
        if self.received > limits.body:
            raise BodyTooLarge(f"The request body is larger than {limits.body} bytes.")
        spent = self._clock() - self._started
        if not self.finished and spent > limits.grace and self.received < limits.rate * spent:
            raise BodyTooSlow(f"Less than {limits.rate:g} bytes/s for {spent:.0f} s.")
        return message

    async def drain(self) -> bool:
        """Read and drop the rest within the limits; whether the end was reached."""
        budget = self._limits.drain + self.received
        try:
            async with asyncio.timeout(self._limits.drain_seconds):
                while not self.finished and self.received <= budget:
                    await self.receive()
        except (TimeoutError, BodyTooSlow, BodyTooLarge):
            return False
        return self.finished


async def refuse(send: Send, status: int, text: str) -> None:
    """A plain-text refusal after which the connection is of no use."""
    body = f"{text}\n".encode()
    await answer(send, status, body, "text/plain; charset=utf-8", [(b"connection", b"close")])


class Guard:
    """The outermost application: limits first, then the rest of the house."""

    def __init__(self, inner: Application, limits: DoorLimits | None = None) -> None:
        self._inner = inner
        self._limits = limits or DoorLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection; anything but HTTP goes through untouched."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        body = Body(receive, self._limits)
        sending = Answering.of(_draining(send, body) if _has_body(scope) else send)
        wrong = objection(scope, self._limits)
        if wrong is not None:
            await refuse(sending, wrong.status, wrong.text)
            return
        try:
            await self._inner(scope, body.receive, sending)
        except (BodyTooSlow, BodyTooLarge) as problem:
            body.finished = True  # nothing more is read of it
            if sending.started:
                raise
            status = 408 if isinstance(problem, BodyTooSlow) else 413
            await refuse(sending, status, str(problem))


def _draining(send: Send, body: Body) -> Send:
    """A `send` that reads the rest of the request body before an answer begins."""

    async def drained(message: Message) -> None:
        begins = message["type"] == "http.response.start"
        if begins and not body.finished and not await body.drain():
            message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        await send(message)

    return drained


def _has_body(scope: Scope) -> bool:
    """Whether the request announced a body: without one there is nothing to drain."""
    for name, value in scope["headers"]:
        lowered = name.lower()
        if lowered == b"transfer-encoding" or (lowered == b"content-length" and value != b"0"):
            return True
    return bool(scope.get("http_version", "1.1").startswith("2") and scope["method"] in _UPLOADS)


_UPLOADS: Final = frozenset({"POST", "PUT", "PATCH"})
