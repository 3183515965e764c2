"""Who gets an association, and what hostile or broken peers get instead (reliability 4.1)."""

from __future__ import annotations

import os
import random
import resource
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from lightwell.domain.peers.model import PeerType
from lightwell.gateways.dimse.limits import DimseLimits
from lightwell.gateways.dimse.server import tls_context
from lightwell.testing.channel import ChannelError
from lightwell.testing.dimse_house import (
    HOSPITAL,
    LOOPBACK,
    NEIGHBOUR,
    DimseHouse,
    MakeHouse,
)
from lightwell.testing.scu import VERIFICATION, Rejected, Scu
from lightwell.wire.dimse import pdu as pdus
from lightwell.wire.dimse.pdu import AssociateRJ, AssociateRQ, PresentationContext, Rejection
from lightwell.wire.dimse.proposal import propose_service
from lightwell.wire.dimse.status import NOT_AUTHORIZED
from lightwell.wire.dimse.syntaxes import EXPLICIT_LE, IMPLICIT_LE

ECHO = propose_service(VERIFICATION)
CT = "1.2.840.10008.5.1.4.1.1.2"


LONG = 60.0  # seconds: for what must come to pass, however slow the machine


def _scu(house: DimseHouse, calling: str = "LW_SENDER", **more: Any) -> Scu:
    return Scu(LOOPBACK, house.port, ECHO, calling_ae=calling, timeout=10.0, **more)


def _echo(house: DimseHouse, calling: str = "LW_SENDER", **more: Any) -> int:
    with _scu(house, calling, **more) as scu:
        return scu.echo()


def _connect(house: DimseHouse) -> socket.socket:
    return socket.create_connection((LOOPBACK, house.port), 5)


def _request(called: str = "LIGHTWELL", calling: str = "LW_SENDER") -> bytes:
    return pdus.encode(AssociateRQ(called, calling, ECHO))


def _until_closed(connection: socket.socket, within: float) -> bytes:
    """Everything the server still says until it closes; fails when it has not within the time."""
    connection.settimeout(within)
    said = bytearray()
    try:
        while piece := connection.recv(4096):
            said += piece
    except ConnectionResetError:
        pass
    except TimeoutError:
        pytest.fail(f"not closed within {within} s")
    return bytes(said)


