"""Objects in a bucket of any S3 server, through obstore's blocking calls in the calling thread.

A sink collects in memory, beyond 1 MiB in an unlinked file of the staging folder, and uploads when
sealed: one conditional PUT up to 8 MiB, a multipart upload above, each with a SHA-256 that the
server checks. The upload is then asked for its length. Nothing is promised earlier.

Not for use across `fork`: the client has threads of its own. Open the store in the process that
uses it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, cast

import obstore
from obstore.store import S3Store

from lightwell.backends.blobs.keys import (
    checked_key,
    checked_patch,
    checked_prefix,
    checked_range,
    dead_text,
    exists_text,
    is_below,
    is_key,
    short_text,
)
from lightwell.backends.blobs.retrying import Breaker, Retry
from lightwell.backends.blobs.s3_faults import RangeBeyondEnd, in_words_of_the_port
from lightwell.backends.blobs.s3_settings import S3Settings
from lightwell.backends.blobs.space import FULL_ERRORS, Room, Watermark, volume_space
from lightwell.domain.archive.ports import (
    BlobExists,
    BlobInfo,
    BlobMissing,
    Buffer,
    FreeSpace,
    StoreBroken,
    StoreFull,
)
from lightwell.kernel.errors import LightwellError

log = logging.getLogger(__name__)

MEMORY_BYTES = 1024 * 1024
"""An object up to this size never touches the staging folder."""
PART_BYTES = 8 * 1024 * 1024
"""One PUT up to here, then parts of this size: 10,000 of them reach 78 GiB."""
PARTS_AT_ONCE = 2
_ATTEMPT_SECONDS = 2.4
_UPLOAD_SECONDS = 20.0
_UPLOAD_DEADLINE = 45.0


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the server can do beyond the bare minimum."""

    checksum: bool  # verifies x-amz-checksum-sha256
    conditional_create: bool  # If-None-Match: *


