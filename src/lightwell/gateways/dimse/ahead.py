"""Settled objects made ready while those before them are on the wire.

To give a coded object back takes a codec in another process, to send it takes the network: one after the
other both would wait. So the frames of the next small ones are decoded together, in a thread; large ones are
decoded as they are sent. A hint and no more: what is sent, and every error, comes from `sending.body`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from lightwell.domain.archive.model import Located

AHEAD: Final = 24  # objects that are looked at
BATCH: Final = 2 << 20  # bytes of objects decoded together: the first of them waits for the last
LARGEST: Final = 4 << 20  # of one of them
UNDER_WAY: Final = 2  # batches


class Ahead:
    """Of one retrieval; used by one thread. `close` when it is over."""

    def __init__(
        self, make_ready: Callable[[Sequence[Located]], None], length: Callable[[Located], int]
    ) -> None:
        self._make_ready = make_ready
        self._length = length
        self._threads: ThreadPoolExecutor | None = None
        self._batches: dict[str, Future[None]] = {}  # by the SOP Instance UIDs not sent yet

    def want(self, upcoming: Sequence[Located]) -> None:
        """These are sent next, in this order: begin with some. What is quick to read is left alone."""
        waiting = {id(made) for made in self._batches.values()}
        if len(waiting) >= UNDER_WAY:
            return
        batch: list[Located] = []
        size = 0
        for one in upcoming:
            if one.landed.coded is None or one.sop_uid in self._batches:
                continue
            length = self._length(one)
            if length <= LARGEST:
                batch.append(one)
                size += length
            if size >= BATCH:
                break
        if not batch:
            return
        if self._threads is None:
            # One batch is read and checked while the codec is at the one before: it is never idle.
            self._threads = ThreadPoolExecutor(UNDER_WAY, thread_name_prefix="ahead")
        made = self._threads.submit(self._make_ready, batch)
        self._batches |= dict.fromkeys((one.sop_uid for one in batch), made)

    def wait(self, located: Located) -> None:
        """Until this one is ready, if it was begun with."""
        made = self._batches.pop(located.sop_uid, None)
        if made is not None:
            made.exception()  # whatever it was: reading the object says it

    def close(self) -> None:
        """Forget what was not sent; waits for what is being made."""
        self._batches.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
            self._threads = None
