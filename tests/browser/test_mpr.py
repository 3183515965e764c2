"""Three planes of a volume against computed truth, and what they say while they are filled.

What is looked at are the pixels of each plane's own canvas, without what is written over it.
"""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Error, Page, Route, expect

from lightwell.testing.builders import BuiltInstance, a_study
from lightwell.testing.orientation import Axis
from lightwell.testing.phantoms import Case, ct_thorax
from lightwell.testing.volumes import BLOCKS, COUNTS, SPACING, TOP, Recording, block_value
from tests.browser.conftest import SCREEN_SECONDS, Screen, Server, Watched

FRAMES = re.compile(r"/frames/\d+$")
GREY = 1.5  # levels of 255; two blocks are 4 apart
SLICES = 60
PLANES = ("axial", "coronal", "sagittal")
LEFT, RIGHT, BACK, FRONT, HEAD, FEET = (
    (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1),
)  # fmt: skip
#: How the same patient was recorded: directions of a row and of a column.
RECORDED: dict[str, tuple[Axis, Axis]] = {
    "axial": (LEFT, BACK),
    "axial, lying prone": (RIGHT, FRONT),
    "axial, on its side": (FRONT, LEFT),
    "coronal": (LEFT, FEET),
    "coronal, upside down": (RIGHT, HEAD),
    "sagittal": (BACK, FEET),
    "sagittal, from the other side": (FRONT, FEET),
}
#: Of each plane as one looks at it: the patient's axis to the right, to the bottom and into the screen when
#: scrolling, and whether it runs against the axis.
LOOK: dict[str, tuple[tuple[int, bool], tuple[int, bool], tuple[int, bool]]] = {
    "axial": ((0, False), (1, False), (2, True)),
    "coronal": ((0, False), (2, True), (1, False)),
    "sagittal": ((1, False), (2, True), (0, False)),
}
EDGES = {
    "axial": {"left": "R", "right": "L", "top": "A", "bottom": "P"},
    "coronal": {"left": "R", "right": "L", "top": "H", "bottom": "F"},
    "sagittal": {"left": "A", "right": "P", "top": "H", "bottom": "F"},
}


class Plane(Screen):
    """One plane of a volume."""

    def __init__(self, page: Page, name: str) -> None:
        super().__init__(page)
        self.name = name
        self.pane = page.locator(f'[data-plane="{name}"]')
        self.surface = self.pane.locator(".surface")

    def pixels(self) -> NDArray[np.int16]:
        """(height, width, 3) of its canvas."""
        coded = self.surface.locator("canvas").evaluate("canvas => canvas.toDataURL('image/png')")
        picture = Image.open(io.BytesIO(base64.b64decode(coded.split(",")[1]))).convert("RGB")
        return np.asarray(picture).astype(np.int16)

    def go_to(self, number: int) -> None:
        """To a plane by its number in the order of scrolling, from 1."""
        self.pane.get_by_role("slider").fill(str(number))
        expect(self.corner("br")).to_contain_text(f"{number}/")

    def expect_quality(self, quality: str) -> None:
        expect(self.surface).to_have_attribute("data-quality", quality)

    @property
    def number(self) -> int:
        return int(self.corner("br").inner_text().split()[-1].split("/")[0])


def planes(page: Page) -> dict[str, Plane]:
    return {name: Plane(page, name) for name in PLANES}


def open_planes(page: Page, server: Server, study: str) -> dict[str, Plane]:
    """Open a study and show its first stack in three planes."""
    page.goto(f"{server.url}/viewer/{study}")
    Screen(page).wait()
    page.keyboard.press("m")
    shown = planes(page)
    shown["axial"].pane.wait_for()
    return shown


def shows_blocks(name: str, block: int) -> Callable[[NDArray[np.int16]], bool]:
    """Whether a plane shows the blocks of the patient, the `block`-th layer in the order of scrolling."""
    (right, right_back), (down, down_back), (through, through_back) = LOOK[name]
    wide, high = COUNTS[right] * SPACING[right], COUNTS[down] * SPACING[down]

    def turned(place: int, back: bool) -> int:
        return BLOCKS - 1 - place if back else place

    def right_grey(column: int, row: int) -> float:
        place = {
            right: turned(column, right_back),
            down: turned(row, down_back),
            through: turned(block, through_back),
        }
        return block_value(place[0], place[1], place[2]) / TOP * 255

    def check(pixels: NDArray[np.int16]) -> bool:
        height, width = pixels.shape[:2]
        scale = min(width / wide, height / high)  # pixels of the screen for a mm
        for row in range(BLOCKS):
            for column in range(BLOCKS):
                x = width / 2 + (column + 0.5 - BLOCKS / 2) * wide / BLOCKS * scale
                y = height / 2 + (row + 0.5 - BLOCKS / 2) * high / BLOCKS * scale
                seen = pixels[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3]
                if np.abs(seen - right_grey(column, row)).max() > GREY:
                    return False
        return True

    return check


