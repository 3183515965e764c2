"""The engine in real conversations with dcmtk, in both directions, over loopback."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, FileDataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lightwell.testing.scp import Held, ScriptedScp
from lightwell.testing.scu import Scu
from lightwell.testing.sender import Target, find_files, read_part10, send
from lightwell.wire.dimse.association import Rejection
from lightwell.wire.dimse.commands import CommandField
from lightwell.wire.dimse.proposal import propose_service
from lightwell.wire.dimse.status import OUT_OF_RESOURCES, PENDING, SUCCESS

pytestmark = pytest.mark.skipif(
    shutil.which("storescp") is None, reason="dcmtk (storescp, echoscu, ...) is not installed"
)

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
SHARED = Path(
    os.environ.get("LIGHTWELL_SHARED", Path(__file__).resolve().parents[2].parent / "shared")
)
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


def run(*command: object) -> subprocess.CompletedProcess[str]:
    """Run a dcmtk tool to its end."""
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        env=ENVIRONMENT,
        check=False,
    )


def a_slice(path: Path, number: int, syntax: str = ExplicitVRLittleEndian) -> Path:
    """A small CT slice with random-looking pixels as a Part 10 file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(CT)
    meta.MediaStorageSOPInstanceUID = UID(f"1.2.826.0.1.3680043.9.9999.{number}")
    meta.TransferSyntaxUID = UID(syntax)
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID = CT
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.PatientName = "Probe^Paula"
    dataset.PatientID = "P1"
    dataset.StudyInstanceUID = "1.2.826.0.1.3680043.9.9999.1000"
    dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.9.9999.1001"
    dataset.Rows = dataset.Columns = 256
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = hashlib.shake_256(bytes([number])).digest(256 * 256 * 2)
    dcmwrite(path, dataset, enforce_file_format=True)
    return path


