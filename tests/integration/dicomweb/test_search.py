"""QIDO-RS and the web app's API over rooms in memory."""

from __future__ import annotations

from typing import Any

import pytest

from lightwell.gateways.console.api import HINTED_SERIES
from lightwell.testing.builders import a_study

CT = a_study(
    "P1", name="Doe^Jane", StudyDate="20260102", AccessionNumber="A1", StudyDescription="Thorax"
).with_series("CT", instances=3)
MR = a_study("P2", name="Roe^Richard", seed=2, StudyDate="20260103").with_series("MR", instances=2)
US = a_study("P1", name="Doe^Jane", seed=3, StudyDate="20250101").with_series("US", instances=1)


@pytest.fixture
async def full(house: Any) -> Any:
    for study in (CT, MR, US):
        response = await house.post(*(built.part10 for built in study.objects()))
        assert response.status_code == 200
    return house


def uids(rows: list[dict[str, Any]], tag: str = "0020000D") -> list[str]:
    return [row[tag]["Value"][0] for row in rows]


async def test_w6_mandatory_return_attributes(full: Any) -> None:
    row = (await full.get("/dicomweb/studies?PatientID=P1&StudyDate=20260102")).json()[0]
    wanted = """00080020 00080030 00080050 00080056 00080061 00080090 00081190 00100010 00100020
        00100030 00100040 0020000D 00200010 00201206 00201208"""
    assert not set(wanted.split()) - set(row)
    assert (await full.get(row["00081190"]["Value"][0])).status_code == 200
    series = (await full.get(f"/dicomweb/studies/{CT.study_uid}/series")).json()[0]
    wanted = "00080060 0020000E 00200011 00201209 00081190 0020000D"
    assert not set(wanted.split()) - set(series)
    instance = (await full.get("/dicomweb/instances?SOPInstanceUID=" + CT.sop_uid())).json()[0]
    wanted = "00080016 00080018 00200013 00280010 00280011 00280100 00081190 0020000D 0020000E"
    assert not set(wanted.split()) - set(instance)
    assert (
        await full.get(instance["00081190"]["Value"][0], "application/dicom")
    ).status_code == 200


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [MR, CT, US]),
        ("PatientID=P1", [CT, US]),
        ("00100020=P1", [CT, US]),
        ("00100020=P9", []),
        ("PatientName=doe*", [CT, US]),
        ("PatientName=Doe%5EJane&StudyDate=20260101-20261231", [CT]),
        ("ModalitiesInStudy=MR", [MR]),
        ("ModalitiesInStudy=CT,MR&multiplevaluematching=true", [MR, CT]),
        (f"StudyInstanceUID={CT.study_uid},{US.study_uid}", [CT, US]),
        ("StudyDescription=Thor*", [CT]),
        ("AccessionNumber=A1", [CT]),
        ("limit=1", [MR]),
        ("limit=2&offset=1", [CT, US]),
        ("limit=0", []),
        ("_=1700000000", [MR, CT, US]),
        ("99990010=x", []),
    ],
)
async def test_matching(full: Any, query: str, expected: list[Any]) -> None:
    response = await full.get(f"/dicomweb/studies?{query}")
    assert response.status_code == 200
    assert uids(response.json()) == [study.study_uid for study in expected]


async def test_pages_say_that_there_is_more(full: Any) -> None:
    first = await full.get("/dicomweb/studies?limit=2")
    assert "additional results" in first.headers["warning"]
    cursor = first.headers["x-next-cursor"]
    second = await full.get(f"/dicomweb/studies?limit=2&cursor={cursor}")
    assert uids(first.json()) + uids(second.json()) == [s.study_uid for s in (MR, CT, US)]
    assert "warning" not in second.headers


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/dicomweb/studies?limit=-1", 400),
        ("/dicomweb/studies?StudyDate=yesterday", 400),
        ("/dicomweb/studies?cursor=%00", 400),
        ("/dicomweb/studies?order=Password", 400),
        ("/dicomweb/studies?PatientName=%ff", 400),
        ("/dicomweb/studies/not-a-uid/series", 200),
        ("/dicomweb/studies?PatientName=" + "*" * 1000, 200),
        ("/dicomweb/studies?PatientID=%27%20OR%201%3D1--", 200),
        ("/dicomweb/nothing", 404),
        ("/dicomweb", 404),
        ("/api/v2/x", 404),
    ],
)
async def test_w09_odd_requests(full: Any, path: str, status: int) -> None:
    response = await full.get(path)
    assert response.status_code == status
    if status >= 400:
        assert response.headers["content-type"].startswith(
            ("application/problem", "application/json")
        )


async def test_methods(full: Any) -> None:
    response = await full.client.delete("/dicomweb/studies")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_w15_no_origin_is_welcome(full: Any) -> None:
    for origin in ("https://evil.test", "null"):
        response = await full.get("/dicomweb/studies", origin=origin)
        assert "access-control-allow-origin" not in response.headers


# --- the console -------------------------------------------------------------------------------


async def test_the_study_list(full: Any) -> None:
    page = (await full.get("/api/v1/studies?limit=2")).json()
    first = page["items"][1]
    assert [item["study_uid"] for item in page["items"]] == [MR.study_uid, CT.study_uid]
    assert first["patient_name"] == "Doe^Jane"
    assert (first["patient_id"], first["study_date"], first["accession"]) == (
        "P1",
        "20260102",
        "A1",
    )
    assert (first["modalities"], first["series"], first["instances"]) == (["CT"], 1, 3)
    assert first["description"] == "Thorax"
    assert (first["held"], first["outside"], first["patient_changed"]) == (0, False, False)
    assert first["thumbnail"] == f"/dicomweb/studies/{CT.study_uid}/thumbnail"
    assert (await full.get(first["thumbnail"])).status_code == 200
    rest = (await full.get(f"/api/v1/studies?limit=2&cursor={page['next_cursor']}")).json()
    assert [item["study_uid"] for item in rest["items"]] == [US.study_uid]
    assert rest["next_cursor"] is None


