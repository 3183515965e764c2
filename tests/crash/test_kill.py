"""kill -9 of everything, of one process, of the database: what was acknowledged is there afterwards.

The threads' own scheduling adds to the seed: it repeats the moments, not the exact interleaving.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

ROUNDS = int(os.environ.get("LIGHTWELL_CRASH_ROUNDS", "6"))


def test_the_whole_server_is_killed_at_random_moments(
    ward: Any, new_objects: Callable[..., Any], moments: Random
) -> None:
    """D14: four senders, signal 9 to the supervisor or to its whole group, again and again.

    A round whose last answer came before the signal proves nothing and does not count: how fast the
    machine is must not decide whether this test passes.
    """
    acknowledged = interrupted = 0
    pending: list[Any] = []
    for number in range(3 * ROUNDS):
        if ward.server.process.poll() is not None:
            ward.server.start()
        made = new_objects(number, each=25)
        pending = [*ward.missing(pending), *made]
        sending = ward.sending(pending)
        sending.wait_for(moments.randint(1, len(pending) // 2))
        time.sleep(moments.uniform(0.0, 0.05))
        ward.server.kill(group=moments.random() < 0.5)
        sending.finish()
        got = ward.remember(sending)
        acknowledged += got
        interrupted += got < len(pending)
        if number % 3 == 2:
            ward.server.start()
            ward.judge()
        if interrupted == ROUNDS:
            break
    if ward.server.process.poll() is not None:
        ward.server.start()
    ward.judge()
    assert interrupted == ROUNDS, "most kills came after the last acknowledgement: prove more"
    assert acknowledged > 0
    # Where only the supervisor was hit, a process may still say that its database has gone; nothing else.
    assert {answer.status for answer in ward.refused} <= {0xA700}, ward.refused
    ward.refused.clear()
    # What was not acknowledged is taken now, and an object that was in already is no error.
    everything = list(ward.places.values())
    report = ward.send(everything)
    assert len(report.stored) == len(everything), report.summary()
    ward.judge()
    assert set(ward.kept()) == set(ward.places)
    assert not ward.refused


@pytest.mark.parametrize("module", ["dimse_process", "work_process", "http_process"])
def test_one_process_is_killed(
    ward: Any, new_objects: Callable[..., Any], wait_until: Callable[..., None], module: str
) -> None:
    """The others go on, the supervisor starts it again, and nothing acknowledged is lost."""
    made = new_objects(100 + len(module))
    victim = ward.server.child(module)[0]
    sending = ward.sending(made)
    sending.wait_for(3)
    os.kill(victim, signal.SIGKILL)
    sending.finish()
    ward.remember(sending)
    wait_until(
        lambda: ward.server.child(module) and victim not in ward.server.child(module),
        30,
        f"another {module}",
    )
    ward.server.wait_ready()
    report = ward.send(ward.missing(made))
    assert not ward.missing(made), report.summary()
    ward.judge()


def test_an_upload_is_cut_off_by_the_end_of_its_process(
    ward: Any, new_objects: Callable[..., Any], moments: Random
) -> None:
    """W18: kill -9 in mid-STOW; a broken connection promised nothing, and a repeat doubles nothing."""
    made = new_objects(400, 1, 30, size=256)
    upload = threading.Thread(target=ward.stow_blindly, args=(made,))
    upload.start()
    time.sleep(moments.uniform(0.02, 0.4))  # the moment of the fault itself
    for pid in ward.server.child("http_process"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    upload.join(90)
    assert not upload.is_alive()
    ward.server.wait_ready()
    ward.judge()
    assert sorted(ward.stow(made)) == sorted(built.sop_uid for built in made)
    ward.judge()
    kept = ward.kept()
    assert {built.sop_uid: kept.get(built.sop_uid) for built in made} == {
        built.sop_uid: built.sha256 for built in made
    }


def test_the_database_is_killed(
    ward: Any, new_objects: Callable[..., Any], wait_until: Callable[..., None]
) -> None:
    """B01: the postmaster dies in mid-ingest; the service is back without a restart of the server."""
    made = new_objects(200)
    supervisor, postmaster = ward.server.process.pid, ward.server.postmaster()
    sending = ward.sending(made)
    sending.wait_for(3)
    os.kill(postmaster, signal.SIGKILL)
    sending.finish()
    ward.remember(sending)
    statuses = {answer.status for answer in ward.refused}
    assert statuses <= {0xA700, 0x0110}, [f"{status:04X}" for status in statuses]
    ward.refused.clear()
    wait_until(lambda: ward.server.postmaster() not in (0, postmaster), 60, "another postmaster")
    ward.server.wait_ready()
    deadline = time.monotonic() + 60
    while ward.missing(made) and time.monotonic() < deadline:
        ward.send(ward.missing(made))
    ward.refused.clear()
    assert not ward.missing(made)
    assert ward.server.process.pid == supervisor
    assert ward.server.process.poll() is None
    ward.judge()


def test_the_database_stands_still_for_a_while(ward: Any, new_objects: Callable[..., Any]) -> None:
    """SIGSTOP of every PostgreSQL process: nothing is acknowledged meanwhile, nothing lost after it."""
    made = new_objects(300)
    sending = ward.sending(made)
    sending.wait_for(3)
    stopped = [ward.server.postmaster(), *backends(ward.server.postmaster())]
    assert len(stopped) > 5
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        before = sending.answers()
        time.sleep(2.5)  # the time of the fault itself: nothing to wait for
        # One answer an association may have been on its way, however slowly; the next one needs the
        # database.
        assert sending.answers() <= before + sending.associations
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    sending.finish()
    ward.remember(sending)
    ward.send(ward.missing(made))
    assert not ward.missing(made)
    ward.judge()


def backends(postmaster: int) -> list[int]:
    """Children of the postmaster now."""
    text = Path("/proc", str(postmaster), "task", str(postmaster), "children").read_text()
    return [int(pid) for pid in text.split()]


def test_the_end_of_the_supervisor_is_the_end_of_everybody(ward: Any) -> None:
    """Signal 9 to the parent alone: within 3 s no port answers and no child lives."""
    assert len(ward.server.answers()) == 2
    ward.server.kill(group=False)
    assert ward.server.answers() == []
    ward.server.start()
    ward.judge()
