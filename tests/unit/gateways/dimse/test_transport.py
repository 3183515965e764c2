"""Waits that end, sends that are whole, on socket pairs."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.gateways.dimse.transport import PeerSilent, Transport, TransportFailed, without


@pytest.fixture
def pair() -> Iterator[tuple[Transport, socket.socket]]:
    ours, theirs = socket.socketpair()
    transport = Transport(ours)
    yield transport, theirs
    transport.close()
    theirs.close()


def _soon(seconds: float = 0.05) -> float:
    return time.monotonic() + seconds


def test_silence_ends_at_the_deadline(pair: tuple[Transport, socket.socket]) -> None:
    transport, _ = pair
    started = time.monotonic()
    with pytest.raises(PeerSilent):
        transport.receive_into(bytearray(10), _soon())
    assert time.monotonic() - started > 0.04
    assert transport.waited > 0.04


def test_what_is_there_is_received_without_waiting(pair: tuple[Transport, socket.socket]) -> None:
    transport, theirs = pair
    theirs.sendall(b"abc")
    assert transport.readable()
    buffer = bytearray(10)
    assert transport.receive_into(buffer, 0.0) == 3
    assert buffer[:3] == b"abc"
    assert not transport.readable()
    assert transport.waited == 0


def test_a_closed_peer_is_an_end_not_an_error(pair: tuple[Transport, socket.socket]) -> None:
    transport, theirs = pair
    theirs.close()
    assert transport.receive_into(bytearray(10), _soon()) == 0


def test_shutting_from_another_thread_wakes_a_wait(pair: tuple[Transport, socket.socket]) -> None:
    transport, _ = pair
    threading.Timer(0.05, transport.shut).start()
    assert transport.receive_into(bytearray(10), _soon(5)) == 0


def test_a_tick_can_end_a_wait(pair: tuple[Transport, socket.socket]) -> None:
    transport, _ = pair

    def stop() -> None:
        raise KeyError

    transport.on_tick = stop
    with pytest.raises(KeyError):
        transport.receive_into(bytearray(10), _soon(5))


def test_more_than_the_kernel_takes_at_once_is_sent_whole(
    pair: tuple[Transport, socket.socket],
) -> None:
    transport, theirs = pair
    pieces = [bytes([index]) * 300_000 for index in range(10)]
    received = bytearray()
    moved: list[int] = []

    def drain() -> None:
        while len(received) < 3_000_000:
            received.extend(theirs.recv(65536))

    reader = threading.Thread(target=drain)
    reader.start()
    transport.send(list(pieces), 5.0, moved.append)
    reader.join(10)
    assert bytes(received) == b"".join(pieces)
    assert sum(moved) == 3_000_000


def test_a_peer_that_takes_nothing_is_left(pair: tuple[Transport, socket.socket]) -> None:
    transport, _ = pair
    with pytest.raises(PeerSilent):
        transport.send([bytes(10_000_000)], 0.05, lambda _: None)


def test_sending_to_nobody_fails(pair: tuple[Transport, socket.socket]) -> None:
    transport, theirs = pair
    theirs.close()
    with pytest.raises(TransportFailed):
        transport.send([bytes(10)], 1.0, lambda _: None)


def test_the_last_word_arrives_before_the_end(pair: tuple[Transport, socket.socket]) -> None:
    transport, theirs = pair
    theirs.sendall(bytes(1000))  # unread: a plain close would reset
    transport.send([b"goodbye"], 1.0, lambda _: None)
    closing = threading.Thread(target=transport.close_after_last_word)
    closing.start()
    assert theirs.recv(100) == b"goodbye"
    assert theirs.recv(100) == b""
    theirs.close()
    closing.join(5)
    assert not closing.is_alive()


@given(st.lists(st.binary(max_size=5)), st.data())
def test_what_is_left_after_a_part_was_sent(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(pieces)
    sent = data.draw(st.integers(0, len(whole)))
    assert b"".join(without(list(pieces), sent)) == whole[sent:]
