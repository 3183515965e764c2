"""Leases: what was located before a change is never kept after it."""

from __future__ import annotations

import uuid

from lightwell.access.context import Actor, ActorKind
from lightwell.domain.archive.internal.leases import NOT_OPENED, LeaseDesk, Scope
from lightwell.domain.archive.model import Lease

HERE = ("loopback", False, "treatment")
SCOPE: Scope = (1, Actor(ActorKind.WEB, "local"), "dicomweb", "1.2", None, NOT_OPENED, HERE)


def lease() -> Lease:
    return Lease(uuid.uuid4(), "1.2", None, expires=100.0, instances={}, version="1")


def test_a_lease_serves_until_what_it_opens_changes() -> None:
    desk, one = LeaseDesk(), lease()
    assert desk.hold(SCOPE, one, desk.drops) == []
    assert desk.find(SCOPE, 0.0) is one
    assert [use.lease for use in desk.drop(1, "1.2")] == [one]
    assert desk.find(SCOPE, 0.0) is None


def test_a_change_between_locating_and_holding_is_not_missed() -> None:
    """Otherwise a rejected image would be shown until the lease ends, a quarter of an hour later."""
    desk = LeaseDesk()
    before = desk.drops
    assert desk.drop(1, "1.2") == []  # nothing is held yet: the change would leave no trace
    assert desk.hold(SCOPE, lease(), before) is None
    assert desk.find(SCOPE, 0.0) is None
    assert desk.hold(SCOPE, lease(), desk.drops) == []


def test_r05_what_was_opened_in_an_emergency_is_not_found_when_it_is_shut() -> None:
    desk, one = LeaseDesk(), lease()
    opened: Scope = (*SCOPE[:5], frozenset({("HOSP", "P1")}), HERE)
    assert desk.hold(opened, one, desk.drops) == []
    assert desk.find(opened, 0.0) is one
    assert desk.find(SCOPE, 0.0) is None


def test_a_lease_of_inside_the_house_opens_nothing_outside() -> None:
    desk, one = LeaseDesk(), lease()
    assert desk.hold(SCOPE, one, desk.drops) == []
    for elsewhere in (("public", False, "treatment"), ("loopback", True, "treatment")):
        assert desk.find((*SCOPE[:6], elsewhere), 0.0) is None
    assert desk.find(SCOPE, 0.0) is one
