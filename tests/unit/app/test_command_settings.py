"""What a command beside the server takes from the environment, as the server does."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightwell.app.commands.options import settings_from
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
