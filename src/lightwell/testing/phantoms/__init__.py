"""Synthetic patients: pictures with plausible anatomy and the headers real devices write.

Every generator yields one `BuiltInstance` after the other, so that a study never lies in memory as
a whole, and depends on nothing but its `Case` and its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lightwell.testing.builders import BuiltInstance
from lightwell.testing.phantoms.cases import Case
from lightwell.testing.phantoms.ct import ct_head, ct_thorax
from lightwell.testing.phantoms.mr import mr_brain
from lightwell.testing.phantoms.projection import cr_chest, mg_views
from lightwell.testing.phantoms.us import us_cine

__all__ = [
    "Case",
    "cr_chest",
    "ct_head",
    "ct_thorax",
    "demo_studies",
    "mg_views",
    "mr_brain",
    "us_cine",
]

Phantom = Callable[[Case], Iterator[BuiltInstance]]

#: Label, phantom, patient id, name, birth date, sex, age, date and time of the exam.
_DEMO: tuple[tuple[str, Phantom, str, str, str, str, str, str, str], ...] = (
    ("CT thorax", ct_thorax, "1001", "Demo^Amelia", "19610412", "F", "064Y", "20250610", "093000"),
    ("CT head", ct_head, "1002", "Demo^Bruno", "19540830", "M", "070Y", "20250610", "101200"),
    ("MR brain", mr_brain, "1003", "Demo^Chiara", "19790115", "F", "046Y", "20250611", "081500"),
    ("CR chest", cr_chest, "1001", "Demo^Amelia", "19610412", "F", "064Y", "20250602", "140500"),
    ("MG screening", mg_views, "1004", "Demo^Dana", "19680922", "F", "056Y", "20250612", "110000"),
    ("US heart", us_cine, "1005", "Demo^Elias", "19490303", "M", "076Y", "20250612", "153000"),
)


def demo_studies(seed: int = 0) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The studies of `lightwell demo`: a label and the Part 10 files of each, made on demand.

    Five invented patients (one of them with a prior), issuer LIGHTWELL-DEMO, DEMO on every image.
    """
    for number, (label, phantom, patient, name, born, sex, age, date, time) in enumerate(_DEMO):
        case = Case(
            seed=seed,
            patient_id=f"DEMO-{patient}",
            name=name,
            birth_date=born,
            sex=sex,
            age=age,
            accession=f"D25{number + 1:05d}",
            date=date,
            time=time,
            demo=True,
        )
        yield label, _files(phantom(case))


def _files(instances: Iterator[BuiltInstance]) -> Iterator[bytes]:
    for instance in instances:
        yield instance.part10
