"""Chunks of remote objects as files of a local folder: checked at each reading, bounded, disposable.

A file `aa/{key}-{n}` holds chunk n of one object; `{key}` is a digest of the object's key, `aa` its first two
digits. Before the content stands:

    "LWCK", u8 1, 3 zero bytes | u64 n | u32 chunk size | u32 length | u64 length of the object
    16 bytes digest of the key | u32 CRC32C of the content | u32 CRC32C of all this

Files come into being by a rename, so that several processes may share the folder without a lock. None is ever
synced: what a power cut has torn is found out by its sums, and fetched again.

**What goes first.** The file's time is the time of its last use. A new chunk begins as if it had last been
used `LEAD_SECONDS` ago, and only a second use, `AGAIN_SECONDS` later or more, makes it a used one: a whole
series that is read once, chunk by chunk, displaces others that were read once, and not what is looked at
every day. This needs no list in memory, so that it outlives restarts and kills.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c

from lightwell.backends.blobs.space import Room, Watermark, volume_space
from lightwell.domain.archive.ports import StoreBroken

LEAD_SECONDS = 6 * 3600.0
AGAIN_SECONDS = 30.0
TOUCH_SECONDS = 60.0  # a use is noted at most so often
UNFINISHED_SECONDS = 600.0  # a file that a killed writer left under its temporary name

_HEAD = struct.Struct("<4sB3xQIIQ16sII")
_MAGIC, _VERSION = b"LWCK", 1
_UNFINISHED = "."
_BLOCK = 4096  # what a file takes of the volume comes in such steps
_STEPS = 128  # the folder is looked through after each 128th of its bound was written
_MOST, _LEFT = 7 / 8, 3 / 4  # of the bound: above the first it is trimmed to the second
# A process writes two steps at most before it has looked: eight of them stay within the bound.


@dataclass(frozen=True, slots=True)
class Chunk:
    """Content of one chunk, and the length of the whole object."""

    data: bytes = field(repr=False)
    total: int


class ChunkFolder:
    """The files. Thread-safe, and safe beside other processes. No method but the first raises for what
    the disk does: a chunk that cannot be kept is not kept."""

    def __init__(
        self,
        folder: Path,
        limit: int,
        chunk: int,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Keep at most `limit` bytes in `folder`, in chunks of `chunk` bytes. Raises StoreBroken."""
        self.limit = limit
        self.damaged = 0
        self.evicted = 0
        self._root = str(folder)
        self._chunk = chunk
        self._now = now
        self._watermark = Watermark()
        self._lock = threading.Lock()
        self._unseen = limit // _STEPS  # bytes written since the folder was looked through
        self._trimming: threading.Thread | None = None
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreBroken(f"The cache folder {folder}: {error.strerror}.") from error

    def get(self, key: str, number: int) -> Chunk | None:
        """A chunk that is whole; None for one that is not here. A damaged one is removed."""
        digest = _digest(key)
        path = self._path(digest, number)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            found = self._checked(descriptor, digest, number)
            if found is not None:
                self._note_use(descriptor)
                return found
        except OSError:
            pass
        finally:
            os.close(descriptor)
        self._add(damaged=1)
        _remove(path)
        return None

    def put(self, key: str, number: int, chunk: Chunk) -> None:
        """Keep a chunk, if there is room for it."""
        digest = _digest(key)
        path = self._path(digest, number)
        fresh = f"{os.path.dirname(path)}/{_UNFINISHED}{secrets.token_hex(8)}"
        crc = int(google_crc32c.value(chunk.data))
        size = len(chunk.data)
        head = _HEAD.pack(_MAGIC, _VERSION, number, self._chunk, size, chunk.total, digest, crc, 0)[
            :-4
        ]
        head += int(google_crc32c.value(head)).to_bytes(4, "little")
        try:
            if self._unseen > 2 * (self.limit // _STEPS) or self._crowded():
                self._trim_soon()
                return
            os.makedirs(
                os.path.dirname(path), 0o700, exist_ok=True
            )  # or somebody emptied the cache
            self._write(fresh, (head, chunk.data))
            os.rename(fresh, path)
            # Only now: an unfinished file of that age would be swept as one that a kill left.
            moment = self._now() - LEAD_SECONDS
            os.utime(path, (moment, moment))
        except OSError:
            _remove(fresh)
            return
        with self._lock:
            self._unseen += _taken(len(head) + size)
            due = self._unseen > self.limit // _STEPS
        if due:
            self._trim_soon()

    def drop(self, key: str) -> None:
        """Remove every chunk of an object."""
        name = _digest(key).hex()
        for path, file in _files(f"{self._root}/{name[:2]}"):
            if file.startswith(f"{name}-"):
                _remove(path)

    def trim(self) -> int:
        """Remove what was used longest ago until the folder is within its bound; the bytes left.

        On a volume that is nearly full, half of it goes: images come first.
        """
        with self._lock:
            self._unseen = 0
        now = self._now()
        kept: list[tuple[float, int, str]] = []
        for number in range(256):
            for path, file in _files(f"{self._root}/{number:02x}"):
                with contextlib.suppress(OSError):
                    found = os.lstat(path)
                    if not file.startswith(_UNFINISHED):
                        kept.append((found.st_mtime, _taken(found.st_size), path))
                    elif now - found.st_mtime > UNFINISHED_SECONDS:
                        _remove(path)
        total = sum(size for _, size, _ in kept)
        goal = int(self.limit * _LEFT) if total > self.limit * _MOST else total
        if self._crowded():
            goal = min(goal, total // 2)
        gone = 0
        for _, size, path in sorted(kept):
            if total <= goal:
                break
            _remove(path)
            total -= size
            gone += 1
        self._add(evicted=gone)
        return total

    def close(self) -> None:
        """Wait for a trimming under way."""
        with self._lock:
            trimming = self._trimming
        if trimming is not None:
            trimming.join()

    # -- inside --------------------------------------------------------------------------------

    def _path(self, digest: bytes, number: int) -> str:
        name = digest.hex()
        return f"{self._root}/{name[:2]}/{name}-{number:x}"

    def _checked(self, descriptor: int, digest: bytes, number: int) -> Chunk | None:
        head = os.pread(descriptor, _HEAD.size, 0)
        if len(head) != _HEAD.size:
            return None
        magic, version, said, chunk, length, total, whose, crc, head_crc = _HEAD.unpack(head)
        if (magic, version, said, chunk, whose) != (_MAGIC, _VERSION, number, self._chunk, digest):
            return None
        if int(google_crc32c.value(head[:-4])) != head_crc:
            return None
        if length != min(self._chunk, total - number * self._chunk):
            return None
        data = os.pread(descriptor, length, _HEAD.size)
        if len(data) != length or int(google_crc32c.value(data)) != crc:
            return None
        return Chunk(data, total)

    def _write(self, path: str, parts: tuple[bytes, bytes]) -> None:
        """A file that is not yet seen."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if os.writev(descriptor, parts) != sum(len(part) for part in parts):
                raise OSError(errno.EIO, "a chunk was not written to its end")
        finally:
            os.close(descriptor)

    def _note_use(self, descriptor: int) -> None:
        now = self._now()
        age = now - os.fstat(descriptor).st_mtime
        if age > TOUCH_SECONDS and not LEAD_SECONDS <= age < LEAD_SECONDS + AGAIN_SECONDS:
            with contextlib.suppress(OSError):
                os.utime(descriptor, (now, now))

    def _crowded(self) -> bool:
        try:
            return self._watermark.level(volume_space(self._root)) >= Room.NO_BULK
        except OSError:
            return False

    def _trim_soon(self) -> None:
        """In a thread of its own, one at a time: no reader waits for it."""
        with self._lock:
            if self._trimming is not None and self._trimming.is_alive():
                return
            self._trimming = threading.Thread(target=self.trim, name="cache-trim", daemon=True)
            self._trimming.start()

    def _add(self, *, damaged: int = 0, evicted: int = 0) -> None:
        with self._lock:
            self.damaged += damaged
            self.evicted += evicted


def default_limit(folder: Path) -> int:
    """A twentieth of the folder's volume, at most 16 GiB. The folder need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return min(volume_space(folder).total // 20, 16 << 30)


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=16).digest()


def _taken(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _files(folder: str) -> Iterator[tuple[str, str]]:
    """Path and name of what lies in a folder."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            yield entry.path, entry.name


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
