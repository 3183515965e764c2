"""The wrapper around every front-door method: policy before, record after.

`@operation(Action.X)` turns `async def do(self, act, …)` into `async def do(self, context, …)`:
it asks policy, hands the method an `Act`, and sees to it that exactly one audit record of the act is
written: *done* with the ChangeSet (or on its own when the method wrote nothing), *failed* or *refused*
on their own.

An act about studies carries a `Sight`: the studies of which policy allows it. A method that never asked for
it although it is not everything has answered unfiltered: that is a bug, and its answer goes nowhere.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from lightwell.access.actions import Action
from lightwell.access.audit import Outcome, record
from lightwell.access.cedar import ABOUT_STUDIES
from lightwell.access.commit import ChangeSet, Committed, Committer, Event
from lightwell.access.context import ActorKind, Context
from lightwell.access.policy import (
    Rules,
    holds_until,
    machine_standing,
    proof_would_do,
    weigh,
)
from lightwell.access.ports import PolicySource
from lightwell.access.roles import Role
from lightwell.access.sight import EVERYTHING, Sight, both
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Refused

log = logging.getLogger("lightwell.access")

P = ParamSpec("P")
R = TypeVar("R")


class ProofWanted(Refused):
    """Allowed as soon as the person has proved again who they are: the door asks, and repeats the act."""


class Room(Protocol):
    """What a class needs for its methods to be operations."""

    policy: PolicySource
    committer: Committer
    clock: Clock


class Act:
    """One permitted act under way: its context, and the way to write."""

    __slots__ = (
        "_looked",
        "_recorded",
        "_room",
        "_sight",
        "action",
        "consent_by",
        "context",
        "detail",
        "study_uid",
        "subject",
    )

    def __init__(
        self,
        room: Room,
        context: Context,
        action: Action,
        sight: Sight = EVERYTHING,
        *,
        consent_by: str = "",
    ) -> None:
        self._room = room
        self.context = context
        self.action = action
        self.subject = ""
        self.study_uid = ""
        self.detail = ""
        self.consent_by = consent_by  # of support: who let them in, for the record (R09)
        self._recorded = False
        self._sight = sight
        self._looked = sight.everything

    @property
    def sight(self) -> Sight:
        """The studies of which the act is allowed: to be given to whatever looks at rows."""
        self._looked = True
        return self._sight

    async def look_again(self) -> Sight:
        """The same as it is now. Raises Refused."""
        self._sight = await permit(self._room, self.context, self.action)
        return self.sight

    async def holds_until(self, now: datetime) -> datetime | None:
        """When policy, asked again, may say something else by the time of day alone; None: never. What is
        granted by this act for longer ends then."""
        rules = await self._room.policy.in_force(self.context.tenant)
        asked = [self.context]
        if self.context.actor.via is not None:
            asked.append(replace(self.context, actor=self.context.actor.via))
        ends = (holds_until(each, self.action, rules, now) for each in asked)
        return min((end for end in ends if end is not None), default=None)

    @property
    def unfiltered(self) -> bool:
        """Whether something was kept from them, and nobody asked what."""
        return not self._looked

    def about(self, *, study_uid: str = "", subject: str = "", detail: str = "") -> None:
        """Say what the act is about, for its record."""
        self.study_uid, self.subject, self.detail = study_uid, subject, detail

    async def commit(self, rows: tuple[object, ...], events: tuple[Event, ...] = ()) -> Committed:
        """Write rows, events and this act's record in one transaction."""
        self._recorded = True
        try:
            return await self._room.committer.commit(self._change(rows, events, Outcome.DONE))
        except BaseException:
            self._recorded = False
            raise

    def note(self, outcome: Outcome) -> None:
        """Record the act on its own, if nothing has recorded it yet."""
        if not self._recorded:
            self._recorded = True
            self._room.committer.note(self._change((), (), outcome))

    def _change(
        self, rows: tuple[object, ...], events: tuple[Event, ...], outcome: Outcome
    ) -> ChangeSet:
        detail = self.detail
        if self.consent_by:
            detail = f"let in by {self.consent_by}; {detail}".removesuffix("; ")
        entry = record(
            self.context,
            self.action,
            outcome,
            self._room.clock.now(),
            study_uid=self.study_uid,
            subject=self.subject,
            detail=detail,
        )
        return ChangeSet(self.context.tenant, rows, events, (entry,))


async def permit(room: Room, context: Context, action: Action) -> Sight:
    """The studies of which policy allows the act; of an act that is about none, everything.

    Of somebody whom a machine has named, policy must allow it to both: them, and the machine. Raises Refused
    when it allows it of none, ProofWanted where a proof is all that is missing; the refusal is recorded.
    """
    return await _permitted(room, context, action, await room.policy.in_force(context.tenant))


async def _permitted(room: Room, context: Context, action: Action, rules: Rules) -> Sight:
    now, via = room.clock.now(), context.actor.via
    standing = machine_standing(context.actor, now)
    if action in ABOUT_STUDIES and context.actor.kind is ActorKind.PERSON:
        standing = await room.policy.standing(context.tenant, context.actor)
    decision, sight = weigh(context, action, rules, standing, now)
    if decision.allowed and via is not None:
        machine = replace(context, actor=via)
        decision, its = weigh(machine, action, rules, machine_standing(via, now), now)
        sight = both(sight, its)
    if not decision.allowed:
        act = Act(room, context, action, consent_by=_consent_by(context, rules))
        act.about(detail=decision.reason)
        act.note(Outcome.REFUSED)
        if proof_would_do(context, action, rules, standing, now):
            raise ProofWanted(f"First {decision.reason}.", remedy="Then it is done.")
        raise Refused(f"Not allowed: {decision.reason}.", remedy="Ask the PACS administrator.")
    return sight


def _consent_by(context: Context, rules: Rules) -> str:
    """Who let support in, when it is support that acts; else nobody."""
    return rules.consent_by if Role.SUPPORT in context.actor.roles else ""


def operation(
    action: Action,
) -> Callable[
    [Callable[Concatenate[Any, Act, P], Coroutine[Any, Any, R]]],
    Callable[Concatenate[Any, Context, P], Coroutine[Any, Any, R]],
]:
    """Make a front-door method of `async def method(self, act, …)`; see the module's text."""

    def decorate(
        method: Callable[Concatenate[Any, Act, P], Coroutine[Any, Any, R]],
    ) -> Callable[Concatenate[Any, Context, P], Coroutine[Any, Any, R]]:
        @functools.wraps(method)
        async def front_door(self: Any, context: Context, *args: P.args, **kwargs: P.kwargs) -> R:
            rules = await self.policy.in_force(context.tenant)
            sight = await _permitted(self, context, action, rules)
            act = Act(self, context, action, sight, consent_by=_consent_by(context, rules))
            try:
                result = await method(self, act, *args, **kwargs)
                if act.unfiltered:
                    raise RuntimeError(f"{action} was answered without its filter")
            except BaseException as error:
                act.detail = act.detail or type(error).__name__
                act.note(Outcome.FAILED)
                raise
            act.note(Outcome.DONE)
            return result

        front_door.action = action  # type: ignore[attr-defined]
        return cast("Callable[Concatenate[Any, Context, P], Coroutine[Any, Any, R]]", front_door)

    return decorate
