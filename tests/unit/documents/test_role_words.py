"""The administration pages name the roles, grants and ways of settling that there are."""

from __future__ import annotations

import re
from pathlib import Path

from lightwell.access.roles import Role
from lightwell.domain.peers.model import GRANTABLE, PeerType
from lightwell.domain.tenants.model import SETTLINGS

WORDS = Path(__file__).resolve().parents[3] / "web" / "src" / "panels" / "admin" / "words.ts"


def named(table: str) -> list[str]:
    text = WORDS.read_text()
    body = text.partition(f"export const {table}:")[2].partition("\n];")[0]
    return re.findall(r"name: '([^']+)'", body)


def test_each_role_kind_and_grant_has_its_line() -> None:
    assert set(named("ROLES")) == set(Role)
    assert set(named("PEER_TYPES")) == set(PeerType)
    assert {*named("GRANTS"), "echo"} == set(GRANTABLE)
    assert set(named("SETTLINGS")) == set(SETTLINGS)
