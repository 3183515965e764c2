"""Raster pieces that the phantoms are made of: coordinates, soft edges, tubes, noise. numpy only.

Lengths are millimetres in patient directions: x to the left, y to the back, z to the head
(PS3.3 C.7.6.2.1.1). Pictures are float32 arrays (rows, columns).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Grid:
    """Pixel centres of an axial plane around the isocentre."""

    x: Plane
    y: Plane
    spacing: float

    @classmethod
    def square(cls, matrix: int, width: float, centre_y: float = 0.0) -> Grid:
        """`matrix` x `matrix` pixels over `width` mm, centred on x = 0."""
        spacing = width / matrix
        line = ((np.arange(matrix) - (matrix - 1) / 2) * spacing).astype(np.float32)
        x, y = np.meshgrid(line, line + np.float32(centre_y))
        return cls(x.astype(np.float32), y.astype(np.float32), spacing)

    @property
    def origin(self) -> tuple[float, float]:
        """x and y of the centre of the first pixel."""
        return float(self.x[0, 0]), float(self.y[0, 0])


def reach(grid: Grid, x: float, y: float, wide: float, deep: float, turn: float = 0.0) -> Plane:
    """Normalised radius of an ellipse: below 1 inside. `turn` in radians."""
    dx, dy = grid.x - np.float32(x), grid.y - np.float32(y)
    if turn:
        c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        dx, dy = c * dx + s * dy, c * dy - s * dx
    radius: Plane = np.sqrt((dx / np.float32(wide)) ** 2 + (dy / np.float32(deep)) ** 2)
    return radius


def inside(
    grid: Grid, x: float, y: float, wide: float, deep: float, turn: float = 0.0
) -> tuple[tuple[slice, slice], Mask]:
    """A filled ellipse as a window of the plane and a mask within it: cheap for small shapes."""
    span = max(wide, deep)
    x0, y0 = grid.origin
    rows = _span(y - span - y0, y + span - y0, grid.spacing, grid.y.shape[0])
    columns = _span(x - span - x0, x + span - x0, grid.spacing, grid.x.shape[1])
    part = Grid(grid.x[rows, columns], grid.y[rows, columns], grid.spacing)
    return (rows, columns), reach(part, x, y, wide, deep, turn) < 1


def _span(low: float, high: float, spacing: float, size: int) -> slice:
    start = min(max(int(np.floor(low / spacing)), 0), size)
    return slice(start, min(max(int(np.ceil(high / spacing)) + 1, start), size))


def fill(
    plane: NDArray[Any],
    grid: Grid,
    value: float,
    x: float,
    y: float,
    wide: float,
    deep: float,
    turn: float = 0.0,
) -> None:
    """Set an ellipse of `plane` to a value."""
    if wide <= 0 or deep <= 0:
        return
    window, mask = inside(grid, x, y, wide, deep, turn)
    plane[window][mask] = value


def soften(plane: Plane) -> Plane:
    """A slight blur (1 2 1 both ways): the point spread of a scanner."""
    wide = np.pad(plane, 1, mode="edge")
    rows = wide[:-2] + 2 * wide[1:-1] + wide[2:]
    blurred: Plane = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) * np.float32(1 / 16)
    return blurred


def enlarge(plane: Plane, rows: int, columns: int) -> Plane:
    """Bilinear interpolation to a larger size."""
    first = _stretch(plane, rows)
    return np.ascontiguousarray(_stretch(first.T, columns).T)


def _stretch(plane: Plane, rows: int) -> Plane:
    places = np.linspace(0, plane.shape[0] - 1, rows, dtype=np.float32)
    low = places.astype(np.intp)
    high = np.minimum(low + 1, plane.shape[0] - 1)
    share = (places - low).astype(np.float32)[:, None]
    line: Plane = plane[low] * (1 - share) + plane[high] * share
    return line


def clouds(rng: np.random.Generator, rows: int, columns: int, cell: int, octaves: int = 1) -> Plane:
    """Smooth noise with standard deviation 1; structures of about `cell` pixels and finer."""
    total = np.zeros((rows, columns), np.float32)
    for octave in range(octaves):
        size = max(cell >> octave, 1)
        seeds = rng.standard_normal((rows // size + 3, columns // size + 3), dtype=np.float32)
        total += enlarge(soften(seeds), rows, columns) * np.float32(0.6**octave)
    normal: Plane = total / (total.std() or np.float32(1))
    return normal


class NoiseBank:
    """Scanner noise for many slices: a blurred field made once, cut at random places.

    Drawing a fresh Gaussian for every pixel of every slice would take longer than everything else.
    """

    def __init__(
        self, rng: np.random.Generator, size: int, deviation: float, *, sharp: bool = False
    ) -> None:
        extra = max(size // 2, 16)
        field = rng.standard_normal((size + extra, size + extra), dtype=np.float32)
        blurred = soften(field)
        # A sharp kernel has noise in fine structures only: large ones stay visible under it.
        field = field - soften(blurred) if sharp else blurred
        self._field = field * np.float32(deviation / field.std())
        self._rng, self._size, self._extra = rng, size, extra

    def cut(self) -> Plane:
        """A field of the size and standard deviation given, mirrored by chance."""
        row, column, flips = self._rng.integers(0, (self._extra, self._extra, 4))
        piece = self._field[row : row + self._size, column : column + self._size]
        if flips & 1:
            piece = piece[::-1]
        return piece[:, ::-1] if flips & 2 else piece


@dataclass(frozen=True)
class Beads:
    """A branching vessel tree as many small spheres: centre (n, 3) and radius (n,) in mm."""

    centre: NDArray[np.float32]
    radius: NDArray[np.float32]

    def draw(self, plane: Plane, grid: Grid, z: float, value: float) -> None:
        """Cut the tree with the plane at z."""
        away = np.abs(self.centre[:, 2] - z)
        for index in np.flatnonzero(away < self.radius):
            cut = float(np.sqrt(self.radius[index] ** 2 - away[index] ** 2))
            cut = max(cut, grid.spacing * 0.75)
            x, y, _ = self.centre[index].tolist()
            fill(plane, grid, value, x, y, cut, cut)


def grow_tree(
    rng: np.random.Generator,
    start: tuple[float, float, float],
    towards: tuple[float, float, float],
    *,
    radius: float,
    length: float,
    generations: int,
) -> Beads:
    """Grow a vessel tree: each branch forks in two, thinner and shorter."""
    centres: list[NDArray[np.float32]] = []
    radii: list[NDArray[np.float32]] = []
    aim = np.asarray(towards, np.float32)
    pending = [(np.asarray(start, np.float32), aim / np.linalg.norm(aim), radius, length, 0)]
    while pending:
        at, way, thick, long, generation = pending.pop()
        count = max(int(long / max(thick * 0.8, 0.7)), 2)
        steps = np.linspace(0, long, count, dtype=np.float32)[:, None]
        bend = rng.normal(0, 0.15, 3).astype(np.float32) * (steps / long) * steps
        points = at + way * steps + bend
        centres.append(points.astype(np.float32))
        radii.append(np.linspace(thick, thick * 0.8, count, dtype=np.float32))
        if generation + 1 < generations:
            for _ in range(2):
                turned = way + rng.normal(0, 0.45, 3).astype(np.float32)
                turned /= np.linalg.norm(turned)
                pending.append((points[-1], turned, thick * 0.74, long * 0.85, generation + 1))
    return Beads(np.concatenate(centres), np.concatenate(radii))
