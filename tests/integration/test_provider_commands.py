"""`lightwell provider`, on a real database, each recorded; no secret shows itself."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lightwell.access.context import Tenant
from lightwell.app.commands.provider_commands import read_secret, role_map
from lightwell.app.heartbeat import WEB, Heart
from lightwell.app.wiring import House
from lightwell.kernel.errors import Invalid
from lightwell.testing.openid import CLIENT_ID, SECRET, ScriptedProvider

if TYPE_CHECKING:
    from tests.conftest import Installation


async def records(house: House, tenant: Tenant) -> list[tuple[str, str, str, str]]:
    async with house.database.transaction(tenant) as connection:
        rows = await connection.fetch(
            "SELECT action, outcome, subject, detail FROM audit ORDER BY audit_id"
        )
    return [(r["action"], r["outcome"], r["subject"], r["detail"]) for r in rows]


async def test_the_redirect_address_is_that_of_the_server_that_runs(
    installation: Installation, house: House
) -> None:
    """What is registered at the provider has to be where it sends people back to, whatever the port."""
    added = ("provider", "add", "hospital", "https://id.example", "--client-id", CLIENT_ID,
             "--map", "*=radiologist", "--end-session", "yes")  # fmt: skip
    heart = Heart(house, "http-7", "http", dict, lambda: {WEB: "http://localhost:9917"})
    await heart.start()
    try:  # aside: the heart goes on beating while a command runs
        done = await asyncio.to_thread(installation.run, *added)
        listed = await asyncio.to_thread(installation.run, "provider", "list", "--json")
    finally:
        await heart.stop()
    callback = "http://localhost:9917/api/v1/sign-in/provider/hospital/callback"
    assert done.stdout.split() == [callback, "http://localhost:9917/sign-in"], done.stderr
    assert json.loads(listed.stdout)[0]["callback"] == callback


async def test_a_provider_from_its_beginning_to_its_end(
    installation: Installation, house: House, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")

    def run(*arguments: str, code: int = 0) -> str:
        done = installation.run("provider", *arguments)
        assert done.returncode == code, done.stderr
        assert SECRET not in done.stdout + done.stderr
        return done.stdout

    with ScriptedProvider() as there:
        added = run(
            "add", "hospital", there.issuer, "--client-id", CLIENT_ID, "--secret-file", str(secret),
            "--map", "readers=radiologist", "--map", "cn=it,dc=x=admin,pacs-admin",
            "--public-url", "https://pacs.example/",
        )  # fmt: skip
        assert added.strip() == "https://pacs.example/api/v1/sign-in/provider/hospital/callback"
        (listed,) = json.loads(run("list", "--json"))
        assert listed["roles"] == {
            "readers": ["radiologist"],
            "cn=it,dc=x": ["admin", "pacs-admin"],
        }
        assert (listed["issuer"], listed["public"], listed["enabled"]) == (
            there.issuer,
            False,
            True,
        )
        assert "hospital" in run("list")
        found = json.loads(run("test", "hospital", "--json"))
        assert [each["good"] for each in found] == [True] * 8
        assert there.asked[-1][1]["Authorization"].startswith("Basic ")
        there.places["/jwks"] = lambda: (404, "text/plain", b"")
        found = json.loads(run("test", "hospital", "--json", code=1))
        assert (found[-1]["step"], found[-1]["good"]) == ("keys", False)
        there.places.clear()
        assert json.loads(run("list", "--json"))[0]["end_session"] is False
        run("change", "hospital", "--end-session", "yes")
        assert json.loads(run("list", "--json"))[0]["end_session"] is True
        found = json.loads(run("test", "hospital", "--json", code=1))
        assert (found[-1]["step"], found[-1]["good"]) == ("sign-out", False)
        run("change", "hospital", "--end-session", "no")
        run("change", "hospital", "--disable")
        assert json.loads(run("list", "--json"))[0]["enabled"] is False
        other = tmp_path / "other"
        other.write_text("another one")
        run(
            "change", "hospital", "--enable", "--secret-file", str(other), "--map", "it=auditor",
            "--label", "St. Elsewhere",
        )  # fmt: skip
        (listed,) = json.loads(run("list", "--json"))
        assert (listed["roles"], listed["label"]) == ({"it": ["auditor"]}, "St. Elsewhere")
        assert (listed["client_id"], listed["enabled"]) == (CLIENT_ID, True)
        run("remove", "hospital")
        both = run(
            "add", "other", there.issuer, "--client-id", CLIENT_ID, "--map", "a=auditor",
            "--end-session", "yes", "--public-url", "https://pacs.example", "--tenant", "default",
        )  # fmt: skip
        assert both.split()[1] == "https://pacs.example/sign-in"
        run("remove", "other")
        assert json.loads(run("list", "--json")) == []
    written = await records(house, await house.tenants.named())
    for expected in (
        ("people:provider:add", "done", "hospital", there.issuer),
        ("people:provider:test", "done", "hospital", "answers"),
        ("people:provider:test", "done", "hospital", "fails at keys"),
        ("people:provider:change", "done", "hospital", "end_session"),
        ("people:provider:change", "done", "hospital", "disabled"),
        ("people:provider:change", "done", "hospital", "enabled label secret roles"),
        ("people:provider:remove", "done", "hospital", there.issuer),
    ):
        assert expected in written
    assert SECRET not in str(written)


async def test_what_is_wrong_is_one_sentence(installation: Installation, house: House) -> None:
    usual = ("--client-id", "x", "--map", "a=auditor")
    for arguments, says in (
        (("add", "x", "http://id.example", *usual), "reached by https"),
        (("add", "X Y", "https://id.example", *usual), "cannot be the name"),
        (
            ("add", "x", "https://id.example", "--client-id", "x", "--map", "auditor"),
            "is not GROUP=ROLE",
        ),
        (
            ("add", "x", "https://id.example", "--client-id", "x", "--map", "*=admin"),
            "gives nobody",
        ),
        (("add", "x", "https://id.example", *usual, "--secret-file", "/nowhere"), "cannot be read"),
        (
            ("add", "x", "https://id.example", *usual, "--public-url", "ftp://x"),
            "LIGHTWELL_PUBLIC_URL",
        ),
        (("test", "x"), "no such identity provider"),
        (("remove", "x"), "no such identity provider"),
        (("change", "x", "--disable"), "no such identity provider"),
        (("change", "x"), "Nothing is said"),
    ):
        done = installation.run("provider", *arguments)
        assert done.returncode == 2, arguments
        assert says in " ".join(done.stderr.split())


async def test_r04_another_tenants_providers_are_behind_row_level_security(
    installation: Installation, house: House
) -> None:
    tenant = await house.tenants.named()
    other = await house.tenants.create(house.operator(tenant), "clinic", aet="CLINIC")
    await house.providers.add(
        house.operator(tenant), "hospital", issuer="https://id.example", client_id="x",
        roles={"a": ["auditor"]},
    )  # fmt: skip
    async with house.database.transaction(other) as connection:
        assert await connection.fetchval("SELECT count(*) FROM identity_provider") == 0


def test_maps_and_secrets_as_they_are_typed(tmp_path: Path) -> None:
    assert role_map(["a=auditor", "b=admin,auditor", "a=radiologist"]) == {
        "a": ["auditor", "radiologist"],
        "b": ["admin", "auditor"],
    }
    for bad in ("a", "=admin", "a=", "="):
        with pytest.raises(Invalid):
            role_map([bad])
    file = tmp_path / "secret"
    file.write_bytes(b"  word \r\n")
    assert read_secret(str(file)) == "word"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(Invalid):
        read_secret(str(file))
