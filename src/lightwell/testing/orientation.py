"""24 phantoms that say which way is up: 8 flips and rotations of 3 planes, with computed truth.

Every picture is sampled from one and the same patient: six balls at its left, right, front, back,
head and feet, each of its own brightness, and the letter of the direction burned in at each edge.
The truth comes from the patient's axes alone, not from any code that reads DICOM headers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightwell.backends.codecs.lettering import burn
from lightwell.testing.builders import BuiltInstance, build_instance, stable_uid

Axis = tuple[int, int, int]

#: Directions of the patient (PS3.3 C.7.6.2.1.1): x to the left, y to the back, z to the head.
_LETTERS: dict[Axis, str] = {
    (1, 0, 0): "L",
    (-1, 0, 0): "R",
    (0, 1, 0): "P",
    (0, -1, 0): "A",
    (0, 0, 1): "H",
    (0, 0, -1): "F",
}
_PLANES: dict[str, tuple[Axis, Axis]] = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
}
#: Stored value of the ball in each direction.
_BALLS = {"L": 900, "R": 300, "A": 700, "P": 200, "H": 800, "F": 400}
_REACH, _RADIUS = 60.0, 14.0


@dataclass(frozen=True)
class Edges:
    """The direction of the patient at each edge of the picture as stored."""

    left: str
    right: str
    top: str
    bottom: str


@dataclass(frozen=True)
class OrientationPhantom:
    """One picture, its truth, and where the balls lie in it."""

    name: str
    plane: str
    instance: BuiltInstance
    edges: Edges
    #: Direction letter -> (row, column) of its ball, for those that lie in this plane.
    balls: dict[str, tuple[float, float]]
    row_direction: Axis
    column_direction: Axis


def orientation_phantoms(size: int = 128, seed: int = 0) -> Iterator[OrientationPhantom]:
    """All 24, one study, a series a plane. Pixels of `size` x `size` cover 192 mm."""
    for series, (plane, (along, down)) in enumerate(_PLANES.items(), start=1):
        for number, (rows, columns) in enumerate(_arrangements(along, down), start=1):
            name = f"{plane} {_LETTERS[rows]}{_LETTERS[columns]}"
            yield _phantom(name, plane, rows, columns, size, (seed, series, number))


def _arrangements(along: Axis, down: Axis) -> Iterator[tuple[Axis, Axis]]:
    """The 8 ways to lay two axes onto a picture: (direction of a row, direction of a column)."""
    for first, second in ((along, down), (down, along)):
        for a in (first, _opposite(first)):
            for b in (second, _opposite(second)):
                yield a, b


def _opposite(axis: Axis) -> Axis:
    return -axis[0], -axis[1], -axis[2]


def _phantom(
    name: str, plane: str, rows: Axis, columns: Axis, size: int, place: tuple[int, int, int]
) -> OrientationPhantom:
    spacing = 192.0 / size
    along, down = np.array(rows, float), np.array(columns, float)
    origin = -(along + down) * spacing * (size - 1) / 2
    steps = np.arange(size) * spacing
    points = (
        origin + steps[None, :, None] * along + steps[:, None, None] * down
    )  # (rows, columns, xyz) in mm
    picture = np.full((size, size), 100, "<u2")
    picture[np.linalg.norm(points, axis=2) > 88] = 0
    balls: dict[str, tuple[float, float]] = {}
    for axis, letter in _LETTERS.items():
        centre = np.array(axis, float) * _REACH
        column, row = (centre - origin) @ along / spacing, (centre - origin) @ down / spacing
        if np.linalg.norm(centre - (origin + along * column * spacing + down * row * spacing)) < 1:
            picture[np.linalg.norm(points - centre, axis=2) < _RADIUS] = _BALLS[letter]
            balls[letter] = (float(row), float(column))
    edges = Edges(
        left=_LETTERS[_opposite(rows)],
        right=_LETTERS[rows],
        top=_LETTERS[_opposite(columns)],
        bottom=_LETTERS[columns],
    )
    _burn_letters(picture, edges)
    instance = _write(name, rows, columns, origin.tolist(), spacing, picture, place)
    return OrientationPhantom(name, plane, instance, edges, balls, rows, columns)


def _burn_letters(picture: NDArray[np.uint16], edges: Edges) -> None:
    size = picture.shape[0]
    middle = size // 2 - 3
    for letter, row, column in (
        (edges.left, middle, 2),
        (edges.right, middle, size - 8),
        (edges.top, 2, middle),
        (edges.bottom, size - 9, middle),
    ):
        burn(picture, letter, row=row, column=column, scale=1, ink=1000)


def _write(
    name: str,
    rows: Axis,
    columns: Axis,
    origin: list[float],
    spacing: float,
    picture: NDArray[np.uint16],
    place: tuple[int, int, int],
) -> BuiltInstance:
    seed, series, number = place
    return build_instance(
        {
            "ImageType": ["DERIVED", "SECONDARY", "OTHER"],
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
            "SOPInstanceUID": stable_uid("orientation", *place),
            "StudyDate": "20250101",
            "StudyTime": "120000",
            "Modality": "MR",
            "StudyDescription": "Orientation phantoms",
            "SeriesDescription": name,
            "PatientName": "Orientation^Phantom",
            "PatientID": "ORIENTATION",
            "PatientPosition": "HFS",
            "StudyInstanceUID": stable_uid("orientation", seed),
            "SeriesInstanceUID": stable_uid("orientation", *place, "series"),
            "FrameOfReferenceUID": stable_uid("orientation", seed, "frame of reference"),
            "SeriesNumber": series * 100 + number,
            "InstanceNumber": 1,
            "ImagePositionPatient": origin,
            "ImageOrientationPatient": [*rows, *columns],
            "PixelSpacing": [spacing, spacing],
            "SliceThickness": 1,
            "WindowCenter": 500,
            "WindowWidth": 1000,
        },
        picture[None],
    )
