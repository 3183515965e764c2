"""The study list: what it shows, how it is searched, and what it does with hostile text."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from lightwell.testing.builders import a_study
from tests.browser.conftest import Screen, Server, Watched

TENANT = "lists"
NAMES = {"Alpha^Anna": "20250101", "Beta^Bert": "20250303", "Gamma^Gina": "20250202"}


@pytest.fixture(scope="module")
def studies(server: Server) -> dict[str, str]:
    """Three studies in a tenant of their own: family name -> study UID."""
    server.run("tenant", "create", TENANT, "--aet", "LISTS")
    made = {}
    for number, (name, date) in enumerate(NAMES.items()):
        study = a_study(
            f"LIST-{number}",
            name=name,
            seed=number,
            StudyDate=date,
            StudyDescription=f"Examination {number}",
        ).with_series("MR" if number == 1 else "CT", instances=2)
        server.stow(study.each(), TENANT)
        made[name.partition("^")[0]] = study.study_uid
    return made


def rows(page: Page) -> list[str | None]:
    """Study UIDs in the order of the list."""
    return [row.get_attribute("data-study-uid") for row in page.locator("[data-study-uid]").all()]


def open_list(page: Page, server: Server, tenant: str | None = TENANT) -> None:
    """Open the list and wait for its first row."""
    page.goto(f"{server.url}/t/{tenant}/" if tenant else server.url)
    page.locator("[data-study-uid]").first.wait_for()


def test_newest_first_with_what_one_needs(
    server: Server, desktop: Page, studies: dict[str, str]
) -> None:
    open_list(desktop, server)
    assert rows(desktop) == [studies["Beta"], studies["Gamma"], studies["Alpha"]]
    row = desktop.locator(f'[data-study-uid="{studies["Beta"]}"]')
    for text in ("Beta, Bert", "LIST-1", "Examination 1", "2025-03-03", "MR", "2 images"):
        expect(row).to_contain_text(text)
    expect(desktop.get_by_role("status").first).to_have_text("3 studies")


def test_search_finds_and_says_when_there_is_nothing(
    server: Server, desktop: Page, studies: dict[str, str]
) -> None:
    open_list(desktop, server)
    field = desktop.get_by_role("searchbox")
    found = desktop.locator("[data-study-uid]")
    for text, family in (("gamma", "Gamma"), ("LIST-0", "Alpha"), ("Examination 1", "Beta")):
        field.fill(text)
        expect(found).to_have_count(1)
        expect(found).to_have_attribute("data-study-uid", studies[family])
    field.fill("nobody of this name")
    expect(desktop.get_by_text("No study matches")).to_be_visible()
    desktop.get_by_role("button", name="Clear the search").click()
    expect(found).to_have_count(3)


def test_filters_by_modality_and_date(
    server: Server, desktop: Page, studies: dict[str, str]
) -> None:
    open_list(desktop, server)
    found = desktop.locator("[data-study-uid]")
    desktop.get_by_label("Modality").select_option("MR")
    expect(found).to_have_count(1)
    expect(found).to_have_attribute("data-study-uid", studies["Beta"])
    desktop.get_by_label("Modality").select_option("")
    desktop.get_by_label("From date").fill("2025-02-01")
    desktop.get_by_label("To date").fill("2025-02-28")
    expect(found).to_have_count(1)
    expect(found).to_have_attribute("data-study-uid", studies["Gamma"])


def test_sorts_by_its_headings(server: Server, desktop: Page, studies: dict[str, str]) -> None:
    open_list(desktop, server)
    heading = desktop.get_by_role("button", name="Patient", exact=True)
    first = desktop.locator("[data-study-uid]").first
    heading.click()
    expect(first).to_have_attribute("data-study-uid", studies["Alpha"])
    assert rows(desktop) == [studies[name] for name in ("Alpha", "Beta", "Gamma")]
    heading.click()
    expect(first).to_have_attribute("data-study-uid", studies["Gamma"])
    assert rows(desktop) == [studies[name] for name in ("Gamma", "Beta", "Alpha")]


def test_one_click_opens_the_viewer_and_back_keeps_the_search(
    server: Server, desktop: Page, studies: dict[str, str]
) -> None:
    open_list(desktop, server)
    desktop.get_by_role("searchbox").fill("alpha")
    found = desktop.locator("[data-study-uid]")
    expect(found).to_have_count(1)
    found.click()
    expect(desktop).to_have_url(f"{server.url}/t/{TENANT}/viewer/{studies['Alpha']}")
    Screen(desktop).wait()
    desktop.go_back()
    expect(found).to_have_count(1)
    expect(desktop.get_by_role("searchbox")).to_have_value("alpha")


def test_with_the_keyboard_alone(server: Server, desktop: Page, studies: dict[str, str]) -> None:
    open_list(desktop, server)
    desktop.keyboard.press("/")
    field = desktop.get_by_role("searchbox")
    expect(field).to_be_focused()
    desktop.keyboard.type("gam")
    found = desktop.locator("[data-study-uid]")
    expect(found).to_have_count(1)
    desktop.keyboard.press("Escape")
    expect(found).to_have_count(3)
    desktop.keyboard.press("ArrowDown")
    desktop.keyboard.press("ArrowDown")
    expect(desktop.locator("[data-current]")).to_have_attribute("data-study-uid", studies["Gamma"])
    desktop.keyboard.press("Enter")
    expect(desktop).to_have_url(re.compile(re.escape(studies["Gamma"])))
    Screen(desktop).wait()


def test_an_empty_tenant_says_what_to_do(server: Server, desktop: Page, watched: Watched) -> None:
    server.run("tenant", "create", "nothing", "--aet", "NOTHING")
    server.sign_in(desktop.context, "nothing")
    demonstration = {"name": "demo", "label": "Demonstration", "demo": True}
    tenants = [*server.json("/api/v1/tenants"), demonstration]
    desktop.route("**/api/v1/tenants", lambda route: route.fulfill(json=tenants))
    desktop.goto(f"{server.url}/t/nothing/")
    expect(desktop.get_by_text("No studies yet")).to_be_visible()
    watched.server_gone = True  # the tenant of the next page is made up: 404
    desktop.get_by_role("button", name="Open Demonstration").click()
    expect(desktop).to_have_url(f"{server.url}/t/demo/")


def test_w11_hostile_text_stays_text(server: Server, desktop: Page, watched: Watched) -> None:
    """A dialog, a console error or a foreign request would fail this test when it ends."""
    name, patient = "<img src=x onerror=alert(1)>^\"'", "<svg/onload=alert(1)>"
    study = a_study(
        patient,
        name=name,
        StudyDescription="<script>alert(2)</script>",
        InstitutionName="javascript:alert(3)",
    ).with_series("CT", SeriesDescription="<b onmouseover=alert(4)>x</b>")
    server.stow(study.each())
    open_list(desktop, server, None)
    row = desktop.locator(f'[data-study-uid="{study.study_uid}"]')
    expect(row).to_contain_text(
        "<img src (x onerror)"
    )  # "=" parts the groups of a name (PS3.5 6.2)
    expect(row).to_contain_text(patient)
    expect(row).to_contain_text("<script>alert(2)</script>")
    row.click()
    screen = Screen(desktop).wait()
    expect(screen.corner("tl")).to_contain_text("<img src (x onerror)")
    expect(screen.corner("bl")).to_contain_text("<b onmouseover=alert(4)>x</b>")
    assert desktop.locator('img[src="x"], [onload], [onerror], [onmouseover]').count() == 0
    assert desktop.title() == "Viewer · Lightwell"
    assert watched.requests


def test_w12_the_page_may_talk_to_its_own_origin_only(server: Server, desktop: Page) -> None:
    answer = desktop.goto(server.url)
    assert answer is not None
    headers = answer.headers
    policy = dict(
        part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'self'"
    assert policy["connect-src"] == "'self'"
    assert "'unsafe-inline'" not in policy["script-src"]
    assert "'unsafe-eval'" not in policy["script-src"]
    assert policy["object-src"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
