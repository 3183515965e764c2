"""Who calls, on a real database: what is kept of a machine, and whose a certificate is (D07, D27)."""

from __future__ import annotations

import pytest

from lightwell.access.context import Context
from lightwell.app.wiring import House
from lightwell.domain.peers.model import Peer, PeerType, Stranger
from lightwell.kernel.errors import Invalid

HERE, ONE, TWO = "127.0.0.1", "a1" * 32, "b2" * 32


async def test_what_was_said_of_a_machine_is_kept(house: House, context: Context) -> None:
    said = Peer("CT_ONE", HERE, 104, PeerType.AI, site="North", identity=True, days=30)
    await house.peers.add(context, said)
    assert await house.peers.list(context) == (said,)
    changed = Peer("CT_ONE", HERE, 104, certificate=":".join(["A1"] * 32))
    await house.peers.add(context, changed)
    (kept,) = await house.peers.list(context)
    assert (kept.certificate, kept.identity, kept.days) == (ONE, False, None)
    with pytest.raises(Invalid, match="fingerprint"):
        await house.peers.add(context, Peer("CT_ONE", HERE, 104, certificate="a1"))
    with pytest.raises(Invalid, match="days back"):
        await house.peers.add(context, Peer("CT_ONE", HERE, 104, days=-1))


async def test_d07_a_certificate_opens_one_title_of_one_tenant(
    house: House, context: Context
) -> None:
    clinic = await house.tenants.create(context, "clinic", aet="CLINIC")
    there = house.operator(clinic)
    await house.peers.add(context, Peer("CT_ONE", HERE, 104, certificate=ONE))
    await house.peers.add(context, Peer("CT_TWO", HERE, 104))
    await house.peers.add(there, Peer("CT_ONE", HERE, 104))
    await house.peers.add(there, Peer("MR_ONE", HERE, 104, certificate=TWO))
    ours = context.tenant.aet

    async def called(tenant: str, title: str, certificate: str | None) -> object:
        found = await house.peers.identify(tenant, title, HERE, certificate)
        return found.actor.name if isinstance(found, Context) else found

    assert await called(ours, "CT_ONE", ONE) == "CT_ONE"
    assert await called(ours, "CT_TWO", None) == "CT_TWO"
    assert await called(ours, "CT_TWO", "c3" * 32) == "CT_TWO"  # of the authority, and nobody's
    assert await called("CLINIC", "CT_ONE", None) == "CT_ONE"
    for tenant, title, certificate in (
        (ours, "CT_ONE", None),
        (ours, "CT_ONE", TWO),
        (ours, "CT_TWO", ONE),
        (ours, "CT_TWO", TWO),  # the neighbour's
        ("CLINIC", "CT_ONE", ONE),
        ("CLINIC", "MR_ONE", ONE),
    ):
        assert await called(tenant, title, certificate) is Stranger.WRONG_CERTIFICATE
    await house.peers.add(context, Peer("CT_ONE", HERE, 104, certificate=ONE, revoked=True))
    assert await called(ours, "CT_ONE", ONE) is Stranger.REVOKED
    assert (
        await called(ours, "CT_TWO", ONE) is Stranger.WRONG_CERTIFICATE
    )  # shut out under any title


async def test_d27_a_machine_that_must_say_who_it_speaks_for(
    house: House, context: Context
) -> None:
    await house.peers.add(context, Peer("CT_ONE", HERE, 104, identity=True))
    ours = context.tenant.aet
    assert await house.peers.identify(ours, "CT_ONE", HERE) is Stranger.NO_IDENTITY
    assert isinstance(await house.peers.identify(ours, "CT_ONE", HERE, named=True), Context)
