"""Parameters of retrieve, render and search requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.domain.archive.model import Level
from lightwell.domain.archive.query import Match
from lightwell.gateways.dicomweb.frames import frame_numbers
from lightwell.gateways.dicomweb.pixels import aligned
from lightwell.gateways.dicomweb.ports import WantedViewport, WantedWindow
from lightwell.gateways.dicomweb.qido import parse, query_of
from lightwell.gateways.dicomweb.ranges import parse_range
from lightwell.gateways.dicomweb.rendered_parameters import (
    parse_annotation,
    parse_quality,
    parse_rendered,
    parse_thumbnail,
    parse_viewport,
    parse_window,
)
from lightwell.gateways.dicomweb.resources import Target
from lightwell.gateways.http.exchange import query_parameters
from lightwell.kernel.errors import Invalid


@pytest.mark.parametrize(
    ("text", "numbers"), [("1", [1]), ("3,1,2", [3, 1, 2]), ("1,1, 2", [1, 2]), ("007", [7])]
)
def test_frame_lists(text: str, numbers: list[int]) -> None:
    assert frame_numbers(text) == numbers


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1,", "1-3", "a", "1;2", "²", "1" * 11, ",".join(["1"] * 10_001)]
)
def test_bad_frame_lists(text: str) -> None:
    with pytest.raises(Invalid):
        frame_numbers(text)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ("bytes=0-99", range(100)),
        ("bytes=100-199", range(100, 200)),
        ("bytes=900-", range(900, 1000)),
        ("bytes=-10", range(990, 1000)),
        ("bytes=-5000", range(1000)),
        ("bytes=990-5000", range(990, 1000)),
        ("bytes=5-5", range(5, 6)),
        ("bytes=9-5", None),
        ("bytes=0-1,4-5", None),
        ("bytes=" + ",".join(f"{i}-{i}" for i in range(10_000)), None),
        ("bytes=-", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
    ],
)
def test_w05_ranges(header: str, expected: range | None) -> None:
    assert parse_range(header, 1000) == expected


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-2000", "bytes=-0"])
def test_ranges_beyond_the_end(header: str) -> None:
    found = parse_range(header, 1000)
    assert found is not None
    assert found.start >= 1000


@given(st.text(max_size=80), st.integers(0, 10**6))
def test_any_range_stays_inside(header: str, length: int) -> None:
    found = parse_range("bytes=" + header, length)
    assert found is None or found.start >= length or 0 <= found.start <= found.stop <= length


def test_windows() -> None:
    assert parse_window("40,400,linear") == WantedWindow(40, 400, "LINEAR")
    assert parse_window(" -600 , 1500.5 , linear-exact ") == WantedWindow(
        -600, 1500.5, "LINEAR_EXACT"
    )
    assert parse_window("0,0.5,SIGMOID").function == "SIGMOID"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "40,400",
        "40,400,cubic",
        "a,400,linear",
        "40,nan,linear",
        "40,inf,linear",
        "40,0.5,linear",
        "40,0,sigmoid",
        "40,400,linear,1",
    ],
)
def test_bad_windows(text: str) -> None:
    with pytest.raises(Invalid):
        parse_window(text)


def test_viewports() -> None:
    assert parse_viewport("128,64") == WantedViewport(128, 64)
    assert parse_viewport("100,100,10,20,-30,40.5") == WantedViewport(100, 100, 10, 20, -30, 40.5)
    assert parse_viewport("100,100,,,50") == WantedViewport(100, 100, 0, 0, 50, None)


@pytest.mark.parametrize(
    "text",
    ["128", "0,10", "9000,1", "1e9,1", "a,b", "1,1,-1", "1,1,0,0,0,5", "1,1,1,1,1,1,1", "nan,1"],
)
def test_bad_viewports(text: str) -> None:
    with pytest.raises(Invalid):
        parse_viewport(text)


def test_thumbnails_take_a_size_only() -> None:
    assert parse_thumbnail([]).viewport == WantedViewport(128, 128)
    assert parse_thumbnail([("viewport", "64,32"), ("window", "bad")]).viewport == WantedViewport(
        64, 32
    )
    with pytest.raises(Invalid):
        parse_thumbnail([("viewport", "64,32,0,0,10,10")])


def test_rendered_parameters() -> None:
    wanted, kinds = parse_rendered(
        [("quality", "70"), ("annotation", "patient,technique"), ("unknown", "x")], "image/png"
    )
    assert (wanted.media_type, wanted.quality, kinds) == ("image/png", 70, ("patient", "technique"))
    for quality in ("0", "101", "x", "-5", "1e2"):
        with pytest.raises(Invalid):
            parse_quality(quality)
    with pytest.raises(Invalid):
        parse_annotation("patient,script")
    with pytest.raises(Invalid):
        parse_rendered([("iccprofile", "adobergb")], "image/png")


@given(st.integers(1, 40), st.data())
def test_one_bit_frames_are_realigned(bits: int, data: st.DataObject) -> None:
    frames = data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=1, max_size=5))
    packed = sum(value << (index * bits) for index, value in enumerate(frames))
    whole = packed.to_bytes(len(frames) * bits // 8 + 1, "little")
    for index, value in enumerate(frames):
        first, last = index * bits // 8, -(-(index + 1) * bits // 8)
        cut = aligned(whole[first:last], index * bits % 8, bits)
        assert len(cut) == -(-bits // 8)
        assert int.from_bytes(cut, "little") == value


# --- search ------------------------------------------------------------------------------------


def ask(text: str, level: Level = Level.STUDY) -> dict[int, tuple[Match, tuple[str, ...]]]:
    query = query_of(level, None, parse(query_parameters(text.encode())))
    return {key.tag: (key.kind, key.values) for key in query.criteria}


def test_search_keys_by_keyword_tag_and_path() -> None:
    assert ask("PatientID=4711") == {0x00100020: (Match.SINGLE, ("4711",))}
    assert ask("00100020=4711") == ask("PatientID=4711")
    found = ask("RequestAttributesSequence.ScheduledProcedureStepID=7", Level.SERIES)
    assert found[0x00400275][0] is Match.SEQUENCE
    assert found == ask("00400275.00400009=7", Level.SERIES)


def test_percent_and_plus() -> None:
    assert ask("PatientName=M%C3%BCller%5EJ") == ask("PatientName=Müller^J")
    assert ask("PatientID=a+b")[0x00100020][1] == ("a+b",)
    with pytest.raises(Invalid):
        query_parameters(b"PatientName=%ff")
    with pytest.raises(Invalid):
        query_parameters(b"a=1&" * 300)


def test_flags_and_pages() -> None:
    asked = parse(
        query_parameters(
            b"limit=5&offset=10&fuzzymatching=true&emptyvaluematching=TRUE&includefield=all"
            b"&includefield=00081030,PatientSize&multiplevaluematching=false&_=1700000000"
        )
    )
    assert (asked.limit, asked.offset, asked.fuzzy, asked.empty_value_matching) == (
        5,
        10,
        True,
        True,
    )
    assert asked.include_all
    assert asked.include == {0x00081030, 0x00101020}
    assert asked.keys == []
    assert query_of(Level.STUDY, None, parse([("limit", "1000000")])).limit == 1000


@pytest.mark.parametrize(
    "text", ["limit=-1", "offset=-1", "limit=x", "limit=1e9", "fuzzymatching=1", "offset=²"]
)
def test_w09_bad_pages(text: str) -> None:
    with pytest.raises(Invalid):
        parse(query_parameters(text.encode()))


@pytest.mark.parametrize("key", ["00100020", "PatientID"])
def test_prior_search_by_patient_id_never_widens(key: str) -> None:
    """OHIF looks for priors by `00100020`; an attribute in any spelling is a key, never ignored."""
    assert 0x00100020 in ask(f"{key}=4711")
    assert ask("99990010=x") == {0x99990010: (Match.SINGLE, ("x",))}


@pytest.mark.parametrize(
    "name",
    [
        "patientidd", "patientsname", "Patient_ID", "PatientID[]", "PatientID%20", "%20PatientID",
        "00100020%20", "0x00100020", "00020003", "nonsense",
    ],
)  # fmt: skip
def test_a_key_nobody_knows_is_refused_and_not_passed_over(name: str) -> None:
    with pytest.raises(Invalid):
        parse(query_parameters(f"{name}=P1".encode()))


def test_parents_are_keys() -> None:
    query = query_of(Level.INSTANCE, Target("1.2", "1.3"), parse([]))
    assert {(key.tag, key.values) for key in query.criteria} == {
        (0x0020000D, ("1.2",)),
        (0x0020000E, ("1.3",)),
    }
