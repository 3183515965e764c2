"""May this actor do this? Pure: rules in, decision out. Default deny; a denial always wins.

What is asked is built here from the context; what answers are Cedar policies (`cedar.py`), and before
them the short denials of `policy_rule`, which an operator can write without knowing a language.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from lightwell.access.actions import Action
from lightwell.access.cedar import SHIPPED, Answer, Entity, PolicySet, Question
from lightwell.access.context import Actor, ActorKind, Context


@dataclass(frozen=True, slots=True)
class Denial:
    """A rule that forbids: `actor` and `action` match exactly or by a prefix that ends in '*'."""

    actor: str
    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, its reason for users, and the policies that decided, for auditors."""

    allowed: bool
    reason: str
    policies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """What is in force for a tenant at this moment. `consent`: it lets support staff in."""

    denials: tuple[Denial, ...] = ()
    policies: PolicySet = SHIPPED
    consent: bool = False


SHIPPED_RULES = Rules()

_KINDS = {
    ActorKind.PEER: "Peer",
    ActorKind.WEB: "Web",
    ActorKind.PERSON: "Person",
    ActorKind.PROGRAM: "Program",
    ActorKind.OPERATOR: "Operator",
    ActorKind.SYSTEM: "System",
}


def covers(pattern: str, value: str) -> bool:
    """Whether a pattern means a value: the same, or a prefix that ends in '*'."""
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == value


def in_scope(scopes: Iterable[str], action: str) -> bool:
    """Whether a key that was given these scopes is for this action; no scopes: for all its roles may."""
    patterns = tuple(scopes)
    return not patterns or any(covers(pattern, action) for pattern in patterns)


@lru_cache(maxsize=1024)
def network(origin: str) -> str:
    """The kind of place an address is: 'loopback', 'private', 'public'; 'unknown' when it is none."""
    try:
        address = ipaddress.ip_address(origin)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback:
        return "loopback"
    return "private" if address.is_private else "public"


def _attributes(actor: Actor) -> tuple[tuple[str, str | Entity], ...]:
    match actor.kind:
        case ActorKind.PERSON:
            return (("login", actor.name), ("home", ("Tenant", actor.home)))
        case ActorKind.PROGRAM:
            return (("name", actor.name), ("home", ("Tenant", actor.home)))
        case ActorKind.PEER:
            return (("aet", actor.name), ("site", actor.site or ""))
        case _:
            return ()


def _principal(actor: Actor) -> Entity:
    """People and programs are named with their tenant: the same login elsewhere is somebody else."""
    name = f"{actor.home}/{actor.name}" if actor.home else actor.name
    return (_KINDS[actor.kind], name)


def _parents(actor: Actor) -> frozenset[Entity]:
    """Roles count for those who have a home only, grants for peers only."""
    if actor.kind is ActorKind.PEER:
        return frozenset(("Grant", grant) for grant in actor.grants)
    if actor.kind in (ActorKind.PERSON, ActorKind.PROGRAM):
        return frozenset(("Role", role) for role in actor.roles)
    return frozenset()


@lru_cache(maxsize=4096)  # actors and tenants come again with every act
def _question(
    actor: Actor,
    action: str,
    tenant: tuple[str, bool, bool, bool],
    circumstances: tuple[str, str, str, bool],
) -> Question:
    name, demo, suspended, consent = tenant
    channel, purpose, place, stepped_up = circumstances
    return Question(
        principal=_principal(actor),
        parents=_parents(actor),
        attributes=_attributes(actor),
        action=action,
        resource=("Tenant", name),
        resource_attributes=(("demo", demo), ("suspended", suspended), ("consent", consent)),
        context=(
            ("channel", channel),
            ("purpose", purpose),
            ("network", place),
            ("inScope", in_scope(actor.scopes, action)),
            ("steppedUp", stepped_up),
        ),
    )


def question_of(context: Context, action: Action, *, consent: bool = False) -> Question:
    """The act as policies see it."""
    tenant = context.tenant
    return _question(
        context.actor,
        action,
        (tenant.name, tenant.demo, tenant.suspended, consent),
        (context.channel, context.purpose, network(context.origin), context.stepped_up),
    )


def decide(context: Context, action: Action, rules: Rules = SHIPPED_RULES) -> Decision:
    """Decide one act. The denials of `policy_rule` first, then the policies."""
    actor = str(context.actor)
    for rule in rules.denials:
        if covers(rule.actor, actor) and covers(rule.action, action):
            return Decision(False, rule.reason, ("policy_rule",))
    answer = rules.policies.answer(question_of(context, action, consent=rules.consent))
    return Decision(answer.allowed, _said(answer, context, action, rules.policies), answer.policies)


def proof_would_do(context: Context, action: Action, rules: Rules = SHIPPED_RULES) -> bool:
    """Whether all that stands against an act is that its person has not proved lately who they are.

    Whichever policy asks for it: one that ships, or one of the tenant's own.
    """
    if context.actor.kind is not ActorKind.PERSON or context.stepped_up:
        return False
    proved = replace(context, stepped_up=True)
    return not decide(context, action, rules).allowed and decide(proved, action, rules).allowed


def _said(answer: Answer, context: Context, action: Action, policies: PolicySet) -> str:
    if answer.policies:
        return policies.reason(answer.policies[0])
    if answer.failed:
        return "a policy could not be evaluated"
    actor = context.actor
    if actor.kind is ActorKind.PEER:
        return f"peer {actor.name} was not given {action}"
    if actor.kind is ActorKind.WEB:
        return "not open to web access"
    roles = ", ".join(sorted(actor.roles)) or "no role"
    return f"{roles} may not {action}"
