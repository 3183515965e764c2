"""Bounded inflation of deflated data sets (PS3.5 A.5, RFC 1951).

A few hundred kilobytes can inflate to gigabytes. So output is taken in steps of bounded size, and after
every step both bounds are looked at: the total, and the ratio once more than `inflate_free` came out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from lightwell.dicom.errors import DicomError, LimitExceeded, Truncated
from lightwell.dicom.limits import DEFAULT, Limits

Buffer = bytes | bytearray | memoryview

STEP = 256 * 1024


class InflatingReader:
    """Deflated bytes in, inflated pieces of at most 256 KiB out.

    Some writers wrap the stream as zlib does (RFC 1950); that is seen at its first two bytes and read
    too. Bytes after the end of the stream (the pad byte of PS3.5 A.5) are ignored; `beyond` has the
    first two.
    """

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self._inflater: zlib._Decompress | None = None
        self._head = b""
        self.taken = 0
        self.given = 0
        self.beyond = b""

    @property
    def finished(self) -> bool:
        """Whether the end of the deflated stream was seen."""
        return self._inflater is not None and self._inflater.eof

    def feed(self, chunk: Buffer) -> Iterator[bytes]:
        """Inflate one chunk, piece by piece; run it to its end before feeding again.

        Raises LimitExceeded, or DicomError when the bytes are no deflated stream.
        """
        self.taken += len(chunk)
        if self._inflater is None:
            self._head += bytes(chunk)
            if len(self._head) < 2:
                return
            chunk, self._head = self._head, b""
            self._inflater = zlib.decompressobj(_window(chunk))
        pending: Buffer = chunk
        while pending and not self._inflater.eof:
            try:
                piece = self._inflater.decompress(pending, STEP)
            except zlib.error as error:
                raise DicomError(
                    "The deflated data set is damaged: it cannot be inflated."
                ) from error
            pending = self._inflater.unconsumed_tail or self._inflater.unused_data
            yield from self._checked(piece)
        self.beyond = (self.beyond + bytes(pending[:2]))[:2]

    def finish(self) -> Iterator[bytes]:
        """What is left. Raises Truncated when the stream has not ended."""
        if self._inflater is None or not self._inflater.eof:
            if self._inflater is not None:
                yield from self._checked(self._inflater.flush(STEP))
            if self._inflater is None or not self._inflater.eof:
                raise Truncated("The deflated data set ends before its stream does.")

    def _checked(self, piece: bytes) -> Iterator[bytes]:
        self.given += len(piece)
        limits = self._limits
        if self.given > limits.inflate_total:
            raise LimitExceeded(f"The data set inflates to more than {limits.inflate_total} bytes.")
        if self.given > limits.inflate_free and self.given > limits.inflate_ratio * self.taken:
            raise LimitExceeded(
                f"The data set inflates to more than {limits.inflate_ratio} times its size."
            )
        if piece:
            yield piece


def _window(head: Buffer) -> int:
    """zlib's window argument: raw deflate, or zlib-wrapped when the first two bytes say so."""
    wrapped = head[0] & 0x0F == 8 and head[0] >> 4 <= 7 and (head[0] << 8 | head[1]) % 31 == 0
    return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS


def inflate_bounded(chunks: Iterable[Buffer], limits: Limits = DEFAULT) -> Iterator[bytes]:
    """The inflated bytes of a deflated data set, in pieces of at most 256 KiB.

    Raises LimitExceeded, Truncated, or DicomError for damage, after what was good has been given.
    """
    reader = InflatingReader(limits)
    for chunk in chunks:
        yield from reader.feed(chunk)
    yield from reader.finish()
