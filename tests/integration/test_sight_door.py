"""What somebody may not see answers at the HTTP door exactly like what is not there, at every address.

In process, on a real database, with the route table and the framework application of the product.
"""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from lightwell.access.actions import Action
from lightwell.access.context import Actor, ActorKind, Context, Tenant
from lightwell.access.policy import circumstances_of
from lightwell.access.roles import Role
from lightwell.app import matrix
from lightwell.app.http import http_application
from lightwell.app.matrix import Answer, Whose
from lightwell.app.offices import offices_of
from lightwell.app.wiring import House, start_listening
from lightwell.domain.archive.model import Level, Outcome, Target
from lightwell.domain.archive.query_building import build_query
from lightwell.domain.people.model import Limit, RelationKind
from lightwell.gateways.http.guard import DoorLimits
from lightwell.gateways.http.routes import Open
from lightwell.gateways.media.intake import Labels, stage_file
from lightwell.kernel.errors import Missing, Refused
from lightwell.testing.builders import StudyBuilder, a_study
from lightwell.testing.sign_in import signed_in

HOST = "https://pacs.test"
UNKNOWN = ("2.25.901", "2.25.902", "2.25.903")
ISSUER = "HOSP"


async def nothing_missing() -> dict[str, str]:
    return {}


async def store(house: House, context: Context, *studies: StudyBuilder) -> None:
    for study in studies:
        for built in study.objects():
            staged = stage_file(house.archive, context, Labels(), io.BytesIO(built.part10))
            assert (await staged.store()).outcome is Outcome.STORED


def door(house: House) -> httpx.AsyncClient:
    application = http_application(
        archive=house.archive,
        tenants=house.tenants,
        jobs=house.jobs,
        pool=house.codecs,
        ready=nothing_missing,
        metrics=lambda: b"x 1\n",
        limits=DoorLimits(local=False),
        sign_in=house.sign_in,
        provider_sign_in=house.provider_sign_in,
        glass=house.glass,
        offices=offices_of(house),
        machines=house.machines,
    )
    transport = httpx.ASGITransport(application)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url=HOST)


MINE = a_study("P1", ISSUER, seed=1, InstitutionName="North").with_series("CT")
PRIOR = a_study("P1", ISSUER, seed=2, InstitutionName="South").with_series("MR")
THEIRS = a_study("P2", ISSUER, seed=3, InstitutionName="South").with_series("CT")
SAME_ID = a_study("P1", "ELSEWHERE", seed=4, InstitutionName="South").with_series("CT")
ALL = (MINE, PRIOR, THEIRS, SAME_ID)


@dataclass
class Place:
    """A door, studies behind it, and tokens of people."""

    house: House
    client: httpx.AsyncClient
    operator: Context

    async def who(self, login: str, *roles: str) -> dict[str, str]:
        token = await signed_in(self.house, self.operator, login, roles)
        return {"authorization": f"Bearer {token}"}

    def person(self, login: str, *roles: str, **more: Any) -> Context:
        tenant = self.operator.tenant
        actor = Actor(ActorKind.PERSON, login, home=tenant.name, roles=frozenset(roles))
        return Context(tenant, actor, channel="console", **more)

    async def listed(self, who: dict[str, str]) -> set[str]:
        """The studies of QIDO-RS, which are those of the study list, and as many as the totals say."""
        found = (await self.client.get("/dicomweb/studies", headers=who)).json()
        uids = {study["0020000D"]["Value"][0] for study in found}
        console = (await self.client.get("/api/v1/studies", headers=who)).json()["items"]
        assert {item["study_uid"] for item in console} == uids
        totals = (await self.client.get("/api/v1/stats", headers=who)).json()
        assert totals["studies"] == len(uids)
        return uids

    async def found(self, who: dict[str, str]) -> set[str]:
        """The studies of QIDO-RS, which are those of the study list, and of a C-FIND at every level."""
        qido = (await self.client.get("/dicomweb/studies", headers=who)).json()
        uids = {study["0020000D"]["Value"][0] for study in qido}
        console = (await self.client.get("/api/v1/studies", headers=who)).json()["items"]
        assert {item["study_uid"] for item in console} == uids
        bearer = await self.house.sign_in.recognise(who["authorization"].removeprefix("Bearer "))
        assert bearer is not None
        tenant = self.operator.tenant
        context = self.house.sign_in.context(bearer, tenant, tenant, "dimse", "")
        for level in (Level.STUDY, Level.SERIES, Level.INSTANCE):
            page = await self.house.archive.find(context, build_query(level, []))
            assert {one.study_uid for one in page.items} == uids
        return uids

    async def until(self, who: dict[str, str], path: str, status: int) -> None:
        async with asyncio.timeout(10):
            while (await self.client.get(path, headers=who)).status_code != status:
                await asyncio.sleep(0.05)


