"""The counts of an import add up whatever happens, and nothing unproved counts as kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.access.commit import Stored, committed, sealed
from lightwell.domain.archive.model import SUCCESSES, Outcome, Verdict
from lightwell.gateways.media.report import (
    FATES,
    REASONS,
    Fate,
    ImportReport,
    failed,
    judged,
    refused,
)
from lightwell.kernel.errors import Kind, LightwellError

PROOF = Stored(committed(True), sealed("k"))


def verdict(outcome: Outcome, *, proved: bool = True) -> Verdict:
    return Verdict(outcome, "1.2", "1.3", stored=PROOF if proved else None)


def test_tables_are_total() -> None:
    assert FATES.keys() == set(Outcome)
    assert REASONS.keys() == set(Kind)


def test_what_is_acknowledged_is_kept_and_nothing_else() -> None:
    assert {outcome for outcome, fate in FATES.items() if fate is not Fate.REFUSED} == SUCCESSES


@pytest.mark.parametrize("outcome", sorted(SUCCESSES))
def test_a_success_without_its_proof_is_a_mistake_of_ours(outcome: Outcome) -> None:
    assert judged("f", verdict(outcome)).fate is FATES[outcome]
    with pytest.raises(TypeError, match="proof"):
        judged("f", verdict(outcome, proved=False))


@given(st.lists(st.sampled_from([*Outcome, *Kind, "not DICOM", "directory", "encrypted"])))
def test_found_is_the_sum_of_the_four(events: list[Outcome | Kind | str]) -> None:
    report = ImportReport()
    for event in events:
        if isinstance(event, Outcome):
            report.add(judged("f", verdict(event)))
        elif isinstance(event, Kind):
            error = LightwellError("no")
            error.kind = event
            report.add(failed("f", error))
        else:
            report.add(refused("f", event))
    body = report.to_json()
    assert body["found"] == len(events) == sum(int(str(body[fate.value])) for fate in Fate)
    assert (
        len(report.files)
        == sum(report.reasons.values())
        == len(events) - report.counts[Fate.STORED]
    )


@given(st.text())
def test_names_and_details_are_one_printable_line(text: str) -> None:
    line = refused(text, "not DICOM", text)
    assert line.name.isprintable()
    assert line.detail.isprintable()
    assert len(line.name) <= 512


def test_a_cd_without_surprises_needs_no_look() -> None:
    assert not refused("DICOMDIR", "directory").unexpected
    assert not refused("autorun.inf", "not DICOM").unexpected
    assert refused("x", "encrypted").unexpected
    assert judged("x", verdict(Outcome.CONFLICT)).unexpected
