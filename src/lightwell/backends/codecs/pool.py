"""A few limited child processes that decode and render, and the queue in front of them.

    async with DecoderPool(workers=2) as pool:
        jpeg = await pool.render(RenderJob(image, (frame,), request))

A job that kills its child, asks for too much or takes too long fails alone: the child is replaced
and every other job goes on. Nothing a child sends is trusted beyond its length. Measured: the way
through the child costs about 0.8 ms for a frame of 512 kB.
"""

from __future__ import annotations

import asyncio
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

from lightwell.backends.codecs import protocol
from lightwell.backends.codecs.errors import DecodeFailed, DecodeRefused
from lightwell.backends.codecs.pixels import (
    DEFAULT_LIMITS,
    DecodeJob,
    Limits,
    NativeFrame,
    RenderJob,
)
from lightwell.backends.codecs.protocol import Job, Status, Task
from lightwell.kernel.errors import Broken, Busy, Unavailable

_START_SECONDS = 30.0
_BUFFER = 1 << 20
_HELD = 128 << 20  # bytes a child keeps between jobs
_HEAP = 32 << 20  # glibc's greatest block that comes from the heap


@dataclass
class PoolStats:
    """Counts since the pool was made, for /metrics."""

    jobs: int = 0
    failed: int = 0
    refused: int = 0
    killed: int = 0
    started: int = 0


