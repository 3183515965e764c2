"""The orientation phantoms' truth, checked from the header alone, by another way of reckoning."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pydicom
import pytest

from lightwell.testing.orientation import orientation_phantoms


def _letter(direction: Any) -> str:
    axis = int(np.abs(direction).argmax())
    return "LPH"[axis] if direction[axis] > 0 else "RAF"[axis]


def test_24_phantoms_with_labels_that_follow_from_their_headers() -> None:
    phantoms = list(orientation_phantoms(96))
    assert len(phantoms) == 24
    assert len({phantom.name for phantom in phantoms}) == 24
    assert len({phantom.edges for phantom in phantoms}) == 24
    for phantom in phantoms:
        dataset = pydicom.dcmread(io.BytesIO(phantom.instance.part10))
        cosines = np.array([float(v) for v in dataset.ImageOrientationPatient])
        row, column = cosines[:3], cosines[3:]
        edges = phantom.edges
        assert (edges.left, edges.right) == (_letter(-row), _letter(row))
        assert (edges.top, edges.bottom) == (_letter(-column), _letter(column))


def test_every_ball_lies_where_the_header_says_the_patient_is() -> None:
    for phantom in orientation_phantoms(96):
        dataset = pydicom.dcmread(io.BytesIO(phantom.instance.part10))
        cosines = np.array([float(v) for v in dataset.ImageOrientationPatient])
        origin = np.array([float(v) for v in dataset.ImagePositionPatient])
        spacing = float(dataset.PixelSpacing[0])
        assert len(phantom.balls) == 4
        for letter, (row, column) in phantom.balls.items():
            place = origin + spacing * (column * cosines[:3] + row * cosines[3:])
            assert _letter(place) == letter
            assert np.linalg.norm(place) == pytest.approx(60)
            value = int(dataset.pixel_array[round(row), round(column)])
            assert value == {"L": 900, "R": 300, "A": 700, "P": 200, "H": 800, "F": 400}[letter]