def middle_of(name: str, block: int) -> int:
    """Number, from 1, of a plane in the middle of the `block`-th layer in the order of scrolling."""
    count = COUNTS[LOOK[name][2][0]]
    return count * block // BLOCKS + count // (2 * BLOCKS)


def stored(server: Server, objects: Iterable[BuiltInstance], *, settled: bool = False) -> str:
    built = list(objects)
    for start in range(0, len(built), 40):
        server.stow(built[start : start + 40])
    if settled:
        server.run("settle", built[0].study_uid)
    return built[0].study_uid


# --- which side is which --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recorded", "settled"),
    [
        *((recorded, False) for recorded in RECORDED),
        ("axial", True),
        ("coronal, upside down", True),
    ],
)
def test_each_plane_shows_what_lies_there_in_the_patient(
    server: Server, desktop: Page, recorded: str, settled: bool
) -> None:
    """However it was recorded: every block where it lies, and the letters of the sides beside it."""
    rows, columns = RECORDED[recorded]
    recording = Recording(rows, columns, seed=int(settled))
    shown = open_planes(desktop, server, stored(server, recording.slices(), settled=settled))
    for name, plane in shown.items():
        assert plane.edges() == EDGES[name]
        for block in range(BLOCKS):
            plane.go_to(middle_of(name, block))
            plane.until(shows_blocks(name, block))
        plane.expect_quality("final")


@pytest.fixture(scope="module")
def blocks(server: Server) -> str:
    """Study UID of an axial recording."""
    return stored(server, Recording(LEFT, BACK, seed=7).slices())


def test_the_position_is_that_in_the_patient(server: Server, desktop: Page, blocks: str) -> None:
    """From the positions of the slices; the thickness in the header is another."""
    shown = open_planes(desktop, server, blocks)
    for name, first, second in (
        ("axial", "H 33.0 mm", "H 30.0 mm"),
        ("coronal", "P 12.5 mm", "P 13.8 mm"),
        ("sagittal", "R 40.0 mm", "R 39.0 mm"),
    ):
        shown[name].go_to(1)
        expect(shown[name].corner("br")).to_contain_text(first)
        shown[name].go_to(2)
        expect(shown[name].corner("br")).to_contain_text(second)


def test_planes_meet_where_one_points(server: Server, desktop: Page, blocks: str) -> None:
    """A point at the patient's right and back in the axial plane moves the other two there."""
    shown = open_planes(desktop, server, blocks)
    box = shown["axial"].surface.bounding_box()
    assert box is not None
    scale = min(box["width"] / (COUNTS[0] * SPACING[0]), box["height"] / (COUNTS[1] * SPACING[1]))
    # The middle of the voxel that is the 9th from the right and the 41st from the front.
    x = box["x"] + box["width"] / 2 + (8.5 - COUNTS[0] / 2) * SPACING[0] * scale
    y = box["y"] + box["height"] / 2 + (40.5 - COUNTS[1] / 2) * SPACING[1] * scale
    before = shown["axial"].number
    desktop.mouse.click(x, y)
    expect(shown["sagittal"].corner("br")).to_contain_text("9/64")
    expect(shown["coronal"].corner("br")).to_contain_text("41/48")
    assert shown["axial"].number == before
    shown["sagittal"].until(shows_blocks("sagittal", 0))
    shown["coronal"].until(shows_blocks("coronal", 3))
    # The lines cross under the pointer: the first is upright, the second level.
    upright, level = (
        [float(number) for number in re.findall(r"[\d.]+", line.get_attribute("d") or "")]
        for line in shown["axial"].pane.locator(".crosshair path").all()
    )
    assert upright[0] == pytest.approx(x - box["x"], abs=1)
    assert level[1] == pytest.approx(y - box["y"], abs=1)


