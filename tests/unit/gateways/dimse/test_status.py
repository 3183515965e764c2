"""The tables are total, and success has one way in."""

from __future__ import annotations

import pytest

from lightwell.access.commit import Stored, committed, sealed
from lightwell.domain.archive.model import SUCCESSES, Outcome, Verdict
from lightwell.gateways.dimse.status import (
    NOT_ACKNOWLEDGED,
    Service,
    comment,
    of_error,
    of_verdict,
)
from lightwell.kernel.errors import Broken, Kind, LightwellError, Refused
from lightwell.wire.dimse.status import SUCCESS, Category, category


def _verdict(outcome: Outcome, *, proof: bool) -> Verdict:
    stored = Stored(committed(True), sealed("key")) if proof else None
    return Verdict(outcome, "1.2", "1.2.3", stored=stored)


def test_every_outcome_has_a_status_and_no_two_tables_speak_of_it() -> None:
    assert set(NOT_ACKNOWLEDGED) | SUCCESSES == set(Outcome)
    assert not set(NOT_ACKNOWLEDGED) & SUCCESSES


@pytest.mark.parametrize("outcome", sorted(SUCCESSES))
def test_success_needs_the_proof(outcome: Outcome) -> None:
    assert of_verdict(_verdict(outcome, proof=True)) == SUCCESS
    with pytest.raises(Broken):
        of_verdict(_verdict(outcome, proof=False))


@pytest.mark.parametrize("outcome", sorted(NOT_ACKNOWLEDGED))
def test_what_is_not_acknowledged_is_a_failure_even_with_a_proof(outcome: Outcome) -> None:
    for proof in (False, True):
        assert category(of_verdict(_verdict(outcome, proof=proof))) is Category.FAILURE


@pytest.mark.parametrize("service", list(Service))
@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_of_error_is_a_failure_in_every_service(service: Service, kind: Kind) -> None:
    error = LightwellError("what happened")
    error.kind = kind
    assert category(of_error(error, service)) is Category.FAILURE


def test_a_refusal_says_so_everywhere() -> None:
    assert {of_error(Refused("no"), service) for service in Service} == {0x0124}


def test_a_comment_fits_its_element() -> None:
    assert comment(LightwellError("x" * 100)) == "x" * 64
