"""The page of who may do what: it is what the generator makes, and nothing is left out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightwell.access.actions import Action
from lightwell.access.roles import Role
from lightwell.app import matrix
from lightwell.app.matrix import Answer, Whose, answer, peer, person
from lightwell.gateways.console import asked as console
from lightwell.gateways.dimse.asked import ASKED
from lightwell.gateways.dimse.association_service import SERVICES
from lightwell.gateways.http.routes import Open
from lightwell.kernel.errors import Broken

PAGE = Path(__file__).resolve().parents[3] / "docs/security/matrix.md"


def test_r01_the_page_is_what_the_policies_say() -> None:
    assert PAGE.read_text("utf-8") == matrix.page(), (
        "run: python -m lightwell.app.matrix > docs/security/matrix.md"
    )


def test_r01_every_operation_that_is_served_has_its_action() -> None:
    assert ASKED.keys() == SERVICES.keys()


def test_r01_every_address_of_the_console_table_is_served() -> None:
    assert console.ASKED.keys() <= matrix.rows().keys()


def test_r01_an_address_of_which_nobody_has_said_what_is_asked_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {"GET /livez": Open.PUBLIC, "GET /api/v1/backdoor": None}
    monkeypatch.setattr(matrix, "addresses", lambda: found)
    with pytest.raises(Broken, match="GET /api/v1/backdoor"):
        matrix.rows()


def test_what_is_not_of_their_tenant_is_unknown_to_everybody() -> None:
    for role in Role:
        for asked in (*Action, Open.RECOGNISED):
            assert answer(person(role), asked, Whose.ELSEWHERE) is Answer.UNKNOWN


def test_some_cells_by_hand() -> None:
    see, search = Action.ARCHIVE_INSTANCE_RETRIEVE, Action.ARCHIVE_STUDY_QUERY
    assert matrix.cell(person(Role.ADMIN), see) == "YYY0"
    assert matrix.cell(person(Role.RADIOLOGIST), see) == "YY00"
    assert matrix.cell(person(Role.REFERRER), see) == "Y000"
    assert matrix.cell(person(Role.PATIENT), search) == "Y000"
    assert matrix.cell(person(Role.AUDITOR), see) == "---0"
    assert matrix.cell(person(Role.AUDITOR), search) == "YY00"
    assert matrix.cell(person(Role.RESEARCHER), search) == "---0"
    assert matrix.cell(peer("find"), search) == "YYY0"
    assert matrix.cell(peer("store"), search) == "---0"
