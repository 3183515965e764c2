"""The frames of one object on their way into a pack: collected in order, on disk when they are many."""

from __future__ import annotations

import struct
import tempfile
from array import array
from collections.abc import Iterator

from lightwell.dicom.errors import DicomError
from lightwell.dicom.tile_parts import tile_parts
from lightwell.domain.archive.coding import CodedFrame, NotCoded, PixelForm, Reason
from lightwell.domain.archive.internal.packing.records import sums_of

SPOOL = 32 << 20  # coded bytes kept in memory for one object


class CodedFrames:
    """Takes what the codec made of an object's frames, one after the other.

    Beyond SPOOL they lie in an unlinked file in `folder` (default: the system's place for such files).
    `reason` is set when a frame failed: the object is then packed as received. Sizes are known before the
    first byte is written, because a TAR header has to say them.
    """

    def __init__(self, form: PixelForm, folder: str | None = None) -> None:
        self.form = form
        self.reason: Reason | None = None
        self.taken = 0
        self.lengths = array("Q")  # of codestreams
        self.sides = array("Q")  # of stray planes, 0 for none
        self.planes: tuple[bytes, ...] = ()
        self._zeros = bytearray()
        self._ends = array("Q")
        self._sums = array("Q")
        self._spool = tempfile.SpooledTemporaryFile(SPOOL, dir=folder)  # noqa: SIM115 - see close

    @property
    def complete(self) -> bool:
        """Whether every frame was taken."""
        return self.taken == self.form.frames

    @property
    def parts(self) -> int:
        """Tile-parts of each codestream."""
        return self.form.levels + 1

    @property
    def sided(self) -> bool:
        """Whether any frame has strays."""
        return any(self.sides)

    def take(self, made: CodedFrame | NotCoded) -> None:
        """The next frame."""
        self.taken += 1
        if self.reason is not None:
            return
        if isinstance(made, NotCoded):
            self.reason = Reason.CODEC_FAILED
            return
        ends = self._ends_of(made.stream)
        if ends is None:
            self.reason = Reason.CODEC_FAILED
            return
        self._ends.extend(ends)
        self._sums.extend(sums_of(made.stream, ends))
        self._zeros.append(made.zero)
        self.lengths.append(len(made.stream))
        self.sides.append(len(made.side))
        self.planes = made.planes
        self._spool.write(made.stream)
        self._spool.write(made.side)

    def _ends_of(self, stream: bytes) -> tuple[int, ...] | None:
        """Where its tile-parts end; None when the codec did not do what it was asked."""
        try:
            found = tile_parts(stream)
        except DicomError:
            return None
        form = self.form
        asked = (form.rows, form.columns, form.samples, form.levels, True, True, self.parts)
        made = (found.rows, found.columns, found.components, found.levels, found.rpcl)
        if (*made, found.reversible, len(found.ends)) != asked or found.length != len(stream):
            return None
        return found.ends if found.component_transform == (form.samples == 3) else None

    def zero(self, number: int) -> bool:
        """Flag `zero` of frame `number` (from 0)."""
        return bool(self._zeros[number])

    def tile_parts(self, number: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(ends, sums) of frame `number` (from 0)."""
        span = slice(number * self.parts, (number + 1) * self.parts)
        return tuple(self._ends[span]), tuple(self._sums[span])

    def streams(self) -> Iterator[tuple[bytes, bytes]]:
        """(codestream, stray plane) of each frame."""
        self._spool.seek(0)
        for length, side in zip(self.lengths, self.sides, strict=True):
            yield self._spool.read(length), self._spool.read(side)

    def close(self) -> None:
        """Give the memory or the file back."""
        self._spool.close()


def fragment_head(length: int) -> bytes:
    """The item in front of a codestream, which is padded to even length (PS3.5 A.4)."""
    return struct.pack("<HHI", 0xFFFE, 0xE000, length + length % 2)
