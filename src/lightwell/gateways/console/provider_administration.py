"""Identity providers on the administration pages: parse, one call, render. A secret goes in, never out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field

from lightwell.domain.people.errors import NotLetIn
from lightwell.domain.people.ports import Finding
from lightwell.domain.people.provider_api import Providers
from lightwell.domain.people.providers import (
    DEFAULT_GROUPS_CLAIM,
    DEFAULT_LOGIN_CLAIM,
    DEFAULT_SCOPES,
    IdentityProvider,
)
from lightwell.gateways.console.api import PREFIX
from lightwell.gateways.console.callers import Who, deliberate
from lightwell.gateways.console.provider_sign_in import (
    callback_path,
    public_root,
    signed_out_path,
)
from lightwell.gateways.http.identity import Identity

ROOT = f"{PREFIX}/providers"
#: Stands for a provider's name in the callback address that the page shows before there is one.
NAME_PLACE = "NAME"

Line = Annotated[str, Field(max_length=300)]
RoleMap = Annotated[dict[Line, Annotated[list[Line], Field(max_length=20)]], Field(max_length=200)]
Scopes = Annotated[list[Line], Field(max_length=20)]
Secret = Annotated[str, Field(max_length=1000)]


class _Asked(BaseModel):
    """What is asked for; anything that is not named here is refused (R08)."""

    model_config = ConfigDict(extra="forbid")


class NewProvider(_Asked):
    """`roles`: group to roles. `secret`: null for a public client."""

    name: Line
    issuer: Line
    client_id: Line
    roles: RoleMap
    secret: Secret | None = Field(default=None, repr=False)
    label: Line = ""
    scopes: Scopes = list(DEFAULT_SCOPES)
    groups_claim: Line = DEFAULT_GROUPS_CLAIM
    login_claim: Line = DEFAULT_LOGIN_CLAIM
    end_session: bool = False


class ProviderChange(_Asked):
    """What is not said stays."""

    enabled: bool | None = None
    label: Line | None = None
    client_id: Line | None = None
    secret: Secret | None = Field(default=None, repr=False)
    roles: RoleMap | None = None
    scopes: Scopes | None = None
    groups_claim: Line | None = None
    login_claim: Line | None = None
    end_session: bool | None = None


class ProviderDetail(BaseModel):
    """A provider as its administrator knows it. `public`: it has no client secret here."""

    name: str
    label: str
    issuer: str
    client_id: str
    public: bool
    scopes: list[str]
    groups_claim: str
    login_claim: str
    roles: dict[str, list[str]]
    enabled: bool
    end_session: bool
    made_by: str
    created: datetime


class ProviderPage(BaseModel):
    """The providers, the address that each sends browsers back to, with `NAME` for its name, and the one to
    which it sends who has signed out there; null: this server does not know what browsers call it."""

    callback: str | None
    signed_out: str | None
    items: list[ProviderDetail]


class StepView(BaseModel):
    """What was found of one part of the connection."""

    step: str
    good: bool
    text: str


class TestView(BaseModel):
    """How the connection was found, part by part; the last is the one that failed, if one did."""

    well: bool
    steps: list[StepView]


def provider_detail(provider: IdentityProvider) -> ProviderDetail:
    """A provider as the page knows it, never its secret."""
    return ProviderDetail(
        name=provider.name,
        label=provider.label,
        issuer=provider.issuer,
        client_id=provider.client_id,
        public=provider.secret is None,
        scopes=list(provider.scopes),
        groups_claim=provider.groups_claim,
        login_claim=provider.login_claim,
        roles={group: sorted(given) for group, given in sorted(provider.roles.items())},
        enabled=provider.enabled,
        end_session=provider.end_session,
        made_by=provider.made_by,
        created=provider.created,
    )


def test_view(found: tuple[Finding, ...]) -> TestView:
    """How a connection was found."""
    return TestView(
        well=bool(found) and all(finding.good for finding in found),
        steps=[StepView(step=each.step, good=each.good, text=each.text) for each in found],
    )


def add_provider_administration(
    app: FastAPI, providers: Providers, identity: Identity, public_url: str | None
) -> None:
    """Put the addresses on the application."""
    guards = [Depends(deliberate)]

    def root(request: Request) -> str | None:
        try:
            return public_root(request, public_url, secure=identity.secure(request.scope))
        except NotLetIn:
            return None

    @app.get(ROOT, summary="The identity providers that the tenant trusts")
    async def list_providers(who: Who, request: Request) -> ProviderPage:
        there, ours, name = await providers.list(who), root(request), who.tenant.name
        return ProviderPage(
            callback=None if ours is None else ours + callback_path(name, NAME_PLACE),
            signed_out=None if ours is None else ours + signed_out_path(name),
            items=[provider_detail(provider) for provider in there],
        )

    @app.post(ROOT, summary="Trust an identity provider", status_code=201, dependencies=guards)
    async def add_provider(who: Who, asked: NewProvider) -> ProviderDetail:
        said = asked.model_dump(exclude={"name"})
        return provider_detail(await providers.add(who, asked.name, **said))

    @app.patch(
        f"{ROOT}/{{name}}", summary="Change a provider, or switch it on or off", dependencies=guards
    )
    async def change_provider(who: Who, name: str, asked: ProviderChange) -> ProviderDetail:
        return provider_detail(await providers.change(who, name, **asked.model_dump()))

    @app.delete(
        f"{ROOT}/{{name}}",
        summary="Trust an identity provider no longer",
        status_code=204,
        dependencies=guards,
    )
    async def remove_provider(who: Who, name: str) -> None:
        await providers.remove(who, name)

    @app.post(
        f"{ROOT}/{{name}}/test",
        summary="Look at each part of the connection to a provider",
        dependencies=guards,
    )
    async def examine_provider(who: Who, name: str) -> TestView:
        return test_view(await providers.test(who, name))
