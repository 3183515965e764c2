"""WADO-RS over rooms in memory: objects, metadata, frames, bulk data, pictures."""

from __future__ import annotations

import gzip
import io
from typing import Any

import pydicom
import pytest

from lightwell.access.context import operator_context
from lightwell.access.policy import Denial
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.model import Level, Target
from lightwell.testing import encoding as enc
from lightwell.testing.builders import StudyBuilder, a_study

STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
OHIF = "multipart/related; type=application/octet-stream; transfer-syntax=*"
DECODED = 'multipart/related; type="application/octet-stream"'
RLE = "1.2.840.10008.1.2.5"

CT = a_study("P1", name="Doe^Jane").with_series("CT", instances=3, rows=32, columns=16)
MIXED = (
    a_study("P2", seed=2)
    .with_series("CT", instances=2)
    .with_series("MR", syntax=enc.IMPLICIT_LE)
    .with_series("US", frames=3, colour=True, rows=8, columns=8, syntax=RLE)
)


def at(study: StudyBuilder, series: int = 0, instance: int = 0) -> str:
    return (
        f"/dicomweb/studies/{study.study_uid}/series/{study.series_uid(series)}"
        f"/instances/{study.sop_uid(series, instance)}"
    )


async def put(house: Any, study: StudyBuilder) -> None:
    response = await house.post(*(built.part10 for built in study.objects()))
    assert response.status_code == 200


# --- objects -----------------------------------------------------------------------------------


async def test_a_study_comes_back_bit_for_bit(house: Any) -> None:
    await put(house, CT)
    response = await house.get(f"/dicomweb/studies/{CT.study_uid}", STORED)
    assert response.status_code == 200
    parts = house.parts(response)
    for part, built in zip(parts, CT.objects(), strict=True):
        assert part.headers["content-type"] == f"application/dicom; transfer-syntax={built.syntax}"
        assert part.headers["content-location"].endswith(f"/instances/{built.sop_uid}")
        assert bytes(part.data[:128]) == bytes(128)
        assert bytes(part.data).endswith(built.dataset)
        again = await house.get(part.headers["content-location"], "application/dicom")
        assert again.content == bytes(part.data)


async def test_preamble_and_arrival_facts_never_leave(house: Any) -> None:
    built = CT.objects()[0]
    await house.post(b"MZ" + bytes(126) + built.part10[128:])
    response = await house.get(at(CT), "application/dicom")
    meta = pydicom.dcmread(io.BytesIO(response.content)).file_meta
    assert response.content[:128] == bytes(128)
    assert meta.TransferSyntaxUID == built.syntax
    assert not {0x00020016, 0x00020017, 0x00020018, 0x00020102} & set(meta.keys())


async def test_each_part_in_its_own_syntax(house: Any) -> None:
    await put(house, MIXED)
    response = await house.get(f"/dicomweb/studies/{MIXED.study_uid}", STORED)
    syntaxes = [part.headers["content-type"].split("=")[1] for part in house.parts(response)]
    assert sorted(syntaxes) == sorted([enc.EXPLICIT_LE] * 3 + [RLE])
    explicit = await house.get(f"/dicomweb/studies/{MIXED.study_uid}")
    parts = house.parts(explicit)
    assert {part.headers["content-type"] for part in parts} == {
        f"application/dicom; transfer-syntax={enc.EXPLICIT_LE}"
    }
    for part in parts:
        data_set = pydicom.dcmread(io.BytesIO(bytes(part.data)))
        assert data_set.file_meta.TransferSyntaxUID == enc.EXPLICIT_LE
        assert len(data_set.PixelData) > 0


async def test_uncompressed_from_compressed(house: Any) -> None:
    await put(house, MIXED)
    url = at(MIXED, 2)
    stored = await house.get(f"{url}/frames/1,2,3", OHIF)
    frames = [bytes(part.data) for part in house.parts(stored)]
    response = await house.get(url, "application/dicom")
    data_set = pydicom.dcmread(io.BytesIO(response.content))
    # The test's renderer turns the bytes of a frame round.
    expected = b"".join(frame[::-1] for frame in frames)
    assert data_set.PixelData == expected + b"\0" * (len(expected) % 2)
    assert data_set.PhotometricInterpretation == "MONOCHROME2"
    assert data_set.NumberOfFrames == 3


