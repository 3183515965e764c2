"""Orthanc as the other end: C-STORE, C-MOVE, STOW, WADO and storage commitment (Must show 3, D-16)."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest

from lightwell.domain.peers.model import Peer, PeerType
from lightwell.testing.builders import BuiltInstance, StudyBuilder, a_study, stable_uid
from lightwell.testing.dimse_house import keys
from lightwell.testing.scp import ScriptedScp
from lightwell.testing.scu import STORAGE_COMMITMENT, Scu
from lightwell.testing.served import Served, free_port, wait_until
from lightwell.wire.dimse.commands import CommandField
from lightwell.wire.dimse.proposal import propose_service

ORTHANC = shutil.which("Orthanc")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        ORTHANC is None or not PLUGIN.exists(),
        reason="Orthanc or its DICOMweb plugin is not there: install orthanc and orthanc-dicomweb",
    ),
]
AET, TENANT, NAME = "ORTH", "orth", "lightwell"
SECONDS = 60
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
NOT_SAFE, UNKNOWN, USED = 0x0110, 0x0112, 0x0131
NO_SUCH_UID = "2.25.99999999999999999999"


@dataclass
class Orthanc:
    """A running Orthanc by its REST interface."""

    web: httpx.Client
    port: int

    def get(self, path: str) -> Any:
        answer = self.web.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: object) -> Any:
        answer = self.web.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def take(self, objects: list[BuiltInstance]) -> list[str]:
        """Put objects into it; its own names for them."""
        made = []
        for one in objects:
            answer = self.web.post("/instances", content=one.part10)
            assert answer.status_code == 200, answer.text
            made.append(answer.json()["ID"])
        return made

    def holds(self) -> dict[str, pydicom.Dataset]:
        """Everything it has, by SOP Instance UID."""
        found = {}
        for name in self.get("/instances"):
            one = pydicom.dcmread(io.BytesIO(self.web.get(f"/instances/{name}/file").content))
            found[str(one.SOPInstanceUID)] = one
        return found

    def empty(self) -> None:
        """Forget everything, so that what comes next comes from us."""
        for name in self.get("/patients"):
            self.web.delete(f"/patients/{name}")


@contextlib.contextmanager
def running(folder: Path, served: Served) -> Iterator[Orthanc]:
    http, dimse = free_port(), free_port()
    settings = {
        "Name": "other",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "Plugins": [str(PLUGIN)],
        "HttpPort": http,
        "DicomPort": dimse,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomModalities": {NAME: [AET, "127.0.0.1", served.dimse_port]},
        "DicomWeb": {
            "Enable": True,
            "Root": "/dicom-web/",
            "Servers": {
                NAME: {
                    "Url": served.dicomweb(TENANT) + "/",
                    "HttpHeaders": served.keys.headers(served.dicomweb(TENANT)),
                }
            },
        },
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [ORTHANC or "", str(folder / "orthanc.json")],
            stdout=log, stderr=log, env={**os.environ, "TCP_NODELAY": "1"},
        )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{http}", timeout=SECONDS) as web:
            wait_until(lambda: _answers(web), SECONDS, "Orthanc did not answer")
            yield Orthanc(web, dimse)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(web: httpx.Client) -> bool:
    try:
        return web.get("/system").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def orthanc(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    served.register(tenants={TENANT: []})  # Orthanc is told its key when it starts
    with running(tmp_path_factory.mktemp("orthanc"), served) as other:
        everything = frozenset({"store", "find", "move", "get"})
        served.register(
            tenants={
                TENANT: [
                    Peer("ORTHANC", "127.0.0.1", other.port, PeerType.ARCHIVE, everything),
                    Peer("CT1", "127.0.0.1", 1, PeerType.MODALITY),
                ]
            }
        )
        yield other


def study(number: int) -> StudyBuilder:
    """A study whose objects are too large to lie in a database row."""
    return (
        a_study(patient=f"O-{number}", name=f"Orthanc^Case{number}")
        .with_series("CT", instances=3, rows=256, columns=256)
        .with_series("MR", instances=2, rows=128, columns=128)
    )


def same(one: pydicom.Dataset, built: BuiltInstance) -> bool:
    """The same data set, value for value."""
    return bool(one == pydicom.dcmread(io.BytesIO(built.part10)))


def kept_by_us(served: Served, builder: StudyBuilder) -> dict[str, pydicom.Dataset]:
    """What we have of a study, object by object."""
    found = {}
    for built in builder.objects():
        answer = httpx.get(
            f"{served.dicomweb(TENANT)}/studies/{built.study_uid}/series/{built.series_uid}"
            f"/instances/{built.sop_uid}",
            headers={"Accept": "application/dicom; transfer-syntax=*"},
            timeout=SECONDS,
            auth=served.keys,
        )
        assert answer.status_code == 200, answer.text
        found[built.sop_uid] = pydicom.dcmread(io.BytesIO(answer.content))
    return found


def assert_same(found: dict[str, pydicom.Dataset], builder: StudyBuilder) -> None:
    built = {one.sop_uid: one for one in builder.objects()}
    assert found.keys() == built.keys()
    assert [uid for uid, one in found.items() if not same(one, built[uid])] == []


# ---- images ----------------------------------------------------------------------------------------


def test_echo(orthanc: Orthanc) -> None:
    assert orthanc.post(f"/modalities/{NAME}/echo", {}) == {}


def test_orthanc_stores_by_c_store(served: Served, orthanc: Orthanc) -> None:
    orthanc.empty()
    names = orthanc.take(study(1).objects())
    done = orthanc.post(f"/modalities/{NAME}/store", {"Resources": names, "Synchronous": True})
    assert (done["InstancesCount"], done["FailedInstancesCount"]) == (5, 0)
    assert_same(kept_by_us(served, study(1)), study(1))


def test_orthanc_finds_and_moves_to_itself(served: Served, orthanc: Orthanc) -> None:
    orthanc.empty()
    served.stow([one.part10 for one in study(2).objects()], TENANT)
    query = orthanc.post(
        f"/modalities/{NAME}/query", {"Level": "Study", "Query": {"PatientID": "O-2"}}
    )
    answers = orthanc.get(f"{query['Path']}/answers?expand&simplify")
    assert [answer["StudyInstanceUID"] for answer in answers] == [study(2).study_uid]
    orthanc.post(f"{query['Path']}/retrieve", {"TargetAet": "ORTHANC", "Synchronous": True})
    assert_same(orthanc.holds(), study(2))


def test_orthanc_sends_by_stow(served: Served, orthanc: Orthanc) -> None:
    orthanc.empty()
    names = orthanc.take(study(3).objects())
    orthanc.post(f"/dicom-web/servers/{NAME}/stow", {"Resources": names, "Synchronous": True})
    assert_same(kept_by_us(served, study(3)), study(3))


def test_orthanc_searches_and_retrieves_by_dicomweb(served: Served, orthanc: Orthanc) -> None:
    orthanc.empty()
    served.stow([one.part10 for one in study(4).objects()], TENANT)
    asked = {"Uri": "/studies", "Arguments": {"00100020": "O-4"}}
    found = orthanc.post(f"/dicom-web/servers/{NAME}/qido", asked)
    assert [one["0020000D"]["Value"] for one in found] == [study(4).study_uid]
    done = orthanc.post(
        f"/dicom-web/servers/{NAME}/retrieve",
        {"Resources": [{"Study": study(4).study_uid}], "Synchronous": True},
    )
    assert int(done["ReceivedInstancesCount"]) == 5, done
    assert_same(orthanc.holds(), study(4))


# ---- storage commitment ----------------------------------------------------------------------------


def rot(served: Served, built: BuiltInstance) -> None:
    """Flip one bit of an object's pixels, in the store and behind our back."""
    (path,) = (
        path
        for path in (served.data / "blobs").rglob("*")
        if path.is_file() and built.sop_uid.encode() in path.read_bytes()[:4096]
    )
    raw = bytearray(path.read_bytes())
    raw[-1000] ^= 1
    path.write_bytes(raw)


