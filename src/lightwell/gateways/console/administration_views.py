"""What the administration pages show, made from what the rooms answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime

from pydantic import BaseModel, Field

from lightwell.access.cedar import Policy
from lightwell.access.context import Context, Tenant
from lightwell.domain.peers.model import TYPE_GRANTS, DoorSeen, Peer, Probed
from lightwell.domain.people.api import Made
from lightwell.domain.people.model import Person, Program, Session
from lightwell.domain.people.policy_api import Explained
from lightwell.domain.tenants.erase_api import Prospect
from lightwell.domain.tenants.erasing import Erasure
from lightwell.domain.tenants.model import Usage
from lightwell.domain.tenants.regions import Place


class PersonView(BaseModel):
    """An account. `issuer`: of the provider that it signs in through, null: none. `sealed`: its password is
    in an envelope, which opens it from `places` only; `unsealed`: when that was opened first. `enrolled`:
    there is something to sign in with."""

    login: str
    name: str
    roles: list[str]
    disabled: bool
    issuer: str | None
    sealed: bool
    places: list[str]
    unsealed: datetime | None
    created: datetime
    enrolled: bool


class SecretView(BaseModel):
    """Something new and its secret, which is told once."""

    id: str
    secret: str = Field(repr=False)


class KeyView(BaseModel):
    """A program's key, never its secret."""

    id: str
    name: str
    roles: list[str]
    scopes: list[str]
    made_by: str
    created: datetime
    expires: datetime
    revoked: datetime | None


class SessionView(BaseModel):
    """A sign-in. `mine`: the one that asks."""

    id: str
    name: str
    how: str
    origin: str
    agent: str
    since: datetime
    seen: datetime
    until: datetime
    mine: bool


class Ended(BaseModel):
    """How many sessions were ended."""

    ended: int


class Named(BaseModel):
    """What was written."""

    name: str


class PolicyView(BaseModel):
    """A policy as an auditor reads it."""

    name: str
    effect: str
    reason: str
    shipped: bool
    text: str


class DecisionView(BaseModel):
    """Whether one action is allowed, in words, and by which policies. `partly`: with some studies only."""

    action: str
    allowed: bool
    partly: bool
    reason: str
    policies: list[str]


class ExplainView(BaseModel):
    """Decisions, and the policies they name."""

    decisions: list[DecisionView]
    policies: list[PolicyView]


class TenantDetail(BaseModel):
    """A tenant, how it keeps its images, how many it may and does. What it uses is told in lists only."""

    name: str
    label: str
    demo: bool
    aet: str
    region: str
    settling: str
    accent: str
    notice: str
    zone: str
    suspended: bool
    suspension: str
    erasing: bool
    titles: list[str]
    hosts: list[str]
    quota_bytes: int | None
    quota_studies: int | None
    used_bytes: int | None
    used_studies: int | None


class ProspectView(BaseModel):
    """What would go with a tenant; `obstacle`: why it may not go now, null when nothing forbids it."""

    name: str
    studies: int
    objects: int
    bytes: int
    obstacle: str | None


class ErasureView(BaseModel):
    """A tenant that is being erased, or was: `finished`."""

    name: str
    studies: int
    objects: int
    bytes: int
    reason: str
    begun: datetime
    finished: datetime | None


class RegionView(BaseModel):
    """A region, and the law that it is under."""

    name: str
    jurisdiction: str


class ConsentView(BaseModel):
    """Until when support is let in; null: it is not."""

    until: datetime | None


class PeerView(BaseModel):
    """A machine. `allow`: what was said it may do; `may`: what it may, by that or by its type; `callable`:
    whether it has an address that can be called."""

    aet: str
    host: str
    port: int
    type: str
    allow: list[str]
    may: list[str]
    site: str | None
    issuer: str | None
    charset: str | None
    zone: str | None
    syntaxes: list[str]
    certificate: str | None
    revoked: bool
    identity: bool
    days: int | None
    callable: bool


class PeerPage(BaseModel):
    """The machines, the title by which they call this tenant, and what each type may by itself."""

    aet: str
    items: list[PeerView]
    types: dict[str, list[str]]


class MachineView(BaseModel):
    """What a machine did since the server started."""

    calling: str
    heard: datetime
    associations: int
    echoes: int
    stored: int
    store_failures: int
    bytes_received: int
    queries: int
    retrievals: int
    suboperations: int
    suboperation_failures: int
    denied: int


class RefusalView(BaseModel):
    """Associations that were turned away alike."""

    called: str
    calling: str
    address: str
    why: str
    times: int
    at: datetime


class DoorView(BaseModel):
    """The DICOM door since the server started, the latest first."""

    machines: list[MachineView]
    refused: list[RefusalView]


class ProbeView(BaseModel):
    """How a call of ours went. `status`: of the DIMSE answer, null when there was none."""

    well: bool
    said: str
    status: int | None


