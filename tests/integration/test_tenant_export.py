"""A tenant written out: bit for bit what arrived, resumable, importable, without secrets."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lightwell.access.context import Context, Tenant
from lightwell.access.roles import Role
from lightwell.app.export import export_tenant
from lightwell.app.settling import settling_of
from lightwell.app.wiring import House
from lightwell.backends.database import records
from lightwell.backends.database.chores import flush_inline
from lightwell.backends.database.pool import connect
from lightwell.backends.database.roles import Role as DatabaseRole
from lightwell.backends.database.sequencer import GENESIS, chained
from lightwell.backends.database.sequencer import step as sequence
from lightwell.dicom.part10 import read_meta
from lightwell.domain.archive.keys import LANDED, kind_prefix
from lightwell.domain.archive.model import Outcome
from lightwell.domain.peers.model import Peer
from lightwell.domain.people.model import Limit, RelationKind
from lightwell.gateways.media.importer import Importer
from lightwell.gateways.media.intake import Labels
from lightwell.kernel.errors import Conflict, Missing
from lightwell.testing.builders import BuiltInstance, a_study
from tests.integration.test_reindex import keep

BIG: dict[str, Any] = {"rows": 256, "columns": 256}


@pytest.fixture
async def clinic(house: House, context: Context) -> Tenant:
    return await house.tenants.create(context, "clinic", aet="CLINIC")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def arrived(path: Path) -> str:
    """SHA-256 of the data set of a plain file."""
    raw = path.read_bytes()
    _, offset = read_meta(raw, complete=True)
    return hashlib.sha256(raw[offset:]).hexdigest()


def check_manifest(folder: Path) -> list[dict[str, Any]]:
    """What the manifest says is so; the lines of objects."""
    told = lines(folder / "manifest.jsonl")[1:]
    for line in told:
        raw = (folder / line["path"]).read_bytes()
        assert (len(raw), hashlib.sha256(raw).hexdigest()) == (line["bytes"], line["sha256"])
    assert len({line["path"] for line in told}) == len(told)
    complete = json.loads((folder / "complete.json").read_text())
    raw = (folder / "manifest.jsonl").read_bytes()
    assert complete["manifest_sha256"] == hashlib.sha256(raw).hexdigest()
    there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert there - {line["path"] for line in told} == {"manifest.jsonl", "complete.json"}
    return [line for line in told if "sha256_arrived" in line]


async def kept_in(house: House, context: Context) -> list[BuiltInstance]:
    """Small and big ones, a settled series, one that is kept aside."""
    big = a_study("P1").with_series("CT", instances=3, **BIG)
    small = a_study("P2").with_series("MR", instances=2)
    built = [*big.objects(), *small.objects()]
    for one in built:
        assert await keep(house, context, one) is Outcome.STORED
    tenants = {t.key: t for t in await house.tenants.everyone()}
    await flush_inline(house.work, house.blobs, tenants)
    first = big.objects()[0]
    settling = settling_of(house)
    done = await settling.settle(context, first.study_uid, first.series_uid, lambda *_: None)
    assert done.instances == 3
    late = a_study("P3").with_series("CT").only()  # lies in its row
    assert await keep(house, context, late) is Outcome.STORED
    return [*built, late]


async def test_every_object_is_written_as_it_arrived_and_taken_back(
    house: House, context: Context, clinic: Tenant, tmp_path: Path
) -> None:
    theirs = house.operator(clinic)
    built = await kept_in(house, theirs)
    await keep(house, context, a_study("P9").with_series("CT").only())  # a neighbour's
    report = await export_tenant(house, context, "clinic", tmp_path / "out")
    assert (report.objects, report.written, report.damaged) == (6, 6, ())
    told = check_manifest(tmp_path / "out")
    by_uid = {line["sop_uid"]: line for line in told}
    assert by_uid.keys() == {one.sop_uid for one in built}
    for one in built:
        line = by_uid[one.sop_uid]
        digest = hashlib.sha256(one.dataset).hexdigest()
        assert arrived(tmp_path / "out" / line["path"]) == line["sha256_arrived"] == digest
        assert line["as_arrived"] is True
    elsewhere = house.operator(await house.tenants.create(context, "north", aet="NORTH"))
    imported = Importer(house.archive, elsewhere, Labels())
    await imported.run([tmp_path / "out" / "objects"])
    totals = await house.archive.totals(elsewhere)
    assert (totals.instances, totals.studies, totals.held) == (6, 3, 0)


async def test_what_people_decided_is_there_and_what_they_sign_in_with_is_not(
    house: House, context: Context, clinic: Tenant, tmp_path: Path
) -> None:
    theirs = house.operator(clinic)
    made = await house.people.add(theirs, "ada", name="Ada", roles=[Role.RADIOLOGIST])
    key = await house.people.new_key(
        theirs, "crawler", roles=[Role.INTEGRATION], scopes=[], life=timedelta(days=1)
    )
    await house.policies.put(
        theirs, '@id("closed") @reason("r") forbid (principal is Person, action, resource);'
    )
    await house.peers.add(theirs, Peer("CT9", "10.0.0.0/8", 104))
    await house.tenants.suspend(context, "clinic", "the contract has ended")
    await export_tenant(house, context, "clinic", tmp_path / "out")
    check_manifest(tmp_path / "out")
    told = {path.stem: lines(path) for path in (tmp_path / "out").glob("*.jsonl")}
    assert [person["login"] for person in told["people"]] == ["ada"]
    assert [program["name"] for program in told["programs"]] == ["crawler"]
    assert [policy["name"] for policy in told["policies"]] == ["closed"]
    assert [peer["aet"] for peer in told["peers"]] == ["CT9"]
    assert [entry["kind"] for entry in told["journal"]] == ["tenant", "peer", "tenant"]
    assert told["people"][0]["roles"] == ["radiologist"]
    assert told["people"][0]["has_password"] is False
    assert (told["tenant"][0]["name"], told["tenant"][0]["suspended"]) == ("clinic", True)
    everything = b"".join(path.read_bytes() for path in (tmp_path / "out").glob("*"))
    for secret in (made.secret, key.secret):
        assert secret.encode() not in everything
    assert b"argon2" not in everything
    assert b"digest" not in everything


async def test_the_record_and_whose_patients_are_whose_are_there(
    house: House, context: Context, clinic: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "PAGE", 2)
    theirs = house.operator(clinic, "eve")
    for login in ("ada", "bea", "cid", "dov", "eva"):
        await house.people.add(theirs, login, name="", roles=[Role.RADIOLOGIST])
    for name in ("P1", "P2", "P3"):
        await house.relations.relate(theirs, "ada", RelationKind.TREATS, name, "WARD")
    await house.relations.limit(theirs, "bea", Limit.MODALITY, ["CT", "MR"])
    sealed = await house.people.seal(theirs, "fire", roles=[Role.RADIOLOGIST], places=["loopback"])
    ours = house.operator(await house.tenants.named())
    await house.people.add(ours, "other", name="", roles=[Role.RADIOLOGIST])
    await asyncio.sleep(0.2)  # notes are written every tenth of a second
    connection = await connect(house.info, DatabaseRole.WORK)
    await sequence(connection)
    await connection.close()
    await export_tenant(house, context, "clinic", tmp_path / "out")
    check_manifest(tmp_path / "out")
    told = {path.stem: lines(path) for path in (tmp_path / "out").glob("*.jsonl")}
    logins = [person["login"] for person in told["people"]]
    assert logins == ["ada", "bea", "cid", "dov", "eva", "fire"]
    assert [(r["login"], r["kind"], r["issuer"], r["name"]) for r in told["relations"]] == [
        ("ada", "treats", "WARD", name) for name in ("P1", "P2", "P3")
    ]
    assert [(x["login"], x["kind"], x["value"]) for x in told["limits"]] == [
        ("bea", "modality", "CT"),
        ("bea", "modality", "MR"),
    ]
    (seal,) = told["seals"]
    assert (seal["login"], seal["places"], seal["broken"]) == ("fire", ["loopback"], None)
    acts = [(act["action"], act["actor"], act["subject"]) for act in told["audit"]]
    assert acts.count(("people:person:add", "operator:eve", "ada")) == 1
    assert not any(subject == "other" for _, _, subject in acts)
    # The chain holds over what was written: from it alone, without the database.
    head, placed = GENESIS, 0
    leaves = [bytes.fromhex(act["leaf"]) for act in told["audit"]]
    for batch in told["audit-chain"]:
        assert batch["first_seq"] == placed + 1
        head = chained(head, leaves[placed : placed + batch["n"]])
        placed += batch["n"]
        assert head.hex() == batch["head"]
    assert placed >= 10
    everything = b"".join(path.read_bytes() for path in (tmp_path / "out").glob("*"))
    assert sealed.secret.encode() not in everything


async def test_d15_an_interrupted_export_goes_on(
    house: House, context: Context, clinic: Tenant, tmp_path: Path
) -> None:
    await kept_in(house, house.operator(clinic))
    folder = tmp_path / "out"

    class Killed(BaseException):
        pass

    def heard(_n: int) -> None:
        nonlocal count
        count += 1
        if count == 4:
            raise Killed

    count = 0
    with pytest.raises(Killed):
        await export_tenant(house, context, "clinic", folder, heard)
    assert not (folder / "complete.json").exists()
    # What a kill leaves: half a line, half a file, a file that is not whole under its name.
    with (folder / "manifest.jsonl").open("a") as stream:
        stream.write('{"path": "objects/0000')
    (folder / "objects" / "000000" / "999999999.part").write_bytes(b"half")
    named = lines_of_objects(folder)
    (folder / named[0]["path"]).write_bytes(b"cut")
    report = await export_tenant(house, context, "clinic", folder)
    assert (report.objects, report.written) == (6, 3)
    told = check_manifest(folder)
    assert all(arrived(folder / line["path"]) == line["sha256_arrived"] for line in told)
    again = await export_tenant(house, context, "clinic", folder)
    assert (again.objects, again.written, again.bytes) == (6, 0, report.bytes)
    check_manifest(folder)


def lines_of_objects(folder: Path) -> list[dict[str, Any]]:
    found = []
    for text in (folder / "manifest.jsonl").read_text().splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if "sha256_arrived" in line:
            found.append(line)
    return found


async def test_s01_what_is_damaged_is_told_and_not_written(
    house: House, context: Context, clinic: Tenant, tmp_path: Path
) -> None:
    theirs = house.operator(clinic)
    for one in a_study("P1").with_series("CT", instances=2, **BIG).objects():
        await keep(house, theirs, one)
    prefix = kind_prefix(clinic.region, clinic.name, LANDED)
    key = next(info.key for info in house.blobs.list(prefix))
    raw = house.blobs.itself().read(key)
    house.blobs.put(key, raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:], replace=True)
    report = await export_tenant(house, context, "clinic", tmp_path / "out")
    assert report.objects == 1
    assert len(report.damaged) == 1
    complete = json.loads((tmp_path / "out" / "complete.json").read_text())
    assert complete["damaged"] == list(report.damaged)
    assert len([path for path in (tmp_path / "out" / "objects").rglob("*") if path.is_file()]) == 1


async def test_a_folder_that_holds_something_else_is_left_alone(
    house: House, context: Context, clinic: Tenant, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(Conflict, match="something else"):
        await export_tenant(house, context, "clinic", tmp_path / "mine")
    await export_tenant(house, context, "clinic", tmp_path / "out")
    with pytest.raises(Conflict, match="another tenant"):
        await export_tenant(house, context, "default", tmp_path / "out")
    with pytest.raises(Missing):
        await export_tenant(house, context, "nowhere", tmp_path / "new")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
