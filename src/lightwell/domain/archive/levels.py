"""Which attributes belong to which level of the information model (PS3.3 A.1.2, PS3.4 C.6).

Kept as a row's attributes at their level, and edited there: a correction of a study-level attribute is
one edit of the study, seen by every instance below it. Everything else belongs to the instance.
"""

from __future__ import annotations

from lightwell.dicom.tags import tag_of
from lightwell.domain.archive.model import Level

PATIENT_KEYWORDS = (
    "PatientName PatientID IssuerOfPatientID IssuerOfPatientIDQualifiersSequence TypeOfPatientID"
    " PatientBirthDate PatientBirthTime PatientSex OtherPatientIDsSequence OtherPatientNames"
    " PatientBirthName PatientMotherBirthName EthnicGroup PatientComments PatientSpeciesDescription"
    " QualityControlSubject"
)
STUDY_KEYWORDS = (
    "StudyDate StudyTime AccessionNumber IssuerOfAccessionNumberSequence TimezoneOffsetFromUTC"
    " InstitutionName ReferringPhysicianName ReferringPhysicianIdentificationSequence"
    " StudyDescription ProcedureCodeSequence"
    " PhysiciansOfRecord NameOfPhysiciansReadingStudy AdmittingDiagnosesDescription"
    " PatientAge PatientSize PatientWeight Occupation AdditionalPatientHistory MedicalAlerts Allergies"
    " PregnancyStatus StudyInstanceUID StudyID RequestingPhysician RequestedProcedureDescription"
    " RequestedProcedureCodeSequence AdmissionID"
)
SERIES_KEYWORDS = (
    "SeriesDate SeriesTime Modality Manufacturer StationName SeriesDescription"
    " InstitutionalDepartmentName PerformingPhysicianName OperatorsName ManufacturerModelName"
    " BodyPartExamined ProtocolName PatientPosition SeriesInstanceUID SeriesNumber Laterality"
    " PerformedProcedureStepStartDate PerformedProcedureStepStartTime PerformedProcedureStepID"
    " PerformedProcedureStepDescription RequestAttributesSequence"
)


def _tags(keywords: str) -> tuple[int, ...]:
    return tuple(sorted(tag_of(word) for word in keywords.split()))


TAGS: dict[Level, tuple[int, ...]] = {
    Level.PATIENT: _tags(PATIENT_KEYWORDS),
    Level.STUDY: _tags(STUDY_KEYWORDS),
    Level.SERIES: _tags(SERIES_KEYWORDS),
}
LEVEL_OF: dict[int, Level] = {tag: level for level, tags in TAGS.items() for tag in tags}

# What names an object or says how its bytes are to be read: never edited, whoever asks.
UNTOUCHABLE = frozenset(
    _tags(
        "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID PatientID IssuerOfPatientID"
        " SpecificCharacterSet PixelData FloatPixelData DoubleFloatPixelData Rows Columns"
        " BitsAllocated BitsStored HighBit PixelRepresentation SamplesPerPixel"
        " PhotometricInterpretation PlanarConfiguration NumberOfFrames"
        " LossyImageCompression LossyImageCompressionRatio LossyImageCompressionMethod"
    )
)


def level_of(tag: int) -> Level:
    """The level an attribute is kept and edited at."""
    return LEVEL_OF.get(tag, Level.INSTANCE)
