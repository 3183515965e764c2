"""Whose image is it: issuers that keep IDs apart, and names that are the same."""

from __future__ import annotations

import pytest

from lightwell.domain.patients.model import (
    Agreement,
    PatientFacts,
    compare,
    issuer_for,
    public_issuer,
)


@pytest.mark.parametrize(
    ("stated", "given", "pid", "expected"),
    [
        ("HOSPITAL", "PEER", "1", "HOSPITAL"),
        ("", "PEER", "1", "PEER"),
        ("", None, "1", "~CT1"),
        ("HOSPITAL", "PEER", "", "~study:1.2"),
        (
            "~CT1",
            None,
            "1",
            "\\~CT1",
        ),  # says what we would make up for CT1's patients, and is none of them
    ],
)
def test_the_issuer_of_an_id(stated: str, given: str | None, pid: str, expected: str) -> None:
    assert issuer_for(stated, given, source="CT1", pid=pid, study_uid="1.2") == expected


def test_an_issuer_of_ours_never_leaves() -> None:
    assert public_issuer("~CT1") == ""
    assert public_issuer("\\~CT1") == "~CT1"
    assert public_issuer("HOSPITAL") == "HOSPITAL"


def test_ideographic_and_phonetic_groups_belong_to_the_name() -> None:
    known = PatientFacts("H", "1", "Yamada^Tarou=山田^太郎=やまだ^たろう", "19600101")
    assert (
        compare(known, PatientFacts("H", "1", "YAMADA^TAROU=山田^太郎=やまだ^たろう"))
        is Agreement.SAME
    )
    assert compare(known, PatientFacts("H", "1", "Yamada^Tarou=山本^太郎")) is Agreement.DIFFERS