def commitment(orthanc: Orthanc, references: list[tuple[str, str]]) -> dict[str, Any]:
    """Let Orthanc ask us, and wait for the report it got."""
    asked = orthanc.post(
        f"/modalities/{NAME}/storage-commitment", {"DicomInstances": [list(r) for r in references]}
    )

    def ended() -> Any:
        report = orthanc.get(asked["Path"])
        return report if report["Status"] != "Pending" else None

    report: dict[str, Any] = wait_until(ended, SECONDS, "no report came")
    assert report["RemoteAET"] == AET
    return report


def test_commitment_of_what_is_safe(served: Served, orthanc: Orthanc) -> None:
    served.stow([one.part10 for one in study(5).objects()], TENANT)
    report = commitment(orthanc, [(one.sop_class, one.sop_uid) for one in study(5).objects()])
    assert report["Status"] == "Success"
    safe = {one["SOPInstanceUID"] for one in report["Success"]}
    assert safe == {one.sop_uid for one in study(5).objects()}


def test_commitment_tells_rotted_from_unknown(served: Served, orthanc: Orthanc) -> None:
    objects = study(6).objects()
    served.stow([one.part10 for one in objects], TENANT)
    rot(served, objects[1])
    references = [(one.sop_class, one.sop_uid) for one in objects]
    report = commitment(orthanc, [*references, (objects[0].sop_class, NO_SUCH_UID)])
    assert report["Status"] == "Failure"
    failures = {one["SOPInstanceUID"]: one["FailureReason"] for one in report["Failures"]}
    assert failures == {objects[1].sop_uid: NOT_SAFE, NO_SUCH_UID: UNKNOWN}
    assert len(report["Success"]) == 4


