"""Metadata of settled series are those of today, byte for byte, and read no header."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pydicom
import pytest

from lightwell.access.context import operator_context
from lightwell.domain.archive.internal import telling
from lightwell.domain.archive.model import Lease, Level, Located, Target
from lightwell.testing import encoding as enc
from lightwell.testing.builders import a_study

STUDY = (
    a_study("P1", "HOSP", name="Doe^Jane")
    .with_series("CT", instances=8, rows=96, columns=80)
    .with_series("MR", instances=2, rows=64, columns=64, syntax=enc.IMPLICIT_LE)
    .with_series("US", instances=1, rows=8, columns=8)
)
NAMES = [
    ("ISO_IR 100", "Müller^Jörg"),
    ("ISO_IR 192", "Иванов^Иван"),
    ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ("ISO_IR 166", "สมชาย"),
    (None, "Plain^Name"),
]


def files() -> list[bytes]:
    """The study with a different header an instance: character sets, private and bulk values, sequences."""
    made = []
    for number, built in enumerate(STUDY.objects()):
        data = pydicom.dcmread(io.BytesIO(built.part10))
        charset, name = NAMES[number % len(NAMES)]
        if charset is None:
            data.pop("SpecificCharacterSet", None)
        else:
            data.SpecificCharacterSet = charset.split("\\")
        data.ImageComments = name
        data.StudyDescription = "CT \"of\" 'everything' \\ more"
        if number % 2:
            block = data.private_block(0x0029, "ACME", create=True)
            block.add_new(1, "OB", bytes(range(256)) * 20)
            block.add_new(2, "LO", name)
            data.ICCProfile = bytes(3000 + number)
        if number % 3 == 0:
            item = pydicom.Dataset()
            item.ReferencedSOPInstanceUID = "1.2.3"
            inner = pydicom.Dataset()
            inner.EncapsulatedDocument = bytes(5000)
            item.ReferencedSeriesSequence = [inner]
            data.ReferencedImageSequence = [item]
        out = io.BytesIO()
        data.save_as(out)
        made.append(out.getvalue())
    return made


def bulk_root(located: Located) -> str:
    return f"https://pacs.example/{located.sop_uid}/bulkdata"


def target(level: Level) -> Target:
    series, sop = STUDY.series_uid(0), STUDY.sop_uid(0, 3)
    return {
        Level.PATIENT: Target(Level.PATIENT, issuer="HOSP", pid="P1"),
        Level.STUDY: Target(Level.STUDY, study_uid=STUDY.study_uid),
        Level.SERIES: Target(Level.SERIES, study_uid=STUDY.study_uid, series_uid=series),
        Level.INSTANCE: Target(
            Level.INSTANCE, study_uid=STUDY.study_uid, series_uid=series, sop_uid=sop
        ),
    }[level]


EDITS: dict[Level, dict[str, Any]] = {
    Level.PATIENT: {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Новое^Имя"}]}},
    Level.STUDY: {"00081030": {"vr": "LO", "Value": ["Corrected"]}, "00080050": None},
    Level.SERIES: {"0008103E": {"vr": "LO", "Value": ['Series "x"']}},
    Level.INSTANCE: {"00204000": {"vr": "LT", "Value": ["é"]}, "00200013": None},
}


async def correct(house: Any) -> None:
    context = operator_context(house.tenant, "test")
    for level, edits in EDITS.items():
        await house.archive.correct(context, target(level), edits, "a test")


async def reject_one(house: Any) -> None:
    one = Target(
        Level.INSTANCE,
        study_uid=STUDY.study_uid,
        series_uid=STUDY.series_uid(0),
        sop_uid=STUDY.sop_uid(0, 1),
    )
    context = operator_context(house.tenant, "test")
    await house.archive.reject(context, one, "113001", "moved")


async def lease_of(house: Any) -> Lease:
    context = operator_context(house.tenant, "test")
    lease: Lease = await house.archive.locate(context, STUDY.study_uid)
    return lease


def as_read(house: Any, lease: Lease) -> list[bytes]:
    """What the headers say now."""
    told: list[bytes] = house.archive.metadata(
        replace(lease, packs=()), list(lease.instances.values()), bulk_root
    )
    return told


def as_told(house: Any, lease: Lease, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the blobs say; reading a header fails."""

    def refuse(*_arguments: object) -> None:
        raise AssertionError("a header was read")

    with monkeypatch.context() as patch:
        patch.setattr(telling, "effective_json", refuse)
        told: list[bytes] = house.archive.metadata(lease, list(lease.instances.values()), bulk_root)
    return told


@pytest.mark.parametrize("corrected", ["before", "after", "never"])
async def test_settling_changes_no_byte(
    house: Any, corrected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await house.post(*files())).status_code == 200
    if corrected == "before":
        await correct(house)
    await reject_one(house)
    study = f"/dicomweb/studies/{STUDY.study_uid}"
    series = f"{study}/series/{STUDY.series_uid(0)}"
    paths = [
        f"{each}/metadata" for each in (study, series, f"{series}/instances/{STUDY.sop_uid(0, 3)}")
    ]
    before = [(await house.get(path, "application/dicom+json")).content for path in paths]
    read = as_read(house, await lease_of(house))

    done = await house.settle(STUDY)
    assert [one.coded for one in done] == [8, 2, 0]

    assert as_told(house, await lease_of(house), monkeypatch) == read
    # Called otherwise, so that no answer of before is remembered.
    after = [(await house.get(path, "application/json")).content for path in paths]
    assert after == before
    if corrected == "after":
        blobs = {info.key for info in house.blobs.list("") if "/derived/" in info.key}
        await correct(house)
        lease = await lease_of(house)
        told = as_told(house, lease, monkeypatch)
        assert told == as_read(house, lease)
        assert told != read
        assert {i.key for i in house.blobs.list("") if "/derived/" in i.key} == blobs


async def test_several_generations_and_what_is_not_settled_yet(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = files()
    for part in (objects[:3], objects[3:6]):
        await house.post(*part)
        await house.settle(STUDY, 0)
    settled = await lease_of(house)
    assert [pack.generation for pack in settled.packs] == [1, 2]
    assert as_told(house, settled, monkeypatch) == as_read(house, settled)
    await house.post(*objects[6:])
    house.archive.forget(operator_context(house.tenant, "test"), STUDY.study_uid)
    lease = await lease_of(house)
    told = house.archive.metadata(lease, list(lease.instances.values()), bulk_root)
    assert told == as_read(house, lease)
    assert len(told) == len(objects)


async def test_a_blob_is_read_once(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.post(*files())
    await house.settle(STUDY)
    lease = await lease_of(house)
    reads: list[str] = []
    read = house.blobs.read

    def counted(key: str, *arguments: int) -> bytes:
        reads.append(key)
        return bytes(read(key, *arguments))

    monkeypatch.setattr(house.blobs, "read", counted)
    for _ in range(3):
        as_told(house, lease, monkeypatch)
    assert len(reads) == len(set(reads)) == 3  # a blob a series


async def test_damaged_and_lost_blobs_are_done_without(house: Any) -> None:
    await house.post(*files())
    await house.settle(STUDY)
    lease = await lease_of(house)
    read = as_read(house, lease)
    first, second, _ = (pack.metadata.key for pack in lease.packs)
    data = bytearray(house.blobs.read(first))
    data[len(data) // 2] ^= 1
    house.blobs.delete(first)
    house.blobs.put(first, bytes(data))
    house.blobs.delete(second)
    assert house.archive.metadata(lease, list(lease.instances.values()), bulk_root) == read
