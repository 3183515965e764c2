"""The phantoms hold what a viewer relies on: geometry, values, noise, laterality, DEMO."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pydicom
import pytest

from lightwell.testing.builders import BuiltInstance
from lightwell.testing.phantoms import (
    Case,
    cr_chest,
    ct_head,
    ct_thorax,
    demo_studies,
    mg_views,
    mr_brain,
    us_cine,
)


def read(instances: Iterable[BuiltInstance]) -> list[Any]:
    return [pydicom.dcmread(io.BytesIO(one.part10)) for one in instances]


SMALL: dict[str, Callable[[Case], Iterator[BuiltInstance]]] = {
    "ct_thorax": lambda case: ct_thorax(case, slices=6, matrix=128),
    "ct_head": lambda case: ct_head(case, slices=6, matrix=128),
    "mr_brain": lambda case: mr_brain(case, slices=4, matrix=64),
    "cr_chest": lambda case: cr_chest(case, rows=250, columns=205),
    "mg_views": lambda case: mg_views(case, rows=230, columns=191),
    "us_cine": lambda case: us_cine(case, frames=4, rows=120, columns=160),
}


@pytest.mark.parametrize("name", SMALL)
def test_deterministic_by_seed_and_marked_on_demand(name: str) -> None:
    first, again = (list(SMALL[name](Case(seed=1))) for _ in range(2))
    assert first == again
    other = list(SMALL[name](Case(seed=2)))
    assert not {one.sop_uid for one in first} & {one.sop_uid for one in other}
    marked = read(SMALL[name](Case(seed=1, demo=True)))
    for plain, demo in zip(read(first), marked, strict=True):
        corner = np.s_[..., -12:, :32, :] if demo.SamplesPerPixel == 3 else np.s_[..., -12:, :32]
        assert (plain.pixel_array[corner] != demo.pixel_array[corner]).sum() > 30
        assert (plain.BurnedInAnnotation, demo.BurnedInAnnotation) == ("NO", "YES")


@pytest.mark.parametrize("name", SMALL)
def test_headers_are_as_rich_as_those_of_a_device(name: str) -> None:
    for dataset in read(SMALL[name](Case())):
        assert len(dataset) >= 85
        assert dataset.IssuerOfPatientID == "LIGHTWELL-DEMO"
        assert dataset.PatientID.startswith("DEMO")
        size = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel
        size *= dataset.BitsAllocated // 8 * int(dataset.get("NumberOfFrames", 1))
        assert len(dataset.PixelData) == size + size % 2


@pytest.mark.parametrize("name", ["ct_thorax", "ct_head"])
def test_ct_is_in_hounsfield_units_and_evenly_spaced(name: str) -> None:
    slices = read(SMALL[name](Case()))
    places = [float(d.ImagePositionPatient[2]) for d in slices]
    steps = [b - a for a, b in itertools.pairwise(places)]
    assert steps == pytest.approx([float(slices[0].SliceThickness)] * 5)
    assert len({d.FrameOfReferenceUID for d in slices}) == 1
    for dataset in slices:
        assert dataset.RescaleType == "HU"
        assert list(dataset.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
        values = dataset.pixel_array.astype(float) + float(dataset.RescaleIntercept)
        assert values[1:9, 40:90].mean() == pytest.approx(-1000, abs=15)  # air
        assert values.max() > 400  # bone


def test_ct_noise_is_at_least_20_hu() -> None:
    liver = read(itertools.islice(ct_thorax(Case(), slices=24, matrix=256), 2))[1]
    patch = liver.pixel_array[115:130, 75:90].astype(float) - 1024
    assert 20 <= patch.std() <= 40
    assert 90 < patch.mean() < 140
    head = read(itertools.islice(ct_head(Case(), slices=40, matrix=256), 24))[23]
    # White matter beside the midline, above the ventricles.
    patch = head.pixel_array[120:136, 140:156].astype(float) - 1024
    assert 18 <= patch.std() <= 30
    assert 15 < patch.mean() < 50


def test_the_heart_is_on_the_patients_left_and_the_liver_on_the_right() -> None:
    slices = read(ct_thorax(Case(), slices=12, matrix=128))
    chest = slices[3].pixel_array.astype(float) - 1024  # z about 88 mm: the heart
    assert (chest[30:75, 64:] > 80).sum() > (chest[30:75, :64] > 80).sum()
    belly = slices[0].pixel_array.astype(float) - 1024
    assert (belly[:, :64] > 90).sum() > 1.5 * (belly[:, 64:] > 90).sum()


def test_mr_weightings_show_fluid_dark_and_bright() -> None:
    datasets = read(mr_brain(Case(), slices=20, matrix=128))
    t1, t2 = datasets[:20], datasets[20:]
    assert {d.SeriesDescription for d in t1} == {"T1 SE tra"}
    assert t1[0].EchoTime < 20 < 80 < t2[0].EchoTime
    assert t1[0].FrameOfReferenceUID == t2[0].FrameOfReferenceUID
    ventricle = np.s_[48:52, 67:69]  # left front horn at z about 79 mm
    assert t2[10].pixel_array[ventricle].mean() > 2 * t1[10].pixel_array[ventricle].mean()


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_chest_is_dark_where_there_is_lung(photometric: str) -> None:
    (film,) = read(cr_chest(Case(), rows=250, columns=205, photometric=photometric))
    values = film.pixel_array.astype(float)
    lung, spine = values[105:125, 55:70].mean(), values[105:125, 98:106].mean()
    assert (lung < spine) == (photometric == "MONOCHROME2")
    assert film.PresentationLUTShape == ("INVERSE" if photometric == "MONOCHROME1" else "IDENTITY")


def test_the_four_views_have_side_view_and_chest_wall() -> None:
    views = read(SMALL["mg_views"](Case()))
    sides = [(d.ImageLaterality, d.ViewPosition) for d in views]
    assert sides == [("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO")]
    for dataset in views:
        values = dataset.pixel_array
        left, right = values[:, :20].mean(), values[:, -20:].mean()
        # The chest wall of a right breast is on the right of the picture as stored.
        assert (left > right) == (dataset.ImageLaterality == "L")
        assert dataset.PatientOrientation[0] == ("A" if dataset.ImageLaterality == "L" else "P")
        meaning = dataset.ViewCodeSequence[0].CodeMeaning
        assert meaning.startswith("cranio" if dataset.ViewPosition == "CC" else "medio")
    assert len({d.SOPInstanceUID for d in views}) == 4


def test_the_heart_of_the_cine_beats_and_its_region_is_calibrated() -> None:
    (cine,) = read(us_cine(Case(), frames=8, rows=240, columns=320))
    frames = cine.pixel_array.astype(int)
    assert frames.shape == (8, 240, 320, 3)
    assert min(np.abs(a - b).mean() for a, b in itertools.pairwise(frames)) > 0.5
    (region,) = cine.SequenceOfUltrasoundRegions
    assert region.PhysicalUnitsXDirection == region.PhysicalUnitsYDirection == 3  # cm
    depth = (region.RegionLocationMaxY1 - region.RegionLocationMinY0) * region.PhysicalDeltaY
    assert depth == pytest.approx(16, abs=0.2)


def test_the_demo_is_made_on_demand() -> None:
    studies = list(demo_studies(seed=5))
    labels = [label for label, _ in studies]
    assert labels == ["CT thorax", "CT head", "MR brain", "CR chest", "MG screening", "US heart"]
    first = pydicom.dcmread(io.BytesIO(next(studies[0][1])), stop_before_pixels=True)
    assert first.PatientID == "DEMO-1001"
    assert first.BurnedInAnnotation == "YES"
