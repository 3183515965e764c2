"""`/api/v1/jobs`: what goes on in the background, through the HTTP door."""

from __future__ import annotations

import asyncio
from typing import Any

from lightwell.access.actions import Action
from lightwell.access.policy import Denial
from lightwell.workflows.ports import FINISHED


async def failed(house: Any, job: str) -> None:
    """A job that failed for want of its workflow."""
    await house.engine.start(house.tenant, "nothing", job, {})
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
    assert missing.status_code == 404
    assert (await house.get("/api/v1/jobs?state=odd")).status_code == 400
    assert (await house.get("/api/v1/jobs?limit=1000")).status_code == 400


async def test_another_tenants_jobs_are_not_there(house: Any) -> None:
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
