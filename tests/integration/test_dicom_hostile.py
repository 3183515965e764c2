"""Hostile files and damaged real ones: refused or read with defects, in bounded time and memory."""

from __future__ import annotations

import csv
import os
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lightwell.dicom import dictionary, frames, json_model, part10, rewrite, scanner, tags
from lightwell.dicom.errors import DicomError
from lightwell.dicom.header import Header
from lightwell.dicom.inflate import InflatingReader
from lightwell.dicom.uids import acceptable_uid
from lightwell.testing.pace import slowness

SHARED = Path(os.environ.get("LIGHTWELL_SHARED", Path(__file__).resolve().parents[3] / "shared"))
KIT = SHARED / "kit" / "evil_files.py"
INDEX = SHARED / "data" / "INDEX.csv"

needs_kit = pytest.mark.skipif(not KIT.exists(), reason=f"the hostile kit is not at {KIT}")
needs_data = pytest.mark.skipif(not INDEX.exists(), reason=f"the test objects are not at {INDEX}")


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evil")
    subprocess.run(
        [sys.executable, "-W", "ignore", str(KIT), str(folder)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return folder


def taken_in(raw: bytes) -> dict[str, Any]:
    """What the doors do with a file, as the verdict that matters: raises DicomError to refuse."""
    meta, offset = part10.read_meta(raw)
    data = raw[offset:]
    if meta.syntax.deflated:
        head = bytearray()
        for piece in scanner.inflate_bounded([data]):
            if len(head) < 1 << 20:
                head += piece
        data = bytes(head)
    header = scanner.scan(data, meta.syntax, complete=True)
    assert isinstance(header, Header)
    index = None
    if header.pixel_tag is not None:
        index = frames.locate_frames(data, header, meta.syntax)
    json_model.dumps(json_model.header_to_json(header, bulk=lambda path: path))
    sop = header.text(tags.SOPInstanceUID) or ""
    return {
        "acceptable": acceptable_uid(sop),
        "sop": sop,
        "meta": meta,
        "header": header,
        "index": index,
        "first": index is not None and index.present(1),
    }


@needs_kit
def test_every_hostile_file_is_refused_or_read_quickly_and_in_little_memory(evil: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused: dict[str, str] = {}
    read: dict[str, dict[str, Any]] = {}
    files = sorted(evil.glob("*.dcm"))
    assert len(files) >= 18
    for path in files:
        start = time.process_time()
        try:
            read[path.stem] = taken_in(path.read_bytes())
        except DicomError as error:
            refused[path.stem] = type(error).__name__
        assert time.process_time() - start < 10 * slowness(), path.name
    assert refused == {
        "deflate_400m": "LimitExceeded",
        "nest_2000": "LimitExceeded",
        "nodicm": "NotDicom",
    }
    hostile_uids = {name for name, found in read.items() if not found["acceptable"]}
    assert hostile_uids == {name for name in read if name.startswith("uid_")}
    assert len(hostile_uids) == 6
    assert all(found["header"].defects for name, found in read.items() if name in hostile_uids)
    assert not read["truncated"]["first"]
    assert read["truncated"]["index"].defects
    assert read["frames_2e9"]["index"].frames == 2_000_000_000
    assert not read["frames_2e9"]["index"].present(2)
    assert read["rle_65535"]["first"]
    for name, found in read.items():
        if name.startswith("pre_"):
            assert found["meta"].preamble != bytes(128)
            assert part10.clean_meta(found["meta"])[:128] == bytes(128)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 << 10


@needs_kit
def test_the_bomb_is_refused_in_pieces_too(evil: Path) -> None:
    raw = (evil / "deflate_400m.dcm").read_bytes()
    meta, offset = part10.read_meta(raw)
    assert meta.syntax.deflated
    reader = InflatingReader()
    sizes: list[int] = []

    def inflate() -> None:
        for at in range(offset, len(raw), 8192):
            sizes.extend(map(len, reader.feed(raw[at : at + 8192])))

    with pytest.raises(DicomError):
        inflate()
    assert max(sizes) <= 256 * 1024
    assert sum(sizes) < 120 << 20


@needs_kit
def test_archives_are_not_dicom(evil: Path) -> None:
    for path in evil.glob("zip_*.zip"):
        with pytest.raises(DicomError):
            part10.read_meta(path.read_bytes())


ROUNDS = int(os.environ.get("LIGHTWELL_FUZZ_ROUNDS", "3"))


@needs_data
def test_damaged_real_headers_only_ever_raise_dicom_errors() -> None:
    seed = int(os.environ.get("LIGHTWELL_SEED", "20261123"))
    print("seed", seed)
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    dictionary.listed_vr(dictionary.PIXEL_DATA)  # loads the tables, once a process
    with INDEX.open(newline="") as file:
        names = [row["path"] for row in csv.DictReader(file)]
    for name in names:
        raw = (SHARED / "data" / name).read_bytes()[:40_000]
        for _ in range(ROUNDS):
            start = time.process_time()
            try:
                found = taken_in(_damaged(raw, chance))
                _exits(found["header"])
                outcomes["read"] += 1
            except DicomError as error:
                outcomes[type(error).__name__] += 1
            slowest = max(slowest, time.process_time() - start)
    print(dict(outcomes), f"slowest {slowest * 1e3:.0f} ms")
    assert outcomes["read"] > 500 * ROUNDS
    assert slowest < 10 * slowness()


def _damaged(raw: bytes, chance: random.Random) -> bytes:
    """A few flipped, set, inserted, removed or repeated bytes, mostly in the header."""
    data = bytearray(raw)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(0, min(len(data), 8000)) if data else 0
        kind = chance.randrange(6)
        if kind == 0 and data:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at : at + 4] = b"\xff\xff\xff\xff"
        elif kind == 2:
            del data[at : at + chance.randrange(1, 20)]
        elif kind == 3:
            data[at:at] = chance.randbytes(chance.randrange(1, 20))
        elif kind == 4:
            data[at:at] = data[at : at + chance.randrange(1, 300)]
        else:
            del data[chance.randrange(0, len(data) + 1) :]
    return bytes(data)


def _exits(header: Header) -> None:
    """The header through what sends it out: re-encoded, edited, as JSON and back."""
    raw = header.data
    rewrite.to_explicit_le(raw, header.syntax)
    edit = {tags.PatientName: {"vr": "PN", "Value": [{"Alphabetic": "山田"}]}}
    rewrite.apply_edits(raw, header.syntax, edit)
    json_model.json_to_dataset_bytes(json_model.header_to_json(header))
