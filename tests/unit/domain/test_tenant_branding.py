"""How a tenant may look: which accents can be read on the dark pages, what a notice may hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lightwell.domain.tenants.branding import (
    GROUNDS,
    LEAST_CONTRAST,
    NOTICE_LIMIT,
    checked_accent,
    checked_notice,
    contrast,
    luminance,
)
from lightwell.domain.tenants.model import checked_zone
from lightwell.kernel.errors import Invalid

TOKENS = Path(__file__).resolve().parents[3] / "web" / "src" / "ui" / "tokens.css"


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("#000000", "#ffffff", 21.0),
        ("#ffffff", "#ffffff", 1.0),
        ("#777777", "#ffffff", 4.48),  # the grey that just fails
        ("#767676", "#ffffff", 4.54),  # and the one that just does not
        ("#ff0000", "#ffffff", 4.0),
        ("#00ff00", "#000000", 15.3),
        ("#0000ff", "#000000", 2.44),
    ],
)
def test_contrast_as_wcag_defines_it(one: str, other: str, ratio: float) -> None:
    assert contrast(one, other) == pytest.approx(ratio, abs=0.005)
    assert contrast(other, one) == contrast(one, other)


def test_luminance_goes_from_black_to_white() -> None:
    assert luminance("#000000") == 0.0
    assert luminance("#ffffff") == pytest.approx(1.0)
    assert luminance("#0a0a0a") == pytest.approx(0.003035, abs=1e-6)  # below the bend of the curve


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("", ""),
        ("   ", ""),
        ("#5fb3ce", "#5fb3ce"),
        (" #5FB3CE ", "#5fb3ce"),
        ("#ffffff", "#ffffff"),
        ("#ff5722", "#ff5722"),
    ],
)
def test_accents_that_are_taken(said: str, kept: str) -> None:
    assert checked_accent(said) == kept


@pytest.mark.parametrize(
    ("accent", "ratio"), [("#000000", "1.09"), ("#0000ff", "1.90"), ("#1565c0", "2.85")]
)
def test_an_accent_that_is_too_dark_is_refused_with_its_ratio(accent: str, ratio: str) -> None:
    with pytest.raises(Invalid, match=re.escape(f"{ratio} : 1")) as refused:
        checked_accent(accent)
    assert "lighter" in (refused.value.remedy or "")


def test_where_the_line_is() -> None:
    """The darkest grey that is taken is readable on each ground; one step darker is not on one of them."""
    taken = [n for n in range(256) if _is_taken(f"#{n:02x}{n:02x}{n:02x}")]
    assert taken == list(range(taken[0], 256))
    for ground in GROUNDS:
        assert contrast(f"#{taken[0]:02x}" + f"{taken[0]:02x}" * 2, ground) >= LEAST_CONTRAST
    darker = f"#{taken[0] - 1:02x}" + f"{taken[0] - 1:02x}" * 2
    assert min(contrast(darker, ground) for ground in GROUNDS) < LEAST_CONTRAST


def _is_taken(colour: str) -> bool:
    try:
        return bool(checked_accent(colour))
    except Invalid:
        return False


@pytest.mark.parametrize(
    "text",
    [
        "5fb3ce",
        "#fff",
        "#5fb3ce00",
        "red",
        "#5fb3cg",
        "#5fb3ce;color:red",
        "url(#5fb3ce)",
        "#５fb3ce",
    ],
)
def test_d12_what_is_no_accent(text: str) -> None:
    with pytest.raises(Invalid, match="like #5fb3ce"):
        checked_accent(text)


def test_the_grounds_are_those_of_the_web_app() -> None:
    said = dict(re.findall(r"--(ground|surface|raised): (#[0-9a-f]{6});", TOKENS.read_text()))
    assert tuple(said[name] for name in ("ground", "surface", "raised")) == GROUNDS


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("", ""),
        ("  For staff of the clinic only.  ", "For staff of the clinic only."),
        ("Nur für Mitarbeitende · <b>&amp;", "Nur für Mitarbeitende · <b>&amp;"),
        ("放射線科", "放射線科"),
        ("x" * NOTICE_LIMIT, "x" * NOTICE_LIMIT),
    ],
)
def test_notices_that_are_taken_as_they_are(said: str, kept: str) -> None:
    assert checked_notice(said) == kept


@pytest.mark.parametrize(
    "text",
    [
        "x" * (NOTICE_LIMIT + 1),
        "two\nlines",
        "a\ttab",
        "a null\0",
        "an escape \x1b[31m",
        "the other way \u202e round",  # bidirectional override
        "a \u2028 separator",
    ],
)
def test_d12_what_is_no_notice(text: str) -> None:
    with pytest.raises(Invalid, match="notice"):
        checked_notice(text)


@pytest.mark.parametrize(
    "name", ["", "UTC", "Europe/Berlin", " America/Argentina/Ushuaia ", "Etc/GMT+5"]
)
def test_zones(name: str) -> None:
    assert checked_zone(name) == name.strip()


@pytest.mark.parametrize(
    "name",
    [
        "Europe/Atlantis",
        "/etc/localtime",
        "../../etc/passwd",
        "Europe",
        "Europe/\nBerlin",
        "a/b/c/d",
        "x" * 200,
    ],
)
def test_d12_what_is_no_zone(name: str) -> None:
    with pytest.raises(Invalid, match="time zone"):
        checked_zone(name)
