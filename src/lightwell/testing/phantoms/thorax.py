"""The anatomy of a chest in Hounsfield units, cut by axial planes (z = 0 base, z = 300 apex)."""

from __future__ import annotations

import numpy as np

from lightwell.testing.phantoms.shapes import (
    Beads,
    Grid,
    Mask,
    Plane,
    clouds,
    fill,
    grow_tree,
    reach,
)

AIR, LUNG, FAT, MUSCLE, BLOOD, HEART = -1000.0, -860.0, -105.0, 55.0, 210.0, 105.0
LIVER, SPLEEN, TRABECULAR, CORTICAL, MARROW = 115.0, 120.0, 230.0, 720.0, 320.0

_RIB_DISTANCE = 25.0
_SIDES = (-1.0, 1.0)


class Thorax:
    """A chest over one grid; `slice(z)` cuts it. Left and right follow the patient (x > 0 left)."""

    def __init__(self, grid: Grid, rng: np.random.Generator) -> None:
        self._grid = grid
        size = grid.x.shape[0]
        cell = max(round(14 / grid.spacing), 2)
        self._lung_texture = clouds(rng, size, size, cell, octaves=3) * 18
        self._fat_texture = clouds(rng, size, size, cell, octaves=2) * 6
        self._angle = np.arctan2(grid.x, -(grid.y - 4)).astype(np.float32)  # 0 is the breastbone
        self._frontness = ((1 + np.cos(self._angle)) / 2).astype(np.float32)
        self._vessels = [
            grow_tree(
                rng,
                (32 * side, 10, 148 + rise / 3),
                (side * 0.8, depth, rise / 45),
                radius=4.8,
                length=27,
                generations=8,
            )
            for side in _SIDES
            for rise in (-70, -40, -12, 12, 40, 70)
            for depth in (-0.65, 0.65)
        ]
        self._bronchi = [
            grow_tree(
                rng, (8 * side, 6, 172), (side, 0.1, -0.9), radius=6.0, length=34, generations=4
            )
            for side in _SIDES
        ]

    @property
    def vessels(self) -> list[Beads]:
        """Pulmonary vessels, for projections."""
        return self._vessels

    def slice(self, z: float) -> Plane:
        """One axial plane."""
        grid = self._grid
        plane = np.full(grid.x.shape, AIR, np.float32)
        cage = 0.80 + 0.20 * float(np.sin(np.clip((320 - z) / 250, 0, 1) * np.pi / 2))
        self._table(plane)
        skin = reach(grid, 0, 2, 172 - 14 * max(z - 200, 0) / 100, 122 * (0.82 + 0.18 * cage))
        body = np.minimum(skin, reach(grid, 0, -6, 150, 112))
        plane[body < 1] = FAT
        plane[body < 1] += self._fat_texture[body < 1]
        plane[body < 0.985] -= 5
        plane[(body >= 0.985) & (body < 1)] = 20  # skin
        wall = reach(grid, 0, 4, 150 * cage, 106 * cage)
        plane[wall < 1] = MUSCLE
        self._back_muscles(plane, z)
        self._shoulders(plane, z)
        plane[(body >= 1) & (plane > -240)] = AIR  # muscles end at the skin
        lungs = self._lungs(plane, z, cage)
        self._trees(plane, z, lungs)
        self._mediastinum(plane, z)
        self._belly(plane, z, wall)
        self._ribs(plane, wall, z)
        self._spine(plane, z)
        self._collar_bones(plane, z)
        return plane

    def _table(self, plane: Plane) -> None:
        top = reach(self._grid, 0, -140, 330, 273)
        under = (self._grid.y > 60) & (np.abs(self._grid.x) < 172)
        plane[under & (top > 1) & (top < 1.012)] = -250
        plane[under & (top >= 1.012) & (top < 1.07)] = -930

    def _back_muscles(self, plane: Plane, z: float) -> None:
        for side in _SIDES:
            fill(plane, self._grid, MUSCLE, 26 * side, 98, 24, 13)
            fill(plane, self._grid, MUSCLE - 5, 100 * side, -72 + z / 20, 44, 10, 0.5 * side)

    def _lungs(self, plane: Plane, z: float, cage: float) -> Mask:
        grid = self._grid
        apex = float(np.sqrt(np.clip((296 - z) / 110, 0, 1)))
        both = np.zeros(grid.x.shape, np.bool_)
        if apex > 0.05:
            inner = reach(
                grid, 0, 4, 138 * cage * (0.55 + 0.45 * apex), 96 * cage * (0.5 + 0.5 * apex)
            )
            for side in _SIDES:
                lobe = reach(grid, 72 * side, 8, 68 * apex + 4, 96 * apex + 4, 0.12 * side)
                both |= (lobe < 1) & (inner < 1) & (grid.x * side > 12)
        # The diaphragm domes take the lung away from below, the right one higher.
        for side, top, belly in ((-1.0, 62.0, 150.0), (1.0, 48.0, 138.0)):
            height = z / top
            if height < 1:
                dome = float(np.sqrt(1 - height**2))
                both &= ~(reach(grid, 70 * side, 0, belly * 0.52 * dome, belly * 0.62 * dome) < 1)
        gravity = grid.y * 0.55
        plane[both] = (LUNG + gravity + self._lung_texture)[both]
        return both

    def _trees(self, plane: Plane, z: float, lungs: Mask) -> None:
        """Vessels only where there is lung; bronchi with a wall around the air."""
        drawn = plane.copy()
        for tree in self._vessels:
            tree.draw(drawn, self._grid, z, 60.0)
        for tree in self._bronchi:
            Beads(tree.centre, tree.radius * 1.25).draw(drawn, self._grid, z, -150.0)
            tree.draw(drawn, self._grid, z, -980.0)
        plane[lungs] = drawn[lungs]
        nodule = 6.5**2 - (z - 215) ** 2
        if nodule > 0:
            r = float(np.sqrt(nodule))
            fill(plane, self._grid, 35.0, -86, -14, r, r * 0.9)

    def _mediastinum(self, plane: Plane, z: float) -> None:
        grid = self._grid
        fill(plane, grid, -90.0, 0, -22, 30, 42)
        fill(plane, grid, MUSCLE, 0, 20, 26, 40)
        self._heart(plane, z)
        self._great_vessels(plane, z)
        if z > 168:  # windpipe
            fill(plane, grid, 30.0, 0, 4, 11.5, 11)
            fill(plane, grid, AIR, 0, 4, 9.5, 9)
        else:
            for side in _SIDES:
                away = 8 + (168 - z) * 0.85
                if away < 34:
                    fill(plane, grid, 30.0, away * side, 8, 9.5, 8)
                    fill(plane, grid, AIR, away * side, 8, 7.5, 6)
        fill(plane, grid, 40.0, 8, 30, 8, 6.5)  # gullet
        fill(plane, grid, -300.0, 8, 30, 2.5, 1.6)
        if z > 225:
            for side in _SIDES:  # thyroid and vessels of the neck base
                fill(plane, grid, 170.0, 17 * side, -4, 6.5, 8)

    def _heart(self, plane: Plane, z: float) -> None:
        height = (z - 92) / 66
        if abs(height) >= 1:
            return
        r = float(np.sqrt(1 - height**2))
        grid = self._grid
        lean = (92 - z) * 0.28
        fill(plane, grid, -85.0, 24 + lean, -28, 68 * r, 54 * r, 0.6)  # pericardial fat
        fill(plane, grid, HEART, 24 + lean, -27, 62 * r, 48 * r, 0.6)
        fill(plane, grid, BLOOD, 46 + lean, -16, 27 * r, 17 * r, 0.75)  # left ventricle
        fill(plane, grid, BLOOD - 15, 14 + lean, -52, 30 * r, 13 * r, 0.45)  # right ventricle
        fill(plane, grid, BLOOD - 25, -26, -22, 19 * r, 22 * r)  # right atrium
        if z > 82:
            fill(plane, grid, BLOOD + 5, 10, 10, 27 * r, 15 * r, 0.1)  # left atrium

    def _great_vessels(self, plane: Plane, z: float) -> None:
        grid = self._grid
        if z < 205:
            fill(plane, grid, BLOOD + 20, 24, 44, 12.5, 12.5)  # descending aorta
        if 60 < z < 74:
            fill(plane, grid, 480.0, 35, 44, 2.2, 3.2)  # a plaque
        if 110 < z < 200:
            fill(plane, grid, BLOOD + 20, -8, -24, 15.5, 15.5)  # ascending aorta
        if 192 < z < 212:
            fill(plane, grid, BLOOD + 20, 8, 10, 14, 42, -0.45)  # arch
        if z > 205:
            for x, y, r in ((-12, -18, 6.0), (2, -12, 4.6), (15, 2, 5.0)):
                fill(plane, grid, BLOOD + 15, x * (1 + (z - 205) / 160), y, r, r)
        if 128 < z < 250:
            fill(plane, grid, BLOOD + 60, -27, -14, 9, 10)  # superior vena cava
        if 138 < z < 166:
            fill(plane, grid, BLOOD + 40, 12, -24, 17, 13)  # pulmonary trunk
            for side in _SIDES:
                fill(plane, grid, BLOOD + 30, 24 * side, -4, 22, 8.5, 0.5 * side)
        if z <= 60:
            fill(plane, grid, BLOOD - 60, -22, 16, 12, 11)  # inferior vena cava

    def _belly(self, plane: Plane, z: float, wall: Plane) -> None:
        grid = self._grid
        for side, top, belly, value in ((-1.0, 60.0, 148.0, LIVER), (1.0, 46.0, 136.0, SPLEEN)):
            height = z / top
            if height >= 1:
                continue
            dome = float(np.sqrt(1 - height**2))
            organ = reach(grid, 70 * side, 0, belly * 0.5 * dome, belly * 0.6 * dome)
            clear = wall < 0.9
            if side < 0:
                plane[(organ < 1) & clear] = value
            else:
                plane[(organ < 1) & clear] = -95.0
                fill(plane, grid, value, 88, 46, 32 * dome, 30 * dome, 0.6)
                fill(plane, grid, 30.0, 58, -26, 42 * dome, 34 * dome)
                fill(plane, grid, AIR, 58, -44, 28 * dome, 13 * dome)

    def _ribs(self, plane: Plane, wall: Plane, z: float) -> None:
        """All ribs at once: they repeat every 25 mm and fall by 75 mm from back to front."""
        fall = z + 78 * self._frontness
        along = np.mod(fall, _RIB_DISTANCE) - _RIB_DISTANCE / 2
        across = (wall - 0.945) * 125
        shape = (along / 6.4) ** 2 + (across / 4.4) ** 2
        there = (np.abs(self._angle) > 0.28) & (np.abs(self._angle) < 2.85) & (fall < 318)
        front = self._frontness > 0.9
        plane[(shape < 1) & there] = CORTICAL
        plane[(shape < 0.42) & there] = MARROW
        plane[(shape < 1) & there & front] = 95.0  # cartilage
        if 95 < z < 262:
            fill(plane, self._grid, CORTICAL * 0.8, 0, -97 + abs(z - 180) * 0.05, 17, 6)
            fill(plane, self._grid, MARROW * 0.6, 0, -97 + abs(z - 180) * 0.05, 14.5, 3.8)

    def _spine(self, plane: Plane, z: float) -> None:
        grid = self._grid
        level = z % 26.0
        y = 66.0
        if level < 5:
            fill(plane, grid, 85.0, 0, y, 18.5, 15)  # disc
        else:
            fill(plane, grid, CORTICAL, 0, y, 19.5, 16)
            fill(plane, grid, TRABECULAR, 0, y, 17.6, 14.2)
            fill(plane, grid, 60.0, 0, y + 9, 2, 3)
        fill(plane, grid, CORTICAL * 0.9, 0, y + 24, 15.5, 14)
        fill(plane, grid, 25.0, 0, y + 23, 11, 10)
        fill(plane, grid, 42.0, 0, y + 23, 5, 4.4)  # cord
        fill(plane, grid, CORTICAL * 0.75, 0, y + 43, 3.6, 13)
        if level > 9:
            for side in _SIDES:
                fill(plane, grid, CORTICAL * 0.8, 27 * side, y + 25, 14, 5, 0.45 * side)
                fill(plane, grid, CORTICAL * 0.85, 46 * side, y + 27, 9, 4.6, 0.3 * side)

    def _shoulders(self, plane: Plane, z: float) -> None:
        grid = self._grid
        if z > 150:
            high = min((z - 150) / 60, 1.0)
            for side in _SIDES:
                fill(plane, grid, MUSCLE, 112 * side, 74, 40 * high, 16, 0.62 * side)
                fill(plane, grid, CORTICAL * 0.8, 108 * side, 70, 38 * high, 2.6, 0.72 * side)

    def _collar_bones(self, plane: Plane, z: float) -> None:
        grid = self._grid
        if z > 262:
            for side in _SIDES:
                x = 40 + (z - 262) * 1.9
                fill(plane, grid, CORTICAL, x * side, -58 + (z - 262) * 0.4, 24, 6, 0.3 * side)
                fill(plane, grid, MARROW, x * side, -58 + (z - 262) * 0.4, 21, 3.6, 0.3 * side)
