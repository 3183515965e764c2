"""DCMTK's query and retrieve clients against a served archive (Must show 3, D-12, D-14, D-15)."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lightwell.domain.peers.model import Peer, PeerType
from lightwell.testing import encoding as enc
from lightwell.testing.builders import StudyBuilder, a_study
from lightwell.testing.served import Served, free_port, wait_until

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("findscu", "movescu", "getscu", "storescp"))),
    reason="findscu, movescu, getscu or storescp is not there: install dcmtk",
)
AET, TENANT = "DCMTK", "dcmtk"
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
SECONDS = 60
PROPOSED_FIRST = {
    "+x=": "=LittleEndianExplicit",
    "+xs": "=JPEGLossless:Non-hierarchical-1stOrder",
    "+xt": "=JPEGLSLossless",
    "+xr": "=RLELossless",
}

ADAMS = (
    a_study(patient="F-1", name="Adams^Anna")
    .with_series("CT", instances=3)
    .with_series("MR", instances=2)
    .with_attributes(StudyDate="20250110", StudyTime="101500", AccessionNumber="A1")
)
ADAMSON = (
    a_study(patient="F-2", name="Adamson^Bert")
    .with_series("CT", instances=1)
    .with_attributes(StudyDate="20250215", StudyTime="080000", AccessionNumber="A2")
)
MUELLER = (
    a_study(patient="F-3")
    .named("Müller^Jörg")
    .with_series("US", instances=2)
    .with_attributes(StudyDate="20250320", StudyTime="235959", AccessionNumber="B3")
)
MIXED = (
    a_study(patient="F-4", name="Mixed^Syntaxes")
    .with_series("CT", instances=1)
    .with_series("CT", instances=1, syntax=enc.JPEG_LOSSLESS)
    .with_series("CT", instances=1, syntax=enc.JPEG_LS)
    .with_series("CT", instances=1, syntax=enc.RLE)
    .with_series("CT", instances=1, syntax=enc.IMPLICIT_LE)
    .with_attributes(StudyDate="20240101", AccessionNumber="C4")
)
MANY = (
    a_study(patient="F-5", name="Many^Slices")
    .with_series("CT", instances=24)
    .with_attributes(StudyDate="20240202", AccessionNumber="C5")
)
STUDIES = (ADAMS, ADAMSON, MUELLER, MIXED, MANY)


@dataclass
class Station:
    """DCMTK's tools, each under an AE title of its own, calling the archive."""

    served: Served
    receiver_port: int

    def call(self, tool: str, *options: str, calling: str = "") -> str:
        """Run a tool to its end; everything it said. Its exit code is part of it."""
        done = subprocess.run(
            [tool, "-v", "-aet", calling or tool.upper(), "-aec", AET, *options,
             "127.0.0.1", str(self.served.dimse_port)],
            capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False,
            env=ENVIRONMENT,
        )  # fmt: skip
        return f"{done.stdout}{done.stderr}\nexit code {done.returncode}"

    def find(self, folder: Path, *keys: str, model: str = "-S") -> list[pydicom.Dataset]:
        """The answers of findscu, as the files it makes of them."""
        options = [word for key in keys for word in ("-k", key)]
        folder.mkdir()
        said = self.call("findscu", model, "-X", "-od", str(folder), *options)
        assert "exit code 0" in said, said
        assert "Received Final Find Response (Success)" in said, said
        return [pydicom.dcmread(path, force=True) for path in sorted(folder.iterdir())]

    def studies(self, folder: Path, *keys: str) -> set[str]:
        """Accession numbers of the studies that findscu finds."""
        asked = any(key.startswith("AccessionNumber") for key in keys)
        returned = () if asked else ("AccessionNumber",)
        answers = self.find(folder, "QueryRetrieveLevel=STUDY", *returned, *keys)
        assert len({a.AccessionNumber for a in answers}) == len(answers)
        return {str(answer.AccessionNumber) for answer in answers}