async def test_part_of_a_study_is_206(house: Any) -> None:
    await put(house, MIXED)
    only = f'multipart/related; type="application/dicom"; transfer-syntax={RLE}'
    response = await house.get(f"/dicomweb/studies/{MIXED.study_uid}", only)
    assert response.status_code == 206
    assert len(house.parts(response)) == 1


async def test_equal_answers_are_equal_bytes_and_304(house: Any) -> None:
    await put(house, CT)
    for path, accept in (
        (f"/dicomweb/studies/{CT.study_uid}", STORED),
        (f"/dicomweb/studies/{CT.study_uid}/metadata", None),
        (at(CT) + "/frames/1", OHIF),
        (at(CT) + "/thumbnail", None),
        (at(CT) + "/rendered", None),
    ):
        first = await house.get(path, accept)
        assert (await house.get(path, accept)).content == first.content
        again = await house.get(path, accept, if_none_match=first.headers["etag"])
        assert (again.status_code, again.content) == (304, b"")
        assert "no-cache" in first.headers["cache-control"]
        assert "Accept" in first.headers["vary"]


async def test_w10_what_is_not_there_looks_the_same(house: Any) -> None:
    await put(house, CT)
    other = f"/t/other{at(CT)}"
    tails = ["", "/metadata", "/frames/1", "/rendered", "/thumbnail", "/bulkdata/7FE00010"]
    bodies = set()
    for tail in tails:
        for path in (other + tail, at(CT).replace(CT.sop_uid(), "1.2.3") + tail):
            response = await house.get(path)
            assert response.status_code == 404
            bodies.add(response.content)
    assert len(bodies) == 1
    wrong_series = at(CT).replace(CT.series_uid(), "1.2.9")
    assert (await house.get(wrong_series)).status_code == 404
    for uid in ("..", "1.2'--", "1.2.3%00", "x" * 500, "%2e%2e"):
        response = await house.get(f"/dicomweb/studies/{uid}/metadata")
        assert response.status_code in (400, 404)


async def test_406_says_what_there_is(house: Any) -> None:
    await put(house, CT)
    for tail, accept in (
        ("", "image/jpeg"),
        ("/metadata", "application/dicom+xml"),
        ("/frames/1", "text/html"),
        ("/thumbnail", "application/dicom"),
        ("/rendered", "image/gif"),
    ):
        response = await house.get(at(CT) + tail, accept)
        assert response.status_code == 406
        assert "Available: " in response.json()["detail"]


async def test_policy(house: Any) -> None:
    await put(house, CT)
    house.policy.rules = (Denial("program:*", "archive:instance:retrieve", "not you"),)
    assert (await house.get(at(CT) + "/frames/1")).status_code == 403


async def test_reading_is_recorded_before_the_first_byte(house: Any) -> None:
    await put(house, CT)
    await house.get(at(CT) + "/frames/1", OHIF)
    actions = [entry.action for entry in house.database.of(1).audit.values()]
    assert "archive:instance:retrieve" in actions


# --- metadata ----------------------------------------------------------------------------------


async def test_metadata(house: Any) -> None:
    await put(house, MIXED)
    response = await house.get(f"/dicomweb/studies/{MIXED.study_uid}/metadata")
    rows = house.json(response.text)
    assert response.headers["content-type"] == "application/dicom+json"
    assert [row["00080018"]["Value"][0] for row in rows] == [b.sop_uid for b in MIXED.objects()]
    for row in rows:
        uri = row["7FE00010"]["BulkDataURI"]
        assert uri.startswith(f"http://pacs.test/dicomweb/studies/{MIXED.study_uid}/")
        assert not [tag for tag in row if tag.startswith("0002")]
        assert (await house.get(uri)).status_code == 200
    squeezed = await house.client.send(
        house.client.build_request(
            "GET", f"{at(MIXED)}/metadata", headers={"accept-encoding": "gzip"}
        ),
        stream=True,
    )
    raw = b"".join([piece async for piece in squeezed.aiter_raw()])
    assert squeezed.headers["content-encoding"] == "gzip"
    assert house.json(gzip.decompress(raw).decode()) == rows[:1]


