"""The command line as an operator meets it: exit codes, what machines read, and what to do next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lightwell.access.context import Context
from lightwell.app.wiring import House
from lightwell.backends.database.roles import Role
from lightwell.domain.archive.model import Announced, Outcome
from lightwell.testing.builders import BuiltInstance, a_study

if TYPE_CHECKING:
    from tests.conftest import Installation

ONE = uuid.UUID(int=1)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command without an installation: nothing of ours in its environment."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("LIGHTWELL_")}
    return subprocess.run(
        [sys.executable, "-m", "lightwell.app.main", *arguments],
        env={**ours, **environment}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


async def store(house: House, context: Context, built: BuiltInstance) -> None:
    writer = house.archive.stage(
        context, Announced(built.sop_class, built.sop_uid, built.syntax, "TEST")
    )
    writer.write(built.dataset)
    assert (await house.archive.store(context, writer)).outcome is Outcome.STORED


def answer(installation: Installation, *arguments: str) -> Any:
    return json.loads(installation.run(*arguments, "--json", check=True).stdout)


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """What a command said that could not do it: a sentence and a remedy, no traceback."""
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    return done.stderr


# --- the data folder, the database, the store -----------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("stats",),
        ("fsck", "--json"),
        ("reindex",),
        ("database", "url"),
        ("tenant", "list"),
        ("peer", "list"),
        ("peer", "remove", "CT1"),
        ("correct", "list", "--study", "1.2.3"),
    ],
    ids=" ".join,
)
def test_a_mistyped_data_folder_is_not_an_empty_archive(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    said = refusal(run(*command, "--data", str(tmp_path / "typo")))
    assert f"There is no Lightwell installation in {tmp_path}/typo.\n" in said
    assert "--data" in said
    assert "lightwell serve" in said
    assert list(tmp_path.iterdir()) == []
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter.txt").write_text("to my aunt")
    assert "There is no Lightwell installation" in refusal(run(*command, "--data", str(home)))
    assert [path.name for path in home.iterdir()] == ["letter.txt"]


def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for command in (("stats",), ("import", str(tmp_path))):
        said = refusal(run(*command, "--data", str(tmp_path / "file")))
        assert "is not a folder.\nChoose another --data." in said


def test_the_data_folder_must_be_said() -> None:
    done = run("stats")
    assert done.returncode == 2
    assert "--data" in done.stderr


@pytest.mark.parametrize("url", ["postgresql://boss:secretword@127.0.0.1:1/x", "secretword"])
def test_a_database_that_is_not_there(url: str, tmp_path: Path) -> None:
    said = refusal(run("stats", "--data", str(tmp_path / "data"), LIGHTWELL_DATABASE_URL=url))
    assert "PostgreSQL" in said
    assert "secretword" not in said


@pytest.mark.parametrize("url", ["ftp://host/images", "s4://bucket", "S3:///x"])
def test_an_odd_store_is_not_a_folder_of_that_name(
    installation: Installation, url: str, tmp_path: Path
) -> None:
    environment = {**installation.environment, "LIGHTWELL_STORE_URL": url}
    done = subprocess.run(
        [sys.executable, "-m", "lightwell.app.main", "tenant", "list",
         "--data", str(installation.settings.data)],
        env={**os.environ, **environment}, cwd=tmp_path,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert "s3://bucket/prefix?endpoint=" in refusal(done)
    assert list(tmp_path.iterdir()) == []


def test_the_url_of_the_database(installation: Installation, house: House) -> None:
    for role in (Role.OWNER, Role.APP, Role.WORK):
        name = {Role.OWNER: "owner", Role.APP: "app", Role.WORK: "work"}[role]
        done = installation.run("database", "url", "--role", name, check=True)
        assert done.stdout == f"{installation.info.url(role)}\n"
        assert done.stderr == ""
    odd = installation.run("database", "url", "--role", "king")
    assert odd.returncode == 2
    assert "owner, app or work" in odd.stderr


# --- tenants and peers -----------------------------------------------------------------------------


def test_tenants(installation: Installation, house: House) -> None:
    made = installation.run("tenant", "create", "clinic", "--aet", "CLINIC", "--label", "A [b] c")
    assert (made.returncode, made.stdout) == (0, "Tenant clinic is called CLINIC.\n")
    rows = {row["name"]: row for row in answer(installation, "tenant", "list")}
    assert (
        rows["clinic"].items()
        >= {
            "name": "clinic",
            "label": "A [b] c",
            "aet": "CLINIC",
            "region": "local",
            "demo": False,
            "settling": "settle",
            "suspended": False,
            "quota_bytes": None,
            "quota_studies": None,
        }.items()
    )
    assert (rows["clinic"]["titles"], rows["clinic"]["hosts"]) == ([], [])
    assert "A [b] c" in installation.run("tenant", "list", check=True).stdout
    assert "AE title" in refusal(
        installation.run("tenant", "create", "b", "--aet", "MUCHTOOLONGATITLE")
    )
    taken = refusal(installation.run("tenant", "create", "other", "--aet", "CLINIC"))
    assert "CLINIC" in taken or "title" in taken


@pytest.mark.parametrize(
    "command",
    [
        ("peer", "list"),
        ("peer", "add", "CT1", "127.0.0.1:104"),
        ("peer", "remove", "CT1"),
        ("correct", "list", "--study", "1.2.3"),
        ("correct", "reject", "1.2.3", "--reason", "test"),
        ("import", "."),
    ],
    ids=" ".join,
)
def test_an_unknown_tenant(
    installation: Installation, house: House, command: tuple[str, ...]
) -> None:
    said = refusal(installation.run(*command, "--tenant", "nobody"))
    assert said == "lightwell: There is no such tenant.\n`lightwell tenant list` names them.\n"


def test_peers(installation: Installation, house: House) -> None:
    added = installation.run("peer", "add", "CT1", "[fe80::1]:104", "--allow", "store, find",
                             "--site", "[/b] :ct:", "--issuer", "WARD", check=True)  # fmt: skip
    assert added.stdout == (
        "CT1 at [fe80::1]:104 may echo, find, store, of [/b] :ct:, of the last 365 days.\n"
    )
    (row,) = answer(installation, "peer", "list")
    assert (row["aet"], row["host"], row["port"]) == ("CT1", "fe80::1", 104)
    assert (row["allow"], row["site"], row["issuer"]) == (["find", "store"], "[/b] :ct:", "WARD")
    table = installation.run("peer", "list", check=True).stdout
    assert "[fe80::1]:104" in table
    assert "[/b] :ct:" in table
    assert installation.run("peer", "remove", "CT1", check=True).stdout == "CT1 is removed.\n"
    assert answer(installation, "peer", "list") == []
    said = refusal(installation.run("peer", "remove", "CT1"))
    assert said == "lightwell: No peer is called 'CT1'.\n`lightwell peer list` shows them.\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("CT1", "nonsense"), "'nonsense' is not HOST:PORT.\nFor example 127.0.0.1:11112."),
        (("CT1", "h:104", "--allow", "all"), "Use echo, store, find, move, get."),
        (("LIGHTWELL", "h:104"), "Give the other machine's title."),
        (("WITH\\SLASH", "h:104"), "AE title"),
        (("CT1", "h:104", "--type", "toaster"), "modality"),
    ],
)
def test_peers_that_cannot_be(
    installation: Installation, house: House, arguments: tuple[str, ...], text: str
) -> None:
    assert text in refusal(installation.run("peer", "add", *arguments))
    assert answer(installation, "peer", "list") == []


def test_a_path_with_square_brackets_is_named_as_it_is(
    installation: Installation, house: House, tmp_path: Path
) -> None:
    path = f"{tmp_path}/[/b]/{'very-' * 20}long"
    said = refusal(installation.run("import", path, "--as-local"))
    assert said == f"lightwell: There is no {path}.\n"


async def test_stats_and_fsck_for_people(
    installation: Installation, house: House, context: Context
) -> None:
    await store(house, context, a_study("P1").with_series("CT").only())
    totals = answer(installation, "stats")["tenants"]["default"]
    assert (totals["patients"], totals["studies"], totals["instances"]) == (1, 1, 1)
    assert totals["by_modality"] == {"CT": 1}
    assert "default" in installation.run("stats", check=True).stdout
    text = installation.run("fsck", check=True).stdout
    assert "held" in text
    assert "[" not in text, "no markup is left over"


# --- corrections ------------------------------------------------------------------------------------


async def test_a_correction_is_listed_and_undone_at_each_level(
    installation: Installation, house: House, context: Context
) -> None:
    study = a_study("P1").with_series("CT")
    await store(house, context, study.only())
    uid, series, sop = study.study_uid, study.series_uid(), study.sop_uid()
    levels = [
        (("patient", "P1"), ("--patient", "P1"), "PatientName=Right^Rita"),
        (("study", uid), ("--study", uid), "StudyDescription=[/b] right"),
        (("series", uid, series), ("--study", uid, "--series", series), "SeriesDescription=Right"),
        (
            ("instance", uid, series, sop),
            ("--study", uid, "--series", series, "--instance", sop),
            "ImageComments=Right",
        ),
    ]
    for place, where, edit in levels:
        done = installation.run(
            "correct", *place, "--set", edit, "--reason", "[/i] why", check=True
        )
        (made,) = answer(installation, "correct", "list", *where)["corrections"]
        assert done.stdout.startswith(f"Correction {made['id']} (version 1): ")
        assert (made["version"], made["reason"], made["undone"]) == (1, "[/i] why", False)
        table = installation.run("correct", "list", *where, check=True).stdout
        assert made["id"] in table, "whole, to be given to `undo`"
        undo = ("correct", "undo", made["id"], "--reason", "test")
        assert installation.run(*undo).stdout == f"Correction {made['id']} is undone.\n"
        (again,) = answer(installation, "correct", "list", *where)["corrections"]
        assert again["undone"] is True
        assert "undone already" in refusal(installation.run(*undo))


async def test_a_rejection_is_listed_and_restored(
    installation: Installation, house: House, context: Context
) -> None:
    study = a_study("P1").with_series("CT")
    await store(house, context, study.only())
    uid = study.study_uid
    odd = refusal(installation.run("correct", "reject", uid, "--code", "1", "--reason", "test"))
    assert "113001" in odd
    for more in (
        (),
        ("--series", study.series_uid()),
        ("--series", study.series_uid(), "--instance", study.sop_uid()),
        ("--instance", study.sop_uid()),
    ):
        done = installation.run("correct", "reject", uid, *more, "--reason", "test", check=True)
        (made,) = answer(installation, "correct", "list", "--study", uid)["rejections"]
        assert done.stdout == f"Rejection {made['id']}\n"
        assert (made["code"], made["reason"]) == ("113001", "test")
        nothing = refusal(installation.run("correct", "reject", uid, "--reason", "again"))
        assert "nothing visible to reject" in nothing
        back = ("correct", "restore", uid, made["id"], "--reason", "test")
        assert installation.run(*back).stdout == "Restored.\n"
        assert "no such rejection" in refusal(installation.run(*back))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("study", "1.2.3", "--reason", "x"), "Nothing to correct was given."),
        (("study", "1.2.3", "--set", "Nonsense=1", "--reason", "x"), "Use a keyword or eight hex"),
        (
            ("study", "1.2.3", "--set", "StudyDescription", "--reason", "x"),
            "is not Attribute=value",
        ),
        (
            ("study", "1.2.3", "--set", "PatientName=x", "--reason", "x"),
            "Correct it on the patient",
        ),
        (("study", "1.2.3", "--set", "StudyDate=x", "--reason", ""), "reason"),
        (("study", "1.2.3", "--remove", "StudyDescription", "--reason", "x"), "There is no such"),
        (("series", "1.2", "1.3", "--set", "SeriesNumber=one", "--reason", "x"), "not a number"),
        (
            ("patient", "NOBODY", "--set", "PatientSex=F", "--reason", "x"),
            "There is no such patient",
        ),
        (("undo", str(ONE), "--reason", "x"), "`lightwell correct list` shows them."),
        (("undo", "not-an-id", "--reason", "x"), "UUID"),
        (("restore", "1.2.3", str(ONE), "--reason", "x"), "no such rejection"),
        (("list",), "--study or --patient"),
        (("list", "--study", "1.2", "--instance", "1.2.3"), "--instance with --series"),
        (("list", "--patient", "P", "--series", "1.2.3"), "--series goes with --study"),
    ],
)
def test_corrections_that_cannot_be(
    installation: Installation, house: House, arguments: tuple[str, ...], text: str
) -> None:
    assert text in refusal(installation.run("correct", *arguments))


async def test_a_patient_id_of_two_issuers_asks_which(
    installation: Installation, house: House, context: Context
) -> None:
    for n, issuer in enumerate(("WARD", "CLINIC")):
        built = a_study("P1", issuer=issuer, seed=n + 1).with_series("CT").only()
        await store(house, context, built)
    edit = ("correct", "patient", "P1", "--set", "PatientSex=F", "--reason", "test")
    for command in (edit, ("correct", "list", "--patient", "P1")):
        said = refusal(installation.run(*command))
        assert "CLINIC, WARD" in said
        assert "--issuer" in said
    installation.run(*edit, "--issuer", "WARD", check=True)
    for issuer, edits in (("WARD", 1), ("CLINIC", 0)):
        listed = answer(installation, "correct", "list", "--patient", "P1", "--issuer", issuer)
        assert len(listed["corrections"]) == edits
