"""One DICOM file of an upload on its way into the archive: its head is read, its data set staged.

Blocking; used by one thread (or the event loop) at a time. Memory: the file meta information, bounded
by the reader's limits, and what the staging keeps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from lightwell.access.context import Context
from lightwell.dicom.errors import DicomError, Truncated
from lightwell.dicom.part10 import FileMeta, read_meta
from lightwell.domain.archive.api import Archive
from lightwell.domain.archive.model import Announced, Verdict
from lightwell.gateways.dicomweb.status import Report, report_of_error
from lightwell.kernel.errors import Invalid, LightwellError

SOURCE = "stow"


class NotAFile(Invalid):
    """A part that should be a DICOM file (PS3.10) and is none."""


class Intake:
    """Takes the bytes of one file. A failure ends this file only; what follows of it is dropped."""

    def __init__(self, archive: Archive, context: Context, study_uid: str | None) -> None:
        self.failure: Report | None = None
        self.sop_class = ""
        self.sop_uid = ""
        self._archive = archive
        self._context = context
        self._study_uid = study_uid
        self._head = bytearray()
        self._needed = 0
        # What can be done with the staged object; None before its head was read.
        self._write: Callable[[bytes | memoryview], None] | None = None
        self._discard: Callable[[], None] | None = None
        self._store: Callable[[], Awaitable[Verdict]] | None = None

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next bytes. Never raises for what the bytes are."""
        if self.failure is not None:
            return
        try:
            if self._write is not None:
                self._write(piece)
                return
            if self._head:
                self._head += piece
                piece = bytes(self._head)
            if len(piece) >= self._needed and self._begin(piece, complete=False):
                self._head.clear()
            elif not self._head:
                self._head += piece
        except LightwellError as error:
            self.fail(error)

    def end(self) -> None:
        """The file is whole: it can be stored, or `failure` says why not."""
        if self.failure is not None or self._store is not None:
            return
        try:
            self._begin(bytes(self._head), complete=True)
        except LightwellError as error:
            self.fail(error)

    async def store(self) -> Verdict:
        """Judge and keep the whole file. Raises what `Archive.store` raises."""
        if self._store is None:
            raise NotAFile("There is nothing to store.")
        return await self._store()

    def fail(self, error: LightwellError) -> None:
        """Give this file up."""
        self.discard()
        self.failure = report_of_error(error, self.sop_class, self.sop_uid)

    def discard(self) -> None:
        """Drop what was staged."""
        self._head = bytearray()
        if self._discard is not None:
            self._discard()
        self._write = self._store = None

    def _begin(self, head: bytes | memoryview, *, complete: bool) -> bool:
        """Stage as soon as the head says what comes; False when it is too short to tell.

        Raises Truncated, NotAFile, and what the store raises.
        """
        try:
            meta, offset = read_meta(head, complete=complete)
        except Truncated as short:
            if complete:
                raise
            self._needed = max(short.needed or 0, len(head) + 1)
            return False
        except DicomError:
            raise NotAFile("The part is not a DICOM file.") from None
        self._stage(_announced(meta, self._study_uid), memoryview(head)[offset:])
        return True

    def take(self, announced: Announced, data_set: Iterable[bytes]) -> None:
        """A data set that is whole already, without the file around it. Never raises for its bytes."""
        try:
            self._stage(announced, *data_set)
        except LightwellError as error:
            self.fail(error)

    def _stage(self, announced: Announced, *pieces: bytes | memoryview) -> None:
        self.sop_class, self.sop_uid = announced.sop_class or "", announced.sop_uid or ""
        writer = self._archive.stage(self._context, announced)
        self._write, self._discard = writer.write, writer.discard
        self._store = partial(self._archive.store, self._context, writer)
        for piece in pieces:
            writer.write(piece)


def _announced(meta: FileMeta, study_uid: str | None) -> Announced:
    return Announced(
        sop_class=meta.sop_class or None,
        sop_uid=meta.sop_instance or None,
        syntax=meta.syntax.uid,
        source=SOURCE,
        study_uid=study_uid,
        by_file=True,
    )
