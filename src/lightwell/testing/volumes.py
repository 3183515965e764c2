"""A patient of 64 blocks, each of its own value, recorded along any of its axes.

One pixel says where in the patient it was taken: from which quarter of its width, depth and height. The truth
is an array in the patient's own axes; it comes from no code that reads DICOM headers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lightwell.testing.builders import BuiltInstance, build_instance, stable_uid
from lightwell.testing.orientation import Axis

#: Blocks along each axis.
BLOCKS = 4
#: Between the values of two neighbours; the largest value.
STEP = 16
TOP = STEP * (BLOCKS**3 - 1)
#: Voxels along the patient's x (to the left), y (to the back) and z (to the head), and mm between them.
COUNTS = (64, 48, 32)
SPACING = (1.0, 1.25, 3.0)
#: Centre of the first voxel: rightmost, foremost, lowest.
ORIGIN = (-40.0, 12.5, -60.0)


def block_value(x: int, y: int, z: int) -> int:
    """Stored value of a block, its place counted from right, front and feet."""
    return STEP * (x + BLOCKS * y + BLOCKS**2 * z)


def blocks() -> NDArray[np.uint16]:
    """(z, y, x) of the patient, rising to the head, the back and the left."""
    x, y, z = (
        np.arange(count) * BLOCKS // count for count in COUNTS
    )  # block of each voxel along the axis
    values = STEP * (x[None, None, :] + BLOCKS * y[None, :, None] + BLOCKS**2 * z[:, None, None])
    return values.astype("<u2")


@dataclass(frozen=True)
class Recording:
    """How slices are laid through the patient, and what is wrong with them."""

    #: Directions of a row and of a column, each along one axis of the patient.
    rows: Axis
    columns: Axis
    seed: int = 0
    #: mm that a slice is moved aside (along its columns) for each slice before it: a tilted gantry.
    shear: float = 0.0
    #: Slices that are left out, by their index.
    without: frozenset[int] = field(default_factory=frozenset)

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID; of this recording and no other."""
        return stable_uid(*self._parts)

    @property
    def _parts(self) -> tuple[object, ...]:
        return ("blocks", self.seed, self.rows, self.columns, self.shear, sorted(self.without))

    def slices(self) -> Iterator[BuiltInstance]:
        """The slices, from right, front or feet on; numbered from the other end."""
        across, down = (_axis_of(direction) for direction in (self.rows, self.columns))
        (through,) = {0, 1, 2} - {across, down}
        # Axis p of the patient is axis 2 - p of the array.
        planes = blocks().transpose(2 - through, 2 - down, 2 - across)
        planes = planes[:, :: self.columns[down], :: self.rows[across]]
        first = list(ORIGIN)
        for axis, direction in ((across, self.rows), (down, self.columns)):
            if direction[axis] < 0:
                first[axis] += (COUNTS[axis] - 1) * SPACING[axis]
        for number, plane in enumerate(planes):
            if number in self.without:
                continue
            position = list(first)
            position[through] += number * SPACING[through]
            position[down] += number * self.shear
            yield self._instance(number, position, (SPACING[down], SPACING[across]), plane)

    def _instance(
        self,
        number: int,
        position: list[float],
        pixel: tuple[float, float],
        plane: NDArray[np.uint16],
    ) -> BuiltInstance:
        return build_instance(
            {
                "ImageType": ["DERIVED", "SECONDARY", "OTHER"],
                "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
                "SOPInstanceUID": stable_uid(*self._parts, number),
                "StudyDate": "20250101",
                "StudyTime": "120000",
                "Modality": "MR",
                "StudyDescription": "Block phantom",
                "SeriesDescription": "Blocks",
                "PatientName": "Block^Phantom",
                "PatientID": f"BLOCKS-{stable_uid(*self._parts)[-8:]}",
                "StudyInstanceUID": self.study_uid,
                "SeriesInstanceUID": stable_uid(*self._parts, "series"),
                "FrameOfReferenceUID": stable_uid(*self._parts, "frame of reference"),
                "SeriesNumber": 1,
                "InstanceNumber": 1000 - number,
                "ImagePositionPatient": position,
                "ImageOrientationPatient": [*self.rows, *self.columns],
                "PixelSpacing": list(pixel),
                # Who takes the thickness for the distance is found out.
                "SliceThickness": 0.5,
                # Black is 0, white is TOP (PS3.3 C.11.2.1.2.1).
                "WindowCenter": TOP / 2 + 0.5,
                "WindowWidth": TOP + 1,
            },
            np.ascontiguousarray(plane)[None],
        )


def _axis_of(direction: Axis) -> int:
    (axis,) = (index for index, part in enumerate(direction) if part != 0)
    return axis
