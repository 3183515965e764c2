"""A series into a pack: one pass over its objects, frames to the codec in batches, bytes out as they come.

Memory holds the batches under way, the coded frames of the object being written (on disk beyond 32
MiB), and what the derived blobs keep. Nothing here makes anything durable, and nothing is proved:
`proving` does that from what the store gives back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from lightwell.dicom.encode import sequence_end
from lightwell.dicom.errors import DicomError
from lightwell.dicom.part10 import write_meta
from lightwell.dicom.uids import HTJ2KLosslessRPCL
from lightwell.domain.archive.coding import CodedFrame, FrameFlag, Reason
from lightwell.domain.archive.internal.packing import index as ix
from lightwell.domain.archive.internal.packing.checks import crc32c, extended
from lightwell.domain.archive.internal.packing.coded import CodedFrames, fragment_head
from lightwell.domain.archive.internal.packing.feeding import BATCH, Feeder
from lightwell.domain.archive.internal.packing.heads import EntryHead, entry_head, entry_tail
from lightwell.domain.archive.internal.packing.index import Entry, Kept, Records
from lightwell.domain.archive.internal.packing.manifest import manifest_bytes
from lightwell.domain.archive.internal.packing.metadata_building import MetadataBuilder
from lightwell.domain.archive.internal.packing.planning import plan, refuse_tail
from lightwell.domain.archive.internal.packing.preview import PreviewBuilder
from lightwell.domain.archive.internal.packing.recipe import SIDE_HEAD, Recipe
from lightwell.domain.archive.internal.packing.records import FRAMES_HEAD, FrameRecord, record_size
from lightwell.domain.archive.internal.packing.sources import Arrived, Opened, Source
from lightwell.domain.archive.internal.packing.tar import END, member_head, padding
from lightwell.domain.archive.ports import Buffer, FrameCoder

_WAITING = 1024  # objects opened ahead of the one being written
_WAITING_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """Whose pack it is. `packed` is the moment of packing."""

    study_uid: str
    series_uid: str
    generation: int
    packed: datetime


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written: the rows of the entries, and the derived blobs."""

    entries: tuple[Entry, ...]
    length: int  # bytes of the pack
    crc32c: int  # of the pack
    raw: int  # bytes of the data sets as received
    manifest: bytes = field(repr=False)
    metadata: bytes = field(repr=False)
    preview: bytes = field(repr=False)  # b"" when nothing is coded


def pack_series(
    sources: Iterable[Source],
    coder: FrameCoder,
    write: Callable[[Buffer], None],
    facts: SeriesFacts,
    *,
    refuse: Mapping[str, Reason] | None = None,
    folder: str | None = None,
    heard: Callable[[], None] | None = None,
) -> Packed:
    """Write the pack of a series, its objects in reading order.

    `refuse` says which objects (SOP Instance UID) go in as received whatever they are: after a failed
    proof, or by policy. `folder` takes what does not fit into memory, unlinked. `heard` is called
    after each entry. Raises what `write`, a source or the coder raises; the pack is then to be discarded.
    """
    writer = _Writer(coder, write, facts, refuse or {}, folder, heard or _nothing)
    try:
        for source in sources:
            writer.add(source)
        return writer.finish()
    finally:
        writer.close()


def _nothing() -> None:
    """Nobody wants to hear how far it is."""


class _Waiting:
    """An object whose frames are being coded. `coded` is None when it goes in as received."""

    def __init__(self, opened: Opened, reason: Reason | None, coded: CodedFrames | None) -> None:
        self.opened = opened
        self.reason = reason
        self.coded = coded
        self.tail = b""
        self.new_tail = b""

    @property
    def ready(self) -> bool:
        coded = self.coded
        return coded is None or coded.complete or coded.reason is not None


