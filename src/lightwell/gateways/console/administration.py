"""Administration by the web app: people, keys, sessions, policies, tenants, machines.

Each address is parse, one call to the room's front door, render. Who may do what is the room's answer; a
change is JSON of a bounded size, and under a cookie it comes from our own page.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field

from lightwell.access.actions import Action
from lightwell.domain.peers.api import Peers
from lightwell.domain.peers.model import GRANTABLE, MOST_DAYS, Peer, PeerType
from lightwell.domain.peers.probe_api import PeerProbes
from lightwell.domain.people.api import People
from lightwell.domain.people.policy_api import Policies
from lightwell.domain.people.provider_api import Providers
from lightwell.domain.people.relations_api import Relations
from lightwell.domain.tenants.api import Tenants
from lightwell.domain.tenants.branding import NOTICE_LIMIT
from lightwell.domain.tenants.erase_api import Erasing
from lightwell.domain.tenants.model import NAMES_LIMIT, QUOTA_LIMIT
from lightwell.gateways.console.administration_views import (
    ConsentView,
    DoorView,
    Ended,
    ErasureView,
    ExplainView,
    KeyView,
    Named,
    PeerPage,
    PersonView,
    PolicyView,
    ProbeView,
    ProspectView,
    RegionView,
    SecretView,
    SessionView,
    TenantDetail,
    door_view,
    erasure_view,
    explain_view,
    key_view,
    peer_page,
    person_view,
    policy_view,
    probe_view,
    prospect_view,
    region_view,
    secret_view,
    session_view,
    tenant_detail,
)
from lightwell.gateways.console.callers import Who, deliberate
from lightwell.gateways.console.standing import add_standing
from lightwell.kernel.errors import Invalid, Missing

ROLES_LIMIT = 20
CONSENT_HOURS = 168


@dataclass(frozen=True, slots=True)
class Offices:
    """The front doors that administration goes through."""

    people: People
    policies: Policies
    tenants: Tenants
    erasing: Erasing
    peers: Peers
    probes: PeerProbes
    providers: Providers
    relations: Relations


Word = Annotated[str, Field(max_length=64)]
Roles = Annotated[list[Word], Field(max_length=ROLES_LIMIT)]


class _Asked(BaseModel):
    """What is asked for; anything that is not named here is refused (R08)."""

    model_config = ConfigDict(extra="forbid")


class NewPerson(_Asked):
    login: str = Field(max_length=200)
    name: str = Field(default="", max_length=200)
    roles: Roles


class PersonChange(_Asked):
    """What is not said stays."""

    roles: Roles | None = None
    disabled: bool | None = None


class NewLink(_Asked):
    roles: Roles


class NewKey(_Asked):
    name: str = Field(max_length=200)
    roles: Roles
    scopes: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=50)] = []
    days: float = Field(default=90.0, gt=0, le=366)


class EndSessions(_Asked):
    """`of`: whose; nobody in particular: everybody's but one's own."""

    of: str | None = Field(default=None, max_length=200)


class PolicyText(_Asked):
    text: str = Field(max_length=16 * 1024)


class NewTenant(_Asked):
    name: str = Field(max_length=64)
    label: str = Field(default="", max_length=200)
    aet: str = Field(max_length=16)
    region: str | None = Field(default=None, max_length=64)


class TenantChange(_Asked):
    """What is not said stays."""

    label: str | None = Field(default=None, max_length=200)
    settling: str | None = Field(default=None, max_length=20)
    accent: str | None = Field(default=None, max_length=20)
    notice: str | None = Field(default=None, max_length=NOTICE_LIMIT)
    zone: str | None = Field(default=None, max_length=100)


class Suspension(_Asked):
    """Why, for whoever resumes it."""

    reason: str = Field(max_length=400)


class ErasureAsked(_Asked):
    """The tenant's name once more, and why it is erased."""

    name: str = Field(max_length=64)
    reason: str = Field(max_length=400)


