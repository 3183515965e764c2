"""Whose pictures the phantoms pretend to be, and the headers that real devices write around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightwell.backends.codecs.lettering import burn
from lightwell.testing import encoding as enc
from lightwell.testing.builders import BuiltInstance, build_instance, stable_rng, stable_uid

Header = dict[str, object]


@dataclass(frozen=True)
class Case:
    """One invented patient and exam. The same case and seed give the same bytes."""

    seed: int = 0
    patient_id: str = "DEMO-0001"
    issuer: str = "LIGHTWELL-DEMO"
    name: str = "Demo^Patient"
    birth_date: str = "19610412"
    sex: str = "F"
    age: str = "064Y"
    accession: str = "D2500001"
    date: str = "20250610"
    time: str = "093000"
    #: Burn the word DEMO into every picture.
    demo: bool = False
    syntax: str = enc.EXPLICIT_LE
    #: Attributes of PS3.6 keywords that win over everything else.
    override: Mapping[str, object] = field(default_factory=dict)

    def uid(self, *parts: object) -> str:
        """A UID of this case."""
        return stable_uid("phantom", self.seed, self.patient_id, self.accession, *parts)

    def rng(self, *parts: object) -> np.random.Generator:
        """A random generator of this case."""
        return stable_rng("phantom", self.seed, self.patient_id, self.accession, *parts)


@dataclass(frozen=True)
class Exam:
    """What was done, for study and series headers."""

    modality: str
    sop_class: str
    study: str
    code: tuple[str, str]
    body_part: str
    model: str


def code(value: str, scheme: str, meaning: str) -> Header:
    """An item of a code sequence (PS3.3 8.8)."""
    return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}


def study_header(case: Case, exam: Exam) -> Header:
    """Patient, Visit, Study and Equipment modules."""
    procedure = code(exam.code[0], "99LIGHTWELL", exam.code[1])
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "InstanceCreationDate": case.date,
        "InstanceCreationTime": case.time,
        "SOPClassUID": exam.sop_class,
        "StudyDate": case.date,
        "StudyTime": case.time,
        "AccessionNumber": case.accession,
        "Modality": exam.modality,
        "Manufacturer": "Lightwell Phantoms",
        "InstitutionName": "Demo Hospital",
        "InstitutionAddress": "1 Example Road",
        "InstitutionalDepartmentName": "Radiology",
        "ReferringPhysicianName": "Referrer^Robin",
        "PerformingPhysicianName": "Reader^Ruth",
        "OperatorsName": "Operator^Olga",
        "StationName": f"{exam.modality}DEMO1",
        "StudyDescription": exam.study,
        "ProcedureCodeSequence": [procedure],
        "ManufacturerModelName": exam.model,
        "PatientName": case.name,
        "PatientID": case.patient_id,
        "IssuerOfPatientID": case.issuer,
        "PatientBirthDate": case.birth_date,
        "PatientSex": case.sex,
        "PatientAge": case.age,
        "PatientSize": 1.7,
        "PatientWeight": 71.0,
        "PatientComments": "Synthetic picture, no real person",
        "BodyPartExamined": exam.body_part,
        "DeviceSerialNumber": "LW-42",
        "SoftwareVersions": ["LW 1.0", "PHANTOM 1"],
        "DateOfLastCalibration": "20250601",
        "TimeOfLastCalibration": "060000",
        "StudyInstanceUID": case.uid("study"),
        "StudyID": "1",
        "FrameOfReferenceUID": case.uid("frame of reference"),
        "RequestedProcedureDescription": exam.study,
        "RequestedProcedureCodeSequence": [procedure],
        "RequestAttributesSequence": [
            {
                "ScheduledProcedureStepDescription": exam.study,
                "ScheduledProcedureStepID": "SPS1",
                "RequestedProcedureID": "RP1",
            }
        ],
        "PerformedProcedureStepStartDate": case.date,
        "PerformedProcedureStepStartTime": case.time,
        "PerformedProcedureStepID": "PPS1",
        "PerformedProcedureStepDescription": exam.study,
        "BurnedInAnnotation": "YES" if case.demo else "NO",
        "LossyImageCompression": "00",
        "QualityControlImage": "YES",
    }


def series_header(case: Case, key: str, number: int, description: str, protocol: str) -> Header:
    """General Series module."""
    return {
        "SeriesInstanceUID": case.uid("series", key),
        "SeriesNumber": number,
        "SeriesDate": case.date,
        "SeriesTime": case.time,
        "SeriesDescription": description,
        "ProtocolName": protocol,
    }


def instance_header(case: Case, key: str, number: int) -> Header:
    """What is different in every instance."""
    seconds = int(case.time[4:6]) + number
    stamp = f"{case.time[:2]}{(int(case.time[2:4]) + seconds // 60) % 60:02d}{seconds % 60:02d}"
    return {
        "SOPInstanceUID": case.uid("instance", key, number),
        "InstanceNumber": number,
        "AcquisitionNumber": 1,
        "AcquisitionDate": case.date,
        "ContentDate": case.date,
        "AcquisitionTime": stamp,
        "ContentTime": stamp,
    }


def label(picture: NDArray[Any], ink: float, edge: float) -> None:
    """Burn DEMO into the lower left corner of (rows, columns[, 3]), in place."""
    scale = max(min(picture.shape[:2]) // 160, 1)
    row = picture.shape[0] - 11 * scale
    burn(picture, "DEMO", row=row, column=4 * scale, scale=scale, ink=ink, edge=edge)


def finish(case: Case, header: Header, frames: NDArray[Any]) -> BuiltInstance:
    """Write one instance; `frames` is (frames, rows, columns[, 3])."""
    return build_instance({**header, **case.override}, frames, syntax=case.syntax)


def finish_slice(
    case: Case,
    header: Header,
    key: str,
    index: int,
    corner: tuple[float, float, float],
    stored: NDArray[np.uint16],
) -> BuiltInstance:
    """Write one transverse slice of a volume; `index` from 0, `corner` where its first pixel lies."""
    return finish(
        case,
        {
            **header,
            **instance_header(case, key, index + 1),
            "ImagePositionPatient": list(corner),
            "SliceLocation": corner[2],
            "SmallestImagePixelValue": int(stored.min()),
            "LargestImagePixelValue": int(stored.max()),
        },
        stored[None],
    )
