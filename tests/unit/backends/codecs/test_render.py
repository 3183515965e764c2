"""The grey-scale pipeline against PS3.3 and PS3.4, value by value."""

from __future__ import annotations

import dataclasses
import io
import math
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from lightwell.backends.codecs import canvas
from lightwell.backends.codecs import pixels as px
from lightwell.backends.codecs.decode import DecodedFrame
from lightwell.backends.codecs.errors import DecodeFailed, DecodeRefused
from lightwell.backends.codecs.pixels import (
    ImageDescription,
    Lut,
    Palette,
    PixelDescription,
    RenderJob,
    RenderRequest,
    Viewport,
    Window,
)
from lightwell.backends.codecs.render import apply_window, grey, render, to_picture

PIXELS = PixelDescription(px.EXPLICIT_LE, 1, 5, bits_stored=12, high_bit=11)
PLAIN = ImageDescription(PIXELS)


def shades(values: list[int], image: ImageDescription, window: Window | None = None) -> list[int]:
    return grey(np.array([values], np.int32), image, window)[0].tolist()


@pytest.mark.parametrize(
    ("value", "shade"),
    # The example of PS3.3 C.11.2.1.2.1 Note 4: c = 2048, w = 4096.
    [(0, 0.0), (4095, 255.0), (2047.5, 127.5), (-5, 0.0), (5000, 255.0)],
)
def test_linear_window_of_the_standards_example(value: float, shade: float) -> None:
    assert apply_window(np.array([value]), Window(2048, 4096)) == pytest.approx([shade], abs=1e-9)


def test_linear_window_of_width_one_is_a_step() -> None:
    window = Window(100, 1)
    assert apply_window(np.array([99, 99.5, 99.6, 100]), window).tolist() == [0, 0, 255, 255]


def test_linear_exact_reaches_its_ends_half_a_width_away() -> None:
    window = Window(100, 50, "LINEAR_EXACT")
    assert apply_window(np.array([75, 100, 125]), window).tolist() == [0, 127.5, 255]


def test_sigmoid_follows_its_formula() -> None:
    window = Window(100, 50, "SIGMOID")
    expected = [255 / (1 + math.exp(-4 * (v - 100) / 50)) for v in (60, 100, 140)]
    assert apply_window(np.array([60, 100, 140]), window) == pytest.approx(expected)
    assert apply_window(np.array([-1e9, 1e9]), window).round(6).tolist() == [0, 255]


@pytest.mark.parametrize(
    "window",
    [Window(0, 0.5), Window(0, 0, "LINEAR_EXACT"), Window(0, -1, "SIGMOID"), Window(0, 9, "CUBIC")],
)
def test_a_window_that_its_function_forbids_is_refused(window: Window) -> None:
    with pytest.raises(DecodeRefused):
        shades([1], PLAIN, window)


@given(
    st.floats(-2000, 2000),
    st.floats(1, 5000),
    st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_every_window_rises_and_stays_in_range(center: float, width: float, kind: str) -> None:
    values = apply_window(np.linspace(-3000, 3000, 101), Window(center, width, kind))
    assert (np.diff(values) >= 0).all()
    assert values.min() >= 0
    assert values.max() <= 255


def test_without_a_window_the_range_of_the_picture_is_shown() -> None:
    assert shades([100, 200, 300], PLAIN) == [0, 128, 255]


def test_padding_is_left_out_of_the_automatic_window_and_drawn_black() -> None:
    image = dataclasses.replace(PLAIN, padding=(0, 0))
    assert shades([0, 100, 200, 300], image) == [0, 0, 128, 255]


def test_padding_stays_black_when_the_picture_is_inverted() -> None:
    inverse = dataclasses.replace(PIXELS, photometric="MONOCHROME1")
    image = ImageDescription(inverse, padding=(0, 10))
    assert shades([5, 100, 200, 300], image) == [0, 255, 128, 0]


def test_nothing_but_padding_is_black_and_no_error() -> None:
    assert shades([0, 0], dataclasses.replace(PLAIN, padding=(0, 0))) == [0, 0]


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", "", False),
        ("MONOCHROME1", "", True),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "INVERSE", True),  # said twice, done once
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME1", "IDENTITY", True),  # a contradiction of some DX: photometric wins
    ],
)
def test_polarity_comes_after_the_voi(photometric: str, shape: str, inverted: bool) -> None:
    pixels = dataclasses.replace(PIXELS, photometric=photometric)
    image = ImageDescription(pixels, window=Window(200, 200), presentation_shape=shape)
    straight = shades([100, 150, 260], ImageDescription(PIXELS, window=Window(200, 200)))
    expected = [255 - s for s in straight] if inverted else straight
    assert np.abs(np.subtract(shades([100, 150, 260], image), expected)).max() <= 1


