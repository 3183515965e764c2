"""The engine in both roles: whole conversations, every refusal, and what it may hold."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Callable

import pytest

from lightwell.testing.pace import slowness
from lightwell.wire.dimse import commands
from lightwell.wire.dimse.association import (
    Association,
    Limits,
    LocalProtocolError,
    Rejection,
    Role,
)
from lightwell.wire.dimse.events import (
    Aborted,
    AssociateAccepted,
    AssociateRefused,
    AssociateRejected,
    AssociateRequested,
    CommandReceived,
    ConnectionLost,
    DataFragment,
    Event,
    ProtocolError,
    Released,
    ReleaseRequested,
)
from lightwell.wire.dimse.framing import IS_COMMAND, IS_LAST, data_header, frame_command
from lightwell.wire.dimse.items import RoleSelection, UserInformation
from lightwell.wire.dimse.negotiation import Policy, negotiate
from lightwell.wire.dimse.pdu import (
    Abort,
    AssociateAC,
    AssociateRQ,
    ContextAnswer,
    PresentationContext,
    ReleaseRP,
    ReleaseRQ,
    decode,
    encode,
)
from lightwell.wire.dimse.states import State

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LE, IMPLICIT_LE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
VERIFICATION = "1.2.840.10008.1.1"
POLICY = Policy(services=frozenset({VERIFICATION}))


def a_request(max_length: int = 16384, **changes: object) -> AssociateRQ:
    contexts = (
        PresentationContext(1, VERIFICATION, (IMPLICIT_LE,)),
        PresentationContext(3, CT, (EXPLICIT_LE,)),
    )
    information = UserInformation(max_length, roles=(RoleSelection(CT, True, True),))
    values: dict[str, object] = {
        "called_ae": "PACS",
        "calling_ae": "CT1",
        "contexts": contexts,
        "user_information": information,
    }
    return AssociateRQ(**(values | changes))  # type: ignore[arg-type]


def accept(acceptor: Association) -> None:
    request = acceptor.request_received
    assert request is not None
    answer = negotiate(request, POLICY)
    acceptor.accept(answer.contexts, roles=answer.roles)


def an_acceptor(**options: object) -> Association:
    """An acceptor in Sta6."""
    acceptor = Association(Role.ACCEPTOR, **options)  # type: ignore[arg-type]
    (event,) = acceptor.receive_data(encode(a_request()))
    assert isinstance(event, AssociateRequested)
    accept(acceptor)
    assert acceptor.data_to_send()
    return acceptor


def a_pair() -> tuple[Association, Association]:
    """A requestor and an acceptor that have agreed."""
    requestor, acceptor = Association(Role.REQUESTOR), Association(Role.ACCEPTOR)
    requestor.request(a_request())
    acceptor.receive_data(requestor.data_to_send())
    accept(acceptor)
    (event,) = requestor.receive_data(acceptor.data_to_send())
    assert isinstance(event, AssociateAccepted)
    return requestor, acceptor


def the_abort(association: Association) -> Abort:
    """The A-ABORT that waits to be sent, alone."""
    raw = association.data_to_send()
    assert len(raw) == 10
    pdu = decode(raw[0], raw[6:], Limits())
    assert isinstance(pdu, Abort)
    return pdu


def the_violation(events: list[Event]) -> ProtocolError:
    assert isinstance(events[-1], ProtocolError), events
    return events[-1]


STORE = commands.c_store_rq(1, CT, "1.2.3.4")


def begin_store(acceptor: Association) -> None:
    events = acceptor.receive_data(frame_command(3, STORE.encode(), 1000))
    assert events == [CommandReceived(3, STORE)]


# ---- conversations --------------------------------------------------------------------------------


def test_a_whole_conversation() -> None:
    requestor, acceptor = a_pair()
    assert requestor.contexts == acceptor.contexts
    assert requestor.contexts[3].requestor_scp
    assert requestor.find_context(CT, EXPLICIT_LE) == requestor.contexts[3]
    assert requestor.find_context(CT, IMPLICIT_LE) is None

    data = bytes(range(256)) * 300
    requestor.send_command(3, STORE)
    raw = b"".join(b"".join(batch) for batch in requestor.send_data(3, [data[:1001], data[1001:]]))
    events = acceptor.receive_data(raw)
    assert events[0] == CommandReceived(3, STORE)
    fragments = [event for event in events[1:] if isinstance(event, DataFragment)]
    assert len(fragments) == len(events) - 1
    assert b"".join(fragment.view for fragment in fragments) == data
    assert [fragment.last for fragment in fragments] == [False] * (len(fragments) - 1) + [True]

    acceptor.send_command(3, commands.response(STORE, 0))
    (answer,) = requestor.receive_data(acceptor.data_to_send())
    assert isinstance(answer, CommandReceived)
    assert answer.command.status == 0

    requestor.release()
    assert acceptor.receive_data(requestor.data_to_send()) == [ReleaseRequested()]
    acceptor.confirm_release()
    assert acceptor.artim_running
    assert not acceptor.wants_close
    assert requestor.receive_data(acceptor.data_to_send()) == [Released()]
    assert requestor.wants_close
    assert acceptor.connection_closed() == []
    assert (requestor.state, acceptor.state) == (State.Sta1, State.Sta1)
    assert not acceptor.artim_running


def test_a_rejected_request() -> None:
    requestor, acceptor = Association(Role.REQUESTOR), Association(Role.ACCEPTOR)
    timer = [acceptor.artim_running]
    requestor.request(a_request())
    acceptor.receive_data(requestor.data_to_send())
    timer.append(acceptor.artim_running)
    acceptor.reject(Rejection.CALLED_AE_NOT_RECOGNIZED)
    timer.append(acceptor.artim_running)
    assert timer == [True, False, True], "from the moment the connection arrives"
    events = requestor.receive_data(acceptor.data_to_send())
    assert events == [AssociateRejected(Rejection.CALLED_AE_NOT_RECOGNIZED)]
    assert requestor.wants_close
    acceptor.artim_expired()
    assert acceptor.wants_close


@pytest.mark.parametrize(
    ("request_", "rejection"),
    [
        (a_request(protocol_version=2), Rejection.PROTOCOL_VERSION_NOT_SUPPORTED),
        (a_request(application_context="1.2.3"), Rejection.APPLICATION_CONTEXT_NOT_SUPPORTED),
    ],
)
def test_requests_no_ae_can_take(request_: AssociateRQ, rejection: object) -> None:
    acceptor = Association(Role.ACCEPTOR)
    events = acceptor.receive_data(encode(request_))
    assert events == [AssociateRefused(request_, rejection)]  # type: ignore[arg-type]
    assert acceptor.data_to_send()[0] == 3
    assert acceptor.state is State.Sta13
    assert acceptor.artim_running


def test_later_protocol_versions_that_still_speak_version_1_are_taken() -> None:
    acceptor = Association(Role.ACCEPTOR)
    (event,) = acceptor.receive_data(encode(a_request(protocol_version=0x8003)))
    assert isinstance(event, AssociateRequested)


@pytest.mark.parametrize("first_to_hear", ["requestor", "acceptor"])
def test_a_release_collision_ends_both_in_order(first_to_hear: str) -> None:
    requestor, acceptor = a_pair()
    requestor.release()
    acceptor.release()
    to_acceptor, to_requestor = requestor.data_to_send(), acceptor.data_to_send()
    if first_to_hear == "requestor":
        assert requestor.receive_data(to_requestor) == []
        assert requestor.state is State.Sta11
        assert acceptor.receive_data(to_acceptor) == []
    else:
        assert acceptor.receive_data(to_acceptor) == []
        assert acceptor.state is State.Sta10
        assert requestor.receive_data(to_requestor) == []
    assert acceptor.receive_data(requestor.data_to_send()) == [Released()]
    assert requestor.receive_data(acceptor.data_to_send()) == [Released()]
    assert requestor.wants_close
    assert acceptor.state is State.Sta13
    assert acceptor.connection_closed() == []


def test_data_may_still_come_after_we_asked_for_release() -> None:
    requestor, acceptor = a_pair()
    requestor.release()
    acceptor.send_command(1, commands.c_echo_rq(1))
    (event,) = requestor.receive_data(acceptor.data_to_send())
    assert isinstance(event, CommandReceived)


def test_a_peers_abort_ends_it() -> None:
    acceptor = an_acceptor()
    more = encode(Abort(2, 1)) + encode(a_request())
    assert acceptor.receive_data(encode(Abort(0, 0)) + more) == [Aborted(0, 0)]
    assert acceptor.wants_close
    assert acceptor.receive_data(encode(ReleaseRQ())) == []
    assert acceptor.connection_closed() == []


def test_our_abort_ends_it_and_what_follows_is_not_read() -> None:
    acceptor = an_acceptor()
    begin_store(acceptor)
    acceptor.abort()
    assert the_abort(acceptor) == Abort(0, 0)
    assert acceptor.artim_running
    assert acceptor.receive_data(data_header(4, 3, IS_LAST) + b"data") == []
    assert acceptor.connection_closed() == []


def test_an_abort_with_nothing_to_abort_only_closes() -> None:
    acceptor = Association(Role.ACCEPTOR)
    acceptor.abort()
    assert acceptor.wants_close
    assert acceptor.data_to_send() == b""
    assert acceptor.receive_data(encode(a_request())) == []


def test_a_peer_that_speaks_before_it_is_asked_is_not_heard() -> None:
    requestor = Association(Role.REQUESTOR)
    assert requestor.receive_data(encode(a_request())) == []
    requestor.request(a_request())
    assert requestor.state is State.Sta5


def test_an_ignored_pdu_in_the_last_wait() -> None:
    """Sta13: AA-6 ignores what is well formed, and still hears the peer's abort (AA-2)."""
    acceptor = Association(Role.ACCEPTOR)
    acceptor.receive_data(encode(a_request()))
    acceptor.reject()
    empty, full = b"\4\0\0\0\0\0", b"\4\0\0\0\0\x03abc"
    assert acceptor.receive_data(empty + full + encode(ReleaseRQ()) + empty) == []
    seen = [(acceptor.state, acceptor.wants_close)]
    assert acceptor.receive_data(encode(Abort(0, 0))) == []
    seen.append((acceptor.state, acceptor.wants_close))
    assert seen == [(State.Sta13, False), (State.Sta1, True)]


