"""What is counted for the door and for each machine, and how much of it is kept."""

from __future__ import annotations

from lightwell.gateways.dimse.counters import MACHINES, REFUSALS, Counters


def test_a_machine_counts_for_the_door_and_for_itself() -> None:
    door = Counters()
    ours = door.of("LIGHTWELL", "CT1")
    ours.add(associations=1)
    ours.add(stored=2, bytes_received=10, released=1)
    door.of("LIGHTWELL", "CT2").add(stored=1)
    assert (door.tally.stored, door.tally.associations, door.tally.released) == (3, 1, 1)
    first, second = door.seen()["machines"]
    assert (first["called"], first["calling"]) == ("LIGHTWELL", "CT1")
    assert (first["stored"], first["bytes_received"], first["associations"]) == (2, 10, 1)
    assert "released" not in first
    assert second["stored"] == 1
    assert first["heard"] > 0


def test_the_same_machine_in_two_associations_is_one() -> None:
    door = Counters()
    for _ in range(2):
        door.of("LIGHTWELL", "CT1").add(associations=1)
    (machine,) = door.seen()["machines"]
    assert machine["associations"] == 2


def test_refusals_alike_are_one_line_and_the_latest_stays() -> None:
    door = Counters()
    door.refuse("LIGHTWELL", "OLD", "192.0.2.1", "why")
    for number in range(REFUSALS - 1):
        door.refuse("LIGHTWELL", f"N{number}", "192.0.2.1", "why")
    door.refuse("LIGHTWELL", "OLD", "192.0.2.1", "why")
    door.refuse("LIGHTWELL", "NEW", "192.0.2.1", "why")
    refusals = door.seen()["refusals"]
    assert len(refusals) == REFUSALS
    assert (refusals[-2]["calling"], refusals[-2]["times"]) == ("OLD", 2)
    assert refusals[-1]["calling"] == "NEW"
    assert "N0" not in {refusal["calling"] for refusal in refusals}
    assert door.tally.rejected == REFUSALS + 2


def test_as_many_machines_as_are_kept() -> None:
    door = Counters()
    for number in range(MACHINES + 5):
        door.of("LIGHTWELL", f"M{number}").add(echoes=1)
    machines = door.seen()["machines"]
    assert len(machines) == MACHINES
    assert machines[-1]["calling"] == f"M{MACHINES + 4}"
    assert door.tally.echoes == MACHINES + 5
