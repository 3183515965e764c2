"""What a tenant may be called, and how much it may be told to keep."""

from __future__ import annotations

import pytest

from lightwell.domain.archive.model import Allowance
from lightwell.domain.tenants.model import QUOTA_LIMIT, checked_quota, parsed_size
from lightwell.kernel.errors import Invalid


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1000", 1000),
        ("2TB", 2 * 10**12),
        ("1.5 TB", 1_500_000_000_000),
        ("500GiB", 500 * 2**30),
        ("12kB", 12_000),
        ("1PiB", 2**50),
        (" 7B ", 7),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parsed_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "-1", "TB", "1e9", "2 parsecs", "1iB", "2000PB", "1" * 13, "٣"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(Invalid):
        parsed_size(text)


def test_the_greatest_quota() -> None:
    assert checked_quota(QUOTA_LIMIT) == QUOTA_LIMIT
    for wrong in (-1, QUOTA_LIMIT + 1):
        with pytest.raises(Invalid):
            checked_quota(wrong)


@pytest.mark.parametrize(
    ("allowance", "size", "studies", "leaves"),
    [
        (Allowance(5, 100), 10**15, 10**6, True),
        (Allowance(5, 100, most_bytes=110), 10, 1, True),
        (Allowance(5, 100, most_bytes=110), 11, 1, False),
        (Allowance(5, 100, most_studies=6), 10**15, 1, True),
        (Allowance(6, 100, most_studies=6), 1, 1, False),
        (Allowance(7, 100, most_studies=6), 1, 0, True),
        (Allowance(0, 0, most_studies=0), 1, 1, False),
        (Allowance(0, 200, most_bytes=100), 0, 0, False),
    ],
)
def test_what_is_left(allowance: Allowance, size: int, studies: int, leaves: bool) -> None:
    assert allowance.leaves(size, studies) is leaves
