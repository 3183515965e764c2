"""The in-memory twin of a store: same contract, plus a crash and faults for the simulator.

It behaves like the local folder where that matters to a caller: an object is visible under its key
while it is still being written, and what was not sealed (or confirmed) may vanish, or survive torn,
when the power goes.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

from lightwell.backends.blobs.keys import (
    checked_key,
    checked_patch,
    checked_prefix,
    checked_range,
    dead_text,
    exists_text,
    is_below,
    missing_text,
    short_text,
)
from lightwell.domain.archive.ports import (
    BlobExists,
    BlobInfo,
    BlobMissing,
    Buffer,
    FreeSpace,
    StoreBroken,
    StoreFull,
)

Hook = Callable[[str, str], None]
"""Called as `hook(operation, key)` before each step; raise to make that step fail."""


class FailNth:
    """A hook that makes the n-th step (counting from 1) of the wanted operations fail, once.

    Looping n upwards until `fired` stays False has tried every point at which a store can fail.
    """

    def __init__(self, n: int, error: Exception, *operations: str) -> None:
        self.fired = False
        self._left = n
        self._error = error
        self._operations = frozenset(operations)

    def __call__(self, operation: str, key: str) -> None:
        if self._operations and operation not in self._operations:
            return
        self._left -= 1
        if self._left == 0:
            self.fired = True
            raise self._error


@dataclass(slots=True)
class _Object:
    data: bytearray
    durable: bool
    modified: datetime


class MemoryStore:
    """A `BlobStore` in a dictionary. Thread-safe."""

    quick = True

    def __init__(
        self,
        *,
        capacity: int | None = None,
        hook: Hook | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`capacity` in bytes makes it fill up; `hook` injects faults; `now` is the clock."""
        self.capacity = capacity
        self.hook: Hook = hook or (lambda operation, key: None)
        self._now = now
        self._objects: dict[str, _Object] = {}
        self._lock = threading.RLock()

    def begin(self, key: str) -> MemorySink:
        checked_key(key)
        with self._lock:
            self.hook("begin", key)
            if key in self._objects:
                raise BlobExists(exists_text(key))
            made = _Object(bytearray(), durable=False, modified=self._now())
            self._objects[key] = made
        return MemorySink(key, self, made)

    def put(self, key: str, data: Buffer, *, replace: bool = False) -> None:
        checked_key(key)
        with self._lock:
            self.hook("put", key)
            if key in self._objects and not replace:
                raise BlobExists(exists_text(key))
            self.require_room(len(data))
            self._objects[key] = _Object(bytearray(data), durable=True, modified=self._now())

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        checked_range(offset, length)
        with self._lock:
            data = self._get("read", key).data
            end = len(data) if length is None else offset + length
            if max(end, offset) > len(data):
                raise StoreBroken(short_text(key, max(end, offset), len(data)))
            return bytes(data[offset:end])

    def read_into(self, key: str, offset: int, target: memoryview) -> None:
        flat = target.cast("B")
        flat[:] = self.read(key, offset, len(flat))

    def fetch(self, key: str, offset: int, length: int) -> tuple[bytes, int]:
        """As a store over the network: see `cached.Fetching`."""
        with self._lock:
            data = self._get("read", key).data
            return bytes(data[offset : offset + length]), len(data)

    def length(self, key: str) -> int:
        with self._lock:
            return len(self._get("length", key).data)

    def confirm(self, key: str, length: int) -> None:
        with self._lock:
            found = self._get("confirm", key)
            if len(found.data) != length:
                raise StoreBroken(short_text(key, length, len(found.data)))
            found.durable = True

    def delete(self, key: str) -> None:
        checked_key(key)
        with self._lock:
            self.hook("delete", key)
            self._objects.pop(key, None)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        trimmed = checked_prefix(prefix)
        with self._lock:
            self.hook("list", trimmed)
            found = [
                BlobInfo(key, len(made.data), made.modified)
                for key, made in self._objects.items()
                if is_below(key, trimmed)
            ]
        return iter(found)

    def probe(self) -> None:
        key = f"probe/{secrets.token_hex(16)}"
        self.put(key, b"probe")
        self.read(key)
        self.delete(key)

    def sweep(self, older_than_seconds: float) -> int:
        """Nothing is staged apart: what a crash leaves is an object without a row."""
        return 0

    def free(self) -> FreeSpace | None:
        with self._lock:
            if self.capacity is None:
                return None
            return FreeSpace(self.capacity, max(0, self.capacity - self._used()))

    def itself(self) -> MemoryStore:
        return self

    def numbers(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        """Nothing to give back."""

    # -- for the simulator ---------------------------------------------------------------------

    def crash(self, random: Random) -> None:
        """Power loss: each object that is not durable vanishes, is torn, or happens to survive.

        Sinks that were open are dead afterwards: their writes reach nothing.
        """
        with self._lock:
            for key, made in list(self._objects.items()):
                if made.durable:
                    continue
                kept = random.choice(("nothing", "a part", "all"))
                if kept == "nothing":
                    del self._objects[key]
                    continue
                size = len(made.data) if kept == "all" else random.randint(0, len(made.data))
                torn = _Object(made.data[:size], durable=True, modified=made.modified)
                self._objects[key] = torn

    # -- for the sinks -------------------------------------------------------------------------

    def require_room(self, size: int) -> None:
        """Raise StoreFull when `size` more bytes exceed the capacity."""
        if self.capacity is not None and self._used() + size > self.capacity:
            raise StoreFull(f"The store's {self.capacity} bytes are used up: nothing was kept.")

    def step(self, operation: str, sink: MemorySink, made: _Object) -> threading.RLock:
        """Check that the sink's object still stands and let the hook speak; returns the lock."""
        with self._lock:
            if self._objects.get(sink.key) is not made:
                raise StoreBroken(dead_text(sink.key))
            self.hook(operation, sink.key)
        return self._lock

    def forget(self, key: str, made: _Object) -> None:
        """Drop the object if it is still this one."""
        with self._lock:
            if self._objects.get(key) is made:
                del self._objects[key]

    def _used(self) -> int:
        return sum(len(made.data) for made in self._objects.values())

    def _get(self, operation: str, key: str) -> _Object:
        checked_key(key)
        self.hook(operation, key)
        try:
            return self._objects[key]
        except KeyError:
            raise BlobMissing(missing_text(key)) from None


class MemorySink:
    """A `BlobSink` whose bytes are durable only once sealed."""

    __slots__ = ("_made", "_store", "key", "length")

    def __init__(self, key: str, store: MemoryStore, made: _Object) -> None:
        self.key = key
        self.length = 0
        self._store = store
        self._made: _Object | None = made

    def write(self, chunk: Buffer) -> None:
        made = self._open()
        with self._store.step("write", self, made):
            size = memoryview(chunk).nbytes
            self._store.require_room(size)
            made.data += chunk
            self.length += size

    def patch(self, offset: int, data: bytes) -> None:
        made = self._open()
        checked_patch(offset, len(data), self.length)
        with self._store.step("patch", self, made):
            made.data[offset : offset + len(data)] = data

    def seal(self) -> None:
        made = self._open()
        try:
            with self._store.step("seal", self, made):
                made.durable = True
        except BaseException:
            self.discard()
            raise
        self._made = None

    def discard(self) -> None:
        made, self._made = self._made, None
        if made is not None:
            self._store.forget(self.key, made)

    def _open(self) -> _Object:
        if self._made is None:
            raise StoreBroken(dead_text(self.key))
        return self._made
