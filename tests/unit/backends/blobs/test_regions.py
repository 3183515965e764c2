"""R07: an object lies in the store of its key's region; that of another refuses whatever is asked of it."""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from lightwell.backends.blobs.memory import FailNth, MemoryStore
from lightwell.backends.blobs.regions import BoundStore, RegionalStore
from lightwell.backends.blobs.tiered import TieredStore
from lightwell.domain.archive.keys import STORE_ID
from lightwell.domain.archive.ports import (
    BlobInfo,
    BlobMissing,
    BlobStore,
    StoreBroken,
    StoreUnavailable,
    WrongRegion,
)


def bound(region: str, bare: BlobStore, **more: Any) -> BoundStore:
    return BoundStore(region, lambda: bare, quick=bare.quick, **more)


def a_key(region: str, kind: str = "landed") -> str:
    name = secrets.token_hex(16)
    return f"{region}/clinic/{kind}/{name[:2]}/{name[2:4]}/{name}"


def names(listed: Iterable[BlobInfo]) -> set[str]:
    return {info.key for info in listed}


EVERYTHING: dict[str, Callable[[BlobStore, str], object]] = {
    "begin": lambda store, key: store.begin(key),
    "put": lambda store, key: store.put(key, b"x"),
    "replace": lambda store, key: store.put(key, b"x", replace=True),
    "read": lambda store, key: store.read(key),
    "read_into": lambda store, key: store.read_into(key, 0, memoryview(bytearray(1))),
    "length": lambda store, key: store.length(key),
    "confirm": lambda store, key: store.confirm(key, 5),
    "delete": lambda store, key: store.delete(key),
    "list": lambda store, key: list(store.list(key.rpartition("/")[0])),
    "list all of a kind": lambda store, key: list(store.list(key.split("/", 1)[0])),
}


@pytest.mark.parametrize("what", EVERYTHING)
@pytest.mark.parametrize("stranger", ["geneva", "zurich2", "zuric", "store-id"])
def test_r07_a_store_refuses_what_is_another_region_s(
    what: str, stranger: str, caplog: pytest.LogCaptureFixture
) -> None:
    bare = MemoryStore()
    key = a_key(stranger)
    bare.put(key, b"there!")  # by mistake: also then it is not given out
    store = bound("zurich", bare)
    for asked in (store, store.itself(), RegionalStore({"zurich": store})):
        with caplog.at_level(logging.ERROR), pytest.raises(WrongRegion):
            EVERYTHING[what](asked, key)
    assert bare.read(key) == b"there!"
    assert caplog.records, "loudly"


def test_r07_a_cool_store_refuses_them_too() -> None:
    hot, cool = MemoryStore(), MemoryStore()
    both = TieredStore(bound("zurich", hot), bound("zurich", cool))
    key = a_key("geneva", "pack")
    cool.put(key, b"x")
    with pytest.raises(WrongRegion):
        both.read(key)
    with pytest.raises(WrongRegion):
        both.cool.read(key)
    assert not list(both.list(""))


def test_each_object_goes_to_the_store_of_its_region_and_to_no_other() -> None:
    bare = {"geneva": MemoryStore(), "zurich": MemoryStore()}
    both = RegionalStore({name: bound(name, store) for name, store in bare.items()})
    keys = {name: [a_key(name) for _ in range(3)] for name in bare}
    for mine in keys.values():
        both.put(mine[0], b"put")
        sink = both.begin(mine[1])
        sink.write(b"written")
        sink.seal()
        both.put(mine[2], b"gone")
        both.delete(mine[2])
    for name, store in bare.items():
        assert names(store.list("")) == set(keys[name][:2])
        assert names(both.list(f"{name}/")) == set(keys[name][:2])
        assert both.read(keys[name][0]) == b"put"
        assert both.length(keys[name][1]) == 7
    assert names(both.list("")) == {key for mine in keys.values() for key in mine[:2]}


