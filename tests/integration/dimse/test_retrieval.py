"""C-GET and C-MOVE over the wire: bytes, counters, failures, cancellation."""

from __future__ import annotations

import io
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.filereader import read_dataset

from lightwell.app.transcoding import PoolTranscoder
from lightwell.backends.codecs.pool import DecoderPool
from lightwell.domain.archive.model import Level, Target
from lightwell.domain.peers.model import PeerType
from lightwell.gateways.dimse import requestor
from lightwell.gateways.dimse.limits import DimseLimits
from lightwell.testing import scp as scp_module
from lightwell.testing.builders import BuiltInstance, a_study
from lightwell.testing.channel import ChannelError, Message
from lightwell.testing.dimse_house import LOOPBACK, DimseHouse, MakeHouse, fetch, keys, store
from lightwell.testing.scp import ScriptedScp
from lightwell.testing.scu import STUDY_ROOT_GET, STUDY_ROOT_MOVE, Scu
from lightwell.wire.dimse.commands import Command, CommandField
from lightwell.wire.dimse.items import RoleSelection
from lightwell.wire.dimse.negotiation import Negotiated, Policy, negotiate
from lightwell.wire.dimse.pdu import AssociateRJ, AssociateRQ, ContextAnswer, Rejection
from lightwell.wire.dimse.proposal import number, propose_service
from lightwell.wire.dimse.status import (
    CANCEL,
    IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS,
    MOVE_DESTINATION_UNKNOWN,
    NOT_AUTHORIZED,
    OUT_OF_RESOURCES,
    PENDING,
    SUBOPERATIONS_COMPLETE_WITH_FAILURES,
    SUCCESS,
    UNABLE_TO_PERFORM_SUBOPERATIONS,
)
from lightwell.wire.dimse.syntaxes import (
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
)

RLE = "1.2.840.10008.1.2.5"
J2K = "1.2.840.10008.1.2.4.90"
HTJ2K = "1.2.840.10008.1.2.4.201"
PATIENT_ROOT_GET = "1.2.840.10008.5.1.4.1.2.1.3"

Identifier = Callable[[str], bytes]


def _study(house: DimseHouse, count: int = 4, **more: Any) -> list[BuiltInstance]:
    study = a_study(**more).with_series("CT", instances=count, rows=100, columns=100).objects()
    assert store(house, study, "CT1") == [SUCCESS] * count
    return study


def _whole_study(one: BuiltInstance) -> Identifier:
    return keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=one.study_uid)


def _move(
    house: DimseHouse, destination: str, identifier: Identifier, calling: str = "LW_SENDER"
) -> list[Message]:
    with Scu(
        LOOPBACK, house.port, propose_service(STUDY_ROOT_MOVE), calling_ae=calling, timeout=30.0
    ) as scu:
        return list(scu.move(STUDY_ROOT_MOVE, destination, identifier))


def _counts(command: Command) -> tuple[int | None, int | None, int | None]:
    return (
        command.NumberOfCompletedSuboperations,
        command.NumberOfFailedSuboperations,
        command.NumberOfWarningSuboperations,
    )


def _failed_uids(message: Message) -> list[str]:
    """The Failed SOP Instance UID List of a final response."""
    dataset = _dataset(message.data, message.context.transfer_syntax)
    listed = dataset.get("FailedSOPInstanceUIDList", [])
    return [listed] if isinstance(listed, str) else list(listed)


def _dataset(data: bytes, syntax: str) -> pydicom.Dataset:
    implicit = syntax == IMPLICIT_LE
    return read_dataset(io.BytesIO(data), implicit, syntax != EXPLICIT_BE)


# ---- C-GET ----------------------------------------------------------------------------------------


def test_get_gives_back_the_bytes_that_came(house: DimseHouse) -> None:
    study = _study(house)
    got = fetch(house, [(study[0].sop_class, EXPLICIT_LE)], _whole_study(study[0]))
    assert got.objects == {one.sop_uid: (EXPLICIT_LE, one.dataset) for one in study}
    assert (got.final.status, _counts(got.final)) == (SUCCESS, (4, 0, 0))


