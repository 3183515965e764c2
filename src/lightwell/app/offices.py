"""The rooms behind the administration pages: only HTTP processes call machines from there."""

from __future__ import annotations

from lightwell.app.wiring import House
from lightwell.backends.database.directories import PostgresPeers
from lightwell.backends.database.doors import PostgresDoors
from lightwell.domain.peers.probe_api import PeerProbes
from lightwell.gateways.console.administration import Offices
from lightwell.gateways.dimse.probing import AssociationProbe
from lightwell.kernel.clock import SystemClock


def offices_of(house: House) -> Offices:
    """Front doors that the house has, and the one that it takes a DIMSE requestor for."""
    probes = PeerProbes(
        PostgresPeers(house.database),
        AssociationProbe(),
        PostgresDoors(house.database),
        house.policy,
        house.committer,
        SystemClock(),
    )
    return Offices(
        house.people,
        house.policies,
        house.tenants,
        house.erasing,
        house.peers,
        probes,
        house.providers,
        house.relations,
    )
