"""The fixtures themselves: each test has a house of its own, and commands find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lightwell.access.context import Context
from lightwell.app.wiring import House
from lightwell.domain.archive.model import Announced, Outcome
from lightwell.testing.builders import a_study

if TYPE_CHECKING:
    from tests.conftest import Installation


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_begins_with_an_empty_archive(
    house: House, context: Context, turn: int
) -> None:
    assert (await house.archive.totals(context)).instances == 0
    built = a_study().with_series("CT").only()
    announced = Announced(built.sop_class, built.sop_uid, built.syntax, "TEST")
    writer = house.archive.stage(context, announced)
    writer.write(built.dataset)
    assert (await house.archive.store(context, writer)).outcome is Outcome.STORED
    assert (await house.archive.totals(context)).instances == 1


async def test_a_command_sees_the_same_installation(
    installation: Installation, house: House, context: Context
) -> None:
    done = installation.run("tenant", "list", "--json", check=True)
    assert '"LIGHTWELL"' in done.stdout
