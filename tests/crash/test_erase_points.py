"""kill -9 while a tenant is erased: it goes on, nothing of it comes back, another loses nothing (D15).

The command is killed at each point beside a running server, whose worker then ends it; and with no server,
where asking again ends it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lightwell.kernel.crashpoints import VARIABLE
from tests.crash.conftest import objects

POINTS = ("e1", "e2", "e3:3", "e4", "e5", "e6")
SECONDS = 120.0
SETTLED = {"LIGHTWELL_SETTLE_AFTER": "1", "LIGHTWELL_LANDED_GRACE": "0"}


@pytest.fixture(scope="module", autouse=True)
def neighbour(ward: Any) -> None:
    """The tenant that stays keeps something, too; series are packed at once."""
    ward.send(objects(4000, 2, 4))
    ward.server.stop()
    ward.server.start(**SETTLED)


def tenants(server: Any) -> dict[str, Any]:
    done = server.command("tenant", "list", "--json")
    assert done.returncode == 0, done.stderr
    return {each["name"]: each for each in json.loads(done.stdout)}


def stored(server: Any, name: str) -> Iterator[Path]:
    for path in (server.data / "blobs" / "local" / name).rglob("*"):
        if path.is_file():
            yield path


def said(server: Any, *arguments: str) -> str:
    done = server.command(*arguments)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def filled(server: Any, name: str, made: Any, wait_until: Callable[..., None]) -> None:
    """A tenant with objects that landed, lie in rows and lie in packs; then nobody is served."""
    said(server, "tenant", "create", name, "--aet", name.upper())
    body = b"".join(
        b"--lw\r\nContent-Type: application/dicom\r\n\r\n" + built.part10 + b"\r\n"
        for built in made
    )
    url = f"{server.url}/t/{name}/dicomweb/studies"

    def sent() -> bool:  # a serving process may not have heard of the tenant yet
        answer = httpx.post(
            url,
            content=body + b"--lw--\r\n",
            headers={"content-type": 'multipart/related; type="application/dicom"; boundary=lw'},
            timeout=60,
            auth=server.keys,
        )
        return answer.status_code == 200

    wait_until(sent, SECONDS, "an upload")
    packs = server.data / "blobs" / "local" / name / "pack"
    wait_until(lambda: any(p.is_file() for p in packs.rglob("*")), SECONDS, "a pack")
    said(server, "tenant", "suspend", name, "--reason", "the contract has ended")


def asked(name: str) -> tuple[str, ...]:
    return ("tenant", "erase", name, "--confirm", name, "--reason", "the contract has ended")


def is_nobody(server: Any, name: str, made: Any) -> None:
    """Its addresses answer as those of a tenant that never was."""
    for path in ("studies", f"studies/{made[0].study_uid}/metadata"):
        found = [
            httpx.get(
                f"{server.url}/t/{who}/dicomweb/{path}",
                headers={"authorization": f"Bearer {server.keys.bearer()}"},
                timeout=60,
            )
            for who in (name, "nobody")
        ]
        assert found[0].status_code == found[1].status_code
        assert found[0].content == found[1].content
        assert found[0].status_code in (401, 403, 404)


def is_gone(server: Any, name: str) -> None:
    assert name not in tenants(server)
    assert list(stored(server, name)) == []
    refused = server.command("tenant", "create", name, "--aet", "AGAIN")
    assert refused.returncode != 0
    assert "was erased" in refused.stderr


@pytest.mark.parametrize("point", POINTS)
def test_the_worker_ends_what_was_killed(
    ward: Any, new_objects: Callable[..., Any], wait_until: Callable[..., None], point: str
) -> None:
    server, name = ward.server, f"gone-{point[:2]}"
    made = new_objects(4100 + POINTS.index(point), 3, 4)
    filled(server, name, made, wait_until)
    killed = server.command(*asked(name), **{VARIABLE: point})
    # The worker may have come first: then the command waits for it, and passes no point.
    assert killed.returncode in (-9, 0), killed.stderr
    is_nobody(server, name, made)

    def gone() -> bool:
        is_nobody(server, name, made)
        return name not in tenants(server)

    wait_until(gone, SECONDS, f"{name} is gone")
    wait_until(lambda: "was erased" in said(server, *asked(name)), SECONDS, "it is said to be done")
    is_gone(server, name)
    ward.judge()


@pytest.mark.parametrize("point", POINTS)
def test_asking_again_ends_what_was_killed(
    ward: Any, new_objects: Callable[..., Any], wait_until: Callable[..., None], point: str
) -> None:
    server, name = ward.server, f"lost-{point[:2]}"
    made = new_objects(4200 + POINTS.index(point), 3, 4)
    filled(server, name, made, wait_until)
    server.stop()
    killed = server.command(*asked(name), **{VARIABLE: point})
    assert killed.returncode == -9, (killed.stdout, killed.stderr)
    left = len(list(stored(server, name)))
    assert (left > 0) is (point in ("e1", "e2", "e3:3")), left
    checked = server.command("fsck", "--json")
    assert checked.returncode == 0, checked.stdout[-2000:]
    if point in ("e2", "e3:3"):  # a re-index in the midst of it
        said(server, "reindex", "--yes")
        assert len(list(stored(server, name))) == left
    said(server, *asked(name))
    is_gone(server, name)
    server.start(**SETTLED)
    is_nobody(server, name, made)
    ward.judge()
