"""C-GET and C-MOVE of settled series: what arrived, in order, made ready ahead; HTJ2K to nobody."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lightwell.domain.archive.model import Level, Located, Target
from lightwell.domain.peers.model import PeerType
from lightwell.gateways.dimse.ahead import BATCH, LARGEST, Ahead
from lightwell.testing.builders import BuiltInstance, Shape, a_study
from lightwell.testing.dimse_house import LOOPBACK, DimseHouse, fetch, keys, store
from lightwell.testing.scp import ScriptedScp
from lightwell.testing.scu import STUDY_ROOT_MOVE, Scu
from lightwell.wire.dimse.proposal import propose_service
from lightwell.wire.dimse.status import SUCCESS
from lightwell.wire.dimse.syntaxes import EXPLICIT_LE, IMPLICIT_LE

HTJ2K = "1.2.840.10008.1.2.4.202"


def settled(house: DimseHouse, count: int = 7, **more: Any) -> list[BuiltInstance]:
    study = a_study(**more).with_series("CT", instances=count, rows=100, columns=100).objects()
    assert store(house, study, "CT1") == [SUCCESS] * count
    settling = house.rooming.settling
    assert settling is not None
    done = house.run(settling.settle(house.context, study[0].study_uid, study[0].series_uid))
    assert done.coded == count
    house.rooming.archive.forget(house.context, study[0].study_uid)
    return study


def whole(one: BuiltInstance) -> Any:
    return keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=one.study_uid)


def moved(house: DimseHouse, study: list[BuiltInstance], **more: Any) -> ScriptedScp:
    with ScriptedScp() as scp:
        house.add_peer("DEST", PeerType.ARCHIVE, port=scp.port, allow=frozenset({"store"}), **more)
        with Scu(
            LOOPBACK,
            house.port,
            propose_service(STUDY_ROOT_MOVE),
            calling_ae="LW_SENDER",
            timeout=30.0,
        ) as scu:
            (final,) = list(scu.move(STUDY_ROOT_MOVE, "DEST", whole(study[0])))
    assert final.command.status == SUCCESS
    return scp


def test_move_gives_what_arrived_in_order(house: DimseHouse) -> None:
    study = settled(house)
    scp = moved(house, study)
    assert [message.data for message in scp.received] == [one.dataset for one in study]
    assert {message.context.transfer_syntax for message in scp.received} == {EXPLICIT_LE}


@pytest.mark.parametrize("syntaxes", [(), (EXPLICIT_LE,), (IMPLICIT_LE,), (HTJ2K,)])
def test_htj2k_that_is_ours_is_offered_to_nobody(
    house: DimseHouse, syntaxes: tuple[str, ...]
) -> None:
    study = settled(house, 2)
    scp = moved(house, study, syntaxes=syntaxes)
    (request,) = scp.requests
    offered = set(
        itertools.chain.from_iterable(context.transfer_syntaxes for context in request.contexts)
    )
    assert HTJ2K not in offered
    assert [message.data for message in scp.received] == [one.dataset for one in study]


def test_get_offering_htj2k_gets_what_arrived(house: DimseHouse) -> None:
    study = settled(house)
    offers = [(study[0].sop_class, HTJ2K), (study[0].sop_class, EXPLICIT_LE)]
    got = fetch(house, offers, whole(study[0])).objects
    assert got == {one.sop_uid: (EXPLICIT_LE, one.dataset) for one in study}


def test_get_of_who_takes_htj2k_only_fails(house: DimseHouse) -> None:
    study = settled(house, 2)
    assert fetch(house, [(study[0].sop_class, HTJ2K)], whole(study[0])).objects == {}


def test_corrections_are_in_what_was_made_ready(house: DimseHouse) -> None:
    study = settled(house)
    edits = {"00081030": {"vr": "LO", "Value": ["Corrected"]}}
    target = Target(Level.STUDY, study_uid=study[0].study_uid)
    house.run(house.rooming.archive.correct(house.context, target, edits, "wrong"))
    house.rooming.archive.forget(house.context, study[0].study_uid)
    got = fetch(house, [(study[0].sop_class, EXPLICIT_LE)], whole(study[0])).objects
    assert len(got) == len(study)
    for one in study:
        data = got[one.sop_uid][1]
        assert b"Corrected" in data
        assert data.endswith(one.dataset[-100 * 100 * 2 :])


def test_a_damaged_one_fails_alone(house: DimseHouse) -> None:
    study = settled(house)
    archive = house.rooming.archive
    lease = house.run(archive.locate(house.context, study[0].study_uid))
    place = lease.instances[study[3].sop_uid].landed
    blobs = archive._blobs
    data = bytearray(blobs.read(place.key))
    data[place.offset + place.length - 40] ^= 1
    blobs.delete(place.key)
    blobs.put(place.key, bytes(data))
    result = fetch(house, [(study[0].sop_class, EXPLICIT_LE)], whole(study[0]))
    assert set(result.objects) == {one.sop_uid for one in study} - {study[3].sop_uid}
    assert result.final.NumberOfFailedSuboperations == 1


def places(house: DimseHouse, study: list[BuiltInstance]) -> list[Located]:
    lease = house.run(house.rooming.archive.locate(house.context, study[0].study_uid))
    return list(lease.instances.values())


def test_a_few_are_made_ready_and_each_once(house: DimseHouse) -> None:
    found = places(house, settled(house))
    made: list[str] = []

    def make_ready(some: Sequence[Located]) -> None:
        made.extend(one.sop_uid for one in some)

    # Four make a batch, and two batches are under way, beside each other.
    ahead = Ahead(make_ready, lambda _located: BATCH // 4)
    for _ in range(5):
        ahead.want(found)
    for one in found:
        ahead.wait(one)
    assert sorted(made) == sorted(one.sop_uid for one in found)
    ahead.close()
    large = Ahead(make_ready, lambda _located: LARGEST + 1)
    large.want(found)
    large.wait(found[0])
    assert len(made) == len(found)
    large.close()


def test_what_is_ready_is_decoded_once(house: DimseHouse) -> None:
    study = settled(house)
    archive = house.rooming.archive
    found = places(house, study)
    archive.make_ready(found)
    assert all(
        archive.frame_kept(one, 1) == b.dataset[-20_000:]
        for one, b in zip(found, study, strict=True)
    )
    for one, built in zip(found, study, strict=True):
        assert b"".join(archive.data_set(one, one.syntax)) == built.dataset


def test_pixel_exact_ones_go_out_native_to_everybody(house: DimseHouse) -> None:
    """docs/conformance/dimse.md: the pixel values of what arrived, in a native syntax; never as it came."""
    syntax = "1.2.840.10008.1.2.5"
    study = a_study("P9").with_series(
        "CT", instances=3, rows=100, columns=100, syntax=syntax, pixels=bands
    )
    objects = study.objects()
    assert store(house, objects, "CT1") == [SUCCESS] * 3
    offers = [(objects[0].sop_class, EXPLICIT_LE)]
    settling = house.rooming.settling
    assert settling is not None
    exact = replace(house.context, tenant=replace(house.tenant, settling="pixel-exact"))
    done = house.run(settling.settle(exact, study.study_uid, study.series_uid()))
    assert done.exact == 3
    house.rooming.archive.forget(house.context, study.study_uid)
    after = fetch(house, offers, whole(objects[0])).objects
    assert fetch(house, [(objects[0].sop_class, syntax)], whole(objects[0])).objects == {}
    implicit = fetch(house, [(objects[0].sop_class, IMPLICIT_LE)], whole(objects[0])).objects
    for built in study.in_syntax(EXPLICIT_LE).objects():
        pixels = built.dataset[-100 * 100 * 2 :]
        assert after[built.sop_uid][1].endswith(pixels)
        assert implicit[built.sop_uid][1].endswith(pixels)


def bands(shape: Shape, _rng: np.random.Generator) -> Any:
    return (np.arange(100 * 100).reshape(shape.array_shape) // 10).astype(shape.dtype)
