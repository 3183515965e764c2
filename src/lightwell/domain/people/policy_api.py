"""The front door for a tenant's own policies, and for "why?"."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from lightwell.access.actions import Action
from lightwell.access.cedar import ABOUT_STUDIES, SHIPPED, Policy, PolicySet, checked_policies
from lightwell.access.commit import Committer, Event
from lightwell.access.context import Actor, ActorKind, Context, Purpose, Tenant
from lightwell.access.local_time import instant_said
from lightwell.access.operation import Act, operation
from lightwell.access.policy import Decision, Rules, decide, question_of, weigh
from lightwell.access.ports import PolicySource
from lightwell.access.roles import Role, checked_roles
from lightwell.access.sight import NOBODY, NOTHING, Fact, Sight, Standing
from lightwell.domain.people.model import ConsentRow, PolicyGoneRow, PolicyRow
from lightwell.domain.people.ports import PeopleBook, StudyFacts
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Conflict, Invalid, Missing

CONSENT_LONGEST = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Reach:
    """A decision about studies. Of one: `facts` are what is so of it. Of all: `sight` says of which."""

    decision: Decision
    facts: tuple[Fact, ...] = ()
    sight: Sight = NOTHING


@dataclass(frozen=True, slots=True)
class Explained:
    """Decisions by action, the policies that they name, and the actions that are allowed with some studies
    only."""

    decisions: Mapping[Action, Decision]
    policies: tuple[Policy, ...]
    partly: frozenset[Action] = frozenset()


SHUT: Final = Decision(False, "the account is shut")


class Policies:
    """What is in force, what the tenant adds to it, and why somebody may or may not."""

    def __init__(
        self,
        book: PeopleBook,
        policy: PolicySource,
        committer: Committer,
        clock: Clock,
        studies: StudyFacts,
    ) -> None:
        self._book = book
        self._studies = studies
        self.policy = policy
        self.committer = committer
        self.clock = clock

    @operation(Action.POLICY_RULE_LIST)
    async def list(self, act: Act) -> tuple[Policy, ...]:
        """What ships, and what the tenant has written until now: it decides within a second."""
        own = await self._book.own_policies(act.context.tenant)
        stored = [(name, text) for name, text, _, _ in own]
        return (await asyncio.to_thread(SHIPPED.with_stored, stored)).policies

    @operation(Action.POLICY_RULE_CHANGE)
    async def put(self, act: Act, text: str) -> str:
        """Write one policy of the tenant's own, or another wording of it; its name.

        It is tried together with what is in force before anything is written. Raises Invalid, Conflict.
        """
        tenant = act.context.tenant
        named = await asyncio.to_thread(checked_policies, text)
        if len(named) != 1:
            raise Invalid("One policy at a time.", remedy="Write each into a file of its own.")
        (name,) = named
        act.about(subject=name)
        if any(each.name == name for each in SHIPPED.policies):
            raise Conflict(f"{name!r} ships with Lightwell.", remedy="Choose another @id.")
        own = await self._book.own_policies(tenant)
        others = [(other, body) for other, body, _, _ in own if other != name]
        await asyncio.to_thread(_check_answers, others, text, name, tenant, self.clock.now())
        row = PolicyRow(name, text, str(act.context.actor), self.clock.now())
        await act.commit((row,), (Event("PolicyChanged", {"policy": name}),))
        return name

    @operation(Action.POLICY_RULE_CHANGE)
    async def remove(self, act: Act, name: str) -> None:
        """Take back one of the tenant's own."""
        act.about(subject=name)
        own = await self._book.own_policies(act.context.tenant)
        if not any(each[0] == name for each in own):
            raise Missing(f"The tenant has no policy {name!r}.")
        await act.commit((PolicyGoneRow(name),), (Event("PolicyChanged", {"policy": name}),))

    @operation(Action.TENANTS_SUPPORT_CONSENT)
    async def consent(self, act: Act, life: timedelta | None) -> datetime | None:
        """Let support in for a while, at most a week; None ends it at once."""
        if life is not None and not timedelta(0) < life <= CONSENT_LONGEST:
            raise Invalid("Support is let in for at most 7 days.")
        until = None if life is None else self.clock.now() + life
        act.about(detail=until.isoformat() if until else "ended")
        await act.commit((ConsentRow(until, str(act.context.actor)),))
        return until

    @operation(Action.POLICY_RULE_LIST)
    async def support_until(self, act: Act) -> datetime | None:
        """Until when support is let in; None when it is not."""
        until = await self._book.support_until(act.context.tenant)
        return until if until is not None and self.clock.now() < until else None

    async def permitted(self, context: Context) -> tuple[Action, ...]:
        """What the caller may do here, so that a page offers nothing else: once they have proved who they
        are, and with some study that there could be. (No operation: each act is asked about when it is done,
        and nothing is read.)"""
        rules = await self.policy.in_force(context.tenant)
        person = context.actor.kind is ActorKind.PERSON
        proved = replace(context, stepped_up=True) if person else context
        now = self.clock.now()
        return tuple(a for a in Action if weigh(proved, a, rules, now=now)[0].allowed)

    @operation(Action.POLICY_DECISION_EXPLAIN)
    async def explain_all(
        self,
        act: Act,
        login: str,
        *,
        roles: frozenset[str] | None = None,
        actions: tuple[Action, ...] = tuple(Action),
        at: str = "",
    ) -> Explained:
        """The same as `explain` for several actions, with the policies that decided. Raises as `explain`."""
        act.about(subject=login, detail=actions[0] if len(actions) == 1 else "everything")
        reached = await self._reached(act, login, actions, roles, at)
        named = {name for reach in reached for name in reach.decision.policies}
        rules = await self.policy.in_force(act.context.tenant)
        return Explained(
            {action: reach.decision for action, reach in zip(actions, reached, strict=True)},
            tuple(policy for policy in rules.policies.policies if policy.name in named),
            frozenset(
                action
                for action, reach in zip(actions, reached, strict=True)
                if reach.decision.allowed and not reach.sight.everything
            ),
        )

    @operation(Action.POLICY_DECISION_EXPLAIN)
    async def explain(
        self,
        act: Act,
        login: str,
        action: Action,
        *,
        roles: frozenset[str] | None = None,
        at: str = "",
    ) -> Decision:
        """Why an account, or somebody with these roles, may or may not do something here. `at`: at another
        time than now, as `instant_said` reads it.

        Raises Missing for an account that is not there, Invalid for roles.
        """
        act.about(subject=login, detail=action)
        (reach,) = await self._reached(act, login, (action,), roles, at)
        return reach.decision

    @operation(Action.POLICY_DECISION_EXPLAIN)
    async def reach(
        self,
        act: Act,
        login: str,
        action: Action,
        *,
        roles: frozenset[str] | None = None,
        study_uid: str = "",
        at: str = "",
    ) -> Reach:
        """Why an account, or somebody with these roles, may or may not do something with a study; without
        one, with which studies. `at` as of `explain`.

        Raises Missing (no such account, no such study), Invalid (the action is about no study).
        """
        tenant = act.context.tenant
        act.about(study_uid=study_uid, subject=login, detail=action)
        if action not in ABOUT_STUDIES:
            raise Invalid(f"{action} is about no study.", remedy="Ask without naming one.")
        if not study_uid:
            (reach,) = await self._reached(act, login, (action,), roles, at)
            return reach
        found = await self._asking(act, login, roles)
        if found is None:
            return Reach(SHUT)
        asked, standing = found
        facts = await self._studies.facts(tenant, study_uid, standing)
        if facts is None:
            raise Missing("There is no such study.")
        rules, told = await self.policy.in_force(tenant), tuple(f for f in Fact if f in facts)
        now = self._moment(tenant, at)
        return _once_proved(asked, lambda who: Reach(decide(who, action, rules, facts, now), told))

    async def _reached(
        self,
        act: Act,
        login: str,
        actions: tuple[Action, ...],
        roles: frozenset[str] | None,
        at: str,
    ) -> tuple[Reach, ...]:
        found = await self._asking(act, login, roles)
        if found is None:
            return (Reach(SHUT),) * len(actions)
        asked, standing = found
        rules = await self.policy.in_force(act.context.tenant)
        now = self._moment(act.context.tenant, at)

        def reached(action: Action, who: Context) -> Reach:
            decision, sight = weigh(who, action, rules, standing, now)
            return Reach(decision, sight=sight)

        return tuple(_once_proved(asked, partial(reached, action)) for action in actions)

    def _moment(self, tenant: Tenant, said: str) -> datetime:
        """When it is that is asked about: as it is said, or now. Raises Invalid."""
        now = self.clock.now()
        return instant_said(said, tenant.zone, now) if said else now

    async def _asking(
        self, act: Act, login: str, roles: frozenset[str] | None
    ) -> tuple[Context, Standing] | None:
        """The context of who is asked about, and what is recorded of them; None: the account is shut."""
        tenant = act.context.tenant
        actor = Actor(ActorKind.PERSON, login, home=tenant.name)
        if roles is not None:
            return _as_of(act.context, replace(actor, roles=checked_roles(roles))), NOBODY
        found = await self._book.person(tenant, login.strip().casefold())
        if found is None:
            raise Missing(
                "There is no such account.",
                remedy="Choose another, or name roles instead (--role).",
            )
        person, _ = found
        if person.disabled:
            return None
        actor = replace(actor, name=person.login, roles=person.roles)
        return _as_of(act.context, actor), await self.policy.standing(tenant, actor)


