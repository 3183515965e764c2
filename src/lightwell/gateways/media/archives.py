"""Zip archives under limits: nothing is unpacked to disk, no name becomes a path, no size is believed.

What is counted are bytes that were really inflated. Only the two methods that can be inflated in
bounded steps are taken (stored, deflate).
"""

from __future__ import annotations

import contextlib
import io
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from lightwell.gateways.media.folders import LINK, Entry, open_plain
from lightwell.gateways.media.report import Refusal

_CENTRAL = b"PK\x01\x02"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, OSError)
UNFIT = "archive cannot be read"
LIMIT = "archive limit"


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What one archive may be and may become."""

    entries: int = 200_000
    inflated: int = 100 * 1024**3  # bytes of all entries together
    ratio: int = 200  # inflated : packed, of an entry and of the whole archive
    floor: int = 1024 * 1024  # bytes that may be inflated before the ratio counts
    directory: int = 64 * 1024**2  # bytes of the central directory


DEFAULT = ArchiveLimits()


class _Directory(io.RawIOBase):
    """The archive's file while its directory is read: no read beyond the limits."""

    def __init__(self, file: BinaryIO, limits: ArchiveLimits) -> None:
        self._file = file
        self._limits = limits

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1, /) -> bytes:
        """As the file. Raises Refusal: the directory is read in one piece, before anything is made of it."""
        if size > self._limits.directory:
            raise Refusal(LIMIT, f"its directory is larger than {self._limits.directory} bytes")
        data = self._file.read(size)
        if data.startswith(_CENTRAL) and data.count(_CENTRAL) > self._limits.entries:
            raise Refusal(LIMIT, f"it has more than {self._limits.entries} entries")
        return data


class Archive:
    """One open archive; entries may be read from several threads."""

    def __init__(self, file: BinaryIO, shown: str, limits: ArchiveLimits) -> None:
        self._shown = shown
        self._limits = limits
        self._packed = file.seek(0, io.SEEK_END)
        self._inflated = 0
        self._lock = threading.Lock()
        try:
            self._zip = zipfile.ZipFile(cast("BinaryIO", _Directory(file, limits)))
        except _FAULTS as error:
            raise Refusal(UNFIT, str(error)) from error

    def entries(self) -> Iterator[Entry]:
        """Every entry but folders, under a name for the report."""
        for info in self._zip.infolist():
            if not info.is_dir():
                yield Entry(f"{self._shown}!{info.filename}", self._opener(info).open)

    def close(self) -> None:
        """Forget the archive; its file belongs to whoever opened it."""
        self._zip.close()

    def _opener(self, info: zipfile.ZipInfo) -> _Opener:
        return _Opener(self, self._zip, info)

    def count(self, size: int, of_entry: int, packed: int) -> None:
        """So many more bytes were inflated. Raises Refusal at a limit."""
        with self._lock:
            self._inflated += size
            total = self._inflated
        if total > self._limits.inflated:
            raise Refusal(LIMIT, f"more than {self._limits.inflated} bytes inflated")
        ratio, floor = self._limits.ratio, self._limits.floor
        if of_entry > floor and of_entry > ratio * packed:
            raise Refusal(LIMIT, f"an entry inflates to more than {ratio} times its size")
        if total > floor and total > ratio * self._packed:
            raise Refusal(LIMIT, f"it inflates to more than {ratio} times its size")


@dataclass(frozen=True, slots=True)
class _Opener:
    """How one entry is opened."""

    archive: Archive
    zip: zipfile.ZipFile
    info: zipfile.ZipInfo

    def open(self) -> BinaryIO:
        """The entry's bytes. Raises Refusal."""
        info = self.info
        if stat.S_ISLNK(info.external_attr >> 16):
            raise Refusal(LINK, "links are not followed")
        if info.flag_bits & _ENCRYPTED:
            raise Refusal("encrypted", "unpack it with its password first")
        if info.compress_type not in _METHODS:
            raise Refusal("compression method", f"method {info.compress_type} is not taken")
        try:
            return cast("BinaryIO", _Inflating(self.archive, self.zip.open(info), info))
        except (*_FAULTS, RuntimeError) as error:
            raise Refusal("damaged entry", str(error)) from error


class _Inflating(io.RawIOBase):
    """An entry's bytes, counted as they are inflated."""

    def __init__(self, archive: Archive, stream: IO[bytes], info: zipfile.ZipInfo) -> None:
        self._archive = archive
        self._stream = stream
        self._packed = info.compress_size
        self._read = 0

    def read(self, size: int = -1, /) -> bytes:
        """As a file. Raises Refusal when the entry is damaged (its checksum too) or passes a limit."""
        try:
            data = self._stream.read(size)
        except _FAULTS as error:
            raise Refusal("damaged entry", str(error)) from error
        if data:
            self._read += len(data)
            self._archive.count(len(data), self._read, self._packed)
        return data

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


@contextlib.contextmanager
def opened(path: Path, shown: str, limits: ArchiveLimits = DEFAULT) -> Iterator[Archive]:
    """An archive, open for the block. Raises Refusal."""
    with open_plain(path, follow=True) as file:
        archive = Archive(file, shown, limits)
        try:
            yield archive
        finally:
            archive.close()
