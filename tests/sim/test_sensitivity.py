"""The simulator must see what it is there for: each mistake below is found within a few seeds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lightwell.access.commit import committed
from lightwell.backends.blobs.memory import MemorySink
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal import keeping
from lightwell.domain.archive.internal.keeping import Keeper
from lightwell.domain.archive.model import Decision, Outcome
from lightwell.testing.sim.history import play
from lightwell.testing.sim.world import ProcessCommitter

SEEDS = range(1, 121)


def found(*wanted: str) -> bool:
    """Whether one of the seeds shows one of these violations."""
    return any(
        violation.startswith(wanted) for seed in SEEDS for violation in play(seed).violations
    )


def test_bytes_that_are_never_synced_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemorySink, "seal", lambda self: setattr(self, "_made", None))
    assert found("acknowledged and lost")


def test_a_sync_error_that_is_swallowed_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = MemorySink.seal

    def swallowing(self: MemorySink) -> None:
        try:
            honest(self)
        except Exception:  # noqa: BLE001 - the mistake that is to be found
            return

    monkeypatch.setattr(MemorySink, "seal", swallowing)
    assert found("acknowledged and lost")


def test_a_duplicate_that_is_believed_unseen_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keeper, "_prove", lambda self, known, sop_uid: None)
    assert found("acknowledged and lost")


def test_rows_that_are_answered_before_they_are_committed_are_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = ProcessCommitter.commit

    async def hasty(self: ProcessCommitter, change: Any) -> Any:
        later = asyncio.ensure_future(honest(self, change))
        later.add_done_callback(lambda done: done.cancelled() or done.exception())
        return committed(True)

    monkeypatch.setattr(ProcessCommitter, "commit", hasty)
    assert found("acknowledged and lost")


def test_an_admission_that_lets_everybody_in_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = keeping.admit

    def careless(arrival: Any, sha256: bytes, known: Any) -> Decision:
        decision = honest(arrival, sha256, known)
        return Decision(Outcome.STORED) if decision.outcome is Outcome.HELD else decision

    monkeypatch.setattr(keeping, "admit", careless)
    assert found("an image under a contradicting patient", "never taken", "an image under another")


def test_withdrawing_nothing_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Keeper, *arguments: object) -> None:
        """Leave the row of lost bytes."""

    async def none(world: object, process: object) -> int:
        return 0

    async def unrepaired(self: Keeper, *arguments: object) -> None:
        raise Damaged("not whole")  # else the next repeat would mend what was left behind

    monkeypatch.setattr(Keeper, "_withdraw", nothing)
    monkeypatch.setattr(Keeper, "_repair", unrepaired)
    monkeypatch.setattr("lightwell.testing.sim.history.recheck", none)
    assert found("a current row without its bytes")
