"""The published tables say what the package says that they were taken out of."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydicom import datadict
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom._private_dict import private_dictionaries
from pydicom._uid_dict import UID_dictionary

from lightwell.dicom.dictionary import keyword_of, listed_vr, multiplicity_of, tag_for
from lightwell.dicom.published import private_entry, public_entry, unique_identifiers


def test_every_public_tag_and_keyword() -> None:
    for tag, entry in DicomDictionary.items():
        assert public_entry(tag) == entry
        assert tag_for(entry[4]) == datadict.tag_for_keyword(entry[4])


@pytest.mark.parametrize("digit", ["0", "2", "E"])
def test_every_tag_that_repeats(digit: str) -> None:
    for pattern in RepeatersDictionary:
        tag = int(pattern.replace("x", digit), 16)
        assert public_entry(tag) == datadict.get_entry(tag), pattern


def _theirs(tag: int, creator: str) -> tuple[str, ...] | None:
    try:
        return datadict.get_private_entry(tag, creator)
    except KeyError:
        return None


@pytest.mark.parametrize("digit", ["1", "F"])
def test_every_private_tag_in_any_block(digit: str) -> None:
    for creator, entries in private_dictionaries.items():
        for pattern in entries:
            tag = int(pattern.replace("x", digit), 16)
            if (tag >> 16) & 1:
                assert private_entry(tag, creator) == _theirs(tag, creator), (creator, pattern)


def test_what_is_not_listed() -> None:
    assert public_entry(0x00081234) is None
    assert public_entry(0x60010010) is None
    assert private_entry(0x00091001, "nobody") is None
    assert private_entry(0x00091001, "GEMS_IDEN_01") is not None
    assert private_entry(0x000910EE, "GEMS_IDEN_01") is None
    assert tag_for("NoSuchKeyword") is None
    assert keyword_of(0x00091001) is None
    assert multiplicity_of(0x00091001) == "1-n"
    assert listed_vr(0x00081234) == "UN"


def test_every_unique_identifier() -> None:
    ours = unique_identifiers()
    # Other tests of this process may have registered further ones with the package.
    assert ours == {uid: entry for uid, entry in UID_dictionary.items() if uid in ours}
    assert len(ours) > 450


def test_the_tables_are_had_without_the_package() -> None:
    check = (
        "import sys; from lightwell.dicom.dictionary import listed_vr;"
        " assert listed_vr(0x00100010) == 'PN' and listed_vr(0x00091001, 'GEMS_IDEN_01') == 'LO';"
        " from lightwell.dicom.uids import storage_classes; assert storage_classes();"
        " print([m for m in ('pydicom', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
