"""The anatomy of a head as tissue numbers, cut by axial planes (z = 0 skull base, 150 vertex).

CT and MR look the tissues up in their own tables, so both show the same head.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lightwell.testing.phantoms.shapes import Grid, Mask, Plane, clouds, fill, reach

(
    AIR, FAT, MUSCLE, CORTICAL, DIPLOE, EYE, CSF, GREY, WHITE, DEEP_GREY, VESSEL, CALCIUM,
) = range(12)  # fmt: skip

Tissue = NDArray[np.uint8]

#: Hounsfield units by tissue.
HOUNSFIELD = np.array([-1000, -90, 55, 1250, 520, 12, 3, 43, 26, 42, 52, 160], np.float32)
#: Relative signal by tissue, T1- and T2-weighted.
T1 = np.array([4, 760, 300, 30, 420, 140, 110, 400, 610, 470, 180, 120], np.float32)
T2 = np.array([4, 480, 170, 25, 260, 880, 950, 470, 330, 390, 90, 70], np.float32)

_SIDES = (-1.0, 1.0)


class Head:
    """A head over one grid; `slice(z)` cuts it."""

    def __init__(self, grid: Grid, rng: np.random.Generator) -> None:
        self._grid = grid
        size = grid.x.shape[0]
        cell = max(round(13 / grid.spacing), 2)
        self._folds = [clouds(rng, size, size, cell) for _ in range(4)]
        self._wobble = clouds(rng, size, size, cell * 4) * 0.012
        self._angle = np.arctan2(grid.x, -grid.y).astype(np.float32)

    def slice(self, z: float) -> Tissue:
        """Tissue numbers of one axial plane."""
        grid = self._grid
        tissue = np.full(grid.x.shape, AIR, np.uint8)
        if z >= 150:
            return tissue
        size = float(np.sqrt(1 - np.clip((z - 52) / 99, -0.42, 0.999) ** 2))
        scalp = reach(grid, 0, 0, 78 * size, 98 * size) + self._wobble
        inner = reach(grid, 0, 0, 72 * size, 91.5 * size) + self._wobble * 0.5
        tissue[scalp < 1] = FAT
        tissue[scalp < 0.972] = MUSCLE
        tissue[inner < 1] = CORTICAL
        tissue[(inner < 0.982) & (inner > 0.948)] = DIPLOE
        cavity = inner < 0.928
        tissue[cavity] = CSF
        self._cortex(tissue, z, size, inner, cavity)
        if z > 20:
            self._deep(tissue, z, size)
        if z < 42:
            self._base(tissue, z, size)
        return tissue

    def _cortex(self, tissue: Tissue, z: float, size: float, inner: Plane, cavity: Mask) -> None:
        """Brain with folds: the depth under the surface is bent by smooth noise."""
        grid = self._grid
        place = np.clip(z / 150, 0, 0.999) * (len(self._folds) - 1)
        low = int(place)
        share = np.float32(place - low)
        folds = self._folds[low] * (1 - share) + self._folds[low + 1] * share
        brain = inner < 0.905
        tissue[cavity & brain] = WHITE
        ridges = np.abs(folds)
        depth = (0.905 - inner) * 72 * np.float32(size)  # mm under the surface
        grey = (depth < 4.2) | ((ridges < 0.42) & (depth < 20))
        tissue[cavity & brain & grey] = GREY
        sulci = (ridges < 0.13) & (depth < 15)
        tissue[cavity & brain & sulci] = CSF
        split = np.abs(grid.x) < (1.6 if z > 62 else 0.9)
        tissue[brain & split & (np.abs(grid.y) > 22)] = CSF
        falx = (np.abs(grid.x) < 0.7) & (np.abs(grid.y) > 26) & (z > 60)
        tissue[brain & falx] = VESSEL
        if z > 50:
            fill(tissue, grid, VESSEL, 0, 84 * size, 4.5, 4)  # sagittal sinus

    def _deep(self, tissue: Tissue, z: float, size: float) -> None:
        grid = self._grid
        for side in _SIDES:
            if 46 < z < 82:
                fill(tissue, grid, DEEP_GREY, 13 * side, 12, 9.5, 13, -0.35 * side)  # thalamus
                fill(tissue, grid, DEEP_GREY, 26 * side, -8, 8, 18, -0.28 * side)  # lentiform
                fill(tissue, grid, WHITE, 18.5 * side, -4, 2.6, 18, -0.42 * side)  # capsule
            if 50 < z < 92:
                fill(tissue, grid, DEEP_GREY, 13.5 * side, -22, 4.6, 9, -0.2 * side)  # caudate
            if 58 < z < 98:
                r = float(np.sin((z - 58) / 40 * np.pi)) ** 0.5
                fill(tissue, grid, CSF, 8 * side, -24, 4.4 * r, 13 * r, 0.25 * side)  # front horn
                fill(tissue, grid, CSF, 10 * side, 8, 3.8 * r, 18 * r, -0.16 * side)  # body
                fill(tissue, grid, CSF, 22 * side, 34, 4.6 * r, 15 * r, -0.45 * side)  # hind horn
            if 62 < z < 70:
                fill(tissue, grid, CALCIUM, 21 * side, 30, 2.2, 3)  # choroid plexus
            if 38 < z < 58:
                fill(tissue, grid, CSF, 33 * side, 2, 2.6, 12, 0.5 * side)  # Sylvian fissure
        if 44 < z < 70:
            fill(tissue, grid, CSF, 0, 6, 1.9, 13)  # third ventricle
        if 52 < z < 60:
            fill(tissue, grid, CALCIUM, 0, 24, 2.6, 2.6)  # pineal
        if 20 < z < 46:
            fill(tissue, grid, CSF, 0, 4, 17, 12)  # basal cisterns
            fill(tissue, grid, WHITE, 0, 14, 14, 12.5)  # brain stem
            fill(tissue, grid, CSF, 0, 30, 6.5, 5)  # fourth ventricle
            for side in _SIDES:
                window = reach(grid, 25 * side, 50 * size, 27, 23)
                leaves = np.mod(window * 7, 1.0) < 0.4
                tissue[window < 1] = WHITE
                tissue[(window < 1) & ((window > 0.78) | leaves)] = GREY  # cerebellum
            fill(tissue, grid, VESSEL, 0, -3, 2.0, 2.0)  # basilar artery

    def _base(self, tissue: Tissue, z: float, size: float) -> None:
        """Petrous bones, sinuses, orbits and the nose, fading upwards."""
        grid = self._grid
        for side in _SIDES:
            if z < 30:
                fill(tissue, grid, CORTICAL, 40 * side, 18, 27, 8 - z * 0.1, -0.5 * side)
                fill(tissue, grid, AIR, 54 * side, 28, 7, 5)  # mastoid cells
                fill(tissue, grid, CORTICAL, 54 * side, 28, 1.2, 5)
                fill(tissue, grid, AIR, 48 * side, 12, 3, 8, 0.9 * side)  # ear canal
            orbit = 15.5**2 - (z - 20) ** 2
            if orbit > 0:
                r = float(np.sqrt(orbit))
                fill(tissue, grid, CORTICAL, 30 * side, -64 * size, r + 4, r + 8)
                fill(tissue, grid, FAT, 30 * side, -66 * size, r + 1.5, r + 6)
                fill(tissue, grid, MUSCLE, 21 * side, -52 * size, 2, r)
                fill(tissue, grid, EYE, 30 * side, -76 * size, r * 0.78, r * 0.78)
                fill(tissue, grid, MUSCLE, 30 * side, -84 * size, r * 0.3, r * 0.16)  # lens
        if z < 34:
            fill(tissue, grid, CORTICAL, 0, -68 * size, 13.5, 20)
            fill(tissue, grid, AIR, 0, -68 * size, 11.5, 18)
            fill(tissue, grid, CORTICAL, 0, -68 * size, 0.9, 18)
            fill(tissue, grid, MUSCLE, -6, -66 * size, 2.4, 12)
            fill(tissue, grid, MUSCLE, 6, -66 * size, 2.4, 12)
        if 24 < z < 42:
            fill(tissue, grid, CORTICAL, 0, -86 * size, 24, 7)
            fill(tissue, grid, AIR, 8, -86 * size, 11, 4.4)
            fill(tissue, grid, AIR, -9, -86 * size, 10, 4)  # frontal sinuses
        if z < 16:
            fill(tissue, grid, CORTICAL, 0, 14, 15, 12)  # clivus
            fill(tissue, grid, AIR, 0, -16, 14, 12)  # sphenoid sinus
