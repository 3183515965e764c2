"""What forbids that a tenant is erased, and what is remembered of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lightwell.access.context import Tenant
from lightwell.domain.tenants.erasing import (
    Erasure,
    Figures,
    checked_confirmation,
    erasure_from_json,
    erasure_to_json,
    obstacle,
)
from lightwell.kernel.errors import Invalid

CLINIC = Tenant(2, "clinic", "Clinic", "CLINIC", suspended=True, suspension="left")
HOME = Tenant(1, "default", "Default", "LIGHTWELL")


@pytest.mark.parametrize(
    ("tenant", "exporting", "says"),
    [
        (CLINIC, False, None),
        (CLINIC, True, "written out"),
        (replace(CLINIC, suspended=False), False, "is served"),
        (replace(CLINIC, suspended=False), True, "is served"),
        (replace(CLINIC, demo=True, quota_bytes=0), False, None),
        (HOME, False, "installation"),
        (HOME, True, "installation"),
        (replace(HOME, suspended=True), False, "installation"),
    ],
)
def test_what_forbids_it(tenant: Tenant, exporting: bool, says: str | None) -> None:
    found = obstacle(tenant, exporting=exporting)
    assert (found is None) == (says is None)
    if found is not None and says is not None:
        assert says in found.what
        assert found.remedy


@pytest.mark.parametrize("typed", ["", "Clinic", "clinic ", "clinics", "default"])
def test_another_name_confirms_nothing(typed: str) -> None:
    with pytest.raises(Invalid, match="confirm"):
        checked_confirmation("clinic", typed)
    checked_confirmation("clinic", "clinic")


@pytest.mark.parametrize("number", [7, None])
@pytest.mark.parametrize("finished", [None, datetime(2026, 11, 30, 12, tzinfo=UTC)])
def test_it_comes_back_from_the_journal(number: int | None, finished: datetime | None) -> None:
    begun = datetime(2026, 11, 30, 11, tzinfo=UTC)
    erasure = Erasure(
        "clinic",
        number,
        "local",
        "left",
        "operator:ada",
        begun,
        Figures(1, 2, 3),
        finished=finished,
    )
    assert erasure_from_json(erasure_to_json(erasure)) == erasure


@pytest.mark.parametrize("missing", ["name", "number", "begun", "finished", "studies"])
def test_half_an_entry_is_none(missing: str) -> None:
    begun = datetime(2026, 11, 30, 11, tzinfo=UTC)
    body = erasure_to_json(Erasure("clinic", 7, "local", "left", "x", begun, Figures()))
    del body[missing]
    with pytest.raises(KeyError):
        erasure_from_json(body)
