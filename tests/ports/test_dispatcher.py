"""The dispatcher and its store: in memory, and on PostgreSQL with the real feed and sequencer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import orjson
import pytest

from lightwell.access.context import Tenant
from lightwell.app.wiring import House
from lightwell.backends.database.dispatching import PostgresFeedStore
from lightwell.backends.database.pool import connect
from lightwell.backends.database.roles import Role
from lightwell.backends.database.sequencer import step as sequence
from lightwell.backends.memory.engine import MemoryEngine
from lightwell.backends.memory.feed import MemoryFeedStore
from lightwell.kernel.errors import Conflict
from lightwell.workflows import dispatcher as module
from lightwell.workflows.dispatcher import (
    AtOnce,
    Dispatcher,
    FeedStore,
    News,
    Plan,
    Quiet,
    Rule,
    Tell,
    fields,
)
from lightwell.workflows.ports import Engine, Run, RunStatus, State
from lightwell.workflows.settle_series import LONGEST_FACTOR
from lightwell.workflows.settle_series import NAME as SETTLE_SERIES
from lightwell.workflows.settle_series import rule as settle_rule

STORED = frozenset({"InstanceStored"})
SETTLE = Quiet(STORED, fields("study", "series"), "settle", after=60.0)
EDIT = AtOnce(frozenset({"PatientChanged"}), fields("pid"), "rename")


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


class Desk(Protocol):
    engine: Engine
    store: FeedStore
    tenant: Tenant
    clock: Clock

    async def happens(self, kind: str, **subject: str) -> None:
        """An event is committed and has its place."""

    async def pass_time(self, seconds: float) -> None:
        """All that waits has waited so much longer."""

    async def ends(self, run_id: str) -> None:
        """A run is done."""


class MemoryDesk:
    def __init__(self) -> None:
        self.clock = Clock()
        self.tenant = Tenant(1, "a", "A", "A")
        self.engine = MemoryEngine(
            {"settle": _listens, "rename": _listens, SETTLE_SERIES: _listens}, self.clock
        )
        self.store = MemoryFeedStore(self.engine, {1: self.tenant}, self.clock)

    async def happens(self, kind: str, **subject: str) -> None:
        self.store.add(1, kind, subject)

    async def pass_time(self, seconds: float) -> None:
        self.clock.at += timedelta(seconds=seconds)

    async def ends(self, run_id: str) -> None:
        await self.engine.cancel(self.tenant, run_id)


async def _listens(run: Run, arguments: Any) -> None:
    await run.receive("word", 1e6)


class PostgresDesk:
    def __init__(self, house: House, tenant: Tenant, connection: Any) -> None:
        self.clock = Clock()
        self.house, self.tenant, self.engine = house, tenant, house.engine
        self.connection = connection
        self.store = PostgresFeedStore(connection)

    async def happens(self, kind: str, **subject: str) -> None:
        await self.connection.execute(
            "INSERT INTO event (tenant, kind, subject) VALUES ($1, $2, $3::jsonb)",
            self.tenant.key,
            kind,
            orjson.dumps(subject).decode(),
        )
        await sequence(self.connection)

    async def pass_time(self, seconds: float) -> None:
        """The database's clock is not ours to set: what waits is moved instead."""
        await self.connection.execute(
            "UPDATE due_work SET due = due - $1::interval, first_seen = first_seen - $1::interval,"
            " last_event = last_event - $1::interval",
            timedelta(seconds=seconds),
        )

    async def ends(self, run_id: str) -> None:
        await self.connection.execute(
            "UPDATE work_run SET state = 'done' WHERE run_id = $1", run_id
        )


@pytest.fixture
async def memory_desk() -> AsyncIterator[Desk]:
    made = MemoryDesk()
    yield made
    await made.engine.close()


@pytest.fixture
async def postgres_desk(house: House) -> AsyncIterator[Desk]:
    connection = await connect(house.info, Role.WORK)
    await sequence(connection)
    tenant = await house.tenants.named()
    store = PostgresFeedStore(connection)
    for news in await store.news():  # what making the tenant left behind
        changes = await store.page(news.tenant, news.seq, 1000)
        await store.record(news, changes[-1].seq, Plan())
    yield PostgresDesk(house, tenant, connection)
    await connection.close()


