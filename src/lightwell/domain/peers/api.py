"""The front door of the room of peers."""

from __future__ import annotations

from lightwell.access.actions import Action
from lightwell.access.audit import Outcome, record
from lightwell.access.commit import ChangeSet, Committer, Event
from lightwell.access.context import Actor, ActorKind, Context, Tenant
from lightwell.access.operation import Act, operation
from lightwell.access.ports import Journal, PolicySource
from lightwell.domain.peers.model import (
    Call,
    Peer,
    PeerGoneRow,
    PeerRow,
    Stranger,
    checked_peer,
    judge,
)
from lightwell.domain.peers.ports import PeerBook, Resolver
from lightwell.domain.tenants.api import Tenants
from lightwell.domain.tenants.model import checked_aet
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Conflict, Missing


class Peers:
    """Who is calling, whom may we call, and who is registered."""

    def __init__(
        self,
        book: PeerBook,
        resolver: Resolver,
        tenants: Tenants,
        journal: Journal,
        policy: PolicySource,
        committer: Committer,
        clock: Clock,
    ) -> None:
        self._book = book
        self._resolver = resolver
        self._tenants = tenants
        self._journal = journal
        self.policy = policy
        self.committer = committer
        self.clock = clock

    async def identify(
        self,
        called: str,
        calling: str,
        address: str,
        certificate: str | None = None,
        *,
        named: bool = False,
    ) -> Context | Stranger:
        """Called AE title = tenant; calling title plus address or certificate = actor. `named`: the
        association says who it speaks for, which some peers must.

        Runs before there is a context. A stranger is recorded with its address (D06, D07).
        """
        tenant = await self._tenants.called(called)
        if tenant is None:
            return Stranger.UNKNOWN_CALLED
        if tenant.suspended:
            self._record_stranger(tenant, calling, address, Stranger.SUSPENDED)
            return Stranger.SUSPENDED
        peer = await self._book.peer(tenant, calling)
        resolved = await self._resolver.addresses(peer.host) if peer else frozenset[str]()
        holders = frozenset[tuple[int, str]]()
        if certificate is not None:
            holders = await self._book.holders(certificate)
        stranger = judge(peer, tenant.key, Call(address, resolved, certificate, holders, named))
        if stranger is not None or peer is None:
            reason = stranger or Stranger.UNKNOWN_CALLING
            self._record_stranger(tenant, calling, address, reason)
            return reason
        issuer = await self._book.site_issuer(tenant, peer.site) if peer.site else None
        return Context(tenant, peer.actor(issuer), channel="dimse", origin=address)

    def _record_stranger(self, tenant: Tenant, calling: str, address: str, why: Stranger) -> None:
        nobody = Context(tenant, Actor(ActorKind.PEER, calling), channel="dimse", origin=address)
        entry = record(
            nobody, Action.PEERS_PEER_ECHO, Outcome.REFUSED, self.clock.now(), detail=why
        )
        self.committer.note(ChangeSet(tenant, (), (), (entry,)))

    async def destination(self, context: Context, aet: str) -> Peer | None:
        """A peer of the same tenant that may be sent images, or None (D08: never another's).

        A workstation that asks by what its type may sends to itself only (clinical 11).
        """
        peer = await self._book.peer(context.tenant, aet)
        if peer is None or peer.revoked or peer.port == 0:
            return None
        machine = context.actor.machine
        if machine.kind is ActorKind.PEER and machine.name != aet:
            asking = await self._book.peer(context.tenant, machine.name)
            if asking is None or asking.sends_to_itself_only:
                return None
        return peer

    @operation(Action.PEERS_PEER_ECHO)
    async def echo(self, act: Act) -> None:
        """Verification (PS3.4 A): recorded, nothing else."""

    @operation(Action.PEERS_PEER_LIST)
    async def list(self, act: Act) -> tuple[Peer, ...]:
        """All peers of the tenant."""
        return await self._book.peers(act.context.tenant)

    @operation(Action.PEERS_PEER_ADD)
    async def add(self, act: Act, peer: Peer, *, new: bool = False) -> None:
        """Register a peer, or replace what was registered under its title.

        `new`: raises Conflict instead of replacing one.
        """
        checked_aet(peer.aet)
        peer = checked_peer(peer)
        if peer.aet in (act.context.tenant.aet, *act.context.tenant.titles):
            raise Conflict("That is our own AE title.", remedy="Give the other machine's title.")
        act.about(subject=peer.aet, detail=" ".join(sorted(peer.grants)))
        if new and await self._book.peer(act.context.tenant, peer.aet) is not None:
            raise Conflict(
                f"There is a peer {peer.aet!r}.", remedy="Change it, or remove it first."
            )
        await self._journal.append(act.context.tenant, "peer", peer_to_json(peer))
        await act.commit((PeerRow(peer),), (Event("PeerChanged", {"aet": peer.aet}),))

    @operation(Action.PEERS_PEER_REMOVE)
    async def remove(self, act: Act, aet: str) -> None:
        """Shut a peer out; associations under way end by themselves, the next is refused."""
        act.about(subject=aet)
        if await self._book.peer(act.context.tenant, aet) is None:
            raise Missing(f"No peer is called {aet!r}.", remedy="`lightwell peer list` shows them.")
        await self._journal.append(act.context.tenant, "peer-gone", {"aet": aet})
        await act.commit((PeerGoneRow(aet),), (Event("PeerRemoved", {"aet": aet}),))


def peer_to_json(peer: Peer) -> dict[str, object]:
    """A peer as it stands in the journal."""
    return {
        "aet": peer.aet,
        "host": peer.host,
        "port": peer.port,
        "type": peer.type.value,
        "allow": sorted(peer.allow),
        "site": peer.site,
        "issuer": peer.issuer,
        "charset": peer.charset,
        "zone": peer.zone,
        "syntaxes": list(peer.syntaxes),
        "certificate": peer.certificate,
        "revoked": peer.revoked,
        "identity": peer.identity,
        "days": peer.days,
    }
