"""Bounded inflation."""

from __future__ import annotations

import tracemalloc
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.dicom.errors import DicomError, LimitExceeded, Truncated
from lightwell.dicom.inflate import STEP, InflatingReader, inflate_bounded
from lightwell.dicom.limits import DEFAULT


def deflate(data: bytes, wbits: int = -15) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return packer.compress(data) + packer.flush()


@given(st.binary(max_size=3000), st.integers(1, 50), st.sampled_from([-15, 15]))
def test_any_cut_gives_the_same_bytes(data: bytes, step: int, wbits: int) -> None:
    raw = deflate(data, wbits) + b"\0"
    pieces = [raw[i : i + step] for i in range(0, len(raw), step)]
    assert b"".join(inflate_bounded(pieces)) == data


def test_a_bomb_is_refused_at_the_ratio_in_bounded_memory() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = b"".join(packer.compress(bytes(1 << 20)) for _ in range(400)) + packer.flush()
    tracemalloc.start()
    pieces: list[int] = []
    with pytest.raises(LimitExceeded, match="200 times"):
        pieces.extend(map(len, inflate_bounded([raw])))
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert max(pieces) <= STEP
    assert sum(pieces) <= max(200 * len(raw), DEFAULT.inflate_free)


def test_the_total_is_bounded_whatever_the_ratio() -> None:
    limits = replace(DEFAULT, inflate_total=1000)
    with pytest.raises(LimitExceeded, match="more than 1000 bytes"):
        list(inflate_bounded([deflate(bytes(range(256)) * 10)], limits))


def test_small_and_very_compressible_is_fine() -> None:
    assert len(b"".join(inflate_bounded([deflate(bytes(8 << 20))]))) == 8 << 20


def test_a_cut_stream_and_a_damaged_one_are_told_apart() -> None:
    raw = deflate(bytes(range(256)) * 20)
    with pytest.raises(Truncated):
        list(inflate_bounded([raw[:-3]]))
    with pytest.raises(Truncated):
        list(inflate_bounded([]))
    with pytest.raises(DicomError, match="damaged"):
        list(inflate_bounded([b"\xff" * 100]))


def test_the_reader_says_when_the_stream_has_ended() -> None:
    reader = InflatingReader()
    raw = deflate(b"abc")
    assert b"".join(reader.feed(raw[:1])) == b""
    assert not reader.finished
    assert b"".join(reader.feed(raw[1:] + b"garbage")) == b"abc"
    assert reader.finished
    assert list(reader.finish()) == []


def test_what_lies_beyond_the_stream_is_told() -> None:
    engine = zlib.compressobj(wbits=-15)
    stream = engine.compress(b"a data set" * 9) + engine.flush()
    for more in (b"", b"\0", b"\0\1", b"\0\1\2"):
        for step in (1, 2, 7, 1000):
            reader = InflatingReader()
            whole = stream + more
            for at in range(0, len(whole), step):
                assert all(reader.feed(whole[at : at + step]))
            assert list(reader.finish()) == []
            assert reader.beyond == more[:2]
