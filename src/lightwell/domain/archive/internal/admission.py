"""Admission: what becomes of an arrival. One pure function, the rules of `clinical.md` 1 in order.

The rules stand as one readable list because this is where patients are mixed up or kept apart. Every
branch names its reason as a code that the QC list and the tests use.
"""

from __future__ import annotations

from lightwell.domain.archive.model import (
    AMBIGUOUS,
    Decision,
    Described,
    Known,
    KnownInstance,
    Outcome,
)
from lightwell.domain.patients.model import Agreement, PatientFacts, compare, differing

# Rejection codes (PS3.16 CID 7011) after which the same object may not come again (IOCM, RAD-66).
REFUSE_AGAIN = frozenset({"113037", "113038"})

# The same UID with other content, before (or after) the pixels were compared.
UNCOMPARED = "uid-with-other-pixels"


def admit(arrival: Described, sha256: bytes, known: Known) -> Decision:
    """Decide on one readable arrival whose announcement agreed with its data set."""
    if known.instances:
        return _admit_known_uid(arrival, sha256, known)
    return _admit_new(arrival, known)


def _admit_known_uid(arrival: Described, sha256: bytes, known: Known) -> Decision:
    same = next((k for k in known.instances if k.sha256 == sha256), None)
    # What a pack gives out in the place of an original comes back as that: it is no other object.
    if same is None and known.native_whole:
        same = next((k for k in known.instances if k.kept_sha256 == sha256), None)
    if same is not None:
        return _admit_same(same)
    current = next((k for k in known.instances if k.state == "current"), known.instances[0])
    if current.rejected in REFUSE_AGAIN:
        return Decision(Outcome.REJECTED, f"rejected-{current.rejected}", known=current)
    place = (arrival.instance.study_uid, arrival.instance.series_uid)
    if place != (current.study_uid, current.series_uid):
        return Decision(Outcome.CONFLICT, "uid-in-other-series", known=current)
    if known.study_patient not in (None, arrival.patient.key):
        return Decision(Outcome.CONFLICT, "uid-of-other-patient", known=current)
    if known.same_pixels:
        return Decision(Outcome.CANDIDATE, "same-pixels-other-header", known=current)
    return Decision(Outcome.CONFLICT, UNCOMPARED, known=current)


def _admit_same(same: KnownInstance) -> Decision:
    """The same data set again: never an error, except for what must not come back."""
    if same.rejected in REFUSE_AGAIN:
        return Decision(Outcome.REJECTED, f"rejected-{same.rejected}", known=same)
    if same.rejected is not None:
        return Decision(Outcome.STILL_REJECTED, f"rejected-{same.rejected}", known=same)
    if same.state == "conflict":
        return Decision(Outcome.CONFLICT, "conflict-again", known=same)
    return Decision(Outcome.DUPLICATE, f"duplicate-of-{same.state}", known=same)


def _admit_new(arrival: Described, known: Known) -> Decision:
    if AMBIGUOUS in arrival.instance.defects:
        return Decision(Outcome.HELD, AMBIGUOUS)
    if known.study_patient is not None and known.study_patient != arrival.patient.key:
        return Decision(Outcome.HELD, "study-of-other-patient")
    flags: tuple[str, ...] = ()
    if known.patient is not None:
        agreement, fields = _agreement(known, arrival.patient)
        if agreement is Agreement.CONTRADICTS:
            return Decision(Outcome.HELD, "patient-contradicts-id")
        if agreement is Agreement.DIFFERS:
            flags = tuple(f"patient-{field}-differs" for field in fields)
    if not arrival.patient.pid:
        flags = (*flags, "no-patient-id")
    return Decision(Outcome.STORED, flags=flags)


def _agreement(known: Known, claimed: PatientFacts) -> tuple[Agreement, tuple[str, ...]]:
    """Against the patient as first received or as corrected since, whichever agrees better.

    A modality keeps sending what its worklist said before the correction, or already says the new.
    """
    order = (Agreement.SAME, Agreement.DIFFERS, Agreement.CONTRADICTS)
    versions = [p for p in (known.patient, known.patient_now) if p is not None]
    best = min(versions, key=lambda p: order.index(compare(p, claimed)))
    return compare(best, claimed), differing(best, claimed)
