"""What became of each file of an import; the four counts always add up to what was found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from lightwell.access.audit import clean
from lightwell.access.commit import acknowledge
from lightwell.domain.archive.model import Outcome, Verdict
from lightwell.kernel.errors import Kind, LightwellError


class Fate(StrEnum):
    """Each file found has exactly one."""

    STORED = "stored"
    DUPLICATE = "duplicate"  # the same data set is kept already
    HELD = "held"  # kept, in no clinical list until a person decides
    REFUSED = "refused"


class Refusal(Exception):
    """One file is not taken. `reason` is one of a few words that reports count, `detail` says more."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


# Reasons of files that are not images and that no medium is complete without.
DIRECTORY = "directory"
NOT_DICOM = "not DICOM"
EXPECTED = frozenset({DIRECTORY, NOT_DICOM})

FATES: dict[Outcome, Fate] = {
    Outcome.STORED: Fate.STORED,
    Outcome.DUPLICATE: Fate.DUPLICATE,
    Outcome.STILL_REJECTED: Fate.DUPLICATE,
    Outcome.HELD: Fate.HELD,
    Outcome.CANDIDATE: Fate.HELD,
    Outcome.CONFLICT: Fate.REFUSED,
    Outcome.REJECTED: Fate.REFUSED,
    Outcome.UNREADABLE: Fate.REFUSED,
    Outcome.MISMATCH: Fate.REFUSED,
}

REASONS: dict[Kind, str] = {
    Kind.INVALID: "too large",
    Kind.REFUSED: "not allowed",
    Kind.MISSING: "missing",
    Kind.GONE: "gone",
    Kind.CONFLICT: "conflict",
    Kind.BUSY: "overloaded",
    Kind.UNAVAILABLE: "archive unavailable",
    Kind.BROKEN: "archive broken",
}


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file and what became of it. Texts are printable and bounded, whatever the medium said."""

    name: str
    fate: Fate
    reason: str = ""
    detail: str = ""
    study_uid: str = ""
    sop_uid: str = ""

    @property
    def unexpected(self) -> bool:
        """A refusal that somebody should look at."""
        return self.fate is Fate.REFUSED and self.reason not in EXPECTED


def judged(name: str, verdict: Verdict) -> FileReport:
    """The line for what the archive decided. Only what is stored can count as stored."""
    fate = FATES[verdict.outcome]
    if fate is not Fate.REFUSED and verdict.stored is not None:
        acknowledge(verdict.stored)
    elif fate is not Fate.REFUSED:
        raise TypeError(f"{verdict.outcome} came without its proof")
    return FileReport(
        clean(name),
        fate,
        "" if verdict.outcome is Outcome.STORED else verdict.outcome.value,
        clean(verdict.reason),
        clean(verdict.study_uid),
        clean(verdict.sop_uid),
    )


def refused(name: str, reason: str, detail: str = "") -> FileReport:
    """The line for a file that never reached the archive's judgement."""
    return FileReport(clean(name), Fate.REFUSED, reason, clean(detail))


def failed(name: str, error: LightwellError) -> FileReport:
    """The line for a file that could not be kept for a reason of ours."""
    return refused(name, REASONS[error.kind], error.message)


@dataclass(slots=True)
class ImportReport:
    """Counts and reasons of one import, and a line for each file that was not plainly stored."""

    issuer: str = ""
    counts: Counter[Fate] = field(default_factory=Counter)
    reasons: Counter[tuple[Fate, str]] = field(default_factory=Counter)
    files: list[FileReport] = field(default_factory=list)
    unexpected: int = 0

    @property
    def found(self) -> int:
        """How many files (and entries of archives) there were."""
        return sum(self.counts.values())

    def add(self, line: FileReport) -> None:
        """Count one file."""
        self.counts[line.fate] += 1
        self.unexpected += line.unexpected
        if line.fate is not Fate.STORED:
            self.reasons[line.fate, line.reason] += 1
            self.files.append(line)

    def to_json(self) -> dict[str, object]:
        """For machines: found = stored + duplicate + held + refused."""
        return {
            "found": self.found,
            **{fate.value: self.counts[fate] for fate in Fate},
            "issuer": self.issuer,
            "reasons": {
                f"{fate.value}: {reason}": n for (fate, reason), n in sorted(self.reasons.items())
            },
            "files": [
                {
                    "name": line.name,
                    "fate": line.fate.value,
                    "reason": line.reason,
                    "detail": line.detail,
                    "study": line.study_uid,
                    "instance": line.sop_uid,
                }
                for line in self.files
            ],
        }
