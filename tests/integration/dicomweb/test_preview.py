"""The preview of a series: as docs/conformance/dicomweb.md and the viewer have it."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest

from lightwell.access.context import operator_context
from lightwell.backends.codecs.htj2k import decode_coarse
from lightwell.domain.archive.internal.packing.preview import prefixes, read_head
from lightwell.domain.archive.model import Level, Target
from lightwell.testing import encoding as enc
from lightwell.testing.builders import StudyBuilder, a_study

CT = a_study("P1", name="Doe^Jane").with_series("CT", instances=5, rows=256, columns=200)
MANY = a_study("P2", seed=3).with_series("CT", instances=2, frames=3, rows=160, columns=160)


def series_url(study: StudyBuilder, series: int = 0) -> str:
    return f"/dicomweb/studies/{study.study_uid}/series/{study.series_uid(series)}"


async def put(house: Any, study: StudyBuilder) -> None:
    response = await house.post(*(built.part10 for built in study.objects()))
    assert response.status_code == 200


def chunks(raw: bytes) -> list[tuple[str, bytes]]:
    assert raw[:8] == b"LWPS\x01\0\0\0"
    found, at = [], 8
    while at < len(raw):
        name, length = struct.unpack_from("<4sI", raw, at)
        found.append((name.decode(), raw[at + 8 : at + 8 + length]))
        assert len(found[-1][1]) == length
        at += 8 + length
    return found


def one(raw: bytes, name: str) -> bytes:
    (found,) = [content for each, content in chunks(raw) if each == name]
    return found


def lead_of(raw: bytes) -> tuple[str, int, bytes]:
    lead = one(raw, "LEAD")
    size = struct.unpack_from("<H", lead)[0]
    number = struct.unpack_from("<I", lead, 2 + size)[0]
    return lead[2 : 2 + size].decode(), number, lead[6 + size :]


def ends_of(raw: bytes) -> dict[str, list[list[int]]]:
    found: dict[str, list[list[int]]] = json.loads(zlib.decompress(one(raw, "FRMS")))
    return found


async def test_before_settling_there_are_metadata_only(house: Any) -> None:
    await put(house, CT)
    response = await house.get(f"{series_url(CT)}/preview")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/vnd.lightwell.preview"
    assert [name for name, _ in chunks(response.content)] == ["META", "FRMS"]
    metadata = await house.get(f"{series_url(CT)}/metadata")
    assert zlib.decompress(one(response.content, "META")) == metadata.content
    assert ends_of(response.content) == {}


async def test_of_a_settled_series(house: Any) -> None:
    await put(house, CT)
    before = await house.get(f"{series_url(CT)}/preview")
    await house.settle(CT)
    response = await house.get(f"{series_url(CT)}/preview")
    assert response.headers["etag"] != before.headers["etag"]
    raw = response.content
    assert [name for name, _ in chunks(raw)] == ["META", "LEAD", "PREV", "FRMS"]
    assert one(raw, "META") == one(before.content, "META")

    uid, number, stream = lead_of(raw)
    assert (uid, number) == (CT.sop_uid(0, 2), 1)
    ends = ends_of(raw)
    assert list(ends) == [built.sop_uid for built in CT.objects()]
    levels = len(ends[uid][0]) - 2
    # 256 x 200 at 1/1 is the smallest of at least 128 in both.
    assert len(stream) == ends[uid][0][-1]
    lead = decode_coarse(stream, levels, 0)
    built = np.frombuffer(CT.objects()[2].dataset[-256 * 200 * 2 :], "<i2").reshape(256, 200)
    assert np.array_equal(lead, built)

    head = read_head(one(raw, "PREV"))
    assert [uid for uid, _ in head.instances] == list(ends)
    coarse = prefixes(one(raw, "PREV"), head, 4)
    assert len(one(raw, "PREV")) == head.until(4)
    for frame, (sop_uid, _frames) in enumerate(head.instances):
        assert len(coarse[frame]) == ends[sop_uid][0][levels - 4]
        assert decode_coarse(coarse[frame], levels, 4).shape == (16, 13)


async def test_level_and_lead(house: Any) -> None:
    await put(house, CT)
    await house.settle(CT)
    sizes = {}
    for level in (2, 3, 4, 5):
        response = await house.get(f"{series_url(CT)}/preview?level={level}&lead=64")
        prev = one(response.content, "PREV")
        head = read_head(prev)
        assert len(prev) == head.until(level)
        sizes[level] = len(prev)
        uid, _, stream = lead_of(response.content)
        ends = ends_of(response.content)[uid][0]
        assert len(stream) == ends[-3]  # half the size: 128 x 100
    assert sizes[2] > sizes[3] > sizes[4] >= sizes[5]
    for wrong in ("level=1", "level=6", "level=x", "level=", "lead=63", "lead=1025", "lead=-1"):
        assert (await house.get(f"{series_url(CT)}/preview?{wrong}")).status_code == 400


async def test_frames_of_many_and_several_generations(house: Any) -> None:
    first, second = MANY.objects()
    await house.post(first.part10)
    done = await house.settle(MANY)
    assert [(one.coded, one.reasons) for one in done] == [(1, {})]
    await house.post(second.part10)
    waiting = await house.get(f"{series_url(MANY)}/preview")
    assert list(ends_of(waiting.content)) == [first.sop_uid]
    assert lead_of(waiting.content)[:2] == (first.sop_uid, 3)  # the middle one is not coded yet
    await house.settle(MANY)
    response = await house.get(f"{series_url(MANY)}/preview")
    previews = [content for name, content in chunks(response.content) if name == "PREV"]
    assert [read_head(each).instances for each in previews] == [
        ((first.sop_uid, 3),), ((second.sop_uid, 3),)
    ]  # fmt: skip
    assert [len(frames) for frames in ends_of(response.content).values()] == [3, 3]
    assert lead_of(response.content)[:2] == (second.sop_uid, 1)


async def test_what_was_rejected_is_not_in_it(house: Any) -> None:
    await put(house, CT)
    await house.settle(CT)
    whole = await house.get(f"{series_url(CT)}/preview?level=2")
    gone = CT.sop_uid(0, 2)
    target = Target(
        Level.INSTANCE, study_uid=CT.study_uid, series_uid=CT.series_uid(0), sop_uid=gone
    )
    await house.archive.reject(operator_context(house.tenant, "test"), target, "113001", "moved")
    for level in (2, 4):
        response = await house.get(f"{series_url(CT)}/preview?level={level}")
        assert gone not in ends_of(response.content)
        assert lead_of(response.content)[0] != gone
        prev = one(response.content, "PREV")
        head = read_head(prev)
        assert len(prev) == head.until(level)
        kept = [sop_uid for sop_uid, _ in head.instances]
        assert gone not in kept
        assert len(kept) == 4
        before = read_head(one(whole.content, "PREV"))
        old = prefixes(one(whole.content, "PREV"), before, level)
        numbers = {sop_uid: n for n, (sop_uid, _) in enumerate(before.instances)}
        for frame, prefix in prefixes(prev, head, level).items():
            assert prefix == old[numbers[kept[frame]]]


async def test_corrections_show_and_change_the_entity_tag(house: Any) -> None:
    await put(house, CT)
    await house.settle(CT)
    before = await house.get(f"{series_url(CT)}/preview")
    tag = before.headers["etag"]
    again = await house.get(f"{series_url(CT)}/preview", if_none_match=tag)
    assert again.status_code == 304
    assert again.headers["cache-control"] == "private, no-cache"
    edit = {"00081030": {"vr": "LO", "Value": ["Corrected"]}}
    target = Target(Level.STUDY, study_uid=CT.study_uid)
    await house.archive.correct(operator_context(house.tenant, "test"), target, edit, "wrong")
    after = await house.get(f"{series_url(CT)}/preview", if_none_match=tag)
    assert after.status_code == 200
    model = json.loads(zlib.decompress(one(after.content, "META")))
    assert {each["00081030"]["Value"][0] for each in model} == {"Corrected"}
    assert one(after.content, "PREV") == one(before.content, "PREV")


async def test_ranges(house: Any) -> None:
    await put(house, CT)
    await house.settle(CT)
    url = f"{series_url(CT)}/preview"
    part = await house.get(url, range="bytes=0-99")  # before anything is remembered
    whole = await house.get(url)
    assert (part.status_code, part.content) == (206, whole.content[:100])
    assert part.headers["content-range"] == f"bytes 0-99/{len(whole.content)}"
    tag = whole.headers["etag"]
    same = await house.get(url, range="bytes=100-", if_range=tag)
    assert (same.status_code, same.content) == (206, whole.content[100:])
    other = await house.get(url, range="bytes=100-", if_range='"another"')
    assert (other.status_code, other.content) == (200, whole.content)
    beyond = await house.get(url, range=f"bytes={len(whole.content)}-")
    assert beyond.status_code == 416


async def test_a_lost_or_damaged_preview_is_left_out(house: Any) -> None:
    await put(house, CT)
    await house.settle(CT)
    whole = await house.get(f"{series_url(CT)}/preview")
    derived = [info for info in house.blobs.list("") if "/derived/" in info.key]
    for info in derived:
        data = bytearray(house.blobs.read(info.key))
        house.blobs.delete(info.key)
        data[-1] ^= 1
        house.blobs.put(info.key, bytes(data))
    damaged = await house.get(f"{series_url(CT)}/preview?level=2")
    assert [name for name, _ in chunks(damaged.content)] == ["META", "LEAD", "FRMS"]
    assert one(damaged.content, "META") == one(whole.content, "META")
    for info in derived:
        house.blobs.delete(info.key)
    lost = await house.get(f"{series_url(CT)}/preview?level=3")
    assert [name for name, _ in chunks(lost.content)] == ["META", "LEAD", "FRMS"]


async def test_a_damaged_lead_image_and_damaged_records_are_left_out(house: Any) -> None:
    await put(house, CT)
    await house.settle(CT)
    context = operator_context(house.tenant, "test")
    lease = await house.archive.locate(context, CT.study_uid)
    middle = lease.instances[CT.sop_uid(0, 2)]
    record = house.archive._stock.record(middle, 1)
    data = bytearray(house.blobs.read(middle.landed.key))
    data[record.offset + 30] ^= 1
    records = data.index(b"LWFR") + 8
    data[records + 8] ^= 1  # of the first instance
    house.blobs.delete(middle.landed.key)
    house.blobs.put(middle.landed.key, bytes(data))
    response = await house.get(f"{series_url(CT)}/preview")
    assert response.status_code == 200
    assert [name for name, _ in chunks(response.content)] == ["META", "PREV", "FRMS"]
    assert list(ends_of(response.content)) == [b.sop_uid for b in CT.objects()[1:]]


async def test_what_it_cannot_be_asked(house: Any) -> None:
    await put(house, CT)
    assert (await house.get(f"{series_url(CT)}/preview", "image/png")).status_code == 406
    unknown = f"/dicomweb/studies/{CT.study_uid}/series/1.2.3/preview"
    assert (await house.get(unknown)).status_code == 404
    assert (await house.get(f"/t/other{series_url(CT)}/preview")).status_code == 404


@pytest.mark.parametrize("syntax", [enc.IMPLICIT_LE, enc.EXPLICIT_LE])
async def test_it_is_in_the_document_and_recorded(house: Any, syntax: str) -> None:
    study = a_study("P9", seed=9).with_series("MR", rows=64, columns=64, syntax=syntax)
    await put(house, study)
    await house.settle(study)
    assert (await house.get(f"{series_url(study)}/preview")).status_code == 200
    paths = (await house.get("/openapi.json")).json()["paths"]
    operation = paths["/dicomweb/studies/{study}/series/{series}/preview"]["get"]
    assert operation["x-policy"] == "archive:instance:retrieve"
    (lease,) = house.database.of(1).leases.values()
    assert (lease.row.study_uid, lease.row.series_uid) == (study.study_uid, study.series_uid(0))
