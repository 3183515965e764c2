"""Settled series in the viewer: a preview at once, marked as one, and in the end the very same picture.

One tenant settles, the other keeps everything as it arrived: what is compared is what is on the screen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Error, Page, Request, Route, expect

from lightwell.testing.builders import BuiltInstance, Shape, StudyBuilder, a_study
from lightwell.testing.phantoms import Case, cr_chest, ct_thorax, us_cine
from tests.browser.conftest import STATIC, Screen, Server

PLAIN = "plain"
SLICES = 60
MIDDLE = SLICES // 2  # where the lead image is, counted from 1: stored feet first, shown head first
FRAMES = re.compile(r"/frames/\d+$")
PREVIEW = re.compile(r"/preview\?")
QUICK = 0.6  # of a grey level, mean: what drawing may cost


@pytest.fixture(scope="module")
def server(session_folder: Path) -> Iterator[Server]:
    """A server of its own: the others' studies stay unsettled."""
    if not (STATIC / "index.html").exists():
        pytest.skip("the web app is not built: script/setup.py server")
    running = Server(session_folder / "browser-settled" / "data")
    with ExitStack() as stack:
        stack.callback(running.stop)
        running.start()
        running.run("tenant", "create", PLAIN, "--aet", "PLAIN")
        running.run("tenant", "settling", "as-received", "--tenant", PLAIN)
        yield running


def both(server: Server, objects: list[BuiltInstance]) -> str:
    """Store them settled in one tenant and as received in the other; the study."""
    for start in range(0, len(objects), 40):
        server.stow(objects[start : start + 40])
        server.stow(objects[start : start + 40], tenant=PLAIN)
    study = objects[0].study_uid
    server.run("settle", study)
    return study


@pytest.fixture(scope="module")
def thorax(server: Server) -> str:
    """Study UID of a CT."""
    case = Case(seed=11, patient_id="SETTLED-1", accession="S1")
    return both(server, list(ct_thorax(case, slices=SLICES, matrix=256)))


def look(page: Page, server: Server, study: str, tenant: str | None = None) -> Screen:
    prefix = f"/t/{tenant}" if tenant else ""
    page.goto(f"{server.url}{prefix}/viewer/{study}")
    return Screen(page).wait()


def expect_quality(screen: Screen, quality: str) -> None:
    expect(screen.pane.locator(".surface")).to_have_attribute("data-quality", quality)


def go_to(screen: Screen, number: int) -> None:
    """Scroll to an image, counted from 1."""
    screen.pane.get_by_role("slider", name="Image").fill(str(number))
    expect(screen.corner("br")).to_contain_text(f"{number}/")


