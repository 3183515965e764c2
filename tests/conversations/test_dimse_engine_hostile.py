"""Hostile peers on a real socket: the bytes of the attack kit against the engine's simplest driver.

The limits that need a clock (silent and dripping peers) belong to the server's own front and are
tested there.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from lightwell.testing.scp import ScriptedScp
from lightwell.testing.scu import VERIFICATION, Scu
from lightwell.wire.dimse.pdu import AssociateRQ, encode
from lightwell.wire.dimse.proposal import propose_service

SHARED = Path(
    os.environ.get("LIGHTWELL_SHARED", Path(__file__).resolve().parents[2].parent / "shared")
)
KIT = SHARED / "kit" / "dimse_raw.py"


def attack(name: str, port: int, *options: object) -> dict[str, object]:
    """Run one attack of the kit to its end; what it saw."""
    if not KIT.is_file():
        pytest.skip(f"the attack kit is not at {KIT}")
    command = [sys.executable, str(KIT), name, "127.0.0.1", str(port), *map(str, options)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    seen = json.loads(result.stdout)
    assert isinstance(seen, dict)
    return seen


def assert_still_answers(scp: ScriptedScp) -> None:
    with Scu("127.0.0.1", scp.port, propose_service(VERIFICATION), timeout=5) as scu:
        assert scu.echo() == 0


def test_128_contexts_of_200_syntaxes_are_aborted() -> None:
    with ScriptedScp() as scp:
        seen = attack("contexts", scp.port, "--n", 128, "--ts", 200)
        assert seen["answer"] == "A-ABORT"
        assert_still_answers(scp)
    assert "more than 64 transfer syntaxes" in scp.endings[0]


def test_a_4_gib_request_is_cut_at_once() -> None:
    with ScriptedScp() as scp:
        seen = attack("pdulen", scp.port, "--mib", 64)
        assert int(str(seen["mib_accepted"])) < 16, "what socket buffers hold, not what we read"
        assert_still_answers(scp)
    assert "4294967295 bytes, at most 1048576 are taken" in scp.endings[0]


def test_garbage_harms_nobody() -> None:
    with ScriptedScp() as scp:
        seen = attack("garbage", scp.port, "--n", 300, "--seed", 7)
        assert_still_answers(scp)
    answers = seen["answers"]
    assert isinstance(answers, dict)
    assert sum(answers.values()) == 300
    assert answers.get("no answer", 0) == 0
    assert answers["A-ABORT"] > 30


def test_a_4_gib_pdu_after_a_valid_association_is_cut_at_once() -> None:
    with ScriptedScp() as scp:
        with socket.create_connection(("127.0.0.1", scp.port), 5) as attacker:
            attacker.sendall(encode(AssociateRQ("PACS", "CT1", propose_service(VERIFICATION))))
            assert attacker.recv(4096)[0] == 2
            attacker.sendall(struct.pack(">BxL", 4, 0xFFFFFFFF))
            assert attacker.recv(10) == b"\7\0\0\0\0\4\0\0\2\6"
            assert attacker.recv(1) == b""
        assert_still_answers(scp)


@pytest.mark.parametrize(
    "hello",
    [
        b"GET /dicomweb/studies HTTP/1.1\r\nHost: pacs\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
        b"MSH|^~\\&|HIS|KH|RIS|KH|20260101||ADT^A01|1|P|2.5\r",
    ],
    ids=["http", "tls", "hl7"],
)
def test_other_protocols_are_shown_out(hello: bytes) -> None:
    with ScriptedScp() as scp:
        with socket.create_connection(("127.0.0.1", scp.port), 5) as lost:
            lost.sendall(hello)
            assert lost.recv(10)[:1] in (b"\7", b"")
    assert "unrecognized PDU type" in scp.endings[0]
