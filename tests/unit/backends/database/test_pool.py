"""What a driver's error means to those above: away for now, or a bug that must show itself."""

from __future__ import annotations

import asyncpg
import pytest

from lightwell.backends.database.pool import FAILURES, translated
from lightwell.backends.database.roles import DatabaseUnavailable


@pytest.mark.parametrize(
    "error",
    [
        # Between the server's last word and the end of its connection, after a kill.
        asyncpg.InternalClientError(
            "cannot switch to state 12; another operation (2) is in progress"
        ),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        ConnectionResetError(),
        TimeoutError(),
    ],
)
def test_a_database_that_goes_away_is_said_to_be_away(error: Exception) -> None:
    assert isinstance(error, FAILURES)
    assert isinstance(translated(error), DatabaseUnavailable)


def test_a_bug_is_not_translated() -> None:
    assert translated(asyncpg.UndefinedColumnError("column x does not exist")) is None
    assert translated(KeyError("x")) is None
