"""DICOM JSON to image descriptions: what counts, what wins, what is broken."""

from __future__ import annotations

import base64
import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.backends.codecs.describe import describe, describe_pixels
from lightwell.backends.codecs.errors import DecodeFailed, DecodeRefused
from lightwell.backends.codecs.luts import expand_segments
from lightwell.backends.codecs.pixels import EXPLICIT_LE, PixelDescription, Window
from lightwell.kernel.errors import LightwellError


def element(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


BASE: dict[str, Any] = {
    "00280002": element("US", 1),
    "00280004": element("CS", "MONOCHROME2"),
    "00280010": element("US", 20),
    "00280011": element("US", 30),
    "00280100": element("US", 16),
    "00280101": element("US", 12),
    "00280102": element("US", 11),
    "00280103": element("US", 0),
}


def of(frame: int = 1, **more: Any) -> Any:
    changed = {**BASE, **{tag.lstrip("_"): value for tag, value in more.items()}}
    return describe(changed, EXPLICIT_LE, frame=frame)


def test_the_image_pixel_module() -> None:
    assert of().pixels == PixelDescription(EXPLICIT_LE, 20, 30, bits_stored=12, high_bit=11)


def test_an_object_without_pixels_is_described_and_then_refused() -> None:
    with pytest.raises(DecodeFailed, match="no picture"):
        describe_pixels({}, EXPLICIT_LE).check()


def test_float_pixel_data_has_the_bits_of_its_kind() -> None:
    made = describe_pixels(
        {**BASE, "7FE00008": {"vr": "OF"}, "00280100": element("US", 32)}, EXPLICIT_LE
    )
    assert (made.vr, made.bits_allocated, made.bits_stored) == ("OF", 32, 32)
    made.check()


def test_the_first_window_counts_with_its_function() -> None:
    image = of(
        _00281050=element("DS", 40, 500),
        _00281051=element("DS", "400", 1),
        _00281056=element("CS", "SIGMOID"),
    )
    assert image.window == Window(40, 400, "SIGMOID")


@pytest.mark.parametrize("width", [0, -1, 0.5, "NaN", "Inf", None, "abc", [], 1e999])
def test_a_window_no_display_can_use_is_none(width: Any) -> None:
    assert of(_00281050=element("DS", 40), _00281051=element("DS", width)).window is None


def test_per_frame_values_win_over_shared_over_top_level() -> None:
    def group(center: float) -> dict[str, Any]:
        voi = {"00281050": element("DS", center), "00281051": element("DS", 100)}
        return {"00289132": element("SQ", voi)}

    more = {
        "_00281050": element("DS", 1),
        "_00281051": element("DS", 100),
        "_52009229": element("SQ", group(2)),
        "_52009230": element("SQ", group(3), {}),
    }
    assert [of(frame=n, **more).window.center for n in (1, 2, 3)] == [3, 2, 2]
    del more["_52009229"]
    assert [of(frame=n, **more).window.center for n in (1, 2)] == [3, 1]


def test_rescale_is_for_grey_only_and_a_slope_of_zero_is_ignored() -> None:
    rescale = {"_00281052": element("DS", -1024), "_00281053": element("DS", 2)}
    assert (of(**rescale).slope, of(**rescale).intercept) == (2, -1024)
    colour = {"_00280002": element("US", 3), "_00280004": element("CS", "RGB")}
    assert (of(**rescale, **colour).slope, of(**rescale, **colour).intercept) == (1, 0)
    assert of(_00281053=element("DS", 0)).slope == 1


@pytest.mark.parametrize(
    ("signed", "value", "limit", "expected"),
    [
        (1, 63536, None, (-2000, -2000)),  # written as US, meant as SS
        (1, -2000, None, (-2000, -2000)),
        (0, -1, None, (65535, 65535)),
        (0, 10, 0, (0, 10)),
        (0, None, 5, None),
    ],
)
def test_padding_takes_the_sign_of_the_samples(
    signed: int, value: Any, limit: Any, expected: Any
) -> None:
    more = {"_00280103": element("US", signed)}
    if value is not None:
        more["_00280120"] = element("US", value)
    if limit is not None:
        more["_00280121"] = element("US", limit)
    assert of(**more).padding == expected


def test_aspect_from_ratio_else_from_spacing() -> None:
    assert of(_00280034=element("IS", 2, 1), _00280030=element("DS", 1, 1)).aspect == 2
    assert of(_00280030=element("DS", 0.5, 0.25)).aspect == 2
    assert of(_00181164=element("DS", "0.1", "0.2")).aspect == 0.5
    assert of(_00280030=element("DS", 0, 1)).aspect == 1
    assert of(_00280030=element("DS", "NaN", 1)).aspect == 1
    assert of(_00280030=element("DS", 1000, 1)).aspect == 1


def voi(descriptor: list[Any], data: dict[str, Any]) -> dict[str, Any]:
    return {"_00283010": element("SQ", {"00283002": element("US", *descriptor), "00283006": data})}


def test_a_voi_lut_may_begin_below_zero() -> None:
    lut = of(**voi([3, 65436, 8], element("US", 1, 2, 3))).voi_lut
    assert (lut.first, lut.bits, lut.values) == (-100, 8, (1, 2, 3))


def test_lut_data_as_words_or_bytes_in_base64() -> None:
    words = base64.b64encode(struct.pack("<3H", 1, 256, 65535)).decode()
    assert of(**voi([3, 0, 16], {"vr": "OW", "InlineBinary": words})).voi_lut.values == (
        1,
        256,
        65535,
    )
    octets = base64.b64encode(bytes([1, 2, 3, 0])).decode()
    assert of(**voi([3, 0, 8], {"vr": "OW", "InlineBinary": octets})).voi_lut.values == (1, 2, 3)


def test_lut_data_in_bulk_is_fetched_or_asked_for() -> None:
    more = voi([2, 0, 16], {"vr": "OW", "BulkDataURI": "here"})
    with pytest.raises(DecodeRefused, match="bulk"):
        of(**more)
    changed = {**BASE, "00283010": more["_00283010"]}
    fetched = describe(changed, EXPLICIT_LE, bulk=lambda uri: {"here": b"\1\0\2\0"}[uri])
    assert fetched.voi_lut is not None
    assert fetched.voi_lut.values == (1, 2)


def test_a_lut_shorter_than_it_says_is_damage() -> None:
    with pytest.raises(DecodeFailed, match="2 of 3"):
        of(**voi([3, 0, 16], element("US", 1, 2)))
    with pytest.raises(DecodeFailed, match="base64"):
        of(**voi([3, 0, 16], {"vr": "OW", "InlineBinary": "%%%"}))


def test_a_palette_must_be_complete() -> None:
    colour = {"_00280004": element("CS", "PALETTE COLOR")}
    with pytest.raises(DecodeFailed, match="palette"):
        of(**colour)
    for n in (1, 2, 3):
        colour[f"_0028110{n}"] = element("US", 2, 0, 16)
        colour[f"_0028122{n}"] = element("OW", 0, 1, n, 1, 1, n + 9)  # discrete, then linear
    palette = of(**colour).palette
    assert (palette.red.values, palette.blue.values) == ((1, 10), (3, 12))


def test_segments_expand_as_in_the_standard() -> None:
    # PS3.3 C.7.9.2: discrete, linear from the last value on, indirect to a byte offset.
    words = [0, 2, 10, 20, 1, 5, 120, 2, 1, 0, 0]
    assert expand_segments(words, 9) == [10, 20, 40, 60, 80, 100, 120, 10, 20]


@pytest.mark.parametrize(
    "words", [[1, 4, 100], [9, 1, 1], [0, 5, 1], [2, 1, 0, 0], [0, 1, 5, 2, 1, 6, 0], []]
)
def test_broken_segments_are_damage(words: list[int]) -> None:
    with pytest.raises(DecodeFailed):
        expand_segments(words, 50)


@given(st.lists(st.integers(0, 65535), max_size=60), st.integers(1, 65536))
def test_segments_never_run_away(words: list[int], count: int) -> None:
    with contextlib.suppress(DecodeFailed):
        assert len(expand_segments(words, count)) == count


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                *BASE,
                "00281050",
                "00281051",
                "00280034",
                "00280120",
                "00283010",
                "52009230",
                "00280008",
            ]
        ),
        st.fixed_dictionaries({"vr": st.just("US"), "Value": st.lists(_JSON, max_size=4)}),
        max_size=6,
    )
)
def test_nothing_in_the_json_breaks_us(strange: dict[str, Any]) -> None:
    with contextlib.suppress(LightwellError):
        describe({**BASE, **strange}, EXPLICIT_LE).pixels.check()