async def test_a_correction_shows_everywhere_at_once(house: Any) -> None:
    await put(house, CT)
    paths = [f"/dicomweb/studies/{CT.study_uid}/metadata", at(CT), at(CT) + "/rendered"]
    before = [(await house.get(path)).headers["etag"] for path in paths]
    context = operator_context(house.tenant, "test")
    target = Target(Level.STUDY, study_uid=CT.study_uid)
    edit = {"00081030": {"vr": "LO", "Value": ["Corrected"]}}
    await house.archive.correct(context, target, edit, "typing error")
    house.archive.forget(context, CT.study_uid)  # what the database's notification does
    after = [(await house.get(path)).headers["etag"] for path in paths]
    assert not set(before) & set(after)
    row = (await house.get(paths[0])).json()[0]
    assert row["00081030"]["Value"] == ["Corrected"]
    sent = pydicom.dcmread(io.BytesIO((await house.get(at(CT), "application/dicom")).content))
    assert sent.StudyDescription == "Corrected"
    found = (await house.get("/dicomweb/studies?StudyDescription=Corrected")).json()
    assert len(found) == 1


# --- frames and bulk data ----------------------------------------------------------------------


async def test_frames_in_the_order_asked(house: Any) -> None:
    await put(house, MIXED)
    response = await house.get(at(MIXED, 2) + "/frames/3,1,3", OHIF)
    parts = house.parts(response)
    locations = [part.headers["content-location"].rpartition("/")[2] for part in parts]
    assert locations == ["3", "1"]
    assert all(
        part.headers["content-type"] == f"image/dicom-rle; transfer-syntax={RLE}" for part in parts
    )
    single = await house.get(at(MIXED, 2) + "/frames/1", "image/dicom-rle")
    assert single.content == bytes(parts[1].data)
    decoded = await house.get(at(MIXED, 2) + "/frames/1", DECODED)
    assert bytes(house.parts(decoded)[0].data) == single.content[::-1]


async def test_native_frames_are_the_pixels(house: Any) -> None:
    study = a_study("P5").with_series("NM", frames=4, rows=8, columns=8)
    await put(house, study)
    pixels = study.objects()[0].dataset[-4 * 128 :]
    for number in range(1, 5):
        got = await house.get(f"{at(study)}/frames/{number}", "application/octet-stream")
        assert got.content == pixels[(number - 1) * 128 : number * 128]
        assert got.headers["content-type"] == (
            f"application/octet-stream; transfer-syntax={enc.EXPLICIT_LE}"
        )
    whole = await house.get(f"{at(study)}/pixeldata", DECODED)
    assert bytes(house.parts(whole)[0].data) == pixels
    bulk = await house.get(f"{at(study)}/bulkdata/7FE00010")
    assert bytes(house.parts(bulk)[0].data) == pixels
    redirected = await house.get(f"/dicomweb/studies/{study.study_uid}", DECODED)
    assert bytes(house.parts(redirected)[0].data) == pixels


@pytest.mark.parametrize(
    ("frames", "status"),
    [("5", 404), ("1,5", 404), ("0", 400), ("x", 400), ("2000000000", 404), ("1,", 400)],
)
async def test_bad_frames(house: Any, frames: str, status: int) -> None:
    study = a_study("P5").with_series("NM", frames=4, rows=8, columns=8)
    await put(house, study)
    assert (await house.get(f"{at(study)}/frames/{frames}")).status_code == status


async def test_pixels_that_break_the_decoder_are_422(house: Any) -> None:
    await put(house, MIXED)
    house.renderer.broken = True
    for tail, accept in (("/frames/1", DECODED), ("", "application/dicom"), ("/rendered", None)):
        response = await house.get(at(MIXED, 2) + tail, accept)
        assert response.status_code == 422
        assert "decoder" in response.json()["detail"]
    house.renderer.busy = True
    busy = await house.get(at(MIXED, 2) + "/rendered")
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")


