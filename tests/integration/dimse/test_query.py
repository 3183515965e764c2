"""C-FIND over the wire: keys, character sets, limits, cancellation, and whose images are found."""

from __future__ import annotations

import asyncio
import functools
import itertools
import threading
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom.filereader import read_dataset

from lightwell.domain.peers.model import PeerType
from lightwell.gateways.dimse.limits import DimseLimits
from lightwell.testing.builders import a_study
from lightwell.testing.dimse_house import LOOPBACK, NEIGHBOUR, DimseHouse, MakeHouse, keys, store
from lightwell.testing.scu import STUDY_ROOT_FIND, Scu
from lightwell.wire.dimse.commands import Command
from lightwell.wire.dimse.items import ExtendedNegotiation
from lightwell.wire.dimse.proposal import number
from lightwell.wire.dimse.status import (
    CANCEL,
    IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS,
    NOT_AUTHORIZED,
    OUT_OF_RESOURCES,
    PENDING,
    PENDING_OPTIONAL_KEYS_UNSUPPORTED,
    SUCCESS,
)
from lightwell.wire.dimse.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE

PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"

Identifier = Callable[[str], bytes]


class Answer:
    """What a query brought."""

    def __init__(self, statuses: list[int], rows: list[pydicom.Dataset], final: Command) -> None:
        self.statuses = statuses
        self.rows = rows
        self.final = final

    def values(self, keyword: str) -> list[str]:
        return sorted(str(row.get(keyword, "absent")) for row in self.rows)


def _find(
    house: DimseHouse,
    identifier: Identifier,
    *,
    model: str = STUDY_ROOT_FIND,
    syntax: str = EXPLICIT_LE,
    extended: bytes = b"",
    **more: Any,
) -> Answer:
    asked = (ExtendedNegotiation(model, extended),) if extended else ()
    with Scu(
        LOOPBACK,
        more.pop("port", house.port),
        number([(model, (syntax,))]),
        extended=asked,
        timeout=30.0,
        **more,
    ) as scu:
        *pending, final = scu.find(model, identifier)
    rows = [
        read_dataset(
            BytesIO(_inflated(m.data, syntax)), syntax == IMPLICIT_LE, syntax != EXPLICIT_BE
        )
        for m in pending
    ]
    return Answer([m.command.status for m in pending], rows, final.command)


def _inflated(data: bytes, syntax: str) -> bytes:
    import zlib

    return zlib.decompress(data, -zlib.MAX_WBITS) if syntax == DEFLATED_LE else data


@pytest.fixture
def filled(house: DimseHouse) -> DimseHouse:
    """Two patients: MULLER with one CT study of two series, Yamada with an MR study."""
    first = (
        a_study(seed=1, patient="P1")
        .with_series("CT", instances=2)
        .with_series("CT", instances=3)
        .with_attributes(StudyDate="20240105", AccessionNumber="A1", StudyDescription="Thorax")
        .named("Müller^Jörg", "ISO_IR 100")
    )
    second = (
        a_study(seed=2, patient="P2")
        .with_series("MR", instances=1)
        .with_attributes(StudyDate="20240210", AccessionNumber="A2")
        .named("Yamada^Tarou=山田^太郎")
    )
    for study in (first.objects(), second.objects()):
        assert set(store(house, study, "CT1")) == {SUCCESS}
    return house


@pytest.mark.parametrize("syntax", [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE])
def test_the_keys_asked_for_come_back(filled: DimseHouse, syntax: str) -> None:
    answer = _find(
        filled,
        keys(
            QueryRetrieveLevel="STUDY",
            PatientID="P1",
            PatientName="",
            StudyInstanceUID="",
            ModalitiesInStudy="",
            NumberOfStudyRelatedInstances="",
            NumberOfStudyRelatedSeries="",
            StudyTime="",
            SpecificCharacterSet="ISO_IR 100",
        ),
        syntax=syntax,
    )
    assert (answer.statuses, answer.final.status) == ([PENDING], SUCCESS)
    (row,) = answer.rows
    assert row.SpecificCharacterSet == "ISO_IR 100"
    assert row.PatientName == "Müller^Jörg"
    assert (row.PatientID, row.QueryRetrieveLevel) == ("P1", "STUDY")
    assert row.RetrieveAETitle == "LIGHTWELL"
    assert row.ModalitiesInStudy == "CT"
    assert (row.NumberOfStudyRelatedSeries, row.NumberOfStudyRelatedInstances) == (2, 5)
    assert [element.tag for element in row] == sorted(element.tag for element in row)
    assert "AccessionNumber" not in row


def test_every_level_of_both_models(filled: DimseHouse) -> None:
    def count(model: str = STUDY_ROOT_FIND, **wanted: object) -> int:
        return len(_find(filled, keys(**wanted), model=model).rows)

    assert count(PATIENT_ROOT_FIND, QueryRetrieveLevel="PATIENT", PatientID="") == 2
    assert count(QueryRetrieveLevel="STUDY", StudyInstanceUID="") == 2
    assert count(QueryRetrieveLevel="SERIES", SeriesInstanceUID="") == 3
    assert count(QueryRetrieveLevel="IMAGE", SOPInstanceUID="") == 6
    assert count(QueryRetrieveLevel="IMAGE", SOPInstanceUID="", PatientID="P1") == 5
    assert count(PATIENT_ROOT_FIND, QueryRetrieveLevel="SERIES", PatientID="P2") == 1


