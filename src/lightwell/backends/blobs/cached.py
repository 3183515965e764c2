"""A read-through cache of chunks in front of a store over the network (ADR 16).

Objects of the kinds in `KINDS` are read in aligned chunks of `CHUNK` bytes that stay in a local
folder (`chunks.py`). Missing neighbours are fetched in one request; threads that want the same chunk
at the same time wait for one fetch. A read of more than `BYPASS` bytes goes past the cache: whoever
reads so much at a time reads it through, and comes back to it seldom.

Only what is never replaced may be kept so. Proofs do not come through here: they ask `itself()`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from lightwell.backends.blobs.chunks import Chunk, ChunkFolder
from lightwell.backends.blobs.keys import checked_key, checked_range, short_text
from lightwell.domain.archive.keys import DERIVED, MANIFEST, PACK
from lightwell.domain.archive.ports import (
    BlobInfo,
    BlobSink,
    BlobStore,
    Buffer,
    FreeSpace,
    StoreBroken,
    StoreUnavailable,
)
from lightwell.kernel.errors import LightwellError

KINDS = frozenset({PACK, DERIVED, MANIFEST})
"""Landed objects are not among them: each is read about once before it is packed, and then it goes."""
CHUNK = 512 * 1024
BYPASS = 4 * 1024 * 1024
RECENT = 16  # checked chunks in memory: neighbouring small reads check a file once
_WAIT_SECONDS = 30.0  # far more than a fetch may take by its own deadline
_DROPS_KNOWN = 4096


class Fetching(BlobStore, Protocol):
    """A store that says, with a range, how long the object is."""

    def fetch(self, key: str, offset: int, length: int) -> tuple[bytes, int]:
        """What there is of bytes `[offset, offset+length)`, and the object's length; one request where
        the range begins inside. Raises as `read`, but not for an end beyond the object."""


@dataclass(slots=True)
class _Counts:
    hits: int = 0  # chunks found here
    misses: int = 0  # chunks fetched
    joined: int = 0  # chunks that somebody else was fetching already
    fetches: int = 0  # requests made for them
    hit_bytes: int = 0
    fetched_bytes: int = 0
    passed_bytes: int = 0  # read past the cache


class CachedStore:
    """A `BlobStore` around another one. Thread-safe; the folder may be shared by processes."""

    quick = False

    def __init__(
        self, inner: Fetching, folder: ChunkFolder, *, chunk: int = CHUNK, recent: int = RECENT
    ) -> None:
        """`folder` was made for chunks of the same size; `recent` of them stay in memory, too."""
        self._inner = inner
        self._folder = folder
        self._chunk = chunk
        self._lock = threading.Lock()
        self._flights: dict[tuple[str, int], Future[Chunk]] = {}
        self._recent: OrderedDict[tuple[str, int], Chunk] = OrderedDict()
        self._most_recent = recent
        self._epoch = 0  # counts drops, so that a fetch knows whether one came after its begin
        self._dropped: OrderedDict[str, int] = OrderedDict()
        self._forgotten = 0  # the last drop that `_dropped` does not hold any more
        self._counts = _Counts()

    def itself(self) -> BlobStore:
        return self._inner

    def numbers(self) -> Mapping[str, int]:
        with self._lock:
            c = self._counts
            mine = {
                "cache_hits": c.hits,
                "cache_misses": c.misses,
                "cache_joined": c.joined,
                "cache_fetches": c.fetches,
                "cache_hit_bytes": c.hit_bytes,
                "cache_fetched_bytes": c.fetched_bytes,
                "cache_passed_bytes": c.passed_bytes,
            }
        mine["cache_damaged"] = self._folder.damaged
        mine["cache_evicted"] = self._folder.evicted
        return {**self._inner.numbers(), **mine}

    # -- reading -------------------------------------------------------------------------------

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        checked_key(key)
        checked_range(offset, length)
        if not is_cached(key) or length == 0 or (length is not None and length > BYPASS):
            return self._past(key, offset, length)
        first = offset // self._chunk
        if length is None:
            start = self._gather(key, first, first)[0]
            length = start.total - offset
            if length < 0:
                raise StoreBroken(short_text(key, offset, start.total))
            if length > BYPASS:
                front = start.data[offset - first * self._chunk :]
                return front + self._past(key, offset + len(front), length - len(front))
            if length == 0:
                return b""
        end = offset + length
        chunks = self._gather(key, first, (end - 1) // self._chunk)
        if len({chunk.total for chunk in chunks}) != 1:  # never seen; the store knows
            self._folder.drop(key)
            return self._past(key, offset, length)
        if end > chunks[0].total:
            raise StoreBroken(short_text(key, end, chunks[0].total))
        skipped = offset - first * self._chunk
        if len(chunks) == 1:
            return chunks[0].data[skipped : skipped + length]
        return b"".join(chunk.data for chunk in chunks)[skipped : skipped + length]

    def read_into(self, key: str, offset: int, target: memoryview) -> None:
        flat = target.cast("B")
        if is_cached(key) and 0 < len(flat) <= BYPASS:
            flat[:] = self.read(key, offset, len(flat))
        else:
            self._inner.read_into(key, offset, target)

    def _past(self, key: str, offset: int, length: int | None) -> bytes:
        data = self._inner.read(key, offset, length)
        with self._lock:
            self._counts.passed_bytes += len(data)
        return data

    def _gather(self, key: str, first: int, last: int) -> list[Chunk]:
        """These chunks of an object, from here or from the store; beyond its end they are empty."""
        found: dict[int, Chunk] = {}
        with self._lock:
            epoch = self._epoch
            for number in range(first, last + 1):
                if (chunk := self._recent.get((key, number))) is not None:
                    self._recent.move_to_end((key, number))
                    found[number] = chunk
        for number in range(first, last + 1):
            if number not in found and (chunk := self._folder.get(key, number)) is not None:
                found[number] = chunk
                self._remember(key, number, chunk, epoch)
        with self._lock:
            self._counts.hits += len(found)
            self._counts.hit_bytes += sum(len(chunk.data) for chunk in found.values())
        missing = [number for number in range(first, last + 1) if number not in found]
        if missing:
            found |= self._get(key, missing)
        return [found[number] for number in range(first, last + 1)]

    def _get(self, key: str, missing: list[int]) -> dict[int, Chunk]:
        """Fetch what nobody fetches yet, then wait for the rest."""
        ours: dict[int, Future[Chunk]] = {}
        theirs: dict[int, Future[Chunk]] = {}
        with self._lock:
            epoch = self._epoch
            for number in missing:
                flight = self._flights.get((key, number))
                if flight is None:
                    ours[number] = self._flights[key, number] = Future()
                else:
                    theirs[number] = flight
            self._counts.joined += len(theirs)
        found = self._lead(key, ours, epoch) if ours else {}
        for number, flight in theirs.items():
            try:
                found[number] = flight.result(_WAIT_SECONDS)
            except TimeoutError:
                raise StoreUnavailable(f"A part of {key} did not come in time.") from None
        return found

    def _lead(self, key: str, ours: dict[int, Future[Chunk]], epoch: int) -> dict[int, Chunk]:
        """Fetch chunks for everybody who waits for them, and keep them."""
        found: dict[int, Chunk] = {}
        try:
            for number, flight in ours.items():  # kept by another thread since we looked?
                if (chunk := self._folder.get(key, number)) is not None:
                    found[number] = chunk
                    flight.set_result(chunk)
            for first, last in _runs(number for number in ours if number not in found):
                for number, chunk in self._fetch(key, first, last).items():
                    found[number] = chunk
                    ours[number].set_result(chunk)
                    if chunk.data:
                        self._keep(key, number, chunk, epoch)
        except BaseException as error:
            told = error if isinstance(error, LightwellError) else StoreUnavailable(
                f"Reading {key} was given up."
            )  # fmt: skip
            for flight in ours.values():
                if not flight.done():
                    flight.set_exception(told)
            raise
        finally:
            with self._lock:
                for number, flight in ours.items():
                    if self._flights.get((key, number)) is flight:
                        del self._flights[key, number]
        return found

    def _fetch(self, key: str, first: int, last: int) -> dict[int, Chunk]:
        size = self._chunk
        start, wanted = first * size, (last - first + 1) * size
        data, total = self._inner.fetch(key, start, wanted)
        if len(data) != max(min(wanted, total - start), 0):
            raise StoreBroken(short_text(key, start + wanted, total))
        with self._lock:
            self._counts.fetches += 1
            self._counts.misses += last - first + 1
            self._counts.fetched_bytes += len(data)
        return {
            first + n: Chunk(data[n * size : (n + 1) * size], total)
            for n in range(last - first + 1)
        }

    def _keep(self, key: str, number: int, chunk: Chunk, epoch: int) -> None:
        """Keep a chunk, unless its object was deleted since `epoch`."""
        self._folder.put(key, number, chunk)
        if not self._remember(key, number, chunk, epoch):
            self._folder.drop(key)

    def _remember(self, key: str, number: int, chunk: Chunk, epoch: int) -> bool:
        """Keep a chunk in memory; False when its object was deleted since `epoch`."""
        with self._lock:
            if max(self._dropped.get(key, 0), self._forgotten) > epoch:
                return False
            self._recent[key, number] = chunk
            while len(self._recent) > self._most_recent:
                self._recent.popitem(last=False)
        return True

    # -- writing -------------------------------------------------------------------------------

    def begin(self, key: str) -> BlobSink:
        return self._inner.begin(key)

    def put(self, key: str, data: Buffer, *, replace: bool = False) -> None:
        self._inner.put(key, data, replace=replace)
        if replace:
            self._drop(key)

    def delete(self, key: str) -> None:
        self._inner.delete(key)
        self._drop(key)

    def _drop(self, key: str) -> None:
        if not is_cached(key):
            return
        with self._lock:
            self._epoch += 1
            self._dropped[key] = self._epoch
            self._dropped.move_to_end(key)
            if len(self._dropped) > _DROPS_KNOWN:
                _, self._forgotten = self._dropped.popitem(last=False)
            for flight in [name for name in self._flights if name[0] == key]:
                del self._flights[flight]
            for name in [name for name in self._recent if name[0] == key]:
                del self._recent[name]
        self._folder.drop(key)

    # -- the rest is the store's -----------------------------------------------------------------

    def length(self, key: str) -> int:
        return self._inner.length(key)

    def confirm(self, key: str, length: int) -> None:
        self._inner.confirm(key, length)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        return self._inner.list(prefix)

    def probe(self) -> None:
        self._inner.probe()

    def sweep(self, older_than_seconds: float) -> int:
        self._folder.trim()
        return self._inner.sweep(older_than_seconds)

    def free(self) -> FreeSpace | None:
        return self._inner.free()

    def close(self) -> None:
        self._folder.close()
        self._inner.close()


def is_cached(key: str) -> bool:
    """Whether objects under such a key are kept in chunks: by the third segment, the kind."""
    return key.split("/", 3)[2:3] in _KIND_SEGMENTS


_KIND_SEGMENTS = tuple([kind] for kind in sorted(KINDS))


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of each row of neighbours; `numbers` ascend."""
    first = last = -1
    for number in numbers:
        if number == last + 1 and first >= 0:
            last = number
            continue
        if first >= 0:
            yield first, last
        first = last = number
    if first >= 0:
        yield first, last
