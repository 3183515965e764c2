"""Ultrasound phantom: a colour cine of a beating heart in a sector, with its regions and ECG."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lightwell.backends.codecs.lettering import burn
from lightwell.testing.builders import BuiltInstance
from lightwell.testing.phantoms.cases import (
    Case,
    Exam,
    Header,
    finish,
    instance_header,
    label,
    series_header,
    study_header,
)
from lightwell.testing.phantoms.shapes import Plane, clouds, soften

US_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.3.1"

#: Depth of the sector in mm, its half opening in radians.
_DEPTH = 160.0
_HALF = 0.72


def us_cine(
    case: Case | None = None, *, frames: int = 40, rows: int = 480, columns: int = 640
) -> Iterator[BuiltInstance]:
    """One RGB multi-frame object: an apical four-chamber view over one heart beat."""
    case = case or Case(accession="D2500006")
    exam = Exam("US", US_MULTIFRAME, "Echocardiography", ("USECHO", "Echo"), "HEART", "Phantom US")
    scale = _DEPTH / (rows * 0.82)  # mm a pixel
    pictures = np.zeros((frames, rows, columns, 3), np.uint8)
    sector = _Sector(rows, columns, scale, case.rng("us"))
    for index in range(frames):
        _paint(pictures[index], sector, index, frames)
        if case.demo:
            label(pictures[index], ink=255, edge=0)
    header = {
        **study_header(case, exam),
        **series_header(case, "cine", 1, "A4C", "Adult Echo"),
        **instance_header(case, "cine", 1),
        **_us_header(frames, sector, scale),
    }
    yield finish(case, header, pictures)


class _Sector:
    """Geometry and fixed speckle of the sector: depth and angle of every pixel."""

    def __init__(self, rows: int, columns: int, scale: float, rng: np.random.Generator) -> None:
        self.rows, self.columns = rows, columns
        self.apex = (columns / 2, rows * 0.06)
        x = ((np.arange(columns) - self.apex[0]) * scale).astype(np.float32)[None, :]
        y = ((np.arange(rows) - self.apex[1]) * scale).astype(np.float32)[:, None]
        self.x, self.y = x, y
        self.depth = np.hypot(x, y)
        self.mask = (np.abs(np.arctan2(x, y)) < _HALF) & (self.depth < _DEPTH) & (self.depth > 4)
        angle = np.clip((np.arctan2(x, y) + _HALF) / (2 * _HALF), 0, 0.999)
        # Speckle is finer along the beam than across it, and grows with depth: made in beam
        # coordinates, once, and looked up with a small shift in every frame.
        real, imaginary = rng.standard_normal((2, 420, 150), dtype=np.float32)
        self._speckle = np.hypot(soften(real), soften(imaginary))
        self._speckle /= self._speckle.mean()
        self._row = np.clip(self.depth / _DEPTH * 400, 0, 399).astype(np.intp)
        self._column = (angle * 150).astype(np.intp)
        self.wall = clouds(rng, rows, columns, 40) * 2.2

    def speckle(self, shift: int) -> Plane:
        """Speckle of one frame; tissue moves along the beam by `shift` samples."""
        speckle: Plane = self._speckle[self._row + shift, self._column]
        return speckle


def _paint(picture: NDArray[np.uint8], sector: _Sector, index: int, frames: int) -> None:
    phase = 2 * np.pi * index / frames
    squeeze = 0.5 - 0.5 * float(np.cos(phase))  # 0 filled, 1 emptied
    echo = _heart(sector, squeeze)
    grey = np.clip(echo * sector.speckle(10 + round(6 * squeeze)), 0, 1) ** 0.6 * 235
    picture[:] = np.where(sector.mask, grey, 0).astype(np.uint8)[:, :, None]
    bar = np.linspace(255, 0, sector.rows // 3).astype(np.uint8)
    picture[20 : 20 + len(bar), -24:-14] = bar[:, None, None]
    scale = max(sector.rows // 320, 1)
    lines = ("LIGHTWELL US  A4C", f"FRAME {index + 1:02d}/{frames}", "DEPTH 16 CM")
    for number, line in enumerate(lines):
        burn(picture, line, row=8 + 11 * scale * number, column=8, scale=scale, ink=190)
    _trace(picture, index, frames)


def _heart(sector: _Sector, squeeze: float) -> Plane:
    """Echo strength: bright walls, dark chambers, valves that open and close."""
    x, y = sector.x, sector.y

    def chamber(cx: float, cy: float, wide: float, high: float) -> Plane:
        away: Plane = np.hypot((x - cx) / wide, (y - cy) / high) + sector.wall * 0.02
        return away

    echo = 0.34 * np.exp(-sector.depth / 260) * np.ones_like(sector.depth)
    muscle = chamber(4, 76, 50, 64)
    echo = np.where(muscle < 1, 0.52, echo)
    echo += 0.5 * np.exp(-(((muscle - 1.0) / 0.035) ** 2))  # pericardium
    shrink = 1 - 0.30 * squeeze
    left = chamber(20, 64, 19 * shrink, 42 * (1 - 0.14 * squeeze))
    right = chamber(-21, 68, 15 * shrink, 36 * (1 - 0.12 * squeeze))
    grow = 1 + 0.25 * squeeze
    atria = (chamber(22, 120, 20 * grow, 17 * grow), chamber(-20, 118, 18 * grow, 16 * grow))
    for space in (left, right, *atria):
        echo = np.where(space < 1, 0.035, echo)
        echo += 0.22 * np.exp(-(((space - 1.05) / 0.06) ** 2)) * (space >= 1)
    echo = np.where(np.abs(y - 150) < 3, 0.75, echo)
    opening = (1 - squeeze) * 0.95
    for cx, wide in ((21.0, 17.0), (-20.0, 14.0)):
        for side in (-1, 1):
            along = (x - (cx + side * wide)) * -side / wide
            leaf = 101 - along * 20 * opening
            there = (along > 0) & (along < 1 - 0.35 * opening) & (np.abs(y - leaf) < 1.3)
            echo = np.where(there, 0.85, echo)
    return soften(echo.astype(np.float32))


def _trace(picture: NDArray[np.uint8], index: int, frames: int) -> None:
    """A green ECG along the lower edge with a marker at this frame."""
    rows, columns = picture.shape[:2]
    time = np.mod(np.arange(columns) / columns * 3, 1.0)
    beat = (
        0.12 * np.exp(-(((time - 0.12) / 0.03) ** 2))
        - 0.15 * np.exp(-(((time - 0.19) / 0.008) ** 2))
        + 1.0 * np.exp(-(((time - 0.21) / 0.01) ** 2))
        + 0.25 * np.exp(-(((time - 0.45) / 0.05) ** 2))
    )
    height = (rows * 0.965 - beat * rows * 0.06).astype(int)
    picture[np.clip(height, 0, rows - 1), np.arange(columns)] = (60, 220, 90)
    marker = int((1 + index / frames) * columns / 3)
    picture[int(rows * 0.89) : int(rows * 0.98), marker] = (230, 200, 40)


def _us_header(frames: int, sector: _Sector, scale: float) -> Header:
    """US Image, Multi-frame, Cine and US Region Calibration modules (PS3.3 C.8.5.5, C.8.5.6)."""
    half = int(np.sin(_HALF) * _DEPTH / scale)
    top = int(sector.apex[1])
    return {
        "ImageType": ["ORIGINAL", "PRIMARY", "CARDIAC", "0001"],
        "FrameOfReferenceUID": None,
        "TransducerData": ["S5-1", "", ""],
        "ProcessingFunction": "ADULT ECHO",
        "HeartRate": 62,
        "FrameTime": 24.2,
        "CineRate": 41,
        "EffectiveDuration": 24.2 * frames / 1000,
        "RecommendedDisplayFrameRate": 41,
        "FrameIncrementPointer": 0x00181063,
        "StartTrim": 1,
        "StopTrim": frames,
        "FrameDelay": 0.0,
        "NumberOfStages": 1,
        "NumberOfViewsInStage": 1,
        "StageNumber": 1,
        "ViewNumber": 1,
        "UltrasoundColorDataPresent": 1,
        "MechanicalIndex": 1.1,
        "BoneThermalIndex": 0.8,
        "SoftTissueThermalIndex": 0.8,
        "SequenceOfUltrasoundRegions": [
            {
                "RegionSpatialFormat": 1,
                "RegionDataType": 1,
                "RegionFlags": 2,
                "RegionLocationMinX0": max(int(sector.apex[0]) - half, 0),
                "RegionLocationMinY0": top,
                "RegionLocationMaxX1": min(int(sector.apex[0]) + half, sector.columns - 1),
                "RegionLocationMaxY1": min(int(top + _DEPTH / scale), sector.rows - 1),
                "ReferencePixelX0": half,
                "ReferencePixelY0": 0,
                "PhysicalUnitsXDirection": 3,
                "PhysicalUnitsYDirection": 3,
                "ReferencePixelPhysicalValueX": 0.0,
                "ReferencePixelPhysicalValueY": 0.0,
                "PhysicalDeltaX": scale / 10,
                "PhysicalDeltaY": scale / 10,
                "TransducerFrequency": 2500,
            }
        ],
    }
