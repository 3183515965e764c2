"""Moving an object between two stores: copied, proved where it arrived, and only then gone. Blocking."""

from __future__ import annotations

import contextlib
import mmap
import tempfile
from collections.abc import Iterator
from typing import IO

from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing.checks import extended
from lightwell.domain.archive.model import Derived
from lightwell.domain.archive.ports import BlobExists, BlobMissing, BlobStore, StoreBroken

CHUNK = 8 << 20


def move(source: BlobStore, target: BlobStore, what: Derived, folder: str | None = None) -> None:
    """Have an object in `target` alone. Repeatable after any interruption.

    `folder` is where a copy waits on its way. Raises Damaged (the source does not hold what its row says:
    nothing was changed), BlobMissing (neither does), StoreUnavailable, StoreFull.
    """
    if not _whole(target, what):
        with tempfile.TemporaryFile(dir=folder) as copy:
            _fetch(source, what, copy)
            _bring(target, what, copy)
        if not _whole(target, what):
            raise Damaged("A store has not kept an object as it was given; nothing was moved.")
    source.delete(what.key)


def _pieces(store: BlobStore, what: Derived) -> Iterator[bytes]:
    for offset in range(0, what.length, CHUNK):
        yield store.read(what.key, offset, min(CHUNK, what.length - offset))


def _whole(store: BlobStore, what: Derived) -> bool:
    """Whether the store itself gives all its bytes back."""
    itself = store.itself()
    try:
        if itself.length(what.key) != what.length:
            return False
        found = 0
        for piece in _pieces(itself, what):
            found = extended(found, piece)
    except (BlobMissing, StoreBroken):
        return False
    return found == what.crc32c


def _fetch(source: BlobStore, what: Derived, copy: IO[bytes]) -> None:
    found = 0
    try:
        for piece in _pieces(source.itself(), what):
            found = extended(found, piece)
            copy.write(piece)
    except StoreBroken as error:
        raise Damaged("A pack is cut off; it was not moved.") from error
    if found != what.crc32c:
        raise Damaged("A pack is not what was written; it was not moved.")
    copy.flush()


def _bring(target: BlobStore, what: Derived, copy: IO[bytes]) -> None:
    """Whole at once: a reader that looks there meanwhile must not find a part of it."""
    if target.quick:
        with mmap.mmap(copy.fileno(), what.length, access=mmap.ACCESS_READ) as whole:
            with memoryview(whole) as view:
                target.put(what.key, view, replace=True)
        return
    with contextlib.suppress(BlobMissing):
        target.delete(what.key)  # what another try left, or somebody else's damage
    try:
        sink = target.begin(what.key)  # in a bucket it appears when it is sealed
    except BlobExists:
        return  # another worker was faster; what it brought is proved next
    try:
        copy.seek(0)
        while piece := copy.read(CHUNK):
            sink.write(piece)
        sink.seal()
    except BaseException:
        sink.discard()
        raise