class BucketStore:
    """A `BlobStore` in an S3 bucket. Thread-safe."""

    quick = False

    def __init__(self, settings: S3Settings, staging: Path, *, reserve: int = 0) -> None:
        """Prepare clients and the staging folder; no request is made before `examine`.

        `reserve`: bytes of the staging volume that sinks may not use.
        """
        self._settings = settings
        self._staging = staging
        self._watermark = Watermark(reserve=reserve)
        try:
            staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreBroken(f"The staging folder {staging}: {error.strerror}.") from error
        self.breaker = Breaker()
        self._retry = Retry(self.breaker, attempt=_ATTEMPT_SECONDS)
        self._upload_retry = Retry(self.breaker, deadline=_UPLOAD_DEADLINE, attempt=_UPLOAD_SECONDS)
        self._asked = _Asked()
        self._use(Capabilities(checksum=True, conditional_create=True))

    def _use(self, capabilities: Capabilities) -> None:
        """Three clients: obstore fixes timeouts for a client's life, and a large upload needs more."""
        self.capabilities = capabilities
        self._client = self._make_client(_ATTEMPT_SECONDS)
        self._upload_client = self._make_client(_UPLOAD_SECONDS)
        # Pages of a listing and parts of an upload are asked inside obstore: it retries them.
        self._inner_client = self._make_client(_UPLOAD_SECONDS, retries=3)

    def _make_client(self, seconds: float, *, retries: int = 0) -> S3Store:
        settings = self._settings
        return S3Store(
            settings.bucket,
            prefix=settings.prefix or None,
            config=settings.configuration(checksum=self.capabilities.checksum),
            client_options={
                **settings.client_options(),
                "connect_timeout": timedelta(seconds=min(seconds, 2.0)),
                "read_timeout": timedelta(seconds=seconds),
                "timeout": timedelta(seconds=300),
            },
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=_UPLOAD_DEADLINE),
                "backoff": {"init_backoff": timedelta(milliseconds=100)},
            },
        )

    # -- the port ------------------------------------------------------------------------------

    def begin(self, key: str) -> BucketSink:
        checked_key(key)
        if self._watermark.level(volume_space(self._staging)) is Room.NONE:
            raise StoreFull(f"The volume of {self._staging} is full: nothing was kept.")
        return BucketSink(key, self, self._staging)

    def put(self, key: str, data: Buffer, *, replace: bool = False) -> None:
        checked_key(key)
        view = memoryview(data).cast("B")
        if replace:
            self._retry_for(len(view)).call(lambda attempt: self._put(key, view, replace=True))
            self._check_length(key, len(view))
            return
        with closing(self.begin(key)) as sink:
            sink.write(view)
            sink.seal()

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        checked_key(key)
        checked_range(offset, length)
        return bytes(self._retry.call(lambda attempt: self._get(key, offset, length)))

    def read_into(self, key: str, offset: int, target: memoryview) -> None:
        checked_key(key)
        checked_range(offset, None)
        flat = target.cast("B")
        flat[:] = self._retry.call(lambda attempt: self._get(key, offset, len(flat)))

    def fetch(self, key: str, offset: int, length: int) -> tuple[bytes, int]:
        """See `cached.Fetching`."""
        checked_key(key)
        checked_range(offset, length)
        return self._retry.call(lambda attempt: self._get_some(key, offset, length))

    def length(self, key: str) -> int:
        checked_key(key)
        return self._retry.call(lambda attempt: self._head(key))

    def confirm(self, key: str, length: int) -> None:
        """A bucket has no half-written objects: what is listed under a key is durable and whole."""
        self._check_length(checked_key(key), length)

    def delete(self, key: str) -> None:
        checked_key(key)

        def remove(attempt: int) -> None:
            self._asked.add("deletes")
            with suppress(BlobMissing), in_words_of_the_port("delete", key):
                obstore.delete(self._client, key)

        self._retry.call(remove)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        return self._list(checked_prefix(prefix))

    def probe(self) -> None:
        key = f"probe/{secrets.token_hex(16)}"
        data = secrets.token_bytes(64)
        try:
            self.put(key, data)
            if self.read(key) != data:
                raise StoreBroken("The object store gives back other bytes than it took.")
        except BaseException:
            with suppress(LightwellError):  # the first failure is the one to tell
                self.delete(key)
            raise
        self.delete(key)

    def sweep(self, older_than_seconds: float) -> int:
        """Staging files have no name while in use; this is for what a crash between two calls left.

        Parts of an upload that died belong to the bucket: give it a lifecycle rule for them.
        """
        newest = time.time() - older_than_seconds
        removed = 0
        for path in self._staging.glob(f"{_STAGED}*"):
            with suppress(FileNotFoundError):
                if path.lstat().st_mtime <= newest:
                    path.unlink()
                    removed += 1
        return removed

    def free(self) -> FreeSpace | None:
        return None

    def itself(self) -> BucketStore:
        return self

    def numbers(self) -> Mapping[str, int]:
        """Requests made, tries that failed too; those that obstore repeats by itself count once."""
        return self._asked.totals()

    def close(self) -> None:
        """Nothing to give back: the client closes idle connections by itself."""

    # -- what the server can do ----------------------------------------------------------------

    def examine(self) -> Capabilities:
        """Try everything that is needed with one object, and find out what else the server can.

        Raises StoreBroken, saying what failed, when the bucket is of no use to us; StoreUnavailable
        when it does not answer.
        """
        key = f"probe/{secrets.token_hex(16)}"
        data = secrets.token_bytes(300)
        view = memoryview(data)
        try:
            self._find_checksum(key, view)
            self._find_conditional_create(key, view)
            _require(self.read(key) == data, "read back what was put")
            _require(self.read(key, 100, 50) == data[100:150], "read a range of bytes")
            listed = {info.key: info.length for info in self.list("probe")}
            _require(listed.get(key) == len(data), "list what was put")
        except BaseException:
            with suppress(LightwellError):  # the first failure is the one to tell
                self.delete(key)
            raise
        self.delete(key)
        log.info("object store %s: %s", self._settings.bucket, self.capabilities)
        return self.capabilities

    def _find_checksum(self, key: str, view: memoryview) -> None:
        def overwrite(attempt: int) -> None:
            self._put(key, view, replace=True)

        try:
            self._retry.call(overwrite)
        except StoreBroken as first:
            self._use(Capabilities(checksum=False, conditional_create=True))
            try:
                self._retry.call(overwrite)
            except StoreBroken:
                raise first from None
            log.warning("the object store takes no SHA-256 checksum; the signature covers the body")

    def _find_conditional_create(self, key: str, view: memoryview) -> None:
        try:
            self._retry.call(lambda attempt: self._put(key, view, replace=False))
        except BlobExists:
            return
        except StoreBroken:
            log.warning("the object store refuses conditional creation; keys are looked up instead")
        else:
            log.warning("the object store ignores conditional creation; keys are looked up instead")
        self._use(Capabilities(self.capabilities.checksum, conditional_create=False))

    # -- one request each ----------------------------------------------------------------------

    def _retry_for(self, size: int) -> Retry:
        return self._retry if size <= MEMORY_BYTES else self._upload_retry

    def _put(self, key: str, view: memoryview, *, replace: bool) -> None:
        client = self._client if len(view) <= MEMORY_BYTES else self._upload_client
        create = not replace and self.capabilities.conditional_create
        self._asked.add("puts", sent=len(view))
        with in_words_of_the_port("store", key, writing=True):
            obstore.put(
                client,
                key,
                view,
                mode="create" if create else "overwrite",
                use_multipart=False,
            )

    def _get(self, key: str, offset: int, length: int | None) -> Buffer:
        if length == 0:
            return self._nothing_at(key, offset)
        self._asked.add("gets")
        try:
            with in_words_of_the_port("read", key):
                if length is None:
                    whole = obstore.get(self._client, key, options={"range": {"offset": offset}})
                    return memoryview(whole.bytes())
                data = memoryview(obstore.get_range(self._client, key, start=offset, length=length))
        except RangeBeyondEnd:
            if length is None:
                return self._nothing_at(key, offset)
            raise StoreBroken(short_text(key, offset + length, self._head(key))) from None
        if len(data) != length:
            raise StoreBroken(short_text(key, offset + length, offset + len(data)))
        return data

    def _get_some(self, key: str, offset: int, length: int) -> tuple[bytes, int]:
        self._asked.add("gets")
        try:
            with in_words_of_the_port("read", key):
                found = obstore.get(self._client, key, options={"range": (offset, offset + length)})
                total = found.meta["size"]
                data = found.bytes().to_bytes()
        except RangeBeyondEnd:
            return b"", self._head(key)
        if len(data) != min(length, total - offset):
            raise StoreBroken(short_text(key, offset + length, offset + len(data)))
        return data, total

    def _nothing_at(self, key: str, offset: int) -> bytes:
        """An empty range, which S3 cannot express: all there is to check is that it lies inside."""
        size = self._head(key)
        if offset > size:
            raise StoreBroken(short_text(key, offset, size))
        return b""

    def _head(self, key: str) -> int:
        self._asked.add("heads")
        with in_words_of_the_port("look up", key):
            return obstore.head(self._client, key)["size"]

    def _list(self, prefix: str) -> Iterator[BlobInfo]:
        with in_words_of_the_port("list", prefix):
            for page in obstore.list(self._inner_client, prefix or None, chunk_size=1000):
                self._asked.add("lists")
                for entry in page:
                    if is_below(entry["path"], prefix) and is_key(entry["path"]):
                        yield BlobInfo(entry["path"], entry["size"], entry["last_modified"])

    def _check_length(self, key: str, length: int) -> None:
        found = self.length(key)
        if found != length:
            raise StoreBroken(short_text(key, length, found))

    # -- for the sinks -------------------------------------------------------------------------

    def upload(self, key: str, body: IO[bytes], length: int) -> None:
        """Create the object from the whole of `body`, durably. BlobExists when the key is taken."""
        if length <= PART_BYTES:
            body.seek(0)
            view = memoryview(body.read())
            self._retry_for(length).call(lambda attempt: self._create(key, view, attempt))
        else:
            self._retry.call(lambda attempt: self._require_absent(key))
            self._upload_retry.call(lambda attempt: self._put_in_parts(key, body))
        self._check_length(key, length)

    def _create(self, key: str, view: memoryview, attempt: int) -> None:
        if not self.capabilities.conditional_create and attempt == 1:
            self._require_absent(key)
        try:
            self._put(key, view, replace=False)
        except BlobExists:
            # A first attempt may have stored it although its answer was lost.
            if attempt == 1 or _digest(self._get(key, 0, None)) != _digest(view):
                raise

    def _require_absent(self, key: str) -> None:
        with suppress(BlobMissing):
            self._head(key)
            raise BlobExists(exists_text(key))

    def _put_in_parts(self, key: str, body: IO[bytes]) -> None:
        size = body.seek(0, os.SEEK_END)
        body.seek(0)
        # Begin and end of a multipart upload are requests as its parts are.
        self._asked.add("puts", -(-size // PART_BYTES) + 2, sent=size)
        with in_words_of_the_port("store", key, writing=True):
            obstore.put(
                self._inner_client,
                key,
                body,
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )


class _Asked:
    """Requests by kind, as a bill counts them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals = dict.fromkeys(("puts", "gets", "heads", "deletes", "lists", "sent_bytes"), 0)

    def add(self, kind: str, count: int = 1, *, sent: int = 0) -> None:
        with self._lock:
            self._totals[kind] += count
            self._totals["sent_bytes"] += sent

    def totals(self) -> dict[str, int]:
        with self._lock:
            return {f"store_{kind}": count for kind, count in self._totals.items()}


_STAGED = "object-"


class BucketSink:
    """A `BlobSink` that uploads when it is sealed."""

    __slots__ = ("_body", "_store", "key", "length")

    def __init__(self, key: str, store: BucketStore, staging: Path) -> None:
        self.key = key
        self.length = 0
        self._store = store
        self._body: IO[bytes] | None = cast(
            "IO[bytes]",
            tempfile.SpooledTemporaryFile(  # noqa: SIM115 - closed by discard, as every sink is
                max_size=MEMORY_BYTES, prefix=_STAGED, dir=str(staging)
            ),
        )

    def write(self, chunk: Buffer) -> None:
        body = self._open()
        view = memoryview(chunk).cast("B")
        try:
            body.write(view)
        except OSError as error:
            raise _staging_failed(error) from error
        self.length += len(view)

    def patch(self, offset: int, data: bytes) -> None:
        body = self._open()
        checked_patch(offset, len(data), self.length)
        try:
            body.seek(offset)
            body.write(data)
            body.seek(0, os.SEEK_END)
        except OSError as error:
            raise _staging_failed(error) from error

    def seal(self) -> None:
        """Upload, and ask for the length.

        After a timeout the object may yet appear. It is left to the orphan sweeper: removing it here
        could take away what somebody else has put under that key.
        """
        body = self._open()
        try:
            body.flush()
            self._store.upload(self.key, body, self.length)
        except OSError as error:
            raise _staging_failed(error) from error
        finally:
            self.discard()

    def discard(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            with suppress(OSError):  # a failed last flush of bytes that nobody wants
                body.close()

    close = discard

    def _open(self) -> IO[bytes]:
        if self._body is None:
            raise StoreBroken(dead_text(self.key))
        return self._body


def _staging_failed(error: OSError) -> StoreFull | StoreBroken:
    kind = StoreFull if error.errno in FULL_ERRORS else StoreBroken
    return kind(f"The staging folder cannot take the object: {error.strerror}.")


def _digest(data: Buffer) -> bytes:
    return hashlib.sha256(data).digest()


def _require(held: bool, what: str) -> None:
    if not held:
        raise StoreBroken(
            f"The object store cannot {what}; lightwell cannot keep images in it.",
            remedy="Use a server with the full S3 object interface.",
        )
