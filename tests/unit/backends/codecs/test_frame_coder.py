"""A batch that breaks its child is tried again frame by frame; other trouble is handed on."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from lightwell.backends.codecs import protocol
from lightwell.backends.codecs.errors import DecodeFailed, DecodeRefused
from lightwell.backends.codecs.frame_coder import PoolFrameCoder
from lightwell.backends.codecs.htj2k import encode_frame
from lightwell.backends.codecs.pixels import CodeJob
from lightwell.backends.codecs.protocol import Task
from lightwell.domain.archive.coding import NotCoded, PixelForm
from lightwell.kernel.errors import Unavailable

FORM = PixelForm(20, 20, 1, 8, 8, 7)
GOOD, POISON = bytes(range(200)) * 2, b"\xee" * 400


class _Pool:
    """Fails every job that has the poison in it, as a pool whose child died of it."""

    workers = 1
    closed = False

    def __init__(self, trouble: Exception, *, at_once: bool = False) -> None:
        self.trouble = trouble
        self.at_once = at_once
        self.sizes: list[int] = []

    def submit(self, task: Task, job: CodeJob) -> Future[bytearray]:
        assert task is Task.ENCODE
        self.sizes.append(len(job.buffers))
        answer: Future[bytearray] = Future()
        if POISON in job.buffers:
            if self.at_once:
                raise self.trouble
            answer.set_exception(self.trouble)
            return answer
        parts = [encode_frame(FORM, buffer) for buffer in job.buffers]
        answer.set_result(bytearray(b"".join(b"".join(protocol.pack_coded(p)) for p in parts)))
        return answer


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("trouble", [DecodeFailed("it died"), DecodeRefused("too much")])
def test_the_poison_fails_alone(trouble: Exception, at_once: bool) -> None:
    pool = _Pool(trouble, at_once=at_once)
    coder = PoolFrameCoder(pool)  # type: ignore[arg-type]
    made = coder.encode([(FORM, GOOD), (FORM, POISON), (FORM, GOOD)]).result(1)
    assert made == [encode_frame(FORM, GOOD), NotCoded(str(trouble)), encode_frame(FORM, GOOD)]
    assert pool.sizes == [3, 1, 1, 1]


def test_a_single_frame_has_a_second_try() -> None:
    pool = _Pool(DecodeFailed("it died"))
    made = PoolFrameCoder(pool).encode([(FORM, POISON)]).result(1)  # type: ignore[arg-type]
    assert (made, pool.sizes) == ([NotCoded("it died")], [1, 1])


def test_a_closed_pool_is_not_the_frames_fault() -> None:
    pool = _Pool(DecodeFailed("it was ended"))
    pool.closed = True
    with pytest.raises(Unavailable):
        PoolFrameCoder(pool).encode([(FORM, POISON)]).result(1)  # type: ignore[arg-type]


def test_trouble_that_is_not_the_frames_fault_is_raised() -> None:
    coder = PoolFrameCoder(_Pool(Unavailable("closed")))  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        coder.encode([(FORM, GOOD), (FORM, POISON)]).result(1)


def test_answers_that_make_no_sense() -> None:
    coded = b"".join(protocol.pack_coded(encode_frame(FORM, GOOD)))
    rebuilt = b"".join(map(bytes, protocol.pack_rebuilt(memoryview(GOOD))))
    assert protocol.unpack_rebuilt(rebuilt, [FORM]) == [memoryview(GOOD)]
    for raw in (b"", coded[:-1], coded + b"x"):
        with pytest.raises((ValueError, protocol.struct.error)):
            protocol.unpack_coded(raw, [FORM])
    for raw in (b"", rebuilt[:-1], rebuilt + b"x"):
        with pytest.raises((ValueError, protocol.struct.error)):
            protocol.unpack_rebuilt(raw, [FORM])
    with pytest.raises(ValueError, match="size"):
        protocol.unpack_rebuilt(rebuilt, [PixelForm(20, 21, 1, 8, 8, 7)])