def person_view(person: Person) -> PersonView:
    """An account as the page knows it."""
    return PersonView(
        login=person.login,
        name=person.name,
        roles=sorted(person.roles),
        disabled=person.disabled,
        issuer=person.issuer or None,
        sealed=person.seal is not None,
        places=list(person.seal.places) if person.seal else [],
        unsealed=person.seal.broken if person.seal else None,
        created=person.created,
        enrolled=person.enrolled,
    )


def secret_view(made: Made) -> SecretView:
    """What is told once."""
    return SecretView(id=str(made.id), secret=made.secret)


def key_view(program: Program) -> KeyView:
    """A key as the page knows it."""
    return KeyView(
        id=str(program.program_id),
        name=program.name,
        roles=sorted(program.roles),
        scopes=sorted(program.scopes),
        made_by=program.made_by,
        created=program.created,
        expires=program.expires,
        revoked=program.revoked,
    )


def session_view(session: Session, who: Context) -> SessionView:
    """A sign-in as the page knows it."""
    return SessionView(
        id=str(session.session_id),
        name=session.name,
        how=session.how,
        origin=session.origin,
        agent=session.agent,
        since=session.created,
        seen=session.seen,
        until=session.expires,
        mine=str(session.session_id) == who.actor.session,
    )


def policy_view(policy: Policy) -> PolicyView:
    """A policy as the page knows it."""
    return PolicyView(**asdict(policy))


def explain_view(found: Explained) -> ExplainView:
    """Decisions, with the wording of those policies that decided."""
    return ExplainView(
        decisions=[
            DecisionView(
                action=action,
                allowed=decision.allowed,
                partly=action in found.partly,
                reason=decision.reason,
                policies=list(decision.policies),
            )
            for action, decision in found.decisions.items()
        ],
        policies=[policy_view(policy) for policy in found.policies],
    )


def tenant_detail(tenant: Tenant, used: Usage | None = None) -> TenantDetail:
    """A tenant as its administrator knows it."""
    return TenantDetail(
        name=tenant.name,
        label=tenant.label,
        demo=tenant.demo,
        aet=tenant.aet,
        region=tenant.region,
        settling=tenant.settling,
        accent=tenant.accent,
        notice=tenant.notice,
        zone=tenant.zone,
        suspended=tenant.suspended,
        suspension=tenant.suspension,
        erasing=tenant.erasing,
        titles=list(tenant.titles),
        hosts=list(tenant.hosts),
        quota_bytes=tenant.quota_bytes,
        quota_studies=tenant.quota_studies,
        used_bytes=used.bytes if used else None,
        used_studies=used.studies if used else None,
    )


def prospect_view(prospect: Prospect) -> ProspectView:
    """What would go."""
    keeps, obstacle = prospect.keeps, prospect.obstacle
    return ProspectView(
        name=prospect.tenant.name,
        studies=keeps.studies,
        objects=keeps.objects,
        bytes=keeps.bytes,
        obstacle=f"{obstacle.what} {obstacle.remedy}" if obstacle else None,
    )


def erasure_view(erasure: Erasure) -> ErasureView:
    """What was decided."""
    return ErasureView(
        name=erasure.name,
        studies=erasure.kept.studies,
        objects=erasure.kept.objects,
        bytes=erasure.kept.bytes,
        reason=erasure.reason,
        begun=erasure.begun,
        finished=erasure.finished,
    )


def region_view(place: Place) -> RegionView:
    """A region as the page knows it."""
    return RegionView(name=place.name, jurisdiction=place.jurisdiction)


def peer_view(peer: Peer) -> PeerView:
    """A machine as the page knows it."""
    return PeerView(
        aet=peer.aet,
        host=peer.host,
        port=peer.port,
        type=peer.type,
        allow=sorted(peer.allow),
        may=sorted(peer.grants),
        site=peer.site,
        issuer=peer.issuer,
        charset=peer.charset,
        zone=peer.zone,
        syntaxes=list(peer.syntaxes),
        certificate=peer.certificate,
        revoked=peer.revoked,
        identity=peer.identity,
        days=peer.days,
        callable=peer.callable,
    )


def peer_page(peers: Iterable[Peer], tenant: Tenant) -> PeerPage:
    """The machines of a tenant."""
    return PeerPage(
        aet=tenant.aet,
        items=[peer_view(peer) for peer in peers],
        types={kind.value: sorted(grants) for kind, grants in TYPE_GRANTS.items()},
    )


def door_view(seen: DoorSeen) -> DoorView:
    """What the door has seen."""
    return DoorView(
        machines=[MachineView(**asdict(machine)) for machine in seen.machines],
        refused=[RefusalView(**asdict(refused)) for refused in seen.refused],
    )


def probe_view(probed: Probed) -> ProbeView:
    """How a call went."""
    return ProbeView(**asdict(probed))
