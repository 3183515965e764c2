"""Which addresses ask for what."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightwell.app.settings import Settings, TlsPair, checked, parse_endpoint
from lightwell.kernel.errors import Invalid


def settings(http: str = "127.0.0.1:8042", **given: object) -> Settings:
    return Settings(Path("/data"), parse_endpoint(http), parse_endpoint(":11112"), **given)  # type: ignore[arg-type]


def test_where_any_other_name_is_a_trick() -> None:
    assert settings().unnamed
    assert settings("[::1]:8042").unnamed
    assert not settings("0.0.0.0:8042").unnamed
    assert not settings("10.1.2.3:8042").unnamed
    assert not settings(proxies="127.0.0.1").unnamed  # the world stands behind it
    assert not settings(public_url="https://pacs.example").unnamed  # a name others know it by
    assert settings(public_url="http://localhost:8042").unnamed


def test_where_browsers_find_it() -> None:
    assert settings().web_url == "http://127.0.0.1:8042"
    pair = TlsPair(Path("c"), Path("k"))
    assert settings("10.1.2.3:8443", http_tls=pair).web_url == "https://10.1.2.3:8443"
    assert settings(public_url="https://pacs.example").web_url == "https://pacs.example"


@pytest.mark.parametrize(
    "url", ["https://pacs.example", "https://10.1.2.3:8443", "http://localhost:80"]
)
def test_a_public_address(url: str) -> None:
    assert checked(settings(public_url=url)).public_url == url


@pytest.mark.parametrize(
    "url",
    [
        "pacs.example",
        "http://pacs.example",
        "https://pacs.example/path",
        "https://user:word@pacs.example",
        "https://pacs.example?x=1",
        "https://pacs.example:port",
        "https://",
        "javascript:alert(1)",
    ],
)
def test_what_is_none(url: str) -> None:
    with pytest.raises(Invalid, match="could find this server"):
        checked(settings(public_url=url))


def test_proxies_are_addresses() -> None:
    with pytest.raises(Invalid, match="names no addresses"):
        checked(settings(proxies="proxy.example"))