def action(served: Served, transaction: str, objects: list[BuiltInstance]) -> int:
    """N-ACTION as the modality CT1; the status."""
    information = keys(
        TransactionUID=transaction,
        ReferencedSOPSequence=[
            {0x00081150: ("UI", one.sop_class), 0x00081155: ("UI", one.sop_uid)} for one in objects
        ],
    )
    with Scu(
        "127.0.0.1", served.dimse_port, propose_service(STORAGE_COMMITMENT),
        called_ae=AET, calling_ae="CT1",
    ) as scu:  # fmt: skip
        message = scu.action(STORAGE_COMMITMENT, PUSH_MODEL_INSTANCE, 1, information)
    return message.command.status


def test_a_transaction_uid_is_used_once(served: Served, orthanc: Orthanc) -> None:
    objects = study(7).objects()
    served.stow([one.part10 for one in objects], TENANT)
    transaction = stable_uid("conversation", "used")
    assert action(served, transaction, objects) == 0
    assert action(served, transaction, objects) == USED


def test_d24_a_report_is_not_lost_by_a_restart(served: Served, orthanc: Orthanc) -> None:
    """Nobody listens at the modality, we are restarted, it comes back: the report arrives, once."""
    objects = study(8).objects()
    served.stow([one.part10 for one in objects], TENANT)
    transaction = stable_uid("conversation", "pending")
    assert action(served, transaction, objects) == 0
    served.restart()
    with ScriptedScp() as modality:

        async def move_in(house: Any) -> None:
            owner = house.operator(await house.tenants.named(TENANT), "test")
            await house.peers.add(owner, Peer("CT1", "127.0.0.1", modality.port))

        served.within(move_in)

        def reports() -> list[Any]:
            return [
                message
                for message in modality.received
                if message.command.CommandField is CommandField.N_EVENT_REPORT_RQ
                and transaction.encode() in message.data
            ]

        wait_until(reports, SECONDS, "no report came")
        assert modality.requests[0].calling_ae == AET
        # The other transaction of this modality may come over the same address; this one comes once.
        wait_until(lambda: "released" in modality.endings, SECONDS, "it did not end")
        (message,) = reports()
    assert message.command.EventTypeID == 1
    for one in objects:
        assert one.sop_uid.encode() in message.data
