"""From the change feed to durable work: one dispatcher, a table of rules, one run a series or study.

`plan` is pure: rules and some changes in, what follows from them out. The dispatcher reads the feed in
order, and writes what follows in the transaction that moves its position, so that a kill loses nothing and
doubles nothing. What waits for quiet lies in rows, not in timers or sleeping runs: a restart changes
nothing, and a thousand images of one series are one row.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeAlias

from lightwell.kernel.clock import Clock
from lightwell.workflows.ports import Json

PAGE = 5000  # changes read at once
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")
_KEY_LIMIT = 140

Subject: TypeAlias = Mapping[str, Any]
KeyOf: TypeAlias = Callable[[Subject], Mapping[str, str] | None]


class Change(Protocol):
    """One event of the feed with its place (1, 2, … a tenant)."""

    @property
    def seq(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def subject(self) -> Mapping[str, Any]: ...
    @property
    def at(self) -> datetime: ...


def fields(*names: str) -> KeyOf:
    """A key made of these fields of the event's subject; events without one of them are passed over."""

    def key_of(subject: Subject) -> Mapping[str, str] | None:
        if not all(subject.get(name) for name in names):
            return None
        return {name: str(subject[name]) for name in names}

    return key_of


@dataclass(frozen=True, slots=True)
class Quiet:
    """Start a run for a key when no such event has come for `after` seconds.

    With `longest`, a key that never rests is started that many seconds after its first event. A key has
    one unfinished run at a time: what comes meanwhile waits for its end, and makes the next run.
    """

    kinds: frozenset[str]
    key: KeyOf
    workflow: str
    after: float = 60.0
    longest: float | None = None


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Start a run for a key as soon as such an event is read; several in one page make one run."""

    kinds: frozenset[str]
    key: KeyOf
    workflow: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Give such events to a run that may be waiting for them. One that is not there is not told."""

    kinds: frozenset[str]
    run: Callable[[Subject], str | None]  # the run's id
    topic: str
    message: Callable[[Subject], Json]


Rule: TypeAlias = Quiet | AtOnce | Tell


@dataclass(frozen=True, slots=True)
class Start:
    """A run to start now. The id is the same whenever the same events are read."""

    workflow: str
    key: str
    run_id: str
    arguments: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wait:
    """A key that waits for quiet, as far as one page of changes knows it."""

    workflow: str
    key: str
    arguments: Mapping[str, str]
    first_seq: int
    first_seen: datetime
    last_event: datetime
    due: datetime
    longest: float | None
    events: int = 1


@dataclass(frozen=True, slots=True)
class Told:
    """A message for a run."""

    run_id: str
    topic: str
    message: Json


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows from some changes."""

    starts: tuple[Start, ...] = ()
    waits: tuple[Wait, ...] = ()
    told: tuple[Told, ...] = ()


def key_text(arguments: Mapping[str, str]) -> str:
    """A key as it stands in rows and ids: the values, or a digest when they are odd or long."""
    joined = ":".join(arguments.values())
    if len(joined) <= _KEY_LIMIT and all(_PLAIN.fullmatch(v) for v in arguments.values()):
        return joined
    parts = "\x1f".join(f"{name}\x1e{value}" for name, value in arguments.items())
    return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def run_id(workflow: str, key: str, seq: int) -> str:
    """The id of the run that an event at this place led to."""
    return f"{workflow}:{key}:{seq}"


def plan(rules: Sequence[Rule], changes: Iterable[Change], now: datetime) -> Plan:
    """What follows from some changes of one tenant, in their order."""
    starts: dict[tuple[str, str], Start] = {}
    waits: dict[tuple[str, str], Wait] = {}
    told: list[Told] = []
    for change in changes:
        for rule in rules:
            if change.kind not in rule.kinds:
                continue
            if isinstance(rule, Tell):
                name = rule.run(change.subject)
                if name is not None:
                    told.append(Told(name, rule.topic, rule.message(change.subject)))
                continue
            arguments = rule.key(change.subject)
            if arguments is None:
                continue
            place = (rule.workflow, key_text(arguments))
            if isinstance(rule, Quiet):
                seen = _seen(change.at, rule.after, now)
                waits[place] = _waiting(waits.get(place), rule, place[1], arguments, change, seen)
            elif place not in starts:
                made = run_id(*place, change.seq)
                starts[place] = Start(*place, made, dict(arguments))
    return Plan(tuple(starts.values()), tuple(waits.values()), tuple(told))


def _seen(at: datetime, after: float, now: datetime) -> datetime:
    """From when quiet counts: from now, for an event is dated by the beginning of its transaction; but
    from its own date when that is longer ago, so that a dispatcher that catches up does not wait."""
    return now if now - at < timedelta(seconds=after) else at


def _waiting(
    before: Wait | None,
    rule: Quiet,
    key: str,
    arguments: Mapping[str, str],
    change: Change,
    seen: datetime,
) -> Wait:
    quiet = seen + timedelta(seconds=rule.after)
    if before is None:
        before = Wait(
            workflow=rule.workflow,
            key=key,
            arguments=dict(arguments),
            first_seq=change.seq,
            first_seen=seen,
            last_event=seen,
            due=quiet,
            longest=rule.longest,
            events=0,
        )
    return replace(
        before,
        last_event=max(before.last_event, seen),
        due=bounded(max(before.due, quiet), before.first_seen, rule.longest),
        events=before.events + 1,
    )


def bounded(due: datetime, first_seen: datetime, longest: float | None) -> datetime:
    """When a key is due at the latest."""
    return due if longest is None else min(due, first_seen + timedelta(seconds=longest))


@dataclass(frozen=True, slots=True)
class News:
    """A tenant whose feed goes on beyond the position."""

    tenant: int
    seq: int  # the last one dealt with; 0: none


class FeedStore(Protocol):
    """The feed, the position and the rows of one consumer. All methods raise Unavailable."""

    async def news(self) -> list[News]:
        """Tenants with changes not dealt with; a suspended one's wait."""

    async def page(self, tenant: int, after: int, limit: int) -> Sequence[Change]:
        """The changes after a place, in order, without a gap."""

    async def record(self, news: News, last: int, plan: Plan) -> None:
        """Write what follows and move the position from `news.seq` to `last`: all or nothing. A wait that
        is there already keeps its first place and moves on. Raises Conflict when the position is another."""

    async def start_due(self, but: Collection[int]) -> int:
        """Start what is due, unless its key has an unfinished run, of all tenants but these and suspended
        ones; how many."""


class Dispatcher:
    """The rules, applied. Position and rows are the store's: an object keeps nothing."""

    def __init__(self, rules: Sequence[Rule], clock: Clock) -> None:
        self.rules = tuple(rules)
        self._clock = clock

    async def step(self, store: FeedStore) -> int:
        """One page of each tenant's news, then what is due; how many changes and starts that were.

        A tenant whose feed was not read to its end is given no starts: its next page may hold the event
        that says it is not quiet yet.
        """
        done, behind = 0, set()
        for news in await store.news():
            changes = await store.page(news.tenant, news.seq, PAGE)
            if not changes:
                continue
            last = changes[-1].seq
            await store.record(news, last, plan(self.rules, changes, self._clock.now()))
            done += len(changes)
            if len(changes) >= PAGE:
                behind.add(news.tenant)
        return done + await store.start_due(behind)
