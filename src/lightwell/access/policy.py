"""May this actor do this? Pure: rules in, decision out. Default deny; a denial always wins.

Cedar takes the place of these tables in a later issue; the shape (`decide`, a reason with every
answer) stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lightwell.access.actions import GRANTS, Action
from lightwell.access.context import ActorKind, Context


@dataclass(frozen=True, slots=True)
class Denial:
    """A rule that forbids: `actor` and `action` match exactly or by a prefix that ends in '*'."""

    actor: str
    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer and its reason, for users and auditors."""

    allowed: bool
    reason: str


# What somebody at this machine's own address may do until people have accounts (issue C).
WEB_ACTIONS = frozenset(
    {
        Action.ARCHIVE_INSTANCE_RETRIEVE,
        Action.ARCHIVE_INSTANCE_STORE,
        Action.ARCHIVE_STATISTICS_READ,
        Action.ARCHIVE_STUDY_QUERY,
        Action.TENANTS_TENANT_LIST,
        Action.WORK_JOB_CANCEL,
        Action.WORK_JOB_LIST,
        Action.WORK_JOB_RETRY,
    }
)


def _covers(pattern: str, value: str) -> bool:
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == value


def decide(context: Context, action: Action, denials: Iterable[Denial] = ()) -> Decision:
    """Decide one act. Suspension, then denials, then what the kind of actor was granted."""
    tenant, actor = context.tenant, context.actor
    if tenant.suspended and actor.kind is not ActorKind.SYSTEM:
        return Decision(False, "the tenant is suspended")
    for rule in denials:
        if _covers(rule.actor, str(actor)) and _covers(rule.action, action):
            return Decision(False, rule.reason)
    if actor.kind is ActorKind.SYSTEM or actor.kind is ActorKind.OPERATOR:
        return Decision(True, f"{actor.kind} of this installation")
    if actor.kind is ActorKind.WEB:
        allowed = action in WEB_ACTIONS
        return Decision(allowed, "loopback web access" if allowed else "not open to web access")
    for grant in sorted(actor.grants):
        if action in GRANTS.get(grant, frozenset()):
            return Decision(True, f"peer is allowed to {grant}")
    return Decision(False, f"peer {actor.name} was not given {action}")
