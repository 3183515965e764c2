"""UID rules and the table of transfer syntaxes."""

from __future__ import annotations

import pydicom.uid
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.dicom import uids
from lightwell.dicom.uids import TRANSFER_SYNTAXES, acceptable_uid, syntax_of, valid_uid

HOSTILE = [
    "",
    ".",
    "1.",
    ".1",
    "1..2",
    "../../../../pwn",
    "/pwn",
    "1.2.3\0.4",
    "1.2\r\nX: y",
    "1.2.3\n",
    "1.2'; DROP TABLE x;--",
    "1." + "9" * 200,
    "1.2.3 ",
    "1.２.3",
    "1.2.٣",
    "1.2.-3",
    "1e5",
]


@pytest.mark.parametrize("uid", HOSTILE)
def test_hostile_uids_are_neither_valid_nor_acceptable(uid: str) -> None:
    assert not valid_uid(uid)
    assert not acceptable_uid(uid)


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2", "0.0", "2.25." + "1" * 39, "1." + "9" * 62])
def test_standard_uids_are_both(uid: str) -> None:
    assert valid_uid(uid)
    assert acceptable_uid(uid)


@pytest.mark.parametrize("uid", ["1.02.3", "1." + "9" * 63, "1." + "9" * 126, "00.1"])
def test_field_uids_are_acceptable_only(uid: str) -> None:
    assert not valid_uid(uid)
    assert acceptable_uid(uid)


def test_the_longest_acceptable_uid_has_128_characters() -> None:
    assert not acceptable_uid("1." + "9" * 127)


@given(st.text(max_size=80))
def test_what_is_acceptable_is_harmless_and_valid_implies_acceptable(text: str) -> None:
    if valid_uid(text):
        assert acceptable_uid(text)
    if acceptable_uid(text):
        assert set(text) <= set("0123456789.")
        assert ".." not in text


def test_new_uids_are_valid_and_differ() -> None:
    made = {uids.new_uid() for _ in range(50)}
    assert len(made) == 50
    assert all(valid_uid(uid) for uid in made)


def test_the_table_has_every_syntax_that_pydicom_lists_and_agrees_with_it() -> None:
    listed = {
        pydicom.uid.UID(uid)
        for uid, entry in pydicom.uid.UID_dictionary.items()
        if entry[1] == "Transfer Syntax" and not uid.startswith("1.2.840.10008.1.2.6.")
    }
    assert listed <= set(TRANSFER_SYNTAXES), listed - set(TRANSFER_SYNTAXES)
    for uid in listed - {uid for uid in listed if ".7." in uid or uid.endswith("1.20")}:
        ours = TRANSFER_SYNTAXES[uid]
        assert ours.implicit == uid.is_implicit_VR, uid
        assert ours.little_endian == uid.is_little_endian, uid
        by_reference = uid.name.startswith("JPIP")
        assert ours.deflated == (uid.is_deflated or uid.name.endswith("Referenced Deflate")), uid
        assert ours.encapsulated == (uid.is_encapsulated and not by_reference), uid


@pytest.mark.parametrize(
    ("number", "media"),
    [
        ("1.2.840.10008.1.2.1", "application/octet-stream"),
        ("1.2.840.10008.1.2.5", "image/dicom-rle"),
        ("1.2.840.10008.1.2.4.50", "image/jpeg"),
        ("1.2.840.10008.1.2.4.70", "image/jpeg"),
        ("1.2.840.10008.1.2.4.80", "image/jls"),
        ("1.2.840.10008.1.2.4.91", "image/jp2"),
        ("1.2.840.10008.1.2.4.93", "image/jpx"),
        ("1.2.840.10008.1.2.4.112", "image/jxl"),
        ("1.2.840.10008.1.2.4.202", "image/jphc"),
        ("1.2.840.10008.1.2.4.101.1", "video/mpeg"),
        ("1.2.840.10008.1.2.4.106", "video/mp4"),
        ("1.2.840.10008.1.2.4.108", "video/H265"),
    ],
)
def test_media_types_are_those_of_ps3_18_table_8_7_3_5(number: str, media: str) -> None:
    assert syntax_of(number).media_type == media


def test_only_implicit_and_big_endian_are_banned_from_the_web() -> None:
    banned = {uid for uid, syntax in TRANSFER_SYNTAXES.items() if syntax.web_banned}
    assert banned == {"1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.20"}


@pytest.mark.parametrize("uid", ["1.2.3.4.5", "1.2.840.10008.1.2.4.999", "nonsense"])
def test_an_unknown_syntax_is_kept_as_encapsulated_and_promised_nothing(uid: str) -> None:
    syntax = syntax_of(uid)
    assert (syntax.uid, syntax.known, syntax.renderable) == (uid, False, False)
    assert syntax.encapsulated
    assert not syntax.implicit


def test_storage_classes_are_named() -> None:
    names = uids.storage_classes()
    assert names[uids.CTImageStorage] == "CT Image Storage"
    assert len(names) > 180
    assert uids.MediaStorageDirectoryStorage not in names
    assert uids.StorageCommitmentPushModel not in names
    assert uids.sop_class_name("1.2.3") == "1.2.3"
