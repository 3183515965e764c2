"""Objects as files in a local folder: durable when `seal` returns, and at no moment half-replaced.

An object is written under its final random key from the first byte, so sealing is two syncs (file,
folder) and no rename: nothing is ever replaced, and a key without a row is garbage for the sweeper.

Three rules that are easy to lose:

* After a failed fsync the file is never synced again. The kernel reports a lost page once; the
  second fsync says success for bytes that are gone. The file is unlinked and the caller told.
* A writer holds an exclusive `flock` until its file is sealed or unlinked; `confirm` takes a shared
  one. Without it, a confirmation could open the file between a failed fsync and the unlink, sync it
  "successfully", and vouch for lost bytes. The kernel drops the lock of a killed writer.
* A folder's own entry must be durable too. Folders made by us, or found and not yet known to be
  safe, have their parent synced before the first object in them counts.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from lightwell.backends.blobs.keys import (
    checked_key,
    checked_patch,
    checked_prefix,
    checked_range,
    dead_text,
    exists_text,
    is_key,
    missing_text,
    short_text,
)
from lightwell.backends.blobs.space import FULL_ERRORS, Room, Watermark, volume_space
from lightwell.domain.archive.ports import (
    BlobExists,
    BlobInfo,
    BlobMissing,
    Buffer,
    FreeSpace,
    StoreBroken,
    StoreFull,
    StoreUnavailable,
)
from lightwell.kernel.errors import LightwellError

log = logging.getLogger(__name__)

STAGING = ".staging"  # no key begins with a dot
CONFIRM_SECONDS = 5.0
_TEMPORARY = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ETIMEDOUT, errno.ESTALE}
)
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_KNOWN_LIMIT = 200_000  # folder names remembered as durable; forgetting costs one sync each


class LocalStore:
    """A `BlobStore` in one folder. Thread-safe, and safe beside other processes on that folder."""

    quick = True

    def __init__(self, root: Path, *, reserve: int = 0) -> None:
        """Use `root`, made with mode 0700 if missing; an existing folder's mode is left alone.

        `reserve`: bytes of the volume that objects may not use. Raises StoreBroken.
        """
        self._root = str(root.absolute())
        self._folders = _Folders(self._root)
        self._watermark = Watermark(reserve=reserve)
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            Path(self._root, STAGING).mkdir(mode=0o700, exist_ok=True)
            _sync_folder(os.path.dirname(self._root))
        except OSError as error:
            _raise(error, f"The object folder {self._root} cannot be used")

    def begin(self, key: str) -> LocalSink:
        path = self._path(key)
        self._require_room()
        try:
            descriptor = self._create(path)
        except FileExistsError as error:
            raise BlobExists(exists_text(key)) from error
        except OSError as error:
            _raise(error, f"The object {key} cannot be created")
        return LocalSink(key, path, descriptor, self._folders)

    def put(self, key: str, data: Buffer, *, replace: bool = False) -> None:
        if replace:
            self._replace(key, data)
            return
        sink = self.begin(key)
        try:
            sink.write(data)
            sink.seal()
        except BaseException:
            sink.discard()
            raise

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        checked_range(offset, length)
        descriptor, size = self._open(key)
        try:
            end = max(size, offset) if length is None else offset + length
            if end > size:  # before the memory for it is asked for
                raise StoreBroken(short_text(key, end, size))
            length = end - offset
            data = os.pread(descriptor, length, offset)
            if len(data) == length:  # one copy, one call; only huge reads come in parts
                return data
            whole = bytearray(length)
            whole[: len(data)] = data
            _fill(descriptor, memoryview(whole)[len(data) :], offset + len(data), key)
            return bytes(whole)
        except OSError as error:
            _raise(error, f"The object {key} cannot be read")
        finally:
            os.close(descriptor)

    def read_into(self, key: str, offset: int, target: memoryview) -> None:
        checked_range(offset, None)
        descriptor, _ = self._open(key)
        try:
            _fill(descriptor, target.cast("B"), offset, key)
        except OSError as error:
            _raise(error, f"The object {key} cannot be read")
        finally:
            os.close(descriptor)

    def length(self, key: str) -> int:
        try:
            found = os.lstat(self._path(key))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BlobMissing(missing_text(key)) from error
        except OSError as error:
            _raise(error, f"The object {key} cannot be examined")
        if not stat.S_ISREG(found.st_mode):
            raise BlobMissing(missing_text(key))
        return found.st_size

    def confirm(self, key: str, length: int) -> None:
        descriptor, _ = self._open(key)
        try:
            self._wait_for_writer(descriptor, key)
            found = os.fstat(descriptor)
            if found.st_nlink == 0:  # its writer failed while we waited
                raise BlobMissing(missing_text(key))
            if found.st_size != length:
                raise StoreBroken(short_text(key, length, found.st_size))
            _sync(descriptor)
            self._folders.make_durable(os.path.dirname(self._path(key)))
        except OSError as error:
            _raise(error, f"The object {key} cannot be made durable")
        finally:
            os.close(descriptor)

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            os.unlink(path)
            _sync_folder(os.path.dirname(path))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            _raise(error, f"The object {key} cannot be removed")

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        trimmed = checked_prefix(prefix)
        start = f"{self._root}/{trimmed}" if trimmed else self._root
        return self._walk(start)

    def probe(self) -> None:
        key = f"probe/{secrets.token_hex(16)}"
        data = secrets.token_bytes(64)
        try:
            self.put(key, data)
            if self.read(key) != data:
                raise StoreBroken(f"The folder {self._root} gives back other bytes than it took.")
        except BaseException:
            with contextlib.suppress(LightwellError):  # the first failure is the one to tell
                self.delete(key)
            raise
        self.delete(key)

    def sweep(self, older_than_seconds: float) -> int:
        newest = time.time() - older_than_seconds
        removed = 0
        with os.scandir(f"{self._root}/{STAGING}") as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # another sweeper was faster
                    if entry.stat(follow_symlinks=False).st_mtime <= newest:
                        os.unlink(entry.path)
                        removed += 1
        return removed

    def free(self) -> FreeSpace:
        try:
            return volume_space(self._root)
        except OSError as error:
            _raise(error, f"The object folder {self._root} cannot be examined")

    def room(self) -> Room:
        """How much may still be written here; bulk work stops one step before the doors do."""
        return self._watermark.level(self.free())

    def itself(self) -> LocalStore:
        return self

    def numbers(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        """Nothing is kept open between calls."""

    # -- inside --------------------------------------------------------------------------------

    def _path(self, key: str) -> str:
        return f"{self._root}/{checked_key(key)}"

    def _require_room(self) -> None:
        if self.room() is Room.NONE:
            raise StoreFull(
                f"The volume of {self._root} is full up to its reserve: nothing was kept.",
                remedy="Free some space; writing goes on by itself below 93 %.",
            )

    def _create(self, path: str) -> int:
        try:
            descriptor = os.open(path, _CREATE, 0o600)
        except FileNotFoundError:
            self._folders.make(os.path.dirname(path))
            descriptor = os.open(path, _CREATE, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            os.unlink(path)
            os.close(descriptor)
            raise
        return descriptor

    def _replace(self, key: str, data: Buffer) -> None:
        """Write new, sync, rename, sync the folder: a reader sees the old bytes or the new ones."""
        path = self._path(key)
        self._require_room()
        fresh = f"{self._root}/{STAGING}/{secrets.token_hex(16)}"
        try:
            descriptor = os.open(fresh, _CREATE, 0o600)
            try:
                _write_all(descriptor, memoryview(data).cast("B"))
                _sync(descriptor)
                self._folders.make(os.path.dirname(path))
                os.replace(fresh, path)
            except BaseException:
                _unlink_if_there(fresh)
                raise
            finally:
                os.close(descriptor)
            self._folders.make_durable(os.path.dirname(path))
        except OSError as error:
            _raise(error, f"The object {key} cannot be replaced")

    def _open(self, key: str) -> tuple[int, int]:
        """A descriptor for reading, and the size now."""
        try:
            descriptor = os.open(self._path(key), _OPEN)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BlobMissing(missing_text(key)) from error
        except OSError as error:
            _raise(error, f"The object {key} cannot be opened")
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise BlobMissing(missing_text(key))
        return descriptor, found.st_size

    def _wait_for_writer(self, descriptor: int, key: str) -> None:
        deadline = time.monotonic() + CONFIRM_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreUnavailable(f"The object {key} is still being written.") from None
                time.sleep(0.005)  # flock has no timeout of its own
            else:
                return

    def _walk(self, folder: str) -> Iterator[BlobInfo]:
        try:
            entries = os.scandir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            _raise(error, f"The object folder {folder} cannot be listed")
        with entries:
            for entry in entries:
                if not is_key(entry.name):  # staging, and what others have put here
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield from self._walk(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    with contextlib.suppress(FileNotFoundError):  # removed while we looked
                        yield self._info(entry)

    def _info(self, entry: os.DirEntry[str]) -> BlobInfo:
        found = entry.stat(follow_symlinks=False)
        key = entry.path[len(self._root) + 1 :]
        return BlobInfo(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))


class LocalSink:
    """A `BlobSink` on an open file that already bears its final name."""

    __slots__ = ("_descriptor", "_folders", "_path", "key", "length")

    def __init__(self, key: str, path: str, descriptor: int, folders: _Folders) -> None:
        self.key = key
        self.length = 0
        self._path = path
        self._descriptor = descriptor
        self._folders = folders

    def write(self, chunk: Buffer) -> None:
        self._require_open()
        view = memoryview(chunk).cast("B")
        try:
            _write_all(self._descriptor, view)
        except OSError as error:
            _raise(error, f"The object {self.key} cannot be written")
        self.length += len(view)

    def patch(self, offset: int, data: bytes) -> None:
        self._require_open()
        checked_patch(offset, len(data), self.length)
        try:
            written = os.pwrite(self._descriptor, data, offset)
        except OSError as error:
            _raise(error, f"The object {self.key} cannot be patched")
        if written != len(data):
            raise StoreFull(f"The object {self.key} could only be patched in part.")

    def seal(self) -> None:
        self._require_open()
        try:
            _sync(self._descriptor)
            self._folders.make_durable(os.path.dirname(self._path))
        except OSError as error:
            self.discard()  # and so this file is never synced again
            _raise(error, f"The object {self.key} cannot be made durable; it was removed")
        descriptor, self._descriptor = self._descriptor, -1
        try:
            _unlock_and_close(descriptor)
        except OSError as error:  # a network file system may report a lost write only here
            self._unlink()
            _raise(error, f"The object {self.key} cannot be closed; it was removed")

    def discard(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        self._unlink()  # before the close, which lets a waiting `confirm` go on
        try:
            _unlock_and_close(descriptor)
        except OSError as error:
            log.warning("closing the discarded object %s failed: %s", self.key, error.strerror)

    def __del__(self) -> None:
        self.discard()  # a forgotten sink must not hold its lock for the life of the process

    def _require_open(self) -> None:
        if self._descriptor < 0:
            raise StoreBroken(dead_text(self.key))

    def _unlink(self) -> None:
        try:
            _unlink_if_there(self._path)
        except OSError as error:  # garbage without a row: the sweeper's
            log.warning("the object %s could not be removed: %s", self.key, error.strerror)


class _Folders:
    """Makes folders, and knows which folders' own entries have reached the disk.

    Plain strings, not Path objects: this is on the way of every object.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._durable: set[str] = set()

    def make(self, folder: str) -> None:
        """Make what is missing on the way down, 0700. Durable only after `make_durable`."""
        missing = [folder]
        while missing:
            try:
                os.mkdir(missing[-1], 0o700)
            except FileExistsError:
                missing.pop()
            except FileNotFoundError:
                if missing[-1] == self._root:
                    raise
                missing.append(os.path.dirname(missing[-1]))
            else:
                self._durable.discard(missing.pop())

    def make_durable(self, folder: str) -> None:
        """Sync the folder and, as far as not known to be safe, each entry on the way up to the root.

        Called after the file's own sync: on a journalling file system that has already carried the
        folders along, and these calls return at once.
        """
        _sync_folder(folder)
        while folder != self._root and folder not in self._durable:
            parent = os.path.dirname(folder)
            # One sync makes all entries of the parent durable, so remember the siblings too: after
            # a restart this costs one sync a parent, not one a folder.
            with os.scandir(parent) as entries:
                siblings = {entry.path for entry in entries if entry.is_dir()}
            _sync_folder(parent)
            if len(self._durable) > _KNOWN_LIMIT:
                self._durable.clear()
            self._durable |= siblings
            folder = parent