@pytest.fixture
def slices(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "send"
    folder.mkdir()
    syntaxes = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    return [a_slice(folder / f"{n}.dcm", n, syntaxes[n % 2]) for n in range(1, 9)]


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A storescp that writes what it receives bit for bit, a process an association."""
    folder = tmp_path / "kept"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        ["storescp", "--fork", "+xa", "+B", "--max-pdu", "131072", "-od", folder, str(port)],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield port, folder
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)  # there is no event for another process's listen()


def data_set_digest(path: Path) -> str:
    return hashlib.sha256(read_part10(path).data_set()).hexdigest()


# ---- dcmtk calls us -------------------------------------------------------------------------------


def test_echoscu() -> None:
    with ScriptedScp() as scp:
        result = run("echoscu", "-v", "--repeat", 3, "127.0.0.1", scp.port)
    assert result.returncode == 0, result.stderr
    assert scp.endings == ["released"]
    assert len(scp.received) == 3
    assert scp.requests[0].called_ae == "ANY-SCP"


@pytest.mark.parametrize(
    ("rejection", "words"),
    [
        (Rejection.CALLED_AE_NOT_RECOGNIZED, "Called AE Title Not Recognized"),
        (Rejection.CALLING_AE_NOT_RECOGNIZED, "Calling AE Title Not Recognized"),
        (Rejection.LOCAL_LIMIT_EXCEEDED, "Local Limit Exceeded"),
    ],
)
def test_echoscu_understands_why_it_is_rejected(rejection: object, words: str) -> None:
    with ScriptedScp(decide=lambda _request: rejection) as scp:  # type: ignore[arg-type, return-value]
        result = run("echoscu", "-aec", "NOPE", "127.0.0.1", scp.port)
    assert result.returncode != 0
    assert words in result.stderr + result.stdout
    assert scp.requests[0].called_ae == "NOPE"


def test_echoscu_aborting() -> None:
    with ScriptedScp() as scp:
        run("echoscu", "--abort", "127.0.0.1", scp.port)
    assert scp.endings == ["the peer aborted: source 0, reason 0"]


def test_echoscu_with_128_contexts() -> None:
    with ScriptedScp() as scp:
        result = run("echoscu", "--propose-pc", 128, "--propose-ts", 38, "127.0.0.1", scp.port)
    assert result.returncode == 0, result.stderr
    assert len(scp.requests[0].contexts) == 128


def test_storescu_sends_what_the_file_says(slices: list[Path]) -> None:
    with ScriptedScp() as scp:
        for path in slices[:2]:
            syntax = "-xe" if read_part10(path).transfer_syntax == ExplicitVRLittleEndian else "-xi"
            result = run("storescu", "-v", syntax, "127.0.0.1", scp.port, path)
            assert result.returncode == 0, result.stderr
    for path, message in zip(slices, scp.received, strict=False):
        file = read_part10(path)
        assert message.command.AffectedSOPInstanceUID == file.sop_instance
        sent, kept = dcmread(path), _parse(message.data, message.context.transfer_syntax)
        assert kept == Dataset(sent)
    assert scp.endings == ["released", "released"]


def test_storescu_hears_a_refusal(slices: list[Path]) -> None:
    answers = {CommandField.C_STORE_RQ: lambda _message: [(OUT_OF_RESOURCES, b"")]}
    with ScriptedScp(answers=answers) as scp:
        result = run("storescu", "-v", "127.0.0.1", scp.port, slices[0])
    assert "Refused: OutOfResources" in result.stderr + result.stdout


def test_findscu_gets_its_answers() -> None:
    def answers(_message: object) -> list[tuple[int, bytes]]:
        found = []
        for number in range(3):
            match = Dataset()
            match.QueryRetrieveLevel = "STUDY"
            match.StudyInstanceUID = f"1.2.3.{number}"
            match.PatientName = f"Probe^{number}"
            found.append((PENDING, _encode(match)))
        return [*found, (SUCCESS, b"")]

    with ScriptedScp(answers={CommandField.C_FIND_RQ: answers}) as scp:
        result = run(
            *("findscu", "-v", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientName"),
            *("-k", "StudyInstanceUID", "127.0.0.1", scp.port),
        )
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    assert [f"1.2.3.{number}" in output for number in range(3)] == [True] * 3
    (asked,) = scp.received
    assert _parse(asked.data, asked.context.transfer_syntax).QueryRetrieveLevel == "STUDY"


def test_getscu_takes_objects_on_the_same_association(slices: list[Path], tmp_path: Path) -> None:
    files = [read_part10(path) for path in slices]
    held = [
        Held(file.sop_class, file.sop_instance, file.transfer_syntax, file.data_set())
        for file in files
        if file.transfer_syntax == ExplicitVRLittleEndian
    ]
    kept = tmp_path / "got"
    kept.mkdir()
    with ScriptedScp(objects=held) as scp:
        result = run(
            *("getscu", "-v", "+B", "-od", kept, "-S", "-k", "QueryRetrieveLevel=STUDY"),
            *("-k", "StudyInstanceUID=1.2.826.0.1.3680043.9.9999.1000", "127.0.0.1", scp.port),
        )
    assert result.returncode == 0, result.stderr
    assert {data_set_digest(path) for path in kept.iterdir()} == {
        hashlib.sha256(each.data).hexdigest() for each in held
    }
    assert len(list(kept.iterdir())) == len(held) == 4


# ---- we call dcmtk --------------------------------------------------------------------------------


def test_our_echo(storescp: tuple[int, Path]) -> None:
    with Scu("127.0.0.1", storescp[0], propose_service(VERIFICATION)) as scu:
        assert scu.echo() == 0


@pytest.mark.parametrize("associations", [1, 3])
def test_the_sender_preserves_every_bit(
    storescp: tuple[int, Path], slices: list[Path], tmp_path: Path, associations: int
) -> None:
    port, folder = storescp
    log = tmp_path / "acks"
    files, left_out = find_files(slices)
    report = send(files, Target("127.0.0.1", port), associations=associations, ack_log=log)
    assert (left_out, report.failed) == ([], [])
    assert {answer.sha256 for answer in report.stored} == {data_set_digest(p) for p in slices}
    assert {data_set_digest(path) for path in folder.iterdir()} == {
        answer.sha256 for answer in report.stored
    }
    assert len(log.read_text().splitlines()) == len(slices)


def test_the_sender_as_a_command(storescp: tuple[int, Path], slices: list[Path]) -> None:
    command = (sys.executable, "-m", "lightwell.testing.sender", "127.0.0.1", storescp[0])
    result = run(*command, slices[0].parent, "--associations", 2, "--processes", 2, "--json")
    assert result.returncode == 0, result.stderr
    assert f'"stored": {len(slices)}' in result.stdout


@pytest.mark.slow
def test_the_corpus_arrives_bit_for_bit(storescp: tuple[int, Path]) -> None:
    """All of the test objects that dcmtk can take: it refuses odd data sets and unknown classes."""
    data = SHARED / "data"
    if not data.is_dir():
        pytest.skip(f"the test objects are not at {data}")
    port, folder = storescp
    found, _left_out = find_files([data])
    # Some share a SOP Instance UID, which is all that storescp names its files by: one of each.
    files = list({file.sop_instance: file for file in found if file.length % 2 == 0}.values())
    report = send(files, Target("127.0.0.1", port), associations=2)
    assert all("does not take" in reason for _path, reason in report.failed), report.failed
    assert len(report.stored) > 800
    kept = {data_set_digest(path) for path in folder.iterdir()}
    assert kept == {answer.sha256 for answer in report.stored}


def _encode(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    stream = BytesIO()
    dcmwrite(
        stream,
        dataset,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=True,
    )
    return stream.getvalue()


def _parse(data: bytes, syntax: str) -> Dataset:
    implicit = syntax == ImplicitVRLittleEndian
    return read_dataset(BytesIO(data), is_implicit_VR=implicit, is_little_endian=True)
