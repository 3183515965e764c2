"""Projection radiographs: a chest (CR) and the four standard views of a mammogram (MG).

Both are drawn as attenuation (thickness times density) in the image plane and turned into stored
values by an exponential law, as a detector does.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lightwell.testing.builders import BuiltInstance
from lightwell.testing.phantoms.cases import (
    Case,
    Exam,
    Header,
    code,
    finish,
    instance_header,
    label,
    series_header,
    study_header,
)
from lightwell.testing.phantoms.shapes import Plane, clouds, grow_tree, soften

CR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.1"
MG_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.2"

_SIDES = (-1.0, 1.0)


class _Film:
    """Attenuation over a plane: x to the viewer's right, y downwards, in mm from the centre."""

    def __init__(self, rows: int, columns: int, spacing: float) -> None:
        self.spacing, self.rows, self.columns = spacing, rows, columns
        self.x = ((np.arange(columns) - (columns - 1) / 2) * spacing).astype(np.float32)[None, :]
        self.y = ((np.arange(rows) - (rows - 1) / 2) * spacing).astype(np.float32)[:, None]
        self.depth = np.zeros((rows, columns), np.float32)

    def lens(self, x: float, y: float, wide: float, high: float, amount: float) -> Plane:
        """Chord lengths of an ellipsoid: 0 at the rim, `amount` in the middle."""
        rest = 1 - ((self.x - x) / wide) ** 2 - ((self.y - y) / high) ** 2
        chord: Plane = np.sqrt(np.clip(rest, 0, None)) * np.float32(amount)
        return chord

    def stamp(self, x: float, y: float, radius: float, amount: float, *, most: bool) -> None:
        """Add a small sphere, or with `most` keep the greater of it and what is there."""
        span = radius + self.spacing
        c0, c1 = (self._index(x + s, self.columns) for s in (-span, span))
        r0, r1 = (self._index(y + s, self.rows) for s in (-span, span))
        if c0 >= c1 or r0 >= r1:
            return
        rest = 1 - ((self.x[:, c0:c1] - x) ** 2 + (self.y[r0:r1] - y) ** 2) / radius**2
        chord = np.sqrt(np.clip(rest, 0, None)) * np.float32(amount)
        area = self.depth[r0:r1, c0:c1]
        area[...] = np.maximum(area, chord) if most else area + chord

    def _index(self, place: float, size: int) -> int:
        return min(max(round(place / self.spacing + (size - 1) / 2), 0), size)


def cr_chest(
    case: Case | None = None,
    *,
    rows: int = 2500,
    columns: int = 2048,
    photometric: str = "MONOCHROME1",
) -> Iterator[BuiltInstance]:
    """One posteroanterior chest, 430 x 352 mm at the default size, 12 bits."""
    case = case or Case(accession="D2500004")
    exam = Exam(
        "CR", CR_IMAGE_STORAGE, "Chest PA", ("CRCHEST", "Chest X-ray"), "CHEST", "Phantom CR 2"
    )
    rng = case.rng("cr")
    spacing = 352.0 / columns
    attenuation = _chest(rows, columns, spacing, case)
    light = 4095 * (1 - np.exp(-attenuation * np.float32(0.72)))
    light += rng.standard_normal(attenuation.shape, dtype=np.float32) * 14
    bright = np.clip(np.rint(light), 0, 4095).astype("<u2")
    stored = (4095 - bright).astype("<u2") if photometric == "MONOCHROME1" else bright
    if case.demo:
        ink, edge = (0, 4095) if photometric == "MONOCHROME1" else (4095, 0)
        label(stored, ink=ink, edge=edge)
    header = {
        **study_header(case, exam),
        **series_header(case, "pa", 1, "Thorax pa", "Chest PA"),
        **instance_header(case, "pa", 1),
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "FrameOfReferenceUID": None,
        "KVP": 125,
        "DistanceSourceToDetector": 1800,
        "DistanceSourceToPatient": 1700,
        "ExposureTime": 8,
        "XRayTubeCurrent": 320,
        "Exposure": 3,
        "ExposureInuAs": 2560,
        "FilterType": "NONE",
        "FocalSpots": 1.0,
        "Grid": "FOCUSED",
        "ImagerPixelSpacing": [spacing, spacing],
        "PlateType": "Storage phosphor",
        "CassetteSize": "35CMX43CM",
        "CassetteOrientation": "PORTRAIT",
        "RelativeXRayExposure": 250,
        "Sensitivity": 200.0,
        "ViewPosition": "PA",
        "PatientOrientation": ["L", "F"],
        "AnatomicRegionSequence": [code("51185008", "SCT", "Chest")],
        "PixelSpacing": [spacing, spacing],
        "PhotometricInterpretation": photometric,
        "BitsStored": 12,
        "HighBit": 11,
        "PresentationLUTShape": "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY",
        "WindowCenter": 2048,
        "WindowWidth": 4096,
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "RescaleType": "US",
    }
    yield finish(case, header, stored[None])


