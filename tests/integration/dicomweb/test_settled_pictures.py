"""Thumbnails and rendered images of settled series: from the smallest resolution that is enough."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pydicom
import pytest

from lightwell.access.context import operator_context
from lightwell.backends.codecs.htj2k import decode_coarse
from lightwell.domain.archive.model import Level, Located, Target
from lightwell.testing.builders import StudyBuilder, a_study

CT = a_study("P1", name="Doe^Jane").with_series("CT", instances=2, rows=256, columns=200)
RGB = a_study("P3", seed=4).with_series("US", colour=True, rows=256, columns=256)


def at(study: StudyBuilder) -> str:
    return (
        f"/dicomweb/studies/{study.study_uid}/series/{study.series_uid(0)}"
        f"/instances/{study.sop_uid(0, 0)}"
    )


async def put(house: Any, study: StudyBuilder) -> Located:
    assert (await house.post(*(b.part10 for b in study.objects()))).status_code == 200
    await house.settle(study)
    context = operator_context(house.tenant, "test")
    found: Located = (await house.archive.locate(context, study.study_uid)).instances[
        study.sop_uid(0, 0)
    ]
    return found


@pytest.mark.parametrize(
    ("path", "reduction"),
    [
        ("thumbnail?viewport=64,64", 2),  # 64 x 50
        ("thumbnail?viewport=65,65", 1),
        ("thumbnail?viewport=20,20", 3),  # drawn 20 x 16; 1/16 would be 16 x 13
        ("rendered?viewport=128,128", 1),
        ("rendered?viewport=32,1000", 2),  # drawn 41 x 32
        ("frames/1/rendered?viewport=32,32&window=40,400,linear", 3),
    ],
)
async def test_from_the_smallest_resolution(
    house: Any, path: str, reduction: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await put(house, CT)
    record = house.archive._stock.record(place, 1)
    ends = []
    read = house.blobs.read

    def seen(key: str, offset: int = 0, length: int | None = None) -> bytes:
        data = bytes(read(key, offset, length))
        if key == place.landed.key and record.offset <= offset < record.offset + record.length:
            ends.append(offset + len(data) - record.offset)
        return data

    monkeypatch.setattr(house.blobs, "read", seen)
    assert (await house.get(f"{at(CT)}/{path}")).status_code == 200
    ((frame, _),) = house.renderer.wanted
    wanted = record.ends[record.levels - reduction]
    assert ends == [wanted]  # nothing of the frame behind it was read
    prefix = read(place.landed.key, record.offset, wanted)
    coarse = decode_coarse(prefix, record.levels, reduction)
    assert frame.data == coarse.tobytes()
    said = [frame.attributes[tag]["Value"][0] for tag in ("00280010", "00280011", "00280101")]
    assert said == [*coarse.shape, 16]


@pytest.mark.parametrize(
    "path",
    [
        "rendered",
        "rendered?viewport=129,129",
        "rendered?viewport=400,400",
        "rendered?viewport=32,32,10,10,100,100",
        "thumbnail?viewport=200,200",
    ],
)
async def test_never_from_a_prefix_where_the_whole_is_needed(house: Any, path: str) -> None:
    await put(house, CT)
    assert (await house.get(f"{at(CT)}/{path}")).status_code == 200
    ((frame, _),) = house.renderer.wanted
    assert frame.data == CT.objects()[0].dataset[-256 * 200 * 2 :]
    assert frame.attributes["00280010"]["Value"] == [256]


async def test_colours_are_rgb(house: Any) -> None:
    smooth = pydicom.dcmread(io.BytesIO(RGB.objects()[0].part10))
    slope = np.add.outer(np.arange(256), np.arange(256)) // 2
    picture = np.stack([slope, slope[::-1], slope.T // 2], axis=2).astype(np.uint8)
    smooth.PixelData = picture.tobytes()
    smooth.PlanarConfiguration = 0
    out = io.BytesIO()
    smooth.save_as(out)
    assert (await house.post(out.getvalue())).status_code == 200
    (done,) = await house.settle(RGB)
    assert done.coded == 1
    assert (await house.get(f"{at(RGB)}/thumbnail?viewport=64,64")).status_code == 200
    ((frame, _),) = house.renderer.wanted
    assert frame.attributes["00280004"]["Value"] == ["RGB"]
    assert frame.attributes["00280006"]["Value"] == [0]
    coarse = np.frombuffer(frame.data, np.uint8).reshape(64, 64, 3).astype(int)
    assert np.abs(coarse - picture[::4, ::4].astype(int)).max() <= 4


async def test_the_window_is_the_one_that_was_corrected(house: Any) -> None:
    await put(house, CT)
    context = operator_context(house.tenant, "test")
    target = Target(
        Level.INSTANCE,
        study_uid=CT.study_uid,
        series_uid=CT.series_uid(0),
        sop_uid=CT.sop_uid(0, 0),
    )
    edit = {"00281050": {"vr": "DS", "Value": [123]}, "00281051": {"vr": "DS", "Value": [456]}}
    await house.archive.correct(context, target, edit, "a test")
    assert (await house.get(f"{at(CT)}/thumbnail?viewport=64,64")).status_code == 200
    ((frame, _),) = house.renderer.wanted
    assert frame.attributes["00281050"]["Value"] == [123]
    assert frame.attributes["00280010"]["Value"] == [64]
