"""A small image that is no patient's, to try a connection with: Secondary Capture (PS3.3 A.8.1).

It says in every attribute that a list shows that it is a test, so that whoever finds it knows to delete it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from lightwell.dicom.encode import ElementEncoder
from lightwell.dicom.tags import tag_of
from lightwell.dicom.uids import new_uid

SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
SIDE: Final = 128  # pixels
STEPS: Final = 8  # grey fields in the upper half
PATIENT: Final = "LIGHTWELL-TEST"


@dataclass(frozen=True, slots=True)
class TrialImage:
    """One object. `data_set`: Explicit VR Little Endian, without preamble and file meta."""

    sop_class: str
    sop_uid: str
    data_set: bytes = field(repr=False)


def pixels() -> bytes:
    """SIDE x SIDE bytes: grey fields from black to white above, a ramp below, so that an image that comes
    upside down, mirrored or with another window is seen at once."""
    steps = bytes(255 * (x * STEPS // SIDE) // (STEPS - 1) for x in range(SIDE))
    ramp = bytes(255 * x // (SIDE - 1) for x in range(SIDE))
    return steps * (SIDE // 2) + ramp * (SIDE // 2)


def trial_image(sender: str, at: datetime) -> TrialImage:
    """A new one, from the station of that name. `at`: UTC."""
    uid = new_uid()
    date, clock = f"{at:%Y%m%d}", f"{at:%H%M%S}"
    said: dict[str, Any] = {
        "ImageType": ["DERIVED", "SECONDARY"],
        "SOPClassUID": [SECONDARY_CAPTURE],
        "SOPInstanceUID": [uid],
        "StudyDate": [date],
        "SeriesDate": [date],
        "ContentDate": [date],
        "StudyTime": [clock],
        "SeriesTime": [clock],
        "ContentTime": [clock],
        "AccessionNumber": [],
        "Modality": ["OT"],
        "ConversionType": ["SYN"],
        "Manufacturer": ["Lightwell"],
        "ReferringPhysicianName": [],
        "StationName": [sender],
        "StudyDescription": ["Lightwell connection test"],
        "SeriesDescription": ["Not a patient, may be deleted"],
        "PatientName": [{"Alphabetic": "TEST^LIGHTWELL"}],
        "PatientID": [PATIENT],
        "PatientBirthDate": [],
        "PatientSex": ["O"],
        "StudyInstanceUID": [new_uid()],
        "SeriesInstanceUID": [new_uid()],
        "StudyID": ["TEST"],
        "SeriesNumber": [1],
        "InstanceNumber": [1],
        "PatientOrientation": [],
        "SamplesPerPixel": [1],
        "PhotometricInterpretation": ["MONOCHROME2"],
        "Rows": [SIDE],
        "Columns": [SIDE],
        "BitsAllocated": [8],
        "BitsStored": [8],
        "HighBit": [7],
        "PixelRepresentation": [0],
        "BurnedInAnnotation": ["NO"],
    }
    json = {f"{tag_of(keyword):08X}": {"Value": value} for keyword, value in said.items()}
    json[f"{tag_of('PixelData'):08X}"] = {
        "vr": "OB",
        "InlineBinary": base64.b64encode(pixels()).decode(),
    }
    encoder = ElementEncoder(charsets=())
    return TrialImage(SECONDARY_CAPTURE, uid, encoder.data_set(json))