def test_a_listing_of_everything_is_that_of_the_region() -> None:
    bare = MemoryStore()
    mine, theirs = a_key("zurich"), a_key("geneva")
    for key in (mine, theirs, STORE_ID):
        bare.put(key, b"x")
    assert names(bound("zurich", bare).list("")) == {mine}
    assert names(bound("zurich", bare).bare.list("")) == {mine, theirs, STORE_ID}


def test_one_that_is_away_does_not_keep_the_others_from_being_asked() -> None:
    away = MemoryStore(hook=FailNth(1, StoreUnavailable("away"), "put"))
    good = MemoryStore()
    asked: list[str] = []
    good.hook = lambda operation, _key: asked.append(operation)
    both = RegionalStore({"geneva": bound("geneva", away), "zurich": bound("zurich", good)})
    with pytest.raises(StoreUnavailable, match="away"):
        both.probe()
    assert asked, "the second was asked, too"
    both.put(a_key("zurich"), b"x")


def test_a_store_that_bears_another_mark_is_asked_nothing() -> None:
    expected = uuid.uuid4()
    for there in (None, uuid.uuid4().hex.encode(), b"", b"\xff"):
        bare = MemoryStore()
        if there is not None:
            bare.put(STORE_ID, there)
        key = a_key("zurich")
        bare.put(key, b"kept")
        store = bound("zurich", bare, expects=expected)
        for ask in EVERYTHING.values():
            with pytest.raises(StoreBroken, match="not the one"):
                ask(store, key)
        with pytest.raises(StoreBroken, match="not the one"):
            store.probe()
        with pytest.raises(StoreBroken, match="not the one"):
            store.itself().read(key)
        assert bare.read(key) == b"kept"


def test_a_store_that_was_away_is_used_once_it_has_shown_its_mark() -> None:
    mark, bare = uuid.uuid4(), MemoryStore()
    bare.put(STORE_ID, mark.hex.encode())
    bare.hook = FailNth(1, StoreUnavailable("away"), "read")
    store = bound("zurich", bare, expects=mark)
    key = a_key("zurich")
    with pytest.raises(StoreUnavailable):
        store.put(key, b"x")
    assert names(bare.list("")) == {STORE_ID}
    store.put(key, b"x")
    bare.delete(STORE_ID)  # it is looked for once
    assert store.read(key) == b"x"


def test_one_that_could_not_be_opened_is_opened_when_it_is_asked() -> None:
    tries: list[int] = []

    def opening() -> BlobStore:
        tries.append(1)
        if len(tries) < 3:
            raise StoreUnavailable("not mounted")
        return MemoryStore()

    store = BoundStore("zurich", opening, quick=True)
    assert store.numbers() == {}
    key = a_key("zurich")
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            store.put(key, b"x")
    store.put(key, b"x")
    assert store.read(key) == b"x"
    assert len(tries) == 3
    store.close()


def test_numbers_and_room_are_of_all_together() -> None:
    class Counting(MemoryStore):
        def numbers(self) -> dict[str, int]:
            return {"store_puts": 2}

    stores: dict[str, BlobStore] = {
        "geneva": bound("geneva", Counting(capacity=100)),
        "zurich": bound("zurich", Counting(capacity=10)),
        "basel": bound("basel", MemoryStore()),
    }
    for store in stores.values():
        list(store.list(""))  # opens it
    both = RegionalStore(stores)
    assert both.numbers() == {"store_puts": 4}
    room = both.free()
    assert room is not None
    assert room.free == 10
    with pytest.raises(BlobMissing):
        both.read(a_key("basel"))


def test_reads_are_quick_where_all_are() -> None:
    quick, slow = bound("a", MemoryStore()), BoundStore("b", MemoryStore, quick=False)
    assert RegionalStore({"a": quick}).quick
    assert not RegionalStore({"a": quick, "b": slow}).quick