async def test_w05_ranges_of_bulk_data(house: Any) -> None:
    private = bytes(range(256)) * 40
    study = (
        a_study("P6")
        .with_series("OT")
        .with_elements({0x00091001: ("OB", private), 0x00090010: ("LO", "TEST")})
    )
    await put(house, study)
    row = (await house.get(at(study) + "/metadata")).json()[0]
    uri = row["00091001"]["BulkDataURI"]
    kind = "application/octet-stream"
    whole = await house.get(uri, kind)
    assert whole.content == private
    assert whole.headers["content-disposition"] == "attachment"
    assert whole.headers["x-content-type-options"] == "nosniff"
    some = await house.get(uri, kind, range="bytes=100-199")
    assert (some.status_code, some.content) == (206, private[100:200])
    assert some.headers["content-range"] == f"bytes 100-199/{len(private)}"
    beyond = await house.get(uri, kind, range="bytes=999999-")
    assert beyond.status_code == 416
    assert beyond.headers["content-range"] == f"bytes */{len(private)}"
    many = "bytes=" + ",".join(f"{i}-{i}" for i in range(2000))
    assert (await house.get(uri, kind, range=many)).content == private
    assert (await house.get(uri + "99", kind)).status_code == 404


async def test_bytes_that_rotted_are_never_served_as_whole(house: Any) -> None:
    big = a_study("P7").with_series("CT", rows=256, columns=256)
    await put(house, big)
    for made in house.blobs._objects.values():
        made.data[-100] ^= 0xFF
    response = await house.get(at(big), "application/dicom")
    assert response.status_code == 500
    assert "trace" in response.json()


async def test_a_correction_is_no_licence_for_rotted_bytes(house: Any) -> None:
    big = a_study("P8").with_series("CT", rows=1024, columns=1024)
    await put(house, big)
    plain = await house.get(at(big), "application/dicom")
    context = operator_context(house.tenant, "test")
    target = Target(Level.STUDY, study_uid=big.study_uid)
    edit = {"00081030": {"vr": "LO", "Value": ["Corrected"]}}
    await house.archive.correct(context, target, edit, "typing error")
    house.archive.forget(context, big.study_uid)
    sound = await house.get(at(big), "application/dicom")
    assert sound.status_code == 200
    assert b"Corrected" in sound.content
    assert sound.content[-2_000_000:] == plain.content[-2_000_000:]
    for made in house.blobs._objects.values():
        made.data[-100] ^= 0xFF
    with pytest.raises(Damaged):  # the head is out by then: the connection is cut
        await house.get(at(big), "application/dicom")


# --- pictures ----------------------------------------------------------------------------------


async def test_rendered_parameters_reach_the_renderer(house: Any) -> None:
    await put(house, CT)
    response = await house.get(
        at(CT) + "/rendered?window=40,400,linear&viewport=64,32&quality=50&annotation=patient",
        "image/png",
    )
    assert response.headers["content-type"] == "image/png"
    _frame, wanted = house.renderer.wanted[-1]
    assert (wanted.window.center, wanted.window.width) == (40, 400)
    assert (wanted.viewport.width, wanted.viewport.height, wanted.quality) == (64, 32, 50)
    assert wanted.annotation[:2] == ("Doe^Jane", "P1")
    bad = await house.get(at(CT) + "/rendered?window=40,400")
    assert bad.status_code == 400


async def test_many_pictures_are_multipart(house: Any) -> None:
    await put(house, CT)
    response = await house.get(f"/dicomweb/studies/{CT.study_uid}/rendered")
    assert [part.headers["content-type"] for part in house.parts(response)] == ["image/jpeg"] * 3
    single = await house.get(f"/dicomweb/studies/{CT.study_uid}/rendered", "image/jpeg")
    assert single.status_code == 406


async def test_thumbnails_show_the_middle(house: Any) -> None:
    await put(house, CT)
    for path in (
        f"/dicomweb/studies/{CT.study_uid}/thumbnail",
        f"/dicomweb/studies/{CT.study_uid}/series/{CT.series_uid()}/thumbnail?viewport=64,64",
    ):
        response = await house.get(path, "image/avif,image/webp,*/*;q=0.5")
        assert response.headers["content-type"] == "image/jpeg"
    assert house.renderer.wanted[-1][1].viewport.width == 64


async def test_head_has_the_head(house: Any) -> None:
    await put(house, CT)
    for path in (at(CT), at(CT) + "/metadata", at(CT) + "/frames/1", "/dicomweb/studies"):
        response = await house.client.head(path)
        assert (response.status_code, response.content) == (200, b"")
