"""On a phone, by keyboard, by screen reader: the parts of it that a machine can check."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from lightwell.testing.builders import a_study
from tests.browser.conftest import Screen, Server

#: Names of controls as assistive technology hears them, and their size in CSS pixels. `textContent`:
#: the `innerText` of what `content-visibility` has not drawn yet is empty.
CONTROLS = """() => [...document.querySelectorAll('button, a[href], input, select, summary')]
  .filter(e => e.checkVisibility({ visibilityProperty: true }))
  .map(e => ({
    what: e.outerHTML.slice(0, 120),
    name: (e.getAttribute('aria-label') || e.textContent || e.title
           || [...(e.labels || [])].map(l => l.textContent).join(' ')).trim(),
    width: e.getBoundingClientRect().width,
    height: e.getBoundingClientRect().height,
  }))"""

#: What shows that the focus is here: an outline or a ring, and the element's tag.
FOCUS = """() => {
  const e = document.activeElement, s = getComputedStyle(e);
  return { tag: e.tagName, ring: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0 };
}"""

#: Text and ground of every visible text, as [r, g, b, a] each.
CONTRAST = """() => {
  const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const ground = e => {
    for (let at = e; at; at = at.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(at).backgroundColor);
      if (a > 0.99) return [r, g, b];
    }
    return [0, 0, 0];
  };
  return [...document.querySelectorAll('span, p, h2, button, a, dt, dd')]
    .filter(e => e.checkVisibility({ visibilityProperty: true }) && !e.closest('[aria-hidden], [disabled]')
      && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
    .map(e => ({ text: e.innerText.slice(0, 30), ink: parse(getComputedStyle(e).color),
                 ground: ground(e) }));
}"""


def luminance(colour: list[float]) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [c / 255 for c in colour[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(ink: list[float], ground: list[float]) -> float:
    """Contrast ratio (WCAG 2.2, 1.4.3)."""
    light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.fixture(scope="module")
def study(server: Server) -> str:
    """Study UID of a CT with two series."""
    made = a_study("ACCESS-1", name="Access^Ada").with_series(
        "CT", instances=4, rows=64, columns=64
    )
    made = made.with_series("CT", instances=2, rows=64, columns=64)
    server.stow(made.each())
    return made.study_uid


def open_list(page: Page, server: Server) -> None:
    """The list with its first row."""
    page.goto(server.url)
    page.locator("[data-study-uid]").first.wait_for()


def open_viewer(page: Page, server: Server, uid: str) -> None:
    """The viewer with an image."""
    page.goto(f"{server.url}/viewer/{uid}")
    Screen(page).wait()


def check_controls(page: Page) -> list[dict[str, Any]]:
    """Every control has a name. Returns them."""
    controls: list[dict[str, Any]] = page.evaluate(CONTROLS)
    assert len(controls) > 4
    assert [c["what"] for c in controls if not c["name"]] == []
    return controls


def check_contrast(page: Page) -> None:
    """Every text is readable on its ground."""
    texts = page.evaluate(CONTRAST)
    assert len(texts) > 4
    poor = [t for t in texts if contrast(t["ink"], t["ground"]) < 4.5]
    assert poor == []


def test_names_and_contrast_of_the_list(server: Server, desktop: Page, study: str) -> None:
    open_list(desktop, server)
    check_controls(desktop)
    check_contrast(desktop)
    assert desktop.evaluate("document.documentElement.lang") == "en"
    desktop.get_by_role("button", name="About").click()
    expect(desktop.get_by_text("Not for primary diagnosis")).to_be_visible()


def test_names_and_contrast_of_the_viewer(server: Server, desktop: Page, study: str) -> None:
    open_viewer(desktop, server, study)
    check_controls(desktop)
    check_contrast(desktop)
    expect(desktop.get_by_role("contentinfo")).to_have_text("Not a cleared medical device")


@pytest.mark.parametrize("screen", ["list", "viewer"])
def test_the_focus_is_seen_and_goes_everywhere(
    server: Server, desktop: Page, study: str, screen: str
) -> None:
    if screen == "list":
        open_list(desktop, server)
    else:
        open_viewer(desktop, server, study)
    reached = set()
    for _ in range(16):
        desktop.keyboard.press("Tab")
        focus = desktop.evaluate(FOCUS)
        if focus["tag"] == "BODY":
            break
        assert focus["ring"], desktop.evaluate("document.activeElement.outerHTML")
        reached.add(focus["tag"])
    assert {"BUTTON"} < reached


def test_list_and_viewer_on_a_phone(server: Server, phone: Page, study: str) -> None:
    open_list(phone, server)
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not phone.evaluate(wide)
    phone.locator(f'[data-study-uid="{study}"]').tap()
    screen = Screen(phone).wait()
    screen.until(lambda pixels: bool(pixels.max() > 100))
    assert not phone.evaluate(wide)
    assert all(c["height"] >= 24 for c in check_controls(phone) if c["width"] > 0)
    screen.pane.get_by_role("slider", name="Image").fill("3")
    expect(screen.corner("br")).to_contain_text("3/4")


def test_series_of_a_phone_come_in_a_sheet(server: Server, phone: Page, study: str) -> None:
    open_viewer(phone, server, study)
    second = phone.get_by_role("button").filter(has_text="CT series 2")
    expect(second).not_to_be_in_viewport()
    phone.get_by_role("button", name="Series", exact=True).tap()
    expect(second).to_be_in_viewport()
    second.tap()
    expect(Screen(phone).corner("bl")).to_contain_text("CT series 2")
    expect(second).not_to_be_in_viewport()
