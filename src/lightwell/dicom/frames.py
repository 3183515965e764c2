"""Where each frame of the pixel data lies: built in passing while the bytes arrive.

Native frames are arithmetic: two thousand million frames cost what one costs. Encapsulated ones are
fragments (PS3.5 A.4), mapped to frames by, in this order: the Extended Offset Table, the Basic Offset
Table, one fragment a frame, one frame in all, and the fragments at which a codestream begins. Where
none of these settles it the index says so (`UnknownFrames`) and never guesses: a wrong frame is worse
than none.

Offsets are bytes from the beginning of the data set. Frame numbers begin at 1, as in the standard.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from lightwell.dicom import tags
from lightwell.dicom.defects import Defect, Flaw
from lightwell.dicom.errors import DicomError, FrameMissing, FramesUnknown, LimitExceeded
from lightwell.dicom.header import DataSet, Header
from lightwell.dicom.limits import DEFAULT, Limits
from lightwell.dicom.uids import TransferSyntax
from lightwell.dicom.vrs import IMPLICIT_HEAD, ITEM, SEQUENCE_END, UNDEFINED
from lightwell.kernel.remembering import Remembered

Buffer = bytes | bytearray | memoryview
Span = tuple[int, int]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """Base of the three kinds. `frames` is the number the object declares."""

    frames: int
    defects: tuple[Defect, ...] = field(default=(), compare=False, kw_only=True)

    def spans(self, frame: int) -> list[Span]:
        """(offset, length) of the byte runs that make up a frame, in order.

        Raises FrameMissing when there is no such frame or its bytes are not all there, FramesUnknown
        when frames cannot be told apart.
        """
        raise NotImplementedError

    def present(self, frame: int) -> bool:
        """Whether `spans` would give an answer."""
        try:
            self.spans(frame)
        except DicomError:
            return False
        return True

    def length(self, frame: int) -> int:
        """Bytes of a frame. Raises as `spans`."""
        return sum(length for _offset, length in self.spans(frame))

    def to_bytes(self) -> bytes:
        """A compact form for a database column; a native index is a few bytes long."""
        raise NotImplementedError

    @staticmethod
    def from_bytes(raw: Buffer) -> FrameIndex:
        """The index that `to_bytes` wrote (without defects). Raises DicomError when it is damaged.

        The latest ones are remembered: each frame that is asked for needs one, and long ones take
        milliseconds. Do not change it.
        """
        key = bytes(raw)
        found = _remembered.get(key)
        if found is None:
            found = _from_bytes(key)
            _remembered.keep(key, found, len(key) + _FIXED_SIZE + _FRAME_SIZE * found.frames)
        return found

    def _check(self, frame: int) -> None:
        if not 1 <= frame <= self.frames:
            raise FrameMissing(f"There is no frame {frame}: the object has {self.frames}.")


@dataclass(frozen=True, slots=True)
class NativeFrames(FrameIndex):
    """Frames of equal size, one after the other, in `available` bytes that begin at `offset`.

    With BitsAllocated 1 frames follow each other without padding (PS3.5 8.1.1), so that a frame may
    begin inside a byte: `bit_skew` counts the bits, from the least significant, that belong to the
    frame before it.
    """

    offset: int
    frame_bits: int
    available: int

    def spans(self, frame: int) -> list[Span]:
        self._check(frame)
        first = (frame - 1) * self.frame_bits // 8
        end = -(-frame * self.frame_bits // 8)
        if end > self.available:
            text = f"Frame {frame} is missing: its bytes are not in the pixel data."
            raise FrameMissing(text)
        return [(self.offset + first, end - first)]

    def bit_skew(self, frame: int) -> int:
        """Bits of the span's first byte that belong to the frame before."""
        self._check(frame)
        return (frame - 1) * self.frame_bits % 8

    def to_bytes(self) -> bytes:
        values = (self.frames, self.offset, self.frame_bits, self.available)
        return b"N%c" % _VERSION + b"".join(map(_varint, values))


