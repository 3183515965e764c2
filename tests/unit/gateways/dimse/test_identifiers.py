"""Identifiers in every syntax and character set, and in the hands of strangers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.dicom import tags
from lightwell.domain.archive.model import Level
from lightwell.gateways.dimse.identifiers import read_identifier, write_identifier
from lightwell.kernel.errors import Invalid, Kind, LightwellError
from lightwell.testing import encoding as enc

EVERY = frozenset(Level)
SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"]
SYNTAXES += ["1.2.840.10008.1.2.1.99"]
EXPLICIT = "1.2.840.10008.1.2.1"


def _raw(syntax: str = EXPLICIT, **attributes: object) -> bytes:
    return enc.encode_for_syntax(enc.elements(attributes), syntax)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_keys_by_path(syntax: str) -> None:
    raw = _raw(
        syntax,
        QueryRetrieveLevel="SERIES",
        PatientName="Müller^*",
        SpecificCharacterSet="ISO_IR 100",
        SeriesNumber=3,
        Rows=512,
        StudyInstanceUID=["1.2", "1.3"],
        RequestAttributesSequence=[{"ScheduledProcedureStepID": "S1"}],
        ProcedureCodeSequence=[],
    )
    identifier = read_identifier(raw, syntax, EVERY)
    assert identifier.level is Level.SERIES
    assert identifier.charsets == ("ISO_IR 100",)
    assert {path: text for path, _vr, text in identifier.search_keys()} == {
        (tags.PatientName,): ["Müller^*"],
        (tags.StudyInstanceUID,): ["1.2", "1.3"],
        (0x00200011,): ["3"],
        (0x00280010,): ["512"],
        (tags.ProcedureCodeSequence,): "",
        (0x00400275,): "",
        (0x00400275, 0x00400009): ["S1"],
    }
    assert identifier.uids(tags.StudyInstanceUID) == ("1.2", "1.3")
    assert identifier.uids(tags.SeriesInstanceUID) == ()
    assert tags.QueryRetrieveLevel not in identifier.tags()


def test_a_level_of_another_model() -> None:
    with pytest.raises(Invalid):
        read_identifier(_raw(QueryRetrieveLevel="PATIENT"), EXPLICIT, EVERY - {Level.PATIENT})


@given(st.binary(max_size=300), st.sampled_from(SYNTAXES))
def test_no_bytes_do_more_than_be_refused(raw: bytes, syntax: str) -> None:
    assert _refusal(raw, syntax) in (None, Kind.INVALID)


def _refusal(raw: bytes, syntax: str) -> Kind | None:
    """The kind of error that these bytes are refused with; None when they are an identifier."""
    try:
        list(read_identifier(raw, syntax, EVERY).search_keys())
    except LightwellError as error:
        return error.kind
    return None


@given(st.data())
def test_no_mutation_does_either(data: st.DataObject) -> None:
    raw = bytearray(
        _raw(
            QueryRetrieveLevel="STUDY",
            PatientID="P1",
            RequestAttributesSequence=[{"ScheduledProcedureStepID": "S1"}],
        )
    )
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    assert _refusal(bytes(raw), EXPLICIT) in (None, Kind.INVALID)


# ---- responses ------------------------------------------------------------------------------------

NAME = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jörg"}]}}


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (("ISO_IR 100",), ("ISO_IR 100",)),
        ((), ("ISO_IR 192",)),
        (("ISO_IR 144",), ("ISO_IR 192",)),
        (("NONSENSE",), ("ISO_IR 192",)),
        (("GB18030",), ("GB18030",)),
    ],
)
def test_texts_come_in_a_set_that_holds_them(
    syntax: str, asked: tuple[str, ...], answered: tuple[str, ...]
) -> None:
    level = {"00080052": {"vr": "CS", "Value": ["STUDY"]}}
    identifier = read_identifier(write_identifier({**level, **NAME}, syntax, asked), syntax, EVERY)
    assert identifier.charsets == answered
    assert identifier.text(tags.PatientName) == "Müller^Jörg"


def test_plain_texts_need_no_label() -> None:
    raw = write_identifier({"00100020": {"vr": "LO", "Value": ["P1"]}}, EXPLICIT)
    assert raw == b"\x10\x00\x20\x00LO\x02\x00P1"


def test_a_value_that_cannot_be_encoded_goes_out_empty() -> None:
    model: dict[str, dict[str, Any]] = {
        "00080020": {"vr": "DA", "Value": ["日曜"]},
        "00100020": {"vr": "LO", "Value": ["P1"]},
        "00420011": {"vr": "OB", "BulkDataURI": "x"},
        "00280010": {"vr": "US", "Value": ["many"]},
    }
    raw = write_identifier(model, EXPLICIT)
    assert b"\x08\x00\x20\x00DA\x00\x00" in raw
    assert b"LO\x02\x00P1" in raw
    assert raw.endswith(b"\x42\x00\x11\x00OB\x00\x00\x00\x00\x00\x00")


@given(st.text(max_size=40), st.sampled_from([(), ("ISO_IR 100",), ("ISO_IR 13",), ("GBK",)]))
def test_any_text_makes_a_readable_answer(text: str, asked: tuple[str, ...]) -> None:
    level = {"00080052": {"vr": "CS", "Value": ["STUDY"]}}
    model = {**level, "00081030": {"vr": "LO", "Value": [text]}}
    raw = write_identifier(model, EXPLICIT, asked)
    assert read_identifier(raw, EXPLICIT, EVERY).level is Level.STUDY
