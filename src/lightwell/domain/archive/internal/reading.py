"""Reading what a lease opens: ranges of blobs, cut and presented. Blocking; called from threads.

Every read goes through `span`, `raw_chunks` or `frame`: there it is decided whether an object lies in the
store as received, in the database row that was read with its location (small ones, at first), or coded in
a pack. What comes out is always what arrived.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from functools import partial

from lightwell.dicom import tags
from lightwell.dicom.encode import sequence_end
from lightwell.dicom.errors import DicomError
from lightwell.dicom.frames import FrameIndex
from lightwell.dicom.header import Header
from lightwell.dicom.inflate import inflate_bounded
from lightwell.dicom.json_model import header_to_json
from lightwell.dicom.part10 import write_meta
from lightwell.dicom.rewrite import explicit_le_chunks
from lightwell.dicom.scanner import NeedMore, scan, scan_tail
from lightwell.dicom.uids import HTJ2KLosslessRPCL, syntax_of
from lightwell.domain.archive.coding import CodedFrame, NotCoded, PixelForm
from lightwell.domain.archive.errors import Damaged, NoSuchFrame, Unreadable
from lightwell.domain.archive.internal.packing import reading as packed
from lightwell.domain.archive.internal.packing.coded import fragment_head
from lightwell.domain.archive.internal.packing.heads import entry_tail
from lightwell.domain.archive.internal.packing.recipe import Recipe
from lightwell.domain.archive.internal.packing.records import reduced, reduction_for
from lightwell.domain.archive.internal.presenting import present, present_bytes
from lightwell.domain.archive.internal.stock import Stock, entry_at
from lightwell.domain.archive.model import Attributes, CoarseFrame, FrameRun, Located
from lightwell.kernel.errors import LightwellError

CHUNK = 1024 * 1024
_LONG_HEAD = 12  # bytes of tag, VR, reserved and length in Explicit VR
EXPLICIT_LE = "1.2.840.10008.1.2.1"


def span(stock: Stock, at: Located, offset: int, length: int) -> bytes:
    """Bytes of the data set as received: `offset` counts from its first byte."""
    landed = at.landed
    if landed.coded is not None:
        return _coded_span(stock, at, offset, length)
    start = landed.offset + landed.data_offset + offset
    if landed.inline is not None:
        return landed.inline[start : start + length]
    return stock.blobs.read(landed.key, start, length)


def _coded_span(stock: Stock, at: Located, offset: int, length: int) -> bytes:
    """The same of an object whose frames are coded: its header by the recipe, else by rebuilding it."""
    entry = entry_at(at)
    head = packed.original_head(stock.reader(at.landed.key), entry, Recipe.from_bytes(entry.recipe))
    if offset + length <= len(head):
        return head[offset : offset + length]
    found = bytearray()
    position = 0
    for piece in packed.data_set(stock.reader(at.landed.key), entry, stock.coder):
        begin = max(offset - position, 0)
        found += piece[begin : offset + length - position]
        position += len(piece)
        if position >= offset + length:
            break
    return bytes(found)


def data_set_length(at: Located) -> int:
    """Length in bytes of the data set as received."""
    if at.landed.coded is not None:
        return entry_at(at).size
    return at.landed.length - at.landed.data_offset


def raw_chunks(stock: Stock, at: Located, start: int = 0) -> Iterator[bytes]:
    """The data set as received, from `start`, in pieces; not yet verified where it lies as received."""
    if at.landed.coded is not None:
        for piece in packed.data_set(
            stock.reader(at.landed.key), entry_at(at), stock.coder, partial(stock.decoded, at)
        ):
            if start < len(piece):
                yield bytes(piece[start:])
            start = max(start - len(piece), 0)
        return
    end = data_set_length(at)
    while start < end:
        piece = span(stock, at, start, min(CHUNK, end - start))
        if not piece:
            raise Damaged("An object is shorter than its row says; it was not served.")
        start += len(piece)
        yield piece


def verified_chunks(stock: Stock, at: Located) -> Iterator[bytes]:
    """The whole data set as received; raises Damaged before the last piece when the digest differs."""
    if at.landed.coded is not None:
        yield from raw_chunks(stock, at)  # compares the digest itself
        return
    digest = hashlib.sha256()
    held: bytes | None = None
    for piece in raw_chunks(stock, at):
        digest.update(piece)
        if held is not None:
            yield held
        held = piece
    if digest.digest() != at.landed.digest:
        raise Damaged("An object does not have the digest of its arrival; it was not served.")
    if held is not None:
        yield held


def header_of(stock: Stock, at: Located) -> Header:
    """The header as stored, scanned."""
    syntax = syntax_of(at.syntax)
    if syntax.deflated:
        data = b"".join(inflate_bounded(raw_chunks(stock, at)))
        found = scan(data, syntax, complete=True)
    else:
        wanted = at.pixel_offset if at.pixel_offset is not None else data_set_length(at)
        found = scan(span(stock, at, 0, wanted), syntax, complete=wanted >= data_set_length(at))
    if isinstance(found, NeedMore):
        raise Unreadable("The stored header cannot be read to its end.")
    return found


def effective_json(stock: Stock, at: Located, bulk_root: str) -> Attributes:
    """Effective DICOM JSON of one instance; bulk values as URIs below `bulk_root`."""
    original = header_to_json(header_of(stock, at), bulk=lambda path: f"{bulk_root}/{path}")
    return present(original, at.edits)


def presented_chunks(stock: Stock, at: Located) -> Iterator[bytes]:
    """The effective data set in its stored transfer syntax."""
    if not at.edits:
        yield from verified_chunks(stock, at)
        return
    syntax = syntax_of(at.syntax)
    if syntax.deflated:
        # An edited deflated object leaves inflated: the caller announces Explicit VR LE for it.
        raise Unreadable("An edited deflated data set is sent as Explicit VR Little Endian.")
    end = header_of(stock, at).end
    head = bytearray()
    pieces = verified_chunks(
        stock, at
    )  # an edit is no licence for damage: the digest still decides
    for piece in pieces:
        head += piece
        if len(head) >= end:
            break
    yield present_bytes(bytes(head[:end]), syntax, at.edits)
    if len(head) > end:
        yield bytes(head[end:])
    yield from pieces


def as_explicit_le(stock: Stock, at: Located) -> Iterator[bytes]:
    """The effective data set of an uncompressed object as Explicit VR Little Endian, same values."""
    syntax = syntax_of(at.syntax)
    if syntax.uid == EXPLICIT_LE:
        yield from presented_chunks(stock, at)
        return
    pieces = explicit_le_chunks(verified_chunks(stock, at), syntax)
    if not at.edits:
        yield from pieces
        return
    yield from _edited_stream(pieces, at)


def _edited_stream(pieces: Iterator[bytes], at: Located) -> Iterator[bytes]:
    """Edits laid over an Explicit LE stream: the header is gathered, edited, the rest passed on."""
    explicit = syntax_of(EXPLICIT_LE)
    head = bytearray()
    for piece in pieces:
        head += piece
        found = scan(head, explicit, complete=False)
        if isinstance(found, NeedMore):
            continue
        yield present_bytes(bytes(head[: found.end]), explicit, at.edits)
        yield bytes(head[found.end :])
        yield from pieces
        return
    yield present_bytes(bytes(head), explicit, at.edits)


def file_meta(at: Located, syntax_uid: str) -> bytes:
    """What stands before the data set at every exit: zero preamble, no arrival facts."""
    return write_meta(at.sop_class, at.sop_uid, syntax_uid)


def frame_index(at: Located) -> FrameIndex:
    """Where the frames lie. Raises NoSuchFrame when the object has none we can tell apart."""
    if at.pixel_offset is None:
        raise NoSuchFrame(
            "This object has no pixel data.", remedy="There is no picture in it to be shown."
        )
    if at.frame_index is None:
        raise NoSuchFrame(
            "This object has no frames that can be told apart.",
            remedy="It is kept as it came; other programs may be able to read it.",
        )
    try:
        return FrameIndex.from_bytes(at.frame_index)
    except DicomError as error:
        raise NoSuchFrame(str(error)) from error


def frame(stock: Stock, at: Located, number: int) -> bytes:
    """One frame's bytes as received (1-based). Raises NoSuchFrame, Damaged."""
    if at.landed.coded is not None:
        return _decoded(stock, at, number)
    spans = _frame_spans(at, number)
    if syntax_of(at.syntax).deflated:
        return _inflated_frame(stock, at, spans)
    _within(at, number, spans)
    return b"".join(span(stock, at, offset, length) for offset, length in spans)


