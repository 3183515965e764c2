"""Frames to samples: layouts, signs, and every way in which data can contradict its header."""

from __future__ import annotations

import contextlib
import dataclasses
import struct
import sys
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.backends.codecs import pixels as px
from lightwell.backends.codecs.codestreams import inspect
from lightwell.backends.codecs.decode import decode_frame, native_frame, stored_values
from lightwell.backends.codecs.errors import DecodeFailed, DecodeRefused
from lightwell.backends.codecs.loud import loud
from lightwell.backends.codecs.pixels import DecodeJob, Limits, PixelDescription
from lightwell.kernel.errors import Kind
from lightwell.testing import encoding as enc
from lightwell.testing.compression import compress, photometric_after

RNG = np.random.default_rng(5)


def describe(frame: np.ndarray[Any, Any], syntax: str, **more: Any) -> PixelDescription:
    bits = frame.dtype.itemsize * 8
    made = PixelDescription(
        syntax,
        *frame.shape[:2],
        samples=3 if frame.ndim == 3 else 1,
        bits_allocated=bits,
        bits_stored=bits,
        high_bit=bits - 1,
        signed=frame.dtype.kind == "i",
        photometric="RGB" if frame.ndim == 3 else "MONOCHROME2",
    )
    return dataclasses.replace(made, **more)


LOSSLESS = sorted(
    {enc.RLE, enc.JPEG_LOSSLESS, enc.JPEG_LS, enc.JPEG_2000, enc.HTJ2K, enc.HTJ2K_RPCL, enc.JPEG_XL}
)


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("dtype", ["u1", "<u2", "<i2"])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("size", [(37, 53), (1, 1), (3, 200)])
def test_every_lossless_syntax_gives_the_samples_back(
    syntax: str, dtype: str, colour: bool, size: tuple[int, int]
) -> None:
    shape = (*size, 3) if colour else size
    info = np.iinfo(dtype)
    frame = RNG.integers(info.min, info.max, shape, endpoint=True).astype(dtype)
    if colour and syntax == enc.JPEG_LS and 3 in size:
        pytest.skip("the encoder takes a width of 3 for planes")
    photometric = photometric_after(syntax, "RGB" if colour else "MONOCHROME2")
    pixels = describe(frame, syntax, photometric=photometric)
    native = native_frame(DecodeJob(pixels, compress(frame, syntax)))
    assert native.data == frame.tobytes()
    assert native.photometric == ("RGB" if colour else "MONOCHROME2")


def test_baseline_jpeg_is_close_and_rgb() -> None:
    ramp = np.stack([np.mgrid[0:64, 0:64][i % 2] * 3 for i in range(3)], axis=2).astype("u1")
    pixels = describe(ramp, enc.JPEG_BASELINE, photometric="YBR_FULL_422")
    decoded = decode_frame(DecodeJob(pixels, compress(ramp, enc.JPEG_BASELINE)))
    assert decoded.photometric == "RGB"
    assert np.abs(decoded.samples.astype(int) - ramp).mean() < 4


def test_big_endian_words_are_swapped() -> None:
    frame = RNG.integers(0, 65536, (4, 6)).astype("<u2")
    pixels = describe(frame, px.EXPLICIT_BE)
    assert native_frame(DecodeJob(pixels, frame.astype(">u2").tobytes())).data == frame.tobytes()


def test_big_endian_bytes_in_ow_are_swapped_by_words_but_not_in_ob() -> None:
    frame = np.arange(12, dtype="u1").reshape(3, 4)
    swapped = frame.reshape(-1, 2)[:, ::-1].tobytes()
    in_words = describe(frame, px.EXPLICIT_BE, vr="OW")
    assert native_frame(DecodeJob(in_words, swapped)).data == frame.tobytes()
    in_bytes = describe(frame, px.EXPLICIT_BE, vr="OB")
    assert native_frame(DecodeJob(in_bytes, frame.tobytes())).data == frame.tobytes()


def test_planes_are_interleaved() -> None:
    frame = RNG.integers(0, 256, (5, 7, 3)).astype("u1")
    pixels = describe(frame, px.EXPLICIT_LE, planar_configuration=1)
    native = native_frame(DecodeJob(pixels, frame.transpose(2, 0, 1).tobytes()))
    assert native.data == frame.tobytes()
    assert native.attributes["PlanarConfiguration"] == 0


