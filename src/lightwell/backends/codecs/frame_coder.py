"""The decoder pool as the archive's `FrameCoder`: batches to limited children, results in their order.

A batch that breaks its child is tried again frame by frame, so that one hostile frame fails alone, and a
child that died of something else fails none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Generic, TypeVar

from lightwell.backends.codecs import protocol
from lightwell.backends.codecs.errors import DecodeFailed, DecodeRefused
from lightwell.backends.codecs.pixels import CodeJob
from lightwell.backends.codecs.pool import DecoderPool
from lightwell.backends.codecs.protocol import Task
from lightwell.domain.archive.coding import (
    Buffer,
    CodedFrame,
    CompressedFrame,
    NativeFrame,
    NotCoded,
    PixelForm,
)
from lightwell.kernel.errors import Unavailable

T = TypeVar("T")
_Frame = TypeVar("_Frame")
_Made = TypeVar("_Made")


class PoolFrameCoder:
    """`domain.archive.ports.FrameCoder`. Give it a pool of its own: work must not stand in the doors' way.

    The pool has to be started, and closed, by its owner.
    """

    def __init__(self, pool: DecoderPool) -> None:
        self._pool = pool

    @property
    def depth(self) -> int:
        """Batches worth keeping under way: one a child, and one ready for each."""
        return 2 * self._pool.workers

    def encode(
        self, frames: Sequence[tuple[PixelForm, Buffer]]
    ) -> Future[list[CodedFrame | NotCoded]]:
        """See the port."""
        return self._batch(list(frames), self._encode)

    def decode(
        self, frames: Sequence[tuple[PixelForm, CodedFrame]]
    ) -> Future[list[memoryview | NotCoded]]:
        """See the port."""
        return self._batch(list(frames), self._rebuild)

    def decompress(
        self, frames: Sequence[tuple[PixelForm, CompressedFrame]]
    ) -> Future[list[NativeFrame | NotCoded]]:
        """See the port."""
        return self._batch(list(frames), self._decompress)

    def coarse(self, prefix: bytes, levels: int, reduction: int) -> Future[bytes]:
        """See the port."""
        job = CodeJob((), (prefix,), picture=(levels, reduction))
        return _then(self._pool.submit(Task.COARSE, job), bytes)

    def _encode(
        self, frames: list[tuple[PixelForm, Buffer]]
    ) -> Future[list[CodedFrame | NotCoded]]:
        forms = tuple(form for form, _frame in frames)
        job = CodeJob(forms, tuple(frame for _form, frame in frames))
        answer = self._pool.submit(Task.ENCODE, job)
        return _then(answer, lambda raw: protocol.unpack_coded(raw, forms))

    def _rebuild(
        self, frames: list[tuple[PixelForm, CodedFrame]]
    ) -> Future[list[memoryview | NotCoded]]:
        forms = tuple(form for form, _coded in frames)
        buffers = tuple(part for _form, coded in frames for part in (coded.stream, coded.side))
        job = CodeJob(forms, buffers, zeros=tuple(coded.zero for _form, coded in frames))
        answer = self._pool.submit(Task.REBUILD, job)
        return _then(answer, lambda raw: protocol.unpack_rebuilt(raw, forms))

    def _decompress(
        self, frames: list[tuple[PixelForm, CompressedFrame]]
    ) -> Future[list[NativeFrame | NotCoded]]:
        forms = tuple(form for form, _frame in frames)
        said = tuple((frame.syntax, frame.photometric) for _form, frame in frames)
        job = CodeJob(forms, tuple(frame.data for _form, frame in frames), said=said)
        answer = self._pool.submit(Task.DECOMPRESS, job)
        return _then(answer, lambda raw: protocol.unpack_decompressed(raw, forms))

    def _batch(
        self,
        frames: list[_Frame],
        run: Callable[[list[_Frame]], Future[list[_Made | NotCoded]]],
        *,
        again: bool = True,
    ) -> Future[list[_Made | NotCoded]]:
        result: Future[list[_Made | NotCoded]] = Future()
        if not frames:
            result.set_result([])
            return result

        def over(done: Future[list[_Made | NotCoded]]) -> None:
            trouble = done.exception()
            if trouble is None:
                result.set_result(done.result())
            elif not isinstance(trouble, DecodeFailed | DecodeRefused):
                result.set_exception(trouble)
            elif self._pool.closed:  # its children were ended: no fault of the frames
                result.set_exception(Unavailable("The decoder pool is closed."))
            elif again:
                single = partial(self._batch, run=run, again=False)
                _OneByOne(frames, lambda frame: single([frame]), result).start()
            else:
                result.set_result([NotCoded(str(trouble))])

        try:
            run(frames).add_done_callback(over)
        except (DecodeFailed, DecodeRefused) as trouble:  # refused before it was queued
            failed: Future[list[_Made | NotCoded]] = Future()
            failed.set_exception(trouble)
            over(failed)
        return result


class _OneByOne(Generic[_Frame, _Made]):
    """The frames of a failed batch, each alone; their results become those of the batch."""

    def __init__(
        self,
        frames: list[_Frame],
        run: Callable[[_Frame], Future[list[_Made | NotCoded]]],
        result: Future[list[_Made | NotCoded]],
    ) -> None:
        self._frames = frames
        self._run = run
        self._result = result
        self._made: list[_Made | NotCoded] = []

    def start(self) -> None:
        """Begin with the first; each begins the next when it is done."""
        self._next()

    def _next(self) -> None:
        if len(self._made) == len(self._frames):
            self._result.set_result(self._made)
            return
        try:
            self._run(self._frames[len(self._made)]).add_done_callback(self._one_done)
        except Exception as trouble:  # noqa: BLE001 - whatever it is, somebody waits for it
            self._result.set_exception(trouble)

    def _one_done(self, done: Future[list[_Made | NotCoded]]) -> None:
        trouble = done.exception()
        if trouble is not None:
            self._result.set_exception(trouble)
            return
        self._made += done.result()
        self._next()


def _then(answer: Future[bytearray], read: Callable[[bytearray], T]) -> Future[T]:
    """A future of what `read` makes of the answer; nonsense from a child is DecodeFailed."""
    result: Future[T] = Future()

    def over(done: Future[bytearray]) -> None:
        if done.cancelled():  # it was still in the queue when the pool was closed
            result.set_exception(Unavailable("The decoder pool is closed."))
            return
        trouble = done.exception()
        if trouble is not None:
            result.set_exception(trouble)
            return
        try:
            result.set_result(read(done.result()))
        except ValueError as nonsense:
            failed = DecodeFailed("The decoder's answer makes no sense.")
            failed.__cause__ = nonsense
            result.set_exception(failed)

    answer.add_done_callback(over)
    return result
