"""Requests to identity providers: a deadline, a size, no redirect, no proxy; TLS, or this machine.

The standard library's client in threads of its own, few: a provider that hangs keeps no file sync waiting.
At the deadline the connection is cut under the thread, which then ends too.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlencode, urlsplit

from lightwell.domain.people.errors import ProviderAway, Step
from lightwell.domain.people.providers import loopback_host
from lightwell.kernel.errors import Busy

DEADLINE: Final = 10.0  # seconds for all of one request
CONNECT: Final = 4.0  # seconds for one address
ADDRESSES: Final = 4  # that are tried, in the order of the resolver
LIMIT: Final = 512 * 1024  # bytes of an answer
THREADS: Final = 4
WAITING: Final = 32


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whatever its status. `kind`: the media type without parameters."""

    status: int
    kind: str
    date: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Call:
    """One request. `step`: which part of the connection it is, for who has to repair it."""

    step: Step
    url: str
    headers: Mapping[str, str] = field(repr=False)
    form: bytes | None = field(default=None, repr=False)


class _Line:
    """The socket of a call, which another thread may cut at any moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cut = False

    def hold(self, opened: socket.socket) -> None:
        """Take the socket. Raises OSError when the call was given up meanwhile."""
        with self._lock:
            if self._cut:
                opened.close()
                raise OSError("given up")
            self._socket = opened

    def drop(self) -> None:
        """Close the socket, from its own thread."""
        if self._socket is not None:
            self._socket.close()

    def cut(self) -> None:
        """End whatever the thread waits for."""
        with self._lock:
            self._cut = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    # Not the method of an SSL socket, which would pull its state from under the reader.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Outgoing:
    """Makes requests. One a process."""

    def __init__(
        self, *, trust: ssl.SSLContext | None = None, deadline: float = DEADLINE, limit: int = LIMIT
    ) -> None:
        self._trust = trust
        self._deadline = deadline
        self._limit = limit
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="provider")
        self._here = 0

    async def get(self, step: Step, url: str, *, bearer: str = "") -> Reply:
        """GET. Raises ProviderAway with the part that fails, Busy when too many wait."""
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return await self._exchange(_Call(step, url, headers))

    async def post(
        self, step: Step, url: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> Reply:
        """POST a form; raises as `get`."""
        return await self._exchange(_Call(step, url, headers, urlencode(form).encode()))

    def close(self) -> None:
        """Start no more threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _exchange(self, call: _Call) -> Reply:
        if self._here >= THREADS + WAITING:
            raise Busy("Too many people sign in at once.", remedy="Try again in a moment.")
        self._here += 1
        line = _Line()
        try:
            async with asyncio.timeout(self._deadline):
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, self._answered, call, line)
        except TimeoutError:
            raise ProviderAway(call.step, f"no whole answer within {self._deadline:g} s.") from None
        finally:
            line.cut()
            self._here -= 1

    # --- in a thread --------------------------------------------------------------------------------

    def _answered(self, call: _Call, line: _Line) -> Reply:
        parts = urlsplit(call.url)
        opened = self._secured(_connected(parts, line), parts, line)
        try:
            return self._spoken(call, parts, opened)
        except (http.client.HTTPException, OSError, ValueError) as error:
            raise ProviderAway(call.step, f"it speaks no HTTP ({type(error).__name__}).") from None
        finally:
            opened.close()

    def _secured(self, plain: socket.socket, parts: SplitResult, line: _Line) -> socket.socket:
        if parts.scheme == "http":
            return plain
        try:
            if self._trust is None:
                self._trust = ssl.create_default_context()
            opened = self._trust.wrap_socket(
                plain, server_hostname=parts.hostname, do_handshake_on_connect=False
            )
            line.hold(opened)  # before the handshake: it may be the part that hangs
            opened.do_handshake()
        except ssl.SSLCertVerificationError as error:
            line.drop()
            raise ProviderAway(Step.TLS, f"its certificate: {error.verify_message}.") from None
        except OSError as error:
            line.drop()
            raise ProviderAway(Step.TLS, f"no TLS ({type(error).__name__}).") from None
        return opened

    def _spoken(self, call: _Call, parts: SplitResult, opened: socket.socket) -> Reply:
        connection = http.client.HTTPConnection(parts.hostname or "", timeout=self._deadline)
        connection.sock = opened
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {
            "Host": parts.netloc,
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # a compressed answer would have another size than it shows
            "Connection": "close",
            "User-Agent": "Lightwell",
            **call.headers,
        }
        if call.form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request("GET" if call.form is None else "POST", target, call.form, headers)
        with connection.getresponse() as answer:  # closed also half read: it holds the socket
            body = answer.read(self._limit + 1)
        if len(body) > self._limit:
            raise ProviderAway(call.step, f"an answer of more than {self._limit} bytes.")
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return Reply(answer.status, kind, answer.headers.get("Date", ""), body)


def _inward(address: str) -> bool:
    """Whether an address is this machine, or of the link it is on, where clouds keep their secrets (SSRF)."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_loopback or found.is_link_local or found.is_unspecified


def _connected(parts: SplitResult, line: _Line) -> socket.socket:
    """A TCP connection. Plain http goes to loopback addresses only, and what is not plainly named as this
    machine never to it or to its link: whatever a name server says, however a number is written."""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ProviderAway(Step.ADDRESS, f"{parts.hostname} has no address.") from None
    if parts.scheme == "http":
        found = [each for each in found if ipaddress.ip_address(each[4][0]).is_loopback]
        if not found:
            raise ProviderAway(Step.ADDRESS, f"{parts.hostname} is not this machine.")
    elif not loopback_host(parts.hostname):
        found = [each for each in found if not _inward(str(each[4][0]))]
        if not found:
            raise ProviderAway(
                Step.ADDRESS, f"{parts.hostname} means this machine, as localhost may."
            )
    said = ""
    for family, kind, protocol, _, address in found[:ADDRESSES]:
        opened = socket.socket(family, kind, protocol)
        try:
            opened.settimeout(CONNECT)
            line.hold(opened)
            opened.connect(address)
            opened.settimeout(DEADLINE)
        except OSError as error:
            opened.close()
            said = type(error).__name__
        else:
            return opened
    raise ProviderAway(Step.CONNECTION, f"nothing answers at {parts.netloc} ({said}).")