@pytest.fixture(params=["memory", "postgres"])
def desk(request: pytest.FixtureRequest) -> Desk:
    made: Desk = request.getfixturevalue(f"{request.param}_desk")
    return made


async def runs(desk: Desk) -> list[RunStatus]:
    return await desk.engine.runs(desk.tenant)


async def dispatch(desk: Desk, *rules: Rule) -> None:
    """Steps until there is nothing left, by a dispatcher that remembers nothing."""
    while await Dispatcher(rules, desk.clock).step(desk.store):
        pass


async def test_a_thousand_images_make_one_run_when_it_is_quiet(desk: Desk) -> None:
    for number in range(20):
        await desk.happens("InstanceStored", study="1.2", series="1.2.3", sop=f"1.2.3.{number}")
    await desk.happens("InstanceStored", study="1.2", series="1.2.4", sop="1.2.4.1")
    await dispatch(desk, SETTLE)
    assert await runs(desk) == []
    await desk.pass_time(40)  # not 59: the database's own clock goes on, too
    await dispatch(desk, SETTLE)
    assert await runs(desk) == []
    await desk.pass_time(21)
    await dispatch(desk, SETTLE)
    found = sorted(status.id for status in await runs(desk))
    assert len(found) == 2
    assert found[0].startswith("settle:1.2:1.2.3:")
    assert found[1].startswith("settle:1.2:1.2.4:")


async def test_an_event_in_time_puts_it_off(desk: Desk) -> None:
    await desk.happens("InstanceStored", study="1", series="2")
    await dispatch(desk, SETTLE)
    await desk.pass_time(50)
    await desk.happens("InstanceStored", study="1", series="2")
    await dispatch(desk, SETTLE)
    await desk.pass_time(50)
    await dispatch(desk, SETTLE)
    assert await runs(desk) == []
    await desk.pass_time(11)
    await dispatch(desk, SETTLE)
    assert len(await runs(desk)) == 1


async def test_a_key_that_never_rests_is_started_at_last(desk: Desk) -> None:
    rule = Quiet(STORED, fields("series"), "settle", after=60.0, longest=100.0)
    for _ in range(3):
        await desk.happens("InstanceStored", series="2")
        await dispatch(desk, rule)
        await desk.pass_time(40)
    await dispatch(desk, rule)
    assert len(await runs(desk)) == 1


async def test_a_series_that_grows_for_an_hour_is_settled_again_and_again(desk: Desk) -> None:
    """W20: an image every 40 s never leaves a minute of quiet; it is settled all the same."""
    rule = settle_rule(60.0)
    for number in range(90):
        await desk.happens("InstanceStored", study="1", series="2", sop=f"2.{number}")
        await dispatch(desk, rule)
        await desk.pass_time(40)
        await dispatch(desk, rule)
        for run in await runs(desk):
            await desk.ends(run.id)
    found = await runs(desk)
    assert len(found) >= 3600 // (LONGEST_FACTOR * 60 + 40)
    assert len({run.id for run in found}) == len(found)
    await desk.happens("InstanceStored", study="1", series="2", sop="2.last")
    await dispatch(desk, rule)
    await desk.pass_time(61)
    await dispatch(desk, rule)
    assert len(await runs(desk)) == len(found) + 1  # what came last is not forgotten


async def test_late_images_wait_for_the_run_of_their_series(desk: Desk) -> None:
    await desk.happens("InstanceStored", study="1", series="2")
    await dispatch(desk, SETTLE)
    await desk.pass_time(61)
    await dispatch(desk, SETTLE)
    (first,) = await runs(desk)
    await desk.happens("InstanceStored", study="1", series="2")
    await dispatch(desk, SETTLE)
    await desk.pass_time(61)
    await dispatch(desk, SETTLE)
    assert [status.id for status in await runs(desk)] == [first.id]
    await desk.ends(first.id)
    await dispatch(desk, SETTLE)
    found = await runs(desk)
    assert len(found) == 2
    assert len({status.id for status in found}) == 2


