"""Background work on the screen: what runs, waits and failed; retried and cancelled by hand and by key."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from lightwell.access.context import Tenant
from lightwell.app.database_access import database
from lightwell.app.settings import Endpoint, Settings
from lightwell.app.wiring import House, open_house
from lightwell.testing.builders import StudyBuilder, a_study
from tests.browser.conftest import Server, Watched
from tests.browser.test_access import check_contrast, check_controls

TENANT = "works"
LONG = "A very long description of an examination that somebody typed into a console " * 2
WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"

# Rows as workers leave them. `handed`: the server believes that they were given to a worker, and looks
# after them a minute later only.
PLANT = """
INSERT INTO work_run (tenant, run_id, workflow, arguments, state, handed, step, done, total, what, attempts,
  error, created, updated)
VALUES ($1, $2, $3, jsonb_build_object('study', $4::text, 'series', $5::text), $6, $7, $8, $9, $10, $11, $12,
  $13, now() - make_interval(secs => $14), now())
ON CONFLICT (tenant, run_id) DO UPDATE SET state = excluded.state, done = excluded.done,
  asked = NULL, error = excluded.error, handed = excluded.handed
"""


def within(server: Server, work: Callable[[House], Awaitable[Any]]) -> Any:
    """Run `work` with rooms of our own on the server's installation, on a thread aside."""
    nowhere = Endpoint("127.0.0.1", 0)
    settings = Settings(data=server.data, http=nowhere, dimse=nowhere)

    async def go(info: Any) -> Any:
        house = open_house(settings, info, examine=False)
        try:
            return await work(house)
        finally:
            await house.close()

    with database(settings) as info, ThreadPoolExecutor(1) as aside:
        return aside.submit(lambda: asyncio.run(go(info))).result(60)


def plant(
    server: Server, job: str, state: str, study: StudyBuilder | None = None, **row: Any
) -> str:
    """Put a job of the tenant into the state; its id."""

    async def work(house: House) -> None:
        tenant = await house.tenants.named(TENANT)
        async with house.work.session() as connection:
            await connection.execute(
                PLANT,
                tenant.key,
                job,
                row.get("workflow", "settle_series"),
                study.study_uid if study else "",
                study.series_uid() if study else "",
                state,
                row.get("handed", True),
                row.get("step", "settle"),
                row.get("done", 0),
                row.get("total", 0),
                "images",
                row.get("attempts", 1),
                row.get("error", ""),
                float(row.get("age", 60)),
            )

    within(server, work)
    return job


@pytest.fixture(scope="module")
def chest(server: Server) -> StudyBuilder:
    """A stored CT in a tenant of its own."""
    server.run("tenant", "create", TENANT, "--aet", "WORKS")
    study = a_study("JOBS-1", name="Work^Wanda", StudyDescription="Thorax")
    study = study.with_series("CT", instances=3, SeriesDescription="Chest 1.0")
    server.stow(study.each(), TENANT)
    return study


def row(page: Page, job: str) -> Locator:
    return page.locator(f'[data-job="{job}"]')