def test_the_unique_key_comes_back_unasked(filled: DimseHouse) -> None:
    answer = _find(filled, keys(QueryRetrieveLevel="STUDY", AccessionNumber="A2"))
    assert answer.values("StudyInstanceUID") == [a_study(seed=2, patient="P2").study_uid]


@pytest.mark.parametrize(
    ("charset", "name", "expected"),
    [
        ("ISO_IR 100", "Müller*", ["Müller^Jörg"]),
        ("ISO_IR 192", "müller^*", ["Müller^Jörg"]),
        (None, "Muller^Jorg", ["Müller^Jörg"]),
        ("ISO_IR 192", "*山田*", ["Yamada^Tarou=山田^太郎"]),
        (None, "yamada*", ["Yamada^Tarou=山田^太郎"]),
        (None, "Nobody", []),
    ],
)
def test_names_match_in_any_character_set(
    filled: DimseHouse, charset: str | None, name: str, expected: list[str]
) -> None:
    answer = _find(
        filled,
        keys(QueryRetrieveLevel="STUDY", PatientName=name, SpecificCharacterSet=charset),
    )
    assert answer.values("PatientName") == expected
    for row in answer.rows:  # the label describes the bytes, whatever was asked with
        wanted = "ISO_IR 100" if charset == "ISO_IR 100" else "ISO_IR 192"
        assert row.SpecificCharacterSet == wanted


def test_an_answer_that_the_asked_set_cannot_hold_comes_in_unicode(filled: DimseHouse) -> None:
    answer = _find(
        filled,
        keys(QueryRetrieveLevel="STUDY", PatientName="Yamada*", SpecificCharacterSet="ISO_IR 100"),
    )
    assert answer.rows[0].SpecificCharacterSet == "ISO_IR 192"
    assert answer.values("PatientName") == ["Yamada^Tarou=山田^太郎"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"StudyDate": "20240101-20240131"}, ["A1"]),
        ({"StudyDate": "20240101-"}, ["A1", "A2"]),
        ({"StudyDate": "-20231231"}, []),
        ({"ModalitiesInStudy": "MR"}, ["A2"]),
        ({"ModalitiesInStudy": ["CT", "MR"]}, ["A1", "A2"]),
        ({"AccessionNumber": "A?"}, ["A1", "A2"]),
        ({"AccessionNumber": "a1"}, []),
        ({"PatientID": "*"}, ["A1", "A2"]),
        ({"PatientID": "P1", "StudyDescription": "Thorax"}, ["A1"]),
        ({"NumberOfStudyRelatedInstances": 5}, ["A1"]),
    ],
)
def test_matching(filled: DimseHouse, wanted: dict[str, object], found: list[str]) -> None:
    identifier = {"QueryRetrieveLevel": "STUDY", "AccessionNumber": "", **wanted}
    assert _find(filled, keys(**identifier)).values("AccessionNumber") == found


def test_a_key_of_a_level_below_is_a_warning(filled: DimseHouse) -> None:
    answer = _find(
        filled, keys(QueryRetrieveLevel="STUDY", PatientID="P1", SliceThickness="", StudyDate="")
    )
    assert answer.statuses == [PENDING_OPTIONAL_KEYS_UNSUPPORTED]
    assert answer.rows[0].SliceThickness is None
    assert answer.final.status == SUCCESS


def test_extended_negotiation_is_answered_with_what_we_do(filled: DimseHouse) -> None:
    fuzzy = keys(QueryRetrieveLevel="STUDY", PatientName="Miller")
    assert _find(filled, fuzzy).rows == []
    assert _find(filled, fuzzy, extended=bytes((1, 0, 1))).values("PatientName") == ["Müller^Jörg"]
    empty = keys(QueryRetrieveLevel="STUDY", AccessionNumber="", PhysiciansOfRecord='""')
    assert _find(filled, empty).rows == []  # nobody is called ""
    negotiated = _find(filled, empty, extended=bytes((1, 0, 0, 0, 0, 1, 0)))
    assert negotiated.values("AccessionNumber") == ["A1", "A2"]


