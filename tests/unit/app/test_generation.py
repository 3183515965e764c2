"""A child waits for its generation, and ends without a word when there will be none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lightwell.app.generation import Generation
from lightwell.app.settings import Settings, parse_endpoint
from lightwell.backends.database.roles import ConnectionInfo, Role

WAIT = (
    "from lightwell.app.generation import await_generation, read_generation;"
    " heard = await_generation(); assert read_generation() == heard;"
    " print(heard.name, heard.settings.data, sorted(heard.info.urls))"
)


def a_generation() -> Generation:
    settings = Settings(Path("/data"), parse_endpoint(":8042"), parse_endpoint(":11112"))
    urls = {role: f"postgresql://{role}:word@/lightwell" for role in Role}
    return Generation(settings, ConnectionInfo(urls), "dimse-1")


def waiting(said: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", WAIT], input=said, capture_output=True, check=False
    )


def test_a_child_hears_its_generation_and_not_the_owner_s_address() -> None:
    done = waiting(a_generation().to_text().encode())
    assert done.stderr == b""
    assert done.stdout.decode().strip() == f"dimse-1 /data {[Role.APP, Role.WORK]!r}"
    assert Role.OWNER.value not in a_generation().to_text()


def test_a_start_that_was_refused_ends_those_who_wait() -> None:
    done = waiting(b"")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
