"""Answers about bytes: are they whole, are two objects' pixels the same, where is a bulk value?

Blocking: called from threads.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterator

from lightwell.access.commit import Sealed, sealed
from lightwell.dicom.errors import DicomError
from lightwell.dicom.json_model import find_bulk
from lightwell.dicom.part10 import read_meta
from lightwell.dicom.scanner import NeedMore, scan
from lightwell.dicom.uids import syntax_of
from lightwell.dicom.values import swap_words
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal import reading
from lightwell.domain.archive.internal.packing import reading as packed
from lightwell.domain.archive.internal.packing.native import native_of
from lightwell.domain.archive.internal.packing.sources import Source
from lightwell.domain.archive.internal.stock import Stock, entry_known
from lightwell.domain.archive.model import (
    CLASS_CONFLICT,
    NO_SUCH_OBJECT,
    PROCESSING_FAILURE,
    KnownInstance,
    Located,
    Staged,
    Vouched,
)
from lightwell.domain.archive.ports import BlobMissing, Buffer
from lightwell.kernel.errors import LightwellError, Missing

log = logging.getLogger("lightwell.archive")

CHUNK = 1024 * 1024
HEAD = 64 * 1024
SPOOL = 32 << 20  # of a rebuilt object, in memory; more goes to a temporary file


def sealed_before(key: str) -> Sealed:
    """For a duplicate whose first copy was just confirmed whole and durable."""
    return sealed(key)


def digest_of(stock: Stock, kept: KnownInstance, sop_uid: str) -> bytes:
    """SHA-256 of the data set as it comes from the store now. Raises what the store raises, Damaged."""
    digest = hashlib.sha256()
    for piece in _data_set(stock.itself(), kept, sop_uid):
        digest.update(piece)
    return digest.digest()


def _data_set(stock: Stock, kept: KnownInstance, sop_uid: str) -> Iterator[Buffer]:
    if kept.coded is not None:
        entry = entry_known(kept, sop_uid)
        yield from packed.data_set(stock.reader(kept.key), entry, stock.coder)
        return
    position, end = kept.offset + kept.data_offset, kept.offset + kept.length
    while position < end:
        piece = stock.blobs.read(kept.key, position, min(CHUNK, end - position))
        if not piece:
            return
        position += len(piece)
        yield piece


def vouch(stock: Stock, sop_class: str, sop_uid: str, kept: list[KnownInstance]) -> Vouched:
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
        if current.inline or digest_of(stock, current, sop_uid) != current.digest:
            return Vouched(sop_class, sop_uid, PROCESSING_FAILURE)
        if current.sop_class != sop_class:
            return Vouched(sop_class, sop_uid, CLASS_CONFLICT)
    except (LightwellError, OSError) as error:
        log.error("commitment: %s could not be read: %s", sop_uid, type(error).__name__)
        return Vouched(sop_class, sop_uid, PROCESSING_FAILURE)
    return Vouched(sop_class, sop_uid, None)


def same_pixels(
    stock: Stock, rival: KnownInstance, rival_inline: bytes | None, staged: Staged
) -> bool:
    """Whether a second object under one UID has the pixels of the first (syntax included).

    The arrival is read back from where it was staged; a deflated one counts as different, because
    its pixels cannot be compared as bytes. Where the first keeps its native form only, that of the second is
    made, too.
    """
    landed = staged.landed

    def read_staged(offset: int, length: int) -> bytes:
        start = landed.offset + landed.data_offset + offset
        if landed.inline is not None:
            return landed.inline[start : start + length]
        return stock.blobs.read(landed.key, start, length)

    try:
        first = _rival_digest(stock, rival, rival_inline, staged)
        size = landed.length - landed.data_offset
        if rival.kept_sha256 is not None:
            second = _native_digest(stock, staged, size, read_staged)
        else:
            second = _pixel_digest(staged.announced.syntax, size, read_staged)
    except (BlobMissing, Damaged, DicomError):
        return False
    return first is not None and first == second


def _native_digest(
    stock: Stock, staged: Staged, size: int, read: Callable[[int, int], bytes]
) -> tuple[str, bytes] | None:
    """`_pixel_digest` of the native form, against a rival that keeps no other."""
    instance = staged.described.instance if staged.described else None
    source = Source(
        sop_uid=instance.sop_uid if instance else "",
        sop_class=instance.sop_class if instance else "",
        syntax=staged.announced.syntax,
        size=size,
        sha256=staged.landed.sha256,
        read=read,
    )
    native = native_of(source, stock.coder, stock.folder_of(staged.landed.key))
    return _pixel_digest(native.syntax, native.size, native.read)


def _rival_digest(
    stock: Stock, rival: KnownInstance, inline: bytes | None, staged: Staged
) -> tuple[str, bytes] | None:
    if rival.coded is not None:
        uid = staged.described.instance.sop_uid if staged.described else ""
        with tempfile.SpooledTemporaryFile(max_size=SPOOL, dir=stock.folder_of(rival.key)) as whole:
            size = sum(whole.write(piece) for piece in _data_set(stock, rival, uid))

            def read_spooled(offset: int, length: int) -> bytes:
                whole.seek(offset)
                return whole.read(length)

            return _pixel_digest(rival.syntax, size, read_spooled)

    def read_rival(offset: int, length: int) -> bytes:
        start = rival.offset + offset
        if inline is not None:
            return inline[start : start + length]
        return stock.blobs.read(rival.key, start, length)

    meta, _ = read_meta(read_rival(0, rival.data_offset))
    size = rival.length - rival.data_offset
    return _pixel_digest(
        meta.syntax.uid, size, lambda at, length: read_rival(rival.data_offset + at, length)
    )


def _pixel_digest(
    syntax_uid: str, size: int, read: Callable[[int, int], bytes]
) -> tuple[str, bytes] | None:
    """Syntax and SHA-256 of the pixel data; None where there are none that can be compared.

    `read(offset, length)` gives bytes of the data set, which has `size`.
    """
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


def bulk_value(stock: Stock, at: Located, path: str) -> bytes:
    """The bytes of one attribute by the path of its BulkDataURI, little endian. Raises Missing."""
    try:
        header = reading.header_of(stock, at)
        found = find_bulk(header, path)
    except DicomError as error:
        raise Missing("There is no such bulk value.") from error
    if found is None:
        raise Missing("There is no such bulk value.")
    if syntax_of(at.syntax).deflated:
        raw = bytes(header.data[found.offset : found.offset + found.length])
    else:
        size = reading.data_set_length(at)
        raw = reading.span(stock, at, found.offset, min(found.length, size - found.offset))
    return raw if found.word == 1 else bytes(swap_words(raw, found.word))