def test_rescale_comes_before_the_window() -> None:
    image = ImageDescription(PIXELS, slope=2, intercept=-1000, window=Window(0.5, 201))
    assert shades([450, 500, 550], image) == [0, 128, 255]


def test_a_modality_lut_replaces_the_rescale() -> None:
    lut = Lut(first=10, bits=16, values=(0, 50, 100))
    image = ImageDescription(PIXELS, slope=99, modality_lut=lut, window=Window(50.5, 101))
    assert shades([0, 10, 11, 12, 99], image) == [0, 0, 128, 255, 255]


def test_a_voi_lut_wins_over_the_window_of_the_header_but_not_over_the_callers() -> None:
    lut = Lut(first=-5, bits=8, values=tuple(range(0, 250, 25)))
    image = ImageDescription(PIXELS, intercept=-100, voi_lut=lut, window=Window(1, 1))
    assert shades([0, 95, 97, 104, 200], image) == [0, 0, 50, 225, 225]
    assert shades([99, 100], image, Window(0, 1)) == [0, 255]


def test_signed_values_index_the_table_from_the_lowest() -> None:
    pixels = dataclasses.replace(PIXELS, signed=True)
    image = ImageDescription(pixels, window=Window(0.5, 201))
    assert shades([-2048, -100, 0, 100, 2047], image) == [0, 0, 128, 255, 255]


def test_thirty_two_bits_and_floats_are_computed_without_a_table() -> None:
    wide = PixelDescription(px.EXPLICIT_LE, 1, 3, bits_allocated=32, bits_stored=32, high_bit=31)
    values = np.array([[0, 2**31, 2**32 - 1]], np.int64)
    assert grey(values, ImageDescription(wide))[0].tolist() == [0, 128, 255]
    real = dataclasses.replace(wide, vr="OF")
    floats = np.array([[-1.0, np.nan, 0.0, np.inf, 1.0]])
    assert grey(floats, ImageDescription(real))[0].tolist() == [0, 0, 128, 255, 255]


def test_a_palette_gives_colour_and_clamps() -> None:
    red = Lut(10, 16, (0, 0x8000, 0xFFFF))
    green, blue = Lut(10, 16, (0xFFFF, 0, 0)), Lut(10, 16, (7, 8, 9))  # blue: 8-bit entries
    pixels = dataclasses.replace(PIXELS, photometric="PALETTE COLOR")
    image = ImageDescription(pixels, palette=Palette(red, green, blue))
    picture = to_picture(
        DecodedFrame(np.array([[0, 11, 200]], "<u2"), "PALETTE COLOR"), image, None
    )
    assert picture[0].tolist() == [[0, 255, 7], [128, 0, 8], [255, 0, 9]]


def test_ybr_full_becomes_rgb() -> None:
    pixels = PixelDescription(px.EXPLICIT_LE, 1, 3, 3, 8, 8, 7, photometric="YBR_FULL")
    ybr = np.array([[[76, 85, 255], [150, 44, 21], [29, 255, 107]]], np.uint8)
    picture = to_picture(DecodedFrame(ybr, "YBR_FULL"), ImageDescription(pixels), None)
    assert np.abs(picture[0].astype(int) - [[255, 0, 0], [0, 255, 0], [0, 0, 255]]).max() <= 1


def test_colour_is_never_windowed_or_rescaled() -> None:
    pixels = PixelDescription(px.EXPLICIT_LE, 1, 2, 3, 8, 8, 7, photometric="RGB")
    rgb = np.array([[[1, 2, 3], [250, 100, 0]]], np.uint8)
    image = ImageDescription(pixels, slope=3, window=Window(10, 5))
    assert np.array_equal(to_picture(DecodedFrame(rgb, "RGB"), image, Window(5, 5)), rgb)


def job(picture: np.ndarray[Any, Any], request: RenderRequest, **image: Any) -> RenderJob:
    rows, columns = picture.shape
    pixels = PixelDescription(px.EXPLICIT_LE, rows, columns, 1, 8, 8, 7)
    described = ImageDescription(pixels, window=Window(128, 256), **image)
    return RenderJob(described, (picture.astype(np.uint8).tobytes(),), request)


RAMP = np.tile(np.arange(0, 240, 2), (60, 1)).astype(np.uint8)


@pytest.mark.parametrize("media", ["image/png", "image/jpeg", "image/gif", "image/jp2"])
def test_every_media_type_is_a_picture_of_the_right_size(media: str) -> None:
    data = render(job(RAMP, RenderRequest(media, quality=100)))
    picture = Image.open(io.BytesIO(data))
    assert picture.size == (120, 60)
    assert np.abs(np.asarray(picture.convert("L")).astype(int) - RAMP).max() <= 2


