"""The twin's own talents: crashes and faults. Its contract is in tests/ports."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.backends.blobs.memory import FailNth, MemoryStore
from lightwell.domain.archive.ports import (
    BlobMissing,
    StoreBroken,
    StoreFull,
    StoreUnavailable,
)


def test_an_object_is_visible_while_written_as_in_a_folder() -> None:
    store = MemoryStore()
    sink = store.begin("a/b")
    sink.write(b"12")
    assert store.read("a/b") == b"12"
    assert [info.length for info in store.list("a")] == [2]


@given(st.integers(0, 10_000))
def test_a_crash_keeps_what_was_sealed_put_or_confirmed(seed: int) -> None:
    store = MemoryStore()
    store.put("a/put", b"put")
    for name in ("sealed", "confirmed"):
        sink = store.begin(f"a/{name}")
        sink.write(name.encode())
        if name == "sealed":
            sink.seal()
    store.confirm("a/confirmed", len("confirmed"))
    store.crash(Random(seed))
    for name in ("put", "sealed", "confirmed"):
        assert store.read(f"a/{name}") == name.encode()


def test_a_crash_loses_tears_or_keeps_what_was_not() -> None:
    lengths = set()
    for seed in range(200):
        store = MemoryStore()
        store.begin("a/b").write(b"0123456789")
        store.crash(Random(seed))
        try:
            kept = store.read("a/b")
        except BlobMissing:
            lengths.add(-1)
        else:
            assert b"0123456789".startswith(kept)
            lengths.add(len(kept))
    assert {-1, 10} < lengths
    assert lengths & set(range(10))


def test_an_open_sink_is_dead_after_a_crash() -> None:
    for seed in range(20):
        store = MemoryStore()
        sink = store.begin("a/b")
        sink.write(b"0123456789")
        store.crash(Random(seed))
        with pytest.raises(StoreBroken):
            sink.write(b"more")
        with pytest.raises(StoreBroken):
            sink.seal()
        before = list(store.list(""))
        sink.discard()  # must not take away what survived
        assert list(store.list("")) == before


def test_each_step_can_be_made_to_fail_and_leaves_no_promise() -> None:
    points = 0
    while True:
        fault = FailNth(points + 1, StoreUnavailable("injected"))
        store = MemoryStore(hook=fault)
        try:
            sink = store.begin("a/b")
            try:
                sink.write(b"12")
                sink.patch(0, b"3")
                sink.seal()
            except StoreUnavailable:
                sink.discard()
                raise
            store.confirm("a/b", 2)
        except StoreUnavailable:
            points += 1
            continue
        break
    assert points == 5
    assert not fault.fired
    store.hook = lambda operation, key: None
    assert store.read("a/b") == b"32"


def test_a_fault_can_be_aimed_at_one_operation_and_fires_once() -> None:
    fault = FailNth(2, StoreFull("injected"), "put")
    store = MemoryStore(hook=fault)
    store.put("a/1", b"")
    store.read("a/1")
    with pytest.raises(StoreFull):
        store.put("a/2", b"")
    assert fault.fired
    store.put("a/2", b"")


def test_a_failed_seal_removes_the_object() -> None:
    store = MemoryStore(hook=FailNth(1, StoreBroken("injected"), "seal"))
    sink = store.begin("a/b")
    sink.write(b"1")
    with pytest.raises(StoreBroken):
        sink.seal()
    with pytest.raises(BlobMissing):
        store.read("a/b")
    with pytest.raises(StoreBroken):
        sink.seal()
