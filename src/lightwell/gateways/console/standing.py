"""What an account is to patients, what it is limited to, and its seal: parse, one call, render."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from lightwell.domain.people.api import People
from lightwell.domain.people.glass import DEFAULT_PLACES, PLACES_MOST
from lightwell.domain.people.model import Limit, RelationKind
from lightwell.domain.people.relations_api import Relations, Stands
from lightwell.gateways.console.administration_views import SecretView, secret_view
from lightwell.gateways.console.callers import Who, deliberate

Line = Annotated[str, Field(max_length=200)]


class _Asked(BaseModel):
    """What is asked for; anything that is not named here is refused (R08)."""

    model_config = ConfigDict(extra="forbid")


class RelationBody(_Asked):
    """`name`: patient ID, study UID or code, by kind; `issuer`: of the ID, or the coding scheme."""

    kind: RelationKind
    name: Line
    issuer: Line = ""


class LimitBody(_Asked):
    """None: not limited any more."""

    values: Annotated[list[Line], Field(max_length=64)]


class SealBody(_Asked):
    """`roles`, `name`: of an account that is made now."""

    name: Line = ""
    roles: Annotated[list[Line], Field(max_length=20)] = []
    places: Annotated[list[Line], Field(max_length=PLACES_MOST)] = list(DEFAULT_PLACES)


class RelationView(BaseModel):
    """What somebody is to a patient or study."""

    kind: str
    name: str
    issuer: str


class StandingView(BaseModel):
    """Whose patients are theirs, and what they are limited to: a list that is empty limits nothing."""

    relations: list[RelationView]
    limits: dict[str, list[str]]


def stands_view(stands: Stands) -> StandingView:
    """What is recorded of an account."""
    return StandingView(
        relations=[
            RelationView(kind=each.kind, name=each.name, issuer=each.issuer)
            for each in stands.relations
        ],
        limits={limit.value: sorted(stands.limits.get(limit, ())) for limit in Limit},
    )


def add_standing(router: APIRouter, people: People, relations: Relations) -> None:
    """Put the addresses on the router."""
    guards = [Depends(deliberate)]

    @router.get("/people/{login}/standing", summary="Whose patients are theirs, and their limits")
    async def read_standing(who: Who, login: str) -> StandingView:
        return stands_view(await relations.of(who, login))

    @router.post(
        "/people/{login}/relations",
        summary="Record what somebody is to a patient or study",
        status_code=204,
        dependencies=guards,
    )
    async def relate(who: Who, login: str, asked: RelationBody) -> None:
        await relations.relate(who, login, asked.kind, asked.name, asked.issuer)

    # A patient ID does not stand in addresses, which are written to logs: it is said in the body.
    @router.post(
        "/people/{login}/relations/end",
        summary="Take a relation back",
        status_code=204,
        dependencies=guards,
    )
    async def unrelate(who: Who, login: str, asked: RelationBody) -> None:
        await relations.unrelate(who, login, asked.kind, asked.name, asked.issuer)

    @router.put(
        "/people/{login}/limits/{limit}",
        summary="Limit somebody to institutions, departments or modalities",
        status_code=204,
        dependencies=guards,
    )
    async def limit_person(who: Who, login: str, limit: Limit, asked: LimitBody) -> None:
        await relations.limit(who, login, limit, asked.values)

    @router.post(
        "/people/{login}/seal",
        summary="Seal an emergency account, which is made when it is not there",
        status_code=201,
        dependencies=guards,
    )
    async def seal(who: Who, login: str, asked: SealBody) -> SecretView:
        made = await people.seal(
            who, login, name=asked.name, roles=asked.roles, places=asked.places
        )
        return secret_view(made)
