"""The engine in real conversations with pynetdicom, in both directions, over loopback."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)

from lightwell.testing.channel import ChannelError, Message
from lightwell.testing.scp import Held, ScriptedScp
from lightwell.testing.scu import (
    STORAGE_COMMITMENT,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
    Rejected,
    Scu,
)
from lightwell.wire.dimse.association import Rejection
from lightwell.wire.dimse.commands import CommandField
from lightwell.wire.dimse.items import (
    IMPLEMENTATION_CLASS_UID,
    ExtendedNegotiation,
    RoleSelection,
    UserIdentity,
)
from lightwell.wire.dimse.negotiation import Policy
from lightwell.wire.dimse.proposal import number, propose_service
from lightwell.wire.dimse.status import CANCEL, CANNOT_UNDERSTAND, PENDING, SUCCESS

CT = "1.2.840.10008.5.1.4.1.1.2"
J2K = "1.2.840.10008.1.2.4.90"
GE_PRIVATE = "1.2.840.113619.4.30"


def encode(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    stream = BytesIO()
    implicit = syntax == ImplicitVRLittleEndian
    dcmwrite(stream, dataset, implicit_vr=implicit, little_endian=True)
    return stream.getvalue()


def a_study(**attributes: str) -> Dataset:
    dataset = Dataset()
    dataset.QueryRetrieveLevel = "STUDY"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def an_image(number_: int, size: int = 300_000) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = CT
    dataset.SOPInstanceUID = f"1.2.826.0.1.3680043.9.9999.{number_}"
    dataset.PatientID = "P1"
    dataset.add_new(0x7FE00010, "OW", hashlib.shake_256(bytes([number_])).digest(size))
    return dataset


def with_meta(image: Dataset) -> Dataset:
    """A copy as pynetdicom wants it: with the file meta information it takes the syntax from."""
    copied = Dataset(image)
    copied.file_meta = FileMetaDataset()
    copied.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    copied.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    copied.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    return copied


# ---- pynetdicom calls us --------------------------------------------------------------------------


@pytest.fixture
def ae() -> AE:
    calling = AE("PYNETDICOM")
    calling.acse_timeout = calling.dimse_timeout = calling.network_timeout = 20
    for sop_class in (VERIFICATION, STUDY_ROOT_FIND, STUDY_ROOT_GET, STORAGE_COMMITMENT):
        calling.add_requested_context(sop_class)
    calling.add_requested_context(CT, [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
    calling.add_requested_context(GE_PRIVATE, [J2K])
    return calling


def associate(ae: AE, scp: ScriptedScp, **options: Any) -> Any:
    association = ae.associate("127.0.0.1", scp.port, ae_title="LIGHTWELL", **options)
    assert association.is_established
    return association


def test_they_echo_and_store(ae: AE) -> None:
    images = [an_image(number_) for number_ in range(3)]
    with ScriptedScp() as scp:
        association = associate(ae, scp)
        assert association.send_c_echo().Status == SUCCESS
        accepted = {
            str(context.abstract_syntax): [str(uid) for uid in context.transfer_syntax]
            for context in association.accepted_contexts
        }
        for image in images:
            assert association.send_c_store(with_meta(image)).Status == SUCCESS
        association.release()
    assert accepted[CT] == [ExplicitVRLittleEndian], "Explicit, though Implicit was asked first"
    assert accepted[GE_PRIVATE] == [J2K]
    assert scp.endings == ["released"]
    assert [message.data for message in scp.received[1:]] == [encode(image) for image in images]


@pytest.mark.parametrize("max_pdu", [4096, 16382, 0])
def test_pdus_of_any_announced_size(ae: AE, max_pdu: int) -> None:
    answers = {
        CommandField.C_FIND_RQ: lambda _message: [
            (PENDING, encode(a_study(PatientComments="x" * 9000))),
            (SUCCESS, b""),
        ]
    }
    with ScriptedScp(answers=answers) as scp:
        association = associate(ae, scp, max_pdu=max_pdu)
        found = list(association.send_c_find(a_study(), STUDY_ROOT_FIND))
        association.release()
    assert [status.Status for status, _dataset in found] == [PENDING, SUCCESS]
    assert found[0][1].PatientComments == "x" * 9000


def test_they_get(ae: AE) -> None:
    images = [an_image(number_, 200_000) for number_ in range(3)]
    held = [
        Held(CT, image.SOPInstanceUID, ExplicitVRLittleEndian, encode(image)) for image in images
    ]
    got = []

    def keep(event: Any) -> int:
        got.append(event.request.DataSet.getvalue())
        return SUCCESS

    with ScriptedScp(objects=held) as scp:
        association = associate(
            ae,
            scp,
            ext_neg=[build_role(CT, scp_role=True, scu_role=True)],
            evt_handlers=[(evt.EVT_C_STORE, keep)],
        )
        *_pending, (last, _none) = association.send_c_get(a_study(), STUDY_ROOT_GET)
        association.release()
    assert last.Status == SUCCESS
    assert last.NumberOfCompletedSuboperations == 3
    assert got == [each.data for each in held]


def test_without_the_scp_role_there_is_nothing_to_get(ae: AE) -> None:
    held = [Held(CT, "1.2.3", ExplicitVRLittleEndian, encode(an_image(1)))]
    with ScriptedScp(objects=held) as scp:
        association = associate(ae, scp)
        ((last, _none),) = association.send_c_get(a_study(), STUDY_ROOT_GET)
        association.release()
    assert last.NumberOfFailedSuboperations == 1


def test_they_ask_for_commitment(ae: AE) -> None:
    with ScriptedScp() as scp:
        association = associate(ae, scp)
        status, _reply = association.send_n_action(
            a_study(), 1, STORAGE_COMMITMENT, "1.2.840.10008.1.20.1.1"
        )
        association.release()
    assert status.Status == SUCCESS
    (asked,) = scp.received
    assert asked.command.ActionTypeID == 1
    assert asked.command.RequestedSOPInstanceUID == "1.2.840.10008.1.20.1.1"


def test_every_negotiation_item_they_can_send(ae: AE) -> None:
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = 8
    window.maximum_number_operations_performed = 0
    identity = UserIdentityNegotiation()
    identity.user_identity_type = 2
    identity.positive_response_requested = True
    identity.primary_field = b"meier"
    identity.secondary_field = b"secret"
    extended = SOPClassExtendedNegotiation()
    extended.sop_class_uid = STUDY_ROOT_FIND
    extended.service_class_application_information = b"\1\1\1\0\0"
    policy = Policy(services=frozenset({STUDY_ROOT_FIND}), extended=lambda _asked: b"\1\0\1\0\0")
    with ScriptedScp(policy=policy) as scp:
        association = associate(
            ae, scp, ext_neg=[window, identity, extended, build_role(CT, True, True)]
        )
        answered = association.acceptor
        assert answered.asynchronous_operations == (1, 1)
        assert answered.sop_class_extended == {STUDY_ROOT_FIND: b"\1\0\1\0\0"}
        assert answered.implementation_class_uid == IMPLEMENTATION_CLASS_UID
        assert answered.maximum_length == 128 << 10
        association.release()
    (asked,) = scp.requests
    assert asked.user_information.user_identity == UserIdentity(2, True, b"meier", b"secret")
    assert asked.user_information.async_operations == (8, 0)


def test_they_are_rejected_and_they_abort(ae: AE) -> None:
    rejections = iter([Rejection.CALLED_AE_NOT_RECOGNIZED, None])
    with ScriptedScp(decide=lambda _request: next(rejections)) as scp:
        association = ae.associate("127.0.0.1", scp.port)
        assert association.is_rejected
        rejected: Any = association.acceptor.primitive
        assert (rejected.result, rejected.result_source, rejected.diagnostic) == (1, 1, 7)
        associate(ae, scp).abort()
    assert sorted(scp.endings) == ["rejected", "the peer aborted: source 0, reason 0"]


# ---- we call pynetdicom ---------------------------------------------------------------------------

Serve = Callable[..., int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a pynetdicom server with handlers; gives its port."""
    servers: list[Any] = []

    def start(*handlers: tuple[Any, Callable[[Any], Any]]) -> int:
        called = AE("PYNETDICOM")
        called.acse_timeout = called.dimse_timeout = called.network_timeout = 20
        for sop_class in (
            *(VERIFICATION, STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE),
            STORAGE_COMMITMENT,
        ):
            called.add_supported_context(sop_class)
        called.add_supported_context(CT, scu_role=True, scp_role=True)
        server: Any = called.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=list(handlers)
        )
        servers.append(server)
        return int(server.socket.getsockname()[1])

    yield start
    for server in servers:
        server.shutdown()


