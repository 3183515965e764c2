"""Import: every file found has one fate, archives are read under limits, nothing leaves the store."""

from __future__ import annotations

import io
import json
import os
import socket
import stat
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lightwell.access.context import Context
from lightwell.app.wiring import House
from lightwell.domain.archive.finding import build_query
from lightwell.domain.archive.model import Level
from lightwell.gateways.media.archives import ArchiveLimits
from lightwell.gateways.media.importer import Importer
from lightwell.gateways.media.intake import NESTED, Labels
from lightwell.gateways.media.report import Fate, FileReport, ImportReport
from lightwell.testing.builders import a_study

if TYPE_CHECKING:
    from tests.conftest import Installation

LOCAL = Labels()
OUTSIDE = Labels(issuer="~batch:test", outside=True)


async def imported(
    house: House, context: Context, *paths: Path, labels: Labels = LOCAL, **more: ArchiveLimits
) -> ImportReport:
    heard: list[FileReport] = []
    importer = Importer(house.archive, context, labels, heard.append, **more)
    report = await importer.run(paths)
    assert len(heard) == report.found == sum(report.counts.values())
    listed = Counter(line.fate for line in report.files)
    assert listed == {fate: n for fate, n in report.counts.items() if fate is not Fate.STORED}
    return report


def reasons(report: ImportReport) -> dict[str, int]:
    return {reason: n for (_, reason), n in report.reasons.items()}


def zipped(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


async def patients(house: House, context: Context) -> list[str]:
    page = await house.archive.find(context, build_query(Level.PATIENT, []))
    return [f"{found.attributes['00100020']['Value'][0]}" for found in page.items]


# --- folders --------------------------------------------------------------------------------------


async def test_a_folder_is_stored_once_and_again_changes_nothing(
    house: House, context: Context, tmp_path: Path
) -> None:
    for number, built in enumerate(a_study().with_series("CT", instances=5).objects()):
        (tmp_path / f"IM{number}").write_bytes(built.part10)
    (tmp_path / "README.TXT").write_text("a viewer for another system")
    first = await imported(house, context, tmp_path)
    assert (first.counts[Fate.STORED], reasons(first)) == (5, {"not DICOM": 1})
    assert first.unexpected == 0
    again = await imported(house, context, tmp_path)
    assert (again.counts[Fate.STORED], again.counts[Fate.DUPLICATE]) == (0, 5)
    assert (await house.archive.totals(context)).instances == 5


async def test_links_pipes_and_what_may_not_be_read_are_reported_not_followed(
    house: House, context: Context, tmp_path: Path
) -> None:
    built = a_study().with_series("CT").only()
    outside = tmp_path / "outside.dcm"
    outside.write_bytes(built.part10)
    folder = tmp_path / "cd"
    folder.mkdir()
    (folder / "link.dcm").symlink_to(outside)
    (folder / "folder").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(folder / "pipe")
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(folder / "socket"))
    door.close()
    report = await imported(house, context, folder)
    assert report.counts[Fate.STORED] == 0
    assert reasons(report) == {"symbolic link": 2, "not a file": 1, "cannot be read": 1}
    assert report.unexpected == 4


async def test_a_held_a_candidate_and_a_conflict_each_have_their_reason(
    house: House, context: Context, tmp_path: Path
) -> None:
    study = a_study("P1", "HOSP").with_series(
        "CT", rows=256, columns=256
    )  # beyond what is kept in the row
    (tmp_path / "1").write_bytes(study.only().part10)
    assert (await imported(house, context, tmp_path / "1")).counts[Fate.STORED] == 1
    other = study.with_attributes(PatientName="Else^Somebody", PatientBirthDate="19991231")
    other = other.with_attributes(
        StudyInstanceUID="2.25.1", SeriesInstanceUID="2.25.2", SOPInstanceUID="2.25.3"
    )
    variants = {
        "held": other.only().part10,
        "candidate": study.with_attributes(StudyDescription="Changed").only().part10,
        "conflict": study.other_pixels().only().part10,
    }
    for name, data in variants.items():
        (tmp_path / name).write_bytes(data)
        report = await imported(house, context, tmp_path / name)
        fate = Fate.REFUSED if name == "conflict" else Fate.HELD
        assert (report.counts, reasons(report)) == ({fate: 1}, {name: 1})


