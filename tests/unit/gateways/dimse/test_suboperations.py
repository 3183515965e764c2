"""Counters and final statuses of C-MOVE and C-GET."""

from __future__ import annotations

import pytest

from lightwell.gateways.dimse.identifiers import write_identifier
from lightwell.gateways.dimse.sending import offered
from lightwell.gateways.dimse.suboperations import Progress, failed_list
from lightwell.wire.dimse.status import (
    SUBOPERATIONS_COMPLETE_WITH_FAILURES,
    SUCCESS,
    UNABLE_TO_PERFORM_SUBOPERATIONS,
)

FAILED, WARNED = 0xA700, 0xB000


@pytest.mark.parametrize(
    ("answers", "final"),
    [
        ([], SUCCESS),
        ([SUCCESS, SUCCESS], SUCCESS),
        ([SUCCESS, FAILED], SUBOPERATIONS_COMPLETE_WITH_FAILURES),
        ([SUCCESS, WARNED], SUBOPERATIONS_COMPLETE_WITH_FAILURES),
        ([WARNED, 0xB006, 0xB007], SUBOPERATIONS_COMPLETE_WITH_FAILURES),
        ([WARNED, FAILED], SUBOPERATIONS_COMPLETE_WITH_FAILURES),
        ([FAILED, 0xC000, 0x0110], UNABLE_TO_PERFORM_SUBOPERATIONS),
    ],
)
def test_the_end_follows_from_the_parts(answers: list[int], final: int) -> None:
    progress = Progress(remaining=len(answers))
    arrived = [progress.count(answer) for answer in answers]
    assert progress.final_status == final
    assert progress.remaining == 0
    assert sum(arrived) == progress.completed + progress.warnings
    assert progress.completed + progress.warnings + progress.failed == len(answers)


def test_counters_say_the_most_they_can() -> None:
    fields = Progress(remaining=0, completed=70_000).fields()
    assert fields["NumberOfCompletedSuboperations"] == 0xFFFF


def test_a_long_list_of_failures_stays_one_element() -> None:
    uids = [f"1.2.840.{index:050}" for index in range(5000)]
    (element,) = failed_list(uids).values()
    assert 0 < len(element["Value"]) < 5000
    raw = write_identifier(failed_list(uids), "1.2.840.10008.1.2.1")
    assert raw[:6] == b"\x08\x00\x58\x00UI"
    assert element["Value"] == uids[: len(element["Value"])]


@pytest.mark.parametrize(
    ("syntax", "wanted", "answer"),
    [
        ("1.2.840.10008.1.2.1", (), True),
        ("1.2.840.10008.1.2.1", ("1.2.840.10008.1.2.4.90",), True),
        ("1.2.840.10008.1.2.4.90", (), True),
        ("1.2.840.10008.1.2.4.90", ("1.2.840.10008.1.2.4.80",), False),
        ("1.2.840.10008.1.2.4.201", (), False),
        ("1.2.840.10008.1.2.4.201", ("1.2.840.10008.1.2.4.201",), True),
    ],
)
def test_what_a_destination_is_offered(syntax: str, wanted: tuple[str, ...], answer: bool) -> None:
    assert offered(syntax, wanted) is answer
