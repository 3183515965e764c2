"""`lightwell demo`: its own tenant, once; a run that was cut short is finished by the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lightwell.access.context import Actor, ActorKind, Context
from lightwell.access.roles import Role
from lightwell.app.generation import VARIABLE, Generation
from lightwell.app.regions import Region
from lightwell.app.wiring import House
from lightwell.domain.archive.model import Level, Outcome
from lightwell.domain.archive.query_building import build_query
from lightwell.domain.people.errors import NotSignedIn
from lightwell.domain.people.opening import Visitor
from lightwell.testing import demo, phantoms
from lightwell.testing.builders import a_study
from lightwell.testing.demo import make_demo, make_relations, make_users

if TYPE_CHECKING:
    from tests.conftest import Installation

STUDIES = [a_study("D1").with_series("CT", instances=6), a_study("D2").with_series("MR")]


def small(_seed: int = 0) -> Iterator[tuple[str, Iterator[bytes]]]:
    for study in STUDIES:
        yield "study", (built.part10 for built in study.objects())


def cut_short(_seed: int = 0) -> Iterator[tuple[str, Iterator[bytes]]]:
    yield next(small())
    raise KeyboardInterrupt


async def test_the_demo_is_made_once_and_finished_when_it_was_cut_short(
    house: House, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phantoms, "demo_studies", cut_short)
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        await make_demo(house, context, said.append)
    monkeypatch.setattr(phantoms, "demo_studies", small)
    second = await make_demo(house, context, said.append)
    assert second == {Outcome.DUPLICATE: 6, Outcome.STORED: 1}
    monkeypatch.setattr(phantoms, "demo_studies", cut_short)  # pictures are not made again
    assert await make_demo(house, context, said.append) == {Outcome.DUPLICATE: 7}
    tenant = await house.tenants.named("demo")
    assert (tenant.aet, tenant.demo) == ("DEMO", True)
    assert (await house.archive.totals(context.for_tenant(tenant))).instances == 7
    assert (await house.archive.totals(context)).instances == 0
    assert said == ["study: 6 images"] * 2 + ["study: 1 images"]


async def test_one_demo_account_a_role_with_a_password_that_is_printed(
    house: House, context: Context
) -> None:
    said: list[str] = []
    await make_users(house, context, said.append)
    tenant = await house.tenants.named("demo")
    people = await house.people.list(context.for_tenant(tenant))
    assert {person.login: person.roles for person in people} == {role: {role} for role in Role}
    printed = dict(line.split() for line in said[1:])
    assert len(set(printed.values())) == len(Role)
    visitor = Visitor(tenant, "192.0.2.1")
    done = await house.sign_in.by_password(visitor, "radiologist", printed["radiologist"], "")
    assert done.session.how == "password"
    # Printed anew, the earlier ones open nothing.
    await make_users(house, context, said.append)
    with pytest.raises(NotSignedIn):
        await house.sign_in.by_password(visitor, "auditor", printed["auditor"], "")


async def test_who_sees_only_what_is_theirs_has_something_to_see(
    house: House, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phantoms, "demo_studies", small)
    await make_users(house, context, lambda _line: None)
    await make_demo(house, context, lambda _line: None)
    for _ in range(2):  # every start says it again
        await make_relations(house, context)
    tenant = await house.tenants.named("demo")
    seen = {}
    for role in (Role.PATIENT, Role.REFERRER, Role.RADIOLOGIST):
        actor = Actor(ActorKind.PERSON, role, home="demo", roles=frozenset({role}))
        who = Context(tenant, actor, channel="console")
        found = (await house.archive.find(who, build_query(Level.STUDY, ()))).items
        seen[role] = {study.pid for study in found}
    assert seen == {
        Role.PATIENT: {"D1"},
        Role.REFERRER: {"D2"},
        Role.RADIOLOGIST: {"D1", "D2"},
    }


def told(installation: Installation, store: Path) -> str:
    """What a server started with a file of regions tells its children."""
    regions = tuple(
        Region(name, str(place), place.with_suffix(".cache"), place.with_suffix(".staging"))
        for name, place in (("geneva", store), ("local", installation.settings.data / "blobs"))
    )
    settings = replace(installation.settings, store_url=None, named_regions=regions)
    return Generation(settings, installation.info, "demo").to_text()


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The module as the supervisor runs it; this process does not end with one."""
    monkeypatch.setattr(demo, "die_with_parent", lambda _lifeline: None)
    monkeypatch.setattr(phantoms, "demo_studies", small)
    return monkeypatch


def test_the_child_of_a_server_works_with_what_its_flags_said(
    installation: Installation, child: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child.setenv(VARIABLE, told(installation, tmp_path / "geneva"))
    demo.main()
    kept = [path for path in (tmp_path / "geneva").rglob("*") if path.is_file()]
    assert kept, "nothing lies in the region that the flags made the default"


def test_what_is_refused_to_the_child_of_a_server_is_a_sentence(
    installation: Installation,
    child: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "geneva").write_text("no folder")
    child.setenv(VARIABLE, told(installation, tmp_path / "geneva"))
    with pytest.raises(SystemExit) as ended:
        demo.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "lightwell: " in said
    assert "Traceback" not in said
