"""Frame indexes: every way in which frames can lie, and every way in which that can be wrong."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.dicom import tags
from lightwell.dicom.encode import encapsulate
from lightwell.dicom.errors import DicomError, FrameMissing, FramesUnknown, LimitExceeded
from lightwell.dicom.frames import (
    FragmentedFrames,
    FrameIndex,
    FrameLocator,
    NativeFrames,
    UnknownFrames,
    frame_bits,
    locate_frames,
)
from lightwell.dicom.header import Header
from lightwell.dicom.json_model import json_to_dataset_bytes
from lightwell.dicom.limits import DEFAULT
from lightwell.dicom.scanner import scan
from lightwell.dicom.uids import (
    TRANSFER_SYNTAXES,
    ExplicitVRLittleEndian,
    JPEGBaseline,
    RLELossless,
    TransferSyntax,
)
from lightwell.dicom.vrs import UNDEFINED, element_header
from lightwell.testing.pace import slowness

SOI = b"\xff\xd8\xff\xe0"


def head(frames: int | str | None = None, bits: int = 8, rows: int = 4, **more: Any) -> bytes:
    model: dict[str, Any] = {
        "00280010": {"vr": "US", "Value": [rows]},
        "00280011": {"vr": "US", "Value": [4]},
        "00280002": {"vr": "US", "Value": [more.pop("samples", 1)]},
        "00280004": {"vr": "CS", "Value": [more.pop("photometric", "MONOCHROME2")]},
        "00280100": {"vr": "US", "Value": [bits]},
        **more,
    }
    if frames is not None:
        model["00280008"] = {"vr": "IS", "Value": [str(frames)]}
    return json_to_dataset_bytes(model)


def scanned(data: bytes, syntax: TransferSyntax) -> Header:
    found = scan(data, syntax, complete=True)
    assert isinstance(found, Header)
    return found


def native(pixels: bytes, header: bytes) -> tuple[bytes, FrameIndex]:
    data = header + element_header(tags.PixelData, "OW", len(pixels)) + pixels
    return data, locate_frames(data, scanned(data, ExplicitVRLittleEndian), ExplicitVRLittleEndian)


def item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def encapsulated(
    header: bytes,
    fragments: Sequence[bytes],
    table: bytes = b"",
    syntax: TransferSyntax = JPEGBaseline,
    end: bytes = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0),
) -> tuple[bytes, FrameIndex]:
    data = header + element_header(tags.PixelData, "OB", UNDEFINED) + item(table)
    data += b"".join(map(item, fragments)) + end
    return data, locate_frames(data, scanned(data, syntax), syntax)


def content(data: bytes, index: FrameIndex, frame: int) -> bytes:
    return b"".join(data[offset : offset + length] for offset, length in index.spans(frame))


# native


def test_native_frames_are_arithmetic() -> None:
    pixels = bytes(range(48))
    data, index = native(pixels, head(3))
    assert isinstance(index, NativeFrames)
    assert [content(data, index, n) for n in (1, 2, 3)] == [pixels[i : i + 16] for i in (0, 16, 32)]
    assert index.defects == ()
    assert index.length(2) == 16
    for frame in (0, 4, -1):
        with pytest.raises(FrameMissing):
            index.spans(frame)


def test_two_thousand_million_frames_cost_nothing() -> None:
    start = time.process_time()
    _data, index = native(bytes(64), head(2_000_000_000))
    assert index.frames == 2_000_000_000
    assert index.present(4)
    assert not index.present(5)
    assert not index.present(2_000_000_000)
    assert len(index.to_bytes()) < 20
    assert [d.text for d in index.defects] == [
        "64 bytes of pixel data where 32000000000 are declared"
    ]
    assert time.process_time() - start < 2 * slowness()  # a loop over them takes minutes


def test_packed_bits_run_on_from_frame_to_frame() -> None:
    data, index = native(bytes(range(16)), head(5, bits=1, rows=5))  # 20 bits a frame
    assert isinstance(index, NativeFrames)
    base = index.offset
    assert index.spans(1) == [(base, 3)]
    assert index.spans(2) == [(base + 2, 3)]
    assert [index.bit_skew(n) for n in (1, 2, 3)] == [0, 4, 0]
    assert index.spans(5) == [(base + 10, 3)]
    assert data


@pytest.mark.parametrize(
    ("more", "bits"),
    [
        ({"samples": 3, "photometric": "RGB"}, 384),
        ({"samples": 3, "photometric": "YBR_FULL_422"}, 256),
        ({"samples": 3, "photometric": "YBR_FULL"}, 384),
    ],
)
def test_the_size_of_a_frame(more: dict[str, Any], bits: int) -> None:
    assert frame_bits(scanned(head(1, **more), ExplicitVRLittleEndian)) == bits


def test_unknown_size_is_said() -> None:
    _data, index = native(bytes(64), head(1, rows=0))
    assert isinstance(index, UnknownFrames)
    with pytest.raises(FramesUnknown, match="size of a frame"):
        index.spans(1)


def test_missing_and_surplus_bytes_are_defects() -> None:
    assert native(bytes(17), head(1))[1].defects != ()
    assert native(bytes(16), head(1))[1].defects == ()
    odd = native(bytes(10), head(1, rows=9, bits=1))[1]  # 36 bits: 5 bytes and a pad
    assert [d.text for d in odd.defects] == ["5 bytes more than the frames need"]


def test_a_cut_object_has_the_frames_that_arrived() -> None:
    data, _ = native(bytes(48), head(3))
    cut = data[:-20]
    header = scanned(cut, ExplicitVRLittleEndian)
    index = locate_frames(cut, header, ExplicitVRLittleEndian)
    assert [index.present(n) for n in (1, 2, 3)] == [True, False, False]
    assert [d.code for d in index.defects] == ["truncated"]


# encapsulated

FRAMES = [SOI + bytes([n]) * (2 * n + 2) for n in range(4)]


def test_one_fragment_a_frame_without_a_table() -> None:
    data, index = encapsulated(head(4), FRAMES)
    assert [content(data, index, n) for n in range(1, 5)] == FRAMES
    assert index.defects == ()


def test_one_frame_of_many_fragments() -> None:
    data, index = encapsulated(head(None), [SOI, b"ab", b"cd"])
    assert content(data, index, 1) == SOI + b"abcd"


def test_codestream_starts_divide_when_there_is_no_table() -> None:
    data, index = encapsulated(head(2), [SOI, b"ab", SOI, b"cd", b"ef"])
    assert [content(data, index, n) for n in (1, 2)] == [SOI + b"ab", SOI + b"cdef"]


def test_rle_headers_are_codestream_starts() -> None:
    rle = struct.pack("<16I", 1, 64, *[0] * 14)
    data, index = encapsulated(head(2), [rle, b"ab", rle], syntax=RLELossless)
    assert [content(data, index, n) for n in (1, 2)] == [rle + b"ab", rle]


def test_the_basic_offset_table_divides() -> None:
    fragments = [SOI, b"abcd", b"no start", b"ef"]
    table = struct.pack("<2I", 0, 8 + 4 + 8 + 4)
    data, index = encapsulated(head(2), fragments, table)
    assert [content(data, index, n) for n in (1, 2)] == [SOI + b"abcd", b"no startef"]
    assert index.defects == ()


@pytest.mark.parametrize("table", [(0, 11), (0, 12, 24), (5, 12), (0, 0), (12, 0)])
def test_a_wrong_table_is_a_defect_and_something_else_decides(table: tuple[int, ...]) -> None:
    data, index = encapsulated(head(2), [SOI, SOI], struct.pack(f"<{len(table)}I", *table))
    assert content(data, index, 2) == SOI
    assert len(index.defects) == 1


def test_what_cannot_be_told_apart_is_not_guessed() -> None:
    data, index = encapsulated(head(2), [SOI, b"ab", b"cd"])
    assert isinstance(index, UnknownFrames)
    with pytest.raises(FramesUnknown, match="cannot be told apart"):
        index.spans(1)
    assert b"".join(data[o : o + n] for o, n in index.stream()) == SOI + b"abcd"
    _data, few = encapsulated(head(5), [SOI, SOI])
    with pytest.raises(FramesUnknown, match="cannot hold 5"):
        few.spans(1)


def test_video_is_one_stream() -> None:
    video = TRANSFER_SYNTAXES["1.2.840.10008.1.2.4.102"]
    data, index = encapsulated(head(100), [b"abcd", b"ef"], syntax=video)
    assert isinstance(index, UnknownFrames)
    assert b"".join(data[o : o + n] for o, n in index.stream()) == b"abcdef"


def extended(frames: Sequence[bytes], lengths: Sequence[int]) -> dict[str, Any]:
    import base64

    offsets = [sum(8 + len(f) for f in frames[:n]) for n in range(len(frames))]
    pack = struct.Struct(f"<{len(frames)}Q").pack
    return {
        "7FE00001": {"vr": "OV", "InlineBinary": base64.b64encode(pack(*offsets)).decode()},
        "7FE00002": {"vr": "OV", "InlineBinary": base64.b64encode(pack(*lengths)).decode()},
    }


def test_the_extended_table_divides_and_gives_exact_lengths() -> None:
    frames = [b"abcdef", b"gh", b"no start at all\0"]
    data, index = encapsulated(head(3, **extended(frames, [5, 2, 15])), frames)
    assert [content(data, index, n) for n in (1, 2, 3)] == [b"abcde", b"gh", b"no start at all"]
    assert index.defects == ()


def test_a_lying_extended_table_is_a_defect() -> None:
    frames = [SOI, SOI]
    data, index = encapsulated(head(2, **extended([b"longer than it is"] * 2, [9, 9])), frames)
    assert content(data, index, 2) == SOI
    assert "Extended Offset Table" in index.defects[0].text


def unaccounted(header: bytes, fragments: Sequence[bytes], table: bytes = b"") -> str:
    data, index = encapsulated(header, fragments, table)
    assert isinstance(index, FragmentedFrames)
    found = scanned(data, JPEGBaseline)
    locator = FrameLocator(found, JPEGBaseline)
    locator.feed(data[found.pixel_offset :])
    locator.finish()
    return locator.unaccounted(index, codestreams=True)


def test_fragments_and_tables_that_are_no_part_of_one_frame() -> None:
    two, table = [SOI, SOI + b"more"], struct.pack("<2I", 0, 12)
    both = extended(two, [4, 8])
    assert unaccounted(head(), [SOI, b"more"]) == ""
    assert unaccounted(head(2), two) == unaccounted(head(2), two, table) == ""
    assert unaccounted(head(2, **both), two) == ""
    assert unaccounted(head(2, **extended(two, [3, 7])), two) == ""  # pad bytes
    assert "codestreams" in unaccounted(head(), two)
    assert "codestreams" in unaccounted(head(2), [SOI, b"no start"])
    assert "codestreams" in unaccounted(head(2), [*two, SOI], table)
    assert "Basic" in unaccounted(head(1), [SOI], struct.pack("<2I", 0, 12))
    assert "Basic" in unaccounted(head(2), two, table + b"\0\0")
    assert "Number of Frames" in unaccounted(head(0), [SOI])
    assert "none can be" in unaccounted(head(2, **both), two, table)
    del both["7FE00001"]
    assert "none can be" in unaccounted(head(2, **both), two)
    assert "lengths" in unaccounted(head(2, **extended(two, [4, 6])), two)
    longer = extended([*two, SOI], [4, 8, 4])
    assert "other entries" in unaccounted(head(2, **longer), two)


def test_offsets_beyond_four_gibibytes_wrap_around() -> None:
    frames = 3
    big = (1 << 32) - 16  # one fragment that is nearly 4 GiB, made of length only
    header = scanned(head(frames) + element_header(tags.PixelData, "OB", UNDEFINED), JPEGBaseline)
    locator = FrameLocator(header, JPEGBaseline)
    table = struct.pack("<3I", 0, (big + 8) & 0xFFFFFFFF, (big + 8 + 108) & 0xFFFFFFFF)
    locator.feed(item(table) + struct.pack("<HHI", 0xFFFE, 0xE000, big))
    chunk = memoryview(bytes(1 << 28))
    for _ in range(15):
        locator.feed(chunk)
    locator.feed(chunk[: big - 15 * len(chunk)])
    locator.feed(item(bytes(100)) + item(bytes(6)) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
    index = locator.finish()
    assert index.defects == ()
    base = header.pixel_offset or 0
    assert index.spans(1) == [(base + 28, big)]
    assert index.spans(3) == [(base + 28 + big + 108 + 8, 6)]


def test_pixel_data_cut_off_or_spoiled() -> None:
    data, index = encapsulated(head(3), FRAMES[:2], end=b"")
    assert [index.present(n) for n in (1, 2, 3)] == [True, True, False]
    assert index.defects[0].code == "truncated"
    data, index = encapsulated(head(2), FRAMES[:2], end=b"garbage, no delimiter")
    assert content(data, index, 2) == FRAMES[1]
    assert len(index.defects) == 1


def test_the_tail_begins_after_the_delimiter() -> None:
    data, _ = encapsulated(head(1), [SOI])
    header = scanned(data, JPEGBaseline)
    locator = FrameLocator(header, JPEGBaseline)
    assert locator.tail_offset is None
    locator.feed(data[header.pixel_offset :] + b"tail")
    assert locator.done
    assert locator.tail_offset == len(data)


def test_too_many_fragments_are_refused() -> None:
    header = scanned(head(1) + element_header(tags.PixelData, "OB", UNDEFINED), JPEGBaseline)
    locator = FrameLocator(header, JPEGBaseline, limits=replace(DEFAULT, fragments=1000))
    with pytest.raises(LimitExceeded):
        locator.feed(item(b"") * 2000)
    locator = FrameLocator(header, JPEGBaseline, limits=replace(DEFAULT, fragments=1000))
    with pytest.raises(LimitExceeded, match="Offset Table"):
        locator.feed(struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFF0))


@given(
    st.lists(st.binary(max_size=12), max_size=6),
    st.integers(0, 8),
    st.binary(max_size=16),
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.booleans(),
)
def test_any_cut_gives_the_same_index_and_it_survives_serialisation(
    fragments: list[bytes], frames: int, table: bytes, steps: list[int], starts: bool
) -> None:
    parts = [SOI + f for f in fragments] if starts else fragments
    data, whole = encapsulated(head(frames), parts, table)
    header = scanned(data, JPEGBaseline)
    locator = FrameLocator(header, JPEGBaseline)
    at = header.pixel_offset or 0
    turn = 0
    while at < len(data):
        step = steps[turn % len(steps)]
        locator.feed(memoryview(data)[at : at + step])
        at += step
        turn += 1
    assert locator.finish() == whole
    assert FrameIndex.from_bytes(whole.to_bytes()) == whole
    for frame in range(1, whole.frames + 1):
        try:
            spans = whole.spans(frame)
        except DicomError:
            continue
        assert all(o >= (header.pixel_offset or 0) and o + n <= len(data) for o, n in spans)


def test_a_long_index_is_compact() -> None:
    data, index = encapsulated(head(5000), [SOI + bytes(60)] * 5000)
    assert isinstance(index, FragmentedFrames)
    assert len(index.to_bytes()) < 1000
    assert FrameIndex.from_bytes(index.to_bytes()) == index
    assert content(data, index, 4999) == SOI + bytes(60)


@given(st.binary(max_size=60))
def test_a_damaged_index_is_a_dicom_error(raw: bytes) -> None:
    for prefix in (b"", b"N\1", b"F\1", b"U\1", b"f\1", b"u\1"):
        try:
            index = FrameIndex.from_bytes(prefix + raw)
        except DicomError:
            continue
        index.present(1)


def test_what_encapsulate_writes_is_located() -> None:
    frames = [b"odd", b"even"]
    data = head(2) + b"".join(encapsulate(frames))
    index = locate_frames(data, scanned(data, JPEGBaseline), JPEGBaseline)
    assert [content(data, index, n) for n in (1, 2)] == [b"odd\0", b"even"]
