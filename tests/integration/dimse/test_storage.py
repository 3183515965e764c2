"""C-STORE over the wire: what is kept, what is answered, and that 0000 is never a lie."""

from __future__ import annotations

import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightwell.access.policy import Denial
from lightwell.backends.blobs.memory import FailNth, MemoryStore
from lightwell.domain.archive.ports import StoreBroken, StoreFull, StoreUnavailable
from lightwell.domain.peers.model import PeerType
from lightwell.testing import encoding as enc
from lightwell.testing.builders import BuiltInstance, a_study
from lightwell.testing.channel import ChannelError
from lightwell.testing.dimse_house import (
    HOSPITAL,
    LOOPBACK,
    DimseHouse,
    MakeHouse,
    fetch,
    keys,
    store,
)
from lightwell.testing.scu import STUDY_ROOT_FIND, VERIFICATION, Scu
from lightwell.wire.dimse.commands import c_store_rq
from lightwell.wire.dimse.proposal import number, propose
from lightwell.wire.dimse.status import (
    CANNOT_UNDERSTAND,
    CONFLICT_WITH_STORED_INSTANCE,
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
    INVALID_OBJECT_INSTANCE,
    NOT_AUTHORIZED,
    OUT_OF_RESOURCES,
    PROCESSING_FAILURE,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
)
from lightwell.wire.dimse.syntaxes import (
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
BIG = 200  # rows and columns: 80 kB, too much to lie in a row


def _totals(house: DimseHouse) -> tuple[int, int, int]:
    totals = house.run(house.rooming.archive.totals(house.context))
    return totals.instances, totals.conflicts, totals.quarantined


def _scu(house: DimseHouse, *objects: BuiltInstance, calling: str = "LW_SENDER") -> Scu:
    (contexts,) = propose(((one.sop_class, one.syntax) for one in objects), fallback=False)
    return Scu(LOOPBACK, house.port, contexts, calling_ae=calling, timeout=30.0)


def _put(scu: Scu, one: BuiltInstance, data: bytes | None = None) -> int:
    chunks = (one.dataset if data is None else data,)
    return scu.store(one.sop_class, one.sop_uid, one.syntax, chunks).status


def test_every_native_syntax_is_kept_as_it_came(house: DimseHouse) -> None:
    objects = [
        a_study(seed=seed, patient=f"P{seed}")
        .with_series("CT", rows=size, columns=size)
        .in_syntax(syntax)
        .only()
        for seed, (syntax, size) in enumerate(
            (syntax, size)
            for syntax in (EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE)
            for size in (8, BIG)
        )
    ]
    for one in objects:
        assert store(house, [one], "CT1") == [SUCCESS]
        got = fetch(
            house,
            [(one.sop_class, one.syntax)],
            keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=one.study_uid),
        )
        assert got.objects == {one.sop_uid: (one.syntax, one.dataset)}
    assert _totals(house) == (8, 0, 0)


def test_private_and_unknown_classes_are_kept(house: DimseHouse) -> None:
    for sop_class in ("1.2.840.113619.4.30", "1.2.840.10008.5.1.4.1.1.9999.1"):
        one = (
            a_study(seed=hash(sop_class) % 1000)
            .with_series("CT")
            .with_attributes(SOPClassUID=sop_class)
            .only()
        )
        assert one.sop_class == sop_class
        assert store(house, [one]) == [SUCCESS]


def test_sending_again_changes_nothing(house: DimseHouse) -> None:
    study = a_study().with_series("CT", instances=3, rows=BIG, columns=BIG).objects()
    assert store(house, study) == [SUCCESS] * 3
    assert store(house, study) == [SUCCESS] * 3
    assert _totals(house) == (3, 0, 0)


def test_d18_the_same_instance_from_eight_associations_at_once(house: DimseHouse) -> None:
    one = a_study().with_series("CT", rows=BIG, columns=BIG).only()
    barrier = threading.Barrier(8)
    statuses: list[int] = []

    def send() -> None:
        with _scu(house, one) as scu:
            barrier.wait(20)
            for _ in range(50):
                statuses.append(_put(scu, one))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert statuses == [SUCCESS] * 400
    assert _totals(house) == (1, 0, 0)


