"""What an adversary found in settled series: each lost an image, showed a wrong one, or ended a command."""

from __future__ import annotations

import asyncio
import json
import math
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightwell.access.context import Context
from lightwell.app.settling import settling_of
from lightwell.app.wiring import House
from lightwell.backends.database.chores import clear_gone
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing.checks import crc32c
from lightwell.domain.archive.internal.packing.index import locator_bytes
from lightwell.domain.archive.internal.packing.tar import BLOCK, END, member_head, members
from lightwell.domain.archive.keys import LANDED, MANIFEST, PACK
from lightwell.domain.archive.model import Level, Target
from lightwell.domain.archive.settle_api import MERGE_AT, SettledSeries
from lightwell.kernel.errors import LightwellError
from lightwell.testing.builders import StudyBuilder, a_study
from lightwell.workflows.api import Jobs
from tests.integration.test_reindex import keep
from tests.integration.test_reindex_packs import again, keep_all, keys, places, served, settle_all

BIG: dict[str, Any] = {"rows": 192, "columns": 160}


async def settle(house: House, context: Context, study: StudyBuilder) -> SettledSeries:
    return await settling_of(house).settle(context, study.study_uid, study.series_uid())


# --- re-index -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ['"sha256":"', '"len":', '"received":"'])
async def test_a_flipped_bit_in_a_manifest_loses_no_image(
    house: House, context: Context, field: str
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=3, **BIG)
    await keep_all(house, context, study)
    await settle_all(house, context)
    for key in keys(house, context, LANDED):  # as after the grace
        house.blobs.delete(key)
    key = keys(house, context, MANIFEST)[0]
    raw = house.blobs.read(key)
    at = raw.index(field.encode()) + len(field) + 3
    house.blobs.put(key, raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :], replace=True)
    statement = "SELECT sop_uid, received FROM instance ORDER BY 1"
    async with house.database.transaction(context.tenant) as connection:
        before = await connection.fetch(statement)
    async with again(house) as (fresh, _report):
        async with fresh.database.transaction(context.tenant) as connection:
            after = await connection.fetch(statement)
        assert [tuple(row) for row in after] == [tuple(row) for row in before]


@pytest.mark.parametrize("settled", [False, True])
async def test_a_rejected_image_stays_so_over_repair_and_reindex(
    house: House, context: Context, settled: bool
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=2, **BIG)
    objects = study.objects()
    await keep_all(house, context, study)
    if settled:
        await settle(house, context, study)
    lost = (await places(house, context, study))[0].landed
    target = Target(
        Level.INSTANCE,
        study_uid=study.study_uid,
        series_uid=study.series_uid(),
        sop_uid=objects[0].sop_uid,
    )
    await house.archive.reject(context, target, "113001", "wrong patient")
    house.blobs.delete(lost.key)
    if settled:
        for key in keys(house, context, LANDED):
            house.blobs.delete(key)
    await keep(house, context, objects[0])  # a repeat repairs it; it stays rejected
    if settled:
        await keep(house, context, objects[1])
    shown = [objects[1].sop_uid]
    assert [at.sop_uid for at in await places(house, context, study)] == shown
    async with again(house) as (fresh, _):
        assert [at.sop_uid for at in await places(fresh, context, study)] == shown


@pytest.mark.parametrize("tamper", ["infinity", "2**40", "naive", "offset"])
async def test_one_odd_manifest_does_not_end_a_reindex(
    house: House, context: Context, tamper: str
) -> None:
    studies = [
        a_study("P1", "HOSP").with_series("CT", **BIG),
        a_study("P2", "HOSP", seed=9).with_series("CT", **BIG),
    ]
    for study in studies:
        await keep_all(house, context, study)
        await settle(house, context, study)
    key = keys(house, context, MANIFEST)[0]
    model = json.loads(house.blobs.read(key))
    if tamper == "infinity":
        model["generation"] = math.inf
    elif tamper == "2**40":
        model["generation"] = 2**40
    elif tamper == "offset":
        model["entries"][0]["at"] = math.inf
    else:
        model["packed"] = model["packed"][:19]
    house.blobs.put(key, json.dumps(model).encode(), replace=True)
    async with again(house) as (fresh, _):
        for study in studies:
            assert len(await places(fresh, context, study)) == 1


async def test_a_hostile_index_does_not_end_a_reindex(house: House, context: Context) -> None:
    one = a_study("P1", "HOSP").with_series("CT", **BIG)
    two = a_study("P2", "HOSP", seed=9).with_series("CT", **BIG)
    await keep_all(house, context, one)
    await keep_all(house, context, two)
    await settle_all(house, context)
    key = keys(house, context, PACK)[0]
    raw = house.blobs.read(key)
    offset, length = json.loads(raw[-1536:-1024])["index"]
    model = json.loads(zlib.decompress(raw[offset : offset + length]))
    model["entries"][0]["records"] = model["entries"][0]["records"][:1]
    text = json.dumps(model, separators=(",", ":")).encode()
    packed = zlib.compress(text, 9)
    locator = locator_bytes((offset, len(packed)), len(text), crc32c(packed))
    hostile = raw[:offset] + packed + raw[offset + len(packed) : -1536] + locator + END
    house.blobs.put(key, hostile, replace=True)
    async with again(house) as (fresh, _):
        shown = [await places(fresh, context, study) for study in (one, two)]
    assert any(shown)


