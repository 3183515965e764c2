"""What changes under the reader's eyes: corrections, rejections, a server that goes and comes back."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import Page, expect

from lightwell.testing.builders import StudyBuilder, a_study
from tests.browser.conftest import Screen, Server, Watched


def three_slices(patient: str) -> StudyBuilder:
    """A CT of three slices."""
    study = a_study(patient, name="Change^Carla", StudyDescription="As it came")
    return study.with_series("CT", instances=3, rows=64, columns=64)


def history(server: Server, study: str) -> Any:
    """`lightwell correct list --json` of a study."""
    return json.loads(server.run("correct", "list", "--study", study, "--json"))


def look(page: Page, server: Server, study: str) -> Screen:
    """Open the viewer anew."""
    page.goto(f"{server.url}/viewer/{study}")
    return Screen(page).wait()


def test_a_correction_and_its_undo_show_in_list_and_viewer(server: Server, desktop: Page) -> None:
    study = three_slices("CHANGE-1")
    server.stow(study.each())
    uid, row = study.study_uid, desktop.locator(f'[data-study-uid="{study.study_uid}"]')
    server.run(
        "correct", "study", uid, "--set", "StudyDescription=As corrected", "--reason", "test"
    )
    expect(look(desktop, server, uid).corner("tl")).to_contain_text("As corrected")
    desktop.goto(server.url)
    expect(row).to_contain_text("As corrected")
    (correction,) = history(server, uid)["corrections"]
    server.run("correct", "undo", correction["id"], "--reason", "test")
    expect(look(desktop, server, uid).corner("tl")).to_contain_text("As it came")
    desktop.goto(server.url)
    expect(row).to_contain_text("As it came")


def test_a_corrected_patient_is_marked_as_changed(server: Server, desktop: Page) -> None:
    study = three_slices("CHANGE-2")
    server.stow(study.each())
    server.run(
        "correct", "patient", "CHANGE-2", "--set", "PatientName=Right^Rita", "--reason", "test"
    )
    screen = look(desktop, server, study.study_uid)
    expect(screen.corner("tl")).to_contain_text("Right, Rita")
    expect(screen.pane).to_contain_text("patient data changed")
    desktop.goto(server.url)
    row = desktop.locator(f'[data-study-uid="{study.study_uid}"]')
    expect(row).to_contain_text("Right, Rita")
    expect(row).to_contain_text("patient data changed")


def test_a_rejected_image_leaves_the_stack_and_comes_back(server: Server, desktop: Page) -> None:
    study = three_slices("CHANGE-3")
    server.stow(study.each())
    uid = study.study_uid
    server.run("correct", "reject", uid, "--series", study.series_uid(),
               "--instance", study.sop_uid(0, 1), "--reason", "test")  # fmt: skip
    expect(look(desktop, server, uid).corner("br")).to_contain_text("1/2")
    expect(desktop.locator(".identity-marks")).to_contain_text("1 rejected")
    (rejection,) = history(server, uid)["rejections"]
    server.run("correct", "restore", uid, rejection["id"], "--reason", "test")
    expect(look(desktop, server, uid).corner("br")).to_contain_text("1/3")


def test_a_rejected_study_is_in_no_list(server: Server, desktop: Page) -> None:
    study = three_slices("CHANGE-4")
    server.stow(study.each())
    row = desktop.locator(f'[data-study-uid="{study.study_uid}"]')
    desktop.goto(server.url)
    expect(row).to_have_count(1)
    server.run("correct", "reject", study.study_uid, "--code", "113037", "--reason", "test")
    desktop.goto(server.url)
    desktop.locator("[data-study-uid]").first.wait_for()
    expect(row).to_have_count(0)


def test_a_study_that_is_not_there_says_so(server: Server, desktop: Page, watched: Watched) -> None:
    watched.server_gone = True  # a 404 stands in the console
    desktop.goto(f"{server.url}/viewer/1.2.3.4.5")
    alert = desktop.get_by_role("alert")
    expect(alert).to_contain_text("go back to the study list")
    desktop.get_by_role("button", name="Studies").click()
    expect(desktop).to_have_url(f"{server.url}/")


def test_the_server_goes_and_comes_back(server: Server, desktop: Page, watched: Watched) -> None:
    study = three_slices("CHANGE-5")
    server.stow(study.each())
    desktop.goto(server.url)
    row = desktop.locator(f'[data-study-uid="{study.study_uid}"]')
    row.wait_for()
    row.hover()  # brings the viewer's code: a reader who is about to open it has it
    desktop.wait_for_load_state("networkidle")
    watched.server_gone = True
    server.stop()
    try:
        desktop.get_by_role("searchbox").fill("CHANGE-5")
        alert = desktop.get_by_role("alert")
        expect(alert).to_contain_text("could not reach the server")
        expect(row).to_be_visible()  # what was there stays
        row.click()
        expect(desktop.get_by_role("alert")).to_contain_text("could not reach the server")
    finally:
        server.start()
    desktop.get_by_role("button", name="Try again").click()
    Screen(desktop).wait().until(lambda pixels: bool(pixels.max() > 100))
    desktop.get_by_role("button", name="Studies").click()
    expect(row).to_be_visible()