def test_a_lost_connection_is_told_only_while_there_was_an_association() -> None:
    assert an_acceptor().connection_closed() == [ConnectionLost()]
    assert Association(Role.ACCEPTOR).connection_closed() == []
    waiting = Association(Role.REQUESTOR)
    waiting.request(a_request())
    assert waiting.connection_closed() == [ConnectionLost()]
    assert waiting.connection_closed() == []


def test_artim_before_the_request() -> None:
    acceptor = Association(Role.ACCEPTOR)
    acceptor.artim_expired()
    assert acceptor.wants_close
    assert acceptor.state is State.Sta1
    running = an_acceptor()
    running.artim_expired()
    assert running.state is State.Sta6, "a late timer changes nothing"


def test_an_empty_data_set_is_one_empty_last_fragment() -> None:
    requestor, acceptor = a_pair()
    requestor.send_command(3, STORE)
    (batch,) = requestor.send_data(3, ())
    events = acceptor.receive_data(b"".join(batch))
    assert [type(event) for event in events] == [CommandReceived, DataFragment]
    last = events[1]
    assert isinstance(last, DataFragment)
    assert (bytes(last.view), last.last) == (b"", True)


def test_several_values_in_one_pdu_and_a_command_in_pieces() -> None:
    acceptor = an_acceptor()
    raw = STORE.encode()
    values = b"".join(
        struct.pack(">LBB", len(piece) + 2, 3, control) + piece
        for control, piece in (
            (IS_COMMAND, raw[:10]),
            (IS_COMMAND, b""),
            (IS_COMMAND, raw[10:]),
            (IS_COMMAND | IS_LAST, b""),
            (0, b"abc"),
            (0, b""),
            (IS_LAST, b"def"),
        )
    )
    events = acceptor.receive_data(struct.pack(">BxL", 4, len(values)) + values)
    assert events[0] == CommandReceived(3, STORE)
    pieces = [(bytes(e.view), e.last) for e in events[1:] if isinstance(e, DataFragment)]
    assert pieces == [(b"abc", False), (b"def", True)]


