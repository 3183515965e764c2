"""Chunks of a remote store on the local disk: never wrong, never more than the bound, whatever happens."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lightwell.backends.blobs import chunks, open_store
from lightwell.backends.blobs.cached import BYPASS, CachedStore
from lightwell.backends.blobs.chunks import LEAD_SECONDS, Chunk, ChunkFolder
from lightwell.backends.blobs.local import LocalStore
from lightwell.backends.blobs.memory import MemoryStore
from lightwell.domain.archive.internal.stock import Stock
from lightwell.domain.archive.internal.vouching import digest_of
from lightwell.domain.archive.keys import PACK, blob_key
from lightwell.domain.archive.model import KnownInstance
from lightwell.domain.archive.ports import (
    BlobMissing,
    FreeSpace,
    StoreUnavailable,
)

CHUNK = 4096
MIB = 1024 * 1024
LIMIT = 64 * MIB


def a_key(kind: str = PACK) -> str:
    return blob_key("eu", "default", kind, uuid.uuid4())


def some_bytes(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


class Remote(MemoryStore):
    """Counts what it is asked, and fails or waits when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[tuple[int, int]] = []
        self.reads = 0
        self.before: Callable[[], None] = lambda: None

    def fetch(self, key: str, offset: int, length: int) -> tuple[bytes, int]:
        self.fetched.append((offset, length))
        self.before()
        return super().fetch(key, offset, length)

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        self.reads += 1
        self.before()
        return super().read(key, offset, length)


@pytest.fixture
def remote() -> Remote:
    return Remote()


def cached(remote: Remote, folder: Path, limit: int = LIMIT, recent: int = 0) -> CachedStore:
    return CachedStore(remote, ChunkFolder(folder, limit, CHUNK), chunk=CHUNK, recent=recent)


