"""STOW-RS over rooms in memory: what is kept, what is said, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from lightwell.access.policy import Denial
from lightwell.domain.archive.ports import StoreFull
from lightwell.testing.builders import a_study
from lightwell.wire.multipart import closing, part_head

CT = a_study("P1").with_series("CT", instances=3, rows=64, columns=64)
FILES = [built.part10 for built in CT.objects()]
KIND = 'multipart/related; type="application/dicom"; boundary='


def reasons(answer: dict[str, Any], tag: str) -> list[int]:
    return [item["00081197"]["Value"][0] for item in answer.get(tag, {}).get("Value", [])]


def stored(answer: dict[str, Any]) -> list[str]:
    items = answer.get("00081199", {}).get("Value", [])
    return [item["00081155"]["Value"][0] for item in items]


async def test_a_study_is_stored_and_listed_part_by_part(house: Any) -> None:
    response = await house.post(*FILES)
    answer = house.json(response.text)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/dicom+json"
    assert stored(answer) == [built.sop_uid for built in CT.objects()]
    root = "http://pacs.test/dicomweb"
    assert answer["00081190"]["Value"] == [f"{root}/studies/{CT.study_uid}"]
    for item, built in zip(answer["00081199"]["Value"], CT.objects(), strict=True):
        url = item["00081190"]["Value"][0]
        got = await house.get(url, "application/dicom")
        assert got.content.endswith(built.dataset)


async def test_sent_again_nothing_changes(house: Any) -> None:
    await house.post(*FILES)
    first = len(house.blobs._objects)
    again = await house.post(*FILES)
    assert again.status_code == 200
    assert stored(again.json()) == [built.sop_uid for built in CT.objects()]
    assert len(house.blobs._objects) == first


async def test_w01_partial(house: Any) -> None:
    response = await house.post(FILES[0], b"\xde\xad" * 500, FILES[1])
    answer = response.json()
    assert response.status_code == 202
    assert stored(answer) == [built.sop_uid for built in CT.objects()[:2]]
    assert reasons(answer, "0008119A") == [0xC000]


async def test_all_bad(house: Any) -> None:
    response = await house.post(b"garbage", b"")
    assert response.status_code == 409
    assert reasons(response.json(), "0008119A") == [0xC000, 0xC000]


async def test_a_single_object_without_multipart(house: Any) -> None:
    response = await house.client.post(
        "/dicomweb/studies", content=FILES[0], headers={"content-type": "application/dicom"}
    )
    assert response.status_code == 200
    assert stored(response.json()) == [CT.sop_uid()]


async def test_another_study_than_the_address(house: Any) -> None:
    response = await house.post(FILES[0], to="/dicomweb/studies/1.2.3")
    assert response.status_code == 409
    assert reasons(response.json(), "00081198") == [0xA901]
    response = await house.post(FILES[0], to=f"/dicomweb/studies/{CT.study_uid}")
    assert response.status_code == 200


async def test_other_pixels_under_the_same_uid_are_not_acknowledged(house: Any) -> None:
    await house.post(*FILES)
    response = await house.post(CT.other_pixels().objects()[0].part10)
    assert response.status_code == 409
    assert reasons(response.json(), "00081198") == [0xC001]


async def test_meta_that_names_another_instance_than_its_data_set(house: Any) -> None:
    """The data set decides: real files are often left with the meta of what they were made from."""
    one = CT.objects()[0]
    misnamed = one.part10.replace(one.sop_uid.encode(), CT.sop_uid(0, 1).encode(), 1)
    response = await house.post(misnamed)
    assert response.status_code == 200
    assert stored(response.json()) == [one.sop_uid]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("", 415),
        ("text/plain", 415),
        ("application/json", 415),
        ('multipart/related; type="application/dicom+xml"; boundary=b', 415),
        ('multipart/related; type="application/dicom"', 400),
        ("multipart/form-data; boundary=b", 415),
        (KIND + '""', 400),
    ],
)
async def test_request_types(house: Any, kind: str, status: int) -> None:
    response = await house.client.post(
        "/dicomweb/studies", content=b"x", headers={"content-type": kind}
    )
    assert response.status_code == status
    assert response.headers["content-type"] in (
        "application/problem+json",
        "application/dicom+json",
    )


async def send(house: Any, body: bytes, kind: str = KIND + "b") -> Any:
    return await house.client.post(
        "/dicomweb/studies", content=body, headers={"content-type": kind}
    )


async def test_bodies_as_they_come(house: Any) -> None:
    one = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + FILES[0]
    lines = b"preamble\n--b\n\n" + FILES[1] + b"\n--b--\nepilogue"
    untyped = b"\r\n--b\r\n\r\n" + FILES[2] + b"\r\n--b--"
    assert (await send(house, one + b"\r\n--b--\r\n", KIND + '"b"')).status_code == 200
    assert (await send(house, lines)).status_code == 200
    assert (await send(house, untyped, "multipart/related; boundary=b")).status_code == 200
    assert len((await house.get(f"/dicomweb/studies/{CT.study_uid}/instances")).json()) == 3


async def test_w03_broken_bodies(house: Any) -> None:
    head = part_head("b", "application/dicom")
    no_boundary = await send(house, b"no boundary here" * 10_000)
    assert no_boundary.status_code == 400
    huge_header = await send(house, b"--b\r\nA: " + b"x" * (1 << 20))
    assert huge_header.status_code == 413
    empty = await send(house, b"--b--\r\n")
    assert empty.status_code == 400
    cut = await send(house, head + FILES[0] + b"\r\n" + head + FILES[1])
    answer = cut.json()
    assert cut.status_code == 400
    assert "closing boundary" in cut.headers["warning"]
    # What was whole is stored and said to be; what was cut is neither.
    assert stored(answer) == [CT.sop_uid(0, 0)]
    assert reasons(answer, "0008119A") == [0xC000]
    visible = (await house.get("/dicomweb/instances")).json()
    assert [row["00080018"]["Value"][0] for row in visible] == [CT.sop_uid(0, 0)]


async def test_the_boundary_inside_pixel_data(house: Any) -> None:
    study = a_study("P2").with_series("OT", rows=16, columns=16, bits_allocated=8)
    built = study.objects()[0]
    at = built.part10.rindex(built.dataset[-64:])
    file = built.part10[:at] + b"\r\n--bx\n--b\r\n--b" + built.part10[at + 15 :]
    body = part_head("b", "application/dicom") + file + closing("b")
    assert (await send(house, body)).status_code == 200
    got = await house.get(
        f"/dicomweb/studies/{study.study_uid}/series/{study.series_uid()}"
        f"/instances/{study.sop_uid()}",
        "application/dicom; transfer-syntax=*",
    )
    assert got.content.endswith(file[at - 64 :])


async def test_other_types_of_parts_are_not_taken(house: Any) -> None:
    body = b"--b\r\nContent-Type: text/html\r\n\r\n" + FILES[0] + closing("b")
    response = await send(house, body)
    assert response.status_code == 409
    assert reasons(response.json(), "0008119A") == [0xC000]


async def test_a_full_store_is_507_and_recovers(house: Any) -> None:
    big = a_study("P3").with_series("CT", instances=2, rows=256, columns=256)
    files = [built.part10 for built in big.objects()]

    def full(operation: str, _key: str) -> None:
        if operation in ("begin", "write", "seal", "put"):
            raise StoreFull("No room.")

    house.blobs.hook = full
    response = await house.post(*files)
    assert response.status_code == 507
    assert response.headers.get("content-type") == "application/dicom+json"
    assert reasons(response.json(), "00081198") == [0xA700, 0xA700]
    house.blobs.hook = lambda _operation, _key: None
    assert (await house.get("/dicomweb/instances")).json() == []
    assert (await house.post(*files)).status_code == 200


async def test_a_reached_quota_is_507_or_the_reason_of_an_instance(house: Any) -> None:
    big = a_study("P3").with_series("CT", instances=3, rows=256, columns=256)
    files = [built.part10 for built in big.objects()]
    other = a_study("P4").with_series("CT", rows=256, columns=256).only()
    house.database.quotas[1] = (1, None)
    assert (await house.post(files[0])).status_code == 200
    refused = await house.post(other.part10)
    assert refused.status_code == 507
    assert reasons(refused.json(), "00081198") == [0xA700]
    part = await house.post(
        files[0], files[1], other.part10
    )  # a repeat, a study that is, a new one
    assert part.status_code == 202
    assert reasons(part.json(), "00081198") == [0xA700]
    house.database.quotas[1] = (None, 0)
    assert (await house.post(files[2])).status_code == 507
    assert (await house.post(files[1])).status_code == 200
    house.database.quotas.clear()
    assert (await house.post(files[2], other.part10)).status_code == 200


async def test_policy_is_asked_before_the_body(house: Any) -> None:
    house.policy.rules = (Denial("*", "archive:instance:store", "no uploads today"),)
    taken = 0

    async def endless() -> Any:
        nonlocal taken
        for _ in range(50):
            taken += 1
            yield b"x" * 100

    response = await house.client.post(
        "/dicomweb/studies", content=endless(), headers={"content-type": KIND + "b"}
    )
    assert response.status_code == 403
    assert "no uploads today" in response.json()["detail"]
    house.policy.rules = ()
    assert (await house.get("/dicomweb/instances")).json() == []


async def test_r02_tenants_do_not_mix(house: Any) -> None:
    response = await house.post(*FILES, to="/t/other/dicomweb/studies")
    url = response.json()["00081190"]["Value"][0]
    assert url == f"http://pacs.test/t/other/dicomweb/studies/{CT.study_uid}"
    assert len((await house.get("/t/other/dicomweb/instances")).json()) == 3
    assert (await house.get("/dicomweb/instances")).json() == []
    nobody = await house.get("/t/nobody/dicomweb/instances")
    assert nobody.status_code == 404