def test_odd_data_sets_pass() -> None:
    """Real compressed objects have odd fragments without padding; the bytes are not ours to judge."""
    acceptor = an_acceptor()
    begin_store(acceptor)
    (event,) = acceptor.receive_data(data_header(3, 3, IS_LAST) + b"odd")
    assert isinstance(event, DataFragment)
    assert (bytes(event.view), event.last) == (b"odd", True)


# ---- what a peer may not do -----------------------------------------------------------------------


def one_value(context_id: int, control: int, data: bytes) -> bytes:
    return data_header(len(data), context_id, control) + data


VIOLATIONS: list[tuple[str, Callable[[Association], bytes], str, int]] = [
    ("unknown type", lambda _a: b"\x63\0\0\0\0\x04abcd", "unrecognized PDU type 63H", 1),
    ("second request", lambda _a: encode(a_request()), "AssociateRQReceived in Sta6", 2),
    ("accept", lambda _a: encode(AssociateAC("A", "B", ())), "AssociateACReceived in Sta6", 2),
    ("release answer", lambda _a: encode(ReleaseRP()), "ReleaseRPReceived in Sta6", 2),
    ("long release", lambda _a: b"\5\0\0\0\0\x05abcde", "of type 05H and 5 bytes", 6),
    ("empty data", lambda _a: b"\4\0\0\0\0\0", "an empty P-DATA-TF", 6),
    ("long data", lambda _a: b"\4\0" + struct.pack(">L", (128 << 10) + 7), "were announced", 6),
    ("4 GiB data", lambda _a: b"\4\0\xff\xff\xff\xff", "were announced", 6),
    ("value longer than PDU", lambda _a: b"\4\0\0\0\0\x08\0\0\0\x05\1\3ab", "left of its PDU", 6),
    ("value without flags", lambda _a: b"\4\0\0\0\0\x08\0\0\0\x01\1\3ab", "left of its PDU", 6),
    ("short data", lambda _a: b"\4\0\0\0\0\x05", "an empty P-DATA-TF", 6),
    ("no flags, then a value", lambda _a: b"\4\0\0\0\0\x0b\0\0\0\1\1\3", "left of its PDU", 6),
    ("empty release", lambda _a: b"\5\0\0\0\0\0", "of type 05H and 0 bytes", 6),
    ("crumbs behind value", lambda _a: b"\4\0\0\0\0\x0b\0\0\0\x04\1\3ab", "left of its PDU", 6),
    ("refused context", lambda _a: one_value(5, 3, STORE.encode()), "was not accepted", 6),
    ("data without command", lambda _a: one_value(3, 2, b"data"), "where none is due", 5),
    ("mixed commands", lambda _a: one_value(1, 1, b"ab") + one_value(3, 1, b"cd"), "are mixed", 5),
]