def _wait_until(true: Callable[[], bool], seconds: float = LONG) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def _resident() -> int:
    """Resident memory of this process, in which the server runs, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# ---- who may come in ------------------------------------------------------------------------------


def test_echo_is_answered_and_recorded(house: DimseHouse) -> None:
    assert _echo(house) == 0
    assert house.server.tally.echoes == 1
    assert any(record.action == "peers:peer:echo" for record in house.audit())


@pytest.mark.parametrize(
    ("called", "calling", "rejection"),
    [
        ("WRONG", "LW_SENDER", Rejection.CALLED_AE_NOT_RECOGNIZED),
        ("LIGHTWELL", "NOBODY", Rejection.CALLING_AE_NOT_RECOGNIZED),
        ("lightwell", "LW_SENDER", Rejection.CALLED_AE_NOT_RECOGNIZED),
        ("OTHER", "LW_SENDER", Rejection.CALLING_AE_NOT_RECOGNIZED),
    ],
)
def test_d06_strangers_are_rejected(
    house: DimseHouse, called: str, calling: str, rejection: AssociateRJ
) -> None:
    with pytest.raises(Rejected) as caught:
        _scu(house, calling, called_ae=called)
    assert caught.value.rejection == rejection
    assert house.server.tally.rejected == 1


def test_d06_a_stranger_is_recorded_with_its_address(house: DimseHouse) -> None:
    with pytest.raises(Rejected):
        _scu(house, "NOBODY")
    record = house.audit()[-1]
    assert (record.actor, record.origin, record.outcome) == ("peer:NOBODY", LOOPBACK, "refused")


def test_d06_the_wrong_application_context(house: DimseHouse) -> None:
    request = AssociateRQ("LIGHTWELL", "LW_SENDER", ECHO, application_context="1.2.840.1")
    with _connect(house) as connection:
        connection.sendall(pdus.encode(request))
        assert connection.recv(64) == pdus.encode(Rejection.APPLICATION_CONTEXT_NOT_SUPPORTED)


def test_d07_the_right_title_from_another_address(house: DimseHouse) -> None:
    with pytest.raises(Rejected) as caught:
        _scu(house, source_address=("127.0.0.2", 0))
    assert caught.value.rejection == Rejection.CALLING_AE_NOT_RECOGNIZED
    assert house.audit()[-1].origin == "127.0.0.2"


def test_d06_a_suspended_tenant_says_later_and_ends_what_is_under_way(house: DimseHouse) -> None:
    directory = house.rooming.directory
    assert directory is not None
    house.add_peer("LW_THEIRS", tenant=NEIGHBOUR)
    with _scu(house, "LW_THEIRS", called_ae="OTHER") as scu:
        assert scu.echo() == 0
        house.run(directory.suspend(NEIGHBOUR, "the contract has ended"))
        assert scu.echo() == NOT_AUTHORIZED
    for calling in ("LW_THEIRS", "NOBODY"):
        with pytest.raises(Rejected) as caught:
            _scu(house, calling, called_ae="OTHER")
        assert caught.value.rejection == Rejection.TEMPORARY_CONGESTION
    assert house.audit(NEIGHBOUR)[-1].outcome == "refused"
    assert _echo(house) == 0
    house.run(directory.suspend(NEIGHBOUR, None))
    assert _echo(house, "LW_THEIRS", called_ae="OTHER") == 0


def test_a_change_of_a_peer_acts_on_its_next_association(house: DimseHouse) -> None:
    with _scu(house) as scu:
        house.add_peer("LW_SENDER", revoked=True)
        assert scu.echo() == 0
    with pytest.raises(Rejected):
        _scu(house)


def test_a_tenant_that_cannot_be_looked_up_is_no_permanent_no(
    house: DimseHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def out_of_order(tenant: object, aet: str) -> None:
        from lightwell.kernel.errors import Unavailable

        raise Unavailable("The database does not answer.")

    assert house.rooming.directory is not None
    monkeypatch.setattr(house.rooming.directory, "peer", out_of_order)
    with pytest.raises(Rejected) as caught:
        _scu(house)
    assert caught.value.rejection == Rejection.TEMPORARY_CONGESTION


# ---- slots ----------------------------------------------------------------------------------------


def test_a_peer_has_eight_slots_and_gets_them_back(house: DimseHouse) -> None:
    open_ones = [_scu(house) for _ in range(8)]
    with pytest.raises(Rejected) as caught:
        _scu(house)
    assert caught.value.rejection == Rejection.LOCAL_LIMIT_EXCEEDED
    assert _echo(house, "CT1") == 0  # another peer has slots of its own
    with open_ones.pop():
        pass
    _wait_until(lambda: house.server.tally.active == 7)
    assert _echo(house) == 0
    for scu in open_ones:
        with scu:
            pass


def test_the_tenant_and_the_process_have_limits_too(make_house: MakeHouse) -> None:
    house = make_house(limits=DimseLimits(associations_per_tenant=2, associations=2))
    with _scu(house), _scu(house, "CT1"):
        with pytest.raises(Rejected) as caught:
            _scu(house)
    assert caught.value.rejection == Rejection.LOCAL_LIMIT_EXCEEDED


# ---- hostile bytes --------------------------------------------------------------------------------


def test_d01_a_pdu_of_four_gibibytes_before_an_association(house: DimseHouse) -> None:
    before = _resident()
    with _connect(house) as connection:
        connection.settimeout(5)
        connection.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFFF))
        sent = 0
        with pytest.raises(OSError):  # noqa: PT012 - cut off after an unknown number of pieces
            while sent < 64:
                connection.sendall(bytes(1 << 20))
                sent += 1
    assert sent < 16  # what lies in the kernel's buffers by the time of the reset
    assert _resident() - before < 16 << 20
    assert _echo(house) == 0


def test_d01_a_pdu_of_four_gibibytes_within_an_association(house: DimseHouse) -> None:
    before = _resident()
    with _connect(house) as connection:
        connection.sendall(_request())
        assert connection.recv(1) == b"\x02"
        connection.sendall(struct.pack(">BBL", 4, 0, 0xFFFFFFFF) + bytes(64))
        assert _until_closed(connection, LONG)[-10] == 7  # A-ABORT
    assert _resident() - before < 16 << 20
    assert house.server.tally.protocol_errors == 1


def test_d02_silent_sockets_keep_nobody_out(make_house: MakeHouse) -> None:
    # Their deadline does not come within this test: nobody is served because they have left.
    house = make_house(limits=DimseLimits(waiting_per_source=5, request=600.0))
    silent = [_connect(house) for _ in range(12)]
    for _ in range(3):
        assert _echo(house) == 0
    assert house.server.tally.crowded_out >= 7
    assert house.server.tally.timed_out == 0
    for connection in silent:
        connection.close()
    _wait_until(lambda: house.server.tally.waiting == 0)


def test_d04_a_dripped_request_is_cut_at_its_total_deadline(
    make_house: MakeHouse, hasty: DimseLimits
) -> None:
    house = make_house(limits=hasty)
    before = _descriptors()
    with _connect(house) as connection:
        # Never silent for long: only a deadline for the whole cuts it before its last byte.
        with pytest.raises(OSError):  # noqa: PT012 - cut off at an unknown byte
            for byte in _request():
                connection.sendall(bytes([byte]))
                time.sleep(0.1)
    _wait_until(lambda: house.server.tally.waiting == 0)
    assert house.server.tally.timed_out == 1
    _wait_until(lambda: _descriptors() <= before)


def test_d04_a_dripped_data_set_is_cut_by_the_stall_rule(
    make_house: MakeHouse, hasty: DimseLimits
) -> None:
    house = make_house(limits=hasty)
    with _connect(house) as connection:
        connection.sendall(
            pdus.encode(
                AssociateRQ("LIGHTWELL", "CT1", (PresentationContext(1, CT, (EXPLICIT_LE,)),))
            )
        )
        assert connection.recv(4096)[0] == 2
        connection.sendall(_store_command())
        connection.sendall(struct.pack(">BBLLBB", 4, 0, 100_006, 100_002, 1, 2))
        with pytest.raises(OSError):  # noqa: PT012 - cut off at an unknown byte
            for _ in range(80):
                connection.sendall(b"x" * 10)
                time.sleep(0.1)
    _wait_until(lambda: house.server.tally.active == 0)
    assert house.server.tally.stalled == 1
    assert house.run(house.rooming.archive.totals(house.context)).instances == 0


def _store_command() -> bytes:
    from lightwell.wire.dimse.commands import c_store_rq
    from lightwell.wire.dimse.framing import frame_command

    return frame_command(1, c_store_rq(1, CT, "1.2.3").encode(), 16384)


def test_an_idle_association_is_aborted(make_house: MakeHouse, hasty: DimseLimits) -> None:
    house = make_house(limits=hasty)
    with _connect(house) as connection:
        connection.sendall(_request())
        assert connection.recv(4096)[0] == 2
        assert _until_closed(connection, LONG)[:1] == b"\x07"
    _wait_until(lambda: house.server.tally.timed_out == 1)


def test_a_peer_that_never_closes_is_left_at_artim(
    make_house: MakeHouse, hasty: DimseLimits
) -> None:
    house = make_house(limits=hasty)
    with _connect(house) as connection:
        connection.sendall(_request(calling="NOBODY"))
        assert connection.recv(10)[0] == 3
        assert _until_closed(connection, LONG) == b""


def test_d05_more_syntaxes_than_anybody_needs(house: DimseHouse) -> None:
    contexts = tuple(
        PresentationContext(2 * index + 1, VERIFICATION, (IMPLICIT_LE,) * 200)
        for index in range(128)
    )
    with _connect(house) as connection:
        connection.sendall(pdus.encode(AssociateRQ("LIGHTWELL", "LW_SENDER", contexts)))
        assert connection.recv(1) == b"\x07"  # A-ABORT: more than 64 syntaxes a context
    assert _echo(house) == 0


def test_d05_mutated_requests_harm_nobody(make_house: MakeHouse) -> None:
    house = make_house(limits=DimseLimits(request=5.0, artim=5.0))
    generator = random.Random(7)
    whole = _request(calling="ATTACKER")
    for _ in range(2000):
        mutated = bytearray(whole)
        for _ in range(generator.randrange(1, 12)):
            mutated[generator.randrange(len(mutated))] = generator.randrange(256)
        with _connect(house) as connection:
            connection.sendall(mutated)
            connection.shutdown(socket.SHUT_WR)
            assert _until_closed(connection, LONG)[:1] in (b"", b"\x02", b"\x03", b"\x07")
    assert house.server.tally.broken == 0
    assert _echo(house) == 0


def test_d25_cycles_leave_nothing_behind(house: DimseHouse) -> None:
    def cycle(count: int) -> None:
        for _ in range(count):
            with _connect(house) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for _ in range(count // 5):
            with _connect(house) as connection:
                connection.sendall(_request())
                assert connection.recv(4096)[0] == 2
                connection.sendall(pdus.encode(pdus.Abort(0, 0)))
                _until_closed(connection, LONG)

    def quiet() -> bool:
        tally = house.server.tally
        return tally.waiting == 0 and tally.active == 0

    cycle(200)
    _wait_until(quiet)
    descriptors, threads, memory = _descriptors(), threading.active_count(), _resident()
    cycle(1000)
    _wait_until(quiet)
    _wait_until(lambda: threading.active_count() <= threads)
    assert _descriptors() <= descriptors
    assert _resident() < memory * 1.05 + (4 << 20)
    assert house.server.tally.broken == 0


@pytest.mark.parametrize(
    "first_words",
    [b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n", bytes.fromhex("16030100c8010000c40303") + bytes(194)],
    ids=["http", "tls"],
)
def test_d26_other_protocols_are_shown_out(house: DimseHouse, first_words: bytes) -> None:
    with _connect(house) as connection:
        connection.sendall(first_words)
        _until_closed(connection, LONG)
    assert house.server.tally.timed_out == 0, "told by its words, not by a deadline"
    assert _echo(house) == 0


# ---- TLS ------------------------------------------------------------------------------------------


class _Tls:
    """An authority, the server's context, and clients with certificates of their own."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        server = self.authority.issue_cert(LOOPBACK)
        certificate, key, roots = folder / "cert.pem", folder / "key.pem", folder / "ca.pem"
        server.private_key_pem.write_to_path(str(key))
        for blob in server.cert_chain_pems:
            blob.write_to_path(str(certificate), append=True)
        self.authority.cert_pem.write_to_path(str(roots))
        self.server = tls_context(certificate, key, roots)

    def client(self, name: str) -> tuple[ssl.SSLContext, str]:
        """A client's context and the SHA-256 of its certificate."""
        import hashlib

        issued = self.authority.issue_cert(f"{name}.example")
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        issued.configure_cert(context)
        der = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
        return context, hashlib.sha256(der).hexdigest()