@pytest.mark.parametrize(
    "wanted",
    [
        {"PatientID": "P1"},
        {"QueryRetrieveLevel": "PATIENT"},
        {"QueryRetrieveLevel": "EVERYTHING"},
        {"QueryRetrieveLevel": "STUDY", "StudyDate": "yesterday"},
        {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.*"},
    ],
)
def test_identifiers_that_make_no_sense(filled: DimseHouse, wanted: dict[str, object]) -> None:
    answer = _find(filled, keys(**wanted))
    assert (answer.rows, answer.final.status) == ([], IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS)
    assert answer.final.ErrorComment


def _anything(raw: bytes, _syntax: str) -> bytes:
    return raw


def test_bytes_that_are_no_identifier(filled: DimseHouse) -> None:
    for raw in (b"", b"\xff" * 64, b"\x08\x00\x52\x00CS\xff\xff" + b"x" * 9, bytes(2 << 20)):
        answer = _find(filled, functools.partial(_anything, raw))
        assert answer.final.status == IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS


def test_d10_only_ones_own_images_are_found(filled: DimseHouse) -> None:
    filled.add_peer("SPY", PeerType.WORKSTATION, tenant=NEIGHBOUR)
    mine = a_study(seed=9, patient="B1").with_series("CT").only()
    theirs = a_study(seed=1, patient="P1").study_uid
    with Scu(
        LOOPBACK,
        filled.port,
        number([(mine.sop_class, (EXPLICIT_LE,))]),
        called_ae="OTHER",
        calling_ae="SPY",
    ) as scu:
        assert scu.store(mine.sop_class, mine.sop_uid, EXPLICIT_LE, (mine.dataset,)).status == 0
    for wanted in ({"PatientID": "*"}, {"StudyInstanceUID": theirs}, {}, {"PatientName": "*" * 64}):
        answer = _find(
            filled,
            keys(**{"QueryRetrieveLevel": "STUDY", "PatientID": "", **wanted}),
            called_ae="OTHER",
            calling_ae="SPY",
        )
        assert set(answer.values("PatientID")) <= {"B1"}
        assert answer.final.status == SUCCESS


def test_d10_many_wildcards_and_unknown_tags(filled: DimseHouse) -> None:
    wild = {"QueryRetrieveLevel": "STUDY", "PatientName": "*?" * 100, "AccessionNumber": ""}
    assert _find(filled, keys(**wild)).final.status == SUCCESS
    unknown = keys(
        (0x00091010, ("LO", "")),
        (0x00111234, ("UN", b"")),
        QueryRetrieveLevel="STUDY",
        AccessionNumber="",
    )
    assert _find(filled, unknown).values("AccessionNumber") == ["A1", "A2"]


def test_a_modality_may_not_query(filled: DimseHouse) -> None:
    answer = _find(filled, keys(QueryRetrieveLevel="STUDY"), calling_ae="CT1")
    assert (answer.rows, answer.final.status) == ([], NOT_AUTHORIZED)


def test_too_many_matches_are_said_not_hidden(make_house: MakeHouse) -> None:
    house = make_house(limits=DimseLimits(find_rows=7, find_page=3))
    study = a_study().with_series("CT", instances=8).objects()
    assert set(store(house, study[:7])) == {SUCCESS}
    wanted = keys(QueryRetrieveLevel="IMAGE", SOPInstanceUID="")
    exact = _find(house, wanted)
    assert (len(exact.rows), exact.final.status) == (7, SUCCESS)
    assert store(house, study[7:]) == [SUCCESS]
    over = _find(house, wanted)
    assert (len(over.rows), over.final.status) == (7, OUT_OF_RESOURCES)
    assert "7" in over.final.ErrorComment


def test_a_query_can_be_cancelled(make_house: MakeHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    house = make_house(limits=DimseLimits(find_page=1))
    study = a_study().with_series("CT", instances=150).objects()
    assert set(store(house, study)) == {SUCCESS}
    archive, cancelled, pages = house.rooming.archive, threading.Event(), itertools.count()
    find = archive.find

    async def not_ahead_of_the_cancel(context: Any, query: Any) -> Any:
        if next(pages) > 3:
            assert await asyncio.to_thread(cancelled.wait, 60)
        return await find(context, query)

    monkeypatch.setattr(archive, "find", not_ahead_of_the_cancel)
    with Scu(LOOPBACK, house.port, number([(STUDY_ROOT_FIND, (EXPLICIT_LE,))])) as scu:
        statuses = []
        for message in scu.find(
            STUDY_ROOT_FIND, keys(QueryRetrieveLevel="IMAGE", SOPInstanceUID="")
        ):
            statuses.append(message.command.status)
            if len(statuses) == 2:
                scu.cancel()
                cancelled.set()
    assert statuses[-1] == CANCEL
    assert set(statuses[:-1]) == {PENDING}
    assert len(statuses) < 150


def test_a_sequence_key(filled: DimseHouse) -> None:
    one = keys(QueryRetrieveLevel="STUDY", ProcedureCodeSequence=[{"CodeValue": "X1"}])
    assert _find(filled, one).rows == []
    two = keys(
        QueryRetrieveLevel="STUDY",
        ProcedureCodeSequence=[{"CodeValue": "X1"}, {"CodeValue": "X2"}],
    )
    assert _find(filled, two).final.status == IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS
    none = keys(QueryRetrieveLevel="STUDY", ProcedureCodeSequence=[], AccessionNumber="")
    assert _find(filled, none).values("AccessionNumber") == ["A1", "A2"]