@pytest.mark.parametrize(
    ("raw", "message", "reason"),
    [case[1:] for case in VIOLATIONS],
    ids=[case[0] for case in VIOLATIONS],
)
def test_violations_end_in_one_abort(
    raw: Callable[[Association], bytes], message: str, reason: int
) -> None:
    acceptor = an_acceptor()
    error = the_violation(acceptor.receive_data(raw(acceptor)))
    assert message in error.message
    assert the_abort(acceptor) == Abort(2, reason) == Abort(error.source, error.reason)
    assert acceptor.state is State.Sta13
    assert acceptor.artim_running
    assert acceptor.receive_data(encode(a_request()) * 3) == [], "nothing more is read"
    assert acceptor.data_to_send() == b"", "and nothing more is said"


def in_a_store(raw: bytes) -> ProtocolError:
    acceptor = an_acceptor()
    begin_store(acceptor)
    acceptor.receive_data(one_value(3, 0, b"half"))
    return the_violation(acceptor.receive_data(raw))


def test_a_message_may_not_be_interrupted() -> None:
    echo = frame_command(1, commands.c_echo_rq(2).encode(), 1000)
    assert "inside the data set of 3" in in_a_store(echo).message
    assert "context 1 where none is due" in in_a_store(one_value(1, 2, b"data")).message
    assert "release inside a message" in in_a_store(encode(ReleaseRQ())).message
    acceptor = an_acceptor()
    acceptor.receive_data(one_value(3, IS_COMMAND, b"half"))
    error = the_violation(acceptor.receive_data(encode(ReleaseRQ())))
    assert "release inside a message" in error.message


def test_a_bad_command_set_is_the_service_users_abort() -> None:
    acceptor = an_acceptor()
    error = the_violation(acceptor.receive_data(one_value(3, 3, b"not a command set")))
    assert "group 6F6E" in error.message
    assert the_abort(acceptor) == Abort(0, 0)


def test_a_command_set_has_a_limit() -> None:
    acceptor = an_acceptor()
    piece = one_value(3, IS_COMMAND, bytes(60_000))
    assert acceptor.receive_data(piece) == []
    assert "more than 65536 bytes" in the_violation(acceptor.receive_data(piece)).message