def test_we_echo_and_store(serve: Serve) -> None:
    kept: list[bytes] = []

    def keep(event: Any) -> int:
        kept.append(event.request.DataSet.getvalue())
        return SUCCESS if len(kept) < 3 else CANNOT_UNDERSTAND

    port = serve((evt.EVT_C_STORE, keep))
    contexts = number([(VERIFICATION, (ImplicitVRLittleEndian,)), (CT, (ExplicitVRLittleEndian,))])
    images = [encode(an_image(number_)) for number_ in range(3)]
    with Scu("127.0.0.1", port, contexts, max_pdu=32768) as scu:
        assert scu.echo() == SUCCESS
        answers = [
            scu.store(CT, f"1.2.3.{index}", ExplicitVRLittleEndian, (image[:77], image[77:]))
            for index, image in enumerate(images)
        ]
    assert kept == images
    assert [answer.status for answer in answers] == [SUCCESS, SUCCESS, CANNOT_UNDERSTAND]
    assert [answer.AffectedSOPInstanceUID for answer in answers] == [
        "1.2.3.0",
        "1.2.3.1",
        "1.2.3.2",
    ]


def test_we_find_and_cancel(serve: Serve) -> None:
    def find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        for index in range(1000):
            if event.is_cancelled:
                yield CANCEL, None
                return
            yield PENDING, a_study(StudyInstanceUID=f"1.2.{index}", PatientID="P1")

    port = serve((evt.EVT_C_FIND, find))
    with Scu("127.0.0.1", port, propose_service(STUDY_ROOT_FIND)) as scu:
        seen = []
        for message in scu.find(STUDY_ROOT_FIND, lambda syntax: encode(a_study(), syntax)):
            seen.append(message.command.status)
            if len(seen) == 1:
                scu.cancel()
    assert seen[-1] == CANCEL
    assert 1 < len(seen) <= 1000
    assert set(seen[:-1]) == {PENDING}


