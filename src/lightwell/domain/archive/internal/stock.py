"""The bytes of the archive: objects in a store, and the codec that gives coded frames back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from lightwell.domain.archive.internal.packing.index import Entry
from lightwell.domain.archive.internal.packing.rows import entry_of
from lightwell.domain.archive.model import KnownInstance, Located
from lightwell.domain.archive.ports import BlobStore, FrameCoder
from lightwell.kernel.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Stock:
    """What every reading function needs."""

    blobs: BlobStore
    frame_coder: FrameCoder | None = None

    @property
    def coder(self) -> FrameCoder:
        """Raises Unavailable in a process that was given none."""
        if self.frame_coder is None:
            raise Unavailable("This process has no codec for settled images.")
        return self.frame_coder

    def reader(self, key: str) -> Callable[[int, int], bytes]:
        """Ranges of one object."""
        return partial(self.blobs.read, key)


def entry_at(at: Located) -> Entry:
    """The pack entry of a coded instance. Raises Damaged."""
    landed = at.landed
    return entry_of(
        landed.coded or b"",
        offset=landed.offset,
        length=landed.length,
        meta=landed.data_offset,
        sha256=landed.sha256,
        sop_uid=at.sop_uid,
        sop_class=at.sop_class,
        received_syntax=at.syntax,
    )


def entry_known(kept: KnownInstance, sop_uid: str) -> Entry:
    """The same of what admission and storage commitment know. Raises Damaged."""
    return entry_of(
        kept.coded or b"",
        offset=kept.offset,
        length=kept.length,
        meta=kept.data_offset,
        sha256=kept.sha256,
        sop_uid=sop_uid,
        sop_class=kept.sop_class,
        received_syntax=kept.syntax,
    )
