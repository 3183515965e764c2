"""Batches to the codec: order kept, bytes under way bounded, trouble handed on."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from lightwell.domain.archive.coding import PixelForm
from lightwell.domain.archive.internal.packing.feeding import BATCH, Feeder

FORM = PixelForm(512, 512, 1, 16, 16, 15)
PER = BATCH // FORM.frame_bytes


class Slow:
    """Answers only when asked to; remembers what was under way at most."""

    def __init__(self) -> None:
        self.flying: list[tuple[Future[list[int]], list[int]]] = []
        self.sizes: list[int] = []

    def submit(self, frames):
        future: Future[list[int]] = Future()
        self.sizes.append(len(frames))
        future.set_result([frame for _form, frame in frames])
        return future


def test_results_come_in_order_in_batches() -> None:
    slow, got = Slow(), []
    feeder: Feeder[int, int] = Feeder(slow.submit, 2)
    for number in range(3 * PER + 1):
        feeder.add(FORM, number, got.append)
    assert slow.sizes == [PER] * 3
    assert len(got) == PER  # two under way
    feeder.finish()
    assert got == list(range(3 * PER + 1))


def test_large_frames_do_not_pile_up() -> None:
    large = PixelForm(4096, 5120, 1, 16, 16, 15)  # 40 MiB
    slow, got = Slow(), []
    feeder: Feeder[int, int] = Feeder(slow.submit, 8)
    feeder.add(large, 1, got.append)
    assert got == []
    feeder.add(large, 2, got.append)
    assert got == [1]
    feeder.finish()
    assert got == [1, 2]


def test_until_sends_what_waits() -> None:
    slow, got = Slow(), []
    feeder: Feeder[int, int] = Feeder(slow.submit, 2)
    feeder.add(FORM, 1, got.append)
    feeder.until(lambda: got == [1])
    assert slow.sizes == [1]


def test_trouble_of_a_batch_is_raised_and_the_rest_abandoned() -> None:
    def broken(_frames):
        future: Future[list[int]] = Future()
        future.set_exception(ConnectionError("gone"))
        return future

    feeder: Feeder[int, int] = Feeder(broken, 2)
    feeder.add(FORM, 1, lambda _made: None)
    with pytest.raises(ConnectionError):
        feeder.finish()
    feeder.abandon()
