"""The local folder when the disk fails, fills up, or the writer dies."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lightwell.backends.blobs import local
from lightwell.backends.blobs.local import STAGING, LocalStore
from lightwell.backends.blobs.space import Room
from lightwell.domain.archive.ports import (
    BlobExists,
    BlobMissing,
    FreeSpace,
    StoreBroken,
    StoreFull,
    StoreUnavailable,
)

KEY = "eu/default/landed/aa/bb/0123456789abcdef"
DEADLINE = 30.0


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "blobs")


class Syncs:
    """Stands in for os.fsync: remembers which file each call was for, and fails the n-th."""

    def __init__(self, fail: int = 0, number: int = errno.EIO) -> None:
        self.inodes: list[int] = []
        self.paths: list[str] = []
        self._fail = fail
        self._number = number
        self._real = os.fsync

    def __call__(self, descriptor: int) -> None:
        self.inodes.append(os.fstat(descriptor).st_ino)
        self.paths.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        if len(self.inodes) == self._fail:
            raise OSError(self._number, os.strerror(self._number))
        self._real(descriptor)


# -- fsync -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.EIO, StoreBroken), (errno.ENOSPC, StoreFull)]
)
def test_d16_each_sync_of_a_seal_failing_once_is_told_and_never_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[Exception]
) -> None:
    tried = 0
    while True:
        store = LocalStore(tmp_path / f"{number}-{tried}")
        syncs = Syncs(fail=tried + 1, number=number)
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", syncs)
            sink = store.begin(KEY)
            sink.write(b"an image")
            try:
                sink.seal()
            except expected:
                pass
            else:
                break
            failed = syncs.inodes[-1]
            sink.discard()
            with pytest.raises(BlobMissing):
                store.read(KEY)
            if tried == 0:  # the file itself
                assert syncs.inodes.count(failed) == 1
                with pytest.raises(StoreBroken):
                    sink.seal()
                assert syncs.inodes.count(failed) == 1
        store.put(KEY, b"sent again")
        assert store.read(KEY) == b"sent again"
        tried += 1
    assert tried == 7  # the file, its folder, and five folders up to the root


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_d16_the_kernels_view_no_second_fsync_on_a_descriptor_that_failed(tmp_path: Path) -> None:
    """The second fsync would have said OK: strace fails the first one only, as Linux does."""
    script = """
        import sys
        from pathlib import Path
        from lightwell.backends.blobs.local import LocalStore
        from lightwell.domain.archive.ports import BlobMissing, StoreBroken
        store = LocalStore(Path(sys.argv[1]))
        sink = store.begin("a/b/c")
        sink.write(b"x" * 100_000)
        print("SEALING", file=sys.stderr, flush=True)
        try:
            sink.seal()
        except StoreBroken:
            print("refused")
        sink.discard()
        try:
            store.confirm("a/b/c", 100_000)
        except BlobMissing:
            print("missing")
        store.put("a/b/c", b"again")
        print(store.read("a/b/c").decode())
    """
    trace = tmp_path / "trace"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-y", "-o", str(trace), "-e", "trace=fsync,write,unlink",
         "-e", "inject=fsync:error=EIO:when=2",  # the first one is the constructor's
         sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "blobs")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if "ptrace" in done.stderr:
        pytest.skip("this machine does not let us trace")
    assert done.stdout.split() == ["refused", "missing", "again"], done.stderr
    lines = trace.read_text().split("SEALING", 1)[1].splitlines()[1:]
    calls = [line.split(maxsplit=1)[1] for line in lines if re.search(r"fsync|unlink", line)]
    assert re.match(r"fsync\(\d+<.*/a/b/c>\).*EIO.*INJECTED", calls[0]), calls
    assert re.match(r'unlink\(".*/a/b/c"\) += 0', calls[1]), calls
    assert re.match(r"fsync\(\d+<.*/a/b/c>\) += 0", calls[2]), calls  # the new file, sent again


def test_a_failed_sync_leaves_the_named_object_as_it_was(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store.put(KEY, b"old", replace=True)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", Syncs(fail=1))
        with pytest.raises(StoreBroken):
            store.put(KEY, b"new", replace=True)
    assert store.read(KEY) == b"old"
    assert not list((tmp_path / "blobs" / STAGING).iterdir())


def test_every_folder_on_the_way_is_synced_once_and_only_once(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = Syncs()
    monkeypatch.setattr(os, "fsync", syncs)
    store.put("a/b/c/one", b"1")
    assert syncs.paths == ["one", "c", "b", "a", "blobs"]
    syncs.paths.clear()
    store.put("a/b/c/two", b"2")
    assert syncs.paths == ["two", "c"]
    syncs.paths.clear()
    store.put("a/b/d/three", b"3")
    assert syncs.paths == ["three", "d", "b"]


def test_after_a_restart_one_sync_of_the_parent_serves_all_its_folders(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("c", "d", "e"):
        store.put(f"a/{name}/one", b"1")
    again = LocalStore(tmp_path / "blobs")
    syncs = Syncs()
    monkeypatch.setattr(os, "fsync", syncs)
    for name in ("c", "d", "e"):
        again.put(f"a/{name}/two", b"2")
    assert Counter(syncs.paths) == {"two": 3, "c": 1, "d": 1, "e": 1, "a": 1, "blobs": 1}


def test_a_folder_that_was_removed_and_made_again_is_synced_again(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store.put("a/b/one", b"1")
    shutil.rmtree(tmp_path / "blobs/a/b")
    syncs = Syncs()
    monkeypatch.setattr(os, "fsync", syncs)
    store.put("a/b/two", b"2")
    assert syncs.paths == ["two", "b", "a"]


def test_a_removal_is_durable(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(KEY, b"1")
    syncs = Syncs()
    monkeypatch.setattr(os, "fsync", syncs)
    store.delete(KEY)
    assert syncs.paths == ["bb"]


# -- confirming beside a writer ----------------------------------------------------------------


@contextmanager
def confirming(store: LocalStore, length: int) -> Iterator[Callable[[], Exception | None]]:
    """A thread that confirms KEY; the value given waits for its verdict."""
    verdict: list[Exception | None] = []

    def confirm() -> None:
        try:
            store.confirm(KEY, length)
            verdict.append(None)
        except Exception as error:  # noqa: BLE001 - handed to the test
            verdict.append(error)

    thread = threading.Thread(target=confirm)
    thread.start()

    def outcome() -> Exception | None:
        thread.join(DEADLINE)
        return verdict[0]

    try:
        yield outcome
    finally:
        thread.join(DEADLINE)


def test_a_duplicate_is_confirmed_only_after_the_first_copy_was_sealed(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = store.begin(KEY)
    sink.write(b"12345")
    asked = threading.Event()
    real = fcntl.flock

    def flock(descriptor: int, kind: int) -> None:
        asked.set()
        real(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    with confirming(store, 5) as outcome:
        assert asked.wait(DEADLINE)
        sink.seal()
        assert outcome() is None


def test_a_failed_sync_is_never_turned_into_a_confirmation(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The confirmation opens the file before the writer's fsync fails, and syncs after it."""
    sink = store.begin(KEY)
    sink.write(b"12345")
    opened = threading.Event()
    real = fcntl.flock

    def flock(descriptor: int, kind: int) -> None:
        opened.set()
        real(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    with confirming(store, 5) as outcome:
        assert opened.wait(DEADLINE)
        monkeypatch.setattr(os, "fsync", Syncs(fail=1))
        with pytest.raises(StoreBroken):
            sink.seal()
        assert isinstance(outcome(), BlobMissing)


def test_a_writer_that_takes_too_long_is_a_temporary_failure(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "CONFIRM_SECONDS", 0.05)
    sink = store.begin(KEY)
    sink.write(b"12345")
    with pytest.raises(StoreUnavailable, match="still being written"):
        store.confirm(KEY, 5)
    sink.discard()


def test_a_killed_writer_blocks_nobody(store: LocalStore, tmp_path: Path) -> None:
    script = """
        import sys, time
        from pathlib import Path
        from lightwell.backends.blobs.local import LocalStore
        sink = LocalStore(Path(sys.argv[1])).begin(sys.argv[2])
        sink.write(b"x" * 1000)
        print("written", flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "blobs"), KEY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        assert [info.key for info in store.list("eu")] == [KEY]
        writer.send_signal(signal.SIGKILL)
    with pytest.raises(StoreBroken):
        store.confirm(KEY, 2000)
    store.confirm(KEY, 1000)  # all of it had arrived: now it is durable
    with pytest.raises(BlobExists):
        store.begin(KEY)


def test_a_forked_child_does_not_keep_a_sealed_object_locked(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dup shares the open file, and with it the lock, just as a forked child's copy does."""
    monkeypatch.setattr(local, "CONFIRM_SECONDS", 0.05)
    sink = store.begin(KEY)
    copy = os.dup(sink._descriptor)
    try:
        sink.seal()
        store.confirm(KEY, 0)
    finally:
        os.close(copy)


def test_a_forgotten_sink_lets_go(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "CONFIRM_SECONDS", 0.05)
    sink = store.begin(KEY)
    sink.write(b"1")
    del sink
    with pytest.raises(BlobMissing):
        store.confirm(KEY, 1)


# -- no room -----------------------------------------------------------------------------------


def test_a_write_cut_short_by_a_full_disk_is_store_full(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = store.begin(KEY)
    real = os.write
    taken = 0

    def write(descriptor: int, data: memoryview) -> int:
        nonlocal taken
        if taken >= 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken += real(descriptor, data[: 100 - taken])
        return taken

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StoreFull):
        sink.write(b"x" * 1000)
    sink.discard()
    with pytest.raises(BlobMissing):
        store.length(KEY)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs a mount of its own"
)
def test_d17_a_really_full_volume_keeps_what_it_took_and_goes_on_when_freed(
    tmp_path: Path,
) -> None:
    script = """
        import sys
        from pathlib import Path
        from lightwell.backends.blobs.local import LocalStore
        from lightwell.domain.archive.ports import StoreFull
        store = LocalStore(Path(sys.argv[1]) / "blobs")
        kept = []
        for number in range(100):
            key, body = f"a/{number:03d}", bytes([number]) * 1_000_000
            try:
                store.put(key, body)
                kept.append((key, body))
            except StoreFull:
                break
        else:
            sys.exit("never full")
        assert len(kept) >= 10, len(kept)
        assert all(store.read(key) == body for key, body in kept)
        assert {info.key for info in store.list("a")} == {key for key, _ in kept}
        try:
            store.put("a/more", b"x" * 1_000_000)
            sys.exit("took more")
        except StoreFull:
            pass
        for key, _ in kept[:6]:
            store.delete(key)
        store.put("a/more", b"x" * 1_000_000)
        print("fine")
    """
    command = (
        f'mount -t tmpfs -o size=16m tmpfs {tmp_path} && exec {sys.executable} -c "$1" {tmp_path}'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command, "sh", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "Operation not permitted" in done.stderr or "permission denied" in done.stderr:
        pytest.skip("this machine does not let us mount")
    assert done.stdout == "fine\n", done.stderr


def test_a_nearly_full_volume_takes_nothing_more_but_gives_and_removes(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(KEY, b"1")
    space = FreeSpace(1000, 15)
    monkeypatch.setattr(local, "volume_space", lambda folder: space)
    assert store.room() is Room.NONE
    for ask in (
        lambda: store.begin("a/b"),
        lambda: store.put("a/b", b""),
        lambda: store.put(KEY, b"", replace=True),
    ):
        with pytest.raises(StoreFull):
            ask()
    assert store.read(KEY) == b"1"
    store.confirm(KEY, 1)
    store.delete(KEY)
    space = FreeSpace(1000, 60)
    with pytest.raises(StoreFull):
        store.put("a/b", b"")
    space = FreeSpace(1000, 80)
    store.put("a/b", b"")


# -- folders, links, leftovers -----------------------------------------------------------------


def test_only_the_owner_may_read(store: LocalStore, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store.put(KEY, b"1")
    finally:
        os.umask(old)
    path = tmp_path / "blobs" / KEY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in path.parents:
        if folder == tmp_path:
            break
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_mode_of_a_folder_that_was_there_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    LocalStore(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_symbolic_link_is_not_followed(store: LocalStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("outside")
    store.put("a/b", b"1")
    (tmp_path / "blobs/a/link").symlink_to(secret)
    with pytest.raises(StoreBroken):
        store.read("a/link")
    with pytest.raises(BlobMissing):
        store.length("a/link")
    with pytest.raises(BlobExists):
        store.begin("a/link")
    assert [info.key for info in store.list("")] == ["a/b"]
    assert secret.read_text() == "outside"


def test_a_folder_is_no_object(store: LocalStore) -> None:
    store.put("a/b/c", b"1")
    for ask in (lambda: store.read("a/b"), lambda: store.length("a/b")):
        with pytest.raises(BlobMissing):
            ask()
    with pytest.raises(BlobMissing):
        store.read("a/b/c/d")


def test_what_is_no_key_is_not_listed(store: LocalStore, tmp_path: Path) -> None:
    store.put("a/b", b"1")
    for name in ("UPPER", "with space", ".hidden"):
        (tmp_path / "blobs/a" / name).write_text("x")
    assert [info.key for info in store.list("")] == ["a/b"]


def test_sweep_takes_what_dead_processes_left_and_spares_the_rest(
    store: LocalStore, tmp_path: Path
) -> None:
    staging = tmp_path / "blobs" / STAGING
    for name, age in (("old", 7200), ("young", 0)):
        (staging / name).write_text("x")
        os.utime(staging / name, (time.time() - age,) * 2)
    assert store.sweep(3600) == 1
    assert [path.name for path in staging.iterdir()] == ["young"]
    assert store.sweep(0) == 1


def test_discard_never_raises(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = store.begin(KEY)

    def unlink(path: str) -> None:
        raise OSError(errno.EIO, "disk on fire")

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", unlink)
        sink.discard()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreBroken, match="file/blobs"):
        LocalStore(tmp_path / "file/blobs")
