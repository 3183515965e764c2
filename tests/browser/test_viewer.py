"""The picture on the screen against computed truth: greys, colours, sides of the patient, order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, expect

from lightwell.testing.builders import Shape, StudyBuilder, a_study
from lightwell.testing.orientation import OrientationPhantom, orientation_phantoms
from lightwell.testing.phantoms import Case, ct_thorax
from tests.browser.conftest import Screen, Server, fit, patch

GREY = 2.0  # levels of 255 that rounding and drawing may cost
BLOCK = 16  # image pixels of one block of the grey phantom
HOUNSFIELD = np.array(
    [[-1000, -900, -800, -700], [-600, -400, -200, -120],
     [-60, 0, 40, 60], [120, 200, 400, 1500]]
)  # fmt: skip
SLICES = 5
#: Centre and width of the presets, by key, as the about panel names them.
PRESETS = {"1": (40, 400), "2": (-600, 1500), "3": (90, 150), "4": (480, 2500), "5": (40, 80)}


def grey_of(value: float, centre: float, width: float) -> float:
    """PS3.3 C.11.2.1.2.1, output 0 to 255."""
    return float(np.clip((value - (centre - 0.5)) / (width - 1) + 0.5, 0, 1) * 255)


def grey_blocks(_shape: Shape, _rng: np.random.Generator) -> NDArray[np.generic]:
    """4 x 4 blocks of known Hounsfield units, with an intercept of -1024."""
    stored = np.kron(HOUNSFIELD + 1024, np.ones((BLOCK, BLOCK), int))
    return stored[None].astype("<u2")


def a_grey_ct(patient: str, slices: int = SLICES) -> StudyBuilder:
    """A CT of grey blocks, its slices numbered against their order in space."""
    return a_study(patient, name="Grey^Blocks").with_series(
        "CT",
        instances=slices,
        rows=64,
        columns=64,
        bits_stored=12,
        pixels=grey_blocks,
        each=lambda n: {
            "ImagePositionPatient": [0, 0, 5.0 * n],
            "InstanceNumber": slices - n,
            "SliceLocation": 5.0 * n,
        },
    )


def shows_blocks(
    centre: float, width: float, turn: Callable[[Any], Any] = lambda blocks: blocks
) -> Callable[[NDArray[np.int16]], bool]:
    """Whether the pixels are the blocks under this window, after a flip or turn of the whole."""
    expected = turn(HOUNSFIELD)

    def right(pixels: NDArray[np.int16]) -> bool:
        scale = fit(pixels, 64, 64) * BLOCK
        for row in range(4):
            for column in range(4):
                seen = patch(pixels, (column - 1.5) * scale, (row - 1.5) * scale)
                wanted = grey_of(float(expected[row, column]), centre, width)
                if np.abs(seen - wanted).max() > GREY:
                    return False
        return True

    return right


@pytest.fixture(scope="module")
def grey_ct(server: Server) -> str:
    """Study UID of the grey blocks."""
    study = a_grey_ct("GREY-1")
    server.stow(study.each())
    return study.study_uid


def view(page: Page, server: Server, study: str) -> Screen:
    """Open a study by its address."""
    page.goto(f"{server.url}/viewer/{study}")
    return Screen(page).wait()


def test_a_ct_is_on_the_screen(server: Server, desktop: Page) -> None:
    """Body in the middle, air around it, and far from one grey."""
    slices = list(ct_thorax(Case(patient_id="CT-1", accession="CT1"), slices=3, matrix=256))
    server.stow(slices)

    def right(pixels: NDArray[np.int16]) -> bool:
        grey = pixels.mean(axis=2)
        height, width = grey.shape
        middle = grey[height // 4 : -height // 4, width // 3 : -width // 3]
        air = patch(pixels, 0, -0.47 * height).max()
        return bool(air < 8 and middle.std() > 30 and 40 < middle.mean() < 220)

    view(desktop, server, slices[0].study_uid).until(right)


def test_greys_are_those_of_the_recorded_window(
    server: Server, desktop: Page, grey_ct: str
) -> None:
    screen = view(desktop, server, grey_ct)
    screen.until(shows_blocks(40, 400))
    expect(screen.corner("br")).to_contain_text("W 400 L 40 HU")


@pytest.mark.parametrize("key", PRESETS)
def test_greys_are_those_of_a_preset(server: Server, desktop: Page, grey_ct: str, key: str) -> None:
    screen = view(desktop, server, grey_ct)
    desktop.keyboard.press(key)
    centre, width = PRESETS[key]
    screen.until(shows_blocks(centre, width))
    expect(screen.corner("br")).to_contain_text(f"W {width} L {centre} HU")


def test_greys_turn_round_when_inverted_and_come_back(
    server: Server, desktop: Page, grey_ct: str
) -> None:
    screen = view(desktop, server, grey_ct)
    right = shows_blocks(40, 400)
    desktop.keyboard.press("i")
    screen.until(lambda pixels: right(255 - pixels))
    expect(screen.corner("br")).to_contain_text("inverted")
    desktop.keyboard.press("Space")
    screen.until(right)


def test_a_drag_changes_the_window(server: Server, desktop: Page, grey_ct: str) -> None:
    screen = view(desktop, server, grey_ct)
    box = screen.pane.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    desktop.mouse.move(x, y)
    desktop.mouse.down()
    desktop.mouse.move(x + 60, y, steps=5)
    desktop.mouse.up()
    expect(screen.corner("br")).not_to_contain_text("W 400 L 40")
    expect(screen.corner("br")).to_contain_text("L 40 HU")


def test_flips_and_turns_move_pixels_and_letters_together(
    server: Server, desktop: Page, grey_ct: str
) -> None:
    screen = view(desktop, server, grey_ct)
    steps: list[tuple[str, Callable[[Any], Any], str]] = [
        ("h", np.fliplr, "LRAP"),
        ("v", lambda b: np.flipud(np.fliplr(b)), "LRPA"),
        ("r", lambda b: np.rot90(np.flipud(np.fliplr(b)), -1), "APLR"),
    ]
    for key, turn, letters in steps:
        desktop.keyboard.press(key)
        screen.until(shows_blocks(40, 400, turn))
        assert screen.edges() == dict(zip(("left", "right", "top", "bottom"), letters, strict=True))
    expect(screen.corner("br")).to_contain_text("ROTATED")


def test_slices_are_in_the_order_of_space(server: Server, desktop: Page, grey_ct: str) -> None:
    """Instance numbers run the other way; what counts is the position, seen from the head down."""
    screen = view(desktop, server, grey_ct)
    seen = []
    for number in range(1, SLICES + 1):
        expect(screen.corner("br")).to_contain_text(f"{number}/{SLICES}")
        text = screen.corner("bl").inner_text()
        seen.append(float(text.split("Loc ")[1].split(" mm")[0]))
        desktop.keyboard.press("ArrowDown")
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {0.0, 5.0, 10.0, 15.0, 20.0}
    desktop.keyboard.press("Home")
    expect(screen.corner("br")).to_contain_text(f"1/{SLICES}")


def test_wheel_and_slider_scroll(server: Server, desktop: Page, grey_ct: str) -> None:
    screen = view(desktop, server, grey_ct)
    screen.pane.hover()
    desktop.mouse.wheel(0, 100)
    expect(screen.corner("br")).to_contain_text(f"2/{SLICES}")
    screen.pane.get_by_role("slider", name="Image").fill("4")
    expect(screen.corner("br")).to_contain_text(f"4/{SLICES}")


# --- which side is which --------------------------------------------------------------------------

PHANTOMS = {phantom.name: phantom for phantom in orientation_phantoms()}


@pytest.fixture(scope="module")
def oriented(server: Server) -> str:
    """Study UID of the 24 orientation phantoms."""
    server.stow(phantom.instance for phantom in PHANTOMS.values())
    return next(iter(PHANTOMS.values())).instance.study_uid


def brightness(phantom: OrientationPhantom) -> dict[str, float]:
    """Grey on the screen (window 500, 1000) of the ball in each direction."""
    plane = np.frombuffer(phantom.instance.dataset[-128 * 128 * 2 :], "<u2").reshape(128, 128)
    return {
        letter: grey_of(float(plane[round(row), round(column)]), 500, 1000)
        for letter, (row, column) in phantom.balls.items()
    }


def balls_lie_at(letters: dict[str, str], greys: dict[str, float]) -> Callable[..., bool]:
    """Whether the ball nearest to each edge is the one of the letter that stands there."""
    towards = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}

    def right(pixels: NDArray[np.int16]) -> bool:
        reach = 40 * fit(pixels, 128, 128)  # 60 mm at 1.5 mm a pixel
        for edge, (x, y) in towards.items():
            if abs(patch(pixels, x * reach, y * reach).mean() - greys[letters[edge]]) > GREY:
                return False
        return True

    return right


def test_letters_of_the_24_orientation_phantoms(
    server: Server, desktop: Page, oriented: str
) -> None:
    screen = view(desktop, server, oriented)
    strip = desktop.get_by_role("navigation", name="Series")
    for name, phantom in PHANTOMS.items():
        strip.get_by_role("button").filter(has_text=name).click()
        expect(screen.corner("bl")).to_contain_text(name)
        screen.wait()
        truth = {edge: getattr(phantom.edges, edge) for edge in ("left", "right", "top", "bottom")}
        assert screen.edges() == truth, name
        screen.until(balls_lie_at(truth, brightness(phantom)))


@pytest.mark.parametrize("keys", ["h", "v", "r", "rr", "hr", "rh", "vrrr"])
def test_letters_follow_every_flip_and_turn(
    server: Server, desktop: Page, oriented: str, keys: str
) -> None:
    """Whatever was pressed: the ball near an edge is that of the letter at the edge."""
    phantom = PHANTOMS["coronal LF"]
    screen = view(desktop, server, oriented)
    strip = desktop.get_by_role("navigation", name="Series")
    strip.get_by_role("button").filter(has_text=phantom.name).click()
    expect(screen.corner("bl")).to_contain_text(phantom.name)
    before = screen.wait().edges()
    for key in keys:
        desktop.keyboard.press(key)
    letters = screen.edges()
    assert letters != before
    screen.until(balls_lie_at(letters, brightness(phantom)))


def test_four_viewports_at_once(server: Server, desktop: Page, oriented: str) -> None:
    view(desktop, server, oriented)
    desktop.get_by_role("button", name="2x2").click()
    names = []
    for pane in range(4):
        screen = Screen(desktop, pane).wait()
        names.append(screen.corner("bl").inner_text())
        screen.until(lambda pixels: bool(pixels.max() > 100))
    assert len(set(names)) == 4
    for pane in range(1, 4):
        desktop.keyboard.press("ArrowRight")
        expect(desktop.locator("[data-pane][data-active]")).to_have_attribute(
            "data-pane", str(pane)
        )


# --- films and colours ----------------------------------------------------------------------------

COLOURS = np.array(
    [[[200, 30, 30], [30, 200, 30]], [[30, 30, 200], [128, 128, 128]]], np.uint8
)  # (2, 2, rgb)
FRAMES = 8


def colour_film(_shape: Shape, _rng: np.random.Generator) -> NDArray[np.generic]:
    """Four colours that change places with every frame."""
    frames = [np.roll(COLOURS.reshape(4, 3), n, axis=0).reshape(2, 2, 3) for n in range(FRAMES)]
    return np.stack([np.kron(f, np.ones((32, 32, 1), np.uint8)) for f in frames])


@pytest.fixture(scope="module")
def film(server: Server) -> str:
    """Study UID of a colour ultrasound film."""
    study = a_study("FILM-1", name="Colour^Film").with_series(
        "US",
        frames=FRAMES,
        rows=64,
        columns=64,
        colour=True,
        pixels=colour_film,
        FrameTime=120.0,
        FrameIncrementPointer=0x00181063,
    )
    server.stow(study.each())
    return study.study_uid


def shows_colours(frame: int) -> Callable[[NDArray[np.int16]], bool]:
    """Whether the four quadrants have the colours of this frame (from 0)."""
    wanted = np.roll(COLOURS.reshape(4, 3), frame, axis=0).reshape(2, 2, 3)

    def right(pixels: NDArray[np.int16]) -> bool:
        step = fit(pixels, 64, 64) * 16
        return all(
            np.abs(
                patch(pixels, (2 * column - 1) * step, (2 * row - 1) * step) - wanted[row, column]
            ).max()
            <= GREY
            for row in range(2)
            for column in range(2)
        )

    return right


def test_a_film_in_its_colours(server: Server, desktop: Page, film: str) -> None:
    screen = view(desktop, server, film)
    for frame in range(3):
        expect(screen.corner("br")).to_contain_text(f"{frame + 1}/{FRAMES}")
        screen.until(shows_colours(frame))
        desktop.keyboard.press("ArrowDown")
    expect(screen.corner("br")).to_contain_text("Colour")


def test_cine_plays_and_stops(server: Server, desktop: Page, film: str) -> None:
    screen = view(desktop, server, film)
    play = desktop.get_by_role("button", name="Play", exact=True)
    play.click()
    seen: set[str] = set()
    for _ in range(200):
        seen.add(screen.corner("br").inner_text().split()[-1])
        if len(seen) > 2:
            break
        desktop.wait_for_timeout(50)  # watching a film is a matter of time
    assert len(seen) > 2
    desktop.get_by_role("button", name="Stop", exact=True).click()
    still = screen.corner("br").inner_text().split()[-1]
    screen.until(shows_colours(int(still.split("/")[0]) - 1))
    desktop.wait_for_timeout(500)
    assert screen.corner("br").inner_text().split()[-1] == still
