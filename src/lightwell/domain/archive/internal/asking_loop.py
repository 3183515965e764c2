"""A question from a receiving thread to the event loop, with as few hops as can be.

`asyncio.run_coroutine_threadsafe` chains two futures with a lock and a condition each: at small objects
that is a quarter of the receiver's Python. A queue made of C is enough.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from lightwell.kernel.errors import Unavailable

T = TypeVar("T")


class Undecided(Unavailable):
    """No answer in time: what was asked for may still happen. Nothing was acknowledged."""


class Asked(Generic[T]):
    """An answer that will come."""

    __slots__ = ("_answer",)

    def __init__(self) -> None:
        self._answer: queue.SimpleQueue[T | Exception] = queue.SimpleQueue()

    def ended(self, task: asyncio.Task[T]) -> None:
        """On the loop: the coroutine has finished."""
        if task.cancelled():
            self._answer.put(Unavailable("The server is stopping.", remedy="Send it again later."))
            return
        error = task.exception()
        if error is None:
            self._answer.put(task.result())
        elif isinstance(error, Exception):
            self._answer.put(error)
        else:
            self._answer.put(Unavailable("The server is stopping.", remedy="Send it again later."))

    def wait(self, seconds: float) -> T | Exception:
        """In the thread: what the coroutine gave, or the error it ended with. Raises Unavailable."""
        try:
            return self._answer.get(timeout=seconds)
        except queue.Empty:
            raise Undecided(
                "The archive took too long.", remedy="Send it again: nothing was acknowledged."
            ) from None


def ask(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> Asked[T]:
    """Run a coroutine on the loop; the calling thread goes on and waits when it must."""
    asked: Asked[T] = Asked()

    def start() -> None:
        loop.create_task(coroutine).add_done_callback(asked.ended)

    try:
        loop.call_soon_threadsafe(start)
    except RuntimeError as error:
        coroutine.close()
        raise Unavailable("The server is stopping.", remedy="Send it again later.") from error
    return asked
