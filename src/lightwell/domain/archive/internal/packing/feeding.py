"""Frames to the codec in batches, results in order, with a bounded number of bytes under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from lightwell.domain.archive.coding import NotCoded, PixelForm

BATCH = 4 << 20  # native bytes: some ten milliseconds of codec time
MOST_FRAMES = 512
UNDER_WAY = 64 << 20  # native bytes; a greater frame goes alone

Given = TypeVar("Given")
Made = TypeVar("Made")
Take = Callable[[Made | NotCoded], None]


class Feeder(Generic[Given, Made]):
    """`add` frames of any objects; each result is handed to its `take`, in the order of adding.

    At most `depth` batches and UNDER_WAY bytes are under way; `add` waits for the oldest when there are
    more.
    """

    def __init__(
        self,
        submit: Callable[[Sequence[tuple[PixelForm, Given]]], Future[list[Made | NotCoded]]],
        depth: int,
    ) -> None:
        self._submit = submit
        self._depth = max(depth, 1)
        self._batch: list[tuple[PixelForm, Given]] = []
        self._takes: list[Take[Made]] = []
        self._size = 0
        self._flying: deque[tuple[Future[list[Made | NotCoded]], list[Take[Made]], int]] = deque()
        self._under_way = 0

    def add(self, form: PixelForm, frame: Given, take: Take[Made]) -> None:
        """One more frame. Raises what a batch before it raised."""
        self._batch.append((form, frame))
        self._takes.append(take)
        self._size += form.frame_bytes
        if self._size >= BATCH or len(self._batch) >= MOST_FRAMES:
            self._send()

    def _send(self) -> None:
        if not self._batch:
            return
        full = UNDER_WAY - self._size
        while len(self._flying) >= self._depth or (self._flying and self._under_way > full):
            self._land()
        self._flying.append((self._submit(self._batch), self._takes, self._size))
        self._under_way += self._size
        self._batch, self._takes, self._size = [], [], 0

    def _land(self) -> None:
        future, takes, size = self._flying.popleft()
        self._under_way -= size
        for take, made in zip(takes, future.result(), strict=True):
            take(made)

    def until(self, done: Callable[[], bool]) -> None:
        """Wait until `done`, which the results of frames added so far will make true."""
        while not done():
            if not self._flying:
                self._send()
            self._land()

    def finish(self) -> None:
        """Wait for everything."""
        self._send()
        while self._flying:
            self._land()

    def abandon(self) -> None:
        """Wait for what is under way and forget it: after trouble, before buffers go."""
        while self._flying:
            self._flying.popleft()[0].exception()
