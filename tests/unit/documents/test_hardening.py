"""The hardening list and the security model name commands, options and figures that are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from lightwell.app.main import app
from tests.unit.documents.test_readme import commands

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "docs" / "operate" / "hardening.md", ROOT / "docs" / "security-model.md"]
SERVE = re.compile(r"^--[a-z-]+")


def found(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and what is left of them. Fails when there is none."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    assert not getattr(command, "commands", {}), words
    return command, rest


def options(command: Any) -> set[str]:
    return {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    named = [quoted for quoted in re.findall(r"`([^`]+)`", text) if quoted.startswith("lightwell ")]
    serve, _ = found(["serve"])
    for line in named:
        words = shlex.split(line.partition(">")[0].replace("…", ""))[1:]
        if not words:
            continue
        command, rest = found(words)
        assert {word for word in rest if word.startswith("--")} <= options(command), line
    alone = {m[0] for quoted in re.findall(r"`([^`]+)`", text) if (m := SERVE.match(quoted))}
    known = options(serve) | {
        flag
        for words in commands(typer.main.get_command(app))
        for flag in options(found(list(words))[0])
    }
    assert alone <= known, alone - known


def test_the_list_has_commands_to_run() -> None:
    text = PAGES[0].read_text("utf-8")
    assert text.count("- [ ]") > 30
    assert len(re.findall(r"`lightwell [a-z]", text)) > 12


def test_the_ports_of_the_model_are_those_of_the_operators_guide() -> None:
    model = PAGES[1].read_text("utf-8")
    guide = (ROOT / "docs" / "operator.md").read_text("utf-8")
    for flag, port in re.findall(r"^\| `(--[a-z]+)` (\d+) \|", model, re.MULTILINE):
        assert re.search(rf"\| `{flag}` \| `LIGHTWELL_\w+` \| `127\.0\.0\.1:{port}` \|", guide), (
            flag
        )
