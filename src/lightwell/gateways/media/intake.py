"""One DICOM file (PS3.10) from any stream into the archive: its meta read, its data set staged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from lightwell.access.context import Context
from lightwell.dicom.errors import DicomError, LimitExceeded, Truncated
from lightwell.dicom.part10 import FileMeta, read_meta
from lightwell.domain.archive.api import Archive
from lightwell.domain.archive.model import Announced, Verdict
from lightwell.gateways.media.report import DIRECTORY, NOT_DICOM, Refusal

PIECE = 1024 * 1024
SOURCE = "import"
MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage (PS3.4 annex B.5)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
NESTED = "archive inside an archive"


class Stream(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes: ...


class IsArchive(Exception):
    """The file turned out to be a zip archive."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What all files of one import have in common."""

    issuer: str | None = None  # of patient IDs for objects that name none
    outside: bool = False
    source: str = SOURCE


@dataclass(frozen=True, slots=True)
class Staged:
    """One file read whole: to be stored, or discarded."""

    store: Callable[[], Awaitable[Verdict]]
    discard: Callable[[], None]


def stage_file(archive: Archive, context: Context, labels: Labels, stream: Stream) -> Staged:
    """Read one file and stage its data set. Blocking; memory is two pieces, whatever its size.

    Raises Refusal for what is not to be taken, IsArchive, what the archive's staging raises, and
    whatever reading the stream raises; nothing stays staged then.
    """
    head = stream.read(PIECE)
    if head[:4] in _ZIP:
        raise IsArchive
    meta, offset, head = _meta(head, stream)
    if _is_directory(meta, head[offset : offset + 2]):
        raise Refusal(DIRECTORY, "read as a folder: what a DICOMDIR lists is not needed")
    writer = archive.stage(
        context,
        Announced(
            sop_class=meta.sop_class or None,
            sop_uid=meta.sop_instance or None,
            syntax=meta.syntax.uid,
            source=labels.source,
            issuer=labels.issuer,
            outside=labels.outside,
            by_file=True,
        ),
    )
    try:
        writer.write(memoryview(head)[offset:])
        while piece := stream.read(PIECE):
            writer.write(piece)
    except BaseException:
        writer.discard()
        raise
    return Staged(partial(archive.store, context, writer), writer.discard)


def _meta(head: bytes, stream: Stream) -> tuple[FileMeta, int, bytes]:
    """File meta, where the data set begins, and all that was read for it."""
    while True:
        piece = b"" if len(head) < PIECE else stream.read(PIECE)
        try:
            meta, offset = read_meta(head, complete=not piece)
        except Truncated as short:
            if not piece:
                raise Refusal(NOT_DICOM, str(short)) from short
            head += piece  # the reader's own limit on file meta bounds how often
            continue
        except LimitExceeded as error:
            raise Refusal("file meta too large", str(error)) from error
        except DicomError as error:
            raise Refusal(NOT_DICOM, str(error)) from error
        return meta, offset, head + piece


def _is_directory(meta: FileMeta, first_group: bytes) -> bool:
    """A DICOMDIR by its class, or by its first element (group 0004) when its meta says nothing."""
    return meta.sop_class == MEDIA_DIRECTORY or first_group in (b"\x04\0", b"\0\x04")
