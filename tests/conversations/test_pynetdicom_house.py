"""pynetdicom against the house: query, retrieve both ways, storage commitment, odd negotiation."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    PatientRootQueryRetrieveInformationModelFind,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from lightwell.domain.archive.model import Vouched
from lightwell.domain.peers.model import PeerType
from lightwell.gateways.dimse.commitment import CommitmentCourier
from lightwell.testing.builders import BuiltInstance, a_study
from lightwell.testing.dimse_house import LOOPBACK, DimseHouse, dimse_house, memory_rooms, store

TITLE = "PYNETDICOM"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[DimseHouse]:
    with dimse_house(lambda: memory_rooms(tmp_path / "blobs")) as served:
        served.add_peer("LW_SENDER")
        served.add_peer(TITLE, allow=frozenset({"store", "find", "move", "get"}))
        yield served


@pytest.fixture
def study(house: DimseHouse) -> list[BuiltInstance]:
    objects = a_study(patient="PYN1").with_series("CT", instances=4, rows=64, columns=64).objects()
    assert store(house, objects) == [0] * 4
    return objects


def _associate(house: DimseHouse, *contexts: Any, **more: Any) -> Any:
    ae = AE(ae_title=TITLE)
    for context in contexts:
        ae.add_requested_context(*(context if isinstance(context, tuple) else (context,)))
    assoc = ae.associate(LOOPBACK, house.port, ae_title="LIGHTWELL", **more)
    assert assoc.is_established
    return assoc


def _identifier(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def test_echo_and_store(house: DimseHouse) -> None:
    one = a_study(seed=3).with_series("CT").only()
    assoc = _associate(
        house, Verification, (CTImageStorage, [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
    )
    chosen = next(c for c in assoc.accepted_contexts if c.abstract_syntax == CTImageStorage)
    assert chosen.transfer_syntax == [ExplicitVRLittleEndian]
    assert assoc.send_c_echo().Status == 0
    assert assoc.send_c_store(dcmread(io.BytesIO(one.part10))).Status == 0
    assoc.release()
    assert house.run(house.rooming.archive.totals(house.context)).instances == 1


@pytest.mark.parametrize(
    ("model", "level", "rows"),
    [
        (PatientRootQueryRetrieveInformationModelFind, "PATIENT", 1),
        (StudyRootQueryRetrieveInformationModelFind, "STUDY", 1),
        (StudyRootQueryRetrieveInformationModelFind, "SERIES", 1),
        (StudyRootQueryRetrieveInformationModelFind, "IMAGE", 4),
    ],
)
def test_find(
    house: DimseHouse, study: list[BuiltInstance], model: str, level: str, rows: int
) -> None:
    assoc = _associate(house, model)
    wanted = _identifier(QueryRetrieveLevel=level, PatientID="PYN1", PatientName="")
    answers = [(status.Status, row) for status, row in assoc.send_c_find(wanted, model)]
    assoc.release()
    assert [status for status, _ in answers] == [0xFF00] * rows + [0]
    assert {row.PatientID for _, row in answers[:-1]} == {"PYN1"}


def test_get(house: DimseHouse, study: list[BuiltInstance]) -> None:
    received: list[bytes] = []

    def keep(event: Any) -> int:
        received.append(event.request.DataSet.getvalue())
        return 0

    assoc = _associate(
        house,
        StudyRootQueryRetrieveInformationModelGet,
        (CTImageStorage, [ExplicitVRLittleEndian]),
        ext_neg=[build_role(CTImageStorage, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, keep)],
    )
    wanted = _identifier(QueryRetrieveLevel="STUDY", StudyInstanceUID=study[0].study_uid)
    *_, (final, _) = assoc.send_c_get(wanted, StudyRootQueryRetrieveInformationModelGet)
    assoc.release()
    assert (final.Status, final.NumberOfCompletedSuboperations) == (0, 4)
    assert received == [one.dataset for one in study]


def test_move(house: DimseHouse, study: list[BuiltInstance]) -> None:
    received: list[str] = []

    def keep(event: Any) -> int:
        received.append(event.request.AffectedSOPInstanceUID)
        return 0

    ae = AE(ae_title="DEST")
    ae.add_supported_context(CTImageStorage, ExplicitVRLittleEndian)
    server = ae.start_server((LOOPBACK, 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    assert server is not None
    try:
        port = server.server_address[1]
        house.add_peer("DEST", PeerType.ARCHIVE, port=port)
        assoc = _associate(house, StudyRootQueryRetrieveInformationModelMove)
        wanted = _identifier(QueryRetrieveLevel="STUDY", StudyInstanceUID=study[0].study_uid)
        *_, (final, _) = assoc.send_c_move(
            wanted, "DEST", StudyRootQueryRetrieveInformationModelMove
        )
        assoc.release()
    finally:
        server.shutdown()
    assert (final.Status, final.NumberOfCompletedSuboperations) == (0, 4)
    assert received == [one.sop_uid for one in study]


def test_storage_commitment_both_ways(house: DimseHouse, study: list[BuiltInstance]) -> None:
    reports: list[Dataset] = []
    told = threading.Event()

    def report(event: Any) -> tuple[int, None]:
        reports.append(event.event_information)
        told.set()
        return 0, None

    ae = AE(ae_title=TITLE)
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    server = ae.start_server(
        (LOOPBACK, 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, report)]
    )
    assert server is not None
    try:
        peer = house.add_peer(TITLE, PeerType.MODALITY, port=server.server_address[1])
        action = _identifier(TransactionUID="1.2.840.77")
        action.ReferencedSOPSequence = [
            _identifier(ReferencedSOPClassUID=one.sop_class, ReferencedSOPInstanceUID=one.sop_uid)
            for one in study
        ]
        assoc = _associate(house, StorageCommitmentPushModel)
        status, _ = assoc.send_n_action(
            action, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        assoc.release()
        assert status.Status == 0
        answers = [Vouched(one.sop_class, one.sop_uid, None) for one in study[1:]]
        answers.append(Vouched(study[0].sop_class, study[0].sop_uid, 0x0110))
        courier = CommitmentCourier()
        assert asyncio.run(courier.deliver(peer, "LIGHTWELL", "1.2.840.77", answers))
        assert told.wait(10)
    finally:
        server.shutdown()
    (information,) = reports
    assert information.TransactionUID == "1.2.840.77"
    assert len(information.ReferencedSOPSequence) == 3
    (failed,) = information.FailedSOPSequence
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == (study[0].sop_uid, 0x0110)


def test_a_peer_that_aborts_is_no_bug(house: DimseHouse) -> None:
    for _ in range(5):
        _associate(house, Verification).abort()
    assert _associate(house, Verification).send_c_echo().Status == 0
    assert house.server.tally.broken == 0
