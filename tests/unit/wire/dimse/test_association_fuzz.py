"""The engine against every way to cut a stream, and against mutated streams."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from lightwell.wire.dimse import commands
from lightwell.wire.dimse.association import Association, Role
from lightwell.wire.dimse.events import (
    Aborted,
    AssociateRequested,
    CommandReceived,
    DataFragment,
    Event,
    ProtocolError,
    ReleaseRequested,
)
from lightwell.wire.dimse.framing import frame_command, frame_data
from lightwell.wire.dimse.items import RoleSelection, UserIdentity, UserInformation
from lightwell.wire.dimse.negotiation import Policy, negotiate
from lightwell.wire.dimse.pdu import (
    AssociateRQ,
    PresentationContext,
    ReleaseRQ,
    encode,
)
from lightwell.wire.dimse.states import State

CT, VERIFICATION = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.1"
POLICY = Policy(services=frozenset({VERIFICATION}))

REQUEST = AssociateRQ(
    "PACS",
    "CT1",
    (
        PresentationContext(1, VERIFICATION, ("1.2.840.10008.1.2",)),
        PresentationContext(3, CT, ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")),
    ),
    UserInformation(
        roles=(RoleSelection(CT, True, True),),
        user_identity=UserIdentity(2, True, b"user", b"pass"),
        async_operations=(0, 0),
    ),
)
DATA = bytes(range(256)) * 3


def message(
    context_id: int, command: commands.Command, data: bytes = b"", size: int = 100
) -> bytes:
    framed = frame_command(context_id, command.encode(), size)
    if command.has_data_set:
        framed += b"".join(b"".join(batch) for batch in frame_data(context_id, [data], size))
    return framed


STREAM = b"".join(
    (
        encode(REQUEST),
        message(1, commands.c_echo_rq(1)),
        message(3, commands.c_store_rq(2, CT, "1.2.3.4"), DATA),
        message(3, commands.c_store_rq(3, CT, "1.2.3.5"), b""),
        message(3, commands.c_store_rq(4, CT, "1.2.3.6"), DATA[:201], size=4096),
        message(1, commands.c_cancel_rq(4)),
        encode(ReleaseRQ()),
    )
)

Told = list[tuple[object, ...]]


def note(events: list[Event], told: Told) -> None:
    """Write *events* down so that the cuts of data fragments leave no trace."""
    for event in events:
        if not isinstance(event, DataFragment):
            told.append((event,))
            continue
        if told and told[-1][0] == "data" and not told[-1][3]:
            _kind, context_id, before, _last = told.pop()
            assert context_id == event.context_id
        else:
            before = b""
        assert isinstance(before, bytes)
        told.append(("data", event.context_id, before + bytes(event.view), event.last))


def converse(pieces: list[bytes]) -> tuple[Told, bytes, State]:
    """Feed *pieces* to an acceptor that accepts and confirms; what it told, sent, and became."""
    acceptor, sent = Association(Role.ACCEPTOR), b""
    told: Told = []
    for piece in pieces:
        events = acceptor.receive_data(piece)
        note(events, told)
        for event in events:
            if acceptor.state is State.Sta3 and isinstance(event, AssociateRequested):
                answer = negotiate(event.request, POLICY)
                acceptor.accept(answer.contexts, roles=answer.roles)
            elif acceptor.state is State.Sta8 and isinstance(event, ReleaseRequested):
                acceptor.confirm_release()
        sent += acceptor.data_to_send()
    return told, sent, acceptor.state


# The peer waits for our answer to its request before it goes on: no cut of the stream joins them.
FIRST, REST = STREAM[: len(encode(REQUEST))], STREAM[len(encode(REQUEST)) :]
WHOLE = converse([FIRST, REST])


def test_the_whole_stream_tells_the_whole_story() -> None:
    told, sent, state = WHOLE
    assert [entry[0] if entry[0] == "data" else type(entry[0]) for entry in told] == [
        AssociateRequested,
        CommandReceived,
        *(CommandReceived, "data") * 3,
        CommandReceived,
        ReleaseRequested,
    ]
    data = [entry[1:] for entry in told if entry[0] == "data"]
    assert data == [(3, DATA, True), (3, b"", True), (3, DATA[:201], True)]
    assert sent[0] == 2
    assert sent[-10] == 6
    assert state is State.Sta13


def test_byte_by_byte_tells_the_same() -> None:
    assert converse([bytes((byte,)) for byte in STREAM]) == WHOLE


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(1, len(STREAM) - 1), max_size=40))
def test_any_cut_tells_the_same(cuts: set[int]) -> None:
    points = sorted({0, len(FIRST), len(STREAM), *cuts})
    pieces = [STREAM[start:stop] for start, stop in pairwise(points)]
    assert converse(pieces) == WHOLE


def mutate(stream: bytes, dice: random.Random) -> bytes:
    """Flip, cut, repeat or insert: what broken networks and hostile peers do."""
    mutant = bytearray(stream)
    for _ in range(dice.randrange(1, 12)):
        place = dice.randrange(len(mutant))
        match dice.randrange(5):
            case 0 | 1 | 2:
                mutant[place] = dice.choice((0, 1, 0x7F, 0xFF, dice.randrange(256)))
            case 3:
                del mutant[place : place + dice.randrange(1, 40)]
            case _:
                mutant[place:place] = dice.randbytes(dice.randrange(1, 40))
        if not mutant:
            return b"\0"
    return bytes(mutant)


def test_2000_mutated_streams_end_in_an_abort_or_in_nothing_worse() -> None:
    """Seeded, so a failure names its number. Whatever comes, the engine never raises."""
    endings = {"violation": 0, "aborted": 0, "still going": 0}
    for number in range(2000):
        dice = random.Random(number)
        early = dice.random() < 0.4
        pieces = [mutate(FIRST, dice), REST] if early else [FIRST, mutate(REST, dice)]
        told, sent, state = converse(pieces)
        kinds = {type(entry[0]) for entry in told}
        if ProtocolError in kinds:
            endings["violation"] += 1
            assert type(told[-1][0]) is ProtocolError, number
            assert state is State.Sta13, number
            assert sent[-10] == 7, f"{number}: the last word is A-ABORT"
        elif Aborted in kinds:
            endings["aborted"] += 1
        else:
            endings["still going"] += 1
    assert endings["violation"] > 1000, endings


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["Sta2", "Sta5", "Sta6", "Sta7", "Sta13"]))
def test_any_bytes_in_any_state(raw: bytes, start: str) -> None:
    association = in_state(start)
    events = association.receive_data(raw)
    for event in events:
        if isinstance(event, ProtocolError):
            assert association.data_to_send()[-10] == 7
    assert association.state.name in ("Sta1", "Sta3", "Sta8", "Sta12", "Sta13", start)


def in_state(name: str) -> Association:
    if name == "Sta5":
        requestor = Association(Role.REQUESTOR)
        requestor.request(REQUEST)
        requestor.data_to_send()
        return requestor
    acceptor = Association(Role.ACCEPTOR)
    if name == "Sta2":
        return acceptor
    acceptor.receive_data(FIRST)
    if name == "Sta13":
        acceptor.reject()
    else:
        acceptor.accept(negotiate(REQUEST, POLICY).contexts)
        if name == "Sta7":
            acceptor.release()
    acceptor.data_to_send()
    assert acceptor.state.name == name
    return acceptor
