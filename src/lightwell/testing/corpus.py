"""The shared test objects as things to send: which are well formed, and which may lie together.

The corpus mixes sources. One picture comes in sixteen encodings under one SOP Instance UID, and
patient IDs like "1234" belong to several people. Sent to one archive most of them would rightly be
conflicts, candidates or held. So the objects are dealt out over *shelves* (a tenant each) on which
nothing contradicts anything else, and every one of them has to be stored.
"""

from __future__ import annotations

import csv
import hashlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pydicom
from pydicom.uid import MediaStorageDirectoryStorage

from lightwell.testing.sender import PartTenFile, Unsendable, read_part10

NOT_DICOM = frozenset({"fhir", "hl7v2", "worklist"})
_IDENTITY = ("PatientName", "PatientBirthDate", "PatientSex")
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


@dataclass(frozen=True, slots=True)
class CorpusObject:
    """One object as it will be sent: its file, the digest of its data set, and whose it claims to be.

    `mislabelled`: the meta information of the file names another class or instance than the data set.
    """

    name: str
    file: PartTenFile
    mislabelled: bool
    sha256: str
    study_uid: str
    patient_id: str
    issuer: str
    identity: tuple[str, ...]

    @property
    def uid(self) -> str:
        """SOP Instance UID."""
        return self.file.sop_instance

    @property
    def folder(self) -> str:
        """The source: `series/NAME` or the top folder."""
        parts = self.name.split("/")
        return "/".join(parts[:2]) if parts[0] == "series" else parts[0]


@dataclass(frozen=True, slots=True)
class Corpus:
    """The well-formed objects in order of name; the others with the reason."""

    objects: tuple[CorpusObject, ...]
    left_out: dict[str, str]


def read_corpus(data: Path) -> Corpus:
    """Sort the files of INDEX.csv. Well formed: outside `malformed/`, a composite object with all of
    its UIDs (PS3.3 A.1.2: study, series and instance identify it; PS3.4 B: nothing else is stored)."""
    objects, left_out = [], {}
    with (data / "INDEX.csv").open(newline="") as index:
        names = sorted(row["path"] for row in csv.DictReader(index))
    for name in names:
        if name.split("/")[0] in NOT_DICOM:
            left_out[name] = "not DICOM"
        elif name.startswith("malformed/"):
            left_out[name] = "malformed"
        else:
            try:
                objects.append(_object(data, name))
            except Unsendable as error:
                left_out[name] = str(error)
    return Corpus(tuple(objects), left_out)


def _object(data: Path, name: str) -> CorpusObject:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some headers are odd on purpose
        header = pydicom.dcmread(data / name, force=True, stop_before_pixels=True)
        said = {
            keyword: str(header.get(keyword) or "").strip()
            for keyword in (*_NEEDED, "PatientID", "IssuerOfPatientID", *_IDENTITY)
        }
    if header.get("DirectoryRecordSequence") is not None or (
        said["SOPClassUID"] or str(header.file_meta.get("MediaStorageSOPClassUID", ""))
    ) == str(MediaStorageDirectoryStorage):
        raise Unsendable("a directory of media, not an instance")
    missing = [keyword for keyword in _NEEDED if not said[keyword]]
    if missing:
        raise Unsendable(f"no {', '.join(missing)}")
    written = read_part10(data / name)
    # What a file's meta information says is not always true: the data set decides, as in dcmtk.
    file = replace(written, sop_class=said["SOPClassUID"], sop_instance=said["SOPInstanceUID"])
    return CorpusObject(
        name=name,
        file=file,
        mislabelled=file != written,
        sha256=hashlib.sha256(file.data_set()).hexdigest(),
        study_uid=said["StudyInstanceUID"],
        patient_id=said["PatientID"],
        issuer=said["IssuerOfPatientID"],
        identity=tuple(said[keyword] for keyword in _IDENTITY),
    )


@dataclass
class Shelf:
    """Objects that contradict nothing of each other."""

    objects: list[CorpusObject] = field(default_factory=list)
    _instances: dict[str, str] = field(default_factory=dict)
    _patients: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    _studies: dict[str, tuple[str, str]] = field(default_factory=dict)

    def takes(self, one: CorpusObject, patient: tuple[str, str]) -> bool:
        """Put it on the shelf, unless a UID, patient or study of it means something else here."""
        if (
            self._instances.get(one.uid, one.sha256) != one.sha256
            or self._patients.get(patient, one.identity) != one.identity
            or self._studies.get(one.study_uid, patient) != patient
        ):
            return False
        self._instances[one.uid] = one.sha256
        self._patients[patient] = one.identity
        self._studies[one.study_uid] = patient
        self.objects.append(one)
        return True


def deal(
    objects: Iterable[CorpusObject], issuer: Callable[[CorpusObject], str]
) -> list[Sequence[CorpusObject]]:
    """The shelves, first fit. *issuer* says who stands for an ID whose object names no issuer.

    A study that cannot lie on one shelf (an instance of it comes in several encodings) is spread.
    An object without Patient ID is a patient of its own study.
    """
    shelves: list[Shelf] = []
    for one in objects:
        named = one.patient_id or f"study {one.study_uid}"
        patient = (one.issuer or issuer(one), named)
        if not any(shelf.takes(one, patient) for shelf in shelves):
            shelves.append(Shelf())
            shelves[-1].takes(one, patient)
    return [shelf.objects for shelf in shelves]
