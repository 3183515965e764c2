"""A long answer is cut when who reads it may not read on."""

from __future__ import annotations

from typing import Any

import pytest

from lightwell.access.context import Tenant
from lightwell.gateways.http import exchange as module
from lightwell.gateways.http.door import Last
from lightwell.gateways.http.exchange import Exchange, SessionOver

TENANT = Tenant(1, "default", "Default", "LIGHTWELL")


class Reader:
    """A caller that is good for so many looks."""

    def __init__(self, looks: int, *, in_emergency: bool = False) -> None:
        self.looks = looks
        self.in_emergency = in_emergency
        self.asked = 0

    async def stays(self) -> bool:
        self.asked += 1
        return self.asked <= self.looks


async def nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}


def an_exchange(caller: Reader | None, sent: list[dict[str, Any]], serves: Any = None) -> Exchange:
    async def send(message: Any) -> None:
        sent.append(dict(message))

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    return Exchange(
        scope, nothing, send, tenant=TENANT, prefix="", names={}, caller=caller, serves=serves  # type: ignore[arg-type]
    )  # fmt: skip


async def test_a03_the_pieces_stop_with_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN_SECONDS", 0.0)
    sent: list[dict[str, Any]] = []
    reader = Reader(looks=2)
    exchange = an_exchange(reader, sent)
    await exchange.start(200, "application/dicom")
    await exchange.write(b"one")
    await exchange.write(b"two")
    with pytest.raises(SessionOver):
        await exchange.write(b"three")
    assert [message.get("body") for message in sent] == [None, b"one", b"two"]


@pytest.mark.parametrize("caller", [None, Reader(looks=9)])
async def test_a03_the_pieces_stop_with_the_tenant(
    monkeypatch: pytest.MonkeyPatch, caller: Reader | None
) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN_SECONDS", 0.0)
    sent: list[dict[str, Any]] = []
    open_for = iter([True, False])

    async def serves(tenant: Tenant) -> bool:
        return tenant is TENANT and next(open_for)

    exchange = an_exchange(caller, sent, serves)
    await exchange.start(200, "application/dicom")
    await exchange.write(b"one")
    with pytest.raises(SessionOver):
        await exchange.write(b"two")
    assert [message.get("body") for message in sent] == [None, b"one"]


async def test_a_short_answer_asks_nobody_and_who_is_nobody_is_never_asked_for() -> None:
    sent: list[dict[str, Any]] = []
    reader = Reader(looks=0)
    short = an_exchange(reader, sent)
    await short.start(200, "application/dicom")
    await short.write(b"one")
    await short.end()
    assert reader.asked == 0
    local = an_exchange(None, sent)
    await local.start(200, "application/dicom")
    await local.write(b"one")
    assert sent[-1]["body"] == b"one"


async def test_r05_what_is_read_by_break_glass_stays_in_no_cache() -> None:
    kept = (b"cache-control", b"private, max-age=31536000, immutable")
    for in_emergency, says in ((True, [b"no-store"]), (False, [kept[1]])):
        sent: list[dict[str, Any]] = []
        exchange = an_exchange(Reader(looks=1, in_emergency=in_emergency), sent)
        await exchange.reply(200, b"pixels", "application/dicom", [kept])
        headers = [value for name, value in sent[0]["headers"] if name == b"cache-control"]
        assert headers == says


async def test_a_cut_answer_reaches_the_server_as_an_exception_and_the_log_as_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Raising makes the server cut the connection: the client must not take the part for the whole."""

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise SessionOver

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(dict(message))

    with pytest.raises(SessionOver):
        await Last(inner)({"type": "http", "method": "GET", "headers": []}, nothing, send)
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
