"""The frame coder with real child processes: batches, hostile frames, dead children."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest

from lightwell.backends.codecs.errors import DecodeFailed
from lightwell.backends.codecs.frame_coder import PoolFrameCoder
from lightwell.backends.codecs.htj2k import decode_coarse, encode_frame
from lightwell.backends.codecs.pixels import Limits
from lightwell.backends.codecs.pool import DecoderPool
from lightwell.dicom.tile_parts import tile_parts
from lightwell.domain.archive.coding import CodedFrame, NotCoded, PixelForm
from lightwell.kernel.errors import Unavailable

FORM = PixelForm(128, 128, 1, 16, 12, 11)
STRAYED = PixelForm(32, 32, 1, 16, 12, 11, overlays=(12, 13))
COLOUR = PixelForm(64, 50, 3, 8, 8, 7, planar=True)
FORMS = (FORM, STRAYED, COLOUR)


@pytest.fixture
async def pool() -> AsyncIterator[DecoderPool]:
    async with DecoderPool(workers=2, limits=Limits(seconds=5)) as made:
        yield made


def _frame(form: PixelForm, seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(form.frame_bytes)


async def test_batches_of_several_forms_come_back_in_order(pool: DecoderPool) -> None:
    coder = PoolFrameCoder(pool)
    assert coder.depth == 4
    given = [(FORMS[n % 3], _frame(FORMS[n % 3], n)) for n in range(20)]
    coded = coder.encode([(form, memoryview(frame)) for form, frame in given]).result(30)
    for (form, frame), one in zip(given, coded, strict=True):
        assert one == encode_frame(form, frame)
    planes = [one.planes for one in coded if isinstance(one, CodedFrame) and one.planes]
    assert {tuple(map(len, each)) for each in planes} == {(128, 128)}
    forms = [form for form, _frame in given]
    back = coder.decode(list(zip(forms, coded, strict=True))).result(30)
    assert [bytes(one) for one in back] == [frame for _form, frame in given]
    assert coder.encode([]).result(1) == []


async def test_a_damaged_frame_fails_alone(pool: DecoderPool) -> None:
    coder = PoolFrameCoder(pool)
    good = encode_frame(FORM, _frame(FORM, 1))
    cut = replace(good, stream=good.stream[:40])
    back = coder.decode([(FORM, good), (FORM, cut), (COLOUR, good), (FORM, good)]).result(30)
    assert [isinstance(one, NotCoded) for one in back] == [False, True, True, False]
    short = coder.encode([(FORM, bytes(10)), (FORM, _frame(FORM, 1))]).result(30)
    assert isinstance(short[0], NotCoded)
    assert short[1] == good


async def test_a_frame_that_asks_for_too_much_fails_alone() -> None:
    """The codestream says 30,000 x 30,000, and so does its recipe."""
    async with DecoderPool(workers=1, limits=Limits(memory=1 << 30, seconds=5)) as pool:
        coder = PoolFrameCoder(pool)
        good = encode_frame(FORM, _frame(FORM, 1))
        huge = bytearray(good.stream)
        for at in (8, 12, 24, 28):  # Xsiz, Ysiz, XTsiz, YTsiz (ISO 15444-1 A.5.1)
            struct.pack_into(">I", huge, at, 30_000)
        bomb = replace(good, stream=bytes(huge))
        asks = replace(FORM, rows=30_000, columns=30_000)
        made = coder.decode([(FORM, good), (asks, bomb), (FORM, good)]).result(60)
        assert [isinstance(one, NotCoded) for one in made] == [False, True, False]


async def test_children_killed_from_outside_are_replaced(pool: DecoderPool) -> None:
    coder = PoolFrameCoder(pool)
    for pid in pool.pids:
        os.kill(pid, signal.SIGKILL)
    coded = coder.encode([(FORM, _frame(FORM, 3))]).result(30)
    assert coded == [encode_frame(FORM, _frame(FORM, 3))]


async def test_coarse_pictures(pool: DecoderPool) -> None:
    coder = PoolFrameCoder(pool)
    stream = encode_frame(FORM, _frame(FORM, 4)).stream
    prefix = stream[: tile_parts(stream).ends[2]]
    reduction = FORM.levels - 2
    wanted = decode_coarse(stream, FORM.levels, reduction)
    assert coder.coarse(prefix, FORM.levels, reduction).result(30) == wanted.tobytes()
    with pytest.raises(DecodeFailed):
        coder.coarse(prefix[:50], FORM.levels, reduction).result(30)


async def test_a_closed_pool_says_so() -> None:
    pool = DecoderPool(workers=1)
    await pool.start()
    await pool.close()
    with pytest.raises(Unavailable):
        PoolFrameCoder(pool).encode([(FORM, _frame(FORM, 1))]).result(5)


async def test_closing_while_batches_wait_ends_them_all() -> None:
    pool = DecoderPool(workers=1)
    await pool.start()
    coder = PoolFrameCoder(pool)
    waiting = [coder.encode([(FORM, _frame(FORM, 1))] * 50) for _ in range(8)]
    await pool.close()
    for future in waiting:
        try:
            assert len(await asyncio.to_thread(future.result, 10)) == 50
        except Unavailable:
            continue
