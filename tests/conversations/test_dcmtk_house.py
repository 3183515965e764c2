"""dcmtk's tools against the whole house: DIMSE door, rooms, PostgreSQL, objects in a folder."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread

from lightwell.access.context import Tenant, system_context
from lightwell.app.settings import Endpoint, Settings
from lightwell.app.wiring import furnish, open_house, start_listening
from lightwell.backends.database.embedded import EmbeddedPostgres
from lightwell.domain.peers.model import Peer, PeerType
from lightwell.testing.builders import BuiltInstance, a_study
from lightwell.testing.dimse_house import LOOPBACK, DimseHouse, Rooming, dimse_house, fetch, keys
from lightwell.testing.sender import Target, find_files, read_part10, send

pytestmark = pytest.mark.skipif(
    shutil.which("movescu") is None, reason="dcmtk (storescu, movescu, ...) is not installed"
)

SHARED = Path(
    os.environ.get("LIGHTWELL_SHARED", Path(__file__).resolve().parents[2].parent / "shared")
)
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


async def _real_rooms(data: Path) -> Rooming:
    """The rooms as a serving process has them."""
    postgres = EmbeddedPostgres(data)
    info = await asyncio.to_thread(postgres.start)
    settings = Settings(data, Endpoint(LOOPBACK, 0), Endpoint(LOOPBACK, 0))
    await furnish(settings, info)
    house = open_house(settings, info)
    start_listening(house)

    async def add_peer(tenant: Tenant, peer: Peer) -> None:
        await house.peers.add(system_context(tenant), peer)

    async def close() -> None:
        await house.close()
        await asyncio.to_thread(postgres.stop)

    return Rooming(house.peers, house.archive, house.tenants, add_peer, close)


@pytest.fixture(scope="module")
def house() -> Iterator[DimseHouse]:
    # Not below pytest's own folder: PostgreSQL's account could not pass through it.
    with tempfile.TemporaryDirectory(prefix="lw-dcmtk-") as folder:
        Path(folder).chmod(0o711)
        with dimse_house(lambda: _real_rooms(Path(folder) / "data")) as served:
            served.add_peer("DCMTK", PeerType.WORKSTATION)
            served.add_peer("LW_SENDER", PeerType.WORKSTATION)
            yield served


def _run(house: DimseHouse, tool: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a dcmtk client to its end."""
    command = [tool, "-aet", "DCMTK", "-aec", "LIGHTWELL", *map(str, arguments)]
    at = command.index("--") if "--" in command else len(command)
    files = command[at + 1 :]
    return subprocess.run(
        [*command[:at], LOOPBACK, str(house.port), *files],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        env=ENVIRONMENT,
        check=False,
    )


def _files(folder: Path, objects: list[BuiltInstance]) -> list[Path]:
    paths = [folder / f"{number}.dcm" for number in range(len(objects))]
    for path, one in zip(paths, objects, strict=True):
        path.write_bytes(one.part10)
    return paths


def _data_sets(folder: Path) -> dict[str, str]:
    """SHA-256 of each data set in a folder of Part 10 files, by SOP Instance UID."""
    found = (read_part10(path) for path in folder.iterdir())
    return {one.sop_instance: hashlib.sha256(one.data_set()).hexdigest() for one in found}


@contextmanager
def _storescp(folder: Path, title: str = "DEST") -> Iterator[int]:
    """dcmtk's storage provider, writing what it gets bit by bit; its port."""
    folder.mkdir()
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        ["storescp", "+B", "-aet", title, "-od", str(folder), str(port)], env=ENVIRONMENT
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection((LOOPBACK, port), 1).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, "storescp does not listen"
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def test_echoscu(house: DimseHouse) -> None:
    done = _run(house, "echoscu", "-v")
    assert done.returncode == 0
    assert "Received Echo Response (Success)" in done.stdout + done.stderr


def test_d06_echoscu_as_a_stranger(house: DimseHouse) -> None:
    done = _run(house, "echoscu", "-aet", "NOBODY")
    assert "Calling AE Title Not Recognized" in done.stdout + done.stderr
    done = _run(house, "echoscu", "-aec", "WRONG")
    assert "Called AE Title Not Recognized" in done.stdout + done.stderr


def test_what_storescu_sends_is_found_moved_and_got(house: DimseHouse, tmp_path: Path) -> None:
    study = a_study(seed=41, patient="DCMTK1").with_series("CT", instances=5, rows=64, columns=64)
    objects = study.named("Grün^Anna", "ISO_IR 100").objects()
    sent = _run(house, "storescu", "-v", "--", *_files(tmp_path, objects))
    assert sent.returncode == 0, sent.stderr
    uid = objects[0].study_uid
    # storescu rewrites what it sends; what counts is what we received.
    got, moved = tmp_path / "got", tmp_path / "moved"
    got.mkdir()
    level = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid}")
    fetched = _run(house, "getscu", "-v", "-S", "+B", *level, "-od", got)
    assert fetched.returncode == 0, fetched.stderr
    with _storescp(moved) as port:
        house.add_peer("DEST", PeerType.ARCHIVE, port=port, allow=frozenset({"store"}))
        house.add_peer("DCMTK", PeerType.ARCHIVE, allow=frozenset({"store", "find", "move", "get"}))
        done = _run(house, "movescu", "-v", "-S", "-aem", "DEST", *level)
        assert done.returncode == 0, done.stderr
        assert "Received Final Move Response (Success)" in done.stdout + done.stderr
    exact = fetch(
        house,
        [(objects[0].sop_class, objects[0].syntax)],
        keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=uid),
    )
    digests = {name: hashlib.sha256(data).hexdigest() for name, (_, data) in exact.objects.items()}
    assert len(digests) == 5
    assert _data_sets(got) == digests
    assert _data_sets(moved) == digests
    found = _run(house, "findscu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientName=grun*",
                 "-k", "PatientID", "-k", "NumberOfStudyRelatedInstances")  # fmt: skip
    text = found.stdout + found.stderr
    assert "[DCMTK1]" in text
    assert re.search(r"\(0020,1208\) IS \[5 ?\]", text)


