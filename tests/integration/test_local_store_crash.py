"""D15 for the local folder: killed at every system call that changes the disk.

Signal 9 does not lose the page cache as a power cut does (that half is the simulator's); it shows
that at no point an acknowledged object, or a named one being replaced, is half there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lightwell.backends.blobs.local import LocalStore
from lightwell.domain.archive.ports import BlobExists, BlobMissing

WRITER = """
    import sys
    from pathlib import Path
    from lightwell.backends.blobs.local import LocalStore
    store = LocalStore(Path(sys.argv[1]))
    for n in range(2):
        sink = store.begin(f"a/b{n}/object")
        sink.write(b"x" * 1000)
        sink.write(b"y" * 1000)
        sink.patch(0, b"z")
        sink.seal()
        print(f"a/b{n}/object", file=sys.stderr, flush=True)
        store.put("a/named", str(n).encode() * 500, replace=True)
        print(f"named {n}", file=sys.stderr, flush=True)
    store.delete("a/b0/object")
    print("deleted", file=sys.stderr, flush=True)
"""
BODY = b"z" + b"x" * 999 + b"y" * 1000


def run_until(root: Path, call: str, number: int) -> tuple[list[str], bool]:
    """What was acknowledged before the kill at the number-th call, and whether it came to a kill."""
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
         "-e", f"inject={call}:signal=SIGKILL:when={number}",
         sys.executable, "-c", textwrap.dedent(WRITER), str(root)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if "ptrace" in done.stderr:
        pytest.skip("this machine does not let us trace")
    return done.stderr.splitlines(), done.returncode != 0


def judge(root: Path, acknowledged: list[str]) -> None:
    store = LocalStore(root)
    for key in acknowledged:
        if key.startswith("a/") and not (key == "a/b0/object" and len(acknowledged) >= 4):
            assert store.read(key) == BODY, (key, acknowledged)
            store.confirm(key, len(BODY))
    if "deleted" in acknowledged:
        with pytest.raises(BlobMissing):
            store.read("a/b0/object")
    rounds = [int(line.split()[1]) for line in acknowledged if line.startswith("named")]
    try:
        named = store.read("a/named")
    except BlobMissing:
        assert rounds == []
    else:
        assert named in (b"0" * 500, b"1" * 500)
        assert int(named[:1]) >= max(rounds, default=0)
    store.sweep(0)
    for key in ("a/b0/object", "a/b1/object"):  # sending again always ends well, or meets itself
        try:
            store.put(f"{key}-again", BODY)
            store.put(key, BODY)
        except BlobExists:
            assert store.length(key) <= len(BODY)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("call", ["fsync", "rename", "pwrite64", "flock", "unlink", "mkdir"])
def test_d15_killed_at_each_call_nothing_acknowledged_is_lost(tmp_path: Path, call: str) -> None:
    points = 0
    for number in range(1, 60):
        root = tmp_path / f"{number}"
        acknowledged, killed = run_until(root, call, number)
        if not killed:
            assert acknowledged[-1] == "deleted"
            judge(root, acknowledged)
            break
        points += 1
        if root.exists():
            judge(root, acknowledged)
    print(f"{call}: {points} points")
    assert points >= {"fsync": 12, "rename": 2, "pwrite64": 2, "flock": 4}.get(call, 1)