@dataclass(frozen=True, slots=True)
class FragmentedFrames(FrameIndex):
    """Frames made of fragments. `firsts` holds the number of each frame's first fragment and, at
    its end, the number of fragments; None means one fragment a frame. `end` is the end of what is
    there: a fragment that claims more is cut off."""

    offsets: array[int]
    lengths: array[int]
    firsts: array[int] | None
    end: int

    def spans(self, frame: int) -> list[Span]:
        self._check(frame)
        if self.firsts is None:
            first, last = frame - 1, frame
        elif frame < len(self.firsts):
            first, last = self.firsts[frame - 1], self.firsts[frame]
        else:
            first = last = 0
        found = list(zip(self.offsets[first:last], self.lengths[first:last], strict=True))
        if not found or found[-1][0] + found[-1][1] > self.end:
            raise FrameMissing(f"Frame {frame} is missing: its fragments are not all there.")
        return found

    def to_bytes(self) -> bytes:
        if self.firsts is None:
            mapping = b"\0"
        else:
            counts = (b - a for a, b in zip(self.firsts, self.firsts[1:], strict=False))
            mapping = b"\1" + _varint(len(self.firsts) - 1) + b"".join(map(_varint, counts))
        body = _varint(self.frames) + _varint(self.end) + mapping
        return _packed(b"F", body + _pack_fragments(self.offsets, self.lengths))


@dataclass(frozen=True, slots=True)
class UnknownFrames(FrameIndex):
    """Pixel data whose frames cannot be told apart (or that have none, as video streams)."""

    reason: str
    offsets: array[int]
    lengths: array[int]
    end: int

    def spans(self, frame: int) -> list[Span]:
        self._check(frame)
        raise FramesUnknown(self.reason)

    def stream(self) -> list[Span]:
        """All fragments in order: the whole coded stream, as video is served."""
        return [
            (offset, min(length, max(0, self.end - offset)))
            for offset, length in zip(self.offsets, self.lengths, strict=True)
        ]

    def to_bytes(self) -> bytes:
        reason = self.reason.encode()
        body = _varint(self.frames) + _varint(self.end) + _varint(len(reason)) + reason
        return _packed(b"U", body + _pack_fragments(self.offsets, self.lengths))


