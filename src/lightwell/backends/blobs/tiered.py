"""Two stores as one: `hot`, where everything is written, and `cool`, where packs may lie instead (ADR 18).

Where an object lies is found by looking: first in the hot one. So a pack may be moved while it is read,
and a row that is behind says nothing wrong. Only packs are ever looked for in the cool one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from lightwell.domain.archive.keys import is_packed
from lightwell.domain.archive.ports import (
    BlobInfo,
    BlobMissing,
    BlobSink,
    BlobStore,
    Buffer,
    FreeSpace,
)

T = TypeVar("T")


class TieredStore:
    """A `BlobStore` of two. Thread-safe as they are."""

    def __init__(self, hot: BlobStore, cool: BlobStore) -> None:
        self.hot = hot
        self.cool = cool
        self.quick = hot.quick and cool.quick

    def begin(self, key: str) -> BlobSink:
        return self.hot.begin(key)

    def put(self, key: str, data: Buffer, *, replace: bool = False) -> None:
        self.hot.put(key, data, replace=replace)

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return self._either(key, lambda store: store.read(key, offset, length))

    def read_into(self, key: str, offset: int, target: memoryview) -> None:
        self._either(key, lambda store: store.read_into(key, offset, target))

    def length(self, key: str) -> int:
        return self._either(key, lambda store: store.length(key))

    def confirm(self, key: str, length: int) -> None:
        self._either(key, lambda store: store.confirm(key, length))

    def _either(self, key: str, ask: Callable[[BlobStore], T]) -> T:
        try:
            return ask(self.hot)
        except BlobMissing:
            if not is_packed(key):
                raise
        try:
            return ask(self.cool)
        except BlobMissing:
            return ask(self.hot)  # on its way back between the two questions

    def delete(self, key: str) -> None:
        self.hot.delete(key)
        if is_packed(key):
            self.cool.delete(key)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Each object once, also one that is being moved."""
        yield from self.hot.list(prefix)
        for info in self.cool.list(prefix):
            if is_packed(info.key) and not _has(self.hot, info.key):
                yield info

    def probe(self) -> None:
        self.hot.probe()

    def sweep(self, older_than_seconds: float) -> int:
        return self.hot.sweep(older_than_seconds) + self.cool.sweep(older_than_seconds)

    def free(self) -> FreeSpace | None:
        return self.hot.free()

    def itself(self) -> BlobStore:
        return TieredStore(self.hot.itself(), self.cool.itself())

    def numbers(self) -> Mapping[str, int]:
        cool = {f"cool_{name}": value for name, value in self.cool.numbers().items()}
        return {**self.hot.numbers(), **cool}

    def close(self) -> None:
        try:
            self.hot.close()
        finally:
            self.cool.close()


def _has(store: BlobStore, key: str) -> bool:
    try:
        store.length(key)
    except BlobMissing:
        return False
    return True
