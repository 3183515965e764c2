"""Who is calling: a title alone is never identity (clinical.md 11, D06, D07)."""

from __future__ import annotations

import pytest

from lightwell.access.actions import Action
from lightwell.access.context import Context, Tenant
from lightwell.access.policy import Denial, Rules, decide
from lightwell.domain.peers.model import Peer, PeerType, Stranger, checked_grants, judge
from lightwell.kernel.errors import Invalid

PEER = Peer("CT1", "192.0.2.7", 104)
NOBODY: frozenset[str] = frozenset()
TENANT = Tenant(1, "default", "Default", "LIGHTWELL")


@pytest.mark.parametrize(
    ("peer", "address", "resolved", "certificate", "expected"),
    [
        (PEER, "192.0.2.7", NOBODY, None, None),
        (PEER, "::ffff:192.0.2.7", NOBODY, None, None),
        (PEER, "192.0.2.8", NOBODY, None, Stranger.WRONG_ADDRESS),
        (PEER, "not an address", NOBODY, None, Stranger.WRONG_ADDRESS),
        (None, "192.0.2.7", NOBODY, None, Stranger.UNKNOWN_CALLING),
        (Peer("CT1", "192.0.2.0/24", 104), "192.0.2.9", NOBODY, None, None),
        (Peer("CT1", "ct1.hospital", 104), "192.0.2.9", frozenset({"192.0.2.9"}), None, None),
        (Peer("CT1", "ct1.hospital", 104), "192.0.2.9", NOBODY, None, Stranger.WRONG_ADDRESS),
        (Peer("CT1", "192.0.2.7", 104, revoked=True), "192.0.2.7", NOBODY, None, Stranger.REVOKED),
        (Peer("CT1", "192.0.2.7", 104, certificate="aa"), "198.51.100.1", NOBODY, "aa", None),
        (
            Peer("CT1", "192.0.2.7", 104, certificate="aa"),
            "192.0.2.7",
            NOBODY,
            "bb",
            Stranger.WRONG_CERTIFICATE,
        ),
        (
            Peer("CT1", "192.0.2.7", 104, certificate="aa"),
            "192.0.2.7",
            NOBODY,
            None,
            Stranger.WRONG_CERTIFICATE,
        ),
    ],
)
def test_d07_title_and_place(
    peer: Peer | None,
    address: str,
    resolved: frozenset[str],
    certificate: str | None,
    expected: Stranger | None,
) -> None:
    assert judge(peer, address, resolved, certificate) is expected


@pytest.mark.parametrize(
    ("kind", "may"),
    [
        (PeerType.MODALITY, {"echo", "store"}),
        (PeerType.WORKSTATION, {"echo", "store", "find", "move", "get"}),
        (PeerType.ARCHIVE, {"echo"}),
        (PeerType.AI, {"echo"}),
    ],
)
def test_what_a_type_may_without_a_grant(kind: PeerType, may: set[str]) -> None:
    assert Peer("X", "192.0.2.1", 1, type=kind).grants == may


def context(peer: Peer, tenant: Tenant = TENANT) -> Context:
    return Context(tenant, peer.actor(None), channel="dimse")


def test_default_deny() -> None:
    modality = context(PEER)
    assert decide(modality, Action.ARCHIVE_INSTANCE_STORE).allowed
    assert not decide(modality, Action.ARCHIVE_STUDY_QUERY).allowed
    assert not decide(modality, Action.ARCHIVE_STUDY_REJECT).allowed


def test_a_denial_wins_and_gives_its_reason() -> None:
    rules = Rules((Denial("peer:CT*", "archive:instance:*", "recalled detector"),))
    decision = decide(context(PEER), Action.ARCHIVE_INSTANCE_STORE, rules)
    assert (decision.allowed, decision.reason) == (False, "recalled detector")
    assert decide(
        context(Peer("MR1", "192.0.2.9", 1)), Action.ARCHIVE_INSTANCE_STORE, rules
    ).allowed


def test_a_suspended_tenant_is_shut_for_everybody() -> None:
    closed = Tenant(1, "default", "Default", "LIGHTWELL", suspended=True)
    assert not decide(context(PEER, closed), Action.PEERS_PEER_ECHO).allowed


def test_grants_that_do_not_exist_are_refused() -> None:
    with pytest.raises(Invalid, match="delete"):
        checked_grants(frozenset({"store", "delete"}))


@pytest.mark.parametrize(
    ("type_", "allow", "itself_only"),
    [
        (PeerType.WORKSTATION, frozenset(), True),
        (PeerType.WORKSTATION, frozenset({"move"}), False),
        (PeerType.ARCHIVE, frozenset({"move"}), False),
        (PeerType.ARCHIVE, frozenset(), False),
    ],
)
def test_a_workstation_sends_to_itself_unless_it_was_granted_more(
    type_: PeerType, allow: frozenset[str], itself_only: bool
) -> None:
    peer = Peer("SCREEN", "127.0.0.1", 104, type_, allow)
    assert peer.sends_to_itself_only is itself_only
