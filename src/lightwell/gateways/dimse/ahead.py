"""Settled objects made ready while the one before them is on the wire.

To give a coded object back takes a codec in another process, to send it takes the network: one after the
other both would wait. So the next few small ones are rebuilt in a thread; large ones are sent as they are
made. What comes out, and every error, is what `sending.body` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from lightwell.domain.archive.model import Located

AHEAD: Final = 3  # objects
LARGEST: Final = 8 << 20  # bytes of an object that is made ready
THREADS: Final = 2

Body = Callable[[Located, str], Iterator[bytes]]


class Ahead:
    """Of one retrieval; used by one thread. `close` when it is over."""

    def __init__(self, body: Body, length: Callable[[Located], int]) -> None:
        self._body = body
        self._length = length
        self._threads: ThreadPoolExecutor | None = None
        self._ready: dict[tuple[str, str], tuple[Located, Future[list[bytes]]]] = {}

    def want(self, located: Located, syntax: str) -> None:
        """Begin with an object that is to be sent soon; what is quick to read is left alone."""
        key = (located.sop_uid, syntax)
        if located.landed.coded is None or key in self._ready or len(self._ready) >= AHEAD:
            return
        if self._length(located) > LARGEST:
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ahead")
        made = self._threads.submit(lambda: list(self._body(located, syntax)))
        self._ready[key] = (located, made)

    def take(self, located: Located, syntax: str) -> Iterator[bytes]:
        """The data set, made ready or not. Raises LightwellError, as it is read."""
        known, made = self._ready.pop((located.sop_uid, syntax), (None, None))
        if made is None or known is None or _state(known) != _state(located):
            yield from self._body(located, syntax)
            return
        yield from made.result()

    def close(self) -> None:
        """Forget what was not taken; waits for what is being made."""
        self._ready.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
            self._threads = None


def _state(located: Located) -> tuple[object, ...]:
    """What a correction, or another place of the bytes, changes."""
    return located.version, located.edits, located.landed.blob_id, located.landed.sha256