GRANTS: Final = frozenset({"echo", "store", "find", "move", "get"})


def _check_answers(
    others: list[tuple[str, str]], text: str, name: str, tenant: Tenant, now: datetime
) -> None:
    """Ask a question as everybody there can be, with a policy as if it were in force. Raises Invalid where
    that has no answer, which would be a refusal of everything the policy is about."""
    before = SHIPPED.with_stored(others)
    if before.unreadable:
        raise Invalid(
            f"The policy {before.unreadable[0]!r} cannot be read, so everything is refused.",
            remedy=f"Take it back first: `lightwell policy remove {before.unreadable[0]}`.",
        )
    policies = before.with_texts([text])
    for kind in ActorKind:
        failed = _unanswered(policies, name, kind, tenant, now)
        if failed is not None:
            raise Invalid(
                f"With this policy {failed} of a {kind} could not be decided, so it would be refused.",
                remedy="Look for a number that grows too large, or an attribute that is not always there.",
            )


def _unanswered(
    policies: PolicySet, name: str, kind: ActorKind, tenant: Tenant, now: datetime
) -> Action | None:
    """One action about studies and one about none, of those that the policy is about, which cannot be decided
    for somebody of this kind with every role."""
    concerned = policies.concerned(name)
    about_studies = [a for a in concerned if a in ABOUT_STUDIES][:1]
    others = [a for a in concerned if a not in ABOUT_STUDIES][:1]
    home = tenant.name if kind in (ActorKind.PERSON, ActorKind.PROGRAM) else ""
    actor = Actor(kind, "anybody", grants=GRANTS, home=home, roles=frozenset(Role))
    asked = Context(tenant, actor, channel="console", origin="192.0.2.1")
    for action in map(Action, (*about_studies, *others)):
        question = question_of(asked, action, Rules(policies=policies), now=now)
        if policies.evaluate(question).failed:
            return action
    return None


def _as_of(context: Context, actor: Actor) -> Context:
    """What somebody would ask in a browser, who has proved nothing lately and opened nothing."""
    return replace(
        context,
        actor=actor,
        channel="console",
        purpose=Purpose.TREATMENT,
        stepped_up=False,
        opened=frozenset(),
    )


def _once_proved(asked: Context, decided: Callable[[Context], Reach]) -> Reach:
    """What is decided; of somebody who has proved lately who they are, where that is all that is missing."""
    found = decided(asked)
    if found.decision.allowed:
        return found
    proved = decided(replace(asked, stepped_up=True))
    if not proved.decision.allowed:
        return found
    reason = f"{proved.decision.reason}, once proved again who one is"
    return replace(proved, decision=replace(proved.decision, reason=reason))
