"""A policy that forbids everything in the installation's own tenant, against a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lightwell.testing.served import Served, serving

SHUT = '@id("shut") @reason("everything is shut") forbid (principal, action, resource);'


@pytest.fixture
def server() -> Iterator[Served]:
    with serving(workers=1) as served:
        yield served


def test_the_server_starts_again_and_the_operator_takes_the_policy_back(server: Served) -> None:
    file = server.folder / "shut.cedar"
    file.write_text(SHUT)
    put = server.run("policy", "put", str(file))
    assert put.returncode == 0, put.stderr
    server.restart()
    beside = server.run("policy", "remove", "shut")
    assert beside.returncode == 0, beside.stderr
    assert server.run("policy", "put", str(file)).returncode == 0
    server.stop()
    without = server.run("policy", "remove", "shut")
    assert without.returncode == 0, without.stderr
    assert "shut" not in server.run("policy", "list").stdout
