"""Admission as a table: what is known, what comes, what becomes of it (clinical.md 1)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lightwell.domain.archive.internal.admission import admit
from lightwell.domain.archive.model import (
    Described,
    InstanceFacts,
    Known,
    KnownInstance,
    Outcome,
)
from lightwell.domain.patients.model import PatientFacts

DOE = PatientFacts("H", "1", "Doe^John", "19700101", "M")
MINE, OTHER = b"\1" * 32, b"\2" * 32


def arrival(patient: PatientFacts = DOE, series: str = "1.2.2", study: str = "1.2.1") -> Described:
    instance = InstanceFacts(
        "1.2.840.10008.5.1.4.1.1.2", "1.2.3", study, series, "1.2.840.10008.1.2.1"
    )
    return Described(patient, instance, {}, {}, {}, b"d")


def kept(sha256: bytes = OTHER, state: str = "current", **more: object) -> KnownInstance:
    known = KnownInstance("1.2.1", "1.2.2", sha256, "k", 0, 10, 2, False, state, 10)
    return replace(known, **more)  # type: ignore[arg-type]


def test_the_first_object_is_stored() -> None:
    assert admit(arrival(), MINE, Known()).outcome is Outcome.STORED


@pytest.mark.parametrize(
    ("known", "claimed", "outcome", "flags"),
    [
        (DOE, DOE, Outcome.STORED, ()),
        (DOE, replace(DOE, name="DOE^JOHN^^"), Outcome.STORED, ()),
        (DOE, replace(DOE, name=""), Outcome.STORED, ()),
        (replace(DOE, birth=""), DOE, Outcome.STORED, ()),
        (DOE, replace(DOE, sex="F"), Outcome.STORED, ("patient-sex-differs",)),
        (DOE, replace(DOE, birth="19710101"), Outcome.STORED, ("patient-birth-date-differs",)),
        (DOE, replace(DOE, name="Doe^Jane"), Outcome.STORED, ("patient-name-differs",)),
        (DOE, replace(DOE, name="Roe^John"), Outcome.STORED, ("patient-name-differs",)),
        (DOE, replace(DOE, name="Roe^Jane", birth="19800101"), Outcome.HELD, ()),
        # the given name differs, the family name does not: two fields differ, nobody is held
        (
            DOE,
            replace(DOE, name="Doe^Jane", birth="19800101"),
            Outcome.STORED,
            ("patient-name-differs", "patient-birth-date-differs"),
        ),
    ],
)
def test_same_id_and_issuer_with_other_identity(
    known: PatientFacts, claimed: PatientFacts, outcome: Outcome, flags: tuple[str, ...]
) -> None:
    decision = admit(arrival(claimed), MINE, Known(patient=known, patient_now=known))
    assert (decision.outcome, decision.flags) == (outcome, flags)


def test_after_a_correction_both_identities_are_the_patient() -> None:
    now = replace(DOE, name="Smith^John", birth="19700102")
    known = Known(patient=DOE, patient_now=now)
    assert admit(arrival(DOE), MINE, known).flags == ()
    assert admit(arrival(now), MINE, known).flags == ()


def test_a_study_of_another_patient_holds() -> None:
    decision = admit(arrival(), MINE, Known(study_patient=("H", "2")))
    assert (decision.outcome, decision.reason) == (Outcome.HELD, "study-of-other-patient")


def test_an_object_without_patient_id_is_shown_and_flagged() -> None:
    nobody = PatientFacts("~study:1.2.1", "")
    decision = admit(arrival(nobody), MINE, Known())
    assert (decision.outcome, decision.flags) == (Outcome.STORED, ("no-patient-id",))


@pytest.mark.parametrize(
    ("instances", "same_pixels", "study_patient", "outcome", "reason"),
    [
        ((kept(MINE),), None, DOE.key, Outcome.DUPLICATE, "duplicate-of-current"),
        ((kept(MINE, "held"),), None, None, Outcome.DUPLICATE, "duplicate-of-held"),
        (
            (kept(), kept(MINE, "candidate")),
            None,
            DOE.key,
            Outcome.DUPLICATE,
            "duplicate-of-candidate",
        ),
        ((kept(), kept(MINE, "conflict")), None, DOE.key, Outcome.CONFLICT, "conflict-again"),
        ((kept(),), True, DOE.key, Outcome.CANDIDATE, "same-pixels-other-header"),
        ((kept(),), False, DOE.key, Outcome.CONFLICT, "uid-with-other-pixels"),
        ((kept(series_uid="1.2.9"),), True, DOE.key, Outcome.CONFLICT, "uid-in-other-series"),
        ((kept(study_uid="1.2.9"),), True, DOE.key, Outcome.CONFLICT, "uid-in-other-series"),
        ((kept(),), True, ("H", "2"), Outcome.CONFLICT, "uid-of-other-patient"),
        (
            (kept(MINE, rejected="113001"),),
            None,
            DOE.key,
            Outcome.STILL_REJECTED,
            "rejected-113001",
        ),
        ((kept(MINE, rejected="113037"),), None, DOE.key, Outcome.REJECTED, "rejected-113037"),
        ((kept(rejected="113038"),), True, DOE.key, Outcome.REJECTED, "rejected-113038"),
    ],
)
def test_a_known_uid(
    instances: tuple[KnownInstance, ...],
    same_pixels: bool | None,
    study_patient: tuple[str, str] | None,
    outcome: Outcome,
    reason: str,
) -> None:
    known = Known(instances=instances, same_pixels=same_pixels, study_patient=study_patient)
    decision = admit(arrival(), MINE, known)
    assert (decision.outcome, decision.reason) == (outcome, reason)


def test_what_was_given_out_in_the_place_of_an_original_is_no_other_object() -> None:
    first = kept(kept_sha256=MINE)
    decision = admit(arrival(), MINE, Known(instances=(first,)))
    assert (decision.outcome, decision.known) == (Outcome.DUPLICATE, first)
    # not when it is found damaged: it cannot take the place of what arrived
    known = Known(instances=(first,), same_pixels=False, native_whole=False)
    assert admit(arrival(), MINE, known).outcome is Outcome.CONFLICT
    rejected = kept(kept_sha256=MINE, rejected="113037")
    assert admit(arrival(), MINE, Known(instances=(rejected,))).outcome is Outcome.REJECTED
