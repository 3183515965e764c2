"""What may stand for a compressed frame: every byte of it accounted for, every value what it says."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from lightwell.backends.codecs import pixels as px
from lightwell.backends.codecs.decompress import decompress_frame
from lightwell.backends.codecs.errors import DecodeFailed
from lightwell.backends.codecs.lossless import check_codestream, process_14
from lightwell.backends.codecs.process14 import check_samples
from lightwell.domain.archive.coding import CompressedFrame, PixelForm
from lightwell.testing import encoding as enc
from lightwell.testing.compression import compress

ROWS, COLUMNS = 40, 36
Y, X = np.mgrid[0:ROWS, 0:COLUMNS]
GREY = ((X * 20 + Y * 7) % 4096).astype(np.uint16)
COLOUR = np.stack([X * 2 + Y // 2, 128 + X // 3, 100 + Y // 2], -1).astype(np.uint8)
FORM = PixelForm(ROWS, COLUMNS, 1, 16, 12, 11)
RGB = PixelForm(ROWS, COLUMNS, 3, 8, 8, 7)
STREAMS = [enc.RLE, enc.JPEG_LOSSLESS, enc.JPEG_LS, enc.JPEG_2000, enc.HTJ2K]


def made(syntax: str, stream: bytes, form: PixelForm = FORM, photometric: str = "") -> bytes:
    photometric = photometric or ("RGB" if form.samples == 3 else "MONOCHROME2")
    return bytes(decompress_frame(form, CompressedFrame(syntax, photometric, stream)).data)


def refused(
    syntax: str, stream: bytes, form: PixelForm = FORM, photometric: str = "", match: str = "."
) -> None:
    with pytest.raises(DecodeFailed, match=match):
        made(syntax, stream, form, photometric)


def jpeg_2000(frame: NDArray[np.generic] = GREY, **options: object) -> bytes:
    more = {"codecformat": "j2k", "reversible": True, "level": 0, **options}
    return bytes(imagecodecs.jpeg2k_encode(np.ascontiguousarray(frame), **more))


@pytest.mark.parametrize("syntax", STREAMS)
def test_one_pad_byte_may_follow_and_nothing_else(syntax: str) -> None:
    stream = compress(GREY, syntax)
    stream = stream[:-1] if syntax == enc.RLE and stream[-1] == 0 else stream
    assert made(syntax, stream) == GREY.tobytes()
    assert made(syntax, stream + b"\0") == GREY.tobytes()
    for more in (b"\1", b"\0\0", stream):
        refused(syntax, stream + more)


@pytest.mark.parametrize("syntax", STREAMS)
def test_a_cut_frame_is_none_with_or_without_its_end(syntax: str) -> None:
    stream = compress(GREY, syntax)
    for cut in (len(stream) // 2, len(stream) * 9 // 10):
        refused(syntax, stream[:cut])
        refused(syntax, stream[:cut] + b"\xff\xd9")


def test_frames_without_markers_have_exactly_their_length() -> None:
    raw = GREY.tobytes()

    def deflated(data: bytes) -> bytes:
        engine = zlib.compressobj(wbits=-15)
        return engine.compress(data) + engine.flush()

    for pad in (b"", b"\0"):
        assert made(px.ENCAPSULATED_UNCOMPRESSED, raw + pad) == raw
        assert made(px.DEFLATED_FRAMES, deflated(raw) + pad) == raw
    for wrong in (raw[:-1], raw + b"\1", raw + b"\0\0", raw + raw):
        refused(px.ENCAPSULATED_UNCOMPRESSED, wrong)
        refused(px.DEFLATED_FRAMES, deflated(wrong))
    refused(px.DEFLATED_FRAMES, deflated(raw) + b"\1")
    refused(px.DEFLATED_FRAMES, deflated(raw) + b"\0\0")
    refused(px.DEFLATED_FRAMES, deflated(raw)[:-2])


def test_an_rle_segment_makes_its_plane_and_no_more() -> None:
    def frame(*segments: bytes) -> bytes:
        starts = [64, 64 + len(segments[0])]
        return struct.pack("<16I", 2, *starts, *([0] * 13)) + b"".join(segments)

    form = replace(FORM, rows=1, columns=4)
    good = b"\x03abcd\0"
    assert made(enc.RLE, frame(b"\xfd\1", good), replace(form, bits_stored=16, high_bit=15))
    for wrong in (b"\x03abcd\1", b"\x03abcd\0\0\0", b"\x04abcde", b"\x03abc", b"\x02abc\0"):
        refused(enc.RLE, frame(b"\xfd\1", wrong), form)
        refused(enc.RLE, frame(wrong, good), form)
    third = bytearray(frame(b"\xfd\1", good))
    third[12] = 70
    refused(enc.RLE, bytes(third), form)


# --- JPEG process 14: an encoder of our own, for what others do not write ---------------------------


def jpeg_14(
    image: NDArray[np.generic], precision: int, selection: int = 1, *, scans: int = 1
) -> bytes:
    """T.81 annex H with one table in which each category has five bits."""
    planes = image.reshape(*image.shape[:2], -1).astype(int)
    rows, columns, count = planes.shape
    out = b"\xff\xd8\xff\xc3" + struct.pack(
        ">HBHHB", 8 + 3 * count, precision, rows, columns, count
    )
    out += b"".join(bytes([n + 1, 0x11, 0]) for n in range(count))
    out += b"\xff\xc4\0\x24\0" + bytes([0, 0, 0, 0, 17, *([0] * 11)]) + bytes(range(17))
    groups = [list(range(count))] if scans == 1 else [[n] for n in range(count)]
    for group in groups:
        out += b"\xff\xda" + struct.pack(">HB", 6 + 2 * len(group), len(group))
        out += b"".join(bytes([n + 1, 0]) for n in group) + bytes([selection, 0, 0])
        bits = ""
        for y in range(rows):
            for x in range(columns):
                for n in group:
                    bits += _bits_of(planes[:, :, n], y, x, precision, selection)
        bits += "1" * (-len(bits) % 8)
        out += int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return out + b"\xff\xd9"


def _bits_of(plane: NDArray[np.int_], y: int, x: int, precision: int, selection: int) -> str:
    a, b = int(plane[y, x - 1]), int(plane[y - 1, x])
    c = int(plane[y - 1, x - 1])
    others = [a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) >> 1]
    predicted = others[selection - 1] if y and x else b if y else a if x else 1 << (precision - 1)
    difference = (int(plane[y, x]) - predicted + 32767) % 65536 - 32767
    size = abs(difference).bit_length()
    code = f"{size:05b}"
    if size in (0, 16):
        return code
    return code + f"{difference if difference > 0 else difference + (1 << size) - 1:0{size}b}"


@pytest.mark.parametrize("selection", range(1, 8))
@pytest.mark.parametrize("precision", [8, 12, 16])
def test_samples_of_process_14_are_coded_again(precision: int, selection: int) -> None:
    rng = np.random.default_rng(selection)
    image = rng.integers(0, 1 << precision, (9, 7)).astype(np.uint16)
    said = process_14(jpeg_14(image, precision, selection))
    check_samples(said, image)
    for y, x in ((0, 0), (0, 3), (4, 0), (8, 6)):
        other = image.copy()
        other[y, x] ^= 1
        with pytest.raises(DecodeFailed):
            check_samples(said, other)
    for coded in (said.coded[:-3], said.coded + b"\1"):
        with pytest.raises(DecodeFailed):
            check_samples(replace(said, coded=coded), image)


def test_process_14_in_colour_has_one_scan_without_subsampling_or_restarts() -> None:
    stream = jpeg_14(COLOUR, 8)
    assert made(enc.JPEG_LOSSLESS, stream, RGB) == COLOUR.tobytes()
    refused(enc.JPEG_LOSSLESS, jpeg_14(COLOUR, 8, scans=3), RGB, match="segments")
    subsampled = bytearray(stream)
    subsampled[stream.index(b"\xff\xc3") + 11] = 0x21
    refused(enc.JPEG_LOSSLESS, bytes(subsampled), RGB, match="subsampled")
    restarts = stream.replace(b"\xff\xda", b"\xff\xdd\0\4\0\0\xff\xda", 1)
    refused(enc.JPEG_LOSSLESS, restarts, RGB, match="foreseen")
    transformed = bytearray(stream)
    transformed[stream.index(b"\xff\xda") + 13] = 1
    refused(enc.JPEG_LOSSLESS, bytes(transformed), RGB, match="point transform")


def test_entropy_coded_data_that_are_missing_are_missed() -> None:
    stream = jpeg_14(GREY, 16)
    start = len(stream) - len(process_14(stream).coded) - 2
    for share in (2, 10, 100):
        cut = stream[: len(stream) - (len(stream) - start) // share]
        refused(enc.JPEG_LOSSLESS, cut.rstrip(b"\xff") + b"\xff\xd9")
    refused(enc.JPEG_LOSSLESS, stream[:-2] + b"\x12\x34\xff\xd9", match="more than the samples")


# --- JPEG-LS ---------------------------------------------------------------------------------------


def jpeg_ls_planes(near: tuple[int, ...]) -> bytes:
    """A scan each component (ILV 0)."""
    head, scans = b"", b""
    for number, level in enumerate(near):
        plane = np.ascontiguousarray(COLOUR[..., number])
        one = bytes(imagecodecs.jpegls_encode(plane, level=level))
        begin = one.index(b"\xff\xda")
        frame = one.index(b"\xff\xf7")
        size = 2 + struct.unpack_from(">H", one, frame + 2)[0]
        names = b"".join(bytes([n + 1, 0x11, 0]) for n in range(3))
        head = head or (
            one[:frame]
            + b"\xff\xf7"
            + struct.pack(">HBHHB", 17, 8, ROWS, COLUMNS, 3)
            + names
            + one[frame + size : begin]
        )
        scans += one[begin : begin + 5] + bytes([number + 1]) + one[begin + 6 : -2]
    return head + scans + b"\xff\xd9"


def test_every_scan_of_jpeg_ls_is_lossless_and_every_component_in_one() -> None:
    assert made(enc.JPEG_LS, jpeg_ls_planes((0, 0, 0)), RGB) == COLOUR.tobytes()
    refused(enc.JPEG_LS, jpeg_ls_planes((0, 0, 2)), RGB, match="lost")
    stream = compress(GREY, enc.JPEG_LS)
    begin = stream.index(b"\xff\xda")
    mapped = stream[:begin] + b"\xff\xf8\0\6\2\1\1\0" + stream[begin:]
    refused(enc.JPEG_LS, mapped, match="mapping")
    twisted = stream[:2] + b"\xff\xe8\0\7mrfx\1" + stream[2:]
    refused(enc.JPEG_LS, twisted, match="colour transform")


# --- JPEG 2000 -------------------------------------------------------------------------------------


def patched(stream: bytes, at: int, byte: int) -> bytes:
    out = bytearray(stream)
    out[at] = byte
    return bytes(out)


def with_segment(stream: bytes, segment: bytes) -> bytes:
    """A segment more in the header of the first tile-part."""
    out = bytearray(stream)
    tile = out.index(b"\xff\x90")
    (length,) = struct.unpack_from(">I", out, tile + 6)
    struct.pack_into(">I", out, tile + 6, length + len(segment))
    out[tile + 12 : tile + 12] = segment
    return bytes(out)


def test_of_jpeg_2000_only_plain_codestreams_are_taken() -> None:
    boxed = bytes(imagecodecs.jpeg2k_encode(GREY, codecformat="jp2", reversible=True, level=0))
    assert boxed[4:8] == b"jP  "
    refused(enc.JPEG_2000, boxed, match="raw")
    stream = jpeg_2000()
    assert made(enc.JPEG_2000, stream) == GREY.tobytes()
    refused(enc.JPEG_2000, patched(stream, 43, 2), match="kinds")  # XRsiz
    colour = jpeg_2000(COLOUR, mct=False)
    refused(enc.JPEG_2000, patched(colour, 45, 0x87), RGB, match="kinds")  # a sign of its own
    style = stream.index(b"\xff\x52")
    (size,) = struct.unpack_from(">H", stream, style + 2)
    lossy = patched(stream[style : style + 2 + size], 13, 0)
    refused(enc.JPEG_2000, with_segment(stream, lossy), match="lost")
    part_2 = b"\xff\x76\0\4\0\0"
    refused(enc.JPEG_2000, with_segment(stream, part_2), match="foreseen")


def test_every_tile_is_there() -> None:
    stream = jpeg_2000()
    check_codestream(enc.JPEG_2000, stream)
    halves = bytearray(stream)
    struct.pack_into(">I", halves, 24, COLUMNS // 2)  # XTsiz
    tile = stream[stream.index(b"\xff\x90") : -2]
    second = tile[:5] + b"\1" + tile[6:]
    body, end = bytes(halves[:-2]), b"\xff\xd9"
    check_codestream(enc.JPEG_2000, body + second + end)
    for wrong, match in ((b"", "not all"), (tile, "order"), (second * 2, "order")):
        with pytest.raises(DecodeFailed, match=match):
            check_codestream(enc.JPEG_2000, body + wrong + end)
    with pytest.raises(DecodeFailed, match="ends inside"):
        check_codestream(enc.JPEG_2000, stream[:-2])


def test_header_and_codestream_agree_on_a_colour_transform() -> None:
    for transform, name in ((True, "RGB"), (True, "YBR_RCT"), (False, "RGB")):
        stream = jpeg_2000(COLOUR, mct=transform)
        assert made(enc.JPEG_2000, stream, RGB, name) == COLOUR.tobytes()
    refused(enc.JPEG_2000, jpeg_2000(COLOUR, mct=False), RGB, "YBR_RCT", match="colour space")
    refused(enc.JPEG_LS, compress(COLOUR, enc.JPEG_LS), RGB, "YBR_RCT", match="colour space")


# --- values ----------------------------------------------------------------------------------------

Encoder = Callable[[NDArray[np.generic], int], bytes]
ENCODERS: dict[str, Encoder] = {
    enc.JPEG_LS: lambda frame, bits: bytes(imagecodecs.jpegls_encode(frame)),
    enc.JPEG_LOSSLESS: lambda frame, bits: bytes(
        imagecodecs.jpeg8_encode(frame, lossless=True, predictor=1, bitspersample=bits)
    ),
    enc.JPEG_2000: lambda frame, bits: jpeg_2000(frame, bitspersample=bits),
}


@pytest.mark.parametrize("syntax", ENCODERS)
def test_bits_above_the_stored_ones_are_sign_or_the_object_stays(syntax: str) -> None:
    signed = replace(FORM, signed=True)
    values = (GREY.astype(np.int16) - 2048).view(np.uint16)
    assert made(syntax, ENCODERS[syntax](values, 16), signed) == values.tobytes()
    overlay = (values & 0xFFF) | ((X // 7 + Y // 5) % 2 << 12).astype(np.uint16)
    for form in (FORM, signed):
        for bits in (13, 16):
            refused(syntax, ENCODERS[syntax](overlay, bits), form, match="more than 12 bits")
    refused(syntax, ENCODERS[syntax](GREY, 16), replace(FORM, high_bit=15), match="other bits")


def test_signed_values_and_long_ones_do_not_wrap() -> None:
    negative = np.ascontiguousarray(np.broadcast_to(X * 20 - 3000, GREY.shape).astype(np.int16))
    for stream, syntax in (
        (jpeg_2000(negative), enc.JPEG_2000),
        (bytes(imagecodecs.htj2k_encode(negative, reversible=True, resolutions=1)), enc.HTJ2K),
    ):
        for signed in (False, True):
            eight = PixelForm(ROWS, COLUMNS, 1, 8, 8, 7, signed)
            refused(syntax, stream, eight, match="more bits than are allocated")
            refused(syntax, stream, replace(FORM, signed=signed), match="more than 12 bits")


def test_a_sign_that_cannot_be_told_is_not_guessed() -> None:
    signed = replace(FORM, signed=True)
    small = (GREY % 256).astype(np.uint8)
    refused(enc.JPEG_LS, compress(small, enc.JPEG_LS), signed, match="cannot be told")
    positive = small // 2
    kept = made(enc.JPEG_LS, compress(positive, enc.JPEG_LS), signed)
    assert kept == positive.astype(np.uint16).tobytes()