class Names(_Asked):
    """All further AE titles, all hosts: what is not named is taken away."""

    titles: Annotated[list[Word], Field(max_length=NAMES_LIMIT)]
    hosts: Annotated[list[Annotated[str, Field(max_length=255)]], Field(max_length=NAMES_LIMIT)]


class Quota(_Asked):
    """How many bytes and studies; null: no limit."""

    bytes: int | None = Field(ge=0, le=QUOTA_LIMIT)
    studies: int | None = Field(ge=0, le=QUOTA_LIMIT)


class Consent(_Asked):
    """For how long support is let in; 0 ends it."""

    hours: float = Field(ge=0, le=CONSENT_HOURS)


class PeerBody(_Asked):
    """A machine. `replace`: it is there already and is changed."""

    aet: str = Field(min_length=1, max_length=16)
    host: str = Field(min_length=1, max_length=255)
    port: int = Field(ge=0, le=65535)
    type: PeerType = PeerType.MODALITY
    allow: Annotated[
        list[Literal["echo", "store", "find", "move", "get"]], Field(max_length=len(GRANTABLE))
    ] = []
    site: str | None = Field(default=None, max_length=64)
    issuer: str | None = Field(default=None, max_length=64)
    charset: str | None = Field(default=None, max_length=64)
    zone: str | None = Field(default=None, max_length=64)
    syntaxes: Annotated[list[Word], Field(max_length=64)] = []
    certificate: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    revoked: bool = False
    identity: bool = False
    days: int | None = Field(default=None, ge=0, le=MOST_DAYS)
    replace: bool = False


class PeerNamed(_Asked):
    aet: str = Field(min_length=1, max_length=16)


CHANGE = [Depends(deliberate)]


def add_administration(app: FastAPI, prefix: str, offices: Offices) -> None:
    """Put the addresses on the application, below `prefix`."""
    router = APIRouter(prefix=prefix)
    _add_people(router, offices.people)
    add_standing(router, offices.people, offices.relations)
    _add_keys(router, offices.people)
    _add_sessions(router, offices.people)
    _add_policies(router, offices.policies)
    _add_tenants(router, offices)
    _add_peers(router, offices.peers)
    _add_probes(router, offices.probes)
    app.include_router(router)


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise Missing("There is nothing of that id.") from None


def _add_people(router: APIRouter, people: People) -> None:
    @router.get("/people", summary="The accounts of the tenant")
    async def list_people(who: Who) -> list[PersonView]:
        return [person_view(person) for person in await people.list(who)]

    @router.post("/people", summary="Make an account", status_code=201, dependencies=CHANGE)
    async def add_person(who: Who, asked: NewPerson) -> SecretView:
        made = await people.add(who, asked.login, name=asked.name, roles=asked.roles)
        return secret_view(made)

    @router.patch("/people/{login}", summary="Other roles, shut or open", dependencies=CHANGE)
    async def change_person(who: Who, login: str, asked: PersonChange) -> PersonView:
        person = await people.change(who, login, roles=asked.roles, disabled=asked.disabled)
        return person_view(person)

    @router.post(
        "/people/{login}/enrolment",
        summary="A link to choose anew what one signs in with",
        status_code=201,
        dependencies=CHANGE,
    )
    async def enrol_person(who: Who, login: str) -> SecretView:
        return secret_view(await people.new_enrolment(who, login))

    @router.post("/links", summary="A one-time sign-in link", status_code=201, dependencies=CHANGE)
    async def new_link(who: Who, asked: NewLink) -> SecretView:
        return secret_view(await people.new_link(who, asked.roles))


def _add_keys(router: APIRouter, people: People) -> None:
    @router.get("/keys", summary="The keys of programs")
    async def list_keys(who: Who) -> list[KeyView]:
        return [key_view(program) for program in await people.keys(who)]

    @router.post("/keys", summary="Give a program a key", status_code=201, dependencies=CHANGE)
    async def add_key(who: Who, asked: NewKey) -> SecretView:
        life = timedelta(days=asked.days)
        made = await people.new_key(
            who, asked.name, roles=asked.roles, scopes=asked.scopes, life=life
        )
        return secret_view(made)

    @router.delete("/keys/{key}", summary="Take a key away", status_code=204, dependencies=CHANGE)
    async def revoke_key(who: Who, key: str) -> None:
        await people.revoke_key(who, _id(key))