async def test_an_outside_batch_joins_no_local_patient_and_is_marked(
    house: House, context: Context, tmp_path: Path
) -> None:
    (tmp_path / "ours").write_bytes(a_study("42", seed=1).with_series("CT").only().part10)
    (tmp_path / "theirs").write_bytes(a_study("42", seed=2).with_series("CT").only().part10)
    await imported(house, context, tmp_path / "ours")
    await imported(house, context, tmp_path / "theirs", labels=OUTSIDE)
    assert await patients(house, context) == ["42", "42"]  # one ID, two patients
    async with house.database.transaction(context.tenant) as connection:
        marked = await connection.fetch("SELECT outside FROM study ORDER BY study_key")
    assert [row["outside"] for row in marked] == [False, True]


# --- archives -------------------------------------------------------------------------------------


async def test_archives_are_opened_one_level_deep(
    house: House, context: Context, tmp_path: Path
) -> None:
    objects = a_study().with_series("CT", instances=3).objects()
    inner = zipped(tmp_path / "inner.zip", x=objects[2].part10).read_bytes()
    (tmp_path / "inner.zip").unlink()
    zipped(tmp_path / "cd.zip", a=objects[0].part10, b=objects[1].part10, c=inner)
    report = await imported(house, context, tmp_path)
    assert report.counts[Fate.STORED] == 2
    assert reasons(report) == {NESTED: 1}
    assert report.files[0].name.endswith("cd.zip!c")


@pytest.mark.parametrize(
    ("limits", "stored"),
    [
        (ArchiveLimits(entries=3), 0),
        (ArchiveLimits(directory=100), 0),
        (ArchiveLimits(inflated=4000), 2),
        (ArchiveLimits(entries=4), 4),
    ],
)
async def test_limits_of_an_archive(
    house: House, context: Context, tmp_path: Path, limits: ArchiveLimits, stored: int
) -> None:
    objects = a_study().with_series("CT", instances=4).objects()
    assert 4000 / 3 < len(objects[0].part10) < 4000 / 2
    zipped(tmp_path / "cd.zip", **{f"f{n}": built.part10 for n, built in enumerate(objects)})
    report = await imported(house, context, tmp_path, limits=limits)
    assert report.counts[Fate.STORED] == stored
    if stored < 4:
        assert reasons(report) == {"archive limit": report.counts[Fate.REFUSED]}


async def test_a_bomb_that_is_dicom_ends_at_its_ratio(
    house: House, context: Context, tmp_path: Path
) -> None:
    built = a_study().with_series("CT", rows=4096, columns=4096, pixels=_black).only()
    assert len(built.part10) > 32 * 1024**2
    path = zipped(tmp_path / "bomb.zip", a=built.part10)
    assert path.stat().st_size < len(built.part10) / 500
    report = await imported(house, context, path)
    assert reasons(report) == {"archive limit": 1}
    kept = [info for info in house.blobs.list("") if "/landed/" in info.key]
    assert kept == []


def _black(shape, _rng):  # type: ignore[no-untyped-def]
    import numpy

    return numpy.zeros(shape.array_shape, shape.dtype)