def _chest(rows: int, columns: int, spacing: float, case: Case) -> Plane:
    """Attenuation of a chest seen from the front: the patient's left is on the right."""
    film = _Film(rows, columns, spacing)
    rng = case.rng("cr anatomy")
    x, y = film.x, film.y
    outline = np.interp(y, (-220, -185, -160, -120, -70, 0, 200), (52, 58, 92, 184, 205, 200, 192))
    total = 1.65 * np.clip((outline - np.abs(x)) / 30, 0, 1) ** 0.55
    body = (total > 0).astype(np.float32)
    total += 0.45 * np.clip((y - 60) / 130, 0, 1) * body
    air = np.zeros_like(film.depth)
    for side, low in ((-1.0, 70.0), (1.0, 82.0)):
        lobe = film.lens(66 * side, -25, 68, 150, 1.0)
        edge = low + 34 * ((x - 62 * side) / 60) ** 2
        floor = np.clip((edge - y) / 3.0, 0, 1)
        inner = np.clip((x * side - 14 - 6 * np.sin(y / 45)) / 5, 0, 1)
        air = np.maximum(air, np.clip(lobe * 1.75, 0, 1) * floor * inner)
    heart = film.lens(28, 38, 62, 52, 1.9) + film.lens(-14, 30, 34, 48, 1.2)
    knuckle = film.lens(19, -62, 17, 17, 0.9) + film.lens(-16, -42, 15, 38, 0.5)
    middle = np.clip((24 - np.abs(x)) / 6, 0, 1) * (y > -175)
    # What lies between the lungs takes the place of air; it does not come on top of it.
    solid = np.maximum(np.clip(heart + knuckle, 0, 1) ** 0.8, middle)
    total -= air * 1.28 * (1 - 0.72 * solid)
    total += 0.16 * np.clip(heart, 0, 1) * (y < 95) + 0.10 * middle
    total += clouds(rng, rows, columns, max(columns // 16, 4), octaves=4) * 0.012
    _spine_shadow(film, total)
    total += air * _lung_vessels(film, case)
    total += _bones(film)
    trachea = np.clip((9 - np.abs(x + 1)) / 2, 0, 1) * np.clip((-52 - y) / 8, 0, 1) * (y > -190)
    return soften(np.clip(total - trachea * 0.26, 0.02, None).astype(np.float32))


def _spine_shadow(film: _Film, total: NDArray[np.floating]) -> None:
    bodies = np.clip((17 - np.abs(film.x)) / 2, 0, 1)
    discs = 0.72 + 0.28 * (np.mod(film.y + 200, 25) > 4.5)
    total += 0.20 * bodies * discs * (film.y > -190)
    for row in np.arange(-185, 200, 25.0):
        for side in _SIDES:
            total += film.lens(9 * side, float(row) + 9, 4, 6, 0.12)  # pedicles


def _lung_vessels(film: _Film, case: Case) -> Plane:
    """Additive shadows of a vessel tree that fans out from each hilum."""
    rng = case.rng("cr vessels")
    before = film.depth
    film.depth = np.zeros_like(before)
    for side in _SIDES:
        for slope in (-1.3, -0.7, -0.2, 0.25, 0.7, 1.3):
            start = (22.0 * side, 0.0, -12.0 + 12 * slope)
            tree = grow_tree(rng, start, (side, 0.3, slope), radius=4.2, length=30, generations=6)
            for (x, _, y), radius in zip(tree.centre.tolist(), tree.radius.tolist(), strict=True):
                film.stamp(x, y, radius, 0.034 * radius, most=True)
    vessels, film.depth = film.depth, before
    return vessels


def _bones(film: _Film) -> Plane:
    """Ribs, collar bones and shoulder blades as tubes with a dense rim."""
    total = np.zeros_like(film.depth)
    before = film.depth
    for number in range(10):
        for back in (True, False):
            film.depth = np.zeros_like(before)
            for side in _SIDES:
                for x, y in _rib(number, back):
                    film.stamp(x * side, y, 5.4, 0.17 if back else 0.10, most=True)
            total += film.depth
    film.depth = np.zeros_like(before)
    for side in _SIDES:
        for share in np.linspace(0, 1, 150):
            x = 14 + 112 * share
            film.stamp(x * side, -112 - 26 * share + 9 * np.sin(share * 6), 6.5, 0.22, most=True)
        for share in np.linspace(0, 1, 120):
            film.stamp((118 + 8 * share) * side, -112 + 100 * share, 7 + 9 * share, 0.12, most=True)
        for share in np.linspace(0, 1, 60):
            film.stamp((150 + 22 * share) * side, -128 + 50 * share, 17, 0.35, most=True)
    total += film.depth
    film.depth = before
    return total


def _rib(number: int, back: bool) -> list[tuple[float, float]]:
    """Centre line of one rib on the right half: behind from the spine, in front falling inwards."""
    top = -142 + 21.5 * number
    wide = min(66 + 15 * number, 126 + 2 * number)
    if back:
        angles = np.linspace(0, np.pi / 2, 190)
        return [
            (18 + (wide - 18) * float(np.sin(a)), top + 30 * float(1 - np.cos(a)) - 7 * float(np.sin(2 * a)))
            for a in angles
        ]  # fmt: skip
    if number > 6:
        return []
    shares = np.linspace(0, 1, 170)
    return [
        (wide * float(np.cos(s * 1.05)), top + 30 + 46 * float(s) + 6 * float(np.sin(s * 3)))
        for s in shares
    ]


#: View, side, SNOMED view code, patient orientation of rows and columns (PS3.3 C.8.11.7).
_VIEWS = (
    ("CC", "R", ("399162004", "SCT", "cranio-caudal"), ["P", "L"]),
    ("CC", "L", ("399162004", "SCT", "cranio-caudal"), ["A", "R"]),
    ("MLO", "R", ("399368009", "SCT", "medio-lateral oblique"), ["P", "FL"]),
    ("MLO", "L", ("399368009", "SCT", "medio-lateral oblique"), ["A", "FR"]),
)


def mg_views(
    case: Case | None = None, *, rows: int = 2294, columns: int = 1914
) -> Iterator[BuiltInstance]:
    """RCC, LCC, RMLO and LMLO for presentation, 14 bits; the chest wall of R is on the right."""
    case = case or Case(accession="D2500005")
    exam = Exam(
        "MG",
        MG_FOR_PRESENTATION,
        "Mammography screening",
        ("MGSCR", "Mammography"),
        "BREAST",
        "Phantom MG",
    )
    for number, (view, side, view_code, orientation) in enumerate(_VIEWS, start=1):
        stored = _breast(rows, columns, view, case.rng("mg", view, side))
        if side == "R":
            stored = np.ascontiguousarray(stored[:, ::-1])
        if case.demo:
            label(stored, ink=16_383, edge=0)
        key = f"{side}{view}"
        header = {
            **study_header(case, exam),
            **series_header(case, key, number, f"{side} {view}", "Screening"),
            **instance_header(case, key, 1),
            **_mg_header(view, side, view_code, orientation, 0.094 * 1914 / columns),
        }
        yield finish(case, header, stored[None])


def _mg_header(
    view: str, side: str, view_code: tuple[str, str, str], orientation: list[str], spacing: float
) -> Header:
    """Mammography Image and DX modules (PS3.3 C.8.11)."""
    return {
        "ImageType": ["DERIVED", "PRIMARY"],
        "PresentationIntentType": "FOR PRESENTATION",
        "FrameOfReferenceUID": None,
        "KVP": 29,
        "DistanceSourceToDetector": 660,
        "DistanceSourceToPatient": 640,
        "EstimatedRadiographicMagnificationFactor": 1.03,
        "ExposureTime": 900,
        "XRayTubeCurrent": 100,
        "Exposure": 90,
        "ExposureInuAs": 90_000,
        "FilterMaterial": "RHODIUM",
        "FilterThicknessMinimum": 0.05,
        "AnodeTargetMaterial": "TUNGSTEN",
        "FocalSpots": 0.3,
        "BodyPartThickness": 52,
        "CompressionForce": 95,
        "PositionerType": "MAMMOGRAPHIC",
        "PositionerPrimaryAngle": 0 if view == "CC" else (45 if side == "R" else -45),
        "DetectorType": "DIRECT",
        "DetectorID": "LWDET1",
        "FieldOfViewShape": "RECTANGLE",
        "ImagerPixelSpacing": [spacing, spacing],
        "Grid": ["RECIPROCATING", "FOCUSED"],
        "OrganExposed": "BREAST",
        "OrganDose": 0.014,
        "ViewPosition": view,
        "ImageLaterality": side,
        "PatientOrientation": orientation,
        "AnatomicRegionSequence": [code("76752008", "SCT", "Breast")],
        "ViewCodeSequence": [{**code(*view_code), "ViewModifierCodeSequence": []}],
        "AcquisitionContextSequence": [],
        "BreastImplantPresent": "NO",
        "PartialView": "NO",
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsStored": 14,
        "HighBit": 13,
        "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": -1,
        "PresentationLUTShape": "IDENTITY",
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "RescaleType": "US",
        "WindowCenter": 8192,
        "WindowWidth": 14_000,
        "VOILUTFunction": "LINEAR",
    }


def _breast(rows: int, columns: int, view: str, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Stored values of a left breast, chest wall at the left edge."""
    across = (np.arange(columns, dtype=np.float32) / columns)[None, :]
    down = (np.arange(rows, dtype=np.float32) / rows)[:, None]
    middle = 0.5 if view == "CC" else 0.58
    high = 0.40 if view == "CC" else 0.44
    reach = 0.62 if view == "CC" else 0.66
    bend = clouds(rng, 8, 8, 4)[0, 0] * 0.004
    radius = np.sqrt((across / reach) ** 2 + ((down - middle) / (high + bend)) ** 2.0)
    soft = clouds(rng, rows, columns, columns // 5, octaves=6)
    fine = clouds(rng, rows, columns, columns // 30, octaves=4)
    fat = np.clip((1 - radius) / 0.11, 0, 1) ** 0.6
    gland_place = np.clip(1.25 - np.hypot((across - 0.27) / 0.26, (down - middle) / 0.27), 0, 1)
    gland = gland_place * np.clip(0.55 + 0.35 * soft, 0, 1.3)
    ducts = np.clip(1 - np.abs(fine + 0.3 * soft), 0, 1) ** 2
    strands = ducts * (0.05 + 0.17 * gland_place)
    values = fat * (0.22 + 0.46 * gland + strands + 0.012 * fine)
    skin = np.exp(-(((radius - 0.985) / 0.008) ** 2)) * 0.22
    values += skin * (radius < 1.0)
    if view == "MLO":
        edge = np.clip((0.30 - across - 0.42 * down) / 0.012, 0, 1)
        values = np.maximum(values, edge * (0.72 + 0.03 * soft) * (radius < 1.7))
    values += 0.10 * np.clip(
        1 - np.hypot((across - reach + 0.012) / 0.02, (down - middle) / 0.02), 0, 1
    )
    values *= (radius < 1.0) | ((view == "MLO") & (across + 0.42 * down < 0.30))
    _calcifications(values, rng)
    noise = rng.standard_normal(values.shape, dtype=np.float32) * 90
    stored = np.where(values > 0.005, values * 15_500 + 600 + noise, 0)
    return np.clip(np.rint(stored), 0, 16_383).astype("<u2")


def _calcifications(values: Plane, rng: np.random.Generator) -> None:
    """A cluster of bright specks."""
    rows, columns = values.shape
    at = np.array([rows * 0.46, columns * 0.3])
    for row, column in (at + rng.normal(0, columns / 70, (14, 2))).astype(int):
        size = int(rng.integers(1, 4))
        values[row : row + size, column : column + size] += 0.35