class DecoderPool:
    """`workers` children, at most `waiting` jobs in the queue, each child used `recycle_after` times.

    Raises from every job: DecodeFailed and DecodeRefused (both `invalid`, 422), Busy when the queue
    is full (503), Unavailable after `close`.
    """

    def __init__(
        self,
        workers: int = 2,
        *,
        waiting: int = 256,
        recycle_after: int = 1_000,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        if workers < 1:
            raise ValueError("a decoder pool needs at least one worker")
        self.limits = limits
        self.stats = PoolStats()
        self._recycle_after = recycle_after
        self._workers = workers
        self._places = threading.Semaphore(workers + waiting)
        # One thread a child: a child dies with the *thread* that started it (PR_SET_PDEATHSIG), so
        # they live as long as the pool, and each blocks on the socket of the child it uses.
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decoder")
        self._idle: queue.SimpleQueue[_Child | None] = queue.SimpleQueue()
        for _ in range(workers):
            self._idle.put(None)
        self._living: set[_Child] = set()
        self._lock = threading.Lock()
        self._closed = False

    async def __aenter__(self) -> DecoderPool:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        trouble: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Start the children now, so that the first job need not wait. Raises Broken."""
        ready = [self._threads.submit(self._warm) for _ in range(self._workers)]
        await asyncio.gather(*map(asyncio.wrap_future, ready))

    async def close(self) -> None:
        """End every child, running jobs included; waits until they are gone."""
        with self._lock:
            self._closed = True
            living = list(self._living)
        for child in living:
            child.kill()
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        with self._lock:
            living = list(self._living)
            self._living.clear()
        for child in living:
            child.kill()
            child.reap()

    @property
    def workers(self) -> int:
        """How many children work at the same time."""
        return self._workers

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def pids(self) -> frozenset[int]:
        """Process ids of the children alive now."""
        with self._lock:
            return frozenset(child.pid for child in self._living)

    async def render(self, job: RenderJob) -> bytes:
        """An encoded picture of the media type that the job's request names."""
        job.image.pixels.check(self.limits)
        return await self._run(Task.RENDER, job)

    async def decode(self, job: DecodeJob) -> bytes:
        """Samples of one frame, little endian, pixel-interleaved, Bits Allocated wide."""
        job.pixels.check(self.limits)
        return await self._run(Task.DECODE, job)

    async def transcode_to_explicit_le(self, job: DecodeJob) -> NativeFrame:
        """One frame as Explicit VR Little Endian holds it, with the attributes that change."""
        job.pixels.check(self.limits)
        answer = await self._run(Task.NATIVE, job)
        try:
            return protocol.unpack_native(answer)
        except ValueError as trouble:
            raise DecodeFailed("The decoder's answer makes no sense.") from trouble

    async def _run(self, task: Task, job: Job) -> bytes:
        answer: bytearray = await asyncio.wrap_future(self.submit(task, job))
        return bytes(answer)

    def submit(self, task: Task, job: Job) -> Future[bytearray]:
        """Queue one job, from any thread; the future has its answer as the child sent it, or raises as
        the other methods do. Raises DecodeRefused, Busy, Unavailable at once."""
        size = sum(map(len, protocol.buffers_of(job)))
        if size > self.limits.memory // 2:
            raise DecodeRefused(f"{size} bytes of pixel data are too many for one job.")
        if self._closed:
            raise Unavailable("The decoder pool is closed.")
        if not self._places.acquire(blocking=False):
            raise Busy("Too many pictures are being made.", remedy="Try again in a moment.")
        try:
            running: Future[bytearray] = self._threads.submit(self._work, task, job)
        except RuntimeError as trouble:
            self._places.release()
            raise Unavailable("The decoder pool is closed.") from trouble
        # Released when the job is over, not when its caller stopped waiting.
        running.add_done_callback(lambda _: self._places.release())
        return running

    def _warm(self) -> None:
        child = self._idle.get()
        try:
            child = child or self._spawn()
            child.wait_until_ready()
        finally:
            self._idle.put(child)

    def _spawn(self) -> _Child:
        with self._lock:
            if self._closed:
                raise Unavailable("The decoder pool is closed.")
            child = _Child(self.limits)
            self._living.add(child)
            self.stats.started += 1
        return child

    def _bury(self, child: _Child) -> None:
        child.kill()
        child.reap()
        with self._lock:
            self._living.discard(child)

    def _work(self, task: Task, job: Job) -> bytearray:
        """Run one job on an idle child; in a thread of the pool."""
        child = self._idle.get()
        kept: _Child | None = None
        try:
            child, status, answer = self._ask(child, task, job)
            if status is not Status.EXHAUSTED and child.served < self._recycle_after:
                kept = child
        finally:
            if child is not None and kept is None:
                self._bury(child)
                if not self._closed:
                    kept = self._spawn()
            self._idle.put(kept)
        return self._outcome(status, answer)

    def _outcome(self, status: Status, answer: bytearray) -> bytearray:
        with self._lock:
            self.stats.jobs += 1
            self.stats.failed += status is Status.FAILED
            self.stats.refused += status in {Status.REFUSED, Status.EXHAUSTED}
        if status is Status.DONE:
            return answer
        text = answer[:500].decode("utf-8", "replace")
        raise DecodeFailed(text) if status is Status.FAILED else DecodeRefused(text)

    def _ask(self, child: _Child | None, task: Task, job: Job) -> tuple[_Child, Status, bytearray]:
        """Give the job to the child, or to a new one when it died idle."""
        for _ in range(2):
            if child is None:
                child = self._spawn()
            try:
                child.wait_until_ready()
                deadline = time.monotonic() + self.limits.seconds
                begun = child.give(task, job, deadline)
            except OSError:
                # It had not begun: it died of something else, and the job may go to another.
                self._bury(child)
                child = None
                continue
            status, answer = self._await_answer(child, deadline if begun else 0.0)
            return child, status, answer
        raise Broken("The picture decoder does not start.", remedy="See the server's error log.")

    def _await_answer(self, child: _Child, deadline: float) -> tuple[Status, bytearray]:
        try:
            return child.answer(deadline)
        except TimeoutError:
            text = f"Decoding took longer than {self.limits.seconds:g} s."
            refused = Status.EXHAUSTED
        except (OSError, ValueError):
            text = "The pixel data broke the decoder."
            refused = Status.FAILED
        child.served = self._recycle_after
        with self._lock:
            self.stats.killed += 1
        return refused, bytearray(text.encode())


class _Child:
    """One worker process and the socket to it. Used by one thread at a time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._ready = False
        self.served = 0
        self._channel, theirs = socket.socketpair()
        for end in (self._channel, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        arguments = (
            *(sys.executable, "-P", "-m", "lightwell.backends.codecs.worker"),
            *("--parent", str(os.getpid())),
            *("--memory", str(limits.memory)),
            *("--seconds", str(limits.seconds)),
        )
        try:
            self._process = subprocess.Popen(
                arguments, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env=_environment()
            )
        except BaseException:
            self._channel.close()
            raise
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Until the codecs are loaded; raises OSError when the child ended instead."""
        if self._ready:
            return
        self._channel.settimeout(_START_SECONDS)
        protocol.receive(self._channel, 1)
        self._ready = True

    def give(self, task: Task, job: Job, deadline: float) -> bool:
        """Hand the job over until the child says that it begins; False when time ran out.

        Raises OSError when the child is gone.
        """
        self.served += 1
        self._channel.settimeout(max(deadline - time.monotonic(), 0.01))
        try:
            protocol.send_job(self._channel, task, job)
            protocol.receive(self._channel, 1)
        except TimeoutError:
            return False
        return True

    def answer(self, deadline: float) -> tuple[Status, bytearray]:
        """Raises TimeoutError, OSError (the child died) or ValueError (it sent nonsense)."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._channel.settimeout(left)
        status, length = protocol.answer_head(protocol.receive(self._channel, protocol.ANSWER_SIZE))
        if length > self._limits.memory:
            raise ValueError("the decoder announces more than it may use")
        return status, protocol.receive(self._channel, length)

    def kill(self) -> None:
        self._process.kill()

    def reap(self) -> None:
        self._process.wait()
        self._channel.close()


def _environment() -> dict[str, str]:
    """Paths and thread counts only: no setting or secret of the server reaches a decoder."""
    kept = {name: os.environ[name] for name in ("PYTHONPATH", "LANG") if name in os.environ}
    single = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX")
    # Else glibc gives the memory of every frame back and faults it in again for the next.
    held = {"MALLOC_TRIM_THRESHOLD_": str(_HELD), "MALLOC_MMAP_THRESHOLD_": str(_HEAP)}
    return kept | held | dict.fromkeys(single, "1")
