"""Settling on an S3 server: objects are read ahead and put together, and what fails leaves nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lightwell.access.context import Context
from lightwell.app.settling import settling_of
from lightwell.app.wiring import House
from lightwell.backends.database.chores import clear_gone, flush_inline
from lightwell.domain.archive.keys import DERIVED, LANDED, MANIFEST, PACK, is_packed
from lightwell.domain.archive.model import Announced, Located, Outcome
from lightwell.domain.archive.ports import StoreBroken
from lightwell.domain.archive.settle_api import MERGE_AT, SettledSeries
from lightwell.kernel.errors import Unavailable
from lightwell.testing.builders import BuiltInstance, StudyBuilder, a_study
from lightwell.testing.s3_proxy import Proxy
from lightwell.testing.seaweed import SeaweedFS

BIG = {"rows": 192, "columns": 160}  # beyond what is kept in the row


class Behind:
    """The session's server as it is reached through a proxy."""

    def __init__(self, server: SeaweedFS) -> None:
        self.proxy = Proxy(server.ports["s3"])
        self._server = server

    def store_url(self, *, prefix: str) -> str:
        endpoint = f"http://127.0.0.1:{self.proxy.port}"
        return self._server.store_url(prefix=prefix, endpoint=endpoint)


@pytest.fixture(autouse=True)
def on_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTWELL_TEST_STORE", "s3")


@pytest.fixture
def seaweed(seaweed: SeaweedFS) -> Iterator[Behind]:
    behind = Behind(seaweed)
    yield behind
    behind.proxy.close()


@pytest.fixture
def proxy(seaweed: Behind) -> Proxy:
    return seaweed.proxy


async def keep_all(
    house: House, context: Context, objects: list[BuiltInstance]
) -> list[BuiltInstance]:
    for built in objects:
        announced = Announced(built.sop_class, built.sop_uid, built.syntax, "CT1")
        writer = house.archive.stage(context, announced)
        writer.write(built.dataset)
        assert (await house.archive.store(context, writer)).outcome is Outcome.STORED
    return objects


async def settle(house: House, context: Context, study: StudyBuilder) -> SettledSeries:
    return await settling_of(house).settle(context, study.study_uid, study.series_uid(0))


async def located(house: House, context: Context, study: StudyBuilder) -> list[Located]:
    house.archive.forget(context, study.study_uid)
    return list((await house.archive.locate(context, study.study_uid)).instances.values())


async def all_there(
    house: House, context: Context, study: StudyBuilder, objects: list[BuiltInstance]
) -> None:
    wanted = {built.sop_uid: built.dataset for built in objects}
    found = await located(house, context, study)
    assert {at.sop_uid for at in found} == set(wanted)
    for at in found:
        data = await asyncio.to_thread(
            lambda at=at: b"".join(house.archive.data_set(at, at.syntax))
        )
        assert data == wanted[at.sop_uid]


def kinds(house: House) -> dict[str, int]:
    found: dict[str, int] = {}
    for info in house.blobs.list(""):
        kind = info.key.split("/")[2]
        found[kind] = found.get(kind, 0) + 1
    return {kind: found.get(kind, 0) for kind in (LANDED, PACK, DERIVED, MANIFEST)}


def asked(proxy: Proxy, method: bytes, kind: str) -> int:
    return sum(bool(re.match(method + b" .*/" + kind.encode() + b"/", h)) for h in proxy.heads)


async def test_landed_objects_are_read_ahead_and_derived_ones_put_together(
    house: House, context: Context, proxy: Proxy
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=24, **BIG)
    objects = await keep_all(house, context, study.objects())
    proxy.heads.clear()
    proxy.peak, proxy.pause = 0, 0.02
    done = await settle(house, context, study)
    proxy.pause = 0.0
    assert done.instances == 24
    assert asked(proxy, b"GET", LANDED) == 24
    assert 4 <= proxy.peak <= 8 + 3
    assert kinds(house) == {LANDED: 24, PACK: 1, DERIVED: 2, MANIFEST: 1}
    await all_there(house, context, study, objects)
    heads = proxy.heads
    first = next(n for n, h in enumerate(heads) if b"/derived/" in h or b"/manifest/" in h)
    # The manifest comes after them: where it lies, a generation is whole.
    assert [h[:3] for h in heads[first : first + 2]] == [b"PUT"] * 2, (
        "none waits for another's HEAD"
    )


