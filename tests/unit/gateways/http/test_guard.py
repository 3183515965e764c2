"""The HTTP door: what it refuses, and what a slow or lying client can cost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from lightwell.gateways.http.asgi import Answering, Message, answer
from lightwell.gateways.http.guard import (
    Body,
    BodyTooLarge,
    BodyTooSlow,
    DoorLimits,
    Guard,
    names_this_machine,
    objection,
)

LIMITS = DoorLimits(header=200, path=100, body=1000, idle=0.02, grace=1.0, rate=100, drain=300)


def scope(
    method: str = "GET",
    path: str = "/x",
    headers: list[tuple[bytes, bytes]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers or [],
        "http_version": "1.1",
        **more,
    }


@pytest.mark.parametrize(
    ("made", "status"),
    [
        (scope(), None),
        (scope(headers=[(b"content-length", b"5")]), None),
        (scope(headers=[(b"transfer-encoding", b"chunked")]), None),
        (scope(headers=[(b"content-length", b"5"), (b"transfer-encoding", b"chunked")]), 400),
        (scope(headers=[(b"content-length", b"5"), (b"content-length", b"5")]), 400),
        (scope(headers=[(b"content-length", b"5"), (b"Content-Length", b"6")]), 400),
        (scope(headers=[(b"content-length", b"+5")]), 400),
        (scope(headers=[(b"content-length", b"-5")]), 400),
        (scope(headers=[(b"content-length", b"1_0")]), 400),
        (scope(headers=[(b"content-length", b"9" * 19)]), 400),
        (scope(headers=[(b"content-length", b"1001")]), 413),
        (scope(headers=[(b"x", b"y" * 200)]), 431),
        (scope(path="/" + "x" * 100), 414),
        (scope(query_string=b"q" * 100), 414),
        (scope(path="/studies/1%2F2"), 400),
        (scope(path="/studies/1%2f2"), 400),
        (scope(path="/studies/..%5c"), 400),
        (scope(path="/studies/1%00"), 400),
        (scope(path="/studies/1\\2"), 400),
    ],
)
def test_heads(made: dict[str, Any], status: int | None) -> None:
    found = objection(made, LIMITS)
    assert (found.status if found else None) == status


FOREIGN = (b"origin", b"http://evil.example")
OURS = (b"origin", b"http://127.0.0.1:8042")


@pytest.mark.parametrize(
    ("method", "headers", "local", "status"),
    [
        ("POST", [(b"sec-fetch-site", b"cross-site")], False, 403),
        ("DELETE", [(b"Sec-Fetch-Site", b"cross-site")], True, 403),
        ("POST", [(b"sec-fetch-site", b"same-origin"), OURS], True, None),
        ("POST", [FOREIGN], True, 403),
        ("POST", [(b"origin", b"null")], True, 403),
        ("POST", [FOREIGN], False, None),  # behind a proxy that has a name of its own
        ("POST", [], True, None),  # a program
        ("GET", [FOREIGN, (b"sec-fetch-site", b"cross-site")], True, None),  # a link to us
    ],
)
def test_a_page_of_another_site_changes_nothing(
    method: str, headers: list[tuple[bytes, bytes]], local: bool, status: int | None
) -> None:
    found = objection(scope(method, headers=headers), DoorLimits(local=local))
    assert (found.status if found else None) == status


def script(*messages: Message | None) -> Callable[[], Awaitable[Message]]:
    """A `receive` that plays messages; None is silence."""
    left = list(messages)

    async def receive() -> Message:
        message = left.pop(0) if left else None
        if message is None:
            await asyncio.Event().wait()
            raise AssertionError
        return message

    return receive


def chunk(size: int, more: bool = True) -> Message:
    return {"type": "http.request", "body": b"x" * size, "more_body": more}


class Sent(list[Message]):
    async def __call__(self, message: Message) -> None:
        self.append(message)

    @property
    def status(self) -> int:
        return int(self[0]["status"])

    def header(self, name: bytes) -> bytes | None:
        return dict(self[0]["headers"]).get(name)


async def test_silence_is_cut() -> None:
    body = Body(script(chunk(5), None), LIMITS)
    await body.receive()
    with pytest.raises(BodyTooSlow):
        await body.receive()


async def test_a_drip_is_cut_after_the_grace() -> None:
    now = 0.0

    def clock() -> float:
        return now

    body = Body(script(*[chunk(10)] * 100), LIMITS, clock)
    for _ in range(10):  # 10 bytes every 0.1 s is the rate allowed
        now += 0.1
        await body.receive()
    now += 2
    with pytest.raises(BodyTooSlow):
        await body.receive()


async def test_the_last_message_counts_too() -> None:
    body = Body(script(chunk(900), chunk(101, more=False)), LIMITS)
    await body.receive()
    with pytest.raises(BodyTooLarge):
        await body.receive()


POST = [(b"transfer-encoding", b"chunked")]


async def run(app: Any, receive: Any, made: dict[str, Any] | None = None) -> Sent:
    sent = Sent()
    await Guard(app, LIMITS)(made or scope("POST", headers=POST), receive, sent)
    return sent


async def read_all(_scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await answer(send, 200, b"ok", "text/plain")


async def deny(_scope: Any, _receive: Any, send: Any) -> None:
    await answer(send, 403, b"no", "text/plain")


async def test_a_good_request_passes() -> None:
    assert (await run(read_all, script(chunk(500), chunk(500, more=False)))).status == 200


async def test_too_slow_is_408_and_too_large_413() -> None:
    sent = await run(read_all, script(chunk(5), None))
    assert (sent.status, sent.header(b"connection")) == (408, b"close")
    sent = await run(read_all, script(chunk(900), chunk(900), chunk(1, more=False)))
    assert (sent.status, sent.header(b"connection")) == (413, b"close")


async def test_an_early_answer_waits_for_the_rest_of_the_body() -> None:
    taken = []

    async def receive() -> Message:
        taken.append(1)
        return chunk(100, more=len(taken) < 3)

    sent = await run(deny, receive)
    assert len(taken) == 3
    assert (sent.status, sent.header(b"connection")) == (403, None)


async def test_an_early_answer_does_not_wait_for_ever() -> None:
    taken = []

    async def receive() -> Message:
        taken.append(1)
        return chunk(100)

    sent = await run(deny, receive)
    assert 3 <= len(taken) <= 5
    assert (sent.status, sent.header(b"connection")) == (403, b"close")
    sent = await run(deny, script(chunk(1), None))
    assert (sent.status, sent.header(b"connection")) == (403, b"close")


async def test_nothing_is_drained_where_nothing_was_announced() -> None:
    sent = await run(deny, script(), scope("GET"))
    assert (sent.status, sent.header(b"connection")) == (403, None)


async def test_a_failure_after_the_answer_began_is_not_made_a_second_answer() -> None:
    async def late(_scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise BodyTooSlow("late")

    sent = Sent()
    with pytest.raises(BodyTooSlow):
        await Guard(late, LIMITS)(scope(), script(), sent)
    assert [m["type"] for m in sent] == ["http.response.start"]


async def test_other_protocols_go_through() -> None:
    seen = []

    async def inner(made: Any, _receive: Any, _send: Any) -> None:
        seen.append(made["type"])

    await Guard(inner)({"type": "lifespan"}, script(), Sent())
    assert seen == ["lifespan"]


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        (b"localhost", True),
        (b"LocalHost:8042", True),
        (b"localhost.", True),
        (b"pacs.localhost:80", True),
        (b"127.0.0.1:8042", True),
        (b"[::1]:8042", True),
        (b"192.168.1.5", True),
        (b"evil.example", False),
        (b"evil.example:8042", False),
        (b"127.0.0.1.evil.example", False),
        (b"notlocalhost", False),
        (b"localhost.evil.example", False),
        (b"", False),
        (b"[", False),
    ],
)
def test_a_rebound_name_is_told_from_our_own(host: bytes, ours: bool) -> None:
    assert names_this_machine(host) is ours


def test_a_local_door_answers_to_no_other_name() -> None:
    local = DoorLimits(local=True)
    found = objection(scope(headers=[(b"host", b"evil.example")]), local)
    assert found is not None
    assert found.status == 421
    both = [(b"host", b"localhost"), (b"Host", b"evil.example")]
    assert objection(scope(headers=both), local) is not None
    assert objection(scope(headers=[(b"host", b"localhost:8042")]), local) is None
    assert objection(scope(headers=[(b"host", b"pacs.example")]), DoorLimits()) is None


@pytest.mark.parametrize("name", [b"X-Forwarded-For", b"x-forwarded-proto", b"Forwarded", b"Via"])
def test_a_local_door_answers_to_no_proxy_that_was_not_named(name: bytes) -> None:
    """The world stands behind it, and whoever says nothing would come in."""
    said = scope(headers=[(b"host", b"127.0.0.1:8042"), (name, b"192.0.2.1")])
    found = objection(said, DoorLimits(local=True))
    assert found is not None
    assert found.status == 421
    assert "--proxy" in found.text
    assert objection(said, DoorLimits()) is None


def test_layers_share_one_watch_of_an_answer() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    outer = Answering.of(send)
    inner = Answering.of(outer)
    assert inner is outer
    assert not outer.started
    asyncio.run(answer(inner, 204, b"", "text/plain"))
    assert outer.started
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
