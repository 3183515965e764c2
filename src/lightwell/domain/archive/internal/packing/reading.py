"""Reading a pack: frames with their sums checked, data sets as received, and packs without an index.

What a row keeps (`Entry`) is enough for every function here; `read(offset, length)` gives bytes of the
pack. Nothing is decoded before its checksum was compared, and a data set whose digest differs is not
given to its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lightwell.dicom.errors import DicomError
from lightwell.dicom.frames import FrameIndex, FrameLocator
from lightwell.dicom.header import Header
from lightwell.dicom.part10 import read_meta, write_meta
from lightwell.dicom.scanner import scan
from lightwell.dicom.uids import TransferSyntax
from lightwell.domain.archive.coding import Buffer, CodedFrame, NotCoded
from lightwell.domain.archive.errors import Damaged, NoSuchFrame
from lightwell.domain.archive.internal.packing.checks import crc32c, extended
from lightwell.domain.archive.internal.packing.feeding import Feeder
from lightwell.domain.archive.internal.packing.index import Entry
from lightwell.domain.archive.internal.packing.recipe import SIDE_HEAD, Recipe
from lightwell.domain.archive.internal.packing.records import FrameRecord
from lightwell.domain.archive.internal.packing.tar import Member, ReadRange, members
from lightwell.domain.archive.ports import FrameCoder

CHUNK = 1 << 20
KNOWN_FRAMES = 64  # of an object that is looked for among what was decoded before
RUN = 8 << 20  # bytes of neighbouring frames read in one go


Known = Callable[[int], Buffer | None]


class Window:
    """A reader that takes large steps: for reading a pack from its beginning to its end in few requests.

    What it fetches going forward is one run from byte 0; `finish` gives the CRC32C of it all. A request
    that goes back behind the window is answered by a read of its own.
    """

    def __init__(self, read: ReadRange, length: int, step: int = RUN) -> None:
        self._read = read
        self._length = length
        self._step = step
        self._at = 0  # of the first byte kept
        self._bytes = b""
        self._sum = 0

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes. Raises Damaged when they lie beyond the end."""
        end = offset + length
        if offset < 0 or length < 0 or end > self._length:
            raise Damaged("A pack is shorter than what points into it.")
        if offset < self._at:
            return self._read(offset, length)
        while end > self._at + len(self._bytes):
            self._advance(offset, end)
        start = offset - self._at
        return self._bytes[start : start + length]

    def _advance(self, offset: int, end: int) -> None:
        """Fetch the next run; keep of the one before what lies behind `offset`."""
        fetched = self._at + len(self._bytes)
        step = self._step if offset > fetched else max(self._step, end - fetched)
        piece = self._read(fetched, min(step, self._length - fetched))
        if not piece:
            raise Damaged("A pack is shorter than its store says.")
        self._sum = extended(self._sum, piece)
        kept = self._bytes[max(offset - self._at, 0) :]
        self._at = fetched - len(kept)
        self._bytes = kept + piece if kept else piece

    def finish(self) -> int:
        """CRC32C of the whole pack; fetches what was not asked for."""
        while self._at + len(self._bytes) < self._length:
            self._advance(self._length, self._length)
        return self._sum


def frame_records(read: ReadRange, entry: Entry, first: int, count: int) -> list[FrameRecord]:
    """Records of frames `first` (from 1) and the following. Raises NoSuchFrame, Damaged."""
    at = entry.records
    if at is None or first < 1 or count < 1 or first - 1 + count > at.count:
        raise NoSuchFrame(f"There is no frame {first} in this object.")
    raw = read(at.offset + (first - 1) * at.size, count * at.size)
    if len(raw) != count * at.size:
        raise Damaged("The frame records of a pack are cut off.")
    sided = Recipe.from_bytes(entry.recipe).sided
    found = []
    for start in range(0, len(raw), at.size):
        record = FrameRecord.from_bytes(raw[start : start + at.size], sided=sided)
        if not entry.offset < record.offset <= entry.offset + entry.length - record.length:
            raise Damaged("A frame record points outside of its entry.")
        found.append(record)
    return found


def frame_stream(read: ReadRange, record: FrameRecord, parts: int | None = None) -> bytes:
    """The codestream of a frame, or its first `parts` tile-parts, checked. Raises Damaged."""
    length = record.length if parts is None else record.ends[min(parts, len(record.ends)) - 1]
    stream = read(record.offset, length)
    if len(stream) != length:
        raise Damaged("A stored frame is cut off.")
    record.check(stream)
    return stream


def frame_strays(read: ReadRange, record: FrameRecord) -> bytes:
    """The stray plane of a frame, b"" when it has none. Raises Damaged."""
    if record.side is None or not record.side[1]:
        return b""
    offset, length, wanted = record.side
    side = read(offset, length)
    if crc32c(side) != wanted:
        raise Damaged("The stray bits of a stored frame are damaged: a checksum differs.")
    return side


