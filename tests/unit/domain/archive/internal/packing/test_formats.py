"""TAR, index, frame records, recipe, manifest: layouts, other people's readers, sizes beyond 4 GiB."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import tarfile
import uuid
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import generate_frames

from lightwell.domain.archive.coding import FrameFlag, PixelForm, Reason, levels_for
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing import heads
from lightwell.domain.archive.internal.packing.index import read_index
from lightwell.domain.archive.internal.packing.manifest import Named, naming, read_manifest
from lightwell.domain.archive.internal.packing.reading import (
    frame_records,
    loose_entries,
    native_frame,
    open_loose,
    unpack,
)
from lightwell.domain.archive.internal.packing.recipe import Recipe
from lightwell.domain.archive.internal.packing.records import FrameRecord, record_size
from lightwell.domain.archive.internal.packing.tar import (
    END,
    Member,
    member_head,
    members,
    padding,
)
from lightwell.domain.archive.keys import DERIVED, PACK
from lightwell.domain.archive.model import NewBlob
from lightwell.testing import encoding as enc
from lightwell.testing.raw_objects import Form, raw_object, smooth_words

GREY = Form(rows=32, columns=32)
STRAYED = smooth_words(GREY).tobytes()[:-2] + b"\xff\xff"
NAMES = ["000001.dcm", "side/000001.bin", "000002.dcm", "000003.dcm"]
REST = ["frames.bin", "manifest.json", "index.json.z", "locator.json"]


def _three(pack):
    return pack(
        raw_object(GREY, STRAYED, seed=1),
        raw_object(replace(GREY, frames=5), seed=2),
        raw_object(Form(rows=4, columns=4), seed=3),
    )


def test_gnu_tar_and_python_list_and_unpack_it(pack, tmp_path: Path) -> None:
    done = _three(pack)
    path = tmp_path / "pack.tar"
    path.write_bytes(done.raw)
    listed = subprocess.run(["tar", "tf", path], capture_output=True, text=True, check=True)
    assert (listed.stdout.split(), listed.stderr) == (NAMES + REST, "")
    with tarfile.open(path) as archive:
        assert archive.getnames() == NAMES + REST
        for number, name in enumerate(("000001.dcm", "000002.dcm", "000003.dcm")):
            member = archive.extractfile(name)
            assert member is not None
            assert member.read() == done.part10(number)
        copy = archive.extractfile("manifest.json")
        assert copy is not None
        assert copy.read() == done.packed.manifest


def test_dcmtk_reads_the_entries(pack, tmp_path: Path) -> None:
    if shutil.which("dcmdump") is None:
        pytest.skip("dcmtk is not installed")
    done = _three(pack)
    for number in range(3):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(done.part10(number))
        dumped = subprocess.run(["dcmdump", path], capture_output=True, text=True, check=True)
        assert dumped.stderr == ""
        assert "(7fe0,0010)" in dumped.stdout


def test_the_index_says_what_was_written(pack) -> None:
    done = _three(pack)
    found = read_index(done.read, len(done.raw))
    assert found.entries == done.entries
    assert [e.reason for e in found.entries] == [None, None, Reason.NO_GAIN]
    assert done.raw[-1024:] == END
    locator = json.loads(done.raw[-1536:-1024])
    assert locator["lightwell-pack"] == 1
    assert len(done.raw) == done.packed.length


def test_the_manifest_has_the_facts_of_arrival(pack) -> None:
    done = _three(pack)
    found = read_manifest(done.packed.manifest)
    assert (found.study_uid, found.series_uid, found.generation) == ("1.2", "1.2.3", 1)
    for entry, row in zip(found.entries, done.entries, strict=True):
        assert (entry.sop_uid, entry.sha256, entry.reason) == (row.sop_uid, row.sha256, row.reason)
        assert (entry.syntax, entry.stored) == (row.received_syntax, row.syntax)
        assert entry.arrival == {"source": "CT1"}


def test_the_manifest_object_names_its_pack_and_what_was_derived(pack) -> None:
    copy = _three(pack).packed.manifest
    blobs = Named(
        NewBlob(uuid.uuid4(), PACK, 2048, 1), NewBlob(uuid.uuid4(), DERIVED, 9, 2**32 - 1)
    )
    for named in (blobs, replace(blobs, preview=NewBlob(uuid.uuid4(), DERIVED, 7, 0))):
        raw = naming(copy, named)
        assert read_manifest(raw) == replace(read_manifest(copy), blobs=named)
        assert json.loads(raw)["v"] == 2
    for wrong in ("{}", "[]", "null", '{"pack":["zz",1,1],"metadata":["00",1,1]}'):
        model = json.loads(copy) | {"v": 2, "blobs": json.loads(wrong)}
        with pytest.raises(Damaged):
            read_manifest(json.dumps(model).encode())


def test_a_frame_record_is_68_bytes_at_five_levels() -> None:
    assert record_size(6, sided=False) == 68
    assert record_size(7, sided=False) == 76
    assert record_size(6, sided=True) == 84
    record = FrameRecord(2**33 + 5, 102, (40, 100), (1, 2), FrameFlag.ZERO)
    raw = record.to_bytes()
    assert raw[:16] == struct.pack("<QIBBH", 2**33 + 5, 102, 2, 1, 0)
    assert FrameRecord.from_bytes(raw, sided=False) == record
    sided = replace(record, flags=FrameFlag.SIDED, side=(2**34, 9, 77))
    assert FrameRecord.from_bytes(sided.to_bytes(), sided=True) == sided
    for wrong in (
        replace(record, ends=(100, 40)),
        replace(record, length=103),
        replace(record, flags=FrameFlag.SIDED),
    ):
        with pytest.raises(Damaged):
            FrameRecord.from_bytes(wrong.to_bytes(), sided=False)


def test_ten_thousand_frames(pack) -> None:
    form = Form(rows=16, columns=16, allocated=8, stored=8, high=7, frames=10_000)
    one = smooth_words(replace(form, frames=1)).tobytes()
    made = raw_object(form, bytes(256) * 9_999 + one)
    done = pack(made)
    entry = done.entries[0]
    assert entry.reason is None
    assert entry.records is not None
    assert entry.records.count == 10_000
    index = read_index(done.read, len(done.raw))
    assert index.entries == done.entries
    assert bytes(native_frame(done.read, entry, 10_000, done.coder)) == one
    assert bytes(native_frame(done.read, entry, 9_999, done.coder)) == bytes(256)
    assert done.rebuilt() == made.data_set
    asked: list[int] = []

    def counting(offset: int, length: int) -> bytes:
        asked.append(length)
        return done.read(offset, length)

    native_frame(counting, entry, 7_777, done.coder)
    assert len(asked) == 2  # its record, its codestream
    dataset = pydicom.dcmread(io.BytesIO(done.part10()))
    assert len(list(generate_frames(dataset.PixelData, number_of_frames=10_000))) == 10_000


def test_beyond_4_gib_offsets_are_extended() -> None:
    lengths = [3 << 30, (3 << 30) + 1, 10]
    extended, table = heads.offset_tables(lengths)
    assert table == struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    dataset = pydicom.dcmread(io.BytesIO(enc.file_meta("1.2", "1.3", enc.EXPLICIT_LE) + extended))
    second = (3 << 30) + 8
    third = second + (3 << 30) + 2 + 8
    offsets = struct.unpack("<3Q", dataset.ExtendedOffsetTable)
    assert offsets == (0, second, third)
    assert struct.unpack("<3Q", dataset.ExtendedOffsetTableLengths) == (3 << 30, (3 << 30) + 2, 10)
    extended, table = heads.offset_tables([3 << 30, 10])
    assert (extended, table[8:]) == (b"", struct.pack("<2I", 0, second))


@pytest.mark.parametrize("syntax", [enc.EXPLICIT_LE, enc.IMPLICIT_LE])
def test_an_entry_with_extended_offsets_is_read_by_pydicom(
    pack, monkeypatch: pytest.MonkeyPatch, syntax: str
) -> None:
    monkeypatch.setattr(heads, "_BASIC_LIMIT", 100)
    made = raw_object(replace(GREY, frames=5), syntax=syntax)
    done = pack(made)
    dataset = pydicom.dcmread(io.BytesIO(done.part10()))
    table = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=5, extended_offsets=table))
    records = frame_records(done.read, done.entries[0], 1, 5)
    for frame, record in zip(frames, records, strict=True):
        assert frame[: record.length] == done.read(record.offset, record.length)
    assert done.rebuilt() == made.data_set
    assert done.prove() == []


def test_members_beyond_8_gib(tmp_path: Path) -> None:
    """A sparse archive: GNU tar and our reader find what lies behind 9 GiB."""
    size = 9 << 30
    path = tmp_path / "large.tar"
    with path.open("wb") as out:
        out.write(member_head("000001.dcm", size))
        start = out.tell()
        out.seek(size, os.SEEK_CUR)
        out.write(padding(size) + member_head("locator.json", 3) + b"abc" + padding(3) + END)
        length = out.tell()
    listed = subprocess.run(["tar", "tvf", path], capture_output=True, text=True, check=True)
    assert [line.split()[2] for line in listed.stdout.splitlines()] == [str(size), "3"]
    with path.open("rb") as raw:
        found = list(members(lambda at, n: os.pread(raw.fileno(), n, at), length))
    assert found[0] == Member("000001.dcm", start, size)
    assert found[1].name == "locator.json"


def test_without_an_index_headers_and_offset_tables_do(pack) -> None:
    done = _three(pack)
    found = [open_loose(done.read, member) for member in loose_entries(done.read, len(done.raw))]
    assert [f.member.offset for f in found] == [e.offset for e in done.entries]
    for loose, entry in zip(found, done.entries, strict=True):
        assert loose.syntax == entry.syntax
        assert loose.frames is not None
        if entry.records is None:
            continue
        for number in range(1, entry.records.count + 1):
            record = frame_records(done.read, entry, number, 1)[0]
            ((offset, length),) = loose.frames.spans(number)
            assert loose.data_offset + offset == record.offset
            assert length - record.length in (0, 1)


def test_unpack_gives_plain_part_10_files_back(pack) -> None:
    made = raw_object(GREY, syntax=enc.IMPLICIT_LE)
    done = pack(made)
    whole = b"".join(map(bytes, unpack(done.read, done.entries[0], done.coder)))
    assert whole.endswith(made.data_set)
    assert pydicom.dcmread(io.BytesIO(whole)).file_meta.TransferSyntaxUID == enc.IMPLICIT_LE
    assert whole[:128] == bytes(128)


def test_a_recipe_is_small(pack) -> None:
    done = pack(raw_object(GREY))
    assert len(done.entries[0].recipe) < 120
    implicit = pack(raw_object(GREY, syntax=enc.IMPLICIT_LE)).entries[0]
    assert Recipe.from_bytes(implicit.recipe).deflated < 300


@pytest.mark.parametrize(
    ("rows", "columns", "levels"),
    [
        (1, 1, 1), (512, 1, 1), (15, 15, 1), (64, 64, 3), (128, 128, 4), (256, 256, 5),
        (512, 512, 5), (2048, 2048, 5), (3000, 2500, 6), (4096, 3328, 6), (20_000, 20_000, 9),
        (65_535, 65_535, 10),
    ],
)  # fmt: skip
def test_the_base_resolution_is_at_most_64(rows: int, columns: int, levels: int) -> None:
    assert levels_for(rows, columns) == levels
    assert -(-min(rows, columns) // 2**levels) <= 64


@given(st.binary(min_size=1, max_size=300), st.data())
def test_changes_and_their_splices(original: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(original)), max_size=6)))
    pairs = list(zip(cuts[::2], cuts[1::2], strict=False))
    changes = [heads.Change(a, b, data.draw(st.binary(max_size=9))) for a, b in pairs]
    made, splices = heads.apply_changes(original, changes)
    recipe = Recipe(
        form=PixelForm(2, 3, 1, 16, 12, 11),
        head=len(made),
        original_head=len(original),
        splices=splices,
    )
    again = Recipe.from_bytes(recipe.to_bytes())
    assert again == recipe
    assert again.rebuild_head(made) == original
