"""Who is calling: a title alone is never identity (clinical.md 11, D06, D07)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lightwell.access.actions import Action
from lightwell.access.context import Context, Tenant
from lightwell.access.policy import Denial, Rules, decide
from lightwell.domain.peers.model import (
    PLAIN_DAYS,
    Call,
    Peer,
    PeerType,
    Stranger,
    checked_certificate,
    checked_days,
    checked_grants,
    checked_peer,
    judge,
)
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
    assert judge(peer, TENANT.key, Call(address, resolved, certificate)) is expected


CERTIFIED = Peer("CT1", "192.0.2.7", 104, certificate="aa")


@pytest.mark.parametrize(
    ("peer", "holders", "expected"),
    [
        (CERTIFIED, {(1, "CT1")}, None),
        (CERTIFIED, {(1, "CT1"), (1, "CT2")}, None),  # one machine under two titles
        (CERTIFIED, {(1, "CT2")}, Stranger.WRONG_CERTIFICATE),
        (CERTIFIED, {(2, "CT1")}, Stranger.WRONG_CERTIFICATE),  # another tenant's
        (
            PEER,
            {(1, "CT2")},
            Stranger.WRONG_CERTIFICATE,
        ),  # right address, somebody else's certificate
        (PEER, set(), None),
    ],
)
def test_d07_a_certificate_speaks_for_its_own_title_and_tenant(
    peer: Peer, holders: set[tuple[int, str]], expected: Stranger | None
) -> None:
    call = Call("192.0.2.7", NOBODY, "aa", frozenset(holders))
    assert judge(peer, TENANT.key, call) is expected


@pytest.mark.parametrize(
    ("identity", "named", "expected"),
    [
        (False, False, None),
        (False, True, None),
        (True, True, None),
        (True, False, Stranger.NO_IDENTITY),
    ],
)
def test_d27_a_peer_that_must_say_who_it_speaks_for(
    identity: bool, named: bool, expected: Stranger | None
) -> None:
    peer = Peer("CT1", "192.0.2.7", 104, identity=identity)
    assert judge(peer, TENANT.key, Call("192.0.2.7", named=named)) is expected


@pytest.mark.parametrize(
    ("peer", "confined", "days"),
    [
        (Peer("X", "192.0.2.1", 1), False, PLAIN_DAYS),
        (Peer("X", "192.0.2.1", 1, site="North"), True, PLAIN_DAYS),
        (Peer("X", "192.0.2.1", 1, site="North", days=30), True, 30),
        (Peer("X", "192.0.2.1", 1, days=0), False, 0),
        (Peer("X", "192.0.2.1", 1, site="North", certificate="aa"), False, 0),
        (Peer("X", "192.0.2.1", 1, certificate="aa", days=7), False, 7),
        (Peer("X", "192.0.2.1", 1, allow=frozenset({"find"}), site="North"), True, PLAIN_DAYS),
    ],
)
def test_how_far_a_machine_sees(peer: Peer, confined: bool, days: int) -> None:
    """Plain: its site, and a year back. With a certificate: what its grants say (clinical 11)."""
    actor = peer.actor(None)
    assert (actor.confined, actor.days) == (confined, days)


# What each type may, on its own and by explicit grant: e(cho), s(tore), c(ommitment), f(ind), r(etrieve).
OPERATIONS = {
    "e": Action.PEERS_PEER_ECHO,
    "s": Action.ARCHIVE_INSTANCE_STORE,
    "c": Action.ARCHIVE_COMMITMENT_REQUEST,
    "f": Action.ARCHIVE_STUDY_QUERY,
    "r": Action.ARCHIVE_INSTANCE_RETRIEVE,
}


@pytest.mark.parametrize(
    ("kind", "allow", "may"),
    [
        (PeerType.MODALITY, (), "esc"),
        (PeerType.WORKSTATION, (), "escfr"),
        (PeerType.ARCHIVE, (), "e"),
        (PeerType.AI, (), "e"),
        (PeerType.MODALITY, ("find",), "ef"),
        (PeerType.WORKSTATION, ("echo",), "e"),
        (PeerType.ARCHIVE, ("store", "find", "move"), "escfr"),
        (PeerType.AI, ("get",), "er"),
        (PeerType.AI, ("find", "store"), "escf"),
    ],
)
def test_what_a_type_may_is_a_table(kind: PeerType, allow: tuple[str, ...], may: str) -> None:
    asking = context(Peer("X", "192.0.2.1", 1, kind, frozenset(allow)))
    allowed = {letter for letter, action in OPERATIONS.items() if decide(asking, action).allowed}
    assert allowed == set(may)
    for action in set(Action) - set(OPERATIONS.values()):
        assert not decide(asking, action).allowed, action  # nothing beside what DICOM has


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


def test_a_fingerprint_is_taken_as_tools_print_it() -> None:
    assert checked_certificate(None) is None
    assert checked_certificate(":".join(["AB"] * 32)) == "ab" * 32
    for wrong in ("", "ab", "g" * 64, "ab" * 33):
        with pytest.raises(Invalid, match="fingerprint"):
            checked_certificate(wrong)
    for days in (-1, 36_501):
        with pytest.raises(Invalid, match="days back"):
            checked_days(days)


@pytest.mark.parametrize(
    "change",
    [{"host": "a b"}, {"port": 70_000}, {"port": -1}, {"site": "a\0b"}, {"site": ""}, {"issuer": "x" * 65},
     {"charset": "\n"}, {"zone": "\x1b[0m"}, {"syntaxes": ("1.2.\0",)}, {"syntaxes": ("1.2",) * 65},
     {"allow": frozenset({"everything"})}, {"days": -1}, {"certificate": "ab"}],
)  # fmt: skip
def test_what_cannot_be_kept_of_a_peer_is_refused_before_it_is_written_down(
    change: dict[str, Any],
) -> None:
    good = Peer(
        "CT", "192.0.2.7", 104, site="Münster", issuer="HOSP", syntaxes=("1.2.840.10008.1.2.1",)
    )
    assert checked_peer(good) == good
    with pytest.raises(Invalid):
        checked_peer(replace(good, **change))
