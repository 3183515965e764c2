"""Who a peer says it speaks for (D27; PS3.7 D.3.3.7), and how far machines see, with pynetdicom."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from lightwell.access.audit import Outcome
from lightwell.access.commit import ChangeSet
from lightwell.access.context import Tenant, operator_context
from lightwell.backends.memory.committer import MemoryCommitter
from lightwell.domain.peers.model import PeerType
from lightwell.domain.people.api import Made
from lightwell.domain.people.model import Person, PersonChangedRow, PersonRow, ProviderRow
from lightwell.domain.people.providers import IdentityProvider
from lightwell.gateways.dimse.exchange import STANDING_SECONDS
from lightwell.gateways.dimse.limits import DimseLimits
from lightwell.testing.builders import a_study
from lightwell.testing.dimse_house import (
    HOSPITAL,
    LOOPBACK,
    NEIGHBOUR,
    DimseHouse,
    dimse_house,
    memory_rooms,
    store,
)
from lightwell.testing.openid import CLIENT_ID, ScriptedProvider, new_key, signed
from lightwell.testing.served import wait_until

TITLE = "SCREEN"
FIND = StudyRootQueryRetrieveInformationModelFind
MOVE = StudyRootQueryRetrieveInformationModelMove
REJECTED, BUSY = (1, 1, 1), (2, 3, 1)
ADA = uuid.UUID(int=7)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[DimseHouse]:
    with dimse_house(lambda: memory_rooms(tmp_path / "blobs")) as served:
        served.add_peer("LW_SENDER")
        served.add_peer(TITLE)
        yield served


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as one:
        yield one


def said(
    kind: int, first: str, second: str = "", *, answer: bool = True
) -> UserIdentityNegotiation:
    item = UserIdentityNegotiation()
    item.user_identity_type = kind
    item.positive_response_requested = answer
    item.primary_field = first.encode()
    if kind == 2:
        item.secondary_field = second.encode()
    return item


def call(house: DimseHouse, item: UserIdentityNegotiation | None, *contexts: Any) -> Any:
    ae = AE(ae_title=TITLE)
    for context in contexts or (Verification,):
        ae.add_requested_context(context)
    more = {"ext_neg": [item]} if item else {}
    return ae.associate(LOOPBACK, house.port, ae_title="LIGHTWELL", **more)


def refusal(association: Any) -> tuple[int, int, int]:
    assert association.is_rejected
    primitive = association.acceptor.primitive
    return primitive.result, primitive.result_source, primitive.diagnostic


def key(house: DimseHouse, tenant: Tenant = HOSPITAL, **more: Any) -> Made:
    given = {"roles": ["integration"], **more}
    assert house.rooming.people is not None
    return house.run(house.rooming.people.new_key(operator_context(tenant, "t"), "router", **given))


def commit(house: DimseHouse, tenant: Tenant, *rows: object) -> None:
    assert house.rooming.database is not None
    house.run(MemoryCommitter(house.rooming.database).commit(ChangeSet(tenant, rows)))


def trust(house: DimseHouse, provider: ScriptedProvider, tenant: Tenant, subject: str) -> None:
    """A tenant that trusts a provider, with one account of it."""
    now = datetime.now(UTC)
    readers = frozenset({"radiologist"})
    made = IdentityProvider(
        "clinic", "Clinic", provider.issuer, CLIENT_ID, {"readers": readers}, "t", now
    )
    ada = Person(ADA, "ada", "Ada", readers, now, issuer=provider.issuer, subject=subject)
    commit(house, tenant, ProviderRow(made), PersonRow(ada))


def test_d27_a_program_says_its_name_and_key(house: DimseHouse) -> None:
    made = key(house)
    for name in ("router", "ROUTER", str(made.id)):
        association = call(house, said(2, name, made.secret))
        assert association.is_established
        assert association.acceptor.user_identity is not None  # asked for, and answered
        assert association.acceptor.user_identity.server_response == b""
        assert association.send_c_echo().Status == 0
        association.release()
    quiet = call(house, said(2, "router", made.secret, answer=False))
    assert quiet.is_established
    assert quiet.acceptor.user_identity is None
    quiet.release()
    acts = {entry.actor for entry in house.audit() if entry.action == "peers:peer:echo"}
    assert acts == {f"program:router via peer:{TITLE}"}


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("router", "wrong"),
        ("nobody", "wrong"),
        ("router", "lwk_" + "A" * 43),
        ("router", " "),
        ("router", "x" * 60_000),
        ("x" * 60_000, "wrong"),
    ],
)
def test_d27_a_bad_password_is_rejected(house: DimseHouse, name: str, secret: str) -> None:
    """Not taken as the machine that is known: whoever says who they are, proves it or does not come in."""
    key(house)
    assert refusal(call(house, said(2, name, secret))) == REJECTED
    assert house.server.seen()["refusals"][-1]["why"] == "who it speaks for was not proved"
    tried = [entry for entry in house.audit() if entry.action == "people:session:open"]
    assert [(entry.outcome, entry.channel) for entry in tried] == [(Outcome.REFUSED, "dimse")]
    assert secret.strip() == "" or secret not in str(tried)


def test_d27_the_right_key_under_another_name_and_of_another_tenant(house: DimseHouse) -> None:
    made, theirs = key(house), key(house, NEIGHBOUR)
    assert refusal(call(house, said(2, "scanner", made.secret))) == REJECTED
    assert refusal(call(house, said(2, "router", theirs.secret))) == REJECTED


@pytest.mark.parametrize("kind", [1, 3, 4])
def test_d27_a_name_alone_and_what_is_not_served_are_rejected(house: DimseHouse, kind: int) -> None:
    key(house)
    assert refusal(call(house, said(kind, "router"))) == REJECTED


def test_d27_a_peer_that_must_say_who_it_speaks_for(house: DimseHouse) -> None:
    made = key(house)
    house.add_peer(TITLE, identity=True)
    assert refusal(call(house, None)) == REJECTED
    assert refusal(call(house, said(1, "router"))) == REJECTED
    association = call(house, said(2, "router", made.secret))
    assert association.is_established
    association.release()


def test_d27_tries_are_throttled_as_sign_ins_are(house: DimseHouse) -> None:
    made = key(house)
    answers = [refusal(call(house, said(2, "router", "wrong"))) for _ in range(6)]
    assert answers[:5] == [REJECTED] * 5
    assert answers[5] == BUSY
    # By name and place: the same place under another name of the same program is heard.
    association = call(house, said(2, str(made.id), made.secret))
    assert association.is_established
    association.release()


def test_d27_a_person_by_what_their_provider_signed(
    house: DimseHouse, provider: ScriptedProvider
) -> None:
    trust(house, provider, HOSPITAL, "s-1")
    provider.claims = {"nonce": None}
    association = call(house, said(5, provider.id_token()), Verification, FIND)
    assert association.is_established
    assert [status.Status for status, _ in find(association)] == [0]
    assert association.send_c_echo().Status == 0
    association.release()
    searches = [entry for entry in house.audit() if entry.action == "archive:study:query"]
    assert {entry.actor for entry in searches} == {f"person:ada via peer:{TITLE}"}


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"iat": 1},
        {"iss": "https://elsewhere.example"},
        {"iss": None},
        {"aud": "another"},
        {"sub": "s-2"},  # good, of somebody who has no account here
        {"groups": []},  # good, of somebody whose groups mean nothing any more
    ],
)
def test_d27_a_bad_jwt_is_rejected(
    house: DimseHouse, provider: ScriptedProvider, claims: dict[str, Any]
) -> None:
    trust(house, provider, HOSPITAL, "s-1")
    provider.claims = {"nonce": None, **claims}
    assert refusal(call(house, said(5, provider.id_token()))) == REJECTED


def test_d27_a_jwt_nobody_signed_or_somebody_else_did(
    house: DimseHouse, provider: ScriptedProvider
) -> None:
    trust(house, provider, HOSPITAL, "s-1")
    now = int(time.time())
    claims = {"iss": provider.issuer, "sub": "s-1", "aud": CLIENT_ID, "iat": now, "exp": now + 60}
    claims["groups"] = ["readers"]
    other = signed(claims, new_key(kid="k1"))
    good = signed(claims, provider.key)
    head, body, _ = good.split(".")
    for token in (other, f"{head}.{body}.", f"{head}.{body}", "eyJ", "a.b.c", good + "x"):
        assert refusal(call(house, said(5, token))) == REJECTED


def test_d27_a_good_jwt_of_another_tenant_is_rejected(
    house: DimseHouse, provider: ScriptedProvider
) -> None:
    """Also where both trust the same provider: an account is of one tenant."""
    provider.claims = {"nonce": None}
    trust(house, provider, NEIGHBOUR, "s-1")
    assert refusal(call(house, said(5, provider.id_token()))) == REJECTED
    trust(house, provider, HOSPITAL, "s-9")
    assert refusal(call(house, said(5, provider.id_token()))) == REJECTED


# --- what may be done is what both may --------------------------------------------------------------


def find(association: Any) -> list[tuple[Any, Any]]:
    wanted = Dataset()
    wanted.QueryRetrieveLevel = "STUDY"
    wanted.StudyInstanceUID = ""
    return list(association.send_c_find(wanted, FIND))


@pytest.mark.parametrize(
    ("allow", "more", "allowed"),
    [
        ({"find"}, {}, True),
        ({"echo"}, {}, False),  # the program might, the machine may not
        ({"find"}, {"scopes": ["archive:instance:*"]}, False),  # the machine might
        ({"find"}, {"roles": ["researcher"]}, False),  # of a tenant that is no demonstration
    ],
)
def test_both_have_to_be_allowed(
    house: DimseHouse, allow: set[str], more: dict[str, Any], allowed: bool
) -> None:
    store(house, [a_study().with_series("CT").only()])
    house.add_peer(TITLE, allow=frozenset(allow))
    made = key(house, **more)
    association = call(house, said(2, "router", made.secret), FIND)
    answers = [status.Status for status, _ in find(association)]
    association.release()
    assert answers == ([0xFF00, 0] if allowed else [0x0124])


def test_a_revoked_key_ends_the_association_it_opened(house: DimseHouse) -> None:
    made = key(house)
    association = call(house, said(2, "router", made.secret))
    assert association.send_c_echo().Status == 0
    assert house.rooming.people is not None
    house.run(house.rooming.people.revoke_key(operator_context(HOSPITAL, "t"), made.id))
    time.sleep(STANDING_SECONDS)
    assert "Status" not in association.send_c_echo()
    wait_until(lambda: association.is_aborted, 10, "the association was not aborted")
    assert refusal(call(house, said(2, "router", made.secret))) == REJECTED


def test_a_person_who_was_shut_ends_with_their_association(
    house: DimseHouse, provider: ScriptedProvider
) -> None:
    trust(house, provider, HOSPITAL, "s-1")
    provider.claims = {"nonce": None}
    association = call(house, said(5, provider.id_token()), FIND)
    assert [status.Status for status, _ in find(association)] == [0]
    commit(house, HOSPITAL, PersonChangedRow(ADA, disabled=True))
    time.sleep(STANDING_SECONDS)
    assert ["Status" in status for status, _ in find(association)] == [False]


# --- how far a machine without a certificate sees (clinical 11) ---------------------------------------


def found(house: DimseHouse) -> set[str]:
    association = call(house, None, FIND)
    answers = {row.StudyInstanceUID for status, row in find(association) if status.Status == 0xFF00}
    association.release()
    return answers


def test_a_plain_machine_sees_its_site_and_what_came_lately(house: DimseHouse) -> None:
    north = a_study(seed=1, InstitutionName="North").with_series("CT").only()
    south = a_study(seed=2, InstitutionName="South").with_series("CT").only()
    assert store(house, [north, south]) == [0, 0]
    both = {north.study_uid, south.study_uid}
    assert found(house) == both
    house.add_peer(TITLE, site="North")
    assert found(house) == {north.study_uid}
    assert house.rooming.database is not None
    tables = house.rooming.database.of(HOSPITAL.key)
    old = tables.studies.get(north.study_uid)
    assert old is not None
    tables.studies.put(north.study_uid, replace(old, received=datetime(2020, 1, 2, tzinfo=UTC)))
    tables.studies.publish()
    assert found(house) == set()
    house.add_peer(TITLE, site="North", days=0)
    assert found(house) == {north.study_uid}
    house.add_peer(TITLE)
    assert found(house) == {south.study_uid}


def test_a_plain_machine_searches_at_a_bounded_pace(tmp_path: Path) -> None:
    limits = DimseLimits(plain_queries=3)
    with dimse_house(lambda: memory_rooms(tmp_path / "blobs"), limits=limits) as house:
        house.add_peer(TITLE)
        association = call(house, None, FIND)
        answers = [find(association)[-1][0].Status for _ in range(4)]
        association.release()
    assert answers == [0, 0, 0, 0xA700]


# --- where images may be sent (D08) -------------------------------------------------------------------


def test_d08_images_go_to_registered_peers_and_nowhere_else(
    house: DimseHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A title is looked up, never taken for an address: nothing is connected to for one that is not there."""
    dialled: list[Any] = []
    monkeypatch.setattr(
        "lightwell.gateways.dimse.retrieval.associate", lambda *args: dialled.append(args)
    )
    one = a_study(seed=1).with_series("CT").only()
    assert store(house, [one]) == [0]
    house.add_peer("OTHERS", tenant=NEIGHBOUR, port=11112)
    house.add_peer("ARCHIVE2", PeerType.ARCHIVE, port=11112)
    house.add_peer(TITLE, port=0)
    wanted = Dataset()
    wanted.QueryRetrieveLevel = "STUDY"
    wanted.StudyInstanceUID = one.study_uid
    association = call(house, None, MOVE)
    titles = ["EVIL", "127.0.0.1", "169.254.169.254", "OTHERS", "ARCHIVE2", TITLE]
    for title in titles:  # the last has no port; ARCHIVE2 is not the workstation itself
        statuses = [status.Status for status, _ in association.send_c_move(wanted, title, MOVE)]
        assert statuses == [0xA801], title
    association.release()
    assert dialled == []
