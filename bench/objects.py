"""What is sent: CT slices with >= 20 HU of noise (a smooth phantom does not count), small objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from lightwell.testing.builders import BuiltInstance, StudyBuilder, a_study
from lightwell.testing.phantoms import Case, ct_thorax

CT_SIDE = 512


def ct_slices(folder: Path, count: int, seed: int) -> list[Path]:
    """`count` slices of about 528 kB in one series, with the header of a real scanner (> 100 elements)."""
    case = Case(seed=seed, patient_id=f"BENCH-{seed}", accession=f"B{seed}")
    return written(folder, ct_thorax(case, slices=count, matrix=CT_SIDE))


def small_objects(folder: Path, count: int, seed: int) -> list[Path]:
    """Objects of 1 to 39 kB, each of a study and patient of its own."""
    sides = (8, 24, 48, 72, 96, 128, 136)
    paths: list[Path] = []
    for number in range(count):
        side = sides[number % len(sides)]
        study = a_study(seed=seed * 1_000_003 + number, patient=f"SMALL{seed}-{number}")
        paths += _write(folder, study.with_series("CT", instances=1, rows=side, columns=side))
    return paths


def one_large_study(count: int) -> Iterator[BuiltInstance]:
    """A series of so many small slices, made one by one."""
    return a_study(seed=4242).with_series("CT", instances=count, rows=64, columns=64).each()


def _write(folder: Path, study: StudyBuilder) -> list[Path]:
    return written(folder, study.each())


def written(folder: Path, objects: Iterable[BuiltInstance]) -> list[Path]:
    """The objects as files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for built in objects:
        path = folder / f"{built.sop_uid}.dcm"
        path.write_bytes(built.part10)
        paths.append(path)
    return paths


BOUNDARY = "lightwell-bench"


def stow_body(paths: list[Path], target: Path) -> Path:
    """A multipart/related body of Part 10 files."""
    with target.open("wb") as out:
        for path in paths:
            out.write(f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode())
            out.write(path.read_bytes())
            out.write(b"\r\n")
        out.write(f"--{BOUNDARY}--\r\n".encode())
    return target
