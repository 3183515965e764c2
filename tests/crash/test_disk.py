"""The disk says no: EIO and ENOSPC of a sync (D16), and a volume that is really full (D17)."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

STRACE = shutil.which("strace")
CALL = re.compile(r"^(?P<thread>\d+) +(?P<name>fsync|close)\((?P<fd>\d+)(?P<rest>.*)$")
RESUMED = re.compile(r"^(?P<thread>\d+) +<\.\.\. fsync resumed>(?P<rest>.*)$")


def failed_syncs_are_final(trace: str) -> int:
    """How many syncs of one process failed; AssertionError if one was tried again on its descriptor."""
    failed: set[str] = set()
    under_way: dict[str, str] = {}
    count = 0
    for line in trace.splitlines():
        call, resumed = CALL.match(line), RESUMED.match(line)
        if call and call["name"] == "close":
            failed.discard(call["fd"])
            continue
        if call:
            descriptor, rest = call["fd"], call["rest"]
            assert descriptor not in failed, f"synced again after a failure: {line}"
            under_way[call["thread"]] = descriptor
        elif resumed:
            descriptor, rest = under_way[resumed["thread"]], resumed["rest"]
        else:
            continue
        if "INJECTED" in rest:
            failed.add(descriptor)
            count += 1
    return count


def test_the_judge_of_the_trace_sees_a_second_sync() -> None:
    bad = "7 fsync(9) = -1 EIO (Input/output error) (INJECTED)\n7 fsync(9) = 0\n"
    good = "7 fsync(9) = -1 EIO (Input/output error) (INJECTED)\n7 close(9) = 0\n7 fsync(9) = 0\n"
    split = (
        "7 fsync(9 <unfinished ...>\n8 fsync(5) = 0\n7 <... fsync resumed>) = -1 EIO (INJECTED)\n"
    )
    assert failed_syncs_are_final(good) == 1
    assert failed_syncs_are_final(split) == 1
    with pytest.raises(AssertionError, match="again"):
        failed_syncs_are_final(split + "8 fsync(9) = 0\n")
    with pytest.raises(AssertionError, match="again"):
        failed_syncs_are_final(bad)


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_a_failed_sync_is_never_acknowledged(
    ward: Any, new_objects: Callable[..., Any], wait_until: Callable[..., None], error: str
) -> None:
    assert STRACE is not None
    made = new_objects(2000 + len(error), 1, 12)
    victims = ward.server.child("dimse_process")
    traces = [ward.server.folder / f"trace-{error}-{pid}" for pid in victims]
    tracers = [
        subprocess.Popen(
            [
                *(STRACE, "-f", "-qq", "-o", str(trace), "-p", str(pid)),
                *("-e", "trace=fsync,close", "-e", f"inject=fsync:error={error}:when=1"),
            ],
            stderr=subprocess.DEVNULL,
        )
        for pid, trace in zip(victims, traces, strict=True)
    ]
    try:
        wait_until(
            lambda: all(is_traced(pid) for pid in victims),
            20,
            "strace on every dimse process",
        )
        report = ward.send(made)
    finally:
        for tracer in tracers:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(20)
    failures = sum(failed_syncs_are_final(trace.read_text()) for trace in traces)
    assert failures > 0, "no sync was hit: the test has shown nothing"
    bad = [answer for answer in report.acknowledged if answer.status != 0]
    assert bad, "every object was acknowledged although syncs failed"
    assert {answer.status for answer in bad} <= {0xA700, 0x0110}, bad
    assert not {answer.sop_instance for answer in bad} & ward.acknowledged.keys()
    ward.refused.clear()
    ward.judge()
    ward.send(ward.missing(made))
    assert not ward.missing(made), (
        "an object that was refused for its disk is taken when sent again"
    )
    assert not ward.refused
    ward.judge()


def is_traced(pid: int) -> bool:
    status = Path("/proc", str(pid), "status").read_text()
    return "TracerPid:\t0\n" not in status


# --- a volume that is full -------------------------------------------------------------------------

MOUNT = """
set -e
mount -t tmpfs -o size=64m,mode=0700 tmpfs "$1"
shift
exec "$@"
"""


def may_mount() -> bool:
    """Whether this user may mount a tmpfs in a mount namespace of its own."""
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid() != 0:
        return False
    tried = subprocess.run(
        [unshare, "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, timeout=10
    )
    return tried.returncode == 0


@pytest.fixture
def small(open_ward: Callable[..., Any]) -> Iterator[Any]:
    """A ward whose object store lies on a tmpfs of 64 MiB, mounted in the server's own namespace."""
    if not may_mount():
        pytest.skip("needs root and the right to mount (unshare -m)")
    ward = open_ward()
    blobs = ward.server.data / "blobs"
    prefix = ["unshare", "-m", "sh", "-c", MOUNT, "mount", str(blobs)]
    ward.server.start(prefix=prefix)
    yield ward
    ward.server.stop()


def test_a_full_store_refuses_and_recovers_by_itself(
    small: Any, new_objects: Callable[..., Any], wait_until: Callable[..., None]
) -> None:
    ward, server = small, small.server
    # 1 MiB each, in one study: 90 MiB for a volume of 64.
    made = new_objects(3000, 1, 90, size=724)
    report = ward.send(made, associations=2)
    statuses = [answer.status for answer in report.acknowledged]
    assert set(statuses) == {0, 0xA700}, {f"{status:04X}" for status in statuses}
    assert not report.failed, report.failed[:3]
    refused = ward.missing(made)
    # Reads go on beside the refusals, bit for bit.
    assert ward.kept() == ward.acknowledged
    answer = httpx.post(
        f"{server.url}/dicomweb/studies",
        content=refused[0].part10,
        headers={"content-type": "application/dicom"},
        timeout=30,
        auth=server.keys,
    )
    assert answer.status_code in (503, 507), answer.status_code
    pid = server.process.pid
    enlarged = subprocess.run(
        [
            *("nsenter", "-t", str(server.child("dimse_process")[0]), "-m"),
            *("mount", "-o", "remount,size=256m", str(server.data / "blobs")),
        ],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert enlarged.returncode == 0, enlarged.stderr
    ward.send(refused)
    assert not ward.missing(made), "there is room again, and no restart should be needed"
    assert server.process.pid == pid
    assert server.process.poll() is None
    assert ward.kept() == {built.sop_uid: built.sha256 for built in made}
