"""Which studies somebody sees, as data: a search is cut to them before it runs. Pure.

A policy knows a study by nine facts about it and whoever asks (`Fact`), and by nothing else: the schema
has no other attribute. So what policies say of all studies is a table of at most 2^9 rows, which Cedar
itself fills in (`policy.look`), and a `Sight` is that table with as few words as possible: a disjunction
of conjunctions of facts. An index finds the studies of each fact; the policies are written once.
Where two are asked, somebody and the machine they speak through, a study is seen when both see it (`both`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

PatientName = tuple[str, str]  # issuer, ID: what a patient is called within a tenant


class Fact(StrEnum):
    """What policies know of a study and whoever asks; named as in the schema."""

    OWN = "own"  # it is of the patient whose account this is
    TREATED = "treated"  # they treat its patient, or it, or have ordered it
    PRIOR = "prior"  # it is of a patient of whom they treat, or have ordered, a study
    OPENED = "opened"  # of a patient whom this session has opened in an emergency
    SENSITIVE = "sensitive"  # an administrator has marked it
    IN_SITES = "inSites"  # of an institution they are limited to, or they are limited to none
    IN_DEPARTMENTS = "inDepartments"  # the same of departments
    IN_MODALITIES = "inModalities"  # the same of modalities
    IN_WINDOW = "inWindow"  # received since a day they are limited to, or they are limited to none


RELATIONS: Final = frozenset({Fact.OWN, Fact.TREATED, Fact.PRIOR, Fact.OPENED})
"""Facts that few studies have: an index can list them."""

LIMITS: Final = frozenset({Fact.IN_SITES, Fact.IN_DEPARTMENTS, Fact.IN_MODALITIES, Fact.IN_WINDOW})

Facts = frozenset[Fact]
ORDINARY: Final[Facts] = LIMITS
"""A study that somebody without limits has nothing to do with."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is recorded of somebody, as far as it says which studies are theirs.

    `has`: the relations of which there is at least one row. A limit that is empty is none.
    """

    person: uuid.UUID | None = None
    has: Facts = frozenset()
    sites: frozenset[str] = frozenset()
    departments: frozenset[str] = frozenset()
    modalities: frozenset[str] = frozenset()
    opened: frozenset[PatientName] = frozenset()
    since: datetime | None = None  # studies whose first object came before are beyond the limit

    def varying(self, *, sensitive: bool) -> tuple[Fact, ...]:
        """The facts that can differ from study to study, in one order. `sensitive`: some study is marked."""
        limits = (
            (Fact.IN_SITES, self.sites),
            (Fact.IN_DEPARTMENTS, self.departments),
            (Fact.IN_MODALITIES, self.modalities),
        )
        found = {*self.has, *(fact for fact, values in limits if values)}
        if self.since is not None:
            found.add(Fact.IN_WINDOW)
        if self.opened:
            found.add(Fact.OPENED)
        if sensitive:
            found.add(Fact.SENSITIVE)
        return tuple(fact for fact in Fact if fact in found)


NOBODY: Final = Standing()
"""No relation, no limit."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Studies that have some facts and lack others."""

    has: Facts = frozenset()
    lacks: Facts = frozenset()

    def means(self, facts: Facts) -> bool:
        """Whether a study of these facts is one."""
        return self.has <= facts and not self.lacks & facts


@dataclass(frozen=True, slots=True)
class Sight:
    """The studies that are of any of these kinds, for whoever stands so; and that `also` shows, where there
    is a second one who has to see them."""

    kinds: tuple[Kind, ...]
    standing: Standing = field(default=NOBODY)
    also: Sight | None = None

    @property
    def parts(self) -> tuple[Sight, ...]:
        """This sight and those that must show a study as well: facts differ by who is asked for."""
        return (self,) if self.also is None else (self, *self.also.parts)

    @property
    def everything(self) -> bool:
        """Whether nothing is kept from them: searches run as if there were no policy."""
        return all(Kind() in part.kinds for part in self.parts)

    @property
    def nothing(self) -> bool:
        """Whether there is no study they could see."""
        return not all(part.kinds for part in self.parts)

    def shows(self, facts: Facts) -> bool:
        """Whether a study of these facts is seen, as far as this part goes."""
        return any(kind.means(facts) for kind in self.kinds)


EVERYTHING: Final = Sight((Kind(),))
NOTHING: Final = Sight(())


def both(one: Sight, other: Sight) -> Sight:
    """The studies that are within two sights, each with its own standing."""
    if one.everything:
        return other
    if other.everything:
        return one
    return replace(one, also=other if one.also is None else both(one.also, other))


def combinations(facts: Iterable[Fact]) -> Iterator[Facts]:
    """Every set of some of these facts, from none of them to all."""
    listed = tuple(facts)
    for number in range(1 << len(listed)):
        yield frozenset(fact for place, fact in enumerate(listed) if number >> place & 1)


@lru_cache(maxsize=1024)
def summed_up(varying: tuple[Fact, ...], seen: frozenset[Facts]) -> tuple[Kind, ...]:
    """The sets of varying facts that are seen, as few kinds of few words (Quine and McCluskey).

    Exact: a study is of one of the kinds when and only when its varying facts are one of the sets.
    """
    found: list[Kind] = []
    left = set(seen)
    while left:
        # The widest that covers most of what is left; ties by name, so that equal tables are equal texts.
        best = max(
            _widest(varying, seen),
            key=lambda kind: (sum(map(kind.means, left)), sorted(kind.has), sorted(kind.lacks)),
        )
        found.append(best)
        left = {facts for facts in left if not best.means(facts)}
    return tuple(found)


@lru_cache(maxsize=1024)
def _widest(varying: tuple[Fact, ...], seen: frozenset[Facts]) -> frozenset[Kind]:
    """Every kind of which all is seen, and that leaves no word out that it could."""
    everything = frozenset(varying)
    kinds = {Kind(facts, everything - facts) for facts in seen}
    widest: set[Kind] = set()
    while kinds:
        wider: set[Kind] = set()
        merged: set[Kind] = set()
        for kind in kinds:
            for fact in kind.has:
                twin = Kind(kind.has - {fact}, kind.lacks | {fact})
                if twin in kinds:
                    merged |= {kind, twin}
                    wider.add(Kind(kind.has - {fact}, kind.lacks))
        widest |= kinds - merged
        kinds = wider
    return frozenset(widest)
