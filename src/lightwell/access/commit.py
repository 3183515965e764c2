"""ChangeSets, and the one way from durable bytes and a committed row to a success answer.

`Sealed` says the bytes are durable, `Committed` says the rows are. Only both together make `Stored`,
and only `acknowledge(stored)` makes the value every gateway's success status is looked up by: there is
no other path to 0000, 200 or AA (reliability contract 3.1, 5.2 rule 1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from lightwell.access.audit import AuditRecord
from lightwell.access.context import Tenant
from lightwell.kernel.errors import Conflict

_TOKEN: Final = object()


@dataclass(frozen=True, slots=True)
class Event:
    """A fact in the past tense for the change feed. `subject` holds UIDs and codes only."""

    kind: str
    subject: dict[str, str]


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What one use case wants written: rows of its room, events, audit. Pure data.

    Rows are dataclasses of the rooms; `backends.database` knows how each kind is written.
    """

    tenant: Tenant
    rows: tuple[object, ...]
    events: tuple[Event, ...] = ()
    audit: tuple[AuditRecord, ...] = ()


class FactsChanged(Conflict):
    """What a decision was based on is no longer so: load the facts again and decide anew."""


class Committed:
    """Proof that a ChangeSet is durable in the database. Made by committers only."""

    __slots__ = ("inserted",)

    def __init__(self, token: object, inserted: bool) -> None:
        if token is not _TOKEN:
            raise TypeError("only a Committer makes a Committed")
        self.inserted = inserted


class Sealed:
    """Proof that an object's bytes are durable in the store. Made by the archive's staging only."""

    __slots__ = ("key",)

    def __init__(self, token: object, key: str) -> None:
        if token is not _TOKEN:
            raise TypeError("only the staging makes a Sealed")
        self.key = key


class Stored:
    """Bytes and rows are durable: this, and nothing less, may be acknowledged."""

    __slots__ = ("key",)

    def __init__(self, committed: Committed, sealed: Sealed) -> None:
        if not isinstance(committed, Committed) or not isinstance(sealed, Sealed):
            raise TypeError("an acknowledgement needs durable bytes and a committed row")
        self.key = sealed.key


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What a gateway turns into its protocol's success."""

    key: str


def acknowledge(stored: Stored) -> Acknowledgement:
    """The only way to a success status."""
    if not isinstance(stored, Stored):
        raise TypeError("only what is stored can be acknowledged")
    return Acknowledgement(stored.key)


def committed(inserted: bool) -> Committed:
    """For committers (backends): the transaction has returned from its synchronous commit."""
    return Committed(_TOKEN, inserted)


def sealed(key: str) -> Sealed:
    """For the archive's staging: the store has said that the bytes are durable."""
    return Sealed(_TOKEN, key)


@dataclass(slots=True)
class CommitCounters:
    """How the group commit is doing; read by the metrics page."""

    changes: int = 0
    groups: int = 0
    retried: int = 0
    seconds: float = 0.0


class Committer(Protocol):
    """Turns ChangeSets into durable rows; merges those of one tenant that wait at the same time.

    Raises FactsChanged (nothing written: decide again), Unavailable (nothing known to be written).
    A ChangeSet is written whole or not at all.
    """

    counters: CommitCounters

    async def commit(self, change: ChangeSet) -> Committed:
        """Write and wait for the durable commit. `inserted` is False when the row was there already."""

    def note(self, change: ChangeSet) -> None:
        """Write soon, without waiting: for audit records of queries. Failures are counted and logged."""


@dataclass(slots=True)
class Noted:
    """A committer for tests that keeps what it was given."""

    changes: list[ChangeSet] = field(default_factory=list)
    counters: CommitCounters = field(default_factory=CommitCounters)

    async def commit(self, change: ChangeSet) -> Committed:
        self.changes.append(change)
        return committed(True)

    def note(self, change: ChangeSet) -> None:
        self.changes.append(change)
