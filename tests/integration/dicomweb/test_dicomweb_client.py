"""dicomweb-client as the other end, over a real server on loopback."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pydicom
import pytest
import uvicorn
from dicomweb_client.api import DICOMwebClient

from lightwell.testing.builders import a_study

T = TypeVar("T")
CT = a_study("P1", name="Doe^Jane", StudyDate="20260102").with_series(
    "CT", instances=3, rows=64, columns=64
)
NM = a_study("P2", seed=2).with_series("NM", frames=4, rows=8, columns=8)
RLE = a_study("P3", seed=3).with_series(
    "US", frames=2, colour=True, rows=8, columns=8, syntax="1.2.840.10008.1.2.5"
)


@pytest.fixture
async def client(house: Any) -> AsyncIterator[DICOMwebClient]:
    application = house.client._transport.app
    config = uvicorn.Config(application, port=0, lifespan="off", log_level="error", ws="none")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    made = DICOMwebClient(f"http://127.0.0.1:{port}/dicomweb")
    made.set_http_retry_params(retry=False)
    yield made
    server.should_exit = True
    await serving


async def ask(work: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """The client blocks, the server lives on this loop."""
    return await asyncio.to_thread(work, *arguments, **options)


def data_sets(*studies: Any) -> list[pydicom.Dataset]:
    return [
        pydicom.dcmread(io.BytesIO(built.part10)) for study in studies for built in study.objects()
    ]


async def test_round_trip(client: DICOMwebClient) -> None:
    sent = data_sets(CT, NM, RLE)
    answer = await ask(client.store_instances, sent)
    assert len(answer.ReferencedSOPSequence) == len(sent)

    studies = await ask(client.search_for_studies, search_filters={"PatientID": "P1"})
    assert [study["0020000D"]["Value"][0] for study in studies] == [CT.study_uid]
    series = await ask(client.search_for_series, CT.study_uid)
    assert series[0]["00201209"]["Value"] == [3]
    instances = await ask(client.search_for_instances, CT.study_uid, limit=2)
    assert len(instances) == 2

    whole = await ask(client.retrieve_study, CT.study_uid)
    assert [got.PixelData for got in whole] == [was.PixelData for was in sent[:3]]
    metadata = await ask(client.retrieve_series_metadata, CT.study_uid, CT.series_uid())
    read = [pydicom.Dataset.from_json(row, lambda _uri: b"") for row in metadata]
    assert [one.SOPInstanceUID for one in read] == [was.SOPInstanceUID for was in sent[:3]]


async def test_frames_and_bulk_data(client: DICOMwebClient) -> None:
    sent = data_sets(NM, RLE)
    await ask(client.store_instances, sent)
    place = (NM.study_uid, NM.series_uid(), NM.sop_uid())
    frames = await ask(client.retrieve_instance_frames, *place, frame_numbers=[2, 1])
    pixels = sent[0].PixelData
    assert frames == [pixels[128:256], pixels[:128]]
    metadata = await ask(client.retrieve_instance_metadata, *place)
    bulk = await ask(client.retrieve_bulkdata, metadata["7FE00010"]["BulkDataURI"])
    assert b"".join(bulk) == pixels
    place = (RLE.study_uid, RLE.series_uid(), RLE.sop_uid())
    stored = await ask(
        client.retrieve_instance_frames,
        *place,
        frame_numbers=[1],
        media_types=(("image/dicom-rle", "1.2.840.10008.1.2.5"),),
    )
    frames = pydicom.encaps.generate_frames(sent[1].PixelData, number_of_frames=2)
    assert stored[0] == next(frames)


async def test_streams_and_pages(client: DICOMwebClient) -> None:
    await ask(client.store_instances, data_sets(CT))
    got = await ask(lambda: list(client.iter_series(CT.study_uid, CT.series_uid())))
    assert [instance.SOPInstanceUID for instance in got] == [b.sop_uid for b in CT.objects()]
    paged = await ask(client.search_for_instances, limit=1, get_remaining=True)
    assert len(paged) == 3