def open_jobs(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/t/{TENANT}/jobs")
    expect(page.get_by_role("heading", name="Background work")).to_be_visible()


def test_a_failed_job_says_why_and_a_retry_makes_it_done(
    server: Server, desktop: Page, chest: StudyBuilder
) -> None:
    job = plant(server, "fails:1", "failed", chest, handed=False, done=1, total=3, error="No room.")
    desktop.goto(f"{server.url}/t/{TENANT}/")
    link = desktop.get_by_role("link", name=re.compile(r"Background work, \d+ failed"))
    link.click()
    expect(desktop).to_have_url(f"{server.url}/t/{TENANT}/jobs")
    failed = row(desktop, job)
    for text in ("Failed", "Packing CT Chest 1.0, 3 images", "No room.", "1 of 3 images", "retry"):
        expect(failed).to_contain_text(text)
    expect(desktop.locator("body")).not_to_contain_text("Wanda")
    expect(desktop.locator("body")).not_to_contain_text("JOBS-1")
    failed.get_by_role("button", name="Retry").click()
    expect(failed).to_have_attribute("data-state", "done")  # nobody reloads the page
    expect(failed).to_contain_text("Packed CT Chest 1.0, 3 images")
    expect(failed.get_by_role("button")).to_have_count(0)


def test_a_job_of_the_server_that_fails_shows_by_itself(
    server: Server, desktop: Page, chest: StudyBuilder
) -> None:
    open_jobs(desktop, server)
    plant(server, "busy:1", "running", chest, done=1, total=3)  # so that the page looks often

    async def work(house: House) -> None:
        tenant: Tenant = await house.tenants.named(TENANT)
        await house.engine.start(tenant, "no-such-work", "odd:1", {})

    within(server, work)
    desktop.get_by_role("button", name=re.compile("^Failed")).click()
    failed = row(desktop, "odd:1")
    expect(failed).to_contain_text("No such work")
    expect(failed).to_contain_text("This version has no workflow")
    expect(failed).to_contain_text("Another version of the server")
    expect(row(desktop, "busy:1")).to_have_count(0)
    failed.get_by_role("button", name="Retry").click()
    expect(failed).to_contain_text("2 attempts")


def test_with_the_keyboard_alone(server: Server, desktop: Page, chest: StudyBuilder) -> None:
    older = plant(server, "keys:1", "cancelled", chest, age=-10)
    newer = plant(server, "keys:2", "running", chest, age=-20, done=2, total=3)
    open_jobs(desktop, server)
    running = row(desktop, newer)
    expect(running.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "67")
    desktop.keyboard.press("j")
    expect(running).to_have_attribute("aria-current", "true")
    desktop.keyboard.press("x")
    question = running.get_by_role("group", name="Cancel this job?")
    expect(question).to_be_visible()
    desktop.keyboard.press("Escape")
    expect(question).to_have_count(0)
    desktop.keyboard.press("x")
    desktop.keyboard.press("j")
    expect(question).to_have_count(0)  # whoever goes on has not said yes
    expect(row(desktop, older)).to_have_attribute("aria-current", "true")
    desktop.keyboard.press("k")
    desktop.keyboard.press("x")
    desktop.keyboard.press("x")
    expect(running).to_have_attribute("data-state", "cancelled")
    desktop.keyboard.press("/")
    field = desktop.get_by_role("searchbox", name="Search jobs")
    expect(field).to_be_focused()
    desktop.keyboard.type("keys:1")
    expect(desktop.locator("[data-job]")).to_have_count(1)
    desktop.keyboard.type(" nothing of it")
    expect(desktop.get_by_text("No job matches")).to_be_visible()
    desktop.keyboard.press("Escape")
    expect(running).to_be_visible()
    desktop.keyboard.press("j")
    desktop.keyboard.press("r")
    expect(row(desktop, older)).to_have_attribute("data-state", "done")
    desktop.keyboard.press("Enter")
    expect(desktop).to_have_url(f"{server.url}/t/{TENANT}/viewer/{chest.study_uid}")


def test_progress_moves_without_a_reload(
    server: Server, desktop: Page, chest: StudyBuilder
) -> None:
    job = plant(server, "moves:1", "running", chest, done=1, total=9)
    open_jobs(desktop, server)
    expect(row(desktop, job)).to_contain_text("1 of 9 images")
    plant(server, "moves:1", "running", chest, done=8, total=9)
    expect(row(desktop, job)).to_contain_text("8 of 9 images")
    plant(server, "moves:1", "done", chest, done=9, total=9)
    expect(row(desktop, job)).to_have_attribute("data-state", "done")


def test_offline_and_back(
    server: Server, desktop: Page, watched: Watched, chest: StudyBuilder
) -> None:
    job = plant(server, "away:1", "running", chest, done=1, total=3)
    open_jobs(desktop, server)
    expect(row(desktop, job)).to_be_visible()
    watched.server_gone = True
    desktop.context.set_offline(True)
    alert = desktop.get_by_role("alert")
    expect(alert).to_contain_text("could not reach the server")
    expect(row(desktop, job)).to_be_visible()  # what was there stays
    expect(desktop.locator(".freshness")).to_contain_text("As of")
    desktop.context.set_offline(False)
    expect(alert).to_have_count(0)
    expect(desktop.locator(".freshness")).to_have_text("Live")


def test_a_refused_retry_says_why(
    server: Server, desktop: Page, watched: Watched, chest: StudyBuilder
) -> None:
    job = plant(server, "refused:1", "failed", chest, error="No room.")
    open_jobs(desktop, server)
    watched.server_gone = True  # a 403 stands in the console
    body = {"title": "Refused", "detail": "Closed for today", "remedy": "Ask the administrator."}
    desktop.route(
        "**/retry",
        lambda route: route.fulfill(
            status=403, json=body, headers={"content-type": "application/problem+json"}
        ),
    )
    row(desktop, job).get_by_role("button", name="Retry").click()
    expect(row(desktop, job)).to_contain_text("Closed for today. Ask the administrator.")
    expect(row(desktop, job)).to_have_attribute("data-state", "failed")


def test_nothing_to_show_is_said(server: Server, desktop: Page, watched: Watched) -> None:
    server.run("tenant", "create", "idle", "--aet", "IDLE")
    server.sign_in(desktop.context, "idle")
    desktop.goto(f"{server.url}/t/idle/")
    expect(desktop.get_by_role("link", name="Background work", exact=True)).to_be_visible()
    desktop.goto(f"{server.url}/t/idle/jobs")
    expect(desktop.get_by_text("No background work yet")).to_be_visible()
    desktop.get_by_role("button", name="Failed").click()
    expect(desktop.get_by_text("Nothing has failed")).to_be_visible()
    watched.server_gone = True
    server.sign_in(desktop.context, "no-such-tenant", key_of="default")
    desktop.goto(f"{server.url}/t/no-such-tenant/jobs")
    expect(desktop.get_by_role("alert")).to_contain_text("Loading the background work failed")


def test_names_and_contrast(server: Server, desktop: Page, chest: StudyBuilder) -> None:
    plant(server, "fails:2", "failed", chest, done=1, total=3, error="No room.")
    plant(server, "busy:2", "running", chest, done=1, total=3)
    plant(server, "old:2", "cancelled", chest)
    open_jobs(desktop, server)
    desktop.locator("[data-job]").first.wait_for()
    check_controls(desktop)
    check_contrast(desktop)


def test_on_a_phone(server: Server, phone: Page, chest: StudyBuilder) -> None:
    job = plant(server, "phone:1", "failed", chest, error=LONG, age=-60)
    busy = plant(server, "phone:2", "running", chest, done=1, total=3, age=-70)
    phone.goto(f"{server.url}/t/{TENANT}/")
    phone.get_by_role("link", name=re.compile("Background work")).tap()
    expect(row(phone, job)).to_be_visible()
    assert not phone.evaluate(WIDE)
    assert all(c["height"] >= 24 for c in check_controls(phone) if c["width"] > 0)
    row(phone, busy).get_by_role("button", name="Cancel").tap()
    row(phone, busy).get_by_role("button", name="Cancel it").tap()
    expect(row(phone, busy)).to_have_attribute("data-state", "cancelled")
    phone.get_by_role("button", name=re.compile("^Failed")).tap()
    expect(row(phone, busy)).to_have_count(0)
    phone.get_by_role("button", name="Studies").tap()
    expect(phone).to_have_url(f"{server.url}/t/{TENANT}/")
