"""PDUs as bytes: round trips, a second opinion, and every way to lie about a length."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_RQ

from lightwell.wire.dimse import items
from lightwell.wire.dimse.items import (
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    RoleSelection,
    UserIdentity,
    UserInformation,
)
from lightwell.wire.dimse.pdu import (
    PDU,
    Abort,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    ContextAnswer,
    Limits,
    PDUError,
    PresentationContext,
    ReleaseRP,
    ReleaseRQ,
    decode,
    encode,
)

LIMITS = Limits()

uids = st.integers(1, 2**64).map("1.2.840.{}".format)
ae_titles = st.text(st.characters(min_codepoint=48, max_codepoint=90), max_size=16)
octets = st.integers(0, 255)
short_bytes = st.binary(max_size=64)

user_information = st.builds(
    UserInformation,
    max_length=st.integers(0, 2**32 - 1),
    implementation_class_uid=uids,
    implementation_version_name=ae_titles,
    async_operations=st.none() | st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
    roles=st.lists(st.builds(RoleSelection, uids, st.booleans(), st.booleans()), max_size=4).map(
        tuple
    ),
    extended=st.lists(st.builds(ExtendedNegotiation, uids, short_bytes), max_size=4).map(tuple),
    common_extended=st.lists(
        st.builds(CommonExtendedNegotiation, uids, uids, st.lists(uids, max_size=3).map(tuple)),
        max_size=3,
    ).map(tuple),
    user_identity=st.none()
    | st.builds(UserIdentity, octets, st.booleans(), short_bytes, short_bytes),
    user_identity_response=st.none() | short_bytes,
)


@st.composite
def requests(draw: st.DrawFn) -> AssociateRQ:
    ids = draw(st.lists(st.integers(0, 127), min_size=1, max_size=8, unique=True))
    contexts = tuple(
        PresentationContext(
            2 * number + 1, draw(uids), tuple(draw(st.lists(uids, min_size=1, max_size=5)))
        )
        for number in ids
    )
    return AssociateRQ(
        draw(ae_titles), draw(ae_titles), contexts, draw(user_information), draw(uids)
    )


@st.composite
def answers(draw: st.DrawFn) -> AssociateAC:
    results = draw(st.lists(st.tuples(octets, st.integers(0, 4), uids), max_size=8))
    contexts = tuple(
        ContextAnswer(number, result, "" if result else syntax)
        for number, result, syntax in results
    )
    return AssociateAC(draw(ae_titles), draw(ae_titles), contexts, draw(user_information))


pdu_values = st.one_of(
    requests(),
    answers(),
    st.builds(AssociateRJ, octets, octets, octets),
    st.just(ReleaseRQ()),
    st.just(ReleaseRP()),
    st.builds(Abort, octets, octets),
)


def parse(raw: bytes, limits: Limits = LIMITS) -> PDU:
    kind, length = struct.unpack_from(">BxL", raw)
    assert length == len(raw) - 6
    return decode(kind, raw[6:], limits)


@settings(deadline=None)
@given(pdu_values)
def test_what_is_encoded_is_decoded(value: PDU) -> None:
    assert parse(encode(value)) == value


@settings(deadline=None)
@given(requests().filter(lambda request: request.called_ae and request.calling_ae))
def test_pynetdicom_reads_our_request_alike(request: AssociateRQ) -> None:
    theirs = A_ASSOCIATE_RQ()
    theirs.decode(encode(request))
    assert [context.context_id for context in theirs.presentation_context] == [
        context.context_id for context in request.contexts
    ]
    assert [
        (str(context.abstract_syntax), tuple(str(name) for name in context.transfer_syntax))
        for context in theirs.presentation_context
    ] == [(context.abstract_syntax, context.transfer_syntaxes) for context in request.contexts]
    said, heard = request.user_information, theirs.user_information
    assert heard is not None
    assert heard.maximum_length == said.max_length
    assert str(heard.implementation_class_uid) == said.implementation_class_uid
    # Of several for one class pynetdicom keeps the last.
    assert {
        str(uid): (bool(role.scu_role), bool(role.scp_role))
        for uid, role in heard.role_selection.items()
    } == {role.SOPClassUID: (role.scu, role.scp) for role in said.roles}


def small_request() -> AssociateRQ:
    contexts = (PresentationContext(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),)
    return AssociateRQ("PACS", "CT1", contexts, UserInformation(16384, "1.2", "V1"))


def test_the_bytes_of_a_small_request() -> None:
    assert encode(small_request()) == bytes.fromhex(
        "0100 000000a8"
        "0001 0000"
        "50414353202020202020202020202020"
        "43543120202020202020202020202020" + "00" * 32 + "10000015"
        "312e322e3834302e31303030382e332e312e312e31"
        "2000002e 01000000"
        "30000011 312e322e3834302e31303030382e312e31"
        "40000011 312e322e3834302e31303030382e312e32"
        "50000015 51000004 00004000 52000003 312e32 55000002 5631"
    )


def test_a_request_cut_anywhere_is_refused() -> None:
    body = encode(small_request())[6:]
    boundaries = 0
    for size in range(len(body)):
        try:
            cut = decode(1, body[:size], LIMITS)
        except PDUError:
            continue
        assert isinstance(cut, AssociateRQ)
        assert cut.user_information.max_length == 0, "only whole items may be missing"
        boundaries += 1
    assert boundaries == 1, "after the presentation context and before the user information"


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 255))
def test_any_bytes_give_a_pdu_or_a_pdu_error(body: bytes, kind: int) -> None:
    reason = None
    try:
        decode(kind, body, LIMITS)
    except PDUError as error:
        reason = error.reason
    assert reason in (None, 1, 6)
    assert (reason == 1) is (kind not in (1, 2, 3, 5, 6, 7))


def proposal(context_id: int, syntaxes: int = 1) -> PresentationContext:
    return PresentationContext(context_id, "1.2.3", ("1.2.840.10008.1.2",) * syntaxes)


def refused(request: AssociateRQ, limits: Limits = LIMITS) -> str:
    with pytest.raises(PDUError) as caught:
        parse(encode(request), limits)
    return str(caught.value)


def test_128_contexts_of_64_syntaxes_are_the_most() -> None:
    most = AssociateRQ("A", "B", tuple(proposal(2 * n + 1, 64) for n in range(128)))
    assert parse(encode(most)) == most
    one_more = AssociateRQ("A", "B", (proposal(1, 65),))
    assert "more than 64 transfer syntaxes" in refused(one_more)
    three = AssociateRQ("A", "B", (proposal(1), proposal(3), proposal(5)))
    assert "more than 2 presentation contexts" in refused(three, Limits(contexts=2))
    assert parse(encode(three), Limits(contexts=3)) == three


@pytest.mark.parametrize(
    ("contexts", "message"),
    [
        ((proposal(2),), "is not odd"),
        ((proposal(1), proposal(1)), "proposed twice"),
        ((), "no presentation context"),
        ((proposal(1, 0),), "one abstract and some transfer"),
        ((PresentationContext(1, "", ("1.2",)),), "a UID is empty"),
        ((PresentationContext(1, "1.2;DROP", ("1.2",)),), "other characters"),
        ((PresentationContext(1, "1." * 70, ("1.2",)),), "too long"),
    ],
)
def test_contexts_that_cannot_be(contexts: tuple[PresentationContext, ...], message: str) -> None:
    assert message in refused(AssociateRQ("A", "B", contexts))


def test_unknown_items_are_skipped_but_not_without_end() -> None:
    request = small_request()
    body = encode(request)[6:]
    assert decode(1, body + items.item(0x7E, b"later edition"), LIMITS) == request
    with pytest.raises(PDUError, match="more than 4096 items"):
        decode(1, body + items.item(0x7E, b"") * 4096, LIMITS)


def test_padding_of_uids_and_titles_is_no_part_of_them() -> None:
    assert items.uid(b"1.2.3\0") == "1.2.3"
    raw = encode(small_request()).replace(b"PACS   ", b" PACS\0 ")
    request = parse(raw)
    assert isinstance(request, AssociateRQ)
    assert request.called_ae == "PACS"


def test_values_no_pdu_can_carry_are_our_error() -> None:
    with pytest.raises(ValueError, match="longer than 16"):
        encode(AssociateRQ("A" * 17, "B", (proposal(1),)))
    with pytest.raises(ValueError, match="16-bit length"):
        items.item(0x50, bytes(65536))


def test_a_user_identity_does_not_print_its_secrets() -> None:
    information = UserInformation(user_identity=UserIdentity(2, True, b"meier", b"hunter2"))
    assert "meier" not in repr(information)
    assert "hunter2" not in repr(information)


@pytest.mark.parametrize("kind", [3, 5, 6, 7])
@pytest.mark.parametrize("size", [0, 3, 5])
def test_the_short_pdus_have_four_bytes(kind: int, size: int) -> None:
    with pytest.raises(PDUError, match="where 4 are expected"):
        decode(kind, bytes(size), LIMITS)


def test_the_answer_of_a_refused_context_may_hold_anything() -> None:
    raw = encode(AssociateAC("A", "B", (ContextAnswer(1, 3, "1.2.840.10008.1.2"),)))
    decoded = parse(raw)
    assert isinstance(decoded, AssociateAC)
    assert decoded.contexts == (ContextAnswer(1, 3),)
    with pytest.raises(PDUError, match="does not name one transfer syntax"):
        parse(encode(AssociateAC("A", "B", (ContextAnswer(1, 0, ""),))))


def test_sub_items_that_contradict_their_lengths() -> None:
    for raw in (
        items.item(0x51, b"\0\0\0"),
        items.item(0x53, b"\0"),
        items.item(0x54, b"\0\x09" + b"1.2"),
        items.item(0x54, b"\0\x03" + b"1.2" + b"\1"),
        items.item(0x56, b"\0"),
        items.item(0x57, b"\0\x031.2\0\x031.3\0\x09\0\x031.4"),
        items.item(0x58, b"\1"),
        items.item(0x58, b"\1\0\0\x05ab"),
        items.item(0x55, "Zürich".encode("latin-1")),
    ):
        with pytest.raises(PDUError):
            items.decode_user_information(raw)


def test_d27_a_user_identity_is_one_and_nothing_beside_its_fields() -> None:
    """Two of them would leave open who is meant; what is behind the second field would be read by nobody."""
    one = items.encode_user_information(
        UserInformation(user_identity=UserIdentity(2, True, b"a", b"b"))
    )
    sub_item = one[one.rindex(b"\x58\x00") :]
    assert items.decode_user_information(one).user_identity == UserIdentity(2, True, b"a", b"b")
    with pytest.raises(PDUError, match="given twice"):
        items.decode_user_information(one + sub_item)
    body = sub_item[4:] + b"c"
    with pytest.raises(PDUError, match="more than its two fields"):
        items.decode_user_information(items.item(0x58, body))
    for cut in range(len(sub_item) - 4):
        with pytest.raises(PDUError):
            items.decode_user_information(items.item(0x58, sub_item[4 : 4 + cut]))
