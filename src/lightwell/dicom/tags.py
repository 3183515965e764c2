"""Tags that the system itself speaks of, by the standard's keyword (PS3.6), and their spellings.

Any other public tag is found by `tag_of(keyword)`, through the data dictionary.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

from lightwell.dicom import dictionary

FileMetaInformationGroupLength: Final = 0x00020000
FileMetaInformationVersion: Final = 0x00020001
MediaStorageSOPClassUID: Final = 0x00020002
MediaStorageSOPInstanceUID: Final = 0x00020003
TransferSyntaxUID: Final = 0x00020010
ImplementationClassUID: Final = 0x00020012
ImplementationVersionName: Final = 0x00020013
SourceApplicationEntityTitle: Final = 0x00020016
SendingApplicationEntityTitle: Final = 0x00020017
ReceivingApplicationEntityTitle: Final = 0x00020018
PrivateInformationCreatorUID: Final = 0x00020100
PrivateInformation: Final = 0x00020102
SpecificCharacterSet: Final = 0x00080005
ImageType: Final = 0x00080008
InstanceCreationDate: Final = 0x00080012
InstanceCreationTime: Final = 0x00080013
SOPClassUID: Final = 0x00080016
SOPInstanceUID: Final = 0x00080018
StudyDate: Final = 0x00080020
SeriesDate: Final = 0x00080021
AcquisitionDate: Final = 0x00080022
ContentDate: Final = 0x00080023
AcquisitionDateTime: Final = 0x0008002A
StudyTime: Final = 0x00080030
SeriesTime: Final = 0x00080031
AcquisitionTime: Final = 0x00080032
ContentTime: Final = 0x00080033
AccessionNumber: Final = 0x00080050
IssuerOfAccessionNumberSequence: Final = 0x00080051
QueryRetrieveLevel: Final = 0x00080052
RetrieveAETitle: Final = 0x00080054
InstanceAvailability: Final = 0x00080056
FailedSOPInstanceUIDList: Final = 0x00080058
Modality: Final = 0x00080060
ModalitiesInStudy: Final = 0x00080061
SOPClassesInStudy: Final = 0x00080062
PresentationIntentType: Final = 0x00080068
Manufacturer: Final = 0x00080070
InstitutionName: Final = 0x00080080
ReferringPhysicianName: Final = 0x00080090
CodeValue: Final = 0x00080100
CodingSchemeDesignator: Final = 0x00080102
CodeMeaning: Final = 0x00080104
TimezoneOffsetFromUTC: Final = 0x00080201
StationName: Final = 0x00081010
StudyDescription: Final = 0x00081030
ProcedureCodeSequence: Final = 0x00081032
SeriesDescription: Final = 0x0008103E
PerformingPhysicianName: Final = 0x00081050
NameOfPhysiciansReadingStudy: Final = 0x00081060
OperatorsName: Final = 0x00081070
ManufacturerModelName: Final = 0x00081090
ReferencedStudySequence: Final = 0x00081110
ReferencedPerformedProcedureStepSequence: Final = 0x00081111
ReferencedSeriesSequence: Final = 0x00081115
ReferencedImageSequence: Final = 0x00081140
ReferencedSOPClassUID: Final = 0x00081150
ReferencedSOPInstanceUID: Final = 0x00081155
RetrieveURL: Final = 0x00081190
TransactionUID: Final = 0x00081195
FailureReason: Final = 0x00081197
FailedSOPSequence: Final = 0x00081198
ReferencedSOPSequence: Final = 0x00081199
DerivationDescription: Final = 0x00082111
SourceImageSequence: Final = 0x00082112
RecommendedDisplayFrameRate: Final = 0x00082144
AnatomicRegionSequence: Final = 0x00082218
PatientName: Final = 0x00100010
PatientID: Final = 0x00100020
IssuerOfPatientID: Final = 0x00100021
TypeOfPatientID: Final = 0x00100022
IssuerOfPatientIDQualifiersSequence: Final = 0x00100024
PatientBirthDate: Final = 0x00100030
PatientBirthTime: Final = 0x00100032
PatientSex: Final = 0x00100040
OtherPatientIDs: Final = 0x00101000
OtherPatientNames: Final = 0x00101001
OtherPatientIDsSequence: Final = 0x00101002
PatientAge: Final = 0x00101010
PatientSize: Final = 0x00101020
PatientWeight: Final = 0x00101030
PatientComments: Final = 0x00104000
ContrastBolusAgent: Final = 0x00180010
BodyPartExamined: Final = 0x00180015
CineRate: Final = 0x00180040
SliceThickness: Final = 0x00180050
KVP: Final = 0x00180060
SpacingBetweenSlices: Final = 0x00180088
DeviceSerialNumber: Final = 0x00181000
SoftwareVersions: Final = 0x00181020
ProtocolName: Final = 0x00181030
FrameTime: Final = 0x00181063
FrameTimeVector: Final = 0x00181065
EstimatedRadiographicMagnificationFactor: Final = 0x00181114
GantryDetectorTilt: Final = 0x00181120
ImagerPixelSpacing: Final = 0x00181164
PatientPosition: Final = 0x00185100
ViewPosition: Final = 0x00185101
SequenceOfUltrasoundRegions: Final = 0x00186011
ContributingEquipmentSequence: Final = 0x0018A001
StudyInstanceUID: Final = 0x0020000D
SeriesInstanceUID: Final = 0x0020000E
StudyID: Final = 0x00200010
SeriesNumber: Final = 0x00200011
AcquisitionNumber: Final = 0x00200012
InstanceNumber: Final = 0x00200013
PatientOrientation: Final = 0x00200020
ImagePositionPatient: Final = 0x00200032
ImageOrientationPatient: Final = 0x00200037
FrameOfReferenceUID: Final = 0x00200052
Laterality: Final = 0x00200060
ImageLaterality: Final = 0x00200062
SliceLocation: Final = 0x00201041
NumberOfPatientRelatedStudies: Final = 0x00201200
NumberOfPatientRelatedSeries: Final = 0x00201202
NumberOfPatientRelatedInstances: Final = 0x00201204
NumberOfStudyRelatedSeries: Final = 0x00201206
NumberOfStudyRelatedInstances: Final = 0x00201208
NumberOfSeriesRelatedInstances: Final = 0x00201209
ImageComments: Final = 0x00204000
SamplesPerPixel: Final = 0x00280002
PhotometricInterpretation: Final = 0x00280004
PlanarConfiguration: Final = 0x00280006
NumberOfFrames: Final = 0x00280008
FrameIncrementPointer: Final = 0x00280009
Rows: Final = 0x00280010
Columns: Final = 0x00280011
PixelSpacing: Final = 0x00280030
PixelAspectRatio: Final = 0x00280034
BitsAllocated: Final = 0x00280100
BitsStored: Final = 0x00280101
HighBit: Final = 0x00280102
PixelRepresentation: Final = 0x00280103
SmallestImagePixelValue: Final = 0x00280106
LargestImagePixelValue: Final = 0x00280107
PixelPaddingValue: Final = 0x00280120
PixelPaddingRangeLimit: Final = 0x00280121
QualityControlImage: Final = 0x00280300
BurnedInAnnotation: Final = 0x00280301
PixelSpacingCalibrationType: Final = 0x00280A02
WindowCenter: Final = 0x00281050
WindowWidth: Final = 0x00281051
RescaleIntercept: Final = 0x00281052
RescaleSlope: Final = 0x00281053
RescaleType: Final = 0x00281054
WindowCenterWidthExplanation: Final = 0x00281055
VOILUTFunction: Final = 0x00281056
RedPaletteColorLookupTableDescriptor: Final = 0x00281101
GreenPaletteColorLookupTableDescriptor: Final = 0x00281102
BluePaletteColorLookupTableDescriptor: Final = 0x00281103
RedPaletteColorLookupTableData: Final = 0x00281201
GreenPaletteColorLookupTableData: Final = 0x00281202
BluePaletteColorLookupTableData: Final = 0x00281203
LossyImageCompression: Final = 0x00282110
LossyImageCompressionRatio: Final = 0x00282112
LossyImageCompressionMethod: Final = 0x00282114
ModalityLUTSequence: Final = 0x00283000
LUTDescriptor: Final = 0x00283002
LUTData: Final = 0x00283006
VOILUTSequence: Final = 0x00283010
RequestedProcedureDescription: Final = 0x00321060
ScheduledProcedureStepDescription: Final = 0x00400007
ScheduledProcedureStepID: Final = 0x00400009
LocalNamespaceEntityID: Final = 0x00400031
UniversalEntityID: Final = 0x00400032
UniversalEntityIDType: Final = 0x00400033
PerformedProcedureStepStartDate: Final = 0x00400244
PerformedProcedureStepStartTime: Final = 0x00400245
PerformedProcedureStepID: Final = 0x00400253
PerformedProcedureStepDescription: Final = 0x00400254
RequestAttributesSequence: Final = 0x00400275
RequestedProcedureID: Final = 0x00401001
ConceptNameCodeSequence: Final = 0x0040A043
CurrentRequestedProcedureEvidenceSequence: Final = 0x0040A375
CompletionFlag: Final = 0x0040A491
VerificationFlag: Final = 0x0040A493
ContentSequence: Final = 0x0040A730
DocumentTitle: Final = 0x00420010
EncapsulatedDocument: Final = 0x00420011
MIMETypeOfEncapsulatedDocument: Final = 0x00420012
ViewCodeSequence: Final = 0x00540220
IconImageSequence: Final = 0x00880200
ModifiedAttributesSequence: Final = 0x04000550
OriginalAttributesSequence: Final = 0x04000561
AttributeModificationDateTime: Final = 0x04000562
ModifyingSystem: Final = 0x04000563
SourceOfPreviousValues: Final = 0x04000564
ReasonForTheAttributeModification: Final = 0x04000565
PresentationLUTShape: Final = 0x20500020
MACParametersSequence: Final = 0x4FFE0001
SharedFunctionalGroupsSequence: Final = 0x52009229
PerFrameFunctionalGroupsSequence: Final = 0x52009230
WaveformSequence: Final = 0x54000100
WaveformData: Final = 0x54001010
ExtendedOffsetTable: Final = 0x7FE00001
ExtendedOffsetTableLengths: Final = 0x7FE00002
FloatPixelData: Final = 0x7FE00008
DoubleFloatPixelData: Final = 0x7FE00009
PixelData: Final = 0x7FE00010
DigitalSignaturesSequence: Final = 0xFFFAFFFA
DataSetTrailingPadding: Final = 0xFFFCFFFC

#: keyword -> tag of every constant above; they can be told from other names by their type
NAMED = MappingProxyType({n: v for n, v in globals().items() if n[0].isupper() and type(v) is int})
_KEYWORDS = MappingProxyType({tag: keyword for keyword, tag in NAMED.items()})

#: elements that hold the pixels; a header ends in front of the first of them
PIXEL_TAGS = frozenset((FloatPixelData, DoubleFloatPixelData, PixelData))

_HEX = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?", re.ASCII)


def hex_tag(tag: int) -> str:
    """Eight upper-case hexadecimal digits, as in DICOM JSON: `00100020`."""
    return f"{tag:08X}"


def show_tag(tag: int) -> str:
    """The form of the standard's text, for people: `(0010,0020)`."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def tag_of(name: str) -> int:
    """The tag of a keyword, of eight hexadecimal digits, or of the form `(0010,0020)`.

    Raises ValueError when it is none of these; the text is short and safe to show.
    """
    known = NAMED.get(name)
    if known is not None:
        return known
    match = _HEX.fullmatch(name)
    if match:
        return int(match[1] + match[2], 16)
    found = dictionary.tag_for(name) if name.isidentifier() and len(name) <= 64 else None
    if found is None:
        raise ValueError(f"not a DICOM keyword or tag: {name[:64]!r}")
    return found


def keyword_of(tag: int) -> str | None:
    """The keyword of a tag, None when it is private or unknown."""
    return _KEYWORDS.get(tag) or dictionary.keyword_of(tag)


def is_private(tag: int) -> bool:
    """Whether the group is odd (PS3.5 7.8)."""
    return bool((tag >> 16) & 1)