def test_findscu_cancels(house: DimseHouse, tmp_path: Path) -> None:
    objects = a_study(seed=42, patient="DCMTK2").with_series("CT", instances=60).objects()
    assert _run(house, "storescu", "--", *_files(tmp_path, objects)).returncode == 0
    done = _run(
        house, "findscu", "-v", "-S", "--cancel", 3,
        "-k", "QueryRetrieveLevel=IMAGE", "-k", f"StudyInstanceUID={objects[0].study_uid}",
        "-k", "SOPInstanceUID",
    )  # fmt: skip
    text = done.stdout + done.stderr
    assert "Cancel" in text
    assert "Find Response: 3" in text


def test_d08_movescu_to_where_it_must_not_go(house: DimseHouse) -> None:
    for title in ("EVIL", "127.0.0.1", "169.254.169.254"):
        done = _run(
            house, "movescu", "-v", "-S", "-aem", title,
            "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3",
        )  # fmt: skip
        assert "MoveDestinationUnknown" in done.stdout + done.stderr


def test_a_destination_of_one_syntax_gets_equal_pixels(house: DimseHouse, tmp_path: Path) -> None:
    """storescp +xi takes Implicit VR only; the object came as Big Endian."""
    one = (
        a_study(seed=43, patient="DCMTK3")
        .with_series("CT", rows=40, columns=30)
        .in_syntax("1.2.840.10008.1.2.2")
        .only()
    )
    (path,) = _files(tmp_path, [one])
    files, _ = find_files([path])
    assert len(send(files, Target(LOOPBACK, house.port)).stored) == 1
    with _storescp(tmp_path / "implicit") as port:
        house.add_peer("DEST", PeerType.ARCHIVE, port=port, allow=frozenset({"store"}))
        done = _run(
            house, "movescu", "-S", "-aem", "DEST",
            "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={one.study_uid}",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    (received,) = (tmp_path / "implicit").iterdir()
    before, after = dcmread(path), dcmread(received)
    assert after.Rows == 40
    pixels = after.pixel_array.astype("<u2").tobytes()
    assert pixels == before.pixel_array.astype("<u2").tobytes()


def test_dcmsend_of_a_folder(house: DimseHouse, tmp_path: Path) -> None:
    builder = a_study(seed=44, patient="DCMTK4")
    objects = builder.with_series("CT", instances=3).with_series("MR", instances=3).objects()
    _files(tmp_path, objects)
    done = subprocess.run(
        [
            *("dcmsend", "-aet", "DCMTK", "-aec", "LIGHTWELL", "-v"),
            *("--scan-directories", "--recurse", LOOPBACK, str(house.port), str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "with status SUCCESS : 6" in re.sub(r"\s+", " ", done.stdout + done.stderr)


def _study_uid(path: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the corpus is odd on purpose
        header = dcmread(path, force=True, specific_tags=["StudyInstanceUID"])
    return str(header.StudyInstanceUID)


@pytest.mark.slow
def test_every_object_of_the_corpus_comes_back_bit_for_bit(house: DimseHouse) -> None:
    index = SHARED / "data" / "INDEX.csv"
    if not index.exists():
        pytest.skip(f"the shared corpus is not at {SHARED}")
    with index.open(newline="") as stream:
        paths = [SHARED / "data" / row["path"] for row in csv.DictReader(stream)]
    files, _ = find_files([path for path in paths if "malformed" not in path.parts])
    house.add_peer("CORPUS", PeerType.MODALITY, issuer="CORPUS")
    target = Target(LOOPBACK, house.port, calling_ae="CORPUS")
    report = send(files, target, associations=4)
    assert len(report.stored) > 1100
    kinds = {answer.status for answer in report.acknowledged}
    assert kinds <= {0x0000, 0xC000, 0xC001, 0xA900}
    again = send(files, target, associations=4)
    assert {a.path for a in again.stored} == {a.path for a in report.stored}
    by_study = defaultdict(set)
    for answer in report.stored:
        file = read_part10(Path(answer.path))
        by_study[_study_uid(answer.path)].add((file.sop_class, file.transfer_syntax))
    got: dict[str, set[str]] = defaultdict(set)
    for study_uid, offers in by_study.items():
        fetched = fetch(house, offers, keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=study_uid))
        assert fetched.final.NumberOfFailedSuboperations == 0
        for uid, (_, data) in fetched.objects.items():
            got[uid].add(hashlib.sha256(data).hexdigest())
    lost = [a.path for a in report.stored if a.sha256 not in got.get(a.sop_instance, ())]
    totals = house.run(house.rooming.archive.totals(house.context))
    assert len(lost) <= totals.held + totals.candidates, lost
    assert len(got) > 1100
