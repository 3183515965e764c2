"""The contract of `BlobStore`, asked of every backend alike.

The S3 backend talks to a real SeaweedFS server; without its wheel those cases are skipped and say
so.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lightwell.backends.blobs import open_store
from lightwell.backends.blobs.cached import CachedStore
from lightwell.backends.blobs.chunks import ChunkFolder
from lightwell.backends.blobs.memory import MemoryStore
from lightwell.backends.blobs.regions import BoundStore, RegionalStore
from lightwell.backends.blobs.tiered import TieredStore
from lightwell.domain.archive.ports import (
    BlobExists,
    BlobMissing,
    BlobStore,
    StoreBroken,
    StoreFull,
)
from lightwell.testing.seaweed import SeaweedFS, require_seaweed

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def seaweed() -> Iterator[SeaweedFS]:
    require_seaweed()
    with SeaweedFS.running() as server:
        yield server


STORES = ["memory", "local", "s3", "cached-memory", "cached-s3", "tiered", "bound", "regional"]


def bound(region: str, inner: BlobStore) -> BoundStore:
    return BoundStore(region, lambda: inner, quick=inner.quick)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobStore]:
    made: BlobStore
    if request.param == "memory":
        made = MemoryStore()
    elif request.param == "local":
        made = open_store(str(tmp_path / "blobs"), tmp_path / "staging")
    elif request.param == "tiered":
        made = TieredStore(MemoryStore(), MemoryStore())
    elif request.param == "bound":
        made = bound("eu", open_store(str(tmp_path / "blobs"), tmp_path / "staging"))
    elif request.param == "regional":
        both = {region: bound(region, MemoryStore()) for region in ("eu", "us")}
        made = RegionalStore(both)
    elif request.param == "cached-memory":  # chunks so small that every range meets several
        made = CachedStore(MemoryStore(), ChunkFolder(tmp_path / "cache", MIB, 7), chunk=7)
    else:
        server: SeaweedFS = request.getfixturevalue("seaweed")
        made = open_store(
            server.store_url(prefix=secrets.token_hex(8)),
            tmp_path / "staging",
            cache=tmp_path / "cache" if request.param == "cached-s3" else None,
            environment=server.environment(),
        )
    yield made
    made.close()


def a_key(kind: str = "pack") -> str:
    name = secrets.token_hex(16)
    return f"eu/default/{kind}/{name[:2]}/{name[2:4]}/{name}"


def write(store: BlobStore, key: str, data: bytes, chunk: int = 256 * 1024) -> None:
    sink = store.begin(key)
    for start in range(0, len(data), chunk):
        sink.write(data[start : start + chunk])
    assert sink.length == len(data)
    sink.seal()


@pytest.mark.parametrize("size", [0, 1, 511, 4096, 70_000, 8 * MIB, 8 * MIB + 1, 20 * MIB], ids=str)
def test_what_was_sealed_is_read_back_equal(store: BlobStore, size: int) -> None:
    key, data = a_key(), secrets.token_bytes(size)
    write(store, key, data)
    assert store.read(key) == data
    assert store.length(key) == size
    store.confirm(key, size)


def test_put_is_create_only_and_keeps_the_first_bytes(store: BlobStore) -> None:
    key = a_key()
    store.put(key, b"first")
    with pytest.raises(BlobExists):
        store.put(key, b"second")
    assert store.read(key) == b"first"


def test_put_with_replace_replaces_and_also_creates(store: BlobStore) -> None:
    key = a_key("manifest")
    store.put(key, b"one", replace=True)
    store.put(key, b"the second", replace=True)
    assert store.read(key) == b"the second"
    assert [info.key for info in store.list("eu/default/manifest")] == [key]


def test_a_sealed_key_is_never_begun_again(store: BlobStore) -> None:
    key = a_key()
    store.put(key, b"first")
    with pytest.raises(BlobExists):
        write(store, key, b"second")
    assert store.read(key) == b"first"


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, 4, b"0123"),
        (3, 5, b"34567"),
        (9, 1, b"9"),
        (10, 0, b""),
        (0, 0, b""),
        (10, None, b""),
        (4, None, b"456789"),
        (0, 10, b"0123456789"),
    ],
)
def test_ranges(store: BlobStore, offset: int, length: int | None, expected: bytes) -> None:
    key = a_key()
    store.put(key, b"0123456789")
    assert store.read(key, offset, length) == expected
    target = bytearray(len(expected))
    store.read_into(key, offset, memoryview(target))
    assert bytes(target) == expected


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 11), (10, 1), (11, 0), (11, None), (0, 2**40), (2**40, 1)]
)
def test_a_range_beyond_the_end_is_damage_never_a_short_answer(
    store: BlobStore, offset: int, length: int | None
) -> None:
    key = a_key()
    store.put(key, b"0123456789")
    with pytest.raises(StoreBroken):
        store.read(key, offset, length)
    if length is not None and length < 100:
        with pytest.raises(StoreBroken):
            store.read_into(key, offset, memoryview(bytearray(max(length, 1))))


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (-1, None)])
def test_negative_ranges_are_a_callers_fault(
    store: BlobStore, offset: int, length: int | None
) -> None:
    key = a_key()
    store.put(key, b"0123456789")
    with pytest.raises(ValueError, match="range"):
        store.read(key, offset, length)


def test_read_into_fills_a_view_of_wider_items(store: BlobStore) -> None:
    key = a_key()
    store.put(key, bytes(range(16)))
    target = memoryview(bytearray(8)).cast("H")
    store.read_into(key, 4, target)
    assert target.tobytes() == bytes(range(4, 12))


def test_missing(store: BlobStore) -> None:
    key = a_key()
    for ask in (
        lambda: store.read(key),
        lambda: store.read(key, 1, 2),
        lambda: store.read_into(key, 0, memoryview(bytearray(1))),
        lambda: store.length(key),
        lambda: store.confirm(key, 0),
    ):
        with pytest.raises(BlobMissing):
            ask()
    store.delete(key)


def test_confirm_refuses_another_length(store: BlobStore) -> None:
    key = a_key()
    store.put(key, b"0123456789")
    store.confirm(key, 10)
    for length in (9, 11, 0):
        with pytest.raises(StoreBroken):
            store.confirm(key, length)


def test_patch_overwrites_before_the_seal(store: BlobStore) -> None:
    key = a_key()
    sink = store.begin(key)
    sink.write(b"head 0000000000 ")
    sink.write(b"body")
    sink.patch(5, b"digest")
    sink.patch(16, b"B")
    sink.write(b" and more")
    sink.seal()
    assert store.read(key) == b"head digest0000 Body and more"


@pytest.mark.parametrize("offset", [-1, 3, 100])
def test_patch_may_not_reach_beyond_what_is_written(store: BlobStore, offset: int) -> None:
    sink = store.begin(a_key())
    sink.write(b"0123")
    with pytest.raises(ValueError, match="patch"):
        sink.patch(offset, b"ab")
    sink.discard()


def test_a_reused_buffer_does_not_change_what_was_written(store: BlobStore) -> None:
    key, buffer = a_key(), bytearray(b"aaaa")
    sink = store.begin(key)
    sink.write(memoryview(buffer)[1:3])
    buffer[:] = b"zzzz"
    sink.write(buffer)
    buffer[:] = b"yyyy"
    sink.seal()
    assert store.read(key) == b"aazzzz"


def test_discard_leaves_nothing_and_may_be_repeated(store: BlobStore) -> None:
    key = a_key()
    sink = store.begin(key)
    sink.write(b"x" * 100_000)
    sink.discard()
    sink.discard()
    with pytest.raises(BlobMissing):
        store.read(key)
    assert list(store.list("eu")) == []
    store.put(key, b"the key was never taken")


@pytest.mark.parametrize("how", ["seal", "discard"])
def test_a_closed_sink_takes_nothing_more(store: BlobStore, how: str) -> None:
    key = a_key()
    sink = store.begin(key)
    sink.write(b"1234")
    getattr(sink, how)()
    with pytest.raises(StoreBroken):
        sink.write(b"5")
    with pytest.raises(StoreBroken):
        sink.patch(0, b"5")
    with pytest.raises(StoreBroken):
        sink.seal()
    sink.discard()  # never raises, and never takes a sealed object away
    if how == "seal":
        assert store.read(key) == b"1234"


def test_list_is_by_whole_segments_with_length_and_time(store: BlobStore) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    for key in ("eu/a/landed/00/01/x", "eu/a/landed/00/02/yy", "eu/a/pack/00/01/z", "eu/ab/q/r"):
        store.put(key, key.encode())
    found = {info.key: info for info in store.list("eu/a")}
    assert set(found) == {"eu/a/landed/00/01/x", "eu/a/landed/00/02/yy", "eu/a/pack/00/01/z"}
    assert found["eu/a/landed/00/02/yy"].length == len("eu/a/landed/00/02/yy")
    assert all(
        before <= info.modified <= datetime.now(UTC) + timedelta(seconds=5)
        for info in found.values()
    )
    assert {info.key for info in store.list("eu/a/")} == set(found)
    assert len(list(store.list(""))) == 4
    assert list(store.list("eu/none")) == []
    assert list(store.list("eu/a/land")) == []


def test_list_gives_every_object_of_many(store: BlobStore) -> None:
    keys = {f"eu/a/landed/{n % 7:02x}/{n % 3:02x}/{n:05d}" for n in range(1100)}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: store.put(key, b"x"), keys))
    listed = [info.key for info in store.list("eu")]
    assert len(listed) == 1100
    assert set(listed) == keys


def test_delete_removes_and_frees_the_key(store: BlobStore) -> None:
    key = a_key()
    store.put(key, b"1")
    store.delete(key)
    store.delete(key)
    with pytest.raises(BlobMissing):
        store.length(key)
    assert list(store.list("eu")) == []


BAD_KEYS = [
    "", "/", "a/", "/a", "a//b", ".", "..", "a/..", "../a", "a/../b", "a/./b", "A", "a b",
    "a\\b", "a\x00b", "a\n", "ä", ".hidden", "a/.hidden", "x" * 600, "/etc/passwd", "a/~b", "a%2fb",
]  # fmt: skip


@pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
def test_only_keys_are_keys(store: BlobStore, key: str) -> None:
    for ask in (
        lambda: store.begin(key),
        lambda: store.put(key, b""),
        lambda: store.put(key, b"", replace=True),
        lambda: store.read(key),
        lambda: store.read_into(key, 0, memoryview(bytearray(1))),
        lambda: store.length(key),
        lambda: store.confirm(key, 0),
        lambda: store.delete(key),
    ):
        with pytest.raises(ValueError, match="not an object key"):
            ask()


@pytest.mark.parametrize("prefix", ["..", "a//", "/", "A", "a/../b"])
def test_only_prefixes_are_prefixes(store: BlobStore, prefix: str) -> None:
    if prefix == "/":
        assert list(store.list(prefix)) == []
        return
    with pytest.raises(ValueError, match="not an object key"):
        list(store.list(prefix))


def test_one_of_many_writers_of_one_key_wins_and_its_bytes_stay(store: BlobStore) -> None:
    key = a_key()
    bodies = [bytes([n]) * (50_000 + n) for n in range(8)]
    start = threading.Barrier(len(bodies))

    def compete(body: bytes) -> bool:
        start.wait(timeout=30)
        try:
            write(store, key, body)
        except BlobExists:
            return False
        return True

    with ThreadPoolExecutor(len(bodies)) as threads:
        won = [body for body, ok in zip(bodies, threads.map(compete, bodies), strict=True) if ok]
    assert len(won) == 1
    assert store.read(key) == won[0]


def test_many_threads_each_their_own_object(store: BlobStore) -> None:
    bodies = {a_key(): secrets.token_bytes(1000 + 997 * n) for n in range(40)}

    def one(key: str) -> None:
        write(store, key, bodies[key], chunk=777)
        store.confirm(key, len(bodies[key]))
        assert store.read(key) == bodies[key]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(one, bodies))
    assert {info.key: info.length for info in store.list("eu")} == {
        key: len(body) for key, body in bodies.items()
    }


def test_probe_leaves_nothing(store: BlobStore) -> None:
    store.probe()
    assert list(store.list("")) == []


def test_sweep_spares_what_is_young(store: BlobStore) -> None:
    sink = store.begin(a_key())
    sink.write(b"x" * 1000)
    assert store.sweep(3600) == 0
    sink.seal()
    assert store.length(sink.key) == 1000


def test_free_says_something_sensible(store: BlobStore) -> None:
    space = store.free()
    if space is not None:
        assert 0 <= space.free <= space.total
        assert space.total > 0


def test_a_memory_store_fills_up_and_works_again() -> None:
    store = MemoryStore(capacity=1000)
    store.put("a/b", b"x" * 900)
    sink = store.begin("a/c")
    sink.write(b"x" * 100)
    with pytest.raises(StoreFull):
        sink.write(b"x")
    with contextlib.closing(store), pytest.raises(StoreFull):
        store.put("a/d", b"x")
    sink.discard()
    store.put("a/d", b"x" * 100)
    assert store.free() is not None
