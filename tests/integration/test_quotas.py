"""Quotas: what a tenant may keep, counted by the database itself, refused at the door of the archive."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from lightwell.access.context import Context, Tenant
from lightwell.app.heartbeat import USAGE, Beat
from lightwell.app.http import http_application
from lightwell.app.readiness import Numbers
from lightwell.app.reindex import reindex
from lightwell.app.upkeep import check_installation
from lightwell.app.wiring import House, open_house
from lightwell.backends.database.chores import roll_up_deltas, roll_up_usage
from lightwell.backends.database.pool import connect
from lightwell.backends.database.roles import Role
from lightwell.domain.archive.errors import QuotaReached
from lightwell.domain.archive.invariants import State
from lightwell.domain.archive.keys import LANDED, kind_prefix
from lightwell.domain.archive.model import Announced, Outcome
from lightwell.domain.people.opening import Visitor
from lightwell.domain.tenants.model import Usage
from lightwell.gateways.http.guard import DoorLimits
from lightwell.testing.builders import BuiltInstance, a_study
from tests.integration.test_reindex import keep

BIG: dict[str, Any] = {"rows": 256, "columns": 256}  # beyond what first lies in the database


async def usage(house: House, context: Context) -> Usage:
    used = await house.tenants.usage(context)
    return used[context.tenant.key]


def landed(house: House, tenant: Tenant) -> int:
    return sum(1 for _ in house.blobs.list(kind_prefix(tenant.region, tenant.name, LANDED)))


async def counted(house: House, context: Context) -> tuple[State, tuple[str, ...]]:
    checked = await check_installation(house, context, deep=False)
    (found,) = [each for each in checked.invariants() if each.name == "I4"]
    return found.state, found.found.findings


async def limit(house: House, context: Context, **most: int | None) -> None:
    """By another process: this one has remembered nothing of it."""
    other = open_house(house.settings, house.info)
    try:
        await other.tenants.limit(
            context, context.tenant.name, **{"studies": None, "size": None, **most}
        )
    finally:
        await other.close()
    house.archive._keeper._allowances._known.clear()


async def test_d15_what_is_refused_leaves_nothing_and_what_is_there_is_acknowledged(
    house: House, context: Context
) -> None:
    first, second, third = a_study().with_series("CT", instances=3, **BIG).objects()
    assert await keep(house, context, first) is Outcome.STORED
    used = await usage(house, context)
    assert (used.studies, used.bytes > 100_000) == (1, True)
    before = landed(house, context.tenant)
    await limit(house, context, size=used.bytes + 10)
    for refused in (second, third, a_study("P2").with_series("CT").only()):
        with pytest.raises(QuotaReached, match="quota"):
            await keep(house, context, refused)
    assert await keep(house, context, first) is Outcome.DUPLICATE
    assert landed(house, context.tenant) == before
    assert await usage(house, context) == used
    await limit(house, context, size=2 * used.bytes + 1000)
    assert await keep(house, context, second) is Outcome.STORED
    with pytest.raises(QuotaReached):
        await keep(house, context, third)
    await limit(house, context)
    assert await keep(house, context, third) is Outcome.STORED


async def test_studies_are_limited_and_those_that_are_there_grow(
    house: House, context: Context
) -> None:
    first, more = a_study().with_series("CT", instances=2).objects()
    await keep(house, context, first)
    await limit(house, context, studies=1)
    with pytest.raises(QuotaReached):
        await keep(house, context, a_study("P2").with_series("CT").only())
    assert await keep(house, context, more) is Outcome.STORED
    assert (await usage(house, context)).studies == 1


async def test_a_neighbour_has_room_of_its_own(house: House, context: Context) -> None:
    clinic = await house.tenants.create(context, "clinic", aet="CLINIC")
    await limit(house, context, studies=0, size=0)
    one = a_study().with_series("CT").only()
    with pytest.raises(QuotaReached):
        await keep(house, context, one)
    assert await keep(house, house.operator(clinic), one) is Outcome.STORED
    used = await house.tenants.usage(context)
    assert (used[context.tenant.key].studies, used[clinic.key].studies) == (0, 1)


async def test_i4_the_count_is_that_of_the_rows_whatever_happens_to_them(
    house: House, context: Context
) -> None:
    study = a_study().with_series("CT", instances=3, **BIG)
    for one in study.objects():
        await keep(house, context, one)
    writer = house.archive.stage(context, announced_as(study.objects()[0]))
    writer.write(b"\xff" * 500)
    assert (await house.archive.store(context, writer)).outcome is Outcome.UNREADABLE
    for _ in range(2):
        assert await counted(house, context) == (State.HELD, ())
        before = await usage(house, context)
        while await roll_up_usage(house.work) or await roll_up_deltas(house.work):
            pass
        assert await usage(house, context) == before
    owner = await connect(house.info, Role.OWNER)
    try:
        await owner.execute("UPDATE qc_item SET resolved = 'dropped'")
        assert await counted(house, context) == (State.HELD, ())
        assert (await usage(house, context)).bytes < before.bytes
        await owner.execute("UPDATE tenant_usage SET bytes = bytes + 1")
        state, findings = await counted(house, context)
        assert state is State.BROKEN
        assert "counted for its quota" in findings[-1]
    finally:
        await owner.close()


def announced_as(built: BuiltInstance) -> Announced:
    return Announced(built.sop_class, built.sop_uid, built.syntax, "CT1", called="LIGHTWELL")


async def test_b07_a_reindex_keeps_the_quota_counts_anew_and_takes_back_all_there_is(
    house: House, context: Context
) -> None:
    for one in a_study().with_series("CT", instances=3, **BIG).objects():
        await keep(house, context, one)
    await limit(house, context, studies=0, size=5)
    owner = await connect(house.info, Role.OWNER)
    await owner.execute("TRUNCATE tenant CASCADE")
    await owner.close()
    await reindex(house.settings, house.info, may_clear=True)
    fresh = open_house(house.settings, house.info)
    try:
        tenant = await fresh.tenants.named()
        assert (tenant.quota_studies, tenant.quota_bytes) == (0, 5)
        again = fresh.operator(tenant)
        assert (await fresh.archive.totals(again)).instances == 3
        assert (await usage(fresh, again)).studies == 1
        assert await counted(fresh, again) == (State.HELD, ())
    finally:
        await fresh.close()


async def test_r03_metrics_name_tenants_to_nobody_of_another_one(
    house: House, context: Context
) -> None:
    clinic = await house.tenants.create(context, "clinic", aet="CLINIC")
    await house.tenants.limit(context, "clinic", studies=7, size=None)
    used = {"clinic": [3, 500, 7, None]}
    numbers = Numbers(house)
    numbers._heard = [Beat("work", "work", 1, 0.0, {"steps": 1}, {USAGE: used})]

    async def nothing_missing() -> dict[str, str]:
        return {}

    application = http_application(
        archive=house.archive,
        tenants=house.tenants,
        jobs=house.jobs,
        pool=house.codecs,
        ready=nothing_missing,
        metrics=numbers.text,
        tenant_metrics=numbers.tenants_text,
        limits=DoorLimits(local=False),
        sign_in=house.sign_in,
    )
    said = {}
    transport = httpx.ASGITransport(application)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="https://pacs.test") as client:
        assert (await client.get("/metrics")).status_code == 401
        for tenant, role in (
            (context.tenant, "admin"),
            (clinic, "admin"),
            (context.tenant, "patient"),
        ):
            link = await house.people.new_link(house.operator(tenant), [role])
            done = await house.sign_in.by_link(Visitor(tenant, "192.0.2.7", ""), link.secret)
            headers = {"authorization": f"Bearer {done.token}"}
            name = tenant.name if role == "admin" else role
            said[name] = (await client.get("/metrics", headers=headers)).text
    assert all('lightwell_steps{process="work"} 1.0' in text for text in said.values())
    assert "clinic" not in said["clinic"] + said["patient"]
    told = said["default"]
    assert 'lightwell_tenant_studies{tenant="clinic"} 3.0' in told
    assert 'lightwell_tenant_stored_bytes{tenant="clinic"} 500.0' in told
    assert 'lightwell_tenant_quota_studies{tenant="clinic"} 7.0' in told
    assert 'quota_bytes{tenant="clinic"}' not in told


async def test_parallel_senders_overrun_by_what_is_in_flight_and_no_more(
    house: House, context: Context
) -> None:
    objects = a_study().with_series("CT", instances=24, **BIG).objects()
    await keep(house, context, objects[0])
    one = (await usage(house, context)).bytes
    await limit(house, context, size=6 * one)

    async def send(mine: list[BuiltInstance]) -> list[object]:
        return [
            outcome
            for each in mine
            for outcome in await asyncio.gather(keep(house, context, each), return_exceptions=True)
        ]

    senders = 4
    sent = await asyncio.gather(*(send(objects[1 + n :: senders]) for n in range(senders)))
    outcomes = [outcome for each in sent for outcome in each]
    stored = outcomes.count(Outcome.STORED)
    assert 5 <= stored <= 5 + senders - 1
    assert sum(isinstance(outcome, QuotaReached) for outcome in outcomes) == 23 - stored
    assert (await house.archive.totals(context)).instances == stored + 1


def test_commands_say_limit_and_use_and_an_import_says_why(
    installation: Any, tmp_path: Path
) -> None:
    run = installation.run
    one = a_study().with_series("CT").only()
    (tmp_path / "one.dcm").write_bytes(one.part10)
    run("tenant", "quota", "default", "--bytes", "2TB", "--studies", "0", check=True)
    (listed,) = json.loads(run("tenant", "list", "--json", check=True).stdout)
    assert (listed["quota_bytes"], listed["quota_studies"]) == (2_000_000_000_000, 0)
    refused = run("import", str(tmp_path))
    assert "quota" in refused.stdout + refused.stderr
    assert refused.returncode != 0
    run("tenant", "quota", "default", "--studies", "none", check=True)
    run("import", str(tmp_path), check=True)
    (listed,) = json.loads(run("tenant", "list", "--json", check=True).stdout)
    assert (listed["quota_bytes"], listed["quota_studies"]) == (2_000_000_000_000, None)
    assert listed["used_studies"] == 1
    for wrong in ("-1", "2 parsecs", "9999PB"):
        assert run("tenant", "quota", "default", f"--bytes={wrong}").returncode != 0, wrong