@pytest.fixture(scope="module")
def station(served: Served) -> Station:
    port = free_port()
    peers = [
        Peer("FINDSCU", "127.0.0.1", 0, PeerType.WORKSTATION),
        Peer("GETSCU", "127.0.0.1", 0, PeerType.WORKSTATION),
        Peer("MOVESCU", "127.0.0.1", 0, PeerType.ARCHIVE, frozenset({"move"})),
        Peer("SCREEN", "127.0.0.1", port, PeerType.WORKSTATION),
        Peer("OTHER", "127.0.0.1", port, PeerType.WORKSTATION),
    ]
    served.register(tenants={TENANT: peers})
    for study in STUDIES:
        served.stow([one.part10 for one in study.objects()], TENANT)
    return Station(served, port)


# ---- C-FIND ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (("StudyInstanceUID",), {"A1", "A2", "B3", "C4", "C5"}),
        (("PatientName=Adams*",), {"A1", "A2"}),
        (("PatientName=adams^anna",), {"A1"}),
        (("PatientName=*mson*",), {"A2"}),
        (("PatientName=?dams^*",), {"A1"}),
        (("PatientName=M*",), {"B3", "C4", "C5"}),
        (("AccessionNumber=A?",), {"A1", "A2"}),
        (("StudyDate=20250110",), {"A1"}),
        (("StudyDate=20250110-20250215",), {"A1", "A2"}),
        (("StudyDate=20250216-",), {"B3"}),
        (("StudyDate=-20241231",), {"C4", "C5"}),
        (("StudyDate=20250101-", "StudyTime=-0900"), {"A2"}),
        (("PatientID=F-2",), {"A2"}),
        (("PatientID=F-2", "PatientName=Adams^Anna"), set()),
        (("ModalitiesInStudy=MR",), {"A1"}),
        (("ModalitiesInStudy=US\\MR",), {"A1", "B3"}),
        ((f"StudyInstanceUID={ADAMS.study_uid}\\{MUELLER.study_uid}",), {"A1", "B3"}),
        (("StudyInstanceUID=1.2.3.4.5.6.7.8.9",), set()),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else None,
)
def test_findscu_studies(
    station: Station, tmp_path: Path, keys: tuple[str, ...], found: set[str]
) -> None:
    assert station.studies(tmp_path / "found", *keys) == found


def test_a_key_nobody_knows_does_not_widen_the_answer(station: Station, tmp_path: Path) -> None:
    assert station.studies(tmp_path / "found", "PatientID=F-1", "0009,1001=1") <= {"A1"}


def test_findscu_reads_the_umlaut_it_asked_for(station: Station, tmp_path: Path) -> None:
    (answer,) = station.find(
        tmp_path / "found",
        "SpecificCharacterSet=ISO_IR 100",
        "QueryRetrieveLevel=STUDY",
        "PatientID=F-3",
        "PatientName",
        "NumberOfStudyRelatedInstances",
        "NumberOfStudyRelatedSeries",
        "ModalitiesInStudy",
    )
    assert str(answer.PatientName) == "Müller^Jörg"
    assert (answer.NumberOfStudyRelatedInstances, answer.NumberOfStudyRelatedSeries) == (2, 1)
    assert answer.ModalitiesInStudy == "US"


def test_findscu_at_every_level(station: Station, tmp_path: Path) -> None:
    study = f"StudyInstanceUID={ADAMS.study_uid}"
    series = station.find(
        tmp_path / "series", "QueryRetrieveLevel=SERIES", study, "SeriesInstanceUID", "Modality",
        "NumberOfSeriesRelatedInstances",
    )  # fmt: skip
    counted = {str(s.Modality): int(s.NumberOfSeriesRelatedInstances) for s in series}
    assert counted == {"CT": 3, "MR": 2}
    images = station.find(
        tmp_path / "images", "QueryRetrieveLevel=IMAGE", study,
        f"SeriesInstanceUID={ADAMS.series_uid(0)}", "SOPInstanceUID", "InstanceNumber",
    )  # fmt: skip
    wanted = {ADAMS.sop_uid(0, n) for n in range(3)}
    assert {str(image.SOPInstanceUID) for image in images} == wanted
    patients = station.find(
        tmp_path / "patients", "QueryRetrieveLevel=PATIENT", "PatientID=F-*", "PatientName",
        model="-P",
    )  # fmt: skip
    assert {str(p.PatientID) for p in patients} == {f"F-{n}" for n in range(1, 6)}