@pytest.mark.parametrize("about", [b"GET ", b"PUT ", b"HEAD "])
@pytest.mark.parametrize("mode", ["503", "lose", "cut"])
async def test_one_failure_of_a_request_is_not_noticed(
    house: House, context: Context, proxy: Proxy, about: bytes, mode: str
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=10, **BIG)
    objects = await keep_all(house, context, study.objects())
    proxy.misbehave(mode, times=2, about=about)
    assert (await settle(house, context, study)).instances == 10
    assert kinds(house) == {LANDED: 10, PACK: 1, DERIVED: 2, MANIFEST: 1}
    await all_there(house, context, study, objects)


@pytest.mark.parametrize(
    ("mode", "about"),
    [
        ("403", b"/landed/"),
        ("403", b"/manifest/"),
        ("507", b"/derived/"),
        ("403", b"/pack/"),
    ],
)
async def test_what_cannot_be_read_or_put_leaves_the_series_as_it_is(
    house: House, context: Context, proxy: Proxy, mode: str, about: bytes
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=10, **BIG)
    objects = await keep_all(house, context, study.objects())
    proxy.misbehave(mode, about=about)
    with pytest.raises((StoreBroken, Unavailable)):
        await settle(house, context, study)
    proxy.misbehave("pass")
    found = kinds(house)
    # What could not be deleted because the same fault met the deletion is an orphan.
    orphan = about.strip(b"/").decode()
    assert found[LANDED] == 10
    assert {k: n for k, n in found.items() if k not in (LANDED, orphan)} == dict.fromkeys(
        {PACK, DERIVED, MANIFEST} - {orphan}, 0
    )
    await all_there(house, context, study, objects)
    assert (await settle(house, context, study)).instances == 10


async def test_a_merge_reads_packs_in_chunks_and_not_entry_by_entry(
    house: House, context: Context, proxy: Proxy
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=8 * (MERGE_AT + 1), **BIG)
    objects = study.objects()
    for first in range(0, 8 * MERGE_AT, 8):
        await keep_all(house, context, objects[first : first + 8])
        await settle(house, context, study)
    await keep_all(house, context, objects[8 * MERGE_AT :])
    proxy.heads.clear()
    done = await settle(house, context, study)
    assert done.instances == len(objects)
    # Each pack is a chunk or two; the new one is read back whole: not four reads for each entry.
    assert asked(proxy, b"GET", PACK) < len(objects)
    await all_there(house, context, study, objects)
    assert len({at.landed.key for at in await located(house, context, study)}) == 1


async def test_small_objects_go_into_the_bucket_and_packed_ones_leave_it_several_at_a_time(
    house: House, context: Context, proxy: Proxy
) -> None:
    house.settings = replace(house.settings, landed_grace=0.0)
    study = a_study("P1", "HOSP").with_series("CT", instances=16, rows=16, columns=16)
    objects = await keep_all(house, context, study.objects())
    tenants = {context.tenant.key: context.tenant}
    proxy.peak, proxy.pause = 0, 0.02
    while await flush_inline(house.work, house.blobs, tenants):
        pass
    assert 4 <= proxy.peak <= 8
    assert kinds(house)[LANDED] == 16
    await settle(house, context, study)
    house.archive.forget(context, study.study_uid)
    proxy.peak = 0
    proxy.misbehave("503", times=3, about=b"DELETE ")
    while await clear_gone(house.work, house.blobs, tenants):
        pass
    assert 4 <= proxy.peak <= 8
    proxy.pause = 0.0
    assert kinds(house)[LANDED] == 0
    assert all(is_packed(at.landed.key) for at in await located(house, context, study))
    await all_there(house, context, study, objects)