def test_each_plane_scrolls_and_zooms_by_itself(server: Server, desktop: Page, blocks: str) -> None:
    shown = open_planes(desktop, server, blocks)
    for name, plane in shown.items():
        before = {other: seen.number for other, seen in shown.items()}
        plane.surface.hover()
        desktop.mouse.wheel(0, 100)
        expect(plane.corner("br")).to_contain_text(f"{before[name] + 1}/")
        assert {other: seen.number for other, seen in shown.items()} == {
            **before, name: before[name] + 1,
        }  # fmt: skip
    zooms = {name: plane.corner("br").inner_text().split("%")[0] for name, plane in shown.items()}
    shown["coronal"].surface.hover()
    desktop.keyboard.down("Control")
    desktop.mouse.wheel(0, -200)
    desktop.keyboard.up("Control")
    expect(shown["coronal"].corner("br")).not_to_contain_text(zooms["coronal"])
    assert shown["axial"].corner("br").inner_text().startswith(zooms["axial"])
    assert shown["sagittal"].corner("br").inner_text().startswith(zooms["sagittal"])


def test_brightness_is_common_and_the_stack_goes_on_with_it(
    server: Server, desktop: Page, blocks: str
) -> None:
    shown = open_planes(desktop, server, blocks)
    desktop.keyboard.press("w")
    box = shown["coronal"].surface.bounding_box()
    assert box is not None
    desktop.mouse.move(box["x"] + 200, box["y"] + 150)
    desktop.mouse.down()
    desktop.mouse.move(box["x"] + 260, box["y"] + 150, steps=4)
    desktop.mouse.up()
    window = re.search(r"W [\d.]+ L [\d.]+", shown["coronal"].corner("br").inner_text())
    assert window is not None
    assert window[0] != "W 1009 L 505"
    for plane in shown.values():
        expect(plane.corner("br")).to_contain_text(window[0])
    shown["axial"].go_to(5)
    desktop.keyboard.press("m")
    expect(desktop.locator("[data-plane]")).to_have_count(0)
    screen = Screen(desktop)
    expect(screen.corner("br")).to_contain_text("5/32")
    expect(screen.corner("br")).to_contain_text(window[0])


def test_keys_go_to_the_active_plane_and_back_to_the_stack(
    server: Server, desktop: Page, blocks: str
) -> None:
    shown = open_planes(desktop, server, blocks)
    desktop.keyboard.press("Home")
    expect(shown["axial"].corner("br")).to_contain_text("1/32")
    desktop.keyboard.press("ArrowRight")
    desktop.keyboard.press("End")
    expect(shown["coronal"].corner("br")).to_contain_text("48/48")
    desktop.get_by_role("button", name="1x1").click()
    screen = Screen(desktop)
    expect(screen.corner("br")).to_contain_text("1/32")
    desktop.keyboard.press("ArrowDown")
    expect(screen.corner("br")).to_contain_text("2/32")


# --- what is no volume ----------------------------------------------------------------------------

