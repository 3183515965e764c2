"""The front door for looking after machines: do they answer, do they take an image, what came of them."""

from __future__ import annotations

from lightwell.access.actions import Action
from lightwell.access.commit import Committer
from lightwell.access.context import Context
from lightwell.access.operation import Act, operation
from lightwell.access.ports import PolicySource
from lightwell.domain.peers.model import DoorSeen, Peer, Probed
from lightwell.domain.peers.ports import DoorBook, PeerBook, Probe
from lightwell.domain.tenants.model import DEFAULT
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Conflict, Missing


class PeerProbes:
    """Call a registered peer, and read what the doors have seen."""

    def __init__(
        self,
        book: PeerBook,
        probe: Probe,
        doors: DoorBook,
        policy: PolicySource,
        committer: Committer,
        clock: Clock,
    ) -> None:
        self._book = book
        self._probe = probe
        self._doors = doors
        self.policy = policy
        self.committer = committer
        self.clock = clock

    @operation(Action.PEERS_PEER_PROBE)
    async def echo(self, act: Act, aet: str) -> Probed:
        """C-ECHO from us to a peer. Raises Missing, Conflict when it has no address to call, Busy."""
        act.about(subject=aet, detail="echo")
        probed = await self._probe.echo(
            await self._callable(act.context, aet), act.context.tenant.aet
        )
        act.about(subject=aet, detail=f"echo: {probed.said}")
        return probed

    @operation(Action.PEERS_PEER_PROBE)
    async def send_trial_image(self, act: Act, aet: str) -> Probed:
        """C-STORE of one image that is no patient's, to a peer that may be sent images. Raises as `echo`."""
        act.about(subject=aet, detail="trial image")
        probed = await self._probe.store(
            await self._callable(act.context, aet), act.context.tenant.aet
        )
        act.about(subject=aet, detail=f"trial image: {probed.said}")
        return probed

    @operation(Action.PEERS_DOOR_READ)
    async def door(self, act: Act) -> DoorSeen:
        """What came under the tenant's AE titles. Calls of titles that are nobody's are for `default`."""
        tenant = act.context.tenant
        return (await self._doors.seen()).called(
            (tenant.aet, *tenant.titles), nobody=tenant.name == DEFAULT
        )

    async def _callable(self, context: Context, aet: str) -> Peer:
        peer = await self._book.peer(context.tenant, aet)
        if peer is None:
            raise Missing(f"No peer is called {aet!r}.", remedy="Register it first.")
        if not peer.callable:
            raise Conflict(
                f"{aet} has no address that can be called.",
                remedy="Give it a host (not a network) and a port other than 0.",
            )
        return peer
