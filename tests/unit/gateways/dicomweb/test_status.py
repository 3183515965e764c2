"""The tables are total, and success has one way in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lightwell.access.commit import Stored, committed, sealed
from lightwell.domain.archive.errors import QuotaReached, TooLarge
from lightwell.domain.archive.model import SUCCESSES, Outcome, Verdict
from lightwell.domain.archive.ports import StoreFull
from lightwell.gateways.dicomweb.status import (
    REASON_OF_KIND,
    REASON_OF_OUTCOME,
    Report,
    report_of,
    report_of_error,
    status_of_all,
)
from lightwell.gateways.http.problems import STATUS_OF_KIND, HttpProblem, headers_of, status_of
from lightwell.kernel.errors import Busy, Conflict, Kind, LightwellError, Missing, Unavailable

PROOF = Stored(committed(True), sealed("key"))
VERDICT = Verdict(Outcome.STORED, "1.2", "1.3", "1.4", "1.5", stored=PROOF)


def test_tables_are_total() -> None:
    assert set(REASON_OF_OUTCOME) == set(Outcome)
    assert set(REASON_OF_KIND) == set(STATUS_OF_KIND) == set(Kind)
    assert {o for o, reason in REASON_OF_OUTCOME.items() if reason is None} == SUCCESSES
    assert all(status >= 400 for status in STATUS_OF_KIND.values())


@pytest.mark.parametrize("outcome", sorted(SUCCESSES))
def test_success_needs_proof(outcome: Outcome) -> None:
    assert report_of(replace(VERDICT, outcome=outcome), None).reason is None
    with pytest.raises(TypeError):
        report_of(replace(VERDICT, outcome=outcome, stored=None), None)


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - SUCCESSES))
def test_a_failure_stays_one_even_with_proof(outcome: Outcome) -> None:
    report = report_of(replace(VERDICT, outcome=outcome), None)
    assert report.reason == REASON_OF_OUTCOME[outcome]
    assert report.status == 409


def test_another_study_than_the_address() -> None:
    mismatch = replace(VERDICT, outcome=Outcome.MISMATCH, stored=None)
    assert report_of(mismatch, "9.9").reason == 0xA901
    assert report_of(mismatch, "1.4").reason == 0xA900
    assert report_of(mismatch, None).reason == 0xA900


def test_what_is_held_has_no_address() -> None:
    assert report_of(VERDICT, None).shown
    assert not report_of(replace(VERDICT, outcome=Outcome.HELD), None).shown
    again = replace(VERDICT, outcome=Outcome.DUPLICATE)
    assert report_of(replace(again, reason="duplicate-of-current"), None).shown
    assert not report_of(replace(again, reason="duplicate-of-held"), None).shown


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (StoreFull("x"), 507, 0xA700),
        (QuotaReached("x"), 507, 0xA700),
        (Unavailable("x"), 503, 0xA700),
        (Busy("x"), 503, 0xA700),
        (TooLarge("x"), 413, 0xC000),
        (Conflict("x"), 409, 0xC001),
        (Missing("x"), 404, 0x0110),
        (LightwellError("x"), 500, 0x0110),
    ],
)
def test_errors(error: LightwellError, status: int, reason: int) -> None:
    assert status_of(error) == status
    assert report_of_error(error).reason == reason
    assert bool(headers_of(error)) is (status in (503, 507))


def test_problems_of_http_keep_their_status() -> None:
    assert status_of(HttpProblem(406, "x")) == 406
    assert HttpProblem(406, "x").kind is Kind.INVALID


OK, BAD = Report(), Report(reason=0xC000, status=409)


@pytest.mark.parametrize(
    ("reports", "status"),
    [
        ([OK], 200),
        ([OK, BAD], 202),
        ([BAD], 409),
        ([BAD, Report(reason=0xA700, status=503)], 409),
        ([Report(reason=0xA700, status=503)] * 2, 503),
        ([Report(reason=0xA700, status=507)], 507),
        ([OK, Report(reason=0xA700, status=507)], 202),
        ([Report(reason=0xC000, status=413)], 413),
    ],
)
def test_the_whole_request(reports: list[Report], status: int) -> None:
    assert status_of_all(reports) == status
