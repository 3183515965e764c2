"""What is said of a peer that could not be called."""

from __future__ import annotations

import pytest

from lightwell.gateways.dimse.probing import refusal


@pytest.mark.parametrize(
    ("why", "says"),
    [
        ("no connection: ConnectionRefusedError", "Nothing listens"),
        ("no connection: gaierror", "host name is not known"),
        ("no connection: TimeoutError", "does not answer"),
        ("rejected (1/1/3)", "It does not know our AE title LIGHTWELL"),
        ("rejected (1/1/7)", "not its own"),
        ("rejected (2/3/2)", "No association: rejected (2/3/2)."),
    ],
)
def test_each_failure_says_what_to_look_at(why: str, says: str) -> None:
    assert says in refusal(why, "LIGHTWELL")