def coded_frame(read: ReadRange, record: FrameRecord) -> CodedFrame:
    """All there is of a frame, checked. Raises Damaged."""
    return CodedFrame(frame_stream(read, record), record.zero, frame_strays(read, record))


def native_frame(read: ReadRange, entry: Entry, number: int, coder: FrameCoder) -> memoryview:
    """Frame `number` (from 1) of a coded entry as it was received.

    Raises NoSuchFrame, Damaged, and what the coder raises.
    """
    record = frame_records(read, entry, number, 1)[0]
    form = Recipe.from_bytes(entry.recipe).form
    made = coder.decode([(form, coded_frame(read, record))]).result()[0]
    if isinstance(made, NotCoded):
        raise Damaged(f"A stored frame cannot be decoded: {made.why}")
    return made


@dataclass(frozen=True, slots=True)
class Picture:
    """Coarse samples of a frame: little endian words of Bits Allocated, pixel by pixel, values at the
    bottom. `reduction` is what was given: the size is 1/2^reduction, rounded up."""

    rows: int
    columns: int
    reduction: int
    samples: bytes


def coarse_frame(
    read: ReadRange, entry: Entry, number: int, reduction: int, coder: FrameCoder
) -> Picture:
    """Frame `number` (from 1) at 1/2^reduction of its size, or the coarsest there is when that is finer;
    only the tile-parts needed are read and checked. For display: values, without strays.

    Raises NoSuchFrame, Damaged, Invalid.
    """
    record = frame_records(read, entry, number, 1)[0]
    form = Recipe.from_bytes(entry.recipe).form
    given = min(max(reduction, 0), record.levels)
    prefix = frame_stream(read, record, record.levels - given + 1)
    samples = coder.coarse(prefix, record.levels, given).result()
    rows, columns = (-(-side // (1 << given)) for side in (form.rows, form.columns))
    if len(samples) != rows * columns * form.samples * form.bits_allocated // 8:
        raise Damaged("A stored frame gives a picture of another size than its recipe says.")
    return Picture(rows, columns, given, samples)


def coded_frames(read: ReadRange, entry: Entry) -> Iterator[CodedFrame]:
    """The frames of an entry in order, with all that decoding them needs. Raises Damaged."""
    for record, stream in frame_streams(read, entry):
        yield CodedFrame(stream, record.zero, frame_strays(read, record))


def frame_streams(read: ReadRange, entry: Entry) -> Iterator[tuple[FrameRecord, bytes]]:
    """The codestreams of an entry in order, checked, neighbours read together. Raises Damaged."""
    total = entry.records.count if entry.records is not None else 0
    first = 1
    while first <= total:
        records = frame_records(read, entry, first, min(total - first + 1, 1024))
        for run in _runs(records):
            start = run[0].offset
            block = read(start, run[-1].offset + run[-1].length - start)
            for record in run:
                stream = block[record.offset - start : record.offset - start + record.length]
                record.check(stream)
                if len(stream) != record.length:
                    raise Damaged("A stored frame is cut off.")
                yield record, stream
        first += len(records)


def _runs(records: Sequence[FrameRecord]) -> Iterator[list[FrameRecord]]:
    """Neighbouring frames, together at most RUN bytes or one frame."""
    run: list[FrameRecord] = []
    for record in records:
        if run and not run[0].offset < record.offset <= run[0].offset + RUN - record.length:
            yield run
            run = []
        run.append(record)
    if run:
        yield run


def entry_front(read: ReadRange, entry: Entry) -> bytes:
    """A coded entry up to its first fragment, checked: file meta, header, offset table. Raises Damaged."""
    first = frame_records(read, entry, 1, 1)[0]
    front = read(entry.offset, first.offset - 8 - entry.offset)
    if crc32c(front) != entry.head_sum:
        raise Damaged("The header of a packed object is damaged: its checksum differs.")
    return front


def original_head(read: ReadRange, entry: Entry, recipe: Recipe) -> bytes:
    """The data set as received up to its pixel value. Raises Damaged."""
    front = entry_front(read, entry)
    deflated = b""
    if recipe.deflated:
        if entry.side is None or len(SIDE_HEAD) + recipe.deflated > entry.side[1]:
            raise Damaged("The side member of a packed object is missing.")
        side = read(entry.side[0], len(SIDE_HEAD) + recipe.deflated)
        if side[: len(SIDE_HEAD)] != SIDE_HEAD:
            raise Damaged("A side member has a version that is not known here.")
        deflated = side[len(SIDE_HEAD) :]
    return recipe.rebuild_head(front[entry.meta : entry.meta + recipe.head], deflated)


@dataclass(slots=True)
class _Pieces:
    """Pieces on their way out; the last one waits until the digest is known."""

    ready: list[Buffer]

    def take(self, made: memoryview | NotCoded) -> None:
        if isinstance(made, NotCoded):
            raise Damaged(f"A stored frame cannot be decoded: {made.why}")
        self.ready.append(made)

    def drain(self) -> list[Buffer]:
        drained, self.ready = self.ready, []
        return drained


def data_set(
    read: ReadRange, entry: Entry, coder: FrameCoder, known: Known | None = None
) -> Iterator[Buffer]:
    """The data set as received (or what is kept of it), bit for bit, in pieces. `known` gives frames (from 1)
    that were decoded before.

    Raises Damaged before the last piece when its digest is not that of its arrival.
    """
    digest = hashlib.sha256()
    held: Buffer | None = None
    size = 0
    for piece in _pieces(read, entry, coder, known):
        digest.update(piece)
        size += len(piece)
        if held is not None:
            yield held
        held = piece
    if (size, digest.digest()) != (entry.given.size, entry.given.sha256):
        raise Damaged("An object does not have the digest of its arrival; it was not served.")
    if held is not None:
        yield held


def _pieces(
    read: ReadRange, entry: Entry, coder: FrameCoder, known: Known | None
) -> Iterator[Buffer]:
    if not entry.coded:
        at, end = entry.offset + entry.meta, entry.offset + entry.length
        while at < end:
            piece = read(at, min(CHUNK, end - at))
            if not piece:
                raise Damaged("A pack is shorter than its rows say.")
            at += len(piece)
            yield piece
        return
    recipe = Recipe.from_bytes(entry.recipe)
    yield original_head(read, entry, recipe)
    if known is not None and recipe.form.frames <= KNOWN_FRAMES:
        frames = [known(number) for number in range(1, recipe.form.frames + 1)]
        ready = [frame for frame in frames if frame is not None]
        if len(ready) == len(frames):
            yield from ready
            if recipe.pad or recipe.tail:
                yield recipe.pad + recipe.tail
            return
    pieces = _Pieces([])
    feeder: Feeder[CodedFrame, memoryview] = Feeder(coder.decode, coder.depth)
    try:
        for coded in coded_frames(read, entry):
            feeder.add(recipe.form, coded, pieces.take)
            yield from pieces.drain()
        feeder.finish()
        yield from pieces.drain()
    finally:
        feeder.abandon()
    if recipe.pad or recipe.tail:
        yield recipe.pad + recipe.tail


def unpack(read: ReadRange, entry: Entry, coder: FrameCoder) -> Iterator[Buffer]:
    """The object as a Part 10 file in the transfer syntax it came in (or is kept in), the data set bit for
    bit; zero preamble, clean file meta. Raises as `data_set`."""
    yield write_meta(entry.sop_class, entry.sop_uid, entry.given_syntax)
    yield from data_set(read, entry, coder)


# --- without an index ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loose:
    """An entry found by its TAR header alone. `frames` count from the first byte of the data set, which
    begins at `data_offset` of the pack; None when it has no pixel data."""

    member: Member
    syntax: str
    data_offset: int
    header: Header
    frames: FrameIndex | None


def loose_entries(read: ReadRange, length: int) -> Iterator[Member]:
    """The Part 10 files of a pack by its TAR headers, in order. Raises Damaged."""
    for member in members(read, length):
        if member.name.endswith(".dcm") and "/" not in member.name:
            yield member


def open_loose(read: ReadRange, member: Member) -> Loose:
    """Header and frames of one entry from its own bytes and offset table. Raises Damaged."""

    def within(offset: int, wanted: int) -> bytes:
        return read(member.offset + offset, min(wanted, member.size - offset))

    try:
        meta, start = read_meta(within(0, 64 * 1024))
        header = _scan_loose(within, start, member.size, meta.syntax)
        if header.pixel_offset is None:
            return Loose(member, meta.syntax.uid, member.offset + start, header, None)
        locator = FrameLocator(header, meta.syntax)
        at = start + header.pixel_offset
        while at < member.size and not locator.done:
            piece = within(at, CHUNK)
            locator.feed(piece)
            at += len(piece)
        frames = locator.finish()
    except DicomError as error:
        raise Damaged("An entry of a pack cannot be read.") from error
    return Loose(member, meta.syntax.uid, member.offset + start, header, frames)


def _scan_loose(
    within: Callable[[int, int], bytes], start: int, size: int, syntax: TransferSyntax
) -> Header:
    wanted = 64 * 1024
    while True:
        head = within(start, wanted)
        found = scan(head, syntax, complete=start + len(head) >= size)
        if isinstance(found, Header):
            return found
        wanted = max(found.minimum, 2 * wanted)
