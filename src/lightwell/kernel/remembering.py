"""What a process remembers of what it has read: the latest used, up to so many bytes in all."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Remembered(Generic[V]):
    """Values by key. Thread-safe; two threads that miss the same key both make it, one is kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes kept, by the sizes that were said."""
        return self._size

    def get(self, key: Hashable) -> V | None:
        """The value of a key, if it is still there."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def keep(self, key: Hashable, value: V, size: int) -> None:
        """Remember a value of `size` bytes; one that would fill an eighth of the room is not kept."""
        if size > self._limit // 8:
            return
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = (value, size)
            self._size += size
            while self._size > self._limit:
                self._size -= self._kept.popitem(last=False)[1][1]

    def of(self, key: Hashable, make: Callable[[], tuple[V, int]]) -> V:
        """The value of a key; `make` gives it with its size where it is not there."""
        found = self.get(key)
        if found is None:
            found, size = make()
            self.keep(key, found, size)
        return found
