"""CT phantoms: a contrast-enhanced thorax and a plain head, made slice by slice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lightwell.testing.builders import BuiltInstance
from lightwell.testing.phantoms import brain
from lightwell.testing.phantoms.cases import (
    Case,
    Exam,
    Header,
    code,
    finish_slice,
    label,
    series_header,
    study_header,
)
from lightwell.testing.phantoms.shapes import Grid, NoiseBank, Plane, clouds, soften
from lightwell.testing.phantoms.thorax import Thorax

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"

_CT = "Phantom CT 128"


def ct_thorax(
    case: Case | None = None, *, slices: int = 120, matrix: int = 512
) -> Iterator[BuiltInstance]:
    """Chest from the lung bases to the apices, 300 mm; noise of 26 HU."""
    case = case or Case()
    procedure = ("CTTHX", "CT thorax")
    exam = Exam("CT", CT_IMAGE_STORAGE, "CT Thorax with contrast", procedure, "CHEST", _CT)
    thickness = 300.0 / slices
    grid = Grid.square(matrix, 380.0, centre_y=8.0)
    rng = case.rng("ct thorax")
    body = Thorax(grid, rng)
    noise = NoiseBank(rng, matrix, 26.0)
    header = {
        **study_header(case, exam),
        **series_header(case, "thorax", 2, "Thorax 2.5 B31f", "Thorax routine"),
        **_ct_header(grid, thickness, "B31f", "Thorax"),
        "ContrastBolusAgent": "Iodine 370 mg/ml",
        "ContrastBolusVolume": 90.0,
        "WindowCenter": [40, -600],
        "WindowWidth": [400, 1500],
        "WindowCenterWidthExplanation": ["MEDIASTINUM", "LUNG"],
    }
    for index in range(slices):
        z = (index + 0.5) * thickness
        plane = soften(body.slice(z)) + noise.cut()
        yield _instance(case, header, "thorax", index, z - 300.0, grid, plane)


def ct_head(
    case: Case | None = None, *, slices: int = 40, matrix: int = 512
) -> Iterator[BuiltInstance]:
    """Plain head from the skull base to the vertex, 150 mm; noise of 21 HU."""
    case = case or Case(accession="D2500002")
    procedure = ("CTHEAD", "CT head")
    exam = Exam("CT", CT_IMAGE_STORAGE, "CT Head without contrast", procedure, "HEAD", _CT)
    thickness = 150.0 / slices
    grid = Grid.square(matrix, 230.0)
    rng = case.rng("ct head")
    head = brain.Head(grid, rng)
    noise = NoiseBank(rng, matrix, 21.0, sharp=True)
    texture = clouds(rng, matrix, matrix, max(matrix // 40, 2)) * 2
    header = {
        **study_header(case, exam),
        **series_header(case, "head", 2, "Head 3.75 H60s", "Head routine"),
        **_ct_header(grid, thickness, "H60s", "Head"),
        "WindowCenter": [40, 500],
        "WindowWidth": [120, 2000],
        "WindowCenterWidthExplanation": ["BRAIN", "BONE"],
    }
    for index in range(slices):
        z = (index + 0.5) * thickness
        tissue = head.slice(z)
        plane = soften(brain.HOUNSFIELD[tissue])
        plane += np.where(tissue >= brain.CSF, texture, 0) + noise.cut()
        yield _instance(case, header, "head", index, z, grid, plane)


def _ct_header(grid: Grid, thickness: float, kernel: str, region: str) -> Header:
    """CT Image and Image Plane modules (PS3.3 C.8.2.1, C.7.6.2)."""
    size = grid.x.shape[0]
    return {
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ScanOptions": "HELICAL MODE",
        "SliceThickness": thickness,
        "SpacingBetweenSlices": thickness,
        "KVP": 120,
        "DataCollectionDiameter": 500,
        "ReconstructionDiameter": grid.spacing * size,
        "DistanceSourceToDetector": 1085.6,
        "DistanceSourceToPatient": 595.0,
        "GantryDetectorTilt": 0,
        "TableHeight": 152.0,
        "RotationDirection": "CW",
        "ExposureTime": 500,
        "XRayTubeCurrent": 220,
        "Exposure": 110,
        "FilterType": "FLAT",
        "GeneratorPower": 60,
        "FocalSpots": 1.2,
        "ConvolutionKernel": kernel,
        "PatientPosition": "HFS",
        "RevolutionTime": 0.5,
        "SingleCollimationWidth": 0.6,
        "TotalCollimationWidth": 38.4,
        "TableSpeed": 76.8,
        "TableFeedPerRotation": 38.4,
        "SpiralPitchFactor": 1.0,
        "CTDIvol": 7.4,
        "ExposureModulationType": "XYZ_EC",
        "AnatomicRegionSequence": [code(*_REGIONS[region])],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [grid.spacing, grid.spacing],
        "PositionReferenceIndicator": "",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "RescaleIntercept": -1024,
        "RescaleSlope": 1,
        "RescaleType": "HU",
    }


_REGIONS = {
    "Thorax": ("51185008", "SCT", "Chest"),
    "Head": ("69536005", "SCT", "Head"),
}


def _instance(
    case: Case, header: Header, key: str, index: int, z: float, grid: Grid, hounsfield: Plane
) -> BuiltInstance:
    stored: NDArray[np.uint16] = np.clip(np.rint(hounsfield + 1024), 0, 4095).astype("<u2")
    if case.demo:
        label(stored, ink=3500, edge=0)
    return finish_slice(case, header, key, index, (*grid.origin, z), stored)
