"""Tags, their spellings, and the data dictionary."""

from __future__ import annotations

import pytest
from pydicom.datadict import tag_for_keyword

from lightwell.dicom import dictionary, tags


def test_every_constant_is_the_tag_of_its_keyword() -> None:
    assert len(tags.NAMED) > 150
    for keyword, tag in tags.NAMED.items():
        assert tag_for_keyword(keyword) == tag, keyword


@pytest.mark.parametrize("name", ["PatientID", "00100020", "(0010,0020)", "0010,0020"])
def test_a_tag_is_found_by_each_of_its_spellings(name: str) -> None:
    assert tags.tag_of(name) == tags.PatientID == 0x00100020


def test_keywords_outside_our_list_come_from_the_dictionary() -> None:
    assert tags.tag_of("AcquisitionDuration") == 0x00189073
    assert tags.keyword_of(0x00189073) == "AcquisitionDuration"


@pytest.mark.parametrize("name", ["", "Nonsense", "0010002", "001000200", "x" * 500, "(0010,002g)"])
def test_what_is_no_tag_raises(name: str) -> None:
    with pytest.raises(ValueError, match="not a DICOM keyword or tag"):
        tags.tag_of(name)


def test_tags_are_shown_as_json_and_as_the_standard_write_them() -> None:
    assert tags.hex_tag(0x0020000D) == "0020000D"
    assert tags.show_tag(0x0020000D) == "(0020,000D)"


def test_private_tags_have_no_keyword() -> None:
    assert tags.is_private(0x00091001)
    assert tags.keyword_of(0x00091001) is None


@pytest.mark.parametrize(
    ("tag", "creator", "signed", "vr"),
    [
        (tags.PatientName, None, False, "PN"),
        (0x00080000, None, False, "UL"),
        (0x00090010, None, False, "LO"),
        (0x00091001, None, False, "UN"),
        (0x00091027, "GEMS_IDEN_01", False, "SL"),
        (tags.SmallestImagePixelValue, None, False, "US"),
        (tags.SmallestImagePixelValue, None, True, "SS"),
        (tags.PixelData, None, False, "OW"),
        (tags.LUTData, None, True, "OW"),
        (0x60203000, None, False, "OW"),
        (0x00104321, None, False, "UN"),
    ],
)
def test_the_vr_of_a_tag(tag: int, creator: str | None, signed: bool, vr: str) -> None:
    assert dictionary.vr_of(tag, creator, signed=signed) == vr


def test_multiplicity() -> None:
    assert dictionary.multiplicity_of(tags.ImagePositionPatient) == "3"
    assert dictionary.multiplicity_of(0x00091001) == "1-n"
