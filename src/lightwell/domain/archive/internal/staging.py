"""Staging: bytes stream through hash and checksum to their place, the header is read in passing.

Local stores are written under the final random key from the first byte, so that file sync and commit
may overlap (architecture 4). Objects up to `INLINE_LIMIT` stay in memory and go into the database
row. Memory: the header (bounded by the scanner's limits) and nothing else, however large the object.

The landed form is a Part 10 file whose data set is exactly what was received. Its file meta header
carries the arrival facts, among them the digest, which is known only at the end: it is patched in.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import uuid
from datetime import datetime

import google_crc32c

from lightwell.access.commit import Sealed, sealed
from lightwell.access.context import Tenant
from lightwell.dicom.errors import DicomError, LimitExceeded
from lightwell.dicom.part10 import write_meta
from lightwell.domain.archive.errors import TooLarge, Unreadable
from lightwell.domain.archive.internal.describing import Describer
from lightwell.domain.archive.internal.reading_header import HeaderReader
from lightwell.domain.archive.keys import LANDED, blob_key
from lightwell.domain.archive.model import INLINE_LIMIT, Announced, Landed, Staged
from lightwell.domain.archive.ports import BlobSink, BlobStore, Buffer
from lightwell.kernel.clock import Clock
from lightwell.kernel.crashpoints import reach
from lightwell.kernel.errors import LightwellError

OBJECT_LIMIT = 16 * 1024**3  # reliability 3.11
PRIVATE_CREATOR = "2.25.190338617364421553930424806347261205907"  # of (0002,0102) below
_DIGEST_PLACE = "0" * 64
_FACTS_VERSION = 1


def arrival_facts(announced: Announced, received: datetime) -> bytes:
    """The JSON in Private Information (0002,0102): what `reindex` needs and the data set lacks."""
    facts = {
        "v": _FACTS_VERSION,
        "received": received.isoformat(),
        "source": announced.source,
        "called": announced.called,
        "issuer": announced.issuer,
        "outside": announced.outside,
        "sha256": _DIGEST_PLACE,
    }
    return json.dumps(facts, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def read_arrival_facts(raw: bytes) -> dict[str, object] | None:
    """The facts of a landed object; None when they are not ours or not whole."""
    try:
        facts = json.loads(raw.rstrip(b"\0 "))
    except ValueError:
        return None
    return facts if isinstance(facts, dict) and facts.get("v") == _FACTS_VERSION else None


class StagingWriter:
    """One object on its way in. Used by one thread at a time.

    `write` as often as needed, `finish` once, then `seal` while (or before) the row is committed;
    `discard` in every other case.
    """

    def __init__(
        self,
        blobs: BlobStore,
        tenant: Tenant,
        announced: Announced,
        describer: Describer,
        clock: Clock,
        *,
        blob_id: uuid.UUID,
        limit: int = OBJECT_LIMIT,
    ) -> None:
        self.announced = announced
        self._blobs = blobs
        self._tenant = tenant
        self._describer = describer
        self._limit = limit
        self._received = announced.received or clock.now()
        self._blob_id = blob_id
        self._key = blob_key(tenant.region, tenant.name, LANDED, self._blob_id)
        self._sha256 = hashlib.sha256()
        self._crc = 0
        self._meta = write_meta(
            announced.sop_class or "",
            announced.sop_uid or "",
            announced.syntax,
            source_ae=announced.source[:16],
            sending_ae=announced.source[:16],
            receiving_ae=announced.called[:16],
            private=arrival_facts(announced, self._received),
            private_creator_uid=PRIVATE_CREATOR,
        )
        self._digest_at = self._meta.index(_DIGEST_PLACE.encode())
        self._pending: bytearray | None = bytearray()
        self._sink: BlobSink | None = None
        self._length = 0
        self._sealed = False
        self._header = HeaderReader(announced.syntax)
        self._unreadable: DicomError | None = None

    @property
    def length(self) -> int:
        """Bytes of the data set so far."""
        return self._length

    def write(self, chunk: Buffer) -> None:
        """Take the next bytes of the data set; the buffer may be reused afterwards.

        Raises TooLarge, StoreFull, StoreUnavailable, StoreBroken. A header that cannot be read is
        not raised here: the bytes are kept, and `finish` says so.
        """
        if self._length == 0:
            reach("k1")
        size = len(chunk)
        self._length += size
        if self._length > self._limit:
            raise TooLarge(f"The object is larger than {self._limit} bytes.")
        self._sha256.update(chunk)
        self._crc = google_crc32c.extend(self._crc, bytes(chunk))  # it takes nothing but bytes
        if self._pending is not None:
            if self._length <= INLINE_LIMIT:
                self._pending += chunk
            else:
                self._open_sink()
        if self._sink is not None:
            self._sink.write(chunk)
        if self._unreadable is None:
            try:
                self._header.feed(chunk)
            except DicomError as error:
                self._unreadable = error

    def _open_sink(self) -> None:
        """The object outgrew the inline limit: from here on bytes go to the store."""
        pending, self._pending = self._pending, None
        self._sink = self._blobs.begin(self._key)
        self._sink.write(self._meta)
        if pending:
            self._sink.write(bytes(pending))

    def finish(self) -> Staged:
        """The object is complete: what it is, as far as it can be read.

        Raises StoreFull, StoreUnavailable, StoreBroken, TooLarge (an inflation bomb).
        """
        digest = self._sha256.digest()
        hexadecimal = digest.hex().encode()
        inline: bytes | None = None
        if self._sink is not None:
            self._sink.patch(self._digest_at, hexadecimal)
        else:
            meta = bytearray(self._meta)
            meta[self._digest_at : self._digest_at + 64] = hexadecimal
            inline = bytes(meta + (self._pending or b""))
        landed = Landed(
            blob_id=self._blob_id,
            key=self._key,
            offset=0,
            length=len(self._meta) + self._length,
            data_offset=len(self._meta),
            sha256=digest,
            crc32c=self._crc,
            inline=inline,
        )
        try:
            if self._unreadable is not None:
                raise self._unreadable
            described = self._describer.describe(self._header.finish(), self.announced)
        except LimitExceeded as error:
            raise TooLarge(str(error)) from error
        except (DicomError, Unreadable) as error:
            return Staged(self.announced, landed, self._received, None, str(error))
        reach("k2")
        return Staged(self.announced, landed, self._received, described)

    def seal(self) -> Sealed:
        """Make the bytes durable (inline bytes are made so by the commit itself).

        Raises StoreFull, StoreUnavailable, StoreBroken: the object is then lost and must not be
        acknowledged.
        """
        reach("k4")
        if self._sink is not None:
            self._sink.seal()
            self._sealed = True
        reach("k5")
        return sealed(self._key)

    def drop(self) -> None:
        """Take back what was staged, durable or not: no row points to it. Never raises.

        What cannot be removed now is an orphan like any other.
        """
        if not self._sealed:
            self.discard()
            return
        with contextlib.suppress(LightwellError, OSError):
            self._blobs.delete(self._key)

    def discard(self) -> None:
        """Give up. May be called at any time, twice, and after a failure."""
        if self._sink is not None:
            self._sink.discard()