def test_get_at_every_level(house: DimseHouse) -> None:
    builder = (
        a_study(patient="LEVELS").with_series("CT", instances=2).with_series("CT", instances=3)
    )
    study = builder.objects()
    assert store(house, study) == [SUCCESS] * 5
    first, last = study[0], study[-1]
    offers = [(first.sop_class, EXPLICIT_LE)]

    def count(model: str = STUDY_ROOT_GET, **wanted: Any) -> int:
        got = fetch(house, offers, keys(**wanted), model=model)
        assert got.final.status == SUCCESS
        return len(got.objects)

    assert count(PATIENT_ROOT_GET, QueryRetrieveLevel="PATIENT", PatientID="LEVELS") == 5
    assert count(PATIENT_ROOT_GET, QueryRetrieveLevel="PATIENT", PatientID="NOBODY") == 0
    study_uid = first.study_uid
    assert count(QueryRetrieveLevel="STUDY", StudyInstanceUID=study_uid) == 5
    assert count(QueryRetrieveLevel="STUDY", StudyInstanceUID=[study_uid, "1.2.3"]) == 5
    series: dict[str, Any] = {"QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": last.series_uid}
    assert count(StudyInstanceUID=study_uid, **series) == 3
    assert count(**series) == 3  # relational: without the study
    both = [first.series_uid, last.series_uid]
    assert (
        count(QueryRetrieveLevel="SERIES", StudyInstanceUID=study_uid, SeriesInstanceUID=both) == 5
    )
    assert (
        count(QueryRetrieveLevel="SERIES", StudyInstanceUID=study_uid, SeriesInstanceUID="1.2") == 0
    )
    image: dict[str, Any] = {
        "QueryRetrieveLevel": "IMAGE",
        "SOPInstanceUID": [study[3].sop_uid, study[0].sop_uid],
    }
    assert count(StudyInstanceUID=study_uid, **image) == 2
    assert count(StudyInstanceUID=study_uid, SeriesInstanceUID=last.series_uid, **image) == 1
    assert count(**image) == 2


