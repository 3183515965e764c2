"""From keys to a query: what both doors hand over, and what is refused."""

from __future__ import annotations

import pytest

from lightwell.domain.archive.internal.asking import DEPTH_LIMIT, KEYS_LIMIT, build_query
from lightwell.domain.archive.model import Level
from lightwell.domain.archive.query import DateTimeRange, Match
from lightwell.kernel.errors import Invalid

NAME, PID, DATE, TIME, MODALITIES = 0x00100010, 0x00100020, 0x00080020, 0x00080030, 0x00080061
REQUEST, STEP_ID, PROCEDURE_ID = 0x00400275, 0x00400009, 0x00401001


def test_keys_become_criteria_and_ask_for_their_values_back() -> None:
    query = build_query(Level.STUDY, [((NAME,), None, "DOE*"), ((PID,), "LO", "")])
    assert [(c.tag, c.vr, c.kind) for c in query.criteria] == [
        (NAME, "PN", Match.WILDCARD),
        (PID, "LO", Match.EXISTS),
    ]
    assert query.include == {NAME, PID}


def test_paths_into_one_sequence_make_one_key() -> None:
    query = build_query(
        Level.SERIES,
        [((REQUEST, STEP_ID), None, "S1"), ((REQUEST, PROCEDURE_ID), None, "R1")],
    )
    (key,) = query.criteria
    assert (key.tag, key.kind) == (REQUEST, Match.SEQUENCE)
    assert [(item.tag, item.values) for item in key.items] == [
        (STEP_ID, ("S1",)),
        (PROCEDURE_ID, ("R1",)),
    ]


def test_a_sequence_without_values_asks_for_everything() -> None:
    query = build_query(Level.SERIES, [((REQUEST,), "SQ", ""), ((REQUEST, STEP_ID), None, "")])
    assert [key.kind for key in query.criteria] == [Match.EXISTS]


def test_what_only_says_how_to_read_is_no_key() -> None:
    keys = [((0x00080005,), None, "ISO_IR 100"), ((0x00080052,), None, "STUDY"),
            ((0x00020010,), None, "1.2"), ((0x00100000,), None, "8")]  # fmt: skip
    query = build_query(Level.STUDY, keys)
    assert query.criteria == ()
    assert query.include == frozenset()


def test_uids_of_the_resource() -> None:
    query = build_query(
        Level.INSTANCE, [], study_uids=["1.2"], series_uids=["1.3"], sop_uids=["1.4", "1.5"]
    )
    assert [(c.tag, c.kind, c.values) for c in query.criteria] == [
        (0x0020000D, Match.UID_LIST, ("1.2",)),
        (0x0020000E, Match.UID_LIST, ("1.3",)),
        (0x00080018, Match.UID_LIST, ("1.4", "1.5")),
    ]


def test_commas_separate_uids_always_and_other_values_when_asked() -> None:
    uids = build_query(Level.STUDY, [((0x0020000D,), None, "1.2,1.3\\1.4")], comma_lists=True)
    assert uids.criteria[0].values == ("1.2", "1.3", "1.4")
    one = build_query(Level.STUDY, [((MODALITIES,), None, "CT,MR")], comma_lists=True)
    assert one.criteria[0].values == ("CT,MR",)
    two = build_query(
        Level.STUDY, [((MODALITIES,), None, "CT,MR")], comma_lists=True,
        multiple_value_matching=True,
    )  # fmt: skip
    assert two.criteria[0].values == ("CT", "MR")


def test_one_parameter_given_twice_is_refused_not_widened() -> None:
    keys = [((PID,), None, "A"), ((PID,), None, "B")]
    with pytest.raises(Invalid, match="twice"):
        build_query(Level.STUDY, keys, comma_lists=True)
    both = build_query(Level.STUDY, keys, comma_lists=True, multiple_value_matching=True)
    assert both.criteria[0].values == ("A", "B")


def test_combined_date_and_time() -> None:
    keys = [((DATE,), None, "20260101-20260102"), ((TIME,), None, "1800-0600")]
    query = build_query(Level.STUDY, keys, combined_date_time=True)
    assert query.criteria == ()
    assert query.combined == (
        DateTimeRange(DATE, TIME, "20260101180000000000", "20260102060059999999"),
    )
    with pytest.raises(Invalid):
        build_query(Level.STUDY, keys)


def test_empty_values_in_the_two_doors() -> None:
    quoted, nothing = [((PID,), None, '""')], [((PID,), None, "")]

    def kind(keys: list[tuple[tuple[int, ...], None, str]], **options: bool) -> Match:
        return build_query(Level.STUDY, keys, **options).criteria[0].kind

    assert kind(quoted) is Match.SINGLE
    assert kind(quoted, empty_value_matching=True) is Match.EMPTY
    assert kind(nothing, empty_value_matching=True) is Match.EXISTS
    assert kind(nothing, empty_value_matching=True, zero_length_is_empty=True) is Match.EMPTY


def test_limits() -> None:
    with pytest.raises(Invalid):
        build_query(Level.STUDY, [((0x00100010 + n,), "LO", "x") for n in range(KEYS_LIMIT + 1)])
    with pytest.raises(Invalid):
        build_query(Level.STUDY, [((REQUEST,) * DEPTH_LIMIT + (PID,), "LO", "x")])
    with pytest.raises(Invalid):
        build_query(Level.STUDY, [((), None, "x")])
    query = build_query(Level.STUDY, [], limit=10**9, offset=-1, text="x" * 999)
    assert (query.limit, query.offset, len(query.text)) == (5000, 0, 256)
