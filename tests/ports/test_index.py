"""One suite for `ports.Index` and the committer beside it, run in memory and on PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from lightwell.access.actions import Action
from lightwell.access.audit import AuditRecord, Outcome
from lightwell.access.commit import ChangeSet, Committer, FactsChanged
from lightwell.access.context import Tenant
from lightwell.backends.database.committer import GroupCommitter
from lightwell.backends.database.embedded import EmbeddedPostgres
from lightwell.backends.database.index import PostgresIndex
from lightwell.backends.database.migrate import migrate
from lightwell.backends.database.pool import Database
from lightwell.backends.database.roles import ConnectionInfo, Role
from lightwell.backends.memory.committer import MemoryCommitter
from lightwell.backends.memory.index import MemoryIndex
from lightwell.backends.memory.tables import MemoryDatabase
from lightwell.domain.archive.finding import build_query, present
from lightwell.domain.archive.keys import blob_key
from lightwell.domain.archive.model import (
    ArrivalRow,
    Attributes,
    CommitmentRow,
    Derived,
    Described,
    InstanceFacts,
    Landed,
    Level,
    Located,
    NewBlob,
    OverlayRow,
    PackRow,
    QCRow,
    RejectionRow,
    SeenAgainRow,
    Settled,
    Target,
    WithdrawRow,
)
from lightwell.domain.archive.ports import Index
from lightwell.domain.archive.query import Found, Query
from lightwell.domain.patients.model import PatientFacts
from lightwell.kernel.errors import Busy, Invalid
from lightwell.kernel.pages import Page

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"


def el(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": [v for v in values if v not in ("", None)]}


def name(text: str) -> dict[str, Any]:
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), text.split("="), strict=False)
    return {"vr": "PN", "Value": [{group: part for group, part in groups if part}]}


@dataclass
class An:
    """One instance to be: what a test says of it, and defaults for the rest."""

    study: str = "1.2.1"
    series: str = ""
    sop: str = ""
    pid: str = "P1"
    issuer: str = "HOSP"
    patient: str = "Doe^Jane"
    birth: str = "19700101"
    date: str = "20260101"
    time: str = "101500"
    accession: str = ""
    description: str = ""
    referring: str = ""
    modality: str = "CT"
    series_number: int | None = 1
    number: int | None = 1
    sop_class: str = CT
    outside: bool = False
    header: Attributes = field(default_factory=dict)
    more_patient: Attributes = field(default_factory=dict)
    more_series: Attributes = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.series = self.series or f"{self.study}.1"
        self.sop = self.sop or f"{self.series}.{self.number}"

    def row(self, tenant: Tenant) -> ArrivalRow:
        blob = uuid.uuid5(uuid.NAMESPACE_OID, f"{tenant.name}{self.sop}")
        patient = PatientFacts(self.issuer, self.pid, self.patient, self.birth, "F")
        described = Described(
            patient=patient,
            instance=InstanceFacts(
                sop_class=self.sop_class,
                sop_uid=self.sop,
                study_uid=self.study,
                series_uid=self.series,
                syntax="1.2.840.10008.1.2.1",
                number=self.number,
                rows=512,
                columns=256,
                bits=16,
                frames=None,
                pixel_offset=100,
                pixel_length=512 * 256 * 2,
                pixel_tag=0x7FE00010,
                frame_index=b"\x01",
            ),
            patient_attributes={
                "00100010": name(self.patient),
                "00100020": el("LO", self.pid),
                "00100030": el("DA", self.birth),
                "00100040": el("CS", "F"),
                **self.more_patient,
            },
            study_attributes={
                "0020000D": el("UI", self.study),
                "00080020": el("DA", self.date),
                "00080030": el("TM", self.time),
                "00080050": el("SH", self.accession),
                "00081030": el("LO", self.description),
                "00080090": name(self.referring),
                "00200010": el("SH", "S" + self.study),
            },
            series_attributes={
                "0020000E": el("UI", self.series),
                "00080060": el("CS", self.modality),
                "00200011": el("IS", self.series_number),
                "0008103E": el("LO", f"series {self.series_number}"),
                **self.more_series,
            },
            digest=hashlib.sha256(repr(self).encode()).digest()[:16],
        )
        landed = Landed(
            blob_id=blob,
            key=blob_key(tenant.region, tenant.name, "landed", blob),
            offset=0,
            length=2000,
            data_offset=400,
            sha256=hashlib.sha256(self.sop.encode()).digest(),
            crc32c=7,
        )
        return ArrivalRow(patient, described, landed, NOON, "dimse:CT1", self.outside)


@dataclass
class Archive:
    """An index and a committer on the same rows, for one tenant."""

    index: Index
    committer: Committer
    tenant: Tenant
    other: Tenant
    headers: dict[str, Attributes]

    async def put(self, *wanted: An) -> None:
        for an in wanted:
            self.headers[an.sop] = an.header
            await self.commit(an.row(self.tenant))

    async def commit(self, *rows: object) -> bool:
        done = await self.committer.commit(ChangeSet(self.tenant, rows, (), (record(),)))
        return done.inserted

    async def find(self, level: Level, *keys: Any, **options: Any) -> Page[Found]:
        return await self.index.find(self.tenant, build_query(level, keys, **options))

    async def studies(self, *keys: Any, **options: Any) -> list[str]:
        page = await self.find(Level.STUDY, *keys, **options)
        return [found.study_uid for found in page.items]

    async def all_pages(self, query: Query) -> list[Found]:
        found: list[Found] = []
        for _ in range(200):
            page = await self.index.find(self.tenant, query)
            found += page.items
            if page.next_cursor is None:
                return found
            query = replace(query, cursor=page.next_cursor)
        raise AssertionError("the pages never end")


def record() -> AuditRecord:
    return AuditRecord(
        at=NOON,
        actor="system:test",
        action=Action.ARCHIVE_INSTANCE_STORE,
        outcome=Outcome.DONE,
        channel="test",
        origin="",
        purpose="operations",
        trace="0",
    )


def key(tag: int | tuple[int, ...], text: str) -> Any:
    return ((tag,) if isinstance(tag, int) else tag, None, text)


NAME, PID, ISSUER, BIRTH = 0x00100010, 0x00100020, 0x00100021, 0x00100030
STUDY, SERIES, SOP, CLASS = 0x0020000D, 0x0020000E, 0x00080018, 0x00080016
DATE, TIME, ACCESSION, STUDY_ID = 0x00080020, 0x00080030, 0x00080050, 0x00200010
MODALITIES, MODALITY, DESCRIPTION, REFERRING = 0x00080061, 0x00080060, 0x00081030, 0x00080090
IMAGE_TYPE, CONTENT_DATE, CONTENT_TIME = 0x00080008, 0x00080023, 0x00080033


# --- the two backends -----------------------------------------------------------------------------

REGION = "geneva"  # of the tenant that is looked at: its keys begin so, whatever the default is


@pytest.fixture(scope="module")
def postgres() -> Iterator[ConnectionInfo]:
    """An embedded PostgreSQL with the schema, for all tests of this file."""
    folder = Path(tempfile.mkdtemp(prefix="lw-ix-"))
    folder.chmod(0o711)
    server = EmbeddedPostgres(folder / "data")
    try:
        info = server.start()
        with ThreadPoolExecutor(1) as aside:  # this thread may have a loop running already
            aside.submit(lambda: asyncio.run(migrate(info))).result(60)
        yield info
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def new_tenant(info: ConnectionInfo, region: str = "local") -> Tenant:
    label = f"t{uuid.uuid4().hex[:12]}"
    owner = await asyncpg.connect(info.url(Role.OWNER), timeout=10, command_timeout=20)
    try:
        row = await owner.fetchval(
            "INSERT INTO tenant (name, label, aet, region) VALUES ($1, $1, upper($1), $2) RETURNING tenant",
            label,
            region,
        )
    finally:
        await owner.close(timeout=5)
    return Tenant(row, label, label, label.upper(), region)


@pytest.fixture(params=["memory", "postgres"])
async def archive(request: pytest.FixtureRequest) -> AsyncIterator[Archive]:
    headers: dict[str, Attributes] = {}

    def read(located: Located) -> Attributes:
        return headers[located.sop_uid]

    if request.param == "memory":
        database = MemoryDatabase()
        one, two = Tenant(1, "one", "One", "ONE", REGION), Tenant(2, "two", "Two", "TWO")
        yield Archive(MemoryIndex(database, read), MemoryCommitter(database), one, two, headers)
        return
    info = request.getfixturevalue("postgres")
    one, two = await new_tenant(info, REGION), await new_tenant(info)
    pool, committer = Database(info, size=3), GroupCommitter(info, connections=2)
    try:
        yield Archive(PostgresIndex(pool, read), committer, one, two, headers)
    finally:
        await committer.close()
        await pool.close()


# --- finding --------------------------------------------------------------------------------------


async def test_an_empty_archive_answers_every_question(archive: Archive) -> None:
    for level in Level:
        assert (await archive.find(level)).items == ()
    assert await archive.index.locate(archive.tenant, "1.2", None, None) == ([], "")
    assert await archive.index.keeps(archive.tenant, ["1.2"]) == {}
    assert (await archive.index.totals(archive.tenant)).studies == 0


async def people(archive: Archive) -> None:
    await archive.put(
        An("1.1", pid="A1", patient="Doe^Jane", date="20260103", accession="ACC1",
           description="CT Thorax nativ", referring="House^Gregory"),
        An("1.2", pid="A2", patient="Doering^Max", date="20260102", accession="ACC2",
           modality="MR", sop_class=MR, description="MR Kopf"),
        An("1.3", pid="B1", patient="Müller^Hans", date="20260101", accession="XACC",
           description="CT Abdomen"),
        An("1.4", pid="B2", patient="Yamada^Tarou=山田^太郎=やまだ^たろう", date="20251231"),
        An("1.5", pid="b3", patient="de la Cruz^Maria", date="", time="", modality="US"),
        An("1.1", series="1.1.2", pid="A1", patient="Doe^Jane", date="20260103",
           accession="ACC1", description="CT Thorax nativ", referring="House^Gregory",
           modality="SR", series_number=2),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "options", "expected"),
    [
        ([], {}, ["1.1", "1.2", "1.3", "1.4", "1.5"]),
        ([key(NAME, "doe^jane")], {}, ["1.1"]),
        ([key(NAME, "DOE")], {}, []),
        ([key(NAME, "doe*")], {}, ["1.1", "1.2"]),
        ([key(NAME, "doe^*")], {}, ["1.1"]),
        ([key(NAME, "MULLER*")], {}, ["1.3"]),
        ([key(NAME, "Müller^H*")], {}, ["1.3"]),
        ([key(NAME, "*^hans")], {}, ["1.3"]),
        ([key(NAME, "*cruz*")], {}, ["1.5"]),
        ([key(NAME, "*hans^*")], {}, ["1.3"]),
        ([key(NAME, "doe^?*")], {}, ["1.1"]),
        ([key(NAME, "*^*")], {}, ["1.1", "1.2", "1.3", "1.4", "1.5"]),
        ([key(NAME, "=*郎^?*")], {}, ["1.4"]),
        ([key(NAME, "Yamada^Tarou")], {}, ["1.4"]),
        ([key(NAME, "de la cruz^*")], {}, ["1.5"]),
        ([key(NAME, "山田*")], {}, ["1.4"]),
        ([key(NAME, "=山田^太郎")], {}, ["1.4"]),
        ([key(NAME, "yamada*=鈴木*")], {}, []),
        ([key(NAME, "やまだ*")], {}, ["1.4"]),
        ([key(NAME, "*太郎")], {}, ["1.4"]),
        ([key(NAME, "zzz*")], {}, []),
        ([key(NAME, "%")], {}, []),
        ([key(NAME, "*_*")], {}, []),
        ([key(NAME, "mueller hans")], {"fuzzy": True}, ["1.3"]),
        ([key(NAME, "cruz")], {"fuzzy": True}, ["1.5"]),
        ([key(NAME, "jane doe")], {"fuzzy": True}, ["1.1"]),
        ([key(PID, "A1")], {}, ["1.1"]),
        ([key(PID, "a1")], {}, []),
        ([key(PID, "A*")], {}, ["1.1", "1.2"]),
        ([key(PID, "?1")], {}, ["1.1", "1.3"]),
        ([key(PID, "A1\\B1")], {}, ["1.1", "1.3"]),
        ([key(BIRTH, "19700101"), key(PID, "B*")], {}, ["1.3", "1.4"]),
        ([key(BIRTH, "19700102")], {}, []),
        ([key(DATE, "20260101-20260102")], {}, ["1.2", "1.3"]),
        ([key(DATE, "-20260101")], {}, ["1.3", "1.4"]),
        ([key(DATE, "20260102-")], {}, ["1.1", "1.2"]),
        ([key(TIME, "10")], {}, ["1.1", "1.2", "1.3", "1.4"]),
        ([key(TIME, "1016-")], {}, []),
        ([key(DATE, "20260102-20260103"), key(TIME, "1010-1014")],
         {"combined_date_time": True}, ["1.2"]),
        ([key(DATE, '""')], {"empty_value_matching": True}, ["1.5"]),
        ([key(DATE, "")], {"empty_value_matching": True}, ["1.1", "1.2", "1.3", "1.4", "1.5"]),
        ([key(DATE, "")], {"empty_value_matching": True, "zero_length_is_empty": True}, ["1.5"]),
        ([key(ACCESSION, "ACC1")], {}, ["1.1"]),
        ([key(ACCESSION, "ACC*")], {}, ["1.1", "1.2"]),
        ([key(ACCESSION, "*ACC*")], {}, ["1.1", "1.2", "1.3"]),
        ([key(ACCESSION, '""')], {"empty_value_matching": True}, ["1.4", "1.5"]),
        ([key(STUDY_ID, "S1.3")], {}, ["1.3"]),
        ([key(DESCRIPTION, "CT*")], {}, ["1.1", "1.3"]),
        ([key(DESCRIPTION, "ct*")], {}, []),
        ([key(REFERRING, "house*")], {}, ["1.1"]),
        ([key(REFERRING, "*gregory")], {}, ["1.1"]),
        ([key(MODALITIES, "CT")], {}, ["1.1", "1.3", "1.4"]),
        ([key(MODALITIES, "SR")], {}, ["1.1"]),
        ([key(MODALITIES, "MR\\US")], {}, ["1.2", "1.5"]),
        ([key(MODALITIES, "CT,MR")],
         {"comma_lists": True, "multiple_value_matching": True}, ["1.1", "1.2", "1.3", "1.4"]),
        ([key(MODALITIES, "CT,MR")], {"comma_lists": True}, []),
        ([key(MODALITY, "MR")], {}, ["1.2"]),
        ([key(MODALITIES, "CT"), key(NAME, "doe*")], {}, ["1.1"]),
        ([key(STUDY, "1.2\\1.4\\9.9")], {}, ["1.2", "1.4"]),
        ([], {"study_uids": ["1.3"]}, ["1.3"]),
        ([key(0x00201208, "2")], {}, ["1.1"]),
        ([key(0x00080056, "ONLINE"), key(PID, "A2")], {}, ["1.2"]),
        ([key(0x00080056, "NEARLINE")], {}, []),
        # keys that studies do not have never widen
        ([key(SERIES, "1.1.1")], {}, []),
        ([key(IMAGE_TYPE, "ORIGINAL")], {}, []),
        ([key(0x00091001, "x")], {}, []),
        ([key((0x00400275, 0x00400009), "x")], {}, []),
        ([key(ISSUER, "HOSP")], {}, []),
        ([key(IMAGE_TYPE, "")], {}, ["1.1", "1.2", "1.3", "1.4", "1.5"]),
        # the search box and the modality filter of the web app
        ([], {"text": "doe"}, ["1.1", "1.2"]),
        ([], {"text": "jane ct"}, ["1.1"]),
        ([], {"text": "acc1"}, ["1.1"]),
        ([], {"text": "b3"}, ["1.5"]),
        ([], {"text": "thorax"}, ["1.1"]),
        ([], {"text": "thor"}, ["1.1"]),
        ([], {"text": "hans thorax"}, []),
        ([], {"text": "太郎"}, ["1.4"]),
        ([], {"text": "ct", "modality": "CT"}, ["1.1", "1.3"]),
        ([], {"modality": "US"}, ["1.5"]),
    ],
)  # fmt: skip
async def test_studies(
    archive: Archive, keys: list[Any], options: dict[str, Any], expected: list[str]
) -> None:
    await people(archive)
    assert await archive.studies(*keys, **options) == expected


async def test_orders(archive: Archive) -> None:
    await people(archive)
    newest = ["1.1", "1.2", "1.3", "1.4", "1.5"]
    assert await archive.studies(order="-StudyDate") == newest
    assert await archive.studies(order="StudyDate") == newest[::-1]
    by_name = ["1.5", "1.1", "1.2", "1.3", "1.4"]
    assert await archive.studies(order="PatientName") == by_name
    assert await archive.studies(order="-PatientName") == by_name[::-1]
    with pytest.raises(Invalid):
        await archive.studies(order="PatientName; DROP TABLE study")


async def test_a_study_shows_what_is_counted(archive: Archive) -> None:
    await people(archive)
    page = await archive.find(Level.STUDY, key(PID, "A1"), key(0x00080062, ""), key(0x00201200, ""))
    (found,) = page.items
    shown = found.attributes
    assert shown["00080061"]["Value"] == ["CT", "SR"]
    assert shown["00201206"]["Value"] == [2]
    assert shown["00201208"]["Value"] == [2]
    assert shown["00080056"]["Value"] == ["ONLINE"]
    assert shown["00080062"]["Value"] == [CT]
    assert shown["00201200"]["Value"] == [1]
    assert shown["00201202"]["Value"] == [2]
    assert shown["00201204"]["Value"] == [2]
    assert shown["00100010"] == name("Doe^Jane")
    assert (found.issuer, found.pid) == ("HOSP", "A1")
    assert found.extra == {
        "held": 0, "rejected": 0, "outside": False, "patient_changed": False, "flags": "",
    }  # fmt: skip


async def test_patients(archive: Archive) -> None:
    await people(archive)
    await archive.put(An("1.9", pid="A1", patient="Doe^Jane", date="20260109"))
    page = await archive.find(Level.PATIENT, key(NAME, "do*"), key(0x00201200, ""))
    assert [found.pid for found in page.items] == ["A1", "A2"]
    assert [found.attributes["00201200"]["Value"] for found in page.items] == [[2], [1]]
    assert (await archive.find(Level.PATIENT, key(DATE, "20260109"))).items == ()
    everybody = build_query(Level.PATIENT, [], limit=2)
    assert [f.pid for f in await archive.all_pages(everybody)] == ["b3", "A1", "A2", "B1", "B2"]


async def test_series_and_instances(archive: Archive) -> None:
    await archive.put(
        *(An("2.1", f"2.1.{s}", f"2.1.{s}.{i}", series_number=s if s < 3 else None,
             number=i if i < 3 else None, date="20260102",
             modality="CT" if s < 3 else "SR")
          for s in (1, 2, 3) for i in (1, 2, 3)),
        An("2.0", number=7, date="20260101", pid="P2"),
    )  # fmt: skip

    async def series(*keys: Any, **options: Any) -> list[str]:
        return [f.series_uid for f in (await archive.find(Level.SERIES, *keys, **options)).items]

    async def instances(*keys: Any, **options: Any) -> list[str]:
        page = await archive.find(Level.INSTANCE, *keys, **options)
        return [found.sop_uid for found in page.items]

    assert await series(study_uids=["2.1"]) == ["2.1.1", "2.1.2", "2.1.3"]
    assert await series() == ["2.1.1", "2.1.2", "2.1.3", "2.0.1"]
    assert await series(key(MODALITY, "SR")) == ["2.1.3"]
    assert await series(key(0x00200011, "2")) == ["2.1.2"]
    assert await series(key(0x0008103E, "*1")) == ["2.1.1", "2.0.1"]
    assert await series(series_uids=["2.1.2"]) == ["2.1.2"]
    assert await series(key(PID, "P2")) == ["2.0.1"]
    (one,) = (await archive.find(Level.SERIES, series_uids=["2.1.2"])).items
    assert one.attributes["00201209"]["Value"] == [3]
    assert one.attributes["0020000D"]["Value"] == ["2.1"]
    assert one.attributes["00100020"]["Value"] == ["P1"]

    assert await instances(study_uids=["2.1"], series_uids=["2.1.2"]) == [
        "2.1.2.1", "2.1.2.2", "2.1.2.3",
    ]  # fmt: skip
    assert len(await instances()) == 10
    assert await instances(sop_uids=["2.1.3.2", "2.0.1.7"]) == ["2.1.3.2", "2.0.1.7"]
    assert await instances(key(0x00200013, "2"), study_uids=["2.1"]) == [
        "2.1.1.2", "2.1.2.2", "2.1.3.2",
    ]  # fmt: skip
    assert await instances(key(CLASS, MR)) == []
    (one,) = (await archive.find(Level.INSTANCE, sop_uids=["2.1.1.1"])).items
    assert one.attributes["00280010"]["Value"] == [512]
    assert one.attributes["00200013"]["Value"] == [1]
    assert one.attributes["00083002"]["Value"] == ["1.2.840.10008.1.2.1"]
    assert "00280008" not in one.attributes


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("order", ["-StudyDate", "StudyDate", "PatientName", "-PatientName"])
@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_pages_hold_everything_once(
    archive: Archive, level: Level, order: str, limit: int
) -> None:
    await archive.put(
        *(An(f"3.{s}", f"3.{s}.{e}", pid=f"P{s % 2}", patient=f"Name{s % 2}^X",
             date=f"2026010{s % 3}", time="10" if s % 2 else "", series_number=e or None,
             number=i or None)
          for s in range(4) for e in range(2) for i in range(3))
    )  # fmt: skip
    whole = await archive.index.find(archive.tenant, build_query(level, [], limit=100, order=order))
    pages = await archive.all_pages(build_query(level, [], limit=limit, order=order))
    assert [identity(found) for found in pages] == [identity(found) for found in whole.items]
    assert len({identity(found) for found in pages}) == len(pages)
    assert len(pages) == {"patient": 2, "study": 4, "series": 8, "instance": 24}[level]
    skipped = await archive.index.find(
        archive.tenant, build_query(level, [], limit=2, offset=1, order=order)
    )
    assert skipped.items == whole.items[1:3]


def identity(found: Found) -> tuple[str, ...]:
    return (found.pid, found.study_uid, found.series_uid, found.sop_uid)


async def test_a_cursor_from_elsewhere_is_refused(archive: Archive) -> None:
    await people(archive)
    page = await archive.find(Level.STUDY, limit=1)
    assert page.next_cursor is not None
    with pytest.raises(Invalid):
        await archive.find(Level.SERIES, cursor=page.next_cursor)
    with pytest.raises(Invalid):
        await archive.find(Level.STUDY, cursor=page.next_cursor, order="PatientName")
    for nonsense in ("x", "WzEsMiwzXQ", "W251bGwsbnVsbCxudWxsXQ", "A" * 3000):
        with pytest.raises(Invalid):
            await archive.find(Level.STUDY, cursor=nonsense)


async def test_text_that_a_database_would_choke_on(archive: Archive) -> None:
    await people(archive)
    for text in ("\0", "a\0b", "\ud800", "'; DROP TABLE study; --", "\\", "%", "_", "a" * 1000):
        for tag in (NAME, PID, ACCESSION, DESCRIPTION, REFERRING, MODALITIES):
            for pattern in (text, f"{text}*", f"*{text}*"):
                found = await archive.studies(key(tag, pattern))
                assert found == [] or not text.strip("\0\\")
        await archive.studies(text=text)
        await archive.studies(key(NAME, text), fuzzy=True)


async def test_attributes_that_only_headers_hold(archive: Archive) -> None:
    axial = {"00080008": el("CS", "ORIGINAL", "AXIAL"), "00080023": el("DA", "20260101"),
             "00080033": el("TM", "2300"), "00100010": name("As^Recorded")}  # fmt: skip
    scout = {"00080008": el("CS", "ORIGINAL", "LOCALIZER"), "00080023": el("DA", "20260102"),
             "00080033": el("TM", "0100")}  # fmt: skip
    await archive.put(
        An("4.1", number=1, header=axial), An("4.1", number=2, header=scout), An("4.2", number=1)
    )

    async def find(*keys: Any, **options: Any) -> list[str]:
        page = await archive.find(Level.INSTANCE, *keys, **options)
        return [found.sop_uid for found in page.items]

    assert await find(key(IMAGE_TYPE, "LOCALIZER")) == ["4.1.1.2"]
    assert await find(key(IMAGE_TYPE, "AX*")) == ["4.1.1.1"]
    assert await find(key(0x00181151, "200")) == []
    assert await find(
        key(CONTENT_DATE, "20260101-20260102"), key(CONTENT_TIME, "2230-0030"),
        combined_date_time=True,
    ) == ["4.1.1.1"]  # fmt: skip
    (one,) = (await archive.find(Level.INSTANCE, key(IMAGE_TYPE, ""), sop_uids=["4.1.1.1"])).items
    assert one.attributes["00080008"]["Value"] == ["ORIGINAL", "AXIAL"]
    assert one.attributes["00100010"] == name("Doe^Jane")  # the effective name wins


async def test_too_many_headers_are_refused_not_read(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightwell.domain.archive.internal import finding as engine

    monkeypatch.setattr(engine._Budget.__init__, "__defaults__", (2,))
    await archive.put(*(An("4.3", number=n, header={}) for n in range(1, 4)))
    with pytest.raises(Busy, match="image headers"):
        await archive.find(Level.INSTANCE, key(IMAGE_TYPE, "AXIAL"))


async def test_tenants_do_not_see_each_other(archive: Archive) -> None:
    await people(archive)
    index, other = archive.index, archive.other
    for level in Level:
        assert (await index.find(other, build_query(level, []))).items == ()
    assert (await index.find(other, build_query(Level.STUDY, [], study_uids=["1.1"]))).items == ()
    assert await index.locate(other, "1.1", None, None) == ([], "")
    assert await index.keeps(other, ["1.1.1.1"]) == {}
    facts = PatientFacts("HOSP", "A1", "Doe^Jane")
    seen = await index.known(other, facts, "1.1", "1.1.1.1")
    assert (seen.patient, seen.study_patient, seen.instances) == (None, None, ())
    assert await index.original(other, Target(Level.STUDY, study_uid="1.1")) is None


# --- facts for admission --------------------------------------------------------------------------


async def test_known(archive: Archive) -> None:
    facts = PatientFacts("HOSP", "P1", "Doe^Jane", "19700101", "F")
    nothing = await archive.index.known(archive.tenant, facts, "1.1", "1.1.1.1")
    assert (nothing.patient, nothing.study_patient, nothing.instances) == (None, None, ())
    an = An("1.1")
    await archive.put(an)
    seen = await archive.index.known(archive.tenant, facts, "1.1", "1.1.1.1")
    assert seen.patient == seen.patient_now == facts
    assert seen.study_patient == ("HOSP", "P1")
    (kept,) = seen.instances
    landed = an.row(archive.tenant).landed
    assert (kept.state, kept.study_uid, kept.series_uid) == ("current", "1.1", "1.1.1")
    assert (kept.sha256, kept.key, kept.length) == (landed.sha256, landed.key, landed.length)
    assert (kept.data_offset, kept.inline, kept.rejected) == (400, False, None)
    elsewhere = await archive.index.known(archive.tenant, PatientFacts("HOSP", "P9"), "1.1", "9.9")
    assert (elsewhere.patient, elsewhere.instances) == (None, ())
    assert elsewhere.study_patient == ("HOSP", "P1")


async def test_an_arrival_is_written_once(archive: Archive) -> None:
    await archive.put(An("1.1"))
    with pytest.raises(FactsChanged):
        await archive.put(An("1.1"))
    with pytest.raises(FactsChanged):  # the patient's name is another by now
        await archive.put(An("1.2", patient="Roe^Jane"))
    with pytest.raises(FactsChanged):  # the study is another patient's
        await archive.put(An("1.1", sop="9.9", pid="P7"))
    assert await archive.studies() == ["1.1"]
    totals = await archive.index.totals(archive.tenant)
    assert (totals.studies, totals.instances) == (1, 1)


async def test_later_objects_add_what_earlier_ones_lacked(archive: Archive) -> None:
    await archive.put(An("1.1"))
    extra = {"00102160": el("SH", "X"), "00100040": el("CS", "M")}
    await archive.put(An("1.1", number=2, more_patient=extra))
    effective = await archive.index.effective(
        archive.tenant, Target(Level.PATIENT, issuer="HOSP", pid="P1")
    )
    assert effective is not None
    assert effective["00102160"]["Value"] == ["X"]
    assert effective["00100040"]["Value"] == ["F"]


def aside(an: An, tenant: Tenant, kind: str, sha: bytes = b"x" * 32) -> QCRow:
    row = an.row(tenant)
    blob = uuid.uuid4()
    landed = replace(
        row.landed, sha256=sha, blob_id=blob,
        key=blob_key(tenant.region, tenant.name, "landed", blob),
    )  # fmt: skip
    facts = row.described.instance
    return QCRow(
        kind=kind, reason="test", landed=landed, received=NOON, source="dimse:CT1",
        patient=row.patient, instance=facts, sop_uid=facts.sop_uid, sop_class=facts.sop_class,
        syntax=facts.syntax,
    )  # fmt: skip


async def test_what_is_kept_aside_is_known_counted_and_not_shown(archive: Archive) -> None:
    await archive.put(An("1.1"))
    held = aside(An("1.1", number=2, pid="P8"), archive.tenant, "held")
    assert await archive.commit(held) is True
    assert await archive.commit(held) is False  # the same bytes again: counted, not another item
    assert await archive.commit(aside(An("1.1"), archive.tenant, "conflict")) is True
    assert await archive.commit(SeenAgainRow("1.1.1.2", "held", b"x" * 32)) is False
    (found,) = (await archive.find(Level.STUDY)).items
    assert found.extra["held"] == 1
    assert found.attributes["00201208"]["Value"] == [1]
    kept = await archive.index.keeps(archive.tenant, ["1.1.1.1", "1.1.1.2", "9"])
    assert {uid: sorted(k.state for k in some) for uid, some in kept.items()} == {
        "1.1.1.1": ["conflict", "current"], "1.1.1.2": ["held"],
    }  # fmt: skip
    seen = await archive.index.known(archive.tenant, PatientFacts("HOSP", "P8"), "1.1", "1.1.1.2")
    assert [k.state for k in seen.instances] == ["held"]
    assert seen.instances[0].key == held.landed.key
    totals = await archive.index.totals(archive.tenant)
    assert (totals.held, totals.conflicts, totals.candidates, totals.quarantined) == (1, 1, 0, 0)


async def test_a_withdrawn_object_was_never_there(archive: Archive) -> None:
    an = An("1.1")
    await archive.put(an)
    landed = an.row(archive.tenant).landed
    assert await archive.commit(WithdrawRow("1.1.1.1", uuid.uuid4())) is False
    assert await archive.studies() == ["1.1"]
    assert await archive.commit(WithdrawRow("1.1.1.1", landed.blob_id)) is True
    assert await archive.studies() == []
    assert (await archive.find(Level.PATIENT)).items == ()
    assert await archive.index.keeps(archive.tenant, ["1.1.1.1"]) == {}
    await archive.put(an)
    assert await archive.studies() == ["1.1"]


# --- where the bytes lie --------------------------------------------------------------------------


async def test_locate(archive: Archive) -> None:
    await archive.put(
        An("1.1", "1.1.2", "b", series_number=2, number=1, modality="SR"),
        An("1.1", "1.1.1", "a2", number=2),
        An("1.1", "1.1.1", "a1", number=1),
        An("1.1", "1.1.1", "a0", number=None),
    )
    found, version = await archive.index.locate(archive.tenant, "1.1", None, None)
    assert [i.sop_uid for i in found] == ["a1", "a2", "a0", "b"]
    assert version
    one = found[0]
    assert (one.series_uid, one.modality, one.rows, one.columns) == ("1.1.1", "CT", 512, 256)
    assert one.landed == An("1.1", "1.1.1", "a1", number=1).row(archive.tenant).landed
    assert (one.pixel_offset, one.pixel_tag, one.frame_index) == (100, 0x7FE00010, b"\x01")
    assert one.edits == {}

    async def uids(study: str, series: str | None, sop: str | None) -> list[str]:
        found, _ = await archive.index.locate(archive.tenant, study, series, sop)
        return [i.sop_uid for i in found]

    assert await uids("1.1", "1.1.2", None) == ["b"]
    assert await uids("1.1", "1.1.1", "a2") == ["a2"]
    assert await uids("1.1", None, "a2") == ["a2"]
    assert await uids("1.1", "1.1.2", "a2") == []
    assert await uids("9", None, None) == []


# --- corrections ----------------------------------------------------------------------------------


async def correct(
    archive: Archive, target: Target, edits: dict[str, Any], *, version: int = 1
) -> OverlayRow:
    original = await archive.index.original(archive.tenant, target)
    in_force = await archive.index.overlays(archive.tenant, target)
    effective = original or {}
    for edit in in_force:
        effective = present(effective, edit.edits)
    row = OverlayRow(
        edit_id=uuid.uuid4(), target=target, version=version, edits=edits, reason="typo",
        author="operator:me", at=NOON + timedelta(minutes=version),
    )  # fmt: skip
    if target.level is Level.INSTANCE:
        row = replace(row, edits_after=edits)
    else:
        row = replace(row, effective=present(effective, edits))
    await archive.commit(row)
    return row


def pack(an: An, tenant: Tenant, generation: int, *, preview: bool = True) -> PackRow:
    def blob(kind: str) -> NewBlob:
        name = f"{kind}{an.series}{generation}"
        return NewBlob(uuid.uuid5(uuid.NAMESPACE_OID, name), kind.split("-")[0], 100, generation)

    settled = Settled(an.sop, an.row(tenant).landed.blob_id, 512, 90, 20, None, "no-gain")
    return PackRow(
        study_uid=an.study,
        series_uid=an.series,
        generation=generation,
        pack=blob("pack"),
        manifest=blob("manifest"),
        metadata=blob("derived-m"),
        preview=blob("derived-p") if preview else None,
        instances=(settled,),
        raw=2000,
        clear_after=NOON,
    )


async def test_packs_of_a_study_and_of_a_series(archive: Archive) -> None:
    one, two, other = An("1.1", number=1), An("1.1", number=2), An("1.1", "1.1.9", "x")
    await archive.put(one, two, other, An("1.2"))
    assert await archive.index.packs(archive.tenant, "1.1", None) == []
    made = [
        pack(one, archive.tenant, 1),
        pack(two, archive.tenant, 2, preview=False),
        pack(other, archive.tenant, 1),
    ]
    for row in made:
        assert await archive.commit(row)
    packs = await archive.index.packs(archive.tenant, "1.1", None)
    assert [(p.series_uid, p.generation) for p in packs] == [
        ("1.1.1", 1), ("1.1.1", 2), ("1.1.9", 1)
    ]  # fmt: skip
    for found, row in zip(packs, made, strict=True):
        assert found.blob_id == row.pack.blob_id
        assert found.metadata == derived(archive.tenant, row.metadata)
        assert found.preview == (row.preview and derived(archive.tenant, row.preview))
    located, _ = await archive.index.locate(archive.tenant, "1.1", "1.1.1", None)
    assert [at.landed.blob_id for at in located] == [p.blob_id for p in packs[:2]]
    assert await archive.index.packs(archive.tenant, "1.1", "1.1.1") == packs[:2]
    assert await archive.index.packs(archive.tenant, "1.2", None) == []
    assert await archive.index.packs(archive.other, "1.1", None) == []


def derived(tenant: Tenant, blob: NewBlob) -> Derived:
    key = blob_key(tenant.region, tenant.name, "derived", blob.blob_id)
    return Derived(key, blob.length, blob.crc32c)


async def test_a_corrected_patient_is_found_and_shown_under_the_new_name(archive: Archive) -> None:
    await archive.put(An("1.1", patient="Dow^Jane"))
    target = Target(Level.PATIENT, issuer="HOSP", pid="P1")
    edit = await correct(archive, target, {"00100010": name("Roe^Jane"), "00100040": None})
    assert await archive.studies(key(NAME, "roe*")) == ["1.1"]
    assert await archive.studies(key(NAME, "roe"), fuzzy=True) == ["1.1"]
    assert await archive.studies(key(NAME, "dow*")) == []
    assert await archive.studies(text="dow") == []
    (found,) = (await archive.find(Level.STUDY)).items
    assert found.extra["patient_changed"] is True
    assert found.attributes["00100010"] == name("Roe^Jane")
    assert "00100040" not in found.attributes
    (located,), _ = await archive.index.locate(archive.tenant, "1.1", None, None)
    assert located.edits == {"00100010": name("Roe^Jane"), "00100040": None}
    facts = PatientFacts("HOSP", "P1", "Dow^Jane", "19700101", "F")
    seen = await archive.index.known(archive.tenant, facts, "", "")
    assert seen.patient == facts
    assert seen.patient_now == replace(facts, name="Roe^Jane", sex="")
    (again,) = await archive.index.overlays(archive.tenant, target)
    assert again == replace(edit, effective=None)
    assert await archive.index.overlay(archive.tenant, edit.edit_id) == again
    assert await archive.index.overlay(archive.tenant, uuid.uuid4()) is None

    undo = replace(
        edit, edit_id=uuid.uuid4(), undoes=edit.edit_id, edits={},
        effective=await archive.index.original(archive.tenant, target),
    )  # fmt: skip
    await archive.commit(undo)
    assert await archive.studies(key(NAME, "dow*")) == ["1.1"]
    (located,), _ = await archive.index.locate(archive.tenant, "1.1", None, None)
    assert located.edits == {}
    assert await archive.index.overlays(archive.tenant, target) == []
    (ended,) = await archive.index.overlay_history(archive.tenant, target)
    assert ended.undoes == ended.edit_id == edit.edit_id
    with pytest.raises(FactsChanged):
        await archive.commit(undo)


async def test_edits_of_all_levels_lie_over_an_instance_the_nearest_on_top(
    archive: Archive,
) -> None:
    await archive.put(An("1.1"), An("1.1", "1.1.2", "x", series_number=2))
    versions = {await version_of(archive)}
    patient = Target(Level.PATIENT, issuer="HOSP", pid="P1")
    study = Target(Level.STUDY, study_uid="1.1")
    series = Target(Level.SERIES, study_uid="1.1", series_uid="1.1.1")
    instance = Target(Level.INSTANCE, study_uid="1.1", series_uid="1.1.1", sop_uid="1.1.1.1")
    await correct(archive, patient, {"00104000": el("LT", "patient")})
    versions.add(await version_of(archive))
    await correct(archive, study, {"00080020": el("DA", "20250505"), "00104000": el("LT", "s")})
    versions.add(await version_of(archive))
    await correct(archive, study, {"00080020": el("DA", "20250606")}, version=2)
    versions.add(await version_of(archive))
    edit = await correct(archive, series, {"00080060": el("CS", "MR")})
    versions.add(await version_of(archive))
    await correct(archive, instance, {"00200013": el("IS", 44)})
    versions.add(await version_of(archive))
    assert len(versions) == 6  # every edit is another ETag
    found, _ = await archive.index.locate(archive.tenant, "1.1", None, None)
    assert found[0].edits == {
        "00104000": el("LT", "s"),
        "00080020": el("DA", "20250606"),
        "00080060": el("CS", "MR"),
        "00200013": el("IS", 44),
    }
    assert found[1].edits == {"00104000": el("LT", "s"), "00080020": el("DA", "20250606")}
    assert len({i.version for i in found}) == 2
    assert await archive.studies(key(DATE, "20250606")) == ["1.1"]
    assert await archive.studies(key(MODALITIES, "MR")) == ["1.1"]
    (one,) = (await archive.find(Level.INSTANCE, key(0x00200013, "44"))).items
    assert one.sop_uid == "1.1.1.1"
    again = await archive.index.overlay(archive.tenant, edit.edit_id)
    assert again is not None
    assert again.target == series


async def version_of(archive: Archive) -> str:
    _, version = await archive.index.locate(archive.tenant, "1.1", None, None)
    return version


# --- rejection ------------------------------------------------------------------------------------


def reject(target: Target, minute: int = 0) -> RejectionRow:
    return RejectionRow(
        uuid.uuid4(), target, "113001", "motion", "operator:me", NOON + timedelta(minutes=minute)
    )


async def test_rejected_objects_are_in_no_list_and_come_back(archive: Archive) -> None:
    await archive.put(
        An("1.1", number=1), An("1.1", number=2),
        An("1.1", "1.1.2", "x", series_number=2, modality="SR"),
    )  # fmt: skip
    first = reject(Target(Level.INSTANCE, "1.1", "1.1.1", "1.1.1.1"))
    await archive.commit(first)
    (found,) = (await archive.find(Level.STUDY)).items
    assert found.extra["rejected"] == 1
    assert found.attributes["00201208"]["Value"] == [2]
    page = await archive.find(Level.INSTANCE, study_uids=["1.1"])
    assert [f.sop_uid for f in page.items] == ["1.1.1.2", "x"]
    seen = await archive.index.keeps(archive.tenant, ["1.1.1.1"])
    assert seen["1.1.1.1"][0].rejected == "113001"
    assert [r.reject_id for r in await archive.index.rejections(archive.tenant, "1.1")] == [
        first.reject_id
    ]

    whole_series = reject(Target(Level.SERIES, "1.1", "1.1.2"), 1)
    await archive.commit(whole_series)
    (found,) = (await archive.find(Level.STUDY)).items
    assert found.attributes["00080061"]["Value"] == ["CT"]
    assert found.attributes["00201206"]["Value"] == [1]
    assert await archive.studies(key(MODALITIES, "SR")) == []

    everything = reject(Target(Level.STUDY, "1.1"), 2)
    await archive.commit(everything)
    for level in Level:
        assert (await archive.find(level)).items == ()
    assert (await archive.index.locate(archive.tenant, "1.1", None, None))[0] == []
    totals = await archive.index.totals(archive.tenant)
    assert (totals.instances, totals.rejected) == (3, 3)
    facts = PatientFacts("HOSP", "P1")
    assert (await archive.index.known(archive.tenant, facts, "1.1", "x")).instances[0].rejected

    for undone in (everything, whole_series, first):
        await archive.commit(replace(undone, restores=undone.reject_id))
    (found,) = (await archive.find(Level.STUDY)).items
    assert (found.extra["rejected"], found.attributes["00201208"]["Value"]) == (0, [3])
    with pytest.raises(FactsChanged):
        await archive.commit(replace(first, restores=first.reject_id))
    assert await archive.index.rejections(archive.tenant, "1.1") == []


# --- commitment, atomicity ------------------------------------------------------------------------


async def test_due_commitments(archive: Archive) -> None:
    row = CommitmentRow("CT1", "LIGHTWELL", "1.9", ((CT, "1.1"), (MR, "1.2")), NOON)
    assert await archive.commit(row) is True
    assert await archive.commit(row) is False
    assert await archive.index.due_commitments(archive.tenant, 10) == [row]
    assert await archive.index.due_commitments(archive.other, 10) == []


async def test_a_change_is_written_whole_or_not_at_all(archive: Archive) -> None:
    await archive.put(An("1.1"))
    ended = reject(Target(Level.STUDY, "1.1"))
    with pytest.raises(FactsChanged):
        await archive.commit(
            CommitmentRow("CT1", "LIGHTWELL", "1.9", (), NOON),
            replace(ended, restores=uuid.uuid4()),
        )
    assert await archive.index.due_commitments(archive.tenant, 10) == []


async def test_many_arrivals_of_one_new_patient_make_one_patient(archive: Archive) -> None:
    rows = [An(f"1.{n}", number=n).row(archive.tenant) for n in range(32)]
    done = await asyncio.gather(*(archive.commit(row) for row in rows))
    assert done == [True] * 32
    totals = await archive.index.totals(archive.tenant)
    assert (totals.patients, totals.studies, totals.instances, totals.bytes) == (1, 32, 32, 64_000)


# --- the memory twin: what a crash leaves ---------------------------------------------------------


class Crash(Exception):
    """A simulated one."""


async def test_memory_forgets_what_was_not_committed_and_shows_nothing_before() -> None:
    database, tenant = MemoryDatabase(), Tenant(1, "one", "One", "ONE")
    index = MemoryIndex(database)
    seen: list[int] = []

    def durable(crash: bool) -> Callable[[ChangeSet], Awaitable[None]]:
        async def wait(change: ChangeSet) -> None:
            seen.append((await index.totals(tenant)).instances)
            if crash:
                raise Crash

        return wait

    one, two = An("1.1").row(tenant), An("1.1", number=2).row(tenant)
    await MemoryCommitter(database, durable=durable(False)).commit(
        ChangeSet(tenant, (one,), (), (record(),))
    )
    with contextlib.suppress(Crash):
        await MemoryCommitter(database, durable=durable(True)).commit(
            ChangeSet(tenant, (two,), (), (record(),))
        )
    assert seen == [0, 1]
    assert (await index.totals(tenant)).instances == 1
    assert len(database.of(1).audit) == 1
    await MemoryCommitter(database).commit(ChangeSet(tenant, (two,), (), (record(),)))
    assert (await index.totals(tenant)).instances == 2
