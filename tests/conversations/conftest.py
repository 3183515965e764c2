"""A served Lightwell for the peers of this folder: one for all modules, its tenants apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lightwell.testing.corpus import Corpus, read_corpus
from lightwell.testing.served import Served, serving


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """A real `lightwell serve` on an empty data folder; each module makes tenants of its own."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def corpus(shared_data: Path) -> Corpus:
    """The test objects, sorted into well formed and not."""
    return read_corpus(shared_data)
