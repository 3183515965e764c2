"""The web app's files, held in memory and served with their security headers.

Owns: which file answers a path, content coding, caching, the content security policy. Refuses: to
touch the disk after the start, so no request can name a file that the build did not make.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "font-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'self'",
        "form-action 'self'",
    )
)
"""The policy the viewer was built against; workers obey the one sent with their own script."""

_SECURITY: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

# Explicit, because `mimetypes` reads tables of the machine it runs on.
_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".mjs": "text/javascript; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".json": "application/json",
        ".map": "application/json",
        ".svg": "image/svg+xml",
        ".png": "image/png",
        ".ico": "image/x-icon",
        ".wasm": "application/wasm",
        ".woff2": "font/woff2",
        ".txt": "text/plain; charset=utf-8",
        ".webmanifest": "application/manifest+json",
    }
)

_FOREVER: Final = b"public, max-age=31536000, immutable"
_ASK: Final = b"no-cache"
_CODINGS: Final = (("br", ".br"), ("gzip", ".gz"))


@dataclass(frozen=True, slots=True)
class File:
    """One file: its bodies by content coding (`identity` always there) and what is said of it."""

    content_type: str
    cache: bytes
    etag: bytes
    bodies: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete response."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def load(folder: Path) -> dict[str, File]:
    """Every file below the folder by its URL path (`/assets/x.js`), with its precompressed twins.

    An empty or absent folder gives an empty dict: the server runs without the web app.
    """
    files: dict[str, File] = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if not path.is_file() or path.suffix in {suffix for _, suffix in _CODINGS}:
            continue
        url = "/" + path.relative_to(folder).as_posix()
        body = path.read_bytes()
        bodies = {"identity": body}
        for coding, suffix in _CODINGS:
            twin = path.with_name(path.name + suffix)
            if twin.is_file():
                bodies[coding] = twin.read_bytes()
        known = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
        files[url] = File(
            content_type=known or "application/octet-stream",
            cache=_FOREVER if url.startswith("/assets/") else _ASK,
            etag=b'"' + hashlib.sha256(body).hexdigest()[:24].encode() + b'"',
            bodies=MappingProxyType(bodies),
        )
    return files


def _coding(file: File, accept_encoding: str) -> str:
    """The smallest coding we have that the client takes; `q=0` is a refusal."""
    taken = set()
    for entry in accept_encoding.lower().split(","):
        name, _, parameter = entry.partition(";")
        if parameter.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            taken.add(name.strip())
    return next((c for c, _ in _CODINGS if c in taken and c in file.bodies), "identity")


class Site:
    """Answers GET and HEAD for the web app."""

    def __init__(self, files: Mapping[str, File]) -> None:
        self._files = files

    def find(self, path: str) -> File | None:
        """The file of a URL path. Deep links are the app's own: they get the page.

        A missing asset is missing: an old chunk name must not be answered with HTML.
        """
        found = self._files.get(path)
        if found is not None or path.startswith("/assets/"):
            return found
        last = path.rpartition("/")[2]
        if "." in last and not last.replace(".", "").isdigit():  # a UID is not a file name
            return None
        return self._files.get("/index.html")

    def reply(self, path: str, headers: Mapping[str, str], *, head: bool = False) -> Reply | None:
        """The response to a request, or None when the site has nothing there.

        `headers`: request headers with lower-case names.
        """
        file = self.find(path)
        if file is None:
            return None
        coding = _coding(file, headers.get("accept-encoding", ""))
        # One ETag a coding: a cache must not mix them (RFC 9110 8.8.3.3).
        etag = file.etag if coding == "identity" else file.etag[:-1] + f'-{coding}"'.encode()
        out = [
            (b"etag", etag),
            (b"cache-control", file.cache),
            (b"vary", b"Accept-Encoding"),
            *_SECURITY,
        ]
        asked = headers.get("if-none-match", "")
        if asked.strip() == "*" or etag.decode() in [e.strip() for e in asked.split(",")]:
            return Reply(304, out, b"")
        body = file.bodies[coding]
        out.append((b"content-type", file.content_type.encode()))
        out.append((b"content-length", str(len(body)).encode()))
        if coding != "identity":
            out.append((b"content-encoding", coding.encode()))
        return Reply(200, out, b"" if head else body)