def test_an_unknown_media_type_is_refused() -> None:
    with pytest.raises(DecodeRefused, match="image/x-icon"):
        render(job(RAMP, RenderRequest("image/x-icon")))


def test_quality_changes_the_size_of_a_jpeg() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64))
    small, large = (render(job(noise, RenderRequest(quality=q))) for q in (10, 95))
    assert len(small) * 2 < len(large)


def png(request: RenderRequest, **image: Any) -> np.ndarray[Any, Any]:
    return np.asarray(imagecodecs.png_decode(render(job(RAMP, request, **image))))


def test_a_thumbnail_keeps_the_aspect_and_fills_the_rest_with_black() -> None:
    bright = np.full((60, 120), 200)
    data = render(job(bright, RenderRequest("image/png", viewport=Viewport(64, 64))))
    picture = imagecodecs.png_decode(data)
    assert picture.shape == (64, 64)
    assert (picture[16:48] == 200).all()
    assert not picture[:16].any()
    assert not picture[48:].any()


def test_a_region_is_cut_before_it_is_scaled() -> None:
    port = Viewport(20, 20, x=10, y=10, source_width=20, source_height=20)
    assert np.array_equal(png(RenderRequest("image/png", viewport=port)), RAMP[10:30, 10:30])


def test_negative_extents_mirror() -> None:
    tilted = RAMP // 2 + np.arange(60, dtype=np.uint8)[:, None]
    for wide, high, expected in (
        (-120, 60, tilted[:, ::-1]),
        (120, -60, tilted[::-1]),
        (-120, -60, tilted[::-1, ::-1]),
    ):
        port = Viewport(120, 60, source_width=wide, source_height=high)
        data = render(job(tilted, RenderRequest("image/png", viewport=port)))
        assert np.array_equal(imagecodecs.png_decode(data), expected)


@pytest.mark.parametrize(
    "port", [Viewport(0, 10), Viewport(10, 99_999), Viewport(9, 9, x=500), Viewport(9, 9, y=60)]
)
def test_an_impossible_viewport_is_refused(port: Viewport) -> None:
    with pytest.raises(DecodeRefused):
        render(job(RAMP, RenderRequest(viewport=port)))


def test_pixels_that_are_not_square_are_stretched_unless_told_otherwise() -> None:
    assert png(RenderRequest("image/png"), aspect=2.0).shape == (120, 120)
    assert png(RenderRequest("image/png"), aspect=0.5).shape == (60, 240)
    assert png(RenderRequest("image/png", square_pixels=False), aspect=2.0).shape == (60, 120)
    fitted = png(RenderRequest("image/png", viewport=Viewport(50, 50)), aspect=2.0)
    assert fitted.any(axis=0).sum() >= 48  # now a square: it fills the viewport
    assert fitted.any(axis=1).all()


def test_annotation_is_burned_in_last_and_accents_survive() -> None:
    plain = png(RenderRequest("image/png"))
    marked = png(RenderRequest("image/png", annotation=("MÜLLER", "日本")))
    assert (plain != marked).any()
    assert np.array_equal(plain[:, 60:], marked[:, 60:])
    assert np.array_equal(marked, png(RenderRequest("image/png", annotation=("Muller", "□□"))))


def test_several_frames_make_an_endless_animation() -> None:
    one = job(RAMP, RenderRequest("image/gif", frame_time=40))
    frames = tuple(((RAMP + n) % 250).astype(np.uint8).tobytes() for n in (0, 50, 100))
    animation = Image.open(io.BytesIO(render(dataclasses.replace(one, frames=frames))))
    assert animation.info["loop"] == 0
    assert animation.info["duration"] == 40
    shown = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(animation)]
    for picture, frame in zip(shown, frames, strict=True):
        assert picture.tobytes() == frame


def test_several_frames_in_a_still_picture_are_refused() -> None:
    one = job(RAMP, RenderRequest())
    with pytest.raises(DecodeRefused):
        render(dataclasses.replace(one, frames=one.frames * 2))
    with pytest.raises(DecodeFailed):
        render(dataclasses.replace(one, frames=()))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 60), st.integers(1, 60))
def test_resizing_keeps_the_mean_and_the_range(rows: int, cols: int, high: int, wide: int) -> None:
    picture = np.random.default_rng(rows * 41 + cols).integers(0, 256, (rows, cols), dtype=np.uint8)
    scaled = canvas.resize(picture, high, wide)
    assert scaled.shape == (high, wide)
    assert picture.min() <= scaled.min()
    assert scaled.max() <= picture.max()
    if rows % high == 0 and cols % wide == 0:
        assert abs(float(scaled.mean()) - float(picture.mean())) <= 1
