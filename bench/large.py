"""Memory: a multi-frame object of gigabytes and a study of thousands of instances, by C-STORE and back.

    script/bench --large          4 GiB and 20,000 instances
    LIGHTWELL_LARGE=small …       600 MiB and 3,000 instances, as continuous integration runs it

Resident memory of every process of ours stays below 300 MB, or this fails.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from itertools import islice
from pathlib import Path

from bench import peers
from bench.machine import MemoryWatch
from bench.objects import one_large_study, written
from bench.peers import NODELAY, Peer
from lightwell.testing.bigfile import big_multiframe

LIMIT_MB = 300.0
SMALL = os.environ.get("LIGHTWELL_LARGE") == "small"
BYTES = 600 * 2**20 if SMALL else 4 * 2**30 + 2**20
INSTANCES = 3_000 if SMALL else 20_000
BLOCK = 500


def push(peer: Peer, files: list[Path], *, preload: bool) -> None:
    """Send all, or fail."""
    command = [
        sys.executable, "-m", "lightwell.testing.sender", "127.0.0.1", str(peer.dimse),
        *map(str, files), "--aec", peer.aet, "--associations", "4", "--json", "--timeout", "600",
    ]  # fmt: skip
    out = subprocess.run(
        [*command, *(["--preload"] if preload else [])],
        check=True,
        capture_output=True,
        env=NODELAY,
    ).stdout
    report = json.loads(out)
    if report["stored"] != len(files):
        raise SystemExit(f"stored {report['stored']} of {len(files)}: {report}")


def drain(url: str, accept: str) -> int:
    """Read an answer to its end; how many bytes it had."""
    request = urllib.request.Request(url, headers={"Accept": accept})
    total = 0
    with urllib.request.urlopen(request, timeout=600) as answer:
        while piece := answer.read(1 << 20):
            total += len(piece)
    return total


def main() -> None:
    """Measure and judge."""
    folder = Path(tempfile.mkdtemp(prefix="lightwell-bench-large-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        with peers.ours(folder) as peer, MemoryWatch(*peer.run.roots) as memory:
            base = f"http://127.0.0.1:{peer.http}/dicomweb/studies"
            big = folder / "big.dcm"
            big_multiframe(big, BYTES)
            push(peer, [big], preload=False)
            study = json.load(urllib.request.urlopen(f"{base}?limit=1", timeout=60))[0]
            uid = study["0020000D"]["Value"][0]
            size = drain(
                f"{base}/{uid}", 'multipart/related; type="application/dicom"; transfer-syntax=*'
            )
            print(
                f"object of {BYTES / 2**20:.0f} MiB: {size} bytes came back, peak {memory.peak:.0f} MB"
            )
            big.unlink()
            slices = one_large_study(INSTANCES)
            for _ in range(0, INSTANCES, BLOCK):
                files = written(folder / "in", islice(slices, BLOCK))
                push(peer, files, preload=True)
                shutil.rmtree(folder / "in")
            found = json.load(urllib.request.urlopen(f"{base}?limit=10", timeout=60))
            many = next(s for s in found if s["00201208"]["Value"][0] == INSTANCES)
            uid = many["0020000D"]["Value"][0]
            size = drain(f"{base}/{uid}/metadata", "application/dicom+json")
            print(
                f"study of {INSTANCES}: {size} bytes of metadata, peak {memory.peak:.0f} MB ({memory.who})"
            )
        if memory.peak >= LIMIT_MB:
            raise SystemExit(f"{memory.who} took {memory.peak:.0f} MB; the limit is {LIMIT_MB:.0f}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
