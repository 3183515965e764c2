"""The words of ASGI 3.0 that we use, and a complete answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

NOSNIFF: Header = (b"x-content-type-options", b"nosniff")


class Answering:
    """A `send` that knows whether an answer began.

    The layers of the door share one: a wrapper of each would be a coroutine a layer for every message.
    """

    __slots__ = ("_send", "started")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    @staticmethod
    def of(send: Send) -> Answering:
        """The one that this is already, or a new one around it."""
        return send if isinstance(send, Answering) else Answering(send)

    def __call__(self, message: Message) -> Awaitable[None]:
        self.started = True
        return self._send(message)


async def answer(
    send: Send, status: int, body: bytes, content_type: str, headers: Iterable[Header] = ()
) -> None:
    """One complete response."""
    head = [
        (b"content-type", content_type.encode("latin-1")),
        (b"content-length", b"%d" % len(body)),
        NOSNIFF,
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
