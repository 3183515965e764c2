"""Storage or service, lossy or not: judged for every UID pydicom's copy of PS3.6 knows."""

from __future__ import annotations

import pytest
from pydicom._uid_dict import UID_dictionary

from lightwell.wire.dimse.syntaxes import (
    LOSSLESS,
    UNCOMPRESSED,
    is_storage,
    may_lose,
    never_stored,
    rank,
)

SOP_CLASSES = {
    uid: name for uid, (name, kind, *_rest) in UID_dictionary.items() if kind == "SOP Class"
}
TRANSFER_SYNTAXES = {
    uid: name for uid, (name, kind, *_rest) in UID_dictionary.items() if kind == "Transfer Syntax"
}


def is_storage_by_name(name: str) -> bool:
    # Two retired classes lost their name in PS3.6; both were storage.
    return not name.strip() or ("Storage" in name and "Commit" not in name and "Dir" not in name)


def test_the_dictionary_is_there() -> None:
    assert len(SOP_CLASSES) > 250
    assert len(TRANSFER_SYNTAXES) > 50


@pytest.mark.parametrize("uid", SOP_CLASSES)
def test_each_sop_class_is_filed_right(uid: str) -> None:
    assert is_storage(uid) is is_storage_by_name(SOP_CLASSES[uid]), SOP_CLASSES[uid]


@pytest.mark.parametrize(
    "uid", ["1.2.840.113619.4.30", "1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.999.9"]
)
def test_private_and_future_classes_are_storage(uid: str) -> None:
    assert is_storage(uid)


LOSSLESS_WORDS = ("Lossless", "RLE", "Deflated Image Frame", "Encapsulated Uncompressed")
LOSSY_WORDS = ("JPEG", "MPEG", "HEVC")


@pytest.mark.parametrize("uid", TRANSFER_SYNTAXES)
def test_each_transfer_syntax_is_filed_right(uid: str) -> None:
    name = TRANSFER_SYNTAXES[uid]
    lossless = any(word in name for word in LOSSLESS_WORDS) and "Near-Lossless" not in name
    lossy = not lossless and "JPIP" not in name and any(word in name for word in LOSSY_WORDS)
    assert may_lose(uid) is lossy, name
    assert (uid in LOSSLESS) is lossless, name
    assert never_stored(uid) is name.startswith("SMPTE")


def test_newer_syntaxes_than_the_dictionary_has() -> None:
    assert rank("1.2.840.10008.1.2.4.110") == 10  # JPEG XL lossless
    assert may_lose("1.2.840.10008.1.2.4.111")  # recompressed JPEG stays what it was
    assert may_lose("1.2.840.10008.1.2.4.112")
    assert rank("1.2.840.10008.1.2.8.1") == 10  # deflated image frame


def test_the_order_of_ranks() -> None:
    private, jpip, lossy = "1.2.840.113619.5.2", "1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.50"
    ladder = [*UNCOMPRESSED, "1.2.840.10008.1.2.5", private, jpip, lossy]
    shuffled = [*ladder[4:], *ladder[:4]]
    assert sorted(shuffled, key=rank) == ladder