def test_d19_the_same_uid_with_other_pixels_never_replaces_the_first(house: DimseHouse) -> None:
    study = a_study().with_series("CT", rows=BIG, columns=BIG)
    first, second = study.only(), study.other_pixels().only()
    assert (first.sop_uid, first.dataset) != (second.sop_uid, second.dataset)
    assert store(house, [first]) == [SUCCESS]
    assert store(house, [second]) == [CONFLICT_WITH_STORED_INSTANCE]
    assert store(house, [second]) == [CONFLICT_WITH_STORED_INSTANCE]
    assert _totals(house) == (1, 1, 0)
    got = fetch(
        house,
        [(first.sop_class, first.syntax)],
        keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=first.study_uid),
    )
    assert got.objects[first.sop_uid][1] == first.dataset


def test_a_changed_header_is_acknowledged_and_waits_for_a_person(house: DimseHouse) -> None:
    study = a_study().with_series("CT", rows=BIG, columns=BIG)
    first, second = study.only(), study.with_attributes(StudyDescription="other").only()
    assert store(house, [first]) == [SUCCESS]
    assert store(house, [second]) == [SUCCESS]
    got = fetch(
        house,
        [(first.sop_class, first.syntax)],
        keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=first.study_uid),
    )
    assert got.objects[first.sop_uid][1] == first.dataset


# ---- refusals: each with its status, and the association goes on ----------------------------------


def test_a_data_set_that_is_not_what_the_command_says(house: DimseHouse) -> None:
    one, other = a_study().with_series("CT", instances=2).objects()
    with _scu(house, one) as scu:
        assert _put(scu, one, other.dataset) == DATA_SET_DOES_NOT_MATCH_SOP_CLASS
        assert _put(scu, one) == SUCCESS


@pytest.mark.parametrize(
    ("abstract_syntax", "announced", "status"),
    [
        ("1.2.840.10008.5.1.4.1.1.4", CT, DATA_SET_DOES_NOT_MATCH_SOP_CLASS),
        (VERIFICATION, VERIFICATION, SOP_CLASS_NOT_SUPPORTED),
        (STUDY_ROOT_FIND, CT, SOP_CLASS_NOT_SUPPORTED),
    ],
)
def test_the_wrong_context(
    house: DimseHouse, abstract_syntax: str, announced: str, status: int
) -> None:
    one = a_study().with_series("CT").only()
    with Scu(LOOPBACK, house.port, number([(abstract_syntax, (EXPLICIT_LE,))])) as scu:
        context = next(iter(scu.contexts.values()))
        scu._channel.send(context, c_store_rq(9, announced, one.sop_uid), (one.dataset,))
        assert scu.next_message().command.status == status
    assert _totals(house) == (0, 0, 0)


def test_bytes_that_are_no_data_set_are_quarantined(house: DimseHouse) -> None:
    one = a_study().with_series("CT").only()
    with _scu(house, one) as scu:
        assert _put(scu, one, b"\xde\xad" * 500) == CANNOT_UNDERSTAND
        assert _put(scu, one, b"") == CANNOT_UNDERSTAND
        assert _put(scu, one) == SUCCESS
    assert _totals(house)[0] == 1


