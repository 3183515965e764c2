"""What a series says of itself: DICOM JSON of its instances by concatenation. Blocking.

A settled instance is told from the metadata blob of its pack, with the corrections of this moment laid
between the slices: nothing is scanned, and nothing is written when a patient is renamed. What is not
settled, or what its blob cannot tell, is read from its header; both give the same bytes.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence

import orjson

from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing.checks import crc32c
from lightwell.domain.archive.internal.packing.metadata import MetadataAnswers, read_head
from lightwell.domain.archive.internal.reading import effective_json
from lightwell.domain.archive.internal.stock import Stock
from lightwell.domain.archive.model import Derived, Located, SeriesPack
from lightwell.domain.archive.ports import BlobMissing
from lightwell.kernel.errors import Broken
from lightwell.kernel.remembering import Remembered

log = logging.getLogger("lightwell.archive")

REMEMBERED_BYTES = 128 << 20  # of unpacked blobs in a process: some 10,000 instances
UNPACKED = 3  # bytes in memory for each inflated one, about

BulkRoot = Callable[[Located], str]
"""The URL of an instance's bulk data, before `/7FE00010`."""


class Teller:
    """One a process. Thread-safe."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self._blobs: Remembered[MetadataAnswers] = Remembered(REMEMBERED_BYTES)

    def tell(
        self, located: Sequence[Located], packs: Sequence[SeriesPack], bulk_root: BulkRoot
    ) -> list[bytes]:
        """The effective DICOM JSON object of each instance, in order."""
        of_pack: Mapping[uuid.UUID, SeriesPack] = {pack.blob_id: pack for pack in packs}
        opened: dict[uuid.UUID, MetadataAnswers | None] = {}
        told = []
        for at in located:
            place = at.landed.blob_id
            if place not in opened:
                pack = of_pack.get(place)
                opened[place] = self._answers(pack.metadata) if pack is not None else None
            told.append(self._one(at, opened, bulk_root(at)))
        return told

    def _one(
        self, at: Located, opened: dict[uuid.UUID, MetadataAnswers | None], root: str
    ) -> bytes:
        answers = opened[at.landed.blob_id]
        if answers is not None:
            try:
                found = answers.answer(at.sop_uid, root, at.edits)
            except Damaged as error:
                log.warning("metadata are read from the pack instead: %s", error)
                opened[at.landed.blob_id] = found = None
            if found is not None:
                return found
        return orjson.dumps(effective_json(self._stock, at, root))

    def _answers(self, blob: Derived) -> MetadataAnswers | None:
        """The blob opened, read once; None when it cannot be: it is derived, the pack can do without."""
        try:
            return self._blobs.of((blob.key, blob.crc32c), lambda: self._open(blob)).again()
        except (Broken, BlobMissing) as error:
            log.warning("metadata are read from the pack instead: %s", error)
            return None

    def _open(self, blob: Derived) -> tuple[MetadataAnswers, int]:
        raw = self._stock.blobs.read(blob.key, 0, blob.length)
        if crc32c(raw) != blob.crc32c:
            raise Damaged("A metadata blob is damaged: its checksum differs.")
        head = read_head(raw)
        answers = MetadataAnswers(head, lambda at, length: raw[at : at + length])
        return answers, len(raw) + UNPACKED * sum(size for _at, _n, size, _crc in head.blocks)