async def test_what_is_at_once_is_started_once_a_page(desk: Desk) -> None:
    for _ in range(3):
        await desk.happens("PatientChanged", pid="P^1 odd")
    await desk.happens("PatientChanged")
    await dispatch(desk, EDIT, SETTLE)
    await dispatch(desk, EDIT, SETTLE)
    (found,) = await runs(desk)
    assert found.workflow == "rename"
    assert "odd" not in found.id


async def test_the_rest_of_a_long_feed_is_read_before_anything_is_due(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 4)
    rule = Quiet(STORED, fields("series"), "settle", after=0.0)
    for _ in range(10):
        await desk.happens("InstanceStored", series="2")
    dispatcher = Dispatcher((rule,), desk.clock)
    await dispatcher.step(desk.store)
    await dispatcher.step(desk.store)
    assert await runs(desk) == []
    await dispatcher.step(desk.store)
    assert len(await runs(desk)) == 1
    assert await desk.store.news() == []


async def test_a_run_that_waits_is_told(desk: Desk) -> None:
    told = Tell(
        frozenset({"Confirmed"}), lambda s: str(s["run"]), "word", lambda s: {"by": s["by"]}
    )
    await desk.engine.start(desk.tenant, "settle", "r:1", {})
    await desk.happens("Confirmed", run="r:1", by="me")
    await desk.happens("Confirmed", run="not:there", by="me")
    await dispatch(desk, told)
    if isinstance(desk, PostgresDesk):
        rows = await desk.connection.fetch("SELECT run_id, topic, message::text FROM work_signal")
        assert [tuple(row) for row in rows] == [("r:1", "word", '{"by": "me"}')]


async def test_two_dispatchers_cannot_deal_with_the_same_changes(desk: Desk) -> None:
    await desk.happens("PatientChanged", pid="1")
    (news,) = await desk.store.news()
    changes = await desk.store.page(news.tenant, news.seq, 100)
    assert [change.kind for change in changes] == ["PatientChanged"]
    await desk.store.record(news, changes[-1].seq, Plan())
    with pytest.raises(Conflict):
        await desk.store.record(News(news.tenant, news.seq), changes[-1].seq, Plan())


async def test_places_on_postgresql_are_those_of_the_feed(postgres_desk: Any) -> None:
    """However batches and pages are cut, a change has the place that `/changes` gives it."""
    desk = postgres_desk
    begun = len(await desk.house.feed.since(desk.tenant, 1))
    for number in range(30):
        await desk.connection.execute(
            "INSERT INTO event (tenant, kind, subject) VALUES ($1, 'K', $2::jsonb)",
            desk.tenant.key,
            f'{{"n": "{number}"}}',
        )
        if number % 7 == 0:
            await sequence(desk.connection)
    await sequence(desk.connection)
    wanted = [(c.seq, c.subject["n"]) for c in await desk.house.feed.since(desk.tenant, begun + 1)]
    assert len(wanted) == 30
    found, after = [], begun
    while page := await desk.store.page(desk.tenant.key, after, 4):
        assert len(page) == min(4, 30 - len(found))
        found += [(change.seq, change.subject["n"]) for change in page]
        after = page[-1].seq
    assert found == wanted


async def test_due_and_open_runs_are_found_by_an_index(postgres_desk: Any) -> None:
    from lightwell.backends.database import dispatching, handing

    statements = [
        (dispatching._DUE, [[], 500]),
        (handing._NEW, [200]),
        (handing._ASKED, [200]),
        (handing._SCHEDULED, [200]),
    ]
    for statement, values in statements:
        rows = await postgres_desk.connection.fetch(f"EXPLAIN {statement}", *values)
        text = "\n".join(row[0] for row in rows)
        assert "Seq Scan" not in text, text


def test_states_that_keep_a_key_are_the_unfinished_ones() -> None:
    from lightwell.backends.memory.feed import OPEN
    from lightwell.workflows.ports import FINISHED

    assert set(OPEN) | FINISHED == set(State)