def test_shared_chroma_is_spread_over_its_two_pixels() -> None:
    pixels = PixelDescription(px.EXPLICIT_LE, 1, 4, 3, 8, 8, 7, photometric="YBR_FULL_422")
    decoded = decode_frame(DecodeJob(pixels, bytes([1, 2, 100, 200, 3, 4, 101, 201])))
    assert decoded.photometric == "YBR_FULL"
    assert decoded.samples.tolist() == [
        [[1, 100, 200], [2, 100, 200], [3, 101, 201], [4, 101, 201]]
    ]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 3))
def test_one_bit_frames_start_anywhere_in_a_byte(rows: int, columns: int, number: int) -> None:
    bits = np.random.default_rng(rows * 97 + columns).integers(0, 2, (4, rows, columns), dtype="u1")
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    pixels = PixelDescription(px.EXPLICIT_LE, rows, columns, 1, 1, 1, 0)
    at = number * pixels.frame_bits
    job = DecodeJob(pixels, packed[at // 8 :], at % 8)
    assert np.array_equal(decode_frame(job).samples, bits[number])


def test_deflated_frames_are_inflated_no_further_than_declared() -> None:
    frame = RNG.integers(0, 9, (16, 16)).astype("<u2")
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = engine.compress(frame.tobytes() + bytes(50_000_000)) + engine.flush()
    pixels = describe(frame, px.DEFLATED_FRAMES)
    assert native_frame(DecodeJob(pixels, data)).data == frame.tobytes()
    with pytest.raises(DecodeFailed):
        decode_frame(DecodeJob(pixels, b"\xff" * 40))


@pytest.mark.parametrize(
    ("stored", "high", "signed", "word", "value"),
    [
        (12, 11, False, 0xF123, 0x123),  # overlay bits above
        (12, 11, True, 0x0FFF, -1),  # high bits zero instead of sign
        (12, 11, True, 0xF7FF, 2047),
        (12, 15, False, 0x1234, 0x123),  # stored bits at the top
        (12, 15, True, 0xFFF4, -1),
        (16, 15, True, 0xFFFE, -2),
        (16, 15, False, 0xFFFE, 65534),
    ],
)
def test_stored_values_are_what_the_bits_mean(
    stored: int, high: int, signed: bool, word: int, value: int
) -> None:
    pixels = PixelDescription(px.EXPLICIT_LE, 1, 1, 1, 16, stored, high, signed)
    assert stored_values(np.array([[word]], "<u2"), pixels).tolist() == [[value]]


def test_a_sign_lost_in_the_codestream_comes_back() -> None:
    """12-bit two's complement in an unsigned 12-bit JPEG-LS stream, as some devices write it."""
    values = np.array([[-2048, -1, 0, 2047]], "<i2")
    stream = imagecodecs.jpegls_encode((values & 0xFFF).astype("<u2"))
    pixels = PixelDescription(enc.JPEG_LS, 1, 4, 1, 16, 12, 11, True)
    native = native_frame(DecodeJob(pixels, bytes(stream)))
    assert np.array_equal(
        stored_values(np.frombuffer(native.data, "<u2").reshape(1, 4), pixels), values
    )


GREY = PixelDescription(px.EXPLICIT_LE, 8, 8)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"rows": 65535, "columns": 65535}, DecodeRefused),
        ({"rows": 0}, DecodeFailed),
        ({"samples": 4}, DecodeRefused),
        ({"bits_allocated": 12}, DecodeRefused),
        ({"bits_stored": 17}, DecodeFailed),
        ({"high_bit": 16}, DecodeFailed),
        ({"bits_stored": 12, "high_bit": 8}, DecodeFailed),
        ({"bits_stored": 0}, DecodeFailed),
        ({"transfer_syntax": "1.2.840.10008.1.2.4.100"}, DecodeRefused),
        ({"transfer_syntax": ""}, DecodeRefused),
        ({"samples": 3, "bits_allocated": 1, "bits_stored": 1, "high_bit": 0}, DecodeFailed),
        ({"vr": "OF"}, DecodeRefused),
    ],
)
def test_headers_that_cannot_be_decoded_are_refused_first(change: Any, kind: type) -> None:
    with pytest.raises(kind) as caught:
        decode_frame(DecodeJob(dataclasses.replace(GREY, **change), bytes(128)))
    assert caught.value.kind is Kind.INVALID


def test_the_pixel_limit_is_configurable() -> None:
    with pytest.raises(DecodeRefused, match="limit of 63"):
        decode_frame(DecodeJob(GREY, bytes(128)), Limits(pixels_per_frame=63))