@pytest.mark.parametrize(
    "wanted",
    [
        {"QueryRetrieveLevel": "STUDY"},
        {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "*"},
        {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": "1.2"},
        {"QueryRetrieveLevel": "PATIENT", "PatientID": "LEVELS"},  # not in Study Root
        {"StudyInstanceUID": "1.2"},
    ],
)
def test_a_retrieval_of_everything_and_nothing_is_refused(
    house: DimseHouse, wanted: dict[str, object]
) -> None:
    study = _study(house, 1)
    got = fetch(house, [(study[0].sop_class, EXPLICIT_LE)], keys(**wanted))
    assert got.final.status == IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS
    assert got.objects == {}


def test_every_key_that_is_given_narrows(house: DimseHouse) -> None:
    mine = _study(house, 1, seed=1, patient="P1")[0]
    other = _study(house, 1, seed=2, patient="P2")[0]
    offers = [(mine.sop_class, EXPLICIT_LE)]

    def got(**wanted: Any) -> set[str]:
        answer = fetch(house, offers, keys(**wanted), model=PATIENT_ROOT_GET)
        assert answer.final.status == SUCCESS
        return set(answer.objects)

    study = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": other.study_uid}
    series = {"QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": other.series_uid}
    image = {"QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": other.sop_uid}
    elsewhere = [mine.study_uid, "1.2.3"]
    assert got(PatientID="P2", **study) == {other.sop_uid}
    assert got(PatientID="P2", **series) == got(PatientID="P2", **image) == {other.sop_uid}
    for given in (
        {"PatientID": "P1", **study},
        {"PatientID": "P1", **series},
        {"PatientID": "P1", "StudyInstanceUID": other.study_uid, **series},
        {"StudyInstanceUID": elsewhere, **series},
        {"PatientID": "P1", **image},
        {"StudyInstanceUID": elsewhere, "SeriesInstanceUID": "1.2.3", **image},
        {"StudyInstanceUID": other.study_uid, "SeriesInstanceUID": ["1.2.3", "1.2.4"], **image},
    ):
        assert got(**given) == set(), given
    two = {"QueryRetrieveLevel": "PATIENT", "PatientID": ["P1", "P2"]}
    answer = fetch(house, offers, keys(**two), model=PATIENT_ROOT_GET)
    assert answer.final.status == IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS
    assert answer.objects == {}


def test_a_patient_id_of_two_issuers_names_nobody(house: DimseHouse) -> None:
    for seed, issuer in enumerate(("A", "B"), start=1):
        _study(house, 1, seed=seed, patient="SAME", issuer=issuer)
    one = a_study(seed=1).with_series("CT").only()
    offers = [(one.sop_class, EXPLICIT_LE)]
    patient = {"QueryRetrieveLevel": "PATIENT", "PatientID": "SAME"}
    both = fetch(house, offers, keys(**patient), model=PATIENT_ROOT_GET)
    assert both.final.status == IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS
    assert both.objects == {}
    named = fetch(house, offers, keys(IssuerOfPatientID="B", **patient), model=PATIENT_ROOT_GET)
    assert len(named.objects) == 1


def test_get_without_the_grant(house: DimseHouse) -> None:
    study = _study(house, 1)
    got = fetch(
        house,
        [(study[0].sop_class, EXPLICIT_LE)],
        _whole_study(study[0]),
        calling="CT1",
    )
    assert got.final.status == NOT_AUTHORIZED
    assert got.objects == {}


def test_objects_nobody_offered_a_context_for_count_as_failed(house: DimseHouse) -> None:
    ct = a_study().with_series("CT", instances=2).with_series("MR", instances=1).objects()
    assert store(house, ct) == [SUCCESS] * 3
    got = fetch(house, [(ct[0].sop_class, EXPLICIT_LE)], _whole_study(ct[0]))
    assert got.final.status == SUBOPERATIONS_COMPLETE_WITH_FAILURES
    assert _counts(got.final) == (2, 1, 0)
    assert _failed_uids(got.responses[-1]) == [ct[2].sop_uid]


@pytest.mark.parametrize("stored", [EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE, IMPLICIT_LE])
@pytest.mark.parametrize("taken", [EXPLICIT_LE, IMPLICIT_LE])
def test_native_objects_are_re_encoded_with_equal_values(
    house: DimseHouse, stored: str, taken: str
) -> None:
    one = (
        a_study()
        .with_series("CT", rows=90, columns=110)
        .in_syntax(stored)
        .with_elements({0x00091010: ("LO", "private"), 0x00090010: ("LO", "MAKER")})
        .only()
    )
    assert store(house, [one]) == [SUCCESS]
    got = fetch(house, [(one.sop_class, taken)], _whole_study(one))
    syntax, data = got.objects[one.sop_uid]
    assert syntax == taken
    before = pydicom.dcmread(io.BytesIO(one.part10))
    after = _dataset(data, taken)
    assert [element.tag for element in after] == [element.tag for element in before]
    for element in before:
        other = after[element.tag]
        if element.tag.is_private and taken == IMPLICIT_LE and not element.tag.is_private_creator:
            assert other.value == b"private "
        elif element.tag == 0x7FE00010 and stored == EXPLICIT_BE:
            assert np.array_equal(
                np.frombuffer(other.value, "<u2"), np.frombuffer(element.value, ">u2")
            )
        else:
            assert other.value == element.value


@pytest.fixture
def transcoding(make_house: MakeHouse) -> Iterator[DimseHouse]:
    pool = DecoderPool(1)
    house = make_house(transcoder=PoolTranscoder(pool))
    yield house
    house.run(pool.close())


@pytest.mark.parametrize("stored", [RLE, J2K, HTJ2K])
@pytest.mark.parametrize("taken", [EXPLICIT_LE, IMPLICIT_LE])
def test_d10_compressed_objects_are_decoded_for_who_cannot_take_them(
    transcoding: DimseHouse, stored: str, taken: str
) -> None:
    builder = a_study().with_series("CT", frames=3, rows=33, columns=47)
    native, one = builder.only(), builder.in_syntax(stored).only()
    assert store(transcoding, [one]) == [SUCCESS]
    same = fetch(transcoding, [(one.sop_class, stored), (one.sop_class, taken)], _whole_study(one))
    assert same.objects[one.sop_uid] == (stored, one.dataset)
    got = fetch(transcoding, [(one.sop_class, taken)], _whole_study(one))
    assert (got.final.status, _counts(got.final)) == (SUCCESS, (1, 0, 0))
    dataset = _dataset(got.objects[one.sop_uid][1], taken)
    expected = pydicom.dcmread(io.BytesIO(native.part10))
    assert dataset.PixelData == expected.PixelData
    assert (dataset.Rows, dataset.NumberOfFrames) == (33, 3)
    assert 0x7FE00001 not in dataset
    assert 0x7FE00002 not in dataset


def test_without_a_decoder_the_object_counts_as_failed(house: DimseHouse) -> None:
    one = a_study().with_series("CT").in_syntax(J2K).only()
    assert store(house, [one]) == [SUCCESS]
    got = fetch(house, [(one.sop_class, EXPLICIT_LE)], _whole_study(one))
    assert (got.final.status, _counts(got.final)) == (UNABLE_TO_PERFORM_SUBOPERATIONS, (0, 1, 0))


def test_damaged_bytes_are_never_sent(house: DimseHouse, tmp_path: Path) -> None:
    study = a_study().with_series("CT", instances=2, rows=300, columns=300).objects()
    assert store(house, study) == [SUCCESS] * 2
    blobs = sorted(
        (path for path in (tmp_path / "blobs").rglob("*") if path.is_file()),
        key=lambda path: path.stat().st_mtime_ns,
    )
    raw = bytearray(blobs[0].read_bytes())
    raw[-100] ^= 1
    blobs[0].chmod(0o600)
    blobs[0].write_bytes(raw)
    got = fetch(house, [(study[0].sop_class, EXPLICIT_LE)], _whole_study(study[0]))
    assert got.final.status == SUBOPERATIONS_COMPLETE_WITH_FAILURES
    assert _counts(got.final) == (1, 1, 0)
    assert all(data in {one.dataset for one in study} for _, data in got.objects.values())


def test_a_warning_of_the_receiver_is_a_warning(house: DimseHouse) -> None:
    study = _study(house, 2)
    got = fetch(
        house,
        [(study[0].sop_class, EXPLICIT_LE)],
        _whole_study(study[0]),
        answer=0xB007,
    )
    assert got.final.status == SUBOPERATIONS_COMPLETE_WITH_FAILURES
    assert _counts(got.final) == (0, 0, 2)


def test_get_can_be_cancelled(house: DimseHouse) -> None:
    study = _study(house, 6)
    contexts = number([(STUDY_ROOT_GET, (EXPLICIT_LE,)), (study[0].sop_class, (EXPLICIT_LE,))])
    roles = [RoleSelection(study[0].sop_class, scu=False, scp=True)]
    received = 0
    with Scu(LOOPBACK, house.port, contexts, roles=roles, timeout=30.0) as scu:

        def second_is_enough(_message: Message) -> int:
            nonlocal received
            received += 1
            if received == 2:
                scu.cancel()
            return SUCCESS

        *_, final = scu.get(STUDY_ROOT_GET, _whole_study(study[0]), second_is_enough)
        assert final.command.status == CANCEL
        assert _counts(final.command) == (2, 0, 0)
        assert final.command.NumberOfRemainingSuboperations == 4
        # The association goes on.
        *_, final = scu.get(STUDY_ROOT_GET, _whole_study(study[0]))
        assert final.command.status == SUCCESS


def test_images_that_came_meanwhile_are_there(house: DimseHouse) -> None:
    study = a_study().with_series("CT", instances=3).objects()
    offers = [(study[0].sop_class, EXPLICIT_LE)]
    for count in (1, 2, 3):
        assert store(house, study[count - 1 : count]) == [SUCCESS]
        assert len(fetch(house, offers, _whole_study(study[0])).objects) == count


@pytest.mark.parametrize("syntax", [EXPLICIT_LE, IMPLICIT_LE, DEFLATED_LE, RLE])
def test_a_correction_is_seen_at_this_exit_too(house: DimseHouse, syntax: str) -> None:
    one = a_study().with_series("CT", rows=90, columns=90).in_syntax(syntax).only()
    assert store(house, [one]) == [SUCCESS]
    edits = {"00081030": {"vr": "LO", "Value": ["Corrected"]}}
    target = Target(Level.STUDY, study_uid=one.study_uid)
    house.run(house.rooming.archive.correct(house.context, target, edits, "wrong description"))
    house.rooming.archive.forget(house.context, one.study_uid)
    offers = [(one.sop_class, syntax), (one.sop_class, EXPLICIT_LE)]
    got = fetch(house, offers, _whole_study(one))
    taken, data = got.objects[one.sop_uid]
    before = pydicom.dcmread(io.BytesIO(one.part10))
    after = _dataset(data, taken)
    assert after.StudyDescription == "Corrected"
    assert after.PixelData == before.PixelData
    assert after.PatientName == before.PatientName


# ---- C-MOVE ---------------------------------------------------------------------------------------


def _destination(house: DimseHouse, scp: ScriptedScp, **more: Any) -> None:
    house.add_peer("DEST", PeerType.ARCHIVE, port=scp.port, allow=frozenset({"store"}), **more)


def test_move_sends_to_a_registered_peer(house: DimseHouse) -> None:
    study = _study(house)
    with ScriptedScp() as scp:
        _destination(house, scp)
        (final,) = _move(house, "DEST", _whole_study(study[0]))
    assert (final.command.status, _counts(final.command)) == (SUCCESS, (4, 0, 0))
    assert [message.data for message in scp.received] == [one.dataset for one in study]
    (request,) = scp.requests
    assert (request.called_ae, request.calling_ae) == ("DEST", "LIGHTWELL")
    assert [context.abstract_syntax for context in request.contexts] == [study[0].sop_class]
    for message in scp.received:
        assert message.command.MoveOriginatorApplicationEntityTitle == "LW_SENDER"
        assert message.command.MoveOriginatorMessageID == 1
    assert scp.endings == ["released"]


def test_a_workstation_moves_to_itself_only(house: DimseHouse) -> None:
    study = _study(house, 1)
    with ScriptedScp() as scp:
        _destination(house, scp)
        house.add_peer("WS", PeerType.WORKSTATION, port=scp.port)
        (elsewhere,) = _move(house, "DEST", _whole_study(study[0]), "WS")
        (home,) = _move(house, "WS", _whole_study(study[0]), "WS")
    assert elsewhere.command.status == MOVE_DESTINATION_UNKNOWN
    assert home.command.status == SUCCESS
    assert [request.called_ae for request in scp.requests] == ["WS"]


def test_move_of_nothing_is_a_success_without_an_association(house: DimseHouse) -> None:
    with ScriptedScp() as scp:
        _destination(house, scp)
        (final,) = _move(house, "DEST", keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.3"))
    assert (final.command.status, _counts(final.command)) == (SUCCESS, (0, 0, 0))
    assert scp.requests == []


@pytest.mark.parametrize("title", ["EVIL", "127.0.0.1", "169.254.169.254", "LIGHTWELL", "NEXTDOOR"])
def test_d08_no_title_is_an_address(
    house: DimseHouse, monkeypatch: pytest.MonkeyPatch, title: str
) -> None:
    from lightwell.testing.dimse_house import NEIGHBOUR

    study = _study(house, 1)
    house.add_peer("NEXTDOOR", PeerType.ARCHIVE, port=1, tenant=NEIGHBOUR)
    calls: list[object] = []
    monkeypatch.setattr(requestor, "associate", lambda *args, **_: calls.append(args))
    real = socket.socket.connect

    def watched(self: socket.socket, address: Any) -> None:
        if threading.current_thread().name == "dimse":
            calls.append(address)
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", watched)
    (final,) = _move(house, title, _whole_study(study[0]))
    assert final.command.status == MOVE_DESTINATION_UNKNOWN
    assert calls == []


def test_d10_a_destination_that_takes_implicit_only(
    transcoding: DimseHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    _only_implicit(monkeypatch)
    for seed, syntax in enumerate((J2K, RLE, EXPLICIT_LE, DEFLATED_LE)):
        builder = a_study(seed=seed, patient=f"P{seed}").with_series("CT", rows=20, columns=20)
        one = builder.in_syntax(syntax).only()
        assert store(transcoding, [one]) == [SUCCESS]
        with ScriptedScp() as scp:
            _destination(transcoding, scp)
            (final,) = _move(transcoding, "DEST", _whole_study(one))
        assert final.command.status == SUCCESS
        (message,) = scp.received
        assert message.context.transfer_syntax == IMPLICIT_LE
        expected = pydicom.dcmread(io.BytesIO(builder.only().part10)).PixelData
        assert _dataset(message.data, IMPLICIT_LE).PixelData == expected


def _only_implicit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make scripted peers take Implicit VR Little Endian, and refuse a context without it."""

    def choose(request: AssociateRQ, policy: Policy) -> Negotiated:
        answers = tuple(
            ContextAnswer(context.context_id, 0, IMPLICIT_LE)
            if IMPLICIT_LE in context.transfer_syntaxes
            else ContextAnswer(context.context_id, 4)
            for context in request.contexts
        )
        return replace(negotiate(request, policy), contexts=answers)

    monkeypatch.setattr(scp_module, "negotiate", choose)


def test_htj2k_goes_only_to_who_lists_it(transcoding: DimseHouse) -> None:
    one = a_study().with_series("CT", rows=20, columns=20).in_syntax(HTJ2K).only()
    assert store(transcoding, [one]) == [SUCCESS]
    with ScriptedScp() as scp:
        _destination(transcoding, scp)
        _move(transcoding, "DEST", _whole_study(one))
        _destination(transcoding, scp, syntaxes=(HTJ2K,))
        _move(transcoding, "DEST", _whole_study(one))
    assert [m.context.transfer_syntax for m in scp.received] == [EXPLICIT_LE, HTJ2K]
    assert scp.received[1].data == one.dataset


def test_move_to_a_peer_that_is_not_there(house: DimseHouse) -> None:
    study = _study(house, 3)
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
    house.add_peer("DEST", PeerType.ARCHIVE, port=port)
    (final,) = _move(house, "DEST", _whole_study(study[0]))
    assert final.command.status == UNABLE_TO_PERFORM_SUBOPERATIONS
    assert _counts(final.command) == (0, 3, 0)
    assert _failed_uids(final) == [one.sop_uid for one in study]


def test_d14_a_destination_that_dies_half_way(house: DimseHouse) -> None:
    study = _study(house, 6)
    with _dying(3, comes_back=False) as scp:
        _destination(house, scp)
        final = _move(house, "DEST", _whole_study(study[0]))[-1]
    assert final.command.status == SUBOPERATIONS_COMPLETE_WITH_FAILURES
    assert _counts(final.command) == (2, 4, 0)
    assert _failed_uids(final) == [one.sop_uid for one in study[2:]]
    assert house.server.tally.broken == 0


def test_a_lost_association_costs_one_object(house: DimseHouse) -> None:
    study = _study(house, 6)
    with _dying(3, comes_back=True) as scp:
        _destination(house, scp)
        final = _move(house, "DEST", _whole_study(study[0]))[-1]
    assert _counts(final.command) == (5, 1, 0)
    assert _failed_uids(final) == [study[2].sop_uid]
    assert len(scp.requests) == 2


def _dying(at: int, *, comes_back: bool) -> ScriptedScp:
    """A peer that drops its association on the object with this number."""
    scp = ScriptedScp()

    def answer(_message: Message) -> list[tuple[int, bytes]]:
        if len(scp.received) == at:
            raise ChannelError("killed")
        return [(SUCCESS, b"")]

    def decide(_request: AssociateRQ) -> AssociateRJ | None:
        dead = len(scp.received) >= at and not comes_back
        return Rejection.TEMPORARY_CONGESTION if dead else None

    scp.answers = {CommandField.C_STORE_RQ: answer}
    scp.decide = decide
    return scp


def test_a_destination_out_of_resources_is_asked_again(make_house: MakeHouse) -> None:
    house = make_house(limits=DimseLimits(retries=2, retry_after=0.05))
    study = _study(house, 2)
    answers = iter(
        [OUT_OF_RESOURCES, SUCCESS, OUT_OF_RESOURCES, OUT_OF_RESOURCES, OUT_OF_RESOURCES]
    )
    with ScriptedScp() as scp:
        _destination(house, scp)
        scp.answers = {CommandField.C_STORE_RQ: lambda _: [(next(answers), b"")]}
        final = _move(house, "DEST", _whole_study(study[0]))[-1]
    assert _counts(final.command) == (1, 1, 0)
    assert len(scp.received) == 5


def test_move_tells_how_it_goes_and_can_be_cancelled(make_house: MakeHouse) -> None:
    house = make_house(limits=DimseLimits(pending_every=0.05))
    study = _study(house, 30)
    with ScriptedScp() as scp:
        _destination(house, scp)
        cancelled, stores = threading.Event(), itertools.count()

        def unhurried(_message: Message) -> list[tuple[int, bytes]]:
            cancelled.wait(0.05 if next(stores) < 12 else 60)  # never ahead of the cancel
            return [(SUCCESS, b"")]

        scp.answers = {CommandField.C_STORE_RQ: unhurried}
        with Scu(LOOPBACK, house.port, propose_service(STUDY_ROOT_MOVE), timeout=30.0) as scu:
            responses: list[Command] = []
            for message in scu.move(STUDY_ROOT_MOVE, "DEST", _whole_study(study[0])):
                responses.append(message.command)
                if len(responses) == 3:
                    scu.cancel()
                    cancelled.set()
    *pending, final = responses
    assert {command.status for command in pending} == {PENDING}
    for command in pending:
        done, failed, warned = _counts(command)
        assert done is not None
        assert command.NumberOfRemainingSuboperations == 30 - done
        assert (failed, warned) == (0, 0)
    assert final.status == CANCEL
    assert len(scp.received) == final.NumberOfCompletedSuboperations
    assert final.NumberOfRemainingSuboperations == 30 - len(scp.received)


def test_a_requestor_that_goes_stops_the_work(make_house: MakeHouse) -> None:
    house = make_house(limits=DimseLimits(pending_every=0.02))
    study = _study(house, 40)
    with ScriptedScp() as scp:
        _destination(house, scp)
        gone, stores = threading.Event(), itertools.count()

        def unhurried(_message: Message) -> list[tuple[int, bytes]]:
            gone.wait(0.05 if next(stores) < 4 else 60)  # not done before the requestor has gone
            return [(SUCCESS, b"")]

        scp.answers = {CommandField.C_STORE_RQ: unhurried}
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is a peer's session
            with Scu(LOOPBACK, house.port, propose_service(STUDY_ROOT_MOVE)) as scu:
                for _ in scu.move(STUDY_ROOT_MOVE, "DEST", _whole_study(study[0])):
                    raise ZeroDivisionError  # the with-block aborts the association
        gone.set()
        deadline = time.monotonic() + 60
        while house.server.tally.active:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert len(scp.received) < 40
    assert house.server.tally.broken == 0


def test_more_classes_than_one_association_holds(house: DimseHouse) -> None:
    study = [
        a_study()
        .with_series("CT", instances=1)
        .with_attributes(
            SOPClassUID=f"1.2.840.113619.4.{index}", SOPInstanceUID=f"2.25.{index + 1}"
        )
        .only()
        for index in range(140)
    ]
    for start in (0, 70):
        assert store(house, study[start : start + 70]) == [SUCCESS] * 70
    with ScriptedScp() as scp:
        _destination(house, scp)
        final = _move(house, "DEST", _whole_study(study[0]))[-1]
    assert _counts(final.command) == (140, 0, 0)
    assert [len(request.contexts) for request in scp.requests] == [128, 12]
