"""The commands of people and policies, on a real database, each recorded."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightwell.access.commit import ChangeSet
from lightwell.access.context import Tenant
from lightwell.app.heartbeat import WEB, Heart
from lightwell.app.wiring import House
from lightwell.domain.archive.model import SensitiveRow
from lightwell.domain.people.model import Limit, RelationKind
from lightwell.domain.people.opening import Visitor
from lightwell.gateways.media.intake import Labels, stage_file
from lightwell.testing.builders import a_study

if TYPE_CHECKING:
    from tests.conftest import Installation


def secret_in(output: str) -> str:
    """The last line a command printed: the secret on a line of its own."""
    return output.strip().splitlines()[-1]


async def records(house: House, tenant: Tenant) -> list[tuple[str, str, str]]:
    async with house.database.transaction(tenant) as connection:
        rows = await connection.fetch(
            "SELECT action, outcome, subject FROM audit ORDER BY audit_id"
        )
    return [(r["action"], r["outcome"], r["subject"]) for r in rows]


def run(installation: Installation, *arguments: str) -> str:
    done = installation.run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_token_is_printed_works_and_is_revoked(
    installation: Installation, house: House
) -> None:
    printed = secret_in(
        run(installation, "token", "create", "--role", "radiologist", "--name", "viewer")
    )
    bearer = await house.sign_in.recognise(printed)
    assert bearer is not None
    assert (bearer.name, bearer.roles) == ("viewer", {"radiologist"})
    (key,) = json.loads(run(installation, "token", "list", "--json"))
    assert key["name"] == "viewer"
    assert printed not in json.dumps(key)
    run(installation, "token", "revoke", key["id"])
    (key,) = json.loads(run(installation, "token", "list", "--json"))
    assert key["revoked"]
    tenant = await house.tenants.named()
    assert ("people:key:create", "done", "viewer") in await records(house, tenant)
    assert ("people:key:revoke", "done", "viewer") in await records(house, tenant)


async def test_an_account_its_link_and_its_sessions(
    installation: Installation, house: House
) -> None:
    url = secret_in(
        run(installation, "user", "add", "ada", "--role", "radiologist", "--name", "Ada")
    )
    assert url.startswith("http://localhost:8042/enrol#lwl_")
    link = secret_in(
        run(installation, "login-link", "--role", "auditor", "--http", "https://pacs.example/")
    )
    root, _, token = link.partition("#")
    assert root == "https://pacs.example/sign-in"
    tenant = await house.tenants.named()
    signed_in = await house.sign_in.by_link(Visitor(tenant, "192.0.2.1"), token)
    (session,) = json.loads(run(installation, "sessions", "list", "--json"))
    assert session["id"] == str(signed_in.session.session_id)
    assert session["origin"] == "192.0.2.1"
    run(installation, "sessions", "revoke", session["id"])
    assert json.loads(run(installation, "sessions", "list", "--json")) == []
    run(installation, "user", "change", "ada", "--role", "technologist", "--disable")
    (person,) = json.loads(run(installation, "user", "list", "--json"))
    assert (person["roles"], person["disabled"]) == (["technologist"], True)
    said = await records(house, tenant)
    for what in (
        ("people:person:add", "done", "ada"),
        ("people:link:create", "done", ""),
        ("people:session:revoke", "done", session["who"]),
        ("people:person:change", "done", "ada"),
    ):
        assert what in said
    secrets = {token, url.partition("#")[2]}
    async with house.database.transaction(tenant) as connection:
        everything = json.dumps(
            [dict(r) for r in await connection.fetch("SELECT * FROM audit")], default=str
        )
    assert not any(secret in everything for secret in secrets)


def test_what_is_wrong_is_said(installation: Installation) -> None:
    for arguments, says in (
        (("token", "create", "--role", "king"), "There is no role 'king'"),
        (("token", "create", "--role", "admin", "--tenant", "nowhere"), "no such tenant"),
        (("token", "create", "--role", "admin", "--days", "1e12"), "number of days"),
        (("token", "revoke", "x"), "is no id"),
        (("token", "revoke", str(uuid.uuid4())), "no such key"),
        (("sessions", "revoke", str(uuid.uuid4())), "no such session"),
        (("user", "change", "nobody", "--disable"), "no such account"),
        (("user", "add", "a b", "--role", "admin"), "A login has"),
        (("explain", "-", "archive:everything:delete", "--role", "admin"), "no action"),
    ):
        done = installation.run(*arguments)
        assert done.returncode == 2, arguments
        assert says in " ".join(done.stderr.split())


async def test_a_policy_of_the_tenants_own_and_why(
    installation: Installation, house: House, tmp_path: Path
) -> None:
    def why(*arguments: str) -> str:
        return " ".join(run(installation, "explain", *arguments).split())

    ask = ("-", "archive:study:query", "--role", "radiologist")
    assert why(*ask) == "allowed: radiologists read images (radiologist)"
    assert why("-", "archive:study:correct", "--role", "radiologist").startswith(
        "refused: radiologist may not"
    )
    file = tmp_path / "closed.cedar"
    file.write_text(
        '@id("closed") @reason("stock-taking") forbid (principal is Person, action, resource);'
    )
    run(installation, "policy", "put", str(file))
    assert why(*ask) == "refused: stock-taking (closed)"
    assert "stock-taking" in run(installation, "policy", "list")
    run(installation, "policy", "remove", "closed")
    assert why(*ask).startswith("allowed")
    file.write_text("permit (principal, action, resource);")
    refused = installation.run("policy", "put", str(file))
    assert refused.returncode == 2
    assert "@id" in refused.stderr


async def test_a_policy_about_the_time_of_day_and_why_at_another_time(
    installation: Installation, house: House, tmp_path: Path
) -> None:
    run(installation, "tenant", "configure", "default", "--zone", "Europe/Berlin")
    file = tmp_path / "by-day.cedar"
    file.write_text(
        '@id("by-day") @reason("from 6 to 20 on weekdays") '
        'forbid (principal in Role::"technologist", action in Action::"search", resource) '
        "unless { context.weekday <= 5 && context.hour >= 6 && context.hour < 20 };"
    )
    run(installation, "policy", "put", str(file))
    ask = ("explain", "-", "archive:study:query", "--role", "technologist", "--at")
    for at, word in (
        ("2026-01-05T06:00", "allowed"),
        ("2026-01-05T05:59", "refused"),
        ("2026-01-05T05:00Z", "allowed"),
        ("2026-07-06T04:00Z", "allowed"),  # summer time
        ("2026-07-06T18:00Z", "refused"),
        ("2026-01-10T12:00", "refused"),  # Saturday
    ):
        assert run(installation, *ask, at).startswith(word), at
    assert "from 6 to 20 on weekdays (by-day)" in run(installation, *ask, "2026-01-10T12:00")
    wrong = installation.run(*ask, "noon")
    assert wrong.returncode == 2
    assert "is no time" in wrong.stderr


async def test_whose_patients_are_whose_is_said_shown_and_explained(
    installation: Installation, house: House
) -> None:
    tenant = await house.tenants.named()
    operator = house.operator(tenant)
    study = a_study("P1", "HOSP").with_series("CT")
    staged = stage_file(house.archive, operator, Labels(), io.BytesIO(study.only().part10))
    await staged.store()

    def why(*arguments: str) -> list[str]:
        return run(installation, "explain", "ada", "archive:study:query", *arguments).splitlines()

    run(installation, "user", "add", "ada", "--role", "referrer")
    assert why("--study", study.study_uid) == [
        "refused: referrer may not archive:study:query (no policy permits it)",
        "the study is: inSites, inDepartments, inModalities, inWindow",
    ]
    run(installation, "user", "relate", "ada", "--treats", "P1", "--issuer", "HOSP")
    run(installation, "user", "limit", "ada", "--modality", "MR")
    assert why("--study", study.study_uid) == [
        "allowed: referrers see the patients and studies they treat (referrer)",
        "the study is: treated, inSites, inDepartments, inWindow",
    ]
    assert why() == [
        "allowed: referrers see the patients and studies they treat (referrer)",
        "of studies that are: treated",
    ]
    shown = json.loads(run(installation, "user", "relations", "ada", "--json"))
    assert shown == {
        "relations": [{"kind": "treats", "name": "P1", "issuer": "HOSP"}],
        "limits": {"modality": ["MR"]},
    }
    run(installation, "study", "sensitive", study.study_uid, "--reason", "a celebrity")
    asked = ("explain", "-", "archive:study:query", "--role", "radiologist")
    assert "of studies that are: not sensitive" in run(installation, *asked)
    refused = run(installation, *asked, "--study", study.study_uid)
    assert refused.startswith("refused: the study is marked as sensitive (sensitive)")
    run(installation, "study", "sensitive", study.study_uid, "--reason", "over", "--end")
    assert run(installation, *asked).startswith("allowed: radiologists read images (radiologist)")
    run(installation, "user", "limit", "ada", "--lift", "modality")
    run(installation, "user", "relate", "ada", "--treats", "P1", "--issuer", "HOSP", "--end")
    shown = json.loads(run(installation, "user", "relations", "ada", "--json"))
    assert shown == {"relations": [], "limits": {}}
    said = await records(house, tenant)
    for what in (
        ("people:relation:change", "done", "ada"),
        ("people:relation:list", "done", "ada"),
        ("archive:study:mark", "done", "sensitive"),
        ("archive:study:mark", "done", "not sensitive"),
        ("policy:decision:explain", "done", "ada"),
    ):
        assert what in said
    for arguments, says in (
        (("user", "relate", "ada"), "One relation at a time"),
        (("user", "relate", "ada", "--is", "P1", "--treats", "P2"), "One relation at a time"),
        (("user", "relate", "nobody", "--is", "P1"), "no such account"),
        (("user", "limit", "ada"), "Nothing is said"),
        (("explain", "ada", "archive:study:query", "--study", "1.2"), "no such study"),
        (("explain", "ada", "peers:peer:list", "--study", "1.2"), "about no study"),
        (("study", "sensitive", "1.2", "--reason", "x"), "no such patient, study or series"),
    ):
        done = installation.run(*arguments)
        assert done.returncode == 2, arguments
        assert says in " ".join(done.stderr.split())


async def test_without_an_action_all_are_shown_by_room(installation: Installation) -> None:
    said = run(installation, "explain", "-", "--role", "radiologist")
    assert {"archive", "peers", "people", "policy", "tenants", "work"} <= set(said.split())
    assert len(said.splitlines()) < 60
    wrong = installation.run("explain", "-", "archive:study:qery", "--role", "radiologist")
    assert wrong.returncode == 2
    assert "Did you mean archive:study:query" in " ".join(wrong.stderr.split())


async def test_links_lead_to_the_server_that_runs(installation: Installation, house: House) -> None:
    """Its processes say in their heartbeats where they are; a port that was typed elsewhere is none."""
    heart = Heart(house, "http-7", "http", dict, lambda: {WEB: "http://localhost:9917"})
    await heart.start()

    async def link(*options: str) -> str:  # aside: the heart goes on beating while a command runs
        said = await asyncio.to_thread(
            run, installation, "login-link", "--role", "auditor", *options
        )
        return secret_in(said)

    try:
        assert (await link()).startswith("http://localhost:9917/sign-in#")
        assert (await link("--http", "127.0.0.1:8042")).startswith("http://localhost:9917/")
        outside = await link("--http", "https://pacs.example")
        assert outside.startswith("https://pacs.example/")
    finally:
        await heart.stop()
    alone = installation.run("login-link", "--role", "auditor")
    assert "No server runs on this data folder now" in " ".join(alone.stderr.split())


async def test_support_is_let_in_for_a_while(installation: Installation, house: House) -> None:
    ask = ("explain", "-", "work:job:list", "--role", "support")
    assert "has not let support in" in run(installation, *ask)
    run(installation, "support-consent", "--hours", "2")
    assert run(installation, *ask).startswith("allowed")
    run(installation, "support-consent", "--hours", "0")
    assert "has not let support in" in run(installation, *ask)


async def test_r04_another_tenants_people_are_behind_row_level_security(
    installation: Installation, house: House
) -> None:
    tenant = await house.tenants.named()
    other = await house.tenants.create(house.operator(tenant), "clinic", aet="CLINIC")
    operator = house.operator(tenant)
    await house.people.add(operator, "ada", roles=["radiologist"])
    await house.people.new_key(operator, "router", roles=["integration"])
    await house.relations.relate(operator, "ada", RelationKind.TREATS, "P1", "HOSP")
    await house.relations.limit(operator, "ada", Limit.SITE, ["North"])
    row = SensitiveRow("1.2.3", "r", "a", datetime.now(UTC))
    await house.committer.commit(ChangeSet(tenant, (row,)))
    tables: dict[str, Any] = {}
    async with house.database.transaction(other) as connection:
        for table in (
            "person",
            "person_role",
            "program",
            "session",
            "sign_in_link",
            "tenant_policy",
            "relation",
            "person_limit",
            "sensitive_study",
        ):
            tables[table] = await connection.fetchval(f"SELECT count(*) FROM {table}")
    assert set(tables.values()) == {0}
