"""Each crash point of the path of one instance, through both doors (reliability 3.3; D15, W18).

A process that reaches the armed point kills itself, again and again, until the supervisor gives up or
the senders are through. What they were told must hold whatever point it was. The next start, armed
with the next point, is where the one before is judged: reading passes none of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import httpx

from lightwell.kernel.crashpoints import POINTS, VARIABLE

UPLOADS = 3
# Those of an arrival; settling has points of its own (test_settle_points.py).
ARRIVAL = [point for point in POINTS if point.startswith("k")]
WANTED = os.environ.get("LIGHTWELL_CRASH_POINTS", " ".join(ARRIVAL)).split()


def test_a_crash_at_every_point_of_both_doors(ward: Any, new_objects: Callable[..., Any]) -> None:
    server = ward.server
    server.stop()
    sent: list[Any] = []
    uploaded: list[Any] = []
    for point in WANTED:
        number = 1000 + 10 * POINTS.index(point)
        by_dimse, by_http = new_objects(number, 2, 6), new_objects(number + 1, 1, 6)
        sent += by_dimse
        uploaded += by_http
        # Association and upload are passed once each; the other points once an object.
        server.start(**{VARIABLE: point if point == "k0" else f"{point}:2"})
        ward.judge()  # of the point before
        doors = {module: server.child(module) for module in ("dimse_process", "http_process")}
        ward.send(by_dimse)
        for _ in range(UPLOADS):
            with contextlib.suppress(httpx.HTTPError):
                ward.stow(by_http)
        living = server.process.poll() is None
        for module, before in doors.items():
            assert not living or server.child(module) != before, f"no {module} died at {point}"
        if living:
            server.kill(group=True)
        server.process.wait(90)
        server.nobody_left()
    server.start()
    ward.judge()
    acknowledged, both = len(ward.acknowledged), len(sent) + len(uploaded)
    assert 0 < acknowledged < both, "either nothing was stored or nothing was interrupted"
    ward.refused.clear()
    ward.send(sent)
    # By the door they first came through: without an issuer, a patient ID belongs to its source.
    ward.stow(uploaded)
    assert not ward.missing([*sent, *uploaded])
    assert not ward.refused
    ward.judge()