def test_a_negative_member_size_is_refused_at_once() -> None:
    head = bytearray(member_head("000001.dcm", 0))
    head[124:136] = b"-0000001000\0"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    raw = bytes(head) + bytes(4 * BLOCK)
    reads = 0

    def read(offset: int, length: int) -> bytes:
        nonlocal reads
        reads += 1
        assert reads < 10
        return raw[offset : offset + length]

    with pytest.raises(Damaged):
        list(members(read, len(raw)))


# --- whose image it is --------------------------------------------------------------------------------


@pytest.mark.parametrize("settled", [False, True])
async def test_a_correction_does_not_show_in_another_study_with_that_series_uid(
    house: House, context: Context, settled: bool
) -> None:
    one = a_study("P1", "HOSP").with_series("CT", instances=1, **BIG)
    two = a_study("P2", "HOSP", name="Roe^Richard", seed=5).with_series("CT", instances=1, **BIG)
    two = two.with_attributes(SeriesInstanceUID=one.series_uid())
    await keep_all(house, context, one)
    await keep_all(house, context, two)
    if settled:
        for study in (one, two):
            await settling_of(house).settle(context, study.study_uid, one.series_uid())
    first, second = (
        Target(Level.SERIES, study_uid=study.study_uid, series_uid=one.series_uid())
        for study in (one, two)
    )

    def said(words: str) -> dict[str, Any]:
        return {"0008103E": {"vr": "LO", "Value": [words]}}

    async def shown(study: StudyBuilder) -> Any:
        at = (await places(house, context, study))[0]
        return house.archive.attributes(at, "/x").get("0008103E")

    before = await shown(two)
    edit = await house.archive.correct(context, first, said("LEFT KNEE OF P1"), "wrong")
    assert await shown(two) == before
    await house.archive.correct(context, second, said("B"), "x")
    assert [row.edit_id for row in await house.archive.corrections(context, first)] == [
        edit.edit_id
    ]
    assert ((await shown(one))["Value"], (await shown(two))["Value"]) == (
        ["LEFT KNEE OF P1"],
        ["B"],
    )
    await house.archive.undo(context, edit.edit_id, "was right")
    assert (await shown(two))["Value"] == ["B"]


async def test_packs_under_each_others_keys_show_nobody(house: House, context: Context) -> None:
    def flat(level: int) -> Callable[..., Any]:
        def make(shape: Any, _rng: Any) -> Any:
            out = np.full(shape.array_shape, 100, shape.dtype)
            out[:, 10:20, 10:20] = level
            return out

        return make

    one = a_study("P1", "HOSP").with_series("CT", pixels=flat(400), **BIG)
    two = a_study("P2", "HOSP", name="Tost^Patient").with_series("CT", pixels=flat(500), **BIG)
    for study in (one, two):
        await keep_all(house, context, study)
        await settle(house, context, study)
    first, second = [(await places(house, context, study))[0] for study in (one, two)]
    x, y = house.blobs.read(first.landed.key), house.blobs.read(second.landed.key)
    house.blobs.put(first.landed.key, y, replace=True)
    house.blobs.put(second.landed.key, x, replace=True)
    for at in (first, second):
        with pytest.raises(LightwellError):
            await asyncio.to_thread(house.archive.frame, at, 1)
        with pytest.raises(LightwellError):
            await asyncio.to_thread(house.archive.stored_frame, at, 1)


# --- doors and folders --------------------------------------------------------------------------------


async def test_a_reader_under_a_lease_keeps_what_it_reads(house: House, context: Context) -> None:
    house.settings = replace(house.settings, landed_grace=0.0)
    study = a_study("P1", "HOSP").with_series("CT", instances=2, **BIG)
    await keep_all(house, context, study)
    lease = await house.archive.locate(context, study.study_uid)
    await settle(house, context, study)
    house.archive.forget(context, study.study_uid)  # what the notification of the switch does
    await house.committer.close()  # the closing record is written
    await clear_gone(house.work, house.blobs, {context.tenant.key: context.tenant})
    for at in lease.instances.values():
        assert await served(house, at)


@pytest.mark.parametrize("part", ["metadata", "preview"])
async def test_a_derived_blob_that_is_cut_off_is_done_without(
    house: House, context: Context, part: str
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=2, **BIG)
    await keep_all(house, context, study)
    await settle_all(house, context)
    house.archive.forget(context, study.study_uid)
    lease = await house.archive.locate(context, study.study_uid, study.series_uid())
    instances = list(lease.instances.values())
    key = getattr(lease.packs[0], part).key
    house.blobs.put(key, house.blobs.read(key)[:-1], replace=True)
    if part == "metadata":
        told = await asyncio.to_thread(house.archive.metadata, lease, instances, lambda _at: "/x")
        assert len(told) == 2
        return
    answer = await asyncio.to_thread(
        lambda: b"".join(
            house.archive.preview(lease, instances, level=2, lead=128, bulk_root=lambda _at: "/x")
        )
    )
    assert b"FRMS" in answer


async def test_a_merge_writes_no_pixels_outside_of_its_folders(
    house: House, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = a_study("P1", "HOSP").with_series(
        "CT", instances=MERGE_AT + 1, rows=64, columns=64, frames=2200
    )
    objects = study.objects()
    for built in objects[:-1]:
        await keep(house, context, built)
        await settle(house, context, study)
    await keep(house, context, objects[-1])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nothing-may-be-here"))
    assert (await settle(house, context, study)).instances == len(objects)


async def test_odd_ids_of_jobs_are_unknown_ones(house: House, context: Context) -> None:
    jobs = Jobs(house.engine, house.policy, house.committer, house.archive.clock)
    for before in ("\0", "a\0b", "\ud800", "x" * 190):
        with pytest.raises(LightwellError):
            await jobs.overview(context, limit=5, before=before)
