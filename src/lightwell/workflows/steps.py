"""How a step is carried out, the same in every engine: tried again while it may pass, result settled."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from lightwell.kernel.errors import Busy, LightwellError, Unavailable
from lightwell.workflows.ports import Json
from lightwell.workflows.values import failure, settled

Turn: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]

# Seconds between tries: together about ten minutes, so that a store may be restarted meanwhile.
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, *[60.0] * 9)


async def carry_out(
    function: Callable[..., object],
    args: tuple[object, ...],
    *,
    turn: Turn = contextlib.nullcontext,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Json:
    """The step's result as JSON gives it back. Raises one of the eight kinds, without data.

    Each try is made within a `turn`, which may wait before it lets it through; what the turn itself
    raises is not the step's failure and passes.
    """
    for pause in (*PAUSES, None):
        async with turn():
            try:
                return settled(await _called(function, args))
            except Exception as error:  # noqa: BLE001 - every failure of a step becomes one of ours
                found: LightwellError = failure(error)
        if pause is None or not isinstance(found, Busy | Unavailable):
            break
        await sleep(pause)
    raise found


async def _called(function: Callable[..., object], args: tuple[object, ...]) -> object:
    if inspect.iscoroutinefunction(function):
        return await function(*args)
    result = await asyncio.to_thread(function, *args)
    return await result if inspect.isawaitable(result) else result