def test_we_get(serve: Serve) -> None:
    images = [an_image(number_) for number_ in range(3)]

    def get(_event: Any) -> Iterator[Any]:
        yield len(images)
        for image in images:
            yield PENDING, with_meta(image)

    port = serve((evt.EVT_C_GET, get))
    contexts = number(
        [(STUDY_ROOT_GET, (ImplicitVRLittleEndian,)), (CT, (ExplicitVRLittleEndian,))]
    )
    got: list[Message] = []

    def keep(message: Message) -> int:
        got.append(message)
        return SUCCESS

    roles = (RoleSelection(CT, scu=False, scp=True),)
    with Scu("127.0.0.1", port, contexts, roles=roles) as scu:
        answers = list(scu.get(STUDY_ROOT_GET, lambda syntax: encode(a_study(), syntax), keep))
    assert answers[-1].command.status == SUCCESS
    assert answers[-1].command.NumberOfCompletedSuboperations == 3
    assert [message.data for message in got] == [encode(image) for image in images]


def test_we_move(serve: Serve) -> None:
    stored: list[Message] = []

    def move(event: Any) -> Iterator[Any]:
        if event.move_destination != "THERE":
            yield None, None
            return
        yield "127.0.0.1", destination.port, {"contexts": [build_context(CT)]}
        yield 1
        yield PENDING, with_meta(an_image(1, 1000))

    port = serve((evt.EVT_C_MOVE, move))

    def ask(title: str) -> list[int]:
        with Scu("127.0.0.1", port, propose_service(STUDY_ROOT_MOVE)) as scu:
            answers = scu.move(STUDY_ROOT_MOVE, title, lambda syntax: encode(a_study(), syntax))
            return [message.command.status for message in answers]

    with ScriptedScp() as destination:
        assert ask("NOWHERE") == [0xA801]
        assert ask("THERE") == [PENDING, SUCCESS]
        stored += destination.received
    assert [message.command.CommandField for message in stored] == [CommandField.C_STORE_RQ]
    # pynetdicom names itself there; PS3.7 section 9.3.1.1 means the AE that asked for the move.
    assert stored[0].command.MoveOriginatorApplicationEntityTitle == "PYNETDICOM"
    assert stored[0].command.MoveOriginatorMessageID == 1


