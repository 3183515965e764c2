"""The recipe of a coded entry: what turns it back into the data set as received.

A data set is *original head, frames, pad, tail*. The head is made from the entry's by splices, or
(Implicit VR) inflated from the side member with the entry's head as preset dictionary. Binary, some 100
bytes; layout in docs/design/storage.md. Hostile until parsed: every length is bounded, and the last
four bytes are a sum.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from lightwell.dicom.limits import DEFAULT
from lightwell.domain.archive.coding import PixelForm
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing.checks import crc32c
from lightwell.domain.archive.internal.packing.varints import VarintReader, counted, varint

VERSION = 1
PAD_LIMIT = 4096
TAIL_LIMIT = 1 << 20
FRAME_LIMIT = 512 << 20  # bytes of one native frame
FRAMES_LIMIT = 2_000_000
_SPLICES = 100_000
_WINDOW = 32 * 1024
SIDE_HEAD = b"LWSD\x01\0\0\0"

_SIGNED, _PLANAR, _SIDED = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Splice:
    """`length` bytes of the entry's head at `offset` stand for `original`."""

    offset: int
    length: int
    original: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Recipe:
    """See the module. `deflated` > 0: the original head is that many bytes in the side member, behind
    its first eight; there are no splices then."""

    form: PixelForm
    head: int  # bytes of the entry's head
    original_head: int
    pad: bytes = field(default=b"", repr=False)
    tail: bytes = field(default=b"", repr=False)
    splices: tuple[Splice, ...] = ()
    deflated: int = 0
    sided: bool = False

    @property
    def size(self) -> int:
        """Bytes of the rebuilt data set."""
        pixels = self.form.frames * self.form.frame_bytes
        return self.original_head + pixels + len(self.pad) + len(self.tail)

    def to_bytes(self) -> bytes:
        """The stored form."""
        form = self.form
        bits = form.signed * _SIGNED | form.planar * _PLANAR | self.sided * _SIDED
        out = bytearray((VERSION, 1 if self.deflated else 0, bits))
        for value in (
            form.rows,
            form.columns,
            form.samples,
            form.bits_allocated,
            form.bits_stored,
            form.high_bit,
            form.frames,
            self.head,
            self.original_head,
        ):
            out += varint(value)
        if self.deflated:
            out += varint(self.deflated)
        out += counted(self.pad) + counted(self.tail) + varint(len(self.splices))
        at = 0
        for splice in self.splices:
            out += varint(splice.offset - at) + varint(splice.length) + counted(splice.original)
            at = splice.offset + splice.length
        return bytes(out) + crc32c(out).to_bytes(4, "little")

    @staticmethod
    def from_bytes(raw: bytes) -> Recipe:
        """Raises Damaged."""
        if len(raw) < 8 or crc32c(raw[:-4]) != int.from_bytes(raw[-4:], "little"):
            raise Damaged("The recipe of a packed object is damaged.")
        if raw[0] != VERSION:
            raise Damaged("The recipe of a packed object has a version that is not known here.")
        kind, bits = raw[1], raw[2]
        if kind > 1 or bits > 7:
            raise Damaged("The recipe of a packed object is of no known kind.")
        reader = VarintReader(raw[:-4], 3)
        rows, columns, samples, allocated, stored, high = (reader.number(0xFFFF) for _ in range(6))
        frames = reader.number(FRAMES_LIMIT)
        form = PixelForm(
            rows=rows,
            columns=columns,
            samples=samples,
            bits_allocated=allocated,
            bits_stored=stored,
            high_bit=high,
            signed=bool(bits & _SIGNED),
            planar=bool(bits & _PLANAR),
            frames=frames,
        )
        _check_form(form)
        head, original_head = reader.number(2 * DEFAULT.header), reader.number(DEFAULT.header + 12)
        deflated = reader.number(DEFAULT.header) if kind else 0
        pad, tail = reader.counted(PAD_LIMIT), reader.counted(TAIL_LIMIT)
        splices = _read_splices(reader, head)
        if reader.at != len(raw) - 4 or (kind and (splices or not deflated)):
            raise Damaged("The recipe of a packed object contradicts itself.")
        return Recipe(
            form, head, original_head, pad, tail, splices, deflated, sided=bool(bits & _SIDED)
        )

    def rebuild_head(self, entry_head: bytes, deflated: bytes = b"") -> bytes:
        """The original head from the entry's (and, for Implicit VR, what the side member keeps of it).

        Raises Damaged when the result has another length than the recipe says.
        """
        if len(entry_head) != self.head or len(deflated) != self.deflated:
            raise Damaged("A packed header has another length than its recipe says.")
        if self.deflated:
            original = _inflate_with(deflated, entry_head, self.original_head)
        else:
            pieces = []
            at = 0
            for splice in self.splices:
                pieces += [entry_head[at : splice.offset], splice.original]
                at = splice.offset + splice.length
            original = b"".join([*pieces, entry_head[at:]])
        if len(original) != self.original_head:
            raise Damaged("A rebuilt header has another length than its recipe says.")
        return original


def _check_form(form: PixelForm) -> None:
    fits = (
        form.rows
        and form.columns
        and form.frames
        and form.samples in (1, 3)
        and form.bits_allocated in (8, 16)
        and 1 <= form.bits_stored <= form.high_bit + 1 <= form.bits_allocated
        and form.frame_bytes <= FRAME_LIMIT
    )
    if not fits:
        raise Damaged("The recipe of a packed object describes pixels that are never coded.")


def _read_splices(reader: VarintReader, head: int) -> tuple[Splice, ...]:
    splices = []
    at = 0
    for _ in range(reader.number(_SPLICES)):
        offset = at + reader.number(head)
        length = reader.number(head)
        at = offset + length
        if at > head:
            raise Damaged("A splice lies outside its header.")
        splices.append(Splice(offset, length, reader.counted(DEFAULT.header)))
    return tuple(splices)


def deflate_with(original: bytes, dictionary: bytes) -> bytes:
    """Raw deflate of a head, with the entry's head as what is known already."""
    engine = zlib.compressobj(
        9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, dictionary[-_WINDOW:]
    )
    return engine.compress(original) + engine.flush()


def _inflate_with(deflated: bytes, dictionary: bytes, size: int) -> bytes:
    engine = zlib.decompressobj(-15, zdict=dictionary[-_WINDOW:])
    try:
        return engine.decompress(deflated, size + 1)
    except zlib.error as error:
        raise Damaged("A packed header cannot be inflated.") from error
