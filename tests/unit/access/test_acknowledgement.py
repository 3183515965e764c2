"""Success has one door, and records cannot be forged."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lightwell.access.actions import Action
from lightwell.access.audit import Outcome, record
from lightwell.access.commit import (
    Committed,
    Noted,
    Sealed,
    Stored,
    acknowledge,
    committed,
    sealed,
)
from lightwell.access.context import Actor, ActorKind, Context, Tenant
from lightwell.access.operation import Act, operation
from lightwell.access.policy import Denial, Rules
from lightwell.kernel.clock import SystemClock
from lightwell.kernel.errors import Refused

TENANT = Tenant(7, "t", "T", "T")
CONTEXT = Context(TENANT, Actor(ActorKind.OPERATOR, "me"), channel="test")
AT = datetime(2026, 1, 2, tzinfo=UTC)


def test_an_acknowledgement_needs_both_proofs() -> None:
    assert acknowledge(Stored(committed(True), sealed("k"))).key == "k"
    with pytest.raises(TypeError):
        Stored(None, sealed("k"))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Stored(committed(True), None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        acknowledge("0000")  # type: ignore[arg-type]


def test_proofs_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError):
        Committed(object(), True)
    with pytest.raises(TypeError):
        Sealed(object(), "k")


@pytest.mark.parametrize("hostile", ["a\r\nb", "\x1b[31mred", "x" * 1_000_000, "nul\0", '{"a":1}'])
def test_u06_one_well_formed_bounded_record(hostile: str) -> None:
    entry = record(
        CONTEXT, Action.PEERS_PEER_ECHO, Outcome.DONE, AT, subject=hostile, detail=hostile
    )
    assert entry.subject.isprintable()
    assert len(entry.subject) <= 512
    assert len(entry.leaf(7)) == 32


def test_a_leaf_says_everything() -> None:
    one = record(CONTEXT, Action.PEERS_PEER_ECHO, Outcome.DONE, AT, subject="a", detail="b")
    other = record(CONTEXT, Action.PEERS_PEER_ECHO, Outcome.DONE, AT, subject="ab", detail="")
    assert one.leaf(7) != other.leaf(7)
    assert one.leaf(7) != one.leaf(8)


class Source:
    def __init__(self, *denials: Denial) -> None:
        self.rules = denials

    async def in_force(self, tenant: Tenant) -> Rules:
        return Rules(self.rules)


class Room:
    """A room with one door of each kind."""

    def __init__(self, *denials: Denial) -> None:
        self.policy = Source(*denials)
        self.committer = Noted()
        self.clock = SystemClock()

    @operation(Action.PEERS_PEER_ADD)
    async def write(self, act: Act) -> str:
        act.about(subject="x")
        await act.commit(("row",))
        return "written"

    @operation(Action.PEERS_PEER_LIST)
    async def read(self, act: Act) -> str:
        return "read"

    @operation(Action.PEERS_PEER_LIST)
    async def fail(self, act: Act) -> None:
        raise KeyError("bug")


async def test_exactly_one_record_an_act() -> None:
    room = Room()
    assert await room.write(CONTEXT) == "written"
    assert [c.audit[0].outcome for c in room.committer.changes] == [Outcome.DONE]
    assert room.committer.changes[0].rows == ("row",)
    assert await room.read(CONTEXT) == "read"
    assert [c.audit[0].outcome for c in room.committer.changes] == [Outcome.DONE] * 2


async def test_failures_and_refusals_are_recorded() -> None:
    room = Room()
    with pytest.raises(KeyError):
        await room.fail(CONTEXT)
    assert room.committer.changes[-1].audit[0].outcome is Outcome.FAILED
    shut = Room(Denial("*", "peers:*", "closed for the night"))
    with pytest.raises(Refused, match="closed for the night"):
        await shut.write(CONTEXT)
    (change,) = shut.committer.changes
    assert (change.rows, change.audit[0].outcome) == ((), Outcome.REFUSED)
