"""The front door for whose patients are whose, and who is limited to what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lightwell.access.actions import Action
from lightwell.access.commit import Committer, Event
from lightwell.access.context import ActorKind, Context
from lightwell.access.operation import Act, operation
from lightwell.access.ports import PolicySource
from lightwell.domain.people.model import (
    Limit,
    LimitsRow,
    Person,
    Relation,
    RelationKind,
    RelationRow,
    checked_limits,
    checked_relation,
    folded_login,
)
from lightwell.domain.people.ports import PeopleBook
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Missing, Refused


@dataclass(frozen=True, slots=True)
class Stands:
    """What is recorded of one account."""

    relations: tuple[Relation, ...]
    limits: Mapping[Limit, frozenset[str]]


class Relations:
    """What an account is to patients and studies. What follows from it is policy's to say."""

    def __init__(
        self, book: PeopleBook, policy: PolicySource, committer: Committer, clock: Clock
    ) -> None:
        self._book = book
        self.policy = policy
        self.committer = committer
        self.clock = clock

    @operation(Action.PEOPLE_RELATION_LIST)
    async def of(self, act: Act, login: str) -> Stands:
        """Relations and limits of an account. Raises Missing."""
        person = await self._person(act.context, login)
        act.about(subject=person.login)
        tenant = act.context.tenant
        return Stands(
            await self._book.relations(tenant, person.person_id),
            await self._book.limits(tenant, person.person_id),
        )

    @operation(Action.PEOPLE_RELATION_CHANGE)
    async def relate(
        self, act: Act, login: str, kind: RelationKind, name: str, issuer: str = ""
    ) -> Relation:
        """Record what somebody is to a patient or study, whether or not that is in the archive yet.

        Raises Missing, Invalid, Refused (oneself).
        """
        relation = checked_relation(kind, name, issuer)
        await self._write(act, login, relation, gone=False)
        return relation

    @operation(Action.PEOPLE_RELATION_CHANGE)
    async def unrelate(
        self, act: Act, login: str, kind: RelationKind, name: str, issuer: str = ""
    ) -> None:
        """Take a relation back: within seconds what it opened is shut, also what is open. Raises Missing."""
        relation = checked_relation(kind, name, issuer)
        person = await self._person(act.context, login)
        if not await self._book.is_related(act.context.tenant, person.person_id, relation):
            raise Missing(
                "There is no such relation.", remedy="`lightwell user relations` shows them."
            )
        await self._write(act, login, relation, gone=True)

    @operation(Action.PEOPLE_RELATION_CHANGE)
    async def limit(self, act: Act, login: str, limit: Limit, values: Iterable[str]) -> None:
        """Limit somebody to these institutions, departments or modalities; none: not limited any more.

        Raises Missing, Invalid, Refused (oneself).
        """
        wanted = checked_limits(frozenset(values))
        person = await self._changing(act.context, login)
        act.about(subject=person.login, detail=f"{limit}: {', '.join(sorted(wanted)) or 'all'}")
        row = LimitsRow(person.person_id, limit, wanted)
        await act.commit((row,), (Event("PersonChanged", {"login": person.login}),))

    async def _write(self, act: Act, login: str, relation: Relation, *, gone: bool) -> None:
        person = await self._changing(act.context, login)
        # The patient's ID is not said: the record of who changed what is read by more people than it is for.
        said = relation.name if relation.kind is RelationKind.TREATS_STUDY else ""
        word = "ended" if gone else "recorded"
        act.about(study_uid=said, subject=person.login, detail=f"{relation.kind} {word}")
        row = RelationRow(
            person.person_id, relation, str(act.context.actor), self.clock.now(), gone=gone
        )
        await act.commit((row,), (Event("PersonChanged", {"login": person.login}),))

    async def _changing(self, context: Context, login: str) -> Person:
        person = await self._person(context, login)
        actor = context.actor
        if actor.kind is ActorKind.PERSON and actor.name == person.login:
            raise Refused(
                "Nobody says whose patients are their own.", remedy="Ask another administrator."
            )
        return person

    async def _person(self, context: Context, login: str) -> Person:
        found = await self._book.person(context.tenant, folded_login(login))
        if found is None:
            raise Missing("There is no such account.", remedy="`lightwell user list` names them.")
        return found[0]
