"""Two stores as one: where a pack lies is found by looking, at every moment of its move."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from typing import Any

import google_crc32c
import pytest

from lightwell.backends.blobs.memory import MemoryStore
from lightwell.backends.blobs.tiered import TieredStore
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal import moving
from lightwell.domain.archive.internal.moving import move
from lightwell.domain.archive.model import Derived
from lightwell.domain.archive.ports import BlobMissing, StoreUnavailable


def a_pack(size: int = 100_000) -> tuple[Derived, bytes]:
    name, data = secrets.token_hex(16), secrets.token_bytes(size)
    key = f"eu/default/pack/{name[:2]}/{name[2:4]}/{name}"
    return Derived(key, size, google_crc32c.value(data)), data


class Failing(MemoryStore):
    """Fails at the n-th call of what changes or reads it, then works on."""

    def __init__(self, fail_at: int) -> None:
        super().__init__()
        self.left = fail_at

    def _call(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise StoreUnavailable("cut")

    def read(self, *arguments: Any) -> bytes:
        self._call()
        return super().read(*arguments)

    def put(self, *arguments: Any, **more: Any) -> None:
        super().put(*arguments, **more)
        self._call()  # its answer is lost

    def delete(self, key: str) -> None:
        self._call()
        super().delete(key)


def test_a_moved_pack_is_read_and_listed_as_before() -> None:
    hot, cool = MemoryStore(), MemoryStore()
    both = TieredStore(hot, cool)
    what, data = a_pack()
    both.put(what.key, data)
    move(hot, cool, what)
    assert not list(hot.list(""))
    assert [info.key for info in cool.list("")] == [what.key]
    assert both.read(what.key) == data
    assert both.read(what.key, 500, 70) == data[500:570]
    assert both.length(what.key) == len(data)
    assert [info.key for info in both.list("eu/default/pack/")] == [what.key]
    both.confirm(what.key, len(data))
    both.delete(what.key)
    with pytest.raises(BlobMissing):
        both.length(what.key)
    assert not list(cool.list(""))


def test_only_packs_are_looked_for_in_the_cool_store() -> None:
    cool = MemoryStore()
    both = TieredStore(MemoryStore(), cool)
    cool.put("eu/default/landed/aa/bb/aabb", b"x")
    with pytest.raises(BlobMissing):
        both.read("eu/default/landed/aa/bb/aabb")
    assert not list(both.list(""))


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_move_that_is_cut_anywhere_loses_nothing_and_ends_when_repeated(side: str) -> None:
    for fail_at in range(1, 12):
        what, data = a_pack()
        failing, other = Failing(fail_at + 1), MemoryStore()
        source, target = (failing, other) if side == "source" else (other, failing)
        MemoryStore.put(source, what.key, data)
        both = TieredStore(source, target)
        with contextlib.suppress(StoreUnavailable):
            move(source, target, what)
        failing.left = 0
        assert both.read(what.key) == data
        assert [info.key for info in both.list("")] == [what.key], "listed once"
        move(source, target, what)
        assert both.read(what.key) == data
        assert not list(source.list(""))


def spoiled(data: bytes) -> bytes:
    return data[:50] + bytes([data[50] ^ 1]) + data[51:]


@pytest.mark.parametrize("damage", [spoiled, lambda data: data[:-1]], ids=["a bit", "the end"])
def test_a_damaged_pack_stays_where_it_is(damage: Callable[[bytes], bytes]) -> None:
    hot, cool = MemoryStore(), MemoryStore()
    what, data = a_pack()
    hot.put(what.key, damage(data))
    with pytest.raises(Damaged):
        move(hot, cool, what)
    assert hot.read(what.key) == damage(data)
    assert not list(cool.list(""))


def test_a_store_that_says_yes_and_keeps_something_else_moves_nothing() -> None:
    class Lying(MemoryStore):
        def put(self, key: str, data: Any, *, replace: bool = False) -> None:
            super().put(key, spoiled(bytes(data)), replace=replace)

    hot, cool = MemoryStore(), Lying()
    what, data = a_pack()
    hot.put(what.key, data)
    with pytest.raises(Damaged, match="nothing was moved"):
        move(hot, cool, what)
    assert hot.read(what.key) == data


def test_a_damaged_copy_of_another_try_is_replaced() -> None:
    hot, cool = MemoryStore(), MemoryStore()
    what, data = a_pack()
    hot.put(what.key, data)
    cool.put(what.key, spoiled(data))
    move(hot, cool, what)
    assert cool.read(what.key) == data


def test_large_ones_go_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "CHUNK", 1000)
    hot, cool = MemoryStore(), MemoryStore()
    what, data = a_pack(10_001)
    hot.put(what.key, data)
    move(hot, cool, what)
    assert cool.read(what.key) == data
