"""Stores of several regions: each takes the objects of its own region and no others; together they are one.

A key begins with the region of its tenant. `BoundStore` is the lock on one store: whatever is asked of it
under another region's key fails, whoever asked. `RegionalStore` finds the store of a key, nothing else.
"""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from lightwell.backends.blobs.keys import checked_key, checked_prefix
from lightwell.domain.archive.keys import STORE_ID, region_of
from lightwell.domain.archive.ports import (
    BlobInfo,
    BlobMissing,
    BlobSink,
    BlobStore,
    Buffer,
    FreeSpace,
    StoreBroken,
    WrongRegion,
)
from lightwell.kernel.errors import LightwellError

log = logging.getLogger(__name__)

T = TypeVar("T")


class BoundStore:
    """A `BlobStore` of one region. Thread-safe as the store within.

    `opening` makes the store within; it is called when something is first asked, and again while it fails.
    `expects` is the mark that the store must bear: it is looked at before anything else is asked, and a
    store that bears another is asked nothing.
    """

    def __init__(
        self,
        region: str,
        opening: Callable[[], BlobStore],
        *,
        quick: bool,
        expects: uuid.UUID | None = None,
    ) -> None:
        self.region = region
        self.quick = quick
        self._opening = opening
        self._opened: BlobStore | None = None
        self._expects = expects
        self._beginning = f"{region}/"

    @property
    def bare(self) -> BlobStore:
        """The store within, whatever lies in it and whichever it is. Raises as opening it does."""
        if self._opened is None:
            self._opened = self._opening()
        return self._opened

    def open_with(self, opening: Callable[[], BlobStore]) -> None:
        """Open it now, in another way than later. Raises as that does; then it is still closed."""
        self._opened = opening()

    # -- the port ------------------------------------------------------------------------------

    def begin(self, key: str) -> BlobSink:
        return self._of(key).begin(key)

    def put(self, key: str, data: Buffer, *, replace: bool = False) -> None:
        self._of(key).put(key, data, replace=replace)

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return self._of(key).read(key, offset, length)

    def read_into(self, key: str, offset: int, target: memoryview) -> None:
        self._of(key).read_into(key, offset, target)

    def length(self, key: str) -> int:
        return self._of(key).length(key)

    def confirm(self, key: str, length: int) -> None:
        self._of(key).confirm(key, length)

    def delete(self, key: str) -> None:
        self._of(key).delete(key)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Of the empty prefix: everything of the region."""
        within = checked_prefix(prefix) or self.region
        if region_of(within) != self.region:
            raise self._foreign(within)
        return self._proved().list(within)

    def probe(self) -> None:
        self._proved().probe()

    def sweep(self, older_than_seconds: float) -> int:
        return self.bare.sweep(older_than_seconds)

    def free(self) -> FreeSpace | None:
        return self.bare.free()

    def itself(self) -> BoundStore:
        return BoundStore(
            self.region, lambda: self.bare.itself(), quick=self.quick, expects=self._expects
        )

    def numbers(self) -> Mapping[str, int]:
        return self._opened.numbers() if self._opened is not None else {}

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    # -- inside --------------------------------------------------------------------------------

    def _of(self, key: str) -> BlobStore:
        """The store within, for a key of its region. Raises WrongRegion."""
        if not key.startswith(self._beginning):
            raise self._foreign(checked_key(key))
        return self._proved()

    def _foreign(self, key: str) -> WrongRegion:
        log.error("the store of region %s was asked for %s", self.region, key)
        return WrongRegion(
            f"The store of region {self.region} was asked for an object of another region.",
            remedy="Nothing was read or written. This is a fault of Lightwell's: please report it.",
        )

    def _proved(self) -> BlobStore:
        """The store within, once it has shown the mark that is expected of it."""
        expected = self._expects
        if expected is None:
            return self.bare
        try:
            found = self.bare.itself().read(STORE_ID)
        except BlobMissing:
            found = b""
        if found != expected.hex.encode():
            log.critical("the store of region %s is not the one that it was", self.region)
            raise StoreBroken(
                f"The store of region {self.region} is not the one that the database knows.",
                remedy="Nothing was read or written. Look at its settings and at what is mounted.",
            )
        self._expects = None
        return self.bare


class RegionalStore:
    """A `BlobStore` of several, each named by the first part of its keys. Thread-safe as they are."""

    def __init__(self, stores: Mapping[str, BlobStore]) -> None:
        self._stores = dict(stores)
        self.quick = all(store.quick for store in self._stores.values())

    def begin(self, key: str) -> BlobSink:
        return self._of(key).begin(key)

    def put(self, key: str, data: Buffer, *, replace: bool = False) -> None:
        self._of(key).put(key, data, replace=replace)

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return self._of(key).read(key, offset, length)

    def read_into(self, key: str, offset: int, target: memoryview) -> None:
        self._of(key).read_into(key, offset, target)

    def length(self, key: str) -> int:
        return self._of(key).length(key)

    def confirm(self, key: str, length: int) -> None:
        self._of(key).confirm(key, length)

    def delete(self, key: str) -> None:
        self._of(key).delete(key)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Of the empty prefix: region after region."""
        if within := checked_prefix(prefix):
            return self._of(within).list(within)
        return itertools.chain.from_iterable(store.list("") for store in self._stores.values())

    def probe(self) -> None:
        self._each(lambda store: store.probe())

    def sweep(self, older_than_seconds: float) -> int:
        return sum(self._each(lambda store: store.sweep(older_than_seconds)))

    def free(self) -> FreeSpace | None:
        """Of the fullest that can say."""
        said = [room for store in self._stores.values() if (room := store.free()) is not None]
        return min(said, key=lambda room: room.free, default=None)

    def itself(self) -> RegionalStore:
        return RegionalStore({name: store.itself() for name, store in self._stores.items()})

    def numbers(self) -> Mapping[str, int]:
        """Of all regions together."""
        sums: dict[str, int] = {}
        for store in self._stores.values():
            for name, number in store.numbers().items():
                sums[name] = sums.get(name, 0) + number
        return sums

    def close(self) -> None:
        self._each(lambda store: store.close())

    def _of(self, key: str) -> BlobStore:
        store = self._stores.get(region_of(key))
        if store is None:
            region = region_of(checked_key(key))
            log.error("there is no store of region %s", region)
            raise WrongRegion(
                f"There is no store of region {region} here.",
                remedy=f"There are those of {', '.join(sorted(self._stores))}.",
            )
        return store

    def _each(self, ask: Callable[[BlobStore], T]) -> Sequence[T]:
        """Ask all of them, also those behind one that fails; then raise what the first one said."""
        done: list[T] = []
        failures: list[LightwellError] = []
        for store in self._stores.values():
            try:
                done.append(ask(store))
            except LightwellError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return done
