"""Explicit to Implicit VR keeps every value, however the stream is cut."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.filereader import read_dataset

from lightwell.dicom.errors import DicomError, Truncated
from lightwell.gateways.dimse.implicit import implicit_le_chunks
from lightwell.testing import encoding as enc
from lightwell.testing.builders import BuiltInstance, a_study


def _one(**more: object) -> BuiltInstance:
    return (
        a_study()
        .with_series("CT", rows=9, columns=11)
        .with_attributes(
            RequestAttributesSequence=[
                {
                    "ScheduledProcedureStepID": "S1",
                    "ScheduledProtocolCodeSequence": [{"CodeValue": "C"}],
                }
            ],
            ReferencedImageSequence=[],
            **more,
        )
        .with_elements({0xFFFCFFFC: ("OB", bytes(6))})
        .only()
    )


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(st.integers(1, 4000))
def test_equal_values_however_it_is_cut(size: int) -> None:
    one = _one()
    made = b"".join(implicit_le_chunks(_cut(one.dataset, size)))
    before = dcmread(io.BytesIO(one.part10))
    after = read_dataset(io.BytesIO(made), is_implicit_VR=True, is_little_endian=True)
    assert [(e.tag, e.value) for e in after.iterall() if e.VR != "SQ"] == [
        (e.tag, e.value) for e in before.iterall() if e.VR != "SQ"
    ]
    assert len(after.ReferencedImageSequence) == 0


def test_undefined_lengths_become_defined() -> None:
    dataset = enc.elements(
        {
            "SOPClassUID": "1.2",
            "SOPInstanceUID": "1.3",
            "RequestAttributesSequence": [{"ScheduledProcedureStepID": "S1"}],
            "PixelData": bytes(10),
        }
    )
    raw = enc.encode(dataset, enc.Form(undefined_lengths=True))
    made = b"".join(implicit_le_chunks([raw]))
    after = read_dataset(io.BytesIO(made), is_implicit_VR=True, is_little_endian=True)
    assert after.RequestAttributesSequence[0].ScheduledProcedureStepID == "S1"
    assert after.PixelData == bytes(10)


def test_pixel_data_that_end_early_are_an_error() -> None:
    with pytest.raises(Truncated):
        list(implicit_le_chunks([_one().dataset[:-60]]))


def test_encapsulated_pixel_data_have_no_implicit_form() -> None:
    one = a_study().with_series("CT").in_syntax("1.2.840.10008.1.2.5").only()
    with pytest.raises(DicomError):
        list(implicit_le_chunks([one.dataset]))
