"""Two customers of one `lightwell serve`, and every name of one in the hands of the other (Must show 3).

R02, R03, W10 over HTTP and DIMSE. There is no WebSocket to try: the server opens none, which is a test here.
How long the answers take is measured by `bench/other_tenant.py`: time is no assertion of a test.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from lightwell.testing.builders import StudyBuilder
from lightwell.testing.channel import Message
from lightwell.testing.dimse_house import keys
from lightwell.testing.scp import ScriptedScp
from lightwell.testing.scu import (
    STORAGE_COMMITMENT,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    Rejected,
    Scu,
)
from lightwell.testing.served import LOOPBACK, Served, serving, wait_until
from lightwell.testing.two_tenants import (
    BODIES,
    MULTIPART,
    PUSH_MODEL_INSTANCE,
    Answer,
    Customer,
    Names,
    attempts,
    comparable,
    nobodys,
    open_paths,
    uploaded,
)
from lightwell.wire.dimse.negotiation import Policy
from lightwell.wire.dimse.proposal import propose_service

CT = "1.2.840.10008.5.1.4.1.1.2"
NOWHERE = "nadir"  # as long a name as those of the customers, and nobody's
# Answers with something: this pass has made an account of that login in its own tenant a moment before.
OWN_BY_NOW = frozenset({"GET /api/v1/people/{login}/standing"})
# Signing out ends the session that tries the rest; it takes no name.
ANYBODYS = (
    "/livez",
    "/readyz",
    "/api/v1/token",
)  # answer to anybody, below every tenant and none alike
LEFT_OUT = frozenset({"POST /api/v1/sign-out"})
# What one may write down oneself, and read again: everybody may have a login or a machine of that name.
OWN_WORDS = ("aet", "policy", "patient")


@pytest.fixture(scope="module")
def two() -> Iterator[Served]:
    with serving(workers=1, arguments=("--settle-after", "2")) as server:
        yield server


@pytest.fixture(scope="module")
def customers(two: Served) -> Iterator[tuple[Customer, Customer]]:
    """Both after a day's work."""
    two.register(tenants={"quorn": (), "vesta": ()})
    with ExitStack() as stack:
        made = []
        for name in ("quorn", "vesta"):
            machine = stack.enter_context(
                ScriptedScp(
                    policy=Policy(
                        services=frozenset({STORAGE_COMMITMENT}),
                        peer_may_be_scp=lambda sop_class: sop_class == STORAGE_COMMITMENT,
                    )
                )
            )
            customer = Customer(two, name, machine.port)
            customer.reports = machine.received
            stack.callback(customer.close)
            customer.work()
            made.append(customer)
        yield made[0], made[1]


def leaks(answer: Answer, asked: Names, other: Customer) -> list[str]:
    """What of the other customer stands in an answer, besides what the asker said."""
    said = {**{f"own {each}": other.names[each] for each in OWN_WORDS}, **asked}
    said |= {"own ward": f"ward-{other.name}", "own reader": f"rad-{other.name}"}
    _, headers, body = comparable(answer, said)
    whole = body + b"\n".join(value for _, value in headers)
    return [word for word in {*other.words, other.name} if word.encode() in whole]


@pytest.mark.parametrize("who", ["program", "person"])
@pytest.mark.parametrize("way", [(0, 1), (1, 0)], ids=["one of the other", "the other of one"])
def test_r02_r03_w10_names_of_another_tenant_answer_like_names_of_nobody(
    customers: tuple[Customer, Customer], way: tuple[int, int], who: str
) -> None:
    """Every address of the OpenAPI, with an administrator's key and with a signed-in administrator."""
    here, other = customers[way[0]], customers[way[1]]
    before, client = other.state(), here.client(who)
    paths = open_paths(client)
    # Each pass makes an account of the login that it tries, as it may: so the next tries another one.
    login = {"program": f"ward-{other.name}", "person": f"rad-{other.name}"}[who]
    theirs = {**other.names, "tenant": other.name, "login": login}
    unknown = {**nobodys(theirs), "tenant": NOWHERE}
    compared, wrong = 0, []
    for known, none in zip(attempts(paths, theirs), attempts(paths, unknown), strict=True):
        if known.label in LEFT_OUT:
            continue
        answer, plain = known.by(client, ""), none.by(client, "")
        found: list[object] = list(leaks(answer, theirs, other))
        if known.own:
            pair = comparable(answer, theirs), comparable(plain, unknown)
            found += pair if pair[0] != pair[1] else ()
            compared += 1
        looks = known.method == "GET" and known.own and "?" not in known.label
        if looks and known.label not in OWN_BY_NOW:
            nothing = answer.status in (204, 303, 404) or answer.body == b"[]"
            found += [] if nothing else [answer.status]
        if found:
            wrong.append((known.label, found))
    assert wrong == []
    assert compared > 60
    assert other.state() == before, "something was changed in the other tenant"


