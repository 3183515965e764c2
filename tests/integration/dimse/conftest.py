"""Houses with an open DIMSE door for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lightwell.domain.peers.model import PeerType
from lightwell.gateways.dimse.limits import DimseLimits
from lightwell.testing.dimse_house import DimseHouse, MakeHouse, dimse_house, memory_rooms


@pytest.fixture
def make_house(tmp_path: Path) -> Iterator[MakeHouse]:
    """Open houses with special limits; all are closed when the test ends."""
    with ExitStack() as stack:

        def make(**options: Any) -> DimseHouse:
            blobs = options.pop("blobs", None)
            house = stack.enter_context(
                dimse_house(lambda: memory_rooms(tmp_path / "blobs", blobs), **options)
            )
            house.add_peer("LW_SENDER", allow=frozenset({"store", "find", "move", "get"}))
            house.add_peer("CT1", PeerType.MODALITY)
            return house

        yield make


@pytest.fixture
def house(make_house: MakeHouse) -> DimseHouse:
    """A house with LW_SENDER (everything granted) and CT1 (a modality), usual limits."""
    return make_house()


@pytest.fixture
def hasty() -> DimseLimits:
    """Limits of a second or so, to see deadlines pass."""
    return DimseLimits(
        request=1.0, artim=1.0, idle=1.0, silence=2.0, stall_window=1.0, stall_rate=10_000
    )
