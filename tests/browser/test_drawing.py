"""Two ways of drawing, one picture: WebGL (Cornerstone3D) and software show the same of the same images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext, Page

from lightwell.testing.builders import BuiltInstance, StudyBuilder, a_study
from lightwell.testing.phantoms import Case, cr_chest, ct_thorax, us_cine
from tests.browser.conftest import Screen, Server, draw_by
from tests.browser.test_viewer import a_grey_ct

LEVELS = (
    6  # of 255, that a pixel beside an edge may differ: one interpolates values, the other greys
)
EXACT = 2  # levels for nearly all of them

OpenContext = Callable[..., BrowserContext]


@pytest.fixture
def drawn(open_context: OpenContext, server: Server) -> Callable[..., list[NDArray[np.int16]]]:
    """The picture of a study by each way, after the same keys."""

    def shown(page: Page, study: str, keys: str) -> NDArray[np.int16]:
        page.goto(f"{server.url}/viewer/{study}")
        screen = Screen(page).wait()
        page.locator('.surface[data-quality="final"]').wait_for()
        for key in keys:
            page.keyboard.press(key)
        page.wait_for_function(
            "() => document.querySelector('.surface').dataset.quality === 'final'"
        )
        # Without what is written over the image: letters are drawn by the browser in both.
        return screen.pixels()

    def both(study: str, keys: str = "") -> list[NDArray[np.int16]]:
        pictures = []
        for means in ("gl", "canvas"):
            context = open_context(viewport={"width": 900, "height": 700})
            draw_by(context, means)
            page = context.new_page()
            pictures.append(shown(page, study, keys))
            canvas = page.locator(".surface canvas").first.get_attribute("class") or ""
            assert ("software-canvas" in canvas) == (means == "canvas")
        return pictures

    return both


def same(pictures: list[NDArray[np.int16]]) -> None:
    difference = np.abs(pictures[0] - pictures[1]).max(axis=2)
    assert pictures[0].std() > 10, "nothing is on the screen"
    # Which pixels of the screen an edge still covers is rounded in two ways; everything else is equal. Moved
    # by half a pixel, mirrored or of another window, a fifth of them and more would differ.
    assert (difference <= EXACT).mean() > 0.997


def stored(server: Server, objects: list[BuiltInstance]) -> str:
    server.stow(objects)
    return objects[0].study_uid


@pytest.mark.parametrize("keys", ["", "s", "h", "r", "vr", "i", "2", "+++", "o"])
def test_a_ct_is_the_same(
    server: Server, drawn: Callable[..., list[NDArray[np.int16]]], keys: str
) -> None:
    """Smooth or not, mirrored, turned, inverted, another window, enlarged, one to one."""
    study = stored(server, list(ct_thorax(Case(patient_id="DRAW-CT"), slices=1, matrix=256)))
    same(drawn(study, keys))


def test_blocks_of_sixteen_greys_are_the_same(
    server: Server, drawn: Callable[..., list[NDArray[np.int16]]]
) -> None:
    same(drawn(stored(server, a_grey_ct("DRAW-GREY", 1).objects()), "s"))


@pytest.mark.parametrize(
    ("name", "objects"),
    [
        ("a radiograph, MONOCHROME1, made smaller",
         lambda: list(cr_chest(Case(patient_id="DRAW-CR"), rows=1250, columns=1024))),
        ("a colour film", lambda: list(us_cine(Case(patient_id="DRAW-US"), frames=2, rows=240, columns=320))),
    ],
)  # fmt: skip
def test_other_pictures_are_the_same(
    server: Server,
    drawn: Callable[..., list[NDArray[np.int16]]],
    name: str,
    objects: Callable[[], list[BuiltInstance]],
) -> None:
    same(drawn(stored(server, objects())))


def test_a_table_and_a_sigmoid_are_the_same(
    server: Server, drawn: Callable[..., list[NDArray[np.int16]]]
) -> None:
    def series(**more: object) -> StudyBuilder:
        return a_study("DRAW-LUT", seed=len(more) + 40).with_series(
            "CT", instances=1, rows=64, columns=64, bits_stored=12, **more
        )

    same(
        drawn(
            stored(
                server,
                series(VOILUTFunction="SIGMOID", WindowCenter=2048, WindowWidth=900).objects(),
            ),
            "s",
        )
    )
