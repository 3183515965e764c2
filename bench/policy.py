"""What a decision costs with 300 policies: remembered, as nearly every one is; of somebody whose roles were
asked about before; and evaluated anew, as the first of its kind is. Then the same with a policy about the
time of day, for whom it applies and for an action of which it does not speak.

    script/bench policy

Wall clock says what a caller waits, processor time what the machine does; on a busy machine they differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from lightwell.access.actions import Action
from lightwell.access.cedar import SHIPPED
from lightwell.access.context import Actor, ActorKind, Context, Tenant
from lightwell.access.policy import Rules, decide, question_of
from lightwell.access.roles import Role

POLICIES = 300
ROUNDS = 5000
TENANT = Tenant(2, "clinic", "Clinic", "CLINIC", zone="Europe/Berlin")
OF_THE_DAY = (
    '@id("day") @reason("by day only") forbid (principal in Role::"radiologist", action in Action::"search",'
    " resource) when { context.minuteOfDay < 6 * 60 || context.minuteOfDay >= 20 * 60 + 30 };"
)


def own_policies(count: int) -> list[str]:
    """A tenant's own: some for every role and group, with a condition each."""
    roles, groups = tuple(Role), ("see", "search", "correct", "totals", "ingest")
    return [
        f'@id("own-{n}") @reason("rule {n}") {"permit" if n % 3 == 0 else "forbid"} '
        f'(principal in Role::"{roles[n % len(roles)]}", action in Action::"{groups[n % len(groups)]}", '
        f'resource) when {{ context.network == "public" && context.channel == "c{n}" }};'
        for n in range(count)
    ]


def percentiles(samples: list[float]) -> dict[str, float]:
    """Median and 95th percentile in microseconds."""
    ordered = sorted(samples)
    return {
        "p50_us": round(ordered[len(ordered) // 2] * 1e6, 1),
        "p95_us": round(ordered[int(len(ordered) * 0.95)] * 1e6, 1),
    }


def timed(act: Callable[[int], object]) -> dict[str, dict[str, float]]:
    """One act often."""
    wall, processor = [], []
    for n in range(ROUNDS):
        began, began_cpu = time.perf_counter(), time.process_time()
        act(n)
        processor.append(time.process_time() - began_cpu)
        wall.append(time.perf_counter() - began)
    return {"wall": percentiles(wall), "processor": percentiles(processor)}


def radiologist(name: str) -> Context:
    """Somebody new to the memory of decisions."""
    actor = Actor(ActorKind.PERSON, name, home="clinic", roles=frozenset({Role.RADIOLOGIST}))
    return Context(TENANT, actor, channel="dicomweb", origin="10.0.0.7", trace="bench")


def measure_policy() -> dict[str, Any]:
    """All of them."""
    own = own_policies(POLICIES - len(SHIPPED.policies))
    rules = Rules(policies=SHIPPED.with_texts(own))
    one = radiologist("ada")
    decide(one, Action.ARCHIVE_STUDY_QUERY, rules)
    asked = question_of(one, Action.ARCHIVE_STUDY_QUERY)
    by_day, now = Rules(policies=SHIPPED.with_texts([*own[:-1], OF_THE_DAY])), datetime.now(UTC)
    begins = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
    return {
        "policies": len(rules.policies.policies),
        "remembered": timed(lambda _n: decide(one, Action.ARCHIVE_STUDY_QUERY, rules)),
        "somebody else": timed(
            lambda n: decide(radiologist(f"p{n}"), Action.ARCHIVE_STUDY_QUERY, rules)
        ),
        "anew": timed(lambda _n: rules.policies.evaluate(asked)),
        "looks at the minute, remembered": timed(
            lambda _n: decide(one, Action.ARCHIVE_STUDY_QUERY, by_day, now=now)
        ),
        "looks at the minute, a minute later each time": timed(
            lambda n: decide(
                one, Action.ARCHIVE_STUDY_QUERY, by_day, now=begins + timedelta(minutes=n)
            )
        ),
        "looks at the minute, not for this": timed(
            lambda _n: decide(one, Action.ARCHIVE_INSTANCE_STORE, by_day, now=now)
        ),
    }
