"""Answers about bytes: are they whole, are two objects' pixels the same, where is a bulk value?

Blocking: called from threads.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable

from lightwell.access.commit import Sealed, sealed
from lightwell.dicom.errors import DicomError
from lightwell.dicom.json_model import find_bulk
from lightwell.dicom.part10 import read_meta
from lightwell.dicom.scanner import NeedMore, scan
from lightwell.dicom.uids import syntax_of
from lightwell.dicom.values import swap_words
from lightwell.domain.archive.internal import reading
from lightwell.domain.archive.model import (
    CLASS_CONFLICT,
    NO_SUCH_OBJECT,
    PROCESSING_FAILURE,
    KnownInstance,
    Located,
    Staged,
    Vouched,
)
from lightwell.domain.archive.ports import BlobMissing, BlobStore
from lightwell.kernel.errors import LightwellError, Missing

log = logging.getLogger("lightwell.archive")

CHUNK = 1024 * 1024
HEAD = 64 * 1024


def sealed_before(key: str) -> Sealed:
    """For a duplicate whose first copy was just confirmed whole and durable."""
    return sealed(key)


def digest_of(blobs: BlobStore, kept: KnownInstance) -> bytes:
    """SHA-256 of the data set as it lies in the store now. Raises what the store raises."""
    digest = hashlib.sha256()
    position, end = kept.offset + kept.data_offset, kept.offset + kept.length
    while position < end:
        piece = blobs.read(kept.key, position, min(CHUNK, end - position))
        if not piece:
            break
        digest.update(piece)
        position += len(piece)
    return digest.digest()


def vouch(blobs: BlobStore, sop_class: str, sop_uid: str, kept: list[KnownInstance]) -> Vouched:
    """One reference of a storage commitment request, answered from re-hashed bytes.

    Held, rejected and conflicting objects are kept but are not safe to rely on (`clinical.md` 2);
    inline objects are not in the store yet and answer as not safe: the caller asks again later.
    """
    current = next((k for k in kept if k.state == "current"), None)
    if current is None:
        failure = PROCESSING_FAILURE if kept else NO_SUCH_OBJECT
        return Vouched(sop_class, sop_uid, failure)
    if current.rejected is not None:
        return Vouched(sop_class, sop_uid, NO_SUCH_OBJECT)
    try:
        if current.inline or digest_of(blobs, current) != current.sha256:
            return Vouched(sop_class, sop_uid, PROCESSING_FAILURE)
        if current.sop_class != sop_class:
            return Vouched(sop_class, sop_uid, CLASS_CONFLICT)
    except (LightwellError, OSError) as error:
        log.error("commitment: %s could not be read: %s", sop_uid, type(error).__name__)
        return Vouched(sop_class, sop_uid, PROCESSING_FAILURE)
    return Vouched(sop_class, sop_uid, None)


def same_pixels(
    blobs: BlobStore, rival: KnownInstance, rival_inline: bytes | None, staged: Staged
) -> bool:
    """Whether a second object under one UID has the pixels of the first (syntax included).

    The arrival is read back from where it was staged; a deflated one counts as different, because
    its pixels cannot be compared as bytes.
    """

    def read_rival(offset: int, length: int) -> bytes:
        start = rival.offset + offset
        if rival_inline is not None:
            return rival_inline[start : start + length]
        return blobs.read(rival.key, start, length)

    landed = staged.landed

    def read_staged(offset: int, length: int) -> bytes:
        start = landed.offset + offset
        if landed.inline is not None:
            return landed.inline[start : start + length]
        return blobs.read(landed.key, start, length)

    try:
        meta, _ = read_meta(read_rival(0, rival.data_offset))
        first = _pixel_digest(meta.syntax.uid, rival.length, rival.data_offset, read_rival)
        second = _pixel_digest(
            staged.announced.syntax, landed.length, landed.data_offset, read_staged
        )
    except (BlobMissing, DicomError):
        return False
    return first is not None and first == second


def _pixel_digest(
    syntax_uid: str, length: int, data_offset: int, read_object: Callable[[int, int], bytes]
) -> tuple[str, bytes] | None:
    """Syntax and SHA-256 of the pixel data; None where there are none that can be compared."""
    size = length - data_offset

    def read(offset: int, wanted: int) -> bytes:
        return read_object(data_offset + offset, wanted)

    syntax = syntax_of(syntax_uid)
    if syntax.deflated:
        return None
    wanted = min(HEAD, size)
    while True:
        found = scan(read(0, wanted), syntax, complete=wanted >= size)
        if not isinstance(found, NeedMore):
            break
        wanted = min(size, max(found.minimum, 2 * wanted))
    if found.pixel_offset is None:
        return None
    end = size
    if found.pixel_length is not None:
        end = min(size, found.pixel_offset + found.pixel_length)
    digest = hashlib.sha256()
    position = found.pixel_offset
    while position < end:
        piece = read(position, min(CHUNK, end - position))
        if not piece:
            break
        digest.update(piece)
        position += len(piece)
    return syntax_uid, digest.digest()


def bulk_value(blobs: BlobStore, at: Located, path: str) -> bytes:
    """The bytes of one attribute by the path of its BulkDataURI, little endian. Raises Missing."""
    try:
        header = reading.header_of(blobs, at)
        found = find_bulk(header, path)
    except DicomError as error:
        raise Missing("There is no such bulk value.") from error
    if found is None:
        raise Missing("There is no such bulk value.")
    if syntax_of(at.syntax).deflated:
        raw = bytes(header.data[found.offset : found.offset + found.length])
    else:
        size = reading.data_set_length(at)
        raw = reading.span(blobs, at, found.offset, min(found.length, size - found.offset))
    return raw if found.word == 1 else bytes(swap_words(raw, found.word))
