"""MR phantom: a brain in T1 and T2 weighting, with coil shading and Rician noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
from lightwell.testing.phantoms.shapes import Grid, NoiseBank, Plane, soften

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"


@dataclass(frozen=True)
class _Weighting:
    key: str
    description: str
    signal: NDArray[np.float32]
    echo: float
    repetition: float
    flip: int
    train: int


_WEIGHTINGS = (
    _Weighting("t1", "T1 SE tra", brain.T1, 9.0, 520.0, 90, 1),
    _Weighting("t2", "T2 TSE tra", brain.T2, 98.0, 4200.0, 150, 15),
)


def mr_brain(
    case: Case | None = None, *, slices: int = 40, matrix: int = 256
) -> Iterator[BuiltInstance]:
    """Two series of the same head, `slices` each, over 150 mm."""
    case = case or Case(accession="D2500003")
    exam = Exam(
        "MR", MR_IMAGE_STORAGE, "MR Brain", ("MRBRAIN", "MR brain"), "BRAIN", "Phantom MR 1.5T"
    )
    thickness = 150.0 / slices
    grid = Grid.square(matrix, 230.0)
    noise = NoiseBank(case.rng("mr noise"), matrix, 14.0)
    shading = _coil_shading(grid)
    for number, weighting in enumerate(_WEIGHTINGS, start=2):
        head = brain.Head(grid, case.rng("mr head"))
        protocol = weighting.description.lower().replace(" ", "_")
        header = {
            **study_header(case, exam),
            **series_header(case, weighting.key, number, weighting.description, protocol),
            **_mr_header(grid, thickness, weighting),
        }
        for index in range(slices):
            z = (index + 0.5) * thickness
            signal = soften(weighting.signal[head.slice(z)]) * shading
            yield _instance(case, header, weighting.key, index, z, grid, signal, noise)


def _coil_shading(grid: Grid) -> Plane:
    """Brighter near the coil, as surface arrays are."""
    away = (grid.x / 115) ** 2 + (grid.y / 115) ** 2
    shading: Plane = (0.88 + 0.16 * away + 0.05 * grid.y / 115).astype(np.float32)
    return shading


def _mr_header(grid: Grid, thickness: float, weighting: _Weighting) -> Header:
    """MR Image and Image Plane modules (PS3.3 C.8.3.1, C.7.6.2)."""
    size = grid.x.shape[0]
    return {
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"],
        "ScanningSequence": "SE",
        "SequenceVariant": "SK\\SP" if weighting.train > 1 else "SP",
        "ScanOptions": "SAT1",
        "MRAcquisitionType": "2D",
        "SequenceName": f"*{weighting.key}2d",
        "AngioFlag": "N",
        "SliceThickness": thickness,
        "RepetitionTime": weighting.repetition,
        "EchoTime": weighting.echo,
        "NumberOfAverages": 2,
        "ImagingFrequency": 63.87,
        "ImagedNucleus": "1H",
        "EchoNumbers": 1,
        "MagneticFieldStrength": 1.5,
        "SpacingBetweenSlices": thickness,
        "NumberOfPhaseEncodingSteps": size,
        "EchoTrainLength": weighting.train,
        "PercentSampling": 100,
        "PercentPhaseFieldOfView": 100,
        "PixelBandwidth": 130,
        "ReceiveCoilName": "HeadArray",
        "TransmitCoilName": "Body",
        "AcquisitionMatrix": [0, size, size, 0],
        "InPlanePhaseEncodingDirection": "ROW",
        "FlipAngle": weighting.flip,
        "VariableFlipAngleFlag": "N",
        "SAR": 0.9,
        "dBdt": 0.0,
        "PatientPosition": "HFS",
        "AnatomicRegionSequence": [code("12738006", "SCT", "Brain")],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [grid.spacing, grid.spacing],
        "PositionReferenceIndicator": "",
        "BitsStored": 12,
        "HighBit": 11,
        "WindowCenter": 420,
        "WindowWidth": 880,
        "WindowCenterWidthExplanation": "Algo1",
    }


def _instance(
    case: Case,
    header: Header,
    key: str,
    index: int,
    z: float,
    grid: Grid,
    signal: Plane,
    noise: NoiseBank,
) -> BuiltInstance:
    magnitude = np.hypot(signal + noise.cut(), noise.cut())
    stored: NDArray[np.uint16] = np.clip(np.rint(magnitude), 0, 4095).astype("<u2")
    if case.demo:
        label(stored, ink=1200, edge=0)
    return finish_slice(case, header, key, index, (*grid.origin, z), stored)
