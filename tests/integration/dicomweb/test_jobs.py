"""`/api/v1/jobs`: what goes on in the background, through the HTTP door."""

from __future__ import annotations

import asyncio
from typing import Any

from lightwell.access.actions import Action
from lightwell.access.policy import Denial
from lightwell.testing.builders import a_study
from lightwell.workflows.ports import FINISHED


async def failed(house: Any, job: str, **arguments: Any) -> None:
    """A job that failed for want of its workflow."""
    await house.engine.start(house.tenant, "nothing", job, arguments)
    while (await house.engine.status(house.tenant, job)).state not in FINISHED:
        await asyncio.sleep(0)


async def test_jobs_are_listed_in_pages_and_retried(house: Any) -> None:
    for name in ("a:1", "b:2", "c:3"):
        await failed(house, name)
    page = (await house.get("/api/v1/jobs?limit=2&state=failed")).json()
    assert [job["id"] for job in page["items"]] == ["c:3", "b:2"]
    rest = (await house.get(f"/api/v1/jobs?limit=2&before={page['next_before']}")).json()
    assert [job["id"] for job in rest["items"]] == ["a:1"]
    assert rest["next_before"] is None
    assert "nothing" in rest["items"][0]["error"]
    again = await house.client.post("/api/v1/jobs/a:1/retry", json={})
    assert again.status_code == 202
    assert again.json()["id"] == "a:1"


async def test_what_cannot_be_retried_says_why(house: Any) -> None:
    missing = await house.client.post("/api/v1/jobs/no/such/retry", json={})
    await failed(house, "a:1")
    assert (await house.client.post("/api/v1/jobs/a%3A1/retry", json={})).status_code == 202
    assert missing.status_code == 404
    assert (await house.get("/api/v1/jobs?state=odd")).status_code == 400
    assert (await house.get("/api/v1/jobs?limit=1000")).status_code == 400


async def test_r02_another_tenants_jobs_are_not_there(house: Any) -> None:
    await failed(house, "a:1")
    assert (await house.get("/t/other/api/v1/jobs")).json()["items"] == []
    assert (await house.client.post("/t/other/api/v1/jobs/a:1/retry", json={})).status_code == 404


async def test_policy_reaches_the_jobs(house: Any) -> None:
    await failed(house, "a:1")
    house.policy.rules = (Denial("*", Action.WORK_JOB_RETRY, "closed for today"),)
    refused = await house.client.post("/api/v1/jobs/a:1/retry", json={})
    assert refused.status_code == 403
    assert "closed for today" in refused.text
    assert (await house.get("/api/v1/jobs")).status_code == 200


async def test_a_form_of_another_site_changes_nothing(house: Any) -> None:
    await failed(house, "a:1")
    for sent in ({}, {"data": {"a": "b"}}, {"headers": {"content-type": "text/plain"}}):
        answer = await house.client.post("/api/v1/jobs/a:1/retry", **sent)
        assert answer.status_code == 400
    assert (await house.engine.status(house.tenant, "a:1")).attempts == 1


async def test_a_job_says_which_series_it_is_about_and_nothing_of_the_patient(house: Any) -> None:
    study = a_study("SECRET-1", name="Secret^Sally", StudyDescription="CT CHEST")
    study = study.with_series("CT", instances=3, SeriesDescription="Lung 1.0")
    assert (await house.post(*(each.part10 for each in study.each()))).status_code == 200
    series = study.series_uid()
    await failed(house, "a:1", study=study.study_uid, series=series)
    await failed(house, "b:2", study="1.2.3", series="1.2.3.4")
    await failed(house, "c:3", study=7, series="<script>")
    plain = (await house.get("/api/v1/jobs")).json()
    assert plain["subjects"] == {}
    assert [job["series_uid"] for job in plain["items"]] == ["", "1.2.3.4", series]
    answer = await house.get("/api/v1/jobs?describe=true")
    assert "SECRET" not in answer.text
    assert "Sally" not in answer.text
    subjects = answer.json()["subjects"]
    assert subjects == {
        series: {
            "study_uid": study.study_uid,
            "series_uid": series,
            "modality": "CT",
            "description": "Lung 1.0",
            "study_description": "CT CHEST",
            "images": 3,
        }
    }


async def test_series_that_may_not_be_searched_are_not_named(house: Any) -> None:
    study = a_study("P1").with_series("CT")
    await house.post(*(each.part10 for each in study.each()))
    await failed(house, "a:1", study=study.study_uid, series=study.series_uid())
    house.policy.rules = (Denial("*", Action.ARCHIVE_STUDY_QUERY, "closed for today"),)
    page = (await house.get("/api/v1/jobs?describe=true")).json()
    assert page["subjects"] == {}
    assert [job["id"] for job in page["items"]] == ["a:1"]


async def test_jobs_are_counted(house: Any) -> None:
    await failed(house, "a:1")
    counts = {"waiting": 0, "running": 0, "failed": 1}
    assert (await house.get("/api/v1/jobs/counts")).json() == counts
    page = (await house.get("/api/v1/jobs?state=done")).json()
    assert (page["items"], page["counts"]) == ([], counts)
    assert page["now"].endswith(("Z", "+00:00"))
    assert (await house.get("/t/other/api/v1/jobs/counts")).json()["failed"] == 0


async def test_a_job_is_cancelled_for_json_only(house: Any) -> None:
    await house.engine.start(house.tenant, "waits", "a:1", {})
    to = "/api/v1/jobs/a:1/cancel"
    assert (await house.client.post(to)).status_code == 400
    cancelled = await house.client.post(to, json={})
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    await failed(house, "b:2")
    late = await house.client.post("/api/v1/jobs/b:2/cancel", json={})
    assert late.status_code == 409
    assert (await house.client.post("/t/other" + to, json={})).status_code == 404
    house.policy.rules = (Denial("*", Action.WORK_JOB_CANCEL, "closed for today"),)
    assert (await house.client.post(to, json={})).status_code == 403