class FrameLocator:
    """Finds the frames while the pixel data arrive.

    Feed the bytes from `header.pixel_offset` on, in pieces of any size; nothing of them is kept but
    tables. Then `finish`. After the pixel data `done` is true, and `tail_offset` says where elements
    may follow; further bytes are ignored.
    """

    def __init__(self, header: Header, syntax: TransferSyntax, *, limits: Limits = DEFAULT) -> None:
        if header.pixel_tag is None or header.pixel_offset is None:
            raise ValueError("a header without pixel data has no frames to locate")
        self._header = header
        self._syntax = syntax
        self._limits = limits
        self._base = header.pixel_offset
        self._fed = 0
        self._length = header.pixel_length
        # encapsulated only:
        self._little = header.encoding.little
        self._head = bytearray()  # of the item or delimiter being read
        self._rest = 0  # bytes of the current item still to come
        self._item = 0  # items seen, the Basic Offset Table being the first
        self._table = bytearray()
        self._sniff = bytearray()  # the first bytes of the current fragment
        self._offsets = array("Q")
        self._lengths = array("Q")
        self._starts = bytearray()  # 1 for each fragment that begins a codestream
        self._closed = False
        self.defects: list[Defect] = []

    @property
    def done(self) -> bool:
        """Whether the end of the pixel data was seen."""
        return self._closed if self._length is None else self._fed >= self._length

    @property
    def tail_offset(self) -> int | None:
        """The first byte after the pixel data element, once `done`."""
        if not self.done:
            return None
        return self._base + (self._fed if self._length is None else self._length)

    def feed(self, chunk: Buffer) -> None:
        """Take the next bytes. Raises LimitExceeded for too many fragments."""
        if self._length is not None:
            self._fed = min(self._fed + len(chunk), self._length)
            return
        view = memoryview(chunk)
        at = 0
        while at < len(view) and not self._closed:
            if self._rest:
                step = min(self._rest, len(view) - at)
                self._content(view[at : at + step])
                self._rest -= step
                if not self._rest:
                    self._item_ended()
            else:
                step = min(8 - len(self._head), len(view) - at)
                self._head += view[at : at + step]
                if len(self._head) == 8:
                    self._item_begins(self._fed + step)
            at += step
            self._fed += step

    def _content(self, piece: memoryview) -> None:
        if self._item == 1:
            self._table += piece
        elif len(self._sniff) < 16:
            self._sniff += piece[: 16 - len(self._sniff)]

    def _item_begins(self, at: int) -> None:
        group, element, length = IMPLICIT_HEAD[self._little].unpack(self._head)
        self._head.clear()
        tag = group << 16 | element
        if tag != ITEM or length == UNDEFINED:
            self._closed = True
            if tag != SEQUENCE_END:
                self._flaw("something that is no fragment ends the pixel data")
            return
        if self._item > self._limits.fragments:
            raise LimitExceeded(
                f"The pixel data have more than {self._limits.fragments} fragments."
            )
        self._item += 1
        self._rest = length
        if self._item == 1:
            if length > 4 * self._limits.fragments:
                raise LimitExceeded(
                    "The Basic Offset Table is larger than any number of fragments."
                )
        else:
            self._offsets.append(self._base + at)
            self._lengths.append(length)
        if not length:
            self._item_ended()

    def _item_ended(self) -> None:
        if self._item > 1:
            self._starts.append(begins_codestream(bytes(self._sniff)))
            self._sniff.clear()

    def _flaw(self, text: str) -> None:
        self.defects.append(Defect(Flaw.BAD_FRAMES, self._header.pixel_tag or 0, text))

    def finish(self) -> FrameIndex:
        """The index, once no more bytes come. Never raises: what is wrong is in its `defects`."""
        if not self.done:
            text = "the data set ends inside the pixel data"
            self.defects.append(Defect(Flaw.TRUNCATED, self._header.pixel_tag or 0, text))
        if self._length is not None:
            return self._native()
        while len(self._starts) < len(self._offsets):
            self._starts.append(begins_codestream(bytes(self._sniff)))
        return self._encapsulated()

    def unaccounted(self, index: FragmentedFrames, *, codestreams: bool) -> str:
        """What is not plainly part of one declared frame, "" when nothing is; to be asked after `finish`.

        Readers need not care; who throws the fragments away must (PS3.5 A.4, PS3.3 C.7.6.3.1.8): every
        fragment is a frame's, the tables have an entry a frame, and `codestreams` begin where frames do.
        """
        declared = self._header.ints(tags.NumberOfFrames)
        if declared not in ([], [index.frames]):
            return "the Number of Frames is none"
        fragments = len(self._offsets)
        firsts = list(range(fragments + 1) if index.firsts is None else index.firsts)
        if len(firsts) != index.frames + 1 or firsts[0] or firsts[-1] != fragments:
            return f"{fragments} fragments are not those of {index.frames} frames"
        if codestreams and [n for n, start in enumerate(self._starts) if start] != firsts[:-1]:
            return (
                f"the codestreams in {fragments} fragments are not those of {index.frames} frames"
            )
        if len(self._table) not in (0, 4 * index.frames):
            return "the Basic Offset Table has other entries than frames"
        return self._extended_unaccounted(index.frames, firsts)

    def _extended_unaccounted(self, frames: int, firsts: list[int]) -> str:
        """Of the Extended Offset Table and its lengths: they stand for the Basic one, if at all."""
        table = self._header.raw(tags.ExtendedOffsetTable)
        sizes = self._header.raw(tags.ExtendedOffsetTableLengths)
        if table is None and sizes is None:
            return ""
        if table is None or self._table or len(self._offsets) != frames:
            return "an Extended Offset Table where none can be"
        whole = 8 * frames
        if len(table) != whole or (sizes is not None and len(sizes) != whole):
            return "the Extended Offset Table has other entries than frames"
        order = "<" if self._little else ">"
        found = self._fragments_at(struct.unpack(f"{order}{frames}Q", table))
        if found is None or list(found) != firsts:
            return "the Extended Offset Table does not point at the fragments"
        said = struct.unpack(f"{order}{frames}Q", sizes) if sizes is not None else self._lengths
        # `finish` has taken the pad byte off where the table did.
        if list(said) != list(self._lengths):
            return "the lengths of the Extended Offset Table are not those of the fragments"
        return ""

    def _native(self) -> FrameIndex:
        frames, bits = _declared_frames(self._header), frame_bits(self._header)
        if not bits:
            self._flaw("rows, columns or bits allocated are missing")
            text = "The size of a frame is not known: its attributes are missing or zero."
            empty: array[int] = array("Q")
            return UnknownFrames(
                frames, text, empty, empty, self._base, defects=tuple(self.defects)
            )
        expected = -(-frames * bits // 8)
        if self._length is not None and self._length < expected:
            self._flaw(f"{self._length} bytes of pixel data where {expected} are declared")
        elif self._length is not None and self._length > expected + expected % 2:
            self._flaw(f"{self._length - expected} bytes more than the frames need")
        return NativeFrames(frames, self._base, bits, self._fed, defects=tuple(self.defects))

    def _encapsulated(self) -> FrameIndex:
        frames = _declared_frames(self._header)
        end = self._base + self._fed
        firsts, reason = self._mapping(frames)
        if reason:
            return UnknownFrames(
                frames, reason, self._offsets, self._lengths, end, defects=tuple(self.defects)
            )
        return FragmentedFrames(
            frames, self._offsets, self._lengths, firsts, end, defects=tuple(self.defects)
        )

    def _mapping(self, frames: int) -> tuple[array[int] | None, str]:
        """(first fragment of each frame or None for one to one, why it cannot be told or "")."""
        fragments = len(self._offsets)
        if self._syntax.video:
            return None, "A video stream is not divided into frames; ask for the whole stream."
        firsts = self._extended_table(frames) or self._basic_table(frames)
        if firsts is not None:
            return firsts, ""
        if fragments == frames:
            return None, ""
        if frames == 1:
            return array("L", (0, fragments)), ""
        if fragments < frames:
            self._flaw(f"{fragments} fragments for {frames} frames")
            if self.done:
                return None, f"{fragments} fragments cannot hold {frames} frames."
        starts = [number for number, start in enumerate(self._starts) if start]
        if len(starts) == frames and starts[0] == 0:
            return array("L", (*starts, fragments)), ""
        if not self.done and len(starts) == fragments:
            return None, ""  # cut off: what came was one fragment a frame
        text = f"{fragments} fragments with {len(starts)} codestream starts for {frames} frames"
        self._flaw(text)
        return None, f"Frames cannot be told apart: {text}, and no offset table."

    def _extended_table(self, frames: int) -> array[int] | None:
        """(7FE0,0001) and (7FE0,0002), PS3.3 C.7.6.3.1.8: one fragment a frame."""
        raw = self._header.raw(tags.ExtendedOffsetTable)
        if not raw or len(raw) < 8 * frames:
            return None
        order = "<" if self._little else ">"
        table = struct.unpack_from(f"{order}{frames}Q", raw)
        firsts = self._fragments_at(table)
        if firsts is None or len(firsts) != frames + 1:
            self._flaw("the Extended Offset Table does not point at fragments")
            return None
        self._exact_lengths(frames, firsts, order)
        return firsts

    def _exact_lengths(self, frames: int, firsts: array[int], order: str) -> None:
        """Frame lengths without the pad byte, where the lengths table and the fragments agree."""
        raw = self._header.raw(tags.ExtendedOffsetTableLengths)
        if not raw or len(raw) < 8 * frames:
            return
        for first, length in zip(
            firsts, struct.unpack_from(f"{order}{frames}Q", raw), strict=False
        ):
            if self._lengths[first] - length == 1:
                self._lengths[first] = length

    def _basic_table(self, frames: int) -> array[int] | None:
        count = len(self._table) // 4
        if not count or self._item == 1:
            return None
        table = list(struct.unpack_from(f"{'<' if self._little else '>'}{count}I", self._table))
        for i in range(1, count):  # beyond 4 GiB offsets wrap around
            while table[i] < table[i - 1]:
                table[i] += 1 << 32
            if table[i] - table[0] > self._fed:
                break
        firsts = self._fragments_at(table) if count == frames else None
        if firsts is None:
            self._flaw(f"a Basic Offset Table of {count} entries does not fit {frames} frames")
        return firsts

    def _fragments_at(self, table: Sequence[int]) -> array[int] | None:
        """The fragments whose item tags lie at these offsets from the first one's (PS3.5 A.4)."""
        if not self._offsets:
            return None
        origin = self._offsets[0]
        number_at = {offset - origin: number for number, offset in enumerate(self._offsets)}
        firsts = array("L")
        for entry in table:
            number = number_at.get(entry)
            if number is None or (firsts and number <= firsts[-1]):
                return None
            firsts.append(number)
        if firsts[0] != 0:
            return None
        firsts.append(len(self._offsets))
        return firsts


def locate_frames(
    data: Buffer, header: Header, syntax: TransferSyntax, *, limits: Limits = DEFAULT
) -> FrameIndex:
    """The index of an object that lies whole in memory (or in a mapped file)."""
    locator = FrameLocator(header, syntax, limits=limits)
    locator.feed(memoryview(data)[header.pixel_offset :])
    return locator.finish()


def begins_codestream(head: bytes) -> bool:
    """Whether a fragment's first bytes begin an image: JPEG and JPEG-LS, JPEG 2000, JPEG XL, RLE."""
    if head.startswith((b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\xff\x0a")):
        return True
    if head.startswith((b"\0\0\0\x0cjP  ", b"\0\0\0\x0cJXL ")):
        return True
    # PS3.5 G.5: the number of segments (1 to 15), then the offset of the first, which is always 64
    return len(head) >= 8 and 1 <= head[0] <= 15 and head[1:8] == b"\0\0\0\x40\0\0\0"


def frame_bits(header: DataSet) -> int:
    """Bits of one native frame (PS3.5 8.1.1); 0 when an attribute is missing."""
    rows, columns = header.int(tags.Rows) or 0, header.int(tags.Columns) or 0
    bits = header.int(tags.BitsAllocated) or _FLOAT_BITS.get(
        getattr(header, "pixel_tag", None) or 0, 0
    )
    samples = header.int(tags.SamplesPerPixel) or 1
    photometric = header.text(tags.PhotometricInterpretation) or ""
    if samples == 3 and photometric.endswith("_422"):
        samples = 2  # two luminance and two chrominance samples for two pixels (PS3.3 C.7.6.3.1.2)
    if min(rows, columns, bits, samples) <= 0:
        return 0
    return rows * columns * bits * samples


_FLOAT_BITS = {tags.FloatPixelData: 32, tags.DoubleFloatPixelData: 64}


def _declared_frames(header: DataSet) -> int:
    return max(1, header.int(tags.NumberOfFrames) or 1)


# The serialised form: kind, version, then unsigned LEB128 numbers. Fragment tables become lengths and
# the gaps between fragments, which are nearly always 8; long tables are deflated besides.


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _pack_fragments(offsets: array[int], lengths: array[int]) -> bytes:
    out = bytearray(_varint(len(offsets)))
    end = 0
    for offset, length in zip(offsets, lengths, strict=True):
        out += _varint(offset - end) + _varint(length)
        end = offset + length
    return bytes(out)


def _packed(kind: bytes, body: bytes) -> bytes:
    if len(body) > 256:
        return kind.lower() + b"%c" % _VERSION + zlib.compress(body, 6)
    return kind + b"%c" % _VERSION + body


#: a table of `Limits.fragments` fragments is below this
_LARGEST_BODY = 64 << 20


def _from_bytes(raw: bytes) -> FrameIndex:
    try:
        kind, version = raw[:1], raw[1]
        body = raw[2:]
        if version != _VERSION:
            raise DicomError("The frame index has a version that this program does not know.")
        if kind.islower():
            body = zlib.decompressobj().decompress(body, _LARGEST_BODY)
        return _READERS[kind.upper()](_numbers(body), body)
    except (IndexError, KeyError, StopIteration, zlib.error, ValueError, OverflowError) as error:
        raise DicomError("The frame index is damaged; it can be made again.") from error


def _numbers(body: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in body:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0


def _read_native(numbers: Iterator[int], _body: bytes) -> FrameIndex:
    frames, offset, bits, available = islice(numbers, 4)
    return NativeFrames(frames, offset, bits, available)


def _read_fragmented(numbers: Iterator[int], _body: bytes) -> FrameIndex:
    frames, end, kind = next(numbers), next(numbers), next(numbers)
    firsts: array[int] | None = None
    if kind:
        firsts = array("L", [0])
        for _ in range(next(numbers)):
            firsts.append(firsts[-1] + next(numbers))
    offsets, lengths = _read_fragments(numbers)
    return FragmentedFrames(frames, offsets, lengths, firsts, end)


def _read_unknown(numbers: Iterator[int], body: bytes) -> FrameIndex:
    frames, end, size = next(numbers), next(numbers), next(numbers)
    start = len(_varint(frames)) + len(_varint(end)) + len(_varint(size))
    offsets, lengths = _read_fragments(_numbers(body[start + size :]))
    return UnknownFrames(frames, body[start : start + size].decode(), offsets, lengths, end)


def _read_fragments(numbers: Iterator[int]) -> tuple[array[int], array[int]]:
    offsets, lengths = array("Q"), array("Q")
    end = 0
    for _ in range(next(numbers)):
        offsets.append(end + next(numbers))
        lengths.append(next(numbers))
        end = offsets[-1] + lengths[-1]
    return offsets, lengths


_REMEMBERED_BYTES = 128 << 20  # of parsed indexes in a process
_FIXED_SIZE, _FRAME_SIZE = 1000, 32  # bytes in memory, about: of an index, and for each frame
_remembered: Remembered[FrameIndex] = Remembered(_REMEMBERED_BYTES)

_READERS = {b"N": _read_native, b"F": _read_fragmented, b"U": _read_unknown}