def frame_run(at: Located, number: int) -> FrameRun | None:
    """Where frame `number` (from 1) lies in the store, whole and as received; None when it does not: it is
    coded, deflated, in fragments, or in the row. Raises NoSuchFrame."""
    landed = at.landed
    if landed.coded is not None or landed.inline is not None or syntax_of(at.syntax).deflated:
        return None
    spans = _frame_spans(at, number)
    _within(at, number, spans)
    if len(spans) != 1:
        return None
    offset, length = spans[0]
    return FrameRun(landed.key, landed.offset + landed.data_offset + offset, length)


def _frame_spans(at: Located, number: int) -> list[tuple[int, int]]:
    """(offset, length) in the data set of what makes up a frame. Raises NoSuchFrame."""
    try:
        return frame_index(at).spans(number)
    except DicomError as error:
        raise NoSuchFrame(f"There is no frame {number}.") from error


def _within(at: Located, number: int, spans: list[tuple[int, int]]) -> None:
    """Raise NoSuchFrame for a frame that lies beyond the end of its object."""
    size = data_set_length(at)
    if any(offset + length > size for offset, length in spans):
        raise NoSuchFrame(f"Frame {number} lies beyond the end of the object.")


def _decoded(stock: Stock, at: Located, number: int) -> bytes:
    """A frame of a coded instance as received; the latest ones are remembered."""
    known = stock.decoded(at, number)
    if known is not None:
        return known
    record = stock.record(at, number)
    form = Recipe.from_bytes(entry_at(at).recipe).form
    coded = packed.coded_frame(stock.reader(at.landed.key), record)
    made = stock.coder.decode([(form, coded)]).result()[0]
    if isinstance(made, NotCoded):
        raise Damaged(f"A stored frame cannot be decoded: {made.why}")
    found = bytes(made)
    stock.keep_decoded(at, number, found)
    return found