@pytest.mark.parametrize("who", ["program", "person"])
def test_r02_w10_addresses_of_another_tenant_are_those_of_none(
    customers: tuple[Customer, Customer], who: str
) -> None:
    """With the other tenant in the address: its own names there are as little as nobody's anywhere."""
    here, other = customers
    before, client = other.state(), here.client(who)
    paths = open_paths(client)
    # A link is a secret that opens by itself, whoever brings it: here nobody has it.
    theirs = {**other.names, "tenant": other.name, "link": nobodys(other.names)["link"]}
    unknown = {**nobodys(other.names), "tenant": NOWHERE}
    tried, wrong = 0, []
    for known, none in zip(attempts(paths, theirs), attempts(paths, unknown), strict=True):
        if known.label in LEFT_OUT:
            continue
        answer, plain = known.by(client, f"/t/{other.name}"), none.by(client, f"/t/{NOWHERE}")
        pair = comparable(answer, theirs), comparable(plain, unknown)
        found: list[object] = [*leaks(answer, theirs, other), *(pair if pair[0] != pair[1] else ())]
        if "/sign-" not in known.path and known.path not in ANYBODYS:
            found += [answer.status] if answer.status != 404 else []
        if found:
            wrong.append((known.label, found))
        tried += 1
    assert wrong == []
    assert tried > 90
    assert other.state() == before, "something was changed in the other tenant"


def test_r02_every_address_that_changes_something_says_what_a_stranger_would_send(
    customers: tuple[Customer, Customer],
) -> None:
    """A new address fails here until somebody has said which names stand in its body."""
    bodiless = {
        "DELETE /api/v1/keys/{key}",
        "DELETE /api/v1/policies/{name}",
        "DELETE /api/v1/providers/{name}",
        "DELETE /api/v1/tenants/{name}/suspension",
        "POST /api/v1/providers/{name}/test",
        "DELETE /api/v1/sessions/{session}",
        "POST /api/v1/glass/openings/{opening_id}/end",
        "POST /api/v1/jobs/{job}/cancel",
        "POST /api/v1/jobs/{job}/retry",
        "POST /api/v1/me/sessions/end",
        "POST /api/v1/people/{login}/enrolment",
        "POST /api/v1/prove/passkey",
        "POST /api/v1/prove/passkey-options",
        "POST /api/v1/prove/password",
        "POST /api/v1/prove/provider",
        "POST /api/v1/sign-in/passkey",
        "POST /api/v1/sign-in/passkey-options",
        "POST /api/v1/sign-out",
        "POST /dicomweb/studies",
        "POST /dicomweb/studies/{study}",
    }
    paths = open_paths(customers[0].client())
    changing = {
        f"{method.upper()} {template}"
        for template, methods in paths.items()
        for method in methods
        if method != "get"
    }
    assert changing == bodiless | set(BODIES)


def test_r02_the_same_objects_may_be_kept_by_both_and_neither_learns_of_the_other(
    customers: tuple[Customer, Customer],
) -> None:
    here, other = customers
    before = other.state()
    study: StudyBuilder = other.uploaded
    fresh = replace(study, seed=study.seed + 1)  # other UIDs, equally large
    answers = []
    for sent in (study, fresh):
        path = f"{here.prefix}/dicomweb/studies"
        answer = here.client().ask("POST", path, uploaded([sent]), MULTIPART)
        names = {"study": sent.study_uid}
        for number, built in enumerate(sent.each()):
            names |= {f"series {number}": built.series_uid, f"instance {number}": built.sop_uid}
        status, headers, body = comparable(answer, names)
        # UIDs of builders are not all equally long.
        answers.append((status, [each for each in headers if each[0] != "content-length"], body))
    assert answers[0] == answers[1]
    assert answers[0][0] == 200
    assert other.state() == before


