"""From the rows of a person to what policies are told of them. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from lightwell.access.sight import NOBODY, Fact, Standing
from lightwell.domain.people.model import Limit, RelationKind

FACTS_OF: Final = MappingProxyType(
    {
        RelationKind.IS: frozenset({Fact.OWN}),
        RelationKind.TREATS: frozenset({Fact.TREATED}),
        RelationKind.TREATS_STUDY: frozenset({Fact.TREATED, Fact.PRIOR}),
        RelationKind.REFERS_AS: frozenset({Fact.TREATED, Fact.PRIOR}),
    }
)
"""The facts that a study can have because of a relation of that kind."""


def standing_of(
    person: uuid.UUID | None, kinds: Iterable[str], limits: Iterable[tuple[str, str]]
) -> Standing:
    """What somebody is: the kinds of relations there are rows of, and (sort, value) of each limit."""
    if person is None:
        return NOBODY
    listed: dict[Limit, set[str]] = {limit: set() for limit in Limit}
    for sort, value in limits:
        listed[Limit(sort)].add(value)
    return Standing(
        person,
        frozenset(fact for kind in kinds for fact in FACTS_OF[RelationKind(kind)]),
        frozenset(listed[Limit.SITE]),
        frozenset(listed[Limit.DEPARTMENT]),
        frozenset(listed[Limit.MODALITY]),
    )
