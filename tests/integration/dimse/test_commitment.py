"""Storage commitment over the wire: requests, and reports over an association of our own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from io import BytesIO

import pytest
from pydicom.filereader import read_dataset

from lightwell.domain.archive.model import Vouched
from lightwell.domain.peers.model import Peer, PeerType
from lightwell.gateways.dimse.commitment import (
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    CommitmentCourier,
)
from lightwell.gateways.dimse.limits import DimseLimits
from lightwell.testing.dimse_house import LOOPBACK, DimseHouse, keys
from lightwell.testing.scp import ScriptedScp
from lightwell.testing.scu import Scu
from lightwell.wire.dimse.commands import CommandField
from lightwell.wire.dimse.negotiation import Policy
from lightwell.wire.dimse.pdu import Rejection
from lightwell.wire.dimse.proposal import propose_service
from lightwell.wire.dimse.status import (
    DUPLICATE_TRANSACTION_UID,
    INVALID_ARGUMENT_VALUE,
    MISSING_ATTRIBUTE,
    NO_SUCH_ACTION_TYPE,
    NO_SUCH_SOP_INSTANCE,
    NOT_AUTHORIZED,
    PROCESSING_FAILURE,
    SUCCESS,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
REFERENCES = [{"ReferencedSOPClassUID": CT, "ReferencedSOPInstanceUID": f"1.2.{n}"} for n in (1, 2)]
GOOD = {"TransactionUID": "1.2.840.1", "ReferencedSOPSequence": REFERENCES}


def _ask(
    house: DimseHouse,
    information: Mapping[str, object] | None,
    *,
    calling: str = "CT1",
    action: int = 1,
    instance: str = PUSH_MODEL_INSTANCE,
) -> int:
    with Scu(
        LOOPBACK, house.port, propose_service(PUSH_MODEL), calling_ae=calling, timeout=20.0
    ) as scu:
        raw = None if information is None else keys(**information)
        return scu.action(PUSH_MODEL, instance, action, raw).command.status


@pytest.fixture
def reachable(house: DimseHouse) -> DimseHouse:
    house.add_peer("CT1", PeerType.MODALITY, port=4242)
    return house


def test_a_request_is_remembered_once(reachable: DimseHouse) -> None:
    assert _ask(reachable, GOOD) == SUCCESS
    assert _ask(reachable, GOOD) == DUPLICATE_TRANSACTION_UID
    database = reachable.rooming.database
    assert database is not None
    (row,) = database.of(1).commitments.values()
    assert (row.peer, row.called, row.transaction_uid) == ("CT1", "LIGHTWELL", "1.2.840.1")
    assert row.items == ((CT, "1.2.1"), (CT, "1.2.2"))


@pytest.mark.parametrize(
    ("information", "status"),
    [
        (None, MISSING_ATTRIBUTE),
        ({}, INVALID_ARGUMENT_VALUE),
        ({"TransactionUID": "1.2"}, INVALID_ARGUMENT_VALUE),
        ({**GOOD, "TransactionUID": "1..2"}, INVALID_ARGUMENT_VALUE),
        ({**GOOD, "ReferencedSOPSequence": [{}]}, INVALID_ARGUMENT_VALUE),
    ],
)
def test_requests_that_make_no_sense(
    reachable: DimseHouse, information: Mapping[str, object] | None, status: int
) -> None:
    assert _ask(reachable, information) == status


def test_the_wrong_action_and_the_wrong_instance(reachable: DimseHouse) -> None:
    assert _ask(reachable, GOOD, action=2) == NO_SUCH_ACTION_TYPE
    assert _ask(reachable, GOOD, instance="1.2.3") == NO_SUCH_SOP_INSTANCE


def test_a_peer_that_cannot_be_called_back_is_told_at_once(house: DimseHouse) -> None:
    assert _ask(house, GOOD) == PROCESSING_FAILURE


def test_a_peer_without_the_grant(reachable: DimseHouse) -> None:
    reachable.add_peer("READER", port=4242, allow=frozenset({"find"}))
    assert _ask(reachable, GOOD, calling="READER") == NOT_AUTHORIZED


# ---- reports --------------------------------------------------------------------------------------


def _scp() -> ScriptedScp:
    return ScriptedScp(
        policy=Policy(
            services=frozenset({PUSH_MODEL}), peer_may_be_scp=lambda name: name == PUSH_MODEL
        )
    )


def _deliver(port: int, answers: list[Vouched]) -> tuple[bool, CommitmentCourier]:
    courier = CommitmentCourier(DimseLimits(connect=2.0, artim=2.0, response=5.0))
    peer = Peer("CT1", LOOPBACK, port, PeerType.MODALITY)
    return asyncio.run(courier.deliver(peer, "LIGHTWELL", "1.2.840.1", answers)), courier


KEPT = [Vouched(CT, "1.2.1", None), Vouched(CT, "1.2.2", None)]
MIXED = [Vouched(CT, "1.2.1", None), Vouched(CT, "1.2.2", 0x0112), Vouched(CT, "1.2.3", 0x0110)]


@pytest.mark.parametrize(("answers", "event_type"), [(KEPT, 1), (MIXED, 2)])
def test_a_report_says_what_is_kept_and_what_not(answers: list[Vouched], event_type: int) -> None:
    with _scp() as scp:
        delivered, courier = _deliver(scp.port, answers)
    assert delivered
    assert courier.counters.tally.reports_delivered == 1
    (request,), (message,) = scp.requests, scp.received
    assert (request.calling_ae, request.called_ae) == ("LIGHTWELL", "CT1")
    (role,) = request.user_information.roles
    assert (role.SOPClassUID, role.scu, role.scp) == (PUSH_MODEL, False, True)
    command = message.command
    assert command.CommandField is CommandField.N_EVENT_REPORT_RQ
    assert command.EventTypeID == event_type
    assert command.AffectedSOPInstanceUID == PUSH_MODEL_INSTANCE
    report = read_dataset(BytesIO(message.data), False, True)
    assert report.TransactionUID == "1.2.840.1"
    kept = {item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence}
    assert kept == {answer.sop_uid for answer in answers if answer.failure is None}
    failed = {
        item.ReferencedSOPInstanceUID: item.FailureReason
        for item in report.get("FailedSOPSequence", [])
    }
    assert failed == {a.sop_uid: a.failure for a in answers if a.failure is not None}
    assert scp.endings == ["released"]


def test_d24_a_report_to_a_peer_that_is_down_is_not_delivered() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
    delivered, courier = _deliver(port, KEPT)
    assert not delivered
    assert courier.counters.tally.reports_failed == 1


def test_a_report_that_is_refused_or_not_taken_is_not_delivered() -> None:
    with ScriptedScp(decide=lambda _: Rejection.NO_REASON) as refusing:
        assert _deliver(refusing.port, KEPT)[0] is False
    with ScriptedScp(policy=Policy()) as deaf:
        assert _deliver(deaf.port, KEPT)[0] is False
    with _scp() as failing:
        failing.answers = {CommandField.N_EVENT_REPORT_RQ: lambda _: [(PROCESSING_FAILURE, b"")]}
        assert _deliver(failing.port, KEPT)[0] is False
    assert failing.endings == ["released"]


def test_a_peer_that_says_nothing_is_left() -> None:
    with socket.create_server((LOOPBACK, 0)) as mute:
        delivered, _ = _deliver(mute.getsockname()[1], KEPT)
    assert not delivered
