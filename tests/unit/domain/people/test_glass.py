"""Break-glass and sealed accounts: the rules of what may be typed, from where, and for how long."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lightwell.domain.patients.model import issuer_for
from lightwell.domain.people.glass import (
    DEFAULT_PLACES,
    LIFE,
    REVIEW_WITHIN,
    Opening,
    OpeningKind,
    Review,
    Verdict,
    allowed_from,
    checked_patient,
    checked_places,
    checked_reason,
    checked_remark,
    keyed,
)
from lightwell.kernel.errors import Invalid

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def opening(**more: object) -> Opening:
    made = Opening(
        uuid.uuid4(), OpeningKind.PATIENT, uuid.uuid4(), "ada", "192.0.2.1", NOON, NOON + LIFE
    )
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "because", " " * 30, "a\u0000very good reason", "x" * 501, "too    short"]
)
def test_r05_what_is_no_reason(text: str) -> None:
    with pytest.raises(Invalid):
        checked_reason(text)


def test_r05_a_reason_is_one_line_however_it_was_typed() -> None:
    assert checked_reason("  Stroke,\n nobody   else here\t") == "Stroke, nobody else here"
    assert checked_reason("x" * 10) == "x" * 10
    assert checked_reason("x" * 500) == "x" * 500


@pytest.mark.parametrize(
    ("issuer", "patient_id"),
    [
        ("", ""),
        ("HOSPITAL", "  "),
        ("", "*"),
        ("", "47?1"),
        ("*", "4711"),
        ("", "4711\\4712"),
        ("", "x" * 65),
        ("x" * 65, "4711"),
        ("", "47\n11"),
        ("", "47\x0011"),
    ],
)
def test_r05_nobody_and_everybody_are_no_patient(issuer: str, patient_id: str) -> None:
    with pytest.raises(Invalid):
        checked_patient(issuer, patient_id)


def test_a_patient_is_named_as_on_the_request() -> None:
    assert checked_patient(" HOSPITAL ", " 4711 ") == ("HOSPITAL", "4711")
    assert checked_patient("", "Müller-1/A") == ("", "Müller-1/A")


def test_an_issuer_as_typed_means_the_key_the_archive_made() -> None:
    """The one rule of `patients.model` seen from the other side."""

    def kept(stated: str, given: str | None = None, pid: str = "4711") -> str:
        return issuer_for(stated, given, source="CT1", pid=pid, study_uid="1.2")

    assert keyed("HOSPITAL", kept("HOSPITAL"))
    assert keyed("HOSPITAL", kept("", "HOSPITAL"))
    assert keyed("", kept(""))
    assert keyed("~CT1", kept("~CT1")), "one that was stated so"
    assert not keyed("~CT1", kept("")), "one we made up is nobody's to type"
    assert not keyed("", kept("HOSPITAL"))
    assert not keyed("", kept("~CT1"))
    assert not keyed("", kept("", pid="")), "the patient of one study, without an ID"
    assert not keyed("HOSPITAL", kept(""))


def test_r05_it_is_open_for_sixty_minutes_and_not_a_moment_longer() -> None:
    one = opening()
    assert one.open(NOON)
    assert one.open(NOON + timedelta(minutes=60) - timedelta(microseconds=1))
    assert not one.open(NOON + timedelta(minutes=60))
    assert not opening(ended=NOON).open(NOON)


def test_it_is_overdue_after_three_days_unless_judged() -> None:
    late = NOON + REVIEW_WITHIN
    assert not opening().overdue(late - timedelta(seconds=1))
    assert opening().overdue(late)
    assert not opening(review=Review(NOON, "person:rev", Verdict.JUSTIFIED)).overdue(late)


def test_what_was_not_justified_needs_a_remark() -> None:
    assert checked_remark("", Verdict.JUSTIFIED) == ""
    assert checked_remark("Talked to\nher.", Verdict.NOT_JUSTIFIED) == "Talked to her."
    for text, verdict in (("", Verdict.NOT_JUSTIFIED), ("x" * 501, Verdict.JUSTIFIED)):
        with pytest.raises(Invalid):
            checked_remark(text, verdict)


# --- sealed accounts: from where -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("places", "origin", "may"),
    [
        (DEFAULT_PLACES, "127.0.0.1", True),
        (DEFAULT_PLACES, "::1", True),
        (DEFAULT_PLACES, "10.1.2.3", True),
        (DEFAULT_PLACES, "::ffff:10.1.2.3", True),
        (DEFAULT_PLACES, "8.8.8.8", False),
        (DEFAULT_PLACES, "", False),
        (DEFAULT_PLACES, "localhost", False),
        (("loopback",), "10.1.2.3", False),
        (("private",), "127.0.0.1", False),
        (("10.20.0.0/16",), "10.20.3.4", True),
        (("10.20.0.0/16",), "::ffff:10.20.3.4", True),
        (("10.20.0.0/16",), "10.21.3.4", False),
        (("2001:db8::/32",), "2001:db8::5", True),
        (("2001:db8::/32",), "10.20.3.4", False),
        (("public",), "8.8.8.8", True),
    ],
)
def test_from_where_a_sealed_account_is_used(
    places: tuple[str, ...], origin: str, may: bool
) -> None:
    assert allowed_from(places, origin) is may


def test_places_are_checked_and_written_one_way() -> None:
    assert checked_places(["Loopback", "10.20.3.4/16", "10.20.0.0/16", "192.0.2.7"]) == (
        "loopback",
        "10.20.0.0/16",
        "192.0.2.7/32",
    )
    for bad in ([], ["anywhere"], ["10.0.0.0/33"], ["loopback"] * 33):
        with pytest.raises(Invalid):
            checked_places(bad)
