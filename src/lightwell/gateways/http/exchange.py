"""One HTTP request and the one response to it, as handlers see them."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import cached_property
from typing import Final
from urllib.parse import unquote_to_bytes

from lightwell.access.context import Actor, Context, Purpose, Tenant
from lightwell.access.policy import Circumstances, network
from lightwell.gateways.http.asgi import NOSNIFF, Header, Receive, Scope, Send
from lightwell.gateways.http.identity import Caller, not_recognised
from lightwell.gateways.http.problems import HttpProblem
from lightwell.kernel.errors import Invalid

PARAMETERS_LIMIT: Final = 256
LOOK_AGAIN_SECONDS: Final = 2.0  # an answer to who may not read on is cut within 5 s
_NOT_KEPT: Final[Header] = (b"cache-control", b"no-store")
_HOST: Final = re.compile(
    r"[A-Za-z0-9._-]{1,255}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,64}\](?::\d{1,5})?"
)


Serves = Callable[[Tenant], Awaitable[bool]]
"""Whether a tenant is still served."""


class ClientGone(Exception):
    """The client closed the connection before its request was whole: nobody is there to answer."""


class SessionOver(Exception):
    """Who reads may not read on: the session ended, other roles, the glass is whole again, the tenant is
    suspended. Part of the answer is out, so that the connection has to be cut."""


def query_parameters(query_string: bytes) -> list[tuple[str, str]]:
    """Name and value pairs, percent-decoded once as UTF-8; `+` stays a plus sign (PS3.18 8.3.1).

    Raises Invalid for more than 256 parameters or bytes that are no UTF-8.
    """
    pieces = [piece for piece in query_string.split(b"&") if piece]
    if len(pieces) > PARAMETERS_LIMIT:
        raise Invalid(
            f"More than {PARAMETERS_LIMIT} query parameters.", remedy="Ask for less at once."
        )
    pairs = []
    for piece in pieces:
        name, _, value = piece.partition(b"=")
        try:
            pairs.append((unquote_to_bytes(name).decode(), unquote_to_bytes(value).decode()))
        except UnicodeDecodeError:
            raise Invalid("The query string is not UTF-8.") from None
    return pairs


class Exchange:
    """What a handler gets: who asks for what, and the means to answer once.

    `prefix` is the part of the path that named the tenant (`/t/demo`, or empty): links keep the form
    they came by. `names` are the parameters of the route's path, percent-decoded.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        tenant: Tenant,
        prefix: str,
        names: Mapping[str, str],
        caller: Caller | None = None,
        serves: Serves | None = None,
    ) -> None:
        self.scope = scope
        self.tenant = tenant
        self.prefix = prefix
        self.names = names
        self._caller = caller
        self._serves = serves
        self.method: str = scope["method"]
        self.started = False
        self._receive = receive
        self._send = send

        # As plain attributes: `cached_property` takes a lock, and each request asks for them.
        self._by_name: dict[str, list[str]] | None = None
        self._query: list[tuple[str, str]] | None = None
        self._looked = 0.0  # when the caller was last found to be who they were; monotonic

    # --- the request -----------------------------------------------------------------------------

    @property
    def _headers(self) -> dict[str, list[str]]:
        found = self._by_name
        if found is None:
            found = self._by_name = {}
            for name, value in self.scope["headers"]:
                found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        return found

    @property
    def address(self) -> tuple[str, str, bytes, bytes]:
        """Everything that says where a request went and how: scheme, method, raw path, query string."""
        scope = self.scope
        raw = scope.get("raw_path") or scope["path"].encode("utf-8")
        return scope.get("scheme", "http"), self.method, raw, scope.get("query_string", b"")

    def header(self, name: str) -> str:
        """A request header by its lower-case name, several joined by commas; '' when absent."""
        return ", ".join(self._headers.get(name, ()))

    @property
    def accept(self) -> tuple[str, ...]:
        """The values of all Accept headers."""
        return tuple(self._headers.get("accept", ()))

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query parameters. Raises Invalid."""
        found = self._query
        if found is None:
            found = self._query = query_parameters(self.scope.get("query_string", b""))
        return found

    def asked(self, name: str) -> tuple[str, ...]:
        """The values of one query parameter."""
        return tuple(value for key, value in self.query if key.lower() == name)

    @cached_property
    def root(self) -> str:
        """Scheme, host and tenant prefix of this request, for absolute links.

        A Host header that cannot be one gives root-relative links.
        """
        host = self.header("host")
        if not _HOST.fullmatch(host):
            return self.prefix
        name, port = self.scope.get("server") or ("", None)
        if port and host in (name, "localhost" if name == "127.0.0.1" else name):
            # Our own address without its port: dicomweb-client says Host so, and would follow a link
            # to port 80. Behind a proxy the Host is another name, and stays as it is.
            host = f"{host}:{port}"
        return f"{self.scope.get('scheme', 'http')}://{host}{self.prefix}"

    @property
    def _recognised(self) -> Caller:
        if self._caller is None:
            raise not_recognised()
        return self._caller

    @property
    def actor(self) -> Actor:
        """Who acts. Raises HttpProblem 401 at an address that answers to anybody."""
        return self._recognised.actor(self.tenant)

    @property
    def circumstances(self) -> Circumstances:
        """What policies know of the request besides who makes it: as in its context, outside emergencies."""
        client = self.scope.get("client") or ("",)
        return network(str(client[0])), self._recognised.stepped_up, Purpose.TREATMENT

    def context(self, channel: str) -> Context:
        """The context of an act at this door. Raises as `actor`."""
        client = self.scope.get("client") or ("",)
        return self._recognised.context(self.tenant, channel, str(client[0]))

    async def body(self) -> AsyncIterator[bytes]:
        """The request body in the pieces it comes in. Raises ClientGone when it is cut."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            if piece := message.get("body", b""):
                yield piece
            more = message.get("more_body", False)

    async def whole_body(self, limit: int) -> bytes:
        """The request body at once. Raises HttpProblem 413 beyond `limit` bytes."""
        pieces = bytearray()
        async for piece in self.body():
            pieces += piece
            if len(pieces) > limit:
                raise HttpProblem(413, f"The request body is larger than {limit} bytes.")
        return bytes(pieces)

    # --- the answer ------------------------------------------------------------------------------

    async def start(self, status: int, content_type: str, headers: Iterable[Header] = ()) -> None:
        """Begin a response of unknown length; `write` its pieces, then `end`."""
        self.started = True
        self._looked = time.monotonic()
        if self._caller is not None and self._caller.in_emergency:
            # What is read by break-glass stays in no browser: the hour ends there, too.
            headers = [*(h for h in headers if h[0] != b"cache-control"), _NOT_KEPT]
        head = [(b"content-type", content_type.encode("latin-1")), NOSNIFF, *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": head})

    async def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Send a piece of the response; waits when the client reads slowly. Raises SessionOver."""
        if time.monotonic() - self._looked >= LOOK_AGAIN_SECONDS:
            self._looked = time.monotonic()
            if not await self._goes_on():
                raise SessionOver
        if piece and self.method != "HEAD":
            await self._send(
                {"type": "http.response.body", "body": bytes(piece), "more_body": True}
            )

    async def _goes_on(self) -> bool:
        """Whether the tenant is still served, and whoever reads still is who they were."""
        if self._serves is not None and not await self._serves(self.tenant):
            return False
        return self._caller is None or await self._caller.stays()

    async def end(self, piece: bytes = b"") -> None:
        """Send the last piece."""
        last = b"" if self.method == "HEAD" else piece
        await self._send({"type": "http.response.body", "body": last})

    async def reply(
        self, status: int, body: bytes, content_type: str, headers: Iterable[Header] = ()
    ) -> None:
        """A complete response; HEAD gets its head."""
        await self.pieces(status, (body,), content_type, headers)

    async def pieces(
        self, status: int, parts: tuple[bytes, ...], content_type: str, headers: Iterable[Header]
    ) -> None:
        """A complete response from several buffers that are not worth joining."""
        length = (b"content-length", b"%d" % sum(map(len, parts)))
        await self.start(status, content_type, [length, *headers])
        *front, last = parts if self.method != "HEAD" else (b"",)
        for part in front:
            await self._send({"type": "http.response.body", "body": part, "more_body": True})
        await self._send({"type": "http.response.body", "body": last})

    async def not_modified(self, headers: Iterable[Header]) -> None:
        """304: what the client has is still true."""
        self.started = True
        await self._send({"type": "http.response.start", "status": 304, "headers": list(headers)})
        await self._send({"type": "http.response.body", "body": b""})

    def has(self, etag: str) -> bool:
        """Whether `If-None-Match` names this entity tag (weak comparison, RFC 9110 13.1.2)."""
        asked = self.header("if-none-match")
        if not asked:
            return False
        tags = (tag.strip().removeprefix("W/") for tag in asked.split(","))
        return asked.strip() == "*" or etag in tags
