"""What the sender takes from a file: the data set as it lies there, and its identity."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pytest

from lightwell.testing.channel import ChannelError
from lightwell.testing.scp import ScriptedScp
from lightwell.testing.sender import Target, Unsendable, find_files, main, read_part10, send
from lightwell.wire.dimse.commands import CommandField
from lightwell.wire.dimse.status import CANNOT_UNDERSTAND, ELEMENTS_DISCARDED, SUCCESS

SC = "1.2.840.10008.5.1.4.1.1.7"
EXPLICIT_LE, IMPLICIT_LE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def a_data_set(uid: str) -> bytes:
    # A group length, and an odd trailing byte in the last value: what a rewriting sender would mend.
    body = element(8, 0x16, b"UI", SC.encode()) + element(8, 0x18, b"UI", uid.encode())
    return element(8, 0, b"UL", struct.pack("<L", len(body))) + body + b"\x10\0\x20\0LO\1\0X"


def a_file(
    path: Path, uid: str, *, named: bool = True, group_length: int | None = None
) -> tuple[Path, bytes]:
    meta = element(2, 1, b"OB", b"")[:6] + b"\0\0" + struct.pack("<L", 2) + b"\0\1"
    if named:
        meta += element(2, 2, b"UI", SC.encode()) + element(2, 3, b"UI", uid.encode())
    meta += element(2, 0x10, b"UI", EXPLICIT_LE.encode())
    length = len(meta) if group_length is None else group_length
    data = a_data_set(uid)
    head = bytes(128) + b"DICM" + element(2, 0, b"UL", struct.pack("<L", length))
    path.write_bytes(head + meta + data)
    return path, data


@pytest.mark.parametrize("group_length", [None, 0, 7, 0xFFFFFFFF])
def test_the_data_set_is_what_lies_behind_group_2(tmp_path: Path, group_length: int | None) -> None:
    path, data = a_file(tmp_path / "a.dcm", "1.2.3", group_length=group_length)
    file = read_part10(path)
    assert (file.sop_class, file.sop_instance, file.transfer_syntax) == (SC, "1.2.3", EXPLICIT_LE)
    assert file.data_set() == data
    assert file.length == len(data)


def test_a_file_that_names_nothing_is_read_further(tmp_path: Path) -> None:
    path, data = a_file(tmp_path / "a.dcm", "1.2.3", named=False)
    file = read_part10(path)
    assert (file.sop_class, file.sop_instance, file.transfer_syntax) == (SC, "1.2.3", EXPLICIT_LE)
    assert file.data_set() == data


def test_a_bare_data_set_is_taken_as_one(tmp_path: Path) -> None:
    path = tmp_path / "bare"
    path.write_bytes(a_data_set("1.2.3"))
    file = read_part10(path)
    assert (file.offset, file.sop_instance, file.transfer_syntax) == (0, "1.2.3", EXPLICIT_LE)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MSH|^~\\&|",
        bytes(128) + b"DICM",
        bytes(128) + b"DICM" + element(2, 0x10, b"UI", b"1.2")[:-1],
        bytes(128) + b"DICM" + b"\2\0\1\0OB\0\0\xff\xff",
        bytes(128) + b"DICM" + b"\2\0\1\0OB\0\0\xff\xff\xff\xff",
    ],
)
def test_what_names_no_instance_is_left_out_with_a_reason(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(Unsendable):
        read_part10(path)
    files, left_out = find_files([tmp_path])
    assert files == []
    assert [name for name, _reason in left_out] == [str(path)]


def test_every_file_is_accounted_for(tmp_path: Path) -> None:
    sent = dict(a_file(tmp_path / f"{n}.dcm", f"1.2.3.{n}") for n in range(20))
    statuses = {"1.2.3.7": CANNOT_UNDERSTAND, "1.2.3.8": ELEMENTS_DISCARDED}
    answers = {
        CommandField.C_STORE_RQ: lambda message: [
            (statuses.get(message.command.AffectedSOPInstanceUID, SUCCESS), b"")
        ]
    }
    log = tmp_path / "acks.jsonl"
    with ScriptedScp(answers=answers) as scp:
        report = send(
            find_files([tmp_path])[0],
            Target("127.0.0.1", scp.port),
            associations=3,
            ack_log=log,
        )
    assert len(report.acknowledged) == 20
    assert len(report.stored) == 19, "a warning is stored too"
    assert report.failed == []
    assert sorted(message.data for message in scp.received) == sorted(sent.values())
    written = [json.loads(line) for line in log.read_text().splitlines()]
    assert {entry["sop_instance"] for entry in written} == {f"1.2.3.{n}" for n in range(20)}
    assert report.summary()["statuses"] == {"0000": 18, "C000": 1, "B006": 1}


@pytest.mark.parametrize("processes", [1, 2])
def test_preloaded_files_are_the_same_files(tmp_path: Path, processes: int) -> None:
    sent = dict(a_file(tmp_path / f"{n}.dcm", f"1.2.3.{n}") for n in range(7))
    with ScriptedScp() as scp:
        report = send(
            find_files([tmp_path])[0],
            Target("127.0.0.1", scp.port),
            associations=2,
            processes=processes,
            preload=True,
        )
    assert sorted(message.data for message in scp.received) == sorted(sent.values())
    assert {answer.sha256 for answer in report.stored} == {
        hashlib.sha256(data).hexdigest() for data in sent.values()
    }
    assert report.seconds > 0
    assert len(scp.requests) == 2


def test_a_peer_that_is_away_fails_every_file(tmp_path: Path) -> None:
    a_file(tmp_path / "a.dcm", "1.2.3")
    with ScriptedScp() as scp:
        port = scp.port
    report = send(find_files([tmp_path])[0], Target("127.0.0.1", port, timeout=2))
    assert report.acknowledged == []
    ((path, reason),) = report.failed
    assert path.endswith("a.dcm")
    assert "no connection" in reason


def test_after_an_abort_the_rest_goes_over_a_new_association(tmp_path: Path) -> None:
    for n in range(5):
        a_file(tmp_path / f"{n}.dcm", f"1.2.3.{n}")

    def answer(message: object) -> list[tuple[int, bytes]]:
        if "1.2.3.2'" in repr(message):
            raise ChannelError("as the script says")
        return [(SUCCESS, b"")]

    with ScriptedScp(answers={CommandField.C_STORE_RQ: answer}) as scp:
        report = send(find_files([tmp_path])[0], Target("127.0.0.1", scp.port, timeout=5))
    assert len(report.stored) == 4
    ((path, reason),) = report.failed
    assert path.endswith("2.dcm")
    assert "closed the connection" in reason
    assert len(scp.requests) == 2


def test_the_command_says_whether_all_were_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_file(tmp_path / "a.dcm", "1.2.3")
    with ScriptedScp() as scp:
        arguments = ["127.0.0.1", str(scp.port), str(tmp_path), "--json", "--aet", "ME"]
        assert main(arguments) == 0
        assert json.loads(capsys.readouterr().out)["stored"] == 1
        (tmp_path / "note.txt").write_text("not an image")
        assert main(arguments) == 1
    assert {request.calling_ae for request in scp.requests} == {"ME"}