def _unlock_and_close(descriptor: int) -> None:
    # Unlocked by word, not by the close alone: a child forked meanwhile has the descriptor too.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _unlink_if_there(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _write_all(descriptor: int, view: memoryview) -> None:
    """All of it: a nearly full volume takes a part and says so only on the next call."""
    done = os.write(descriptor, view)
    while done < len(view):
        done += os.write(descriptor, view[done:])


def _fill(descriptor: int, target: memoryview, offset: int, key: str) -> None:
    """Fill the target without an intermediate copy; StoreBroken when the file ends before it."""
    done = 0
    while done < len(target):
        got = os.preadv(descriptor, [target[done:]], offset + done)
        if got == 0:
            raise StoreBroken(short_text(key, offset + len(target), offset + done))
        done += got


def _sync(descriptor: int) -> None:
    full_sync = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync does not reach the platter
    if full_sync is not None:
        fcntl.fcntl(descriptor, full_sync)
    else:
        os.fsync(descriptor)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def _raise(error: OSError, what: str) -> NoReturn:
    """The port's words for an operating system's error, cause kept."""
    reason = f"{what}: {error.strerror or error}."
    if error.errno in FULL_ERRORS:
        raise StoreFull(reason, remedy="Free some space; writing goes on by itself.") from error
    if error.errno in _TEMPORARY:
        raise StoreUnavailable(reason) from error
    raise StoreBroken(reason, remedy="Check the disk and the folder's permissions.") from error
