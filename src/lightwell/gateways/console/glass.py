"""Break-glass and its review by the web app: parse, one call, render."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field

from lightwell.access.context import Context
from lightwell.domain.people.glass import Opening, QueueCounts, Verdict, Which
from lightwell.domain.people.glass_api import Glass, Standing
from lightwell.gateways.console.api import PREFIX
from lightwell.gateways.console.callers import Who, deliberate
from lightwell.gateways.console.sign_in import small

ROOT = f"{PREFIX}/glass"


class _Asked(BaseModel):
    """What is asked for; anything that is not named here is refused (R08)."""

    model_config = ConfigDict(extra="forbid")


class BreakAsked(_Asked):
    """`issuer`: empty where the request form names none."""

    patient_id: str = Field(max_length=200)
    issuer: str = Field(default="", max_length=200)
    reason: str = Field(max_length=2000)


class VerdictAsked(_Asked):
    verdict: Verdict
    remark: str = Field(default="", max_length=2000)


class OpeningView(BaseModel):
    """One opening. `state`: 'open', 'unreviewed' or 'reviewed'. `patient_id` and `issuer` as they were typed;
    of a sealed account there are none."""

    id: uuid.UUID
    kind: str
    state: str
    by: str
    origin: str
    patient_id: str
    issuer: str
    reason: str
    since: datetime
    until: datetime
    ended: datetime | None
    ended_by: str
    overdue: bool
    own: bool
    reviewed: datetime | None
    reviewer: str
    verdict: Verdict | None
    remark: str


class CountsView(BaseModel):
    unreviewed: int
    overdue: int
    open: int


class StandingView(BaseModel):
    """What one has open and may do. `counts` only for those who may review."""

    now: datetime
    open: OpeningView | None
    sealed: bool
    may_break: bool
    counts: CountsView | None


class OpeningPage(BaseModel):
    items: list[OpeningView]
    next_before: uuid.UUID | None
    counts: CountsView
    now: datetime


def opening_view(opening: Opening, context: Context, now: datetime) -> OpeningView:
    """An opening as the caller sees it. One that is over by its time ended then."""
    review, lapsed = opening.review, opening.ended is None and now >= opening.until
    state = "reviewed" if review else "open" if opening.open(now) else "unreviewed"
    return OpeningView(
        id=opening.opening_id,
        kind=opening.kind,
        state=state,
        by=opening.login,
        origin=opening.origin,
        patient_id=opening.patient_id,
        issuer=opening.issuer,
        reason=opening.reason,
        since=opening.since,
        until=opening.until,
        ended=opening.until if lapsed else opening.ended,
        ended_by="time" if lapsed else opening.ended_by,
        overdue=opening.overdue(now),
        own=context.actor.home == context.tenant.name and context.actor.name == opening.login,
        reviewed=review.at if review else None,
        reviewer=review.by if review else "",
        verdict=review.verdict if review else None,
        remark=review.remark if review else "",
    )


def counts_view(counts: QueueCounts) -> CountsView:
    """The queue in numbers."""
    return CountsView(unreviewed=counts.unreviewed, overdue=counts.overdue, open=counts.open)


def standing_view(standing: Standing, context: Context) -> StandingView:
    """How the caller stands."""
    now, mine = standing.now, standing.open
    return StandingView(
        now=now,
        open=opening_view(mine, context, now) if mine else None,
        sealed=standing.sealed,
        may_break=standing.may_break,
        counts=counts_view(standing.counts) if standing.counts else None,
    )


def add_glass(app: FastAPI, glass: Glass) -> None:
    """Put the addresses on the application."""
    guards = [Depends(deliberate), Depends(small)]

    @app.get(ROOT, summary="What one has open in an emergency, and may do")
    async def standing(who: Who) -> StandingView:
        return standing_view(await glass.standing(who), who)

    @app.post(
        ROOT, summary="Open one patient in an emergency", status_code=201, dependencies=guards
    )
    async def break_glass(who: Who, asked: BreakAsked) -> OpeningView:
        opening = await glass.break_glass(
            who, issuer=asked.issuer, patient_id=asked.patient_id, reason=asked.reason
        )
        return opening_view(opening, who, glass.clock.now())

    @app.get(f"{ROOT}/openings", summary="What was opened in emergencies, newest first")
    async def openings(
        who: Who,
        which: Which = Which.ALL,
        before: uuid.UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> OpeningPage:
        items = await glass.entries(who, which=which, limit=limit, before=before)
        now = glass.clock.now()
        return OpeningPage(
            items=[opening_view(each, who, now) for each in items],
            next_before=items[-1].opening_id if len(items) == limit else None,
            counts=counts_view(await glass.counts(who)),
            now=now,
        )

    @app.post(
        f"{ROOT}/openings/{{opening_id}}/end",
        summary="End an opening before its time",
        dependencies=guards,
    )
    async def end(who: Who, opening_id: uuid.UUID) -> OpeningView:
        return opening_view(await glass.end(who, opening_id), who, glass.clock.now())

    @app.post(
        f"{ROOT}/openings/{{opening_id}}/review",
        summary="Judge an opening that is over",
        dependencies=guards,
    )
    async def review(who: Who, opening_id: uuid.UUID, asked: VerdictAsked) -> OpeningView:
        done = await glass.review(who, opening_id, asked.verdict, asked.remark)
        return opening_view(done, who, glass.clock.now())
