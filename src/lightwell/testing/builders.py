"""Fluent builders of DICOM objects for tests: small, valid, deterministic.

    a_study(patient="4711").with_series("CT", instances=3).objects()

Everything (UIDs, dates, pixels) follows from the seed and the position in the study, so that the
same expression always builds the same bytes. Changing attributes (`with_attributes`) keeps UIDs and
pixels; `other_pixels` keeps UIDs and header. Objects are written by `lightwell.testing.encoding`,
which shares no code with the parser under test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightwell.testing import encoding as enc
from lightwell.testing.compression import COMPRESSED, compress, photometric_after

Pixels = NDArray[np.generic]
#: Makes the samples of one instance: (frames, rows, columns) or (frames, rows, columns, 3).
PixelMaker = Callable[["Shape", np.random.Generator], Pixels]

#: SOP class of a single-frame and of a multi-frame instance of each modality.
_SOP_CLASSES = {
    "CT": ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.7.3"),
    "MR": ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7.3"),
    "PT": ("1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.7.3"),
    "CR": ("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.7.3"),
    "DX": ("1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.7.3"),
    "MG": ("1.2.840.10008.5.1.4.1.1.1.2", "1.2.840.10008.5.1.4.1.1.7.3"),
    "XA": ("1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.1"),
    "NM": ("1.2.840.10008.5.1.4.1.1.20", "1.2.840.10008.5.1.4.1.1.20"),
    "US": ("1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.3.1"),
    "OT": ("1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.7.3"),
}


def stable_uid(*parts: object) -> str:
    """A UID under 2.25 that follows from the parts: the same parts, the same UID."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    # Version and variant bits as in RFC 9562 section 5.8, because 2.25 holds UUIDs.
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | (0x8 << 76)
    number = number & ~(0x3 << 62) | (0x2 << 62)
    return f"2.25.{number}"


def stable_rng(*parts: object) -> np.random.Generator:
    """A random generator that follows from the parts."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


@dataclass(frozen=True)
class Shape:
    """The pixel layout of one instance."""

    frames: int = 1
    rows: int = 16
    columns: int = 16
    samples: int = 1
    bits_allocated: int = 16
    bits_stored: int = 12
    signed: bool = False

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Sample type in little-endian order."""
        kind = "i" if self.signed else "u"
        return np.dtype(f"<{kind}{self.bits_allocated // 8}")

    @property
    def array_shape(self) -> tuple[int, ...]:
        """(frames, rows, columns), with a last axis of 3 for colour."""
        plane = (self.frames, self.rows, self.columns)
        return plane if self.samples == 1 else (*plane, self.samples)


@dataclass(frozen=True)
class BuiltInstance:
    """One object as a file and as the bare data set of its transfer syntax."""

    part10: bytes
    dataset: bytes
    sop_class: str
    sop_uid: str
    syntax: str
    study_uid: str
    series_uid: str

    @property
    def sha256(self) -> str:
        """Digest of the data set, the identity of what was sent."""
        return hashlib.sha256(self.dataset).hexdigest()


def build_instance(
    attributes: enc.Attributes,
    pixels: Pixels | None = None,
    *,
    syntax: str = enc.EXPLICIT_LE,
    undefined_lengths: bool = False,
    offset_table: bool = True,
) -> BuiltInstance:
    """Write one object from keywords and samples.

    `pixels` is (frames, rows, columns[, 3]); image attributes that are missing are derived from it.
    SOPClassUID, SOPInstanceUID, StudyInstanceUID and SeriesInstanceUID must be there. Raises
    ValueError for a syntax the builders cannot write.
    """
    wanted: dict[Any, object] = dict(attributes)
    tail = b""
    if pixels is not None:
        for keyword, value in image_attributes(pixels).items():
            wanted.setdefault(keyword, value)
    dataset = enc.elements(wanted)
    if pixels is not None and syntax in COMPRESSED:
        photometric = dataset[0x00280004][1]
        dataset[0x00280004] = ("CS", photometric_after(syntax, str(photometric)))
        if pixels.ndim == 4:
            dataset[0x00280006] = ("US", 0)
        tail = enc.encapsulated_pixel_element(
            (compress(frame, syntax) for frame in pixels), offset_table=offset_table
        )
    elif pixels is not None:
        vr = "OW" if pixels.dtype.itemsize > 1 or syntax == enc.IMPLICIT_LE else "OB"
        dataset[enc.PIXEL_DATA] = (vr, np.ascontiguousarray(pixels).tobytes())
    elif syntax in COMPRESSED:
        raise ValueError(f"{syntax} needs pixels")
    elif syntax not in enc.NATIVE:
        raise ValueError(f"the builders cannot write {syntax}")
    body = (
        enc.encode_for_syntax(dataset, syntax, undefined_lengths=undefined_lengths)
        if not tail
        else enc.encode(dataset, enc.Form(undefined_lengths=undefined_lengths)) + tail
    )
    sop_class, sop_uid = str(dataset[0x00080016][1]), str(dataset[0x00080018][1])
    return BuiltInstance(
        part10=enc.file_meta(sop_class, sop_uid, syntax) + body,
        dataset=body,
        sop_class=sop_class,
        sop_uid=sop_uid,
        syntax=syntax,
        study_uid=str(dataset[0x0020000D][1]),
        series_uid=str(dataset[0x0020000E][1]),
    )


