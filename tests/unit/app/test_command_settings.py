"""What a command beside the server takes from the environment, as the server does."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightwell.app.commands.options import settings_from
from lightwell.app.settings import checked_public_url
from lightwell.kernel.errors import Invalid


def test_the_grace_of_landed_objects_is_the_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`settle` and `reindex` say when landed objects go: not before the operator's grace."""
    monkeypatch.delenv("LIGHTWELL_LANDED_GRACE", raising=False)
    assert settings_from(tmp_path).landed_grace == 86_400
    monkeypatch.setenv("LIGHTWELL_LANDED_GRACE", "604800")
    assert settings_from(tmp_path).landed_grace == 604_800
    assert settings_from(tmp_path, landed_grace=5.0).landed_grace == 5.0


@pytest.mark.parametrize("text", ["a week", "-1", "nan", "1e12"])
def test_a_grace_that_is_none_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("LIGHTWELL_LANDED_GRACE", text)
    with pytest.raises(Invalid, match="LIGHTWELL_LANDED_GRACE is a number"):
        settings_from(tmp_path)


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("https://pacs.example", "https://pacs.example"),
        ("https://pacs.example:8443/", "https://pacs.example:8443"),
        ("http://localhost:8042", "http://localhost:8042"),
    ],
)
def test_the_address_that_browsers_know(text: str, root: str) -> None:
    assert checked_public_url(text) == root


@pytest.mark.parametrize(
    "text",
    ["pacs.example", "http://pacs.example", "https://pacs.example/x", "https://pacs.example?", "https://a@b",
     "https://pacs.example//", "https://pacs.example#x", "https://", "javascript:1", "https://x\r\ny"],
)  # fmt: skip
def test_an_address_that_nobody_can_be_sent_back_to(text: str) -> None:
    with pytest.raises(Invalid, match="LIGHTWELL_PUBLIC_URL"):
        checked_public_url(text)
