"""What a proxy says counts when it is the proxy who says it."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from lightwell.gateways.http.forwarded import CERTIFICATE, as_forwarded, parse_proxies
from lightwell.kernel.errors import Invalid

PROXIES = parse_proxies("127.0.0.1, 10.1.2.0/28, fd00::/64")


def scope(client: str, *headers: tuple[bytes, bytes], scheme: str = "http") -> dict[str, Any]:
    return {"type": "http", "scheme": scheme, "client": (client, 40000), "headers": [*headers]}


def seen(client: str, *headers: tuple[bytes, bytes]) -> tuple[str, str, list[bytes]]:
    found = as_forwarded(scope(client, *headers), PROXIES)
    return found["scheme"], found["client"][0], [name for name, _ in found["headers"]]


def test_a_named_proxy_is_believed() -> None:
    said = (
        (b"x-forwarded-for", b"192.0.2.7"),
        (b"x-forwarded-proto", b"https"),
        (b"accept", b"*/*"),
    )
    assert seen("127.0.0.1", *said) == ("https", "192.0.2.7", [b"accept"])
    assert seen("10.1.2.15", *said)[:2] == ("https", "192.0.2.7")
    assert seen("::ffff:10.1.2.3", *said)[:2] == ("https", "192.0.2.7")


@pytest.mark.parametrize("client", ["10.1.2.16", "192.0.2.1", "::1", "unix", ""])
def test_nobody_else_is_and_what_they_wrote_is_gone(client: str) -> None:
    said = (
        (b"X-Forwarded-For", b"127.0.0.1"),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Real-IP", b"127.0.0.1"),
        (b"Forwarded", b"for=127.0.0.1;proto=https"),
        (b"host", b"pacs.example"),
    )
    assert seen(client, *said) == ("http", client, [b"host"])


def test_only_the_last_word_is_the_proxy_s_own() -> None:
    """What came with the request stands before it, and in headers before it."""
    said = (
        (b"x-forwarded-for", b"127.0.0.1, 10.9.9.9"),
        (b"x-forwarded-for", b"127.0.0.1, 192.0.2.9"),
        (b"x-forwarded-proto", b"https,http"),
    )
    assert seen("127.0.0.1", *said)[:2] == ("http", "192.0.2.9")


@pytest.mark.parametrize("word", [b"", b"unknown", b"192.0.2.7:1234:9", b"<script>", b"1.2.3"])
def test_who_is_not_named_is_nowhere_and_never_in_the_proxy_s_place(word: bytes) -> None:
    """Else everybody behind it would be on loopback, and one counter of tries would hold them all."""
    assert seen("127.0.0.1", (b"x-forwarded-for", word))[1] == ""
    assert seen("127.0.0.1")[1] == ""
    assert seen("127.0.0.1", (b"x-forwarded-proto", b"ftp"))[0] == "http"


@pytest.mark.parametrize(
    ("word", "address"),
    [
        (b"192.0.2.7:51234", "192.0.2.7"),
        (b"[2001:db8::7]:51234", "2001:db8::7"),
        (b"2001:db8::7", "2001:db8::7"),
        (b"192.0.2.7, 10.1.2.3", "192.0.2.7"),  # the last one is a proxy of ours, too
    ],
)
def test_the_client_stands_before_our_own_proxies(word: bytes, address: str) -> None:
    assert seen("127.0.0.1", (b"x-forwarded-for", word))[1] == address


def test_without_a_client_nobody_is_believed() -> None:
    """A connection over a socket file has no address."""
    bare = {**scope("", (b"x-forwarded-proto", b"https")), "client": None}
    assert as_forwarded(bare, PROXIES)["scheme"] == "http"


@pytest.mark.parametrize("text", ["proxy.example", "10.0.0.0/33", "10.0.0.1/8", "1.2.3.4;5.6.7.8"])
def test_names_and_nonsense_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="names no addresses"):
        parse_proxies(text)


# --- client certificates (RFC 9440) ------------------------------------------------------------------

DER = b"a certificate"
FINGERPRINT = hashlib.sha256(DER).hexdigest()
SAID = b":" + base64.b64encode(DER) + b":"


def certificate(client: str, *values: bytes) -> str | None:
    found = as_forwarded(scope(client, *((b"Client-Cert", value) for value in values)), PROXIES)
    assert found["headers"] == []  # nobody further in can read it there
    return found.get(CERTIFICATE)


def test_a_certificate_counts_when_a_proxy_of_ours_hands_it_on() -> None:
    assert certificate("127.0.0.1", SAID) == FINGERPRINT
    assert certificate("127.0.0.1") is None
    assert certificate("127.0.0.1", b"::") is None  # the client came without one


@pytest.mark.parametrize("client", ["10.1.2.16", "192.0.2.1", "::1", "unix", ""])
def test_from_anybody_else_it_is_nothing(client: str) -> None:
    assert certificate(client, SAID) is None
    assert certificate(client, b"nonsense") is None


@pytest.mark.parametrize(
    "values",
    [
        (b"",),
        (b":",),
        (base64.b64encode(DER),),
        (b":!!:",),
        (b":YQ=:",),
        (FINGERPRINT.encode(),),
        (SAID, SAID),
        (SAID + b", " + SAID,),
        (b":" + b"A" * 40_000 + b":",),
    ],
)
def test_one_that_is_none_or_several_is_nobody(values: tuple[bytes, ...]) -> None:
    assert certificate("127.0.0.1", *values) == ""
