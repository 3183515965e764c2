"""A pixel-exact tenant: compressed originals are settled by their pixels, and every door gives these."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lightwell.access.context import Context
from lightwell.app.reindex import reindex
from lightwell.app.wiring import House, open_house
from lightwell.backends.database.chores import clear_gone, flush_inline
from lightwell.dicom.header import Header
from lightwell.dicom.part10 import read_meta
from lightwell.dicom.scanner import scan
from lightwell.dicom.uids import ExplicitVRLittleEndian
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.keys import is_packed
from lightwell.domain.archive.model import Outcome
from lightwell.domain.archive.settle_api import MERGE_AT, PIXEL_EXACT
from lightwell.testing import encoding as enc
from lightwell.testing.builders import BuiltInstance, Shape, StudyBuilder, a_study, noise_pixels
from tests.integration.test_settle import (
    broken,
    keep,
    keep_all,
    located,
    served,
    settle,
)

EXPLICIT_LE = ExplicitVRLittleEndian.uid


def smooth(shape: Shape, rng: np.random.Generator) -> NDArray[np.generic]:
    """Like noise, but worth compressing."""
    made = noise_pixels(shape, rng)
    ramp = np.linspace(0, (1 << (shape.bits_stored - 1)) - 9, made.size).reshape(made.shape)
    return (ramp + made % 8).astype(made.dtype)


def study_in(syntax: str, instances: int = 2, **more: object) -> StudyBuilder:
    return a_study("P1", "HOSP").with_series(
        "CT", instances=instances, rows=192, columns=160, pixels=smooth, syntax=syntax, **more
    )  # type: ignore[arg-type]


def pixels_of(data: bytes) -> bytes:
    found = scan(data, ExplicitVRLittleEndian, complete=True)
    assert isinstance(found, Header)
    assert found.pixel_offset is not None
    assert found.pixel_length is not None
    return data[found.pixel_offset : found.pixel_offset + found.pixel_length]


@pytest.fixture
async def exact(house: House, context: Context) -> Context:
    """The context of a tenant that has chosen so."""
    return replace(context, tenant=await house.tenants.configure(context, settling=PIXEL_EXACT))


async def rows(house: House, context: Context) -> list[tuple[object, ...]]:
    async with house.database.transaction(context.tenant) as connection:
        found = await connection.fetch(
            "SELECT sop_uid, syntax, arrived_syntax, settled, sha256, kept_sha256, pixel_off, pixel_len,"
            " frame_index FROM instance ORDER BY 1"
        )
    return [tuple(row) for row in found]


async def settled_as_native(house: House, context: Context, study: StudyBuilder) -> None:
    """What every door gives is the native object; its row says in what it came."""
    plain = study.in_syntax(EXPLICIT_LE).objects()
    arrived = {built.sop_uid: built for built in study.objects()}
    for at, wanted in zip(await located(house, context, study), plain, strict=True):
        assert is_packed(at.landed.key)
        assert at.landed.coded is not None
        assert at.syntax == EXPLICIT_LE
        data = await served(house, at)
        assert pixels_of(data) == pixels_of(wanted.dataset)
        assert house.archive.length(at) == len(data)
        assert await asyncio.to_thread(house.archive.frame, at, 1) in data
        assert house.archive.frame_count(at) == 1
        meta, _start = read_meta(b"".join(house.archive.original(at)))
        assert meta.syntax.uid == EXPLICIT_LE
        came = arrived[at.sop_uid]
        assert at.landed.kept is not None
        assert at.landed.kept.arrived == came.syntax
        assert at.landed.sha256.hex() == came.sha256
        assert at.landed.digest == hashlib.sha256(data).digest()


@pytest.mark.parametrize("syntax", [enc.JPEG_LS, enc.JPEG_2000, enc.RLE, enc.JPEG_LOSSLESS])
async def test_a_compressed_series_is_settled_by_its_pixels(
    house: House, exact: Context, syntax: str
) -> None:
    study = study_in(syntax)
    await keep_all(house, exact, study)
    done = await settle(house, exact, study)
    assert (done.instances, done.coded, done.exact) == (2, 2, 2)
    assert done.raw == sum(len(built.dataset) for built in study.objects())
    await settled_as_native(house, exact, study)
    for _uid, kept, arrived, form, *_ in await rows(house, exact):
        assert (kept, arrived, form) == (EXPLICIT_LE, syntax, "pixel-exact")
    assert await broken(house, exact) == []


async def test_the_other_tenants_originals_stay(house: House, context: Context) -> None:
    study = study_in(enc.JPEG_LS)
    objects = await keep_all(house, context, study)
    done = await settle(house, context, study)
    assert (done.coded, done.exact, done.reasons) == (0, 0, {"already-encapsulated": 2})
    for at, built in zip(await located(house, context, study), objects, strict=True):
        assert await served(house, at) == built.dataset


async def test_lossy_ones_stay_as_received(house: House, exact: Context) -> None:
    study = a_study("P1").with_series("US", rows=96, columns=96, syntax=enc.JPEG_BASELINE)
    objects = await keep_all(house, exact, study)
    done = await settle(house, exact, study)
    assert (done.coded, done.reasons) == (0, {"lossy-syntax": 1})
    (at,) = await located(house, exact, study)
    assert (at.syntax, await served(house, at)) == (enc.JPEG_BASELINE, objects[0].dataset)
    flagged = replace(study_in(enc.JPEG_LS, 1, LossyImageCompression="01"), patient="P2")
    await keep_all(house, exact, flagged)
    assert (await settle(house, exact, flagged)).reasons == {"lossy-flag": 1}
    assert await broken(house, exact) == []


async def test_native_originals_still_come_back_bit_for_bit(house: House, exact: Context) -> None:
    study = study_in(EXPLICIT_LE)
    objects = await keep_all(house, exact, study)
    done = await settle(house, exact, study)
    assert (done.coded, done.exact) == (2, 0)
    for at, built in zip(await located(house, exact, study), objects, strict=True):
        assert at.landed.kept is None
        assert await served(house, at) == built.dataset


async def test_a_repeat_is_known_by_what_arrived(house: House, exact: Context) -> None:
    study = study_in(enc.JPEG_LS)
    objects = await keep_all(house, exact, study)
    await settle(house, exact, study)
    assert await keep(house, exact, objects[0]) is Outcome.DUPLICATE
    other = study.with_attributes(ImageComments="another header").objects()[0]
    assert await keep(house, exact, other) is Outcome.CANDIDATE
    assert await keep(house, exact, study.other_pixels().objects()[1]) is Outcome.CONFLICT
    vouched = await house.archive.vouch(exact, [(b.sop_class, b.sop_uid) for b in objects])
    assert [one.failure for one in vouched] == [None, None]
    assert await broken(house, exact) == []


async def native_forms(house: House, context: Context, study: StudyBuilder) -> list[BuiltInstance]:
    """The objects as they are given out, for somebody to send them back."""
    places = await located(house, context, study)
    return [
        replace(built, syntax=EXPLICIT_LE, dataset=await served(house, at))
        for built, at in zip(study.objects(), places, strict=True)
    ]


async def test_what_was_given_out_comes_back_as_a_duplicate(house: House, exact: Context) -> None:
    study = study_in(enc.JPEG_LS)
    await keep_all(house, exact, study)
    await settle(house, exact, study)
    before = await rows(house, exact)
    for built in await native_forms(house, exact, study):
        assert await keep(house, exact, built) is Outcome.DUPLICATE
    assert await rows(house, exact) == before


async def test_what_was_given_out_does_not_take_the_place_of_a_rotten_one(
    house: House, exact: Context
) -> None:
    study = study_in(enc.JPEG_LS)
    await keep_all(house, exact, study)
    await settle(house, exact, study)
    back = (await native_forms(house, exact, study))[0]
    before = await rows(house, exact)
    first = (await located(house, exact, study))[0]
    data = bytearray(house.blobs.read(first.landed.key))
    data[first.landed.offset + first.landed.length - 40] ^= 1
    house.blobs.put(first.landed.key, bytes(data), replace=True)
    assert await keep(house, exact, back) is Outcome.CONFLICT
    assert await rows(house, exact) == before


async def test_native_forms_are_compared_in_the_data_folder(
    house: House, exact: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_in(enc.JPEG_LS)
    await keep_all(house, exact, study)
    await settle(house, exact, study)
    folders: list[object] = []
    made = tempfile.SpooledTemporaryFile

    def spooled(*args: object, **more: object) -> object:
        folders.append(more.get("dir"))
        return made(*args, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", spooled)
    other = study.with_attributes(ImageComments="another header").objects()[0]
    assert await keep(house, exact, other) is Outcome.CANDIDATE
    assert set(folders) == {str(house.settings.staging)}


async def test_a_repeat_of_a_rotten_one_brings_the_original_back(
    house: House, exact: Context
) -> None:
    study = study_in(enc.JPEG_LS)
    objects = await keep_all(house, exact, study)
    before = await rows(house, exact)
    await settle(house, exact, study)
    first = (await located(house, exact, study))[0]
    data = bytearray(house.blobs.read(first.landed.key))
    data[first.landed.offset + first.landed.length - 40] ^= 1
    house.blobs.put(first.landed.key, bytes(data), replace=True)
    with pytest.raises(Damaged):
        await served(house, first)
    assert any(line.startswith("I1") for line in await broken(house, exact))
    assert await keep(house, exact, objects[0]) is Outcome.DUPLICATE
    places = await located(house, exact, study)
    assert [is_packed(at.landed.key) for at in places] == [False, True]
    assert (places[0].syntax, await served(house, places[0])) == (enc.JPEG_LS, objects[0].dataset)
    after = await rows(house, exact)
    assert [row for row in after if row[0] == objects[0].sop_uid] == [
        row for row in before if row[0] == objects[0].sop_uid
    ]
    assert (await settle(house, exact, study)).exact == 1
    await settled_as_native(house, exact, study)
    assert await broken(house, exact) == []


async def test_generations_are_merged_without_their_originals(house: House, exact: Context) -> None:
    house.settings = replace(house.settings, landed_grace=0.0)
    study = study_in(enc.RLE, MERGE_AT + 1)
    for built in study.objects():
        assert await keep(house, exact, built) is Outcome.STORED
        await settle(house, exact, study)
        await gone(house, exact)
    await settled_as_native(house, exact, study)
    assert len({at.landed.key for at in await located(house, exact, study)}) == 1
    assert await broken(house, exact) == []


async def test_a_tenant_that_changes_its_mind_keeps_what_is_left(
    house: House, exact: Context
) -> None:
    house.settings = replace(house.settings, landed_grace=0.0)
    study = study_in(enc.JPEG_LS, MERGE_AT + 1)
    objects = study.objects()
    for built in objects[:-1]:
        assert await keep(house, exact, built) is Outcome.STORED
        await settle(house, exact, study)
        await gone(house, exact)
    before = [await served(house, at) for at in await located(house, exact, study)]
    plain = replace(exact, tenant=await house.tenants.configure(exact, settling="as-received"))
    assert await keep(house, plain, objects[-1]) is Outcome.STORED
    done = await settle(house, plain, study)
    assert (done.instances, done.coded, done.reasons) == (5, 0, {"policy": 5})
    places = await located(house, plain, study)
    assert [await served(house, at) for at in places] == [*before, objects[-1].dataset]
    assert [at.landed.kept is None for at in places] == [False] * 4 + [True]
    assert await broken(house, plain) == []
    seen = await rows(house, plain)
    fresh = await again(house)
    try:
        assert await rows(fresh, plain) == seen
        assert await broken(fresh, plain) == []
    finally:
        await fresh.close()


async def gone(house: House, context: Context) -> None:
    """Landed objects go as soon as nobody reads there."""
    tenants = {context.tenant.key: context.tenant}
    while await flush_inline(house.work, house.blobs, tenants):
        pass
    async with house.work.session() as connection:
        await connection.execute("UPDATE lease SET closed = now(), expires = now()")
    while await clear_gone(house.work, house.blobs, tenants):
        pass


async def again(house: House) -> House:
    """The installation with its database made anew."""
    await reindex(house.settings, house.info, may_clear=True)
    return open_house(house.settings, house.info)


@pytest.mark.parametrize("grace", [86_400.0, 0.0], ids=["within the grace", "after it"])
async def test_b07_a_re_index_knows_what_arrived_and_what_is_kept(
    house: House, exact: Context, grace: float
) -> None:
    house.settings = replace(house.settings, landed_grace=grace)
    study = study_in(enc.JPEG_2000, 3)
    objects = await keep_all(house, exact, study)
    await settle(house, exact, study)
    if not grace:
        await gone(house, exact)
    seen = await rows(house, exact)
    fresh = await again(house)
    try:
        assert await rows(fresh, exact) == seen
        await settled_as_native(fresh, exact, study)
        assert await keep(fresh, exact, objects[1]) is Outcome.DUPLICATE
        tenant = await fresh.tenants.named(exact.tenant.name)
        assert tenant.settling == PIXEL_EXACT
        assert await broken(fresh, exact) == []
    finally:
        await fresh.close()
