"""kill -9 while series settle: nothing acknowledged is lost or doubled, and in the end all are packed.

Must show 2 of issue B; W20. A landed object goes as soon as its rows are switched here (no grace), so that
one which went before its pack was proved would be missing in the answers. `LIGHTWELL_CRASH_ROUNDS` sets the
random rounds (50 for the full sweep).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lightwell.kernel.crashpoints import VARIABLE

ROUNDS = int(os.environ.get("LIGHTWELL_CRASH_ROUNDS", "3"))
POINTS = ("s1", "s2", "s3", "s4", "s5", "s6")
AT_ONCE = {"LIGHTWELL_SETTLE_AFTER": "1", "LIGHTWELL_LANDED_GRACE": "0"}
HANG_SECONDS = 240.0


def stored(server: Any, kind: str) -> Iterator[Path]:
    """The files of one kind in the store."""
    for path in (server.data / "blobs" / "local" / "default" / kind).rglob("*"):
        if path.is_file():
            yield path


def wait_settled(ward: Any, wait_until: Callable[..., None]) -> None:
    """Until everything acknowledged lies in a generation with a manifest.

    What had landed may stay longer: a reader that was killed leaves its lease open until it expires.
    """
    read: set[Path] = set()
    found: set[str] = set()

    def done() -> bool:
        for path in set(stored(ward.server, "manifest")) - read:
            with contextlib.suppress(FileNotFoundError, ValueError):
                found.update(entry["sop"] for entry in json.loads(path.read_bytes())["entries"])
                read.add(path)
        return set(ward.acknowledged) <= found

    wait_until(done, HANG_SECONDS, "all settled")


def judge_deeply(ward: Any) -> None:
    """Every byte: fsck reads and rebuilds all, and what is served is what was sent."""
    checked = ward.server.command("fsck", "--json", "--deep")
    assert checked.returncode == 0, checked.stdout[-3000:]
    kept = ward.kept()
    assert {uid: kept.get(uid) for uid in ward.acknowledged} == ward.acknowledged
    assert set(kept) <= set(ward.places)


def restart(ward: Any) -> None:
    if ward.server.process is not None and ward.server.process.poll() is None:
        ward.server.kill(group=True)
    ward.server.start(**AT_ONCE)


@pytest.mark.parametrize("point", POINTS)
def test_the_worker_dies_at_each_point(
    ward: Any, new_objects: Callable[..., Any], wait_until: Callable[..., None], point: str
) -> None:
    """Again and again until the whole server is killed; the next start settles what was sent."""
    server = ward.server
    made = new_objects(2000 + POINTS.index(point), 3, 6)  # the third study is of small objects
    server.kill(group=True)
    server.start(**AT_ONCE, **{VARIABLE: point})
    victims = server.child("work_process")
    report = ward.send(made)
    assert len(report.stored) == len(made), report.summary()
    wait_until(lambda: server.child("work_process") != victims, HANG_SECONDS, f"death at {point}")
    if point in ("s1", "s2", "s3", "s4"):
        # Its rows were not switched: whatever was written beside, every object lies where it landed.
        assert len(list(stored(server, "landed"))) >= 1
    restart(ward)
    ward.judge()  # while it settles
    wait_settled(ward, wait_until)
    judge_deeply(ward)


@pytest.mark.parametrize("victim", ["work_process", "server", "database"])
def test_a_kill_at_random_moments(
    ward: Any,
    new_objects: Callable[..., Any],
    wait_until: Callable[..., None],
    moments: Random,
    victim: str,
) -> None:
    """Of the worker, of everything, of PostgreSQL, while series settle."""
    restart(ward)
    server = ward.server
    for number in range(ROUNDS):
        made = new_objects(3000 + 100 * len(victim) + number, 3, 8, size=256)
        ward.send(made)
        assert not ward.missing(made)
        time.sleep(moments.uniform(0.0, 4.0))  # the moment of the fault itself
        if victim == "server":
            restart(ward)
        elif victim == "work_process":
            if number % 4 == 3:  # the supervisor gives up at the fifth death within a minute
                restart(ward)
            for pid in server.child(victim):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        else:
            postmaster = server.postmaster()
            os.kill(postmaster, signal.SIGKILL)
            wait_until(
                lambda before=postmaster: server.postmaster() not in (0, before),  # type: ignore[misc]
                HANG_SECONDS,
                "another postmaster",
            )
            server.wait_ready()
        if number % 3 == 2:
            wait_settled(ward, wait_until)
            ward.judge()
    server.wait_ready()
    wait_settled(ward, wait_until)
    judge_deeply(ward)


def test_everything_comes_back_from_packs_after_all_that(
    ward: Any, new_objects: Callable[..., Any], wait_until: Callable[..., None]
) -> None:
    """The index made anew from what the crashes left in the store, and from what lies there twice."""
    server = ward.server
    server.kill(group=True)
    server.start(LIGHTWELL_SETTLE_AFTER="1")  # what is packed now stays besides, for a day
    made = new_objects(5000, 2, 4)
    ward.send(made)
    wait_settled(ward, wait_until)
    server.stop()
    assert len(list(stored(server, "landed"))) >= len(made)
    # With the grace of the server that follows: else all that stays for a day.
    done = server.command("reindex", "--json", "--yes", **AT_ONCE)
    report = json.loads(done.stdout)["tenants"]["default"]
    assert (done.returncode, report["damaged"]) == (0, 0), report
    server.start(**AT_ONCE)  # no reader's lease is left: what was replaced goes
    nothing_landed = lambda: next(stored(server, "landed"), None) is None  # noqa: E731
    wait_until(nothing_landed, HANG_SECONDS, "all landed objects gone")
    judge_deeply(ward)
