"""A tenant of a running server is erased: every door answers as if it had never been (R03, A03)."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from lightwell.domain.peers.model import Peer
from lightwell.testing.builders import BuiltInstance, a_study
from lightwell.testing.scu import Rejected, Scu
from lightwell.testing.served import LOOPBACK, Served, serving, wait_until
from lightwell.wire.dimse.proposal import propose_service

GONE, NEIGHBOUR, NOBODY = "quorn", "vesta", "nadir"  # equally long, so that answers can be
WHY = {"reason": "the contract has ended"}
ECHO = "1.2.840.10008.1.1"
SECONDS = 90.0


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with serving(workers=1, arguments=("--settle-after", "1")) as served:
        guests = [Peer("MODALITY", LOOPBACK, 0, allow=frozenset({"echo", "store", "find"}))]
        served.register(tenants={GONE: guests, NEIGHBOUR: guests})
        yield served


@pytest.fixture(scope="module")
def objects(server: Served) -> dict[str, list[BuiltInstance]]:
    kept = {}
    for name in (GONE, NEIGHBOUR):
        study = a_study(f"P-{name}").with_series("CT", instances=3, rows=256, columns=256)
        kept[name] = study.objects()
        server.stow([built.part10 for built in kept[name]], name)
    return kept


def asked(
    server: Served, method: str, path: str, body: Any = None, bearer: str = ""
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(LOOPBACK, server.http_port, timeout=60)
    headers = {"Content-Type": "application/json"}
    headers["Authorization"] = f"Bearer {bearer or server.keys.bearer()}"
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    return answer.status, said


def rejected(server: Served, called: str) -> str:
    """How an association to that title is refused; empty when it is not."""
    try:
        with Scu(
            LOOPBACK,
            server.dimse_port,
            propose_service(ECHO),
            called_ae=called,
            calling_ae="MODALITY",
        ):
            return ""
    except Rejected as refusal:
        return str(refusal)


def test_r02_r03_its_names_answer_like_names_of_nobody(
    server: Served, objects: dict[str, list[BuiltInstance]]
) -> None:
    theirs = server.keys.bearer(GONE)
    one = objects[GONE][0]
    assert asked(server, "GET", f"/t/{GONE}/dicomweb/studies", bearer=theirs)[0] == 200
    assert rejected(server, GONE.upper()) == ""
    status, _ = asked(server, "PUT", f"/api/v1/tenants/{GONE}/suspension", WHY)
    assert status == 200
    url = f"/api/v1/tenants/{GONE}/erasure"
    told = json.loads(asked(server, "GET", url)[1])
    assert (told["studies"], told["objects"], told["obstacle"]) == (1, 3, None)
    assert asked(server, "POST", url, {"name": NEIGHBOUR, **WHY})[0] == 400
    status, said = asked(server, "POST", url, {"name": GONE, **WHY})
    assert (status, json.loads(said)["objects"]) == (202, 3)

    def gone() -> bool:
        listed = json.loads(asked(server, "GET", "/api/v1/tenants/details")[1])
        return GONE not in [tenant["name"] for tenant in listed]

    wait_until(gone, SECONDS, "the worker has erased it")
    nonsense = "lwk_" + "A" * 43
    below = f"studies/{one.study_uid}"
    for path in (
        "/t/{}/dicomweb/studies",
        "/t/{}/dicomweb/" + below,
        "/t/{}/dicomweb/" + f"{below}/series/{one.series_uid}/instances/{one.sop_uid}/frames/1",
        "/t/{}/api/v1/studies",
        "/t/{}/api/v1/me",
        "/t/{}/api/v1/sign-in/providers",
    ):
        for bearer in (theirs, server.keys.bearer(), server.keys.bearer(NEIGHBOUR), nonsense):
            found = asked(server, "GET", path.format(GONE), bearer=bearer)
            assert found == asked(server, "GET", path.format(NOBODY), bearer=bearer), path
    found = asked(server, "GET", f"/api/v1/tenants/{GONE}/erasure")
    assert found == asked(server, "GET", f"/api/v1/tenants/{NOBODY}/erasure")
    assert found[0] == 404
    assert asked(server, "GET", "/dicomweb/studies", bearer=theirs)[0] == 401
    # What it kept is nowhere else: the neighbour and the installation know of none of its names.
    for tenant in (NEIGHBOUR, "default"):
        place = "" if tenant == "default" else f"/t/{tenant}"
        key = server.keys.bearer(tenant)
        status, said = asked(server, "GET", f"{place}/dicomweb/studies?StudyInstanceUID={one.study_uid}",
                             bearer=key)  # fmt: skip
        assert status in (200, 204)
        assert one.study_uid.encode() not in said
    nobodys = rejected(server, NOBODY.upper())
    assert nobodys
    wait_until(lambda: rejected(server, GONE.upper()) == nobodys, 5.0, "its title is nobody's")


def test_a_reindex_does_not_bring_it_back_and_all_that_is_kept_is_sound(
    server: Served, objects: dict[str, list[BuiltInstance]]
) -> None:
    checked = server.run("fsck", "--deep", "--json")
    assert checked.returncode == 0, checked.stdout[-3000:]
    server.stop()
    done = server.run("reindex", "--yes")
    assert done.returncode == 0, done.stderr
    server.start()
    listed = json.loads(server.run("tenant", "list", "--json").stdout)
    assert sorted(tenant["name"] for tenant in listed) == ["default", NEIGHBOUR]
    assert server.run("tenant", "create", GONE, "--aet", "ANEW").returncode != 0
    found = asked(server, "GET", f"/t/{GONE}/dicomweb/studies")
    assert found == asked(server, "GET", f"/t/{NOBODY}/dicomweb/studies")
    status, said = asked(
        server,
        "GET",
        f"/t/{NEIGHBOUR}/dicomweb/studies",
        bearer=server.keys.bearer(NEIGHBOUR),
    )
    assert status == 200
    assert objects[NEIGHBOUR][0].study_uid.encode() in said
    assert server.run("fsck").returncode == 0
