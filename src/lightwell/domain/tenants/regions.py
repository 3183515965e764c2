"""Regions: where images of tenants may lie, and the jurisdiction that all their rows lie in. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lightwell.kernel.errors import Conflict, Invalid

LOCAL = "local"  # the region of an installation that names none
RESERVED = frozenset({"probe", "store-id"})  # what else a store keeps beside the regions

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}\Z")
_JURISDICTION = re.compile(r"[A-Z]{2}[A-Z0-9-]{0,14}\Z")


def checked_region(name: str) -> str:
    """A name fit to be the first part of object keys, for ever. Raises Invalid."""
    if not _NAME.match(name) or name in RESERVED:
        raise Invalid(
            f"{name[:60]!r} is no name of a region.",
            remedy="It has 1 to 40 characters a-z, 0-9 and '-', and begins with a letter.",
        )
    return name


def checked_jurisdiction(text: str) -> str:
    """The law that a place is under, as its operator calls it: `CH`, `EU`, `US-CA`. Raises Invalid."""
    folded = text.strip().upper()
    if not _JURISDICTION.match(folded):
        raise Invalid(
            f"{text[:60]!r} is no jurisdiction.",
            remedy="It is 2 to 16 letters, digits and '-', such as CH, EU or US-CA.",
        )
    return folded


@dataclass(frozen=True, slots=True)
class Place:
    """A region that can be chosen, and the law that it is under."""

    name: str
    jurisdiction: str


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions of an installation. A jurisdiction that nobody has named is an empty text."""

    jurisdictions: Mapping[str, str] = field(default_factory=lambda: {LOCAL: ""})  # by region
    default: str = LOCAL  # where a tenant is made when nothing is said
    rows: str = ""  # the jurisdiction of the database

    @property
    def choices(self) -> tuple[str, ...]:
        """Where tenants can be made, the default one first."""
        names = [name for name, under in self.jurisdictions.items() if under == self.rows]
        return tuple(sorted(names, key=lambda name: (name != self.default, name)))

    def chosen(self, name: str | None) -> str:
        """Where a tenant is made: the region itself, or the default one for None. Raises Invalid for one that
        is not there, Conflict for one of another jurisdiction than the rows."""
        wanted = self.default if name is None else name
        if wanted not in self.jurisdictions:
            raise Invalid(
                f"There is no region {wanted[:60]!r}.",
                remedy=f"There are: {', '.join(sorted(self.jurisdictions))}.",
            )
        if self.jurisdictions[wanted] != self.rows:
            raise Conflict(
                f"The region {wanted} is under {self.jurisdictions[wanted]}, and the database of this"
                f" installation under {self.rows}: rows and images of a tenant lie under one law.",
                remedy=f"Make an installation of its own under {self.jurisdictions[wanted]}.",
            )
        return wanted

    def misplaced(self, used: Mapping[str, str]) -> str | None:
        """Which tenant (`used`: region by tenant) cannot be served where it lies, and why; None: all can."""
        for tenant, region in used.items():
            if region not in self.jurisdictions:
                return f"The images of tenant {tenant} lie in region {region}, which is not named"
            if self.jurisdictions[region] != self.rows:
                return (
                    f"The images of tenant {tenant} lie in region {region}, under"
                    f" {self.jurisdictions[region]}, and its rows under {self.rows}"
                )
        return None