@pytest.mark.parametrize("kind", [2, 3, 4, 5, 6, 9])
def test_before_the_request_everything_else_is_a_users_abort(kind: int) -> None:
    """Table 9-10, Sta2: AA-1 names the service user as source."""
    acceptor = Association(Role.ACCEPTOR)
    the_violation(acceptor.receive_data(struct.pack(">BxL", kind, 4) + bytes(4)))
    assert the_abort(acceptor) == Abort(0, 0)


def test_an_abort_before_the_request_just_closes() -> None:
    acceptor = Association(Role.ACCEPTOR)
    assert acceptor.receive_data(encode(Abort(0, 0))) == []
    assert acceptor.wants_close


def test_a_peer_with_tiny_pdus_is_refused() -> None:
    acceptor = Association(Role.ACCEPTOR)
    error = the_violation(acceptor.receive_data(encode(a_request(max_length=20))))
    assert "a maximum length of 20 bytes" in error.message
    requestor = Association(Role.REQUESTOR)
    requestor.request(a_request())
    answer = AssociateAC("A", "B", (), UserInformation(max_length=127))
    assert "127 bytes" in the_violation(requestor.receive_data(encode(answer))).message


def test_answers_nobody_asked_for_give_no_context() -> None:
    requestor = Association(Role.REQUESTOR)
    requestor.request(a_request())
    roles = (RoleSelection(VERIFICATION, True, True), RoleSelection(CT, False, True))
    answer = AssociateAC(
        "A",
        "B",
        (
            ContextAnswer(1, 0, IMPLICIT_LE),
            ContextAnswer(3, 0, IMPLICIT_LE),
            ContextAnswer(99, 0, IMPLICIT_LE),
        ),
        UserInformation(roles=roles),
    )
    (event,) = requestor.receive_data(encode(answer))
    assert isinstance(event, AssociateAccepted)
    assert list(requestor.contexts) == [1], "3 names a syntax we did not offer"
    assert not requestor.contexts[1].requestor_scp, "a role we did not propose"


def test_the_128_kib_limit_is_what_we_announced() -> None:
    acceptor = an_acceptor(max_pdu=4096)
    begin_store(acceptor)
    assert len(acceptor.receive_data(one_value(3, 0, bytes(4090)))) == 1
    the_violation(acceptor.receive_data(one_value(3, 0, bytes(4097))))


def test_a_requestor_holds_the_peer_to_what_it_announced() -> None:
    requestor = Association(Role.REQUESTOR)
    requestor.request(a_request(max_length=4096))
    requestor.receive_data(encode(AssociateAC("A", "B", (ContextAnswer(3, 0, EXPLICIT_LE),))))
    error = the_violation(requestor.receive_data(one_value(3, 0, bytes(4097))))
    assert "4096 were announced" in error.message


def test_a_role_counts_only_if_it_was_granted_too() -> None:
    requestor = Association(Role.REQUESTOR)
    requestor.request(a_request())
    information = UserInformation(roles=(RoleSelection(CT, True, False),))
    answer = AssociateAC("A", "B", (ContextAnswer(3, 0, EXPLICIT_LE),), information)
    requestor.receive_data(encode(answer))
    assert not requestor.contexts[3].requestor_scp
    assert requestor.contexts[3].requestor_scu


# ---- what we may not do ---------------------------------------------------------------------------


def test_misuse_raises_and_changes_nothing() -> None:
    acceptor = Association(Role.ACCEPTOR)
    with pytest.raises(LocalProtocolError):
        acceptor.accept(())
    with pytest.raises(LocalProtocolError):
        acceptor.release()
    with pytest.raises(LocalProtocolError):
        acceptor.confirm_release()
    with pytest.raises(LocalProtocolError):
        acceptor.send_command(1, commands.c_echo_rq(1))
    assert acceptor.state is State.Sta2
    assert acceptor.data_to_send() == b""


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ((ContextAnswer(1, 0, IMPLICIT_LE),), "were proposed"),
        ((ContextAnswer(1, 0, IMPLICIT_LE), ContextAnswer(3, 0, IMPLICIT_LE)), "was not offered"),
        ((ContextAnswer(1, 3), ContextAnswer(3, 3), ContextAnswer(5, 3)), "were proposed"),
    ],
)
def test_our_answers_must_fit_the_question(
    answers: tuple[ContextAnswer, ...], message: str
) -> None:
    acceptor = Association(Role.ACCEPTOR)
    acceptor.receive_data(encode(a_request()))
    with pytest.raises(LocalProtocolError, match=message):
        acceptor.accept(answers)
    assert acceptor.state is State.Sta3


