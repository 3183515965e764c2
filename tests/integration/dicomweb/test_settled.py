"""WADO-RS of settled series: what arrived to everyone, what lies coded to who asks for it by name."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest

from lightwell.access.context import operator_context
from lightwell.backends.codecs.htj2k import decode_coarse
from lightwell.domain.archive.model import Level, Located, Target
from lightwell.testing import encoding as enc
from lightwell.testing.builders import Shape, StudyBuilder, a_study

HTJ2K = "1.2.840.10008.1.2.4.202"
JPHC = f"image/jphc; transfer-syntax={HTJ2K}"
OBJECT = f"application/dicom; transfer-syntax={HTJ2K}"
CT = a_study("P1", name="Doe^Jane").with_series("CT", instances=2, rows=256, columns=200)
MANY = (
    a_study("P2", seed=3)
    .with_series("CT", frames=3, rows=160, columns=160)
    .with_series("MR", rows=96, columns=96, syntax=enc.IMPLICIT_LE)
    .with_series("US", rows=8, columns=8)  # too small to gain
)


def at(study: StudyBuilder, series: int = 0, instance: int = 0) -> str:
    return (
        f"/dicomweb/studies/{study.study_uid}/series/{study.series_uid(series)}"
        f"/instances/{study.sop_uid(series, instance)}"
    )


async def put(house: Any, study: StudyBuilder) -> None:
    response = await house.post(*(built.part10 for built in study.objects()))
    assert response.status_code == 200


async def located(house: Any, study: StudyBuilder, instance: int = 0) -> Located:
    context = operator_context(house.tenant, "test")
    lease = await house.archive.locate(context, study.study_uid)
    found: Located = lease.instances[study.sop_uid(0, instance)]
    return found


def pixels(study: StudyBuilder, instance: int = 0) -> bytes:
    return study.objects()[instance].dataset[-256 * 200 * 2 :]


def decoded(stream: bytes) -> bytes:
    return decode_coarse(stream, 4, 0).tobytes()


async def test_a_coded_frame_goes_out_as_it_lies(house: Any) -> None:
    await put(house, CT)
    before = await house.get(f"{at(CT)}/frames/1", JPHC)
    assert before.status_code == 406
    await house.settle(CT)
    single = await house.get(f"{at(CT)}/frames/1", JPHC)
    assert single.status_code == 200
    assert single.headers["content-type"] == JPHC
    assert single.headers["accept-ranges"] == "bytes"
    assert single.headers["vary"] == "Accept, Accept-Encoding"
    assert decoded(single.content) == pixels(CT)
    many = await house.get(
        f"{at(CT)}/frames/1", f'multipart/related; type="image/jphc"; transfer-syntax={HTJ2K}'
    )
    (part,) = house.parts(many)
    assert (part.headers["content-type"], bytes(part.data)) == (JPHC, single.content)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, f"application/octet-stream; transfer-syntax={enc.EXPLICIT_LE}"),
        ("*/*", f"application/octet-stream; transfer-syntax={enc.EXPLICIT_LE}"),
        (
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            f"application/octet-stream; transfer-syntax={enc.EXPLICIT_LE}",
        ),
        (
            f"multipart/related; type=application/octet-stream; transfer-syntax={HTJ2K}",
            JPHC,
        ),
        (f"image/*; transfer-syntax={HTJ2K}", JPHC),
        ("image/jphc", None),
        ("image/jphc; transfer-syntax=*", None),
        (f"image/jphc; transfer-syntax={HTJ2K[:-1]}1", None),
        ("image/*", None),
    ],
)
async def test_only_who_names_the_syntax_gets_it(
    house: Any, accept: str | None, kind: str | None
) -> None:
    await put(house, CT)
    await house.settle(CT)
    response = await house.get(f"{at(CT)}/frames/1", accept)
    if kind is None:
        assert response.status_code == 406
        return
    assert response.status_code == 200
    if response.headers["content-type"].startswith("multipart"):
        (part,) = house.parts(response)
        got, data = part.headers["content-type"], bytes(part.data)
    else:
        got, data = response.headers["content-type"], response.content
    assert got == kind
    assert (decoded(data) if kind == JPHC else data) == pixels(CT)


async def test_frames_of_one_object(house: Any) -> None:
    await put(house, MANY)
    accept = f"multipart/related; type=image/jphc; transfer-syntax={HTJ2K}"
    native = 'multipart/related; type="application/octet-stream"'
    before = await house.get(f"{at(MANY)}/frames/1,2,3", native)
    await house.settle(MANY)
    after = await house.get(f"{at(MANY)}/frames/1,2,3", native)
    assert after.content == before.content
    assert after.headers["etag"] == before.headers["etag"]
    coded = house.parts(await house.get(f"{at(MANY)}/frames/3,1", accept))
    wanted = house.parts(after)
    assert decode_coarse(bytes(coded[0].data), 4, 0).tobytes() == bytes(wanted[2].data)
    assert decode_coarse(bytes(coded[1].data), 4, 0).tobytes() == bytes(wanted[0].data)
    assert (await house.get(f"{at(MANY)}/frames/4", accept)).status_code == 404
    assert (await house.get(f"{at(MANY)}/frames/4", JPHC)).status_code == 404
    # What lies there as received is coded for nobody.
    assert (await house.get(f"{at(MANY, 2)}/frames/1", JPHC)).status_code == 406


async def test_ranges_of_a_coded_frame(house: Any) -> None:
    await put(house, CT)
    await house.settle(CT)
    url = f"{at(CT)}/frames/1"
    whole = await house.get(url, JPHC)
    data, tag = whole.content, whole.headers["etag"]
    record = house.archive._stock.record(await located(house, CT), 1)
    edges = sorted({0, 1, 7, *record.ends, *(end - 1 for end in record.ends), len(data) - 1})
    for first in edges:
        for last in edges:
            if last < first:
                continue
            part = await house.get(url, JPHC, range=f"bytes={first}-{last}")
            assert part.status_code == 206
            assert part.content == data[first : last + 1]
            assert part.headers["content-range"] == f"bytes {first}-{last}/{len(data)}"
            assert part.headers["etag"] == tag
    tail = await house.get(url, JPHC, range="bytes=-5")
    assert (tail.status_code, tail.content) == (206, data[-5:])
    beyond = await house.get(url, JPHC, range=f"bytes={len(data)}-")
    assert beyond.status_code == 416
    assert beyond.headers["content-range"] == f"bytes */{len(data)}"
    assert (await house.get(url, JPHC, range="bytes=0-1,4-5")).status_code == 200
    assert (await house.get(url, JPHC, range="bytes=0-1", if_range=tag)).status_code == 206
    assert (await house.get(url, JPHC, range="bytes=0-1", if_range='"x"')).content == data
    weak = await house.get(url, JPHC, range="bytes=0-1", if_range=f"W/{tag}")
    assert weak.status_code == 200
    assert (await house.get(url, JPHC, if_none_match=tag, range="bytes=0-1")).status_code == 304


async def test_ranges_of_native_frames_and_values(house: Any) -> None:
    await put(house, CT)
    for _ in range(2):
        part = await house.get(
            f"{at(CT)}/frames/1", "application/octet-stream", range="bytes=10-19"
        )
        assert (part.status_code, part.content) == (206, pixels(CT)[10:20])
        beyond = await house.get(
            f"{at(CT)}/frames/1", "application/octet-stream", range="bytes=999999-"
        )
        assert beyond.status_code == 416
        await house.settle(CT)


def spoil(house: Any, place: Located, offset: int) -> None:
    data = bytearray(house.blobs.read(place.landed.key))
    data[offset] ^= 1
    house.blobs.delete(place.landed.key)
    house.blobs.put(place.landed.key, bytes(data))


async def test_a_damaged_tile_part_is_not_sent(house: Any) -> None:
    await put(house, CT)
    await house.settle(CT)
    place = await located(house, CT)
    record = house.archive._stock.record(place, 1)
    whole = (await house.get(f"{at(CT)}/frames/1", JPHC)).content
    spoil(house, place, record.offset + record.ends[1] + 20)  # in the third part
    url = f"{at(CT)}/frames/1"
    assert (await house.get(url, JPHC)).status_code == 500
    assert (await house.get(url, "application/octet-stream")).status_code == 500
    ends = record.ends
    for first, last, status in (
        (0, ends[1] - 1, 206),
        (0, ends[1], 500),
        (ends[1] + 1, ends[1] + 2, 500),
        (ends[2] - 1, ends[2], 500),
        (ends[2], ends[3] - 1, 206),
        (len(whole) - 1, len(whole) - 1, 206),
    ):
        response = await house.get(url, JPHC, range=f"bytes={first}-{last}")
        assert response.status_code == status
        assert status == 500 or response.content == whole[first : last + 1]


async def test_objects_as_they_lie(house: Any) -> None:
    await put(house, MANY)
    await house.settle(MANY)
    for series, frames in ((0, 3), (1, 1)):
        response = await house.get(at(MANY, series), OBJECT)
        assert response.status_code == 200
        assert response.headers["content-type"] == OBJECT
        made = pydicom.dcmread(io.BytesIO(response.content))
        original = pydicom.dcmread(io.BytesIO(MANY.objects()[series].part10))
        assert made.file_meta.TransferSyntaxUID == HTJ2K
        side = 160 if series == 0 else 96
        native = np.frombuffer(original.PixelData, "<u2").reshape(frames, side, side)
        streams = list(pydicom.encaps.generate_frames(made.PixelData, number_of_frames=frames))
        assert len(streams) == frames
        for stream, wanted in zip(streams, native, strict=True):
            levels = 4 if series == 0 else 3
            assert decode_coarse(stream, levels, 0).tobytes() == wanted.tobytes()
        del made.PixelData
        del original.PixelData
        assert made == original
    assert (await house.get(at(MANY, 2), OBJECT)).status_code == 406
    plain = await house.get(at(MANY, 1), "application/dicom; transfer-syntax=*")
    assert plain.headers["content-type"] == f"application/dicom; transfer-syntax={enc.EXPLICIT_LE}"


async def test_corrections_are_in_the_object_as_it_lies(house: Any) -> None:
    await put(house, CT)
    await house.settle(CT)
    before = await house.get(at(CT), OBJECT)
    context = operator_context(house.tenant, "test")
    edit = {"00081030": {"vr": "LO", "Value": ["Corrected, and longer than before"]}}
    await house.archive.correct(context, Target(Level.STUDY, study_uid=CT.study_uid), edit, "x")
    after = await house.get(at(CT), OBJECT, if_none_match=before.headers["etag"])
    assert after.status_code == 200
    old, new = (pydicom.dcmread(io.BytesIO(r.content)) for r in (before, after))
    assert new.StudyDescription == "Corrected, and longer than before"
    assert new.PixelData == old.PixelData
    assert await same(house.get(f"{at(CT)}/frames/1", JPHC)) == await same(
        house.get(f"{at(CT)}/frames/1", JPHC)
    )


async def same(answer: Any) -> bytes:
    response: httpx.Response = await answer
    assert response.status_code == 200
    return response.content


async def test_a_versioned_address_may_be_kept_for_ever(house: Any) -> None:
    await put(house, CT)
    await house.settle(CT)
    for path, accept in (
        (f"{at(CT)}/frames/1", JPHC),
        (f"{at(CT)}/frames/1", "application/octet-stream"),
        (at(CT), OBJECT),
        (f"{at(CT)}/metadata", None),
        (f"{at(CT)}/thumbnail", None),
        (f"/dicomweb/studies/{CT.study_uid}/series/{CT.series_uid(0)}/preview", None),
    ):
        plain = await house.get(path, accept)
        tag = plain.headers["etag"].strip('"')
        assert plain.headers["cache-control"] == "private, no-cache"
        versioned = await house.get(f"{path}?v={tag}", accept)
        assert versioned.content == plain.content
        assert versioned.headers["cache-control"] == "private, max-age=31536000, immutable"
        stale = await house.get(f"{path}?v=0123", accept)
        assert stale.headers["cache-control"] == "private, no-cache"


async def test_decoded_frames_are_remembered(house: Any) -> None:
    await put(house, CT)
    await house.settle(CT)
    place = await located(house, CT)
    assert house.archive.frame_kept(place, 1) is None
    for _ in range(2):
        response = await house.get(f"{at(CT)}/frames/1", "application/octet-stream")
        assert response.content == pixels(CT)
        assert house.archive.frame_kept(place, 1) == pixels(CT)


async def test_what_is_remembered_of_a_request_ends_with_its_lease(house: Any) -> None:
    await put(house, CT)
    url, native = f"{at(CT)}/frames/1", "application/octet-stream"
    first = await house.get(url, native)
    assert (await house.get(url, native)).headers["etag"] == first.headers["etag"]
    assert (await house.get(url, JPHC)).status_code == 406
    await house.settle(CT)
    assert (await house.get(url, JPHC)).status_code == 200
    context = operator_context(house.tenant, "test")
    edit = {"00081030": {"vr": "LO", "Value": ["Corrected"]}}
    study = Target(Level.STUDY, study_uid=CT.study_uid)
    await house.archive.correct(context, study, edit, "x")
    corrected = await house.get(url, native, if_none_match=first.headers["etag"])
    assert corrected.status_code == 200
    assert corrected.content == first.content
    other = await house.get(url, native, host="other.test")
    assert other.headers["etag"] != corrected.headers["etag"]
    assert (await house.get(f"/t/other{url}", native)).status_code == 404
    await house.archive.reject(context, study, "113001", "wrong")
    assert (await house.get(url, native)).status_code == 404
    assert (await house.get(url, JPHC)).status_code == 404


def sized(plan: object) -> int:
    """Bytes of the texts that a plan's key holds."""
    if isinstance(plan, tuple):
        return sum(map(sized, plan))
    return len(plan) if isinstance(plan, str | bytes) else 0