async def test_encrypted_damaged_and_strange_entries_are_named(
    house: House, context: Context, tmp_path: Path
) -> None:
    part10 = a_study().with_series("CT").only().part10
    raw = bytearray(zipped(tmp_path / "e.zip", a=part10).read_bytes())
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(magic) + flags] |= 1
    (tmp_path / "e.zip").write_bytes(raw)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a", part10)
    raw = bytearray(zipped(tmp_path / "d.zip", a=part10).read_bytes())
    raw[raw.index(b"PK\x01\x02") + 16] ^= 0xFF  # the checksum the directory claims
    (tmp_path / "d.zip").write_bytes(raw)
    (tmp_path / "t.zip").write_bytes(bytes(raw)[: len(raw) // 2])
    report = await imported(house, context, tmp_path)
    assert report.counts[Fate.STORED] == 0
    assert reasons(report) == {
        "encrypted": 1,
        "compression method": 1,
        "damaged entry": 1,
        "archive cannot be read": 1,
    }


EXPECTED = {
    "zip_slip.zip": ({Fate.STORED: 1, Fate.DUPLICATE: 2}, {"duplicate": 2}),
    "zip_symlink.zip": ({Fate.STORED: 1, Fate.REFUSED: 1}, {"symbolic link": 1}),
    "zip_bomb.zip": ({Fate.REFUSED: 6}, None),
    "zip_many.zip": ({Fate.REFUSED: 20_000}, {"not DICOM": 20_000}),
    "zip_nested.zip": ({Fate.REFUSED: 1}, {NESTED: 1}),
    "zip_mixed.zip": ({Fate.STORED: 2, Fate.REFUSED: 1}, {"not DICOM": 1}),
    "zip_lying_size.zip": ({Fate.REFUSED: 1}, None),
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
async def test_p01_hostile_archives(
    house: House, context: Context, evil_files: Path, tmp_path: Path, name: str
) -> None:
    counts, why = EXPECTED[name]
    before = sorted(path.name for path in evil_files.iterdir())
    report = await imported(house, context, evil_files / name)
    assert report.counts == counts, report.files[:5]
    if why is not None:
        assert reasons(report) == why
    assert sorted(path.name for path in evil_files.iterdir()) == before
    assert not Path("/pwn.dcm").exists()
    assert not Path("/pwn2.dcm").exists()


async def test_hostile_files_have_a_fate_each(
    house: House, context: Context, evil_files: Path
) -> None:
    files = sorted(evil_files.glob("*.dcm"))
    first = await imported(house, context, *files)
    assert first.found == len(files)
    named = {Path(line.name).name: line.reason for line in first.files}
    for name in ("dotdot", "abs", "nul", "sql", "long", "crlf"):
        assert named[f"uid_{name}.dcm"] == "unreadable"
    assert named["deflate_400m.dcm"] == "too large"
    assert named["nodicm.dcm"] == "not DICOM"
    for name in ("pe", "elf", "sh", "html", "tiff"):
        assert f"pre_{name}.dcm" not in named  # stored: the preamble is zeroed at every exit
    assert not list(Path("/").glob("pwn*"))
    again = await imported(house, context, *files)
    assert again.counts[Fate.STORED] == 0
    assert again.counts[Fate.DUPLICATE] == first.counts[Fate.STORED]


# --- the whole corpus, and the command ------------------------------------------------------------


async def test_p07_the_report_adds_up_on_everything(
    installation: Installation, house: House, shared_data: Path
) -> None:
    files = sum(1 for path in shared_data.rglob("*") if path.is_file())
    done = installation.run("import", str(shared_data), "--as-local", "--json")
    report = json.loads(done.stdout)
    assert report["found"] == files
    fates = ("stored", "duplicate", "held", "refused")
    assert report["found"] == sum(report[fate] for fate in fates)
    assert sum(report["reasons"].values()) == report["found"] - report["stored"]
    assert len(report["files"]) == report["found"] - report["stored"]
    directories = sorted(path.name for path in shared_data.rglob("DICOMDIR*") if path.is_file())
    named = [line["name"] for line in report["files"] if line["reason"] == "directory"]
    assert len(named) >= len([name for name in directories if "empty" not in name])
    assert report["stored"] > 1000
    totals = json.loads(installation.run("stats", "--json", check=True).stdout)
    assert totals["tenants"]["default"]["instances"] == report["stored"]
    assert installation.run("fsck", "--deep").returncode == 0


async def test_the_command_says_what_it_cannot_do(
    installation: Installation, house: House, tmp_path: Path
) -> None:
    assert installation.run("import", str(tmp_path / "nowhere")).returncode == 2
    both = installation.run("import", str(tmp_path), "--as-local", "--issuer", "X")
    assert (both.returncode, "contradict" in both.stderr) == (2, True)
    private = installation.run("import", str(tmp_path), "--issuer", "~mine")
    assert private.returncode == 2
    empty = installation.run("import", str(tmp_path), "--json", check=True)
    assert json.loads(empty.stdout)["issuer"].startswith("~batch:")


def test_an_entry_that_claims_to_be_a_link_is_one() -> None:
    """The kit writes Unix modes; this guards the constant the archive reader relies on."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("l")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "x")
        assert stat.S_ISLNK(archive.infolist()[0].external_attr >> 16)
