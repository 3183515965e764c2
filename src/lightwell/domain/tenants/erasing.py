"""Erasing a tenant: what forbids it, what is remembered of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lightwell.access.context import Tenant
from lightwell.domain.tenants.model import DEFAULT
from lightwell.kernel.errors import Invalid

ENTRY = "tenant-erasure"  # its entries in the installation's journal
ERASED = "being erased"  # why a tenant is suspended that the journal alone knows as erased


@dataclass(frozen=True, slots=True)
class Figures:
    """What a tenant keeps: studies, objects (those kept aside too), bytes as they lie in the store."""

    studies: int = 0
    objects: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Erasure:
    """One tenant that is being erased, or was. It is all that stays of it."""

    name: str
    number: int | None  # the key of its rows; None: there are none in this database
    region: str
    reason: str
    author: str  # who decided it
    begun: datetime
    kept: Figures  # when it was decided
    gone: int = 0  # objects of the store that are deleted, as far as it was noted
    finished: datetime | None = None  # None: being erased


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What forbids an erasure, and what to do about it."""

    what: str
    remedy: str


def obstacle(tenant: Tenant, *, exporting: bool) -> Obstacle | None:
    """What forbids that a tenant is erased now; None: nothing. Whatever has to be kept by law says so here.

    `exporting`: it is being written out by somebody.
    """
    if tenant.name == DEFAULT:
        return Obstacle(
            "The tenant of the installation cannot be erased.",
            "Its record says who erased the others; remove the data folder and the store instead.",
        )
    if not tenant.suspended:
        return Obstacle(
            f"The tenant {tenant.name} is served.",
            f'`lightwell tenant suspend {tenant.name} --reason "…"` comes first.',
        )
    if exporting:
        return Obstacle(
            f"The tenant {tenant.name} is being written out.",
            "Wait until that export has ended, or end it.",
        )
    return None


def checked_confirmation(name: str, typed: str) -> None:
    """The tenant's name, typed once more. Raises Invalid."""
    if typed != name:
        raise Invalid(
            "The name that was typed to confirm it is not the tenant's.",
            remedy="Type the name of the tenant that is to be erased once more.",
        )


def said(figures: Figures) -> str:
    """For records and people: numbers only."""
    return f"{figures.studies} studies, {figures.objects} objects, {figures.bytes} bytes"


def erasure_to_json(erasure: Erasure) -> dict[str, Any]:
    """As the installation's journal keeps it."""
    return {
        "name": erasure.name,
        "number": erasure.number,
        "region": erasure.region,
        "reason": erasure.reason,
        "author": erasure.author,
        "begun": erasure.begun.isoformat(),
        "studies": erasure.kept.studies,
        "objects": erasure.kept.objects,
        "bytes": erasure.kept.bytes,
        "finished": erasure.finished.isoformat() if erasure.finished else None,
    }


def erasure_from_json(body: Mapping[str, Any]) -> Erasure:
    """The inverse. Raises KeyError, TypeError, ValueError."""
    number, finished = body["number"], body["finished"]
    return Erasure(
        name=str(body["name"]),
        number=None if number is None else int(number),
        region=str(body["region"]),
        reason=str(body["reason"]),
        author=str(body["author"]),
        begun=datetime.fromisoformat(body["begun"]),
        kept=Figures(int(body["studies"]), int(body["objects"]), int(body["bytes"])),
        finished=None if finished is None else datetime.fromisoformat(finished),
    )
