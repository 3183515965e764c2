"""Sizes as `lightwell tenant list` says them."""

from __future__ import annotations

import pytest

from lightwell.app.commands.tenant_commands import size_said


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (47_800, "47.8 kB"),
        (999_960, "1.0 MB"),
        (59_200_000, "59.2 MB"),
        (2 * 10**12, "2.0 TB"),
        (5 * 10**18, "5000.0 PB"),
    ],
)
def test_a_size_is_never_nothing_where_there_is_something(size: int, said: str) -> None:
    assert size_said(size) == said