def _add_sessions(router: APIRouter, people: People) -> None:
    @router.get("/sessions", summary="Who is signed in")
    async def list_sessions(who: Who) -> list[SessionView]:
        return [session_view(session, who) for session in await people.sessions(who)]

    @router.post("/sessions/end", summary="End somebody's sessions", dependencies=CHANGE)
    async def end_sessions(who: Who, asked: EndSessions) -> Ended:
        return Ended(ended=await people.end_sessions(who, asked.of))

    @router.delete(
        "/sessions/{session}", summary="End a session", status_code=204, dependencies=CHANGE
    )
    async def end_session(who: Who, session: str) -> None:
        await people.revoke_session(who, _id(session))

    @router.get("/me/sessions", summary="Where one is signed in oneself")
    async def own_sessions(who: Who) -> list[SessionView]:
        return [session_view(session, who) for session in await people.own_sessions(who)]

    @router.post("/me/sessions/end", summary="End one's other sessions", dependencies=CHANGE)
    async def end_own(who: Who) -> Ended:
        return Ended(ended=await people.end_other_sessions(who))


def _add_policies(router: APIRouter, policies: Policies) -> None:
    @router.get("/policies", summary="The policies in force")
    async def list_policies(who: Who) -> list[PolicyView]:
        return [policy_view(policy) for policy in await policies.list(who)]

    @router.put("/policies", summary="Write a policy of the tenant's own", dependencies=CHANGE)
    async def put_policy(who: Who, asked: PolicyText) -> Named:
        return Named(name=await policies.put(who, asked.text))

    @router.delete(
        "/policies/{name}",
        summary="Take back a policy of the tenant's own",
        status_code=204,
        dependencies=CHANGE,
    )
    async def remove_policy(who: Who, name: str) -> None:
        await policies.remove(who, name)

    @router.get("/explain", summary="What somebody may do here, and why")
    async def explain(
        who: Who,
        login: Annotated[str, Query(max_length=200)] = "",
        role: Annotated[list[Word] | None, Query(max_length=ROLES_LIMIT)] = None,
        action: Annotated[str, Query(max_length=100)] = "",
        at: Annotated[str, Query(max_length=40)] = "",
    ) -> ExplainView:
        """Without `action`: for every one there is. `role` in the place of an account. `at`: at another time
        than now, `07:30` or `2026-03-29T07:30`, local to the tenant where it has no offset."""
        if action and action not in set(Action):
            raise Invalid("There is no such action.", remedy="Leave it out to see all.")
        if bool(login) == bool(role):
            raise Invalid("Name an account or roles.", remedy="One of the two.")
        found = await policies.explain_all(
            who,
            login or "-",
            roles=frozenset(role) if role else None,
            actions=(Action(action),) if action else tuple(Action),
            at=at,
        )
        return explain_view(found)