@pytest.fixture
def tls(tmp_path: Path) -> _Tls:
    return _Tls(tmp_path)


def _tls_echo(house: DimseHouse, context: ssl.SSLContext, calling: str = "CT9") -> int:
    with Scu(LOOPBACK, house.tls_port, ECHO, calling_ae=calling, timeout=10.0, tls=context) as scu:
        return scu.echo()


def test_d03_silent_clients_of_the_tls_door_delay_nobody(make_house: MakeHouse, tls: _Tls) -> None:
    house = make_house(tls=tls.server, limits=DimseLimits(request=600.0))
    context, certificate = tls.client("ct9")
    house.add_peer("CT9", PeerType.MODALITY, certificate=certificate)
    silent = [socket.create_connection((LOOPBACK, house.tls_port), 5) for _ in range(3)]
    assert _tls_echo(house, context) == 0
    assert house.server.tally.failed_handshakes == 0, "the silent ones are still there"
    for connection in silent:
        connection.close()
    _wait_until(lambda: house.server.tally.failed_handshakes == 3)


def test_d07_a_certificate_speaks_for_one_peer_only(make_house: MakeHouse, tls: _Tls) -> None:
    house = make_house(tls=tls.server)
    context, certificate = tls.client("ct9")
    other, _ = tls.client("ct8")
    house.add_peer("CT9", PeerType.MODALITY, certificate=certificate)
    assert _tls_echo(house, context) == 0
    with pytest.raises(Rejected):
        _tls_echo(house, other)
    house.add_peer("CT9", PeerType.MODALITY, certificate=certificate, revoked=True)
    with pytest.raises(Rejected):
        _tls_echo(house, context)
    assert [record.outcome for record in house.audit(HOSPITAL)][-2:] == ["refused", "refused"]


