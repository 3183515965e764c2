"""The S3 backend against a real server that is slow, gone, lying or full (S04), through a proxy."""

from __future__ import annotations

import secrets
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from lightwell.backends.blobs import open_store, s3
from lightwell.backends.blobs.s3 import MEMORY_BYTES, PART_BYTES, BucketStore, Capabilities
from lightwell.backends.blobs.s3_settings import S3Settings
from lightwell.domain.archive.ports import (
    BlobExists,
    BlobMissing,
    FreeSpace,
    StoreBroken,
    StoreFull,
    StoreUnavailable,
)
from lightwell.kernel.errors import Invalid
from lightwell.testing.s3_proxy import Proxy
from lightwell.testing.seaweed import SeaweedFS, require_seaweed

KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
ANSWER_WITHIN = 6.0  # the deadline of 5 s and a busy machine


@pytest.fixture(scope="module")
def seaweed() -> Iterator[SeaweedFS]:
    require_seaweed()
    with SeaweedFS.running() as server:
        yield server


@pytest.fixture
def proxy(seaweed: SeaweedFS) -> Iterator[Proxy]:
    made = Proxy(seaweed.ports["s3"])
    yield made
    made.close()


def settings(seaweed: SeaweedFS, port: int | None = None) -> S3Settings:
    endpoint = f"http://127.0.0.1:{port}" if port else None
    url = seaweed.store_url(prefix=secrets.token_hex(8), endpoint=endpoint)
    return S3Settings.parse(url, seaweed.environment())


@pytest.fixture
def store(seaweed: SeaweedFS, proxy: Proxy, tmp_path: Path) -> BucketStore:
    return BucketStore(settings(seaweed, proxy.port), tmp_path / "staging")


def test_examine_finds_a_full_server(store: BucketStore) -> None:
    assert store.examine() == Capabilities(checksum=True, conditional_create=True)
    assert list(store.list("")) == []


def test_one_temporary_failure_is_not_noticed(store: BucketStore, proxy: Proxy) -> None:
    for mode in ("503", "500", "429", "cut"):
        key = f"a/{secrets.token_hex(8)}"
        store.put(key, b"x" * 2000)
        proxy.misbehave(mode, times=1)
        assert store.read(key) == b"x" * 2000, mode
        proxy.misbehave(mode, times=1)
        assert store.length(key) == 2000, mode


def test_an_answer_that_was_lost_does_not_turn_a_stored_object_into_a_conflict(
    store: BucketStore, proxy: Proxy
) -> None:
    proxy.misbehave("lose", times=1)
    store.put("a/b", b"mine")
    assert store.read("a/b") == b"mine"
    proxy.misbehave("lose", times=1)
    with pytest.raises(BlobExists):
        store.put("a/b", b"another's")
    assert store.read("a/b") == b"mine"


@pytest.mark.parametrize("mode", ["503", "lose", "cut"])
@pytest.mark.parametrize(
    "about",
    [b"HEAD ", b"?uploads", b"partNumber=2", b"POST "],
    ids=["head", "begin", "part", "end"],
)
def test_a_large_upload_survives_each_of_its_requests_failing_once(
    store: BucketStore, proxy: Proxy, mode: str, about: bytes
) -> None:
    data = secrets.token_bytes(PART_BYTES + 12345)
    sink = store.begin("a/big")
    sink.write(data)
    proxy.misbehave(mode, times=1, about=about)
    sink.seal()
    assert store.read("a/big") == data


@pytest.mark.parametrize("mode", ["503", "hang"])
def test_s04_a_store_that_fails_is_unavailable_within_the_deadline_then_at_once(
    store: BucketStore, proxy: Proxy, mode: str
) -> None:
    store.put("a/b", b"1")
    proxy.misbehave(mode)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        store.read("a/b")
    assert time.monotonic() - began < ANSWER_WITHIN
    while not store.breaker.is_open:
        with pytest.raises(StoreUnavailable):
            store.length("a/b")
    asked = proxy.requests
    with pytest.raises(StoreUnavailable, match="left alone"):
        store.put("a/c", b"1")
    assert proxy.requests == asked, "at once: nobody was asked"
    proxy.misbehave("pass")
    deadline = time.monotonic() + 30
    while True:  # comes back by itself
        try:
            assert store.read("a/b") == b"1"
            break
        except StoreUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("mode", ["400", "403", "405", "501"])
def test_a_permanent_refusal_is_told_at_once(store: BucketStore, proxy: Proxy, mode: str) -> None:
    store.put("a/b", b"1")
    proxy.misbehave(mode)
    asked = proxy.requests
    with pytest.raises(StoreBroken):
        store.read("a/b")
    with pytest.raises(StoreBroken):
        store.put("a/c", b"1")
    assert proxy.requests == asked + 2
    assert not store.breaker.is_open


def test_a_full_server_is_full(store: BucketStore, proxy: Proxy) -> None:
    proxy.misbehave("507")
    with pytest.raises(StoreFull):
        store.put("a/b", b"1")
    proxy.misbehave("pass")
    with pytest.raises(BlobMissing):
        store.read("a/b")


def test_a_short_answer_is_never_taken_for_the_object(store: BucketStore, proxy: Proxy) -> None:
    store.put("a/b", b"x" * 100_000)
    proxy.misbehave("cut")
    with pytest.raises(StoreUnavailable):
        store.read("a/b")
    target = bytearray(100_000)
    with pytest.raises(StoreUnavailable):
        store.read_into("a/b", 0, memoryview(target))


