"""The preview of a series: what a viewer needs for its first images, in one answer. Blocking.

Layout: docs/conformance/dicomweb.md, "Preview of a series". Coarse tile-parts come from the stored preview
of each pack, which is derived: one that is lost or damaged is left out, and the viewer fetches frames.
What was rejected is not in the answer: its parts are cut out of the stored preview.
"""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson

from lightwell.domain.archive.internal.packing import preview as stored
from lightwell.domain.archive.internal.packing.reading import frame_records, frame_stream
from lightwell.domain.archive.internal.packing.recipe import Recipe
from lightwell.domain.archive.internal.packing.records import FrameRecord, reduction_for
from lightwell.domain.archive.internal.stock import Stock, entry_at
from lightwell.domain.archive.internal.telling import BulkRoot, Teller
from lightwell.domain.archive.model import Derived, Located, SeriesPack
from lightwell.domain.archive.ports import BlobMissing
from lightwell.kernel.errors import Broken

log = logging.getLogger("lightwell.archive")

MAGIC = b"LWPS\x01\0\0\0"
_CHUNK = struct.Struct("<4sI")
_LEAD = struct.Struct("<H")
_FRAME = struct.Struct("<I")
_DEFLATE = 3  # half of what level 1 leaves, at a fraction of the time of 6
_FRONT = (
    256 << 10
)  # bytes of a stored preview asked for first: all of it for most levels and series
_RECORDS_RUN = 16 << 20  # bytes of frame records of a pack read in one go


@dataclass(frozen=True, slots=True)
class PreviewWanted:
    """`level`: coarse frames come down to 1/2^level of their size; `lead`: least width and height of the
    lead image in pixels."""

    level: int = 4
    lead: int = 128


class Previewer:
    """Makes the answers. One a process; thread-safe."""

    def __init__(self, stock: Stock, teller: Teller) -> None:
        self._stock = stock
        self._teller = teller

    def pieces(
        self,
        located: Sequence[Located],
        packs: Sequence[SeriesPack],
        wanted: PreviewWanted,
        bulk_root: BulkRoot,
    ) -> Iterator[bytes]:
        """The answer for the visible instances of one series, in reading order, in pieces."""
        told = self._teller.tell(located, packs, bulk_root)
        yield MAGIC + _chunk(b"META", zlib.compress(b"[" + b",".join(told) + b"]", _DEFLATE))
        try:
            yield self._lead(located, wanted.lead)
        except Broken as error:  # who asks for the frame itself is told so
            log.error("the lead image of a preview is left out: %s", error)
        for pack in sorted(packs, key=lambda one: one.generation):
            if pack.preview is not None:
                mine = {at.sop_uid for at in located if at.landed.blob_id == pack.blob_id}
                yield from self._coarse(pack.preview, mine, wanted.level)
        yield _chunk(b"FRMS", zlib.compress(orjson.dumps(self._ends(located)), _DEFLATE))

    def _lead(self, located: Sequence[Located], least: int) -> bytes:
        """The middle frame of the series, or the nearest one that is coded; b"" when none is."""
        counts = [
            entry.records.count
            if at.landed.coded is not None and (entry := entry_at(at)).records is not None
            else 0
            for at in located
        ]
        shown = [n or max(at.frames or 1, 1) for at, n in zip(located, counts, strict=True)]
        coded = [at.landed.coded is not None for at in located]
        if not any(coded):
            return b""
        place, number = _middle(shown, coded)
        at = located[place]
        record = self._stock.record(at, number)
        form = Recipe.from_bytes(entry_at(at).recipe).form
        reduction = reduction_for(record.levels, (form.rows, form.columns), (least, least))
        read = self._stock.reader(at.landed.key)
        stream = frame_stream(read, record, record.parts(reduction))
        uid = at.sop_uid.encode("ascii")
        return _chunk(b"LEAD", _LEAD.pack(len(uid)) + uid + _FRAME.pack(number) + stream)

    def _coarse(self, blob: Derived, mine: set[str], level: int) -> Iterator[bytes]:
        """The stored preview of a pack, cut behind the section of `level`."""
        try:
            raw = self._front(blob, _FRONT)
            raw = self._front(blob, stored.head_length(raw), raw)
            head = stored.read_head(raw)
            end = max(head.until(level), stored.head_length(raw))
            raw = self._front(blob, end, raw)[:end]
            if not {uid for uid, _frames in head.instances} <= mine:
                raw = stored.without(raw, head, level, mine)
            else:
                stored.check(raw, head, level)
        except (Broken, BlobMissing) as error:
            log.warning("a preview is left out: %s", error)
            return
        if raw:
            yield _chunk(b"PREV", raw)

    def _front(self, blob: Derived, length: int, known: bytes = b"") -> bytes:
        """At least so many bytes from the beginning, or all; `known` are there already."""
        end = min(length, blob.length)
        if end <= len(known):
            return known
        return known + self._stock.blobs.read(blob.key, len(known), end - len(known))

    def _ends(self, located: Sequence[Located]) -> dict[str, list[list[int]]]:
        """Of each coded instance the ends of the tile-parts, and the length, of each frame."""
        packs: dict[str, list[Located]] = {}
        for at in located:
            if at.landed.coded is not None:
                packs.setdefault(at.landed.key, []).append(at)
        found: dict[str, list[list[int]]] = {}
        for key, mine in packs.items():
            for at, records in _records(self._stock, key, mine):
                if records:
                    found[at.sop_uid] = [[*record.ends, record.length] for record in records]
        return {at.sop_uid: found[at.sop_uid] for at in located if at.sop_uid in found}


def _chunk(name: bytes, content: bytes) -> bytes:
    return _CHUNK.pack(name, len(content)) + content


def _middle(frames: Sequence[int], coded: Sequence[bool]) -> tuple[int, int]:
    """(place, frame from 1) of the frame in the middle of all, or the nearest one that is coded."""
    wanted = sum(frames) // 2
    best: tuple[int, int, int] | None = None
    first = 0
    for place, count in enumerate(frames):
        if coded[place] and count:
            nearest = min(max(wanted, first), first + count - 1)
            distance = abs(nearest - wanted)
            if best is None or distance < best[0]:
                best = (distance, place, nearest - first + 1)
        first += count
    assert best is not None  # the caller has seen a coded one
    return best[1], best[2]


def _records(
    stock: Stock, key: str, mine: Sequence[Located]
) -> Iterator[tuple[Located, list[FrameRecord]]]:
    """The frame records of instances in one pack, which lie beside each other: read in few runs."""
    window, at = b"", 0

    def read(offset: int, length: int) -> bytes:
        if at <= offset and offset + length <= at + len(window):
            return window[offset - at : offset - at + length]
        return stock.blobs.read(key, offset, length)

    places = [(one, entry, entry.records) for one in mine if (entry := entry_at(one)).records]
    spans = [(r.offset, r.offset + r.count * r.size) for _one, _entry, r in places if r is not None]
    if spans:
        at, end = min(spans)[0], max(end for _start, end in spans)
        if end - at <= _RECORDS_RUN:
            window = stock.blobs.read(key, at, end - at)
    for one, entry, records in places:
        try:
            yield one, frame_records(read, entry, 1, records.count if records else 0)
        except Broken as error:
            log.error("an instance is left out of a preview: %s", error)