async def test_the_list_tells_the_series_of_studies_that_have_few(house: Any) -> None:
    many = a_study("P3", seed=7)
    for _ in range(HINTED_SERIES + 1):
        many = many.with_series("MR", instances=1)
    for study in (CT, many):
        assert (await house.post(*(b.part10 for b in study.objects()))).status_code == 200
    rows = {row["study_uid"]: row for row in (await house.get("/api/v1/studies")).json()["items"]}
    assert rows[CT.study_uid]["hints"] == [
        {"series_uid": CT.series_uid(), "modality": "CT", "number": 1, "instances": 3}
    ]
    assert (rows[many.study_uid]["series"], rows[many.study_uid]["hints"]) == (13, [])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=doe", [CT, US]),
        ("q=doe+thor", [CT]),
        ("q=A1", [CT]),
        ("modality=MR", [MR]),
        ("from=20260101&to=20260102", [CT]),
        ("from=20260103", [MR]),
        ("sort=StudyDate", [US, CT, MR]),
        ("sort=PatientName", None),
    ],
)
async def test_searching_the_list(full: Any, query: str, expected: list[Any] | None) -> None:
    response = await full.get(f"/api/v1/studies?{query}")
    found = [item["study_uid"] for item in response.json()["items"]]
    if expected is None:
        assert found[-1] == MR.study_uid
    else:
        assert found == [study.study_uid for study in expected]


async def test_one_study(full: Any) -> None:
    detail = (await full.get(f"/api/v1/studies/{CT.study_uid}")).json()
    series = detail["series"][0]
    assert (series["series_uid"], series["modality"], series["instances"]) == (
        CT.series_uid(),
        "CT",
        3,
    )
    assert (await full.get(series["thumbnail"])).status_code == 200
    for uid in ("1.2.3", "not-a-uid"):
        missing = await full.get(f"/api/v1/studies/{uid}")
        assert missing.status_code == 404
        assert missing.headers["content-type"] == "application/problem+json"


async def test_an_issuer_we_made_up_is_shown_to_nobody(full: Any) -> None:
    named = a_study("P1", issuer="HOSPITAL", seed=4).with_series("CT", instances=1)
    assert (await full.post(*(built.part10 for built in named.objects()))).status_code == 200
    issuers = {CT.study_uid: "", named.study_uid: "HOSPITAL"}
    rows = {row["study_uid"]: row for row in (await full.get("/api/v1/studies")).json()["items"]}
    for uid, issuer in issuers.items():
        assert rows[uid]["issuer"] == issuer
        assert (await full.get(f"/api/v1/studies/{uid}")).json()["issuer"] == issuer


async def test_tenants_and_totals(full: Any) -> None:
    tenants = (await full.get("/api/v1/tenants")).json()
    assert [tenant["name"] for tenant in tenants] == ["default"]  # a program learns of its own
    stats = (await full.get("/api/v1/stats")).json()
    assert (stats["studies"], stats["instances"], sum(stats["by_modality"].values())) == (3, 6, 3)
    other = (await full.get("/t/other/api/v1/studies")).json()
    assert other["items"] == []
    for nobody in ("/t/nobody", "/t/"):  # an empty name is not that of the default tenant
        for path in ("/api/v1/studies", "/dicomweb/studies"):
            assert (await full.get(nobody + path)).status_code == 404
    mine = (await full.get("/t/default/api/v1/studies?limit=1")).json()["items"][0]
    assert mine["thumbnail"].startswith("/t/default/dicomweb/")


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "from=1", "sort=Secret", "cursor=zzz"])
async def test_bad_list_requests(full: Any, query: str) -> None:
    response = await full.get(f"/api/v1/studies?{query}")
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"


# --- the door ----------------------------------------------------------------------------------


async def test_openapi_lists_every_route_with_its_action(house: Any) -> None:
    described = (await house.get("/openapi.json")).json()
    for route in house.table:
        entry = described["paths"][route.template.replace("*}", "}")][route.method.lower()]
        assert entry["summary"]
        assert entry.get("x-policy") == (route.action.value if route.action else None)
    assert {"/api/v1/studies", "/api/v1/studies/{study_uid}", "/api/v1/stats"} <= set(
        described["paths"]
    )
    identifiers = [e["operationId"] for path in described["paths"].values() for e in path.values()]
    assert len(set(identifiers)) == len(identifiers)


async def test_every_route_to_patient_data_asks_policy(house: Any) -> None:
    for route in house.table:
        assert (route.action is not None) == route.template.startswith("/dicomweb")


async def test_probes_and_page(house: Any) -> None:
    assert (await house.get("/livez")).text == "ok\n"
    assert (await house.get("/readyz")).json() == {"ready": True, "waiting_for": {}}
    assert (await house.get("/metrics")).text == "x 1\n"
    for path in ("/", "/viewer/1.2.3", "/t/other/", "/t/other/viewer/1.2.3", "/t/other"):
        page = await house.get(path)
        assert (page.status_code, page.text) == (200, "<html>")
        assert "default-src 'self'" in page.headers["content-security-policy"]


@pytest.mark.parametrize("name", ["PatientID", "patientId", "patientid", "PATIENTID"])
async def test_a_keyword_in_another_case_does_not_find_everybody(full: Any, name: str) -> None:
    assert len((await full.get("/dicomweb/studies")).json()) == 3
    assert uids((await full.get(f"/dicomweb/studies?{name}=P2")).json()) == [MR.study_uid]