def picture(screen: Screen) -> NDArray[np.int16]:
    """The middle of the viewport, where nothing is written."""
    pixels = screen.pixels()
    height, width = pixels.shape[:2]
    return pixels[height // 4 : -height // 4, width // 4 : -width // 4]


def held_frames(page: Page) -> Callable[[], None]:
    """Keep back every frame that the page asks for; returns what lets them go."""
    held: list[Route] = []
    keep = True

    def arrived(route: Route) -> None:
        if keep:
            held.append(route)
        else:
            route.continue_()

    def release() -> None:
        nonlocal keep
        keep = False
        for route in held:
            with suppress(Error):  # given up by the page in the meantime
                route.continue_()
        held.clear()

    page.route(FRAMES, arrived)
    return release


def difference(one: NDArray[np.int16], other: NDArray[np.int16]) -> float:
    return float(np.abs(one - other).mean())


def test_a_preview_comes_first_and_nothing_jumps_when_it_is_final(
    server: Server, desktop: Page, thorax: str
) -> None:
    release = held_frames(desktop)
    screen = look(desktop, server, thorax)
    expect_quality(screen, "lead")
    expect(screen.corner("br")).to_contain_text(f"{MIDDLE}/{SLICES}")
    expect(screen.pane.get_by_text("PREVIEW")).to_be_visible()
    expect(screen.pane.locator(".preview-frame")).to_be_visible()
    boxes = [".corner-tl", ".corner-br", ".corner-bl", ".edge-left", ".slider"]
    before = [screen.pane.locator(box).bounding_box() for box in boxes]
    coarse = picture(screen)

    release()
    expect_quality(screen, "final")
    expect(screen.pane.get_by_text("PREVIEW")).to_have_count(0)
    expect(screen.pane.locator(".preview-frame")).to_have_count(0)
    assert [screen.pane.locator(box).bounding_box() for box in boxes] == before
    final = picture(screen)
    assert final.std() > 20
    # The preview lies where the image lies: any shift makes them less alike.
    there = difference(coarse, final)
    for axis in (0, 1):
        for step in (-6, 6):
            assert there < difference(np.roll(coarse, step, axis), final), (axis, step)


@pytest.mark.parametrize("number", [1, MIDDLE, SLICES])
def test_final_pixels_are_those_of_the_series_as_it_arrived(
    server: Server, desktop: Page, thorax: str, number: int
) -> None:
    coded = {True: 0, False: 0}  # requests of HTJ2K, by whether they are of the plain tenant

    def note(request: Request) -> None:
        if "1.2.840.10008.1.2.4.202" in request.headers.get("accept", ""):
            # By its address: what the page before still asks for comes in while the next one opens.
            coded[f"/t/{PLAIN}/" in request.url] += 1

    desktop.on("request", note)
    seen = []
    for tenant in (None, PLAIN):
        screen = look(desktop, server, thorax, tenant)
        go_to(screen, number)
        expect_quality(screen, "final")
        seen.append(picture(screen))
    assert coded[False] > 0
    assert coded[True] == 0
    assert difference(*seen) == 0


def levels(_shape: Shape, rng: np.random.Generator) -> NDArray[np.generic]:
    """Signed values on a slope, with noise."""
    rows, columns = np.mgrid[0:320, 0:288]
    values = 2 * rows + 3 * columns - 500 + rng.integers(0, 40, (320, 288))
    return values[None].astype("<i2")


def a_signed_mr() -> list[BuiltInstance]:
    made: StudyBuilder = a_study("SETTLED-MR").with_series(
        "MR", instances=4, rows=320, columns=288, signed=True, bits_stored=12, pixels=levels,
        RescaleSlope=2.5, RescaleIntercept=-7, WindowCenter=300, WindowWidth=2500,
        each=lambda n: {"ImagePositionPatient": [0, 0, 3.0 * n]},
    )  # fmt: skip
    return made.objects()


KINDS: dict[str, Callable[[], list[BuiltInstance]]] = {
    "signed with a rescale": a_signed_mr,
    "radiograph": lambda: list(cr_chest(Case(seed=3, patient_id="SETTLED-CR", accession="S3"))),
    "film in colour": lambda: list(us_cine(Case(seed=4, patient_id="SETTLED-US", accession="S4"))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_signs_slopes_inversion_and_colours_are_the_same(
    server: Server, desktop: Page, kind: str
) -> None:
    study = both(server, KINDS[kind]())
    seen = []
    number = None
    for tenant in (None, PLAIN):
        release = held_frames(desktop) if tenant is None else None
        screen = look(desktop, server, study, tenant)
        if release:
            expect_quality(screen, "lead")
            preview = picture(screen)
            release()
        if screen.pane.get_by_role("slider", name="Image").count():
            number = number or int(screen.corner("br").inner_text().split()[-1].split("/")[0])
            go_to(screen, number)
        expect_quality(screen, "final")
        seen.append(picture(screen))
    assert difference(*seen) == 0
    # Grey for grey the preview is the same picture, only softer.
    assert np.abs(preview.mean() - seen[0].mean()) < 6


def test_the_series_can_be_scrolled_while_it_loads(
    server: Server, desktop: Page, thorax: str
) -> None:
    release = held_frames(desktop)
    screen = look(desktop, server, thorax)
    expect(screen.pane.locator(".surface")).to_have_attribute("data-coarse-at", re.compile(r"\d"))
    screen.pane.hover()
    before = picture(screen)
    for step in range(1, 9):
        desktop.mouse.wheel(0, 100)
        expect(screen.corner("br")).to_contain_text(f"{MIDDLE + step}/{SLICES}")
        expect_quality(screen, "coarse")
        now = picture(screen)
        assert difference(before, now) > 0
        before = now
    release()
    expect_quality(screen, "final")
    expect(screen.corner("br")).to_contain_text(f"{MIDDLE + 8}/{SLICES}")


def test_a_jump_gives_up_what_is_no_longer_wanted(
    server: Server, desktop: Page, thorax: str
) -> None:
    asked: list[str] = []
    given_up: list[str] = []
    desktop.on("request", lambda r: asked.append(r.url) if FRAMES.search(r.url) else None)
    desktop.on("requestfailed", lambda r: given_up.append(r.url) if FRAMES.search(r.url) else None)
    release = held_frames(desktop)
    screen = look(desktop, server, thorax)
    expect_quality(screen, "lead")
    lead = list(asked)
    assert lead
    desktop.keyboard.press("End")
    expect(screen.corner("br")).to_contain_text(f"{SLICES}/{SLICES}")
    expect_quality(screen, "coarse")
    for _ in range(100):
        if given_up:
            break
        desktop.wait_for_timeout(50)
    assert set(given_up) == set(lead)
    release()
    expect_quality(screen, "final")
    desktop.keyboard.press("Home")
    expect_quality(screen, "final")


def test_a_correction_shows_in_a_settled_study(server: Server, desktop: Page) -> None:
    case = Case(seed=21, patient_id="SETTLED-2", accession="S2")
    objects = list(ct_thorax(case, slices=4, matrix=192))
    server.stow(objects)
    study = objects[0].study_uid
    server.run("settle", study)
    screen = look(desktop, server, study)
    expect_quality(screen, "final")
    reason = ("--reason", "test")
    server.run("correct", "study", study, "--set", "StudyDescription=As corrected", *reason)
    screen = look(desktop, server, study)
    expect_quality(screen, "final")
    expect(screen.corner("tl")).to_contain_text("As corrected")


def test_late_images_are_shown_among_settled_ones(server: Server, desktop: Page) -> None:
    case = Case(seed=22, patient_id="SETTLED-3", accession="S5")
    objects = list(ct_thorax(case, slices=8, matrix=192))
    server.stow(objects[::2])
    server.run("settle", objects[0].study_uid)
    server.stow(objects[1::2])
    screen = look(desktop, server, objects[0].study_uid)
    for number in range(1, 9):
        go_to(screen, number)
        expect_quality(screen, "final")
        assert picture(screen).std() > 5


@pytest.mark.parametrize("damage", ["cut", "bent", "nonsense"])
def test_a_damaged_preview_is_not_shown_and_images_come_whole(
    server: Server, desktop: Page, thorax: str, damage: str
) -> None:
    def spoil(route: Route) -> None:
        answer = route.fetch()
        body = bytearray(answer.body())
        if damage == "cut":
            body = body[: len(body) // 2]
        elif damage == "bent":
            body[body.index(b"LWPV") + 8_000 :][:1] = b""
            body[len(body) // 2] ^= 0x55
        else:
            body = bytearray(b"<html>not what you asked for</html>")
        headers = {**answer.headers, "content-length": str(len(body))}
        route.fulfill(status=200, headers=headers, body=bytes(body))

    desktop.route(PREVIEW, spoil)
    screen = look(desktop, server, thorax)
    expect_quality(screen, "final")
    desktop.unroute(PREVIEW)
    go_to(screen, 7)
    expect_quality(screen, "final")
    seen = picture(screen)
    screen = look(desktop, server, thorax, PLAIN)
    go_to(screen, 7)
    expect_quality(screen, "final")
    assert difference(seen, picture(screen)) == 0


def test_a_row_that_is_looked_at_is_fetched_ahead_once(
    server: Server, desktop: Page, thorax: str
) -> None:
    previews: list[str] = []
    desktop.on("request", lambda r: previews.append(r.url) if PREVIEW.search(r.url) else None)
    desktop.goto(f"{server.url}/")
    row = desktop.locator(f'[data-study-uid="{thorax}"]')
    row.wait_for()
    assert previews == []
    with desktop.expect_response(PREVIEW):
        row.hover()
    row.click()
    screen = Screen(desktop).wait()
    expect_quality(screen, "final")
    assert len(previews) == 1
    assert thorax in previews[0]


def test_a_phone_shows_previews_and_finals(server: Server, phone: Page, thorax: str) -> None:
    release = held_frames(phone)
    screen = look(phone, server, thorax)
    expect_quality(screen, "lead")
    expect(screen.pane.get_by_text("PREVIEW")).to_be_visible()
    release()
    expect_quality(screen, "final")
    assert picture(screen).std() > 20
