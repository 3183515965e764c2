"""The front door for a tenant's own policies, and for "why?"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lightwell.access.actions import Action
from lightwell.access.cedar import SHIPPED, Policy, checked_policies
from lightwell.access.commit import Committer, Event
from lightwell.access.context import Actor, ActorKind, Context
from lightwell.access.operation import Act, operation
from lightwell.access.policy import Decision, decide
from lightwell.access.ports import PolicySource
from lightwell.access.roles import checked_roles
from lightwell.domain.people.model import ConsentRow, PolicyGoneRow, PolicyRow
from lightwell.domain.people.ports import PeopleBook
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Conflict, Invalid, Missing

CONSENT_LONGEST = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Explained:
    """Decisions by action, and the policies that they name."""

    decisions: Mapping[Action, Decision]
    policies: tuple[Policy, ...]


class Policies:
    """What is in force, what the tenant adds to it, and why somebody may or may not."""

    def __init__(
        self, book: PeopleBook, policy: PolicySource, committer: Committer, clock: Clock
    ) -> None:
        self._book = book
        self.policy = policy
        self.committer = committer
        self.clock = clock

    @operation(Action.POLICY_RULE_LIST)
    async def list(self, act: Act) -> tuple[Policy, ...]:
        """What ships, and what the tenant has written until now: it decides within a second."""
        own = await self._book.own_policies(act.context.tenant)
        return SHIPPED.with_texts(text for _, text, _, _ in own).policies

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

    @operation(Action.POLICY_RULE_LIST)
    async def support_until(self, act: Act) -> datetime | None:
        """Until when support is let in; None when it is not."""
        until = await self._book.support_until(act.context.tenant)
        return until if until is not None and self.clock.now() < until else None

    async def permitted(self, context: Context) -> tuple[Action, ...]:
        """What the caller may do here, so that a page offers nothing else. (No operation: each act is asked
        about when it is done, and nothing is read.)"""
        rules = await self.policy.in_force(context.tenant)
        return tuple(action for action in Action if decide(context, action, rules).allowed)

    @operation(Action.POLICY_DECISION_EXPLAIN)
    async def explain_all(
        self,
        act: Act,
        login: str,
        *,
        roles: frozenset[str] | None = None,
        actions: tuple[Action, ...] = tuple(Action),
    ) -> Explained:
        """The same as `explain` for several actions, with the policies that decided. Raises as `explain`."""
        act.about(subject=login, detail=actions[0] if len(actions) == 1 else "everything")
        decisions = await self._decided(act, login, actions, roles)
        named = {name for decision in decisions for name in decision.policies}
        rules = await self.policy.in_force(act.context.tenant)
        return Explained(
            dict(zip(actions, decisions, strict=True)),
            tuple(policy for policy in rules.policies.policies if policy.name in named),
        )

    @operation(Action.POLICY_DECISION_EXPLAIN)
    async def explain(
        self, act: Act, login: str, action: Action, *, roles: frozenset[str] | None = None
    ) -> Decision:
        """Why an account, or somebody with these roles, may or may not do something here.

        Raises Missing for an account that is not there, Invalid for roles.
        """
        act.about(subject=login, detail=action)
        (decision,) = await self._decided(act, login, (action,), roles)
        return decision

    async def _decided(
        self, act: Act, login: str, actions: Iterable[Action], roles: frozenset[str] | None
    ) -> tuple[Decision, ...]:
        tenant = act.context.tenant
        actions = tuple(actions)
        if roles is not None:
            roles = checked_roles(roles)
        else:
            found = await self._book.person(tenant, login.strip().casefold())
            if found is None:
                raise Missing(
                    "There is no such account.",
                    remedy="Choose another, or name roles instead (--role).",
                )
            if found[0].disabled:
                return (Decision(False, "the account is shut"),) * len(actions)
            login, roles = found[0].login, found[0].roles
        actor = Actor(ActorKind.PERSON, login, home=tenant.name, roles=roles)
        asked = replace(act.context, actor=actor, channel="console", stepped_up=False)
        rules = await self.policy.in_force(tenant)
        return tuple(decide(asked, action, rules) for action in actions)