def test_the_tls_door_wants_a_certificate(make_house: MakeHouse, tls: _Tls) -> None:
    house = make_house(tls=tls.server)
    context = ssl.create_default_context()
    tls.authority.configure_trust(context)
    with pytest.raises((ChannelError, ssl.SSLError, ConnectionError)):
        _tls_echo(house, context)
    assert house.server.tally.associations == 0


# ---- stopping -------------------------------------------------------------------------------------


def test_stopping_lets_work_finish_and_turns_newcomers_away(house: DimseHouse) -> None:
    with _connect(house) as connection:
        connection.sendall(_request())
        assert connection.recv(4096)[0] == 2
        stopping = threading.Thread(target=lambda: house.run(house.server.stop(20.0)))
        stopping.start()
        _wait_until(lambda: house.server.closing)
        with pytest.raises(Rejected) as caught:
            _scu(house)
        assert caught.value.rejection == Rejection.TEMPORARY_CONGESTION
        assert _until_closed(connection, LONG)[:1] == b"\x07"  # idle: told to come back
        stopping.join(15)
        assert not stopping.is_alive()


def test_stopping_aborts_what_is_left_when_the_grace_is_over(house: DimseHouse) -> None:
    with _connect(house) as connection:
        connection.sendall(
            pdus.encode(
                AssociateRQ("LIGHTWELL", "CT1", (PresentationContext(1, CT, (EXPLICIT_LE,)),))
            )
        )
        assert connection.recv(4096)[0] == 2
        connection.sendall(_store_command())  # and never its data set
        _wait_until(lambda: house.server.tally.active == 1)
        house.run(house.server.stop(0.5))
        assert house.server.tally.stalled == 0, "the end of the grace ended it, not its own silence"
        assert _until_closed(connection, LONG)[:1] == b"\x07"