def asked_by(here: Customer, names: Names, reports: list[Message]) -> list[tuple[Any, ...]]:
    """What its machine hears of a study, over every DIMSE service: statuses, counts, data, the report."""
    heard: list[tuple[Any, ...]] = []
    study = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": names["study"]}
    series = {**study, "QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": names["series"]}
    image = {**series, "QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": names["instance"]}
    patient = {"QueryRetrieveLevel": "STUDY", "PatientID": names["patient"], "PatientName": ""}
    model = (STUDY_ROOT_FIND, STUDY_ROOT_MOVE, STUDY_ROOT_GET)
    with here.called(propose_service(*model)) as scu:
        for level in (study, series, image, patient):
            for message in scu.find(STUDY_ROOT_FIND, keys(**level)):
                heard.append(("find", message.command.status, message.data))
        for level in (study, series, image):
            for message in scu.move(STUDY_ROOT_MOVE, here.scanner, keys(**level)):
                heard.append(("move", message.command.status, message.data))
            for message in scu.get(STUDY_ROOT_GET, keys(**level)):
                heard.append(("get", message.command.status, message.data))
        # The other customer's machine as a destination, and one that is none.
        for message in scu.move(STUDY_ROOT_MOVE, names["aet"], keys(**study)):
            heard.append(("move elsewhere", message.command.status, message.data))
    before = len(reports)
    with here.called(propose_service(STORAGE_COMMITMENT)) as scu:
        reference = {
            "ReferencedSOPClassUID": CT,
            "ReferencedSOPInstanceUID": names["instance"],
        }
        wanted = {"TransactionUID": names["transaction"], "ReferencedSOPSequence": [reference]}
        answer = scu.action(STORAGE_COMMITMENT, PUSH_MODEL_INSTANCE, 1, keys(**wanted))
        heard.append(("commitment", answer.command.status, answer.data))
    wait_until(lambda: len(reports) > before, 60, "no report of storage commitment came")
    report = reports[before]
    said = report.data
    for what in ("instance", "transaction"):
        said = said.replace(names[what].encode(), b"<%s>" % what.encode())
    heard.append(("report", report.command.EventTypeID, said))
    return heard


def test_r02_over_dimse_a_study_of_another_tenant_is_one_that_is_not_there(
    customers: tuple[Customer, Customer],
) -> None:
    """FIND, MOVE to itself and elsewhere, GET, storage commitment."""
    here, other = customers
    before = other.state()
    theirs = {**other.names, "transaction": "1.2.826.0.1.111111"}
    unknown = {**nobodys(other.names), "transaction": "1.2.826.0.1.222222"}
    heard = asked_by(here, theirs, here.reports)
    assert heard == asked_by(here, unknown, here.reports)
    assert [each for each in heard if each[1] == 0xFF00] == [], "something was found"
    own = {**here.names, "transaction": "1.2.826.0.1.333333"}
    assert heard != asked_by(here, own, here.reports), "its own study has to be found"
    assert other.state() == before


def test_r02_a_machine_of_one_tenant_is_a_stranger_to_the_other(
    customers: tuple[Customer, Customer],
) -> None:
    here, other = customers
    with pytest.raises(Rejected) as theirs:
        Scu(
            LOOPBACK, here.served.dimse_port, propose_service(STUDY_ROOT_FIND),
            called_ae=other.name.upper(), calling_ae=here.scanner, timeout=20,
        )  # fmt: skip
    with pytest.raises(Rejected) as nobody:
        Scu(
            LOOPBACK, here.served.dimse_port, propose_service(STUDY_ROOT_FIND),
            called_ae=other.name.upper(), calling_ae="NOBODY", timeout=20,
        )  # fmt: skip
    assert theirs.value.rejection == nobody.value.rejection


def test_r02_nothing_is_recorded_in_the_other_tenant_under_a_name_of_ours(
    customers: tuple[Customer, Customer],
) -> None:
    """After all of the above: what was done in each tenant was done by its own people, programs, machines.
    (A machine that called the other's title and was turned away is told there: it was at their door.)"""

    async def actors(house: Any) -> dict[str, set[str]]:
        found = {}
        for customer in customers:
            tenant = await house.tenants.named(customer.name)
            async with house.database.transaction(tenant) as connection:
                rows = await connection.fetch(
                    "SELECT DISTINCT actor FROM audit WHERE outcome = 'done'"
                )
            found[customer.name] = {row["actor"] for row in rows}
        return found

    found = customers[0].served.within(actors)
    for here, other in (customers, reversed(customers)):
        assert f"person:rad-{here.name}" in found[here.name]
        assert not [actor for actor in found[here.name] if other.name in actor.lower()]


def test_there_is_no_websocket(customers: tuple[Customer, Customer]) -> None:
    """What the catalogue tries over WebSocket has no door to try: an upgrade is refused at every address."""
    here = customers[0]
    for path in ("/", "/api/v1/studies", f"{here.prefix}/api/v1/me", "/dicomweb/studies"):
        with socket.create_connection((LOOPBACK, here.served.http_port), 20) as raw:
            raw.sendall(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                f"Authorization: Bearer {here.tokens['program']}\r\n\r\n".encode()
            )
            assert b" 101 " not in raw.recv(200), path
