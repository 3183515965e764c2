"""STOW-RS with DICOM JSON and bulk data."""

from __future__ import annotations

import io
import json
from typing import Any

import pydicom
import pytest

from lightwell.testing.builders import StudyBuilder, a_study
from lightwell.wire.multipart import PART_END, closing, part_head

RLE = "1.2.840.10008.1.2.5"
KIND = 'multipart/related; type="application/dicom+json"; boundary=b'
Value = tuple[str, str, bytes]  # content type, location, data


def described(study: StudyBuilder, uri: str) -> tuple[dict[str, Any], pydicom.Dataset]:
    """An instance as JSON whose pixel data lie at a URI, and the instance."""
    data_set = pydicom.dcmread(io.BytesIO(study.objects()[0].part10))
    model = data_set.to_json_dict(bulk_data_threshold=1 << 30)
    model["7FE00010"] = {"vr": "OW", "BulkDataURI": uri}
    return model, data_set


async def send(
    house: Any, models: Any, *values: Value, to: str = "/dicomweb/studies"
) -> tuple[int, dict[str, Any]]:
    parts = [part_head("b", "application/dicom+json") + json.dumps(models).encode()]
    parts += [part_head("b", kind, content_location=uri) + data for kind, uri, data in values]
    response = await house.client.post(
        to, content=PART_END.join(parts) + closing("b"), headers={"content-type": KIND}
    )
    return response.status_code, response.json()


async def read_back(house: Any, study: StudyBuilder) -> pydicom.Dataset:
    path = f"/dicomweb/studies/{study.study_uid}/series/{study.series_uid()}"
    response = await house.get(
        f"{path}/instances/{study.sop_uid()}", "application/dicom; transfer-syntax=*"
    )
    assert response.status_code == 200
    return pydicom.dcmread(io.BytesIO(response.content))


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("pixels", "pixels"),
        ("urn:uuid:1", "urn:uuid:1"),
        ("http://x.test/a/b", "http://x.test/a/b"),
        ("../bulk/1", "http://pacs.test/bulk/1"),
        ("/bulk/1", "http://pacs.test/bulk/1"),
    ],
)
async def test_native_pixels_apart(house: Any, uri: str, location: str) -> None:
    study = a_study("P1", name="Müller^Jürgen", charset="ISO_IR 192").with_series("CT")
    model, original = described(study, uri)
    value = ("application/octet-stream", location, original.PixelData)
    status, answer = await send(house, [model], value)
    assert (status, "00081199" in answer) == (200, True)
    got = await read_back(house, study)
    assert got.PixelData == original.PixelData
    assert got.PatientName == original.PatientName
    assert got.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


async def test_compressed_frames_a_part_each(house: Any) -> None:
    study = a_study("P1").with_series("US", frames=3, colour=True, rows=8, columns=8, syntax=RLE)
    model, original = described(study, "frames")
    frames = list(pydicom.encaps.generate_frames(original.PixelData, number_of_frames=3))
    values = [("image/dicom-rle", "frames", frame) for frame in frames]
    status, _ = await send(house, model, *values)
    assert status == 200
    got = await read_back(house, study)
    assert got.file_meta.TransferSyntaxUID == RLE
    assert list(pydicom.encaps.generate_frames(got.PixelData, number_of_frames=3)) == frames


async def test_missing_values_and_bad_instances_fail_alone(house: Any) -> None:
    good, original = described(a_study("P1").with_series("CT"), "good")
    lost, _ = described(a_study("P2", seed=2).with_series("CT"), "lost")
    wrong = {**good, "00280010": {"vr": "US", "Value": ["many"]}}
    value = ("application/octet-stream", "good", original.PixelData)
    status, answer = await send(house, [good, lost, wrong, "text", {}], value)
    assert status == 202
    assert len(answer["00081199"]["Value"]) == 1
    reasons = [item["00081197"]["Value"][0] for item in answer["0008119A"]["Value"]]
    assert set(reasons) <= {0xC000, 0xA900}
    assert len(reasons) == 4


async def test_metadata_alone(house: Any) -> None:
    model, _ = described(a_study("P1").with_series("CT"), "x")
    del model["7FE00010"]
    response = await house.client.post(
        "/dicomweb/studies",
        content=json.dumps([model]),
        headers={"content-type": "application/dicom+json"},
    )
    assert response.status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[[[[", b"\xff\xfe", b"[" * 100_000])
async def test_broken_json_is_400(house: Any, body: bytes) -> None:
    response = await house.client.post(
        "/dicomweb/studies", content=body, headers={"content-type": "application/dicom+json"}
    )
    assert response.status_code == 400


async def test_a_tag_in_two_spellings_fails_alone(house: Any) -> None:
    model, _ = described(a_study("P1").with_series("CT"), "x")
    del model["7FE00010"]
    model["0020000d"] = {"vr": "UI", "Value": ["1.2.3"]}
    response = await house.client.post(
        "/dicomweb/studies",
        content=json.dumps([model]),
        headers={"content-type": "application/dicom+json"},
    )
    assert response.status_code in (400, 409), response.text


async def test_too_much_is_413(house: Any) -> None:
    value = ("application/octet-stream", "x", bytes(65 << 20))
    assert (await send(house, [], value))[0] == 413
