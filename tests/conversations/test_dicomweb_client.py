"""dicomweb-client, as people use it from Python, against the corpus (Must show 3, CHECK W-2)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client import DICOMwebClient
from pydicom.uid import UID

from lightwell.testing.builders import a_study
from lightwell.testing.corpus import Corpus, CorpusObject, deal
from lightwell.testing.served import Served
from lightwell.wire.dimse.syntaxes import EXPLICIT_BE, IMPLICIT_LE

# pydicom, which reads for the client, warns of what it finds odd in the objects.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]
TENANT = "client"
FOLDERS = ("charset", "multiframe", "pixel", "sr", "seg", "us", "xray", "rt", "transfer-syntax")


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[DICOMwebClient]:
    served.register(tenants={TENANT: []})
    with requests.Session() as session:
        session.auth = served.keys
        yield DICOMwebClient(served.dicomweb(TENANT), session=session, permissive_uid=True)


@pytest.fixture(scope="module")
def objects(client: DICOMwebClient, corpus: Corpus) -> list[CorpusObject]:
    """A part of the corpus that can lie together, stored by the client, which rewrites it."""
    chosen = [
        one
        for one in corpus.objects
        if one.folder in FOLDERS
        and not one.mislabelled
        and UID(one.file.transfer_syntax).is_transfer_syntax  # pydicom cannot write JPEG XL
    ]
    together = list(deal(chosen, lambda one: "")[0])
    answer = client.store_instances([pydicom.dcmread(one.file.path) for one in together])
    stored = {str(item.ReferencedSOPInstanceUID) for item in answer.ReferencedSOPSequence}
    assert stored == {one.uid for one in together}
    assert "FailedSOPSequence" not in answer
    return together


def text(answer: dict[str, Any], tag: str) -> str:
    return str(answer[tag]["Value"][0])


def test_search_at_every_level(client: DICOMwebClient, objects: list[CorpusObject]) -> None:
    studies = client.search_for_studies(get_remaining=True, limit=7)
    assert {text(s, "0020000D") for s in studies} == {one.study_uid for one in objects}
    assert len(studies) == len({one.study_uid for one in objects})
    of = objects[0].study_uid
    series = client.search_for_series(of)
    instances = client.search_for_instances(of)
    assert {text(i, "00080018") for i in instances} == {
        one.uid for one in objects if one.study_uid == of
    }
    assert {text(i, "0020000E") for i in instances} == {text(s, "0020000E") for s in series}


def test_search_with_filters_and_fields(
    client: DICOMwebClient, objects: list[CorpusObject]
) -> None:
    patient = next(one for one in objects if one.patient_id)
    found = client.search_for_studies(
        search_filters={"PatientID": patient.patient_id}, fields=["StudyDescription", "00102160"]
    )
    wanted = {one.study_uid for one in objects if one.patient_id == patient.patient_id}
    assert {text(s, "0020000D") for s in found} == wanted
    assert client.search_for_studies(search_filters={"PatientID": "nobody at all"}) == []
    dated = client.search_for_studies(search_filters={"StudyDate": "20040101-20041231"})
    assert dated
    assert all(text(s, "00080020").startswith("2004") for s in dated)


def test_every_object_is_retrieved_with_its_pixels(
    client: DICOMwebClient, objects: list[CorpusObject]
) -> None:
    """Whole instances as stored (Explicit in place of Implicit and Big Endian), study by study."""
    by_uid = {one.uid: one for one in objects}
    seen = set()
    for study in {one.study_uid for one in objects}:
        for got in client.iter_study(study, media_types=(("application/dicom", "*"),)):
            one = by_uid[str(got.SOPInstanceUID)]
            seen.add(one.uid)
            original = pydicom.dcmread(one.file.path)
            assert got.get("PatientName") == original.get("PatientName"), one.name
            if one.file.transfer_syntax not in (IMPLICIT_LE, EXPLICIT_BE):
                assert got.get("PixelData") == original.get("PixelData"), one.name
            elif "PixelData" in original:
                assert np.array_equal(got.pixel_array, original.pixel_array), one.name
    assert seen == by_uid.keys()


def test_metadata_bulk_data_and_frames(client: DICOMwebClient) -> None:
    study = a_study(patient="CL-1", name="Client^Frames").with_series(
        "US", instances=1, frames=3, rows=32, columns=24, colour=True
    )
    (built,) = study.objects()
    original = pydicom.dcmread(io.BytesIO(built.part10))
    client.store_instances([original])
    place = (built.study_uid, built.series_uid, built.sop_uid)
    metadata = client.retrieve_instance_metadata(*place)
    assert text(metadata, "00280008") == "3"
    uri = metadata["7FE00010"]["BulkDataURI"]
    (bulk,) = client.retrieve_bulkdata(uri)
    assert bulk == original.PixelData
    size = 32 * 24 * 3
    frames = client.retrieve_instance_frames(*place, frame_numbers=[3, 1])
    assert frames == [original.PixelData[2 * size :], original.PixelData[:size]]
    assert len(client.retrieve_series_metadata(*place[:2])) == 1
    assert len(client.retrieve_study_metadata(place[0])) == 1


@pytest.mark.parametrize(
    ("media_type", "magic"), [("image/jpeg", b"\xff\xd8"), ("image/png", b"\x89PNG")]
)
def test_rendered(client: DICOMwebClient, media_type: str, magic: bytes) -> None:
    study = a_study(patient="CL-2").with_series("CT", instances=1, rows=64, columns=64)
    (built,) = study.objects()
    client.store_instances([pydicom.dcmread(io.BytesIO(built.part10))])
    place = (built.study_uid, built.series_uid, built.sop_uid)
    picture = client.retrieve_instance_rendered(*place, media_types=(media_type,))
    assert picture.startswith(magic)


def test_what_is_not_there(client: DICOMwebClient) -> None:
    with pytest.raises(requests.HTTPError) as caught:
        client.retrieve_study_metadata("1.2.3.4")
    assert caught.value.response.status_code == 404
