"""The truth table of attribute matching (PS3.4 C.2.2.2, PS3.18 8.3.4; CHECK D-12)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.domain.archive.internal.matching import (
    criterion,
    glob,
    matches,
    matches_range,
    matches_text,
)
from lightwell.domain.archive.query import Criterion, DateTimeRange, Match
from lightwell.kernel.errors import Invalid

TAG = 0x00100010
YES, NO = True, False


def pn(alphabetic: str, ideographic: str = "", phonetic: str = "") -> dict[str, Any]:
    groups = {"Alphabetic": alphabetic, "Ideographic": ideographic, "Phonetic": phonetic}
    return {"vr": "PN", "Value": [{name: text for name, text in groups.items() if text}]}


def el(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


YAMADA = pn("Yamada^Tarou", "山田^太郎", "やまだ^たろう")
ABSENT = None
FUZZY = {"fuzzy": True}
EMPTY = {"empty_value_matching": True}
LISTS = {"multiple_value_matching": True}

# (what the row is about, VR, key, options, recorded element, does it match)
TABLE: list[tuple[str, str, str, dict[str, Any], dict[str, Any] | None, bool]] = [
    # universal
    ("no text matches anything", "LO", "", {}, el("LO", "A"), YES),
    ("no text matches absence", "LO", "", {}, ABSENT, YES),
    ("an asterisk alone matches absence", "LO", "*", {}, ABSENT, YES),
    ("an asterisk alone matches a date", "DA", "*", {}, el("DA", "20260101"), YES),
    ("an asterisk alone matches a UID", "UI", "*", {}, el("UI", "1.2"), YES),
    ("padding is no text", "LO", "  ", {}, el("LO", "A"), YES),
    # single value
    ("equal text", "LO", "A12", {}, el("LO", "A12"), YES),
    ("other text", "LO", "A12", {}, el("LO", "A123"), NO),
    ("case counts", "LO", "a12", {}, el("LO", "A12"), NO),
    ("absent is not equal", "LO", "A12", {}, ABSENT, NO),
    ("zero length is not equal", "LO", "A12", {}, el("LO"), NO),
    ("null is not equal", "LO", "A12", {}, el("LO", None), NO),
    ("padding does not count", "SH", " A12 ", {}, el("SH", "A12"), YES),
    ("recorded padding does not count", "SH", "A12", {}, el("SH", " A12"), YES),
    ("leading space counts in a text", "ST", "A12", {}, el("ST", " A12"), NO),
    ("any of several values", "CS", "AXIAL", {}, el("CS", "ORIGINAL", "AXIAL"), YES),
    ("none of several values", "CS", "AX", {}, el("CS", "ORIGINAL", "AXIAL"), NO),
    ("an age is text", "AS", "030Y", {}, el("AS", "030Y"), YES),
    # wildcards
    ("asterisk behind", "LO", "A*", {}, el("LO", "A12"), YES),
    ("asterisk may be nothing", "LO", "A12*", {}, el("LO", "A12"), YES),
    ("asterisk before", "LO", "*12", {}, el("LO", "A12"), YES),
    ("asterisk within", "LO", "A*2", {}, el("LO", "A1112"), YES),
    ("asterisks around", "LO", "*1*", {}, el("LO", "A12"), YES),
    ("order of pieces counts", "LO", "*2*1*", {}, el("LO", "A12"), NO),
    ("question mark is one", "LO", "A?2", {}, el("LO", "A12"), YES),
    ("question mark is not none", "LO", "A12?", {}, el("LO", "A12"), NO),
    ("question mark is not two", "LO", "A?", {}, el("LO", "A12"), NO),
    ("both", "LO", "?1*", {}, el("LO", "A12"), YES),
    ("wildcard keeps case", "LO", "a*", {}, el("LO", "A12"), NO),
    ("wildcard needs a value", "LO", "A*", {}, ABSENT, NO),
    ("a dot is a dot", "LO", "A.2*", {}, el("LO", "A12"), NO),
    ("brackets are brackets", "LO", "[A]*", {}, el("LO", "A"), NO),
    ("AE takes wildcards", "AE", "CT*", {}, el("AE", "CT1"), YES),
    ("CS takes wildcards", "CS", "C?", {}, el("CS", "CT"), YES),
    ("UT takes wildcards", "UT", "*fracture*", {}, el("UT", "no fracture seen"), YES),
    ("a backslash is text in UT", "UT", "a\\b", {}, el("UT", "a\\b"), YES),
    # UIDs
    ("one UID", "UI", "1.2.3", {}, el("UI", "1.2.3"), YES),
    ("another UID", "UI", "1.2.3", {}, el("UI", "1.2.30"), NO),
    ("a list of UIDs", "UI", "1.2\\1.2.3", {}, el("UI", "1.2.3"), YES),
    ("not in the list", "UI", "1.2\\1.2.3", {}, el("UI", "1.2.4"), NO),
    ("empty entries of a list are nothing", "UI", "1.2\\", {}, el("UI", "9"), NO),
    # dates
    ("a date", "DA", "20260131", {}, el("DA", "20260131"), YES),
    ("another date", "DA", "20260131", {}, el("DA", "20260201"), NO),
    ("from to, first day", "DA", "20260101-20260131", {}, el("DA", "20260101"), YES),
    ("from to, last day", "DA", "20260101-20260131", {}, el("DA", "20260131"), YES),
    ("from to, day after", "DA", "20260101-20260131", {}, el("DA", "20260201"), NO),
    ("until", "DA", "-20260131", {}, el("DA", "19991231"), YES),
    ("until, after", "DA", "-20260131", {}, el("DA", "20260201"), NO),
    ("since", "DA", "20260131-", {}, el("DA", "20260131"), YES),
    ("since, before", "DA", "20260131-", {}, el("DA", "20260130"), NO),
    ("old form asked", "DA", "2026.01.31", {}, el("DA", "20260131"), YES),
    ("old form recorded", "DA", "20260101-20260131", {}, el("DA", "2026.01.15"), YES),
    ("a range needs a date", "DA", "-20260131", {}, ABSENT, NO),
    ("a range needs a readable date", "DA", "-20260131", {}, el("DA", "unknown"), NO),
    ("the 31st of any month", "DA", "20260201-20260231", {}, el("DA", "20260228"), YES),
    # times
    ("an hour is all of it, begin", "TM", "10", {}, el("TM", "100000"), YES),
    ("an hour is all of it, end", "TM", "10", {}, el("TM", "105959.999"), YES),
    ("an hour is not the next", "TM", "10", {}, el("TM", "110000"), NO),
    ("a minute", "TM", "1030", {}, el("TM", "103059"), YES),
    ("a second with a fraction", "TM", "103015", {}, el("TM", "103015.5"), YES),
    ("recorded with less precision", "TM", "103000", {}, el("TM", "1030"), YES),
    ("a time range ends with its last minute", "TM", "10-1130", {}, el("TM", "113059.9"), YES),
    ("a time range, after", "TM", "10-1130", {}, el("TM", "113100"), NO),
    ("until a time", "TM", "-0800", {}, el("TM", "075959"), YES),
    ("since a time", "TM", "0800-", {}, el("TM", "075959"), NO),
    ("colons recorded", "TM", "1030", {}, el("TM", "10:30:15"), YES),
    # date-times
    ("a year", "DT", "2026", {}, el("DT", "20260704120000"), YES),
    ("a year, another", "DT", "2026", {}, el("DT", "20250704120000"), NO),
    ("years from to", "DT", "2019-2020", {}, el("DT", "20201231235959"), YES),
    ("an offset is no range", "DT", "20260101-0500", {}, el("DT", "20260101120000"), YES),
    ("offsets in UTC", "DT", "202601011200+0100", {}, el("DT", "202601011100+0000"), YES),
    ("offsets that differ", "DT", "202601011200+0100", {}, el("DT", "202601011200+0000"), NO),
    ("no offset recorded: as recorded", "DT", "202601011200+0100", {}, el("DT", "2026010112"), YES),
    ("range with offsets", "DT", "2026010110-0500-2026010112-0500", {},
     el("DT", "20260101160000+0000"), YES),
    ("range with offsets, after", "DT", "2026010110-0500-2026010112-0500", {},
     el("DT", "20260101180000+0000"), NO),
    ("until a date-time", "DT", "-20260101", {}, el("DT", "20260101235959.9"), YES),
    ("since a date-time", "DT", "20260101-", {}, el("DT", "20251231"), NO),
    # numbers
    ("a number as text or number", "IS", "7", {}, el("IS", 7), YES),
    ("a number with zeros", "IS", "007", {}, el("IS", "7"), YES),
    ("a decimal", "DS", "1.50", {}, el("DS", 1.5), YES),
    ("another number", "US", "512", {}, el("US", 513), NO),
    ("no wildcards in numbers recorded", "IS", "7", {}, el("IS", "7*"), NO),
    # names
    ("case of a name", "PN", "doe^jane", {}, pn("DOE^JANE"), YES),
    ("trailing separators asked", "PN", "Doe^Jane^^^", {}, pn("Doe^Jane"), YES),
    ("trailing separators recorded", "PN", "Doe^Jane", {}, pn("Doe^Jane^^"), YES),
    ("accents asked", "PN", "Müller^*", {}, pn("Muller^Hans"), YES),
    ("accents recorded", "PN", "MULLER*", {}, pn("Müller^Hans"), YES),
    ("sharp s", "PN", "STRASSE*", {}, pn("Straße^Eva"), YES),
    ("o with a stroke", "PN", "sorensen*", {}, pn("Sørensen^Ib"), YES),
    ("full width", "PN", "ＹＡＭＡＤＡ*", {}, YAMADA, YES),
    ("a family name alone is the whole name", "PN", "Doe", {}, pn("Doe^Jane"), NO),
    ("family name and asterisk", "PN", "Doe*", {}, pn("Doe^Jane"), YES),
    ("family^* meets a name without given", "PN", "Doe^*", {}, pn("Doe"), YES),
    ("family^* does not meet a longer family", "PN", "Doe^*", {}, pn("Doering^Jane"), NO),
    ("given name", "PN", "*^Jane", {}, pn("Doe^Jane"), YES),
    ("ideographic group alone", "PN", "山田*", {}, YAMADA, YES),
    ("phonetic group alone", "PN", "やまだ^たろう", {}, YAMADA, YES),
    ("voicing is no accent", "PN", "やまた^たろう", {}, YAMADA, NO),
    ("all groups", "PN", "Yamada^Tarou=山田^太郎", {}, YAMADA, YES),
    ("second group only", "PN", "=山田*", {}, YAMADA, YES),
    ("text in the wrong group", "PN", "山田*=", {}, YAMADA, NO),
    ("one group right, one wrong", "PN", "Yamada*=鈴木*", {}, YAMADA, NO),
    ("a full-width asterisk is no wildcard", "PN", "Doe＊", {}, pn("Doering"), NO),
    ("a name needs a name", "PN", "Doe*", {}, ABSENT, NO),
    # fuzzy names
    ("fuzzy: one word", "PN", "Doe", FUZZY, pn("Doe^Jane"), YES),
    ("fuzzy: begin of a word", "PN", "jan", FUZZY, pn("Doe^Jane"), YES),
    ("fuzzy: any order", "PN", "jane doe", FUZZY, pn("Doe^Jane"), YES),
    ("fuzzy: every word", "PN", "jane smith", FUZZY, pn("Doe^Jane"), NO),
    ("fuzzy: sounds alike", "PN", "Meyer", FUZZY, pn("Maier^Anna"), YES),
    ("fuzzy: sounds alike, umlaut", "PN", "Mueller", FUZZY, pn("Müller^Hans"), YES),
    ("fuzzy: sounds alike, first letter", "PN", "Katarina", FUZZY, pn("Lee^Catherina"), YES),
    ("fuzzy: sounds other", "PN", "Baker", FUZZY, pn("Miller^Hans"), NO),
    ("fuzzy: not an infix", "PN", "oe", FUZZY, pn("Doe^Jane"), NO),
    ("fuzzy: ideographic word", "PN", "太郎", FUZZY, YAMADA, YES),
    ("fuzzy is for names only", "LO", "abc", FUZZY, el("LO", "ABC"), NO),
    # empty values
    ("empty asks for absence", "PN", '""', EMPTY, ABSENT, YES),
    ("empty asks for zero length", "LO", '""', EMPTY, el("LO"), YES),
    ("empty does not meet a value", "LO", '""', EMPTY, el("LO", "A"), NO),
    ("quotes are text unless asked", "LO", '""', {}, ABSENT, NO),
    # lists
    ("a list of values", "CS", "CT\\MR", LISTS, el("CS", "MR"), YES),
    ("a list of values, none", "CS", "CT\\MR", LISTS, el("CS", "US"), NO),
    ("a list without negotiation", "CS", "CT\\MR", {}, el("CS", "MR", "PT"), YES),
    ("a list with a wildcard", "LO", "A*\\B", LISTS, el("LO", "A12"), YES),
    ("a list with empty", "LO", 'B\\""', EMPTY | LISTS, ABSENT, YES),
    ("a list of dates", "DA", "20260101\\20260105-20260107", LISTS, el("DA", "20260106"), YES),
    # unknown
    ("unknown attribute, absent", "UN", "x", {}, ABSENT, NO),
    ("unknown attribute, its own VR", "UN", "x*", {}, el("LO", "xyz"), YES),
    ("unknown attribute, no wildcard VR", "UN", "1*", {}, el("UI", "1.2"), NO),
]  # fmt: skip


@pytest.mark.parametrize(
    ("vr", "key", "options", "recorded", "expected"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_truth_table(
    vr: str,
    key: str,
    options: dict[str, Any],
    recorded: dict[str, Any] | None,
    expected: bool,
) -> None:
    assert matches(criterion(TAG, vr, key, **options), recorded) is expected


@pytest.mark.parametrize(
    ("vr", "key"),
    [
        ("DA", "yesterday"),
        ("DA", "20261301"),
        ("DA", "2026-01-31"),
        ("DA", "20260131-20260101"),
        ("DA", "-"),
        ("TM", "25"),
        ("TM", "1099"),
        ("TM", "1800-0600"),
        ("DT", "20261"),
        ("DT", "202601-202501"),
        ("IS", "seven"),
        ("DS", "1e"),
        ("UI", "1.2.*"),
        ("UI", "1.2; DROP TABLE study"),
        ("OB", "00"),
        ("SQ", "text"),
        ("LO", "x" * 1025),
    ],
)
def test_a_key_that_cannot_be_read_is_refused(vr: str, key: str) -> None:
    with pytest.raises(Invalid, match=r"\(0010,0010\)"):
        criterion(TAG, vr, key)


STEP = 0x00400275
ITEM_ID, ITEM_TEXT = 0x00401001, 0x00400007


def requests(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {
        "vr": "SQ",
        "Value": [{"00401001": el("SH", one), "00400007": el("LO", other)} for one, other in pairs],
    }


def sequence(**keys: str) -> Criterion:
    tags = {"id": (ITEM_ID, "SH"), "text": (ITEM_TEXT, "LO")}
    items = [criterion(*tags[name], text) for name, text in keys.items()]
    return criterion(STEP, "SQ", "", items=items)


@pytest.mark.parametrize(
    ("key", "recorded", "expected"),
    [
        (sequence(), requests(), YES),
        (sequence(), None, YES),
        (sequence(id=""), None, YES),
        (sequence(id="A"), requests(("A", "chest")), YES),
        (sequence(id="A"), requests(("B", "head"), ("A", "chest")), YES),
        (sequence(id="A"), requests(("B", "head")), NO),
        (sequence(id="A"), None, NO),
        (sequence(id="A"), {"vr": "SQ"}, NO),
        (sequence(id="A", text="head*"), requests(("A", "chest"), ("B", "head")), NO),
        (sequence(id="A", text="chest*"), requests(("A", "chest ap"), ("B", "head")), YES),
        (sequence(id="A", text=""), requests(("A", "chest")), YES),
        (sequence(id="A"), {"vr": "SQ", "Value": [None, "text"]}, NO),
        (criterion(STEP, "SQ", '""', empty_value_matching=True), {"vr": "SQ"}, YES),
        (criterion(STEP, "SQ", '""', empty_value_matching=True), requests(("A", "x")), NO),
    ],
)
def test_sequence_keys_meet_one_item_together(
    key: Criterion, recorded: dict[str, Any] | None, expected: bool
) -> None:
    assert matches(key, recorded) is expected


NIGHT = DateTimeRange(0x00080020, 0x00080030, "20260101180000", "20260102060000")


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("20260101", "175959", NO),
        ("20260101", "180000", YES),
        ("20260101", "235959.9", YES),
        ("20260102", "000000", YES),
        ("20260102", "055959", YES),
        ("20260102", "0600", YES),
        ("20260102", "060001", NO),
        ("20260102", None, YES),
        ("20260103", None, NO),
        (None, "200000", NO),
    ],
)
def test_date_and_time_as_one_interval(date: str | None, time: str | None, expected: bool) -> None:
    attributes = {"00080020": el("DA", date), "00080030": el("TM", time)}
    assert matches_range(NIGHT, attributes) is expected


def test_the_search_box_looks_at_name_id_accession_and_description() -> None:
    study = {
        "00100010": pn("Müller-Lüdenscheidt^Hans"),
        "00100020": el("LO", "Px-0815"),
        "00080050": el("SH", "ACC77"),
        "00081030": el("LO", "CT Thorax/Abdomen mit KM"),
    }
    for text in ("mull", "hans muller", "Px-08", "px-08 hans", "acc77", "abdo", "ct thor",
                 "muller-luden", "", "  ", "*"):  # fmt: skip
        if text == "px-08 hans":
            assert not matches_text(text, study)  # 'Px-0815' is neither px- nor PX- nor typed so
        else:
            assert matches_text(text, study), text
    for text in ("uller", "horax", "0815", "hans meier", "CC77"):
        assert not matches_text(text, study), text


@given(st.text(max_size=12), st.text(alphabet="ab*?", max_size=8))
def test_a_text_matches_the_patterns_made_from_it(text: str, noise: str) -> None:
    assert glob(text.replace("*", "?"), text)
    assert glob("*" + text.replace("*", "?") + "*", text)
    assert glob("*" * 1000, text)
    for place in range(len(text) + 1):
        assert glob(text[:place].replace("*", "?") + "*", text)


@given(st.text(alphabet="ab", max_size=9), st.text(alphabet="ab*?", max_size=7))
def test_globbing_equals_its_definition(text: str, pattern: str) -> None:
    def defined(p: str, t: str) -> bool:
        if not p:
            return not t
        if p[0] == "*":
            return any(defined(p[1:], t[i:]) for i in range(len(t) + 1))
        return bool(t) and p[0] in ("?", t[0]) and defined(p[1:], t[1:])

    assert glob(pattern, text) is defined(pattern, text)


@given(
    st.sampled_from(["AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "PN", "SH", "TM", "UI", "UN"]),
    st.text(max_size=20),
    st.one_of(
        st.none(),
        st.dictionaries(st.sampled_from(["vr", "Value"]), st.recursive(
            st.one_of(st.none(), st.text(max_size=8), st.integers(), st.floats()),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
            max_leaves=5,
        )),
    ),
)  # fmt: skip
def test_no_key_and_no_recorded_value_raises_anything_but_invalid(
    vr: str, key: str, recorded: dict[str, Any] | None
) -> None:
    try:
        wanted = criterion(TAG, vr, key, fuzzy=True, empty_value_matching=True)
    except Invalid:
        return
    assert matches(wanted, recorded) in (True, False)


def test_an_absent_attribute_meets_no_key_that_wants_something() -> None:
    for row in TABLE:
        key = criterion(TAG, row[1], row[2], **row[3])
        wants = key.kind not in (Match.EXISTS, Match.EMPTY)
        if wants and not any(item.kind is Match.EMPTY for item in key.items):
            assert not matches(key, None), row[0]
