"""Storage commitment: due requests are answered from re-hashed bytes, in a new association."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from lightwell.access.context import Tenant, system_context
from lightwell.app.wiring import House
from lightwell.backends.database.chores import flush_inline
from lightwell.backends.database.commitments import CommitmentQueue
from lightwell.domain.archive.model import NO_SUCH_OBJECT, Vouched
from lightwell.domain.archive.ports import StoreUnavailable
from lightwell.gateways.dimse.commitment import CommitmentCourier

log = logging.getLogger("lightwell.commitment")

AT_ONCE = 8
IN_FLIGHT = timedelta(seconds=10)  # images may still be on their way when the request comes
GIVE_UP = timedelta(days=7)


async def deliver_commitments(house: House) -> int:
    """Try what is due; returns how many were delivered.

    A peer that is down is tried again with growing pauses (10 s to 1 h) for seven days; the answer is
    worked out anew each time, because what was safe may have been damaged since, and the other way round.
    """
    delivered = 0
    for tenant in await house.tenants.everyone():
        if tenant.suspended:
            continue
        try:
            delivered += await _deliver(house, tenant)
        except StoreUnavailable:  # of its region: others have theirs
            log.warning("commitments of tenant %d wait for their store", tenant.key)
    return delivered


async def _deliver(house: House, tenant: Tenant) -> int:
    delivered = 0
    queue, courier = CommitmentQueue(house.database), CommitmentCourier()
    context = system_context(tenant)
    for request in await house.index.due_commitments(tenant, AT_ONCE):
        peer = await house.peers.destination(context, request.peer)
        await _settle_inline(house, tenant)
        answers = await house.archive.vouch(context, request.items)
        if _still_arriving(answers, request.requested):
            continue
        done = False
        if peer is not None:
            done = await courier.deliver(peer, request.called, request.transaction_uid, answers)
        await queue.settle(tenant, request, answers, delivered=done, give_up=GIVE_UP)
        delivered += done
        log.info("commitment for %s: %s", request.peer, "delivered" if done else "later")
    return delivered


async def _settle_inline(house: House, tenant: Tenant) -> None:
    """Nothing is vouched for that lies in the database only: put it into the store first."""
    while await flush_inline(house.work, house.blobs, {tenant.key: tenant}):
        pass


def _still_arriving(answers: list[Vouched], requested: datetime) -> bool:
    unknown = any(answer.failure == NO_SUCH_OBJECT for answer in answers)
    return unknown and datetime.now(UTC) - requested < IN_FLIGHT