def test_nothing_goes_between_the_pieces_of_a_data_set() -> None:
    requestor, _acceptor = a_pair()
    requestor.send_command(3, STORE)
    batches = requestor.send_data(3, [bytes(5_000_000)])
    next(batches)
    with pytest.raises(LocalProtocolError, match="half sent"):
        requestor.send_command(1, commands.c_echo_rq(2))
    with pytest.raises(LocalProtocolError, match="half sent"):
        requestor.release()
    requestor.abort()
    assert the_abort(requestor) == Abort(0, 0)
    with pytest.raises(LocalProtocolError):
        next(batches)


def test_a_context_that_was_not_accepted_cannot_be_used() -> None:
    requestor, _acceptor = a_pair()
    with pytest.raises(LocalProtocolError, match="context 7"):
        requestor.send_command(7, STORE)
    with pytest.raises(LocalProtocolError, match="context 7"):
        requestor.send_data(7, ())


# ---- what it costs --------------------------------------------------------------------------------


def test_a_4_gib_length_costs_nothing() -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        acceptor = Association(Role.ACCEPTOR)
        error = the_violation(acceptor.receive_data(b"\1\0\xff\xff\xff\xff"))
        assert "at most 1048576 are taken" in error.message
        zeros = bytes(1 << 20)
        for _ in range(64):
            assert acceptor.receive_data(zeros) == []
        grown = tracemalloc.get_traced_memory()[0] - before - len(zeros)
    finally:
        tracemalloc.stop()
    assert grown < 64 << 10
    assert the_abort(acceptor) == Abort(0, 0)


def test_a_data_set_is_never_gathered() -> None:
    acceptor = an_acceptor()
    begin_store(acceptor)
    data = bytes(1 << 16)
    header = data_header(1 << 16, 3, 0)
    acceptor.receive_data(header + data)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2000):  # 125 MiB
            acceptor.receive_data(header)
            (event,) = acceptor.receive_data(data)
            assert isinstance(event, DataFragment)
            assert event.view.obj is data, "a window on the caller's own buffer"
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 16 << 10


def test_the_largest_hostile_request_is_answered_at_once() -> None:
    """D05: 128 contexts with 200 syntaxes each must have an answer in less than a second."""
    contexts = tuple(
        PresentationContext(2 * n + 1, VERIFICATION, (IMPLICIT_LE,) * 200) for n in range(128)
    )
    raw = encode(AssociateRQ("PACS", "ATTACKER", contexts))
    started = time.process_time()
    acceptor = Association(Role.ACCEPTOR)
    error = the_violation(acceptor.receive_data(raw))
    assert time.process_time() - started < 0.5 * slowness()
    assert "more than 64 transfer syntaxes" in error.message


def test_the_largest_allowed_request_is_read_at_once() -> None:
    contexts = tuple(PresentationContext(2 * n + 1, CT, (IMPLICIT_LE,) * 64) for n in range(128))
    raw = encode(AssociateRQ("PACS", "CT1", contexts))
    started = time.process_time()
    acceptor = Association(Role.ACCEPTOR)
    (event,) = acceptor.receive_data(raw)
    assert isinstance(event, AssociateRequested)
    accept(acceptor)
    assert time.process_time() - started < 0.5 * slowness()


def test_a_presentation_data_value_costs_at_most_20_microseconds() -> None:
    """512 kB objects in 16 KiB PDUs, read 64 KiB at a time, as a socket gives them."""
    requestor, acceptor = a_pair()
    requestor.peer_max_pdu = 16384
    requestor.send_command(3, STORE)
    data = bytes(512 << 10)
    raw = b"".join(b"".join(batch) for batch in requestor.send_data(3, [data]))
    reads = [memoryview(raw)[start : start + 65536] for start in range(0, len(raw), 65536)]
    values = len(data) // 16378 + 2
    costs = []
    for _ in range(20):
        started = time.process_time()
        for read in reads:
            acceptor.receive_data(read)
        costs.append((time.process_time() - started) / values)
    assert min(costs) < 20e-6 * slowness()
