"""Reading a header while its object streams past.

The scanner works on a prefix; this feeds it one that doubles until the pixel data begins, then hands
what follows to the frame locator. Deflated data sets are inflated in bounded steps on the side, so that
a bomb is refused at its ratio, not at the end of memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from lightwell.dicom.errors import DicomError, LimitExceeded, NotDicom
from lightwell.dicom.frames import FrameLocator
from lightwell.dicom.header import Header
from lightwell.dicom.inflate import InflatingReader
from lightwell.dicom.limits import DEFAULT
from lightwell.dicom.scanner import NeedMore, scan
from lightwell.dicom.uids import syntax_of
from lightwell.domain.archive.ports import Buffer

FIRST_TRY = 4 * 1024


@dataclass(frozen=True, slots=True)
class ReadHeader:
    """A header read whole, what is known of its frames, and how long the data set turned out to be."""

    header: Header
    frame_index: bytes | None
    length: int  # of the data set (inflated when deflated)
    defects: tuple[str, ...]


class HeaderReader:
    """Feed it the bytes of a data set as they arrive. Raises DicomError when they are none."""

    def __init__(self, syntax_uid: str) -> None:
        self._syntax = syntax_of(syntax_uid)
        self._inflater = InflatingReader() if self._syntax.deflated else None
        self._head = bytearray()
        self._next_try = FIRST_TRY
        self._header: Header | None = None
        self._frames: FrameLocator | None = None
        self._frames_unknown = ""
        self._length = 0

    def feed(self, chunk: Buffer) -> None:
        """The next bytes as received."""
        if self._inflater is None:
            self._take(chunk)
            return
        for piece in self._inflater.feed(chunk):
            self._take(piece)

    def _take(self, chunk: Buffer) -> None:
        self._length += len(chunk)
        if self._header is not None:
            self._locate(chunk)
            return
        if not self._head and len(chunk) >= FIRST_TRY:
            # Usually one receive holds the whole header: it is read where it lies.
            if not self._try(chunk, complete=False):
                self._head += chunk
            return
        self._head += chunk
        if len(self._head) >= self._next_try and self._try(self._head, complete=False):
            self._head = bytearray()

    def _try(self, head: Buffer, *, complete: bool) -> bool:
        """Scan what there is; whether the header is found."""
        found = scan(head, self._syntax, complete=complete)
        if isinstance(found, NeedMore):
            if found.minimum > DEFAULT.header:
                raise LimitExceeded(f"The header is longer than {DEFAULT.header} bytes.")
            self._next_try = max(found.minimum, 2 * len(head))
            return False
        self._header = found
        if found.pixel_offset is not None:
            self._frames = FrameLocator(found, self._syntax)
            if len(head) > found.pixel_offset:
                with memoryview(head) as view, view[found.pixel_offset :] as pixels:
                    self._locate(pixels)
        return True

    def _locate(self, chunk: Buffer) -> None:
        if self._frames is None:
            return
        try:
            self._frames.feed(chunk)
        except DicomError as error:
            self._frames_unknown = str(error)
            self._frames = None

    def finish(self) -> ReadHeader:
        """The data set is complete."""
        if self._inflater is not None:
            for piece in self._inflater.finish():
                self._take(piece)
        if self._header is None:
            self._try(self._head, complete=True)
        header = self._header
        if header is None or not len(header):
            raise NotDicom("There is no DICOM data set in these bytes.")
        if header.truncated and header.pixel_offset is None:
            raise NotDicom("The data set ends inside one of its elements.")
        index, defects = self._index()
        found = {defect.code.value for defect in header.structure}
        return ReadHeader(header, index, self._length, (*sorted(found), *defects))

    def _index(self) -> tuple[bytes | None, tuple[str, ...]]:
        """The frame index for the row, and what is wrong with the pixel data."""
        if self._frames is None:
            return None, (("frames-unknown",) if self._frames_unknown else ())
        try:
            found = self._frames.finish()
        except DicomError:
            return None, ("pixel-data-damaged",)
        return found.to_bytes(), tuple(sorted({d.code.value for d in found.defects}))
