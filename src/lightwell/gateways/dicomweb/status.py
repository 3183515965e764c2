"""What becomes of an arrival, said in DICOMweb: two total tables and the status of the whole request.

Failure reasons are those of PS3.18 Table I.2-2 (PS3.4 B.2.3). Success is reached through
`acknowledge` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from lightwell.access.commit import acknowledge
from lightwell.domain.archive.errors import TooLarge
from lightwell.domain.archive.model import Outcome, Verdict
from lightwell.domain.archive.ports import StoreFull
from lightwell.gateways.http.problems import status_of
from lightwell.kernel.errors import Kind, LightwellError

OUT_OF_RESOURCES: Final = 0xA700
NOT_THE_ANNOUNCED: Final = 0xA900
OTHER_STUDY: Final = 0xA901
NOT_UNDERSTOOD: Final = 0xC000
PROCESSING_FAILURE: Final = 0x0110
NOT_AUTHORIZED: Final = 0x0124

REASON_OF_OUTCOME: Final[Mapping[Outcome, int | None]] = MappingProxyType(
    {
        Outcome.STORED: None,
        Outcome.DUPLICATE: None,
        Outcome.CANDIDATE: None,
        Outcome.HELD: None,
        Outcome.STILL_REJECTED: None,
        Outcome.CONFLICT: 0xC001,
        Outcome.REJECTED: 0xA771,
        Outcome.UNREADABLE: NOT_UNDERSTOOD,
        Outcome.MISMATCH: NOT_THE_ANNOUNCED,
    }
)
"""Failure reason (0008,1197) by outcome; None is success."""

REASON_OF_KIND: Final[Mapping[Kind, int]] = MappingProxyType(
    {
        Kind.INVALID: NOT_UNDERSTOOD,
        Kind.REFUSED: NOT_AUTHORIZED,
        Kind.MISSING: PROCESSING_FAILURE,
        Kind.GONE: PROCESSING_FAILURE,
        Kind.CONFLICT: 0xC001,
        Kind.BUSY: OUT_OF_RESOURCES,
        Kind.UNAVAILABLE: OUT_OF_RESOURCES,
        Kind.BROKEN: PROCESSING_FAILURE,
    }
)


@dataclass(frozen=True, slots=True)
class Report:
    """How one part of an upload ended. `reason` None is success; empty UIDs: not identified."""

    sop_class: str = ""
    sop_uid: str = ""
    study_uid: str = ""
    series_uid: str = ""
    reason: int | None = None
    status: int = 200  # what HTTP would say of this part alone
    shown: bool = True  # can be retrieved: not held, not a candidate


def report_of(verdict: Verdict, study_uid: str | None) -> Report:
    """The report of a part the archive has judged."""
    reason = REASON_OF_OUTCOME[verdict.outcome]
    if reason is None:
        if verdict.stored is None:
            raise TypeError(f"{verdict.outcome} came without proof that it is stored")
        acknowledge(verdict.stored)
    elif verdict.outcome is Outcome.MISMATCH and study_uid not in (None, verdict.study_uid):
        reason = OTHER_STUDY
    return Report(
        verdict.sop_class,
        verdict.sop_uid,
        verdict.study_uid,
        verdict.series_uid,
        reason=reason,
        status=200 if reason is None else 409,
        shown=verdict.outcome is Outcome.STORED or verdict.reason == "duplicate-of-current",
    )


def report_of_error(error: LightwellError, sop_class: str = "", sop_uid: str = "") -> Report:
    """The report of a part that could not be judged or kept."""
    reason = REASON_OF_KIND[error.kind]
    if isinstance(error, TooLarge):
        reason = NOT_UNDERSTOOD
    elif isinstance(error, StoreFull):
        reason = OUT_OF_RESOURCES
    status = status_of(error)
    return Report(sop_class, sop_uid, reason=reason, status=409 if status == 400 else status)


def status_of_all(reports: Sequence[Report]) -> int:
    """The status of a whole upload (PS3.18 Table 10.5.3-1).

    200 all stored, 202 some; when none is, 409, or the one thing that stopped them all (413, 503, 507).
    """
    failed = [report for report in reports if report.reason is not None]
    if not failed:
        return 200
    if len(failed) < len(reports):
        return 202
    statuses = {report.status for report in failed}
    return statuses.pop() if len(statuses) == 1 else 409