async def test_plans_do_not_grow_with_what_a_client_says(house: Any) -> None:
    await put(house, CT)
    await house.settle(CT)
    frames = next(
        route.handler.__self__  # type: ignore[attr-defined]
        for route in house.table
        if route.template.endswith("/frames/{frames}")
    )
    for number in range(60):
        host = f"localhost:{number:06d}" + "x" * 30_000
        headers = {"accept": JPHC, "host": host}
        assert (await house.client.get(f"{at(CT)}/frames/1", headers=headers)).status_code == 200
    assert sum(sized(key) for plans in frames._plans.values() for key in plans) < 500_000


# --- of a pixel-exact tenant -----------------------------------------------------------------------


JLS = a_study("P6").with_series(
    "CT", rows=96, columns=96, syntax=enc.JPEG_LS, pixels=lambda shape, _rng: ramp(shape)
)


def ramp(shape: Shape) -> Any:
    return (np.arange(96 * 96).reshape(shape.array_shape) // 9).astype(shape.dtype)


async def as_pixels(house: Any, study: StudyBuilder) -> None:
    context = operator_context(replace(house.tenant, settling="pixel-exact"), "test")
    done = await house.settling.settle(context, study.study_uid, study.series_uid())
    assert done.exact == 1
    house.archive.forget(context, study.study_uid)


async def test_what_came_compressed_goes_out_native_and_no_longer_as_it_came(house: Any) -> None:
    """docs/conformance/dicomweb.md: `*` is Explicit VR Little Endian, the original syntax 406."""
    await put(house, JLS)
    frame, whole = f"{at(JLS)}/frames/1", at(JLS)
    came = f"image/jls; transfer-syntax={enc.JPEG_LS}"
    original = f"application/dicom; transfer-syntax={enc.JPEG_LS}"
    any_object = "application/dicom; transfer-syntax=*"
    before = await house.get(whole, any_object)
    assert before.headers["content-type"] == original
    assert (await house.get(frame, came)).status_code == 200
    await as_pixels(house, JLS)

    plain = JLS.in_syntax(enc.EXPLICIT_LE).only()
    pixels = plain.dataset[-96 * 96 * 2 :]
    assert (await house.get(frame, came)).status_code == 406
    assert (await house.get(whole, original)).status_code == 406
    after = await house.get(whole, any_object)
    assert after.headers["content-type"].endswith(f"transfer-syntax={enc.EXPLICIT_LE}")
    assert after.headers["etag"] != before.headers["etag"]
    assert pydicom.dcmread(io.BytesIO(after.content)).PixelData == pixels
    native = await house.get(frame, "application/octet-stream; transfer-syntax=*")
    assert native.content == pixels
    coded = await house.get(frame, JPHC)
    assert decode_coarse(coded.content, 3, 0).tobytes() == pixels
    found = await house.get(
        f"/dicomweb/studies/{JLS.study_uid}/instances?includefield=00083002", "application/json"
    )
    (answer,) = found.json()
    assert answer["00083002"]["Value"] == [enc.EXPLICIT_LE]
    said = (await house.get(f"{at(JLS)}/metadata", "application/dicom+json")).json()[0]
    assert said["00280004"]["Value"] == ["MONOCHROME2"]
