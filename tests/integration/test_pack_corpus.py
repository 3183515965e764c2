"""Every well-formed object of the shared data, packed in one run with real child processes and rebuilt."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections import Counter
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames

from lightwell.backends.codecs.frame_coder import PoolFrameCoder
from lightwell.backends.codecs.pool import DecoderPool
from lightwell.dicom.part10 import write_meta
from lightwell.domain.archive.internal.packing.index import Entry
from lightwell.domain.archive.internal.packing.native import native_of
from lightwell.domain.archive.internal.packing.proving import prove
from lightwell.domain.archive.internal.packing.reading import data_set, frame_records
from lightwell.domain.archive.internal.packing.sources import Source
from lightwell.domain.archive.internal.packing.writing import Packed, SeriesFacts, pack_series
from lightwell.testing.corpus import CorpusObject, read_corpus

_SHARED = Path(__file__).resolve().parents[3] / "shared"
SHARED = Path(os.environ.get("LIGHTWELL_SHARED", _SHARED)) / "data"
FACTS = SeriesFacts("1.2", "1.2.3", 1, datetime(2026, 1, 2, tzinfo=UTC))
#: What may be there; each is a row of the recipe table or of the list of syntaxes.
CODED_AT_LEAST = 300
KEPT_AT_LEAST = 100


def _source(made: CorpusObject) -> Source:
    file = made.file

    def read(offset: int, length: int) -> bytes:
        with file.path.open("rb") as stream:
            stream.seek(file.offset + offset)
            return stream.read(length)

    sha256 = bytes.fromhex(made.sha256)
    return Source(made.uid, file.sop_class, file.transfer_syntax, file.length, sha256, read)


@pytest.mark.skipif(not (SHARED / "INDEX.csv").exists(), reason="the shared data are not here")
async def test_every_object_of_the_shared_data_comes_back(tmp_path: Path) -> None:
    corpus = read_corpus(SHARED)
    path = tmp_path / "corpus.tar"
    async with DecoderPool(workers=2) as pool:
        coder = PoolFrameCoder(pool)
        packed = await asyncio.to_thread(_check, corpus.objects, path, coder)
    counted = Counter("coded" if e.coded else str(e.reason) for e in packed.entries)
    print(
        f"\n{len(packed.entries)} objects, {packed.raw} bytes -> {packed.length}: {dict(counted)}"
    )
    print(f"left out: {Counter(corpus.left_out.values()).most_common(5)}")
    assert counted["coded"] >= CODED_AT_LEAST
    assert not counted["proof-failed"]
    assert not counted["codec-failed"]
    assert not counted["unreadable"]
    listed = subprocess.run(["tar", "tf", path], capture_output=True, text=True, check=True)
    assert listed.stderr == ""
    assert sum(name.endswith(".dcm") for name in listed.stdout.split()) == len(corpus.objects)
    _others_read(path, packed, tmp_path)


#: The last part of a lossless syntax of `native.LOSSLESS` that the shared data have.
LOSSLESS = ("99", "57", "70", "80", "90", "201", "5")


@pytest.mark.skipif(not (SHARED / "INDEX.csv").exists(), reason="the shared data are not here")
async def test_every_lossless_original_has_a_native_form_that_comes_back(tmp_path: Path) -> None:
    """As a pixel-exact tenant's series is packed. One image that others have compressed in many ways has
    one native form."""
    objects = [
        one
        for one in read_corpus(SHARED).objects
        if one.file.transfer_syntax != "1.2.840.10008.1.2.1"
    ]
    path = tmp_path / "exact.tar"
    async with DecoderPool(workers=2) as pool:
        coder = PoolFrameCoder(pool)
        sources = await asyncio.to_thread(_natives, objects, coder)
        packed = await asyncio.to_thread(_proved, sources, path, coder)
    whole = np.memmap(path, np.uint8, "r")
    pictures: dict[str, set[bytes]] = {}
    kept = Counter[str]()
    for one, source, entry in zip(objects, sources, packed.entries, strict=True):
        assert entry.sha256.hex() == one.sha256
        assert entry.received_syntax == one.file.transfer_syntax
        last = one.file.transfer_syntax.rsplit(".", 1)[1]
        if entry.kept is None:
            continue
        kept[last] += 1
        assert last in LOSSLESS
        assert entry.kept.sha256 == source.sha256
        if "ct-one-image-16-encodings" in one.name:
            native = pydicom.dcmread(BytesIO(_part10(whole, entry, source)))
            pictures.setdefault("one image", set()).add(native.PixelData)
    print(f"\n{len(objects)} objects, {packed.raw} -> {packed.length} bytes; kept: {dict(kept)}")
    assert sum(kept.values()) >= KEPT_AT_LEAST
    assert {len(each) for each in pictures.values()} <= {1}


def _part10(whole: np.ndarray, entry: Entry, source: Source) -> bytes:
    """The native form as a file, after all that was said of it in the pack has been compared."""
    assert entry.offset + entry.length <= len(whole)
    meta = write_meta(entry.sop_class, entry.sop_uid, entry.given_syntax)
    return meta + source.read(0, source.size)


def _natives(objects: list[CorpusObject], coder: PoolFrameCoder) -> list[Source]:
    return [native_of(_source(one), coder) for one in objects]


def _proved(sources: list[Source], path: Path, coder: PoolFrameCoder) -> Packed:
    with path.open("wb") as out:
        packed = pack_series(sources, coder, out.write, FACTS)
    with path.open("rb") as stored:

        def read(offset: int, length: int) -> bytes:
            return os.pread(stored.fileno(), length, offset)

        assert prove(read, packed.length, coder, packed.entries, packed.crc32c) == []
    return packed


def _check(objects: tuple[CorpusObject, ...], path: Path, coder: PoolFrameCoder) -> Packed:
    with path.open("wb") as out:
        packed = pack_series(map(_source, objects), coder, out.write, FACTS)
    assert path.stat().st_size == packed.length
    with path.open("rb") as stored:

        def read(offset: int, length: int) -> bytes:
            return os.pread(stored.fileno(), length, offset)

        assert prove(read, packed.length, coder, packed.entries, packed.crc32c) == []
        for made, entry in zip(objects, packed.entries, strict=True):
            assert made.sha256 == entry.sha256.hex()
            assert b"".join(map(bytes, data_set(read, entry, coder))) == made.file.data_set()
    return packed


def _others_read(path: Path, packed: Packed, folder: Path) -> None:
    """dcmtk dumps and pydicom reads one entry in five of those coded; pixels are those of the original."""
    dcmdump = shutil.which("dcmdump")
    whole = np.memmap(path, np.uint8, "r")
    for entry in [e for e in packed.entries if e.coded][::5]:
        single = folder / "entry.dcm"
        single.write_bytes(whole[entry.offset : entry.offset + entry.length].tobytes())
        if dcmdump:
            dumped = subprocess.run([dcmdump, "-q", single], capture_output=True, check=False)
            assert dumped.returncode == 0, entry.sop_uid
        read = pydicom.dcmread(single)
        frames = list(generate_frames(read.PixelData, number_of_frames=entry.records.count))
        assert len(frames) == entry.records.count
        records = frame_records(
            lambda at, n: whole[at : at + n].tobytes(), entry, 1, entry.records.count
        )
        for frame, record in zip(frames, records, strict=True):
            stream = whole[record.offset : record.offset + record.length].tobytes()
            assert frame.rstrip(b"\0") == stream.rstrip(b"\0")