def test_we_ask_for_commitment(serve: Serve) -> None:
    def action(_event: Any) -> tuple[int, None]:
        return SUCCESS, None

    port = serve((evt.EVT_N_ACTION, action))
    with Scu("127.0.0.1", port, propose_service(STORAGE_COMMITMENT)) as scu:
        answer = scu.action(
            STORAGE_COMMITMENT, "1.2.840.10008.1.20.1.1", 1, lambda s: encode(a_study(), s)
        )
    assert answer.command.status == SUCCESS
    assert answer.command.ActionTypeID == 1


def test_what_they_answer_to_our_negotiation(serve: Serve) -> None:
    def extended(_event: Any) -> dict[str, bytes]:
        return {STUDY_ROOT_FIND: b"\1\0\0"}

    def identity(event: Any) -> tuple[bool, bytes]:
        return event.primary_field == b"meier", b"ticket"

    port = serve((evt.EVT_SOP_EXTENDED, extended), (evt.EVT_USER_ID, identity))
    asking = {
        "extended": (ExtendedNegotiation(STUDY_ROOT_FIND, b"\1\1\1"),),
        "user_identity": UserIdentity(3, True, b"meier"),
    }
    with Scu("127.0.0.1", port, propose_service(STUDY_ROOT_FIND), **asking) as scu:  # type: ignore[arg-type]
        assert scu.answer.user_information.user_identity_response == b"ticket"
        assert scu.answer.user_information.extended == (
            ExtendedNegotiation(STUDY_ROOT_FIND, b"\1\0\0"),
        )
    asking["user_identity"] = UserIdentity(3, True, b"mueller")
    with pytest.raises(Rejected):
        Scu("127.0.0.1", port, propose_service(STUDY_ROOT_FIND), **asking)  # type: ignore[arg-type]


def test_an_error_on_our_side_aborts(serve: Serve) -> None:
    aborted = threading.Event()
    port = serve((evt.EVT_ABORTED, lambda _event: aborted.set()))
    with pytest.raises(ZeroDivisionError):
        with Scu("127.0.0.1", port, propose_service(VERIFICATION)):
            raise ZeroDivisionError
    assert aborted.wait(10)


def test_nobody_listens_and_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ChannelError, match="receiving failed: timed out"):
            Scu("127.0.0.1", port, propose_service(VERIFICATION), timeout=0.2)
    with pytest.raises(ChannelError, match="no connection"):
        Scu("127.0.0.1", port, propose_service(VERIFICATION), timeout=1)


def test_a_request_shows_both_titles(serve: Serve) -> None:
    seen: list[Any] = []
    port = serve((evt.EVT_REQUESTED, lambda event: seen.append(event.assoc.requestor.primitive)))
    contexts = propose_service(VERIFICATION)
    Scu("127.0.0.1", port, contexts, called_ae="THEM", calling_ae="US").release()
    (primitive,) = seen
    assert (primitive.called_ae_title, primitive.calling_ae_title) == ("THEM", "US")
