"""At which web site a request is made: what a passkey is bound to, and what a page that reads is told."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from lightwell.domain.people.ports import Site
from lightwell.gateways.console.sign_in import site_of, site_read

NAMED = Site("https://pacs.test", "pacs.test")


def asked(host: str, origin: str | None, scheme: str = "https") -> Request:
    headers = [(b"host", host.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    return Request({"type": "http", "scheme": scheme, "path": "/", "headers": headers})


@pytest.mark.parametrize(
    ("host", "origin", "bound", "read"),
    [
        ("pacs.test", "https://pacs.test", NAMED, NAMED),
        # A browser names no origin when it reads from its own site: good for what can be done, for no proof.
        ("pacs.test", None, None, NAMED),
        # Whoever names another site than the one asked is believed in nothing.
        ("pacs.test", "https://evil.test", None, None),
        ("pacs.test", "null", None, None),
        ("pacs.test", "", None, None),
        ("pacs.test:8443", "https://pacs.test", None, None),
        # An address has no passkeys (WebAuthn 5.1.3).
        ("127.0.0.1:8042", "https://127.0.0.1:8042", None, None),
        ("127.0.0.1:8042", None, None, None),
        ("[::1]:8042", None, None, None),
        ("[nonsense", None, None, None),
        ("[nonsense", "https://[nonsense", None, None),
        ("", None, None, None),
    ],
)
def test_a_site_is_named_by_the_browser(
    host: str, origin: str | None, bound: Site | None, read: Site | None
) -> None:
    request = asked(host, origin)
    assert site_of(request) == bound
    assert site_read(request) == read


def test_this_machine_by_its_name_has_passkeys_without_tls() -> None:
    request = asked("localhost:8042", None, scheme="http")
    assert site_read(request) == Site("http://localhost:8042", "localhost")