def _add_tenants(router: APIRouter, offices: Offices) -> None:
    tenants, policies, erasing = offices.tenants, offices.policies, offices.erasing

    @router.post("/tenants", summary="Make a tenant", status_code=201, dependencies=CHANGE)
    async def add_tenant(who: Who, asked: NewTenant) -> TenantDetail:
        made = await tenants.create(
            who, asked.name, label=asked.label, aet=asked.aet, region=asked.region, new=True
        )
        return tenant_detail(made)

    @router.get("/regions", summary="Where a new tenant's images can lie")
    async def regions(who: Who) -> list[RegionView]:
        """The default one first; for who may know of all tenants."""
        return [region_view(place) for place in await tenants.regions(who)]

    @router.get("/tenants/details", summary="Tenants, and how each keeps its images")
    async def tenant_details(who: Who) -> list[TenantDetail]:
        used = await tenants.usage(who)
        return [tenant_detail(each, used.get(each.key)) for each in await tenants.list(who)]

    @router.put(
        "/tenants/{name}/suspension", summary="Serve a tenant no longer", dependencies=CHANGE
    )
    async def suspend(who: Who, name: str, asked: Suspension) -> TenantDetail:
        return tenant_detail(await tenants.suspend(who, name, asked.reason))

    @router.delete(
        "/tenants/{name}/suspension", summary="Serve a tenant again", dependencies=CHANGE
    )
    async def resume(who: Who, name: str) -> TenantDetail:
        return tenant_detail(await tenants.resume(who, name))

    @router.get("/tenants/{name}/erasure", summary="What would go with a tenant")
    async def prospect(who: Who, name: str) -> ProspectView:
        return prospect_view(await erasing.prospect(who, name))

    @router.post(
        "/tenants/{name}/erasure",
        summary="Erase a suspended tenant, for good",
        status_code=202,
        dependencies=CHANGE,
    )
    async def erase(who: Who, name: str, asked: ErasureAsked) -> ErasureView:
        return erasure_view(await erasing.begin(who, name, asked.name, asked.reason))

    @router.put("/tenants/{name}/quota", summary="How much a tenant may keep", dependencies=CHANGE)
    async def limit(who: Who, name: str, asked: Quota) -> TenantDetail:
        return tenant_detail(
            await tenants.limit(who, name, studies=asked.studies, size=asked.bytes)
        )

    @router.put("/tenants/{name}/names", summary="By what a tenant is called", dependencies=CHANGE)
    async def name(who: Who, name: str, asked: Names) -> TenantDetail:
        return tenant_detail(await tenants.name(who, name, titles=asked.titles, hosts=asked.hosts))

    @router.patch("/tenant", summary="Name, looks, settling of this tenant", dependencies=CHANGE)
    async def change_tenant(who: Who, asked: TenantChange) -> TenantDetail:
        return tenant_detail(await tenants.configure(who, **asked.model_dump()))

    @router.get("/tenant/consent", summary="Until when support is let in")
    async def read_consent(who: Who) -> ConsentView:
        return ConsentView(until=await policies.support_until(who))

    @router.put("/tenant/consent", summary="Let support in, or out", dependencies=CHANGE)
    async def consent(who: Who, asked: Consent) -> ConsentView:
        life = timedelta(hours=asked.hours) if asked.hours else None
        return ConsentView(until=await policies.consent(who, life))


def _add_peers(router: APIRouter, peers: Peers) -> None:
    @router.get("/peers", summary="The machines that may connect")
    async def list_peers(who: Who) -> PeerPage:
        return peer_page(await peers.list(who), who.tenant)

    @router.put("/peers", summary="Let a machine in, or change it", dependencies=CHANGE)
    async def put_peer(who: Who, asked: PeerBody) -> Named:
        said = asked.model_dump(exclude={"replace", "allow", "syntaxes"})
        peer = Peer(**said, allow=frozenset(asked.allow), syntaxes=tuple(asked.syntaxes))
        await peers.add(who, peer, new=not asked.replace)
        return Named(name=asked.aet)

    # A title may hold a slash: it is said in the body.
    @router.post(
        "/peers/remove", summary="Shut a machine out", status_code=204, dependencies=CHANGE
    )
    async def remove_peer(who: Who, asked: PeerNamed) -> None:
        await peers.remove(who, asked.aet)


def _add_probes(router: APIRouter, probes: PeerProbes) -> None:
    @router.get("/peers/door", summary="What the DICOM door has seen since the start")
    async def door(who: Who) -> DoorView:
        return door_view(await probes.door(who))

    @router.post("/peers/echo", summary="C-ECHO to a machine", dependencies=CHANGE)
    async def echo(who: Who, asked: PeerNamed) -> ProbeView:
        return probe_view(await probes.echo(who, asked.aet))

    @router.post("/peers/trial-image", summary="C-STORE a trial image", dependencies=CHANGE)
    async def send_trial_image(who: Who, asked: PeerNamed) -> ProbeView:
        return probe_view(await probes.send_trial_image(who, asked.aet))
