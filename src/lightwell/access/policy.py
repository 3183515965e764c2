"""May this actor do this? Pure: rules in, decision out. Default deny; a denial always wins.

What is asked is built here from the context; what answers are Cedar policies (`cedar.py`), and before
them the short denials of `policy_rule`, which an operator can write without knowing a language.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from functools import lru_cache

from lightwell.access.actions import Action
from lightwell.access.cedar import (
    ABOUT_STUDIES,
    SHIPPED,
    Answer,
    Entity,
    PolicySet,
    Question,
)
from lightwell.access.context import Actor, ActorKind, Context
from lightwell.access.local_time import moment_ends, moment_of
from lightwell.access.sight import (
    EVERYTHING,
    LIMITS,
    NOBODY,
    ORDINARY,
    RELATIONS,
    Fact,
    Facts,
    Kind,
    Sight,
    Standing,
    combinations,
    summed_up,
)


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
    """What is in force for a tenant at this moment. `consent`: it lets support staff in, as `consent_by` has
    decided; `sensitive`: some study is marked so; `suspended`: since its context was made, perhaps, as of a
    long association."""

    denials: tuple[Denial, ...] = ()
    policies: PolicySet = SHIPPED
    consent: bool = False
    sensitive: bool = False
    consent_by: str = ""
    suspended: bool = False


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


Circumstances = tuple[str, bool, str]
"""Kind of network place, whether the person has just proved again who they are, purpose."""


def circumstances_of(context: Context) -> Circumstances:
    """What policies know of an act besides who, what and through which door."""
    return network(context.origin), context.stepped_up, context.purpose


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
    study: Facts | None,
) -> Question:
    name, demo, suspended, consent = tenant
    channel, purpose, place, stepped_up = circumstances
    of_tenant = (("demo", demo), ("suspended", suspended), ("consent", consent))
    of_study = () if study is None else tuple((fact.value, fact in study) for fact in Fact)
    return Question(
        principal=_principal(actor),
        parents=_parents(actor),
        attributes=_attributes(actor),
        action=action,
        resource=("Tenant", name) if study is None else ("Study", ""),
        resource_attributes=of_tenant + of_study,
        resource_parents=frozenset() if study is None else frozenset({("Tenant", name)}),
        context=(
            ("channel", channel),
            ("purpose", purpose),
            ("network", place),
            ("inScope", in_scope(actor.scopes, action)),
            ("steppedUp", stepped_up),
        ),
    )


def question_of(
    context: Context,
    action: Action,
    rules: Rules = SHIPPED_RULES,
    study: Facts = ORDINARY,
    now: datetime | None = None,
) -> Question:
    """The act as policies see it. `study`: what is so of the study that it is about, if it is about one;
    `now`: when it is, None where that is not known: a policy that looks at the time of day forbids then."""
    tenant = context.tenant
    question = _question(
        context.actor,
        action,
        (tenant.name, tenant.demo, tenant.suspended or rules.suspended, rules.consent),
        (context.channel, context.purpose, network(context.origin), context.stepped_up),
        study if action in ABOUT_STUDIES else None,
    )
    if rules.policies.timed and now is not None:
        times = rules.policies.times(question)
        if times:
            return replace(question, moment=moment_of(now, tenant.zone, times))
    return question


def holds_until(context: Context, action: Action, rules: Rules, now: datetime) -> datetime | None:
    """When a decision of this moment may be another though nothing was changed: None, where no policy that
    can apply looks at the time of day."""
    if not rules.policies.timed:
        return None
    times = rules.policies.times(question_of(context, action, rules))
    return moment_ends(now, context.tenant.zone, times) if times else None


def decide(
    context: Context,
    action: Action,
    rules: Rules = SHIPPED_RULES,
    study: Facts = ORDINARY,
    now: datetime | None = None,
) -> Decision:
    """Decide one act: the denials of `policy_rule` first, then the policies.

    `study` are the facts of the study it is about, where the action is about one; `now` as in `question_of`.
    """
    denied = _denied(context, action, rules)
    if denied is not None:
        return denied
    answer = rules.policies.answer(question_of(context, action, rules, study, now))
    return Decision(answer.allowed, _said(answer, context, action, rules.policies), answer.policies)


def _denied(context: Context, action: Action, rules: Rules) -> Decision | None:
    actor = str(context.actor)
    for rule in rules.denials:
        if covers(rule.actor, actor) and covers(rule.action, action):
            return Decision(False, rule.reason, ("policy_rule",))
    return None


def look(
    context: Context,
    action: Action,
    rules: Rules = SHIPPED_RULES,
    standing: Standing = NOBODY,
    now: datetime | None = None,
) -> tuple[Decision, Sight]:
    """Of which studies an act about studies is allowed: Cedar is asked of every kind that there can be.

    Refused is whoever no relation would help; who merely has none sees nothing, as in an empty archive.
    """
    standing = replace(standing, opened=context.opened) if context.opened else standing
    denied = _denied(context, action, rules)
    if denied is not None:
        return denied, Sight((), standing)
    varying = standing.varying(sensitive=rules.sensitive)
    asked = question_of(context, action, rules, frozenset(), now)
    decision, kinds = rules.policies.summed_up(
        asked, varying, lambda _anybody: _looked(context, action, rules, varying, now)
    )
    return decision, Sight(kinds, standing)


def _looked(
    context: Context,
    action: Action,
    rules: Rules,
    varying: tuple[Fact, ...],
    now: datetime | None,
) -> tuple[Decision, tuple[Kind, ...]]:
    constant = LIMITS - frozenset(varying)
    seen: set[Facts] = set()
    decision: Decision | None = None
    for facts in combinations(varying):
        answer = decide(context, action, rules, facts | constant, now)
        if answer.allowed:
            seen.add(facts)
        if decision is None or (answer.allowed and not decision.allowed):
            decision = answer
    assert decision is not None  # there is at least the set of no facts
    if seen:
        return decision, summed_up(varying, frozenset(seen))
    for relations in combinations(sorted(RELATIONS)):
        answer = decide(context, action, rules, relations | LIMITS, now)
        if answer.allowed:
            return answer, ()
    return decide(context, action, rules, now=now), ()


def machine_standing(actor: Actor, now: datetime) -> Standing:
    """What a peer is limited to: studies of its site, and such as were received lately (clinical 11).

    Whole days, so that the filter of a search stays the same text for a day.
    """
    if actor.kind is not ActorKind.PEER:
        return NOBODY
    sites = frozenset({actor.site}) if actor.confined and actor.site else frozenset[str]()
    if not actor.days:
        return Standing(sites=sites)
    midnight = datetime.combine(now.date(), time(), now.tzinfo)
    return Standing(sites=sites, since=midnight - timedelta(days=actor.days))


def weigh(
    context: Context,
    action: Action,
    rules: Rules = SHIPPED_RULES,
    standing: Standing = NOBODY,
    now: datetime | None = None,
) -> tuple[Decision, Sight]:
    """Decide one act, whatever it is about, and of which studies it is allowed: of an act about none, all."""
    if action in ABOUT_STUDIES:
        return look(context, action, rules, standing, now)
    return decide(context, action, rules, now=now), EVERYTHING


def proof_would_do(
    context: Context,
    action: Action,
    rules: Rules = SHIPPED_RULES,
    standing: Standing = NOBODY,
    now: datetime | None = None,
) -> bool:
    """Whether all that stands against an act is that its person has not proved lately who they are; of an act
    about studies, against every study that it could be about.

    Whichever policy asks for it: one that ships, or one of the tenant's own.
    """
    if context.actor.kind is not ActorKind.PERSON or context.stepped_up:
        return False
    if weigh(context, action, rules, standing, now)[0].allowed:
        return False
    return weigh(replace(context, stepped_up=True), action, rules, standing, now)[0].allowed


def _said(answer: Answer, context: Context, action: Action, policies: PolicySet) -> str:
    if answer.policies:
        return policies.reason(answer.policies[0])
    if answer.failed:
        return "a policy could not be evaluated"
    actor = context.actor
    if actor.kind is ActorKind.PEER:
        return f"this peer was not given {action}"  # no name: one memory serves all of its kind
    if actor.kind is ActorKind.WEB:
        return "not open to who has not signed in"
    roles = ", ".join(sorted(actor.roles)) or "no role"
    return f"{roles} may not {action}"
