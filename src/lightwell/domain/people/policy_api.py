"""The front door for a tenant's own policies, and for "why?"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lightwell.access.actions import Action
from lightwell.access.cedar import ABOUT_STUDIES, Policy, checked_policies
from lightwell.access.commit import Committer, Event
from lightwell.access.context import Actor, ActorKind, Context, Purpose
from lightwell.access.operation import Act, operation
from lightwell.access.policy import Decision, decide, look
from lightwell.access.ports import PolicySource
from lightwell.access.sight import NOTHING, Fact, Sight, Standing
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
        """Everything in force, what ships first."""
        return (await self.policy.in_force(act.context.tenant)).policies.policies

    @operation(Action.POLICY_RULE_CHANGE)
    async def put(self, act: Act, text: str) -> str:
        """Write one policy of the tenant's own, or another wording of it; its name. Raises Invalid."""
        named = checked_policies(text)
        if len(named) != 1:
            raise Invalid("One policy at a time.", remedy="Write each into a file of its own.")
        (name,) = named
        act.about(subject=name)
        shipped = (await self.policy.in_force(act.context.tenant)).policies.policies
        if any(each.name == name and each.shipped for each in shipped):
            raise Conflict(f"{name!r} ships with Lightwell.", remedy="Choose another @id.")
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

    @operation(Action.POLICY_DECISION_EXPLAIN)
    async def explain(
        self, act: Act, login: str, action: Action, *, roles: frozenset[str] | None = None
    ) -> Decision:
        """Why an account, or somebody with these roles, may or may not do something here."""
        tenant = act.context.tenant
        act.about(subject=login, detail=action)
        if roles is None:
            found = await self._book.person(tenant, login.strip().casefold())
            if found is None:
                raise Missing("There is no such account.", remedy="Name roles instead: --role.")
            if found[0].disabled:
                return Decision(False, "the account is shut")
            login, roles = found[0].login, found[0].roles
        actor = Actor(ActorKind.PERSON, login, home=tenant.name, roles=roles)
        asked = _as_of(act.context, actor)
        rules = await self.policy.in_force(tenant)
        return _once_proved(asked, lambda who: Reach(decide(who, action, rules))).decision

    @operation(Action.POLICY_DECISION_EXPLAIN)
    async def reach(
        self,
        act: Act,
        login: str,
        action: Action,
        *,
        roles: frozenset[str] | None = None,
        study_uid: str = "",
    ) -> Reach:
        """Why an account, or somebody with these roles, may or may not do something with a study; without
        one, with which studies.

        Raises Missing (no such account, no such study), Invalid (the action is about no study).
        """
        tenant = act.context.tenant
        act.about(study_uid=study_uid, subject=login, detail=action)
        if action not in ABOUT_STUDIES:
            raise Invalid(f"{action} is about no study.", remedy="Ask without naming one.")
        actor = Actor(ActorKind.PERSON, login, home=tenant.name, roles=roles or frozenset())
        standing = Standing()
        if roles is None:
            found = await self._book.person(tenant, login.strip().casefold())
            if found is None:
                raise Missing("There is no such account.", remedy="Name roles instead: --role.")
            if found[0].disabled:
                return Reach(Decision(False, "the account is shut"))
            actor = replace(actor, name=found[0].login, roles=found[0].roles)
            standing = await self.policy.standing(tenant, actor)
        asked = _as_of(act.context, actor)
        rules = await self.policy.in_force(tenant)
        if not study_uid:

            def of_all(who: Context) -> Reach:
                decision, sight = look(who, action, rules, standing)
                return Reach(decision, sight=sight)

            return _once_proved(asked, of_all)
        facts = await self._studies.facts(tenant, study_uid, standing)
        if facts is None:
            raise Missing("There is no such study.")
        told = tuple(f for f in Fact if f in facts)
        return _once_proved(asked, lambda who: Reach(decide(who, action, rules, facts), told))


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
