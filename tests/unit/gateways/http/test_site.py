"""The web app's files: which, in which coding, with which headers."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightwell.gateways.http.site import CONTENT_SECURITY_POLICY, Reply, Site, load


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<html>page</html>")
    (tmp_path / "assets" / "app-1a2b.js").write_text("code " * 100)
    (tmp_path / "assets" / "app-1a2b.js.br").write_bytes(b"brotli")
    (tmp_path / "assets" / "app-1a2b.js.gz").write_bytes(b"gzip")
    (tmp_path / "assets" / "codec.wasm").write_bytes(b"\0asm")
    return Site(load(tmp_path))


def get(site: Site, path: str, **headers: str) -> Reply:
    reply = site.reply(path, {key.replace("_", "-"): value for key, value in headers.items()})
    assert reply is not None
    return reply


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/viewer/1.2.840.10008.5", "/studies", "/viewer/2.25.1/x"]
)
def test_deep_links_get_the_page(site: Site, path: str) -> None:
    reply = get(site, path)
    headers = dict(reply.headers)
    assert (reply.status, reply.body) == (200, b"<html>page</html>")
    assert headers[b"content-type"] == b"text/html; charset=utf-8"
    assert headers[b"cache-control"] == b"no-cache"
    assert headers[b"content-security-policy"] == CONTENT_SECURITY_POLICY.encode()


@pytest.mark.parametrize(
    "path",
    [
        "/assets/app-old.js",
        "/assets/",
        "/favicon.ico",
        "/../etc/passwd.txt",
        "/robots.txt",
        "/.env",
    ],
)
def test_what_is_missing_is_missing(site: Site, path: str) -> None:
    assert site.reply(path, {}) is None


def test_assets_are_kept_for_ever_and_compressed(site: Site) -> None:
    plain = get(site, "/assets/app-1a2b.js")
    assert dict(plain.headers)[b"cache-control"] == b"public, max-age=31536000, immutable"
    assert b"content-encoding" not in dict(plain.headers)
    brotli = get(site, "/assets/app-1a2b.js", accept_encoding="gzip, deflate, br")
    assert (dict(brotli.headers)[b"content-encoding"], brotli.body) == (b"br", b"brotli")
    gzip = get(site, "/assets/app-1a2b.js", accept_encoding="gzip, br;q=0")
    assert (dict(gzip.headers)[b"content-encoding"], gzip.body) == (b"gzip", b"gzip")
    tags = {dict(reply.headers)[b"etag"] for reply in (plain, brotli, gzip)}
    assert len(tags) == 3
    assert dict(get(site, "/assets/codec.wasm").headers)[b"content-type"] == b"application/wasm"


def test_not_modified_and_head(site: Site) -> None:
    tag = dict(get(site, "/").headers)[b"etag"].decode()
    again = get(site, "/", if_none_match=f'"x", {tag}')
    assert (again.status, again.body) == (304, b"")
    assert dict(again.headers)[b"content-security-policy"]
    head = site.reply("/", {}, head=True)
    assert head is not None
    assert head.body == b""
    assert dict(head.headers)[b"content-length"] == b"17"


def test_no_web_app_is_no_error(tmp_path: Path) -> None:
    assert Site(load(tmp_path / "absent")).reply("/", {}) is None