@pytest.mark.parametrize("kind", ["kill", "pause"])
def test_the_server_itself_dies_or_stops_and_comes_back(tmp_path: Path, kind: str) -> None:
    require_seaweed()
    server = SeaweedFS(tmp_path / "server")
    server.start()
    try:
        store = BucketStore(settings(server), tmp_path / "staging")
        bodies = {f"a/{n}": secrets.token_bytes(5000 + n) for n in range(20)}
        for key, body in bodies.items():
            store.put(key, body)
        sink = store.begin("a/late")
        sink.write(b"y" * (MEMORY_BYTES + 1))
        if kind == "kill":
            server.kill()
        else:
            signal_to(server, signal.SIGSTOP)
            wait_until_stopped(server.pid)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.read("a/0")
        assert time.monotonic() - began < ANSWER_WITHIN
        if kind == "kill":
            server.start()
        else:
            signal_to(server, signal.SIGCONT)
        deadline = time.monotonic() + 30
        while store.breaker.is_open and time.monotonic() < deadline:
            time.sleep(0.05)
        for key, body in bodies.items():  # what was acknowledged outlives the kill
            assert store.read(key) == body
            store.confirm(key, len(body))
        sink.seal()
        assert store.length("a/late") == MEMORY_BYTES + 1
    finally:
        server.kill()


def wait_until_stopped(pid: int) -> None:
    """The signal is on its way when `kill` returns: a thread may still be answering."""
    threads = Path("/proc", str(pid), "task")
    deadline = time.monotonic() + 10
    while any(
        (task / "stat").read_text().rpartition(")")[2].split()[0] != "T"
        for task in threads.iterdir()
    ):
        assert time.monotonic() < deadline, "the server does not stop"
        time.sleep(0.01)


def signal_to(server: SeaweedFS, number: signal.Signals) -> None:
    import os

    os.kill(server.pid, number)


def test_wrong_credentials_are_named_at_the_start(seaweed: SeaweedFS, tmp_path: Path) -> None:
    wrong = {**seaweed.environment(), "AWS_SECRET_ACCESS_KEY": "WRONGSECRET"}
    with pytest.raises(StoreBroken, match="credentials") as refusal:
        open_store(seaweed.store_url(), tmp_path, environment=wrong)
    assert "WRONGSECRET" not in str(refusal.value)


def test_credentials_that_may_only_read_are_refused_at_the_start(
    seaweed: SeaweedFS, tmp_path: Path
) -> None:
    with pytest.raises(StoreBroken, match="AccessDenied"):
        open_store(seaweed.store_url(), tmp_path, environment=seaweed.environment(read_only=True))


def test_a_server_that_does_not_answer_is_unavailable_at_the_start(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"s3://bucket?endpoint=http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(StoreUnavailable):
            open_store(url, tmp_path, environment=KEYS)


def test_without_credentials_nothing_is_asked_of_anybody(tmp_path: Path) -> None:
    """The client would otherwise turn to the cloud's metadata service."""
    with pytest.raises(Invalid, match="AWS_ACCESS_KEY_ID"):
        open_store("s3://bucket?endpoint=http://127.0.0.1:1", tmp_path, environment={})


def test_without_conditional_creation_keys_are_looked_up(
    seaweed: SeaweedFS, tmp_path: Path
) -> None:
    store = BucketStore(settings(seaweed), tmp_path)
    store._use(Capabilities(checksum=False, conditional_create=False))
    store.put("a/b", b"1")
    with pytest.raises(BlobExists):
        store.put("a/b", b"2")
    assert store.read("a/b") == b"1"


def test_a_killed_process_leaves_nothing_in_staging(seaweed: SeaweedFS, tmp_path: Path) -> None:
    """The staging file has no name from the first byte, so even signal 9 leaves nothing."""
    staging = tmp_path / "staging"
    store = BucketStore(settings(seaweed), staging)
    sink = store.begin("a/b")
    sink.write(b"x" * (3 * MEMORY_BYTES))
    sink.patch(MEMORY_BYTES * 2, b"patched")
    assert list(staging.iterdir()) == []
    assert store.sweep(0) == 0
    (staging / "object-left").write_bytes(b"between two calls")
    assert store.sweep(3600) == 0
    assert store.sweep(0) == 1
    sink.seal()
    assert store.read("a/b", MEMORY_BYTES * 2, 7) == b"patched"


def test_a_private_authority_is_trusted_when_named_and_only_then(
    seaweed: SeaweedFS, tmp_path: Path
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    proxy = Proxy(seaweed.ports["s3"], tls=context)
    url = f"s3://{seaweed.bucket}?endpoint=https://localhost:{proxy.port}"
    try:
        with pytest.raises(StoreBroken, match="certificate"):
            open_store(url, tmp_path, environment=seaweed.environment())
        trusting = f"{url}&ca={tmp_path / 'ca.pem'}"
        store = open_store(trusting, tmp_path, environment=seaweed.environment())
        store.put("tls/b", b"1")
        assert store.read("tls/b") == b"1"
        store.delete("tls/b")
    finally:
        proxy.close()


def test_a_full_staging_volume_is_full(
    seaweed: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BucketStore(settings(seaweed), tmp_path)
    monkeypatch.setattr(s3, "volume_space", lambda folder: FreeSpace(1000, 10))
    with pytest.raises(StoreFull):
        store.begin("a/b")
    monkeypatch.setattr(s3, "volume_space", lambda folder: FreeSpace(1000, 900))
    store.put("a/b", b"1")


def test_a_prefix_keeps_two_archives_in_one_bucket_apart(
    seaweed: SeaweedFS, tmp_path: Path
) -> None:
    one, two = (BucketStore(settings(seaweed), tmp_path) for _ in range(2))
    one.put("a/b", b"1")
    with pytest.raises(BlobMissing):
        two.read("a/b")
    assert list(two.list("")) == []
    assert [info.key for info in one.list("")] == ["a/b"]