@pytest.mark.parametrize(
    "uid",
    [
        *("../../../../pwn", "/pwn", "1.2.3\0.4", "1.2'; DROP TABLE x;--"),
        *("1." + "9" * 200, "1.2\r\nX: y", "1..2", ".", "é"),
    ],
)
def test_d12_hostile_uids(house: DimseHouse, tmp_path: Path, uid: str) -> None:
    good = a_study().with_series("CT", rows=BIG, columns=BIG).only()
    evil = enc.encode(
        enc.elements(
            {
                "SOPClassUID": CT,
                0x00080018: ("LO", uid),
                "StudyInstanceUID": "1.2.3",
                "SeriesInstanceUID": "1.2.3.4",
                "PatientID": "EVIL",
                "SpecificCharacterSet": "ISO_IR 192",
            }
        ),
        enc.Form(),
    ).replace(b"\x08\x00\x18\x00LO", b"\x08\x00\x18\x00UI")
    with _scu(house, good) as scu:
        status = scu.store(CT, uid, EXPLICIT_LE, (evil,)).status
        assert status == INVALID_OBJECT_INSTANCE
        # The same hidden in the data set, under a command that looks well.
        hidden = scu.store(CT, "1.2.3.4.5", EXPLICIT_LE, (evil,)).status
        assert hidden in (CANNOT_UNDERSTAND, DATA_SET_DOES_NOT_MATCH_SOP_CLASS)
        assert _put(scu, good) == SUCCESS
    assert _totals(house)[0] == 1
    assert not [path for path in tmp_path.rglob("*") if "pwn" in path.name]
    assert not Path("/pwn").exists()


def test_a_peer_without_the_grant_is_told_and_keeps_its_association(house: DimseHouse) -> None:
    house.add_peer("READER", allow=frozenset({"find", "get"}))
    one = a_study().with_series("CT", rows=BIG, columns=BIG).only()
    with _scu(house, one, calling="READER") as scu:
        assert _put(scu, one) == NOT_AUTHORIZED
        assert _put(scu, one) == NOT_AUTHORIZED
    assert house.audit()[-1].outcome == "refused"
    assert _totals(house)[0] == 0


def test_a_denial_reaches_an_association_under_way(house: DimseHouse) -> None:
    first, second = a_study().with_series("CT", instances=2).objects()
    directory = house.rooming.directory
    assert directory is not None
    with _scu(house, first) as scu:
        assert _put(scu, first) == SUCCESS
        directory.denial_list.append(Denial("peer:LW_SENDER", "archive:instance:*", "suspended"))
        assert _put(scu, second) == NOT_AUTHORIZED
        directory.denial_list.clear()
        assert _put(scu, second) == SUCCESS


def test_a_full_store_says_so_and_recovers_by_itself(make_house: MakeHouse) -> None:
    blobs = MemoryStore(capacity=200_000)
    house = make_house(blobs=blobs)
    study = a_study().with_series("CT", instances=4, rows=BIG, columns=BIG).objects()
    with _scu(house, study[0]) as scu:
        statuses = [_put(scu, one) for one in study]
        assert statuses == [SUCCESS, SUCCESS, OUT_OF_RESOURCES, OUT_OF_RESOURCES]
        blobs.capacity = None
        assert [_put(scu, one) for one in study] == [SUCCESS] * 4
    assert _totals(house) == (4, 0, 0)


def test_a_reached_quota_says_so_keeps_nothing_and_knows_what_is_there(house: DimseHouse) -> None:
    study = a_study().with_series("CT", instances=3, rows=BIG, columns=BIG).objects()
    other = a_study("P2").with_series("CT").only()
    directory = house.rooming.directory
    assert directory is not None
    with _scu(house, study[0]) as scu:
        assert _put(scu, study[0]) == SUCCESS
        kept = _bytes(house)
        house.rooming.archive._keeper._allowances._known.clear()  # a second later
        house.run(directory.limit(HOSPITAL, None, kept))
        assert [_put(scu, one) for one in study] == [SUCCESS, OUT_OF_RESOURCES, OUT_OF_RESOURCES]
        assert _put(scu, other) == OUT_OF_RESOURCES
        assert scu.store(CT, "1.2.3.4.5", EXPLICIT_LE, (b"\xff" * 500,)).status == OUT_OF_RESOURCES
        house.run(directory.limit(HOSPITAL, 1, None))
        assert _put(scu, study[1]) == SUCCESS  # of a study that is there
        assert _put(scu, other) == OUT_OF_RESOURCES
        house.run(directory.limit(HOSPITAL, None, None))
        assert _put(scu, other) == SUCCESS
    assert _totals(house) == (3, 0, 0)