def make_ready(stock: Stock, many: Sequence[Located]) -> None:
    """Decode the frames of coded instances in one batch, and remember them. Damage is left to who reads."""
    wanted: list[tuple[Located, int]] = []
    frames: list[tuple[PixelForm, CodedFrame]] = []
    for at in many:
        if at.landed.coded is None:
            continue
        with contextlib.suppress(LightwellError):
            read, form = stock.reader(at.landed.key), Recipe.from_bytes(entry_at(at).recipe).form
            if form.frames > packed.KNOWN_FRAMES:
                continue
            for number in range(1, form.frames + 1):
                if stock.decoded(at, number) is None:
                    frames.append((form, packed.coded_frame(read, stock.record(at, number))))
                    wanted.append((at, number))
    for (at, number), made in zip(wanted, stock.coder.decode(frames).result(), strict=True):
        if not isinstance(made, NotCoded):
            stock.keep_decoded(at, number, bytes(made))


def stored_length(stock: Stock, at: Located, number: int) -> int:
    """Length in bytes of the codestream of one frame of a coded instance. Raises NoSuchFrame, Damaged."""
    return stock.record(at, number).length


def stored_frame(stock: Stock, at: Located, number: int, part: range | None = None) -> bytes:
    """The codestream of one frame of a coded instance, or bytes of it: whatever is given, the sums of the
    tile-parts it lies in were compared. Raises NoSuchFrame, Damaged."""
    record = stock.record(at, number)
    wanted = part if part is not None else range(record.length)
    first, begin, end = record.covering(wanted.start, wanted.stop)
    found = stock.blobs.read(at.landed.key, record.offset + begin, end - begin)
    if len(found) != end - begin:
        raise Damaged("A stored frame is cut off.")
    record.check(found, first)
    return found[wanted.start - begin : wanted.stop - begin] if part is not None else found


def coarse_frame(
    stock: Stock, at: Located, number: int, rows: int, columns: int
) -> CoarseFrame | None:
    """A coded frame at the smallest resolution of at least this size, from the bytes of that alone; None
    when that is the whole. Raises NoSuchFrame, Damaged, and what the coder raises."""
    record = stock.record(at, number)
    form = Recipe.from_bytes(entry_at(at).recipe).form
    reduction = reduction_for(record.levels, (form.rows, form.columns), (rows, columns))
    if not reduction:
        return None
    prefix = packed.frame_stream(stock.reader(at.landed.key), record, record.parts(reduction))
    data = stock.coder.coarse(prefix, record.levels, reduction).result()
    size = reduced(form.rows, form.columns, reduction)
    return CoarseFrame(*size, form.samples, form.bits_allocated, data)


def coded_chunks(stock: Stock, at: Located) -> Iterator[bytes]:
    """The effective data set of a coded instance as it lies in its pack: HTJ2K, a fragment a frame (PS3.5
    A.4). Raises Damaged."""
    entry = entry_at(at)
    read = stock.reader(at.landed.key)
    recipe = Recipe.from_bytes(entry.recipe)
    front = packed.entry_front(read, entry)[entry.meta :]
    header, _ = _before_pixels(front[: recipe.head])
    # The element's own head, extended offset tables and the basic one: no edit touches group 7FE0.
    yield present_bytes(front[:header], HTJ2KLosslessRPCL, at.edits) + front[header:]
    for _record, stream in packed.frame_streams(read, entry):
        yield fragment_head(len(stream)) + stream + b"\0" * (len(stream) % 2)
    yield sequence_end() + _coded_tail(stock, at, recipe.tail)


def _before_pixels(head: bytes) -> tuple[int, Header]:
    """Where the header proper of an entry's head ends: before group 7FE0."""
    found = scan(head, HTJ2KLosslessRPCL, complete=False)
    if not isinstance(found, Header):
        raise Damaged("The header of a packed object cannot be read.")
    tables = (found.get(tag) for tag in (tags.ExtendedOffsetTable, tags.ExtendedOffsetTableLengths))
    starts = [table.offset - _LONG_HEAD for table in tables if table is not None]
    return min([found.end, *starts]), found


def _coded_tail(stock: Stock, at: Located, tail: bytes) -> bytes:
    """What stands behind the pixel data of the entry: the recipe keeps it as it was received."""
    if not tail:
        return b""
    found = scan_tail(tail, header_of(stock, at))
    return entry_tail(found if isinstance(found, Header) else None, tail)


def _inflated_frame(stock: Stock, at: Located, spans: list[tuple[int, int]]) -> bytes:
    data = b"".join(inflate_bounded(raw_chunks(stock, at)))
    if any(offset + length > len(data) for offset, length in spans):
        raise NoSuchFrame("The frame lies beyond the end of the object.")
    return b"".join(data[offset : offset + length] for offset, length in spans)
