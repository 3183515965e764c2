"""One landed object as a packer sees it: ranges of its data set, and its header read with limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lightwell.dicom.errors import DicomError
from lightwell.dicom.header import Header
from lightwell.dicom.inflate import InflatingReader
from lightwell.dicom.scanner import NeedMore, scan, scan_tail
from lightwell.dicom.uids import syntax_of
from lightwell.domain.archive.coding import Reason
from lightwell.domain.archive.internal.packing.recipe import TAIL_LIMIT
from lightwell.domain.archive.internal.packing.tar import ReadRange

FIRST_LOOK = 64 * 1024
WHOLE = 2 << 20  # data sets up to this size are read in one go
CHUNK = 4 << 20


@dataclass(frozen=True, slots=True)
class Arrived:
    """The data set as received, where it is another one than is packed."""

    syntax: str
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Source:
    """An object to be packed. `read(offset, length)` gives bytes of the data set (without file meta);
    `arrival` are the facts of its landed file meta, for the manifest.

    Of a pixel-exact tenant's it may be the native form of what arrived: then `arrived` says what that was,
    and `original` gives it as long as it is there. `refused`: it goes in as it is, and why."""

    sop_uid: str
    sop_class: str
    syntax: str
    size: int  # of the data set
    sha256: bytes  # of the data set
    read: ReadRange = field(repr=False)
    arrival: Mapping[str, object] = field(default_factory=dict, repr=False)
    arrived: Arrived | None = None
    original: Source | None = field(default=None, repr=False)
    refused: Reason | None = None


class Opened:
    """A source with its header. `header` is None when it cannot be read; of a deflated data set it has
    the inflated positions. What was read is kept as long as it is small."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._start = source.read(
            0, min(source.size, WHOLE if source.size <= WHOLE else FIRST_LOOK)
        )
        try:
            inflating = syntax_of(source.syntax).deflated
            self.header = self._inflated_header() if inflating else self._scanned()
        except DicomError:
            self.header = None

    def _scanned(self) -> Header | None:
        source = self.source
        syntax = syntax_of(source.syntax)
        while True:
            complete = len(self._start) >= source.size
            found = scan(self._start, syntax, complete=complete)
            if isinstance(found, Header):
                return found
            wanted = min(source.size, max(found.minimum, 2 * len(self._start)))
            self._start = source.read(0, wanted)

    def _inflated_header(self) -> Header | None:
        syntax = syntax_of(self.source.syntax)
        reader = InflatingReader()
        head = bytearray()
        wanted = FIRST_LOOK
        for chunk in self.chunks():
            for piece in reader.feed(chunk):
                head += piece
                if len(head) < wanted:
                    continue
                found = scan(head, syntax, complete=False)
                if isinstance(found, Header):
                    return found
                wanted = max(found.minimum, 2 * len(head))
        head += b"".join(reader.finish())
        whole = scan(head, syntax, complete=True)
        return None if isinstance(whole, NeedMore) else whole

    def range(self, offset: int, length: int) -> bytes | memoryview:
        """Bytes of the data set."""
        if offset + length <= len(self._start):
            return memoryview(self._start)[offset : offset + length]
        return self.source.read(offset, length)

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The whole data set as received."""
        at = 0
        while at < self.source.size:
            piece = self.range(at, min(CHUNK, self.source.size - at))
            at += len(piece)
            yield piece

    def tail(self) -> tuple[bytes, Header | None]:
        """What follows the native pixel data, and its scan (None when nothing follows). The length was
        checked against TAIL_LIMIT before. Raises DicomError."""
        header = self.header
        start = header.tail_offset if header is not None else None
        if header is None or start is None or start >= self.source.size:
            return b"", None
        raw = bytes(self.range(start, min(self.source.size - start, TAIL_LIMIT)))
        found = scan_tail(raw, header)
        return raw, found if isinstance(found, Header) else None
