"""Cutting messages into P-DATA-TF PDUs."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightwell.wire.dimse.framing import (
    IS_COMMAND,
    IS_LAST,
    UNLIMITED_PDU,
    Buffer,
    fragment_size,
    frame_command,
    frame_data,
)

IOV_MAX = 1024


def pdvs(raw: bytes) -> list[tuple[int, int, bytes]]:
    """(context id, control, data) of each PDU, checking every length."""
    found, position = [], 0
    while position < len(raw):
        kind, length, value_length, context_id, control = struct.unpack_from(
            ">BxLLBB", raw, position
        )
        assert (kind, value_length) == (4, length - 4)
        found.append((context_id, control, raw[position + 12 : position + 6 + length]))
        position += 6 + length
    assert position == len(raw)
    return found


chunks_of_bytes = st.lists(st.binary(max_size=9000), max_size=12)


@settings(deadline=None)
@given(chunks_of_bytes, st.sampled_from([64, 122, 4096, 16378, 131066]))
def test_data_arrives_whole_in_full_even_pdus(chunks: list[bytes], size: int) -> None:
    raw = b"".join(b"".join(batch) for batch in frame_data(5, chunks, size))
    values = pdvs(raw)
    assert b"".join(data for _context, _control, data in values) == b"".join(chunks)
    assert {context for context, _control, _data in values} == {5}
    assert [control for _context, control, _data in values] == [0] * (len(values) - 1) + [IS_LAST]
    assert all(len(data) == size for _context, _control, data in values[:-1])


def test_an_empty_data_set_still_ends() -> None:
    (batch,) = frame_data(1, (), 4096)
    assert pdvs(b"".join(batch)) == [(1, IS_LAST, b"")]


@pytest.mark.parametrize(
    "chunks",
    [
        [bytes(1)] * 300_000,
        [bytes(5000)] * 2000,
        [bytes(20_000_000)],
    ],
)
@pytest.mark.parametrize("size", [122, 131066])
def test_no_list_is_too_long_for_sendmsg(chunks: list[Buffer], size: int) -> None:
    total = 0
    for batch in frame_data(1, chunks, size):
        assert len(batch) < IOV_MAX
        weight = sum(len(buffer) for buffer in batch)
        assert weight < (1 << 20) + 2 * size + 12 * IOV_MAX
        total += weight
    payload = sum(len(chunk) for chunk in chunks)
    assert total == payload + 12 * -(-payload // size)


def test_large_chunks_are_not_copied() -> None:
    data = bytearray(b"a" * 100_000)
    (batch,) = frame_data(1, [data], 131066)
    data[0] = ord("b")
    assert bytes(batch[1])[:2] == b"ba", "the list looks at the caller's own memory"


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=1000), st.integers(2, 400))
def test_commands_are_cut_too(command: bytes, size: int) -> None:
    values = pdvs(frame_command(3, command, size))
    assert b"".join(data for _context, _control, data in values) == command
    assert [control & IS_LAST for _context, control, _data in values][-1] == IS_LAST
    assert all(control & IS_COMMAND for _context, control, _data in values)
    assert all(len(data) <= size for _context, _control, data in values)


@pytest.mark.parametrize(
    ("announced", "size"),
    [(0, UNLIMITED_PDU - 6), (16384, 16378), (16383, 16376), (128, 122), (2**32 - 1, 262138)],
)
def test_fragments_honour_what_the_peer_announced(announced: int, size: int) -> None:
    assert fragment_size(announced) == size
