"""The archive's fourth front door, for the `work` process and the command that packs at once."""

from __future__ import annotations

from datetime import timedelta

from lightwell.app.wiring import House
from lightwell.domain.archive.settle_api import Settling


def settling_of(house: House) -> Settling:
    """The archive's fourth front door, on the rooms of this process."""
    return Settling(
        blobs=house.blobs,
        coder=house.coder,
        index=house.index,
        committer=house.committer,
        policy=house.policy,
        clock=house.archive.clock,
        grace=timedelta(seconds=house.settings.landed_grace),
        folders=house.settings.folder_of,
    )
