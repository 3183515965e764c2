"""Tile-parts of HTJ2K codestreams, and hostile ones."""

from __future__ import annotations

import struct

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.dicom.errors import DicomError, Truncated
from lightwell.dicom.tile_parts import tile_parts


def _stream(levels: int = 3, tlm: bool = True) -> bytes:
    picture = np.random.default_rng(1).integers(0, 4000, (70, 90), dtype=np.uint16)
    made = imagecodecs.htj2k_encode(
        picture, reversible=True, resolutions=levels, rgb=False, planar=False, tlm=tlm, tilepart=1
    )
    return bytes(made)


STREAM = _stream()


@pytest.mark.parametrize("levels", [1, 3, 5])
@pytest.mark.parametrize("tlm", [True, False])
def test_one_part_a_resolution(levels: int, tlm: bool) -> None:
    stream = _stream(levels, tlm)
    found = tile_parts(stream)
    assert (found.rows, found.columns, found.components) == (70, 90, 1)
    assert (found.levels, found.rpcl, found.reversible) == (levels, True, True)
    assert len(found.ends) == levels + 1
    assert found.length == len(stream)
    assert list(found.ends) == sorted(found.ends)
    for end in found.ends[:-1]:
        assert stream[end : end + 2] == b"\xff\x90"
    assert stream[found.ends[-1] :] == b"\xff\xd9"
    assert not found.component_transform


def test_colour_has_the_component_transform() -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    stream = imagecodecs.htj2k_encode(
        picture, reversible=True, resolutions=1, rgb=True, planar=False
    )
    assert tile_parts(bytes(stream)).component_transform


def test_every_truncation_is_an_error() -> None:
    for length in range(0, len(STREAM), 13):
        with pytest.raises(DicomError):
            tile_parts(STREAM[:length])
    with pytest.raises(Truncated):
        tile_parts(STREAM[:-1])


def test_lengths_that_disagree() -> None:
    at = STREAM.index(b"\xff\x55")
    wrong = bytearray(STREAM)
    wrong[at + 11] ^= 1  # a length in the TLM segment
    with pytest.raises(DicomError, match="do not fit"):
        tile_parts(bytes(wrong))
    first = STREAM.index(b"\xff\x90")
    for length in (0, 5, 2**32 - 1):
        wrong = bytearray(STREAM)
        struct.pack_into(">I", wrong, first + 6, length)
        with pytest.raises(DicomError):
            tile_parts(bytes(wrong))


@given(st.binary(max_size=100), st.integers(0, len(STREAM) - 1))
def test_hostile_streams_raise_dicom_errors_only(garbage: bytes, at: int) -> None:
    for stream in (garbage, STREAM[:at] + garbage + STREAM[at + len(garbage) :]):
        try:
            found = tile_parts(stream)
        except DicomError:
            continue
        assert found.length <= len(stream)