def refuse() -> None:
    raise StoreUnavailable("The store is away.")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/*") if not path.name.startswith("."))


def test_what_was_read_once_is_read_without_the_store_and_after_a_restart(
    remote: Remote, tmp_path: Path
) -> None:
    key, data = a_key(), some_bytes(5 * CHUNK + 17)
    remote.put(key, data)
    assert cached(remote, tmp_path).read(key, 100, 3 * CHUNK) == data[100 : 100 + 3 * CHUNK]
    remote.before = refuse
    again = cached(remote, tmp_path)
    assert again.read(key, 0, 3 * CHUNK) == data[: 3 * CHUNK]
    assert again.read(key, 5, 1) == data[5:6]
    with pytest.raises(StoreUnavailable):
        again.read(key, 5 * CHUNK, 1)
    assert again.numbers()["cache_hits"] == 4


def test_neighbours_that_are_missing_come_in_one_request(remote: Remote, tmp_path: Path) -> None:
    key, data = a_key(), some_bytes(6 * CHUNK)
    remote.put(key, data)
    store = cached(remote, tmp_path)
    store.read(key, 2 * CHUNK, 1)
    assert store.read(key) == data
    first, *front, last = remote.fetched
    assert (first, last) == ((2 * CHUNK, CHUNK), (3 * CHUNK, 3 * CHUNK))
    # The first chunk of a read to the end says where that is, unless it was known by then.
    assert front in ([(0, CHUNK), (CHUNK, CHUNK)], [(0, 2 * CHUNK)])


def test_large_reads_and_landed_objects_go_past(remote: Remote, tmp_path: Path) -> None:
    pack, landed = a_key(), a_key("landed")
    data = some_bytes(BYPASS + 2 * CHUNK)
    remote.put(pack, data)
    remote.put(landed, data[:CHUNK])
    store = cached(remote, tmp_path)
    assert store.read(pack, 1, BYPASS + 1) == data[1 : BYPASS + 2]
    assert store.read(landed, 0, 10) == data[:10]
    assert files(tmp_path) == []
    assert store.read(pack) == data
    assert len(files(tmp_path)) == 1, "only the chunk that told the length"


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda raw: b"",
    "cut in the head": lambda raw: raw[:20],
    "cut": lambda raw: raw[:-1],
    "longer object claimed": lambda raw: raw[:24] + b"\xff" + raw[25:],
    "zeros": lambda raw: bytes(len(raw)),
    **{f"bit at {n}": lambda raw, n=n: raw[:n] + bytes([raw[n] ^ 1]) + raw[n + 1 :]
       for n in (0, 4, 8, 16, 20, 24, 32, 48, 52, 56, 1000, CHUNK + 55)},
}  # fmt: skip


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_chunk_is_fetched_again_never_served(
    remote: Remote, tmp_path: Path, how: str
) -> None:
    key, data = a_key(), some_bytes(2 * CHUNK)
    remote.put(key, data)
    store = cached(remote, tmp_path)
    store.read(key)
    path = files(tmp_path)[0]
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[how](whole))
    assert store.read(key) == data
    assert store.numbers()["cache_damaged"] == 1
    assert path.read_bytes() == whole


def test_a_chunk_under_another_name_is_not_served(remote: Remote, tmp_path: Path) -> None:
    one, two = a_key(), a_key()
    bodies = {one: some_bytes(3 * CHUNK, 1), two: some_bytes(3 * CHUNK, 2)}
    store = cached(remote, tmp_path)
    for key, data in bodies.items():
        remote.put(key, data)
        store.read(key)
    paths = files(tmp_path)
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)
    for key, data in bodies.items():
        assert store.read(key) == data
    assert store.numbers()["cache_damaged"] == 6


def test_a_chunk_of_another_size_of_chunks_is_not_served(remote: Remote, tmp_path: Path) -> None:
    key, data = a_key(), some_bytes(4 * CHUNK)
    remote.put(key, data)
    cached(remote, tmp_path).read(key)
    other = CachedStore(remote, ChunkFolder(tmp_path, LIMIT, 2 * CHUNK), chunk=2 * CHUNK)
    assert other.read(key) == data


def test_many_threads_that_want_one_chunk_make_one_request(remote: Remote, tmp_path: Path) -> None:
    key, data = a_key(), some_bytes(CHUNK)
    remote.put(key, data)
    store = cached(remote, tmp_path)
    everybody = threading.Barrier(8)
    waiting = threading.Event()
    remote.before = lambda: (waiting.wait(10), None)[1]

    def ask(number: int) -> bytes:
        everybody.wait(10)
        return store.read(key, number, 10)

    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(ask, number) for number in range(8)]
        deadline = time.monotonic() + 10
        while store.numbers()["cache_joined"] < 7 and time.monotonic() < deadline:
            time.sleep(0.001)
        waiting.set()
        assert [one.result(10) for one in asked] == [data[n : n + 10] for n in range(8)]
    assert len(remote.fetched) == 1


def test_a_fetch_that_fails_fails_for_all_who_wait_and_the_next_one_works(
    remote: Remote, tmp_path: Path
) -> None:
    key, data = a_key(), some_bytes(CHUNK)
    remote.put(key, data)
    store = cached(remote, tmp_path)
    joined = threading.Event()

    def fail() -> None:
        joined.wait(10)
        refuse()

    remote.before = fail
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(store.read, key, 0, 10) for _ in range(4)]
        deadline = time.monotonic() + 10
        while store.numbers()["cache_joined"] < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
        joined.set()
        for one in asked:
            with pytest.raises(StoreUnavailable):
                one.result(10)
    remote.before = lambda: None
    assert store.read(key, 0, 10) == data[:10]
    assert len(remote.fetched) == 2


def test_a_reader_that_is_killed_inside_lets_the_others_go(remote: Remote, tmp_path: Path) -> None:
    key = a_key()
    remote.put(key, some_bytes(CHUNK))
    store = cached(remote, tmp_path)
    remote.before = lambda: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        store.read(key, 0, 10)
    remote.before = lambda: None
    assert len(store.read(key, 0, 10)) == 10


def test_deleting_an_object_drops_its_chunks(remote: Remote, tmp_path: Path) -> None:
    key, other = a_key(), a_key()
    for name in (key, other):
        remote.put(name, some_bytes(3 * CHUNK))
    store = cached(remote, tmp_path)
    store.read(key)
    store.read(other)
    store.delete(key)
    assert len(files(tmp_path)) == 3
    with pytest.raises(BlobMissing):
        store.read(key, 0, 1)


def test_an_object_deleted_while_it_is_fetched_leaves_nothing(
    remote: Remote, tmp_path: Path
) -> None:
    key = a_key()
    remote.put(key, some_bytes(CHUNK))
    store = cached(remote, tmp_path)
    inside, go_on = threading.Event(), threading.Event()
    found = Remote.fetch

    def slow(name: str, offset: int, length: int) -> tuple[bytes, int]:
        answer = found(remote, name, offset, length)
        inside.set()
        go_on.wait(10)
        return answer

    remote.fetch = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(store.read, key, 0, 10)
        assert inside.wait(10)
        store.delete(key)
        go_on.set()
        assert len(reading.result(10)) == 10
    assert files(tmp_path) == []
    remote.put(key, b"new" * 10)  # keys are not used twice; a cache must not be what relies on it
    remote.fetch = lambda *asked: found(remote, *asked)  # type: ignore[method-assign]
    assert store.read(key, 0, 3) == b"new"
    assert len(files(tmp_path)) == 1


def taken(folder: Path) -> int:
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in files(folder))


def test_the_folder_stays_within_its_bound(remote: Remote, tmp_path: Path) -> None:
    key, data = a_key(), some_bytes(400 * CHUNK)
    remote.put(key, data)
    limit = 2 * MIB
    stores = [cached(remote, tmp_path, limit) for _ in range(3)]
    for start in range(0, 400 * CHUNK, 4 * CHUNK):
        store = stores[start // CHUNK // 4 % 3]
        assert store.read(key, start, 4 * CHUNK) == data[start : start + 4 * CHUNK]
        store.close()  # waits for a trimming under way
        assert taken(tmp_path) <= limit
    assert files(tmp_path)
    assert sum(store.numbers()["cache_evicted"] for store in stores) > 100
    assert taken(tmp_path) > limit // 2


def test_a_series_read_through_once_does_not_displace_what_is_used_every_day(
    tmp_path: Path,
) -> None:
    now = [1_000_000.0]
    folder = ChunkFolder(tmp_path, 200 * 8192, CHUNK, now=lambda: now[0])
    daily, scan = a_key(), a_key()
    for number in range(20):
        folder.put(daily, number, Chunk(bytes(CHUNK), 20 * CHUNK))
        folder.close()
    now[0] += 120
    assert all(folder.get(daily, number) for number in range(20))
    folder.close()
    for number in range(1000):
        now[0] += 1
        folder.put(scan, number, Chunk(bytes(CHUNK), 1000 * CHUNK))
        folder.get(scan, number)  # its other half, a moment later: still the same use
        folder.close()
    assert all(folder.get(daily, number) for number in range(20)), "used twice"
    kept = [number for number in range(1000) if folder.get(scan, number)]
    assert kept
    assert kept[-1] == 999
    now[0] += 30 * LEAD_SECONDS
    for number in range(300):
        folder.put(a_key(), number, Chunk(bytes(CHUNK), 1000 * CHUNK))
        folder.close()
    assert not any(folder.get(daily, number) for number in range(20)), "not for ever"


def test_what_killed_writers_left_goes(remote: Remote, tmp_path: Path) -> None:
    store = cached(remote, tmp_path)
    (tmp_path / "ab").mkdir()
    left, young = tmp_path / "ab" / ".0123", tmp_path / "ab" / ".4567"
    left.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(left, (1, 1))
    store.sweep(0)
    assert not left.exists()
    assert young.exists()


def test_small_reads_of_one_chunk_open_its_file_once(remote: Remote, tmp_path: Path) -> None:
    key, data = a_key(), some_bytes(6 * CHUNK)
    remote.put(key, data)
    store = cached(remote, tmp_path, recent=2)
    store.read(key)
    for path in files(tmp_path):
        path.unlink()
    assert store.read(key, 4 * CHUNK, 2 * CHUNK) == data[4 * CHUNK :]
    assert len(remote.fetched) == 2
    store.read(key, 3 * CHUNK, 1)
    assert len(remote.fetched) == 3, "two are kept, no more"
    store.delete(key)
    with pytest.raises(BlobMissing):
        store.read(key, 3 * CHUNK, 1)


def test_on_a_full_volume_nothing_is_kept_and_everything_is_read(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, data = a_key(), some_bytes(40 * CHUNK)
    remote.put(key, data)
    store = cached(remote, tmp_path)
    store.read(key, 0, 20 * CHUNK)
    store.close()  # a trimming under way has seen fewer of them
    monkeypatch.setattr(chunks, "volume_space", lambda folder: FreeSpace(1000, 30))
    assert store.read(key) == data
    store.close()
    left = files(tmp_path)
    assert len(left) <= 10, "half of it made room, once or more often"
    assert all(int(path.name.rsplit("-", 1)[1], 16) < 20 for path in left), "nothing was added"


def test_a_folder_that_somebody_emptied_is_filled_again(remote: Remote, tmp_path: Path) -> None:
    key, data = a_key(), some_bytes(3 * CHUNK)
    remote.put(key, data)
    store = cached(remote, tmp_path / "cache")
    store.read(key)
    shutil.rmtree(tmp_path / "cache")
    assert store.read(key) == data
    assert len(files(tmp_path / "cache")) == 3


READER = """
import random, sys
from pathlib import Path
from lightwell.backends.blobs.cached import CachedStore
from lightwell.backends.blobs.chunks import ChunkFolder
from lightwell.backends.blobs.local import LocalStore
class Remote(LocalStore):
    def fetch(self, key, offset, length):
        total = self.length(key)
        return self.read(key, offset, max(min(length, total - offset), 0)), total
folder, key, limit, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
inner = Remote(folder / "far")
truth = inner.read(key)
store = CachedStore(inner, ChunkFolder(folder / "cache", limit, 4096), chunk=4096)
draw = random.Random(seed)
print("ready", flush=True)
for _ in range(int(sys.argv[5])):
    at = draw.randrange(len(truth) - 20000)
    size = draw.randrange(1, 20000)
    assert store.read(key, at, size) == truth[at:at + size]
store.close()
assert store.numbers()["cache_damaged"] == 0
"""


def test_processes_share_the_folder_and_a_killed_one_leaves_it_whole(tmp_path: Path) -> None:
    key, limit = a_key(), 2 * MIB
    LocalStore(tmp_path / "far").put(key, some_bytes(600 * CHUNK))
    command = [sys.executable, "-c", READER, str(tmp_path), key, str(limit)]
    killed = [
        subprocess.Popen([*command, str(seed), "1000000"], stdout=subprocess.PIPE)
        for seed in (1, 2)
    ]
    for process in killed:
        assert process.stdout is not None
        process.stdout.readline()
    readers = [subprocess.Popen([*command, str(seed), "1500"]) for seed in (3, 4)]
    for process in killed:
        time.sleep(0.3)  # somewhere within
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert [process.wait(60) for process in readers] == [0, 0]
    assert taken(tmp_path / "cache") <= limit


def test_proofs_ask_the_store_itself(remote: Remote, tmp_path: Path) -> None:
    """A chunk that is whole says nothing of an object that rots."""
    key, data = a_key(), some_bytes(2 * CHUNK)
    remote.put(key, data)
    store = cached(remote, tmp_path)
    kept = KnownInstance(
        study_uid="1.2",
        series_uid="1.3",
        state="current",
        sha256=hashlib.sha256(data).digest(),
        sop_class="1.2.840.10008.5.1.4.1.1.2",
        key=key,
        offset=0,
        length=len(data),
        data_offset=0,
        blob_length=len(data),
        inline=False,
    )
    assert store.read(key) == data
    assert digest_of(Stock(store), kept, "1.4") == kept.sha256
    remote.put(key, data[:-1] + b"?", replace=True)
    assert store.read(key) == data, "this is what the cache is for"
    assert digest_of(Stock(store), kept, "1.4") != kept.sha256


def test_a_local_folder_has_no_cache_and_a_bucket_none_when_told_so(tmp_path: Path) -> None:
    local = open_store(tmp_path / "blobs", tmp_path / "staging", cache=tmp_path / "cache")
    assert isinstance(local, LocalStore)
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    for limit, wanted in ((0, False), (None, True), (LIMIT, True)):
        bucket = open_store(
            "s3://bucket?endpoint=http://127.0.0.1:1",
            tmp_path / "staging",
            environment=keys,
            cache=tmp_path / "cache",
            cache_bytes=limit,
            examine=False,
        )
        assert isinstance(bucket, CachedStore) is wanted
