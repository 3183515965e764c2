"""The codec: bit for bit, by form; coarse pictures as a browser shows them; damage."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lightwell.backends.codecs.errors import DecodeFailed
from lightwell.backends.codecs.htj2k import decode_coarse, decode_frame, encode_frame
from lightwell.backends.codecs.words import bit_plane, canonical_words, split, words_of
from lightwell.dicom.tile_parts import tile_parts
from lightwell.domain.archive.coding import PixelForm

GREY = PixelForm(64, 60, 1, 16, 12, 11)


@st.composite
def forms(draw: st.DrawFn) -> PixelForm:
    allocated = draw(st.sampled_from([8, 16]))
    stored = draw(st.integers(1, allocated))
    samples = draw(st.sampled_from([1, 1, 3]))
    return PixelForm(
        rows=draw(st.integers(1, 80)),
        columns=draw(st.integers(1, 80)),
        samples=samples,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=draw(st.integers(stored - 1, allocated - 1)),
        signed=samples == 1 and draw(st.booleans()),
        planar=samples == 3 and draw(st.booleans()),
    )


@settings(max_examples=300, deadline=None)
@given(forms(), st.randoms(use_true_random=False), st.booleans())
def test_any_words_come_back(form: PixelForm, rng: random.Random, noisy: bool) -> None:
    data = rng.randbytes(form.frame_bytes) if noisy else bytes(form.frame_bytes - 1) + b"\x07"
    coded = encode_frame(form, data)
    found = tile_parts(coded.stream)
    assert (found.levels, found.rpcl, found.reversible) == (form.levels, True, True)
    assert found.component_transform == (form.samples == 3)
    assert len(found.ends) == form.levels + 1
    assert bytes(decode_frame(form, coded)) == data


@settings(max_examples=100, deadline=None)
@given(forms(), st.randoms(use_true_random=False))
def test_word_is_canonical_word_and_strays(form: PixelForm, rng: random.Random) -> None:
    words = words_of(form, rng.randbytes(form.frame_bytes))
    values, zero, strays = split(form, words)
    canonical = canonical_words(form, values, zero=zero)
    assert np.array_equal(canonical if strays is None else canonical ^ strays, words)
    low = -(1 << (form.bits_stored - 1)) if form.signed else 0
    assert values.min() >= low
    assert values.max() < low + (1 << form.bits_stored)


def test_an_overlay_plane_is_packed_least_bit_first() -> None:
    words = np.array([[8, 0, 8], [0, 0, 8]], "<u2")
    assert bit_plane(words, 3) == bytes([0b100101, 0])


def _pictures() -> dict[str, NDArray[np.generic]]:
    """Noise, and squares between the extremes: these over- and undershoot at low resolution."""
    made: dict[str, NDArray[np.generic]] = {}
    rng = np.random.default_rng(7)
    for kind in ("u1", "i1", "u2", "i2"):
        top, bottom = np.iinfo(kind).max, np.iinfo(kind).min
        for rows, columns in ((64, 64), (101, 77), (512, 300)):
            y, x = np.mgrid[:rows, :columns]
            squares = np.where((x // 9 + y // 7) % 2, top, bottom).astype(kind)
            made[f"squares {kind} {rows}"] = squares
            noise = rng.integers(bottom, top, (rows, columns), dtype=kind, endpoint=True)
            made[f"noise {kind} {rows}"] = noise
            if kind[0] == "u":
                made[f"colour {kind} {rows}"] = np.stack([squares, noise, squares[::-1]], axis=2)
    return made


PICTURES = _pictures()


def _form(picture: NDArray[np.generic]) -> PixelForm:
    bits = 8 * picture.dtype.itemsize
    samples = 3 if picture.ndim == 3 else 1
    signed = picture.dtype.kind == "i"
    return PixelForm(*picture.shape[:2], samples, bits, bits, bits - 1, signed)


@pytest.mark.parametrize("name", PICTURES)
def test_a_prefix_decodes_to_what_the_whole_stream_gives_at_that_level(name: str) -> None:
    picture = PICTURES[name]
    form = _form(picture)
    stream = encode_frame(form, picture.tobytes()).stream
    ends = tile_parts(stream).ends
    for resolution, end in enumerate(ends):
        reduction = form.levels - resolution
        coarse = decode_coarse(stream[:end], form.levels, reduction)
        assert coarse.dtype == picture.dtype
        assert np.array_equal(coarse, decode_coarse(stream, form.levels, reduction))
        if not reduction:
            assert np.array_equal(coarse, picture)


def test_coarse_values_are_clamped_where_the_bare_codec_wraps_around() -> None:
    picture = PICTURES["squares u2 512"]
    form = _form(picture)
    stream = encode_frame(form, picture.tobytes()).stream
    clamped = decode_coarse(stream, form.levels, 1).astype(np.int64)
    bare = np.asarray(imagecodecs.htj2k_decode(stream, planar=False, skipres=1)).astype(np.int64)
    far = np.abs(clamped - bare) > 30_000
    assert far.any()  # the specks of the bare codec
    assert set(np.unique(clamped[far])) <= {0, 65535}
    assert np.array_equal(clamped[~far], bare[~far])


def test_a_frame_of_another_size_or_form_is_refused() -> None:
    data = bytes(GREY.frame_bytes)
    with pytest.raises(DecodeFailed, match="planned"):
        encode_frame(GREY, data[:-1])
    coded = encode_frame(GREY, data)
    for other in (replace(GREY, rows=63), replace(GREY, signed=True), replace(GREY, samples=3)):
        with pytest.raises(DecodeFailed, match="recipe"):
            decode_frame(other, coded)
    with pytest.raises(DecodeFailed):
        decode_frame(GREY, replace(coded, side=b"garbage"))
    with pytest.raises(DecodeFailed, match="no such picture"):
        decode_coarse(coded.stream, GREY.levels, GREY.levels + 1)
    with pytest.raises(DecodeFailed):
        decode_frame(GREY, replace(coded, stream=b"\xff\x4f"))


def test_a_side_plane_cannot_inflate_without_bound() -> None:
    coded = encode_frame(GREY, bytes(GREY.frame_bytes))
    bomb = zlib.compress(bytes(100 * GREY.frame_bytes))
    with pytest.raises(DecodeFailed, match="size"):
        decode_frame(GREY, replace(coded, side=bomb))
