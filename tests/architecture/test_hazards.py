"""Every hazard in docs/safety/hazards.md names a control and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "safety" / "hazards.md"


def hazards() -> list[list[str]]:
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\| H\d+ \|", line)]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_every_hazard_has_a_control_and_a_test_that_exists() -> None:
    rows = hazards()
    assert len(rows) >= 12
    missing = []
    for number, hazard, control, tests in rows:
        assert hazard, number
        assert control, number
        names = re.findall(r"`([^`]+)`", tests)
        assert names, f"{number} names no test"
        for name in names:
            path, _, function = name.partition("::")
            file = ROOT / path
            if not file.exists() or (
                function and not re.search(rf"\b{function}\b", file.read_text())
            ):
                missing.append(f"{number}: {name}")
    assert missing == []


def test_the_kinds_of_harm_are_all_there() -> None:
    text = " ".join(row[1].lower() for row in hazards())
    for harm in ("patient", "side", "size", "hidden", "stale", "lossy", "lost", "late"):
        assert harm in text, harm