TILTED = Recording(LEFT, BACK, shear=0.8)
WITH_A_GAP = Recording(LEFT, BACK, without=frozenset({20}))
REFUSED: dict[str, tuple[Callable[[], Iterable[BuiltInstance]], str]] = {
    "tilted gantry": (TILTED.slices, "tilted by 14.9°"),
    "missing slice": (WITH_A_GAP.slices, "A slice is missing after image 11."),
    "uneven": (
        lambda: a_study("MPR-UNEVEN").with_series(
            "CT", instances=4,
            each=lambda n: {"ImagePositionPatient": [0, 0, 2.0 * n + 0.3 * (n // 3)]},
        ).objects(),
        "not evenly spaced: 2 to 2.3 mm",
    ),
    "one slice": (lambda: a_study("MPR-ONE").with_series("CT").objects(), "one slice only"),
    "colour": (
        lambda: a_study("MPR-COLOUR").with_series("OT", instances=3, colour=True).objects(),
        "in colour",
    ),
    "rescale": (
        lambda: a_study("MPR-RESCALE").with_series(
            "CT", instances=4, each=lambda n: {"RescaleSlope": 1 + n % 2}
        ).objects(),
        "scaled differently",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_volume_says_why(server: Server, desktop: Page, kind: str) -> None:
    objects, why = REFUSED[kind]
    desktop.goto(f"{server.url}/viewer/{stored(server, objects())}")
    screen = Screen(desktop).wait()
    desktop.get_by_role("button", name="MPR", exact=True).click()
    notice = desktop.get_by_role("status").filter(has_text="cannot be shown in three planes")
    expect(notice).to_contain_text(why)
    assert desktop.locator("[data-plane]").count() == 0
    desktop.get_by_role("button", name="Back to the images").click()
    expect(screen.pane).to_be_visible()


# --- filling --------------------------------------------------------------------------------------


class Held:
    """Frames that the page asks for, kept back until they are let go."""

    def __init__(self, page: Page) -> None:
        self.asked: list[str] = []
        self._held: list[Route] = []
        self._allowed: Callable[[str], bool] = lambda _url: False
        page.route(FRAMES, self._arrived)

    def let_go(self, allowed: Callable[[str], bool] = lambda _url: True) -> None:
        """Those whose address is allowed, now and from now on."""
        self._allowed = allowed
        waiting, self._held = self._held, []
        for route in waiting:
            self._pass(route)

    def _arrived(self, route: Route) -> None:
        self.asked.append(route.request.url)
        self._pass(route)

    def _pass(self, route: Route) -> None:
        if not self._allowed(route.request.url):
            self._held.append(route)
            return
        with suppress(Error):  # given up by the page in the meantime
            route.continue_()


def a_thorax(patient: str) -> list[BuiltInstance]:
    """Slices from head to feet, as they are shown."""
    case = Case(seed=31, patient_id=patient, accession=patient)
    return list(ct_thorax(case, slices=SLICES, matrix=256))[::-1]


@pytest.fixture(scope="module")
def thorax(server: Server) -> list[BuiltInstance]:
    """A settled CT."""
    objects = a_thorax("MPR-THORAX")
    stored(server, objects, settled=True)
    return objects


def waiting_for(right: Callable[[], bool], page: Page) -> None:
    deadline = time.monotonic() + SCREEN_SECONDS
    while not right():
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


def test_the_volume_is_a_preview_until_every_slice_is_final(
    server: Server, desktop: Page, thorax: list[BuiltInstance]
) -> None:
    held = Held(desktop)
    shown = open_planes(desktop, server, thorax[0].study_uid)
    for name, plane in shown.items():
        plane.expect_quality("coarse")
        expect(plane.pane.locator(".preview-frame")).to_be_visible()
        mark = plane.pane.locator(".mark-warn")
        count = "PREVIEW 1/" if name == "axial" else f"PREVIEW · 0 of {SLICES} slices final"
        expect(mark).to_contain_text(count)
    # All levels of all slices came in one answer: nothing of the planes is black.
    coarse = {name: plane.pixels() for name, plane in shown.items()}
    assert all(picture.std() > 20 for picture in coarse.values())

    # One slice makes the plane final in which it lies, and no other.
    here = thorax[shown["axial"].number - 1].sop_uid
    held.let_go(lambda url: here in url)
    shown["axial"].expect_quality("final")
    expect(shown["axial"].pane.locator(".preview-frame")).to_have_count(0)
    for name in ("coronal", "sagittal"):
        expect(
            shown[name].pane.get_by_text(f"PREVIEW · 1 of {SLICES} slices final")
        ).to_be_visible()
        expect(shown[name].pane.locator(".preview-frame")).to_be_visible()

    held.let_go()
    for name, plane in shown.items():
        plane.expect_quality("final")
        expect(plane.pane.locator(".preview-frame")).to_have_count(0)
        final = plane.pixels()
        # The preview lay where the volume lies: any shift makes them less alike.
        there = np.abs(coarse[name] - final).mean()
        for axis in (0, 1):
            for step in (-6, 6):
                assert there < np.abs(np.roll(coarse[name], step, axis) - final).mean(), name


def test_slices_come_from_the_shown_one_outward_and_a_jump_gives_up_the_rest(
    server: Server, desktop: Page, thorax: list[BuiltInstance]
) -> None:
    place = {built.sop_uid: number for number, built in enumerate(thorax, start=1)}
    given_up: list[str] = []
    desktop.on("requestfailed", lambda r: given_up.append(r.url) if FRAMES.search(r.url) else None)
    held = Held(desktop)
    shown = open_planes(desktop, server, thorax[0].study_uid)
    shown["coronal"].expect_quality("coarse")

    def asked() -> list[int]:
        return [number for url in held.asked for sop, number in place.items() if sop in url]

    waiting_for(lambda: len(asked()) >= 4, desktop)
    start = shown["axial"].number
    assert set(asked()) <= set(range(start - 3, start + 4))
    before = list(held.asked)
    desktop.keyboard.press("End")
    expect(shown["axial"].corner("br")).to_contain_text(f"{SLICES}/{SLICES}")
    waiting_for(lambda: set(given_up) == set(before), desktop)
    waiting_for(lambda: len(asked()) >= len(before) + 4, desktop)
    assert set(asked()[len(before) :]) <= set(range(SLICES - 6, SLICES + 1))
    held.let_go()
    for plane in shown.values():
        plane.expect_quality("final")


def test_an_unsettled_series_fills_without_a_preview(server: Server, desktop: Page) -> None:
    """Frame by frame from the middle, where nobody has scrolled yet."""
    objects = a_thorax("MPR-ARRIVING")
    study = stored(server, objects)
    held = Held(desktop)
    # The first, which the stack shows, and those around the middle.
    here = {built.sop_uid for built in (objects[0], *objects[15:46])}
    held.let_go(lambda url: any(sop in url for sop in here))
    shown = open_planes(desktop, server, study)
    shown["axial"].expect_quality("final")
    coronal = shown["coronal"]
    expect(coronal.pane.get_by_text(f"{len(here)} of {SLICES} slices final")).to_be_visible()
    coronal.expect_quality("coarse")
    expect(coronal.pane.locator(".preview-frame")).to_be_visible()

    def black_where_nothing_is(pixels: NDArray[np.int16]) -> bool:
        """Between the first slice and those of the middle, and below these: nothing is guessed."""
        grey = pixels.mean(axis=2)
        head, neck, waist, feet = (round(part * len(grey)) for part in (0.05, 0.22, 0.3, 0.78))
        there = grey[waist:-waist].max() > 100
        return bool(there and grey[head:neck].max() == 0 and grey[feet:].max() == 0)

    coronal.until(black_where_nothing_is)
    held.let_go()
    coronal.expect_quality("final")
    coronal.until(lambda pixels: not black_where_nothing_is(pixels))


def test_slices_that_do_not_come_are_said_and_asked_for_again(
    server: Server, desktop: Page, watched: Watched
) -> None:
    objects = a_study("MPR-LOST").with_series("CT", instances=6).objects()
    study = stored(server, objects)
    lost = [built.sop_uid for built in objects[:2]]
    gone = True

    def answer(route: Route) -> None:
        if gone and any(sop in route.request.url for sop in lost):
            route.fulfill(status=404, body="")
        else:
            route.continue_()

    desktop.route(FRAMES, answer)
    watched.server_gone = True  # the browser reports what does not come
    shown = open_planes(desktop, server, study)
    expect(desktop.get_by_text("2 slices could not be loaded.")).to_be_visible()
    shown["coronal"].expect_quality("coarse")
    expect(shown["coronal"].pane.get_by_text("4 of 6 slices final")).to_be_visible()
    gone = False
    desktop.get_by_role("button", name="Try again").click()
    shown["coronal"].expect_quality("final")
    expect(desktop.get_by_text("could not be loaded")).to_have_count(0)


# --- phone ----------------------------------------------------------------------------------------


def test_a_phone_shows_one_plane_at_a_time(server: Server, phone: Page, blocks: str) -> None:
    phone.goto(f"{server.url}/viewer/{blocks}")
    Screen(phone).wait()
    phone.get_by_role("button", name="MPR", exact=True).click()
    shown = planes(phone)
    switch = phone.get_by_role("group", name="Plane")
    for name in ("axial", "coronal", "sagittal"):
        switch.get_by_role("button", name=name.capitalize()).click()
        for other, plane in shown.items():
            expect(plane.pane).to_be_visible(visible=other == name)
        shown[name].go_to(middle_of(name, 1))
        box = shown[name].surface.bounding_box()
        assert box is not None
        assert box["width"] <= 390
        shown[name].expect_quality("final")
        shown[name].until(shows_blocks(name, 1))
    # A finger scrolls.
    expect(phone.get_by_role("button", name="Scroll")).to_have_attribute("aria-pressed", "true")


def test_a_phone_is_not_asked_for_a_volume_that_does_not_fit(
    server: Server, phone: Page, watched: Watched
) -> None:
    """Four slices that say that they are 9000 x 9000."""
    study = stored(server, a_study("MPR-LARGE").with_series("CT", instances=4).objects())

    def enlarge(route: Route) -> None:
        answer = route.fetch()
        instances = answer.json()
        for instance in instances:
            instance["00280010"]["Value"] = instance["00280011"]["Value"] = [9000]
        route.fulfill(response=answer, json=instances)

    watched.server_gone = True  # the browser reports the preview that is not there
    phone.route(re.compile(r"/preview\?"), lambda route: route.fulfill(status=404, body=""))
    phone.route(re.compile(r"/metadata$"), enlarge)
    phone.goto(f"{server.url}/viewer/{study}")
    phone.get_by_role("button", name="MPR", exact=True).click()
    said = "It needs 618 MB of memory; on this device a volume may take 192 MB."
    notice = phone.get_by_role("status").filter(has_text="cannot be shown in three planes")
    expect(notice).to_contain_text(said)
    assert phone.locator("[data-plane]").count() == 0