def test_two_thousand_million_frames_cost_nothing() -> None:
    many = dataclasses.replace(GREY, frames=2_000_000_000)
    assert decode_frame(DecodeJob(many, bytes(128))).samples.shape == (8, 8)


def test_native_data_that_is_too_short_is_damage() -> None:
    with pytest.raises(DecodeFailed, match="127 bytes"):
        decode_frame(DecodeJob(GREY, bytes(127)))


def test_a_codestream_of_another_size_is_refused_before_it_is_decoded() -> None:
    frame = RNG.integers(0, 4096, (40, 30)).astype("<u2")
    for syntax in LOSSLESS:
        if syntax == enc.RLE:
            continue
        for change in ({"rows": 41}, {"columns": 29}):
            pixels = describe(frame, syntax, **change)
            with pytest.raises(DecodeFailed, match="compressed frame 40 x 30"):
                decode_frame(DecodeJob(pixels, compress(frame, syntax)))


def test_a_codestream_of_other_samples_or_depth_is_refused() -> None:
    grey = RNG.integers(256, 4096, (40, 30)).astype("<u2")
    stream = compress(grey, enc.JPEG_LS)
    three = describe(grey, enc.JPEG_LS, samples=3, photometric="RGB")
    with pytest.raises(DecodeFailed, match="samples per pixel"):
        decode_frame(DecodeJob(three, stream))
    eight = describe(grey, enc.JPEG_LS, bits_allocated=8, bits_stored=8, high_bit=7)
    with pytest.raises(DecodeFailed, match="8 bits"):
        decode_frame(DecodeJob(eight, stream))


def test_an_rle_frame_cannot_claim_more_than_it_can_hold() -> None:
    head = struct.pack("<16I", 2, 64, 74, *[0] * 13)
    pixels = PixelDescription(enc.RLE, 20_000, 20_000)
    with pytest.raises(DecodeFailed, match="cannot hold"):
        decode_frame(DecodeJob(pixels, head + b"\x81\x00" * 11))


@pytest.mark.parametrize(
    "head",
    [
        (3, 64, 70, 80),  # segments
        (2, 63, 100),  # into the header
        (2, 100, 64),  # backwards
        (2, 64, 1 << 31),  # outside
    ],
)
def test_broken_rle_headers(head: tuple[int, ...]) -> None:
    data = struct.pack(f"<{len(head)}I", *head).ljust(64, b"\0") + b"\x81\x00" * 20
    with pytest.raises(DecodeFailed):
        decode_frame(DecodeJob(dataclasses.replace(GREY, transfer_syntax=enc.RLE), data))


def test_damage_that_the_codec_only_mutters_about_is_an_error() -> None:
    """OpenJPH's errors are swallowed on the way up; only the unraisable hook sees them."""

    class Mutters:
        def __del__(self) -> None:
            raise RuntimeError("ojph error")

    hook = sys.unraisablehook
    with pytest.raises(DecodeFailed, match="ojph error"), loud():
        Mutters()
    assert sys.unraisablehook is hook


def test_damage_in_htj2k_is_noticed_more_often_than_the_codec_raises() -> None:
    frame = RNG.integers(0, 4096, (64, 64)).astype("<u2")
    stream = compress(frame, enc.HTJ2K)
    pixels = describe(frame, enc.HTJ2K)
    noticed = 0
    for at in range(100, len(stream) - 100, len(stream) // 60):
        damaged = bytearray(stream)
        damaged[at : at + 40] = bytes(40)
        try:
            decode_frame(DecodeJob(pixels, bytes(damaged)))
        except DecodeFailed:
            noticed += 1
    assert noticed > 0


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\x0a",
                                                 b"\0\0\0\x0cjP  ", b"\0\0\0\x0cJXL "]))  # fmt: skip
def test_inspecting_rubbish_only_fails(data: bytes, start: bytes) -> None:
    with contextlib.suppress(DecodeFailed):
        assert inspect(start + data).rows >= 0


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_the_size_of_a_jpeg_xl_stream_is_read_right(rows: int, columns: int) -> None:
    if rows * columns > 100_000:
        rows = max(100_000 // columns, 1)
    stream = imagecodecs.jpegxl_encode(np.zeros((rows, columns), "u1"), lossless=True, effort=1)
    found = inspect(bytes(stream))
    assert (found.rows, found.columns) == (rows, columns)
