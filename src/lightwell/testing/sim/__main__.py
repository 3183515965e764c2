"""`python -m lightwell.testing.sim [FIRST LAST]`: play seeds, print those that break a promise."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from lightwell.testing.sim.history import History, play


def report(history: History, *, traced: bool) -> str:
    """What a reader needs of a failed history: how to repeat it, what broke, how it came about."""
    lines = [f"LIGHTWELL_SEED={history.seed}", *(f"  {text}" for text in history.violations)]
    if traced:
        lines += history.trace
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """The command line; exit code 1 when a seed broke a promise."""
    single = os.environ.get("LIGHTWELL_SEED")
    first, last = (int(text) for text in arguments) if arguments else (1, 1000)
    seeds = [int(single)] if single else range(first, last + 1)
    began = time.monotonic()
    failed = acknowledged = 0
    for seed in seeds:
        history = play(seed)
        acknowledged += history.acknowledged
        failed += bool(history.violations)
        if single or history.violations:
            sys.stdout.write(report(history, traced=bool(single)) + "\n")
    seconds = time.monotonic() - began
    summary = f"{len(seeds)} seeds, {acknowledged} acknowledged, {failed} failed, {seconds:.1f} s\n"
    sys.stdout.write(summary)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
