"""Command sets: round trips, a second opinion, hostile bytes."""

from __future__ import annotations

from dataclasses import fields
from io import BytesIO
from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.filereader import read_dataset

from lightwell.wire.dimse import commands
from lightwell.wire.dimse.commands import (
    MANDATORY,
    Command,
    CommandError,
    CommandField,
    response,
)

words = st.integers(0, 65535)
tags = st.lists(st.integers(0, 2**32 - 1), max_size=4).map(tuple)
uids = st.integers(1, 2**64).map("1.2.840.{}".format) | st.just("")
texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=16)
_TAG_LISTS = ("OffendingElement", "AttributeIdentifierList")
_TEXTS = ("MoveDestination", "MoveOriginatorApplicationEntityTitle", "ErrorComment")


def _values(name: str) -> st.SearchStrategy[Any]:
    if name == "CommandField":
        return st.sampled_from(CommandField)
    if name == "has_data_set":
        return st.booleans()
    if name in _TAG_LISTS:
        return tags
    if name in _TEXTS:
        return texts
    if name in ("MessageID", "MessageIDBeingRespondedTo", "Status"):
        return words  # needed by some messages, so always there
    return uids if name.endswith("UID") else st.none() | words


any_command = st.fixed_dictionaries(
    {field.name: _values(field.name) for field in fields(Command)}
).map(lambda values: Command(**values))


@settings(deadline=None)
@given(any_command)
def test_what_is_encoded_is_decoded(command: Command) -> None:
    assert Command.decode(command.encode()) == command


@settings(deadline=None)
@given(any_command)
def test_pydicom_reads_the_same_elements(command: Command) -> None:
    raw = command.encode()
    dataset = read_dataset(BytesIO(raw), is_implicit_VR=True, is_little_endian=True)
    assert dataset.CommandField == command.CommandField
    assert dataset.MessageID == command.MessageID
    assert dataset.get("AffectedSOPClassUID", "") == command.AffectedSOPClassUID
    assert dataset.CommandGroupLength == len(raw) - 12
    assert (dataset.CommandDataSetType != 0x0101) == command.has_data_set
    tags_in_order = [element.tag for element in dataset]
    assert tags_in_order == sorted(tags_in_order)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_give_a_command_or_a_command_error(raw: bytes) -> None:
    try:
        decoded = Command.decode(raw)
    except CommandError:
        return
    assert decoded.message_id >= 0


@settings(deadline=None)
@given(any_command, st.data())
def test_mutated_commands_never_escape(command: Command, data: st.DataObject) -> None:
    raw = bytearray(command.encode())
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = Command.decode(raw)
    except CommandError:
        return
    assert not decoded.is_response or decoded.status >= 0


def element(tag: int, value: bytes, group: int = 0) -> bytes:
    return pack("<HHL", group, tag, len(value)) + value


ECHO = commands.c_echo_rq(7).encode()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "no command field"),
        (ECHO[:-1], r"\(0000,0800\) claims 2 bytes, 1 are there"),
        (ECHO + b"\0\0\0", "cut short"),
        (element(0x0010, b"x", group=8), "group 0008"),
        (element(0x0100, pack("<H", 0x4711)), "4711H"),
        (element(0x0100, pack("<L", 0x30)), "has 4 bytes where 2"),
        (element(0x0100, pack("<H", 0x30)), "whether a data set follows"),
        (
            element(0x0100, pack("<H", 0x30)) + element(0x0800, pack("<H", 0x0101)),
            "C_ECHO_RQ has no MessageID",
        ),
        (
            element(0x0100, pack("<H", 0x8030))
            + element(0x0120, pack("<H", 1))
            + element(0x0800, pack("<H", 0x0101)),
            "C_ECHO_RSP has no Status",
        ),
        (element(0x0901, b"abc"), "not a multiple of 4"),
        (element(0x0001, b"") * 300, "more than 256 elements"),
    ],
)
def test_what_a_command_set_may_not_be(raw: bytes, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        Command.decode(raw)


def test_unknown_elements_and_a_wrong_group_length_are_overlooked() -> None:
    raw = element(0x0000, pack("<L", 9999)) + ECHO[12:] + element(0x4000, b"DIALOG")
    assert Command.decode(raw) == commands.c_echo_rq(7)


def test_a_bad_uid_reaches_the_gateway_as_it_was_sent() -> None:
    sent = commands.c_store_rq(1, "1.2.840.10008.5.1.4.1.1.2", "../../etc/passwd")
    assert Command.decode(sent.encode()).AffectedSOPInstanceUID == "../../etc/passwd"


def test_the_bytes_of_an_echo() -> None:
    assert (
        bytes.fromhex(
            "00000000 04000000 38000000"
            "00000200 12000000 312e322e3834302e31303030382e312e3100"
            "00000001 02000000 3000"
            "00001001 02000000 0700"
            "00000008 02000000 0101"
        )
        == ECHO
    )


def test_a_response_echoes_what_was_asked() -> None:
    store = commands.c_store_rq(9, "1.2.3", "1.2.3.4")
    answer = response(store, 0xA700, ErrorComment="no space")
    assert answer.CommandField is CommandField.C_STORE_RSP
    assert (answer.message_id, answer.status) == (9, 0xA700)
    assert (answer.AffectedSOPClassUID, answer.AffectedSOPInstanceUID) == ("1.2.3", "1.2.3.4")
    assert not answer.has_data_set
    assert answer.missing() == ()

    action = commands.n_action_rq(3, "1.2.840.10008.1.20.1", "1.2.9", 1, has_data_set=True)
    answer = response(action, 0)
    assert answer.AffectedSOPInstanceUID == "1.2.9"
    assert answer.RequestedSOPInstanceUID == ""
    assert answer.ActionTypeID == 1


@pytest.mark.parametrize("command", [response(commands.c_echo_rq(1), 0), commands.c_cancel_rq(1)])
def test_some_messages_are_not_answered(command: Command) -> None:
    with pytest.raises(CommandError, match="is not answered"):
        response(command, 0)


def test_every_message_knows_its_mandatory_fields() -> None:
    assert set(MANDATORY) == set(CommandField)
    names = {field.name for field in fields(Command)}
    assert all(names.issuperset(mandatory) for mandatory in MANDATORY.values())


def test_missing_fields_are_named() -> None:
    lacking = Command(CommandField=CommandField.C_STORE_RQ, MessageID=1, has_data_set=True)
    assert lacking.missing() == ("AffectedSOPClassUID", "AffectedSOPInstanceUID")
    move = commands.c_move_rq(1, "1.2", "")
    assert move.missing() == ("MoveDestination",)
    no_data = Command(
        CommandField=CommandField.C_STORE_RQ,
        MessageID=1,
        AffectedSOPClassUID="1",
        AffectedSOPInstanceUID="2",
    )
    assert no_data.missing() == ("has_data_set",)


def test_numbers_that_do_not_fit_are_our_error() -> None:
    with pytest.raises(CommandError, match="does not fit"):
        commands.c_echo_rq(65536).encode()


def test_an_error_comment_is_cut_and_kept_printable() -> None:
    answer = response(commands.c_echo_rq(1), 0x0110, ErrorComment="Größe " + "x" * 80)
    decoded = Command.decode(answer.encode())
    assert len(decoded.ErrorComment) == 64
    assert decoded.ErrorComment.startswith("Gr??e xxx")