def image_attributes(pixels: Pixels) -> dict[str, object]:
    """The Image Pixel module attributes that an array implies (PS3.3 C.7.6.3)."""
    bits = pixels.dtype.itemsize * 8
    made: dict[str, object] = {
        "SamplesPerPixel": pixels.shape[3] if pixels.ndim == 4 else 1,
        "PhotometricInterpretation": "RGB" if pixels.ndim == 4 else "MONOCHROME2",
        "Rows": pixels.shape[1],
        "Columns": pixels.shape[2],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    if pixels.ndim == 4:
        made["PlanarConfiguration"] = 0
    if pixels.shape[0] > 1:
        made["NumberOfFrames"] = pixels.shape[0]
    return made


def noise_pixels(shape: Shape, rng: np.random.Generator) -> Pixels:
    """The default picture: a ramp with noise over the stored bits, unlike in every instance."""
    top = (1 << shape.bits_stored) - 1
    rows, columns = np.mgrid[0 : shape.rows, 0 : shape.columns]
    ramp = (rows * 3 + columns * 5) * top // (max(shape.rows * 3 + shape.columns * 5, 1) * 2)
    plane = ramp[None, :, :] if shape.samples == 1 else ramp[None, :, :, None]
    values = plane + rng.integers(0, max(top // 2, 1), shape.array_shape)
    if shape.signed:
        values = values - (top + 1) // 2
    samples: Pixels = values.astype(shape.dtype)
    return samples


@dataclass(frozen=True)
class SeriesPlan:
    """What one series of a built study holds."""

    modality: str
    instances: int = 1
    shape: Shape = field(default_factory=Shape)
    syntax: str = enc.EXPLICIT_LE
    sop_class: str | None = None
    pixels: PixelMaker = noise_pixels
    undefined_lengths: bool = False
    offset_table: bool = True
    attributes: enc.Attributes = field(default_factory=dict)
    each: Callable[[int], enc.Attributes] | None = None


@dataclass(frozen=True)
class StudyBuilder:
    """A study to be built; every method returns a changed copy."""

    patient: str
    issuer: str | None = None
    name: str = "Test^Patient"
    seed: int = 0
    charset: str | None = None
    series: tuple[SeriesPlan, ...] = ()
    attributes: enc.Attributes = field(default_factory=dict)
    uid_root: str | None = None
    pixel_salt: int = 0

    def with_series(
        self,
        modality: str,
        *,
        instances: int = 1,
        frames: int = 1,
        rows: int = 16,
        columns: int = 16,
        colour: bool = False,
        bits_allocated: int | None = None,
        bits_stored: int | None = None,
        signed: bool = False,
        syntax: str = enc.EXPLICIT_LE,
        sop_class: str | None = None,
        pixels: PixelMaker = noise_pixels,
        undefined_lengths: bool = False,
        offset_table: bool = True,
        each: Callable[[int], enc.Attributes] | None = None,
        **attributes: object,
    ) -> StudyBuilder:
        """Add a series. Keywords of PS3.6 override anything; None leaves an attribute out.

        `each(index)` gives further attributes of the instance with that index (from 0).
        """
        eight = colour or modality == "US" or syntax == enc.JPEG_BASELINE
        allocated = bits_allocated or (8 if eight else 16)
        shape = Shape(
            frames=frames,
            rows=rows,
            columns=columns,
            samples=3 if colour else 1,
            bits_allocated=allocated,
            bits_stored=bits_stored or (12 if allocated == 16 else allocated),
            signed=signed,
        )
        plan = SeriesPlan(
            modality=modality,
            instances=instances,
            shape=shape,
            syntax=syntax,
            sop_class=sop_class,
            pixels=pixels,
            undefined_lengths=undefined_lengths,
            offset_table=offset_table,
            attributes=dict(attributes),
            each=each,
        )
        return replace(self, series=(*self.series, plan))

    def with_attributes(self, **attributes: object) -> StudyBuilder:
        """Set attributes of every instance: a header-only change, UIDs and pixels stay."""
        return replace(self, attributes={**self.attributes, **attributes})

    def with_elements(self, more: Mapping[int, enc.Element]) -> StudyBuilder:
        """Set elements by tag, `{0x00091001: ("LO", "private")}`, in every instance."""
        return replace(self, attributes={**self.attributes, **more})

    def named(self, name: str, charset: str | None = "ISO_IR 192") -> StudyBuilder:
        """Give the patient a name, in a Specific Character Set."""
        return replace(self, name=name, charset=charset)

    def in_syntax(self, syntax: str) -> StudyBuilder:
        """The same study in another transfer syntax."""
        return replace(self, series=tuple(replace(plan, syntax=syntax) for plan in self.series))

    def other_pixels(self, salt: int = 1) -> StudyBuilder:
        """The same UIDs and header over a different picture."""
        return replace(self, pixel_salt=salt)

    def under_root(self, root: str) -> StudyBuilder:
        """UIDs under this root instead of 2.25."""
        return replace(self, uid_root=root)

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID of what will be built."""
        return str(self.attributes.get("StudyInstanceUID") or self._uid("study"))

    def series_uid(self, series: int = 0) -> str:
        """SeriesInstanceUID of a series by its index, unless its attributes override it."""
        return str(self.series[series].attributes.get("SeriesInstanceUID") or self._uid(series))

    def sop_uid(self, series: int = 0, instance: int = 0) -> str:
        """SOPInstanceUID of one instance by its indexes."""
        return self._uid(series, instance)

    def objects(self) -> list[BuiltInstance]:
        """Build everything, in order of series and instance."""
        return list(self.each())

    def only(self) -> BuiltInstance:
        """Build the one instance of this study; ValueError if it has more or none."""
        (built,) = self.objects()
        return built

    def each(self) -> Iterator[BuiltInstance]:
        """Build one instance after the other."""
        for index, plan in enumerate(self.series):
            for number in range(plan.instances):
                yield self._build(index, plan, number)

    def _uid(self, *position: object) -> str:
        made = stable_uid(self.seed, self.patient, self.issuer, *position)
        if self.uid_root is None:
            return made
        return f"{self.uid_root}.{int(made[5:]) % 10**18 + 1}"

    def _build(self, index: int, plan: SeriesPlan, number: int) -> BuiltInstance:
        shape = plan.shape
        rng = stable_rng(self.seed, self.patient, self.issuer, index, number, self.pixel_salt)
        pixels = plan.pixels(shape, rng)
        single, multi = _SOP_CLASSES.get(plan.modality, _SOP_CLASSES["OT"])
        made: dict[Any, object] = {
            "SpecificCharacterSet": self.charset,
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
            "SOPClassUID": plan.sop_class or (multi if shape.frames > 1 else single),
            "SOPInstanceUID": self.sop_uid(index, number),
            "StudyDate": "20250314",
            "StudyTime": "101500",
            "AccessionNumber": f"A{self.seed:05d}",
            "Modality": plan.modality,
            "Manufacturer": "Lightwell",
            "ReferringPhysicianName": "Referring^Doctor",
            "StudyDescription": "Built for a test",
            "SeriesDescription": f"{plan.modality} series {index + 1}",
            "PatientName": self.name,
            "PatientID": self.patient,
            "IssuerOfPatientID": self.issuer,
            "PatientBirthDate": "19700101",
            "PatientSex": "O",
            "StudyInstanceUID": self._uid("study"),
            "SeriesInstanceUID": self._uid(index),
            "StudyID": "1",
            "SeriesNumber": index + 1,
            "InstanceNumber": number + 1,
            **image_attributes(pixels),
            "BitsStored": shape.bits_stored,
            "HighBit": shape.bits_stored - 1,
            **_geometry(plan.modality, number, self._uid("frame of reference")),
            **self.attributes,
            **plan.attributes,
            **(plan.each(number) if plan.each else {}),
        }
        return build_instance(
            made,
            pixels,
            syntax=plan.syntax,
            undefined_lengths=plan.undefined_lengths,
            offset_table=plan.offset_table,
        )


def _geometry(modality: str, number: int, frame_of_reference: str) -> dict[str, object]:
    """Image Plane and rescale attributes of the cross-sectional modalities."""
    if modality not in {"CT", "MR", "PT"}:
        return {}
    made: dict[str, object] = {
        "FrameOfReferenceUID": frame_of_reference,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [-8.0, -8.0, 2.5 * number],
        "PixelSpacing": [1.0, 1.0],
        "SliceThickness": 2.5,
        "WindowCenter": 2048,
        "WindowWidth": 4096,
    }
    if modality == "CT":
        made |= {"RescaleIntercept": -1024, "RescaleSlope": 1, "RescaleType": "HU"}
        made |= {"WindowCenter": 40, "WindowWidth": 400, "KVP": 120}
    return made


def a_study(
    patient: str = "LW-0001",
    issuer: str | None = None,
    *,
    name: str = "Test^Patient",
    seed: int = 0,
    charset: str | None = None,
    **attributes: object,
) -> StudyBuilder:
    """Start a study: `patient` is the PatientID, `issuer` its IssuerOfPatientID."""
    return StudyBuilder(patient, issuer, name, seed, charset, attributes=dict(attributes))