class _Writer:
    def __init__(
        self,
        coder: FrameCoder,
        write: Callable[[Buffer], None],
        facts: SeriesFacts,
        refuse: Mapping[str, Reason],
        folder: str | None,
        heard: Callable[[], None],
    ) -> None:
        self._heard = heard
        self._feeder: Feeder[Buffer, CodedFrame] = Feeder(coder.encode, coder.depth)
        self._write = write
        self._facts = facts
        self._refuse = refuse
        self._folder = folder
        self._moment = max(int(facts.packed.timestamp()), 0)
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._at = 0
        self._sum = 0
        self._entries: list[Entry] = []
        self._arrivals: list[Mapping[str, object]] = []
        self._records = bytearray(FRAMES_HEAD)
        self._metadata = MetadataBuilder()
        self._preview = PreviewBuilder()
        self._raw = 0

    # taking objects

    def add(self, source: Source) -> None:
        opened = Opened(source)
        self._arrivals.append(source.arrival)
        self._raw += source.size if source.arrived is None else source.arrived.size
        waiting = self._planned(opened)
        self._waiting.append(waiting)
        self._waiting_bytes += min(source.size, BATCH)
        if waiting.coded is not None:
            self._feed(opened, waiting.coded)
        while self._waiting and self._waiting[0].ready:
            self._emit()
        while len(self._waiting) > _WAITING or self._waiting_bytes > _WAITING_BYTES:
            self._emit()

    def _planned(self, opened: Opened) -> _Waiting:
        uid = opened.source.sop_uid
        if uid in self._refuse:
            return _Waiting(opened, self._refuse[uid], None)
        if opened.source.refused is not None:
            return _Waiting(opened, opened.source.refused, None)
        if opened.header is None:
            return _Waiting(opened, Reason.UNREADABLE, None)
        form = plan(opened.header, opened.source.size)
        if isinstance(form, Reason):
            return _Waiting(opened, form, None)
        try:
            tail, scanned = opened.tail()
            reason = refuse_tail(scanned, tail)
            new_tail = b"" if reason else entry_tail(scanned, tail)
        except DicomError:
            reason, tail, new_tail = Reason.DISORDER, b"", b""
        if reason is not None or (tail and scanned is None):
            return _Waiting(opened, reason or Reason.DISORDER, None)
        waiting = _Waiting(opened, None, CodedFrames(form, self._folder))
        waiting.tail, waiting.new_tail = tail, new_tail
        return waiting

    def _feed(self, opened: Opened, coded: CodedFrames) -> None:
        form = coded.form
        size = form.frame_bytes
        offset = (opened.header.pixel_offset if opened.header else None) or 0
        at_once = max(BATCH // size, 1)
        for first in range(0, form.frames, at_once):
            count = min(at_once, form.frames - first)
            view = memoryview(opened.range(offset + first * size, count * size))
            for number in range(count):
                frame = view[number * size : (number + 1) * size]
                self._feeder.add(form, frame, coded.take)
            if coded.reason is not None:  # the frames left are not worth coding
                break

    # writing entries

    def _emit(self) -> None:
        waiting = self._waiting.popleft()
        self._waiting_bytes -= min(waiting.opened.source.size, BATCH)
        coded = waiting.coded
        if coded is None:
            self._as_received(waiting.opened, waiting.reason or Reason.UNREADABLE)
            self._heard()
            return
        try:
            self._feeder.until(lambda: waiting.ready)
            reason = coded.reason or self._coded(waiting, coded)
        finally:
            coded.close()
        if reason is not None:
            self._as_received(waiting.opened, reason)
        self._heard()

    def _put(self, chunk: Buffer) -> None:
        if len(chunk):
            self._write(chunk)
            self._at += len(chunk)
            self._sum = extended(self._sum, chunk)

    def _begin(self, name: str, size: int) -> int:
        self._put(member_head(name, size, self._moment))
        return self._at

    def _as_received(self, opened: Opened, reason: Reason) -> None:
        if opened.source.original is not None:
            opened = Opened(opened.source.original)
        source = opened.source
        self._metadata.add(source.sop_uid, opened.header)
        meta = write_meta(source.sop_class, source.sop_uid, source.syntax)
        length = len(meta) + source.size
        at = self._begin(self._name(), length)
        self._put(meta)
        for chunk in opened.chunks():
            self._put(chunk)
        self._put(padding(length))
        self._entries.append(_entry(source, at, length, len(meta), source.syntax, reason=reason))

    def _name(self) -> str:
        return f"{len(self._entries) + 1:06d}.dcm"

    def _coded(self, waiting: _Waiting, coded: CodedFrames) -> Reason | None:
        """Write a coded entry; a reason when it has to go in as received after all."""
        opened, form = waiting.opened, coded.form
        source, header = opened.source, opened.header
        if header is None or header.pixel_offset is None or header.pixel_length is None:
            return Reason.UNREADABLE
        original = bytes(opened.range(0, header.pixel_offset))
        head = entry_head(header, original, form, coded.planes, coded.lengths)
        if isinstance(head, Reason):
            return head
        side = len(head.deflated) + sum(coded.sides)
        if sum(coded.lengths) + side >= form.frames * form.frame_bytes:
            return Reason.NO_GAIN
        pixels = form.frames * form.frame_bytes
        pad = bytes(opened.range(header.pixel_offset + pixels, header.pixel_length - pixels))
        recipe = Recipe(
            form=replace(form, overlays=()),
            head=len(head.head),
            original_head=len(original),
            pad=pad,
            tail=waiting.tail,
            splices=head.splices,
            deflated=len(head.deflated),
            sided=coded.sided,
        )
        meta = write_meta(source.sop_class, source.sop_uid, HTJ2KLosslessRPCL)
        self._metadata.add(source.sop_uid, header)
        self._preview.instance(source.sop_uid, form.frames)
        self._write_coded(source, coded, head, waiting.new_tail, meta, recipe)
        return None

    def _write_coded(
        self,
        source: Source,
        coded: CodedFrames,
        head: EntryHead,
        tail: bytes,
        meta: bytes,
        recipe: Recipe,
    ) -> None:
        front = meta + head.head + head.table
        fragments = sum(8 + length + length % 2 for length in coded.lengths)
        length = len(front) + fragments + len(sequence_end()) + len(tail)
        name = self._name()
        at = self._begin(name, length)
        side = SIDE_HEAD + head.deflated if head.deflated or coded.sided else b""
        side_size = len(side) + sum(coded.sides)
        side_name = f"side/{name.removesuffix('.dcm')}.bin"
        side_at = at + length + len(padding(length)) + len(member_head(side_name, side_size))
        records = Records(
            len(self._records), coded.form.frames, record_size(coded.parts, sided=coded.sided)
        )
        self._put(front)
        strays = self._fragments(coded, side_at + len(side))
        self._put(sequence_end())
        self._put(tail)
        self._put(padding(length))
        if side:
            self._begin(side_name, side_size)
            self._put(side)
            for _stream, stray in coded.streams() if strays else ():
                self._put(stray)
            self._put(padding(side_size))
        entry = _entry(source, at, length, len(meta), HTJ2KLosslessRPCL.uid, reason=None)
        self._entries.append(
            replace(
                entry,
                recipe=recipe.to_bytes(),
                head_sum=crc32c(front),
                records=records,
                side=(side_at, side_size) if side else None,
            )
        )

    def _fragments(self, coded: CodedFrames, side_at: int) -> bool:
        """Write the codestreams and their records; whether any frame has strays."""
        sided = coded.sided
        for number, (stream, stray) in enumerate(coded.streams()):
            ends, sums = coded.tile_parts(number)
            self._preview.frame(stream, ends)
            self._put(fragment_head(len(stream)))
            flags = FrameFlag.ZERO if coded.zero(number) else FrameFlag(0)
            where = None
            if sided:
                flags |= FrameFlag.SIDED if stray else FrameFlag(0)
                where = (side_at, len(stray), crc32c(stray))
                side_at += len(stray)
            record = FrameRecord(self._at, len(stream), ends, sums, flags, where)
            self._records += record.to_bytes()
            self._put(stream + b"\0" * (len(stream) % 2))
        return sided

    # the end

    def finish(self) -> Packed:
        while self._waiting:
            self._emit()
        frames = self._member(ix.FRAMES_NAME, bytes(self._records))
        self._entries = [
            replace(e, records=replace(e.records, offset=e.records.offset + frames[0]))
            if e.records is not None
            else e
            for e in self._entries
        ]
        facts = self._facts
        manifest = manifest_bytes(
            facts.study_uid,
            facts.series_uid,
            facts.generation,
            facts.packed,
            self._entries,
            self._arrivals,
        )
        self._member(ix.MANIFEST_NAME, manifest)
        index, size = ix.index_bytes(self._entries, frames)
        place = self._member(ix.INDEX_NAME, index)
        self._member(ix.LOCATOR_NAME, ix.locator_bytes(place, size, crc32c(index)))
        self._put(END)
        return Packed(
            entries=tuple(self._entries),
            length=self._at,
            crc32c=self._sum,
            raw=self._raw,
            manifest=manifest,
            metadata=self._metadata.to_bytes(),
            preview=self._preview.to_bytes(),
        )

    def _member(self, name: str, content: bytes) -> tuple[int, int]:
        at = self._begin(name, len(content))
        self._put(content)
        self._put(padding(len(content)))
        return at, len(content)

    def close(self) -> None:
        self._feeder.abandon()
        for waiting in self._waiting:
            if waiting.coded is not None:
                waiting.coded.close()


def _entry(
    source: Source, at: int, length: int, meta: int, syntax: str, *, reason: Reason | None
) -> Entry:
    arrived = source.arrived or Arrived(source.syntax, source.size, source.sha256)
    return Entry(
        sop_uid=source.sop_uid,
        sop_class=source.sop_class,
        offset=at,
        length=length,
        meta=meta,
        syntax=syntax,
        received_syntax=arrived.syntax,
        size=arrived.size,
        sha256=arrived.sha256,
        reason=reason,
        kept=None if source.arrived is None else Kept(source.size, source.sha256),
    )
