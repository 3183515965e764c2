"""Query parameters of rendered resources (PS3.18 8.3.5). Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from lightwell.gateways.dicomweb.ports import WantedPicture, WantedViewport, WantedWindow
from lightwell.kernel.errors import Invalid

VIEWPORT_LIMIT: Final = 8192
THUMBNAIL_SIZE: Final = 128
DEFAULT_QUALITY: Final = 90
_FUNCTIONS: Final = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}


def _number(text: str, name: str) -> float:
    """A finite decimal number. Raises Invalid."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or len(text) > 32:
        raise Invalid(f"{name} holds something that is no number.")
    return value


def parse_window(text: str) -> WantedWindow:
    """`center,width,function`, all three (8.3.5.1.4). Raises Invalid."""
    pieces = [piece.strip() for piece in text.split(",")]
    if len(pieces) != 3 or pieces[2].lower() not in _FUNCTIONS:
        raise Invalid(
            "window is not center,width,function.",
            remedy="The function is linear, linear-exact or sigmoid.",
        )
    center, width = _number(pieces[0], "window"), _number(pieces[1], "window")
    function = _FUNCTIONS[pieces[2].lower()]
    if width < 1 if function == "LINEAR" else width <= 0:
        raise Invalid("The width of the window is too small.")  # PS3.3 C.11.2.1.2
    return WantedWindow(center, width, function)


def _size(text: str) -> int:
    value = _number(text, "viewport")
    if not 1 <= value <= VIEWPORT_LIMIT:
        raise Invalid(f"The viewport must be 1 to {VIEWPORT_LIMIT} pixels wide and high.")
    return round(value)


def parse_viewport(text: str, *, region: bool = True) -> WantedViewport:
    """`vw,vh[,sx,sy,sw,sh]` (8.3.5.1.3); an omitted source value is its default. Raises Invalid."""
    pieces = [piece.strip() for piece in text.split(",")]
    if not (len(pieces) == 2 or (region and 2 < len(pieces) <= 6)):
        raise Invalid("viewport is not vw,vh or vw,vh,sx,sy,sw,sh.")
    width, height = _size(pieces[0]), _size(pieces[1])
    x, y, across, down = (
        _number(piece, "viewport") if piece else None for piece in (pieces[2:] + [""] * 4)[:4]
    )
    if (x or 0) < 0 or (y or 0) < 0 or across == 0 or down == 0:
        raise Invalid("The region of the viewport is empty or begins outside the image.")
    return WantedViewport(width, height, x or 0.0, y or 0.0, across, down)


def parse_quality(text: str) -> int:
    """JPEG quality 1 to 100 (8.3.5.1.2). Raises Invalid."""
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:4]) <= 100:
        raise Invalid("quality is not a number from 1 to 100.")
    return int(text)


def parse_annotation(text: str) -> tuple[str, ...]:
    """`patient`, `technique` or both (8.3.5.1.1). Raises Invalid."""
    wanted = tuple(piece.strip().lower() for piece in text.split(",") if piece.strip())
    if any(piece not in ("patient", "technique") for piece in wanted):
        raise Invalid("annotation is neither patient nor technique.")
    return wanted


def parse_rendered(
    query: Iterable[tuple[str, str]], media_type: str
) -> tuple[WantedPicture, tuple[str, ...]]:
    """How a picture is wanted, and the kinds of annotation. Unknown parameters are ignored.

    Raises Invalid.
    """
    window: WantedWindow | None = None
    viewport: WantedViewport | None = None
    quality = DEFAULT_QUALITY
    annotation: tuple[str, ...] = ()
    for name, value in query:
        match name.lower():
            case "window":
                window = parse_window(value)
            case "viewport":
                viewport = parse_viewport(value)
            case "quality":
                quality = parse_quality(value)
            case "annotation":
                annotation = parse_annotation(value)
            case "iccprofile" if value.lower() not in ("no", "yes", "srgb"):
                raise Invalid("Only iccprofile=no, yes or srgb can be given here.")
    return WantedPicture(media_type, quality, window, viewport), annotation


def parse_thumbnail(query: Iterable[tuple[str, str]]) -> WantedPicture:
    """A thumbnail has a size and nothing else (10.4.1.1.4). Raises Invalid."""
    viewport = WantedViewport(THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    for name, value in query:
        if name.lower() == "viewport":
            viewport = parse_viewport(value, region=False)
    return WantedPicture("image/jpeg", quality=80, viewport=viewport)
