"""What an acknowledgement is worth at once: found by every reader (B08), kept once (D18)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

READERS = 8  # fresh connections: more than there are workers


def test_what_was_acknowledged_is_found_by_every_reader_at_once(
    ward: Any, new_objects: Callable[..., Any]
) -> None:
    """B08: also in a study that somebody was reading while it grew."""
    made = new_objects(5000, 1, 8)
    study_uid = made[0].study_uid
    for count in range(2, len(made) + 1, 2):
        arrived = made[count - 2 : count]
        assert len(ward.send(arrived, associations=1).stored) == 2
        wanted = {built.sop_uid: built.sha256 for built in made[:count]}
        for _ in range(READERS):
            assert ward.served(study_uid) == wanted, f"after {count} acknowledgements"


def test_the_same_objects_from_eight_senders_are_kept_once(
    ward: Any, new_objects: Callable[..., Any]
) -> None:
    """D18: eight associations send the same things at the same time; each is told 0000."""
    made = new_objects(5100, 3, 2)
    report = ward.send(made * 8, associations=8)
    statuses = Counter(answer.status for answer in report.acknowledged)
    assert statuses == {0: len(made) * 8}, (statuses, report.failed[:3])
    ward.judge()
    kept = ward.kept()
    assert all(kept[built.sop_uid] == built.sha256 for built in made)
