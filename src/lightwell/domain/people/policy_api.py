"""The front door for a tenant's own policies, and for "why?"."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from lightwell.access.actions import Action
from lightwell.access.cedar import Policy, checked_policies
from lightwell.access.commit import Committer, Event
from lightwell.access.context import Actor, ActorKind
from lightwell.access.operation import Act, operation
from lightwell.access.policy import Decision, decide, proof_would_do
from lightwell.access.ports import PolicySource
from lightwell.domain.people.model import ConsentRow, PolicyGoneRow, PolicyRow
from lightwell.domain.people.ports import PeopleBook
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Conflict, Invalid, Missing

CONSENT_LONGEST = timedelta(days=7)


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
        asked = replace(act.context, actor=actor, channel="console", stepped_up=False)
        rules = await self.policy.in_force(tenant)
        if proof_would_do(asked, action, rules):
            found_so = decide(replace(asked, stepped_up=True), action, rules)
            return replace(found_so, reason=f"{found_so.reason}, once proved again who one is")
        return decide(asked, action, rules)
