"""A server that listens on every address: what is open, to whom, and how it speaks.

D28, D07; Must show 1 of issue C. Traffic stays on loopback: the machine's addresses are only listened on.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lightwell.domain.peers.model import Peer, PeerType
from lightwell.testing.served import LOOPBACK, Served, free_port, serving, wait_until

PROBES = {"/livez", "/readyz"}


@pytest.fixture(scope="module")
def tls_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def open_server(tls_port: int) -> Iterator[Served]:
    with serving(listen="0.0.0.0", arguments=("--dimse-tls", f"{LOOPBACK}:{tls_port}")) as server:
        yield server


def ask(server: Served, path: str, *, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    trusted = ssl.create_default_context(cafile=server.authority)
    request = urllib.request.Request(f"{server.url}{path}", method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20, context=trusted) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_nothing_answers_without_identity_but_the_probes(open_server: Served) -> None:
    """Every address of the OpenAPI, over TLS that its own authority vouches for."""
    key = {"Authorization": f"Bearer {open_server.keys.bearer()}"}
    status, body = ask(open_server, "/openapi.json", **key)
    assert status == 200
    told = set()
    for template, methods in json.loads(body)["paths"].items():
        path = template.replace("{", "").replace("}", "")
        for method in methods:
            status, said = ask(open_server, path, method=method.upper())
            if template in PROBES:
                assert status in (200, 503), template  # 503: not ready, and so it says
            elif template.endswith("/token"):  # where a program signs in
                assert status == 400, said[:200]
            elif "/sign-" not in template:  # where one signs in, and out
                assert status == 401, (method, template, status, said[:200])
                told.add(said)
    assert len(told) == 1  # the same words everywhere


def test_who_signs_in_is_served(open_server: Served) -> None:
    status, body = ask(
        open_server, "/dicomweb/studies", Authorization=f"Bearer {open_server.keys.bearer()}"
    )
    assert (status, json.loads(body or b"[]")) in ((200, []), (204, []))


def test_no_word_of_http_in_clear(open_server: Served) -> None:
    with socket.create_connection((LOOPBACK, open_server.http_port), 10) as plain:
        plain.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        plain.settimeout(10)
        said = b""
        with contextlib.suppress(ConnectionResetError):
            said = plain.recv(1000)
    assert b"HTTP/" not in said


def shaken(
    port: int,
    authority: Path,
    version: ssl.TLSVersion | tuple[ssl.TLSVersion, ssl.TLSVersion],
    *certificate: Path,
) -> str:
    """The version that was agreed on, of one or from one to another; what was wrong when none was."""
    context = ssl.create_default_context(cafile=authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    lowest, highest = version if isinstance(version, tuple) else (version, version)
    context.minimum_version, context.maximum_version = lowest, highest
    if certificate:
        context.load_cert_chain(*certificate)
    try:
        with (
            socket.create_connection((LOOPBACK, port), 10) as plain,
            context.wrap_socket(
                plain, server_hostname="localhost", do_handshake_on_connect=False
            ) as secure,
        ):
            secure.do_handshake()
            secure.settimeout(10)
            agreed = secure.version() or ""
            secure.sendall(b"\x05")  # with TLS 1.3 a missing certificate is heard of afterwards
            with contextlib.suppress(TimeoutError):
                secure.settimeout(1)
                secure.recv(1)
            return agreed
    except (ssl.SSLError, OSError) as error:
        return f"refused: {error}"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_d28_which_versions_of_tls(open_server: Served) -> None:
    port, authority = open_server.http_port, open_server.authority
    assert shaken(port, authority, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    assert shaken(port, authority, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert shaken(port, authority, ssl.TLSVersion.TLSv1_1).startswith("refused")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_d28_the_dicom_door_takes_certificates_of_its_own_authority_only(
    open_server: Served, tls_port: int, tmp_path: Path
) -> None:
    """1.2 and 1.3, 1.3 where both have it; not 1.1, not without a certificate, not an expired one, not one of
    another authority (PS3.15 B.12)."""
    own, key, _ = issued(open_server, "D28_ONE", tmp_path)
    authority = open_server.authority
    both = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    assert shaken(tls_port, authority, both[0], own, key) == "TLSv1.2"
    assert shaken(tls_port, authority, both[1], own, key) == "TLSv1.3"
    assert shaken(tls_port, authority, both, own, key) == "TLSv1.3"
    assert shaken(tls_port, authority, ssl.TLSVersion.TLSv1_1, own, key).startswith("refused")
    vouching = serialization.load_pem_private_key(
        authority.with_name("authority.pem").read_bytes(), None
    )
    good = signed_by(vouching, authority, tmp_path / "good")
    old = signed_by(vouching, authority, tmp_path / "old", days=-1)
    other = signed_by(ec.generate_private_key(ec.SECP256R1()), authority, tmp_path / "other")
    for version in both:
        assert shaken(tls_port, authority, version, *good) == f"TLSv1.{2 + both.index(version)}"
        assert shaken(tls_port, authority, version).startswith("refused"), "no certificate"
        assert shaken(tls_port, authority, version, *old).startswith("refused"), "expired"
        assert shaken(tls_port, authority, version, *other).startswith("refused"), "another's"


def signed_by(issuer_key: Any, authority: Path, at: Path, *, days: int = 1) -> tuple[Path, Path]:
    """A client certificate in the authority's name that ends in so many days, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, at.name)]))
        .issuer_name(x509.load_pem_x509_certificate(authority.read_bytes()).subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    certificate, private = at.with_suffix(".crt"), at.with_suffix(".key")
    certificate.write_bytes(made.public_bytes(pem))
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return certificate, private


def issued(server: Served, name: str, folder: Path) -> tuple[Path, Path, str]:
    done = server.run("certificate", "issue", name, "--to", str(folder))
    assert done.returncode == 0, done.stderr
    return folder / f"{name}.crt", folder / f"{name}.key", done.stdout.strip()


def echo(port: int, title: str, *tls: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["echoscu", "-v", *map(str, tls), "-aet", title, "-aec", "LIGHTWELL", LOOPBACK, str(port)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_d07_a_device_is_its_certificate(
    open_server: Served, tls_port: int, tmp_path: Path
) -> None:
    """With the right one it is in; with another device's, or none, it is not (D28)."""
    own, key, fingerprint = issued(open_server, "CT_ONE", tmp_path)
    other, other_key, _ = issued(open_server, "CT_TWO", tmp_path)
    assert key.stat().st_mode & 0o077 == 0
    allow = frozenset({"store"})
    peer = Peer("CT_ONE", LOOPBACK, free_port(), PeerType.MODALITY, allow, certificate=fingerprint)
    open_server.register([peer])
    trust = ("--add-cert-file", tmp_path / "authority.crt")
    right = echo(tls_port, "CT_ONE", "--enable-tls", key, own, *trust)
    assert right.returncode == 0, right.stderr
    wrong = echo(tls_port, "CT_ONE", "--enable-tls", other_key, other, *trust)
    assert wrong.returncode != 0
    nobody = echo(tls_port, "CT_ONE", "--anonymous-tls", *trust)
    assert nobody.returncode != 0


def test_the_authority_stays_over_a_restart(open_server: Served) -> None:
    before = open_server.run("certificate", "authority").stdout
    open_server.restart()
    assert open_server.run("certificate", "authority").stdout == before
    assert before == open_server.authority.read_text()
    assert ask(open_server, "/livez")[0] == 200


def listening(root: int) -> set[tuple[str, int]]:
    """(address, port) of every TCP socket that a process or one of its children listens on."""
    family = {root}
    grown = True
    while grown:
        grown = False
        for entry in filter(str.isdecimal, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                stat = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                if int(stat[1]) in family and int(entry) not in family:
                    family.add(int(entry))
                    grown = True
    nodes = set()
    for pid in family:
        with contextlib.suppress(OSError):
            for link in Path("/proc", str(pid), "fd").iterdir():
                with contextlib.suppress(OSError):
                    nodes.add(os.readlink(link))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in nodes:
                address, _, port = words[1].partition(":")
                found.add((address, int(port, 16)))
    return found


def test_what_is_open_and_nothing_else(open_server: Served, tls_port: int) -> None:
    """The web door on every address, DICOM on loopback; the database on no port at all."""
    wanted = {
        ("00000000", open_server.http_port),
        ("0100007F", open_server.dimse_port),
        ("0100007F", tls_port),
    }
    wait_until(open_server.ready, 60, "the server was not ready")
    assert listening(open_server.pid) == wanted


def test_a_proxy_is_no_anonymous_browser(tmp_path: Path) -> None:
    """On loopback with a proxy named, whoever says nothing is nobody; only that proxy's word counts."""
    with serving(arguments=("--proxy", LOOPBACK, "--public-url", "https://pacs.example")) as server:
        for headers in ({}, {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(
                    urllib.request.Request(f"{server.url}/dicomweb/studies", headers=headers),
                    timeout=20,
                )
            with refused.value:
                assert refused.value.code == 401
        assert "https://pacs.example/enrol#" in server.output()


def test_w15_no_page_of_another_site_reads_an_answer(open_server: Served) -> None:
    """Whatever origin asks, near misses too: no Access-Control header, on no kind of address, also where
    the asker has a key, and not on a preflight."""
    key = open_server.keys.bearer()
    ours = open_server.url
    origins = [
        "https://evil.example",
        "null",
        f"{ours}.evil.example",
        ours.replace("https://", "https://evil."),
        ours.replace("https:", "http:"),
        f"{ours}:1",
        ours,
        "https://localhost.evil.example",
        "*",
        "",
    ]
    trusted = ssl.create_default_context(cafile=open_server.authority)
    places = ["/livez", "/", "/dicomweb/studies", "/api/v1/me", "/api/v1/token", "/nothing/here"]
    for place in places:
        for origin in origins:
            for method in ("GET", "POST", "OPTIONS"):
                headers = {"Origin": origin, "Authorization": f"Bearer {key}"}
                if method == "OPTIONS":
                    headers |= {
                        "Access-Control-Request-Method": "POST",
                        "Access-Control-Request-Headers": "authorization",
                    }
                connection = http.client.HTTPSConnection(
                    LOOPBACK, open_server.http_port, timeout=20, context=trusted
                )
                with contextlib.closing(connection):
                    connection.request(method, place, b"" if method == "POST" else None, headers)
                    answer = connection.getresponse()
                    said = {name.lower() for name, _ in answer.getheaders()}
                assert not any(name.startswith("access-control-") for name in said), (place, origin)