def test_findscu_cancels(station: Station) -> None:
    said = station.call(
        "findscu", "-S", "--cancel", "1", "-k", "QueryRetrieveLevel=IMAGE",
        "-k", f"StudyInstanceUID={MANY.study_uid}", "-k", "SeriesInstanceUID",
        "-k", "SOPInstanceUID",
    )  # fmt: skip
    assert "Sending Cancel Request" in said, said
    # All 24 answers may be on the wire before the cancel comes: then the end is an ordinary one.
    assert re.search(r"Received Final Find Response \((Cancel.*|Success)\)", said), said


def test_a_peer_without_the_grant_finds_nothing(station: Station) -> None:
    said = station.call("findscu", "-S", "-k", "QueryRetrieveLevel=STUDY", calling="MOVESCU")
    assert "Success" not in said, said
    assert "Unknown Status: 0x124" in said, said  # not authorised (PS3.7 C.5.17)


# ---- C-MOVE ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def storescp(port: int, folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A receiver that takes every syntax and writes into *folder*."""
    folder.mkdir()
    with (folder.parent / "storescp.log").open("wb") as log:
        process = subprocess.Popen(
            ["storescp", "-v", "+xa", "-od", str(folder), *options, str(port)],
            env=ENVIRONMENT, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_until(lambda: _listens(port), SECONDS, "storescp did not listen")
        yield process
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    """Asked of the kernel's table, so that nobody has to connect: storescp serves one at a time."""
    wanted = f":{port:04X} "
    return any(
        wanted in line and line.split()[3] == "0A"
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
    )


def move(
    station: Station, study: StudyBuilder, to: str = "SCREEN", *, calling: str = "MOVESCU"
) -> str:
    return station.call(
        "movescu", "-d", "-S", "-aem", to, "-k", "QueryRetrieveLevel=STUDY",
        "-k", f"StudyInstanceUID={study.study_uid}", calling=calling,
    )  # fmt: skip


def ended(said: str) -> int:
    """The status of the last response."""
    return int(re.findall(r"DIMSE Status +: 0x([0-9a-fA-F]{4})", said)[-1], 16)


def counters(said: str) -> dict[str, int]:
    """The sub-operation counters of the last response that has them."""
    found = {}
    for name, value in re.findall(r"(\w+) Suboperations\s*: (\w+)", said):
        found[name.lower()] = 0 if value == "none" else int(value)
    return found


def received(folder: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def test_movescu_to_a_registered_peer(station: Station, tmp_path: Path) -> None:
    with storescp(station.receiver_port, tmp_path / "in"):
        said = move(station, ADAMS)
    assert ended(said) == 0x0000, said[-3000:]
    assert counters(said) == {"remaining": 0, "completed": 5, "failed": 0, "warning": 0}
    got = {str(one.SOPInstanceUID): one for one in received(tmp_path / "in")}
    assert got.keys() == {one.sop_uid for one in ADAMS.objects()}
    for built in ADAMS.objects():
        sent = pydicom.dcmread(io.BytesIO(built.part10))
        assert got[built.sop_uid].PixelData == sent.PixelData


def test_movescu_sends_what_the_destination_can_take(station: Station, tmp_path: Path) -> None:
    """storescp +xa takes everything: compressed objects stay as they are unless the peer lists others."""
    with storescp(station.receiver_port, tmp_path / "in"):
        said = move(station, MIXED)
    assert ended(said) == 0x0000, said[-3000:]
    assert same_pixels(tmp_path / "in") == 5


def same_pixels(folder: Path) -> int:
    """How many objects of MIXED lie in the folder; each must show the pixels it was made with."""
    objects = {one.sop_uid: one for one in MIXED.objects()}
    got = received(folder)
    for one in got:
        built = pydicom.dcmread(io.BytesIO(objects[str(one.SOPInstanceUID)].part10))
        assert np.array_equal(decoded(one), decoded(built)), one.file_meta.TransferSyntaxUID
    return len(got)


def decoded(one: pydicom.Dataset) -> np.ndarray:
    """Samples by our test builders' own codecs: pydicom has no decoder for JPEG here."""
    import imagecodecs

    syntax = str(one.file_meta.TransferSyntaxUID)
    if syntax in enc.NATIVE or syntax == enc.RLE:
        return one.pixel_array
    (frame,) = pydicom.encaps.generate_frames(one.PixelData, number_of_frames=1)
    decode = {enc.JPEG_LOSSLESS: imagecodecs.ljpeg_decode, enc.JPEG_LS: imagecodecs.jpegls_decode}
    return np.asarray(decode[syntax](frame))


def test_movescu_to_a_stranger_is_a801(station: Station) -> None:
    said = move(station, ADAMS, to="NOBODY")
    assert ended(said) == 0xA801, said[-3000:]


def test_movescu_of_nothing_is_success(station: Station, tmp_path: Path) -> None:
    nothing = a_study(patient="F-0").with_series("CT")
    with storescp(station.receiver_port, tmp_path / "in"):
        said = move(station, nothing)
    assert ended(said) == 0x0000, said[-3000:]
    assert counters(said).get("completed", 0) == 0


def test_a_workstation_moves_to_itself_only(station: Station, tmp_path: Path) -> None:
    with storescp(station.receiver_port, tmp_path / "in"):
        assert ended(move(station, ADAMSON, to="SCREEN", calling="SCREEN")) == 0
        said = move(station, ADAMSON, to="OTHER", calling="SCREEN")
    assert ended(said) == 0xA801, said[-3000:]


def test_movescu_when_nobody_listens_fails(station: Station) -> None:
    said = move(station, ADAMS)
    assert ended(said) == 0xA702, said[-3000:]
    assert counters(said)["failed"] == 5


def test_movescu_when_the_destination_dies_half_way(station: Station, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    with storescp(station.receiver_port, folder, "--sleep-after", "1") as receiver:
        mover = subprocess.Popen(
            ["movescu", "-d", "-aet", "MOVESCU", "-aec", AET, "-S", "-aem", "SCREEN",
             "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={MANY.study_uid}",
             "127.0.0.1", str(station.served.dimse_port)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT,
        )  # fmt: skip
        wait_until(lambda: len(list(folder.iterdir())) >= 3, SECONDS, "nothing was moved")
        receiver.kill()
        said = mover.communicate(timeout=SECONDS)[0].decode(errors="replace")
    assert ended(said) == 0xB000, said[-3000:]
    counted = counters(said)
    arrived = {str(pydicom.dcmread(path, force=True).SOPInstanceUID) for path in folder.iterdir()}
    assert counted["completed"] + counted["failed"] == 24
    # The last file may have been written without its response having been sent.
    assert len(arrived) - 1 <= counted["completed"] <= len(arrived)
    (values,) = re.findall(r"\(0008,0058\) UI .*# +\d+, *(\d+) ", said)
    assert int(values) == counted["failed"]


# ---- C-GET -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefer", ["+x=", "+xs", "+xt", "+xr"])
def test_getscu_of_a_study_in_five_syntaxes(station: Station, tmp_path: Path, prefer: str) -> None:
    """getscu proposes one context a class: the syntax agreed on must do for all five, so they come
    decoded, whichever compressed one it lists beside."""
    folder = tmp_path / "in"
    folder.mkdir()
    said = station.call(
        "getscu", "-d", "-S", prefer, "-od", str(folder), "-k", "QueryRetrieveLevel=STUDY",
        "-k", f"StudyInstanceUID={MIXED.study_uid}",
    )  # fmt: skip
    assert "exit code 0" in said, said[-3000:]
    assert same_pixels(folder) == 5
    syntaxes = {str(one.file_meta.TransferSyntaxUID) for one in received(folder)}
    assert re.search(PROPOSED_FIRST[prefer], said), said[:6000]
    assert syntaxes <= enc.NATIVE


def test_getscu_at_image_level(station: Station, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    station.call(
        "getscu", "-S", "-od", str(folder), "-k", "QueryRetrieveLevel=IMAGE",
        "-k", f"StudyInstanceUID={ADAMS.study_uid}", "-k", f"SeriesInstanceUID={ADAMS.series_uid(0)}",
        "-k", f"SOPInstanceUID={ADAMS.sop_uid(0, 0)}\\{ADAMS.sop_uid(0, 2)}",
    )  # fmt: skip
    wanted = {ADAMS.sop_uid(0, 0), ADAMS.sop_uid(0, 2)}
    assert {str(one.SOPInstanceUID) for one in received(folder)} == wanted
