"""Packs: ratio, and megabytes of raw pixels a second of processor time, to pack, write and prove.

    .venv/bin/python -m bench.packs [--slices 200] [--workers 2] [--small]

Over the series of the shared data (native ones as they are, compressed ones decoded first, without
their lossy flag) and a thorax phantom with 26 HU of noise. "a core" divides by the processor time of
this process and its children together; the pack is written to a file and synced. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import resource
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pydicom
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from bench.machine import cpu_seconds
from lightwell.app.memory import keep_memory
from lightwell.backends.codecs.frame_coder import PoolFrameCoder
from lightwell.backends.codecs.pool import DecoderPool
from lightwell.dicom.part10 import read_meta
from lightwell.domain.archive.internal.packing.metadata import MetadataAnswers, read_head
from lightwell.domain.archive.internal.packing.proving import prove
from lightwell.domain.archive.internal.packing.reading import data_set, native_frame
from lightwell.domain.archive.internal.packing.sources import Source
from lightwell.domain.archive.internal.packing.writing import Packed, SeriesFacts, pack_series
from lightwell.testing.phantoms import Case, ct_thorax

SHARED = Path(os.environ.get("LIGHTWELL_SHARED", "/work/shared")) / "data" / "series"
FACTS = SeriesFacts("1.2", "1.2.3", 1, datetime(2026, 1, 2, tzinfo=UTC))
EXPLICIT_LE = "1.2.840.10008.1.2.1"
LOSSY = tuple(f"LossyImageCompression{part}" for part in ("", "Ratio", "Method"))


@dataclass
class Clock:
    """Wall and processor time of a step, children included."""

    wall: float = 0.0
    cpu: float = 0.0

    def __enter__(self) -> Clock:
        self.wall, self.cpu = -time.perf_counter(), -cpu_seconds(os.getpid())
        return self

    def __exit__(self, *_trouble: object) -> None:
        self.wall += time.perf_counter()
        self.cpu = max(self.cpu + cpu_seconds(os.getpid()), 0.01)  # the kernel counts in ticks


def source_of(data: bytes, syntax: str, sop_class: str, uid: str) -> Source:
    """A landed object in memory."""
    digest = hashlib.sha256(data).digest()
    return Source(uid, sop_class, syntax, len(data), digest, lambda at, n: data[at : at + n])


def phantom(slices: int) -> list[Source]:
    """A thorax with 26 HU of noise."""
    made = ct_thorax(Case(seed=1), slices=slices)
    return [source_of(o.dataset, o.syntax, o.sop_class, o.sop_uid) for o in made]


def shared(folder: Path) -> list[Source]:
    """A series of the shared data in its native form, in order of instance number."""
    found = []
    for path in sorted(folder.glob("**/*.dcm")):
        raw = path.read_bytes()
        meta, start = read_meta(raw)
        syntax, data = meta.syntax.uid, raw[start:]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(path, force=True)
            if meta.syntax.encapsulated:
                try:
                    header.decompress()
                except RuntimeError:  # pydicom has no decoder for it here
                    continue
                for (
                    keyword
                ) in LOSSY:  # by policy such images stay as received: not what is measured
                    if keyword in header:
                        delattr(header, keyword)
                out = DicomBytesIO()
                out.is_little_endian, out.is_implicit_VR = True, False
                write_dataset(out, header)
                syntax, data = EXPLICIT_LE, out.getvalue()
        number = int(header.get("InstanceNumber") or 0)
        if "SOPInstanceUID" not in header or "SOPClassUID" not in header:
            continue  # a DICOMDIR
        uid, sop_class = str(header.SOPInstanceUID), str(header.SOPClassUID)
        found.append((number, source_of(data, syntax, sop_class, uid)))
    return [source for _number, source in sorted(found, key=lambda pair: pair[0])]


def measure(name: str, sources: list[Source], coder: PoolFrameCoder, folder: Path) -> None:
    """Pack, prove, read one frame, answer the metadata; one line."""
    path = folder / "pack.tar"
    with Clock() as packing, path.open("wb", buffering=0) as out:
        packed: Packed = pack_series(sources, coder, lambda chunk: _write(out, chunk), FACTS)
        os.fsync(out.fileno())
    with path.open("rb") as stored:

        def read(offset: int, length: int) -> bytes:
            return os.pread(stored.fileno(), length, offset)

        with Clock() as proving:
            failed = prove(read, packed.length, coder, packed.entries, packed.crc32c)
        with Clock() as unpacking:
            for entry in packed.entries:
                for _piece in data_set(read, entry, coder):
                    pass
        coded = [entry for entry in packed.entries if entry.coded]
        frame = (
            _seconds(lambda: native_frame(read, coded[len(coded) // 2], 1, coder)) if coded else 0
        )
    head = read_head(packed.metadata)

    def answer() -> None:
        answers = MetadataAnswers(head, lambda at, n: packed.metadata[at : at + n])
        for uid in head.uids:
            answers.answer(uid, "https://pacs/dicomweb/studies/1/instances/bulkdata", {})

    raw = packed.raw / 1e6
    both = packing.cpu + proving.cpu
    print(
        f"{name:34} {len(packed.entries):5} {len(coded):5} {raw:8.1f} {packed.length / packed.raw:6.3f}"
        f" {raw / packing.wall:7.0f} {raw / packing.cpu:7.0f} {raw / proving.wall:7.0f}"
        f" {raw / proving.cpu:7.0f} {raw / both:8.0f} {raw / unpacking.wall:7.0f}"
        f" {frame * 1e3:6.2f} {_seconds(answer) * 1e3:6.2f} {len(packed.preview) / 1e3:7.0f}"
        f" {len(packed.metadata) / 1e3:6.0f}{'' if not failed else ' NOT PROVED'}",
        flush=True,
    )


def _write(out: object, chunk: bytes | bytearray | memoryview) -> None:
    view = memoryview(chunk)
    while view:
        view = view[out.write(view) :]  # type: ignore[attr-defined]


def _seconds(run: object) -> float:
    """The middle of five runs."""
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        run()  # type: ignore[operator]
        taken.append(time.perf_counter() - start)
    return sorted(taken)[2]


def series(slices: int, *, small: bool) -> Iterator[tuple[str, list[Source]]]:
    """What is measured."""
    yield f"thorax phantom, {slices} slices, 26 HU", phantom(slices)
    for folder in sorted(SHARED.iterdir()) if SHARED.is_dir() and not small else ():
        if sources := shared(folder):
            yield folder.name[:34], sources


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="the phantom alone")
    options = parser.parse_args()
    keep_memory()  # as the `work` process does
    print(
        f"{'':34} {'objs':>5} {'coded':>5} {'raw MB':>8} {'ratio':>6}"
        f" {'pack/s':>7} {'a core':>7} {'prove/s':>7} {'a core':>7} {'both/core':>8} {'unpack':>7}"
        f" {'frame':>6} {'meta':>6} {'preview':>7} {'blob'}  (MB/s, ms, kB)"
    )
    with tempfile.TemporaryDirectory() as folder:
        async with DecoderPool(workers=options.workers) as pool:
            coder = PoolFrameCoder(pool)
            for name, sources in series(options.slices, small=options.small):
                await asyncio.to_thread(measure, name, sources, coder, Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak memory of this process {peak} MB (the sources are in it)")


if __name__ == "__main__":
    asyncio.run(main())