@pytest.fixture
async def place(house: House, context: Context) -> AsyncIterator[Place]:
    await store(house, context, *ALL)
    start_listening(house)
    async with door(house) as client:
        yield Place(house, client, context)


def uids_of(*studies: StudyBuilder) -> set[str]:
    return {study.study_uid for study in studies}


def ids(study: StudyBuilder) -> tuple[str, str, str]:
    return study.study_uid, study.series_uid(), study.sop_uid()


async def addresses(place: Place) -> list[tuple[str, str]]:
    """Every GET of the OpenAPI that takes the UID of a study, as (template, accept)."""
    admin = await place.who("boss", "admin")
    described = (await place.client.get("/openapi.json", headers=admin)).json()
    found = [
        path.replace("{study_uid}", "{study}")
        for path, methods in described["paths"].items()
        if "get" in methods and ("{study}" in path or "{study_uid}" in path)
    ]
    assert len(found) > 20
    return found


def filled(template: str, names: tuple[str, str, str]) -> str:
    study, series, instance = names
    path = template.replace("{study}", study).replace("{series}", series)
    return (
        path.replace("{instance}", instance).replace("{frames}", "1").replace("{path}", "7FE00010")
    )


def answer_of(response: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    kept = {k: v for k, v in response.headers.items() if k not in ("date", "content-length")}
    return response.status_code, response.content, kept


async def test_r02_what_is_not_theirs_answers_like_what_is_not_there_at_every_address(
    place: Place,
) -> None:
    referrer = await place.who("ada", "referrer")
    await place.house.relations.relate(
        place.operator, "ada", RelationKind.TREATS_STUDY, MINE.study_uid
    )
    seen, hidden = 0, 0
    for template in await addresses(place):
        mine, theirs, unknown = [
            await place.client.get(filled(template, names), headers=referrer)
            for names in (ids(MINE), ids(THEIRS), UNKNOWN)
        ]
        assert answer_of(theirs) == answer_of(unknown), template
        seen += mine.status_code == 200 and mine.content != b"[]"
        hidden += theirs.status_code == 404 or theirs.content == b"[]"
        # Nor does a study of theirs open the way to another's series or image.
        crossed = filled(template, (MINE.study_uid, *ids(THEIRS)[1:]))
        made_up = filled(template, (MINE.study_uid, *UNKNOWN[1:]))
        if "{series}" in template:
            answers = [await place.client.get(p, headers=referrer) for p in (crossed, made_up)]
            assert answer_of(answers[0]) == answer_of(answers[1]), template
    assert seen > 15
    assert hidden > 20


async def test_r03_lists_counts_and_totals_are_of_what_is_seen(place: Place) -> None:
    patient, referrer = await place.who("pat", "patient"), await place.who("ada", "referrer")
    assert await place.listed(patient) == set()
    relations = place.house.relations
    await relations.relate(place.operator, "pat", RelationKind.IS, "P1", ISSUER)
    await relations.relate(place.operator, "ada", RelationKind.TREATS_STUDY, MINE.study_uid)
    await place.until(patient, f"/api/v1/studies/{MINE.study_uid}", 200)
    assert await place.listed(patient) == uids_of(MINE, PRIOR)
    # Who treats a study sees the other studies of its patient, and those of nobody else of that ID.
    assert await place.listed(referrer) == uids_of(MINE, PRIOR)
    for query in ("PatientID=P2", f"StudyInstanceUID={THEIRS.study_uid}", "InstitutionName=South"):
        found = (await place.client.get(f"/dicomweb/studies?{query}", headers=patient)).json()
        uids = {study["0020000D"]["Value"][0] for study in found}
        assert uids <= uids_of(MINE, PRIOR), query
    counted = (
        await place.client.get("/dicomweb/studies?includefield=00201200", headers=patient)
    ).json()
    assert {study["00201200"]["Value"][0] for study in counted} == {2}
    reader = await place.who("rita", "radiologist")
    assert await place.listed(reader) == uids_of(*ALL)


async def test_r06_a_relation_that_ends_ends_what_it_opened_also_what_is_open(
    place: Place,
) -> None:
    referrer = await place.who("ada", "referrer")
    relation = ("ada", RelationKind.TREATS, "P2", ISSUER)
    study, series, instance = ids(THEIRS)
    frame = f"/dicomweb/studies/{study}/series/{series}/instances/{instance}/frames/1"
    assert (await place.client.get(frame, headers=referrer)).status_code == 404
    await place.house.relations.relate(place.operator, *relation)
    await place.until(referrer, frame, 200)
    assert (await place.client.get(frame, headers=referrer)).status_code == 200
    await place.house.relations.unrelate(place.operator, *relation)
    await place.until(referrer, frame, 404)


async def test_r06_an_account_that_is_limited_loses_the_others_also_what_is_open(
    place: Place,
) -> None:
    reader = await place.who("rita", "radiologist")
    path = f"/dicomweb/studies/{THEIRS.study_uid}/metadata"
    assert (await place.client.get(path, headers=reader)).status_code == 200
    await place.house.relations.limit(place.operator, "rita", Limit.SITE, ["North"])
    await place.until(reader, path, 404)
    assert await place.listed(reader) == uids_of(MINE)
    await place.house.relations.limit(place.operator, "rita", Limit.SITE, [])
    await place.until(reader, path, 200)


async def test_a_sensitive_study_is_shown_to_whom_it_concerns(place: Place) -> None:
    reader, doctor = await place.who("rita", "radiologist"), await place.who("dora", "radiologist")
    admin = await place.who("boss", "admin")
    await place.house.relations.relate(place.operator, "dora", RelationKind.TREATS, "P2", ISSUER)
    path = f"/dicomweb/studies/{THEIRS.study_uid}/metadata"
    assert (await place.client.get(path, headers=reader)).status_code == 200
    await place.house.archive.mark_sensitive(place.operator, THEIRS.study_uid, "a celebrity")
    await place.until(reader, path, 404)
    assert await place.listed(reader) == uids_of(MINE, PRIOR, SAME_ID)
    assert await place.listed(doctor) == await place.listed(admin) == uids_of(*ALL)
    with pytest.raises(Missing):
        await place.house.archive.mark_sensitive(place.operator, UNKNOWN[0], "nobody")


class Hands:
    """A clock that a test moves."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


async def test_a03_a_lease_ends_with_the_hour_that_policies_look_at(place: Place) -> None:
    """What was granted at 19:58 for a quarter of an hour is over at 20:00; what nobody limits is not."""
    house = place.house
    forbids = 'forbid (principal in Role::"technologist", action in Action::"see", resource)'
    text = f'@id("by-day") @reason("images are read until 8 p.m.") {forbids} when {{ context.hour >= 20 }};'
    await house.policies.put(place.operator, text)
    house.policy.forget()
    hands = Hands(datetime(2026, 1, 5, 14, 28, tzinfo=UTC))
    house.archive.clock = hands
    zone = replace(place.operator.tenant, zone="Asia/Kolkata")
    mta = replace(place.person("tom", "technologist"), tenant=zone)
    reader = replace(place.person("rita", "radiologist"), tenant=zone)
    theirs = await house.archive.locate(mta, MINE.study_uid)
    hers = await house.archive.locate(reader, MINE.study_uid)
    hands.at += timedelta(seconds=119)
    assert await house.archive.locate(mta, MINE.study_uid) is theirs
    hands.at += timedelta(seconds=1)
    with pytest.raises(Refused, match="until 8"):
        await house.archive.locate(mta, MINE.study_uid)
    key = house.archive.held(mta.tenant, mta.actor, mta.channel, *ids(MINE), circumstances_of(mta))
    assert key is None
    assert await house.archive.locate(reader, MINE.study_uid) is hers


async def test_r05_a_patient_opened_in_an_emergency_is_seen_while_it_is_open(place: Place) -> None:
    house = place.house
    doctor = place.person("ada", "referrer")
    opened = replace(doctor, opened=frozenset({(ISSUER, "P2")}))
    with pytest.raises(Missing):
        await house.archive.locate(doctor, THEIRS.study_uid)
    lease = await house.archive.locate(opened, THEIRS.study_uid)
    assert set(lease.instances) == {THEIRS.sop_uid()}
    assert await house.archive.locate(opened, THEIRS.study_uid) is lease
    with pytest.raises(Missing):  # another patient, and the same one when it is shut
        await house.archive.locate(opened, MINE.study_uid)
    with pytest.raises(Missing):
        await house.archive.locate(doctor, THEIRS.study_uid)
    key = house.archive.held(
        doctor.tenant, doctor.actor, doctor.channel, *ids(THEIRS), circumstances_of(doctor)
    )
    assert key is None


async def test_r05_a_patient_opened_by_break_glass_is_found_and_seen_as_long_as_it_is_open(
    place: Place,
) -> None:
    """From the form to the pictures and back: of one patient, for who sees nobody and who is limited."""
    referrer = await place.who("ada", "referrer")
    technologist = await place.who("tom", "technologist")
    await place.house.relations.limit(place.operator, "tom", Limit.SITE, ["North"])
    await place.house.archive.mark_sensitive(place.operator, PRIOR.study_uid, "a colleague")
    place.house.policy.forget()
    frame = "/dicomweb/studies/{}/series/{}/instances/{}/frames/1".format
    for who, others in ((referrer, set[str]()), (technologist, uids_of(MINE))):
        for pid, shut, opened in (
            ("P2", (PRIOR, SAME_ID), (THEIRS,)),
            ("P1", (THEIRS, SAME_ID), (MINE, PRIOR)),
        ):
            assert await place.found(who) == others
            last = frame(*ids(opened[-1]))
            assert (await place.client.get(last, headers=who)).status_code == 404
            form = {"patient_id": pid, "issuer": ISSUER, "reason": "Bleeding, nobody else here"}
            broken = await place.client.post("/api/v1/glass", json=form, headers=who)
            assert broken.status_code == 201, broken.text
            await place.until(who, last, 200)
            assert await place.found(who) == others | uids_of(*opened)
            for study in opened:
                assert (await place.client.get(frame(*ids(study)), headers=who)).status_code == 200
            for study in shut:
                assert (await place.client.get(frame(*ids(study)), headers=who)).status_code == 404
            end = f"/api/v1/glass/openings/{broken.json()['id']}/end"
            assert (await place.client.post(end, json={}, headers=who)).status_code == 200
            await place.until(who, last, 404)
            assert await place.found(who) == others


async def test_corrections_and_rejections_reach_what_is_seen_only(place: Place) -> None:
    house = place.house
    await place.who("tom", "technologist")
    await house.relations.limit(place.operator, "tom", Limit.SITE, ["North"])
    house.policy.forget()
    tom, archive = place.person("tom", "technologist"), house.archive
    edits = {"00081030": {"vr": "LO", "Value": ["Thorax"]}}
    mine, theirs = Target(Level.STUDY, MINE.study_uid), Target(Level.STUDY, THEIRS.study_uid)
    row = await archive.correct(tom, mine, edits, "typo")
    foreign = await archive.correct(place.operator, theirs, edits, "typo")
    said = set()
    for target in (theirs, Target(Level.STUDY, UNKNOWN[0])):
        with pytest.raises(Missing) as refused:
            await archive.correct(tom, target, edits, "typo")
        said.add(str(refused.value))
        with pytest.raises(Missing) as refused:
            await archive.reject(tom, target, "113001", "blurred")
        said.add(str(refused.value))
        assert await archive.corrections(tom, target) == []
        assert await archive.rejections(tom, target.study_uid) == []
    assert len(said) == 2
    with pytest.raises(Missing):
        await archive.undo(tom, foreign.edit_id, "no")
    assert [one.edit_id for one in await archive.corrections(tom, mine)] == [row.edit_id]
    patient = Target(Level.PATIENT, issuer=ISSUER, pid="P2")
    with pytest.raises(Missing):
        await archive.correct(tom, patient, {"00100040": {"vr": "CS", "Value": ["F"]}}, "typo")


async def test_who_has_ordered_a_study_by_a_code_sees_it_and_its_patients_others(
    place: Place,
) -> None:
    def named(code: str) -> list[dict[str, Any]]:
        person = {"CodeValue": code, "CodingSchemeDesignator": "99H", "CodeMeaning": "Dr. Doe"}
        return [{"PersonIdentificationCodeSequence": [person]}]

    ordered = a_study(
        "P7", ISSUER, seed=7, ReferringPhysicianIdentificationSequence=named("D7")
    ).with_series("CT")
    before = a_study("P7", ISSUER, seed=8).with_series("CT")
    another = a_study(
        "P8", ISSUER, seed=9, ReferringPhysicianIdentificationSequence=named("D8")
    ).with_series("CT")
    await store(place.house, place.operator, ordered, before, another)
    doctor = await place.who("dora", "referrer")
    await place.house.relations.relate(place.operator, "dora", RelationKind.REFERS_AS, "D7", "99H")
    await place.until(doctor, f"/api/v1/studies/{ordered.study_uid}", 200)
    assert await place.listed(doctor) == uids_of(ordered, before)


@pytest.fixture
async def clinic(house: House, context: Context) -> Tenant:
    return await house.tenants.create(context, "clinic", aet="CLINIC")


async def test_r02_every_id_of_one_tenant_is_unknown_in_the_other(
    place: Place, clinic: Tenant
) -> None:
    """Both have studies, people, keys and jobs of their own; every address, with everybody's tokens."""
    theirs = place.house.operator(clinic)
    other = a_study("P9", ISSUER, seed=9).with_series("CT")
    await store(place.house, theirs, other)
    tokens = {}
    for role in ("admin", "radiologist", "technologist", "auditor", "integration", "patient"):
        made = await place.house.people.new_key(theirs, role, roles=[role])
        tokens[role] = {"authorization": f"Bearer {made.secret}"}
    templates = [t for t in await addresses(place) if t != "/dicomweb/studies/{study}"] + [
        "/dicomweb/studies/{study}"
    ]
    for role, token in tokens.items():
        for template in templates:
            ours = await place.client.get(filled(template, ids(MINE)), headers=token)
            unknown = await place.client.get(filled(template, UNKNOWN), headers=token)
            assert answer_of(ours) == answer_of(unknown), (role, template)
            elsewhere = [
                await place.client.get(f"/t/{name}{filled(template, ids(MINE))}", headers=token)
                for name in ("default", "nowhere")
            ]
            assert answer_of(elsewhere[0]) == answer_of(elsewhere[1]), (role, template)
            assert elsewhere[0].status_code == 404
        for query in (f"StudyInstanceUID={MINE.study_uid}", "PatientID=P1", "includefield=all"):
            answer = await place.client.get(f"/dicomweb/studies?{query}", headers=token)
            assert not any(uid in answer.text for uid in uids_of(*ALL)), (role, query)
    reading = tokens["radiologist"]
    assert (await place.client.get("/api/v1/stats", headers=reading)).json()["studies"] == 1


async def test_r01_the_doors_answer_is_the_matrixs(place: Place) -> None:
    """Every address of a study and every list, for every role: what the table says is what comes."""
    hidden = a_study("P3", ISSUER, seed=5).with_series("CT")
    await store(place.house, place.operator, hidden)
    await place.house.archive.mark_sensitive(place.operator, hidden.study_uid, "a celebrity")
    place.house.policy.forget()
    studies = {Whose.THEIRS: MINE, Whose.ANY: THEIRS, Whose.SENSITIVE: hidden}
    tried: Counter[Answer] = Counter()
    for role in Role:
        who = await place.who(f"a-{role}", role)
        for kind in (RelationKind.IS, RelationKind.TREATS):
            await place.house.relations.relate(place.operator, f"a-{role}", kind, "P1", ISSUER)
        place.house.policy.forget()
        for name, asked in matrix.rows().items():
            method, _, template = name.partition(" ")
            if method != "GET" or asked is Open.PUBLIC or "/jobs" in template:
                continue
            for whose, study in studies.items():
                expected = matrix.answer(matrix.person(role), asked, whose)
                path = filled(template.replace("{study_uid}", "{study}"), ids(study))
                query = "?role=patient" if template.endswith("/explain") else ""
                given = await place.client.get(path + query, headers=who)
                tried[expected] += 1
                if expected is Answer.REFUSED:
                    assert given.status_code == 403, (role, name, whose)
                    continue
                assert given.status_code not in (401, 403), (role, name, whose)
                if "{study" in template:
                    empty = given.status_code == 404 or given.content == b"[]"
                    assert empty == (expected is Answer.UNKNOWN), (role, name, whose)
        lists = matrix.answer(matrix.person(role), Action.ARCHIVE_STUDY_QUERY, Whose.ANY)
        if lists is not Answer.REFUSED:
            shown = await place.listed(who)
            for whose, study in studies.items():
                answer = matrix.answer(matrix.person(role), Action.ARCHIVE_STUDY_QUERY, whose)
                assert (study.study_uid in shown) == (answer is Answer.YES), (role, whose)
    assert min(tried.values()) > 40
    assert set(tried) == set(Answer)


async def test_the_matrix_knows_every_address_that_is_served(place: Place) -> None:
    admin = await place.who("boss", "admin")
    described = (await place.client.get("/openapi.json", headers=admin)).json()
    served = {
        f"{method.upper()} {path}": entry.get("x-policy")
        for path, methods in described["paths"].items()
        for method, entry in methods.items()
    }
    rows = matrix.rows()
    assert served.keys() == rows.keys()
    for name, action in served.items():
        assert action == (None if isinstance(rows[name], Open) else rows[name]), name