def _bytes(house: DimseHouse) -> int:
    return house.run(house.rooming.archive.totals(house.context)).bytes


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StoreFull("full"), OUT_OF_RESOURCES),
        (StoreUnavailable("away"), OUT_OF_RESOURCES),
        (StoreBroken("broken"), PROCESSING_FAILURE),
    ],
)
def test_no_fault_of_the_store_ends_in_success(
    make_house: MakeHouse, error: Exception, status: int
) -> None:
    one = a_study().with_series("CT", rows=BIG, columns=BIG).only()
    for step in range(1, 40):
        fault = FailNth(step, error, "begin", "write", "patch", "seal", "confirm", "read")
        house = make_house(blobs=MemoryStore(hook=fault))
        with _scu(house, one) as scu:
            stored = False
            for _ in range(3):
                fired_before = fault.fired
                answer = _put(scu, one)
                hit = fault.fired and not fired_before
                if hit and not stored:
                    assert answer in (status, OUT_OF_RESOURCES)
                elif not hit:
                    assert answer == SUCCESS
                # A repeat may be acknowledged although its own copy failed: the first is whole.
                stored = stored or answer == SUCCESS
            assert stored
        if not fault.fired:
            break
    else:
        pytest.fail("the faults never ended")
    assert step > 3


# ---- peers that break off, and bombs ----------------------------------------------------------------


def test_d20_a_break_within_a_data_set_leaves_nothing(house: DimseHouse, tmp_path: Path) -> None:
    one = a_study().with_series("CT", rows=400, columns=400).only()

    def broken() -> Iterator[bytes]:
        yield one.dataset[:150_000]
        raise ChannelError("gone")

    for _ in range(3):
        with pytest.raises(ChannelError), _scu(house, one) as scu:
            scu.store(one.sop_class, one.sop_uid, one.syntax, broken())
    deadline = time.monotonic() + 10
    while house.server.tally.active:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert _totals(house) == (0, 0, 0)
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []
    assert store(house, [one]) == [SUCCESS]


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_d22_bombs_fail_soon_while_others_store(house: DimseHouse) -> None:
    one = a_study().with_series("CT").only()
    nested = (
        b"\x40\0\x30\xa7SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" * 2000
        + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0" * 2000
    )
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    inflating = packer.compress(b"\x08\0\x16\0UI\x1a\0" + CT.encode() + b"\0")
    inflating += packer.compress(struct.pack("<HH2sHL", 0x0041, 0x10, b"OB", 0, 400 << 20))
    inflating += b"".join(packer.compress(bytes(1 << 20)) for _ in range(400)) + packer.flush()
    cut = one.dataset[: len(one.dataset) // 3]
    others = a_study(seed=5, patient="P5").with_series("CT", instances=20, rows=BIG, columns=BIG)
    statuses: list[int] = []
    bystander = threading.Thread(
        target=lambda: statuses.extend(store(house, others.objects(), "CT1"))
    )
    before = _resident()
    bystander.start()
    for data, syntax in ((nested, EXPLICIT_LE), (inflating, DEFLATED_LE), (cut, EXPLICIT_LE)):
        with Scu(LOOPBACK, house.port, number([(CT, (syntax,))]), timeout=20.0) as scu:
            assert scu.store(CT, "1.2.3.4", syntax, (data,)).status != SUCCESS
    bystander.join(60)
    assert statuses == [SUCCESS] * 20
    assert _resident() - before < 100 << 20
    assert house.server.tally.broken == 0


def test_the_sender_and_what_it_called_are_recorded(house: DimseHouse) -> None:
    one = a_study().with_series("CT", rows=BIG, columns=BIG).only()
    house.add_peer("CT7", PeerType.MODALITY, issuer="SITE7")
    assert store(house, [one], "CT7") == [SUCCESS]
    assert house.rooming.database is not None
    (record,) = house.rooming.database.of(1).instances.values()
    assert record.source == "CT7"
