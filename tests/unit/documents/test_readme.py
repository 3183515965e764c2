"""README and guides name what is there: every command, option and picture, and nothing that is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from lightwell.app.main import app

ROOT = Path(__file__).resolve().parents[3]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md")),
    ROOT / "docs" / "operator.md",
    ROOT / "docs" / "security-model.md",
    *sorted((ROOT / "docs" / "operate").glob("*.md")),
    *sorted((ROOT / "docs" / "user").glob("*.md")),
    *sorted((ROOT / "docs" / "conformance").glob("*.md")),
]
PICTURE_LIMIT = 250_000
ROW = re.compile(r"^\| (`lightwell .*?) \|", re.MULTILINE)


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command of the command line, as words."""
    below_it = getattr(command, "commands", None)
    if below_it is None:
        yield words
        return
    for name, below in below_it.items():
        yield from commands(below, (*words, name))


def named_in_readme() -> set[tuple[str, ...]]:
    """The commands of README's table; its rows read like "`lightwell peer add`, `list`"."""
    found = set()
    for row in ROW.findall((ROOT / "README.md").read_text("utf-8")):
        first, *others = re.findall(r"`([^`]+)`", row)
        words = tuple(word for word in first.split()[1:] if word.islower())
        found.add(words)
        found |= {(*words[:-1], other) for other in others}
    return found


def test_the_table_of_commands_is_whole() -> None:
    there = set(commands(typer.main.get_command(app)))
    assert len(there) > 10
    assert named_in_readme() == there


def test_options_of_the_operators_guide_exist() -> None:
    text = (ROOT / "docs" / "operator.md").read_text("utf-8")
    line: Any = typer.main.get_command(app)
    serve = line.commands["serve"]
    options = {flag for option in serve.params for flag in option.opts}
    variables = {str(option.envvar) for option in serve.params if option.envvar}
    table = re.findall(r"^\| (`--.*?) \| (`LIGHTWELL.*?) \|", text, re.MULTILINE)
    assert len(table) > 4
    for flags, names in table:
        assert set(re.findall(r"`(--[a-z-]+)`", flags)) <= options
        assert set(re.findall(r"`(LIGHTWELL_[A-Z_]+)`", names)) <= variables


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs" / "images").iterdir())
    assert pictures
    for picture in pictures:
        assert picture.suffix == ".png"
        assert picture.stat().st_size < PICTURE_LIMIT, picture.name


def test_bench_figures_have_their_place() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert re.search(r"<!-- bench -->\n.+\n<!-- /bench -->", text, re.DOTALL)
